"""A sheet of square swatches, each of its own glTF material, and a camera straight in front of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tests.datagen.glb import Glb

from fourreal.datagen.blender.pixels import RenderedPixels
from fourreal.datagen.blender.scene import Actor, Camera, Lights, Scene
from fourreal.platform.cameras import intrinsics, orbit

SIZE = 160
_ACROSS, _PITCH, _DISTANCE_M = 6, 2.2, 20.0
_PX_PER_M = SIZE / (_ACROSS * _PITCH)
_TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])
CORNERS = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)


def pbr(colour: Any = (1.0, 1.0, 1.0, 1.0), **more: Any) -> dict[str, Any]:
    """A material that is diffuse and nothing else, so that it reflects exactly its colour."""
    values = {"baseColorFactor": list(colour), "metallicFactor": 0.0, "roughnessFactor": 1.0}
    extensions = {"KHR_materials_specular": {"specularFactor": 0.0}, **more.pop("extensions", {})}
    return {"pbrMetallicRoughness": values | more.pop("pbr", {}), "extensions": extensions, **more}


class Swatches:
    """Swatches of 2 m in rows of six, in the order in which they were added, facing the camera."""

    def __init__(self) -> None:
        self.glb = Glb()
        self.names: list[str] = []

    def texture(self, pixels: Any) -> dict[str, int]:
        """A PNG texture of 8 bits, RGB or RGBA, without interpolation."""
        pixels = np.asarray(pixels, np.uint8)
        code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
        data = cv2.imencode(".png", cv2.cvtColor(pixels, code))[1].tobytes()
        add = self.glb.add
        view = add("bufferViews", {"buffer": 0, "byteOffset": len(self.glb.binary), "byteLength": len(data)})
        self.glb.binary += data + bytes(-len(data) % 4)
        source = add("images", {"bufferView": view, "mimeType": "image/png"})
        return {"index": add("textures", {"source": source, "sampler": add("samplers", {"magFilter": 9728})})}

    def add(
        self,
        name: str,
        material: dict[str, Any] | None,
        *,
        colours: Any = None,
        away: bool = False,
        mirrored: bool = False,
    ) -> None:
        """`colours`: of the four vertices; `away`: turned away from the camera; `mirrored`: by a negative scale."""
        triangles = _TRIANGLES[:, ::-1] if away else _TRIANGLES
        number = None if material is None else self.glb.add("materials", material)
        node = self.glb.node(CORNERS, triangles, number)
        attributes = self.glb.document["meshes"][-1]["primitives"][0]["attributes"]
        attributes["TEXCOORD_0"] = self.glb.accessor(np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float), "VEC2")
        if colours is not None:
            values = np.asarray(colours, float)
            attributes["COLOR_0"] = self.glb.accessor(values, f"VEC{values.shape[1]}")
        self.names.append(name)
        x, y = self._centre(name)
        self.glb.document["nodes"][node] |= {"translation": [x, y, 0.0], "scale": [-1.0 if mirrored else 1.0, 1.0, 1.0]}

    def write(self, path: Path) -> Path:
        """Finish the file; an animation named `still` moves nothing."""
        still = [*self._centre(self.names[0]), 0.0]
        self.glb.animate("still", 0, [0.0, 1.0], [still, still])
        return self.glb.write(path)

    def scene(self, path: Path, lights: Lights, samples: int = 16) -> Scene:
        """The whole sheet as seen from the front."""
        lens = intrinsics(SIZE, SIZE, vertical_fov=float(2 * np.arctan(0.5 * _ACROSS * _PITCH / _DISTANCE_M)))
        pose = orbit(np.array([-np.pi / 2]), np.zeros(1), np.array([_DISTANCE_M]))[0]
        cameras = (Camera.from_matrices(lens, pose),)
        return Scene((Actor(str(path), "still"),), (0.0,), cameras, lights, SIZE, SIZE, samples, 0)

    def colour(self, pixels: RenderedPixels, name: str, x: float = 0.0, y: float = 0.0, half: float = 0.8) -> Any:
        """Mean linear RGBA of a square around (x, y) of a swatch, both from -1 to 1, y up; `half` is half its side."""
        left, bottom = self._centre(name)
        column, row = 0.5 * SIZE + _PX_PER_M * (left + x), 0.5 * SIZE - _PX_PER_M * (bottom + y)
        reach = _PX_PER_M * half
        patch = pixels.colour[
            0, 0, int(row - reach) : int(row + reach) + 1, int(column - reach) : int(column + reach) + 1
        ]
        return patch.reshape(-1, 4).astype(float).mean(axis=0)

    def quarters(self, pixels: RenderedPixels, name: str) -> Any:
        """Linear RGB of its four quarters `[2, 2, 3]`, the top row first."""
        return np.array([[self.colour(pixels, name, x, y, 0.2)[:3] for x in (-0.5, 0.5)] for y in (0.5, -0.5)])

    def _centre(self, name: str) -> tuple[float, float]:
        row, column = divmod(self.names.index(name), _ACROSS)
        return _PITCH * (column - 0.5 * (_ACROSS - 1)), _PITCH * (0.5 * (_ACROSS - 1) - row)
