"""What is remembered of folders in which nothing is left to do: the same is told as without it, whatever changes since."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import making
import mapillary_tools as mt
import pytest
from conftest import Ran, in_process, run

pytestmark = in_process
told_apart = pytest.mark.skipif(
    os.name == "nt", reason="does not tell when a file changed: photos are looked at again"
)
START = 1714979281


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A folder of each kind of image: six good ones, a duplicate, one outside the track, one broken, one that is no JPEG."""
    monkeypatch.setattr(mt, "SETTLED_FROM", 3)
    place = tmp_path / "p"
    making.drive(place, 6)
    making.photo(place / "0007.jpg", time="2024:05:06 07:08:19", subsec="001", pixels=7)
    making.photo(place / "0008.jpg", time="2024:05:06 17:08:19", pixels=8)
    (place / "0009.jpg").write_bytes(b"\xff\xd8 no photo")
    (place / "0010.tif").write_bytes(b"II*\0")
    points = [(START + n, 57.7 + n / 1e4, 11.97, 5.0) for n in range(40)]
    making.gpx(points, tmp_path / "track.gpx")
    return place


def process(folder: Path, *more: Any) -> Ran:
    words = [
        "--advanced",
        "--flag_duplicates",
        "--user_name",
        "demo",
        "--timezone",
        "UTC",
        "--json",
    ]
    words += ["--geotag_source", "gpx", "--geotag_source_path", folder.parent / "track.gpx"]
    return run("process", "--import_path", folder, *words, *more)


def told(ran: Ran) -> Dict[str, Any]:
    row: Dict[str, Any] = json.loads(ran.stdout)
    row.pop("seconds")
    return dict(row, exit=ran.code, words=sorted(ran.stderr.splitlines()))


def status(folder: Path, *more: Any) -> Dict[str, Any]:
    return told(run("status", "--import_path", folder, "--json", *more))


def remembered(folder: Path) -> Path:
    return Path(mt.settled_path(str(folder)))


@pytest.fixture
def looked(monkeypatch: Any) -> List[str]:
    """The folders whose journals were read for their images."""
    found: List[str] = []
    plain = mt.Journal._read

    def read(journal: Any) -> None:
        found.append(journal.folder)
        plain(journal)

    monkeypatch.setattr(mt.Journal, "_read", read)
    return found


