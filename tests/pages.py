"""What the pages of this repository tell people to type: their blocks, and the commands in these and in sentences."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator

from tests.conftest import ROOMS, ROOT

PAGES = [ROOT / name for name in ("README.md", ".github/CONTRIBUTING.md", *(f"{room}/README.md" for room in ROOMS))]
PAGES.append(ROOT / "infra/README.md")


def blocks(text: str) -> Iterator[str]:
    """Indented and fenced blocks."""
    text = re.sub(r"^```\w*\n(.*?)^```$", lambda m: re.sub(r"^", "    ", m[1], flags=re.M), text, flags=re.M | re.S)
    yield from (
        "\n".join(line[4:] for line in match[0].strip("\n").splitlines())
        for match in re.finditer(r"(?:^ {4}.*\n|^\n(?= {4}))+", text, flags=re.M)
    )


def sentences(text: str) -> Iterator[str]:
    """Commands inside lines."""
    begin = r"(?:[A-Z_]+=\S+ )*(?:fourreal|make|python|eval) "
    yield from (" ".join(code.split()) for code in re.findall(rf"(?<!`)`({begin}[^`]+)`", text))


def is_python(block: str) -> bool:
    """Whether it is Python: no line of a shell is."""
    try:
        ast.parse(block)
    except SyntaxError:
        return False
    return True


def commands(block: str) -> Iterator[list[str]]:
    """Lines of a shell, as words; without comments, optional brackets, and dots for what is left out.

    Raises ValueError for a quotation that does not end; one over several lines is joined.
    """
    if is_python(block):
        return
    block = "\n".join(part for part in re.split(r"\n\s*\n", block) if "-->" not in part)  # which are drawings
    lines = iter(re.sub(r"\\\n\s*", " ", block).splitlines())
    for first in lines:
        line = first
        while True:
            try:
                words = shlex.split(line, comments=True)
                break
            except ValueError:
                line += "\n" + next(lines, "")
                if line.endswith("\n"):
                    raise
        words = [word.strip("[]") for word in words if word.strip("[]") not in ("", "...")]
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words[:1] == ["eval"]:  # of what another command prints
            words = shlex.split(words[1].removeprefix("$(").removesuffix(")"))
        if words:
            yield words
