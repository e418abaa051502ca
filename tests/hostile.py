"""A service that means harm: raw bytes instead of answers, fields of wrong types, answers without end; and a storm of failures.

    with Rude([raw(b"HTTP/1.1 200 OK\\r\\n\\r\\n", path="/graph/me")]) as service: ...   # these bytes, then the connection closes
    with Rude([raw(endless(b"X: y\\r\\n", HEAD))]) as service: ...                      # until nobody reads any more
    with Storm(seed=7) as service: ...                                                # 20 % refused, 10 % cut

The long run, of so many tiny images through a storm, with figures as one line of JSON:

    python tests/hostile.py --images 10000 --seed 1
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

ROOT = Path(__file__).resolve().parent.parent
for _folder in (str(ROOT), str(ROOT / "tests")):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

import making  # noqa: E402
import service as stand  # noqa: E402
from service import END, Fault, Service, status  # noqa: E402

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
Piece = Union[bytes, float]


# ---- Raw bytes


def raw(pieces: Any, **which: Any) -> Fault:
    """Bytes, or a function that gives an iterator of bytes and of pauses in seconds, instead of an answer; then the end.

    With at=END the request has been carried out; otherwise its body is read and thrown away.
    """
    which.setdefault("times", None)
    return Fault("raw", body=pieces, **which)


def endless(block: bytes, head: bytes = b"", pause: float = 0.0) -> Callable[[], Iterator[Piece]]:
    """A head, and then the same bytes for ever."""

    def pieces() -> Iterator[Piece]:
        yield head
        many = block if pause else block * (65536 // len(block) + 1)
        while True:
            yield many
            if pause:
                yield pause

    return pieces


def answer(body: bytes, head: bytes = HEAD) -> bytes:
    """A whole answer with its length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class _RudeHandler(stand._Handler):
    def _act(self) -> None:
        fault = self.fault
        if fault is None or fault.action != "raw":
            super()._act()
            return
        self.fault = None
        self._waste()
        for piece in fault.body() if callable(fault.body) else [fault.body]:
            if not isinstance(piece, float):
                self.wfile.write(piece)
                with self.service.lock:
                    self.service.raw_bytes += len(piece)  # type: ignore
            elif self.service.closing.wait(piece):
                break
        raise stand._Gone


class Rude(Service):
    """A service that also knows faults made by `raw`."""

    raw_bytes = 0  # of what `raw` gave, that went out

    def go_online(self) -> None:
        super().go_online()
        self._server.RequestHandlerClass = _RudeHandler


# ---- Fields of wrong types

# JSON texts. Those of NAMES are texts that a service may give; the others can stand for nothing.
NAMES = {
    "control characters": '"x\\u0000\\r[other]\\nuser_upload_token = y\\u001b[31m\\u2028z"',
    "half a pair": '"\\ud800"',
    "long": '"%s"' % ("x" * 100000),
}
ODD = {
    "null": "null",
    "true": "true",
    "false": "false",
    "zero": "0",
    "negative": "-1",
    "fraction": "1.5",
    "infinite": "1e400",
    "minus infinite": "-1e400",
    "no number": "NaN",
    "400 digits": "1" + "0" * 400,
    "5000 digits": "1" + "0" * 5000,
    "empty": '""',
    "blank": '" \\t"',
    "list": "[]",
    "list of lists": "[[], [null]]",
    "object": "{}",
    "object of objects": '{"a": {"b": []}}',
    "deep": "[" * 100000 + "]" * 100000,
}
PLACE = '"here"'  # in a text of JSON it is replaced by the odd value


def bodies(text: str, values: Dict[str, str]) -> Iterator[Tuple[str, str]]:
    """(name, the text with its "here" replaced) for each value."""
    assert PLACE in text
    for name, value in values.items():
        yield name, text.replace(PLACE, value)


# ---- A storm

