from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from synthetic_grids import make_grid

from fourreal.evaluation.given import given_mask, given_pairs
from fourreal.evaluation.view import Config, baseline_panels, main, run
from fourreal.evaluation.view_page import Entry, build_page, panel_of_encoded, panel_of_frames
from fourreal.platform.codec import EncodedGrid, encode
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid, GridMeta
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage


class _Scripts(html.parser.HTMLParser):
    """What a browser takes for script elements: {type: [text]}, and every other tag's name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: dict[str, list[str]] = {}
        self.ids: dict[str, str] = {}
        self.tags: set[str] = set()
        self.policy = ""
        self._open: tuple[str, str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        known = dict(attrs)
        if known.get("http-equiv") == "Content-Security-Policy":
            self.policy = known["content"] or ""
        if tag in ("script", "style"):
            self._open = (known.get("type") or tag, known.get("id") or "")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.scripts.setdefault(self._open[0], []).append(data)
            self.ids[self._open[1]] = data

    def handle_endtag(self, tag: str) -> None:
        self._open = None


def _page(grid: Grid, *, lossless: bool = False) -> _Scripts:
    encoded = EncodedGrid(encode(grid, lossless=lossless))
    return _Scripts(build_page([Entry(grid.meta, [panel_of_encoded("panel", encoded)])]))


def test_stored_jpeg_bytes_are_taken_as_they_are() -> None:
    grid = make_grid()
    encoded = EncodedGrid(encode(grid))
    panel = panel_of_encoded("x", encoded)
    frames = encoded.frames_at([(2, 1)])
    np.testing.assert_array_equal(
        simplejpeg.decode_jpeg(panel.jpegs[2 * 4 + 1], fastdct=False, fastupsample=False), frames[0]
    )
    assert all(jpeg in encoded.members["frames.pack"] for jpeg in panel.jpegs)


def test_lossless_frames_become_jpeg() -> None:
    grid = make_grid()
    lines = _page(grid, lossless=True).ids["frames-0-0"].split()
    assert len(lines) == 12
    frame = simplejpeg.decode_jpeg(base64.b64decode(lines[5]))
    assert np.abs(frame.astype(int) - grid.frames[1, 1]).mean() < 6


@pytest.mark.parametrize("field", ["caption", "licence", "source_uri"])
def test_no_text_can_leave_its_place(field: str) -> None:
    evil = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> {{script}} \\"
    plain = _page(make_grid())
    page = _page(make_grid(**{field: evil}, provenance={evil: evil}))
    assert page.tags == plain.tags
    assert len(page.scripts["script"]) == 1
    index = json.loads(page.ids["index"])
    assert index["grids"][0][{"source_uri": "source"}.get(field, field)] == evil
    assert index["grids"][0]["panels"][0]["facts"][f"provenance: {evil}"] == evil


def test_a_title_is_escaped() -> None:
    panel = panel_of_frames("x", make_grid().frames)
    page = build_page([Entry(GridMeta("k"), [panel])], title="</title><script>alert(1)</script>")
    assert "alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_policy_allows_this_style_and_this_script_only() -> None:
    page = _page(make_grid())
    policy = dict(part.strip().split(" ", 1) for part in page.policy.split(";"))
    assert policy["default-src"] == "'none'"
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.scripts[kind][0].encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"


def test_the_page_names_nothing_to_load() -> None:
    page = build_page([Entry(GridMeta("k"), [panel_of_frames("x", make_grid().frames)])])
    assert not re.search(r"""(?:src|href|action)\s*=|url\(|@import|https?://""", page)


def test_given_frames_come_from_the_provenance() -> None:
    by_name = GridMeta("k", provenance={"given": "fixed-view+freeze-time"})
    assert given_pairs(by_name, 2, 3) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    by_pairs = GridMeta("k", provenance={"given": [[1, 2], [0, 0]]})
    assert given_pairs(by_pairs, 2, 3) == [(0, 0), (1, 2)]
    assert given_mask(GridMeta("k"), 2, 3) is None


@pytest.mark.parametrize("record", ["everything", [[2, 0]], [[0]], 3, [["a", "b"]]])
def test_a_senseless_record_of_given_frames_is_refused(record: object) -> None:
    with pytest.raises(UserError, match="given ="):
        given_mask(GridMeta("k", provenance={"given": record}), 2, 3)


def _write(folder: Path, *grids: Grid) -> str:
    write_shard(Storage(str(folder)), 0, [(grid.key, encode(grid)) for grid in grids])
    return str(folder)


def test_grids_of_the_same_key_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = _write(tmp_path / "one", make_grid("a"), make_grid("b"), make_grid("c"))
    two = _write(tmp_path / "two", make_grid("b"), make_grid("a"))
    out = tmp_path / "deep" / "page.html"
    assert main([one, two, "--out", str(out), "--baselines", "average", "additive", "--limit", "2"]) == 0
    grids = json.loads(_Scripts(out.read_text()).ids["index"])["grids"]
    assert [grid["key"] for grid in grids] == ["a", "b"]
    assert [p["label"] for p in grids[0]["panels"]] == ["one", "two", "average (baseline)", "additive (baseline)"]
    assert "1 more are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--keys", "nope"], "no folder holds a grid 'nope'"),
        (["--baselines", "magic"], "there is no baseline 'magic'"),
        (["--labels", "x", "y"], "2 labels for 1 folders"),
        (["--limit", "0"], "--limit must be at least 1"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _write(tmp_path / "one", make_grid("a"))
    assert main([folder, "--out", str(tmp_path / "p.html"), *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no grid in"):
        run(Config(folders=(str(tmp_path),)))


def test_damaged_frames_are_one_sentence() -> None:
    members = encode(make_grid())
    with pytest.raises(UserError, match=r"frames\.pack is damaged"):
        panel_of_encoded("x", EncodedGrid({**members, "frames.pack": members["frames.pack"][:-5]}))


@pytest.mark.parametrize(
    ("given", "panels"), [(None, 1), ("fixed-view+freeze-time", 1), ("fixed-view", 0), ("freeze-time", 0)]
)
def test_a_baseline_is_never_made_of_generated_frames(given: str | None, panels: int) -> None:
    grid = make_grid()
    provenance = {} if given is None else {"given": given}
    grid = dataclasses.replace(grid, meta=dataclasses.replace(grid.meta, provenance=provenance))
    assert len(baseline_panels(EncodedGrid(encode(grid, lossless=True)), ["average"])) == panels
