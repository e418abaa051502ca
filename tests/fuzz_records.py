"""What fuzz.py feeds to the readers of the tool's own records and of services: journal, configuration, answers, stand-in."""

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import urllib.parse
from pathlib import Path
from typing import Any, Dict, List

import mapillary_tools as mt
from conftest import run
from fuzz_targets import KINDS, Kind, allowed, demand, movie_seeds, no_program, room
from unittest import mock

import making

TOKEN = "MLY|77|fuzzed-secret"
NAMES = ("0001.jpg", "0002.jpg", "0003.jpg", "0004.jpg")
WHEN = 1714979300  # seconds since 1970, when the photos of journals were written
HEX = "0123456789abcdef" * 2


def fresh(name: str) -> Path:
    """A folder with nothing in it."""
    folder = room(name)
    shutil.rmtree(str(folder))
    folder.mkdir()
    return folder


# ---- Journal


def journal_seeds() -> List[bytes]:
    """Journals of processed, sent, failed, sampled and given images."""
    folder = fresh("seed")
    making.drive(folder, count=4, alt=3.0, heading=10.0, subsec="5", offset="+02:00")
    (folder / "0004.jpg").write_bytes(b"no picture")
    _at_rest(folder)
    mt.process(mt.Input(str(folder)), mt.User("demo"))
    _at_rest(folder)
    state = folder / mt.STATE_FOLDER / "journal.jsonl"
    first = _at_one_time(state.read_bytes())
    given = mt.Given(time=1714979289.0, lat=1.0, lon=2.0, tags=(mt.MetaTag("long", "n", 1),))
    lines = [
        mt.Image(folder / "0003.jpg", found=mt.Found(size=1, mtime=2), given=given),
        mt.Sent("0001.jpg", "graph.example", "sent", key="mly_tools_" + HEX + ".jpg", handle="h"),
        mt.Sent("0002.jpg", "graph.example", "failed", problem=mt.Problem("a", "b", "c", "d", "e")),
        mt.Manifest("s1", "graph.example", ("0001.jpg", "0002.jpg"), "k", "h", "12"),
        mt.Sampling("v.mp4", "d", {"v_000001.jpg": mt.Stamp(1, 2)}),
        mt.Sampling("v.mp4", "d", done="settings"),
        mt.Clip("w.mp4", "d", 1, 2, "s", "demo", places=(mt.Sample(0.5, 1.0, 2.0, 3.0, None),)),
        mt.Clip("x.mp4", "d", 1, 2, parked=True, problem=mt.Problem("a", "b")),
        mt.Hashed("w.mp4", 1, 2, "t", HEX),
    ]
    with mt.Journal(folder) as journal:
        journal.append(lines)
    return [first, _at_one_time(state.read_bytes())]


def _at_rest(folder: Path) -> None:
    for path in folder.glob("*.jpg"):
        os.utime(str(path), (WHEN, WHEN))


def _at_one_time(content: bytes) -> bytes:
    """A journal without what differs from run to run."""
    content = re.sub(rb'"at":"[^"]*"', b'"at":"2024-05-06T07:08:09.000Z"', content)
    content = re.sub(rb'"mtime":[0-9]+', b'"mtime":%d' % (WHEN * 1000), content)
    return re.sub(rb'"ctime":[0-9]+', b'"ctime":%d' % (WHEN * 1000), content)


def _folder_with(content: bytes) -> Path:
    folder = room("photos")
    state = folder / mt.STATE_FOLDER
    if not state.exists():
        journal_seeds()
        for path in room("seed").glob("*.jpg"):
            shutil.copy2(str(path), str(folder))
    shutil.rmtree(str(state), ignore_errors=True)
    state.mkdir()
    (state / "journal.jsonl").write_bytes(content)
    return folder


def _known_again(image: mt.Image) -> None:
    """The image in a file, by what the journal says of it: as the tools ask when they have read it."""
    path = room("photos") / image.path.name
    if image.path.name in NAMES:
        found, config = mt.read_job(str(path)), mt.Configuration()
        for one in (found, found._replace(digest="another"), mt.Found(size=1, mtime=1)):
            now = mt.as_read(image.path, image, one, config)
            mt.pack_image(now)


