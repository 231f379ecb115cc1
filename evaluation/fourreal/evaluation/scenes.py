"""Where `fourreal reconstruct` leaves the scene of a grid, beside its shards."""

from __future__ import annotations

from fourreal.platform.storage import Storage

SCENES = "scenes"
"""A folder for each grid, with its splats, videos and scores."""
SEQUENCE = "sequence.safetensors"


def sequence_of(storage: Storage, key: str) -> bytes | None:
    """The compact sequence of a grid's scene; None where the folder holds none."""
    name = f"{SCENES}/{key}/{SEQUENCE}"
    return storage.read(name) if storage.exists(name) else None
