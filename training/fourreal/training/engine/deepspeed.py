"""The DeepSpeed engine: ZeRO stages 0 to 3 over the workers of the current process group."""

from __future__ import annotations

import logging
import math
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fourreal.training.checkpoint.snapshots import copied
from fourreal.training.engine.base import StepNorms, check_compiler, trained_parameters
from fourreal.training.engine.optimizer import EMA, MeasuredAdamW
from fourreal.training.engine.resharding import universal
from fourreal.training.settings.groups import EngineSettings, OptimizerSettings
from fourreal.training.workers import ranks
from fourreal.training.workers.stopping import Stopped

_TAG = "engine"


class DeepSpeedEngine:
    """A DeepSpeed engine around a torch AdamW (see `Engine`). `batch_size`: samples of one step on one worker."""

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        optimizer: OptimizerSettings,
        settings: EngineSettings,
        batch_size: int,
    ) -> None:
        check_compiler(settings)
        deepspeed = _import(device)
        if "nvme" in (settings.offload_optimizer, settings.offload_weights) and device.type == "cpu":
            raise Stopped("offloading to nvme moves what a GPU holds, and there is none: leave it out, or choose cpu")
        self._parameters = trained_parameters(model)
        # A torch AdamW object: DeepSpeed's own would compile for minutes on first use.
        self._optimizer = MeasuredAdamW(self._parameters, optimizer, device)
        self._zero_stage = settings.zero_stage
        self._engine: Any = deepspeed.initialize(
            model=model.to(device),
            optimizer=self._optimizer,
            model_parameters=self._parameters,
            config=_configuration(optimizer, settings, batch_size, bf16=settings.computes_in_bf16(device.type)),
        )[0]
        if settings.compile != "none":
            self._engine.compile(backend=settings.compile)

    @property
    def model(self) -> nn.Module:
        """See `Engine`."""
        module: nn.Module = self._engine.module
        return module

    def forward(self, *inputs: Any) -> Tensor:
        """See `Engine`."""
        prediction: Tensor = self._engine(*inputs)
        return prediction.float()

    def backward(self, loss: Tensor) -> None:
        """See `Engine`."""
        self._engine.backward(loss, scale_wrt_gas=False)
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()  # counts the micro-batch, and does nothing else

    def step(self, learning_rate: float, norm_limit: float = math.inf) -> StepNorms:
        """See `Engine`. A norm that is no number comes back as inf or NaN."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        if self._zero_stage == 0:  # the one stage that does not tell the norm; its gradients are whole here
            norm = float(torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None]))
            self._optimizer.is_allowed = lambda: norm < norm_limit
            self._engine.step()
            return StepNorms(norm, float(self._optimizer.update_norm()))
        # ZeRO knows the norm over all partitions just before it calls the optimizer; it skips what is not finite.
        self._optimizer.is_allowed = lambda: self._norm() < norm_limit
        self._engine.step()
        return StepNorms(self._norm(), math.sqrt(ranks.total(float(self._optimizer.update_norm()) ** 2)))

    def _norm(self) -> float:
        return float(self._engine.optimizer._global_grad_norm)

    def snapshot(self) -> dict[str, Any]:
        """See `Engine`."""
        states: dict[str, Any] = {}
        write = self._engine.checkpoint_engine.save
        with tempfile.TemporaryDirectory() as folder:

            def keep(state_dict: Any, path: str, *args: Any, **kwargs: Any) -> None:
                states[Path(path).relative_to(folder).as_posix()] = copied(state_dict)

            self._engine.checkpoint_engine.save = keep
            self._engine._copy_recovery_script = lambda path: None  # a script of DeepSpeed's, in every checkpoint
            try:
                self._engine.save_checkpoint(folder, tag=_TAG, save_latest=False)
            finally:
                self._engine.checkpoint_engine.save = write
        return states

    def load(self, folder: Path, *, saved_by: int, shared: bool) -> None:
        """See `Engine`."""
        if saved_by == self._engine.world_size or self._zero_stage == 0:  # stage 0 cuts nothing
            self._engine.load_checkpoint(str(folder), tag=_TAG)
            return
        with universal(folder, _TAG, rank=self._engine.global_rank, shared=shared) as converted:
            self._engine._config.load_universal_checkpoint = True
            try:
                self._engine.load_checkpoint(str(converted), tag=_TAG)
                if self._zero_stage == 3:
                    self._load_averages(converted / _TAG / "zero")
            finally:
                self._engine._config.load_universal_checkpoint = False

    def _load_averages(self, folder: Path) -> None:
        """The running mean of a universal checkpoint: at stage 3 DeepSpeed loads the state that it knows only."""
        zero = self._engine.optimizer
        for group, flat in zip(zero.fp16_groups, zero.fp32_partitioned_groups_flat, strict=True):
            folders = [folder / zero.param_names[parameter] for parameter in group]
            if all((each / f"{EMA}.pt").exists() for each in folders):
                parts = [
                    zero.load_hp_checkpoint_state(str(each), EMA, param=parameter)
                    for each, parameter in zip(folders, group, strict=True)
                ]
                mean = self._optimizer.state[flat][EMA] = torch.zeros_like(flat)
                together = torch.cat([part.flatten() for part in parts])
                mean[: len(together)].copy_(together)

    def weights(self, *, averaged: bool = False) -> dict[str, Tensor]:
        """See `Engine`."""
        if self._zero_stage == 3:
            # Despite its name it keeps fp32 weights in fp32.
            state = self._engine._zero3_consolidated_16bit_state_dict() or {}
        else:
            state = self._engine.module.state_dict()
        weights = {name: tensor.detach().cpu() for name, tensor in state.items()}
        return {**weights, **self._averages()} if averaged else weights

    def _averages(self) -> dict[str, Tensor]:
        """The running mean of every weight that trains; empty before the first step, or where there is none."""
        from deepspeed.utils import safe_get_full_optimizer_state

        held = [state for state in self._optimizer.state.values() if EMA in state]
        if not any(ranks.gather(bool(held))):
            return {}
        if self._zero_stage in (1, 2):
            # It links weights to their optimizer state after the first step only, taken or not, before a restore.
            self._engine.optimizer._hp_optimizer_states_linked = False
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()
        averages = {}
        for name, parameter in self._engine.module.named_parameters():
            if parameter.requires_grad:
                if self._zero_stage == 0:
                    mean = self._optimizer.state[parameter].get(EMA, parameter)
                else:
                    mean = safe_get_full_optimizer_state(parameter, EMA)
                averages[name] = mean.detach().cpu()
        return averages


def _configuration(
    optimizer: OptimizerSettings, settings: EngineSettings, batch_size: int, *, bf16: bool
) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": settings.zero_stage}
    for name, place in (("optimizer", settings.offload_optimizer), ("param", settings.offload_weights)):
        if place != "none":
            zero[f"offload_{name}"] = {"device": place, "pin_memory": torch.cuda.is_available()}
            if place == "nvme":
                zero[f"offload_{name}"]["nvme_path"] = settings.nvme_folder
    return {
        "train_micro_batch_size_per_gpu": batch_size // settings.micro_batches,
        "gradient_accumulation_steps": settings.micro_batches,
        "gradient_clipping": optimizer.clip_norm,
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,
        # DeepSpeed switches off an autocast that is not its own. No module's gradients travel in bfloat16.
        "torch_autocast": {"enabled": bf16, "dtype": "bfloat16", "lower_precision_safe_modules": []},
        "steps_per_print": 1 << 62,
    }


def _import(device: torch.device) -> Any:
    with _without("mlflow"):  # which its tuner imports if it can: over a second of every worker's start
        import deepspeed
        import deepspeed.ops
        from deepspeed.runtime.zero.utils import ZERO_SUPPORTED_OPTIMIZERS

    if MeasuredAdamW not in ZERO_SUPPORTED_OPTIMIZERS:  # which names torch's AdamW, but not what is derived from it
        ZERO_SUPPORTED_OPTIMIZERS.append(MeasuredAdamW)
    # On the CPU DeepSpeed compiles a shared-memory collective (about a minute) wherever it finds a compiler; gloo
    # does. An empty table of compatible operators is its own way of saying that there is none.
    if device.type == "cpu":
        deepspeed.ops.__compatible_ops__ = {}
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    return deepspeed


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Until its end importing that module fails, if nobody has imported it yet."""
    modules: dict[str, Any] = sys.modules
    if name in modules:
        yield
        return
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
