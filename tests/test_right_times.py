"""Times and places that receivers, editors, loggers and cameras tell badly: order within a second, zones, days, blocks, holes."""

import struct
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import making
import making_logs as logs
import making_tracks as tracks
import making_videos as mv
import pytest
import walker
from conftest import Ran, in_process, run
from making import ASCII, UNDEFINED

import mapillary_tools as mt

pytestmark = in_process
needs_ffmpeg = pytest.mark.skipif(
    not mv.FFMPEG or not mv.FFPROBE, reason="ffmpeg and ffprobe are not on this computer"
)
START = 1714979289.0  # 2024-05-06 07:08:09 UTC
DAY = 86400.0
WEEKS = 1024 * 7 * DAY
USER = ("--user_name", "demo")


def process(folder: Path, *more: Any) -> Ran:
    return run("process", "--import_path", folder, *USER, *more)


def clock(seconds: float) -> str:
    return logs.stamp(START + seconds, "%Y:%m:%d %H:%M:%S")


def card(folder: Path, rows: Sequence[Tuple[str, Dict[str, Any]]]) -> List[Path]:
    """Photos with these names and fields, each 11 m north of the one before."""
    return [
        making.photo(folder / name, **{"pixels": n, "lat": 57.7 + n * 1e-4, "lon": 11.97, **fields})
        for n, (name, fields) in enumerate(rows)
    ]


def time_of(path: Path) -> str:
    """When a photo was taken, by its description."""
    return str(making.description(path)["MAPCaptureTime"])


def millis(paths: Sequence[Path]) -> List[int]:
    """Milliseconds of photos since START."""
    found = []
    for path in paths:
        day, hours, minutes, seconds, part = time_of(path)[8:].split("_")
        assert (time_of(path)[:8], day, hours, minutes) == ("2024_05_", "06", "07", "08")
        found.append((int(seconds) - 9) * 1000 + int(part))
    return found


def hours_of(paths: Sequence[Path]) -> List[str]:
    """Day, hour and minute of photos."""
    return [time_of(path)[8:16] for path in paths]


def lat(path: Path) -> float:
    return round(making.description(path)["MAPLatitude"], 6)


# ---- order within a second ----------------------------------------------------------------------


def burst(folder: Path, names: Sequence[str], fractions: Sequence[Optional[str]]) -> List[Path]:
    """Photos of one second."""
    rows = [(name, {"time": clock(0), "subsec": part}) for name, part in zip(names, fractions)]
    return card(folder, rows)


@pytest.mark.parametrize(
    "fractions, right",
    [
        (["000", "400", None], [0, 400, 700]),
        (["100", None, "500"], [100, 300, 500]),
        (["2", None, None, "8"], [200, 400, 600, 800]),
    ],
)
def test_a_photo_without_a_fraction_stands_between_its_neighbours_by_name(
    fractions: List[Optional[str]], right: List[int], tmp_path: Path
):
    """It came first in its second, and the directions turned round."""
    names = [f"IMG_{n:04d}.jpg" for n in range(len(fractions))]
    paths = burst(tmp_path / "p", names, fractions)
    assert process(tmp_path / "p").code == 0 and millis(paths) == right
    headings = [making.description(path)["MAPCompassHeading"]["TrueHeading"] for path in paths]
    assert headings == [0.0] * len(paths)


@pytest.mark.parametrize(
    "names, fractions, right",
    [
        (
            ["IMG_0001.jpg", "IMG_0002.jpg", "IMG_0003-Edit.jpg"],
            ["100", "400", None],
            [100, 400, 0],
        ),
        (["DSC_0001.jpg", "DSC_0002.jpg", "IMG_0003.jpg"], ["100", "400", None], [100, 400, 0]),
        (["IMG_0001.jpg", "IMG_0002.jpg", "IMG_0003.jpg"], ["400", "100", None], [400, 100, 0]),
    ],
)
def test_names_of_other_forms_and_of_another_order_tell_no_fraction(
    names: List[str], fractions: List[Optional[str]], right: List[int], tmp_path: Path
):
    counted = burst(tmp_path / "a", ["IMG_0001.jpg", "IMG_0002.jpg"], ["400", None])
    others = burst(tmp_path / "b", names, fractions)
    assert process(tmp_path / "a").code == 0 and process(tmp_path / "b").code == 0
    assert millis(counted) == [400, 700]
    assert millis(others) == right


