"""From the command line to one frozen, typed configuration.

Precedence, lowest first: the defaults of the dataclass, a named recipe (`--recipe NAME`, a Python function that
returns the fields it sets), a YAML file (`--config FILE`), flags. Recipes and YAML become flags in front of the
user's own, so that every value goes through the same parser, with the same types and the same messages.

A job's module has::

    @dataclass(frozen=True)
    class Config: ...


    def run(config: Config) -> ...: ...


    def main(argv: Sequence[str] | None = None) -> int:
        return command(Config, run, argv, prog="fourreal render", recipes={"demo": demo_recipe})
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import tyro
import yaml

from fourreal.platform import logs
from fourreal.platform.errors import UserError
from fourreal.platform.redaction import redact
from fourreal.platform.storage_errors import StorageError

ConfigT = TypeVar("ConfigT")
Recipe = Callable[[], Mapping[str, Any]]
"""Returns the fields that the recipe sets; a nested dataclass is a nested mapping."""

_SOURCES = "--recipe NAME starts from a named recipe, --config FILE.yaml from a file; flags win over both."


def parse(
    config_class: type[ConfigT],
    argv: Sequence[str],
    *,
    prog: str,
    recipes: Mapping[str, Recipe] | None = None,
) -> ConfigT:
    """Return the configuration that `argv` asks for.

    Raises UserError for an unknown recipe, an unreadable YAML file or a field that does not exist; exits like
    argparse (status 2, or 0 after `--help`) for a flag that does not parse.
    """
    [config] = parse_stages(config_class, argv, prog=prog, recipes=recipes or {}, chains={}).values()
    return config


def parse_stages(
    config_class: type[ConfigT],
    argv: Sequence[str],
    *,
    prog: str,
    recipes: Mapping[str, Recipe],
    chains: Mapping[str, Sequence[str]],
) -> dict[str, ConfigT]:
    """Like `parse`, for a job in stages: `--recipe` may also name a chain of recipes that run one after the other.

    Returns the configuration of each stage by its recipe's name; file and flags hold for every one of them. Without
    `--recipe` there is one, named "".
    """
    sources = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    sources.add_argument("--recipe")
    sources.add_argument("--config", type=Path)
    chosen, flags = sources.parse_known_args(list(argv))
    if chosen.recipe is not None and chosen.recipe not in {*recipes, *chains}:
        known = ", ".join(sorted({*recipes, *chains})) or "none"
        raise UserError(f"there is no recipe {chosen.recipe!r} for `{prog}`: known are {known}")
    file = [] if chosen.config is None else _as_flags(config_class, _read_yaml(chosen.config), str(chosen.config))
    description = f"{inspect.cleandoc(config_class.__doc__ or '')}\n\n{_SOURCES}{_listed(recipes, chains)}"
    stages: dict[str, ConfigT] = {}
    for name in chains.get(chosen.recipe, [chosen.recipe or ""]):
        recipe = _as_flags(config_class, recipes[name](), f"recipe {name!r}") if name else []
        stages[name] = tyro.cli(config_class, prog=prog, description=description, args=[*recipe, *file, *flags])
    return stages


def command(
    config_class: type[ConfigT],
    run: Callable[[ConfigT], object],
    argv: Sequence[str] | None,
    *,
    prog: str,
    recipes: Mapping[str, Recipe] | None = None,
) -> int:
    """Parse, run and return the exit status: 0; 2 after a UserError or StorageError, whose sentence is printed; 130
    after Ctrl-C.

    `run` may return an int, which is then the status.
    """
    return _status(lambda: run(parse(config_class, _arguments(argv), prog=prog, recipes=recipes)), prog)


def command_of_stages(
    config_class: type[ConfigT],
    run: Callable[[dict[str, ConfigT]], object],
    argv: Sequence[str] | None,
    *,
    prog: str,
    recipes: Mapping[str, Recipe],
    chains: Mapping[str, Sequence[str]],
) -> int:
    """Like `command`, for a job in stages (see `parse_stages`)."""
    return _status(
        lambda: run(parse_stages(config_class, _arguments(argv), prog=prog, recipes=recipes, chains=chains)), prog
    )


def _listed(recipes: Mapping[str, Recipe], chains: Mapping[str, Sequence[str]]) -> str:
    """The recipes for the help: chains with their members, others with what their docstrings say first."""
    lines = {name: ", ".join(members) for name, members in chains.items()}
    lines |= {name: inspect.cleandoc(recipe.__doc__ or "").split("\n\n")[0] for name, recipe in recipes.items()}
    width = max(map(len, lines), default=0) + 2
    # tyro joins lines, but for those that start with no letter.
    listed = "".join(f"\n  {name:<{width}}{' '.join(text.split())}" for name, text in lines.items())
    return f"\n\nRecipes:{listed}" if lines else ""


def _arguments(argv: Sequence[str] | None) -> Sequence[str]:
    return sys.argv[1:] if argv is None else argv


def _status(job: Callable[[], object], prog: str) -> int:
    logs.configure()
    try:
        status = job()
    except UserError as error:
        print(redact(f"{prog}: {error}"), file=sys.stderr)
        return 2
    except StorageError as error:
        print(redact(f"{prog}: {error}; after that the same command goes on"), file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output (`| head`) has gone: no fault, and nobody to tell
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the interpreter's own last flush
        return 141
    except KeyboardInterrupt:
        print(f"{prog}: stopped; what is finished is kept, the same command goes on from there", file=sys.stderr)
        return 130
    return status if isinstance(status, int) else 0


def as_document(config: Any) -> dict[str, Any]:
    """The resolved configuration as plain data that YAML and JSON can hold and `--config` can read."""
    plain = _plain(dataclasses.asdict(config))
    assert isinstance(plain, dict)
    return plain


def as_yaml(config: Any) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(as_document(config), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read --config {path}: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"--config {path} is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of a date that does not exist, or no UTF-8
        raise UserError(f"--config {path} is no YAML: {' '.join(str(error).split())}") from None
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise UserError(f"--config {path} must hold `field: value` lines, not a {type(document).__name__}")
    return document


def _as_flags(config_class: type[Any], values: Mapping[str, Any], where: str, prefix: str = "") -> list[str]:
    types = get_type_hints(config_class)
    names = [f.name for f in dataclasses.fields(config_class)]
    flags: list[str] = []
    for raw_name, value in values.items():
        name = str(raw_name).replace("-", "_")
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
            raise UserError(f"{where} sets {prefix}{raw_name}, which does not exist: {hint}")
        if dataclasses.is_dataclass(types[name]) and isinstance(value, Mapping):
            flags += _as_flags(types[name], value, where, f"{prefix}{name}.")
            continue
        flag = f"--{prefix}{name}".replace("_", "-")
        if isinstance(value, bool):
            head, _, last = flag.rpartition(".")
            flags.append(flag if value else f"{head}.no-{last}" if head else f"--no-{flag[2:]}")
        elif isinstance(value, Mapping):
            raise UserError(f"{where} gives {prefix}{name} a mapping where one value is wanted")
        elif isinstance(value, list | tuple):
            # Aliases can make a list of lists larger than any memory once it is written out.
            if any(isinstance(entry, list | tuple | Mapping | set) for entry in value):
                raise UserError(f"{where} gives {prefix}{name} a list of lists where a list of values is wanted")
            flags += [flag, *map(str, value)]
        else:
            flags.append(f"{flag}={value}")
    return flags
