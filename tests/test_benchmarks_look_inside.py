"""The benchmark that looks inside: it trains on real chips without those left out, and its tables add up."""

import pytest
from benchmarks import look_inside

from sarcast.nn.pretrained import load_encoder


@pytest.mark.shared
def test_a_step_on_real_images_makes_an_encoder_of_both_bands(shared, tmp_path, monkeypatch):
    quick = look_inside.TRAINING.model_copy(update={"steps": 1, "batch": 2})
    monkeypatch.setattr(look_inside, "TRAINING", quick)
    monkeypatch.setattr(look_inside, "_bursts", lambda *_: [])
    made = look_inside.pretrained(shared, tmp_path, epochs=1, seed=0)
    encoder = load_encoder(made)
    assert encoder.card.channels == ("VV", "VH") and encoder.window == look_inside.CROP
    names = [one.name for one in look_inside._chips(shared)]
    assert len(names) == 3 and not set(names) & set(look_inside.LEFT_OUT)
    stamp = (made / "model.safetensors").stat().st_mtime_ns
    assert look_inside.pretrained(shared, tmp_path, epochs=1, seed=0) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == stamp


def test_a_table_has_a_line_for_each_way_and_columns_for_each_window():
    row = {"way": "attention", "value": 0.5, "low": 0.25, "high": 0.75, "optimistic": 0.625}
    maps = [{"way": "attention", "otsu_where_present": x} for x in (0.125, 0.875)]
    one = {"pixels": 7, "chips": 2, "rows": [row, {**row, "way": "clusters"}], "maps": maps}
    found = {"emergent": {"classes": {"water": one}}}
    lines = look_inside._table("water", {12: found, 56: found}).splitlines()
    assert lines[0] == "## Water: 7 pixels on 2 chips"
    assert lines[4] == "| attention |" + " 0.500 [0.250, 0.750] | 0.625 | 0.875 |" * 2
    assert lines[5].endswith("| 0.625 | - |")
