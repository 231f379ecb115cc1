"""What a worker would write at one moment, held in memory: training goes on while it is written."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Snapshot:
    """Files by name. Nothing in it changes when training goes on."""

    states: dict[str, Any]
    """What `torch.save` writes: tensors on the CPU in plain containers."""
    documents: dict[str, Any]
    """What is written as JSON."""

    def write(self, folder: Path) -> None:
        """Write the files into a folder that exists. Raises OSError, or RuntimeError where torch reports one so."""
        for name, state in self.states.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, folder / name)
        for name, document in self.documents.items():
            (folder / name).write_text(json.dumps(document))


def copied(state: Any) -> Any:
    """A copy on the CPU that shares nothing with `state`, a tree of dictionaries, lists and tuples.

    Views of a larger tensor become tensors of their own, so that no more is written than is meant.
    """
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True).contiguous()
    if isinstance(state, dict):
        return {name: copied(value) for name, value in state.items()}
    if type(state) in (list, tuple):
        return type(state)(copied(value) for value in state)
    return copy.deepcopy(state)
