"""Upload over bad networks, against tests/service.py, which keeps account of every byte; and the stand-in service."""

import errno
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import soon

import making
import mapillary_tools as tool
from service import (
    END,
    ORGANIZATION,
    TOKEN,
    Service,
    cut,
    cut_answer,
    html,
    offset_invalid,
    revoked,
    stall,
    status,
    too_many,
    wrong_offset,
)

IMAGE = "mly_tools_"
MANIFEST = "uuid_"
FINISH = "finish_upload"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No long pauses, and nothing of this computer's own environment."""
    monkeypatch.setattr(tool, "BACKOFF_S", 0.005)
    monkeypatch.setattr(tool, "BACKOFF_MOST_S", 0.02)
    for name in list(os.environ):
        if (
            name.lower().endswith("_proxy")
            or name.startswith("MAPILLARY_")
            or name in ("NUMBER_THREADS", "MAX_ATTEMPTS")
        ):
            monkeypatch.delenv(name)


@pytest.fixture
def field(tmp_path, monkeypatch, capsys):
    return Field(tmp_path, monkeypatch, capsys)


class Field:
    """A folder of photos, and the commands on it."""

    def __init__(self, tmp_path, monkeypatch, capsys):
        self.base, self.folder = tmp_path, tmp_path / "photos"
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.code, self.said = 0, ""

    def drive(self, count=3, size=0, **fields):
        """Photos; each `size` bytes longer, in its scan."""
        paths = making.drive(self.folder, count, **fields)
        for number, path in enumerate(paths):
            if size:
                fatten(path, size, number)
        return paths

    def run(self, *argv):
        """One command; its --json summary."""
        self.capsys.readouterr()
        self.code = tool.main([str(word) for word in argv] + ["--json"])
        out, self.said = self.capsys.readouterr()
        row = json.loads(out)
        if "found" in row:
            assert row["found"] == row["done"] + sum(row["skipped"].values()) + len(row["failed"])
        return row

    def process(self, *options):
        return self.run("process", "--import_path", self.folder, "--user_name", "demo", *options)

    def ready(self, count=3, size=0, **fields):
        """Photos that are processed."""
        paths = self.drive(count, size, **fields)
        assert self.process()["done"] == count
        return paths

    def use(self, service, threads=None, attempts=None):
        """Point the tool to a service."""
        for name, value in service.environment(self.base / "config").items():
            self.monkeypatch.setenv(name, value)
        if threads:
            self.monkeypatch.setenv("NUMBER_THREADS", str(threads))
        if attempts:
            self.monkeypatch.setenv("MAX_ATTEMPTS", str(attempts))

    def upload(self, service=None, *options, threads=None, attempts=None):
        if service is not None:
            self.use(service, threads, attempts)
        return self.run("upload", "--import_path", self.folder, *options)

    def stand_in(self, folder="received", *options):
        return self.run(
            "upload", "--import_path", self.folder, "--stand_in", self.base / folder, *options
        )

    def journal(self):
        return (self.folder / ".mapillary" / "journal.jsonl").read_text("utf-8")


def fatten(path, size, seed=0):
    """Put `size` bytes into the scan of a JPEG."""
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([17 + seed % 200]) * size + b"\xff\xd9")


def clean(service, images, sequences=1):
    """Everything arrived once, byte for byte."""
    assert service.problems == []
    assert len(service.images()) == images
    assert len(service.finished) == sequences
    for key, upload in service.received.items():
        assert upload.complete, key
        pieces = [piece for piece in upload.accepted if piece[1] > piece[0]]
        assert [piece[0] for piece in pieces] == [0] + [piece[1] for piece in pieces[:-1]], key
        assert pieces[-1][1] == upload.size


class Hooked(Service):
    """A service that lets a test act when a request comes in."""

    hook = staticmethod(lambda method, path: None)

    def fault_for(self, method, path):
        self.hook(method, path)
        return super().fault_for(method, path)


# ---- A good network


def test_images_and_their_sequence_arrive(field):
    paths = field.ready(5)
    with Service() as service:
        row = field.upload(service)
    assert (row["found"], row["done"], field.code) == (5, 5, 0)
    clean(service, 5)
    sent = [bytes(service.received[key].content) for key in service.finished[0]["images"]]
    assert sent == [path.read_bytes() for path in paths]


def test_fresh_images_are_posted_without_asking_for_the_offset(field):
    field.ready(6)
    with Service() as service:
        field.upload(service)
    assert service.requests("GET", "/upload/") == []


def test_one_kept_alive_connection_a_worker(field):
    field.ready(12)
    with Service(latency=0.01) as service:
        field.upload(service, threads=3)
    clean(service, 12)
    assert service.connections == 3 and service.most_open == 3


def test_threads_work_at_one_time_but_no_more_than_asked(field):
    field.ready(8)
    with Service(latency=0.05) as service:
        field.upload(service, threads=4)
    assert service.most_at_once == 4


def test_bodies_have_a_length_and_are_not_chunked(field):
    field.ready(3)
    with Service() as service:
        field.upload(service)
    posts = service.requests("POST")
    assert posts and all(
        "content-length" in r.headers and "transfer-encoding" not in r.headers for r in posts
    )


def test_a_second_run_sends_nothing(field):
    field.ready(3)
    with Service() as service:
        field.upload(service)
        before = len(service.log)
        row = field.upload(service)
    assert (row["done"], row["skipped"], field.code) == (0, {"already_uploaded": 3}, 0)
    assert len(service.log) == before


def test_all_sent_is_said_to_be_safe_to_leave_the_card(field):
    field.ready(3)
    with Service() as service:
        row = field.upload(service)
    assert any("may leave the card" in note for note in row["notes"])


def test_a_folder_that_cannot_be_listed_is_not_said_to_be_safe(field, monkeypatch):
    """What is in there has not arrived: nobody may be told to empty the card."""
    field.ready(3)
    (field.folder / "closed").mkdir()
    plain = os.scandir

    def refusing(path="."):
        if os.path.basename(str(path)) == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with Service() as service:
        row = field.upload(service)
    assert (row["done"], field.code) == (3, 1) and "closed" in str(row["trouble"])
    assert not any("may leave the card" in note for note in row["notes"])


