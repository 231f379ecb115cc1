"""Materials as glTF 2.0 and its extensions define them, read off rendered swatches.

Under a white sky that is the same all around, a diffuse surface shows exactly its colour, and so does a smooth metal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.datagen.swatches import Swatches, pbr

from fourreal.datagen.blender.pixels import RenderedPixels, srgb_to_linear
from fourreal.datagen.blender.scene import Lights, Sun
from fourreal.datagen.blender.worker import BlenderWorker

pytestmark = pytest.mark.blender

COLOUR = (0.8, 0.5, 0.2)
BLACK = (0.0, 0.0, 0.0)
VERTICES = [[0.2, 0.4, 0.6]] * 4
TEXTURE = np.array([[[200, 100, 50], [10, 20, 30]], [[128, 128, 128], [255, 255, 0]]])
LINEAR = srgb_to_linear(TEXTURE / 255.0)
ALPHAS = np.linspace(0, 255, 8).astype(int)
"""Of eight stripes, from left to right."""
STRIPES = np.dstack([np.full((8, 8, 3), 200), np.tile(ALPHAS, (8, 1))])
TURNED = {"rotation": np.pi / 2, "offset": [0.0, 1.0]}
UNLIT: dict[str, Any] = {"extensions": {"KHR_materials_unlit": {}}}


def textured(texture: dict[str, int], **more: Any) -> dict[str, Any]:
    return pbr(pbr={"baseColorTexture": texture}, **more)


def glowing(strength: float | None = None, **more: Any) -> dict[str, Any]:
    extensions = {} if strength is None else {"KHR_materials_emissive_strength": {"emissiveStrength": strength}}
    return pbr((*BLACK, 1.0), extensions=extensions, **{"emissiveFactor": [0.1, 0.5, 0.9], **more})


def metal(**values: Any) -> dict[str, Any]:
    return {"pbrMetallicRoughness": {"baseColorFactor": [*COLOUR, 1.0], **values}}


@dataclass(frozen=True)
class Sheet:
    swatches: Swatches
    white: RenderedPixels
    """Under a white sky."""
    dark: RenderedPixels
    left: RenderedPixels
    """Lit by a sun, 45 degrees from the left."""
    above: RenderedPixels


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Sheet:
    s = Swatches()
    picture, stripes = s.texture(TEXTURE), s.texture(STRIPES)
    transformed = {"extensions": {"KHR_texture_transform": {"offset": [0.5, 0.0], "scale": [0.5, 0.5]}}}
    shiny = s.texture(np.full((2, 2, 3), [0, 26, 255]))  # roughness is the green channel, metal the blue one
    tilted = {name: s.texture(np.full((2, 2, 3), to)) for name, to in (("x", [218, 128, 218]), ("y", [128, 218, 218]))}
    materials = {
        "factor": pbr((*COLOUR, 1.0)),
        "texture": textured(picture),
        "texture and factor": pbr((*COLOUR, 1.0), pbr={"baseColorTexture": picture}),
        "moved": textured(picture | transformed),
        "turned": textured(picture | {"extensions": {"KHR_texture_transform": TURNED}}),
        "metal": metal(roughnessFactor=0.1),
        "metal by texture": metal(metallicRoughnessTexture=shiny),
        "plastic": metal(metallicFactor=0.0),
        "glow": glowing(),
        "strong glow": glowing(4.0),
        "glowing texture": glowing(emissiveFactor=[1.0, 1.0, 1.0], emissiveTexture=picture),
        "unlit": {"pbrMetallicRoughness": {"baseColorTexture": picture}, **UNLIT},
        "opaque": textured(stripes),
        "mask": textured(stripes, alphaMode="MASK"),
        "mask at 0.2": textured(stripes, alphaMode="MASK", alphaCutoff=0.2),
        "unlit mask": {"pbrMetallicRoughness": {"baseColorTexture": stripes}, "alphaMode": "MASK", **UNLIT},
        "blend": textured(stripes, alphaMode="BLEND"),
        "blend by factor": pbr((*COLOUR, 0.3), alphaMode="BLEND"),
        "bump x": pbr(normalTexture=tilted["x"]),
        "bump y": pbr(normalTexture=tilted["y"]),
        "flat": pbr(),
        "nothing": None,
    }
    for name, material in materials.items():
        s.add(name, material)
    s.add("vertices", pbr((0.5, 1.0, 1.0, 1.0)), colours=VERTICES)
    s.add("vertices and texture", textured(picture), colours=[[0.5, 0.5, 0.5]] * 4)
    s.add("vertices with alpha", pbr(alphaMode="BLEND"), colours=[[*COLOUR, 0.3]] * 4)
    s.add("unlit vertices", {"pbrMetallicRoughness": {"baseColorFactor": [0.5] * 3 + [1.0]}, **UNLIT}, colours=VERTICES)
    s.add("vertices of nothing", None, colours=VERTICES)
    s.add("back", pbr((*COLOUR, 1.0)), away=True)
    s.add("back of two sides", pbr((*COLOUR, 1.0), doubleSided=True), away=True)
    s.add("back of nothing", None, away=True)
    s.add("back of unlit", {"pbrMetallicRoughness": {}, **UNLIT}, away=True)
    s.add("mirrored", pbr((*COLOUR, 1.0)), mirrored=True)
    s.add("back of mirrored", pbr((*COLOUR, 1.0)), mirrored=True, away=True)
    path = s.write(tmp_path_factory.mktemp("sheet") / "sheet.glb")
    suns = [Lights(Sun(toward, 2.0, 0.01), BLACK, BLACK) for toward in ((-1.0, -1.0, 0.0), (0.0, -1.0, 1.0))]
    white = Lights(None, (1.0,) * 3, (1.0,) * 3)
    with BlenderWorker() as worker:
        renders = [worker.render(s.scene(path, lights)) for lights in (white, Lights(None, BLACK, BLACK), *suns)]
    return Sheet(s, *renders)


def shows(sheet: Sheet, name: str, colour: Any, alpha: float = 1.0, within: float = 0.01) -> None:
    """Under the white sky; colours are premultiplied by alpha."""
    seen = sheet.swatches.colour(sheet.white, name)
    assert np.abs(seen - [*(np.array(colour) * alpha), alpha]).max() < within, (name, seen)


def test_base_colour_is_the_factor_times_the_texture_which_is_srgb(sheet: Sheet) -> None:
    shows(sheet, "factor", COLOUR)
    for name, factor in (("texture", 1.0), ("texture and factor", COLOUR), ("vertices and texture", 0.5)):
        assert np.abs(sheet.swatches.quarters(sheet.white, name) - LINEAR * factor).max() < 0.01, name


def test_vertex_colours_are_linear_and_multiply(sheet: Sheet) -> None:
    shows(sheet, "vertices", np.array(VERTICES[0]) * [0.5, 1.0, 1.0])
    shows(sheet, "unlit vertices", np.array(VERTICES[0]) * 0.5)
    shows(sheet, "vertices with alpha", COLOUR, 0.3, within=0.03)


def test_texture_coordinates_are_transformed(sheet: Sheet) -> None:
    """Of KHR_texture_transform: scaled, turned counter-clockwise, moved."""
    shows(sheet, "moved", LINEAR[0, 1])
    expected = np.empty((2, 2, 3))
    for row, column in np.ndindex(2, 2):
        u, v = 0.25 + 0.5 * column, 0.25 + 0.5 * row
        u, v = v, 1.0 - u  # by 90 degrees around the origin, the top left corner, then down by 1
        expected[row, column] = LINEAR[int(2 * v), int(2 * u)]
    assert np.abs(sheet.swatches.quarters(sheet.white, "turned") - expected).max() < 0.01


def test_metal_and_plastic(sheet: Sheet) -> None:
    """A smooth metal reflects its colour; a dielectric its colour under a coat that reflects about 4 to 8 percent."""
    shows(sheet, "metal", COLOUR, within=0.02)
    shows(sheet, "metal by texture", COLOUR, within=0.02)
    plastic = sheet.swatches.colour(sheet.white, "plastic")[:3]
    assert np.abs(plastic - (np.array(COLOUR) * 0.94 + 0.06)).max() < 0.06
    assert sheet.swatches.colour(sheet.left, "metal")[:3].max() < 0.01, "no mirror image of the sun in this direction"
    assert sheet.swatches.colour(sheet.left, "metal by texture")[:3].max() < 0.01


def test_without_a_material_a_surface_is_a_rough_white_metal(sheet: Sheet) -> None:
    shows(sheet, "nothing", (1.0, 1.0, 1.0), within=0.02)
    # Light that leaves a rough metal has met it more than once: it has more of the colour than the colour itself.
    once, seen = np.array(VERTICES[0]), sheet.swatches.colour(sheet.white, "vertices of nothing")[:3]
    assert (0.3 * once < seen).all()
    assert (seen < once - 0.05).all()


def test_what_glows_shows_its_value_in_the_dark_too(sheet: Sheet) -> None:
    for pixels in (sheet.white, sheet.dark):
        for name, strength in (("glow", 1.0), ("strong glow", 4.0)):
            seen = sheet.swatches.colour(pixels, name)[:3]
            assert np.abs(seen - strength * np.array([0.1, 0.5, 0.9])).max() < 0.01 * strength, name
        assert np.abs(sheet.swatches.quarters(pixels, "glowing texture") - LINEAR).max() < 0.01
    assert sheet.swatches.colour(sheet.dark, "factor")[:3].max() < 0.001


def test_what_is_unlit_shows_its_texture_to_the_grey_level_under_any_light(sheet: Sheet) -> None:
    for pixels in (sheet.white, sheet.dark, sheet.left):
        frame = pixels.over(np.zeros((1, *pixels.depth.shape[2:], 3), np.float32)) / 255.0
        seen = sheet.swatches.quarters(
            RenderedPixels(np.concatenate([frame, frame[..., :1]], -1), pixels.depth), "unlit"
        )
        assert np.abs(seen * 255.0 - TEXTURE).max() <= 1.0


def test_alpha_is_ignored_cut_hard_or_blended(sheet: Sheet) -> None:
    def stripes(name: str) -> Any:
        places = 2.0 * (np.arange(8) + 0.5) / 8.0 - 1.0
        return np.array([sheet.swatches.colour(sheet.white, name, x, half=0.0) for x in places])

    shows(sheet, "opaque", srgb_to_linear(np.full(3, 200 / 255.0)))
    for name, cutoff in (("mask", 0.5), ("mask at 0.2", 0.2), ("unlit mask", 0.5)):
        assert stripes(name)[:, 3].tolist() == (cutoff <= ALPHAS / 255.0).tolist(), name
    assert np.abs(stripes("blend")[:, 3] - ALPHAS / 255.0).max() < 0.12  # noise: each path passes or does not
    assert abs(stripes("blend")[:, 3].mean() - 0.5) < 0.02
    shows(sheet, "blend by factor", COLOUR, 0.3, within=0.03)


def test_only_surfaces_of_two_sides_are_seen_from_behind(sheet: Sheet) -> None:
    """A negative scale turns the winding around: the front stays the front."""
    for name in ("back", "back of nothing", "back of unlit", "back of mirrored"):
        assert sheet.swatches.colour(sheet.white, name, half=0.95)[3] == 0.0, name
    shows(sheet, "back of two sides", COLOUR)
    shows(sheet, "mirrored", COLOUR)


def test_normal_maps_tilt_towards_x_and_y(sheet: Sheet) -> None:
    """Suns of 2 W/m^2, 45 degrees from the swatch's own normal: 2 / pi times the cosine to the mapped normal."""
    tilt = {name: np.array(to) / 127.5 - 1.0 for name, to in (("bump x", (218, 128, 218)), ("bump y", (128, 218, 218)))}
    for pixels, toward in ((sheet.left, (-1.0, 0.0, 1.0)), (sheet.above, (0.0, 1.0, 1.0))):
        for name, normal in {"flat": np.array([0.0, 0.0, 1.0]), **tilt}.items():
            cosine = normal / np.linalg.norm(normal) @ np.array(toward) / np.sqrt(2.0)
            seen = sheet.swatches.colour(pixels, name)[:3]
            assert np.abs(seen - 2.0 / np.pi * max(0.0, cosine)).max() < 0.02, (name, toward)