@pytest.mark.parametrize("last, first", [("9999", "0001"), ("999", "001"), ("9999", "0000")])
def test_a_counter_that_begins_anew_within_a_second_goes_on(last: str, first: str, tmp_path: Path):
    """DSC_0001 was put before DSC_9999."""
    seconds = {f"DSC_{int(last) - 1}.jpg": 0, f"DSC_{last}.jpg": 1, f"DSC_{first}.jpg": 1}
    paths = card(tmp_path / "p", [(name, {"time": clock(n)}) for name, n in seconds.items()])
    assert process(tmp_path / "p").code == 0 and millis(paths) == [0, 1000, 1500]


def received(folder: Path, seconds: Dict[str, Optional[float]]) -> List[Path]:
    """Photos of one second by their clock, with GPS times so many seconds later than START."""
    rows = []
    for name, late in seconds.items():
        gps = None if late is None else logs.stamp(START + late, "%H:%M:%S", 3)
        day = None if late is None else "2024:05:06"
        rows.append((name, {"time": clock(0), "gps_date": day, "gps_time": gps}))
    return card(folder, rows)


def test_fractions_of_gps_times_order_the_photos_of_one_second(tmp_path: Path):
    """Their names did, which tell nothing here."""
    told = received(tmp_path / "a", {"F3A1.jpg": 0.1, "B2C7.jpg": 0.25, "A0D2.jpg": 0.9})
    half = received(tmp_path / "b", {"F3A1.jpg": 0.1, "B2C7.jpg": 0.25, "A0D2.jpg": None})
    assert process(tmp_path / "a").code == 0 and process(tmp_path / "b").code == 0
    assert millis(told) == [0, 150, 800]
    assert millis(half) == [667, 333, 0]  # they do not tell all apart


# ---- zones --------------------------------------------------------------------------------------


def zoned(folder: Path, zones: Sequence[Optional[str]], **fields: Any) -> List[Path]:
    """A drive of photos with these offsets."""
    return making.drive(folder, len(zones), offset=lambda n: zones[n], **fields)


def test_the_few_photos_without_a_zone_get_that_of_those_around(tmp_path: Path):
    """They were put two hours later, in a sequence of their own."""
    paths = zoned(tmp_path / "p", ["+02:00", "+02:00", None, "+02:00"])
    ran = process(tmp_path / "p")
    assert ran.code == 0 and hours_of(paths) == ["06_05_08"] * 4
    assert "1 image without a zone in that of those around: +02:00; if that is" in ran.stderr
    assert len({making.description(path)["MAPSequenceUUID"] for path in paths}) == 1


def test_at_a_border_each_photo_without_a_zone_gets_that_of_its_neighbours(tmp_path: Path):
    zones = ["+02:00", None, "+02:00", "+02:00", "+03:00", "+03:00", None, "+03:00"]
    rows = [
        (f"{n}.jpg", {"time": clock(2 * n + 3600 * (n > 3)), "offset": zone})
        for n, zone in enumerate(zones)
    ]
    paths = card(tmp_path / "p", rows)
    ran = process(tmp_path / "p")
    assert "2 images without a zone in that of those around: +02:00, +03:00" in ran.stderr
    assert hours_of(paths) == ["06_05_08"] * 8


