"""A fitted scene in one file: canonical Gaussians, deformation and environment as safetensors."""

from __future__ import annotations

import json

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from fourreal.evaluation.reconstruction.deformation import Deformation
from fourreal.evaluation.reconstruction.environment import Environment
from fourreal.evaluation.reconstruction.fit import FittedScene
from fourreal.evaluation.reconstruction.gaussians import Gaussians
from fourreal.platform.errors import UserError

SCHEMA_VERSION = 1
_HEADER = "fourreal.scene"


def dump_scene(scene: FittedScene, times: int) -> bytes:
    """The scene, and the length of the grid's time axis that its times 0 to 1 stand for."""
    tensors = {f"gaussians.{name}": tensor for name, tensor in scene.gaussians.tensors().items()}
    tensors |= {f"deformation.{name}": tensor for name, tensor in scene.deformation.state_dict().items()}
    tensors |= {f"environment.{name}": tensor for name, tensor in scene.environment.state_dict().items()}
    header = {"schema_version": SCHEMA_VERSION, "times": times, "extent": scene.deformation.extent}
    return bytes(save({k: v.detach().contiguous() for k, v in tensors.items()}, {_HEADER: json.dumps(header)}))


def load_scene(data: bytes) -> tuple[FittedScene, int]:
    """The inverse of `dump_scene`. UserError when the data are something else or of a newer schema."""
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_HEADER])
        tensors = load(data)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"this is no scene of `fourreal reconstruct` ({type(error).__name__})") from None
    if header["schema_version"] != SCHEMA_VERSION:
        version = header["schema_version"]
        raise UserError(f"this scene has schema version {version}, this fourreal reads {SCHEMA_VERSION}: use its own")

    def part(name: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}

    deformation = Deformation(part("deformation")["centre"], header["extent"], header["times"])
    deformation.load_state_dict(part("deformation"))
    picture = part("environment")["picture"]
    environment = Environment(*picture.shape[-2:])
    environment.load_state_dict({"picture": picture})
    return FittedScene(Gaussians(**part("gaussians")), deformation.eval(), environment.eval()), header["times"]
