"""What goes on, or is told right, beside something that cannot be: folders, photos and times next to those that fail."""

import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import drives
import making
import mapillary_tools
import pytest
from PIL import ImageCms
from conftest import in_process, run, told
from service import Service, status

pytestmark = in_process


def process(folder: Path, *more: Any) -> Dict[str, Any]:
    return told("process", "--import_path", folder, "--user_name", "demo", *more)


# ---- a journal that cannot be written in the middle of a run ------------------------------------


@pytest.fixture
def full(monkeypatch: Any) -> Any:
    """Sets from which time on the journals of folders of a name cannot be written."""

    def set_up(name: str, after: int) -> None:
        add, seen = mapillary_tools.Tail.add, []

        def fails(self: Any, lines: Any, flush: bool) -> None:
            if Path(self.path).parent.parent.name == name:
                seen.append(1)
                if len(seen) > after:
                    raise mapillary_tools.CannotWrite(
                        "cannot_write", "cannot be written", file=self.path
                    )
            add(self, lines, flush)

        monkeypatch.setattr(mapillary_tools.Tail, "add", fails)

    return set_up


@pytest.mark.parametrize("after", [0, 1], ids=["before", "behind"])
def test_a_journal_that_cannot_be_written_ends_the_run_of_no_other_folder(
    after: int, tmp_path: Path, full: Any, monkeypatch: Any
):
    """One of 40 folders on a stick that is full, or that somebody locked, ended all of them."""
    for name in "abc":
        making.drive(tmp_path / "card" / name, 3)
    full("b", after)
    result = process(tmp_path / "card")
    assert result["done"] == 6
    assert result["exit_code"] == 1
    assert {Path(one["file"]).parent.name for one in result["failed"]} == {"b"}
    assert all("waits for" in one["wrong"] for one in result["failed"])
    assert len(result["failed"]) == 3
    monkeypatch.undo()
    again = process(tmp_path / "card")
    assert (again["exit_code"], again["done"]) == (0, 3 if after == 0 else 0)


def test_where_there_is_no_other_folder_the_run_ends_with_one_line(tmp_path: Path, full: Any):
    making.drive(tmp_path / "b", 3)
    full("b", 0)
    result = process(tmp_path / "b")
    assert result["exit_code"] == 11
    assert "journal.jsonl" in result["stopped"]["file"]


# ---- photos as they were --------------------------------------------------------------------------


def mpf(of: bytes) -> bytes:
    """A photo with a second picture behind it, which a segment MPF of the first leads to."""
    block = making.tiff({"0th": {0xB000: (7, b"0100"), 0xB001: (4, 2), 0xB002: (7, bytes(32))}})
    at = of.index(b"\xff\xdb")
    first = len(of) + len(block) + 8
    entries = struct.pack("<IIIHH", 0x030000, first, 0, 0, 0) + struct.pack(
        "<IIIHH", 0, len(of), first - at - 8, 0, 0
    )
    block = block[:-32] + entries
    segment = b"\xff\xe2" + struct.pack(">H", len(block) + 6) + b"MPF\0" + block
    return of[:at] + segment + of[at:] + of


JFIF = making.jpeg(pixels=3)
BARE = {
    "JFIF": JFIF,
    "no JFIF": JFIF[:2] + JFIF[20:],
    "comment": JFIF[:2] + b"\xff\xfe\0\x06Exif" + JFIF[2:],
    "two pictures": mpf(JFIF),
}


def restored(content: bytes, folder: Path) -> bytes:
    """What a photo is after a table, process and restore."""
    photo, table = folder / "card" / "1.jpg", folder / "given.csv"
    photo.parent.mkdir()
    photo.write_bytes(content)
    table.write_text("1.jpg,57.7,11.97,2024:05:06 07:08:09.000\n", encoding="utf-8")
    columns = (
        "--filename_column",
        1,
        "--latitude_column",
        2,
        "--longitude_column",
        3,
        "--timestamp_column",
        4,
    )
    told("process_csv", "--import_path", photo.parent, "--csv_path", table, *columns)
    assert process(photo.parent)["done"] == 1
    assert b"MAPLatitude" in photo.read_bytes()
    assert told("restore", "--import_path", photo.parent)["done"] == 1
    return photo.read_bytes()


@pytest.mark.parametrize("content", BARE.values(), ids=BARE)
def test_a_photo_without_exif_is_restored_to_the_last_byte(content: bytes, tmp_path: Path):
    """An empty Exif segment stayed behind."""
    assert restored(content, tmp_path) == content


def test_an_empty_exif_segment_that_was_there_stays(tmp_path: Path):
    """As above, but for a segment that others left; what it held of ours goes."""
    assert restored(making.jpeg(exif=making.tiff({"0th": {}})), tmp_path).count(b"Exif\0\0") == 1


# ---- a wild point beside a pause ------------------------------------------------------------------


