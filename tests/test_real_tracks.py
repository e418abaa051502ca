"""Tracks of real loggers, converters and planners; clocks of videos; what core and command line say of odd input."""

import io
import struct
from typing import Any, List

import pytest

import making
import making_tracks as tracks
import mapillary_tools as mt
from making_tracks import gga, gll, rmc, sentence, trkpt
from test_tracks import CLIP_SECONDS, log, put, times

POINTS = "".join(
    trkpt("%.5f" % (45 + n * 1e-5), 7, mt.format_time(CLIP_SECONDS + n)[:19] + "Z")
    for n in range(9)
)


def text(*segments: str, **more: str) -> str:
    made = tracks.gpx(*segments, **more)
    return made.decode() if isinstance(made, bytes) else made


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda gpx: gpx.replace("<trk>", "<trk><name>Fish & Chips</name>", 1),
            "with & as a letter",
        ),
        (lambda gpx: gpx.replace("<trk>", "<trk><desc>a&nbsp;b</desc>", 1), "with & as a letter"),
        (
            lambda gpx: gpx.replace("<trk>", "<trk><name>a\x0bb</name>", 1),
            "without control characters",
        ),
        (lambda gpx: gpx.replace("<trk>", "<trk><name>open", 1), "without its names"),
        (lambda gpx: " \n" + gpx, "without what is before"),
        (lambda gpx: gpx + "\0" * 4096, "without what is before and behind"),
        (lambda gpx: gpx[: gpx.rindex("<trkpt") + 12], "read up to there"),
        (lambda gpx: gpx.split("</trkseg>")[0] + "\0" * 512, "read up to there"),
    ],
)
def test_gpx_that_is_not_quite_xml_is_read_with_the_one_repair_and_said(change, words, tmp_path):
    broken = '<?xml version="1.0" encoding="UTF-8"?>\n' + text(POINTS).lstrip()
    if "<?xml" in text(POINTS):
        broken = text(POINTS)
    track = mt.read_track(put(tmp_path, "a.gpx", change(broken)))
    assert len(track.points) >= 8 and any(words in note for note in track.notes), track.notes


def test_gpx_in_latin_1_that_says_nothing_of_it(tmp_path):
    (tmp_path / "a.gpx").write_bytes(
        text(POINTS).replace("<trk>", "<trk><name>Straße</name>", 1).encode("latin-1")
    )
    assert len(mt.read_track(tmp_path / "a.gpx").points) == 9


def test_two_documents_in_one_gpx(tmp_path):
    later = POINTS.replace("T12:00", "T12:01")
    odd = trkpt(95, 7, "2024-05-31T12:03:00Z")
    track = mt.read_track(put(tmp_path, "a.gpx", text(POINTS) + "\n" + text(later + odd)))
    assert len(track.points) == 18 and sum(track.dropped.values()) == 1


def test_page_of_a_login_is_no_track(tmp_path):
    page = "<!DOCTYPE html><html><body><p>Sign in & try again<br></body></html>"
    with pytest.raises(mt.BadTrack, match="web page") as error:
        mt.read_track(put(tmp_path, "a.gpx", page))
    assert "pip" not in str(error.value)


@pytest.mark.parametrize("year", ["1234", "4096", "0000"])
def test_times_that_cannot_be_are_named_with_the_first(year, tmp_path):
    odd = trkpt(1, 2, year + "-05-31T12:00:00Z")
    track = mt.read_track(put(tmp_path, "a.gpx", text(POINTS + odd)))
    assert track.dropped == {"with times that cannot be": 1}
    assert any(year in note for note in track.notes)
    with pytest.raises(mt.BadTrack, match="times that cannot be.*" + year):
        mt.read_track(put(tmp_path, "b.gpx", text(odd)))


@pytest.mark.parametrize("moment", ["1970-01-01T00:00:0%dZ", "2024-05-31T12:00:00Z"])
def test_exports_without_times_say_so(moment, tmp_path):
    points = "".join(trkpt(1 + n, 2, moment % n if "%" in moment else moment) for n in range(5))
    with pytest.raises(mt.BadTrack, match="exported without times"):
        mt.read_track(put(tmp_path, "a.gpx", text(points)))