def check_journal(content: bytes) -> None:
    """A journal is read; what is added stays; now and then whole tools run on it."""
    folder = _folder_with(content)
    line = mt.Sent("0001.jpg", "fuzz.example", "sent", key="k", handle="h")

    def through() -> Any:
        with mt.Journal(folder) as journal:
            found = list(journal.images([*NAMES, *journal.names()]))
            for image in found:
                if image is not None:
                    mt.log_text(image, image.outcome)
                    mt.is_same_file(image, os.stat(__file__))
                    _known_again(image)
            for name in journal.clips():
                clip = journal.clip(name)
                if clip is not None:
                    mt.camm_records(clip.sent)
                    mt.passes_through([mt.Area(1.0, 2.0, 3.0)], clip.places)
            journal.append([line])
            return [(image and image.given, image and image.written) for image in found[:4]]

    before = allowed(through)
    if before is None:
        return
    with mt.Journal(folder, write=False) as journal:
        demand(journal.sent("fuzz.example", "0001.jpg") == line, "what was added is gone")
        after = [(i and i.given, i and i.written) for i in journal.images(NAMES)]
        demand(after == before, "what was known is gone")
    _whole_runs(folder, content)


def _whole_runs(folder: Path, content: bytes) -> None:
    which = len(content) % 256
    scripts = (
        ["process", "--user_name", "demo"],
        ["status", "--json"],
        ["report", "--output_path", str(folder.parent / "page.html")],
        ["upload", "--stand_in", str(folder.parent / "received")],
        ["interpolate", "--data", "missing_gps"],
    )
    if which >= len(scripts):
        return
    before = {name: (folder / name).read_bytes() for name in NAMES}
    tool, *more = scripts[which]
    ran = run(tool, "--import_path", folder, *more)
    demand(ran.code in range(12), f"exit code {ran.code} of {tool}")
    demand("Traceback" not in ran.stderr, "a traceback")
    demand(sorted(p.name for p in folder.glob("*.*g")) == sorted(NAMES), "images are gone")
    for name in NAMES:
        (folder / name).write_bytes(before[name])


# ---- Configuration


def config_seeds() -> List[bytes]:
    """Configurations as the tool, older tools and editors write them."""
    own = (
        "[demo]\nuser_upload_token = MLY|1|x\nMAPSettingsUserKey = 1001\n\n[MAPAdmin]\nx = a\n\tb\n"
    )
    hand = "; a note\n[DEFAULT]\nz = %(q)s\n[demo]\nkey: value ; more\n[demo]\nkey = 2\nempty\n"
    return [own.encode(), b"\xef\xbb\xbf" + own.replace("\n", "\r\n").encode(), hand.encode()]


def check_config(content: bytes) -> None:
    """A configuration is read or refused; what is kept in it reads back, and the rest stays."""
    path = room("config") / "config"
    path.write_bytes(content)
    sections = allowed(lambda: mt.read_config(str(path)))
    config = mt.Configuration(str(path))
    allowed(config.secret)
    allowed(lambda: mt.token_of("demo", config))
    if sections is None:
        return
    config.keep("fuzzed", {"token": "MLY|1|a=b:c;d#e%f"})
    again = mt.read_config(str(path))
    demand(again.get("fuzzed", {}).get("token") == "MLY|1|a=b:c;d#e%f", "another token reads back")
    wanted = {name: options for name, options in sections.items() if name != "fuzzed"}
    kept = {name: options for name, options in again.items() if name != "fuzzed"}
    demand(kept == wanted, "other sections have changed")


# ---- Answers


