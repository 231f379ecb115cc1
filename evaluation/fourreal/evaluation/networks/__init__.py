"""Published networks as functions from frames to features; the files they read are in `pretrained`."""

from fourreal.evaluation.networks.feature_cache import FeatureCache
from fourreal.evaluation.networks.loading import Device, Networks

__all__ = ["Device", "FeatureCache", "Networks"]
