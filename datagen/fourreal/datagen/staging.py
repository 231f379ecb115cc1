"""From an item to what is filmed: its files, the moments of their clips, and where everything is at these moments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fourreal.datagen.blender.failure import WorkerFailure
from fourreal.datagen.blender.layout import arrange, in_world, placed, together
from fourreal.datagen.blender.scene import Actor, Clip, Measurement, Scene
from fourreal.datagen.blender.timing import sample_times
from fourreal.datagen.blender.worker import BlenderWorker
from fourreal.datagen.filters import Filters, check
from fourreal.datagen.scene_items import naming
from fourreal.datagen.statistics import geometry_statistics
from fourreal.platform.datajob import Item, ItemFailure

_MAY_PASS_BY_ITSELF = frozenset(["timeout", "crash"])


def item_failure(failure: WorkerFailure) -> ItemFailure:
    """What a failure of Blender is to the job."""
    return ItemFailure(
        failure.stage,
        failure.reason,
        failure.message,
        stderr_tail=failure.stderr_tail,
        retryable=failure.reason in _MAY_PASS_BY_ITSELF,
    )


@dataclass(frozen=True)
class Member:
    """An object on this machine, and the part of its clip that may be shown."""

    item: Item
    path: Path
    sha256: str
    clip: Clip


@dataclass(frozen=True, eq=False)
class Stage:
    """Objects and where they play: `measurements` are each in its own space, at the scene's `times_s`."""

    members: tuple[Member, ...]
    times_s: tuple[float, ...]
    measurements: tuple[Measurement, ...]
    actors: tuple[Actor, ...]

    @property
    def alone(self) -> bool:
        """Whether there is one object."""
        return len(self.members) == 1

    @property
    def measurement(self) -> Measurement:
        """Of all objects as they stand on the stage, before a scene is made of it."""
        return together([placed(m, actor.placement) for m, actor in zip(self.measurements, self.actors, strict=True)])

    @property
    def sha256(self) -> str:
        """Of the file; of the sha256 of the files, one to a line, where there are several."""
        if self.alone:
            return self.members[0].sha256
        return hashlib.sha256("\n".join(member.sha256 for member in self.members).encode()).hexdigest()

    def measured_in(self, scene: Scene) -> Measurement:
        """Of all objects, where they are in the scene."""
        return together(in_world(self.measurements, scene))

    def check(self, scene: Scene, filters: Filters) -> dict[str, float]:
        """Hold each object's motion against the filters; returns the statistics of all. Raises ItemFailure."""
        for member, measurement in zip(self.members, in_world(self.measurements, scene), strict=True):
            with named_in_failures(member.item, alone=self.alone):
                check(geometry_statistics(scene, measurement), filters, times=len(self.times_s))
        return geometry_statistics(scene, self.measured_in(scene))

    def provenance(self, scene: Scene) -> dict[str, Any]:
        """What the grid's metadata say of its object or objects."""
        if self.alone:
            (only,) = self.members
            return {"clip": only.clip.name, "attribution": only.item.spec.get("attribution", {})}
        return {"objects": [_described(m, actor) for m, actor in zip(self.members, scene.actors, strict=True)]}


def set_stage(
    members: Sequence[Member], worker: BlenderWorker, times: int, step_s: float, rng: np.random.Generator
) -> Stage:
    """Choose the moments and measure the objects there; put several side by side on one floor.

    Several run by one clock: where a clip is too short for all the times, all of them are sampled more densely.
    Raises WorkerFailure, or ItemFailure naming the object of several.
    """
    if len(members) == 1:
        (only,) = members
        times_s = sample_times(only.clip, times, step_s, rng)
        measurement = worker.measure(str(only.path), only.clip.name, times_s)
        return Stage((only,), times_s, (measurement,), (Actor(str(only.path), only.clip.name),))
    window_s = min((times - 1) * step_s, *(member.clip.duration_s for member in members))
    step_s = window_s / max(times - 1, 1)
    starts, measurements = [], []
    for member in members:
        times_s = sample_times(member.clip, times, step_s, rng)
        starts.append(times_s[0])
        with named_in_failures(member.item):
            measurements.append(worker.measure(str(member.path), member.clip.name, times_s))
    actors = tuple(
        Actor(str(member.path), member.clip.name, start_s, placement)
        for member, start_s, placement in zip(members, starts, arrange(measurements, rng), strict=True)
    )
    return Stage(tuple(members), tuple((np.arange(times) * step_s).tolist()), tuple(measurements), actors)


@contextmanager
def named_in_failures(item: Item, *, alone: bool = False) -> Iterator[None]:
    """Failures within are this item's, one object of several; one that is `alone` needs no name."""
    try:
        yield
    except (WorkerFailure, ItemFailure) as error:
        failure = item_failure(error) if isinstance(error, WorkerFailure) else error
        raise failure if alone else naming(item, failure) from None


def _described(member: Member, actor: Actor) -> dict[str, Any]:
    spec = member.item.spec
    return {
        "key": member.item.key,
        "source": member.item.source,
        "sha256": member.sha256,
        "licence": spec["licence"],
        "attribution": spec.get("attribution", {}),
        "clip": actor.clip,
        "start_s": actor.start_s,
        "placement": asdict(actor.placement),
    }
