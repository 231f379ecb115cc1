"""What the pages tell people to type: every command in them parses, what they name is there, and their Python runs.

`test_howtos.py` types the how-tos as they stand.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import re
import runpy
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from fourreal.platform import cli, config
from fourreal.platform.codec import encode
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage
from tests.conftest import ROOMS, ROOT
from tests.pages import PAGES, blocks, commands, is_python, sentences

OTHERS = {"docker", "kubectl", "openssl", "printf", "pip", "export", "git", "aws"}
"""Programs of other people, whose lines are not checked: most need an account, a registry or a cluster. What of them
can be parsed is, in tests/infra/test_deployment.py."""

READ_BY_OTHERS = {
    "AWS_CA_BUNDLE": "botocore.configprovider",
    "MLFLOW_TRACKING_SERVER_CERT_PATH": "mlflow.environment_variables",
    "RAY_TLS_CA_CERT": "ray._common.tls_utils",
    "RAY_TLS_SERVER_CERT": "ray._common.tls_utils",
    "RAY_TLS_SERVER_KEY": "ray._common.tls_utils",
    "RAY_USE_TLS": "ray._common.tls_utils",
}
"""Variables that no code of ours reads or sets, and who does."""


def lines_of(program: str, find: Callable[[str], Iterator[str]] = blocks) -> list[Any]:
    """What follows the program's name, for pytest."""
    return [
        pytest.param(words[1:], id=f"{page.parent.name}: {' '.join(words)}"[:100])
        for page in PAGES
        for block in find(page.read_text())
        for words in commands(block)
        if words[0] == program
    ]


class ParsedError(Exception):
    """A command line was understood, and is not run."""


def parse(arguments: list[str], patch: pytest.MonkeyPatch) -> None:
    """What `fourreal` makes of it; SystemExit and UserError say what it does not understand."""
    understood = config.tyro.cli

    def stop(*args: Any, **kwargs: Any) -> None:
        understood(*args, **kwargs)
        raise ParsedError

    with patch.context() as patched:
        patched.setattr(config.tyro, "cli", stop)
        cli.main(arguments)


@pytest.mark.parametrize("arguments", lines_of("fourreal"))
def test_our_command_lines_parse(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParsedError):
        parse(arguments, monkeypatch)
    if arguments[0] == "submit":
        sent = next(at for at, word in enumerate(arguments) if at and cli.find(word))
        with pytest.raises(ParsedError):
            parse(arguments[sent:], monkeypatch)


