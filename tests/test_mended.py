"""Faults that a look at the whole found, and that do not come back: what goes up once, times, positions, tracks, tables."""

import collections
import functools
import itertools
import os
import random
import re
import string
import struct
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import making
import making_tracks as tracks
import making_videos as videos
import pytest
from conftest import as_nobody, in_process, process, run, told
from service import Fault, Photo, Service, status, write_config

import mapillary_tools as mt

pytestmark = [in_process, pytest.mark.slow]

MORNING = "2024:05:06 07:08:09"
NOON = 1714979289  # MORNING in seconds since 1970
WEEKS = 1024 * 7 * 86400


def said_by(folder: Path, *more: Any) -> str:
    """What processing a folder says in words."""
    ran = run("process", "--import_path", folder, "--user_name", "demo", "--advanced", *more)
    return ran.stdout + ran.stderr


def taken(path: Path) -> Optional[str]:
    """The capture time that was written into a photo."""
    return making.description(path).get("MAPCaptureTime")


def stamped(clock: str) -> str:
    """A time of EXIF as it is written into the description."""
    return re.sub("[: ]", "_", clock) + "_000"


# ---- what is at the service already --------------------------------------------------------------


class Card:
    """A folder of photos that has gone up, and the service that has them."""

    def __init__(self, folder: Path, service: Service) -> None:
        self.folder, self.service = folder, service
        making.drive(folder, 5)
        assert self.again()["done"] == 5 and self.state() == (5, [5])

    def path(self, number: int) -> Path:
        return self.folder / f"{number:04d}.jpg"

    def again(self, *more: Any) -> Dict[str, Any]:
        words = ["--import_path", self.folder, "--user_name", "demo", "--advanced", *more]
        return told("process_and_upload", *words)

    def upload(self, *more: Any) -> Dict[str, Any]:
        return told("upload", "--import_path", self.folder, *more)

    def state(self) -> Tuple[int, List[int]]:
        """How many images the service has, and how many each finished sequence has; none is in two."""
        named = self.in_sequences()
        assert self.service.problems == []
        assert not [key for key, count in collections.Counter(named).items() if count > 1]
        sizes = [len(one["images"]) for one in self.service.finished]
        return len(self.service.images()), sizes

    def in_sequences(self) -> List[str]:
        return [key for one in self.service.finished for key in one["images"]]

    def renamed(self, names: Dict[int, int]) -> None:
        """Give photos the numbers of others."""
        for number in names:
            self.path(number).rename(self.folder / f"{number}.moved")
        for number, other in names.items():
            (self.folder / f"{number}.moved").rename(self.path(other))


@pytest.fixture
def card(tmp_path: Path, service: Service, quick: Any) -> Card:
    return Card(tmp_path / "card", service)


SHIFTED = ("--offset_time", "5", "--cutoff_time", "1")


def test_photos_with_other_options_are_not_finished_a_second_time(card: Card) -> None:
    for _ in range(2):
        card.again(*SHIFTED)
        assert card.state() == (5, [5])


def placed_by_table(card: Card, *numbers: int) -> None:
    """Two photos moved by a table, which makes a new sequence of them."""
    table = card.folder.parent / "table.csv"
    table.write_text("".join(f"{number:04d}.jpg,58.1,12.1\n" for number in numbers), "utf-8")
    columns = ["--filename_column", 1, "--latitude_column", 2, "--longitude_column", 3]
    words = ["--import_path", card.folder, "--csv_path", table, *columns]
    assert told("process_csv", *words)["done"] == len(numbers)


def test_reupload_with_the_same_sequence_finishes_it_anew_and_not_a_third_time(card: Card) -> None:
    process(card.folder, "--offset_time", "5")
    assert card.upload("--reupload")["done"] == 5 and card.state() == (10, [5, 5])
    for more in ((), ("--cutoff_time", "1")):
        card.again("--offset_time", "5", *more)
        assert card.state() == (10, [5, 5])


def test_photos_that_a_table_moved_are_not_finished_a_second_time(card: Card) -> None:
    placed_by_table(card, 4, 5)
    card.again()
    assert card.state() == (5, [5])


def test_photos_that_a_table_moved_are_finished_anew_by_reupload(card: Card) -> None:
    placed_by_table(card, 4, 5)
    process(card.folder)
    assert card.upload("--reupload")["done"] == 2 and card.state() == (7, [5, 2])


def test_a_new_photo_of_the_same_second_is_finished_and_the_others_are_not_again(
    card: Card,
) -> None:
    making.photo(card.path(0), time="2024:05:06 07:08:13", lat=57.70021, lon=11.97, pixels=77)
    card.again()
    assert card.state() == (6, [5, 1])
    card.again()
    assert card.state() == (6, [5, 1])


def test_reupload_finishes_the_outdated_ones_and_they_are_not_finished_a_third_time(
    card: Card,
) -> None:
    process(card.folder, *SHIFTED)
    row = card.upload("--reupload")
    count, sizes = card.state()
    assert row["done"] == 5 and count == 10 and sum(sizes) == 10
    for more in ((), ("--cutoff_time", "1")):
        card.again("--offset_time", "5", *more)
        assert card.state() == (count, sizes)


@pytest.mark.parametrize(
    "names",
    [{5: 6, 4: 5, 3: 4, 2: 3, 1: 2}, {2: 3, 3: 2}],
    ids=["renumbered", "swapped"],
)
def test_photos_of_other_names_do_not_go_up_again(card: Card, names: Dict[int, int]) -> None:
    card.renamed(names)
    for _ in range(2):
        assert card.again()["failed"] == []
        assert card.state() == (5, [5])


def test_a_twin_beside_a_photo_goes_up(card: Card) -> None:
    card.path(9).write_bytes(card.path(2).read_bytes())
    card.again()
    assert sum(card.state()[1]) == 6
    before = card.state()
    card.again()
    assert card.state() == before


# ---- files that are changed after they have gone up ----------------------------------------------


def test_another_picture_of_the_same_name_second_and_size_goes_up(card: Card) -> None:
    making.photo(card.path(3), time="2024:05:06 07:08:13", lat=57.7002, lon=11.97, pixels=99)
    row = card.again()
    assert row["failed"] == [] and card.state() == (6, [5, 1])
    card.again()
    assert card.state() == (6, [5, 1])


@pytest.mark.parametrize("length", [0, 900], ids=["emptied", "truncated"])
def test_a_photo_that_was_cut_off_after_the_upload_is_failed(card: Card, length: int) -> None:
    with card.path(3).open("r+b") as stream:
        stream.truncate(length)
    for row in (process(card.folder), card.again()):
        assert [Path(one["file"]).name for one in row["failed"]] == ["0003.jpg"], row
    assert row["skipped"] == {"already_uploaded": 4} and card.state() == (5, [5])


def looked_at(monkeypatch: Any) -> List[str]:
    """The names of the photos whose pictures are looked at from now on."""
    looked: List[str] = []
    picture_at = mt.picture_at

    def look(place: Any, name: str, config: Any) -> Optional[str]:
        looked.append(name)
        return picture_at(place, name, config)

    monkeypatch.setattr(mt, "picture_at", look)
    return looked


def tagged(path: Path) -> None:
    """Add a tag to a photo as another program does, the picture as it was."""
    piexif = mt.piexif()
    tags = piexif.load(str(path))
    tags["0th"][0x8298] = b"by somebody, all rights reserved"
    piexif.insert(piexif.dump(tags), str(path))


def corrected(path: Path, **tags: Any) -> None:
    """Change tags of a photo as another program does: position=(lat, lon), clock, heading."""
    piexif = mt.piexif()
    exif = piexif.load(str(path))
    if "position" in tags:
        lat, lon = tags["position"]
        exif["GPS"].update({1: b"N", 2: tuple(making.degrees(lat))})
        exif["GPS"].update({3: b"E", 4: tuple(making.degrees(lon))})
    if "clock" in tags:
        exif["Exif"][0x9003] = tags["clock"].encode()
    if "heading" in tags:
        exif["GPS"].update({16: b"T", 17: (tags["heading"], 1)})
    piexif.insert(piexif.dump(exif), str(path))


