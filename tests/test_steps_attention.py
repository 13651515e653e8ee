"""The map of what an encoder looks at: a planted patch lies where it was planted, gaps are NaN."""

from dataclasses import replace

import numpy as np
import pytest

from sarcast.encoders.vit import Vit
from sarcast.errors import SettingsError
from sarcast.runtime.artefact import writing
from sarcast.stack.store import write_stack
from sarcast.steps.attention import attention_map


@pytest.fixture
def planted(make_stack, rng, tmp_path):
    """Level ground; on the second date half a token is bright (4, 7) and one is lost (6, 1)."""
    stack = make_stack(rng, (64, 80), dates=2, bands=("VV",))
    amplitude, valid = np.full_like(stack.amplitude, 0.3), stack.valid.copy()
    amplitude[1, 0, 32:40, 56:60] = 3
    valid[1, 48:56, 8:16] = False
    with writing(tmp_path / "stack.zarr", settings={}, inputs={}) as partial:
        write_stack(partial, replace(stack, amplitude=amplitude, valid=valid))
    return tmp_path / "stack.zarr", stack.geobox


def test_a_bright_token_is_found_where_it_was_planted(planted, tmp_path):
    import rasterio

    path, geobox = planted
    out = attention_map(
        path, tmp_path / "maps" / "looks.tif", encoder=Vit(token=8, window=20), time=1, block=0
    )
    with rasterio.open(out) as file:
        maps, bounds, bands = file.read(), file.bounds, file.descriptions
        assert file.crs == geobox.crs and file.tags()["block"] == "0"
    assert maps.shape == (3, 8, 10) and bands == ("vv_head_0", "vv_head_1", "vv_head_2")
    assert tuple(bounds) == pytest.approx(tuple(geobox.boundingbox))
    assert np.isnan(maps[:, 6, 1]).all() and np.isnan(maps).sum() == 3
    away = np.abs(maps - np.nanmedian(maps, axis=(1, 2), keepdims=True))
    for head in away:
        assert np.unravel_index(np.nanargmax(head), head.shape) == (4, 7)
        assert np.nanmax(head) > 100 * np.partition(head[np.isfinite(head)], -2)[-2]


def test_a_date_that_is_not_there_is_refused(planted, tmp_path):
    with pytest.raises(SettingsError, match=r"expected a date in -2\.\.1, found 2"):
        attention_map(planted[0], tmp_path / "looks.tif", encoder=Vit(), time=2)
    assert not (tmp_path / "looks.tif").exists()
