"""From the configuration and what lies in the folders to a stage's data: buckets, weights, whether it is coded."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fourreal.platform.errors import UserError
from fourreal.training.catalogue import BatchShape, Catalogue, Stage, make_lanes, read_catalogue, sort_into_buckets
from fourreal.training.data import DataSettings
from fourreal.training.latent_cache import is_cache
from fourreal.training.settings.config import Config

_BUCKET = re.compile(r"(\d+)x(\d+)x(\d+)x(\d+):(\d+)")


def data_settings(config: Config, height: int, width: int) -> DataSettings:
    """The data of a stage whose model reads frames of a size in pixels.

    Raises UserError, in one sentence, for folders and buckets that do not fit each other.
    """
    coded = _coded(config.data)
    buckets = _buckets(config, height, width)
    catalogues = [read_catalogue(folder, coded=coded) for folder in config.data]
    usable = [_usable(catalogue, buckets) for catalogue in catalogues]
    weights = config.mixture.weights or tuple(map(float, usable))
    make_lanes(catalogues, weights, buckets)
    return DataSettings(
        folders=config.data,
        weights=weights,
        buckets=buckets,
        seed=config.seed,
        mixture=config.mixture,
        augment=config.augment,
        loader=config.loader,
        coded=coded,
    )


def _coded(folders: Sequence[str]) -> bool:
    coded = [is_cache(folder) for folder in folders]
    if any(coded) and not all(coded):
        cache, other = folders[coded.index(True)], folders[coded.index(False)]
        raise UserError(f"{cache} holds latents and {other} does not: train on caches alone, or on grids alone")
    return all(coded)


def _buckets(config: Config, height: int, width: int) -> tuple[BatchShape, ...]:
    if not config.mixture.buckets:
        return (BatchShape(config.stage, config.batch_size, config.views, config.times, height, width),)
    buckets = tuple(_parse(text, config.stage) for text in config.mixture.buckets)
    sizes = [(b.views, b.times, b.height, b.width) for b in buckets]
    for bucket, size in zip(buckets, sizes, strict=True):
        if sizes.count(size) > 1:
            raise UserError(f"--mixture.buckets has {bucket.size} pixels twice: give each size once")
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


def _usable(catalogue: Catalogue, buckets: Sequence[BatchShape]) -> int:
    usable = sum(map(len, sort_into_buckets(catalogue, buckets)))
    if left_out := len(catalogue.keys) - usable:
        print(f"train: {left_out} of {len(catalogue.keys)} grids in {catalogue.storage.uri} are too small and left out")
    return usable
