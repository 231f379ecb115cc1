"""One asset as the public Objaverse-XL rendering script treats it, in a process of its own.

    python tests/benchmarks/render_baseline.py ASSET FOLDER --frames 2 --samples 128 [--size 512] [--reference]

Written anew after that script's settings: Cycles, 128 samples, 1 diffuse and 1 glossy bounce, 3 transparent ones, a
pixel filter of 0.01; what it leaves to Blender: adaptive sampling at 0.01, OpenImageDenoise of high quality, the view
transform; lens 35 on 32 mm, the asset in a unit cube, four suns, random cameras 1.5 to 2.2 away, a PNG for each frame.
Ours: one thread (fewer CPU-seconds than several), and the middle of the longest clip instead of the rest pose.
Writes 000.png... and frames.json (CPU-seconds of each frame). `--reference` renders without denoiser and adaptive
sampling, only where the asset is.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import bpy
import cv2
import numpy as np
from mathutils import Vector

SUNS = (((0.785398, 0.0, -0.785398), 4.0), ((0.785398, 0.0, 2.35619), 3.0), ((-0.785398, 0.0, -3.92699), 4.0))
BOTTOM_SUN = ((3.14159, 0.0, 0.0), 2.0)


def main() -> None:
    """Import, normalise, light, render frame by frame."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("asset")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--reference", action="store_true")
    arguments = parser.parse_args()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=arguments.asset, merge_vertices=True, disable_bone_shape=True)
    start, end = max((action.frame_range for action in bpy.data.actions), key=lambda r: r[1] - r[0])
    bpy.context.scene.frame_set(round((start + end) / 2))
    _normalise()
    for rotation, energy in (*SUNS, BOTTOM_SUN):
        sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
        sun.rotation_euler, sun.data.energy = rotation, energy
        bpy.context.scene.collection.objects.link(sun)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.lens, camera.data.sensor_width = 35, 32
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    _configure(arguments.samples, arguments.size, arguments.reference)
    rng = np.random.default_rng(0)
    frames_s = []
    for number in range(arguments.frames):
        direction = rng.normal(size=3)
        camera.location = Vector(direction / np.linalg.norm(direction) * rng.uniform(1.5, 2.2))
        camera.rotation_euler = (-camera.location).to_track_quat("-Z", "Y").to_euler()
        path = arguments.folder / f"{number:03d}.png"
        if arguments.reference:
            _only_the_asset(path)
        before = time.process_time()
        _render(path)
        frames_s.append(time.process_time() - before)
    (arguments.folder / "frames.json").write_text(json.dumps(frames_s))


def _normalise() -> None:
    meshes = [o for o in bpy.context.scene.objects if o.type == "MESH"]
    depsgraph = bpy.context.evaluated_depsgraph_get()
    corners = np.array(
        [o.matrix_world @ Vector(c) for o in (m.evaluated_get(depsgraph) for m in meshes) for c in o.bound_box]
    )
    low, high = corners.min(axis=0), corners.max(axis=0)
    parent = bpy.data.objects.new("parent", None)
    roots = [o for o in bpy.context.scene.objects if o.parent is None]
    bpy.context.scene.collection.objects.link(parent)
    for root in roots:
        root.parent = parent
    scale = 1.0 / float((high - low).max())
    parent.scale = (scale,) * 3
    parent.location = Vector(-scale * (low + high) / 2)


def _configure(samples: int, size: int, reference: bool) -> None:
    render: Any = bpy.context.scene.render
    render.engine = "CYCLES"
    render.threads_mode, render.threads = "FIXED", 1
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    render.resolution_x = render.resolution_y = size
    render.film_transparent = True
    cycles: Any = bpy.context.scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, int(reference)
    cycles.diffuse_bounces = cycles.glossy_bounces = 1
    cycles.transparent_max_bounces = cycles.transmission_bounces = 3
    cycles.filter_width = 0.01
    cycles.use_adaptive_sampling = cycles.use_denoising = not reference
    cycles.adaptive_threshold = 0.01
    cycles.denoiser, cycles.denoising_quality = "OPENIMAGEDENOISE", "HIGH"
    cycles.denoising_prefilter = "ACCURATE"


def _only_the_asset(path: Path) -> None:
    """Find by a quick render where it is, and let the next one leave out the rest of the frame."""
    render, cycles = bpy.context.scene.render, bpy.context.scene.cycles
    render.use_border, samples, cycles.samples = False, cycles.samples, 4
    _render(path)
    cycles.samples = samples
    y, x = np.nonzero(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., 3])
    size = render.resolution_x
    render.use_border = True
    render.border_min_x, render.border_max_x = (x.min() - 3.5) / size, (x.max() + 4.5) / size
    render.border_min_y, render.border_max_y = 1.0 - (y.max() + 4.5) / size, 1.0 - (y.min() - 3.5) / size


def _render(path: Path) -> None:
    bpy.context.scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main()
