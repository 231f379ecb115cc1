"""What batches hold and decode, and that they are the same however they come about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from squares import square_grid

from fourreal.platform import codec
from fourreal.platform.codec import encode
from fourreal.platform.errors import UserError
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage
from fourreal.training.data.batches import Batch, BatchStream, DataPosition, DataSettings, Prefetcher, clean_frames
from fourreal.training.data.catalogue import BatchShape
from fourreal.training.data.pixels import fit, to_model, to_pixels
from fourreal.training.data.shelf import Shelf
from fourreal.training.model import FIXED_VIEW, FREEZE_TIME, border_given
from fourreal.training.settings.groups import AugmentSettings, LoaderSettings, MixtureSettings
from fourreal.training.workers.ranks import Worker

MakeFolder = Callable[..., str]

BASE = BatchShape("base", batch_size=2, views=3, times=4, height=8, width=12)
GRID = BatchShape("grid", batch_size=2, views=3, times=4, height=8, width=12)
STORED = replace(GRID, height=16, width=24)
ALONE = Worker(0, 1)


open_stream = Shelf._stream


def stream(
    folders: list[str], *shapes: BatchShape, worker: Worker = ALONE, at: DataPosition | None = None, **changes: Any
) -> BatchStream:
    data = DataSettings(tuple(folders), changes.pop("weights", (1.0,) * len(folders)), shapes, 5, **changes)
    return BatchStream(data, worker=worker, position=at)


def same(one: Batch, other: Batch) -> bool:
    assert (one.context is None) == (other.context is None)
    contexts = one.context is None or torch.equal(one.context, other.context)  # type: ignore[arg-type]
    tensors = ((one.frames, other.frames), (one.given, other.given), (one.sources, other.sources))
    return contexts and all(torch.equal(a, b) for a, b in tensors)


def numbers(batch: Batch) -> list[int]:
    """Which of the first 20 grids of `make_folder` the samples of a batch are, whether mirrored or not."""
    corners = batch.frames.flatten(1, -4)[:, :, 0]
    return [int(min(corner[..., 0, 0].min(), corner[..., -1, 0].min())) for corner in corners]


@pytest.mark.parametrize("shapes", [(BASE,), (GRID,), (GRID, replace(GRID, times=6, batch_size=1))])
def test_a_run_goes_on_with_the_same_batches_on_any_number_of_workers(
    make_folder: MakeFolder, shapes: tuple[BatchShape, ...]
) -> None:
    """Four workers, then two of twice the batch, then one: as if it had been one all along."""
    folders = [make_folder("a", shards=(3, 2, 4, 3)), make_folder("b", shards=(4,), shape=(3, 6, 16, 24), start=50)]
    one_shapes = [replace(shape, batch_size=shape.batch_size * 4) for shape in shapes]
    alone = stream(folders, *one_shapes)
    position: DataPosition | None = None
    for world in (4, 2, 1):
        sized = [replace(shape, batch_size=shape.batch_size * 4 // world) for shape in shapes]
        workers = [stream(folders, *sized, worker=Worker(rank, world), at=position) for rank in range(world)]
        for _ in range(6):
            whole, parts = alone.next(), [worker.next() for worker in workers]
            assert len({worker.position for worker in (alone, *workers)}) == 1
            assert len({part.frames.shape for part in parts}) == 1  # all in the same bucket
            samples = sorted(frames.numpy().tobytes() for frames in whole.frames)
            assert samples == sorted(frames.numpy().tobytes() for part in parts for frames in part.frames)
        position = DataPosition.from_json(workers[0].position.to_json())


def test_every_epoch_of_batches_holds_every_grid_once(make_folder: MakeFolder) -> None:
    folder = make_folder("a", shards=(3, 2, 4, 3))
    workers = [stream([folder], STORED, worker=Worker(rank, 3)) for rank in range(3)]
    for _ in range(3):
        epoch = [number for _ in range(2) for worker in workers for number in numbers(worker.next())]
        assert sorted(epoch) == list(range(12))


def test_workers_open_their_own_shards_only(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [make_folder("a", shards=(2,) * 8), make_folder("b", shards=(2,) * 8, start=50)]
    opened: dict[int, set[str]] = {0: set(), 1: set()}
    for rank, names in opened.items():
        monkeypatch.setattr(
            Shelf, "_stream", lambda shelf, *args, names=names: (names.add(args[-1]), open_stream(shelf, *args))[1]
        )
        worker = stream(folders, STORED, worker=Worker(rank, 2), mixture=MixtureSettings(strands=4))
        for _ in range(8):  # an epoch of both
            worker.next()
    assert not opened[0] & opened[1]
    assert len(opened[0] | opened[1]) == 16


def test_threads_and_batches_ahead_change_nothing(make_folder: MakeFolder) -> None:
    folder = make_folder("a")
    plain = stream([folder], BASE)
    prefetched = Prefetcher(stream([folder], BASE, loader=LoaderSettings(threads=3, ahead=4)))
    for _ in range(7):
        batch, position = prefetched.next()
        assert same(batch, plain.next())
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
        assert batch.frames.shape == (2, {FIXED_VIEW: 4, FREEZE_TIME: 3}[mode], 8, 12, 3)
        assert batch.frames.dtype == torch.uint8
        assert not batch.given.all(dim=1).any()
        subsets |= {tuple(given.tolist()) for given in batch.given}
    assert seen == {FIXED_VIEW, FREEZE_TIME}
    assert len(subsets) > 5


def test_grid_batches_give_the_first_view_and_the_first_time(make_folder: MakeFolder) -> None:
    batch = stream([make_folder("a")], GRID).next()
    assert batch.frames.shape == (2, 3, 4, 8, 12, 3)
    clean = clean_frames(batch.frames)
    assert clean.shape == batch.clean_shape == (2, 3, 4, 3, 8, 12)
    assert torch.equal(torch.from_numpy(to_pixels(clean)), batch.frames)
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

    moving = torch.from_numpy(grids[0].frames)
    base = stream([storage.uri], replace(BASE, height=16, width=24))
    for batch in (base.next() for _ in range(10)):
        assert batch.context is not None
        if batch.context[0] == FIXED_VIEW:
            for video in batch.frames:
                assert any(torch.equal(shown, view) for shown in (video, video.flip(-2)) for view in moving)

    write_shard(storage, 0, [(grid.key, encode(grid, lossless=True)) for grid in frozen])
    with pytest.raises(UserError, match="add a folder of other grids"):
        stream([storage.uri], BASE)


def test_sources_come_in_proportion_and_are_told(make_folder: MakeFolder) -> None:
    folders = [make_folder("a", shards=(8,)), make_folder("b", shards=(8,), start=8)]
    mixed = stream(folders, STORED, weights=(3.0, 1.0), mixture=MixtureSettings(strands=4))
    batches = [mixed.next() for _ in range(128)]
    sources = [int(source) for batch in batches for source in batch.sources]
    assert Counter(sources) == {0: 192, 1: 64}
    assert [int(number >= 8) for batch in batches for number in numbers(batch)] == sources


def test_conditions_are_dropped_by_source(make_folder: MakeFolder) -> None:
    folders = [make_folder("a"), make_folder("b", start=50)]
    batches = stream(folders, GRID, mixture=MixtureSettings(condition_drop=(0.0, 0.5)))
    dropped: dict[int, list[bool]] = {0: [], 1: []}
    for batch in (batches.next() for _ in range(100)):
        for source, given in zip(batch.sources.tolist(), batch.given, strict=True):
            dropped[source].append(not given.any())
    assert not any(dropped[0])
    assert 0.3 < np.mean(dropped[1]) < 0.7


def test_augmentations_do_what_they_say(make_folder: MakeFolder) -> None:
    """Against the grid itself: every sample is one of its variants, and all variants come."""
    grid = torch.from_numpy(square_grid(0, 3, 7, 16, 24).frames)
    folder = make_folder("a", shards=(1,), shape=(3, 7, 16, 24))

    def seen(shape: BatchShape, variants: dict[Any, torch.Tensor], **augment: Any) -> set[Any]:
        batches = stream([folder], shape, augment=AugmentSettings(**augment))
        found = set()
        for batch in (batches.next() for _ in range(40)):
            for sample in batch.frames:
                (name,) = [name for name, variant in variants.items() if torch.equal(sample, variant)]
                found.add(name)
        return found

    evenly = grid[:, [0, 2, 4, 6]]
    variants = {(mirrored, back): evenly.flip([-2] * mirrored + [0] * back) for mirrored in (0, 1) for back in (0, 1)}
    assert seen(STORED, variants) == set(variants)
    assert seen(STORED, variants, mirror=0.0) == {(0, 0), (0, 1)}
    assert seen(STORED, variants, mirror=1.0, reverse_views=0.0) == {(1, 0)}
    still = {"mirror": 0.0, "reverse_views": 0.0}
    stretches = {(0, 1): grid[:, 0:4], (1, 1): grid[:, 1:5], (2, 1): grid[:, 2:6], (3, 1): grid[:, 3:7], (0, 2): evenly}
    assert seen(STORED, stretches, times="stretch", **still) == set(stretches)
    crops = {left: evenly[..., left : left + 16, :] for left in range(9)}
    square = replace(STORED, width=16)
    assert seen(square, crops, **still) == {4}
    assert len(seen(square, crops, crop="random", **still)) > 4


def test_frames_are_cropped_and_resized_without_distortion() -> None:
    frames = np.zeros((1, 40, 100, 3), np.uint8)
    frames[:, :, 20:80] = 200  # what a crop to 3:2 keeps
    out = fit(frames, 8, 12)
    assert out.shape == (1, 8, 12, 3)
    assert (out == 200).all()
    assert fit(out, 8, 12) is not None
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    assert np.array_equal(to_pixels(to_model(pixels)), pixels)


def test_a_resized_frame_is_the_same_mirrored_or_not(make_folder: MakeFolder) -> None:
    """The paths that decode in place, resize and mirror agree with `fit` on the decoded frames."""
    grid = square_grid(0, 3, 4, 16, 24)
    expected = torch.from_numpy(fit(grid.frames.reshape(-1, 16, 24, 3), 8, 12)).view(3, 4, 8, 12, 3)
    folder = make_folder("a", shards=(1,))
    for mirror, wanted in ((0.0, expected), (1.0, expected.flip(-2))):
        batch = stream([folder], GRID, augment=AugmentSettings(mirror=mirror, reverse_views=0.0)).next()
        assert torch.equal(batch.frames[0], wanted)


def test_a_shard_that_changed_its_size_is_named(make_folder: MakeFolder) -> None:
    folder = make_folder("a", shards=(3,))
    batches = stream([folder], GRID)
    with (Path(folder) / "shard-000000.tar").open("ab") as shard:
        shard.write(b"more")
    prefetched = Prefetcher(batches)
    with pytest.raises(UserError, match=r"shard-000000.tar has .* bytes where its record says"):
        prefetched.next()
    prefetched.close()
