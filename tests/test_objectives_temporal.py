"""Stage 3: one encoding a date gives the loss of one a window; invalid pixels reach nothing; no shrinking."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sarcast.errors import ShapeError
from sarcast.nn.card import Card
from sarcast.nn.fill import fill
from sarcast.nn.forecaster import Forecaster
from sarcast.nn.vit import Size, ViT
from sarcast.objectives.temporal import TemporalPrediction, standardised
from sarcast.train.augment import Augment
from sarcast.train.diagnostics import collapse, forecast_health
from sarcast.train.loop import Training, processes
from sarcast.train.sequences import Sequences, as_places, draw_places
from sarcast.train.stages import Phase, thaw, train_phases

K = 4
TARGETS = ("live", "stop_gradient", "ema")


def module_of(target="stop_gradient", *, cell=8, seed=0, stirred=True, context=K):
    """A tiny encoder and predictor; stirred: its correction is no longer zero."""
    rng = torch.Generator().manual_seed(seed)
    vit = ViT(Size(dim=16, depth=3, heads=2), patch=4, rng=rng)
    predictor = Forecaster(16, width=16, layers=1, heads=2, encoding="linear", seed=seed)
    if stirred:
        with torch.no_grad():
            predictor.correction.weight.normal_(0, 0.1, generator=rng)
            vit.patch_embed.proj.weight.mul_(20)
    return TemporalPrediction(vit, predictor, target=target, context=context, cell=cell)


def places_of(seed=0, *, n=3, dates=7, side=16, holes=True):
    rng = np.random.default_rng(seed)
    power = rng.gamma(4, 0.05, (n, dates, 1, side, side)).astype(np.float32)
    valid = np.ones((n, dates, side, side), bool)
    if holes:
        valid[0, 2, :9, :9] = valid[1, 5] = False
        valid[2, 3, 8:, 5] = False
    days = np.cumsum(rng.integers(1, 30, (n, dates)), 1).astype(np.float32)
    return as_places(Sequences(power=power, valid=valid, days=days), Card())


def slow_loss(module, pixels, valid, days):
    """Every window of every cell by itself, its K + 1 images encoded for it alone."""
    k, patch = module.context, module.encoder.patch
    side = pixels.shape[-1] // module.cell

    def cells_of(b, t, network=module.encoder):
        filled, share = fill(pixels[b, t][None], valid[b, t][None], patch)
        tokens, n = network(filled)[0], module.cell // patch
        found = {}
        for i in range(side):
            for j in range(side):
                box = (slice(i * n, i * n + n), slice(j * n, j * n + n))
                px = (
                    slice(i * module.cell, (i + 1) * module.cell),
                    slice(j * module.cell, (j + 1) * module.cell),
                )
                if valid[b, t][px].float().mean() >= 0.9:
                    weight = share[0][box][..., None]
                    found[i * side + j] = (tokens[box] * weight).sum((0, 1)) / weight.sum()
        return found

    def scale_of(network):
        every = [
            v
            for b in range(len(pixels))
            for t in range(pixels.shape[1])
            for v in cells_of(b, t, network).values()
        ]
        where = [
            c for b in range(len(pixels)) for t in range(pixels.shape[1]) for c in cells_of(b, t, network)
        ]
        groups = {
            c: torch.stack([v for v, w in zip(every, where, strict=True) if w == c]) for c in set(where)
        }
        means = {c: some.mean(0) for c, some in groups.items()}
        deviations = torch.cat([some - means[c] for c, some in groups.items()])
        return means, deviations.square().mean(0).sqrt()

    plain = module.kind == "live"
    mean, scale = (dict.fromkeys(range(side**2), 0.0), 1.0) if plain else scale_of(module.encoder)
    goal_mean, goal_scale = (mean, scale) if module.slow is None else scale_of(module.slow)
    losses = []
    for b in range(len(pixels)):
        for t in range(k, pixels.shape[1]):
            for c in range(side**2):
                before = [cells_of(b, s) for s in range(t - k, t)]
                goals = cells_of(b, t, module.slow or module.encoder)
                ok = [c in found for found in before]
                if c not in goals or sum(ok) < 3:
                    continue
                goal = (goals[c] - goal_mean[c]) / goal_scale
                goal = goal if plain else goal.detach()
                zero = torch.zeros_like(goal)
                values = torch.stack([(f[c] - mean[c]) / scale if c in f else zero for f in before])
                frame = []
                for found in before:
                    others = [
                        ((v - mean[other]) / scale).detach() for other, v in found.items() if other != c
                    ]
                    frame.append(torch.stack(others).mean(0) if others else zero)
                frame = torch.stack(frame)
                frame = torch.cat([frame - frame[torch.tensor(ok)].mean(0), zero[None]])
                told = (
                    values[None],
                    torch.tensor([ok]),
                    frame[None],
                    (days[b, t] - days[b, t - k : t])[None],
                )
                guess = module.predictor(*told, torch.zeros(1, k + 1, 0))[0]
                losses.append(torch.nn.functional.smooth_l1_loss(guess, goal))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("target", TARGETS)
def test_one_encoding_a_date_equals_one_a_window(target):
    """Same loss and same gradient of every parameter."""
    module = module_of(target)
    if target == "ema":
        with torch.no_grad():
            for p in module.slow.parameters():
                p.mul_(1.1)
    places = places_of()
    found = []
    for way in (module, lambda *told: slow_loss(module, *told)):
        module.zero_grad()
        loss = way(*places)
        loss.backward()
        found.append(
            (loss.detach(), {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None})
        )
    (fast, quick), (slow, plain) = found
    assert float(fast) == pytest.approx(float(slow), rel=1e-5)
    assert set(quick) == set(plain) and len(quick) == sum(p.requires_grad for p in module.parameters())
    assert max(float(g.abs().max()) for g in plain.values()) > 0.01
    for name, gradient in plain.items():
        np.testing.assert_allclose(quick[name], gradient, atol=1e-5, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("target", TARGETS)
def test_invalid_pixels_reach_nothing(target):
    module = module_of(target)
    pixels, valid, days = places_of()
    other = torch.where(valid[:, :, None], pixels, torch.rand(pixels.shape, generator=torch.Generator()))
    assert not torch.equal(pixels, other)
    a, b = (module(x, valid, days) for x in (pixels, other))
    assert torch.equal(a, b)


def test_cells_with_few_valid_pixels_are_left_out():
    """The loss is that of the same places with those cells' dates gone; none at all is a loss of 0."""
    module = module_of()
    pixels, valid, days = places_of()
    _, seen = module.cells(pixels, valid)
    assert not seen[0, 2, 0] and not seen[1, 5].any() and seen[2, 3, :2].all() and not seen[2, 3, 2]
    windows = module.windows(*(module.cells(pixels, valid)[0],) * 2, seen, days)
    assert len(windows.goal) == sum(
        int(seen[b, t, c] and seen[b, t - K : t, c].sum() >= 3)
        for b in range(3)
        for t in range(K, 7)
        for c in range(4)
    )
    nothing = module(pixels, torch.zeros_like(valid), days)
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize(("cell", "expected"), [(4, 16), (6, 4), (8, 4), (16, 1)])
def test_cells_need_not_be_whole_tokens(cell, expected):
    pixels, valid, _ = places_of()
    vectors, seen = module_of(cell=cell).cells(pixels, valid)
    assert vectors.shape == (3, 7, expected, 16) and seen.shape == (3, 7, expected)
    tokens = module_of(cell=cell).encoder(pixels[2, 0][None])[0]
    if cell == 6:
        weight = torch.tensor([4.0, 2.0])
        mean = (tokens[:2, :2] * weight[:, None, None] * weight[None, :, None]).sum((0, 1)) / 36
        torch.testing.assert_close(vectors[2, 0, 0], mean)


