"""The DeepSpeed engine: ZeRO stages 0 to 3 over the workers of the current process group."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fourreal.training.engine import BETAS, GRADIENT_CLIP, WEIGHT_DECAY, trained_parameters
from fourreal.training.resharding import universal
from fourreal.training.settings.groups import ZeroStage
from fourreal.training.snapshots import copied

_TAG = "engine"


class DeepSpeedEngine:
    """A DeepSpeed engine around a torch AdamW (see `Engine`).

    Weights stay in fp32; where the device computes in less, the loop says so with autocast.
    """

    def __init__(self, model: nn.Module, device: torch.device, zero_stage: ZeroStage, batch_size: int) -> None:
        deepspeed = _import_without_compiling()
        self._parameters = trained_parameters(model)
        # A torch AdamW object: DeepSpeed's own would compile for minutes on first use.
        optimizer = self._optimizer = _LimitedAdamW(self._parameters, betas=BETAS, weight_decay=WEIGHT_DECAY)
        config = {
            "train_micro_batch_size_per_gpu": batch_size,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": GRADIENT_CLIP,
            "zero_optimization": {"stage": zero_stage},
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 1 << 62,
        }
        self._zero_stage = zero_stage
        self._engine: Any = deepspeed.initialize(
            model=model.to(device), optimizer=optimizer, model_parameters=self._parameters, config=config
        )[0]

    @property
    def model(self) -> nn.Module:
        """See `Engine`."""
        engine: nn.Module = self._engine
        return engine

    def backward(self, loss: Tensor) -> None:
        """See `Engine`."""
        self._engine.backward(loss)

    def step(self, learning_rate: float, norm_limit: float = math.inf) -> float:
        """See `Engine`. A norm that is no number comes back as inf or NaN."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        if self._zero_stage == 0:  # the one stage that does not tell the norm; its gradients are whole here
            norm = float(torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None]))
            self._optimizer.is_allowed = lambda: norm < norm_limit
            self._engine.step()
            return norm
        # ZeRO knows the norm over all partitions just before it calls the optimizer; it skips what is not finite.
        self._optimizer.is_allowed = lambda: self._norm() < norm_limit
        self._engine.step()
        return self._norm()

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
            finally:
                self._engine._config.load_universal_checkpoint = False

    def weights(self) -> dict[str, Tensor]:
        """See `Engine`."""
        if self._zero_stage == 3:
            # Despite its name it keeps fp32 weights in fp32.
            state = self._engine._zero3_consolidated_16bit_state_dict() or {}
        else:
            state = self._engine.module.state_dict()
        return {name: tensor.detach().cpu() for name, tensor in state.items()}


class _LimitedAdamW(torch.optim.AdamW):
    """AdamW whose step does nothing unless it is allowed; DeepSpeed's own way to skip is for fp16 loss scaling only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_allowed: Callable[[], bool] = lambda: True

    def step(self, closure: Any = None) -> Any:
        """One step, or none."""
        return super().step(closure) if self.is_allowed() else None


def _import_without_compiling() -> Any:
    import deepspeed
    import deepspeed.ops

    # On the CPU DeepSpeed compiles a shared-memory collective (about a minute) wherever it finds a compiler; gloo
    # does. An empty table of compatible operators is its own way of saying that there is none.
    deepspeed.ops.__compatible_ops__ = {}
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    return deepspeed
