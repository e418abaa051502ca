"""What is known of photos: what may be deleted, what nothing replaces, what restore puts back.

Each test was red before the program was mended, but for those that say "Guard" of themselves.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List

import making
import pytest
from conftest import as_nobody, images_in, in_process, process, restore, run, told
from making_videos import EXIFTOOL
from service import Service

import mapillary_tools as mt

pytestmark = [in_process, pytest.mark.slow]

NOON = 1714979289  # the time of the first photo of a drive, in seconds since 1970
needs_links = pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
needs_rights = pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")


def status(folder: Path) -> Dict[str, Any]:
    return told("status", "--import_path", folder)


def sent(folder: Path) -> Path:
    """A folder of three photos that the service has."""
    making.drive(folder, 3)
    process(folder)
    told("upload", "--import_path", folder)
    row = status(folder)
    assert (row["done"], row["found"], row["safe_to_delete"]) == (3, 3, True), row
    return folder


@pytest.fixture
def card(tmp_path: Path, service: Service) -> Path:
    return sent(tmp_path / "card")


# ---- what status calls safe ----------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "more"], ids=["beside", "below"])
@pytest.mark.parametrize(
    "name, code",
    [
        ("a.HEIC", "heic"),
        ("a.dng", "raw_photo"),
        ("a.png", "other_picture"),
        ("0001.jpg_original", "backup"),
        (".trashed-1700000000-x.jpg", "hidden"),
    ],
)
def test_pictures_that_take_no_part_count_as_a_run_counts_them(
    name: str, code: str, below: str, card: Path
) -> None:
    (card / below).mkdir(exist_ok=True)
    (card / below / name).write_bytes(making.jpeg(exif=making.exif_tiff(lat=57.7, lon=11.97)))
    row, ran = status(card), process(card)
    assert (row["found"], row["done"], row["skipped"]) == (4, 3, {code: 1})
    assert (ran["found"], ran["skipped"].get(code)) == (4, 1)
    assert row["safe_to_delete"] is False


@pytest.mark.parametrize("first", ["hidden", "processed"])
def test_photos_that_windows_hides_count_once_and_as_a_run_counts_them(
    first: str, tmp_path: Path, monkeypatch: Any
) -> None:
    making.drive(tmp_path, 3)
    if first == "processed":
        process(tmp_path)
    monkeypatch.setattr(mt, "is_out_of_sight", lambda path: Path(path).name == "0002.jpg")
    ran, row = process(tmp_path), status(tmp_path)
    assert (ran["found"], ran["skipped"]["hidden"]) == (3, 1)
    assert (row["found"], row["skipped"]) == (3, {"hidden": 1, "waiting": 2})


@needs_rights
def test_with_a_folder_that_cannot_be_listed_nothing_is_safe(service: Service) -> None:
    with as_nobody() as folder:
        service.environment(folder / "config")
        sent(folder / "card")
        (folder / "card" / "closed").mkdir(mode=0)
        row = status(folder / "card")
    assert (row["done"], row["found"], row["safe_to_delete"]) == (3, 3, False)
    assert [Path(one["file"]).name for one in row["trouble"]] == ["closed"]


@needs_rights
def test_one_state_that_cannot_be_read_does_not_end_status_for_the_others() -> None:
    with as_nobody() as folder:
        for number, name in enumerate(("a", "b")):
            making.drive(folder / "card" / name, 2, lat=10.0 + number)
        process(folder / "card")
        (folder / "card" / "a" / ".mapillary").chmod(0)
        row = status(folder / "card")
    assert row["stopped"] is None and (row["found"], row["safe_to_delete"]) == (4, False), row
    assert row["skipped"]["waiting"] == 2 and "journal_unreadable" in row["said"]


def cut_short(folder: Path) -> None:
    os.truncate(str(folder / "0002.jpg"), 900)


def copied_over(folder: Path) -> None:
    """Other pictures of the same names, times and places."""
    making.drive(folder, 3, pixels=99)


@pytest.mark.parametrize("change, left", [(copied_over, 0), (cut_short, 2)])
def test_photos_that_are_another_since_are_not_uploaded(
    change: Callable[[Path], None], left: int, card: Path
) -> None:
    change(card)
    row = status(card)
    assert (row["done"], row["safe_to_delete"]) == (left, False), row
    assert row["skipped"] == {"not_processed": 3 - left}


def tagged(path: Path, **tags: Any) -> None:
    """What another program does to the tags alone: an artist, and if given position=(lat, lon), or
    caption, None to take it out.
    """
    piexif = mt.piexif()
    exif = piexif.load(str(path))
    exif["0th"][0x013B] = b"somebody"
    if "caption" in tags:
        exif["0th"].pop(0x010E, None)
        exif["0th"].update({0x010E: tags["caption"]} if tags["caption"] else {})
    if "position" in tags:
        lat, lon = tags["position"]
        exif["GPS"].update({2: tuple(making.degrees(lat)), 4: tuple(making.degrees(lon))})
    piexif.insert(piexif.dump(exif), str(path))


def test_a_photo_that_got_another_tag_counts_as_uploaded(card: Path) -> None:
    """Guard."""
    tagged(card / "0002.jpg")
    row = status(card)
    assert (row["done"], row["safe_to_delete"]) == (3, True), row


# ---- what nothing replaces -----------------------------------------------------------------------

FOREIGN = {
    "garmin.gpx": '<?xml version="1.0" encoding="UTF-8"?>\n<gpx creator="Garmin Connect"></gpx>\n',
    "old.gpx": '<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="other"></gpx>',
    "table.csv": "filename,time,latitude,longitude,mine\n0001.jpg,,57.7,11.9,1\n",
    "qgis.geojson": '{\n "type": "FeatureCollection",\n "name": "survey",\n "features": []}\n',
    "places.json": '[\n {\n  "MAPCaptures": 1,\n  "mine": 2\n }\n]\n',
}


@pytest.mark.parametrize("name", list(FOREIGN))
def test_an_export_replaces_no_file_of_somebody(name: str, tmp_path: Path) -> None:
    making.drive(tmp_path / "card", 3)
    process(tmp_path / "card")
    (tmp_path / name).write_text(FOREIGN[name], encoding="utf-8")
    words = ["export", "--import_path", tmp_path / "card", "--output_path", tmp_path / name]
    assert run(words).code == 11
    assert (tmp_path / name).read_text(encoding="utf-8") == FOREIGN[name]
    (tmp_path / name).unlink()
    assert [run(words).code for _ in range(2)] == [0, 0]


def test_sampling_removes_its_own_leftovers_alone(tmp_path: Path) -> None:
    with mt.Journal(tmp_path) as journal:
        for name in ("sampling-holiday", "sampling-photos-of-2023", "sampling-a1b2c3d_"):
            making.photo(Path(journal.state, name, "a.jpg"))
        mt.SampleRecord(journal)
        left = [name for name in os.listdir(journal.state) if name.startswith("sampling-")]
    assert sorted(left) == ["sampling-holiday", "sampling-photos-of-2023"]


@needs_links
def test_sampling_follows_no_link_in_its_state(tmp_path: Path) -> None:
    making.photo(tmp_path / "pictures" / "a.jpg")
    with mt.Journal(tmp_path / "card") as journal:
        Path(journal.state, "sampling-abcdefgh").symlink_to(tmp_path / "pictures")
        mt.SampleRecord(journal)
    assert list(images_in(tmp_path / "pictures")) == ["a.jpg"]


@needs_links
@pytest.mark.parametrize("link", ["logs/0001.jpg", "logs/0001.jpg/steps.json"])
def test_no_log_is_written_or_removed_through_a_link(link: str, tmp_path: Path) -> None:
    making.drive(tmp_path / "card", 1)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "steps.json").write_text("mine", encoding="utf-8")
    place = tmp_path / "card" / ".mapillary" / link
    place.parent.mkdir(parents=True)
    place.symlink_to(mine / "steps.json" if link.endswith(".json") else mine)
    before = images_in(mine)
    assert process(tmp_path / "card", "--verbose")["done"] == 1
    assert images_in(mine) == before


# ---- what was found is never what we wrote -------------------------------------------------------


def by_track(folder: Path, lat: float, begin: float = NOON) -> List[Any]:
    """The options for a track of ten minutes that goes east."""
    points = [(begin + at, lat, 12.0 + at * 1e-5) for at in range(-300, 300)]
    track = making.gpx(points, folder / f"{lat:.1f}.gpx")
    return ["--geotag_source", "gpx", "--geotag_source_path", track]


ALL_DUPLICATES = "--flag_duplicates --duplicate_distance 5000 --duplicate_angle 360".split()
RUNS_THAT_WRITE_NOTHING: Dict[str, Callable[[Path], List[Any]]] = {
    "fails": lambda folder: by_track(folder, 40.0, NOON - 10**7),
    "keeps": lambda folder: ["--skip_EXIF_insert"],
    "duplicates": lambda folder: [*ALL_DUPLICATES, *by_track(folder, 50.0)],
}


def artist_by_exiftool(path: Path) -> None:
    subprocess.run(
        [str(EXIFTOOL), "-q", "-overwrite_original", "-Artist=somebody", str(path)], check=True
    )


ANOTHER_PROGRAM = [
    tagged,
    pytest.param(
        artist_by_exiftool,
        marks=pytest.mark.skipif(not EXIFTOOL, reason="exiftool is not on this computer"),
    ),
]


def as_found(path: Path) -> Dict[str, Any]:
    """The tags that the camera wrote."""
    others = ("ExifPointer", "GPSPointer", "0th:0x013b", "0th:0x0213", "0th:0x011a", "0th:0x011b")
    rest = ("0th:0x0128", "Exif:0x9101", "Exif:0xa000", "Exif:0xa001", "GPSVersionID")
    tags = making.read_exif(path)
    return {name: tags[name] for name in tags if name not in (*others, *rest)}


@pytest.mark.parametrize("between", list(RUNS_THAT_WRITE_NOTHING))
@pytest.mark.parametrize("another", ANOTHER_PROGRAM)
def test_what_an_earlier_run_wrote_is_not_found_after_one_that_did_not_write(
    another: Callable[[Path], None], between: str, tmp_path: Path
) -> None:
    photo = making.drive(tmp_path / "card", 3, heading=10.0)[1]
    before = as_found(photo)
    assert process(tmp_path / "card", *by_track(tmp_path, 50.0))["done"] == 3
    assert process(tmp_path / "card", *RUNS_THAT_WRITE_NOTHING[between](tmp_path))["found"] == 3
    assert making.description(photo)["MAPLatitude"] == 50.0
    another(photo)
    process(tmp_path / "card")
    row = making.description(photo)
    assert (row["MAPLatitude"], row["MAPLongitude"]) == (57.7001, 11.97)
    assert restore(tmp_path / "card")["exit_code"] == 0
    assert as_found(photo) == before


@pytest.mark.parametrize("caption", [b"Our house", None])
def test_a_caption_of_another_program_shifts_nothing_twice(caption: Any, tmp_path: Path) -> None:
    """A direction was turned again, and what we had written was called the camera's own."""
    photo = making.drive(tmp_path / "card", 3, heading=10.0)[1]
    before = as_found(photo)
    options = ("--offset_angle", "90", "--offset_time", "5")
    process(tmp_path / "card", *options)
    first = making.description(photo)
    tagged(photo, caption=caption)
    for _ in range(2):
        assert process(tmp_path / "card", *options)["failed"] == []
        row = making.description(photo)
        assert row["MAPCompassHeading"] == first["MAPCompassHeading"]
        assert row["MAPCaptureTime"] == first["MAPCaptureTime"]
    assert restore(tmp_path / "card")["done"] == 3
    found = as_found(photo)
    assert found.pop("ImageDescription", None) == (caption.decode() if caption else None)
    assert found == before


