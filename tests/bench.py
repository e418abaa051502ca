#!/usr/bin/env python3
"""Measures the tool beside others, on files of its own making, everything to be compared in one run and in turns.

    python tests/bench.py                                     every part, small: about a minute
    python tests/bench.py process 300 3000000                 one part with its numbers: 300 images of 3,000,000 bytes
    python tests/bench.py --full                              the figures of the notes: takes long, needs 3 GB
    python tests/bench.py --official path/to/mapillary_tools process upload

Parts (what the numbers after their name mean):
    start                  --version, against an interpreter that imports the same standard modules
    process IMAGES BYTES   process, against a plain copy-and-replace, gpscorrelate, exiftool and the official package
    upload IMAGES BYTES    upload, against the official package, to a service on this computer with --latency
    tracks POINTS          read_track of a GPX, against gpxpy
    sequence IMAGES        sequences in memory
    journal IMAGES         loading the journal of a folder
    history PHOTOS         the history of uploads: loading it, and a photo in it and one that is not
    videos MB SECONDS      a whole video: its md5, its first byte, sending it, against a plain copy, and the official package
    exif                   load + dump + insert of vendor/piexif, against the published package
    scale IMAGES BYTES     process, the same again, status and report; the time an image, and memory
    copies IMAGES BYTES    ways to replace images by changed copies that are on disk, without the tool
    threads IMAGES BYTES N upload with one thread and with N, at 100 ms a request

What is not installed is left out and named. Time is wall time, the median of --rounds; memory is the largest resident size
of any process of the command, processor time that of all of them. Every run starts from a fresh copy that is on disk (sync)
and in the page cache.
"""

import argparse
import importlib
import importlib.util
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import making

HERE = Path(__file__).resolve().parent
QUICK: Dict[str, Tuple[int, ...]] = {
    "start": (),
    "process": (30, 100000),
    "upload": (40, 20000),
    "tracks": (10000,),
    "sequence": (10000,),
    "journal": (10000,),
    "history": (1000000,),
    "videos": (200, 60),
    "exif": (),
    "scale": (1000, 6000),
    "copies": (60, 3000000),
    "threads": (30, 20000, 16),
}
FULL: Dict[str, List[Tuple[int, ...]]] = {
    "start": [()],
    "process": [(300, 3000000), (10000, 100000)],
    "upload": [(300, 1000000)],
    "tracks": [(100000,)],
    "sequence": [(100000,)],
    "journal": [(100000,)],
    "history": [(1000000,)],
    "videos": [(2000, 3600)],
    "exif": [()],
    "scale": [(1000, 6000), (10000, 6000), (100000, 6000)],
    "copies": [(300, 3000000), (3000, 100000)],
    "threads": [(300, 1000000, 16)],
}
IMPORTS = "import argparse, dataclasses, json, logging, pathlib, subprocess, typing"
START = 1714979289  # 2024-05-06 07:08:09 UTC


# ---- Running and measuring


class Run(NamedTuple):
    """What one run of a command took."""

    seconds: float
    megabytes: float  # 0: not known here
    code: int
    output: str
    cpu: float = 0.0  # seconds of processors, of it and what it started, user and system


LAUNCHER = """
import os, sys, time
start = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - start
code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
with open(int(sys.argv[1]), "w") as stream:
    print(seconds, usage.ru_maxrss, code, usage.ru_utime + usage.ru_stime, file=stream)
"""  # a command inherits the memory mark of the process that starts it: so a small one does, and it also takes the time


def run(command: Sequence[Any], extra: Optional[Dict[str, str]] = None) -> Run:
    """Runs a command to its end; standard output is kept, standard error is shown when it fails."""
    words = [str(part) for part in command]
    environment = {**os.environ, "TZ": "UTC", **(extra or {})}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if hasattr(os, "posix_spawnp") and hasattr(os, "wait4"):
            reading, writing = os.pipe()
            launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(writing), *words]
            done = subprocess.run(
                launch,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                pass_fds=[writing],
                check=False,
            )
            os.close(writing)
            with open(reading, encoding="utf-8") as stream:
                figures = stream.read().split() or ["0", "0", str(done.returncode), "0"]
            seconds, memory, code = float(figures[0]), float(figures[1]), int(figures[2])
            cpu = float(figures[3])
            memory /= 1048576 if sys.platform == "darwin" else 1024
        else:
            start = time.perf_counter()
            code = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                check=False,
            ).returncode
            seconds, memory, cpu = time.perf_counter() - start, 0.0, 0.0
        out.seek(0)
        err.seek(0)
        output = out.read().decode("utf-8", "replace")
        if code:
            tail = (err.read().decode("utf-8", "replace") or output)[-600:].strip()
            print(f"  ! exit code {code}: {' '.join(words)[:200]}\n    {tail}", flush=True)
    return Run(seconds, memory, code, output, cpu)


