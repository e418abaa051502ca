"""What kill.py puts into the tool's own process: it is killed at one step, before, in the middle of, or after it.

The text of this file stands in a copy of the tool right before it begins, with `tool` = the names of the tool's module; so it
is in worker processes too: one that is forked has the rig of its parent, and begins to count anew. It goes by the environment:

    KILL_TRACE   a file: each step is added to it, as role, process, step, path
    KILL_AT      role/step/n/when/victim: at the n-th such step of such a process, "before", "middle" or "after" it;
                 the victim is "self" or "parent"
    KILL_READY   a file descriptor that gets one byte when the tool begins
    KILL_SERVE   with any value, it is a process that forks: see serve
    KILL_FEW     with any value, more than two images are worth worker processes
    KILL_SPAWN   with any value, those are spawned, as on Windows and macOS, and not forked

Workers of any kind get two images at a time. Roles are "main" and "worker". Steps are what reaches the disk, starts a
program, sends a byte or hashes a piece of a video; videos are cut into small pieces, so that one has several.
"""

import json
import os
import signal
import stat
import sys
import threading
import time
from typing import Any, Callable, Dict, Optional


VIDEO_PIECE = 1 << 14  # bytes hashed or sent at a time


def kind_of(path: str) -> str:
    """What a file is to the tool."""
    name = os.path.basename(path)
    if name == "journal.jsonl" or name == "lock":
        return name.split(".")[0]
    return "part" if name.startswith(".mapillary-") and name.endswith(".part") else "file"


def path_of(handle: int) -> str:
    """The path of an open file, "" where the system does not tell."""
    try:
        return os.readlink("/proc/self/fd/%d" % handle)
    except OSError:
        return ""


class Rig:
    """Counts the steps of this process, and kills at one."""

    def __init__(self, role: str) -> None:
        self.begin(role)
        self.hiring = False  # a worker is being started
        self.trace = os.environ.get("KILL_TRACE")
        wanted = (os.environ.get("KILL_AT") or "////").split("/")
        self.target, self.when, self.victim = wanted[:3], wanted[3], wanted[4]

    def begin(self, role: str) -> None:
        """Count from nothing."""
        self.role = role
        self.counts: Dict[str, int] = {}
        self.guard = threading.Lock()

    def step(
        self,
        name: str,
        path: str,
        act: Callable[[], Any],
        half: Optional[Callable[[], Any]] = None,
    ) -> Any:
        """Do one step, and whatever is to happen at it."""
        with self.guard:
            count = self.counts[name] = self.counts.get(name, 0) + 1
        here = [self.role, name, str(count)] == self.target
        if here and self.when != "after":
            if half is not None and self.when == "middle":
                half()
            self.kill()
        result = act()
        if self.trace:
            self.note(name, path)
        if here and self.when == "after":
            self.kill()
        return result

    def note(self, name: str, path: str) -> None:
        line = "%s\t%d\t%s\t%s\n" % (self.role, os.getpid(), name, path)
        handle = REAL["open"](str(self.trace), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.write(handle, line.encode("utf-8", "surrogateescape"))
        os.close(handle)

    def kill(self) -> None:
        if self.victim == "parent":
            os.kill(os.getppid(), signal.SIGKILL)
            return
        while True:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1)


REAL: Dict[str, Any] = {
    name: getattr(os, name) for name in ("open", "replace", "unlink", "mkdir", "rmdir", "fsync")
}


