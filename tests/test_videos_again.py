"""Videos again: what ffprobe and ffmpeg tell is checked before it is believed, and places of telemetry that odd cameras
and programs write are those where one was.
"""

import json
import os
from pathlib import Path
from typing import Any, Dict, List

import making
import making_videos as mv
import pytest
from conftest import in_process, process, told
from making_tracks import CLIP_SECONDS, box, device, gps5, gps9, movie, rmc
from making_videos import FFMPEG, FFPROBE
from test_frames import stand_in_exiftool, tag

import mapillary_tools as mt

pytestmark = in_process
needs_ffmpeg = pytest.mark.skipif(
    not (FFMPEG and FFPROBE), reason="ffmpeg and ffprobe are not on this computer"
)
needs_script = pytest.mark.skipif(os.name != "posix", reason="programs of another kind")


def pictures(folder: Path) -> List[str]:
    """The frames in a folder."""
    return sorted(path.name for path in folder.glob("*.jpg"))


def sample(card: Path, *more: Any) -> Dict[str, Any]:
    """What sampling the videos of a folder into another tells."""
    frames = card.parent / "frames"
    return told("sample_video", "--import_path", frames, "--video_path", card, *more)


# ---- what the programs say ----------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize("turned", ["portrait", "left", "nan", "1e999", "90"])
def test_a_rotation_in_words_does_not_end_the_run(tmp_path: Path, turned: str):
    """A traceback; the videos behind it were not looked at."""
    (tmp_path / "card").mkdir()
    film = mv.clip(tmp_path / "card" / "a.mkv", "-metadata:s:v:0", f"ROTATE={turned}")
    film.write_bytes(film.read_bytes().replace(b"ROTATE", b"rotate"))  # as some writers have it
    mv.clip(tmp_path / "card" / "b.mp4")
    row = sample(tmp_path / "card")
    assert (row["done"], row["failed"]) == (4, []), row
    assert len(pictures(tmp_path / "frames")) == 4


STREAM = {
    "codec_type": "video",
    "width": 96,
    "height": 64,
    "avg_frame_rate": "10/1",
    "duration": "4.0",
}
ODD = [
    {"width": None},
    {"width": "wide"},
    {"width": 10**400},
    {"height": -64},
    {"avg_frame_rate": "N/A"},
    {"avg_frame_rate": "10"},
    {"avg_frame_rate": 10},
    {"duration": "N/A"},
    {"duration": "inf"},
    {"duration": "1e400"},
    {"duration": "1e300"},
    {"duration": float("nan")},
    {"duration": [4]},
    {"has_b_frames": "two"},
    {"tags": []},
    {"tags": {"rotate": {"degrees": 90}, "date": 2024}},
    {"side_data_list": None},
    {"side_data_list": {"rotation": 90}},
    {"side_data_list": ["rotation"]},
    {"side_data_list": [{"rotation": "upright"}, {"displaymatrix": 1}]},
    {"sample_aspect_ratio": "1:0"},
    {"sample_aspect_ratio": 1},
    {"color_transfer": ["smpte2084"], "field_order": {}},
]


