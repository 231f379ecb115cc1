"""One Blender child from the parent's side: start it, ask it, hold it to its limits, replace it.

    with BlenderWorker() as worker:
        clips = worker.load("asset.glb")
        measurement = worker.measure("asset.glb", clips.clip, times_s)
        pixels = worker.render(scene)

Every request ends in its typed result or in a WorkerFailure, whatever the child does; a child that failed by
timeout, memory or crash is gone by then, and the next request starts a new one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from fourreal.datagen.blender.failure import WorkerFailure, as_reason
from fourreal.datagen.blender.pixels import RenderedPixels
from fourreal.datagen.blender.process import ChildProcess
from fourreal.datagen.blender.scene import Clip, Measurement, Scene
from fourreal.datagen.blender.shared import PixelLayout, SharedBlock
from fourreal.datagen.blender.surface import COVERAGE, Output, add_ground, flow_of, normals_of, passes_for

PixelPath = Literal["memory", "exr"]


@dataclass(frozen=True)
class Limits:
    """What a child may use. Memory counts the pixels that it shares with its parent."""

    timeout_s: float = 300.0
    """For one request."""
    memory_bytes: int = 6 * 2**30
    recycle_assets: int = 100
    """A new child after so many assets: Blender leaks, and long-lived ones have been seen to hang."""
    recycle_memory_bytes: int = 2 * 2**30
    """A new child after an asset that left more than this in use."""


@dataclass(frozen=True)
class LoadedAsset:
    """The choices of clip, longest first, and the name of the one that plays."""

    clips: tuple[Clip, ...]
    clip: str


class BlenderWorker:
    """Owns at most one child; not for use by several threads at once."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self.limits = limits
        self._child: ChildProcess | None = None
        self._assets = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def process_id(self) -> int | None:
        """The child's, None while there is none."""
        return None if self._child is None else self._child.process_id

    def load(self, asset: str, clip: str | None = None) -> LoadedAsset:
        """Import a file and play `clip`, by default the longest.

        Raises WorkerFailure: those of `check_gltf`, import_error, no_meshes, no_animation, unknown_clip, timeout,
        memory, crash, error.
        """
        self._recycle()
        self._assets += 1
        answer = self._ask({"kind": "load", "asset": asset, "clip": clip})
        return LoadedAsset(tuple(Clip(**c) for c in answer["clips"]), answer["clip"])

    def measure(self, asset: str, clip: str, times_s: tuple[float, ...]) -> Measurement:
        """Where the surface is at `times_s` (seconds on the clip's time line).

        Raises WorkerFailure: nan_geometry, and all that `load` raises.
        """
        answer = self._ask({"kind": "measure", "asset": asset, "clip": clip, "times_s": list(times_s)})
        return Measurement.from_json(answer)

    def render(
        self, scene: Scene, pixel_path: PixelPath = "memory", outputs: Collection[Output] = ()
    ) -> RenderedPixels:
        """Render every view at every time; `outputs` are made beside colour and depth, which they leave as they are.

        "memory" takes the pixels straight from Cycles (and falls back to files by itself if that gives none);
        "exr" goes through files. Both give the same bytes. Raises WorkerFailure as `load` does.
        """
        if scene.ground is not None:
            outputs = (*outputs, "coverage")  # alpha counts the ground too
        passes = passes_for(outputs)
        layout = PixelLayout(len(scene.cameras), len(scene.times_s), scene.height, scene.width, passes)
        request = {"kind": "render", "scene": scene.to_json(), "pixel_path": pixel_path, "outputs": list(outputs)}
        with SharedBlock(layout.size_bytes) as block:
            answer = self._ask(request, block.descriptor)
            colour, depth = layout.arrays(block.memory)
            surface = layout.pass_arrays(block.memory)
            pixels = RenderedPixels(
                colour.copy(),
                depth.copy(),
                answer["pixel_path"],
                normals=normals_of(surface) if "normals" in outputs else None,
                flow=flow_of(surface, scene) if "flow" in outputs else None,
                coverage=surface[COVERAGE][..., 0].astype(np.float16) if "coverage" in outputs else None,
            )
            if scene.ground is not None:
                add_ground(pixels.normals, pixels.flow, colour[..., 3], surface[COVERAGE][..., 0])
            del colour, depth, surface  # views into the block, which cannot be closed under them
        return pixels

    def gpus(self) -> dict[str, list[str]]:
        """Names of the GPUs that Cycles can render on, by the interface that reaches them. Raises WorkerFailure."""
        return dict(self._ask({"kind": "gpus"})["gpus"])

    def export(self, model: dict[str, Any], path: Path) -> None:
        """Write a procedural model (its `to_json`) as a .glb file. Raises WorkerFailure."""
        self._recycle()
        self._assets += 1
        self._ask({"kind": "export", "model": model, "path": str(path)})

    def close(self) -> None:
        """End the child, if there is one."""
        if self._child is not None:
            self._child.stop()
        self._child, self._assets = None, 0

    def _recycle(self) -> None:
        child = self._child
        if child is not None and (
            self._assets >= self.limits.recycle_assets or child.memory_bytes() > self.limits.recycle_memory_bytes
        ):
            self.close()

    def _ask(self, request: dict[str, Any], descriptor: int | None = None) -> dict[str, Any]:
        stage = request["kind"]
        try:
            if self._child is None:
                self._child = ChildProcess(stage, self.limits.memory_bytes)
            answer = self._child.ask(stage, request, descriptor, self.limits.timeout_s)
        except BaseException:
            # Also for an interrupt: an answer that nobody took would be taken for the next request's.
            self.close()
            raise
        if "result" in answer:
            return dict(answer["result"])
        raise WorkerFailure(stage, as_reason(answer["reason"]), answer["message"], self._child.tail())