def test_every_photo_is_named_when_many_threads_replace_photos_of_the_same_names(
    field, monkeypatch
):
    """All but the first photo are other ones of the old names; the old sequence has all names."""
    field.ready(12)
    field.stand_in()
    for path in making.drive(field.base / "others", 12, lat=57.70001, subsec="250")[1:]:
        shutil.copy(str(path), str(field.folder / path.name))
    field.process()
    plain = tool.Journal.manifest

    def slow(journal, *args):
        found = plain(journal, *args)
        time.sleep(0.02)
        return found

    monkeypatch.setattr(tool.Journal, "manifest", slow)
    monkeypatch.setenv("NUMBER_THREADS", "8")
    row = field.stand_in()
    received = {path.name for path in (field.base / "received").glob("*.jpg")}
    named = {
        name
        for path in (field.base / "received" / "sequences").iterdir()
        for name in json.loads(path.read_text("utf-8"))["images"]
    }
    assert row["failed"] == [] and len(received) == 23 and named == received


def test_organization_is_checked_once_and_named_at_the_end(field):
    field.drive(3)
    field.process("--organization_key", ORGANIZATION["id"])
    with Service() as service:
        field.upload(service)
    assert len(service.requests("GET", "/graph/2002")) == 1
    assert service.finished[0]["organization_id"] == "2002"


def test_an_organization_that_does_not_exist_stops_before_any_image(field):
    field.drive(3)
    field.process("--organization_key", "999")
    with Service() as service:
        field.upload(service, attempts=2)
    assert field.code == 8 and not service.received


def test_the_folder_that_is_meant_by_a_dot_is_uploaded(field):
    field.ready(3)
    field.monkeypatch.chdir(field.folder)
    field.folder = Path(".")
    with Service() as service:
        row = field.upload(service)
    assert row["done"] == 3


def test_images_in_many_folders_are_finished_by_folder(field):
    for name in ("a", "b"):
        making.drive(field.folder / name, 2, lat=50.0 if name == "a" else 51.0)
    field.process()
    with Service() as service:
        row = field.upload(service)
    assert row["done"] == 4
    clean(service, 4, 2)


def test_every_folder_keeps_the_order_of_capture(field):
    """Symptom: each further folder sorted the sequences of those before it by name."""
    for folder in ("a", "b", "c"):
        for path in reversed(making.drive(field.folder / folder, 4, lat=ord(folder) - 50.0)):
            path.rename(path.with_name("%02d.jpg" % (20 - int(path.stem))))
    field.process()
    with Service() as service:
        field.upload(service)
    clean(service, 12, 3)
    for record in service.finished:
        times = [
            making.description(bytes(service.received[key].content))["MAPCaptureTime"]
            for key in record["images"]
        ]
        assert times == sorted(times)


def test_dry_run_sends_and_writes_nothing(field):
    field.ready(3)
    before = field.journal()
    with Service() as service:
        row = field.upload(service, "--dry_run")
    assert row["done"] == 3 and not service.log and field.journal() == before


# ---- Connections that break


@pytest.mark.parametrize(
    "at, reset",
    [
        (0, True),
        (1, True),
        (700, False),
        (65535, True),
        (65536, True),
        (65537, False),
        (150000, True),
    ],
)
def test_a_connection_cut_in_the_body_goes_on_at_that_byte(field, at, reset):
    field.ready(1, 200000)
    with Service([cut(at, reset, path=IMAGE)]) as service:
        row = field.upload(service)
    assert row["done"] == 1
    clean(service, 1)
    assert service.wasted() == 0


class Relay:
    """Passes bytes on to a service; its n-th connection breaks after cuts[n] = (bytes up, bytes down)."""

    def __init__(self, service, cuts):
        self.service, self.cuts = service, list(cuts)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.root = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def environment(self, config):
        found = self.service.environment(config)
        return {name: value.replace(self.service.root, self.root) for name, value in found.items()}

    def _accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            up, down = self.cuts.pop(0) if self.cuts else (END, END)
            there = socket.create_connection(("127.0.0.1", self.service._port))
            for one in (client, there):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(client, there, up), daemon=True).start()
            threading.Thread(target=self._pass, args=(there, client, down), daemon=True).start()

    def _pass(self, source, target, left):
        """Heads of requests go on when they are whole: a real service never acts on a part of one."""
        held, body = b"", 0
        try:
            while left > 0:
                block = source.recv(min(65536, left))
                if not block:
                    break
                left -= len(block)
                if target.getpeername()[1] != self.service._port:
                    target.sendall(block)
                    continue
                held += block
                while held and (body or b"\r\n\r\n" in held):
                    if not body:
                        end = held.index(b"\r\n\r\n") + 4
                        length = re.search(rb"(?i)content-length: (\d+)", held[:end])
                        body = end + int(length.group(1) if length else 0)
                    target.sendall(held[:body])
                    held, body = held[body:], max(0, body - len(held))
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@pytest.mark.parametrize("way", ["request", "answer"])
def test_connections_cut_at_every_few_bytes_lose_and_double_nothing(field, way):
    field.ready(8, 1000)
    places = (
        list(range(0, 700, 9)) + list(range(700, 2200, 101))
        if way == "request"
        else range(0, 150, 2)
    )
    with Service() as service:
        relay = Relay(service, [(at, END) if way == "request" else (END, at) for at in places])
        row = field.upload(relay, threads=2, attempts=1000)
        left = len(relay.cuts)
        relay.listener.close()
    assert left == 0, "the test must use all its cuts"
    assert row["done"] == 8
    clean(service, 8)


@pytest.mark.parametrize("sent", [0, 5, 14, 17, 30, 60, 75, 85])
def test_an_answer_cut_anywhere_after_the_image_was_taken_sends_no_byte_again(field, sent):
    field.ready(1, 5000)
    with Service([cut_answer(sent, method="POST", path=IMAGE)]) as service:
        row = field.upload(service)
    assert row["done"] == 1
    clean(service, 1)
    assert service.wasted() == 0


@pytest.mark.parametrize("sent", [0, 14, 30, 60, 75, 85])
def test_a_refusal_that_arrives_in_part_is_no_refusal(field, sent):
    """Symptom: 400 with retriable true, cut in its body or its headers, failed the image for good."""
    field.ready(1)

    with Service([cut_answer(sent, method="POST", path=IMAGE)]) as service:
        answers = [1]
        handler = service._server.RequestHandlerClass
        send = handler._send

        def _send(self, code, body, headers=None, at_most=None):
            if at_most is not None and answers:
                answers.pop()
                code, body = (
                    400,
                    {"debug_info": {"retriable": True, "type": "X", "message": "later"}},
                )
            return send(self, code, body, headers, at_most)

        field.monkeypatch.setattr(handler, "_send", _send)
        row = field.upload(service)
    assert not answers
    assert row["done"] == 1


