"""Frechet inception distance (Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter 2017)."""

from __future__ import annotations

from fourreal.evaluation.metrics.base import Comparison, Features
from fourreal.evaluation.metrics.frechet import FrechetDistance
from fourreal.evaluation.metrics.learned import Learned, ask
from fourreal.evaluation.networks import Networks


class FID(Learned, FrechetDistance):
    """Over single frames: how they look, not how they fit together."""

    name = "fid"
    needs = frozenset({"reference"})
    network = "inception"
    items = "frames"
    definition = (
        "Frechet distance between the Inception (2015, TorchScript of StyleGAN2-ADA, 2048 features) statistics of "
        "generated frames and of the reference's at the same places, frames resized to 299x299 as clean-fid does "
        "(Pillow, bicubic, antialiased, not rounded)"
    )

    def __init__(self, networks: Networks, *, allow_few: bool = False) -> None:
        super().__init__(networks)
        self.allow_few = allow_few

    def features(self, sample: Comparison) -> tuple[Features, int]:
        """See `FrechetDistance.features`."""
        reference = sample.reference
        assert reference is not None
        prediction = ask(lambda: self.networks.inception(sample.prediction))
        return Features(prediction, ask(lambda: self.networks.inception(reference))), len(prediction)
