"""Which renders are kept: thresholds on their statistics, and the reason when one is passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

from fourreal.platform.datajob import ItemFailure
from fourreal.platform.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What is refused; `fourreal.datagen.statistics` says how each is measured."""

    min_motion: float = 0.004
    """`static`: moves less from one time to the next, as a share of the frame's smaller side."""
    max_growth: float = 4.0
    """`exploding`: its extent at one time is so many times that at another."""
    max_travel: float = 4.0
    """`leaves_frame`: over all times it needs so many times the room that it fills at one."""
    max_border: float = 0.02
    """`leaves_frame`: covers more than this share of a frame's outermost pixels."""
    min_coverage: float = 0.001
    """`blank`: covers less of the frame, at some time, on average over views."""
    max_flicker: float = 0.3
    """`flicker`: brightness or area jump by more between a time and its neighbours."""
    min_colour_spread: float = 0.01
    """`one_colour`: the standard deviation of its colours, sRGB from 0 to 1, is less."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) >= 0.0:
                raise UserError(f"--filters.{field.name.replace('_', '-')} must be 0 or more")


class _Rule(NamedTuple):
    reason: str
    statistic: str
    setting: str
    says: str


_RULES = (
    _Rule("static", "p95_share", "min_motion", "from one time to the next it moves by {:.2%} of the frame"),
    _Rule("exploding", "growth", "max_growth", "it is {:.1f} times as large at one time as at another"),
    _Rule("leaves_frame", "travel", "max_travel", "over all times it needs {:.1f} times the room of one time"),
    _Rule("blank", "coverage_min", "min_coverage", "at one time it covers {:.2%} of the frame"),
    _Rule("leaves_frame", "border_share", "max_border", "it covers {:.1%} of the edge of a frame"),
    _Rule("flicker", "flicker", "max_flicker", "between a time and its neighbours it jumps by {:.2f}"),
    _Rule("one_colour", "colour_spread", "min_colour_spread", "its colours are {:.3f} apart"),
)


def check(statistics: Mapping[str, float], filters: Filters, *, times: int) -> None:
    """Hold what is known of an item against the thresholds. Raises ItemFailure of the stage `filter`."""
    for rule in _RULES:
        if rule.statistic not in statistics or (rule.reason == "static" and times == 1):
            continue
        value, limit = statistics[rule.statistic], getattr(filters, rule.setting)
        if value < limit if rule.setting.startswith("min") else value > limit:
            flag = f"--filters.{rule.setting.replace('_', '-')} {limit:g}"
            raise ItemFailure("filter", rule.reason, f"{rule.says.format(value)} ({flag})")
