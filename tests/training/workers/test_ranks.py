"""Two workers decide alike, also when something is wrong on one of them only."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from fourreal.platform.storage import Storage
from fourreal.training.checkpoint.store import CheckpointStore
from fourreal.training.settings.groups import CheckpointSettings
from fourreal.training.workers import ranks
from fourreal.training.workers.ranks import Worker


def write(folder: Path, rank: int, broken: bool) -> None:
    (folder / f"worker-{rank}.json").write_text(str(rank))
    if broken and rank == 1:
        raise OSError(28, "No space left on device")


def one_of_two(rank: int, folder: str) -> None:
    """Every worker writes down what it saw."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    seen = [str(ranks.mean(float(rank), math.nan if rank else 1.0)), str(ranks.gather(rank))]
    store = CheckpointStore(Storage(f"{folder}/checkpoints"), CheckpointSettings(keep=2), Worker(rank, 2))
    for step, broken in ((10, False), (20, True), (30, False)):
        seen.append(str(store.save(step, lambda part, broken=broken: write(part, rank, broken))))  # type: ignore[misc]
        dist.barrier()
        seen.append(str(store.steps()))
        dist.barrier()
    if rank == 0:
        Path(folder, "checkpoints/step-00000030/worker-1.json").write_text("2")
    dist.barrier()
    with store.newest() as found:
        assert found is not None
        seen += [str(found.step), str(found.damaged), str(sorted(path.name for path in found.folder.iterdir()))]
    Path(folder, f"seen-{rank}").write_text("\n".join(seen))
    dist.destroy_process_group()


@pytest.mark.slow
def test_what_one_worker_meets_all_of_them_know(tmp_path: Path) -> None:
    mp.spawn(one_of_two, args=(str(tmp_path),), nprocs=2)
    seen = (tmp_path / "seen-0").read_text()
    assert (tmp_path / "seen-1").read_text() == seen
    assert seen.splitlines() == [
        "(0.5, nan)",
        "[0, 1]",
        *("None", "[10]"),
        *("[Errno 28] No space left on device", "[10]"),
        *("None", "[30, 10]"),
        "10",
        "('the checkpoint at step 30 is damaged (worker-1.json does not match its sha256)',)",
        "['manifest.json', 'worker-0.json', 'worker-1.json']",
    ]
