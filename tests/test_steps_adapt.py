"""adapt: an encoder goes on learning on a site's history; what it saw before and now stays written down."""

import csv
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sarcast.cli import main
from sarcast.encoders.vit import Vit
from sarcast.errors import ArtefactError, SettingsError
from sarcast.nn.card import Card
from sarcast.nn.checkpoint_layout import to_public, write_public
from sarcast.nn.pretrained import Pretrained, load_encoder, save_encoder
from sarcast.nn.vit import Size, ViT
from sarcast.runtime.artefact import require, writing
from sarcast.sar.simulate import SimulateScene, simulate
from sarcast.stack.store import Header, StackWriter, read_stack
from sarcast.steps.adapt import Adapt, adapt
from sarcast.train.loop import Training

OPTIONS = {"predictor_dim": 12, "predictor_depth": 1, "predictor_heads": 2, "radii": (2, 4), "window": (3, 3)}
SCENE = SimulateScene(shape=(64, 96), dates=14, events=0)


@pytest.fixture
def weights(tmp_path):
    """A small encoder with a card of its own, as pretrain would leave it; settings that adapt it."""

    def make(name="start", **about):
        vit = ViT(Size(dim=24, depth=2, heads=2), patch=8, rng=torch.Generator().manual_seed(3))
        card = Card(low_db=-25, high_db=5, unit="sigma0")
        made = Pretrained(vit=vit, card=card, window=5, about={"objective": "gradient_jepa", **about})
        save_encoder(tmp_path / name, made)
        return tmp_path / name

    return make


def write_stack(path, *, dates=14, scale_from=None, name="a"):
    """A simulated stack whose cut-off is stored, as a run leaves it; later dates may be added or altered."""
    stack = simulate(SCENE, rng=np.random.default_rng(0)).stack
    header = Header(name=name, bands=stack.bands, geobox=stack.geobox, radiometry="sigma0", attributes={})
    with writing(path, settings={}, inputs={}) as partial:
        writer = StackWriter(partial, header)
        writer.lay_out(stack.times.take(np.arange(dates)))
        for t, scene in enumerate(stack.times.scene_id[:dates]):
            factor = 5 if scale_from is not None and t >= scale_from else 1
            amplitude = (stack.amplitude[t] * factor).astype(np.float32)
            writer.write_block(scene, (0, 0), amplitude, np.asarray(stack.valid[t]))
    quality = {"cutoff": f"{np.datetime_as_string(stack.times.time[9])}Z", "dates": []}
    (path.parent / "quality.json").write_text(json.dumps(quality))
    return path


@pytest.fixture
def stack(tmp_path):
    return write_stack(tmp_path / "run" / "stacks" / "a" / "stack.zarr")


def settings(out, source, weights, **more):
    given = {
        "out": out,
        "source": (source,),
        "weights": weights,
        "objective": "local_masked_gradient",
        "options": OPTIONS,
        "chips": 20,
        "held_out": 6,
        "training": Training(epochs=2, steps=3, batch=2, device="cpu"),
    }
    return Adapt(**{**given, **more})


