"""Kinds of recordings whose frames must stand where and when they were taken: each is made here, and its ride is known."""

import datetime
import re
import shutil
import struct
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import making
import making_logs as logs
import making_tracks as tracks
import making_videos as videos
import pytest
from conftest import in_process, told
from making_tracks import CLIP_SECONDS, box, device, gga, gps5, gps9, rmc, words
from making_videos import place_at, points_at, times

import mapillary_tools as mt

needs_ffmpeg = pytest.mark.skipif(
    not shutil.which("ffmpeg") or not shutil.which("ffprobe"), reason="ffmpeg is not here"
)
pytestmark = [in_process, pytest.mark.slow, needs_ffmpeg]

LOCAL = ("-metadata", "creation_time=2024-05-31T14:00:00Z")  # two hours ahead of UTC
TIMELESS = ("-metadata", "creation_time=")
ERA = 1024 * 7 * 86400
Frame = Tuple[str, Optional[float], Optional[float]]  # name, seconds of the ride, latitude


def sampled(top: Path, *more: Any, every: float = 1.0) -> Dict[str, Any]:
    """What sampling and processing of the videos of a card says."""
    words = ("--video_sample_interval", every, "--geotag_source", "video", "--advanced")
    where = ("--import_path", top / "frames", "--video_path", top / "card", "--user_name", "demo")
    return told("video_process", *where, *words, *more)


def frames(top: Path) -> List[Frame]:
    """(name, seconds after the begin of the ride, latitude) of each frame, in order of names."""
    found: List[Frame] = []
    for path in sorted((top / "frames").glob("*.jpg")):
        row, when = making.description(path), None
        if row:
            taken = datetime.datetime.strptime(
                row["MAPCaptureTime"] + "000+0000", "%Y_%m_%d_%H_%M_%S_%f%z"
            )
            when = round(taken.timestamp() - CLIP_SECONDS, 3)
        found.append((path.name, when, row.get("MAPLatitude")))
    return found


def check_ride(top: Path, seconds: List[float]) -> None:
    """Each frame is at a second of the ride, and where the ride was then."""
    found = frames(top)
    assert [when for _, when, _ in found] == pytest.approx(seconds, abs=0.011)
    wanted = [place_at(when)[0] for when in seconds]
    assert [lat for _, _, lat in found] == pytest.approx(wanted, abs=5e-6)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("card", "frames"):
        (tmp_path / name).mkdir()
    return tmp_path


def gopro(
    path: Path, seconds: int, good: Callable[[int], bool] = lambda n: True, pace: float = 1.0
) -> None:
    """A film of a GoPro with a lock in some seconds, whose GPS clock runs at a pace."""
    payloads = [
        device(
            gps5(
                [place_at((n + i / 18) * pace) for i in range(18)],
                CLIP_SECONDS + n * pace,
                fix=3 if good(n) else 0,
                dop=250 if good(n) else 9999,
            )
        )
        for n in range(seconds)
    ]
    path.write_bytes(videos.film(path, seconds=seconds).add(payloads, b"gpmd").content())


def gopro9(path: Path, seconds: int, clock: Callable[[float], float]) -> None:
    """The same with a time for each sample, by a clock of the seconds of the ride."""
    payloads = [
        device(
            gps9(
                [
                    (CLIP_SECONDS + clock(n + i / 10), *place_at(n + i / 10), 2.5, 3)
                    for i in range(10)
                ]
            )
        )
        for n in range(seconds)
    ]
    path.write_bytes(videos.film(path, seconds=seconds).add(payloads, b"gpmd").content())


def blackvue(path: Path, lines: List[str], *boxes: bytes, seconds: int = 4, more: Any = ()) -> None:
    """A film with sentences in a free box."""
    videos.clip(path, *more, seconds=seconds)
    text = "".join(line + "\r\n" for line in lines).encode("ascii")
    maker = box(b"cprt", b"Pittasoft Co., Ltd.;DR900S-2CH;1.0")
    with path.open("ab") as stream:
        stream.write(box(b"free", maker, *boxes, box(b"gps ", text)))


