"""Runs to be disturbed: what lies in the folder before, the command line, and what counts as the same outcome.

with Stage(SCENES["process"], folder) as stage:
    stage.reset()
    ran = stage.act(watcher)          # watcher sees, or breaks, each call about a file of the scene
    stage.state() == ...              # what is there now, without what differs from run to run
"""

import contextlib
import functools
import io
import json
import os
import re
import shutil
import signal
import struct
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple
from unittest import mock

import making
import mapillary_tools as mt
import service as stand_ins
import walker
from conftest import Ran, run
from door import Door, Kept, Watcher, arrivals, picture, restore
from making_tracks import film

LIMIT_S = 120  # against hanging, on a loaded machine too
START = 1714979281.0  # when the first photo was taken
PLAIN_OPEN = io.open
HAS_FFMPEG = bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


class Scene(NamedTuple):
    """One run; in its command lines @ is the folder of the scene."""

    argv: str
    make: Callable[[Path], None]
    earlier: Tuple[str, ...] = ()  # command lines of undisturbed runs before it
    change: Callable[[Path], None] = lambda folder: None  # what happened since those
    online: bool = False  # against a service as of service.py


# ---- what lies there ---------------------------------------------------------------------------


def plain(folder: Path, count: int = 3, placed: Callable[[int], bool] = bool) -> None:
    """Photos of one drive, with positions where those are wanted, and credentials of their user."""
    for number in range(1, count + 1):
        place = {"lat": 57.7 + number / 1e4, "lon": 11.97} if placed(number) else {}
        path, when = folder / "p" / f"{number:04d}.jpg", f"2024:05:06 07:08:{number:02d}"
        making.photo(path, time=when, pixels=number, **place)
    stand_ins.write_config(folder / "config")


def nowhere(number: int) -> bool:
    """No photo has a position."""
    return False


def tracked(folder: Path, count: int = 3) -> None:
    """Photos without positions, and a track."""
    plain(folder, count, nowhere)
    points = [(START - 9 + second, 57.7 + second / 1e4, 11.97, 3.0) for second in range(30)]
    making.gpx(points, folder / "track.gpx")


def tabled(folder: Path) -> None:
    """Photos, and a table of positions for them."""
    plain(folder, placed=nowhere)
    rows = [
        f"{number:04d}.jpg,2024:05:06 09:00:0{number}.5,1.0{number},2.0" for number in (1, 2, 3)
    ]
    (folder / "t.csv").write_text("\n".join(["name,time,lat,lon", *rows, ""]), encoding="ascii")


def paired(folder: Path) -> None:
    """Photos in pairs of one second, the middle one without a position; and their times as a table."""
    times = [f"2024:05:06 07:08:0{number // 2}" for number in range(3)]
    for number, when in enumerate(times):
        place: Dict[str, Any] = {} if number == 1 else {"lat": 57.7 + number / 1e4, "lon": 11.97}
        making.photo(folder / "p" / f"{number}.jpg", time=when, pixels=number, **place)
    stamps = ["2024-05-06T07:08:09Z"] * 2 + ["2024-05-06T07:08:10Z"]
    (folder / "times.csv").write_text("\n".join([*stamps, ""]), encoding="ascii")


def mixed(folder: Path) -> None:
    """Photos, one of which is cut off, and a second folder."""
    plain(folder)
    path = folder / "p" / "0002.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    making.photo(folder / "p" / "below" / "x.jpg", lat=1.0, lon=2.0, time="2024:05:07 07:08:09")


def filmed(folder: Path) -> None:
    """A video of three seconds with its clock, and what an earlier version kept of sampling."""
    from test_video import make

    (folder / "v").mkdir(parents=True)
    make(
        folder / "v" / "ride.mp4", 30, 10, more=("-metadata", "creation_time=2024-05-31T12:00:00Z")
    )
    (folder / "p" / ".mapillary").mkdir(parents=True)
    row = json.dumps({"path": "/gone/other.mp4", "digest": "0" * 16, "frames": {}})
    (folder / "p" / ".mapillary" / "sampled.jsonl").write_text(row + "\n", encoding="ascii")


