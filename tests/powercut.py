"""A power cut at every moment of a run: what a disk may hold then, and whether the next run heals it.

    python tests/powercut.py                 # every moment of every scene; a table at the end
    python tests/powercut.py process         # of one
    python tests/powercut.py --stride 5      # every fifth moment

The changes that a run makes are taken down in their order. After each of them four kinds of disk are rebuilt:

    flushed   only flushed data, and names in flushed folders
    empty     all names; of data only what was flushed (the rest cut off)
    zeros     the same, with zeros in place of what was not flushed
    all       everything
    some      names and data that were not flushed by lot (the seed is in the message), data of one file in its order
"""

import argparse
import hashlib
import os
import random
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import making  # noqa: E402
from door import Call, Kept, Watcher, picture, restore  # noqa: E402
from failing import PART, PICTURES, difference  # noqa: E402
from scenes import SCENES, Stage, differing, rows_of, state_of, told  # noqa: E402

TOOLS = ["process, threads", "process, copies", "process, changed", "process, compacted"]
TOOLS += ["process", "process_csv", "process_csv, processed", "interpolate times"]
TOOLS += ["interpolate places", "sample_video", "sample_video, again", "upload", "restore"]
TOOLS += ["process, videos", "upload, videos", "process_and_upload, videos"]
OF_THE_FILE = ("digest", "size")  # of what was found: a photo put back has its tags elsewhere in it
KINDS = ("flushed", "empty", "zeros", "all", "some")
LOTS = 3  # disks of the kind "some" a moment
JOURNAL = os.path.join(".mapillary", "journal.jsonl")
SAFE = "received"  # what is here is a service elsewhere
FOLDER = -1  # in place of the number of a file

fstat, is_folder = os.fstat, os.path.isdir


# ---- the record --------------------------------------------------------------------------------


class Change(NamedTuple):
    """One change of the disk: of names, or of what is in a file."""

    names: Tuple[Tuple[str, Optional[int]], ...] = ()  # path -> number of the file; None = gone
    file: int = FOLDER
    at: int = 0
    data: Optional[bytes] = None  # written there; None = cut off there
    mtime: int = 0
    flush: str = ""  # "file" or the path of a folder: it is on disk now


class Recorder(Watcher):
    """Takes down what a run changes."""

    def __init__(self, root: Path, before: Dict[str, Kept]) -> None:
        self.root, self.changes = str(root), []  # type: str, List[Change]
        self.numbers: Dict[str, int] = {}
        self.opened: Dict[int, int] = {}  # handle -> number
        for name in before:
            is_file = before[name].content is not None
            self.numbers[name] = len(self.numbers) if is_file else FOLDER
        self.count = len(before)

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self.root)

    def _new(self, name: str) -> int:
        self.count += 1
        self.numbers[name] = self.count
        self.changes.append(Change(((name, self.count),), mtime=time.time_ns()))
        return self.count

    def wrote(self, path: str, content: bytes) -> None:
        """Another program wrote a file."""
        name = self._name(path)
        mtime = os.stat(path).st_mtime_ns
        self.changes.append(Change((), self._new(name), 0, content, mtime))

    def after(self, call: Call, result: Any) -> None:
        """One more call was done."""
        name, kind = self._name(call.path), call.name
        if kind in ("open", "open+"):
            known = self.numbers.get(name)
            if known is None and call.flags & os.O_CREAT:
                known = self._new(name)
            elif known is not None and call.flags & os.O_TRUNC:
                self.changes.append(Change((), known, 0, None, fstat(result).st_mtime_ns))
            self.opened[result] = FOLDER if known is None else known
        elif kind in ("write", "truncate", "ftruncate"):
            data = call.data[: int(result)] if kind == "write" else None
            mtime = fstat(call.handle).st_mtime_ns
            self.changes.append(Change((), self.opened[call.handle], call.size, data, mtime))
        elif kind == "utime":
            mtime = os.stat(call.path).st_mtime_ns
            self.changes.append(Change((), self.numbers[name], 0, b"", mtime))
        elif kind in ("fsync", "fdatasync"):
            if stat.S_ISDIR(fstat(call.handle).st_mode):
                self.changes.append(Change(flush=name))
            else:
                self.changes.append(Change((), self.opened[call.handle], flush="file"))
        elif kind in ("replace", "rename"):
            to = self._name(call.to)
            self.numbers[to] = self.numbers.pop(name)
            self.changes.append(Change(((name, None), (to, self.numbers[to]))))
        elif kind in ("unlink", "remove", "rmdir"):
            del self.numbers[name]
            self.changes.append(Change(((name, None),)))
        elif kind == "mkdir":
            self.numbers[name] = FOLDER
            self.changes.append(Change(((name, FOLDER),)))