def test_it_goes_on_from_the_weights_with_their_scaling(tmp_path, stack, weights, capsys):
    start = weights()
    folder = adapt(settings(tmp_path / "out", tmp_path / "run", start))
    require(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "log.csv", "model.safetensors"]
    before, after = load_encoder(start), load_encoder(folder)
    assert after.card == before.card and after.window == 5
    assert (after.vit.size, after.vit.patch) == (before.vit.size, 8)
    moved = [
        float((a - b).detach().abs().max())
        for a, b in zip(before.vit.parameters(), after.vit.parameters(), strict=True)
    ]
    assert max(moved) > 0 and max(moved) < 0.05, "gone on from, not begun anew"
    assert after.about["stages"] == ["pretrain", "adapt"] and after.about["stacks"] == ["a"]
    assert after.about["objective"] == "gradient_jepa", "what it was pretrained with stays written"
    assert after.about["adapt"]["objective"] == "local_masked_gradient"
    with (folder / "log.csv").open() as stream:
        assert [row["step"] for row in csv.DictReader(stream)] == ["0", "3", "6"]
    assert "2/2" in capsys.readouterr().err
    written = (folder / "model.safetensors").stat().st_mtime_ns
    adapt(settings(tmp_path / "out", stack, start))
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    again = adapt(settings(tmp_path / "again", stack, start))
    for name in ("config.json", "model.safetensors", "log.csv"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_a_later_date_changes_nothing_and_one_of_history_does(tmp_path, weights):
    path, start = tmp_path / "a" / "stack.zarr", weights()
    write_stack(path, dates=12)
    folder = adapt(settings(tmp_path / "out", path, start))
    written = (folder / "model.safetensors").stat().st_mtime_ns
    write_stack(path, dates=14, scale_from=10)
    adapt(settings(tmp_path / "out", path, start))
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    fresh = adapt(settings(tmp_path / "fresh", path, start))
    assert (fresh / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    write_stack(path, dates=14, scale_from=9)
    adapt(settings(tmp_path / "out", path, start))
    assert (folder / "model.safetensors").stat().st_mtime_ns != written


def test_other_weights_under_the_same_name_train_anew(tmp_path, stack, weights):
    folder = adapt(settings(tmp_path / "out", stack, weights()))
    before = (folder / "model.safetensors").read_bytes()
    start = weights()
    found = load_encoder(start)
    with torch.no_grad():
        found.vit.norm.bias += 0.1
    save_encoder(start, found)
    adapt(settings(tmp_path / "out", stack, start))
    assert (folder / "model.safetensors").read_bytes() != before


def test_once_marked_always_marked(tmp_path, stack, weights):
    """Judged dates seen in any stage, of any stack: marked after every later one, in the features too."""
    seen = adapt(settings(tmp_path / "all", stack, weights(stacks=["b"]), dates="all"))
    later = adapt(settings(tmp_path / "later", stack, seen))
    about = load_encoder(later).about
    assert about["judged_dates_seen"] and about["stacks"] == ["a", "b"]
    assert about["stages"] == ["pretrain", "adapt", "adapt"]
    names = [
        Vit(weights=path, patch=16, device="cpu").encode(read_stack(stack), [0]).encoder
        for path in (later, adapt(settings(tmp_path / "history", stack, weights())))
    ]
    assert names == ["vit-seen", "vit"]
    other = replace(read_stack(stack), name="b")
    assert Vit(weights=later, patch=16, device="cpu").encode(other, [0]).encoder == "vit-seen"


def test_a_card_names_no_unit_once_it_is_not_of_all_pixels(tmp_path, stack, weights):
    start = weights()
    found = load_encoder(start)
    save_encoder(start, replace(found, card=found.card.model_copy(update={"unit": "gamma0"})))
    card = load_encoder(adapt(settings(tmp_path / "out", stack, start))).card
    assert card.unit is None and card.low_db == -25


def test_a_file_in_the_public_layout_with_a_card(tmp_path, stack):
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=8, rng=torch.Generator().manual_seed(3))
    write_public(tmp_path / "public.pth", to_public(vit, grid=(14, 14)))
    folder = adapt(settings(tmp_path / "out", stack, tmp_path / "public.pth", card=Card(name="minmax_patch")))
    found = load_encoder(folder)
    assert found.card == Card(name="minmax_patch", unit="sigma0")
    assert found.about["stages"] == ["pretrain", "adapt"] and found.about["file"] == "public.pth"
    assert found.window == 6, "no larger than a scene of 64 x 96 px has room for"


def test_tensorboard_shows_the_figures_of_the_log(tmp_path, stack, weights):
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError
    )
    start = weights()
    folder = adapt(settings(tmp_path / "out", stack, start, tensorboard=True))
    (place,) = (tmp_path / "out" / "tensorboard").iterdir()
    found = events.EventAccumulator(str(place))
    found.Reload()
    with (folder / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for name in ("loss", "held_out", "rank", "learning_rate"):
        shown = [(one.step, one.value) for one in found.Scalars(name)]
        assert [step for step, _ in shown] == [0, 3, 6]
        np.testing.assert_allclose([v for _, v in shown], [float(row[name]) for row in rows], rtol=1e-5)
    plain = adapt(settings(tmp_path / "plain", stack, start))
    assert (plain / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_tensorboard_that_is_not_installed_is_named(tmp_path, stack, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SettingsError, match=r"not installed; pip install 'sarcast\[tensorboard\]'"):
        adapt(settings(tmp_path / "out", stack, weights(), tensorboard=True))


def test_what_cannot_work_is_refused(tmp_path, stack, weights):
    with pytest.raises(ArtefactError, match="that comes with sarcast, found nothing, in nowhere"):
        adapt(settings(tmp_path / "out", stack, "nowhere"))
    with pytest.raises(SettingsError, match="expected no card beside a folder"):
        adapt(settings(tmp_path / "out", stack, weights(), card=Card(low_db=-9)))
    vit = ViT(Size(dim=24, depth=2, heads=2), patch=8, channels=2, rng=torch.Generator())
    save_encoder(tmp_path / "two", Pretrained(vit=vit, card=Card(), window=5))
    with pytest.raises(SettingsError, match="weights of one channel or a card naming them, found 2"):
        adapt(settings(tmp_path / "out", stack, tmp_path / "two"))
    assert not (tmp_path / "out" / "encoder").exists()


def test_the_verb_reads_flags(tmp_path, weights, capsys):
    words = ["adapt", "--source", str(tmp_path), "--out", "x", "--weights", str(weights()), "--dry-run"]
    assert main([*words, "--training.epochs", "3", "--options.level", "true"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["training"]["epochs"] == 3 and shown["training"]["learning_rate"] == 2e-4
    assert shown["options"] == {"level": True}
    assert main(["adapt", "--out", "x", "--weights", "y"]) == 2
    assert "source" in capsys.readouterr().err
