"""One scenario of kill.py with its promises: what undisturbed runs make of it, and what killed ones may."""

import contextlib
import json
import os
import random
import re
import shutil
import struct
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import making
import service
from door import arrivals
from kill_child import HUNG, ORPHAN_S, Child, Ended, Kill, Tool, clean, outlived, words_of
from kill_fields import Scenario

STATE = ".mapillary"


class Wrong(NamedTuple):
    """A promise that did not hold."""

    kind: str  # "lost", "twice", or another word
    text: str


# ---- what is there


class Seen(NamedTuple):
    """A field at one moment."""

    files: Dict[str, bytes]  # all but the tool's own state; and the described copies
    times: Dict[str, int]  # of the files, in ns
    parts: List[str]  # temporary files, and folders of sampling
    journals: Dict[str, Any]  # by path: what counts in it
    logs: Dict[str, Any]
    torn: List[str]  # what is wrong with a journal


def without(value: Any, keys: Sequence[str]) -> Any:
    """A value of JSON without some keys, wherever they stand."""
    if isinstance(value, dict):
        return {key: without(inner, keys) for key, inner in value.items() if key not in keys}
    return [without(inner, keys) for inner in value] if isinstance(value, list) else value


def differing(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Where two values of JSON differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}, key=str):
            yield from differing(a.get(key), b.get(key), "%s.%s" % (where, key))
    elif a != b:
        yield "%s is %.200r, not %.200r" % (where, a, b)


def journal_of(path: Path, field: Path, hidden: Sequence[str], torn: List[str]) -> Dict[Any, Any]:
    """The last line of a journal about each thing, without what differs between two runs."""
    last: Dict[Any, Any] = {}
    text = path.read_bytes().replace(str(field).encode(), b"FIELD")
    lines = text.split(b"\n")[:-1]  # a torn last line is overwritten by the next one that is added
    for number, line in enumerate(lines):
        try:
            row = without(json.loads(line), ("at", "service", *hidden))
        except ValueError:
            torn.append("%s: line %d is damaged: %r" % (path.name, number + 1, line[:80]))
            continue
        if "image" in row:
            for name in ("mtime", "ctime"):
                row.get("written", {}).pop(name, None)
            row.pop("copied", None)  # a run that is killed right behind the copy does not tell it
            row.get("written", {}).pop("ctime", None)
            last["image", row["image"]] = row
        elif "video" in row:
            last["video", row["video"]] = row
        elif "hashed" in row:
            row["hashed"].pop("ctime", None)  # of fields that are copied for each run
            last["hashed", row["hashed"]["video"]] = row
        elif "upload" in row:
            last["upload", row["upload"]["image"]] = row
        elif "sequence" in row:
            row["sequence"]["cluster"] = bool(row["sequence"].get("cluster"))
            last["sequence", row["sequence"]["id"]] = row
        elif "sampling" in row:
            last["sampling", "done" in row["sampling"]] = row
        else:
            last["header"] = row
    return last


def look(field: Path, hidden: Sequence[str] = ()) -> Seen:
    """All that is in a field."""
    seen = Seen({}, {}, [], {}, {}, [])
    for place, folders, names in os.walk(str(field)):
        inside = [name for name in folders if name.startswith("sampling-")]
        seen.parts.extend(str(Path(place, name).relative_to(field)) for name in inside)
        folders[:] = sorted(set(folders) - set(inside))
        for name in names:
            path = Path(place, name)
            short = path.relative_to(field).as_posix()
            if name.endswith(".part"):
                seen.parts.append(short)
            elif name == "journal.jsonl":
                seen.journals[short] = journal_of(path, field, hidden, seen.torn)
            elif name == "steps.json":
                row = json.loads(path.read_bytes())
                seen.logs[short] = without(row, ("at", "written", "reason", "outcome", *hidden))
            elif name == "history.jsonl":
                seen.logs[short] = {"arrivals": arrivals(path.read_bytes())}
            elif name == "stand_in.json":
                json.loads(path.read_bytes())
            elif name != "lock":
                with contextlib.suppress(FileNotFoundError):  # a worker that is ending clears it
                    seen.times[short] = path.stat().st_mtime_ns
                    seen.files[short] = path.read_bytes()
    return seen


def is_photo(name: str) -> bool:
    return name.startswith("photos/") and STATE not in name


def is_video(name: str) -> bool:
    return name.startswith("photos/") and name.endswith(".mp4")


def same_picture(a: bytes, b: bytes) -> bool:
    """Whether two whole JPEGs differ in their EXIF at most."""
    try:
        making.read_exif(a)
        return making.without_exif(a) == making.without_exif(b)
    except (ValueError, IndexError, struct.error):
        return False


