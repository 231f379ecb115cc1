"""Thresholds on statistics, and the reason why an item is refused that passes one.

Jobs say what they refuse as a frozen dataclass of thresholds, whose fields begin with `min_` or `max_`, and a table of
rules that name them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple

from fourreal.platform.datajob import ItemFailure
from fourreal.platform.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Base of the classes of thresholds: they are never below 0."""

    FLAG: ClassVar[str] = "filters"
    """Name of the option that holds them."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) >= 0.0:
                raise UserError(f"--{self.FLAG}.{field.name.replace('_', '-')} must be 0 or more")


class Rule(NamedTuple):
    """An item whose `statistic` is below `setting` (`min_...`) or above it (`max_...`) is refused for `reason`."""

    reason: str
    statistic: str
    setting: str
    says: str
    """What the value means, as a format string of it."""


def check(rules: Iterable[Rule], statistics: Mapping[str, float], filters: Thresholds) -> None:
    """Hold what is known of an item against the thresholds, in the rules' order; a statistic not known yet passes.

    Raises ItemFailure of the stage `filter`.
    """
    for rule in rules:
        if rule.statistic not in statistics:
            continue
        value, limit = statistics[rule.statistic], getattr(filters, rule.setting)
        if value < limit if rule.setting.startswith("min") else value > limit:
            flag = f"--{filters.FLAG}.{rule.setting.replace('_', '-')} {limit:g}"
            raise ItemFailure("filter", rule.reason, f"{rule.says.format(value)} ({flag})")