def test_a_lost_answer_of_the_whole_image_sends_an_empty_rest(field):
    field.ready(1, 5000)
    with Service([cut(END, method="POST", path=IMAGE)]) as service:
        field.upload(service)
    again = service.requests("POST", IMAGE)[1]
    assert (again.headers["content-length"], again.headers["offset"]) == (
        "0",
        str(service.requests("POST", IMAGE)[0].bytes),
    )


@pytest.mark.parametrize(
    "fault",
    [
        cut_answer(20, path=FINISH),
        cut(END, path=FINISH),
        cut(0, path=FINISH),
        status(500, path=FINISH),
        html(path=FINISH),
    ],
    ids=lambda fault: fault.action,
)
def test_an_unclear_finish_is_repeated_with_the_same_handle_only(field, fault):
    fault.used = 0
    field.ready(3)
    with Service([fault]) as service:
        row = field.upload(service)
    wishes = [request.json for request in service.requests("POST", FINISH)]
    assert len(wishes) == 2 and (wishes[0] == wishes[1] or not wishes[0])
    assert row["sequences_finished"] == 1
    clean(service, 3)


def test_a_lost_manifest_answer_gives_one_sequence(field):
    field.ready(3)
    with Service([cut(END, path=MANIFEST)]) as service:
        field.upload(service)
    clean(service, 3)
    assert len(service.manifests()) == 1


def test_progress_resets_the_count_of_tries(field):
    field.ready(1, 300000)
    faults = [cut(20000, path=IMAGE, method="POST", times=12)]
    with Service(faults) as service:
        row = field.upload(service, attempts=3)
    assert row["done"] == 1
    clean(service, 1)


def test_tries_without_progress_end_and_the_rest_goes_on(field):
    field.ready(3)
    with Service([status(500, path=IMAGE, method="POST", times=4)]) as service:
        row = field.upload(service, threads=1, attempts=4)
    assert (row["done"], len(row["failed"]), field.code) == (2, 1, 1)
    assert service.finished == []


# ---- Answers that are not as they should be


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(502, body="<html>Bad Gateway</html>"),
        status(503),
        status(500, early=True),
        too_many(backoff=5),
        status(400, {"debug_info": {"retriable": True, "type": "X", "message": "m"}}),
    ],
    ids=lambda fault: "%d%s" % (fault.code, " early" if fault.early else ""),
)
def test_a_passing_trouble_is_tried_again(field, fault):
    fault.used, fault.method, fault.path, fault.times = 0, "POST", IMAGE, 2
    field.ready(2, 20000)
    with Service([fault]) as service:
        row = field.upload(service)
    assert row["done"] == 2
    clean(service, 2)


@pytest.mark.parametrize(
    "fault",
    [too_many(retry_after=0.4, path=IMAGE), too_many(backoff=400, path=IMAGE)],
    ids=["Retry-After", "backoff"],
)
def test_429_waits_as_long_as_asked(field, fault):
    fault.used = 0
    field.ready(1)
    with Service([fault]) as service:
        field.upload(service)
    posts = service.requests("POST", IMAGE)
    assert 0.4 <= posts[1].at - posts[0].at < 1.5


def test_a_wait_that_no_clock_can_hold_does_not_end_the_run_with_a_bug(field):
    """Symptom: Retry-After 99999999999 raised OverflowError in a worker."""
    field.ready(1)
    field.monkeypatch.setattr(tool.Server, "wait", quickly(tool.Server.wait))
    with Service(
        [too_many(retry_after=99999999999, path=IMAGE), too_many(backoff=float("inf"), path=IMAGE)]
    ) as service:
        row = field.upload(service)
    assert row["done"] == 1


def quickly(wait):
    def short(self, seconds):
        threading.Event().wait(min(seconds, 1e-6) if seconds < threading.TIMEOUT_MAX else seconds)
        return wait(self, min(seconds, 0.001))

    return short


def test_412_out_of_the_blue_asks_at_once_and_goes_on(field):
    field.ready(1, 5000)
    field.monkeypatch.setattr(tool, "BACKOFF_S", 5.0)
    field.monkeypatch.setattr(tool, "BACKOFF_MOST_S", 5.0)
    with Service([offset_invalid(path=IMAGE)]) as service:
        start = time.monotonic()
        row = field.upload(service)
    assert row["done"] == 1 and soon(time.monotonic() - start, 3)
    assert len(service.requests("GET", IMAGE)) == 1


def test_a_refusal_fails_one_image_after_one_try(field):
    field.ready(3)
    refusal = status(
        400,
        {"debug_info": {"retriable": False, "type": "BadImage", "message": "no such picture"}},
        path=IMAGE,
    )
    with Service([refusal]) as service:
        row = field.upload(service, threads=1)
    assert (row["done"], field.code) == (2, 1)
    assert [problem["value"] for problem in row["failed"]] == ["HTTP 400: no such picture"]
    assert len(service.requests("POST", IMAGE)) == 3


def test_a_sequence_is_completed_after_an_image_of_it_failed_first(field):
    paths = field.ready(3)
    with Service([status(400, path=IMAGE)]) as service:
        field.upload(service, threads=1)
        assert service.finished == [] and service.manifests() == {}
        row = field.upload(service)
    assert (row["done"], row["skipped"]) == (1, {"already_uploaded": 2})
    clean(service, 3)
    sent = [bytes(service.received[key].content) for key in service.finished[0]["images"]]
    assert sent == [path.read_bytes() for path in paths]


def test_an_image_that_failed_half_way_goes_on_where_it_stood(field):
    """Symptom: the next run sent all its bytes again, because only "started" images asked for their offset."""
    field.ready(1, 300000)
    with Service([cut(200000, path=IMAGE), status(500, path=IMAGE, times=2)]) as service:
        row = field.upload(service, attempts=2)
        assert len(row["failed"]) == 1
        before = service.wasted()
        field.upload(service)
    clean(service, 1)
    assert service.wasted() == before


@pytest.mark.parametrize("early", [True, False])
def test_a_page_of_html_is_no_acknowledgement(field, early):
    field.ready(2)
    with Service([html(times=None, early=early)]) as service:
        row = field.upload(service, attempts=2)
    assert (row["done"], len(row["failed"]), field.code) == (0, 2, 1)


def test_html_for_a_while_is_waited_out(field):
    field.ready(2)
    with Service([html(times=3)]) as service:
        row = field.upload(service)
    assert row["done"] == 2
    clean(service, 2)


def test_a_redirection_to_a_login_page_is_waited_out(field):
    field.ready(2)
    with Service(
        [status(302, "<html>", path=IMAGE, times=3), status(511, "<html>", path=IMAGE, times=1)]
    ) as service:
        row = field.upload(service)
    assert row["done"] == 2


