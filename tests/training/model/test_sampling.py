"""Solvers against known solutions and diffusers, guidance against its formula, and no waiting for the device."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from tiny_models import captions, grid_input, lively_grid_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fourreal.training.model import GridModel, PixelBackbone, PixelConfig
from fourreal.training.model.backbones.base import Text
from fourreal.training.model.flow import add_noise, to_velocity
from fourreal.training.model.sampling import (
    SAMPLERS,
    Guidance,
    Sampling,
    border_given,
    grid_velocity,
    sample_grids,
    seeded_noise,
    shift_time,
    time_schedule,
)

MEAN, SPREAD = 0.7, 0.3
NOISE = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(1, 1, 3, 2, 2)
NOTHING = torch.zeros(1, 1, dtype=torch.bool)


def gaussian_velocity(noisy: Tensor, time: Tensor) -> Tensor:
    """Of data N(MEAN, SPREAD^2): the paths are z_s = (1 - s) MEAN + sqrt((1 - s)^2 SPREAD^2 + s^2) e."""
    s = time.view(-1, 1, 1, 1, 1)
    variance = (1 - s) ** 2 * SPREAD**2 + s**2
    return -MEAN + (s - (1 - s) * SPREAD**2) / variance * (noisy - (1 - s) * MEAN)


def error(sampler: str, steps: int) -> float:
    made = SAMPLERS[sampler](gaussian_velocity, NOISE, NOISE, NOTHING, time_schedule(steps))
    return float((made - (MEAN + SPREAD * NOISE)).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2), ("unipc", 2)])
def test_order_of_convergence_on_a_gaussian(sampler: str, order: int) -> None:
    coarse, fine = error(sampler, 80), error(sampler, 160)
    assert abs(math.log2(coarse / fine) - order) < 0.25
    assert fine < {1: 0.02, 2: 1e-3}[order]


def test_more_order_is_less_error_at_the_same_cost() -> None:
    for evaluations in (8, 16, 32):
        assert error("unipc", evaluations) < error("euler", evaluations) / 2
    for evaluations in (32, 64):  # with fewer, Heun's doubled steps are too long to pay
        assert error("heun", evaluations // 2) < error("euler", evaluations)


def _sigmas(steps: int, shift: float) -> list[float]:
    return [shift_time(1 - (step + 0.001) / steps, shift) for step in range(steps)]


def _diffusers(scheduler: Any, noise: Tensor) -> Tensor:
    z = noise
    for timestep in scheduler.timesteps:
        z = scheduler.step(gaussian_velocity(z, timestep.to(z)[None] / 1000), timestep, z, return_dict=False)[0]
    return z


@pytest.mark.parametrize("steps", [1, 2, 4, 20])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_unipc_is_that_of_diffusers(steps: int, shift: float) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    sigmas = _sigmas(steps, shift)
    scheduler.set_timesteps(steps)
    scheduler.sigmas = torch.tensor([*sigmas, 0], dtype=torch.float64)
    scheduler.timesteps = torch.tensor(sigmas, dtype=torch.float64) * 1000
    ours = SAMPLERS["unipc"](gaussian_velocity, NOISE, NOISE, NOTHING, [*sigmas, 0.0])
    torch.testing.assert_close(ours, _diffusers(scheduler, NOISE), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_euler_and_heun_and_the_shift_are_those_of_diffusers(steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    euler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    euler.set_timesteps(sigmas=[1 - step / steps for step in range(steps)])
    torch.testing.assert_close(euler.sigmas.tolist(), time_schedule(steps, 3.0), atol=1e-6, rtol=1e-6)
    ours = SAMPLERS["euler"](gaussian_velocity, NOISE, NOISE, NOTHING, time_schedule(steps, 3.0))
    torch.testing.assert_close(ours, _diffusers(euler, NOISE).double(), atol=1e-5, rtol=1e-5)
    heun = diffusers.FlowMatchHeunDiscreteScheduler()
    heun.set_timesteps(steps)
    times = [*heun.sigmas[::2].tolist(), 0.0] if steps == 1 else [heun.sigmas[0].item(), *heun.sigmas[1::2].tolist()]
    ours = SAMPLERS["heun"](gaussian_velocity, NOISE, NOISE, NOTHING, times)
    torch.testing.assert_close(ours, _diffusers(heun, NOISE).double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_every_sampler_recovers_constant_data_and_keeps_given_frames(sampler: str, steps: int) -> None:
    noise, clean = seeded_noise([0, 1], (2, 3, 3, 4, 4)), seeded_noise([2, 3], (2, 3, 3, 4, 4))
    given = border_given(2, 3).expand(2, -1, -1)
    seen: list[Tensor] = []

    def velocity(noisy: Tensor, time: Tensor) -> Tensor:
        assert torch.equal(noisy[given], clean[given])  # also in the middle of a step
        return noise - clean

    made = SAMPLERS[sampler](
        velocity, noise, clean, given, time_schedule(steps, 2.0), callback=lambda step, z: seen.append(z)
    )
    torch.testing.assert_close(made, clean, atol=1e-5, rtol=1e-5)
    assert len(seen) == steps
    assert all(torch.equal(z[given], clean[given]) for z in seen)


def test_times_fall_from_one_to_zero_and_a_shift_moves_them_towards_noise() -> None:
    assert time_schedule(2) == [1.0, 0.5, 0.0]
    assert time_schedule(2, 3.0) == [1.0, 0.75, 0.0]
    for faulty in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="no positive number"):
            time_schedule(2, faulty)
    with pytest.raises(ValueError, match="sampler 'ddim' is unknown; choose one of euler, heun, unipc"):
        Sampling(sampler="ddim")  # type: ignore[arg-type]


class NoSync(TorchDispatchMode):
    """Fails on what makes the host wait for a number of the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.equal.default,
        ), f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