def stand_in(folder: Path, name: str, script: str) -> None:
    """A program that is found in place of another."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n" + script + "\n", "utf-8")
    (folder / name).chmod(0o755)


def stand_ins(folder: Path, probe: str = "", mpeg: str = "") -> List[Any]:
    """The option for programs that begin or end with what these lines do."""
    asked = f'case "$*" in *-filters*|*"-h long"*) exec {FFMPEG} "$@";; esac\n'
    stand_in(folder, "ffprobe", probe or f'exec {FFPROBE} "$@"')
    stand_in(folder, "ffmpeg", asked + mpeg + f'\n{FFMPEG} "$@"')
    return ["--ffmpeg_path", folder]


@needs_ffmpeg
@needs_script
@pytest.mark.parametrize("field", ODD, ids=str)
def test_what_ffprobe_tells_is_a_number_or_unknown(tmp_path: Path, field: Dict[str, Any]):
    """Each of these was a traceback, and the end of a run of several videos, or a hang."""
    (tmp_path / "card").mkdir()
    mv.clip(tmp_path / "card" / "a.mp4")
    (tmp_path / "said").write_text(json.dumps({"streams": [{**STREAM, **field}]}), "utf-8")
    given = stand_ins(tmp_path / "bin", f"cat '{tmp_path}/said'")
    row = sample(tmp_path / "card", *given, "--video_sample_interval", 1)
    assert (row["done"], row["failed"]) == (4, []), row


@needs_ffmpeg
@needs_script
@pytest.mark.parametrize("streams", [{}, ["video"], "video", [None]], ids=str)
def test_streams_that_are_none_are_told_of_their_video(tmp_path: Path, streams: Any):
    (tmp_path / "card").mkdir()
    mv.clip(tmp_path / "card" / "a.mp4")
    (tmp_path / "said").write_text(json.dumps({"streams": streams, "format": []}), "utf-8")
    row = sample(tmp_path / "card", *stand_ins(tmp_path / "bin", f"cat '{tmp_path}/said'"))
    assert [one["wrong"] for one in row["failed"]] == ["has no pictures"], row


@needs_ffmpeg
@needs_script
@pytest.mark.parametrize(
    "line", ["echo x > abc.jpg", "echo frame=N/A", "echo frame=inf", "echo x > 1_0.jpg"]
)
def test_only_frames_and_their_number_are_taken_from_ffmpeg(tmp_path: Path, line: str):
    """A traceback by a name that is no number, and by progress that is none."""
    (tmp_path / "card").mkdir()
    mv.clip(tmp_path / "card" / "a.mp4")
    given = stand_ins(tmp_path / "bin", mpeg=line)
    row = sample(tmp_path / "card", *given, "--video_sample_interval", 0.1)
    assert (row["done"], row["failed"]) == (40, []), row


# ---- subtitles ----------------------------------------------------------------------------------

SPELLINGS = [
    ("[latitude: 47.123456°] [longitude: -8.654321°]", "utf-8"),
    ("Latitude: 47.123456°N Longitude: 8.654321°W", "utf-8"),
    ("Latitude: 47.123456°N Longitude: 8.654321°W", "latin-1"),
    ("Latitude: 47.123456° N Longitude: 8.654321° W", "utf-16"),
    ("[latitude: 47.123456deg] [longitude: -8.654321deg]", "utf-8"),
    ("latitude: 47,123456d longitude: -8,654321d", "utf-8"),
    ("latitude: 47.123456 degrees N longitude: 8.654321 degrees W", "utf-8"),
    ("latitude=47.123456_ longitude=-8.654321_", "utf-8"),
    ("latitude : 47.123456 Sat : 9 longtitude : -8.654321 EV : 0", "utf-8"),
]


def subtitle(path: Path, said: str, encoding: str = "utf-8") -> Path:
    """A subtitle that says this, of the first second of a video."""
    text = f"1\n00:00:00,000 --> 00:00:01,000\n2024-05-31 14:00:00.000\n{said}\n\n"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("said, encoding", SPELLINGS)
def test_degrees_of_a_subtitle_keep_their_decimals(tmp_path: Path, said: str, encoding: str):
    """A sign or a letter behind the number was met by giving up its decimals: off by up to 100 km."""
    track = mt.read_track(subtitle(tmp_path / "a.srt", said, encoding))
    assert [(fix.lat, fix.lon) for fix in track.points] == [(47.123456, -8.654321)]


@pytest.mark.parametrize("said", ["latitude: 47° 7' 24\" longitude: 8° 39' 16\"", "latitude: 47"])
def test_what_is_no_decimal_number_of_degrees_is_no_place(tmp_path: Path, said: str):
    """Minutes and seconds were left out, as decimals were."""
    with pytest.raises(mt.BadTrack):
        mt.read_track(subtitle(tmp_path / "a.srt", said))


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "°"])
def test_a_subtitle_ends_where_the_next_one_begins(
    tmp_path: Path, numbered: bool, line: str, end: str
):
    """Without blank lines between them, the last one alone was read."""
    text = ""
    for number in range(9):
        text += f"{number + 1}\n" if numbered else ""
        text += f"00:00:0{number},000 --> 00:00:0{number + 1},000\n2024-05-31 14:00:0{number}.000\n"
        text += f"[latitude: 47.10{number}]\nlongitude: 8.2{end}\n"
    (tmp_path / "a.srt").write_bytes(text.replace("\n", line).encode("utf-8"))
    points = mt.read_track(tmp_path / "a.srt").points
    assert [fix.lat for fix in points] == [float(f"47.10{number}") for number in range(9)]
    assert [fix.time - points[0].time for fix in points] == list(range(9))


# ---- the second reader --------------------------------------------------------------------------

WHENS = range(4)


def never_locked() -> List[bytes]:
    places = [mv.place_at(n / 18) for n in range(18)]
    return [device(gps5(places, CLIP_SECONDS + when, fix=0, dop=9999)) for when in WHENS]


def by_reckoning() -> List[bytes]:
    places = [mv.place_at(n / 18) for n in range(18)]
    return [device(gps5(places, CLIP_SECONDS + when, dop=9999)) for when in WHENS]


def never_locked_9() -> List[bytes]:
    rows = [(CLIP_SECONDS + when, *mv.place_at(when), 99.99, 0) for when in WHENS]
    return [device(gps9([row])) for row in rows]


def wrong_lines() -> bytes:
    """BlackVue's lines, the last digit of each checksum another one."""
    lines = [rmc(CLIP_SECONDS + when, *mv.place_at(when)[:2]) for when in WHENS]
    wrong = "\r\n".join(one[:-1] + ("1" if one[-1] == "0" else "0") for one in lines)
    return box(b"free", box(b"gps ", wrong.encode("ascii")))


