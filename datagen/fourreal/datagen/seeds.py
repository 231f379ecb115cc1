"""Randomness of an item: from the job's seed and the item's key, whatever was made before or beside it."""

from __future__ import annotations

import hashlib

import numpy as np


def item_rng(seed: int, key: str) -> np.random.Generator:
    """The generator of one item."""
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
