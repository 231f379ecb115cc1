"""`fourreal COMMAND ...`: finds the command's module and hands over.

The rooms do not know one another, and this room does not know them: a command is the name of a module, imported
when it is asked for. So `fourreal --help` is quick, and a machine without Blender can still train.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command: the module whose `main(argv)` runs it, one line for the help, and the extra it needs."""

    module: str
    summary: str
    extra: str = ""


COMMANDS: dict[str, dict[str, Command]] = {
    "Data": {
        "render": Command("fourreal.datagen.render", "render animated 3D assets into view-time grids", "render"),
        "synthesize": Command("fourreal.datagen.synthesize", "turn ordinary videos into pseudo-4D grids"),
        "sample-videos": Command("fourreal.datagen.sample_videos", "draw short videos to try synthesize on"),
        "inspect": Command("fourreal.platform.inspection", "tell what is in a folder of shards, with a contact sheet"),
    },
    "Model": {
        "precompute": Command(
            "fourreal.training.precompute",
            "code grids and captions into latents, before training on them",
            "train,diffusers",
        ),
        "train": Command("fourreal.training.train", "fit the base video model, then the grid model", "train"),
        "generate": Command("fourreal.evaluation.generate", "generate grids from two conditioning videos", "eval"),
    },
    "Results": {
        "evaluate": Command(
            "fourreal.evaluation.evaluate", "score generated grids beside baselines that learn nothing", "eval"
        ),
        "compare": Command(
            "fourreal.evaluation.compare", "compare models on the same grids, with a significance test", "eval"
        ),
        "study": Command(
            "fourreal.evaluation.study",
            "train every architecture alike, and measure what synchronization is worth",
            "render,train,eval",
        ),
        "weights": Command(
            "fourreal.evaluation.weights", "list, fetch and verify the published weights that metrics read", "eval"
        ),
        "reconstruct": Command("fourreal.evaluation.reconstruct", "fit moving 3D Gaussian splats to grids", "eval"),
        "view": Command("fourreal.evaluation.view", "make one HTML page to move through views and times"),
        "ui": Command("fourreal.platform.ui", "serve the MLflow store of this folder on loopback"),
    },
    "Machines": {
        "doctor": Command("fourreal.platform.doctor", "tell what is installed, what is missing, what it means"),
        "status": Command("fourreal.platform.status", "tell how a data job or a training run stands, running or dead"),
        "cluster": Command("fourreal.platform.cluster", "start or stop Ray on this machine, for `ray job submit`"),
        "submit": Command("fourreal.platform.submit", "run a command as a job on a Ray cluster"),
        "completion": Command("fourreal.platform.completion", "print what makes bash, zsh or fish complete all this"),
    },
}


def find(name: str) -> Command | None:
    """The command of this name."""
    return next((group[name] for group in COMMANDS.values() if name in group), None)


def usage() -> str:
    """The help of `fourreal` itself."""
    lines = ["usage: fourreal COMMAND [options]", "", "Make 4D-video data, train on it, measure the result."]
    for title, group in COMMANDS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:<15}{command.summary}" for name, command in group.items()]
    lines += ["", "`fourreal COMMAND --help` tells more. Every job also runs as `python -m MODULE`."]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point: returns the command's exit status, 2 for an unknown command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    name, rest = arguments[0], arguments[1:]
    command = find(name)
    if command is None:
        close = difflib.get_close_matches(name, [n for group in COMMANDS.values() for n in group], n=1)
        hint = f"did you mean {close[0]}?" if close else "`fourreal --help` lists the commands"
        print(f"fourreal: there is no command {name!r}: {hint}", file=sys.stderr)
        return 2
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fourreal") or not command.extra:
            raise
        mend = f"pip install 'fourreal[{command.extra}]'"
        print(f"fourreal {name}: the package {error.name} is missing: {mend}", file=sys.stderr)
        return 2
    return int(module.main(rest))


if __name__ == "__main__":
    raise SystemExit(main())
