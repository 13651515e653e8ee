"""The pictures, drawings, catalogue and page: true to the data, escaped, self-contained, always the same."""

import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pystac
import pytest
import shapely
from affine import Affine
from matplotlib.image import imread
from odc.geo.geobox import GeoBox

from sarcast.errors import ArtefactError, ShapeError
from sarcast.publish import figures
from sarcast.publish.charts import Mark, Point, calendar_svg, overlay_svg, series_svg
from sarcast.publish.cog import cells_geobox, write_cog
from sarcast.publish.figures import event_chips, mean_power, place_picture, stretch, window_of
from sarcast.publish.material import Material, Threshold, stamps
from sarcast.publish.report import report_html
from sarcast.publish.stac import judged_stamps, map_name, write_stac
from sarcast.publish.words import date_notes, quality_notes
from sarcast.values import Event, PatchGrid, Scores, Stack, Times

T, SIDE, FIRST_JUDGED = 10, 48, 6
HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>&\'"'


def make_times(hostile=False):
    time = np.datetime64("2023-01-01T01:59:02", "ns") + np.arange(T) * np.timedelta64(12, "D")
    return Times(
        time=time,
        scene_id=tuple(f"scene-{i}{HOSTILE if hostile else ''}" for i in range(T)),
        platform=tuple(("S1A", HOSTILE if hostile else "S1B")[i % 2] for i in range(T)),
        incidence_deg=np.full(T, np.nan, np.float32),
        look_side=("right",) * T,
        orbit_direction=("ascending",) * T,
        relative_orbit=("137",) * T,
    )


def make_material(rng, *, bands=("VH", "VV"), events=True, calibrated=True, hostile=False, name="burst-a"):
    times = make_times(hostile)
    box = GeoBox((SIDE, SIDE), Affine(30, 0, 500_010, 0, -30, 4_100_010), "EPSG:32611")
    power = rng.gamma(4, 1 / 4, (T, len(bands), SIDE, SIDE)) * 0.05
    power[7:, :, 8:24, 16:32] *= 8
    valid = np.ones((T, SIDE, SIDE), bool)
    valid[:, :3, :5] = False
    grid = PatchGrid(image=(SIDE, SIDE), patch=8, stride=8)
    score = np.abs(rng.normal(size=(T, *grid.shape))).astype(np.float32)
    score[7:, 1:3, 2:4] = 6
    p = np.clip(10.0**-score, 1e-6, 1).astype(np.float32)
    seen = np.ones(score.shape, bool)
    seen[:2] = False
    scores = Scores(
        values=np.where(seen, score, 0),
        valid=seen,
        times=times,
        grid=grid,
        geobox=box,
        detector="z_score",
        encoder="statistics",
        stack=name,
        p_value=np.where(seen, p, 1).astype(np.float32) if calibrated else None,
        change_db=np.where(seen, 1, 0).astype(np.float32),
    )
    event = Event(
        event_id=f"{name}-1{HOSTILE if hostile else ''}",
        stack=name,
        first_seen=times.time[7],
        confirmed=times.time[9],
        last_seen=times.time[9],
        status="confirmed_high",
        observations=3,
        peak_time=times.time[8],
        peak_score=6.0,
        p_value=1e-6,
        direction="brighter",
        change_db=9.0,
        area_m2=230_400.0,
        cells=4,
        geometry=shapely.box(500_010 + 480, 4_100_010 - 720, 500_010 + 960, 4_100_010 - 240),
    )
    dates = [
        {
            "scene_id": scene,
            "platform": times.platform[i],
            "shift_px": [1.0, 0.0] if i == 1 else [0.0, 0.0],
            "shift_state": "corrected" if i == 1 else "ok",
            "gain_db": {"VV": 2.9} if i == 6 else {"VV": 0.0},
            "gain_state": "flagged" if i == 6 else "ok",
            "valid_fraction": 1.0,
            "flags": ["gain"] if i == 6 else [],
            "usable": i != 6,
        }
        for i, scene in enumerate(times.scene_id)
    ]
    return Material(
        stack=Stack(
            amplitude=np.where(valid[:, None], np.sqrt(power), 0).astype(np.float32),
            valid=valid,
            times=times,
            bands=bands,
            geobox=box,
            name=name,
            radiometry="gamma0",
        ),
        scores=scores,
        quality={
            "dates": dates,
            "notes": [HOSTILE] if hostile else [],
            "declared": {"unit": HOSTILE if hostile else "power"},
        },
        threshold=Threshold(
            p_value=1e-3,
            score=3.0,
            false_alarms=1e-3,
            judged_from=times.time[FIRST_JUDGED],
            rule="false_alarms",
        ),
        events=(event,) if events else (),
        settings={"scores.zarr": {"detector": "z_score", "window": 7}},
    )