def test_a_finish_without_a_cluster_is_not_called_finished(field):
    """Symptom: any JSON object with status 200 counted as the answer."""
    field.ready(2)
    with Service([status(200, {"status": "log in please"}, path=FINISH, times=None)]) as service:
        row = field.upload(service, attempts=2)
        assert row["sequences_finished"] == 0 and field.code == 1
        service.faults.clear()
        field.upload(service)
    assert len(service.finished) == 1


def test_an_answer_of_nested_brackets_ends_no_worker(field):
    field.ready(1)
    with Service([status(200, "[" * 200000, path=IMAGE)]) as service:
        row = field.upload(service)
    assert row["done"] == 1


@pytest.mark.parametrize("by", [10**9, -(10**9), "abc", None, True, 1.5], ids=str)
def test_a_wrong_offset_once_does_no_harm(field, by):
    field.ready(2, 5000)
    with Service([cut(1000, path=IMAGE), wrong_offset(by)]) as service:
        if by is True or isinstance(by, float):
            service.faults[1] = status(200, {"offset": by}, method="GET")
        field.upload(service, threads=1)
        row = field.upload(service)
    assert row["done"] + row["skipped"].get("already_uploaded", 0) == 2
    clean(service, 2)


@pytest.mark.parametrize("by", [10, -10])
def test_an_offset_that_is_always_wrong_ends_in_a_failed_image(field, by):
    field.ready(1, 5000)
    with Service([cut(1000, path=IMAGE), wrong_offset(by, times=None)]) as service:
        row = field.upload(service, attempts=4)
    assert len(row["failed"]) == 1 and len(service.log) < 30


def test_an_offset_that_goes_to_and_fro_ends_in_a_failed_image(field):
    """Symptom: each step forward counted as progress, and the run asked for ever without a pause."""
    field.ready(1, 5000)
    turns = [wrong_offset(by, after=0) for by in (10, 0) * 40]
    with Service([cut(0, path=IMAGE), *turns, status(400, method="GET")]) as service:
        service.faults.insert(1, offset_invalid(method="POST", path=IMAGE, times=None))
        row = field.upload(service, attempts=4)
    assert len(row["failed"]) == 1 and len(service.log) < 30


@pytest.mark.parametrize("at", [0, 3000, END])
def test_a_stalled_service_is_given_up_and_tried_again(field, at):
    field.ready(1, 5000)
    field.monkeypatch.setattr(tool, "ANSWER_S", 0.3)
    with Service([stall(8, at, method="POST", path=IMAGE)]) as service:
        start = time.monotonic()
        row = field.upload(service)
        seconds = time.monotonic() - start
    assert row["done"] == 1 and soon(seconds, 4)


def test_an_answer_that_trickles_in_for_ever_is_given_up(field):
    """Symptom: each byte began the time anew."""
    field.ready(1)
    field.monkeypatch.setattr(tool, "ANSWER_S", 0.4)
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def trickle():
        with listener.accept()[0] as client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\n")
            while not stop.wait(0.1):
                try:
                    client.sendall(b"X-Slow: 1\r\n"[:3])
                except OSError:
                    return

    threading.Thread(target=trickle, daemon=True).start()
    with Service() as service:
        field.use(service)
        server = tool.Server(
            "http://127.0.0.1:%d" % listener.getsockname()[1], "", tool.Limits(attempts=1)
        )
        timer = threading.Timer(3, stop.set)
        timer.start()
        start = time.monotonic()
        with pytest.raises(tool.ToolError):
            server.ask("GET", server.graph + "/me", {})
        seconds = time.monotonic() - start
        stop.set()
        timer.cancel()
        listener.close()
    assert soon(seconds, 2)


# ---- No network


def test_a_service_that_is_gone_for_a_while_is_waited_for(field):
    field.ready(3)
    with Service() as service:
        field.use(service)
        service.go_offline()
        timer = threading.Timer(0.4, service.go_online)
        timer.start()
        row = field.upload(attempts=2)
        timer.join()
    assert row["done"] == 3
    assert "cannot be reached" in field.said
    clean(service, 3)


def test_a_service_that_goes_away_in_the_middle_is_waited_for(field):
    field.ready(6, 20000)
    with Hooked() as service:
        gone = []

        def away():
            service.go_offline()
            time.sleep(0.3)
            service.go_online()

        def leave(method, path):
            if len(service.images()) >= 2 and not gone:
                gone.append(threading.Thread(target=away))
                gone[0].start()

        service.hook = leave
        row = field.upload(service, threads=2)
        gone[0].join()
    assert row["done"] == 6 and gone
    clean(service, 6)


def test_names_that_cannot_be_resolved_for_a_while_are_waited_for(field):
    field.ready(2)
    resolve, start = socket.getaddrinfo, time.monotonic()

    def gone(*args, **more):
        if time.monotonic() - start < 0.4:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve(*args, **more)

    field.monkeypatch.setattr(socket, "getaddrinfo", gone)
    with Service() as service:
        row = field.upload(service, attempts=1)
    assert row["done"] == 2


def test_after_the_offline_limit_the_run_ends_and_says_what_is_left(field):
    field.ready(3)
    with Service() as service:
        field.use(service)
    start = time.monotonic()
    row = field.upload(None, "--offline_limit", "0.005")
    assert field.code == 8 and soon(time.monotonic() - start, 3)
    assert row["skipped"] == {"not_sent": 3}
    assert any("run the same command again: 3 images left" in note for note in row["notes"])
    assert row["stopped"]["code"] == "unreachable"


# ---- Tokens


@pytest.mark.parametrize("code", [401, 403, 400])
def test_a_token_revoked_in_the_middle_stops_the_run_at_once(field, code):
    field.ready(12)
    with Service([revoked(code, after=4)]) as service:
        row = field.upload(service, threads=2)
    assert field.code == 9
    assert len(service.log) <= 4 + 2
    assert row["done"] <= 4 and row["skipped"] == {"not_sent": 12 - row["done"]}


@pytest.mark.parametrize("code", [401, 403])
def test_a_bare_refusal_of_the_token_stops_the_run_at_once(field, code):
    field.ready(6)
    with Service([status(code, "", path=IMAGE, times=None)]) as service:
        row = field.upload(service, threads=2)
    posts = service.requests("POST")
    assert field.code == 9 and len(posts) <= 2 and row["skipped"] == {"not_sent": 6}


def test_with_a_new_token_the_next_run_completes(field):
    field.ready(6)
    with Service([revoked(after=3)]) as service:
        field.upload(service, threads=2)
        service.faults.clear()
        row = field.upload(service)
    assert field.code == 0 and row["done"] + row["skipped"]["already_uploaded"] == 6
    clean(service, 6)


