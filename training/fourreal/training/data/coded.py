"""What a cache of training holds of a grid instead of its frames: latents and the embedded caption, as safetensors.

Shape legend: V views, t latent times, C h w numbers of a latent frame, W words of a caption, E width of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fourreal.platform.codec import CODED, EncodedGrid
from fourreal.platform.errors import UserError


@dataclass(frozen=True)
class CodedGrid:
    """latents: [V, t, C, h, w], of all frames; text: [W, E] up to the caption's end, None where no encoder read it."""

    latents: Tensor
    text: Tensor | None

    def to_bytes(self) -> bytes:
        """The member of a shard."""
        tensors = {"latents": self.latents.contiguous()}
        if self.text is not None:
            tensors["text"] = self.text.contiguous()
        data: bytes = save(tensors)
        return data

    @classmethod
    def of(cls, grid: EncodedGrid) -> CodedGrid:
        """The inverse, from a shard's grid. Raises UserError where the bytes are damaged."""
        try:
            tensors = load(grid.members[CODED])
            return cls(tensors["latents"], tensors.get("text"))
        except (SafetensorError, KeyError) as error:
            raise UserError(f"{grid.where}: {CODED} is damaged ({error}): make its shard again") from None
