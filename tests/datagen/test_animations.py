"""Which animations become grids, and which moments of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.datagen.glb import Glb, moving_cube

from fourreal.datagen.assets import list_assets, open_assets
from fourreal.datagen.blender.scene import Clip
from fourreal.datagen.blender.timing import frames_per_second, part_of, sample_times
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.gltf_clips import clips_of
from fourreal.datagen.render import Renderer
from fourreal.datagen.render_config import Config
from fourreal.platform.datajob import Item, ItemFailure
from fourreal.platform.errors import UserError

SMALL = {"views": 2, "times": 3, "height": 32, "width": 32, "samples": 1, "fps": 4.0}
ALONG = {"Survey": (0, 0, 2), "Walk": (0, 2, 0), "Run": (2, 0, 0)}
LASTS_S = {"Survey": 3.0, "Walk": 1.0, "Run": 2.0}


def fox(path: Path) -> Path:
    """Three alternatives for one node."""
    glb = Glb()
    node = glb.node()
    for name, far in ALONG.items():
        glb.animate(name, node, [0.0, LASTS_S[name]], [[0, 0, 0], far])
    return glb.write(path)


def truck(path: Path) -> Path:
    """One animation of two nodes, as of the wheels of a truck."""
    glb = Glb()
    glb.animate("Wheels", glb.node(), [0.0, 1.0], [[0, 0, 0], [-4, 0, 0]])
    glb.animate("", glb.node(), [0.0, 1.0], [[0, 0, 0], [8, 0, 0]])
    both, second = glb.document["animations"]
    glb.document["animations"] = [both]
    both["samplers"] += second["samplers"]
    both["channels"] += [{**second["channels"][0], "sampler": 1}]
    return glb.write(path)


def odd_names(path: Path) -> Path:
    """Names that are missing, taken, and longer than Blender allows."""
    glb = Glb()
    node = glb.node()
    for n, name in enumerate([None, "a", "a", "ü" * 60, "ü" * 60]):
        number = glb.animate("", node, [0.0, 1.0 + n], [[0, 0, 0], [1, 0, 0]])
        glb.document["animations"][number]["name"] = name
    del glb.document["animations"][0]["name"]
    return glb.write(path)


def test_alternatives_are_named_longest_first_and_parts_of_one_motion_once(tmp_path: Path) -> None:
    assert clips_of(fox(tmp_path / "fox.glb").read_bytes()) == ("Survey", "Run", "Walk")
    assert clips_of(truck(tmp_path / "truck.glb").read_bytes()) == ("Wheels",)
    glb = Glb()
    left, right = glb.node(), glb.node()
    glb.animate("left", left, [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    glb.animate("right", right, [0.0, 2.0], [[0, 0, 0], [1, 0, 0]])
    assert clips_of(glb.write(tmp_path / "parts.glb").read_bytes()) == ("right",)
    glb.animate("left again", left, [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    assert clips_of(glb.write(tmp_path / "parts.glb").read_bytes()) == ("right", "left again")


def test_clips_of_one_skeleton_are_alternatives_whichever_bones_they_move(tmp_path: Path) -> None:
    glb = Glb()
    bones = [glb.node() for _ in range(4)]
    for n, bone in enumerate(bones):
        glb.animate(f"bone {n}", bone, [0.0, 9.0 - n], [[0, 0, 0], [1, 0, 0]])
    for joints in ([bones[0], bones[1]], [bones[2], bones[3]], [bones[1], bones[2]]):
        assert (clips_of(glb.write(tmp_path / "a.glb").read_bytes()) or [""])[0] == "bone 0"
        glb.add("skins", {"joints": joints})
    assert clips_of(glb.write(tmp_path / "a.glb").read_bytes()) == ("bone 0", "bone 1", "bone 2", "bone 3")
    glb.document["skins"].pop()
    assert clips_of(glb.write(tmp_path / "a.glb").read_bytes()) == ("bone 0", "bone 1", "bone 3")


@pytest.mark.parametrize("data", [b"", b"glTF" + bytes(40), b"{]", b'{"animations": [3]}', b'{"animations": [{}]}'])
def test_a_file_that_cannot_be_read_has_no_list_of_clips(data: bytes) -> None:
    assert clips_of(data) is None


def test_each_clip_is_an_item_of_its_own(tmp_path: Path) -> None:
    fox(tmp_path / "fox.glb")
    source = open_assets(str(tmp_path), 0)
    (longest,) = list_assets(source, 1)
    assert "clip" not in longest.spec
    every = list(list_assets(source, 1, ("all",)))
    assert [item.spec["clip"] for item in every] == ["Survey", "Run", "Walk"]
    assert [item.key for item in every] == [f"{longest.key}-{n:02d}-{i.spec['clip']}" for n, i in enumerate(every)]
    named = list(list_assets(source, 2, ("Walk", "Run", "Swim")))
    assert [item.spec["clip"] for item in named] == ["Run", "Run", "Walk", "Walk"]
    assert named[2].key == f"{every[2].key}-000"
    with pytest.raises(UserError, match="no asset has a clip Swim: there are Run, Survey, Walk"):
        list(list_assets(source, 1, ("Swim",)))


def test_files_that_cannot_be_read_yet_have_one_item_for_the_longest_clip(tmp_path: Path) -> None:
    source = open_assets("procedural:2", 0)
    assert list(list_assets(source, 1, ("all",))) == list(list_assets(source, 1))
    assert [item.spec["clip"] for item in list_assets(source, 1, ("a", "b"))] == ["a", "b"] * 2
    still = Glb()
    still.node()
    still.write(tmp_path / "still.glb")
    (item,) = list_assets(open_assets(str(tmp_path), 0), 1, ("all",))  # it ends in quarantine, not in silence
    assert "clip" not in item.spec


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"clips": ()}, "--clips takes longest, all, or names"),
        ({"clips": ("all", "Walk")}, "--clips takes longest, all, or names"),
        ({"stride": 0}, "--stride must be at least 1"),
        ({"start_s": -1.0}, "--start-s must be 0 or more"),
        ({"duration_s": 0.0}, "--duration-s must be positive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Config(assets="a", out="o", **setting)  # type: ignore[arg-type]


def test_times_come_from_the_part_that_is_asked_for() -> None:
    clip = Clip("c", 0.5, 4.0)
    for seed in range(20):
        times_s = sample_times(part_of(clip, 1.0, 2.0), 5, 0.25, np.random.default_rng(seed))
        assert 1.5 <= times_s[0] <= times_s[-1] <= 3.5
        assert frames_per_second(times_s, 0.25) == pytest.approx(4.0)
    exact = sample_times(part_of(clip, 1.0, 1.0), 5, 0.25, np.random.default_rng(0))
    assert exact == pytest.approx((1.5, 1.75, 2.0, 2.25, 2.5))
    denser = sample_times(part_of(clip, 3.5, None), 5, 0.25, np.random.default_rng(0))
    assert denser == pytest.approx((4.0, 4.125, 4.25, 4.375, 4.5))
    assert frames_per_second(denser, 0.25) == pytest.approx(8.0)
    with pytest.raises(ValueError, match=r"lasts 4\.000 s: it has no part from 4 s on"):
        part_of(clip, 4.0, None)


def test_the_stride_takes_moments_further_apart() -> None:
    assert Config(assets="a", out="o", fps=8.0, stride=4).step_s == 0.5


@pytest.mark.blender
def test_blender_knows_the_clips_by_the_names_that_were_planned(tmp_path: Path) -> None:
    with BlenderWorker() as worker:
        for make in (fox, truck, odd_names, moving_cube):
            path = make(tmp_path / f"{make.__name__}.glb")
            assert clips_of(path.read_bytes()) == tuple(clip.name for clip in worker.load(str(path)).clips)
        path = tmp_path / "truck.glb"
        hull = worker.measure(str(path), "Wheels", (0.0, 0.5)).hull
        assert np.allclose([hull[1, :, 0].min(), hull[1, :, 0].max()], [-3, 5], atol=1e-3)
        for name, far in ALONG.items():
            hull = worker.measure(str(tmp_path / "fox.glb"), name, (0.0, LASTS_S[name])).hull
            moved = np.abs(hull[1] - hull[0]).max(axis=0).round(2)
            assert moved.tolist() == [far[0], far[2], far[1]]  # y is up in glTF


@pytest.mark.blender
def test_every_clip_is_rendered_and_one_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = fox(tmp_path / "fox.glb")
    config = Config(
        assets=str(path),
        out=str(tmp_path),
        clips=("all",),
        start_s=1.5,
        stride=2,
        **SMALL,  # type: ignore[arg-type]
    )
    items = list(list_assets(open_assets(config.assets, 0), 1, config.clips))
    renderer = Renderer(config)
    try:
        survey, run = (renderer.process(item) for item in items[:2])
        with pytest.raises(ItemFailure, match="lasts 1") as caught:
            renderer.process(items[2])
        with pytest.raises(ItemFailure, match="no clip 'Swim'"):
            renderer.process(Item("swim", items[0].source, {**items[0].spec, "clip": "Swim"}))
    finally:
        renderer.close()
    assert (caught.value.stage, caught.value.reason) == ("filter", "too_short")
    assert (survey.meta.provenance["clip"], run.meta.provenance["clip"]) == ("Survey", "Run")
    assert (survey.meta.fps, run.meta.fps) == (pytest.approx(2.0), pytest.approx(4.0))
    assert survey.meta.provenance["start_s"] >= 1.5