def test_a_wild_point_beside_a_pause_of_a_track_is_left_out_alone():
    """Loggers pause where nobody moves: the point before or behind that was off took half of the track with it, or stayed."""
    wrong = left = honest = 0
    for number in range(120):
        dice = random.Random(f"beside {number}")
        drive = drives.FAULTS["beside a pause"](drives.honest(dice), dice)
        track = mapillary_tools.without_wild(mapillary_tools.Track(drive.fixes, [0], {}, ""), 400.0)
        kept = {point.time for point in track.points}
        lost = {number for number, fix in enumerate(drive.fixes) if fix.time not in kept}
        wrong, left, honest = (
            wrong + len(drive.wrong),
            left + len(drive.wrong - lost),
            honest + len(lost - drive.wrong),
        )
    assert wrong > 200
    assert left <= 0.01 * wrong
    assert honest <= 0.01 * wrong


@pytest.mark.parametrize("pause", ["before", "behind"])
def test_a_photo_that_is_off_beside_a_pause_fails_alone(pause: str, tmp_path: Path):
    """Those behind it failed, up to the next pause."""
    card = tmp_path / "card"
    for n in range(40):
        later = 600 * ((n >= (20 if pause == "before" else 21)) + (n >= 30))
        off = 0.2 if n == 20 else 0.0
        when = mapillary_tools.format_time(1714979289 + n + later, "exif")
        making.photo(card / f"{n:02d}.jpg", lat=57.7 + n * 1e-4 + off, lon=11.97, time=when)
    result = process(card)
    assert [Path(one["file"]).name for one in result["failed"]] == ["20.jpg"]
    assert result["failed"][0]["code"] == "position_jump"


# ---- what was corrected since it was sent ---------------------------------------------------------


def test_status_counts_a_direction_that_was_corrected_since_it_was_sent(
    tmp_path: Path, service: Service, quick: None
):
    """The upload said so, status counted it as uploaded."""
    card, table = tmp_path / "card", tmp_path / "given.csv"
    making.drive(card, 4)
    process(card)
    told("upload", "--import_path", card)
    assert told("status", "--import_path", card)["safe_to_delete"]
    table.write_text("0002.jpg,123\n", encoding="utf-8")
    told(
        "process_csv",
        "--import_path",
        card,
        "--csv_path",
        table,
        "--filename_column",
        1,
        "--heading_column",
        2,
    )
    process(card)
    said = told("status", "--import_path", card)
    assert (said["done"], list(said["skipped"])) == (3, [mapillary_tools.SKIP_OUTDATED])


# ---- EXIF that has no room ------------------------------------------------------------------------


NOISE = bytes(random.Random(1).choices(range(65, 91), k=64900))
FULL = {
    "MakerNote": {"Exif": {0x927C: (7, b"XYZW" + NOISE)}},
    "UserComment": {"Exif": {0x9286: (7, b"ASCII\0\0\0" + NOISE)}},
    "XPComment": {"0th": {0x9C9C: (1, NOISE)}},
}


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not here")
@pytest.mark.parametrize("tag", FULL)
def test_the_remedy_for_a_full_exif_block_names_what_fills_it_and_helps(tag: str, tmp_path: Path):
    """A text that filled it was told as the MakerNote; and the copy lost its colour profile."""
    photo = making.photo(tmp_path / "card" / "1.jpg", lat=57.7, lon=11.97, more=FULL[tag])
    content = photo.read_bytes()
    at = content.index(b"\xff\xdb")
    icc = b"ICC_PROFILE\0\1\1" + ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = b"\xff\xe2" + struct.pack(">H", len(icc) + 2) + icc
    photo.write_bytes(content[:at] + profile + content[at:])
    (problem,) = process(photo.parent)["failed"]
    assert f"without its {tag}" in problem["remedy"], problem
    words = problem["remedy"].split("made by exiftool ")[1].split(", or")[0].split()
    copy = tmp_path / "copy" / "1.jpg"
    names = {"COPY.jpg": str(copy), "FILE": str(photo)}
    subprocess.run(["exiftool", *(names.get(word, word) for word in words)], check=True)
    assert process(copy.parent)["done"] == 1
    assert b"ICC_PROFILE" in copy.read_bytes()


# ---- the end of summer time -----------------------------------------------------------------------


