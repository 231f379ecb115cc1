"""DUSt3R (Wang et al. 2024) through its authors' package, where that is installed: its licence is non-commercial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from fourreal.evaluation.networks.frames import Frames

LONGER_SIDE_PX = 512
_PATCH_PX = 16


class DUSt3R:
    """Two frames to point maps with a confidence (above 1) for every pixel.

    Reads the published `config.json` and `model.safetensors`; the older `.pth` holds pickled Python and is not read.
    """

    def __init__(self, folder: Path, device: str) -> None:
        from dust3r.inference import inference
        from dust3r.model import AsymmetricCroCo3DStereo

        self._inference: Any = inference
        self.model: Any = AsymmetricCroCo3DStereo.from_pretrained(str(folder)).to(device).eval()
        self.device = device

    def confident(self, one: Frames, other: Frames, thresholds: tuple[float, ...]) -> npt.NDArray[np.float32]:
        """uint8 `[H, W, 3]` twice to the share of both maps' pixels above each threshold, float32."""
        pair = tuple(_view(prepared(frame), n) for n, frame in enumerate((one, other)))
        result = self._inference([pair], self.model, self.device, batch_size=1, verbose=False)
        confidence = torch.cat([result["pred1"]["conf"].flatten(), result["pred2"]["conf"].flatten()]).float().cpu()
        return np.array([(confidence > threshold).float().mean().item() for threshold in thresholds], np.float32)


def prepared(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8 `[H, W, 3]` as DUSt3R loads it: longer side 512, the middle cut to whole patches, 4:3 of squares."""
    H, W = frame.shape[:2]
    longer = max(H, W)
    size = (round(W * LONGER_SIDE_PX / longer), round(H * LONGER_SIDE_PX / longer))
    how = Image.Resampling.LANCZOS if longer > LONGER_SIDE_PX else Image.Resampling.BICUBIC
    image = Image.fromarray(frame).resize(size, how)
    centre_x, centre_y = image.width // 2, image.height // 2
    half_w, half_h = (2 * c // _PATCH_PX * _PATCH_PX / 2 for c in (centre_x, centre_y))
    if image.width == image.height:
        half_h = 3 * half_w / 4
    box = (int(centre_x - half_w), int(centre_y - half_h), int(centre_x + half_w), int(centre_y + half_h))
    return np.asarray(image.crop(box))


def _view(frame: npt.NDArray[np.uint8], number: int) -> dict[str, Any]:
    """A frame in the dictionary that the package's `load_images` gives."""
    image = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return {"img": image, "true_shape": np.array([frame.shape[:2]], np.int32), "idx": number, "instance": str(number)}
