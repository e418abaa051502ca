"""What kill.py starts: the tool with the rig in it, one run of it that may be killed, and the processes that are left."""

import contextlib
import itertools
import json
import os
import py_compile
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
BEGIN = '\nif __name__ == "__main__":\n    _prepare()\n'  # from here on the tool runs
ORPHAN_S = 2.0  # seconds that a worker may outlive its parent
HANGS_S, HUNG = 120.0, -1000  # seconds after which a run counts as hanging; its code then


class Kill(NamedTuple):
    """Where a run is to be killed: at a step, or seconds after it has begun."""

    step: str = ""  # role/step/n/when/victim, as kill_rig.py has it
    seconds: float = 0.0
    victim: str = "self"  # of a moment: "self", or "worker"

    def __str__(self) -> str:
        return self.step or "%.4f s/%s" % (self.seconds, self.victim)


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    text: str  # what it said on standard error
    seconds: float  # since it began
    killed: bool  # it, or a worker of it


class Tool:
    """A copy of the tool with the rig in it; `change` breaks it on purpose: (what, by what)."""

    def __init__(self, folder: Path, change: Sequence[Tuple[str, str]] = ()) -> None:
        text = (ROOT / "mapillary_tools.py").read_text("utf-8")
        for old, new in ((BEGIN, self._rigged()), *change):
            if text.count(old) != 1:
                raise ValueError("it stands %d times in the tool: %s" % (text.count(old), old))
            text = text.replace(old, new)
        self.folder = folder
        folder.mkdir(parents=True)
        source, self.path = folder / "source.py", folder / "mapillary_tools.pyc"
        source.write_text(text, "utf-8")
        shutil.copytree(str(ROOT / "vendor"), str(folder / "vendor"))
        py_compile.compile(str(source), str(self.path), doraise=True)
        self.stable = Stable(self.path)

    def close(self) -> None:
        self.stable.close()

    @staticmethod
    def _rigged() -> str:
        rig = (TESTS / "kill_rig.py").read_text("utf-8")
        return "\nexec(compile(%r, 'kill_rig.py', 'exec'), {'tool': globals()})\n%s" % (rig, BEGIN)

    def argv(self, words: List[str]) -> List[str]:
        return [sys.executable, "-I", "-S", str(self.path), *words]

    def prepare(self, field: Path) -> Any:
        """A function that runs a command on a field before all."""

        def run(command: str, *words: str) -> None:
            ended = Child(self, words_of(" ".join([command, *words]), field), clean(), None).run()
            if ended.code:
                raise RuntimeError("%s: %d, %s" % (command, ended.code, ended.text))

        return run


def words_of(command: str, field: Path) -> List[str]:
    """A command on a field as the words of a command line."""
    return [word.replace("{}", str(field)) for word in shlex.split(command)]


def clean() -> Dict[str, str]:
    """The environment without what changes the tool."""
    ours = ("KILL_", "MAPILLARY_", "NUMBER_THREADS", "MAX_ATTEMPTS")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    return dict(kept, HOME="nowhere", NUMBER_THREADS="3", no_proxy="127.0.0.1")


# ---- processes