@pytest.mark.parametrize("zones", [["+02:00", None], ["+02:00", None, None, None, "+02:00"]])
def test_where_only_a_minority_tells_its_zone_utc_is_assumed(
    zones: List[Optional[str]], tmp_path: Path
):
    most = zoned(tmp_path / "a", ["+02:00", *zones, "+02:00", "+02:00"])
    few = zoned(tmp_path / "b", zones)
    said = [process(tmp_path / name).stderr for name in "ab"]
    assert ["those around" in text for text in said] == [True, False]
    assert "UTC assumed" in said[1] and "UTC assumed" not in said[0]
    assert hours_of(most) == ["06_05_08"] * len(most)
    assert hours_of(few) == ["06_05_08" if zone else "06_07_08" for zone in zones]


def test_the_zone_of_one_camera_is_not_that_of_another(tmp_path: Path):
    mine = zoned(tmp_path / "p", ["+02:00", "+02:00", None, "+02:00"])
    other = making.photo(tmp_path / "p" / "b.jpg", lat=57.7, lon=11.97, model="T-2", pixels=9)
    assert process(tmp_path / "p").code == 0
    assert hours_of([*mine, other]) == ["06_05_08"] * 4 + ["06_07_08"]


@pytest.mark.parametrize("ahead, zone", [(2.0, "+02:00"), (5.5, "+05:30"), (-8.0, "-08:00")])
def test_a_name_in_utc_tells_the_zone_of_the_time_in_exif(ahead: float, zone: str, tmp_path: Path):
    """UTC was assumed."""
    name = "PXL_20240506_070809123.jpg"
    paths = card(tmp_path / "p", [(name, {"time": clock(ahead * 3600), "subsec": "123"})])
    ran = process(tmp_path / "p")
    assert f"zone {zone} from file name" in ran.stderr and millis(paths) == [123]


# ---- days of GPS times --------------------------------------------------------------------------

ANOTHER_DAY = "have another day than the clock, as some receivers write it"


def seconds_of(utc: str) -> float:
    when = mt.parse_time(utc)
    assert when is not None
    return when


def stamped(
    folder: Path, utc: str, zone: Optional[str], ahead: float = 0.0, days: float = 0.0
) -> List[Path]:
    """Six photos, 2 s apart from a time UTC on, by a clock in a zone that is so many seconds ahead; the date of their GPS
    times is that of the clock, or so many days off.
    """
    begin = seconds_of(utc)
    local = 3600.0 * int((zone or "+02:00")[:3])
    rows = []
    for n in range(6):
        now = begin + 2 * n
        shown, day = now + local + ahead, now + days * DAY if days else now + local
        fields = {"time": logs.stamp(shown, "%Y:%m:%d %H:%M:%S"), "offset": zone}
        fields["gps_date"] = logs.stamp(day, "%Y:%m:%d")
        rows.append((f"{n}.jpg", {**fields, "gps_time": logs.stamp(now, "%H:%M:%S")}))
    return card(folder, rows)


def by_gps(folder: Path) -> Ran:
    return process(folder, "--time_source", "gps")


@pytest.mark.parametrize(
    "utc, zone",
    [
        ("2024-05-06T23:08:09", "+02:00"),
        ("2024-05-06T00:08:09", "-05:00"),
        ("2024-05-06T23:08:09", None),
        ("2024-05-06T21:59:53", "+02:00"),  # over midnight by the clock
    ],
)
def test_gps_times_with_the_local_date_are_put_right(utc: str, zone: Optional[str], tmp_path: Path):
    """They were a day off, without a word."""
    paths = stamped(tmp_path / "p", utc, zone)
    assert ANOTHER_DAY in by_gps(tmp_path / "p").stderr
    begin = seconds_of(utc)
    right = [logs.stamp(begin + 2 * n, "%Y_%m_%d_%H_%M_%S_000") for n in range(6)]
    assert [time_of(path) for path in paths] == right


