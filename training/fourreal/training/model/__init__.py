"""The view-time model: needs only torch, einops, numpy and safetensors; diffusers for some of the backbones."""

from fourreal.training.model.architectures import Architecture
from fourreal.training.model.backbones import backbone_class, make_backbone
from fourreal.training.model.backbones.base import FIXED_VIEW, FREEZE_TIME, Backbone, BackboneConfig, Text
from fourreal.training.model.backbones.pixel import PixelBackbone
from fourreal.training.model.backbones.pixel_config import PixelConfig
from fourreal.training.model.grid_model import GridModel
from fourreal.training.model.lora import LoraShape, merge_lora
from fourreal.training.model.pipeline import Generated, Pipeline, load
from fourreal.training.model.policies import TrainPolicy, check_policy
from fourreal.training.model.pretrained import load_model, read_description, save_pretrained
from fourreal.training.model.sampling import Guidance, Sampling, border_given, generate_grids
from fourreal.training.model.upsampler import Upsampler, UpsamplerConfig, upsampler_loss
from fourreal.training.model.videos import Conditions, conditions_of
from fourreal.training.model.windows import Windows

__all__ = [
    "FIXED_VIEW",
    "FREEZE_TIME",
    "Architecture",
    "Backbone",
    "BackboneConfig",
    "Conditions",
    "Generated",
    "GridModel",
    "Guidance",
    "LoraShape",
    "Pipeline",
    "PixelBackbone",
    "PixelConfig",
    "Sampling",
    "Text",
    "TrainPolicy",
    "Upsampler",
    "UpsamplerConfig",
    "Windows",
    "backbone_class",
    "border_given",
    "check_policy",
    "conditions_of",
    "generate_grids",
    "load",
    "load_model",
    "make_backbone",
    "merge_lora",
    "read_description",
    "save_pretrained",
    "upsampler_loss",
]
