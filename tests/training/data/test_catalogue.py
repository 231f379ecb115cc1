"""Which bucket a grid goes to, and which batches there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.data.catalogue import BatchShape, bucket_of, make_lanes, read_catalogue
from fourreal.training.model import FIXED_VIEW, FREEZE_TIME

MakeFolder = Callable[..., str]


def bucket(views: int, times: int, height: int = 16, width: int = 24, batch_size: int = 2) -> BatchShape:
    return BatchShape("grid", batch_size, views, times, height, width)


def test_a_grid_goes_to_the_bucket_that_shows_most_of_it() -> None:
    buckets = [bucket(4, 4), bucket(8, 8), bucket(4, 16), bucket(4, 4, 24, 16)]
    assert bucket_of((8, 8, 16, 24), buckets) == 1
    assert bucket_of((8, 15, 16, 24), buckets) == 1
    assert bucket_of((4, 20, 16, 24), buckets) == 2
    assert bucket_of((5, 5, 16, 24), buckets) == 0
    assert bucket_of((5, 5, 24, 16), buckets) == 3  # upright
    assert bucket_of((3, 20, 16, 24), buckets) is None
    # Of buckets that show all of it, the smallest: nothing is gained by enlarging.
    assert bucket_of((4, 4, 16, 24), [bucket(4, 4, 32, 48), bucket(4, 4)]) == 1
    assert bucket_of((4, 4, 32, 48), [bucket(4, 4), bucket(4, 4, 32, 48)]) == 1
    # What was coded has one size.
    assert bucket_of((8, 9, 32, 48), [bucket(4, 5, 32, 48), bucket(4, 9, 32, 48)], coded=True) == 1
    assert bucket_of((8, 9, 32, 40), [bucket(4, 9, 32, 48)], coded=True) is None


def test_records_of_before_sizes_were_told_give_the_same_catalogue(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder("a")
    told = read_catalogue(folder)
    for path in Path(folder).glob("*.json"):
        record = json.loads(path.read_text())
        assert record.pop("shapes")
        assert record.pop("freeze_time") == []
        path.write_text(json.dumps(record))
    opened = read_catalogue(folder)
    assert opened.shapes == told.shapes == ((3, 4, 16, 24),) * 9
    assert np.array_equal(opened.frozen, told.frozen)
    assert (opened.keys, opened.shard_of.tolist()) == (told.keys, [0, 0, 0, 1, 1, 2, 2, 2, 2])


def test_lanes_keep_the_proportions_of_the_sources(make_folder: MakeFolder) -> None:
    """Also where a source's grids are of two sizes: its samples are drawn equally often."""
    small, large = make_folder("s", shards=(6,)), make_folder("l", shards=(2,), shape=(3, 8, 16, 24), start=20)
    (Path(small) / "shard-000001.tar").write_bytes((Path(large) / "shard-000000.tar").read_bytes())
    record = json.loads((Path(large) / "shard-000000.json").read_text())
    (Path(small) / "shard-000001.json").write_text(json.dumps({**record, "index": 1}))
    catalogues = [read_catalogue(small), read_catalogue(large)]
    lanes = make_lanes(catalogues, [3.0, 1.0], [bucket(3, 4, batch_size=4), bucket(3, 8, batch_size=1)])
    assert [(lane.bucket.times, [source for source, _ in lane.members]) for lane in lanes] == [(4, [0]), (8, [0, 1])]
    samples = [lane.share * lane.bucket.batch_size for lane in lanes]
    of_small = samples[0] + samples[1] * lanes[1].weights[0] / sum(lanes[1].weights)
    assert of_small / sum(samples) == pytest.approx(0.75)
    assert samples[0] / of_small == pytest.approx(6 / 8)


def test_base_lanes_are_of_both_kinds_of_video(make_folder: MakeFolder) -> None:
    catalogue = read_catalogue(make_folder("a"))
    wanted = replace(bucket(3, 4), stage="base")
    assert [lane.context for lane in make_lanes([catalogue], [1.0], [wanted])] == [FIXED_VIEW, FREEZE_TIME]
    only_views = replace(wanted, times=1)
    assert [lane.context for lane in make_lanes([catalogue], [1.0], [only_views])] == [FREEZE_TIME]
    frozen = replace(catalogue, frozen=np.ones(9, bool))
    mixed = make_lanes([frozen, catalogue], [1.0, 1.0], [wanted])
    assert [[source for source, _ in lane.members] for lane in mixed] == [[1], [0, 1]]
    with pytest.raises(UserError, match="add a folder of other grids"):
        make_lanes([frozen], [1.0], [wanted])


def test_what_matches_nothing_is_one_sentence(make_folder: MakeFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no grid in"):
        read_catalogue(str(tmp_path / "nowhere"))
    catalogue = read_catalogue(make_folder("a"))
    with pytest.raises(UserError, match="grids of 3 views and 4 times, fewer than --views 8 --times 8"):
        make_lanes([catalogue], [1.0], [bucket(8, 8)])
    with pytest.raises(UserError, match="no grid of --data goes to the bucket 3x8 of 16x24 pixels"):
        make_lanes([catalogue], [1.0], [bucket(3, 4), bucket(3, 8)])
    with pytest.raises(UserError, match="were coded as 3x4 of 16x24"):
        make_lanes([replace(catalogue, coded=True)], [1.0], [bucket(3, 4, 32, 48)])


def test_a_newer_shard_is_refused_by_its_name(make_folder: MakeFolder) -> None:
    folder = make_folder("a")
    record = Path(folder) / "shard-000001.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "schema_version": 99}))
    with pytest.raises(UserError, match=r"shard-000001.json has schema version 99.*upgrade fourreal"):
        read_catalogue(Storage(folder).uri)