def test_a_token_revoked_before_the_finish_does_not_let_pictures_leave_the_card(field):
    """Symptom: all images had arrived, so the summary called it safe, though their sequence was not finished."""
    field.ready(3)
    with Service([revoked(path=FINISH)]) as service:
        row = field.upload(service)
    assert field.code == 9
    assert not any("may leave the card" in note for note in row["notes"])


def test_a_stopped_finish_says_to_run_the_command_again(field):
    field.ready(3)
    with Service([revoked(path=FINISH)]) as service:
        row = field.upload(service)
    assert any("run the same command again" in note for note in row["notes"])


def test_without_a_token_nothing_is_sent(field):
    field.ready(2)
    with Service() as service:
        field.use(service)
        field.monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(field.base / "none"))
        field.upload()
    assert field.code == 9 and not service.log


# ---- Files that change


def test_an_image_that_vanishes_fails_and_the_rest_goes_on(field):
    paths = field.ready(3)
    with Hooked() as service:
        service.hook = lambda method, path: paths[2].unlink() if paths[2].exists() else None
        row = field.upload(service, threads=1)
    assert (row["done"], [problem["code"] for problem in row["failed"]], field.code) == (
        2,
        ["vanished"],
        1,
    )
    assert service.finished == []


@pytest.mark.parametrize("how", ["same size", "shorter", "longer", "replaced"])
def test_an_image_that_changes_while_it_is_sent_is_not_called_uploaded(field, how):
    path = field.ready(1, 600000)[0]
    content = path.read_bytes()

    def change():
        if how == "replaced":
            path.with_suffix(".new").write_bytes(content)
            os.replace(str(path.with_suffix(".new")), str(path))
            return
        with path.open("r+b") as stream:
            if how == "longer":
                stream.seek(0, 2)
                stream.write(b"more")
            elif how == "shorter":
                stream.truncate(len(content) - 200000)
            else:
                stream.seek(500000)
                stream.write(b"!" * 20)

    timer = threading.Timer(0.15, change)
    with Hooked() as service:
        service.hook = lambda method, path: None if timer.ident else timer.start()
        row = field.upload(service, "--max_rate", "1500", threads=1)
    if how == "replaced":  # the open file is still the old one: all its bytes are right
        assert row["done"] == 1 or row["failed"][0]["code"] == "changed"
    else:
        assert [problem["code"] for problem in row["failed"]] == ["changed"]
    assert service.problems == []
    assert all(upload.complete == bool(row["done"]) for upload in service.images().values())


def test_an_image_that_was_changed_since_it_was_processed_is_not_sent(field):
    paths = field.ready(2)
    making.photo(paths[1], lat=12.0, lon=13.0, pixels=77)
    with Service() as service:
        row = field.upload(service)
    assert [problem["code"] for problem in row["failed"]] == ["changed"] and len(
        service.images()
    ) == 1


def test_another_photo_of_the_same_name_is_sent_after_it_was_processed(field):
    paths = field.ready(3)
    with Service() as service:
        field.upload(service)
        making.photo(paths[1], lat=12.0, lon=13.0, pixels=77, time="2025:01:01 10:00:00")
        field.process()
        row = field.upload(service)
    assert (row["done"], field.code) == (1, 0)
    clean(service, 4, 2)


def test_a_finished_sequence_is_not_finished_again_without_the_picture_that_was_deleted(field):
    """Symptom: fewer images than were finished made a second sequence of those that were left."""
    paths = field.ready(3)
    with Service() as service:
        field.upload(service)
        paths[1].unlink()
        row = field.upload(service)
    assert (row["sequences_finished"], row["skipped"], field.code) == (
        0,
        {"already_uploaded": 2},
        0,
    )
    clean(service, 3)


def test_a_pending_finish_is_repeated_as_it_was_when_a_picture_was_deleted_since(field):
    paths = field.ready(3)
    with Service([status(500, path=FINISH, times=2), cut(END, path=FINISH)]) as service:
        field.upload(service, attempts=3)
        paths[1].unlink()
        field.upload(service)
    assert (
        len(
            {
                json.dumps(request.json)
                for request in service.requests("POST", FINISH)
                if request.json
            }
        )
        == 1
    )
    clean(service, 3)


def test_later_images_of_a_finished_sequence_are_finished_by_themselves(field):
    making.photo(field.folder / "a.jpg", pixels=1, description=told(1))
    with Service() as service:
        field.upload(service)
        making.photo(field.folder / "b.jpg", pixels=2, description=told(2))
        field.upload(service)
        row = field.upload(service)
    assert row["skipped"] == {"already_uploaded": 2} and row["sequences_finished"] == 0
    clean(service, 2, 2)


def test_another_photo_of_the_same_name_is_not_called_uploaded(field):
    """Symptom: upload without process went by the name, and said that the picture may leave the card."""
    paths = field.ready(3)
    with Service() as service:
        field.upload(service)
        making.photo(paths[1], lat=12.0, lon=13.0, pixels=77, time="2025:01:01 10:00:00")
        row = field.upload(service)
    assert row["skipped"] == {"already_uploaded": 2} and field.code == 1


def test_an_uploaded_image_that_was_only_touched_stays_uploaded(field):
    paths = field.ready(3)
    with Service() as service:
        field.upload(service)
        os.utime(str(paths[1]), (1, 1))
        row = field.upload(service)
    assert row["skipped"] == {"already_uploaded": 3} and field.code == 0


# ---- The journal


