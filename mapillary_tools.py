#!/usr/bin/env python3
"""Street-level photos from a camera card to Mapillary: geotagged right, never lost.

Three commands to try: the first does the whole job without an account (the upload goes to a service that this script
starts on your own computer), the second says what would be done, the third lists every tool.

    python mapillary_tools.py process_and_upload --import_path PHOTOS --user_name NAME --stand_in received
    python mapillary_tools.py process --import_path PHOTOS --user_name NAME --dry_run
    python mapillary_tools.py --advanced -h

This file and the folder vendor/ beside it are all that is needed: Python 3.8 or newer, no installation. It is laid out
in sixteen floors; a floor uses only floors above it in this file.

     0 this text and imports     6 EXIF facade                            12 HTTP and upload
     1 Errors and constants      7 Track sources                          13 Download and report
     2 Data: the types that flow 8 Journal: what has been done            14 Tools: one function a subcommand
     3 Geo: distance, bearing    9 Sequences: split, directions           15 Command line
     4 Time: text and seconds   10 Steps: option groups and their work
     5 Files and programs       11 Video: sampling frames

Exit codes: 0 all good, 1 some images failed (each is listed), 2 usage, 3 input not found, 4 bad EXIF, 5 bad track,
6 outside the track, 7 program missing, 8 upload, 9 not authorized, 10 journal, 11 cannot write, 130 interrupted.

For embedding: `import mapillary_tools`; what `__all__` names is kept stable. Every tool is a function of option groups
that returns a Report and raises ToolError; nothing here calls sys.exit, prints, or touches sys.path, the environment or
logging handlers when it is imported.
"""
import sys

__version__ = "1.0.0"

if __name__ == "__main__" and sys.argv[1:] == ["--version"]:    # scripts ask this often: do not build all the rest
    sys.stdout.write("mapillary_tools %s\n" % __version__)
    sys.exit(0)

import argparse
import bisect
import collections
import contextlib
import dataclasses
import datetime
import errno
import functools
import hashlib
import importlib
import io
import itertools
import json
import logging
import math
import operator
import os
import random
import re
import struct
import subprocess
import threading
import time
import typing
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import (Any, BinaryIO, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple,
                    Type, Union)

__all__ = [
    "Account", "Again", "Angle", "BadExif", "BadJournal", "BadTrack", "Camera", "CannotWrite", "CsvColumns", "Dry",
    "Fix", "Geotagging", "Image", "Input", "Insert", "Interpolation", "Journal", "Keep", "Login", "Master", "MetaData",
    "NotAuthorized", "NotFound", "Outcome", "OutsideTrack", "Patience", "Problem", "ProgramMissing", "Report",
    "Selection", "SequenceOptions", "Table", "ToolError", "Track", "TrackOut", "Ui", "UploadError", "UploadOptions",
    "UsageError", "User", "Workers", "authenticate", "bearing", "distance", "exif_insert", "extract_geotag_data",
    "extract_import_meta_data", "extract_sequence_data", "extract_upload_params", "extract_user_data", "find_images",
    "fix_at", "format_time", "interpolate", "main", "mark_duplicates", "parse_time", "process", "process_and_upload",
    "process_csv", "read_image", "read_track", "retry_delay", "split", "spread_subseconds", "turn", "upload",
    "write_gpx", "write_image"]

LOG = logging.getLogger("mapillary_tools")
LOG.addHandler(logging.NullHandler())

_HERE = os.path.dirname(os.path.abspath(os.path.realpath(__file__)))
_loading = threading.Lock()


def _zip_loader(name: str) -> Any:
    """A loader for vendor/NAME inside the zip archive that this module was imported from, whatever name it gets."""
    import importlib.abc
    import zipimport

    class Loader(importlib.abc.InspectLoader):
        def get_source(self, fullname: str) -> Optional[str]:
            return zipimport.zipimporter(os.path.join(_HERE, "vendor")).get_source(name)
    return Loader()


def _vendored(name: str) -> Any:
    """The package vendor/NAME, loaded by path under a private name, so that a host's own NAME is left alone."""
    import importlib.util
    private, folder = "_mapillary_tools_" + name, os.path.join(_HERE, "vendor", name)
    start = os.path.join(folder, "__init__.py")
    with _loading:
        if private in sys.modules:
            return sys.modules[private]
        if os.path.isfile(start):
            spec: Any = importlib.util.spec_from_file_location(private, start, submodule_search_locations=[folder])
        elif os.path.isdir(_HERE):
            raise ImportError("%s is missing: copy the folder vendor/ together with mapillary_tools.py" % folder)
        else:
            spec = importlib.util.spec_from_loader(private, _zip_loader(name), is_package=True)
            spec.submodule_search_locations = [folder]
        module = sys.modules[private] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[private]
            raise
        return module


def _aside(name: str) -> Any:
    """The library vendor/NAME, which imports itself by its own name, without leaving that name or a path behind."""
    private, vendor = "_mapillary_tools_" + name, os.path.join(_HERE, "vendor")
    with _loading:
        if private not in sys.modules:
            theirs = {key: sys.modules.pop(key) for key in list(sys.modules) if key.partition(".")[0] == name}
            sys.path.insert(0, vendor)
            try:
                sys.modules[private] = importlib.import_module(name)
            finally:
                sys.path.remove(vendor)
                for key in [key for key in sys.modules if key.partition(".")[0] == name]:
                    del sys.modules[key]
                sys.modules.update(theirs)
        return sys.modules[private]


def second_reader(name: str) -> Any:
    """A well-kept library (gpxpy, exifread) for what the own reader refuses: vendor/NAME, else installed, else None."""
    try:
        return (_aside if os.path.isdir(os.path.join(_HERE, "vendor", name)) else importlib.import_module)(name)
    except ImportError:
        return None


# ---- 1. Errors and constants --------------------------------------------------------------------
# Here: what can go wrong, with an exit code a class, and named numbers with their unit.
# Not here: anything that acts.

def shown(text: str) -> str:
    """A text as one line without control characters, which a file name may hold."""
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: "\\x%02x" % ord(match.group()), text)


class Problem(NamedTuple):
    """What a person can act on; text and --json are both made from it."""
    code: str                       # stable word, such as "no_position"
    file: str                       # file or folder it is about; "" = none
    wrong: str                      # what is wrong
    value: str = ""                 # the value that is wrong
    remedy: str = ""                # what to do

    def __str__(self) -> str:
        """One line: `path: what is wrong, with the value (what to do)`."""
        text = "%s: %s" % (self.file, self.wrong) if self.file else self.wrong
        text += ": " + self.value if self.value else ""
        text += " (%s)" % self.remedy if self.remedy else ""
        return shown(text)


class ToolError(Exception):
    """Something a person can act on; carries its problem, and takes nothing else, so it pickles."""
    exit_code = 12

    def __init_subclass__(cls, exit_code: int = 0) -> None:
        cls.exit_code = exit_code or cls.exit_code

    def __init__(self, problem: Union[Problem, Tuple[str, ...]]) -> None:
        self.problem = Problem(*problem)
        super().__init__(self.problem)


class UsageError(ToolError, exit_code=2):
    """The command line, or an option group, asks for something that cannot be."""


class NotFound(ToolError, exit_code=3):
    """A file or folder to read is not there, or there is nothing in it."""


class BadExif(ToolError, exit_code=4):
    """An image, or the EXIF in it, cannot be read or lacks what is needed."""


class BadTrack(ToolError, exit_code=5):
    """A track cannot be read or has no usable point."""


class OutsideTrack(ToolError, exit_code=6):
    """An image was taken when the track was not recorded."""


class ProgramMissing(ToolError, exit_code=7):
    """A program such as ffmpeg is not on this computer."""


class UploadError(ToolError, exit_code=8):
    """The service does not take what was sent, or cannot be reached."""


class NotAuthorized(UploadError, exit_code=9):
    """The service does not accept the token, or there is none."""


class BadJournal(ToolError, exit_code=10):
    """The journal of a folder is in use, damaged, or from a newer version."""


class CannotWrite(ToolError, exit_code=11):
    """A folder is read-only or the disk is full."""


EXIT_SOME_FAILED = 1                # some images failed; each is listed
EXIT_INTERRUPTED = 130              # Ctrl-C

IMAGE_KINDS = ("jpg", "jpeg", "tif", "tiff", "pgm", "pnm", "gif")
JPEG_KINDS = ("jpg", "jpeg")        # the kinds that can be described and uploaded
STATE_FOLDER = ".mapillary"         # in each folder of images; never searched for images
PART_PREFIX, PART_SUFFIX = ".mapillary-", ".part"   # temporary files
HEAD_BYTES = 65536                  # bytes read at first from the head of a JPEG
TAIL_BYTES = 65536                  # bytes at the end of a JPEG in which EOI must stand
COPY_BYTES = 1 << 20                # bytes copied at a time
SEQUENCE_IMAGES = 500               # images in one sequence at most
EXTRAPOLATE_S = 1.0                 # seconds a track is continued beyond its ends
HOLE_S = 60.0                       # seconds; a longer hole in a track is said
DAY_S = 86400.0                     # seconds
PROCESS_IMAGES = 2000               # images from which worker processes are worth their start
ID_NAMESPACE = "8d3e7e7b-6a0b-5c5e-9c5b-3c1f0c1a7d11"   # namespace of the UUIDv5 ids, chosen once
SKIP_KIND = "not a JPEG (Mapillary takes only JPEG)"
SKIP_UPLOADED = "already uploaded"
SKIP_PROCESSED = "already processed"
SKIP_DUPLICATE = "duplicate"
SKIP_LEFT = "still to be sent"
SKIP_LINK = "a link (process the folder that the photo itself is in)"
STAND_IN_FILE = "stand_in.json"     # tells a folder in which a stand-in service keeps what it received


# ---- 2. Data ------------------------------------------------------------------------------------
# Here: the values that flow from floor to floor, and how an option is declared.
# Not here: reading, writing, computing.

class Fix(NamedTuple):
    """One place at one time."""
    time: float                     # seconds since 1970-01-01 UTC
    lat: float                      # degrees WGS-84, north positive
    lon: float                      # degrees WGS-84, east positive
    alt: Optional[float] = None     # metres, negative below the reference; None = unknown
    course: Optional[float] = None  # degrees clockwise from true north, 0 <= x < 360; None = unknown


@dataclass(frozen=True)
class Camera:
    """What took the picture; None = unknown."""
    make: Optional[str] = None
    model: Optional[str] = None
    width: Optional[int] = None     # pixels
    height: Optional[int] = None    # pixels
    orientation: Optional[int] = None   # EXIF 1..8


@dataclass(frozen=True)
class Outcome:
    """Why an image goes no further."""
    status: str                     # "skipped", "duplicate" or "failed"
    reason: str                     # skipped: the reason in words; else the Problem's code
    problem: Optional[Problem] = None
    partner: Optional[str] = None   # duplicate: file name of the image kept
    distance: Optional[float] = None    # duplicate: metres from the partner
    turn: Optional[float] = None    # duplicate: degrees between the headings; None = unknown


@dataclass(frozen=True)
class Image:
    """One image on its way through the steps."""
    path: Path                      # identity
    time: Optional[float] = None    # capture, seconds since 1970-01-01 UTC
    fix: Optional[Fix] = None       # all or nothing; never (0, 0) for "unknown"
    heading: Optional[float] = None     # camera axis, degrees from true north
    magnetic: Optional[float] = None    # camera axis, degrees from magnetic north
    camera: Camera = Camera()
    sequence: Optional[str] = None  # sequence id
    outcome: Optional[Outcome] = None   # None = goes on
    capture: Optional[Any] = None   # the Capture (floor 4) that the file's own tags give
    found: Optional[Dict[str, Any]] = None   # what the file carried before we first changed it
    given: Optional[Dict[str, Any]] = None   # what process_csv and interpolate put in its place
    steps: Dict[str, Dict[str, Any]] = dataclasses.field(default_factory=dict)   # journal entries by step
    written: Optional[Dict[str, Any]] = None  # size, time and EXIF digest after our write; None = not ours

    def but(self, **changes: Any) -> "Image":
        """A copy with some fields changed; ten times as fast as dataclasses.replace."""
        assert changes.keys() <= self.__dict__.keys(), changes.keys()
        copy = object.__new__(Image)
        copy.__dict__.update(self.__dict__)
        copy.__dict__.update(changes)
        return copy


@dataclass(frozen=True)
class Track:
    """Where something was, when."""
    points: List[Fix]               # sorted by time, one per time
    starts: List[int]               # index of each segment's first point
    dropped: Dict[str, int]         # how many points were left out, by reason
    clock: str                      # where the times come from: "GPX", "GPS9", "GPSU fitted", "RMC" ...
    notes: List[str] = dataclasses.field(default_factory=list)   # what the run should say


@dataclass
class Report:
    """What a tool did: found = done + skipped + failed, always."""
    tool: str
    found: int = 0
    done: int = 0
    word: str = "done"              # what was done, for the summary: "processed", "uploaded"
    skipped: Dict[str, List[str]] = dataclasses.field(default_factory=dict)   # reason -> paths
    failed: List[Problem] = dataclasses.field(default_factory=list)
    notes: List[str] = dataclasses.field(default_factory=list)
    trouble: List[Problem] = dataclasses.field(default_factory=list)          # what is wrong with no single image
    stopped: Optional[ToolError] = None     # why the run ended before its time; None = it did not
    lines: List[str] = dataclasses.field(default_factory=list)                # what else the summary shows
    facts: Dict[str, Any] = dataclasses.field(default_factory=dict)           # figures of the tool, for --json
    parts: List["Report"] = dataclasses.field(default_factory=list)           # tools that ran before, in order

    @property
    def exit_code(self) -> int:
        """0, or 1 when an image failed here or in a part, or the code of what stopped the run."""
        if self.stopped is not None:
            return self.stopped.exit_code
        return EXIT_SOME_FAILED if self.failed or self.trouble or any(part.exit_code for part in self.parts) else 0

    def count(self, image: Image) -> None:
        """Account for one image by its outcome."""
        self.found += 1
        if image.outcome is None:
            self.done += 1
        elif image.outcome.status == "failed":
            self.failed.append(image.outcome.problem or Problem(image.outcome.reason, str(image.path), "failed"))
        else:
            self.skipped.setdefault(image.outcome.reason, []).append(str(image.path))

    def as_json(self) -> Dict[str, Any]:
        """The same as plain values."""
        row: Dict[str, Any] = {
            "tool": self.tool, "exit_code": self.exit_code, "found": self.found, "done": self.done,
            "skipped": {reason: len(names) for reason, names in sorted(self.skipped.items())},
            "failed": [problem._asdict() for problem in self.failed], "notes": self.notes}
        if self.trouble:
            row["trouble"] = [problem._asdict() for problem in self.trouble]
        if self.stopped is not None:
            row["stopped"] = self.stopped.problem._asdict()
        row.update(self.facts)
        if self.parts:
            row["parts"] = [part.as_json() for part in self.parts]
        return row


@dataclass(frozen=True)
class Ui:
    """How the floors below talk to whoever runs them; the top floor fills it in."""
    progress: Callable[[str, int, int, int], None] = lambda what, done, total, size: None   # bytes so far
    ask: Optional[Callable[[str, bool], str]] = None    # (question, secret) -> answer; None = nobody to ask


def opt(default: Any, help: str, metavar: Optional[str] = None, advanced: bool = False, required: bool = False,
        choices: Optional[Sequence[Any]] = None, at_least: Optional[float] = None, above: Optional[float] = None,
        at_most: Optional[float] = None, flag: Optional[str] = None, positional: bool = False) -> Any:
    """A field of an option group; its name is the option's name, or flag where that is no Python name."""
    return dataclasses.field(default=default, metadata={
        "help": help, "metavar": metavar, "advanced": advanced, "required": required, "choices": choices,
        "at_least": at_least, "above": above, "at_most": at_most, "flag": flag, "positional": positional})


@dataclass(frozen=True)
class Group:
    """options"""
    def __post_init__(self) -> None:
        """Check every field by what opt() says of it; raises UsageError."""
        for field in dataclasses.fields(self):
            rule, value, must = field.metadata, getattr(self, field.name), []
            name = "--" + (rule.get("flag") or field.name)
            if value is None or value == "" and not rule.get("choices"):
                if rule.get("required"):
                    raise UsageError(("missing_option", "", "%s is missing" % name, "",
                                      "add %s %s" % (name, rule.get("metavar") or field.name.upper())))
                continue
            if rule.get("choices") and value not in rule["choices"]:
                must.append("one of %s" % ", ".join(map(str, rule["choices"])))
            if isinstance(value, float) and not math.isfinite(value):
                must.append("a finite number")
            for word, wrong in (("at_least", operator.lt), ("above", operator.le), ("at_most", operator.gt)):
                if rule.get(word) is not None and wrong(value, rule[word]):
                    must.append("%s %g" % (word.replace("_", " "), rule[word]))
            if must:
                raise UsageError(("bad_option", "", "%s must be %s" % (name, must[0]), str(value)))


_VERBOSE: Any = opt(False, "say more, and keep a log of every image")


@dataclass(frozen=True)
class Verbose(Group):
    """narration"""
    verbose: bool = _VERBOSE


@dataclass(frozen=True)
class Input(Group):
    """input"""
    import_path: Optional[str] = opt(None, "folder with the images", metavar="FOLDER", required=True)
    verbose: bool = _VERBOSE


@dataclass(frozen=True)
class Selection(Group):
    """which images"""
    skip_subfolders: bool = opt(False, "do not look into subfolders")


@dataclass(frozen=True)
class Again(Group):
    """repeating"""
    rerun: bool = opt(False, "process images again that are already processed")


# ---- 3. Geo -------------------------------------------------------------------------------------
# Here: pure geometry on the WGS-84 ellipsoid; degrees in, metres and degrees out.
# Not here: files, images, options.

EARTH_A = 6378137.0                 # metres, WGS-84 semi-major axis
EARTH_F = 1 / 298.257223563         # WGS-84 flattening
EARTH_E2 = EARTH_F * (2 - EARTH_F)  # first eccentricity squared
NEAR_DEG = 0.05                     # degrees (about 5 km) within which the local ellipsoid radii are exact enough


def _lon_diff(lon1: float, lon2: float) -> float:
    """lon2 - lon1 in degrees, -180 <= x < 180, so that the antimeridian is no edge."""
    return (lon2 - lon1 + 180.0) % 360.0 - 180.0


def _near(a: Fix, b: Fix) -> Optional[Tuple[float, float]]:
    """Metres (east, north) from a to b by the radii of curvature between them; None when not near."""
    dlat, dlon = b.lat - a.lat, _lon_diff(a.lon, b.lon)
    if abs(dlat) > NEAR_DEG or abs(dlon) > NEAR_DEG or abs(a.lat) > 80.0:
        return None
    middle = math.radians((a.lat + b.lat) / 2)
    w2 = 1.0 - EARTH_E2 * math.sin(middle) ** 2
    normal = EARTH_A / math.sqrt(w2)
    return (math.radians(dlon) * normal * math.cos(middle), math.radians(dlat) * normal * (1.0 - EARTH_E2) / w2)


def _vincenty(a: Fix, b: Fix) -> Tuple[float, float]:
    """(metres, radians of azimuth at a) by Vincenty's inverse formula (Survey Review 23, 1975). Nearly antipodal points
    do not converge; the last iterate is returned, right to about 0.5 percent."""
    u1 = math.atan((1 - EARTH_F) * math.tan(math.radians(a.lat)))
    u2 = math.atan((1 - EARTH_F) * math.tan(math.radians(b.lat)))
    lam = wanted = math.radians(_lon_diff(a.lon, b.lon))
    s1, c1, s2, c2 = math.sin(u1), math.cos(u1), math.sin(u2), math.cos(u2)
    for _ in range(60):
        sl, cl = math.sin(lam), math.cos(lam)
        sin_s = math.hypot(c2 * sl, c1 * s2 - s1 * c2 * cl)
        if sin_s == 0.0:
            return (0.0, 0.0) if cl > 0 else (math.pi * EARTH_A * (1 - EARTH_F / 2), 0.0)
        cos_s = s1 * s2 + c1 * c2 * cl
        sigma = math.atan2(sin_s, cos_s)
        sin_a = c1 * c2 * sl / sin_s
        cos2_a = 1.0 - sin_a * sin_a
        cos_2m = cos_s - 2 * s1 * s2 / cos2_a if cos2_a > 1e-15 else 0.0
        c = EARTH_F / 16 * cos2_a * (4 + EARTH_F * (4 - 3 * cos2_a))
        before = lam
        lam = wanted + (1 - c) * EARTH_F * sin_a * (
            sigma + c * sin_s * (cos_2m + c * cos_s * (2 * cos_2m * cos_2m - 1)))
        if abs(lam - before) < 1e-12:
            break
        if abs(lam) > math.pi:
            lam = math.copysign(math.pi, lam)
    k2 = cos2_a * EARTH_E2 / (1 - EARTH_E2)
    big_a = 1 + k2 / 16384 * (4096 + k2 * (-768 + k2 * (320 - 175 * k2)))
    big_b = k2 / 1024 * (256 + k2 * (-128 + k2 * (74 - 47 * k2)))
    delta = big_b * sin_s * (cos_2m + big_b / 4 * (cos_s * (2 * cos_2m * cos_2m - 1) - big_b / 6 * cos_2m * (
        4 * sin_s * sin_s - 3) * (4 * cos_2m * cos_2m - 3)))
    azimuth = math.atan2(c2 * math.sin(lam), c1 * s2 - s1 * c2 * math.cos(lam))
    return EARTH_A * (1 - EARTH_F) * big_a * (sigma - delta), azimuth


def distance(a: Fix, b: Fix) -> float:
    """Metres from a to b along the WGS-84 ellipsoid."""
    near = _near(a, b)
    return math.hypot(*near) if near else _vincenty(a, b)[0]


def bearing(a: Fix, b: Fix) -> float:
    """Initial course from a to b in degrees from true north, 0 <= x < 360; 0 for one and the same place."""
    near = _near(a, b)
    angle = math.atan2(*near) if near else _vincenty(a, b)[1]
    degrees = math.degrees(angle) % 360.0
    return 0.0 if degrees >= 360.0 else degrees


def turn(heading1: float, heading2: float) -> float:
    """Degrees between two headings, 0..180."""
    return abs(_lon_diff(heading1, heading2))


def between(a: Fix, b: Fix, when: float) -> Fix:
    """The place at a time on the line from a to b (linear in time; beyond them too), without a course."""
    share = (when - a.time) / (b.time - a.time)
    lat = max(-90.0, min(90.0, a.lat + (b.lat - a.lat) * share))
    lon = _lon_diff(0.0, a.lon + _lon_diff(a.lon, b.lon) * share)
    alt = a.alt + (b.alt - a.alt) * share if a.alt is not None and b.alt is not None else None
    return Fix(when, lat, lon, alt)


def degrees_minutes_seconds(degrees: float) -> Tuple[int, int, int]:
    """The magnitude of an angle as (degrees, minutes, millionths of a second), carried: never 60 minutes."""
    minutes, micro = divmod(round(abs(degrees) * 3600 * 1000000), 60 * 1000000)
    return (*divmod(minutes, 60), micro)


STANDING_MS = 0.5                   # metres a second; slower than this a course is noise
COURSE_S = 1.0                      # seconds before and after a time between which the course is taken


def _segment(track: Track, index: int) -> Tuple[int, int]:
    """First and last index of the segment that holds a point."""
    at = bisect.bisect_right(track.starts, index) - 1
    last = track.starts[at + 1] - 1 if at + 1 < len(track.starts) else len(track.points) - 1
    return track.starts[at], last


def _moving(a: Fix, b: Fix) -> Optional[float]:
    """The course from a to b in degrees, or None when that is standing still."""
    standing = b.time <= a.time or distance(a, b) < STANDING_MS * (b.time - a.time)
    return None if standing else bearing(a, b)


def with_courses(track: Track) -> Track:
    """The track with a course at every point: around it while moving, else the last one (at first the next one)."""
    points: List[Fix] = []
    starts = track.starts or [0]
    for start, end in zip(starts, starts[1:] + [len(track.points)]):
        part = track.points[start:end]
        courses = [_moving(part[max(0, i - 1)], part[min(len(part) - 1, i + 1)]) for i in range(len(part))]
        held = next((course for course in courses if course is not None), None)
        for point, course in zip(part, courses):
            held = held if course is None else course
            points.append(point._replace(course=held))
    return dataclasses.replace(track, points=points)


def fix_at(track: Track, when: float, max_gap: Optional[float] = None) -> Fix:
    """The place and course at a time in seconds UTC: linear inside one segment and over a hole of at most max_gap
    seconds (None = no limit), extrapolated at most 1 s beyond. Raises OutsideTrack with the seconds to the nearest
    point."""
    points = track.points
    index = bisect.bisect_right(points, (when, math.inf))
    before = when - points[index - 1].time if index else math.inf
    after = points[index].time - when if index < len(points) else math.inf
    inside = 0 < index < len(points) and index not in track.starts[1:]
    if before == 0.0 or inside and (max_gap is None or points[index].time - points[index - 1].time <= max_gap):
        here = between(points[index - 1], points[index], when) if before else points[index - 1]
        return here._replace(course=_course(track, index - 1, here, max_gap))
    if min(before, after) > EXTRAPOLATE_S:
        reason = "taken outside the track" if index in (0, len(points)) else "taken in a gap of the track"
        raise OutsideTrack(("outside_track", "", reason, "%.1f s from the nearest point" % min(before, after),
                            "check --offset_time and the time zone, or give a track that covers it"))
    nearest, other = (index - 1, index - 2) if before <= after else (index, index + 1)
    first, last = _segment(track, nearest)
    here = points[nearest]
    if first <= other <= last and abs(points[other].time - here.time) <= HOLE_S:
        return between(points[min(other, nearest)], points[max(other, nearest)], when)._replace(course=here.course)
    return here._replace(time=when)


def _course(track: Track, index: int, here: Fix, max_gap: Optional[float]) -> Optional[float]:
    """Course at a place between point index and the next: over COURSE_S to both sides, else as the point has it."""
    points = track.points
    first, last = _segment(track, index)
    limit = math.inf if max_gap is None else max_gap
    start, end = here.time - COURSE_S, here.time + COURSE_S
    low, high = index, index + 1
    while low > first and points[low].time > start and points[low].time - points[low - 1].time <= limit:
        low -= 1
    while high < last and points[high].time < end and points[high + 1].time - points[high].time <= limit:
        high += 1
    high = min(high, last)
    if high > index and points[high].time - points[high - 1].time > limit:
        high -= 1
    if low == high:
        return points[index].course
    course = _moving(between(points[low], points[low + 1], max(points[low].time, start)),
                     between(points[high - 1], points[high], min(points[high].time, end)))
    return points[index].course if course is None else course


# ---- 4. Time ------------------------------------------------------------------------------------
# Here: text, EXIF, GPS and MAP time to seconds and back; zones. Pure.
# Not here: images, options, tracks.

_DATE_TIME = re.compile(
    r"(\d{4})[:\-./](\d{1,2})[:\-./](\d{1,2})[ T]+(\d{1,2})[:\-.](\d{1,2})(?:[:\-.](\d{1,2})(?:[.,](\d+))?)?"
    r" *(Z|[+-]\d{2}:?\d{2})?$", re.IGNORECASE)
_FILE_TIME = re.compile(r"(\d{4})_(\d{2})_(\d{2})_(\d{2})_(\d{2})_(\d{2})_(\d{3})\D")
_OFFSET = re.compile(r"([+-])(\d{1,2}):?(\d{2})$")
_NO_GPS_DATES = ("1970-01-01", "1980-01-06")    # what receivers without a fix write
GPS_EPOCH = 315964800               # 1980-01-06 UTC in seconds since 1970
QUARTER_S = 900.0                   # seconds; zones are multiples of it
AGREE_S = 300.0                     # seconds within which a GPS time confirms a zone


class Capture(NamedTuple):
    """When an image was taken, and how that is known."""
    time: float                     # seconds since 1970-01-01 UTC
    source: str                     # "DateTimeOriginal" ... "GPS time", "file name"
    offset: float                   # seconds that local time is ahead of UTC
    zone: str                       # what told the zone: "OffsetTimeOriginal", "--timezone", "GPS time", "UTC assumed"


def utc_seconds(year: int, month: int, day: int, hour: int, minute: int, second: float) -> float:
    """Seconds since 1970-01-01 of a date and time of day; 24:xx and :60 run on. ValueError for no real date, and
    outside of the years 1900 to 2199, in which no picture was taken."""
    if not (1900 <= year < 2200 and 0 <= hour <= 24 and 0 <= minute <= 60 and 0 <= second < 61.0):
        raise ValueError("no time: %d %d:%d:%g" % (year, hour, minute, second))
    return (datetime.date(year, month, day).toordinal() - 719163) * 86400 + hour * 3600 + minute * 60 + second


def parse_offset(text: Optional[str]) -> Optional[float]:
    """Seconds ahead of UTC from `+02:00`, `-0500` or `Z`; None when it is none of these or beyond 14 hours."""
    text = (text or "").strip(" \0")
    if text.upper() in ("Z", "UTC"):
        return 0.0
    match = _OFFSET.match(text)
    seconds = int(match.group(2)) * 3600.0 + int(match.group(3)) * 60.0 if match else math.inf
    if not match or seconds > 14 * 3600 or int(match.group(3)) > 59:
        return None
    return -seconds if match.group(1) == "-" else seconds


def parse_time(text: Optional[str]) -> Optional[float]:
    """Seconds since 1970-01-01 of an EXIF or ISO date and time; in its own zone when it names one, else as if UTC. None
    when it is no date and time. Tolerates 24:10:11, :60, fractions, `-`, `.`, `/` and trailing NULs."""
    match = _DATE_TIME.match((text or "").strip(" \0\t\r\n"))
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        seconds = utc_seconds(year, month, day, hour, minute, second)
    except ValueError:
        return None
    if match.group(7):
        seconds += float("0." + match.group(7))
    return seconds - (parse_offset(match.group(8)) or 0.0)


def file_name_time(name: str) -> Optional[float]:
    """Seconds since 1970-01-01, as if UTC, from a name like 2024_05_06_07_08_09_123.jpg; None for other names."""
    match = _FILE_TIME.match(name)
    return parse_time("%s-%s-%s %s:%s:%s.%s" % match.groups()) if match else None


def _calendar(seconds: float) -> Tuple[datetime.datetime, int]:
    """(date and time to the second, milliseconds), rounded to the millisecond."""
    whole, milli = divmod(int(round(seconds * 1000)), 1000)
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=whole), milli


def format_time(seconds: float, style: str = "iso") -> str:
    """Seconds as text: "iso" 2024-05-06T07:08:09.123Z, "exif" 2024:05:06 07:08:09, "map" 2024_05_06_07_08_09_123."""
    moment, milli = _calendar(seconds)
    parts = moment.timetuple()[:6]
    if style == "exif":
        return "%04d:%02d:%02d %02d:%02d:%02d" % parts
    form = "%04d_%02d_%02d_%02d_%02d_%02d_%03d" if style == "map" else "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ"
    return form % (parts + (milli,))


def format_offset(seconds: float) -> str:
    """A zone offset in seconds as `+02:00`."""
    minutes = int(round(seconds / 60))
    return "%s%02d:%02d" % (("-" if minutes < 0 else "+",) + divmod(abs(minutes), 60))


def zone_offset(zone: str, local: float) -> float:
    """Seconds ahead of UTC at a local time (seconds as if UTC) in a zone: "local" (this computer's, by its rule then),
    `+02:00` or an IANA name. Raises UsageError for a zone that this Python does not know."""
    fixed = parse_offset(zone)
    if fixed is not None:
        return fixed
    local = max(-6e10, min(2e11, local))    # the years 69 to 8307, beyond which dates cannot be computed
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=math.floor(local))
    if zone == "local":
        try:
            return math.floor(local) - time.mktime(moment.timetuple()[:8] + (-1,))
        except (OverflowError, ValueError):
            return -float(time.timezone)
    try:
        import zoneinfo
        shift = moment.replace(tzinfo=zoneinfo.ZoneInfo(zone)).utcoffset()
    except (ImportError, KeyError, ValueError, OSError):
        raise UsageError(("unknown_zone", "", "--timezone is neither an offset up to 14:00 nor a name that this Python "
                          "knows (names need 3.9 or newer)", zone, "write it as +02:00 or -05:00")) from None
    return shift.total_seconds() if shift else 0.0


def _found_local(found: Dict[str, Any], name: str) -> Tuple[Optional[float], str]:
    """(local seconds as if UTC, source) of the first usable time that an image carries as text or in its name."""
    times = found.get("times", {})
    for field in ("DateTimeOriginal", "DateTimeDigitized", "DateTime"):
        text = re.sub(r"(Z|[+-]\d{2}:?\d{2})[\s\0]*$", "", times.get(field) or "").strip(" \0")
        local = parse_time(text)
        if local is not None:
            if typing.cast(Any, _DATE_TIME.match(text)).group(7) is None:
                for key in ("SubSecTimeOriginal", "SubSecTimeDigitized", "SubSecTime"):
                    digits = re.match(r"\d+", (times.get(key) or "").strip(" \0"))
                    if digits:
                        return local + float("0." + digits.group()), field
            return local, field
    return (None, "GPS time") if found.get("gps_time") is not None else (file_name_time(name), "file name")


def capture_time(found: Dict[str, Any], name: str, zone: Optional[str] = None) -> Optional[Capture]:
    """When an image was taken, by what it carries, its name, and a zone ("local", offset, IANA; None = not given). None
    when nothing tells. The order of fields and zones is that of the project's rules for capture time."""
    local, source = _found_local(found, name)
    times, gps = found.get("times", {}), found.get("gps_time")
    if local is None:
        return Capture(gps, source, 0.0, "GPS time") if gps is not None else None
    for key in ("OffsetTimeOriginal", "OffsetTimeDigitized", "OffsetTime"):
        offset = parse_offset(times.get(key))
        if offset is not None:
            return Capture(local - offset, source, offset, key)
    in_text = re.search(r"(Z|[+-]\d{2}:?\d{2})$", (times.get(source) or "").strip(" \0"))
    offset = parse_offset(in_text.group()) if in_text else None
    if offset is not None:
        return Capture(local - offset, source, offset, source)
    if zone:
        offset = zone_offset(zone, local)
        return Capture(local - offset, source, offset, "--local_time" if zone == "local" else "--timezone")
    if gps is not None:
        apart = local - gps
        if not -12 * 3600 - AGREE_S <= apart <= 14 * 3600 + AGREE_S:
            apart = (apart + 12 * 3600) % DAY_S - 12 * 3600
        offset = round(apart / QUARTER_S) * QUARTER_S       # of the zone that the GPS time implies, where they agree
        if abs(apart - offset) <= AGREE_S:
            return Capture(local - offset, source, offset, "GPS time")
    return Capture(local, source, 0.0, "UTC assumed")


def spread_subseconds(times: Sequence[float], interval: float) -> Tuple[List[float], Optional[int]]:
    """Place shots that are interval seconds apart inside their whole seconds: (times, index of the shot that does not
    fit or None). The middle of all starts that put every shot in its second; if none does, the times as they were."""
    low, high = -math.inf, math.inf
    for index, value in enumerate(times):
        low = max(low, math.floor(value) - index * interval)
        high = min(high, math.floor(value) + 1 - index * interval)
        if low >= high:
            return list(times), index
    return [(low + high) / 2 + index * interval for index in range(len(times))], None


def spread_ties(times: Sequence[float]) -> Tuple[List[float], int]:
    """Sorted times with equal ones spread evenly up to the next, at most over a second: (times, number of ties)."""
    out = list(times)
    firsts = [index for index in range(len(out)) if index == 0 or out[index] != out[index - 1]]
    for start, end in zip(firsts, firsts[1:] + [len(out)]):
        room = min(1.0, times[end] - times[start]) if end < len(out) else 1.0
        for index in range(start + 1, end):
            out[index] = times[start] + room * (index - start) / (end - start)
    return out, len(out) - len(firsts)


# ---- 5. Files and programs ----------------------------------------------------------------------
# Here: finding images, writing atomically, the worker pool, the only subprocess.
# Not here: what is in a file.

def natural_key(name: str) -> Tuple[Any, ...]:
    """A sort key by which IMG_9 comes before IMG_10; the name itself decides between equals."""
    parts = re.split(r"(\d+)", name.lower())
    return (*((0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts),
            (2, 0, name))


def by_time(items: Iterable[Any], when: Callable[[Any], float], name: Callable[[Any], str]) -> List[Any]:
    """Items sorted by time, those of one time by natural name."""
    out: List[Any] = []
    for _, group in itertools.groupby(sorted(items, key=when), key=when):
        same = list(group)
        out.extend(same if len(same) == 1 else sorted(same, key=lambda item: natural_key(name(item))))
    return out


def parsed(text: Union[str, bytes, None]) -> Any:
    """The value of a JSON text from outside; None when it is none, or nested without end."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def _kind(name: str) -> str:
    return os.path.splitext(name)[1][1:].lower()


def is_jpeg_name(path: Union[str, Path]) -> bool:
    """Whether a file is of the kind that can be described and uploaded, by its name."""
    return _kind(str(path)) in JPEG_KINDS


def check_folder(path: str, option: str) -> Path:
    """The path as a folder that exists; raises NotFound."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotFound(("not_a_folder", path, "is a file, not a folder", "", "give %s the folder it is in" % option))
    if not folder.is_dir():
        raise NotFound(("no_folder", path, "there is no such folder", "", "check %s" % option))
    return folder


def _ours(name: str) -> bool:
    """Whether a name is one of our temporary files or one of the Finder's shadow files."""
    return name.startswith(("._", PART_PREFIX))


def find_images(folder: Union[str, Path], skip_subfolders: bool = False,
                trouble: Optional[List[Problem]] = None) -> List[Path]:
    """Every image file below a folder, by folder and natural name; folders named .mapillary are not searched.
    Subfolders that cannot be listed are added to trouble. Raises NotFound when there is no such folder or no image."""
    images: List[Path] = []

    def unreadable(error: OSError) -> None:
        problem = Problem("unreadable", str(error.filename), "cannot be searched", error.strerror or "",
                          "check its rights")
        LOG.warning("%s", str(problem))
        if trouble is not None:
            trouble.append(problem)
    for place, folders, files in os.walk(str(check_folder(str(folder), "--import_path")), onerror=unreadable):
        folders[:] = [] if skip_subfolders else sorted(set(folders) - {STATE_FOLDER}, key=natural_key)
        if STAND_IN_FILE in files:
            folders[:] = []         # what a stand-in received is no input
            continue
        here = [name for name in files if _kind(name) in IMAGE_KINDS and not _ours(name)]
        parent = Path(place)        # parsed once
        images.extend(parent / name for name in sorted(here, key=natural_key))
    if not images:
        raise NotFound(("no_images", str(folder), "holds no images", "",
                        "images are files named .%s" % ", .".join(IMAGE_KINDS)))
    return images


def _os_problem(path: Union[str, Path], error: OSError) -> CannotWrite:
    rights = "check the rights of the folder"
    remedy = {errno.ENOSPC: "free some space and run the same command again", errno.EACCES: rights, errno.EPERM: rights,
              errno.EROFS: "the disk is read-only: copy the images to another one",
              errno.EMFILE: "run it for fewer folders at a time, or after: ulimit -n 65536"}
    return CannotWrite(("cannot_write", str(path), "cannot be written", error.strerror or str(error),
                        remedy.get(error.errno or 0, "check the disk")))


def write_atomically(path: Union[str, Path], chunks: Iterable[bytes], mode: Optional[int] = None,
                     flush: bool = True) -> os.stat_result:
    """Write a file (behind links too) whole or not at all: temporary file beside it, fsync, os.replace. Permissions are
    mode, else as they were. Returns os.stat of the new file; raises CannotWrite, and then the old file is as it was."""
    target = os.path.realpath(str(path))
    part = os.path.join(os.path.dirname(target), "%s%016x%s" % (
        PART_PREFIX, random.SystemRandom().getrandbits(64), PART_SUFFIX))
    try:
        if mode is None:
            with contextlib.suppress(FileNotFoundError):
                mode = os.stat(target).st_mode & 0o7777
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0),
                         0o666 if mode is None else mode)
        try:
            with os.fdopen(handle, "wb", buffering=0) as stream:
                for chunk in chunks:
                    _write_all(stream, chunk)
                if mode is not None and os.name == "posix":
                    os.chmod(stream.fileno(), mode)
                if flush:
                    os.fsync(stream.fileno())
                written = os.fstat(stream.fileno())
            os.replace(part, target)
            return written
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    except OSError as error:
        raise _os_problem(path, error) from error


def _write_all(stream: Any, chunk: bytes) -> None:
    """Write every byte of a chunk to an unbuffered stream; the one place that image bytes go to disk through."""
    view = memoryview(chunk)
    while view:
        view = view[stream.write(view):]


def flush_folder(folder: Union[str, Path]) -> None:
    """Flush a folder's names to disk, where the system can; after that a power cut does not undo a replace."""
    if os.name == "posix":
        with contextlib.suppress(OSError):
            handle = os.open(str(folder), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def rest_of(path: str, start: int) -> Iterator[bytes]:
    """The bytes of a file from an offset on, a piece at a time."""
    with open(path, "rb") as stream:
        stream.seek(start)
        yield from iter(lambda: stream.read(COPY_BYTES), b"")


def worker_count(wanted: int) -> int:
    """How many workers: as wanted, and for 0 as many as there are CPUs, at most 8."""
    return wanted or min(8, os.cpu_count() or 1)


def _several(job: Callable[[Any], Any], items: Sequence[Any]) -> List[Any]:
    return [job(item) for item in items]


def each(job: Callable[[Any], Any], items: Iterable[Any], total: int, workers: int) -> Iterator[Any]:
    """job(item) for each of about total items, in their order, only a few taken ahead: the one worker pool. job is a
    module's function of plain values (threads or processes). What has not begun when the consumer stops is dropped."""
    count = min(worker_count(workers), total)
    if count <= 1:
        for item in items:
            yield job(item)
        return
    import concurrent.futures
    if __name__ == "__main__" and total > PROCESS_IMAGES:       # this file is the program, and there is much to do
        import multiprocessing
        pool: Any = concurrent.futures.ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))
        chunk = 32                  # items a worker gets at a time
    else:
        pool, chunk = concurrent.futures.ThreadPoolExecutor(count), 1
    waiting: Any = collections.deque()
    source = iter(items)
    try:
        for group in iter(lambda: list(itertools.islice(source, chunk)), []):
            waiting.append(pool.submit(_several, job, group))
            if len(waiting) == 4 * count:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True)


ERROR_LINES, ERROR_BYTES = 20, 4096     # of what a program says on its error output, the last ones are kept


class Ran(NamedTuple):
    """How a program ended."""
    code: int                       # its exit code, 0 = success
    output: str                     # its output; "" when every line went to a function
    errors: List[str]               # the last lines that it wrote to its error output


def run_program(argv: Sequence[str], folder: Optional[str] = None, line: Optional[Callable[[str], None]] = None) -> Ran:
    """Run a program to its end: no shell, no input, no window, no token from our environment; line(text) gets each line
    of its output as it comes. Killed when anything goes wrong here, Ctrl-C included. Raises ProgramMissing."""
    errors: Any = collections.deque(maxlen=ERROR_LINES)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAPILLARY_")}
    try:
        child = subprocess.Popen(
            list(argv), cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))
    except OSError as error:
        raise ProgramMissing(("cannot_start", argv[0], "cannot be started", error.strerror or str(error),
                              "install it anew")) from error
    stdout, stderr = typing.cast(BinaryIO, child.stdout), typing.cast(BinaryIO, child.stderr)
    with child:
        try:
            reader = threading.Thread(target=lambda: errors.extend(iter(lambda: stderr.readline(ERROR_BYTES), b"")),
                                      daemon=True)
            reader.start()
            output: List[bytes] = []
            for row in stdout:
                line(row.decode("utf-8", "replace").strip()) if line else output.append(row)
            child.wait()
            reader.join()
        except BaseException:
            child.kill()
            raise
    return Ran(child.returncode, b"".join(output).decode("utf-8", "replace"),
               [row.decode("utf-8", "replace").strip() for row in errors if row.strip()])


def _program_folders() -> List[str]:
    """Where programs may be: beside this script, on PATH, and in the usual places of this system."""
    below = {"win32": (("ProgramFiles", "ffmpeg\\bin"), ("SystemDrive", "\\ffmpeg\\bin"), ("ProgramData",
             "chocolatey\\bin"), ("LOCALAPPDATA", "Microsoft\\WinGet\\Links"), ("USERPROFILE", "scoop\\shims"))}
    usual = [os.path.join(os.environ[root], rest) for root, rest in below.get(sys.platform, ()) if root in os.environ]
    if os.name == "posix":
        usual = ["/opt/homebrew/bin", "/usr/local/bin", "/opt/local/bin", "/usr/bin", "/snap/bin"]
    path = os.environ.get("PATH", "").split(os.pathsep)
    return [_HERE] + [folder for folder in path if os.path.isabs(folder)] + usual


def find_program(name: str, given: Optional[str] = None) -> str:
    """The absolute path of ffmpeg or ffprobe: given (a file or a folder, in which ffprobe is looked for first), else
    MAPILLARY_TOOLS_FFMPEG_PATH, else where programs are. Raises ProgramMissing that says how to get it on this
    system."""
    given = given or os.environ.get("MAPILLARY_TOOLS_FFMPEG_PATH")
    places = [os.path.join(folder, name) for folder in _program_folders()]
    if given:
        given = os.path.abspath(os.path.expanduser(given))
        beside = os.path.join(given if os.path.isdir(given) else os.path.dirname(given), name)
        places = [beside] + places if name != "ffmpeg" else [beside if os.path.isdir(given) else given]
    for place in places:
        for candidate in (place, place + ".exe") if os.name == "nt" else (place,):
            if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
                return candidate
    remedy = {"win32": "winget install ffmpeg, or put ffmpeg.exe and ffprobe.exe beside mapillary_tools.py",
              "darwin": "brew install ffmpeg"}.get(sys.platform, "apt install ffmpeg, or your system's package of it")
    wrong = ("there is no %s there" if given else "%s is not on this computer") % name
    raise ProgramMissing(("no_program", given or "", wrong, "", remedy + "; --ffmpeg_path FILE says where it is"))


def config_path(given: Optional[str] = None) -> str:
    """Where credentials are kept: given, else MAPILLARY_CONFIG_PATH, else ~/.config/mapillary/config."""
    return given or os.environ.get("MAPILLARY_CONFIG_PATH") or os.path.join(
        os.path.expanduser("~"), ".config", "mapillary", "config")


def read_config(path: Optional[str] = None) -> Dict[str, Dict[str, str]]:
    """The configuration as section -> option -> text; empty where there is no file. Raises UsageError."""
    import configparser
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str        # type: ignore[assignment,method-assign]
    where, remedy = config_path(path), "mend it, or move it away and authenticate"
    try:
        with open(where, encoding="utf-8-sig") as stream:
            parser.read_file(stream)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = error.strerror or "" if isinstance(error, OSError) else "it is no ini file in UTF-8"
        raise UsageError(("bad_config", where, "cannot be read", reason, remedy)) from None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def write_config(sections: Dict[str, Dict[str, str]], path: Optional[str] = None) -> None:
    """Replace the configuration, atomically and readable by its owner only; raises CannotWrite."""
    where = config_path(path)
    lines: List[str] = []
    for section, options in sections.items():
        lines += ["[%s]" % section, *("%s = %s" % item for item in options.items()), ""]
    lines = [line.replace("\n", "\n\t") for line in lines]   # a value over several lines
    try:
        os.makedirs(os.path.dirname(os.path.abspath(where)), mode=0o700, exist_ok=True)
    except OSError as error:
        raise _os_problem(where, error) from error
    write_atomically(where, ["\n".join(lines).encode("utf-8")], mode=0o600)


# ---- 6. EXIF facade -----------------------------------------------------------------------------
# Here: JPEG head to plain values and back; the only place that knows piexif dicts.
# Not here: which values an image should get, and when it may be written.

_TIME_TAGS = {"DateTimeOriginal": ("Exif", 0x9003), "DateTimeDigitized": ("Exif", 0x9004), "DateTime": ("0th", 0x0132),
              "SubSecTimeOriginal": ("Exif", 0x9291), "SubSecTimeDigitized": ("Exif", 0x9292),
              "SubSecTime": ("Exif", 0x9290), "OffsetTimeOriginal": ("Exif", 0x9011),
              "OffsetTimeDigitized": ("Exif", 0x9012), "OffsetTime": ("Exif", 0x9010)}
_DESCRIPTION, _ORIENTATION, _HISTORY, _MAKE, _MODEL = 0x010E, 0x0112, 0x9213, 0x010F, 0x0110
_GPS_VERSION, _LAT_REF, _LAT, _LON_REF, _LON, _ALT_REF, _ALT, _GPS_TIME = 0, 1, 2, 3, 4, 5, 6, 7
_DIR_REF, _DIR, _TRACK_REF, _TRACK, _GPS_DATE, _GPS_ERROR = 16, 17, 14, 15, 29, 31
# What we may write; everything else in an image is not ours.
OWNED = {"0th": (_DESCRIPTION, _ORIENTATION, _HISTORY, _MAKE, _MODEL), "Exif": (0x9003, 0x9011, 0x9291),
         "GPS": (_GPS_VERSION, _LAT_REF, _LAT, _LON_REF, _LON, _ALT_REF, _ALT, _GPS_TIME, _DIR_REF, _DIR, _GPS_DATE)}
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}    # markers that carry the picture's size
_NO_LENGTH = frozenset([0x01] + list(range(0xD0, 0xD9)))    # markers without a length
HEAD_LIMIT = 32 << 20               # bytes of segments before the scan that are still plausible

Edits = Dict[str, Dict[int, Any]]   # IFD -> tag -> value as piexif has it; None = the tag is taken out


class Head(NamedTuple):
    """The part of a JPEG before its scan."""
    data: bytes                     # SOI to the end of the SOS header
    width: Optional[int]            # pixels
    height: Optional[int]           # pixels
    exif: bytes                     # the TIFF block of the first Exif segment; b"" = none


def _not_jpeg(path: str, wrong: str, value: str = "") -> BadExif:
    return BadExif(("bad_jpeg", path, wrong, value, "copy it from the card again, or leave it out"))


def read_head(stream: Any, path: str) -> Head:
    """Read a JPEG up to and including its SOS header (ITU-T T.81, B.1.1); raises BadExif."""
    data = bytearray(stream.read(HEAD_BYTES))
    if not data:
        raise _not_jpeg(path, "is empty", "0 bytes")
    if data[:2] != b"\xff\xd8":
        raise _not_jpeg(path, "is not a JPEG", "it begins with %s" % bytes(data[:4]).hex())

    def need(end: int) -> None:
        while len(data) < end:
            more = stream.read(HEAD_BYTES)
            if not more:
                raise _not_jpeg(path, "is truncated", "it ends at byte %d, before its picture begins" % len(data))
            data.extend(more)
            if len(data) > HEAD_LIMIT:
                raise _not_jpeg(path, "is damaged", "no picture in its first %d bytes" % HEAD_LIMIT)
    at, size, exif = 2, (None, None), b""       # type: int, Tuple[Optional[int], Optional[int]], bytes
    while True:
        need(at + 2)
        if data[at] != 0xFF:
            raise _not_jpeg(path, "is damaged", "no marker at byte %d" % at)
        marker = data[at + 1]
        if marker in _NO_LENGTH or marker == 0xFF:      # the latter: this was a fill byte
            at += 1 if marker == 0xFF else 2
            continue
        need(at + 4)
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if marker == 0xD9 or end < at + 4:
            raise _not_jpeg(path, "ends before its picture begins", "at byte %d" % at)
        need(end)
        if marker in _SOF and end >= at + 9:
            size = struct.unpack_from(">HH", data, at + 5)[::-1]
        elif marker == 0xE1 and not exif and data[at + 4:at + 8] == b"Exif":
            exif = bytes(data[at + 10:end])
        elif marker == 0xDA:
            return Head(bytes(data[:end]), size[0], size[1], exif)
        at = end


def _check_tail(stream: Any, size: int, start: int, path: str) -> None:
    """Raise BadExif unless EOI stands in the last 64 kB, behind the head, which may hold a thumbnail with its own."""
    for reach in (4096, TAIL_BYTES):
        stream.seek(max(start, size - reach))
        if b"\xff\xd9" in stream.read(reach):
            return
    raise _not_jpeg(path, "is truncated", "no end of image in its last %d bytes" % min(size, TAIL_BYTES))


def _text(value: Any) -> Optional[str]:
    """An ASCII value as text without NULs and outer blanks; None for anything else or nothing."""
    if not isinstance(value, bytes):
        return None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.split("\0")[0].strip() or None


def _ratio(value: Any) -> Optional[float]:
    """A rational, or a plain number where a writer got the type wrong; None for a zero denominator or anything else."""
    if isinstance(value, tuple) and len(value) == 1:
        return _ratio(value[0])
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) for part in value):
        return value[0] / value[1] if value[1] else None
    return float(value) if isinstance(value, int) else None


def _coordinate(value: Any, ref: Any, negative: str, limit: float) -> Optional[float]:
    """Degrees, minutes, seconds as degrees, signed by Ref, or as they are without it; None when out of range."""
    if not isinstance(value, tuple) or not value:
        return None
    parts = [_ratio(part) for part in value] if isinstance(value[0], tuple) else [_ratio(value)]
    if None in parts or len(parts) > 3:
        return None
    degrees = 0.0                   # not sum(): since Python 3.12 that rounds in another way
    for place, part in enumerate(parts):
        degrees += typing.cast(float, part) / 60 ** place
    letter = (_text(ref) or "").upper()[:1]
    if letter:
        degrees = -abs(degrees) if letter == negative else abs(degrees)
    return degrees if abs(degrees) <= limit else None


def _gps_seconds(gps: Dict[int, Any]) -> Optional[float]:
    """GPSDateStamp and GPSTimeStamp as seconds UTC; None when a half is missing or the receiver had no date."""
    clock = gps.get(_GPS_TIME)
    date = re.match(r"(\d{4})[:\-./](\d{1,2})[:\-./](\d{1,2})$", _text(gps.get(_GPS_DATE)) or "")
    parts = [_ratio(part) for part in clock] if isinstance(clock, tuple) and len(clock) == 3 else [None]
    if date is None or None in parts or "-".join(date.groups()) in _NO_GPS_DATES:
        return None
    midnight = parse_time("%s-%s-%s 0:0" % date.groups())
    hour, minute, second = typing.cast(List[float], parts)
    seconds = hour * 3600 + minute * 60 + second
    return midnight + seconds if midnight is not None and 0 <= seconds <= DAY_S + 3661 else None


def _plain(value: Any) -> Any:
    """An EXIF value as JSON has it: bytes as latin-1 text, tuples as lists."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return [_plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def _unplain(value: Any) -> Any:
    """The reverse of _plain."""
    if isinstance(value, list):
        return tuple([_unplain(part) for part in value])
    return value.encode("latin-1") if isinstance(value, str) else value


def _gps_values(gps: Dict[int, Any]) -> Dict[str, float]:
    """lat, lon, alt, and heading (true) or magnetic (GPSImgDirection, else GPSTrack) of a GPS IFD, where known."""
    out: Dict[str, float] = {}
    lat = _coordinate(gps.get(_LAT), gps.get(_LAT_REF), "S", 90.0)
    lon = _coordinate(gps.get(_LON), gps.get(_LON_REF), "W", 180.0)
    if lat is not None and lon is not None and (lat, lon) != (0.0, 0.0):
        out.update(lat=lat, lon=lon)
    alt = _ratio(gps.get(_ALT))
    if alt is not None:
        out["alt"] = -alt if gps.get(_ALT_REF) in (1, b"\x01", b"1", (1,)) else alt
    tag, ref = (_TRACK, _TRACK_REF) if _ratio(gps.get(_DIR)) is None else (_DIR, _DIR_REF)
    value, degrees = gps.get(tag), _ratio(gps.get(tag))
    if degrees is not None:
        if degrees > 360 and isinstance(value, tuple) and len(value) == 2 and value[0] >= 1 << 31:
            degrees = (value[0] - (1 << 32)) / value[1]     # it was a negative number, wrapped at 32 bits
        out["magnetic" if (_text(gps.get(ref)) or "T").upper() == "M" else "heading"] = degrees % 360.0
    return out


def found_in(exif: Dict[str, Any]) -> Dict[str, Any]:
    """What the journal keeps of an EXIF dict as piexif loads it: plain values, absent when unknown."""
    ifd0, gps = exif.get("0th", {}), exif.get("GPS", {})
    times = {name: _text(exif.get(ifd, {}).get(tag)) for name, (ifd, tag) in _TIME_TAGS.items()}
    orientation = _ratio(ifd0.get(_ORIENTATION))
    raw = {ifd: {str(tag): _plain(exif.get(ifd, {})[tag]) for tag in tags if tag in exif.get(ifd, {})}
           for ifd, tags in OWNED.items()}
    found: Dict[str, Any] = {
        "times": {name: text for name, text in times.items() if text}, "gps_time": _gps_seconds(gps),
        **_gps_values(gps), "orientation": int(orientation) if orientation and orientation in range(1, 9) else None,
        "make": _text(ifd0.get(_MAKE)), "model": _text(ifd0.get(_MODEL)), "accuracy": _ratio(gps.get(_GPS_ERROR)),
        "caption": _text(ifd0.get(_DESCRIPTION)),
        "history": _text(ifd0.get(_HISTORY)) or _text(exif.get("Exif", {}).get(_HISTORY)),
        "raw": {ifd: tags for ifd, tags in raw.items() if tags}}
    return {key: value for key, value in found.items() if value is not None and value != {}}


def _stamp(status: os.stat_result) -> Dict[str, int]:
    """Size in bytes and modification time in milliseconds."""
    return {"size": status.st_size, "mtime": status.st_mtime_ns // 1000000}


def piexif() -> Any:
    """The EXIF library vendor/piexif; raises ProgramMissing when this file was copied without it."""
    try:
        return _vendored("piexif")
    except ImportError as error:
        raise ProgramMissing(("vendor_missing", os.path.join(_HERE, "vendor"), "is missing", "",
                              "copy the folder vendor together with mapillary_tools.py")) from error


def _load(source: Any, path: str) -> Dict[str, Any]:
    try:
        return typing.cast(Dict[str, Any], piexif().load(source))
    except (ValueError, OSError) as error:
        remedy = "the library exifread may: python -m pip install -r vendor/requirements.txt --target vendor"
        raise BadExif(("bad_exif", path, "its EXIF cannot be read", str(error).split("\n")[0], remedy)) from error


def exif_digest(block: bytes) -> str:
    """A short name of an Exif block, to know one that we wrote again."""
    return hashlib.sha1(block).hexdigest()[:16]


def read_found(path: Union[str, Path]) -> Dict[str, Any]:
    """What an image file carries, as plain values: see found_in; with pixels, size, mtime, digest. Raises BadExif."""
    name = str(path)
    try:
        with open(name, "rb") as stream:
            status = os.fstat(stream.fileno())
            begin = stream.read(2)
            stream.seek(0)
            if is_jpeg_name(name) or begin == b"\xff\xd8":
                head = read_head(stream, name)
                _check_tail(stream, status.st_size, len(head.data), name)
                found = _found_or_second(head.data, name) if head.exif else {}
                found.update(pixels=[head.width, head.height], digest=exif_digest(head.exif))
            else:
                found = _found_or_second(name, name)
    except OSError as error:
        raise BadExif(("unreadable", name, "cannot be read", error.strerror or str(error),
                       "check the card and rights")) from error
    found.update(_stamp(status))
    return found


def _found_or_second(source: Union[str, bytes], path: str) -> Dict[str, Any]:
    """found_in by vendor/piexif; what that refuses is offered to exifread, and the record says so."""
    try:
        exif = _load(source, path)
    except BadExif:
        library = second_reader("exifread")
        if library is None:
            raise
        return dict(_by_exifread(library, path), reader="exifread")
    found = found_in(exif)
    width, height = (_ratio(exif.get("0th", {}).get(tag)) for tag in (0x0100, 0x0101))
    if isinstance(source, str) and width is not None and height is not None:
        found["pixels"] = [int(width), int(height)]
    return found


_EXIFREAD_NAMES = {
    "0th": {0x0132: "Image DateTime", _DESCRIPTION: "Image ImageDescription", _ORIENTATION: "Image Orientation",
            _MAKE: "Image Make", _MODEL: "Image Model"},
    "Exif": {tag: "EXIF " + name for name, (ifd, tag) in _TIME_TAGS.items() if ifd == "Exif"},
    "GPS": dict(zip((*range(_LAT_REF, _GPS_TIME + 1), _DIR_REF, _DIR, _GPS_DATE), (
        "GPS GPS" + name for name in ("LatitudeRef", "Latitude", "LongitudeRef", "Longitude", "AltitudeRef", "Altitude",
                                      "TimeStamp", "ImgDirectionRef", "ImgDirection", "Date"))))}


def _by_exifread(library: Any, path: str) -> Dict[str, Any]:
    """found_in from the tags that the library exifread reads; raises BadExif when it reads none."""
    try:
        with open(path, "rb") as stream:
            tags = library.process_file(stream, details=False)
    except Exception as error:      # a foreign library on damaged data: whatever it raises means "cannot be read"
        raise BadExif(("bad_exif", path, "its EXIF cannot be read", str(error), "leave it out")) from error
    if not tags:
        raise BadExif(("bad_exif", path, "has no EXIF that can be read", "", "leave it out"))
    found = found_in({ifd: {tag: _exifread_value(tags[name]) for tag, name in names.items() if name in tags}
                      for ifd, names in _EXIFREAD_NAMES.items()})
    found.pop("raw", None)
    return found


def _exifread_value(tag: Any) -> Any:
    if isinstance(tag.values, str):
        return tag.values.encode("utf-8", "replace")
    values = tuple((value.num, value.den) if hasattr(value, "den") else value for value in tag.values)
    return values[0] if len(values) == 1 else values


def image_of(path: Union[str, Path], found: Dict[str, Any], given: Optional[Dict[str, Any]] = None) -> Image:
    """An Image from what a file carried and what was given in its place, with the time its own tags give."""
    values = dict(found, **(given or {}))
    capture = capture_time(found, Path(path).name)
    when = values.get("time", capture.time + values.get("later", 0.0) if capture else None)
    fix = Fix(when or 0.0, values["lat"], values["lon"], values.get("alt")) if "lat" in values else None
    width, height = (values.get("pixels") or (None, None))[:2]
    camera = Camera(values.get("make"), values.get("model"), width, height, values.get("orientation"))
    return Image(Path(path), when, fix, values.get("heading"), values.get("magnetic"), camera, found=found, given=given,
                 capture=capture)


def read_image(path: Union[str, Path]) -> Image:
    """The Image in a file: JPEG, TIFF or WebP, others where exifread is at hand. Raises BadExif."""
    return image_of(path, read_found(path))


def position_edits(lat: float, lon: float) -> Dict[int, Any]:
    """GPS tags of a position in degrees, to a millionth of a second of arc (EXIF 2.32, 4.6.6)."""
    out: Dict[int, Any] = {}
    for tag, value, letters in ((_LAT, lat, "NS"), (_LON, lon, "EW")):
        degrees, minutes, micro = degrees_minutes_seconds(value)
        out[tag] = ((degrees, 1), (minutes, 1), (micro, 1000000))
        out[tag - 1] = letters[value < 0].encode("ascii")
    return out


def altitude_edits(alt: float) -> Dict[int, Any]:
    """GPS tags of an altitude in metres, to a millimetre."""
    return {_ALT: (round(abs(alt) * 1000), 1000), _ALT_REF: 1 if alt < 0 else 0}


def heading_edits(heading: float) -> Dict[int, Any]:
    """GPS tags of a direction in degrees from true north, to a thousandth."""
    return {_DIR: (round(heading * 1000) % 360000, 1000), _DIR_REF: b"T"}


def gps_time_edits(when: float) -> Dict[int, Any]:
    """GPS tags of a time in seconds UTC, to a millisecond."""
    date, clock = format_time(when, "exif").split(" ")
    hour, minute, second = (int(part) for part in clock.split(":"))
    milli = second * 1000 + int(round(when * 1000)) % 1000
    return {_GPS_DATE: date.encode("ascii"), _GPS_TIME: ((hour, 1), (minute, 1), (milli, 1000))}


def time_edits(when: float, offset: float) -> Dict[int, Any]:
    """Exif tags DateTimeOriginal, SubSecTimeOriginal and OffsetTimeOriginal of a time in seconds UTC."""
    local = when + offset
    return {0x9003: format_time(local, "exif").encode("ascii"), 0x9011: format_offset(offset).encode("ascii"),
            0x9291: b"%03d" % (int(round(local * 1000)) % 1000)}


def _changes(a: float, b: Optional[float], precision: float) -> bool:
    """Whether a value to write differs from what is there (b; None = nothing) at the precision written."""
    return b is None or abs(a - b) > precision / 2


def image_edits(image: Image, description: Optional[str], orientation: Optional[int] = None,
                offset: float = 0.0) -> Edits:
    """Every tag that is ours, as it should stand in the file: a function of the image alone. A tag that needs no change
    is as found, so an earlier run's writing is taken back. description None leaves the caption as found; orientation
    None likewise (EXIF 1..8); offset is the zone for a DateTimeOriginal that was missing."""
    found, given, fix = image.found or {}, image.given or {}, image.fix
    raw, later = found.get("raw", {}), given.get("later", 0.0)
    edits: Edits = {ifd: {tag: _unplain(raw.get(ifd, {}).get(str(tag))) for tag in tags} for ifd, tags in OWNED.items()}
    first, gps = edits["0th"], edits["GPS"]
    if description is not None:
        first[_DESCRIPTION] = description.encode("ascii")
    if orientation is not None and orientation != found.get("orientation"):
        first[_ORIENTATION] = orientation
    if given.get("tags"):
        first[_HISTORY] = json.dumps(given["tags"], sort_keys=True, separators=(",", ":")).encode("ascii")
    before = dict(gps)
    if fix is not None and (_changes(fix.lat, found.get("lat"), 1e-7) or _changes(fix.lon, found.get("lon"), 1e-7)):
        gps.update(position_edits(fix.lat, fix.lon))
    for value, there, precision, edits_of in (
            (fix.alt if fix else None, found.get("alt"), 1e-3, altitude_edits),
            (image.heading, found.get("heading"), 1e-3, heading_edits),
            (image.time, image.capture.time + later if image.capture else None, 2e-3 - 1e-9, gps_time_edits)):
        if value is not None and _changes(value, there, precision):
            gps.update(edits_of(value))
    if gps != before and gps[_GPS_VERSION] is None:
        gps[_GPS_VERSION] = (2, 3, 0, 0)
    missing = parse_time(found.get("times", {}).get("DateTimeOriginal")) is None
    if image.time is not None and (missing or "time" in given):
        edits["Exif"].update(time_edits(image.time, offset))
    elif later and image.capture is not None:           # the clock of the photo in its own zone, which may be unknown
        moved = time_edits(image.capture.time + image.capture.offset + later, 0.0)
        edits["Exif"].update({tag: moved[tag] for tag in (0x9003, 0x9291)})
    return edits


class Edited(NamedTuple):
    """An image's bytes as they should be: a new head, and the rest of the file."""
    head: bytes                     # SOI to the end of the SOS header
    start: int                      # offset in the file from which the rest follows
    digest: str                     # of the Exif block in the head
    changed: bool                   # whether the head differs from the file's


def edited(path: str, edits: Edits) -> Edited:
    """What an image becomes by the edits; raises BadExif."""
    with open(path, "rb") as stream:
        head = read_head(stream, path)
    exif = _load(head.data, path) if head.exif else {name: {} for name in ("0th", "Exif", "GPS", "Interop", "1st")}
    changed = False
    for ifd, tags in edits.items():
        before = exif.get(ifd, {})
        held = dict(before)
        for tag, value in tags.items():
            whole = isinstance(value, int) and isinstance(before.get(tag), tuple)
            held[tag] = (value, 1) if whole else value      # found as a whole number where a rational ought to be
        exif[ifd] = {tag: value for tag, value in held.items() if value is not None}
        changed = changed or exif[ifd] != before
    if not changed:
        return Edited(head.data, len(head.data), exif_digest(head.exif), False)
    out = io.BytesIO()
    try:
        block = piexif().dump(exif)
        piexif().insert(block, head.data, out)
    except (ValueError, OSError) as error:
        raise BadExif(("cannot_describe", path, "its EXIF cannot be rewritten", str(error).split("\n")[0],
                       "use --skip_EXIF_insert, or leave it out")) from error
    return Edited(out.getvalue(), len(head.data), exif_digest(block[6:]), True)


def write_edits(path: str, edits: Edits, to: Optional[str] = None) -> Dict[str, Any]:
    """Carry out the edits in a file, or in a copy of it; returns size, mtime and digest of what was written. Whole and
    atomically; a file that the edits do not change is not written. Raises BadExif, CannotWrite."""
    try:
        new, status = edited(path, edits), os.stat(path)
        if to is not None or new.changed:
            parts = itertools.chain([new.head], rest_of(path, new.start))
            status = write_atomically(to or path, parts, mode=status.st_mode & 0o7777 if to else None)
    except OSError as error:
        raise _os_problem(path, error) from error
    return dict(_stamp(status), digest=new.digest)


def write_image(image: Image, description: Optional[str], to: Union[str, Path, None] = None) -> Dict[str, Any]:
    """Write description (JSON in ASCII, None = the caption stays), position, direction and time into an image, or a
    copy at `to`: atomically, permissions kept. Returns size (bytes), mtime (ms), EXIF digest. Raises BadExif,
    CannotWrite."""
    if image.found is None:
        read = read_image(image.path)
        image = image.but(found=read.found, capture=read.capture)
    edits = image_edits(image, description, image.camera.orientation)
    return write_edits(str(image.path), edits, None if to is None else str(to))


# ---- 7. Track sources ---------------------------------------------------------------------------
# Here: files to a Track (GPX, NMEA, GoPro, BlackVue, CAMM), rows of a table, and the GPX writer.
# Not here: which point an image gets (10), what EXIF says (6), distances (3), zones (4).

TOUCH_SECONDS = 2.0  # two files whose times are this close are one recording
_EARLIEST, _LATEST = -2208988800.0, 7258118400.0  # 1900 and 2200: a time outside is no time
_MAX_DOP = 10.0  # worse is a guess: dead reckoning in tunnels and parking decks
_MAX_LINE = 4096  # characters; the longest real line, a BlackVue one, has about 120
_MAX_BOXES = 200_000  # a fragmented recording of a day has 172,800
_MAX_BLOCK = 1 << 26  # bytes read at once: no telemetry table or sample comes near 64 MB

_NO_TIME, _NO_PLACE = "without a time", "with a place that cannot be read"
_OUTSIDE, _ZERO = "outside the range of latitude and longitude", "at exactly 0,0"
_NO_FIX, _POOR = "without a GPS fix", "with a DOP over 10"
_CHECKSUM, _NO_DATE = "in lines with a wrong checksum", "without a date"
_TWICE = "at the time of another point"
_EMPTY, _NO_GPS = "holds no track points", "has GoPro telemetry but no GPS data in it"
_NO_TELEMETRY = "holds no GPS track of GoPro, BlackVue or CAMM"

_REMEDIES = {
    _NO_TIME: "export it again with times: a place without a time cannot be matched with an image",
    _NO_FIX: "the GPS never locked here; give a track from another device as --geotag_source_path",
    _POOR: "reception was too poor; give a track from another device as --geotag_source_path",
    _NO_DATE: "put one line with the day on top, such as $GPZDA,120000,31,05,2024,,",
    _NO_GPS: "switch GPS on in the camera, or give a GPX or NMEA log as --geotag_source_path",
}


def _bad(path: Path, code: str, wrong: str, value: str, remedy: str) -> BadTrack:
    """The error for a track file."""
    return BadTrack(Problem(code, str(path), wrong, value, remedy))


def _cannot_read(path: Path, error: OSError) -> BadTrack:
    """The error for a file that the system does not let us read."""
    return _bad(path, "track_unreadable", "cannot be read", error.strerror or str(error), "check that it may be read")


def _flaw(time: Optional[float], lat: Optional[float], lon: Optional[float]) -> str:
    """Why a point cannot be used, in plain words, or "" if it can."""
    if time is None or not _EARLIEST <= time < _LATEST:
        return _NO_TIME
    if lat is None or lon is None or lat != lat or lon != lon:
        return _NO_PLACE
    if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0):
        return _OUTSIDE
    return "" if lat or lon else _ZERO


def _median(values: Sequence[float]) -> float:
    """The middle value (the statistics module costs 10 ms to import)."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _number(text: Optional[str]) -> Optional[float]:
    """A decimal number: None where nothing is written, NaN where it is none."""
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        return math.nan


class _Found:
    """What a reader has gathered from one file so far."""

    def __init__(self, path: Path, clock: str, empty: str = _EMPTY) -> None:
        self.path, self.clock = path, clock
        self.empty = empty  # what is wrong with the file if nothing at all is found
        self.segments: List[List[Fix]] = [[]]
        self.dropped: Dict[str, int] = {}
        self.notes: List[str] = []
        self.bad_altitudes = 0
        self.start: Optional[float] = None  # UTC seconds of video time 0, where the telemetry knows it

    def drop(self, reason: str, count: int = 1) -> None:
        """Count points that are left out."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def add(self, time: Optional[float], lat: Optional[float], lon: Optional[float],
            alt: Optional[float] = None, course: Optional[float] = None, flaw: str = "") -> None:
        """Keep a point, or count why not. An altitude or course that is no real value becomes unknown."""
        flaw = flaw or _flaw(time, lat, lon)
        if flaw or time is None or lat is None or lon is None:
            self.drop(flaw)
            return
        if alt is not None and not math.isfinite(alt):
            alt, self.bad_altitudes = None, self.bad_altitudes + 1
        if course is not None:
            course = course % 360.0 if 0.0 <= course <= 360.0 else None
        self.segments[-1].append(Fix(time, lat, lon, alt, course))


def _merged(pieces: List[Tuple[int, List[Fix]]], max_gap: float) -> Tuple[List[Fix], List[int]]:
    """Points of all (file number, points) by time, one per time (the first stays), and where segments start: after the
    end of all pieces so far, unless another file follows within `max_gap` seconds.
    """
    by_time: Dict[float, Fix] = {}
    spans = []
    for number, piece in pieces:
        moments = [fix[0] for fix in piece]
        for moment, fix in zip(moments, piece):
            by_time.setdefault(moment, fix)
        spans.append((min(moments), max(moments), number))
    times, starts = sorted(by_time), []
    end, end_number = -math.inf, -1
    for first, last, number in sorted(spans):
        if first > end and (number == end_number or first - end > max_gap):
            starts.append(bisect.bisect_left(times, first))
        if last >= end:
            end, end_number = last, number
    return [by_time[moment] for moment in times], starts


def _track(found: _Found) -> Track:
    """The Track of one file. Raises BadTrack if no point is left."""
    segments, name = [segment for segment in found.segments if segment], found.path.name
    reasons = sorted(found.dropped.items(), key=lambda item: -item[1])
    if not segments and reasons:
        raise _bad(found.path, "track_unusable", f"none of its {sum(found.dropped.values())} points can be used",
                   ", ".join(f"{count} {reason}" for reason, count in reasons),
                   _REMEDIES.get(reasons[0][0], "look at the file: these are not places on Earth"))
    if not segments:
        raise _bad(found.path, "track_damaged" if found.notes else "track_none", found.empty, "; ".join(found.notes),
                   _REMEDIES.get(found.empty, "give the GPX or NMEA log of the trip as --geotag_source_path"))
    if any(times != sorted(times) for times in ([fix[0] for fix in segment] for segment in segments)):
        found.notes.append(f"points of {name} were out of order and have been sorted by time")
    if found.bad_altitudes:
        found.notes.append(f"{found.bad_altitudes} altitudes in {name} cannot be read and were left out")
    points, starts = _merged([(0, segment) for segment in segments], 0.0)
    found.drop(_TWICE, sum(map(len, segments)) - len(points))
    return Track(points, starts, found.dropped, found.clock, found.notes)


# What a file is by its content, and the boxes of MP4 and MOV (ISO/IEC 14496-12, QuickTime File Format).
_MOVIE_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"pnot", b"styp", b"junk", b"PICT"}
_QUICKTIME_EPOCH = 2082844800  # 1970-01-01 in seconds since 1904
_SENTENCE = re.compile(r"(?:\[([0-9]{9,14})\]\s*)?\$((?!P)[A-Z]{2}(?:RMC|GGA|GLL|ZDA)|PMGNTRK),([^$*\[\r\n\0]*)"
                       r"(?:\*([0-9A-Fa-f]{0,2}))?")  # camera clock in ms, name, values, checksum


def _encoding(head: bytes) -> str:
    """UTF-16 where a text begins with that mark, else one byte a character."""
    return "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"


def _family(head: bytes) -> str:
    """What a file is by its first bytes: "movie", "gpx" (any XML), "nmea", or "" for none of these."""
    if head[4:8] in _MOVIE_BOXES:
        return "movie"
    text = head.decode(_encoding(head), "replace").lstrip("\u00ef\u00bb\u00bf \t\r\n\0")
    return "gpx" if text.startswith("<") else "nmea" if _SENTENCE.search(text) else ""


# A box: its type and where its content lies in the file, in bytes.
_Box = NamedTuple("_Box", [("kind", bytes), ("start", int), ("end", int)])
# One sample of a telemetry track: number from 1, seconds of video time, bytes (None where the index gives some twice).
_Payload = NamedTuple("_Payload", [("number", int), ("start", float), ("duration", float), ("block", Optional[bytes])])


class _Source:
    """An open track file. Of a movie boxes are read, by seek, never pictures, and never more than the file holds."""

    def __init__(self, handle: BinaryIO, path: Path) -> None:
        self.handle, self.path = handle, path
        self.family = _family(handle.read(1 << 16))
        self.size = handle.seek(0, os.SEEK_END)
        self.boxes_left, self.bytes_left = _MAX_BOXES, self.size
        self.top = list(self.boxes(_Box(b"", 0, self.size if self.family == "movie" else 0)))
        self.moov = next((box for box in self.top if box.kind == b"moov"), None)
        created, self.timescale, duration = self.times(self.child(self.moov, b"mvhd"))
        seconds = float(created - _QUICKTIME_EPOCH)
        self.creation_time = seconds if created and _EARLIEST <= seconds < _LATEST else None
        self.duration = duration / self.timescale if duration and self.timescale else None

    def boxes(self, parent: Optional[_Box]) -> Iterator[_Box]:
        """The boxes in a box; one that would end past its parent is clipped and is the last."""
        start, end = (parent.start, parent.end) if parent else (0, 0)
        while start + 8 <= end and self.boxes_left > 0:
            self.boxes_left -= 1
            self.handle.seek(start)
            size, kind, long_size = struct.unpack(">I4sQ", self.handle.read(16).ljust(16, b"\0"))
            header = 16 if size == 1 else 8
            size = long_size if size == 1 else size or end - start
            if size < header:
                return
            yield _Box(kind, min(start + header, end), min(start + size, end))
            start += size

    def child(self, box: Optional[_Box], *kinds: bytes) -> Optional[_Box]:
        """The first box at the path `kinds` below `box`, None if there is none."""
        for kind in kinds:
            box = next((inner for inner in self.boxes(box) if inner.kind == kind), None)
        return box

    def read(self, box: Optional[_Box]) -> bytes:
        """The content of a box, of 64 MB at most; nothing for None."""
        if box is None:
            return b""
        self.handle.seek(box.start)
        return self.handle.read(min(box.end - box.start, _MAX_BLOCK))

    def table(self, box: Optional[_Box], header: int, columns: int = 1, code: str = "I") -> Sequence[int]:
        """Big-endian numbers of 4 (I) or 8 (Q) bytes after a header that ends with the count of their rows."""
        content, values = self.read(box), array(code)
        if len(content) >= header:
            declared, = struct.unpack_from(">I", content, header - 4)
            rows = min(declared, (len(content) - header) // (values.itemsize * columns))
            values.frombytes(content[header:header + rows * columns * values.itemsize])
        if sys.byteorder == "little":
            values.byteswap()
        return values

    def times(self, box: Optional[_Box]) -> Tuple[int, int, int]:
        """Creation (seconds since 1904), units a second and duration in units of mvhd or mdhd; 0 is unknown."""
        content = self.read(box).ljust(32, b"\0")
        layout, endless = (">4xQQIQ", (1 << 64) - 1) if content[0] == 1 else (">4xIIII", (1 << 32) - 1)
        created, _, timescale, duration = struct.unpack_from(layout, content)
        return created, timescale, 0 if duration == endless else duration

    def tracks(self, form: bytes) -> List[_Box]:
        """The trak boxes whose first sample description is of this format; the handler type is only a hint."""
        return [trak for trak in self.boxes(self.moov) if trak.kind == b"trak"
                and self.read(self.child(trak, b"mdia", b"minf", b"stbl", b"stsd"))[12:16] == form]

    def delay(self, trak: _Box, scale: float) -> float:
        """Seconds by which the edit list of a track delays it: its empty edits, less where its media begins."""
        content, delay = self.read(self.child(trak, b"edts", b"elst"))[:1000], 0.0
        layout = struct.Struct(">Qq4x" if content[:1] == b"\x01" else ">Ii4x")
        for place in range(8, len(content) - layout.size + 1, layout.size):
            length, media = layout.unpack_from(content, place)
            if media >= 0:
                return delay - media / scale
            delay += length / (self.timescale or math.inf)
        return delay

    def places(self, table: Optional[_Box], sizes: Iterator[int]) -> Iterator[Tuple[int, int]]:
        """Where each sample lies, and its size: chunks by stco or co64, samples in a chunk by the runs of stsc."""
        chunks = self.table(self.child(table, b"stco"), 8) or self.table(self.child(table, b"co64"), 8, 1, "Q")
        runs, run = self.table(self.child(table, b"stsc"), 8, 3), 0
        for chunk, offset in enumerate(chunks, 1):
            while run + 3 < len(runs) and runs[run + 3] <= chunk:
                run += 3
            for size in itertools.islice(sizes, runs[run + 1] if runs else 1):
                yield offset, size
                offset += size

    def payloads(self, trak: _Box, found: _Found) -> Iterator[_Payload]:
        """The samples of a track in order; those past the end of the file are left out with a note."""
        scale = self.times(self.child(trak, b"mdia", b"mdhd"))[1] or math.inf
        table, delay = self.child(trak, b"mdia", b"minf", b"stbl"), self.delay(trak, scale)
        stsz, stts = self.child(table, b"stsz"), self.table(self.child(table, b"stts"), 8, 2)
        fixed, count = struct.unpack(">II", self.read(stsz)[4:12].ljust(8, b"\0"))
        sizes: Sequence[int] = range(0) if fixed else self.table(stsz, 12)
        count = min(self.size // fixed if fixed else len(sizes), count)
        deltas = itertools.chain(itertools.chain.from_iterable(map(itertools.repeat, stts[1::2], stts[::2])),
                                 itertools.repeat(stts[-1] if stts else 0))  # a short table: the last duration goes on
        places = self.places(table, itertools.repeat(fixed, count) if fixed else iter(sizes))
        start, reached = 0, 0
        for number, (offset, size), delta in zip(range(1, count + 1), places, deltas):
            seconds, duration = start / scale, delta / scale
            start += delta
            if offset + size <= self.size:
                reached, self.bytes_left = reached + 1, self.bytes_left - size
                if number == count and self.duration is not None and 0 < self.duration - seconds < duration:
                    duration = self.duration - seconds  # cameras give the last payload the length of a whole one
                self.handle.seek(offset)
                block = self.handle.read(size) if self.bytes_left >= 0 and size <= _MAX_BLOCK else None
                yield _Payload(number, seconds + delay, duration, block)
        if reached < count:
            found.notes.append(f"{count - reached} of {count} telemetry payloads lie past the end of {self.path.name}, "
                               "which is cut off or damaged")

# GPX: expat directly, because ElementTree takes twice the time and gpxpy four times.

def _iso_seconds(text: str) -> float:
    """Seconds UTC of an xsd:dateTime in any form seen in the field, NaN if it is none; a missing zone is UTC."""
    text = text.strip()
    seconds = parse_time(text + ":00" if text[-3:-2] in ("+", "-") else text)  # a zone may have no minutes
    return math.nan if seconds is None else seconds


class _GpxHandler:
    """Collects points as expat meets them: GPX 1.0, 1.1 or none, any prefix, direct children of a point only."""

    def __init__(self, path: Path, parser: Any) -> None:
        self.parser, self.path = parser, path
        self.track, self.other = _Found(path, "GPX"), _Found(path, "GPX")
        known = functools.lru_cache(5000)  # parts of times come again and again
        self.minutes = known(lambda text: _iso_seconds(text + ":00Z"))  # 2024-05-31T12:00
        self.rests = known(self.rest)
        self.zoneless = False
        self.reading: Any = None  # what takes the texts, while inside a child with a name of `names`
        self.depth = 0  # elements open, counted from the point; 0 = outside of points
        self.found, self.attributes = self.track, {}  # type: _Found, Dict[str, str]
        self.texts: List[str] = []
        self.fields: Dict[str, str] = {}
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self.begin, self.end
        parser.EntityDeclHandler = self.refuse

    def rest(self, text: str) -> float:
        """Seconds of the part of a time behind its minutes, :56.5+01:00; that there is no zone is noted once."""
        if not re.search(r"[Zz]|[+-]\d\d(:?\d\d)?\s*$", text) and not self.zoneless:
            self.zoneless = True
            self.track.notes.append("%s has times without a zone: they are taken as UTC" % self.path.name)
        return _iso_seconds("1970-01-01T00:00" + text)

    def refuse(self, *declaration: Any) -> None:
        """Entities can make a small file fill the memory, or read other files; no track needs them."""
        raise _bad(self.path, "track_entities", "declares XML entities, which are refused", str(declaration[0])[:40],
                   "remove the <!DOCTYPE ...> part or export the track again")

    def begin(self, name: str, attributes: Dict[str, str]) -> None:
        """The first element opens: all names of GPX have its prefix."""
        self.root = name.rpartition(":")[2]
        mark = name[:len(name) - len(self.root)]
        self.kinds = {mark + "trkpt": self.track, mark + "rtept": self.other, mark + "wpt": self.other}
        self.names = {mark + field: field for field in ("ele", "time", "course")}
        self.parts = {mark + part for part in ("trkseg", "trk", "rte")}
        self.parser.StartElementHandler = self.start

    def start(self, name: str, attributes: Dict[str, str]) -> None:
        """An element opens."""
        if self.depth:
            self.depth += 1
            if self.depth == 2 and name in self.names:
                self.reading = self.parser.CharacterDataHandler = self.texts.append
        elif name in self.kinds:
            self.depth, self.found, self.attributes, self.fields = 1, self.kinds[name], attributes, {}

    def end(self, name: str) -> None:
        """An element closes."""
        depth = self.depth
        if depth:
            self.depth = depth - 1
            if depth == 1:
                self.point()
            elif depth == 2 and self.reading:
                self.fields.setdefault(self.names[name], "".join(self.texts))
                self.texts.clear()
                self.reading = self.parser.CharacterDataHandler = None
        elif name in self.parts and self.found.segments[-1]:
            self.found.segments.append([])

    def point(self) -> None:
        """A point is complete. The usual one goes the short way: this runs 100,000 times."""
        fields, attributes = self.fields, self.attributes
        text, height = fields.get("time", ""), fields.get("ele")
        try:
            time = self.minutes(text[:16]) + self.rests(text[16:])
            lat, lon = float(attributes["lat"]), float(attributes["lon"])
            alt = None if height is None else float(height)
            if not _flaw(time, lat, lon) and (alt is None or alt - alt == 0) and "course" not in fields:
                self.found.segments[-1].append(tuple.__new__(Fix, (time, lat, lon, alt, None)))  # half of Fix()
                return
        except (KeyError, ValueError):
            pass
        self.found.add(_iso_seconds(text), _number(attributes.get("lat")), _number(attributes.get("lon")),
                       _number(height), _number(fields.get("course")))


def _gpx_again(path: Path, cause: str) -> _Found:
    """A GPX that expat refuses, read with gpxpy where that is at hand. Raises BadTrack with `cause` otherwise."""
    gpxpy, content = second_reader("gpxpy"), path.read_bytes()
    if gpxpy is None or b"<!ENTITY" in content:
        raise _bad(path, "track_damaged", "is not XML that can be read", cause, "for a second reader: "
                   "python -m pip install -r vendor/requirements.txt --target vendor")
    try:
        gpx = gpxpy.parse(content)
    except (gpxpy.gpx.GPXException, ValueError, LookupError) as error:
        raise _bad(path, "track_damaged", "is not XML that can be read, by gpxpy neither", cause,
                   "repair the file at that place or export the track again") from error
    found = _Found(path, "GPX")
    parts = [segment.points for track in gpx.tracks for segment in track.segments]
    for points in parts or [route.points for route in gpx.routes] + [gpx.waypoints]:
        found.segments.append([])
        for point in points:
            found.add(_iso_seconds(point.time.isoformat() if point.time else ""), point.latitude, point.longitude,
                      point.elevation)
    found.notes.append(f"{path.name} was read with gpxpy ({cause})")
    return found


def _read_gpx(source: _Source) -> _Found:
    """GPX 1.0 and 1.1 (topografix.com/GPX/1/1); routes and waypoints only where there is no track."""
    from xml.parsers import expat
    parser = expat.ParserCreate()
    handler = _GpxHandler(source.path, parser)
    source.handle.seek(0)
    try:
        parser.ParseFile(source.handle)
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: an encoding Python cannot use
        return _gpx_again(source.path, str(error))
    found = handler.track if handler.track.dropped or any(handler.track.segments) else handler.other
    if handler.root not in ("gpx", "") and not found.dropped and not any(found.segments):
        raise _bad(source.path, "track_kind", "is XML but not GPX", f"<{handler.root[:40]}>", "convert it to GPX first")
    return found


# NMEA 0183 sentences: logs, BlackVue boxes and side files, and some cameras' text in MP4 tracks.
_CLOCK = re.compile(r"([01][0-9]|2[0-4])([0-5][0-9])([0-5][0-9]|60)(\.[0-9]*)?(?![0-9])")
_DAY_MS = 86400000
# Where a sentence keeps its values (NMEA 0183), counted after the name; 15 is always empty. Of places at one time that
# of the lowest rank is taken; status is good where it says one of these; dates are ddmmyy, or dd, mm and yyyy.
# kind: (rank, clock, place, status, good, altitude, course, date, mode)
_COLUMNS: Dict[str, Tuple[int, int, int, int, Tuple[str, ...], int, int, slice, int]] = {
    "RMC": (0, 0, 2, 1, ("A",), 15, 7, slice(8, 9), 11),
    "PMGNTRK": (0, 6, 0, 7, ("A",), 4, 15, slice(9, 10), 15),
    "GGA": (1, 0, 1, 5, tuple("123456789"), 8, 15, slice(15, 16), 15),
    "GLL": (2, 4, 0, 5, ("A",), 15, 15, slice(15, 16), 6),
    "ZDA": (3, 0, 0, 15, (), 15, 15, slice(1, 4), 15),
}


# What one sentence says. Moment: ms since the midnight UTC before the log begins; shift: ms to add to it to have the
# time since 1970, None in sentences without a date; good: has a fix; stamp: ms of the camera clock, in BlackVue logs.
_Sentence = NamedTuple("_Sentence", [
    ("kind", str), ("rank", int), ("moment", int), ("shift", Optional[int]), ("good", bool),
    ("lat", Optional[float]), ("lon", Optional[float]), ("alt", Optional[float]), ("course", Optional[float]),
    ("stamp", Optional[int])])


def _nmea_lines(handle: BinaryIO) -> Iterator[str]:
    """Lines of a log as text. No line can fill the memory."""
    handle.seek(0)
    encoding = _encoding(handle.read(2))
    handle.seek(0)
    reader = io.TextIOWrapper(handle, encoding=encoding, errors="replace")
    return iter(lambda: reader.readline(_MAX_LINE), "")


def _degrees(text: str, side: str, sides: str) -> Optional[float]:
    """`dddmm.mmmm` and its letter as degrees, None if it is none: minutes are the last two digits before the point."""
    value, side = _number(text), side.strip().upper()
    if value is None or not 0.0 <= value < 36000.0 or value % 100.0 >= 60.0 or side not in tuple(sides):
        return None
    return (value // 100.0 + value % 100.0 / 60.0) * (1 if side == sides[0] else -1)


def _clock_ms(text: str) -> Optional[int]:
    """`hhmmss.sss` as milliseconds since midnight, None if it is none."""
    match = _CLOCK.match(text)
    if match is None:
        return None
    hour, minute, second, fraction = match.groups("")
    return (int(hour) * 60 + int(minute)) * 60000 + round(float(second + fraction) * 1000)


def _day_ms(text: str) -> Optional[int]:
    """`ddmmyy` or `ddmmyyyy` as milliseconds since 1970, None if it is none. Years 70 to 99 are of the last century."""
    try:
        day, month, year = int(text[:2]), int(text[2:4]), int(text[4:])
        year += 0 if len(text) == 8 else 1900 if year >= 70 else 2000
        return round(utc_seconds(year, month, day, 0, 0, 0.0)) * 1000 if len(text) in (6, 8) else None
    except ValueError:
        return None


def _sentences(lines: Iterable[str], found: _Found) -> List[_Sentence]:
    """All sentences with a time, in the order of the log. A wrong checksum (XOR from `$` to `*`) drops the line."""
    result: List[_Sentence] = []
    before = -1  # moment of the sentence before
    for stamp, name, body, checksum in (match.groups() for line in lines for match in _SENTENCE.finditer(line)):
        kind, total = name if name in _COLUMNS else name[2:], 0
        for byte in (name + "," + body).encode("latin-1", "replace"):
            total ^= byte
        cells = [cell.strip() for cell in body.split(",")[:15]]
        cells += [""] * (16 - len(cells))
        rank, clock_at, place, status, good, alt, course, date, mode = _COLUMNS[kind]
        clock, day = _clock_ms(cells[clock_at]), _day_ms("".join(cells[date]))
        wrong = checksum is not None and checksum.upper() != f"{total:02X}"
        if wrong or clock is None:
            found.drop(_CHECKSUM if wrong else _NO_FIX)  # receivers send no time until they know it
            continue
        moment = clock + before // _DAY_MS * _DAY_MS
        before = moment = moment + _DAY_MS * ((moment - before < -_DAY_MS // 2) - (moment - before > _DAY_MS // 2))
        north, ns, east, ew = cells[place:place + 4]
        result.append(_Sentence(
            kind, rank, moment, None if day is None else day + clock - moment,
            cells[status] in good and cells[mode] != "N", _degrees(north, ns, "NS"), _degrees(east, ew, "EW"),
            _number(cells[alt]), _number(cells[course]), int(stamp) if stamp else None))
    return result


def _sentence_times(sentences: List[_Sentence], found: _Found) -> List[int]:
    """Milliseconds since 1970 of each sentence by the day of the nearest that tells it; empty where none does."""
    shifts = [(i, s.shift) for i, s in enumerate(sentences) if s.shift is not None]
    shifts = [(i, shift) for i, shift in shifts if sentences[i].good or sentences[i].kind == "ZDA"] or shifts  # surer
    if shifts:
        found.clock = sentences[shifts[0][0]].kind
    else:
        shifts = [(i, round((s.stamp - s.moment) / _DAY_MS) * _DAY_MS) for i, s in enumerate(sentences)
                  if s.stamp is not None]
        found.clock = "time of day from GPS, day from the camera clock" if shifts else found.clock
    times, after = [], 0
    for i, sentence in enumerate(sentences if shifts else []):
        after += after < len(shifts) and shifts[after][0] < i
        near = [(abs(sentences[k].moment - sentence.moment), -k, shift)
                for k, shift in shifts[max(after - 1, 0):after + 1]]
        times.append(sentence.moment + min(near)[2])
    return times


def _add_sentences(lines: Iterable[str], found: _Found) -> Optional[float]:
    """Points from the sentences in `lines`: at one time the place of RMC before GGA before GLL, the altitude of GGA.
    Returns how many seconds the stamps of the camera clock are behind the UTC of RMC, None without either.
    """
    sentences = _sentences(lines, found)
    timed = list(zip(_sentence_times(sentences, found), sentences))
    if not timed:
        found.drop(_NO_DATE, sum(sentence.good for sentence in sentences))
    places = sorted((item for item in timed if item[1].good), key=lambda item: (item[0], item[1].rank))
    void = {ms for ms, sentence in timed if not sentence.good and sentence.kind != "ZDA"}
    found.drop(_NO_FIX, len(void.difference(ms for ms, _ in places)))
    for ms, group in itertools.groupby(places, key=lambda item: item[0]):
        same = [sentence for _, sentence in group]
        found.drop(_TWICE, sum(sentence.kind == same[0].kind for sentence in same[1:]))
        alt = next((sentence.alt for sentence in same if sentence.alt is not None), None)
        found.add(ms / 1000.0, same[0].lat, same[0].lon, alt, same[0].course)
    delays = [(ms - s.stamp) / 1000.0 for ms, s in places if s.kind == "RMC" and s.stamp is not None]
    return _median(delays) if delays else None


def _read_nmea(source: _Source) -> _Found:
    """A log of NMEA 0183 sentences: RMC, GGA, GLL, ZDA of any talker, $PMGNTRK."""
    found = _Found(source.path, "NMEA")
    _add_sentences(_nmea_lines(source.handle), found)
    return found


# GoPro: GPMF (github.com/gopro/gpmf-parser) in the samples of a `gpmd` track.
_CAMERA_CLOCK = "camera clock"
_GPMF_NUMBERS = dict(zip("bBsSlLjJfd", "bBhHiIqQfd"))  # type letters as the struct module has them
_GPS9_EPOCH = 946684800.0  # 2000-01-01


class _Sample(NamedTuple):
    """One place in a video."""

    video: float  # seconds of video time
    time: Optional[float]  # seconds UTC, None where the sample does not tell it
    lat: float
    lon: float
    alt: Optional[float]
    course: Optional[float] = None
    flaw: str = ""  # why it is not used, "" if it may be


# One GPMF entry: its key, type letter, bytes of a row, and the bytes of its rows.
_Klv = NamedTuple("_Klv", [("key", bytes), ("kind", str), ("width", int), ("content", bytes)])


def _each_payload(movie: _Source, form: bytes, found: _Found, take: Callable[[bytes, _Payload], None]) -> None:
    """Give every payload of the tracks of a format to `take`. One on which it fails is damaged: left out and noted."""
    damaged = []
    for trak in movie.tracks(form):
        for payload in movie.payloads(trak, found):
            try:
                if payload.block is None:
                    raise ValueError("bytes of another payload")
                take(payload.block, payload)
            except (ValueError, LookupError, struct.error):
                damaged.append(payload.number)
    if damaged:
        numbers = ", ".join(map(str, damaged[:5])) + (f" and {len(damaged) - 5} more" if len(damaged) > 5 else "")
        words = "payloads {} of {} are" if len(damaged) > 1 else "payload {} of {} is"
        found.notes.append(words.format(numbers, found.path.name) + " damaged and left out")


def _take_first(found: _Found, choices: List[Tuple[str, Optional[float], List[_Sample]]]) -> None:
    """Keep the first usable samples of (clock, UTC of video time 0 if they need it, samples), else count the first."""
    usable = []
    for clock, start, samples in choices:
        if start is not None:
            samples = [sample._replace(time=start + sample.video) for sample in samples]
        good = [s for s in samples if not (s.flaw or _flaw(s.time, s.lat, s.lon))]
        if samples:
            usable.append((not good, clock, samples, [s.time - s.video for s in good if s.time is not None]))
    for _, found.clock, samples, starts in sorted(usable, key=lambda choice: choice[0])[:1]:
        for sample in samples:
            found.add(*sample[1:])
        if starts and found.clock == _CAMERA_CLOCK:
            found.notes.append(f"{found.path.name} has no GPS time; its camera clock was taken as UTC")
        elif starts:
            found.start = _median(starts)


def _fix_flaw(lock: float, dop: float = 0.0) -> str:
    """Why a sample with this GPS fix (0, 2, 3) and dilution of precision is not used, "" if it is."""
    return _NO_FIX if lock not in (2, 3) else "" if dop <= _MAX_DOP else _POOR


def _klvs(block: bytes) -> Iterator[_Klv]:
    """The entries in a payload, or in an entry of entries. Raises ValueError where one runs past its parent."""
    start = 0
    while start + 8 <= len(block):
        key, kind, width, rows = struct.unpack_from(">4scBH", block, start)
        if key == b"\0\0\0\0":  # filler
            start += 4
            continue
        stop = start + 8 + width * rows
        if stop > len(block) or not key.isalnum() and not all(32 <= letter < 127 for letter in key):
            raise ValueError(f"no entry at byte {start}")
        yield _Klv(key, kind.decode("latin-1"), width, block[start + 8:stop])
        start = stop + -(width * rows) % 4


def _gpmf_text(stream: Dict[bytes, _Klv], key: bytes) -> str:
    """The text of an entry of a stream, "" for none; it comes as one row of n or as n rows of one."""
    return stream[key].content.split(b"\0")[0].decode("latin-1").strip() if key in stream else ""


def _gpmf_rows(stream: Dict[bytes, _Klv], key: bytes, scaled: bool = True) -> List[Tuple[float, ...]]:
    """The rows of an entry of a stream, by its SCAL; none for none. ValueError, LookupError where something is odd."""
    klv = stream.get(key)
    if klv is None or not klv.content:
        return []
    kinds = _gpmf_text(stream, b"TYPE")[:255] if klv.kind == "?" else klv.kind * (
        klv.width // struct.calcsize(">" + _GPMF_NUMBERS[klv.kind]))
    layout = struct.Struct(">" + "".join(_GPMF_NUMBERS[kind] for kind in kinds))
    if layout.size != klv.width:
        raise ValueError(f"a row of {kinds} is not {klv.width} bytes wide")
    rows = list(layout.iter_unpack(klv.content))
    scale = [value for row in _gpmf_rows(stream, b"SCAL", False) for value in row] if scaled else []
    scale = scale * len(rows[0]) if len(scale) == 1 else scale or [1.0] * len(rows[0])
    if len(scale) != len(rows[0]) or 0 in scale:
        raise ValueError(f"{len(scale)} scales for {len(rows[0])} values, or a scale of 0")
    return [tuple(value / by for value, by in zip(row, scale)) for row in rows]


_GOPRO_SAMPLES: Dict[bytes, Callable[[float, Any, str], _Sample]] = {
    # lat, lon, alt, speeds, days, seconds, DOP, fix
    b"GPS9": lambda video, row, flaw: _Sample(video, _GPS9_EPOCH + row[5] * 86400.0 + row[6], row[0], row[1], row[2],
                                              flaw=_fix_flaw(row[8], row[7])),
    b"GPS5": lambda video, row, flaw: _Sample(video, None, row[0], row[1], row[2], flaw=flaw),
    b"GLPI": lambda video, row, flaw: _Sample(video, *row[:4]),  # of the Karma drone: seconds since it was switched on
}


def _gopro_told(block: bytes, payload: _Payload) -> Iterator[Tuple[bytes, bytes, List[Any]]]:
    """(device, key, samples) of a payload; of SYST (drone's clock, UTC) in seconds, of GPSU UTC less video time."""
    for device in _klvs(block):
        parts = list(_klvs(device.content)) if device.key == b"DEVC" else []
        name = b"|".join(klv.content for klv in parts if klv.key in (b"DVID", b"DVNM"))
        for stream in ({inner.key: inner for inner in _klvs(klv.content)} for klv in parts if klv.key == b"STRM"):
            lock, dop = (_gpmf_rows(stream, key, False) for key in (b"GPSF", b"GPSP"))
            flaw = _fix_flaw(lock[0][0] if lock else 3, dop[0][0] / 100.0 if dop else 0.0)  # a missing one is good
            for key, sample in _GOPRO_SAMPLES.items():
                rows = _gpmf_rows(stream, key)
                yield name, key, [sample(payload.start + payload.duration * i / len(rows), row, flaw)
                                  for i, row in enumerate(rows)]
            yield name, b"SYST", [row[:2] for row in _gpmf_rows(stream, b"SYST")]
            text = _gpmf_text(stream, b"GPSU")  # yymmddhhmmss.sss; a real HERO5 wrote 5509100082240400
            day, clock = _day_ms(text[4:6] + text[2:4] + text[:2]), _clock_ms(text[6:])
            if b"GPS5" in stream and not flaw and day is not None and clock is not None:
                yield name, b"GPSU", [(day + clock) / 1000.0 - payload.start]


def _drone_utc(moment: float, clocks: List[Tuple[float, float]]) -> Optional[float]:
    """UTC of a moment of a drone's clock: linear by the two nearest (moment, UTC) that it told, in order."""
    if len(clocks) < 2:
        return clocks[0][1] + moment - clocks[0][0] if clocks else None
    place = min(max(bisect.bisect_left(clocks, (moment,)), 1), len(clocks) - 1)
    (before, utc), (after, later) = clocks[place - 1:place + 1]
    return utc + (moment - before) * (later - utc) / (after - before)


def _read_gopro(movie: _Source) -> _Found:
    """A GoPro video: of the first device with usable ones GPS9, else GPS5 with fitted times; else a drone's."""
    found, devices = _Found(movie.path, "GPSU fitted", _NO_TELEMETRY), {}  # type: _Found, Dict[bytes, Dict[bytes, Any]]

    def take(block: bytes, payload: _Payload) -> None:
        for name, key, values in list(_gopro_told(block, payload)):  # all of a payload or nothing
            devices.setdefault(name, {}).setdefault(key, []).extend(values)

    _each_payload(movie, b"gpmd", found, take)
    found.empty = _NO_GPS if devices else _NO_TELEMETRY
    choices: List[Tuple[str, Optional[float], List[_Sample]]] = []
    for told in devices.values():
        offsets = told.get(b"GPSU", [])[1:] or told.get(b"GPSU")  # the first is 1.3 s early on many cameras
        start = _median(offsets) if offsets else movie.creation_time
        choices.append(("GPS9", None, told[b"GPS9"]))
        choices.append(("GPSU fitted" if offsets else _CAMERA_CLOCK, start, told[b"GPS5"]))
    if not any(samples for _, _, samples in choices):
        for told in devices.values():
            clocks = sorted(dict(told[b"SYST"]).items())
            choices.append(("GLPI", None, [s._replace(time=_drone_utc(s.time, clocks)) for s in told[b"GLPI"]]))
    _take_first(found, choices)
    return found


# BlackVue: NMEA text in the `free` boxes of an MP4, or in a side file of the same recording.
_BLACKVUE_NAME = re.compile(r"([0-9]{8}_[0-9]{6}_[A-Z])([FRIO])(\.mp4)", re.IGNORECASE)


def _blackvue_boxes(movie: _Source, kind: bytes) -> List[bytes]:
    """The content of all boxes of a kind in all free boxes: there may be several of both."""
    return [movie.read(box) for free in movie.top if free.kind in (b"free", b"skip")
            for box in movie.boxes(free) if box.kind == kind]


def _blackvue_relative(path: Path) -> Optional[Path]:
    """The side file or front video of the same recording as `path`: a rear video may hold no GPS of its own."""
    match = _BLACKVUE_NAME.fullmatch(path.name)
    names = [path.stem + ".gps"] + ([match.group(1) + ".gps", match.group(1) + "F" + match.group(3)] if match else [])
    return next((path.with_name(name) for name in names if name != path.name and path.with_name(name).is_file()), None)


def _read_blackvue(movie: _Source) -> _Found:
    """A BlackVue video, UTC from the sentences themselves."""
    found = _Found(movie.path, "RMC", _NO_TELEMETRY)
    text = b"\n".join(_blackvue_boxes(movie, b"gps "))
    relative = None if b"$" in text else _blackvue_relative(movie.path)
    if relative is not None:
        with open(relative, "rb") as handle:
            near = _Source(handle, relative)
            text = near.read(_Box(b"", 0, near.size)) if near.family != "movie" else b"\n".join(
                _blackvue_boxes(near, b"gps "))
        found.notes.append(f"{movie.path.name} has no GPS; that of {relative.name} was taken")
    delay = _add_sentences(_nmea_lines(io.BytesIO(text)), found)
    stamp = re.search(rb"\[([0-9]{9,14})\]", text)
    if delay is not None and stamp is not None:
        first = int(stamp.group(1))  # ms; the box with the start may be in another zone: then the first line it is
        starts = [struct.unpack_from(">Q", box)[0] for box in _blackvue_boxes(movie, b"sttm") if len(box) >= 8]
        found.start = delay + next((zero for zero in starts if 0 <= first - zero < 60000), first) / 1000.0
    return found


# CAMM (developers.google.com/streetview/publish/camm-spec): little-endian records in the samples of a `camm` track.
_CAMM_SIZES = {0: 16, 1: 12, 2: 16, 3: 16, 4: 16, 5: 28, 6: 60, 7: 16}  # bytes of a record by its type
_CAMM_PLACE, _CAMM_GPS = struct.Struct("<4xddd"), struct.Struct("<4xdidd7f")
_CAMM_BEFORE = 1483228800.0  # 2017-01-01, when the format was new: an earlier time counts from 1980
# The days from which on GPS time is one more second ahead of UTC, since 1980 (IERS Bulletin C).
_LEAP_DAYS = ("1981-07-01 1982-07-01 1983-07-01 1985-07-01 1988-01-01 1990-01-01 1991-01-01 1992-07-01 1993-07-01 "
              "1994-07-01 1996-01-01 1997-07-01 1999-01-01 2006-01-01 2009-01-01 2012-07-01 2015-07-01 "
              "2017-01-01").split()


def _camm_samples(block: bytes, video: float) -> Iterator[_Sample]:
    """The places in one sample, which may hold several records. Raises struct.error or LookupError at a cut one."""
    place = 0
    while place < len(block):
        kind, = struct.unpack_from("<2xH", block, place)
        if place + _CAMM_SIZES[kind] > len(block):
            raise ValueError(f"a cut record at byte {place}")
        if kind == 5:
            lat, lon, alt = _CAMM_PLACE.unpack_from(block, place)
            yield _Sample(video, None, lat, lon, None if alt == -1.0 else alt)  # -1: some writers' "none"
        elif kind == 6:
            time, lock, lat, lon, alt, _, _, east, north = _CAMM_GPS.unpack_from(block, place)[:9]
            moving = 0.5 < math.hypot(east, north) < 1000.0  # m/s; slower, the direction is noise
            course = math.degrees(math.atan2(east, north)) % 360.0 if moving else None
            yield _Sample(video, time, lat, lon, None if alt == -1.0 else alt, course, _fix_flaw(lock))
        place += _CAMM_SIZES[kind]


def _gps_to_utc(seconds: float) -> float:
    """Seconds since 1980-01-06 without leap seconds to seconds UTC since 1970."""
    utc = seconds + GPS_EPOCH
    days = [utc_seconds(int(day[:4]), int(day[5:7]), int(day[8:]), 0, 0, 0.0) for day in _LEAP_DAYS]
    return utc - sum(utc - number >= day for number, day in enumerate(days, 1))


def _camm_utc(samples: List[_Sample], created: Optional[float]) -> List[_Sample]:
    """Samples with UTC. The specification says GPS time, most cameras write Unix time: the nearer to the file's."""
    times = [sample.time for sample in samples if sample.time is not None and math.isfinite(sample.time)]
    middle = _median(times) if times else 0.0
    if created is None or created < _CAMM_BEFORE:
        created = _CAMM_BEFORE + GPS_EPOCH / 2  # so that a time before 2017 is nearer as GPS time
    if not times or abs(middle + GPS_EPOCH - created) >= abs(middle - created):
        return samples
    return [sample._replace(time=_gps_to_utc(sample.time or 0.0)) for sample in samples]


def _read_camm(movie: _Source) -> _Found:
    """A CAMM video: records of type 6 with their own time, else of type 5 by the camera's clock, else sentences."""
    found, samples, lines = _Found(movie.path, "CAMM", _NO_TELEMETRY), [], []  # type: _Found, List[_Sample], List[str]

    def take(block: bytes, payload: _Payload) -> None:
        if b"$G" in block[:_MAX_LINE] and _SENTENCE.search(block.decode("latin-1")):
            lines.append(block.decode("latin-1"))  # some cameras write text in place of records
        else:
            samples.extend(_camm_samples(block, payload.start))

    _each_payload(movie, b"camm", found, take)
    timed, plain = [s for s in samples if s.time is not None], [s for s in samples if s.time is None]
    _take_first(found, [("CAMM", None, _camm_utc(timed, movie.creation_time)),
                        (_CAMERA_CLOCK, movie.creation_time, plain)])
    if not samples:
        _add_sentences(lines, found)
    return found


TRACK_READERS: Dict[str, Callable[[_Source], _Found]] = {
    "gpx": _read_gpx, "nmea": _read_nmea, "gopro_video": _read_gopro, "blackvue": _read_blackvue, "camm": _read_camm}
_NO_TRACKS = IMAGE_KINDS + ("png", "heic", "webp", "dng")  # kinds of files that are not looked into


def _telemetry(movie: _Source) -> List[str]:
    """The kinds of telemetry in a movie, the likeliest first."""
    kinds = [kind for kind, form in (("gopro_video", b"gpmd"), ("camm", b"camm")) if movie.tracks(form)]
    return kinds + ["blackvue"] * any(b"$" in text for text in _blackvue_boxes(movie, b"gps "))


def _readers(source: _Source, kind: str) -> List[str]:
    """The readers to try on a file: of a movie what it holds, the kind asked for first, or none: a side file may do."""
    if source.family != "movie":
        return [source.family]
    kinds = sorted(_telemetry(source), key=lambda name: name != kind)
    if not kinds and source.moov is None and _blackvue_relative(source.path) is None:
        raise _bad(source.path, "track_damaged", "is damaged or cut off: it has no index (moov)", "",
                   "copy it from the card again, or let the camera repair it")
    return kinds or ["blackvue"]


def _read_file(path: Path, kind: str) -> Track:
    """The Track of one file. Raises BadTrack."""
    problems = []
    try:
        with open(path, "rb") as handle:
            source = _Source(handle, path)
            if not source.family:
                raise _bad(path, "track_unknown", "is no track file that can be read", "",
                           "GPX, NMEA and MP4 or MOV with GoPro, BlackVue or CAMM data can be")
            for name in _readers(source, kind):
                try:
                    return _track(TRACK_READERS[name](source))
                except BadTrack as error:
                    problems.append(error)
    except OSError as error:
        raise _cannot_read(path, error) from error
    raise min(problems, key=lambda problem: problem.problem.code == "track_none")


def join_tracks(tracks: Sequence[Track], max_gap: float = TOUCH_SECONDS) -> Track:
    """One Track of several: by time, one point per time (that of the first track wins). Between two tracks a segment
    starts, unless they overlap or are at most `max_gap` seconds apart.
    """
    if len(tracks) == 1:
        return tracks[0]
    pieces = [(number, track.points[start:end]) for number, track in enumerate(tracks)
              for start, end in zip(track.starts, track.starts[1:] + [len(track.points)])]
    points, starts = _merged(pieces, max_gap)
    dropped: Dict[str, int] = {}
    twice = sum(len(piece) for _, piece in pieces) - len(points)
    for reason, count in itertools.chain([(_TWICE, twice)] if twice else [], *(t.dropped.items() for t in tracks)):
        dropped[reason] = dropped.get(reason, 0) + count
    clocks = dict.fromkeys(track.clock for track in tracks)
    return Track(points, starts, dropped, " and ".join(clocks), [note for track in tracks for note in track.notes])


def _track_files(folder: Path) -> List[Path]:
    """The files of a folder and those below, by name; hidden ones and images are not looked at."""
    files: List[Path] = []
    for place, folders, names in os.walk(str(folder)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(place, name) for name in sorted(names) if name[0] != "." and _kind(name) not in _NO_TRACKS]
    return [path for path in files if path.is_file()]


def read_track(path: Union[str, Path], kind: str = "auto", max_gap: float = TOUCH_SECONDS) -> Track:
    """The track in a file, or in all files of a folder joined by time, told by content and not by name.

    `kind` (a key of TRACK_READERS, or auto) is tried first where a movie holds several. `max_gap` as in join_tracks.
    Raises NotFound if there is nothing at `path`, BadTrack if no file of it can be used; single ones become notes.
    """
    if kind != "auto" and kind not in TRACK_READERS:
        raise UsageError(Problem("track_source", str(path), "no such kind of track", kind,
                                 "one of auto, " + ", ".join(TRACK_READERS)))
    path = Path(path)
    if path.is_file():
        return _read_file(path, kind)
    if not path.is_dir():  # a pipe, too: it cannot be read twice
        raise NotFound(Problem("track_missing", str(path), "there is no such track file or folder", "",
                               "check --geotag_source_path"))
    tracks, problems = [], []  # type: List[Track], List[BadTrack]
    for file in _track_files(path):
        try:
            tracks.append(_read_file(file, kind))
        except BadTrack as error:
            if error.problem.code != "track_unknown":
                problems.append(error)
    if not tracks:
        raise problems[0] if len(problems) == 1 else _bad(
            path, "track_none", f"none of its {len(problems)} track files can be used",
            "; ".join(map(str, problems[:3])), "put a GPX, an NMEA log or a video with GPS there")
    joined = join_tracks(tracks, max_gap)
    return Track(joined.points, joined.starts, joined.dropped, joined.clock, joined.notes + list(map(str, problems)))


def check_gpx_target(path: Union[str, Path]) -> None:
    """Raise CannotWrite when there is a file that write_gpx did not write: a photo, or the track itself."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as stream:
        if b'creator="mapillary_tools"' not in stream.read(100):
            raise CannotWrite(("not_ours", str(path), "was not written by --write_gpx", "", "choose another file name"))


def write_gpx(track: Track, path: Union[str, Path]) -> None:
    """Write a track as GPX 1.1: segments, altitude in metres, times UTC to the millisecond. Raises CannotWrite."""
    def chunks() -> Iterator[bytes]:
        yield (b'<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="mapillary_tools"'
               b' xmlns="http://www.topografix.com/GPX/1/1">\n<trk>\n')
        for start, end in zip(track.starts, track.starts[1:] + [len(track.points)]):
            lines = (f'<trkpt lat="{fix.lat:.9f}" lon="{fix.lon:.9f}">'
                     + ("" if fix.alt is None else f"<ele>{fix.alt:.3f}</ele>")
                     + f"<time>{format_time(fix.time)}</time></trkpt>\n" for fix in track.points[start:end])
            yield "".join(["<trkseg>\n", *lines, "</trkseg>\n"]).encode("ascii")
        yield b"</trk>\n</gpx>\n"

    check_gpx_target(path)
    write_atomically(path, chunks())


# What a movie says of itself.
_UDTA_TEXT = re.compile(rb"^(?:\0{4}..|\0...)?([^\0]*).*", re.DOTALL)  # 3GP: flags, language; QuickTime: length, too
_BLACKVUE_MODEL = re.compile(rb'"model"\s*:\s*"([^"]+)"|pittasoft[^;]*;([^;\0]+)', re.IGNORECASE)


class Movie(NamedTuple):
    """What an MP4 or MOV says of itself. None is unknown; a file of another kind has no known value at all."""

    creation_time: Optional[float] = None  # seconds UTC as the camera wrote it; many write local time
    duration: Optional[float] = None  # seconds
    make: Optional[str] = None
    model: Optional[str] = None
    telemetry: Tuple[str, ...] = ()  # kinds of TRACK_READERS that it holds


def video_start(path: Union[str, Path]) -> Optional[Tuple[float, str]]:
    """UTC seconds of video time 0 and the name of the clock, None where no telemetry with GPS time tells it."""
    try:
        with open(path, "rb") as handle:
            source = _Source(handle, Path(path))
            for name in _readers(source, "auto") if source.family == "movie" else []:
                found = TRACK_READERS[name](source)
                if found.start is not None:
                    return found.start, found.clock
    except (BadTrack, OSError) as error:
        LOG.debug("no start of %s: %s", path, error)
    return None


def _gpmf_name(block: bytes, key: bytes) -> str:
    """The first text with this key anywhere in GPMF data, "" if there is none."""
    match = re.search(re.escape(key) + rb"c(.)(..)", block, re.DOTALL)
    size = match.group(1)[0] * int.from_bytes(match.group(2), "big") if match else 0
    return block[match.end():match.end() + size].split(b"\0")[0].decode("latin-1").strip() if match else ""


def _camera_names(movie: _Source) -> Tuple[Optional[str], Optional[str]]:
    """Make and model of the camera that wrote a movie: user data, then GoPro's, then BlackVue's."""
    udta = {box.kind: movie.read(box)[:1 << 16] for box in movie.boxes(movie.child(movie.moov, b"udta"))}
    make, model = (next((_UDTA_TEXT.sub(rb"\1", udta[kind]).decode("utf-8", "replace").strip()
                         for kind in kinds if kind in udta), "")
                   for kinds in ((b"\xa9mak", b"manu", b"@mak"), (b"\xa9mod", b"modl", b"@mod")))
    payloads = (payload for trak in movie.tracks(b"gpmd") for payload in movie.payloads(trak, _Found(movie.path, "")))
    settings, first = udta.get(b"GPMF", b""), next((payload.block or b"" for payload in payloads), b"")
    black = _BLACKVUE_MODEL.search(b"\n".join(_blackvue_boxes(movie, b"cprt")))
    if settings or first[:4] == b"DEVC":
        names = [_gpmf_name(settings, b"MINF"), _gpmf_name(settings, b"DVNM"), _gpmf_name(first, b"DVNM")]
        make = make or "GoPro"
        model = model or next((name for name in names if name not in ("", "Camera", "Video Global Settings")), "")
    elif black is not None:
        make = make or "BlackVue"
        model = model or (black.group(1) or black.group(2)).decode("utf-8", "replace").strip()[:80]
    return make or None, model or None


def read_movie(path: Union[str, Path]) -> Movie:
    """What an MP4 or MOV says of itself, without ffprobe. Raises BadTrack if the file cannot be read at all."""
    try:
        with open(path, "rb") as handle:
            movie = _Source(handle, Path(path))
            return Movie(movie.creation_time, movie.duration, *_camera_names(movie), tuple(_telemetry(movie)))
    except OSError as error:
        raise _cannot_read(Path(path), error) from error


_DELIMITERS = {"tab": "\t", "\\t": "\t", "semicolon": ";", "comma": ",", "space": " ", "pipe": "|"}


def _table_rows(lines: List[str], mark: str) -> Iterator[Tuple[int, List[str]]]:
    """(number of its first line, cells) of each row. Quoting that goes wrong costs one line."""
    import csv
    done = 0
    while done < len(lines):
        base, reader = done, csv.reader(map(lines.__getitem__, range(done, len(lines))), delimiter=mark, strict=True)
        try:
            for cells in reader:
                yield done + 1, cells
                done = base + reader.line_num
        except csv.Error:  # a quote that is never closed, or not at the end of a cell
            yield done + 1, lines[done].rstrip("\r\n").split(mark)
            done += 1


_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"", "utf-8"))


def table_text(path: Union[str, Path]) -> Tuple[bytes, str, str]:
    """(mark at its begin, text, encoding) of a table; cp1252, with surrogates, where it is no Unicode."""
    try:
        content = Path(path).read_bytes()
        mark, encoding = next(row for row in _MARKS if content.startswith(row[0]))
        return mark, content[len(mark):].decode(encoding), encoding
    except UnicodeDecodeError:
        return b"", content.decode("cp1252", "surrogateescape"), "cp1252"   # the code page of Western Windows
    except FileNotFoundError:
        raise NotFound(Problem("table_missing", str(path), "there is no such file", "", "check its name")) from None
    except OSError as error:
        raise _cannot_read(Path(path), error) from error


def read_table(path: Union[str, Path], delimiter: str = ",", header: bool = False) -> List[Tuple[int, List[str]]]:
    """The rows of a table as (line number from 1, cells as they stand). Blank rows, and a header, are left out.

    `delimiter` is one character, or tab, \\t, semicolon, comma, space or pipe. A quote that is never closed costs its
    own line only. Raises NotFound, UsageError for a delimiter, BadTrack for a file that is no table (RFC 4180).
    """
    mark = _DELIMITERS.get(delimiter, delimiter)
    if len(mark) != 1 or mark in '"\r\n':
        raise UsageError(Problem("table_delimiter", str(path), "is no delimiter", repr(delimiter),
                                 "one character, or one of " + ", ".join(_DELIMITERS)))
    text = table_text(path)[1]
    rows = _table_rows(list(io.StringIO(text.replace("\0", ""), newline="")), mark)
    return [(line, cells) for line, cells in rows if any(cell.strip() for cell in cells)][1 if header else 0:]


# ---- 8. Journal ---------------------------------------------------------------------------------
# Here: .mapillary/journal.jsonl, what has been done to which image; one folder, one journal.
# Not here: what the steps mean, and when one is out of date.

JOURNAL_FORMAT = 1                  # raised when an older version could no longer read the file
COMPACT_RATIO = 4                   # lines per live line from which the file is rewritten
_IMAGE_LINE = re.compile(rb'\{"image":("(?:[^"\\]|\\.)*")')


# JSON in ASCII with sorted keys and no spaces: the same text for the same value, everywhere.
canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_row_text = json.JSONEncoder(separators=(",", ":")).encode      # keys in the order they come in


def short_hash(*parts: Any) -> str:
    """16 hexadecimal digits that stand for some plain values."""
    return _text_hash(canonical(parts))


def _text_hash(text: str) -> str:
    return hashlib.sha1(text.encode("ascii")).hexdigest()[:16]


def now_text() -> str:
    """This moment in UTC, for the journal."""
    return format_time(time.time())


class Journal:
    """What has been done to the images of one folder; the last line about a thing holds.

    with Journal(folder) as journal: ... takes the folder's lock, so that a second run is refused (BadJournal), and
    clears what an interrupted run left; Journal(folder, write=False) only reads. Names are file names.
    """

    def __init__(self, folder: Union[str, Path], write: bool = True) -> None:
        self.folder = str(folder)
        self.state = os.path.join(self.folder, STATE_FOLDER)
        self.path = os.path.join(self.state, "journal.jsonl")
        self._write = write
        self._lock: Any = None
        self._stream: Any = None
        self._guard, self._closed = threading.Lock(), False
        self._images: Dict[str, Tuple[int, int]] = {}           # key of name -> offset and length of its line
        self._uploads: Dict[Tuple[str, str], Dict[str, Any]] = {}   # (service, key of name) -> upload
        self._sequences: Dict[Tuple[str, str], Dict[str, Any]] = {}     # (service, id) -> sequence
        self._lines, self._end = 0, 0                           # lines in the file, offset behind the last whole one

    def __enter__(self) -> "Journal":
        if self._write:
            self._take_lock()
        try:
            self._read()
            if self._write:
                self._clear_parts()
                if self._lines >= COMPACT_RATIO * max(1, self._live()) and self._lines > COMPACT_RATIO:
                    self._compact()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file and the lock."""
        self._closed = True
        for name in ("_stream", "_lock"):
            stream = getattr(self, name)
            if stream is not None:
                stream.close()
                setattr(self, name, None)

    @staticmethod
    def key(name: str) -> str:
        """A file name as this system compares it."""
        return os.path.normcase(name)

    def record(self, name: str) -> Optional[Dict[str, Any]]:
        """The last record of an image, or None."""
        return next(self.records([name]))

    def upload(self, service: str, name: str) -> Optional[Dict[str, Any]]:
        """What is known of an image's upload to a service: status started, sent or failed; None = nothing."""
        return self._uploads.get((service, self.key(name)))

    def sequence(self, service: str, identity: str) -> Optional[Dict[str, Any]]:
        """What is known of a sequence at a service: images, handle of its manifest, cluster; None = nothing."""
        return self._sequences.get((service, identity))

    def append(self, rows: Sequence[Dict[str, Any]], flush: bool = True) -> None:
        """Add rows ({"image": ...}, {"upload": {...}} or {"sequence": {...}}) and, with flush, wait for the disk."""
        if not rows:
            return
        lines = [(_row_text(row) + "\n").encode("ascii") for row in rows]
        with self._guard:
            if self._closed or not self._write:
                raise BadJournal(("journal_closed", self.path, "is not open for writing"))
            try:
                stream = self._open()
                _write_all(stream, b"".join(lines))
                if flush:
                    os.fsync(stream.fileno())
            except OSError as error:
                if self._stream is not None:
                    self._stream.close()
                    self._stream = None     # opened again, it is cut behind the last whole line
                raise _os_problem(self.path, error) from error
            for row, line in zip(rows, lines):
                self._note(row, self._end, len(line))
                self._end += len(line)
                self._lines += 1

    def flush(self) -> None:
        """Wait until everything that was appended is on disk."""
        with self._guard:
            if self._stream is not None:
                try:
                    os.fsync(self._stream.fileno())
                except OSError as error:
                    raise _os_problem(self.path, error) from error

    def _open(self) -> Any:
        """The stream to append to, cut behind the last whole line."""
        if self._stream is None:
            os.makedirs(self.state, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            self._stream = os.fdopen(handle, "r+b", buffering=0)
            self._stream.truncate(self._end)
            self._stream.seek(self._end)
            if not self._end:
                header = self._header()
                _write_all(self._stream, header)
                self._end = len(header)
                flush_folder(self.state)
        return self._stream

    @staticmethod
    def _header() -> bytes:
        return (canonical({"journal": JOURNAL_FORMAT, "tool": "mapillary_tools " + __version__}) + "\n").encode("ascii")

    def records(self, names: Sequence[str]) -> Iterator[Optional[Dict[str, Any]]]:
        """The last records of several images one by one, None where there is none."""
        if not self._images:
            yield from (None for _ in names)
            return
        with open(self.path, "rb") as stream:
            for name in names:
                yield self._row(stream, self.key(name))

    def _row(self, stream: Any, key: str) -> Optional[Dict[str, Any]]:
        """The last whole record of an image, None when there is none; the one before a line that is damaged."""
        place = self._images.get(key)
        if place is None:
            return None
        stream.seek(place[0])
        row = parsed(stream.read(place[1]).decode("latin-1"))
        if isinstance(row, dict):
            return row
        LOG.warning("%s: a damaged line about %s is ignored", self.path, key)
        stream.seek(0)
        matches = ((_IMAGE_LINE.match(line), line) for line in stream)
        rows = [parsed(line) for match, line in matches if match and self.key(json.loads(match.group(1))) == key]
        return next((row for row in reversed(rows) if isinstance(row, dict)), None)

    def names(self) -> List[str]:
        """The keys of all images that have a record."""
        return list(self._images)

    def _read(self) -> None:
        """Index the file: images by offset, the short lines whole. A torn last line is left out."""
        try:
            stream = open(self.path, "rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise BadJournal(("journal_unreadable", self.path, "cannot be read", error.strerror or "",
                              "check its rights")) from error
        with stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                match = _IMAGE_LINE.match(line)
                if match and line.endswith(b"}\n"):
                    name = match.group(1)
                    self._images[self.key(json.loads(name) if b"\\" in name else name[1:-1].decode("ascii"))] = (
                        self._end, len(line))
                elif self._end == 0:
                    self._check_header(line)
                else:
                    self._read_short(line)
                self._end += len(line)
                self._lines += 1

    def _check_header(self, line: bytes) -> None:
        """Raise BadJournal when the file is no journal, or one of a newer version."""
        try:
            version = json.loads(line)["journal"]
        except (ValueError, KeyError, TypeError):
            raise BadJournal(("journal_damaged", self.path, "is no journal", line[:40].decode("ascii", "replace"),
                              "move it away to start afresh")) from None
        if not isinstance(version, int) or version > JOURNAL_FORMAT:
            raise BadJournal(("journal_newer", self.path, "was written by a newer version", "format %s" % version,
                              "use the newer mapillary_tools.py"))

    def _read_short(self, line: bytes) -> None:
        """Take in an upload or sequence line; one that is damaged is left out."""
        try:
            self._note(json.loads(line), self._end, len(line))
        except (ValueError, KeyError, TypeError):
            LOG.warning("%s: a damaged line at byte %d is ignored", self.path, self._end)

    def _note(self, row: Dict[str, Any], offset: int, length: int) -> None:
        """Remember what a row says."""
        if "image" in row:
            self._images[self.key(row["image"])] = (offset, length)
        elif "upload" in row:
            upload = row["upload"]
            self._uploads[upload["service"], self.key(upload["image"])] = upload
        else:
            sequence = row["sequence"]
            self._sequences[sequence["service"], sequence["id"]] = sequence

    def _live(self) -> int:
        return len(self._images) + len(self._uploads) + len(self._sequences)

    def _compact(self) -> None:
        """Rewrite the file with its live lines only, in their order, atomically."""
        def lines() -> Iterator[bytes]:
            yield self._header()
            with open(self.path, "rb") as stream:
                for key in sorted(self._images, key=lambda name: self._images[name]):
                    row = self._row(stream, key)
                    yield (_row_text(row) + "\n").encode("ascii") if row else b""
            for word, rows in (("sequence", self._sequences), ("upload", self._uploads)):
                yield from ((_row_text({word: row}) + "\n").encode("ascii") for row in rows.values())
        write_atomically(self.path, lines())
        self._images, self._uploads, self._sequences, self._lines, self._end = {}, {}, {}, 0, 0
        self._read()

    def _take_lock(self) -> None:
        """Lock the folder for this process; the operating system frees it whatever happens. Raises BadJournal."""
        name = os.path.join(self.state, "lock")
        try:
            os.makedirs(self.state, exist_ok=True)
            self._lock = open(name, "a+b", buffering=0)
        except OSError as error:
            raise _os_problem(self.folder, error) from error
        if not _lock_file(self._lock):
            self._lock.seek(0)
            owner = self._lock.read(200).decode("utf-8", "replace").strip()
            self._lock.close()
            self._lock = None
            raise BadJournal(("in_use", self.folder, "is being worked on by another run", owner,
                              "wait until it has ended"))
        import platform
        self._lock.truncate(0)
        self._lock.write(("process %d on %s" % (os.getpid(), platform.node())).encode("utf-8", "replace"))

    def _clear_parts(self) -> None:
        """Remove the temporary files that an interrupted run left."""
        for place in (self.folder, self.state, os.path.join(self.state, "process_images")):
            if not os.path.isdir(place):
                continue
            for name in os.listdir(place):
                if name.startswith(PART_PREFIX) and name.endswith(PART_SUFFIX):
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(place, name))

    def copy_path(self, name: str) -> str:
        """Where --keep_original keeps the described copy of an image."""
        return os.path.join(self.state, "process_images", name)

    def log_path(self, name: str) -> str:
        """Where the log of an image goes."""
        return os.path.join(self.state, "logs", name, "steps.json")


def _lock_file(stream: Any) -> bool:
    """Whether the operating system gave this process the lock on an open file."""
    try:
        if os.name == "nt":
            import msvcrt
            stream.seek(1 << 30)    # far behind the text, which others may read
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)     # type: ignore[attr-defined]
        else:
            import fcntl
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            LOG.warning("this file system has no locks: do not start a second run on the same folder")
            return True
        return False
    return True


def old_uploads(folder: str, import_path: str) -> Callable[[str], bool]:
    """A test whether earlier tools left their upload_success for a file name of a folder."""
    relative = os.path.relpath(folder or os.curdir, import_path)
    places = [os.path.join(folder, STATE_FOLDER, "logs")]
    if relative != os.curdir:
        places.append(os.path.join(import_path, STATE_FOLDER, "logs", relative))
    marked: typing.Set[str] = set()
    for place in places:
        if os.path.isdir(place):
            marked.update(Journal.key(name) for name in os.listdir(place)
                          if os.path.exists(os.path.join(place, name, "upload_success")))
    if not marked:
        return lambda name: False
    return lambda name: bool({Journal.key(name), Journal.key(os.path.splitext(name)[0])} & marked)


# ---- 9. Sequences -------------------------------------------------------------------------------
# Here: order, cuts, directions and duplicates among images of one folder. Pure.
# Not here: files, options, which images take part.

def in_order(images: Iterable[Image]) -> List[Image]:
    """Images by capture time, then natural file name; an unknown time counts as 1970."""
    return by_time(images, lambda image: image.time or 0.0, lambda image: image.path.name)


def split(images: Iterable[Image], max_metres: float, max_seconds: float) -> List[List[Image]]:
    """Sequences of the images of one folder: cut where neighbours are further apart than either limit.

    The images come back sorted by time and natural name; one without time or position cuts nothing by it.
    """
    pieces: List[List[Image]] = []
    for image in in_order(images):
        last = pieces[-1][-1] if pieces else None
        if last is None or _apart(last, image, max_metres, max_seconds):
            pieces.append([])
        pieces[-1].append(image)
    return pieces


def _apart(a: Image, b: Image, max_metres: float, max_seconds: float) -> bool:
    """Whether two neighbours belong to different sequences."""
    if a.time is not None and b.time is not None and b.time - a.time > max_seconds:
        return True
    return a.fix is not None and b.fix is not None and distance(a.fix, b.fix) > max_metres


def cut(images: Sequence[Image], most: int = SEQUENCE_IMAGES) -> List[List[Image]]:
    """Pieces of at most so many images."""
    return [list(images[start:start + most]) for start in range(0, len(images), most)]


def _chords(images: Sequence[Image]) -> List[Optional[float]]:
    """The course from each image of a sequence to the next one at another place; the last has the one before it."""
    courses: List[Optional[float]] = [None] * len(images)
    after: Optional[float] = None
    for index in range(len(images) - 2, -1, -1):
        here, there = images[index].fix, images[index + 1].fix
        if here is not None and there is not None and (here.lat, here.lon) != (there.lat, there.lon):
            after = bearing(here, there)
        courses[index] = after
    before: Optional[float] = None
    for index, course in enumerate(courses):    # those behind the last movement keep its course
        before = courses[index] = before if course is None else course
    return courses


def with_directions(images: Sequence[Image], offset_angle: float, all_of_them: bool) -> List[Image]:
    """The images of one sequence, in order, with a heading where it is missing (or on all of them).

    The course is the track's at that time where there was a track, else that to the next image; offset_angle in
    degrees is added, modulo 360. An image that knows no course keeps the heading it has.
    """
    out: List[Image] = []
    for image, chord in zip(images, _chords(images)):
        course = image.fix.course if image.fix is not None and image.fix.course is not None else chord
        if course is not None and (all_of_them or (image.heading is None and image.magnetic is None)):
            image = image.but(heading=(course + offset_angle) % 360.0)
        out.append(image)
    return out


def mark_duplicates(images: Sequence[Image], metres: float, degrees: float) -> List[Image]:
    """The images, in their order, those marked that repeat the last image kept: outcome with partner, distance, turn.

    A duplicate is at most so many metres away and turned by at most so many degrees; an unknown direction counts as
    no turn, an unknown position is never a duplicate.
    """
    out: List[Image] = []
    kept: Optional[Image] = None
    for image in images:
        outcome = None if kept is None else _duplicate_of(kept, image, metres, degrees)
        if outcome is None:
            kept = image
        out.append(image if outcome is None else image.but(outcome=outcome))
    return out


def _duplicate_of(kept: Image, image: Image, metres: float, degrees: float) -> Optional[Outcome]:
    """The outcome of an image that repeats the one kept, else None."""
    if kept.fix is None or image.fix is None:
        return None
    apart = distance(kept.fix, image.fix)
    known = kept.heading is not None and image.heading is not None
    turned = turn(typing.cast(float, kept.heading), typing.cast(float, image.heading)) if known else None
    if apart > metres or (turned is not None and turned > degrees):
        return None
    return Outcome("duplicate", SKIP_DUPLICATE, None, kept.path.name, round(apart, 3),
                   None if turned is None else round(turned, 3))


def uuid_of(text: bytes) -> str:
    """The UUIDv5 of some bytes in this project's name space (RFC 4122, 4.3)."""
    import uuid
    digest = hashlib.sha1(uuid.UUID(ID_NAMESPACE).bytes + text).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


def photo_id(name: str, found: Dict[str, Any]) -> str:
    """An image's id: from its base name (NFC), pixel size and capture time as found in milliseconds."""
    import unicodedata
    local, _ = _found_local(found, name)
    when = local if local is not None else found.get("gps_time") or 0.0
    width, height = (found.get("pixels") or (0, 0))[:2]
    rest = "|%sx%s|%d" % (width, height, round(when * 1000))
    return uuid_of(unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape") + rest.encode("ascii"))


def sequence_id(first_photo: str, options: Dict[str, Any]) -> str:
    """A sequence's id: from its first photo's id and the sequence options."""
    return uuid_of(("%s|%s" % (first_photo, canonical(options))).encode("ascii"))


# ---- 10. Steps ----------------------------------------------------------------------------------
# Here: option groups, what each step does to images, and the run that leads images through steps.
# Not here: sockets, printing; the tools only list steps.

STEPS = ("user_process", "import_meta_data_process", "geotag_process", "sequence_process", "upload_params_process",
         "mapillary_image_description")
USER, META, GEOTAG, SEQUENCE, PARAMS, DESCRIPTION = STEPS
VIDEO_KINDS = ("mp4", "mov", "avi", "m4v", "360")
WRITE_BATCH = 256                   # images written between two batches of the journal
_FOLDERWIDE = (GEOTAG, SEQUENCE)    # steps in which the images of a folder depend on each other
_DEPENDS: Dict[str, Sequence[str]] = {SEQUENCE: (GEOTAG,), PARAMS: (USER,), DESCRIPTION: STEPS[:-1]}
_NEEDED = {USER: "extract_user_data", GEOTAG: "extract_geotag_data", SEQUENCE: "extract_sequence_data"}
_EXIF_ORIENTATION = {0: 1, 90: 8, 180: 3, 270: 6}
_TAG_LISTS = {"string": "strings", "double": "doubles", "long": "longs", "date": "dates", "boolean": "booleans"}
Row = Dict[str, Any]                # plain values by name, as JSON has them
_Timed = Tuple[Image, float, Optional[Capture]]     # its time in UTC, offset_time taken off; capture None = time given


def _rare(default: Any, help: str, metavar: Optional[str] = None, **rules: Any) -> Any:
    return opt(default, help, metavar, advanced=True, **rules)


@dataclass(frozen=True)
class Account(Group):
    """whose account"""
    user_name: Optional[str] = opt(None, "Mapillary user name", "NAME", required=True)


@dataclass(frozen=True)
class User(Account):
    """who uploads"""
    organization_username: Optional[str] = opt(None, "user name of the organization to upload for", "NAME")
    organization_key: Optional[str] = opt(None, "key of the organization to upload for", "KEY")
    private: bool = opt(False, "upload for the organization's eyes only")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.private and not (self.organization_key or self.organization_username):
            raise UsageError(("private_alone", "", "--private needs an organization", "",
                              "add --organization_key or --organization_username"))


@dataclass(frozen=True)
class Master(Group):
    """master upload"""
    master_upload: bool = _rare(False, "sign the description with the secret of the config file")


@dataclass(frozen=True)
class MetaData(Group):
    """camera and file"""
    device_make: Optional[str] = _rare(None, "camera make, wins over EXIF", "TEXT")
    device_model: Optional[str] = _rare(None, "camera model, wins over EXIF", "TEXT")
    GPS_accuracy: Optional[float] = _rare(None, "accuracy of the positions", "METRES", at_least=0)
    add_file_name: bool = _rare(False, "put the file name into the description")
    add_import_date: bool = _rare(False, "put the date of this import into the description")
    orientation: Optional[int] = _rare(None, "how far the stored picture is turned clockwise", "DEGREES",
                                       choices=(0, 90, 180, 270))


@dataclass(frozen=True)
class Angle(Group):
    """camera direction"""
    offset_angle: float = _rare(0.0, "camera direction against the direction of travel: 90 right-facing, 180 "
                                "rear-facing, -90 left-facing", "DEGREES")


@dataclass(frozen=True)
class Geotagging(Group):
    """time and position"""
    geotag_source: str = _rare("exif", "where positions come from",
                               choices=("exif", "gpx", "gopro_video", "nmea", "blackvue", "camm"))
    geotag_source_path: Optional[str] = _rare(None, "track file, video, or folder of them", "PATH")
    local_time: bool = _rare(False, "image times are in this computer's zone")
    timezone: Optional[str] = _rare(None, "zone of the image times: +02:00, -05:00 or an IANA name", "ZONE")
    sub_second_interval: float = _rare(0.0, "seconds between shots, to place them inside their whole second", "SECONDS",
                                       at_least=0)
    offset_time: float = _rare(0.0, "how far the camera clock is AHEAD of the GPS clock; it is subtracted from image "
                               "times", "SECONDS", at_least=-3e9, at_most=3e9)
    use_gps_start_time: bool = _rare(False, "the first image is taken to be at the track's first point")
    max_gap: Optional[float] = _rare(None, "no position across a longer hole in the track (default: no limit)",
                                     "SECONDS", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.geotag_source != "exif" and not self.geotag_source_path:
            raise UsageError(("no_track", "", "--geotag_source %s needs a track" % self.geotag_source, "",
                              "add --geotag_source_path FILE"))
        if self.geotag_source == "exif" and self.geotag_source_path:
            raise UsageError(("unused_track", "", "--geotag_source_path is given, but positions come from EXIF",
                              self.geotag_source_path, "add --geotag_source gpx, which reads any kind of track"))
        if self.geotag_source == "exif" and (self.use_gps_start_time or self.max_gap is not None):
            raise UsageError(("no_track", "", "--use_gps_start_time and --max_gap need a track", "",
                              "add --geotag_source gpx --geotag_source_path FILE"))
        if self.local_time and self.timezone:
            raise UsageError(("two_zones", "", "--local_time and --timezone contradict each other", str(self.timezone),
                              "give one of them"))
        if self.timezone:
            zone_offset(self.timezone, 0.0)

    @property
    def zone(self) -> Optional[str]:
        """The zone that was given: "local", an offset, a name; None = none."""
        return "local" if self.local_time else self.timezone


@dataclass(frozen=True)
class TrackOut(Group):
    """track"""
    write_gpx: Optional[str] = _rare(None, "write the track as it was understood", "FILE")


@dataclass(frozen=True)
class SequenceOptions(Group):
    """sequences"""
    cutoff_distance: float = _rare(600.0, "start a new sequence after a longer gap", "METRES", at_least=0)
    cutoff_time: float = _rare(60.0, "start a new sequence after a longer pause", "SECONDS", at_least=0)
    interpolate_directions: bool = _rare(False, "derive directions from positions even where an image has one")
    flag_duplicates: bool = _rare(False, "flag images that repeat the last one kept; they are not uploaded")
    duplicate_distance: float = _rare(0.1, "a duplicate is at most so far away", "METRES", at_least=0)
    duplicate_angle: float = _rare(5.0, "a duplicate is turned by at most so much", "DEGREES", at_least=0)


@dataclass(frozen=True)
class Insert(Group):
    """writing into images"""
    skip_EXIF_insert: bool = _rare(False, "write nothing into images; upload adds the description on the fly")


@dataclass(frozen=True)
class Keep(Group):
    """originals"""
    keep_original: bool = _rare(False, "leave originals as they are and write into copies under .mapillary")


@dataclass(frozen=True)
class Workers(Group):
    """speed"""
    workers: int = _rare(0, "workers that read and write images (0 = as many as CPUs, at most 8)", "N", at_least=0)


@dataclass(frozen=True)
class Dry(Group):
    """trying"""
    dry_run: bool = opt(False, "write nothing and send nothing; say what would be done")


class Settings(NamedTuple):
    """Everything that the steps of one run need; None = the run does not have that step."""
    user: Optional[User] = None
    meta: Optional[MetaData] = None
    geotagging: Optional[Geotagging] = None
    angle: Angle = Angle()
    sequences: Optional[SequenceOptions] = None
    account: Optional[Account] = None
    master: Master = Master()
    insert: Optional[Insert] = None
    keep: Keep = Keep()
    workers: Workers = Workers()
    again: Again = Again()
    dry: Dry = Dry()
    service: str = ""               # for whom "already uploaded" counts; "" = it does not matter here

    @property
    def rehearsal(self) -> bool:
        """Whether the images are meant for a stand-in service, which needs no account."""
        return self.service.startswith("stand-in")

    def steps(self) -> List[str]:
        """The names of the steps to take, in order."""
        groups = (self.user, self.meta, self.geotagging, self.sequences, self.account, self.insert)
        return [step for step, group in zip(STEPS, groups) if group is not None]


@dataclass
class Notes:
    """What the run says once, in order, whatever the number of images it is true of."""
    lines: List[str] = dataclasses.field(default_factory=list)

    def say(self, text: str) -> None:
        """Add a line unless it is there."""
        if text not in self.lines:
            self.lines.append(text)
            LOG.info("%s", text)


# -- what a step made of an image, and an Image that has it --
def _present(**values: Any) -> Row:
    return {key: value for key, value in values.items() if value is not None}


def _made(image: Image, step: str) -> Row:
    """What a step made of an image, as the journal has it; empty when it was not taken, or failed."""
    return typing.cast(Row, image.steps.get(step, {}).get("data", {}))


def _stopped(image: Image, code: str, wrong: str, value: str = "", remedy: str = "", file: str = "") -> Image:
    """The image failed, by a problem about its own file unless another is named."""
    return image.but(outcome=Outcome("failed", code, Problem(code, file or str(image.path), wrong, value, remedy)))


def with_entry(image: Image, step: str, entry: Row) -> Image:
    """The image with a step's journal entry, and with what the entry says of time, place, direction and sequence."""
    row = entry.get("data", {})
    changes: Row = {"steps": dict(image.steps, **{step: entry})}
    if step == GEOTAG and entry["status"] == "success":
        changes.update(time=row["time"], heading=row.get("heading"), magnetic=row.get("magnetic"),
                       fix=Fix(row["time"], row["lat"], row["lon"], row.get("alt"), row.get("course")))
    elif step == SEQUENCE and entry["status"] == "success":
        changes.update(sequence=row["sequence"], heading=row.get("heading", image.heading))
    elif entry["status"] == "duplicate":
        outcome = Outcome("duplicate", SKIP_DUPLICATE, None, row["partner"], row["distance"], row.get("turn"))
        return image.but(outcome=outcome, **changes)
    image = image.but(**changes)
    return _stopped(image, **entry["error"]) if entry["status"] == "failed" else image


def recorded(image: Image, step: str, status: str = "success", **values: Any) -> Image:
    """The image after a step that went well, or found a duplicate, with the values that are known."""
    return with_entry(image, step, {"status": status, "settings": "", "data": _present(**values)})


def failed(image: Image, step: str, code: str, wrong: str, value: str = "", remedy: str = "",
           settings: str = "") -> Image:
    """The image after a step that could not be done; settings is the step's hash, "" = still to come."""
    row = {"code": code, "wrong": wrong, "value": value, "remedy": remedy}
    return with_entry(image, step, {"status": "failed", "settings": settings,
                                    "error": {key: text for key, text in row.items() if text}})


def _grouped(things: Iterable[Any]) -> Dict[str, List[Any]]:
    """The paths, or images, of each folder, in the order they come in."""
    folders: Dict[str, List[Any]] = {}
    for thing in things:
        folders.setdefault(os.path.dirname(str(getattr(thing, "path", thing))), []).append(thing)
    return folders


def _replaced(images: Sequence[Image], changed: Iterable[Image]) -> List[Image]:
    """The images in their order, those that were changed as they are now."""
    results = {image.path: image for image in changed}
    return [results.get(image.path, image) for image in images]


def _folderwise(images: List[Image], change: Callable[[List[Image]], Iterable[Image]]) -> List[Image]:
    """The images in their order after a change to those of each folder."""
    return _replaced(images, itertools.chain.from_iterable(map(change, _grouped(images).values())))


# -- who uploads --
def user_data(options: User, notes: Notes, dry: bool = False, rehearsal: bool = False) -> Row:
    """The user step's data; an organization's name that comes with its key is stored. Raises UsageError for others."""
    name, key = options.organization_username, options.organization_key
    if name:
        sections = read_config()
        known = sections.get("organizations", {}).get(name)
        if not key and not known:
            raise UsageError(("unknown_organization", "", "the organization is not in the config file", name,
                              "pass --organization_key once together with the name; the key is on the organization's "
                              "dashboard"))
        if key and (not re.match(r"[^\s=:#;\[][^=:\r\n]*\Z", name) or re.search(r"\s", key)):
            raise UsageError(("bad_organization", "", "this cannot be the name and key of an organization", "%s, %s" % (
                name, key)))
        if key and known != key and not dry:
            sections.setdefault("organizations", {})[name] = key
            write_config(sections)
        key = key or known
    stored: Dict[str, str] = {}
    try:
        stored = read_config().get(options.user_name or "", stored)
    except UsageError as error:     # processing needs no credentials
        notes.say(str(error))
    told = options.user_name and not rehearsal
    if told and not stored.get("user_upload_token") and not os.environ.get("MAPILLARY_ACCESS_TOKEN"):
        notes.say("no stored credentials for %s: upload to Mapillary will need authenticate" % options.user_name)
    return {"user_name": options.user_name, "user_key": stored.get("MAPSettingsUserKey"), "organization_key": key,
            "private": options.private or None}


def user_step(images: List[Image], settings: Settings, notes: Notes) -> List[Image]:
    """Who uploads."""
    row = user_data(typing.cast(User, settings.user), notes, settings.dry.dry_run, settings.rehearsal)
    return [recorded(image, USER, **row, master=settings.master.master_upload or None) for image in images]


def params_step(images: List[Image], settings: Settings, notes: Notes) -> List[Image]:
    """What the upload needs: whose account, for which organization; never a token."""
    name, master = typing.cast(Account, settings.account).user_name, settings.master.master_upload or None
    return [recorded(image, PARAMS, user_name=name, organization_key=_made(image, USER).get("organization_key"),
                     service="mapillary", master=master) for image in images]


# -- import meta data --
def meta_step(images: List[Image], settings: Settings, notes: Notes) -> List[Image]:
    """Orientation, make, model, accuracy, file name, import date; options win over EXIF."""
    options, out = typing.cast(MetaData, settings.meta), []
    today = int(time.time() * 1000) if options.add_import_date else None
    turned = None if options.orientation is None else _EXIF_ORIENTATION[options.orientation]
    for image in images:
        found = image.found or {}
        accuracy = options.GPS_accuracy if options.GPS_accuracy is not None else found.get("accuracy")
        tags = (image.given or {}).get("tags")
        if not tags:                # those that process_csv stored in ImageHistory; read as data, never run
            rows = parsed(found.get("history"))
            tags = [row for row in (rows if isinstance(rows, list) else []) if isinstance(row, dict) and set(row) == {
                "type", "key", "value"} and isinstance(row["type"], str) and row["type"] in _TAG_LISTS]
        out.append(recorded(
            image, META, orientation=turned or found.get("orientation"), turn=turned,
            make=options.device_make or found.get("make"), model=options.device_model or found.get("model"),
            accuracy=accuracy, filename=image.path.name if options.add_file_name else None, import_date=today,
            tags=tags or None))
    return out


# -- geotag --
def geotag(images: Sequence[Image], track: Optional[Track], options: Geotagging, angle: Angle = Angle(),
           notes: Optional[Notes] = None) -> List[Image]:
    """Time, position and direction of every image, from its EXIF (track None) or from a track."""
    notes, done, timed = notes or Notes(), [], []
    for folder in _grouped(images).values():
        good: List[_Timed] = []
        for image in folder:
            capture = image.capture if options.zone is None else capture_time(
                image.found or {}, image.path.name, options.zone)
            if image.given and "time" in image.given:
                good.append((image, image.given["time"] - options.offset_time, None))
            elif capture is not None:
                later = (image.given or {}).get("later", 0.0)
                good.append((image, capture.time + later - options.offset_time, capture))
            else:
                done.append(failed(image, GEOTAG, "no_time", "has no capture time", "", "give one with process_csv, or "
                                   "name the file YYYY_MM_DD_HH_MM_SS_mmm.jpg"))
        timed.extend(_settle_times(good, track, options, notes))
    _say_zones(timed, notes)
    if track is not None:
        _say_ranges([when for _, when, _ in timed], track, notes)
    done.extend(_placed(moment, track, options, angle) for moment in timed)
    return _replaced(images, done)


def _settle_times(timed: List[_Timed], track: Optional[Track], options: Geotagging, notes: Notes) -> List[_Timed]:
    """The images of one folder in order of time, with sub-seconds, ties and the start settled."""
    timed = by_time(timed, lambda moment: moment[1], lambda moment: moment[0].path.name)
    times = [when for _, when, _ in timed]
    if options.sub_second_interval:
        times, wrong = spread_subseconds(times, options.sub_second_interval)
        if wrong is not None:
            notes.say("%s contradicts --sub_second_interval %g: no start puts it inside its second; the times of its "
                      "folder stay as they are" % (timed[wrong][0].path, options.sub_second_interval))
    times, ties = spread_ties(times)
    if ties:
        notes.say("%s: %d images have the capture time of the one before; spread evenly up to the next" % (
            timed[0][0].path.parent, ties))
    if options.use_gps_start_time and track is not None and times:
        shift = track.points[0].time - times[0]
        times = [when + shift for when in times]
    return [(image, when, capture) for (image, _, capture), when in zip(timed, times)]


def _say_zones(timed: List[_Timed], notes: Notes) -> None:
    """One line for each way in which times were understood: source field, zone, how many, first and last in UTC."""
    ways: Dict[Tuple[str, str], List[Tuple[float, float]]] = {}
    for _, when, capture in timed:
        if capture is not None:
            ways.setdefault((capture.source, capture.zone), []).append((when, capture.offset))
    for (source, zone), moments in sorted(ways.items()):
        shown = "/".join(format_offset(offset) for offset in sorted({offset for _, offset in moments})[:3])
        hint = "; if the camera clock was not on UTC, give --timezone" if zone == "UTC assumed" else ""
        notes.say("capture times of %d images from %s, zone %s from %s, UTC %s to %s%s" % (
            len(moments), source, shown, zone, format_time(min(moments)[0]), format_time(max(moments)[0]), hint))


def _say_ranges(times: List[float], track: Track, notes: Notes) -> None:
    """Say image range against track range where fewer than half of the images meet the track, and what would help."""
    times, first, last = sorted(times), track.points[0].time, track.points[-1].time
    def inside(shift: float) -> int:
        return (bisect.bisect_right(times, last + EXTRAPOLATE_S + shift)
                - bisect.bisect_left(times, first - EXTRAPOLATE_S + shift))
    if not times or inside(0) * 2 >= len(times):
        return
    notes.say("only %d of %d images were taken while the track was recorded: images %s to %s, track %s to %s (UTC)" % (
        inside(0), len(times), format_time(times[0]), format_time(times[-1]), format_time(first), format_time(last)))
    shifts = [quarter * QUARTER_S for quarter in range(-56, 57)]
    best = min(shifts, key=lambda shift: (-inside(shift), abs(shift)))
    if inside(best) > inside(0):
        notes.say("with --offset_time %d they would meet: %d of %d images" % (best, inside(best), len(times)))


def _placed(moment: _Timed, track: Optional[Track], options: Geotagging, angle: Angle) -> Image:
    """One image with its position and direction, or the reason why it has none."""
    image, when, capture = moment
    heading, magnetic = (None if value is None else (value + angle.offset_angle) % 360.0
                         for value in (image.heading, image.magnetic))
    if track is not None:
        try:
            fix = fix_at(track, when, options.max_gap)
        except OutsideTrack as error:
            code, _, wrong, value, remedy = error.problem
            return failed(image, GEOTAG, code, wrong, value, remedy)
        if fix.course is not None:
            heading, magnetic = (fix.course + angle.offset_angle) % 360.0, None
    elif image.fix is not None:
        fix = image.fix._replace(time=when)
    else:
        gps = (image.found or {}).get("raw", {}).get("GPS", {})
        values = [gps.get(str(tag)) for tag in (_LAT, _LON)]
        shown = "" if values == [None, None] else "GPSLatitude %s, GPSLongitude %s" % tuple(map(json.dumps, values))
        return failed(image, GEOTAG, "no_position", "has no position", shown,
                      "give a track with --geotag_source gpx --geotag_source_path FILE")
    source, zone, offset = (capture.source, capture.zone, capture.offset) if capture else ("given", None, 0.0)
    return recorded(image, GEOTAG, time=when, lat=fix.lat, lon=fix.lon, alt=fix.alt, course=fix.course,
                    heading=heading, magnetic=magnetic, source=source, zone=zone, offset=offset)


def _track_of(options: Geotagging, notes: Notes) -> Optional[Track]:
    """The track to geotag from, None for EXIF; says what is odd about it. Raises BadTrack, NotFound."""
    if options.geotag_source == "exif":
        return None
    path = typing.cast(str, options.geotag_source_path)
    track = with_courses(read_track(path, options.geotag_source))
    points, starts, name = track.points, set(track.starts), os.path.basename(os.path.abspath(path))
    for line in track.notes:
        notes.say(line)
    notes.say("track %s: %d points, %s to %s UTC, clock %s" % (
        name, len(points), format_time(points[0].time), format_time(points[-1].time), track.clock))
    for reason, count in sorted(track.dropped.items()):
        notes.say("track %s: %d points left out: %s" % (name, count, reason))
    holes = [b.time - a.time for index, (a, b) in enumerate(zip(points, points[1:]), 1)
             if index not in starts and b.time - a.time > HOLE_S]
    if holes:
        notes.say("track %s: %d holes of more than %d s, the longest of %.0f s; --max_gap keeps images in them from "
                  "getting a position" % (name, len(holes), HOLE_S, max(holes)))
    return track


# -- sequences --
def _sequenced(images: List[Image], options: SequenceOptions, offset_angle: float) -> Iterator[Image]:
    """The images of one folder with sequence and heading, or as duplicates, or failed for want of a place."""
    ready: List[Image] = []
    for image in images:
        if image.fix is not None and image.time is not None and image.steps.get(GEOTAG, {}).get("status") == "success":
            ready.append(image)
        else:
            yield failed(image, SEQUENCE, "not_geotagged", "has not been geotagged", "",
                         "run extract_geotag_data first")
    row = dict(dataclasses.asdict(options), offset_angle=offset_angle)
    for piece in split(ready, options.cutoff_distance, options.cutoff_time):
        piece = with_directions(piece, offset_angle, options.interpolate_directions)
        if options.flag_duplicates:
            piece = mark_duplicates(piece, options.duplicate_distance, options.duplicate_angle)
        for image in piece:
            if image.outcome is not None:
                yield recorded(image, SEQUENCE, "duplicate", partner=image.outcome.partner,
                               distance=image.outcome.distance, turn=image.outcome.turn)
        for part in cut([image for image in piece if image.outcome is None]):
            identity = sequence_id(photo_id(part[0].path.name, part[0].found or {}), row)
            for image in part:          # the first one keeps what the cut before it was judged by
                limits = [options.cutoff_distance, options.cutoff_time] if image is part[0] else None
                yield recorded(image, SEQUENCE, sequence=identity, heading=image.heading, limits=limits)


# -- the description --
def description_of(image: Image, secret: Optional[str] = None) -> str:
    """The description, by the journal and the secret of --master_upload (None without): ASCII JSON, keys sorted."""
    user, meta = _made(image, USER), _made(image, META)
    fix, when = typing.cast(Fix, image.fix), typing.cast(float, image.time)
    rows = [(_TAG_LISTS[row["type"]], row["key"], row["value"]) for row in meta.get("tags", [])]
    if "import_date" in meta:
        rows.append(("dates", "import_date", meta["import_date"]))
    tags: Dict[str, List[Row]] = {}
    for kind, key, value in rows + [("strings", "mapillary_tools_version", __version__)]:
        tags.setdefault(kind, []).append({"key": key, "value": value})
    headings = _present(TrueHeading=image.heading, MagneticHeading=image.magnetic)
    return canonical(_present(
        MAPLatitude=round(fix.lat, 7), MAPLongitude=round(fix.lon, 7), MAPSequenceUUID=image.sequence,
        MAPAltitude=None if fix.alt is None else round(fix.alt, 3), MAPCaptureTime=format_time(when, "map"),
        MAPCompassHeading={key: round(value, 3) % 360.0 for key, value in headings.items()} or None,
        MAPPhotoUUID=photo_id(image.path.name, image.found or {}),
        MAPSettingsUsername=user.get("user_name"), MAPSettingsUserKey=user.get("user_key"),
        MAPOrganizationKey=user.get("organization_key"), MAPPrivate=user.get("private"),
        MAPDeviceMake=meta.get("make"), MAPDeviceModel=meta.get("model"), MAPOrientation=meta.get("orientation"),
        MAPGPSAccuracyMeters=meta.get("accuracy"), MAPFilename=meta.get("filename"), MAPMetaTags=tags,
        MAPVideoSecure=secret))


def _secret() -> str:
    """The key that --master_upload signs with. Raises UsageError when the config file has none."""
    secret = read_config().get("MAPAdmin", {}).get("MAPILLARY_SECRET_HASH")
    if not secret:
        raise UsageError(("no_secret", config_path(), "has no MAPILLARY_SECRET_HASH under [MAPAdmin]", "",
                          "add it, or leave --master_upload out"))
    return secret


def _caption(image: Image) -> Optional[str]:
    """The description as it goes into an image, None for one that has none. Raises UsageError."""
    if DESCRIPTION not in image.steps:
        return None
    return description_of(image, _secret() if _made(image, DESCRIPTION).get("master") else None)


def edits_of(image: Image) -> Edits:
    """Every tag of ours as it should stand in an image, with the description if it has one. Raises UsageError."""
    return image_edits(image, _caption(image), _made(image, META).get("turn"), _made(image, GEOTAG).get("offset", 0.0))


def edits_hash(edits: Edits) -> str:
    """A short name of what is written into an image."""
    return _text_hash(repr([(ifd, sorted(tags.items())) for ifd, tags in sorted(edits.items())]))


def description_step(images: List[Image], settings: Settings, notes: Notes) -> List[Image]:
    """Merge all steps into one description and plan where it goes; the writing itself comes after the journal."""
    insert, out = typing.cast(Insert, settings.insert), []
    if settings.master.master_upload:
        _secret()                   # missing, that is said before anything is done
    into = "stream" if insert.skip_EXIF_insert else "copy" if settings.keep.keep_original else "image"
    for image in images:
        missing = [step for step in _NEEDED if image.steps.get(step, {}).get("status") != "success"]
        if missing:
            out.append(failed(image, DESCRIPTION, "step_missing", "cannot be described", "%s is missing" % missing[0],
                              "run %s first" % _NEEDED[missing[0]]))
            continue
        master = settings.master.master_upload or any(_made(image, step).get("master") for step in (USER, PARAMS))
        image = recorded(image, DESCRIPTION, into=into, master=master or None)
        out.append(recorded(image, DESCRIPTION, **_made(image, DESCRIPTION), edits=edits_hash(edits_of(image))))
    return out


STEP_FUNCTIONS: Dict[str, Callable[[List[Image], Any, Notes], List[Image]]] = {
    USER: user_step, META: meta_step, PARAMS: params_step, DESCRIPTION: description_step,
    GEOTAG: lambda images, run, notes: geotag(
        images, _track_of(run.geotagging, notes), run.geotagging, run.angle, notes),
    SEQUENCE: lambda images, run, notes: _folderwise(
        images, lambda folder: _sequenced(folder, run.sequences, run.angle.offset_angle))}


# -- a run: what is known of each image, what is to be done, doing it --
@dataclass
class Place:
    """One folder of a run."""
    folder: str
    journal: Journal
    read: typing.Set[Path] = dataclasses.field(default_factory=set)  # those whose file was read in this run
    ours: Optional[Dict[Any, Row]] = None       # records by the digest of what we wrote, once asked for

    def known_again(self, record: Optional[Row], found: Row) -> Optional[Row]:
        """An image's record, or that of another name whose Exif block, written by us, it carries: renamed, copied."""
        digest, written = found.get("digest"), (record or {}).get("written") or {}
        if '"MAPPhotoUUID"' not in found.get("caption", "") or (record is not None and written.get("digest") == digest):
            return record
        if self.ours is None:
            rows = (row for row in self.journal.records(self.journal.names()) if row and row.get("written"))
            self.ours = {row["written"].get("digest"): row for row in rows}
        return self.ours.get(digest) or record


def image_from(path: Union[str, Path], record: Row, without: Iterable[str] = ()) -> Image:
    """An Image as its journal record has it, without some of the steps."""
    image = image_of(path, record["found"], record.get("given")).but(written=record.get("written"))
    if record["found"].get("error"):
        return _stopped(image, **record["found"]["error"])
    for step in STEPS:
        if step in record.get("steps", {}) and step not in without:
            image = with_entry(image, step, record["steps"][step])
    return image


def record_of(image: Image) -> Row:
    """The journal's row about an image, in its fixed order of keys."""
    return _present(image=image.path.name, at=now_text(), found=image.found, given=image.given, steps={
        step: image.steps[step] for step in STEPS if step in image.steps}, written=image.written)


def _stamp_of(path: Union[str, Path]) -> Dict[str, int]:
    """Size and modification time of a file; empty where it cannot be looked at."""
    try:
        return _stamp(os.stat(str(path)))
    except OSError:
        return {}


def read_job(path: str) -> Tuple[Row, Optional[Tuple[str, ...]]]:
    """What a worker reads of one image: (found, None), or (size and time, the problem)."""
    try:
        return read_found(path), None
    except ToolError as error:
        return _stamp_of(path) or {"size": -1, "mtime": -1}, tuple(error.problem)


def write_job(task: Tuple[str, Edits, Optional[str], Dict[str, int]]) -> Tuple[Row, Optional[Any]]:
    """What a worker writes of one image: (size, mtime, digest; None) or ({}, the class and problem of the error)."""
    path, edits, to, stamp = task   # to is the path of the copy or None, stamp the size and mtime the file must have
    try:
        if _stamp(os.stat(path)) != stamp:
            raise BadExif(("changed", path, "was changed by another program during this run", "", "run it again"))
        if to is not None:
            os.makedirs(os.path.dirname(to), exist_ok=True)
        return write_edits(path, edits, to), None
    except OSError as error:
        return {}, ("CannotWrite", tuple(_os_problem(to or path, error).problem))
    except ToolError as error:
        return {}, (type(error).__name__, tuple(error.problem))


def open_places(paths: Sequence[Path], write: bool, stack: contextlib.ExitStack) -> Tuple[
        Dict[str, Place], Dict[str, Problem]]:
    """(folders of images, their journals open; problems of the others). Raises the ToolError when none can be open."""
    places: Dict[str, Place] = {}
    errors: Dict[str, ToolError] = {}
    for folder in _grouped(paths):
        try:
            places[folder] = Place(folder, stack.enter_context(Journal(folder, write)))
        except ToolError as error:
            errors[folder] = error
    if errors and not places:
        raise list(errors.values())[-1]
    return places, {folder: error.problem for folder, error in errors.items()}


def is_uploaded(journal: Journal, service: str, name: str, found: Optional[Row]) -> bool:
    """Whether the journal says that this very image, not another of its name, has arrived at a service."""
    upload = journal.upload(service, name)
    return upload is not None and upload["status"] == "sent" and (
        found is None or not upload.get("photo") or upload["photo"] == photo_id(name, found))


def load_images(paths: Sequence[Path], top: str, settings: Settings, ui: Ui, stack: contextlib.ExitStack) -> Tuple[
        List[Image], Dict[str, Place]]:
    """(images found below a folder as the journal or the file has them, their open folders): the one read pass."""
    places, problems = open_places(paths, not settings.dry.dry_run, stack)
    piexif()                        # missing, that is said once and not for every image
    images: Dict[Path, Image] = {}
    unread: List[Tuple[Path, Optional[Row]]] = []
    for folder, group in _grouped(paths).items():
        if folder not in places:
            problem = problems[folder]._replace(file="")
            images.update((path, _stopped(Image(path), **problem._asdict())) for path in group)
            continue
        was_uploaded = old_uploads(folder, top)
        for path, record in zip(group, places[folder].journal.records([path.name for path in group])):
            reason = (SKIP_KIND if not is_jpeg_name(path) else SKIP_UPLOADED if was_uploaded(path.name) else
                      SKIP_LINK if os.path.islink(path) and os.path.exists(path) else "")
            if reason:
                images[path] = Image(path, outcome=Outcome("skipped", reason))
            elif record is not None and _same_file(record, _stamp_of(path)):
                images[path] = image_from(path, record)
            else:
                unread.append((path, record))
    results = each(read_job, (str(path) for path, _ in unread), len(unread), settings.workers.workers)
    for count, ((path, record), (found, wrong)) in enumerate(zip(unread, results), 1):
        place = places[os.path.dirname(str(path))]
        images[path] = _as_read(path, place.known_again(record, found), found, wrong)
        place.read.add(path)
        ui.progress("reading", count, len(unread), 0)
    for path, image in images.items() if settings.service else ():
        home = places.get(os.path.dirname(str(path)))
        if home is not None and is_uploaded(home.journal, settings.service, path.name, image.found):
            images[path] = image.but(outcome=Outcome("skipped", SKIP_UPLOADED))
    return [images[path] for path in paths], places


def _same_file(record: Row, stamp: Dict[str, int]) -> bool:
    """Whether a file has the size and time of what the journal last saw of it."""
    seen = record.get("written") or record["found"]
    return bool(stamp) and all(seen.get(key) == value for key, value in stamp.items())


def _as_read(path: Path, record: Optional[Row], found: Row, problem: Optional[Tuple[str, ...]]) -> Image:
    """The image in a file that was read: known again if what it carries is our own writing, else as found now."""
    if problem is not None:
        code, file, wrong, value, remedy = problem
        if record is not None and "error" not in record["found"]:
            return _stopped(Image(path), code, wrong, value, remedy, file)      # it may be whole again later
        error = {"code": code, "wrong": wrong, "value": value, "remedy": remedy}
        return image_from(path, {"found": dict(found, error=error)})
    if record is None:
        return image_of(path, found)
    stamp = {key: found[key] for key in ("size", "mtime")}
    written, before = record.get("written"), record["found"]
    if written and written.get("digest") == found.get("digest"):
        return image_from(path, dict(record, written=dict(written, **stamp)))
    known = image_from(path, record)
    if known.outcome is None and DESCRIPTION in known.steps and found.get("caption") == _caption(known):
        return known.but(written=dict(stamp, digest=found["digest"], edits=edits_hash(edits_of(known))))
    same = not before.get("error") and photo_id(path.name, before) == photo_id(path.name, found)
    return image_of(path, found, record.get("given") if same else None)


def _option_hashes(settings: Settings, notes: Notes) -> Dict[str, str]:
    """For each step of the run, a hash of what its result depends on beside the images."""
    run: Any = settings             # of its groups only those that are there are looked at
    angle, master = settings.angle.offset_angle, settings.master.master_upload
    rows: Dict[str, Callable[[], Any]] = {
        USER: lambda: [user_data(run.user, notes, run.dry.dry_run, run.rehearsal), master],
        META: lambda: dataclasses.asdict(run.meta),
        GEOTAG: lambda: dict(dataclasses.asdict(run.geotagging), angle=angle,
                             geotag_source_path=_input_stamps(run.geotagging.geotag_source_path)),
        SEQUENCE: lambda: dict(dataclasses.asdict(run.sequences), angle=angle),
        PARAMS: lambda: [run.account.user_name, master],
        DESCRIPTION: lambda: [[run.insert.skip_EXIF_insert, run.keep.keep_original, master], __version__]}
    return {step: short_hash(step, rows[step]()) for step in settings.steps()}


def _input_stamps(path: Optional[str]) -> List[Any]:
    """Name, size and time of a track file, or of every file in a folder of them; the place does not matter."""
    if not path:
        return []
    try:
        if not os.path.isdir(path):
            return [sorted(_stamp(os.stat(path)).items())]
        files = [(name, os.path.join(path, name)) for name in sorted(os.listdir(path))]
        return [[name, sorted(_stamp(os.stat(file)).items())] for name, file in files if os.path.isfile(file)]
    except OSError as error:
        raise NotFound(("no_track", path, "cannot be read", error.strerror or "",
                        "check --geotag_source_path")) from error


def _base(image: Image) -> str:
    """Stands for an image as found, with what was given in its place."""
    found = image.found or {}
    given = canonical(image.given) if image.given else ""
    return _text_hash("%s:%s:%s" % (found.get("size"), found.get("mtime"), given))


def _expected(image: Image, rows: Dict[str, str], digest: str) -> Dict[str, str]:
    """The settings hash that each step of the run, and each recorded one, has for an image when it is up to date."""
    expected: Dict[str, str] = {}
    base = _base(image)             # rows has the _option_hashes, digest stands for the images of the folder
    for step in STEPS:
        if step in rows:
            before = "".join(expected.get(other, "-") for other in _DEPENDS.get(step, ()))
            expected[step] = _text_hash(base + rows[step] + before + (digest if step in _FOLDERWIDE else ""))
        elif step in image.steps:
            expected[step] = image.steps[step]["settings"]
    return expected


def _settled(image: Image, steps: Sequence[str], expected: Dict[str, str], place: Place) -> bool:
    """Whether the journal has an up-to-date result of every step, as far as the image gets, and it stands there."""
    for step in steps:
        entry = image.steps.get(step)
        if entry is None or entry["settings"] != expected[step]:
            return False
        if entry["status"] != "success":
            return True
    return image.outcome is not None or DESCRIPTION not in image.steps or not _write_due(image, image, place)


def _write_due(image: Image, before: Image, place: Place) -> bool:
    """Whether the description of an image still has to be written where it belongs."""
    row = _made(image, DESCRIPTION)
    if row["into"] == "image":
        return (image.written or {}).get("edits") != row["edits"]
    return row["into"] == "copy" and (_made(before, DESCRIPTION) != row
                                      or not os.path.isfile(place.journal.copy_path(image.path.name)))


def run_step(step: str, images: List[Image], settings: Settings, notes: Notes) -> List[Image]:
    """One step for every good image; as many come back, in the same order."""
    good = [image for image in images if image.outcome is None]
    results = STEP_FUNCTIONS[step](good, settings, notes)
    assert len({image.path for image in results}) == len(good), step
    return _replaced(images, results)


def _fresh(image: Image, steps: Sequence[str]) -> Image:
    """The image before some steps: as found, with the recorded results of the others that do not depend on them."""
    stale = set(steps).union(step for step in STEPS if set(steps) & set(_DEPENDS.get(step, ())))
    return image_from(image.path, {"found": image.found, "given": image.given, "written": image.written,
                                   "steps": image.steps}, stale)


def plan_images(images: List[Image], places: Dict[str, Place], settings: Settings, notes: Notes) -> List[Image]:
    """The pure middle: the images after all steps of the run, or "already processed" where nothing is to be done."""
    rows, steps = _option_hashes(settings, notes), settings.steps()
    digests: Dict[str, str] = {}    # for each folder what stands for all its JPEGs as found, uploaded or not
    due: List[Image] = []
    done: List[Image] = []
    for folder, group in _grouped(images).items():
        digest = digests[folder] = short_hash([[image.path.name, _base(image)] for image in group
                                               if is_jpeg_name(image.path)])
        open_ones = [image for image in group if not _final(image)]
        if settings.again.rerun or not all(
                _settled(image, steps, _expected(image, rows, digest), places[folder]) for image in open_ones):
            due.extend(_fresh(image, steps) for image in open_ones)
        else:
            done.extend(image.but(outcome=Outcome("skipped", SKIP_PROCESSED)) if image.outcome is None else image
                        for image in open_ones)
    for step in steps:
        due = run_step(step, due, settings, notes)
    for image in due:
        expected = _expected(image, rows, digests[os.path.dirname(str(image.path))])
        done.append(image.but(steps={step: dict(entry, settings=expected[step]) if step in steps else entry
                                     for step, entry in image.steps.items()}))
    return _replaced(images, done)


def _final(image: Image) -> bool:
    """Whether no step can change anything about an image: skipped, or unreadable."""
    skipped = image.outcome is not None and image.outcome.status == "skipped"
    return skipped or image.found is None or "error" in image.found


def run_steps(source: Input, selection: Selection, settings: Settings, ui: Ui, tool: str) -> Report:
    """Lead the images below a folder through steps: one read pass, a pure middle, one write pass.

    Raises what stops the run before any image: NotFound, UsageError, BadTrack, BadJournal, CannotWrite.
    """
    dry, notes, top = settings.dry.dry_run, Notes(), typing.cast(str, source.import_path)
    report = Report(tool, word="would be processed" if dry else "processed", notes=notes.lines)
    paths = find_images(top, selection.skip_subfolders, report.trouble)
    with contextlib.ExitStack() as stack:
        images, places = load_images(paths, top, settings, ui, stack)
        strays = sum('"MAPPhotoUUID"' in (image.found or {}).get("caption", "") for image in images if not image.steps)
        if strays:
            notes.say("%d images carry a description, but no journal tells what they carried before it: what they "
                      "carry now is taken as found" % strays)
        results = plan_images(images, places, settings, notes)
        if not dry:
            results = _carry_out(results, images, places, settings, ui)
            _write_logs(results, places, source.verbose)
    for image in results:
        report.count(image)
        LOG.debug("%s: %s", image.path, image.outcome.reason if image.outcome else report.word)
    report.facts["sequences"] = len({image.sequence for image in results if image.sequence})
    return report


class Plan(NamedTuple):
    """What a run does to images once all is computed."""
    told: List[Image]               # the journal gets their records before any is touched
    stale: List[Image]              # their earlier copies under .mapillary are removed
    due: List[Image]                # to be written


def _carry_out(images: List[Image], before: List[Image], places: Dict[str, Place], settings: Settings,
               ui: Ui) -> List[Image]:
    """Journal what is planned, write it, journal what was written; before has the same images as they were read."""
    plan = Plan([], [], [])
    for image, old in zip(images, before):
        place = places.get(os.path.dirname(str(image.path)))
        if place is None:
            continue
        new = image is not old and not (image.outcome is not None and image.outcome.status == "skipped")
        if (new or image.path in place.read) and image.found is not None:
            plan.told.append(image)
        into = _made(image, DESCRIPTION).get("into") if image.outcome is None else None
        due = new and into in ("image", "copy") and (settings.again.rerun or _write_due(image, old, place))
        if due:
            plan.due.append(image)
        if due or new and into != "copy":
            plan.stale.append(image)
    return _replaced(images, write_images(plan, places, settings, ui))


def write_images(plan: Plan, places: Dict[str, Place], settings: Settings, ui: Ui) -> List[Image]:
    """The one write pass: journal, remove old copies, write images; in batches flush their folders and journal."""
    copies, results, total = settings.keep.keep_original, [], len(plan.due)
    for folder, group in _grouped(plan.told).items():
        places[folder].journal.append([record_of(image) for image in group])
    copy_of = {image.path: places[os.path.dirname(str(image.path))].journal.copy_path(image.path.name)
               for image in plan.stale + plan.due}
    for image in plan.stale:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(copy_of[image.path])
    tasks = ((str(image.path), edits_of(image), copy_of[image.path] if copies else None,
              {key: typing.cast(Row, image.written or image.found)[key] for key in ("size", "mtime")})
             for image in plan.due)
    outcomes = each(write_job, tasks, total, settings.workers.workers)
    for batch in cut(plan.due, WRITE_BATCH):
        for image, (written, error) in zip(batch, outcomes):
            results.append(_after_writing(image, written, error, copies))
            ui.progress("writing", len(results), total, 0)
        for folder, group in _grouped(results[-len(batch):]).items():
            journal = places[folder].journal
            flush_folder(folder)
            flush_folder(os.path.join(journal.state, "process_images"))
            journal.append([record_of(image) for image in group])
    return results


def _after_writing(image: Image, written: Row, error: Optional[Any], copies: bool) -> Image:
    """The image with what was written of it, or as failed."""
    if error is None:
        return image if copies else image.but(written=dict(
            written, edits=_made(image, DESCRIPTION).get("edits") or edits_hash(edits_of(image))))
    code, file, wrong, value, remedy = error[1]
    if error[0] == "CannotWrite" or DESCRIPTION not in image.steps:     # not its fault: the next run tries again
        return _stopped(image, code, wrong, value, remedy, file)
    return failed(image, DESCRIPTION, code, wrong, value, remedy, image.steps[DESCRIPTION]["settings"])


def _write_logs(images: List[Image], places: Dict[str, Place], verbose: bool) -> None:
    """A file for every image that failed, and with --verbose for every image: each step's data and decisions."""
    for image in images:
        place = places.get(os.path.dirname(str(image.path)))
        if place is None or not (verbose or image.outcome is not None and image.outcome.status == "failed"):
            continue
        row = record_of(image)
        if image.outcome is not None:
            row["outcome"] = _present(**dataclasses.asdict(image.outcome))
        path = place.journal.log_path(image.path.name)
        with contextlib.suppress(OSError, ToolError):   # a log is a courtesy: a full disk has been said already
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_atomically(path, [json.dumps(row, indent=1, sort_keys=True).encode("ascii")], flush=False)


# -- values from a table: process_csv --
@dataclass(frozen=True)
class Table(Group):
    """table"""
    delimiter: str = opt(",", "what stands between columns; tab for a tabulator", "TEXT")
    header: bool = opt(False, "the first row is a header")


def _column(help: str) -> Any:
    return opt(None, "column number, from 1, of " + help, "N", at_least=1)


@dataclass(frozen=True)
class CsvColumns(Group):
    """columns"""
    csv_path: Optional[str] = opt(None, "table with a row an image", "FILE", required=True)
    filename_column: Optional[int] = _column("the file name; without it rows go with images in file-name order")
    timestamp_column: Optional[int] = _column("the capture time, UTC unless the format has a zone")
    latitude_column: Optional[int] = _column("the latitude in degrees")
    longitude_column: Optional[int] = _column("the longitude in degrees")
    heading_column: Optional[int] = _column("the direction in degrees from true north")
    altitude_column: Optional[int] = _column("the altitude in metres")
    gps_week_column: Optional[int] = _column("the GPS week")
    time_format: str = opt("%Y:%m:%d %H:%M:%S.%f", "strptime format of the capture time", "FORMAT")
    convert_gps_time: bool = opt(False, "capture times are GPS seconds, of the week where there is a week column")
    convert_utc_time: bool = opt(False, "capture times are seconds or milliseconds since 1970")
    meta_columns: Optional[str] = opt(None, "column numbers of meta data", "LIST")
    meta_names: Optional[str] = opt(None, "names of meta data", "LIST")
    meta_types: Optional[str] = opt(None, "types of meta data: string, double, long, date, boolean", "LIST")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.latitude_column is None) != (self.longitude_column is None):
            raise UsageError(("half_position", "", "--latitude_column and --longitude_column go together"))
        if self.convert_gps_time and self.convert_utc_time:
            raise UsageError(("two_clocks", "", "--convert_gps_time and --convert_utc_time contradict each other"))
        if self.gps_week_column and not self.convert_gps_time:
            raise UsageError(("week_alone", "", "--gps_week_column needs --convert_gps_time"))
        if not (self.meta() or self.timestamp_column or self.latitude_column or self.heading_column
                or self.altitude_column):
            raise UsageError(("no_columns", "", "no column with anything to write is named", "",
                              "add --timestamp_column, --latitude_column and so on"))

    def meta(self) -> List[Tuple[int, str, str]]:
        """(column from 1, name, type) of each piece of meta data; raises UsageError."""
        texts = (self.meta_columns, self.meta_names, self.meta_types)
        lists = [[part.strip() for part in (text or "").split(",") if part.strip()] for text in texts]
        if len(set(map(len, lists))) != 1 or not all(part.isdigit() and int(part) for part in lists[0]):
            raise UsageError(("meta_lists", "", "--meta_columns, --meta_names and --meta_types must be lists of one "
                              "length, the first of column numbers", "%s / %s / %s" % texts))
        unknown = [kind for kind in lists[2] if kind not in _TAG_LISTS]
        if unknown:
            raise UsageError(("meta_type", "", "--meta_types must be of %s" % ", ".join(_TAG_LISTS), unknown[0]))
        return [(int(column), name, kind) for column, name, kind in zip(*lists)]


def _by_format(text: str, style: str) -> datetime.datetime:
    """Date and time of a text by a strptime format, with or without a fraction; raises ValueError."""
    try:
        return datetime.datetime.strptime(text, style)
    except ValueError as error:
        other = style.replace(".%f", "") if "%f" in style else style.replace("%S", "%S.%f")
        try:
            return datetime.datetime.strptime(text, other)
        except ValueError:
            raise error from None


def parse_by_format(text: str, style: str) -> float:
    """Seconds since 1970 of a text by a strptime format; UTC unless it has a zone. Raises ValueError, OverflowError."""
    moment = _by_format(text, style)
    zone = moment.utcoffset() or datetime.timedelta()
    return (moment.replace(tzinfo=None) - zone - datetime.datetime(1970, 1, 1)).total_seconds()


def _finite(text: str, limit: float = math.inf) -> float:
    """A finite number within a limit, also with a decimal comma; raises ValueError."""
    value = float(text.strip().replace(",", "."))
    if not math.isfinite(value):
        raise ValueError("not finite: %s" % text)
    if abs(value) > limit:
        raise ValueError("%g is beyond %g" % (value, limit))
    return value


def _epoch(text: str) -> float:
    """Seconds since 1970 from seconds or milliseconds: a number beyond the year 5000 is milliseconds."""
    value = _finite(text)
    return value / 1000.0 if abs(value) > 1e11 else value


def _row_time(cells: List[str], options: CsvColumns) -> float:
    """The capture time of a row in seconds UTC; raises ValueError, IndexError."""
    text = cells[typing.cast(int, options.timestamp_column) - 1].strip()
    if options.convert_gps_time:
        week = 0 if options.gps_week_column is None else int(_finite(cells[options.gps_week_column - 1]))
        return _gps_to_utc(week * 7 * DAY_S + _finite(text))
    return _epoch(text) if options.convert_utc_time else parse_by_format(text, options.time_format)


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _boolean(text: str) -> bool:
    if text.strip().lower() not in _BOOLEANS:
        raise ValueError("%r is neither true nor false" % text)
    return _BOOLEANS[text.strip().lower()]


_TAG_READERS: Dict[str, Callable[[str, CsvColumns], Any]] = {
    "string": lambda text, options: text, "double": lambda text, options: _finite(text),
    "long": lambda text, options: int(text), "boolean": lambda text, options: _boolean(text),
    "date": lambda text, options: int(round(1000 * (
        _epoch(text) if re.match(r"\s*\d+\s*$", text) else parse_by_format(text.strip(), options.time_format))))}


def row_values(cells: List[str], options: CsvColumns) -> Row:
    """What a row gives an image: time, lat, lon, heading, alt, tags; an empty cell gives nothing. Raises ValueError."""
    readers: List[Tuple[str, Optional[int], Callable[[str], Any]]] = [
        ("time", options.timestamp_column, lambda text: _row_time(cells, options)),
        ("lat", options.latitude_column, lambda text: _finite(text, 90.0)),
        ("lon", options.longitude_column, lambda text: _finite(text, 180.0)),
        ("heading", options.heading_column, lambda text: _finite(text) % 360.0),
        ("alt", options.altitude_column, lambda text: _finite(text, 1e6))]
    out: Row = {}
    last = max([column or 0 for _, column, _ in readers] + [column for column, _, _ in options.meta()])
    if last > len(cells):
        raise ValueError("column %d is missing" % last)
    for name, column, read in readers:
        if column is not None and cells[column - 1].strip():
            out[name] = read(cells[column - 1])
    format_time(out.get("time", 0.0))       # raises OverflowError beyond the calendar
    if ("lat" in out) != ("lon" in out) or (out.get("lat"), out.get("lon")) == (0.0, 0.0):
        raise ValueError("latitude and longitude are not a position")
    tags = [{"type": kind, "key": name, "value": _TAG_READERS[kind](cells[column - 1], options)}
            for column, name, kind in options.meta() if cells[column - 1].strip()]
    return dict(out, tags=tags) if tags else out


def _finder(images: Sequence[Image]) -> Callable[[str], Tuple[Tuple[int, bool, bool], List[Path]]]:
    """Finds the images that a name in a table may mean: whole path, base name, no extension, or part of the name; and
    how much alike they are: folders in common, same name, same letter case."""
    exact: Dict[str, List[Path]] = {}
    for image in images:
        for key in {image.path.name.lower(), image.path.stem.lower()}:
            exact.setdefault(key, []).append(image.path)
    names = [image.path.name.lower() for image in images]
    starts, text = [0, *itertools.accumulate(len(name) + 1 for name in names)], "/".join(names)

    def likeness(path: Path, wanted: List[str]) -> Tuple[int, bool, bool]:
        pairs = zip(path.parts[-2::-1], wanted[-2::-1])
        folders = sum(1 for _ in itertools.takewhile(lambda pair: pair[0].lower() == pair[1].lower(), pairs))
        return folders, path.name.lower() == wanted[-1].lower(), path.name == wanted[-1]

    def find(name: str) -> Tuple[Tuple[int, bool, bool], List[Path]]:
        wanted = name.strip().replace("\\", "/").split("/")
        base = wanted[-1].lower()
        found = list(exact.get(base, []))
        at = text.find(base) if base and not found else -1
        while at >= 0:
            index = bisect.bisect_right(starts, at) - 1
            found.append(images[index].path)
            at = text.find(base, starts[index + 1])
        alike = [likeness(path, wanted) for path in found] or [(0, False, False)]
        return max(alike), [path for path, score in zip(found, alike) if score == max(alike)]
    return find


def match_rows(rows: List[Tuple[int, List[str]]], images: Sequence[Image], options: CsvColumns) -> Tuple[
        Dict[Path, Tuple[int, List[str]]], List[Problem]]:
    """(row of each image that has one, problems of the rows that have none or are not clear)."""
    good = [image for image in images if image.outcome is None or image.outcome.status == "failed"]
    if options.filename_column is None:
        if len(rows) == len(good):
            return {image.path: row for image, row in zip(good, rows)}, []
        raise UsageError(("row_count", str(options.csv_path), "does not have a row for each image",
                          "%d rows, %d images" % (len(rows), len(good)), "add --filename_column"))
    find, out, bad = _finder(images), {}, {}
    names = ["".join(cells[options.filename_column - 1:options.filename_column]) for _, cells in rows]
    for (_, found), name, (line, cells) in sorted(zip(map(find, names), names, rows), key=lambda row: row[0][0],
                                                  reverse=True):        # stable: of equals the first row counts
        wrong = ("names no image" if not found else "may mean %d images" % len(found) if len(found) > 1 else
                 "repeats an image that another row has" if found[0] in out else None)
        if wrong is None:
            out[found[0]] = (line, cells)
        else:
            bad[line] = Problem("bad_row", str(options.csv_path), "line %d %s" % (line, wrong), name, "mend that line")
    return out, [bad[line] for line in sorted(bad)]


def _with_row(image: Image, row: Optional[Tuple[int, List[str]]], options: CsvColumns) -> Image:
    """An image with what its row gives, skipped without a row, failed with a row that does not parse."""
    if image.outcome is not None:
        return image
    if row is None:
        return image.but(outcome=Outcome("skipped", "no row in the table"))
    try:
        return image.but(given=dict(image.given or {}, **row_values(row[1], options)))
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        return _stopped(image, "bad_row", "line %d of %s does not parse" % (row[0], options.csv_path), str(error),
                        "mend that line")


def _stands(image: Image, keep: Keep) -> bool:
    """Whether what is given to an image is in its file already; copies are made anew."""
    return not keep.keep_original and (image.written or {}).get("edits") == edits_hash(edits_of(image))


def _given_run(source: Input, settings: Settings, ui: Ui, report: Report,
               change: Callable[[List[Image]], List[Image]]) -> Report:
    """Load the images below a folder, change what is given to them in place of what was found, journal and write it."""
    top = typing.cast(str, source.import_path)
    with contextlib.ExitStack() as stack:
        before, places = load_images(find_images(top, trouble=report.trouble), top, settings, ui, stack)
        images = change([image if _final(image) else _fresh(image, STEPS) for image in before])
        new = [image_of(image.path, image.found or {}, image.given).but(written=image.written)
               for image, old in zip(images, [] if settings.dry.dry_run else before)
               if image.outcome is None and image.given and (image.given != old.given or DESCRIPTION not in old.steps)]
        new = [image for image in new if not _stands(image, settings.keep)]
        images = _replaced(images, write_images(Plan(new, new, new), places, settings, ui))
    for image in images:
        report.count(image)
    return report


def process_table(source: Input, options: CsvColumns, table: Table, keep: Keep, dry: Dry, ui: Ui) -> Report:
    """Give images the time, position, direction, altitude and meta data of their rows in a table."""
    notes = Notes()
    report = Report("process_csv", word="would be written" if dry.dry_run else "written", notes=notes.lines)
    rows = read_table(typing.cast(str, options.csv_path), table.delimiter, table.header)
    if options.timestamp_column and "%z" not in options.time_format and not (
            options.convert_gps_time or options.convert_utc_time):
        notes.say("capture times of the table are taken as UTC")

    def change(images: List[Image]) -> List[Image]:
        matched, unclear = match_rows(rows, images, options)
        report.trouble.extend(unclear)
        return [_with_row(image, matched.get(image.path), options) for image in images]
    return _given_run(source, Settings(keep=keep, dry=dry), ui, report, change)


# -- what is missing between images: interpolate --
@dataclass(frozen=True)
class Interpolation(Verbose):
    """interpolation"""
    data: Optional[str] = opt(None, "what to interpolate", required=True,
                              choices=("missing_gps", "identical_timestamps"))
    import_path: Optional[str] = opt(None, "folder with the images", "FOLDER")
    max_time_delta: float = opt(1.0, "how far beyond the known positions it may extrapolate", "SECONDS", at_least=0)
    file_in_path: Optional[str] = opt(None, "table with the timestamps, instead of images", "FILE")
    file_format: str = opt("csv", "format of that file", choices=("csv",))
    time_column: int = opt(0, "column number, from 0, of the timestamps", "N", at_least=0)
    time_utc: bool = opt(False, "the timestamps are seconds or milliseconds since 1970")
    time_format: str = opt("%Y-%m-%dT%H:%M:%SZ", "strptime format of the timestamps", "FORMAT")

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.import_path) == bool(self.file_in_path):
            raise UsageError(("one_input", "", "interpolate needs either --import_path or --file_in_path"))
        if self.file_in_path and self.data != "identical_timestamps":
            raise UsageError(("no_images", "", "--data missing_gps needs images", "", "give --import_path"))


def _spread_given(images: List[Image]) -> List[Image]:
    """Images of one folder with their equal capture times spread; those that change are given how much later they are,
    which holds in any zone, or another time where they were given one."""
    good = in_order(image for image in images if image.outcome is None and image.time is not None)
    times, _ = spread_ties([typing.cast(float, image.time) for image in good])
    new = {image.path: when for image, when in zip(good, times) if when != image.time}
    def spread(image: Image) -> Row:
        given = image.given or {}
        if "time" in given:
            return dict(given, time=new[image.path])
        return dict(given, later=given.get("later", 0.0) + new[image.path] - typing.cast(float, image.time))
    return [image.but(given=spread(image)) if image.path in new else
            _unchanged(image, "no other image has its time") for image in images]


def _unchanged(image: Image, reason: str) -> Image:
    if image.outcome is not None:
        return image
    if image.time is None:
        return _stopped(image, "no_time", "has no capture time")
    return image.but(outcome=Outcome("skipped", reason))


def _fill_positions(images: List[Image], most: float) -> Iterator[Image]:
    """Images of one folder with the positions that are missing given from those before and behind."""
    known = {image.time: image.fix for image in in_order(images)
             if image.fix is not None and image.time is not None and image.outcome is None
             and (image.given or {}).get("filled") != [image.fix.lat, image.fix.lon]}
    times = sorted(known)
    for image in images:
        when = image.time
        if image.outcome is None and image.fix is not None:
            image = image.but(outcome=Outcome("skipped", "has a position"))
        if image.outcome is not None or when is None:
            yield _unchanged(image, "")
            continue
        beyond = max(times[0] - when, when - times[-1]) if len(times) > 1 else math.inf
        if beyond > most:
            yield _stopped(image, "outside_track", "is too far from the images that have a position",
                           "%.1f s" % beyond if beyond < math.inf else "fewer than two have one",
                           "raise --max_time_delta, or geotag from a track")
            continue
        index = min(max(bisect.bisect_right(times, when), 1), len(times) - 1)
        fix = between(known[times[index - 1]], known[times[index]], when)
        yield image.but(given=dict(image.given or {}, **_present(lat=fix.lat, lon=fix.lon, alt=fix.alt),
                                   filled=[fix.lat, fix.lon]))      # so that the next run does not go on from it


def interpolate_images(options: Interpolation, keep: Keep, dry: Dry, ui: Ui) -> Report:
    """Spread identical capture times, or fill missing positions, a folder at a time."""
    report = Report("interpolate", word="would be interpolated" if dry.dry_run else "interpolated")
    change = {"identical_timestamps": _spread_given, "missing_gps": lambda folder: _fill_positions(
        folder, options.max_time_delta)}[typing.cast(str, options.data)]
    return _given_run(Input(options.import_path, options.verbose), Settings(keep=keep, dry=dry), ui, report,
                      lambda images: _folderwise(images, change))


def interpolate_table(options: Interpolation, table: Table, keep: Keep, dry: Dry) -> Report:
    """Spread identical timestamps in a table; with keep_original into NAME_interpolated beside it."""
    path, column = typing.cast(str, options.file_in_path), options.time_column
    report = Report("interpolate", word="would be interpolated" if dry.dry_run else "interpolated")
    rows = read_table(path, table.delimiter, False)
    body = rows[1:] if table.header else rows
    timed: List[Tuple[float, List[str]]] = []
    for line, cells in body:
        try:
            timed.append((_epoch(cells[column]) if options.time_utc else parse_by_format(
                cells[column].strip(), options.time_format), cells))
        except (ValueError, IndexError, OverflowError):
            report.failed.append(Problem("bad_row", path, "line %d has no timestamp" % line, "".join(
                cells[column:column + 1]), "check --time_column and --time_format"))
    timed.sort(key=lambda row: row[0])
    spread, _ = spread_ties([when for when, _ in timed])
    changed = {id(cells): (cells[column].strip(), _respelled(cells[column].strip(), when, options))
               for (before, cells), when in zip(timed, spread) if when != before}
    report.done = len(changed)
    report.found, left = len(body), len(timed) - report.done
    if left:
        report.skipped["no other row has its time"] = [""] * left
    if report.done and not dry.dry_run:
        stem, extension = os.path.splitext(path)
        begin, text, encoding = table_text(path)
        lines, mark = list(io.StringIO(text, newline="")), re.escape(_DELIMITERS.get(table.delimiter, table.delimiter))
        cells_before = re.compile('(?:(?:"(?:[^"]|"")*"(?=%s)|[^%s]*)%s){%d}' % (mark, mark, mark, column))
        for (line, cells), end in zip(rows, [line for line, _ in rows[1:]] + [len(lines) + 1]):
            if id(cells) in changed:        # only that cell: quotes, line ends and blank lines stay as they are
                row = "".join(lines[line - 1:end - 1])
                at = typing.cast(Any, cells_before.match(row)).end()
                row = row[:at] + row[at:].replace(*changed[id(cells)], 1)
                lines[line - 1:end - 1] = [row] + [""] * (end - line - 1)
        write_atomically(stem + "_interpolated" + extension if keep.keep_original else path,
                         [begin, "".join(lines).encode(encoding, "surrogateescape")])
    return report


def _respelled(before: str, when: float, options: Interpolation) -> str:
    """A time in the form of the timestamp that it replaces, with a fraction."""
    if options.time_utc:
        text = "%d" % round(when * 1000) if abs(_finite(before)) > 1e11 else "%.3f" % when
        return text.replace(".", ",") if "," in before else text
    style, zone = options.time_format, _by_format(before, options.time_format).utcoffset()
    whole, milli = _calendar(when)
    moment = whole.replace(tzinfo=datetime.timezone.utc) + datetime.timedelta(milliseconds=milli)
    moment = moment.astimezone(datetime.timezone(zone or datetime.timedelta()))
    return moment.strftime(style if "%f" in style else style.replace("%S", "%S.%f"))


# ---- 11. Video ----------------------------------------------------------------------------------
# Here: what ffmpeg is asked, which frames to take, when each was taken, and their way into the import folder.
# Not here: what telemetry says (7), what becomes of the frames afterwards (10).

FRAME_UNITS = 10000                 # a second in the frame times that ffmpeg writes; its 32 bits hold 59 hours
EARLY_S = 0.00043                   # seconds a frame may be before its moment: Matroska rounds times to milliseconds
MOMENTS = 400                       # moments in one run of ffmpeg: its arguments stay under the 32 kB of Windows
RUN_S = 0.2                         # seconds that a run of ffmpeg costs on one CPU before it decodes anything
PIXELS_S = 5e8                      # pixels that one CPU decodes in a second
CLOCKS_AGREE_S = 2.0                # seconds; clocks of a video that are further apart are told
MIXED_UP_MS = 10 ** 11              # a start time below (March 1973) was probably given in seconds
DIGEST_BYTES = 1 << 16              # at both ends of a video, by which it is known again
SAMPLED_BEFORE = "already sampled with these settings"


@dataclass(frozen=True)
class Video(Group):
    """video"""

    video_path: Optional[str] = opt(None, "video, or folder of videos", metavar="PATH", required=True)
    video_sample_interval: float = opt(2.0, "time in the video between two frames", metavar="SECONDS", above=0)
    video_duration_ratio: float = opt(1.0, "real time / video time, for time-lapse", metavar="NUMBER", above=0)
    video_start_time: Optional[int] = opt(None, "when the first frame was taken, since 1970 UTC (of several videos, "
                                          "the first; the others follow without a pause)", metavar="MILLISECONDS",
                                          at_least=0)
    video_sample_distance: Optional[float] = opt(None, "distance along the track between two frames, in place of the "
                                                 "interval", metavar="METRES", advanced=True, above=0)
    ffmpeg_path: Optional[str] = opt(None, "ffmpeg, or the folder it is in", metavar="FILE", advanced=True)


class Footage(NamedTuple):
    """A video as its container describes it."""

    path: str                       # absolute
    duration: Optional[float]       # seconds; None = unknown
    rate: float                     # frames a second, on average
    pixels: int                     # in a frame
    reorder: int                    # frames between decoding and showing one
    key_gap: Optional[float]        # seconds between key frames; None = seeking is not reliable
    camera: Camera
    created: Optional[float]        # seconds UTC as the camera wrote it


class Ffmpeg:
    """ffmpeg and ffprobe of this computer. Tested with ffmpeg 4.1, 5.1.9 and 9.0.2."""

    def __init__(self, given: Optional[str] = None) -> None:
        self.ffmpeg, self.ffprobe = find_program("ffmpeg", given), find_program("ffprobe", given)
        modern = "-fps_mode" in run_program([self.ffmpeg, "-v", "error", "-h", "long"]).output
        self.passthrough = ["-fps_mode" if modern else "-vsync", "passthrough"]     # one is new, the other gone

    def probe(self, path: str) -> Footage:
        """What is in a video; raises ToolError when there are no pictures to be had."""
        ran = run_program([self.ffprobe, "-v", "error", "-select_streams", "V", "-show_format", "-show_streams",
                           "-of", "json", path])
        if ran.code:
            raise ToolError(("bad_video", path, "cannot be read as a video", _cause(ran, path),
                             "copy it from the card again; a recording that was cut off needs repair"))
        found = json.loads(ran.output)
        if not found.get("streams"):
            raise ToolError(("no_pictures", path, "has no pictures", "", "leave it out"))
        stream, form, movie = found["streams"][0], found.get("format", {}), read_movie(path)
        tags = {name.lower(): text for part in (form, stream) for name, text in part.get("tags", {}).items()}
        duration = float(stream.get("duration") or form.get("duration") or 0)
        camera = Camera(movie.make or tags.get("com.apple.quicktime.make") or tags.get("com.android.manufacturer"),
                        movie.model or tags.get("com.apple.quicktime.model") or tags.get("com.android.model"),
                        stream["width"], stream["height"], _orientation(stream))
        over, under = (int(part) for part in stream.get("avg_frame_rate", "0/0").split("/"))
        return Footage(path, duration or None, over / under if under else 0.0, stream["width"] * stream["height"],
                       stream.get("has_b_frames", 0), _key_gap(path), camera,
                       parse_time(tags.get("creation_time")) if movie.creation_time is None else movie.creation_time)

    def take(self, footage: Footage, folder: str, choice: str, seek: Optional[float] = None,
             count: Optional[int] = None, line: Optional[Callable[[str], None]] = None) -> str:
        """Write the frames that an expression of ffmpeg's select filter chooses into a folder, named by their times.

        Times are the video's own, in FRAME_UNITS; pixels are as stored, neither turned nor resized. Decoding begins at
        the key frame before seek (seconds) and ends after count frames. Returns what ffmpeg complained of.
        """
        start = [] if seek is None else ["-noaccurate_seek", "-seek_timestamp", "1", "-ss", "%.6f" % seek]
        few = ["-threads", "1"] if count is not None and count <= 2 else []     # more threads would only decode ahead
        ran = run_program(
            [self.ffmpeg, "-nostdin", "-v", "error", "-nostats", "-progress", "pipe:1", "-copyts", "-noautorotate"]
            + few + start + ["-i", footage.path, "-map", "0:V:0",
                             "-vf", "select='%s',settb=1/%d" % (choice, FRAME_UNITS)]
            + self.passthrough + ["-enc_time_base", "1/%d" % FRAME_UNITS]
            + ([] if count is None else ["-frames:v", str(count)])
            + ["-qscale:v", "2", "-f", "image2", "-frame_pts", "1", "%d.jpg"], folder, line)
        if ran.code:
            raise ToolError(("not_sampled", footage.path, "ffmpeg gave up", _cause(ran, footage.path), "check the disk "
                             "and the video"))
        return _cause(ran, footage.path) if ran.errors else ""


def _cause(ran: Ran, path: str) -> str:
    """The first thing that ffmpeg complained of, without where in ffmpeg."""
    return re.sub(r"^(\[[^]]*\] *)+", "", (ran.errors or ["exit code %d" % ran.code])[0]).replace(path + ": ", "")


def _orientation(stream: Dict[str, Any]) -> int:
    """EXIF orientation by the rotation matrix, or by the older rotate tag, of a stream; multiples of 90 degrees."""
    turned = [-part["rotation"] for part in stream.get("side_data_list", []) if "rotation" in part]
    turned.append(float(stream.get("tags", {}).get("rotate", 0)))
    return {0: 1, 90: 6, 180: 3, 270: 8}.get(round(turned[0]) % 360, 1)


def _key_gap(path: str) -> Optional[float]:
    """Seconds between the key frames of an MP4 or MOV, on average; None for other files."""
    with open(path, "rb") as handle:
        movie = _Source(handle, Path(path))
        for box in movie.boxes(movie.moov) if movie.moov and movie.duration else ():
            table = movie.child(box, b"mdia", b"minf", b"stbl") if movie.child(box, b"mdia", b"minf", b"vmhd") else None
            if table is not None:
                keys = movie.child(table, b"stss")
                return typing.cast(float, movie.duration) / max(1, len(movie.table(keys, 8))) if keys else 0.0
    return None


# -- which frames --

def _every(interval: float) -> str:
    """An expression for the first frame, and for every k the first one at or after k intervals from it."""
    past = "floor((%%s-start_t+%r)/%r)" % (EARLY_S, interval)
    return "isnan(prev_selected_t)+gt(%s,%s)" % (past % "t", past % "prev_selected_t")


def _at(moments: Sequence[float]) -> str:
    """An expression for the first frame at or after each moment (seconds of the video's own time)."""
    if len(moments) > 1:            # halves in brackets: ffmpeg does not take sums of a hundred terms
        return "(%s+%s)" % (_at(moments[:len(moments) // 2]), _at(moments[len(moments) // 2:]))
    return "gte(t,%.5f)*not(gte(prev_t,%.5f))" % (moments[0] - EARLY_S, moments[0] - EARLY_S)


def _taken(folder: str) -> List[int]:
    """The times of the frames in a folder, in FRAME_UNITS and in order."""
    return sorted(int(name[:-4]) for name in os.listdir(folder) if name.endswith(".jpg"))


def _clear(folder: str) -> None:
    """Remove a temporary folder of ours."""
    for place, _, files in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            for name in files:
                os.unlink(os.path.join(place, name))
            os.rmdir(place)


def _margin(footage: Footage) -> float:
    """Seconds before a moment to seek to, so that the key frame reached is shown before it whatever the reordering."""
    return 2 * (footage.reorder + 2) / (footage.rate or 10.0)


def _seeking_pays(footage: Footage, gap: float) -> bool:
    """Whether one run of ffmpeg for a frame costs less than decoding all frames of a gap in seconds."""
    if footage.key_gap is None or footage.duration is None:
        return False
    second = footage.rate * footage.pixels / PIXELS_S   # CPU seconds for a second of video
    return RUN_S + (footage.key_gap / 2 + _margin(footage)) * second < gap * second


def _take_at(task: Tuple[Ffmpeg, Footage, str, List[float]]) -> str:
    """Take the frames of some moments; returns what ffmpeg complained of."""
    ffmpeg, footage, folder, moments = task
    part = os.path.join(folder, "%.5f" % moments[0])
    for seek in (None,) if footage.key_gap is None else (moments[0] - _margin(footage), None):
        os.mkdir(part)
        wrong = ffmpeg.take(footage, part, "isnan(prev_t)+" + _at(moments), seek, len(moments) + 1)
        times = _taken(part)        # the first frame only shows where decoding began
        if seek is None or times and times[0] < (moments[0] - EARLY_S) * FRAME_UNITS:
            break
        _clear(part)
    for when in times[1:]:
        os.replace(os.path.join(part, "%d.jpg" % when), os.path.join(folder, "%d.jpg" % when))
    return wrong


def _distance_times(track: Track, start: float, end: float, metres: float) -> List[float]:
    """Track times from start to end at which one is metres away from the place before; each segment begins one."""
    times: List[float] = []
    last: Optional[Fix] = None
    starts = set(track.starts)
    for index, point in enumerate(track.points):
        before = track.points[index - 1] if index and index not in starts else None
        if before is not None and before.time < start < point.time:
            last, before = (between(before, point, start),) * 2
            times.append(start)
        if point.time < start or (before or point).time > end:
            continue
        if before is None or last is None:
            last = point
            times.append(point.time)
            continue
        while distance(last, point) >= metres:
            near, far = distance(last, before), distance(last, point)
            before = last = between(before, point, before.time + (metres - near) / (far - near) * (
                point.time - before.time))
            times.append(last.time)
    return [when for when in times if start <= when <= end]


# -- when and where --

class Timing(NamedTuple):
    """When and where the frames of one video were taken."""

    start: float                    # seconds UTC of the first frame
    clock: str                      # which clock that is from
    ratio: float                    # real time / video time
    track: Optional[Track]
    track_start: float              # what the track's clock shows at the first frame
    max_gap: Optional[float]

    def place(self, seconds: float) -> Optional[Fix]:
        """Where the frame at so many seconds of video after the first was taken; None = not known."""
        try:
            return fix_at(self.track, self.track_start + seconds * self.ratio, self.max_gap) if self.track else None
        except OutsideTrack:
            return None


class Setup(NamedTuple):
    """What all videos of a run have in common."""

    video: Video
    geotagging: Geotagging
    track: Optional[Track]          # from --geotag_source; None = each video's own
    ffmpeg: Ffmpeg
    notes: Notes
    ui: Ui

    def settings(self) -> List[Any]:
        """All that decides which frames a video gives and what is written into them, but for the video itself."""
        track = self.geotagging.geotag_source_path
        video = dataclasses.replace(self.video, video_path=".", ffmpeg_path=None)
        geotagging = dataclasses.replace(self.geotagging, geotag_source_path=track and ".")
        return [dataclasses.asdict(video), dataclasses.asdict(geotagging), _input_stamps(track)]

    def timing(self, footage: Footage, first: float, given: Optional[float]) -> Timing:
        """When and where frames were taken; first = the first frame's time on the time line that telemetry shares."""
        gps = video_start(footage.path)
        created = footage.created
        if created is not None and self.geotagging.zone:
            created -= zone_offset(self.geotagging.zone, created)
        start, clock = 0.0, "none: it has no clock, so time starts at 1970; give --video_start_time"
        if given is not None:
            start, clock = given, "--video_start_time"
        elif gps is not None:
            start, clock = gps[0] + first, "its GPS time (%s)" % gps[1]
        elif created is not None:
            start, clock = created, "its creation_time" + (
                ", in zone %s" % self.geotagging.zone if self.geotagging.zone else "")
        other, told = (created, "creation_time") if given is None else (given, "--video_start_time")
        if gps is not None and other is not None and abs(other - gps[0] - first) > CLOCKS_AGREE_S:
            ahead = other - gps[0] - first
            self.notes.say("%s: %s is %.2f hours (%.1f s) %s its GPS time; it goes by %s" % (os.path.basename(
                footage.path), told, abs(ahead) / 3600, abs(ahead), "ahead of" if ahead > 0 else "behind", clock))
        track, track_start = self.track, start - self.geotagging.offset_time
        if track is not None and self.geotagging.use_gps_start_time:
            track_start = track.points[0].time
        elif track is None and gps is not None:
            with contextlib.suppress(BadTrack):
                track, track_start = read_track(footage.path), gps[0] + first
        return Timing(start, clock, self.video.video_duration_ratio, track, track_start, self.geotagging.max_gap)

    def moments(self, footage: Footage, first: float, timing: Timing) -> List[float]:
        """The video's own times after the first frame at which frames are wanted, by interval or by distance."""
        video, length = self.video, footage.duration or 0.0
        if video.video_sample_distance is None:
            return [first + number * video.video_sample_interval
                    for number in range(1, int(length / video.video_sample_interval + EARLY_S) + 1)]
        if timing.track is None:
            raise UsageError(("no_track", footage.path, "--video_sample_distance needs a track, and there is none in "
                              "this video", "", "sample by time, or give a track with --geotag_source"))
        end = timing.track_start + length * timing.ratio
        times = _distance_times(timing.track, timing.track_start, end, video.video_sample_distance)
        if not times:
            raise OutsideTrack(("outside_track", footage.path, "was taken outside of the track", "%s to %s UTC" % (
                format_time(timing.track_start), format_time(end)), "check the clocks, or sample by time"))
        return [first + (when - timing.track_start) / timing.ratio for when in times if when > timing.track_start]


# -- from a video to its frames --

def _take(setup: Setup, footage: Footage, folder: str, given: Optional[float]) -> Tuple[Timing, str]:
    """Take the frames of a video into a folder; returns their timing and what ffmpeg complained of."""
    video, name, ffmpeg = setup.video, os.path.basename(footage.path), setup.ffmpeg
    by_time, interval = video.video_sample_distance is None, video.video_sample_interval
    dense = by_time and not _seeking_pays(footage, interval)
    total = int((footage.duration or 0.0) / interval) + 1

    def heard(text: str) -> None:
        if text.startswith("frame="):
            setup.ui.progress("sampling " + name, int(text[6:]), max(total, int(text[6:])), 0)

    wrong = [ffmpeg.take(footage, folder, _every(interval), None, None, heard) if dense else
             ffmpeg.take(footage, folder, "1", None, 1)]
    if not _taken(folder):
        raise ToolError(("no_pictures", footage.path, "has no picture that can be decoded", wrong[0], "leave it out"))
    first = _taken(folder)[0] / FRAME_UNITS
    timing = setup.timing(footage, first, given)
    if not dense:
        moments = setup.moments(footage, first, timing)
        size = 1 if _seeking_pays(footage, (footage.duration or 0.0) / max(1, len(moments))) else MOMENTS
        tasks = [(ffmpeg, footage, folder, moments[at:at + size]) for at in range(0, len(moments), size)]
        for done, line in enumerate(each(_take_at, tasks, min(len(tasks), PROCESS_IMAGES), 0 if size == 1 else 1), 1):
            setup.ui.progress("sampling " + name, min(done * size, len(moments)), len(moments), 0)
            wrong.append(line)
    return timing, next(filter(None, wrong), "")


def _frame_edits(camera: Camera, when: float, fix: Optional[Fix]) -> Edits:
    """The EXIF of a frame; the direction of travel is no camera direction, so it goes into GPSTrack."""
    names = {_MAKE: camera.make, _MODEL: camera.model}
    first: Dict[int, Any] = {tag: text.encode("utf-8") for tag, text in names.items() if text}
    first[_ORIENTATION] = camera.orientation
    gps: Dict[int, Any] = {}
    if fix is not None:
        gps = {_GPS_VERSION: (2, 3, 0, 0), **position_edits(fix.lat, fix.lon), **gps_time_edits(fix.time)}
        if fix.alt is not None:
            gps.update(altitude_edits(fix.alt))
        if fix.course is not None:
            gps.update({_TRACK: heading_edits(fix.course)[_DIR], _TRACK_REF: b"T"})
    return {"0th": first, "Exif": time_edits(when, 0.0), "GPS": gps}


class SampleRecord:
    """What sampling wrote into a folder whose journal is open (its lock keeps a second run away): sampled.jsonl.

    One line names the frames of a video before they are moved into the folder, a second one says that they are there.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal, self.folder, self.state = journal, journal.folder, journal.state
        self.path = os.path.join(self.state, "sampled.jsonl")
        self._rows: List[Dict[str, Any]] = []
        for name in os.listdir(self.state):
            if name.startswith("sampling-"):
                _clear(os.path.join(self.state, name))
        for line in Path(self.path).read_bytes().splitlines() if os.path.exists(self.path) else ():
            with contextlib.suppress(ValueError):           # a torn line, or the blank before a line
                self._rows.append(json.loads(line))

    def add(self, **row: Any) -> None:
        """Append a line, on disk; it begins with a line end, since the one before may be torn."""
        with open(self.path, "ab", buffering=0) as stream:
            _write_all(stream, ("\n" + json.dumps(row)).encode("ascii"))
            os.fsync(stream.fileno())
        self._rows.append(row)

    def of(self, path: str, digest: str) -> List[Dict[str, Any]]:
        """The lines about a video: the one at this place, or the same one at a place where it no longer is."""
        return [row for row in self._rows if row["path"] == path or row["digest"] == digest and os.path.basename(
            row["path"]) == os.path.basename(path) and not os.path.exists(row["path"])]

    def there(self, rows: List[Dict[str, Any]], settings: str) -> List[str]:
        """The frames of a video that was sampled with these settings, as far as they are still there."""
        if len(rows) < 2 or rows[-1].get("done") != settings:
            return []
        return [name for name in rows[-2]["frames"] if os.path.exists(os.path.join(self.folder, name))]

    def old(self, rows: List[Dict[str, Any]]) -> Tuple[List[str], List[str]]:
        """(frames of earlier samplings of a video as we left them, frames changed by others or uploaded since)."""
        stamps: Dict[str, List[Dict[str, int]]] = {}
        for name, stamp in (pair for row in rows for pair in row.get("frames", {}).items()):
            if os.path.exists(os.path.join(self.folder, name)):
                stamps.setdefault(name, []).append(stamp)
        kept = [key for (_, key), row in self.journal._uploads.items() if row["status"] == "sent"]
        for name, known in stamps.items():
            stamp, record = _stamp(os.stat(os.path.join(self.folder, name))), self.journal.record(name)
            if record and _same_file(record, stamp):        # so process left it, or only looked at it
                stamp = {key: record["found"].get(key) for key in stamp}
            if stamp not in known:
                kept.append(self.journal.key(name))
        ours = [name for name in stamps if self.journal.key(name) not in kept]
        return ours, [name for name in stamps if name not in ours]

    def bring(self, frames: List[Tuple[str, Dict[str, int]]], path: str, digest: str, settings: str) -> List[str]:
        """Move frames into the folder under free names, in place of the old ones of the video; returns those kept."""
        ours, kept = self.old(self.of(path, digest))
        base = os.path.splitext(os.path.basename(path))[0]
        numbered = (re.match(re.escape(base) + r"_(\d{6,})\.jpe?g$", name, re.IGNORECASE)
                    for name in os.listdir(self.folder) if name not in ours)
        number = max((int(match.group(1)) for match in numbered if match), default=0)
        names = ["%s_%06d.jpg" % (base, number + place) for place in range(1, len(frames) + 1)]
        try:
            self.add(path=path, digest=digest, frames={name: stamp for name, (_, stamp) in zip(names, frames)})
            for name in ours:
                os.unlink(os.path.join(self.folder, name))
            for name, (source, _) in zip(names, frames):
                os.replace(source, os.path.join(self.folder, name))
            self.add(path=path, digest=digest, done=settings)
        except OSError as error:
            raise _os_problem(self.folder, error) from error
        return kept


def _digest(path: str) -> str:
    """What a video is known by, whatever its name: its size and both its ends. Raises ToolError when unreadable."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            ends = [stream.read(DIGEST_BYTES) for start in (0, size - DIGEST_BYTES) if stream.seek(max(0, start)) >= 0]
    except OSError as error:
        raise ToolError(("unreadable", path, "cannot be read", error.strerror or "", "check its rights")) from error
    if not size:
        raise ToolError(("empty", path, "is empty (0 bytes)", "", "copy it from the card again"))
    return short_hash(size, *(hashlib.sha1(end).hexdigest() for end in ends))


def sample_one(path: str, record: SampleRecord, setup: Setup, given: Optional[float], report: Report) -> None:
    """Sample one video and account for its frames in the report.

    A frame is taken where the video begins and then, for every k, the first one shown at or after k intervals. Its
    capture time is the start + its time since the first frame x --video_duration_ratio; given (seconds UTC) is the
    start when the user says so. Raises ToolError; then nothing in the folder has changed.
    """
    import tempfile
    name, digest = os.path.basename(path), _digest(path)
    settings = short_hash(digest, setup.settings(), given)
    there = record.there(record.of(path, digest), settings)
    if there:
        report.found += len(there)
        report.skipped.setdefault(SAMPLED_BEFORE, []).extend(os.path.join(record.folder, name) for name in there)
        return
    footage = setup.ffmpeg.probe(path)
    work = tempfile.mkdtemp(prefix="sampling-", dir=record.state)
    try:
        timing, wrong = _take(setup, footage, work, given)
        times = _taken(work)
        seconds = [(when - times[0]) / FRAME_UNITS for when in times]
        fixes = [timing.place(second) for second in seconds]
        frames = []
        for when, second, fix in zip(times, seconds, fixes):
            frame = os.path.join(work, "%d.jpg" % when)
            new = edited(frame, _frame_edits(footage.camera, timing.start + second * timing.ratio, fix))
            parts = itertools.chain([new.head], rest_of(frame, new.start))
            frames.append((frame, _stamp(write_atomically(frame, parts, flush=False))))
        kept = record.bring(frames, path, digest, settings)
    finally:
        _clear(work)
    report.found, report.done = report.found + len(frames), report.done + len(frames)
    setup.notes.say("%s: %d frames, the first at %s UTC, clock: %s" % (name, len(frames), format_time(timing.start),
                                                                       timing.clock))
    if kept:
        setup.notes.say("%s was sampled before; %d of its frames were changed or uploaded since and stay: %s%s" % (
            name, len(kept), ", ".join(kept[:5]), " ..." * (len(kept) > 5)))
    if timing.track is not None and None in fixes:
        setup.notes.say("%s: %d frames lie outside of its track and have no position" % (name, fixes.count(None)))
    if wrong:
        end = min(seconds[-1] + setup.video.video_sample_interval, footage.duration or seconds[-1])
        cut = setup.video.video_sample_distance is None and (footage.duration or 0.0) > end
        problem = Problem("damaged", path, "is damaged; its frames reach to %.1f of %.1f s" % (
            end, footage.duration or end), wrong, "copy it from the card again")
        if cut:
            report.trouble.append(problem)
        else:
            setup.notes.say(str(problem))


def find_videos(path: str) -> List[str]:
    """A video, or all videos in a folder and below, in natural order; raises NotFound."""
    if os.path.isfile(path):
        return [os.path.abspath(path)]
    videos: List[str] = []
    for place, folders, files in os.walk(str(check_folder(os.path.abspath(path), "--video_path"))):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        videos += [os.path.join(place, name) for name in sorted(files, key=natural_key)
                   if _kind(name) in VIDEO_KINDS and not name.startswith(".")]
    if not videos:
        raise NotFound(("no_videos", path, "holds no videos", "", "videos are named .%s" % ", .".join(VIDEO_KINDS)))
    return videos


def sample_videos(source: Input, video: Video, ui: Ui = Ui(), geotagging: Optional[Geotagging] = None,
                  dry: bool = False) -> Report:
    """Sample frames from a video or a folder of videos into a folder.

    In the Report a frame counts as done or, when it was there before, as skipped; a video that fails counts as one.
    """
    notes, report, geotagging = Notes(), Report("sample_video", word="sampled"), geotagging or Geotagging()
    paths = find_videos(typing.cast(str, video.video_path))
    if dry:
        report.notes = ["%d videos would be sampled: %s" % (len(paths), ", ".join(map(os.path.basename, paths[:5])))]
        return report
    setup = Setup(video, geotagging, _track_of(geotagging, notes), Ffmpeg(video.ffmpeg_path), notes, ui)
    start = None if video.video_start_time is None else video.video_start_time / 1000
    if start is not None and start * 1000 < MIXED_UP_MS:
        notes.say("--video_start_time %d means %s: it is in milliseconds" % (start * 1000, format_time(start)))
    with Journal(os.path.abspath(typing.cast(str, source.import_path))) as journal:
        record = SampleRecord(journal)
        for path in paths:
            try:
                sample_one(path, record, setup, start, report)
            except ToolError as error:
                report.found += 1
                report.failed.append(error.problem)
            if start is not None and len(paths) > 1:        # None: the next ones go by their own clocks, and say so
                length = read_movie(path).duration
                start = None if length is None else start + length * video.video_duration_ratio
    report.notes = notes.lines
    return report


# ---- 12. HTTP and upload ------------------------------------------------------------------------
# Here: the one function that opens sockets, when to try again, sending images and sequences, the stand-in service.
# Not here: which images are ready (the journal says), and what is in them.

GRAPH_ROOT = "https://graph.mapillary.com"
UPLOAD_ROOT = "https://rupload.facebook.com/mapillary_public_uploads"
CONNECT_S = 20.0                    # seconds to wait for a connection
ANSWER_S = 30.0                     # seconds to wait for an answer, beside the time that its bytes may take
SLOWEST = 50000.0                   # bytes a second; a slower connection counts as stalled
BACKOFF_S, BACKOFF_MOST_S = 0.5, 16.0   # seconds before the second try, and at most
WAIT_MOST_S = 3600.0                # seconds that a service can make us wait
SEND_BYTES = 65536                  # bytes sent at a time
ANSWER_BYTES = 8 << 20              # bytes of an answer that are read at most
FLUSH_S = 2.0                       # seconds after which the journal of an upload is flushed
ENDS_RUN = ("unreachable", "bad_certificate", "bad_proxy")     # errors that would be the same for every image


@dataclass(frozen=True)
class UploadOptions(Group):
    """upload"""

    manual_done: bool = opt(False, "ask before sequences are finalized")
    stand_in: Optional[str] = opt(None, "upload to a service on this computer that keeps what it receives there; needs "
                                  "no account", metavar="FOLDER")
    retry_failed: Optional[str] = opt(None, "send images again that failed before (default: ask on a terminal, else "
                                      "yes)", choices=("yes", "no", "ask"))
    max_rate: Optional[float] = opt(None, "upload at most so fast (default: no limit)", "KB/S", advanced=True, above=0)


@dataclass(frozen=True)
class Patience(Group):
    """network"""

    offline_limit: float = opt(30.0, "wait so long for a service that cannot be reached", "MINUTES", advanced=True,
                               at_least=0)


class Answer(NamedTuple):
    """What a service answered."""

    status: int
    headers: Dict[str, str]         # names in lower case
    body: bytes
    row: Dict[str, Any]             # the body as JSON; empty when it is no JSON object


class Unreachable(Exception):
    """No connection could be made."""


class Cut(Exception):
    """A connection broke, or nothing came in time, before the answer was there."""


class Stopped(Exception):
    """The run is ending; nothing more is sent."""


class _InTime(io.RawIOBase):
    """A socket as http.client reads an answer from it, all within a time that grows with the bytes; raises OSError."""

    def __init__(self, sock: Any, seconds: float) -> None:
        super().__init__()
        self._sock, self._raw, self._due = sock, sock.makefile("rb", 0), time.monotonic() + seconds

    def makefile(self, mode: str) -> Any:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        left = self._due - time.monotonic()
        if left <= 0:
            raise OSError("no whole answer in time")
        self._sock.settimeout(left)
        count = self._raw.readinto(buffer)
        self._due += (count or 0) / SLOWEST
        return typing.cast(Optional[int], count)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _debug(row: Dict[str, Any]) -> Dict[str, Any]:
    info = row.get("debug_info")
    return info if isinstance(info, dict) else {}


def _asked_wait(headers: Dict[str, str], row: Dict[str, Any]) -> Optional[float]:
    """Seconds that an answer asks to wait: Retry-After (RFC 9110, 10.2.3) or backoff in ms; None = it does not say."""
    text = headers.get("retry-after", "").strip()
    if re.match(r"\d+(\.\d+)?$", text):
        return min(WAIT_MOST_S, float(text))
    if text:
        import email.utils
        with contextlib.suppress(TypeError, ValueError, IndexError, OverflowError):
            until = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
            return float(min(WAIT_MOST_S, max(0.0, until)))
    for wait in (row.get("backoff"), _debug(row).get("backoff")):
        if isinstance(wait, (int, float)) and not isinstance(wait, bool) and wait >= 0:
            return float(min(WAIT_MOST_S, wait / 1000.0))
    return None


def retry_delay(attempt: int, status: Optional[int], headers: Optional[Dict[str, str]] = None,
                row: Optional[Dict[str, Any]] = None) -> Optional[float]:
    """Seconds before try attempt + 1, without jitter; None = it is of no use. status None = the connection broke."""
    backoff = min(BACKOFF_MOST_S, BACKOFF_S * 2 ** min(attempt - 1, 16))
    if status is None:
        return backoff
    debug = _debug(row or {})
    if status == 412 or debug.get("type") == "OffsetInvalidError":
        return 0.0
    if status == 429 or status >= 500 or debug.get("type") == "RequestRateLimitedError":
        wait = _asked_wait({key.lower(): value for key, value in (headers or {}).items()}, row or {})
        return backoff if wait is None else wait
    return backoff if 400 <= status and status not in (401, 403) and debug.get("retriable") is True else None


def _refusal(answer: Answer) -> str:
    """What a service says is wrong, in one line; never what we sent."""
    for place in (_debug(answer.row), answer.row.get("error"), answer.row):
        for key in ("error_user_msg", "message"):       # the first is meant for people
            if isinstance(place, dict) and isinstance(place.get(key), str):
                return "HTTP %d: %s" % (answer.status, " ".join(place[key].split())[:200])
    return "HTTP %d" % answer.status


class Server:
    """A Mapillary service, or one that speaks the same API v4: a kept-alive connection a thread, until stop is set."""

    def __init__(self, graph: str, upload: str, offline_s: float = 1800.0, max_rate: Optional[float] = None,
                 attempts: int = 10, say: Callable[[str], None] = LOG.warning) -> None:
        self.graph, self.upload = graph.rstrip("/"), upload.rstrip("/")
        self.attempts, self.stop, self.say = attempts, threading.Event(), say
        self.bytes_sent, self.answer_bytes = 0, ANSWER_BYTES
        self._offline_s, self._rate = offline_s, None if max_rate is None else max_rate * 1000.0
        self._local, self._guard = threading.local(), threading.Lock()
        self._open: Dict[int, Any] = {}     # connection of each thread
        self._free_at = 0.0             # when the bandwidth limit lets the next byte go
        self._lost_at: Optional[float] = None   # since when the service cannot be reached

    def _connect(self, url: str) -> Tuple[Any, str]:
        """(this thread's connection to the host of a url, what to ask it for): the one place that opens sockets."""
        import http.client
        import urllib.parse
        parts = urllib.parse.urlsplit(url)
        origin, target = (parts.scheme, parts.netloc), url[url.index(parts.netloc) + len(parts.netloc):] or "/"
        if getattr(self._local, "origin", None) != origin:
            self.hang_up()
            host = parts.netloc.rpartition("@")[2]
            place, login = _proxy(parts) or (host, None)
            connection: Any = http.client.HTTPConnection(place, timeout=CONNECT_S)
            if parts.scheme == "https":
                import ssl
                context = ssl.create_default_context()
                connection = http.client.HTTPSConnection(place, timeout=CONNECT_S, context=context)
                if login is not None:
                    connection.set_tunnel(host, headers=login)
            self._local.connection, self._local.origin = connection, origin
            self._open[threading.get_ident()] = connection
            self._local.proxy = login if parts.scheme == "http" else None
        return self._local.connection, url if self._local.proxy is not None else target

    def hang_up(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = self._local.origin = None
        self._open.pop(threading.get_ident(), None)
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """End whatever the threads are waiting for."""
        import socket
        self.stop.set()
        for connection in list(self._open.values()):
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def request(self, method: str, url: str, headers: Dict[str, str], body: Optional[Iterable[bytes]] = None,
                length: int = 0) -> Answer:
        """One try of one request; raises Unreachable, or Cut when the connection was there and broke."""
        import http.client
        import ssl
        connection, target = self._connect(url)
        broken: Any = Unreachable
        try:
            if connection.sock is None:
                connection.timeout = CONNECT_S
                connection.connect()
            broken = Cut
            connection.sock.settimeout(ANSWER_S)
            answer = self._exchange(connection, method, target, headers, body, length)
        except BaseException as error:
            self.hang_up()
            if broken is Unreachable and isinstance(error, ssl.SSLCertVerificationError):
                raise UploadError(("bad_certificate", url.split("?")[0], "its certificate is not trusted", str(
                    error.verify_message), "check the clock and the certificates of this computer")) from error
            if isinstance(error, (OSError, http.client.HTTPException, ValueError, Cut)):
                raise broken(str(error) or type(error).__name__) from error
            raise
        self._lost_at = None
        return answer

    def _exchange(self, connection: Any, method: str, target: str, headers: Dict[str, str],
                  body: Optional[Iterable[bytes]], length: int) -> Answer:
        """Send a request and read its answer; an answer that comes before all is sent is taken as the answer."""
        import http.client
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in dict(headers, **(self._local.proxy or {})).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(length))
        connection.endheaders()
        whole = True
        for piece in body or ():
            self._pace(len(piece))
            try:
                connection.send(piece)
            except ConnectionError:
                whole = False       # the service may have answered already and closed
                break
            with self._guard:
                self.bytes_sent += len(piece)
        seconds = ANSWER_S + length / SLOWEST
        connection.response_class = lambda sock, **more: http.client.HTTPResponse(
            typing.cast(Any, _InTime(sock, seconds)), **more)
        response, secret = connection.getresponse(), headers.get("Authorization", "").rpartition(" ")[2]
        fields = {name.lower(): value for name, value in response.getheaders()}
        size, most = response.length, self.answer_bytes
        text = response.read(most if size is None else min(size, most))
        if len(text) < min(size or 0, most) or not (text or "content-length" in fields or response.chunked):
            raise Cut("the answer broke off")
        if response.will_close or not whole or not response.isclosed():
            self.hang_up()
        if secret:                  # Graph says "Malformed access token <the token>"
            text = text.replace(secret.encode("ascii"), b"...")
        row = parsed(text)
        return Answer(response.status, fields, text, row if isinstance(row, dict) else {})

    def _pace(self, count: int) -> None:
        """Wait until the bandwidth limit lets so many bytes go; raises Stopped when the run ends."""
        if self._rate is not None:
            with self._guard:
                start = max(self._free_at, time.monotonic())
                self._free_at = start + count / self._rate
            self.wait(start - time.monotonic())
        elif self.stop.is_set():
            raise Stopped()

    def wait(self, seconds: float) -> None:
        """Wait, unless the run ends: then raise Stopped."""
        if self.stop.wait(max(0.0, seconds)):
            raise Stopped()

    def _wait_for_service(self, reason: str, tries: int) -> None:
        """Wait while the service cannot be reached; raises UploadError after the offline limit."""
        now = time.monotonic()
        with self._guard:
            first = self._lost_at is None
            since = self._lost_at = now if self._lost_at is None else self._lost_at
        if now - since >= self._offline_s:
            raise UploadError(("unreachable", self.graph, "cannot be reached", reason,
                               "check the network and run the same command again"))
        if first:
            minutes = self._offline_s / 60
            self.say("the service cannot be reached (%s); waiting for it, up to %g minutes" % (reason, minutes))
        self.wait(min(retry_delay(tries, None) or 0.0, max(0.05, since + self._offline_s - now)))

    def _repeated(self, url: str, send: Callable[[], Answer], good: Callable[[Dict[str, Any]], Any],
                  got_further: Callable[[], bool] = lambda: False) -> Answer:
        """The first answer whose JSON is good, after as many tries in a row without progress as there may be."""
        attempt = lost = 0
        while True:
            try:
                answer = send()
                if answer.status < 300 and good(answer.row):
                    return answer
                attempt += 1
                delay, reason = self._verdict(answer, attempt)
            except Unreachable as error:
                lost += 1
                self._wait_for_service(str(error), lost)
                continue
            except Cut as error:
                attempt += 1
                delay, reason = retry_delay(attempt, None), str(error)
            if delay is None or attempt >= self.attempts:
                times = "" if attempt == 1 else " (%d tries)" % attempt
                raise UploadError(("refused", url.split("?")[0], "the service does not take it", reason + times,
                                   "run the same command again later" if delay is not None else "see the reason"))
            if delay > 60.0:
                self.say("the service asks to wait %d s (%s)" % (delay, reason))
            LOG.debug("try %d failed (%s), next in %.1f s", attempt, reason, delay)
            self.wait(delay * (1 + random.random() / 4))
            attempt = 0 if got_further() else attempt

    @staticmethod
    def _verdict(answer: Answer, attempt: int) -> Tuple[Optional[float], str]:
        """(seconds to the next try or None, what was wrong); raises NotAuthorized."""
        if answer.status in (401, 403) or _debug(answer.row).get("type") == "NotAuthorizedError":
            raise NotAuthorized(("not_authorized", "", "the service does not accept the access token", _refusal(answer),
                                 "run authenticate with --force_overwrite, then the same command again"))
        if answer.status < 400:     # a hotel's network
            return retry_delay(attempt, None), "the answer is not that of the service: HTTP %d" % answer.status
        return retry_delay(attempt, answer.status, answer.headers, answer.row), _refusal(answer)

    def ask(self, method: str, url: str, headers: Dict[str, str], row: Optional[Dict[str, Any]] = None,
            good: Callable[[Dict[str, Any]], Any] = bool) -> Answer:
        """A small request, tried again until its JSON is good. Raises NotAuthorized, UploadError, Stopped."""
        if row is None:
            return self._repeated(url, lambda: self.request(method, url, headers), good)
        body, fields = json.dumps(row).encode("utf-8"), dict(headers, **{"Content-Type": "application/json"})
        return self._repeated(url, lambda: self.request(method, url, fields, [body], len(body)), good)

    def put(self, key: str, size: int, parts: Callable[[int], Iterable[bytes]], headers: Dict[str, str],
            ask_first: bool) -> str:
        """Upload an entity of size bytes, parts(n) being those from n on; returns its handle.

        With ask_first, and after anything unclear, the service is asked where to go on, so no byte is accepted twice.
        Raises NotAuthorized, UploadError, Stopped, and what parts raises.
        """
        url = "%s/%s" % (self.upload, key)
        most = offset = self._offset(key, size, headers) if ask_first else 0

        def send() -> Answer:
            fields = {"Offset": str(offset), "X-Entity-Name": key, "Content-Type": "application/octet-stream"}
            return self.request("POST", url, dict(headers, **fields), parts(offset), size - offset)

        def got_further() -> bool:
            nonlocal most, offset
            before, offset = most, self._offset(key, size, headers)
            most = max(before, offset)
            return offset > before

        answer = self._repeated(url, send, lambda row: isinstance(row.get("h"), str), got_further)
        return typing.cast(str, answer.row["h"])

    def _offset(self, key: str, size: int, headers: Dict[str, str]) -> int:
        """How many bytes of an entity the service has; raises UploadError when those are more than there are."""
        offset = self.ask("GET", "%s/%s" % (self.upload, key), headers, good=lambda row: type(row.get("offset")) is int
                          and row["offset"] >= 0).row["offset"]
        if offset > size:
            raise UploadError(("bad_offset", key, "the service has more bytes than the file", "%d of %d" % (
                offset, size), "run the same command again later"))
        return typing.cast(int, offset)


def _proxy(parts: Any) -> Optional[Tuple[str, Dict[str, str]]]:
    """The system's proxy for a split url: (host and port, headers that log in, RFC 7617). Raises UploadError."""
    import base64
    import urllib.parse
    import urllib.request
    address = urllib.request.getproxies().get(parts.scheme)
    if not address or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    address = address if "//" in address else "http://" + address
    if not _is_address(address):
        raise UploadError(("bad_proxy", "", "the proxy for %s is no http address" % parts.scheme,
                           address.rpartition("@")[2], "set %s_PROXY" % parts.scheme.upper()))
    proxy = urllib.parse.urlsplit(address)
    pair = urllib.parse.unquote("%s:%s" % (proxy.username, proxy.password or "")).encode("utf-8")
    login = {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode("ascii")} if proxy.username else {}
    return "%s:%d" % (proxy.hostname, proxy.port or 80), login


def _is_address(text: str) -> bool:
    import urllib.parse
    try:
        parts = urllib.parse.urlsplit(text)
        port, _ = parts.port, (parts.hostname or "").encode("idna")     # these raise ValueError
    except ValueError:
        return False
    return bool(re.match(r"https?://[!-~]+\Z", text) and parts.hostname and port != 0)


def _root(variable: str, default: str) -> str:
    text = os.environ.get(variable) or default
    if not _is_address(text):
        raise UsageError(("bad_environment", "", "%s must be an http or https address" % variable, text))
    return text


def service_name(graph: str) -> str:
    """The name under which the journal keeps what a service has: its host."""
    import urllib.parse
    return urllib.parse.urlsplit(graph).hostname or graph


def graph_root() -> str:
    """Where the API is: MAPILLARY_GRAPH_API_ENDPOINT, else Mapillary's."""
    return _root("MAPILLARY_GRAPH_API_ENDPOINT", GRAPH_ROOT)


def _number_of(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not re.match(r"[0-9]{1,6}\Z", text) or int(text) < 1:
        raise UsageError(("bad_environment", "", "%s must be a whole number of at least 1" % variable, text))
    return int(text)


@dataclass
class Bundle:
    """One sequence on its way."""

    identity: str
    place: Place
    user: Optional[str]
    organization: Optional[str]
    names: List[str] = dataclasses.field(default_factory=list)      # its images, in order
    handles: Dict[str, str] = dataclasses.field(default_factory=dict)
    waiting: int = 0                # images still to be sent in this run
    blocked: bool = False           # an image of it cannot be sent


def left_of(names: Sequence[str], done: Sequence[str]) -> List[str]:
    """The names that are not among those done, in their order."""
    seen = set(done)
    return [name for name in names if name not in seen]


class Ready(NamedTuple):
    """The bytes of one image as they go out."""

    path: str                       # the file that the rest comes from
    head: bytes                     # what goes out instead of the file's first `start` bytes
    start: int
    size: int                       # bytes in all
    md5: str                        # of all of them
    stamp: Tuple[int, int]          # size and time in ns of the file, to notice a change


def _described(found: Dict[str, Any]) -> Dict[str, Any]:
    """The description that a phone app or an earlier tool put into an image; empty when it is none."""
    row = parsed(found.get("caption"))
    return row if isinstance(row, dict) and {"MAPLatitude", "MAPLongitude", "MAPCaptureTime"} <= set(row) else {}


def _digest_of(path: str, head: bytes = b"", start: int = 0) -> Ready:
    """What goes out of a file: head, then the file from start on. Raises OSError."""
    digest, size = hashlib.md5(head), len(head)
    with open(path, "rb") as stream:
        status = os.fstat(stream.fileno())
        stream.seek(start)
        for piece in iter(lambda: stream.read(COPY_BYTES), b""):
            digest.update(piece)
            size += len(piece)
    return Ready(path, head, start, size, digest.hexdigest(), (status.st_size, status.st_mtime_ns))


def ready_image(place: Place, name: str) -> Ready:
    """The bytes of an image with its description, from the copy if there is one. Raises BadExif, UploadError.

    The description is that of the journal; a file that has another one is not touched, the bytes sent are.
    """
    path, record = os.path.join(place.folder, name), place.journal.record(name)
    try:
        if record is None or DESCRIPTION not in record.get("steps", {}):
            return _digest_of(path)
        image = image_from(path, record)
        if not _same_file(record, _stamp(os.stat(path))) and DESCRIPTION not in _as_read(
                Path(path), record, read_found(path), None).steps:
            raise UploadError(("changed", path, "was changed since it was processed", "", "run process again"))
        copy = place.journal.copy_path(name)
        source = copy if image.steps[DESCRIPTION]["data"].get("into") == "copy" and os.path.isfile(copy) else path
        new = edited(source, edits_of(image))
        return _digest_of(source, new.head, new.start)
    except OSError as error:
        raise UploadError(("vanished", path, "cannot be read any more", error.strerror or str(error),
                           "put it back and run the same command again")) from error


def _pieces(ready: Ready, offset: int) -> Iterator[bytes]:
    """The bytes to send from an offset on; raises UploadError when the file changes meanwhile."""
    head = ready.head[offset:]
    for start in range(0, len(head), SEND_BYTES):
        yield head[start:start + SEND_BYTES]
    left = ready.size - max(offset, len(ready.head))
    try:
        with open(ready.path, "rb") as stream:
            stream.seek(ready.start + max(0, offset - len(ready.head)))
            while left > 0:
                piece = stream.read(min(SEND_BYTES, left))
                status = os.fstat(stream.fileno())
                if not piece or (status.st_size, status.st_mtime_ns) != ready.stamp:
                    raise UploadError(("changed", ready.path, "was changed while it was sent", "",
                                       "run the same command again"))
                left -= len(piece)
                yield piece
    except OSError as error:
        raise UploadError(("vanished", ready.path, "cannot be read any more", error.strerror or str(error),
                           "put it back and run the same command again")) from error


def _ends_run(error: ToolError) -> bool:
    return isinstance(error, (NotAuthorized, BadJournal, CannotWrite)) or error.problem.code in ENDS_RUN


class Upload:
    """One run of sending: images in the order of their sequences, worker threads, everything acknowledged journaled."""

    def __init__(self, server: Server, service: str, outcomes: Dict[str, Optional[Outcome]], ui: Ui) -> None:
        self.server, self.service, self.ui = server, service, ui
        self.tokens: Dict[Optional[str], str] = {}          # user -> access token
        self.outcomes = outcomes                            # path -> what came of it; None = sent
        self.failed = self._settled = self._total = 0       # images that could not be sent, are done with, and all
        self.stopped: Optional[ToolError] = None            # why the run ended before its time
        self.trouble: List[Problem] = []                    # sequences that could not be finished
        self.finished = 0                                   # sequences
        self.held: List[Bundle] = []                        # sequences that could be finished now
        self._hold = False                                  # whether they are to be held
        self._crash: Optional[BaseException] = None
        self._guard = threading.Lock()
        self._flushed_at = time.monotonic()
        self._locks: Dict[str, Any] = {}                    # by the keys that were sent, or tried

    def run(self, jobs: Sequence[Tuple[Bundle, str]], bundles: Sequence[Bundle], threads: int, hold: bool) -> None:
        """Send images, given as sequence and name, and finish each sequence after its last, or with hold hold it."""
        self._total, self._hold = len(jobs), hold
        complete = [bundle for bundle in bundles if not bundle.waiting and not bundle.blocked]
        tasks = itertools.chain(((self._send, *job) for job in jobs), ((self._finish, last) for last in complete[::-1]))
        workers = [threading.Thread(target=self._work, args=(tasks,), daemon=True)
                   for _ in range(max(1, min(threads, len(jobs) + len(complete))))]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                while worker.is_alive():
                    worker.join(0.2)        # short, so that Ctrl-C comes through on every system
        except BaseException:
            self.server.abort()
            raise
        finally:
            self.server.stop.set()
            deadline = time.monotonic() + 2.0
            for worker in workers:
                worker.join(max(0.0, deadline - time.monotonic()))
            for place in {id(bundle.place): bundle.place for bundle in bundles}.values():
                place.journal.flush()
        if self._crash is not None:
            raise self._crash

    def finish_held(self) -> None:
        """Finish the sequences that a run with hold left open."""
        self.server.stop.clear()
        bundles, self.held, self._hold = self.held, [], False
        for bundle in bundles:
            self._guarded(self._finish, bundle)
        self.server.hang_up()
        if self._crash is not None:
            raise self._crash

    def _work(self, tasks: Iterator[Tuple[Any, ...]]) -> None:
        try:
            while not self.server.stop.is_set():
                with self._guard:
                    task = next(tasks, None)
                if task is None:
                    return
                self._guarded(*task)
        finally:
            self.server.hang_up()

    def _guarded(self, act: Callable[..., None], *things: Any) -> None:
        """Do one thing; what ends the whole run sets stop, a bug is kept for the main thread."""
        try:
            act(*things)
        except Stopped:
            pass
        except ToolError as error:
            with self._guard:
                if _ends_run(error):
                    self.stopped = self.stopped or error
                    self.server.stop.set()
                else:
                    wrong = "a sequence cannot be finished: " + error.problem.wrong
                    self.trouble.append(error.problem._replace(wrong=wrong))
        except BaseException as error:      # a bug: it must reach the person, and the other workers must end
            self._crash = error
            self.server.stop.set()

    def headers(self, bundle: Bundle) -> Dict[str, str]:
        """What a request for a sequence carries: the token of its user."""
        return {"Authorization": "OAuth " + self.tokens[bundle.user]}

    def _send(self, bundle: Bundle, name: str) -> None:
        """Send one image and journal it; one that cannot be sent is recorded, and its sequence stays open."""
        place, key, record = bundle.place, None, bundle.place.journal.record(name)  # type: Place, Optional[str], Any
        path = os.path.join(place.folder, name)
        try:
            ready = ready_image(place, name)
            key = "mly_tools_%s.jpg" % ready.md5
            before = place.journal.upload(self.service, name)
            begun = before is not None and before["status"] != "sent" and before.get("key") == key
            photo = photo_id(name, record["found"] if record and record.get("steps") else read_found(path))
            row = {"image": name, "service": self.service, "photo": photo, "status": "started", "key": key}
            with self._guard:
                again = key in self._locks      # whether this run has sent the very same bytes, or is at it
                alone = self._locks.setdefault(key, threading.Lock())
            with alone:
                self.server.wait(0.0)
                place.journal.append([{"upload": row}], flush=False)
                handle = self.server.put(key, ready.size, lambda offset: _pieces(ready, offset),
                                         self.headers(bundle), begun or again)
        except ToolError as error:
            if _ends_run(error):
                raise
            problem = error.problem._replace(file=path)
            row = {"image": name, "service": self.service, "status": "failed", "code": problem.code,
                   "wrong": problem.wrong, "value": problem.value, "remedy": problem.remedy}
            if key is not None:
                row["key"] = key        # a part of it may have arrived: the next run asks for the offset
            self._settle(bundle, name, row, problem)
        else:
            self._settle(bundle, name, dict(row, status="sent", handle=handle), None)

    def _settle(self, bundle: Bundle, name: str, row: Dict[str, Any], problem: Optional[Problem]) -> None:
        """Journal what came of an image, and finish its sequence when it was the last and all have arrived."""
        journal, path, now = bundle.place.journal, os.path.join(bundle.place.folder, name), time.monotonic()
        flush = problem is None and now - self._flushed_at > FLUSH_S
        rows, known = [{"upload": row}], journal.sequence(self.service, bundle.identity) or {}
        if problem is None and "cluster" in known and name in known["images"]:      # another photo of this name
            rows.insert(0, {"sequence": dict(known, images=left_of(known["images"], [name]))})
        journal.append(rows, flush)
        with self._guard:
            self._flushed_at = now if flush else self._flushed_at
            if problem is None:
                bundle.handles[name] = row["handle"]
            else:
                bundle.blocked = True
                self.failed += 1
            self.outcomes[path] = Outcome("failed", problem.code, problem) if problem is not None else None
            bundle.waiting -= 1
            self._settled += 1
            self.ui.progress("uploading", self._settled, self._total, self.server.bytes_sent)
            complete = not bundle.waiting and not bundle.blocked
        if complete:
            self._guarded(self._finish, bundle)

    def _finish(self, bundle: Bundle) -> None:
        """Upload a sequence's manifest and have it finished; a repeated finish uses the same handle."""
        if self._hold and not self.server.stop.is_set():
            self.held.append(bundle)
            return
        journal = bundle.place.journal
        row = journal.sequence(self.service, bundle.identity) or {}
        if row and "cluster" not in row:
            self._confirm(bundle, row)      # with the same handle, whatever has changed since
        done = row.get("images", [])
        names = left_of(bundle.names, done)
        if names:
            handles = list(dict.fromkeys(bundle.handles[name] for name in names))
            manifest = json.dumps({"version": "1", "upload_type": "images", "image_handles": handles}).encode("ascii")
            key = "uuid_%s.json" % hashlib.md5(manifest).hexdigest()
            journal.flush()
            handle = self.server.put(key, len(manifest), lambda at: [manifest[at:]], self.headers(bundle), False)
            row = {"id": bundle.identity, "service": self.service, "images": done + names, "key": key, "handle": handle}
            journal.append([{"sequence": row}])
            self._confirm(bundle, row)
        with self._guard:
            self.finished += 1

    def _confirm(self, bundle: Bundle, row: Dict[str, Any]) -> None:
        """Have the service finish the manifest of a sequence's row, and journal that it did."""
        wish = {"file_handle": row["handle"], "file_type": "mly_bundle_manifest"}
        if bundle.organization:
            wish["organization_id"] = bundle.organization
        answer = self.server.ask("POST", self.server.graph + "/finish_upload", self.headers(bundle), wish,
                                 lambda answered: answered.get("cluster_id"))
        bundle.place.journal.append([{"sequence": dict(row, cluster=str(answer.row["cluster_id"]))}])


def stand_in_name(folder: str) -> str:
    """The name under which journals keep what a stand-in's folder has received; "" for a new folder."""
    try:
        with open(os.path.join(folder, STAND_IN_FILE), encoding="ascii") as stream:
            return str(json.load(stream)["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


ENTITY = re.compile(r"(mly_tools_[0-9a-f]{32}\.jpg|uuid_[0-9a-f]{32}\.json)\Z")     # names that a stand-in keeps


def check_stand_in(folder: Optional[str], import_path: Optional[str]) -> None:
    """Raise UsageError when a stand-in would keep what it receives among the images, or over a file."""
    if folder and import_path and os.path.realpath(folder) == os.path.realpath(import_path):
        raise UsageError(("stand_in_here", folder, "is the folder of the images", "", "give --stand_in another folder"))
    if folder and os.path.exists(folder) and not os.path.isdir(folder):
        raise UsageError(("not_a_folder", folder, "is a file, not a folder", "", "give --stand_in a folder"))


class StandIn:
    """A service on loopback that speaks the upload part of the API v4 and keeps in a folder what it receives.

    It checks offsets, the md5 of keys, that every image has a description that parses, and that a manifest names
    only images it has. with StandIn(folder) as service: service.root is its address, service.name its own name.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.root = self.name = ""
        self._server: Any = None

    def __enter__(self) -> "StandIn":
        import http.server
        try:
            os.makedirs(os.path.join(self.folder, "sequences"), exist_ok=True)
        except OSError as error:
            raise _os_problem(self.folder, error) from error
        self.name = stand_in_name(self.folder)
        if not self.name:
            self.name = "stand-in-%016x" % random.SystemRandom().getrandbits(64)
            self._keep(STAND_IN_FILE, {"name": self.name})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _stand_in_handler(self))
        self._server.block_on_close = False
        self.root = "http://127.0.0.1:%d" % self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _keep(self, name: str, row: Dict[str, Any]) -> None:
        write_atomically(os.path.join(self.folder, name), [canonical(row).encode("ascii")])

    def path_of(self, key: str) -> str:
        """Where an entity is kept; raises ValueError for a key that is none of ours."""
        if not ENTITY.match(key):
            raise ValueError("no such entity")
        return os.path.join(self.folder, key)

    def offset(self, key: str) -> int:
        """How many bytes of an entity are there."""
        paths = (self.path_of(key), self.path_of(key) + PART_SUFFIX)
        return next((os.path.getsize(path) for path in paths if os.path.isfile(path)), 0)

    def receive(self, key: str, offset: int, stream: Any, length: int) -> Tuple[int, Dict[str, Any]]:
        """Take the bytes of an entity from an offset on; gives status and answer."""
        if offset != self.offset(key) or length and os.path.isfile(self.path_of(key)):
            return 412, _fault("OffsetInvalidError", "Request starting offset is invalid", True)
        whole, part = self.path_of(key), self.path_of(key) + PART_SUFFIX
        if not os.path.isfile(whole):
            with open(part, "ab") as target:
                while length > 0:
                    piece = stream.read(min(length, SEND_BYTES))
                    if not piece:
                        return 400, _fault("ConnectionLost", "fewer bytes than announced", True)
                    target.write(piece)
                    length -= len(piece)
            wrong = self._wrong_with(key, part)
            if wrong:
                os.unlink(part)
                return 400, _fault("ProcessingFailedError", wrong, False)
            os.replace(part, whole)
        return 200, {"h": "handle-" + key.rpartition(".")[0]}

    def _wrong_with(self, key: str, path: str) -> Optional[str]:
        """What is wrong with a received entity; None when it is good."""
        if _digest_of(path).md5 not in key:
            return "the md5 of the bytes is not that of the key"
        if key.endswith(".jpg"):
            try:
                return None if _described(read_found(path)) else "the image has no description"
            except ToolError as error:
                return error.problem.wrong
        names = self._images_of(path)
        if not names:
            return "it is no manifest"
        good = all(ENTITY.match(name) and os.path.isfile(os.path.join(self.folder, name)) for name in names)
        return None if good else "the manifest names images that are not here"

    @staticmethod
    def _images_of(path: str) -> List[str]:
        with open(path, "rb") as stream:
            row = parsed(stream.read())
        handles = row.get("image_handles") if isinstance(row, dict) else None
        return [str(handle)[len("handle-"):] + ".jpg" for handle in handles] if isinstance(handles, list) else []

    def finish(self, row: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
        """Finish a sequence by the handle of its manifest; gives status and answer."""
        name = str(row.get("file_handle") if isinstance(row, dict) else "")[len("handle-"):]
        manifest = os.path.join(self.folder, name + ".json")
        if not re.match(r"uuid_[0-9a-f]{32}\Z", name) or not os.path.isfile(manifest):
            return 400, _fault("HandleNotFound", "there is no such manifest", False)
        cluster = str(int(name[5:20], 16))
        self._keep(os.path.join("sequences", cluster + ".json"), {
            "cluster_id": cluster, "organization_id": row.get("organization_id"), "images": self._images_of(manifest)})
        return 200, {"cluster_id": cluster}


def _fault(kind: str, message: str, retriable: bool) -> Dict[str, Any]:
    return {"debug_info": {"type": kind, "message": message, "retriable": retriable}}


def _stand_in_handler(service: StandIn) -> Any:
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            LOG.debug("stand-in: " + format, *args)

        def do_POST(self) -> None:
            """The bytes of an entity, or the end of a sequence; by GET an entity's offset, or who somebody is."""
            key, length = self.path.split("?")[0].strip("/"), int(self.headers.get("Content-Length") or 0)
            status, row = 200, dict.fromkeys(("id", "slug", "name", "username"), key)  # type: int, Dict[str, Any]
            try:
                if self.command == "GET" and ENTITY.match(key):
                    row = {"offset": service.offset(key)}
                elif self.command == "POST" and key == "finish_upload":
                    status, row = service.finish(parsed(self.rfile.read(length)) or {})
                elif self.command == "POST":
                    status, row = service.receive(key, int(self.headers.get("Offset") or -1), self.rfile, length)
            except ValueError as error:
                status, row = 400, _fault("BadRequest", str(error), False)
            except ConnectionError:
                self.close_connection = True
                return
            except OSError as error:
                status, row = 400, _fault("StandInCannotWrite", str(_os_problem(service.folder, error)), False)
            self.close_connection = self.close_connection or status != 200
            body = json.dumps(row).encode("ascii")
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

    return Handler


def _agreed(ui: Ui, question: str) -> bool:
    return ui.ask is not None and ui.ask(question, False).strip().lower().startswith("y")


class _Plan:
    """What an upload has to do: images, sequences, and the outcome of every image that is not sent."""

    def __init__(self, service: str, top: str) -> None:
        self.service, self.top = service, top
        self.bundles: Dict[Tuple[str, str], Bundle] = {}
        self.outcomes: Dict[str, Optional[Outcome]] = {}    # path -> why it is not sent in this run; None = sent
        self.before: Dict[str, Problem] = {}                # path -> why it could not be sent in an earlier run
        self._times: Dict[str, float] = {}                  # name -> capture time, to order each sequence by

    def add_place(self, place: Place, names: Sequence[str]) -> None:
        """Sort the images of a folder into sequences, or note why they are not sent."""
        was_uploaded = old_uploads(place.folder, self.top)
        for name, record in zip(names, place.journal.records(names)):
            path = os.path.join(place.folder, name)
            if not is_jpeg_name(name) or was_uploaded(name):
                outcome: Optional[Outcome] = Outcome("skipped", SKIP_UPLOADED if is_jpeg_name(name) else SKIP_KIND)
            else:
                take = self._take if record is not None and record.get("steps") else self._take_described
                outcome = take(place, name, path, record)
            if outcome is not None:
                self.outcomes[path] = outcome
        for bundle in self.bundles.values():
            if bundle.place is place:       # names come in natural order, and sort keeps it among equals
                bundle.names.sort(key=lambda name: self._times.get(name, 0.0))
        self._times.clear()

    def _take(self, place: Place, name: str, path: str, record: Any) -> Optional[Outcome]:
        """Put an image into its sequence; gives the outcome of one that is not to be sent."""
        steps = record["steps"]
        if any(entry["status"] != "success" for entry in steps.values()):
            return image_from(path, record).outcome
        if not {DESCRIPTION, SEQUENCE, GEOTAG} <= set(steps):
            return _not_processed(path)
        user = steps.get(USER, {}).get("data", {})
        user_name = steps.get(PARAMS, {}).get("data", {}).get("user_name") or user.get("user_name")
        bundle = Bundle(steps[SEQUENCE]["data"]["sequence"], place, user_name, user.get("organization_key"))
        self._times[name] = steps[GEOTAG]["data"]["time"]
        found = record["found"]
        with contextlib.suppress(OSError, ToolError):       # what is wrong with it is said when it is to be sent
            if not _same_file(record, _stamp(os.stat(path))):
                found = _as_read(Path(path), record, read_found(path), None).found or found
        return self._sort_in(bundle, name, path, found)

    def _take_described(self, place: Place, name: str, path: str, record: Any) -> Optional[Outcome]:
        """The same for an image that only its own description tells of."""
        if record is not None and "error" in record["found"]:
            return image_from(path, record).outcome
        try:
            found = read_found(path)
        except ToolError as error:
            return Outcome("failed", error.problem.code, error.problem)
        row = _described(found)
        if not row:
            return _not_processed(path)
        identity = row.get("MAPSequenceUUID") or uuid_of(os.path.basename(place.folder).encode("utf-8", "replace"))
        user, organization = (row.get(key) if isinstance(row.get(key), str) else None
                              for key in ("MAPSettingsUsername", "MAPOrganizationKey"))
        return self._sort_in(Bundle(str(identity), place, user, organization), name, path, found)

    def _sort_in(self, bundle: Bundle, name: str, path: str, found: Dict[str, Any]) -> Optional[Outcome]:
        """Add an image to its sequence, new or known, with its handle when it has arrived before."""
        bundle = self.bundles.setdefault((bundle.place.folder, bundle.identity), bundle)
        bundle.names.append(name)
        upload = bundle.place.journal.upload(self.service, name)
        if upload is None or upload.get("photo") not in (None, photo_id(name, found)):
            return None             # nothing yet, or another photo that had the same name
        if upload["status"] == "sent":
            bundle.handles[name] = upload["handle"]
            return Outcome("skipped", SKIP_UPLOADED)
        if upload["status"] == "failed":
            self.before[path] = Problem(upload["code"], path, upload["wrong"], upload.get("value", ""),
                                        upload.get("remedy", ""))
        return None

    def jobs(self, again: bool) -> List[Tuple[Bundle, str]]:
        """The images to send, a sequence after the other; without again, not those that failed before."""
        out: List[Tuple[Bundle, str]] = []
        for bundle in self.bundles.values():
            for name in left_of(bundle.names, list(bundle.handles)):
                path = os.path.join(bundle.place.folder, name)
                if path in self.before and not again:
                    self.outcomes[path] = Outcome("failed", self.before[path].code, self.before[path])
                    bundle.blocked = True
                else:
                    bundle.waiting += 1
                    out.append((bundle, name))
        return out

    def open_bundles(self) -> List[Bundle]:
        """The sequences that the service has not finished yet."""
        rows = ((bundle, bundle.place.journal.sequence(self.service, bundle.identity) or {})
                for bundle in self.bundles.values())
        return [bundle for bundle, row in rows
                if bundle.waiting or "cluster" not in row or left_of(bundle.names, row["images"])]


def _not_processed(path: str) -> Outcome:
    problem = Problem("not_processed", path, "has not been processed", "", "run process first")
    return Outcome("failed", problem.code, problem)


def _token(user: Optional[str], sections: Dict[str, Dict[str, str]]) -> str:
    """The access token of a user: MAPILLARY_ACCESS_TOKEN, else from the configuration; raises NotAuthorized."""
    whose, rows = user or "these images", sections.values() if user is None else [sections.get(user, {})]
    stored = [row["user_upload_token"] for row in rows if row.get("user_upload_token")]
    token = (os.environ.get("MAPILLARY_ACCESS_TOKEN") or (stored[0] if len(stored) == 1 else "")).strip()
    if not token:
        raise NotAuthorized(("no_token", "", "there is no access token for %s" % whose, "", "run authenticate "
                             "--user_name %s first, or try it with --stand_in FOLDER" % (user or "NAME")))
    if not re.match(r"[!-~]+\Z", token):
        raise NotAuthorized(("bad_token", "", "the access token for %s has characters that no token has" % whose, "",
                             "paste it again: authenticate --force_overwrite"))
    return token


def send_images(source: Input, selection: Selection, options: UploadOptions, patience: Patience, dry: Dry, ui: Ui,
                tool: str) -> Report:
    """Send every processed image below a folder that the service does not have, and finish its sequences.

    Raises what stops the run before any image; what stops it later is in the Report.
    """
    top, notes = typing.cast(str, source.import_path), Notes()
    check_stand_in(options.stand_in, top)
    paths = find_images(top, selection.skip_subfolders)
    with contextlib.ExitStack() as stack:
        graph, upload_root = graph_root(), _root("MAPILLARY_UPLOAD_ENDPOINT", UPLOAD_ROOT)
        service = stand_in_name(options.stand_in) if options.stand_in else service_name(graph)
        if options.stand_in and not dry.dry_run:
            stand_in = stack.enter_context(StandIn(options.stand_in))
            graph, upload_root, service = stand_in.root, stand_in.root, stand_in.name
        places, problems = open_places(paths, not dry.dry_run, stack)
        plan = _Plan(service, top)
        for folder, group in _grouped(paths).items():
            if folder in places:
                plan.add_place(places[folder], [path.name for path in group])
            else:
                plan.outcomes.update((str(path), Outcome("failed", problems[folder].code, problems[folder]._replace(
                    file=str(path)))) for path in group)
        server = Server(graph, upload_root, patience.offline_limit * 60, options.max_rate,
                        _number_of("MAX_ATTEMPTS", 10), notes.say)
        upload = Upload(server, service, plan.outcomes, ui)
        if dry.dry_run:
            for bundle, name in plan.jobs(options.retry_failed != "no"):
                plan.outcomes[os.path.join(bundle.place.folder, name)] = None
        else:
            _send_plan(plan, upload, options, ui)
    return _upload_report(tool, paths, plan, upload, options, dry, notes)


def _send_plan(plan: _Plan, upload: Upload, options: UploadOptions, ui: Ui) -> None:
    import urllib.parse
    again = not plan.before or options.retry_failed == "yes" or options.retry_failed != "no" and (
        ui.ask is None or _agreed(ui, "%d images could not be sent before. Send them again? (y/n; --retry_failed "
                                  "answers this)" % len(plan.before)))
    jobs, bundles, server = plan.jobs(again), plan.open_bundles(), upload.server
    if not jobs and all(bundle.blocked for bundle in bundles):
        return
    sections = read_config()
    for bundle in bundles:
        if bundle.user not in upload.tokens:
            upload.tokens[bundle.user] = "stand-in" if options.stand_in else _token(bundle.user, sections)
    for organization, bundle in {bundle.organization: bundle for bundle in bundles if bundle.organization}.items():
        name = urllib.parse.quote(str(organization), safe="")       # does it exist, may we see it
        server.ask("GET", "%s/%s?fields=slug,description,name" % (server.graph, name), upload.headers(bundle))
    server.hang_up()
    upload.run(jobs, bundles, _number_of("NUMBER_THREADS", 4), options.manual_done)
    question = "%d sequences are complete. Finalize them now? (y/n)" % len(upload.held)
    if upload.held and upload.stopped is None and _agreed(ui, question):
        upload.finish_held()


def _upload_report(tool: str, paths: Sequence[Path], plan: _Plan, upload: Upload, options: UploadOptions, dry: Dry,
                   notes: Notes) -> Report:
    """Account for every image of an upload, and say what is left to do."""
    report = Report(tool, word="would be uploaded" if dry.dry_run else "uploaded", stopped=upload.stopped,
                    trouble=upload.trouble)
    for path in paths:
        report.count(Image(path, outcome=plan.outcomes.get(str(path), Outcome("skipped", SKIP_LEFT))))
    held, left = len(upload.held), len(report.skipped.get(SKIP_LEFT, [])) + upload.failed
    size = upload.server.bytes_sent
    report.facts = {"sequences_finished": upload.finished, "sequences_waiting": held, "bytes_sent": size}
    report.notes = notes.lines
    if dry.dry_run:
        return report
    if held:
        notes.say("%d sequences are complete but not finalized: run upload without --manual_done to finalize them" % (
            held))
    unfinished = len(plan.open_bundles()) - held
    if left:
        notes.say("run the same command again: %d images left" % left)
    elif unfinished:
        notes.say("run the same command again: all images are sent, %d sequences are to be finished" % unfinished)
    arrived = report.done + len(report.skipped.get(SKIP_UPLOADED, []))
    if options.stand_in:
        notes.say("%d images are at the stand-in service in %s; nothing went to Mapillary" % (
            arrived, options.stand_in))
    elif arrived and report.exit_code == 0 and not (left or unfinished or held):
        notes.say("all %d images that can be uploaded are acknowledged by the service: they may leave the card%s" % (
            arrived, "; skipped ones are only here" if arrived < report.found else ""))
    return report


@dataclass(frozen=True)
class Login(Group):
    """account"""

    user_name: Optional[str] = opt(None, "Mapillary user name", metavar="NAME")
    user_email: Optional[str] = opt(None, "e-mail address of the account", metavar="TEXT")
    user_password: Optional[str] = opt(None, "password of the account; others on this computer can see it here, so "
                                       "better leave it out and be asked", metavar="TEXT")
    user_access_token: Optional[str] = opt(None, "access token, instead of e-mail and password", metavar="TEXT")
    config_file: Optional[str] = opt(None, "where to store it (default: ~/.config/mapillary/config)", metavar="FILE")
    force_overwrite: bool = opt(False, "replace stored credentials of the same user name without asking")


def _answer(ui: Ui, value: Optional[str], question: str, option: str, secret: bool = False) -> str:
    """A value that was given, or asked for; raises UsageError that names the option when there is nobody to ask."""
    if not value and ui.ask is not None:
        value = ui.ask(question, secret)
        value = value if secret else value.strip()
    if not value:
        raise UsageError(("missing_option", "", "%s is missing" % option, "", "give %s" % option))
    return value


def _clean(token: str, what: str) -> str:
    """A token without the blanks around it that came with pasting; raises NotAuthorized when it cannot be one."""
    if not re.match(r"[!-~]+\Z", token.strip()):
        raise NotAuthorized(("bad_token", "", "the %s has characters that no token has" % what, "", "paste it again"))
    return token.strip()


def log_in(login: Login, ui: Ui) -> Report:
    """Store the credentials of a user: by access token, else by e-mail and password. Raises NotAuthorized."""
    name = _answer(ui, login.user_name, "Mapillary user name", "--user_name")
    if name in ("organizations", "MAPAdmin", "DEFAULT") or re.search(r"[\]\r\n]|^\s*$", name):
        raise UsageError(("bad_user_name", "", "this cannot be a user name", name))
    sections = read_config(login.config_file)
    row = dict(sections.get(name, {}))
    if row.get("user_upload_token") and not login.force_overwrite and not _agreed(
            ui, "Credentials for %s are stored. Replace them? (y/n)" % name):
        raise UsageError(("stored_already", "", "credentials are stored already for", name,
                          "add --force_overwrite to replace them"))
    server = Server(graph_root(), UPLOAD_ROOT, 0.0, None, 3)
    token = login.user_access_token or (None if login.user_email else os.environ.get("MAPILLARY_ACCESS_TOKEN"))
    if not token:
        token, row["MAPILLARY_CLIENT_TOKEN"] = _token_by_password(server, login, sections, ui)
    token = _clean(token, "access token")
    me = server.ask("GET", server.graph + "/me?fields=id,username", {"Authorization": "OAuth " + token}).row
    server.hang_up()
    row.update(MAPSettingsUsername=str(me.get("username", name)), MAPSettingsUserKey=str(me.get("id", "")),
               user_upload_token=token)
    sections[name] = row
    write_config(sections, login.config_file)
    notes = Notes()
    notes.say("stored credentials for %s in %s" % (name, config_path(login.config_file)))
    return Report("authenticate", 1, 1, "account stored", facts={"user_name": name, "user_key": me.get("id")},
                  notes=notes.lines)


def _token_by_password(server: Server, login: Login, sections: Dict[str, Dict[str, str]], ui: Ui) -> Tuple[str, str]:
    """(access token, client token) by e-mail and password; raises NotAuthorized with what the service says."""
    email = _answer(ui, login.user_email, "E-mail address", "--user_email or --user_access_token")
    password = _answer(ui, login.user_password, "Password", "--user_password", True)
    stored = (row["MAPILLARY_CLIENT_TOKEN"] for row in sections.values() if row.get("MAPILLARY_CLIENT_TOKEN"))
    client = _answer(ui, os.environ.get("MAPILLARY_CLIENT_TOKEN") or next(stored, None),
                     "Client token (MLY|..., from the developer page of your Mapillary account)",
                     "MAPILLARY_CLIENT_TOKEN in the environment")
    client = _clean(client, "client token")
    try:
        row = server.ask("POST", server.graph + "/login", {"Authorization": "OAuth " + client}, {
            "email": email, "password": password, "locale": "en_US"}).row
    except UploadError as error:
        error.problem = error.problem._replace(value=error.problem.value.replace(password, "..."))
        wrong, remedy = "the login failed", error.problem.remedy
        if isinstance(error, NotAuthorized):
            wrong, remedy = "the service does not accept the login", "check e-mail, password and client token"
        raise NotAuthorized(error.problem._replace(wrong=wrong, remedy=remedy)) from None
    return str(row.get("access_token", "")), client


# ---- 13. Download and report --------------------------------------------------------------------
# Here: what the journals say, as figures and as a page with a map; images fetched through the image search.
# Not here: opening sockets, opening images, changing anything but the files that are asked for.

SKIP_WAITING, SKIP_UNPROCESSED, SKIP_HERE = "waiting", "not processed", "already downloaded"


@dataclass(frozen=True)
class StatusOptions(Group):
    """status"""

    list_images: Optional[str] = opt(None, "name the images in this state, with the reason", flag="list",
                                     choices=("failed", SKIP_WAITING, SKIP_DUPLICATE))


def _standings(top: str, service: str, trouble: List[Problem]) -> Iterator[Tuple[Journal, Iterator[Image]]]:
    """Each folder with images or a journal, and all its images; raises NotFound, adds folders not listed to trouble."""
    check_folder(top, "--import_path")
    empty = True
    for folder, folders, files in os.walk(top, onerror=lambda error: trouble.append(Problem(
            "unreadable", str(error.filename), "cannot be searched", error.strerror or "", "check its rights"))):
        folders[:] = sorted((name for name in folders if name != STATE_FOLDER), key=natural_key)
        journal, problem = Journal(folder, write=False), None
        try:
            journal.__enter__()
        except BadJournal as error:
            problem = error.problem
        known = {key: key for key in journal.names() + [key for place, key in journal._uploads if place == service]}
        known.update((Journal.key(name), name) for name in files if _kind(name) in IMAGE_KINDS and not _ours(name))
        if known:
            empty, names, earlier = False, sorted(known.values(), key=natural_key), old_uploads(folder, top)
            yield journal, (_standing(journal, service, name, record, problem, earlier(name))
                            for name, record in zip(names, journal.records(names)))
    if empty:
        raise NotFound(("no_images", top, "holds no images and no journal", "", "check --import_path"))


def _standing(journal: Journal, service: str, name: str, record: Optional[Dict[str, Any]], problem: Optional[Problem],
              earlier: bool) -> Image:
    """An image by how far it has come (outcome None = uploaded); problem is its journal's, earlier: by an old tool."""
    path, upload = os.path.join(journal.folder, name), journal.upload(service, name)
    image = image_from(path, record) if record else Image(Path(path))
    outcome: Optional[Outcome] = image.outcome or Outcome("skipped", SKIP_UNPROCESSED)
    if upload and upload["status"] == "failed" and (
            not image.found or upload.get("photo") in (None, photo_id(name, image.found))):
        problem = problem or Problem(upload["code"], "", upload["wrong"], upload.get("value", ""),
                                     upload.get("remedy", ""))
    if not is_jpeg_name(name):
        outcome = Outcome("skipped", SKIP_KIND)
    elif earlier or is_uploaded(journal, service, name, image.found):
        outcome = None
    elif problem is not None and (image.outcome is None or image.outcome.status != "failed"):
        outcome = Outcome("failed", problem.code, problem._replace(file=str(image.path)))
    elif image.outcome is None and DESCRIPTION in image.steps:
        outcome = Outcome("skipped", SKIP_WAITING, Problem(
            SKIP_WAITING, "", "upload broken off" if upload else "processed, not sent yet"))
    return image.but(outcome=outcome)


def _word(outcome: Optional[Outcome]) -> Tuple[str, str]:
    """How far an image has come ("uploaded", "failed" or why it is skipped), and the reason."""
    if outcome is None:
        return "uploaded", ""
    word = "failed" if outcome.status == "failed" else outcome.reason
    if outcome.partner is None:
        return word, str(outcome.problem._replace(file="")) if outcome.problem else ""
    turned = "" if outcome.turn is None else ", turned by %.1f degrees" % outcome.turn
    return word, "repeats %s, %.2f m away%s" % (outcome.partner, outcome.distance or 0.0, turned)


def _add_image(rows: Dict[str, Dict[str, Any]], journal: Journal, service: str, image: Image) -> None:
    """Count an image in its sequence: how many there are and have arrived, whether the service has finished it."""
    if image.sequence:
        sent = journal.sequence(service, image.sequence) or {}
        row = rows.setdefault(image.sequence, {"id": image.sequence, "images": 0, "uploaded": 0})
        row.update(images=row["images"] + 1, uploaded=row["uploaded"] + (image.outcome is None))
        row["finished"] = "cluster" in sent and row["images"] <= len(sent.get("images") or ())


def journal_status(top: str, options: StatusOptions, service: str) -> Report:
    """What is uploaded to a service, waiting, duplicate, failed and not processed, by folder and sequence."""
    from collections import Counter
    report, listed, folders = Report("status", word="uploaded"), [], []
    elsewhere: typing.Counter[str] = Counter()      # other service -> images that it has
    sequence = "  sequence %(id)s: %(images)d images, %(uploaded)d uploaded, "
    for journal, images in _standings(top, service, report.trouble):
        counts: typing.Counter[str] = Counter()
        rows: Dict[str, Dict[str, Any]] = {}
        for image in images:
            word, reason = _word(image.outcome)
            report.count(image)
            _add_image(rows, journal, service, image)
            counts[word] += 1
            if word == options.list_images:
                listed.append({"file": str(image.path), "reason": reason})
        sent = [place for (place, _), row in journal._uploads.items() if row["status"] == "sent"]
        elsewhere.update(place for place in sent if place != service)
        name = os.path.relpath(journal.folder, top)
        folders.append({"folder": name, "counts": counts, "sequences": list(rows.values())})
        report.lines.append("%s: %d images = %s" % (name, sum(counts.values()), " + ".join(
            "%d %s" % (count, word) for word, count in sorted(counts.items()))))
        report.lines += [sequence % row + ("finished" if row["finished"] else "not finished") for row in rows.values()]
    reasons = Counter("%s: %s" % (problem.code, problem.wrong) for problem in report.failed)
    report.facts.update(service=service, reasons=reasons, elsewhere=elsewhere, folders=folders, listed=listed)
    report.lines[:0] = ["%d failed: %s" % (reasons[reason], reason) for reason in sorted(reasons)] + [
        "%d uploaded to %s, which is not %s" % (elsewhere[one], one, service) for one in sorted(elsewhere)]
    if options.list_images != "failed":     # those the summary names anyway
        report.lines += ["%(file)s: %(reason)s" % row for row in listed]
    return report


# -- the page --

@dataclass(frozen=True)
class PageOptions(Group):
    """page"""

    output_path: str = opt("report.html", "file to write", metavar="FILE")


_PAGE = r"""<!DOCTYPE html>
<!-- mapillary_tools report -->
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src
 'unsafe-inline'"><title>@TITLE@</title><style>
:root{color-scheme:light dark}body{max-width:1200px;margin:auto;padding:16px;font:15px/1.45 system-ui,sans-serif}
h1{font-size:22px;margin:4px 0}h2{font-size:17px;margin:24px 0 8px}p,small,th{color:GrayText;font-size:13px}
section,#tip,button{background:Canvas;color:CanvasText;border:1px solid #8886;border-radius:9px}
#map{position:relative;height:62vh;min-height:320px;overflow:hidden}#zoom{position:absolute;top:10px;right:10px}
#map svg{width:100%;height:100%;display:block;touch-action:none;cursor:grab;fill:none;stroke-linecap:round}
button{display:block;width:36px;height:34px;margin-bottom:4px}text{fill:GrayText;font-size:12px}
#tip{position:absolute;pointer-events:none;max-width:290px;width:max-content;padding:7px 10px;font-size:13px;
 white-space:pre-line;overflow-wrap:anywhere}ul{list-style:none;margin:0;padding:8px 14px;overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}tbody tr{cursor:pointer}tbody tr:hover{background:#8882}
th,td{padding:7px 10px;text-align:left;white-space:nowrap;border-bottom:1px solid #8884}small{display:block}
td svg{display:block;width:200px;height:44px}td:last-child{white-space:normal;min-width:170px;font-size:13px}
</style></head><body><h1>@TITLE@</h1><p id="words"></p>
<section id="map"><svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Map of the sequences"></svg>
<div id="zoom"><button>+</button><button>&minus;</button><button>All</button></div><div id="tip"></div></section>
<p>&#9679;&ndash; image and camera direction &ensp; &#9675; duplicate &ensp; &#10005; failed &ensp; &#9633; in no
 sequence &ensp; &#9671; cut. Point at a dot for its photo; click a sequence to go there. North is up.</p>
<h2>Sequences</h2><section class="wide"><table><thead><tr><th>Sequence<th>Images<th>Start (UTC)<th>Length<th>Duration
<th>Mean speed<th>Speed along the way<th>Uploaded<th>Cut because<tbody></table></section><div id="lost"></div>
<noscript>The map needs JavaScript; nothing is loaded from anywhere.</noscript>
<script type="application/json" id="data">@DATA@</script><script>
"use strict";
const one=s=>document.querySelector(s),D=JSON.parse(one("#data").textContent),svg=one("#map svg"),tip=one("#tip");
const el=(tag,...inside)=>{const e=document.createElement(tag);e.append(...inside);return e};
const hue=n=>`hsl(${[212,28,152,280,338,88,186,48][n%8]} 70% 44%)`,length=m=>(m/1e3).toFixed(m<1e4?2:1)+" km";
const when=t=>new Date(Math.round(t*1e3)).toISOString().replace("T"," ").replace("Z"," UTC");
const path=(d,stroke,width=2,more="")=>`<path d="${d}" stroke="${stroke}" stroke-width="${width}" ${more}/>`;
one("#words").textContent=D.words;
// every dot p = [name, latitude, longitude, seconds, heading, ...] at x metres east and y metres south of the middle
const dots=[],cuts=[],spots=[...D.sequences.flatMap(s=>s.points),...D.others];
const range=(list,of)=>list.reduce(([a,b],o)=>[Math.min(a,of(o)),Math.max(b,of(o))],[1/0,-1/0]);
const middle=n=>range(spots,p=>p[n]).reduce((a,b)=>a+b)/2||0,lat0=middle(1),lon0=middle(2),M=111320;
const K=Math.max(.01,Math.cos(lat0*Math.PI/180)),put=(p,more)=>({p,x:(p[2]-lon0)*K*M,y:(lat0-p[1])*M,...more});
const words=(p,t)=>p[0]+"\n"+(t===null?"time unknown":when(t))+"\n"+p[1].toFixed(6)+", "+
 (((p[2]+540)%360+360)%360-180).toFixed(6)+(p[4]===null?"":"\nheading "+p[4]+"°");
for(const s of D.sequences){
 s.dots=s.points.map(p=>put(p,{tip:()=>words(p,s.start+p[3])+(p[5]===null?"":" · "+p[5]+" km/h")+"\nsequence "+
  s.id.slice(0,8)+" in "+s.folder}));dots.push(...s.dots);
 if(s.before){const a=s.dots[0],b=put(s.before[0]);cuts.push({a,b,x:(a.x+b.x)/2,y:(a.y+b.y)/2,kind:"cut",
  tip:()=>"Cut before "+a.p[0]+"\n"+s.cut})}}
D.others.forEach(p=>dots.push(put(p,{kind:p[5],tip:()=>words(p,p[3])+"\n"+p[5]+": "+p[6]})));
// the map is drawn anew for each view, in pixels: dots keep their size, and far places their precision
const marks={duplicate:["GrayText","m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0"],failed:["#e5383b","m-4-4l8 8m0-8l-8 8"],
 cut:["#d9730d","m0-6l6 6l-6 6l-6-6z"]},loose=["GrayText","m-3-3h6v6h-6z"];
let W=0,H=0,view={x:0,y:0,s:1},chosen=null,due=0;
const X=o=>Math.round(((o.x-view.x)*view.s+W/2)*10)/10,Y=o=>Math.round(((o.y-view.y)*view.s+H/2)*10)/10;
const seen=o=>X(o)>-20&&Y(o)>-20&&X(o)<W+20&&Y(o)<H+20;
function draw(){due=0;const gaps=cuts.map(c=>`M${X(c.b)} ${Y(c.b)}L${X(c.a)} ${Y(c.a)}`).join("");
 let out=path(gaps,marks.cut[0],1.3,'stroke-dasharray="3 5"');
 D.sequences.forEach((s,n)=>{let line="",ticks="",round="",tx,ty;s.dots.forEach((d,i)=>{const x=X(d),y=Y(d);
  line+=`${i?"L":"M"}${x} ${y}`;if(!seen(d))return;round+=`M${x} ${y}h.01`;
  if(d.p[4]===null||Math.hypot(x-tx,y-ty)<9)return;tx=x;ty=y;const h=d.p[4]*Math.PI/180;
  ticks+=`M${x} ${y}l${(13*Math.sin(h)).toFixed(1)} ${(-13*Math.cos(h)).toFixed(1)}`});
  out+=path(line,hue(n),2,'opacity=".5"')+path(ticks,hue(n))+path(round,hue(n),7)});
 for(const o of [...dots,...cuts])if(o.kind&&seen(o)){
  const[stroke,d]=marks[o.kind]||loose;out+=path(`M${X(o)} ${Y(o)}${d}`,stroke)}
 let m=10**Math.floor(Math.log10(140/view.s));m*=[5,2,1].find(f=>m*f*view.s<=140)||1;
 const c=chosen&&seen(chosen)?chosen:null,x=c&&X(c),y=c&&Y(c);
 svg.innerHTML=out+path(`M16 ${H-20}v6h${m*view.s}v-6`,"CanvasText")+`<text x="16" y="${H-26}">${m<1?m*100+" cm":
  m<1e3?m+" m":m/1e3+" km"}</text>`+(c?path(`M${x-8} ${y}a8 8 0 1 0 16 0a8 8 0 1 0-16 0`,"CanvasText"):"");
 tip.hidden=!c;if(!c)return;tip.textContent=c.tip();const w=tip.offsetWidth,h=tip.offsetHeight;
 tip.style.left=Math.max(4,x+w+14>W?x-w-14:x+14)+"px";tip.style.top=Math.max(4,y+h+14>H?y-h-14:y+14)+"px"}
const soon=()=>{due=due||requestAnimationFrame(draw)};
function fit(list){const [a,b]=range(list,o=>o.x),[c,d]=range(list,o=>o.y);if(!list.length)return;
 view={x:(a+b)/2,y:(c+d)/2,s:Math.min((W-110)/Math.max(b-a,20),(H-90)/Math.max(d-c,20))};soon()}
function zoom(f,x=W/2,y=H/2){const s=Math.min(400,Math.max(1e-5,view.s*f)),g=1/view.s-1/s;
 view={x:view.x+(x-W/2)*g,y:view.y+(y-H/2)*g,s};soon()}
function choose(x,y,reach){chosen=null;
 for(const o of [...dots,...cuts]){const far=Math.hypot(X(o)-x,Y(o)-y);if(far<reach){reach=far;chosen=o}}soon()}
const at=e=>{const r=svg.getBoundingClientRect();return[e.clientX-r.left,e.clientY-r.top]};let drag=null,moved=0;
svg.onwheel=e=>{e.preventDefault();zoom(Math.exp(-e.deltaY*(e.deltaMode?.05:.0018)),...at(e))};
svg.onpointerdown=e=>{if(e.isPrimary){drag=at(e);moved=0;svg.setPointerCapture(e.pointerId)}};
svg.onpointermove=e=>{const p=at(e);if(!drag)return choose(...p,16);if(!e.isPrimary)return;
 const x=p[0]-drag[0],y=p[1]-drag[1];drag=p;moved+=Math.hypot(x,y);view.x-=x/view.s;view.y-=y/view.s;soon()};
svg.onpointerup=svg.onpointercancel=e=>{drag=null;if(moved<6)choose(...at(e),26)};
document.querySelectorAll("button").forEach((b,n)=>{b.onclick=[()=>zoom(1.6),()=>zoom(1/1.6),()=>fit(dots)][n]});
function chart(s,colour){const p=s.points.filter(p=>p[5]!==null),top=Math.max(5,...p.map(p=>p[5])),cell=el("td");
 if(!p.length)return cell;const a=p[0][3],long=Math.max(1e-3,s.seconds-a);
 const line=p.map(p=>((p[3]-a)/long*198+1).toFixed(1)+" "+(42-p[5]/top*26).toFixed(1)).join("L");
 cell.innerHTML=`<svg viewBox="0 0 200 44">${path(`M1 42L${line}V42z`,"none",0,`fill="${colour}" opacity=".16"`)+
  path("M"+line,colour,1.5,'fill="none"')}<text x="1" y="11">up to ${top.toFixed(0)} km/h</text></svg>`;return cell}
D.sequences.forEach((s,n)=>{const mean=s.seconds>0?(s.metres/s.seconds*3.6).toFixed(1)+" km/h":"–";
 const cells=[el("td",s.id.slice(0,8),el("small",s.folder)),...[s.points.length,when(s.start).slice(0,19),
  length(s.metres),(s.seconds/60).toFixed(1)+" min",mean].map(text=>el("td",text)),chart(s,hue(n)),el("td",s.sent),
  el("td",s.cut)],row=el("tr",...cells);one("tbody").append(row);cells[0].style.boxShadow="inset 5px 0 "+hue(n);
 row.onclick=()=>{fit(s.dots);one("#map").scrollIntoView({block:"nearest"})}});
if(D.lost.length)one("#lost").append(el("h2","Without a position"),el("section",el("ul")));
for(const [name,why] of D.lost)one("ul").append(el("li",name,el("small",why)));
new ResizeObserver(()=>{const first=!W;W=svg.clientWidth;H=svg.clientHeight;first?fit(dots):soon()}).observe(svg);
</script></body></html>
"""


def _cut_reason(before: Image, image: Image, count: int) -> str:
    """Why a sequence begins at an image; count is how many images the sequence before it has."""
    metres, seconds = distance(before.fix, image.fix), image.time - before.time     # type: ignore[arg-type,operator]
    far, late = image.steps[SEQUENCE]["data"].get("limits") or (
        SequenceOptions.cutoff_distance, SequenceOptions.cutoff_time)
    if metres <= far and seconds <= late and count >= SEQUENCE_IMAGES:
        return "%d images, the most in a sequence" % count
    return "%.0f m%s and %.0f s%s after %s" % (metres, " (limit %g m)" % far if metres > far else "", seconds, (
        " (limit %g s)" % late if seconds > late else ""), before.path.name)


def _spot(image: Image, *more: Any, start: float = 0.0) -> List[Any]:
    """An image for the page: name, latitude, longitude, seconds since start, heading, and what more there is."""
    fix = typing.cast(Fix, image.fix)
    heading = None if image.heading is None else round(image.heading, 1)
    return [image.path.name, round(fix.lat, 7), fix.lon, None if image.time is None else round(image.time - start, 3),
            heading, *more]


def _page_sequences(images: Sequence[Image]) -> Dict[str, Dict[str, Any]]:
    """The sequences of a folder for the page, each cut with its reason; images in order, all with time and place."""
    rows: Dict[str, Dict[str, Any]] = {}
    last: Dict[str, Fix] = {}
    for before, image in zip([None, *images], images):
        fix, name = typing.cast(Fix, image.fix), image.sequence
        if not name:
            continue
        row = rows.setdefault(name, {"id": name, "start": image.time, "metres": 0.0, "cut": "", "points": []})
        if before is not None and not row["points"]:
            count = len(rows[before.sequence]["points"]) if before.sequence else 0
            row.update(cut=_cut_reason(before, image, count), before=[_spot(before)])
        metres, seconds = distance(last.get(name, fix), fix), fix.time - last.get(name, fix).time
        row.update(metres=round(row["metres"] + metres, 3), seconds=fix.time - row["start"])
        speed = round(metres / seconds * 3.6, 1) if seconds > 0 else None
        row["points"].append(_spot(image, speed, start=row["start"]))
        last[name] = fix
    return rows


def _join_longitudes(spots: Sequence[List[Any]]) -> None:
    """Shift longitudes by whole turns so that the widest gap between them is outside: the antimeridian is no edge."""
    east = sorted({spot[2] % 360.0 for spot in spots}) or [0.0]
    _, first = max((after - lon, after % 360.0) for lon, after in zip(east, east[1:] + [east[0] + 360.0]))
    for spot in spots:
        spot[2] = round((spot[2] - first + 1e-9) % 360.0 - 1e-9 + first - (360.0 if first > 180.0 else 0.0), 7)


def write_report(top: str, path: str) -> Report:
    """Write one HTML page from the journals: map, speeds and table of all sequences; raises NotFound, CannotWrite."""
    import html
    report, service = Report("report", word="shown"), service_name(graph_root())
    title = os.path.basename(os.path.abspath(top)) or top
    rows: List[Dict[str, Any]] = []
    page: Dict[str, Any] = {"sequences": rows, "others": [], "lost": []}
    for journal, standings in _standings(top, service, report.trouble):
        where, images = os.path.relpath(journal.folder, top), []
        sent: Dict[str, Dict[str, Any]] = {}
        for image in standings:
            word, reason = _word(image.outcome)
            left_out = None if image.found else image.outcome or Outcome("skipped", SKIP_UPLOADED)
            report.count(image.but(outcome=left_out))   # a failure that the page shows is no failure of the page
            _add_image(sent, journal, service, image)
            if image.found and image.fix is None:
                page["lost"].append([os.path.relpath(str(image.path), top), reason])
            elif image.fix is not None and (not image.sequence or word == "failed"):
                page["others"].append(_spot(image, word, reason or word))
            if image.time is not None and image.steps.get(GEOTAG, {}).get("status") == "success":
                images.append(image)
        for identity, row in _page_sequences(in_order(images)).items():
            arrived = "%(uploaded)d of %(images)d" % sent[identity] + ", finished" * sent[identity]["finished"]
            rows.append(dict(row, folder=title if where == "." else where, sent=arrived))
    if not report.done:
        raise NotFound(("nothing_processed", top, "has no processed images", "", "run process first"))
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as stream:
        if not stream.read(100).startswith(_PAGE[:50].encode("ascii")):
            raise CannotWrite(("not_ours", path, "was not written by report", "", "choose another --output_path"))
    _join_longitudes(page["others"] + [spot for row in rows for spot in row["points"] + row.get("before", [])])
    page["words"] = "%d images, %d sequences, %.1f km" % (
        report.done, len(rows), sum(row["metres"] for row in rows) / 1000)
    # nothing in a file name ends the script, and undecodable bytes of one show as backslash escapes
    text = re.sub("[<>&\ud800-\udfff]", lambda match: ("\\u%04x" if match[0] in "<>&" else "\\\\u%04x") % ord(match[0]),
                  json.dumps(page, separators=(",", ":"), sort_keys=True, ensure_ascii=False))
    text = _PAGE.replace("@TITLE@", html.escape(title)).replace("@DATA@", text)
    write_atomically(path, [text.encode("utf-8", "backslashreplace")])
    report.facts, report.lines = {"page": path, "sequences": len(rows)}, ["the page is " + path]
    return report


# -- download --

SEARCH_LIMIT = 2000                 # images in one answer
TILES_MOST = 10000                  # searches for one box
IMAGE_BYTES = 256 << 20             # bytes of an image that are read at most
_SIZES = {"320": "256", "640": "1024"}      # what the service has instead of the sizes of 2018
_LIST_HEADER = ["name", "latitude", "longitude", "capture_time"]


@dataclass(frozen=True)
class Box(Group):
    """bounding box"""

    min_lat: Optional[float] = opt(None, "southern edge in degrees", required=True, positional=True)
    max_lat: Optional[float] = opt(None, "northern edge", required=True, positional=True)
    min_lon: Optional[float] = opt(None, "western edge", required=True, positional=True)
    max_lon: Optional[float] = opt(None, "eastern edge", required=True, positional=True)
    max_results: int = opt(400, "download at most so many images", metavar="N", at_least=1)
    image_size: str = opt("1024", "width in pixels", choices=("320", "640", "1024", "2048", "256", "original"))
    output_path: str = opt("downloaded", "folder to download into", metavar="FOLDER")

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", str(self.image_size))
        super().__post_init__()
        for low, high, most in ((self.min_lat, self.max_lat, 90), (self.min_lon, self.max_lon, 180)):
            if not -most <= low < high <= most:     # type: ignore[operator]
                raise UsageError(("bad_box", "", "an edge of the box is out of range or in the wrong place", "%s %s" % (
                    low, high), "the order is min_lat max_lat min_lon max_lon; make two boxes at the antimeridian"))
        count = operator.mul(*self.grid())
        if count > TILES_MOST:
            raise UsageError(("box_too_large", "", "the box needs too many searches", str(count),
                              "choose a smaller one: %d are the most" % TILES_MOST))

    def grid(self) -> Tuple[int, int]:
        """Columns and rows of tiles that the service takes: at most 0.01 square degrees, also where a box is thin."""
        width, height = self.max_lon - self.min_lon, self.max_lat - self.min_lat    # type: ignore[operator]
        if width * height <= 0.01:
            return 1, 1
        across = min(width, max(0.0994, 0.0099 / height))
        return math.ceil(width / across), math.ceil(height * across / 0.0099)


def _is_whole(source: Union[str, bytes]) -> bool:
    """Whether a file, or its bytes, is a JPEG from its head to its end."""
    try:
        with open(source, "rb") if isinstance(source, str) else io.BytesIO(source) as stream:
            head = read_head(stream, "")
            _check_tail(stream, stream.seek(0, 2), len(head.data), "")
            return True
    except (OSError, BadExif):
        return False


def _merge_list(path: str, fresh: Dict[str, Dict[str, Any]]) -> None:
    """Bring images (name -> row of the search) into downloaded.csv; raises CannotWrite when that is another table."""
    import csv
    header, rows = _LIST_HEADER, []     # type: List[str], List[List[str]]
    with contextlib.suppress(FileNotFoundError), open(path, newline="", encoding="utf-8", errors="replace") as stream:
        header, *rows = [row for row in csv.reader(stream) if row] or [_LIST_HEADER]
    if header != _LIST_HEADER:
        raise CannotWrite(("not_ours", path, "is not the list of a download", ",".join(header)[:80], "move it away"))
    for name, row in fresh.items():
        lat = lon = when = ""           # unknown, until the service says it as it should
        with contextlib.suppress(LookupError, TypeError, ValueError):
            lon, lat = ("%.7f" % part for part in (row.get("computed_geometry") or row["geometry"])["coordinates"][:2])
        with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError):
            when = format_time(row["captured_at"] / 1000.0)
        rows.append([name, lat, lon, when])
    merged, text = {row[0]: row for row in rows}, io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [_LIST_HEADER] + [merged[name] for name in sorted(merged, key=natural_key)])
    write_atomically(path, [text.getvalue().encode("utf-8")])


class _Search(NamedTuple):
    url: str                            # the addresses in the answer expire, so it can be asked again
    rows: Dict[str, Dict[str, Any]]     # id -> what it says of the image
    following: str                      # address of the next page; "" = there is none


class _Download(Upload):
    """One run of downloading, in the threads of Upload: one image after another; the one whose turn it is searches."""

    def __init__(self, box: Box, server: Server, token: str, ui: Ui) -> None:
        super().__init__(server, "", {}, ui)
        self.box, self.size = box, "thumb_%s_url" % _SIZES.get(box.image_size, box.image_size)
        self.report, self.bytes = Report("download_images", word="downloaded"), 0
        self.list: Dict[str, Dict[str, Any]] = {}               # file name -> row of the search
        self._token = {"Authorization": "OAuth " + token}       # for searches; images are asked without it
        self._turn, self._renewing = threading.Lock(), threading.Lock()
        self._found = itertools.islice(self._everything(), box.max_results)

    def _ask(self, url: str) -> _Search:
        answer = self.server.ask("GET", url, self._token).row
        rows, paging = answer.get("data"), answer.get("paging")
        return _Search(url, {str(row.get("id")): row for row in (rows if isinstance(rows, list) else ())
                             if isinstance(row, dict)}, str(paging.get("next")) if isinstance(paging, dict) else "")

    def _everything(self) -> Iterator[Tuple[str, _Search]]:
        """(id, its search) of every image in the box, each once; a tile is searched when its images are needed."""
        (columns, rows), west, south = self.box.grid(), self.box.min_lon or 0.0, self.box.min_lat or 0.0
        width, height = ((self.box.max_lon or 0.0) - west) / columns, ((self.box.max_lat or 0.0) - south) / rows
        tiles = [(west + column * width, south + row * height, width, height)
                 for row in reversed(range(rows)) for column in reversed(range(columns))]
        limit, total = min(SEARCH_LIMIT, self.box.max_results), len(tiles)
        seen: typing.Set[str] = set()       # ids, and addresses of searches
        while tiles:
            self.ui.progress("searching", total - len(tiles), total, 0)
            west, south, width, height = tiles.pop()
            url = "%s/images?fields=id,captured_at,computed_geometry,geometry,%s&limit=%d&bbox=%.8f,%.8f,%.8f,%.8f" % (
                self.server.graph, self.size, limit, west, south, west + width, south + height)
            while url.startswith(self.server.graph + "/") and url not in seen:  # no other host is asked for a next page
                search = self._ask(url)
                seen.add(url)
                for identity in [one for one in search.rows if one not in seen]:
                    seen.add(identity)
                    yield identity, search
                url = search.following
            if len(search.rows) >= limit and max(width, height) > 1e-5:     # full, and no next page: its quarters
                tiles += [(west + right, south + up, width / 2, height / 2)
                          for up in (height / 2, 0) for right in (width / 2, 0)]
                total += 4

    def _send(self, *_: Any) -> None:
        """Download the next image, unless it is there; what is wrong with it alone is noted."""
        body, wrong, outcome = b"", "", None
        try:
            with self._turn:
                identity, search = next(self._found, ("", None))
            name = identity + ".jpg"
            path = os.path.join(self.box.output_path, name)
            if search is None:
                return
            if not re.match(r"[0-9]{1,40}\Z", identity):
                path, wrong = self.box.output_path, "its id is no number: %r" % identity[:80]
            elif _is_whole(path):
                outcome = Outcome("skipped", SKIP_HERE)
            else:
                body, wrong = self._image(identity, search)
        except UploadError as error:    # of a search: without it there is no next image
            with self._guard:
                self.stopped = self.stopped or error
            self.server.stop.set()
            return
        if wrong:
            outcome = Outcome("failed", "not_downloaded", Problem(
                "not_downloaded", path, "cannot be downloaded", wrong, "run the same command again later"))
        elif body:
            write_atomically(path, [body])
        with self._guard:
            self.report.count(Image(Path(path), outcome=outcome))
            self.bytes += len(body)
            self.list.update({} if wrong else {name: search.rows[identity]})
            self.ui.progress("downloading", self.report.found, self.box.max_results, self.bytes)

    def _image(self, identity: str, search: _Search) -> Tuple[bytes, str]:
        """(an image, "") or (b"", what is wrong with this one alone); raises UploadError, NotAuthorized, Stopped."""
        address, renewals = str(search.rows[identity].get(self.size)), 0
        wrong = "the service gives no address for this size"
        for attempt in range(1, self.server.attempts + 1):
            if not _is_address(address):
                break
            status, fields, lost = None, {}, False      # type: Optional[int], Dict[str, str], bool
            try:
                status, fields, body, _ = self.server.request("GET", address, {})
                if status == 200 and _is_whole(body):
                    return body, ""
                wrong = "the answer is no image" if status == 200 else "HTTP %d" % status
            except (Unreachable, Cut) as error:
                wrong, lost = str(error), isinstance(error, Unreachable)
            delay = retry_delay(attempt, status, fields)
            if (lost and renewals < 3) or (status in (403, 410) and not renewals):
                renewals += 1
                with self._renewing:        # waits for the network, too; once for all that expired together
                    if str(search.rows[identity].get(self.size)) == address:
                        search.rows.update(self._ask(search.url).rows)
                    address = str(search.rows[identity].get(self.size))
            elif lost or delay is None or attempt == self.server.attempts:
                break
            else:
                self.server.wait(delay * (1 + random.random() / 4))
        return b"", wrong


def download(box: Box, patience: Patience, ui: Ui) -> Report:
    """Download the images in a box that are not there yet, and list them; raises what ends it before any image."""
    notes, table = Notes(), os.path.join(box.output_path, "downloaded.csv")
    server = Server(graph_root(), graph_root(), patience.offline_limit * 60, None, _number_of("MAX_ATTEMPTS", 10),
                    notes.say)
    server.answer_bytes, threads = IMAGE_BYTES, _number_of("NUMBER_THREADS", 4)
    token = os.environ.get("MAPILLARY_ACCESS_TOKEN") or os.environ.get("MAPILLARY_CLIENT_TOKEN")
    stored = set() if token else {row.get("user_upload_token") or "" for row in read_config().values()} - {""}
    token = token or (stored.pop() if len(stored) == 1 else "")     # of several nobody knows which
    if not re.match(r"[!-~]+\Z", token):
        raise NotAuthorized(("no_token", "", "there is no usable access token for the image search", "",
                             "set MAPILLARY_ACCESS_TOKEN or MAPILLARY_CLIENT_TOKEN, or run authenticate"))
    if box.image_size in _SIZES:
        notes.say("the service has no images of size %s: %s is taken" % (box.image_size, _SIZES[box.image_size]))
    try:
        os.makedirs(box.output_path, exist_ok=True)
    except OSError as error:
        raise _os_problem(box.output_path, error) from error
    _merge_list(table, {})
    run = _Download(box, server, token, ui)
    try:
        run.run(typing.cast(Any, [()] * box.max_results), [], threads, False)
    finally:
        _merge_list(table, dict(run.list))
    report, run.report.stopped = run.report, run.stopped
    if report.stopped is not None and not report.found:
        raise report.stopped
    if report.failed or report.stopped:
        notes.say("run the same command again: what is there is not fetched again")
    report.notes, report.facts = notes.lines, {"list": table, "bytes": run.bytes}
    return report


# ---- 14. Tools ----------------------------------------------------------------------------------
# Here: one function a subcommand; its parameters are option groups, its docstring is the help.
# Not here: how anything is done.

class Tool(NamedTuple):
    """A subcommand."""

    act: Callable[..., Report]
    advanced: bool


TOOLS: Dict[str, Tool] = {}


def tool(advanced: bool = False) -> Callable[[Callable[..., Report]], Callable[..., Report]]:
    """Make a function a subcommand of its name; an advanced one is only listed with --advanced."""
    def register(act: Callable[..., Report]) -> Callable[..., Report]:
        TOOLS[act.__name__] = Tool(act, advanced)
        return act
    return register


def groups_of(act: Callable[..., Report]) -> Dict[str, Type[Group]]:
    """The option groups of a tool by parameter."""
    return {name: kind for name, kind in typing.get_type_hints(act).items()
            if isinstance(kind, type) and issubclass(kind, Group)}


def _service_of(options: UploadOptions, source: Input) -> str:
    """The name of the service that a run uploads to; raises UsageError for a stand-in in the folder of the images."""
    check_stand_in(options.stand_in, source.import_path)
    return stand_in_name(options.stand_in) or "stand-in" if options.stand_in else service_name(graph_root())


@tool()
def process(source: Input, user: User, selection: Selection = Selection(), again: Again = Again(),
            meta: MetaData = MetaData(), geotagging: Geotagging = Geotagging(), angle: Angle = Angle(),
            sequences: SequenceOptions = SequenceOptions(), master: Master = Master(), insert: Insert = Insert(),
            keep: Keep = Keep(), workers: Workers = Workers(), dry: Dry = Dry(), ui: Ui = Ui()) -> Report:
    """Find time and position, group into sequences, and write the description into the images."""
    return _process("process", _settings(user, meta, geotagging, angle, sequences, master, insert, keep, workers, again,
                                         dry), source, selection, ui)


def _settings(user: User, meta: MetaData, geotagging: Geotagging, angle: Angle, sequences: SequenceOptions,
              master: Master, insert: Insert, keep: Keep, workers: Workers, again: Again, dry: Dry) -> Settings:
    """The settings of a run that takes every step."""
    return Settings(user, meta, geotagging, angle, sequences, Account(user.user_name), master, insert, keep, workers,
                    again, dry)


def _process(name: str, settings: Settings, source: Input, selection: Selection, ui: Ui,
             service: Optional[str] = None) -> Report:
    """A run of steps for a service; None is the one that the environment names."""
    name_of = service_name(graph_root()) if service is None else service
    return run_steps(source, selection, settings._replace(service=name_of), ui, name)


@tool()
def upload(source: Input, selection: Selection = Selection(), options: UploadOptions = UploadOptions(),
           patience: Patience = Patience(), dry: Dry = Dry(), ui: Ui = Ui()) -> Report:
    """Send what has been processed; run again, it sends only what is missing."""
    return send_images(source, selection, options, patience, dry, ui, "upload")


@tool()
def process_and_upload(source: Input, user: User, selection: Selection = Selection(), again: Again = Again(),
                       meta: MetaData = MetaData(), geotagging: Geotagging = Geotagging(), angle: Angle = Angle(),
                       sequences: SequenceOptions = SequenceOptions(), master: Master = Master(),
                       insert: Insert = Insert(), keep: Keep = Keep(), workers: Workers = Workers(), dry: Dry = Dry(),
                       options: UploadOptions = UploadOptions(), patience: Patience = Patience(),
                       ui: Ui = Ui()) -> Report:
    """Process, then upload."""
    settings = _settings(user, meta, geotagging, angle, sequences, master, insert, keep, workers, again, dry)
    first = _process("process", settings, source, selection, ui, _service_of(options, source))
    return _then_upload(first, source, selection, options, patience, dry, ui, "process_and_upload")


def _then_upload(first: Report, source: Input, selection: Selection, options: UploadOptions, patience: Patience,
                 dry: Dry, ui: Ui, name: str) -> Report:
    """The upload behind a report of processing; what stops it at once leaves that report, which then says so."""
    if dry.dry_run:
        count = first.done + len(first.skipped.get(SKIP_PROCESSED, []))
        first.lines.append("%d images would then be uploaded" % count)
        return first
    try:
        report = send_images(source, selection, options, patience, dry, ui, name)
    except ToolError as error:
        first.stopped = error
        return first
    report.parts.append(first)
    return report


@tool(advanced=True)
def sample_video(source: Input, video: Video, ui: Ui = Ui()) -> Report:
    """Sample frames from videos, each stamped with its capture time."""
    return sample_videos(source, video, ui)


@tool(advanced=True)
def video_process(source: Input, video: Video, user: User, selection: Selection = Selection(), again: Again = Again(),
                  meta: MetaData = MetaData(), geotagging: Geotagging = Geotagging(), angle: Angle = Angle(),
                  sequences: SequenceOptions = SequenceOptions(), master: Master = Master(), insert: Insert = Insert(),
                  keep: Keep = Keep(), workers: Workers = Workers(), dry: Dry = Dry(), ui: Ui = Ui()) -> Report:
    """Sample frames from videos, then process them."""
    settings = _settings(user, meta, geotagging, angle, sequences, master, insert, keep, workers, again, dry)
    return _sample_and_process("video_process", settings, source, video, selection, ui)


def _sample_and_process(name: str, settings: Settings, source: Input, video: Video, selection: Selection, ui: Ui,
                        service: Optional[str] = None) -> Report:
    """Sampling, and processing of what the folder then holds; sampling alone where there is nothing to process."""
    sampled = sample_videos(source, video, ui, settings.geotagging, settings.dry.dry_run)
    if settings.dry.dry_run or not sampled.done and not sampled.skipped:
        return sampled
    report = _process(name, settings, source, selection, ui, service)
    report.parts.append(sampled)
    return report


@tool(advanced=True)
def video_process_and_upload(source: Input, video: Video, user: User, selection: Selection = Selection(),
                             again: Again = Again(), meta: MetaData = MetaData(), geotagging: Geotagging = Geotagging(),
                             angle: Angle = Angle(), sequences: SequenceOptions = SequenceOptions(),
                             master: Master = Master(), insert: Insert = Insert(), keep: Keep = Keep(),
                             workers: Workers = Workers(), dry: Dry = Dry(), options: UploadOptions = UploadOptions(),
                             patience: Patience = Patience(), ui: Ui = Ui()) -> Report:
    """Sample frames from videos, process them, then upload."""
    settings = _settings(user, meta, geotagging, angle, sequences, master, insert, keep, workers, again, dry)
    first = _sample_and_process("video_process", settings, source, video, selection, ui, _service_of(options, source))
    if not first.parts:
        return first
    return _then_upload(first, source, selection, options, patience, dry, ui, "video_process_and_upload")


@tool(advanced=True)
def extract_user_data(source: Input, user: User, selection: Selection = Selection(), again: Again = Again(),
                      master: Master = Master(), ui: Ui = Ui()) -> Report:
    """Record who uploads the images."""
    return _process("extract_user_data", Settings(user=user, master=master, again=again), source, selection, ui)


@tool(advanced=True)
def extract_import_meta_data(source: Input, selection: Selection = Selection(), again: Again = Again(),
                             meta: MetaData = MetaData(), ui: Ui = Ui()) -> Report:
    """Record camera, orientation, accuracy, file name and import date."""
    return _process("extract_import_meta_data", Settings(meta=meta, again=again), source, selection, ui)


@tool(advanced=True)
def extract_geotag_data(source: Input, selection: Selection = Selection(), again: Again = Again(),
                        geotagging: Geotagging = Geotagging(), angle: Angle = Angle(), out: TrackOut = TrackOut(),
                        ui: Ui = Ui()) -> Report:
    """Find capture time, position and direction, in EXIF or in a track."""
    if out.write_gpx and geotagging.geotag_source == "exif":
        raise UsageError(("no_track", "", "--write_gpx needs a track", "", "add --geotag_source and its path"))
    if out.write_gpx:
        check_gpx_target(out.write_gpx)
    settings = Settings(geotagging=geotagging, angle=angle, again=again)
    report = _process("extract_geotag_data", settings, source, selection, ui)
    if out.write_gpx:
        write_gpx(read_track(typing.cast(str, geotagging.geotag_source_path), geotagging.geotag_source), out.write_gpx)
    return report


@tool(advanced=True)
def extract_sequence_data(source: Input, selection: Selection = Selection(), again: Again = Again(),
                          sequences: SequenceOptions = SequenceOptions(), angle: Angle = Angle(),
                          ui: Ui = Ui()) -> Report:
    """Group images into sequences."""
    return _process("extract_sequence_data", Settings(sequences=sequences, angle=angle, again=again), source,
                    selection, ui)


@tool(advanced=True)
def extract_upload_params(source: Input, account: Account, selection: Selection = Selection(), again: Again = Again(),
                          master: Master = Master(), ui: Ui = Ui()) -> Report:
    """Record what the upload needs: whose account, for which organization."""
    return _process("extract_upload_params", Settings(account=account, master=master, again=again), source, selection,
                    ui)


@tool(advanced=True)
def exif_insert(source: Input, selection: Selection = Selection(), again: Again = Again(), master: Master = Master(),
                insert: Insert = Insert(), keep: Keep = Keep(), workers: Workers = Workers(), ui: Ui = Ui()) -> Report:
    """Merge what was extracted into one description and write it into the images."""
    settings = Settings(insert=insert, keep=keep, workers=workers, master=master, again=again)
    return _process("exif_insert", settings, source, selection, ui)


@tool(advanced=True)
def process_csv(source: Input, columns: CsvColumns, table: Table = Table(), keep: Keep = Keep(), dry: Dry = Dry(),
                ui: Ui = Ui()) -> Report:
    """Give images the time, position, direction and meta data of a table."""
    return process_table(source, columns, table, keep, dry, ui)


@tool(advanced=True)
def interpolate(options: Interpolation, table: Table = Table(), keep: Keep = Keep(), dry: Dry = Dry(),
                ui: Ui = Ui()) -> Report:
    """Spread identical timestamps, or fill positions that are missing between images."""
    if options.file_in_path:
        return interpolate_table(options, table, keep, dry)
    return interpolate_images(options, keep, dry, ui)


@tool(advanced=True)
def authenticate(login: Login = Login(), ui: Ui = Ui()) -> Report:
    """Log in and store the credentials of a user."""
    return log_in(login, ui)


@tool(advanced=True)
def download_images(box: Box, patience: Patience = Patience(), verbose: Verbose = Verbose(), ui: Ui = Ui()) -> Report:
    """Download the images inside a bounding box, with a list of their positions."""
    return download(box, patience, ui)


@tool(advanced=True)
def status(source: Input, options: StatusOptions = StatusOptions(), ui: Ui = Ui()) -> Report:
    """Say from the journal what is processed, uploaded, failed and waiting."""
    return journal_status(typing.cast(str, source.import_path), options, service_name(graph_root()))


@tool(advanced=True)
def report(source: Input, page: PageOptions = PageOptions(), ui: Ui = Ui()) -> Report:
    """Write one HTML page with the sequences on a map."""
    return write_report(typing.cast(str, source.import_path), typing.cast(str, page.output_path))


# ---- 15. Command line ---------------------------------------------------------------------------
# Here: the parser, the progress line, logging, exceptions to exit codes, the only print.
# Not here: anything that a host program might want to call, but for main().


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors say where help is."""

    def error(self, message: str) -> Any:
        """One line and exit code 2."""
        raise UsageError(("usage", "", message, "", "see %s -h" % self.prog))


def _add_option(group: Any, field: Any, hint: Any, show_all: bool) -> None:
    """One field of an option group as an option of a parser."""
    rule = field.metadata
    text = rule["help"]
    if field.default is not None and field.default is not False:
        text += " (default: %s)" % field.default
    text = text.replace("%", "%%")
    arguments: Dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS,
                                 "help": text if show_all or not rule["advanced"] else argparse.SUPPRESS}
    kind = [part for part in getattr(hint, "__args__", (hint,)) if part is not type(None)][0]
    if kind is bool:
        arguments["action"] = "store_true"
    elif rule["positional"]:
        group.add_argument(field.name, type=_number_reader(kind), help=text, metavar=field.name)
        return
    else:
        arguments.update(type=_number_reader(kind) if kind in (int, float) else kind, choices=rule["choices"],
                         metavar=rule["metavar"], required=rule["required"])
    group.add_argument("--" + (rule["flag"] or field.name), **arguments)


def _number_reader(kind: Any) -> Callable[[str], Any]:
    """A converter whose error names the kind of number that was expected."""
    def number(text: str) -> Any:
        return kind(text)
    number.__name__ = "whole number" if kind is int else "number"
    return number


def build_parser(show_all: bool) -> Tuple[argparse.ArgumentParser, Dict[str, bool]]:
    """The parser, and for every option whether it takes a value; show_all lists advanced tools and options too."""
    prog = "mapillary_tools.py"
    texts = (__doc__ or "").split("\n\n")
    parser = _Parser(prog=prog, description=texts[0], allow_abbrev=False, epilog="%s TOOL -h explains a tool; "
                     "%s --advanced -h lists every tool and option." % (prog, prog))
    parser.add_argument("--version", action="version", version="mapillary_tools " + __version__)
    parser.add_argument("--advanced", action="store_true", help="show advanced tools and options in the help")
    subparsers = parser.add_subparsers(dest="tool", metavar="TOOL", parser_class=_Parser, title="tools")
    options: Dict[str, bool] = {}
    for name, entry in TOOLS.items():
        doc = (entry.act.__doc__ or "").strip()
        shown: Dict[str, Any] = {"help": doc.split("\n")[0]} if show_all or not entry.advanced else {}
        one = subparsers.add_parser(name, description=doc, allow_abbrev=False, **shown)
        one.add_argument("--advanced", action="store_true", default=argparse.SUPPRESS,
                         help="show advanced options in the help")
        one.add_argument("--json", action="store_true", default=argparse.SUPPRESS,
                         help="print the summary as one JSON object")
        for kind in groups_of(entry.act).values():
            section, hints = one.add_argument_group((kind.__doc__ or "").strip()), typing.get_type_hints(kind)
            for field in dataclasses.fields(kind):
                _add_option(section, field, hints[field.name], show_all)
        options.update((flag, action.nargs is None) for action in one._actions for flag in action.option_strings)
    return parser, options


def joined(argv: Sequence[str], options: Dict[str, bool]) -> List[str]:
    """The arguments with --some-option as --some_option, and `--option -05:00` as `--option=-05:00`."""
    out: List[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name not in options and name.replace("-", "_").replace("__", "--", 1) in options:
            word = name = name.replace("-", "_").replace("__", "--", 1)
            word += equals + value
        if options.get(word) and rest and rest[0][:1] == "-" and rest[0].partition("=")[0] not in options:
            word += "=" + rest.pop(0)
        out.append(word)
    return out


def _printable(text: str, stream: Any) -> str:
    """The text as the stream's encoding can show it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _print(text: str, stream: Any) -> None:
    """Print a line; a reader that went away is no error."""
    try:
        print(_printable(text, stream), file=stream, flush=True)
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)      # or the interpreter would complain when it flushes at its end
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise _os_problem("standard output", error) from error


class _Progress:
    """One line on a terminal that is rewritten; in a pipe a plain line now and then."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._terminal = stream, hasattr(stream, "isatty") and stream.isatty()
        self._start = self._last = time.monotonic()
        self._what, self._width = "", 0

    def __call__(self, what: str, done: int, total: int, size: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self.clear()
            self._what, self._start, self._last = what, now, now
        if now - self._last < (0.1 if self._terminal else 10.0):
            return
        self._last = now
        spent = max(0.001, now - self._start)
        rate = "%.2f MB/s" % (size / spent / 1e6) if size else "%.0f/s" % (done / spent)
        left = "%d s left" % (spent / done * (total - done)) if done else ""
        line = "%s %d/%d  %s  %s" % (what, done, total, rate, left)
        if self._terminal:
            self._stream.write("\r" + line.ljust(self._width))
            self._stream.flush()
            self._width = len(line)
        else:
            _print(line, self._stream)

    def clear(self) -> None:
        """Wipe the line, so that other text can stand there."""
        if self._terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
            self._width = 0


class _Handler(logging.Handler):
    """Narration to standard error, not on top of the progress line."""

    def __init__(self, progress: _Progress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        self._progress.clear()
        _print(shown(record.getMessage()), sys.stderr)


def _ask(question: str, secret: bool) -> str:
    """Ask on the terminal; the answer to a secret question is not echoed."""
    if secret:
        import getpass
        return getpass.getpass(question + ": ")
    sys.stderr.write(_printable(question + ": ", sys.stderr))
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


def _summary(report: Report, verbose: bool, failed: Optional[int] = None) -> List[str]:
    """The lines of a summary; found is always done plus skipped plus failed."""
    lines: List[str] = []
    listed = {problem.file for problem in report.failed}
    for part in report.parts:       # what fails there fails here too, and is named once
        rest = [problem for problem in part.failed if problem.file not in listed]
        lines.extend(_summary(dataclasses.replace(part, failed=rest), verbose, len(part.failed)))
    skipped = sum(len(names) for names in report.skipped.values())
    line = "%s: %d found = %d %s + %d skipped + %d failed" % (
        report.tool, report.found, report.done, report.word, skipped, len(report.failed) if failed is None else failed)
    lines.append(line)
    for reason, names in sorted(report.skipped.items()):
        lines.append("  skipped %d: %s" % (len(names), reason))
        if verbose or reason == SKIP_KIND:
            lines.extend("    " + name for name in names)
    lines.extend("  failed " + str(problem) for problem in report.failed)
    lines.extend("  " + str(problem) for problem in report.trouble)
    lines.extend("  " + line for line in report.lines)
    return lines


def _run(arguments: argparse.Namespace, progress: _Progress) -> Report:
    """Call a tool with its option groups filled in."""
    entry = TOOLS[arguments.tool]
    given = vars(arguments)
    values: Dict[str, Any] = {}
    for name, kind in groups_of(entry.act).items():
        values[name] = kind(**{field.name: given[field.name] for field in dataclasses.fields(kind)
                               if field.name in given})
    asks = sys.stdin is not None and sys.stdin.isatty()
    return entry.act(ui=Ui(progress, _ask if asks else None), **values)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit code and never calls sys.exit."""
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(words):       # help wherever it stands, even behind an option that wants a value
        words = [word for word in words if word in TOOLS][:1] + ["--advanced"] * ("--advanced" in words) + ["-h"]
    parser, options = build_parser("--advanced" in words)
    progress = _Progress(sys.stderr)
    handler = _Handler(progress)
    level = LOG.level
    LOG.addHandler(handler)
    try:
        arguments, unknown = parser.parse_known_args(joined(words, options))
        if unknown:
            import difflib
            near = difflib.get_close_matches(unknown[0].partition("=")[0], list(options), 1)
            raise UsageError(("usage", "", "there is no such option", unknown[0], "%ssee %s %s --advanced -h" % (
                "did you mean %s? " % near[0] if near else "", parser.prog, arguments.tool or "")))
        if not arguments.tool:
            raise UsageError(("usage", "", "a tool is missing", "", "see %s -h" % parser.prog))
        LOG.setLevel(logging.DEBUG if getattr(arguments, "verbose", False) else logging.INFO)
        report = _run(arguments, progress)
        progress.clear()
        if getattr(arguments, "json", False):
            _print(json.dumps(report.as_json(), sort_keys=True), sys.stdout)
        else:
            lines = _summary(report, getattr(arguments, "verbose", False))
            _print("\n".join(shown(line) for line in lines), sys.stdout)
        if report.stopped is not None:
            _print("mapillary_tools: " + str(report.stopped), sys.stderr)
        return report.exit_code
    except ToolError as error:
        progress.clear()
        if "--json" in words:
            _print(json.dumps({"exit_code": error.exit_code, "stopped": error.problem._asdict()}, sort_keys=True),
                   sys.stdout)
        _print("mapillary_tools: " + str(error), sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        progress.clear()
        _print("mapillary_tools: interrupted; run the same command again to go on", sys.stderr)
        return EXIT_INTERRUPTED
    except SystemExit as leaving:       # argparse after --help and --version
        return leaving.code if isinstance(leaving.code, int) else 0
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)


if __name__ == "__main__":
    import gc
    gc.set_threshold(200000, 20, 20)    # a run makes many small values and no cycles
    with contextlib.suppress(ImportError, OSError, ValueError):     # each folder of images keeps files open
        import resource
        _most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (10240 if _most < 0 else min(_most, 65536), _most))
    sys.exit(main())