def test_places_of_interest_place_photos_on_themselves_alone(tmp_path):
    hours = [trkpt(45 + n, 7, "2024-05-31T%02d:00:00Z" % (12 + n), kind="wpt") for n in range(3)]
    body = text("").replace("<trk>", "".join(hours) + "<trk>", 1)
    track = mt.read_track(put(tmp_path, "a.gpx", body))
    assert any("only waypoints" in note for note in track.notes)
    with pytest.raises(mt.OutsideTrack):
        mt.fix_at(track, CLIP_SECONDS + 1800)
    assert mt.fix_at(track, CLIP_SECONDS + 1800, max_gap=3600).lat == pytest.approx(45.5, abs=1e-6)


# ---- NMEA -----------------------------------------------------------------------------------------------------------


def test_gll_that_tells_the_second_after_counts_only_alone(tmp_path):
    lines: List[Any] = []
    for n in range(0, 20, 2):
        lines += [
            rmc(CLIP_SECONDS + n, 45 + n * 1e-4, 7),
            gll(CLIP_SECONDS + n + 1, 45 + n * 1e-4, 7),
        ]
    track = log(tmp_path, *lines)
    assert times(track) == [float(n) for n in range(0, 20, 2)]
    alone = log(tmp_path, tracks.zda(CLIP_SECONDS), *lines[1::2])
    assert len(alone.points) == 10


@pytest.mark.parametrize(
    "body, lat",
    [
        ("GPRMC,120000,D,4530.0,N,00700.0,E,1.0,0.0,310524,,,D,V", 45.5),
        ("GNGNS,120000,4530.0,N,00700.0,E,AN,08,1.0,12.5,0.0,,", 45.5),
        (
            "PUBX,00,120000.00,4530.0,N,00700.0,E,12.5,G3,2.1,2.0,0.0,0.0,0.0,,1.0,1.0,1.0,8,0,0",
            45.5,
        ),
        ("PTNL,GGK,120000.00,310524,4530.0,N,00700.0,E,3,08,1.0,EHT12.5,M", 45.5),
    ],
)
def test_other_sentences_that_carry_a_place(body, lat, tmp_path):
    track = log(tmp_path, tracks.zda(CLIP_SECONDS), sentence(body))
    assert [fix.lat for fix in track.points] == pytest.approx([lat])


@pytest.mark.parametrize(
    "body",
    [
        "GNGNS,120000,4530.0,N,00700.0,E,NN,08,1.0,12.5,0.0,,",
        "GPRMC,120000,V,4530.0,N,00700.0,E,1.0,0.0,310524,,,N,V",
    ],
)
def test_sentence_without_a_fix_is_none(body, tmp_path):
    track = log(
        tmp_path, rmc(CLIP_SECONDS + 5, 45, 7), gga(CLIP_SECONDS + 6, 45, 7), sentence(body)
    )
    assert times(track) == [5, 6]


# ---- clocks of videos ------------------------------------------------------------------------------------------------


def footage(path: Any, **more: Any) -> Any:
    return mt.Footage(
        str(path), 60.0, 30.0, 1, 0, None, mt.Camera(), **{"created": 1614834367.0, **more}
    )


def test_time_with_a_zone_wins_over_creation_time():
    assert mt.zoned_time("2021-03-04T14:06:07+0900") == 1614834367.0
    assert mt.zoned_time("2021-03-04T14:06:07") is None
    assert mt.recorded_at(footage("a.mov", zoned=5.0), "+02:00")[0] == 5.0


@pytest.mark.parametrize(
    "name, begin",
    [
        ("PXL_20210304_050507000.mp4", 1614834307.0),  # 05:05:07, a minute before its creation_time
        ("VID_20210304_140507.mp4", 1614834307.0),
        ("VID_20210304_140607.mp4", 1614834367.0),
        ("VID_20210304_140337.mp4", 1614834367.0),
        ("clip.mp4", 1614834367.0),
    ],
)
def test_creation_time_that_is_the_end_by_the_name(name, begin):
    assert mt.recorded_at(footage(name), None)[0] == begin


@pytest.mark.parametrize(
    "names, last",
    [
        (("GX010123.MP4", "GX020123.MP4"), "GX030123.MP4"),
        (("GOPR0123.MP4", "GP010123.MP4"), "GP020123.MP4"),
    ],
)
def test_chapter_begins_where_the_one_before_ends(names, last, tmp_path, monkeypatch):
    for name in (*names, last):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(mt, "read_movie", lambda path: mt.Movie(1614834367.0, 100.5))
    begin, told = mt.recorded_at(footage(tmp_path / last), None)
    assert begin == 1614834367.0 + 201 and "201.0 s after the first chapter" in told
    assert mt.recorded_at(footage(tmp_path / names[0]), None)[0] == 1614834367.0
    (tmp_path / names[0]).unlink()
    begin, told = mt.recorded_at(footage(tmp_path / last), None)
    assert begin == 1614834367.0 and "not all before it are here" in told


