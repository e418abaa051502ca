"""Videos that go up whole: their pictures are those of the original, their places those of its track, by judges of others."""

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time

import making
import making_videos as mv
import mapillary_tools as mt
import pytest
from conftest import EXECUTABLE, images_in, in_process, run, soon, tree
from making_tracks import TO_1904, device, gps9
from service import END, ORGANIZATION, cut
from service import status as status_fault

pytestmark = pytest.mark.slow
needs_ffmpeg = pytest.mark.skipif(
    not mv.FFMPEG or not mv.FFPROBE, reason="ffmpeg and ffprobe are not on this computer"
)
needs_exiftool = pytest.mark.skipif(not mv.EXIFTOOL, reason="exiftool is not on this computer")


# ---- the table of judges


def received_of(studio, shot):
    """What the stand-in has of a video."""
    if shot not in studio.shots:
        pytest.skip(f"this ffmpeg has no {shot.codec}")
    return studio.received(shot)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    return mv.Studio(tmp_path_factory.mktemp("studio"))


each_shot = pytest.mark.parametrize("shot", mv.SHOTS, ids=[shot.name for shot in mv.SHOTS])


@needs_ffmpeg
def test_all_of_the_table_are_processed_and_sent(studio):
    count = len(studio.shots)
    for row in (studio.processed, studio.uploaded):
        assert (row["found"], row["done"], row["failed"]) == (count, count, []), row
    assert len(set(studio.keys.values())) == count == len(list(studio.out.glob("*.mp4")))


@needs_ffmpeg
@each_shot
def test_the_name_of_a_video_is_the_md5_of_its_bytes(studio, shot):
    path = received_of(studio, shot)
    assert path.name == f"mly_tools_{hashlib.md5(path.read_bytes()).hexdigest()}.mp4"


@needs_ffmpeg
@each_shot
def test_every_picture_is_that_of_the_original(studio, shot):
    received, original = mv.decoded(received_of(studio, shot)), mv.decoded(studio.original(shot))
    assert received == original and all(len(track) >= 30 for track in received)


@needs_ffmpeg
@each_shot
def test_every_packet_keeps_its_time(studio, shot):
    received, original = mv.packets(received_of(studio, shot)), mv.packets(studio.original(shot))
    assert received == original


@needs_ffmpeg
@each_shot
def test_ffprobe_has_nothing_to_say_against_it(studio, shot):
    _, complaints = mv.probed(received_of(studio, shot), "-show_streams", "-show_format")
    assert complaints == ""


@needs_ffmpeg
@each_shot
def test_there_are_the_tracks_of_pictures_and_one_of_places(studio, shot):
    of_pictures = [one for one in mv.streams(studio.original(shot)) if one[0] == "video"]
    assert mv.streams(received_of(studio, shot)) == [*of_pictures, ("data", "camm")]


@needs_ffmpeg
@each_shot
def test_size_and_matrix_of_the_pictures_stay(studio, shot):
    assert mv.headers(received_of(studio, shot)) == mv.headers(studio.original(shot))


@needs_ffmpeg
def test_a_turned_video_is_shown_turned(studio):
    shot = next(shot for shot in mv.SHOTS if shot.name == "phone.MOV")
    told, _ = mv.probed(received_of(studio, shot), "-show_entries", "stream_side_data=rotation")
    assert [abs(one["rotation"]) for one in told["streams"][0]["side_data_list"]] == [90]


def same_places(found, wanted, when=0.0006):
    """Whether places, (seconds, lat, lon ...), are those wanted, each to a millionth of a degree."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        assert one[1:3] == pytest.approx(other[1:3], abs=1e-6), (one, other)
        assert one[0] == pytest.approx(other[0], abs=when), (one, other)


@needs_ffmpeg
@needs_exiftool
@each_shot
def test_exiftool_finds_every_place(studio, shot):
    """It counts the times of samples from the first, whatever the edit list says."""
    wanted = shot.places(studio.card)
    first = wanted[0][0]
    found = [(first + one[0], *one[1:]) for one in mv.by_exiftool(received_of(studio, shot))]
    same_places(found, wanted)


@needs_ffmpeg
@each_shot
def test_our_own_reader_finds_every_place(studio, shot):
    received, wanted = received_of(studio, shot), shot.places(studio.card)
    track = mt.read_track(received, "camm")
    found = [(fix.time - mv.CLIP_SECONDS, fix.lat, fix.lon) for fix in track.points]
    same_places(found, wanted)


@needs_ffmpeg
@each_shot
def test_the_reader_of_the_official_package_finds_every_place(studio, shot):
    received = received_of(studio, shot)
    if not mv.has_official(studio.home):
        pytest.skip("the official package is not on this computer")
    told, wanted = mv.by_official(received), shot.places(studio.card)
    found = told["places"]
    same_places(found, wanted)
    for (*_, alt, utc, fix), (when, *_) in zip(found, wanted):
        if shot.utc:
            assert utc == pytest.approx(mv.CLIP_SECONDS + when, abs=0.002)
            assert fix == (2 if alt == -1 else 3)
        else:
            assert utc is None
    assert (told["make"], told["model"]) == shot.camera


# ---- the stream by itself

SAMPLES = [mt.Sample(when, mv.CLIP_SECONDS + when, *mv.place_at(when)) for when in (0.25, 1.0, 3.5)]
SAMPLES.append(mt.Sample(3.75, None, 47.5, 8.5, None))
CAMERA = ("Ac\u00efme", "One")


def ready_of(path, samples=SAMPLES, camera=CAMERA):
    """What goes out of a video with these places."""
    with open(str(path), "rb") as handle:
        status = os.fstat(handle.fileno())
        stream = mt.video_stream(mt.Source(handle, path), samples, *camera)
    stamp = status.st_size, status.st_mtime_ns
    return mt.Ready(str(path), stream.head, stream.spans, "", stamp, "", "mp4")


def bytes_of(ready, offset=0, most=mt.SEND_BYTES):
    """What goes out from an offset on."""
    return b"".join(mt.pieces_of(ready, offset, most))


@pytest.fixture
def gapped(tmp_path):
    """What goes out of a movie without ffmpeg, its pictures apart."""
    path = tmp_path / "a.mp4"
    sizes = (700, 1, 3000, 255, 41)
    path.write_bytes(mv.bare(sizes, mv.camms(mv.times()), gap=100, pause=800).content())
    return ready_of(path)


@in_process
def test_the_pictures_of_a_stream_are_all_and_alone_and_in_order(gapped):
    pictures = b"".join(
        bytes([1 + number]) * size for number, size in enumerate((700, 1, 3000, 255, 41))
    )
    assert len(gapped.spans) == 5 and bytes_of(gapped, len(gapped.head)) == pictures
    assert gapped.size == len(bytes_of(gapped)) == len(gapped.head) + len(pictures)


@in_process
def test_a_stream_goes_on_at_every_offset(gapped):
    whole = bytes_of(gapped)
    for offset in range(gapped.size + 1):
        assert bytes_of(gapped, offset) == whole[offset:]


@in_process
def test_a_stream_goes_on_at_any_offset_in_pieces_of_any_size(gapped):
    hypothesis = pytest.importorskip("hypothesis")
    numbers, whole = hypothesis.strategies.integers, bytes_of(gapped)

    @hypothesis.given(numbers(0, gapped.size), numbers(1, gapped.size + 10))
    def check(offset, most):
        pieces = list(mt.pieces_of(gapped, offset, most))
        assert b"".join(pieces) == whole[offset:]
        assert all(0 < len(piece) <= most for piece in pieces)

    check()


@in_process
def test_the_same_video_and_places_give_the_same_bytes(gapped):
    path = mt.Path(gapped.path)
    assert bytes_of(ready_of(path)) == bytes_of(ready_of(path)) == bytes_of(gapped)


GOLDEN = "ec8489766e87eea87bdfdccfa9d61cec75cc3c452c5262c5a3121c0b910a0e31"


@in_process
def test_the_bytes_of_a_stream_are_those_of_its_form(gapped):
    """Where this changes on purpose, STREAM_FORM is to be raised: what was begun is then sent anew."""
    assert (mt.STREAM_FORM, hashlib.sha256(bytes_of(gapped)).hexdigest()) == (1, GOLDEN)


@in_process
def test_the_index_of_a_stream_is_as_the_service_takes_it(gapped):
    """Layout of the service's format: ftyp as it was, moov, mdat."""
    top = mv.opened(bytes_of(gapped))
    assert [kind for kind, _ in top] == [b"ftyp", b"moov", b"mdat"]
    moov, before = mv.below(top, b"moov"), mv.opened(mt.Path(gapped.path).read_bytes())
    assert top[0] == before[0]
    assert [kind for kind, _ in moov] == [b"mvhd", b"trak", b"trak", b"udta"]
    created = mv.below(before, b"moov", b"mvhd")[4:12]
    assert mv.below(moov, b"mvhd")[4:12] == created
    pictures, camm = (inner for kind, inner in moov if kind == b"trak")
    numbers = [struct.unpack(">I", mv.below(one, b"tkhd")[12:16])[0] for one in (pictures, camm)]
    after = struct.unpack(">I", mv.below(moov, b"mvhd")[-4:])[0]
    assert numbers == [1, 2] and after == 3
    tables = [mv.below(one, b"mdia", b"minf", b"stbl") for one in (pictures, camm)]
    kinds = [[kind for kind, _ in table] for table in tables]
    assert all(b"co64" in one and b"stco" not in one for one in kinds)
    assert mv.below(moov, b"udta") == mv.box(b"@mak", "Ac\u00efme".encode("utf-8")) + mv.box(
        b"@mod", b"One"
    )


