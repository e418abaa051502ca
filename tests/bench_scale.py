"""Parts of bench.py: how a run grows with its images, and which ways of copying pay."""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

from bench import Contestant, Run, make_drive, measured, run, skipped, table, uploads

BASE = 300  # images of the run that is taken off: what every run costs, however small


# ---- Growth


def part_scale(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """process of so many small images, the same again, status and report."""
    images, size = numbers
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
        base = Path(name)
        small = {word: took.seconds for word, took in _scale(args, base / "few", BASE, size)}
        large = _scale(args, base / "many", images, size)
    print(
        f"\nscale, {images} images of {size} bytes; {BASE} of them are taken off for the time an image"
    )
    for word, took in large:
        each = (took.seconds - small[word]) / (images - BASE) * 1000
        print(
            f"  {word:<14}{took.seconds:>9.2f} s{each:>9.3f} ms an image"
            f"{took.cpu:>9.2f} s of processors{took.megabytes:>7.0f} MB"
        )


def _scale(args: argparse.Namespace, base: Path, images: int, size: int) -> List[Tuple[str, Run]]:
    """What runs over one folder took, one after the other."""
    work = base / "work"
    track = make_drive(work, images, size, position=False)
    tool, where = [args.python, args.tool], ["--import_path", work]
    positions = ["--advanced", "--geotag_source", "gpx", "--geotag_source_path", track]
    process = [*tool, "process", *where, "--user_name", "bench", "--json", *positions]
    page = ["--output_path", base / "report.html"]
    if hasattr(os, "sync"):
        os.sync()
    return [
        ("process", run(process)),
        ("process again", run(process)),
        ("status", run([*tool, "status", *where])),
        ("report", run([*tool, "report", *where, *page])),
    ]


# ---- Copies

COPIER = """
import os, sys
folder, way, group = sys.argv[1], sys.argv[2], int(sys.argv[3])
names = sorted(name for name in os.listdir(folder) if name.endswith(".jpg"))
buffer = memoryview(bytearray(1 << 17))
def rest(old, new, at, size):
    if "sendfile" in way:
        while at < size:
            at += os.sendfile(new, old, at, size - at)
    elif "copy_file_range" in way:
        while at < size:
            at += os.copy_file_range(old, new, size - at, at)
    elif "1 MB" in way:
        for piece in iter(lambda: os.read(old, 1 << 20), b""):
            os.write(new, piece)
    else:
        for count in iter(lambda: os.readv(old, [buffer]), 0):
            os.write(new, buffer[:count])
def part(name):
    return os.path.join(folder, name + ".part")
def written(name):
    old = os.open(os.path.join(folder, name), os.O_RDONLY)
    size = os.fstat(old).st_size
    new = os.open(part(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    if "fallocate" in way:
        os.posix_fallocate(new, 0, size + 700)
    head = os.read(old, 5000)
    os.write(new, head + bytes(700))
    rest(old, new, len(head), size)
    os.close(old)
    if "hastened" in way:
        os.posix_fadvise(new, 0, 0, os.POSIX_FADV_DONTNEED)
    return new
def all_of(mine):
    for first in range(0, len(mine), group):
        some = mine[first:first + group]
        for new in [written(name) for name in some]:
            os.fsync(new)
            os.close(new)
        for name in some:
            os.replace(part(name), os.path.join(folder, name))
ends = []
for first in range(2):
    ends.append(os.fork())
    if not ends[-1]:
        all_of(names[first::2])
        os._exit(0)
for end in ends:
    os.waitpid(end, 0)
"""  # folder, the way, images that are flushed together; in two processes


def part_copies(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """Ways to replace an image by a changed copy that is on disk, without the tool."""
    images, size = numbers
    if not hasattr(os, "fork"):
        return skipped("copies", "this system does not fork")
    ways: List[Tuple[str, int]] = [("pieces of 128 kB", 1), ("pieces of 128 kB", 32)]
    ways += [(way, 32) for way in ("pieces of 1 MB, hastened", "pieces of 128 kB, hastened")]
    if hasattr(os, "sendfile"):
        ways.append(("sendfile, hastened", 32))
    if hasattr(os, "copy_file_range"):
        ways.append(("copy_file_range, hastened", 32))
    ways.append(("pieces of 128 kB, fallocate, hastened", 32))
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
        master, work = Path(name) / "master", Path(name) / "work"
        make_drive(master, images, size, position=False)
        runs = measured(list(_copying(master, work, ways)), args.rounds)
    title = f"copies, {images} images of {size} bytes, two processes; ratio to the first"
    table(title, runs, next(iter(runs)), images)
    if not hasattr(os, "copy_file_range"):
        print("  copy_file_range: not in this Python")


def _copying(master: Path, work: Path, ways: Sequence[Tuple[str, int]]) -> List[Contestant]:
    def fresh() -> None:
        shutil.rmtree(str(work), ignore_errors=True)
        shutil.copytree(str(master), str(work))
        os.sync()

    def copier(way: str, group: int) -> Callable[[], Run]:
        return lambda: run([sys.executable, "-I", "-S", "-c", COPIER, work, way, group])

    return [
        Contestant(f"{way}, {group} at a time", copier(way, group), before=fresh)
        for way, group in ways
    ]


# ---- Threads of upload


def part_threads(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """upload with one thread and with several, at 100 ms a request."""
    images, size, threads = numbers
    found: Dict[int, float] = {}
    for count in (1, threads):
        with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
            only: Any = argparse.Namespace(**{**vars(args), "threads": count, "official": None})
            found[count] = uploads(only, Path(name), images, size, 100.0)["upload"]
    ratio = found[1] / found[threads]
    print(f"  {threads} threads are {ratio:.1f} times as fast as one")