# ---- the disk ----------------------------------------------------------------------------------

Names = Dict[str, int]


class File:
    """What a file holds, and what of it is on disk."""

    def __init__(self, content: bytes = b"", mtime: int = 0) -> None:
        self.now = self.safe = content
        self.mtime, self.waiting = mtime, []  # type: int, List[Change]

    @staticmethod
    def _with(content: bytes, change: Change) -> bytes:
        if change.data is None:
            return content[: change.at].ljust(change.at, b"\0")
        content = content.ljust(change.at, b"\0")
        return content[: change.at] + change.data + content[change.at + len(change.data) :]

    def change(self, change: Change) -> None:
        """Write, cut off or flush."""
        if change.flush:
            self.safe, self.waiting = self.now, []
            return
        self.now, self.mtime = self._with(self.now, change), change.mtime
        self.waiting.append(change)

    def by_lot(self, lot: random.Random) -> bytes:
        """What is flushed, and the first of the other changes, the last one in part."""
        content = self.safe
        count = lot.randint(0, len(self.waiting))
        for place, change in enumerate(self.waiting[:count], 1):
            if place == count and change.data and lot.random() < 0.3:
                change = change._replace(data=change.data[: lot.randint(0, len(change.data))])
            content = self._with(content, change)
        return content


class Disk:
    """All files and names as changes make them, and as they are on disk."""

    def __init__(self, before: Dict[str, Kept], recorder: Recorder) -> None:
        start = Recorder(Path(recorder.root), before).numbers
        self.files = {
            start[name]: File(kept.content, kept.mtime)
            for name, kept in before.items()
            if kept.content is not None
        }
        self.now: Names = dict(start)
        self.safe: Names = dict(start)
        self.waiting: List[Tuple[Tuple[str, Optional[int]], ...]] = []  # names not flushed

    @staticmethod
    def _put(names: Names, parts: Any) -> None:
        for path, number in parts:
            if number is None:
                names.pop(path, None)
            else:
                names[path] = number

    def change(self, change: Change) -> None:
        """Carry out one change."""
        if change.names:
            for path, number in change.names:
                if number is not None and number != FOLDER and number not in self.files:
                    self.files[number] = File(mtime=change.mtime)
            self._put(self.now, change.names)
            self.waiting.append(change.names)
            if change.names[0][0].split(os.sep)[0] == SAFE:
                self._flush(lambda path: path.split(os.sep)[0] == SAFE)
        elif change.flush and change.flush != "file":
            folder = "" if change.flush == "." else change.flush
            self._flush(lambda path: os.path.dirname(path) == folder)
        else:
            self.files[change.file].change(change)
            if any(n == change.file and p.split(os.sep)[0] == SAFE for p, n in self.now.items()):
                self.files[change.file].change(Change(flush="file"))

    def _flush(self, covers: Any) -> None:
        """Names of some folders are on disk now."""
        for parts in self.waiting:
            self._put(self.safe, [part for part in parts if covers(part[0])])
        rest = (tuple(part for part in parts if not covers(part[0])) for parts in self.waiting)
        self.waiting = [parts for parts in rest if parts]

    def held(self, kind: str, seed: int = 0) -> Dict[str, Kept]:
        """What may be found after a power cut now."""
        lot, names = (
            random.Random(seed),
            dict(self.safe if kind in ("flushed", "some") else self.now),
        )
        if kind == "some":
            for parts in self.waiting:
                if lot.random() < 0.5:
                    self._put(names, parts)
        contents: Dict[int, bytes] = {}
        found: Dict[str, Kept] = {}
        for path in sorted(names):
            folder = os.path.dirname(path)
            if folder and found.get(folder, Kept(b"", 0)).content is not None:
                continue  # the folder itself is lost
            number = names[path]
            if number == FOLDER:
                found[path] = Kept(None, 0)
                continue
            file = self.files[number]
            if number not in contents:
                contents[number] = {
                    "flushed": lambda: file.safe,
                    "empty": lambda: file.safe,
                    "zeros": lambda: file.safe[: len(file.now)].ljust(len(file.now), b"\0"),
                    "all": lambda: file.now,
                    "some": lambda: file.by_lot(lot),
                }[kind]()
            found[path] = Kept(contents[number], file.mtime)
        return found


