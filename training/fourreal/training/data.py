"""Training batches from shards of grids: only the frames that are used are decoded.

Shape legend: B samples, V views, T times, N frames of a sequence (V or T), C H W pixels of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourreal.platform.codec import EncodedGrid
from fourreal.platform.errors import UserError
from fourreal.platform.shards import ShardRecord, read_shard, require_shards
from fourreal.platform.storage import Storage
from fourreal.training.model import FIXED_VIEW, FREEZE_TIME, border_given
from fourreal.training.order import GridStream, Position, Worker

_DRAWS = 1000

Image = npt.NDArray[np.uint8]
Stage = Literal["base", "grid"]


@dataclass(frozen=True)
class BatchShape:
    """What a batch looks like. Sizes in pixels; `views` and `times` are picked evenly from what a grid has."""

    stage: Stage
    batch_size: int
    views: int
    times: int
    height: int
    width: int


@dataclass(frozen=True)
class Batch:
    """Samples of one training step on one worker.

    frames: float32 in [-1, 1], [B, N, C, H, W] in the base stage and [B, V, T, C, H, W] in the grid stage
    given:  bool, [B, N] or [B, V, T]
    context: int64 [B], FIXED_VIEW or FREEZE_TIME, in the base stage only
    """

    frames: Tensor
    given: Tensor
    context: Tensor | None


@dataclass(frozen=True)
class DataPosition:
    """Where a worker is in its data: batches drawn, and its position in every folder."""

    batches: int
    folders: tuple[Position, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> DataPosition:
        """The inverse of `to_json`."""
        return cls(document["batches"], tuple(Position(**position) for position in document["folders"]))


class BatchStream:
    """A worker's endless batches from a weighted mixture of folders.

    Everything random about a batch follows from the seed, the worker's rank and the batch's number, so a stream that
    starts at a saved position goes on exactly as the first one would have.
    """

    def __init__(
        self,
        folders: Sequence[str],
        weights: Sequence[float],
        shape: BatchShape,
        seed: int,
        *,
        worker: Worker,
        position: DataPosition | None = None,
    ) -> None:
        starts = position.folders if position else tuple(Position() for _ in folders)
        assert len(folders) == len(weights) == len(starts)
        self.shape, self.seed, self.worker = shape, seed, worker
        self.batches = position.batches if position else 0
        self.probabilities = np.asarray(weights, np.float64) / sum(weights)
        self.streams = [
            _grid_stream(folder, seed + number, worker, start)
            for number, (folder, start) in enumerate(zip(folders, starts, strict=True))
        ]

    @property
    def position(self) -> DataPosition:
        """Where the next batch comes from."""
        return DataPosition(self.batches, tuple(stream.position for stream in self.streams))

    def next(self) -> Batch:
        """The next batch. Raises UserError for a grid that is too small for the batch's views or times."""
        rng = np.random.default_rng([self.seed, self.worker.rank, self.batches])
        self.batches += 1
        shape = self.shape
        # One mode per batch, because the sequences of a batch must be equally long.
        context = int(rng.integers(2)) if shape.views > 1 and shape.times > 1 else int(shape.times == 1)
        frames, given = [], []
        for _ in range(shape.batch_size):
            grid = self._draw(context, rng)
            pairs = _base_frames(grid, shape, context, rng) if shape.stage == "base" else _grid_frames(grid, shape, rng)
            pixels = fit(grid.frames_at(pairs.reshape(-1, 2).tolist()), shape.height, shape.width)
            if rng.random() < 0.5:  # a mirrored world is a world too
                pixels = pixels[:, :, ::-1]
            frames.append(to_model(pixels.reshape(*pairs.shape[:-1], *pixels.shape[1:])))
            given.append(_given(grid, shape.stage, pairs.shape[:-1], rng))
        contexts = torch.full((shape.batch_size,), context) if shape.stage == "base" else None
        return Batch(torch.stack(frames), torch.stack(given), contexts)

    def _draw(self, context: int, rng: np.random.Generator) -> EncodedGrid:
        """The next grid of the mixture that can serve: a freeze-time grid has no fixed-view video worth learning."""
        for _ in range(_DRAWS):
            grid = self.streams[rng.choice(len(self.streams), p=self.probabilities)].next()
            if self.shape.stage == "grid" or context == FREEZE_TIME or grid.meta.kind != "freeze_time":
                return grid
        raise UserError(
            f"{_DRAWS} freeze-time grids in a row, of which none has a fixed-view video to learn from: "
            "add a folder of other grids to --data"
        )


class Prefetcher:
    """Makes the next batch in a thread while the current one is trained on.

    `next` returns a batch and the position after it: the one to save once that batch has been trained on.
    """

    def __init__(self, stream: BatchStream) -> None:
        self._stream = stream
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._future: Future[tuple[Batch, DataPosition]] = self._pool.submit(self._make)

    def next(self) -> tuple[Batch, DataPosition]:
        """Wait for the batch that is in the making and start the one after it."""
        result = self._future.result()
        self._future = self._pool.submit(self._make)
        return result

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self) -> tuple[Batch, DataPosition]:
        return self._stream.next(), self._stream.position


