"""Which clips of video are kept: thresholds on their statistics, and the reason when one is passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fourreal.datagen import thresholds
from fourreal.datagen.thresholds import Rule, Thresholds


@dataclass(frozen=True, kw_only=True)
class ClipFilters(Thresholds):
    """What is refused of a video; `look`, `overlay` and `motion` beside this say how each is measured. 0, or a large
    number for a maximum, turns one off."""

    min_brightness: float = 0.1
    """`dark`: nineteen pixels of twenty are darker, from 0 to 1."""
    max_brightness: float = 0.75
    """`bright`: nineteen pixels of twenty are brighter."""
    min_contrast: float = 0.1
    """`flat`: in some frame, brightness differs by less (5th to 95th percentile)."""
    max_flicker: float = 0.05
    """`flicker`: brightness jumps by more between a frame and its neighbours."""
    max_fade: float = 0.15
    """`fade`: the brightest and the darkest frame lie further apart: a dissolve, a fade to black."""
    max_blur: float = 0.72
    """`blurred`: 0 sharp, 1 wholly blurred, at the grid's resolution."""
    max_text: float = 0.002
    """`text`: lines of text cover more of the frame."""
    max_overlay: float = 0.015
    """`overlay`: more of the points stand still in a frame that moves: a logo, a subtitle."""
    min_tracked: float = 0.3
    """`untrackable`: fewer points can be followed for four frames: a cut, a flash, noise, or too fast."""
    min_motion: float = 0.003
    """`static`: moves less from one time to the next, camera included, as a share of the frame's smaller side."""
    max_motion: float = 0.15
    """`fast`: moves more, the camera's motion taken away."""
    max_camera: float = 0.12
    """`fast_camera`: the camera moves the picture by more."""
    max_shake: float = 0.02
    """`shaky`: the camera's motion changes by more from one time to the next."""


_LOOK_RULES = (
    Rule("dark", "brightness_p95", "min_brightness", "95% of it is darker than {:.2f}"),
    Rule("bright", "brightness_p5", "max_brightness", "95% of it is brighter than {:.2f}"),
    Rule("flat", "contrast", "min_contrast", "brightness spans {:.2f} in one of its frames"),
    Rule("flicker", "flicker", "max_flicker", "between a frame and its neighbours brightness jumps by {:.2f}"),
    Rule("fade", "fade", "max_fade", "its brightest and its darkest frame are {:.2f} apart"),
    Rule("blurred", "blur", "max_blur", "it is blurred by {:.2f} of 1"),
    Rule("text", "text_share", "max_text", "text covers {:.1%} of the frame"),
)
_MOTION_RULES = (
    Rule("overlay", "stuck_share", "max_overlay", "{:.1%} of its points stand still while the frame moves"),
    Rule("untrackable", "tracked_share", "min_tracked", "{:.0%} of its points can be followed"),
    Rule("static", "p95_share", "min_motion", "from one time to the next it moves by {:.2%} of the frame"),
    Rule("shaky", "shake_share", "max_shake", "the camera's step changes by {:.1%} of the frame"),
    Rule("fast_camera", "camera_share", "max_camera", "the camera moves by {:.1%} of the frame from time to time"),
    Rule("fast", "residual_share", "max_motion", "something moves by {:.1%} of the frame from time to time"),
)


def check_clip(statistics: Mapping[str, float], filters: ClipFilters, *, times: int) -> None:
    """Hold a clip's statistics against the thresholds. Raises ItemFailure of the stage `filter`.

    A clip of one time has no motion to judge.
    """
    thresholds.check(_LOOK_RULES if times == 1 else _LOOK_RULES + _MOTION_RULES, statistics, filters)
