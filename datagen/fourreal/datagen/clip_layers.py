"""The layers of a clip, from what lies beside its video."""

from __future__ import annotations

from fourreal.datagen.videos.clip import Clip
from fourreal.datagen.videos.side_files import DEPTH_SUFFIX, depth_file, mask_file, read_depth, read_mask
from fourreal.datagen.videos.sources import MASK_ENDING, VideoSource
from fourreal.datagen.warps.layers import FlatSceneError, Layers, layers_from_depth, layers_from_mask
from fourreal.platform.datajob import ItemFailure

FLAT = "flat"
"""The reason why a clip with a mask or depth has no layers: it shows nothing in front of anything."""


def has_layers(source: VideoSource) -> bool:
    """Whether depth or a mask lies beside the video."""
    return bool(depth_file(source) or mask_file(source))


def layers_of(source: VideoSource, clip: Clip, depth_ratio: float) -> Layers:
    """The layers of a clip; where there is but a mask, the background is `depth_ratio` times as far as the rest.

    Raises ItemFailure.
    """
    try:
        if depth := depth_file(source):
            return layers_from_depth(read_depth(source, depth, clip))
        if mask := mask_file(source):
            return layers_from_mask(read_mask(source, mask, clip), depth_ratio)
    except FlatSceneError as error:
        raise ItemFailure("layers", FLAT, f"{source.address}: {error}") from None
    except ValueError as error:
        raise ItemFailure("layers", "bad_depth", f"{source.address}: {error}") from None
    message = (
        f"--family parallax needs {source.stem}{DEPTH_SUFFIX} or {source.stem}{MASK_ENDING}.mp4 beside "
        f"{source.address}: add one, or use --family mixed"
    )
    raise ItemFailure("layers", "no_layers", message)
