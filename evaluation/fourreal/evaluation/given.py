"""Which frames of a generated grid were given to the model: the record that generate writes and the others read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fourreal.platform.errors import UserError
from fourreal.platform.grid import GridMeta

GIVEN = "given"
"""The field of a grid's provenance."""

BORDER = "fixed-view+freeze-time"
"""The name for x[0, :] and x[:, 0]."""


def given_mask(meta: GridMeta, views: int, times: int) -> npt.NDArray[np.bool_] | None:
    """Bool `[V, T]`, True where the frame was given; None when the grid says nothing of it: it was not generated.

    Raises UserError when the record makes no sense for a grid of this size.
    """
    record = meta.provenance.get(GIVEN)
    if record is None:
        return None
    mask = np.zeros((views, times), bool)
    if record == BORDER:
        mask[0, :] = mask[:, 0] = True
        return mask
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
        f"the provenance of grid {meta.key!r} says given = {str(record)[:80]}: it must be {BORDER!r} or [view, time] "
        "pairs inside the grid; make it again with `fourreal generate`"
    )