def test_a_time_and_a_direction_are_shifted_once(tmp_path: Path) -> None:
    """So they are where a run in between wrote nothing, and another program a tag."""
    photo = making.drive(tmp_path / "card", 3, heading=10.0)[1]
    before, shifted = as_found(photo), ("--offset_time", "100", "--offset_angle", "90")
    process(tmp_path / "card", *shifted)
    wanted = making.description(photo)
    process(tmp_path / "card", *ALL_DUPLICATES)
    tagged(photo)
    process(tmp_path / "card", *shifted)
    assert wanted["MAPCompassHeading"]["TrueHeading"] == 100.0
    for name in ("MAPCaptureTime", "MAPCompassHeading"):
        assert making.description(photo)[name] == wanted[name]
    restore(tmp_path / "card")
    assert as_found(photo) == before


@pytest.mark.parametrize("between", list(RUNS_THAT_WRITE_NOTHING))
def test_a_position_that_another_program_puts_right_after_such_a_run_counts(
    between: str, tmp_path: Path
) -> None:
    photo = making.drive(tmp_path / "card", 3)[1]
    process(tmp_path / "card", *by_track(tmp_path, 50.0))
    process(tmp_path / "card", *RUNS_THAT_WRITE_NOTHING[between](tmp_path))
    tagged(photo, position=(57.70015, 11.9701))
    process(tmp_path / "card")
    row = making.description(photo)
    assert (row["MAPLatitude"], row["MAPLongitude"]) == (57.70015, 11.9701)
    restore(tmp_path / "card")
    assert making.place(photo) == pytest.approx((57.70015, 11.9701, None), abs=1e-7)
    assert making.description(photo) == {}


