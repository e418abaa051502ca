"""What was tried against the promise that no picture is ever lost, and fell; named by the rows of the list of faults."""

import errno
import io
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import making
import mapillary_tools as mt
import pytest
import walker
from conftest import ROOT, SLACK, images_in, in_process, real, run, soon, starting_by

pytestmark = in_process
posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes of another kind")


def process(folder: Any, **groups: Any) -> mt.Report:
    return mt.process(mt.Input(str(folder)), mt.User("demo"), **groups)


def failing(error: int, name: str) -> Any:
    """A stand-in for os.open() that fails for one file name."""
    plain = os.open

    def opening(path: Any, *args: Any, **more: Any) -> Any:
        if os.path.basename(str(path)) == name:
            raise OSError(error, os.strerror(error))
        return plain(path, *args, **more)

    return opening


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_f1_a_passing_read_error_is_not_remembered(error, tmp_path, monkeypatch):
    making.drive(tmp_path, count=3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing(error, "0002.jpg"))
        first = process(tmp_path)
    assert (first.done, [one.code for one in first.failed]) == (2, ["unreadable"])
    second = process(tmp_path)
    assert (second.done + sum(map(len, second.skipped.values())), second.failed) == (3, [])
    assert making.description(tmp_path / "0002.jpg")


class Killed(BaseException):
    """The process ends here."""


def killed_at(monkeypatch: Any, name: str, count: int) -> Any:
    """Let a function of the module be the last thing that happens, at its count-th call."""
    plain, calls = getattr(mt, name), [0]

    def dying(*args: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == count:
            raise Killed
        return plain(*args, **more)

    monkeypatch.setattr(mt, name, dying)


def given_by(kind: str, folder: Path, table: Path) -> mt.Report:
    if kind == "csv":
        columns = mt.CsvColumns(
            str(table), filename_column=1, timestamp_column=2, latitude_column=3, longitude_column=4
        )
        return mt.process_csv(mt.Input(str(folder)), columns)
    return mt.interpolate(mt.Interpolation(data=kind, import_path=str(folder)))


def pairs(folder: Path, table: Path) -> None:
    """Six photos in pairs of one second, the middle pair without a place; and a table of them."""
    rows = []
    for number in range(6):
        place = (None, None) if number in (2, 3) else (57.7 + number / 1e4, 11.97)
        making.photo(
            folder / f"{number}.jpg",
            lat=place[0],
            lon=place[1],
            time=f"2024:05:06 07:08:{number // 2:02d}",
            pixels=number,
        )
        rows.append(f"{number}.jpg,2024:05:06 09:00:0{number}.5,1.0{number},2.0")
    table.write_text("\n".join(rows), encoding="ascii")


@pytest.mark.parametrize("kind", ["csv", "identical_timestamps", "missing_gps"])
@pytest.mark.parametrize(
    "place",
    ["before the first write", "before the first rename", "after the first rename", "all written"],
)
def test_f2_f14_what_was_planned_is_carried_out_and_what_was_found_is_kept(
    kind, place, tmp_path, monkeypatch
):
    """Killed anywhere, run again: the photos end as of an undisturbed run, and `found` is the camera's."""
    table = tmp_path / "table.csv"
    pairs(tmp_path / "good", table)
    pairs(tmp_path / "p", table)
    original = {
        image.path.name: image.found for image in map(mt.read_image, (tmp_path / "p").glob("*.jpg"))
    }
    given_by(kind, tmp_path / "good", table)
    with monkeypatch.context() as patch:
        if place == "all written":
            killed_at(
                patch, "flush_folder", 3 if not (tmp_path / "p" / ".mapillary").exists() else 1
            )
            patch.setattr(mt, "_after_writing", lambda *_: (_ for _ in ()).throw(Killed()))
        else:
            act = "begin_edits" if place == "before the first write" else "move_file"
            killed_at(patch, act, 2 if place.startswith("after") else 1)
        with pytest.raises(Killed):
            given_by(kind, tmp_path / "p", table)
    given_by(kind, tmp_path / "p", table)
    assert images_in(tmp_path / "p") == images_in(tmp_path / "good")
    with mt.Journal(tmp_path / "p", write=False) as journal:
        for name, found in original.items():
            image = journal.image(name)
            assert image is None or image.found._replace(mtime=0) == found._replace(mtime=0), name
    given_by(kind, tmp_path / "p", table)
    assert images_in(tmp_path / "p") == images_in(tmp_path / "good")


def test_f5_f20_a_photo_cut_short_while_it_is_copied_is_left_alone(tmp_path, monkeypatch):
    path = making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0, filler=3000000)
    half = path.read_bytes()[:1500000]
    plain = mt.write_all

    def cutting(stream: Any, chunk: bytes) -> None:
        plain(stream, chunk)
        if path.stat().st_size > len(half):
            path.write_bytes(half)

    with monkeypatch.context() as patch:
        patch.setattr(mt, "COPY_BYTES", 65536)
        image = mt.read_image(path)
        patch.setattr(mt, "write_all", cutting)
        with pytest.raises(mt.BadExif, match="was changed by another program"):
            mt.write_image(image, '{"a":1}')
    assert path.read_bytes() == half and [one.name for one in tmp_path.iterdir()] == ["a.jpg"]


