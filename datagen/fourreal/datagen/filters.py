"""Which renders are kept: thresholds on their statistics, and the reason when one is passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fourreal.datagen import thresholds
from fourreal.datagen.thresholds import Rule, Thresholds


@dataclass(frozen=True, kw_only=True)
class Filters(Thresholds):
    """What is refused; `fourreal.datagen.statistics` says how each is measured."""

    min_motion: float = 0.004
    """`static`: moves less from one time to the next, as a share of the frame's smaller side."""
    max_growth: float = 4.0
    """`exploding`: its extent at one time is so many times that at another."""
    max_travel: float = 4.0
    """`leaves_frame`: over all times it needs so many times the room that it fills at one."""
    max_border: float = 0.02
    """`leaves_frame`: covers more than this share of a frame's outermost pixels."""
    min_coverage: float = 0.001
    """`blank`: covers less of the frame, at some time, on average over views."""
    max_flicker: float = 0.3
    """`flicker`: brightness, or area that motion does not explain, jumps by more between a time and its neighbours."""
    min_colour_spread: float = 0.01
    """`one_colour`: the standard deviation of its colours, sRGB from 0 to 1, is less."""


_RULES = (
    Rule("static", "p95_share", "min_motion", "from one time to the next it moves by {:.2%} of the frame"),
    Rule("exploding", "growth", "max_growth", "it is {:.1f} times as large at one time as at another"),
    Rule("leaves_frame", "travel", "max_travel", "over all times it needs {:.1f} times the room of one time"),
    Rule("blank", "coverage_min", "min_coverage", "at one time it covers {:.2%} of the frame"),
    Rule("leaves_frame", "border_share", "max_border", "it covers {:.1%} of the edge of a frame"),
    Rule("flicker", "flicker", "max_flicker", "between a time and its neighbours it jumps by {:.2f}"),
    Rule("one_colour", "colour_spread", "min_colour_spread", "its colours are {:.3f} apart"),
)


def check(statistics: Mapping[str, float], filters: Filters, *, times: int) -> None:
    """Hold what is known of an item against the thresholds. Raises ItemFailure of the stage `filter`."""
    rules = (rule for rule in _RULES if times > 1 or rule.reason != "static")
    thresholds.check(rules, statistics, filters)
