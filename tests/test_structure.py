"""The walls of the house: who may import whom, and what an import may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOMS, ROOT

MAY_KNOW = {
    "platform": {"platform"},
    "datagen": {"datagen", "platform"},
    "training": {"training", "platform"},
    "evaluation": {"evaluation", "platform", "training.model"},
}
TRAINING = (
    "model", "settings", "recipes", "workers", "data", "encoding",
    "checkpoint", "engine", "stage", "fit", "report", "run",
)  # fmt: skip
"""Packages of the training room, each of which knows only packages before it; the commands beside them know all."""


def _sources(room: str) -> list[Path]:
    return sorted((ROOT / room / "fourreal").rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    """Absolute names of the modules that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_it_may_know(room: str) -> None:
    allowed = tuple(f"fourreal.{name}" for name in MAY_KNOW[room])
    for path in _sources(room):
        for name in _imports(path):
            if name.startswith("fourreal.") and name.count(".") > 1:
                assert name.startswith(allowed), f"{path.relative_to(ROOT)} imports {name}"


def test_the_packages_of_training_know_only_those_before_them() -> None:
    room = ROOT / "training/fourreal/training"
    assert {path.parent.name for path in room.glob("*/__init__.py")} == set(TRAINING)
    for place, package in enumerate(TRAINING):
        known = TRAINING[: place + 1]
        for path in (room / package).rglob("*.py"):
            names = {name.split(".")[2] for name in _imports(path) if name.startswith("fourreal.training.")}
            assert names <= set(known), f"{path.relative_to(ROOT)} imports {names - set(known)}"


def test_the_model_needs_nothing_of_ours_and_little_of_others() -> None:
    always = {"torch", "einops", "numpy", "safetensors", "fourreal.training.model", *sys.stdlib_module_names}
    backbones = ROOT / "training/fourreal/training/model/backbones"
    for path in (ROOT / "training/fourreal/training/model").rglob("*.py"):
        allowed = always | ({"diffusers"} if path.parent == backbones else set())
        for name in _imports(path):
            assert name.split(".")[0] in allowed or name.startswith("fourreal.training.model"), f"{path}: {name}"


def test_only_the_blender_process_imports_bpy() -> None:
    inside = ROOT / "datagen/fourreal/datagen/blender/inside"
    users = {p for room in ROOMS for p in _sources(room) if {"bpy", "mathutils"} & set(_imports(p))}
    assert users, "nothing imports bpy: this test looks in the wrong place"
    assert all(inside in path.parents for path in users), users


def test_there_is_no_package_file_that_would_shadow_a_namespace() -> None:
    for room in ROOMS:
        assert not (ROOT / room / "__init__.py").exists()
        assert not (ROOT / room / "fourreal" / "__init__.py").exists()


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_platform_is_pythons_own_in_the_repository() -> None:
    assert _python("import platform; print(platform.python_implementation())") == "CPython"


def test_import_platform_is_pythons_own_under_pytest() -> None:
    import platform

    assert platform.python_implementation() == "CPython"


@pytest.mark.ray
@pytest.mark.slow
def test_import_platform_is_pythons_own_in_a_ray_worker() -> None:
    code = """
import os
from fourreal.platform.runtime import ray_session
with ray_session(1):
    import ray
    @ray.remote
    def implementation():
        import platform
        return platform.python_implementation()
    print(ray.get(implementation.remote()))
"""
    assert _python(code).endswith("CPython")


def test_importing_the_model_pulls_in_no_heavy_neighbours() -> None:
    heavy = _python(
        "import sys, fourreal.training.model\n"
        "heavy = ('ray', 'deepspeed', 'bpy', 'mlflow', 'diffusers', 'fourreal.platform')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert heavy == "[]"


def test_deepspeed_starts_without_mlflow_which_can_still_be_imported() -> None:
    loaded = _python(
        "import sys, torch\n"
        "from fourreal.training.engine.deepspeed import _import\n"
        "_import(torch.device('cpu'))\n"
        "print([m for m in ('deepspeed', 'mlflow') if m in sys.modules])\n"
        "import mlflow"
    )
    assert loaded.endswith("['deepspeed']")


def test_the_commands_help_needs_no_heavy_import() -> None:
    loaded = _python(
        "import sys, fourreal.platform.cli as cli\n"
        "cli.main(['--help'])\n"
        "print([m for m in ('ray', 'torch', 'mlflow', 'numpy') if m in sys.modules])"
    )
    assert loaded.endswith("[]")


def test_every_command_has_a_module_with_a_main() -> None:
    from fourreal.platform.cli import COMMANDS

    for group in COMMANDS.values():
        for command in group.values():
            room, name = command.module.split(".")[1:]
            source = ROOT / room / "fourreal" / room / f"{name}.py"
            names = {node.name for node in ast.parse(source.read_text()).body if isinstance(node, ast.FunctionDef)}
            assert {"main", "run"} <= names, source


def test_no_file_is_too_long_to_read() -> None:
    for room in ROOMS:
        for path in _sources(room):
            assert len(path.read_text().splitlines()) <= 400, path