def whole(folder: Path, photos: int = 0) -> None:
    """Two videos that go up whole, with their tracks beside them; and photos."""
    plain(folder, photos)
    (folder / "p").mkdir(exist_ok=True)
    for number, stem in enumerate(("a", "b")):
        begin = START + 1000 * number
        pictures = [making.jpeg(pixels=n) for n in range(3 + number)]
        (folder / "p" / f"{stem}.mp4").write_bytes(film(pictures, 2, created=begin, gap=9))
        points = [(begin - 2 + n, 57.7 + n / 1e4, 11.97, 3.0) for n in range(9)]
        making.gpx(points, folder / "p" / f"{stem}.gpx")


def resampled(folder: Path) -> None:
    """Nothing: the frames of the earlier sampling are to be replaced."""


def redescribed(folder: Path) -> None:
    """The photos have been changed since they were processed; of one there is an old upload."""
    for number, path in enumerate(sorted((folder / "p").glob("*.jpg"))):
        making.photo(path, lat=1.0 + number / 1e4, lon=2.0, pixels=number + 7)
    (folder / "p" / ".mapillary" / "logs" / "0003" / "upload_success").mkdir(parents=True)


def long_journal(folder: Path) -> None:
    """The journal holds each line many times, so that it is compacted; and one photo is new."""
    path = folder / "p" / ".mapillary" / "journal.jsonl"
    head, *lines = path.read_bytes().splitlines(True)
    path.write_bytes(b"".join([head, *(lines * 6)]))
    making.photo(folder / "p" / "new.jpg", lat=57.71, lon=11.97, time="2024:05:06 07:09:09")


def signed(folder: Path) -> None:
    """The configuration has the secret of a master upload, too."""
    text = "[MAPAdmin]\nMAPILLARY_SECRET_HASH = S\n"
    with open(str(folder / "config"), "a", encoding="ascii") as stream:
        stream.write(text)


def both(*makers: Callable[[Path], None]) -> Callable[[Path], None]:
    """One maker after the other."""

    def make(folder: Path) -> None:
        for maker in makers:
            maker(folder)

    return make


PROCESS = "process --import_path @/p --user_name demo"
TRACK = PROCESS + " --advanced --geotag_source gpx --geotag_source_path @/track.gpx"
CSV = (
    "process_csv --import_path @/p --csv_path @/t.csv --header --filename_column 1"
    " --timestamp_column 2 --latitude_column 3 --longitude_column 4"
)
SAMPLE = "sample_video --import_path @/p --video_path @/v --video_sample_interval 1"
UPLOAD = "upload --import_path @/p --stand_in @/received"
BOTH = "process_and_upload --import_path @/p --user_name demo --stand_in @/received"
WHOLE = " --videos upload"
ONE = " --workers 1"  # so that the n-th call is always the same

