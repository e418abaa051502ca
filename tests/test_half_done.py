"""What half-done runs, other programs and services leave: restored, known again, refused, and never called done."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Iterator

import making
import pytest
from conftest import ROOT, in_process, run, told
from service import Service
from test_tables import PLACED
from test_upload import field, quick  # noqa: F401

import mapillary_tools as mt

pytestmark = in_process
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files and rights")
USER = ("--user_name", "demo")


def card(folder: Path, count: int = 4) -> Path:
    making.drive(folder, count)
    return folder


# ---- restore ------------------------------------------------------------------------------------


def interrupted(folder: Path, monkeypatch: Any, *argv: Any) -> None:
    """A run that ends once its photos are written, before the journal is told."""
    real, before = mt.Journal.append, making_bytes(folder)

    def append(self: Any, lines: Any, flush: bool = True) -> None:
        if making_bytes(folder) != before:
            raise KeyboardInterrupt
        real(self, lines, flush)

    with monkeypatch.context() as patch:
        patch.setattr(mt.Journal, "append", append)
        assert run(*argv).code == 130


@pytest.mark.parametrize("tool", ["process", "process_csv", "process twice"])
def test_what_an_interrupted_run_wrote_is_restored(tool: str, tmp_path: Path, monkeypatch: Any):
    """They stayed as they were: "as it was found", "no journal tells", "changed by another program"."""
    folder = card(tmp_path / "p")
    before = tags_in(folder)
    words: Any = ("process", "--import_path", folder, *USER)
    if tool == "process twice":
        assert run(*words).code == 0
        words = (*words, "--offset_time", 3600)
    if tool == "process_csv":
        rows = "".join(f"{path.name},10.5,20.5\n" for path in sorted(folder.glob("*.jpg")))
        (tmp_path / "t.csv").write_text(rows, "utf-8")
        words = ("process_csv", "--import_path", folder, "--csv_path", tmp_path / "t.csv", *PLACED)
    middle = making_bytes(folder)
    interrupted(folder, monkeypatch, *words)
    assert all(making_bytes(folder)[name] != middle[name] for name in middle)
    row = told("restore", "--import_path", folder)
    assert (row["done"], row["exit_code"]) == (4, 0), row
    assert tags_in(folder) == before


def tags_in(folder: Path) -> Dict[str, Any]:
    rows = {path.name: making.read_exif(path) for path in folder.glob("*.jpg")}
    return {
        name: {tag: value for tag, value in row.items() if not tag.endswith("Pointer")}
        for name, row in rows.items()
    }


def making_bytes(folder: Path) -> Dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.jpg")}


def test_a_photo_that_cannot_be_read_is_not_as_it_was_found(tmp_path: Path, monkeypatch: Any):
    folder, real = card(tmp_path / "p"), mt.read_found

    def broken(path: Any) -> mt.Found:
        if str(path).endswith("0002.jpg"):
            raise mt.BadExif(mt.UNREADABLE, "cannot be read", file=path)
        return real(path)

    monkeypatch.setattr(mt, "read_found", broken)
    row = told("restore", "--import_path", folder)
    assert row["exit_code"] == 1 and row["skipped"] == {"as_found": 3}
    assert [Path(one["file"]).name for one in row["failed"]] == ["0002.jpg"]


def test_what_was_to_be_restored_does_not_go_up(tmp_path: Path, monkeypatch: Any):
    """Its description was taken for that of a telephone's app."""
    folder = card(tmp_path / "p")
    run("process", "--import_path", folder, *USER)

    def ends(*_: Any) -> Iterator[Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mt, "each_group", ends)
        assert run("restore", "--import_path", folder).code == 130
    row = told("upload", "--import_path", folder, "--stand_in", tmp_path / "received")
    assert row["done"] == 0 and {one["code"] for one in row["failed"]} == {"not_processed"}, row
    assert told("restore", "--import_path", folder)["done"] == 4


# ---- the journal --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["removed", "longer", "shorter"])
def test_a_journal_that_another_program_changes_ends_the_run(
    kind: str, tmp_path: Path, monkeypatch: Any
):
    """It was filled up with NULs, or cut, and the photos called processed."""
    folder = card(tmp_path / "p")
    run("process", "--import_path", folder, *USER)
    path, before = folder / ".mapillary" / "journal.jsonl", making_bytes(folder)
    real = mt.carry_out

    def carry_out(*args: Any) -> Any:
        text = path.read_bytes()
        path.unlink()
        if kind != "removed":
            path.write_bytes(text + b"{}\n" if kind == "longer" else text[: text.index(b"\n") + 1])
        return real(*args)

    monkeypatch.setattr(mt, "carry_out", carry_out)
    ran = run("process", "--import_path", folder, *USER, "--offset_time", 3)
    assert ran.code == 11 and "was changed or removed by another program" in ran.stderr
    assert making_bytes(folder) == before
    assert path.exists() == (kind != "removed")
    assert b"\0" not in (path.read_bytes() if path.exists() else b"")


