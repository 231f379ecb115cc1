"""Configurations: a YAML file for each kind of job, through the whole parser."""

from __future__ import annotations

import contextlib
import functools
import io
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from tests.fuzz.harness import Target
from tests.fuzz.mutations import damaged_bytes, damaged_document

from fourreal.datagen.render_config import Config as Render
from fourreal.evaluation.generate import Config as Generate
from fourreal.platform.config import as_yaml, parse
from fourreal.platform.errors import UserError
from fourreal.training.settings.config import Config as Train

_ALIASES = [f"&a{i} [{', '.join([f'*a{i - 1}'] * 9 if i else ['x'])}]" for i in range(12)]
_SPECIAL = [
    *(
        "",
        "---",
        "- a\n- b",
        "out: !!python/object/apply:os.system [true]",
        "out: &a [*a]",
        "out: &a {b: *a}",
        "? [a]\n: b",
    ),
    *("out: 2020-01-01", "out: 2020-99-99", "out: !!binary AAAA", "1: 2", "null: 3", "out: |\n  two\n  lines", "\t"),
    *("<<: {out: x}", "%YAML 9", "[" * 20_000, "out: " + "{a: " * 5_000, 'out: "\\ud800"', "\ufeffout: x"),
    *(f"{name}: [{', '.join(_ALIASES)}]" for name in ("out", "data", "camera")),
]
Input = tuple[int, bytes]


@functools.cache
def _configs() -> tuple[tuple[type[Any], bytes], ...]:
    made = (Render(assets="a", out="b"), Train(data=("a",), out="b"))
    generate: Any = Generate
    return tuple(
        (type(config), as_yaml(config).encode()) for config in (*made, generate(model="m", conditions="c", out="o"))
    )


def _inputs() -> st.SearchStrategy[Input]:
    def of(number: int) -> st.SearchStrategy[Input]:
        text = _configs()[number][1]
        document = yaml.safe_load(text)
        damaged = damaged_document(document).map(lambda d: yaml.safe_dump(_writable(d)).encode())
        special = st.sampled_from(_SPECIAL).map(lambda s: s.encode(errors="surrogatepass"))
        return st.tuples(st.just(number), st.one_of(damaged, damaged, damaged_bytes(text), special))

    return st.integers(0, len(_configs()) - 1).flatmap(of)


def _writable(value: Any) -> Any:
    """Halves of surrogate pairs cannot be written to a file."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_writable(name): _writable(entry) for name, entry in value.items()}
    return [_writable(entry) for entry in value] if isinstance(value, list) else value


def _use(given: Input, folder: Path) -> object:
    number, text = given
    (folder / "config.yaml").write_bytes(text)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return parse(_configs()[number][0], ["--config", str(folder / "config.yaml")], prog="fourreal")
        except SystemExit as end:  # the parser's own refusal, which it has printed
            if end.code == 2:
                return None
            raise


TARGET = Target("config", _inputs, _use, (UserError,), cost=10)
