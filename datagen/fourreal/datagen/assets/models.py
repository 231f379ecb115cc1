"""Assets made from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fourreal.datagen.assets.source import Scratch
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.procedural import make_model
from fourreal.platform.datajob import Item, Preparation
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

PROCEDURAL = "procedural:"
_SEEDS_APART = 1_000_000
"""Model seeds of one job seed; the next job seed starts after them."""


class ProceduralAssets:
    """`procedural:N`: models that numpy draws and Blender writes down."""

    def __init__(self, assets: str, seed: int, cache: Storage) -> None:
        """`cache` keeps the models, for a person to open and for the next run."""
        self.assets, self.seed, self.cache = assets, seed, cache
        self.scratch = Scratch()

    def items(self) -> Iterator[Item]:
        """See `AssetSource`."""
        count = self.assets.removeprefix(PROCEDURAL)
        if not count.isdecimal() or not 0 < int(count) <= _SEEDS_APART:
            raise UserError(f"--assets {self.assets} should say how many models to make, as in procedural:12")
        for model_seed in range(self.seed * _SEEDS_APART, self.seed * _SEEDS_APART + int(count)):
            model = make_model(model_seed)
            sha256 = model.sha256()  # of what numpy drew: the file's is known once Blender has written it
            name = f"{model.family}-{model_seed:07d}-{sha256[:8]}"
            spec = {"asset": name, "model_seed": model_seed, "model_sha256": sha256, "licence": "CC0-1.0"}
            yield Item(name, f"{PROCEDURAL}{model.family}/{model_seed}", spec)

    def settings(self) -> Mapping[str, Any]:
        """See `AssetSource`."""
        return {}

    def preparation(self) -> Preparation | None:
        """See `AssetSource`."""
        return None

    def local(self, item: Item, worker: BlenderWorker) -> tuple[Path, str]:
        """See `AssetSource`."""
        self.scratch.begin()
        name = f"{item.spec['asset']}.glb"
        if not self.cache.exists(name):
            path = self.scratch.path("model.glb")
            worker.export(make_model(int(item.spec["model_seed"])).to_json(), path)
            self.cache.write(name, path.read_bytes())
        data = self.cache.read(name)
        return self.scratch.keep(name, data), hashlib.sha256(data).hexdigest()

    def close(self) -> None:
        """See `AssetSource`."""
        self.scratch.close()
