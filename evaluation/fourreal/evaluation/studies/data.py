"""The study's data: rendered and pseudo-4D grids to train on, held-out and real ones to test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fourreal.evaluation.studies.arms import Arm
from fourreal.evaluation.studies.config import Config
from fourreal.evaluation.studies.jobs import Jobs
from fourreal.evaluation.studies.ledger import Ledger, Record
from fourreal.platform.errors import UserError
from fourreal.platform.shards import require_shards
from fourreal.platform.storage import Storage

_HELD_OUT_SEED = 100_000
"""Added to the study's seed: procedural assets of other seeds are other assets."""
_GRIDS_PER_SHARD = "16"


@dataclass(frozen=True)
class StudyData:
    """Folders of shards."""

    rendered: str
    pseudo_4d: str
    tests: dict[str, str]
    """By the name of the test set."""

    @property
    def held_out(self) -> str:
        """The procedural test set, which is also what training validates on."""
        return self.tests["procedural"]

    def of(self, arm: Arm) -> tuple[str, ...]:
        """What an arm is trained on."""
        chosen = [(self.rendered, arm.rendered), (self.pseudo_4d, arm.pseudo_4d)]
        return tuple(folder for folder, wanted in chosen if wanted)


def make_data(config: Config, jobs: Jobs, ledger: Ledger) -> StudyData:
    """Make what is not there yet. UserError when a job fails, or leaves nothing."""
    data = config.data
    rendered = _make(config, jobs, ledger, "rendered", "render", [
        f"--assets=procedural:{data.train_assets}", f"--grids-per-asset={data.grids_per_asset}",
        f"--seed={config.seed}", *_changes(config),
    ])  # fmt: skip
    videos = config.videos or _drawn_videos(config, jobs, ledger)
    pseudo_4d = _make(config, jobs, ledger, "pseudo-4d", "synthesize", [
        f"--videos={videos}", f"--clips-per-video={data.clips_per_video}", f"--seed={config.seed}",
    ])  # fmt: skip
    tests = {
        "procedural": _make(config, jobs, ledger, "test-procedural", "render", [
            f"--assets=procedural:{data.held_out_assets}", f"--seed={config.seed + _HELD_OUT_SEED}", *_changes(config),
        ])
    }  # fmt: skip
    if config.assets:
        tests["real"] = _make(config, jobs, ledger, "test-real", "render", [
            f"--assets={config.assets}", f"--grids-per-asset={data.real_grids_per_asset}", f"--seed={config.seed}",
            *_changes(config),
        ])  # fmt: skip
    return StudyData(rendered, pseudo_4d, tests)


def _make(config: Config, jobs: Jobs, ledger: Ledger, name: str, command: str, arguments: Sequence[str]) -> str:
    out = str(config.out / "data" / name)

    def work() -> Record:
        sizes = [f"--{side}={getattr(config, side)}" for side in ("views", "times", "height", "width")]
        jobs.run(f"data/{name}", command, [f"--out={out}", *sizes, f"--items-per-shard={_GRIDS_PER_SHARD}", *arguments])
        try:
            return {"grids": sum(len(record.keys) for record in require_shards(Storage(out)))}
        except UserError as error:
            raise UserError(f"{command} left no grid ({error}): see the quarantine there") from None

    ledger.once(f"data/{name}", work)
    return out


def _drawn_videos(config: Config, jobs: Jobs, ledger: Ledger) -> str:
    out = str(config.out / "data" / "videos")

    def work() -> Record:
        arguments = [f"--out={out}", f"--count={config.data.videos}", f"--seed={config.seed}"]
        jobs.run("data/videos", "sample-videos", arguments)
        return {"videos": config.data.videos}

    ledger.once("data/videos", work)
    return out


def _changes(config: Config) -> list[str]:
    """How much a grid changes with the view and with time."""
    arc = (f"{degrees:g}" for degrees in config.data.arc_degrees)
    return [f"--fps={config.data.fps:g}", "--camera.arc-degrees", *arc]