def taken(folder: Path, names: Any, zone: int = 7200, step: int = 10) -> Path:
    """Photos, step seconds apart, around 2024-10-27 01:00 UTC, when the clock of the camera is set back by an hour."""
    for n, name in enumerate(names):
        when = 1729990800 + step * (n - len(names) // 2)
        shown = when + (zone if when < 1729990800 else 3600)
        clock = mapillary_tools.format_time(shown, "exif")
        making.photo(folder / name, lat=52.5 + n * 1e-4, lon=13.4, time=clock)
    return folder


@pytest.mark.skipif(sys.version_info < (3, 9), reason="names of zones need Python 3.9")
def test_the_second_hour_at_the_end_of_summer_time_is_taken(tmp_path: Path):
    """All photos behind it were an hour early, among those before it."""
    card = taken(tmp_path / "card", [f"IMG_{n:04d}.jpg" for n in range(20)])
    result = process(card, "--timezone", "Europe/Berlin")
    assert result["done"] == 20 and result["sequences"] == 1
    assert "IMG_0010.jpg" in result["said"] and "second hour" in result["said"]
    times = [making.description(card / f"IMG_{n:04d}.jpg")["MAPCaptureTime"] for n in (9, 10)]
    assert times == ["2024_10_27_00_59_50_000", "2024_10_27_01_00_00_000"]
    assert process(card, "--timezone", "Europe/Berlin")["done"] == 0


def test_two_trips_in_one_folder_are_no_end_of_summer_time(tmp_path: Path):
    """Names of two trips, the later one first, were told as a clock that was set back."""
    names = [f"late_{n}.jpg" for n in range(10)] + [f"now_{n}.jpg" for n in range(10, 20)]
    assert "behind what it was" not in process(taken(tmp_path / "card", names))["said"]
    far = [f"{n:04d}.jpg" for n in range(20)]
    assert "behind what it was" not in process(taken(tmp_path / "b", far, 3600 + 2400, 1))["said"]
    assert "behind what it was" not in process(taken(tmp_path / "c", far, 3600 + 900, 500))["said"]


# ---- room in EXIF ---------------------------------------------------------------------------------


def ways_of_padded(folder: Path, padding: int, caption: str) -> Path:
    """A photo whose EXIF is filled up with zeros, as cameras do, and a track that leads past it."""
    block = making.exif_tiff(
        make="NIKON", description=caption, lat=57.7, lon=11.97, time="2024:05:06 07:08:10"
    )
    making.photo(folder / "1.jpg", exif=block + bytes(padding))
    points = [(1714979280.0 + n, 57.71 + n * 1e-4, 11.97, 12.0 + n / 10) for n in range(60)]
    return making.gpx(points, folder.parent / "t.gpx")


@pytest.mark.parametrize("padding", [2000, 40000, 64000])
@pytest.mark.parametrize("caption", ["", " " * 31, "x" * 500])
def test_padding_is_taken_once_whatever_was_written_and_restored_before(
    caption: str, padding: int, tmp_path: Path
):
    """After a restore the caption and the GPS IFD had the same bytes, and both were written there."""
    card = tmp_path / "card"
    track = ways_of_padded(card, padding, caption)
    before = (card / "1.jpg").read_bytes()
    led = ("--geotag_source", "gpx", "--geotag_source_path", track)
    for step in (
        (),
        None,
        led,
        led,
        None,
        (),
        (*led, "--organization_key", "1234567890123456"),
        None,
        led,
    ):
        if step is None:
            assert told("restore", "--import_path", card)["done"] == 1
            continue
        assert process(card, *step)["failed"] == []
        assert making.description(card / "1.jpg")["MAPLatitude"] == pytest.approx(57.7, abs=0.02)
        assert making.read_exif(card / "1.jpg")["Make"] == making.read_exif(before)["Make"]
        assert making.place(card / "1.jpg")[1] == pytest.approx(11.97)


@pytest.mark.parametrize(
    "tag, kind, count", [(0x927C, 7, 100000), (0x9286, 7, 70000), (0x927C, 7, 131000)]
)
def test_a_value_that_runs_over_the_end_of_any_segment_refuses_no_photo(
    tag: int, kind: int, count: int, tmp_path: Path
):
    """The rest of a MakerNote that was cut off was told as "Exif of 100580 bytes is too large"."""
    block = bytearray(
        making.exif_tiff(lat=57.7, lon=11.97, more={"Exif": {tag: (kind, b"abcdefghij")}})
    )
    struct.pack_into("<L", block, block.index(struct.pack("<HH", tag, kind)) + 4, count)
    photo = making.photo(tmp_path / "card" / "1.jpg", exif=bytes(block))
    assert process(photo.parent)["done"] == 1
    assert photo.stat().st_size < 3000


@pytest.mark.parametrize("last", [0x010E, 0x010F])
def test_zeros_in_the_middle_are_room_whatever_stands_behind_them(last: int, tmp_path: Path):
    """A block of 65 kB that was nearly all zeros was "too large", or lost its small picture."""
    block = bytearray(
        making.exif_tiff(description="a caption of no interest", lat=57.7, lon=11.97, order="<")
    )
    (count,) = struct.unpack_from("<H", block, 8)
    at = next(
        n for n in range(10, 10 + 12 * count, 12) if struct.unpack_from("<H", block, n)[0] == last
    )
    _, _, size, start = struct.unpack_from("<HHLL", block, at)
    value = bytes(block[start : start + size])
    struct.pack_into("<L", block, at + 8, 65500 - size)
    photo = making.photo(
        tmp_path / "card" / "1.jpg", exif=bytes(block.ljust(65500 - size, b"\0")) + value
    )
    assert process(photo.parent)["done"] == 1
    more = ("--organization_key", "1234567890123456", "--device_make", "a maker with a long name")
    assert process(photo.parent, *more)["done"] == 1
    assert making.description(photo)["MAPOrganizationKey"] == "1234567890123456"


# ---- what makers and programs write in their own way ----------------------------------------------


PREVIEW = making.jpeg((24, 24), pixels=5)
DECISION = (
    b"\xff\xff\xff\xff"
    + struct.pack("<L", 2)
    + b"s" * 20
    + struct.pack("<LLLL", 1, 0, 100, 50)
    + b"t" * 20
)


def samsung(order: str, at: int) -> bytes:
    return b"STMN012\0" + struct.pack(order + "LL", at, len(PREVIEW)) + bytes(60)


def canon(order: str, at: int) -> bytes:
    fields = (
        struct.pack(order + "HHL", 6, 2, 4) + b"IMG\0" + struct.pack(order + "HHLL", 0x83, 4, 1, at)
    )
    return struct.pack(order + "H", 2) + fields + bytes(4)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "maker, note, data, begin", [("SAMSUNG", samsung, PREVIEW, 8), ("Canon", canon, DECISION, 22)]
)
def test_data_of_makers_behind_the_picture_are_where_their_notes_say(
    maker: str, note: Any, data: bytes, begin: int, order: str, tmp_path: Path
):
    """Samsung's previews and Canon's original decision data: the numbers were not moved with them."""

    def made(at: int) -> bytes:
        more = {"Exif": {0x927C: (7, note(order, at))}}
        return making.jpeg(
            exif=making.exif_tiff(
                make=maker, model="M", lat=57.7, lon=11.97, order=order, more=more
            )
        )

    def leads(content: bytes) -> bool:
        place = content.index(note(order, 0)[: 8 if begin == 8 else 14]) + begin
        (at,) = struct.unpack_from(order + "L", content, place)
        return content[at : at + len(data)] == data

    photo = tmp_path / "card" / "1.jpg"
    photo.parent.mkdir()
    photo.write_bytes(made(len(made(0))) + data)
    before = photo.read_bytes()
    assert leads(before)
    assert process(photo.parent)["done"] == 1
    assert photo.read_bytes() != before and leads(photo.read_bytes())
    assert told("restore", "--import_path", photo.parent)["done"] == 1
    assert leads(photo.read_bytes())