def test_a_gps_date_that_is_not_counted_on_at_midnight_is_put_right(tmp_path: Path):
    paths = []
    for n in range(6):
        now = seconds_of("2024-05-06T23:59:54") + 2 * n
        shown = {"time": logs.stamp(now + 7200, "%Y:%m:%d %H:%M:%S"), "offset": "+02:00"}
        gps = {"gps_date": "2024:05:06", "gps_time": logs.stamp(now, "%H:%M:%S")}
        paths += card(tmp_path / "p", [(f"{n}.jpg", {**shown, **gps, "pixels": n})])
    ran = by_gps(tmp_path / "p")
    assert "the GPS times of 3 images " + ANOTHER_DAY in ran.stderr
    assert hours_of(paths) == ["06_23_59"] * 3 + ["07_00_00"] * 3


@pytest.mark.parametrize("zone", ["+02:00", None])
@pytest.mark.parametrize(
    "utc, weeks",
    [
        ("2024-05-06T07:08:09", -1024),
        ("2024-05-06T07:08:09", 1024),
        ("2024-05-06T07:08:09", 2048),
    ],
)
def test_gps_times_whose_weeks_were_counted_anew_are_put_right(
    utc: str, weeks: int, zone: Optional[str], tmp_path: Path
):
    """Photos were of 2004."""
    paths = stamped(tmp_path / "p", utc, zone, days=7.0 * weeks)
    assert "the GPS times of 6 images " + ANOTHER_DAY in by_gps(tmp_path / "p").stderr
    assert [time_of(path)[:16] for path in paths] == [utc[:4] + "_05_06_07_08"] * 6


def test_only_the_day_is_that_of_the_clock(tmp_path: Path):
    """The time of day stays that of the receiver."""
    paths = stamped(tmp_path / "p", "2024-05-06T23:08:09", "+02:00", ahead=60.0)
    assert "ahead by +60.0 s" in by_gps(tmp_path / "p").stderr
    assert hours_of(paths) == ["06_23_08"] * 6


@pytest.mark.parametrize("days", [1, -1])
def test_a_clock_that_is_a_whole_day_wrong_mends_no_gps_times(days: int, tmp_path: Path):
    """Only a receiver that writes the date of the clock is known to be the one that is wrong."""
    local = stamped(tmp_path / "a", "2024-05-06T23:08:09", "+02:00")
    wrong = stamped(tmp_path / "b", "2024-05-06T07:08:09", "+00:00", ahead=days * DAY)
    said = [by_gps(tmp_path / name).stderr for name in "ab"]
    assert [ANOTHER_DAY in text for text in said] == [True, False]
    assert f"ahead by {days * DAY:+.1f} s" in said[1]
    assert hours_of([local[0], wrong[0]]) == ["06_23_08", "06_07_08"]


# ---- Exif blocks --------------------------------------------------------------------------------