def rmcs(seconds: Any, stamp: Optional[float] = 0.0, **more: Any) -> List[str]:
    """Sentences of the ride, with the camera's clock so much ahead; None = without it."""
    lead = "" if stamp is None else "[%d]"
    return [
        (lead % int((CLIP_SECONDS + (stamp or 0.0) + s) * 1000) if lead else "")
        + rmc(CLIP_SECONDS + s, *place_at(s)[:2], **more)
        for s in seconds
    ]


def novatek(
    path: Path, seconds: List[float], length: int, change: Any = bytes, padding: int = 0
) -> None:
    """A film that lists a block for each of some seconds of the ride."""
    blocks = [change(logs.free_gps((CLIP_SECONDS + s, *place_at(s), 10.0))) for s in seconds]
    film = videos.film(path, seconds=length)
    at, places = len(film.ftyp), []
    for block in blocks:
        places.append((at, len(block)))
        at += len(block)
    places += [(0, 0)] * padding
    rows = b"".join(words(*place) for place in places)
    film.moov.append([b"gps ", words(0x101, len(places)) + rows])
    path.write_bytes(film.content(more=b"".join(blocks)))


def insta360(path: Path, seconds: List[float], *more: Any, length: int = 4) -> None:
    """A film with the trailer of an Insta360."""
    made = path.with_suffix(".mp4")
    videos.clip(made, *more, seconds=length)
    ride = points_at(seconds)
    trailer = logs.insta360(ride)[len(tracks.movie(duration=len(ride) * 1000)) :]
    path.write_bytes(made.read_bytes() + trailer)
    made.unlink()


def subtitles(
    path: Path,
    seconds: List[float],
    video: List[float],
    form: str,
    digits: int = 3,
    ahead: float = 0.0,
    length: float = 1.0,
) -> None:
    """Subtitles of a drone at some seconds of the ride, which are shown at those of the video."""
    cues = []
    for at, shown in zip(seconds, video):
        lat, lon, alt = place_at(at)
        when = logs.stamp(CLIP_SECONDS + ahead + at, "%Y-%m-%d %H:%M:%S", digits)
        cues.append((shown, when + "\n" + form.format(lat=lat, lon=lon, alt=alt)))
    path.write_text(logs.subtitles(cues, length), encoding="ascii")


DJI = "[latitude: {lat:.6f}] [longitude: {lon:.6f}] [rel_alt: 1.2 abs_alt: {alt:.3f}]"


# ---- GPS lost on the way ------------------------------------------------------------------------


def in_the_open(n: int) -> bool:
    return n < 6 or n >= 30


def make_gopro(path: Path) -> None:
    gopro(path / "GX010001.MP4", 36, in_the_open)


def make_gopro9(path: Path) -> None:
    payloads = [
        device(
            gps9(
                [
                    (
                        CLIP_SECONDS + n + i / 10,
                        *place_at(n + i / 10),
                        2.5,
                        3 if in_the_open(n) else 0,
                    )
                    for i in range(10)
                ]
            )
        )
        for n in range(36)
    ]
    film = videos.film(path / "GX010001.MP4", seconds=36)
    (path / "GX010001.MP4").write_bytes(film.add(payloads, b"gpmd").content())


def make_blackvue(path: Path) -> None:
    lines = [line for s in range(37) for line in rmcs([s], status="A" if in_the_open(s) else "V")]
    blackvue(path / "20240531_140000_NF.mp4", lines, seconds=36)


def make_novatek(path: Path) -> None:
    novatek(path / "2024_0531_120000.MP4", [s for s in range(37) if in_the_open(s)], 36)


@pytest.mark.parametrize("make", [make_gopro, make_gopro9, make_blackvue, make_novatek])
def test_a_tunnel_is_no_time_lapse(top: Path, make: Callable[[Path], None]) -> None:
    make(top / "card")
    assert sampled(top, every=6.0)["exit_code"] == 0
    check_ride(top, [0, 6, 12, 18, 24, 30])


