"""Training batches from shards of grids: only the frames that are used are decoded, straight into the batch.

Shape legend: B samples, V views, T times, N frames of a sequence (V or T), H W pixels, C h w numbers of a latent frame,
W words, E width of an embedding.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fourreal.platform.codec import CODED, FRAMES, META, EncodedGrid
from fourreal.training.data.catalogue import BatchShape, Lane, make_lanes, read_catalogue
from fourreal.training.data.coded import CodedGrid
from fourreal.training.data.frame_buffers import FrameBuffers
from fourreal.training.data.latent_cache import LatentCache
from fourreal.training.data.order import EpochOrder, Mixture
from fourreal.training.data.pixels import decode_into, to_model
from fourreal.training.data.samples import choose_frames, choose_given, sample_shape
from fourreal.training.data.shard_cache import ShardCache
from fourreal.training.data.shelf import Shelf
from fourreal.training.model import Text
from fourreal.training.settings.groups import AugmentSettings, LoaderSettings, MixtureSettings
from fourreal.training.workers.ranks import Worker


@dataclass(frozen=True)
class DataSettings:
    """All that decides a stage's batches."""

    folders: tuple[str, ...]
    weights: tuple[float, ...]
    """Of each folder, in proportion."""
    buckets: tuple[BatchShape, ...]
    seed: int
    mixture: MixtureSettings = field(default_factory=MixtureSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    coded: bool = False
    """Whether the folders are caches of latents."""
    fingerprints: tuple[str, ...] = ()
    """Of each folder as it was: a position is one in this data, and a run does not go on with other."""


@dataclass(frozen=True)
class Batch:
    """Samples of one training step on one worker.

    frames:  uint8 [B, N, H, W, 3] in the base stage and [B, V, T, H, W, 3] in the grid stage; or latents, in the
             cache's number type, [B, N, C, h, w] and [B, V, T, C, h, w], whose times are latent times
    given:   bool, [B, N] or [B, V, T]
    context: int64 [B], FIXED_VIEW or FREEZE_TIME, in the base stage only
    text:    embedded captions [B, W, E], zero beyond their end; where latents come with them
    sources: int64 [B], the number of the folder that each sample is from
    """

    frames: Tensor
    given: Tensor
    context: Tensor | None
    text: Text | None
    sources: Tensor

    @property
    def clean_shape(self) -> torch.Size:
        """Of `clean_frames(frames)`."""
        pixels = self.frames.dtype == torch.uint8
        return self.frames.movedim(-1, -3).shape if pixels else self.frames.shape


def clean_frames(frames: Tensor) -> Tensor:
    """What the model reads of a batch's frames, float32: pixels [..., 3, H, W] in [-1, 1], or latents [..., C, h, w].

    Called on the device, to which bytes are a quarter of the floats to move.
    """
    return to_model(frames) if frames.dtype == torch.uint8 else frames.float()


@dataclass(frozen=True)
class DataPosition:
    """Where a run is in its data, the same for every worker and every number of workers.

    batches: how many are behind; draws: samples drawn in each lane, by all workers together
    """

    batches: int
    draws: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> DataPosition:
        """The inverse of `to_json`."""
        return cls(document["batches"], tuple(document["draws"]))


@dataclass(frozen=True)
class Draw:
    """A sample to be made: grid `grid` of folder `source`, the lane's `number`-th sample."""

    source: int
    grid: int
    number: int


@dataclass(frozen=True)
class BatchOrder:
    """A batch to be made: its lane, this worker's samples of it, and the position after it."""

    lane: int
    draws: tuple[Draw, ...]
    position: DataPosition


class BatchStream:
    """A worker's endless batches.

    Which samples batch k holds, over all workers, and everything random about them, follows from the seed and k alone
    as long as the number of workers stays, and from the seed and the position always.
    """

    def __init__(self, data: DataSettings, *, worker: Worker, position: DataPosition | None = None) -> None:
        self.data, self.worker = data, worker
        self.caches = [LatentCache.open(folder) for folder in data.folders] if data.coded else []
        catalogues = [read_catalogue(folder, coded=data.coded) for folder in data.folders]
        self.lanes = make_lanes(catalogues, data.weights, data.buckets)
        self.position = position or DataPosition(0, (0,) * len(self.lanes))
        assert len(self.position.draws) == len(self.lanes), "a position in other data"
        seed, strands = data.seed, data.mixture.strands
        self._lanes = Mixture([lane.share for lane in self.lanes], [seed, 0])
        self._members = [Mixture(lane.weights, [seed, 1, n], strands) for n, lane in enumerate(self.lanes)]
        self._orders = [
            [
                EpochOrder(catalogues[source].shard_of[grids], [seed, 2, n, source], strands)
                for source, grids in lane.members
            ]
            for n, lane in enumerate(self.lanes)
        ]
        self._frozen = [catalogue.frozen for catalogue in catalogues]
        self.fetches = any(not catalogue.storage.is_local for catalogue in catalogues)
        cache = ShardCache(data.loader.cache, int(data.loader.cache_gb * 1e9)) if self.fetches else None
        self.buffers = FrameBuffers()
        self.shelf = Shelf(catalogues, (META, CODED if data.coded else FRAMES), cache)

    def order(self) -> BatchOrder:
        """The next batch, to be made by an `Assembly`; the position moves on."""
        number, _ = self._lanes.place(self.position.batches)
        lane = self.lanes[number]
        first, count = self.position.draws[number], lane.bucket.batch_size * self.worker.world
        mine = (n for n in range(first, first + count) if n % self.worker.world == self.worker.rank)
        draws = tuple(self._draw(number, n) for n in mine)
        moved = (*self.position.draws[:number], first + count, *self.position.draws[number + 1 :])
        self.position = DataPosition(self.position.batches + 1, moved)
        return BatchOrder(number, draws, self.position)

    def next(self) -> Batch:
        """The next batch, made at once. Raises UserError for a shard that cannot be read."""
        assembly = Assembly(self, self.order())
        for sample in range(len(assembly.order.draws)):
            assembly.fill(sample)
        return assembly.batch

    def drop(self, draw: Draw) -> float:
        """The probability that a sample of the grid stage is given no frame."""
        mixture = self.data.mixture
        of_folder = mixture.condition_drop[draw.source] if mixture.condition_drop else 0.0
        return max(of_folder, mixture.static_condition_drop) if self._frozen[draw.source][draw.grid] else of_folder

    def _draw(self, lane: int, number: int) -> Draw:
        member, index = self._members[lane].place(number)
        source, grids = self.lanes[lane].members[member]
        return Draw(source, int(grids[self._orders[lane][member].place(index)]), number)


class Assembly:
    """A batch in the making: its samples are filled in in any order, by any thread."""

    def __init__(self, stream: BatchStream, order: BatchOrder) -> None:
        self.stream, self.order = stream, order
        self.lane: Lane = stream.lanes[order.lane]
        self.bucket = self.lane.bucket
        count, text = len(order.draws), None
        if stream.caches:
            shape = stream.caches[self.lane.members[0][0]].shape
            self.bucket = replace(self.bucket, times=shape.times)
            frame, dtype = shape.frame, shape.dtype
            if shape.text is not None:
                text = Text(torch.zeros((count, *shape.text), dtype=dtype))
        else:
            frame, dtype = (self.bucket.height, self.bucket.width, 3), torch.uint8
        leading = (count, *sample_shape(self.bucket, self.lane.context))
        self.batch = Batch(
            frames=stream.buffers.take((*leading, *frame), dtype),
            given=torch.zeros(leading, dtype=torch.bool),
            context=None if self.lane.context is None else torch.full((count,), self.lane.context),
            text=text,
            sources=torch.tensor([draw.source for draw in order.draws]),
        )

    def fill(self, sample: int) -> None:
        """Make a sample. Raises UserError for a shard that cannot be read."""
        stream, draw = self.stream, self.order.draws[sample]
        # A sample is the same whichever worker, thread and batch it is made in.
        rng = np.random.default_rng([stream.data.seed, 3, self.order.lane, draw.number])
        grid = stream.shelf.grid(draw.source, draw.grid)
        given = self.batch.given[sample]
        given.copy_(choose_given(self.bucket.stage, given.shape, stream.drop(draw), stream.data.mixture, rng))
        if stream.caches:
            self._fill_coded(sample, CodedGrid.of(grid), stream.caches[draw.source], rng)
        else:
            self._fill_pixels(sample, grid, rng)

    def _fill_pixels(self, sample: int, grid: EncodedGrid, rng: np.random.Generator) -> None:
        augment = self.stream.data.augment
        pairs = choose_frames(grid.shape[:2], self.bucket, self.lane.context, augment, rng).reshape(-1, 2)
        place = (rng.random(), rng.random()) if augment.crop == "random" else (0.5, 0.5)
        out = self.batch.frames[sample].view(len(pairs), self.bucket.height, self.bucket.width, 3).numpy()
        decode_into(out, grid, pairs, place, mirrored=rng.random() < augment.mirror)

    def _fill_coded(self, sample: int, coded: CodedGrid, cache: LatentCache, rng: np.random.Generator) -> None:
        views, times = coded.latents.shape[:2]
        pairs = choose_frames((views, times), self.bucket, self.lane.context, self.stream.data.augment, rng)
        self.batch.frames[sample].copy_(coded.latents[pairs[..., 0], pairs[..., 1]])
        if self.batch.text is not None:
            text = cache.empty_text if rng.random() < self.stream.data.mixture.caption_drop else coded.text
            assert text is not None, "the cache says that it has captions"
            self.batch.text.embeddings[sample, : len(text)].copy_(text)


class Prefetcher:
    """Makes batches in threads while others are trained on, and has their shards fetched before.

    `next` returns a batch and the position after it: the one to save once that batch has been trained on.
    """

    def __init__(self, stream: BatchStream) -> None:
        loader = stream.data.loader
        self._stream, self._ahead = stream, loader.ahead
        self._fetches = loader.fetch_ahead if stream.fetches else 0
        self._pool = ThreadPoolExecutor(loader.threads, thread_name_prefix="batches")
        self._fetchers = ThreadPoolExecutor(loader.threads, thread_name_prefix="shards")
        self._orders: deque[BatchOrder] = deque()
        self._making: deque[tuple[Assembly, list[Future[None]]]] = deque()
        self._fill_up()

    def next(self) -> tuple[Batch, DataPosition]:
        """Wait for the oldest batch in the making and begin another."""
        assembly, samples = self._making.popleft()
        for sample in samples:
            sample.result()
        self._fill_up()
        return assembly.batch, assembly.order.position

    def close(self) -> None:
        """End the threads."""
        for pool in (self._pool, self._fetchers):
            pool.shutdown(wait=True, cancel_futures=True)

    def _fill_up(self) -> None:
        while len(self._making) < self._ahead:
            while len(self._orders) <= self._fetches:
                self._orders.append(self._stream.order())
                if self._fetches:
                    for draw in self._orders[-1].draws:
                        self._fetchers.submit(self._stream.shelf.fetch, draw.source, draw.grid)
            assembly = Assembly(self._stream, self._orders.popleft())
            fills = [self._pool.submit(assembly.fill, sample) for sample in range(len(assembly.order.draws))]
            self._making.append((assembly, fills))
