"""What goes up is the photo itself, what the service forgot goes up anew, and nothing that was interrupted is sent twice."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import making
import pytest
from conftest import in_process
from service import TOKEN, Service, revoked, status
from test_upload import FINISH, IMAGE, field, quick  # noqa: F401

import mapillary_tools as mt

pytestmark = in_process


# ---- described copies ---------------------------------------------------------------------------


def other_copy(copies: Path, kind: str) -> None:
    """Do something to the described copy of the second photo."""
    copy = copies / "0002.jpg"
    whole = copy.read_bytes()
    if kind == "cut":
        copy.write_bytes(whole[: len(whole) // 2])
    elif kind == "zeros":
        copy.write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\0"))
    elif kind == "another":
        shutil.copy(str(copies / "0003.jpg"), str(copy))
    elif kind == "gone":
        copy.unlink()


@pytest.mark.parametrize("kind", ["cut", "zeros", "another", "gone", "whole"])
def test_of_a_photo_with_a_described_copy_the_photo_goes_up(field: Any, kind: str):  # noqa: F811
    """Half a copy, or that of another photo, went up, and the card was said to be safe."""
    paths = field.drive(3, 3000)
    scans = {path.name: path.read_bytes()[-2500:] for path in paths}
    field.process("--keep_original")
    other_copy(field.folder / ".mapillary" / "process_images", kind)
    with Service() as service:
        row = field.upload(service)
        assert (row["done"], row["safe_to_delete"]) == (3, True)
        sent = [bytes(one.content)[-2500:] for one in service.images().values()]
    assert sorted(sent) == sorted(scans.values())


# ---- what the service has forgotten -------------------------------------------------------------


def forgotten(field: Any) -> None:  # noqa: F811
    """Photos of which three of six went to a service that knows nothing of them any more."""
    field.ready(6)
    with Service(faults=[revoked(path=IMAGE, after=3, method="POST")]) as service:
        row = field.upload(service, threads=1, attempts=2)
        assert row["stopped"], row


def test_what_the_service_forgot_goes_up_anew_when_asked_to(field: Any):  # noqa: F811
    """The sequence could never be finished, and nothing but removing .mapillary helped."""
    forgotten(field)
    with Service() as service:
        row = field.upload(service, threads=1, attempts=2)
        assert row["exit_code"] and "--reupload sends that anew" in str(row["trouble"]), row
        assert not row["safe_to_delete"]
        row = field.upload(service, "--reupload", threads=1, attempts=2)
        assert (row["exit_code"], row["done"], row["safe_to_delete"]) == (0, 6, True), row
        (finished,) = service.finished
        assert len(finished["images"]) == 6
        row = field.upload(service, "--reupload", threads=1, attempts=2)
        assert (row["done"], len(service.finished)) == (0, 1), row


def test_a_photo_that_is_gone_does_not_hold_back_what_goes_up_anew(field: Any):  # noqa: F811
    """The handle of one that was deleted since is as dead as the others were."""
    forgotten(field)
    with Service() as service:
        field.upload(service, threads=1, attempts=2)
        (field.folder / "0002.jpg").unlink()
        row = field.upload(service, "--reupload", threads=1, attempts=2)
        assert (row["exit_code"], row["done"]) == (0, 5), row
        (finished,) = service.finished
        assert len(finished["images"]) == 5


@pytest.mark.parametrize(
    "answer",
    [
        {"cluster_id": {"error": "nope"}},
        {"cluster_id": True},
        {"cluster_id": "  "},
        {"cluster_id": "12", "error": {"message": "no"}},
    ],
)
def test_a_finish_that_is_none_is_not_acknowledged(field: Any, answer: Any):  # noqa: F811
    field.ready(2)
    with Service(faults=[status(200, answer, path=FINISH, times=99)]) as service:
        row = field.upload(service, attempts=2)
        assert row["exit_code"] and not row["safe_to_delete"], row
    assert '"cluster":' not in field.journal()


# ---- interrupted --------------------------------------------------------------------------------


@pytest.mark.parametrize("raised", [KeyboardInterrupt, mt.Interrupted])
def test_what_was_finished_before_an_interruption_is_in_the_history(
    field: Any,  # noqa: F811
    raised: Any,
    monkeypatch: Any,
):
    """A copy of the card sent the finished sequence once more."""
    field.drive(3)
    for number in range(4, 7):
        time = f"2024:05:06 09:08:{number:02d}"
        making.photo(field.folder / f"{number}.jpg", time=time, lat=58.7, lon=11.9, pixels=number)
    field.process()
    finish, seen = mt.finish_upload, []  # type: ignore[var-annotated]

    def interrupted(*args: Any) -> str:
        seen.append(args)
        if len(seen) > 1:
            raise raised()
        return finish(*args)

    with Service() as service:
        field.use(service, threads=1)
        monkeypatch.setattr(mt, "finish_upload", interrupted)
        with pytest.raises(KeyboardInterrupt):
            options = mt.Options([mt.Input(str(field.folder))])
            mt.send_images("upload", options, mt.Ui())
        monkeypatch.setattr(mt, "finish_upload", finish)
        assert len(service.finished) == 1
    lines = (field.base / "history.jsonl").read_text("ascii").splitlines()
    assert len(lines) == 3


# ---- the next command ---------------------------------------------------------------------------


@pytest.mark.parametrize("processed", [False, True])
def test_a_rehearsal_never_proposes_to_publish(field: Any, processed: bool):  # noqa: F811
    field.drive(3)
    if processed:
        field.process()
    words = ("--user_name", "demo", "--stand_in", field.base / "received")
    row = field.run("process_and_upload", "--import_path", field.folder, *words, "--dry_run")
    assert row["exit_code"] == 0 and (not row["next"] or "--stand_in" in row["next"]), row["next"]
    row = field.run("process_and_upload", "--import_path", field.folder, *words)
    assert row["exit_code"] == 0 and (not row["next"] or "--stand_in" in row["next"]), row["next"]


# ---- exports ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"alt": 12.5}, {"alt": None}])
def test_an_export_replaces_itself_whatever_is_in_it(field: Any, fields: Any):  # noqa: F811
    """Descriptions with an altitude were not known again as an export of ours."""
    field.ready(2, **fields)
    for _ in range(2):
        words = ("--import_path", field.folder, "--output_path", field.base / "x.json")
        assert field.run("export", *words)["exit_code"] == 0


# ---- names and places of the configuration ------------------------------------------------------


@pytest.mark.parametrize("name", ["City\u2028West", "Citt\u0085a", "a\x0bb", "G\udcf6teborg"])
def test_a_name_that_no_line_holds_leaves_the_configuration_as_it_was(
    field: Any,  # noqa: F811
    name: str,
    monkeypatch: Any,
):
    """The accounts in it were lost: it could not be read any more."""
    field.drive(1)
    path = field.base / "config"
    path.write_text(f"[anna]\nuser_upload_token = {TOKEN}\n", "utf-8")
    before = path.read_bytes()
    monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(path))
    words = ("--organization_username", name, "--organization_key", "2002")
    row = field.process(*words)
    assert row["exit_code"] == 2 and path.read_bytes() == before, row
    assert mt.Configuration(str(path)).accounts == {"anna": TOKEN}


def test_a_secret_of_odd_bytes_is_hushed(monkeypatch: Any):
    monkeypatch.setattr(mt, "_SECRETS", set())
    mt.keep_secret("pass\udcf6word")
    assert "word" not in mt.hushed("it was pass\udcf6word, said the service")


@pytest.mark.parametrize("name", ["config", "~/config"])
def test_the_history_is_kept_beside_a_configuration_of_a_bare_name(
    field: Any,  # noqa: F811
    name: str,
    monkeypatch: Any,
):
    field.ready(2)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(field.base))
    monkeypatch.chdir(field.base)
    with Service() as service:
        field.use(service)
        os.replace(os.environ["MAPILLARY_CONFIG_PATH"], str(field.base / "config"))
        monkeypatch.setenv("MAPILLARY_CONFIG_PATH", name)
        row = field.upload()
    assert row["exit_code"] == 0 and not [one for one in row["notes"] if "cannot be kept" in one]
    assert (field.base / "history.jsonl").is_file() and not (field.base / "~").exists()


def test_no_line_of_the_history_leads_out_of_its_folder(tmp_path: Path, monkeypatch: Any):
    here = str(tmp_path.resolve())
    line = mt.Arrival("a" * 64, "s", here, "../other/b.jpg", "2024-05-06T07:08:09.000Z")
    (tmp_path / "b.jpg").write_bytes(b"b")
    (tmp_path / "c.jpg").write_bytes(b"c")
    history = mt.History("s", lambda text: None)
    monkeypatch.setattr(history, "_known", lambda picture: line)
    asked = []

    def picture_of(name: str) -> str:
        asked.append(name)
        return "a" * 64

    assert history.before("a" * 64, str(tmp_path / "c.jpg"), picture_of) is None
    assert asked == ["b.jpg"]


@pytest.mark.parametrize("image", ["IM\0G.jpg", "\ud800.jpg"])
def test_a_damaged_line_of_the_history_is_no_traceback(field: Any, image: str):  # noqa: F811
    field.drive(2)
    field.process("--keep_original")
    with Service() as service:
        field.upload(service)
        history = field.base / "history.jsonl"
        text = history.read_text("ascii")
        history.write_text(text.replace('"0002.jpg"', json.dumps(image)), "ascii")
        shutil.rmtree(str(field.folder / ".mapillary"))
        field.process("--keep_original")
        assert field.upload()["exit_code"] in (0, 1)