def test_where_names_are_not_counted_a_failed_line_is_written_again(
    tmp_path: Path, monkeypatch: Any
):
    """Some network drives tell of every file that it has no name."""
    real, failing = os.fstat, [True, False]
    folder = card(tmp_path / "p")

    def fstat(handle: int) -> Any:
        values = list(real(handle))
        values[3] = 0
        return os.stat_result(values)

    def write_all(stream: Any, data: Any) -> None:
        if stream.tell() and failing.pop(0):
            stream.write(data[:5])
            raise OSError(5, "Input/output error")
        stream.write(data)

    image = mt.read_image(folder / "0001.jpg")
    monkeypatch.setattr(os, "fstat", fstat)
    with mt.Journal(folder) as journal:
        monkeypatch.setattr(mt, "write_all", write_all)
        with pytest.raises(mt.CannotWrite, match="Input/output"):
            journal.append([image])
        journal.append([image])
        assert journal.image("0001.jpg") is not None


@posix
def test_a_journal_that_is_removed_in_the_middle_is_said(tmp_path: Path):
    with mt.Journal(card(tmp_path / "p")) as journal:
        image = mt.read_image(tmp_path / "p" / "0001.jpg")
        journal.append([image])
        shutil.rmtree(str(tmp_path / "p" / ".mapillary"))
        with pytest.raises(mt.CannotWrite, match="changed or removed"):
            journal.append([image])


@pytest.mark.parametrize("end", [b"\r", b" "])
def test_a_journal_that_lost_its_line_ends_is_refused(end: bytes, tmp_path: Path):
    """It counted as one torn line, and was cut to nothing."""
    folder = card(tmp_path / "p")
    run("process", "--import_path", folder, *USER)
    path = folder / ".mapillary" / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"\n", end))
    before = path.read_bytes()
    ran = run("process", "--import_path", folder, *USER)
    assert ran.code == 10 and "is no journal" in ran.stderr and path.read_bytes() == before


@pytest.mark.parametrize("torn", [1, 10, 30])
def test_a_header_that_was_not_written_whole_is_written_again(torn: int, tmp_path: Path):
    folder = card(tmp_path / "p")
    (folder / ".mapillary").mkdir()
    (folder / ".mapillary" / "journal.jsonl").write_bytes(mt.journal_header()[:torn])
    assert run("process", "--import_path", folder, *USER).code == 0
    assert run("restore", "--import_path", folder).stdout.startswith(
        "restore: 4 found = 4 restored"
    )


def test_who_reads_a_journal_beside_a_run_that_makes_it_anew_reads_the_new_one(
    tmp_path: Path, caplog: Any
):
    """Offsets of the old one were looked up in the new one, whose lines were called damaged."""
    folder = card(tmp_path / "p")
    for offset in range(6):
        run("process", "--import_path", folder, *USER, "--offset_time", offset)
    with mt.Journal(folder, write=False) as reader:
        with mt.Journal(folder) as writer:
            writer._compact()
        names = [image and image.path.name for image in reader.images(sorted(making_bytes(folder)))]
    assert names == ["0001.jpg", "0002.jpg", "0003.jpg", "0004.jpg"]
    assert "damaged" not in caplog.text


# ---- uploads ------------------------------------------------------------------------------------


