"""What lies beside a video says whose it is and under which terms; the dataset card passes it on."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
from tests.datagen.clip_scenes import Thing, scene

from fourreal.datagen.dataset_card import ATTRIBUTION, CARD, write_card
from fourreal.datagen.statistics_page import PAGE
from fourreal.datagen.synthesize import Config, run
from fourreal.datagen.videos.description import Description, parse_description
from fourreal.platform.datajob import Item, JobSummary, list_quarantine
from fourreal.platform.datajob.plan import make_plan, write_plan
from fourreal.platform.shards import read_grids
from fourreal.platform.storage import Storage
from fourreal.platform.video import write_video

TERMS = {"caption": "a walk", "license": "CC-BY-4.0", "title": "Walk", "author": "Ann", "url": "https://a.example/1"}
CREDITS = {"title": "Walk", "author": "Ann", "url": "https://a.example/1"}


def test_side_files_say_what_they_say_and_no_more() -> None:
    side = parse_description("a.JSON", json.dumps(TERMS).encode())
    assert side == Description("a walk", "CC-BY-4.0", CREDITS)
    assert parse_description("a.txt", b" a walk\n") == Description("a walk")
    for nonsense in (b"", b"[1]", b"{", b'{"licence": 7, "caption": null}', b"\xff\xfe"):
        assert parse_description("a.json", nonsense) == Description()
    assert Description("shorter").or_else(side) == Description("shorter", "CC-BY-4.0", CREDITS)


def test_the_card_says_that_nothing_is_set_aside_only_when_all_is_made(tmp_path: Path) -> None:
    out = Storage(str(tmp_path))
    write_plan(out, make_plan("synthesize", {}, [Item(f"clip-{n}", f"{n}.mp4") for n in range(3)], 1))
    summary = JobSummary(
        grids=0,
        quarantined={},
        shards=1,
        missing_shards=[0, 2],
        size_bytes=0,
        tried_now=True,
        made_now=0,
        busy_s=0.0,
        wall_s=0.0,
        out=out.uri,
    )
    for missing, says in (
        ([0, 2], "Nothing so far; 2 of 3 shards are not made yet."),
        ([], "Nothing: every planned item became a grid."),
    ):
        write_card(out, dataclasses.replace(summary, missing_shards=missing), ())
        assert f"## Set aside\n\n{says}\n" in out.read(CARD).decode()


@pytest.mark.ray
@pytest.mark.slow
def test_the_card_names_licences_and_says_which_are_unknown(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, seed in (("known", 1), ("found", 30)):
        walker = Thing((90, 70), 28, velocity=(0.0, 2.0))
        write_video(folder / f"{name}.mp4", scene(pan=(1.0, 0.0), things=(walker,), seed=seed), fps=8)
    write_video(folder / "still.mp4", scene(seed=60), fps=8)
    (folder / "known.json").write_text(json.dumps(TERMS))
    sizes = {"views": 2, "times": 4, "height": 32, "width": 48, "stride": 1, "clips_per_video": 1}
    config = Config(videos=str(folder), out=str(tmp_path / "out"), workers=1, **sizes)
    run(config)
    out = Storage(config.out)
    grids = {Path(grid.meta.source_uri).name: grid.meta for grid in read_grids(out)}
    assert grids["known.mp4"].licence == "CC-BY-4.0"
    assert grids["known.mp4"].provenance["attribution"] == CREDITS
    assert grids["found.mp4"].licence == ""
    card = out.read(CARD).decode()
    assert "| CC-BY-4.0 | 1 |" in card
    assert "| unknown | 1 |" in card
    assert "being found somewhere is no licence" in card
    assert "| static | 1 |" in card
    rows = {Path(row["source"]).name: row for row in csv.DictReader(io.StringIO(out.read(ATTRIBUTION).decode()))}
    assert (rows["known.mp4"]["author"], rows["found.mp4"]["author"]) == ("Ann", "")
    page = out.read(PAGE).decode()
    assert "camera share" in page
    assert "<td>static</td><td>1</td>" in page
    (refused,) = list_quarantine(out)
    assert "--filters.min-motion" in refused.message
