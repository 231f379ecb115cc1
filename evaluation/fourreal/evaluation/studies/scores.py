"""Grids of every arm and their scores, each a cell of the study; baselines that learn nothing once for a test set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache, partial

from fourreal.evaluation.generate import Config as GenerateConfig
from fourreal.evaluation.generate import generate
from fourreal.evaluation.grid_scores import baseline_frames
from fourreal.evaluation.metrics import Comparison, Metric, SampleScore, Tally, choose_metrics
from fourreal.evaluation.networks import Networks
from fourreal.evaluation.pairing import NotCompared, Pair, pair_up
from fourreal.evaluation.pretrained import WeightsStore
from fourreal.evaluation.shelf import Shelf
from fourreal.evaluation.studies.arms import ARMS
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.jobs import Jobs
from fourreal.evaluation.studies.ledger import Ledger, Record
from fourreal.evaluation.studies.processes import process_pool
from fourreal.evaluation.studies.training import arm_folder, model_of
from fourreal.platform.errors import UserError
from fourreal.platform.runtime import compute_in_this_thread, join_environment
from fourreal.platform.storage import Storage

TRUE = "true grids"
"""The row of what was rendered, under metrics that compare with nothing."""

Tallies = dict[str, Tally]
"""By metric."""


@cache
def metrics_of(config: Config) -> tuple[Metric, ...]:
    """What every grid is scored by; a process loads its networks once."""
    return choose_metrics(config.metrics, Networks(WeightsStore(config.weights), config.device))


def generated_folder(config: Config, arm: str, seed: int, test: str, steps: int) -> str:
    """Where an arm's grids are."""
    return str(config.out / "generated" / arm / f"seed-{seed}" / f"{test}-{steps}")


def cell_of(arm: str, seed: int, test: str, steps: int) -> str:
    """The name of what an arm is scored on, in the ledger."""
    return f"arms/{arm}/seed-{seed}/{test}-{steps}"


@dataclass(frozen=True)
class _Cell:
    """Grids of one test set by an arm and seed in so many steps."""

    arm: str
    seed: int
    test: str
    steps: int
    references: str

    @property
    def name(self) -> str:
        return cell_of(self.arm, self.seed, self.test, self.steps)


def generate_and_score(config: Config, tests: Mapping[str, str], jobs: Jobs, ledger: Ledger) -> None:
    """Every arm, seed, test set and number of steps that has no record yet, some at a time; then the baselines."""
    cells = [
        _Cell(arm, seed, test, steps, references)
        for seed in range(config.seeds)
        for arm in config.arms
        for test, references in tests.items()
        for steps in ARMS[arm].steps(config.sampling_steps)
    ]
    waiting = [cell for cell in cells if ledger.find(cell.name) is None]
    blank = {test: folder for test, folder in tests.items() if ledger.find(f"baselines/{test}") is None}
    if not waiting and not blank:
        return
    share = jobs.gpu_share(config.fit.parallel)
    with process_pool(config.fit.parallel, _join_ray, (jobs.ray(),)) as pool:
        futures = {pool.submit(_generate_and_score, config, cell, share): cell for cell in waiting}
        for future in as_completed(futures):
            ledger.finish(futures[future].name, future.result())
            print(f"scored  {futures[future].name}", flush=True)
        for test, references in blank.items():
            ledger.finish(f"baselines/{test}", _baselines(pool, config, test, references))


def _baselines(pool: ProcessPoolExecutor, config: Config, test: str, references: str) -> Record:
    """By method; a generated folder, whichever, says which frames were given."""
    arm = config.arms[0]
    folder = generated_folder(config, arm, 0, test, ARMS[arm].steps(config.sampling_steps)[0])
    tallies: dict[str, Tallies] = {}
    for scored in pool.map(partial(_score_baselines, config, folder, references), Shelf(Storage(references)).keys):
        for method, of_grid in scored.items():
            _merge(tallies.setdefault(method, {}), of_grid, metrics_of(config))
    return {method: scores_as_json(of_method) for method, of_method in tallies.items()}


def _join_ray(address: str) -> None:
    """For every process of the pool: the study's Ray is its own too."""
    os.environ.update(join_environment(address))
    compute_in_this_thread()


def _generate_and_score(config: Config, cell: _Cell, gpu_share: float) -> Record:
    log = config.out / "logs" / f"{cell.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as output, redirect_stdout(output), redirect_stderr(output):
        folder = _generate(config, cell, gpu_share)
        return scores_as_json(_score(folder, cell.references, metrics_of(config)))


def pairs_of(folder: str, references: str, keys: Sequence[str] | None = None) -> Iterator[Pair]:
    """Generated grids (or those of `keys`) beside the true ones. UserError when any cannot be compared."""
    for pair in pair_up(Shelf(Storage(folder)), Shelf(Storage(references)), keys):
        if isinstance(pair, NotCompared):
            raise UserError(f"{folder} and {references} do not fit each other, at {pair.key}: {pair.reason}")
        yield pair


def scores_as_json(tallies: Mapping[str, Tally]) -> Record:
    """By metric and grid: value, frames, reason."""
    return {
        metric: {key: [score.value, score.frames, score.reason] for key, score in tally.scores.items()}
        for metric, tally in tallies.items()
    }


def scores_from_json(record: Record) -> Tallies:
    """The inverse of `scores_as_json`."""
    return {
        metric: Tally({key: SampleScore(key, *score) for key, score in grids.items()})
        for metric, grids in record.items()
    }


def _generate(config: Config, cell: _Cell, gpu_share: float) -> str:
    out = generated_folder(config, cell.arm, cell.seed, cell.test, cell.steps)
    settings = GenerateConfig(
        model=model_of(arm_folder(config, cell.arm, cell.seed)),
        conditions=cell.references,
        out=out,
        steps=cell.steps,
        seed=cell.seed,
        items_per_shard=16,
        workers=1,
        device=config.device,
        gpu_share=gpu_share,
        retry_quarantined=True,  # what an earlier run had no memory for
    )
    summary = generate(settings)
    if summary.quarantined or summary.missing_shards:
        raise UserError(
            f"{out} lacks grids ({dict(summary.quarantined)} in quarantine): see there; the same command tries again"
        )
    return out


def _score_baselines(config: Config, folder: str, references: str, key: str) -> dict[str, Tallies]:
    """Every baseline under every metric, and the true grid under those that compare with nothing."""
    metrics = metrics_of(config)
    alone = [metric for metric in metrics if not {"reference", "mask", "reference_grid"} & metric.needs]
    found: dict[str, Tallies] = {}
    for pair in pairs_of(folder, references, [key]):
        for method, frames in baseline_frames(pair).items():
            _add(found.setdefault(method, {}), pair.compare(frames), metrics)
        _add(found.setdefault(TRUE, {}), pair.compare(pair.reference), alone)
    return found


def _score(folder: str, references: str, metrics: Sequence[Metric]) -> Tallies:
    tallies: Tallies = {}
    for pair in pairs_of(folder, references):
        _add(tallies, pair.compare(pair.prediction.frames), metrics)
    return tallies


def _add(tallies: Tallies, comparison: Comparison, metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        tally = tallies.get(metric.name, Tally())
        tallies[metric.name] = metric.accumulate(tally, metric.compute(comparison))


def _merge(tallies: Tallies, others: Tallies, metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        if metric.name in others:
            tallies[metric.name] = metric.merge(tallies.get(metric.name, Tally()), others[metric.name])