@pytest.mark.parametrize("kind", [1, 2, 4, 7])
def test_a_list_of_pictures_of_any_type_moves_with_the_head(kind: int, tmp_path: Path):
    """MPF before Exif: only a list of type UNDEFINED was changed, readers take any."""
    plain = making.jpeg()
    content = mpf(plain)
    entries = struct.pack("<II", 0x030000, len(content) - len(plain))
    content = content.replace(
        struct.pack("<HHL", 0xB002, 7, 32),
        struct.pack("<HHL", 0xB002, kind, 8 if kind == 4 else 32),
    )
    exif = making.exif_tiff(lat=57.7, lon=11.97)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif
    at, place = content.index(b"\xff\xdb"), content.index(entries) + 24
    whole = bytearray(content[:at] + segment + content[at:])
    struct.pack_into("<L", whole, place, struct.unpack_from("<L", whole, place)[0] + len(segment))
    photo = tmp_path / "card" / "1.jpg"
    photo.parent.mkdir()
    photo.write_bytes(bytes(whole))

    def second() -> bytes:
        now = photo.read_bytes()
        (start,) = struct.unpack_from("<L", now, now.index(entries) + 24)
        return now[now.index(b"MPF\0") + 4 + start :]

    assert second() == plain
    assert process(photo.parent)["done"] == 1
    assert second() == plain


RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
META = '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
SPACE = "http://ns.google.com/photos/1.0/panorama/"


def panorama(folder: Path, xmp: str) -> Path:
    content = making.jpeg((128, 64), exif=making.exif_tiff(make="RICOH", lat=57.7, lon=11.97))
    packet = b"http://ns.adobe.com/xap/1.0/\0" + xmp.encode()
    at = content.index(b"\xff\xdb")
    photo = folder / "1.jpg"
    folder.mkdir()
    photo.write_bytes(
        content[:at] + b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet + content[at:]
    )
    return photo


@pytest.mark.parametrize(
    "xmp", [META[:-1] + "/>", f"{META}<rdf:RDF {RDF}/></x:xmpmeta>"], ids=["empty", "closed"]
)
def test_xmp_that_cannot_be_marked_is_told_as_xmp(xmp: str, tmp_path: Path):
    """The advice was to take out the MakerNote."""
    photo = panorama(tmp_path / "card", xmp)
    (problem,) = process(photo.parent, "--panorama")["failed"]
    assert (
        "XMP cannot be marked as a panorama" in problem["wrong"]
        and "ProjectionType=equirectangular" in problem["remedy"]
    )
    assert process(photo.parent)["done"] == 1


