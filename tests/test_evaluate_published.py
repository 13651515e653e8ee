"""Published figures: a made-up release comes back exactly, so does the real one; better tests beside them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from sarcast.errors import ArtefactError
from sarcast.steps.evaluate import Evaluate, as_text, evaluate

DATES = 24
LABELS = ("C2",) * 5 + ("C1",) * 4 + ("C2",) * 15


def released(rng, *, frame: float = 0.0, cluster: float = 0.0) -> np.ndarray:
    """Scores (cell, time) of 5 x 4 cells, column by column: speckle, what frames share, a wandering patch."""
    scores = rng.gamma(4, 0.1, (5, 4, DATES)) + frame * rng.gamma(1, 1, DATES)
    for t in range(DATES):
        col, row = rng.integers(0, 3, 2)
        scores[col : col + 2, row : row + 2, t] += cluster * rng.gamma(2, 1)
    return scores.reshape(20, DATES).astype(np.float32).astype(float)


def slow_test(scores: np.ndarray, percentile: int) -> dict[str, float]:
    """The published permutation test as it is written."""
    flags = (scores >= np.percentile(scores, percentile)).astype(int)

    def share(marked: np.ndarray) -> float:
        hits = 0
        for cell, t in zip(*np.nonzero(marked), strict=True):
            col, row = divmod(cell, 4)
            near = [(col - 1, row), (col + 1, row), (col, row - 1), (col, row + 1)]
            hits += any(0 <= c < 5 and 0 <= r < 4 and marked[c * 4 + r, t] for c, r in near)
        return hits / max(int(marked.sum()), 1)

    rng, null = np.random.RandomState(42), []
    for _ in range(1000):
        shuffled = flags.copy()
        for cell in range(20):
            rng.shuffle(shuffled[cell])
        touching = shuffled.reshape(5, 4, DATES)
        near = np.zeros_like(touching)
        near[1:] |= touching[:-1]
        near[:-1] |= touching[1:]
        near[:, 1:] |= touching[:, :-1]
        near[:, :-1] |= touching[:, 1:]
        null.append((touching & near).sum() / touching.sum())
    observed, mean = share(flags), float(np.mean(null))
    return {
        "observed": observed,
        "null_mean": mean,
        "null_std": float(np.std(null)),
        "p_value": float(np.mean(np.array(null) >= observed)),
        "ratio": observed / mean,
    }


def publish(folder: Path, sites: dict[str, np.ndarray]) -> Path:
    """A release: scores and the figures its own evaluation would have printed."""
    days = np.datetime64("2024-01-01") + 5 * np.arange(DATES)
    names = [str(day).replace("-", "") for day in days]
    results: dict[str, Any] = {"cross_aoi": {}, "threshold_sweep": {}, "permutation_test": {}, "geometry": {}}
    for site, scores in sites.items():
        cells = {
            f"{site}_{i // 4}_{i % 4}": {"scores": list(one), "dates": names} for i, one in enumerate(scores)
        }
        (folder / f"scores_{site}.json").write_text(json.dumps(cells))
        results["cross_aoi"][site] = {
            "mean": scores.mean(), "std": scores.std(), "min": scores.min(), "max": scores.max(),
            "median": np.median(scores), "p80": np.percentile(scores, 80), "p90": np.percentile(scores, 90),
            "n": scores.size,
        }  # fmt: skip
        for percentile in (75, 80, 85):
            results["permutation_test"][f"{site}_P{percentile}"] = slow_test(scores, percentile)
        index, new = np.array([name == "C2" for name in LABELS]), np.zeros(DATES)
        new[1:] = index[1:] != index[:-1]
        rank, line = spearmanr(scores.ravel(), np.tile(index, 20)), pearsonr(scores.ravel(), np.tile(new, 20))
        results["geometry"][site] = {
            "satellite_spearman_r": rank.statistic, "satellite_p_value": rank.pvalue,
            "transition_pearson_r": line.statistic, "transition_p_value": line.pvalue,
            "unique_satellites": ["C1", "C2"], "n_matched": scores.size, "n_transitions": int(new.sum() * 20),
        }  # fmt: skip
    every = np.concatenate([scores.ravel() for scores in sites.values()])
    for percentile in (70, 75, 80, 85, 90):
        over = every >= (value := np.percentile(every, percentile))
        results["threshold_sweep"][f"P{percentile}"] = {
            "value": value, "n_flagged": int(over.sum()), "pct_flagged": 100 * over.mean(),
        }  # fmt: skip
    (folder / "results_complete.json").write_text(json.dumps(results))
    return folder


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("release")
    sites = {"frames": released(rng, frame=3), "places": released(rng, cluster=3)}
    found = evaluate(Evaluate(published=publish(folder, sites), out=folder / "out"))
    return {**found, "folder": folder}


def test_a_made_up_release_is_recomputed(made_up):
    assert made_up["largest_difference"] <= 1e-9
    items = {row["item"] for row in made_up["rows"]}
    assert len(items) == 2 * 8 + 5 * 3 + 6 * 5 + 2 * 6
    for one in made_up["sites"].values():
        runs = one["satellites"]["stretches"]
        assert [(run["satellite"], run["frames"]) for run in runs] == [("C2", 5), ("C1", 4), ("C2", 15)]


def verdict(found, start):
    return next(one["verdict"] for one in found["claims"] if one["claim"].startswith(start))


def test_verdicts_follow_what_is_in_the_scores(made_up):
    assert verdict(made_up, "The cross-site") == "survives"
    assert verdict(made_up, "frames: flagged cells cluster") == "does not survive"
    assert verdict(made_up, "places: flagged cells cluster") in ("survives", "survives in part")
    flags = made_up["sites"]["frames"]["structure"]["flags"]["P80"]
    assert flags["rotated_in_time"]["p_value"] <= 0.01 < 0.05 < flags["within_dates"]["p_value"]
    assert made_up["sites"]["frames"]["structure"]["shares"]["date"]["value"] > 0.9


def test_a_changed_figure_shows(made_up, tmp_path):
    for path in made_up["folder"].glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    results = json.loads((tmp_path / "results_complete.json").read_text())
    results["permutation_test"]["frames_P80"]["null_mean"] += 1e-3
    (tmp_path / "results_complete.json").write_text(json.dumps(results))
    found = evaluate(Evaluate(published=tmp_path, out=tmp_path / "out"))
    assert found["largest_difference"] == pytest.approx(1e-3)
    assert verdict(found, "The cross-site") == "does not survive"
    assert "frames P80 null_mean" in max(found["rows"], key=lambda row: row["difference"])["item"]


def test_text_names_everything(made_up):
    text = as_text(made_up)
    for row in made_up["rows"]:
        assert row["item"] in text
    for word in (
        "Moran",
        "within dates",
        "maps shifted",
        "cannot be decided",
        "does not survive",
        "estimates.json",
    ):
        assert word in text


def test_the_second_time_it_is_only_read(made_up, monkeypatch):
    monkeypatch.setattr("sarcast.steps.published.estimates", None)
    again = evaluate(Evaluate(published=made_up["folder"], out=made_up["folder"] / "out"))
    assert again["rows"] == made_up["rows"]


@pytest.mark.parametrize("text", ["[]", "nope", "{}", '{"a_0_0": {"scores": [1], "dates": []}}'])
def test_a_spoiled_file_is_named(tmp_path, text):
    (tmp_path / "results_complete.json").write_text("{}")
    (tmp_path / "scores_a.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"scores_a\.json"):
        evaluate(Evaluate(published=tmp_path, out=tmp_path / "out"))


def test_a_missing_figure_is_named(made_up, tmp_path):
    for path in made_up["folder"].glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "results_complete.json").write_text("{}")
    with pytest.raises(ArtefactError, match="geometry/frames"):
        evaluate(Evaluate(published=tmp_path, out=tmp_path / "out"))


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory) -> dict[str, Any]:
    if not (shared / "published").is_dir():
        pytest.skip("released scores not here")
    return evaluate(Evaluate(published=shared / "published", out=tmp_path_factory.mktemp("real")))


def test_published_figures_are_recomputed(real):
    assert real["largest_difference"] <= 1e-9
    assert len(real["rows"]) == 3 * 8 + 5 * 3 + 9 * 5 + 2 * 6 + 1 + 4
    exact = [row for row in real["rows"] if " P" in row["item"] or "threshold" in row["item"]]
    assert all(row["difference"] == 0 for row in exact)


WITHIN = {
    "hawaii": {"P75": 0.994852, "P80": 0.997097, "P85": 0.996759},
    "la": {"P75": 0.991040, "P80": 0.991755, "P85": 0.981880},
    "pilbara": {"P75": 0.839458, "P80": 0.810177, "P85": 0.760112},
}
IN_TIME = {
    "hawaii": {"P75": 0.640380, "P80": 0.548645, "P85": 0.440749},
    "la": {"P75": 0.639913, "P80": 0.548395, "P85": 0.439416},
    "pilbara": {"P75": 0.662021, "P80": 0.581286, "P85": 0.488278},
}
KEPT = {"hawaii": (0.008, 0.003, 0.002), "la": (0.017, 0.015, 0.013), "pilbara": (0.387, 0.353, 0.368)}
P_VALUES = {"hawaii": (0.002, 0.032, 0.233), "la": (0.001, 0.001, 0.005), "pilbara": (0.001, 0.001, 0.001)}
SHARES = {
    "hawaii": (0.9994, 0.00004, 0.0006), "la": (0.9852, 0.0003, 0.0146), "pilbara": (0.5781, 0.0843, 0.3376)
}  # fmt: skip
SPREAD = {"hawaii": (0.020, 0.9994), "la": (0.022, 0.9885), "pilbara": (0.787, 0.6462)}
MORAN = {"hawaii": 0.53, "la": 0.33, "pilbara": 0.45}
FLAGGED = {"hawaii": (35, 142, 2), "la": (21, 82, 5), "pilbara": (0, 25, 60)}


@pytest.mark.parametrize("site", ["hawaii", "la", "pilbara"])
def test_the_better_tests_of_the_real_scores(real, site):
    """Figures found by an independent implementation (the audit that this project started from)."""
    one = real["sites"][site]["structure"]
    for (name, test), kept, p in zip(one["flags"].items(), KEPT[site], P_VALUES[site], strict=True):
        assert test["within_dates"]["expected"] == pytest.approx(WITHIN[site][name], abs=6e-7)
        assert test["expected_in_time"] == pytest.approx(IN_TIME[site][name], abs=6e-7)
        assert test["kept"] == pytest.approx(kept, abs=0.003)  # theirs with the mean of 1000 draws
        assert abs(test["within_dates"]["p_value"] - p) < 4 * math.sqrt(2 * p * (1 - p) / 1000)
        null = test["within_dates"]
        assert abs(null["null_mean"] - null["expected"]) < 4 * null["null_std"] / math.sqrt(null["draws"])
    for share, known, digits in zip(one["shares"].values(), SHARES[site], (4, 5, 4), strict=True):
        found = share["value"] if known < 1e-4 else round(share["value"], 4)
        assert found == pytest.approx(known, abs=0.6 * 10**-digits)
        assert share["low"] <= share["high"]
    assert one["spread"]["ratio"] == pytest.approx(SPREAD[site][0], abs=6e-4)
    assert one["spread"]["correlation_mean"] == pytest.approx(SPREAD[site][1], abs=6e-5)
    assert (
        one["moran"]["observed"] == pytest.approx(MORAN[site], abs=6e-3) and one["moran"]["p_value"] == 0.001
    )
    p80 = one["flags"]["P80"]
    assert (p80["all_flagged"], p80["none_flagged"], p80["mixed"]) == FLAGGED[site]


def test_satellites_of_the_real_frames(real):
    frames = {
        site: [
            (run["satellite"], run["frames"], run["first"]) for run in one["satellites"].get("stretches", [])
        ]
        for site, one in real["sites"].items()
    }
    assert frames["hawaii"] == [
        ("C14", 3, "2024-06-20"), ("C10", 1, "2024-06-27"), ("C14", 5, "2024-06-30"),
        ("C10", 2, "2024-08-06"), ("C13", 168, "2024-10-10"),
    ]  # fmt: skip
    assert [run[:2] for run in frames["la"]] == [("C07", 1), ("C14", 7), ("C13", 100)]
    assert not frames["pilbara"] and not real["sites"]["pilbara"]["satellites"]["unique"]
    eta = {
        site: real["sites"][site]["satellites"]["associations"][0]["estimate"]["value"]
        for site in ("hawaii", "la")
    }
    assert eta == {"hawaii": pytest.approx(0.002, abs=5e-4), "la": pytest.approx(0.036, abs=5e-4)}


def test_the_other_questions_to_the_real_scores(real):
    assert real["sites"]["hawaii"]["onset"]["auc"] == pytest.approx(0.305, abs=5e-4)
    assert real["sites"]["hawaii"]["onset"]["peak"]["date"] == "2025-01-19"
    assert real["sites"]["la"]["loudest"]["date"] == "2024-07-13"
    assert real["sites"]["la"]["loudest"]["share"] == pytest.approx(0.980, abs=5e-4)
    assert real["validation_loss"]["from_scores"] == pytest.approx(1.5729e-4, abs=1e-8)
    assert real["validation_loss"]["windows"] == 5100
    chances = {one["frames"]: one["at_least"] for one in real["roc"]["chances"]}
    for frames, known in {1: 0.25, 2: 0.11, 3: 0.056, 5: 0.013}.items():
        assert abs(chances[frames] - known) < 4 * math.sqrt(2 * known * (1 - known) / 4000) + 0.005
    told = {
        one["claim"].partition(":")[0]: one["verdict"] for one in real["claims"] if "cluster" in one["claim"]
    }
    assert told == {"hawaii": "does not survive", "la": "does not survive", "pilbara": "survives in part"}
