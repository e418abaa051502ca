"""Pictures that go up once, and frames that stay, whatever was renamed, corrected, copied or replaced meanwhile."""

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List

import making
import pytest
from conftest import ROOT, in_process, process, run, told
from service import END, Service, cut, status
from test_upload import FINISH

pytestmark = [in_process, pytest.mark.usefixtures("quick")]


@pytest.fixture
def card(tmp_path: Path, service: Service, monkeypatch: Any) -> Path:
    """A folder whose photos go up one after the other."""
    monkeypatch.setenv("NUMBER_THREADS", "1")
    monkeypatch.setenv("MAX_ATTEMPTS", "2")
    return tmp_path / "card"


def upload(folder: Path, *more: Any) -> Dict[str, Any]:
    return told("upload", "--import_path", folder, *more)


def give(folder: Path, rows: str, *columns: Any) -> Dict[str, Any]:
    """process_csv with rows of file names, latitudes and longitudes."""
    table = folder.parent / "given.csv"
    table.write_text(rows, encoding="utf-8")
    where = columns or ("--latitude_column", "2", "--longitude_column", "3")
    return told(
        *("process_csv", "--import_path", folder, "--csv_path", table),
        *("--filename_column", "1", *where),
    )


def moved(numbers: range, lat: float = 57.71) -> str:
    """A table that puts photos elsewhere."""
    return "".join(f"{n:04d}.jpg,{lat + n * 1e-4:.5f},11.97\n" for n in numbers)


def once(service: Service, photos: int) -> None:
    """Each of so many photos is in one finished sequence."""
    assert service.problems == []
    named = [key for one in service.finished for key in one["images"]]
    assert len(named) == len(set(named)) == photos


# ---- a finish whose answer was lost, or that was refused ----------------------------------------


@pytest.mark.parametrize("more", [(), ("--cutoff_time", "1")], ids=["as before", "cut anew"])
def test_a_sequence_whose_finish_was_not_answered_is_not_finished_twice_after_a_correction(
    more: Any, card: Path, service: Service
):
    """Three of six were in two finished sequences, with exit 0."""
    making.drive(card, 6, seconds=20)
    process(card)
    service.faults.append(cut(END, path="finish", times=None))
    upload(card)
    service.faults.clear()
    give(card, moved(range(4, 7)))
    process(card, *more)
    row = upload(card)
    once(service, 6)
    assert row["failed"] == []


@pytest.mark.parametrize("how", ["refused", "not answered"])
def test_a_photo_that_was_renamed_before_a_finish_is_in_one_sequence(
    how: str, card: Path, service: Service
):
    """Its next description had a sequence of its own, in which it was finished as well."""
    making.drive(card, 5)
    process(card)
    (card / "0004.jpg").rename(card / "r4.jpg")
    fault = (
        status(400, {"error": "x"}, path=FINISH, times=None)
        if how == "refused"
        else cut(END, path="finish", times=None)
    )
    service.faults.append(fault)
    upload(card)
    service.faults.clear()
    process(card)
    upload(card)
    once(service, 5)


def test_photos_that_no_manifest_names_go_up_anew_when_they_are_corrected(
    card: Path, service: Service
):
    """A guard: what nobody was asked to publish gets the position of now."""
    making.drive(card, 4)
    process(card)
    upload(card, "--manual_done")
    give(card, moved(range(1, 5)))
    process(card)
    row = upload(card)
    assert row["done"] == 4
    places = [
        making.description(bytes(service.received[key].content or b""))["MAPLatitude"]
        for one in service.finished
        for key in one["images"]
    ]
    assert sorted(places) == pytest.approx([57.7101, 57.7102, 57.7103, 57.7104])


# ---- copies -------------------------------------------------------------------------------------


def test_a_copy_with_the_position_that_a_table_gave_goes_up_once(card: Path, service: Service):
    """The two that were corrected went up twice."""
    making.drive(card / "a", 4)
    give(card / "a", moved(range(2, 4), 57.69995))
    (card / "copy").mkdir()
    for path in (card / "a").glob("*.jpg"):
        shutil.copy2(path, card / "copy")
    process(card)
    row = upload(card)
    assert (row["done"], row["skipped"]) == (4, {"already_uploaded": 4})
    once(service, 4)


