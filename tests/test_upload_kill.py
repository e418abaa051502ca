"""Real processes: kill -9 and Ctrl-C at many moments, then the same command; every byte is accounted for."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import soon

import making
import mapillary_tools as tool
from service import END, Service, stall

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
THREADS = 3
IMAGES = 14
SIZE = 30000


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    """Processed photos in two sequences, to be copied for each test."""
    folder = tmp_path_factory.mktemp("master") / "photos"
    making.drive(folder, IMAGES // 2)
    for number, path in enumerate(
        making.drive(folder / "more", IMAGES // 2, lat=10.0, start="2024:05:06 09:00:00")
    ):
        path.rename(folder / ("m" + path.name))
    (folder / "more").rmdir()
    for number, path in enumerate(sorted(folder.glob("*.jpg"))):
        content = path.read_bytes()
        path.write_bytes(content[:-2] + bytes([17 + number]) * SIZE + b"\xff\xd9")
    assert tool.main(["process", "--import_path", str(folder), "--user_name", "demo"]) == 0
    return folder


class Field:
    """A copy of the photos and a command that is run on it again and again."""

    def __init__(self, master, base, service):
        import shutil

        self.folder, self.service = base / "photos", service
        shutil.copytree(str(master), str(self.folder))
        self.environment = {
            **os.environ,
            **service.environment(base / "config"),
            "NUMBER_THREADS": str(THREADS),
        }

    def start(self, *options):
        return subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                tool.__file__,
                "upload",
                "--import_path",
                str(self.folder),
                "--json",
                *options,
            ],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def complete(self):
        """Run to the end; the summary."""
        out, err = self.start().communicate(timeout=60)
        return json.loads(out), err.decode()

    def sent(self):
        """How many images the journal calls sent."""
        lines = (self.folder / ".mapillary" / "journal.jsonl").read_bytes().split(b"\n")
        rows = [json.loads(line)["upload"] for line in lines[:-1] if line.startswith(b'{"upload"')]
        return {row["image"] for row in rows if row["status"] == "sent"}


def killed_when(field, ready, sign=signal.SIGKILL, limit=30):
    """Start the command, and end it as soon as `ready` is true."""
    process = field.start()
    deadline = time.monotonic() + limit
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.send_signal(sign)
    process.communicate(timeout=30)
    return process


def settled(service):
    """Wait until the service has noticed that the connections are gone."""
    deadline = time.monotonic() + 5
    while service.open_now and time.monotonic() < deadline:
        time.sleep(0.005)


def whole(service):
    """All arrived once, in two sequences."""
    assert service.problems == []
    assert len(service.images()) == IMAGES and len(service.finished) == 2
    for upload in service.received.values():
        assert upload.complete
        pieces = [piece for piece in upload.accepted if piece[1] > piece[0]]
        assert [piece[0] for piece in pieces] == [0] + [piece[1] for piece in pieces[:-1]]
    assert sorted(len(record["images"]) for record in service.finished) == [IMAGES // 2] * 2


@pytest.mark.parametrize("requests", [1, 3, 7, 12, 16, 18])
def test_after_a_kill_only_what_is_missing_is_sent(master, tmp_path, requests):
    with Service(latency=0.01) as service:
        field = Field(master, tmp_path, service)
        killed_when(field, lambda: len(service.log) >= requests)
        settled(service)
        before, count, sent = (
            dict((k, u.size) for k, u in service.received.items()),
            len(service.log),
            field.sent(),
        )
        wasted = service.wasted()
        row, _ = field.complete()
        later = service.log[count:]
    whole(service)
    assert (row["exit_code"], row["done"], row["skipped"].get("already_uploaded", 0)) == (
        0,
        IMAGES - len(sent),
        len(sent),
    )
    images = [r for r in later if "mly_tools_" in r.path]
    assert len({r.path for r in images if r.method == "GET"}) <= THREADS
    total = sum(u.size for u in service.images().values())
    already = sum(size for key, size in before.items() if not key.endswith(".json"))
    assert sum(r.bytes for r in images) == total - already
    assert (
        sum(u.wasted for u in service.images().values()) == 0 and service.wasted() - wasted < 5000
    )


def test_killed_again_and_again_it_comes_to_the_end(master, tmp_path):
    with Service(latency=0.01) as service:
        field = Field(master, tmp_path, service)
        for number in range(4):
            start = len(service.log)
            killed_when(field, lambda: len(service.log) >= start + 4)
            settled(service)
        row, _ = field.complete()
    assert row["exit_code"] == 0
    whole(service)
    assert sum(upload.asked for upload in service.images().values()) <= 4 * THREADS


@pytest.mark.parametrize("at", [0, 7000, END])
def test_a_kill_in_the_middle_of_a_body_is_resumed_at_the_byte(master, tmp_path, at):
    with Service([stall(20, at, method="POST", path="mly_tools_", times=THREADS)]) as service:
        field = Field(master, tmp_path, service)
        killed_when(
            field,
            lambda: sum(r.bytes >= min(at, SIZE) for r in service.requests("POST")) >= THREADS,
        )
        service.closing.set()  # ends the stall
        settled(service)
        service.closing.clear()
        row, _ = field.complete()
    assert row["exit_code"] == 0
    whole(service)
    assert sum(upload.asked for upload in service.images().values()) == THREADS
    assert service.wasted() == 0


def test_an_unanswered_finish_is_repeated_with_the_same_handle_and_no_other(master, tmp_path):
    with Service([stall(20, END, method="POST", path="finish_upload")]) as service:
        field = Field(master, tmp_path, service)
        killed_when(field, lambda: len(service.finished) == 2)
        service.closing.set()
        settled(service)
        service.closing.clear()
        first = [request.json for request in service.requests("POST", "finish_upload")]
        field.complete()
        second = [request.json for request in service.requests("POST", "finish_upload")][
            len(first) :
        ]
    whole(service)
    assert second and all(wish in first for wish in second)
    assert len(service.manifests()) == 2


@pytest.mark.parametrize("at", [0, 50, END])
def test_a_kill_while_the_manifest_is_sent_gives_one_sequence(master, tmp_path, at):
    with Service([stall(20, at, method="POST", path="uuid_", times=2)]) as service:
        field = Field(master, tmp_path, service)
        killed_when(
            field,
            lambda: (
                len([r for r in service.log if "uuid_" in r.path and r.bytes >= min(at, 50)]) >= 2
            ),
        )
        service.closing.set()
        settled(service)
        service.closing.clear()
        field.complete()
    whole(service)
    assert len(service.manifests()) == 2


def test_a_run_after_a_completed_one_asks_for_nothing(master, tmp_path):
    with Service() as service:
        field = Field(master, tmp_path, service)
        field.complete()
        count = len(service.log)
        row, _ = field.complete()
    assert len(service.log) == count and row["done"] == 0
    whole(service)


def test_two_runs_at_one_time_do_not_send_twice(master, tmp_path):
    with Service(latency=0.3) as service:  # so that the first is at it when the second begins
        field = Field(master, tmp_path, service)
        first = field.start()
        deadline = time.monotonic() + 60
        while not service.log and time.monotonic() < deadline:
            time.sleep(0.01)
        second = field.start()
        codes = sorted(
            process.wait(timeout=60) for process in (first, second) if process.communicate()
        )
    assert codes == [0, 75]
    whole(service)


# ---- Ctrl-C


def test_interrupted_the_run_ends_soon_with_130_and_the_next_one_completes(master, tmp_path):
    with Service(latency=0.05) as service:
        field = Field(master, tmp_path, service)
        start = [0.0]

        def ready():
            start[0] = time.monotonic()
            return len(service.log) >= 5

        process = killed_when(field, ready, signal.SIGINT)
        assert process.returncode == 130 and soon(time.monotonic() - start[0], 2)
        settled(service)
        row, _ = field.complete()
    assert row["exit_code"] == 0
    whole(service)


def test_interrupted_while_the_service_stalls_the_run_ends_soon(master, tmp_path):
    with Service([stall(20, 0, times=THREADS)]) as service:
        field = Field(master, tmp_path, service)
        start = [0.0]

        def ready():
            start[0] = time.monotonic()
            return len(service.log) >= THREADS

        process = killed_when(field, ready, signal.SIGINT)
        assert process.returncode == 130 and soon(time.monotonic() - start[0], 4)


def test_interrupted_while_waiting_for_the_network_the_run_ends_soon(master, tmp_path):
    with Service() as service:
        field = Field(master, tmp_path, service)
    process = field.start()
    assert b"cannot be reached" in process.stderr.readline()
    time.sleep(0.3)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and soon(time.monotonic() - start, 4)
    assert b"run the same command again" in err and b"Traceback" not in err


def test_interrupted_while_no_connection_comes_about_the_run_ends_soon(master, tmp_path):
    """Symptom: two seconds for each worker, one after the other."""
    import socket

    with socket.socket() as deaf, Service() as service:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        full = [socket.socket() for _ in range(3)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        field = Field(master, tmp_path, service)
        field.environment["MAPILLARY_UPLOAD_ENDPOINT"] = "http://127.0.0.1:%d" % port
        process = field.start()
        time.sleep(1.5)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        seconds = time.monotonic() - start
        for one in full:
            one.close()
    assert process.returncode == 130 and soon(seconds, 4)


def test_a_second_interrupt_does_not_damage_the_journal(master, tmp_path):
    with Service(latency=0.05) as service:
        field = Field(master, tmp_path, service)
        process = field.start()
        while len(service.log) < 5 and process.poll() is None:
            time.sleep(0.002)
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        process.communicate(timeout=30)
        settled(service)
        row, err = field.complete()
    assert row["exit_code"] == 0 and "damaged" not in err
    whole(service)


# ---- The stand-in survives it too


def test_a_killed_run_to_a_stand_in_goes_on(master, tmp_path):
    with Service() as service:
        field = Field(master, tmp_path, service)
    kept = tmp_path / "received"
    deadline = time.monotonic() + 20
    process = field.start("--stand_in", str(kept), "--max_rate", "600")
    while len(list(kept.glob("*.jpg"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.communicate()
    out, _ = field.start("--stand_in", str(kept)).communicate(timeout=60)
    row = json.loads(out)
    assert (row["exit_code"], row["done"] + row["skipped"].get("already_uploaded", 0)) == (
        0,
        IMAGES,
    )
    assert len(list(kept.glob("*.jpg"))) == IMAGES and not list(kept.glob("*.part"))
    assert len(list((kept / "sequences").glob("*.json"))) == 2
