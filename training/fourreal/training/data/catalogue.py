"""What there is to train on, known from index records alone: which grids, how large, and which bucket each goes to.

A *bucket* is a size of batch: (V, T, H, W) and how many samples. Every grid goes to one bucket, so that an epoch holds
it once. A *lane* is a bucket with one kind of sample: each batch comes from one lane, the same on all workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fourreal.platform.errors import UserError
from fourreal.platform.shards import ShardRecord, check_size, read_shard, require_shards
from fourreal.platform.storage import Storage
from fourreal.training.data.order import Indices
from fourreal.training.data.pixels import crop_size
from fourreal.training.model import FIXED_VIEW, FREEZE_TIME
from fourreal.training.settings.groups import Stage

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class BatchShape:
    """A bucket: what a batch looks like. Sizes in pixels; `views` and `times` are picked from what a grid has."""

    stage: Stage
    batch_size: int
    """Samples of one worker."""
    views: int
    times: int
    height: int
    width: int

    @property
    def size(self) -> str:
        """For messages."""
        return f"{self.views}x{self.times} of {self.height}x{self.width}"


@dataclass(frozen=True)
class Catalogue:
    """The grids of a folder, in the order of its shards.

    records: shards that hold a grid; shard_of: the place among these of each grid's, [N]
    shapes: (V, T, H, W) of each grid; frozen: whether its kind is freeze-time, [N] bool
    coded: whether the folder is a cache of latents, whose grids have the size that they were coded in and no other
    """

    storage: Storage
    records: tuple[ShardRecord, ...]
    keys: tuple[str, ...]
    shard_of: Indices
    shapes: tuple[Shape, ...]
    frozen: npt.NDArray[np.bool_]
    coded: bool


@dataclass(frozen=True)
class Lane:
    """One kind of batch, and the samples that it is made of.

    context: FIXED_VIEW or FREEZE_TIME, in the base stage only
    members: the sources that have grids for it, by number, with the numbers of these grids
    weights: the proportion of each member among the lane's samples
    share:   the lane's proportion among batches
    """

    bucket: BatchShape
    context: int | None
    members: tuple[tuple[int, Indices], ...]
    weights: tuple[float, ...]
    share: float


def read_catalogue(folder: str, *, coded: bool = False) -> Catalogue:
    """What is in a folder. Raises UserError when there is nothing, or something unreadable or newer than this code.

    Shards of before records told sizes are opened for their metadata.
    """
    storage = Storage(folder)
    records = tuple(record for record in require_shards(storage) if record.keys)
    shapes: list[Shape] = []
    frozen: list[bool] = []
    for record in records:
        if record.shapes:
            shapes += [record.shapes[key] for key in record.keys]
            frozen += [key in record.freeze_time for key in record.keys]
        else:
            grids = list(read_shard(storage, record))
            shapes += [grid.shape for grid in grids]
            frozen += [grid.meta.kind == "freeze_time" for grid in grids]
    shard_of = np.repeat(np.arange(len(records)), [len(record.keys) for record in records])
    keys = tuple(key for record in records for key in record.keys)
    return Catalogue(storage, records, keys, shard_of, tuple(shapes), np.array(frozen), coded)


def check_readable(catalogue: Catalogue) -> None:
    """Raises UserError for a shard that is missing or of another size than its record says, and when the first grid
    cannot be read. One listing and the beginning of one shard."""
    sizes = {entry.path: entry.size_bytes for entry in catalogue.storage.list()}
    for record in catalogue.records:
        check_size(sizes.get(record.name), record, f"{catalogue.storage.uri.rstrip('/')}/{record.name}")
    first = catalogue.records[0]
    grid = next(read_shard(catalogue.storage, first), None)
    if grid is None:
        raise UserError(f"{catalogue.storage.uri} has nothing in {first.name}: delete its record and run its job again")
    if not catalogue.coded:
        grid.frames_at([(0, 0)])


def bucket_of(shape: Shape, buckets: Sequence[BatchShape], *, coded: bool = False) -> int | None:
    """The bucket of a grid: the one that shows most of its pixels, of equals the smallest; None when it has too few
    views or times for any. A coded grid has to have the bucket's times and pixels."""
    have_views, have_times, H, W = shape
    best, best_rank = None, (0, 0)
    for number, bucket in enumerate(buckets):
        pixels = bucket.height * bucket.width
        if coded and (have_times, H, W) != (bucket.times, bucket.height, bucket.width):
            continue
        if have_views < bucket.views or have_times < bucket.times:
            continue
        kept_height, kept_width = crop_size(H, W, bucket.height, bucket.width)
        frames = bucket.views * bucket.times
        rank = (frames * min(pixels, kept_height * kept_width), -frames * pixels)
        if best is None or rank > best_rank:
            best, best_rank = number, rank
    return best


