"""Each call of a run fails in turn: once, or from then on.

    python tests/failing.py                      # every scene, each call with one error number
    python tests/failing.py --all                # with every one, both ways
    python tests/failing.py --all process upload # these scenes alone
    python tests/failing.py upload --call 17 --error EIO --onwards    # one, with what it printed

What is demanded of each is in `complaints`. An undisturbed run is recorded first; it says which calls there are.
"""

import argparse
import errno
import json
import os
import re
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import making  # noqa: E402
import mapillary_tools as mt  # noqa: E402
from conftest import Ran  # noqa: E402
from door import Call, Watcher, picture  # noqa: E402
from scenes import SCENES, Stage, differing, state_of  # noqa: E402
from service import TOKEN  # noqa: E402

ERRORS = tuple(
    getattr(errno, name)
    for name in ("ENOSPC", "EIO", "EACCES", "EMFILE", "EDQUOT", "ESTALE", "EROFS")
    if hasattr(errno, name)
)
PICTURES = (".jpg", ".mp4")
PART = re.compile(r"\.mapillary-[0-9a-f]{16}\.part")


class Trial(NamedTuple):
    """What fails."""

    number: int  # of the call, from 0
    error: int
    onwards: bool  # all later ones too

    def __str__(self) -> str:
        return f"call {self.number} {errno.errorcode[self.error]}{' onwards' * self.onwards}"


class Breaker(Watcher):
    """Lets the calls of a run fail as a trial wants it; without one it only takes them down."""

    def __init__(self, trial: Optional[Trial] = None) -> None:
        self.trial, self.calls = trial, []  # type: Optional[Trial], List[Call]
        self.broken: Optional[Call] = None

    def before(self, call: Call) -> None:
        self.calls.append(call)
        if self.trial is None:
            return
        count = len(self.calls) - 1
        if count == self.trial.number or self.trial.onwards and count > self.trial.number:
            self.broken = self.broken or call
            raise OSError(self.trial.error, os.strerror(self.trial.error), call.path)


class Disturbed(NamedTuple):
    """What came of a run in which something failed."""

    trial: Trial
    call: Call
    calls: List[Call]  # of the undisturbed run
    ran: Optional[Ran]
    escaped: str  # the exception that came out of main
    state: Dict[str, Any]
    code: int  # of the undisturbed run


# ---- what is demanded --------------------------------------------------------------------------


def target_of(done: Disturbed) -> str:
    """The file that the failing call was about; for a temporary file the one it was to become."""
    path = done.call.path
    if not PART.search(path) or done.trial.number >= len(done.calls):
        return path
    same = done.calls[done.trial.number].path  # in the undisturbed run
    return next((call.to for call in done.calls if call.to and call.path == same), path)


def is_whole(name: str, value: bytes, old: Optional[bytes]) -> bool:
    """Whether a file is good, though neither old nor as of an undisturbed run: when one image fails, the sequence of the
    others is another, and so are their descriptions and what is said of them.
    """
    if name.endswith(".html"):
        return value.endswith((b"</html>", b"</html>\n"))
    try:
        if name.endswith(".json"):
            return isinstance(json.loads(value), dict)
        same = old is None or making.without_exif(old) == making.without_exif(value)
        return same and bool(making.description(value)) and value.endswith(b"\xff\xd9")
    except (ValueError, IndexError, struct.error):
        return False


def may_hold(name: str, value: Any, before: Dict[str, Any], good: Dict[str, Any]) -> bool:
    """Whether a file may be so after a failure: as it was, as it is to be, or not there yet or any more."""
    base, old = os.path.basename(name), before.get(name)
    if base in ("journal.jsonl", "history.jsonl") or base.endswith(".part") or "sampling-" in name:
        return True
    if base == "downloaded.csv":  # lists what has come so far
        whole = good[name].splitlines()
        return value is None or all(row in whole for row in value.splitlines())
    if value is None:
        is_copy = "process_images" in name or f"p{os.sep}ride_" in name
        return name not in before or is_copy
    picture = before.get(name.replace(os.path.join(".mapillary", "process_images", ""), ""))
    return value in (old, good.get(name)) or is_whole(name, value, picture)


def torn(done: Disturbed, before: Dict[str, Any], good: Dict[str, Any]) -> Iterator[str]:
    """Files that are neither old nor new."""
    for name in {*before, *good, *done.state}:
        if not may_hold(name, done.state.get(name), before, good):
            yield f"{name} is neither old nor new"


