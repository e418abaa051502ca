"""The neighbours of what real files do wrong (reports.md, realfiles.md): the same kinds, other instances."""

import re

import making
import mapillary_tools as mt
import pytest
from conftest import run
from making_tracks import gga, gll, rmc, sentence

ASCII, BYTE, SHORT, LONG, RATIONAL = making.ASCII, 1, making.SHORT, making.LONG, making.RATIONAL
DOUBLE, FLOAT = 12, 11


def found(tmp_path, xmp=(), iptc=(), **fields):
    """What is read of a photo with this EXIF, and these XMP packets and Photoshop resources behind it."""
    path = making.photo(tmp_path / "1.jpg", **fields)
    content = path.read_bytes()
    at = 2
    while content[at + 1] in (0xE0, 0xE1):
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    more = b""
    for marker, lead, texts in (
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0", xmp),
        (0xED, b"Photoshop 3.0\0", iptc),
    ):
        for text in texts:
            more += bytes([0xFF, marker]) + (len(lead + text) + 2).to_bytes(2, "big") + lead + text
    path.write_bytes(content[:at] + more + content[at:])
    return mt.read_found(path)


def packet(text, names='xmlns:exif="http://ns.adobe.com/exif/1.0/"'):
    """An XMP packet whose description has these attributes."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {names} {text}/></rdf:RDF></x:xmpmeta>'
    ).encode("utf-8")


def gps(lat, lon, refs=("N", "E")):
    """The position tags with these (type, value)."""
    return {1: (ASCII, refs[0]), 2: lat, 3: (ASCII, refs[1]), 4: lon}


# ---- places in EXIF ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lat, lon",
    [
        ((LONG, [57, 42, 0]), (LONG, [11, 58, 0])),
        ((SHORT, [57, 42, 0]), (SHORT, [11, 58, 0])),
        ((ASCII, "N57.7"), (ASCII, "E11.966666667")),
        ((ASCII, "N 57 42.000"), (ASCII, "E 11 58.000")),
        ((ASCII, "57/1,42/1,0/10"), (ASCII, "11/1,58/1,0/10")),
        ((ASCII, "57;42;0.0"), (ASCII, "11;58;0.0")),
        ((ASCII, "57d42m0s"), (ASCII, "11d58m0sE")),
        ((ASCII, "57,42.000N"), (ASCII, "11,58.000E")),
        ((ASCII, "57 42 0 N"), (ASCII, "11 58 0 E")),
    ],
)
def test_a_place_of_another_type_is_read(tmp_path, lat, lon):
    image = found(tmp_path, more={"GPS": gps(lat, lon)})
    assert (image.lat, image.lon) == (pytest.approx(57.7), pytest.approx(11.966666667))


@pytest.mark.parametrize(
    "value, read",
    [
        ((57.7,), 57.7),
        (57.7, 57.7),
        ((57.0, 42.0, 0.0), 57.7),
        ((57, 42, 0), 57.7),
        (((57, 1), (42, 1), (0, 1)), 57.7),
        (((48125000, 1000000)), 48.125),
        ((57, 42), None),
        (((577, 10), (42, 1), (0, 1)), None),
        ("57.5,30", None),
        ("-57.702", None),
        ((float("nan"),), None),
    ],
)
def test_numbers_that_are_clear_are_read_and_the_others_are_no_place(value, read):
    got = mt.coordinate(value, b"N", "NS", 90.0)
    assert got == (None if read is None else pytest.approx(read))


@pytest.mark.parametrize(
    "text, letter, read",
    [("57 42 7 S", "", -57.70194), ("57d42m7s S", "", -57.70194), ("S57.5", "N", -57.5)],
)
def test_a_letter_in_the_text_is_never_taken_for_a_unit(text, letter, read):
    assert mt.coordinate(text, letter, "NS", 90.0) == pytest.approx(read, abs=1e-5)


@pytest.mark.parametrize("value, read", [([(2**32 - 125, 10)], -12.5), ([(2**30, 1)], None)])
def test_an_altitude_that_cannot_be(tmp_path, value, read):
    place = {"lat": 57.7, "lon": 11.97, "alt": 5.0}
    assert found(tmp_path, more={"GPS": {6: (RATIONAL, value)}}, **place).alt == read


@pytest.mark.parametrize(
    "clock, day",
    [
        ((ASCII, "05:06:05"), "2021:03:04"),
        ((LONG, [5, 6, 5]), "2021:03:04"),
        ((SHORT, [5, 6, 5]), "20210304"),
    ],
)
def test_a_gps_time_of_another_type_gives_the_zone(tmp_path, clock, day):
    more = {"GPS": {7: clock, 29: (ASCII, day)}}
    image = found(tmp_path, time="2021:03:04 14:06:05", lat=35.0, lon=139.0, more=more)
    assert mt.zone_by_gps(mt.parse_time("2021:03:04 14:06:05"), image) == 9 * 3600.0


@pytest.mark.parametrize(
    "tags",
    [
        {
            1: (ASCII, "\0"),
            2: (RATIONAL, [(0, 1)] * 3),
            3: (ASCII, "\0"),
            4: (RATIONAL, [(0, 1)] * 3),
        },
        {
            1: (ASCII, " "),
            2: (RATIONAL, [(0, 100)] * 3),
            3: (ASCII, " "),
            4: (RATIONAL, [(0, 100)] * 3),
        },
        {1: (ASCII, "\0"), 3: (ASCII, "\0")},
    ],
)
def test_emptied_tags_are_those_of_android(tmp_path, tags):
    making.photo(tmp_path / "1.jpg", more={"GPS": tags})
    ran = run("process", "--import_path", str(tmp_path), "--user_name", "a")
    assert "Android takes the place out" in ran.stdout + ran.stderr


# ---- times -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unset",
    ["1904:01:01 00:00:00", "1969:12:31 19:00:00", "2036:02:07 06:28:16", "1979:12:31 16:00:00"],
)
def test_the_zero_of_a_clock_is_no_time_where_another_tells_one(tmp_path, unset):
    more = {"Exif": {0x9004: (ASCII, "2021:03:04 05:06:07")}}
    image = found(tmp_path, time=unset, more=more)
    assert mt.capture_time(image, "1.jpg").source == "DateTimeDigitized"


@pytest.mark.parametrize("day", ["1969-12-31T23:59:", "1904-01-01T00:00:", "1980-01-06T00:00:"])
def test_a_track_of_a_clock_that_was_never_set_has_no_times(tmp_path, day):
    rows = "".join(
        f'<trkpt lat="{57 + n / 1000}" lon="12"><time>{day}{n:02d}Z</time></trkpt>'
        for n in range(9)
    )
    path = tmp_path / "a.gpx"
    path.write_text(f"<gpx><trk><trkseg>{rows}</trkseg></trk></gpx>", encoding="utf-8")
    with pytest.raises(mt.BadTrack) as error:
        mt.read_track(path)
    assert "export" in error.value.problem.remedy


def test_a_time_padded_with_blanks_is_read(tmp_path):
    more = {"Exif": {0x9004: (ASCII, "2019:01:01 00:00:00")}}
    image = found(tmp_path, time="2021: 3: 4  9: 6: 7", more=more)
    assert mt.capture_time(image, "1.jpg").time == mt.parse_time("2021-03-04 09:06:07")


@pytest.mark.parametrize("here", ["    :  :     :  :  ", None])
def test_a_time_in_ifd0_brings_its_parts_along(tmp_path, here):
    first = {
        0x9003: (ASCII, "2021:03:04 14:06:07"),
        0x9011: (ASCII, "+09:00"),
        0x9291: (ASCII, "5"),
    }
    image = found(tmp_path, time=here, more={"0th": first})
    taken = mt.capture_time(image, "1.jpg")
    assert taken.time == mt.parse_time("2021-03-04 05:06:07.5") and taken.offset == 32400.0


def test_a_time_of_xmp_has_its_zone_and_fraction(tmp_path):
    text = (
        'exif:DateTimeOriginal="2021-03-04T14:06:07" exifEX:OffsetTimeOriginal="+09:00" '
        'exif:SubSecTimeOriginal="25"'
    )
    names = 'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:exifEX="http://cipa.jp/exif/1.0/"'
    taken = mt.capture_time(found(tmp_path, [packet(text, names)], time=None), "1.jpg")
    assert taken.time == mt.parse_time("2021-03-04 05:06:07.25")


def iptc(number, text):
    """An IPTC record of the application."""
    return b"\x1c\x02" + bytes([number]) + len(text).to_bytes(2, "big") + text.encode("ascii")


def test_iptc_in_a_second_segment_is_read(tmp_path):
    other = b"8BIM\x04\x25\0\0" + (16).to_bytes(4, "big") + bytes(16)
    record = iptc(55, "20210304") + iptc(60, "140607+0900")
    held = b"8BIM\x04\x04\0\0" + len(record).to_bytes(4, "big") + record
    taken = mt.capture_time(found(tmp_path, iptc=[other, held], time=None), "1.jpg")
    assert taken.time == mt.parse_time("2021-03-04 05:06:07")


def test_a_wrong_year_in_an_unknown_zone_is_told_the_one_option(tmp_path):
    """The camera is a year behind and on +02:00, which it does not say."""
    begin = mt.parse_time("2021-03-04 12:00:00")
    rows = "".join(
        f'<trkpt lat="{57 + n / 1e4}" lon="12"><time>{mt.format_time(begin + n)}</time></trkpt>'
        for n in range(600)
    )
    (tmp_path / "a.gpx").write_text(
        f"<gpx><trk><trkseg>{rows}</trkseg></trk></gpx>", encoding="utf-8"
    )
    late = mt.parse_time("2020-03-04 14:01:00") - begin
    for n in range(5):
        local = begin + late + 30 * n
        making.photo(tmp_path / "in" / f"{n}.jpg", time=mt.format_time(local, "exif"))
    track = ["--geotag_source", "gpx", "--geotag_source_path", str(tmp_path / "a.gpx")]
    base = ["process", "--import_path", str(tmp_path / "in"), "--user_name", "a", *track]
    ran = run(*base)
    told = re.search(r"--offset_time (-\d+) they would meet", ran.stdout + ran.stderr).group(1)
    again = run(*base, f"--offset_time={told}")
    assert again.code == 0 and "5 processed" in again.stdout


# ---- XMP ---------------------------------------------------------------------------------------

PLACE = 'exif:GPSLatitude="50,53.69N" exif:GPSLongitude="4,30.5W"'


@pytest.mark.parametrize(
    "packets",
    [
        [packet('tiff:Make="Z"', 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'), packet(PLACE)],
        [packet('exif:UserComment="a & b" ' + PLACE)],
        [packet('exif:UserComment="XX" ' + PLACE).replace(b"XX", b"\xe9")],
        [packet('exif:GPSLatitude="50/1,53/1,4140/100N" exif:GPSLongitude="4,30.5W"')],
        [
            packet(
                'd:GpsLatitude="+50.894833" d:GpsLongtitude="-4.508333"',
                'xmlns:d="http://www.dji.com/drone-dji/1.0/"',
            )
        ],
    ],
)
def test_a_place_in_xmp_of_other_makers(tmp_path, packets):
    place = found(tmp_path, packets).place
    assert place[:2] == (pytest.approx(50.894833, abs=1e-6), pytest.approx(-4.508333, abs=1e-6))


# ---- NMEA --------------------------------------------------------------------------------------

NOON = 1717156800.0  # 2024-05-31 12:00:00


def points(tmp_path, lines):
    """The points of a log."""
    path = tmp_path / "a.nmea"
    path.write_text("\r\n".join(lines) + "\r\n", encoding="ascii")
    return mt.read_track(path).points


@pytest.mark.parametrize("name", ["PTNL,GGK", "GPGGK"])
def test_a_date_with_the_month_first(tmp_path, name):
    line = sentence(f"{name},120000.00,053124,5742.0000,N,01158.0000,E,3,08,1.0,EHT5.0,M")
    assert points(tmp_path, [line])[0][:2] == (NOON, pytest.approx(57.7))


def test_a_sentence_of_time_alone_dates_the_others(tmp_path):
    place = "PUBX,00,120000.00,5742.00000,N,01158.00000,E,5.0,G3,2,2,0,0,0,,1,1,1,8,0,0"
    lines = [sentence(place), sentence("PUBX,04,120000.00,310524,475200.00,2316,18,0,0,21")]
    assert points(tmp_path, lines)[0][:2] == (NOON, pytest.approx(57.7))


def test_gll_alone_counts_where_the_better_ones_have_ended(tmp_path):
    lines = [rmc(NOON + n, 57.7, 12 + n / 1e4) for n in range(60)]
    lines += [gll(NOON + n + 1, 57.7, 12 + n / 1e4) for n in range(0, 60, 2)]
    lines += [gll(NOON + n, 57.7, 12 + n / 1e4) for n in range(60, 120)]
    times = [fix.time - NOON for fix in points(tmp_path, lines)]
    assert times == [*range(60), *range(65, 120)]


def test_a_place_of_bad_reception_is_left_out(tmp_path):
    bad = gga(NOON + 1, 57.8, 12.0).split("*")[0][1:].replace(",0.9,", ",99.9,")
    lines = [rmc(NOON, 57.7, 12.0), sentence(bad), rmc(NOON + 2, 57.7, 12.0)]
    assert [fix.lat for fix in points(tmp_path, lines)] == [pytest.approx(57.7)] * 2


# ---- GPX ---------------------------------------------------------------------------------------


def gpx(head="", count=9, first=0, end="</trkseg></trk></gpx>"):
    """A GPX with something before its points."""
    rows = "".join(
        f'<trkpt lat="57.7" lon="{12 + n / 1e4}"><time>{mt.format_time(NOON + n)}</time></trkpt>\n'
        for n in range(first, first + count)
    )
    return f'<?xml version="1.0"?>\n<gpx><trk>{head}<trkseg>\n{rows}{end}'


@pytest.mark.parametrize(
    "head",
    [
        "<name>A < B</name>",
        "<desc>I <3 it</desc>",
        "<desc>one<br>two</desc>",
        "<name><b>x</name>",
        "<type>a&#x1F;b</type>",
        "<sym>&#0;</sym>",
        "<name><![CDATA[open</name>",
    ],
)
def test_one_bad_text_costs_no_point(tmp_path, head):
    path = tmp_path / "a.gpx"
    path.write_text(gpx(head), encoding="utf-8")
    track = mt.read_track(path)
    assert len(track.points) == 9 and any("not quite XML" in note for note in track.notes)


@pytest.mark.parametrize(
    "cut", ["<trkpt la\n", '<trkpt lat="57.7" lon="13"><time>2024-05-31T12\n', "\n"]
)
def test_a_second_document_behind_one_that_is_cut_is_a_segment_of_its_own(tmp_path, cut):
    path = tmp_path / "a.gpx"
    path.write_text(gpx(end=cut) + gpx(first=60), encoding="utf-8")
    track = mt.read_track(path)
    assert (len(track.points), track.starts) == (18, [0, 9])


def test_a_second_document_with_a_prefix_is_read(tmp_path):
    whole = gpx().replace("<gpx", '<gpx:gpx xmlns:gpx="x"').replace("</gpx>", "</gpx:gpx>")
    for name in ("trkseg", "trkpt", "trk", "time"):
        whole = whole.replace(f"<{name}", f"<gpx:{name}").replace(f"</{name}", f"</gpx:{name}")
    path = tmp_path / "a.gpx"
    path.write_text(whole + "\n" + whole.replace("T12:", "T13:"), encoding="utf-8")
    assert len(mt.read_track(path).points) == 18


def test_two_marks_of_utf_8_are_one_too_many(tmp_path):
    path = tmp_path / "a.gpx"
    path.write_bytes(b"\xef\xbb\xbf\xef\xbb\xbf" + gpx().encode("utf-8"))
    assert len(mt.read_track(path).points) == 9


# ---- what is no JPEG, and where no photo is ----------------------------------------------------


@pytest.mark.parametrize(
    "content, words",
    [
        (b"404: Not Found", "download the photo itself"),
        (b'{"message":"Not Found"}', "download the photo itself"),
        (
            b'<?xml version="1.0"?><!DOCTYPE html><html></html>' + b" " * 50,
            "download the photo itself",
        ),
        (b"<!-- x --><!DOCTYPE html>" + b" " * 50, "download the photo itself"),
        ("<html>".encode("utf-16"), "download the photo itself"),
        (b"<Error><Code>NoSuchKey</Code></Error>", "download the photo itself"),
        (b"/annex/objects/SHA256E-s123--0123.jpg\n", "git annex get"),
        (b"version https://hawser.github.com/spec/v1\noid", "git lfs pull"),
        (bytes(40), "full of zeros"),
        (b"\xff" * 600, "full of bytes FF"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(40), "video_process"),
        (b"\x1aE\xdf\xa3" + bytes(40), "video_process"),
        (b"\x1f\x8b\x08" + bytes(range(1, 60)), "unpack it first"),
        (b"\0\0\0\x18ftypmif2" + bytes(40), "Most Compatible"),
        (b"\0\0\0\x18ftypjxl " + bytes(40), "JPEG XL"),
        (b"BM" + b"\x36\0\x20\0" + b"abcd" + b"\x36\0\0\0" + bytes(40), "a BMP"),
    ],
)
def test_other_contents_under_the_name_of_a_jpeg(tmp_path, content, words):
    (tmp_path / "1.jpg").write_bytes(content)
    with pytest.raises(mt.BadExif) as error:
        mt.read_found(tmp_path / "1.jpg")
    assert words in str(error.value)


def test_zeros_and_then_something_else_is_not_called_full_of_zeros(tmp_path):
    (tmp_path / "1.jpg").write_bytes(bytes(100) + b"something else" * 100)
    with pytest.raises(mt.BadExif) as error:
        mt.read_found(tmp_path / "1.jpg")
    assert "full of zeros" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["RECYCLER", "FOUND.000", "@Recently-Snapshot", "__MACOSX", "@tmp", "~snapshot"]
)
def test_more_folders_of_trash_are_not_searched(tmp_path, name):
    place = {"lat": 57.7, "lon": 12.0}
    making.photo(tmp_path / "1.jpg", **place)
    hidden = making.photo(tmp_path / name / "2.jpg", **place)
    before = hidden.read_bytes()
    ran = run("process", "--import_path", str(tmp_path), "--user_name", "a")
    assert "1 found = 1 processed" in ran.stdout and hidden.read_bytes() == before


@pytest.mark.parametrize(
    "name, code",
    [
        ("a.erf", "raw_photo"),
        ("a.rwl", "raw_photo"),
        ("a.osv", "video"),
        ("a.m2t", "video"),
        ("a.heics", "heic"),
        ("a.svg", "other_picture"),
    ],
)
def test_more_kinds_are_counted(tmp_path, name, code):
    making.photo(tmp_path / "1.jpg", lat=57.7, lon=12.0)
    (tmp_path / name).write_bytes(b"x" * 100)
    ran = run("process", "--import_path", str(tmp_path), "--user_name", "a", "--json")
    assert mt.parsed(ran.stdout)["skipped"] == {code: 1}


@pytest.mark.parametrize("name", ["a.jfif", "a.jfi"])
def test_a_jpeg_by_another_name_is_a_jpeg(tmp_path, name):
    path = making.photo(tmp_path / name, lat=57.7, lon=12.0)
    ran = run("process", "--import_path", str(tmp_path), "--user_name", "a")
    assert "1 found = 1 processed" in ran.stdout and making.description(path)["MAPLatitude"] == 57.7


# ---- guards ------------------------------------------------------------------------------------


def test_a_void_status_beside_a_sound_place_stays_a_place(tmp_path):
    more = {"GPS": {9: (ASCII, "V")}}
    assert found(tmp_path, lat=57.7, lon=12.0, more=more).lat == pytest.approx(57.7)


def test_a_direction_beyond_the_circle_is_turned_back(tmp_path):
    more = {"GPS": {17: (RATIONAL, [(427, 1)])}}
    assert found(tmp_path, lat=57.7, lon=12.0, more=more).heading == pytest.approx(67.0)


def test_seconds_of_nothing_beside_a_place_in_xmp(tmp_path):
    third = [(50, 1), (53, 1), (0, 0)]
    more = {"GPS": gps((RATIONAL, third), (RATIONAL, third))}
    image = found(tmp_path, [packet(PLACE)], more=more)
    assert image.lat is None and image.place[0] == pytest.approx(50.894833, abs=1e-6)


def test_a_default_of_a_firmware_beside_the_right_time(tmp_path):
    more = {"Exif": {0x9004: (ASCII, "2002:12:08 12:00:00")}}
    taken = mt.capture_time(found(tmp_path, time="2021:03:04 05:06:07", more=more), "1.jpg")
    assert taken.source == "DateTimeOriginal"


def test_make_and_model_of_xmp(tmp_path):
    text = 'tiff:Make="Maker" tiff:Model="M-1"'
    names = 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    image = mt.image_of("1.jpg", found(tmp_path, [packet(text, names)], make=None, model=None))
    assert (image.camera.make, image.camera.model) == ("Maker", "M-1")
