"""The options of `fourreal render`."""

from __future__ import annotations

from dataclasses import dataclass, field

from fourreal.datagen.assets import ALL, LONGEST
from fourreal.datagen.assets.source import MOST_OBJECTS
from fourreal.datagen.blender.background import BackgroundSettings
from fourreal.datagen.blender.camera_path import CameraSettings
from fourreal.datagen.blender.devices import Wanted
from fourreal.datagen.blender.ground import GroundSettings
from fourreal.datagen.blender.lighting import LightSettings
from fourreal.datagen.blender.surface import Output
from fourreal.datagen.filters import Filters
from fourreal.datagen.grid_job import GridJobConfig
from fourreal.datagen.objaverse.settings import Downloads, Selection
from fourreal.platform.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Config(GridJobConfig):
    """Render animated 3D assets into view-time grids: cameras on an arc, all views at all times."""

    assets: str
    """Folder of .glb and .gltf files (searched to any depth, local or s3://), one such file, procedural:N, objaverse
    or objaverse-xl."""
    samples: int = 8
    """Light paths a pixel, against many: 4 have about 39 dB, 8 have 43, 16 have 47 (CesiumMan, 512x512)."""
    fps: float = 8.0
    """Moments a second; a clip too short for all of them is sampled more densely."""
    stride: int = 1
    """Take every n-th of these moments."""
    clips: tuple[str, ...] = (LONGEST,)
    """Which animations of an asset become grids: `longest`, `all` (each a grid of its own; where the number of clips
    is not known when the work is planned, as in most of Objaverse-XL, the longest), or names."""
    start_s: float = 0.0
    """Leave out so many seconds at the start of a clip."""
    duration_s: float | None = None
    """Use no more than so many seconds of a clip from there on."""
    grids_per_asset: int = 1
    """Grids of each asset, with cameras, window and background of their own."""
    device: Wanted = "auto"
    """What renders: `gpu` (OptiX, CUDA, HIP, Metal, oneAPI; a worker for each), `cpu` (a worker for each core), or
    `auto`: what the output was begun with, at first a GPU where there is one."""
    objects_per_scene: tuple[int, int] = (1, 1)
    """Assets that share a grid, at least and at most: each item is shown with so many others, drawn by the seed."""
    mask: bool = True
    """Store how much of each pixel the asset covers."""
    depth: bool = False
    """Store the planar depth of each pixel."""
    normals: bool = False
    """Store the normal of the surface in each pixel."""
    flow: bool = False
    """Store where the surface in each pixel moves until the next time, in pixels."""
    camera: CameraSettings = field(default_factory=CameraSettings)
    """Where the views are."""
    light: LightSettings = field(default_factory=LightSettings)
    """What lights the asset."""
    background: BackgroundSettings = field(default_factory=BackgroundSettings)
    """What is behind it."""
    ground: GroundSettings = field(default_factory=GroundSettings)
    """What it stands on."""
    filters: Filters = field(default_factory=Filters)
    """What is refused."""
    assets_cache: str | None = None
    """Folder for models made by procedural:N; by default `assets` inside --out."""
    timeout_s: float = 300.0
    """Time for one request to Blender (import, measure, render) before it is killed."""
    memory_gib: float = 6.0
    """Memory of one Blender before it is killed."""
    objaverse: Selection = field(default_factory=Selection)
    """What to take out of Objaverse."""
    download: Downloads = field(default_factory=Downloads)
    """How to download it."""

    AT_LEAST_ONE = (*GridJobConfig.AT_LEAST_ONE, "samples", "grids_per_asset", "stride")
    NOT_DECIDING_BYTES = GridJobConfig.NOT_DECIDING_BYTES | {
        "assets_cache",
        "device",  # what it comes to is in the plan
        "timeout_s",
        "memory_gib",
        "objaverse",  # decides items; so where there is any, the source gives it
        "download",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("fps", "timeout_s", "memory_gib"):
            if not getattr(self, name) > 0.0:
                raise UserError(f"--{name.replace('_', '-')} must be positive, not {getattr(self, name)}")
        if not self.start_s >= 0.0:
            raise UserError(f"--start-s must be 0 or more, not {self.start_s}")
        if self.duration_s is not None and not self.duration_s > 0.0:
            raise UserError(f"--duration-s must be positive, not {self.duration_s}")
        if not self.clips or (len(self.clips) > 1 and {LONGEST, ALL} & set(self.clips)):
            raise UserError(f"--clips takes {LONGEST}, {ALL}, or names, not {' '.join(self.clips) or 'nothing'}")

        least, most = self.objects_per_scene
        if not 1 <= least <= most <= MOST_OBJECTS:
            raise UserError(
                f"--objects-per-scene takes LEAST MOST, 1 <= LEAST <= MOST <= {MOST_OBJECTS}, not {least} {most}"
            )

    @property
    def several_objects(self) -> bool:
        """Whether a scene may show more than one asset."""
        return self.objects_per_scene[1] > 1

    @property
    def ground_kind(self) -> str:
        """`none`, `any`, `plain` or `textured`."""
        if self.ground.kind == "auto":
            return "any" if self.several_objects else "none"
        return self.ground.kind

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What Blender makes beside colour and depth."""
        wanted: dict[Output, bool] = {"normals": self.normals, "flow": self.flow}
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)

    @property
    def step_s(self) -> float:
        """Seconds from one time of a grid to the next, where the clip is long enough."""
        return self.stride / self.fps
