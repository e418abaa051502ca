"""Frames as a player shows them, and the track that a video brings along: its own, beside it, or by exiftool."""

import json
import os
import shutil
import struct
import subprocess
import sys

import making
import mapillary_tools as mt
import pytest
from conftest import run
from making_logs import RIDE, free_gps, insta360, novatek, srt_brackets
from making_tracks import (
    CLIP_SECONDS,
    box,
    camm6,
    camm_gyro,
    device,
    full,
    gps5,
    gps9,
    gpx,
    iso,
    movie,
    ride,
    trkpt,
    words,
)
from test_video import check, exif_seconds, ffmpeg, films, frames, make, sample, shown, steady  # noqa: F401

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(
    not FFMPEG or not shutil.which("ffprobe"), reason="ffmpeg and ffprobe are not on this computer"
)
EXIFTOOL = shutil.which("exiftool")
needs_exiftool = pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not on this computer")
needs_script = pytest.mark.skipif(os.name != "posix", reason="programs of another kind")


def notes_of(report):
    """What a run said, as one text."""
    return "\n".join(report.notes)


def film(path, *filters, size="320x240", seconds=3, more=()):
    """A coloured film made by the filters of ffmpeg."""
    source = f"testsrc2=size={size}:rate=10:duration={seconds}"
    chain = ["-vf", ",".join(filters)] if filters else []
    ffmpeg("-f", "lavfi", "-i", source, *chain, "-pix_fmt", "yuv420p", *more, path)
    return path


def sizes(paths):
    """(width, height) of each picture, by ffprobe."""
    found = []
    for path in paths:
        asked = ["-show_entries", "stream=width,height", "-of", "csv=p=0", str(path)]
        done = subprocess.run(
            ["ffprobe", "-v", "error", *asked], stdout=subprocess.PIPE, check=True
        )
        found.append(tuple(map(int, done.stdout.split(b",")[:2])))
    return found


# ---- what a player shows -----------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize(
    "ending", ["ts", "mts", "mkv", "mpg", "insv", "360", "avi", "m2ts", "webm"]
)
def test_videos_of_every_kind_are_found_in_a_folder(tmp_path, ending):
    codec = {"avi": "mpeg4", "mpg": "mpeg2video", "webm": "libvpx"}.get(ending, "libx264")
    card = tmp_path / "card"
    card.mkdir()
    rate = "25" if ending == "mpg" else "10"
    form = {"insv": "mp4", "360": "mp4", "mts": "mpegts", "m2ts": "mpegts", "ts": "mpegts"}
    more = ["-c:v", codec, "-r", rate, *(["-f", form[ending]] if ending in form else [])]
    film(card / f"A.{ending.upper()}", more=more)
    report = sample(card, tmp_path / "in", video_sample_interval=1.0)
    assert report.failed == [] and 3 <= report.done <= 4
    found = run("process", "--import_path", str(card), "--user_name", "a", "--dry_run", "--json")
    assert found.code == 3 and "video_process" in found.stderr + found.stdout


@needs_ffmpeg
def test_frames_of_wide_pixels_are_as_wide_as_a_player_shows_them(tmp_path):
    video = film(tmp_path / "a.mp4", "setsar=4/3", size="1440x1080")
    sample(video, tmp_path / "in", video_sample_interval=1.0)
    assert set(sizes(frames(tmp_path / "in"))) == {(1920, 1080)}
    image = mt.read_image(frames(tmp_path / "in")[0])
    assert (image.camera.width, image.camera.height) == (1920, 1080)


@needs_ffmpeg
def test_square_pixels_are_left_as_they_are(tmp_path):
    video = film(tmp_path / "a.mp4", "setsar=1", size="322x242")
    sample(video, tmp_path / "in", video_sample_interval=1.0)
    assert set(sizes(frames(tmp_path / "in"))) == {(322, 242)}


def combed(path):
    """How much the even and the odd lines of a gray picture differ, against lines two apart."""
    raw = ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "gray", "-")
    rows = [raw[at : at + 320] for at in range(0, 320 * 240, 320)]
    near = sum(abs(a - b) for one, two in zip(rows, rows[1:]) for a, b in zip(one, two))
    far = sum(abs(a - b) for one, two in zip(rows, rows[2:]) for a, b in zip(one, two))
    return near / max(1, far)


@needs_ffmpeg
def test_interlaced_frames_have_no_combs_and_keep_their_times(tmp_path):
    """A bar that runs: two half pictures of different moments in one frame are a comb."""
    source = "color=black:s=320x240:r=50:d=3,drawbox=x='mod(n*8,300)':y=0:w=20:h=240:c=white:t=fill"
    bar = "geq=lum='if(lt(mod(X-N*8,320),40),235,16)':cb=128:cr=128"
    flags = ["-c:v", "libx264", "-flags", "+ilme+ildct", "-x264opts", "tff=1", "-qp", "2"]
    video = tmp_path / "a.mts"
    made = f"{source.split(',')[0]},{bar},tinterlace=interleave_top,setfield=tff"
    ffmpeg("-f", "lavfi", "-i", made, "-pix_fmt", "yuv420p", *flags, "-f", "mpegts", video)
    raw = tmp_path / "raw.png"
    ffmpeg("-i", video, "-vf", "select=eq(n\\,5)", "-frames:v", "1", raw)
    sample(video, tmp_path / "in", video_sample_interval=0.5)
    taken = frames(tmp_path / "in")
    assert combed(raw) > 1.5 > 1.2 > max(map(combed, taken[1:]))
    begin = exif_seconds(taken[0])
    late = [round(exif_seconds(path) - begin, 3) for path in taken]
    assert late == pytest.approx([0.5 * number for number in range(len(taken))], abs=0.041)


HDR = ["-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-color_trc", "arib-std-b67"]
HDR += ["-color_primaries", "bt2020", "-colorspace", "bt2020nc", "-x265-params"]
HDR += ["log-level=error:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"]


def has_filter(name):
    """Whether ffmpeg has a filter."""
    done = subprocess.run([str(FFMPEG), "-v", "error", "-filters"], stdout=subprocess.PIPE)
    return f" {name} ".encode("ascii") in done.stdout