SCENES: Dict[str, Scene] = {
    "process": Scene(TRACK + ONE, tracked),
    "process, threads": Scene(TRACK + " --workers 4", lambda folder: tracked(folder, 5)),
    "process, copies": Scene(
        PROCESS + " --keep_original" + ONE, plain, (PROCESS + " --keep_original",), redescribed
    ),
    "process, again": Scene(PROCESS + " --rerun" + ONE, plain, (PROCESS,)),
    "process, changed": Scene(TRACK + " --offset_angle 90" + ONE, tracked, (TRACK,)),
    "process, mixed": Scene(PROCESS + " --verbose" + ONE, mixed),
    "process, compacted": Scene(PROCESS + ONE, plain, (PROCESS,), long_journal),
    "process, signed": Scene(
        PROCESS + " --rerun --master_upload" + ONE,
        both(plain, signed),
        (PROCESS + " --master_upload",),
    ),
    "process, organization": Scene(
        PROCESS + " --organization_username city --organization_key 22" + ONE, plain
    ),
    "process_csv": Scene(CSV, tabled),
    "process_csv, processed": Scene(CSV, tabled, (PROCESS,)),
    "interpolate times": Scene("interpolate --data identical_timestamps --import_path @/p", paired),
    "interpolate places": Scene(
        "interpolate --data missing_gps --import_path @/p",
        lambda folder: plain(folder, placed=lambda number: number != 2),
    ),
    "interpolate table": Scene(
        "interpolate --data identical_timestamps --file_in_path @/times.csv --keep_original", paired
    ),
    "write_gpx": Scene(
        "extract_geotag_data --import_path @/p --geotag_source gpx"
        " --geotag_source_path @/track.gpx --write_gpx @/out.gpx",
        tracked,
    ),
    "sample_video": Scene(SAMPLE, filmed),
    "sample_video, again": Scene(
        SAMPLE.replace("interval 1", "interval 1.5"), filmed, (SAMPLE,), resampled
    ),
    "upload": Scene(UPLOAD, plain, (PROCESS,)),
    "process_and_upload": Scene(BOTH + ONE, lambda folder: plain(folder, 2)),
    "process, videos": Scene(PROCESS + WHOLE + ONE, whole),
    "upload, videos": Scene(UPLOAD + WHOLE, whole, (PROCESS + WHOLE,)),
    "process_and_upload, videos": Scene(BOTH + WHOLE + ONE, lambda folder: whole(folder, 1)),
    "authenticate": Scene(
        "authenticate --user_name demo --user_access_token "
        + stand_ins.TOKEN
        + " --force_overwrite",
        plain,
        online=True,
    ),
    "status": Scene("status --import_path @/p", mixed, (PROCESS,)),
    "report": Scene("report --import_path @/p --output_path @/r.html", mixed, (PROCESS,)),
    "export": Scene("export --import_path @/p --output_path @/e.csv", mixed, (PROCESS,)),
    "restore": Scene("restore --import_path @/p", mixed, (PROCESS,)),
    "download_images": Scene(
        "download_images 57.69 57.74 11.85 11.95 --output_path @/out", plain, online=True
    ),
}
if not HAS_FFMPEG:
    SCENES = {name: one for name, one in SCENES.items() if "sample_video" not in name}


# ---- what counts as the same -------------------------------------------------------------------

Things = Dict[Tuple[str, ...], Any]


def rows_of(content: bytes) -> List[Dict[str, Any]]:
    """The whole lines of a journal."""
    rows = []
    for text in content.split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):
            rows.append(json.loads(text))
    return rows


def told(content: bytes) -> Things:
    """What the last line about each thing says, without when that was written."""
    found: Things = {}
    for row in rows_of(content):
        row.pop("at", None)
        if "image" in row:
            for name in (
                "mtime",
                "ctime",
                "size",
                "digest",
            ):  # of a photo that was edited twice they are others
                (row.get("written") or {}).pop(name, None)
            row.pop("copied", None)  # a run that ends right behind the copy does not tell it
            found["image", row["image"]] = row
        elif "video" in row:
            found["video", row["video"]] = row
        elif "hashed" in row:
            found["hashed", row["hashed"]["video"]] = row
        elif "upload" in row:
            found["upload", row["upload"]["image"], row["upload"]["service"]] = row
        elif "sequence" in row:
            found["sequence", row["sequence"]["id"], row["sequence"]["service"]] = row
        elif "sampling" in row:
            sampling = row["sampling"]
            for stamp in sampling.get("frames", {}).values():
                stamp.pop("mtime")
            kind = "done" if "done" in sampling else "frames"
            found["sampling", kind, sampling["path"]] = sampling
    return found


def state_of(kept: Dict[str, Kept]) -> Dict[str, Any]:
    """A picture of a scene without locks, logs, and names that are drawn by lot."""
    found: Dict[str, Any] = {}
    for name, one in kept.items():
        place, base = os.path.split(name)
        if one.content is None or base == "lock" or "logs" in place.split(os.sep):
            continue
        name = re.sub("sampling-[^/]*", "sampling-", name)
        found[name] = re.sub(rb"stand-in-[0-9a-f]{16}", b"stand-in", one.content)
        if base == "journal.jsonl":
            found[name] = told(found[name])
        elif base == "history.jsonl":
            found[name] = arrivals(one.content)
    return found


@functools.lru_cache(maxsize=None)
def meant(content: bytes) -> Any:
    """What is in a photo, wherever in its Exif block it stands; another file is what it is."""
    try:
        block = making.exif_block(content)
        fields = {} if block is None else walker.Tiff(block).fields()
        return fields, making.without_exif(content)
    except (ValueError, IndexError, KeyError, struct.error):
        return content