def of_two(path: Path, first: Dict[str, Any], camera: Dict[str, Any]) -> Path:
    """A photo with an Exif segment that a program put before that of the camera, which has a MakerNote."""
    content = making.jpeg()
    note: making.Tags = {"Exif": {0x927C: (UNDEFINED, bytes(range(200)))}}
    blocks = making.exif_tiff(**first), making.exif_tiff(more=note, **camera)
    behind = walker.exif(blocks[0]) + walker.XMP + walker.exif(blocks[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content[:20] + behind + content[20:])
    return path


def test_of_two_exif_blocks_the_first_tells_time_fraction_and_offset(tmp_path: Path):
    """It was written to mend them; those of the camera counted."""
    first = {"time": "2024:05:06 08:08:09", "subsec": "900", "offset": "+01:00"}
    camera = {"time": "2024:05:06 11:22:33", "subsec": "100", "offset": "+02:00"}
    path = of_two(tmp_path / "p" / "a.jpg", first, {**camera, "lat": 57.7, "lon": 11.97})
    assert process(tmp_path / "p").code == 0
    assert time_of(path) == "2024_05_06_07_08_09_900" and lat(path) == 57.7
    tags = making.read_exif(path)
    names = ("DateTimeOriginal", "SubSecTimeOriginal", "OffsetTimeOriginal")
    assert [tags[name] for name in names] == list(first.values())
    assert tags["MakerNote"] == bytes(range(200))


def test_of_two_exif_blocks_the_first_tells_the_place_and_all_beside_it(tmp_path: Path):
    """The place was that of the first, its altitude and direction those of the camera."""
    first = {"lat": 57.8, "lon": 11.99, "alt": -9.5, "heading": 200.0, "gps_time": "07:08:09"}
    camera = {"lat": 57.7, "lon": 11.97, "alt": 10.0, "heading": 10.0, "gps_time": "01:02:03"}
    day = {"gps_date": "2024:05:06", "time": None}
    path = of_two(tmp_path / "p" / "a.jpg", {**first, **day}, {**camera, **day})
    assert process(tmp_path / "p").code == 0
    assert making.place(path) == pytest.approx((57.8, 11.99, -9.5))
    row = making.description(path)
    assert (row["MAPAltitude"], row["MAPCompassHeading"]["TrueHeading"]) == (-9.5, 200.0)
    assert time_of(path) == "2024_05_06_07_08_09_000" and making.direction(path) == 200.0


THUMBNAIL = making.jpeg((64, 48))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("stray", [b"\x01\xd9", b"left over\0\1"])
@pytest.mark.parametrize("thumbnail", [THUMBNAIL, None])
def test_an_exif_segment_padded_behind_stray_bytes_is_written(
    thumbnail: Optional[bytes], stray: bytes, order: str, tmp_path: Path
):
    """The photo was refused as too large."""
    block = making.exif_tiff(lat=57.7, lon=11.97, thumbnail=thumbnail, order=order) + stray
    path = making.photo(tmp_path / "p" / "a.jpg", exif=block + bytes(65526 - len(block)))
    assert process(tmp_path / "p").code == 0 and lat(path) == 57.7
    assert thumbnail_of(path) == thumbnail


def thumbnail_of(path: Path) -> Optional[bytes]:
    block = making.exif_block(path.read_bytes()) or b""
    tags = making.read_tiff(block)["1st"]
    return block[tags[0x0201] :][: tags[0x0202]] if 0x0201 in tags else None


def test_a_thumbnail_that_is_called_a_byte_too_short_stays_in_a_padded_segment(tmp_path: Path):
    block = making.exif_tiff(lat=57.7, lon=11.97, thumbnail=THUMBNAIL)
    length = struct.pack("<HHI", 0x0202, 4, 1)
    size = len(THUMBNAIL)
    block = block.replace(length + struct.pack("<I", size), length + struct.pack("<I", size - 1))
    path = making.photo(tmp_path / "p" / "a.jpg", exif=block + bytes(65526 - len(block)))
    assert process(tmp_path / "p").code == 0 and thumbnail_of(path) == THUMBNAIL[:-1]


# ---- letters ------------------------------------------------------------------------------------

SIDES = [("57,42.5n", "11,58.2e"), ("57,42,30s", "11,58,12w"), ("57d 42m 30s s", "11d 58m 12s e")]


@pytest.mark.parametrize("lat_text, lon_text", SIDES)
def test_coordinates_with_lower_case_letters_are_places(
    lat_text: str, lon_text: str, tmp_path: Path
):
    """The photos failed as without a position."""
    gps = {"GPS": {2: (ASCII, lat_text), 4: (ASCII, lon_text)}}
    by_exif = making.photo(tmp_path / "p" / "a.jpg", more=gps)
    body = (
        'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:exif="http://ns.adobe.com/exif/1.0/" '
        f'exif:GPSLatitude="{lat_text}" exif:GPSLongitude="{lon_text}"/></rdf:RDF></x:xmpmeta>'
    )
    by_xmp = making.photo(tmp_path / "p" / "b.jpg", pixels=1)
    content = by_xmp.read_bytes()
    packet = walker.segment(0xE1, body.encode("utf-8"))
    by_xmp.write_bytes(content[:20] + packet + content[20:])
    assert process(tmp_path / "p").code == 0
    signs = [-1 if text[-1] in "sw" else 1 for text in (lat_text, lon_text)]
    right = (signs[0] * (57 + 42.5 / 60), signs[1] * 11.97)
    for path in (by_exif, by_xmp):
        row = making.description(path)
        assert (row["MAPLatitude"], row["MAPLongitude"]) == pytest.approx(right)


@pytest.mark.parametrize("word", ["Magnetic North", "magnetic"])
def test_a_direction_whose_reference_is_written_out_is_magnetic(word: str, tmp_path: Path):
    """It was taken for true."""
    found = mt.read_found(making.photo(tmp_path / "a.jpg", heading=10.0, heading_ref=word))
    assert (found.heading, found.magnetic) == (None, 10.0)


# ---- flights ------------------------------------------------------------------------------------

FLIGHT = 600.0 + 100 * 60  # seconds from the begin in one city to that in the other, 1072 km away


def two_cities() -> List[List[Any]]:
    """600 points in one city, and 100 in another; the logger was off on the flight."""
    here = [(START + n, 57.7 + n * 1e-4, 11.97) for n in range(600)]
    return [here, [(START + FLIGHT + n, 48.13 + n * 1e-4, 11.58) for n in range(100)]]


def dated(folder: Path, seconds: Sequence[float], **fields: Any) -> List[Path]:
    """Photos without a position, so many seconds later than START."""
    return [
        making.photo(folder / f"{n}.jpg", time=clock(late), offset="+00:00", pixels=n, **fields)
        for n, late in enumerate(seconds)
    ]


def by_track(folder: Path, *paths: Path, kinds: str = "gpx", more: Sequence[Any] = ()) -> Ran:
    words = [word for path in paths for word in ("--geotag_source_path", path)]
    return process(folder, "--geotag_source", kinds, *words, *more)


@pytest.mark.parametrize("files", [1, 2])
def test_a_flight_with_the_logger_off_costs_no_points_and_no_photos(files: int, tmp_path: Path):
    """All of the second city was left out, as what nothing could have flown to."""
    paths = dated(tmp_path / "p", [10, 20, FLIGHT + 10, FLIGHT + 20])
    parts = two_cities() if files == 2 else [two_cities()]
    for n, part in enumerate(parts):
        making.gpx(part, tmp_path / "t" / f"{n}.gpx")
    ran = by_track(tmp_path / "p", tmp_path / "t")
    assert ran.code == 0 and "700 points" in ran.stderr and "left out" not in ran.stderr
    assert [lat(path) for path in paths] == [57.701, 57.702, 48.131, 48.132]
    slow = by_track(tmp_path / "p", tmp_path / "t", more=["--max_speed", "100", "--rerun"])
    assert slow.code == 1 and "100 points left out" in slow.stderr and "2 failed" in slow.stdout


def test_a_flight_between_photos_with_positions_costs_none_of_them(tmp_path: Path):
    """Those behind it failed as where nobody gets in the time."""
    rows: List[Any] = [(f"{n:02d}.jpg", {"time": clock(2 * n)}) for n in range(10)]
    rows += [(f"{n}.jpg", {"time": clock(FLIGHT + n), "lat": 48.13 + n * 1e-4}) for n in (10, 12)]
    card(tmp_path / "p", rows)
    assert process(tmp_path / "p").stdout.startswith("process: 12 found = 12 processed + 0")
    slow = process(tmp_path / "p", "--max_speed", "100", "--rerun")
    assert "2 failed" in slow.stdout and "is where nobody gets in the time" in slow.stdout


# ---- tables -------------------------------------------------------------------------------------


def table(path: Path, headings: str, rows: Sequence[Sequence[Any]]) -> mt.Track:
    lines = [headings, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return mt.read_track(path)


@pytest.mark.parametrize(
    "headings",
    [
        ["Date", "Time", "UTC Date", "UTC Time"],
        ["Date (local)", "Time (local)", "Date (UTC)", "Time (UTC)"],
    ],
)
def test_day_and_time_of_a_table_are_those_of_one_clock(headings: List[str], tmp_path: Path):
    """The time UTC was put into the local day: all points were a day off."""
    evening = START + 16 * 3600  # 23:08 UTC, which is the next day in the logger's own zone
    rows = []
    for n in range(5):
        both = [logs.stamp(evening + n + late, "%Y-%m-%d %H:%M:%S") for late in (7200, 0)]
        rows.append([*" ".join(both).split(), f"{57.7 + n * 1e-4:.4f}", "11.97"])
    track = table(tmp_path / "t.csv", ",".join([*headings, "lat", "lon"]), rows)
    assert [fix.time for fix in track.points] == [evening + n for n in range(5)]


@pytest.mark.parametrize(
    "heading, good, bad",
    [
        ("hAcc (mm)", "1500", "150000"),
        ("horizontal_accuracy_cm", "450", "15000"),
        ("Accuracy (ft)", "320", "340"),
        ("accuracy [feet]", "150", "400"),
    ],
)
def test_errors_of_a_table_count_in_the_unit_of_their_heading(
    heading: str, good: str, bad: str, tmp_path: Path
):
    """1.5 m as 1500 mm were 1500 m, and all points were left out."""
    rows = [
        [tracks.iso(START + n), f"{57.7 + n * 1e-4:.4f}", "11.97", bad if n == 3 else good]
        for n in range(9)
    ]
    track = table(tmp_path / "t.csv", f"time,lat,lon,{heading}", rows)
    assert len(track.points) == 8 and track.dropped == {mt.INACCURATE: 1}


# ---- weeks that tracks count anew ---------------------------------------------------------------


def weeks_back(path: Path, begin: float = START) -> Path:
    """A track of 100 s, 1024 weeks back."""
    points = [(begin - 5 + n - WEEKS, 57.7 + n * 1e-4, 11.97) for n in range(100)]
    return making.gpx(points, path)


@pytest.mark.parametrize("odd", ["2024:05:05 12:00:00", "2000:01:01 00:00:10"])
def test_a_track_1024_weeks_back_is_moved_though_another_photo_does_not_meet_it(
    odd: str, tmp_path: Path
):
    """One photo of the day before cost all others their places."""
    paths = dated(tmp_path / "p", range(0, 20, 2))
    making.photo(tmp_path / "p" / "old.jpg", time=odd, offset="+00:00", pixels=77)
    ran = by_track(tmp_path / "p", weeks_back(tmp_path / "t.gpx"))
    assert "10 processed + 0 skipped + 1 failed" in ran.stdout
    assert "it is taken 1024 weeks later" in ran.stderr
    assert [lat(path) for path in paths[:2]] == [57.7005, 57.7007]


@needs_ffmpeg
@pytest.mark.slow
def test_a_track_1024_weeks_back_gives_frames_by_distance_their_places(tmp_path: Path):
    """No frame was taken."""
    (tmp_path / "v").mkdir()
    mv.clip(tmp_path / "v" / "a.mp4")
    words = ["--video_path", tmp_path / "v", "--import_path", tmp_path / "o", *USER, "--advanced"]
    words += ["--geotag_source", "gpx", "--video_sample_distance", "20", "--geotag_source_path"]
    ran = run("video_process", *words, weeks_back(tmp_path / "t.gpx", tracks.CLIP_SECONDS))
    assert ran.code == 0 and "1024 weeks before the video" in ran.stderr
    frames = sorted((tmp_path / "o").rglob("a_*.jpg"))
    assert [lat(path) for path in frames] == pytest.approx([57.7005, 57.70068, 57.70086])


def test_a_track_1024_weeks_back_gives_whole_videos_their_places(tmp_path: Path):
    """The video failed as outside of the track."""
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "a.mp4").write_bytes(mv.bare((1000,) * 40).content())
    track = weeks_back(tmp_path / "t.gpx", tracks.CLIP_SECONDS)
    ran = by_track(tmp_path / "v", track, more=["--videos", "upload", "--advanced"])
    assert ran.code == 0 and "1 processed" in ran.stdout
    assert "1024 weeks before the video" in ran.stderr


# ---- starts of videos ---------------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize(
    "starts",
    [
        {"GX010123.MP4": 0, "GX020123.MP4": 1, "GX010124.MP4": 2},
        {"GOPR0123.MP4": 0, "GP010123.MP4": 1, "GOPR0124.MP4": 2},
        {"20240506_090000_NF.mp4": 0, "20240506_090000_NR.mp4": 0, "20240506_090001_NR.mp4": 1},
    ],
)
def test_chapters_follow_each_other_and_sides_begin_together(
    starts: Dict[str, int], tmp_path: Path
):
    """The first chapter of the next recording came before the second of the one; the rear began where the front ended."""
    (tmp_path / "v").mkdir()
    film = mv.clip(tmp_path / "film.mp4", seconds=1).read_bytes()
    for n, name in enumerate(starts):  # none is a copy of another
        (tmp_path / "v" / name).write_bytes(film + tracks.box(b"free", bytes([n]) * 8))
    words = ["--video_path", tmp_path / "v", "--import_path", tmp_path / "o"]
    words += ["--video_start_time", "2024-05-06T07:08:09Z", "--video_sample_interval", "60"]
    assert run("sample_video", *words).code == 0
    found = {}
    for path in (tmp_path / "o").rglob("*_000001.jpg"):
        name = path.name.replace("_000001.jpg", "")
        found[name] = int(making.read_exif(path)["DateTimeOriginal"][-2:]) - 9
    assert found == {name.partition(".")[0]: late for name, late in starts.items()}


