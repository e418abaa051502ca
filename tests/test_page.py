"""The report's page in a real browser, as somebody looks at it who would rather look than read."""

import json
import re
from pathlib import Path
from typing import Any, Dict, Iterator

import making
import making_videos
import pytest
from browser import CHROME, DRIVER, Browser, browser
from conftest import run, told

import mapillary_tools as mt

RIGHT, LEFT, ESCAPE = "\ue014", "\ue012", "\ue00c"
needs_browser = pytest.mark.skipif(
    not (CHROME and DRIVER), reason="chromium and chromedriver are not on this computer"
)


@pytest.fixture(scope="module")
def card(tmp_path_factory: Any) -> Path:
    """Two drives of two cameras on two days, two duplicates, three photos without a position; the page."""
    base = tmp_path_factory.mktemp("page")
    card = base / "my c\u00e4rd"
    making.drive(card / "a", 12, make="Acme", model="One", step=0.0004)
    there = dict(lat=57.71, lon=11.98, make="Other", model="Two", start="2024:05:07 08:00:00")
    making.drive(card / "b #1", 8, step=-0.0003, **there)  # type: ignore
    for n in range(2):
        place = dict(lat=57.7044, lon=11.97, time=f"2024:05:06 07:08:{32 + n}", heading=0.0)
        making.photo(card / "a" / f"twice{n}.jpg", make="Acme", model="One", **place)  # type: ignore
    for n in range(3):
        making.photo(card / "a" / f"lost{n}.jpg", time="2024:05:06 07:08:09")
    words = ("--flag_duplicates", "--duplicate_distance", "1", "--timezone", "+02:00")
    run("process", "--import_path", card, "--user_name", "demo", *words)
    run("report", "--import_path", card, "--output_path", base / "page.html")
    return card


@pytest.fixture
def window(card: Path) -> Iterator[Browser]:
    with browser() as one:
        one.open(card.parent / "page.html")
        yield one
        assert one.complaints() == []


def text(window: Browser, what: str) -> str:
    return str(window.do("return document.querySelector(arguments[0]).innerText", what))


def focus(window: Browser) -> None:
    window.do('document.querySelector("canvas").focus()')


def pick(window: Browser, what: str, value: Any) -> None:
    window.do(
        "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.onchange()",
        what,
        value,
    )


def data_of(page: Path) -> Dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found
    return dict(json.loads(found.group(1)))


@needs_browser
def test_the_keyboard_walks_the_photos_and_each_shows_itself(window: Browser):
    focus(window)
    window.keys(RIGHT)
    assert "0001.jpg" in text(window, "#photo")
    window.keys(RIGHT, RIGHT)
    said = text(window, "#photo")
    assert "0003.jpg" in said and "2024-05-06 07:08:13 (+02:00)" in said
    assert (
        "2024-05-06 05:08:13.000" in said and "Acme One" in said and "57.700800,11.970000" in said
    )
    window.keys(LEFT)
    assert "0002.jpg" in text(window, "#photo")
    wide = (
        "const i = document.querySelector('#photo img'); const d = arguments[arguments.length - 1];"
    )
    wide += "i.complete ? d(i.naturalWidth) : (i.onload = () => d(i.naturalWidth))"
    assert window.later(wide) == 64
    window.keys(ESCAPE)
    assert "Choose a dot" in text(window, "#photo")


@needs_browser
def test_a_folder_with_odd_letters_shows_its_photos_too(window: Browser):
    pick(window, "#day", "2024-05-07")
    focus(window)
    window.keys(RIGHT)
    assert window.later(
        "const i = document.querySelector('#photo img'); const d = arguments[arguments.length - 1];"
        "i.complete ? d(i.naturalWidth) : (i.onload = () => d(i.naturalWidth))"
    )