# ---- what must hold ----------------------------------------------------------------------------


def exif_digest(content: Optional[bytes]) -> Optional[str]:
    """The name by which the journal knows an Exif block."""
    try:
        block = making.exif_block(content or b"")
    except (ValueError, IndexError):
        return None
    return None if block is None else hashlib.sha1(block).hexdigest()[:16]


class Judge:
    """What must hold of a disk after a power cut, before the next run."""

    def __init__(self, before: Dict[str, Kept], good: Dict[str, Kept]) -> None:
        self.before, self.good = before, good
        self.told = told(self._content(good, os.path.join("p", JOURNAL)) or b"")

    @staticmethod
    def _content(kept: Dict[str, Kept], name: str) -> Optional[bytes]:
        return kept[name].content if name in kept else None

    def violations(self, disk: Dict[str, Kept]) -> Iterator[str]:
        """All that is wrong."""
        for name in {*self.before, *disk}:
            place, base = os.path.split(name)
            if place == "p" and base.endswith(PICTURES) and not PART.search(base):
                content = self._content(disk, name)
                old, new = self._content(self.before, name), self._content(self.good, name)
                frame = base.startswith("ride_")
                if content is None and name in self.before and not frame:
                    yield f"{name} is lost"
                elif content is not None and content not in (old, new):
                    yield f"{name} is neither old nor new"
        rows = rows_of(self._content(disk, os.path.join("p", JOURNAL)) or b"")
        yield from self._ahead(disk, rows)
        yield from self._behind(disk, rows)

    def _ahead(self, disk: Dict[str, Kept], rows: List[Dict[str, Any]]) -> Iterator[str]:
        """Whether the journal tells of something that is not on the disk."""
        last = {row["image"]: row for row in rows if "image" in row}
        for base, row in last.items():
            name = os.path.join("p", base)
            new = exif_digest(self._content(self.good, name))
            is_told = "written" in row and row["written"].get("digest") == new
            if is_told and exif_digest(self._content(disk, name)) != new:
                yield f"{name} is told as written, and is not"
        samplings = [row["sampling"] for row in rows if "sampling" in row]
        done = (
            bool(samplings) and "done" in samplings[-1]
        )  # else old frames may be on their way out
        for base in samplings[-2]["frames"] if done else ():
            name = os.path.join("p", base)
            old, new = self._content(self.before, name), self._content(self.good, name)
            if self._content(disk, name) not in ({old, new} - {None}):
                yield f"{name} is told as sampled, and is not whole"
        for sent in (row["upload"] for row in rows if "upload" in row):
            name = os.path.join(SAFE, str(sent.get("key")))
            if sent["status"] == "sent" and name not in disk:
                yield f"{sent['image']} is told as sent, and is not"

    def _behind(self, disk: Dict[str, Kept], rows: List[Dict[str, Any]]) -> Iterator[str]:
        """Whether a photo was changed before the journal told what it carried."""
        found = {row["image"]: carried(row) for row in rows if "image" in row}
        for key, row in self.told.items():
            name = os.path.join("p", key[1])
            content = self._content(disk, name)
            is_new = content is not None and content != self._content(self.before, name)
            if key[0] == "image" and is_new and not key[1].startswith("ride_"):
                if found.get(key[1]) != carried(row):
                    yield f"{name} is changed, and what it carried is not told"


def carried(row: Dict[str, Any]) -> Dict[str, Any]:
    """What a photo carried before us, by its line."""
    return {name: value for name, value in row["found"].items() if name not in OF_THE_FILE}


class Tally(NamedTuple):
    """Figures of one kind of disk."""

    moments: int = 0
    disks: int = 0  # that differ
    wrong: int = 0  # something was torn, lost or untrue
    healed: int = 0


