"""The ONNX file gives PyTorch's tokens at any batch and grid, and says how its input is scaled."""

import json

import numpy as np
import pytest
import torch

from sarcast.errors import SettingsError
from sarcast.nn import export
from sarcast.nn.card import Card
from sarcast.nn.pretrained import Pretrained, load_encoder, save_encoder
from sarcast.nn.vit import Size, ViT


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(encoder, its ONNX file): two channels, and position terms too large to be missed."""
    folder = tmp_path_factory.mktemp("onnx")
    rng = torch.Generator().manual_seed(3)
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=4, channels=2, rng=rng)
    with torch.no_grad():
        for block in vit.blocks:
            block.attn.rpe_k.lookup_table_weight.normal_(generator=rng)
    save_encoder(folder / "encoder", Pretrained(vit=vit, card=Card(high_db=5, looks=9), window=6))
    return load_encoder(folder / "encoder"), export.export_onnx(folder / "encoder", folder / "new" / "x.onnx")


@pytest.fixture(scope="module")
def session(written):
    runtime = pytest.importorskip("onnxruntime")
    return runtime.InferenceSession(written[1], providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 8, 12), (5, 8, 12), (3, 24, 24), (2, 4, 40)])
def test_tokens_equal_those_of_torch(written, session, shape):
    batch, *image = shape
    pixels = torch.rand(batch, 2, *image, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = written[0].vit(pixels)
    (tokens,) = session.run(["tokens"], {"pixels": pixels.numpy()})
    assert tokens.shape == expected.shape
    np.testing.assert_allclose(tokens, expected, atol=1e-5, rtol=0)


def test_the_file_says_how_its_input_is_scaled(written, session):
    said = session.get_modelmeta().custom_metadata_map
    assert Card(**json.loads(said["card"])) == written[0].card
    assert (said["window"], said["patch"]) == ("6", "4")
    assert [axis.name for axis in (*session.get_inputs(), *session.get_outputs())] == ["pixels", "tokens"]


def test_nothing_else_is_left_beside_the_file(written):
    assert [path.name for path in written[1].parent.iterdir()] == ["x.onnx"]


def test_without_the_extra_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(export, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"extra `onnx` \(pip install 'sarcast\[onnx\]'\), found no onnx"):
        export.export_onnx(tmp_path, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
