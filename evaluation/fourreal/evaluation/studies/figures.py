"""The study in pictures: curves, quality by sampling steps, synchronization over depth, example grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fourreal.evaluation.baselines import BASELINES, average
from fourreal.evaluation.metrics import PSNR
from fourreal.evaluation.shelf import Shelf
from fourreal.evaluation.studies.arms import ARMS
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.ledger import Record
from fourreal.evaluation.studies.scores import generated_folder
from fourreal.evaluation.studies.summary import Findings, Method
from fourreal.evaluation.studies.training import arm_folder, model_of
from fourreal.platform.contact_sheet import Image, contact_sheet, stack_sheets, write_png
from fourreal.platform.storage import Storage
from fourreal.training.model import load_model
from fourreal.training.model.coupling import synchronization_strength

FIGURES = {
    "curves.png": "Training loss, and loss on held-out procedural grids, by step",
    "steps.png": "PSNR by sampling steps; dashed: baselines that learn nothing",
    "synchronization.png": "Synchronization strength over depth, a line for each seed",
}
"""By file name: what it shows."""
_EXAMPLES = 2
_EXAMPLE_WIDTH = 72


def write_figures(
    folder: Path,
    config: Config,
    found: Sequence[Findings],
    base: Record,
    fits: Mapping[tuple[str, int], Record],
    tests: Mapping[str, str],
) -> None:
    """Every picture of the study; `base` and `fits` are the training runs' records."""
    _curves(folder / "curves.png", config, base, fits)
    if PSNR().name in config.metrics:
        _by_steps(folder / "steps.png", config, found)
    _synchronization(folder / "synchronization.png", config)
    for test, references in tests.items():
        write_png(folder / f"examples-{test}.png", _examples(config, test, references))


def _curves(path: Path, config: Config, base: Record, fits: Mapping[tuple[str, int], Record]) -> None:
    figure, axes = _panels(3)
    for place, (name, runs) in enumerate({"base": [base], **_by_arm(config, fits)}.items()):
        for run in runs:
            colour = f"C{place}"
            curves = run["curves"]
            if name == "base":
                _line(axes[0], curves["loss"], colour, "training", alpha=0.4)
                _line(axes[0], curves["validation_loss"], colour, "held out")
            else:
                label = name if run is runs[0] else None
                _line(axes[1], curves["loss"], colour, label, alpha=0.4)
                _line(axes[2], curves["validation_loss"], colour, label)
    for panel, name in zip(axes, ("base model", "arms, training", "arms, held out"), strict=True):
        panel.set(title=name, xlabel="step", ylabel="loss", yscale="log")
        panel.legend(fontsize=6)
    figure.savefig(path, dpi=110)


def _by_steps(path: Path, config: Config, found: Sequence[Findings]) -> None:
    figure, axes = _panels(len(found))
    for panel, findings in zip(axes, found, strict=True):
        for place, arm in enumerate(config.arms):
            steps = ARMS[arm].steps(config.sampling_steps)
            values = [findings.values[Method(arm, n), PSNR().name].value for n in steps]
            points = [(n, value) for n, value in zip(steps, values, strict=True) if value is not None]
            _line(panel, points, f"C{place}", arm, marker="o")
        for name in BASELINES:
            value = findings.values[Method(name), PSNR().name].value
            if value is not None:
                panel.axhline(value, color="grey", linestyle="--", linewidth=0.8)
                panel.text(config.sampling_steps[-1], value, name, fontsize=6, ha="right", va="bottom")
        panel.set(title=f"{findings.test} grids", xlabel="sampling steps", ylabel="PSNR, dB", xscale="log")
        panel.set_xticks(config.sampling_steps, [str(n) for n in config.sampling_steps])
        panel.legend(fontsize=6)
    figure.savefig(path, dpi=110)


def _synchronization(path: Path, config: Config) -> None:
    figure, axes = _panels(1)
    for place, arm in enumerate(config.arms):
        for seed in range(config.seeds):
            strengths = synchronization_strength(load_model(model_of(arm_folder(config, arm, seed)), "grid"))
            points = list(enumerate(strengths))
            _line(axes[0], points, f"C{place}", arm if seed == 0 and points else None, marker="o", alpha=0.7)
    axes[0].set(xlabel="layer", ylabel="strength of synchronization")
    axes[0].legend(fontsize=6)
    figure.savefig(path, dpi=110)


def _examples(config: Config, test: str, references: str) -> Image:
    """Each example's true grid, the average of its given copies, and what the first seed of every arm made of it."""
    shelf = Shelf(Storage(references))
    sheets: list[Image] = []
    titles: list[str] = []
    for key in shelf.far_apart(_EXAMPLES):
        true = _frames(shelf, key)
        shown = {"true": true, "average of the given": average(true[:, 0], true[0])}
        for arm in config.arms:
            steps = ARMS[arm].steps(config.sampling_steps)
            for n in sorted({steps[0], steps[len(steps) // 2]}):
                made = Shelf(Storage(generated_folder(config, arm, 0, test, n)))
                shown[str(Method(arm, n))] = _frames(made, key)
        times = max(1, _EXAMPLE_WIDTH // true.shape[3])
        sheets += [contact_sheet(frames.repeat(times, axis=2).repeat(times, axis=3)) for frames in shown.values()]
        titles += list(shown)
    return stack_sheets(sheets, titles, columns=4)


def _frames(shelf: Shelf, key: str) -> Image:
    encoded = shelf.grid(key)
    assert encoded is not None
    return encoded.decode().frames


def _by_arm(config: Config, fits: Mapping[tuple[str, int], Record]) -> dict[str, list[Record]]:
    return {arm: [fits[arm, seed] for seed in range(config.seeds)] for arm in config.arms}


def _panels(count: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * count, 4), layout="constrained")
    return figure, list(figure.subplots(1, count, squeeze=False).flat)


def _line(axes: Any, points: Sequence[Sequence[float]], colour: str, label: str | None, **style: Any) -> None:
    if points:
        steps, values = np.array(points, np.float64).T
        axes.plot(steps, values, color=colour, label=label, **{"marker": "." if len(points) < 3 else "", **style})
