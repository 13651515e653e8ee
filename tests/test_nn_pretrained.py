"""A folder of weights tells all that is needed; a public file needs a card; what does not fit is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sarcast.errors import ArtefactError, SettingsError
from sarcast.nn.card import Card
from sarcast.nn.checkpoint_layout import to_public, write_public
from sarcast.nn.pretrained import Pretrained, find_weights, load_encoder, save_encoder, weight_files
from sarcast.nn.vit import Size, ViT
from sarcast.runtime.model import load_model, save_model


@pytest.fixture
def made():
    vit = ViT(
        Size(dim=24, depth=2, heads=2), patch=4, channels=2, ratio=2.0, rng=torch.Generator().manual_seed(3)
    )
    return Pretrained(vit=vit, card=Card(high_db=5, looks=9), window=6, about={"steps": 7})


def test_a_folder_comes_back(made, tmp_path):
    save_encoder(tmp_path / "encoder", made)
    back = load_encoder(tmp_path / "encoder")
    assert (back.card, back.window, back.about) == (made.card, made.window, made.about)
    assert (back.vit.size, back.vit.patch, back.vit.channels, back.vit.ratio) == (made.vit.size, 4, 2, 2.0)
    assert not back.vit.training
    image = torch.rand(1, 2, 8, 12)
    with torch.no_grad():
        assert torch.equal(back.vit(image), made.vit(image))


def test_half_the_bytes_give_float32_within_half_precision(made, tmp_path):
    for half in (False, True):
        save_encoder(tmp_path / str(half), made, half=half)
    whole, half = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("False", "True"))
    _, arrays = load_model(tmp_path / "True")
    numbers = sum(a.size for a in arrays.values())
    assert whole - half == pytest.approx(2 * numbers, abs=200)
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float16)}
    back = load_encoder(tmp_path / "True").vit
    for a, b in zip(back.parameters(), made.vit.parameters(), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b.detach(), rtol=2**-11, atol=1e-7)


def test_weights_that_come_with_sarcast_go_by_name(made, tmp_path, monkeypatch):
    monkeypatch.setattr("sarcast.nn.pretrained.SHIPPED", tmp_path / "weights")
    with pytest.raises(ArtefactError, match="a name in none that comes with sarcast"):
        find_weights(Path("our-micro"))
    save_encoder(tmp_path / "weights" / "our-micro", made)
    assert find_weights(Path("our-micro")) == tmp_path / "weights" / "our-micro"
    assert load_encoder(Path("our-micro")).about == made.about
    assert [p.name for p in weight_files(Path("our-micro"))] == ["config.json", "model.safetensors"]
    with pytest.raises(ArtefactError, match="a name in our-micro that comes with sarcast, found nothing"):
        find_weights(Path("nowhere/our-micro"))
    monkeypatch.chdir(tmp_path)
    save_encoder(Path("our-micro"), replace(made, about={"steps": 8}))
    assert load_encoder(Path("our-micro")).about == {"steps": 8}, "a folder of that name comes first"


def test_a_public_file_needs_a_card(tmp_path):
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=torch.Generator().manual_seed(3))
    write_public(tmp_path / "a.pth", to_public(vit, grid=(8, 8)))
    with pytest.raises(SettingsError, match="expected a card"):
        load_encoder(tmp_path / "a.pth")
    back = load_encoder(tmp_path / "a.pth", card=Card(name="minmax_patch"))
    assert (back.vit.size, back.vit.patch, back.window) == (vit.size, 4, 14)
    assert all(torch.equal(a, b) for a, b in zip(back.vit.parameters(), vit.parameters(), strict=True))


@pytest.mark.shared
def test_the_golden_file_gives_the_golden_tokens(shared):
    golden = np.load(shared / "golden" / "sarjepa_small.npz")
    found = load_encoder(shared / "golden" / "sarjepa_small.pth", card=Card(name="minmax_patch"))
    with torch.no_grad():
        tokens = found.vit.tokens(torch.from_numpy(golden["images"]))
    np.testing.assert_allclose(tokens, golden["tokens"], atol=1e-5, rtol=0)


def test_what_does_not_fit_is_refused(made, tmp_path):
    folder = tmp_path / "encoder"
    save_encoder(folder, made)
    with pytest.raises(SettingsError, match="no card beside a folder"):
        load_encoder(folder, card=Card())
    config, arrays = load_model(folder)
    lost = {name: array for name, array in arrays.items() if name != "norm.bias"}
    save_model(folder, config=config, arrays=lost)
    with pytest.raises(ArtefactError, match=r"expected a tensor norm\.bias"):
        load_encoder(folder)
    for broken, match in (
        ({**config, "version": 2}, "version 1, found 'vit' of version 2"),
        ({k: v for k, v in config.items() if k != "card"}, "'card'"),
        ({**config, "size": {"dim": 24}}, "whole config.json"),
    ):
        (folder / "config.json").write_text(json.dumps(broken))
        with pytest.raises(ArtefactError, match=match):
            load_encoder(folder)
    with pytest.raises(ArtefactError, match="found nothing"):
        load_encoder(tmp_path / "none.pth", card=Card())