def test_time_lapse_is_refused_with_the_factor():
    points = [mt.Fix(float(n * 10), 45 + n * 1e-4, 7.0) for n in range(60)]
    own = mt.Track(points, [0], {}, "GPSU")
    with pytest.raises(mt.ToolError, match="--video_duration_ratio 10"):
        mt.check_pace(own, footage("a.mp4"), 1.0)
    mt.check_pace(own, footage("a.mp4"), 10.0)
    mt.check_pace(
        own._replace(points=[fix._replace(time=fix.time / 10) for fix in points]),
        footage("a.mp4"),
        1.0,
    )


# ---- the command line -------------------------------------------------------------------------------------------------


def said(capsys: Any, *words: str) -> str:
    assert mt.main(list(words)) == 2
    return str(capsys.readouterr().err)


def test_only_options_of_that_tool_are_proposed(capsys):
    told = said(capsys, "upload", "--import_path", "x", "--timezone", "y")
    assert "there is no such option of upload: --timezone" in told and "process" in told
    assert "did you mean" not in told
    assert "did you mean --import_path?" in said(
        capsys, "upload", "--import_path", "x", "--import_pat", "y"
    )


def test_choices_are_shown_where_the_values_have_a_name(capsys):
    mt.main(["process", "--advanced", "-h"])
    assert "one of 0, 90, 180, 270" in " ".join(capsys.readouterr().out.split())


# ---- the EXIF core ----------------------------------------------------------------------------------------------------


def test_padding_of_a_camera_is_room():
    piexif = mt.piexif()
    thumbnail = making.jpeg(pixels=3)
    block = making.exif_tiff(lat=1.0, lon=2.0, thumbnail=thumbnail, order=">")
    photo = making.jpeg(exif=block + bytes(65526 - len(block)))
    exif = piexif.load(photo)
    exif["0th"][0x010E] = b"x" * 2000
    out, told = io.BytesIO(), []
    piexif.insert(piexif.dump(exif, told.append), photo, out)
    again = piexif.load(out.getvalue())
    assert told == [] and again["thumbnail"] == thumbnail and len(again["0th"][0x010E]) == 2000
    assert len(out.getvalue()) == len(photo)


def test_what_the_core_had_to_do_is_told_to_the_caller():
    piexif = mt.piexif()
    thumbnail = making.jpeg(filler=64000)
    exif = piexif.load(making.jpeg(exif=making.exif_tiff(thumbnail=thumbnail)))
    exif["0th"][0x010E] = b"x" * 3000
    told: List[str] = []
    piexif.dump(exif, told.append)
    assert len(told) == 1 and "thumbnail dropped" in told[0]


@pytest.mark.parametrize("order", "<>")
def test_table_that_counts_one_too_many_is_written_as_it_is(order):
    piexif = mt.piexif()
    block = making.exif_tiff(
        lat=1.0, lon=2.0, order=order, more={"0th": {0x011A: (making.RATIONAL, (72, 1))}}
    )
    count = struct.unpack(order + "H", block[8:10])[0]
    lying = block[:8] + struct.pack(order + "H", count + 1) + block[10:]
    exif = piexif.load(making.jpeg(exif=lying))
    assert exif["0th"][0x010F] == b"Testmaker" and len(exif["0th"]) == count
    exif["0th"][0x010E] = b"caption"
    tags = making.read_tiff(piexif.dump(exif)[6:])
    assert tags["0th"][0x010E] == "caption" and tags["GPS"][1] == "N"


