"""`fourreal train`: fit the base video model and the grid model.

fourreal train --recipe demo --data outputs/rendered outputs/synthesized --out outputs/model
fourreal train --stage base --data DIR --out OUT
fourreal train --stage grid --base OUT/model --data DIR --out OUT2
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from fourreal.platform.config import as_yaml, command
from fourreal.platform.tracking import run_address
from fourreal.training.launch import StageResult, run_stage
from fourreal.training.recipes import RECIPES
from fourreal.training.settings import Config, StageSettings, check, stage_settings
from fourreal.training.worker import MODEL_FOLDER

BASE_FOLDER = "base"
_MISHAPS = ("skipped_steps", "rollbacks", "failed_checkpoints")


def run(config: Config) -> dict[str, StageResult]:
    """Run the stages asked for; returns their results by stage. Raises UserError before any worker starts."""
    check(config)
    out = config.out.rstrip("/")
    results: dict[str, StageResult] = {}
    base, base_out = config.base, out
    if config.stage == "both":
        base_out = f"{out}/{BASE_FOLDER}"
        base = f"{base_out}/{MODEL_FOLDER}"
    with ExitStack() as session:
        if config.stage != "grid":
            results["base"] = _run(config, stage_settings(config, "base", base_out, None), session)
        if config.stage != "base":
            results["grid"] = _run(config, stage_settings(config, "grid", out, base), session)
    return results


def _run(config: Config, settings: StageSettings, session: ExitStack) -> StageResult:
    result, run_id = run_stage(settings, session)
    settings.storage.write("config.yaml", as_yaml(config).encode())
    print(f"train {settings.stage}: done")
    rows = [
        ("loss", f"{result.start_loss:.4f} at the start, {result.end_loss:.4f} at the end"),
        ("steps", f"{result.steps}, {result.samples_per_s:.1f} samples/s, {result.wall_s:.0f} s"),
        ("model", f"{settings.out}/{MODEL_FOLDER}"),
        ("samples", f"{settings.out}/samples.png"),
        ("MLflow", run_address(run_id)),
    ]
    if mishaps := [f"{getattr(result, name)} {name.replace('_', ' ')}" for name in _MISHAPS if getattr(result, name)]:
        rows.append(("mishaps", ", ".join(mishaps)))
    for label, value in rows:
        print(f"  {label:<12}{value}")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `fourreal train`; returns the exit status."""
    return command(Config, run, argv, prog="fourreal train", recipes=RECIPES)


if __name__ == "__main__":
    raise SystemExit(main())
