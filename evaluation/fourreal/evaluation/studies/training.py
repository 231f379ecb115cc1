"""The study's models: one base video model, and every arm with every seed, each a run of `fourreal train`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fourreal.evaluation.exported import model_sha256
from fourreal.evaluation.studies.arms import ARMS
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.data import StudyData
from fourreal.evaluation.studies.jobs import Jobs
from fourreal.evaluation.studies.ledger import Ledger, Record
from fourreal.platform import tracking
from fourreal.platform.storage import Storage

_CURVES = ("loss", "validation_loss")
"""MLflow metrics of a training run that are kept with its record."""
_MOST_POINTS = 400


def base_folder(config: Config) -> str:
    """Where the base model's run is."""
    return str(config.out / "base")


def arm_folder(config: Config, arm: str, seed: int) -> str:
    """Where an arm's run is."""
    return str(config.out / "arms" / arm / f"seed-{seed}")


def model_of(run: str) -> str:
    """The exported model of a finished run."""
    return f"{run}/model"


def train_base(config: Config, data: StudyData, jobs: Jobs, ledger: Ledger) -> Record:
    """Fit the base model on all that is trained on, or find it fitted."""
    fit = config.fit
    arguments = [
        "--stage=base",
        *_data(config, (data.rendered, data.pseudo_4d), data.held_out),
        *_common(config, config.seed, fit.base_steps, fit.base_batch_size, fit.base_lr, fit.pure_noise),
        f"--mixture.first-frame-alone={fit.first_frame_alone}",
        f"--mixture.both-ends={fit.both_ends}",
        f"--model.size={fit.size}",
        f"--model.patch-size={fit.patch_size}",
        f"--model.prediction={fit.prediction}",
        "--model.references" if fit.references else "--model.no-references",
        f"--model.refinement={fit.refinement}",
        f"--model.height={config.height}",
        f"--model.width={config.width}",
    ]
    return ledger.once(
        "base/trained", lambda: _train(config, jobs, "base", base_folder(config), arguments, at_a_time=1)
    )


def train_arms(config: Config, data: StudyData, jobs: Jobs, ledger: Ledger) -> dict[tuple[str, int], Record]:
    """Fit every arm with every seed, some at a time; returns their records.

    Seed by seed, so that a study that is stopped early has all arms of its first seeds.
    """
    cells = [(arm, seed) for seed in range(config.seeds) for arm in config.arms]
    with ThreadPoolExecutor(config.fit.parallel) as pool:
        futures = {cell: pool.submit(_train_arm, config, data, jobs, ledger, *cell) for cell in cells}
        try:
            return {cell: future.result() for cell, future in futures.items()}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # those that run are finished, or end with the study
            raise


def _train_arm(config: Config, data: StudyData, jobs: Jobs, ledger: Ledger, name: str, seed: int) -> Record:
    arm, fit = ARMS[name], config.fit
    arguments = [
        "--stage=grid",
        f"--start-from={base_folder(config)}",
        f"--model.architecture={arm.architecture}",
        "--model.train=full",  # of sync-only, architectures that add no parameters could train nothing
        *_data(config, data.of(arm), data.held_out),
        *_common(
            config, seed, fit.grid_steps, fit.grid_batch_size, fit.grid_lr, 1.0 if arm.regression else fit.pure_noise
        ),
    ]  # fmt: skip
    cell, out = f"arms/{name}/seed-{seed}", arm_folder(config, name, seed)
    return ledger.once(f"{cell}/trained", lambda: _train(config, jobs, cell, out, arguments, at_a_time=fit.parallel))


def _data(config: Config, folders: Sequence[str], held_out: str) -> list[str]:
    share = config.data.rendered_share
    weights = ["--mixture.weights", f"{share:g}", f"{1 - share:g}"] if len(folders) == 2 else []
    return ["--data", *folders, *weights, "--validation.data", held_out]


def _common(config: Config, seed: int, steps: int, batch_size: int, lr: float, pure_noise: float) -> list[str]:
    fit = config.fit
    fields = {
        "views": config.views, "times": config.times, "seed": seed, "steps": steps, "batch-size": batch_size,
        "workers": fit.workers, "engine.kind": fit.engine, "optimizer.lr": lr, "optimizer.ema-decay": fit.ema_decay,
        "diffusion.weight": fit.weight, "diffusion.pure-noise": pure_noise, "checkpoints.every": fit.checkpoints_every,
        "samples.every": 0,
    }  # fmt: skip
    return [f"--{name}={value}" for name, value in fields.items()]


def _train(config: Config, jobs: Jobs, name: str, out: str, arguments: Sequence[str], *, at_a_time: int) -> Record:
    processes = at_a_time * config.fit.workers
    share, threads = jobs.gpu_share(processes), max(2, (os.cpu_count() or 1) // processes)
    room = [f"--gpu-share={share:g}", f"--loader.threads={threads}"]
    jobs.run(f"{name}/train", "train", [f"--out={out}", *room, *arguments])
    storage = Storage(out)
    run_id = str(json.loads(storage.read("run.json"))["mlflow_run_id"])
    result = json.loads(storage.read("result.json"))
    return {
        "model_sha256": model_sha256(model_of(out)),
        "mlflow_run_id": run_id,
        "wall_s": result["wall_s"],
        "curves": {name: _curve(run_id, name) for name in _CURVES},
    }


def _curve(run_id: str, metric: str) -> list[tuple[int, float]]:
    """(step, value), at most some hundred of them; empty where MLflow was away when they were made."""
    history = tracking.client().MlflowClient().get_metric_history(run_id, metric)
    points = sorted((entry.step, entry.value) for entry in history)
    return points[:: max(1, len(points) // _MOST_POINTS)]
