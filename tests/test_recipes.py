"""Recipes and the stages of training in a run: they run, find, keep what was learned, refuse in one line."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sarcast.cli import main
from sarcast.encoders.vit import Vit
from sarcast.errors import DataError, SettingsError
from sarcast.nn.pretrained import load_encoder
from sarcast.objectives import OBJECTIVES
from sarcast.runtime.settings import build, read_yaml
from sarcast.sar.simulate import SimulateScene
from sarcast.stack.cells import read_features, read_scores
from sarcast.steps import stages
from sarcast.steps.pretrain import Pretrain, pretrain
from sarcast.steps.products import read_labels
from sarcast.steps.run import Run, run
from sarcast.steps.simulate import Simulate, simulate

FOLDER = Path(str(files("sarcast"))) / "recipes"
RECIPES = {p.stem: p for p in FOLDER.glob("*.yaml")}
ROWS = sorted(p.relative_to(FOLDER).with_suffix("").as_posix() for p in FOLDER.glob("tables/*/*.yaml"))
OF_RUN = sorted(n for n, p in RECIPES.items() if set(read_yaml(p)) <= set(Run.model_fields))
OF_PRETRAIN = sorted(n for n, p in RECIPES.items() if "objective" in read_yaml(p))
ON_A_CPU = [name for name in OF_RUN if name != "t-sar-jepa"]
DATES = 14
SHORT = {"epochs": 1, "steps": 3, "batch": 2}
SMALL = {
    "adapt": {"crop": 4, "chips": 40, "held_out": 8, "training": SHORT},
    "finetune": {"crop": 4, "sequences": 8, "held_out": 4, "phase_a": SHORT, "phase_b": SHORT},
}
"""What makes a stage short, and its images fit a scene of 64 px."""


def shrunk(recipe: dict, *, stages: tuple[str, ...] = ("adapt", "finetune")) -> dict:
    """The recipe for a scene of 64 px: smaller images, a few steps, all else as it is."""
    small = {k: {**recipe.get(k, {}), **SMALL[k]} for k in stages if k in recipe}
    few = {"transformer": {"epochs": 2}, "matched_network": {"steps": 4, "batch": 2}}.get(
        recipe.get("detector"), {}
    )
    return {**recipe, **small, "min_px": 0, "detector_options": {**recipe.get("detector_options", {}), **few}}


TRAINED = {
    "encoder": "vit", "encoder_options": {"random_init": "micro", "token": 4, "window": 4},
    "adapt": {
        "objective": "local_masked_gradient",
        "options": {"radii": [2, 4], "level": True, "window": [3, 3]},
    },
    "finetune": {},
    "detector": "transformer",
}  # fmt: skip


def go(source: Path, out: Path, recipe: dict, **more) -> Path:
    run(build(Run, {**recipe, "source": source, "out": out, "workers": 1, **more}, where="the test"))
    return out


def weights(out: Path, stage: str) -> dict[str, np.ndarray]:
    state = load_encoder(out / "training" / stage / "encoder").vit.state_dict()
    return {name: value.numpy() for name, value in state.items()}


def written(out: Path) -> dict[str, int]:
    """Of everything stages wrote: when."""
    found = (out / "training").rglob("*")
    return {str(p): p.stat().st_mtime_ns for p in found if p.is_file() and p.name != ".lock"}


def stack_of(out: Path) -> Path:
    (folder,) = (out / "stacks").iterdir()
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """products/ and truth.parquet of a small OPERA-like place with two lava flows of 10 dB."""
    folder = tmp_path_factory.mktemp("place")
    scene = SimulateScene(
        kind="opera", shape=(64, 64), dates=DATES, events=2, kinds=("lava",), strength_db=(10, 12),
        transient=0, edge_px=2, onset=(0.72, 0.8),
    )  # fmt: skip
    simulate(Simulate(out=folder, scene=scene, seed=1))
    return folder


@pytest.fixture(scope="module")
def early(place, tmp_path_factory) -> Path:
    """A folder with all dates but the last."""
    folder = tmp_path_factory.mktemp("early")
    dates = sorted({path.stem.split("_")[4] for path in (place / "products").glob("*.tif")})
    for path in (place / "products").glob("*.tif"):
        if path.stem.split("_")[4] != dates[-1]:
            shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def trained(early, tmp_path_factory) -> Path:
    """A run with all three stages on all dates but the last; copy before changing anything."""
    return go(early, tmp_path_factory.mktemp("trained") / "run", shrunk(TRAINED))


@pytest.mark.parametrize("name", ON_A_CPU)
def test_a_recipe_runs_on_a_scene_of_64_px(name, place, tmp_path):
    out = go(place / "products", tmp_path / "run", shrunk(read_yaml(RECIPES[name])))
    assert (out / "site" / "report.html").is_file()
    assert read_scores(stack_of(out) / "scores.zarr").valid.any()


def test_every_recipe_is_of_a_verb():
    assert {*OF_RUN, *OF_PRETRAIN} == set(RECIPES)
    assert {f"{name}-tiny" for name in ("mae-s1-12ch", "dino-s1-12ch", "sar-jepa")} < set(OF_PRETRAIN)


@pytest.mark.parametrize("table", ["label-fractions", "few-shot-mstar"])
def test_rows_of_a_table_differ_in_their_objective_alone(table):
    """One budget, the same images and the same encoder for all: what is compared is the objective."""
    rows = [read_yaml(FOLDER / f"{name}.yaml") for name in ROWS if name.startswith(f"tables/{table}/")]
    assert len(rows) >= 4
    shared = [{k: v for k, v in row.items() if k not in ("objective", "options")} for row in rows]
    assert all(one == shared[0] for one in shared)
    assert len({json.dumps([row["objective"], row["options"]]) for row in rows}) == len(rows)


def test_a_row_of_a_table_is_called_by_name(capsys, tmp_path):
    assert main(["pretrain", "--recipe", ROWS[0], "--out", str(tmp_path), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == "micro"


@pytest.mark.parametrize("name", [*OF_PRETRAIN, *ROWS])
def test_a_recipe_of_pretraining_loads_and_its_objective_is_known(name):
    told = build(Pretrain, {**read_yaml(FOLDER / f"{name}.yaml"), "out": "x"}, where="the test")
    chosen = build(OBJECTIVES[told.objective], told.options, where="the test")
    width = getattr(chosen, "predictor_dim", None), getattr(chosen, "predictor_heads", 1)
    assert width[0] is None or width[0] % width[1] == 0


@pytest.mark.parametrize("name", ["mae-s1-12ch", "dino-s1-12ch"])
def test_seasonal_recipes_have_the_papers_shape(name):
    told = build(Pretrain, {**read_yaml(RECIPES[name]), "out": "x"}, where="the test")
    assert told.crop is not None and told.crop * told.token == 448 and told.streamed
    if name.startswith("mae"):
        assert told.size == "base" and told.options["hidden"] == 0.75 and told.training.epochs == 75
        assert (told.options["predictor_depth"], told.options["predictor_dim"]) == (1, 512)


@pytest.mark.parametrize("name", ["mae-s1-12ch-tiny", "dino-s1-12ch-tiny"])
def test_a_tiny_seasonal_recipe_trains_on_what_it_simulates(name, tmp_path):
    told = {**read_yaml(RECIPES[name]), "out": tmp_path, "region": {"tiles": [3, 4], "side": 64}}
    told["training"] = {**told["training"], "epochs": 1, "steps": 2, "batch": 4}
    found = load_encoder(pretrain(build(Pretrain, told, where="the test")))
    assert found.vit.channels == 12 and found.window == 8
    if name.startswith("dino"):
        assert found.about["options"]["channels"] == list(found.card.channels), "ratios are known as such"


def test_the_tiny_sar_jepa_trains_on_chips(tmp_path, rng):
    (tmp_path / "chips").mkdir()
    for number in range(8):
        image = rng.integers(0, 256, (140, 131), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "chips" / f"{number}.png")
    told = {**read_yaml(RECIPES["sar-jepa-tiny"]), "out": tmp_path, "source": [tmp_path / "chips"]}
    told["training"] = {**told["training"], "epochs": 1, "steps": 2, "batch": 2}
    found = load_encoder(pretrain(build(Pretrain, told, where="the test")))
    assert found.card.name == "picture" and found.window == 16


def test_the_papers_recipe_has_the_papers_shape():
    told = build(Run, {**read_yaml(RECIPES["t-sar-jepa"]), "source": "x", "out": "y"}, where="the test")
    assert told.adapt is not None and told.finetune is not None
    options = told.encoder_options
    assert (options["random_init"], options["token"], options["patch"]) == ("base", 16, 224)
    assert told.adapt["crop"] * options["token"] == told.finetune["crop"] * options["token"] == 224
    assert told.finetune["context"] == told.detector_options["context"] == 7
    shape = [told.finetune[f"predictor_{name}"] for name in ("width", "layers", "heads")]
    assert shape == [told.detector_options[name] for name in ("width", "layers", "heads")] == [768, 4, 8]
    assert told.finetune["phase_a"]["learning_rate"] * told.finetune["encoder_share"][0] == pytest.approx(
        1e-5
    )


def test_the_papers_recipe_refuses_small_scenes_and_names_the_tiny_one(place, tmp_path, capsys):
    words = ["run", str(place / "products"), "--out", str(tmp_path / "run"), "--recipe", "t-sar-jepa"]
    assert main(words) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "224" in said and "64 x 64" in said and "--recipe t-sar-jepa-tiny" in said
    assert not (tmp_path / "run" / "training").exists()


def test_a_planted_change_is_found_after_all_three_stages(place, trained, tmp_path):
    import geopandas as gpd

    out = tmp_path / "run"
    shutil.copytree(trained, out)
    before, features = written(out), read_features(stack_of(out) / "features.zarr")
    detector = (stack_of(out) / "detector" / "model.safetensors").stat().st_mtime_ns
    go(place / "products", out, shrunk(TRAINED))
    about = json.loads((out / "training/finetune/encoder/config.json").read_text())["about"]
    assert about["stages"][-2:] == ["adapt", "finetune"] and not about["judged_dates_seen"]
    scores = read_scores(stack_of(out) / "scores.zarr")
    table = gpd.read_parquet(out / "detections.parquet").to_crs(str(scores.geobox.crs))
    labels = read_labels(place / "truth.parquet").labels
    assert labels
    for label in labels:
        over = table[table.intersects(label.geometry)]
        assert len(over) and (over.direction == "brighter").any(), label
        first = over.first_seen.min().tz_localize(None).to_datetime64()
        onset = scores.times.time[np.searchsorted(scores.times.time, np.datetime64(label.onset, "ns"))]
        assert abs(first - onset) < np.timedelta64(1, "D"), label

    # the last date came in this call: nothing was trained, nothing learned was lost
    now = read_features(stack_of(out) / "features.zarr")
    assert len(now.times) == len(features.times) + 1
    np.testing.assert_array_equal(now.values[:-1], features.values)
    assert written(out) == before
    assert (stack_of(out) / "detector" / "model.safetensors").stat().st_mtime_ns == detector


def test_a_run_that_moved_computes_nothing_anew(early, trained, tmp_path):
    out = tmp_path / "elsewhere"
    shutil.copytree(trained, out)
    features = stack_of(out) / "features.zarr"
    before = {p: p.stat().st_mtime_ns for p in features.rglob("*")}, written(out)
    go(early, out, shrunk(TRAINED))
    assert ({p: p.stat().st_mtime_ns for p in features.rglob("*")}, written(out)) == before


def learn(trained: Path, out: Path, **told) -> Vit:
    """The stages alone, on the stack of a finished run."""
    recipe = build(Run, {**shrunk(TRAINED), "source": "x", "out": "y"}, where="the test")
    given = {"adapt": recipe.adapt, "finetune": recipe.finetune, "seed": 0, "refit": False} | told
    return stages.trained(Vit(**recipe.encoder_options), [stack_of(trained) / "stack.zarr"], out, **given)


def test_an_interrupted_training_goes_on_to_the_same_weights(trained, tmp_path, monkeypatch):
    import sarcast.train.loop as loop

    steps = []
    original = loop.rate

    def until(step, *args, **kwargs):
        steps.append(step)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return original(step, *args, **kwargs)

    monkeypatch.setattr(loop, "rate", until)
    with pytest.raises(KeyboardInterrupt):
        learn(trained, tmp_path)
    adapted = tmp_path / "training/adapt/encoder/model.safetensors"
    finished = adapted.stat().st_mtime_ns
    assert not (tmp_path / "training/finetune/encoder").exists()
    assert learn(trained, tmp_path, finetune=None).weights == adapted.parent
    assert learn(trained, tmp_path).weights == tmp_path / "training/finetune/encoder"
    assert adapted.stat().st_mtime_ns == finished
    for stage in ("adapt", "finetune"):
        ours, theirs = weights(tmp_path, stage), weights(trained, stage)
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_features_come_from_the_last_stage(trained):
    entry = json.loads((stack_of(trained) / "run.json").read_text())["features.zarr"]
    made = json.loads((trained / "training/finetune/manifest.json").read_text())["encoder"]
    assert entry["settings"]["files"]["model.safetensors"] == made["model.safetensors"][1]
    assert str(trained) not in json.dumps(entry["settings"])
    adapted, tuned = weights(trained, "adapt"), weights(trained, "finetune")
    assert any(not np.array_equal(adapted[name], tuned[name]) for name in tuned)


def test_flags_reach_into_the_stages(place, tmp_path, capsys):
    words = ["run", str(place / "products"), "--out", str(tmp_path), "--recipe", "t-sar-jepa-tiny"]
    more = ["--finetune.phase-a.epochs", "3", "--finetune.target=ema", "--adapt.options.hidden", "0.1"]
    assert main([*words, *more, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["settings"]
    assert told["finetune"]["phase_a"]["epochs"] == 3 and told["finetune"]["target"] == "ema"
    assert told["adapt"]["options"]["hidden"] == 0.1 and told["adapt"]["options"]["radii"]
    words = ["run", str(place / "products"), "--out", str(tmp_path), "--encoder", "vit", "--adapt"]
    assert main([*words, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["settings"]
    assert told["adapt"]["training"]["epochs"] >= 1 and told["finetune"] is None


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"adapt": {"epoch": 3}}, "unknown setting 'epoch' in adapt"),
        ({"finetune": {"phase_a": {"epochs": 0}}}, "phase_a.epochs"),
        ({"adapt": {"weights": "x"}}, "encoder_options.weights"),
        ({"adapt": {}, "encoder": "statistics"}, "encoder vit"),
    ],
)
def test_what_cannot_be_said_of_a_stage(given, word, tmp_path):
    with pytest.raises(SettingsError, match=word):
        go(tmp_path, tmp_path / "out", {"encoder": "vit", **given})


def test_a_stack_that_joins_later_trains_nothing(trained, tmp_path):
    (path,) = trained.glob("stacks/*/stack.zarr")
    other = tmp_path / "another" / "stack.zarr"
    assert stages._learned_from([path, other], trained / "training", context=7, refit=False) == [path]


def test_too_little_history_to_train_on(trained, tmp_path):
    (path,) = trained.glob("stacks/*/stack.zarr")
    with pytest.raises(DataError, match="31 usable dates"):
        stages._learned_from([path], tmp_path, context=30, refit=False)