def test_the_mark_of_a_panorama_does_not_go_into_a_comment(tmp_path: Path):
    whole = f'{META}<!-- </rdf:RDF> --><rdf:RDF {RDF}><rdf:Description rdf:about=""/></rdf:RDF></x:xmpmeta>'
    photo = panorama(tmp_path / "card", whole)
    assert process(photo.parent, "--panorama")["done"] == 1
    assert mapillary_tools.read_found(str(photo)).sphere


def test_a_panorama_that_is_marked_with_another_prefix_stays_as_it_is(tmp_path: Path):
    marked = f'<rdf:Description rdf:about="" xmlns:p="{SPACE}" p:ProjectionType="equirectangular"/>'
    photo = panorama(tmp_path / "card", f"{META}<rdf:RDF {RDF}>{marked}</rdf:RDF></x:xmpmeta>")
    assert process(photo.parent, "--panorama")["done"] == 1
    assert b"GPano" not in photo.read_bytes()


@pytest.mark.parametrize(
    "name, milli",
    [
        ("2024_05_06_07_08_09_123456.jpg", 123),
        ("2024-05-06T07:08:09.123456Z.jpg", 123),
        ("20240506_070809_123456.jpg", 0),
        ("20240506_070809_123.jpg", 123),
    ],
)
def test_microseconds_of_names_are_read_where_they_are_plain(name: str, milli: int):
    """They were left out; a number of the image is none."""
    seconds, _ = mapillary_tools.file_name_time(name)
    assert seconds is not None and round(seconds % 1 * 1000) == milli


def test_a_time_without_marks_is_read_wherever_it_stands(tmp_path: Path):
    """DateTimeOriginal of ISO's basic form was no time, in GPX it was one."""
    photo = making.photo(tmp_path / "card" / "1.jpg", lat=57.7, lon=11.97, time="20240506T070809")
    assert process(photo.parent)["done"] == 1
    assert making.description(photo)["MAPCaptureTime"] == "2024_05_06_07_08_09_000"


# ---- photos that were renamed, moved or restored in the middle of things ---------------------------


def give(folder: Path, rows: str) -> Dict[str, Any]:
    """process_csv with file names, latitudes and longitudes."""
    table = folder.parent / "places.csv"
    table.write_text(rows, encoding="utf-8")
    columns = ("--filename_column", 1, "--latitude_column", 2, "--longitude_column", 3)
    return told("process_csv", "--import_path", folder, "--csv_path", table, *columns)


@pytest.mark.parametrize("where", ["0002 new.jpg", "b/0002.jpg"])
def test_a_photo_that_moves_between_a_table_and_process_is_restored_as_it_was(
    where: str, tmp_path: Path
):
    """What the table had written was taken for what the photo carried first."""
    card = tmp_path / "card"
    making.drive(card, 3)
    making.photo(card / "b" / "9.jpg", lat=57.71, lon=11.97, time="2024:05:06 08:00:00", pixels=9)
    before = making.place(card / "0002.jpg")
    give(card, "0002.jpg,57.70005,11.97\n")
    assert making.place(card / "0002.jpg") != before
    (card / "0002.jpg").rename(card / where)
    assert process(card)["done"] == 4
    assert told("restore", "--import_path", card)["failed"] == []
    assert making.place(card / where) == before


def test_what_was_moved_or_copied_into_another_folder_is_restored_whatever_folder_comes_first(
    tmp_path: Path,
):
    """The journal that knew it forgot it first; and what an upload alone had seen was "as it was found"."""
    card = tmp_path / "card"
    making.drive(card, 3)
    making.photo(card / "b" / "9.jpg", lat=57.71, lon=11.97, time="2024:05:06 08:00:00", pixels=9)
    process(card)
    (card / "0003.jpg").rename(card / "b" / "0003.jpg")
    shutil.copy2(str(card / "0001.jpg"), str(card / "b" / "copy.jpg"))
    process(card)
    told("restore", "--import_path", card)
    left = [path.name for path in card.rglob("*.jpg") if b"MAPLatitude" in path.read_bytes()]
    assert left == []


@pytest.fixture
def refusing(service: Service, quick: None, monkeypatch: Any) -> Service:
    """A service that finishes no sequence yet."""
    monkeypatch.setenv("MAX_ATTEMPTS", "2")
    service.faults.append(status(400, {"error": "x"}, path="finish", times=None))
    return service