def cut_everywhere(
    name: str, folder: Any, stride: int = 1, seed: int = 1
) -> Tuple[Dict[str, Tally], List[str]]:
    """(figures by kind of disk, what was wrong) of a scene, cut at every stride-th change."""
    tallies = {kind: Tally() for kind in KINDS}
    wrong: List[str] = []
    with Stage(SCENES[name], folder) as stage:
        stage.act()
        stage.reset()
        recorder = Recorder(stage.root, stage.before)
        stage.programs.wrote = recorder.wrote
        code = stage.act(recorder).code
        stage.programs.wrote = lambda path, content: None
        after = picture(stage.root)
        good = state_of(after)
        judge, disk = Judge(stage.before, after), Disk(stage.before, recorder)
        seen: Dict[Any, bool] = {}
        for moment, change in enumerate([Change(flush="file")] + recorder.changes):
            if moment:
                disk.change(change)
            if moment % stride and moment != len(recorder.changes):
                continue
            for kind, lot in [(kind, 0) for kind in KINDS[:-1]] + [
                ("some", n) for n in range(LOTS)
            ]:
                number = seed * 1000003 + moment * LOTS + lot
                held = disk.held(kind, number)
                key, tally = frozenset(held.items()), tallies[kind]
                fresh = key not in seen
                found = list(judge.violations(held)) if fresh else []
                if fresh:
                    healing = list(unhealed(stage, held, good, code))
                    seen[key] = not healing
                    where = f"moment {moment}, {kind}" + f" (seed {number})" * (kind == "some")
                    what = described(recorder.changes, moment)
                    wrong += [f"{where}, after {what}: {line}" for line in found + healing]
                tallies[kind] = Tally(
                    tally.moments + (lot == 0),
                    tally.disks + fresh,
                    tally.wrong + bool(found),
                    tally.healed + (fresh and seen[key]),
                )
    return tallies, wrong


def unhealed(stage: Stage, held: Dict[str, Kept], good: Dict[str, Any], code: int) -> Iterator[str]:
    """What the next, undisturbed run does not put right."""
    restore(stage.root, held)
    try:
        ran = stage.act()
    except Exception as error:
        yield f"the next run dies of {type(error).__name__}: {error}"
        return
    state = state_of(picture(stage.root))
    if ran.code != code:
        yield f"the next run ends in {ran.code}: {(ran.stderr or ran.stdout).strip()}"
    for name in differing(state, good):
        yield f"not healed: {PART.sub('.part', name)}{difference(state.get(name), good.get(name))}"


def described(changes: List[Change], moment: int) -> str:
    """The last change before a moment, in words."""
    if not moment:
        return "nothing"
    change = changes[moment - 1]
    if change.names:
        return " ".join(
            f"{PART.sub('.part', p)}={'gone' if n is None else n}" for p, n in change.names
        )
    if change.flush:
        return "flush of " + (f"file {change.file}" if change.flush == "file" else change.flush)
    return f"a write to file {change.file}"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("scenes", nargs="*", help=", ".join(TOOLS))
    parser.add_argument("--stride", type=int, default=1, help="every so many moments")
    parser.add_argument("--seed", type=int, default=1, help="of the disks by lot")
    asked = parser.parse_args()
    table, failed = [], 0
    for name in asked.scenes or [name for name in TOOLS if name in SCENES]:
        with tempfile.TemporaryDirectory(prefix="powercut-") as folder:
            start = time.monotonic()
            tallies, wrong = cut_everywhere(name, folder, asked.stride, asked.seed)
        print(f"{name}: {len(wrong)} violations, {time.monotonic() - start:.1f} s")
        print("".join(f"    {line}\n" for line in wrong), end="", flush=True)
        table += [(name, kind, tally) for kind, tally in tallies.items()]
        failed += len(wrong)
    print(f"\n{'tool':24}{'disk':10}{'moments':>9}{'disks':>8}{'wrong':>8}{'healed':>8}")
    for name, kind, tally in table:
        print(f"{name:24}{kind:10}" + "".join(f"{n:>{w}}" for n, w in zip(tally, (9, 8, 8, 8))))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