@pytest.fixture
def material(rng):
    return make_material(rng)


class Page(HTMLParser):
    """Tags and attributes of a page, and whether every tag that needs it is closed."""

    VOID = frozenset({"meta", "link", "img", "br", "circle", "path", "rect", "polyline"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        assert self.open and self.open[-1] == tag, f"{tag} closes {self.open[-3:]}"
        self.open.pop()


# -- pictures


@pytest.mark.parametrize("window", [((0, 48), (0, 48)), ((5, 38), (11, 29))])
@pytest.mark.parametrize("max_side", [100, 10, 7])
def test_mean_power_equals_the_plain_mean(material, monkeypatch, window, max_side):
    monkeypatch.setattr(figures, "CHUNK", 13)
    stack, dates = material.stack, [1, 4, 5]
    power, valid = mean_power(stack, dates, 1, window, max_side=max_side)
    (top, bottom), (left, right) = window
    factor = max(1, int(np.ceil(max(bottom - top, right - left) / max_side)))
    assert max(power.shape) <= max_side
    for i in range(power.shape[0]):
        for j in range(power.shape[1]):
            y = slice(top + i * factor, min(top + (i + 1) * factor, bottom))
            x = slice(left + j * factor, min(left + (j + 1) * factor, right))
            ok = stack.valid[dates, y, x]
            seen = stack.amplitude[dates, 1, y, x].astype(float)[ok] ** 2
            assert valid[i, j] == (len(seen) > 0)
            assert power[i, j] == pytest.approx(seen.mean() if len(seen) else 0)


def test_the_place_is_shown_from_history_alone(material):
    later = material.stack.amplitude.copy()
    later[FIRST_JUDGED:] *= 100
    other = replace(material, stack=replace(material.stack, amplitude=later))
    assert place_picture(other) == place_picture(material)
    picture = imread(io.BytesIO(place_picture(material)))
    assert picture.shape == (SIDE, SIDE, 4)
    assert picture[0, 0, 3] == 0, "what was never seen is clear"


def test_before_and_after_share_one_stretch(material):
    event = material.events[0]
    chips = event_chips(material, event)
    assert chips.bands == ("VH", "VV")
    (top, _), (left, _) = chips.window
    event_at = (slice(8 - top, 24 - top), slice(16 - left, 32 - left))
    before, after = (imread(io.BytesIO(p[0]))[..., 0] for p in (chips.before, chips.after))
    assert after[event_at].mean() > before[event_at].mean() + 0.2
    around = np.ones(before.shape, bool)
    around[event_at] = False
    assert abs(after[around].mean() - before[around].mean()) < 0.1, "the rest keeps its brightness"
    change = imread(io.BytesIO(chips.change[0]))
    assert (change[event_at][..., 0] > change[event_at][..., 2]).mean() > 0.95, "brighter is orange"
    assert chips.after_day == event.peak_time
    assert all(day < event.first_seen for day in chips.before_days)


def test_chips_never_look_before_at_a_date_set_aside(material):
    chips = event_chips(material, material.events[0])
    assert material.stack.times.time[6] not in chips.before_days


def test_windows_stay_inside_and_are_square(material):
    for at in ((0, 0), (46, 46), (20, 3)):
        x, y = 500_010 + 30 * at[1], 4_100_010 - 30 * at[0]
        (top, bottom), (left, right) = window_of(shapely.box(x, y - 60, x + 60, y), material.stack)
        assert 0 <= top < bottom <= SIDE
        assert 0 <= left < right <= SIDE
        assert bottom - top == right - left
        assert top <= at[0] < bottom
        assert left <= at[1] < right


def test_stretch_of_nothing_and_of_a_constant_is_still_a_range():
    nothing = np.zeros((2, 2))
    low, high = stretch([(nothing, np.zeros((2, 2), bool))])
    assert low < high
    low, high = stretch([(nothing, np.ones((2, 2), bool))])
    assert low < 0 < high


# -- drawings


def point(day, value, **changes):
    facts = {"usable": True, "history": False, "title": HOSTILE, **changes}
    return Point(time=np.datetime64("2023-01-01", "ns") + np.timedelta64(day, "D"), value=value, **facts)


def drawn(svg, kind):
    return [e for e in ET.fromstring(svg).iter() if kind in e.get("class", "").split()]


def test_a_series_draws_what_it_is_given():
    points = [point(0, 0.5, history=True), point(12, None), point(24, 5.0), point(700, 4.0, usable=False)]
    svg = series_svg(points, threshold=3.0, unit="score", marks=[(points[2].time, "first <seen>")])
    assert len(drawn(svg, "dot")) == 3
    assert len(drawn(svg, "over")) == 1, "a date set aside is never shown as an alarm"
    assert len(drawn(svg, "past")) == 1
    limit = float(re.search(r"M30 ([\d.]+)H", drawn(svg, "limit")[0].get("d")).group(1))
    below, above = (float(e.get("cy")) for e in drawn(svg, "dot")[:2])
    assert above < limit < below
    assert [e.text for e in drawn(svg, "event-text")] == ["first <seen>"]


def test_a_series_of_one_date_without_threshold_is_drawn():
    assert len(drawn(series_svg([point(0, 0.0)], threshold=None, unit="score", marks=[]), "dot")) == 1


@pytest.mark.parametrize(("days", "rows"), [((0, 12, 40), 2), ((0, 400, 800), 3), ((0,), 1)])
def test_a_calendar_has_a_mark_for_every_date(days, rows):
    marks = [
        Mark(
            time=np.datetime64("2023-01-01", "ns") + np.timedelta64(day, "D"),
            platform=HOSTILE,
            usable=day > 0,
            noted=day > 0,
            history=day == 0,
            title=HOSTILE,
        )
        for day in days
    ]
    svg = calendar_svg(marks, [HOSTILE])
    assert len(drawn(svg, "mark")) == len(days)
    assert len(drawn(svg, "row")) == rows
    assert len(drawn(svg, "cross")) == len(drawn(svg, "off")) == 1
    assert len(drawn(svg, "ring")) == len(days) - 1


def test_outlines_keep_holes_and_scale_bar_is_round():
    ring = shapely.box(2, 2, 8, 8).difference(shapely.box(4, 4, 6, 6))
    svg = overlay_svg([(ring, "darker", HOSTILE, "1")], (40, 60), metres=30)
    assert drawn(svg, "outline")[0].get("d").count("M") == 2
    assert drawn(svg, "bar-text")[0].text == "200 m"


def test_file_name_parts_of_equal_seconds_differ():
    times = np.array(["2023-01-01T02:03:04.1", "2023-01-01T02:03:04.2", "2023-01-02"], "M8[ns]")
    assert stamps(times) == ["20230101T020304Z", "20230101T020304Z-2", "20230102T000000Z"]


# -- words


def test_notes_say_what_was_measured(material):
    notes = dict(quality_notes(material))
    assert notes["2023-03-14"] == "the whole frame is 2.9 dB brighter than history; no events are raised"
    assert "1.0 px off" in notes["2023-01-13"]
    assert "corrected" in notes["2023-01-13"]
    assert len(notes) == 2


def test_what_cannot_be_measured_is_said_once(material):
    dates = [{**one, "shift_state": "not measurable"} for one in material.quality["dates"]]
    silent = replace(material, quality={"dates": dates})
    assert sum("Registration could not be measured on any date" in t for _, t in quality_notes(silent)) == 1


def test_a_flag_nobody_explains_is_still_shown():
    assert date_notes({"flags": ["odd"], "usable": True}, history=False) == ["odd"]
    assert date_notes({"flags": ["gain"], "usable": False}, history=True) == [
        "gain; nothing is learned from it"
    ]
    assert date_notes({"usable": True, "flags": []}, history=False) == []


def test_a_frame_seen_in_part_says_so_only_when_flagged():
    seen = {"valid_fraction": 0.4, "flags": ["coverage 40 %"], "usable": False}
    assert date_notes(seen, history=False) == ["only 40 % of the frame was seen; no events are raised"]
    assert date_notes({"valid_fraction": 0.8, "flags": [], "usable": True}, history=False) == []


def test_a_shift_that_was_taken_out_says_so():
    moved = {"shift_px": [0.6, -0.8], "shift_state": "flagged", "applied_shift_px": [0.6, -0.8],
             "flags": ["shift 1.00 px"], "usable": False}  # fmt: skip
    (note,) = date_notes(moved, history=False)
    assert note.startswith("the frame lies 1.0 px off the others")
    assert note.endswith("corrected; no events are raised")


# -- material


def test_a_bad_threshold_is_refused():
    with pytest.raises(ArtefactError, match="p_value"):
        Threshold.of({"false_alarms": 1e-3}, "threshold.json")


def test_scores_of_another_stack_are_refused(material):
    other = make_times()
    other = replace(other, scene_id=tuple(f"x{i}" for i in range(T)))
    with pytest.raises(ShapeError, match="x0"):
        replace(material, scores=replace(material.scores, times=other))


# -- catalogue


def test_the_catalogue_is_whole_relative_and_repeatable(tmp_path, rng, material):
    two = [material, make_material(rng, name="burst-b", events=False)]
    for folder in (tmp_path / "one" / "site", tmp_path / "two" / "site"):
        (folder / "maps").mkdir(parents=True)
        for m in two:
            for _, stamp in judged_stamps(m):
                for kind in ("anomaly", "status"):
                    path = folder / "maps" / map_name(kind, m.name, stamp)
                    write_cog(
                        path, np.zeros((6, 6), np.float32), cells_geobox(m.scores.grid, m.scores.geobox)
                    )
        write_stac(folder / "stac", two, title="Changes", products={"scene-7": ("P2", "P1")})
    one, other = (
        {p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*.json")}
        for f in (tmp_path / "one", tmp_path / "two")
    )
    assert one == other
    home = tmp_path / "one" / "site" / "stac" / "collection.json"
    collection = pystac.Collection.from_file(str(home))
    assert collection.to_dict()["stac_version"].startswith("1.1")
    items = list(collection.get_items())
    assert len(items) == 2 * (T - FIRST_JUDGED)
    for item in items:
        assert item.properties["proj:code"] == "EPSG:32611"
        assert item.properties["proj:shape"] == [6, 6]
        assert item.properties["proj:transform"] == [240, 0, 500_010, 0, -240, 4_100_010]
        assert -118 < item.bbox[0] < item.bbox[2] < -116
        assert shapely.geometry.shape(item.geometry).bounds == tuple(item.bbox)
        for asset in item.assets.values():
            assert not asset.href.startswith("/")
            path = (home.parent / item.id / asset.href).resolve()
            assert path.is_file()
            assert path.stat().st_size == asset.extra_fields["file:size"]
    derived = {i.properties["sarcast:scene_id"]: i.properties["sarcast:derived_from"] for i in items}
    assert derived["scene-7"] == ["P1", "P2"]
    assert derived["scene-8"] == ["scene-8"]
    assert str(tmp_path) not in home.read_text()


def test_a_catalogue_without_judged_dates_still_has_an_extent(tmp_path, material):
    later = replace(material.threshold, judged_from=np.datetime64("2030-01-01", "ns"))
    write_stac(tmp_path / "stac", [replace(material, threshold=later)], title="Changes", products={})
    found = json.loads((tmp_path / "stac" / "collection.json").read_text())
    assert found["extent"]["spatial"]["bbox"][0][0] < -116
    assert found["extent"]["temporal"]["interval"][0][0].startswith("2023-01-01")


# -- the page


CASES = {
    "two bands": {},
    "one band": {"bands": ("HH",)},
    "no events": {"events": False},
    "not calibrated": {"calibrated": False},
    "hostile names": {"hostile": True},
}


@pytest.fixture(params=CASES)
def page(request, rng):
    return report_html([make_material(rng, **CASES[request.param])], title=f"T {HOSTILE}", settings={})


def test_the_page_is_closed_and_asks_nothing_of_any_network(page):
    found = Page(page)
    for tag, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes), f"a handler on {tag}"
        for name in ("src", "href"):
            if name in attributes and tag != "a":
                assert attributes[name].startswith("data:")
    assert sum(tag == "script" for tag, _ in found.tags) == 1
    assert 'alert("x")' not in page
    assert "http://" not in page
    assert "https://" not in page
    anchors = {a["id"] for _, a in found.tags if "id" in a}
    assert {a["href"][1:] for t, a in found.tags if t == "a" and a["href"].startswith("#")} <= anchors


def test_the_page_says_what_it_must(rng, material):
    page = report_html([material], title="Port", settings={"detections.parquet": {"events": {"confirm": 3}}})
    for text in (
        "1 event",
        "0.1 % of unchanged cells",
        "2.9 dB brighter",
        "confirmed, high",
        "23.04 ha",
        "events.confirm",
    ):
        assert text in page
    assert page == report_html([make_material(np.random.default_rng(20261121))], title="Port",
                               settings={"detections.parquet": {"events": {"confirm": 3}}})  # fmt: skip
    empty = report_html([make_material(rng, events=False)], title="Port")
    assert "No events on 4 judged dates" in empty
    assert report_html([], title="Port")


def test_many_events_are_capped(material):
    events = tuple(replace(material.events[0], event_id=f"e{i}") for i in range(230))
    page = report_html([replace(material, events=events)], title="Port", top=3)
    assert page.count('<article class="event card"') == 3
    assert "The other 30 are in detections.geojson" in page


@pytest.mark.parametrize("width", [400, 1280])
def test_chromium_opens_it_quietly(tmp_path, rng, width):
    sync_api = pytest.importorskip("playwright.sync_api")
    from pathlib import Path

    browser_path = Path("/usr/bin/chromium")
    if not browser_path.exists():
        pytest.skip("no Chromium at /usr/bin/chromium")
    two = [make_material(rng, hostile=True), make_material(rng, name="b", bands=("HH",), events=False)]
    two[0] = replace(two[0], events=tuple(
        replace(two[0].events[0], event_id=f"e{i}", area_m2=1000.0 * (i % 3 + 1)) for i in range(3)
    ))  # fmt: skip
    path = tmp_path / "report.html"
    path.write_text(report_html(two, title=HOSTILE), encoding="utf-8")
    said, asked = [], []
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update"]  # fmt: skip
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(browser_path), args=quiet)
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        assert page.title() == HOSTILE
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
        assert page.evaluate("Array.from(document.images).every(i => i.complete && i.naturalWidth > 0)")
        page.locator("th button", has_text="Area").first.click()
        ranks = page.locator("section.stack >> nth=0").locator("tbody tr td:first-child").all_inner_texts()
        browser.close()
    assert ranks == ["1", "2", "3"]
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]


def test_an_unusual_frame_is_named_where_dates_are_listed(rng):
    material = make_material(rng)
    score, p = np.zeros(T, np.float32), np.full(T, 0.5, np.float32)
    score[[2, 8]], p[[2, 8]] = 4.2, 1e-3
    told = replace(material, scores=replace(material.scores, frame_score=score, frame_p_value=p))
    before, now = set(quality_notes(material)), set(quality_notes(told))
    ((date, text),) = now - before
    assert date == str(told.scores.times.time[8].astype("M8[D]"))
    assert "whole frame is unusual" in text and "4.2 standard deviations" in text
    page = report_html([told], title="x")
    assert page.count("whole frame is unusual") == 2  # in the notes, and on its mark in the calendar
    few = replace(told, scores=replace(told.scores, frame_p_value=None))
    assert set(quality_notes(few)) == before
