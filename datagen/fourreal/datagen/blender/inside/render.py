"""Builds the scene in Blender and renders it: all views of one time in one call."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import numpy.typing as npt
from mathutils import Matrix, Vector

from fourreal.datagen.blender.inside.capture import MemoryCapture, render_through_exr
from fourreal.datagen.blender.inside.crop import crop_to_asset
from fourreal.datagen.blender.inside.devices import use_device
from fourreal.datagen.blender.inside.ground import add_ground
from fourreal.datagen.blender.inside.measure import go_to
from fourreal.datagen.blender.inside.surface import SurfacePasses
from fourreal.datagen.blender.scene import Camera, Lights, Scene

_SENSOR_WIDTH_MM = 36.0
_OPENCV_TO_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])  # Blender's cameras look along -z with y up
_NO_HIT_DEPTH = 0.5e10  # Cycles writes 1e10 where a ray hits nothing
_HALF_FLOAT_MAX = 65504.0


def render_scene(
    scene: Scene,
    pixel_path: str,
    colour: npt.NDArray[np.float16],
    depth: npt.NDArray[np.float32],
    surface: Mapping[str, npt.NDArray[np.float32]],
) -> str:
    """Render the actors, which are open and in their places (see RenderedPixels).

    Fills `colour` `[V, T, H, W, 4]` and `depth` `[V, T, H, W]`.

    `surface` are the passes asked for, `[V, T, H, W, channels]` by name (see blender/surface.py). Colour and these
    must hold zeros: the empty part of a frame is not rendered.

    `pixel_path` is "memory", which leans on internals of Cycles, or "exr", through files. Returns the one that was
    used: memory falls back to exr when a Blender gives no pixels that way.
    """
    views = [_add_camera(v, camera, scene) for v, camera in enumerate(scene.cameras)]
    _add_lights(scene.lights)
    _configure(scene)
    depth.fill(np.inf)
    surface_passes = SurfacePasses(surface, scene.times_s) if surface else None
    if scene.ground is not None:
        add_ground(scene.ground)  # after the passes, which are the asset's alone
    with tempfile.TemporaryDirectory() as folder, MemoryCapture() as capture:
        for t, time_s in enumerate(scene.times_s):
            bpy.context.scene.cycles.seed = (scene.seed + t) % 2**31
            bpy.context.scene.update_tag()  # or persistent data goes on with the seed of the first time
            if surface_passes is not None:
                surface_passes.prepare(t)
            go_to(time_s)
            lines, columns = crop_to_asset(scene)
            passes = capture.render(views) if pixel_path == "memory" else None
            if passes is None:
                pixel_path = "exr"
                passes = render_through_exr(views, Path(folder))
            for v, view in enumerate(views):
                colour[v, t, lines, columns] = np.clip(passes[view].colour, 0.0, _HALF_FLOAT_MAX)
                for name, plane in surface.items():
                    seen = plane[v, t, lines, columns]
                    seen[:] = passes[view].aovs[name].reshape(seen.shape)
                depth[v, t, lines, columns] = np.where(passes[view].depth < _NO_HIT_DEPTH, passes[view].depth, np.inf)
    return pixel_path


def _add_camera(v: int, camera: Camera, scene: Scene) -> str:
    """Add view v; returns its name. Blender finds a view's camera by its suffix."""
    name, suffix = f"view{v:04d}", f"-view{v:04d}"
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics_matrix()
    assert abs(fx - fy) < 1e-6 * fx, "Blender's cameras here have square pixels"
    data = bpy.data.cameras.new(name)
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = _SENSOR_WIDTH_MM
    data.lens = fx * _SENSOR_WIDTH_MM / scene.width
    data.shift_x = (0.5 * scene.width - cx) / scene.width
    data.shift_y = (cy - 0.5 * scene.height) / scene.width
    data.clip_start, data.clip_end = 0.01, 1000.0
    placed = bpy.data.objects.new("fourreal-camera" + suffix, data)
    placed.matrix_world = Matrix(np.linalg.inv(camera.world_to_camera_matrix()) @ _OPENCV_TO_BLENDER)
    bpy.context.scene.collection.objects.link(placed)
    view = bpy.context.scene.render.views.new(name)
    view.camera_suffix = suffix
    if v == 0:
        bpy.context.scene.camera = placed
    return name


def _add_lights(lights: Lights) -> None:
    for light in [o for o in bpy.context.scene.objects if o.type == "LIGHT"]:
        light.hide_render = True  # the file's own lights: any number, any strength
    if lights.sun is not None:
        sun = bpy.data.lights.new("fourreal-sun", "SUN")
        sun.energy, sun.angle = lights.sun.strength, lights.sun.angle
        _shine(sun, lights.sun.toward)
    for area in lights.areas:
        lamp = bpy.data.lights.new("fourreal-area", "AREA")
        lamp.energy, lamp.size = area.power, area.size
        _shine(lamp, area.position)
    world = bpy.data.worlds.new("fourreal-sky")
    world.use_nodes = True
    nodes, link = world.node_tree.nodes, world.node_tree.links.new
    direction, axes, ramp = (nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "SeparateXYZ", "MapRange"))
    sky = nodes.new("ShaderNodeValToRGB")
    for element, colour in zip(sky.color_ramp.elements, (lights.sky_down, lights.sky_up), strict=True):
        element.color = (*colour, 1.0)
    ramp.inputs["From Min"].default_value = -1.0
    link(direction.outputs["Generated"], axes.inputs["Vector"])
    link(axes.outputs["Z"], ramp.inputs["Value"])
    link(ramp.outputs["Result"], sky.inputs["Fac"])
    link(sky.outputs["Color"], nodes["Background"].inputs["Color"])
    # Paths that leave the asset find a sky so smooth by themselves; looked for as a light, it takes samples from the
    # others, and speckles appear.
    world.cycles.sampling_method = "NONE"
    bpy.context.scene.world = world


def _shine(data: Any, position: tuple[float, float, float]) -> None:
    """Put a light at `position`, turned towards the origin; of a sun only the direction counts."""
    light = bpy.data.objects.new(data.name, data)
    light.location = position
    light.rotation_euler = Vector(position).to_track_quat("Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(light)


def _configure(scene: Scene) -> None:
    render: Any = bpy.context.scene.render
    render.engine = "CYCLES"
    render.threads_mode, render.threads = "FIXED", 1  # one process per core beats one process with more threads
    render.use_persistent_data = True
    render.film_transparent = True
    render.resolution_x, render.resolution_y, render.resolution_percentage = scene.width, scene.height, 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    render.use_compositing = render.use_sequencer = False
    render.use_multiview, render.views_format = True, "MULTIVIEW"
    for stereo in ("left", "right"):
        render.views.remove(render.views[stereo])
    bpy.context.scene.view_layers[0].use_pass_z = True

    cycles: Any = bpy.context.scene.cycles
    use_device(scene.device)
    cycles.samples = scene.samples
    cycles.use_adaptive_sampling = cycles.use_denoising = cycles.use_auto_tile = False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 4, 2, 2
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 5.0  # a few samples a pixel: one bright path would stay a white dot
