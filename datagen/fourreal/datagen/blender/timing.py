"""Which moments of a clip become the times of a grid."""

from __future__ import annotations

import numpy as np

from fourreal.datagen.blender.scene import Clip


def part_of(clip: Clip, start_s: float, duration_s: float | None) -> Clip:
    """The part of a clip that begins `start_s` after its start, of `duration_s` or up to its end.

    Raises ValueError when the clip is over by then.
    """
    if start_s > 0.0 and start_s >= clip.duration_s:
        raise ValueError(f"clip {clip.name!r} lasts {clip.duration_s:.3f} s: it has no part from {start_s:g} s on")
    left_s = clip.duration_s - start_s
    return Clip(clip.name, clip.start_s + start_s, left_s if duration_s is None else min(duration_s, left_s))


def sample_times(clip: Clip, count: int, step_s: float, rng: np.random.Generator) -> tuple[float, ...]:
    """Choose `count` times (seconds), `step_s` apart, in a window placed at random in the clip.

    A clip that is shorter than the window is sampled more densely, from its first to its last moment.
    """
    window_s = min((count - 1) * step_s, clip.duration_s)
    first_s = clip.start_s + rng.uniform() * (clip.duration_s - window_s)
    return tuple(np.linspace(first_s, first_s + window_s, count).tolist())


def frames_per_second(times_s: tuple[float, ...], wanted_step_s: float) -> float:
    """Of the times as they were sampled, which are denser than wanted in a short clip."""
    if len(times_s) < 2 or times_s[-1] == times_s[0]:
        return 1.0 / wanted_step_s
    return float((len(times_s) - 1) / (times_s[-1] - times_s[0]))