def test_a_position_put_right_by_another_program_after_processing_counts(tmp_path: Path) -> None:
    second = making.drive(tmp_path / "card", 3)[1]
    original = making.read_exif(second)
    process(tmp_path / "card")
    corrected(second, position=(57.70015, 11.9701))
    assert process(tmp_path / "card")["found"] == 3
    assert making.description(second)["MAPLatitude"] == 57.70015
    assert making.description(second)["MAPCaptureTime"] == "2024_05_06_07_08_11_000"
    assert process(tmp_path / "card")["skipped"] == {"already_processed": 3}
    told("restore", "--import_path", tmp_path / "card")
    assert "MAPLatitude" not in making.description(second)
    there = making.read_exif(second)
    others = {tag for tag in there if there[tag] != original.get(tag)}
    assert others == {"GPSLatitude", "GPSLongitude", "ExifPointer", "GPSPointer"}


@pytest.mark.parametrize("tag", ["clock", "heading"])
def test_a_time_or_a_direction_put_right_after_processing_counts(tag: str, tmp_path: Path) -> None:
    photos = making.drive(tmp_path / "card", 3, heading=5.0)
    process(tmp_path / "card")
    corrected(
        photos[2], **{"clock": {"clock": "2024:05:06 07:08:15"}, "heading": {"heading": 90}}[tag]
    )
    process(tmp_path / "card")
    row = making.description(photos[2])
    if tag == "clock":
        assert row["MAPCaptureTime"] == "2024_05_06_07_08_15_000"
    else:
        assert row["MAPCompassHeading"]["TrueHeading"] == 90.0
    assert row["MAPLatitude"] == 57.7002


def test_a_position_put_right_counts_before_that_of_a_table(tmp_path: Path) -> None:
    photos = making.drive(tmp_path / "card", 3)
    table = tmp_path / "rows.csv"
    table.write_text("filename,latitude,longitude\n0002.jpg,57.7003,11.97\n", encoding="utf-8")
    words = "--header --filename_column 1 --latitude_column 2 --longitude_column 3".split()
    told("process_csv", "--import_path", tmp_path / "card", "--csv_path", table, *words)
    process(tmp_path / "card")
    assert making.description(photos[1])["MAPLatitude"] == 57.7003
    corrected(photos[1], position=(57.7005, 11.97))
    process(tmp_path / "card")
    assert making.description(photos[1])["MAPLatitude"] == 57.7005


def test_what_a_track_gave_stands_where_another_program_wrote_the_same_again(
    tmp_path: Path,
) -> None:
    """An editor writes all tags again, positions in other fractions: nothing was put right."""
    photos = making.drive(tmp_path / "card", 3, lat=0.0, lon=0.0, step=0.0)
    track = making.gpx(
        [(NOON + at, 57.7 + at * 1e-5, 11.97) for at in range(-5, 15)], tmp_path / "t.gpx"
    )
    more = ("--geotag_source", "gpx", "--geotag_source_path", track)
    process(tmp_path / "card", *more)
    was = making.description(photos[1])
    corrected(photos[1], position=(was["MAPLatitude"], was["MAPLongitude"]))
    tagged(photos[1])
    assert process(tmp_path / "card", *more)["skipped"] == {"already_processed": 3}
    told("restore", "--import_path", tmp_path / "card")
    assert making.place(photos[1]) in (None, (0.0, 0.0, None))


def test_a_tag_added_to_a_photo_does_not_send_it_again(card: Card) -> None:
    tagged(card.path(3))
    for _ in range(2):
        assert card.again()["failed"] == [] and card.state() == (5, [5])


def test_an_original_put_back_with_another_tag_does_not_go_up_and_is_looked_at_once(
    card: Card, monkeypatch: Any
) -> None:
    looked = looked_at(monkeypatch)
    making.photo(card.path(3), time="2024:05:06 07:08:13", lat=57.7002, lon=11.97, pixels=2)
    tagged(card.path(3))
    for _ in range(3):
        assert card.again()["failed"] == [] and card.state() == (5, [5])
    assert looked == ["0003.jpg"]


def test_a_picture_that_was_retouched_with_its_tags_kept_goes_up(card: Card) -> None:
    block = making.exif_block(card.path(3).read_bytes())
    card.path(3).write_bytes(making.jpeg((64, 48), block, 99))
    card.again()
    assert card.state() == (6, [5, 1])


