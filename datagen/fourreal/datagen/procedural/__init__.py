"""Animated 3D models made from a seed: plain data in numpy, written as .glb files by the Blender child."""

from fourreal.datagen.procedural.families import FAMILIES, make_model
from fourreal.datagen.procedural.model import Model

__all__ = ["FAMILIES", "Model", "make_model"]