def processes(mark: str) -> Iterator[Tuple[int, int, bytes]]:
    """(id, id of the parent, command line) of each living process with a mark in its environment."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            place = Path("/proc", name)
            if mark.encode() not in (place / "environ").read_bytes():
                continue
            row = (place / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            if row[0] != "Z":
                yield int(name), int(row[1]), (place / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended, or is not ours


def outlived(mark: str, since: float, most: float) -> float:
    """Seconds until no process with a mark was left, 0 if none is; those that live longer than `most` are ended."""
    now = 0.0
    while True:
        left = list(processes(mark))
        if not left:
            return now
        now = time.monotonic() - since
        if now > most:
            # what tidies up behind them ends with them
            for one in (one for one, _, line in left if b"resource_tracker" not in line):
                with contextlib.suppress(OSError):
                    os.kill(one, signal.SIGKILL)
            return now
        time.sleep(0.02)


class Stable:
    """Processes that have read the tool, and fork for each run: many times as fast as to start it."""

    def __init__(self, path: Path) -> None:
        self.path, self.idle, self.all = path, [], []  # type: Path, List[Any], List[Any]
        self.guard = threading.Lock()

    def take(self) -> Any:
        """One that has nothing to do."""
        with self.guard:
            if self.idle:
                return self.idle.pop()
            one = subprocess.Popen(
                [sys.executable, "-I", "-S", str(self.path)],
                env=dict(clean(), KILL_SERVE="1"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
            self.all.append(one)
            return one

    def give_back(self, one: Any) -> None:
        with self.guard:
            self.idle.append(one)

    def close(self) -> None:
        for one in self.all:
            one.kill()
            one.communicate()


class Child:
    """One run of the tool, killed or not: forked, or started where it has workers of its own."""

    numbers = itertools.count()

    def __init__(
        self, tool: Tool, words: List[str], environment: Dict[str, str], kill: Optional[Kill]
    ) -> None:
        name, value = "KILL_CASE", "%d-%d-" % (os.getpid(), next(self.numbers))
        self.mark, self.kill = name + "=" + value, kill
        own = dict(environment, **{name: value})
        if kill is not None and kill.step:
            own["KILL_AT"] = kill.step
        self.said = tool.folder / ("said-" + value)
        self.stable, self.mother = tool.stable, None  # type: Any, Any
        if "KILL_FEW" in environment:
            self._start(tool.argv(words), own)
        else:
            self._fork(words, own)
        self.begun = self.ended = time.monotonic()

    def _start(self, argv: List[str], environment: Dict[str, str]) -> None:
        ready, told = os.pipe()
        try:
            with self.said.open("wb") as said:
                self.process = subprocess.Popen(
                    argv,
                    env=dict(environment, KILL_READY=str(told)),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    pass_fds=[told],
                )
        finally:
            os.close(told)
        os.read(ready, 1)  # nothing, where it ended before it began
        os.close(ready)
        self.pid = self.process.pid

    def _fork(self, words: List[str], environment: Dict[str, str]) -> None:
        self.mother = self.stable.take()
        row = {"words": words, "environment": environment, "said": str(self.said)}
        self.mother.stdin.write(json.dumps(row).encode("ascii") + b"\n")
        self.pid = int(self.mother.stdout.readline())

    def wait(self, seconds: float) -> Optional[int]:
        """Its code as soon as it has ended, None if that is not in time."""
        if self.mother is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(max(0.0, seconds))
            return None
        if not select.select([self.mother.stdout], [], [], max(0.0, seconds))[0]:
            return None
        return int(self.mother.stdout.readline())

    def run(self) -> Ended:
        """Wait for its end, or bring it about."""
        reached, code = False, None  # type: bool, Optional[int]
        if self.kill is not None and not self.kill.step:
            code = self.wait(self.kill.seconds)
            reached = code is None and self._strike()
        if code is None:
            code = self.wait(HANGS_S)
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait(HANGS_S)
            code = HUNG
        self.ended = time.monotonic()
        if self.mother is not None:
            self.mother.stdin.write(b"\n")  # only now is its id free
            self.stable.give_back(self.mother)
        text = self.said.read_bytes().decode("utf-8", "replace") if self.said.exists() else ""
        with contextlib.suppress(FileNotFoundError):
            self.said.unlink()
        killed = reached or code == -signal.SIGKILL
        return Ended(code, text, self.ended - self.begun, killed)

    def _strike(self) -> bool:
        """Kill it, or one of its workers; whether it was a worker."""
        assert self.kill is not None
        if self.kill.victim == "self":
            os.kill(self.pid, signal.SIGKILL)
            return False
        for one, parent, line in processes(self.mark):
            if parent == self.pid and b"resource_tracker" not in line:
                with contextlib.suppress(OSError):
                    os.kill(one, signal.SIGKILL)
                    return True
        return False
