"""What the READMEs tell people to type: every command of ours in them parses, and their Python runs."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fourreal.platform import cli, config
from fourreal.platform.codec import encode
from fourreal.platform.shards import write_shard
from fourreal.platform.storage import Storage
from tests.conftest import ROOMS, ROOT

PAGES = [ROOT / name for name in ("README.md", ".github/CONTRIBUTING.md", *(f"{room}/README.md" for room in ROOMS))]
PAGES.append(ROOT / "infra/README.md")

OTHERS = {"docker", "kubectl", "openssl", "printf", "pip", "ray", "export", "git", "aws"}
"""Programs of other people, whose lines are not checked: most need an account, a registry or a cluster. What of them
can be parsed is, in tests/infra/test_deployment.py."""


def blocks(text: str) -> Iterator[str]:
    """Indented and fenced blocks."""
    text = re.sub(r"^```\w*\n(.*?)^```$", lambda m: re.sub(r"^", "    ", m[1], flags=re.M), text, flags=re.M | re.S)
    yield from (
        "\n".join(line[4:] for line in match[0].strip("\n").splitlines())
        for match in re.finditer(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, flags=re.M)
    )


def sentences(text: str) -> Iterator[str]:
    """Commands inside lines."""
    yield from (" ".join(code.split()) for code in re.findall(r"(?<!`)`((?:fourreal|make|python) [^`]+)`", text))


def commands(block: str) -> Iterator[list[str]]:
    """Lines of a shell, as words; without comments, optional brackets, and dots for what is left out."""
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quotation over several lines: none of ours has one
            continue
        if any("->" in word for word in words):  # a drawing
            continue
        words = [word.strip("[]") for word in words if word.strip("[].")]
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words:
            yield words


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


@pytest.mark.parametrize("arguments", [*lines_of("make"), *lines_of("make", sentences)])
def test_make_has_the_target(arguments: list[str]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert {word for word in arguments if "=" not in word} <= targets


@pytest.mark.parametrize("arguments", [*lines_of("python"), *lines_of("python", sentences)])
def test_python_is_given_what_exists(arguments: list[str]) -> None:
    first = arguments[1].replace(".", "/") if arguments[0] == "-m" else arguments[0].removesuffix(".py")
    places = [ROOT, *(ROOT / room for room in ROOMS)]
    assert any((place / f"{first}.py").exists() or (place / first / "__main__.py").exists() for place in places)


def test_every_shell_line_is_ours_or_known_to_be_checked_elsewhere() -> None:
    checked = {"fourreal", "make", "python"}
    for page in PAGES:
        for block in blocks(page.read_text()):
            if re.search(r"^\s*(?:fourreal|make|ray|docker|kubectl|openssl) ", block, flags=re.M):
                for words in commands(block):
                    known = words[0] in checked | OTHERS or words[0].startswith(("infra/", ".ci/", "env_vars"))
                    assert known, f"{page.relative_to(ROOT)}: {' '.join(words)}"


def python_examples() -> list[str]:
    return [block for block in blocks((ROOT / "README.md").read_text()) if re.match(r"(?:from|import) ", block)]


def test_the_readmes_python_makes_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_grid: Any) -> None:
    torch = pytest.importorskip("torch")
    from fourreal.training.model import GridModel, make_backbone, save_pretrained

    (example,) = python_examples()
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    shape = {"height": 32, "width": 48, "patch_size": 8, "hidden_dim": 16, "depth": 1, "heads": 1}
    model = GridModel(make_backbone("pixel", shape), "soft")
    model_folder, grids_folder = re.findall(r'"(outputs/[^"]+)"', example)[:2]
    save_pretrained(model, model_folder)
    known = make_grid(V=4, T=4, H=64, W=96)
    write_shard(Storage(grids_folder), 0, [(known.key, encode(known))])
    names: dict[str, Any] = {}
    exec(compile(ast.parse(example), "README.md", "exec"), names)
    made = names["grid"].frames
    assert (made.shape, made.dtype) == ((4, 4, 32, 48, 3), np.uint8)
    (video,) = (path for path in tmp_path.rglob("*.mp4"))
    assert video.stat().st_size > 0


def test_the_citation_is_what_citation_tools_read() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # required by CFF 1.2.0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert all({"type", "title", "authors"} <= set(reference) for reference in citation["references"])
