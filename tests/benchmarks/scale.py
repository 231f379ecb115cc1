"""A plan of a million items made, read again and listed; a folder of 100,000 finished shards taken up again.

    python tests/benchmarks/scale.py [--quick] [--json FILE]

Each measurement runs in a process of its own, whose peak of memory is its own. `--quick` takes a tenth of the items
and shards, and its figures say so. Times are of the machine as busy as it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reporting import Benchmark

from fourreal.platform.datajob import Item
from fourreal.platform.datajob.done import find_done
from fourreal.platform.datajob.plan import make_plan, read_plan, write_plan
from fourreal.platform.record_digest import write_digest
from fourreal.platform.shards import ShardRecord, is_record, record_bytes, record_name
from fourreal.platform.storage import Storage

ITEMS_PER_SHARD = 8


def items(count: int) -> Iterator[Item]:
    """Items as long as those of a render job over Objaverse."""
    for i in range(count):
        uid = f"{i * 2654435761 % 2**32:08x}{i:024x}"
        spec = {"sha256": uid * 2, "seed": i, "clip": i % 3, "licence": "by", "attribution": {"author": f"author {i}"}}
        yield Item(f"{uid}-{i % 3}", f"hf-objaverse-v1/glbs/{i % 160:03d}-{i % 160:03d}/{uid}.glb", spec)


def plan_made_and_listed(folder: str, count: int) -> None:
    """Make the plan, write it, read it again, go through all its shards."""
    out = Storage(folder)
    write_plan(out, make_plan("render", {"views": 8}, items(count), ITEMS_PER_SHARD))
    plan = read_plan(out)
    assert plan is not None
    assert sum(len(plan.items_of(shard)) for shard in range(plan.shard_count)) == count


def shards_found(folder: str, count: int) -> None:
    """What a job does before its first shard when it is run again."""
    plan = read_plan(Storage(folder))
    assert plan is not None
    done = find_done(Storage(folder), plan)
    assert (done.count, len(done.missing)) == (count, plan.shard_count - count)


def digest_written(folder: str, count: int) -> None:
    """What a job does now and then, so that the next scan is quicker."""
    assert write_digest(Storage(folder), is_record) == count


def peak_mb() -> float:
    """Peak memory of this process alone; `getrusage` would count what its parent had when it began."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


STEPS = {function.__name__: function for function in (plan_made_and_listed, shards_found, digest_written)}


def lay_out(folder: Path, shards: int) -> None:
    """Records of finished shards as a render job writes them, and files in the place of their tars."""
    out = Storage(str(folder))
    write_plan(out, make_plan("render", {"views": 8}, items(shards * ITEMS_PER_SHARD * 2), ITEMS_PER_SHARD))
    plan = read_plan(out)
    assert plan is not None
    motion = {"mean_flow_px": 1.25, "moving_fraction": 0.5, "view_change_px": 3.5}
    for index in range(shards):
        keys = tuple(item.key for item in plan.items_of(index))
        record = ShardRecord(index, 3_000_000, "0" * 64, keys, (), plan.fingerprint, dict.fromkeys(keys, motion))
        (folder / record.name).touch()
        (folder / record_name(index)).write_bytes(record_bytes(record))


def measured(benchmark: Benchmark, figure: str, step: str, folder: Path, count: int) -> None:
    """Seconds, core-seconds and peak MB of a step in a process of its own; imports count for the memory alone."""
    done = subprocess.run(
        [sys.executable, __file__, "--step", step, str(folder), str(count)], check=True, capture_output=True, text=True
    )
    for unit, value in zip(("s", "core_s", "mb"), done.stdout.split(), strict=True):
        benchmark.add(f"{figure}_{unit}", float(value))


def main() -> None:
    """Measure, print, write."""
    if sys.argv[1:2] == ["--step"]:
        step, folder, count = sys.argv[2:]
        start, start_core = time.perf_counter(), time.process_time()
        STEPS[step](folder, int(count))
        print(time.perf_counter() - start, time.process_time() - start_core)
        print(peak_mb())
        return
    benchmark = Benchmark(__doc__)
    millions, thousands = (0.1, 10) if benchmark.quick else (1, 100)
    plan, scan = f"plan_{millions:g}m_items", f"resume_scan_{thousands}k_shards"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured(benchmark, plan, "plan_made_and_listed", folder / "plan", round(1e6 * millions))
        benchmark.add(f"{plan}_file_mb", os.path.getsize(folder / "plan/plan.parquet") / 1e6)
        lay_out(folder / "shards", 1000 * thousands)
        measured(benchmark, scan, "shards_found", folder / "shards", 1000 * thousands)
        time.sleep(2.5)  # the digest leaves out records that changed within its last two seconds
        measured(benchmark, f"{scan}_digest", "digest_written", folder / "shards", 1000 * thousands)
        measured(benchmark, f"{scan}_with_digest", "shards_found", folder / "shards", 1000 * thousands)
    benchmark.finish()


if __name__ == "__main__":
    main()
