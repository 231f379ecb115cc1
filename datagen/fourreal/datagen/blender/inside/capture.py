"""Two ways to the pixels of a render call: out of memory, and through files.

In background mode Blender keeps no render result that a script can read. The engine itself can: Cycles' Python class
is wrapped for the time of a render, and reads its own result before Blender drops it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import bpy
import numpy as np
import numpy.typing as npt

from fourreal.datagen.blender.exr import read_exr


@dataclass(frozen=True, eq=False)
class Passes:
    """One view: `colour` float32 `[H, W, 4]` linear premultiplied, `depth` float32 `[H, W]`; top line first.

    `aovs`: what materials wrote (see aov.py), by name: float32 `[H, W]`, or `[H, W, 3]` of three channels.
    """

    colour: npt.NDArray[np.float32]
    depth: npt.NDArray[np.float32]
    aovs: Mapping[str, npt.NDArray[np.float32]]


class MemoryCapture:
    """While entered, `render` reads what Cycles rendered without a file."""

    def __init__(self) -> None:
        self._engine: Any = _cycles_class()
        self._original: Callable[[Any, Any], None] | None = getattr(self._engine, "render", None)
        self._planes: dict[str, npt.NDArray[np.float32]] = {}

    def __enter__(self) -> Self:
        original = self._original
        if original is not None:

            def render(engine: Any, depsgraph: Any) -> None:
                original(engine, depsgraph)
                self._planes = _planes(engine.get_result())

            self._engine.render = render
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._original is not None:
            self._engine.render = self._original

    def render(self, views: Sequence[str]) -> dict[str, Passes] | None:
        """Render the scene as it stands; None when this Blender gives no pixels this way."""
        self._planes = {}
        bpy.ops.render.render()
        try:
            return {view: self._passes(view) for view in views}
        except KeyError:
            return None

    def _passes(self, view: str) -> Passes:
        aovs = {}
        for aov in bpy.context.scene.view_layers[0].aovs:
            plane = self._planes[f"{aov.name}.{view}"]
            aovs[aov.name] = plane[..., 0] if aov.type == "VALUE" else plane[..., :3]
        return Passes(self._planes[f"Combined.{view}"], self._planes[f"Depth.{view}"][..., 0], aovs)


def render_through_exr(views: Sequence[str], folder: Path) -> dict[str, Passes]:
    """Render the scene as it stands into one file per view, and read them."""
    settings: Any = bpy.context.scene.render.image_settings
    settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
    settings.views_format = "INDIVIDUAL"
    bpy.context.scene.render.filepath = str(folder / "frame")
    bpy.ops.render.render(write_still=True)
    found = {}
    for view in views:
        (path,) = folder.glob(f"*{view}.exr")
        planes = {name.partition(".")[2]: plane for name, plane in read_exr(path).items()}  # less the layer's name
        aovs = {
            aov.name: planes[f"{aov.name}.X"] if aov.type == "VALUE" else _stacked(planes, aov.name, "RGB")
            for aov in bpy.context.scene.view_layers[0].aovs
        }
        found[view] = Passes(_stacked(planes, "Combined", "RGBA"), planes["Depth.Z"], aovs)
        path.unlink()
    return found


def _stacked(planes: Mapping[str, npt.NDArray[np.float32]], name: str, channels: str) -> npt.NDArray[np.float32]:
    return np.stack([planes[f"{name}.{channel}"] for channel in channels], axis=-1)


def _planes(result: Any) -> dict[str, npt.NDArray[np.float32]]:
    if result is None:
        return {}
    H, W = result.resolution_y, result.resolution_x
    planes = {}
    for layer_pass in result.layers[0].passes:
        values = np.empty(H * W * layer_pass.channels, np.float32)
        layer_pass.rect.foreach_get(values)
        planes[layer_pass.fullname] = values.reshape(H, W, layer_pass.channels)[::-1]
    return planes


def _cycles_class() -> Any:
    """The Python side of the engine; None in a Blender that has it no more, or under another name."""
    engines = bpy.types.RenderEngine.__subclasses__()
    return next((engine for engine in engines if getattr(engine, "bl_idname", "") == "CYCLES"), None)