def test_a_full_disk_stops_the_run_and_the_next_one_completes_it(field):
    field.ready(6, 3000)
    write, left = tool.write_all, [9]

    def full(stream, chunk):
        left[0] -= 1
        if left[0] < 0:
            write(stream, chunk[: len(chunk) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(stream, chunk)

    with Service() as service:
        with field.monkeypatch.context() as patch:
            patch.setattr(tool, "write_all", full)
            row = field.upload(service)
        assert field.code == 11 and row["stopped"]["code"] == "cannot_write"
        row = field.upload(service)
    assert field.code == 0
    clean(service, 6)


def test_a_write_that_broke_off_does_not_damage_the_line_after_it(tmp_path, monkeypatch):
    """Symptom: half a line stayed before the next one, and both were lost."""
    write, broken = tool.write_all, [True]

    def once(stream, chunk):
        if broken and b"0002" in chunk:
            broken.pop()
            write(stream, chunk[:20])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(stream, chunk)

    with tool.Journal(tmp_path) as journal:
        journal.append([tool.Image(tmp_path / "0001.jpg", tool.Found())])
        monkeypatch.setattr(tool, "write_all", once)
        with pytest.raises(tool.CannotWrite):
            journal.append([tool.Image(tmp_path / "0002.jpg", tool.Found())])
        journal.append([tool.Image(tmp_path / "0003.jpg", tool.Found())])
    with tool.Journal(tmp_path) as journal:
        assert journal.image("0003.jpg").found == tool.Found()
        assert journal.image("0002.jpg") is None


def test_a_disk_that_cannot_flush_is_an_error_with_a_way_out(field):
    field.ready(2)

    def full(handle):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with Service() as service:
        field.monkeypatch.setattr(os, "fsync", full)
        field.upload(service)
    assert field.code == 11


def test_a_folder_in_use_by_another_run_is_left_alone(field):
    field.ready(2)
    with Service() as service, tool.Journal(field.folder):
        field.upload(service)
    assert field.code == 75 and not service.log


def test_one_folder_in_use_does_not_stop_the_others(field):
    for name in ("a", "b"):
        making.drive(field.folder / name, 2)
    field.process()
    with Service() as service, tool.Journal(field.folder / "a"):
        row = field.upload(service)
    assert (row["done"], row["failed"], field.code) == (2, [], 75)
    assert row["skipped"] == {"in_use": 2} and row["safe_to_delete"] is False
    assert [problem["code"] for problem in row["trouble"]] == ["in_use"]


# ---- Options


def test_manual_done_without_a_terminal_leaves_sequences_open(field):
    field.ready(3)
    with Service() as service:
        row = field.upload(service, "--manual_done")
    assert (row["done"], row["sequences_waiting"], field.code) == (3, 1, 0)
    assert service.manifests() == {} and service.finished == []
    assert not any("may leave the card" in note for note in row["notes"])


def test_what_manual_done_left_open_is_finished_by_a_later_upload(field):
    field.ready(3)
    with Service() as service:
        field.upload(service, "--manual_done")
        before = len(service.requests("POST", IMAGE))
        row = field.upload(service)
    assert (row["sequences_finished"], row["skipped"], field.code) == (
        1,
        {"already_uploaded": 3},
        0,
    )
    assert len(service.requests("POST", IMAGE)) == before
    clean(service, 3)


def asked(field, service, answer, **options):
    """upload as a host program calls it, with somebody to ask: (report, questions)."""
    field.use(service)
    questions = []

    def ask(question, secret):
        questions.append(question)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    report = tool.upload(
        tool.Input(import_path=str(field.folder)),
        options=tool.UploadOptions(**options),
        ui=tool.Ui(ask=ask),
    )
    return report, questions


@pytest.mark.parametrize("answer, finished", [("y", 1), (" Yes", 1), ("n", 0), ("", 0)])
def test_manual_done_asks_on_a_terminal(field, answer, finished):
    field.ready(3)
    with Service() as service:
        report, questions = asked(field, service, answer, manual_done=True)
    assert (len(questions), len(service.finished), report.exit_code) == (1, finished, 0)


def test_interrupting_the_finish_after_manual_done_is_not_swallowed(field):
    """Symptom: Ctrl-C was kept as a bug for later and never raised."""
    field.ready(2)
    with Service() as service:

        def interrupted(self, bundle):
            if (
                self.server.wire.stop.is_set()
                or threading.current_thread() is threading.main_thread()
            ):
                raise KeyboardInterrupt
            return original(self, bundle)

        original = tool.Sender._finish
        field.monkeypatch.setattr(tool.Sender, "_finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            asked(field, service, "y", manual_done=True)


@pytest.fixture
def one_failed(field):
    """Three images, of which one was refused in a first run."""
    field.ready(3)
    with Service([status(400, path=IMAGE)]) as service:
        field.upload(service, threads=1)
        yield service


@pytest.mark.parametrize("choice, sent", [("yes", 1), ("no", 0), ("ask", 1)])
def test_retry_failed_without_a_terminal(field, one_failed, choice, sent):
    row = field.upload(one_failed, "--retry_failed", choice)
    assert (row["done"], len(row["failed"]), field.code) == (sent, 1 - sent, 1 - sent)


@pytest.mark.parametrize(
    "options, answer, questions, sent",
    [
        ({}, "y", 1, 1),
        ({}, "n", 1, 0),
        ({"retry_failed": "ask"}, "n", 1, 0),
        ({"retry_failed": "yes"}, "n", 0, 1),
        ({"retry_failed": "no"}, "y", 0, 0),
    ],
)
def test_retry_failed_on_a_terminal(field, one_failed, options, answer, questions, sent):
    report, heard = asked(field, one_failed, answer, **options)
    assert (len(heard), report.done, len(report.failed)) == (questions, sent, 1 - sent)


def test_failed_images_that_are_not_sent_again_keep_their_reason(field, one_failed):
    row = field.upload(one_failed, "--retry_failed", "no")
    assert "HTTP 400" in row["failed"][0]["value"]


def test_max_rate_limits_the_bytes_of_a_second(field):
    field.ready(4, 100000)
    with Service() as service:
        start = time.monotonic()
        row = field.upload(service, "--max_rate", "500", threads=4)
        seconds = time.monotonic() - start
    assert row["done"] == 4 and 0.6 <= seconds and soon(seconds, 2.0)


# ---- What is sent


def test_the_description_is_put_into_the_stream_and_the_file_is_not_touched(field):
    field.drive(3)
    shutil.copytree(str(field.folder), str(field.base / "other" / "photos"))
    written = field.base / "other" / "photos"
    tool.main(["process", "--import_path", str(written), "--user_name", "demo"])
    field.process("--skip_EXIF_insert")
    before = [path.read_bytes() for path in sorted(field.folder.glob("*.jpg"))]
    with Service() as service:
        field.upload(service)
    assert [path.read_bytes() for path in sorted(field.folder.glob("*.jpg"))] == before
    clean(service, 3)
    arrived = {bytes(upload.content) for upload in service.images().values()}
    assert arrived == {path.read_bytes() for path in written.glob("*.jpg")}


def test_with_keep_original_the_copy_is_sent(field):
    field.drive(3)
    before = [path.read_bytes() for path in sorted(field.folder.glob("*.jpg"))]
    field.process("--keep_original")
    with Service() as service:
        field.upload(service)
    assert [path.read_bytes() for path in sorted(field.folder.glob("*.jpg"))] == before
    clean(service, 3)
    copies = {
        path.read_bytes() for path in (field.folder / ".mapillary" / "process_images").glob("*.jpg")
    }
    assert copies == {bytes(upload.content) for upload in service.images().values()}


def test_a_lost_copy_is_made_good_in_the_stream(field):
    field.drive(2)
    field.process("--keep_original")
    copies = field.folder / ".mapillary" / "process_images"
    expected = {path.read_bytes() for path in copies.glob("*.jpg")}
    shutil.rmtree(str(copies))
    with Service() as service:
        field.upload(service)
    assert expected == {bytes(upload.content) for upload in service.images().values()}


@pytest.mark.parametrize("kind", ["tif", "TIFF", "pgm", "pnm", "gif"])
def test_other_kinds_are_skipped_by_name(field, kind):
    field.ready(2)
    other = field.folder / ("other." + kind)
    other.write_bytes(b"II*\0 whatever")
    with Service() as service:
        row = field.upload(service)
    assert (row["done"], list(row["skipped"].values()), field.code) == (2, [1], 0)
    tool.main(["upload", "--import_path", str(field.folder)])
    assert str(other) in field.capsys.readouterr().out


def test_duplicates_are_never_sent(field):
    field.drive(4, step=0.0)
    field.process("--flag_duplicates")
    with Service() as service:
        row = field.upload(service)
    assert (row["done"], row["skipped"], field.code) == (1, {"duplicate": 3}, 0) or row["done"] == 1
    clean(service, 1)


def test_failed_images_are_never_sent(field):
    field.drive(3)
    making.photo(field.folder / "0004.jpg", pixels=9)
    field.process()
    with Service() as service:
        row = field.upload(service)
    assert (row["done"], len(row["failed"]), field.code) == (3, 1, 1)
    clean(service, 3)


def test_unprocessed_images_are_never_sent(field):
    field.ready(2)
    making.photo(field.folder / "new.jpg", lat=1.0, lon=2.0, pixels=9)
    with Service() as service:
        row = field.upload(service)
    assert (row["done"], [problem["code"] for problem in row["failed"]]) == (2, ["not_processed"])
    clean(service, 2)


def told(number=0, **more):
    row = {
        "MAPLatitude": 57.7,
        "MAPLongitude": 11.97 + number / 1000,
        "MAPCaptureTime": "2018_05_06_07_08_%02d_000" % number,
        "MAPSettingsUsername": "demo",
        "MAPSequenceUUID": "0a0a0a0a-1111-4222-8333-444444444444",
        "MAPPhotoUUID": str(number),
    }
    row.update(more)
    return json.dumps(row)


def test_images_described_by_a_phone_app_are_sent_as_they_are(field):
    contents = {
        making.photo(field.folder / ("p%d.jpg" % n), pixels=n, description=told(n)).read_bytes()
        for n in range(3)
    }
    with Service() as service:
        row = field.upload(service)
    assert (row["done"], field.code) == (3, 0)
    clean(service, 3)
    assert {bytes(upload.content) for upload in service.images().values()} == contents
    assert {path.read_bytes() for path in field.folder.glob("*.jpg")} == contents


def test_images_of_a_phone_app_are_not_sent_twice(field):
    for n in range(2):
        making.photo(field.folder / ("p%d.jpg" % n), pixels=n, description=told(n))
    with Service() as service:
        field.upload(service)
        before = len(service.log)
        row = field.upload(service)
    assert row["skipped"] == {"already_uploaded": 2} and len(service.log) == before


def test_another_described_image_of_the_same_name_is_sent(field):
    """Symptom: without a record in the journal only the name told images apart."""
    making.photo(field.folder / "p.jpg", pixels=1, description=told(1))
    with Service() as service:
        field.upload(service)
        making.photo(
            field.folder / "p.jpg", pixels=2, description=told(2), time="2025:01:01 10:00:00"
        )
        row = field.upload(service)
    assert row["done"] == 1 and len(service.images()) == 2


@pytest.mark.parametrize("stand_in", [False, True])
def test_two_files_of_the_same_bytes_both_come_through(field, stand_in):
    """Symptom: two workers wrote to one session at a time."""
    making.photo(field.folder / "a.jpg", pixels=1, description=told(1))
    fatten(field.folder / "a.jpg", 3000000)
    for name in ("b.jpg", "c.jpg", "d.jpg"):
        shutil.copy(str(field.folder / "a.jpg"), str(field.folder / name))
    if stand_in:
        row = field.stand_in()
    else:
        with Service() as service:
            row = field.upload(service)
        assert service.problems == [] and service.wasted() == 0
    assert row["done"] + sum(row["skipped"].values()) == 4 and field.code == 0


@pytest.mark.parametrize(
    "more",
    [
        {"MAPSettingsUsername": ["x"]},
        {"MAPOrganizationKey": {"a": 1}},
        {"MAPOrganizationKey": "a b\r\nX: y"},
        {"MAPSequenceUUID": [1]},
    ],
    ids=str,
)
def test_a_strange_description_ends_in_no_bug(field, more):
    making.photo(field.folder / "p.jpg", description=told(**more))
    with Service() as service:
        field.upload(service, attempts=1)
    assert field.code in (0, 1, 8, 9)
    assert all("\r" not in r.target and " " not in r.target for r in service.log)


@pytest.mark.parametrize("place", ["0001", "0001.jpg"])
def test_what_the_2018_tool_uploaded_stays_uploaded(field, place):
    field.ready(3)
    marker = field.folder / ".mapillary" / "logs" / place / "upload_success"
    marker.parent.mkdir(parents=True)
    marker.write_text("", "utf-8")
    with Service() as service:
        row = field.upload(service)
    assert (row["done"], row["skipped"]) == (2, {"already_uploaded": 1})


def test_a_marker_under_the_import_path_counts_for_a_subfolder(field):
    making.drive(field.folder / "day", 2)
    field.process()
    marker = field.folder / ".mapillary" / "logs" / "day" / "0001" / "upload_success"
    marker.parent.mkdir(parents=True)
    marker.write_text("", "utf-8")
    with Service() as service:
        row = field.upload(service)
    assert (row["done"], row["skipped"]) == (1, {"already_uploaded": 1})


# ---- Memory


def peak(field, service, folder):
    """Peak memory in MB of an upload in a process of its own."""
    code = (
        "import os, sys; p = os.posix_spawn(sys.executable, [sys.executable] + sys.argv[1:], os.environ); "
        "_, s, u = os.wait4(p, 0); print(u.ru_maxrss, s)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            code,
            tool.__file__,
            "upload",
            "--import_path",
            str(folder),
        ],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, **service.environment(field.base / "c")},
    )
    figures = done.stdout.split()[-2:]
    assert figures[1] == b"0"
    return int(figures[0]) / 1024


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="peak memory is read as Linux gives it"
)
def test_memory_does_not_grow_with_the_size_of_an_image(field):
    sizes = {}
    for name, size in (("small", 1000), ("large", 30000000)):
        field.folder = field.base / name
        field.ready(2, size)
        with Service(keep=False, check=False) as service:
            sizes[name] = peak(field, service, field.folder)
        shutil.rmtree(str(field.folder))
    assert sizes["large"] - sizes["small"] < 5


