"""Chips judged across groups: copies do not leak, sizes are not seen, and everything is judged once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks import chips as judging
from benchmarks import grouped_chips as reading
from PIL import Image

from sarcast.errors import DataError

COPIES = 4


@pytest.fixture
def chips(rng):
    """Noise, in groups of copies whose class is drawn: there is nothing to learn but the copies."""
    groups = np.repeat(np.arange(60), COPIES)
    pixels = rng.random((60, 1, 8, 8))[groups] + rng.normal(0, 0.01, (len(groups), 1, 8, 8))
    return reading.GroupedChips(
        words="noise",
        pictures=pixels.astype(np.float32),
        db=None,
        classes=rng.permutation(np.repeat(np.arange(3), 20))[groups],
        class_names=("a", "b", "c"),
        groups=groups,
        sizes=rng.integers(8, 30, (60, 2))[groups].astype(float),
        folds=5,
    )


def _right(chips, split):
    guess = judging.guesses(
        "1-NN", chips.pictures.reshape(len(chips.groups), -1), chips, split, together=True
    )
    return np.mean(guess == chips.classes)


def test_copies_of_a_chip_do_not_help(chips):
    torn = replace(chips, groups=np.arange(len(chips.groups)))
    assert _right(torn, judging.split_of(torn, 0)) > 0.95
    assert _right(chips, judging.split_of(chips, 0)) < 0.6


@pytest.mark.parametrize(("folds", "even"), [(5, False), (5, True), (None, False), (None, True)])
def test_every_chip_is_judged_once_by_other_groups(chips, folds, even):
    chips = replace(chips, folds=folds, even=even)
    split = judging.split_of(chips, 1)
    assert sorted(np.concatenate([out for _, out in split]).tolist()) == list(range(len(chips.groups)))
    for known, out in split:
        assert not set(chips.groups[known]) & set(chips.groups[out])
        counts = np.bincount(chips.classes[known], minlength=3)
        assert not even or len(set(counts.tolist())) == 1
        assert even or len(known) + len(out) == len(chips.groups)
    again = judging.split_of(chips, 1)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(split, again, strict=True))


def test_balanced_accuracy_counts_classes_alike(chips):
    """All say class a: right for one class of three, whatever its share."""
    few = chips[(chips.classes == 0) | (np.arange(len(chips.classes)) % 4 == 0)]
    said = [np.zeros(len(few.classes), int)]
    assert judging.judged_by(replace(few, even=True), said).by_draw["main"][0] == pytest.approx(1 / 3)
    plain = judging.judged_by(few, said).by_draw["main"][0]
    assert plain == pytest.approx(np.mean(few.classes == 0)) and plain > 0.5
    assert np.unique(judging.commonest(few, judging.split_of(few, 0))).tolist() == [0]


def test_one_content_in_two_groups_is_refused(tmp_path):
    lines = ["path,class,group"]
    for number, group in enumerate("aab"):
        image = np.full((40, 44), 7, np.uint8)
        image[0] = number
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{group},{group}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    listed = reading.from_manifest(tmp_path / "list.csv", side=32, label="class", group="group")
    images = [image.astype(np.float32) for image in reading._images(listed)]
    with pytest.raises(DataError, match="expected every content in one group, found 1 in two"):
        reading._grouped(listed, np.arange(3), images, reading._middle, folds=2)
    whole = reading._grouped(listed, np.arange(3), images, reading._resized, folds=2)
    assert whole.pictures.shape == (3, 1, 64, 64), "their upper edges differ"


@pytest.mark.shared
@pytest.mark.parametrize(("data", "tables"), [("sar-acd", 2), ("opensarship", 1)])
def test_quick_on_real_chips(shared, data, tables):
    every = [judging.few(chips, 2) for chips in reading.DATA[data](shared)]
    assert len(every) == tables
    assert all(0 <= chips.pictures.min() < chips.pictures.max() <= 1 for chips in every)
    networks = judging.encoders([judging.SHIPPED]) if data == "sar-acd" else {}
    text = judging.tables(data, every[-1:], networks, draws=1)
    for name in (judging.FLOOR, "statistics", "size of the chip", *networks):
        assert sum(line.startswith(f"| {name}") for line in text.splitlines()) >= 1
    assert not networks or [name.split(",")[0] for name in networks] == [judging.RANDOM, "sarcast-tiny"]