# ---- what restore puts back ----------------------------------------------------------------------

RENAMED = {
    "renamed": {"0001.jpg": "Tour-01.jpg"},
    "in capitals": {"0001.jpg": "0001.JPG"},
    "swapped": {"0001.jpg": "0002.jpg", "0002.jpg": "0001.jpg"},
}


@pytest.mark.parametrize("names", list(RENAMED.values()), ids=list(RENAMED))
def test_photos_of_other_names_are_restored(names: Dict[str, str], tmp_path: Path) -> None:
    found = {path.name: as_found(path) for path in making.drive(tmp_path, 3, heading=10.0)}
    process(tmp_path, "--offset_angle", "90")
    for name in names:
        (tmp_path / name).rename(tmp_path / f"{name}.moved")
    for name, other in names.items():
        (tmp_path / f"{name}.moved").rename(tmp_path / other)
    row = restore(tmp_path)
    assert (row["exit_code"], row["done"]) == (0, 3), row
    for name in found:
        assert as_found(tmp_path / names.get(name, name)) == found[name]


@pytest.mark.parametrize("left", [False, True], ids=["no state", "a state of nothing"])
def test_a_photo_of_ours_without_a_journal_is_a_stray(left: bool, tmp_path: Path) -> None:
    making.drive(tmp_path, 2)
    process(tmp_path)
    shutil.rmtree(str(tmp_path / ".mapillary"))
    with mt.Journal(tmp_path) if left else contextlib.nullcontext():
        before = images_in(tmp_path)
    row = restore(tmp_path)
    assert (row["exit_code"], row["done"]) == (1, 0)
    assert [one["code"] for one in row["failed"]] == ["stray"] * 2
    assert images_in(tmp_path) == before


