"""DeepSpeed checkpoints for another number of workers, by way of DeepSpeed's universal checkpoints.

ZeRO cuts the optimizer state (and from stage 3 the weights) into one part per worker. The universal form has one
folder per parameter, from which any number of workers takes its own cut. DeepSpeed converts AdamW's state; the running
mean of the weights, which our AdamW keeps beside it, goes through the same conversion once more.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fourreal.training.engine.optimizer import EMA
from fourreal.training.workers import ranks

_PREFIX = ".universal-"
_CARRIER = "exp_avg"


@contextmanager
def universal(folder: Path, tag: str, *, rank: int, shared: bool) -> Iterator[Path]:
    """A folder that holds checkpoint `tag` of `folder` in the universal form, for as long as the block lasts.

    Where the workers look at one folder (`shared`), rank 0 converts it for all of them, beside it; otherwise each
    converts its own copy, inside it: what lies beside that is another worker's. All workers call it.
    """
    converts = rank == 0 or not shared
    if converts:
        place = folder.parent if shared else folder
        for leftover in place.glob(f"{_PREFIX}*"):  # of a run that was killed in here
            shutil.rmtree(leftover, ignore_errors=True)
        target = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        _convert(folder / tag, target / tag)
    targets = ranks.gather(str(target) if converts else "")
    try:
        yield Path(targets[0] if shared else targets[rank])
        ranks.gather(None)  # nobody reads it any more
    finally:
        if converts:
            shutil.rmtree(target, ignore_errors=True)


def _convert(source: Path, target: Path) -> None:
    _to_universal(source, target)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=target.parent) as scratch:
        disguised = Path(scratch) / "source"
        if _disguise_mean(source, disguised):
            _to_universal(disguised, Path(scratch) / "target")
            for mean in (Path(scratch) / "target" / "zero").glob(f"*/{_CARRIER}.pt"):
                mean.replace(target / "zero" / mean.parent.name / f"{EMA}.pt")


def _disguise_mean(source: Path, target: Path) -> bool:
    """A copy of a checkpoint in which the running mean of the weights stands in the place of Adam's first moment, which
    the conversion knows; False when there is no mean."""
    shutil.copytree(source, target)
    found = False
    for path in target.glob("*_optim_states.pt"):
        document = torch.load(path, weights_only=False)  # our own, of which the manifest has the sum
        optimizer = document["optimizer_state_dict"]
        states = optimizer.get("base_optimizer_state") or optimizer["optimizer_state_dict"]  # stages 1, 2; stage 3
        for state in states["state"].values():
            if EMA in state:
                state[_CARRIER], found = state[EMA], True
        torch.save(document, path)
    return found


def _to_universal(source: Path, target: Path) -> None:
    from deepspeed.checkpoint import ds_to_universal

    arguments = Namespace(
        input_folder=str(source),
        output_folder=str(target),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,  # what DeepSpeed leaves out of checkpoints of models that are not Megatron's
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ds_to_universal.main(arguments)