REFUSED = {
    "never locked": lambda: movie(never_locked()),
    "never locked, GPS9": lambda: movie(never_locked_9()),
    "dead reckoning": lambda: movie(by_reckoning()),
    "wrong checksums": lambda: movie(created=CLIP_SECONDS, duration=4000) + wrong_lines(),
    "nothing in it": lambda: movie(created=CLIP_SECONDS, duration=4000),
}


@needs_script
@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_exiftool_is_not_asked_for_points_that_were_refused(
    tmp_path: Path, monkeypatch: Any, kind: str
):
    """It passes over locks and checksums: a receiver that never locked gave frames their places."""
    path = tmp_path / "card" / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(REFUSED[kind]())
    rows = tag("Track2", "GPSLatitude", "47.1") + tag("Track2", "GPSLongitude", "8.2")
    rows += tag("Track2", "GPSDateTime", "2024:05:31 12:00:00Z")
    program = stand_in_exiftool(tmp_path, rows, path)
    monkeypatch.setenv("MAPILLARY_TOOLS_EXIFTOOL_PATH", str(program))
    has_none = kind == "nothing in it"
    own = mt.video_tracks([path], print).get(str(path))
    assert (own is not None, (tmp_path / "asked").exists()) == (has_none, has_none)


@needs_script
def test_lock_and_dop_are_those_of_all_points_of_a_sample(tmp_path: Path, monkeypatch: Any):
    """They were those of the first point alone: the others of a receiver without a lock counted."""
    rows, states = "", [("GPSMeasureMode", 0), ("GPSMeasureMode", 3), ("GPSDOP", 99.9)]
    for number, state in enumerate([*states, ("GPSDOP", 1.5)]):
        rows += tag("Track2", "SampleTime", number) + tag("Track2", "SampleDuration", "1.00")
        rows += tag("Track2", *state) + tag("Track2", "GPSDateTime", f"2024:05:31 12:00:0{number}Z")
        for tenth in range(10):
            rows += tag("Track2", "GPSLatitude", 47.0 + number + tenth / 100)
            rows += tag("Track2", "GPSLongitude", 8.5)
    path = tmp_path / "card" / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(movie(created=CLIP_SECONDS, duration=4000))
    program = stand_in_exiftool(tmp_path, rows, path)
    monkeypatch.setenv("MAPILLARY_TOOLS_EXIFTOOL_PATH", str(program))
    track = mt.read_track(path)
    assert sorted({int(fix.lat) for fix in track.points}) == [48, 50]
    assert track.dropped == {mt.NO_FIX: 10, mt.POOR: 10} and len(track.points) == 20