_REFUSALS: List[Callable[[random.Random], Fault]] = [
    lambda dice: stand.too_many(retry_after=dice.choice([0, 0.01])),
    lambda dice: stand.too_many(backoff=dice.choice([0, 10])),
    lambda dice: status(dice.choice([500, 502, 503, 504, 599])),
    lambda dice: status(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    lambda dice: status(dice.choice([400, 404, 409]), stand._debug("Passing", "later", True)),
    lambda dice: stand.offset_invalid(),
]


class Storm(Service):
    """A service that refuses and cuts at random, by a seed; some after it has done what was asked."""

    def __init__(self, seed: int, refused: float = 0.2, cut: float = 0.1, **more: Any) -> None:
        super().__init__(**more)
        self.dice, self.refused, self.cut_off = random.Random(seed), refused, cut
        self.storm: Dict[str, int] = {}

    def fault_for(self, method: str, path: str) -> Optional[Fault]:
        with self.lock:
            chance, at = self.dice.random(), self.dice.choice([0, END, self.dice.randrange(2000)])
            if chance < self.cut_off:
                fault = stand.cut(at, reset=self.dice.random() < 0.5)
            elif chance < self.cut_off + self.refused:
                fault = self.dice.choice(_REFUSALS)(self.dice)
                fault.at, fault.early = at, at != END and self.dice.random() < 0.5
            else:
                return None
            name = fault.action + (f" {fault.code}" if fault.action == "answer" else "")
            self.storm[name] = self.storm.get(name, 0) + 1
            return fault


def once(service: Service, images: int) -> List[str]:
    """What is wrong with what arrived, if each image is to be there once, whole, in one finished sequence."""
    wrong = list(service.problems[:10])
    arrived = service.images()
    if len(arrived) != images:
        wrong.append(f"{len(arrived)} images arrived, not {images}")
    for key, upload in service.received.items():
        pieces = [piece for piece in upload.accepted if piece[1] > piece[0]]
        joined = [piece[0] for piece in pieces] == [0] + [piece[1] for piece in pieces[:-1]]
        if not upload.complete or not joined or pieces[-1][1] != upload.size:
            wrong.append(f"{key}: complete {upload.complete}, {pieces} of {upload.size}")
    named = [key for record in service.finished for key in record["images"]]
    if sorted(named) != sorted(arrived):
        wrong.append(f"{len(named)} images in sequences ({len(set(named))} different)")
    return wrong[:20]


# The program with short pauses; what it is otherwise.
_QUICK = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("mapillary_tools", sys.argv[1])
tool = sys.modules["mapillary_tools"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
tool.BACKOFF_S, tool.BACKOFF_MOST_S = 0.002, 0.02
sys.exit(tool.main(sys.argv[2:]))
"""


def tiny(folder: Path, count: int) -> None:
    """So many photos of about 1 kB, a thousand a folder, none like another."""
    for number in range(count):
        moment = time.strftime("%Y:%m:%d %H:%M:%S", time.gmtime(1700000000 + number))
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        making.photo(
            path, (16, 16), number % 50, lat=10 + number * 1e-5, lon=20.0, time=moment, subsec="5"
        )


class Started:
    """A program of ours with its peak of memory."""

    def __init__(self, argv: List[str], environment: Dict[str, str]) -> None:
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _QUICK, str(ROOT / "mapillary_tools.py"), *argv],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
        )
        self.rss: List[int] = []  # kB, now and then

    def end(self, seconds: float) -> int:
        """Its exit code; raises TimeoutExpired."""
        due = time.monotonic() + seconds
        try:
            while self.process.poll() is None and time.monotonic() < due:
                self._look()
                time.sleep(0.1)
            return self.process.wait(max(0.1, due - time.monotonic()))
        finally:
            self.process.kill()
            self.process.wait()

    def _look(self) -> None:
        try:
            text = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        except (OSError, ValueError):
            return
        self.rss += [int(row.split()[1]) for row in text.splitlines() if row.startswith("VmRSS")]

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "replace")


def storm(base: Path, images: int, seed: int, runs: int = 5, threads: int = 4) -> Dict[str, Any]:
    """Process tiny images, and upload them through a storm until a run says that all is well: what happened."""
    began = time.monotonic()
    photos, facts = base / "photos", {"images": images, "seed": seed}  # type: Path, Dict[str, Any]
    tiny(photos, images)
    made = Started(["process", "--import_path", str(photos), "--user_name", "demo"], {})
    facts["process"] = made.end(60 + images / 10)
    with Storm(seed) as service:
        own = {"NUMBER_THREADS": str(threads), "MAX_ATTEMPTS": "100"}
        environment = {**service.environment(base / "config"), **own}
        codes, said, rss = [], "", []  # type: List[int], str, List[int]
        sending = time.monotonic()
        while len(codes) < runs and (not codes or codes[-1]):
            started = Started(["upload", "--import_path", str(photos)], environment)
            codes.append(started.end(120 + images / 10))
            said, rss = said + started.said(), rss or started.rss
        facts.update(codes=codes, upload_seconds=round(time.monotonic() - sending, 1))
        facts.update(requests=len(service.log), storm=service.storm, wasted=service.wasted())
        facts.update(sequences=len(service.finished), wrong=once(service, images))
        facts["traceback"] = said[said.index("Traceback") :][:2000] if "Traceback" in said else ""
        rest = len(service.log)
        again = Started(["upload", "--import_path", str(photos)], environment)
        facts["again"] = [again.end(120), len(service.log) - rest]
    if len(rss) > 9:
        first, last = max(rss[: len(rss) // 3]), max(rss)
        facts["memory_mb"] = {"first third": round(first / 1024, 1), "most": round(last / 1024, 1)}
    facts["seconds"] = round(time.monotonic() - began, 1)
    return facts


def well(facts: Dict[str, Any]) -> bool:
    """Whether a storm was weathered by one run: every image once, and nothing left to be asked."""
    good = facts["process"] == 0 and facts["codes"] == [0] and facts["again"] == [0, 0]
    return bool(good and not facts["wrong"] and not facts["traceback"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=4)
    args = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        facts = storm(base, args.images, args.seed, threads=args.threads)
    finally:
        shutil.rmtree(str(base))
    print(json.dumps(facts))
    return 0 if well(facts) else 1


if __name__ == "__main__":
    sys.exit(main())
