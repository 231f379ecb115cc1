"""CLIP (Radford et al. 2021) from a folder in the format of the Hugging Face hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fourreal.evaluation.networks.frames import Frames, middle_of_frames

_BATCH = 16

Features = npt.NDArray[np.float32]


class CLIP:
    """Frames and texts as directions in one space.

    The image processor of transformers may ask for torchvision, so that what `preprocessor_config.json` says is done
    here: resize the shorter side, cut the middle out, normalise.
    """

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import AutoTokenizer, CLIPModel

        self.model: Any = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self.model.to(device).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.device = device
        config = json.loads((folder / "preprocessor_config.json").read_text())
        size, crop = config["size"], config["crop_size"]
        self._resize_px = int(size if isinstance(size, int) else size["shortest_edge"])
        self._crop_px = (crop, crop) if isinstance(crop, int) else (int(crop["height"]), int(crop["width"]))
        self._mean = torch.tensor(config["image_mean"])[:, None, None]
        self._std = torch.tensor(config["image_std"])[:, None, None]

    @torch.no_grad()
    def frames(self, frames: Frames) -> Features:
        """uint8 `[N, H, W, 3]` to directions `[N, D]` of length 1."""
        features = []
        for start in range(0, len(frames), _BATCH):
            middle = middle_of_frames(frames[start : start + _BATCH], self._resize_px, self._crop_px)
            images = (torch.from_numpy(middle).permute(0, 3, 1, 2).float() / 255 - self._mean) / self._std
            pooled = self.model.vision_model(pixel_values=images.to(self.device)).pooler_output
            features.append(self.model.visual_projection(pooled).float().cpu())
        return _directions(torch.cat(features))

    @torch.no_grad()
    def text(self, text: str) -> Features:
        """The text's direction `[D]`; what is longer than the model's context is cut off."""
        context = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer([text], truncation=True, max_length=context, return_tensors="pt").to(self.device)
        pooled = self.model.text_model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        ).pooler_output
        return _directions(self.model.text_projection(pooled).float().cpu()[0])


def _directions(features: torch.Tensor) -> Features:
    return np.asarray((features / features.norm(dim=-1, keepdim=True)).numpy())
