"""Which frames of a generated grid were given to the model: the record that generate writes and the others read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from fourreal.platform.errors import UserError
from fourreal.platform.grid import GridMeta

GIVEN = "given"
"""The field of a grid's provenance."""

Border = Literal["border", "fixed-view", "freeze-time"]
"""What generate can give: x[0, :] and x[:, 0], or one of them."""

BORDER = "fixed-view+freeze-time"
"""The record of both; one of them alone is recorded under its own name."""


def border_mask(border: Border, views: int, times: int) -> npt.NDArray[np.bool_]:
    """Bool `[V, T]`, True where the frame is given."""
    mask = np.zeros((views, times), bool)
    mask[0, :] = border != "freeze-time"
    mask[:, 0] |= border != "fixed-view"
    return mask


def border_record(border: Border) -> str:
    """What stands under `GIVEN` in the provenance."""
    return BORDER if border == "border" else border


def given_mask(meta: GridMeta, views: int, times: int) -> npt.NDArray[np.bool_] | None:
    """Bool `[V, T]`, True where the frame was given; None when the grid says nothing of it: it was not generated.

    Raises UserError when the record makes no sense for a grid of this size.
    """
    record = meta.provenance.get(GIVEN)
    if record is None:
        return None
    borders = {border_record(border): border for border in get_args(Border)}
    if isinstance(record, str) and record in borders:
        return border_mask(borders[record], views, times)
    mask = np.zeros((views, times), bool)
    if isinstance(record, str) or not isinstance(record, Iterable):
        raise _senseless(meta, record)
    for pair in record:
        if not _is_pair(pair, views, times):
            raise _senseless(meta, record)
        mask[pair[0], pair[1]] = True
    return mask


def given_pairs(meta: GridMeta, views: int, times: int) -> list[tuple[int, int]] | None:
    """Like `given_mask`, as (view, time) pairs."""
    mask = given_mask(meta, views, times)
    return None if mask is None else [(int(v), int(t)) for v, t in np.argwhere(mask)]


def _is_pair(pair: Any, views: int, times: int) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(isinstance(n, int) for n in pair)
        and 0 <= pair[0] < views
        and 0 <= pair[1] < times
    )


def _senseless(meta: GridMeta, record: object) -> UserError:
    return UserError(
        f"the provenance of grid {meta.key!r} says given = {str(record)[:80]}: it must be {BORDER!r}, the name of one "
        "of the two, or [view, time] pairs inside the grid; make it again with `fourreal generate`"
    )
