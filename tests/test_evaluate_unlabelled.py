"""Without truth: noise looks like noise; a planted satellite effect or patch is seen as what it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.errors import ShapeError
from sarcast.evaluate.onset import JudgedCells
from sarcast.evaluate.places import together
from sarcast.evaluate.unlabelled import unlabelled
from sarcast.values import Scores

JUDGED = np.arange(24) >= 8
ALL = np.ones(24, bool)


@pytest.fixture
def noise(make_features, rng):
    features = make_features(rng, dates=24, cells=(16, 18))
    values = rng.exponential(size=features.valid.shape).astype(np.float32)
    platform = tuple("AABAAAABBAABABBBAABBABAB")
    return Scores(
        values=values,
        valid=features.valid,
        times=replace(features.times, platform=platform),
        grid=features.grid,
        geobox=features.geobox,
        detector="noise",
        p_value=np.exp(-values).astype(np.float32),
    )


def satellite(found):
    return next(row for row in found["acquisition"] if row["covariate"] == "satellite")


def test_noise_has_its_level_and_no_structure(noise):
    found = unlabelled(noise, judged=JUDGED, usable=ALL, draws=99, seed=0)
    share = found["share_below"]["cells"]
    assert found["dates"] == 16 and 1e-4 < share["value"] < 3e-3
    assert found["structure"]["shares"]["rest"]["value"] > 0.9
    assert found["structure"]["moran"]["p_value"] > 0.01
    assert satellite(found)["estimate"]["value"] < 0.3


def test_a_satellite_effect_is_the_dates_and_goes_with_the_satellite(noise):
    later = np.array(noise.times.platform) == "B"
    found = unlabelled(
        replace(noise, values=noise.values + 5 * later[:, None, None].astype(np.float32)),
        judged=JUDGED, usable=ALL, draws=99, seed=0,
    )  # fmt: skip
    assert found["structure"]["shares"]["date"]["value"] > 0.7
    assert found["structure"]["moran"]["p_value"] > 0.01
    assert satellite(found)["estimate"]["value"] > 0.9 and satellite(found)["p_value"] < 0.2


def test_a_patch_of_some_dates_is_structure_within_dates(noise):
    values = noise.values.copy()
    values[10:14, 4:10, 4:10] += 5
    found = unlabelled(replace(noise, values=values), judged=JUDGED, usable=ALL, draws=99, seed=0)
    assert found["structure"]["moran"]["p_value"] == pytest.approx(0.01)


def test_one_date_and_uncalibrated_scores_say_why(noise):
    one = np.arange(24) == 23
    found = unlabelled(replace(noise, p_value=None), judged=one, usable=ALL, seed=0)
    assert found["share_below"] is None and found["structure"] is None
    assert "at least 2 dates" in found["structure_why"]
    with pytest.raises(ShapeError, match="24 dates"):
        unlabelled(noise, judged=one[:5], usable=ALL, seed=0)


def test_dates_that_are_not_usable_do_not_count(noise):
    spoiled = noise.values.copy()
    spoiled[20] += 50
    usable = ALL & (np.arange(24) != 20)
    p = np.exp(-spoiled).astype(np.float32)
    found = unlabelled(
        replace(noise, values=spoiled, p_value=p), judged=JUDGED, usable=usable, draws=99, seed=0
    )
    assert found["dates"] == 15 and found["share_below"]["cells"]["value"] < 5e-3
    assert found["structure"]["shares"]["date"]["value"] < 0.1


def test_cells_of_places_keep_their_blocks_and_share_events_of_one_list():
    def cells(labels, events, blocks, missed=()):
        return JudgedCells(
            index=np.arange(len(labels)),
            labels=np.array(labels, bool),
            event_ids=np.array(events),
            block_ids=np.array(blocks),
            missed=missed,
        )

    first = cells([1, 0, 0], [0, -1, -1], [0, 0, 1], missed=(1,))
    second = cells([1, 1, 0], [0, 1, -1], [0, 1, 1], missed=())
    shared = together([first, second], [0, 0])
    assert shared.event_ids.tolist() == [0, -1, -1, 0, 1, -1] and shared.missed == ()
    assert shared.block_ids.tolist() == [0, 0, 1, 2, 3, 3] and len(shared) == 6
    apart = together([first, second], [0, 2])
    assert apart.event_ids.tolist() == [0, -1, -1, 2, 3, -1] and apart.missed == (1,)
    with pytest.raises(ShapeError, match="first event"):
        together([first], [0, 1])
