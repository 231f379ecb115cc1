"""From configurations and folders to a stage's data, and what is refused or said on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from configs import SMALL, config_of

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.data.batches import DataSettings
from fourreal.training.data.latent_cache import CodedShape, Fingerprint, LatentCache
from fourreal.training.run.launch import RUN_FILE
from fourreal.training.settings.checks import check
from fourreal.training.stage.data import data_settings
from fourreal.training.stage.settings import stage_settings
from fourreal.training.train import run

MakeFolder = Callable[..., str]


def data_of(*folders: str, **fields: Any) -> DataSettings:
    config = config_of(folders, "unused", **{"model": SMALL, "stage": "grid", "start_from": "x", **fields})
    check(config)
    return data_settings(config, (16, 24), None)


def test_buckets_replace_the_one_size_and_grids_weigh_alike(
    make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    small, large = make_folder("s", shards=(3, 1)), make_folder("l", shards=(2,), shape=(3, 8, 16, 24), start=20)
    tiny = make_folder("t", shards=(1,), shape=(2, 2, 16, 24), start=30)
    for suffix in ("tar", "json"):
        source = Path(tiny) / f"shard-000000.{suffix}"
        text = source.read_bytes().replace(b'"index": 0', b'"index": 2') if suffix == "json" else source.read_bytes()
        (Path(small) / f"shard-000002.{suffix}").write_bytes(text)
    data = data_of(small, large, mixture={"buckets": ("3x4x16x24:4", "3x8x16x24:2")})
    assert [(b.views, b.times, b.batch_size) for b in data.buckets] == [(3, 4, 4), (3, 8, 2)]
    assert data.weights == (4.0, 2.0)
    assert "1 of 5 grids in" in capsys.readouterr().out
    assert data_of(small, mixture={"weights": (3.0,)}, views=3, times=4).weights == (3.0,)


def test_a_run_does_not_go_on_with_data_that_changed(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Where it is in the data would be somewhere else."""
    folder, out = make_folder("a", shards=(2, 2)), tmp_path / "out"
    fields = {"model": SMALL, "views": 3, "times": 4, "mixture": {"weights": (1.0,)}}
    config = config_of((folder,), str(out), **fields)
    Storage(str(out)).write(RUN_FILE, json.dumps({"settings": stage_settings(config).to_json()}).encode())
    make_folder("a", shards=(2, 2), start=1)
    with pytest.raises(UserError, match=r"holds a run with other settings \(data.fingerprints"):
        run(config)


@pytest.mark.parametrize(
    ("mixture", "sentence"),
    [
        ({"buckets": ("3x4x16:4",)}, "write VIEWSxTIMESxHEIGHTxWIDTH:BATCH"),
        ({"buckets": ("3x0x16x24:4",)}, "write VIEWSxTIMESxHEIGHTxWIDTH:BATCH"),
        ({"buckets": ("3x1x16x24:4",)}, "leaves the grid stage nothing to learn"),
        ({"buckets": ("3x4x16x24:4", "3x4x16x24:2")}, "3x4 of 16x24 pixels twice"),
        ({"buckets": ("3x4x32x48:4",)}, "another size than the 16x24 that the model reads"),
        ({"buckets": ("3x4x16x24:4", "2x4x16x24:2")}, "no grid of --data goes to the bucket 2x4"),
        ({"condition_drop": (0.5, 0.5)}, "--mixture.condition-drop has 2 numbers for 1 --data folders"),
        ({"condition_drop": (1.5,)}, r"--mixture.condition-drop is 1\.5: give a probability"),
        ({"strands": 0}, "--mixture.strands is 0: give at least 1"),
    ],
)
def test_contradictions_are_one_sentence(make_folder: MakeFolder, mixture: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        data_of(make_folder("a"), mixture=mixture, views=3, times=4)


def test_shards_that_cannot_be_read_are_named_before_any_worker_starts(make_folder: MakeFolder) -> None:
    folder = make_folder("a", shards=(1, 1))
    shard = Path(folder) / "shard-000001.tar"
    whole = shard.read_bytes()
    for damaged in (whole[:-512], whole + b"more"):
        shard.write_bytes(damaged)
        with pytest.raises(UserError, match=r"shard-000001.tar has \d+ bytes where its record says"):
            data_of(folder, views=3, times=4)
    shard.unlink()
    with pytest.raises(UserError, match=r"shard-000001.tar has 0 bytes"):
        data_of(folder, views=3, times=4)
    shard.write_bytes(whole)
    first = Path(folder) / "shard-000000.tar"
    newer = first.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 9')
    assert newer != first.read_bytes()
    first.write_bytes(newer)
    with pytest.raises(UserError, match=r"has schema version 9, this fourreal reads 1: upgrade fourreal"):
        data_of(folder, views=3, times=4)
    first.write_bytes(b"\0" * len(newer))
    with pytest.raises(UserError, match=r"has nothing in shard-000000.tar"):
        data_of(folder, views=3, times=4)


def test_every_bucket_splits_into_micro_batches(make_folder: MakeFolder) -> None:
    buckets = {"buckets": ("3x4x16x24:4", "2x3x16x24:3")}
    with pytest.raises(UserError, match="the bucket 2x3 of 16x24 pixels has batches of 3, which do not split"):
        data_of(make_folder("a"), mixture=buckets, engine={"micro_batches": 2})


def test_latents_and_frames_do_not_mix(make_folder: MakeFolder, tmp_path: Path) -> None:
    frames, latents = make_folder("a"), make_folder("b")
    Storage(latents).write("cache.json", b"{}")
    with pytest.raises(UserError, match="train on caches alone, or on grids alone"):
        data_of(frames, latents, views=3, times=4)
    with pytest.raises(UserError, match="the model reads pixels and the folders of --data hold latents"):
        data_of(latents, views=3, times=4)


def test_latents_without_captions_are_refused_before_the_first_step(make_folder: MakeFolder) -> None:
    pytest.importorskip("diffusers")
    folder = make_folder("a")
    made_with = Fingerprint("", "", "", "none", 0, (5, 16, 24), "float32", "")
    LatentCache(Storage(folder), "gone", made_with, CodedShape(2, (16, 2, 3), None, "float32")).save()
    config = config_of((folder,), "unused", stage="grid", start_from="x")
    with pytest.raises(UserError, match=r"the cache in .* has no captions, which the model reads"):
        data_settings(config, None, None)


def test_a_cache_too_small_for_what_is_read_side_by_side_is_said(
    make_folder: MakeFolder, s3_bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = Storage(f"{s3_bucket}/grids")
    for entry in (local := Storage(make_folder("a"))).list():
        remote.write(entry.path, local.read(entry.path))
    data_of(remote.uri, views=3, times=4)
    assert capsys.readouterr().out == ""
    data_of(remote.uri, views=3, times=4, loader={"cache_gb": 1e-6})
    assert "raise --loader.cache-gb, or lower --mixture.strands" in capsys.readouterr().out
