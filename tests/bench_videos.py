"""The part of bench.py about whole videos: what hashing and sending one cost, against doing plainly the same."""

import argparse
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import making
import memory
from service import TOKEN, write_config
from bench import START, Contestant, Run, in_child, measured, run, skipped, table

SERVICE = r"""
import http.server, json, sys, time
rows, state = [], {"refuse": sys.argv[1] == "refuse"}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def answer(self, row, code=200):
        body = json.dumps(row).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer({"offset": 0, "id": "1", "username": "demo"})
    def taken(self, count):
        left, buffer = count, memoryview(bytearray(min(count, 1 << 20)))
        while left:
            got = self.rfile.readinto1(buffer[:min(left, len(buffer))])
            if not got:
                raise ConnectionError()
            left -= got
        return count
    def do_POST(self):
        left, began = int(self.headers.get("Content-Length") or 0), time.time()
        if ".mp4" in self.path and state["refuse"]:
            self.close_connection = True
            return self.answer({"debug_info": {"retriable": False, "type": "X", "message": "no"}}, 400)
        size = self.taken(left)
        while self.headers.get("Transfer-Encoding") == "chunked":
            left = int(self.rfile.readline().split(b";")[0], 16)
            size += self.taken(left)
            self.rfile.readline()
            if not left:
                break
        if ".mp4" in self.path or "plain" in self.path:
            rows.append([began, time.time() - began, size])
        self.answer({"h": "handle-" + self.path[-12:], "cluster_id": "7"})
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
import threading
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
print(json.dumps(rows), flush=True)
"""  # takes bytes as fast as it can, and tells when each file began and how long it took

PLAIN = r"""
import http.client, os, sys
port, path, pieces = sys.argv[1:4]
connection = http.client.HTTPConnection("127.0.0.1", int(port))
def parts():
    with open(path, "rb", buffering=0) as stream:
        yield from iter(lambda: stream.read(int(pieces)), b"")
connection.request("POST", "/plain", parts(), {"Content-Length": str(os.path.getsize(path))})
assert connection.getresponse().status == 200
"""  # the same bytes, read and sent


class Service:
    """The service in a process of its own; `rows` are its files once it has ended: begin, seconds, bytes."""

    def __init__(self, refuse: bool = False) -> None:
        words = [sys.executable, "-I", "-S", "-c", SERVICE, "refuse" if refuse else "take"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.rows: List[List[float]] = []

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: Any) -> None:
        self.rows = json.loads(self.process.communicate(b"")[0].decode("ascii"))

    def environment(self, base: Path) -> Dict[str, str]:
        """What leads both programs here, with the user "demo" logged in."""
        root = f"http://127.0.0.1:{self.port}"
        write_config(base / "config", TOKEN)
        return {
            "MAPILLARY_GRAPH_API_ENDPOINT": root,
            "MAPILLARY_UPLOAD_ENDPOINT": root,
            "MAPILLARY_CONFIG_PATH": str(base / "config"),
            "MAPILLARY_TOOLS_PROMPT_DISABLED": "YES",
            "MAPILLARY_DISABLE_API_LOGGING": "YES",
            "MAPILLARY_TOOLS_UPLOAD_CACHE_DIR": str(base / "cache"),
            "MAPILLARY_UPLOAD_HISTORY_PATH": str(base / "history"),
        }


def _made(tool: Any, path: str) -> Any:
    """What goes up of a video with a place a second."""
    with open(path, "rb") as stream:
        movie = tool.Source(stream, Path(path))
        places = [tool.Sample(float(n), START + n, 57.0 + n * 1e-4, 12.0, 1.0) for n in range(3600)]
        return tool.video_stream(movie, places, "Make", "Model")


def child_videos(tool: Any, path: str) -> Dict[str, Any]:
    """Seconds until a video's first byte could be sent, its md5 being known."""
    start = time.perf_counter()
    made = _made(tool, path)
    return {"seconds": time.perf_counter() - start, "head": len(made.head)}


def child_hash(tool: Any, path: str) -> Dict[str, Any]:
    """Seconds of the pass over a video, and of a plain one."""
    start = time.perf_counter()
    digest = hashlib.md5()
    with open(path, "rb", buffering=0) as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            digest.update(piece)
    plain = time.perf_counter() - start
    folder, name = os.path.split(path)
    with tool.Journal(folder) as journal:
        place = tool.Place(folder, journal)
        start = time.perf_counter()
        tool.ready_video(place, name, lambda: None)
        own = time.perf_counter() - start
    return {"md5 of the file, plainly": plain, "md5 of what goes up": own}


def child_camm(tool: Any, path: str, target: str) -> Dict[str, Any]:
    """The video with a CAMM track, as a file."""
    made = _made(tool, path)
    with open(path, "rb") as stream, open(target, "wb") as out:
        out.write(made.head)
        for start, end in made.spans:
            stream.seek(start)
            shutil.copyfileobj(io.BytesIO(stream.read(end - start)), out)
    return {"size": made.size}


