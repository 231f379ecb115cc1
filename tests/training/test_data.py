"""Order of the data, and what batches hold and decode."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import square_grid

from fourreal.platform import codec
from fourreal.platform.codec import encode
from fourreal.platform.errors import UserError
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage
from fourreal.training.data import (
    BatchShape,
    BatchStream,
    DataPosition,
    Prefetcher,
    check_folder,
    fit,
    to_model,
    to_pixels,
)
from fourreal.training.model import FIXED_VIEW, FREEZE_TIME, border_given
from fourreal.training.order import Position, Worker, epoch_order

MakeFolder = Callable[..., str]

BASE = BatchShape("base", batch_size=2, views=3, times=4, height=8, width=12)
GRID = BatchShape("grid", batch_size=2, views=3, times=4, height=8, width=12)
ALONE = Worker(0, 1)


def stream(
    folders: list[str], shape: BatchShape, worker: Worker = ALONE, at: DataPosition | None = None
) -> BatchStream:
    return BatchStream(folders, [1.0] * len(folders), shape, 5, worker=worker, position=at)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_workers_together_see_every_grid_once_an_epoch(world: int) -> None:
    shards = [[f"{shard}-{i}" for i in range(count)] for shard, count in enumerate((3, 7, 1, 5, 2, 6, 4))]
    everything = sorted((shard, key) for shard, keys in enumerate(shards) for key in keys)
    for epoch in (0, 1):
        parts = [epoch_order(shards, 0, epoch, Worker(rank, world)) for rank in range(world)]
        assert sorted(itertools.chain(*parts)) == everything
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert epoch_order(shards, 0, 0, ALONE) == epoch_order(shards, 0, 0, ALONE)
    assert epoch_order(shards, 0, 0, ALONE) != epoch_order(shards, 0, 1, ALONE)
    assert epoch_order(shards, 0, 0, ALONE) != epoch_order(shards, 1, 0, ALONE)


def test_a_worker_reads_each_shard_in_one_stretch() -> None:
    """However many shards there are, a worker comes back to none of them: windows hold a few whole shards."""
    shards = [[f"{shard}-{i}" for i in range(5)] for shard in range(12)]
    order = [shard for shard, _ in epoch_order(shards, 0, 0, ALONE)]
    for shard in range(12):
        places = [place for place, other in enumerate(order) if other == shard]
        assert places[-1] - places[0] < 4 * 5


def test_a_stream_resumed_from_json_goes_on_exactly(make_folder: MakeFolder) -> None:
    folders = [make_folder("a"), make_folder("b", shards=(4,), start=50)]
    for shape in (BASE, GRID):
        first = stream(folders, shape, Worker(1, 2))
        for _ in range(4):
            first.next()
        position = DataPosition.from_json(first.position.to_json())
        expected = [first.next() for _ in range(8)]
        second = stream(folders, shape, Worker(1, 2), position)
        for batch in expected:
            again = second.next()
            assert torch.equal(batch.frames, again.frames)
            assert torch.equal(batch.given, again.given)
            assert (batch.context is None) == (again.context is None)
        assert first.position == second.position
        assert first.position.folders != (Position(), Position())


def test_prefetching_changes_nothing(make_folder: MakeFolder) -> None:
    folder = make_folder("a")
    plain, prefetched = stream([folder], BASE), Prefetcher(stream([folder], BASE))
    for _ in range(5):
        batch, position = prefetched.next()
        assert torch.equal(batch.frames, plain.next().frames)
        assert position == plain.position
    prefetched.close()


@pytest.mark.parametrize(("shape", "frames"), [(BASE, {3, 4}), (GRID, {12})])
def test_only_used_frames_are_decoded(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, shape: BatchShape, frames: set[int]
) -> None:
    folder = make_folder("a", shape=(5, 6, 16, 24))  # 30 frames a grid
    counts: list[int] = []
    original = codec._CODECS["png"].decode
    spy = codec._BlobCodec(codec._CODECS["png"].encode, lambda *args: (counts.append(1), original(*args))[1])
    monkeypatch.setitem(codec._CODECS, "png", spy)
    batches = stream([folder], shape)
    for _ in range(6):
        counts.clear()
        batches.next()
        assert len(counts) / shape.batch_size in frames


def test_base_batches_are_sequences_of_one_mode_with_a_frame_to_predict(make_folder: MakeFolder) -> None:
    batches = stream([make_folder("a")], BASE)
    seen = set()
    subsets = set()
    for _ in range(40):
        batch = batches.next()
        assert batch.context is not None
        mode = int(batch.context[0])
        assert (batch.context == mode).all()
        seen.add(mode)
        assert batch.frames.shape == (2, {FIXED_VIEW: 4, FREEZE_TIME: 3}[mode], 3, 8, 12)
        assert batch.frames.abs().max() <= 1
        assert not batch.given.all(dim=1).any()
        subsets |= {tuple(given.tolist()) for given in batch.given}
    assert seen == {FIXED_VIEW, FREEZE_TIME}
    assert len(subsets) > 5


def test_grid_batches_give_the_first_view_and_the_first_time(make_folder: MakeFolder) -> None:
    batch = stream([make_folder("a")], GRID).next()
    assert batch.frames.shape == (2, 3, 4, 3, 8, 12)
    assert torch.equal(batch.given, border_given(3, 4).expand(2, -1, -1))
    assert batch.context is None


def test_freeze_time_grids_are_given_nothing_and_make_no_fixed_view_videos(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    grids = [square_grid(i, 3, 4, 16, 24) for i in range(6)]
    frozen = [replace(grid, meta=replace(grid.meta, kind="freeze_time")) for grid in grids[1:]]
    write_shard(storage, 0, [(grid.key, encode(grid, lossless=True)) for grid in [grids[0], *frozen]])
    batches = stream([storage.uri], GRID)
    given = torch.cat([batches.next().given for _ in range(6)])
    nothing = ~given.flatten(1).any(dim=1)
    assert torch.equal(given[~nothing], border_given(3, 4).expand(int((~nothing).sum()), -1, -1))
    assert int(nothing.sum()) == 10  # five of each epoch's six

    moving = to_model(grids[0].frames)
    base = stream([storage.uri], BatchShape("base", batch_size=2, views=3, times=4, height=16, width=24))
    for batch in (base.next() for _ in range(10)):
        assert batch.context is not None
        if batch.context[0] == FIXED_VIEW:
            for video in batch.frames:
                assert any(torch.equal(shown, view) for shown in (video, video.flip(-1)) for view in moving)

    write_shard(storage, 0, [(grid.key, encode(grid, lossless=True)) for grid in frozen])
    only_frozen = stream([storage.uri], BASE)
    with pytest.raises(UserError, match="add a folder of other grids"):
        list(iter(only_frozen.next, None))


def test_mixture_follows_its_weights(make_folder: MakeFolder) -> None:
    folders = [make_folder("a", shards=(8,)), make_folder("b", shards=(8,))]
    mixed = BatchStream(folders, [3.0, 1.0], BASE, 0, worker=ALONE)
    for _ in range(100):
        mixed.next()
    drawn = [position.epoch * 8 + position.index for position in mixed.position.folders]
    assert sum(drawn) == 200
    assert 0.65 < drawn[0] / 200 < 0.85


def test_frames_are_cropped_and_resized_without_distortion() -> None:
    frames = np.zeros((1, 40, 100, 3), np.uint8)
    frames[:, :, 20:80] = 200  # what a crop to 3:2 keeps
    out = fit(frames, 8, 12)
    assert out.shape == (1, 8, 12, 3)
    assert (out == 200).all()
    assert fit(out, 8, 12) is not None
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    assert np.array_equal(to_pixels(to_model(pixels)), pixels)


def test_unusable_folders_are_one_sentence(make_folder: MakeFolder, tmp_path: object) -> None:
    folder = make_folder("a", shards=(1,))
    with pytest.raises(UserError, match="there is no grid in"):
        check_folder(f"{tmp_path}/nowhere", 3, 4, 1)
    with pytest.raises(UserError, match="3 views and 4 times, fewer than --views 8 --times 8"):
        check_folder(folder, 8, 8, 1)
    with pytest.raises(UserError, match="1 grids for 2 workers"):
        check_folder(folder, 3, 4, 2)