# ---- several records in a sample ----------------------------------------------------------------


def camm_video(path: Path, many: int, kind: int, slow: float = 1.0) -> Path:
    """A video of nine samples, a second each, of so many records each, of a ride that takes so many
    seconds for one of them.
    """
    records = [mv.camms([slow * (n + m / many) for m in range(many)], kind) for n in range(9)]
    path.write_bytes(movie([b"".join(rows) for rows in records], form=b"camm", delta=1000))
    return path


@pytest.mark.parametrize("kind", [5, 6])
@pytest.mark.parametrize("many", [1, 2, 10, 30])
def test_records_of_one_sample_follow_each_other_in_it(tmp_path: Path, many: int, kind: int):
    """All were where the sample begins: the last one told when the video began, almost a second
    late, and of places without times one a sample was kept.
    """
    track = mt.read_track(camm_video(tmp_path / "a.mp4", many, kind))
    assert track.zero == pytest.approx(CLIP_SECONDS, abs=0.001)
    assert len(track.points) == 9 * many and not track.dropped
    wanted = [mv.place_at(n / many)[0] for n in range(9 * many)]
    assert [fix.lat for fix in track.points] == pytest.approx(wanted, abs=1e-9)
    assert [fix.time - CLIP_SECONDS for fix in track.points] == pytest.approx(
        [n / many for n in range(9 * many)], abs=0.001
    )


def test_records_of_a_time_lapse_follow_the_pictures(tmp_path: Path):
    """Guard: their own times do not fit into a sample of a second."""
    track = mt.read_track(camm_video(tmp_path / "a.mp4", 4, 6, slow=20.0))
    assert mt.at_video(track, 0.0) == pytest.approx(CLIP_SECONDS, abs=0.1)
    assert mt.at_video(track, 4.5) == pytest.approx(CLIP_SECONDS + 90, abs=0.1)


def test_places_beside_others_with_times_tell_no_more(tmp_path: Path):
    """Guard: records without times in a sample that has one with a time."""
    rows = [mv.camms([n])[0] + b"".join(mv.camms([n, n + 0.3, n + 0.6], 5)) for n in WHENS]
    (tmp_path / "a.mp4").write_bytes(movie(rows, form=b"camm", delta=1000))
    track = mt.read_track(tmp_path / "a.mp4")
    assert [fix.time - CLIP_SECONDS for fix in track.points] == list(WHENS)
    assert track.dropped == {mt.TWICE: 12}


# ---- frames and their names ---------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize(
    "name", ["VID_20240531_140000.mp4", "DJI_20240531140000_0001_D.MP4", "2024_0531_140000.MP4"]
)
def test_a_frame_has_its_name_from_its_video(tmp_path: Path, name: str):
    """The local time in it was taken for that of a camera's clock, and following the advice moved
    all frames by two hours.
    """
    (tmp_path / "card").mkdir()
    made = mv.film(tmp_path / "card" / name).add(mv.gpmd9(), b"gpmd")
    (tmp_path / "card" / name).write_bytes(made.content())
    row = sample(tmp_path / "card", "--video_sample_interval", 1)
    assert row["done"] == 4, row
    row = process(tmp_path / "frames")
    assert row["done"] == 4 and "times in the names" not in row["said"], row["said"]


def test_a_photo_has_its_name_from_its_camera(tmp_path: Path):
    """Guard: a photo whose clock and name differ is told."""
    for n in range(4):
        making.photo(tmp_path / f"IMG_20240531_14000{n}.jpg", time=f"2024:05:31 12:10:0{n}")
    assert "--offset_time" in process(tmp_path)["said"]


# ---- chapters and spheres -----------------------------------------------------------------------

