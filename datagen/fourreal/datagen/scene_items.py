"""Items of several objects: which assets stand together in one grid, and what their plan says of them.

Such an item's spec holds `objects`: for each its key, source and spec, as if it were alone; and the licences of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fourreal.datagen.seeds import item_rng
from fourreal.platform.datajob import Item, ItemFailure, Preparation, Preparer
from fourreal.platform.errors import UserError

_KEY_ROOM = 190


def group_items(items: Iterable[Item], objects: tuple[int, int], seed: int) -> Iterator[Item]:
    """One scene for each item: that item, and others of other assets, drawn from all by the seed and the item's key.

    So every asset is in at least as many scenes as it has items. Fewer objects than the most are drawn where there
    are not so many assets. Raises UserError when there are fewer than the least.
    """
    least, most = objects
    listed = list(items)
    by_source: dict[str, list[Item]] = {}
    for item in listed:
        by_source.setdefault(item.source, []).append(item)
    sources = list(by_source)
    if len(sources) < least:
        raise UserError(
            f"--objects-per-scene {least} {most} needs at least {least} assets, and there are {len(sources)}"
        )
    places = {source: n for n, source in enumerate(sources)}
    for first in listed:
        rng = item_rng(seed, f"{first.key}/objects")
        count = int(rng.integers(least, min(most, len(sources)) + 1))
        drawn = rng.choice(len(sources) - 1, size=count - 1, replace=False).tolist() if count > 1 else []
        own = places[first.source]
        others = [by_source[sources[n + (n >= own)]] for n in drawn]
        yield _scene([first, *(of_asset[int(rng.integers(len(of_asset)))] for of_asset in others)])


def objects_of(item: Item) -> list[Item]:
    """The objects of an item, each as an item of its own; the item itself where it is one object."""
    if "objects" not in item.spec:
        return [item]
    return [Item(o["key"], o["source"], o["spec"]) for o in item.spec["objects"]]


def naming(item: Item, failure: ItemFailure) -> ItemFailure:
    """The failure of one object of several, with the asset's name before what is wrong with it."""
    sha256 = item.spec.get("sha256")
    known_as = f"{item.key} ({item.source}{f', sha256 {sha256}' if sha256 else ''})"
    return ItemFailure(
        failure.stage,
        failure.reason,
        f"{known_as}: {failure.message}",
        stderr_tail=failure.stderr_tail,
        retryable=failure.retryable,
        attempts=failure.attempts,
    )


def joint_licence(items: Iterable[Item]) -> str:
    """The licences of all, as an SPDX expression: each holds."""
    return " AND ".join(sorted({str(item.spec["licence"]) for item in items}))


def group_preparation(preparation: Preparation | None) -> Preparation | None:
    """The same for items of several objects."""
    if preparation is None:
        return None
    return replace(preparation, make_preparer=partial(_prepare_each, preparation.make_preparer))


def _prepare_each(make_preparer: Callable[[], Preparer]) -> Preparer:
    return _EachObject(make_preparer())


@dataclass(frozen=True)
class _EachObject:
    """Prepares, and releases, every object of an item; see `Preparer`."""

    preparer: Preparer

    def prepare(self, item: Item) -> None:
        """See `Preparer`."""
        for part in objects_of(item):
            try:
                self.preparer.prepare(part)
            except ItemFailure as failure:
                raise naming(part, failure) from None

    def release(self, item: Item) -> None:
        """See `Preparer`. Other scenes may show the same assets: these fetch them again."""
        for part in objects_of(item):
            self.preparer.release(part)


def _scene(items: Sequence[Item]) -> Item:
    first = items[0]
    spec = {
        "licence": joint_licence(items),
        "objects": [{"key": item.key, "source": item.source, "spec": dict(item.spec)} for item in items],
    }
    return Item(f"{first.key[:_KEY_ROOM]}-with-{len(items) - 1}", first.source, spec, first.group)