def test_f5_a_photo_replaced_while_it_is_flushed_stays_the_other_programs(tmp_path, monkeypatch):
    path = making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    theirs, plain = making.jpeg(pixels=9), mt.flush_file

    def replacing(handle: int) -> None:
        (tmp_path / "new").write_bytes(theirs)
        os.replace(str(tmp_path / "new"), str(path))
        plain(handle)

    monkeypatch.setattr(mt, "flush_file", replacing)
    with pytest.raises(mt.BadExif, match="was changed by another program"):
        mt.write_image(mt.read_image(path), '{"a":1}')
    assert path.read_bytes() == theirs and [one.name for one in tmp_path.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("value", [10**400, float("inf"), 1e308])
def test_f7_a_wait_without_measure_is_clipped(value):
    assert mt.retry_delay(1, 429, {}, {"backoff": value}) == mt.WAIT_MOST_S


@posix
def test_f8_a_pipe_is_no_photo_no_table_and_no_track(tmp_path):
    making.drive(tmp_path / "p", count=1)
    os.mkfifo(str(tmp_path / "p" / "x.jpg"))
    os.mkfifo(str(tmp_path / "t.csv"))
    start = time.monotonic()
    ran = run("process", "--import_path", tmp_path / "p", "--user_name", "demo")
    assert ran.code == 1 and "x.jpg: cannot be read: it is no regular file" in ran.stdout
    ran = run(
        "process_csv",
        "--import_path",
        tmp_path / "p",
        "--csv_path",
        tmp_path / "t.csv",
        "--filename_column",
        1,
        "--altitude_column",
        2,
    )
    assert ran.code in (3, 5) and "Traceback" not in ran.stderr
    assert soon(time.monotonic() - start, 3)


def test_f9_a_page_or_a_track_that_is_to_replace_a_folder_is_one_line(tmp_path):
    making.drive(tmp_path / "p", count=1)
    process(tmp_path / "p")
    (tmp_path / "folder").mkdir()
    ran = run("report", "--import_path", tmp_path / "p", "--output_path", tmp_path / "folder")
    assert ran.code == 11 and ran.stderr.count("\n") == 1
    assert "cannot be written" in ran.stderr or "may not be written" in ran.stderr


def test_f9_a_full_disk_at_the_lock_file_is_no_traceback(tmp_path, monkeypatch):
    making.drive(tmp_path, count=1)

    class Full(mt.io.FileIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def truncate(self, size: Any = None) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mt.io, "FileIO", Full)
    with pytest.raises(mt.CannotWrite, match="No space left"):
        process(tmp_path)


@posix
@pytest.mark.parametrize("name", ["", "lock", "journal.jsonl", "process_images", "logs"])
def test_f10_f13_nothing_is_written_or_removed_through_a_link(name, tmp_path):
    """Symptom: process_images led to the photos, and every original was removed as a stale copy."""
    folder, elsewhere = tmp_path / "p", tmp_path / "elsewhere"
    making.drive(folder, count=2)
    making.drive(elsewhere, count=2)
    (elsewhere / ".mapillary-00.part").write_bytes(b"theirs")
    before = {path: path.read_bytes() for path in [*folder.rglob("*"), *elsewhere.rglob("*")]}
    state = folder / ".mapillary"
    if name:
        state.mkdir()
    is_file = name in ("lock", "journal.jsonl")
    target = elsewhere / "0001.jpg" if is_file else elsewhere
    os.symlink(str(target), str(state / name) if name else str(state))
    ran = run("process", "--import_path", folder, "--user_name", "demo")
    assert ran.code == 10 and "is a link, which is not followed" in ran.stderr
    assert {path: path.read_bytes() for path in before} == before


@posix
def test_f13_process_images_that_leads_to_the_photos_themselves(tmp_path):
    making.drive(tmp_path, count=3)
    before = images_in(tmp_path)
    (tmp_path / ".mapillary").mkdir()
    os.symlink("..", str(tmp_path / ".mapillary" / "process_images"))
    assert run("process", "--import_path", tmp_path, "--user_name", "demo").code == 10
    assert images_in(tmp_path) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_f16_narration_that_cannot_be_written_does_not_end_the_work(tmp_path):
    making.drive(tmp_path, count=3)
    script = str(ROOT / "mapillary_tools.py")
    argv = [sys.executable, "-I", "-S", script, "process", "--import_path", str(tmp_path)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*argv, "--user_name", "demo"], stdout=subprocess.PIPE, stderr=full)
    assert done.returncode == 0 and b"3 processed" in done.stdout


