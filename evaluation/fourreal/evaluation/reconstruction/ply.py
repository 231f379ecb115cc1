"""Gaussians as the `.ply` files of 3DGS, which every splat viewer reads."""

from __future__ import annotations

import numpy as np
import torch

from fourreal.evaluation.reconstruction.gaussians import Gaussians
from fourreal.platform.errors import UserError

_SH0 = 0.28209479177387814
"""Y_0^0: a colour is 0.5 + _SH0 * f_dc (3DGS)."""
_COLUMNS = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *(f"f_dc_{i}" for i in range(3)),
    "opacity",
    *(f"scale_{i}" for i in range(3)),
    *(f"rot_{i}" for i in range(4)),
)


def write_ply(gaussians: Gaussians) -> bytes:
    """Binary little-endian; opacities and scales as logits and logarithms, as 3DGS stores them."""
    g = gaussians
    columns = [g.means, torch.zeros_like(g.means), (g.colours - 0.5) / _SH0, g.opacity_logits[:, None], g.log_scales]
    table = torch.cat([*columns, torch.nn.functional.normalize(g.quaternions, dim=1)], dim=1).detach().cpu()
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(g)}"]
    header += [*(f"property float {name}" for name in _COLUMNS), "end_header", ""]
    return "\n".join(header).encode() + table.numpy().astype("<f4").tobytes()


def read_ply(data: bytes) -> Gaussians:
    """The inverse of `write_ply`; other properties (higher harmonics) are passed over. UserError for other files."""
    head, mark, body = data.partition(b"end_header\n")
    lines = head.decode("ascii", "replace").splitlines()
    names = [line.split()[-1] for line in lines if line.startswith("property float ")]
    counts = [int(line.split()[-1]) for line in lines if line.startswith("element vertex ")]
    if not mark or "format binary_little_endian 1.0" not in lines or not counts or not set(_COLUMNS) <= set(names):
        raise UserError("this is no binary .ply of Gaussian splats with float properties")
    if len(body) < 4 * counts[0] * len(names):
        raise UserError(f"this .ply is cut off: it names {counts[0]} Gaussians and holds fewer")
    table = np.frombuffer(body, "<f4", counts[0] * len(names)).reshape(counts[0], len(names))
    by_name = {name: torch.tensor(table[:, i]) for i, name in enumerate(names)}

    def columns(*wanted: str) -> torch.Tensor:
        return torch.stack([by_name[name] for name in wanted], dim=1)

    return Gaussians(
        means=columns("x", "y", "z"),
        log_scales=columns("scale_0", "scale_1", "scale_2"),
        quaternions=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        opacity_logits=by_name["opacity"],
        colours=0.5 + _SH0 * columns("f_dc_0", "f_dc_1", "f_dc_2"),
    )