class Contestant(NamedTuple):
    """Something to be measured: `start` runs once; `judge` says what is wrong with its result, or nothing."""

    name: str
    start: Callable[[], Run]
    judge: Callable[[Run], str] = lambda _: ""
    before: Callable[[], None] = lambda: None


def measured(contestants: List[Contestant], rounds: int) -> Dict[str, List[Run]]:
    """All of them in turns, the order turned round every other time."""
    runs: Dict[str, List[Run]] = {one.name: [] for one in contestants}
    for number in range(rounds):
        for one in contestants if number % 2 == 0 else contestants[::-1]:
            one.before()
            took = one.start()
            runs[one.name].append(took)
            wrong = f"exit code {took.code}" if took.code else one.judge(took)
            if wrong:
                print(f"  ! {one.name}, round {number + 1}: {wrong}", flush=True)
    return runs


def table(
    title: str, runs: Dict[str, List[Run]], against: str, count: int = 0, unit: str = "s"
) -> None:
    """Medians, their spread, and the ratio to one of them."""
    scale, width = {"s": 1.0, "ms": 1000.0}[unit], max(len(name) for name in runs)
    base = statistics.median(r.seconds for r in runs[against]) if against in runs else None
    print(f"\n{title}")
    columns = f"median {unit}", "fastest", "slowest", "ratio", "a second", "peak MB", "cpu ms each"
    print("  " + " " * width + "".join(f"{column:>12}" for column in columns))
    for name, all_of in runs.items():
        times = [one.seconds for one in all_of]
        middle = statistics.median(times)
        cells = [f"{middle * scale:.3f}", f"{min(times) * scale:.3f}", f"{max(times) * scale:.3f}"]
        cells.append(f"{middle / base:.2f}" if base else "")
        cells.append(f"{count / middle:.0f}" if count and middle else "")
        peak = max(one.megabytes for one in all_of)
        cells.append(f"{peak:.0f}" if peak else "")
        work = statistics.median(one.cpu for one in all_of)
        cells.append(f"{work / count * 1000:.3f}" if work and count else "")
        print("  " + name.ljust(width) + "".join(f"{cell:>12}" for cell in cells), flush=True)