CONFIG = PixelConfig(height=8, width=8, patch_size=4, hidden_dim=32, depth=2, heads=2)


def random_model(config: PixelConfig = CONFIG) -> GridModel:
    torch.manual_seed(0)
    model = GridModel(PixelBackbone(config), "soft")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_step_waits_for_the_device(sampler: Any) -> None:
    model = random_model()
    clean, given = torch.zeros(1, 2, 3, 3, 8, 8), border_given(2, 3)[None]
    noise = seeded_noise([0], clean.shape[1:])
    velocity = grid_velocity(model, given, noise, guidance=Guidance(frames=2))
    with NoSync():
        SAMPLERS[sampler](velocity, noise, clean, given, time_schedule(3))
    with pytest.raises(AssertionError, match="waits"), NoSync():
        noise.sum().item()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_step_waits_for_a_real_device(sampler: Any) -> None:
    model = random_model().cuda()
    clean, given = torch.zeros(1, 2, 3, 3, 8, 8, device="cuda"), border_given(2, 3)[None].cuda()
    noise = seeded_noise([0], clean.shape[1:]).cuda()
    velocity = grid_velocity(model, given, noise, guidance=Guidance(frames=2))
    torch.cuda.set_sync_debug_mode("error")
    try:
        SAMPLERS[sampler](velocity, noise, clean, given, time_schedule(3))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance", [Guidance(), Guidance(frames=1.5)])
def test_a_sample_does_not_depend_on_its_batch(sampler: Any, guidance: Guidance) -> None:
    model = random_model()
    clean = torch.rand(3, 2, 3, 3, 8, 8) * 2 - 1
    given = border_given(2, 3).expand(3, -1, -1)
    sampling = Sampling(3, sampler, 2.0, guidance)
    together = sample_grids(model, clean, given, [5, 6, 7], sampling)
    alone = sample_grids(model, clean[1:2], given[1:2], [6], sampling)
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["pixel", "wan"])
def test_a_model_in_bfloat16_samples_in_float32_close_to_itself(name: str) -> None:
    if name == "wan":
        pytest.importorskip("diffusers")
    model, text = lively_grid_model("soft", name), captions(name, 1)
    noisy, _, given = grid_input(2, 3, name, batch=1)
    sampling = Sampling(4, "unipc", guidance=Guidance(frames=1.5))
    exact = sample_grids(model, noisy, given, [0], sampling, text=text)
    coarse = sample_grids(model.bfloat16(), noisy, given, [0], sampling, text=text)
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - exact).abs().mean() < 0.05 * exact.abs().mean()


