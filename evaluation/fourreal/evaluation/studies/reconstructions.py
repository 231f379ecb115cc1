"""The reconstruction score of some grids, which takes its time: in processes of one thread each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from fourreal.evaluation.grid_scores import MODEL, baseline_frames
from fourreal.evaluation.metrics import Reconstruction, SampleScore, Tally
from fourreal.evaluation.shelf import Shelf
from fourreal.evaluation.studies.arms import ARMS
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.ledger import Ledger
from fourreal.evaluation.studies.processes import process_pool
from fourreal.evaluation.studies.scores import TRUE, generated_folder, pairs_of, scores_as_json
from fourreal.platform.storage import Storage

BASELINES_SHOWN = ("average", TRUE)
"""The rows beside the arms': the others would cost as much again."""


@dataclass(frozen=True)
class _Row:
    """Grids of one test set as an arm, a baseline or the renderer made them."""

    cell: str
    name: str
    method: str
    folder: str
    references: str
    keys: tuple[str, ...]


def reconstruct_some(config: Config, tests: Mapping[str, str], ledger: Ledger) -> None:
    """Fit a scene to some grids of each test set, of different sources where it can be, that have no record yet."""
    rows = [row for row in _rows(config, tests) if ledger.find(row.cell) is None]
    if not rows:
        return
    with process_pool(os.cpu_count(), torch.set_num_threads, (1,)) as pool:
        waiting = {row: [pool.submit(_score, row, key) for key in row.keys] for row in rows}
        for row, futures in waiting.items():
            scores = [future.result() for future in futures]
            print(f"reconstruct  {row.cell}", flush=True)
            tally = Tally({score.key: score for score in scores})
            ledger.finish(row.cell, scores_as_json({Reconstruction.name: tally}))


def reconstruction_cells(config: Config, test: str) -> dict[str, str]:
    """The ledger's cells of a test set, by the name of the arm or baseline."""
    return {name: _cell(config, test, name) for name in _names(config)}


def _names(config: Config) -> list[str]:
    if not config.reconstruction_grids:
        return []
    arms = [arm for arm in config.arms if config.reconstruction_steps in ARMS[arm].steps(config.sampling_steps)]
    return [*arms, *BASELINES_SHOWN] if arms else []


def _cell(config: Config, test: str, name: str) -> str:
    return f"reconstruction/{test}/{config.reconstruction_grids}-grids-apart/{name.replace(' ', '-')}"


def _rows(config: Config, tests: Mapping[str, str]) -> Iterator[_Row]:
    names = _names(config)
    for test, references in tests.items():
        keys = tuple(Shelf(Storage(references)).far_apart(config.reconstruction_grids))
        for name in names:
            arm, method = (name, MODEL) if name in ARMS else (names[0], name)
            folder = generated_folder(config, arm, 0, test, config.reconstruction_steps)
            yield _Row(_cell(config, test, name), name, method, folder, references, keys)


def _score(row: _Row, key: str) -> SampleScore:
    (pair,) = pairs_of(row.folder, row.references, [key])
    frames = {MODEL: pair.prediction.frames, TRUE: pair.reference, **baseline_frames(pair)}[row.method]
    return Reconstruction().compute(pair.compare(frames))