def facts(folder: Path) -> None:
    """The machine, in a few lines."""
    cpu = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (
                line.split(":", 1)[1].strip()
                for line in info.read_text("utf-8").splitlines()
                if "model name" in line
            ),
            "",
        )
    print(f"machine   {platform.platform()}, {cpu or platform.processor()}, {os.cpu_count()} CPUs")
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        load = ", load " + " ".join(f"{one:.1f}" for one in os.getloadavg())
        print(f"memory    {memory:.1f} GB{load}")
    kind = ""
    if shutil.which("df"):
        lines = (
            subprocess.run(["df", "-T", str(folder)], stdout=subprocess.PIPE, check=False)
            .stdout.decode()
            .splitlines()
        )
        kind = lines[-1].split()[1] + ", " if len(lines) > 1 else ""
    print(f"disk      {kind}{shutil.disk_usage(str(folder)).free / 2**30:.0f} GB free")
    print(f"python    {platform.python_version()} ({platform.python_implementation()})")
    for name, flag in (("gpscorrelate", "--version"), ("exiftool", "-ver")):
        if shutil.which(name):
            done = subprocess.run(
                [name, flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
            print(f"{name:<14}{done.stdout.decode('utf-8', 'replace').splitlines()[0]}")


def load_module(path: Path, name: str) -> Any:
    """A module or package by its path, under a name of our own; None when it is not there or not ready."""
    path = path / "__init__.py" if path.is_dir() else path
    if not path.exists():
        return None
    places = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(
        name, str(path), submodule_search_locations=places
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def skipped(part: str, why: str) -> None:
    print(f"\n{part}: left out, {why}", flush=True)


# ---- The drive


def make_drive(folder: Path, images: int, size: int, position: bool) -> Path:
    """`images` JPEGs of `size` bytes, 8 m and 2 s apart going north, and a GPX with a point a second; gives the GPX."""
    pixels = (4000, 3000) if size > 400000 else (640, 480) if size > 20000 else (64, 48)

    def colour(x: int, _: int) -> Tuple[int, int, int]:
        return 60 + x % 90, 120, 150

    plain = len(making.jpeg(pixels, b"", colour))
    for number in range(images):
        moment = time.strftime("%Y:%m:%d %H:%M:%S", time.gmtime(START + 2 * number))
        lat, lon = place_of(number)
        where: Dict[str, Any] = {"lat": lat, "lon": lon, "alt": 12.5} if position else {}
        block = making.exif_tiff(time=moment, size=pixels, **where)
        filler = size - plain - 500
        making.photo(
            folder / f"IMG_{number:06d}.jpg", pixels, colour, filler if filler > 3 else 0, block
        )
    points = [(START + second, *place_of(second / 2), 12.5) for second in range(-2, 2 * images + 3)]
    return making.gpx(points, folder.parent / "track.gpx")


def place_of(number: float) -> Tuple[float, float]:
    return 57.0 + number * 8 / 111359, 11.97 + number * 0.000001


def misplaced(folder: Path, images: int, description: bool) -> str:
    """What is wrong with the images in `folder`, in a few words: position, and with `description` the whole of it."""
    wrong = 0
    paths = sorted(folder.glob("*.jpg"))
    for number, path in enumerate(paths):
        with path.open("rb") as stream:
            head = stream.read(262144)
        wanted, found = place_of(number), making.place(head)
        good = found is not None and all(abs(a - b) < 2e-6 for a, b in zip(wanted, found[:2]))
        if good and description:
            said = making.description(head)
            good = abs(said.get("MAPLatitude", 0) - wanted[0]) < 2e-6 and "MAPSequenceUUID" in said
        wrong += not good
    if len(paths) != images:
        return f"{len(paths)} images, not {images}"
    return f"{wrong} of {images} images are not as they should be" if wrong else ""


# ---- start


def part_start(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """--version against an interpreter that imports what every such tool needs."""
    contestants = [
        Contestant(
            "interpreter and imports", lambda: run([args.python, "-I", "-S", "-c", IMPORTS])
        ),
        Contestant("--version", lambda: run([args.python, "-I", "-S", args.tool, "--version"])),
    ]
    if args.official:
        contestants.append(
            Contestant("official --version", lambda: run([args.official, "--version"]))
        )
    table("start", measured(contestants, args.rounds * 5), "interpreter and imports", unit="ms")


# ---- process

COPY = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
def copy(path):
    with open(path, "rb") as old, open(path + ".new", "wb") as new:
        new.write(old.read())
        new.flush()
        if not batch:
            os.fsync(new.fileno())
    if not batch:
        os.replace(path + ".new", path)
def flush(path):
    with open(path + ".new", "rb+") as new:
        os.fsync(new.fileno())
threads, batch = int(sys.argv[2]), int(sys.argv[3])
paths = [entry.path for entry in os.scandir(sys.argv[1])]
with ThreadPoolExecutor(threads) as pool:
    for first in range(0, len(paths), batch or len(paths)):
        some = paths[first:first + (batch or len(paths))]
        list(pool.map(copy, some))
        if batch:
            list(pool.map(flush, some))
            for path in some:
                os.replace(path + ".new", path)
"""  # folder, threads, and how many are written before they are flushed and replaced (0: each by itself)


def part_process(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """process with positions from EXIF, then from a GPX."""
    images, size = numbers
    for source in ("exif", "gpx"):
        with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
            _process(args, Path(name), images, size, source)


def _process(args: argparse.Namespace, base: Path, images: int, size: int, source: str) -> None:
    master, work = base / "master", base / "work"
    track = make_drive(master, images, size, position=source == "exif")

    def fresh() -> None:
        shutil.rmtree(str(work), ignore_errors=True)
        shutil.rmtree(str(base / "new"), ignore_errors=True)
        shutil.copytree(str(master), str(work))
        if hasattr(os, "sync"):
            os.sync()

    def counted(took: Run) -> str:
        try:
            said = json.loads(took.output)
        except ValueError:
            return f"--json printed {took.output[:80]!r}"
        figures = {key: value for key, value in said.items() if key in ("found", "done")}
        if any(value != images for value in figures.values()) or not figures:
            return f"--json says {figures}, made were {images}"
        return misplaced(work, images, True)

    ours = [
        args.python,
        args.tool,
        "process",
        "--import_path",
        work,
        "--user_name",
        "bench",
        "--json",
    ]
    if source == "gpx":
        ours += ["--advanced", "--geotag_source", "gpx", "--geotag_source_path", track]
    shell = 'cp -r "$0" "$1" && rm -r "$0" && mv "$1" "$0"'
    contestants = []
    if os.name == "posix":
        contestants += [
            Contestant(
                "cp -r, rm, mv, sync",
                lambda: run(["sh", "-c", shell + " && sync", work, base / "new"]),
                before=fresh,
            ),
            Contestant(
                "cp -r, rm, mv", lambda: run(["sh", "-c", shell, work, base / "new"]), before=fresh
            ),
        ]
    for label, threads, batch in (
        ("copy, fsync each", 1, 0),
        ("copy, fsync each, 4 threads", 4, 0),
        ("copy, fsync in batches of 64", 4, 64),
    ):
        command = [args.python, "-I", "-S", "-c", COPY, work, threads, batch]
        contestants.append(Contestant(label, lambda command=command: run(command), before=fresh))  # type: ignore
    if Path(args.tool).exists():
        contestants.append(Contestant("process", lambda: run(ours), counted, fresh))
        skipping = [*ours, "--skip_EXIF_insert"]
        contestants.append(
            Contestant("process --skip_EXIF_insert", lambda: run(skipping), before=fresh)
        )
    contestants += _others(args, work, track, images, source, fresh)
    against = (
        "gpscorrelate"
        if any(c.name == "gpscorrelate" for c in contestants)
        else contestants[0].name
    )
    title = f"process, {images} images of {size} bytes, positions from {source.upper()}; ratio to {against}"
    runs = measured(contestants, args.rounds)
    table(title, runs, against, images)
    _say_ratios(runs, images)
    if "process" in runs:
        shown = " ".join(str(part) for part in ours[1:])
        print(
            "  ours: python "
            + shown.replace(str(base), "TMP").replace(str(HERE.parent) + os.sep, "")
        )
    if args.verbose and "process" in runs:
        print("  it said: " + runs["process"][-1].output.strip()[:2000])


def _say_ratios(runs: Dict[str, List[Run]], images: int) -> None:
    """What is asked for: process, and process without writing EXIF, against what does a part of it."""
    middle = {name: statistics.median(r.seconds for r in all_of) for name, all_of in runs.items()}
    wanted = {
        "process": ("gpscorrelate, sync", "gpscorrelate", "exiftool -geotag"),
        "process --skip_EXIF_insert": ("official, writes no image",),
    }
    for name, others in wanted.items():
        for other in others if name in middle else ():
            if other in middle:
                print(f"  {name} / {other}: {middle[name] / middle[other]:.2f}")
    plain = runs.get("copy, fsync in batches of 64")
    if plain and "process" in runs:
        work = [statistics.median(r.cpu for r in rows) for rows in (runs["process"], plain)]
        more = (work[0] - work[1]) / images * 1000
        print(f"  processor time an image beyond that of the plain copy in batches: {more:.3f} ms")


def _others(
    args: argparse.Namespace,
    work: Path,
    track: Path,
    images: int,
    source: str,
    fresh: Callable[[], None],
) -> List[Contestant]:
    """Programs that do a part of the same work, as far as they are installed."""
    found, missing = [], []

    def placed(_: Run) -> str:
        return misplaced(work, images, False)

    def photos() -> List[str]:
        return sorted(str(path) for path in work.glob("*.jpg"))

    def synced(command: Callable[[], List[Any]]) -> Callable[[], Run]:
        return lambda: run(["sh", "-c", '"$@" && sync', "sh", *command()])

    if source == "gpx" and shutil.which("gpscorrelate"):

        def correlate() -> List[Any]:
            return ["gpscorrelate", "-z", "0:00", "-g", track, *photos()]

        found += [
            Contestant("gpscorrelate", lambda: run(correlate()), placed, fresh),
            Contestant("gpscorrelate, sync", synced(correlate), placed, fresh),
        ]
    elif source == "gpx":
        missing.append("gpscorrelate")
    if source == "gpx" and shutil.which("exiftool"):

        def geotag() -> List[Any]:
            return [
                "exiftool",
                "-q",
                "-overwrite_original",
                "-geotag",
                track,
                "-geotime<${DateTimeOriginal}+00:00",
                work,
            ]

        found.append(Contestant("exiftool -geotag", lambda: run(geotag()), placed, fresh))
    elif source == "gpx":
        missing.append("exiftool")
    if args.official:
        quiet = {"MAPILLARY_TOOLS_PROMPT_DISABLED": "YES", "MAPILLARY_DISABLE_API_LOGGING": "YES"}
        command = [
            args.official,
            "process",
            "--skip_process_errors",
            work,
            "--geotag_source",
            source,
        ]
        if source == "gpx":
            command += ["--geotag_source_path", track]
        found += [
            Contestant("official, writes no image", lambda: run(command, quiet), before=fresh),
            Contestant(
                "official, writes EXIF",
                lambda: run([*command, "--overwrite_all_EXIF_tags"], quiet),
                placed,
                fresh,
            ),
        ]
    else:
        missing.append("the official package (--official)")
    if missing:
        print(f"\nprocess, {source}: not here: {', '.join(missing)}")
    return found


# ---- upload


def part_upload(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """upload against the official package's, the service in a process of its own."""
    images, size = numbers
    for latency in args.latency:
        with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
            uploads(args, Path(name), images, size, latency)


def uploads(
    args: argparse.Namespace, base: Path, images: int, size: int, latency: float
) -> Dict[str, float]:
    """One table of uploads; gives the medians by name."""
    work = base / "work"
    summaries: Dict[str, Dict[str, Any]] = {}
    quiet = {"MAPILLARY_TOOLS_PROMPT_DISABLED": "YES", "MAPILLARY_DISABLE_API_LOGGING": "YES"}
    ready: Dict[str, List[Any]] = {}
    makers: Dict[str, Tuple[List[Any], List[Any]]] = {}
    if Path(args.tool).exists():
        makers["upload"] = (
            [args.python, args.tool, "process", "--import_path", work, "--user_name", "demo"],
            [args.python, args.tool, "upload", "--import_path", work, "--json"],
        )
    if args.official:
        makers["official upload"] = (
            [args.official, "process", "--skip_process_errors", work],
            [args.official, "upload", "--user_name", "demo", work],
        )
    if not makers:
        skipped("upload", "neither the tool nor --official is there")
        return {}
    for name, (first, second) in makers.items():
        shutil.rmtree(str(work), ignore_errors=True)
        make_drive(work, images, size, True)
        if run(first, quiet).code == 0:
            shutil.copytree(str(work), str(base / name))
            ready[name] = second

    def fresh(name: str) -> Callable[[], None]:
        def copy() -> None:
            shutil.rmtree(str(work), ignore_errors=True)
            shutil.copytree(str(base / name), str(work), copy_function=shutil.copy2)

        return copy

    def started(name: str) -> Callable[[], Run]:
        def start() -> Run:
            command = [
                sys.executable,
                HERE / "service.py",
                "--latency",
                latency,
                "--config",
                base / f"config-{time.time()}" / "config",  # beside it is the history of uploads
            ]
            there = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert there.stdout is not None
            where = json.loads(there.stdout.readline().decode())
            history = base / f"state-{time.time()}"
            where.update(
                quiet,
                NUMBER_THREADS=str(args.threads),
                MAPILLARY_UPLOAD_HISTORY_PATH=str(history / "history"),
                MAPILLARY_TOOLS_UPLOAD_CACHE_DIR=str(history / "cache"),
                MAPILLARY_TOOLS_MAX_IMAGE_UPLOAD_WORKERS=str(args.threads),
            )
            clock = time.time()
            took = run(ready[name], where)
            out, _ = there.communicate(b"")
            summaries[name] = json.loads(out.decode().splitlines()[-1])
            summaries[name]["first"] = round((summaries[name]["first"] or clock) - clock, 3)
            return took

        return start

    def judged(name: str) -> Callable[[Run], str]:
        def judge(_: Run) -> str:
            said = summaries[name]
            if said["images"] != images or not said["finished"]:
                return f"{said['images']} of {images} images came in, {said['finished']} sequences were finished"
            return "; ".join(said["problems"])

        return judge

    contestants = [Contestant(name, started(name), judged(name), fresh(name)) for name in ready]
    if not contestants:
        skipped("upload", "no folder could be processed")
        return {}
    against = "official upload" if "official upload" in ready else contestants[0].name
    title = f"upload, {images} images of {size} bytes, {latency:g} ms a request, {args.threads} threads; ratio to {against}"
    runs = measured(contestants, args.rounds)
    table(title, runs, against, images)
    for name, said in summaries.items():
        print(
            f"  {name}: first request after {said['first']} s, {said['connections']} connections "
            f"({said['most_open']} at once), {said['bytes']} bytes, {said['wasted']} of them wasted, {said['requests']}"
        )
    return {name: statistics.median(r.seconds for r in all_of) for name, all_of in runs.items()}


# ---- tracks, sequence, journal: the tool as a module, each in a process of its own


def in_child(args: argparse.Namespace, part: str, *values: Any) -> Optional[Dict[str, Any]]:
    """Runs `child_<part>` in a fresh interpreter, so that its memory is its own; None when it could not."""
    took = run([args.python, HERE / "bench.py", "--tool", args.tool, "--child", part, *values])
    return (
        json.loads(took.output.splitlines()[-1]) if not took.code and took.output.strip() else None
    )


def times_of(action: Callable[[], Any], rounds: int) -> Tuple[List[Run], Any]:
    runs, result = [], None
    for _ in range(rounds):
        start = time.perf_counter()
        result = action()
        runs.append(Run(time.perf_counter() - start, 0.0, 0, ""))
    return runs, result


def resident() -> float:
    """Bytes of this process in memory now; 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text("utf-8").split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
    except OSError:
        return 0.0


def child_tracks(tool: Any, path: str, rounds: str) -> Dict[str, Any]:
    """read_track and gpxpy in turns."""
    own = getattr(tool, "read_track", None)
    try:
        gpxpy: Any = importlib.import_module("gpxpy")
    except ImportError:
        gpxpy = None
    answer: Dict[str, Any] = {"read_track": [], "gpxpy.parse": [], "points": None}

    def parse() -> Any:
        with open(path, encoding="utf-8") as stream:
            return gpxpy.parse(stream)

    for _ in range(int(rounds)):
        if own is not None:
            runs, track = times_of(lambda: own(Path(path)), 1)
            answer["read_track"].append(runs[0].seconds)
            answer["points"] = len(track.points)
            del track
        if gpxpy is not None:
            answer["gpxpy.parse"].append(times_of(parse, 1)[0][0].seconds)
    return answer


def part_tracks(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """A GPX of so many points."""
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
        points = [
            (START + n + n % 7 / 10, 57 + n * 1e-5, 11.97 + n % 1000 * 1e-6, n % 90 / 2)
            for n in range(numbers[0])
        ]
        path = making.gpx(points, Path(name) / "track.gpx")
        said = in_child(args, "tracks", path, args.rounds)
    if not said or not said["read_track"]:
        return skipped("tracks", "the tool has no read_track yet")
    runs = {
        key: [Run(s, 0, 0, "") for s in said[key]]
        for key in ("gpxpy.parse", "read_track")
        if said[key]
    }
    title = f"tracks, GPX of {numbers[0]} points (read_track gave {said['points']}); ratio to gpxpy.parse"
    table(title, runs, "gpxpy.parse", numbers[0])


def child_sequence(tool: Any, count: str, rounds: str) -> Dict[str, Any]:
    """split and mark_duplicates over one folder of images."""
    images = []
    for number in range(int(count)):
        lat, lon = place_of(number)
        fix = tool.Fix(START + 2.0 * number, lat, lon, 12.5, None)
        images.append(tool.Image.at(f"drive/IMG_{number:06d}.jpg", fix))
    answer: Dict[str, Any] = {}
    runs, _ = times_of(lambda: tool.split(images, 600.0, 60.0), int(rounds))
    answer["split"] = [one.seconds for one in runs]
    runs, _ = times_of(lambda: tool.mark_duplicates(images, 0.1, 5.0), int(rounds))
    answer["mark_duplicates"] = [one.seconds for one in runs]
    fixes = [image.fix for image in images]
    runs, _ = times_of(lambda: tool.jumps_of(fixes, 400.0), int(rounds))
    answer["jumps_of"] = [one.seconds for one in runs]
    return answer


def part_sequence(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """The sequence step in memory."""
    tool = Path(args.tool)
    if not tool.exists() or "def split(" not in tool.read_text(encoding="utf-8"):
        return skipped("sequence", "the tool has no split yet")
    said = in_child(args, "sequence", numbers[0], args.rounds)
    if not said:
        return skipped("sequence", "it failed")
    runs = {name: [Run(s, 0, 0, "") for s in seconds] for name, seconds in said.items()}
    table(f"sequence, {numbers[0]} images in one folder", runs, "", numbers[0])


def child_journal(tool: Any, folder: str) -> Dict[str, Any]:
    """Loading: seconds, and bytes of memory that it holds."""
    before = resident()
    start = time.perf_counter()
    journal = tool.Journal(Path(folder), write=False).__enter__()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": resident() - before, "kind": type(journal).__name__}


def part_journal(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """A journal of so many images, made from the lines that the tool itself writes for three."""
    tool = Path(args.tool)
    if not tool.exists() or "class Journal" not in tool.read_text(encoding="utf-8"):
        return skipped("journal", "the tool has no Journal yet")
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
        work = Path(name) / "work"
        make_drive(work, 3, 0, True)
        run([args.python, args.tool, "process", "--import_path", work, "--user_name", "bench"])
        journal = work / ".mapillary" / "journal.jsonl"
        if not journal.exists():
            return skipped("journal", "process left none")
        total, size = _multiplied(journal, numbers[0])
        said = [
            answer
            for answer in (in_child(args, "journal", work) for _ in range(args.rounds))
            if answer
        ]
    if not said:
        return skipped("journal", "it did not load")
    title = f"journal, {total} images, {size / 1e6:.1f} MB"
    table(
        title,
        {"load": [Run(one["seconds"], one["bytes"] / 2**20, 0, "") for one in said]},
        "",
        total,
    )
    print(f"  {max(one['bytes'] for one in said) / total:.0f} bytes of memory an image")


def _multiplied(journal: Path, count: int) -> Tuple[int, int]:
    """Repeats the lines about images under other names until there are `count`; gives how many and the file's size."""
    lines = journal.read_text(encoding="utf-8").splitlines()
    about = [json.loads(line) for line in lines[1:] if "image" in json.loads(line)]
    names = sorted({line["image"] for line in about})
    repeated, made = [lines[0]], 0
    while made < count:
        for line in about:
            number = made + names.index(line["image"])
            copy = {
                key: f"IMG_{number:06d}.jpg" if key == "image" else value
                for key, value in line.items()
            }
            repeated.append(json.dumps(copy, separators=(",", ":")))
        made += len(names)
    journal.write_text("\n".join(repeated) + "\n", encoding="utf-8")
    return made, journal.stat().st_size


def child_history(tool: Any, folder: str, count: str) -> Dict[str, Any]:
    """Loading a history of so many photos, and looking some up."""
    os.environ["MAPILLARY_CONFIG_PATH"] = os.path.join(folder, "config")
    before, start = resident(), time.perf_counter()
    history = tool.History("mapillary", print)
    answer: Dict[str, Any] = {"load": time.perf_counter() - start}
    answer["bytes"] = resident() - before
    for name, first in (("found", 0), ("not found", int(count))):
        numbers = range(first, first + int(count), max(1, int(count) // 1000))
        pictures = [tool.text_hash(str(number)) for number in numbers]
        start = time.perf_counter()
        known = [
            history.before(picture, "elsewhere/a.jpg", str) is not None for picture in pictures
        ]
        answer[name] = (time.perf_counter() - start) / len(pictures)
        assert all(known) == (first == 0), name
    return answer


def part_history(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """The history of uploads, with lines as the tool writes them."""
    tool = load_module(args.tool, "_bench_history")
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
        with open(os.path.join(name, "history.jsonl"), "w", encoding="ascii") as stream:
            for number in range(numbers[0]):
                folder, image = f"/home/someone/cards/{number // 1000}", f"IMG_{number:07d}.jpg"
                picture, at = tool.text_hash(str(number)), "2026-01-01T00:00:00.000Z"
                line = tool.Arrival(picture, "mapillary", folder, image, at)
                stream.write(tool.canonical(line._asdict()) + "\n")
        said = [in_child(args, "history", name, numbers[0]) for _ in range(args.rounds)]
    rows = [one for one in said if one]
    for word in ("load", "found", "not found"):
        print(
            f"  history of {numbers[0]}, {word}: {statistics.median(r[word] for r in rows):.6f} s"
        )
    print(f"  {max(one['bytes'] for one in rows) / 2**20:.0f} MB")


CHILDREN: Dict[str, Callable[..., Dict[str, Any]]] = {
    "tracks": child_tracks,
    "sequence": child_sequence,
    "journal": child_journal,
    "history": child_history,
}


# ---- exif


def edited(piexif: Any, content: Any, target: Any) -> None:
    """The edit that the tool makes: description, position, altitude, direction."""
    tags = piexif.load(content)
    tags["0th"][piexif.ImageIFD.ImageDescription] = (
        b'{"MAPLatitude":57.7,"MAPLongitude":11.97}' + b" " * 640
    )
    tags["GPS"].update(
        {
            piexif.GPSIFD.GPSLatitudeRef: b"N",
            piexif.GPSIFD.GPSLatitude: ((57, 1), (42, 1), (123456, 10000)),
            piexif.GPSIFD.GPSLongitudeRef: b"E",
            piexif.GPSIFD.GPSLongitude: ((11, 1), (58, 1), (123456, 10000)),
            piexif.GPSIFD.GPSAltitudeRef: 0,
            piexif.GPSIFD.GPSAltitude: (12500, 1000),
            piexif.GPSIFD.GPSImgDirectionRef: b"T",
            piexif.GPSIFD.GPSImgDirection: (12345, 100),
        }
    )
    piexif.insert(piexif.dump(tags), content, target)


def part_exif(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """Both libraries in turns, on made photos of 5 kB, 100 kB and 3 MB and on --photos."""
    libraries = {"vendor/piexif": load_module(args.piexif, "_bench_piexif")}
    try:
        libraries["published piexif"] = importlib.import_module("piexif")
    except ImportError:
        print("\nexif: not here: the published piexif")
    if libraries["vendor/piexif"] is None:
        return skipped("exif", "there is no vendor/piexif yet")
    fields = making.exif_tiff(
        lat=1.0, lon=2.0, description="before", thumbnail=making.jpeg((160, 120))
    )
    corpus = {
        "5 kB": making.jpeg(exif=fields),
        "100 kB": making.jpeg((640, 480), fields, filler=90000),
        "3 MB": making.jpeg(
            (2000, 1500), fields, pixels=lambda x, y: (x % 99, 99, 99), filler=2990000
        ),
    }
    for path in sorted(args.photos.glob("*.[jJ]*")) if args.photos else []:
        corpus[path.name] = path.read_bytes()
    together: Dict[str, Dict[str, List[float]]] = {"bytes to BytesIO": {}, "paths": {}}
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="bench-") as name:
        for label, content in corpus.items():
            _exif(args, libraries, label, content, Path(name) / "photo.jpg", together)
    if len(corpus) > 3:
        for way, medians in together.items():
            runs = {key: [Run(s, 0, 0, "") for s in values] for key, values in medians.items()}
            table(f"exif, all {len(corpus)} files, {way}", runs, "published piexif", unit="ms")


def _exif(
    args: argparse.Namespace,
    libraries: Dict[str, Any],
    label: str,
    content: bytes,
    path: Path,
    together: Dict[str, Dict[str, List[float]]],
) -> None:
    for way, medians in together.items():
        runs: Dict[str, List[Run]] = {}
        for number in range(args.rounds * 10 + 1):
            for key, library in libraries.items():
                path.write_bytes(content)
                source: Any = content if way != "paths" else str(path)
                target: Any = io.BytesIO() if way != "paths" else str(path)
                start = time.perf_counter()
                try:
                    edited(library, source, target)
                except Exception as error:  # noqa: BLE001 - the published one raises all kinds
                    if number == 0:
                        print(f"  ! {key}, {label}: {type(error).__name__}: {error}"[:150])
                    continue
                if number:  # the first one warms up
                    runs.setdefault(key, []).append(Run(time.perf_counter() - start, 0, 0, ""))
        for key, all_of in runs.items():
            medians.setdefault(key, []).append(statistics.median(one.seconds for one in all_of))
        if runs and (label in ("5 kB", "100 kB", "3 MB") or args.verbose):
            table(
                f"exif, {label}, load + dump + insert, {way}", runs, "published piexif", unit="ms"
            )


# ---- videos


def part_of(module: str) -> Any:
    """A module of further parts, which uses this one."""
    sys.modules.setdefault("bench", sys.modules[__name__])
    return importlib.import_module(module)


def bench_videos() -> Any:
    """The module about whole videos."""
    return part_of("bench_videos")


def part_videos(args: argparse.Namespace, numbers: Sequence[int]) -> None:
    """One video of so many megabytes and seconds."""
    bench_videos().part_videos(args, numbers)


# ---- The command line

PARTS: Dict[str, Callable[[argparse.Namespace, Sequence[int]], None]] = {
    "start": part_start,
    "process": part_process,
    "upload": part_upload,
    "tracks": part_tracks,
    "sequence": part_sequence,
    "journal": part_journal,
    "history": part_history,
    "videos": part_videos,
    "exif": part_exif,
    "scale": lambda args, numbers: part_of("bench_scale").part_scale(args, numbers),
    "copies": lambda args, numbers: part_of("bench_scale").part_copies(args, numbers),
    "threads": lambda args, numbers: part_of("bench_scale").part_threads(args, numbers),
}


def wanted(words: List[str], full: bool) -> List[Tuple[str, Tuple[int, ...]]]:
    """["process", "300", "3000000", "start"] -> [("process", (300, 3000000)), ("start", ())], missing numbers filled in."""
    asked: List[Tuple[str, List[int]]] = []
    for word in words:
        if word in PARTS:
            asked.append((word, []))
        elif word.isdigit() and asked:
            asked[-1][1].append(int(word))
        else:
            raise SystemExit(f"bench.py: {word!r} is no part; parts are {', '.join(PARTS)}")
    chosen: List[Tuple[str, Tuple[int, ...]]] = []
    for name, numbers in asked or [(name, []) for name in PARTS]:
        if full and not numbers:
            chosen += [(name, own) for own in FULL[name]]
        else:
            chosen.append(
                (name, (tuple(numbers) + QUICK[name][len(numbers) :])[: len(QUICK[name])])
            )
    return chosen


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART [NUMBER ...]", help="all of them when none is named"
    )
    parser.add_argument("--full", action="store_true", help="the sizes of the notes")
    parser.add_argument(
        "--rounds", type=int, default=0, help="runs of each (default 3, with --full 5)"
    )
    parser.add_argument(
        "--tool",
        type=Path,
        default=HERE.parent / "mapillary_tools.py",
        help="the script to measure",
    )
    parser.add_argument(
        "--python", default=sys.executable, help="the interpreter that runs it (default: this one)"
    )
    parser.add_argument(
        "--official", default=shutil.which("mapillary_tools"), help="the official package's command"
    )
    parser.add_argument(
        "--latency", type=float, nargs="+", default=[0.0, 100.0], help="upload: ms a request"
    )
    parser.add_argument("--threads", type=int, default=4, help="upload: threads of both")
    parser.add_argument("--photos", type=Path, help="exif: a folder of JPEGs beside the made ones")
    parser.add_argument(
        "--piexif",
        type=Path,
        default=HERE.parent / "vendor" / "piexif",
        help="exif: the package to measure",
    )
    parser.add_argument("--folder", help="where to work (default: the system's temporary folder)")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args, rest = parser.parse_known_args()
    if rest and not args.child:
        parser.error(f"unknown: {' '.join(rest)}")
    args.rounds = args.rounds or (5 if args.full else 3)
    return args


def main() -> None:
    args = arguments()
    if args.child:
        tool = load_module(args.tool, "_bench_tool")
        child = CHILDREN.get(args.child) or getattr(bench_videos(), f"child_{args.child}")
        print(json.dumps(child(tool, *args.parts)))
        return
    facts(Path(args.folder or tempfile.gettempdir()))
    print(f"rounds    {args.rounds}")
    if not args.tool.exists():
        print(f"the tool  not there: {args.tool.name}")
    for name, numbers in wanted(args.parts, args.full):
        if name == "start" and not args.tool.exists():
            skipped("start", "the tool is not there")
        else:
            PARTS[name](args, numbers)


if __name__ == "__main__":
    main()