def test_a_record_that_is_longer_than_the_pictures_is_no_time_lapse(top: Path) -> None:
    insta360(top / "card" / "VID_20240531_120000_00_001.insv", times(-4, 8, 10))
    assert sampled(top)["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])


def test_frames_before_the_first_fix_are_told_as_such(top: Path) -> None:
    gopro(top / "card" / "GX010001.MP4", 6, lambda n: n >= 3)
    said = sampled(top)["said"]
    assert "its GPS had no fix then" in said and "may mend it" not in said


# ---- time-lapses --------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [3, 4, 6])
def test_a_short_time_lapse_of_a_gopro_keeps_its_times(top: Path, seconds: int) -> None:
    gopro(top / "card" / "GX010001.MP4", seconds, pace=10.0)
    assert sampled(top)["exit_code"] == 0
    check_ride(top, [10.0 * n for n in range(seconds)])


@pytest.mark.parametrize("ratio", [(), ("--video_duration_ratio", 10)])
def test_a_time_lapse_of_a_dashcam_keeps_its_times_and_begins_where_it_began(
    top: Path, ratio: Any
) -> None:
    novatek(top / "card" / "2024_0531_120000.MP4", [10.0 * n for n in range(8)], 7)
    assert sampled(top, *ratio)["exit_code"] == 0
    check_ride(top, [10.0 * n for n in range(7)])


@pytest.mark.parametrize("ratio", [(), ("--video_duration_ratio", 10)])
def test_a_time_lapse_told_by_subtitles_keeps_its_times(top: Path, ratio: Any) -> None:
    videos.clip(top / "card" / "DJI_0001.MP4", seconds=6)
    ride = [10.0 * n for n in range(7)]
    subtitles(top / "card" / "DJI_0001.SRT", ride, list(range(7)), DJI, ahead=7200)
    assert sampled(top, *ratio)["exit_code"] == 0
    check_ride(top, ride[:6])


def test_a_time_lapse_of_few_lines_is_refused_with_its_ratio(top: Path) -> None:
    blackvue(top / "card" / "20240531_140000_TF.mp4", rmcs([10 * n for n in range(8)]), seconds=8)
    assert "--video_duration_ratio 10" in sampled(top)["said"]


def test_a_ratio_that_the_clock_of_a_time_lapse_contradicts_is_refused(top: Path) -> None:
    novatek(top / "card" / "2024_0531_120000.MP4", [10.0 * n for n in range(8)], 7)
    assert "10 times as fast" in sampled(top, "--video_duration_ratio", 5)["said"]


def test_pairs_of_clocks_tell_a_pace_from_a_clock_that_was_put_right() -> None:
    assert mt.is_uneven([(0.0, 0.0), (1.0, 10.0), (2.0, 20.0)])
    for jump in (18.0, 86400.0):
        assert not mt.is_uneven([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0 + jump)])
        assert not mt.is_uneven([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0 + jump), (3.0, 3.0 + jump)])


