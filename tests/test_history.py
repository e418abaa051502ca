"""What went up once does not go up again unless somebody wants that; what went up wrongly is known."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, Dict, Iterator, List

import making
import pytest
from conftest import run, told
from service import Service

import mapillary_tools as mt


class Card:
    """Folders of photos, one service, and the commands on them."""

    def __init__(self, base: Path, service: Service) -> None:
        self.base, self.service = base, service

    def make(self, name: str = "a", count: int = 3, **fields: Any) -> Path:
        making.drive(self.base / name, count, **fields)
        return self.base / name

    def process(self, folder: Path, *more: Any) -> Dict[str, Any]:
        return told("process", "--import_path", folder, "--user_name", "demo", *more)

    def upload(self, folder: Path, *more: Any) -> Dict[str, Any]:
        return told("upload", "--import_path", folder, *more)

    def images(self) -> List[str]:
        return sorted(key for key in self.service.received if key.endswith(".jpg"))

    def finished(self) -> int:
        return len(self.service.finished)


@pytest.fixture
def card(tmp_path: Path, own_home: Path, monkeypatch: Any) -> Iterator[Card]:
    with Service() as one:
        for name, value in one.environment(own_home / "config").items():
            monkeypatch.setenv(name, value)
        yield Card(tmp_path, one)


def history(home: Path) -> List[Dict[str, Any]]:
    return [json.loads(text) for text in (home / "history.jsonl").read_text("utf-8").splitlines()]


# ---- the same photos from another folder ---------------------------------------------------------


def copied(card: Card) -> Path:
    """A folder that has gone up, and a copy of the card that was made before."""
    first = card.make()
    shutil.copytree(str(first), str(card.base / "b"))
    card.process(first)
    assert card.upload(first)["done"] == 3
    return card.base / "b"


def test_a_card_in_two_folders_goes_up_once(card: Card):
    second = copied(card)
    assert card.process(second)["done"] == 3
    row = card.upload(second)
    assert (row["exit_code"], row["done"], row["skipped"]) == (0, 0, {"already_uploaded": 3})
    assert len(card.images()) == 3 and card.finished() == 1
    assert f"3 were sent from {card.base / 'a'} on 20" in row["said"]
    again = card.upload(second)
    assert again["skipped"] == {"already_uploaded": 3} and card.finished() == 1


def test_photos_of_a_sequence_that_was_never_finished_go_up_again(card: Card):
    """They are at the service, but nobody sees them: the folder they came from may be gone."""
    first = card.make()
    shutil.copytree(str(first), str(card.base / "b"))
    card.process(first)
    row = card.upload(first, "--manual_done")
    assert (row["done"], card.finished()) == (3, 0)
    shutil.rmtree(str(first))
    card.process(card.base / "b", "--device_make", "Other")
    row = card.upload(card.base / "b")
    assert (row["done"], card.finished()) == (3, 1)


def test_they_count_as_uploaded_afterwards(card: Card):
    second = copied(card)
    card.process(second)
    card.upload(second)
    assert card.process(second)["skipped"] == {"already_uploaded": 3}


def test_new_photos_beside_them_are_a_sequence_of_their_own(card: Card):
    second = copied(card)
    making.drive(card.base / "more", 5)
    for path in sorted((card.base / "more").glob("*.jpg"))[3:]:
        shutil.copy2(str(path), str(second / path.name))
    assert card.process(second)["done"] == 5
    row = card.upload(second)
    assert (row["done"], row["skipped"]) == (2, {"already_uploaded": 3})
    assert len(card.images()) == 5 and card.finished() == 2
    said = run("status", "--import_path", second).stdout
    assert "not finished" not in said and "5 uploaded" in said, said


def test_reupload_sends_them_all_the_same(card: Card):
    second = copied(card)
    card.process(second, "--device_make", "Other")
    row = card.upload(second, "--reupload")
    assert row["done"] == 3 and len(card.images()) == 6 and card.finished() == 2


def test_reupload_sends_also_what_was_left_out_before(card: Card):
    second = copied(card)
    card.process(second, "--device_make", "Other")
    card.upload(second)
    assert card.upload(second, "--reupload")["done"] == 3
    assert card.upload(second, "--reupload")["done"] == 0, "again and again"


def test_a_folder_whose_state_was_removed_does_not_go_up_again(card: Card):
    folder = card.make()
    card.process(folder, "--keep_original")
    card.upload(folder)
    shutil.rmtree(str(folder / ".mapillary"))
    card.process(folder, "--keep_original")
    assert card.upload(folder)["skipped"] == {"already_uploaded": 3}
    assert len(card.images()) == 3


def test_twins_in_one_folder_go_up_as_ever(card: Card):
    """Two files with one picture and time, as some cameras leave them."""
    folder = card.make(count=2)
    first = sorted(folder.glob("*.jpg"))[0]
    shutil.copy2(str(first), str(folder / "twin.jpg"))
    card.process(folder)
    assert card.upload(folder)["done"] == 3
    row = card.upload(folder)
    assert row["skipped"] == {"already_uploaded": 3}


def test_another_photo_with_the_same_picture_goes_up(card: Card):
    """Dark frames look alike: the capture time belongs to the photo."""
    first = card.make(pixels=5)
    card.process(first)
    card.upload(first)
    second = card.make("b", pixels=5, start="2024:05:07 07:08:09")
    card.process(second)
    assert card.upload(second)["done"] == 3


def test_another_service_gets_them_too(card: Card):
    second = copied(card)
    card.process(second)
    row = told("upload", "--import_path", second, "--stand_in", card.base / "other")
    assert row["done"] == 3


def test_the_history_holds_no_position_and_no_token(card: Card, own_home: Path):
    copied(card)
    rows = history(own_home)
    assert len(rows) == 3
    assert {frozenset(row) for row in rows} == {
        frozenset(("picture", "service", "folder", "image", "at"))
    }
    if os.name == "posix":
        assert (own_home / "history.jsonl").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"[1]\n{}\n", b'{"picture": 1}\n{"pict'])
def test_a_damaged_history_is_added_to(card: Card, own_home: Path, content: bytes):
    (own_home / "history.jsonl").write_bytes(content)
    second = copied(card)
    card.process(second)
    assert card.upload(second)["skipped"] == {"already_uploaded": 3}
    assert (own_home / "history.jsonl").read_bytes().startswith(content)


def test_a_history_that_cannot_be_kept_is_said_and_stops_nothing(card: Card, own_home: Path):
    (own_home / "history.jsonl").mkdir()
    folder = card.make()
    card.process(folder)
    row = card.upload(folder)
    assert (row["exit_code"], row["done"]) == (0, 3)
    assert ["the history of uploads" in note for note in row["notes"]].count(True) == 1


def test_what_arrived_before_a_kill_is_in_the_history_after_the_next_run(
    card: Card, own_home: Path
):
    folder = card.make()
    card.process(folder)
    card.upload(folder)
    (own_home / "history.jsonl").unlink()
    card.upload(folder)
    assert len(history(own_home)) == 3


# ---- sent with another time or position ----------------------------------------------------------


def test_a_zone_that_is_mended_after_the_upload_is_said_and_can_be_sent(card: Card):
    folder = card.make()
    card.process(folder)
    card.upload(folder)
    row = card.process(folder, "--timezone", "+02:00")
    assert row["done"] == 3 and "3 were sent with another time, position" in row["said"]
    row = card.upload(folder)
    assert row["skipped"] == {"already_uploaded": 3} and row["outdated"] == 3
    assert "3 were sent with another time, position" in row["said"]
    said = run("status", "--import_path", folder, "--list", "outdated").stdout
    assert "skipped 3: outdated" in said and "3 uploaded, finished" in said, said
    assert card.upload(folder, "--reupload")["done"] == 3
    assert card.finished() == 2 and len(card.images()) == 6
    assert card.upload(folder, "--reupload")["done"] == 0
    assert card.upload(folder)["outdated"] == 0


def test_the_same_options_again_do_nothing(card: Card):
    folder = card.make()
    for _ in range(2):
        card.process(folder, "--timezone", "+02:00")
        card.upload(folder)
    assert len(card.images()) == 3
    row = card.process(folder, "--timezone", "+02:00", "--rerun")
    assert row["skipped"] == {"already_uploaded": 3} and "another time" not in row["said"]


def test_other_options_that_move_nothing_send_nothing(card: Card):
    folder = card.make()
    card.process(folder)
    card.upload(folder)
    row = card.process(folder, "--cutoff_distance", "50", "--timezone", "+00:00")
    assert row["skipped"] == {"already_uploaded": 3} and "another time" not in row["said"]


def test_a_table_that_moves_one_photo_makes_that_one_outdated(card: Card):
    folder = card.make()
    card.process(folder)
    card.upload(folder)
    name = sorted(path.name for path in folder.glob("*.jpg"))[1]
    (card.base / "t.csv").write_text(f"{name},57.7003,11.97\n", "utf-8")
    columns = "--filename_column 1 --latitude_column 2 --longitude_column 3".split()
    told("process_csv", "--import_path", folder, "--csv_path", card.base / "t.csv", *columns)
    row = card.process(folder)
    assert row["done"] == 1 and row["skipped"] == {"already_uploaded": 2}
    assert card.upload(folder)["outdated"] == 1
    assert card.upload(folder, "--reupload")["done"] == 1
    assert len(card.images()) == 4


# ---- gone ----------------------------------------------------------------------------------------


def test_photos_that_were_deleted_after_processing_wait_for_nothing(card: Card):
    folder = card.make(count=4)
    card.process(folder)
    sorted(folder.glob("*.jpg"))[1].unlink()
    assert card.upload(folder)["done"] == 3
    said = run("status", "--import_path", folder, "--list", "gone").stdout
    assert "1: gone" in said and "waiting" not in said, said
    assert "no longer in the folder" in said


# ---- failures that are not the photos' -----------------------------------------------------------


def without_track(card: Card) -> Path:
    """Ten photos, eight of which have no position."""
    folder = card.make(count=2)
    for n in range(8):
        making.photo(folder / f"no_{n}.jpg", time="2024:05:06 07:10:0%d" % n)
    return folder


def test_most_photos_without_a_place_send_nothing(card: Card):
    folder = without_track(card)
    card.process(folder)
    row = card.upload(folder)
    assert row["exit_code"] == 8, row
    assert row["stopped"]["code"] == "mostly_failed"
    assert "8 of 10" in row["stopped"]["wrong"] and "--accept_failed" in row["stopped"]["remedy"]
    assert card.images() == []
    row = card.upload(folder, "--accept_failed")
    assert (row["exit_code"], row["done"]) == (1, 2)
    assert card.finished() == 1


def test_few_photos_without_a_place_hold_nothing_back(card: Card):
    folder = card.make(count=4)
    making.photo(folder / "no.jpg", time="2024:05:06 07:10:00")
    card.process(folder)
    row = card.upload(folder)
    assert (row["exit_code"], row["done"], len(row["failed"])) == (1, 4, 1)


def test_a_sequence_is_finished_without_an_image_that_failed_when_that_is_accepted(card: Card):
    folder = card.make()
    card.process(folder)
    path = sorted(folder.glob("*.jpg"))[1]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    row = card.upload(folder)
    assert (row["done"], len(row["failed"]), card.finished()) == (2, 1, 0)
    row = card.upload(folder, "--accept_failed")
    assert (len(row["failed"]), card.finished()) == (1, 1)
    path.write_bytes(content)
    row = card.upload(folder)
    assert (row["exit_code"], row["done"], card.finished()) == (0, 1, 2)


# ---- a long history -------------------------------------------------------------------------------


def line_of(number: int, service: str = "mapillary", picture: str = "") -> str:
    picture = picture or mt.text_hash(str(number))
    one = mt.Arrival(picture, service, f"/cards/{number}", f"{number}.jpg", "2026-01-01T00:00:00Z")
    return mt.canonical(one._asdict())


def test_a_photo_is_found_among_many_without_reading_them(own_home: Path):
    """Across the blocks that are read at a time, the last line without its end, odd ones between."""
    place = Path(mt.config_path()).parent / "history.jsonl"
    place.parent.mkdir(parents=True, exist_ok=True)
    lines = [line_of(number) for number in range(30000)]
    lines[100] = lines[100].replace('"folder":"', '"folder":"' + "x" * 20000)
    lines[200] = "{" + lines[200][40:]  # damaged
    lines[300] = line_of(300, "another service")
    lines[400] = ""
    place.write_bytes("\n".join(lines).encode("ascii"))
    history = mt.History("mapillary", print)
    for number in (0, 99, 100, 101, 199, 201, 399, 401, 14000, 29998, 29999):
        one = history.before(mt.text_hash(str(number)), "/other/a.jpg", str)
        assert one is not None and one.image == f"{number}.jpg", number
    for number in (200, 300, 400, 30000):
        assert history.before(mt.text_hash(str(number)), "/other/a.jpg", str) is None, number
    assert mt.History("another service", print).before(mt.text_hash("300"), "/other/a.jpg", str)


# ---- the same photos twice in one run -------------------------------------------------------------


@pytest.mark.parametrize("rename", [False, True])
def test_a_card_that_lies_there_twice_goes_up_once(card: Card, rename: bool):
    top = card.base / "both"
    making.drive(top / "x", 4)
    shutil.copytree(str(top / "x"), str(top / "y"))
    if rename:
        for path in list((top / "y").glob("*.jpg")):
            path.rename(path.with_name("IMG_" + path.name))
    both = ("process_and_upload", "--import_path", top, "--user_name", "demo")
    row = told(*both)
    assert (row["exit_code"], row["done"]) == (0, 4), row
    assert row["skipped"] == {"already_uploaded": 4} and row["safe_to_delete"] is True
    assert len(card.images()) == 4 and card.finished() == 1
    assert f"were sent from {top / 'x'}" in str(row["notes"]) + row["said"]
    again = told(*both)
    assert again["done"] == 0 and again["safe_to_delete"] is True and len(card.images()) == 4
    row = told("upload", "--import_path", top, "--reupload")
    assert row["exit_code"] == 0 and card.finished() >= 1


def test_the_second_of_a_photo_goes_where_the_first_fails(card: Card):
    top = card.base / "both"
    making.drive(top / "x", 3)
    shutil.copytree(str(top / "x"), str(top / "y"))
    told("process", "--import_path", top, "--user_name", "demo")
    (top / "x" / "0002.jpg").write_bytes(b"no photo any more")
    row = told("upload", "--import_path", top)
    assert [Path(one["file"]) for one in row["failed"]] == [top / "x" / "0002.jpg"], row
    row = told("upload", "--import_path", top / "y")
    assert row["exit_code"] == 0 and len(card.images()) == 3, row


def test_a_run_that_ends_before_the_first_is_finished_leaves_the_second(card: Card):
    top = card.base / "both"
    making.drive(top / "x", 3)
    shutil.copytree(str(top / "x"), str(top / "y"))
    told("process", "--import_path", top, "--user_name", "demo")
    row = told("upload", "--import_path", top, "--manual_done")  # nobody answers: left open
    assert card.finished() == 0
    shutil.rmtree(str(top / "x"))
    row = told("upload", "--import_path", top)
    assert row["exit_code"] == 0 and row["safe_to_delete"] is True and card.finished() == 1, row