# ---- The stand-in service


def test_the_stand_in_keeps_images_and_sequences(field):
    paths = field.ready(3)
    row = field.stand_in()
    assert (row["done"], row["sequences_finished"], field.code) == (3, 1, 0)
    kept = {path.read_bytes() for path in (field.base / "received").glob("*.jpg")}
    assert kept == {path.read_bytes() for path in paths}
    assert len(list((field.base / "received" / "sequences").glob("*.json"))) == 1


def test_a_second_run_to_the_stand_in_sends_nothing(field):
    field.ready(3)
    field.stand_in()
    row = field.stand_in()
    assert (row["done"], row["bytes_sent"], row["skipped"]) == (0, 0, {"already_uploaded": 3})


def test_two_stand_in_folders_are_two_services(field):
    field.ready(3)
    field.stand_in("one")
    assert field.stand_in("two")["done"] == 3


def test_what_went_to_a_stand_in_still_waits_for_mapillary(field):
    field.ready(3)
    row = field.stand_in()
    assert not any("may leave the card" in note for note in row["notes"])
    with Service() as service:
        assert field.upload(service)["done"] == 3
    clean(service, 3)


def test_the_token_does_not_go_to_the_stand_in(field):
    field.ready(2)
    seen = []
    send = tool.Server.request
    field.monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", TOKEN)
    field.monkeypatch.setattr(
        tool.Server, "request", lambda *args: seen.append(dict(args[1].headers)) or send(*args)
    )
    field.stand_in()
    assert seen and not any(TOKEN in json.dumps(headers) for headers in seen)


