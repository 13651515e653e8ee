"""The benchmark of rx and padim compares equal scores: it refuses to, when they are not."""

import argparse

import numpy as np
import pytest
from benchmarks import detectors, events

TOLD = argparse.Namespace(side=5, dates=9, dim=40, cells=3, repeats=1)


def rows(rng):
    shape = (TOLD.side, TOLD.side)
    found = [detectors.rx(shape, TOLD.dim, local, TOLD.cells, 1, rng) for local in (False, True)]
    return [*found, *(detectors.padim(shape, TOLD.dim, 7, later, TOLD.cells, 1, rng) for later in (1, 2))]


def test_both_ways_give_the_same_scores(rng):
    found = rows(rng)
    assert max(row.difference for row in found) < 1e-9
    assert detectors.table(found, TOLD).count("\n| ") == 5


@pytest.mark.parametrize("name", ["_rx_of_one", "squared_distance"])
def test_other_scores_give_no_table(rng, monkeypatch, name):
    exact = getattr(detectors, name)
    monkeypatch.setattr(detectors, name, lambda *told: exact(*told) * np.float64(1.00001))
    with pytest.raises(SystemExit, match="expected equal scores"):
        rows(rng)


def test_the_classical_rows_stand_beside_the_default():
    rows = events.classical()
    names = {type(way.detector).__name__ for way in rows.values()}
    assert next(iter(rows)) == events.DEFAULT
    assert names == {"ZScore", "LogRatio", "Mahalanobis", "CoefficientOfVariation", "Cusum", "Omnibus"}
