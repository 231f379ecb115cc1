"""From the configuration and what lies in the folders to a stage's data: buckets, weights, whether it is coded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fourreal.platform.errors import UserError
from fourreal.platform.shards import list_shards
from fourreal.platform.storage import Storage
from fourreal.training.data.batches import DataSettings
from fourreal.training.data.catalogue import (
    BatchShape,
    Catalogue,
    check_readable,
    make_lanes,
    read_catalogue,
    sort_into_buckets,
)
from fourreal.training.data.latent_cache import LatentCache, is_cache, records_fingerprint, source_fingerprint
from fourreal.training.settings.config import Config
from fourreal.training.settings.groups import Stage

_BUCKET = re.compile(r"(\d+)x(\d+)x(\d+)x(\d+):(\d+)")


def data_settings(config: Config, size: tuple[int, int] | None, start_from: str | None) -> DataSettings:
    """The data of a stage. `size`: height and width in pixels that the model reads, None where it reads latents.

    Raises UserError, in one sentence, for folders and buckets that do not fit each other or the model, and for caches
    of latents that are stale.
    """
    coded = _coded(config.data)
    if coded != (size is None):
        reads, hold = ("pixels", "latents") if coded else ("latents", "frames")
        raise UserError(
            f"the model reads {reads} and the folders of --data hold {hold}: "
            f"{'name folders of grids' if coded else 'code them first, with `fourreal precompute`'}"
        )
    if coded:
        size = _check_caches(config.data, start_from)
    assert size is not None
    buckets = _buckets(config, *size)
    _check_sizes(buckets, size, coded=coded)
    catalogues = [read_catalogue(folder, coded=coded) for folder in config.data]
    for catalogue in catalogues:
        check_readable(catalogue)
    usable = [_usable(catalogue, buckets) for catalogue in catalogues]
    weights = config.mixture.weights or tuple(map(float, usable))
    make_lanes(catalogues, weights, buckets)
    _note_small_cache(config, catalogues)
    return DataSettings(
        folders=config.data,
        weights=weights,
        buckets=buckets,
        seed=config.seed,
        mixture=config.mixture,
        augment=config.augment,
        loader=config.loader,
        coded=coded,
        fingerprints=tuple(records_fingerprint(catalogue.records) for catalogue in catalogues),
    )


def _coded(folders: Sequence[str]) -> bool:
    coded = [is_cache(folder) for folder in folders]
    if any(coded) and not all(coded):
        cache, other = folders[coded.index(True)], folders[coded.index(False)]
        raise UserError(f"{cache} holds latents and {other} does not: train on caches alone, or on grids alone")
    return all(coded)


def _check_caches(folders: Sequence[str], start_from: str | None) -> tuple[int, int]:
    """Refuse what is stale, or without captions; returns the size that was coded, pixels.

    Grids that are no longer where they were, and parts that are not in the model's folder, are not compared.
    """
    from fourreal.training.encoding.grids import fingerprint_for  # needs diffusers

    caches = [LatentCache.open(folder) for folder in folders]
    model = Path(start_from).expanduser() if start_from else None
    for cache in caches:
        if cache.shape.text is None:
            raise UserError(
                f"the cache in {cache.storage.uri} has no captions, which the model reads: run `fourreal precompute` "
                f"with captions into another folder"
            )
        source = Storage(cache.source_uri)
        source_now = source_fingerprint(source) if list_shards(source) else ""
        cache.check(fingerprint_for(cache.fingerprint, source_now, model))
    if len({(cache.shape.text, cache.shape.number_type) for cache in caches}) > 1:
        raise UserError("the caches of --data differ in captions or number type: make them with the same settings")
    _, height, width = caches[0].fingerprint.size
    return height, width


def _check_sizes(buckets: Sequence[BatchShape], size: tuple[int, int], *, coded: bool) -> None:
    for bucket in buckets:
        if not coded and (bucket.height, bucket.width) != size:
            raise UserError(
                f"the bucket {bucket.size} pixels is of another size than the {size[0]}x{size[1]} that the model "
                f"reads: buckets of a model of pixels differ in views and times"
            )


def _buckets(config: Config, height: int, width: int) -> tuple[BatchShape, ...]:
    if not config.mixture.buckets:
        return (BatchShape(config.stage, config.batch_size, config.views, config.times, height, width),)
    buckets = tuple(_parse(text, config.stage) for text in config.mixture.buckets)
    sizes = [(b.views, b.times, b.height, b.width) for b in buckets]
    for bucket, size in zip(buckets, sizes, strict=True):
        if sizes.count(size) > 1:
            raise UserError(f"--mixture.buckets has {bucket.size} pixels twice: give each size once")
        if bucket.batch_size % config.engine.micro_batches:
            raise UserError(
                f"the bucket {bucket.size} pixels has batches of {bucket.batch_size}, which do not split into "
                f"--engine.micro-batches {config.engine.micro_batches} equal parts: use a multiple"
            )
    return buckets


def _parse(text: str, stage: Stage) -> BatchShape:
    match = _BUCKET.fullmatch(text)
    if not match or 0 in (numbers := [int(number) for number in match.groups()]):
        raise UserError(
            f"--mixture.buckets has {text!r}: write VIEWSxTIMESxHEIGHTxWIDTH:BATCH, 8x8x32x48:4 for instance"
        )
    views, times, height, width, batch_size = numbers
    smallest = (views, times) if stage == "grid" else (max(views, times),)
    if min(smallest) < 2:
        raise UserError(f"the bucket {text} leaves the {stage} stage nothing to learn: give at least 2 views and times")
    return BatchShape(stage, batch_size, views, times, height, width)


def _note_small_cache(config: Config, catalogues: Sequence[Catalogue]) -> None:
    """Say so when the shards that are read side by side do not fit into the cache: it works, and wastes traffic."""
    open_bytes = 0
    for catalogue in catalogues:
        if not catalogue.storage.is_local:
            sizes = sorted((record.size_bytes for record in catalogue.records), reverse=True)
            open_bytes += sum(sizes[: config.mixture.strands])
    if open_bytes > config.loader.cache_gb * 1e9:
        print(
            f"train: shards of up to {open_bytes / 1e9:.1f} GB are read side by side and the cache holds "
            f"{config.loader.cache_gb:g} GB, so they are fetched again and again where all workers share it: raise "
            f"--loader.cache-gb, or lower --mixture.strands"
        )


def _usable(catalogue: Catalogue, buckets: Sequence[BatchShape]) -> int:
    usable = sum(map(len, sort_into_buckets(catalogue, buckets)))
    if left_out := len(catalogue.keys) - usable:
        print(f"train: {left_out} of {len(catalogue.keys)} grids in {catalogue.storage.uri} are too small and left out")
    return usable
