"""VideoScore (He et al. 2024): what a network trained on people's ratings says of a grid's videos."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fourreal.evaluation.metrics.base import Comparison, SampleMetric, Unavailable
from fourreal.evaluation.metrics.fvd import WAYS
from fourreal.evaluation.metrics.learned import Learned, ask
from fourreal.evaluation.networks import Networks

DIMENSIONS = ("visual", "temporal", "dynamic", "alignment", "factual")
"""In the order of the network's outputs."""

Videos = Literal["fixed_view", "freeze_time"]
VIDEOS: dict[Videos, str] = {"fixed_view": "fvd_time", "freeze_time": "fvd_view"}
"""The way through the grid (`fvd.WAYS`) of each kind of video."""


class VideoScore(Learned, SampleMetric):
    """One of the five ratings, over a grid's fixed-view or freeze-time videos."""

    unit = ""
    higher_is_better = True
    needs = frozenset({"grid", "caption"})
    network = "videoscore"

    def __init__(self, networks: Networks, dimension: str, videos: Videos) -> None:
        super().__init__(networks)
        self.index = DIMENSIONS.index(dimension)
        self.ways = WAYS[VIDEOS[videos]]
        self.name = f"videoscore_{dimension}_{videos}"
        self.definition = (
            f"mean over the videos of {self.ways.words} that have a generated frame of the {dimension} score of "
            "VideoScore (TIGER-Lab/VideoScore, first version, at most 16 frames, about 1 to 4; caption as the prompt)"
        )

    def measure(self, sample: Comparison) -> tuple[float, int]:
        """See `SampleMetric.measure`."""
        grid, caption, generated = sample.grid, sample.caption, sample.generated
        assert grid is not None
        assert caption is not None
        if not caption.strip():
            raise Unavailable("the grid has no caption")
        paths = [path for path in self.ways.of(*grid.shape[:2]) if any(generated[place] for place in path)]
        videos = [np.stack([grid[place] for place in path]) for path in paths]
        scores = ask(lambda: np.stack([self.networks.videoscore(video, caption) for video in videos]))
        frames = len({place for path in paths for place in path if generated[place]})
        return float(scores[:, self.index].astype(np.float64).mean()), frames