@in_process
def test_the_track_of_places_is_as_the_service_takes_it(gapped):
    moov = mv.below(mv.opened(bytes_of(gapped)), b"moov")
    camm = [inner for kind, inner in moov if kind == b"trak"][-1]
    header, media = mv.below(camm, b"tkhd"), mv.below(camm, b"mdia", b"mdhd")
    assert header[0] == 0 and header[20:24] == b"\xff" * 4
    assert media[0] == 1 and struct.unpack(">I", media[20:24]) == (1000,)
    assert struct.unpack(">Q", media[4:12])[0] == mv.CLIP_SECONDS + TO_1904
    language = struct.unpack(">H", media[32:34])[0]
    assert bytes(96 + (language >> shift & 31) for shift in (10, 5, 0)) == b"und"
    assert mv.below(camm, b"mdia", b"hdlr")[8:12] == b"camm"
    assert [kind for kind, _ in mv.below(camm, b"mdia", b"minf")] == [b"dinf", b"stbl"]
    assert mv.below(camm, b"edts", b"elst")[4:] == mv.words(1, 250, -1, 1 << 16)
    table = mv.below(camm, b"mdia", b"minf", b"stbl")
    assert mv.below(table, b"stsd")[12:16] == b"camm"
    assert mv.below(table, b"stts")[4:] == mv.words(4, 1, 750, 1, 2500, 1, 250, 1, 0)
    assert mv.below(table, b"stsz")[4:] == mv.words(0, 4, 60, 60, 60, 28)
    (place,) = struct.unpack(">Q", mv.below(table, b"co64")[8:16])
    records = bytes_of(gapped)[place : place + 208]
    first = struct.unpack("<HHdidd7f", records[:60])
    lat, lon, alt = mv.place_at(0.25)
    assert first == (0, 6, mv.CLIP_SECONDS + 0.25, 3, lat, lon, alt, 0, 0, 0, 0, 0, 0)
    assert struct.unpack("<HHddd", records[180:]) == (0, 5, 47.5, 8.5, -1.0)


