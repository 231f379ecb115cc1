"""VideoScore (He et al. 2024): five human ratings of a video, by regression over Idefics2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from transformers import AutoTokenizer, Idefics2Config, Idefics2Model, Idefics2PreTrainedModel, Idefics2Processor
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

from fourreal.evaluation.networks.frames import Frames

MOST_FRAMES = 16
"""The published model was trained on; longer videos are thinned evenly."""

_OUTPUTS = 5

# What the model was trained to answer, word for word (a trailing space included): other words give other scores.
# From TIGER-AI-Lab/VideoScore, Copyright (c) 2024 TIGER Lab, MIT licence.
PROMPT = """
Suppose you are an expert in judging and evaluating the quality of AI-generated videos,
please watch the following frames of a given video and see the text prompt for generating the video,
then give scores from 5 different dimensions:
(1) visual quality: the quality of the video in terms of clearness, resolution, brightness, and color
(2) temporal consistency, both the consistency of objects or humans and the smoothness of motion or movements
(3) dynamic degree, the degree of dynamic changes
(4) text-to-video alignment, the alignment between the text prompt and the video content
(5) factual consistency, the consistency of the video content with the common-sense and factual knowledge

for each dimension, output a float number from 1.0 to 4.0,
the higher the number is, the better the video performs in that sub-score,\x20
the lowest 1.0 means Bad, the highest 4.0 means Perfect/Real (the video is like a real video)
Here is an output example:
visual quality: 3.2
temporal consistency: 2.7
dynamic degree: 4.0
text-to-video alignment: 2.3
factual consistency: 1.8

For this video, the text prompt is "{prompt}",
all the frames of video are as follows:
"""


class Regressor(Idefics2PreTrainedModel):  # type: ignore[misc]
    """Idefics2 with a linear head on its last token, under the published names `model.*` and `score.*`."""

    def __init__(self, config: Idefics2Config) -> None:
        super().__init__(config)
        self.model = Idefics2Model(config)
        self.score = nn.Linear(config.text_config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, **inputs: Any) -> torch.Tensor:
        """One text of L tokens with its images, as the processor gives them, to `[1, num_labels]`."""
        return torch.as_tensor(self.score(self.model(**inputs, use_cache=False).last_hidden_state[:, -1]))


class VideoScore:
    """Visual quality, temporal consistency, dynamic degree, text alignment, factual consistency; about 1 to 4."""

    def __init__(self, folder: Path, device: str) -> None:
        dtype = torch.bfloat16 if device == "cuda" else torch.float32  # bfloat16 as published; CPUs crawl in it
        self.model: Any
        self.model, report = Regressor.from_pretrained(
            folder, local_files_only=True, dtype=dtype, output_loading_info=True, use_safetensors=True
        )
        if lacking := sorted(report["missing_keys"]):
            raise ValueError(f"the files hold no {lacking[0]}")  # transformers would draw it at random
        if self.model.config.num_labels != _OUTPUTS:
            raise ValueError(f"it has {self.model.config.num_labels} outputs, VideoScore has {_OUTPUTS}")
        self.model.to(device).eval()
        self.processor: Any = Idefics2Processor(
            Idefics2ImageProcessorPil.from_pretrained(folder, local_files_only=True),
            AutoTokenizer.from_pretrained(folder, local_files_only=True),
            image_seq_len=self.model.config.perceiver_config.resampler_n_latents,
        )
        self.device = device

    @torch.no_grad()
    def __call__(self, video: Frames, prompt: str) -> npt.NDArray[np.float32]:
        """uint8 `[T, H, W, 3]` and what it should show to the five scores, float32 `[5]`."""
        frames = [Image.fromarray(frame) for frame in thinned(video)]
        text = PROMPT.format(prompt=prompt) + "<image> " * len(frames)
        inputs = self.processor(text=text, images=frames, return_tensors="pt").to(self.device)
        return np.asarray(self.model(**inputs)[0].float().cpu().numpy())


def thinned(video: Frames) -> Frames:
    """At most `MOST_FRAMES` frames at even steps, as the published call takes them."""
    if len(video) <= MOST_FRAMES:
        return video
    return np.asarray(video[np.arange(0, len(video), len(video) / MOST_FRAMES).astype(int)])