def test_the_same_picture_at_another_place_is_another_photo(card: Path, service: Service):
    """A guard."""
    making.drive(card / "a", 2)
    making.drive(card / "b", 2, lat=57.8)
    process(card)
    assert upload(card)["done"] == 4


def test_what_a_run_beside_this_one_has_sent_is_not_sent_again(card: Path, service: Service):
    """The history was read once, when the run began."""
    making.drive(card / "a", 12)
    (card / "b").mkdir()
    for path in sorted((card / "a").glob("*.jpg"))[6:]:
        shutil.copy2(path, card / "b")
    process(card / "a")
    process(card / "b")
    words = [sys.executable, str(ROOT / "mapillary_tools.py"), "upload", "--import_path"]
    begun, ran = threading.Event(), threading.Event()
    fault_for = service.fault_for

    def acting(method: str, path: str) -> Any:
        if not begun.is_set():
            begun.set()
            subprocess.run([*words, str(card / "b")], check=True, stdout=subprocess.DEVNULL)
            ran.set()
        return fault_for(method, path)

    service.fault_for = acting  # type: ignore[method-assign]
    row = upload(card / "a")
    assert ran.is_set() and (row["done"], row["skipped"]) == (6, {"already_uploaded": 6})
    once(service, 12)


# ---- restored photos ----------------------------------------------------------------------------


def test_photos_that_were_restored_are_still_known_as_sent(card: Path, service: Service):
    """Their files are larger than before, with the room of our description: "not processed"."""
    making.drive(card, 3)
    process(card)
    upload(card)
    run("restore", "--import_path", card)
    row = upload(card)
    assert (row["skipped"], row["failed"]) == ({"already_uploaded": 3}, [])
    assert row["safe_to_delete"] is True
    assert told("status", "--import_path", card)["done"] == 3


def test_restore_counts_the_photos_that_are_here(card: Path, service: Service):
    """Those that had been renamed were counted under both names."""
    making.drive(card, 3)
    process(card)
    upload(card)
    (card / "0002.jpg").rename(card / "other.jpg")
    process(card)
    upload(card)
    (card / "0003.jpg").unlink()
    said = run("restore", "--import_path", card).stderr
    assert "2 of the photos here were sent" in said


# ---- journals -----------------------------------------------------------------------------------


def tags_in(folder: Path) -> List[Dict[str, Any]]:
    """What its photos carry, but for where it lies."""
    read = (making.read_exif(path) for path in sorted(folder.glob("*.jpg")))
    return [{key: one[key] for key in one if "Pointer" not in key} for one in read]


def damaged_first_lines() -> List[Any]:
    def zeroed(text: bytes) -> bytes:
        end = text.index(b"\n")
        return b"\0" * end + text[end:]

    return [
        pytest.param(zeroed, id="zeroed"),
        pytest.param(lambda text: b'{"jourfal"' + text[9:], id="a letter"),
        pytest.param(lambda text: b"\n" + text, id="a blank line before"),
    ]


@pytest.mark.parametrize("damage", damaged_first_lines())
def test_a_journal_whose_first_line_is_damaged_tells_all_else(damage: Any, tmp_path: Path):
    """It was "no journal", to be moved away, with all that photos had carried before."""
    card = tmp_path / "card"
    making.drive(card, 3)
    before = tags_in(card)
    process(card, "--offset_angle", "90")
    path = card / ".mapillary" / "journal.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    assert told("restore", "--import_path", card)["done"] == 3
    assert tags_in(card) == before


def test_a_file_without_a_line_of_ours_is_no_journal(tmp_path: Path):
    """A guard."""
    card = tmp_path / "card"
    making.drive(card, 1)
    (card / ".mapillary").mkdir()
    (card / ".mapillary" / "journal.jsonl").write_bytes(b"something else\nand more\n")
    assert "is no journal" in run("process", "--import_path", card, "--user_name", "me").stderr


@pytest.mark.parametrize("tool", ["process", "status", "restore", "upload"])
def test_photos_of_a_folder_whose_journal_cannot_be_used_name_the_journal(
    tool: str, tmp_path: Path, service: Service
):
    """The photo was said to be no journal, and to be moved away."""
    top = tmp_path / "top"
    making.drive(top / "a", 2)
    making.drive(top / "b", 2, lat=57.8)
    process(top)
    path = top / "b" / ".mapillary" / "journal.jsonl"
    path.write_bytes(b'{"journal":99}\n' + path.read_bytes())
    user = ["--user_name", "demo"] if tool == "process" else []
    ran = run(tool, "--import_path", top, *user, "--verbose")
    assert f"waits for {path}, which was written by a newer version" in ran.stdout
    assert ran.code == 1