def received(one: Optional[service.Service]) -> Any:
    """What a service has got."""
    if one is None:
        return None
    images = {key: upload.md5.hexdigest() for key, upload in one.received.items()}
    return images, sorted(record["images"] for record in one.finished)


def twice(one: Optional[service.Service], runs: int = 1) -> List[str]:
    """What was sent twice, or otherwise wrongly, by so many runs."""
    if one is None:
        return []
    # a request that a kill cut off within its head has no body
    found = [text for text in one.problems if "body is not JSON: b''" not in text]
    for key, upload in one.received.items():
        pieces = [piece for piece in upload.accepted if piece[1] > piece[0]]
        if [piece[0] for piece in pieces] != [0] + [piece[1] for piece in pieces[:-1]]:
            found.append("%s: came in pieces %s" % (key, pieces))
        if upload.wasted and not key.endswith(".json"):
            found.append("%s: %d bytes of it were sent for nothing" % (key, upload.wasted))
    for record in one.finished:
        if record["asked"] > runs:
            found.append("%s: finished %d times" % (record["images"], record["asked"]))
    return found


# ---- one scenario


class Bench:
    """A scenario that is ready to be killed: its field, and what undisturbed runs make of it."""

    def __init__(
        self, scenario: Scenario, base: Path, tool: Tool, orphan_s: float = ORPHAN_S
    ) -> None:
        self.scenario, self.base, self.tool, self.orphan_s = scenario, base, tool, orphan_s
        self.longest, self.kills = 0.0, 0  # of workers behind their parent, in seconds
        self.guard, self.numbers = threading.Lock(), iter(range(1 << 30))
        self.master = base / "master"
        scenario.make(self.master, tool.prepare(self.master))
        self.old = look(self.master, scenario.hidden)
        self.trace = base / "trace"
        self.code, self.new, self.sent, self.seconds = self.undisturbed(self.trace)
        photos = [name for name in self.new.files if is_photo(name) and name in self.old.files]
        made = bool(scenario.made)  # frames, which may be sampled again
        self.redated = [] if made else [n for n in photos if self.new.times[n] != self.old.times[n]]

    @contextlib.contextmanager
    def field(self) -> Iterator[Path]:
        """A copy of the field, as old as the field itself."""
        with self.guard:
            field = self.base / ("field-%d" % next(self.numbers))
        shutil.copytree(str(self.master), str(field), symlinks=True)
        try:
            for path in field.rglob("journal.jsonl"):
                text = path.read_bytes()
                path.write_bytes(text.replace(str(self.master).encode(), str(field).encode()))
            yield field
        finally:
            shutil.rmtree(str(field), ignore_errors=True)

    @contextlib.contextmanager
    def serving(self, field: Path) -> Iterator[Tuple[Optional[service.Service], Dict[str, str]]]:
        """The service of the scenario, and the environment of a run."""
        environment = dict(clean(), HOME=str(field), MAPILLARY_CONFIG_PATH=str(field / "config"))
        if self.scenario.few:
            environment["KILL_FEW"] = "1"
        if self.scenario.spawned:
            environment["KILL_SPAWN"] = "1"
        if self.scenario.faulty is None:
            yield None, environment
            return
        with self.scenario.faulty() as one:
            if not (field / "config").exists():
                service.write_config(field / "config")
            yield one, dict(environment, **one.environment())

    def undisturbed(self, trace: Path) -> Tuple[int, Seen, Any, float]:
        """(exit code, what is there, what was received, seconds) of a run that nobody kills."""
        with self.field() as field, self.serving(field) as (one, environment):
            words = words_of(self.scenario.command, field)
            ended = Child(self.tool, words, dict(environment, KILL_TRACE=str(trace)), None).run()
            if ended.code not in (0, 1) or "Traceback" in ended.text:
                raise RuntimeError("%s: %d\n%s" % (self.scenario.name, *ended[:2]))
            return ended.code, look(field, self.scenario.hidden), received(one), ended.seconds

    def steps(self) -> List[Kill]:
        """Each step of an undisturbed run, before, after and, of what is written, in the middle."""
        counts: Dict[Tuple[str, str], Dict[str, int]] = {}
        for line in self.trace.read_text("utf-8").splitlines():
            role, process, name, _ = line.split("\t")
            own = counts.setdefault((role, name), {})
            own[process] = own.get(process, 0) + 1
        found = []
        for (role, name), own in sorted(counts.items()):
            halves = ["middle"] if name.startswith(("write", "send")) else []
            for number in range(1, max(own.values()) + 1):
                for when in ["before", *halves, "after"]:
                    found.append(Kill("/".join((role, name, str(number), when, "self"))))
                    if role == "worker" and when != "middle":  # it goes on with what it does
                        found.append(Kill("/".join((role, name, str(number), when, "parent"))))
        return found

    def moment(self, dice: random.Random) -> Kill:
        """A kill at a random moment."""
        worker = self.scenario.few and dice.random() < 0.4
        return Kill("", dice.uniform(0, self.seconds), "worker" if worker else "self")

    def case(self, kills: Sequence[Kill], at_once: bool = False) -> Tuple[int, List[Wrong]]:
        """(kills that came about, promises broken) of killed runs and an undisturbed one.

        at_once: the next run does not wait until the workers of the one before have ended.
        """
        wrong: List[Wrong] = []
        count = 0
        with self.field() as field, self.serving(field) as (one, environment):
            words = words_of(self.scenario.command, field)
            left = []
            for kill in kills:
                child = Child(self.tool, words, environment, kill)
                ended = child.run()
                count += ended.killed or ended.code not in (self.code, 0)
                left.append((child.mark, child.ended))
                if not at_once:
                    wrong.extend(self._orphans(left))
                _settle(one)
                wrong.extend(self._said(ended, "the killed run"))
                wrong.extend(self._after_kill(look(field, self.scenario.hidden)))
            ended = Child(self.tool, words, environment, None).run()
            wrong.extend(self._orphans(left))
            wrong.extend(self._said(ended, "the next run"))
            if ended.code != self.code:
                text = "the next run ended in %d: %s" % (ended.code, ended.text[-300:])
                wrong.append(Wrong("code", text))
            wrong.extend(self._at_last(look(field, self.scenario.hidden)))
            wrong.extend(Wrong("twice", text) for text in twice(one, len(kills) + 1))
            if received(one) != self.sent:
                wrong.append(Wrong("received", "%s, not %s" % (received(one), self.sent)))
        with self.guard:
            self.kills += count
        return count, wrong

    def _orphans(self, left: List[Tuple[str, float]]) -> Iterator[Wrong]:
        while left:
            seconds = outlived(*left.pop(), self.orphan_s)
            self.longest = max(self.longest, seconds)
            if seconds > self.orphan_s:
                yield Wrong("orphan", "a process outlived its parent by %.1f s" % seconds)

    @staticmethod
    def _said(ended: Ended, who: str) -> Iterator[Wrong]:
        if "Traceback" in ended.text:
            yield Wrong("traceback", "%s says %s" % (who, ended.text[-600:]))
        if ended.code == HUNG:
            yield Wrong("hang", "%s did not end: %s" % (who, ended.text[-300:]))

    def _after_kill(self, seen: Seen) -> Iterator[Wrong]:
        """Whether everything is its old or its new self, whole."""
        for text in seen.torn:
            yield Wrong("journal", text)
        for name in sorted({*self.old.files, *self.new.files, *seen.files}):
            now, old, new = (which.files.get(name) for which in (seen, self.old, self.new))
            made = bool(self.scenario.made and re.search(self.scenario.made, name))
            if now in (old, new) or now is None and (made or STATE in name):
                pass
            elif not made or now is None or new is None or not same_picture(now, new):
                kind = "lost" if is_photo(name) else "torn"
                yield Wrong(kind, "%s is neither old nor new: %s" % (name, now and len(now)))
            if is_video(name) and now != old:
                yield Wrong("lost", "%s was changed: no run may touch a video" % name)
            if is_photo(name) and not made and now and (now == old or not self.redated):
                if seen.times[name] != self.old.times[name]:
                    yield Wrong("time", "%s has another time" % name)

    def _at_last(self, seen: Seen) -> Iterator[Wrong]:
        """Whether everything is as an undisturbed run leaves it."""
        yield from self._after_kill(seen)
        for name in seen.parts:
            yield Wrong("left", "%s is left" % name)
        for name in sorted({*self.new.files, *seen.files}):
            if self.new.files.get(name) != seen.files.get(name):
                kind = "lost" if is_photo(name) else "differs"
                yield Wrong(kind, "%s is not as of an undisturbed run" % name)
        for found, wanted in ((seen.journals, self.new.journals), (seen.logs, self.new.logs)):
            for name in sorted({*found, *wanted}):
                a, b = found.get(name, {}), wanted.get(name, {})
                for key in sorted({*a, *b}, key=str):
                    if a.get(key) != b.get(key):
                        text = "; ".join(differing(a.get(key), b.get(key)))
                        yield Wrong("journal", "%s, %s: %s" % (name, key, text))


def _settle(one: Optional[service.Service]) -> None:
    """Wait until the service has noticed that connections are gone."""
    deadline = time.monotonic() + 10
    while one is not None and one.open_now and time.monotonic() < deadline:
        time.sleep(0.005)
