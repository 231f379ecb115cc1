"""The view-time model: needs only torch, einops, numpy and safetensors."""

from fourreal.training.model.backbone import FIXED_VIEW, FREEZE_TIME, Backbone
from fourreal.training.model.config import Architecture, ModelConfig
from fourreal.training.model.grid_model import GridModel, TrainPolicy
from fourreal.training.model.pretrained import load, read_description, save_pretrained
from fourreal.training.model.sampling import border_given, generate_grids, sample_euler

__all__ = [
    "FIXED_VIEW",
    "FREEZE_TIME",
    "Architecture",
    "Backbone",
    "GridModel",
    "ModelConfig",
    "TrainPolicy",
    "border_given",
    "generate_grids",
    "load",
    "read_description",
    "sample_euler",
    "save_pretrained",
]
