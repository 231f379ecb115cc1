"""`fourreal render --objects-per-scene`: groups as a job, one asset of which is bad."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.datagen.glb import moving_cube

from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.filters import Filters
from fourreal.datagen.grid_job import run_or_tell
from fourreal.datagen.procedural import make_model
from fourreal.datagen.render import Config, data_job, run
from fourreal.datagen.scene_items import objects_of
from fourreal.platform.datajob import list_quarantine
from fourreal.platform.shards import read_grids
from fourreal.platform.storage import Storage


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.blender
def test_a_bad_asset_takes_its_scenes_along_and_no_others(
    tmp_path: Path, ray_of_two_cores: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    with BlenderWorker() as worker:
        for seed in range(2):
            worker.export(make_model(seed).to_json(), assets / f"model{seed}.glb")
    whole = moving_cube(assets / "cube.glb").read_bytes()
    (assets / "bad.glb").write_bytes(whole[:500])
    config = Config(
        assets=str(assets),
        out=str(tmp_path / "out"),
        views=1,
        times=2,
        height=32,
        width=48,
        samples=1,
        device="cpu",
        workers=1,
        items_per_shard=2,
        objects_per_scene=(2, 2),
        filters=Filters(min_colour_spread=0.0),
    )
    for seed in range(20):  # what is drawn follows the files' bytes, which may differ from machine to machine
        config = replace(config, seed=seed)
        scenes = {item.key: objects_of(item) for item in data_job(config).list_items()}
        spoilt = {key for key, parts in scenes.items() if any(part.key.startswith("bad-") for part in parts)}
        if len(spoilt) == 2:
            break
    assert (len(spoilt), len(scenes)) == (2, 4)

    assert run_or_tell(replace(config, dry_run=True), data_job, run) == 0
    assert not (tmp_path / "out").exists(), "a dry run makes nothing"

    assert run_or_tell(replace(config, limit=2), data_job, run) == 0
    assert "2 of 4 items" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("shard-*")), "an estimate keeps nothing"

    summary = run(config)
    out = Storage(config.out)
    assert (summary.grids, dict(summary.quarantined)) == (4 - len(spoilt), {"truncated": len(spoilt)})
    for record in list_quarantine(out):
        assert record.key in spoilt
        assert record.message.startswith("bad-")
        assert hashlib.sha256(whole[:500]).hexdigest() in record.message
    rows = list(csv.DictReader(io.StringIO(out.read("attribution.csv").decode())))
    for grid in read_grids(out):
        shown = {row["sha256"] for row in rows if row["key"] == grid.key}
        assert shown == {part.spec["sha256"] for part in scenes[grid.key]}
        assert shown == {o["sha256"] for o in grid.meta.provenance["objects"]}
        assert len(shown) == 2
    assert len(rows) == 2 * summary.grids
    card = out.read("README.md").decode()
    for licence, count in Counter(row["licence"] or "unknown" for row in rows).items():
        assert f"| {licence} | {count} |" in card
    assert f"| truncated | {len(spoilt)} |" in card