@pytest.mark.parametrize("tool", ["process", "status", "restore", "report"])
def test_a_file_with_the_name_of_our_folder_is_told_as_such(tool: str, tmp_path: Path):
    """It was "cannot be written: File exists (check the disk)" of each photo."""
    top = tmp_path / "top"
    making.drive(top / "a", 2)
    process(top)
    making.drive(top / "b", 2, lat=57.8)
    (top / "b" / ".mapillary").write_text("mine", encoding="utf-8")
    user = ["--user_name", "demo"] if tool == "process" else []
    page = ["--output_path", tmp_path / "r.html"] if tool == "report" else []
    ran = run(tool, "--import_path", top, *user, *page)
    assert "is a file, where our folder should be (move it away)" in ran.stdout
    assert (top / "b" / ".mapillary").read_text(encoding="utf-8") == "mine"


# ---- the service --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [4, 17, 32, 613])
def test_a_limit_of_requests_is_waited_for_whatever_its_status(
    code: int, card: Path, service: Service
):
    """It was "does not accept the access token", with the advice to authenticate."""
    making.drive(card, 2)
    process(card)
    refused = {"error": {"message": "limit reached", "code": code}}
    service.faults.append(status(403, refused))
    row = upload(card)
    assert (row["done"], row["failed"], row["stopped"]) == (2, [], None)


# ---- photos that come behind others -------------------------------------------------------------


def corner(folder: Path) -> None:
    """Eight photos to the north, then eight to the east, without a compass."""
    for n in range(16):
        lat, lon = 57.7 + 1e-4 * min(n, 7), 11.97 + 2e-4 * max(0, n - 7)
        time = f"2024:05:06 07:08:{2 * n:02d}"
        making.photo(folder / f"{n + 1:04d}.jpg", lat=lat, lon=lon, time=time, pixels=n)


def headings(folder: Path) -> Dict[str, float]:
    described = {path.name: making.description(path) for path in folder.glob("*.jpg")}
    return {name: one["MAPCompassHeading"]["TrueHeading"] for name, one in described.items()}


def test_a_photo_that_comes_late_has_the_direction_of_its_way(card: Path, service: Service):
    """It went up without one."""
    corner(card)
    late = card / "0004.jpg"
    content = late.read_bytes()
    late.unlink()
    process(card)
    upload(card)
    late.write_bytes(content)
    process(card)
    assert headings(card)["0004.jpg"] == 0.0
    assert upload(card)["done"] == 1
    once(service, 16)


def test_photos_that_are_corrected_later_have_the_direction_of_their_way(
    card: Path, service: Service
):
    """They pointed from one corrected photo to the other, across the corner."""
    rows = "0004.jpg,57.70031,11.97\n0012.jpg,57.70071,11.971\n"
    corner(card)
    corner(card.parent / "at once")
    give(card.parent / "at once", rows)
    process(card.parent / "at once")
    process(card)
    upload(card)
    give(card, rows)
    process(card)
    now, whole = headings(card), headings(card.parent / "at once")
    assert {name: now[name] for name in ("0004.jpg", "0012.jpg")} == {
        name: whole[name] for name in ("0004.jpg", "0012.jpg")
    }


def test_a_late_duplicate_of_a_photo_that_went_up_is_one(card: Path, service: Service):
    """It went up, with --flag_duplicates."""
    making.drive(card, 4, step=1e-4)
    process(card, "--flag_duplicates")
    upload(card)
    making.photo(card / "0009.jpg", time="2024:05:06 07:08:16", lat=57.7003, lon=11.97, pixels=99)
    row = process(card, "--flag_duplicates")
    assert row["skipped"] == {"already_uploaded": 4, "duplicate": 1}


# ---- what a table gives -------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["positions", "nothing"])
def test_a_turn_that_is_given_behind_a_table_of_positions_counts(before: str, card: Path):
    """It was "written", and not journaled, where the positions stood in the photos already."""
    making.drive(card, 3)
    if before == "positions":
        give(card, moved(range(1, 4), 57.70001))
    table = card.parent / "corrections.csv"
    table.write_text("filename,leave_out,turn_by\n0002.jpg,,90\n", encoding="utf-8")
    assert told("process_csv", "--import_path", card, "--csv_path", table)["done"] == 1
    process(card)
    assert headings(card) == {"0001.jpg": 0.0, "0002.jpg": 90.0, "0003.jpg": 0.0}


