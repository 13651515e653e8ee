"""Blocks held out by place: no pixel of a validation image is ever in a training image."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcast.errors import DataError
from sarcast.train.chips import cut
from sarcast.train.places import Area, places


class Scene:
    """What `places` asks of a stack."""

    name = "a"

    def __init__(self, shape, valid=None):
        self.geobox = type("GeoBox", (), {"shape": shape})
        self.valid = np.ones((1, *shape), bool) if valid is None else valid[None]


def covered(shape, corners, side):
    found = np.zeros(shape, bool)
    for row, col in corners:
        assert 0 <= row <= shape[0] - side and 0 <= col <= shape[1] - side
        found[row : row + side, col : col + side] = True
    return found


@settings(deadline=None, max_examples=60)
@given(
    side=st.integers(3, 12),
    more=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    share=st.floats(0.02, 0.9),
    seed=st.integers(0, 99),
    tall=st.booleans(),
)
def test_no_pixel_of_a_held_out_image_is_in_a_training_image(side, more, share, seed, tall):
    shape = (side + more[0], 2 * side + more[1])
    shape = shape[::-1] if tall else shape
    rng = np.random.default_rng(seed)
    learn, other = places(Scene(shape), [0], side=side, held_out=share, rng=rng)
    assert learn.block in (side, 2 * side)
    seen = covered(shape, learn.draw(400, side=learn.block, rng=rng), learn.block)
    seen |= covered(shape, learn.draw(400, side=side, rng=rng), side)
    held = covered(shape, other.draw(400, side=side, rng=rng), side)
    blocks = covered(shape, other.blocks, other.block)
    assert seen.any() and held.any() and not (seen & blocks).any() and not (held & ~blocks).any()


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(4, 30), st.integers(4, 30)),
    side=st.integers(1, 6),
    block=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_corners_are_all_that_a_look_at_every_one_finds(shape, side, block, seed):
    """Against a slow reference: any blocks, also overlapping ones; every free corner is drawn, no other."""
    rng = np.random.default_rng(seed)
    side, block = min(side, *shape), min(block, *shape)
    blocks = np.stack([rng.integers(0, length - block + 1, 4) for length in shape], 1)
    taken = covered(shape, blocks, block)
    free = {
        (row, col)
        for row in range(shape[0] - side + 1)
        for col in range(shape[1] - side + 1)
        if not taken[row : row + side, col : col + side].any()
    }
    area = Area(shape=shape, blocks=blocks, block=block, within=False)
    if not free:
        with pytest.raises(DataError, match="expected room for images"):
            area.draw(1, side=side, rng=rng)
    else:
        assert {(int(r), int(c)) for r, c in area.draw(20 * 30**2, side=side, rng=rng)} == free


def test_all_free_corners_are_as_likely():
    rng = np.random.default_rng(0)
    area = Area(shape=(9, 12), blocks=np.array([[2, 3], [5, 0]]), block=3, within=False)
    corners = area.draw(40_000, side=2, rng=rng)
    counts = np.unique(corners, axis=0, return_counts=True)[1]
    expected = 40_000 / len(counts)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize(
    ("shape", "side"), [((100, 100), 48), ((64, 64), 32), ((64, 96), 40), ((48, 96), 48)]
)
def test_small_scenes_have_one_block_and_crops_around_it(shape, side):
    rng = np.random.default_rng(3)
    learn, other = places(Scene(shape), [0], side=side, held_out=0.15, rng=rng)
    assert len(other.blocks) == 1 and other.block == side
    seen = covered(shape, learn.draw(3000, side=learn.block, rng=rng), side)
    assert seen.mean() >= 0.5 and not seen[covered(shape, other.blocks, side)].any()


@pytest.mark.parametrize("share", [0.05, 0.15, 0.4])
def test_blocks_of_the_share_are_spread_over_the_scene(share):
    shape, side = (700, 900), 32
    learn, other = places(Scene(shape), [0], side=side, held_out=share, rng=np.random.default_rng(0))
    assert other.block == 2 * side
    held = covered(shape, other.blocks, other.block)
    assert held.mean() == pytest.approx(share, abs=0.01)
    rows = np.array_split(held, 3)
    assert min(part.mean() for part in rows) > 0.6 * share
    assert learn.blocks is other.blocks


def test_the_seed_moves_the_blocks():
    shape, side = (300, 300), 16
    a, b, c = (
        places(Scene(shape), [0], side=side, held_out=0.1, rng=np.random.default_rng(seed))[0].blocks
        for seed in (0, 0, 1)
    )
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_blocks_lie_where_pixels_are_valid():
    """A footprint that lies aslant leaves corners empty: the block is not put there."""
    y, x = np.mgrid[:120, :120]
    valid = (np.abs(x - 60) + np.abs(y - 60)) < 60
    for seed in range(20):
        _, other = places(
            Scene((120, 120), valid), [0], side=40, held_out=0.1, rng=np.random.default_rng(seed)
        )
        assert covered((120, 120), other.blocks, 40)[valid].sum() > 0.5 * 40**2
    valid = np.zeros((120, 120), bool)
    valid[:5, :5] = True
    _, other = places(Scene((120, 120), valid), [0], side=40, held_out=0.1, rng=np.random.default_rng(0))
    assert other.blocks.tolist() == [[0, 0]], "the most valid one where none is mostly valid"


def test_a_scene_of_twenty_thousand_pixels_a_side_is_quick():
    class Valid:
        def __getitem__(self, key):
            return np.ones((1, 1), bool)

    scene = Scene((4, 4))
    scene.geobox, scene.valid = type("GeoBox", (), {"shape": (20_000, 20_000)}), Valid()
    rng = np.random.default_rng(0)
    learn, _ = places(scene, [0], side=64, held_out=0.15, rng=rng)
    corners = learn.draw(1000, side=128, rng=rng)
    assert len(learn.blocks) == 3662 and len(corners) == 1000
    rows, cols = (np.abs(corners[:, None, axis] - learn.blocks[None, :, axis]) < 128 for axis in (0, 1))
    assert not (rows & cols).any()


def test_chips_come_from_where_they_may(make_stack, rng):
    stack = make_stack(rng, (64, 96), dates=3)
    where = np.arange(64)[:, None] * 1000 + np.arange(96)
    stack = replace(
        stack, amplitude=np.sqrt(np.broadcast_to(where, stack.amplitude.shape)).astype(np.float32)
    )
    learn, other = places(stack, [0, 1], side=24, held_out=0.15, rng=rng)
    a, b = (cut(stack, np.array([0, 1]), part, count=300, side=24, rng=rng) for part in (learn, other))
    assert not np.intersect1d(a.power.round(), b.power.round()).size


def test_no_room_or_no_date_is_refused():
    for shape in ((40, 79), (39, 200)):
        with pytest.raises(DataError, match="at least 40 x 80 px"):
            places(Scene(shape), [0], side=40, held_out=0.1, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="expected dates to learn from, found none"):
        places(Scene((80, 80)), [], side=40, held_out=0.1, rng=np.random.default_rng(0))
    _, other = places(Scene((80, 80)), [0], side=40, held_out=0.1, rng=np.random.default_rng(0))
    with pytest.raises(DataError, match="room for images of 41 px"):
        other.draw(1, side=41, rng=np.random.default_rng(0))
    assert Area.whole((9, 7)).draw(50, side=7, rng=np.random.default_rng(0)).max() == 2