@needs_browser
def test_a_video_is_a_line_and_its_dots_play_it(tmp_path: Path):
    """A dot for each of its places; chosen, the video itself is tried."""
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "ride.mp4").write_bytes(making_videos.driven())
    run("process", "--import_path", tmp_path / "card", "--user_name", "demo", "--videos", "upload")
    run("report", "--import_path", tmp_path / "card", "--output_path", tmp_path / "page.html")
    (row,) = data_of(tmp_path / "page.html")["sequences"]
    assert len(row["points"]) > 3 and row["metres"] > 10
    with browser() as one:
        one.open(tmp_path / "page.html")
        focus(one)
        one.keys(RIGHT)
        assert "ride.mp4" in text(one, "#photo")
        told = (
            "const d = arguments[arguments.length - 1]; const f = () => photo.innerText.includes("
        )
        told += "'cannot play the video') ? d(true) : setTimeout(f, 50); f()"
        assert one.later(told)  # its pictures are none that decode


@needs_browser
def test_a_click_on_a_dot_chooses_it(window: Browser):
    x, y = window.do(
        "const r = canvas.getBoundingClientRect(); const d = dots[3];"
        "return [Math.round(r.left + X(d)), Math.round(r.top + Y(d))]"
    )
    window.click(x, y)
    assert window.do("return chosen === dots[3]")


@needs_browser
@pytest.mark.parametrize(
    "what, value, count",
    [
        ("#state", "duplicate", 2),
        ("#state", "good", 20),
        ("#day", "2024-05-07", 8),
        ("#camera", "0", 14),
        ("#sequence", "0", 12),
    ],
)
def test_what_is_looked_for_can_be_sorted_out(window: Browser, what: str, value: str, count: int):
    pick(window, what, value)
    assert text(window, "#shown") == mt.plural(count, "photo")


@needs_browser
def test_failures_stand_below_by_cause(window: Browser):
    said = text(window, "#lost")
    assert "3 photos: has no position" in said and "a/lost0.jpg" in said


@needs_browser
def test_marks_are_saved_as_a_table_that_process_csv_takes(card: Path, tmp_path: Path):
    with browser() as one:
        one.open(card.parent / "page.html")
        focus(one)
        one.keys(RIGHT, "l", RIGHT)
        one.do(
            "const t = document.querySelector('#photo input[type=number]');"
            "t.value = 90; t.onchange()"
        )
        assert text(one, "#marked") == "2 photos marked"
        assert "process_csv --csv_path corrections.csv for my c\u00e4rd" in text(one, "#how")
        table = one.do("return corrections()")
    assert table == "filename,leave_out,turn_by\na/0001.jpg,yes,\na/0002.jpg,,90\n"


def corrected(card: Path, table: str, *more: Any) -> Any:
    (card.parent / "corrections.csv").write_text(table, encoding="utf-8")
    words = ("--import_path", card, "--csv_path", card.parent / "corrections.csv")
    return run("process_csv", *words, *more)


def test_corrections_leave_out_and_turn(tmp_path: Path):
    card = tmp_path / "card"
    making.drive(card / "a", 4)
    run("process", "--import_path", card, "--user_name", "demo")
    before = making.description((card / "a" / "0002.jpg").read_bytes())["MAPCompassHeading"]
    ran = corrected(card, "filename,leave_out,turn_by\na/0001.jpg,yes,\na/0002.jpg,,90\n")
    assert ran.code == 0, ran
    row = told("process", "--import_path", card, "--user_name", "demo")
    assert (row["done"], row["skipped"]) == (3, {"left_out": 1})
    after = making.description((card / "a" / "0002.jpg").read_bytes())["MAPCompassHeading"]
    turned = (before["TrueHeading"] + 90) % 360
    assert after["TrueHeading"] == pytest.approx(turned, abs=1e-3)
    row = told("upload", "--import_path", card, "--stand_in", tmp_path / "received")
    assert (row["done"], row["skipped"]) == (3, {"left_out": 1})
    assert "left out" in run("status", "--import_path", card, "--image", "0001.jpg").stdout


def test_corrections_are_taken_back(tmp_path: Path):
    card = tmp_path / "card"
    making.drive(card, 3)
    run("process", "--import_path", card, "--user_name", "demo")
    before = {path.name: making.description(path.read_bytes()) for path in card.glob("*.jpg")}
    corrected(card, "filename,leave_out,turn_by\n0001.jpg,yes,\n0002.jpg,,90\n")
    run("process", "--import_path", card, "--user_name", "demo")
    assert corrected(card, "filename,leave_out,turn_by\n0001.jpg,no,\n0002.jpg,,\n").code == 0
    row = told("process", "--import_path", card, "--user_name", "demo")
    assert row["skipped"] == {} and row["done"] == 3
    assert {p.name: making.description(p.read_bytes()) for p in card.glob("*.jpg")} == before


