"""The benchmark of the permutation test compares ways that are one, and gives no table when they are not."""

import pytest
from benchmarks import permutation


def test_all_ways_give_the_same_null():
    told = permutation.table(permutation.flags(12), permutations=5, repeats=1)
    assert "equal to the last bit" in told and told.count("\n| ") == 4


def test_the_table_of_errors_names_every_test():
    told = permutation.errors(4)
    assert told.count("\n| ") == 6 and "Moran" in told
    assert permutation.rotations(3).count("\n| ") == 4


def test_another_null_gives_no_table(monkeypatch):
    released = permutation.by_cell
    monkeypatch.setattr(permutation, "by_cell", lambda case, n: released(case, n) + 1e-15)
    with pytest.raises(SystemExit, match="several"):
        permutation.table(permutation.flags(12), permutations=5, repeats=1)