def fit(frames: Image, height: int, width: int) -> Image:
    """Crop frames [N, H, W, 3] centrally to the wanted aspect ratio and resize them to [N, height, width, 3]."""
    _, H, W, _ = frames.shape
    crop_height, crop_width = min(H, round(W * height / width)), min(W, round(H * width / height))
    top, left = (H - crop_height) // 2, (W - crop_width) // 2
    cropped = frames[:, top : top + crop_height, left : left + crop_width]
    if (crop_height, crop_width) == (height, width):
        return cropped
    shrinks = crop_height >= height
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    resized: Image = np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in cropped])
    return resized


def to_model(pixels: Image) -> Tensor:
    """uint8 [..., H, W, 3] to float32 [..., 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).movedim(-1, -3).float() / 127.5 - 1


def to_pixels(frames: Tensor) -> Image:
    """The inverse of `to_model`, rounded and clipped."""
    scaled = ((frames.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels: Image = scaled.movedim(-3, -1).contiguous().numpy()
    return pixels


def check_folder(folder: str, views: int, times: int, worker_count: int) -> list[ShardRecord]:
    """The shards of a folder that training can use. UserError when there are none, or too few or too small grids."""
    storage = Storage(folder)
    records = [record for record in require_shards(storage) if record.keys]
    grids = sum(len(record.keys) for record in records)
    if grids < worker_count:
        raise UserError(f"{folder} holds {grids} grids for {worker_count} workers: add grids, or lower --workers")
    _check_axes(next(read_shard(storage, records[0])), views, times)
    return records


def even_indices(have: int, want: int) -> npt.NDArray[np.int64]:
    """`want` of `have` positions, evenly spread, first and last included."""
    return np.linspace(0, have - 1, want).round().astype(np.int64)


def _check_axes(grid: EncodedGrid, views: int, times: int) -> None:
    have_views, have_times, _, _ = grid.shape
    if have_views < views or have_times < times:
        raise UserError(
            f"{grid.where} has {have_views} views and {have_times} times, fewer than --views {views} --times {times}: "
            f"lower these, or make larger grids"
        )


def _base_frames(grid: EncodedGrid, shape: BatchShape, context: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(view, time) pairs of one fixed-view or freeze-time sequence, [N, 2]."""
    _check_axes(grid, shape.views, shape.times)
    have_views, have_times, _, _ = grid.shape
    if context == FIXED_VIEW:
        times = even_indices(have_times, shape.times)
        return np.stack([np.full_like(times, rng.integers(have_views)), times], axis=-1)
    assert context == FREEZE_TIME
    views = _maybe_reversed(even_indices(have_views, shape.views), rng)
    return np.stack([views, np.full_like(views, rng.integers(have_times))], axis=-1)


def _grid_frames(grid: EncodedGrid, shape: BatchShape, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(view, time) pairs of a grid, [V, T, 2]."""
    _check_axes(grid, shape.views, shape.times)
    have_views, have_times, _, _ = grid.shape
    views = _maybe_reversed(even_indices(have_views, shape.views), rng)
    times = even_indices(have_times, shape.times)
    return np.stack(np.meshgrid(views, times, indexing="ij"), axis=-1)


def _maybe_reversed(views: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The camera path, backwards half of the time (4Real-Video-V2: a useful augmentation). Time has a direction."""
    return views[::-1] if rng.random() < 0.5 else views


def _given(grid: EncodedGrid, stage: Stage, shape: Sequence[int], rng: np.random.Generator) -> Tensor:
    """Which frames of a sample are given. In a freeze-time grid none: all times are the same, so the model would learn
    to copy them (4Real-Video-V2 drops the condition for such grids, too)."""
    if stage == "base":
        return _random_given(shape[0], rng)
    given = border_given(*shape)
    return torch.zeros_like(given) if grid.meta.kind == "freeze_time" else given


def _random_given(frames: int, rng: np.random.Generator) -> Tensor:
    """Random frame masking [N]: half the time the first frame alone, which is what a grid gives to most of its
    sequences; otherwise any subset that leaves a frame to predict."""
    given = torch.zeros(frames, dtype=torch.bool)
    if rng.random() < 0.5:
        given[0] = True
    else:
        given[rng.permutation(frames)[: rng.integers(frames)]] = True
    if given.all():  # a sequence of one frame
        given[:] = False
    return given


def _grid_stream(folder: str, seed: int, worker: Worker, start: Position) -> GridStream:
    storage = Storage(folder)
    records = [record for record in require_shards(storage) if record.keys]
    return GridStream(
        [record.keys for record in records], lambda shard: read_shard(storage, records[shard]), seed, worker, start
    )
