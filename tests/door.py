"""The one door through which a run reaches files below a folder: every call is seen, and may be made to fail.

    with Door(folder, watcher):
        mapillary_tools.main([...])

`watcher.before(call)` may raise what the system would; `watcher.after(call, result)` sees what was done. Calls come one at a
time, whatever the threads. Nothing is flushed for real, since the disk of the tests is never cut off; but it is told.
Files elsewhere are left alone.
"""

import builtins
import io
import json
import os
import threading
import weakref
from contextlib import ExitStack
from typing import Any, Callable, Dict, List, NamedTuple, Optional
from unittest import mock

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore

# Functions of the module os by the path that is their first argument; of two paths the second one is the target.
BY_PATH = (
    ["stat", "lstat", "listdir", "scandir", "mkdir", "rmdir", "unlink", "remove"]
    + ["chmod", "chown", "utime", "truncate", "access", "readlink", "statvfs"]
    + ["listxattr", "getxattr", "setxattr"]
)
BY_TWO = ["replace", "rename", "link", "symlink"]
BY_HANDLE = ["fsync", "fdatasync", "fstat", "fchmod", "fchown", "ftruncate", "write", "read"]
FLUSHES = ("fsync", "fdatasync")
CHANGES = ("open+", "write", "truncate", "fsync", "fdatasync", "rename", "replace", "unlink")
CHANGES += ("remove", "mkdir", "rmdir", "utime", "link", "symlink", "ftruncate")


class Call(NamedTuple):
    """One call: "open+" is an open that may change the file; the name of a file object's call is that of the system."""

    name: str
    path: str
    to: str = ""  # the second path of a rename
    handle: int = -1
    data: bytes = b""  # what is written
    size: int = 0  # where it is written, or how long the file becomes
    flags: int = 0  # of an open


class Watcher:
    """Sees every call; this one lets all of them pass."""

    def before(self, call: Call) -> None:
        """May raise in place of the call; of a write half is done then."""

    def after(self, call: Call, result: Any) -> None:
        """The call was done, and this came of it."""


