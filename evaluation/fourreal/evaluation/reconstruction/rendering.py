"""What a rasterizer gives back, whichever it was."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rendering:
    """An image: `colour` [H, W, 3], `alpha` [H, W], `depth` [H, W] (mean z of what covers the pixel, weighted by how
    much it does; 0 where nothing does). Of the Gaussians that made it: `means` [..., N, 2] in pixels, whose gradient
    tells how hard each is pulled, and `drawn` [N] bool, which of them reach the image."""

    colour: Tensor
    alpha: Tensor
    depth: Tensor
    means: Tensor
    drawn: Tensor
