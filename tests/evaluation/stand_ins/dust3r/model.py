from __future__ import annotations

import huggingface_hub
import torch
from torch import nn


class AsymmetricCroCo3DStereo(nn.Module, huggingface_hub.PyTorchModelHubMixin):
    """Confidence: 1 + the patch's mean squared difference between the two views, weighted by the one parameter."""

    def __init__(self, patch_size: int = 16) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.weight = nn.Parameter(torch.tensor(3.0))

    def forward(self, view1: dict, view2: dict) -> tuple[dict, dict]:
        one, other = view1["img"], view2["img"]
        for view in (view1, view2):
            assert view["img"].shape[-1] % self.patch_size == 0
            assert view["img"].shape[-2] % self.patch_size == 0
            assert view["true_shape"].tolist() == [list(view["img"].shape[-2:])]
            assert float(view["img"].abs().max()) <= 1
        points = torch.zeros(*one.shape[:1], *one.shape[2:], 3)
        confidence = 1 + self.weight * (one - other).square().mean(dim=1)
        return {"pts3d": points, "conf": confidence}, {"pts3d_in_other_view": points, "conf": confidence.flip(-1)}