def arm(tool: Dict[str, Any]) -> None:
    """Put the rig between the tool and its system."""
    main = tool["__name__"] == "__main__"
    rig = Rig("main" if main else "worker")

    def opening(path: Any, flags: int, *args: Any, **more: Any) -> int:
        adds = flags & os.O_RDWR and kind_of(str(path)) == "journal"
        if not flags & os.O_CREAT and not adds:
            return int(REAL["open"](path, flags, *args, **more))
        name = "create " + kind_of(str(path))
        return int(rig.step(name, str(path), lambda: REAL["open"](path, flags, *args, **more)))

    def flushing(handle: int) -> None:
        path = path_of(handle)
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        rig.step(
            "flush " + ("folder" if folder else kind_of(path)), path, lambda: REAL["fsync"](handle)
        )

    def named(name: str) -> Any:
        def acting(path: Any, *args: Any, **more: Any) -> Any:
            shown = " -> ".join(map(str, (path, *args))) if name == "replace" else str(path)
            return rig.step(name, shown, lambda: REAL[name](path, *args, **more))

        return acting

    for name in ("replace", "unlink", "mkdir", "rmdir"):
        setattr(os, name, named(name))
    setattr(os, "open", opening)
    setattr(os, "fsync", flushing)

    write, start = tool["write_all"], tool["_start"]

    def writing(stream: Any, chunk: bytes) -> None:
        path = path_of(stream.fileno())
        rig.step(
            "write " + kind_of(path),
            path,
            lambda: write(stream, chunk),
            lambda: write(stream, bytes(chunk)[: len(chunk) // 2]),
        )

    def starting(argv: Any, *args: Any) -> Any:
        return rig.step("program", str(argv[0]), lambda: start(argv, *args))

    cut = tool["pieces_of"]

    def cutting(ready: Any, offset: int, *most: int) -> Any:
        if ready.md5:  # it is known, and the pieces are to be sent
            yield from cut(ready, offset, *most)
            return
        for piece in cut(ready, offset, VIDEO_PIECE):
            yield rig.step("hash", ready.path, lambda: piece)

    tool.update(write_all=writing, _start=starting, GROUP_IMAGES=2)
    tool.update(pieces_of=cutting, VIDEO_PIECE=VIDEO_PIECE)
    if os.environ.get("KILL_FEW"):
        tool.update(FORK_IMAGES=2, PROCESS_IMAGES=2)
    if os.environ.get("KILL_SPAWN"):
        tool["_way_to_start"] = lambda total: "spawn" if total > 2 else ""
    watch_workers(tool, rig)
    if os.environ.get("MAPILLARY_UPLOAD_ENDPOINT"):
        import socket

        plain = socket.socket.sendall

        def sending(sock: Any, content: Any, *flags: Any) -> Any:
            half = bytes(content)[: len(content) // 2]
            return rig.step(
                "send", "", lambda: plain(sock, content, *flags), lambda: plain(sock, half)
            )

        setattr(socket.socket, "sendall", sending)
    rig.step("begin", "", lambda: None)
    if main and os.environ.get("KILL_READY"):
        os.write(int(os.environ["KILL_READY"]), b".")


def watch_workers(tool: Dict[str, Any], rig: Rig) -> None:
    """Have a worker that is forked count for itself; other programs that are started are no workers."""
    hire = tool["_Processes"]._start

    def hiring(self: Any, *args: Any) -> Any:
        rig.hiring = True
        try:
            return hire(self, *args)
        finally:
            rig.hiring = False

    def forked() -> None:
        if rig.hiring:
            rig.begin("worker")
            rig.step("begin", "", lambda: None)

    tool["_Processes"]._start = hiring
    os.register_at_fork(after_in_child=forked)


def serve() -> None:
    """Fork for each line of standard input; comes back in the children alone, which are to be the tool."""
    while True:
        line = sys.stdin.buffer.readline()
        if not line:
            os._exit(0)
        row = json.loads(line)
        child = os.fork()
        if not child:
            break
        os.write(1, b"%d\n" % child)
        ended: Any = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        by_itself = ended.si_code == os.CLD_EXITED
        os.write(1, b"%d\n" % (ended.si_status if by_itself else -ended.si_status))
        sys.stdin.buffer.readline()  # until then its id is not given to another
        os.waitpid(child, 0)
    os.environ.clear()
    os.environ.update(row["environment"])
    sys.argv[1:] = row["words"]
    nothing, said = os.open(os.devnull, os.O_RDWR), os.open(row["said"], os.O_CREAT | os.O_WRONLY)
    for old, new in ((nothing, 0), (nothing, 1), (said, 2)):
        os.dup2(old, new)
        os.set_inheritable(new, True)
    sys.stdin = open(0, closefd=False, encoding="utf-8")


if "tool" in globals():
    if os.environ.get("KILL_SERVE"):
        serve()
    arm(globals()["tool"])
