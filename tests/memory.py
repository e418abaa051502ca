"""Peak memory and time of the tool on input that is far too large, under a limit of address space: a table, 1 if a demand breaks.

    python tests/memory.py                    # all, some minutes; at most 3 GB of TMPDIR at one time
    python tests/memory.py --quick            # a tenth of everything
    python tests/memory.py --only gpx --limit 1500

What is read whole (a track, a table) is measured at three sizes: the slope is bytes of memory for a byte of file, so that one
knows where the limit is. Of all, also of what does not fit: one clear line, never a traceback, and never longer than it may.
"""

import argparse
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import making
import making_tracks

SCRIPT = Path(__file__).resolve().parent.parent / "mapillary_tools.py"
LONGEST = 3600.0  # seconds of one run, whatever the machine
MB = 1 << 20


class Run(NamedTuple):
    """What one run cost."""

    code: int
    seconds: float
    peak: int  # bytes
    said: str  # its last line

    @property
    def wrong(self) -> str:
        """What is not as it must be; "" if all is."""
        if self.code == -signal.SIGKILL:
            return "it did not end in time"
        if "Traceback" in self.said or self.code not in range(13):
            return f"exit code {self.code}, and a traceback"
        return ""


# A process counts as its own what the one had that it was forked from: this starts the tool from a small one.
_START = """
import json, os, resource, sys
child = os.fork()
if not child:
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(sys.argv[3], sys.argv[3:])
_, status, used = os.wait4(child, 0)
with open(sys.argv[2], "w") as out:
    json.dump([status, used.ru_maxrss], out)
"""