@in_process
def test_a_place_at_the_begin_needs_no_edit_list(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(mv.driven())
    moov = mv.below(mv.opened(bytes_of(ready_of(path, SAMPLES[1:2] * 2))), b"moov")
    late = moov[-2][1]
    at_once = mt.Sample(0.0, None, 1.0, 2.0, None)
    moov = mv.below(mv.opened(bytes_of(ready_of(path, [at_once]))), b"moov")
    assert [[kind for kind, _ in one][1] for one in (late, moov[-2][1])] == [b"edts", b"mdia"]


@in_process
@pytest.mark.parametrize("over", [0, 1])
def test_sizes_of_64_bits_are_taken_where_those_of_32_do_not_do(tmp_path, over):
    """The box is as large as 32 bits can tell, or one byte larger."""
    records = 60 * 3 + 28
    last = (1 << 32) - 1 - 8 - records - (2 << 30) + over
    path = mv.far_pictures(tmp_path / "a.mp4", [1 << 30, 1 << 30, last])
    ready = ready_of(path)
    at = ready.head.rindex(b"mdat") - 4
    size, _, wide = struct.unpack(">I4sQ", ready.head[at : at + 16])
    if over:
        assert size == 1 and at + wide == ready.size
    else:
        assert at + size == ready.size == at + (1 << 32) - 1


@in_process
def test_bytes_behind_four_gigabytes_are_found_again(tmp_path):
    """Of a stream of 5 GB: its end, and where its index says that the last pictures lie."""
    path = mv.far_pictures(tmp_path / "a.mp4", [64 << 20] * 80)
    end = path.stat().st_size
    ready = ready_of(path)
    moov = mv.below(mv.opened(ready.head), b"moov")
    places = mv.below(moov[1][1], b"mdia", b"minf", b"stbl", b"co64")
    assert struct.unpack(">Q", places[-8:])[0] == ready.size - (64 << 20)
    with open(str(path), "r+b") as stream:
        at = ready.spans[-1][1]
        stream.seek(at - 5)
        stream.write(b"12345")
    ready = ready_of(path)
    assert path.stat().st_size == end and bytes_of(ready, ready.size - 7) == b"\0\x0012345"


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or bool(EXECUTABLE), reason="counts memory as Linux does"
)
def test_memory_does_not_grow_with_a_video(tmp_path, monkeypatch):
    """It goes through, to a service in a process of its own: 1.2 GB, and 5 GB with SLOW=1."""
    import memory

    pieces = [64 << 20] * (80 if os.environ.get("SLOW") else 20)
    path = tmp_path / "card" / "a.mp4"
    path.parent.mkdir()
    mv.far_pictures(path, pieces)
    server = mt.Path(memory.__file__).with_name("service.py")
    command = [sys.executable, str(server), "--config", str(tmp_path / "config")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    service = subprocess.Popen(command, **pipes)
    try:
        for name, value in json.loads(service.stdout.readline().decode("utf-8")).items():
            monkeypatch.setenv(name, value)
        least = memory.run(1500 * memory.MB, tmp_path, "--version").peak
        words = ("--import_path", path.parent, "--videos", "upload")
        for argv in (("process", *words, "--user_name", "demo"), ("upload", *words)):
            ran = memory.run(1500 * memory.MB, tmp_path, *argv)
            assert ran.code == 0 and ran.wrong == "", ran
            assert ran.peak < least + 15 * memory.MB, (argv[0], least, ran)
    finally:
        told, _ = service.communicate(timeout=60)
    summary = json.loads(told.decode("utf-8"))
    assert summary["problems"] == [] and summary["images"] == summary["finished"] == 1
    assert summary["bytes"] > sum(pieces) and summary["wasted"] == 0


# ---- videos that cannot go up


class Card:
    """A folder of videos, a service, and the commands on them."""

    def __init__(self, folder, service):
        self.folder, self.service = folder, service
        folder.mkdir()

    def put(self, name, content=None, **sides):
        """A video, by default a good one, and files of its name beside it."""
        path = self.folder / name
        path.write_bytes(mv.driven() if content is None else content)
        for ending, text in sides.items():
            content = text if isinstance(text, bytes) else text.encode("utf-8")
            path.with_suffix("." + ending).write_bytes(content)
        return path

    def _told(self, tool, *more):
        words = ["--import_path", self.folder, "--videos", "upload"]
        ran = run(tool, *words, "--json", *more)
        assert "Traceback" not in ran.stderr + ran.stdout
        row = json.loads(ran.stdout)
        parts = row["done"] + sum(row["skipped"].values()) + len(row["failed"])
        assert row["found"] == parts and row["exit_code"] == ran.code
        return dict(row, said=ran.stderr)

    def process(self, *more):
        return self._told("process", "--user_name", "demo", *more)

    def upload(self, *more):
        return self._told("upload", *more)

    def videos(self):
        """What the service has of videos."""
        return {key: one for key, one in self.service.received.items() if key.endswith(".mp4")}

    def rows(self):
        """The lines of the journal."""
        lines = (self.folder / ".mapillary" / "journal.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def clip(self, name):
        """The last line about a video."""
        return [row for row in self.rows() if row.get("video") == name][-1]

    def places(self, name):
        """The places of a video."""
        return [(one[0], one[1], one[2]) for one in self.clip(name)["places"]]


@pytest.fixture
def card(tmp_path, service):
    return Card(tmp_path / "card", service)


def whole(upload):
    """That a video arrived once, without a byte twice."""
    assert upload.complete
    pieces = [piece for piece in upload.accepted if piece[1] > piece[0]]
    assert [piece[0] for piece in pieces] == [0] + [piece[1] for piece in pieces[:-1]]
    assert pieces[-1][1] == upload.size


def poked(content, kind, at, value):
    """Some bytes with another number so far into the first box of a kind."""
    place = content.index(kind) + 4 + at
    return content[:place] + mv.words(value) + content[place + 4 :]


def cut_movie():
    """A movie whose index is first, its end cut off."""
    made = mv.bare((1000,) * 40, mv.camms(mv.times()))
    return made.content(moov_first=True)[:-20000]


def without_index():
    content = mv.driven()
    return content[: content.index(b"moov") - 4]


def lying(kind, at, value):
    return lambda: poked(mv.driven(), kind, at, value)


def fixed_and_many():
    """All pictures of one size, and far more than there are."""
    return poked(lying(b"stsz", 4, 1000)(), b"stsz", 8, 0x7FFFFFFF)


def fragmented():
    track = mv.box(b"mvex", mv.box(b"trex", bytes(24)))
    made = mv.bare((1000,) * 40, mv.camms(mv.times()))
    made.moov.append([b"mvex", track[8:]])
    return made.content()


def in_another_file():
    made = mv.bare((1000,) * 40, mv.camms(mv.times()))
    elsewhere = mv.box(b"dref", bytes(4), mv.words(1), mv.box(b"url ", bytes(4), b"file:///x\0"))
    mv.replace(made.traks[0], [b"mdia", b"minf", b"dinf"], elsewhere)
    return made.content()


def sound_only():
    made = mv.bare((1000,) * 40, mv.camms(mv.times()))
    handler = mv.below(made.traks[0], b"mdia", b"hdlr")
    mv.replace(made.traks[0], [b"mdia", b"hdlr"], handler.replace(b"vide", b"soun"))
    return made.content()


BAD = {
    "empty.mp4": (lambda: b"", "is empty"),
    "cut.mp4": (cut_movie, "is cut off: .* behind its end: 19700 of 40000 bytes"),
    "no_index.mp4": (without_index, "no index"),
    "offset.mp4": (lying(b"stco", 8, 0x7FFFFFF0), "behind its end"),
    "size.mp4": (lying(b"stsz", 12, 0x7FFFFFFF), "behind its end"),
    "box.mp4": (lying(b"mdat", -8, 0x7FFFFFFF), "no index"),
    "table.mp4": (lying(b"stbl", -8, 16), "index that cannot be"),
    "trak.mp4": (lying(b"trak", -8, 0x7FFFFFFF), ""),
    "none_a_chunk.mp4": (lying(b"stsc", 12, 0), ""),
    "fragmented.mp4": (fragmented, "is fragmented.*ffmpeg -i fragmented.mp4"),
    "elsewhere.mp4": (in_another_file, "pictures in another file"),
    "sound.mp4": (sound_only, "has no pictures"),
    "noise.mp4": (lambda: mv.driven()[:8] + bytes(range(256)) * 50, "no index"),
    "text.mp4": (lambda: b"A text, not a film.\n" * 100, "is no MP4"),
}
UNSEEN = {
    "count.mp4": lying(b"stsz", 8, 0x7FFFFFFF),
    "fixed.mp4": fixed_and_many,
    "first_chunk.mp4": lying(b"stsc", 8, 77),
    "durations.mp4": lying(b"stts", 8, 0xFFFFFFFF),
}


def refused(card, name, content, said):
    """That a video fails with a line that says this, and that the others go up."""
    card.put(name, content)
    card.put("good.mp4")
    for row in (card.process(), card.upload()):
        assert (row["exit_code"], row["done"], len(row["failed"])) == (1, 1, 1)
        (problem,) = row["failed"]
        assert os.path.basename(problem["file"]) == name
        assert problem["wrong"] and problem["remedy"]
        line = f"{problem['wrong']}: {problem['value']} ({problem['remedy']})"
        assert mt.re.search(said, line), line
    (upload,) = card.videos().values()
    whole(upload)
    assert card.service.problems == []


@in_process
@pytest.mark.parametrize("name", list(BAD))
def test_a_video_that_cannot_go_up_fails_with_words_and_the_others_go_on(card, name):
    make, said = BAD[name]
    refused(card, name, make(), said)


@in_process
@pytest.mark.parametrize("name", list(UNSEEN))
def test_an_index_that_lies_is_not_sent(card, name):
    """Players refuse such a file, or show one picture of it."""
    refused(card, name, UNSEEN[name](), "damaged|cannot be")


@in_process
def test_the_line_of_a_video_that_fails_names_it_once(card):
    card.put("cut.mp4", cut_movie())
    ran = run("process", "--import_path", card.folder, "--user_name", "a", "--videos", "upload")
    lines = [line for line in (ran.stdout + ran.stderr).splitlines() if "cut.mp4" in line]
    assert ran.code == 1 and len(lines) == 1 and lines[0].count("cut.mp4") == 1


@in_process
def test_of_two_indexes_the_first_counts_as_in_players(card):
    content = mv.driven()
    card.put("a.mp4", content + content[content.index(b"moov") - 4 :])
    assert card.process()["done"] == card.upload()["done"] == 1
    (upload,) = card.videos().values()
    kinds = [kind for kind, _ in mv.opened(bytes(upload.content))]
    assert kinds == [b"ftyp", b"moov", b"mdat"]


@in_process
def test_media_that_goes_on_to_the_end_of_the_file_is_no_fault(card):
    made = mv.bare((1000,) * 40, mv.camms(mv.times()))
    card.put("a.mp4", poked(made.content(moov_first=True), b"mdat", -8, 0))
    assert card.process()["done"] == card.upload()["done"] == 1


@needs_ffmpeg
@in_process
@pytest.mark.parametrize("ending", ["avi", "ts", "mkv", "mp4"])
def test_videos_of_other_kinds_are_told_what_to_do(card, ending):
    """The MP4 is one in fragments."""
    more = ["-movflags", "frag_keyframe+empty_moov"] if ending == "mp4" else []
    path = mv.clip(card.folder / f"a.{ending}", *more)
    path.with_suffix(".gpx").write_text(mv.gpx_of(), encoding="utf-8")
    row = card.process()
    (problem,) = row["failed"]
    assert row["exit_code"] == 1 and "ffmpeg" in problem["remedy"]
    assert problem["code"] == ("fragmented" if ending == "mp4" else "not_mp4")


@in_process
def test_a_video_that_is_longer_than_the_service_takes_is_told(card):
    path = card.folder / "a.mp4"
    try:
        mv.far_pictures(path, [2 << 30] * 56)
    except OSError:
        pytest.skip("this file system takes no file of 112 GB")
    (problem,) = card.process()["failed"]
    assert (problem["code"], problem["value"]) == ("too_long", f"{112 << 30} bytes")
    assert "cut it" in problem["remedy"]


# ---- videos that change, and connections that break

LARGE = (200000,) * 40  # pictures of 8 MB


def midway(monkeypatch, act, after=3):
    """Have something happen once so many pieces of a video are on their way; counts pieces that are hashed."""
    plain, seen = mt.pieces_of, {"sent": 0, "hashed": 0}

    def pieces(ready, offset, *more):
        for piece in plain(ready, offset, *more):
            yield piece
            seen["sent" if ready.md5 else "hashed"] += 1
            if ready.md5 and seen["sent"] == after:
                act()

    monkeypatch.setattr(mt, "pieces_of", pieces)
    return seen


def until(ready, seconds=30):
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert ready()


def begun(card):
    """Wait until the service has the begin of a video that is not whole."""
    until(lambda: any(one.size and not one.complete for one in card.videos().values()))


def settled(card):
    """Wait until the service knows that the connections are gone."""
    until(lambda: not card.service.open_now)


def appended(path):
    with open(str(path), "ab") as stream:
        stream.write(b"more")


def rewritten(path):
    with open(str(path), "r+b") as stream:
        stream.seek(-50, os.SEEK_END)
        stream.write(bytes(50))


@in_process
@pytest.mark.parametrize("change", [appended, rewritten])
def test_a_video_that_changes_while_it_is_sent_fails_and_goes_up_rightly_next_time(
    card, monkeypatch, quick, change
):
    path = card.put("a.mp4", mv.driven(LARGE))
    card.put("b.mp4")
    os.utime(str(path), (1e9, 1e9))
    card.process()
    midway(monkeypatch, lambda: (begun(card), change(path)))
    row = card.upload()
    settled(card)
    assert (row["exit_code"], row["done"]) == (1, 1)
    (problem,) = row["failed"]
    assert "was changed" in problem["wrong"] and problem["file"].endswith("a.mp4")
    assert [one.complete for one in card.videos().values()].count(False) == 1
    content = mv.driven((200001,) * 40)
    path.write_bytes(content)
    assert card.process()["done"] == 1 and card.upload()["done"] == 1
    assert sum(one.complete for one in card.videos().values()) == 2
    assert card.service.problems == [] and len(card.service.finished) == 2


@in_process
@pytest.mark.skipif(os.name == "nt", reason="a file that is open is not replaced")
def test_a_video_that_another_takes_the_place_of_is_never_mixed_with_it(card, monkeypatch, quick):
    path = card.put("a.mp4", mv.driven(LARGE))
    card.process()
    new = card.folder.parent / "new"
    new.write_bytes(mv.driven((150000,) * 40))
    midway(monkeypatch, lambda: os.replace(str(new), str(path)))
    card.upload()
    card.process()
    card.upload()
    assert card.service.problems == []
    assert all(one.complete for one in card.videos().values())


@in_process
def test_a_video_that_was_changed_after_process_is_not_sent(card):
    path = card.put("a.mp4")
    card.process()
    path.write_bytes(mv.driven((1001,) * 40))
    row = card.upload()
    assert "was changed since it was processed" in row["failed"][0]["wrong"]
    assert "process" in row["failed"][0]["remedy"] and card.videos() == {}
    assert card.process()["done"] == card.upload()["done"] == 1


class _Broken:
    """An open file whose medium fails when it is told to."""

    def __init__(self, stream, state):
        self.stream, self.state = stream, state

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def read(self, *size):
        if self.state["broken"]:
            raise OSError(mt.errno.EIO, "Input/output error")
        return self.stream.read(*size)


def failing(plain, path, state):
    """A file as it is opened; a video, so that it may fail."""
    return _Broken(plain(path), state) if str(path).endswith(".mp4") else plain(path)


@in_process
def test_a_read_error_in_the_middle_fails_with_words_and_the_next_run_goes_on_there(
    card, monkeypatch, quick
):
    card.put("a.mp4", mv.driven(LARGE))
    card.process()
    state, plain = {"broken": False}, mt.open_file
    with monkeypatch.context() as patch:
        patch.setattr(mt, "open_file", lambda path: failing(plain, path, state))
        seen = midway(patch, lambda: (begun(card), state.update(broken=True)), after=8)
        row = card.upload()
    settled(card)
    assert row["exit_code"] == 1 and "cannot be read" in row["failed"][0]["wrong"]
    assert "nput/output" in row["failed"][0]["value"] and seen["hashed"] > 0
    (upload,) = card.videos().values()
    assert 0 < upload.size < 8000000 and not upload.complete
    again = midway(monkeypatch, lambda: None)
    assert card.upload()["done"] == 1
    whole(upload)
    assert again["hashed"] == 0 and upload.asked >= 1
    assert card.service.problems == [] and len(card.service.finished) == 1


@in_process
@pytest.mark.parametrize("at", [0, 1, 700, 100000, 3000000, END])
def test_a_connection_that_breaks_in_a_video_is_taken_up_there(card, quick, at):
    card.put("a.mp4", mv.driven(LARGE))
    card.process()
    card.service.faults = [cut(at, method="POST", path="mly_tools_")]
    assert card.upload()["done"] == 1
    (upload,) = card.videos().values()
    whole(upload)
    assert upload.posts == 2 and card.service.wasted() == 0
    assert card.service.problems == [] and len(card.service.finished) == 1


@in_process
def test_a_connection_that_always_breaks_fails_and_the_next_run_sends_the_rest(card, quick):
    card.put("a.mp4", mv.driven(LARGE))
    card.process()
    which = {"method": "POST", "path": "mly_tools_"}
    card.service.faults = [cut(1000000, **which), cut(0, times=None, **which)]
    row = card.upload("--offline_limit", "0.001")
    settled(card)
    assert row["exit_code"] != 0 and row["done"] == 0
    (upload,) = card.videos().values()
    assert 1000000 <= upload.size < 8000000
    card.service.faults = []
    assert card.upload()["done"] == 1
    whole(upload)
    assert card.service.wasted() == 0 and card.service.problems == []


@pytest.mark.skipif(os.name != "posix" or bool(EXECUTABLE), reason="signals as POSIX has them")
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_after_a_kill_a_video_goes_on_where_it_was_and_is_not_hashed_again(
    card, monkeypatch, share
):
    card.put("a.mp4", mv.driven((600000,) * 40))
    card.process()
    card.service.rate = 24e6
    command = [sys.executable, "-I", "-S", mt.__file__, "upload", "--videos", "upload"]
    command += ["--import_path", str(card.folder)]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, **quiet)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        sizes = [one.size for one in card.videos().values()]
        if sum(sizes) > share * 24e6:
            break
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    settled(card)
    card.service.rate = None
    assert [row for row in card.rows() if "hashed" in row]
    (upload,) = card.videos().values()
    assert 0 < upload.size < 24000000
    seen = midway(monkeypatch, lambda: None)
    assert card.upload()["done"] == 1 and seen["hashed"] == 0
    whole(upload)
    assert card.service.wasted() == 0 and card.service.problems == []
    assert len(card.videos()) == len(card.service.finished) == 1


# ---- what becomes of a video


def seconds_of(places):
    """The video times of places of a ride, which are all where they are to be."""
    for when, lat, lon in places:
        assert (lat, lon) == pytest.approx(mv.place_at(when)[:2], abs=1e-6)
    return [round(when, 3) for when, _, _ in places]


def silent(seconds=(), **options):
    """A movie without places."""
    return mv.bare((1000,) * 40, **options).content()


@in_process
def test_a_video_that_never_moves_is_skipped_as_parked(card):
    near = [mv.camm6(mv.CLIP_SECONDS + n, 47.1 + 8e-5 * (n % 2), 8.2, 400.0) for n in range(5)]
    card.put("parked.mp4", mv.bare((1000,) * 40, near).content())
    for row in (card.process(), card.upload()):
        assert (row["exit_code"], row["done"], row["skipped"]) == (0, 0, {"parked": 1})
    assert card.videos() == {}


@in_process
def test_a_video_that_moves_by_more_than_ten_metres_goes_up(card):
    near = [mv.camm6(mv.CLIP_SECONDS + n, 47.1 + 1e-4 * (n == 3), 8.2, 400.0) for n in range(5)]
    card.put("a.mp4", mv.bare((1000,) * 40, near).content())
    assert card.process()["done"] == card.upload()["done"] == 1


@in_process
def test_a_video_without_a_track_is_told_the_three_ways(card, monkeypatch):
    monkeypatch.setattr(mt, "second_tracks", lambda paths: {})
    card.put("a.mp4", silent())
    (problem,) = card.process()["failed"]
    assert (problem["code"], problem["wrong"]) == ("video_no_track", "has no GPS track")
    for way in ("camera's GPS", "a.gpx", "--geotag_source gpx --geotag_source_path"):
        assert way.replace("a.gpx", "NAME.gpx") in problem["remedy"]
    assert card.videos() == {}


@in_process
@pytest.mark.parametrize(
    "ending, make",
    [("gpx", mv.gpx_of), ("nmea", mv.nmea_of), ("srt", mv.srt_of), ("fit", mv.fit_of)],
)
def test_a_side_file_of_each_kind_gives_the_track(card, ending, make):
    card.put("a.mp4", silent(), **{ending: make()})
    assert card.process()["done"] == 1
    whens = seconds_of(card.places("a.mp4"))
    assert whens[0] <= 0.1 and whens[-1] >= 3.9 and len(whens) >= 4
    assert card.upload()["done"] == 1


@in_process
def test_two_chapters_get_each_its_part_of_a_track_to_the_cut(card):
    """The second follows the first without a pause; where the track has no point at the cut, there is one between."""
    halves = [number + 0.5 for number in range(-2, 11)]
    track = card.folder.parent / "ride.gpx"
    track.write_text(mv.gpx_of(halves), encoding="utf-8")
    for name in ("1.mp4", "2.mp4"):
        card.put(name, silent(created=0))
    words = ("--geotag_source", "gpx", "--geotag_source_path", track)
    start = ("--video_start_time", int(mv.CLIP_SECONDS * 1000))
    assert card.process(*words, *start)["done"] == 2
    assert seconds_of(card.places("1.mp4")) == [0, 0.5, 1.5, 2.5, 3.5, 4]
    second = [(when + 4, lat, lon) for when, lat, lon in card.places("2.mp4")]
    assert seconds_of(second) == [4, 4.5, 5.5, 6.5, 7.5, 8]
    assert card.places("1.mp4")[-1][1:] == card.places("2.mp4")[0][1:]
    times = [row[4] for row in card.clip("2.mp4")["places"]]
    assert times == pytest.approx([mv.CLIP_SECONDS + 4 + n for n in (0, 0.5, 1.5, 2.5, 3.5, 4)])


@in_process
def test_a_video_outside_of_its_track_is_told_both_spans(card):
    track = card.folder.parent / "ride.gpx"
    track.write_text(mv.gpx_of(start=mv.CLIP_SECONDS + 7200), encoding="utf-8")
    card.put("a.mp4", silent())
    (problem,) = card.process("--geotag_source", "gpx", "--geotag_source_path", track)["failed"]
    assert problem["code"] == "video_outside"
    assert "12:00:0" in problem["value"] and "14:00:0" in problem["value"]


@in_process
def test_a_wild_point_is_left_out_by_max_speed(card):
    records = mv.camms(mv.times(0, 4, 2))
    records[4] = mv.camm6(mv.CLIP_SECONDS + 2, 48.1, 9.2, 400.0)
    card.put("a.mp4", mv.bare((1000,) * 40).add(records, b"camm", delta=500).content())
    card.process("--max_speed", "200")
    assert seconds_of(card.places("a.mp4")) == [0, 0.5, 1, 1.5, 2.5, 3, 3.5, 4]


HOME = "47.1004,8.2002,30"


@in_process
def test_a_video_through_an_area_that_is_left_out_is_refused_and_nothing_tells_where(
    card, tmp_path, own_home
):
    card.put("a.mp4")
    page, said = tmp_path / "run.html", []
    words = ("--import_path", card.folder, "--videos", "upload", "--exclude_area", HOME)
    for more in (("--json",), ("--verbose",), ("--rerun",)):
        ran = run("process", *words, "--user_name", "demo", "--report", page, *more)
        assert ran.code == 1
        said += [ran.stdout, ran.stderr]
    for tool in (["status"], ["status", "--image", "a.mp4"], ["upload", "--videos", "upload"]):
        ran = run(*tool, "--import_path", card.folder)
        said += [ran.stdout, ran.stderr]
    run("report", "--import_path", card.folder, "--output_path", tmp_path / "r.html")
    run("export", "--import_path", card.folder, "--output_path", tmp_path / "r.geojson")
    files = {**images_in(own_home), **tree(card.folder, without="a.mp4"), **tree(tmp_path, "card")}
    texts = [text.encode("utf-8") for text in said] + list(files.values())
    for text in texts:
        for part in (b"47.100", b"8.200", b"47.1,"):
            assert part not in text.replace(HOME.encode("ascii"), b"")
    assert "passes through an area" in said[0] and "--videos sample" in said[0]
    assert card.videos() == {}


@in_process
def test_an_area_that_is_left_out_at_upload_holds_back_what_was_processed(card):
    card.put("a.mp4")
    card.process()
    row = card.upload("--exclude_area", HOME)
    assert row["exit_code"] == 1 and "passes through" in row["failed"][0]["wrong"]
    assert card.videos() == {}
    assert card.upload("--exclude_area", "47.2,8.3,30")["done"] == 1


@in_process
def test_a_way_between_two_places_goes_through_an_area_too(card):
    """No place of it lies there: the pictures between do."""
    far = [mv.camm6(mv.CLIP_SECONDS + n, *mv.place_at(n)) for n in (0, 4)]
    card.put("a.mp4", mv.bare((1000,) * 40).add(far, b"camm", delta=4000).content())
    row = card.process("--exclude_area", "47.1004,8.2002,5")
    assert row["failed"][0]["code"] == "through_area"


def standing():
    """A video of four seconds at one place."""
    here = [mv.camm6(mv.CLIP_SECONDS + when, *mv.place_at(0)) for when in (0, 1, 2, 3, 4)]
    return mv.bare((1000,) * 40, here)


@in_process
def test_a_dry_run_writes_nothing(card, own_home):
    card.put("a.mp4")
    card.put("parked.mp4", standing().content())
    before = tree(card.folder), tree(own_home)
    row = card.process("--dry_run")
    assert (row["done"], row["skipped"]) == (1, {"parked": 1})
    assert (tree(card.folder), tree(own_home)) == before
    row = card.upload("--dry_run")
    assert (row["done"], row["skipped"]) == (1, {"parked": 1})
    assert (tree(card.folder), tree(own_home)) == before and card.service.log == []


@in_process
def test_the_same_commands_again_do_nothing(card):
    card.put("a.mp4")
    card.process()
    assert card.process()["skipped"] == {"already_processed": 1}
    assert card.upload()["done"] == 1
    requests = len(card.service.log)
    assert card.upload()["skipped"] == {"already_uploaded": 1}
    assert card.process()["skipped"] == {"already_uploaded": 1}
    assert len(card.service.log) == requests


@in_process
def test_rerun_processes_a_video_again_and_sends_it_no_more(card):
    card.put("a.mp4")
    card.process()
    card.upload()
    assert card.process("--rerun")["done"] == 1
    assert card.upload()["skipped"] == {"already_uploaded": 1}


@in_process
def test_another_track_makes_a_video_outdated_and_reupload_sends_it(card):
    card.put("a.mp4", silent(), gpx=mv.gpx_of())
    card.process()
    card.upload()
    card.put("a.mp4", silent(), gpx=mv.gpx_of(start=mv.CLIP_SECONDS - 1))
    assert card.process()["done"] == 1
    row = card.upload()
    assert (row["skipped"], row["outdated"]) == ({"already_uploaded": 1}, 1)
    assert "another time, position" in row["said"]
    assert len(card.videos()) == 1 and card.upload("--reupload")["done"] == 1
    assert len(card.videos()) == len(card.service.finished) == 2
    assert card.upload("--reupload")["done"] == 0 and card.service.problems == []


@in_process
def test_a_video_in_two_folders_goes_up_once(card):
    card.put("a.mp4")
    card.process()
    card.upload()
    second = Card(card.folder.parent / "second", card.service)
    second.put("a.mp4")
    second.process()
    assert second.upload()["skipped"] == {"already_uploaded": 1}
    assert len(card.videos()) == len(card.service.finished) == 1


@in_process
def test_a_video_in_two_folders_of_one_run_goes_up_once(card):
    for name in ("100", "101"):
        (card.folder / name).mkdir()
        card.put(name + "/a.mp4")
    assert card.process()["done"] == 2
    row = card.upload()
    assert row["done"] == 1 and row["skipped"] == {"already_uploaded": 1}
    (upload,) = card.videos().values()
    whole(upload)
    assert len(card.service.finished) == 1 and card.service.problems == []
    assert card.upload()["skipped"] == {"already_uploaded": 2}


@in_process
def test_the_same_video_under_two_names_in_a_folder_goes_up_once(card):
    for name in ("a.mp4", "b.mp4"):
        card.put(name)
    card.process()
    assert card.upload()["exit_code"] == 0
    (upload,) = card.videos().values()
    whole(upload)
    assert len(card.service.finished) == 1 and card.service.problems == []


@in_process
def test_max_rate_holds_for_videos(card):
    card.put("a.mp4", mv.driven((5000,) * 40))
    card.process()
    begin = time.monotonic()
    assert card.upload("--max_rate", "200")["done"] == 1
    assert time.monotonic() - begin > 0.7


@in_process
def test_a_video_is_finished_as_one_for_its_organization(card):
    card.put("a.mp4")
    card.process("--organization_key", ORGANIZATION["id"])
    assert card.upload()["videos_finished"] == 1
    (request,) = card.service.requests("POST", "finish_upload")
    handle = next(iter(card.videos().values())).handle
    wanted = {"file_handle": handle, "file_type": "mly_camm_video"}
    assert request.json == dict(wanted, organization_id=ORGANIZATION["id"])
    assert [one["organization_id"] for one in card.service.finished] == [ORGANIZATION["id"]]


@in_process
def test_manual_done_holds_a_video(card):
    card.put("a.mp4")
    card.process()
    row = card.upload("--manual_done")
    (upload,) = card.videos().values()
    assert row["exit_code"] == 0 and upload.complete and card.service.finished == []
    assert row["sequences_waiting"] == 1 and "--manual_done" in row["said"]
    assert card.upload()["exit_code"] == 0 and len(card.service.finished) == 1
    whole(upload)


def status(card, *more):
    """What status says, as JSON."""
    ran = run("status", "--import_path", card.folder, "--json", *more)
    return json.loads(ran.stdout)


@in_process
def test_status_counts_videos_by_how_far_they_are(card):
    card.put("a.mp4")
    card.process()
    row = status(card)
    assert (row["done"], row["skipped"], row["failed"]) == (0, {"waiting": 1}, [])
    assert row["next"][0] == "upload" and row["next"][-2:] == ["--videos", "upload"]
    card.put("cut.mp4", cut_movie())
    card.process()
    card.upload()
    row = status(card)
    assert (row["done"], row["skipped"], len(row["failed"])) == (1, {}, 1)
    assert not row["safe_to_delete"]
    (card.folder / "cut.mp4").unlink()
    assert status(card)["done"] == 1


@in_process
def test_status_explains_a_video(card):
    card.put("a.mp4")
    card.process()
    said = run("status", "--import_path", card.folder, "--image", "a.mp4")
    assert said.code == 0 and "a.mp4" in said.stdout and "its track" in said.stdout
    assert "not sent yet" in said.stdout and "5 places" in said.stdout
    card.upload()
    told = run("status", "--import_path", card.folder, "--image", card.folder / "a.mp4").stdout
    assert "uploaded" in told and "not sent yet" not in told


@in_process
def test_page_and_files_of_a_folder_with_videos_are_written(card):
    card.put("a.mp4")
    card.put("cut.mp4", cut_movie())
    making.drive(card.folder, 3)
    card.process()
    card.upload()
    top = card.folder.parent
    page = run("report", "--import_path", card.folder, "--output_path", top / "r.html")
    assert page.code in (0, 1) and "Traceback" not in page.stderr
    assert "a.mp4" in (top / "r.html").read_text("utf-8")
    for ending in ("geojson", "gpx", "csv", "json"):
        path = top / f"r.{ending}"
        ran = run("export", "--import_path", card.folder, "--output_path", path)
        assert ran.code in (0, 1) and "Traceback" not in ran.stderr, ran.stderr
        assert path.stat().st_size > 100


@in_process
def test_videos_are_counted_and_left_alone_by_default(card):
    card.put("a.mp4")
    making.drive(card.folder, 2)
    for tool in ("process", "upload", "process_and_upload"):
        user = () if tool == "upload" else ("--user_name", "demo")
        ran = run(tool, "--import_path", card.folder, *user, "--json")
        row = json.loads(ran.stdout)
        assert row["skipped"]["video"] == 1 and row["found"] == 3
        words = row["words"]["video"]
        assert "--videos upload" in words and "video_process" in words
    assert card.videos() == {}


@needs_ffmpeg
@pytest.mark.parametrize("tool", ["process", "process_and_upload"])
def test_frames_of_videos_are_taken_where_that_is_asked_for(card, tmp_path, tool):
    path = card.folder / "a.mp4"
    path.write_bytes(mv.film(path).add(mv.camms(mv.times()), b"camm").content())
    words = ("--import_path", card.folder, "--user_name", "demo", "--videos", "sample")
    more = ("--video_sample_interval", "1", "--json")
    ran = run(tool, *words, *more)
    assert ran.code == 0, ran.stderr
    taken = sorted(card.folder.rglob("*.jpg"))
    assert len(taken) == 4 or len(taken) == 5
    for number, frame in enumerate(taken):
        assert making.place(frame)[:2] == pytest.approx(mv.place_at(number)[:2], abs=2e-6)
    images = card.service.images()
    assert card.videos() == {} and len(images) == (len(taken) if "upload" in tool else 0)


@in_process
def test_sample_is_not_for_upload(card):
    card.put("a.mp4")
    ran = run("upload", "--import_path", card.folder, "--videos", "sample")
    assert ran.code == 2 and "sample" in ran.stderr and "Traceback" not in ran.stderr


@in_process
@pytest.mark.parametrize("side", [False, True])
def test_upload_alone_takes_the_track_of_a_video_or_of_a_file_beside_it(card, side):
    if side:
        card.put("a.mp4", silent(), gpx=mv.gpx_of())
    else:
        card.put("a.mp4")
    assert card.upload()["done"] == 1
    (upload,) = card.videos().values()
    whole(upload)
    assert len(card.service.finished) == 1
    assert card.upload()["skipped"] == {"already_uploaded": 1}


@in_process
def test_process_and_upload_does_photos_and_videos_in_one_run(card):
    card.put("a.mp4")
    making.drive(card.folder, 3)
    words = ("--import_path", card.folder, "--user_name", "demo", "--videos", "upload")
    ran = run("process_and_upload", *words, "--json")
    row = json.loads(ran.stdout)
    assert ran.code == 0 and row["found"] == row["done"] == 4
    assert len(card.service.images()) == 4 and len(card.service.finished) == 2
    assert card.service.problems == []


@in_process
def test_a_folder_without_a_photo_will_do(card):
    card.put("a.mp4")
    words = ("--import_path", card.folder, "--user_name", "demo")
    ran = run("process_and_upload", *words, "--videos", "upload", "--json")
    assert ran.code == 0 and json.loads(ran.stdout)["done"] == 1
    assert len(card.service.finished) == 1


@in_process
def test_the_camera_that_is_given_goes_up(card):
    card.put("a.mp4")
    card.process("--device_make", "Acme", "--device_model", "Two")
    card.upload()
    (upload,) = card.videos().values()
    moov = mv.below(mv.opened(bytes(upload.content)), b"moov")
    wanted = mv.box(b"@mak", b"Acme") + mv.box(b"@mod", b"Two")
    assert mv.below(moov, b"udta") == wanted


def kinds_sent(card):
    """(kind, time) of the records that went up."""
    (upload,) = card.videos().values()
    content, found = bytes(upload.content), []
    moov = mv.below(mv.opened(content), b"moov")
    camm = [inner for kind, inner in moov if kind == b"trak"][-1]
    table = mv.below(camm, b"mdia", b"minf", b"stbl")
    (place,) = struct.unpack(">Q", mv.below(table, b"co64")[8:16])
    fixed, count = struct.unpack(">II", mv.below(table, b"stsz")[4:12])
    for number in range(count):
        _, kind, when = struct.unpack("<HHd", content[place : place + 12])
        found.append((kind, when if kind == 6 else None))
        place += fixed
    return found


@in_process
@pytest.mark.parametrize("zone, utc", [(None, None), ("+02:00", -7200), ("+00:00", 0)])
def test_the_clock_of_a_camera_goes_up_as_utc_where_its_zone_is_given(card, zone, utc):
    card.put("a.mp4", mv.bare((1000,) * 40, mv.camms(mv.times(), 5)).content())
    card.process(*(["--timezone", zone] if zone else []))
    card.upload()
    wanted = [(5, None)] * 5
    if utc is not None:
        wanted = [(6, mv.CLIP_SECONDS + utc + when) for when in mv.times()]
    assert kinds_sent(card) == wanted


@in_process
@pytest.mark.parametrize("ratio", [(), ("--video_duration_ratio", "10")])
def test_a_time_lapse_has_its_places_where_its_pictures_are(card, ratio):
    """Ten seconds go by in one of the video."""
    payloads = []
    for number in range(4):
        whens = [number * 10 + n for n in range(10)]
        rows = [(mv.CLIP_SECONDS + at, *mv.place_at(at), 1.0, 3) for at in whens]
        payloads.append(device(gps9(rows)))
    card.put("a.mp4", mv.bare((1000,) * 40).add(payloads, b"gpmd").content())
    row = card.process(*ratio)
    assert row["done"] == 1, row
    found = [(when * 10, lat, lon) for when, lat, lon in card.places("a.mp4")]
    assert len(seconds_of(found)) == 40


@in_process
@pytest.mark.parametrize("version", [0, 1])
def test_headers_of_both_versions_are_taken(card, version):
    card.put("a.mp4", mv.bare((1000,) * 40, mv.camms(mv.times()), version=version).content())
    assert card.process()["done"] == card.upload()["done"] == 1
    (upload,) = card.videos().values()
    moov = mv.below(mv.opened(bytes(upload.content)), b"moov")
    header = mv.below(moov, b"mvhd")
    camm = [inner for kind, inner in moov if kind == b"trak"][-1]
    created = mv.below(camm, b"mdia", b"mdhd")[4:12]
    assert header[0] == version and header[-4:] == mv.words(3)
    assert struct.unpack(">Q", created)[0] == mv.CLIP_SECONDS + TO_1904


@in_process
def test_a_journal_that_is_written_anew_keeps_its_videos(card, monkeypatch, quick):
    """Its many lines are put in order; what is known of a video, and its md5, stay."""
    card.put("a.mp4")
    card.put("b.mp4", mv.driven((999,) * 40))
    for _ in range(60):
        card.process("--rerun")
    card.service.faults = [cut(0, method="POST", path="mly_tools_", times=None)]
    card.upload("--offline_limit", "0.001")
    card.service.faults = []
    with mt.Journal(card.folder) as journal:
        journal._compact()
    lines = card.rows()
    assert sum("video" in row for row in lines) == sum("hashed" in row for row in lines) == 2
    seen = midway(monkeypatch, lambda: None)
    assert card.process()["skipped"] == {"already_processed": 2}
    assert card.upload()["done"] == 2 and seen["hashed"] == 0


@pytest.mark.skipif(os.name != "posix" or bool(EXECUTABLE), reason="signals as POSIX has them")
def test_ctrl_c_in_a_video_ends_at_once_and_the_next_run_sends_the_rest(card):
    card.put("a.mp4", mv.driven((600000,) * 40))
    card.process()
    card.service.rate = 5e6
    command = [sys.executable, "-I", "-S", mt.__file__, "upload", "--videos", "upload"]
    command += ["--import_path", str(card.folder)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen(command, **pipes)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and sum(one.size for one in card.videos().values()) < 1e6:
        time.sleep(0.001)
    child.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, said = child.communicate(timeout=60)
    assert soon(time.monotonic() - begin, 2) and child.returncode == 130
    assert b"Traceback" not in said
    settled(card)
    card.service.rate = None
    assert card.upload()["done"] == 1
    (upload,) = card.videos().values()
    whole(upload)
    assert card.service.problems == [] and card.service.wasted() == 0


@in_process
def test_a_video_that_failed_is_left_where_that_is_asked_for(card, quick):
    card.put("a.mp4")
    card.process()
    card.service.faults = [cut(0, method="POST", path="mly_tools_", times=None)]
    card.upload("--offline_limit", "0.001")
    card.service.faults = [status_fault(400, method="POST", path="mly_tools_", times=1)]
    (problem,) = card.upload()["failed"]
    assert problem["file"].endswith("a.mp4") and "400" in problem["wrong"] + problem["value"]
    assert status(card)["failed"] != []
    posts = len(card.service.requests("POST", "mly_tools_"))
    assert len(card.upload("--retry_failed", "no")["failed"]) == 1
    assert len(card.service.requests("POST", "mly_tools_")) == posts
    assert card.upload()["done"] == 1 and card.service.problems == []


@in_process
def test_upload_alone_leaves_out_what_passes_through_an_area(card, own_home):
    card.put("a.mp4")
    row = card.upload("--exclude_area", HOME)
    assert row["failed"][0]["code"] == "through_area" and card.videos() == {}
    for content in tree(card.folder, without="a.mp4").values():
        assert b"47.100" not in content


@in_process
def test_names_of_any_letters_will_do(card):
    card.put("K\u00fcste 1 (\u6d77).MP4", silent(), gpx=mv.gpx_of())
    assert card.process()["done"] == card.upload()["done"] == 1
    assert card.upload()["skipped"] == {"already_uploaded": 1}


@in_process
def test_process_after_an_upload_without_it_sends_nothing_again(card):
    card.put("a.mp4")
    card.upload()
    assert card.process()["exit_code"] == 0
    assert card.upload()["skipped"] == {"already_uploaded": 1}
    assert len(card.videos()) == 1


# ---- faults that somebody found


def fine_clock():
    """A movie that counts 10,000,000 units a second, with 440 s between its two places."""
    made = mv.bare((1000,) * 40, pause=12000, version=1)
    made.add(mv.camms([0, 440]), b"camm", delta=440000)
    header = mv.below(made.moov, b"mvhd")
    length = struct.pack(">IQ", 10000000, 480 * 10000000)
    mv.replace(made.moov, [b"mvhd"], header[:20] + length + header[32:])
    return made.content()


def last_number():
    """A movie whose track has the highest number that there is."""
    made = mv.bare((1000,) * 40, mv.camms(mv.times()))
    header = mv.below(made.traks[0], b"tkhd")
    mv.replace(made.traks[0], [b"tkhd"], header[:12] + b"\xff" * 4 + header[16:])
    return made.content()


@in_process
@pytest.mark.parametrize("make", [fine_clock, last_number])
def test_numbers_of_more_than_32_bits_do_not_end_the_upload(card, make):
    card.put("a.mp4", make())
    card.put("b.mp4")
    card.process()
    assert card.upload()["done"] == len(card.videos()) == 2


@in_process
def test_a_video_without_a_clock_is_not_said_to_be_of_1970(card):
    card.put("a.mp4", silent(created=0), gpx=mv.gpx_of())
    (problem,) = card.process()["failed"]
    assert "1970" not in problem["value"] and "--video_start_time" in problem["remedy"]


@in_process
@pytest.mark.parametrize("name", ["table.mp4", "none_a_chunk.mp4"])
def test_a_damaged_table_is_not_called_a_video_without_pictures(card, name):
    card.put(name, BAD[name][0]())
    (problem,) = card.process()["failed"]
    assert problem["code"] == "damaged"


@in_process
def test_a_track_that_is_put_beside_a_video_helps_at_upload(card):
    """That is what the message tells a person to do, and no more."""
    path = card.put("a.mp4", silent())
    assert card.process()["failed"][0]["code"] == "video_no_track"
    path.with_suffix(".gpx").write_text(mv.gpx_of(), encoding="utf-8")
    assert card.upload()["done"] == 1


@in_process
def test_a_video_that_was_copied_again_is_no_longer_called_cut_off(card):
    """It may be sent, or be told to be processed; not that it is to be copied again."""
    path = card.put("a.mp4", cut_movie())
    card.process()
    path.write_bytes(mv.driven())
    row = card.upload()
    assert row["done"] == 1 or "process" in row["failed"][0]["remedy"]


@in_process
def test_two_videos_that_differ_in_the_middle_alone_both_go_up(card):
    """Its index tells nothing of pictures that are all of one size."""
    content = mv.driven((10000,) * 40)
    card.put("a.mp4", content)
    card.process()
    card.upload()
    second = Card(card.folder.parent / "second", card.service)
    middle = len(content) // 2
    second.put("b.mp4", content[:middle] + b"another" + content[middle + 7 :])
    second.process()
    assert second.upload()["done"] == 1


@needs_ffmpeg
@in_process
def test_keys_of_a_phone_that_ffmpeg_has_copied_are_known(tmp_path):
    """As after trimming a video of a phone with -movflags use_metadata_tags."""
    path = tmp_path / "a.mov"
    path.write_bytes(mv.apple(path).content())
    movie = mt.read_movie(path)
    assert (movie.make, movie.model, movie.zoned) == ("Apple", "iPhone 15", mv.CLIP_SECONDS)


@in_process
@pytest.mark.parametrize(
    "ending, mark", [("gpx", "<trkpt "), ("geojson", '"Point"'), ("csv", "\na.mp4,")]
)
def test_every_place_of_a_video_is_exported(card, ending, mark):
    card.put("a.mp4")
    card.process()
    path = card.folder.parent / f"r.{ending}"
    ran = run("export", "--import_path", card.folder, "--output_path", path, "--json")
    text = path.read_text("utf-8")
    assert json.loads(ran.stdout)["done"] == 1 and "a.mp4" in text
    assert text.count(mark) == len(card.clip("a.mp4")["places"]) > 3


@in_process
def test_descriptions_of_images_leave_videos_out_and_count_them(card):
    card.put("a.mp4")
    making.drive(card.folder, 2)
    card.process()
    path = card.folder.parent / "r.json"
    ran = run("export", "--import_path", card.folder, "--output_path", path, "--json")
    row = json.loads(ran.stdout)
    assert (row["done"], row["skipped"]) == (2, {"video": 1})
    assert len(json.loads(path.read_text("utf-8"))) == 2


@in_process
def test_the_figures_of_a_run_tell_the_way_of_its_videos(card):
    card.put("a.mp4")
    row = card.process()
    assert row["kilometres"] == pytest.approx(0.094, abs=0.002)


@in_process
def test_the_note_of_two_clocks_is_true(card):
    card.put("a.mp4")
    given = mv.CLIP_SECONDS + 3600
    row = card.process("--video_start_time", int(given * 1000))
    first = card.clip("a.mp4")["places"][0][4]
    by_given = "goes by --video_start_time" in row["said"]
    assert first == pytest.approx(given if by_given else mv.CLIP_SECONDS, abs=0.01)


@in_process
def test_what_is_left_is_not_said_to_be_sent(card, quick):
    card.put("a.mp4")
    card.process()
    card.service.faults = [status_fault(400, method="POST", path="mly_tools_")]
    card.upload()
    assert "all videos are sent" not in card.upload("--retry_failed", "no")["said"]


@in_process
def test_a_video_on_its_own_is_named_in_the_singular(card):
    card.put("a.mp4")
    card.process()
    assert "all 1 videos" not in card.upload()["said"]


@in_process
def test_an_altitude_that_cannot_be_is_left_out(card):
    high = mt.re.sub("<ele>[^<]*", "<ele>1e39", mv.gpx_of())
    card.put("a.mp4", silent(), gpx=high)
    assert card.process()["done"] == card.upload()["done"] == 1


@in_process
def test_nobody_guesses_when_a_video_behind_one_of_unknown_length_began(card):
    track = card.folder.parent / "t.gpx"
    track.write_text(mv.gpx_of(mv.times(-2, 60)), encoding="utf-8")
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        card.put(name, b"" if name == "b.mp4" else silent())
    start = int(mv.CLIP_SECONDS * 1000)
    words = ("--geotag_source", "gpx", "--geotag_source_path", track, "--video_start_time", start)
    row = card.process(*words)
    assert [one["code"] for one in row["failed"]] == ["empty", "no_start"] and row["done"] == 1


@in_process
def test_several_videos_cannot_all_begin_at_the_first_point(card):
    track = card.folder.parent / "t.gpx"
    track.write_text(mv.gpx_of(mv.times(-2, 60)), encoding="utf-8")
    words = ("--geotag_source", "gpx", "--geotag_source_path", track, "--use_gps_start_time")
    card.put("a.mp4", silent())
    assert card.process(*words)["done"] == 1
    card.put("b.mp4", silent())
    row = card.process(*words)
    assert {one["code"] for one in row["failed"]} == {"one_start"} and row["done"] == 0


@in_process
def test_a_clock_that_is_ahead_moves_a_video_along_the_track_beside_it(card):
    card.put("a.mp4", silent(), gpx=mv.gpx_of())
    card.process("--offset_time", "1")
    assert card.places("a.mp4")[0][1] == pytest.approx(mv.place_at(-1)[0], abs=1e-7)
    card.put("b.mp4")
    card.process("--offset_time", "1")
    assert card.places("b.mp4")[0][1] == pytest.approx(mv.place_at(0)[0], abs=1e-7)


@in_process
def test_a_track_that_covers_little_of_a_video_does_not_say_that_it_stood(card):
    card.put("a.mp4", silent(), gpx=mv.gpx_of([3.9, 4.5, 9]))
    (one,) = card.process()["failed"]
    assert one["wrong"] == "has a track that covers too little of it"
    assert one["value"] == "0.1 of 4.0 s"


@in_process
def test_a_track_that_covers_a_part_of_a_video_that_moves_is_told(card):
    card.put("a.mp4", silent(), gpx=mv.gpx_of([0, 1, 2]))
    row = card.process()
    assert row["done"] == 1 and "its track covers 2.0 of 4.0 s" in row["said"]


@in_process
def test_no_video_goes_up_that_was_to_be_private(card):
    card.put("a.mp4")
    (problem,) = card.process("--private", "--organization_key", "2002")["failed"]
    assert problem["code"] == "private_video"
    assert card.upload()["failed"][0]["code"] == "private_video" and card.videos() == {}


def _areas_of(north, east, metres, length=20000.0):
    """Whether a straight way of so many metres to the north passes through an area beside it."""
    lat = length / 111320.0
    places = [mt.Sample(float(n), None, 47.0 + n * lat, 8.0, None) for n in (0, 1)]
    wide = 111320.0 * mt.math.cos(mt.math.radians(47.0))
    area = mt.Area(47.0 + north / 111320.0, 8.0 + east / wide, metres)
    return mt.passes_through([area], places)


@pytest.mark.parametrize(
    "north, east, metres, through",
    [
        (10000, 0, 5, True),
        (10000, 100, 90, False),
        (10000, 100, 110, True),
        (-200, 0, 150, False),
        (-200, 0, 250, True),
        (20200, 0, 150, False),
        (3, 0, 5, True),
    ],
)
def test_a_way_between_far_points_is_looked_at_all_along(north, east, metres, through):
    assert _areas_of(north, east, metres) is through


@in_process
def test_a_refused_video_is_refused_under_another_name_too(card):
    path = card.put("a.mp4")
    card.process("--exclude_area", "47.1,8.2,500")
    path.rename(card.folder / "b.mp4")
    assert [one["code"] for one in card.upload()["failed"]] == ["through_area"]
    assert card.videos() == {}


@in_process
def test_files_that_give_the_same_bytes_are_finished_once(card):
    content = mv.driven()
    for n in range(4):
        card.put(f"{n}.mp4", content + struct.pack(">I4sI", 12, b"free", n))
    card.process()
    assert card.upload()["exit_code"] == 0
    asked = [one.json for one in card.service.requests("POST", "finish_upload")]
    assert len(card.videos()) == len(asked) == 1


@in_process
def test_gpx_is_the_first_of_the_files_beside_a_video(card):
    late = mv.nmea_of(start=mv.CLIP_SECONDS - 1)
    card.put(
        "a.mp4",
        silent(),
        csv="time,lat,lon\n2024-05-31T12:00:01Z,1,2\n",
        gpx=mv.gpx_of(),
        nmea=late,
    )
    card.process()
    assert card.places("a.mp4")[0][1] == pytest.approx(mv.place_at(0)[0], abs=1e-7)


@in_process
def test_a_file_beside_a_video_is_found_however_its_name_is_composed(card):
    path = card.put("e\u0301.mp4", silent())
    (path.parent / "\u00e9.gpx").write_text(mv.gpx_of(), encoding="utf-8")
    assert card.process()["done"] == 1


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
@in_process
def test_links_to_videos_are_left_alone_as_those_to_photos(card):
    path = card.put("a.mp4")
    (card.folder / "b.mp4").symlink_to(path)
    (card.folder / "c.mp4").symlink_to(card.folder / "nowhere.mp4")
    for row in (card.process(), card.upload()):
        assert (row["done"], row["skipped"]) == (1, {"link": 2})


@in_process
def test_a_card_with_a_video_that_was_never_sent_is_not_said_to_be_safe(card):
    card.put("a.mp4")
    card.process()
    card.upload()
    words = ("status", "--import_path", card.folder, "--json")
    assert json.loads(run(*words).stdout)["safe_to_delete"] is True
    path = card.put("b.mp4")
    row = json.loads(run(*words).stdout)
    assert (row["safe_to_delete"], row["skipped"]) == (False, {"video": 1})
    path.unlink()
    card.put("a.mp4", mv.driven((999,) * 40))
    assert json.loads(run(*words).stdout)["safe_to_delete"] is False


@in_process
def test_a_video_that_waits_to_be_finished_is_not_said_to_be_safe(card):
    card.put("a.mp4")
    card.process()
    card.upload("--manual_done")
    row = json.loads(run("status", "--import_path", card.folder, "--json").stdout)
    assert row["safe_to_delete"] is False
    assert row["next"] == ["upload", "--import_path", str(card.folder), "--videos", "upload"]


@in_process
@pytest.mark.parametrize("odd", [[], {}, [[1]], [[0, 91, 0, None, None]], [[0, 1, 2, "x", None]]])
def test_a_line_about_a_video_that_cannot_be_is_as_if_there_were_none(card, odd):
    card.put("a.mp4")
    card.process()
    path = card.folder / ".mapillary" / "journal.jsonl"
    rows = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    rows[-1]["places"] = odd
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    assert card.upload()["done"] == 1 and len(card.videos()) == 1


@in_process
def test_a_video_of_which_frames_are_there_is_told(card):
    path = card.put("a.mp4")
    with mt.Journal(card.folder) as journal:
        journal.append([mt.Sampling(str(path), mt.video_digest(str(path)), {})])
    assert "of a.mp4 frames are here, too" in card.process()["said"]


@in_process
def test_frames_above_a_video_are_told_as_well(card):
    """On every card videos lie in a folder below: nothing was said, and a drive went up twice."""
    (card.folder / "100GOPRO").mkdir()
    path = card.put("100GOPRO/a.mp4")
    sampling = mt.Sampling(str(path), mt.video_digest(str(path)), {})
    with mt.Journal(card.folder) as journal:
        journal.append([sampling])
    assert "of a.mp4 frames are here, too" in card.process()["said"]
    notes = mt.Notes()
    with mt.Journal(card.folder) as journal:
        mt._say_whole(sampling, mt.SampleRecord(journal), notes)
    assert notes.lines == ["a.mp4 goes up whole: with its frames it would be there twice"]


@in_process
def test_after_a_video_that_cannot_go_up_the_next_command_lists_it(card):
    card.put("a.mp4", silent())
    row = card.process()
    assert len(row["failed"]) == 1 and row["next"][-2:] == ["--list", "failed"], row["next"]


@needs_ffmpeg
@in_process
def test_the_start_that_is_given_goes_on_in_the_next_folder_or_nobody_guesses(tmp_path):
    """Sampled: four seconds in the first folder; then one whose length is not known."""
    first, second, third = (tmp_path / name for name in "abc")
    for folder in (first, second, third):
        folder.mkdir()
        mv.clip(folder / "v.mp4")
    folders = ("--import_path", first, "--import_path", second, "--import_path", third)
    start = int(mv.CLIP_SECONDS * 1000)
    words = ("--videos", "sample", "--video_start_time", start, "--user_name", "demo", "--json")
    said = run("process", *folders, *words, "--dry_run")
    assert said.code == 0
    run("process", *folders, *words)
    times = [mt.read_found(folder / "v_000001.jpg").clocks[0].text for folder in (first, second)]
    assert [text[-5:] for text in times] == ["00:00", "00:04"]
    (second / "w.mp4").write_bytes(b"")
    row = json.loads(run("process", *folders, *words).stdout)
    codes = [one["code"] for part in row["parts"] for one in part["failed"]]
    assert codes == ["empty", "no_start"]


@in_process
def test_an_upload_reads_the_lines_of_a_folder_a_few_times_however_many_videos(card, monkeypatch):
    for n in range(12):
        card.put(f"{n}.mp4", silent())
    read, clip = [], mt.Journal.clip
    monkeypatch.setattr(
        mt.Journal, "clip", lambda self, name: read.append(name) or clip(self, name)
    )
    card.process()
    read.clear()
    card.upload()
    assert len(read) <= 3 * 12