def part_videos(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """One video of so many megabytes and seconds, at 60 frames a second."""
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
        _videos(args, Path(name), *numbers)


def _sent(args: argparse.Namespace, command: Sequence[Any], base: Path) -> Run:
    """A run whose time is that from the first byte of the video to the last, as the service has it."""
    with Service() as service:
        took = run(command, service.environment(base))
    rows = service.rows
    if not rows:
        return took._replace(code=took.code or 1)
    return took._replace(seconds=rows[-1][1], output=json.dumps([took.seconds, *rows[-1]]))


def _videos(args: argparse.Namespace, base: Path, megabytes: int, seconds: int) -> None:
    work, state = base / "work", base / "work" / ".mapillary"
    work.mkdir()
    memory.large_video(work / "a.mp4", megabytes, seconds)
    making.gpx([(START + n, 57.0 + n * 1e-4, 12.0) for n in range(-3, seconds + 3)], work / "a.gpx")
    process = [args.python, args.tool, "process", "--import_path", work, "--user_name", "demo"]
    upload = [args.python, args.tool, "upload", "--import_path", work, "--videos", "upload"]
    run([*process, "--videos", "upload"])
    with Service(refuse=True) as service:  # afterwards the md5 is known
        subprocess.run(
            list(map(str, upload)),
            env=dict(os.environ, **service.environment(base)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    shutil.copytree(str(state), str(base / "state"))
    (base / "state2").mkdir()
    rows = (base / "state" / "journal.jsonl").read_text("ascii").splitlines(True)
    known = [row for row in rows if '"upload"' not in row[:12]]
    unknown = [row for row in known if '"hashed"' not in row[:12]]
    assert len(unknown) < len(known), "no md5 was kept"

    def fresh(kept: List[str]) -> Any:
        def put() -> None:
            (state / "journal.jsonl").write_text("".join(kept), "ascii")
            shutil.rmtree(str(base / "history.jsonl"), ignore_errors=True)
            for left in base.glob("history*"):
                left.unlink()

        return put

    with Service() as plain:

        def plainly() -> Run:
            command = [args.python, "-I", "-S", "-c", PLAIN, plain.port, work / "a.mp4", 1 << 20]
            return run(command)

        shown = measured(
            [
                Contestant("the same bytes plainly", plainly),
                Contestant("upload", lambda: _sent(args, upload, base), before=fresh(known)),
            ],
            args.rounds,
        )
    for one, row in zip(range(len(shown["the same bytes plainly"])), plain.rows):
        shown["the same bytes plainly"][one] = shown["the same bytes plainly"][one]._replace(
            seconds=row[1]
        )
    title = f"video of {megabytes} MB and {seconds} s, from the first byte to the last"
    table(title, shown, "the same bytes plainly")
    _hashed(args, base, work / "a.mp4", fresh(unknown))
    _first(args, work / "a.mp4")
    _official(args, base, work / "a.mp4")


def _hashed(args: argparse.Namespace, base: Path, path: Path, forget: Callable[[], None]) -> None:
    """The pass that the key needs, beside one over the same bytes that does no more."""
    runs: Dict[str, List[Run]] = {"md5 of the file, plainly": [], "md5 of what goes up": []}
    for _ in range(args.rounds):
        forget()
        said = in_child(args, "hash", path)
        for name, seconds in (said or {}).items():
            runs[name].append(Run(seconds, 0, 0, ""))
    if all(runs.values()):
        table("the pass before it is sent", runs, "md5 of the file, plainly")


def _first(args: argparse.Namespace, path: Path) -> None:
    said = [one for one in (in_child(args, "videos", path) for _ in range(args.rounds)) if one]
    if said:
        middle = statistics.median(one["seconds"] for one in said)
        print(f"  first byte after {middle:.3f} s, of a head of {said[0]['head']} bytes")


def _official(args: argparse.Namespace, base: Path, path: Path) -> None:
    """The official package on the same pictures, with a CAMM track in the file."""
    if not args.official:
        return skipped("videos, official", "--official is not there")
    work = base / "official"
    work.mkdir()
    if in_child(args, "camm", path, work / "a.mp4") is None:
        return skipped("videos, official", "nothing was made for it")
    with Service() as service:
        run([args.official, "process", "--skip_process_errors", work], service.environment(base))
    theirs = [args.official, "upload", "--user_name", "demo", work]
    shutil.copytree(str(work), str(base / "ours"))
    ours = [args.python, args.tool, "upload", "--import_path", base / "ours", "--videos", "upload"]
    whole: Dict[str, List[Run]] = {"upload": [], "official upload": []}
    for _ in range(args.rounds):
        for name, words in (("upload", ours), ("official upload", theirs)):
            for left in (*base.glob("history*"), base / "cache", base / "ours" / ".mapillary"):
                if left.is_file():
                    left.unlink()
                shutil.rmtree(str(left), ignore_errors=True)
            with Service() as service:
                took = run(words, service.environment(base))
            sent = sum(int(row[2]) for row in service.rows)
            if sent < path.stat().st_size * 0.9:
                print(f"  ! {name}: {sent} bytes came in")
            whole[name].append(took)
    table("the same video with a CAMM track, the whole run", whole, "official upload")