@pytest.mark.parametrize("arguments", lines_of("fourreal", sentences))
def test_our_commands_in_sentences_parse_but_for_what_they_leave_out(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if arguments[0] == "COMMAND":
        return
    assert cli.find(arguments[0]) is not None
    if len(arguments) > 1 and arguments[-1] != "--help":
        with pytest.raises((ParsedError, SystemExit)) as ended:
            parse(arguments, monkeypatch)
        assert ended.type is ParsedError or "Required options" in capsys.readouterr().err


def test_a_line_that_does_not_parse_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        parse(["render", "--assets", "a", "--out", "b", "--no-such-flag", "1"], monkeypatch)
    with pytest.raises(ValueError, match="No closing quotation"):
        list(commands("fourreal render --assets 'my models\n    --out b"))


def test_a_dry_run_and_recipes_are_where_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    sentence = re.search(r"With `--dry-run`, (.*?)\s+check\s+all\s+that", (ROOT / "README.md").read_text(), flags=re.S)
    assert sentence is not None
    told = {}
    for name in (name for group in cli.COMMANDS.values() for name in group):
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        told[name] = capsys.readouterr().out
    assert {name for name in told if "--dry-run" in told[name]} == set(re.findall(r"`(\w+)`", sentence[1]))
    assert {name for name in told if re.search(r"^\W*Recipes:", told[name], flags=re.M)} == {"train", "study"}


@pytest.mark.parametrize("arguments", [*lines_of("make"), *lines_of("make", sentences)])
def test_make_has_the_target_and_knows_what_is_set(arguments: list[str]) -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", text, flags=re.M))
    assert {word for word in arguments if "=" not in word} <= targets
    assert all(f"$({word.split('=')[0]})" in text for word in arguments if "=" in word)


@pytest.mark.parametrize("arguments", [*lines_of("python"), *lines_of("python", sentences)])
def test_python_is_given_what_exists_and_takes(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    name = arguments[1] if arguments[0] == "-m" else arguments[0]
    first = name.replace(".", "/") if arguments[0] == "-m" else name.removesuffix(".py")
    places = [ROOT, *(ROOT / room for room in ROOMS)]
    assert any((place / f"{first}.py").exists() or (place / first / "__main__.py").exists() for place in places)
    if flags := arguments[2 if arguments[0] == "-m" else 1 :]:
        parse_script(ROOT / name, flags, monkeypatch)


def parse_script(script: Path, flags: list[str], patch: pytest.MonkeyPatch) -> None:
    """What a script's argparse makes of its flags; SystemExit says what it does not understand."""
    understood = argparse.ArgumentParser.parse_args

    def stop(*args: Any, **kwargs: Any) -> None:
        understood(*args, **kwargs)
        raise ParsedError

    with patch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", stop)
        patched.setattr(sys, "argv", [str(script), *flags])
        patched.setattr(sys, "modules", dict(sys.modules))  # scripts import their neighbours by common names
        patched.syspath_prepend(script.parent)
        with pytest.raises(ParsedError):
            runpy.run_path(str(script), run_name="__main__")


def test_a_flag_that_a_script_does_not_have_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        parse_script(ROOT / "infra/figures.py", ["--no-such-flag"], monkeypatch)


@pytest.mark.parametrize("arguments", lines_of("ray"))
def test_jobs_for_ray_parse_by_ray_and_by_the_job(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.dashboard.modules.job.cli import submit

    assert arguments[:2] == ["job", "submit"]
    split = arguments.index("--")
    options = submit.make_context("submit", arguments[2:]).params
    shipped = json.loads(options["runtime_env_json"] or "{}")
    places = shipped.get("env_vars", {}).get("PYTHONPATH", "").split(":")
    assert set(places) in ({""}, set(ROOMS))
    python, dash_m, module, *rest = arguments[split + 1 :]
    assert (python, dash_m) == ("python", "-m")
    name = next(name for group in cli.COMMANDS.values() for name in group if group[name].module == module)
    with pytest.raises(ParsedError):
        parse([name, *rest], monkeypatch)


def test_every_shell_line_is_ours_or_known_to_be_checked_elsewhere() -> None:
    checked = {"fourreal", "make", "python", "ray"}
    for page in PAGES:
        for block in blocks(page.read_text()):
            for words in commands(block):
                script = ROOT / words[0]
                known = words[0] in checked | OTHERS or (script.is_file() and os.access(script, os.X_OK))
                assert known, f"{page.relative_to(ROOT)}: {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_that_a_page_names_is_read_by_somebody(page: Path) -> None:
    assert unknown_variables(page.read_text()) == []


def unknown_variables(text: str) -> list[str]:
    """Words like NAME_OF_VARIABLE, and names before `=` in commands, that neither our code nor that of others has."""
    named = set(re.findall(r"\b[A-Z0-9]+(?:_[A-Z0-9]+)+\b", text)) | set(re.findall(r"(?<=[ `'])[A-Z]+(?==\w)", text))
    suffixes = {".py", ".sh", ".yaml", ".sbatch"}
    rooms = [path for room in (*ROOMS, "infra") for path in (ROOT / room).rglob("*") if path.suffix in suffixes]
    ours = {word for path in [ROOT / "Makefile", *rooms] for word in re.findall(r"\w+", path.read_text())}
    return sorted(name for name in named - ours if not _read_elsewhere(name))


def _read_elsewhere(name: str) -> bool:
    spec = importlib.util.find_spec(READ_BY_OTHERS[name]) if name in READ_BY_OTHERS else None
    return spec is not None and spec.origin is not None and name in Path(spec.origin).read_text()


def test_a_garbled_variable_is_seen() -> None:
    assert unknown_variables("with `9LS_SERVER_CERT`, `RAY_TLS_SERVER_KEY` and `VIDEO=folder make demo`") == [
        "9LS_SERVER_CERT",
        "VIDEO",
    ]


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / ".github/CONTRIBUTING.md").read_text()
    named = [name for name in re.findall(r"`([\w./-]+)`", text) if "/" in name]
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def python_examples(page: str) -> list[str]:
    return [block for block in blocks((ROOT / page).read_text()) if is_python(block)]


SHAPE = {"height": 32, "width": 48, "patch_size": 8, "hidden_dim": 16, "depth": 1, "heads": 1}


def _export(folder: str) -> None:
    """A tiny model that nobody trained."""
    import torch

    from fourreal.training.model import GridModel, make_backbone, save_pretrained

    torch.manual_seed(0)
    save_pretrained(GridModel(make_backbone("pixel", SHAPE), "soft"), folder)


def _run(example: str, page: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(ast.parse(example), page, "exec"), names)
    return names


def test_the_readmes_python_makes_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_grid: Any) -> None:
    pytest.importorskip("torch")
    (example,) = python_examples("README.md")
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    monkeypatch.chdir(tmp_path)
    model_folder, grids_folder = re.findall(r'"(outputs/[^"]+)"', example)[:2]
    _export(model_folder)
    known = make_grid(V=4, T=4, H=64, W=96)
    write_shard(Storage(grids_folder), 0, [(known.key, encode(known))])
    made = _run(example, "README.md", {})["grid"].frames
    assert (made.shape, made.dtype) == ((4, 4, 32, 48, 3), np.uint8)
    (video,) = (path for path in tmp_path.rglob("*.mp4"))
    assert video.stat().st_size > 0


def test_the_training_pages_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_grid: Any) -> None:
    """With a tiny model that nobody trained; in Wan's place, which tests/training/model/ has, our own backbone."""
    torch = pytest.importorskip("torch")
    from fourreal.training.model import GridModel, border_given, make_backbone

    monkeypatch.chdir(tmp_path)
    _export("OUT/model")
    use, model = python_examples("training/README.md")
    known = make_grid(V=9, T=10, H=32, W=48).frames
    made = _run(use, "training/README.md", {"video": known[0, :4], "orbit": known[:4, 0], "long": known[0]})
    assert made["grid"].frames.shape == (4, 4, 32, 48, 3)
    pixel = SimpleNamespace(from_pretrained=lambda folder: make_backbone("pixel", SHAPE))
    inputs = {"noisy": torch.randn(1, 2, 3, 3, 32, 48), "time": torch.ones(1), "given": border_given(2, 3)[None]}
    _run(model, "training/README.md", {"WanBackbone": pixel, "GridModel": GridModel, "text": None, **inputs})


def test_the_starters_card_runs(make_grid: Any) -> None:
    pytest.importorskip("torch")
    from fourreal.training.model import starter

    card = "training/fourreal/training/model/starter/export/README.md"
    (example,) = python_examples(card)
    known = make_grid(V=4, T=4, H=32, W=48).frames
    made = _run(example.replace("FOLDER", str(starter.FOLDER)), card, {"video": known[0], "orbit": known[:, 0]})
    assert made["grid"].frames.shape == (4, 4, 32, 48, 3)


def test_the_citation_is_what_citation_tools_read() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # required by CFF 1.2.0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert all({"type", "title", "authors"} <= set(reference) for reference in citation["references"])
