"""Convolutions behind a transformer, which mend predicted frames by the given ones.

Shape legend: as in `references.py`; F frame axes (N, or V T); S frames to mend; K = 5 x 5 places around a pixel.

A patch is predicted from tokens of its own: what moves by less than a patch, and where patches meet, is pixels' work.
The papers' models put out latents and have a decoder for it; on pixels nothing does. Most of a frame to be made is in
the given ones already, some pixels away, so the convolutions say for each pixel how much to take of which pixel of
which of them (kernel prediction: Niklaus et al. 2017 between frames of a video, Bako et al. 2017), and add what is in
none. Where the given frames agree nothing can be made worse by that, which sums alone have to learn. All else equal,
both more than doubled what a small model gained over the average of two copies (evaluation/README.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_SIDE = 5
"""Of a kernel, pixels."""


class Refinement(nn.Module):
    """Predicted frames and their references to frames; zero at initialisation, so that a new model is without."""

    def __init__(self, references: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.references = references
        self.layers = nn.Sequential(
            nn.Conv2d((2 + references) * channels, hidden, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            nn.GELU(),
        )
        self.kernels = nn.Conv2d(hidden, _SIDE**2 * references, 1)
        self.remainder = nn.Conv2d(hidden, channels, 3, padding=1)
        for layer in (self.kernels, self.remainder):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, predicted: Tensor, noisy: Tensor, time: Tensor, references: Tensor, given: Tensor) -> Tensor:
        """Clean frames `predicted` [B, F, C, H, W], those mended that are not given.

        noisy: the same shape; time: [B] or [B, F]; references: [B, F, R, C, H, W]; given: [B, F] bool
        """
        signal = (1 - time).reshape(*time.shape, *(1 for _ in given.shape[time.ndim :])).expand(given.shape)
        read = (predicted, noisy, signal, references)
        if given.device.type == "cpu" and not torch.compiler.is_compiling():
            made = ~given  # how many is data, for which a GPU would be waited, and which no compiled graph can have
            mended = self._mend(*(tensor[made] for tensor in read))
            return predicted.to(mended.dtype).index_put((made,), mended)
        mended = self._mend(*(tensor.flatten(0, given.ndim - 1) for tensor in read))
        return torch.where(given[..., None, None, None], predicted, torch.unflatten(mended, 0, given.shape))

    def _mend(self, predicted: Tensor, noisy: Tensor, signal: Tensor, references: Tensor) -> Tensor:
        """Frames [S, C, H, W], their noisy ones and their signal [S], and references [S, R, C, H, W]."""
        read = torch.cat([predicted, signal[:, None, None, None] * noisy, references.flatten(1, 2)], dim=1)
        hidden = self.layers(read.contiguous(memory_format=torch.channels_last))  # half the time on a CPU
        shares = self.kernels(hidden).contiguous().unflatten(1, (_SIDE**2, self.references, 1))  # [S, K, R, 1, H, W]
        rest = predicted * (1 - shares.sum(dim=(1, 2)))
        mended: Tensor = rest + _mix(references, shares) + self.remainder(hidden)
        return mended


def _mix(references: Tensor, shares: Tensor) -> Tensor:
    """The sum over references [S, R, C, H, W] and places around each pixel, by shares [S, K, R, 1, H, W].

    One place at a time: at once, all would take K times the memory of the references.
    """
    height, width = references.shape[-2:]
    padded = functional.pad(references.flatten(1, 2), [_SIDE // 2] * 4, mode="replicate")
    padded = torch.unflatten(padded, 1, references.shape[1:3])
    mixed = torch.zeros_like(references[:, 0])
    for place, share in enumerate(shares.unbind(dim=1)):
        top, left = divmod(place, _SIDE)
        mixed = mixed + (share * padded[..., top : top + height, left : left + width]).sum(dim=1)
    return mixed
