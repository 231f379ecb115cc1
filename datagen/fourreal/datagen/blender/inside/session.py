"""What one Blender process holds between requests, and which request does what."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from fourreal.datagen.blender.inside.devices import list_gpus
from fourreal.datagen.blender.inside.export import export_model
from fourreal.datagen.blender.inside.gltf import ImportedAsset, import_assets
from fourreal.datagen.blender.inside.measure import measure
from fourreal.datagen.blender.inside.render import render_scene
from fourreal.datagen.blender.inside.stage import put_on_stage
from fourreal.datagen.blender.scene import Actor, Scene
from fourreal.datagen.blender.shared import PixelLayout
from fourreal.datagen.blender.surface import passes_for


class Session:
    """Answers requests; each is complete in itself, so what was asked before never changes a result.

    Only the import of the asset at hand is kept, until it is rendered.
    """

    def __init__(self) -> None:
        self._imported: ImportedAsset | None = None
        # As by default, and said once more: no script, driver expression or add-on comes out of a file.
        bpy.context.preferences.filepaths.use_scripts_auto_execute = False
        bpy.context.preferences.system.use_online_access = False

    def handle(self, request: dict[str, Any], block: int | None) -> dict[str, Any]:
        """Do one request; `block` is the descriptor of the memory for pixels.

        Raises WorkerFailure for what is wrong with the asset, other exceptions for the rest.
        """
        match request:
            case {"kind": "load", "asset": path, "clip": clip}:
                (self._imported,) = import_assets([(path, clip)])
                return {"clips": [vars(c) for c in self._imported.clips], "clip": self._imported.clip}
            case {"kind": "measure", "asset": path, "clip": clip, "times_s": times_s}:
                if not self._is_at_hand(path, clip):
                    (self._imported,) = import_assets([(path, clip)])
                return measure(times_s).to_json()
            case {"kind": "render", "scene": value, "pixel_path": pixel_path, "outputs": outputs} if block is not None:
                scene = Scene.from_json(value)
                self._open(scene.actors)
                passes = passes_for(outputs)
                layout = PixelLayout(len(scene.cameras), len(scene.times_s), scene.height, scene.width, passes)
                memory = mmap.mmap(block, layout.size_bytes)
                pixels = (*layout.arrays(memory), layout.pass_arrays(memory))
                return {"pixel_path": render_scene(scene, pixel_path, *pixels)}
            case {"kind": "gpus"}:
                return {"gpus": list_gpus()}
            case {"kind": "export", "model": model, "path": path}:
                self._imported = None
                export_model(model, Path(path))
                return {}
            case _:
                raise ValueError(f"unknown request {request.get('kind')!r}")

    def _open(self, actors: Sequence[Actor]) -> None:
        if len(actors) == 1 and self._imported is not None and self._is_at_hand(actors[0].asset, actors[0].clip):
            imported = [self._imported]
        else:
            imported = import_assets([(actor.asset, actor.clip) for actor in actors])
        self._imported = None  # it is moved, and rendering adds cameras and lights: the next request starts anew
        for asset, actor in zip(imported, actors, strict=True):
            put_on_stage(asset, actor)

    def _is_at_hand(self, path: str, clip: str) -> bool:
        return self._imported is not None and (self._imported.path, self._imported.clip) == (path, clip)