def test_a_part_that_a_service_calls_the_whole_is_none():
    """A photo of which 4,000 bytes had gone was said to be there, and safe to delete."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)

    def answer() -> None:
        connection, _ = listener.accept()
        connection.recv(4000)
        body = b'{"h": "handle"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        connection.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    body = [bytes(1 << 20)] * 40
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    mt.OWN_SERVICES.add(url.split("/")[2])
    request = mt.Request("POST", url, {}, body=body, length=sum(map(len, body)))
    with pytest.raises(mt.Cut):
        mt.Wire(mt.Limits()).request(request)
    mt.OWN_SERVICES.clear()
    listener.close()


def test_a_handle_of_an_earlier_run_is_none_for_another_photo(field: Any, monkeypatch: Any):  # noqa: F811
    """The second sequence was made of the photos of the first."""
    field.ready(2)
    with Service() as service:
        assert field.upload(service)["done"] == 2
        old = iter([one for one, key in sorted(service.handles.items()) if key.endswith("jpg")])
        real = service.complete
        making.drive(field.folder, 4)
        field.process()
        monkeypatch.setattr(service, "complete", lambda upload: next(old, None) or real(upload))
        row = field.upload(service, attempts=2)
    assert row["done"] < 4 and not row["safe_to_delete"], row
    assert {one["code"] for one in row["failed"]} == {"bad_handle"}


@pytest.mark.parametrize("kind", ["crlf", "blanks", "utf-16"])
def test_a_history_in_another_form_is_read_or_said(kind: str, field: Any):  # noqa: F811
    """The copy of a card went up again, without a word."""
    field.ready(3)
    with Service() as service:
        assert field.upload(service)["done"] == 3
        path = Path(mt.config_path()).with_name("history.jsonl")
        text = path.read_text("utf-8")
        if kind == "crlf":
            path.write_bytes(text.replace("\n", "\r\n").encode("utf-8"))
        elif kind == "blanks":
            path.write_text(text.replace('":', '": ').replace(',"', ', "'), "utf-8")
        else:
            path.write_bytes(text.encode("utf-16"))
        shutil.copytree(str(field.folder), str(field.folder) + "2")
        shutil.rmtree(str(field.folder) + "2/.mapillary")
        field.folder = Path(str(field.folder) + "2")
        run("restore", "--import_path", field.folder)
        field.process()
        posts = len(service.requests("POST"))
        row = field.upload(service)
    if kind == "utf-16":
        assert any("of the history of uploads" in note for note in row["notes"]), row
    else:
        assert row["skipped"].get("already_uploaded", 0) + row["done"] == 3
        assert len(service.requests("POST")) == posts, row


def test_a_history_that_breaks_off_is_said_at_once(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(tmp_path / "config"))
    (tmp_path / "history.jsonl").write_bytes(b"")
    said: Any = []
    history, picture = mt.History("service", said.append), "0123456789abcdef"
    history.keep([(picture, str(tmp_path / "a.jpg"))])
    history = mt.History("service", said.append)
    assert history.knows(picture) and not said

    def broken(*_: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(mt, "_arrival_at", broken)
    assert not history.knows(picture) and not history.knows(picture)
    (line,) = said
    assert "Input/output error" in line and "would go up twice" in line


def test_a_proxy_that_is_not_there_is_named(monkeypatch: Any):
    """The service was blamed."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(mt.Unreachable, match="through the proxy 127.0.0.1:9"):
        mt.Wire(mt.Limits()).request(mt.Request("GET", "http://graph.example/me", {}))


def test_no_proxy_sees_what_goes_to_a_service_on_this_computer(tmp_path: Path, monkeypatch: Any):
    folder = card(tmp_path / "p")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    words = ("--stand_in", tmp_path / "received")
    ran = run("process_and_upload", "--import_path", folder, *USER, *words)
    assert ran.code == 0 and "4 uploaded" in ran.stdout
    assert not mt.OWN_SERVICES


# ---- outputs ------------------------------------------------------------------------------------


def test_an_output_that_another_run_writes_is_left_to_it(tmp_path: Path):
    """Both wrote one temporary file: the first said written, and the file was a half of the second."""
    folder, target = card(tmp_path / "p"), tmp_path / "x.geojson"
    run("process", "--import_path", folder, *USER)
    part = Path(mt.part_of(str(target)))
    with open(str(part), "wb", buffering=0) as other:
        other.write(b"half")
        assert mt.lock_file(other)
        ran = run("export", "--import_path", folder, "--output_path", target)
        assert (
            ran.code == 11
            and "cannot be written: another run is writing it" in ran.stderr
            or (os.name == "nt" and "is open in another program" in ran.stderr)
        )
    assert part.read_bytes() == b"half" and not target.exists()
    assert run("export", "--import_path", folder, "--output_path", target).code == 0
    assert not part.exists()


def test_a_run_leaves_the_temporary_files_of_others(
    tmp_path: Path, own_home: Path, monkeypatch: Any
):
    """A report into the folder of the photos, and new credentials, were lost."""
    folder, config = card(tmp_path / "p"), own_home / "config"
    monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(config))
    parts = [Path(mt.part_of(str(path))) for path in (folder / "report.html", config)]
    streams = [open(str(part), "wb", buffering=0) for part in parts]
    assert all(map(mt.lock_file, streams))
    assert run("process", "--import_path", folder, *USER).code == 0
    assert all(part.exists() for part in parts)
    for stream in streams:
        stream.close()
    assert run("process", "--import_path", folder, *USER).code == 0
    assert not any(part.exists() for part in parts)


