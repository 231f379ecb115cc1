"""Where 3D assets come from: files, models made from a seed, Objaverse.

Known without opening Blender: address, licence, who made it, and a key that stays the same wherever the file is moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fourreal.datagen.assets.files import FileAssets
from fourreal.datagen.assets.models import PROCEDURAL, ProceduralAssets
from fourreal.datagen.assets.source import AssetSource
from fourreal.datagen.objaverse.settings import SETS, Downloads, Selection
from fourreal.platform.datajob import Item
from fourreal.platform.errors import UserError
from fourreal.platform.grid import make_key
from fourreal.platform.storage import Storage

__all__ = ["ALL", "LONGEST", "AssetSource", "list_assets", "open_assets"]

LONGEST, ALL = "longest", "all"
"""What can be said instead of names of clips."""


def open_assets(
    assets: str,
    seed: int,
    cache: Storage | None = None,
    selection: Selection | None = None,
    downloads: Downloads | None = None,
) -> AssetSource:
    """The source that `assets` names: `objaverse`, `objaverse-xl`, `procedural:N`, a file or a folder.

    `cache` keeps models made from a seed. Raises UserError for a selection where there is nothing to select from.
    """
    if assets in SETS:
        from fourreal.datagen.objaverse.source import ObjaverseAssets

        return ObjaverseAssets(assets, seed, selection or Selection(), downloads or Downloads())
    if selection not in (None, Selection()):
        raise UserError(f"--objaverse.* selects nothing of --assets {assets}: give {' or '.join(SETS)}")
    if assets.startswith(PROCEDURAL):
        return ProceduralAssets(assets, seed, cache or Storage("assets"))
    return FileAssets(assets)


def list_assets(source: AssetSource, grids_per_asset: int, clips: Sequence[str] = (LONGEST,)) -> Iterator[Item]:
    """Items of a source: each asset's longest clip, every clip, or those of the given names, as often as asked.

    Of a file that is not here yet nobody knows the names of its clips. Where it is published how many animations it
    has, `all` gives it as many items, each for the clip of a number (`clip_index`); some of them may turn out to be
    parts of one motion. Otherwise, and where a file cannot be read, it has one item, for its longest clip. Names asked
    for give an item each; Blender then says which it lacks. Raises UserError when there is nothing.
    """
    found: set[str] = set()
    planned = False
    for asset in source.items():
        known = asset.spec.get("clips")
        found.update(known or ())
        spec = {name: value for name, value in asset.spec.items() if name not in ("clips", "animations")}
        for suffix, chosen in _choices(known, asset.spec.get("animations"), clips):
            for n in range(grids_per_asset):
                planned = True
                key = f"{asset.key}{suffix}" if grids_per_asset == 1 else f"{asset.key}{suffix}-{n:03d}"
                yield Item(key, asset.source, spec | chosen)
    if not planned:
        raise UserError(f"no asset has a clip {' or '.join(clips)}: there are {', '.join(sorted(found)) or 'none'}")


def _choices(
    known: Sequence[str] | None, animations: int | None, clips: Sequence[str]
) -> list[tuple[str, dict[str, str | int]]]:
    """An ending of the key, and what the item's spec says of its clip."""
    if clips == (ALL,) and known is None and animations is not None and animations > 1:
        return [(f"-{n:02d}", {"clip_index": n}) for n in range(animations)]
    if clips == (LONGEST,) or (clips == (ALL,) and not known):
        return [("", {})]
    names = list(dict.fromkeys(clips)) if known is None else list(known)
    return [
        (f"-{n:02d}-{make_key(name)[:40]}", {"clip": name})
        for n, name in enumerate(names)
        if clips == (ALL,) or name in clips
    ]