class _Socket:
    """A connection on which these bytes come, and nothing more."""

    def __init__(self, content: bytes) -> None:
        self.content = io.BytesIO(content)

    def makefile(self, *_: Any, **__: Any) -> Any:
        return self.content

    def settimeout(self, seconds: float) -> None:
        demand(0 < seconds < 1e6, "a wait without measure")

    def sendall(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


class _Wire(mt.Wire):
    """The wire with such a connection at its end, where no time passes."""

    content = b""

    def _line(self, url: str) -> Any:
        parts, line = urllib.parse.urlsplit(url), mt._HostConnection.__new__(mt._HostConnection)
        line.origin, line.login, line.via = (parts.scheme, parts.netloc), None, ""
        line.connection = http.client.HTTPConnection("graph.example")
        line.connection.sock = _Socket(self.content)
        return line

    def wait(self, seconds: float) -> None:
        demand(0 <= seconds <= 1.25 * mt.WAIT_MOST_S, f"a wait of {seconds} s")


def answer_seeds() -> List[bytes]:
    """Answers of the service."""
    search = {"id": "12", "captured_at": 1714979289000, "thumb_original_url": "http://x/y"}
    search["computed_geometry"] = {"type": "Point", "coordinates": [11.97, 57.7]}
    debug = {"debug_info": {"retriable": True, "type": "OffsetInvalidError", "message": "m"}}
    rows: List[Any] = [
        {"h": "handle"},
        {"offset": 17},
        {"cluster_id": "12"},
        {"id": "1001", "username": "demo"},
        {"access_token": TOKEN, "user_id": "1"},
        {"data": [search], "paging": {"next": "http://graph.example/images?after=x"}},
        {
            "error": {"message": "bad " + TOKEN, "error_user_msg": "no " + TOKEN, "code": 190},
            **debug,
        },
        {"backoff": 100, "debug_info": {"type": "RequestRateLimitedError", "backoff": 5}},
    ]
    seeds = []
    for row, status in zip(rows, (200, 200, 200, 200, 200, 200, 412, 429)):
        body = json.dumps(row)
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n"
        seeds.append(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n"
        + b'{"h":"x"\r\n1\r\n}\r\n0\r\n\r\n'
    )
    late = b"HTTP/1.1 503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n"
    return [*seeds, chunked, late, b"HTTP/1.1 100 Continue\r\n\r\n" + seeds[0]]


def check_answer(content: bytes) -> None:
    """Every request of the API gets these bytes as its answer."""
    server = mt.Server("http://graph.example", "http://graph.example", mt.Limits(0.0, 2), say)
    server.wire = wire = _Wire(server.limits)
    wire.content = content
    told: List[str] = []
    entity = mt.Entity("mly_tools_" + HEX + ".jpg", 20, lambda offset: [bytes(20)[offset:]])
    for ask in (
        lambda: mt.put_entity(server, entity, TOKEN, True),
        lambda: mt.finish_upload(server, "h", mt.MANIFEST_TYPE, "1", TOKEN),
        lambda: mt.check_organization(server, "1/../2", TOKEN),
        lambda: mt.who_am_i(server, TOKEN),
        lambda: mt.search_images(server, "http://graph.example/images", TOKEN, "thumb_2048_url"),
    ):
        try:
            ask()
        except mt.ToolError as error:
            told.append(str(error))
    search = allowed(lambda: mt.search_images(server, "http://graph.example/i", TOKEN, "a"))
    if search is not None:
        json.dumps([search.following, *map(list, search.shots.values())])
    with contextlib.suppress(mt.Cut, mt.Unreachable):
        answer = server.request(
            mt.Request("GET", "http://graph.example/me", mt.bearing_token(TOKEN))
        )
        try:
            told.append(mt.verdict(answer, 1)[1])
        except mt.ToolError as error:
            told.append(str(error))
    plain = [urllib.parse.unquote(text) for text in told]
    demand(not any(TOKEN in text or "\n" in text for text in plain), "a secret, or two lines")


def say(text: str) -> None:
    """What the tool tells meanwhile is one line."""
    demand(TOKEN not in text, "a secret is told")


# ---- Stand-in


class _Asked:
    """A request as the stand-in's handler has it."""

    def __init__(self, head: Dict[str, Any], body: bytes) -> None:
        self.command, self.headers = str(head.get("command")), head
        self.rfile = io.BytesIO(body)


def stand_in_seeds() -> List[bytes]:
    """A folder of a stand-in, a request and its body: a JSON text, and what follows."""
    image, uuid = f"mly_tools_{HEX}.jpg", f"uuid_{HEX}.json"
    manifest = {"image_handles": ["handle-" + image[:-4]], "sequence_uuid": "s"}
    rows = [
        ({"name": "stand-in-0"}, {"command": "GET"}, image, b""),
        ({"name": "stand-in-0"}, {"command": "POST", "Offset": "0"}, uuid, manifest),
        (
            {"name": "x"},
            {"command": "POST"},
            "finish_upload",
            {"file_handle": "handle-" + uuid[:-5]},
        ),
        ({}, {"command": "POST", "Offset": "0"}, image, making.jpeg((16, 16))),
        ({}, {"command": "POST", "Offset": "0"}, f"mly_tools_{HEX}.mp4", movie_seeds()[3]),
        (
            {},
            {"command": "POST"},
            "finish_upload",
            {"file_handle": f"handle-mly_tools_{HEX}", "file_type": "mly_camm_video"},
        ),
    ]
    seeds = []
    for state, head, key, body in rows:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        own = dict(head, **{"Content-Length": str(len(content))})
        told = {"state": state, "head": own, "key": key}
        seeds.append(json.dumps(told).encode() + b"\n\n" + content)
    return seeds


def check_stand_in(content: bytes) -> None:
    """The stand-in's state, and one request to it; nothing is made outside of its folder."""
    text, _, body = content.partition(b"\n\n")
    row = mt.parsed(text)
    row = row if isinstance(row, dict) else {}
    folder = room("stand") / "in"
    shutil.rmtree(str(folder), ignore_errors=True)
    (folder / "sequences").mkdir(parents=True)
    before = sorted(path.name for path in folder.parent.iterdir())
    state = row.get("state", {})
    raw = json.dumps(state).encode() if row else text
    (folder / mt.STAND_IN_FILE).write_bytes(raw)
    demand(isinstance(mt.stand_in_name(str(folder)), str), "no name")
    service = mt.StandIn(str(folder))
    head = row.get("head")
    head = (
        {str(k): v if isinstance(v, str) else None for k, v in head.items()}
        if head and isinstance(head, dict)
        else {}
    )
    key = row.get("key")
    (folder / f"mly_tools_{HEX}.jpg").write_bytes(body)
    (folder / f"uuid_{HEX}.json").write_bytes(body)
    for name in (str(key).strip("/"), f"mly_tools_{HEX}.jpg", f"uuid_{HEX}.json", "finish_upload"):
        with contextlib.suppress(ValueError):
            place = os.path.dirname(os.path.abspath(service.path_of(name)))
            demand(place == os.path.abspath(str(folder)), "a place outside of the folder")
        with contextlib.suppress(ValueError, OSError):  # what the handler answers with 400
            status, told = mt._answered(service, name, _Asked(head, body))
            demand(status in (200, 400, 412), "another status")
            json.dumps(told).encode("ascii")
    for name in (f"mly_tools_{HEX}.jpg", f"uuid_{HEX}.json"):
        service._wrong_with(name, str(folder / name))
    with mock.patch.object(mt, "find_program", no_program):
        mt._wrong_with_video(str(folder / f"mly_tools_{HEX}.jpg"))
    demand(sorted(path.name for path in folder.parent.iterdir()) == before, "a file outside")


KINDS.update(
    {
        "journal": Kind(journal_seeds, check_journal, words=(b"\0", b"../x.jpg"), rows="lines"),
        "config": Kind(config_seeds, check_config, words=(b"[DEFAULT]\n", b"\n[", b"\r", b"\x85")),
        "answer": Kind(
            answer_seeds, check_answer, words=(b"chunked", b"\r\n", b"9e999"), rows="body"
        ),
        "stand_in": Kind(stand_in_seeds, check_stand_in, words=(b"../", b"\n\n"), rows="whole"),
    }
)