def unclear(done: Disturbed, root: Path) -> Iterator[str]:
    """What is wrong with what was said."""
    assert done.ran is not None
    text = done.ran.stdout + done.ran.stderr
    crashed = "Traceback" in text or "Exception" in text
    if crashed:
        places = re.findall(r'mapillary_tools.py", line \d+, in (\w+)', text)
        yield "traceback of " + " > ".join(dict.fromkeys(places[-4:]))
    if TOKEN in text:
        yield "the token is shown"
    for stream in (done.ran.stdout, done.ran.stderr):
        for line, count in Counter(stream.splitlines()).items():
            if line.strip() and count > 1 and not crashed:
                yield f"printed {count} times: {line.strip()}"
    if done.ran.code in (0, done.code):
        return
    places = [Path(target_of(done)), Path(done.call.path)]
    names = {str(place) for one in places for place in [one, *one.parents] if root in place.parents}
    names = names or {str(root)}
    if not any(name in text for name in ([str(root)] if done.trial.onwards else names)):
        yield f"{done.call.path} is not named"
    if os.strerror(done.trial.error) not in text and done.call.name not in ("stat", "lstat"):
        yield f"the cause of {done.call.name} is not told"


def left_undone(
    done: Disturbed, before: Dict[str, Any], good: Dict[str, Any], root: Path
) -> Iterator[str]:
    """Whether the exit code fits what was done, and the good ones were done."""
    assert done.ran is not None
    missing = sorted(name for name in good if done.state.get(name) != good[name])
    if "the history of uploads" in done.ran.stderr:  # said, and no reason to fail
        missing = [name for name in missing if os.path.basename(name) != "history.jsonl"]
    if done.ran.code == 0 and missing:
        yield f"exit code 0, but not done: {', '.join(missing)}"
    about = os.path.relpath(target_of(done), str(root))
    harmless = done.call.name in ("fsync", "fdatasync") or done.trial.onwards or before == good
    harmless = harmless or about.endswith(".jsonl")
    harmless = harmless or about in good and before.get(about) == good[about]
    if done.ran.code not in (0, done.code) and not missing and not harmless:
        yield f"exit code {done.ran.code} though all was done"
    if not done.trial.onwards and about.endswith(PICTURES):
        places = {os.path.dirname(name) for name in good if name.endswith(PICTURES)}
        if not about.endswith(".jpg"):  # frames elsewhere are made of it
            places &= {os.path.dirname(about)}
        for place in places:
            wanted = count_done(place, good, before)
            if count_done(place, done.state, before) < wanted - 1 and "sampling-" not in about:
                yield f"{about} failed, and others in {place} are not done"


def count_done(place: str, state: Dict[str, Any], before: Dict[str, Any]) -> int:
    """How many images and videos of a folder are not what they were."""
    names = [one for one in state if os.path.dirname(one) == place and one.endswith(PICTURES)]
    return sum(state[name] != before.get(name) for name in names)


def arrived(state: Dict[str, Any]) -> bool:
    """Whether every image is at the service, once, in a sequence that is finished."""
    told = state.get(os.path.join("p", ".mapillary", "journal.jsonl"), {})
    images = {key[1] for key in told if key[0] in ("image", "video")}
    sent = {key[1] for key, row in told.items() if row.get("upload", {}).get("status") == "sent"}
    lines = [row["sequence"] for row in told.values() if "sequence" in row]
    listed = [name for line in lines for name in line["images"]]
    return (
        images == sent and sorted(listed) == sorted(images) and all("cluster" in o for o in lines)
    )


def complaints(
    done: Disturbed, before: Dict[str, Any], good: Dict[str, Any], root: Path
) -> List[str]:
    """All that is wrong with how a run took a failure."""
    found = list(torn(done, before, good))
    if done.ran is None:
        return [*found, f"{done.escaped} came out of main"]
    return [*found, *unclear(done, root), *left_undone(done, before, good, root)]


# ---- the trials --------------------------------------------------------------------------------


def difference(one: Any, other: Any) -> str:
    """Where in a journal two outcomes differ first."""
    if isinstance(one, dict) and isinstance(other, dict):
        name = next(name for name in [*one, *other] if one.get(name) != other.get(name))
        return f" {name}{difference(one.get(name), other.get(name))}"
    return "" if isinstance(one, bytes) or isinstance(other, bytes) else f": {one} not {other}"


def innermost(error: BaseException) -> str:
    """The functions of the tool that an exception came through at last."""
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join([one.name for one in frames if one.filename == mt.__file__][-3:])


