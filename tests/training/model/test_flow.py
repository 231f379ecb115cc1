"""Identities of the flow, the sampler and its seeds; and that the whole thing learns."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from fourreal.training.model import FREEZE_TIME, GridModel, PixelBackbone, PixelConfig
from fourreal.training.model.flow import (
    TimeSampling,
    add_noise,
    draw_noise,
    sample_times,
    to_clean,
    to_velocity,
    velocity_error,
    velocity_loss,
    weighted,
)
from fourreal.training.model.sampling import (
    border_given,
    generate_grids,
    sample_euler,
    seeded_noise,
    sequence_velocity,
    time_schedule,
)

CONFIG = PixelConfig(height=8, width=8, patch_size=4, hidden_dim=32, depth=2, heads=2)
VELOCITY = dataclasses.replace(CONFIG, prediction="velocity")


def pair(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean, noise = (torch.randn(2, 2, 3, 3, 8, 8, generator=generator) for _ in range(2))
    return clean, noise, border_given(2, 3).expand(2, -1, -1)


def test_time_one_is_noise_and_time_zero_is_data() -> None:
    clean, noise, given = pair()
    nothing = torch.zeros_like(given)
    assert torch.equal(add_noise(clean, noise, torch.ones(2), nothing), noise)
    assert torch.equal(add_noise(clean, noise, torch.zeros(2), nothing), clean)
    mixed = add_noise(clean, noise, torch.ones(2), given)
    assert torch.equal(mixed[given], clean[given])
    assert torch.equal(mixed[~given], noise[~given])


@pytest.mark.parametrize("steps", [1, 3])
def test_euler_with_the_exact_velocity_recovers_the_data(steps: int) -> None:
    clean, noise, given = pair()
    out = sample_euler(lambda z, s: noise - clean, noise, clean, given, time_schedule(steps))
    torch.testing.assert_close(out, clean, atol=1e-5, rtol=1e-5)
    assert torch.equal(out[given], clean[given])


def test_clean_and_velocity_parametrisations_agree() -> None:
    clean, noise, given = pair()
    time = torch.tensor([0.3, 1.0])
    noisy = add_noise(clean, noise, time, torch.zeros_like(given))
    velocity = noise - clean
    torch.testing.assert_close(to_velocity(clean, noisy, time, CONFIG), velocity, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(to_clean(velocity, noisy, time, VELOCITY), clean, atol=1e-5, rtol=1e-4)
    guess = torch.randn_like(clean)
    implied = to_velocity(guess, noisy, time, CONFIG)
    losses = [
        velocity_loss(guess, clean, noise, time, given, config=CONFIG),
        velocity_loss(implied, clean, noise, time, given, config=VELOCITY),
    ]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-4)


def test_exact_prediction_has_no_loss_even_below_the_floor() -> None:
    clean, noise, given = pair()
    assert velocity_loss(clean, clean, noise, torch.tensor([0.0, 0.01]), given, config=CONFIG) == 0


def test_given_frames_do_not_count_in_the_loss() -> None:
    clean, noise, given = pair()
    guess = torch.zeros_like(clean)
    spoiled = torch.where(given[..., None, None, None], torch.full_like(guess, 9.0), guess)
    time = torch.ones(2)
    losses = [velocity_loss(g, clean, noise, time, given, config=VELOCITY) for g in (guess, spoiled)]
    assert losses[0] == losses[1]
    torch.testing.assert_close(losses[0], (noise - clean)[~given].square().mean())


@pytest.mark.parametrize("config", [CONFIG, VELOCITY], ids=["clean", "velocity"])
def test_the_weight_of_clean_frames_makes_their_error_of_the_velocitys(config: PixelConfig) -> None:
    clean, noise, _ = pair()
    given, time = torch.zeros(2, 2, 3, dtype=torch.bool), torch.tensor([0.3, 1.0])
    noisy = add_noise(clean, noise, time, given)
    prediction = clean + 0.1 * noise if config.prediction == "clean" else noise - 0.9 * clean
    error = velocity_error(prediction, clean, noise, time, given, config=config)
    guess = to_clean(prediction, noisy, time, config)
    expected = (guess - clean).square().mean(dim=(-3, -2, -1))
    torch.testing.assert_close(weighted(error, time, TimeSampling(weight="clean"), config), expected)
    assert torch.equal(weighted(error, time, TimeSampling(), config), error)


def test_to_the_logarithm_easy_frames_and_hard_ones_count_alike() -> None:
    clean, noise, _ = pair()
    given, time = torch.zeros(2, 2, 3, dtype=torch.bool), torch.tensor([0.3, 1.0])
    size = torch.tensor([0.1, 1.0, 10.0])[:, None, None, None]  # of the errors of a sample's frames
    amount = torch.ones(2, 2, 3, 1, 1, 1, requires_grad=True)
    error = velocity_error(clean + amount * size * noise, clean, noise, time, given, config=CONFIG)
    weighted(error, time, TimeSampling(weight="log"), CONFIG).sum().backward()
    assert amount.grad is not None
    # d log(a^2 e) / da = 2 at a = 1, whatever e
    torch.testing.assert_close(amount.grad, torch.full_like(amount.grad, 2.0), rtol=0.03, atol=0.0)
    still = velocity_error(clean, clean, noise, time, given, config=CONFIG)
    assert not weighted(still, time, TimeSampling(weight="log"), CONFIG).any()


def test_a_quarter_of_the_times_is_pure_noise() -> None:
    times = sample_times(4000, torch.Generator().manual_seed(0))
    assert abs((times == 1).float().mean() - 0.25) < 0.03
    others = times[times < 1]
    assert abs(others.mean() - 0.5) < 0.03
    assert (others >= 0).all()


@pytest.mark.parametrize("part", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("density", ["uniform", "logit-normal"])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_times_have_their_density_and_a_part_of_pure_noise(part: float, density: str, shift: float) -> None:
    """Shifting back and, for the logit-normal density, taking the logit give a density that is known."""
    sampling = TimeSampling(density=density, logit_mean=0.5, logit_std=2.0, shift=shift, pure_noise=part)  # type: ignore[arg-type]
    times = sample_times(20_000, torch.Generator().manual_seed(0), sampling).double()
    assert ((times >= 0) & (times <= 1)).all()
    assert abs((times == 1).double().mean() - part) < 0.01
    others = times[times < 1]
    if part == 1.0:
        assert len(others) == 0
        return
    even = others / (shift - (shift - 1) * others)  # the inverse of the shift
    if density == "logit-normal":
        logits = torch.logit(even)
        assert abs(logits.mean() - 0.5) < 0.06
        assert abs(logits.std() - 2.0) < 0.06
        even = 0.5 * (1 + torch.erf((logits - 0.5) / (2.0 * 2**0.5)))
    quantiles = torch.quantile(even, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    torch.testing.assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), atol=0.02, rtol=0)


ON_CUDA = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=ON_CUDA)])
def test_noise_follows_from_the_generator_and_is_new_at_every_draw(device: str) -> None:
    where, shape = torch.device(device), (4, 50, 50)
    generator = torch.Generator().manual_seed(5)
    state = generator.get_state()
    first, second = draw_noise(shape, generator, where), draw_noise(shape, generator, where)
    assert first.device.type == device
    assert abs(float(first.mean())) < 0.05
    assert float(first.std()) == pytest.approx(1, abs=0.05)
    assert (first - second).abs().mean() > 0.5
    generator.set_state(state)
    torch.testing.assert_close(draw_noise(shape, generator, where), first, rtol=0, atol=0)


def test_senseless_times_are_refused() -> None:
    for wrong in ({"pure_noise": 1.5}, {"shift": 0.0}, {"logit_std": 0.0}):
        with pytest.raises(ValueError, match=r"; give|; 1 leaves"):
            TimeSampling(**wrong)


def trained_like(architecture: str = "soft") -> GridModel:
    torch.manual_seed(0)
    model = GridModel(PixelBackbone(CONFIG), architecture)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def test_sampling_keeps_given_frames_and_every_sample_has_its_own_seed() -> None:
    model = trained_like()
    clean = torch.rand(3, 2, 3, 3, 8, 8) * 2 - 1
    given = border_given(2, 3).expand(3, -1, -1)
    together = generate_grids(model, clean, given, 2, [5, 6, 7])
    assert torch.equal(together[given], clean[given])
    alone = generate_grids(model, clean[1:2], given[1:2], 2, [6])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)
    assert torch.equal(seeded_noise([5, 6], (4,))[1], seeded_noise([6], (4,))[0])
    other = generate_grids(model, clean[1:2], given[1:2], 2, [8])
    assert not torch.allclose(alone, other)
    with pytest.raises(ValueError, match="one seed per grid"):
        generate_grids(model, clean, given, 2, [1])


def test_unknown_frames_of_the_input_are_never_read() -> None:
    model = trained_like()
    clean = torch.rand(1, 2, 3, 3, 8, 8) * 2 - 1
    given = border_given(2, 3)[None]
    spoiled = clean.clone()
    spoiled[~given] = float("nan")
    assert torch.equal(generate_grids(model, clean, given, 2, [1]), generate_grids(model, spoiled, given, 2, [1]))


def test_callback_and_schedule() -> None:
    clean, noise, given = pair()
    seen: list[int] = []
    sample_euler(lambda z, s: z * 0, noise, clean, given, time_schedule(3), callback=lambda step, z: seen.append(step))
    assert seen == [0, 1, 2]
    assert time_schedule(2) == [1.0, 0.5, 0.0]
    with pytest.raises(ValueError, match="at least 1"):
        time_schedule(0)


def moving_squares(frames: int) -> Tensor:
    """[F, 3, 8, 8] in [-1, 1]: a bright square that moves one pixel a frame."""
    out = np.full((frames, 3, 8, 8), -1, dtype=np.float32)
    for index in range(frames):
        out[index, :, 2:5, index : index + 3] = 1
    return torch.from_numpy(out)


def test_a_base_model_learns_one_sequence() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, hidden_dim=64)  # wider than a patch of 48 numbers
    model = PixelBackbone(config)
    clean = moving_squares(4)[None].expand(4, -1, -1, -1, -1)
    given = torch.tensor([True, False, False, False]).expand(4, -1)
    context = torch.full((4,), FREEZE_TIME)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(300):
        noise = torch.randn(clean.shape, generator=generator)
        time = sample_times(4, generator)
        prediction = model(add_noise(clean, noise, time, given), time, given, context)
        loss = velocity_loss(prediction, clean, noise, time, given, config=config)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.2 * np.mean(losses[:20])
    velocity = sequence_velocity(model.eval(), given[:1], context[:1])
    made = sample_euler(velocity, seeded_noise([3], clean.shape[1:]), clean[:1], given[:1], time_schedule(8))
    assert (made - clean[:1]).abs().mean() < 0.25


@pytest.mark.parametrize("architecture", ["soft", "hard"])
def test_synchronization_alone_lowers_the_loss_on_one_grid(architecture: str) -> None:
    model = trained_like(architecture)
    grid = torch.stack([moving_squares(3).roll(view, dims=-2) for view in range(3)])[None]
    given = border_given(3, 3)[None]
    optimizer = torch.optim.AdamW(model.trainable_parameters("sync-only"), 3e-3)
    time, noise = torch.ones(1), seeded_noise([0], grid.shape[1:])
    losses = []
    for _ in range(40):
        prediction = model(add_noise(grid, noise, time, given), time, given)
        loss = velocity_loss(prediction, grid, noise, time, given, config=CONFIG)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