@pytest.mark.parametrize("order", "<>")
def test_number_that_leads_to_a_picture_behind_moves_with_it(order):
    piexif = mt.piexif()
    behind = making.jpeg(pixels=9)
    note = b"INVENTED" + struct.pack(order + "HHLL", 0x88, 4, 1, 0x11223344)
    block = making.exif_tiff(
        lat=1.0, lon=2.0, order=order, more={"Exif": {0x927C: (making.UNDEFINED, note)}}
    )
    photo = making.jpeg(exif=block)
    start = photo.index(b"Exif\0\0") + 6
    photo = (
        photo.replace(
            struct.pack(order + "L", 0x11223344), struct.pack(order + "L", len(photo) - start)
        )
        + behind
    )
    exif = piexif.load(photo)
    exif["0th"][0x010E] = b"x" * 500
    out = io.BytesIO()
    piexif.insert(piexif.dump(exif), photo, out)
    new = out.getvalue()
    place = struct.unpack(order + "L", new[new.index(b"INVENTED") + 16 :][:4])[0]
    assert new[start + place :] == behind and new.endswith(behind)
    twice = io.BytesIO()
    piexif.insert(piexif.dump(piexif.load(new)), new, twice)
    assert twice.getvalue() == new


# ---- points that cannot be --------------------------------------------------------------------------------------------


def driven(*wild: int, far: float = 1.0) -> Any:
    """A drive of 60 points, a second apart, some of them degrees away."""
    return [mt.Fix(float(n), 45 + n * 1e-4 + (far if n in wild else 0), 7.0) for n in range(60)]


@pytest.mark.parametrize(
    "wild", [(30,), (0,), (59,), (10, 11, 12, 13), (0, 1, 2), (57, 58, 59), (5, 30, 50)]
)
def test_wild_points_are_left_out_and_counted(wild):
    track = mt.without_wild(mt.Track(driven(*wild), [0], {}, "GPX"), 400.0)
    assert [fix.time for fix in track.points] == [n for n in range(60) if n not in wild]
    assert track.dropped == {f"{mt.WILD} at 400 km/h": len(wild)} and track.starts == [0]


def test_borders_of_segments_stay_where_wild_points_go():
    track = mt.without_wild(mt.Track(driven(30), [0, 30, 40], {}, "GPX"), 400.0)
    assert track.starts == [0, 30, 39]


def test_honest_tracks_keep_every_point():
    train = [mt.Fix(float(n), 45 + n * 89 / 111000, 7.0) for n in range(60)]  # 320 km/h
    crawling = [mt.Fix(n * 0.1, 45 + (n % 3) * 1e-4, 7.0) for n in range(60)]
    ferry = [
        *driven()[:30],
        *[fix._replace(time=fix.time + 7200, lat=fix.lat + 0.5) for fix in driven()[30:]],
    ]
    for points in (train, crawling, ferry):
        track = mt.Track(points, [0], {}, "GPX")
        assert mt.without_wild(track, 400.0) == track
    broken = mt.Track(driven(*range(0, 60, 2)), [0], {}, "GPX")
    assert mt.without_wild(broken, 400.0).points == broken.points
    assert mt.without_wild(mt.Track(driven(30), [0], {}, "GPX"), 0.0).dropped == {}


@pytest.mark.parametrize(
    "inner", ["<fix>none</fix>", "<hdop>99</hdop>", "<pdop>30.5</pdop>", "<sat>2</sat>"]
)
def test_what_a_receiver_says_of_itself_counts(inner, tmp_path):
    odd = trkpt(1, 2, "2024-05-31T12:00:30Z", more=inner)
    good = trkpt(
        45.0001, 7, "2024-05-31T12:00:10Z", more="<fix>3d</fix><hdop>0.9</hdop><sat>9</sat>"
    )
    track = mt.read_track(put(tmp_path, "a.gpx", text(POINTS + good + odd)))
    assert len(track.points) == 10 and sum(track.dropped.values()) == 1


def test_a_logger_that_counts_no_satellites_is_believed_otherwise(tmp_path):
    rows = [f"<sat>0</sat><hdop>{30 if n == 2 else 1}</hdop>" for n in range(5)]
    points = "".join(
        f'<trkpt lat="{50 + n / 1000}" lon="8"><time>2024-05-06T07:08:{n:02d}Z</time>{row}</trkpt>'
        for n, row in enumerate(rows)
    )
    body = f"<gpx><trk><trkseg>{points}</trkseg></trk></gpx>"
    track = mt.read_track(put(tmp_path, "a.gpx", body))
    assert len(track.points) == 4 and track.dropped == {mt.BAD_RECEPTION: 1}
    track = mt.read_track(put(tmp_path, "b.gpx", body.replace("<sat>0", "<sat>7", 1)))
    assert len(track.points) == 1 and track.dropped[mt.NO_SATELLITES] == 4