def test_days_and_gaps_reach_the_forecast():
    module = module_of()
    pixels, valid, days = places_of()
    moved, later = days.clone(), days.clone()
    moved[:, 2:] += 50
    later[:, -1] += 50
    losses = [float(module(pixels, valid, some).detach()) for some in (days, days + 100, moved, later)]
    assert losses[0] == losses[1], "days count from date to date only"
    assert len(set(losses[1:])) == 3


def test_no_gradient_passes_the_target():
    """Unless it is live: the last date, always a target, gets none."""
    pixels, valid, days = places_of(dates=K + 1, holes=False)
    for target in TARGETS:
        module = module_of(target)
        vectors, seen = module.cells(pixels, valid)
        vectors = vectors.detach().requires_grad_(True)
        windows = module.windows(vectors, module.goals(pixels, valid, vectors), seen, days)
        assert windows.goal.requires_grad == (target == "live")
        assert not windows.frame.requires_grad


def test_standardised_loss_does_not_see_the_size_of_vectors():
    module = module_of()
    pixels, valid, days = places_of()
    vectors, seen = module.cells(pixels, valid)
    vectors = vectors.detach().requires_grad_(True)
    windows = module.windows(vectors, vectors.detach(), seen, days)
    module.loss(module.predict(windows), windows.goal).backward()
    gain = (vectors.grad * vectors).sum((0, 1, 2)).abs()
    centred = standardised(vectors.detach(), seen)
    assert float((vectors.grad * centred).sum((0, 1, 2)).abs().max()) < 1e-5
    assert float(vectors.grad.sum((0, 1, 2)).abs().max()) < 1e-5 and gain.shape == (16,)
    np.testing.assert_allclose(centred[seen].var(0, correction=0), 1, rtol=1e-4)


