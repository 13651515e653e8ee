"""The public layout: loads whole, refuses by name, runs nothing, and comes back bit for bit."""

import argparse
import os
import re

import pytest
import torch
from jaxtyping import install_import_hook

from sarcast.errors import ArtefactError

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.checkpoint_layout import load_public, read_public, size_of, to_public, write_public
    from sarcast.nn.vit import Size, ViT
    from sarcast.objectives import OBJECTIVES

    LocalMaskedGradient = OBJECTIVES["local_masked_gradient"]

SETTINGS = LocalMaskedGradient(predictor_dim=16, predictor_depth=1, predictor_heads=2)


def objective(seed=0):
    rng = torch.Generator().manual_seed(seed)
    return SETTINGS.module(ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=rng), rng=rng)


@pytest.fixture
def weights():
    return to_public(objective(1), grid=(8, 8))


def test_names_are_those_of_the_public_file():
    """289 tensors and, kernels apart, 111,596,544 values: ViT-Base, 8 predictor blocks, 14 x 14 patches."""
    with torch.device("meta"):
        model = LocalMaskedGradient().module(ViT.named("base", rng=torch.Generator()), rng=torch.Generator())
    sizes = {name.removeprefix("encoder."): value.numel() for name, value in model.state_dict().items()}
    position, kernels = 1, 4 * 4
    assert len(sizes) + position + kernels == 289
    assert sum(sizes.values()) + 197 * 768 == 111_596_544


@pytest.mark.shared
def test_the_golden_file_loads_strictly_and_comes_back(shared, tmp_path):
    given = read_public(shared / "golden" / "sarjepa_small.pth")
    rng = torch.Generator()
    encoder, predictor = size_of(given), size_of(given, blocks="decoder_blocks")
    settings = LocalMaskedGradient(
        predictor_dim=predictor.dim, predictor_depth=predictor.depth, predictor_heads=predictor.heads
    )
    model = settings.module(ViT(encoder, rng=rng), rng=rng)
    load_public(model, given)
    write_public(tmp_path / "back.pth", to_public(model, grid=(8, 8)), epoch=200)
    back = read_public(tmp_path / "back.pth")
    assert back.keys() == given.keys()
    assert all(torch.equal(back[name], given[name]) for name in given)


def test_an_encoder_alone_takes_its_part(weights):
    encoder = ViT(Size(dim=24, depth=2, heads=2), patch=4, rng=torch.Generator())
    load_public(encoder, weights)
    state = encoder.state_dict()
    assert all(torch.equal(state[name], weights[name]) for name in state)
    assert set(to_public(encoder, grid=(8, 8))) == {*state, "pos_embed"}


def test_an_objective_comes_back_through_a_file(weights, tmp_path):
    write_public(tmp_path / "a.pth", weights, epoch=3)
    model = objective(2)
    load_public(model, read_public(tmp_path / "a.pth"))
    again = to_public(model, grid=(8, 8))
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    "name",
    ["cls_token", "blocks.1.attn.rpe_k.lookup_table_weight", "encoder_pred.bias", "decoder_pred.weight"],
)
def test_a_missing_or_misshapen_tensor_is_refused_by_name(weights, name):
    model, before = objective(2), objective(2).state_dict()
    kept = weights.pop(name)
    with pytest.raises(ArtefactError, match=rf"expected a tensor {re.escape(name)} .*found none, in x.pth"):
        load_public(model, weights, where="x.pth")
    weights[name] = torch.zeros(*kept.shape, 2)
    with pytest.raises(ArtefactError, match=rf"expected {re.escape(name)} of shape"):
        load_public(model, weights)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_an_unknown_tensor_or_other_kernels_are_refused_by_name(weights):
    model = objective()
    with pytest.raises(ArtefactError, match=r"expected no tensor blocks\.2\.norm1\.bias"):
        load_public(model, {**weights, "blocks.2.norm1.bias": torch.zeros(24)})
    with pytest.raises(
        ArtefactError, match=r"sarfeature2\.weight_x1 to be the half-window kernel of radius 9"
    ):
        load_public(model, {**weights, "sarfeature2.weight_x1": torch.ones(1, 1, 19, 19)})


def test_the_constants_may_be_absent(weights):
    bare = {k: v for k, v in weights.items() if k != "pos_embed" and not k.startswith("sarfeature")}
    assert len(weights) - len(bare) == 17
    load_public(objective(), bare)


def test_the_namespace_such_files_carry_is_let_through(weights, tmp_path):
    args = argparse.Namespace(lr=1e-3, model="base", betas=(0.9, 0.95))
    torch.save({"model": weights, "epoch": 200, "args": args, "optimizer": {"state": {}}}, tmp_path / "a.pth")
    assert read_public(tmp_path / "a.pth").keys() == weights.keys()


class Malicious:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_malicious_pickle_is_refused_and_not_executed(weights, tmp_path):
    for file, legacy in (("new.pth", True), ("old.pth", False)):
        torch.save(
            {"model": weights, "args": Malicious(tmp_path / "broken-in")},
            tmp_path / file,
            _use_new_zipfile_serialization=legacy,
        )
        with pytest.raises(ArtefactError, match=rf"expected plain tensors, found .*mkdir.*{file}"):
            read_public(tmp_path / file)
    assert not (tmp_path / "broken-in").exists()


def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path):
    with pytest.raises(ArtefactError, match="found nothing"):
        read_public(tmp_path / "none.pth")
    for name, content in {
        "empty.pth": b"",
        "text.pth": b"hello there",
        "cut.pth": b"PK\x03\x04" + bytes(50),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ArtefactError, match=name):
            read_public(tmp_path / name)
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    with pytest.raises(ArtefactError, match='under "model", found none'):
        read_public(tmp_path / "other.pth")
    with pytest.raises(ArtefactError, match=r"blocks\.0\.norm1\.weight"):
        size_of({})