def test_what_was_left_out_stays_so_in_later_runs(tmp_path: Path):
    card = tmp_path / "card"
    making.drive(card, 3)
    corrected(card, "filename,leave_out,turn_by\n0002.jpg,yes,\n")
    for _ in range(3):
        row = told("process", "--import_path", card, "--user_name", "demo")
        assert row["skipped"]["left_out"] == 1
    assert row["skipped"] == {"left_out": 1, "already_processed": 2}


@pytest.mark.parametrize("more", [(), ("--header",)], ids=["", "header"])
@pytest.mark.parametrize("table", ["file,leave_out\n0001.jpg,yes\n", "0001.jpg,57.7,11.9\n"])
def test_another_table_needs_its_columns_named(tmp_path: Path, table: str, more: Any):
    making.drive(tmp_path / "card", 1)
    ran = corrected(tmp_path / "card", table, *more)
    assert ran.code == 2 and "add --timestamp_column" in ran.stderr


@pytest.mark.parametrize("more", [(), ("--header",)], ids=["", "header"])
def test_corrections_are_known_by_their_heading(tmp_path: Path, more: Any):
    making.drive(tmp_path / "card", 2)
    ran = corrected(tmp_path / "card", "filename,leave_out,turn_by\n0001.jpg,yes,\n", *more)
    assert ran.code == 0 and "skipped 1: left out" in ran.stdout


def test_a_turn_counts_on_derived_directions_too(tmp_path: Path):
    making.drive(tmp_path / "card", 3)
    corrected(tmp_path / "card", "filename,leave_out,turn_by\n0002.jpg,,90\n")
    for words in ((), ("--interpolate_directions", "--rerun")):
        run("process", "--import_path", tmp_path / "card", "--user_name", "demo", *words)
        rows = [making.description(p) for p in sorted((tmp_path / "card").glob("*.jpg"))]
        assert [row["MAPCompassHeading"]["TrueHeading"] for row in rows] == [0.0, 90.0, 0.0]


def test_a_mark_that_is_none_is_said(tmp_path: Path):
    making.drive(tmp_path / "card", 2)
    ran = corrected(
        tmp_path / "card", "filename,leave_out,turn_by\n0001.jpg,maybe,\n0002.jpg,,left\n"
    )
    assert ran.code == 1 and "leave_out is maybe" in ran.stdout and ran.stdout.count("line ") >= 2


@needs_browser
def test_on_a_telephone_the_table_is_cards(card: Path):
    with browser(390, 844) as one:
        one.open(card.parent / "page.html")
        assert one.do("return document.documentElement.scrollWidth") <= 390
        assert (
            one.do("return getComputedStyle(document.querySelector('tbody tr')).display") == "block"
        )
        assert one.complaints() == []