def published(service: Service) -> int:
    """How many images finished sequences have."""
    assert service.problems == []
    return sum(len(one["images"]) for one in service.finished)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_photos_that_were_restored_before_their_sequence_was_finished_are_published(
    all_of_them: bool, tmp_path: Path, refusing: Service
):
    """They were "already uploaded", and nobody asked the service again to finish them."""
    card = tmp_path / "card"
    making.drive(card, 4)
    process(card)
    assert told("upload", "--import_path", card)["exit_code"] == 1
    kept = tmp_path / "0001.jpg"
    if not all_of_them:
        shutil.move(str(card / "0001.jpg"), str(kept))
    told("restore", "--import_path", card)
    if not all_of_them:
        shutil.move(str(kept), str(card / "0001.jpg"))
    assert told("status", "--import_path", card)["safe_to_delete"] is False
    refusing.faults.clear()
    process(card)
    row = told("upload", "--import_path", card)
    assert row["exit_code"] == 0 and published(refusing) == 4
    assert told("status", "--import_path", card)["safe_to_delete"] is True


def test_a_photo_that_was_moved_before_its_upload_is_published(tmp_path: Path, refusing: Service):
    """Its new folder knew that it had been sent, and not in which sequence."""
    card = tmp_path / "card"
    making.drive(card, 3)
    making.photo(card / "b" / "9.jpg", lat=57.71, lon=11.97, time="2024:05:06 08:00:00", pixels=9)
    process(card)
    (card / "0003.jpg").rename(card / "b" / "0003.jpg")
    told("upload", "--import_path", card)
    refusing.faults.clear()
    process(card)
    told("upload", "--import_path", card)
    assert published(refusing) == 4


@pytest.fixture
def sent(tmp_path: Path, service: Service, quick: None) -> Path:
    """A folder of three photos, one of them beside its copy, that were processed and uploaded."""
    card = tmp_path / "card"
    making.drive(card, 3)
    shutil.copy2(str(card / "0002.jpg"), str(card / "0002 (1).jpg"))
    process(card)
    told("upload", "--import_path", card)
    return card


def test_photos_whose_upload_was_held_are_published_after_a_restore(
    tmp_path: Path, service: Service, quick: None
):
    """A guard: nobody asked for their sequence yet; they are processed again, and go into one."""
    card = tmp_path / "card"
    making.drive(card, 3)
    process(card)
    told("upload", "--import_path", card, "--manual_done")
    told("restore", "--import_path", card)
    assert {one["code"] for one in told("upload", "--import_path", card)["failed"]} == {
        "not_processed"
    }
    process(card)
    told("upload", "--import_path", card)
    assert published(service) == 3


@pytest.mark.parametrize(
    "name", ["0002 (1).jpg", "0002 (1) (2).jpg", "0002 - Copy (2).jpg", "Copy of 0002.jpg"]
)
def test_a_copy_beside_a_photo_goes_up_once_whatever_was_written_into_one_of_them(
    name: str, tmp_path: Path, service: Service, quick: None
):
    """Once one of them had been restored, or was a copy of a copy, both went up."""
    card = tmp_path / "card"
    making.drive(card, 3)
    shutil.copy2(str(card / "0002.jpg"), str(card / "0002 (1).jpg"))
    process(card)
    told("restore", "--import_path", card)
    shutil.copy2(str(card / "0002 (1).jpg"), str(tmp_path / "x.jpg"))
    shutil.move(str(tmp_path / "x.jpg"), str(card / name))
    process(card)
    told("upload", "--import_path", card)
    assert published(service) == 3


def test_a_copy_of_a_photo_that_was_sent_and_restored_is_not_sent(sent: Path, service: Service):
    """The photo was no longer worked on, and so its copy was none any more."""
    told("restore", "--import_path", sent)
    process(sent)
    told("upload", "--import_path", sent)
    assert published(service) == 3


def test_a_copy_that_nobody_processed_is_not_sent_beside_its_photo(sent: Path, service: Service):
    """It carries a description, and was sent by that."""
    shutil.copy2(str(sent / "0002.jpg"), str(sent / "0002 (2).jpg"))
    assert told("upload", "--import_path", sent)["done"] == 0
    assert published(service) == 3


def test_a_sequence_with_copies_of_another_that_is_held_does_not_wait_for_ever(
    tmp_path: Path, service: Service, quick: None
):
    """Each waited until the other was finished, in this run and all that came; exit code 0."""
    card = tmp_path / "card"
    for n in range(7):
        folder, time = (
            card if n < 4 else card / "b",
            mapillary_tools.format_time(1714979289 + 2 * n, "exif"),
        )
        making.photo(
            folder / f"{n:04d}.jpg", lat=57.7 + n * 1e-4, lon=11.97, time=time, pixels=n + 1
        )
    shutil.copy2(str(card / "b" / "0004.jpg"), str(card / "c_0004.jpg"))
    process(card)
    told("upload", "--import_path", card, "--manual_done")
    shutil.copy2(str(card / "b" / "0005.jpg"), str(card / "c_0005.jpg"))
    process(card)
    told("upload", "--import_path", card)
    row = told("upload", "--import_path", card)
    assert published(service) == 7
    assert row["skipped"].keys() == {mapillary_tools.SKIP_UPLOADED}


