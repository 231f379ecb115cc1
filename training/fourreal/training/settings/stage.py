"""One stage, complete: what follows from the configuration, the data and the model it starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from fourreal.platform.errors import UserError
from fourreal.platform.storage import Storage
from fourreal.training.catalogue import BatchShape, Stage
from fourreal.training.data import DataSettings
from fourreal.training.exports import model_folder, read_exported_description
from fourreal.training.model import Architecture, LoraShape, PixelBackbone, PixelConfig, TrainPolicy
from fourreal.training.model.flow import TimeSampling
from fourreal.training.settings.checks import train_policy
from fourreal.training.settings.config import Config
from fourreal.training.settings.data import data_settings
from fourreal.training.settings.groups import (
    CheckpointSettings,
    EngineSettings,
    GuardSettings,
    MixtureSettings,
    ModelSettings,
    OptimizerSettings,
    RestartSettings,
    SampleSettings,
    ValidationSettings,
)

_DEFAULT_MODEL: dict[str, Any] = {"size": "nano", "height": 32, "width": 48, "patch_size": 8, "prediction": "clean"}


@dataclass(frozen=True)
class StageSettings:
    """What a worker needs to know. Plain data, so it travels and compares."""

    data: DataSettings
    model: PixelConfig
    out: str
    start_from: str | None
    """Folder of the exported model that the stage starts from."""
    architecture: Architecture
    train: TrainPolicy
    steps: int
    workers: int
    seed: int
    lora: LoraShape
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
        """Base or grid."""
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
    start_from = model_folder(config.start_from) if config.start_from else None
    model = _grid_config(config.model, start_from) if start_from else _base_config(config.model)
    return StageSettings(
        data=data_settings(config, (model.height, model.width), start_from),
        model=model,
        out=config.out.rstrip("/"),
        start_from=start_from,
        architecture=config.model.architecture,
        train=train_policy(config),
        steps=config.steps,
        workers=config.workers,
        seed=config.seed,
        lora=LoraShape(config.model.lora_rank, config.model.lora_alpha),
        diffusion=config.diffusion,
        optimizer=config.optimizer,
        engine=config.engine,
        checkpoints=config.checkpoints,
        guard=config.guard,
        restarts=config.restarts,
        samples=config.samples,
        validation=config.validation,
        validation_data=_validation_data(config, (model.height, model.width), start_from),
    )


def _validation_data(config: Config, size: tuple[int, int] | None, start_from: str | None) -> DataSettings | None:
    folders = config.validation.data
    if both := sorted(set(folders) & set(config.data)):
        raise UserError(f"{both[0]} is in --data and in --validation.data: hold out a folder that is not trained on")
    if not folders:
        return None
    held_out = replace(config, data=folders, mixture=MixtureSettings(buckets=config.mixture.buckets), seed=0)
    return data_settings(held_out, size, start_from)


def _wishes(model: ModelSettings) -> dict[str, Any]:
    wishes = {name: getattr(model, name) for name in _DEFAULT_MODEL}
    return {name: value for name, value in wishes.items() if value is not None}


def _base_config(model: ModelSettings) -> PixelConfig:
    try:
        return PixelConfig.of_size(**{**_DEFAULT_MODEL, **_wishes(model)})
    except ValueError as error:
        raise UserError(str(error)) from None


def _grid_config(asked: ModelSettings, folder: str) -> PixelConfig:
    description = read_exported_description(folder, "base")
    if description["backbone"] != PixelBackbone.name:
        raise UserError(
            f"{folder} holds a {description['backbone']} backbone, fourreal train fits {PixelBackbone.name} ones: "
            f"name a base that fourreal train made"
        )
    model = PixelConfig.from_dict(description["model"])
    wishes = _wishes(asked)
    sized = PixelConfig.of_size(wishes.pop("size")) if "size" in wishes else None
    wanted = {**wishes, **({"depth": sized.depth, "hidden_dim": sized.hidden_dim} if sized else {})}
    for name, value in wanted.items():
        if getattr(model, name) != value:
            flag = "size" if name in ("depth", "hidden_dim") else name.replace("_", "-")
            raise UserError(
                f"the base model in {folder} has {name} {getattr(model, name)}, the grid stage is asked for {value}: "
                f"leave --model.{flag} out"
            )
    return model
