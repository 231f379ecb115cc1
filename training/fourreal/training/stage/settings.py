"""One stage, complete: what follows from the configuration, the data and the model it starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.data.batches import DataSettings
from fourreal.training.data.catalogue import BatchShape
from fourreal.training.model.flow import TimeSampling
from fourreal.training.settings.config import Config
from fourreal.training.settings.groups import (
    CheckpointSettings,
    EngineSettings,
    GuardSettings,
    MixtureSettings,
    OptimizerSettings,
    RestartSettings,
    SampleSettings,
    Stage,
    ValidationSettings,
)
from fourreal.training.stage.data import data_settings
from fourreal.training.stage.exports import model_folder
from fourreal.training.stage.model import ModelPlan, model_plan


@dataclass(frozen=True)
class StageSettings:
    """What a worker needs to know. Plain data, so it travels and compares."""

    data: DataSettings
    model: ModelPlan
    out: str
    start_from: str | None
    """Folder of the exported model that the stage starts from."""
    steps: int
    workers: int
    gpu_share: float
    seed: int
    diffusion: TimeSampling
    optimizer: OptimizerSettings
    engine: EngineSettings
    checkpoints: CheckpointSettings
    guard: GuardSettings
    restarts: RestartSettings
    samples: SampleSettings
    validation: ValidationSettings
    validation_data: DataSettings | None
    """What `validation.data` is as batches."""

    @property
    def shape(self) -> BatchShape:
        """The first bucket, which stands for the others in pictures."""
        return self.data.buckets[0]

    @property
    def stage(self) -> Stage:
        """Base, grid or upsampler."""
        return self.shape.stage

    @property
    def storage(self) -> Storage:
        """The stage's output folder."""
        return Storage(self.out)

    def to_json(self) -> dict[str, Any]:
        """As plain data, with lists where tuples are."""
        document = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in document.items()}


def stage_settings(config: Config) -> StageSettings:
    """The settings of a stage. UserError when the data, the model it starts from or the sizes do not fit each other."""
    config = replace(config, data=tuple(map(_anywhere, config.data)), out=_anywhere(config.out))
    held_out = tuple(map(_anywhere, config.validation.data))
    config = replace(config, validation=replace(config.validation, data=held_out))
    start_from = _anywhere(model_folder(config.start_from, config.out)) if config.start_from else None
    model = model_plan(config, start_from)
    seen = replace(config, views=1) if config.stage == "upsampler" else config  # it reads fixed-view videos alone
    return StageSettings(
        data=data_settings(seen, model.size, start_from),
        model=model,
        out=config.out,
        start_from=start_from,
        steps=config.steps,
        workers=config.workers,
        gpu_share=config.gpu_share,
        seed=config.seed,
        diffusion=config.diffusion,
        optimizer=config.optimizer,
        engine=config.engine,
        checkpoints=config.checkpoints,
        guard=config.guard,
        restarts=config.restarts,
        samples=config.samples,
        validation=config.validation,
        validation_data=_validation_data(seen, model.size, start_from),
    )


def _validation_data(config: Config, size: tuple[int, int] | None, start_from: str | None) -> DataSettings | None:
    folders = config.validation.data
    if both := sorted(set(folders) & set(config.data)):
        raise UserError(f"{both[0]} is in --data and in --validation.data: hold out a folder that is not trained on")
    if not folders:
        return None
    held_out = replace(config, data=folders, mixture=MixtureSettings(buckets=config.mixture.buckets), seed=0)
    return data_settings(held_out, size, start_from)


def _anywhere(uri: str) -> str:
    """A folder as workers can name it, who run in folders of their own."""
    storage = Storage(uri.rstrip("/"))
    return storage.root if storage.is_local else storage.uri