def run(limit: int, home: Path, *argv: Any) -> Run:
    """The tool in a process that may have so many bytes of address space."""
    environment = dict(os.environ, HOME=str(home), MAPILLARY_CONFIG_PATH=str(home / "config"))
    python, figures = [sys.executable, "-I", "-S"], home / "figures.json"
    words = [*python, "-c", _START, str(limit), str(figures)]
    words += [*python, str(SCRIPT), *map(str, argv)]
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            child.wait(LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return Run(-signal.SIGKILL, LONGEST, 0, "")
        seconds = time.monotonic() - start
        said.seek(0)
        text = said.read().decode("utf-8", "replace").strip()
    status, size = json.loads(figures.read_text(encoding="ascii"))
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else status >> 8
    last = text.splitlines()[-1] if text else ""
    peak = size * (1 if sys.platform == "darwin" else 1024)
    return Run(code, seconds, peak, "Traceback: " + last if "Traceback (most" in text else last)


# ---- What is too large


def large_photo(path: Path, megabytes: int) -> None:
    """A JPEG with a scan of so many megabytes."""
    content = making.jpeg((64, 48), making.exif_tiff(lat=57.7, lon=11.97))
    with open(str(path), "wb") as stream:
        stream.write(content[:-2])
        stream.seek(megabytes * MB - 2)
        stream.write(content[-2:])


def large_gpx(path: Path, megabytes: int) -> None:
    """A GPX of points of about 90 bytes, ten a second."""
    head = '<gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>\n'
    with open(str(path), "w", encoding="ascii") as stream:
        stream.write(head)
        number = 0
        while stream.tell() < megabytes * MB:
            rows = []
            for number in range(number, number + 10000):
                when = making_tracks.iso(1714979289 + number // 10)[:-1] + f".{number % 10}Z"
                place = f'lat="{57 + number * 1e-7:.7f}" lon="11.97"'
                rows.append(f"<trkpt {place}><ele>1.5</ele><time>{when}</time></trkpt>\n")
            number += 1
            stream.write("".join(rows))
        stream.write("</trkseg></trk></gpx>\n")


def large_csv(path: Path, megabytes: int) -> None:
    """A table of rows of 64 bytes, most of them of images that are not there."""
    with open(str(path), "w", encoding="ascii") as stream:
        for block in range(megabytes):
            rows = (f"{block:06d}{n:06d}.jpg,57.7000000,11.9700000," for n in range(MB // 64))
            stream.write("\n".join(row.ljust(63, "0") for row in rows) + "\n")


def many_photos(folder: Path, count: int) -> None:
    """So many tiny photos, two seconds and 3 m apart."""
    folder.mkdir()
    content = making.jpeg((8, 8), making.exif_tiff(lat=10.0, lon=11.0, make=None, model=None))
    time_at = content.index(b"2024:05:06 07:08:09")
    place = struct.pack("<II", *making.degrees(10.0)[2])
    place_at = content.index(struct.pack("<II", 10, 1)) + 16
    assert content[place_at : place_at + 8] == place
    for number in range(count):
        second = number * 2
        day, rest = divmod(second, 86400)
        text = f"2024:05:{day + 1:02d} {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        picture = bytearray(content)
        picture[time_at : time_at + 19] = text.encode("ascii")
        seconds = struct.pack("<II", number * 100000 % 60000000, 1000000)
        picture[place_at : place_at + 8] = seconds
        (folder / f"{number:06d}.jpg").write_bytes(picture)


def large_movie(path: Path, kind: str, megabytes: int) -> None:
    """A video, sparse, with a table that claims 2^31 entries or more, or with boxes of text that fill it."""
    if kind == "text":
        with open(str(path), "wb") as stream:
            stream.write(making_tracks.movie([making_tracks.camm5(1, 2, 3)], form=b"mett"))
            for _ in range(megabytes // 64):
                stream.write(struct.pack(">I4sI4s", 64 * MB, b"free", 64 * MB - 8, b"gps "))
                stream.seek(64 * MB - 16, os.SEEK_CUR)
            stream.truncate()
            stream.seek(0, os.SEEK_END)
        return
    samples = [making_tracks.camm5(45.0, 7.0 + n / 1e4, 3.0) for n in range(3)]
    movie = bytearray(making_tracks.movie(samples, form=b"camm", moov_first=True))
    at = movie.index(kind.encode())
    if kind == "stsz":
        movie[at + 8 : at + 16] = struct.pack(">II", 1, 0xFFFFFFFF)
        runs = movie.index(b"stsc")
        movie[runs + 16 : runs + 20] = struct.pack(">I", 0x7FFFFFFF)
    else:
        movie[at + 8 : at + 12] = struct.pack(">I", 1 << 31)
    if kind == "stco":  # the last box of the index: its size may reach over what follows
        movie[at - 4 : at] = struct.pack(">I", 0x7FFFFFFF)
    with open(str(path), "wb") as stream:
        stream.write(movie)
        stream.truncate(megabytes * MB)


def large_video(path: Path, megabytes: int, seconds: int = 3600, rate: int = 60) -> None:
    """A video of a track of pictures that do not decode, sparse, with a chunk a second."""
    count, begin = seconds * rate, 1 << 20
    most = megabytes * MB // count
    sizes = [most - number % 7 for number in range(count)]
    offsets = [begin + second * rate * most for second in range(seconds)]
    box, full, words = making_tracks.box, making_tracks.full, making_tracks.words
    matrix = words(1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    entry = box(b"mp4v", bytes(6), b"\0\1", bytes(16), struct.pack(">HH", 320, 180), bytes(50))
    times = (1714979289 + int(making_tracks.TO_1904),) * 2
    table = box(
        b"stbl",
        full(b"stsd", words(1), entry),
        full(b"stts", words(1, count, 1)),
        full(b"stsc", words(1, 1, rate, 1)),
        full(b"stsz", words(0, count, *sizes)),
        full(b"co64", words(seconds), struct.pack(f">{seconds}Q", *offsets)),
    )
    media = box(
        b"mdia",
        full(b"mdhd", words(*times, rate, count, 0x55C40000)),
        full(b"hdlr", words(0), b"vide", bytes(13)),
        box(b"minf", box(b"dinf", full(b"dref", words(1), box(b"url ", words(1)))), table),
    )
    header = full(
        b"tkhd", words(*times, 1, 0, count), bytes(16), matrix, words(320 << 16, 180 << 16)
    )
    whole = full(
        b"mvhd", words(*times, rate, count, 1 << 16, 1 << 24), bytes(8), matrix, bytes(24), words(2)
    )
    index = box(b"ftyp", b"isom\0\0\2\0mp41") + box(b"moov", whole, box(b"trak", header, media))
    with open(str(path), "wb") as stream:
        stream.write(index + box(b"free", bytes(begin - len(index) - 24)))
        stream.write(struct.pack(">I4sQ", 1, b"mdat", 16 + megabytes * MB))
        stream.truncate(begin + megabytes * MB)


# ---- The cases


class Row(NamedTuple):
    """A line of the table."""

    name: str
    size: int  # bytes; or how many there are
    run: Run
    most: Optional[int]  # bytes that it may need; None = as many as the limit allows
    longest: float  # seconds on an idle machine


def photo_rows(top: Path, limit: int, part: float) -> Iterator[Row]:
    """One photo of 200 MB through the whole job."""
    megabytes = int(200 * part)
    (top / "p").mkdir()
    large_photo(top / "p" / "a.jpg", megabytes)
    for argv in (
        ["process", "--import_path", top / "p", "--user_name", "demo"],
        ["upload", "--import_path", top / "p", "--stand_in", top / "received"],
    ):
        yield Row(f"photo, {argv[0]}", megabytes * MB, run(limit, top, *argv), 100 * MB, 20)


def _with_one_photo(top: Path) -> Path:
    folder = top / "p"
    shutil.rmtree(str(folder), ignore_errors=True)
    making.photo(folder / "000000000001.jpg", time="2024:05:06 07:08:12")
    return folder


Sizes = Sequence[Tuple[int, int]]  # megabytes of a file, the limit in bytes; 0 = that of the run


def _growing(
    name: str, path: Path, fill: Callable[[Path, int], Any], sizes: Sizes, limits: Tuple[int, float]
) -> Iterator[Tuple[str, int, int, float]]:
    """(what, size, limit, seconds) of a file that is made larger and larger."""
    limit, part = limits
    for megabytes, most in sizes:
        fill(path, max(1, int(megabytes * part)))
        allowed = max(60 * MB, int(most * part)) if most else limit
        what = f"{name}, limit {allowed // MB} MB" if most else name
        yield what, path.stat().st_size, allowed, megabytes / 2


def gpx_rows(top: Path, limit: int, part: float) -> Iterator[Row]:
    """Tracks that are read whole; the last does not fit."""
    path = top / "a.gpx"
    sizes = ((30, 0), (100, 0), (300, 0), (300, 400 * MB))
    for name, size, allowed, seconds in _growing("gpx", path, large_gpx, sizes, (limit, part)):
        argv = ["process", "--import_path", _with_one_photo(top), "--user_name", "demo"]
        argv += ["--advanced", "--geotag_source", "gpx", "--geotag_source_path", path]
        yield Row(name, size, run(allowed, top, *argv), None, seconds)


def csv_rows(top: Path, limit: int, part: float) -> Iterator[Row]:
    """Tables that are read whole; the last does not fit."""
    path = top / "a.csv"
    sizes = ((30, 0), (60, 0), (60, 300 * MB))  # a table may have 64 MB
    for name, size, allowed, seconds in _growing("csv", path, large_csv, sizes, (limit, part)):
        argv = ["process_csv", "--import_path", _with_one_photo(top), "--csv_path", path]
        argv += ["--filename_column", 1, "--latitude_column", 2, "--longitude_column", 3]
        yield Row(name, size, run(allowed, top, *argv), None, seconds)


def many_rows(top: Path, limit: int, part: float) -> Iterator[Row]:
    """A folder of 100,000 photos: first, when all is done, and to look at."""
    count, folder = int(100000 * part), top / "many"
    many_photos(folder, count)
    process = ["process", "--import_path", folder, "--user_name", "demo"]
    for name, argv, most, longest in (
        ("images, process", process, 1000, 600 * part),
        ("images, all done", process, 900, 60 * part),
        ("images, status", ["status", "--import_path", folder], 400, 60 * part),
        (
            "images, report",
            ["report", "--import_path", folder, "--output_path", top / "r"],
            900,
            60,
        ),
    ):
        yield Row(name, count, run(limit, top, *argv), most * MB, max(10.0, longest))


def movie_rows(top: Path, limit: int, part: float) -> Iterator[Row]:
    """Videos whose tables claim 2^31 entries, and one full of text."""
    for kind, megabytes in (
        ("stsz", 2000),
        ("stts", 10),
        ("stsc", 10),
        ("stco", 2000),
        ("text", 2048),
    ):
        size = max(64, int(megabytes * part) // 64 * 64) if megabytes > 10 else megabytes
        large_movie(top / "a.mp4", kind, size)
        argv = [
            "process",
            "--import_path",
            _with_one_photo(top),
            "--user_name",
            "demo",
            "--advanced",
        ]
        argv += ["--geotag_source", "gpx", "--geotag_source_path", top / "a.mp4"]
        ran = run(limit, top, *argv)
        yield Row(f"movie, {kind}", size * MB, ran, 400 * MB, 30)


CASES: Dict[str, Callable[[Path, int, float], Iterator[Row]]] = {
    "photo": photo_rows,
    "gpx": gpx_rows,
    "csv": csv_rows,
    "images": many_rows,
    "movie": movie_rows,
}


def verdict(row: Row) -> str:
    """What is wrong with a row; "" if nothing is."""
    wrong = [row.run.wrong]
    if row.most is not None and row.run.peak > row.most:
        wrong.append(f"more than {row.most // MB} MB")
    if row.run.seconds > 10 * row.longest:
        wrong.append(f"longer than {10 * row.longest:.0f} s")
    return "; ".join(filter(None, wrong))


def slopes(rows: List[Row]) -> Iterator[str]:
    """Bytes of memory for a byte of file, of what is measured at several sizes and fits."""
    for name in ("gpx", "csv"):
        fits = [row for row in rows if row.name == name and row.run.code in (0, 1)]
        if len(fits) > 1:
            rise = (fits[-1].run.peak - fits[0].run.peak) / (fits[-1].size - fits[0].size)
            yield f"{name}: {rise:.1f} bytes of memory for a byte of file"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=sorted(CASES), help="one group of cases")
    parser.add_argument("--quick", action="store_true", help="a tenth of every size")
    parser.add_argument("--limit", type=int, default=1500, help="MB of address space")
    args = parser.parse_args()
    rows: List[Row] = []
    print(f"{'case':<24}{'size':>10}{'seconds':>9}{'peak MB':>9}{'code':>6}  outcome")
    for name in [args.only] if args.only else list(CASES):
        top = Path(tempfile.mkdtemp(prefix="memory-"))
        try:
            for row in CASES[name](top, args.limit * MB, 0.1 if args.quick else 1.0):
                rows.append(row)
                size = f"{row.size}" if name == "images" else f"{row.size / MB:.0f} MB"
                figures = f"{row.run.seconds:>9.1f}{row.run.peak / MB:>9.0f}{row.run.code:>6}"
                said = verdict(row) or "good"
                print(
                    f"{row.name:<24}{size:>10}{figures}  {said} | {row.run.said[:90]}", flush=True
                )
        finally:
            shutil.rmtree(str(top), ignore_errors=True)
    print("\n".join(slopes(rows)))
    return 1 if any(map(verdict, rows)) else 0


if __name__ == "__main__":
    sys.exit(main())