# ---- when a video began -------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [True, False])
def test_a_video_without_any_time_but_that_of_its_name(top: Path, beside: bool) -> None:
    video = videos.clip(top / "card" / "VID_20240531_120000.mp4", *TIMELESS)
    track = video.with_suffix(".gpx") if beside else top / "t.gpx"
    track.write_text(videos.gpx_of(), encoding="utf-8")
    more = () if beside else ("--geotag_source", "gpx", "--geotag_source_path", track)
    assert sampled(top, *more)["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])


def test_a_name_in_local_time_and_the_zone_of_the_camera(top: Path) -> None:
    video = videos.clip(top / "card" / "VID_20240531_140000.mp4", *TIMELESS)
    video.with_suffix(".gpx").write_text(videos.gpx_of(), encoding="utf-8")
    assert sampled(top, "--timezone", "+02:00")["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])


def local_insta360(card: Path) -> None:
    insta360(card / "VID_20240531_140000_00_001.insv", times(0, 3.9, 10), *LOCAL)


def insta360_without_creation(card: Path) -> None:
    insta360(card / "VID_20240531_140000_00_001.insv", times(0, 3.9, 10), *TIMELESS)


def sentences_without_stamps(card: Path) -> None:
    blackvue(card / "REC_20240531_140000_F.MP4", rmcs(range(6), None), more=LOCAL)


def gga_alone(card: Path) -> None:
    lines = [
        f"[{int((CLIP_SECONDS + 7200 + s) * 1000)}]" + gga(CLIP_SECONDS + s, *place_at(s))
        for s in range(6)
    ]
    blackvue(card / "20240531_140000_NF.mp4", lines, more=LOCAL)


def gpx_beside(card: Path) -> None:
    video = videos.clip(card / "VIRB0001.mp4", *LOCAL)
    video.with_suffix(".gpx").write_text(videos.gpx_of(), encoding="utf-8")


@pytest.mark.parametrize(
    "make",
    [local_insta360, insta360_without_creation, sentences_without_stamps, gga_alone, gpx_beside],
)
def test_a_begin_in_local_time_is_put_where_its_track_is(
    top: Path, make: Callable[[Path], None]
) -> None:
    make(top / "card")
    result = sampled(top)
    assert result["exit_code"] == 0 and "in zone +02:00" in result["said"]
    check_ride(top, [0, 1, 2, 3])


def test_a_track_of_another_day_beside_a_video_gives_no_zone(top: Path) -> None:
    video = videos.clip(top / "card" / "VIRB0001.mp4")
    video.with_suffix(".gpx").write_text(
        videos.gpx_of(start=CLIP_SECONDS - 90000), encoding="utf-8"
    )
    assert "lie outside of its track" in sampled(top)["said"]


@pytest.mark.parametrize("talker", ["GN", "BD"])
def test_sentences_in_samples_of_camm_tell_when_the_video_began(top: Path, talker: str) -> None:
    film = videos.film(top / "card" / "a.mp4", *LOCAL)
    samples = [
        rmc(CLIP_SECONDS + s, *place_at(s)[:2], talker=talker).encode() + b"\r\n" for s in range(5)
    ]
    (top / "card" / "a.mp4").write_bytes(film.add(samples, b"camm").content())
    assert sampled(top)["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])


@pytest.mark.parametrize("zone", [0, 7200, -12600])
def test_the_begin_of_a_blackvue_video_may_be_in_another_zone_than_its_lines(
    top: Path, zone: int
) -> None:
    begun = box(b"sttm", struct.pack(">Q", int(CLIP_SECONDS + zone) * 1000))
    blackvue(
        top / "card" / "20240531_140000_NF.mp4", rmcs([1.9 + s for s in range(6)]), begun, seconds=6
    )
    sampled(top)
    assert [when for _, when, _ in frames(top)[2:]] == [2, 3, 4, 5]
    assert [lat for _, _, lat in frames(top)[2:]] == pytest.approx(
        [place_at(s)[0] for s in (2, 3, 4, 5)], abs=5e-6
    )


def test_several_subtitles_a_second_are_each_at_their_time_in_the_video(top: Path) -> None:
    videos.clip(top / "card" / "DJI_0001.MP4")
    shown = times(0, 5, 10)
    subtitles(top / "card" / "DJI_0001.SRT", shown, shown, DJI, digits=0, length=0.1)
    assert sampled(top)["exit_code"] == 0
    found = frames(top)
    assert [lat for _, _, lat in found] == pytest.approx(
        [place_at(s)[0] for s in range(4)], abs=1.1e-5
    )


def test_a_gps_clock_that_is_1024_weeks_behind_its_video_is_put_right(top: Path) -> None:
    lines = [rmc(CLIP_SECONDS - ERA + s, *place_at(s)[:2]) for s in range(6)]
    stamped = [f"[{int((CLIP_SECONDS + s) * 1000)}]{line}" for s, line in enumerate(lines)]
    blackvue(top / "card" / "20240531_120000_NF.mp4", stamped)
    result = sampled(top)
    assert result["exit_code"] == 0 and "1024 weeks before" in result["said"]
    check_ride(top, [0, 1, 2, 3])


@pytest.mark.parametrize("ahead", [18.0, -float(ERA)])
@pytest.mark.parametrize("wrong", [2, 3])
def test_a_gps_clock_that_is_put_right_on_the_way_costs_no_frame(
    top: Path, ahead: float, wrong: int
) -> None:
    gopro9(top / "card" / "GX010001.MP4", 6, lambda s: s + ahead if s < wrong else s)
    result = sampled(top)
    assert result["exit_code"] == 0 and "was put right later" in result["said"]
    check_ride(top, [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize("date", ["2024-05-31T14:00:00+0200", "2024-05-30T00:00:00Z"])
def test_a_date_with_its_zone_counts_and_a_day_alone_does_not(top: Path, date: str) -> None:
    created = LOCAL if "+" in date else ()
    video = videos.clip(top / "card" / "clip.mov", *created, "-metadata", f"date={date}")
    video.with_suffix(".gpx").write_text(videos.gpx_of(), encoding="utf-8")
    assert sampled(top)["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])
    assert mt.read_movie(video).zoned == (CLIP_SECONDS if "+" in date else None)


@pytest.mark.parametrize(
    "when", ["1980-01-06T00:00:10Z", "2002-12-08T12:00:00Z", "2000-01-01T00:00:20Z"]
)
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_creation_time_of_a_clock_never_set_is_none(top: Path, when: str, ending: str) -> None:
    videos.clip(top / "card" / f"a.{ending}", "-metadata", f"creation_time={when}")
    assert "it has no clock" in sampled(top)["said"]


def test_a_creation_time_counted_from_1970_is_understood() -> None:
    for seconds in (CLIP_SECONDS, CLIP_SECONDS - 2082844800.0):
        assert mt.time_if_set(seconds) == CLIP_SECONDS
    assert mt.time_if_set(-2208988800.0 + 86400) == -2208988800.0 + 86400  # 1900


# ---- chapters, copies, cameras ------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("GS010123.360", "GS020123.360"), ("GX010123.mp4", "GX020123.MP4")]
)
def test_chapters_of_one_creation_time_follow_each_other(top: Path, names: Tuple[str, str]) -> None:
    made = videos.clip(top / "made.mp4")
    other = videos.clip(top / "other.mp4", "-qp", "40")
    for source, name in zip((made, other), names):
        shutil.copy(str(source), str(top / "card" / name))
    track = top / "t.gpx"
    track.write_text(videos.gpx_of(times(-2, 12)), encoding="utf-8")
    assert sampled(top, "--geotag_source", "gpx", "--geotag_source_path", track)["exit_code"] == 0
    check_ride(top, list(range(8)))


def test_a_copy_of_a_video_is_sampled_once_and_a_renamed_one_not_again(top: Path) -> None:
    gopro(top / "card" / "GX010001.MP4", 4)
    (top / "card" / "backup").mkdir()
    shutil.copy(str(top / "card" / "GX010001.MP4"), str(top / "card" / "backup" / "COPY.MP4"))
    result = sampled(top)
    assert "is the same video as" in result["said"] and result["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])
    (top / "card" / "GX010001.MP4").rename(top / "card" / "ride.MP4")
    assert sampled(top)["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])


@pytest.mark.parametrize(
    "front, rear",
    [
        ("20240531_120000_NF.mp4", "20240531_120000_NR.mp4"),
        ("2024_0531_120000_0001F.MP4", "2024_0531_120000_0001R.MP4"),
        ("VID_20240531_120000_00_001.mp4", "VID_20240531_120000_10_001.mp4"),
    ],
)
def test_front_and_rear_of_one_dashcam_are_two_cameras(top: Path, front: str, rear: str) -> None:
    for name, coding in ((front, "30"), (rear, "40")):
        blackvue(top / "card" / name, rmcs(range(6)), more=("-qp", coding))
    result = sampled(top)
    assert (result["exit_code"], result["cameras"], result["sequences"]) == (0, 2, 2)
    assert [when for _, when, _ in frames(top)] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_a_side_file_is_found_in_any_case_of_letters(top: Path) -> None:
    videos.clip(top / "card" / "20240531_120000_NR.mp4")
    (top / "card" / "20240531_120000_N.GPS").write_text(
        "\r\n".join(rmcs(range(6))), encoding="ascii"
    )
    assert sampled(top)["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])


def test_few_good_samples_of_one_stream_do_not_stand_for_many_of_another(top: Path) -> None:
    path = top / "card" / "GX010001.MP4"
    payloads = []
    for n in range(6):
        five = gps5([place_at(n + i / 18) for i in range(18)], CLIP_SECONDS + n, fix=3, dop=250)
        nine = gps9(
            [
                (
                    CLIP_SECONDS + n + i / 10,
                    *place_at(n + i / 10),
                    2.5,
                    3 if n == 3 and i < 5 else 0,
                )
                for i in range(10)
            ]
        )
        payloads.append(device(five, nine))
    path.write_bytes(videos.film(path, seconds=6).add(payloads, b"gpmd").content())
    assert sampled(top)["exit_code"] == 0
    check_ride(top, list(range(6)))


def test_a_small_preview_is_no_video(top: Path) -> None:
    shutil.copy(
        str(videos.clip(top / "a.mp4")), str(top / "card" / "LRV_20240531_120000_11_001.insv")
    )
    insta360(top / "card" / "VID_20240531_120000_00_001.insv", times(0, 4, 10))
    assert sampled(top)["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])


# ---- damage and odd pictures --------------------------------------------------------------------


@pytest.mark.parametrize("reach", [(0.5, 1.0), (0.35, 0.6)], ids=["cut", "hole"])
def test_what_is_missing_of_a_damaged_video_is_told_every_time(top: Path, reach: Any) -> None:
    path = videos.clip(top / "card" / "a.mp4", "-g", "1", seconds=20)
    path.with_suffix(".gpx").write_text(videos.gpx_of(times(-2, 24)), encoding="utf-8")
    content = bytearray(path.read_bytes())
    place = videos.place_of_media(bytes(content))
    size = struct.unpack_from(">I", content, place - 8)[0] - 8
    for at in range(place + int(size * reach[0]), place + int(size * reach[1]) - 100):
        content[at] = 0
    path.write_bytes(content)
    said = []
    for _ in range(2):
        result = sampled(top)
        assert result["exit_code"] == 1
        said.append(re.findall(r"is damaged; its frames reach to [^\\(\"]*", result["said"])[0])
    assert said[0] == said[1]
    if reach[1] < 1:
        assert "there are none from" in said[0]


@pytest.mark.parametrize(
    "matrix, orientation",
    [
        ((1, 0, 0, 1), 1),
        ((-1, 0, 0, 1), 2),
        ((-1, 0, 0, -1), 3),
        ((1, 0, 0, -1), 4),
        ((0, 1, 1, 0), 5),
        ((0, 1, -1, 0), 6),
        ((0, -1, -1, 0), 7),
        ((0, -1, 1, 0), 8),
    ],
)
def test_pictures_are_turned_and_mirrored_as_a_player_shows_them(
    top: Path, matrix: Any, orientation: int
) -> None:
    path = videos.clip(top / "card" / "a.mp4")
    content = path.read_bytes()
    trak = content.index(b"tkhd", content.index(b"trak"))
    a, b, c, d = (one << 16 if one >= 0 else (1 << 32) - (1 << 16) for one in matrix)
    wide = 65536 if -1 in (matrix[0], matrix[2]) else 0
    shift = (96 * wide if matrix[0] < 0 else 64 * wide if matrix[2] < 0 else 0, 0)
    turned = struct.pack(">9I", a, b, 0, c, d, 0, shift[0], shift[1], 0x40000000)
    path.write_bytes(content[: trak + 44] + turned + content[trak + 44 + 36 :])
    path.with_suffix(".gpx").write_text(videos.gpx_of(), encoding="utf-8")
    assert sampled(top)["exit_code"] == 0
    assert making.read_exif(next((top / "frames").glob("*.jpg")))["Orientation"] == orientation


def test_the_largest_track_of_pictures_is_taken(top: Path) -> None:
    path = top / "card" / "a.mp4"
    videos.ffmpeg(
        *videos.pictures(size="48x32"),
        *videos.pictures(size="192x128"),
        *(
            "-map",
            "0:v",
            "-map",
            "1:v",
            "-threads",
            "1",
            *videos.H264,
            *videos.CREATED,
            "-t",
            4,
            path,
        ),
    )
    path.with_suffix(".gpx").write_text(videos.gpx_of(), encoding="utf-8")
    result = sampled(top)
    assert result["exit_code"] == 0 and "those of the largest alone" in result["said"]
    first = next((top / "frames").glob("*.jpg"))
    assert mt.read_image(first).found.pixels == (192, 128)  # type: ignore[union-attr]


def test_scrambled_blocks_are_told_as_such_and_padding_is_not_counted(top: Path) -> None:
    def scrambled(block: bytes) -> bytes:
        return block[:12] + bytes(one ^ 0xAA for one in block[12:])

    novatek(top / "card" / "2024_0531_120000.MP4", list(range(4)), 4, scrambled)
    said = sampled(top)["said"]
    assert "4 GPS blocks of 2024_0531_120000.MP4 are scrambled" in said and "(it none" not in said
    novatek(top / "card" / "2024_0531_120000.MP4", list(range(5)), 4, bytes, 3)
    result = sampled(top)
    assert result["exit_code"] == 0 and "scrambled" not in result["said"]


@pytest.mark.parametrize("sides", ["EN", "WS"])
def test_subtitles_of_an_autel_name_the_side_of_each_number(top: Path, sides: str) -> None:
    east, north = sides
    videos.clip(top / "card" / "MAX_0001.MP4")
    form = f"GPS({east}: {{lon:.6f}}, {north}: {{lat:.6f}}, {{alt:.2f}}m)\nISO:100 MODE: 3"
    subtitles(top / "card" / "MAX_0001.SRT", list(range(6)), list(range(6)), form)
    assert sampled(top)["exit_code"] == 0
    sign = 1 if north == "N" else -1
    wanted = [sign * place_at(s)[0] for s in range(4)]
    assert [lat for _, _, lat in frames(top)] == pytest.approx(wanted, abs=5e-6)


def test_undated_subtitles_go_by_a_video_of_any_kind(top: Path) -> None:
    videos.clip(top / "card" / "DJI_0001.m4v", codec=["-f", "mp4", *videos.H264])
    cues = [(s, DJI.format(lat=place_at(s)[0], lon=place_at(s)[1], alt=1.0)) for s in range(6)]
    (top / "card" / "DJI_0001.SRT").write_text(logs.subtitles(cues), encoding="ascii")
    assert sampled(top)["exit_code"] == 0
    check_ride(top, [0, 1, 2, 3])


def test_a_limit_of_holes_holds_for_the_track_of_a_video_itself(top: Path) -> None:
    """It was refused, for want of a track, when all frames had been taken."""
    gopro(top / "card" / "GX010001.MP4", 4)
    result = sampled(top, "--max_gap", "5")
    assert result["exit_code"] == 0, result["said"]
    check_ride(top, [0, 1, 2, 3])


def test_a_video_shorter_than_the_distance_gives_its_first_frame(top: Path) -> None:
    """It was said to be outside of its own track."""
    gopro(top / "card" / "GX010001.MP4", 4)
    result = sampled(top, "--video_sample_distance", "100000")
    assert result["exit_code"] == 0, result["said"]
    check_ride(top, [0])


@pytest.mark.parametrize(
    "error", [PermissionError(13, "no"), UnicodeEncodeError("a", "b", 0, 1, "c")]
)
def test_a_place_of_a_video_that_nobody_can_look_at_ends_no_run(
    error: Exception, top: Path, monkeypatch: Any
) -> None:
    gopro(top / "card" / "GX010001.MP4", 2)
    assert sampled(top)["exit_code"] == 0
    old = top / "card" / "GX010001.MP4"
    shutil.copy(str(old), str(top / "card" / "other.MP4"))
    old.unlink()
    plain = mt.is_there

    def is_there(path: str) -> bool:
        if path == str(old):
            raise error
        return plain(path)

    monkeypatch.setattr(mt, "is_there", is_there)
    result = sampled(top)
    assert result["exit_code"] == 0 and result["stopped"] is None, result["said"]


@pytest.mark.parametrize("given", [True, False])
def test_several_videos_begin_each_at_the_first_point_of_its_own_track(
    given: bool, top: Path
) -> None:
    """The example of 2018 for a folder of a dashcam's videos gave no frame at all."""
    gopro(top / "card" / "GX010001.MP4", 3)
    shutil.copy(str(top / "card" / "GX010001.MP4"), str(top / "card" / "GX010002.MP4"))
    with open(str(top / "card" / "GX010002.MP4"), "ab") as stream:
        stream.write(box(b"free", bytes(8)))  # so that it is another file
    source = ("--geotag_source", "gopro_video", "--geotag_source_path", top / "card")
    where = ("--import_path", top / "frames", "--video_path", top / "card", "--user_name", "demo")
    more = source if given else ("--geotag_source", "video")
    words = ("--video_sample_interval", 1, "--use_gps_start_time", "--advanced")
    result = told("video_process", *where, *words, *more)
    assert "one_start" not in str(result["failed"]) and len(frames(top)) == 6, result["said"]
    wanted = [place_at(second)[0] for second in (0, 0, 1, 1, 2, 2)]  # of ties half a second later
    assert sorted(lat or 0.0 for _, _, lat in frames(top)) == pytest.approx(wanted, abs=1.01e-4)