def test_a_mark_that_is_taken_back_behind_a_table_of_positions_is_gone(card: Path):
    """The photo was left out for ever."""
    making.drive(card, 3)
    give(card, moved(range(1, 4), 57.70001))
    for mark, done in (("yes", 2), ("no", 3)):
        table = card.parent / "corrections.csv"
        table.write_text(f"filename,leave_out,turn_by\n0002.jpg,{mark},\n", encoding="utf-8")
        run("process_csv", "--import_path", card, "--csv_path", table)
        assert process(card, "--rerun")["done"] == done


def test_a_table_is_written_once(card: Path):
    """A guard: the same table again changes nothing, and adds nothing to the journal."""
    making.drive(card, 3)
    give(card, moved(range(1, 4), 57.70001))
    path = card / ".mapillary" / "journal.jsonl"
    before = path.read_bytes()
    give(card, moved(range(1, 4), 57.70001))
    assert path.read_bytes() == before


def test_rows_without_names_go_on_with_a_photo_that_is_left_out(card: Path):
    """The table of yesterday was refused: 3 rows, 2 images."""
    making.drive(card, 3)
    table = card.parent / "corrections.csv"
    table.write_text("filename,leave_out,turn_by\n0002.jpg,yes,\n", encoding="utf-8")
    run("process_csv", "--import_path", card, "--csv_path", table)
    rows = card.parent / "rows.csv"
    rows.write_text("57.71,11.97\n57.72,11.97\n57.73,11.97\n", encoding="utf-8")
    row = told(
        *("process_csv", "--import_path", card, "--csv_path", rows),
        *("--latitude_column", "1", "--longitude_column", "2"),
    )
    assert row["stopped"] is None
    places = [making.place(card / f"000{n}.jpg")[0] for n in (1, 3)]
    assert places == pytest.approx([57.71, 57.73])


def test_what_was_corrected_since_it_was_sent_is_told_before_it_is_processed(
    card: Path, service: Service
):
    """It was "may leave the card", with the correction in nobody's description."""
    making.drive(card, 3)
    process(card)
    upload(card)
    give(card, moved(range(2, 3), 57.69992))
    row = upload(card)
    assert row["skipped"] == {"already_uploaded": 2, "outdated": 1}
    assert row["safe_to_delete"] is False
    assert "process again" in row["said"]
    assert told("status", "--import_path", card)["skipped"] == {"outdated": 1}


# ---- people -------------------------------------------------------------------------------------


def test_paths_are_taken_as_paths_by_every_group(tmp_path: Path):
    """A Path ended in a TypeError, after all was done."""
    import mapillary_tools as mt

    assert mt.RunPage(report=tmp_path / "r.html").report == str(tmp_path / "r.html")
    assert mt.ExportOptions(output_path=tmp_path / "e.csv").output_path == str(tmp_path / "e.csv")
    assert mt.PageOptions(output_path=tmp_path / "r.html").output_path == str(tmp_path / "r.html")
    assert mt.StatusOptions(image=Path("a.jpg")).image == "a.jpg"
    with pytest.raises(mt.NotFound):
        mt.video_process(
            mt.Input(tmp_path), mt.Video(video_path=tmp_path / "no.mp4"), mt.User("me")
        )


def test_true_is_no_number():
    import mapillary_tools as mt

    with pytest.raises(mt.UsageError, match="must be a number"):
        mt.Geotagging(offset_time=True)


@pytest.mark.parametrize("dry", [False, True])
def test_a_composed_run_that_does_not_come_to_the_upload_names_itself(dry: bool, card: Path):
    """The JSON was that of process, with its counts, and no parts."""
    making.drive(card, 1)
    for number in range(3):  # most cannot be placed: nothing is sent
        making.photo(card / f"1{number}.jpg", time=f"2024:05:06 07:08:2{number}", pixels=number)
    more = ["--dry_run"] if dry else []
    row = told("process_and_upload", "--import_path", card, "--user_name", "demo", *more)
    assert row["tool"] == "process_and_upload"
    assert [part["tool"] for part in row["parts"]] == ["process"]
    assert (row["stopped"] is None) == dry


