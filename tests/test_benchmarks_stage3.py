"""The benchmark of stage 3 compares two ways that are one: same loss, same gradients."""

import re

from benchmarks import stage3


def test_both_ways_give_the_same_gradients():
    found = stage3.row(3, size="micro", side=16, repeats=1)
    assert "10 encodings" in found and "24 encodings" in found and "(encodings 2.4x)" in found
    apart = re.search(r"apart by (\S+) of", found)
    assert apart is not None and float(apart[1]) <= 2e-5