# ---- holes --------------------------------------------------------------------------------------


def with_hole(path: Path) -> Path:
    """A track without points from the 60th to the 660th second."""
    seconds = [*range(60), *range(660, 720)]
    return making.gpx([(START + n, 57.7 + n * 1e-4, 11.97) for n in seconds], path)


@pytest.mark.parametrize("begin", [0, 400])
def test_a_line_over_a_hole_yields_to_a_source_that_knows_it(begin: int, tmp_path: Path):
    """The line counted, though the next source had been there; it does where no other knows."""
    paths = dated(tmp_path / "p", [10, 200, 500, 700])
    lines = [tracks.rmc(START + n, 57.7 + n * 1e-4, 12.1) for n in range(begin, 720)]
    (tmp_path / "t.nmea").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    both = with_hole(tmp_path / "t.gpx"), tmp_path / "t.nmea"
    assert by_track(tmp_path / "p", *both, kinds="gpx,nmea").code == 0
    lons = [round(making.description(path)["MAPLongitude"], 6) for path in paths]
    assert lons == [11.97, 11.97 if begin else 12.1, 12.1, 11.97]


@pytest.mark.parametrize(
    "names",
    [("IMG_070809_005", "IMG_070809_900"), ("a1", "a9"), ("a01", "a60"), ("X_0003", "X_9990")],
)
def test_numbers_that_are_no_counters_that_began_anew_keep_their_order(names: Any, tmp_path: Path):
    for number, name in enumerate(names):
        making.photo(
            tmp_path / f"{name}.jpg", time="2024:05:06 07:08:09", lat=57.7, lon=11.97, pixels=number
        )
    assert run("process", "--import_path", tmp_path, "--user_name", "demo").code == 0
    times = [making.description(tmp_path / f"{name}.jpg")["MAPCaptureTime"] for name in names]
    assert times == sorted(times)


def test_a_whole_roll_of_one_moment_stays_in_the_order_of_its_names():
    names = [f"P{number:03d}.jpg" for number in range(1, 1000)]
    assert mt.as_counted(names, lambda name: name) == names
    rest = [name for name in names if name not in ("P500.jpg", "P501.jpg")]
    assert mt.as_counted(rest, lambda name: name) == rest
    assert mt.as_counted(["9998", "0001", "9999"], lambda name: name) == ["9998", "9999", "0001"]