class Door:
    """A context manager; while it is open, calls about files below `root` go through it."""

    def __init__(self, root: Any, watcher: Watcher) -> None:
        self.root, self.watcher = os.path.realpath(str(root)), watcher
        self.handles: Dict[int, str] = {}  # open files and folders -> their paths
        self.lock = threading.RLock()
        self._stack = ExitStack()
        self.open = io.open  # the plain one

    def path_of(self, path: Any) -> Optional[str]:
        """The path below the root that is meant, None for any other."""
        if isinstance(path, int):
            return self.handles.get(path)
        try:
            found = os.path.abspath(os.fsdecode(path))
        except TypeError:
            return None
        return found if (found + os.sep).startswith(self.root + os.sep) else None

    def passing(self, call: Call, plain: Callable[[], Any]) -> Any:
        """Do one call, in its turn."""
        with self.lock:
            self.watcher.before(call)
            result = plain()
            self.watcher.after(call, result)
            return result

    def __enter__(self) -> "Door":
        for name in BY_PATH + BY_TWO + BY_HANDLE:
            if hasattr(os, name):
                self._put(os, name, self._watched(name, getattr(os, name)))
        self._put(os, "open", self._os_open(os.open))
        self._put(io, "FileIO", self._file_class())
        self._put(io, "open", self._opening)
        self._put(builtins, "open", self._opening)
        if fcntl is not None:
            self._put(fcntl, "flock", self._watched("flock", fcntl.flock))
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def _put(self, place: Any, name: str, function: Any) -> None:
        self._stack.enter_context(mock.patch.object(place, name, function))

    def _watched(self, name: str, plain: Any) -> Any:
        def watched(path: Any, *rest: Any, **more: Any) -> Any:
            where = self.path_of(path)
            if where is None:
                return plain(path, *rest, **more)
            to = os.path.abspath(os.fsdecode(rest[0])) if name in BY_TWO else ""
            handle = path if isinstance(path, int) else -1
            data = bytes(rest[0]) if name == "write" else b""
            size = rest[0] if name in ("truncate", "ftruncate") else 0
            doing = (lambda: None) if name in FLUSHES else lambda: plain(path, *rest, **more)
            return self.passing(Call(name, where, to, handle, data, size), doing)

        return watched

    def _os_open(self, plain: Any) -> Any:
        def opening(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            where = self.path_of(path)
            if where is None:
                handle = plain(path, flags, *rest, **more)
                self.handles.pop(handle, None)
                return handle

            def doing() -> int:
                handle = plain(path, flags, *rest, **more)
                self.handles[handle] = where
                return handle

            name = "open+" if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else "open"
            return self.passing(Call(name, where, flags=flags), doing)

        return opening

    def _file_class(door) -> Any:  # noqa: N805 - `self` is the file
        class Watched(io.FileIO):
            """A file whose reads and writes go through the door."""

            def __init__(
                self, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None
            ) -> None:
                init, self.seen = super().__init__, door.path_of(file)
                plain = file if isinstance(file, int) or opener is None else None
                if self.seen is None or plain is None or isinstance(file, int):
                    init(file, mode, closefd, opener)  # an opener goes through the door itself
                else:
                    name = "open" if mode.strip("b") == "r" else "open+"
                    flags = {"w": os.O_TRUNC | os.O_CREAT, "a": os.O_CREAT, "x": os.O_CREAT}
                    call = Call(name, self.seen, flags=flags.get(mode.strip("b+"), 0))
                    door.passing(call, lambda: init(file, mode, closefd) or self.note())

            def note(self) -> int:
                door.handles[self.fileno()] = str(self.seen)
                return self.fileno()

            def _do(self, name: str, plain: Any, **more: Any) -> Any:
                if self.seen is None:
                    return plain()
                return door.passing(Call(name, self.seen, handle=self.fileno(), **more), plain)

            def readinto(self, buffer: Any) -> Any:
                return self._do("read", lambda: plain_readinto(self, buffer))

            def readall(self) -> Any:
                return self._do("read", lambda: plain_readall(self))

            def read(self, size: int = -1) -> Any:
                return self._do("read", lambda: plain_read(self, size))

            def truncate(self, size: Any = None) -> Any:
                length = self.tell() if size is None else size
                return self._do("truncate", lambda: plain_truncate(self, size), size=length)

            def write(self, data: Any) -> Any:
                whole = bytes(data)
                at = os.fstat(self.fileno()).st_size if "a" in self.mode else self.tell()
                try:
                    return self._do("write", lambda: plain_write(self, data), data=whole, size=at)
                except OSError:
                    if self.seen is not None:
                        plain_write(self, whole[: len(whole) // 2])
                    raise

        kind = io.FileIO
        plain_readinto, plain_readall, plain_read = kind.readinto, kind.readall, kind.read
        plain_truncate, plain_write = kind.truncate, kind.write
        return Watched

    def _opening(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: Any = None,
        errors: Any = None,
        newline: Any = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        """open() for files below the root, from the same parts as the plain one."""
        if self.path_of(file) is None:
            return self.open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = io.FileIO(file, mode.replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        kind: Any = io.BufferedReader
        if "+" in mode:
            kind = io.BufferedRandom
        elif "r" not in mode:
            kind = io.BufferedWriter
        stream = kind(raw)
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)


# ---- a folder as it is -------------------------------------------------------------------------


class Kept(NamedTuple):
    """A file or folder as it was: None = a folder."""

    content: Optional[bytes]
    mtime: int  # ns


def picture(root: Any) -> Dict[str, Kept]:
    """Everything below a folder, by relative path; folders come before what is in them."""
    found: Dict[str, Kept] = {}
    for place, folders, files in os.walk(str(root)):
        for name in sorted(folders):
            path = os.path.join(place, name)
            found[os.path.relpath(path, str(root))] = Kept(None, 0)
        for name in sorted(files):
            path = os.path.join(place, name)
            with open(path, "rb") as stream:
                kept = Kept(stream.read(), os.stat(path).st_mtime_ns)
            found[os.path.relpath(path, str(root))] = kept
    return found


# Threads that are none of a run's: those of the test runner live as long as it does.
BYSTANDERS = weakref.WeakSet(threading.enumerate())


def wait_for_helpers() -> None:
    """A stand-in may still answer a line that broke: its threads end first. Once for each that does not end."""
    for thread in set(threading.enumerate()) - set(BYSTANDERS):
        if thread.daemon and thread is not threading.current_thread():
            thread.join(5)
            if thread.is_alive():
                BYSTANDERS.add(thread)


def restore(root: Any, wanted: Dict[str, Kept]) -> None:
    """Make a folder hold exactly this; what is right already is not touched."""
    wait_for_helpers()
    here = picture(root)
    for name in reversed(list(here)):
        kept, path = here[name], os.path.join(str(root), name)
        now = wanted.get(name)
        if now is None or (now.content is None) != (kept.content is None):
            os.rmdir(path) if kept.content is None else os.unlink(path)
            del here[name]
    for name, kept in wanted.items():
        path = os.path.join(str(root), name)
        if here.get(name) == kept:
            continue
        if kept.content is None:
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.write(kept.content)
            os.utime(path, ns=(kept.mtime, kept.mtime))


def arrivals(history: bytes) -> List[Any]:
    """Which photos a history of uploads tells of, whole lines only."""
    rows = [json.loads(text) for text in history.split(b"\n")[:-1] if text.endswith(b"}")]
    return sorted({(row["picture"], row["image"]) for row in rows})


def changed(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """The names that two pictures do not agree on."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
