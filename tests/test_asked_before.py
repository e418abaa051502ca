"""What is asked for before a sequence is finished holds for all of it; no sequence is forgotten, none goes up twice."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import making
import pytest
from conftest import ROOT, in_process, process, run, told
from service import ORGANIZATION, Service, cut, status
from test_upload import FINISH, IMAGE, clean

import mapillary_tools as mt

pytestmark = [in_process, pytest.mark.usefixtures("quick")]
HOLD = "--manual_done"
MERGED = "--merge_folders"
AREA = ("--exclude_area", "57.701,11.97,30")  # around the second of photos 0.001 degrees apart
CITY = ("--organization_key", ORGANIZATION["id"])
SIGNED = {"0th": {0x013B: (making.ASCII, "Ann")}}  # Artist
EXPIRED = {"message": "Session has expired", "type": "OAuthException", "code": 190}


@pytest.fixture
def card(tmp_path: Path, service: Service, monkeypatch: Any) -> Path:
    """A folder whose photos go up one after the other."""
    monkeypatch.setenv("NUMBER_THREADS", "1")
    return tmp_path / "card"


def upload(folder: Path, *more: Any) -> Dict[str, Any]:
    return told("upload", "--import_path", folder, *more)


def published(service: Service) -> List[List[Dict[str, Any]]]:
    """What the photos of each finished sequence say of themselves, in its order."""
    contents = [
        [service.received[key].content for key in one["images"]] for one in service.finished
    ]
    return [[making.description(bytes(one or b"")) for one in images] for images in contents]


def names(service: Service) -> List[List[str]]:
    """The photos of each finished sequence."""
    return [[one["MAPFilename"] for one in images] for images in published(service)]


def codes(row: Dict[str, Any]) -> List[str]:
    return [one["code"] for one in row["failed"]]


def sent_unfinished(how: str, folder: Path, service: Service) -> None:
    """Photos that have gone up, without the end of their sequences; "refused": that was asked for."""
    refused = status(500, path=FINISH, times=None)
    if how == "refused":
        service.faults.append(refused)
    row = upload(folder, *([] if how == "refused" else [HOLD]))
    assert not row["failed"] and not service.finished and not row["safe_to_delete"]
    service.faults.clear()


def two_drives(folder: Path) -> None:
    """Three photos, and three elsewhere, two hours later."""
    making.drive(folder, 3)
    for number in range(3):
        time, lat = f"2024:05:06 09:00:{number:02d}", 57.9 + number * 1e-4
        making.photo(
            folder / f"1{number:03d}.jpg", time=time, lat=lat, lon=11.97, pixels=9 + number
        )


def seen(service: Service, act: Callable[[str, str], None]) -> None:
    """Act on each request as it comes in."""
    fault_for = service.fault_for

    def acting(method: str, path: str) -> Any:
        act(method, path)
        return fault_for(method, path)

    service.fault_for = acting  # type: ignore[method-assign]


# ---- sequences that nobody finished -------------------------------------------------------------


def merged(card: Path) -> None:
    """Two folders that are one sequence."""
    making.drive(card / "100GOPRO", 3)
    making.drive(card / "101GOPRO", 3, lat=57.7003, start="2024:05:06 07:08:15")
    assert process(card, MERGED)["sequences"] == 1


@pytest.mark.parametrize("how", ["held", "refused"])
@pytest.mark.parametrize("first", ["not given", "renamed", "moved away"])
def test_photos_of_a_merged_sequence_without_its_first_folder_are_not_called_sent(
    how: str, first: str, card: Path, service: Service
):
    """They were said to be at the service, and might leave the card, and were never published."""
    merged(card)
    sent_unfinished(how, card, service)
    given = card
    if first == "not given":
        given = card / "101GOPRO"
    else:
        home = card if first == "renamed" else card.parent
        (card / "100GOPRO").rename(home / "away")
    row = upload(given)
    assert set(codes(row)) == {"apart"} and not row["skipped"], row
    assert row["exit_code"] == 1 and not row["safe_to_delete"] and not service.finished


def test_photos_of_a_merged_sequence_are_sent_once_the_history_knows_them(
    card: Path, service: Service
):
    merged(card)
    sent_unfinished("held", card, service)
    assert codes(upload(card / "101GOPRO")) == ["apart"] * 3
    assert upload(card)["exit_code"] == 0
    row = upload(card / "101GOPRO")
    assert (row["skipped"], row["exit_code"]) == ({"already_uploaded": 3}, 0), row
    clean(service, 6)


@pytest.mark.parametrize("how", ["held", "refused"])
def test_a_sequence_whose_photos_have_all_left_the_folder_is_finished(
    how: str, card: Path, service: Service
):
    """Its pictures stayed at the service for good, never published."""
    two_drives(card)
    process(card)
    sent_unfinished(how, card, service)
    for path in card.glob("0*.jpg"):
        path.unlink()
    row = upload(card)
    assert (row["exit_code"], row["sequences_finished"]) == (0, 2), row
    wished = [["0001.jpg", "0002.jpg", "0003.jpg"], ["1000.jpg", "1001.jpg", "1002.jpg"]]
    assert sorted(names(service)) == wished
    clean(service, 6, 2)


# ---- changed before it is finished --------------------------------------------------------------

CHANGES = {  # what is asked for first, and then; what a photo says by that
    "direction": (("--offset_angle", 90), ("--offset_angle", 0), "MAPCompassHeading"),
    "privacy": (CITY, (*CITY, "--private"), "MAPPrivate"),
    "organization": (CITY, ("--organization_key", "3003"), "MAPOrganizationKey"),
    "zone": (("--timezone", "+00:00"), ("--timezone", "+02:00"), "MAPCaptureTime"),
}
TOLD = {
    "direction": {"TrueHeading": 10.0, "MagneticHeading": 10.0},
    "privacy": True,
    "organization": "3003",
    "zone": "2024_05_06_05_08_09_000",
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_changed_before_a_sequence_is_finished_goes_up_with_it(
    what: str, card: Path, service: Service
):
    """It was published as it had been asked for at first, and called already uploaded."""
    before, after, name = CHANGES[what]
    service.organizations["3003"] = dict(ORGANIZATION, id="3003")
    making.drive(card, 3, heading=10.0)
    process(card, *before)
    sent_unfinished("held", card, service)
    assert process(card, *after)["done"] == 3
    assert upload(card)["done"] == 3
    (images,) = published(service)
    assert [one["MAPFilename"] for one in images] == ["0001.jpg", "0002.jpg", "0003.jpg"]
    assert images[0][name] == TOLD[what], images[0]
    assert service.finished[0]["organization_id"] == images[0].get("MAPOrganizationKey")
    row = upload(card)
    assert row["skipped"] == {"already_uploaded": 3} and len(service.finished) == 1, row
    clean(service, 6)


def test_what_is_changed_after_one_photo_was_sent_holds_for_all_of_its_sequence(
    card: Path, service: Service
):
    """That one was published on its own, and not as private."""
    service.faults.append(status(400, {}, path=IMAGE, after=1, times=2))
    making.drive(card, 3)
    process(card, *CITY)
    assert upload(card)["done"] == 1
    assert process(card, *CITY, "--private")["done"] == 3
    assert upload(card)["exit_code"] == 0
    (images,) = published(service)
    assert [one.get("MAPPrivate") for one in images] == [True] * 3


@pytest.mark.parametrize(
    "user, more",
    [
        ("demo", (*CITY, "--private")),
        ("demo", ("--organization_key", "3003")),
        ("other", CITY),
    ],
    ids=["private", "another organization", "another user"],
)
def test_process_says_how_many_the_service_has_for_others(
    user: str, more: Any, card: Path, service: Service, own_home: Path
):
    """Nothing was said, and they were called already uploaded."""
    config = own_home / "config"
    text = config.read_text(encoding="utf-8")
    other = text.replace("[demo]", "[other]").replace("= demo", "= other")
    config.write_text(text + other, encoding="utf-8")
    two_drives(card)
    process(card, *CITY)
    assert upload(card)["sequences_finished"] == 2
    assert "for another user" not in process(card, *CITY)["said"]
    row = told("process", "--import_path", card, "--user_name", user, *more)
    assert row["skipped"] == {"already_uploaded": 6}, row
    said = "6 that the service has were processed for another user or organization"
    assert said in row["said"], row


# ---- left out before it is finished -------------------------------------------------------------


def marked(card: Path) -> None:
    """The second photo is marked as left out."""
    table = card.parent / "marks.csv"
    table.write_text("filename,leave_out,turn_by\n0002.jpg,yes,\n", encoding="utf-8")
    assert run("process_csv", "--import_path", card, "--csv_path", table).code == 0


@pytest.mark.parametrize(
    "how, what",
    [
        ("held", "area at process"),
        ("held", "area at upload"),
        ("held", "mark"),
        ("refused", "area at upload"),
        ("refused", "mark"),
    ],
)
def test_a_photo_that_is_left_out_before_its_sequence_is_finished_is_not_in_it(
    how: str, what: str, card: Path, service: Service
):
    """It was published, or called only here although its bytes had gone up."""
    making.drive(card, 3, step=0.001)
    process(card)
    sent_unfinished(how, card, service)
    if what == "area at process":
        process(card, *AREA)
    elif what == "mark":
        marked(card)
    row = upload(card, *(AREA if what == "area at upload" else ()))
    assert names(service) == [["0001.jpg", "0003.jpg"]]
    reason = "left_out" if what == "mark" else "excluded_area"
    assert (row["exit_code"], row["skipped"][reason]) == (0, 1), row
    assert "left out now went up before" in row["said"] and "only here" not in row["said"]


def test_a_photo_that_was_published_before_it_is_left_out_is_not_called_only_here(
    card: Path, service: Service
):
    making.drive(card, 3, step=0.001)
    process(card)
    upload(card)
    row = upload(card, *AREA)
    assert row["skipped"] == {"already_uploaded": 2, "excluded_area": 1}
    assert "1 image" in row["said"] and "look at the service whether it shows them" in row["said"]
    assert "only here" not in row["said"]


# ---- the order of a sequence --------------------------------------------------------------------


def times(service: Service) -> List[List[str]]:
    """The minutes and seconds of the photos of each finished sequence, in its order."""
    return [[one["MAPCaptureTime"][14:19] for one in images] for images in published(service)]


def test_a_photo_that_was_renamed_after_process_has_its_place_in_the_order(
    card: Path, service: Service
):
    """It was the first."""
    making.drive(card, 4)
    process(card)
    (card / "0003.jpg").rename(card / "nice view.jpg")
    assert upload(card)["done"] == 4
    assert times(service) == [["08_09", "08_11", "08_13", "08_15"]]


def test_photos_copied_without_their_journal_are_in_order_of_capture(card: Path, service: Service):
    """They were in that of their names, which a camera begins anew at 9999."""
    making.drive(card, 4)
    for number, name in enumerate(("9998", "9999", "0001", "0002")):
        (card / f"{number + 1:04d}.jpg").rename(card / f"DSC_{name}.jpg")
    process(card)
    shutil.rmtree(str(card / ".mapillary"))
    assert upload(card)["done"] == 4
    assert times(service) == [["08_09", "08_11", "08_13", "08_15"]]


# ---- the same photo in two folders --------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True], ids=["as it is", "processed again"])
def test_a_photo_and_its_described_copy_go_up_once(again: bool, card: Path, service: Service):
    """The copy was published in a second sequence."""
    making.drive(card / "a", 3)
    process(card)
    (card / "b").mkdir()
    for name in ("0001.jpg", "0002.jpg"):
        shutil.copy2(str(card / "a" / name), str(card / "b"))
    if again:
        process(card)
    row = upload(card)
    assert (row["done"], row["skipped"]) == (3, {"already_uploaded": 2}), row
    assert names(service) == [["0001.jpg", "0002.jpg", "0003.jpg"]]
    clean(service, 3)


@pytest.mark.parametrize("again", [False, True], ids=["as it is", "processed again"])
@pytest.mark.parametrize("how", ["held", "refused"])
def test_photos_moved_before_their_sequence_is_finished_are_published_once(
    how: str, again: bool, card: Path, service: Service
):
    """They were in it as gone, and in another of their new folder."""
    making.drive(card / "a", 3)
    process(card)
    sent_unfinished(how, card, service)
    (card / "b").mkdir()
    for name in ("0001.jpg", "0002.jpg"):
        (card / "a" / name).rename(card / "b" / name)
    if again:
        process(card)
    assert upload(card)["exit_code"] == 0
    assert sorted(sum(names(service), [])) == ["0001.jpg", "0002.jpg", "0003.jpg"]
    assert service.problems == []


def test_a_copy_in_which_another_tag_differs_goes_up_once(card: Path, service: Service):
    """A backup that a photo manager had signed was published too."""
    making.drive(card / "a", 3)
    making.drive(card / "backup", 3, more=SIGNED)
    process(card)
    row = upload(card)
    assert (row["done"], row["skipped"]) == (3, {"already_uploaded": 3}), row
    clean(service, 3)


def test_of_photos_of_a_rig_all_places_go_up_and_copies_do_not(card: Path, service: Service):
    """Cameras in a dark garage take the same picture at the same time, each at its own place."""
    making.drive(card / "left", 3)
    making.drive(card / "right", 3, lon=11.97001)
    making.drive(card / "signed", 3, more=SIGNED)
    process(card)
    row = upload(card)
    assert (row["done"], row["skipped"]) == (6, {"already_uploaded": 3}), row
    assert sorted({one["MAPLongitude"] for images in published(service) for one in images}) == [
        pytest.approx(11.97),
        pytest.approx(11.97001),
    ]
    clean(service, 6, 2)


# ---- answers of the service ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, more", [(IMAGE, ()), (FINISH, ()), ("/graph/2002", CITY)], ids=["photo", "finish", "key"]
)
def test_an_expired_token_ends_the_run_whatever_the_status(
    path: str, more: Any, card: Path, service: Service
):
    """Each photo was refused by itself, and the same command was to be run again."""
    making.drive(card, 4)
    process(card, *more)
    service.faults.append(status(400, {"error": EXPIRED}, path=path, times=None))
    row = upload(card)
    assert (row["exit_code"], row["stopped"]["code"]) == (9, "not_authorized"), row
    assert not row["failed"] and "authenticate" in row["stopped"]["remedy"], row
    assert len(service.requests(path=path)) == 1


def test_the_host_that_cannot_be_reached_is_named(card: Path, service: Service, monkeypatch: Any):
    """Where that of the pictures was blocked, the other one was blamed, which answers."""
    making.drive(card, 2)
    process(card)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("MAPILLARY_UPLOAD_ENDPOINT", host + "/upload")
    row = upload(card, "--offline_limit", "0.001")
    assert (row["exit_code"], row["stopped"]["code"]) == (8, "unreachable"), row
    assert row["stopped"]["file"] == host and f"cannot be reached at {host} (" in row["said"], row
    assert service.root not in row["said"]


@pytest.mark.parametrize("code", [404, 410])
def test_a_session_that_the_service_has_forgotten_begins_anew(
    code: int, card: Path, service: Service
):
    """The photo could never be sent again, on any run."""

    def forget(method: str, path: str) -> None:
        if method == "GET" and IMAGE in path:
            service.received.pop(path.split("/")[-1], None)

    seen(service, forget)
    unknown = {"debug_info": {"retriable": False, "message": "no such session"}}
    service.faults.append(cut(100, method="POST", path=IMAGE))
    service.faults.append(status(code, unknown, method="GET", path=IMAGE, times=None))
    making.drive(card, 2)
    process(card)
    row = upload(card)
    assert (row["exit_code"], row["done"]) == (0, 2), row
    assert len(service.requests("GET", IMAGE)) == 1
    clean(service, 2)


@pytest.mark.parametrize("path", [IMAGE, FINISH])
def test_a_request_that_took_the_service_too_long_is_tried_again(
    path: str, card: Path, service: Service
):
    service.faults.append(status(408, {}, path=path))
    making.drive(card, 2)
    process(card)
    row = upload(card)
    assert (row["exit_code"], row["done"], row["safe_to_delete"]) == (0, 2, True), row
    clean(service, 2)


# ---- the history of uploads ---------------------------------------------------------------------


def history() -> List[str]:
    path = Path(mt.config_path()).with_name("history.jsonl")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_the_history_is_written_after_each_finished_sequence(card: Path, service: Service):
    """It was at the end of the run alone."""
    known: List[int] = []

    def look(method: str, path: str) -> None:
        if FINISH in path:
            known.append(len(history()))

    seen(service, look)
    two_drives(card)
    process(card)
    assert upload(card)["sequences_finished"] == 2
    assert known == [0, 3] and len(history()) == len(set(history())) == 6


def test_what_was_finished_before_the_run_was_killed_does_not_go_up_from_a_copy(
    card: Path, service: Service
):
    two_drives(card)
    copy = card.parent / "copy"
    shutil.copytree(str(card), str(copy))
    for folder in (card, copy):
        process(folder)
    running: List[Any] = []

    def kill(method: str, path: str) -> None:
        if FINISH in path and service.finished and running[0].poll() is None:
            service.faults.append(cut(path=FINISH))
            running[0].kill()

    seen(service, kill)
    words = ["upload", "--import_path", str(card)]
    start = [sys.executable, "-I", "-S", str(ROOT / "mapillary_tools.py"), *words]
    quiet = subprocess.DEVNULL
    running.append(subprocess.Popen(start, stdin=quiet, stdout=quiet, stderr=quiet))
    running[0].wait(60)
    assert len(service.finished) == 1 and len(history()) == 3
    row = upload(copy)
    assert (row["done"], row["skipped"]) == (3, {"already_uploaded": 3}), row
    assert len(history()) == len(set(history())) == 6
    assert len(service.finished) == 2 and service.problems == []


# ---- neighbours of these --------------------------------------------------------------------------


pytestmark = [in_process, pytest.mark.usefixtures("quick")]


@pytest.mark.parametrize("again", [False, True], ids=["as it is", "processed again"])
@pytest.mark.parametrize("lon", [11.9701, 12.5], ids=["a rig", "two people"])
def test_described_photos_of_two_cameras_with_the_same_names_and_times_all_go_up(
    lon: float,
    again: bool,
    card: Path,
    service: Service,
):
    """Those of the second were called sent from the folder of the first, and might leave the card."""
    making.drive(card / "left", 3)
    for number in range(3):
        time, place = f"2024:05:06 07:08:{9 + 2 * number:02d}", (57.7 + number * 1e-4, lon)
        path = card / "right" / f"{number + 1:04d}.jpg"
        making.photo(path, time=time, lat=place[0], lon=place[1], pixels=100 + number)
    process(card)
    for folder in ("left", "right"):
        shutil.rmtree(str(card / folder / ".mapillary"))
    if again:
        process(card)
    row = upload(card)
    assert (row["done"], row["skipped"]) == (6, {}), row
    clean(service, 6, 2)


def test_what_the_first_folder_finishes_alone_is_the_whole_sequence(
    card: Path,
    service: Service,
):
    """Its own half was published, though the manifest had all; the other could never go up."""
    merged(card)
    sent_unfinished("refused", card, service)
    (card / "100GOPRO").rename(card.parent / "100GOPRO")
    assert upload(card.parent / "100GOPRO")["exit_code"] == 0
    assert list(map(len, names(service))) == [6]


def test_an_area_given_at_process_after_a_refused_finish_keeps_its_photo_out(
    card: Path,
    service: Service,
):
    making.drive(card, 3, step=0.001)
    process(card)
    sent_unfinished("refused", card, service)
    process(card, *AREA)
    upload(card)
    assert names(service) == [["0001.jpg", "0003.jpg"]]


@pytest.mark.parametrize("how", ["held", "refused"])
def test_a_photo_that_is_turned_before_its_sequence_is_finished_is_published(
    how: str,
    card: Path,
    service: Service,
):
    """It was in no sequence, called already uploaded, and might leave the card."""
    making.drive(card, 3, heading=10.0)
    process(card)
    sent_unfinished(how, card, service)
    table = card.parent / "turns.csv"
    table.write_text("filename,leave_out,turn_by\n0002.jpg,,90\n", encoding="utf-8")
    assert run("process_csv", "--import_path", card, "--csv_path", table).code == 0
    process(card)
    assert upload(card)["exit_code"] == 0
    assert sorted(sum(names(service), [])) == ["0001.jpg", "0002.jpg", "0003.jpg"]


def test_one_user_without_a_token_holds_back_nobody_else(tmp_path: Path, service: Service):
    for name, user in (("a", "zoe"), ("b", "demo")):
        making.drive(tmp_path / "p" / name, 2, lat=57.0 + ord(name) / 100)
        run("process", "--import_path", tmp_path / "p" / name, "--user_name", user)
    row = told("upload", "--import_path", tmp_path / "p")
    assert row["done"] == 2 and row["exit_code"] == 1 and len(service.finished) == 1
    assert (
        "the sequences of zoe wait: there is no access token for zoe" in row["trouble"][0]["wrong"]
    )
    assert not row["safe_to_delete"]


def test_nothing_is_safe_to_delete_where_folders_below_were_not_looked_at(
    card: Path, service: Service
):
    making.drive(card, 2)
    making.drive(card / "below", 2)
    run("process", "--import_path", card, "--user_name", "demo", "--skip_subfolders")
    row = told("upload", "--import_path", card, "--skip_subfolders")
    assert row["done"] == 2 and row["safe_to_delete"] is False
    assert "folders below were not looked at" in row["notes"][-1]
    shutil.rmtree(card / "below")
    assert told("upload", "--import_path", card, "--skip_subfolders")["safe_to_delete"] is True


def test_a_mistyped_address_is_shown_without_its_password(card: Path, monkeypatch: Any):
    making.drive(card, 1)
    monkeypatch.setenv("MAPILLARY_GRAPH_API_ENDPOINT", "htps://joe:s3cret@host/x")
    ran = run("upload", "--import_path", card)
    assert ran.code == 2 and "htps://host/x" in ran.stderr and "s3cret" not in ran.stderr
