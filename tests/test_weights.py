"""The weights that come with sarcast: small, described, loaded by name, and better than random ones."""

from pathlib import Path

import numpy as np
import pytest

from sarcast.encoders.vit import Vit
from sarcast.nn.pretrained import SHIPPED, find_weights, load_encoder
from sarcast.runtime.settings import build, read_yaml
from sarcast.steps.pretrain import Pretrain

NAMES = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
RECIPES = SHIPPED.parent / "recipes"


def test_there_are_some():
    assert "sarcast-tiny" in NAMES


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_small_and_described(self, name):
        from safetensors import safe_open

        folder = find_weights(Path(name))
        assert sum(path.stat().st_size for path in folder.iterdir()) <= 12e6
        with safe_open(folder / "model.safetensors", framework="np") as stream:
            assert {stream.get_tensor(key).dtype for key in stream.keys()} == {np.dtype("float16")}  # noqa: SIM118
        card = (folder / "README.md").read_text(encoding="utf-8").lower()
        assert all(word in card for word in ("licence", "seed", "hour", "data", "[", "random"))

    def test_says_how_it_was_made(self, name):
        about = load_encoder(find_weights(Path(name))).about
        assert about["judged_dates_seen"] is False and about["stages"] == ["pretrain"]
        recipe = RECIPES / f"pretrain-{name}.yaml"
        settings = build(Pretrain, {"out": "somewhere", **read_yaml(recipe)}, where=str(recipe))
        training = settings.training
        assert about["images"] == training.epochs * training.steps * training.batch * training.parts
        assert about["objective"] == settings.objective and about["simulated"] == settings.simulated

    def test_features_by_name_tell_places_apart(self, name, make_stack, rng):
        """Places differ more than looks at one place do, and more so than for random weights."""
        stack = make_stack(rng, (96, 96), dates=6, bands=("VV",))

        def ratio(encoder):
            values = encoder.encode(stack).values.reshape(6, 36, -1)
            within = values.var(0).mean(0).sum()
            return values.mean(0).var(0).sum() / within

        trained = Vit(weights=Path(name), patch=16)
        assert trained.encode(stack, [0]).encoder == "vit"
        assert ratio(trained) > ratio(Vit(random_init="micro", patch=16))