def test_untrained_it_is_the_context_mean():
    module = module_of(stirred=False)
    found = forecast_health(module, *places_of(), seed=0)
    assert found.skill_mean == pytest.approx(0, abs=1e-6) and found.skill_last is not None
    assert found.skill_last > 0.2, "noise: the mean of three or four beats the last one"
    assert found == forecast_health(module, *places_of(), seed=1)


def test_health_is_that_of_a_plain_loop():
    module = module_of()
    pixels, valid, days = places_of(n=6)
    found = forecast_health(module, pixels, valid, days, seed=0)
    with torch.no_grad():
        vectors, seen = module.cells(pixels, valid)
        windows = module.windows(vectors, vectors, seen, days)
        guess = module.predict(windows)
    goal = windows.goal.numpy()
    error = ((guess.numpy() - goal) ** 2).mean()
    lasts, means = [], []
    for value, ok in zip(windows.values.numpy(), windows.valid.numpy(), strict=True):
        lasts.append(value[np.flatnonzero(ok)[-1]])
        means.append(value[ok].mean(0))
    assert found.loss == pytest.approx(float(slow_loss(module, pixels, valid, days).detach()), rel=1e-4)
    assert found.normalised_error == pytest.approx(error / goal.var(0).mean(), rel=1e-4)
    assert found.skill_last == pytest.approx(1 - error / ((lasts - goal) ** 2).mean(), rel=1e-4)
    assert found.skill_mean == pytest.approx(1 - error / ((means - goal) ** 2).mean(), rel=1e-4)


def test_what_cannot_work_is_refused():
    pixels, valid, days = places_of()
    with pytest.raises(ShapeError, match="at least 5 dates to forecast from 4, found 4"):
        module_of()(pixels[:, :4], valid[:, :4], days[:, :4])
    with pytest.raises(ShapeError, match="at least one cell of 20 px, found 16 x 16"):
        module_of(cell=20)(pixels, valid, days)


def test_phase_a_trains_the_last_blocks_and_the_norm_alone():
    module = module_of()
    thaw(module.encoder, 1)
    names = {n for n, p in module.encoder.named_parameters() if p.requires_grad}
    assert all(n.startswith(("blocks.2.", "norm.")) for n in names) and "norm.weight" in names
    thaw(module.encoder, None)
    assert all(p.requires_grad for p in module.encoder.parameters())


def on_speckle(target, folder):
    """Both phases on pure i.i.d. speckle: what the encoder is worth before and after, on held-out places."""
    rng = np.random.default_rng(11)

    def cut(n):
        power = rng.gamma(4, 0.05, (n, 9, 1, 16, 16)).astype(np.float32)
        valid, days = np.ones((n, 9, 16, 16), bool), np.tile(np.arange(9, dtype=np.float32) * 6, (n, 1))
        return Sequences(power=power, valid=valid, days=days)

    some, held_out = cut(40), as_places(cut(12), Card())
    told = Training(epochs=3, steps=25, batch=4, learning_rate=3e-3, device="cpu")
    module = module_of(target, stirred=False, seed=1)
    with processes(told) as fabric:
        histories = train_phases(
            module,
            lambda phase, step, part: draw_places(
                some,
                Card(),
                Augment(gain_db=0),
                size=4,
                crop=16,
                rng=np.random.default_rng([phase, step, part]),
            ),
            (
                Phase(name="A", training=told, blocks=2, share=1.0),
                Phase(name="B", training=told, blocks=None, share=1.0),
            ),
            held_out=held_out,
            fabric=fabric,
            state=lambda phase: folder / phase,
            fingerprint="a",
            seed=0,
            report=lambda *_: None,
        )
    return histories["A"].epochs[0], histories["B"].epochs[-1]


@pytest.mark.parametrize("target", TARGETS)
def test_noise_shrinks_the_published_way_only_and_that_is_reported(target, tmp_path):
    """There is nothing to learn, and yet the live target's loss falls many-fold (T-SAR-JEPA, stage 3)."""
    start, end = on_speckle(target, tmp_path)
    wrong = collapse(end, start)
    assert end.skill_mean < 1 / (K + 1) + 0.02 and end.normalised_error > 0.95, "no skill on noise"
    if target == "live":
        assert end.spread < 0.2 * start.spread and end.held_out < 0.1 * start.held_out
        assert wrong is not None and "spread" in wrong
    else:
        assert end.spread > 0.8 * start.spread and wrong is None
