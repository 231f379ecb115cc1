"""Operations of a computation, counted by torch as it runs. A multiply-add is two; only matrix products count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bfloat16 operations a second, from the vendors' data sheets, by a part of the device's name."""


def peak_operations() -> float | None:
    """The CUDA device's dense bfloat16 operations a second; None for a device that is not in the table."""
    name = torch.cuda.get_device_name()
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def counted(work: Callable[[], object]) -> int:
    """Operations of the matrix products and attentions in a call, of a backward pass in it too.

    On tensors of the device `meta` nothing is computed, and as much is counted.
    """
    aten = torch.ops.aten
    mapping = {
        aten._scaled_dot_product_flash_attention_for_cpu: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        work()
    total: int = counter.get_total_flops()
    return total


def _attention(query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **options: Any) -> int:
    operations: int = sdpa_flop_count(query, key, value)  # type: ignore[no-untyped-call]
    return operations


def _attention_backward(
    gradient: Any, query: Any, key: Any, value: Any, *args: Any, out_shape: Any = None, **options: Any
) -> int:
    # What the kernel computes again, to save memory, is not the model's.
    return 2 * _attention(query, key, value)