class Rehearsed:
    """A scene whose undisturbed run is known."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        stage.act()  # imports, and what programs say
        stage.reset()
        self.before = stage.state()
        recorder = Breaker()
        self.code = stage.act(recorder).code
        self.calls, self.good = recorder.calls, stage.state()
        again = stage.act().code
        assert (again, stage.state()) == (self.code, self.good), "a second run changes something"
        self.healed: Set[Any] = set()

    def disturbed(self, trial: Trial) -> Disturbed:
        """The run with a failure."""
        self.stage.reset()
        breaker, ran, escaped = Breaker(trial), None, ""
        try:
            ran = self.stage.act(breaker)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            escaped = f"{type(error).__name__} of {innermost(error)}"
        call = breaker.broken or Call("nothing", str(self.stage.root))
        state = self.stage.state()
        return Disturbed(trial, call, self.calls, ran, escaped, state, self.code)

    def judged(self, trial: Trial) -> Tuple[Disturbed, List[str]]:
        """The run with a failure, and all that was wrong with it and with the next, undisturbed one."""
        done = self.disturbed(trial)
        found = complaints(done, self.before, self.good, self.stage.root)
        key = self._left()
        if key not in self.healed:  # what is left is told once
            self.healed.add(key)
            found += self._unhealed()
        return done, found

    def _left(self) -> Any:
        """What a failure left, without the times of files that are new."""
        old, parts = self.stage.before, []
        for name, kept in picture(self.stage.root).items():
            value = state_of({name: kept})
            is_old = name in old and old[name].mtime == kept.mtime
            parts += [
                (PART.sub(".part", one), repr(content), is_old) for one, content in value.items()
            ]
        return frozenset(parts)

    def _unhealed(self) -> Iterator[str]:
        """What the next, undisturbed run does not put right."""
        try:
            ran, state = self.stage.act(), self.stage.state()
        except Exception as error:
            yield f"the next run dies: {type(error).__name__} of {innermost(error)}"
            return
        if ran.code != self.code:
            yield f"the next run ends in {ran.code}: {(ran.stderr or ran.stdout).strip()}"
        parts = [name for name in state if PART.search(name)]
        if parts:
            yield f"left for ever: {PART.sub('.part', ', '.join(parts))}"
        differ = [name for name in differing(state, self.good) if name not in parts]
        if self.stage.sends and arrived(state):
            return  # what had arrived before it failed keeps its sequence
        for name in differ:
            yield f"not healed: {name}{difference(state.get(name), self.good.get(name))}"


def rotating(calls: int, start: int = 0) -> Iterator[Trial]:
    """Each call once, the error numbers in turn; every second one from then on."""
    for number in range(calls):
        turn = number + start
        yield Trial(number, ERRORS[turn % len(ERRORS)], turn // len(ERRORS) % 2 == 1)


def every_one(calls: int) -> Iterator[Trial]:
    """Each call with each error number, once and from then on."""
    for number in range(calls):
        for error in ERRORS:
            yield Trial(number, error, False)
            yield Trial(number, error, True)


def described(done: Disturbed, root: Path, wrong: str) -> str:
    """A complaint, so that it can be repeated."""
    where = PART.sub(".part", os.path.relpath(done.call.path, str(root)))
    return f"{done.trial}: {done.call.name} {where}: {wrong}"


def violations(name: str, folder: Any, trials: Any = rotating) -> Tuple[int, List[str]]:
    """(how many trials of a scene there were, what was wrong)."""
    found: List[str] = []
    count = 0
    with Stage(SCENES[name], folder) as stage:
        rehearsed = Rehearsed(stage)
        for trial in trials(len(rehearsed.calls)):
            done, wrong = rehearsed.judged(trial)
            count += 1
            found += [described(done, stage.root, line) for line in wrong]
    return count, found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("scenes", nargs="*", help=", ".join(SCENES))
    parser.add_argument("--all", action="store_true", help="every error number, both ways")
    parser.add_argument("--call", type=int, help="the number of one call, with what was printed")
    parser.add_argument("--error", default="EIO")
    parser.add_argument("--onwards", action="store_true")
    asked = parser.parse_args()
    total, failed = 0, 0
    for name in asked.scenes or SCENES:
        with tempfile.TemporaryDirectory(prefix="failing-") as folder:
            if asked.call is not None:
                with Stage(SCENES[name], folder) as stage:
                    trial = Trial(asked.call, getattr(errno, asked.error), asked.onwards)
                    done, wrong = Rehearsed(stage).judged(trial)
                    print(*[described(done, stage.root, line) for line in wrong], sep="\n")
                    print(done.escaped or done.ran)
                continue
            start = time.monotonic()
            count, found = violations(name, folder, every_one if asked.all else rotating)
        total, failed = total + count, failed + len(found)
        print(f"{name}: {count} runs, {len(found)} violations, {time.monotonic() - start:.1f} s")
        print("".join(f"    {line}\n" for line in found), end="", flush=True)
    print(f"{total} runs, {failed} violations")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
