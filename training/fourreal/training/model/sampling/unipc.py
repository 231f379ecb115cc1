"""UniPC for rectified flow: a multistep predictor and corrector, second order, one evaluation a step.

Zhao et al. 2023 (arXiv 2302.04867), data prediction, B_2(h) = e^h - 1, in the order of operations of diffusers'
`UniPCMultistepScheduler`, whose numbers this gives (it is what Wan samples with). With s the diffusion time,
alpha = 1 - s, sigma = s, lambda = log(alpha / sigma), the clean prediction is x = z - s v.

Shape legend as in `solvers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fourreal.training.model.sampling.solvers import Callback, Velocity, time_of

# At s = 1 lambda is minus infinity. The limit of all coefficients exists; this far out they have reached it.
_LEAST_ALPHA = 1e-6


@dataclass(frozen=True)
class _Step:
    """Weights that take a state z at the time of x_0 to the next time: z, then each clean prediction."""

    z: float
    clean: tuple[float, ...]

    def __call__(self, z: Tensor, cleans: Sequence[Tensor]) -> Tensor:
        moved = self.z * z
        for weight, clean in zip(self.clean, cleans, strict=True):
            moved = moved + weight * clean
        return moved


@torch.no_grad()
def sample_unipc(
    velocity: Velocity,
    noise: Tensor,
    clean: Tensor,
    given: Tensor,
    times: Sequence[float],
    *,
    callback: Callback | None = None,
) -> Tensor:
    """See the top of this module, and of `solvers.py` for the arguments.

    The first and the last step are of first order, as in the paper's implementation.
    """
    keep = given[..., None, None, None]
    steps = len(times) - 1
    orders = [min(2, step + 1, steps - step) for step in range(steps)]
    predictors = [_predictor(times, step, orders[step]) for step in range(steps)]
    correctors = [_corrector(times, step, orders[step]) for step in range(steps - 1)]

    z = torch.where(keep, clean, noise)
    before = z
    cleans: list[Tensor] = []
    for step in range(steps):
        predicted = z - times[step] * velocity(z, time_of(z, times[step]))
        if step > 0:
            # The step that led here again, now that the clean prediction at its end is known.
            z = torch.where(keep, clean, correctors[step - 1](before, [predicted, *cleans[: orders[step - 1]]]))
        cleans = [predicted, *cleans[:1]]
        before = z
        z = torch.where(keep, clean, predictors[step](z, cleans[: orders[step]]))
        if callback is not None:
            callback(step, z)
    return z


def _log_ratio(time: float) -> float:
    return math.inf if time <= 0 else math.log(max(1 - time, _LEAST_ALPHA) / time)


def _predictor(times: Sequence[float], step: int, order: int) -> _Step:
    """Weights of z, x at `times[step]` and, of second order, x one step before."""
    now, after = times[step], times[step + 1]
    h = _log_ratio(after) - _log_ratio(now)
    growth = math.expm1(-h)  # -1 where the step ends at 0
    base = -(1 - after) * growth
    if order == 1:
        return _Step(after / now, (base,))
    ratio = (_log_ratio(times[step - 1]) - _log_ratio(now)) / h
    difference = -(1 - after) * growth * 0.5 / ratio
    return _Step(after / now, (base - difference, difference))


def _corrector(times: Sequence[float], step: int, order: int) -> _Step:
    """Weights of z, x at the end of the step, x at its start and, of second order, x one step before."""
    now, after = times[step], times[step + 1]
    h = _log_ratio(after) - _log_ratio(now)
    growth = math.expm1(-h)
    base = -(1 - after) * growth
    if order == 1:
        return _Step(after / now, (base * 0.5, base * 0.5))
    ratio = (_log_ratio(times[step - 1]) - _log_ratio(now)) / h
    # rho solves [[1, 1], [ratio, 1]] rho = b (the paper's equation 7 for p = 2).
    phi_2 = growth / -h - 1
    phi_3 = phi_2 / -h - 0.5
    first, second = phi_2 / growth, 2 * phi_3 / growth
    rho_before = (first - second) / (1 - ratio)
    rho_end = first - rho_before
    end, past = base * rho_end, base * rho_before / ratio
    return _Step(after / now, (end, base - end - past, past))
