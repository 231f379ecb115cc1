"""What every benchmark shares: its flags, its table, its JSON."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path


class Benchmark:
    """Collects figures; `--json FILE` writes `{figure: value}`, `--quick` asks for less than 50 s on two cores."""

    def __init__(self, description: str | None) -> None:
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true", help="end within 50 s on two cores")
        parser.add_argument("--json", type=Path, help="write {figure: value} here")
        parser.add_argument("--plot", type=Path, help="draw a picture here, where the benchmark has one")
        arguments = parser.parse_args()
        self.quick: bool = arguments.quick
        self.plot: Path | None = arguments.plot
        self._json: Path | None = arguments.json
        self.figures: dict[str, float] = {}

    def add(self, figure: str, value: float) -> None:
        """Note a figure and print its row."""
        self.figures[figure] = value
        print(f"  {figure:<40}{value:12.3f}", flush=True)

    def finish(self) -> None:
        """Say where this was measured, and write the JSON."""
        print(f"measured on {platform.machine()}, Python {platform.python_version()}")
        if self._json:
            self._json.write_text(json.dumps(self.figures, indent=1))
