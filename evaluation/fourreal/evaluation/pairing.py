"""Generated grids beside their references: same key, same size, and only what can honestly be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fourreal.evaluation.fit import Fit
from fourreal.evaluation.given import given_mask
from fourreal.evaluation.metrics import Comparison
from fourreal.evaluation.shelf import Shelf, source_of
from fourreal.platform.errors import UserError
from fourreal.platform.grid import Grid

MOST_GIVEN_DIFFERENCE = 8.0
"""Grey levels by which the given frames may differ on average from the reference's: JPEG stays below 2."""

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pair:
    """A generated grid and the truth at its size.

    reference: uint8 `[V, T, H, W, 3]`; mask: uint8 `[V, T, H, W]` of the reference; given: bool `[V, T]`;
    fit: what was done to the reference, None where it had the size already; source: what the reference was made of
    (`source_of`).
    """

    prediction: Grid
    reference: Frames
    mask: Frames | None
    given: npt.NDArray[np.bool_]
    fit: Fit | None
    source: str

    @property
    def key(self) -> str:
        """The key of both."""
        return self.prediction.key

    def compare(self, frames: Frames) -> Comparison:
        """The generated frames of `frames` `[V, T, H, W, 3]`, the prediction's or a baseline's, and the true ones."""
        made = ~self.given
        mask = None if self.mask is None else self.mask[made]
        intrinsics, poses = self.prediction.intrinsics, self.prediction.world_to_camera
        cameras = None if intrinsics is None or poses is None else (intrinsics, poses)
        return Comparison(
            self.key,
            frames[made],
            self.reference[made],
            mask,
            grid=frames,
            cameras=cameras,
            reference_grid=self.reference,
            made=made,
            caption=self.prediction.meta.caption,
        )


@dataclass(frozen=True)
class NotCompared:
    """A generated grid that cannot be compared, and why."""

    key: str
    reason: str


def pair_up(predictions: Shelf, references: Shelf, keys: Iterable[str] | None = None) -> Iterator[Pair | NotCompared]:
    """Every prediction (or those of `keys`), with its reference or with the reason why there is no comparison."""
    for key in predictions.keys if keys is None else keys:
        try:
            encoded, reference = predictions.grid(key), references.grid(key)
            if encoded is None:
                raise UserError(f"{predictions.storage.uri} holds no prediction of this key")
            if reference is None:
                raise UserError(f"{references.storage.uri} holds no reference of this key")
            yield _pair(encoded.decode(), reference.decode())
        except UserError as error:
            yield NotCompared(key, str(error))


def _pair(prediction: Grid, reference: Grid) -> Pair:
    V, T, H, W = prediction.frames.shape[:4]
    given = given_mask(prediction.meta, V, T)
    if given is None:
        raise UserError("its provenance does not say which frames were given: make it with `fourreal generate`")
    if given.all():
        raise UserError("all of its frames were given: nothing was generated")
    if (reference.views, reference.times) != (V, T):
        raise UserError(
            f"the prediction has {V} views and {T} times, the reference {reference.views} and {reference.times}"
        )
    fit = None
    if (reference.height, reference.width) != (H, W):
        fit = _recorded_fit(prediction, reference)
        reference = fit.grid(reference)
    difference = (
        np.abs(prediction.frames[given].astype(np.int16) - reference.frames[given]).mean() if given.any() else 0
    )
    if difference > MOST_GIVEN_DIFFERENCE:
        raise UserError(
            f"its given frames differ from the reference's by {difference:.0f} grey levels on average: "
            "the reference is another grid of the same key"
        )
    return Pair(prediction, reference.frames, reference.mask, given, fit, source_of(reference.meta))


def _recorded_fit(prediction: Grid, reference: Grid) -> Fit:
    """How generate brought the conditions to the prediction's size, if the reference has the size they had."""
    sizes = (
        f"the prediction is {prediction.height}x{prediction.width}, the reference {reference.height}x{reference.width}"
    )
    record = prediction.meta.provenance.get("fit")
    if record is None:
        raise UserError(f"{sizes}, and the prediction's provenance does not say how one became the other")
    try:
        fit = Fit.from_record(record)
    except (TypeError, ValueError) as error:
        raise UserError(f"{sizes}, and its recorded fit is unusable ({error})") from None
    recorded = (fit.source_height, fit.source_width, fit.height, fit.width)
    if recorded != (reference.height, reference.width, prediction.height, prediction.width):
        raise UserError(f"{sizes}, but its conditions were {fit}: name the folder that generate was given")
    return fit