def test_a_photo_that_two_services_have_counts_once(card: Path, tmp_path: Path) -> None:
    told("upload", "--import_path", card, "--stand_in", tmp_path / "received")
    row = restore(card)
    assert row["done"] == 3 and "3 of the photos here were sent: 0001.jpg" in row["said"]


# ---- nothing goes up twice -----------------------------------------------------------------------


def test_a_photo_timed_by_its_name_goes_up_once_though_its_state_is_gone(
    tmp_path: Path, service: Service
):
    """Its capture time, which we wrote, is what it is found with after that."""
    card = tmp_path / "card"
    making.photo(card / "20240506_070012.jpg", time=None, lat=57.7, lon=11.97)
    for uploaded in (1, 0):
        assert process(card)["done"] == 1
        row = told("upload", "--import_path", card)
        assert row["done"] == uploaded and row["exit_code"] == 0, row
        shutil.rmtree(str(card / ".mapillary"))
    assert row["skipped"] == {"already_uploaded": 1}


def test_a_copy_that_is_right_is_not_made_again_beside_one_that_is_not(tmp_path: Path):
    """Each run made all of them anew, for ever."""
    card = tmp_path / "card"
    making.drive(card, 3)
    process(card, "--keep_original")
    table = tmp_path / "t.csv"
    table.write_text("0003.jpg,57.8,12.0\n", encoding="utf-8")
    columns = ("--filename_column", 1, "--latitude_column", 2, "--longitude_column", 3)
    told("process_csv", "--import_path", card, "--csv_path", table, *columns)
    assert process(card, "--keep_original", "--keep_jumps")["done"] == 3
    for _ in range(2):
        row = process(card, "--keep_original", "--keep_jumps")
        assert row["skipped"] == {"already_processed": 3}, row