def sort_into_buckets(catalogue: Catalogue, buckets: Sequence[BatchShape]) -> list[Indices]:
    """The grids of each bucket; those that fit none are in none. UserError when no grid of the folder fits any."""
    by_shape = {shape: bucket_of(shape, buckets, coded=catalogue.coded) for shape in set(catalogue.shapes)}
    numbers = np.array([-1 if by_shape[shape] is None else by_shape[shape] for shape in catalogue.shapes])
    if (numbers < 0).all():
        raise UserError(_misfit(catalogue, buckets))
    return [np.flatnonzero(numbers == number) for number in range(len(buckets))]


def _misfit(catalogue: Catalogue, buckets: Sequence[BatchShape]) -> str:
    have_views, have_times, H, W = max(catalogue.shapes)
    wanted = " or ".join(sorted({f"--views {b.views} --times {b.times}" for b in buckets}))
    if catalogue.coded:
        sizes = " or ".join(bucket.size for bucket in buckets)
        return (
            f"the grids in {catalogue.storage.uri} were coded as {have_views}x{have_times} of {H}x{W}, and training "
            f"is asked for {sizes}: ask for that size, or code them again"
        )
    return (
        f"{catalogue.storage.uri} has grids of {have_views} views and {have_times} times, fewer than {wanted}: "
        f"lower these, or make larger grids"
    )


def make_lanes(catalogues: Sequence[Catalogue], weights: Sequence[float], buckets: Sequence[BatchShape]) -> list[Lane]:
    """The lanes of a stage. Sources keep their proportions over all lanes, as far as they have what a lane needs.

    weights: the proportion of each source; a source's grids are drawn equally often
    Raises UserError for a bucket without a grid, and where there is no fixed-view video to learn from.
    """
    sorted_grids = [sort_into_buckets(catalogue, buckets) for catalogue in catalogues]
    usable = [sum(map(len, grids)) for grids in sorted_grids]
    lanes = []
    for number, bucket in enumerate(buckets):
        mass = sum(
            weight * len(grids[number]) / total
            for weight, grids, total in zip(weights, sorted_grids, usable, strict=True)
        )
        of_bucket: list[tuple[int | None, list[tuple[int, Indices]], list[float]]] = []
        for context in _contexts(bucket):
            members, member_weights = [], []
            for source, grids_of in enumerate(sorted_grids):
                grids = grids_of[number]
                if context == FIXED_VIEW:  # a freeze-time grid has no fixed-view video worth learning
                    grids = grids[~catalogues[source].frozen[grids]]
                if len(grids) and weights[source] > 0:
                    members.append((source, grids))
                    member_weights.append(weights[source] * len(grids) / usable[source])
            if members:
                of_bucket.append((context, members, member_weights))
        for context, members, member_weights in of_bucket:
            share = mass / bucket.batch_size / len(of_bucket)
            lanes.append(Lane(bucket, context, tuple(members), tuple(member_weights), share))
        if not of_bucket:
            raise UserError(
                f"no grid of --data goes to the bucket {bucket.size} pixels: leave it out, or add grids of that size"
            )
    wanted = {context for bucket in buckets for context in _contexts(bucket)}
    if FIXED_VIEW in wanted - {lane.context for lane in lanes}:
        raise UserError(
            "all grids are freeze-time ones, which have no fixed-view video to learn from: "
            "add a folder of other grids to --data"
        )
    return lanes


def _contexts(bucket: BatchShape) -> tuple[int | None, ...]:
    """One mode per batch, because the sequences of a batch must be equally long."""
    if bucket.stage == "grid":
        return (None,)
    if bucket.stage == "base" and bucket.views > 1 and bucket.times > 1:
        return FIXED_VIEW, FREEZE_TIME
    return (FREEZE_TIME if bucket.times == 1 else FIXED_VIEW,)  # the upsampler reads fixed-view videos alone