def differing(one: Dict[str, Any], other: Dict[str, Any]) -> List[str]:
    """The names of files in two states that are not the same; photos by what is in them."""
    found = []
    for name in sorted({*one, *other}):
        here, there = one.get(name), other.get(name)
        same = here == there
        if not same and name.endswith(".jpg") and here is not None and there is not None:
            same = meant(here) == meant(there)
        if not same:
            found.append(name)
    return found


# ---- the stage ---------------------------------------------------------------------------------


class Programs:
    """What ffmpeg and ffprobe did the first time, for every other time."""

    def __init__(self) -> None:
        self.known: Dict[Tuple[str, ...], Tuple[mt.Ran, List[str], Dict[str, Kept]]] = {}
        self.plain = mt.run_program
        self.wrote: Callable[[str, bytes], None] = lambda path, content: None

    def __call__(
        self,
        argv: Any,
        folder: Optional[str] = None,
        line: Optional[Callable[[str], None]] = None,
        given: str = "",
        limits: mt.Allowance = mt.Allowance(),
    ) -> mt.Ran:
        key, heard = (*argv, given), []  # type: Tuple[str, ...], List[str]
        if key not in self.known:
            ran = self.plain(argv, folder, heard.append if line else None, given, limits)
            self.known[key] = (ran, heard, picture(folder) if folder else {})
        ran, heard, files = self.known[key]
        for name, kept in files.items():
            path = os.path.join(str(folder), name)
            if kept.content is not None:
                with PLAIN_OPEN(path, "wb") as stream:  # another program: not through the door
                    stream.write(kept.content)
                self.wrote(path, kept.content)
        for text in heard if line else ():
            line(text)  # type: ignore
        return ran


class Hung(BaseException):
    """The run did not end."""


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """End with Hung what takes too long, where the system and the thread allow it."""

    def ring(*_: Any) -> None:
        raise Hung(f"no end after {LIMIT_S} s")

    try:
        before = signal.signal(signal.SIGALRM, ring)
    except (AttributeError, ValueError):
        yield
        return
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Stage:
    """A scene set up in a folder of its own; a context manager."""

    def __init__(self, scene: Scene, folder: Any) -> None:
        self.scene, self.root = scene, Path(os.path.realpath(str(folder)))
        self.programs, self._stack = Programs(), contextlib.ExitStack()
        self.before: Dict[str, Kept] = {}

    def __enter__(self) -> "Stage":
        self.root.mkdir(parents=True, exist_ok=True)
        environment = {
            "MAPILLARY_CONFIG_PATH": str(self.root / "config"),
            "MAX_ATTEMPTS": "2",
            "NUMBER_THREADS": "1",
            "HOME": str(self.root),
        }
        if self.scene.online:
            photos = [
                stand_ins.Photo(str(number), 57.7, 11.9, 1714979289123, {"1024": making.jpeg()})
                for number in (1000, 1001)
            ]
            world = self._stack.enter_context(stand_ins.Service(photos=photos))
            environment.update(world.environment())
        self._stack.enter_context(mock.patch.dict(os.environ, environment))
        self._stack.enter_context(mock.patch.object(mt, "run_program", self.programs))
        self._stack.enter_context(mock.patch.object(mt, "BACKOFF_S", 0.01))
        self._stack.enter_context(mock.patch.object(mt.LOG, "propagate", False))
        self.scene.make(self.root)
        for words in self.scene.earlier:
            assert self.run(words).code in (0, 1), words
        self.scene.change(self.root)
        self.before = picture(self.root)
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def run(self, words: str) -> Ran:
        """An undisturbed run of a command line."""
        return run(*(word.replace("@", str(self.root)) for word in words.split()))

    def act(self, watcher: Optional[Watcher] = None) -> Ran:
        """The run of the scene; with a watcher, through the door."""
        with bounded():
            if watcher is None:
                return self.run(self.scene.argv)
            with Door(self.root, watcher):
                return self.run(self.scene.argv)

    @property
    def sends(self) -> bool:
        """Whether images are sent by the run."""
        return "--stand_in" in self.scene.argv

    def reset(self) -> None:
        """The folder as it was before the run."""
        restore(self.root, self.before)

    def state(self) -> Dict[str, Any]:
        """What is there now, as far as it counts."""
        return state_of(picture(self.root))