class TextModel(torch.nn.Module):
    """A velocity that says which text and which frames it saw, and counts its evaluations."""

    config = dataclasses.replace(CONFIG, prediction="velocity")

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.backbone = PixelBackbone(CONFIG)

    def forward(self, noisy: Tensor, time: Tensor, given: Tensor, text: Text | None = None) -> Tensor:
        self.calls.append(len(noisy))
        known = given.flatten(1).any(dim=1).to(noisy)
        word = torch.zeros_like(known) if text is None else text.embeddings[:, 0, 0]
        value = 0.5 * noisy.flatten(1).mean(dim=1) + 3 * known + 10 * word * (1 + known)
        return value.view(-1, 1, 1, 1, 1, 1).expand_as(noisy)


def _text(value: float) -> Text:
    return Text(torch.full((2, 4, 5), value), torch.ones(2, 4, dtype=torch.bool))


@pytest.mark.parametrize(
    ("guidance", "evaluations"),
    [(Guidance(), 1), (Guidance(2, 3), 3), (Guidance(1, 4), 2), (Guidance(3, 3), 2), (Guidance(0, 1), 3)],
)
def test_guidance_is_its_formula_and_costs_what_it_must(guidance: Guidance, evaluations: int) -> None:
    model: Any = TextModel()
    given = border_given(2, 2).expand(2, -1, -1)
    noise, noisy = seeded_noise([0, 1], (2, 2, 3, 8, 8)), seeded_noise([2, 3], (2, 2, 3, 8, 8))
    time = torch.tensor([0.8, 0.3])
    field = grid_velocity(model, given, noise, guidance=guidance, text=_text(1), negative=_text(-1))
    guided = field(noisy, time)
    assert model.calls == [2 * evaluations]

    none = torch.zeros_like(given)
    dropped = torch.where(given[..., None, None, None], add_noise(noisy, noise, time, none), noisy)
    nothing, frames = model(dropped, time, none, _text(-1)), model(noisy, time, given, _text(-1))
    full = model(noisy, time, given, _text(1))
    expected = nothing + guidance.frames * (frames - nothing) + guidance.text * (full - frames)
    torch.testing.assert_close(guided, expected, atol=1e-4, rtol=1e-5)


def test_scale_one_is_no_guidance_to_the_bit_and_frames_alone_are_two_evaluations() -> None:
    model = random_model()
    given, time = border_given(2, 3)[None], torch.tensor([0.6])
    noise, noisy = seeded_noise([0], (2, 3, 3, 8, 8)), seeded_noise([1], (2, 3, 3, 8, 8))
    plain = to_velocity(model(noisy, time, given), noisy, time, model.config)
    assert torch.equal(grid_velocity(model, given, noise, guidance=Guidance(1, 1))(noisy, time), plain)
    none = torch.zeros_like(given)
    dropped = torch.where(given[..., None, None, None], add_noise(noisy, noise, time, none), noisy)
    free = to_velocity(model(dropped, time, none), dropped, time, model.config)
    guided = grid_velocity(model, given, noise, guidance=Guidance(frames=2.5))(noisy, time)
    torch.testing.assert_close(guided, free + 2.5 * (plain - free), atol=1e-4, rtol=1e-4)


def test_guidance_without_what_it_needs_is_refused() -> None:
    model: Any = TextModel()
    given, noise = border_given(2, 2)[None], seeded_noise([0], (2, 2, 3, 8, 8))
    with pytest.raises(ValueError, match="guidance of text at 5 needs text and negative text"):
        grid_velocity(model, given, noise, guidance=Guidance(text=5))
    with pytest.raises(ValueError, match="needs negative text"):
        grid_velocity(model, given, noise, guidance=Guidance(text=5), text=_text(1))
    with pytest.raises(ValueError, match="no text that it would be the negative of"):
        grid_velocity(model, given, noise, negative=_text(1))
    with pytest.raises(ValueError, match="pass `noise`"):
        grid_velocity(model, given, guidance=Guidance(frames=2))
    short = Text(torch.zeros(2, 3, 5), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="are not alike"):
        grid_velocity(model, given, noise, guidance=Guidance(text=2), text=_text(1), negative=short)
    with pytest.raises(ValueError, match="guidance scale of frames is nan"):
        Guidance(frames=math.nan)
