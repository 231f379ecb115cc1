"""Grids of every arm and their scores, each a cell of the study; baselines that learn nothing once for a test set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

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
from fourreal.evaluation.studies.training import arm_folder, model_of
from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage

TRUE = "true grids"
"""The row of what was rendered, under metrics that compare with nothing."""

Tallies = dict[str, Tally]
"""By metric."""


def metrics_of(config: Config) -> tuple[Metric, ...]:
    """What every grid is scored by."""
    return choose_metrics(config.metrics, Networks(WeightsStore(config.weights), config.device))


def generated_folder(config: Config, arm: str, seed: int, test: str, steps: int) -> str:
    """Where an arm's grids are."""
    return str(config.out / "generated" / arm / f"seed-{seed}" / f"{test}-{steps}")


def cell_of(arm: str, seed: int, test: str, steps: int) -> str:
    """The name of what an arm is scored on, in the ledger."""
    return f"arms/{arm}/seed-{seed}/{test}-{steps}"


def generate_and_score(config: Config, tests: Mapping[str, str], jobs: Jobs, ledger: Ledger) -> None:
    """Every arm, seed, test set and number of steps that has no record yet; then the baselines."""
    metrics = metrics_of(config)
    for seed in range(config.seeds):
        for arm in config.arms:
            for test, references in tests.items():
                for steps in ARMS[arm].steps(config.sampling_steps):
                    cell = cell_of(arm, seed, test, steps)
                    if ledger.find(cell) is None:
                        folder = _generate(config, jobs, arm, seed, test, steps, references)
                        ledger.finish(cell, scores_as_json(_score(folder, references, metrics)))
                        print(f"scored  {cell}", flush=True)
    for test, references in tests.items():
        first = generated_folder(config, config.arms[0], 0, test, ARMS[config.arms[0]].steps(config.sampling_steps)[0])
        cell = f"baselines/{test}"
        if ledger.find(cell) is None:
            scored = score_baselines(pairs_of(first, references), metrics)
            ledger.finish(cell, {method: scores_as_json(tallies) for method, tallies in scored.items()})


def score_baselines(pairs: Iterable[Pair], metrics: Sequence[Metric]) -> dict[str, Tallies]:
    """Every baseline under every metric, and the true grids under those that compare with nothing."""
    alone = [metric for metric in metrics if not {"reference", "mask", "reference_grid"} & metric.needs]
    found: dict[str, Tallies] = {}
    for pair in pairs:
        for method, frames in baseline_frames(pair).items():
            _add(found.setdefault(method, {}), pair.compare(frames), metrics)
        _add(found.setdefault(TRUE, {}), pair.compare(pair.reference), alone)
    return found


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


def _generate(config: Config, jobs: Jobs, arm: str, seed: int, test: str, steps: int, conditions: str) -> str:
    out = generated_folder(config, arm, seed, test, steps)
    jobs.ray()
    settings = GenerateConfig(
        model=model_of(arm_folder(config, arm, seed)),
        conditions=conditions,
        out=out,
        steps=steps,
        seed=seed,
        items_per_shard=16,
        device=config.device,
    )
    summary = generate(settings)
    if summary.quarantined or summary.missing_shards:
        raise UserError(f"{out} lacks grids ({dict(summary.quarantined)} in quarantine): see there")
    return out


def _score(folder: str, references: str, metrics: Sequence[Metric]) -> Tallies:
    tallies: Tallies = {}
    for pair in pairs_of(folder, references):
        _add(tallies, pair.compare(pair.prediction.frames), metrics)
    return tallies


def _add(tallies: Tallies, comparison: Comparison, metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        tally = tallies.get(metric.name, Tally())
        tallies[metric.name] = metric.accumulate(tally, metric.compute(comparison))
