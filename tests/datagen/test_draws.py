"""A grid tells how it was made: what its metadata say is what its pixels and cameras show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.datagen.glb import moving_cube

from fourreal.datagen.assets import list_assets, open_assets
from fourreal.datagen.render import Renderer
from fourreal.datagen.render_config import Config
from fourreal.platform.cameras import intrinsics, orbit
from fourreal.platform.config import parse
from fourreal.platform.grid import Grid


def grids_of(tmp_path: Path, flags: list[str]) -> list[Grid]:
    asset = moving_cube(tmp_path / "cube.glb")
    size = ["--views=4", "--times=2", "--height=40", "--width=56", "--samples=2"]
    config = parse(Config, [f"--assets={asset}", f"--out={tmp_path / 'out'}", *size, *flags], prog="fourreal render")
    renderer = Renderer(config)
    items = list(list_assets(open_assets(config.assets, config.seed), config.grids_per_asset))
    try:
        return [renderer.process(item) for item in items]
    finally:
        renderer.close()


@pytest.mark.blender
def test_the_metadata_of_a_grid_say_what_was_drawn_for_it(tmp_path: Path) -> None:
    flags = ["--light.kind=any", "--background.kind=any", "--grids-per-asset=6", "--stride=2"]
    grids = grids_of(tmp_path, flags)
    for grid in grids:
        made = json.loads(json.dumps(grid.meta.provenance))
        assert len(json.dumps(made)) < 3000
        assert grid.meta.settings == {"samples": 2, "fps": 8.0, "stride": 2, "start_s": 0.0, "duration_s": None}
        assert made["clip"] == "slide"
        assert made["times_s"] == pytest.approx(np.array([0.0, 1.0 / grid.meta.fps]) + made["start_s"], abs=1e-5)
        camera = made["camera"]
        assert camera["path"] == "arc"
        turn = np.radians(camera["start_degrees"] + np.linspace(0.0, camera["turn_degrees"], 4))
        assert grid.world_to_camera is not None
        assert grid.intrinsics is not None
        for view in (0, -1):
            low, high = np.radians(camera["elevation_degrees"])
            poses = orbit(np.repeat(turn[view], 2), np.array([low, high]), np.repeat(camera["distance_m"][0], 2))
            assert min(np.abs(pose - grid.world_to_camera[view]).max() for pose in poses) < 0.001
        lens = intrinsics(56, 40, vertical_fov=np.radians(camera["fov_degrees"]))
        assert np.allclose(grid.intrinsics[0], lens, atol=0.01)
        light, background = made["light"], made["background"]
        assert (light["kind"] == "studio") == (light["sun"] is None) == (len(light["areas"]) == 2)
        assert (light["kind"] == "environment") == (light["sky_up"] != light["sky_down"])
        assert grid.mask is not None
        behind = grid.frames[grid.mask == 0] / 255.0
        low, high = np.sort([background["down"], background["up"]], axis=0)
        assert (low - 0.003 <= behind).all()
        assert (behind <= high + 0.003).all()
    for what in ("light", "background"):
        assert len({grid.meta.provenance[what]["kind"] for grid in grids}) > 1