@needs_browser
def test_nothing_is_asked_of_any_network(window: Browser):
    pick(window, "#camera", "0")
    focus(window)
    window.keys(RIGHT)
    names = window.do("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [name for name in names if not name.startswith("file:")] == []


@needs_browser
def test_markup_in_a_name_is_text(tmp_path: Path):
    making.drive(tmp_path / "card", 1)
    odd = tmp_path / "card" / "<img src=x onerror=alert(1)>.jpg"
    (tmp_path / "card" / "0001.jpg").rename(odd)
    run("process", "--import_path", tmp_path / "card", "--user_name", "demo")
    run("report", "--import_path", tmp_path / "card", "--output_path", tmp_path / "r.html")
    with browser() as one:
        one.open(tmp_path / "r.html")
        focus(one)
        one.keys(RIGHT)
        assert "<img src=x onerror=alert(1)>.jpg" in text(one, "#photo")
        assert one.do("return document.querySelectorAll('img').length") == 1


@needs_browser
def test_tiles_are_drawn_only_where_they_are_asked_for(card: Path, tmp_path: Path):
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    asked = []

    class Tiles(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(making.jpeg((256, 256)))

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Tiles)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/{{z}}/{{x}}/{{y}}.png"
        page = tmp_path / "r.html"
        words = ("--import_path", card, "--output_path", page, "--tiles", address)
        assert run("report", *words).code == 0
        with browser() as one:
            one.open(page)
            one.later("setTimeout(arguments[0], 1500)")
            assert one.complaints() == []
    finally:
        server.shutdown()
    z, x, y = map(int, re.split("[/.]", asked[0])[1:4])
    assert all(re.match(r"/\d+/\d+/\d+\.png$", path) for path in asked) and len(asked) > 3
    count = 2**z  # the tile of 57.7 north, 11.97 east by the usual formula
    assert abs(x - (11.97 + 180) / 360 * count) < 8 and abs(y / count - 0.3038) < 8 / count + 1e-3


@pytest.mark.parametrize(
    "address", ["x", "ftp://a/{z}/{x}/{y}", "https://a/{z}/{x}", "https://a'/{z}{x}{y}"]
)
def test_an_address_of_no_tiles_is_refused(card: Path, tmp_path: Path, address: str):
    words = ("--import_path", card, "--output_path", tmp_path / "r.html", "--tiles", address)
    ran = run("report", *words)
    assert ran.code == 2 and "--tiles is no address" in ran.stderr


def test_thumbnails_go_into_the_page_when_asked_for(tmp_path: Path):
    making.drive(tmp_path / "card", 2)
    path = tmp_path / "card" / "0001.jpg"
    exif = mt.piexif().load(path.read_bytes())
    exif["1st"], exif["thumbnail"] = {0x0103: 6}, making.jpeg((16, 16))
    mt.piexif().insert(mt.piexif().dump(exif), str(path))
    run("process", "--import_path", tmp_path / "card", "--user_name", "demo")
    page = tmp_path / "r.html"
    run("report", "--import_path", tmp_path / "card", "--output_path", page, "--thumbnails")
    assert list(data_of(page)["thumbnails"]) == ["0001.jpg"]
    run("report", "--import_path", tmp_path / "card", "--output_path", page)
    assert data_of(page)["thumbnails"] == {}


def test_row_10_a_dry_run_writes_its_page_and_nothing_else(tmp_path: Path):
    making.drive(tmp_path / "card", 3)
    page = tmp_path / "r.html"
    words = (
        "--import_path",
        tmp_path / "card",
        "--user_name",
        "demo",
        "--dry_run",
        "--report",
        page,
    )
    ran = run("process", *words)
    assert ran.code == 0 and "the page is" in ran.stdout
    assert [len(s["points"]) for s in data_of(page)["sequences"]] == [3]
    assert not (tmp_path / "card" / ".mapillary").exists()
    assert all(not making.description(p.read_bytes()) for p in (tmp_path / "card").glob("*.jpg"))


@needs_browser
@pytest.mark.slow
def test_ten_thousand_photos_are_fluid(tmp_path: Path):
    """Under 1.5 s to load and 16 ms a frame while zooming; ten times that on a machine that is busy."""
    from test_report import folder_with, record
    from conftest import line

    rows = [
        record(f"IMG_{n:05d}.jpg", lat=57 + n * 1e-5, time=1000.0 + n, sequence=f"s{n // 500}")
        for n in range(10000)
    ]
    folder_with(tmp_path / "d")
    with mt.Journal(tmp_path / "d") as journal:
        journal.append([line(tmp_path / "d", row) for row in rows])
    run("report", "--import_path", tmp_path / "d", "--output_path", tmp_path / "r.html")
    with browser() as one:
        one.open(tmp_path / "r.html")
        load = one.do("return performance.getEntriesByType('navigation')[0].loadEventEnd")
        frame = one.do(
            "const t = performance.now();"
            "for (let i = 0; i < 30; i++) { zoom(i % 2 ? 1.2 : 1 / 1.2); draw(); }"
            "return (performance.now() - t) / 30"
        )
        print(f"load {load:.0f} ms, frame {frame:.1f} ms")
        assert load < 15000 and frame < 160
