"""What is told right: corrections that are kept, cells that a spreadsheet spoiled, counts, what comes next, and clocks
that all photos of a folder settle together.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import making
import making_logs as logs
import pytest
from browser import CHROME, DRIVER, browser
from conftest import Ran, in_process, run, told, tree

pytestmark = in_process
USER = ("--user_name", "demo")
START = 1714979281.0  # 2024-05-06 07:08:01 UTC
SHORTENED = ["1.71498E+12", "1,71498E+12"]  # milliseconds: any time of almost three hours
HEADING = "filename,leave_out,turn_by\n"
needs_browser = pytest.mark.skipif(
    not (CHROME and DRIVER), reason="chromium and chromedriver are not on this computer"
)


def process(folder: Path, *more: Any) -> Ran:
    return run("process", "--import_path", folder, *USER, *more)


def give(folder: Path, text: str, *more: Any) -> Ran:
    """process_csv with this table."""
    path = folder.parent / "given.csv"
    path.write_bytes(text.encode("utf-8"))
    return run("process_csv", "--import_path", folder, "--csv_path", path, *more)


def columns(*names: str) -> List[str]:
    """The options for a table of file names and these columns."""
    asked = ["--filename_column", "1"]
    for number, name in enumerate(names):
        asked += [f"--{name}_column", str(number + 2)]
    return asked


def shot(path: Path, seconds: float, hours: int = 0, **fields: Any) -> Path:
    """A photo so many seconds after the start, by a clock so many hours ahead of UTC."""
    text = logs.stamp(START + seconds + 3600 * hours, "%Y:%m:%d %H:%M:%S")
    return making.photo(path, time=text, **dict({"pixels": int(path.stem[-4:])}, **fields))


def by_gps(seconds: float) -> Dict[str, Any]:
    """The GPS time of a photo."""
    day, clock = logs.stamp(START + seconds, "%Y:%m:%d %H:%M:%S").split()
    return {"gps_date": day, "gps_time": clock}


def ride(path: Path, seconds: int = 300) -> List[Any]:
    """Options for a track of so many seconds from the start on, straight to the north."""
    making.gpx([(START + n, 57.7 + n * 1e-4, 11.97) for n in range(seconds)], path)
    return ["--geotag_source", "gpx", "--geotag_source_path", path]


def described(folder: Path) -> Dict[str, Tuple[str, float]]:
    """The time of day and the latitude of each photo that has a description."""
    found = {}
    for path in sorted(folder.rglob("*.jpg")):
        row = {} if ".mapillary" in path.parts else making.description(path)
        if row:
            name = path.relative_to(folder).as_posix()
            found[name] = row["MAPCaptureTime"][11:], round(row["MAPLatitude"], 6)
    return found


def driven(*seconds: float) -> List[Tuple[str, float]]:
    """What photos taken so many seconds after the start are described with on the ride."""
    clocks = [logs.stamp(START + one, "%H_%M_%S", 3).replace(".", "_") for one in seconds]
    return [(clock, round(57.7 + one * 1e-4, 6)) for clock, one in zip(clocks, seconds)]


# ---- corrections --------------------------------------------------------------------------------


def page_of(card: Path) -> Path:
    run("report", "--import_path", card, "--output_path", card.parent / "page.html")
    return card.parent / "page.html"


def heading(path: Path) -> float:
    return round(making.description(path)["MAPCompassHeading"]["TrueHeading"], 2)


def test_the_page_knows_what_corrections_gave_before(tmp_path: Path):
    """Its marks began with nothing, whatever was left out or turned."""
    making.drive(tmp_path / "card", 3)
    making.drive(tmp_path / "card" / "b", 3, lat=57.8)
    give(tmp_path / "card", HEADING + "0001.jpg,yes,\nb/0002.jpg,,90\n0003.jpg,yes,-7.5\n")
    process(tmp_path / "card")
    text = page_of(tmp_path / "card").read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', text)
    rows = json.loads(found.group(1))["given"] if found else []
    assert sorted(rows) == [
        ["0001.jpg", True, 0],
        ["0003.jpg", True, -7.5],
        ["b/0002.jpg", False, 90],
    ]


@needs_browser
def test_the_page_begins_with_the_corrections_of_before(tmp_path: Path):
    """Ten degrees more than the 90 of before were asked for as 10, and the photo turned back by 80."""
    making.drive(tmp_path / "card", 3)
    give(tmp_path / "card", HEADING + "0002.jpg,,90\n")
    process(tmp_path / "card")
    box = "const t = document.querySelector('#photo input[type=number]');"
    with browser() as one:
        one.open(page_of(tmp_path / "card"))
        one.do('document.querySelector("canvas").focus()')
        one.keys("\ue014", "\ue014")  # to the right, twice
        assert one.do(box + "return t.value") == "90"
        one.do(box + "t.value = 100; t.onchange()")
        table = one.do("return corrections()")
        one.do(box + "t.value = 90; t.onchange()")
        assert one.do("return corrections()") == HEADING  # as it is: nothing to correct
    assert table == HEADING + "0002.jpg,,100\n"
    give(tmp_path / "card", table)
    process(tmp_path / "card")
    assert heading(tmp_path / "card" / "0002.jpg") == 100.0


@pytest.mark.parametrize("mark", [";", "\t"], ids=["semicolons", "tabs"])
def test_corrections_that_a_spreadsheet_saved_again_are_known(mark: str, tmp_path: Path):
    """The options for the columns of another table were asked for."""
    making.drive(tmp_path / "card", 3)
    table = "\ufeff" + (HEADING + "0001.jpg,yes,\n0002.jpg,,90\n").replace(",", mark)
    assert give(tmp_path / "card", table.replace("\n", "\r\n")).code == 0
    row = told("process", "--import_path", tmp_path / "card", *USER)
    assert (row["done"], row["skipped"]) == (2, {"left_out": 1})
    assert heading(tmp_path / "card" / "0002.jpg") == 90.0


@pytest.fixture
def namesakes(tmp_path: Path) -> Path:
    """Photos with the same names at the top, in a folder, and in one of that name further down."""
    for number, name in enumerate(("", "edited", "x/edited")):
        making.drive(tmp_path / "card" / name, 2, lat=57.7 + number)
    return tmp_path / "card"


def test_corrections_mean_the_path_that_the_page_wrote(namesakes: Path, tmp_path: Path):
    """Neither was left out: as the names are also further down, rows were said to mean several."""
    assert give(namesakes, HEADING + "0001.jpg,yes,\nedited/0002.jpg,yes,\n").code == 0
    process(namesakes)
    kept = ["0002.jpg", "edited/0001.jpg", "x/edited/0001.jpg", "x/edited/0002.jpg"]
    assert sorted(described(namesakes)) == kept
    row = told("upload", "--import_path", namesakes, "--stand_in", tmp_path / "received")
    assert (row["done"], row["skipped"]) == (4, {"left_out": 2})


def test_the_table_of_an_export_gives_each_photo_its_own_row(namesakes: Path, tmp_path: Path):
    """Only two of six got theirs."""
    process(namesakes)
    run("export", "--import_path", namesakes, "--output_path", tmp_path / "e.csv")
    names, *rows = (tmp_path / "e.csv").read_text(encoding="utf-8").splitlines()
    place = ["--latitude_column", names.split(",").index("latitude") + 1]
    place += ["--longitude_column", names.split(",").index("longitude") + 1]
    before = {name: making.place(namesakes / name) for name in described(namesakes)}
    for path in namesakes.rglob("*.jpg"):
        making.photo(path)
    shutil.rmtree(str(namesakes / ".mapillary"))
    ran = give(namesakes, "\n".join([names, *rows]), "--header", *columns(), *place)
    assert ran.code == 0 and "6 written" in ran.stdout, ran
    assert {name: making.place(namesakes / name) for name in before} == before


# ---- cells that a spreadsheet wrote -------------------------------------------------------------


@pytest.mark.parametrize("cell", [*SHORTENED, "1.71498e+09"])
def test_a_time_that_a_spreadsheet_shortened_is_not_given(cell: str, tmp_path: Path):
    """It was taken for an exact one, up to hours off, without a word."""
    for number in (1, 2, 3):
        shot(tmp_path / "p" / f"{number:04d}.jpg", 1000.0)
    before = (tmp_path / "p" / "0001.jpg").read_bytes()
    table = f"0001.jpg;{cell}\n0002.jpg;1.714979281E+12\n0003.jpg;1.714979281000E+12\n"
    words = ("--delimiter", ";", *columns("timestamp"), "--convert_utc_time")
    ran = give(tmp_path / "p", table, *words)
    assert ran.code == 1 and f"{cell} has lost its last digits" in ran.stdout, ran
    assert "export the table again" in ran.stdout
    assert (tmp_path / "p" / "0001.jpg").read_bytes() == before
    for name in ("0002.jpg", "0003.jpg"):
        assert making.read_exif(tmp_path / "p" / name)["DateTimeOriginal"] == "2024:05:06 07:08:01"


@pytest.mark.parametrize("cell", SHORTENED)
def test_times_that_a_spreadsheet_shortened_are_not_spread(cell: str, tmp_path: Path):
    """The table was rewritten with times that nobody had taken."""
    path = tmp_path / "t.csv"
    path.write_text(f"t;n\n{cell};1\n{cell};2\n{cell};3\n", encoding="utf-8")
    words = ("--data", "identical_timestamps", "--file_in_path", path, "--time_utc", "--header")
    ran = run("interpolate", *words, "--delimiter", ";")
    assert ran.code == 1 and "3 failed" in ran.stdout
    assert f"line 2 has no timestamp: {cell} (format its column as a number" in ran.stdout
    assert path.read_text(encoding="utf-8") == f"t;n\n{cell};1\n{cell};2\n{cell};3\n"


def table_track(path: Path, rows: Sequence[Tuple[str, ...]], mark: str = ";") -> List[Any]:
    lines = [mark.join(row) for row in (("time", "latitude", "longitude", "altitude"), *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ["--geotag_source", "csv", "--geotag_source_path", path]


@pytest.mark.parametrize("point", [".", ","], ids=["decimal_points", "decimal_commas"])
def test_a_track_whose_times_a_spreadsheet_shortened_places_nothing(point: str, tmp_path: Path):
    """Photos were put kilometres off; by all digits they are where they were taken."""
    shot(tmp_path / "p" / "0001.jpg", 4000.0, offset="+00:00")
    for digits, code in ((5, 5), (9, 0), (12, 0)):
        rows: Any = [
            (f"{(START + n * 60) * 1000:.{digits}E}", f"{57.7 + n * 6e-3:.5f}", "11.97000", "5.5")
            for n in range(180)
        ]
        rows = [tuple(cell.replace(".", point) for cell in row) for row in rows]
        ran = process(tmp_path / "p", *table_track(tmp_path / f"{digits}.csv", rows))
        assert ran.code == code and ("times that cannot be" in ran.stderr) == bool(code), ran
        assert list(described(tmp_path / "p").values()) == ([] if code else driven(4000))


@pytest.mark.parametrize("cell", ["-1", "-9999", "65535", "999.9", "427"])
def test_a_number_that_stands_for_no_direction_gives_none(cell: str, tmp_path: Path):
    """It was taken for one, whole turns taken off: 359, 81, 15, 279.9, 67."""
    wanted = {"0001.jpg": None, "0002.jpg": 270.0, "0003.jpg": 0.0, "0004.jpg": 0.0}
    for name in wanted:
        shot(tmp_path / "p" / name, 0.0)
    table = f"0001.jpg,{cell}\n0002.jpg,-90\n0003.jpg,0\n0004.jpg,360\n"
    ran = give(tmp_path / "p", table, *columns("heading"))
    assert ran.code == 0 and "1 heading of the table" in ran.stderr
    assert f"taken for unknown: {cell}\n" in ran.stderr
    assert {name: making.direction(tmp_path / "p" / name) for name in wanted} == wanted


THOUSANDS = [("1.312", 1312.0), ("1.012,5", 1012.5), ("312,5", 312.5)]


def test_a_point_between_thousands_beside_decimal_commas_is_none_of_decimals(tmp_path: Path):
    """1.312 m were written for 1312."""
    for number, _ in enumerate(THOUSANDS):
        shot(tmp_path / "p" / f"{number:04d}.jpg", number)
    table = "".join(
        f"{n:04d}.jpg;57,7001;11,9701;{cell}\n" for n, (cell, _) in enumerate(THOUSANDS)
    )
    names = columns("latitude", "longitude", "altitude")
    assert give(tmp_path / "p", table, "--delimiter", ";", *names).code == 0
    found = [making.place(path) for path in sorted((tmp_path / "p").glob("*.jpg"))]
    assert found == [pytest.approx((57.7001, 11.9701, metres)) for _, metres in THOUSANDS]


@pytest.mark.parametrize("cell, metres", THOUSANDS[:2])
def test_a_track_with_points_between_thousands_is_as_high(cell: str, metres: float, tmp_path: Path):
    shot(tmp_path / "p" / "0001.jpg", 2.0, offset="+00:00")
    rows = [(f"06.05.2024 07:08:0{n}", f"57,700{n}", "11,9701", cell) for n in range(9)]
    assert process(tmp_path / "p", *table_track(tmp_path / "t.csv", rows)).code == 0
    wanted = pytest.approx((57.7003, 11.9701, metres))
    assert making.place(tmp_path / "p" / "0001.jpg") == wanted


@pytest.mark.parametrize(
    "kind, cell, where, value, wrong",
    [
        ("long", "12.0", "longs", 12, "12.5"),
        ("boolean", "WAHR", "booleans", True, "WAHRSCHEINLICH"),
        ("boolean", "Falsch", "booleans", False, "F"),
    ],
)
def test_meta_data_is_read_as_a_spreadsheet_writes_it(
    kind: str, cell: str, where: str, value: Any, wrong: str, tmp_path: Path
):
    """The whole row was held back, with its position."""
    for number in (1, 2):
        shot(tmp_path / "p" / f"{number:04d}.jpg", number)
    words = ("--meta_columns", 4, "--meta_names", "m", "--meta_types", kind)
    table = f"0001.jpg,57.7,11.9,{cell}\n0002.jpg,57.7,11.9,{wrong}\n"
    ran = give(tmp_path / "p", table, *columns("latitude", "longitude"), *words)
    assert ran.code == 1 and "1 written" in ran.stdout and "0002.jpg: line 2" in ran.stdout, ran
    process(tmp_path / "p")
    tags = making.description(tmp_path / "p" / "0001.jpg")["MAPMetaTags"][where]
    assert {"key": "m", "value": value} in tags and type(tags[0]["value"]) is type(value)


def test_a_column_of_gps_weeks_that_is_missing_is_named(tmp_path: Path):
    """What was said was "list index out of range"."""
    shot(tmp_path / "p" / "0001.jpg", 0.0)
    words = (*columns("timestamp"), "--convert_gps_time", "--gps_week_column", 9)
    assert "column 9 is missing" in give(tmp_path / "p", "0001.jpg,12345\n", *words).stdout


# ---- what is written, counted and said ----------------------------------------------------------


def test_spread_times_beside_a_table_replace_no_other_table(tmp_path: Path):
    """What somebody had worked on there was gone."""
    path, beside = tmp_path / "t.csv", tmp_path / "t_interpolated.csv"
    path.write_text("2024-05-06T07:08:09Z\n" * 2, encoding="utf-8")
    beside.write_text("my own table\n", encoding="utf-8")
    words = ("interpolate", "--data", "identical_timestamps", "--file_in_path", path)
    ran = run(*words, "--keep_original")
    assert ran.code == 11 and "t_interpolated.csv: is there, and is another table" in ran.stderr
    assert beside.read_text(encoding="utf-8") == "my own table\n"
    beside.unlink()
    assert [run(*words, "--keep_original").code for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("form", ["json", "gpx"])
def test_an_export_counts_what_its_file_holds(form: str, tmp_path: Path):
    """The duplicate was said to be exported, and was not in the file."""
    making.drive(tmp_path / "card", 5)
    shot(tmp_path / "card" / "0006.jpg", 18.0, lat=57.7004, lon=11.97)
    process(tmp_path / "card", "--flag_duplicates", "--duplicate_distance", "0.5")
    path = tmp_path / f"e.{form}"
    row = told("export", "--import_path", tmp_path / "card", "--output_path", path)
    text = path.read_text(encoding="utf-8")
    held = len(json.loads(text)) if form == "json" else text.count("<trkpt")
    assert (row["done"], row["skipped"], held) == (5, {"duplicate": 1}, 5)


@pytest.mark.parametrize("form", ["json", "gpx"])
def test_an_export_without_anything_in_it_is_refused(form: str, tmp_path: Path):
    """Three were said to be exported into an empty file."""
    making.drive(tmp_path / "card", 3)
    run("extract_geotag_data", "--import_path", tmp_path / "card")
    path = tmp_path / f"e.{form}"
    ran = run("export", "--import_path", tmp_path / "card", "--output_path", path)
    assert ran.code == 3 and "run process first" in ran.stderr and not path.exists()


def refused_offset(card: Path, value: str) -> str:
    making.drive(card, 1)
    ran = process(card, f"--offset_time={value}")
    assert ran.code == 2
    return ran.stderr


@pytest.mark.parametrize(
    "value, meant", [("-1:30:00", "-5400"), ("-0:30", "-30"), ("1:30.5", "90.5")]
)
def test_the_example_for_an_offset_is_the_one_that_was_meant(
    value: str, meant: str, tmp_path: Path
):
    """For -1:30:00 it was -1."""
    said = refused_offset(tmp_path / "card", value)
    assert f"{value} (for example --offset_time {meant})" in said


@pytest.mark.parametrize("value", ["+02:00", "2h30"])
def test_no_example_for_an_offset_is_made_of_half_of_a_text(value: str, tmp_path: Path):
    """It was 2, of which nobody would know that it means seconds."""
    assert "(for example --offset_time 2)" not in refused_offset(tmp_path / "card", value)


@pytest.mark.parametrize(
    "tools, left",
    [
        ("extract_geotag_data", "extract_user_data extract_sequence_data"),
        ("extract_geotag_data extract_sequence_data", "extract_user_data"),
        ("extract_import_meta_data", "extract_user_data extract_geotag_data extract_sequence_data"),
        ("extract_upload_params", "extract_user_data extract_geotag_data extract_sequence_data"),
        ("extract_user_data", "extract_geotag_data extract_sequence_data"),
    ],
)
def test_whoever_does_what_comes_next_after_a_step_gets_all_photos_up(
    tools: str, left: str, tmp_path: Path
):
    """An upload came next after every step, and failed with all photos."""
    making.drive(tmp_path / "card", 3)
    for tool in tools.split():
        user = USER if tool in ("extract_user_data", "extract_upload_params") else ()
        row = told(tool, "--import_path", tmp_path / "card", *user)
    done = []
    while row["next"][0] != "upload":
        done.append(row["next"][0])
        row = told(*("demo" if word == "NAME" else word for word in row["next"]))
        assert row["exit_code"] == 0, row
    assert done == [*left.split(), "exif_insert"]
    row = told(*row["next"], "--stand_in", tmp_path / "received")
    assert (row["exit_code"], row["done"]) == (0, 3), row


def test_a_rehearsed_upload_says_what_it_cannot_know(tmp_path: Path):
    """Five would be uploaded, it said of a copy of the card; the upload itself sent none."""
    making.drive(tmp_path / "p", 5)
    shutil.copytree(str(tmp_path / "p"), str(tmp_path / "q"))
    words = ("--stand_in", tmp_path / "received")
    again = ("upload", "--import_path", tmp_path / "q", *words)
    process(tmp_path / "q")
    assert "another folder" not in run(*again, "--dry_run").stderr  # nothing has gone up so far
    run("process_and_upload", "--import_path", tmp_path / "p", *USER, *words)
    ran = run(*again, "--dry_run")
    assert "5 would be uploaded" in ran.stdout
    assert "from another folder are known again only when they are read" in ran.stderr
    assert "another folder" not in run(*again, "--dry_run", "--reupload").stderr
    assert "0 uploaded + 5 skipped" in run(*again).stdout


def test_a_rehearsed_upload_says_how_many_are_outdated(tmp_path: Path):
    making.drive(tmp_path / "p", 5)
    words = ("--import_path", tmp_path / "p")
    run("process_and_upload", *words, *USER, "--stand_in", tmp_path / "received")
    give(tmp_path / "p", "0002.jpg,57.7003,11.97\n", *columns("latitude", "longitude"))
    process(tmp_path / "p")
    ran = run("upload", *words, "--stand_in", tmp_path / "received", "--dry_run")
    assert (
        "1 were sent with another time, position or direction than they have now" in ran.stderr
    ), ran


@pytest.mark.parametrize("more", [(), ("--dry_run",)], ids=["", "dry_run"])
@pytest.mark.parametrize("name, value", [("MAX_ATTEMPTS", "0"), ("NUMBER_THREADS", "four")])
def test_numbers_of_the_environment_are_checked_before_anything_is_written(
    name: str, value: str, more: Any, tmp_path: Path, monkeypatch: Any
):
    """The rehearsal was content, and the run wrote into every photo before it ended with 2."""
    making.drive(tmp_path / "card", 3)
    monkeypatch.setenv(name, value)
    before = tree(tmp_path)
    words = ("--import_path", tmp_path / "card", "--stand_in", tmp_path / "received", *more)
    ran = run("process_and_upload", *USER, *words)
    assert ran.code == 2 and f"{name} must be a whole number" in ran.stderr, ran
    assert tree(tmp_path) == before


def test_a_rehearsed_upload_checks_the_number_of_threads(tmp_path: Path, monkeypatch: Any):
    making.drive(tmp_path / "card", 3)
    process(tmp_path / "card")
    monkeypatch.setenv("NUMBER_THREADS", "0")
    words = ("--import_path", tmp_path / "card", "--stand_in", tmp_path / "received")
    assert [run("upload", *words, *more).code for more in ((), ("--dry_run",))] == [2, 2]


# ---- clocks that all photos of a folder settle --------------------------------------------------


def started(folder: Path, count: int = 10) -> List[Path]:
    """Photos two seconds apart by a clock that nobody has set."""
    text = "2020:01:01 00:10:{:02d}"
    times = [text.format(2 * number) for number in range(count)]
    return [
        making.photo(folder / f"{number:04d}.jpg", time=time, pixels=number)
        for number, time in enumerate(times)
    ]


def zoned(folder: Path, step: float = 0.0) -> List[Path]:
    """Photos of a clock two hours ahead, of which the GPS times of some of the first ones tell."""
    photos = []
    for n in range(10):
        more = by_gps(10.0 * n) if n in (0, 2, 4) else {}
        if step:
            more.update(lat=57.7 + n * step, lon=11.97)
        photos.append(shot(folder / f"{n:04d}.jpg", 10.0 * n, hours=2, **more))
    return photos


def burst(folder: Path) -> List[Path]:
    """Four photos of one second, and one of the next."""
    return [shot(folder / f"{n:04d}.jpg", 5.0 + n // 4, offset="+00:00") for n in range(5)]


HALVES: Dict[str, Any] = {
    "start": (started, ["--use_gps_start_time"], driven(*range(0, 20, 2))),
    "zone": (zoned, [], driven(*range(0, 100, 10))),
    "burst": (burst, [], driven(5.0, 5.25, 5.5, 5.75, 6.0)),
    "sub_seconds": (burst, ["--sub_second_interval", "0.2"], driven(5.3, 5.5, 5.7, 5.9, 6.1)),
}


@pytest.mark.parametrize(
    "kind, late",
    [
        ("start", "behind"),
        ("start", "between"),
        ("zone", "behind"),
        ("zone", "between"),
        ("burst", "behind"),
        ("burst", "between"),
        ("sub_seconds", "between"),
    ],
)
def test_photos_that_come_after_an_upload_are_settled_with_those_that_went_up(
    kind: str, late: str, tmp_path: Path
):
    """They were settled among themselves: at the start of the track again, in UTC, in the same second."""
    make, more, wanted = HALVES[kind]
    card, later = tmp_path / "card", tmp_path / "later"
    photos = make(card)
    away = photos[1::2] if late == "between" else photos[len(photos) // 2 :]
    words = ["--import_path", card, "--advanced", *USER, *more, *ride(tmp_path / "t.gpx", 9000)]
    stand_in = ("--stand_in", tmp_path / "received")
    later.mkdir()
    for path in away:
        path.rename(later / path.name)
    told("process_and_upload", *words, *stand_in)
    for path in away:
        (later / path.name).rename(path)
    row = told("process_and_upload", *words, *stand_in)
    assert (row["done"], row["exit_code"]) == (len(away), 0)
    assert list(described(card).values()) == wanted


def test_a_first_photo_that_is_left_out_still_stands_at_the_start_of_the_track(tmp_path: Path):
    """The first of the others was put there, and all of them six seconds back."""
    started(tmp_path / "card")
    words = (*ride(tmp_path / "t.gpx"), "--use_gps_start_time")
    process(tmp_path / "card", *words)
    give(tmp_path / "card", HEADING + "0000.jpg,yes,\n0001.jpg,yes,\n0002.jpg,yes,\n")
    row = told("process", "--import_path", tmp_path / "card", *USER, *words)
    assert row["skipped"] == {"left_out": 3}
    assert list(described(tmp_path / "card").values())[3:] == driven(*range(6, 20, 2))


def test_done_again_photos_in_an_area_still_stand_at_the_start_of_the_track(tmp_path: Path):
    """With --rerun those behind the area began where the track does, inside of the area."""
    started(tmp_path / "card")
    words = [*ride(tmp_path / "t.gpx"), "--use_gps_start_time", "--exclude_area", "57.7,11.97,60"]
    for more in ((), ("--rerun",)):
        row = told("process", "--import_path", tmp_path / "card", *USER, *words, *more)
        assert (row["done"], row["skipped"]) == (7, {"excluded_area": 3})
        assert list(described(tmp_path / "card").values()) == driven(*range(6, 20, 2))


def test_done_again_photos_in_an_area_still_tell_of_the_zone(tmp_path: Path):
    """With --rerun the others were two hours off, taken for UTC."""
    zoned(tmp_path / "card", 1e-3)
    for again in ((), ("--rerun",)):
        words = (*USER, "--exclude_area", "57.7,11.97,500", *again)
        row = told("process", "--import_path", tmp_path / "card", *words)
        assert (row["done"], row["skipped"]) == (5, {"excluded_area": 5})
        found = described(tmp_path / "card").values()
        assert [clock for clock, _ in found] == [clock for clock, _ in driven(50, 60, 70, 80, 90)]


def in_folders(card: Path, *names: str) -> None:
    """Ten photos of a clock that nobody has set, five in each folder."""
    for number, path in enumerate(started(card)):
        (card / names[number // 5]).mkdir(exist_ok=True)
        path.rename(card / names[number // 5] / path.name)


def test_numbered_folders_go_on_where_the_one_before_ended(tmp_path: Path):
    """The photos of the second one lay on those of the first."""
    in_folders(tmp_path / "DCIM", "100GOPRO", "101GOPRO")
    ran = process(tmp_path / "DCIM", *ride(tmp_path / "t.gpx"), "--use_gps_start_time")
    assert ran.code == 0 and "begins" not in ran.stderr
    assert list(described(tmp_path / "DCIM").values()) == driven(*range(0, 20, 2))


def test_other_folders_of_one_camera_that_all_begin_with_the_track_are_said(tmp_path: Path):
    in_folders(tmp_path / "card", "there", "back")
    ran = process(tmp_path / "card", *ride(tmp_path / "t.gpx"), "--use_gps_start_time")
    assert "--use_gps_start_time begins 2 folders of one camera at the start" in ran.stderr
    assert list(described(tmp_path / "card").values()) == 2 * driven(*range(0, 10, 2))


def test_a_burst_over_the_change_of_folder_stays_in_order(tmp_path: Path):
    """0001 of the new folder came before 9998 of the one before."""
    names = ["100CANON/IMG_9998", "100CANON/IMG_9999", "101CANON/IMG_0001", "101CANON/IMG_0002"]
    for name in names:
        shot(tmp_path / "DCIM" / f"{name}.jpg", 5.0, offset="+00:00")
    words = (*ride(tmp_path / "t.gpx"), "--merge_folders")
    process(tmp_path / "DCIM", *words)
    found = described(tmp_path / "DCIM")
    assert [found[f"{name}.jpg"] for name in names] == driven(5, 5.25, 5.5, 5.75)


# ---- times that no clock of the camera told -----------------------------------------------------


def test_an_offset_of_the_clock_is_not_taken_off_gps_times(tmp_path: Path):
    """They were ten seconds early."""
    for n in range(3):
        shot(tmp_path / "p" / f"{n:04d}.jpg", 4 * n + 30.0, offset="+00:00", **by_gps(4 * n + 20.0))
    making.photo(tmp_path / "p" / "0003.jpg", time=None, **by_gps(32.0))
    words = (*ride(tmp_path / "t.gpx"), "--offset_time", 10)
    ran = process(tmp_path / "p", *words)
    assert ran.code == 0 and "10 s subtracted: 2024-05-06T07:08:31.000Z becomes" in ran.stderr
    assert list(described(tmp_path / "p").values()) == driven(20, 24, 28, 32)


def test_an_offset_of_the_clock_is_not_taken_off_where_gps_times_come_first(tmp_path: Path):
    for n in range(4):
        shot(tmp_path / "p" / f"{n:04d}.jpg", 4 * n + 30.0, offset="+00:00", **by_gps(4 * n + 20.0))
    words = (*ride(tmp_path / "t.gpx"), "--offset_time", 10, "--time_source", "gps")
    assert process(tmp_path / "p", *words).code == 0
    assert list(described(tmp_path / "p").values()) == driven(20, 24, 28, 32)


def test_an_offset_of_the_clock_is_not_taken_off_times_of_a_table(tmp_path: Path):
    """What a table gave as UTC was ten seconds early."""
    for n in range(4):
        shot(tmp_path / "p" / f"{n:04d}.jpg", 4 * n + 30.0, offset="+00:00")
    table = "".join(f"{n:04d}.jpg,{START + 4 * n + 20:.0f}\n" for n in (1, 2))
    give(tmp_path / "p", table, *columns("timestamp"), "--convert_utc_time")
    words = (*ride(tmp_path / "t.gpx"), "--offset_time", 10)
    assert process(tmp_path / "p", *words).code == 0
    assert list(described(tmp_path / "p").values()) == driven(20, 24, 28, 32)


@pytest.mark.parametrize("tool", ["process", "process_and_upload"])
def test_a_numbered_folder_that_comes_later_goes_on(tool: str, tmp_path: Path):
    photos = started(tmp_path / "DCIM" / "100GOPRO")
    (tmp_path / "DCIM" / "101GOPRO").mkdir()
    (tmp_path / "later").mkdir()
    for path in photos[5:]:
        path.rename(tmp_path / "later" / path.name)
    words: Any = [tool, "--import_path", tmp_path / "DCIM", *USER, *ride(tmp_path / "t.gpx")]
    words += ["--use_gps_start_time", "--advanced"]
    words += ["--stand_in", tmp_path / "r"] if tool == "process_and_upload" else []
    run(*words)
    for path in photos[5:]:
        (tmp_path / "later" / path.name).rename(tmp_path / "DCIM" / "101GOPRO" / path.name)
    run(*words)
    assert list(described(tmp_path / "DCIM").values()) == driven(*range(0, 20, 2))


@pytest.mark.parametrize("cell", ["1.39901E+09", "1,39901E+09"])
def test_gps_seconds_that_a_spreadsheet_shortened_are_refused(cell: str, tmp_path: Path):
    shot(tmp_path / "p" / "0001.jpg", 0.0)
    words = ("--delimiter", ";", *columns("timestamp"), "--convert_gps_time")
    assert give(tmp_path / "p", f"0001.jpg;{cell}\n", *words).code == 1


@pytest.mark.parametrize(
    "row, metres", [("57,7001;11,97;0.312", 0.312), ("57;11,9701;1.312", 1312.0)]
)
def test_thousands_are_known_as_such(row: str, metres: float, tmp_path: Path):
    """A thousand does not begin with 0; the longitude has decimals too."""
    shot(tmp_path / "p" / "0001.jpg", 0.0)
    names = columns("latitude", "longitude", "altitude")
    give(tmp_path / "p", f"0001.jpg;{row}\n", "--delimiter", ";", *names)
    found = making.place(tmp_path / "p" / "0001.jpg")
    assert found and found[2] == pytest.approx(metres)


def spread(tmp_path: Path, rows: int, *more: Any) -> int:
    (tmp_path / "t.csv").write_text("2024-05-06T07:08:09Z\n" * rows, encoding="utf-8")
    words = ("--data", "identical_timestamps", "--file_in_path", tmp_path / "t.csv")
    return run("interpolate", *words, "--keep_original", *more).code


def test_a_rehearsal_of_interpolate_refuses_what_the_run_refuses(tmp_path: Path):
    (tmp_path / "t_interpolated.csv").write_text("mine\n", encoding="utf-8")
    assert spread(tmp_path, 2, "--dry_run") == spread(tmp_path, 2) == 11


def test_corrections_with_empty_columns_behind_are_known(tmp_path: Path):
    """As a spreadsheet saves them after a cell beside the table was touched."""
    making.drive(tmp_path / "p", 2)
    table = "filename;leave_out;turn_by;;\r\n0001.jpg;yes;;;\r\n"
    assert give(tmp_path / "p", table).code == 0


def test_a_row_that_names_a_point_names_no_image(tmp_path: Path):
    making.drive(tmp_path / "p", 2)
    table = tmp_path / "t.csv"
    table.write_text(".,90\n0001.jpg,90\n", encoding="utf-8")
    words = ("--filename_column", 1, "--heading_column", 2)
    ran = run("process_csv", "--import_path", tmp_path / "p", "--csv_path", table, *words)
    assert ran.code == 1 and "line 1 names no image: ." in ran.stdout