# ---- told right -----------------------------------------------------------------------------------


def test_the_first_frame_of_a_video_without_a_clock_has_a_time(tmp_path: Path):
    """It was at the first second of 1970, "that of no picture": the others were put where it had been."""
    for n in range(4):
        when = mapillary_tools.format_time(2.0 * n, "exif")
        making.photo(
            tmp_path / "card" / f"{n}.jpg", time=when, subsec="000", offset="+00:00", pixels=n + 1
        )
    track = making.gpx(
        [(1714979289 + n, 57.7 + n * 1e-4, 11.97) for n in range(60)], tmp_path / "t.gpx"
    )
    led = ("--geotag_source", "gpx", "--geotag_source_path", track, "--use_gps_start_time")
    assert process(tmp_path / "card", *led)["done"] == 4
    places = [making.description(tmp_path / "card" / f"{n}.jpg")["MAPLatitude"] for n in range(4)]
    assert places == pytest.approx([57.7, 57.7002, 57.7004, 57.7006])


def test_zeros_in_place_of_a_time_are_none(tmp_path: Path):
    """A guard: what programs write where they know no time."""
    making.photo(tmp_path / "card" / "1.jpg", lat=57.7, lon=11.97, time="1970:01:01 00:00:00")
    assert [one["code"] for one in process(tmp_path / "card")["failed"]] == ["no_time"]


def test_status_names_a_photo_that_can_no_longer_be_read(tmp_path: Path):
    """The run before said that it failed, and to ask status, which had it as waiting."""
    making.drive(tmp_path / "card", 3)
    process(tmp_path / "card")
    photo = tmp_path / "card" / "0002.jpg"
    photo.write_bytes(photo.read_bytes()[:400])
    assert len(process(tmp_path / "card")["failed"]) == 1
    assert [
        Path(one["file"]).name
        for one in told("status", "--import_path", tmp_path / "card")["failed"]
    ] == ["0002.jpg"]


def test_an_offset_that_does_nothing_is_told(tmp_path: Path):
    """Beside --time_source gps it changed nothing, in silence."""
    making.drive(
        tmp_path / "card", 3, gps_date="2024:05:06", gps_time=lambda n: f"05:08:{9 + 2 * n:02d}"
    )
    said = process(tmp_path / "card", "--time_source", "gps", "--offset_time", "5")["said"]
    assert "--offset_time does nothing with the times of 3 images" in said


# ---- rides ----------------------------------------------------------------------------------------


def jumps(fixes: Any) -> Any:
    return [one.photo for one in mapillary_tools.jumps_of(fixes, 400.0)]


def along(metres: Any, step: float) -> Any:
    """Fixes on a straight way, by metres, step seconds apart."""
    return [
        mapillary_tools.Fix(1.7e9 + step * n, 57.7 + one / 111320, 11.97)
        for n, one in enumerate(metres)
    ]


def test_a_bus_that_stands_and_goes_is_nowhere_wrong():
    """15 photos at each stop and three between them: the stops were "where nobody gets in the time", at 58 km/h."""
    metres, at = [], 0.0
    for _ in range(6):
        metres += [at] * 15 + [at + 161.0, at + 322.0]
        at += 483.0
    assert jumps(along(metres, 10.0)) == []


