"""`fourreal train`: fit a model, one stage after the other.

fourreal train --recipe demo --data outputs/rendered outputs/synthesized --out outputs/model
fourreal train --stage base --data DIR --out BASE
fourreal train --stage grid --start-from BASE --data DIR --out GRID
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from fourreal.platform.config import as_yaml, command_of_stages
from fourreal.platform.tracking import run_address
from fourreal.training.recipes import CHAINS, RECIPES
from fourreal.training.run.launch import StageResult, run_stage
from fourreal.training.run.preview import preview
from fourreal.training.settings.checks import check
from fourreal.training.settings.config import Config
from fourreal.training.stage.exports import MODEL_FOLDER
from fourreal.training.stage.settings import stage_settings

_MISHAPS = ("skipped_steps", "rollbacks", "failed_checkpoints")


def run(config: Config) -> StageResult:
    """Run one stage; returns how it ended. Raises UserError before any worker starts."""
    return run_stages({config.stage: config})[config.stage]


def run_stages(configs: dict[str, Config]) -> dict[str, StageResult]:
    """Run stages by name, each from the model of the one before; returns how they ended (of a dry run, nothing).

    The last one has its --out, the others OUT/NAME. Run again, finished stages are not.
    Raises UserError before any worker starts, except for what depends on an earlier stage's model.
    """
    stages = chained(configs)
    for config in stages.values():
        check(config)
    if any(config.dry_run for config in stages.values()):
        preview(stages)
        return {}
    with ExitStack() as session:
        return {name: _run(config, name if name in RECIPES else "", session) for name, config in stages.items()}


def chained(configs: dict[str, Config]) -> dict[str, Config]:
    """Stages by name, each with its own --out, and after the first with the one before as its start."""
    stages: dict[str, Config] = {}
    before: Config | None = None
    for name, config in configs.items():
        out = config.out.rstrip("/")
        if name != list(configs)[-1]:
            out = f"{out}/{name}"
        before = stages[name] = replace(config, out=out, start_from=before.out if before else config.start_from)
    return stages


def _run(config: Config, recipe: str, session: ExitStack) -> StageResult:
    settings = stage_settings(config)
    result, run_id = run_stage(settings, session, recipe)
    settings.storage.write("config.yaml", as_yaml(config).encode())
    print(f"train {settings.stage}: done")
    rows = [
        ("loss", f"{result.start_loss:.4f} at the start, {result.end_loss:.4f} at the end"),
        ("steps", f"{result.steps}, {result.samples_per_s:.1f} samples/s, {result.wall_s:.0f} s"),
        ("model", f"{settings.out}/{MODEL_FOLDER}"),
        *([] if settings.data.coded else [("samples", f"{settings.out}/samples.png")]),
        ("MLflow", run_address(run_id)),
    ]
    if result.validation_loss is not None:
        rows.insert(1, ("held out", f"{result.validation_loss:.4f}, the loss on --validation.data"))
    if result.mfu is not None:
        rows.insert(2, ("use", f"{100 * result.mfu:.0f} % of a worker's peak, {result.memory_gb:.1f} GB of memory"))
    if mishaps := [f"{getattr(result, name)} {name.replace('_', ' ')}" for name in _MISHAPS if getattr(result, name)]:
        rows.append(("mishaps", ", ".join(mishaps)))
    for label, value in rows:
        print(f"  {label:<12}{value}")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fourreal train`; returns the exit status."""
    return command_of_stages(Config, run_stages, argv, prog="fourreal train", recipes=RECIPES, chains=CHAINS)


if __name__ == "__main__":
    raise SystemExit(main())
