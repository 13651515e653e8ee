"""The few-shot benchmark: what it reads, what it learns from, and that the test role chooses nothing."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks import few_shot, mstar
from benchmarks import few_shot_rows as rows
from benchmarks import few_shot_text as text
from benchmarks.few_shot_plan import OBJECTIVES, QUICK, pretrained
from PIL import Image
from scipy.stats import ttest_1samp
from sklearn.linear_model import LogisticRegression

from sarcast.errors import ArtefactError
from sarcast.nn.pretrained import load_encoder
from sarcast.probes.draws import shots

SIZES = {"2S1": (158, 158), "BMP2": (128, 128), "BRDM2": (129, 128), "ZIL131": (193, 192)}


@pytest.fixture
def archive(tmp_path):
    """Two chips of four classes and each role, of one light grey in the middle 128 px, black around."""
    lines, path = ["path,split,class,std_single_serial"], tmp_path / "chips.zip"
    levels = iter(range(255, 200, -1))
    with zipfile.ZipFile(path, "w") as held:
        for role in ("train", "test"):
            for name, (y, x) in SIZES.items():
                for number in range(2):
                    image = np.zeros((y, x), np.uint8)
                    image[(y - 128) // 2 :, (x - 128) // 2 :][:128, :128] = next(levels)
                    buffer = io.BytesIO()
                    Image.fromarray(image).save(buffer, "PNG")
                    held.writestr(f"mstar_soc/{role}/{name}/{number}", buffer.getvalue())
                    lines.append(f"{role}/{name}/{number},{role},{name},{1 - number}")
        held.writestr("mstar_soc/manifest.csv", "\n".join(lines))
    return path


def test_chips_are_cut_to_their_middle_and_roles_kept_apart(archive):
    learn, judge = mstar.read(archive)
    for role in (learn, judge):
        assert role.pixels.shape == (8, 1, 128, 128)
        assert (role.pixels == role.pixels[:, :, :1, :1]).all(), "size tells nothing"
        assert role.classes.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert role.single.tolist() == [True, False] * 4
    assert [len(role.classes) for role in mstar.read(archive, most=1)] == [4, 4]


def test_what_is_no_archive_of_chips_is_refused(tmp_path):
    path = tmp_path / "chips.zip"
    with pytest.raises(ArtefactError, match="expected the MSTAR chips"):
        mstar.read(path)
    path.write_bytes(b"chips")
    with pytest.raises(ArtefactError, match="expected the MSTAR chips"):
        mstar.read(path)


def test_a_whole_chip_is_sampled_as_it_is_judged(rng):
    pixels = torch.from_numpy(rng.random((2, 1, mstar.CUT, mstar.CUT)).astype(np.float32))
    found = mstar.sampled(pixels, scale=np.ones(2), shift=np.zeros((2, 2)), mirrored=np.array([False, True]))
    plain = mstar.shrunk(pixels, mstar.SIDE)
    torch.testing.assert_close(found, torch.stack([plain[0], plain[1].flip(2)]), atol=1e-5, rtol=0)


def test_a_square_is_sampled_where_it_lies():
    """Pixels that say their own place: x first, then y, from -1 to 1 over the chip."""
    at = (torch.arange(mstar.CUT) + 0.5) / mstar.CUT * 2 - 1
    pixels = torch.stack([at.expand(mstar.CUT, -1), at[:, None].expand(-1, mstar.CUT)])[:, None]
    shift = np.array([[0.3, 0.3], [-0.4, -0.4]])
    found = mstar.sampled(pixels, scale=np.full(2, 0.5), shift=shift, mirrored=np.zeros(2, bool))
    own = (torch.arange(mstar.SIDE) + 0.5) / mstar.SIDE * 2 - 1
    torch.testing.assert_close(found[0, 0, 7], 0.3 + 0.5 * own, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1, 0, :, 7], -0.4 + 0.5 * own, atol=1e-4, rtol=0)


def test_other_looks_stay_in_range_and_repeat(rng):
    pixels = torch.from_numpy(rng.random((6, 1, mstar.CUT, mstar.CUT)).astype(np.float32))
    a, b, c = (mstar.augmented(pixels, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert 0 <= float(a.min()) < float(a.max()) <= 1


def test_as_many_shots_of_every_class_and_none_twice(rng):
    classes = rng.permutation(np.repeat([0, 1, 2], [9, 20, 30]))
    some = shots(classes, 8, rng=rng)
    assert len(set(some.tolist())) == 24
    assert np.bincount(classes[some]).tolist() == [8, 8, 8]


@pytest.mark.parametrize("dim", [5, 300])
def test_logistic_in_the_span_is_plain_logistic(rng, dim):
    centres = rng.normal(0, 1, (4, dim))
    y, truth = np.repeat(np.arange(4), 8), np.repeat(np.arange(4), 50)
    x, judge = (centres[c] + rng.normal(0, 1, (len(c), dim)) for c in (y, truth))
    plain = LogisticRegression(C=0.1, max_iter=2000, tol=1e-6).fit(x, y).predict(judge)
    found = rows.logistic(0.1)(x, y, judge)
    assert np.mean(found == plain) > 0.98
    assert np.mean(found == truth) > 0.5


def test_the_test_role_chooses_nothing(rng):
    """`good` tells classes of the train role, `bad` those of the test role: `good` it is."""
    classes = np.repeat(np.arange(3), 12)
    told = np.eye(3)[classes] + rng.normal(0, 0.1, (36, 3))
    noise = rng.normal(0, 1, (36, 3))
    plan = replace(QUICK, choice=(4, 3))
    first, second = (
        rows.chosen("row", [{"good": told, "bad": noise}, judge], classes, plan)
        for judge in ({"good": noise, "bad": told}, {"good": 9 * told, "bad": noise})
    )
    assert [row.said for row in first] == [row.said for row in second]
    assert first[0].said.startswith("good, C ")
    assert first[0].score > 0.9 > first[1].score


def test_labels_and_serials_are_used_as_told():
    """A classifier that says which chips it was given: the same every time, of the serials asked for."""
    chips = mstar.Chips(
        pixels=torch.zeros(40, 1, 1, 1), classes=np.tile([0, 1], 20), single=np.arange(40) < 20
    )
    seen = []

    def classify(x, y, judge):
        seen.append((x[:, 0].astype(int), len(judge)))
        assert (chips.classes[x[:, 0].astype(int)] == y).all()
        return np.zeros(len(judge), int)

    vectors = np.arange(40.0)[:, None]
    row = rows.Row(name="row", learn=vectors, judge=vectors, classify=classify, said="")
    plan = replace(QUICK, shots=(3, 5), draws=2)
    found = rows.judged(row, chips, chips, plan, single=True)
    assert (found == 50).all() and found.shape == (2, 2)
    assert all(some.max() < 20 and count == 20 for some, count in seen)
    rows.judged(row, chips, chips, plan, single=False)
    assert any(some.max() >= 20 for some, _ in seen[4:]) and seen[-1][1] == 40
    before = [some.tolist() for some, _ in seen[:4]]
    rows.judged(row, chips, chips, plan, single=True)
    assert [some.tolist() for some, _ in seen[8:]] == before


def test_interval_is_students(rng):
    values = rng.normal(3, 1, 10)
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert text.interval(values) == f"{values.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


@pytest.fixture
def told():
    """Rows of two seeds of one objective, one of another, random weights of both, and floors."""
    seeds = {text.RANDOM: [0, 1], OBJECTIVES["gradients"]: [0, 1], OBJECTIVES["pixels"]: [1]}
    one = rows.Found(said="C 1", accuracy=(np.zeros((1, 2)),) * 2, pools={"mean": np.arange(2.0)})
    every = {name: [one] for name in rows.FLOORS} | {name: [one] * len(some) for name, some in seeds.items()}
    return text.Told(plans=[QUICK, replace(QUICK, seed=1)], found=every, seeds=seeds)


def test_differences_are_of_the_same_seed(told):
    level = {name: 10.0 * i for i, name in enumerate(told.found)}
    found = {
        name: np.stack([np.full((1, 2), level[name] + number) for number in told.seeds.get(name, [0])])
        for name in told.found
    }
    lines = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.differences(found, told)}
    ours, other = OBJECTIVES["gradients"], OBJECTIVES["pixels"]
    assert f"{ours} less {other}, seed 0" not in lines
    assert lines[f"{ours} less {other}, seed 1"].startswith("-10.0 ")
    assert lines[f"{ours} less {text.RANDOM}, seed 1"].startswith("+10.0 ")
    assert lines[f"{ours} less {rows.FLOORS[1]}, seed 1"].startswith("+31.0 ")
    assert len(lines) == 2 + 1 + 3 + 3
    table = text.accuracies(found, told)
    assert [line.split("|")[3].strip() for line in table[2:]] == ["–", "–", "–", "0, 1", "0, 1", "1"]
    assert text.by_pooling(told)[2].split("|")[1:3] == [" mean ", " 0.5 +- 0.7 "]


@pytest.mark.shared
def test_quick_on_real_chips(shared, tmp_path):
    roles = mstar.read(shared / mstar.DATASET, most=3)
    names, plans = list(OBJECTIVES), [QUICK, replace(QUICK, seed=1)]
    with pytest.raises(ArtefactError, match="expected a checkpoint of this training"):
        few_shot.encoders(names, roles[0], plans[:1], tmp_path, as_is=True)
    every = few_shot.encoders(names, roles[0], plans[:1], tmp_path)
    some = {name: every[name] for name in ("gradients", "dino")}
    table = few_shot.compared(*roles, plans[:1], some, tmp_path)
    for name in (*rows.FLOORS, text.RANDOM, *(OBJECTIVES[name] for name in some)):
        assert len([line for line in table.splitlines() if line.startswith(f"| {name} | ")]) >= 2
    start, images = QUICK.start.network()[0].state_dict(), mstar.shrunk(roles[1].pixels[:2], mstar.SIDE)
    for name, held in few_shot.encoders(names, roles[0], plans, tmp_path, as_is=True).items():
        vit = held[0].vit.eval()
        assert list(held) == [0] and len(held[0].history.losses) == 2
        assert not all(torch.equal(start[key], x) for key, x in vit.state_dict().items())
        assert torch.equal(load_encoder(tmp_path / "seed-0" / name).vit(images), vit(images))
    assert rows.poolings(vit, roles[1].pixels)["mean"].shape == (30, 96)
    kept = sorted(tmp_path.glob("*.json"))
    assert len(kept) == 3 and few_shot.compared(*roles, plans[:1], some, tmp_path) == table
    longer = replace(QUICK, training=QUICK.training.model_copy(update={"epochs": 2}))
    pretrained("pixels", roles[0].pixels, longer, tmp_path)
    with pytest.raises(ArtefactError, match="expected a checkpoint of this training"):
        few_shot.encoders(names, roles[0], plans[:1], tmp_path, as_is=True)
