"""Writes small .glb files, sound and broken, without any exporter in between."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

CUBE = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
CUBE_TRIANGLES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5]),
        *([0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6]),
        *([0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)


@dataclass
class Glb:
    """A file being put together; glTF space, y up."""

    document: dict[str, Any] = field(default_factory=lambda: {"asset": {"version": "2.0"}})
    binary: bytes = b""

    def add(self, name: str, entry: Any) -> int:
        """Append to one of the document's lists; returns the number."""
        self.document.setdefault(name, []).append(entry)
        return len(self.document[name]) - 1

    def accessor(self, values: np.ndarray[Any, Any], kind: str) -> int:
        component = {"f": 5126, "i": 5125, "u": 5125}[values.dtype.kind]
        data = values.astype("<f4" if values.dtype.kind == "f" else "<u4").tobytes()
        view = self.add("bufferViews", {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)})
        self.binary += data
        entry = {"bufferView": view, "componentType": component, "count": len(values), "type": kind}
        if kind == "VEC3":
            entry |= {"min": np.nanmin(values, 0).tolist(), "max": np.nanmax(values, 0).tolist()}
        return self.add("accessors", entry)

    def node(self, vertices: Any = CUBE, triangles: Any = CUBE_TRIANGLES, material: int | None = None) -> int:
        """Add a mesh and the node that shows it."""
        primitive: dict[str, Any] = {
            "attributes": {"POSITION": self.accessor(np.asarray(vertices, float), "VEC3")},
            "indices": self.accessor(np.asarray(triangles, int).reshape(-1), "SCALAR"),
        }
        if material is not None:
            primitive["material"] = material
        return self.add("nodes", {"mesh": self.add("meshes", {"primitives": [primitive]})})

    def animate(self, name: str, node: int, times_s: Any, translations: Any) -> int:
        """Add an animation that moves a node along straight lines."""
        sampler = {
            "input": self.accessor(np.asarray(times_s, float), "SCALAR"),
            "output": self.accessor(np.asarray(translations, float), "VEC3"),
        }
        self.document["accessors"][sampler["input"]] |= {"min": [float(min(times_s))], "max": [float(max(times_s))]}
        channel = {"sampler": 0, "target": {"node": node, "path": "translation"}}
        return self.add("animations", {"name": name, "samplers": [sampler], "channels": [channel]})

    def write(self, path: Path) -> Path:
        """Finish the file."""
        nodes = self.document.get("nodes", [])
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [number for number in range(len(nodes)) if number not in children]
        document = {**self.document, "scenes": [{"nodes": roots}], "scene": 0}
        binary = self.binary + bytes(-len(self.binary) % 4)
        if binary:
            document["buffers"] = [{"byteLength": len(binary)}]
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        if binary:
            chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
        path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)
        return path


def moving_cube(path: Path) -> Path:
    """A cube of 2 m that slides from x = 0 to x = 1 m in one second."""
    glb = Glb()
    glb.animate("slide", glb.node(), [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    return glb.write(path)
