"""Grids explained by one moving 3D scene: deformable Gaussian splats, their fit, their files.

Everything here runs on the CPU with exact gradients; nothing needs CUDA.
"""

from fourreal.evaluation.reconstruction.fit import FitSettings, FittedScene, fit, time_of
from fourreal.evaluation.reconstruction.gaussians import Gaussians
from fourreal.evaluation.reconstruction.observations import Observations
from fourreal.evaluation.reconstruction.projection import Camera
from fourreal.evaluation.reconstruction.rasterizer import rasterize
from fourreal.evaluation.reconstruction.rendering import Rendering

__all__ = [
    "Camera",
    "FitSettings",
    "FittedScene",
    "Gaussians",
    "Observations",
    "Rendering",
    "fit",
    "rasterize",
    "time_of",
]
