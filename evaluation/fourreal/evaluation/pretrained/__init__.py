"""Weights that others trained and published: which there are, where they lie, and that they are what they claim."""

from fourreal.evaluation.pretrained.registry import REGISTRY, Weights, WeightsFile
from fourreal.evaluation.pretrained.store import FOLDER_VARIABLE, NoWeights, WeightsStore

__all__ = ["FOLDER_VARIABLE", "REGISTRY", "NoWeights", "Weights", "WeightsFile", "WeightsStore"]