def test_a_partial_file_at_the_stand_in_is_resumed(field):
    field.ready(1, 50000)
    real = tool.StandIn.receive

    def half(self, key, offset, stream, length):
        if key.endswith(".jpg") and not os.path.exists(self.path_of(key) + ".part"):
            Path(self.path_of(key) + ".part").write_bytes(stream.read(20000))
            raise ConnectionResetError
        return real(self, key, offset, stream, length)

    field.monkeypatch.setattr(tool.StandIn, "receive", half)
    field.monkeypatch.setattr("socketserver.BaseServer.handle_error", lambda *args: None)
    row = field.stand_in()
    size = list((field.base / "received").glob("*.jpg"))[0].stat().st_size
    assert row["done"] == 1
    assert not list((field.base / "received").glob("*.part")) and size > 50000


class StandInAt:
    """A stand-in that is asked by hand."""

    def __init__(self, folder):
        self.service = tool.StandIn(str(folder))

    def __enter__(self):
        self.service.__enter__()
        return self

    def __exit__(self, *_):
        self.service.__exit__()

    def ask(self, method, target, body=b"", **headers):
        connection = http.client.HTTPConnection(self.service.root[7:], timeout=5)
        connection.request(
            method, target, body, {name.capitalize(): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        row = json.loads(answer.read())
        connection.close()
        return answer.status, row


def md5_key(content):
    import hashlib

    return "/mly_tools_%s.jpg" % hashlib.md5(content).hexdigest()


@pytest.fixture
def described(tmp_path):
    return making.photo(tmp_path / "d.jpg", description=told()).read_bytes()


def test_the_stand_in_refuses_bytes_that_do_not_match_their_key(tmp_path, described):
    with StandInAt(tmp_path / "s") as service:
        assert (
            service.ask("POST", "/mly_tools_%s.jpg" % ("0" * 32), described, offset="0")[0] == 400
        )
        assert service.ask("GET", "/mly_tools_%s.jpg" % ("0" * 32)) == (200, {"offset": 0})


def test_the_stand_in_refuses_an_image_without_a_description(tmp_path):
    content = making.photo(tmp_path / "plain.jpg", lat=1, lon=2).read_bytes()
    with StandInAt(tmp_path / "s") as service:
        status_, row = service.ask("POST", md5_key(content), content, offset="0")
    assert status_ == 400 and "description" in row["debug_info"]["message"]


def test_the_stand_in_checks_offsets(tmp_path, described):
    with StandInAt(tmp_path / "s") as service:
        status_, row = service.ask("POST", md5_key(described), described, offset="7")
    assert (status_, row["debug_info"]["type"]) == (412, "OffsetInvalidError")


def test_the_stand_in_refuses_a_manifest_with_an_unknown_handle(tmp_path):
    import hashlib

    manifest = json.dumps(
        {"version": "1", "upload_type": "images", "image_handles": ["handle-mly_tools_" + "0" * 32]}
    ).encode()
    with StandInAt(tmp_path / "s") as service:
        assert (
            service.ask(
                "POST", "/uuid_%s.json" % hashlib.md5(manifest).hexdigest(), manifest, offset="0"
            )[0]
            == 400
        )


def test_the_stand_in_refuses_to_finish_what_it_has_not(tmp_path):
    with StandInAt(tmp_path / "s") as service:
        body = json.dumps(
            {"file_handle": "handle-uuid_" + "0" * 32, "file_type": "mly_bundle_manifest"}
        ).encode()
        assert service.ask("POST", "/finish_upload", body)[0] == 400


@pytest.mark.parametrize("body", [b"[]", b"7", b"{", b"\xff", b""])
def test_the_stand_in_answers_nonsense_with_400(tmp_path, body):
    with StandInAt(tmp_path / "s") as service:
        assert service.ask("POST", "/finish_upload", body)[0] == 400


@pytest.mark.parametrize(
    "body",
    [b"[]", b"null", b'{"image_handles": 5}', b"\xff\xfe", b'{"image_handles": ["x/../../y"]}'],
)
def test_the_stand_in_refuses_a_manifest_of_nonsense(tmp_path, body):
    import hashlib

    with StandInAt(tmp_path / "s") as service:
        assert (
            service.ask("POST", "/uuid_%s.json" % hashlib.md5(body).hexdigest(), body, offset="0")[
                0
            ]
            == 400
        )


@pytest.mark.parametrize(
    "key", ["/../outside.jpg", "/mly_tools_x.jpg", "/a/b", "/mly_tools_%s.jpg%%0a" % ("0" * 32)]
)
def test_keys_never_leave_the_folder_of_the_stand_in(tmp_path, key):
    with StandInAt(tmp_path / "s") as service:
        assert service.ask("POST", key, b"x", offset="0")[0] == 400
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
