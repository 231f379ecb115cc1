"""The model card beside an export: README.md, in the form that model hubs read."""

from __future__ import annotations

from typing import Any

CARD_FILE = "README.md"
_LICENCES = "data_licences"


def model_card(description: dict[str, Any], parameters: int) -> str:
    """Markdown from an export's `config.json`: what the model is, what it was trained on, how to use it."""
    kind, backbone, config = description["kind"], description["backbone"], description["model"]
    training = _flat(description["training"])
    lines = [
        "---",
        "library_name: fourreal",
        "tags: [4d, video, diffusion]",
        "---",
        "",
        f"# {_TITLES[kind]}",
        "",
        _WHAT[kind],
        "",
        "| | |",
        "|---|---|",
        f"| kind | {kind} |",
        f"| backbone | {backbone} |",
        *([f"| architecture | {description['architecture']} |"] if description["architecture"] else []),
        f"| parameters | {parameters:,} |",
        *(f"| {name} | {_cell(value)} |" for name, value in _flat(config).items()),
        "",
        "## Training",
        "",
    ]
    if training:
        lines += ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in training.items())]
    else:
        lines += ["The export says nothing of how the model was trained."]
    licences = description["training"].get(_LICENCES)
    lines += [
        "",
        "Licences of the data: "
        + (", ".join(licences) if licences else "not recorded here; each grid of the training data names its own")
        + ".",
        "",
        "## Use",
        "",
        "```python",
        *_USE[kind],
        "```",
        "",
    ]
    return "\n".join(lines)


_TITLES = {"base": "Video model", "grid": "View-time grid model", "upsampler": "Video upsampler"}
_WHAT = {
    "base": "Fills in the unknown frames of a fixed-view or freeze-time video (4Real-Video's base model).",
    "grid": "Fills a grid of views and times from a fixed-view and a freeze-time video (4Real-Video).",
    "upsampler": "Makes frames of a grid larger (4Real-Video's diffusion upsampler).",
}
_USE = {
    "base": [
        "from fourreal.training.model import load_model",
        "",
        'model = load_model("FOLDER", "base")',
    ],
    "grid": [
        "from fourreal.training.model import load",
        "",
        'pipe = load("FOLDER")',
        "grid = pipe(fixed_view=video, freeze_time=orbit, steps=4, seed=0)  # uint8 [T, H, W, 3] and [V, H, W, 3]",
        "grid.frames  # uint8 [V, T, H, W, 3]",
    ],
    "upsampler": [
        "from fourreal.training.model import load_model",
        "",
        'upsampler = load_model("FOLDER", "upsampler")',
        "upsampler.upsample(frames)  # uint8 [V, T, h, w, 3] to [V, T, H, W, 3]",
    ],
}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            for number, entry in enumerate(value):
                flat |= _flat(entry, f"{prefix}{name}.{number}.")
        elif isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None and name != _LICENCES:
            flat[prefix + name] = value
    return flat


def _cell(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