@pytest.mark.parametrize("speed, renewed, step", [(14.0, 2, 5.0), (5.0, 6, 5.0), (12.0, 5, 2.0)])
def test_a_receiver_that_renews_its_fix_now_and_then_is_nowhere_wrong(
    speed: float, renewed: int, step: float
):
    """Telephones: each run of equal places lies on the way from the one before to the one behind."""
    assert jumps(along([n // renewed * renewed * step * speed for n in range(60)], step)) == []


@pytest.mark.parametrize("begin", [60, 280, 520])
def test_a_place_that_a_receiver_repeats_costs_a_track_those_points_alone(begin: int):
    """A tunnel near an end of a track: all before it, or behind, was left out."""
    metres = [25.0 * (begin if begin < n < begin + 40 else n) for n in range(600)]
    track = mapillary_tools.without_wild(
        mapillary_tools.Track(along(metres, 1.0), [0], {}, ""), 400.0
    )
    assert len(track.points) == 600 - 39


@pytest.mark.parametrize("zone", [7200, 19800, 20700, -12600, 45900])
def test_the_offset_for_a_clock_that_is_days_off_in_an_odd_zone_is_right(zone: int, tmp_path: Path):
    """It had the sign of the zone turned round, which is right where that is in use as well."""
    for n in range(20):
        when = mapillary_tools.format_time(1714979300 + 2 * n + zone + 86400, "exif")
        making.photo(tmp_path / "card" / f"{n}.jpg", time=when, pixels=n + 1)
    track = making.gpx(
        [(1714979289 + n, 57.7 + n * 1e-4, 11.97) for n in range(60)], tmp_path / "t.gpx"
    )
    said = process(tmp_path / "card", "--geotag_source", "gpx", "--geotag_source_path", track)[
        "said"
    ]
    assert f"--offset_time {86400 + zone} they would meet: 20 of 20" in said


@pytest.mark.parametrize("first", [946684800, 1136073600, 1714979289 - 37234, 1714979289 - 259200])
def test_gps_times_of_before_the_first_fix_do_not_count(first: int, tmp_path: Path):
    """Beside --time_source gps the first photos went up with the day of the firmware, or of the last trip."""
    for n in range(20):
        when, gps = 1714979289 + 2 * n, (first if n < 5 else 1714979289) + 2 * n
        told_by_gps = mapillary_tools.format_time(gps, "exif")
        fields = {"gps_date": told_by_gps[:10], "gps_time": told_by_gps[11:]}
        clock = mapillary_tools.format_time(when, "exif")
        making.photo(
            tmp_path / "card" / f"{n:02d}.jpg",
            lat=57.7 + n * 1e-4,
            lon=11.97,
            time=clock,
            pixels=n + 1,
            **fields,
        )
    assert process(tmp_path / "card", "--time_source", "gps")["sequences"] == 1
    assert (
        making.description(tmp_path / "card" / "00.jpg")["MAPCaptureTime"]
        == "2024_05_06_07_08_09_000"
    )


def test_a_clock_that_was_set_in_the_middle_goes_by_gps(tmp_path: Path):
    """A guard: where the clock jumps and GPS goes on, GPS is right."""
    for n in range(20):
        gps = mapillary_tools.format_time(1714979289 + 2 * n, "exif")
        clock = mapillary_tools.format_time(1714979289 + 2 * n + (3600 * 5 if n < 5 else 0), "exif")
        fields = {"gps_date": gps[:10], "gps_time": gps[11:]}
        making.photo(
            tmp_path / "card" / f"{n:02d}.jpg",
            lat=57.7 + n * 1e-4,
            lon=11.97,
            time=clock,
            pixels=n + 1,
            **fields,
        )
    process(tmp_path / "card", "--time_source", "gps")
    assert (
        making.description(tmp_path / "card" / "00.jpg")["MAPCaptureTime"]
        == "2024_05_06_07_08_09_000"
    )


def test_a_copy_of_a_card_whose_upload_was_refused_once_is_in_one_sequence(
    tmp_path: Path, service: Service, quick: None
):
    """The photo that was refused went up beside its copy, in the next run."""
    card = tmp_path / "card"
    making.drive(card / "a", 3)
    shutil.copytree(str(card / "a"), str(card / "b"))
    for n, path in enumerate(sorted((card / "a").glob("*.jpg"))):
        content = making.jpeg(exif=making.exif_block(path.read_bytes()), pixels=n + 20)
        path.write_bytes(content)
        (card / "b" / path.name).write_bytes(content)
    process(card)
    service.faults.append(status(400, {"error": "x"}, path="mly_tools_", times=1))
    for _ in range(4):
        told("upload", "--import_path", card)
    assert published(service) == 3


@pytest.mark.parametrize("digits", [309, 5000])
@pytest.mark.parametrize("option", ["--workers", "--offset_time", "--max_gap"])
def test_a_number_that_is_larger_than_any_is_refused(option: str, digits: int, tmp_path: Path):
    """A traceback."""
    ran = run("process", "--import_path", tmp_path, "--user_name", "me", option, "1" * digits)
    assert ran.code == 2 and ran.stderr.startswith(f"mapillary_tools: {option} must be ")


def test_a_panorama_without_exif_that_cannot_be_marked_ends_no_run(tmp_path: Path):
    """A traceback."""
    photo = panorama(tmp_path / "card", META[:-1] + "/>")
    content = photo.read_bytes()
    block = making.exif_block(content)
    assert block is not None
    photo.write_bytes(
        content.replace(b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block, b"")
    )
    give(photo.parent, "1.jpg,57.7,11.97\n")
    result = process(photo.parent, "--panorama")
    assert result["exit_code"] == 1 and len(result["failed"]) == 1


@pytest.mark.skipif(sys.version_info < (3, 9), reason="names of zones need Python 3.9")
def test_the_second_hour_is_taken_behind_a_pause_and_ends(tmp_path: Path):
    """A stop at a traffic light kept it from being seen."""
    for n in range(20):
        when = 1729990800 + 2 * (n - 10) + (300 if n >= 10 else 0)
        clock = mapillary_tools.format_time(when + (7200 if n < 10 else 3600), "exif")
        making.photo(tmp_path / "card" / f"{n:04d}.jpg", lat=52.5 + n * 1e-4, lon=13.4, time=clock)
    process(tmp_path / "card", "--timezone", "Europe/Berlin")
    assert (
        making.description(tmp_path / "card" / "0010.jpg")["MAPCaptureTime"]
        == "2024_10_27_01_05_00_000"
    )
