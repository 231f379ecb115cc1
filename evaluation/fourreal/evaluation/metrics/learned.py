"""What metrics over published networks share: the networks, and what becomes of weights that are not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from fourreal.evaluation.metrics.base import Metric, Unavailable
from fourreal.evaluation.networks import Networks
from fourreal.evaluation.pretrained import NoWeights

ResultT = TypeVar("ResultT")


class Learned(Metric):
    """A metric over the network `network`; put before `SampleMetric` or `FrechetDistance` among the bases."""

    network: str

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    @property
    def weights(self) -> Mapping[str, str]:
        """See `Metric.weights`."""
        return self.networks.sha256.get(self.network, {})


def ask(call: Callable[[], ResultT]) -> ResultT:
    """`call()` on a network; weights that cannot be used make the metric unavailable with the reason."""
    try:
        return call()
    except NoWeights as missing:
        raise Unavailable(str(missing)) from None
