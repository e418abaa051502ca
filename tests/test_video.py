"""Floor 11: frames sampled from videos, and the time, place and name that each of them gets.

Every video is made here. Its frames show their own number as a bar code, which is read back from the JPEGs.
"""

import datetime
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import making
import making_tracks
import mapillary_tools as mt
import pytest
from conftest import soon, as_nobody

FFMPEG = os.environ.get("TEST_FFMPEG") or shutil.which("ffmpeg")
FFPROBE = shutil.which("ffprobe")
pytestmark = pytest.mark.skipif(
    not FFMPEG or not FFPROBE, reason="ffmpeg and ffprobe are not on this computer"
)

VIDEOS = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "videos"
BITS, BLOCK, HEIGHT = 16, 8, 32  # the bar code: bits, pixels a bit, pixels
WIDTH = BITS * BLOCK
START_MS = 1717156800000  # 2024-05-31 12:00:00 UTC
START = START_MS / 1000


def ffmpeg(*argv, given=None):
    """Run ffmpeg; the given bytes are its input."""
    done = subprocess.run(
        [FFMPEG, *(["-nostdin"] if given is None else []), "-v", "error", "-y", *map(str, argv)],
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout


def bar_code(number):
    """A gray picture that shows a number."""
    row = b"".join(
        bytes([235 if number >> (BITS - 1 - bit) & 1 else 16]) * BLOCK for bit in range(BITS)
    )
    return row * HEIGHT


def make(path, count, rate=30, pts=None, gop=30, bframes=2, more=()):
    """A video of `count` frames; pts is an expression for the setpts filter, in milliseconds."""
    timing = (
        []
        if pts is None
        else [
            "-vf",
            "settb=1/1000,setpts='%s'" % pts,
            "-vsync",
            "passthrough",
            "-video_track_timescale",
            "1000",
            "-enc_time_base",
            "1/1000",
        ]
    )
    ffmpeg(
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-s",
        "%dx%d" % (WIDTH, HEIGHT),
        "-r",
        rate,
        "-i",
        "-",
        *timing,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-qp",
        "12",
        "-pix_fmt",
        "yuv420p",
        "-g",
        gop,
        "-bf",
        bframes,
        *more,
        path,
        given=b"".join(map(bar_code, range(count))),
    )
    return path


def shown(paths):
    """The numbers that JPEGs show."""
    if not paths:
        return []
    raw = ffmpeg(
        "-noautorotate",
        "-f",
        "image2pipe",
        "-c:v",
        "mjpeg",
        "-i",
        "-",
        "-vf",
        "scale=%d:%d" % (WIDTH, HEIGHT),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-vsync",
        "passthrough",
        "-",
        given=b"".join(path.read_bytes() for path in paths),
    )
    size = WIDTH * HEIGHT
    assert len(raw) == size * len(paths)
    numbers = []
    for start in range(0, len(raw), size):
        line = raw[start + size // 2 : start + size // 2 + WIDTH]
        numbers.append(
            sum((line[bit * BLOCK + BLOCK // 2] > 128) << (BITS - 1 - bit) for bit in range(BITS))
        )
    return numbers


def state(folder):
    """The names in the state folder."""
    return set(os.listdir(Path(folder, ".mapillary")))


def exif_seconds(path):
    """Seconds UTC by the EXIF of a frame, read without the product."""
    exif = making.read_exif(path)
    assert exif["OffsetTimeOriginal"] == "+00:00"
    moment = datetime.datetime.strptime(exif["DateTimeOriginal"], "%Y:%m:%d %H:%M:%S")
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp() + float(
        "0." + exif["SubSecTimeOriginal"]
    )


def frames(folder):
    """The frames in a folder, by name."""
    return sorted(Path(folder).glob("*.jpg"))


def sample(video, into, geotagging=None, ui=None, **options):
    """Run the product with a start time, unless one is given (None = the video's own)."""
    options.setdefault("video_start_time", START_MS)
    video = mt.Video(video_path=str(video), ffmpeg_path=os.environ.get("TEST_FFMPEG"), **options)
    groups = [mt.Input(str(into)), video, geotagging or mt.Geotagging()]
    return mt.sample_videos(mt.Options(groups), ui or mt.Ui())


def judge(times, interval):
    """Which frames are to be taken: the first, and the first at or after each multiple of the interval from it."""
    chosen, k = [], 0
    for number, when in enumerate(times):
        if when - times[0] >= k * interval - 1e-6:
            chosen.append(number)
            k = math.floor((when - times[0]) / interval + 1e-6) + 1
    return chosen


def check(folder, times, interval, ratio=1.0, start=START, first=0):
    """The frames in a folder are the right ones and their EXIF times are theirs; times are those of frame first on."""
    paths, chosen = frames(folder), judge(times, interval)
    assert shown(paths) == [first + number for number in chosen]
    for path, number in zip(paths, chosen):
        assert exif_seconds(path) == pytest.approx(
            start + (times[number] - times[0]) * ratio, abs=0.00056
        )


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder with videos that several tests use; none is changed."""
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def steady(films):
    """300 frames at 30 a second, with B-frames, a key frame a second."""
    return make(films / "steady.mp4", 300)


VFR = "N*200+25*mod(N*N\\,7)"


def vfr_time(number):
    return (number * 200 + 25 * (number * number % 7)) / 1000


@pytest.fixture(scope="module")
def uneven(films):
    """150 frames from 50 to 350 ms apart, with B-frames."""
    return make(films / "uneven.mp4", 150, pts=VFR)


@pytest.fixture
def sparse(monkeypatch):
    """Make every run seek, whatever it costs."""
    monkeypatch.setattr(mt, "seeking_pays", lambda footage, gap: footage.key_gap is not None)


# which frames, and when


@pytest.mark.parametrize("interval", [2.0, 0.37, 0.1, 0.01, 100.0])
def test_each_frame_has_the_time_it_was_shown_at(steady, tmp_path, interval):
    report = sample(steady, tmp_path, video_sample_interval=interval)
    check(tmp_path, [number / 30 for number in range(300)], interval)
    assert report.found == report.done == len(frames(tmp_path)) and report.exit_code == 0


@pytest.mark.parametrize("interval", [0.77, 1.0, 3.3])
def test_seeking_takes_the_same_frames_with_the_same_times(steady, tmp_path, interval, sparse):
    sample(steady, tmp_path, video_sample_interval=interval)
    check(tmp_path, [number / 30 for number in range(300)], interval)


@pytest.mark.skipif(os.name == "nt", reason="the ffmpeg that is there drops the last frame")
@pytest.mark.parametrize("interval", [2.0, 0.15, 0.05])
def test_variable_frame_rate_keeps_true_times(uneven, tmp_path, interval):
    sample(uneven, tmp_path, video_sample_interval=interval)
    check(tmp_path, [vfr_time(number) for number in range(150)], interval)


def test_variable_frame_rate_by_seeking(uneven, tmp_path, sparse):
    sample(uneven, tmp_path, video_sample_interval=2.6)
    check(tmp_path, [vfr_time(number) for number in range(150)], 2.6)


def test_a_seek_that_lands_behind_its_frame_is_noticed(steady, tmp_path, sparse, monkeypatch):
    monkeypatch.setattr(mt, "seek_margin", lambda footage: -1.5)
    sample(steady, tmp_path, video_sample_interval=3.3)
    check(tmp_path, [number / 30 for number in range(300)], 3.3)


def test_matroska_times_rounded_to_milliseconds_do_not_slip_a_frame(films, tmp_path):
    video = make(films / "rounded.mkv", 120, rate="30000/1001")
    sample(video, tmp_path, video_sample_interval=0.5005)
    assert shown(frames(tmp_path)) == list(range(0, 120, 15))


@pytest.mark.parametrize("by_seeking", [False, True])
def test_edit_list_that_starts_within_a_group_of_pictures(
    steady, tmp_path, by_seeking, monkeypatch
):
    monkeypatch.setattr(mt, "seeking_pays", lambda footage, gap: by_seeking)
    video = tmp_path / "cut.mp4"
    ffmpeg("-ss", "1.5", "-i", steady, "-c", "copy", video)
    assert b"elst" in video.read_bytes()
    sample(video, tmp_path / "in", video_sample_interval=0.7)
    first = shown(frames(tmp_path / "in"))[0]
    assert first == 45
    check(tmp_path / "in", [number / 30 for number in range(300 - first)], 0.7, first=first)


def test_pictures_that_begin_after_the_sound_count_from_their_own_first(steady, tmp_path):
    video = tmp_path / "late.mp4"
    ffmpeg(
        "-itsoffset",
        "2",
        "-i",
        steady,
        "-f",
        "lavfi",
        "-i",
        "anullsrc",
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-t",
        "12",
        "-c:v",
        "copy",
        video,
    )
    sample(video, tmp_path / "in")
    check(tmp_path / "in", [number / 30 for number in range(300)], 2.0)


def test_duration_ratio_stretches_time(steady, tmp_path):
    sample(steady, tmp_path, video_duration_ratio=30.0)
    check(tmp_path, [number / 30 for number in range(300)], 2.0, ratio=30.0)


def test_three_thousand_frames_need_no_longer_command(films, tmp_path, monkeypatch):
    video = make(films / "long.mp4", 3100, gop=250)
    lengths, popen = [], subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda argv, **rest: lengths.append(sum(map(len, argv))) or popen(argv, **rest),
    )
    report = sample(video, tmp_path, video_sample_interval=1 / 30)
    assert report.done == 3100 and max(lengths) < 2000
    paths = frames(tmp_path)
    assert paths[-1].name == "long_003100.jpg"
    assert shown(paths[::100]) == list(range(0, 3100, 100))
    assert exif_seconds(paths[3000]) == pytest.approx(START + 100, abs=0.001)


# clocks


def test_start_time_from_the_container(films, tmp_path):
    video = make(films / "dated.mp4", 30, more=("-metadata", "creation_time=2024-05-31T12:00:00Z"))
    report = sample(video, tmp_path, video_start_time=None)
    check(tmp_path, [number / 30 for number in range(30)], 2.0)
    assert any("clock: its creation_time" in note for note in report.notes)


def test_no_clock_at_all_starts_in_1970_and_says_so(steady, tmp_path):
    report = sample(steady, tmp_path, video_start_time=None)
    check(tmp_path, [number / 30 for number in range(300)], 2.0, start=0.0)
    assert any("1970" in note and "--video_start_time" in note for note in report.notes)


def test_start_time_in_seconds_by_mistake_is_said(steady, tmp_path):
    assert any(
        "milliseconds" in note
        for note in sample(steady, tmp_path, video_start_time=1717156800).notes
    )


@pytest.fixture(scope="module")
def gopro(films, steady):
    """The steady video with ten seconds of GoPro telemetry; its creation_time is two hours ahead."""
    telemetry = films / "telemetry.mp4.part"
    telemetry.write_bytes(making_tracks.movie(making_tracks.hero5_style(10)))
    video = films / "GX010001.MP4"
    ffmpeg(
        "-i",
        steady,
        "-i",
        telemetry,
        "-map",
        "0:v",
        "-map",
        "1:d",
        "-c",
        "copy",
        "-copy_unknown",
        "-metadata",
        "creation_time=%s" % making_tracks.iso(making_tracks.CLIP_SECONDS + 7200),
        video,
    )
    return video


def test_gps_time_decides_and_the_difference_is_said(gopro, tmp_path):
    clock = mt.movie_track(gopro).zero
    assert clock == pytest.approx(making_tracks.CLIP_SECONDS, abs=1.5)
    report = sample(gopro, tmp_path, video_start_time=None)
    check(tmp_path, [number / 30 for number in range(300)], 2.0, start=clock)
    assert any("2.00 hours" in note and "ahead of" in note for note in report.notes)
    assert any("clock: its GPS time" in note for note in report.notes)


def test_frames_carry_position_and_camera_of_the_video(gopro, tmp_path):
    sample(gopro, tmp_path, video_start_time=None)
    track = mt.read_track(gopro)
    clock = mt.movie_track(gopro).zero
    for number, path in enumerate(frames(tmp_path)):
        lat, lon, alt = making.place(path)
        fix = mt.fix_at(track, clock + 2 * number)
        assert (lat, lon) == pytest.approx((fix.lat, fix.lon), abs=1e-7) and alt == pytest.approx(
            fix.alt, abs=0.001
        )
        image = mt.read_image(path)
        assert image.camera.make == "GoPro" and image.camera.orientation == 1
        assert image.heading is not None and "GPSImgDirection" not in making.read_exif(path)


def test_telemetry_keeps_its_place_when_pictures_begin_later(gopro, tmp_path):
    video = tmp_path / "late.mp4"
    ffmpeg(
        "-itsoffset",
        "1.5",
        "-i",
        gopro,
        "-i",
        gopro,
        "-map",
        "0:v",
        "-map",
        "1:d",
        "-c",
        "copy",
        "-copy_unknown",
        video,
    )
    sample(video, tmp_path / "in", video_start_time=None)
    clock = mt.movie_track(video).zero
    assert exif_seconds(frames(tmp_path / "in")[0]) == pytest.approx(clock + 1.5, abs=0.002)


def test_given_start_time_wins_but_positions_follow_the_telemetry(gopro, tmp_path):
    report = sample(gopro, tmp_path, video_start_time=1000000000000)
    check(tmp_path, [number / 30 for number in range(300)], 2.0, start=1e9)
    fix = mt.fix_at(mt.read_track(gopro), mt.movie_track(gopro).zero)
    assert making.place(frames(tmp_path)[0])[:2] == pytest.approx((fix.lat, fix.lon), abs=1e-7)
    assert any("--video_start_time" in note and "GPS time" in note for note in report.notes)


def test_local_creation_time_is_put_right_by_timezone(films, tmp_path):
    video = make(films / "local.mp4", 30, more=("-metadata", "creation_time=2024-05-31T14:00:00Z"))
    sample(video, tmp_path, video_start_time=None, geotagging=mt.Geotagging(timezone="+02:00"))
    assert exif_seconds(frames(tmp_path)[0]) == START


@pytest.mark.parametrize("degrees, orientation", [(90, 6), (180, 3), (270, 8)])
def test_rotation_becomes_orientation_and_pixels_stay(steady, tmp_path, degrees, orientation):
    video, plain = tmp_path / "turned.mp4", steady.read_bytes()
    ffmpeg("-i", steady, "-c", "copy", video)
    content = bytearray(video.read_bytes())
    at = content.index(
        struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000), content.index(b"tkhd")
    )
    turn = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    a, b, c, d = (part * 0x10000 for part in turn)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    video.write_bytes(content)
    sample(video, tmp_path / "in", video_sample_interval=5.0)
    assert shown(frames(tmp_path / "in")) == [0, 150]
    assert mt.read_image(frames(tmp_path / "in")[0]).camera.orientation == orientation
    assert plain == steady.read_bytes()


def test_processing_reads_the_sub_seconds(steady, tmp_path):
    sample(steady, tmp_path, video_sample_interval=0.5)
    assert [mt.read_image(path).time for path in frames(tmp_path)][:4] == pytest.approx(
        [START, START + 0.5, START + 1.0, START + 1.5], abs=1e-6
    )


# distance


def straight(path, seconds=12, metres=7.0, start=START):
    """A GPX north at an even speed; returns the places by second."""
    step = metres / mt.distance(mt.Fix(0, 45.0, 7.0), mt.Fix(0, 46.0, 7.0))
    points = [mt.Fix(start + second, 45.0 + step * second, 7.0, 100.0) for second in range(seconds)]
    mt.write_gpx(mt.Track(points, [0], {}, "made"), path)
    return mt.Geotagging(geotag_source="gpx", geotag_source_path=str(path))


@pytest.mark.parametrize("metres", [10.0, 3.14, 0.1])
def test_distance_sampling_is_even_along_the_track(steady, tmp_path, metres):
    geotagging = straight(tmp_path / "track.gpx")
    report = sample(steady, tmp_path / "in", geotagging, video_sample_distance=metres)
    assert not report.failed
    paths = frames(tmp_path / "in")
    wanted = [math.ceil(k * metres / 7.0 * 30 - 1e-3) for k in range(int(70 / metres) + 1)]
    assert shown(paths) == sorted({number for number in wanted if number < 300})
    assert exif_seconds(paths[3]) == pytest.approx(START + shown(paths)[3] / 30, abs=0.00056)
    places = [mt.Fix(0, *making.place(path)[:2]) for path in paths]
    for a, b in zip(places, places[1:]):
        assert mt.distance(a, b) == pytest.approx(max(metres, 7.0 / 30), abs=7.0 / 30 + 0.01)


def test_distance_sampling_does_not_drift_while_standing():
    points = [
        mt.Fix(second, 45.0 + (0.00001 if second % 2 else 0.0), 7.0) for second in range(1000)
    ]
    assert mt.distance_times(mt.Track(points, [0], {}, ""), 0.0, 999.0, 5.0) == [0.0]


def test_distance_sampling_needs_a_track_and_says_so(steady, tmp_path):
    report = sample(steady, tmp_path, video_sample_distance=5.0)
    assert (
        report.exit_code == 1 and "needs a track" in str(report.failed[0]) and not frames(tmp_path)
    )


def test_distance_sampling_along_the_track_of_the_video(gopro, tmp_path):
    report = sample(gopro, tmp_path, video_start_time=None, video_sample_distance=10.0)
    assert report.exit_code == 0 and len(frames(tmp_path)) > 3


def test_frames_outside_the_track_are_counted(steady, tmp_path):
    report = sample(steady, tmp_path / "in", straight(tmp_path / "track.gpx", seconds=4))
    assert any("2 frames" in note and "no position" in note for note in report.notes)
    assert making.place(frames(tmp_path / "in")[-1]) is None


# folders, names and sampling again


def test_a_folder_of_videos_in_natural_order_with_odd_names(steady, tmp_path):
    folder = tmp_path / "Žeľezná cesta 100%d"
    folder.mkdir()
    for name in ("ride 2.MP4", "ride 10.mp4", "-çava #1.MOV", "notes.txt", "._ride 2.MP4"):
        shutil.copy(steady, folder / name)
    into = tmp_path / "vložené %03d"
    report = sample(folder, into, video_sample_interval=5.0)
    assert not report.failed
    assert [path.name for path in frames(into)] == [
        "-çava #1_000001.jpg",
        "-çava #1_000002.jpg",
        "ride 10_000001.jpg",
        "ride 10_000002.jpg",
        "ride 2_000001.jpg",
        "ride 2_000002.jpg",
    ]
    assert [note.split(":")[0] for note in report.notes] == [
        "-çava #1.MOV",
        "ride 2.MP4",
        "ride 10.mp4",
    ]
    assert exif_seconds(into / "ride 10_000001.jpg") == pytest.approx(START + 20, abs=0.001)


def test_videos_of_one_name_share_a_folder(steady, uneven, tmp_path):
    for name, video in (("a", steady), ("b", uneven)):
        (tmp_path / name).mkdir()
        shutil.copy(video, tmp_path / name / "ride.mp4")
    sample(tmp_path / "a" / "ride.mp4", tmp_path / "in", video_sample_interval=5.0)
    sample(tmp_path / "b" / "ride.mp4", tmp_path / "in", video_sample_interval=15.0)
    assert [path.name for path in frames(tmp_path / "in")] == [
        "ride_%06d.jpg" % number for number in (1, 2, 3, 4)
    ]
    assert shown(frames(tmp_path / "in")) == [0, 150, 0, 75]


def test_copies_of_a_video_are_videos_of_their_own_and_a_moved_one_is_not(steady, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(steady, tmp_path / name / "ride.mp4")
    assert sample(tmp_path, tmp_path / "in", video_sample_interval=5.0).done == 4
    (tmp_path / "a").rename(tmp_path / "c")
    report = sample(tmp_path / "c", tmp_path / "in", video_sample_interval=5.0)
    assert report.done == 0 and len(frames(tmp_path / "in")) == 4


def listing(folder):
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in frames(folder)}


def test_sampling_again_with_the_same_settings_does_nothing(steady, tmp_path):
    sample(steady, tmp_path)
    before = listing(tmp_path)
    report = sample(steady, tmp_path)
    assert listing(tmp_path) == before
    assert (report.found, report.done) == (5, 0) and list(map(len, report.skipped.values())) == [5]


def test_sampling_again_with_other_settings_replaces_what_sampling_wrote(steady, tmp_path):
    sample(steady, tmp_path, video_sample_interval=1.0)
    sample(steady, tmp_path, video_sample_interval=2.5)
    assert [path.name for path in frames(tmp_path)] == [
        "steady_%06d.jpg" % number for number in range(1, 5)
    ]
    check(tmp_path, [number / 30 for number in range(300)], 2.5)


def test_a_video_that_was_replaced_replaces_its_frames(steady, uneven, tmp_path):
    video = tmp_path / "ride.mp4"
    shutil.copy(steady, video)
    sample(video, tmp_path / "in")
    shutil.copy(uneven, video)
    sample(video, tmp_path / "in", video_sample_interval=10.0)
    assert shown(frames(tmp_path / "in")) == judge(
        [vfr_time(number) for number in range(150)], 10.0
    )


def test_frames_of_another_recording_at_the_same_path_stay_and_are_named(steady, uneven, tmp_path):
    """A second card at the same place has a video of the same name: the frames of the first were removed in silence."""
    video = tmp_path / "ride.mp4"
    shutil.copy(steady, video)
    sample(video, tmp_path / "in", video_sample_interval=5.0)
    before = {path: path.read_bytes() for path in frames(tmp_path / "in")}
    shutil.copy(uneven, video)
    later = START_MS + 86400000
    report = sample(video, tmp_path / "in", video_sample_interval=10.0, video_start_time=later)
    assert {path: path.read_bytes() for path in before} == before
    assert len(frames(tmp_path / "in")) == len(before) + report.done
    assert any("ride_000001.jpg" in note and "stay" in note for note in report.notes)


def test_a_video_whose_clock_was_put_right_replaces_its_frames(steady, tmp_path):
    """Its frames of before stayed, with the wrong date, as those of another video."""
    video = tmp_path / "ride.mp4"
    shutil.copy(steady, video)
    sample(video, tmp_path / "in", video_sample_interval=5.0)
    before = [path.name for path in frames(tmp_path / "in")]
    with video.open("r+b") as stream:
        content = stream.read()
        at = content.index(b"mvhd") + 8  # its creation time
        stream.seek(at)
        stream.write(b"\x00\x00\x00\x01" if content[at : at + 4] == b"\0\0\0\0" else b"\0\0\0\0")
    later = START_MS + 86400000
    report = sample(video, tmp_path / "in", video_sample_interval=5.0, video_start_time=later)
    assert [path.name for path in frames(tmp_path / "in")] == before
    assert report.done == len(before)


def test_frames_that_are_missing_are_said(steady, tmp_path):
    """They were passed over in silence, and are not taken again: somebody may have sorted them out."""
    sample(steady, tmp_path)
    frames(tmp_path)[1].unlink()
    report = sample(steady, tmp_path)
    assert report.done == 0 and any("1 of its 5 frames" in note for note in report.notes)


def test_frames_that_somebody_changed_stay_and_are_named(steady, tmp_path):
    sample(steady, tmp_path)
    changed = frames(tmp_path)[1]
    changed.write_bytes(changed.read_bytes() + b"mine")
    report = sample(steady, tmp_path, video_sample_interval=5.0)
    assert changed.read_bytes().endswith(b"mine")
    assert [path.name for path in frames(tmp_path)] == [
        "steady_000002.jpg",
        "steady_000003.jpg",
        "steady_000004.jpg",
    ]
    assert any("steady_000002.jpg" in note for note in report.notes)


def test_frames_that_were_processed_are_replaced_too(gopro, tmp_path):
    sample(gopro, tmp_path, video_start_time=None)
    written = mt.process(mt.Input(import_path=str(tmp_path)), mt.User(user_name="somebody"))
    assert written.done == 5
    again = sample(gopro, tmp_path, video_start_time=None)
    assert again.done == 0 and len(frames(tmp_path)) == 5
    sample(gopro, tmp_path, video_start_time=None, video_sample_interval=5.0)
    assert shown(frames(tmp_path)) == [0, 150]


def test_nothing_of_others_is_overwritten_or_deleted(steady, tmp_path):
    mine = {
        "steady_000001.jpg": b"mine",
        "steady_000007.JPG": b"mine too",
        "steady.mp4": b"a movie",
        "notes": b"",
    }
    for name, content in mine.items():
        (tmp_path / name).write_bytes(content)
    sample(steady, tmp_path, video_sample_interval=5.0)
    sample(steady, tmp_path, video_sample_interval=2.0)
    for name, content in mine.items():
        assert (tmp_path / name).read_bytes() == content
    assert shown(
        sorted(tmp_path.glob("steady_00000[89].jpg")) + sorted(tmp_path.glob("steady_00001*.jpg"))
    ) == [0, 60, 120, 180, 240]


def test_the_video_in_the_import_folder_survives(steady, tmp_path):
    shutil.copy(steady, tmp_path / "ride.mp4")
    sample(tmp_path, tmp_path)
    assert (tmp_path / "ride.mp4").read_bytes() == steady.read_bytes() and len(
        frames(tmp_path)
    ) == 5


def test_a_second_run_on_the_same_folder_is_refused(steady, tmp_path):
    with mt.Journal(str(tmp_path)), pytest.raises(mt.BadJournal, match="another run"):
        sample(steady, tmp_path)


# videos that cannot be sampled


def broken(folder, steady):
    """One of each kind of video that gives no frames, by what its error must say."""
    folder.mkdir()
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "text.mov").write_text("not a video", "utf-8")
    content = steady.read_bytes()
    (folder / "truncated.mp4").write_bytes(content[: len(content) // 2])
    ffmpeg("-f", "lavfi", "-i", "anullsrc", "-t", "1", folder / "sound.mp4")
    return {
        "empty.mp4": "is empty",
        "noise.mp4": "cannot be read as a video",
        "text.mov": "cannot be read as a video",
        "truncated.mp4": "moov atom not found",
        "sound.mp4": "has no pictures",
    }


def test_bad_videos_get_one_line_each_and_the_others_go_on(steady, tmp_path):
    wanted = broken(tmp_path / "card", steady)
    shutil.copy(steady, tmp_path / "card" / "zebra.mp4")
    report = sample(tmp_path / "card", tmp_path / "in", video_start_time=None)
    assert {Path(problem.file).name for problem in report.failed} == set(wanted)
    for problem in report.failed:
        assert (
            wanted[Path(problem.file).name] in str(problem)
            and "\n" not in str(problem)
            and problem.remedy
        )
    assert report.done == 5 and report.found == 5 + len(wanted) and report.exit_code == 1
    assert state(tmp_path / "in") == {"lock", "journal.jsonl"}


@pytest.mark.skipif(os.name != "posix", reason="rights of files are other ones there")
def test_a_video_without_read_permission():
    with as_nobody() as folder:
        video = folder / "closed.mp4"
        video.write_bytes(b"a video")
        video.chmod(0)
        report = sample(video, folder / "in")
        assert "cannot be read" in str(report.failed[0]) and "check its rights" in str(
            report.failed[0]
        )


def test_a_video_that_is_cut_off_behind_its_index_gives_what_it_has_and_says_so(steady, tmp_path):
    ffmpeg("-i", steady, "-c", "copy", "-movflags", "+faststart", tmp_path / "whole.mp4")
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 2 // 3])
    report = sample(tmp_path / "cut.mp4", tmp_path / "in")
    numbers = shown(frames(tmp_path / "in"))
    assert 2 <= len(numbers) < 5 and numbers == list(range(0, 300, 60))[: len(numbers)]
    assert report.exit_code == 1 and "is damaged" in str(report.trouble[0])


def test_nothing_to_sample(tmp_path):
    with pytest.raises(mt.NotFound, match="no such file or folder"):
        sample(tmp_path / "none", tmp_path)
    with pytest.raises(mt.NotFound, match="holds no videos"):
        sample(tmp_path, tmp_path)
    with pytest.raises(mt.UsageError, match="video_sample_interval"):
        mt.Video(video_path="x", video_sample_interval=0.0)


# ending early


def test_ctrl_c_stops_ffmpeg_and_leaves_nothing_half_done(films, tmp_path):
    video = make(films / "slow.mp4", 3000, gop=250)
    seen = []

    def press(what, done, total, size):
        seen.append((done, total))
        raise KeyboardInterrupt

    children, popen = [], subprocess.Popen
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            subprocess,
            "Popen",
            lambda argv, **rest: children.append(popen(argv, **rest)) or children[-1],
        )
        sample(video, tmp_path, mt.Geotagging(), mt.Ui(press), video_sample_interval=1 / 30)
    assert seen and all(child.poll() is not None for child in children)
    assert not frames(tmp_path) and state(tmp_path) == {"lock"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["stamping", "moving"])
def test_a_killed_run_leaves_whole_frames_and_the_next_one_completes_it(steady, tmp_path, moment):
    code = """if True:
        import os, sys, mapillary_tools as mt
        calls = []
        def wrapped(act):
            def deadly(*given, **named):
                calls.append(1)
                if len(calls) == 4:
                    os.kill(os.getpid(), 9)
                return act(*given, **named)
            return deadly
        if sys.argv[3] == "moving":
            real = mt.SampleRecord.bring
            def bring(*given):
                os.replace = wrapped(os.replace)
                return real(*given)
            mt.SampleRecord.bring = bring
        else:
            mt.finish_files = wrapped(mt.finish_files)
        video = mt.Video(video_path=sys.argv[1], video_sample_interval=1.0, video_start_time=0)
        mt.sample_videos(mt.Options([mt.Input(sys.argv[2]), video]), mt.Ui())
    """
    sample(steady, tmp_path)
    environment = dict(os.environ, PYTHONPATH=os.path.dirname(mt.__file__))
    done = subprocess.run(
        [sys.executable, "-c", code, str(steady), str(tmp_path), moment], env=environment
    )
    assert done.returncode == -signal.SIGKILL
    assert len(frames(tmp_path)) == (5 if moment == "stamping" else 3)
    shown(frames(tmp_path))
    sample(steady, tmp_path, video_sample_interval=2.5)
    check(tmp_path, [number / 30 for number in range(300)], 2.5)
    assert state(tmp_path) == {"lock", "journal.jsonl"}


def test_a_torn_record_line_is_survived(steady, tmp_path):
    sample(steady, tmp_path)
    record = tmp_path / ".mapillary" / "journal.jsonl"
    record.write_bytes(record.read_bytes() + b'{"sampling":{"path":"abc","fra')
    assert sample(steady, tmp_path).done == 0
    sample(steady, tmp_path, video_sample_interval=5.0)
    assert sample(steady, tmp_path, video_sample_interval=5.0).done == 0


def test_the_record_of_an_earlier_version_is_read_once(steady, tmp_path):
    """It kept sampling in a file of its own, sampled.jsonl."""
    sample(steady, tmp_path)
    journal = tmp_path / ".mapillary" / "journal.jsonl"
    header, *lines = journal.read_bytes().splitlines()
    rows = [json.dumps(json.loads(text)["sampling"]).encode("ascii") for text in lines]
    journal.write_bytes(header + b"\n")
    old = tmp_path / ".mapillary" / "sampled.jsonl"
    old.write_bytes(b"\n".join([b"", *rows, b'{"digest": "abc", "fra']))
    assert sample(steady, tmp_path).done == 0
    old.unlink()
    assert sample(steady, tmp_path).done == 0, "now the journal knows"


def test_a_record_never_names_a_file_outside_its_folder(steady, tmp_path):
    """Symptom: a card from somebody else, whose record named ../x.jpg, had that file removed."""
    folder, victim = tmp_path / "in", tmp_path / "x.jpg"
    making.photo(victim)
    sample(steady, folder)
    stamp = mt.stamp_of(victim)
    row = {"path": str(steady), "digest": "abc", "frames": {"../x.jpg": stamp._asdict()}}
    journal = folder / ".mapillary" / "journal.jsonl"
    text = json.dumps({"sampling": row}).encode("ascii")
    journal.write_bytes(journal.read_bytes() + text + b"\n")
    sample(steady, folder, video_sample_interval=5.0)
    assert victim.exists()


# programs


def fake(folder, name="ffmpeg"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name + (".exe" if os.name == "nt" else ""))
    path.write_text("#!/bin/sh\n", "utf-8")
    path.chmod(0o755)
    return str(path)


def test_programs_are_found_in_order(tmp_path, monkeypatch):
    given, by_variable = fake(tmp_path / "given"), fake(tmp_path / "variable")
    beside, on_path = fake(tmp_path / "beside"), fake(tmp_path / "path")
    monkeypatch.setattr(mt, "HERE", str(tmp_path / "beside"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("MAPILLARY_TOOLS_FFMPEG_PATH", by_variable)
    assert mt.find_program("ffmpeg", given) == given
    assert mt.find_program("ffmpeg", str(tmp_path / "given")) == given
    assert mt.find_program("ffmpeg") == by_variable
    monkeypatch.delenv("MAPILLARY_TOOLS_FFMPEG_PATH")
    assert mt.find_program("ffmpeg") == beside
    os.unlink(beside)
    assert mt.find_program("ffmpeg") == on_path


def test_ffprobe_is_looked_for_beside_the_ffmpeg_that_was_given(tmp_path):
    given, probe = fake(tmp_path, "ffmpeg"), fake(tmp_path, "ffprobe")
    assert mt.find_program("ffprobe", given) == probe
    os.unlink(probe)
    assert mt.find_program("ffprobe", given) == mt.find_program("ffprobe")


@pytest.mark.parametrize(
    "system, word", [("win32", "winget"), ("darwin", "brew"), ("linux", "apt")]
)
def test_a_missing_program_is_told_with_the_way_to_get_it(tmp_path, monkeypatch, system, word):
    monkeypatch.setattr(mt, "program_folders", lambda: [])
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(mt.ProgramMissing, match=word):
        mt.find_program("ffmpeg")
    with pytest.raises(mt.ProgramMissing, match="there is no ffmpeg there.*--ffmpeg_path"):
        mt.find_program("ffmpeg", str(tmp_path / "nowhere"))


def test_programs_do_not_see_our_tokens(monkeypatch):
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", "secret")
    assert (
        "secret"
        not in mt.run_program([sys.executable, "-c", "import os; print(dict(os.environ))"]).output
    )


def test_a_talkative_program_neither_hangs_nor_fills_memory():
    ran = mt.run_program(
        [
            sys.executable,
            "-c",
            "import sys\nfor i in range(50000): print('e' * 70, i, file=sys.stderr)\nsys.exit(3)",
        ]
    )
    assert ran.code == 3 and ran.errors[-1].endswith("49999") and len(ran.errors) <= 20


def test_a_program_is_killed_when_its_reader_fails():
    def fail(text):
        raise RuntimeError(text)

    begun = time.monotonic()
    with pytest.raises(RuntimeError):
        mt.run_program([sys.executable, "-uc", "import time; print(1); time.sleep(60)"], None, fail)
    assert soon(time.monotonic() - begun, 20) and threading.active_count() < 20


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="no real videos in ../shared/data/videos")
def test_real_videos(tmp_path):
    report = sample(VIDEOS, tmp_path, video_start_time=None)
    assert report.exit_code == 0 and not report.failed
    karma = sorted(tmp_path.glob("karma_*.jpg"))
    assert len(karma) == 7 and len(sorted(tmp_path.glob("sample-5s_*.jpg"))) == 3
    assert making.place(karma[3])[0] == pytest.approx(33.1257, abs=0.001)
    assert exif_seconds(karma[0]) == pytest.approx(mt.parse_time("2017-04-17T19:27:57Z"), abs=2)
