"""One self-contained HTML page of grids: frames as JPEG in inert script blocks, nothing fetched, all text escaped.

The page's parts lie in `page/` and are inlined here. Its content security policy allows this very style and this
very script (by their hashes), pictures made by the page itself, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg

from fourreal.evaluation.given import given_pairs
from fourreal.platform.codec import EncodedGrid
from fourreal.platform.errors import UserError
from fourreal.platform.grid import GridMeta
from fourreal.platform.tracking import flatten

_QUALITY = 92
"""Of frames that are not stored as JPEG."""
_SCRIPTS = (
    *("state", "frames", "stage", "maps", "playing", "plane", "epipolar"),
    *("splat_data", "splat_renderer", "splats", "library", "main"),
)
"""Files of `page/`, joined in this order in one function."""

Cameras = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Intrinsics `[V, 3, 3]` and world-to-camera `[V, 4, 4]`."""


@dataclass(frozen=True)
class Panel:
    """One grid as the page shows it: JPEG bytes of each frame in the order of `[V, T]`.

    `given` are the (view, time) pairs that were not generated; None when none was.
    """

    label: str
    jpegs: Sequence[bytes]
    views: int
    times: int
    height: int
    width: int
    given: Sequence[tuple[int, int]] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    cameras: Cameras | None = None


@dataclass(frozen=True)
class Entry:
    """What is shown side by side under one key; `meta` tells of it in the list. `splats`: a reconstruction's sequence
    (`reconstruction/sequence_file.py`), for the tab of splats."""

    meta: GridMeta
    panels: Sequence[Panel]
    splats: bytes | None = None


def panel_of_encoded(label: str, grid: EncodedGrid) -> Panel:
    """A stored grid; JPEG bytes are taken as they are stored. Raises UserError when it is damaged."""
    V, T, H, W = grid.shape
    given, cameras = given_pairs(grid.meta, V, T), cameras_of_encoded(grid)
    return Panel(label, grid.jpegs(), V, T, H, W, given, facts(grid.meta), cameras)


def cameras_of_encoded(grid: EncodedGrid) -> Cameras | None:
    """The cameras of a stored grid; None where it has none."""
    if not (grid.has("intrinsics") and grid.has("world_to_camera")):
        return None
    return grid.array("intrinsics"), grid.array("world_to_camera")


def panel_of_frames(
    label: str,
    frames: npt.NDArray[np.uint8],
    given: Sequence[tuple[int, int]] | None = None,
    facts: Mapping[str, Any] | None = None,
    cameras: Cameras | None = None,
) -> Panel:
    """Frames uint8 `[V, T, H, W, 3]` that are in no shard, such as a baseline's."""
    V, T, H, W, C = frames.shape
    jpegs = [_encode(frame) for frame in frames.reshape(-1, H, W, C)]
    return Panel(label, jpegs, V, T, H, W, given, facts or {}, cameras)


def facts(meta: GridMeta) -> dict[str, Any]:
    """What the page tells of a grid besides its caption, licence and source."""
    parts = {"settings": meta.settings, "motion": meta.motion, "provenance": meta.provenance}
    told = {f"{name}: {field}": value for name, part in parts.items() for field, value in flatten(part).items()}
    return {"seed of the grid": meta.seed, "source sha256": meta.source_sha256, **told}


def build_page(entries: Iterable[Entry], title: str = "View-time grids") -> str:
    """The page as one HTML document. UserError when there is nothing to show."""
    index: list[dict[str, Any]] = []
    blocks: list[str] = []
    for entry in entries:
        for p, panel in enumerate(entry.panels):
            lines = "\n".join(base64.b64encode(jpeg).decode() for jpeg in panel.jpegs)
            blocks.append(_inert_text(f"frames-{len(index)}-{p}", lines))
        if entry.splats is not None:
            blocks.append(_inert_text(f"splats-{len(index)}", base64.b64encode(entry.splats).decode()))
        index.append(_index_entry(entry))
    if not index:
        raise UserError("there is no grid to show: name a folder that holds shards with grids")
    style = _part("page.css")
    script = "\n".join(["(() => {", '"use strict";', *(_part(f"{name}.js") for name in _SCRIPTS), "})();"])
    assert "</script" not in script
    assert "</style" not in style
    blocks.append(f'<script type="application/json" id="index">{_inert_json({"grids": index})}</script>')
    policy = (
        f"default-src 'none'; img-src data: blob:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    values = {
        "policy": html.escape(policy),
        "title": html.escape(title),
        "style": style,
        "data": "".join(blocks),
        "script": script,
    }
    # One pass, so that what a caption says in braces is not taken for a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _part("page.html"))


def _index_entry(entry: Entry) -> dict[str, Any]:
    meta = entry.meta
    return {
        "key": meta.key,
        "caption": meta.caption,
        "licence": meta.licence,
        "source": meta.source_uri,
        "fps": meta.fps,
        "views": max(panel.views for panel in entry.panels),
        "times": max(panel.times for panel in entry.panels),
        "panels": [
            {
                "label": panel.label,
                "views": panel.views,
                "times": panel.times,
                "height": panel.height,
                "width": panel.width,
                "given": panel.given,
                "facts": panel.facts,
                "cameras": _cameras(panel.cameras),
            }
            for panel in entry.panels
        ],
    }


def _cameras(cameras: Cameras | None) -> dict[str, Any] | None:
    """For the page, where they are usable at all: epipolar lines of cameras that are not finite are none."""
    if cameras is None or not all(np.isfinite(array).all() for array in cameras):
        return None
    return {"intrinsics": cameras[0].tolist(), "poses": cameras[1].tolist()}


def _inert_text(name: str, text: str) -> str:
    """A script block that no browser runs; base64 alone goes in."""
    return f'<script type="text/plain" id="{name}">\n{text}\n</script>\n'


def _inert_json(document: Any) -> str:
    """JSON in which nothing can end a script block or open a comment: only `<` begins either."""
    return json.dumps(document, default=str).replace("<", "\\u003c")


def _encode(frame: npt.NDArray[np.uint8]) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=_QUALITY, colorsubsampling="444"))


def _part(name: str) -> str:
    return (resources.files("fourreal.evaluation") / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