def test_descriptions_that_are_printed_are_in_the_json(card: Path):
    """They were nowhere."""
    making.drive(card, 2)
    process(card)
    row = told("export", "--import_path", card, "--output_path", "-")
    assert [one["filename"][-8:] for one in row["descriptions"]] == ["0001.jpg", "0002.jpg"]


def test_interpolate_takes_several_folders(tmp_path: Path):
    """It took one."""
    for name in "ab":
        making.drive(tmp_path / name, 3)
        making.photo(tmp_path / name / "0002.jpg", time="2024:05:06 07:08:11", pixels=7)
    where = ("--import_path", tmp_path / "a", "--import_path", tmp_path / "b")
    row = told("interpolate", "--data", "missing_gps", *where)
    assert (row["found"], row["done"]) == (6, 2)


@pytest.mark.parametrize("words", [("process", "--version"), ("--version", "process")])
def test_the_version_is_told_wherever_it_is_asked_for(words: Any):
    ran = run(*words)
    assert ran.code == 0 and ran.stdout.startswith("mapillary_tools ")


IDLE = [
    (("process_csv", "--latitude_column", "2", "--longitude_column", "3"), "--convert_utc_time"),
    (("process_csv", "--latitude_column", "2", "--longitude_column", "3"), "--time_format=%Y"),
    (("interpolate", "--data", "identical_timestamps"), "--time_utc"),
    (("interpolate", "--data", "identical_timestamps"), "--header"),
    (("interpolate", "--data", "identical_timestamps"), "--max_time_delta=5"),
    (("status", "--image", "0001.jpg"), "--list=failed"),
]


@pytest.mark.parametrize("words, option", IDLE, ids=[f"{one[0][0]} {one[1]}" for one in IDLE])
def test_options_that_do_nothing_are_said(words: Any, option: str, card: Path):
    """They were passed over in silence."""
    making.drive(card, 2)
    table = card.parent / "rows.csv"
    table.write_text("0001.jpg,57.7,11.97\n", encoding="utf-8")
    tool, *more = words
    if tool == "process_csv":
        more += ["--csv_path", str(table), "--filename_column", "1"]
    typed = option.replace("=", " ").split()
    said = run(tool, "--import_path", card, *more, *typed).stderr
    assert f"{typed[0]} does nothing " in said
    assert "does nothing" not in run(tool, "--import_path", card, *more).stderr


@pytest.mark.parametrize("name", ["a/0001.jpg", "./a/0001.jpg"])
def test_a_photo_is_explained_by_the_name_that_an_export_has_for_it(name: str, card: Path):
    """It was "no such image here (did you mean 0001.jpg?)"."""
    for folder in "ab":
        making.drive(card / folder, 2)
    process(card)
    ran = run("status", "--import_path", card, "--image", name)
    assert ran.code == 0 and str(card / "a" / "0001.jpg") in ran.stdout
    assert str(card / "b" / "0001.jpg") not in ran.stdout


def test_a_sync_point_may_begin_with_a_dot(card: Path):
    making.drive(card / "a", 2)
    row = process(card, "--sync_point", "2024-05-06T07:08:19Z@./a/0001.jpg")
    assert row["stopped"] is None and row["done"] == 2


def test_what_another_program_holds_is_told_so_when_it_is_read(monkeypatch: Any):
    """A journal that was open elsewhere had the advice to check its rights."""
    import mapillary_tools as mt

    refused = OSError(13, "Permission denied")
    monkeypatch.setattr(mt, "is_held", lambda error: False)
    plain = mt.unreadable_journal("a/.mapillary/journal.jsonl", refused).problem
    assert (plain.wrong, plain.remedy) == ("cannot be read", "check its rights")
    monkeypatch.setattr(mt, "is_held", lambda error: True)
    for problem in (
        mt.unreadable_journal("a", refused).problem,
        mt._vanished("a", refused).problem,
    ):
        assert problem.wrong == "is open in another program, or may not be read"
        assert "close it there" in problem.remedy


# ---- what the change of all this broke at first --------------------------------------------------


