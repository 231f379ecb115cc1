"""Parts of frames, as the codec gave them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import av.filter

from fourreal.datagen.videos.bars import Box


def crop(frames: Sequence[av.VideoFrame], box: Box) -> list[av.VideoFrame]:
    """The part of each frame inside a box, without a copy; the box shrinks to even numbers, for subsampled colour.

    Frames must be of one size and format.
    """
    first = frames[0]
    left, top, right, bottom = box[0] + box[0] % 2, box[1] + box[1] % 2, box[2], box[3]
    width, height = (right - left) // 2 * 2, (bottom - top) // 2 * 2
    if box == (0, 0, first.width, first.height) or min(width, height) < 2:
        return list(frames)
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=first.width, height=first.height, format=first.format.name, time_base=Fraction(1, 1000)
    )
    middle = graph.add("crop", f"{width}:{height}:{left}:{top}")
    sink = graph.add("buffersink")
    graph.link_nodes(source, middle, sink).configure()
    cropped = []
    for frame in frames:
        graph.push(frame)
        cropped.append(graph.pull())
    return cropped
