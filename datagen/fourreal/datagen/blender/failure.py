"""Why an asset did not become a grid, in a form that a record can keep."""

from __future__ import annotations

from typing import Literal, get_args

from fourreal.datagen import gltf_file

Reason = Literal[
    gltf_file.Reason,  # the file is refused before Blender sees it
    "timeout",  # no answer in time
    "memory",  # grew past its limit
    "crash",  # the process ended, by itself or by a signal
    "import_error",  # Blender's importer refuses the file
    "no_meshes",  # nothing to see in it
    "no_animation",  # nothing moves in it
    "unknown_clip",  # the clip asked for is not in it
    "no_device",  # no GPU of the kind that the job was planned for
    "nan_geometry",  # positions that are no numbers, or no size at all
    "error",  # anything else that Blender or our code in it raised
]


def as_reason(text: object) -> Reason:
    """The reason of this name; `error` for one that does not exist."""
    return next((reason for reason in get_args(Reason) if reason == text), "error")


class WorkerFailure(Exception):
    """One request failed; the worker itself goes on with the next.

    `stage` is the request (`load`, `measure`, `render`, `export`, `gpus`), `stderr_tail` the last lines that the child
    wrote to its standard error and output, native code included.
    """

    def __init__(self, stage: str, reason: Reason, message: str, stderr_tail: str = "") -> None:
        super().__init__(stage, reason, message, stderr_tail)
        self.stage = stage
        self.reason: Reason = reason
        self.message = message
        self.stderr_tail = stderr_tail

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}: {self.message}"
