"""The model that is part of the package: a grid model of pixels, 4 x 4 frames of 32x48, 0.5 M parameters.

It was trained by `fourreal train --recipe starter` (`recipes/starter.py` has the commands of its data too) on
procedural assets seen by cameras that move by 5 to 25 degrees, and on drawn videos: nothing of anyone else's is in it.
In what it says of its data, names of folders were made relative, and the drawn videos' licence was filled in: they had
no file beside them yet.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "export"
"""The export: `model.safetensors`, `config.json` and the model card."""