@posix
def test_a_link_in_the_place_of_a_name_of_ours_is_not_followed(tmp_path: Path):
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs", "utf-8")
    (tmp_path / "out").mkdir()
    for name in ("100.jpg", "downloaded.csv"):
        os.symlink(str(theirs), str(tmp_path / "out" / name))
    mt.write_atomically(str(tmp_path / "out" / "100.jpg"), [b"new"], mt.Manner(links=False))
    assert (tmp_path / "out" / "100.jpg").read_bytes() == b"new"
    (tmp_path / "st").mkdir()
    os.symlink(str(theirs), str(tmp_path / "st" / mt.STAND_IN_FILE))
    words = ("--stand_in", tmp_path / "st")
    ran = run("process_and_upload", "--import_path", card(tmp_path / "p"), *USER, *words)
    assert ran.code == 2 and mt.STAND_IN_FILE in ran.stderr
    assert theirs.read_text("utf-8") == "theirs"


@posix
@pytest.mark.timeout(60)
def test_a_pipe_in_the_place_of_a_list_is_an_error(tmp_path: Path):
    os.mkfifo(str(tmp_path / "downloaded.csv"))
    with pytest.raises(mt.CannotWrite):
        mt.merge_list(str(tmp_path / "downloaded.csv"), {})
    os.mkfifo(str(tmp_path / mt.STAND_IN_FILE))
    assert mt.stand_in_name(str(tmp_path)) == ""


@posix
@pytest.mark.parametrize("tool", ["authenticate", "process"])
def test_the_rights_of_a_file_that_is_no_configuration_stay(
    tool: str, tmp_path: Path, monkeypatch: Any
):
    path = making.photo(tmp_path / "a.jpg")
    path.chmod(0o644)
    monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(path))
    words = {
        "authenticate": ("--list",),
        "process": ("--import_path", card(tmp_path / "p"), *USER, "--dry_run"),
    }
    run(tool, *words[tool])
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


# ---- exit codes ---------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "words, code",
    [(["process", "--nonsense"], 2), (["process", "--import_path", "/nonexistent", *USER], 3)],
)
def test_a_full_disk_for_the_log_changes_no_exit_code(words: Any, code: int):
    """A scheduler that tries 75 again, never 1, saw 1."""
    with open("/dev/full", "wb") as full:
        start = [sys.executable, "-I", "-S", str(ROOT / "mapillary_tools.py")]
        ran = subprocess.run([*start, *words], stderr=full, stdout=subprocess.DEVNULL, timeout=60)
    assert ran.returncode == code


def test_what_a_program_asked_for_is_an_error_where_it_cannot_be_printed(
    tmp_path: Path, monkeypatch: Any
):
    folder = card(tmp_path / "p")
    run("process", "--import_path", folder, *USER)
    for stream in (None, Closed()):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            assert mt.main(["status", "--import_path", str(folder), "--json"]) == 11


class Closed:
    """A stream of a host that is closed already."""

    def write(self, text: str) -> int:
        raise ValueError("I/O operation on closed file.")


def test_a_system_that_starts_no_more_threads_is_one_line(tmp_path: Path, monkeypatch: Any):
    def start(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    folder = card(tmp_path / "p", 40)
    monkeypatch.setattr(threading.Thread, "start", start)
    words = ("--stand_in", tmp_path / "received")
    ran = run("process_and_upload", "--import_path", folder, *USER, *words)
    assert ran.code == 12 and "the system starts no more threads" in ran.stderr


@posix
@pytest.mark.parametrize("answer", ["", "[]", "oops"])
def test_an_ffprobe_that_says_nothing_is_named(answer: str, tmp_path: Path):
    for name in ("ffmpeg", "ffprobe"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{answer}'\n", "utf-8")
        program.chmod(0o755)
    (tmp_path / "v.mp4").write_bytes(b"\0\0\0\x08ftyp")
    words = ("--video_path", tmp_path / "v.mp4", "--import_path", tmp_path / "out")
    ran = run("sample_video", *words, "--ffmpeg_path", tmp_path / "bin" / "ffmpeg")
    assert ran.code in (1, 7) and "does not say what is in it" in ran.stdout + ran.stderr


@pytest.mark.parametrize("tool", ["process", "process_csv"])
def test_what_another_program_changed_after_a_whole_run_is_refused(tool: str, tmp_path: Path):
    folder = card(tmp_path / "p")
    words: Any = ("--import_path", folder, *USER)
    if tool == "process_csv":
        rows = "".join(f"{path.name},10.5,20.5\n" for path in sorted(folder.glob("*.jpg")))
        (tmp_path / "t.csv").write_text(rows, "utf-8")
        words = ("--import_path", folder, "--csv_path", tmp_path / "t.csv", *PLACED)
    assert run(tool, *words).code == 0
    mt.write_edits(str(folder / "0002.jpg"), {"0th": {0x0131: "another program"}})
    row = told("restore", "--import_path", folder)
    assert row["done"] == 3 and [one["code"] for one in row["failed"]] == ["changed"], row
