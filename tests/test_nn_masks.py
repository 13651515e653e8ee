"""Windows and blocks: every image through all its windows, every patch can be hidden, sizes as asked."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import install_import_hook

from sarcast.errors import SettingsError, ShapeError

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.masks import Views, blocks, views, windows


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def published(grid, *, batch, window=(7, 7), count=4, rng):
    """The wrong reference: images repeated (window, image), windows repeated (image, window)."""
    drawn = windows(grid, window=window, count=count, rng=rng)
    return Views(
        image=torch.arange(batch).repeat(count),
        patch=drawn.repeat(batch, 1),
        hidden=torch.zeros(batch * count, window[0] * window[1], dtype=torch.bool),
        window=window,
    )


def pairs(seen):
    """Distinct (image, first patch of the window)."""
    return len(set(zip(seen.image.tolist(), seen.patch[:, 0].tolist(), strict=True)))


@pytest.mark.parametrize("batch", [4, 8, 75])
def test_every_image_is_seen_through_all_its_windows(batch):
    assert pairs(views((14, 14), batch=batch, rng=seeded())) == 4 * batch


@pytest.mark.parametrize(("batch", "found"), [(4, 4), (8, 8), (75, 300)])
def test_the_published_pairing_fails_that(batch, found):
    """It shows an image through one window, four times, unless the batch happens to be odd."""
    assert pairs(published((14, 14), batch=batch, rng=seeded())) == found


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    batch=st.integers(1, 5),
    count=st.integers(1, 6),
    data=st.data(),
)
def test_windows_lie_in_any_grid_and_hide_their_share(rows, cols, batch, count, data):
    window = (data.draw(st.integers(1, rows)), data.draw(st.integers(1, cols)))
    size = window[0] * window[1]
    if size < 2:
        return
    share = data.draw(st.floats(1 / size + 1e-6, 1 - 1e-6))
    seen = views((rows, cols), batch=batch, window=window, count=count, share=share, rng=seeded())
    assert seen.patch.shape == seen.hidden.shape == (batch * count, size)
    assert (seen.hidden.sum(1) == int(size * share)).all()
    assert torch.equal(seen.image, torch.arange(batch * count) // count)
    row, col = seen.patch // cols, seen.patch % cols
    assert seen.patch.min() >= 0
    assert row.max() < rows
    assert ((row - row[:, :1]).reshape(-1, *window) == torch.arange(window[0])[:, None]).all()
    assert ((col - col[:, :1]).reshape(-1, *window) == torch.arange(window[1])).all()


def test_windows_of_a_step_share_no_row_or_column_offset():
    for seed in range(20):
        first = windows((14, 14), window=(7, 7), count=4, rng=seeded(seed))[:, 0]
        assert len(set((first // 14).tolist())) == len(set((first % 14).tolist())) == 4


def test_every_patch_can_be_hidden_and_seen():
    hidden, shown = torch.zeros(5, 8, dtype=torch.bool), torch.zeros(5, 8, dtype=torch.bool)
    rng = seeded()
    for _ in range(40):
        seen = views((5, 8), batch=3, window=(3, 4), rng=rng)
        hidden.view(-1)[seen.patch[seen.hidden]] = True
        shown.view(-1)[seen.patch[~seen.hidden]] = True
    assert hidden.all()
    assert shown.all()


def test_what_is_hidden_differs_between_rows_and_repeats_with_the_generator():
    a, b, c = (views((14, 14), batch=2, rng=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(a.hidden, b.hidden)
    assert torch.equal(a.patch, b.patch)
    assert not torch.equal(a.hidden, c.hidden)
    assert len({tuple(row.tolist()) for row in a.hidden}) == 8


def test_blocks_have_their_size_and_reach_every_border():
    rng, seen = seeded(), torch.zeros(6, 9, dtype=torch.bool)
    for _ in range(50):
        block = blocks((6, 9), batch=2, count=1, side=(2, 4), rng=rng)
        assert (block.sum((1, 2)) == 8).all()
        seen |= block.any(0)
    assert seen.all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match="window within the grid"):
        views((6, 9), batch=1, rng=seeded())
    with pytest.raises(ShapeError, match="block within the grid"):
        blocks((6, 9), batch=1, count=1, side=(7, 2), rng=seeded())
    with pytest.raises(SettingsError, match="some but not all of 49"):
        views((14, 14), batch=1, share=0.01, rng=seeded())
    with pytest.raises(ShapeError, match="expected image"):
        Views(
            image=torch.arange(2),
            patch=torch.zeros(3, 4, dtype=torch.long),
            hidden=torch.zeros(3, 4) > 0,
            window=(2, 2),
        )
