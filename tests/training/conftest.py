"""Small procedural grids in shards: coloured squares that move with time and shift with view."""

from __future__ import annotations

import os

# Ray Train reads this at import; the job sets it too, but here an import may come before it.
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from squares import square_grid

from fourreal.platform.codec import encode
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage

MakeFolder = Callable[..., str]

# Small tensors on busy cores: two threads that wait for each other took forty times as long as one.
torch.set_num_threads(1)


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Write a folder of shards and return its path."""

    def make(
        name: str,
        shards: tuple[int, ...] = (3, 2, 4),
        shape: tuple[int, int, int, int] = (3, 4, 16, 24),
        start: int = 0,
    ) -> str:
        storage = Storage(str(tmp_path / name))
        number = start
        for index, count in enumerate(shards):
            grids = [square_grid(number + i, *shape) for i in range(count)]
            write_shard(storage, index, [(grid.key, encode(grid, lossless=True)) for grid in grids])
            number += count
        return storage.uri

    return make


@pytest.fixture(scope="session")
def _group_of_one() -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture
def process_group(_group_of_one: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process group of one, for DeepSpeed, which remembers the first that it sees."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "DS_ACCELERATOR": "cpu"}.items():
        monkeypatch.setenv(name, value)
