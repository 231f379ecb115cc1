"""Which views a fit does not see."""

from __future__ import annotations

from fourreal.platform.errors import UserError


def held_out(views: int, count: int) -> list[int]:
    """`count` views spread evenly over the inner ones, so that each has neighbours on both sides to be seen from.

    Raises UserError where there are fewer inner views.
    """
    inner = range(1, views - 1)
    if count > len(inner):
        raise UserError(f"a grid of {views} views has {max(0, len(inner))} inner ones: hold out fewer than {count}")
    return [inner[int((i + 0.5) * len(inner) / count)] for i in range(count)]