def in_full(folder: Path, act: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
    """What is told without what is remembered."""
    path = remembered(folder)
    kept = path.read_bytes()
    path.unlink()
    try:
        return act()
    finally:
        path.write_bytes(kept)


@told_apart
def test_a_second_run_tells_the_same_without_looking_at_an_image(folder, looked):
    first = told(process(folder))
    assert first["done"] == 6 and len(first["failed"]) == 2, first
    looked.clear()
    quick = told(process(folder))
    assert not looked
    slow = in_full(folder, lambda: told(process(folder)))
    assert looked and quick == slow
    assert quick["skipped"] == {"already_processed": 6, "duplicate": 1, "not_jpeg": 1}
    assert quick["exit"] == 1 and [one["file"] for one in quick["failed"]]


@told_apart
def test_a_second_run_opens_no_photo(folder, monkeypatch):
    process(folder)
    opened: List[str] = []
    plain = mt.regular_only
    monkeypatch.setattr(
        mt, "regular_only", lambda path, flags: opened.append(path) or plain(path, flags)
    )
    process(folder)
    assert opened and [path for path in opened if path.endswith(".jpg")] == []


def test_status_tells_the_same(folder, looked):
    process(folder)
    looked.clear()
    quick = status(folder)
    assert not looked
    assert quick == in_full(folder, lambda: status(folder)) and looked
    assert quick["skipped"]["waiting"] == 6 and len(quick["failed"]) == 2


def test_the_words_for_a_person_are_the_same(folder):
    def words() -> List[str]:
        lines = run("status", "--import_path", folder).stdout.splitlines()
        return [line for line in lines if not line.startswith("  took ")]

    process(folder)
    quick = words()
    remembered(folder).unlink()
    assert quick == words()


def test_what_is_listed_is_looked_up(folder, looked):
    process(folder)
    looked.clear()
    assert len(status(folder, "--list", "waiting")["listed"]) == 6 and looked


def _touched(folder: Path) -> None:
    os.utime(str(folder / "0001.jpg"), (1, 1))


def _edited_in_place(folder: Path) -> None:
    path = folder / "0001.jpg"
    before, data = os.stat(str(path)), bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    os.utime(str(path), ns=(before.st_atime_ns, before.st_mtime_ns))


def _gone(folder: Path) -> None:
    (folder / "0002.jpg").unlink()


def _renamed(folder: Path) -> None:
    (folder / "0002.jpg").rename(folder / "0011.jpg")


def _one_more(folder: Path) -> None:
    making.photo(folder / "0011.jpg", time="2024:05:06 07:08:30", pixels=11)


def _one_more_tiff(folder: Path) -> None:
    (folder / "0012.tif").write_bytes(b"II*\0")


def _one_below(folder: Path) -> None:
    making.photo(folder / "q" / "0001.jpg", time="2024:05:06 07:08:31", pixels=12)


def _another_track(folder: Path) -> None:
    points = [(START + n, 57.8 + n / 1e4, 11.97, 5.0) for n in range(40)]
    making.gpx(points, folder.parent / "track.gpx")


def _journal_damaged(folder: Path) -> None:
    path = folder / ".mapillary" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"demo"', b'"d\x00mo"'))


def _journal_gone(folder: Path) -> None:
    (folder / ".mapillary" / "journal.jsonl").unlink()


def _torn_line(folder: Path) -> None:
    with open(str(folder / ".mapillary" / "journal.jsonl"), "ab") as stream:
        stream.write(b'{"image":"00')


def _left_over(folder: Path) -> None:
    (folder / ".mapillary" / ".mapillary-1.part").write_bytes(b"")


def _uploaded_long_ago(folder: Path) -> None:
    mark = folder / ".mapillary" / "logs" / "0001" / "upload_success"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_bytes(b"")


def _given(folder: Path) -> None:
    rows = folder.parent / "rows.csv"
    rows.write_text("0003.jpg,2024:05:06 07:08:20.0\n", "utf-8")
    columns = ["--filename_column", "1", "--timestamp_column", "2"]
    run("process_csv", "--import_path", folder, "--csv_path", rows, "--advanced", *columns)


CHANGES: List[Callable[[Path], None]] = [
    _touched,
    _gone,
    _renamed,
    _one_more,
    _one_more_tiff,
    _one_below,
    _another_track,
    _journal_damaged,
    _journal_gone,
    _torn_line,
    _left_over,
    _uploaded_long_ago,
    _given,
]
if os.name != "nt":  # where the system does not tell when a file changed
    CHANGES.append(_edited_in_place)


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_has_changed_since_is_seen(folder, looked, change):
    process(folder)
    change(folder)
    looked.clear()
    quick = told(process(folder, "--dry_run"))
    assert looked
    assert quick == in_full(folder, lambda: told(process(folder, "--dry_run")))


STATUS_CHANGES = [one for one in CHANGES if one not in (_touched, _another_track, _one_below)]


@pytest.mark.parametrize(
    "change", [one for one in STATUS_CHANGES if one.__name__ != "_edited_in_place"]
)
def test_status_sees_what_has_changed(folder, looked, change):
    process(folder)
    change(folder)
    looked.clear()
    quick = status(folder)
    assert looked
    assert quick == in_full(folder, lambda: status(folder))


@pytest.mark.parametrize(
    "more",
    [
        ["--rerun"],
        ["--offset_angle", "90"],
        ["--cutoff_time", "1"],
        ["--offset_time", "1"],
        ["--organization_key", "k"],
        ["--skip_EXIF_insert"],
        ["--keep_original"],
        ["--exclude_area", "57.7,11.97,50"],
        ["--merge_folders"],
        ["--verbose"],
    ],
    ids=lambda words: words[0],
)
def test_other_options_are_another_run(folder, looked, more):
    process(folder)
    looked.clear()
    quick = told(process(folder, "--dry_run", *more))
    assert looked
    assert quick == in_full(folder, lambda: told(process(folder, "--dry_run", *more)))


def test_sent_images_are_looked_up(folder, looked, tmp_path):
    process(folder)
    assert run("upload", "--import_path", folder, "--stand_in", tmp_path / "received").code == 1
    looked.clear()
    assert told(process(folder)) and looked
    looked.clear()
    assert status(folder)["elsewhere"] and looked


def test_a_folder_of_a_run_in_which_another_has_changed_is_looked_up(folder, looked):
    shutil.copytree(str(folder), str(folder / "q"))
    process(folder)
    (folder / "q" / "0001.jpg").unlink()
    looked.clear()
    quick = told(process(folder))
    assert sorted(set(looked)) == [str(folder), str(folder / "q")]
    assert quick["found"] == 20 - 1


def test_what_is_tried_again_is_not_remembered(folder, monkeypatch):
    plain = mt.read_found

    def broken(path: Any) -> Any:
        if str(path).endswith("0004.jpg"):
            raise mt.BadExif(mt.UNREADABLE, "cannot be read", file=path)
        return plain(path)

    monkeypatch.setattr(mt, "read_found", broken)
    assert process(folder).code == 1
    assert not remembered(folder).exists()
    monkeypatch.setattr(mt, "read_found", plain)
    assert told(process(folder))["done"] == 6


def test_few_images_leave_nothing(folder, monkeypatch):
    monkeypatch.setattr(mt, "SETTLED_FROM", 1000)
    process(folder)
    assert not remembered(folder).exists()


def test_a_dry_run_leaves_nothing(folder):
    process(folder, "--dry_run")
    assert not (folder / ".mapillary").exists()


def test_where_it_cannot_be_written_the_run_succeeds(folder, monkeypatch):
    plain = mt.write_atomically

    def full(path: Any, *more: Any, **named: Any) -> Any:
        if str(path).endswith("settled.json"):
            raise mt.NoRoom("disk_full", "no space", file=path)
        return plain(path, *more, **named)

    monkeypatch.setattr(mt, "write_atomically", full)
    assert told(process(folder))["done"] == 6 and not remembered(folder).exists()


def _cut(text: str) -> Optional[str]:
    return text[: len(text) // 2]


def _other_type(text: str) -> str:
    return json.dumps(dict(json.loads(text), members=[1], ids=5))


def _no_such_sequence(text: str) -> str:
    row = json.loads(text)
    return json.dumps(dict(row, members={name: 99 for name in row["members"]}))


def _deep(text: str) -> str:
    return "[" * 100000


def _without(text: str) -> str:
    row = json.loads(text)
    del row["others"]
    return json.dumps(row)


@pytest.mark.parametrize(
    "damage", [_cut, _other_type, _no_such_sequence, _deep, _without, lambda text: ""]
)
def test_a_damaged_file_is_none(folder, looked, damage):
    process(folder)
    quick, path = told(process(folder)), remembered(folder)
    path.write_text(damage(path.read_text("ascii")), "ascii")
    looked.clear()
    assert told(process(folder)) == quick and looked


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
@pytest.mark.parametrize("state", [False, True], ids=["file", "folder"])
def test_a_link_in_its_place_is_not_followed(folder, tmp_path, state):
    process(folder)
    if state:
        place = folder / ".mapillary"
        place.rename(tmp_path / "theirs")
        place.symlink_to(tmp_path / "theirs", target_is_directory=True)
        assert process(folder).code == 10
        return
    path, other = remembered(folder), tmp_path / "theirs.json"
    path.rename(other)
    path.symlink_to(other)
    before = other.read_bytes()
    (folder / "0001.jpg").unlink()
    assert process(folder).code == 10
    assert other.read_bytes() == before


@told_apart
def test_an_embedding_program_gets_the_images(folder):
    track = str(folder.parent / "track.gpx")
    groups = [
        mt.Input(import_path=str(folder)),
        mt.User(user_name="demo"),
        mt.Geotagging(geotag_source="gpx", geotag_source_path=track, timezone="UTC"),
        mt.SequenceOptions(flag_duplicates=True),
    ]
    mt.process(*groups)
    quick = mt.process(*groups).images
    remembered(folder).unlink()
    slow = mt.process(*groups).images
    assert isinstance(quick, mt.RecordedImages) and len(quick) == len(slow) == 10
    assert list(quick) == list(slow) and quick[2:4] == slow[2:4]


def test_the_page_of_a_second_run_shows_the_images(folder, tmp_path):
    process(folder)
    page = tmp_path / "page.html"
    process(folder, "--report", page)
    quick = page.read_text("utf-8")
    remembered(folder).unlink()
    page.unlink()
    process(folder, "--report", page)
    assert quick == page.read_text("utf-8") and "0001.jpg" in quick


def test_a_folder_that_appears_beside_one_of_a_merged_drive_is_said(folder, tmp_path):
    first = tmp_path / "100GOPRO"
    folder.rename(first)
    process(first, "--merge_folders")
    shutil.copytree(str(first), str(tmp_path / "101GOPRO"))
    notes = told(process(first, "--merge_folders"))["notes"]
    assert any("101GOPRO" in note for note in notes), notes


def test_a_photo_that_changes_while_the_run_ends_is_seen(folder, monkeypatch, looked):
    plain = mt.remember_settled

    def late(*args: Any) -> None:
        _touched(folder)
        plain(*args)

    with monkeypatch.context() as patch:
        patch.setattr(mt, "remember_settled", late)
        process(folder)
    looked.clear()
    assert told(process(folder))["done"] == 0 and looked