def test_late_photos_that_are_far_apart_are_sequences_of_their_own(card: Path, service: Service):
    """What went up between them held them together."""
    making.drive(card, 12, step=5e-4, seconds=10)
    late = {name: (card / name).read_bytes() for name in ("0002.jpg", "0010.jpg")}
    for name in late:
        (card / name).unlink()
    cuts = ("--cutoff_distance", "150", "--cutoff_time", "25")
    process(card, *cuts)
    upload(card)
    for name, content in late.items():
        (card / name).write_bytes(content)
    process(card, *cuts)
    ids = {making.description(card / name)["MAPSequenceUUID"] for name in late}
    assert len(ids) == 2 and headings(card)["0002.jpg"] == 0.0


def test_a_turn_that_is_given_after_a_photo_went_up_comes_to_its_description(
    card: Path, service: Service
):
    """It was outdated for ever: process passed over it."""
    making.drive(card, 3)
    process(card)
    upload(card)
    table = card.parent / "corrections.csv"
    table.write_text("filename,leave_out,turn_by\n0002.jpg,,90\n", encoding="utf-8")
    run("process_csv", "--import_path", card, "--csv_path", table)
    assert upload(card)["skipped"] == {"already_uploaded": 2, "outdated": 1}
    assert process(card)["done"] == 1 and headings(card)["0002.jpg"] == 90.0
    assert upload(card, "--reupload")["done"] == 1
    assert told("status", "--import_path", card)["done"] == 3


@pytest.mark.parametrize("row", ["0002.jpg,no,0", "0002.jpg,,"])
def test_corrections_that_change_nothing_leave_a_photo_as_it_is(
    row: str, card: Path, service: Service
):
    """It was outdated."""
    making.drive(card, 3)
    process(card)
    upload(card)
    table = card.parent / "corrections.csv"
    table.write_text(f"filename,leave_out,turn_by\n{row}\n", encoding="utf-8")
    run("process_csv", "--import_path", card, "--csv_path", table)
    assert told("status", "--import_path", card)["done"] == 3


@pytest.mark.parametrize("first", ["yes,", ",90"])
def test_corrections_that_are_taken_back_alone_are_gone(first: str, card: Path):
    making.drive(card, 3)
    for row in (f"0002.jpg,{first}", "0002.jpg,no,0"):
        table = card.parent / "corrections.csv"
        table.write_text(f"filename,leave_out,turn_by\n{row}\n", encoding="utf-8")
        run("process_csv", "--import_path", card, "--csv_path", table)
    assert process(card)["done"] == 3
    assert headings(card) == {"0001.jpg": 0.0, "0002.jpg": 0.0, "0003.jpg": 0.0}


def test_what_is_sent_anew_after_a_refused_finish_is_cut_as_it_is_now(card: Path, service: Service):
    """All of it was in the sequence that had been refused."""
    making.drive(card, 6, seconds=20)
    process(card)
    service.faults.append(status(400, {"error": "x"}, path=FINISH, times=None))
    upload(card)
    service.faults.clear()
    give(card, moved(range(4, 7), 57.6999))
    process(card, "--cutoff_time", "1")
    upload(card, "--reupload")
    assert sorted(len(one["images"]) for one in service.finished) == [1, 1, 1, 3]
    once(service, 6)
    assert upload(card)["skipped"] == {"already_uploaded": 6}
    once(service, 6)


def test_a_rehearsal_of_all_counts_what_fails_before_the_upload(card: Path):
    """It was "5 found", with exit 1 and nothing that failed."""
    making.drive(card, 3)
    making.photo(card / "0009.jpg", time="2024:05:06 07:08:30", pixels=7)
    row = told("process_and_upload", "--import_path", card, "--user_name", "demo", "--dry_run")
    assert (row["found"], row["done"], len(row["failed"])) == (4, 3, 1)


def test_a_file_of_many_lines_that_is_no_journal_is_told_once(tmp_path: Path):
    """Each of its lines was told."""
    making.drive(tmp_path / "card", 1)
    path = tmp_path / "card" / ".mapillary" / "journal.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"something else\n" * 1000)
    said = run("process", "--import_path", tmp_path / "card", "--user_name", "me").stderr
    assert "is no journal" in said and "is ignored" not in said


def test_further_folders_of_interpolate_need_a_first_one(tmp_path: Path):
    import mapillary_tools as mt

    with pytest.raises(mt.UsageError, match="needs either"):
        mt.Interpolation(data="identical_timestamps", file_in_path="a.csv", also=(str(tmp_path),))