@needs_ffmpeg
def test_hdr_is_mapped_to_what_a_jpeg_can_show(tmp_path):
    """A red of the wide gamut is another number in the narrow one."""
    if not has_filter("zscale"):
        pytest.skip("this ffmpeg has no zscale")
    video = tmp_path / "a.mkv"
    ffmpeg("-f", "lavfi", "-i", "color=0xFF4000:s=320x240:r=10:d=2", *HDR, video)
    report = sample(video, tmp_path / "in", video_sample_interval=1.0)
    plain = tmp_path / "plain.jpg"
    ffmpeg("-i", video, "-frames:v", "1", plain)
    both = (plain, frames(tmp_path / "in")[0])
    red, mapped = (ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-") for path in both)
    assert abs(red[0] - mapped[0]) > 30 and "HDR" not in notes_of(report)


@needs_ffmpeg
@needs_script
def test_hdr_without_the_filters_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setattr(mt.Ffmpeg, "maps_tones", lambda self: False)
    video = tmp_path / "a.mkv"
    ffmpeg("-f", "lavfi", "-i", "color=0xC0C0C0:s=320x240:r=10:d=2", *HDR, video)
    report = sample(video, tmp_path / "in", video_sample_interval=0.5)
    assert notes_of(report).count("HDR") == 1 and report.done == 4


@needs_ffmpeg
@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "60000/1001", "50"])
@pytest.mark.parametrize("by_seeking", [False, True])
def test_rates_that_are_no_whole_number_keep_each_frame_at_its_time(
    tmp_path, monkeypatch, rate, by_seeking
):
    """Numbered frames: the one taken is the first at or after its moment, and its time is its own."""
    if by_seeking:
        monkeypatch.setattr(mt, "seeking_pays", lambda footage, gap: True)
    over, _, under = rate.partition("/")
    fps = int(over) / int(under or 1)
    video = make(tmp_path / "a.mp4", 240, rate=rate)
    sample(video, tmp_path / "in", video_sample_interval=0.7)
    check(tmp_path / "in", [number / fps for number in range(240)], 0.7)


# ---- panoramas ---------------------------------------------------------------------------------


def boxes(content, start=0, end=None):
    """(kind, start, end) of the boxes in bytes."""
    end = len(content) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, start)
        yield kind, start, start + size
        start += size


