"""Operations of a forward pass from the shapes, by hand; see `fourreal.training.model.operations`."""

from __future__ import annotations

from fourreal.training.model import PixelConfig


def pixel_layers(config: PixelConfig, sequences: int, frames: int) -> int:
    """Operations of the layers of the pixel transformer on sequences of that many frames."""
    width, patches = config.hidden_dim, config.patch_grid[0] * config.patch_grid[1]
    tokens = sequences * frames * patches
    linear = 2 * tokens * width * (3 + 1 + 4 + 4) * width
    modulation = 2 * sequences * frames * width * 6 * width
    attention = 2 * 2 * tokens * frames * patches * width
    return config.depth * (linear + modulation + attention)


def soft_exchange(config: PixelConfig, views: int, times: int) -> int:
    """Operations of the synchronization layers of `soft` on one grid."""
    width, patches = config.hidden_dim, config.patch_grid[0] * config.patch_grid[1]
    return config.depth * (2 * views * times * patches * (2 * width) ** 2 + 2 * views * times * width * 2 * width)


def pixel_ends(config: PixelConfig, sequences: int, frames: int, *, heads: int = 1) -> int:
    """Operations before and after the layers: patches in, time embedded twice a sequence, heads out."""
    width, patches = config.hidden_dim, config.patch_grid[0] * config.patch_grid[1]
    numbers = config.channels * config.patch_size**2
    embedding = 2 * sequences * frames * patches * numbers * width
    head = 2 * sequences * frames * width * (2 * width + patches * numbers)
    return embedding + heads * (2 * 2 * sequences * (128 + width) * width + head)
