"""When the frames of a clip are."""

from __future__ import annotations

from dataclasses import dataclass

_USUAL_FPS = 25.0
"""Where a file does not say how fast it is."""


@dataclass(frozen=True)
class Timing:
    """Times of a clip: `times` of them, `1 / fps` apart, or `stride` average frame gaps of the video.

    Frames are chosen by when they are shown, not by their number, so a variable frame rate changes nothing.
    """

    times: int
    stride: int
    fps: float | None = None

    def step_s(self, video_fps: float) -> float:
        """Seconds from one time to the next, in a video of this average rate (0: unknown)."""
        return 1.0 / self.fps if self.fps else self.stride * self.frame_s(video_fps)

    def frame_s(self, video_fps: float) -> float:
        """Seconds that a frame is shown, on average."""
        return 1.0 / (video_fps or _USUAL_FPS)

    def span_s(self, video_fps: float) -> float:
        """Seconds that a clip takes, its last frame included."""
        return (self.times - 1) * self.step_s(video_fps) + self.frame_s(video_fps)