@posix
def test_f17_a_second_interrupt_ends_at_once_without_a_traceback(tmp_path):
    making.drive(tmp_path, count=1)
    code = (
        "import sys, time; sys.path.insert(0, %r); import mapillary_tools as mt; mt._prepare()\n"
        "def slow():\n    print('in', flush=True)\n    time.sleep(60)\n"
        "try:\n    slow()\nexcept KeyboardInterrupt:\n    slow()\n" % str(ROOT)
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    for _ in range(2):
        assert child.stdout is not None and child.stdout.readline().strip() == b"in"
        child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (130, b"")


@posix
@pytest.mark.slow
@pytest.mark.parametrize("phase", ["reading", "writing"])
@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_f4_workers_end_with_their_parent(way, phase, tmp_path):
    """Over 2,000 images, worker processes read and write; the parent is killed, and they are gone in 2 s."""
    source = making.photo(tmp_path / "source.jpg", lat=1.0, lon=2.0)
    folder = tmp_path / "p"
    folder.mkdir()
    for number in range(2100):
        os.link(str(source), str(folder / f"{number:04d}.jpg"))
    argv = [sys.executable, "-I", "-S", str(starting_by(way, tmp_path)), "process"]
    child = subprocess.Popen(
        [
            *argv,
            "--import_path",
            str(folder),
            "--user_name",
            "demo",
            "--advanced",
            "--workers",
            "2",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    journal, workers = folder / ".mapillary" / "journal.jsonl", []
    deadline = time.monotonic() + 120
    while len(workers) < 2 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
        if journal.exists() == (phase == "writing"):
            workers = _workers(child.pid)
    child.kill()
    child.wait()
    deadline = time.monotonic() + SLACK * 2
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [one for one in workers if _alive(one)]
    for one in left:
        os.kill(one, signal.SIGKILL)
    assert len(workers) == 2 and left == []


def _workers(pid: int) -> Any:
    """The children of a run, but for the one that spawned workers bring with them."""
    if not os.path.isdir("/proc"):
        pytest.skip("there is no /proc here")
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = Path("/proc", name, "stat").read_text("utf-8")
            words = Path("/proc", name, "cmdline").read_bytes()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid and b"resource_tracker" not in words:
            found.append(int(name))
    return found


def _alive(pid: int) -> bool:
    try:
        return (
            Path("/proc", str(pid), "stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
        )
    except OSError:
        return False


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, 45])
def test_f24_a_file_system_without_flush_and_rights_is_good_enough(error, tmp_path, monkeypatch):
    making.drive(tmp_path, count=2)

    def cannot(*_: Any, **__: Any) -> None:
        raise OSError(error, "Operation not supported")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", cannot)
        patch.setattr(os, "chmod", cannot)
        report = process(tmp_path)
    assert (report.done, report.exit_code) == (2, 0)


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes here")
def test_f15_a_photo_keeps_its_rights_and_extended_attributes(tmp_path):
    path = making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    path.chmod(0o640)
    try:
        os.setxattr(str(path), "user.note", b"mine")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    process(tmp_path)
    assert making.description(path) and path.stat().st_mode & 0o777 == 0o640
    assert os.getxattr(str(path), "user.note") == b"mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_f15_a_photo_of_somebody_stays_theirs_when_root_runs(tmp_path):
    path = making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0)
    os.chown(str(path), 65534, 65534)
    process(tmp_path)
    assert making.description(path) and (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_f23_an_empty_handle_is_no_acknowledgement():
    assert (
        not mt._has_handle({"h": ""})
        and not mt._has_handle({"h": " "})
        and mt._has_handle({"h": "x"})
    )


def test_the_very_same_bytes_are_asked_for_from_the_second_time_on():
    """Symptom: under load the worker that came second sent first, and the first then sent from 0 again."""
    turns = mt._Turns()
    for wanted in (False, True, True):
        with turns.take("k") as again:
            assert again is wanted


def test_version_of_a_copied_script_says_what_it_is():
    assert real(["--version"]).code == 0


def test_interpolate_leaves_originals_alone_that_a_kept_copy_was_made_of(tmp_path):
    """Symptom: what process_csv --keep_original had put into copies went into the originals."""
    making.drive(tmp_path / "p", count=3)
    (tmp_path / "t.csv").write_text("\n".join(f"000{n}.jpg,1.{n},2.0" for n in (1, 2, 3)), "utf-8")
    columns = mt.CsvColumns(
        str(tmp_path / "t.csv"), filename_column=1, latitude_column=2, longitude_column=3
    )
    before = images_in(tmp_path / "p")
    mt.process_csv(mt.Input(str(tmp_path / "p")), columns, keep=mt.Keep(True))
    copies = sorted((tmp_path / "p" / ".mapillary" / "process_images").iterdir())
    for kind in ("identical_timestamps", "missing_gps"):
        report = mt.interpolate(mt.Interpolation(data=kind, import_path=str(tmp_path / "p")))
        assert (report.done, images_in(tmp_path / "p")) == (0, before)
    assert len(copies) == 3 and all(path.exists() for path in copies)


def test_a_secret_that_is_gone_stops_nothing_that_does_not_need_it(tmp_path):
    making.drive(tmp_path, count=2)
    mt.write_config({"MAPAdmin": {"MAPILLARY_SECRET_HASH": "S"}})
    process(tmp_path, master=mt.Master(True))
    os.unlink(mt.config_path())
    report = process(tmp_path)
    assert report.done == 2 and "MAPVideoSecure" not in making.description(tmp_path / "0001.jpg")


@pytest.mark.parametrize("change", ["line ends", "blanks", "order"])
def test_a_journal_that_an_editor_laid_out_anew_still_counts(change, tmp_path):
    import json

    making.drive(tmp_path, count=2)
    process(tmp_path)
    journal = tmp_path / ".mapillary" / "journal.jsonl"
    lines = journal.read_text("ascii").splitlines()
    if change == "line ends":
        journal.write_bytes(("\r\n".join(lines) + "\r\n").encode("ascii"))
    else:
        rows = [json.dumps(json.loads(text), sort_keys=change == "order") for text in lines]
        journal.write_text("\n".join(rows) + "\n", encoding="ascii")
    assert sum(map(len, process(tmp_path).skipped.values())) == 2


def test_embedding_calls_that_cannot_be_meant_are_type_errors(tmp_path):
    source, user = mt.Input(str(tmp_path)), mt.User("demo")
    for groups, named in (
        ((source, user, mt.User("other")), {}),
        ((source, user, "text"), {}),
        ((source, user, mt.Angle(1.0)), {"angle": mt.Angle(2.0)}),
        ((source, user), {"geotagging": mt.Angle(2.0)}),
        ((source, user), {"nonsense": mt.Angle(2.0)}),
    ):
        with pytest.raises(TypeError):
            mt.process(*groups, **named)
    making.drive(tmp_path, count=1)
    assert mt.extract_upload_params(source, user).done == 1, "a User is an Account"
    with pytest.raises(mt.UsageError, match="must be a number"):
        mt.Workers("2")  # type: ignore


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes here")
def test_f15_an_attribute_that_may_not_be_set_costs_no_other(tmp_path, monkeypatch):
    path, plain = making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0), os.setxattr
    try:
        for name in ("user.a", "user.b", "user.c"):
            os.setxattr(str(path), name, b"mine")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    refused = os.listxattr(str(path))[0]

    def refusing(handle: Any, name: str, *more: Any) -> None:
        if name == refused:
            raise OSError(errno.EPERM, "Operation not permitted")
        plain(handle, name, *more)

    monkeypatch.setattr(os, "setxattr", refusing)
    process(tmp_path)
    assert making.description(path)
    assert {*os.listxattr(str(path)), refused} == {"user.a", "user.b", "user.c"}


def test_f2_a_program_that_embeds_us_is_not_ended_with_its_own_parent(tmp_path, monkeypatch):
    """Its parent may have ended long ago: only the workers of our own pool end with the run."""
    import multiprocessing

    class Gone:
        pid = 2

        def is_alive(self) -> bool:
            return False

    def ending(code: int) -> None:
        raise Killed

    monkeypatch.setattr(os, "_exit", ending)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    monkeypatch.setattr(multiprocessing, "parent_process", Gone)
    making.drive(tmp_path, count=2)
    assert process(tmp_path).done == 2


@pytest.mark.parametrize("name", ["posix", "nt"])
def test_a_worker_of_our_own_replaces_nothing_once_its_parent_has_ended(
    name, tmp_path, monkeypatch
):
    import multiprocessing

    alive, plain = [True], mt.end_with_parent

    def ending(code: int) -> None:
        raise Killed

    def as_there() -> None:
        with monkeypatch.context() as patch:
            parent = SimpleNamespace(is_alive=lambda: alive[0])
            system = SimpleNamespace(name=name, getppid=lambda: 8 - alive[0], _exit=ending)
            patch.setattr(multiprocessing, "parent_process", lambda: parent)
            patch.setattr(mt, "os", system)
            plain()

    making.drive(tmp_path, count=2)
    before = images_in(tmp_path)
    images = [mt.read_image(path) for path in sorted(tmp_path.glob("*.jpg"))]
    monkeypatch.setattr(mt, "_PARENT", [7])
    monkeypatch.setattr(mt, "end_with_parent", as_there)
    alive[0] = False
    with pytest.raises(Killed):
        mt.write_image(images[0], '{"a":1}')
    assert images_in(tmp_path) == before
    alive[0] = True
    mt.write_image(images[1], '{"a":1}')
    assert images_in(tmp_path) != before


def test_no_worker_writes_on_when_the_run_gives_the_folder_back(tmp_path, monkeypatch):
    """Stopped between two photos: the pool has ended before the lock of the folder is gone."""
    making.drive(tmp_path, count=3)
    plain, locked = mt.each_group, []

    def watched(job: Any, *args: Any) -> Any:
        results = plain(job, *args)
        try:
            yield from results
        finally:
            if getattr(job, "func", None) is mt.write_images:
                with pytest.raises(mt.BadJournal):
                    mt.Journal(tmp_path).__enter__()
                locked.append(True)

    def stopping(what: str, done: int, *_: int) -> None:
        if what == "writing":
            raise Killed

    monkeypatch.setattr(mt, "each_group", watched)
    spec = mt.RunSpec(mt.STEPS, mt.Options([mt.Input(str(tmp_path)), mt.User("demo")]))
    with pytest.raises(Killed):
        mt.run_steps("process", spec, mt.Ui(progress=stopping))
    assert locked == [True]


# ---- a tag that stands twice ---------------------------------------------------------------------


@in_process
def test_a_tag_that_stands_twice_is_written_once(tmp_path):
    """Its second entry leads behind the block, until the block grows: then it was read there."""
    block = bytearray(
        making.exif_tiff(lat=57.7, lon=11.97, heading=0.0, time="2024:05:06 07:08:09")
    )
    order = "<" if block[:2] == b"II" else ">"
    entries = walker.Tiff(bytes(block)).ifds["GPS"]
    at = walker.Tiff(bytes(block)).offsets["GPS"]
    count = len(entries)
    for number in range(count):
        start = at + 2 + 12 * number
        (tag,) = struct.unpack_from(order + "H", block, start)
        if tag == 0x11:  # behind GPSImgDirectionRef: the same tag as a rational, far away
            struct.pack_into(order + "HHII", block, start, 0x10, 5, 1, len(block) + 200)
    path = making.photo(tmp_path / "a.jpg", exif=bytes(block))
    edits = {"GPS": {0x10: b"T", 0x11: (9000, 100)}, "0th": {0x010E: b"x" * 3000}}
    for changes in (True, False):
        content = path.read_bytes()
        new = mt.edited(io.BytesIO(content), "a.jpg", edits)
        assert new.changed == changes
        path.write_bytes(new.head + content[new.start :])
    assert mt.piexif().load(path.read_bytes())["GPS"][0x10] == b"T"
