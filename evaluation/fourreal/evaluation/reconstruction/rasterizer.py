"""Rasterizes 3D Gaussians on the CPU, tile by tile, with exact gradients (Kerbl et al. 2023, section 6).

    rendering = rasterize(gaussians, camera)      # differentiable in every tensor of `gaussians`

On a CUDA device gsplat does the same work (`gsplat_rasterizer.py`).

The formulas and cut-offs are those of 3DGS and gsplat: alpha = min(0.999, opacity exp(power)), what is below 1/255
is left out, and a pixel is done when its transmittance would fall to 1e-4. Gaussians are composited front to back
in the order of their depths.

Shape legend: N Gaussians, M pairs of a Gaussian and a tile it reaches, S tiles side by side in a batch, K pairs of
the longest tile of a batch, P pixels of a tile, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fourreal.evaluation.reconstruction.gaussians import Gaussians
from fourreal.evaluation.reconstruction.gsplat_rasterizer import rasterize_with_gsplat
from fourreal.evaluation.reconstruction.projection import LEAST_ALPHA, Camera, Projected, project
from fourreal.evaluation.reconstruction.rendering import Rendering

TILE = 8
"""Side of a tile, pixels."""
MOST_ALPHA = 0.999
LEAST_TRANSMITTANCE = 1e-4
_BATCH_NUMBERS = 1 << 18
"""Numbers (pixels times Gaussians) that a batch of tiles may hold at a time: this bounds the memory."""


def rasterize(gaussians: Gaussians, camera: Camera, background: Tensor | None = None) -> Rendering:
    """Render the Gaussians over `background` [3] or [H, W, 3] (black by default).

    UserError for Gaussians on a CUDA device where gsplat is not installed.
    """
    rendering = rasterize_with_gsplat(gaussians, camera) if gaussians.means.is_cuda else _rasterize(gaussians, camera)
    if background is None:
        return rendering
    return replace(rendering, colour=rendering.colour + (1 - rendering.alpha[..., None]) * background)


def _rasterize(gaussians: Gaussians, camera: Camera) -> Rendering:
    return draw(project(gaussians, camera), gaussians, camera)


def draw(projected: Projected, gaussians: Gaussians, camera: Camera) -> Rendering:
    """Composite projected Gaussians over black."""
    tiles = assign_tiles(projected, camera.height, camera.width)
    features = torch.cat([gaussians.colours, projected.depths[:, None]], dim=1)
    opacities = torch.sigmoid(gaussians.opacity_logits)
    of = tiles.gaussians
    image: Tensor = _Composite.apply(  # type: ignore[no-untyped-call]
        _power_coefficients(projected, tiles), opacities[of], features[of], tiles.starts
    )
    image = _untile(image, tiles)[: camera.height, : camera.width]
    alpha = image[..., 4]
    drawn = projected.extents[:, 0] > 0
    return Rendering(image[..., :3], alpha, image[..., 3] / alpha.clamp_min(1e-6), projected.means, drawn)


@dataclass(frozen=True, eq=False)
class Tiles:
    """Which Gaussians reach which tile, front to back: pair m of tile i, `starts[i] <= m < starts[i + 1]`, is of the
    Gaussian `gaussians[m]`. gaussians, tiles: [M]; starts: [rows * columns + 1]."""

    gaussians: Tensor
    tiles: Tensor
    starts: Tensor
    rows: int
    columns: int


def assign_tiles(projected: Projected, height: int, width: int) -> Tiles:
    """Sort the Gaussians into the tiles that their boxes overlap."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    with torch.no_grad():
        limit = projected.means.new_tensor([columns, rows])
        # A pixel is touched when its centre lies in the box: from TILE i + 0.5 to TILE (i + 1) - 0.5.
        low = ((projected.means - projected.extents + 0.5) / TILE).floor().clamp_min(0).minimum(limit).long()
        high = ((projected.means + projected.extents - 0.5) / TILE).floor().add(1).clamp_min(0).minimum(limit).long()
        drawn = (projected.extents > 0).all(dim=1)
        size = torch.where(drawn[:, None], (high - low).clamp_min(0), 0)
        order = projected.depths.argsort(stable=True)
        count = (size[:, 0] * size[:, 1])[order]
        gaussians = order.repeat_interleave(count)
        within = torch.arange(len(gaussians)) - (count.cumsum(0) - count).repeat_interleave(count)
        across = size[gaussians, 0]
        tiles = (low[gaussians, 1] + within // across) * columns + low[gaussians, 0] + within % across
        tiles, by_tile = tiles.sort(stable=True)
        starts = torch.searchsorted(tiles, torch.arange(rows * columns + 1))
    return Tiles(gaussians[by_tile], tiles, starts, rows, columns)


def _power_coefficients(projected: Projected, tiles: Tiles) -> Tensor:
    """The exponent -(d^T conic d) / 2 of each pair as a polynomial, [M, 6] on x^2, xy, y^2, x, y, 1.

    x, y are measured from the tile's middle, so that the products stay small enough for float32.
    """
    a, b, c = projected.conics[tiles.gaussians].unbind(dim=1)
    middle = torch.stack([tiles.tiles % tiles.columns, tiles.tiles // tiles.columns], dim=1) * TILE + 0.5 * TILE
    u, v = (projected.means[tiles.gaussians] - middle).unbind(dim=1)
    along_x, along_y = a * u + b * v, b * u + c * v
    return torch.stack(
        [-0.5 * a, -b, -0.5 * c, along_x, along_y, -0.5 * (along_x * u + along_y * v)],
        dim=1,
    )


def _untile(image: Tensor, tiles: Tiles) -> Tensor:
    """[tiles, P, F] to [rows * TILE, columns * TILE, F]."""
    split = image.view(tiles.rows, tiles.columns, TILE, TILE, -1)
    return split.permute(0, 2, 1, 3, 4).reshape(tiles.rows * TILE, tiles.columns * TILE, -1)


class _Composite(torch.autograd.Function):
    """Alpha compositing of pairs [M] into tiles [tiles, P, F + 1], the last feature being alpha.

    Tiles of like length go side by side, as many as `_BATCH_NUMBERS` allows. The backward pass makes each batch
    anew instead of keeping it, so that memory grows with the pairs and not with pairs times pixels.
    """

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, opacities: Tensor, features: Tensor, starts: Tensor) -> Tensor:
        """Coefficients [M, 6], opacities [M], features [M, F], starts [tiles + 1]."""
        ctx.save_for_backward(coefficients, opacities, features, starts)
        monomials = _monomials(coefficients)
        image = coefficients.new_zeros(len(starts) - 1, TILE * TILE, features.shape[1] + 1)
        for tiles, index, inside in _batches(starts):
            weights = _blend(monomials, coefficients, opacities, index, inside).weights
            image[tiles, :, :-1] = weights.transpose(1, 2) @ features[index]
            image[tiles, :, -1] = weights.sum(dim=1)
        return image

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of coefficients, opacities and features."""
        coefficients, opacities, features, starts = ctx.saved_tensors
        (gradient,) = gradients
        monomials = _monomials(coefficients)
        to_coefficients = torch.zeros_like(coefficients)
        to_opacities = torch.zeros_like(opacities)
        to_features = torch.zeros_like(features)
        for tiles, index, inside in _batches(starts):
            blend = _blend(monomials, coefficients, opacities, index, inside)
            pixels = gradient[tiles]
            where = index[inside]
            to_features[where] = (blend.weights @ pixels[..., :-1])[inside]
            # What the image gains from a pair's weight, against what lies behind it and is dimmed by its alpha.
            gain = features[index] @ pixels[..., :-1].transpose(1, 2) + pixels[..., -1][:, None]
            gained = blend.weights * gain
            behind = gained.sum(dim=1, keepdim=True) - gained.cumsum(dim=1)
            to_alpha = blend.transmittance * gain - behind / (1 - blend.alphas)
            to_power = torch.where(blend.moves, to_alpha * blend.alphas, 0.0)
            to_coefficients[where] = (to_power @ monomials.T)[inside]
            to_opacities[where] = (to_power.sum(dim=2) / opacities[index])[inside]
        return to_coefficients, to_opacities, to_features, None


@dataclass(frozen=True, eq=False)
class _Blend:
    """alphas, transmittance in front, weights [S, K, P]; moves: bool, where alpha follows its exponent."""

    alphas: Tensor
    transmittance: Tensor
    weights: Tensor
    moves: Tensor


def _blend(monomials: Tensor, coefficients: Tensor, opacities: Tensor, index: Tensor, inside: Tensor) -> _Blend:
    raw = opacities[index][..., None] * (coefficients[index] @ monomials).clamp_max(0).exp()
    counts = (raw >= LEAST_ALPHA) & inside[..., None]
    alphas = torch.where(counts, raw.clamp_max(MOST_ALPHA), 0.0)
    left = torch.cumprod(1 - alphas, dim=1)
    alive = left > LEAST_TRANSMITTANCE
    transmittance = torch.cat([torch.ones_like(left[:, :1]), left[:, :-1]], dim=1)
    alphas = torch.where(alive, alphas, 0.0)
    return _Blend(alphas, transmittance, alphas * transmittance, counts & alive & (raw < MOST_ALPHA))


def _monomials(like: Tensor) -> Tensor:
    """[6, P]: x^2, xy, y^2, x, y, 1 at a tile's pixel centres, measured from its middle."""
    line = torch.arange(TILE, dtype=like.dtype) + 0.5 - 0.5 * TILE
    y, x = (axis.reshape(-1) for axis in torch.meshgrid(line, line, indexing="ij"))
    return torch.stack([x * x, x * y, y * y, x, y, torch.ones_like(x)])


def _batches(starts: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Batches of tiles [S] with, for each, its pairs front to back [S, K] and which of them are real [S, K] bool."""
    lengths = starts.diff()
    order = lengths.argsort(stable=True)
    order = order[lengths[order] > 0]
    batches = []
    first = 0
    sizes = lengths[order].tolist()
    while first < len(sizes):
        last = first + 1
        while last < len(sizes) and (last + 1 - first) * sizes[last] * TILE * TILE <= _BATCH_NUMBERS:
            last += 1
        tiles = order[first:last]
        step = torch.arange(sizes[last - 1])
        inside = step < lengths[tiles][:, None]
        batches.append((tiles, torch.where(inside, starts[tiles][:, None] + step, starts[tiles][:, None]), inside))
        first = last
    return batches
