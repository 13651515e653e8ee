"""A follower: the average of what the online network was; no gradient; a decay that rises to its end."""

import pytest
import torch
from jaxtyping import install_import_hook
from torch import nn

from sarcast.errors import SettingsError

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.ema import decay_at, follow, follower


def test_it_follows_by_the_formula_and_takes_no_gradient():
    online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    target = follower(online)
    expected = {name: value.clone() for name, value in target.named_parameters()}
    for step in range(5):
        with torch.no_grad():
            for parameter in online.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step)))
        online(torch.rand(8, 3))
        follow(target, online, decay=0.9)
        expected = {n: 0.9 * expected[n] + 0.1 * p.detach() for n, p in online.named_parameters()}
    for name, value in target.named_parameters():
        torch.testing.assert_close(value, expected[name])
        assert not value.requires_grad
    assert torch.equal(target[1].running_mean, online[1].running_mean)
    assert online[0].weight.requires_grad
    assert not target.training


@pytest.mark.parametrize(("decay", "same_as"), [(0.0, "online"), (1.0, "start")])
def test_the_ends_of_the_range(decay, same_as):
    online = nn.Linear(3, 4)
    target = follower(online)
    start = target.weight.clone()
    with torch.no_grad():
        online.weight.add_(1)
    follow(target, online, decay=decay)
    torch.testing.assert_close(target.weight, {"online": online.weight.detach(), "start": start}[same_as])


def test_the_decay_rises_to_its_end():
    decays = [decay_at(step, 10, start=0.9, end=0.99) for step in range(12)]
    assert decays == sorted(decays)
    assert (decays[0], decays[10], decays[11]) == pytest.approx((0.9, 0.99, 0.99))
    assert decays[5] == pytest.approx(0.945)


def test_a_decay_out_of_range_is_refused():
    with pytest.raises(SettingsError, match="expected a decay in"):
        follow(nn.Linear(1, 1), nn.Linear(1, 1), decay=1.1)