def with_box(content, kinds, extra):
    """The bytes of a movie whose index is at its end, with a box more in the box at a path."""
    grown, at, end = [], 0, len(content)
    for kind in kinds:
        at, end = next((s, e) for k, s, e in boxes(content, at, end) if k == kind)
        grown.append(at)
        at += {b"stsd": 16}.get(kind, 8)
    data = bytearray(content)
    data[end:end] = extra
    for place in grown:
        (size,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", data, place, size + len(extra))
    return bytes(data)


STBL = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
SPHERE = box(
    b"sv3d",
    full(b"svhd", b"made\0"),
    box(b"proj", full(b"prhd", words(0, 0, 0)), full(b"equi", words(0, 0, 0, 0))),
)
SPHERE_V1 = box(
    b"uuid",
    bytes.fromhex("ffcc8263f8554a938814587a02521fdd")
    + b'<?xml version="1.0"?><rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    b' xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/"><GSpherical:Spherical>true'
    b"</GSpherical:Spherical><GSpherical:Stitched>true</GSpherical:Stitched>"
    b"<GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType></rdf:SphericalVideo>",
)


@needs_ffmpeg
@pytest.mark.parametrize("kinds, extra", [(STBL, SPHERE), (STBL[:2], SPHERE_V1)])
def test_frames_of_a_sphere_say_so(tmp_path, kinds, extra):
    plain = film(tmp_path / "plain.mp4", size="320x160", more=["-c:v", "libx264"])
    video = tmp_path / "sphere.mp4"
    video.write_bytes(with_box(plain.read_bytes(), kinds, extra))
    report = sample(video, tmp_path / "in", video_sample_interval=1.0)
    assert "equirectangular" in notes_of(report)
    for path in frames(tmp_path / "in"):
        found = mt.read_found(path)
        assert found.pixels == (320, 160)
        assert path.read_bytes().count(b"GPano:ProjectionType") == 1
    if EXIFTOOL:
        done = subprocess.run(
            [EXIFTOOL, "-j", "-XMP-GPano:all", "-warning", str(path)],
            stdout=subprocess.PIPE,
        )
        row = json.loads(done.stdout.decode("utf-8"))[0]
        row.pop("SourceFile")
        assert row == {
            "ProjectionType": "equirectangular",
            "UsePanoramaViewer": True,
            "CroppedAreaImageWidthPixels": 320,
            "CroppedAreaImageHeightPixels": 160,
            "FullPanoWidthPixels": 320,
            "FullPanoHeightPixels": 160,
            "CroppedAreaLeftPixels": 0,
            "CroppedAreaTopPixels": 0,
        }


def sphere(bounds=(0, 0, 0, 0)):
    """The box of spherical metadata V2 with these bounds."""
    shape = box(b"proj", full(b"prhd", words(0, 0, 0)), full(b"equi", words(*bounds)))
    return box(b"sv3d", full(b"svhd", b"made\0"), shape)


@needs_ffmpeg
@pytest.mark.parametrize(
    "size, extra, words_of_it",
    [
        ("320x160", sphere((0, 0, 1 << 30, 1 << 30)), "a part of a sphere"),
        ("320x160", full(b"st3d", b"\1") + SPHERE, "one for two eyes"),
        ("320x240", SPHERE, "not twice as wide as high"),
    ],
)
def test_frames_that_are_no_whole_sphere_are_not_marked(tmp_path, size, extra, words_of_it):
    plain = film(tmp_path / "plain.mp4", size=size, more=["-c:v", "libx264"])
    video = tmp_path / "sphere.mp4"
    video.write_bytes(with_box(plain.read_bytes(), STBL, extra))
    report = sample(video, tmp_path / "in", video_sample_interval=1.0)
    assert words_of_it in notes_of(report)
    assert all(b"GPano" not in path.read_bytes() for path in frames(tmp_path / "in"))


@needs_ffmpeg
@pytest.mark.parametrize(
    "text, kind",
    [
        (b"<GSpherical:StereoMode>top-bottom</GSpherical:StereoMode>", "stereo"),
        (b"<GSpherical:StereoMode>mono</GSpherical:StereoMode>", "whole"),
        (
            b"<GSpherical:FullPanoWidthPixels>960</GSpherical:FullPanoWidthPixels>"
            b"<GSpherical:CroppedAreaImageWidthPixels>320</GSpherical:CroppedAreaImageWidthPixels>",
            "part",
        ),
    ],
)
def test_what_the_first_version_of_spherical_metadata_says(tmp_path, text, kind):
    plain = film(tmp_path / "plain.mp4", size="320x160", more=["-c:v", "libx264"])
    extra = SPHERE_V1[8:].replace(b"</rdf:SphericalVideo>", text + b"</rdf:SphericalVideo>")
    video = tmp_path / "sphere.mp4"
    video.write_bytes(with_box(plain.read_bytes(), STBL[:2], box(b"uuid", extra)))
    assert mt.read_movie(video).sphere == kind


@needs_ffmpeg
def test_two_lenses_are_told(tmp_path):
    one = film(tmp_path / "one.mp4", more=["-c:v", "libx264"])
    video = tmp_path / "two.mp4"
    ffmpeg("-i", one, "-i", one, "-map", "0:v", "-map", "1:v", "-c", "copy", video)
    report = sample(video, tmp_path / "in", video_sample_interval=1.0)
    assert "2 tracks of pictures" in notes_of(report) and report.done == 3


@needs_ffmpeg
def test_a_video_twice_as_wide_as_high_that_says_nothing_is_said_and_not_marked(tmp_path):
    video = film(tmp_path / "a.mp4", size="320x160")
    report = sample(video, tmp_path / "in", video_sample_interval=1.0)
    assert "does not say that it is a panorama" in notes_of(report)
    assert all(b"GPano" not in path.read_bytes() for path in frames(tmp_path / "in"))


# ---- time-lapse --------------------------------------------------------------------------------


def warped(times, form="gps5"):
    """GoPro payloads, one a second of video, whose first fix has these times."""
    payloads = []
    for places, time, after in zip(ride(len(times)), times, [*times[1:], times[-1] + 10]):
        if form == "gps5":
            payloads.append(device(gps5(places, time)))
            continue
        step = (after - time) / len(places)
        rows = [(time + step * number, *place, 1.0, 3) for number, place in enumerate(places)]
        payloads.append(device(gps9(rows)))
    return payloads


UNEVEN = [CLIP_SECONDS + late for late in (0, 10, 20, 30, 45, 60, 75, 90, 98, 106)]


@pytest.mark.parametrize("form", ["gps5", "gps9"])
def test_the_track_of_a_time_lapse_follows_its_clock_piece_by_piece(tmp_path, form):
    path = tmp_path / "a.mp4"
    path.write_bytes(movie(warped(UNEVEN, form)))
    track = mt.read_track(path)
    for second, time in list(enumerate(UNEVEN))[1:-1]:
        assert track.pace and mt.along(track.pace, float(second)) == pytest.approx(time, abs=0.01)
        assert mt.fix_at(track, time).lat == pytest.approx(45.0 + second * 18e-6, abs=2e-7)
    assert track.zero == pytest.approx(CLIP_SECONDS, abs=0.6)


def test_a_track_of_real_time_has_no_pace(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(movie(warped([CLIP_SECONDS + second for second in range(10)])))
    assert mt.read_track(path).pace == ()


@needs_ffmpeg
@pytest.mark.parametrize("by", ["interval", "distance"])
def test_frames_of_a_time_lapse_follow_its_gps_piece_by_piece(steady, tmp_path, by):  # noqa: F811
    telemetry, video = tmp_path / "telemetry.mp4", tmp_path / "GX010001.MP4"
    telemetry.write_bytes(movie(warped(UNEVEN)))
    streams = ["-map", "0:v", "-map", "1:d", "-c", "copy", "-copy_unknown"]
    ffmpeg("-i", steady, "-i", telemetry, *streams, video)
    options = {"video_sample_interval": 1.0}
    if by == "distance":
        options = {"video_sample_distance": 4.0}
    report = sample(video, tmp_path / "in", video_start_time=None, **options)
    assert "as in a time-lapse" in notes_of(report)
    taken = frames(tmp_path / "in")
    for number, path in zip(shown(taken), taken):
        if 30 <= number <= 240:  # the first GPSU of a video is left out
            right = mt.along(list(enumerate(UNEVEN)), number / 30)
            assert exif_seconds(path) == pytest.approx(right, abs=0.35), number
            lat = making.place(path)[0]
            assert lat == pytest.approx(45.0 + number / 30 * 18e-6, abs=1.5e-6)
    assert len(taken) >= 4


@needs_ffmpeg
def test_a_given_ratio_wins_over_the_pace(steady, tmp_path):  # noqa: F811
    telemetry, video = tmp_path / "telemetry.mp4", tmp_path / "GX010001.MP4"
    telemetry.write_bytes(movie(warped([CLIP_SECONDS + 10 * second for second in range(10)])))
    streams = ["-map", "0:v", "-map", "1:d", "-c", "copy", "-copy_unknown"]
    ffmpeg("-i", steady, "-i", telemetry, *streams, video)
    options = {"video_start_time": None, "video_duration_ratio": 10.0}
    report = sample(video, tmp_path / "in", video_sample_interval=1.0, **options)
    assert "time-lapse" not in notes_of(report)
    begin, *others = map(exif_seconds, frames(tmp_path / "in"))
    late = [time - begin for time in others]
    assert late == pytest.approx([10.0 * (n + 1) for n in range(len(late))], abs=0.34)


@pytest.mark.parametrize(
    "rates",
    [
        [10] * 4 + [1] * 16,
        [1] * 16 + [10] * 4,
        [1] * 8 + [0.25] * 24,
        [1.4] * 40,
    ],
)
def test_a_clock_that_changes_its_pace_is_followed(tmp_path, rates):
    times = [CLIP_SECONDS]
    for rate in rates:
        times.append(times[-1] + rate)
    path = tmp_path / "a.mp4"
    path.write_bytes(movie(warped(times)))
    track = mt.read_track(path)
    for second in range(1, len(times) - 1):
        assert mt.at_video(track, float(second)) == pytest.approx(times[second], abs=0.02)


def test_a_clock_put_right_by_leap_seconds_is_no_change_of_pace(tmp_path):
    times = [CLIP_SECONDS + n - (2 if n < 6 else 0) for n in range(30)]
    path = tmp_path / "a.mp4"
    path.write_bytes(movie(warped(times)))
    track = mt.read_track(path)
    assert track.pace == () and track.zero == pytest.approx(CLIP_SECONDS, abs=0.01)


# ---- chapters and their time code --------------------------------------------------------------


def with_timecode(seconds, created=CLIP_SECONDS):
    """A movie with a tmcd track that counts so many seconds at its begin, at 29.97 frames a second."""
    entry = words(34) + b"tmcd" + bytes(6) + b"\0\1" + words(0, 0, 30000, 1001) + b"\x1e\0"
    stbl = box(
        b"stbl",
        full(b"stsd", words(1), entry),
        full(b"stts", words(1, 1, 1001)),
        full(b"stsc", words(1, 1, 1, 1)),
        full(b"stsz", words(0, 1, 4)),
        full(b"stco", words(1, 8)),
    )
    mdhd = full(b"mdhd", words(0, 0, 30000, 30000, 0))
    trak = box(b"trak", box(b"mdia", mdhd, box(b"minf", stbl)))
    mvhd = full(b"mvhd", words(round(created) + 2082844800, 0, 1000, 60000) + bytes(80))
    frame = words(round(seconds * 30000 / 1001))
    return box(b"mdat", frame) + box(b"moov", mvhd, trak)


def test_a_chapter_whose_first_one_is_missing_goes_by_its_time_code(tmp_path):
    """All chapters of a recording have the time of the first as theirs (12:00:00)."""
    path = tmp_path / "GX030123.MP4"
    path.write_bytes(with_timecode(12 * 3600 + 1417.0))
    assert mt.read_movie(path).timecode == pytest.approx(12 * 3600 + 1417.0, abs=0.02)
    footage = mt.Footage(str(path), 60.0, 30.0, 1, 0, None, mt.Camera(), CLIP_SECONDS)
    begin, told = mt.recorded_at(footage, None)
    assert begin == pytest.approx(CLIP_SECONDS + 1417.0, abs=0.02) and "1417" in told


def test_a_time_code_of_another_clock_does_not_count(tmp_path):
    path = tmp_path / "GX030123.MP4"
    path.write_bytes(with_timecode(11 * 3600))
    footage = mt.Footage(str(path), 60.0, 30.0, 1, 0, None, mt.Camera(), CLIP_SECONDS)
    begin, told = mt.recorded_at(footage, None)
    assert begin == CLIP_SECONDS and "not all before it are here" in told


def chapters(folder, apart=0.0):
    """Three chapters of a minute, all created at one time, or each `apart` seconds behind the one before."""
    folder.mkdir()
    for number in (1, 2, 3):
        created = CLIP_SECONDS + apart * (number - 1)
        path = folder / f"GX0{number}0123.MP4"
        path.write_bytes(movie(created=created, duration=60000))
    return str(folder / "GX030123.MP4")


def test_chapters_of_a_time_lapse_begin_where_real_time_has_come_to(tmp_path):
    path = chapters(tmp_path / "one")
    footage = mt.Footage(path, 60.0, 30.0, 1, 0, None, mt.Camera(), CLIP_SECONDS)
    assert mt.recorded_at(footage, None)[0] == CLIP_SECONDS + 120
    assert mt.recorded_at(footage, None, 10.0)[0] == CLIP_SECONDS + 1200


def test_chapters_with_times_of_their_own_are_told_nothing(tmp_path):
    path = chapters(tmp_path / "one", 60.0)
    footage = mt.Footage(path, 60.0, 30.0, 1, 0, None, mt.Camera(), CLIP_SECONDS + 120)
    assert mt.recorded_at(footage, None) == (CLIP_SECONDS + 120, "its creation_time")


def test_a_time_that_the_name_proves_to_be_utc_is_not_moved_by_the_zone(tmp_path):
    name = tmp_path / "VID_20240531_140000.mp4"
    footage = mt.Footage(str(name), 6.0, 30.0, 1, 0, None, mt.Camera(), CLIP_SECONDS + 6)
    assert mt.recorded_at(footage, "+02:00")[0] == CLIP_SECONDS
    local = footage._replace(created=CLIP_SECONDS + 7206)
    assert mt.recorded_at(local, "+02:00")[0] == CLIP_SECONDS


@needs_ffmpeg
def test_a_time_that_names_its_zone_wins_over_creation_time(steady, tmp_path):  # noqa: F811
    video = tmp_path / "a.mkv"
    meta = [
        "-metadata",
        "creation_time=2024-05-31T09:00:00Z",
        "-metadata",
        "DATE=2024-05-31T14:00:00+02:00",
    ]
    ffmpeg("-i", steady, "-c", "copy", *meta, video)
    sample(video, tmp_path / "in", video_start_time=None, video_sample_interval=5.0)
    assert exif_seconds(frames(tmp_path / "in")[0]) == pytest.approx(CLIP_SECONDS, abs=0.002)


# ---- a track beside the video, and the clock of a camera ---------------------------------------


def card_of(folder, steady, name, side, content):  # noqa: F811
    """A folder with a copy of the steady video and a file beside it."""
    folder.mkdir()
    ffmpeg(
        "-i", steady, "-c", "copy", "-metadata", f"creation_time={iso(CLIP_SECONDS)}", folder / name
    )
    (folder / side).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return folder


LONG = [(CLIP_SECONDS + n, 47.1 + n * 1e-4, 8.2, 400.0, None) for n in range(-2, 15)]
LONG_GPX = gpx("".join(trkpt(lat, lon, iso(time), alt) for time, lat, lon, alt, _ in LONG))


@needs_ffmpeg
@pytest.mark.parametrize(
    "side, content",
    [
        ("CLIP.gpx", LONG_GPX),
        ("clip.GPX", LONG_GPX),
        ("CLIP.SRT", srt_brackets(LONG, CLIP_SECONDS - 2, shift=7200.0)),
    ],
)
def test_a_video_without_gps_takes_the_track_beside_it(steady, tmp_path, side, content):  # noqa: F811
    card = card_of(tmp_path / "card", steady, "CLIP.MP4", side, content)
    report = sample(
        card, tmp_path / "in", mt.Geotagging(geotag_source="video"), video_start_time=None
    )
    assert f"that of {side} was taken" in notes_of(report)
    for number, path in zip(shown(frames(tmp_path / "in")), frames(tmp_path / "in")):
        late = exif_seconds(path) - CLIP_SECONDS
        assert making.place(path)[:2] == pytest.approx((47.1 + late * 1e-4, 8.2), abs=2e-6)


@needs_ffmpeg
def test_a_side_file_of_no_use_does_not_hide_the_next(steady, tmp_path):  # noqa: F811
    card = card_of(tmp_path / "card", steady, "CLIP.MP4", "CLIP.gpx", LONG_GPX)
    (card / "CLIP.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    report = sample(
        card, tmp_path / "in", mt.Geotagging(geotag_source="video"), video_start_time=None
    )
    assert "that of CLIP.gpx was taken" in notes_of(report) and making.place(
        frames(tmp_path / "in")[0]
    )


@needs_ffmpeg
def test_frames_outside_of_the_track_are_told_with_both_spans(steady, tmp_path):  # noqa: F811
    late = LONG_GPX.replace("-31T", "-30T")
    card = card_of(tmp_path / "card", steady, "CLIP.MP4", "CLIP.gpx", late)
    report = sample(
        card, tmp_path / "in", mt.Geotagging(geotag_source="video"), video_start_time=None
    )
    said = notes_of(report)
    assert (
        "frames 2024-05-31T12:00:00.000Z to" in said and "track 2024-05-30T11:59:58.000Z to" in said
    )


@needs_ffmpeg
def test_why_a_video_has_no_track_is_said(steady, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(mt, "program_folders", lambda: [os.path.dirname(str(FFMPEG))])
    content = steady.read_bytes() + insta360([], rows=[])[len(movie(duration=0)) :]
    (tmp_path / "a.insv").write_bytes(content)
    source = mt.Geotagging(geotag_source="video")
    report = sample(tmp_path / "a.insv", tmp_path / "in", source, video_sample_interval=5.0)
    assert "accelerometer or gyroscope" in notes_of(report)


@needs_ffmpeg
def test_a_local_dashcam_is_put_right_by_the_utc_of_its_container(steady, tmp_path, monkeypatch):  # noqa: F811
    """Blocks two hours ahead of creation_time: they are local, it is UTC."""
    path = tmp_path / "a.mp4"
    path.write_bytes(novatek([free_gps(point, shift=7200.0) for point in RIDE]))
    own = mt.OwnTrack(mt.read_track(path))
    monkeypatch.setattr(
        mt, "video_tracks", lambda paths, tell: mt.OwnTracks({mt.Path(paths[0]): own.track})
    )
    video = tmp_path / "b.mp4"
    ffmpeg("-i", steady, "-c", "copy", "-metadata", f"creation_time={iso(CLIP_SECONDS)}", video)
    for zone in (None, "+02:00"):
        into = tmp_path / f"in{zone}"
        geotagging = mt.Geotagging(geotag_source="video", timezone=zone)
        report = sample(video, into, geotagging, video_start_time=None)
        lat = making.place(frames(into)[1])[0]
        assert lat == pytest.approx(RIDE[2][1], abs=1e-5)
        if zone is None:
            assert exif_seconds(frames(into)[0]) == pytest.approx(CLIP_SECONDS, abs=0.01)
            assert "zone +02:00, by its creation_time" in notes_of(report)


@needs_ffmpeg
def test_a_new_side_file_has_the_frames_taken_again(steady, tmp_path):  # noqa: F811
    card = card_of(tmp_path / "card", steady, "CLIP.MP4", "CLIP.gpx", LONG_GPX)
    source = mt.Geotagging(geotag_source="video")
    assert sample(card, tmp_path / "in", source, video_start_time=None).done == 5
    again = sample(card, tmp_path / "in", source, video_start_time=None)
    assert (again.done, len(again.skipped[mt.SKIP_SAMPLED])) == (0, 5)
    (card / "CLIP.gpx").write_text(LONG_GPX.replace("8.2", "8.25"), encoding="utf-8")
    assert sample(card, tmp_path / "in", source, video_start_time=None).done == 5
    assert len(frames(tmp_path / "in")) == 5
    assert making.place(frames(tmp_path / "in")[0])[1] == pytest.approx(8.25, abs=1e-6)


@needs_ffmpeg
def test_a_card_of_videos_needs_no_path_of_a_track(steady, tmp_path):  # noqa: F811
    """The whole of video_process: sampling by the video's own track, then processing of the frames."""
    card = card_of(tmp_path / "card", steady, "CLIP.MP4", "CLIP.gpx", LONG_GPX)
    into = tmp_path / "in"
    ran = run(
        *("video_process", "--video_path", str(card), "--import_path", str(into)),
        *("--user_name", "anna", "--advanced", "--geotag_source", "video"),
    )
    assert ran.code == 0, ran.stderr
    assert "5 found = 5 processed" in ran.stdout + ran.stderr
    again = run(
        *("video_process", "--video_path", str(card), "--import_path", str(into)),
        *("--user_name", "anna", "--advanced", "--geotag_source", "video"),
    )
    assert again.code == 0 and "0 sampled + 5 skipped" in again.stdout


@pytest.mark.parametrize("source", ["video", "gopro_video", "exiftool", "novatek"])
def test_photos_need_the_path_of_a_video(tmp_path, source):
    making.photo(tmp_path / "1.jpg", time="2024-05-31 12:00:00")
    ran = run(
        "process", "--import_path", str(tmp_path), "--user_name", "a", "--geotag_source", source
    )
    assert ran.code == 2 and "--geotag_source_path FILE" in ran.stderr


def test_photos_are_placed_by_the_videos_of_a_folder(tmp_path):
    """`video` is a video of any camera; a GPX in the same folder goes to its own kind."""
    videos, photos = tmp_path / "videos", tmp_path / "photos"
    videos.mkdir()
    photos.mkdir()
    (videos / "a.insv").write_bytes(insta360(RIDE))
    late = CLIP_SECONDS + 3600
    points = trkpt(57.0, 12.0, iso(late)) + trkpt(57.001, 12.0, iso(late + 5))
    (videos / "b.gpx").write_text(gpx(points), encoding="utf-8")
    for number, time in enumerate((CLIP_SECONDS + 2, late + 1), 1):
        making.photo(photos / f"{number}.jpg", time=mt.format_time(time, "exif"))
    kinds = ["--geotag_source", "gpx,video", "--geotag_source_path", str(videos)]
    ran = run(
        "process", "--import_path", str(photos), "--user_name", "a", *kinds, "--timezone", "+00:00"
    )
    assert ran.code == 0, ran.stderr
    places = [making.place(photos / f"{number}.jpg")[:2] for number in (1, 2)]
    assert places[0] == pytest.approx((RIDE[2][1], RIDE[2][2]), abs=1e-6)
    assert places[1] == pytest.approx((57.0002, 12.0), abs=1e-6)


@pytest.mark.parametrize("given", ["CLIP.MP4", "."])
def test_a_video_for_photos_takes_the_track_beside_it_once(tmp_path, given):
    """Given alone, a video brings its side file along; in a folder that is read itself."""
    (tmp_path / "CLIP.MP4").write_bytes(movie(duration=5000))
    (tmp_path / "clip.gpx").write_text(LONG_GPX, encoding="utf-8")
    track = mt.read_track(tmp_path / given)
    assert len(track.points) == len(LONG) and not track.dropped
    assert any("that of clip.gpx was taken" in note for note in track.notes) == (given != ".")


def test_a_camera_clock_is_put_right_by_timezone(tmp_path):
    """A dashcam shows local time; --timezone says which, for its track and for the photos alike."""
    photos = tmp_path / "photos"
    photos.mkdir()
    path = tmp_path / "a.mp4"
    path.write_bytes(novatek([free_gps(point, shift=7200.0) for point in RIDE]))
    making.photo(photos / "1.jpg", time=mt.format_time(CLIP_SECONDS + 7202, "exif"))
    kinds = ["--geotag_source", "novatek", "--geotag_source_path", str(path)]
    base = ["process", "--import_path", str(photos), "--user_name", "a", *kinds]
    ran = run(*base, "--timezone", "+02:00", "--rerun")
    assert ran.code == 0, ran.stderr
    assert making.place(photos / "1.jpg")[:2] == pytest.approx((RIDE[2][1], RIDE[2][2]), abs=1e-5)
    assert making.description(photos / "1.jpg")["MAPCaptureTime"] == "2024_05_31_12_00_02_000"
    assert "was taken as UTC" not in ran.stdout + ran.stderr


def test_the_note_of_a_camera_clock_names_what_mends_it(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(novatek([free_gps(point) for point in RIDE]))
    notes = mt.read_track(path).notes
    assert any("camera clock was taken as UTC" in note and "--timezone" in note for note in notes)


# ---- the second reader -------------------------------------------------------------------------


@needs_exiftool
def test_exiftool_reads_what_no_own_reader_places(tmp_path, monkeypatch):
    """Novatek's blocks, with our own reader taken away."""
    path = tmp_path / "a b ü.mp4"
    path.write_bytes(novatek([free_gps(point) for point in RIDE]))
    own = mt.read_track(path).points
    without = tuple(reader for reader in mt.READERS if reader.kind != "novatek")
    monkeypatch.setattr(mt, "READERS", without)
    track = mt.read_track(path)
    assert [fix.time for fix in track.points] == [fix.time for fix in own]
    for mine, theirs in zip(own, track.points):
        assert (mine.lat, mine.lon) == pytest.approx((theirs.lat, theirs.lon), abs=1e-7)
    assert any("read by exiftool" in note for note in track.notes)
    assert track.zero is None and track.clock == "exiftool"


@needs_exiftool
def test_one_run_of_exiftool_does_for_all_videos(tmp_path, monkeypatch):
    for number in range(4):
        later = [(time + 100 * number, *rest) for time, *rest in RIDE]
        (tmp_path / f"{number}.mp4").write_bytes(novatek([free_gps(point) for point in later]))
    monkeypatch.setattr(mt, "READERS", tuple(r for r in mt.READERS if r.kind != "novatek"))
    calls, plain = [], mt.run_program
    monkeypatch.setattr(mt, "run_program", lambda *a, **k: calls.append(a[0]) or plain(*a, **k))
    track = mt.read_track(tmp_path)
    assert len(track.points) == 20 and len(calls) == 1
    assert "0.mp4 and 3 more: read by exiftool" in "\n".join(track.notes)


@needs_exiftool
@pytest.mark.parametrize("timed", [True, False])
def test_exiftool_tells_samples_with_the_time_of_the_video(tmp_path, monkeypatch, timed):
    """CAMM by exiftool: SampleTime, and GPSDateTime in records of type 6."""
    places = [(CLIP_SECONDS + n, 47.1 + n * 1e-4, 8.2, 400.0) for n in range(6)]
    if timed:
        payloads = [camm6(time, lat, lon, alt) for time, lat, lon, alt in places]
    else:
        payloads = [struct.pack("<2H3d", 0, 5, *place[1:]) for place in places]
    path = tmp_path / "a.mp4"
    path.write_bytes(movie(payloads, form=b"camm"))
    own = mt.read_track(path)
    monkeypatch.setattr(mt, "READERS", tuple(r for r in mt.READERS if r.kind != "camm"))
    track = mt.read_track(path)
    assert [fix[:3] for fix in track.points] == [
        pytest.approx(fix[:3], abs=1e-6) for fix in own.points
    ]
    assert track.clock == "exiftool"
    assert track.zero == pytest.approx(CLIP_SECONDS, abs=0.01)


SAID = """<?xml version='1.0' encoding='UTF-8'?>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
<rdf:Description rdf:about='{path}' xmlns:et='http://ns.exiftool.org/1.0/'
  et:toolkit='Image::ExifTool {version}'>
{rows}
</rdf:Description>
</rdf:RDF>
"""


def stand_in_exiftool(folder, rows, path, version="13.10"):
    """A program that says what exiftool would say."""
    text = SAID.format(path=path, version=version, rows=rows)
    (folder / "said.xml").write_text(text, encoding="utf-8")
    program = folder / "exiftool"
    program.write_text(
        f"#!/bin/sh\ncat > '{folder}/asked'\ncat '{folder}/said.xml'\n", encoding="utf-8"
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def unread(tmp_path, monkeypatch):
    """A video that no reader of ours places, and how exiftool is made to speak of it."""
    path = tmp_path / "card" / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(movie(created=CLIP_SECONDS, duration=9000))

    def speaking(rows, **more):
        program = stand_in_exiftool(tmp_path, rows, path, **more)
        monkeypatch.setenv("MAPILLARY_TOOLS_EXIFTOOL_PATH", str(program))
        return path

    return speaking


def tag(group, name, value):
    """A line of exiftool's XML."""
    return f" <{group}:{name}>{value}</{group}:{name}>\n"


@needs_script
def test_points_of_one_sample_are_spread_evenly_over_it(unread):
    rows = ""
    for sample_at in (0, 1, 2):
        rows += tag("Track3", "SampleTime", sample_at) + tag("Track3", "SampleDuration", "1.00")
        rows += tag("Track3", "GPSDateTime", f"2024:05:31 12:00:0{sample_at}.000Z")
        for tenth in (0, 1, 2, 3):
            rows += tag("Track3", "GPSLatitude", 47.0 + sample_at + tenth / 10)
            rows += tag("Track3", "GPSLongitude", -8.5) + tag("Track3", "GPSAltitude", 100 + tenth)
    track = mt.read_track(unread(rows))
    assert [fix.time - CLIP_SECONDS for fix in track.points] == [n / 4 for n in range(12)]
    assert [round(fix.lat, 3) for fix in track.points[:5]] == [47.0, 47.1, 47.2, 47.3, 48.0]
    assert track.points[1].alt == 101.0 and track.points[0].lon == -8.5
    assert track.zero == pytest.approx(CLIP_SECONDS, abs=1e-6)


@needs_script
@pytest.mark.parametrize(
    "rows",
    [
        "",
        tag("QuickTime", "GPSLatitude", 47.1),
        tag("QuickTime", "GPSLatitude", "x") + tag("QuickTime", "GPSLongitude", "y"),
        tag("QuickTime", "GPSDateTime", "no")
        + tag("QuickTime", "GPSLatitude", 47.1)
        + tag("QuickTime", "GPSLongitude", 8),
        tag("Composite", "GPSLatitude", 47.1) + tag("Composite", "GPSLongitude", 8.5),
        "<broken",
    ],
)
def test_what_exiftool_does_not_know_stays_unplaced(unread, rows):
    with pytest.raises(mt.BadTrack) as error:
        mt.read_track(unread(rows))
    assert error.value.problem.code == "track_none"
    assert "exiftool" not in error.value.problem.remedy  # it is here, and does not help


@needs_script
def test_paths_go_to_exiftool_by_its_input_and_no_token_with_them(unread, tmp_path, monkeypatch):
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", "SECRET-TOKEN")
    path = unread("")
    with pytest.raises(mt.BadTrack):
        mt.read_track(path)
    assert (tmp_path / "asked").read_text("utf-8") == f"{path}\n"


@needs_script
def test_letters_of_the_hemisphere_and_times_in_parts_are_understood(unread):
    rows = ""
    for second in range(3):
        rows += tag("Track1", "GPSLatitudeRef", "S") + tag("Track1", "GPSLatitude", 33.86)
        rows += tag("Track1", "GPSLongitudeRef", "W") + tag("Track1", "GPSLongitude", 70.66)
        rows += tag("Track1", "GPSAltitudeRef", 1) + tag("Track1", "GPSAltitude", 12)
        rows += tag("Track1", "GPSTimeStamp", f"12:00:0{second}")
        rows += tag("Track1", "GPSStatus", "A" if second else "V")
        rows += tag("Track1", "GPSDateStamp", "2024:05:31")
    track = mt.read_track(unread(rows))
    assert [fix[:4] for fix in track.points] == [
        (CLIP_SECONDS + second, -33.86, -70.66, -12.0) for second in (1, 2)
    ]
    assert track.dropped == {"without a GPS fix": 1}


@needs_script
def test_an_exiftool_that_does_not_work_is_told_once(tmp_path, monkeypatch, caplog):
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(movie(duration=9000))
    program = tmp_path / "exiftool"
    program.write_text("#!/bin/sh\necho broken perl >&2\nexit 127\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("MAPILLARY_TOOLS_EXIFTOOL_PATH", str(program))
    for _ in range(20):
        with pytest.raises(mt.BadTrack) as error:
            mt.read_track(tmp_path / "0.mp4")
    assert "does not work" in error.value.problem.remedy and "gave up" not in caplog.text


@needs_script
def test_an_old_exiftool_is_told(unread):
    rows = tag("QuickTime", "GPSDateTime", "2024:05:31 12:00:00Z")
    rows += tag("QuickTime", "GPSLatitude", 47.1) + tag("QuickTime", "GPSLongitude", 8.5)
    with pytest.raises(mt.BadTrack) as error:
        mt.read_track(unread(rows, version="10.80"))
    assert "12.00" in error.value.problem.remedy


@needs_script
@pytest.mark.parametrize("way", ["dies", "hangs", "grows"])
def test_a_video_at_which_exiftool_gives_up_costs_that_video_alone(
    tmp_path, monkeypatch, way, caplog
):
    """The one behind the last file that it told of is left out, and those behind it are asked anew."""
    monkeypatch.setattr(mt, "_LIMITS", mt.Allowance(silence=1.0, memory=1 << 28))
    card = tmp_path / "card"
    card.mkdir()
    for name in ("1.mp4", "2.mp4", "3.mp4"):
        (card / name).write_bytes(movie(created=CLIP_SECONDS, duration=9000))
    row = tag("QuickTime", "GPSDateTime", "2024:05:31 12:0MINUTE:00Z")
    row += tag("QuickTime", "GPSLatitude", "47.MINUTE") + tag("QuickTime", "GPSLongitude", "8.5")
    ends = {
        "dies": "kill -9 $$",
        "hangs": "exec sleep 60",
        "grows": f"exec {sys.executable} -c 'b = bytearray(1 << 30)'",
    }
    about = "<rdf:Description rdf:about='%s' et:toolkit='Image::ExifTool 13.10'>"
    script = f"""#!/bin/sh
echo "<rdf:RDF xmlns:rdf='r'>"
while read path; do
  name=$(basename "$path" .mp4)
  if [ "$name" = 2 ]; then {ends[way]}; fi
  echo "{about % "$path"}"
  cat <<EOF | sed "s/MINUTE/$name/g"
{row}EOF
  echo "</rdf:Description>"
done
echo "</rdf:RDF>"
"""
    program = tmp_path / "exiftool"
    program.write_text(script, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("MAPILLARY_TOOLS_EXIFTOOL_PATH", str(program))
    track = mt.read_track(card)
    assert [fix.lat for fix in track.points] == [47.1, 47.3]
    assert "2.mp4: exiftool gave up on it" in caplog.text
    assert any("2.mp4" in note and "no GPS track" in note for note in track.notes)


@pytest.mark.parametrize("where", ["nowhere", "given"])
def test_without_exiftool_the_message_says_how_to_get_it(tmp_path, monkeypatch, where):
    path = tmp_path / "a.mp4"
    path.write_bytes(movie(duration=9000))
    monkeypatch.setattr(mt, "program_folders", lambda: [])
    if where == "given":
        monkeypatch.setenv("MAPILLARY_TOOLS_EXIFTOOL_PATH", str(tmp_path / "not there"))
    with pytest.raises(mt.BadTrack) as error:
        mt.read_track(path)
    remedy = error.value.problem.remedy
    assert "--geotag_source_path" in remedy and "exiftool reads the GPS of more cameras" in remedy
    how = {"linux": "libimage-exiftool-perl", "win32": "exiftool.exe", "darwin": "brew"}
    assert how.get(sys.platform, "exiftool") in remedy


@needs_script
def test_exiftool_is_found_beside_the_script_and_below_it(tmp_path, monkeypatch):
    monkeypatch.delenv("MAPILLARY_TOOLS_EXIFTOOL_PATH", raising=False)
    monkeypatch.setattr(mt, "HERE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    below = tmp_path / "exiftool-13.10" / "exiftool"
    below.parent.mkdir()
    for program in (below, tmp_path / "exiftool"):
        program.write_text("#!/bin/sh\n", encoding="utf-8")
        program.chmod(0o755)
        assert mt.find_program("exiftool") == str(program)


@needs_script
@pytest.mark.parametrize("name", ["a.MTS", "a.avi", "a.mkv"])
def test_videos_that_are_no_mp4_are_asked_of_exiftool_for_photos_too(tmp_path, monkeypatch, name):
    path = tmp_path / "card" / name
    path.parent.mkdir()
    path.write_bytes(b"G\x40\0\x10" + bytes(200))
    rows = tag("H264", "GPSDateTime", "2024:05:31 12:00:00Z")
    rows += tag("H264", "GPSLatitude", 47.1) + tag("H264", "GPSLongitude", 8.5)
    program = stand_in_exiftool(tmp_path, rows, path)
    monkeypatch.setenv("MAPILLARY_TOOLS_EXIFTOOL_PATH", str(program))
    assert [fix[:3] for fix in mt.read_track(path).points] == [(CLIP_SECONDS, 47.1, 8.5)]
    assert len(mt.read_track(path.parent).points) == 1
    monkeypatch.delenv("MAPILLARY_TOOLS_EXIFTOOL_PATH")
    monkeypatch.setattr(mt, "program_folders", lambda: [])
    with pytest.raises(mt.BadTrack) as error:
        mt.read_track(path)
    assert "exiftool reads the GPS of more cameras" in error.value.problem.remedy


@needs_ffmpeg
def test_the_filters_of_ffmpeg_are_listed_once(monkeypatch):
    ffmpeg_of = mt.Ffmpeg()
    plain, asked = mt.run_program, []
    monkeypatch.setattr(mt, "run_program", lambda *a, **k: asked.append(a) or plain(*a, **k))
    assert ffmpeg_of.maps_tones() == ffmpeg_of.maps_tones() and len(asked) == 1


def test_exiftool_goes_second_always(tmp_path, monkeypatch):
    """Where a reader of ours places the video no program is started."""
    monkeypatch.setattr(mt, "run_program", None)
    path = tmp_path / "a.insv"
    path.write_bytes(insta360(RIDE))
    assert len(mt.read_track(path, "exiftool").points) == 5


# ---- only motion -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.mp4", movie([camm_gyro()] * 3, form=b"camm")),
        ("a.insv", insta360([], rows=[])),
    ],
)
def test_a_file_with_motion_alone_says_so(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(mt, "program_folders", lambda: [])
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(mt.BadTrack) as error:
        mt.read_track(path)
    assert "accelerometer or gyroscope" in error.value.problem.wrong


def test_every_kind_of_track_is_a_source_and_has_a_reader():
    """One table of readers: what --geotag_source takes follows from it."""
    kinds = [reader.kind for reader in mt.READERS]
    assert len(set(kinds)) == len(kinds)
    assert set(mt.TRACK_SOURCES) == {*kinds, "video", "exiftool"}
    asked = {"nmea", "gopro_video", "blackvue", "camm", "insta360", "novatek", "fit", "kml", "tcx"}
    assert asked | {"csv", "srt", "gpx", "exiftool", "video"} == set(mt.TRACK_SOURCES)
