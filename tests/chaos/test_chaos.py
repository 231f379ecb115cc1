"""That the chaos run would notice what it looks for."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
from tests.chaos.family import Family, kind_of
from tests.chaos.jobs import of_data
from tests.chaos.torment import Killer
from tests.platform.numbers_job import Numbers, number_items

from fourreal.platform.datajob.shard_task import ShardOrder, make_shard
from fourreal.platform.storage import Storage


def test_what_is_lost_doubled_changed_or_set_aside_is_named(tmp_path: Path) -> None:
    calm = Storage(str(tmp_path / "calm"))
    for index in range(3):
        make_shard(calm, ShardOrder(index, number_items(6)[2 * index :][:2], "plan"), Numbers())

    def stormy(name: str) -> Storage:
        shutil.copytree(tmp_path / "calm", tmp_path / name)
        return Storage(str(tmp_path / name))

    assert of_data(calm, stormy("same")) == []
    lost = stormy("lost")
    lost.delete("shard-000001.json")
    assert of_data(calm, lost) == ["shard-000001.json is missing", "n002 is lost", "n003 is lost"]
    changed = stormy("changed")
    changed.write("shard-000002.tar", b"half")
    assert of_data(calm, changed) == ["shard-000002.tar has other bytes"]
    doubled = stormy("doubled")
    make_shard(doubled, ShardOrder(3, number_items(2)[1:], "plan"), Numbers())
    assert of_data(calm, doubled) == [
        "shard-000003.json is one too many", "shard-000003.tar is one too many", "n001 is doubled",
    ]  # fmt: skip
    faults = tmp_path / "faults.json"
    faults.write_text('{"5": "refuse"}')
    aside = Storage(str(tmp_path / "aside"))
    for index in range(3):
        make_shard(aside, ShardOrder(index, number_items(6)[2 * index :][:2], "plan"), Numbers(faults))
    assert of_data(calm, aside)[-2:] == ["n005 is lost", "n005 is in quarantine (bad_number)"]
    assert of_data(aside, calm)[-1] == "n005 should be in quarantine (bad_number)"


def test_a_process_whose_parent_is_gone_is_still_known_and_can_be_struck() -> None:
    code = "import subprocess, sys; subprocess.Popen(['sleep', '600']); sys.stdin.read()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with Family(psutil.Process(parent.pid)) as family:
        deadline = time.monotonic() + 60
        while len(family.alive()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        parent.kill()
        parent.wait()
        [orphan] = family.alive()
        assert kind_of(orphan, parent.pid) == "helper"
        killer = Killer(random.Random(0), (600.0, 600.0), until=0.0)
        killer.strike(family)
        assert family.wait_until_gone(60.0) == []
        assert killer.killed == {"helper": 1}
        killer.strike(family)  # nobody is left
    assert killer.killed.total() == 1
