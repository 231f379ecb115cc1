"""Score a folder of generated grids: in this process, or on a pool of Ray actors with the same result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fourreal.evaluation.grid_scores import GridScores, score_grid
from fourreal.evaluation.metrics import Metric, choose_metrics
from fourreal.evaluation.networks import Device, FeatureCache, Networks
from fourreal.evaluation.pairing import pair_up
from fourreal.evaluation.pretrained import REGISTRY, Weights, WeightsStore
from fourreal.evaluation.scoring import Scoreboard
from fourreal.evaluation.shelf import Shelf
from fourreal.platform.errors import UserError
from fourreal.platform.runtime import compute_in_this_thread, ray_session
from fourreal.platform.storage import Storage

_RESTARTS = 2


@dataclass(frozen=True)
class ScoringJob:
    """What to score, and by what; it travels to the actors."""

    predictions: str
    references: str
    metrics: tuple[str, ...]
    weights: str | None = None
    device: Device = "cpu"
    allow_few: bool = False
    features: Path | None = None
    """Folder of the feature cache; None keeps features in memory alone."""
    registry: Mapping[str, Weights] = field(default_factory=lambda: REGISTRY)

    def __post_init__(self) -> None:  # actors have a folder and an environment of their own
        for name in ("predictions", "references"):
            object.__setattr__(self, name, _absolute(getattr(self, name)))
        object.__setattr__(self, "weights", _absolute(WeightsStore(self.weights).uri))

    def choose(self) -> tuple[Metric, ...]:
        """The metrics over networks of this process. Raises UserError for a name that there is not."""
        networks = Networks(WeightsStore(self.weights, self.registry), self.device, FeatureCache(self.features))
        return choose_metrics(self.metrics, networks, allow_few=self.allow_few)


def score_folder(job: ScoringJob, workers: int = 1, only: Sequence[str] | None = None) -> Scoreboard:
    """The scores of all predictions (or of the keys `only`), by so many workers; their number does not show in them.

    Raises UserError when a folder holds no grid, or when no grid can be compared.
    """
    metrics = job.choose()
    keys = Shelf(Storage(job.predictions)).keys if only is None else list(only)
    Shelf(Storage(job.references))  # before any work, not on every worker
    board = Scoreboard(metrics)
    found = _serially(job, metrics, keys) if workers == 1 else _on_ray(job, keys, workers)
    by_key = {scores.key: scores for scores in found}
    for key in keys:
        board.add(by_key[key])
    if not board.grids:
        key, reason = next(iter(board.not_compared.items()))
        raise UserError(f"none of {len(board.not_compared)} grids can be compared; of {key!r}: {reason}")
    return board


def _absolute(uri: str) -> str:
    storage = Storage(uri)
    return storage.root if storage.is_local else uri


def _serially(job: ScoringJob, metrics: Sequence[Metric], keys: Sequence[str]) -> Iterator[GridScores]:
    pairs = pair_up(Shelf(Storage(job.predictions)), Shelf(Storage(job.references)), keys)
    return (score_grid(pair, metrics) for pair in pairs)


class _Scorer:
    """The actor: its own shelves and networks, and the feature cache of its machine."""

    def __init__(self, job: ScoringJob) -> None:
        compute_in_this_thread()
        self.metrics = job.choose()
        self.predictions, self.references = Shelf(Storage(job.predictions)), Shelf(Storage(job.references))

    def score(self, keys: Sequence[str]) -> list[GridScores]:
        return [score_grid(pair, self.metrics) for pair in pair_up(self.predictions, self.references, keys)]


def _on_ray(job: ScoringJob, keys: Sequence[str], workers: int) -> Iterator[GridScores]:
    """Shard by shard of the predictions, so that each is opened by one worker."""
    with ray_session(workers):
        import ray
        from ray.util import ActorPool

        gpus = 1 if job.device == "cuda" else 0
        resources = ray.cluster_resources()
        if gpus and resources.get("GPU", 0) < 1:
            raise UserError("evaluate --device cuda needs a GPU, but Ray counts none: start Ray with --num-gpus")
        remote: Any = ray.remote(_Scorer)
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": _RESTARTS, "max_task_retries": _RESTARTS}
        parts = _by_shard(job, keys, workers)
        # The pool gives a part to every actor, and one without a place would be waited for without end.
        room = max(1, int(min(resources.get("CPU", 0), resources["GPU"] if gpus else workers)))
        pool = ActorPool([remote.options(**options).remote(job) for _ in range(min(workers, len(parts), room))])
        try:
            for scores in pool.map_unordered(lambda actor, part: actor.score.remote(part), parts):
                yield from scores
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise
        except ray.exceptions.RayActorError as error:
            raise UserError(
                f"a worker ended again and again (out of memory, likely): use fewer --workers ({error})"
            ) from None


def _by_shard(job: ScoringJob, keys: Sequence[str], workers: int) -> list[list[str]]:
    """The keys in parts of one shard each, smaller where shards are fewer than workers."""
    shelf, shards = Shelf(Storage(job.predictions)), dict[int, list[str]]()
    for key in keys:
        record = shelf.record(key)
        shards.setdefault(-1 if record is None else record.index, []).append(key)
    most = max(1, -(-len(keys) // (2 * workers)))
    return [part[i : i + most] for part in shards.values() for i in range(0, len(part), most)]