def test_a_photo_deleted_before_its_sequence_was_finished_is_in_it(
    tmp_path: Path, service: Service, quick: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("NUMBER_THREADS", "1")
    paths = making.drive(tmp_path / "card", 6)
    process(tmp_path / "card")
    service.faults.append(status(500, path="mly_tools_", method="POST", times=None, after=3))
    told("upload", "--import_path", tmp_path / "card", "--offline_limit", "0.01")
    (there,) = [key for key, one in service.images().items() if one.complete][:1]
    assert service.finished == [] and sum(one.complete for one in service.images().values()) == 3
    del service.faults[:]
    paths[0].unlink()
    row = told("upload", "--import_path", tmp_path / "card")
    assert (row["exit_code"], service.problems) == (0, [])
    assert [len(one["images"]) for one in service.finished] == [6]
    assert there in service.finished[0]["images"]


@pytest.fixture
def half(tmp_path: Path, service: Service, quick: Any, monkeypatch: Any) -> List[Path]:
    """Photos of which the service has three of six, and no finished sequence."""
    monkeypatch.setenv("NUMBER_THREADS", "1")
    paths = making.drive(tmp_path / "card", 6)
    process(tmp_path / "card")
    service.faults.append(status(500, path="mly_tools_", method="POST", times=None, after=3))
    told("upload", "--import_path", tmp_path / "card", "--offline_limit", "0.01")
    del service.faults[:]
    return paths


def finished(service: Service) -> List[int]:
    assert service.problems == []
    return [len(one["images"]) for one in service.finished]


def test_a_deleted_photo_of_an_area_that_is_left_out_is_not_finished(
    half: List[Path], service: Service
) -> None:
    with mt.Journal(half[0].parent, write=False) as journal:
        image = journal.image(half[0].name)
    assert image is not None and image.fix is not None
    half[0].unlink()
    area = f"{image.fix.lat},{image.fix.lon},5"
    told("upload", "--import_path", half[0].parent, "--exclude_area", area)
    assert finished(service) == [5]


def test_a_photo_renamed_before_its_sequence_was_finished_is_in_one(
    half: List[Path], service: Service
) -> None:
    half[0].rename(half[0].parent / "a0001.jpg")
    words = ["--import_path", half[0].parent, "--user_name", "demo"]
    for _ in range(2):
        assert told("process_and_upload", *words)["exit_code"] == 0
    named = [key for one in service.finished for key in one["images"]]
    assert service.problems == [] and len(named) == len(set(named)) == 6
    assert sum(one.complete for one in service.images().values()) == 6


def test_status_knows_what_other_sequences_have(card: Card) -> None:
    process(card.folder, "--cutoff_time", "1")
    card.upload()
    row = told("status", "--import_path", card.folder)
    assert row["safe_to_delete"] and not row["next"], row


def test_status_goes_on_with_a_photo_that_was_changed_and_not_processed(card: Card) -> None:
    path = card.path(3)
    data = path.read_bytes()
    at = data.index(b"\xff\xdb")
    path.write_bytes(data[:at] + b"\xff\xfe\0\4hi" + data[at:])
    for _ in range(2):
        assert card.upload()["exit_code"] == 0 and card.state() == (5, [5])
        assert told("status", "--import_path", card.folder)["done"] == 5


def test_what_was_sent_anew_is_none_of_what_was_finished(tmp_path: Path) -> None:
    """As the journals of earlier versions have it, which took it out of no other sequence."""
    lines: List[Any] = [
        mt.Sent("a.jpg", "s", "sent", key="k", handle="1"),
        mt.Manifest("x", "s", ("a.jpg", "b.jpg"), "k", "h", "c"),
        mt.Sent("a.jpg", "s", "started", key="l"),
        mt.Sent("a.jpg", "s", "sent", key="l", handle="2"),
    ]
    with mt.Journal(tmp_path) as journal:
        journal.append(lines)
        assert [one.images for one in journal.manifests("s")] == [("b.jpg",)]
    with mt.Journal(tmp_path, write=False) as journal:
        assert [one.images for one in journal.manifests("s")] == [("b.jpg",)]


# ---- whose a token is ----------------------------------------------------------------------------


@pytest.fixture
def annas(tmp_path: Path, own_home: Path, monkeypatch: Any) -> Iterator[Callable[..., Any]]:
    """A function that uploads three photos of anna's with the token of demo, and gives what came of that."""
    started: List[Service] = []

    def upload(*faults: Fault) -> Tuple[Dict[str, Any], Service]:
        service = Service(faults)
        started.append(service)
        service.__enter__()
        for name, value in service.environment(own_home / "config").items():
            monkeypatch.setenv(name, value)
        write_config(own_home / "config", user_name="anna")
        making.drive(tmp_path / "card", 3)
        told("process", "--import_path", tmp_path / "card", "--user_name", "anna")
        return told("upload", "--import_path", tmp_path / "card"), service

    yield upload
    for one in started:
        one.__exit__()


def test_with_the_token_of_another_account_nothing_is_sent(annas: Any) -> None:
    row, service = annas()
    assert row["exit_code"] == 9 and "this token belongs to demo, not to anna" in row["said"]
    assert service.requests("POST") == [] and len(service.requests(path="/me$")) == 1


def test_a_service_that_does_not_say_whose_a_token_is_is_believed(annas: Any, quick: Any) -> None:
    row, service = annas(status(404, path="/me$", times=None))
    assert row["exit_code"] == 0 and len(service.finished) == 1
    assert len(service.requests(path="/me$")) == 1


def test_whose_a_token_is_is_asked_once_a_run(card: Card) -> None:
    making.photo(card.path(6), time="2024:05:06 09:08:13", lat=57.8, lon=11.97, pixels=7)
    making.photo(card.path(7), time="2024:05:06 10:08:13", lat=57.9, lon=11.97, pixels=8)
    before = len(card.service.requests(path="/me$"))
    card.again()
    assert (before, len(card.service.requests(path="/me$"))) == (1, 2)
    assert card.state() == (7, [5, 1, 1])


# ---- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_interrupt_while_threads_start_is_an_interrupt(at: int, monkeypatch: Any) -> None:
    starts = itertools.count()
    start = mt.threading.Thread.start

    def interrupted(thread: Any) -> None:
        if next(starts) == at:
            raise KeyboardInterrupt
        start(thread)

    crew = mt.Crew(mt.Wire(mt.Limits()))
    monkeypatch.setattr(mt.threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        crew.run(iter(()), 4)
    assert crew.wire.stop.is_set()


@pytest.mark.parametrize("body", [{"data": "x"}, {"data": None}, {}, {"error": {"code": 1}}, []])
def test_an_answer_without_a_list_of_images_is_not_taken_for_nothing_there(
    body: Any, tmp_path: Path, own_home: Path, quick: Any, monkeypatch: Any
) -> None:
    shot = Photo("100", 57.701, 11.961, NOON * 1000, {"1024": making.jpeg((16, 16))})
    box = ["57.70", "57.71", "11.96", "11.97", "--output_path", tmp_path / "out"]
    with Service([status(200, body, path="/images$")], photos=[shot]) as service:
        for name, value in service.environment(own_home / "config").items():
            monkeypatch.setenv(name, value)
        row = told("download_images", *box)
    assert (row["exit_code"], row["done"]) == (0, 1), row
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 1


# ---- hours that clocks show twice, or not at all -------------------------------------------------

needs_tzset = pytest.mark.skipif(not hasattr(time, "tzset"), reason="TZ cannot be set here")
TWICE = "were taken in an hour that the clocks of this zone show twice, or not at all"


@pytest.fixture
def berlin(monkeypatch: Any) -> Iterator[None]:
    """This computer in Berlin, by a rule that needs no zone data."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


def has_zones() -> bool:
    try:
        return mt.zone_offset("Europe/Berlin", NOON) == 7200
    except mt.UsageError:
        return False


ZONES = [
    pytest.param(["--local_time"], marks=needs_tzset),
    pytest.param(
        ["--timezone", "Europe/Berlin"],
        marks=pytest.mark.skipif(not has_zones(), reason="this Python has no zone data"),
    ),
]
in_each_zone = pytest.mark.parametrize("zone", ZONES, ids=["local", "named"])


@needs_tzset
@in_each_zone
@pytest.mark.parametrize(
    "beside", [None, "2021:10:31 01:59:00", "2021:10:31 03:05:00", "2021:10:31 02:59:50"]
)
def test_in_an_hour_that_is_there_twice_neighbours_do_not_count(
    zone: List[str], beside: Optional[str], tmp_path: Path, berlin: None
) -> None:
    making.photo(tmp_path / "b.jpg", time="2021:10:31 02:59:58", lat=52.5, lon=13.4)
    if beside:
        making.photo(tmp_path / "a.jpg", time=beside, lat=52.5001, lon=13.4, pixels=1)
    said = said_by(tmp_path, *zone)
    assert taken(tmp_path / "b.jpg") == "2021_10_31_00_59_58_000"
    assert TWICE in said and "+02:00" in said


@needs_tzset
@in_each_zone
def test_an_hour_that_does_not_exist_is_told(zone: List[str], tmp_path: Path, berlin: None) -> None:
    making.photo(tmp_path / "a.jpg", time="2021:03:28 02:30:00", lat=52.5, lon=13.4)
    said = said_by(tmp_path, *zone)
    assert taken(tmp_path / "a.jpg") == "2021_03_28_01_30_00_000"
    assert "1 image from a.jpg on " + TWICE in said and "+01:00" in said


@needs_tzset
@in_each_zone
def test_of_other_hours_nothing_is_said(zone: List[str], tmp_path: Path, berlin: None) -> None:
    making.photo(tmp_path / "a.jpg", time="2021:10:31 01:59:58", lat=52.5, lon=13.4)
    making.photo(tmp_path / "b.jpg", time="2021:10:31 03:00:00", lat=52.5, lon=13.4, pixels=1)
    assert TWICE not in said_by(tmp_path, *zone)
    assert taken(tmp_path / "a.jpg") == "2021_10_30_23_59_58_000"
    assert taken(tmp_path / "b.jpg") == "2021_10_31_02_00_00_000"


# ---- on which side of the equator ----------------------------------------------------------------

ASCII, BYTE, SHORT, RATIONAL = making.ASCII, making.BYTE, making.SHORT, making.RATIONAL


def with_refs(path: Path, north: Any, east: Any) -> Path:
    """A photo at 57.7 and 11.97 degrees with these Refs."""
    return making.photo(path, lat=57.7, lon=11.97, more={"GPS": {0x01: north, 0x03: east}})


@pytest.mark.parametrize(
    "north, east",
    [
        ((BYTE, [83, 0]), (BYTE, [87, 0])),
        ((BYTE, 83), (BYTE, 87)),
        ((SHORT, 83), (SHORT, 87)),
        ((SHORT, [83, 0]), (SHORT, [87, 0])),
        ((ASCII, "s"), (ASCII, "West")),
    ],
)
def test_refs_count_whatever_their_type(north: Any, east: Any, tmp_path: Path) -> None:
    path = with_refs(tmp_path / "a.jpg", north, east)
    assert process(tmp_path)["done"] == 1
    found = making.description(path)
    assert (found["MAPLatitude"], found["MAPLongitude"]) == pytest.approx((-57.7, -11.97))


@pytest.mark.parametrize("refs", ["- E", "N -", "1 -1", "N O", "W S", "E N"])
def test_refs_that_nobody_understands_are_no_position(refs: str, tmp_path: Path) -> None:
    north, east = refs.split()
    path = with_refs(tmp_path / "a.jpg", (ASCII, north), (ASCII, east))
    before = path.read_bytes()
    row = process(tmp_path)
    assert (row["done"], len(row["failed"])) == (0, 1) and path.read_bytes() == before
    assert re.match(r"GPSLatitude .*57.*GPSLongitude .*11", row["failed"][0]["value"])


@pytest.mark.parametrize("ref", [None, (ASCII, ""), (ASCII, " "), (BYTE, 0)])
def test_missing_and_blank_refs_are_north_and_east(ref: Any, tmp_path: Path) -> None:
    path = with_refs(tmp_path / "a.jpg", ref, ref)
    assert process(tmp_path)["done"] == 1
    found = making.description(path)
    assert (found["MAPLatitude"], found["MAPLongitude"]) == pytest.approx((57.7, 11.97))


# ---- tracks --------------------------------------------------------------------------------------


def by_track(folder: Path, name: str, content: Any, *more: Any) -> str:
    """What is said of one photo without a place, a.jpg, by a track beside its folder."""
    making.photo(folder / "card" / "a.jpg", time=MORNING)
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    kind = path.suffix[1:]
    return said_by(folder / "card", "--geotag_source", kind, "--geotag_source_path", path, *more)


def placed(folder: Path) -> Tuple[Any, Any]:
    found = making.description(folder / "card" / "a.jpg")
    return found.get("MAPLatitude"), found.get("MAPLongitude")


def seconds_of_track() -> Iterator[Tuple[int, float, float]]:
    return ((NOON + at, 57.7 + at * 1e-5, 11.97) for at in range(-20, 21))


@pytest.mark.parametrize(
    "heads", ["lat_dir|lon_dir", "dir|dir", "hemisphere|hemisphere2", "n_s|e_w"]
)
@pytest.mark.parametrize("before", [False, True], ids=["behind", "before"])
def test_letters_beside_coordinates_count_whatever_their_columns_are_called(
    heads: str, before: bool, tmp_path: Path
) -> None:
    north, east = heads.split("|")
    names = ["time", "latitude", north, "longitude", east]
    rows = [[making.iso(at), f"{y:.7f}", "S", f"{x:.7f}", "W"] for at, y, x in seconds_of_track()]
    order = [0, 2, 1, 4, 3] if before else [0, 1, 2, 3, 4]
    lines = [",".join(row[number] for number in order) for row in [names, *rows]]
    by_track(tmp_path, "t.csv", "\n".join(lines) + "\n")
    assert placed(tmp_path) == pytest.approx((-57.7, -11.97))


@pytest.mark.parametrize("name, letter", [("type", "W"), ("speed_flag", "E"), ("W", "W")])
def test_letters_of_columns_with_names_of_their_own_are_no_sides(
    name: str, letter: str, tmp_path: Path
) -> None:
    head = f"time,latitude,longitude,{name}\n"
    rows = [f"{making.iso(at)},{y:.7f},{x:.7f},{letter}\n" for at, y, x in seconds_of_track()]
    by_track(tmp_path, "t.csv", head + "".join(rows))
    assert placed(tmp_path) == pytest.approx((57.7, 11.97))


def test_a_letter_that_nobody_understands_drops_the_point(tmp_path: Path) -> None:
    head = "time,latitude,n/s,longitude,e/w\n"
    rows = [f"{making.iso(at)},{lat:.7f},N,{lon:.7f},O\n" for at, lat, lon in seconds_of_track()]
    by_track(tmp_path, "t.csv", head + "".join(rows))
    assert placed(tmp_path) == (None, None)


def test_other_columns_of_few_letters_are_no_sides(tmp_path: Path) -> None:
    head = "time,latitude,longitude,kind\n"
    rows = [f"{making.iso(at)},{lat:.7f},{lon:.7f},X\n" for at, lat, lon in seconds_of_track()]
    by_track(tmp_path, "t.csv", head + "".join(rows))
    assert placed(tmp_path) == pytest.approx((57.7, 11.97))


def gpx_at(start: float, alt: Any = 12.5, form: str = "") -> str:
    """A GPX of 41 seconds around a time."""
    points = []
    for at in range(-20, 21):
        stamp = making.iso(start + at)
        if form:
            stamp = time.strftime(form, time.gmtime(start + at))
        points.append(tracks.trkpt(57.7 + at * 1e-5, 11.97, stamp, alt))
    return tracks.gpx("".join(points))


def nmea_at(start: float, alt: float = 12.5) -> str:
    lines = []
    for at in range(-20, 21):
        lines.append(tracks.rmc(start + at, 57.7 + at * 1e-5, 11.97))
        lines.append(tracks.gga(start + at, 57.7 + at * 1e-5, 11.97, alt))
    return "\r\n".join(lines) + "\r\n"


@pytest.mark.parametrize("alt", ["100000", "-100000", "150000", "4294968", "99999999"])
@pytest.mark.parametrize("kind", ["gpx", "nmea"])
def test_an_altitude_that_cannot_be_is_left_out_and_said(
    kind: str, alt: str, tmp_path: Path
) -> None:
    content = gpx_at(NOON, alt) if kind == "gpx" else nmea_at(NOON, float(alt))
    said = by_track(tmp_path, "t." + kind, content)
    assert placed(tmp_path) == pytest.approx((57.7, 11.97))
    assert making.place(tmp_path / "card" / "a.jpg")[2] is None and "altitude" in said, said


@pytest.mark.parametrize(
    "alt, ref, known",
    [
        ("99998", 0, 99998.0),
        ("99999999", 0, None),
        ("100000", 0, None),
        ("-9999", 0, None),
        ("9999", 1, None),
        ("32768", 1, None),
        ("9999", 0, 9999.0),
        ("12", 1, -12.0),
    ],
)
def test_an_altitude_in_xmp_that_cannot_be_is_left_out(
    alt: str, ref: int, known: Optional[float], tmp_path: Path
) -> None:
    path = making.photo(tmp_path / "a.jpg", time=MORNING)
    told_there = (
        f'exif:GPSLatitude="48,7.5S" exif:GPSLongitude="123,22.5W" exif:GPSAltitude="{alt}" '
        f'exif:GPSAltitudeRef="{ref}"'
    )
    path.write_bytes(with_xmp(path.read_bytes(), told_there))
    assert process(tmp_path)["failed"] == []
    assert making.place(path) == pytest.approx((-48.125, -123.375, known))


def with_xmp(jpeg: bytes, properties: str) -> bytes:
    """A photo with an XMP packet of EXIF properties."""
    body = (
        'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:exif="http://ns.adobe.com/exif/1.0/" {properties}/></rdf:RDF></x:xmpmeta>'
    ).encode("utf-8")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize("eras", [1, 2])
def test_a_track_1024_weeks_ahead_is_moved_back(eras: int, tmp_path: Path) -> None:
    said = by_track(tmp_path, "t.gpx", gpx_at(NOON + eras * WEEKS))
    assert placed(tmp_path) == pytest.approx((57.7, 11.97))
    assert f"{eras * 1024} weeks after the images" in said and "weeks earlier" in said


def test_for_a_track_of_a_clock_that_was_never_set_no_offset_is_advised(tmp_path: Path) -> None:
    said = by_track(tmp_path, "t.nmea", nmea_at(315964800 + 3600))  # 1980-01-06
    assert placed(tmp_path) == (None, None)
    assert "clock of its logger was never set" in said
    assert not re.search(r"--offset_time -?\d", said), said


def test_times_of_a_track_in_another_form_are_named(tmp_path: Path) -> None:
    said = by_track(tmp_path, "t.gpx", gpx_at(NOON, form="%m/%d/%Y %I:%M:%S %p"))
    assert placed(tmp_path) == (None, None)
    assert "05/06/2024 07:07:49 AM" in said and "exported without times" not in said, said


@pytest.mark.parametrize("kind", ["gpx", "nmea"])
def test_an_empty_track_says_so(kind: str, tmp_path: Path) -> None:
    said = by_track(tmp_path, "t." + kind, b"")
    assert f"t.{kind}: is empty (0 bytes)" in said or f"t.{kind} is empty (0 bytes)" in said, said


# ---- tables --------------------------------------------------------------------------------------

NAMED = ("--filename_column", 1)
TIMED = (*NAMED, "--timestamp_column", 2)
PLACED = (*NAMED, "--latitude_column", 2, "--longitude_column", 3)
GPS_TIMED = (*TIMED, "--convert_gps_time", "--gps_week_column", 3)


def by_table(folder: Path, text: Any, *columns: Any, count: int = 1) -> Tuple[Dict[str, Any], str]:
    """What process_csv gives, and says in words, of photos 0001.jpg and on."""
    making.drive(folder / "card", count)
    table = folder / "table.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    words = ["process_csv", "--import_path", folder / "card", "--csv_path", table, *columns]
    ran = run(*words)
    return told(*words), ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "cells, columns, value",
    [
        ("05:06:07", (*TIMED, "--time_format", "%H:%M:%S"), "1970"),
        ("-5", (*TIMED, "--convert_utc_time"), "1970"),
        ("99999999,2147", GPS_TIMED, "more seconds than a week has"),
        ("604800,2147", GPS_TIMED, "more seconds than a week has"),
        ("-1,2147", GPS_TIMED, "more seconds than a week has"),
    ],
)
def test_a_row_with_a_time_that_cannot_be_fails_and_its_photo_stays(
    cells: str, columns: Any, value: str, tmp_path: Path
) -> None:
    (path,) = making.drive(tmp_path / "card", 1)
    before = path.read_bytes()
    row, said = by_table(tmp_path, f"0001.jpg,{cells}\n", *columns)
    assert path.read_bytes() == before and row["done"] == 0
    assert "line 1 of " in said and value in said, said


def test_the_last_second_of_a_week_is_a_time(tmp_path: Path) -> None:
    row, said = by_table(tmp_path, "0001.jpg,604799,2147\n", *GPS_TIMED)
    assert row["done"] == 1, said


SIXTY = [f"{number:04d}.jpg" for number in range(1, 61)]


@pytest.mark.parametrize(
    "cells, columns",
    [
        (",57.7", PLACED),
        (";57.7;11.9", PLACED),
        (",2024-05-06T12:00:00Z", TIMED),
    ],
    ids=["columns", "semicolons", "times"],
)
def test_rows_that_fail_alike_take_few_lines(cells: str, columns: Any, tmp_path: Path) -> None:
    text = "".join(name + cells + "\n" for name in SIXTY)
    _, said = by_table(tmp_path, text, *columns, count=60)
    assert len(said.splitlines()) <= 12, said
    assert "line 1 of " in said or "line 1 " in said or "0001.jpg" in said, said


def test_semicolons_hint_at_the_delimiter(tmp_path: Path) -> None:
    row, said = by_table(tmp_path, "0001.jpg;57.7;11.9\n", *PLACED)
    assert row["done"] == 0 and "is it --delimiter semicolon?" in said, said
    words = ("--delimiter", "semicolon")
    assert by_table(tmp_path, "0001.jpg;57.7;11.9\n", *PLACED, *words)[0]["done"] == 1


def test_a_photo_is_no_table(tmp_path: Path) -> None:
    row, said = by_table(tmp_path, making.jpeg((320, 240)), *PLACED)
    assert row["exit_code"] != 0 and "is no table of text" in said, said


def test_a_table_of_other_letters_is_a_table(tmp_path: Path) -> None:
    names = "\u0430\u0431\u0432\t\u00e9\u00e8\x00"
    row, said = by_table(tmp_path, f"0001.jpg,57.7,11.9,{names}\n", *PLACED)
    assert row["done"] == 1, said


def test_a_time_of_another_form_hints_at_the_form(tmp_path: Path) -> None:
    _, said = by_table(tmp_path, "0001.jpg,06.05.2024 07:08\n", *TIMED, "--time_format", "%Y-%m-%d")
    assert "06.05.2024 07:08" in said and "give --time_format as its column has it" in said, said


# ---- IFDs that count too many entries ------------------------------------------------------------


def counting_more(block: bytes, surplus: int, order: str) -> bytes:
    """A TIFF block whose IFD0 counts entries that it does not have."""
    (count,) = struct.unpack_from(order + "H", block, 8)
    return block[:8] + struct.pack(order + "H", count + surplus) + block[10:]


def reads_as_before(folder: Path, surplus: int, order: str, copyright: str, **more: Any) -> None:
    """What is in a photo whose IFD0 counts too many entries is there after writing, for a strict reader."""
    fields = {"time": MORNING, "lat": 57.7, "lon": 11.97, "order": order, **more}
    sound = making.exif_tiff(more={"0th": {0x8298: (ASCII, copyright)}}, **fields)
    path = making.photo(folder / "a.jpg", exif=counting_more(sound, surplus, order))
    assert process(folder)["done"] == 1
    tags = making.read_exif(path)  # raises where a table holds what it should not
    assert (tags["Make"], tags["Model"]) == ("Testmaker", "T-1")
    assert tags["DateTimeOriginal"] == MORNING
    assert making.place(path) == pytest.approx((57.7, 11.97, None))
    assert making.description(path)["MAPCaptureTime"] == stamped(MORNING)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("surplus", [1, 4, 5, 8, 20])
@pytest.mark.parametrize("thumbnail", [None, making.jpeg((16, 16))], ids=["bare", "thumbnail"])
def test_what_an_ifd_with_a_count_too_great_holds_is_there_after_writing(
    surplus: int, order: str, thumbnail: Optional[bytes], tmp_path: Path
) -> None:
    reads_as_before(tmp_path, surplus, order, "all rights reserved " * 20, thumbnail=thumbnail)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("surplus", [20, 40])
def test_so_it_is_where_the_count_takes_in_the_next_ifd(
    surplus: int, order: str, tmp_path: Path
) -> None:
    reads_as_before(tmp_path, surplus, order, "mine")


# ---- videos that are cut off ---------------------------------------------------------------------

needs_ffmpeg = pytest.mark.skipif(
    not videos.FFMPEG or not videos.FFPROBE, reason="ffmpeg and ffprobe are not on this computer"
)


@pytest.fixture(scope="module")
def movie(tmp_path_factory: Any) -> Tuple[bytes, int]:
    """A film whose index is at its end, without udta, and where that begins."""
    made = videos.film(tmp_path_factory.mktemp("film") / "a.mp4")
    made.moov[:] = [one for one in made.moov if one[0] != b"udta"]
    content = made.content()
    return content, content.rindex(b"moov") - 4


def of_video(folder: Path, content: bytes) -> Dict[str, Any]:
    (folder / "a.mp4").write_bytes(content)
    (folder / "a.gpx").write_text(videos.gpx_of(), "utf-8")
    return process(folder, "--videos", "upload")


@needs_ffmpeg
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.95])
def test_a_video_whose_index_is_cut_off_does_not_go_up(
    part: float, movie: Tuple[bytes, int], tmp_path: Path
) -> None:
    content, begin = movie
    length = len(content) - max(1, round(part * (len(content) - begin - 8)))
    row = of_video(tmp_path, content[:length])
    assert row["done"] == 0 and len(row["failed"]) == 1
    assert "is cut off" in row["failed"][0]["wrong"], row["failed"]


@needs_ffmpeg
def test_a_whole_video_goes_up(movie: Tuple[bytes, int], tmp_path: Path) -> None:
    assert of_video(tmp_path, movie[0])["done"] == 1


@needs_ffmpeg
@pytest.mark.parametrize("cut", [1, 100, 400])
def test_a_video_whose_last_user_data_are_cut_off_goes_up(
    cut: int, movie: Tuple[bytes, int], tmp_path: Path
) -> None:
    content, begin = movie
    more = tracks.box(b"udta", tracks.box(b"free", bytes(500)))
    longer = struct.pack(">I", len(content) - begin + len(more))
    whole = content[:begin] + longer + content[begin + 4 :] + more
    row = of_video(tmp_path, whole[:-cut])
    assert (row["done"], row["failed"]) == (1, [])


# ---- clocks that were never set or ran over ------------------------------------------------------

ODD_CLOCKS = [
    "1970:01:02 03:04:05",
    "1970:06:01 00:00:00",
    "1970:12:31 23:59:59",
    "2002:12:08 12:00:05",
    "2002:12:08 23:59:59",
    "2038:01:19 03:14:07",
    "2099:12:31 23:59:59",
    "2106:02:07 06:28:15",
]


@pytest.mark.parametrize("clock", ODD_CLOCKS)
def test_a_clock_that_was_never_set_gives_way_to_another(clock: str, tmp_path: Path) -> None:
    place = {"lat": 57.7, "lon": 11.97, "time": clock}
    digitized = {"Exif": {0x9004: (ASCII, MORNING)}}
    for name, more in [("a", digitized), ("b", {})]:
        receiver = {} if more else {"gps_date": "2024:05:06", "gps_time": "07:08:09"}
        making.photo(tmp_path / name / "a.jpg", more=more, **place, **receiver)
        process(tmp_path / name)
        assert taken(tmp_path / name / "a.jpg") == stamped(MORNING), name


@pytest.mark.parametrize("clock", ODD_CLOCKS)
def test_alone_it_counts(clock: str, tmp_path: Path) -> None:
    path = making.photo(tmp_path / "a.jpg", lat=57.7, lon=11.97, time=clock)
    process(tmp_path)
    assert taken(path) == stamped(clock)


@pytest.mark.parametrize(
    "clock",
    ["1971:01:01 00:00:00", "2002:12:08 11:59:59", "2002:12:09 00:00:00", "2038:01:19 03:14:06"],
)
def test_beside_those_times_a_clock_is_believed(clock: str, tmp_path: Path) -> None:
    more = {"Exif": {0x9004: (ASCII, MORNING)}}
    path = making.photo(tmp_path / "a.jpg", lat=57.7, lon=11.97, time=clock, more=more)
    process(tmp_path)
    assert taken(path) == stamped(clock)


@pytest.mark.parametrize(
    "text",
    [
        "2021:03:04 05:06:07 PM",
        "2021:02:29 05:06:07",
        "2021:13:04 05:06:07",
        "20210304050607",
        "04/03/2021 05:06:07",
        "Thu Mar  4 05:06:07 2021",
        "1614834367",
    ],
)
def test_a_time_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    making.photo(tmp_path / "a.jpg", lat=57.7, lon=11.97, time=text)
    said = said_by(tmp_path)
    assert f"DateTimeOriginal says {text}" in said, said


@pytest.mark.parametrize(
    "name, stamp",
    [
        ("20210304_140607+0900.jpg", "2021_03_04_05_06_07_000"),
        ("2021-03-04T14-06-08+09-00.jpg", "2021_03_04_05_06_08_000"),
        ("2021-03-04T14-06-08-03-30.jpg", "2021_03_04_17_36_08_000"),
        ("IMG_20210304_140607-1234.jpg", "2021_03_04_14_06_07_000"),
        ("IMG_20210304_140607.jpg", "2021_03_04_14_06_07_000"),
        ("IMG_20210304_140607-0300.jpg", "2021_03_04_14_06_07_000"),
        ("IMG_20210304_140607+0917.jpg", "2021_03_04_14_06_07_000"),
    ],
)
def test_a_file_name_may_tell_its_zone(name: str, stamp: str, tmp_path: Path) -> None:
    path = making.photo(tmp_path / name, lat=57.7, lon=11.97, time=None)
    process(tmp_path)
    assert taken(path) == stamp


# ---- what is said --------------------------------------------------------------------------------


def test_a_list_of_what_failed_names_nothing_that_waits(tmp_path: Path) -> None:
    making.photo(tmp_path / "good.jpg", lat=57.7, lon=11.97)
    making.photo(tmp_path / "bad.jpg")
    process(tmp_path)
    said = run("status", "--import_path", tmp_path, "--list", "failed").stdout
    assert "bad.jpg" in said and "good.jpg" not in said, said


@pytest.mark.parametrize("count, told_of", [(1, ""), (7, ", and 6 about other images")])
def test_damaged_last_lines_of_a_journal_are_said_in_one_line(
    count: int, told_of: str, tmp_path: Path
) -> None:
    making.drive(tmp_path, 7)
    process(tmp_path)
    journal = tmp_path / ".mapillary" / "journal.jsonl"
    lines = journal.read_bytes().decode("utf-8").splitlines(True)
    broken = {f"{number:04d}.jpg" for number in range(1, count + 1)}
    for number, text in enumerate(lines):
        if any(f'"image":"{name}"' in text.replace(" ", "") for name in broken):
            lines[number] = text.replace('"lat":57', '"lat":"x",,57')
    journal.write_bytes("".join(lines).encode("utf-8"))
    said = run("status", "--import_path", tmp_path).stderr
    (line,) = [text for text in said.splitlines() if "damaged" in text]
    assert line.endswith("is ignored" + told_of), line


# ---- natural order -------------------------------------------------------------------------------


def compared_texts(one: str, other: str) -> int:
    """-1, 0 or 1: by letters and by the values of numbers, numbers before letters, and the begin of a text before it."""
    pieces = [re.findall("[0-9]+|[^0-9]", text) for text in (one, other)]
    for left, right in zip(*pieces):
        numbers = [int(piece) if piece.isdigit() else -1 for piece in (left, right)]
        if -1 not in numbers:
            keys: Any = numbers
        elif numbers != [-1, -1]:
            return -1 if numbers[0] != -1 else 1
        else:
            keys = [left, right]
        if keys[0] != keys[1]:
            return -1 if keys[0] < keys[1] else 1
    return (len(pieces[0]) > len(pieces[1])) - (len(pieces[0]) < len(pieces[1]))


def compared(one: str, other: str) -> int:
    """The same for names: what is before the last dot, what is behind it, the name as it is."""
    parts = [re.match(r"(?s)(.*?)(?:\.([^.]*))?\Z", name.lower()) for name in (one, other)]
    first, second = (part.groups("") for part in parts if part)
    for left, right in zip(first, second):
        if compared_texts(left, right):
            return compared_texts(left, right)
    return (one > other) - (one < other)


def test_copies_of_a_name_come_behind_it() -> None:
    names = ["a.jpg", "a 2.jpg", "a copy.jpg", "a(0).jpg", "a(1).jpg", "a-1.jpg", "a_1.jpg"]
    assert sorted(names, key=mt.natural_key)[0] == "a.jpg"
    assert sorted(["7.jpg", "7(10).jpg", "7(9).jpg"], key=mt.natural_key)[1:] == [
        "7(9).jpg",
        "7(10).jpg",
    ]


def test_natural_order_is_that_of_numbers_and_letters() -> None:
    dice = random.Random(5)
    for letters in ("019", "a0", "aB10", "ab01.-_", "IMG_0123456789.jpg", string.printable[:95]):
        names = ["".join(dice.choices(letters, k=dice.randrange(1, 9))) for _ in range(500)]
        wanted = sorted(names, key=functools.cmp_to_key(compared))
        assert sorted(names, key=mt.natural_key) == wanted, letters


# ---- what else it found ---------------------------------------------------------------------------


def test_steps_one_by_one_go_on_with_what_is_outdated(card: Card) -> None:
    """Symptom: after the first of them the others left all out, and upload found nothing processed."""
    for step in ("extract_geotag_data", "extract_sequence_data", "exif_insert"):
        more = ["--offset_time", 5] if step == "extract_geotag_data" else []
        assert told(step, "--import_path", card.folder, *more)["done"] == 5
    assert card.upload()["exit_code"] == 0 and card.state() == (5, [5])
    assert card.upload("--reupload")["done"] == 5 and card.state() == (10, [5, 5])


@pytest.mark.parametrize("name", ["0001.jpg", "0002.jpg", "0003.jpg"])
def test_equal_times_are_not_spread_while_one_of_them_cannot_be_read(
    name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Symptom: the others were spread without it, and the order was wrong for good."""
    for place in ("calm", "disturbed"):
        making.drive(tmp_path / place, 3, seconds=0)
        making.photo(tmp_path / place / "0004.jpg", time="2024:05:06 07:08:10", pixels=4)
    words = ["interpolate", "--data", "identical_timestamps", "--import_path"]
    told(*words, tmp_path / "calm")
    plain = mt.read_found

    def failing(path: Any) -> Any:
        if str(path).endswith(name):
            raise mt.BadExif(mt.UNREADABLE, "cannot be read", file=path)
        return plain(path)

    with monkeypatch.context() as patch:
        patch.setattr(mt, "read_found", failing)
        row = told(*words, tmp_path / "disturbed")
    assert (row["done"], len(row["failed"])) == (0, 4)
    assert told(*words, tmp_path / "disturbed")["exit_code"] == 0
    for number in range(1, 5):
        one, other = (tmp_path / place / f"{number:04d}.jpg" for place in ("calm", "disturbed"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("seconds, said", [(30.0, False), (86400.0, True)])
def test_positions_between_places_far_apart_are_said(
    seconds: float, said: bool, tmp_path: Path
) -> None:
    making.drive(tmp_path, 3, seconds=seconds)
    time_of = making.drive(tmp_path / "other", 3, seconds=seconds)[1]
    making.photo(tmp_path / "0002.jpg", time=mt.read_found(time_of).clocks[0].text, pixels=1)
    row = told("interpolate", "--data", "missing_gps", "--import_path", tmp_path)
    assert row["done"] >= 1 and any("a straight line" in note for note in row["notes"]) == said


@pytest.mark.parametrize("there", ["UsePanoramaViewer", "FullPanoWidthPixels"])
def test_a_mark_of_a_panorama_repeats_nothing(there: str) -> None:
    packet = f'<x GPano:{there}="1"/>'.encode("ascii")
    mark = mt._gpano("rdf", "400", "200", packet)
    assert there not in mark and mark.count("GPano:") == 7
    assert mt._OUR_MARK.fullmatch(mark.encode("ascii"))
    assert mt._OUR_MARK.fullmatch(mt._gpano("rdf", "400", "200").encode("ascii"))
    foreign = (
        b'<rdf:Description rdf:about="" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"/>'
    )
    assert not mt._OUR_MARK.match(foreign)


@pytest.mark.parametrize(
    "content, word",
    [
        (b"", "empty"),
        (b"\0" * 4096, "zeros"),
        (b"\xff\xd8\xff\xe0" + b"x" * 600, "a JPEG"),
        (b"<!DOCTYPE html><html><body>login</body></html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "Git LFS"),
    ],
    ids=["empty", "zeros", "photo", "page", "pointer"],
)
def test_what_is_no_video_is_called_what_it_is(content: bytes, word: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    row = process(tmp_path, "--videos", "upload")
    (problem,) = row["failed"]
    assert word in problem["wrong"] and "ffmpeg" not in problem["remedy"], problem


def test_a_gps_clock_that_stands_still_is_counted_from_its_first(tmp_path: Path) -> None:
    begin = tracks.CLIP_SECONDS
    stream = [tracks.device(tracks.gps5(points, begin)) for points in tracks.ride(10)]
    (tmp_path / "v.mp4").write_bytes(tracks.movie(stream))
    track = mt.read_track(tmp_path / "v.mp4")
    assert track.points[0].time == begin and "stands still" in track.clock
    assert 9.0 < track.points[-1].time - begin < 10.0


@pytest.mark.parametrize("dop, points", [("1.2", 3), ("99.9", 0)])
def test_what_gga_says_of_the_reception_counts_beside_rmc(
    dop: str, points: int, tmp_path: Path
) -> None:
    lines = []
    for second in range(3):
        clock, place = f"0708{second:02d}.000", "5742.0000,N,01158.0000,E"
        lines.append(tracks.sentence(f"GPRMC,{clock},A,{place},1.0,0.0,060524,,,A"))
        lines.append(tracks.sentence(f"GPGGA,{clock},{place},1,8,{dop},10.0,M,0.0,M,,"))
    (tmp_path / "t.nmea").write_text("\n".join(lines) + "\n", "ascii")
    if points:
        assert len(mt.read_track(tmp_path / "t.nmea").points) == points
    else:
        with pytest.raises(mt.BadTrack, match="reception"):
            mt.read_track(tmp_path / "t.nmea")


@pytest.mark.parametrize("before, behind", [('"', '"'), ("\u201c", "\u201d"), ("", " "), (" ", "")])
def test_a_folder_in_quotes_or_blanks_is_found_for_the_person(
    before: str, behind: str, tmp_path: Path
) -> None:
    said = said_by(Path(f"{before}{tmp_path}{behind}"))
    there = os.name == "nt" and before + behind in (" ", '""')  # taken off, or said elsewhere
    assert there or f"did you mean {tmp_path}?" in said


def test_a_dash_of_a_word_processor_is_explained(tmp_path: Path) -> None:
    ran = run("process", "\u2014import_path", tmp_path, "--user_name", "demo")
    assert ran.code == 3 and "two hyphens: --import_path" in ran.stderr


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    making.drive(tmp_path, 1)
    (tmp_path / ".mapillary").write_text("mine", "ascii")
    ran = run("process", "--import_path", tmp_path, "--user_name", "demo")
    assert ran.code == 11 and str(tmp_path / ".mapillary") in ran.stderr


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs photos of several owners"
)
def test_a_photo_whose_owner_cannot_be_kept_fails_and_stays() -> None:
    with as_nobody() as folder:
        os.seteuid(0)
        theirs, mine = making.drive(folder / "p", 2)
        for path in (folder / "p", mine):
            os.chown(str(path), 65534, -1)
        before = theirs.read_bytes()
        os.seteuid(65534)
        row = process(folder / "p")
        assert (row["done"], row["exit_code"]) == (1, 1) and theirs.read_bytes() == before
        (problem,) = row["failed"]
        assert problem["file"] == str(theirs) and "another user" in problem["wrong"]
        assert process(folder / "p", "--keep_original")["exit_code"] == 0


@pytest.mark.parametrize("apart", [-1024 * 7 * 86400, 20 * 366 * 86400])
def test_a_stray_date_does_not_move_a_track(apart: int, tmp_path: Path) -> None:
    """Symptom: it was taken 1024 weeks later, since from end to end it met the photos then."""
    points = list(seconds_of_track())
    stray = (points[0][0] + apart, 57.7, 11.97)
    ordered = sorted([stray, *points])
    making.photo(tmp_path / "p" / "a.jpg", time=MORNING)
    making.gpx(ordered, tmp_path / "t.gpx")
    words = ["--geotag_source", "gpx", "--geotag_source_path", tmp_path / "t.gpx"]
    row = process(tmp_path / "p", *words)
    assert row["exit_code"] == 0 and not any("the track is" in note for note in row["notes"])
    assert making.description(tmp_path / "p" / "a.jpg")["MAPLatitude"] == pytest.approx(57.7)


def test_points_of_a_clock_that_was_not_set_yet_are_left_out(tmp_path: Path) -> None:
    lines = []
    for day, second in [("060180", 0), ("010100", 1), ("060524", 2), ("060524", 3)]:
        body = f"GPRMC,0708{second:02d}.000,A,5742.0000,N,01158.0000,E,1.0,0.0,{day},,,A"
        lines.append(tracks.sentence(body))
    (tmp_path / "t.nmea").write_text("\n".join(lines) + "\n", "ascii")
    track = mt.read_track(tmp_path / "t.nmea")
    assert len(track.points) == 2 and track.dropped == {mt.UNSET_CLOCK: 2}


@pytest.mark.parametrize("stale", [3, 4, 5])
def test_a_clock_that_is_put_right_once_is_no_time_lapse(stale: int) -> None:
    pairs = [(float(n), NOON + n - (3e8 if n < stale else 0.0)) for n in range(20)]
    assert not mt.is_uneven(pairs)
    assert mt.is_uneven([(float(n), NOON + 30.0 * n) for n in range(20)])


@pytest.mark.parametrize(
    "lat, lon, wanted",
    [
        ("47,910000", "8,950000", (47.91, 8.95)),
        ("47.91 S", "8.95 W", (-47.91, -8.95)),
        ("-47.910000", "8.950000", (-47.91, 8.95)),
    ],
)
def test_places_of_subtitles_with_commas_and_letters(
    lat: str, lon: str, wanted: Tuple[float, float], tmp_path: Path
) -> None:
    cue = "1\n00:00:0{0},000 --> 00:00:0{1},000\n2024-05-06 07:08:0{0}\n[latitude: {2}] [longitude: {3}]\n\n"
    text = "".join(cue.format(n, n + 1, lat, lon) for n in range(3))
    (tmp_path / "a.srt").write_text(text, "utf-8")
    first = mt.read_track(tmp_path / "a.srt").points[0]
    assert (first.lat, first.lon) == pytest.approx(wanted)


# ---- times that an image tells otherwise ---------------------------------------------------------


@pytest.mark.parametrize(
    "text, hours",
    [
        *(("GMT+2", 2), ("UTC+02:00", 2), ("02:00", 2), ("+02:00:00", 2), ("+02.00", 2)),
        *(("+ 2:00", 2), ("\u221202:00", -2), ("2", 2), ("GMT", 0), ("+05:45", 5.75)),
        ("-04:30", -4.5),  # of Venezuela until 2016
    ],
)
def test_an_offset_may_be_spelled_otherwise(text: str, hours: float, tmp_path: Path) -> None:
    making.photo(tmp_path / "card" / "a.jpg", lat=57.7, lon=11.97, time=MORNING)
    piexif = mt.piexif()
    exif = piexif.load(str(tmp_path / "card" / "a.jpg"))
    exif["Exif"][0x9011] = text.encode("utf-8")
    piexif.insert(piexif.dump(exif), str(tmp_path / "card" / "a.jpg"))
    said = said_by(tmp_path / "card")
    when = mt.format_time(NOON - hours * 3600, "map")
    assert taken(tmp_path / "card" / "a.jpg") == when and "does not count" not in said


@pytest.mark.parametrize("text", ["+120", "+15:00", "CEST", "+02:50"])
def test_an_offset_that_is_no_zone_is_named(text: str, tmp_path: Path) -> None:
    making.photo(tmp_path / "card" / "a.jpg", lat=57.7, lon=11.97, offset=text)
    said = said_by(tmp_path / "card")
    assert text in said and "does not count" in said
    assert taken(tmp_path / "card" / "a.jpg") == stamped(MORNING)


def test_the_first_second_of_1970_is_no_time(tmp_path: Path) -> None:
    making.photo(tmp_path / "card" / "a.jpg", lat=57.7, lon=11.97, time="1970:01:01 00:00:00")
    assert process(tmp_path / "card")["exit_code"] == 1
    assert taken(tmp_path / "card" / "a.jpg") is None


@pytest.mark.parametrize(
    "lon, local, hours",
    [
        (-122.4, "2021:03:04 18:06:07", 13),  # the home clock of New Zealand
        (-157.8, "2021:03:04 18:06:07", -11),  # a receiver that writes the local date
        (174.8, "2021:03:04 18:06:07", 13),
    ],
)
def test_a_gps_date_that_fits_counts_unless_the_zone_is_that_of_the_place(
    lon: float, local: str, hours: int, tmp_path: Path
) -> None:
    making.photo(
        tmp_path / "card" / "a.jpg",
        lat=37.7,
        lon=lon,
        time=local,
        gps_date="2021:03:04",
        gps_time="05:06:05",
    )
    process(tmp_path / "card")
    seconds = mt.parse_time(local)
    assert seconds is not None
    assert taken(tmp_path / "card" / "a.jpg") == mt.format_time(seconds - hours * 3600, "map")


PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:DateCreated="{}"/>'
    "</rdf:RDF></x:xmpmeta>"
)


def with_packet(path: Path, packet: str) -> None:
    """Put an XMP packet behind the Exif segment of a photo."""
    content, payload = path.read_bytes(), b"http://ns.adobe.com/xap/1.0/\0" + packet.encode("utf-8")
    end = 4 + int.from_bytes(content[4:6], "big")
    segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
    path.write_bytes(content[:end] + segment + content[end:])


@pytest.mark.parametrize(
    "text, hours", [("2024-05-06T07:08:09+09:00", 9), ("2024-05-06T06:08:09+09:00", 0)]
)
def test_xmp_tells_the_zone_where_it_has_the_same_local_time(
    text: str, hours: int, tmp_path: Path
) -> None:
    making.photo(tmp_path / "card" / "a.jpg", lat=57.7, lon=11.97)
    with_packet(tmp_path / "card" / "a.jpg", PACKET.format(text))
    process(tmp_path / "card")
    assert taken(tmp_path / "card" / "a.jpg") == mt.format_time(NOON - hours * 3600, "map")


def test_a_file_name_tells_the_zone_where_it_has_the_same_local_time(tmp_path: Path) -> None:
    path = making.photo(
        tmp_path / "card" / "2024_05_06_07_08_09_000_+0900.jpg", lat=57.7, lon=11.97
    )
    process(tmp_path / "card")
    assert taken(path) == mt.format_time(NOON - 9 * 3600, "map")


def test_a_date_stamp_may_hold_the_whole_gps_time(tmp_path: Path) -> None:
    path = making.photo(
        tmp_path / "card" / "a.jpg", lat=57.7, lon=11.97, gps_date="2024:05:06 05:08:09"
    )
    process(tmp_path / "card")
    assert taken(path) == mt.format_time(NOON - 7200, "map")


def test_a_fraction_of_a_minute_beside_seconds_is_doubtful() -> None:
    whole = ((48, 1), (7, 1), (3000, 100))
    assert mt.coordinate(whole, b"N", "NS", 90.0) == pytest.approx(48.125)
    assert mt.coordinate(((48, 1), (75, 10), (0, 1)), b"N", "NS", 90.0) == pytest.approx(48.125)
    assert mt.coordinate(((48, 1), (75, 10), (30, 1)), b"N", "NS", 90.0) is None
    zero = mt.coordinate(((0, 1), (0, 1), (0, 1)), b"S", "NS", 90.0)
    assert str(zero) == "0.0"


# ---- what lies on a card -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, code",
    [
        (".IMG_0001.JPG.icloud", "unfinished"),
        *(("IMG_1.jpg.crdownload", "unfinished"), ("IMG_1.JPG.part", "unfinished")),
        *(("ride.MP4.filepart", "unfinished"), ("IMG_1.jpg_original", "backup")),
        *(("b.jpg~", "backup"), ("b.jpg.bak", "backup"), ("b.NEF.orig", "backup")),
    ],
)
def test_leftovers_of_pictures_are_counted(name: str, code: str, tmp_path: Path) -> None:
    making.drive(tmp_path / "card", 1)
    (tmp_path / "card" / name).write_bytes(b"x")
    assert process(tmp_path / "card")["skipped"] == {code: 1}


@pytest.mark.parametrize("name", ["notes.txt.bak", "track.gpx.part", "x.original", "~", ".bak"])
def test_leftovers_of_other_files_are_not(name: str, tmp_path: Path) -> None:
    making.drive(tmp_path / "card", 1)
    (tmp_path / "card" / name).write_bytes(b"x")
    assert process(tmp_path / "card")["skipped"] == {}


def test_an_mpo_is_a_jpeg(tmp_path: Path) -> None:
    making.photo(tmp_path / "card" / "DSCF0001.MPO", lat=57.7, lon=11.97)
    assert process(tmp_path / "card")["done"] == 1


@pytest.mark.parametrize(
    "begin, word",
    [
        *((b"P6 2 2 255\n", "another format"), (b"\x0a\5\1\x08", "another format")),
        *((b"\xd0\xcf\x11\xe0\xa1", "thumbnails"), (b"bplist00", "cloud")),
        *((b"\0\5\x16\7\0\2", "macOS"), (b"\xff\1Exiv2", "metadata")),
        (b'<?xml version="1.0"?><svg xmlns="x">', "SVG"),
        (b"\xef\xbf\xbd\xef\xbf\xbd\0\x10JFIF", "converted as if it were a text"),
        (b"\xc3\xbf\xc3\x98\xc3\xbf", "converted as if it were a text"),
    ],
)
def test_what_a_file_is_is_said_by_its_name(begin: bytes, word: str, tmp_path: Path) -> None:
    making.drive(tmp_path / "card", 1)
    (tmp_path / "card" / "odd.jpg").write_bytes(begin + bytes(range(256)))
    (problem,) = process(tmp_path / "card")["failed"]
    assert word in problem["wrong"] and "it begins with" not in str(problem)


@pytest.mark.parametrize("lead", [bytes(512), b"\r\n", b"\xef\xbb\xbf"])
def test_bytes_before_a_jpeg_are_told(lead: bytes, tmp_path: Path) -> None:
    (path,) = making.drive(tmp_path / "card", 1)
    path.write_bytes(lead + path.read_bytes())
    (problem,) = process(tmp_path / "card")["failed"]
    assert f"has {len(lead)} bytes before the JPEG" in problem["wrong"] and "lost" not in str(
        problem
    )