CHAPTERS = [
    ["GX010001 (1).MP4", "GX020001 (1).MP4", "GX030001 (1).MP4"],
    ["GOPR0001(2).MP4", "GP010001(2).MP4", "GP020001(2).MP4"],
    ["100GOPRO/GX010001.MP4", "101GOPRO/GX020001.MP4", "102GOPRO/GX030001.MP4"],
    ["100GOPRO/GOPR0001.MP4", "100GOPRO/GP010001.MP4", "101GOPRO/gp020001.mp4"],
]


def recorded(folder: Path, names: List[str], created: float = CLIP_SECONDS) -> List[str]:
    """Chapters of ten seconds each, all with the time of the first."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(movie(created=created, duration=10000))
    return [str(folder / name) for name in names]


@pytest.mark.parametrize("names", CHAPTERS, ids=lambda names: names[-1])
def test_copies_of_chapters_and_those_of_the_next_folder_go_on(tmp_path: Path, names: List[str]):
    """They were taken for recordings of their own, which all begin when the first one does."""
    paths = recorded(tmp_path, names)
    assert [mt.length_before(path, CLIP_SECONDS) for path in paths] == [0.0, 10.0, 20.0]


def test_chapters_are_not_looked_for_in_folders_behind_or_of_another_camera(tmp_path: Path):
    """Guard: the folder of a chapter follows those of the chapters before it."""
    recorded(tmp_path, ["102GOPRO/GX010001.MP4", "100CANON/GX010001.MP4"])
    (path,) = recorded(tmp_path, ["101GOPRO/GX020001.MP4"])
    assert mt.length_before(path, CLIP_SECONDS) is None


def test_the_chapters_of_a_copy_follow_each_other(tmp_path: Path):
    """Guard: of two copies of a recording the one is behind the other."""
    names = ["GX010001 (1).MP4", "GX010001.MP4", "GX020001 (1).MP4", "GX020001.MP4"]
    start = mt.FrameOptions(video_start_time=0)
    starts = dict(mt.with_starts(recorded(tmp_path, names), start))
    by_name = {Path(path).name: when for path, when in starts.items()}
    assert by_name["GX020001 (1).MP4"] == by_name["GX010001 (1).MP4"] + 10.0
    assert by_name["GX020001.MP4"] == by_name["GX010001.MP4"] + 10.0


SPHERE = bytes.fromhex("ffcc8263f8554a938814587a02521fdd") + (
    b"<rdf:SphericalVideo><GSpherical:Spherical>%s</GSpherical:Spherical>"
    b"<GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType></rdf:SphericalVideo>"
)


@pytest.mark.parametrize("said, sphere", [(b"true", "whole"), (b"false", ""), (b" False ", "")])
def test_a_video_that_says_it_is_no_sphere_is_none(tmp_path: Path, said: bytes, sphere: str):
    """It was marked as a panorama by the projection beside it."""
    made = mv.bare([1000] * 4)
    made.traks[0].append([b"uuid", SPHERE % said])
    (tmp_path / "a.mp4").write_bytes(made.content())
    assert mt.read_movie(tmp_path / "a.mp4").sphere == sphere


# ---- long names ---------------------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.skipif(os.name != "posix", reason="names are counted otherwise there")
def test_a_video_with_the_longest_of_names_gives_frames(tmp_path: Path):
    """Their names, longer than its own, could not be: the disk was blamed, and no frame was there."""
    (tmp_path / "card").mkdir()
    mv.clip(tmp_path / "a.mp4")
    for last in "xy":
        name = "\u00fc" * 125 + last + ".mp4"
        assert len(name.encode("utf-8")) == 255
        (tmp_path / "card" / name).write_bytes((tmp_path / "a.mp4").read_bytes() + last.encode())
    row = sample(tmp_path / "card")
    assert (row["done"], row["failed"]) == (4, []), row
    row = sample(tmp_path / "card")
    assert row["done"] == 0, row
    names = pictures(tmp_path / "frames")
    assert names == ["\u00fc" * 120 + f"_00000{number}.jpg" for number in (1, 2, 3, 4)]
    assert process(tmp_path / "frames")["said"].count("cannot be written") == 0
