"""Photos are written in groups, by workers that are threads or processes: what holds at each moment, whatever goes wrong."""

import contextlib
import errno
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import making
import mapillary_tools as mt
import pytest
from conftest import ROOT, SLACK, images_in, in_process, real, run, starting_by
from test_golden import lines_of

pytestmark = in_process
flushing = pytest.param(
    "flush_file",
    marks=pytest.mark.skipif(
        not hasattr(os, "posix_fadvise"), reason="several are flushed at a time, see below"
    ),
)
fork = pytest.param("fork", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"))
FILLER = 40000  # bytes of a photo, beside which what is added to it is little


def process(folder: Path, *more: Any) -> Any:
    return run("process", "--import_path", folder, "--user_name", "demo", "--advanced", *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: Any) -> Path:
    """Forty photos, and the same ones as an undisturbed run leaves them."""
    base = tmp_path_factory.mktemp("made")
    making.drive(base / "old" / "p", 40, filler=FILLER)
    shutil.copytree(str(base / "old"), str(base / "new"))
    return base


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Forty photos of one size."""
    shutil.copytree(str(made / "old" / "p"), str(tmp_path / "p"))
    return tmp_path / "p"


@pytest.fixture
def wanted(made: Path) -> Dict[str, bytes]:
    """Those photos as an undisturbed run leaves them."""
    if not (made / "new" / "p" / ".mapillary").exists():
        assert process(made / "new" / "p").code == 0
    return images_in(made / "new" / "p")


def parts(folder: Path) -> List[Path]:
    return sorted(folder.rglob("*.part"))


def copies(folder: Path) -> Dict[str, bytes]:
    return images_in(folder / ".mapillary" / "process_images")


def sizes(files: List[Path]) -> Dict[int, int]:
    """Bytes by the number of the file, of those that are still there."""
    found = {}
    for path in files:
        try:
            status = os.stat(str(path))
        except FileNotFoundError:
            continue
        found[status.st_ino] = status.st_size
    return found


# ---- the order of a group


def test_a_group_is_flushed_before_one_of_it_is_renamed_and_the_folder_before_it_is_told(
    folder, monkeypatch
):
    """Symptom: after a power cut photos are empty; or the journal tells of names that the disk has not."""
    seen: List[Tuple[str, Any]] = []
    fsync, replace, append = os.fsync, os.replace, mt.Journal.append
    flush = mt.flush_folder

    def flushed(handle: int) -> None:
        fsync(handle)
        seen.append(("flushed", os.fstat(handle).st_ino))

    def renamed(source: Any, target: Any) -> None:
        seen.append(("renamed", os.stat(source).st_ino))
        replace(source, target)

    def folder_flushed(path: Any) -> None:
        flush(path)
        if str(path) == str(folder):
            seen.append(("folder", path))

    def told(self: mt.Journal, lines: Any, flush: bool = True) -> None:
        lines = list(lines)
        seen.extend(("written" if line.written else "told", line.path.name) for line in lines)
        append(self, lines, flush)

    for place, name, act in (
        (os, "fsync", flushed),
        (os, "replace", renamed),
        (mt, "flush_folder", folder_flushed),
        (mt.Journal, "append", told),
    ):
        monkeypatch.setattr(place, name, act)
    assert process(folder, "--workers", 1).code == 0
    photos = {which for what, which in seen if what == "renamed"}
    seen = [(what, which) for what, which in seen if what != "flushed" or which in photos]
    begin = seen.index(("told", "0001.jpg"))
    runs = [(k, list(ones)) for k, ones in itertools.groupby(seen[begin:], lambda one: one[0])]
    order = [(what, len(ones)) for what, ones in runs]
    groups, folder_is = [("flushed", 20), ("renamed", 20)] * 2, ("folder", 1)
    # the first time it has a new state folder
    assert order == [("told", 40), folder_is, *groups, folder_is, ("written", 40)]
    for first in (2, 4):
        one, other = ({which for _, which in runs[first + n][1]} for n in (0, 1))
        assert one == other and len(one) == 20


# ---- a full disk


class Disk:
    """A disk with room for so many bytes of temporary files, and what they took of it at most."""

    def __init__(self, monkeypatch: Any, folder: Path, room: int) -> None:
        self.folder, self.room, self.most = folder, room, 0
        self.guard, self.plain = threading.Lock(), mt.write_all
        monkeypatch.setattr(mt, "write_all", self.write)

    def write(self, stream: Any, chunk: Any) -> None:
        with self.guard:
            here = sizes(parts(self.folder))
            left = self.room - sum(here.values())
            if os.fstat(stream.fileno()).st_ino in here and len(chunk) > left:
                self.plain(stream, bytes(chunk[: max(0, left)]))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.plain(stream, chunk)
            self.most = max(self.most, sum(sizes(parts(self.folder)).values()))


@pytest.mark.parametrize("keep", [(), ("--keep_original",)])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_disk_with_room_for_one_photo_more_is_enough(workers, keep, folder, wanted, monkeypatch):
    """Symptom: a card that has been shot full cannot be processed."""
    before, size = images_in(folder), max(map(len, wanted.values()))
    disk = Disk(monkeypatch, folder, size)
    ran = process(folder, "--workers", workers, *keep)
    assert ran.code == 0 and "40 processed" in ran.stdout, ran
    assert images_in(folder) == (before if keep else wanted)
    assert (copies(folder) if keep else wanted) == wanted
    assert parts(folder) == [] and 0 < disk.most <= size


@pytest.mark.parametrize("workers", [1, 4])
def test_a_disk_that_is_full_as_long_as_others_wait_costs_no_photo(
    workers, folder, wanted, monkeypatch
):
    """Some file systems see only when they flush that there is no room."""
    plain, asked = mt.flush_file, itertools.count()

    def full_at_times(handle: int) -> None:
        here = sizes(parts(folder))
        if os.fstat(handle).st_ino in here and len(here) > 1 and next(asked) % 3 == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(handle)

    monkeypatch.setattr(mt, "flush_file", full_at_times)
    ran = process(folder, "--workers", workers)
    assert ran.code == 0 and "40 processed" in ran.stdout and next(asked) > 1, ran
    assert images_in(folder) == wanted and parts(folder) == []


@pytest.mark.parametrize("keep", [(), ("--keep_original",)])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_disk_without_any_room_leaves_each_photo_and_names_what_to_do(
    workers, keep, folder, monkeypatch
):
    before = images_in(folder)
    Disk(monkeypatch, folder, 0)
    ran = process(folder, "--workers", workers, "--verbose", *keep)
    assert ran.code == 1 and "0 processed + 0 skipped + 40 failed" in ran.stdout, ran
    assert ran.stdout.count("free some space") >= 40 or "free some space" in ran.stderr
    assert all(name in ran.stdout for name in before)
    assert images_in(folder) == before and parts(folder) == [] and copies(folder) == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_temporary_files_take_the_bytes_of_a_group_and_of_one_photo_at_most(
    workers, folder, wanted, monkeypatch
):
    size = max(map(len, wanted.values()))
    monkeypatch.setattr(mt, "GROUP_BYTES", 7 * size // 2)
    disk = Disk(monkeypatch, folder, 1 << 40)
    assert process(folder, "--workers", workers).code == 0
    assert images_in(folder) == wanted
    assert size * 2 < disk.most <= workers * (mt.GROUP_BYTES + size)


# ---- interrupted


def raising(plain: Callable[..., Any], when: Callable[..., bool], after: bool = False) -> Any:
    """A function that a Ctrl-C comes to, before it or right after it."""

    def interrupted(*args: Any) -> Any:
        now = when(*args)
        if now and not after:
            raise KeyboardInterrupt
        result = plain(*args)
        if now:
            raise KeyboardInterrupt
        return result

    return interrupted


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("act", ["write_all", flushing, "move_file"])
def test_an_interrupt_within_a_group_leaves_old_and_new_photos_and_no_more(
    act, after, workers, folder, wanted, monkeypatch
):
    before, guard, calls = images_in(folder), threading.Lock(), itertools.count(1)

    def in_a_group(*args: Any) -> bool:
        here = sizes(parts(folder))
        with guard:
            if act == "write_all":
                return len(here) >= 5
            if act == "flush_file" and os.fstat(args[0]).st_ino not in here:
                return False
            return next(calls) == 3

    monkeypatch.setattr(mt, act, raising(getattr(mt, act), in_a_group, after))
    assert process(folder, "--workers", workers).code == 130
    now = images_in(folder)
    assert parts(folder) == [] and now != wanted
    assert all(now[name] in (before[name], wanted[name]) for name in before)


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_while_several_are_flushed_at_a_time_is_no_traceback(
    after, folder, monkeypatch
):
    """Where the system does not begin to write by itself, as on Windows and macOS; a slow disk."""
    before, main, broken = images_in(folder), threading.current_thread(), []
    others = threading.enumerate()
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    monkeypatch.setattr(threading, "excepthook", broken.append)
    plain = mt.flush_file

    def slow(handle: int) -> None:
        if os.fstat(handle).st_ino in sizes(parts(folder)):
            if threading.current_thread() is not main:
                time.sleep(0.05)
            plain(handle)

    def in_a_group(handle: int) -> bool:  # a Ctrl-C comes to the main thread
        inside = os.fstat(handle).st_ino in sizes(parts(folder))
        return inside and threading.current_thread() is main

    monkeypatch.setattr(mt, "flush_file", raising(slow, in_a_group, after))
    assert process(folder, "--workers", 1).code == 130
    left = [one for one in threading.enumerate() if one not in others]
    for one in left:
        one.join(SLACK)
    assert images_in(folder) == before and parts(folder) == []
    assert (left, [str(one.exc_value) for one in broken]) == ([], [])


# ---- one of a group


def test_a_photo_that_another_program_replaces_meanwhile_fails_alone(folder, wanted, monkeypatch):
    plain, theirs = mt.finish_files, making.jpeg(pixels=9)

    def meanwhile(files: Any) -> Any:
        for one in files:
            if one.path.endswith(("0003.jpg", "0039.jpg")):
                (folder / "theirs").write_bytes(theirs)
                os.replace(str(folder / "theirs"), one.path)
        return plain(files)

    monkeypatch.setattr(mt, "finish_files", meanwhile)
    ran = process(folder, "--workers", 1, "--verbose")
    assert ran.code == 1 and "38 processed + 0 skipped + 2 failed" in ran.stdout, ran
    for name in ("0003.jpg", "0039.jpg"):
        assert any(
            name in line and "was changed by another program" in line
            for line in ran.stdout.splitlines()
        )
        wanted = dict(wanted, **{name: theirs})
    assert images_in(folder) == wanted and parts(folder) == []


@pytest.mark.parametrize("act", ["flush_file", "move_file"])
def test_a_photo_that_cannot_be_flushed_or_renamed_fails_alone(act, folder, wanted, monkeypatch):
    before, plain, calls = images_in(folder), getattr(mt, act), itertools.count(1)

    def failing(*args: Any) -> None:
        photo = str(args[-1]).endswith(".jpg")
        if act == "flush_file":
            photo = os.fstat(args[0]).st_ino in sizes(parts(folder))
        if photo and next(calls) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        plain(*args)

    monkeypatch.setattr(mt, act, failing)
    ran = process(folder, "--workers", 1)
    assert ran.code == 1 and "39 processed + 0 skipped + 1 failed" in ran.stdout, ran
    left = [name for name, content in images_in(folder).items() if content == before[name]]
    assert images_in(folder) == {**wanted, left[0]: before[left[0]]}
    assert len(left) == 1 and parts(folder) == []


# ---- the same, however many workers of whatever kind


class Left(NamedTuple):
    """What a run leaves."""

    code: int
    photos: Dict[str, bytes]
    journal: List[str]
    printed: str


def left_by(way: str, workers: int, base: Path) -> Left:
    """What a run over 70 photos leaves, two of which are no good."""
    photos = base / "photos"
    making.drive(photos, 70)
    for path in (photos / "0005.jpg", photos / "0066.jpg"):
        path.write_bytes(path.read_bytes()[:-200])
    for number, path in enumerate(sorted(photos.iterdir())):
        os.utime(str(path), (1714979289 + number,) * 2)
    words = ["process", "--import_path", "photos", "--user_name", "demo", "--advanced"]
    program = starting_by(way, base, 60)
    ran = real([*words, "--workers", workers], cwd=str(base), program=program)
    assert ran.stderr == "" or "Traceback" not in ran.stderr, ran.stderr
    journal = lines_of(photos / ".mapillary" / "journal.jsonl")
    assert parts(photos) == []
    printed = [line for line in ran.stdout.splitlines() if " took " not in line]
    return Left(ran.code, images_in(photos), journal, "\n".join(printed[:-1]))


@pytest.fixture(scope="module")
def by_one(tmp_path_factory: Any) -> Left:
    return left_by("", 1, tmp_path_factory.mktemp("by one"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("way", ["", fork, "spawn"])
def test_workers_of_any_kind_and_number_leave_the_same(way, workers, by_one, tmp_path):
    found = left_by(way, workers, tmp_path)
    assert by_one.code == 1 and "68 processed" in by_one.printed
    assert found == by_one


# ---- worker processes


def reversed_each(group: Any) -> Any:
    return [one[::-1] for one in group]


def failing_at_7(group: Any) -> Any:
    for number in group:
        if number == 7:
            raise mt.BadExif("c", "is damaged", file="seven", value="v", remedy="leave it out")
    return list(group)


def bad_value_at_7(group: Any) -> Any:
    if 7 in group:
        raise ValueError("seven", 7)
    return list(group)


def ending_at_7(group: Any) -> Any:
    if 7 in group:
        os._exit(3)
    return list(group)


@pytest.fixture
def forking(monkeypatch: Any) -> Iterator[None]:
    """Workers are forked; none is left behind a test."""
    import multiprocessing

    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    monkeypatch.setattr(mt, "_way_to_start", lambda total: "fork")
    yield
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("job, kind", [(failing_at_7, mt.BadExif), (bad_value_at_7, ValueError)])
@pytest.mark.parametrize("workers", [2, 5])
def test_an_exception_of_a_worker_process_comes_through_as_it_was(job, kind, workers, forking):
    with pytest.raises(Exception) as here:
        job([7])
    got: List[int] = []
    with pytest.raises(kind) as caught:
        got.extend(mt.each_group(job, range(100), workers, 4))
    assert type(caught.value) is kind and caught.value.args == here.value.args
    with pytest.raises(kind):
        for value in mt.each_group(job, range(100), workers, 4):
            got.append(value)
    assert got == list(range(len(got))) and len(got) <= 7


@pytest.mark.parametrize("workers", [2, 5])
def test_a_worker_process_that_ends_is_one_clear_error(workers, forking):
    with pytest.raises(mt.ToolError, match="was ended by the system") as caught:
        list(mt.each_group(ending_at_7, range(1000), workers))
    assert caught.value.problem.code == "worker_lost"
    assert "run the same command again" in str(caught.value)


def test_worker_processes_are_others_than_this_and_give_results_in_order(forking):
    assert list(mt.each(abs, range(-500, 0), 3)) == list(range(500, 0, -1))
    pids = set(mt.each_group(pids_of, range(200), 3))
    assert len(pids) == 3 and os.getpid() not in pids


def pids_of(group: Any) -> Any:
    time.sleep(0.01)
    return [os.getpid() for _ in group]


def test_what_has_not_begun_when_the_consumer_stops_is_dropped(forking, tmp_path, monkeypatch):
    """Symptom: a Ctrl-C, and a minute of photos is written on."""
    plain, told = mt._pass_on, []

    def passing(value: Any, pipe: Any) -> None:
        plain(value, pipe)
        told.append(value)
        if told.count(None) == 2:
            (tmp_path / "stopped").touch()

    monkeypatch.setattr(mt, "_pass_on", passing)
    job = functools.partial(waiting, tmp_path)
    results = mt.each_group(job, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    groups = len(told) - 2
    assert groups == 8 and len(list(tmp_path.glob("begun*"))) <= 4


def waiting(folder: Path, group: Any) -> Any:
    """Marks that a group has begun; all but the first two last until the consumer has stopped."""
    (folder / f"begun {group[0]}").touch()
    while group[0] >= 64 and not (folder / "stopped").exists():
        time.sleep(0.01)
    time.sleep(0.2)  # until the worker has heard of it
    return list(group)


LARGE = """
import sys, time
sys.path.insert(0, %r)
import mapillary_tools as mt

def job(group):
    return [one[::-1] for one in group]

if __name__ == "__main__":
    mt._way_to_start = lambda total: sys.argv[1]
    items = [bytes([number, 0]) * (1 << 19) for number in range(60)]
    results = mt.each_group(job, items, 3)
    first = [next(results) for _ in range(3)]
    time.sleep(0.5)  # all pipes are full
    if sys.argv[2] == "early":
        results.close()
    else:
        assert first + list(results) == [one[::-1] for one in items]
    import multiprocessing
    assert multiprocessing.active_children() == []
    print("done")
""" % str(ROOT)


@pytest.mark.parametrize("end", ["late", "early"])
@pytest.mark.parametrize("way", ["", fork, "spawn"])
def test_tasks_and_results_larger_than_a_pipe_get_through(way, end, tmp_path):
    """Symptom: the parent waits for a worker that waits for its parent."""
    (tmp_path / "large.py").write_text(LARGE, "utf-8")
    argv = [sys.executable, "-I", str(tmp_path / "large.py"), way, end]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [b"done"], b"")


TORN = """
import os, sys
sys.path.insert(0, %r)
import multiprocessing, multiprocessing.connection
import mapillary_tools as mt

def job(group):
    return list(group)

if __name__ == "__main__":
    mt._way_to_start = lambda total: sys.argv[1]
    kind, parent = multiprocessing.connection.Connection, os.getpid()
    send, receive, count = kind._send, kind._recv, [0]

    def third(size):  # in the parent, of what does not pass at once
        large = os.getpid() == parent and size > 4096
        count[0] += large
        return large and count[0] == 3

    def sending(self, content, *more):
        if sys.argv[2] == "sent" and third(len(content)):
            os.write(self.fileno(), content[:4096])
            raise KeyboardInterrupt
        return send(self, content, *more)

    def receiving(self, size, *more):
        if sys.argv[2] == "taken" and third(size):
            receive(self, size // 2)
            raise KeyboardInterrupt
        return receive(self, size, *more)

    kind._send, kind._recv = sending, receiving
    try:
        list(mt.each_group(job, [bytes([254]) * (1 << 16) for _ in range(300)], 3))
    except KeyboardInterrupt:
        print("interrupted")
    assert multiprocessing.active_children() == []
""" % str(ROOT)


@pytest.mark.skipif(os.name != "posix", reason="reaches into pipes")
@pytest.mark.parametrize("way, what", [("fork", "taken"), ("spawn", "taken"), ("spawn", "sent")])
def test_an_interrupt_in_the_middle_of_a_task_or_a_result_is_no_hang(way, what, tmp_path):
    """Symptom: a Ctrl-C, and the run stands still, since the worker waits for the rest of its task."""
    (tmp_path / "torn.py").write_text(TORN, "utf-8")
    argv = [sys.executable, "-I", str(tmp_path / "torn.py"), way, what]
    code, out, err = ended(argv, SLACK * 2)
    assert (code, out, err) == (0, "interrupted\n", "")


def ended(argv: List[str], seconds: float, press: Any = None) -> Tuple[int, str, str]:
    """(code, output, errors) of a program in a session of its own; `press` is called while it runs."""
    child = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        if press is not None:
            press(child.pid)
        out, err = child.communicate(timeout=seconds)
        return child.returncode, out.decode(), err.decode()
    except subprocess.TimeoutExpired:
        return -1000, "", "it did not end"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


@pytest.mark.slow
@pytest.mark.skipif(
    os.name != "posix" or not os.path.isdir("/proc/self"), reason="there is no /proc here"
)
@pytest.mark.parametrize("phase", ["reading", "writing"])
@pytest.mark.parametrize("way", [fork, "spawn"])
def test_a_ctrl_c_while_workers_start_is_one_line(way, phase, tmp_path):
    """All that the terminal has started gets it, and the workers say nothing of their own."""
    folder = tmp_path / "p"
    making.drive(folder, 300)
    journal = folder / ".mapillary" / "journal.jsonl"

    def press(pid: int) -> None:
        deadline = time.monotonic() + SLACK * 5
        while time.monotonic() < deadline:
            if (phase == "reading" or journal.exists()) and workers_of(pid):
                break
        time.sleep(0.05)
        os.killpg(pid, signal.SIGINT)

    program = str(starting_by(way, tmp_path, 60))
    argv = [sys.executable, "-I", "-S", program, "process", "--import_path", str(folder)]
    argv += ["--user_name", "demo", "--advanced", "--workers", "2"]
    code, _, err = ended(argv, SLACK * 5, press)
    said = [line for line in err.splitlines() if "capture times of" not in line]
    assert code in (0, 130) and len(said) == (code == 130) and parts(folder) == [], err


def workers_of(pid: int) -> bool:
    """Whether a run has begun to start workers."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            place = Path("/proc", name)
            row = (place / "stat").read_text("utf-8").rpartition(")")[2].split()
            line = (place / "cmdline").read_bytes()
            if int(row[1]) == pid and b"resource_tracker" not in line:
                return True
    return False


def test_an_interrupt_while_workers_end_ends_the_run(folder, monkeypatch):
    """Symptom: "Exception ignored in: <generator object each>", and the run goes on."""
    before, plain, ignored, calls = images_in(folder), mt._Threads.close, [], itertools.count(1)

    def closing(self: Any) -> None:
        plain(self)
        if next(calls) == 1:  # of those that read
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    monkeypatch.setattr(mt._Threads, "close", closing)
    ran = process(folder, "--workers", 4)
    assert ignored == [] and ran.code == 130, ran
    assert images_in(folder) == before


def test_a_host_that_may_open_few_files_gets_all_photos_written(tmp_path, monkeypatch):
    """As programs that are no terminals may on macOS. Symptom: "Too many open files" for some of many small photos."""
    resource = pytest.importorskip("resource")
    making.drive(tmp_path / "p", 600)
    plain = mt.write_all
    # a disk on which all workers are in the middle of a group
    monkeypatch.setattr(mt, "write_all", lambda *args: (time.sleep(0.01), plain(*args)))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        source, user = mt.Input(str(tmp_path / "p")), mt.User("demo")
        report = mt.process(source, user, workers=mt.Workers(8))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (report.done, report.failed) == (600, [])


def test_a_program_that_embeds_us_gets_no_processes(tmp_path, monkeypatch):
    making.drive(tmp_path / "p", 100)
    for name in ("PROCESS_IMAGES", "FORK_IMAGES"):
        monkeypatch.setattr(mt, name, 10)
    monkeypatch.setitem(sys.modules, "multiprocessing", None)  # import raises
    for name in ("fork", "posix_spawn"):
        monkeypatch.delattr(os, name, raising=False)
    source, user = mt.Input(str(tmp_path / "p")), mt.User("demo")
    report = mt.process(source, user, workers=mt.Workers(8))
    assert (report.done, report.exit_code) == (100, 0)


# ---- what a system refuses


@pytest.mark.parametrize("keep", [(), ("--keep_original",)])
def test_two_folders_of_one_card_on_different_disks_are_no_obstacle(
    keep, folder, wanted, monkeypatch
):
    """As on a file system made of several (mergerfs). Symptom: "Invalid cross-device link"."""
    plain = mt.move_file

    def moving(source: str, target: str) -> None:
        if os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        plain(source, target)

    monkeypatch.setattr(mt, "move_file", moving)
    before = images_in(folder)
    assert process(folder, "--workers", 1, *keep).code == 0
    assert (copies(folder) if keep else images_in(folder)) == wanted
    assert parts(folder) == [] and (not keep or images_in(folder) == before)


def test_a_disk_that_renames_nothing_is_said_of_each_photo(folder, monkeypatch):
    """Symptom: copies of copies without end."""

    def refusing(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(mt, "move_file", refusing)
    before = images_in(folder)
    ran = process(folder, "--workers", 1)
    assert ran.code == 1 and "cannot be written" in ran.stdout, ran
    assert images_in(folder) == before and parts(folder) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_system_that_gives_no_more_processes_gets_threads(monkeypatch):
    """Symptom: a traceback that ends in BlockingIOError."""

    def refused() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(mt, "_way_to_start", lambda total: "fork")
    monkeypatch.setattr(os, "fork", refused)
    assert list(mt.each(abs, range(-100, 0), 2)) == list(range(100, 0, -1))
