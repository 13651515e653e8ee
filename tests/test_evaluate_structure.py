"""Structure: one dictionary says what was planted, with some cells left out or none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sarcast.evaluate.structure import structure

SHAPE = (12, 8, 8)


@pytest.mark.parametrize("holes", [False, True])
def test_a_patch_that_lasts_is_told_from_a_frame_that_is_loud(rng, holes):
    cells = np.ones(SHAPE[1:], bool)
    if holes:
        cells[0] = cells[3, 3] = False
    frames = rng.gamma(4, 0.25, SHAPE) + 3 * rng.gamma(1, 1, (SHAPE[0], 1, 1))
    patch = rng.gamma(4, 0.25, SHAPE)
    patch[:, 4:7, 4:7] += 2
    told = {}
    for name, scores in (("frames", frames), ("patch", patch)):
        spoiled = np.where(cells, scores, np.nan)
        told[name] = structure(spoiled, cells if holes else None, percentiles=(90,), draws=99, seed=0)
        json.dumps(told[name], allow_nan=False)
        assert told[name]["cells"] == cells.sum() and told[name]["dates"] == 12
        assert (told[name]["flags"]["P90"]["toroidal"] is None) == holes
    assert told["frames"]["shares"]["date"]["value"] > 0.8 and told["patch"]["shares"]["place"]["value"] > 0.5
    loud, lasting = (told[name]["flags"]["P90"] for name in ("frames", "patch"))
    assert loud["rotated_in_time"]["p_value"] == 0.01 < 0.05 < loud["within_dates"]["p_value"]
    assert lasting["within_dates"]["p_value"] == 0.01 and lasting["kept"] > 0.5 > abs(loud["kept"])
    if not holes:
        assert lasting["toroidal"]["p_value"] == 0.01
    assert told["patch"]["moran"]["p_value"] > 0.01  # a lasting difference is the place's, not the rest's
    assert loud["all_flagged"] + loud["none_flagged"] + loud["mixed"] == 12
