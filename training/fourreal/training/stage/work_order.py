"""What the driver hands to its workers, and these to the processes beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fourreal.training.stage.settings import StageSettings


@dataclass(frozen=True)
class WorkOrder:
    """Plain data."""

    settings: StageSettings
    run_id: str
    """Of MLflow."""
    tracking_uri: str
    facts: dict[str, Any]
    """What exports tell of the model's making, see `provenance`."""
