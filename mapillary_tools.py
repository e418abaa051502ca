#!/usr/bin/env python3
"""Street-level photos from a camera card to Mapillary: geotagged right, never lost.

Three commands to try: the first does the whole job without an account (the upload goes to a service
that this script starts on your own computer), the second says what would be done, the third lists
every tool.

    python mapillary_tools.py process_and_upload --import_path PHOTOS --user_name NAME \
        --stand_in received
    python mapillary_tools.py process --import_path PHOTOS --user_name NAME --dry_run
    python mapillary_tools.py --advanced -h

This file and the folder vendor/ beside it are all that is needed: Python 3.8 or newer, no
installation. It is a house of six storeys. A floor uses only floors above it in this file, and a
step gives back as many images as it got.

    Words       Errors and names       what can go wrong; named numbers
                Data                   what flows: Fix, Track, Found, the layers of an Image
                Reports                what a tool did, and how it talks to whoever runs it
                Options                how an option is declared, once; what a Tool is
    Reckoning   Geo, Time              WGS-84; zones, GPS time and leap seconds
                Capture time           which of an image's times counts, and its zone
                Sequences              order, cuts, directions, duplicates, ids
                Plausibility           photos whose position cannot be
    Files       Windows                what only Windows has: long paths, attributes, Explorer
                Finding                which images lie below a folder
                Files                  writing atomically
                Environment            what variables say; secrets
                Workers, Programs      the worker pool; ffmpeg, exiftool
                Configuration          the file of accounts and areas
                JPEG, EXIF values, EXIF, XMP, Photos: segments; tags to values; image files
                Points, Rows           what a reader of tracks gathers; tables of text
                Movies, XML            boxes of MP4; tracks in XML
                GPX, KML and TCX, NMEA, FIT, Subtitles, Tables of points, GoPro, BlackVue, CAMM,
                Dashcams and panoramas: a floor a family of formats
                Second reader          what exiftool reads of other videos
                Track files            the table of readers; files and folders to a Track
                Movie facts            camera, times, time code, spheres of a movie
                Video stream           the MP4 that goes up of a video, made while it is sent
                Records                what a journal keeps beside images, as types
                Journal lines          lines packed and unpacked
                Locks, Journal file, Journal: .mapillary/journal.jsonl of one folder
    Processing  Clocks                 what a clock says, and how it drifts; pure
                Moments                zones, ties and starts among the images of a folder; pure
                Step options, Steps    what a step may be asked, what it makes of images; pure
                Description            what all layers of an image say together
                Plan                   from all that was gathered to the work to be done; pure
                Gather                 all that is read
                Settled folders        many images of which nothing has changed since a run
                A run                  gather, plan, carry out
                Restore                photos as they were found
                Tables, Given          process_csv and interpolate
                Probe, Sampling        ffmpeg; which frames of a video, when and where
                Sample record          which frames of which video are in a folder
                Frames                 their way into the folder
                Whole videos           where a video that goes up whole was, or why it does not
    Service     HTTP, Connections      answers and when to try again; sockets
                Service                the requests of the API
                History                what went to which service from this computer
                Parcels                what there is to send
                Outgoing               its bytes
                Crew, Upload           who sends it; sending it
                Stand-in               a service on this computer
                Accounts, Sending      tokens; one run of an upload
                Status                 what the journals say, as figures
                The page               what the report shows
                Page script            its map and filters
                Page tables            its chosen photo, marks and tables
                Report data            what it shows it of
                Story, Export          one photo explained; files for other programs
                Download
    Front door  Tools                  the table of subcommands
                Advice, Lessons        what was meant; the short help of each tool
                Summary                lines for a person, one JSON object for a program
                Terminal               showing lines, progress, questions
                Command line           parser, signals, exit codes

A photo on its way: find_images finds it; read_job reads its head and tail in one open and gives
Found; image_of makes an Image of that and its own clock; plan lets each step (STEP_FUNCTIONS) lay
its layer on it; carry_out tells the journal (pack_image), has write_job write the edits of all
layers into the file, and tells the journal again (Written). The upload reads the line
(unpack_image), makes a Parcel of it in the Batch of its sequence, and sends the bytes that
ready_image gives; what the service acknowledges becomes a line Sent, the sequence a line Manifest.

Exit codes: 0 all good, 1 some images failed (each is listed), 2 usage, 3 input not found, 4 bad
EXIF, 5 bad track, 6 outside the track, 7 program missing, 8 upload, 9 not authorized, 10 journal,
11 cannot write, 12 other, 75 in use by another run, 129, 130, 143 ended by a signal.

For embedding: `import mapillary_tools`; what `__all__` names is kept stable. Every tool is a
function of option groups that returns a Report and raises ToolError; nothing here calls sys.exit,
prints, or touches sys.path, the environment or logging handlers when it is imported.
"""

import sys

__version__ = "1.0.0"

# scripts ask this often: do not build all the rest
if __name__ == "__main__" and sys.argv[1:] == ["--version"]:
    sys.stdout.write(f"mapillary_tools {__version__}\n")
    sys.exit(0)

if __name__ == "__main__":  # until all is there that ends a run in order, a Ctrl-C ends it at once
    import os
    import signal

    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import binascii
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
import stat
import struct
import subprocess
import threading
import time
import typing
from array import array
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import (
    AbstractSet,
    Any,
    BinaryIO,
    Callable,
    ClassVar,
    Counter,
    Deque,
    Dict,
    FrozenSet,
    Generator,
    Generic,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Set,
    Tuple,
    Type,
    TypeVar,
    Union,
)

if typing.TYPE_CHECKING:
    import concurrent.futures
    import importlib.abc
    import multiprocessing.connection
    import multiprocessing.process
    from xml.parsers import expat

__all__ = [
    "Account",
    "Again",
    "AllVideos",
    "Angle",
    "Areas",
    "BadExif",
    "BadJournal",
    "BadTrack",
    "Box",
    "Camera",
    "CannotWrite",
    "CsvColumns",
    "Dry",
    "ExportOptions",
    "Fix",
    "FrameOptions",
    "Geotagging",
    "Image",
    "InUse",
    "Input",
    "Insert",
    "Interpolation",
    "Journal",
    "Keep",
    "Login",
    "Master",
    "MetaData",
    "NotAuthorized",
    "NotFound",
    "Outcome",
    "OutsideTrack",
    "PageOptions",
    "Patience",
    "Problem",
    "ProgramMissing",
    "Report",
    "RunPage",
    "Selection",
    "SequenceOptions",
    "StatusOptions",
    "Table",
    "ToolError",
    "Track",
    "TrackOut",
    "Ui",
    "UploadError",
    "UploadOptions",
    "UsageError",
    "User",
    "Verbose",
    "Video",
    "Videos",
    "Waiting",
    "Whose",
    "Workers",
    "authenticate",
    "bearing",
    "distance",
    "download_images",
    "exif_insert",
    "export",
    "extract_geotag_data",
    "extract_import_meta_data",
    "extract_sequence_data",
    "extract_upload_params",
    "extract_user_data",
    "find_images",
    "fix_at",
    "format_time",
    "interpolate",
    "main",
    "mark_duplicates",
    "parse_time",
    "process",
    "process_and_upload",
    "process_csv",
    "read_image",
    "read_track",
    "report",
    "restore",
    "retry_delay",
    "sample_video",
    "split",
    "spread_subseconds",
    "status",
    "turn",
    "upload",
    "video_process",
    "video_process_and_upload",
    "write_gpx",
    "write_image",
]

LOG = logging.getLogger("mapillary_tools")
LOG.addHandler(logging.NullHandler())

HERE = os.path.dirname(os.path.abspath(os.path.realpath(__file__)))
_loading = threading.Lock()


def _zip_loader(name: str) -> "importlib.abc.Loader":
    """A loader for vendor/NAME inside the zip archive that this module was imported from, whatever
    name it gets.
    """
    import importlib.abc
    import zipimport

    class Loader(importlib.abc.InspectLoader):
        def get_source(self, fullname: str) -> Optional[str]:
            return zipimport.zipimporter(os.path.join(HERE, "vendor")).get_source(name)

    return Loader()


def vendored(name: str) -> ModuleType:
    """The package vendor/NAME, loaded by path under a private name, so that a host's own NAME is
    left alone.
    """
    import importlib.util

    private, folder = "_mapillary_tools_" + name, os.path.join(HERE, "vendor", name)
    start = os.path.join(folder, "__init__.py")
    with _loading:
        if private in sys.modules:
            return sys.modules[private]
        if os.path.isfile(start):
            spec = importlib.util.spec_from_file_location(
                private, start, submodule_search_locations=[folder]
            )
        elif os.path.isdir(HERE):
            remedy = "copy the folder vendor/ together with mapillary_tools.py"
            raise ImportError(f"{folder} is missing: {remedy}")
        else:
            spec = importlib.util.spec_from_loader(private, _zip_loader(name), is_package=True)
        assert spec is not None and spec.loader is not None
        spec.submodule_search_locations = [folder]
        module = sys.modules[private] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[private]
            raise
        return module


def _aside(name: str) -> ModuleType:
    """The library vendor/NAME, which imports itself by its own name, without leaving that name or a
    path behind.
    """
    private, vendor = "_mapillary_tools_" + name, os.path.join(HERE, "vendor")
    with _loading:
        if private not in sys.modules:
            own = [key for key in sys.modules if key.partition(".")[0] == name]
            theirs = {key: sys.modules.pop(key) for key in own}
            sys.path.insert(0, vendor)
            try:
                sys.modules[private] = importlib.import_module(name)
            finally:
                sys.path.remove(vendor)
                for key in [key for key in sys.modules if key.partition(".")[0] == name]:
                    del sys.modules[key]
                sys.modules.update(theirs)
        return sys.modules[private]


def second_reader(name: str) -> Optional[ModuleType]:
    """A well-kept library (gpxpy, exifread) for what the own reader refuses: vendor/NAME, else
    installed, else None.
    """
    vendor = os.path.isdir(os.path.join(HERE, "vendor", name))
    try:
        return _aside(name) if vendor else importlib.import_module(name)
    except ImportError:
        return None


# ---- Errors and names ---------------------------------------------------------------------------
# Here: what can go wrong, with an exit code a class, and named numbers with their unit.
# Not here: anything that acts.


# before a path that may be longer than 260 letters on Windows; of a network drive
LONG_PATH, LONG_SHARE = "\\\\?\\", "\\\\?\\UNC\\"


def unextended(text: str) -> str:
    """A text with paths as people know them."""
    if os.name != "nt":
        return text
    return text.replace(LONG_SHARE, "\\\\").replace(LONG_PATH, "")


def shown(text: str) -> str:
    """A text as one line without control characters, which a file name may hold."""
    controls = "[\x00-\x1f\x7f-\x9f\u2028\u2029]"
    return re.sub(controls, lambda match: f"\\x{ord(match.group()):02x}", unextended(text))


def near_to(typed: str, known: Sequence[str], count: int = 1) -> List[str]:
    """Those of some words that are spelled almost like one."""
    import difflib

    small = {word.lower(): word for word in known}
    found = difflib.get_close_matches(typed.lower(), list(small), count, 0.6)
    return [small[word] for word in found]


class Problem(NamedTuple):
    """What a person can act on; text and --json are both made from it."""

    code: str  # stable word, such as "no_position"
    wrong: str  # what is wrong
    file: str = ""  # file or folder it is about; "" = none
    value: str = ""  # the value that is wrong
    remedy: str = ""  # what to do

    def __str__(self) -> str:
        """One line: `path: what is wrong, with the value (what to do)`."""
        text = f"{self.file}: {self.wrong}" if self.file else self.wrong
        text += f": {self.value}" if self.value else ""
        text += f" ({self.remedy})" if self.remedy else ""
        return shown(text)

    def as_row(self) -> Dict[str, str]:
        """The same for a program."""
        return dict(self._asdict(), file=unextended(self.file))


class ToolError(Exception):
    """Something a person can act on; carries its problem, also from one process to another."""

    exit_code = 12

    def __init_subclass__(cls, exit_code: int = 0) -> None:
        cls.exit_code = exit_code or cls.exit_code

    def __init__(
        self, code: str, wrong: str, file: Union[str, Path] = "", value: str = "", remedy: str = ""
    ) -> None:
        self.problem = Problem(code, wrong, file=str(file), value=value, remedy=remedy)
        super().__init__(*self.problem)

    def __str__(self) -> str:
        return str(self.problem)


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


class InUse(BadJournal, exit_code=75):
    """Another run works on a folder: later the same command succeeds (EX_TEMPFAIL, sysexits.h)."""


def in_use(folder: str, value: str) -> Problem:
    """That another run works on a folder; value: who does, or what waits for it."""
    wrong = "is being worked on by another run"
    remedy = "run it again when that has ended, or add --wait SECONDS"
    return Problem(SKIP_IN_USE, wrong, file=folder, value=value, remedy=remedy)


class CannotWrite(ToolError, exit_code=11):
    """A folder is read-only or the disk is full."""


class NoRoom(CannotWrite):
    """The disk is full, or too many files are open: may pass where others take their places."""


EXIT_SOME_FAILED = 1  # some images failed; each is listed
EXIT_SIGNAL = 128  # and the number of the signal that ended the run
EXIT_INTERRUPTED = EXIT_SIGNAL + 2  # Ctrl-C

# that can be described and uploaded
JPEG_KINDS = ("jpg", "jpeg", "jpe", "jfif", "jfi", "jif", "36p", "insp", "mpo")
IMAGE_KINDS = (*JPEG_KINDS, "tif", "tiff", "pgm", "pnm", "gif")
VIDEO_KINDS = tuple(
    (
        "mp4 mov avi m4v 360 insv osv ts mts m2ts m2t tod mod mkv mpg mpeg vob dav 3gp 3g2 wmv asf "
        "flv webm ogv mxf h264 hevc r3d braw crm"
    ).split()
)
STATE_FOLDER = ".mapillary"  # in each folder of images; never searched for images
PART_PREFIX, PART_SUFFIX = ".mapillary-", ".part"  # temporary files
COPY_BYTES = 1 << 17  # bytes copied at a time; more cost the kernel new memory for each piece
SEQUENCE_IMAGES = 500  # images in one sequence at most
SEQUENCE_PIXELS = 6_000_000_000  # pixels of the images of one sequence at most
SEQUENCE_BYTES = 110 << 30  # bytes of the images of one sequence at most
EXTRAPOLATE_S = 1.0  # seconds a track is continued beyond its ends
HOLE_S = 60.0  # seconds; a longer hole in a track is said
DAY_S = 86400.0  # seconds
PROCESS_IMAGES = 2000  # images from which worker processes are worth their start
FORK_IMAGES = 64  # the same, where a process begins as a copy of this one
ID_NAMESPACE = "8d3e7e7b-6a0b-5c5e-9c5b-3c1f0c1a7d11"  # namespace of the UUIDv5 ids, chosen once
# Why something is skipped: a stable code, and in SKIP_WORDS what it means and what to do.
SKIP_KIND, SKIP_UPLOADED, SKIP_PROCESSED = "not_jpeg", "already_uploaded", "already_processed"
SKIP_DUPLICATE, SKIP_LEFT, SKIP_HIDDEN, SKIP_SHADOW = "duplicate", "not_sent", "hidden", "shadow"
SKIP_HEIC, SKIP_OTHER, SKIP_RAW, SKIP_LINK = "heic", "other_picture", "raw_photo", "link"
SKIP_VIDEO, SKIP_PREVIEW = "video", "preview_video"
SKIP_UNFINISHED, SKIP_BACKUP = "unfinished", "backup"
SKIP_WAITING, SKIP_UNPROCESSED, SKIP_GONE = "waiting", "not_processed", "gone"
SKIP_OUTDATED, SKIP_AS_FOUND, SKIP_HERE = "outdated", "as_found", "already_downloaded"
SKIP_NO_ROW, SKIP_PLACED, SKIP_ALONE = "no_row", "has_position", "no_other_of_its_time"
SKIP_SAMPLED, SKIP_LEFT_OUT, SKIP_EXCLUDED = "already_sampled", "left_out", "excluded_area"
SKIP_IN_USE, SKIP_PARKED, SKIP_IN_FRAMES = "in_use", "parked", "in_frames"
SKIP_WORDS = {
    SKIP_KIND: "not a JPEG (Mapillary takes only JPEG)",
    SKIP_LEFT: "still to be sent",
    SKIP_HIDDEN: "hidden: deleted by a phone, or not yet written whole",
    SKIP_SHADOW: "a shadow file of macOS, without a picture",
    SKIP_HEIC: "HEIC, HEIF or AVIF (export as JPEG; on an iPhone: Settings, Camera, Formats, Most "
    "Compatible)",
    SKIP_OTHER: "PNG, WebP or the like (save as JPEG)",
    SKIP_RAW: "a raw photo (export as JPEG)",
    SKIP_LINK: "a link (process the folder that the photo itself is in)",
    SKIP_VIDEO: "a video (process_and_upload --videos upload sends it whole; video_process takes "
    "frames of it)",
    SKIP_PREVIEW: "a camera's small preview of a video",
    SKIP_UNFINISHED: "not here as a whole: in a cloud, or its download was broken off (fetch it)",
    SKIP_BACKUP: "a program's copy of a photo before it changed that",
    SKIP_GONE: "gone: processed, and no longer in the folder",
    SKIP_OUTDATED: "outdated: sent with another time or position than it has now",
    SKIP_AS_FOUND: "as it was found: nothing of ours is in it",
    SKIP_NO_ROW: "no row in the table",
    SKIP_PLACED: "has a position",
    SKIP_ALONE: "no other image or row has its time",
    SKIP_SAMPLED: "already sampled with these settings",
    SKIP_LEFT_OUT: "left out, by the mark that somebody set",
    SKIP_EXCLUDED: "in an area that is left out",
    SKIP_IN_USE: "in a folder that another run works on",
    SKIP_PARKED: "parked: a video whose camera did not move by more than 10 m",
    SKIP_IN_FRAMES: "a video, of which frames take part",
}


def skip_words(code: str) -> str:
    """Why something is skipped, in words."""
    return SKIP_WORDS.get(code, code.replace("_", " "))


UNREADABLE = "unreadable"  # the code of a problem of the medium, which may pass
STAND_IN_FILE = "stand_in.json"  # tells a folder in which a stand-in service keeps what it received

STEPS = (
    "user_process",
    "import_meta_data_process",
    "geotag_process",
    "sequence_process",
    "upload_params_process",
    "mapillary_image_description",
)
USER, META, GEOTAG, SEQUENCE, PARAMS, DESCRIPTION = STEPS  # as the journal names them


# ---- Data ---------------------------------------------------------------------------------------
# Here: the values that flow from floor to floor; a photo is a stack of layers, one a step.
# Not here: reading, writing, computing; how a layer stands in the journal.


CAMERA_CLOCK = "camera clock"  # of a Track whose times are those of a clock that people set


class Fix(NamedTuple):
    """One place at one time."""

    time: float  # seconds since 1970-01-01 UTC
    lat: float  # degrees WGS-84, north positive
    lon: float  # degrees WGS-84, east positive
    alt: Optional[float] = None  # metres, negative below the reference; None = unknown
    # degrees clockwise from true north, 0 <= x < 360; None = unknown
    course: Optional[float] = None


class Track(NamedTuple):
    """Where something was, when."""

    points: List[Fix]  # sorted by time, one per time
    starts: List[int]  # index of each segment's first point
    dropped: Dict[str, int]  # how many points were left out, by reason
    clock: str  # where the times come from: "GPX", "GPS9", "GPSU fitted", "RMC" ...
    notes: Sequence[str] = ()  # what the run should say
    # seconds UTC of a video's own time 0, by `clock`; None = its telemetry does not tell
    zero: Optional[float] = None
    # (seconds of video time, seconds UTC) where the clock runs faster than the pictures: time-lapse
    pace: Sequence[Tuple[float, float]] = ()

    @property
    def gps_zero(self) -> Optional[float]:
        """`zero`, where a GPS tells it and not the camera's own clock."""
        return None if self.clock == CAMERA_CLOCK else self.zero

    def segments(self) -> Iterator[List[Fix]]:
        """The points of each segment; between two of them nothing is known."""
        starts = self.starts or [0]
        for start, end in zip(starts, starts[1:] + [len(self.points)]):
            yield self.points[start:end]


class Camera(NamedTuple):
    """What took the picture; None = unknown."""

    make: Optional[str] = None
    model: Optional[str] = None
    width: Optional[int] = None  # pixels
    height: Optional[int] = None  # pixels
    orientation: Optional[int] = None  # EXIF 1..8


class Stamp(NamedTuple):
    """Size and time of a file, by which it is known to be as it was."""

    size: int  # bytes
    mtime: int  # milliseconds since 1970


NO_STAMP = Stamp(-1, -1)  # of a file that cannot be looked at


class Clock(NamedTuple):
    """One time of a photo as EXIF has it: three texts, "" where there is none."""

    name: str  # DateTimeOriginal ... or one of those in XMP and IPTC
    text: str = ""  # date and time, in a zone that may be unknown
    fraction: str = ""  # its SubSecTime...
    offset: str = ""  # its OffsetTime...


class Xmp(NamedTuple):
    """What the XMP of a photo says, for want of EXIF; None = it does not."""

    lat: Optional[float] = None  # degrees; None without lon
    lon: Optional[float] = None
    alt: Optional[float] = None  # metres
    heading: Optional[float] = None  # degrees from true north
    make: Optional[str] = None
    model: Optional[str] = None


class Capture(NamedTuple):
    """When an image was taken, and how that is known."""

    time: float  # seconds since 1970-01-01 UTC
    source: str  # "DateTimeOriginal" ... "GPS time", "file name"
    offset: float  # seconds that local time is ahead of UTC
    zone: str  # what told the zone: "OffsetTimeOriginal", "--timezone", "GPS time", "UTC assumed"


class MetaTag(NamedTuple):
    """A value of the user's own that goes into the description."""

    type: str  # a key of TAG_LISTS
    key: str
    value: Union[str, float, int, bool]


TAG_LISTS = {  # the lists of MAPMetaTags by the type of what they hold
    "string": "strings",
    "double": "doubles",
    "long": "longs",
    "date": "dates",
    "boolean": "booleans",
}

Raw = Dict[str, Dict[str, object]]  # IFD -> tag number -> value, of the tags that we may write


class Found(NamedTuple):
    """What a file carried before we first changed it; None = it does not say."""

    clocks: Tuple[Clock, ...] = ()  # those that have any text
    gps_time: Optional[float] = None  # seconds UTC
    gps_clock: Optional[float] = None  # seconds since midnight UTC, where there is no date with it
    other_time: Optional[str] = None  # where a time stands that does not count, for a message
    xmp: Optional[Xmp] = None  # None = EXIF has all that is needed, or there is none
    lat: Optional[float] = None  # degrees; never (0, 0) for "unknown"
    lon: Optional[float] = None
    alt: Optional[float] = None  # metres
    heading: Optional[float] = None  # degrees from true north
    magnetic: Optional[float] = None  # degrees from magnetic north
    orientation: Optional[int] = None  # EXIF 1..8
    make: Optional[str] = None
    model: Optional[str] = None
    accuracy: Optional[float] = None  # metres
    body_serial: Optional[str] = None
    lens_serial: Optional[str] = None
    caption: Optional[str] = None  # ImageDescription
    history: Optional[str] = None  # ImageHistory
    raw: Optional[Raw] = None  # the tags that we may write, as they were
    reader: Optional[str] = None  # the library that read it where our own reader could not
    pixels: Optional[Tuple[Optional[int], Optional[int]]] = None  # width, height
    digest: Optional[str] = None  # of its Exif block; of an image that is left out: of the areas
    thumbnail: Optional[str] = None  # base64, of a block in which it may have to make room
    sphere: Optional[bool] = None  # its XMP says that it is a panorama; None = it does not
    links: Optional[int] = None  # names of the file; None = one
    size: int = -1  # bytes
    mtime: int = -1  # milliseconds since 1970
    error: Optional[Problem] = None  # why it cannot be read

    @property
    def stamp(self) -> Stamp:
        """Size and time of the file."""
        return Stamp(self.size, self.mtime)

    @property
    def place(self) -> Tuple[Optional[float], Optional[float], Optional[float]]:
        """Latitude, longitude and altitude, by EXIF, else by XMP."""
        if self.lat is None and self.xmp is not None:
            return self.xmp.lat, self.xmp.lon, self.alt if self.xmp.alt is None else self.xmp.alt
        return self.lat, self.lon, self.alt


class Given(NamedTuple):
    """What process_csv and interpolate put in place of what was found; None = nothing."""

    time: Optional[float] = None  # seconds UTC
    lat: Optional[float] = None
    lon: Optional[float] = None
    heading: Optional[float] = None
    alt: Optional[float] = None
    tags: Optional[Tuple[MetaTag, ...]] = None
    later: Optional[float] = None  # seconds to add to the capture time, in whatever zone it is
    filled: Optional[Tuple[float, float]] = None  # the position as interpolated, not to go on from
    turn: Optional[float] = None  # degrees to add to the direction, whatever tells it
    left_out: Optional[bool] = None  # whether it is not to go up


class Written(NamedTuple):
    """How our own writing is known again."""

    size: int  # bytes
    mtime: int  # milliseconds since 1970
    digest: Optional[str] = None  # of the Exif block
    edits: Optional[str] = None  # short hash of what was to be written
    ctime: Optional[int] = None  # milliseconds since 1970, of the change of the file or its names

    @property
    def stamp(self) -> Stamp:
        """Size and time of the file."""
        return Stamp(self.size, self.mtime)


class Uploader(NamedTuple):
    """What the step user_process says: who uploads."""

    user_name: Optional[str] = None
    user_key: Optional[str] = None
    organization_key: Optional[str] = None
    private: Optional[bool] = None
    master: Optional[bool] = None  # whether the description is to be signed


class Device(NamedTuple):
    """What the step import_meta_data_process says: camera and file."""

    orientation: Optional[int] = None  # EXIF 1..8
    turn: Optional[int] = None  # the orientation that the user gave, EXIF 1..8
    make: Optional[str] = None
    model: Optional[str] = None
    accuracy: Optional[float] = None  # metres
    import_date: Optional[int] = None  # milliseconds since 1970
    tags: Optional[Tuple[MetaTag, ...]] = None
    sphere: Optional[bool] = None  # to be marked as a whole equirectangular panorama


class Geotag(NamedTuple):
    """What the step geotag_process says: when, where, and in which direction."""

    time: float  # seconds UTC
    lat: float
    lon: float
    alt: Optional[float] = None
    course: Optional[float] = None
    heading: Optional[float] = None
    magnetic: Optional[float] = None
    source: Optional[str] = None  # as in Capture
    zone: Optional[str] = None
    offset: float = 0.0  # seconds that local time is ahead of UTC
    placed_by: Optional[str] = None  # what told the position; None = EXIF, or a track
    track: Optional[str] = None  # name of the track that told the position
    around: Optional[Tuple[float, float]] = None  # seconds UTC of its points before and behind

    @property
    def fix(self) -> Fix:
        """The place and time."""
        return Fix(self.time, self.lat, self.lon, self.alt, self.course)


def folder_beside(folder: str, name: str) -> str:
    """The folder of a name beside another one."""
    return os.path.join(os.path.dirname(folder), name)


def name_from(home: str, folder: str, name: str) -> str:
    """What a file of a folder is called in another: its name, or ../FOLDER/NAME."""
    return name if home == folder else f"../{os.path.basename(folder)}/{name}"


class Repeat(NamedTuple):
    """Which image a duplicate repeats."""

    partner: str  # file name of the image that is kept, ../FOLDER/NAME from another folder
    distance: float  # metres between them
    turn: Optional[float] = None  # degrees between their headings; None = unknown
    metres_limit: Optional[float] = None  # what counted as a repetition; None = not recorded
    turn_limit: Optional[float] = None


class Membership(NamedTuple):
    """What the step sequence_process says: the sequence and direction, or which image
    it repeats.
    """

    sequence: Optional[str] = None  # sequence id
    heading: Optional[float] = None
    # metres, seconds: of its first image, why it was cut
    limits: Optional[Tuple[float, float]] = None
    repeats: Optional[Repeat] = None
    # names of the folders that the sequence runs through, from the first; None = its own only
    span: Optional[Tuple[str, ...]] = None


class Terms(NamedTuple):
    """What the step upload_params_process says: whose account."""

    user_name: Optional[str] = None
    organization_key: Optional[str] = None
    service: Optional[str] = None
    master: Optional[bool] = None


class Described(NamedTuple):
    """What the step mapillary_image_description says: where the description goes."""

    into: str  # "image", "copy" or "stream"
    master: Optional[bool] = None
    # short hash of everything that is written, or to be compared to what was; None = not yet known
    edits: Optional[str] = None


Layer = Union[Uploader, Device, Geotag, Membership, Terms, Described]


class Failure(NamedTuple):
    """The step that could not be done."""

    step: str
    problem: Problem  # about the image's own file unless it names another


class Outcome(NamedTuple):
    """Why an image goes no further."""

    status: str  # "skipped", "duplicate" or "failed"
    reason: str  # skipped: one of SKIP_...; else the Problem's code
    problem: Optional[Problem] = None
    repeats: Optional[Repeat] = None


def settings_text(by_step: Mapping[str, str]) -> str:
    """Hashes by step as one text, in the order of STEPS: there are as many as images."""
    return " ".join([by_step.get(step, "") for step in STEPS]) if by_step else ""


class Image(NamedTuple):
    """One image on its way: what was found, what was given, and a layer for each step taken.

    Of every fact the topmost layer that has it holds: the properties look it up.
    """

    path: Path  # identity
    found: Optional[Found] = None
    given: Optional[Given] = None
    capture: Optional[Capture] = None  # what the file's own clocks say
    uploader: Optional[Uploader] = None
    device: Optional[Device] = None
    geotag: Optional[Geotag] = None
    membership: Optional[Membership] = None
    terms: Optional[Terms] = None
    described: Optional[Described] = None
    failure: Optional[Failure] = None
    settings: str = ""  # of the steps that were taken, see settings_text()
    written: Optional[Written] = None  # None = the file is not our writing
    copied: Optional[Written] = None  # of --keep_original; None = none, or of an earlier version
    aside: Optional[Outcome] = None  # why this run leaves it out; not remembered

    @classmethod
    def at(cls, path: Union[str, Path], fix: Fix, heading: Optional[float] = None) -> "Image":
        """An image of which only time, place and direction are known: for split() and its like."""
        return cls(Path(path), geotag=Geotag(*fix, heading=heading))

    @property
    def time(self) -> Optional[float]:
        """Capture, seconds since 1970-01-01 UTC."""
        if self.geotag is not None:
            return self.geotag.time
        given = self.given or NOTHING_GIVEN
        if given.time is not None:
            return given.time
        return None if self.capture is None else self.capture.time + (given.later or 0.0)

    @property
    def fix(self) -> Optional[Fix]:
        """The place; all or nothing."""
        if self.geotag is not None:
            return self.geotag.fix
        given = self.given or NOTHING_GIVEN
        lat, lon, alt = (self.found or NOTHING_FOUND).place
        lat, lon = (lat, lon) if given.lat is None else (given.lat, given.lon)
        if lat is None or lon is None:
            return None
        return Fix(self.time or 0.0, lat, lon, alt if given.alt is None else given.alt)

    @property
    def heading(self) -> Optional[float]:
        """The camera axis in degrees from true north."""
        if self.membership is not None and self.membership.heading is not None:
            return self.membership.heading
        if self.geotag is not None:
            return self.geotag.heading
        if self.given is not None and self.given.heading is not None:
            return self.given.heading
        found = self.found or NOTHING_FOUND
        if found.heading is None and found.magnetic is None and found.xmp is not None:
            return found.xmp.heading
        return found.heading

    @property
    def magnetic(self) -> Optional[float]:
        """The camera axis in degrees from magnetic north."""
        if self.geotag is not None:
            return self.geotag.magnetic
        return self.found.magnetic if self.found else None

    @property
    def camera(self) -> Camera:
        """What took the picture, as the file says."""
        found = self.found or NOTHING_FOUND
        xmp, (width, height) = found.xmp or Xmp(), found.pixels or (None, None)
        make, model = found.make or xmp.make, found.model or xmp.model
        return Camera(make, model, width, height, found.orientation)

    @property
    def sequence(self) -> Optional[str]:
        """The id of its sequence."""
        return self.membership.sequence if self.membership else None

    def span_from(self, folder: str) -> List[str]:
        """The folders of its sequence, from the first; its own is folder."""
        names = self.membership.span if self.membership else None
        return [folder] if names is None else [folder_beside(folder, name) for name in names]

    @property
    def problem(self) -> Optional[Problem]:
        """Why it failed, by the file itself or by a step."""
        if self.is_excluded:
            return None
        if self.found is not None and self.found.error is not None:
            return self.found.error._replace(file=str(self.path))
        if self.failure is None:
            return None
        known = self.failure.problem
        return known if known.file else known._replace(file=str(self.path))

    @property
    def outcome(self) -> Optional[Outcome]:
        """Why it goes no further; None = it does."""
        if self.aside is not None:
            return self.aside
        if self.is_left_out:
            return Outcome("skipped", SKIP_LEFT_OUT)
        if self.is_excluded:
            return Outcome("skipped", SKIP_EXCLUDED)
        problem = self.problem
        if problem is not None:
            return Outcome("failed", problem.code, problem)
        if self.membership is not None and self.membership.repeats is not None:
            return Outcome("duplicate", SKIP_DUPLICATE, None, self.membership.repeats)
        return None

    @property
    def is_left_out(self) -> bool:
        """Whether somebody marked it as not to go up."""
        return bool(self.given is not None and self.given.left_out)

    @property
    def is_excluded(self) -> bool:
        """Whether it lies in an area that is left out; then nothing else is known of it."""
        error = self.found.error if self.found is not None else None
        return error is not None and error.code == SKIP_EXCLUDED

    def excluded(self, areas: str) -> "Image":
        """The image with nothing but the reason, and which areas were left out."""
        reason = Problem(SKIP_EXCLUDED, SKIP_WORDS[SKIP_EXCLUDED])
        found = self.found or NOTHING_FOUND
        nothing = Found(error=reason, digest=areas, size=found.size, mtime=found.mtime)
        return Image(self.path, nothing)

    @property
    def layers(self) -> Tuple[Optional[Layer], ...]:
        """The layers in the order of STEPS."""
        first = (self.uploader, self.device, self.geotag)
        return (*first, self.membership, self.terms, self.described)

    def layer(self, step: str) -> Optional[Layer]:
        """What a step made of it; None when it was not taken, or failed."""
        return self.layers[STEPS.index(step)]

    def failed_in(self, step: str) -> bool:
        """Whether a step could not be done."""
        return self.failure is not None and self.failure.step == step

    def taken(self, step: str) -> bool:
        """Whether a step was taken, well or not."""
        return self.layer(step) is not None or self.failed_in(step)

    def without(self, steps: AbstractSet[str]) -> "Image":
        """The image before some steps."""
        before = self.settings_by_step
        kept = {step: text for step, text in before.items() if step not in steps}
        gone = self.failure is not None and self.failure.step in steps
        return self._replace(
            uploader=None if USER in steps else self.uploader,
            device=None if META in steps else self.device,
            geotag=None if GEOTAG in steps else self.geotag,
            membership=None if SEQUENCE in steps else self.membership,
            terms=None if PARAMS in steps else self.terms,
            described=None if DESCRIPTION in steps else self.described,
            failure=None if gone else self.failure,
            settings=settings_text(kept),
            aside=None,
        )

    @property
    def settings_by_step(self) -> Dict[str, str]:
        """Hash of what the result of a step depends on, by the step; of those that were taken."""
        return {step: text for step, text in zip(STEPS, self.settings.split(" ")) if text}


NOTHING_FOUND, NOTHING_GIVEN = Found(), Given()


def leave_out(image: Image, reason: str) -> Image:
    """The image as left out of this run."""
    return image._replace(aside=Outcome("skipped", reason))


def fail_now(image: Image, problem: Problem) -> Image:
    """The image as failed in this run, by a problem about its own file unless another is named; not
    remembered.
    """
    whole = problem if problem.file else problem._replace(file=str(image.path))
    return image._replace(aside=Outcome("failed", problem.code, whole))


# ---- Reports ------------------------------------------------------------------------------------
# Here: what a tool did, in counts and words, and how the floors below talk to whoever runs them.
# Not here: printing.


@dataclass
class Told:
    """What a summary says beside its counts."""

    word: str = "done"  # what was done: "processed", "uploaded"
    notes: List[str] = dataclasses.field(default_factory=list)  # said while it ran
    lines: List[str] = dataclasses.field(default_factory=list)  # what else the summary shows
    facts: Dict[str, object] = dataclasses.field(default_factory=dict)  # figures, for --json
    output: Optional[str] = None  # what was asked for on standard output, instead of the summary
    seconds: Optional[float] = None  # how long it took
    next: Tuple[str, ...] = ()  # words of the command that comes next; none = nothing is left to do
    images: Sequence[Image] = ()  # those of a run that processed any


AGAIN = ("the same command",)  # as the command that comes next


@dataclass
class Report:
    """What a tool did: found = done + skipped + failed, always."""

    tool: str
    done: int = 0
    skipped: Dict[str, List[str]] = dataclasses.field(default_factory=dict)  # SKIP_... -> paths
    failed: List[Problem] = dataclasses.field(default_factory=list)
    trouble: List[Problem] = dataclasses.field(default_factory=list)  # wrong with no single image
    stopped: Optional[ToolError] = None  # why the run ended before its time; None = it did not
    told: Told = dataclasses.field(default_factory=Told)
    # tools that ran before, in order
    parts: List["Report"] = dataclasses.field(default_factory=list)

    @property
    def found(self) -> int:
        """How many images, or other things, it was about."""
        return self.done + sum(map(len, self.skipped.values())) + len(self.failed)

    @property
    def notes(self) -> List[str]:
        """What was said while it ran."""
        return self.told.notes

    @property
    def images(self) -> Sequence[Image]:
        """The images of a run that processed any: path, time, fix, heading, sequence, problem."""
        return self.told.images

    @property
    def word(self) -> str:
        """What was done: "processed", "uploaded"."""
        return self.told.word

    @property
    def lines(self) -> List[str]:
        """What else the summary shows."""
        return self.told.lines

    @property
    def facts(self) -> Dict[str, object]:
        """Figures of the tool, for --json."""
        return self.told.facts

    @property
    def exit_code(self) -> int:
        """0; 1 when something failed, here or in a part; that of InUse when nothing but the runs of
        others stood in the way; or the code of what stopped the run.
        """
        if self.stopped is not None:
            return self.stopped.exit_code
        parts = {part.exit_code for part in self.parts} - {0}
        if self.failed or self.trouble or parts - {InUse.exit_code}:
            return EXIT_SOME_FAILED
        return InUse.exit_code if parts or SKIP_IN_USE in self.skipped else 0  # later it succeeds

    @property
    def all_trouble(self) -> List[Problem]:
        """What is wrong with no single image, folders in which another run works among it."""
        folders = collections.Counter(map(os.path.dirname, self.skipped.get(SKIP_IN_USE, ())))
        return [*self.trouble, *(in_use(one, plural(n, "image")) for one, n in folders.items())]

    def count(self, path: Union[str, Path], outcome: Optional[Outcome]) -> None:
        """Account for one image by its outcome; None = done."""
        if outcome is None:
            self.done += 1
        elif outcome.status == "failed":
            self.failed.append(outcome.problem or Problem(outcome.reason, "failed", file=str(path)))
        else:
            self.skipped.setdefault(outcome.reason, []).append(str(path))

    def add(self, other: "Report") -> None:
        """Count also what another run of the same tool did."""
        self.done += other.done
        self.failed += other.failed
        self.trouble += other.trouble
        self.told.lines += other.told.lines
        for code, paths in other.skipped.items():
            self.skipped.setdefault(code, []).extend(paths)

    def as_json(self) -> Dict[str, object]:
        """The same as plain values."""
        codes = sorted(self.skipped)
        row: Dict[str, object] = {
            "tool": self.tool,
            "version": __version__,
            "exit_code": self.exit_code,
            "found": self.found,
            "done": self.done,
            "skipped": {code: len(self.skipped[code]) for code in codes},
            "words": {code: skip_words(code) for code in codes},
            "failed": [problem.as_row() for problem in self.failed],
            "trouble": [problem.as_row() for problem in self.all_trouble],
            "notes": list(map(unextended, self.notes)),
            "stopped": None if self.stopped is None else self.stopped.problem.as_row(),
            "sequences": None,
            "seconds": self.told.seconds,
            "safe_to_delete": None,
            "next": list(self.told.next) or None,
            "parts": [part.as_json() for part in self.parts],
        }
        row.update(self.told.facts)
        return row


def plural(count: int, word: str) -> str:
    """A count with its word: 1 camera, 2 cameras."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


class Ui(NamedTuple):
    """How the floors below talk to whoever runs them; the top floor fills it in."""

    # (what, done, total, bytes so far)
    progress: Callable[[str, int, int, int], None] = lambda what, done, total, size: None
    # (question, secret) -> answer; None = nobody to ask
    ask: Optional[Callable[[str, bool], str]] = None


class Notes:
    """What the run says once, in order, whatever the number of images it is true of."""

    def __init__(
        self, tell: Callable[[str], None] = lambda text: None, lines: Optional[List[str]] = None
    ) -> None:
        self.lines = [] if lines is None else lines  # those of a Report, to go on with
        self._tell = tell

    def say(self, text: str) -> None:
        """Add a line unless it is there."""
        if text not in self.lines:
            self.lines.append(text)
            self._tell(text)


# ---- Options ------------------------------------------------------------------------------------
# Here: how an option is declared, once, and how a tool gets those that it was given.
# Not here: the options of a step (they stand beside it), parsing a command line.

T = TypeVar("T")
_RULE = "rule"  # where the metadata of a dataclass's field have it


class _Required:
    """Stands where an option has no default."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: NoReturn = _Required()  # type: ignore[assignment]  # of no type, so it may stand for any


class Rule(NamedTuple):
    """What there is to know of an option beside its name, type and default."""

    help: str
    metavar: Optional[str] = None  # a word for its value, which tells the unit
    advanced: bool = False  # only --advanced shows it
    choices: Optional[Sequence[object]] = None
    at_least: Optional[float] = None
    above: Optional[float] = None
    at_most: Optional[float] = None
    flag: Optional[str] = None  # its name on the command line, where that is no Python name
    positional: bool = False
    many: bool = False  # may be given several times: a tuple
    listed: bool = False  # a text of several of the choices, with commas
    alone: Optional[str] = None  # its value where none follows; None = one must
    # another way to write a number -> the number; None of it = this is not one
    other_form: Optional[Callable[[str], Optional[int]]] = None
    newer: bool = False  # came after the first journals: enters a hash only where it is used

    def wrong_with(self, value: object) -> Optional[str]:
        """What a value must be and is not; None when it is good."""
        words = comma_words(value) if self.listed and isinstance(value, str) else (value,)
        if self.choices and not set(words) <= {*self.choices, self.alone}:
            return "one of " + ", ".join(map(str, self.choices))
        if not isinstance(value, (int, float)):
            return None
        if not math.isfinite(value):
            return "a finite number"
        if self.at_least is not None and value < self.at_least:
            return f"at least {self.at_least:g}"
        if self.above is not None and value <= self.above:
            return f"above {self.above:g}"
        if self.at_most is not None and value > self.at_most:
            return f"at most {self.at_most:g}"
        return None


def comma_words(text: str) -> Tuple[str, ...]:
    """The words of a list with commas, without the blanks around them."""
    return tuple(word.strip() for word in text.split(","))


def opt(default: T, rule: Rule) -> T:
    """A field of an option group, whose name is the option's name.

    A field whose default is REQUIRED must be given; its type need not be Optional.
    """
    return dataclasses.field(default=default, metadata={_RULE: rule})


def rare(help: str, metavar: Optional[str] = None, at_least: Optional[float] = None) -> Rule:
    """The rule of an option that only --advanced shows."""
    return Rule(help, metavar, advanced=True, at_least=at_least)


class Option(NamedTuple):
    """A field of an option group."""

    name: str
    kind: type  # bool, int, float or str
    default: object
    rule: Rule

    @property
    def flag(self) -> str:
        """The option as it is written on a command line."""
        return "--" + (self.rule.flag or self.name)


def user_name_of(typed: str) -> str:
    """A user name without blanks around it; raises UsageError for an e-mail address."""
    name = typed.strip()
    if re.match(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z", name):
        wrong = "--user_name is an e-mail address, which the service does not know as a name"
        remedy = "give the name that stands on your Mapillary profile"
        raise UsageError("bad_user_name", wrong, value=name, remedy=remedy)
    return name


_FITTING: Dict[type, Tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str, os.PathLike),
}
_KIND_WORDS = {bool: "True or False", int: "a number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Group:
    """options"""

    word: ClassVar[str] = ""  # what an embedding call names the group

    def __post_init__(self) -> None:
        """Check every field by what opt() says of it; raises UsageError."""
        for option in self.options():
            value = getattr(self, option.name)
            if option.name == "user_name" and isinstance(value, str):
                value = user_name_of(value)
                object.__setattr__(self, option.name, value)  # frozen from here on
            missing = value is None or value == "" and not option.rule.choices
            if value is REQUIRED or missing and option.default is REQUIRED:
                word = option.rule.metavar or option.name.upper()
                raise UsageError(
                    "missing_option",
                    f"{option.flag} is missing",
                    remedy=f"add {option.flag} {word}",
                )
            must = None if missing else option.rule.wrong_with(value)
            parts = value if option.rule.many and isinstance(value, tuple) else (value,)
            if not missing and not all(isinstance(one, _FITTING[option.kind]) for one in parts):
                must = _KIND_WORDS[option.kind]
            if must is not None:
                raise UsageError("bad_option", f"{option.flag} must be {must}", value=str(value))

    @classmethod
    @functools.lru_cache(maxsize=None)
    def options(cls) -> Tuple[Option, ...]:
        """The options of the group in their order."""
        hints = typing.get_type_hints(cls)
        return tuple(
            Option(field.name, _plain_type(hints[field.name]), field.default, field.metadata[_RULE])
            for field in dataclasses.fields(cls)
            if _RULE in field.metadata
        )

    @classmethod
    def title(cls) -> str:
        """What the help calls the group."""
        return (cls.__doc__ or "").strip()

    def plain(self) -> Dict[str, object]:
        """The options by name, for hashes and ids: newer ones only where they are used."""
        return {
            option.name: getattr(self, option.name)
            for option in self.options()
            if not option.rule.newer or getattr(self, option.name) != option.default
        }


def _plain_type(hint: object) -> type:
    """The type of a value behind Optional."""
    kinds = getattr(hint, "__args__", (hint,))
    return next(kind for kind in kinds if isinstance(kind, type) and kind is not type(None))


G = TypeVar("G", bound=Group)


class Options:
    """The option groups that a tool was given: options[Geotagging]; one that was not given has its
    defaults.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = list(groups)

    def __getitem__(self, kind: Type[G]) -> G:
        """The group of a kind; raises UsageError when it has an option that must be given."""
        for group in self._groups:
            if isinstance(group, kind):
                return group
        made = kind()
        self._groups.append(made)
        return made

    def having(self, group: Group) -> "Options":
        """The same with another group of its kind."""
        return Options([group, *self._groups])


class Tool(NamedTuple):
    """A subcommand, and the function of the same name for programs that embed this one."""

    name: str
    groups: Tuple[Type[Group], ...]
    act: Callable[[Options, Ui], Report]
    advanced: bool = True  # only --advanced lists it

    def __call__(self, *given: Union[Group, Ui], ui: Ui = Ui(), **named: Group) -> Report:
        """Run the tool with option groups, in any order or by the word of each; returns its Report.

        Raises ToolError for what a person can act on, TypeError for a group that the tool does not
        take.
        """
        groups: Dict[str, Group] = {}
        for one in [*given, *named.values()]:
            if isinstance(one, Ui):
                ui = one
                continue
            kind = next((kind for kind in self.groups if isinstance(one, kind)), None)
            if kind is None or kind.word in groups:
                raise TypeError(f"{self.name}() takes no such group, or has it already: {one!r}")
            groups[kind.word] = one
        words = [kind.word for kind in self.groups]
        if not set(named) <= set(words) or any(
            groups.get(word) is not named[word] for word in named
        ):
            raise TypeError(f"{self.name}() names its groups {', '.join(words)}")
        missing = [kind() for kind in self.groups if kind.word not in groups]
        try:
            return self.act(Options([*groups.values(), *missing]), ui)
        except OSError as error:
            wrong, cause = "cannot be read or written", error.strerror or str(error)
            raise ToolError(
                "file_trouble",
                wrong,
                file=error.filename or "",
                value=cause,
                remedy="check the disk",
            ) from error

    @property
    def help(self) -> str:
        """What it is for."""
        return (self.act.__doc__ or "").strip()


@dataclass(frozen=True)
class Showing(Group):
    """output"""

    advanced: bool = opt(False, Rule("show advanced options in the help"))
    json: bool = opt(False, Rule("print the summary as one JSON object"))
    quiet: bool = opt(False, Rule("print nothing where all went well"))


_VERBOSE = Rule("say more, and keep a log of every image")


@dataclass(frozen=True)
class Verbose(Group):
    """narration"""

    word: ClassVar[str] = "verbose"
    verbose: bool = opt(False, _VERBOSE)


@dataclass(frozen=True)
class Input(Group):
    """input"""

    word: ClassVar[str] = "source"
    import_path: str = opt(
        REQUIRED,
        Rule(
            "folder with the images; several, or @LIST for a file with one a line, are one run",
            "FOLDER",
        ),
    )
    verbose: bool = opt(False, _VERBOSE)
    also: Tuple[str, ...] = ()  # further folders, for the same run

    @property
    def folders(self) -> List[str]:
        """All folders of the run."""
        return [str(folder) for folder in (self.import_path, *self.also)]

    @property
    def words(self) -> Tuple[str, ...]:
        """The same as they are typed."""
        return tuple(word for folder in self.folders for word in ("--import_path", folder))


@dataclass(frozen=True)
class Selection(Group):
    """which images"""

    word: ClassVar[str] = "selection"
    skip_subfolders: bool = opt(False, Rule("do not look into subfolders"))


@dataclass(frozen=True)
class Again(Group):
    """repeating"""

    word: ClassVar[str] = "again"
    rerun: bool = opt(False, Rule("process images again that are already processed"))


@dataclass(frozen=True)
class Keep(Group):
    """originals"""

    word: ClassVar[str] = "keep"
    keep_original: bool = opt(
        False, rare("leave originals as they are and write into copies under .mapillary")
    )


@dataclass(frozen=True)
class Workers(Group):
    """speed"""

    word: ClassVar[str] = "workers"
    workers: int = opt(
        0, rare("workers that read and write images (0 = as many as CPUs, at most 8)", "N", 0)
    )


@dataclass(frozen=True)
class Waiting(Group):
    """other runs"""

    word: ClassVar[str] = "waiting"
    wait: float = opt(
        0.0,
        Rule("wait so long for a folder that another run works on", "SECONDS", at_least=0),
    )


@dataclass(frozen=True)
class Dry(Group):
    """trying"""

    word: ClassVar[str] = "dry"
    dry_run: bool = opt(False, Rule("write nothing and send nothing; say what would be done"))


# ---- Geo ----------------------------------------------------------------------------------------
# Here: pure geometry on the WGS-84 ellipsoid; degrees in, metres and degrees out.
# Not here: files, images, options.

EARTH_A = 6378137.0  # metres, WGS-84 semi-major axis
EARTH_F = 1 / 298.257223563  # WGS-84 flattening
EARTH_E2 = EARTH_F * (2 - EARTH_F)  # first eccentricity squared
HIGHEST_M = 100000.0  # metres; higher there is no camera
NEAR_DEG = 0.05  # degrees (about 5 km) within which the local ellipsoid radii are exact enough


def _lon_diff(lon1: float, lon2: float) -> float:
    """lon2 - lon1 in degrees, -180 <= x < 180, so that the antimeridian is no edge."""
    return (lon2 - lon1 + 180.0) % 360.0 - 180.0


def _near(a: Fix, b: Fix) -> Optional[Tuple[float, float]]:
    """Metres (east, north) from a to b by the radii of curvature between them; None
    when not near.
    """
    dlat, dlon = b.lat - a.lat, _lon_diff(a.lon, b.lon)
    if abs(dlat) > NEAR_DEG or abs(dlon) > NEAR_DEG or abs(a.lat) > 80.0:
        return None
    middle = math.radians((a.lat + b.lat) / 2)
    w2 = 1.0 - EARTH_E2 * math.sin(middle) ** 2
    normal = EARTH_A / math.sqrt(w2)
    return (
        math.radians(dlon) * normal * math.cos(middle),
        math.radians(dlat) * normal * (1.0 - EARTH_E2) / w2,
    )


class _Arc(NamedTuple):
    """One step towards the geodesic between two points, on the auxiliary sphere."""

    sin_s: float  # of the angle between the points
    cos_s: float
    sin_a: float  # of the azimuth at the equator
    cos_2m: float  # of twice the angle from the equator to the middle

    @property
    def cos2_a(self) -> float:
        """The square of the cosine of the azimuth at the equator."""
        return 1.0 - self.sin_a * self.sin_a

    def more(self) -> float:
        """By how much the difference of longitudes on the sphere is larger, in radians."""
        sigma, cos2_a = math.atan2(self.sin_s, self.cos_s), self.cos2_a
        c = EARTH_F / 16 * cos2_a * (4 + EARTH_F * (4 - 3 * cos2_a))
        series = self.cos_2m + c * self.cos_s * (2 * self.cos_2m * self.cos_2m - 1)
        return (1 - c) * EARTH_F * self.sin_a * (sigma + c * self.sin_s * series)

    def metres(self) -> float:
        """The length of the geodesic."""
        k2 = self.cos2_a * EARTH_E2 / (1 - EARTH_E2)
        big_a = 1 + k2 / 16384 * (4096 + k2 * (-768 + k2 * (320 - 175 * k2)))
        big_b = k2 / 1024 * (256 + k2 * (-128 + k2 * (74 - 47 * k2)))
        m, s = self.cos_2m, self.sin_s
        last = big_b / 6 * m * (4 * s * s - 3) * (4 * m * m - 3)
        delta = big_b * s * (m + big_b / 4 * (self.cos_s * (2 * m * m - 1) - last))
        return EARTH_A * (1 - EARTH_F) * big_a * (math.atan2(s, self.cos_s) - delta)


def _vincenty(a: Fix, b: Fix) -> Tuple[float, float]:
    """(metres, radians of azimuth at a) by Vincenty's inverse formula (Survey Review 23, 1975).

    Nearly antipodal points do not converge; the last iterate is returned, right to about 0.5
    percent.
    """
    s1, c1 = _reduced(a.lat)
    s2, c2 = _reduced(b.lat)
    lam = wanted = math.radians(_lon_diff(a.lon, b.lon))
    arc = _Arc(0.0, 1.0, 0.0, 0.0)
    for _ in range(60):
        sl, cl = math.sin(lam), math.cos(lam)
        sin_s, cos_s = math.hypot(c2 * sl, c1 * s2 - s1 * c2 * cl), s1 * s2 + c1 * c2 * cl
        if sin_s == 0.0:
            return (0.0, 0.0) if cl > 0 else (math.pi * EARTH_A * (1 - EARTH_F / 2), 0.0)
        arc = _Arc(sin_s, cos_s, c1 * c2 * sl / sin_s, 0.0)
        if arc.cos2_a > 1e-15:
            arc = arc._replace(cos_2m=cos_s - 2 * s1 * s2 / arc.cos2_a)
        before, lam = lam, wanted + arc.more()
        if abs(lam - before) < 1e-12:
            break
        lam = math.copysign(min(abs(lam), math.pi), lam)
    azimuth = math.atan2(c2 * math.sin(lam), c1 * s2 - s1 * c2 * math.cos(lam))
    return arc.metres(), azimuth


def _reduced(lat: float) -> Tuple[float, float]:
    """Sine and cosine of the reduced latitude."""
    u = math.atan((1 - EARTH_F) * math.tan(math.radians(lat)))
    return math.sin(u), math.cos(u)


def distance(a: Fix, b: Fix) -> float:
    """Metres from a to b along the WGS-84 ellipsoid."""
    near = _near(a, b)
    return math.hypot(*near) if near else _vincenty(a, b)[0]


def bearing(a: Fix, b: Fix) -> float:
    """Initial course from a to b in degrees from true north, 0 <= x < 360; 0 for one and the same
    place.
    """
    near = _near(a, b)
    angle = math.atan2(*near) if near else _vincenty(a, b)[1]
    degrees = math.degrees(angle) % 360.0
    return 0.0 if degrees >= 360.0 else degrees


def turn(heading1: float, heading2: float) -> float:
    """Degrees between two headings, 0..180."""
    return abs(_lon_diff(heading1, heading2))


def between(a: Fix, b: Fix, when: float) -> Fix:
    """The place at a time on the line from a to b (linear in time; beyond them too), without a
    course.
    """
    share = (when - a.time) / (b.time - a.time)
    lat = max(-90.0, min(90.0, a.lat + (b.lat - a.lat) * share))
    lon = _lon_diff(0.0, a.lon + _lon_diff(a.lon, b.lon) * share)
    alt = a.alt + (b.alt - a.alt) * share if a.alt is not None and b.alt is not None else None
    return Fix(when, lat, lon, alt)


def degrees_minutes_seconds(degrees: float) -> Tuple[int, int, int]:
    """The magnitude of an angle as (degrees, minutes, millionths of a second), carried: never 60
    minutes.
    """
    minutes, micro = divmod(round(abs(degrees) * 3600 * 1000000), 60 * 1000000)
    return (*divmod(minutes, 60), micro)


STANDING_MS = 0.5  # metres a second; slower than this a course is noise
BORDER_S = 10.0  # seconds; over a shorter hole a border of segments or files is none
COURSE_S = 1.0  # seconds before and after a time between which the course is taken


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
    """The track with a course at every point: around it while moving, else the last one (at first
    the next one).
    """
    points: List[Fix] = []
    for part in track.segments():
        last = len(part) - 1
        courses = [_moving(part[max(0, i - 1)], part[min(last, i + 1)]) for i in range(len(part))]
        held = next((course for course in courses if course is not None), None)
        for point, course in zip(part, courses):
            held = held if course is None else course
            points.append(point._replace(course=held))
    return track._replace(points=points)


WILD = "that nothing could have driven or flown to"
_NOISE_M = 30.0  # metres that two places may be apart by the noise of a receiver
_MOST_PIECES = 400  # between jumps; a track with more of them is no track
_KEPT = 5 / 6  # of the points of a real track


def least_speed(a: Fix, b: Fix) -> float:
    """Metres a second at least from one place to a later one, where receivers are a little off."""
    return max(0.0, distance(a, b) - _NOISE_M) / max(0.1, b.time - a.time)


def _too_fast(a: Fix, b: Fix, limit: float) -> bool:
    """Whether the way from a to b is faster than limit (m/s), noise apart."""
    return least_speed(a, b) > limit


class Area(NamedTuple):
    """A circle on the map that is left out."""

    lat: float  # degrees
    lon: float
    metres: float

    def holds(self, lat: float, lon: float) -> bool:
        """Whether a place is in it."""
        return distance(Fix(0.0, self.lat, self.lon), Fix(0.0, lat, lon)) <= self.metres


def area_of(text: str) -> Area:
    """An area from LAT,LON,METRES; raises UsageError."""
    try:
        lat, lon, metres = map(float, text.split(","))
    except ValueError:
        lat = lon = metres = math.nan
    if not (abs(lat) <= 90 and abs(lon) <= 180 and 0 < metres < math.inf):
        wrong, example = "an area is LAT,LON,METRES", "for example 57.7089,11.9746,200"
        raise UsageError("bad_area", wrong, value=text, remedy=example)
    return Area(lat, lon, metres)


def is_excluded(areas: Sequence[Area], fix: Optional[Fix]) -> bool:
    """Whether a place is in one of some areas."""
    return fix is not None and any(area.holds(fix.lat, fix.lon) for area in areas)


def outside_of(areas: Sequence[Area], track: Track) -> Track:
    """A track without its points in some areas."""
    kept = [n for n, point in enumerate(track.points) if not is_excluded(areas, point)]
    return _of_points(track, kept)


def _of_points(track: Track, kept: Sequence[int]) -> Track:
    """A track of some of its points, by their numbers in order."""
    starts = sorted({bisect.bisect_left(kept, start) for start in track.starts} - {len(kept)})
    return track._replace(points=[track.points[n] for n in kept], starts=starts)


def without_wild(track: Track, max_speed: float) -> Track:
    """The track without the points that cannot be reached from the others, nor left for them, at
    max_speed (km/h, 0 = any): single ones, runs, and those of the last trip. They are counted. A
    track of which less than five in six would be left stays as it is, and that is noted.
    """
    points, limit = track.points, max_speed / 3.6
    jumps = [
        index
        for index in range(1, len(points))
        if limit and _too_fast(points[index - 1], points[index], limit)
    ]
    if not jumps:
        return track
    keep = _longest_way(points, [0, *jumps, len(points)], limit)
    lost = len(points) - sum(end - start for start, end in keep)
    if not keep or lost > (1 - _KEPT) * len(points):
        note = f"the track jumps {plural(len(jumps), 'time')} faster than {max_speed:g} km/h"
        return track._replace(notes=[*track.notes, note])
    kept = [index for start, end in keep for index in range(start, end)]
    return _of_points(track, kept)._replace(
        dropped={**track.dropped, f"{WILD} at {max_speed:g} km/h": lost}
    )


def _longest_way(
    points: Sequence[Fix], borders: Sequence[int], limit: float
) -> List[Tuple[int, int]]:
    """The pieces between jumps, as (start, end), that can follow each other and hold most points;
    none where there are too many pieces.
    """
    pieces = list(zip(borders, borders[1:]))
    if len(pieces) > _MOST_PIECES:
        return []
    best: List[Tuple[int, int]] = []  # of each piece: points up to its end, the piece before
    for number, (start, end) in enumerate(pieces):
        held, before = 0, -1
        for other in range(number):
            reachable = not _too_fast(points[pieces[other][1] - 1], points[start], limit)
            if best[other][0] > held and reachable:
                held, before = best[other][0], other
        best.append((held + end - start, before))
    way, number = [], max(range(len(pieces)), key=lambda index: best[index][0])
    while number >= 0:
        way.append(pieces[number])
        number = best[number][1]
    return way[::-1]


def fix_at(track: Track, when: float, max_gap: Optional[float] = None) -> Fix:
    """The place and course at a time in seconds UTC.

    Linear over a hole of at most max_gap seconds (None = no limit inside of a segment, BORDER_S
    between two), extrapolated at most 1 s beyond. Raises OutsideTrack with the seconds to the
    nearest point.
    """
    points = track.points
    index = bisect.bisect_right(points, (when, math.inf))
    before = when - points[index - 1].time if index else math.inf
    after = points[index].time - when if index < len(points) else math.inf
    if before == 0.0:
        return points[index - 1]._replace(
            course=_course(track, index - 1, points[index - 1], max_gap)
        )
    limit = max_gap
    if limit is None:
        limit = BORDER_S if _segment(track, index - 1)[1] < index else math.inf
    if 0 < index < len(points) and before + after <= limit:
        here = between(points[index - 1], points[index], when)
        return here._replace(course=_course(track, index - 1, here, max_gap))
    if min(before, after) > EXTRAPOLATE_S:
        value = f"{min(before, after):.1f} s from the nearest point, limit {EXTRAPOLATE_S:g} s"
        inside = 0 < index < len(points)
        if inside:
            value += f"; in a hole of {before + after:.1f} s, limit {limit:g} s"
        raise OutsideTrack(
            "outside_track",
            "taken in a gap of the track" if inside else "taken outside the track",
            value=value,
            remedy="check --offset_time and the time zone, or give a track that covers it",
        )
    return _beyond(
        track, when, index - 1 if before <= after else index, -1 if before <= after else 1
    )


def points_around(track: Track, when: float) -> Tuple[float, float]:
    """The times, seconds UTC, of the points of a track before and behind a time; of the nearest
    one, twice, at its ends.
    """
    points = track.points
    index = bisect.bisect_right(points, (when, math.inf))
    first, last = points[max(0, index - 1)], points[min(index, len(points) - 1)]
    return (first.time, first.time) if first.time == when else (first.time, last.time)


def _beyond(track: Track, when: float, nearest: int, step: int) -> Fix:
    """The place a little before or behind the nearest point: on the line to its neighbour inside
    its segment.
    """
    here, other = track.points[nearest], nearest + step
    first, last = _segment(track, nearest)
    if first <= other <= last and abs(track.points[other].time - here.time) <= HOLE_S:
        ends = sorted((here, track.points[other]), key=lambda point: point.time)
        return between(ends[0], ends[1], when)._replace(course=here.course)
    return here._replace(time=when)


def _course(track: Track, index: int, here: Fix, max_gap: Optional[float]) -> Optional[float]:
    """Course at a place between point index and the next: over COURSE_S to both sides, else as the
    point has it.
    """
    points = track.points
    first, last = _segment(track, index)
    limit = math.inf if max_gap is None else max_gap
    start, end = here.time - COURSE_S, here.time + COURSE_S
    low, high = index, index + 1
    while (
        low > first
        and points[low].time > start
        and points[low].time - points[low - 1].time <= limit
    ):
        low -= 1
    while (
        high < last
        and points[high].time < end
        and points[high + 1].time - points[high].time <= limit
    ):
        high += 1
    high = min(high, last)
    if high > index and points[high].time - points[high - 1].time > limit:
        high -= 1
    if low == high:
        return points[index].course
    course = _moving(
        between(points[low], points[low + 1], max(points[low].time, start)),
        between(points[high - 1], points[high], min(points[high].time, end)),
    )
    return points[index].course if course is None else course


# ---- Time ---------------------------------------------------------------------------------------
# Here: text, EXIF, GPS and MAP time to seconds and back; zones. Pure.
# Not here: images, options, tracks.

BLANKS = " \0\t\r\n"  # what may stand around a time
DATE_TIME = re.compile(  # group 7 is a fraction of a second, group 8 a zone
    r"(\d{4})[:\-./] ?(\d{1,2})[:\-./] ?(\d{1,2})[ T]+(\d{1,2})[:\-.] ?(\d{1,2})"
    r"(?:[:\-.] ?(\d{1,2})(?:[.,](\d*))?)?"
    r" *(Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]00:?00Z)?$",
    re.IGNORECASE,
)
_WITHOUT_MARKS = re.compile(r"(\d{4})(\d\d)(\d\d)[T ](\d\d)(\d\d)(\d\d)(?!\d)")
_FILE_TIME = re.compile(  # a date, a time of day to the second or the millisecond
    r"(?<!\d)(\d{4})([-_.]?)(\d{2})\2(\d{2})[-_. T]?(\d{2})([-_.]?)(\d{2})\6(\d{2})"
    r"(?:[-_.]?(\d{3}))?(?!\d)"
    r"(?:_?(\+\d{2}|-\d{2}(?=[-:]))[-:]?(\d{2})(?!\d))?"  # with minus only where it is plain
)
_UTC_NAME = "PXL_"  # names that begin so are in UTC
_OFFSET = re.compile(r"([+-])(\d{1,2}):?(\d{2})$")
GPS_TIMES_FROM = 915148800.0  # 1999-01-01 UTC in seconds; before that no receiver was in a camera
GPS_EPOCH = 315964800  # 1980-01-06 UTC in seconds since 1970
QUARTER_S = 900.0  # seconds; zones are multiples of it
AGREE_S = 450.0  # seconds within which a GPS time confirms a zone
_PARTS_OF_HOURS = (-9.5, -3.5, -2.5, 3.5, 4.5, 5.5, 5.75, 6.5, 8.75, 9.5, 10.5, 12.75, 13.75)
# seconds ahead of UTC of the zones that people live in
OFFSETS_IN_USE = tuple(sorted(3600.0 * hours for hours in (*range(-12, 15), *_PARTS_OF_HOURS)))


def utc_seconds(date: Tuple[int, int, int], clock: Tuple[int, int, float] = (0, 0, 0.0)) -> float:
    """Seconds since 1970-01-01 of a date and time of day; 24:xx and :60 run on.

    ValueError for no real date, and outside of the years 1900 to 2199, in which no picture was
    taken.
    """
    (year, month, day), (hour, minute, second) = date, clock
    in_range = 0 <= hour <= 24 and 0 <= minute <= 60 and 0 <= second < 61.0
    if not (1900 <= year < 2200 and 1 <= month <= 12 and 1 <= day <= 31 and in_range):
        raise ValueError(f"no time: {year} {hour}:{minute}:{second:g}")
    days = datetime.date(year, month, day).toordinal() - 719163
    return days * 86400 + hour * 3600 + minute * 60 + second


def parse_offset(text: Optional[str]) -> Optional[float]:
    """Seconds ahead of UTC from `+02:00`, `-0500` or `Z`; None when it is none of these or beyond
    14 hours.
    """
    text = (text or "").strip(" \0")
    if text.upper() in ("Z", "UTC", "GMT"):
        return 0.0
    match = _OFFSET.match(text)
    seconds = int(match.group(2)) * 3600.0 + int(match.group(3)) * 60.0 if match else math.inf
    if not match or seconds > 14 * 3600 or int(match.group(3)) > 59:
        return None
    return -seconds if match.group(1) == "-" else seconds


_LOOSE_OFFSET = re.compile(
    r"(?:UTC|GMT)?\s*([+-]?)\s*(\d{1,2})(?:[:.](\d\d)(?::00)?|(\d\d))?$", re.IGNORECASE
)


def loose_offset(text: str) -> Optional[float]:
    """Seconds ahead of UTC by an offset as people, cameras and editors write it: `GMT+2`, `02:00`,
    `2`; None when it is none.
    """
    text = text.strip(BLANKS).replace("\u2212", "-")
    offset, loose = parse_offset(text), _LOOSE_OFFSET.match(text)
    if offset is None and loose is not None:
        sign, hours, minutes, more = loose.groups()
        offset = parse_offset(f"{sign or '+'}{int(hours):02d}:{minutes or more or '00'}")
    return offset


def offset_as_written(text: str) -> Optional[float]:
    """The same of an image; None also where no zone can have it, which ends with a quarter."""
    offset = loose_offset(text)
    return None if offset is None or offset % QUARTER_S else offset


def parse_time(text: Optional[str]) -> Optional[float]:
    """Seconds since 1970-01-01 of an EXIF or ISO date and time; in its own zone when it names one,
    else as if UTC. None when it is no date and time. Tolerates :60, fractions, `-`, `.`, `/`,
    trailing NULs, and 24:10:11, which cameras write after midnight with the new date.
    """
    text = _WITHOUT_MARKS.sub(r"\1-\2-\3 \4:\5:\6", (text or "").strip(BLANKS))
    match = DATE_TIME.match(text)
    seconds = None if match is None else seconds_of(match)
    return seconds if match is None or seconds is None else seconds - zone_of(match)


def millis_of(text: str) -> Optional[int]:
    """Milliseconds since 1970 UTC of an ISO 8601 time with its zone; None for another text."""
    seconds = parse_time(text) if re.search(r"T.*(?:Z|[+-]\d\d:?\d\d)\Z", text.strip()) else None
    return None if seconds is None else round(seconds * 1000)


def seconds_of(match: "re.Match[str]") -> Optional[float]:
    """Seconds since 1970-01-01, as if UTC, of what DATE_TIME matches; None for no real date."""
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        seconds = utc_seconds((year, month, day), (0 if hour == 24 else hour, minute, second))
    except ValueError:
        return None
    return seconds + float("0." + match.group(7)) if match.group(7) else seconds


def zone_of(match: "re.Match[str]") -> float:
    """Seconds ahead of UTC of the zone in what DATE_TIME matches, 0 where it names none."""
    return parse_offset((match.group(8) or "").rstrip("Zz")) or 0.0


def file_name_time(name: str) -> Tuple[Optional[float], Optional[float]]:
    """(seconds since 1970-01-01, as if UTC, their zone in seconds ahead of UTC) of a name such as
    2024_05_06_07_08_09_123.jpg, IMG_20240506_070809.jpg or PXL_20240506_070809123.jpg; None for
    what a name does not tell.
    """
    for match in _FILE_TIME.finditer(name):
        year, _, month, day, hour, _, minute, second, milli, *zone = match.groups()
        text = f"{year}:{month}:{day} {hour}:{minute}:{second}.{milli or 0}"
        seconds = parse_time(text) if "1990" <= year < "2100" and hour < "24" else None
        if seconds is not None:
            told = parse_offset(":".join(zone)) if zone[0] else None
            told = told if told in OFFSETS_IN_USE else None
            return seconds, 0.0 if name.startswith(_UTC_NAME) else told
    return None, None


def calendar(seconds: float) -> Tuple[datetime.datetime, int]:
    """(date and time to the second, milliseconds), rounded to the millisecond."""
    whole, milli = divmod(int(round(seconds * 1000)), 1000)
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=whole), milli


def zoned_time(text: str) -> Optional[float]:
    """Seconds UTC of a date and time that names its zone; None for any other text."""
    match = DATE_TIME.match(text.strip(BLANKS))
    return parse_time(text) if match and match.group(8) else None


def format_time(seconds: float, style: str = "iso") -> str:
    """Seconds as text: "iso" 2024-05-06T07:08:09.123Z, "exif" 2024:05:06 07:08:09, "map"
    2024_05_06_07_08_09_123.
    """
    moment, milli = calendar(seconds)
    year, month, day, hour, minute, second = moment.timetuple()[:6]
    if style == "exif":
        return f"{year:04d}:{month:02d}:{day:02d} {hour:02d}:{minute:02d}:{second:02d}"
    if style == "map":
        date = f"{year:04d}_{month:02d}_{day:02d}"
        return f"{date}_{hour:02d}_{minute:02d}_{second:02d}_{milli:03d}"
    date = f"{year:04d}-{month:02d}-{day:02d}"
    return f"{date}T{hour:02d}:{minute:02d}:{second:02d}.{milli:03d}Z"


def format_offset(seconds: float) -> str:
    """A zone offset in seconds as `+02:00`."""
    minutes = int(round(seconds / 60))
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def zone_offset(zone: str, local: float, fold: int = 0) -> float:
    """Seconds ahead of UTC at a local time (seconds as if UTC) in a zone: "local" (this computer's,
    by its rule then), `+02:00` or an IANA name. Where clocks are changed, fold tells which of the
    two hours of one name it is (PEP 495). Raises UsageError for a zone that this Python does not
    know.
    """
    fixed = loose_offset(zone)
    if fixed is not None:
        return fixed
    # the years 69 to 8307, beyond which dates cannot be computed
    local = max(-6e10, min(2e11, local))
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=math.floor(local))
    moment = moment.replace(fold=fold)
    if zone == "local":
        try:
            return math.floor(local) - moment.timestamp()
        except (OverflowError, ValueError, OSError):
            return -float(time.timezone)
    try:
        import zoneinfo

        shift = moment.replace(tzinfo=zoneinfo.ZoneInfo(zone)).utcoffset()
    except (ImportError, KeyError, ValueError, OSError):
        raise UsageError(
            "unknown_zone",
            "--timezone is neither an offset up to 14:00 nor a name that this Python "
            "knows (names need 3.9 or newer)",
            value=zone,
            remedy="write it as +02:00 or -05:00",
        ) from None
    return shift.total_seconds() if shift else 0.0


def spread_subseconds(times: Sequence[float], interval: float) -> Tuple[List[float], Optional[int]]:
    """Place shots that are interval seconds apart inside their whole seconds: (times, index of the
    shot that does not fit or None). The middle of all starts that put every shot in its second; if
    none does, the times as they were.
    """
    low, high = -math.inf, math.inf
    for index, value in enumerate(times):
        low = max(low, math.floor(value) - index * interval)
        high = min(high, math.floor(value) + 1 - index * interval)
        if low >= high:
            return list(times), index
    return [(low + high) / 2 + index * interval for index in range(len(times))], None


def spread_ties(times: Sequence[float]) -> Tuple[List[float], int]:
    """Sorted times with equal ones spread evenly up to the next, at most over a second: (times,
    number of ties).
    """
    out = list(times)
    firsts = [index for index in range(len(out)) if index == 0 or out[index] != out[index - 1]]
    for start, end in zip(firsts, firsts[1:] + [len(out)]):
        room = min(1.0, times[end] - times[start]) if end < len(out) else 1.0
        for index in range(start + 1, end):
            out[index] = times[start] + room * (index - start) / (end - start)
    return out, len(out) - len(firsts)


# The days from which on GPS time is one more second ahead of UTC, since 1980 (IERS Bulletin C).
_LEAP_DAYS = (
    "1981-07-01 1982-07-01 1983-07-01 1985-07-01 1988-01-01 1990-01-01 1991-01-01 1992-07-01 "
    "1993-07-01 1994-07-01 1996-01-01 1997-07-01 1999-01-01 2006-01-01 2009-01-01 2012-07-01 "
    "2015-07-01 2017-01-01"
).split()


def gps_to_utc(seconds: float) -> float:
    """Seconds since 1980-01-06 without leap seconds to seconds UTC since 1970."""
    utc = seconds + GPS_EPOCH
    days = [parse_time(day + " 00:00") or 0.0 for day in _LEAP_DAYS]
    return utc - sum(utc - number >= day for number, day in enumerate(days, 1))


# ---- Capture time -------------------------------------------------------------------------------
# Here: which of the times that an image tells counts, and the zone of it. Pure.
# Not here: tracks, options, reading images.

EXIF_CLOCKS = ("DateTimeOriginal", "DateTimeDigitized", "DateTime")  # the first usable one counts
# behind the GPS time
OTHER_CLOCKS = (
    "photoshop:DateCreated",
    "exif:DateTimeOriginal",
    "GPano:SourceImageCreateTime",
    "IPTC DateCreated",
)
CLOCK_NAMES = (*EXIF_CLOCKS, *OTHER_CLOCKS)
GPS_SOURCE, _NAME_SOURCE = "GPS time", "file name"


def _own_parts(clock: Clock, clocks: Sequence[Clock]) -> Clock:
    """A clock; with fraction and offset of DateTime where that is the same time."""
    if clock.fraction and clock.offset:
        return clock
    other = next((one for one in clocks if one.name == "DateTime"), clock)
    if other.text.strip(BLANKS) != clock.text.strip(BLANKS):
        return clock
    fraction, offset = clock.fraction or other.fraction, clock.offset or other.offset
    return clock._replace(fraction=fraction, offset=offset)


# What a camera or receiver shows that was never set: days, and a time.
DEFAULT_DAYS = frozenset(  # also as they are west of Greenwich
    utc_seconds(day)
    for day in (
        *((1904, 1, 1), (1969, 12, 31), (1970, 1, 1), (1979, 12, 31), (1980, 1, 1), (1980, 1, 6)),
        *((2000, 1, 1), (2036, 2, 7)),
    )
)
_DEFAULT_TIME = utc_seconds((2002, 12, 8), (12, 0, 0))  # from which some count on when they are on
YEAR_1970_S = 365 * DAY_S  # seconds; exports without times have those of this year
_LAST_32_BITS = float((1 << 31) - 1)  # seconds since 1970; a clock that shows more ran over


def may_be_unset(seconds: float) -> bool:
    """Whether a time may be that of a clock which was never set: something else tells that."""
    return 0 <= seconds < YEAR_1970_S or seconds - seconds % DAY_S in DEFAULT_DAYS


def is_default_time(seconds: float) -> bool:
    """Whether a time may be that of a clock which was never set, and counts on from its default."""
    return 0 <= seconds - _DEFAULT_TIME < DAY_S / 2 or may_be_unset(seconds)


class Reading(NamedTuple):
    """One time that an image tells."""

    source: str  # as in Capture
    local: Optional[float]  # seconds as if UTC, in a zone that may be unknown; None = it is UTC
    offset: Optional[float] = None  # seconds ahead of UTC, where the time itself says so
    teller: str = ""  # who says so


def _reading(clock: Clock) -> Optional[Reading]:
    """What one clock tells, with its fraction of a second where its text has none; None = it is no
    time.
    """
    match = DATE_TIME.match(clock.text.strip(BLANKS))
    local = None if match is None else seconds_of(match)
    if match is None or not local:  # the very first second of 1970 is that of no picture
        return None
    digits = re.match(r"\d+", clock.fraction.strip(BLANKS))
    if digits is not None and match.group(7) is None:
        local += float("0." + digits.group())
    offset = offset_as_written(clock.offset)
    if offset is not None:
        return Reading(clock.name, local, offset, clock.name.replace("DateTime", "OffsetTime"))
    if match.group(8):
        return Reading(clock.name, local, zone_of(match), clock.name)
    return Reading(clock.name, local)


def _readings(found: Found, name: str) -> Iterator[Reading]:
    """The times that an image tells, in the order in which they count."""
    for clock in found.clocks:
        reading = _reading(_own_parts(clock, found.clocks)) if clock.name in EXIF_CLOCKS else None
        if reading is not None:
            yield reading
    if found.gps_time is not None:
        yield Reading(GPS_SOURCE, None)
    for clock in found.clocks:
        reading = _reading(clock) if clock.name in OTHER_CLOCKS else None
        if reading is not None:
            yield reading
    local, offset = file_name_time(name)
    if local is not None:
        yield Reading(_NAME_SOURCE, local, offset, "" if offset is None else _NAME_SOURCE)


def _is_default(reading: Reading) -> bool:
    """Whether a time is what a device shows whose clock was never set."""
    if reading.local is None or reading.source == _NAME_SOURCE:
        return False
    return reading.local // 1 >= _LAST_32_BITS or is_default_time(reading.local // 1)


def has_set_clock(found: Found) -> bool:
    """Whether EXIF tells a time by a clock that was set."""
    readings = (reading for reading in _readings(found, "") if reading.source in EXIF_CLOCKS)
    return not all(map(_is_default, readings))


_WRITTEN_OUT = re.compile(r"[1-9]\d{3}\D\d\d\D\d\d\D\d\d\D\d\d\D\d\d")


def lacks_original(found: Found) -> bool:
    """Whether a photo has no DateTimeOriginal, or blanks and zeros in its place; one that is
    written out stays, right or wrong.
    """
    clock = next((clock for clock in found.clocks if clock.name == EXIF_CLOCKS[0]), None)
    if clock is None or parse_time(clock.text) is None:
        return clock is None or not _WRITTEN_OUT.match(clock.text)
    return False


TIME_SOURCES = ("exif", "gps", "name")  # what the option --time_source puts first


def _reading_of(found: Found, name: str, first: str) -> Optional[Reading]:
    """The time of an image that counts; None when it tells none."""
    default = None
    asked = {"gps": GPS_SOURCE, "name": _NAME_SOURCE}.get(first)
    if asked is not None:
        chosen = next((one for one in _readings(found, name) if one.source == asked), None)
        if chosen is not None:
            return chosen
    for reading in _readings(found, name):
        if not _is_default(reading):
            return reading
        default = default or reading
    return default


def local_time_of(found: Found, name: str) -> Tuple[Optional[float], str]:
    """(local seconds as if UTC, source) of the first usable time that an image carries as text or
    in its name.
    """
    reading = _reading_of(found, name, "exif")
    return (None, _NAME_SOURCE) if reading is None else (reading.local, reading.source)


def _day_apart(day: float) -> float:
    """Seconds between two times of day: -43200 to 43200."""
    return (day + DAY_S / 2) % DAY_S - DAY_S / 2


def zone_by_gps(local: float, found: Found) -> Optional[float]:
    """Seconds ahead of UTC of the zone that an image's GPS time implies for its local time, None
    where it has none of this time, or the two agree on no offset in use.
    """
    moment = found.gps_clock if found.gps_time is None else found.gps_time
    if moment is None:
        return None
    dated = found.gps_time is not None
    if dated and abs(local // DAY_S - moment // DAY_S) > 1:
        return None
    ahead = local - moment
    near: List[float] = [o for o in OFFSETS_IN_USE if abs(_day_apart(ahead - o)) <= AGREE_S]
    if len(near) < 2:
        return near[0] if near else None
    meant = [offset for offset in near if dated and abs(ahead - offset) <= AGREE_S]
    lon = found.place[1]
    if lon is not None:
        home = lon / 15.0 * 3600.0
        nearest = min(near, key=lambda offset: (abs(offset - home), offset))
        if not meant or abs(nearest - home) <= _AT_HOME_S:
            return nearest  # some receivers write the local date
    return (meant or sorted(near, key=lambda offset: (abs(offset), -offset)))[0]


_AT_HOME_S = 2.5 * 3600.0  # seconds that a zone may part from the time of its place


def _zone_beside(local: float, found: Found, name: str) -> Optional[Tuple[float, str]]:
    """(zone, who tells it) of XMP, IPTC or the file name, where they have the same local time;
    None where none of them does.
    """
    clocks = [_reading(clock) for clock in found.clocks if clock.name in OTHER_CLOCKS]
    zoned = [(one.local, one.offset, one.source) for one in clocks if one is not None]
    for moment, offset, source in (*zoned, (*file_name_time(name), _NAME_SOURCE)):
        if moment is not None and offset is not None and abs(moment - local) < 1.0:
            return offset, source
    return None


NO_ZONE = "UTC assumed"  # who told the zone, where nobody did


def zone_teller(zone: str) -> str:
    """Which option tells a zone: "local", offset, IANA."""
    return "--local_time" if zone == "local" else "--timezone"


def capture_time(
    found: Found, name: str, zone: Optional[str] = None, first: str = "exif"
) -> Optional[Capture]:
    """When an image was taken, by what it carries, its name, and a zone ("local", offset, IANA;
    None = not given); first is one of TIME_SOURCES.

    None when nothing tells. The order of fields and zones is that of the project's rules for
    capture time.
    """
    reading = _reading_of(found, name, first)
    if reading is None:
        return None
    local, source = reading.local, reading.source
    if local is None:
        return Capture(found.gps_time or 0.0, source, 0.0, GPS_SOURCE)
    told = None if reading.offset is None else (reading.offset, reading.teller)
    if zone and (told is None or source in OTHER_CLOCKS or source == _NAME_SOURCE):
        told = zone_offset(zone, local), zone_teller(zone)
    if told is None:
        told = _zone_beside(local, found, name)
    if told is None:
        by_gps = zone_by_gps(local, found)
        told = None if by_gps is None else (by_gps, GPS_SOURCE)
    offset, who = told or (0.0, NO_ZONE)
    return Capture(local - offset, source, offset, who)


NEIGHBOURS = 3  # photos in a row that make a zone of their own


def agreed_zones(zones: Sequence[Optional[float]]) -> List[Optional[float]]:
    """The zone of each photo of one camera and folder, given in order what the GPS time of each
    implies (None = nothing): that of most, unless several in a row agree on another.
    """
    told = [(index, zone) for index, zone in enumerate(zones) if zone is not None]
    if not told:
        return list(zones)
    counts: Dict[float, int] = {}
    for _, zone in told:
        counts[zone] = counts.get(zone, 0) + 1
    most = min(counts, key=lambda zone: (-counts[zone], abs(zone), zone))
    sure: List[Tuple[int, float]] = []
    for zone, run in itertools.groupby(told, key=lambda item: item[1]):
        members = list(run)
        if zone == most or len(members) >= NEIGHBOURS:
            sure.extend((index, zone or 0.0) for index, _ in members)
    places = [index for index, _ in sure]
    answers: List[Optional[float]] = []
    for index in range(len(zones)):
        after = min(bisect.bisect_left(places, index), len(places) - 1)
        before = max(0, after - 1)
        answers.append(min(sure[before], sure[after], key=lambda item: abs(item[0] - index))[1])
    return answers


# ---- Sequences ----------------------------------------------------------------------------------
# Here: order, cuts, directions and duplicates among images of one folder. Pure.
# Not here: files, options, which images take part.


_DIGITS = re.compile("[0-9]+")


def natural_key(name: str) -> Tuple[str, str]:
    """A sort key by which IMG_9 comes before IMG_10; the name itself decides between equals."""
    return _DIGITS.sub(_number_key, name.lower()) + "\x01", name


def _number_key(digits: "re.Match[str]") -> str:
    """A number as text that sorts by its value, before any letter and the end of a name."""
    bare = digits.group().lstrip("0")
    return "\0" + chr(len(bare)) + bare


def by_time(items: Iterable[T], when: Callable[[T], float], name: Callable[[T], str]) -> List[T]:
    """Items sorted by time, those of one time by natural name."""
    out: List[T] = []
    for _, group in itertools.groupby(sorted(items, key=when), key=when):
        same = list(group)
        out.extend(
            same if len(same) == 1 else sorted(same, key=lambda item: natural_key(name(item)))
        )
    return out


def in_order(images: Iterable[Image]) -> List[Image]:
    """Images by capture time, then natural file name; an unknown time counts as 1970."""
    return by_time(images, lambda image: image.time or 0.0, lambda image: image.path.name)


MODES_MOST = 3  # images at least, on average, between two changes of pixel size of one camera


_FACING = re.compile(  # 20240531_120000_NF_000001.jpg, VID_20240531_120000_10_001_000001.jpg
    r"[^.]*\d[_-]?[A-Z]?([FRIOBT])_\d{6,}\.jpe?g$|VID_\d{8}_\d{6}_([01]0)_\d+_\d{6,}\.jpe?g$"
)


def camera_key(image: Image) -> Tuple[Optional[str], ...]:
    """What tells one camera from another: make, model, serial numbers of body and lens; of frames
    of a dashcam's videos also which way it looks.
    """
    found, camera = image.found or NOTHING_FOUND, image.camera
    side = _FACING.match(image.path.name)
    looks = side.group(1) or side.group(2) if side else None
    return camera.make, camera.model, found.body_serial, found.lens_serial, looks


def of_each_camera(things: Iterable[T], image_of_thing: Callable[[T], Image]) -> List[List[T]]:
    """Things by the cameras of their images, those of one folder in order of time.

    Images that name no camera are of the only one that is named; pixel sizes tell two cameras
    apart where they alternate, and are modes of one where they do not.
    """
    groups: Dict[Tuple[Optional[str], ...], List[T]] = {}
    for thing in things:
        groups.setdefault(camera_key(image_of_thing(thing)), []).append(thing)
    if len(groups) == 2 and not all(map(any, groups)):  # one of them names no camera
        return of_each_size(list(things), image_of_thing)
    return [part for group in groups.values() for part in of_each_size(group, image_of_thing)]


def of_each_size(group: List[T], image_of_thing: Callable[[T], Image]) -> List[List[T]]:
    """The things of one camera by name, in as many groups as pixel sizes that alternate."""
    sizes: Dict[object, List[T]] = {}
    changes, last = -1, None
    for thing in group:
        image = image_of_thing(thing)
        size = (image.found or NOTHING_FOUND).pixels
        changes, last = changes + (size != last), size
        sizes.setdefault(size, []).append(thing)
    serial = camera_key(image_of_thing(group[0]))[2]
    if len(sizes) == 1 or serial or changes * MODES_MOST < len(group):
        return [group]
    return list(sizes.values())


def split(images: Iterable[Image], max_metres: float, max_seconds: float) -> List[List[Image]]:
    """Sequences of the images of one folder: cut where neighbours are further apart than either
    limit.

    The images come back sorted by time and natural name; one without time or position cuts nothing
    by it.
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


def cut(images: Sequence[T], most: int = SEQUENCE_IMAGES) -> List[List[T]]:
    """Pieces of at most so many images."""
    return [list(images[start : start + most]) for start in range(0, len(images), most)]


def cut_to_size(images: Sequence[Image]) -> List[List[Image]]:
    """Pieces that the service takes as one sequence: by number, pixels and bytes."""
    pieces: List[List[Image]] = []
    room = (0, 0, 0)
    for image in images:
        found = image.found or NOTHING_FOUND
        width, height = found.pixels or (0, 0)
        needs = (1, (width or 0) * (height or 0), max(0, found.size))
        room = (room[0] - needs[0], room[1] - needs[1], room[2] - needs[2])
        if min(room) < 0:
            pieces.append([])
            room = (
                SEQUENCE_IMAGES - needs[0],
                SEQUENCE_PIXELS - needs[1],
                SEQUENCE_BYTES - needs[2],
            )
        pieces[-1].append(image)
    return pieces


def _chords(images: Sequence[Image]) -> List[Optional[float]]:
    """The course from each image of a sequence to the next one at another place; the last has the
    one before it.
    """
    courses: List[Optional[float]] = [None] * len(images)
    after: Optional[float] = None
    for index in range(len(images) - 2, -1, -1):
        here, there = images[index].fix, images[index + 1].fix
        if (
            here is not None
            and there is not None
            and (here.lat, here.lon) != (there.lat, there.lon)
        ):
            after = bearing(here, there)
        courses[index] = after
    before: Optional[float] = None
    for index, course in enumerate(courses):  # those behind the last movement keep its course
        before = courses[index] = before if course is None else course
    return courses


def turned_by(image: Image, angle: float) -> float:
    """Degrees by which the direction of an image is turned: the angle of all, and its own."""
    return angle + ((image.given or NOTHING_GIVEN).turn or 0.0)


def with_directions(images: Sequence[Image], offset_angle: float, all_of_them: bool) -> List[Image]:
    """The images of one sequence, in order, with a heading where it is missing (or on all of them).

    The course is the track's at that time where there was a track, else that to the next image;
    offset_angle in degrees is added, modulo 360. An image that knows no course keeps the heading it
    has.
    """
    out: List[Image] = []
    for image, chord in zip(images, _chords(images)):
        fix, heading = image.fix, image.heading
        course = chord if fix is None or fix.course is None else fix.course
        if course is not None and (all_of_them or (heading is None and image.magnetic is None)):
            heading = (course + turned_by(image, offset_angle)) % 360.0
        out.append(image._replace(membership=Membership(heading=heading)))
    return out


def mark_duplicates(images: Sequence[Image], metres: float, degrees: float) -> List[Image]:
    """The images, in their order, those marked that repeat the last image kept: by partner,
    distance and turn.

    A duplicate is at most so many metres away and turned by at most so many degrees; an unknown
    direction counts as no turn, an unknown position is never a duplicate.
    """
    out: List[Image] = []
    kept: Optional[Image] = None
    for image in images:
        repeats = None if kept is None else _repeats(kept, image, metres, degrees)
        if repeats is None:
            kept = image
            out.append(image)
        else:
            out.append(image._replace(membership=Membership(repeats=repeats)))
    return out


def _repeats(kept: Image, image: Image, metres: float, degrees: float) -> Optional[Repeat]:
    """How an image repeats the one kept, else None."""
    here, there = kept.fix, image.fix
    if here is None or there is None:
        return None
    apart, turned = distance(here, there), None
    if kept.heading is not None and image.heading is not None:
        turned = turn(kept.heading, image.heading)
    if apart > metres or (turned is not None and turned > degrees):
        return None
    partner = name_from(str(image.path.parent), str(kept.path.parent), kept.path.name)
    turned = None if turned is None else round(turned, 3)
    return Repeat(partner, round(apart, 3), turned, metres, degrees)


# JSON in ASCII with sorted keys and no spaces: the same text for the same value, everywhere.
canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def text_hash(text: str) -> str:
    """16 hexadecimal digits that stand for a text in ASCII."""
    return hashlib.sha1(text.encode("ascii")).hexdigest()[:16]


def short_hash(*parts: object) -> str:
    """16 hexadecimal digits that stand for some plain values."""
    return text_hash(canonical(parts))


_ID_SPACE = bytes.fromhex(ID_NAMESPACE.replace("-", ""))


def uuid_of(text: bytes) -> str:
    """The UUIDv5 of some bytes in this project's name space (RFC 4122, 4.3)."""
    raw = bytearray(hashlib.sha1(_ID_SPACE + text).digest()[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x50, raw[8] & 0x3F | 0x80
    text16 = raw.hex()
    return "-".join((text16[:8], text16[8:12], text16[12:16], text16[16:20], text16[20:]))


def photo_id(name: str, found: Found) -> str:
    """An image's id: from its base name (NFC), pixel size and capture time as found in
    milliseconds.
    """
    local, _ = local_time_of(found, name)
    when = local if local is not None else found.gps_time or 0.0
    width, height = found.pixels or (0, 0)
    rest = f"|{width}x{height}|{round(when * 1000)}"
    return uuid_of(composed(name).encode("utf-8", "surrogateescape") + rest.encode("ascii"))


def fix_id(fix: Fix) -> str:
    """A short name of a time and position, at the precision that is written."""
    return text_hash(f"{round(fix.time * 1000)}|{fix.lat:.7f}|{fix.lon:.7f}")


def picture_id(digest: str, found: Found) -> str:
    """The id of a photo whatever its name: from the digest of its picture and its capture time as
    found.
    """
    when = "|".join(found.clocks[0][1:3]) if found.clocks else str(found.gps_time)
    return text_hash(f"{digest}|{when}")


def folded(name: str) -> str:
    """A file name as people compare it: whatever its case, and however its accents are stored."""
    return composed(name).lower()


def composed(name: str) -> str:
    """A name in the normal form NFC, whatever the file system made of it."""
    if name.isascii():
        return name
    import unicodedata

    return unicodedata.normalize("NFC", name)


def sequence_id(first_photo: str, options: Mapping[str, object]) -> str:
    """A sequence's id: from its first photo's id and the sequence options."""
    return uuid_of(f"{first_photo}|{canonical(dict(options))}".encode("ascii"))


# ---- Plausibility -------------------------------------------------------------------------------
# Here: photos whose position cannot be, by their neighbours and by time.
# Not here: points of a track (Geo).

JUMP_M = 100.0  # metres from which a move is a jump where it is many times as fast as the others
JUMP_TIMES = 10.0  # how many times as fast as the others around
# which of the others, from the slowest: the median would be nothing where a drive stands and goes
JUMP_USUAL = 0.8
JUMP_SPEED = 10.0  # metres a second below which nothing is a jump by that
JUMP_RUN = 20  # photos that leave and come back at most
JUMP_WINDOW = 10  # moves to both sides that are compared
JUMP_ALIKE = 20.0  # how much longer the way there may be than the way back, or the other way round
JUMP_ENDS = 3  # photos at an end of a sequence that may be off together


class Jump(NamedTuple):
    """Why a photo's position cannot be."""

    photo: int  # number of it
    other: int  # of the photo that it jumps from
    metres: float
    speed: float  # metres a second
    limit: float  # metres a second


class _Way:
    """The positions of the photos of one camera in order of time, and how fast they follow."""

    def __init__(self, fixes: Sequence[Fix], limit: float) -> None:
        self.fixes, self.limit = fixes, limit
        pairs = list(zip(fixes, fixes[1:]))
        self.legs = [distance(a, b) / max(0.1, b.time - a.time) for a, b in pairs]

    def metres(self, a: int, b: int) -> float:
        """Metres between two photos."""
        return distance(self.fixes[a], self.fixes[b])

    def speed(self, a: int, b: int) -> float:
        """Metres a second between two photos at least."""
        first, last = sorted((a, b))
        return least_speed(self.fixes[first], self.fixes[last])

    def most(self, a: int, b: int) -> float:
        """Metres a second that nobody exceeds from one photo to a later one."""
        near = sorted(self.legs[max(0, a - JUMP_WINDOW) : b + JUMP_WINDOW])
        usual = near[int(len(near) * JUMP_USUAL)]
        return min(self.limit, max(JUMP_SPEED, JUMP_TIMES * usual))

    def too_fast(self, a: int, b: int) -> bool:
        """Whether nobody gets from one photo to a later one in the time between them."""
        return self.metres(a, b) > JUMP_M and self.speed(a, b) > self.most(a, b)

    def beyond(self, a: int, b: int) -> bool:
        """Whether the limit itself forbids to get from one photo to another."""
        return self.metres(a, b) > JUMP_M and self.speed(a, b) > self.limit

    def returns(self, last: int, at: int, back: int) -> bool:
        """Whether the photos from one that cannot follow the last good one to that before back are
        off, and back goes on from the last good one.
        """
        leaves, comes = self.beyond(last, at), self.beyond(back - 1, back)
        if self.too_fast(last, back):
            return leaves and comes and not self.beyond(last, back)
        if self.too_fast(back - 1, back):
            return True
        # back after a pause: as far as they had gone, to where the last good one is near
        short, long = sorted((self.metres(last, at), self.metres(back - 1, back)))
        return leaves and self.metres(last, back) < min(long, 2 * short)

    def is_off(self, photo: int, near: int, then: int) -> bool:
        """Whether a photo at an end cannot be where it is, by the two next to it, which agree."""
        near_by = self.metres(near, then)
        apart = self.speed(photo, then) > self.limit or self.metres(photo, then) > 3 * near_by
        return apart and self.beyond(photo, near) and self.speed(near, then) < self.limit

    def jump(self, photo: int, other: int, limit: Optional[float] = None) -> Jump:
        """Why a photo cannot be where it is, by another one; limit None = that between them."""
        a, b = sorted((photo, other))
        metres = self.metres(a, b)
        seconds = max(0.1, self.fixes[b].time - self.fixes[a].time)
        most = self.most(a, b) if limit is None else limit
        return Jump(photo, other, metres, metres / seconds, most)


def jumps_of(fixes: Sequence[Fix], max_speed: float) -> List[Jump]:
    """The photos, of one camera in order of time, whose positions cannot be.

    Up to JUMP_RUN that leave their neighbours and come back, faster than max_speed (km/h) or many
    times as fast as those around while the neighbours follow each other well; the first and the
    last few by those next to them.
    """
    limit, numbers = max_speed / 3.6, range(len(fixes))
    found, unclear = _left_and_back(_Way(fixes, limit))
    good = _without(numbers, found)
    if unclear:  # they may have left slowly, and come back at once: the same backwards
        behind = [fixes[n]._replace(time=-fixes[n].time) for n in reversed(good)]
        more, _ = _left_and_back(_Way(behind, limit))
        found += [j._replace(photo=good[-1 - j.photo], other=good[-1 - j.other]) for j in more]
        good = _without(numbers, found)
    return sorted([*found, *_off_at_ends(_Way(fixes, limit), good)])


def _without(numbers: Iterable[int], jumps: Sequence[Jump]) -> List[int]:
    bad = {jump.photo for jump in jumps}
    return [number for number in numbers if number not in bad]


def _left_and_back(way: _Way) -> Tuple[List[Jump], bool]:
    """(photos that leave the others and come back, whether others were left for good)."""
    found: List[Jump] = []
    count, last, at, unclear = len(way.fixes), 0, 1, False
    while at < count:
        back = at
        if way.too_fast(last, at):
            back = _back_again(way, last, at)
            unclear = unclear or back == at
            found.extend(way.jump(index, last) for index in range(at, back))
        last = back
        at = back + 1
    return found, unclear


def _back_again(way: _Way, last: int, at: int) -> int:
    """The photo that follows the last good one well, behind those that left it; at itself where
    none does.
    """
    there = way.metres(last, at)
    for back in range(at + 1, min(len(way.fixes), at + JUMP_RUN + 1)):
        here = way.metres(back - 1, back)
        if max(there, here) <= JUMP_ALIKE * min(there, here) and way.returns(last, at, back):
            return back
    return at


def _off_at_ends(way: _Way, good: Sequence[int]) -> List[Jump]:
    """The first and the last few photos that do not fit to those next to them."""
    found: List[Jump] = []
    for few in range(1, JUMP_ENDS + 1):
        if len(good) < 3 * few:
            break
        if way.is_off(good[few - 1], good[few], good[few + 1]):
            found.extend(way.jump(n, good[few], way.limit) for n in good[:few])
        if way.is_off(good[-few], good[-few - 1], good[-few - 2]):
            found.extend(way.jump(n, good[-few - 1], way.limit) for n in good[-few:])
        if found:
            break
    return found


# ---- Windows ------------------------------------------------------------------------------------
# Here: what only Windows has: paths over 260 letters, attributes, times of creation, Explorer.
# Not here: its locks of open files (Files).

_LONGEST_FOLDER = 130  # letters, behind which our state folder and a name fit in 260
_HIDDEN = 0x2 | 0x4  # FILE_ATTRIBUTE_HIDDEN, _SYSTEM
_KEPT_BITS = 0x2 | 0x4 | 0x20 | 0x2000  # and _ARCHIVE, _NOT_CONTENT_INDEXED
EXPLORER = "explorer.exe"  # what starts a program that somebody clicked on
_TICKS_1970 = 116444736000000000  # FILETIME of 1970: units of 100 ns since 1601


def _prefixed(whole: str) -> str:
    """A whole path of Windows as one that may be longer than 260 letters."""
    if whole.startswith(LONG_PATH):
        return whole
    return LONG_SHARE + whole[2:] if whole.startswith("\\\\") else LONG_PATH + whole


def extended(folder: str) -> str:
    """A folder so that names below it may be longer than 260 letters, where it is that long; as it
    is elsewhere.
    """
    whole = os.path.abspath(folder) if os.name == "nt" else ""
    return folder if len(whole) <= _LONGEST_FOLDER else _prefixed(whole)


def relative_to(path: str, folder: str) -> str:
    """A path from a folder on; the whole path where it is on another drive of Windows, or has a
    name that Windows reserves.
    """
    with contextlib.suppress(ValueError):
        return os.path.relpath(unextended(path), unextended(folder))
    return unextended(path)


def walked(
    top: str, onerror: Optional[Callable[[OSError], None]] = None
) -> Iterator[Tuple[str, List[str], List[str]]]:
    """What os.walk gives, from the top, however long paths become."""
    if os.name != "nt":
        yield from os.walk(top, onerror=onerror)
        return
    start = _prefixed(os.path.abspath(top))
    for place, folders, files in os.walk(start, onerror=onerror):
        below = place[len(start) :].strip(os.sep)
        yield extended(os.path.join(top, below) if below else top), folders, files


def is_out_of_sight(path: Union[str, Path]) -> bool:
    """Whether Windows shows a file only to those who ask for hidden ones."""
    if os.name != "nt":
        return False
    with contextlib.suppress(OSError):
        return bool(getattr(os.stat(path), "st_file_attributes", 0) & _HIDDEN)
    return False


def behind_links(path: str) -> str:
    """The file that a path leads to; the path itself where the system cannot tell."""
    with contextlib.suppress(OSError):
        return os.path.realpath(path)
    return path


def preload(*names: str) -> None:
    """Import what threads will need: two that import one module for the first time, from a library
    in a zip, break each other's import (Python 3.8 and 3.9).
    """
    for name in (*names, *(("ctypes", "msvcrt") if os.name == "nt" else ())):
        importlib.import_module(name)


def keep_attributes(handle: int, path: str, old: os.stat_result) -> None:
    """Give an open new file the time of creation, and the attributes, of the one it replaces."""
    import ctypes
    import msvcrt

    library: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    created = int(getattr(old, "st_birthtime_ns", old.st_ctime_ns)) // 100 + _TICKS_1970
    words = (ctypes.c_uint32 * 2)(created & 0xFFFFFFFF, created >> 32 & 0xFFFFFFFF)
    system = ctypes.c_void_p(msvcrt.get_osfhandle(handle))  # type: ignore[attr-defined]
    library.SetFileTime(system, words, None, None)
    kept = int(getattr(old, "st_file_attributes", 0)) & _KEPT_BITS
    if kept:
        library.SetFileAttributesW(path, kept)


def ignore_ctrl_c(ignored: bool) -> None:
    """Whether this process, and those that it starts meanwhile, hear no Ctrl-C of their console."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.WinDLL("kernel32").SetConsoleCtrlHandler(None, ignored)  # type: ignore[attr-defined]


class _Process(NamedTuple):
    """A program that runs."""

    parent: int
    name: str  # of its file, in small letters


def _processes() -> Dict[int, _Process]:
    """What runs on this computer, by number (the snapshot of kernel32)."""
    import ctypes

    class Entry(ctypes.Structure):
        """PROCESSENTRY32W."""

        _fields_ = [
            *((name, ctypes.c_uint32) for name in ("size", "usage", "number")),
            ("heap", ctypes.c_void_p),
            *((name, ctypes.c_uint32) for name in ("module", "threads", "parent")),
            ("priority", ctypes.c_long),
            ("flags", ctypes.c_uint32),
            ("name", ctypes.c_wchar * 260),
        ]

    library: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    library.CreateToolhelp32Snapshot.restype = ctypes.c_void_p
    snapshot = ctypes.c_void_p(library.CreateToolhelp32Snapshot(2, 0))
    entry, found = Entry(size=ctypes.sizeof(Entry)), {}
    more = library.Process32FirstW(snapshot, ctypes.byref(entry))
    while more:
        found[int(entry.number)] = _Process(int(entry.parent), str(entry.name).lower())
        more = library.Process32NextW(snapshot, ctypes.byref(entry))
    library.CloseHandle(snapshot)
    return found


def from_explorer() -> bool:
    """Whether somebody clicked on this script, or dropped something on it: its window would close
    with it.
    """
    if os.name != "nt":
        return False
    with contextlib.suppress(OSError, AttributeError, ImportError, KeyError):
        running = _processes()
        number = running[os.getpid()].parent
        for _ in range(4):  # the launcher, and that of a virtual environment, stand between
            parent = running.get(number)
            if parent is None or parent.name == EXPLORER:
                return parent is not None
            if not parent.name.startswith("py"):
                return False
            number = parent.parent
    return False


# ---- Finding ------------------------------------------------------------------------------------
# Here: which images lie below a folder, what else that looks like one, files of one name.
# Not here: what is in a file.


def parsed(text: Union[str, bytes, None]) -> object:
    """The value of a JSON text from outside; None when it is none, or nested without end."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def kind_of(name: str) -> str:
    """The extension of a file name in lower case, without its dot."""
    return os.path.splitext(name)[1][1:].lower()


def called_alike(path: Path) -> List[Path]:
    """The files beside one whose names differ from its own by the extension or the case of letters
    alone, and itself, in order of names. Raises OSError where the folder cannot be listed.
    """
    names = sorted(os.listdir(str(path.parent)))
    return [path.with_name(name) for name in names if folded(Path(name).stem) == folded(path.stem)]


def in_any_case(path: Path, names: Sequence[str]) -> List[Path]:
    """Files beside one by their names, whatever the case of the letters there; as they are named
    here where they are not there, or the folder cannot be listed.
    """
    there: Dict[str, str] = {}
    with contextlib.suppress(OSError):
        there = {folded(name): name for name in os.listdir(str(path.parent))}
    return [path.with_name(there.get(folded(name), name)) for name in names]


def is_jpeg_name(path: Union[str, Path]) -> bool:
    """Whether a file is of the kind that can be described and uploaded, by its name."""
    return kind_of(str(path)) in JPEG_KINDS


_QUOTES = "\"'`\u00ab\u00bb\u2018\u2019\u201a\u201c\u201d\u201e \t"
_DASHES = "\u2013\u2014\u2212"  # which word processors make of hyphens
_BAD_NAME = 123  # error of Windows, for a name that no file can have


def no_folder(path: str, option: str) -> NotFound:
    """The error for a folder that is not there: without quotes and blanks around its name it may
    be; or it is meant for an option.
    """
    remedy, bare = f"check {option}", os.path.expanduser(path.strip(_QUOTES))
    if path[:1] in tuple(_DASHES):
        remedy = "options begin with two hyphens: --" + path.lstrip("-" + _DASHES)
    elif bare != path and os.path.isdir(bare):
        remedy = f"did you mean {bare}?"
    return NotFound("no_folder", "there is no such file or folder", file=path, remedy=remedy)


def check_folder(path: str, option: str) -> Path:
    """The path as a folder that exists; raises NotFound."""
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise no_folder(path, option) from None
    except OSError as error:
        if getattr(error, "winerror", 0) == _BAD_NAME:
            raise no_folder(path, option) from None
        raise NotFound(**unsearchable(error)._asdict()) from error
    if not is_folder:
        where = os.path.dirname(path) or os.curdir
        remedy = f"give {option} the folder it is in: {where}"
        if kind_of(path) in VIDEO_KINDS and option == "--import_path":
            remedy = f"a video is sampled: video_process --video_path {path} --import_path FRAMES"
        raise NotFound("not_a_folder", "is a file, not a folder", file=path, remedy=remedy)
    return Path(path)


def unsearchable(error: OSError) -> Problem:
    """What is said of a folder that cannot be listed."""
    cause = error.strerror or ""
    return Problem(
        "unreadable",
        "cannot be searched",
        file=unextended(str(error.filename)),
        value=cause,
        remedy="check its rights",
    )


_REASONS = {  # extension -> why a picture or video is left alone, and what to do
    **dict.fromkeys("heic heif hif avif heics heifs avifs".split(), SKIP_HEIC),
    **dict.fromkeys(
        "png webp bmp jp2 j2k jxl psd jps jxr jpx jpf svg tga exr".split(),
        SKIP_OTHER,
    ),
    **dict.fromkeys(
        (
            "dng cr2 cr3 crw nef nrw arw srf sr2 raf orf rw2 raw pef srw gpr x3f 3fr iiq erf mrw "
            "kdc dcr mos mef rwl rwz k25 fff cap eip"
        ).split(),
        SKIP_RAW,
    ),
    **dict.fromkeys("lrv lrf thm".split(), SKIP_PREVIEW),
    **dict.fromkeys(VIDEO_KINDS, SKIP_VIDEO),
}
PICTURE_KINDS = frozenset(IMAGE_KINDS).union(
    kind for kind, why in _REASONS.items() if why in (SKIP_HEIC, SKIP_OTHER, SKIP_RAW)
)
# what disks, phones and network drives keep deleted files, copies and thumbnails in; and all hidden
_CLOSED = (
    "$recycle.bin",
    "@eadir",
    "#recycle",
    "@recycle",
    "#snapshot",
    "lost+found",
    "system volume information",
    "lost.dir",
    *("recycler", "recycled", "found.000", "found.001", "@recently-snapshot", "@__thumb", "@tmp"),
    *("@synoresource", "@sharebin", "~snapshot", "network trash folder", "temporary items"),
    "__macosx",
)


def is_closed(folder: str) -> bool:
    """Whether a folder of this name is never searched for images."""
    return folder.startswith(".") or folder.lower() in _CLOSED


def is_image_name(name: str) -> bool:
    """Whether a file is an image that takes part, by its name; a hidden one is deleted, or not yet
    written whole.
    """
    return kind_of(name) in IMAGE_KINDS and not name.startswith(".")


def is_video_name(name: str) -> bool:
    """Whether a file is a video that may take part, by its name."""
    return kind_of(name) in VIDEO_KINDS and not name.startswith((".", _PREVIEW_PREFIX))


_PREVIEW_PREFIX = "LRV_"  # of Insta360: LRV_20240531_120000_11_001.insv
_PICTURES_AND_VIDEOS = frozenset((*_REASONS, *IMAGE_KINDS))
_UNFINISHED = ("icloud", "crdownload", "part", "partial", "filepart", "download", "opdownload")
_BACKUPS = ("bak", "orig", "old")


def _why_a_leftover(name: str) -> str:
    """Why a file is left alone whose name is that of a picture or video with something behind it;
    "" for any other.
    """
    inner, _, behind = name.rpartition(".")
    if behind.lower() in _UNFINISHED and kind_of(inner) in _PICTURES_AND_VIDEOS:
        return SKIP_UNFINISHED
    if behind.lower() not in _BACKUPS:
        inner = re.sub(r"(?:_original|~\d*)$", "", name)  # of exiftool, of editors
    return SKIP_BACKUP if inner != name and kind_of(inner) in _PICTURES_AND_VIDEOS else ""


def _why_left_alone(name: str, unseen: bool) -> str:
    """Why a file that is no image for us, or that Windows hides, is left alone, of what looks like
    a picture or a video; "" for others.
    """
    kind, leftover = kind_of(name), _why_a_leftover(name)
    if leftover and not name.startswith((PART_PREFIX, "._")):
        return leftover
    if name.startswith(PART_PREFIX) or kind not in _PICTURES_AND_VIDEOS:
        return ""
    if name.startswith("._"):
        return SKIP_SHADOW
    if unseen or name.startswith("."):
        return SKIP_HIDDEN
    small = name.startswith(_PREVIEW_PREFIX) and kind in VIDEO_KINDS
    return SKIP_PREVIEW if small else _REASONS[kind]


class Inventory(NamedTuple):
    """What lies below a folder."""

    images: List[Path]  # by folder and natural name
    others: Dict[str, List[Path]]  # other pictures and videos, by why they are left alone
    closed: List[str]  # folders that are not searched
    trouble: List[Problem]  # subfolders that cannot be listed

    @property
    def videos(self) -> List[Path]:
        """The videos among the others."""
        return self.others.get(SKIP_VIDEO, [])


def look_below(
    folder: Union[str, Path], skip_subfolders: bool = False, videos: bool = False
) -> Inventory:
    """Everything below a folder that looks like a picture or a video; hidden folders, and those of
    deleted files and thumbnails, are not searched.

    Raises NotFound when there is no such folder, or no image; a video will do, with videos.
    """
    found = Inventory([], {}, [], [])

    def unreadable(error: OSError) -> None:
        LOG.warning("%s", str(unsearchable(error)))
        found.trouble.append(unsearchable(error))

    top = str(check_folder(str(folder), "--import_path"))
    for place, folders, files in walked(top, unreadable):
        below = [] if skip_subfolders else sorted(folders, key=natural_key)
        folders[:] = [name for name in below if not is_closed(name)]
        if STAND_IN_FILE in files:
            folders[:] = []  # what a stand-in received is no input
            continue
        shut = [name for name in below if is_closed(name) and name != STATE_FOLDER]
        found.closed.extend(os.path.join(place, name) for name in shut)
        parent = Path(place)  # parsed once
        for name in sorted(files, key=natural_key):
            path = parent / name
            unseen = is_out_of_sight(path)
            if is_image_name(name) and not unseen:
                found.images.append(path)
                continue
            reason = _why_left_alone(name, unseen)
            if reason:
                found.others.setdefault(reason, []).append(path)
    if not found.images and not (videos and found.videos):
        raise _no_images(folder, found)
    return found


def _no_images(folder: Union[str, Path], found: Inventory) -> NotFound:
    """The error for a folder without an image, with what is there instead."""
    there = {reason: len(paths) for reason, paths in found.others.items()}
    value = "; ".join(f"{count} times {skip_words(code)}" for code, count in there.items())
    kinds = "images are files named ." + ", .".join(IMAGE_KINDS)
    return NotFound("no_images", "holds no images", file=folder, value=value, remedy=kinds)


def look_below_all(
    folders: Sequence[str], skip_subfolders: bool = False, videos: bool = False
) -> Inventory:
    """Everything below several folders, each file once; of one that is not there, or holds no
    image, the others are not held back. Raises NotFound where none has an image; a video will do,
    with videos.
    """
    if len(folders) == 1:
        return look_below(folders[0], skip_subfolders, videos)
    whole, errors = Inventory([], {}, [], []), []
    seen: Set[str] = set()
    for folder in folders:
        try:
            found = look_below(folder, skip_subfolders, videos)
        except NotFound as error:
            errors.append(error)
            continue
        there = [*found.images, *found.videos]
        mine = {behind_links(str(path.parent)) for path in there} - seen
        whole.images.extend(p for p in found.images if behind_links(str(p.parent)) in mine)
        seen |= mine
        whole.closed.extend(found.closed)
        whole.trouble.extend(found.trouble)
        for code, paths in found.others.items():
            new = [p for p in paths if code != SKIP_VIDEO or behind_links(str(p.parent)) in mine]
            whole.others.setdefault(code, []).extend(new)
    if not whole.images and not (videos and whole.videos):
        raise errors[0]
    whole.trouble.extend(error.problem for error in errors)
    return whole


def top_of(folder: str, tops: Sequence[str]) -> str:
    """Which of the folders of a run a folder lies below."""
    here = unextended(folder) + os.sep
    inside = [top for top in tops if here.startswith(unextended(top).rstrip(os.sep) + os.sep)]
    return max(inside, key=len) if inside else tops[0]


def find_images(folder: Union[str, Path], skip_subfolders: bool = False) -> List[Path]:
    """Every image file below a folder, by folder and natural name; see look_below."""
    return look_below(folder, skip_subfolders).images


def account_for(
    found: Inventory, report: Report, notes: Notes, videos: Optional[str] = SKIP_VIDEO
) -> List[Path]:
    """The images of a search; what else lies there is counted in the report, and folders that are
    not searched are said. videos: why they are left alone; None = they are not.
    """
    for reason, paths in sorted(found.others.items()):
        code = videos if reason == SKIP_VIDEO else reason
        if code is not None and paths:
            report.skipped.setdefault(code, []).extend(map(str, paths))
    report.trouble.extend(found.trouble)
    if found.closed:
        names = ", ".join(found.closed[:5]) + (", ..." if len(found.closed) > 5 else "")
        notes.say(f"{len(found.closed)} folders are not searched: {names}")
    return found.images


# ---- Files --------------------------------------------------------------------------------------
# Here: writing atomically, moving and removing, size and time of a file.
# Not here: what is in a file.

_RIGHTS = "check the rights of the folder"
_BUSY = (5, 32, 33)  # errors of Windows while another program holds a file: a scanner, a viewer
_PATIENCE_S = 3.0  # seconds until a file that is held counts as open for good
_FLUSHED_AT_ONCE = 8  # files
# room on the disk, of one's own share of it, for open files
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EMFILE, errno.ENFILE)
_WRITE_REMEDIES = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "the disk is read-only: copy the images to another one",
    errno.EMFILE: "run it for fewer folders at a time, or after: ulimit -n 65536",
}


def is_held(error: OSError) -> bool:
    """Whether an error is that of Windows for a file that another program holds; its C library only
    tells that there is no access.
    """
    code = getattr(error, "winerror", None)
    return code in _BUSY or code is None and os.name == "nt" and error.errno == errno.EACCES


def os_problem(path: Union[str, Path], error: OSError) -> CannotWrite:
    """The error for a file that the system does not let us write."""
    remedy = _WRITE_REMEDIES.get(error.errno or 0, "check the disk")
    cause = error.strerror or str(error)
    if is_held(error):
        wrong = "is open in another program, or may not be written"
        remedy = "close it there and run the same command again"
        return CannotWrite("held", wrong, file=path, value=cause, remedy=remedy)
    kind = NoRoom if error.errno in _FULL else CannotWrite
    return kind("cannot_write", "cannot be written", file=path, value=cause, remedy=remedy)


# What file systems say that cannot flush, or keep rights: SMB, exFAT, FUSE, network drives.
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ENOTSUP, 45)


@contextlib.contextmanager
def best_effort() -> Iterator[None]:
    """Do what a file system may not be able to do; other errors come through."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT:
            raise


def flush_file(handle: int) -> None:
    """Wait until a file is on disk, where its file system can tell."""
    if sys.platform == "darwin":  # where fsync leaves it to the disk when it writes (fsync(2))
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    with best_effort():
        os.fsync(handle)


def hasten(handle: int) -> None:
    """Have the system begin to write a file to disk, where it can be told; flush_file() then waits
    for little. Linux does so for what will not be needed (fadvise64(2)).
    """
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)


def regular_only(path: str, flags: int) -> int:
    """An opener that does not wait for a pipe, and refuses what is no file; raises OSError."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file")
    return handle


def patiently(act: Callable[[], T]) -> T:
    """What act() gives; tried again for a few seconds while another program on Windows holds the
    file. Raises OSError.
    """
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return act()
        except OSError as error:
            folder = isinstance(error.filename, str) and os.path.isdir(error.filename)
            if not is_held(error) or folder or time.monotonic() >= end:
                raise
        time.sleep(0.05)


def open_file(path: Union[str, Path]) -> BinaryIO:
    """A file to read, open at its begin; raises OSError, also for a folder, a pipe or a device."""
    return patiently(lambda: _as_stream(str(path)))


def _as_stream(path: str) -> BinaryIO:
    """What open(path, "rb") gives, without the questions that only a terminal needs."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    return io.BufferedReader(io.FileIO(regular_only(path, flags), "rb"))


def _unmark(path: str) -> bool:
    """Take the mark read-only, which on Windows forbids to replace and to remove, from a file;
    returns whether it had it.
    """
    marked = os.name == "nt" and os.path.exists(path) and not os.access(path, os.W_OK)
    if marked:
        os.chmod(path, stat.S_IWRITE)
    return marked


def move_file(source: str, target: str) -> None:
    """Rename a file, over another if there is one; that is marked read-only stays so. Raises
    OSError.
    """
    marked = _unmark(target)
    try:
        patiently(lambda: os.replace(source, target))
    finally:
        if marked:
            os.chmod(target, stat.S_IREAD)


def remove_file(path: str) -> None:
    """Remove a file, also one that is marked read-only; raises OSError."""
    _unmark(path)
    patiently(lambda: os.unlink(path))


def _take_after(handle: int, part: str, old: os.stat_result, path: str, strict: bool) -> None:
    """Give a new file the owner and the attributes of the one that it replaces; strict: raise
    CannotWrite where the system does not let it have that owner.
    """
    if os.name == "nt":
        with contextlib.suppress(OSError):
            keep_attributes(handle, part, old)
    new = os.fstat(handle)
    if hasattr(os, "chown") and (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with best_effort():
            try:
                os.chown(handle, old.st_uid, old.st_gid)
            except PermissionError as error:
                if strict:
                    wrong = "is of another user or group, and a file of theirs cannot be made"
                    remedy = "run this as its owner, or with --keep_original"
                    raise CannotWrite("owner", wrong, file=path, remedy=remedy) from error
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for name in os.listxattr(path):
                with contextlib.suppress(OSError):  # one that may not be set costs no other
                    os.setxattr(handle, name, os.getxattr(path, name))


Piece = Union[bytes, memoryview]  # of what is written


class Manner(NamedTuple):
    """How a file is written."""

    mode: Optional[int] = None  # rights; None = those of the file that is replaced
    flush: bool = True  # whether it must be on disk before it takes the other's place
    times: Optional[Tuple[int, int]] = None  # of last use and change in ns; None = now
    photo: bool = False  # two runs may write it at one time, where locks fail; it keeps its owner
    beside: str = ""  # the folder of its temporary file, if not its own


def _fill(part: str, chunks: Iterable[Piece], manner: Manner, target: str) -> io.FileIO:
    """Write a temporary file whole, with the rights of the one that it is to replace; it stays
    open, to be flushed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    old: Optional[os.stat_result] = None
    with contextlib.suppress(FileNotFoundError):
        old = os.stat(target)
    mode = manner.mode
    if mode is None and old is not None:
        mode = old.st_mode & 0o7777
    # Windows would mark it read-only
    handle = os.open(part, flags, 0o666 if mode is None or os.name == "nt" else mode)
    stream = io.FileIO(handle, "wb")
    try:
        for chunk in chunks:
            write_all(stream, chunk)
        if old is not None:
            _take_after(handle, part, old, target, manner.photo)
        if mode is not None and os.name == "posix":
            with best_effort():
                os.chmod(handle, mode)
        if manner.times is not None:
            with best_effort():
                os.utime(handle if os.utime in os.supports_fd else part, ns=manner.times)
        if manner.flush:
            hasten(handle)
    except BaseException:
        stream.close()
        raise
    return stream


def part_of(target: str, manner: Manner = Manner()) -> str:
    """The path of the temporary file of a file: another each time where runs may share it, else
    always the same, so that one that a killed run left is found.
    """
    folder, name = os.path.split(target)
    if manner.photo:
        mark = f"{random.SystemRandom().getrandbits(64):016x}"
    else:
        mark = hashlib.sha1(os.fsencode(name)).hexdigest()[:16]
    return os.path.join(manner.beside or folder, PART_PREFIX + mark + PART_SUFFIX)


def remove_part(part: str) -> None:
    """Remove a temporary file that a killed run left, if it did."""
    if os.path.lexists(part):
        remove_file(part)


class Pending(NamedTuple):
    """A file that is written under its temporary name, and has not taken its place yet."""

    path: str  # as it was given, for messages
    target: str  # the place: the same behind links
    part: str
    stream: io.FileIO  # open: what is written may not be on disk yet
    flush: bool  # whether it must be before it takes its place
    ready: Callable[[], None]  # may raise ToolError or OSError right before it does

    def close(self) -> os.stat_result:
        """Have it on disk if it must be, and close it; raises OSError."""
        with self.stream:
            if self.flush:
                flush_file(self.stream.fileno())
            return os.fstat(self.stream.fileno())

    def take_place(self, written: os.stat_result) -> os.stat_result:
        """Replace the file; returns os.stat of the new one. Raises OSError, ToolError."""
        self.ready()
        try:
            move_file(self.part, self.target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._take_by_copy()
        with contextlib.suppress(OSError):  # the rename may have changed the time of the change
            return os.stat(self.target)
        return written

    def _take_by_copy(self) -> None:
        """Replace the file by way of a copy beside it: where a file system is made of several, two
        folders may turn out to be on different ones.
        """
        status = os.stat(self.part)
        times = status.st_atime_ns, status.st_mtime_ns
        manner = Manner(status.st_mode & 0o7777, times=times, photo=True)
        with open_file(self.part) as stream:
            pieces = iter(lambda: stream.read(COPY_BYTES), b"")
            near = begin_file(self.target, pieces, manner)
        try:
            near.close()
            self.ready()  # the copy took its time
            move_file(near.part, near.target)
        except BaseException:
            near.give_up()
            raise
        remove_file(self.part)

    def give_up(self) -> None:
        """Remove what was written, if it is still there."""
        self.stream.close()
        with contextlib.suppress(OSError):
            remove_part(self.part)


def begin_file(
    path: Union[str, Path],
    chunks: Iterable[Piece],
    manner: Manner = Manner(),
    ready: Callable[[], None] = lambda: None,
) -> Pending:
    """Write a file (behind links too) under a temporary name, beside it unless the manner says
    where; finish_files() has it take its place. Owner and extended attributes are those of the file
    that is replaced. Raises CannotWrite, and then nothing is left.
    """
    target = str(path)
    if os.path.islink(target):  # what lies in a folder behind a link is found there as well
        target = behind_links(target)
    part = part_of(target, manner)
    try:
        if not manner.photo:
            remove_part(part)
        try:
            stream = _fill(part, chunks, manner, target)
        except BaseException:
            with contextlib.suppress(OSError):
                remove_file(part)
            raise
    except OSError as error:
        raise os_problem(path, error) from error
    return Pending(str(path), target, part, stream, manner.flush, ready)


def _closed(pending: Pending) -> Union[os.stat_result, OSError]:
    """os.stat of a temporary file that is on disk, or why it is not."""
    try:
        return pending.close()
    except OSError as error:
        return error


def _all_closed(files: Sequence[Pending]) -> List[Union[os.stat_result, OSError]]:
    """Have temporary files on disk, several at a time where the system has not begun to write
    them.
    """
    results: Dict[int, Union[os.stat_result, OSError]] = {}
    count = 1 if hasattr(os, "posix_fadvise") else max(1, min(_FLUSHED_AT_ONCE, len(files)))

    def close(first: int) -> None:
        for number in range(first, len(files), count):
            results[number] = _closed(files[number])

    threads = [threading.Thread(target=close, args=(first,)) for first in range(1, count)]
    begun: List[threading.Thread] = []
    try:
        for thread in threads:
            thread.start()
            begun.append(thread)
        close(0)
    finally:  # whatever ends the run: nobody closes a file that another still flushes
        for thread in begun:
            thread.join()
    lost = OSError(errno.EIO, "could not be flushed")  # in a thread that found no memory
    return [results.get(number, lost) for number in range(len(files))]


def finish_files(files: Sequence[Pending]) -> List[Union[os.stat_result, ToolError]]:
    """Have files that are written take their places: all flushed together, then one renamed after
    the other. Returns for each os.stat of the new file, or why the old one is as it was. Of what
    ends it in the middle no temporary file is left.
    """
    results: List[Union[os.stat_result, ToolError]] = []
    try:
        for one, written in zip(files, _all_closed(files)):
            try:
                if isinstance(written, OSError):
                    raise written
                results.append(one.take_place(written))
            except OSError as error:
                one.give_up()
                results.append(os_problem(one.path, error))
            except ToolError as error:
                one.give_up()
                results.append(error)
    except BaseException:
        for one in files[len(results) :]:
            one.give_up()
        raise
    return results


def write_atomically(
    path: Union[str, Path],
    chunks: Iterable[Piece],
    manner: Manner = Manner(),
    ready: Callable[[], None] = lambda: None,
) -> os.stat_result:
    """Write a file (behind links too) whole or not at all: temporary file beside it, fsync,
    os.replace; ready() may stop it right before the rename. Returns os.stat of the new file; raises
    CannotWrite, or what ready() raises, and then the old file is as it was.
    """
    (result,) = finish_files([begin_file(path, chunks, manner, ready)])
    if isinstance(result, ToolError):
        raise result
    return result


def write_all(stream: io.RawIOBase, chunk: Piece) -> None:
    """Write every byte of a chunk to an unbuffered stream; the one place that image bytes go to
    disk through.
    """
    view = memoryview(chunk)
    while view:
        view = view[stream.write(view) or 0 :]


def begin_of(path: Union[str, Path]) -> Optional[bytes]:
    """The first 100 bytes of a file that is to be replaced, None where there is none; raises
    CannotWrite for what is no file.
    """
    try:
        with open_file(path) as stream:
            return stream.read(100)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise os_problem(path, error) from error


def make_folder(path: str, mode: int = 0o777) -> None:
    """Have a folder, and those above it; raises CannotWrite."""
    try:
        os.makedirs(path, mode, exist_ok=True)
    except OSError as error:
        raise os_problem(path, error) from error


def flush_folder(folder: Union[str, Path]) -> None:
    """Flush a folder's names to disk, where the system can; after that a power cut does not undo a
    replace.
    """
    if os.name == "posix":
        with contextlib.suppress(OSError):
            handle = os.open(str(folder), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def stamp_by(status: os.stat_result) -> Stamp:
    """Size in bytes and modification time in milliseconds."""
    return Stamp(status.st_size, status.st_mtime_ns // 1000000)


def changed_at(status: os.stat_result) -> Optional[int]:
    """When a file, its rights or its name last changed, in milliseconds; None on Windows, where
    that is not told.
    """
    return None if os.name == "nt" else status.st_ctime_ns // 1000000


def stamp_of(path: Union[str, Path]) -> Stamp:
    """Size and modification time of a file; NO_STAMP where it cannot be looked at."""
    try:
        return stamp_by(os.stat(str(path)))
    except OSError:
        return NO_STAMP


def is_there(path: str) -> bool:
    """Whether something is at a path; raises OSError where nobody can tell."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


K = TypeVar("K", Path, Image)


def by_folder(things: Iterable[K]) -> Dict[str, List[K]]:
    """The paths, or images, of each folder, in the order they come in."""
    folders: Dict[str, List[K]] = {}
    for thing in things:
        path = thing.path if isinstance(thing, Image) else thing
        folders.setdefault(os.path.dirname(str(path)), []).append(thing)
    return folders


# of the folders that a camera opens one after the other: 100GOPRO, 101GOPRO (DCF 2.0, 3.3.1)
_NUMBERED = re.compile(r"[1-9][0-9]{2}([0-9A-Z_]{5})\Z", re.IGNORECASE)


def is_numbered(name: object) -> bool:
    """Whether a folder has a name that cameras give by number."""
    return isinstance(name, str) and _NUMBERED.match(name) is not None


def line_of(folder: str) -> str:
    """Stands for a folder, or for all those beside it that the same camera opened by number."""
    parent, name = os.path.split(folder)
    known = _NUMBERED.match(name)
    return folder if known is None else os.path.join(parent, "???" + known.group(1).upper())


def by_line(things: Iterable[K], merge: bool) -> List[List[K]]:
    """The paths, or images, of each folder; with merge of all that a camera opened by number."""
    lines: Dict[str, List[K]] = {}
    for folder, group in by_folder(things).items():
        lines.setdefault(line_of(folder) if merge else folder, []).extend(group)
    return list(lines.values())


# ---- Environment --------------------------------------------------------------------------------
# Here: what variables say, and the secrets that no text may hold.
# Not here: the configuration file.

_SECRETS: Set[str] = set()  # of this process; nothing that a service says may hold one
_SHORTEST = 6  # letters of a secret that is looked for; a shorter one is in half of all texts


def keep_secret(*texts: str) -> None:
    """Have texts masked in whatever comes from outside from now on."""
    _SECRETS.update(text for text in texts if len(text) >= _SHORTEST)


def spellings(secret: str) -> List[str]:
    """How a secret may be spelled in a text, the longest first."""
    import base64
    import html
    import urllib.parse

    codes = [ord(letter) for letter in secret]
    forms = {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}
    forms |= {html.escape(secret), json.dumps(secret)[1:-1]}
    forms.add(base64.b64encode(secret.encode("utf-8", "replace")).decode("ascii").rstrip("="))
    forms.add("".join(f"\\u{code:04x}" for code in codes))
    forms.add("".join(f"%{byte:02x}" for byte in secret.encode("utf-8", "replace")))
    forms |= {"".join(f"&#{code};" for code in codes), "".join(f"&#x{code:x};" for code in codes)}
    return sorted(forms, key=len, reverse=True)


def hushed(text: str) -> str:
    """A text from outside without our secrets, however they are spelled."""
    for secret in sorted(_SECRETS, key=len, reverse=True):
        for form in spellings(secret):
            text = re.sub(re.escape(form), "...", text, flags=re.IGNORECASE)
    return text


CONFIG_BYTES = 1 << 20  # of a configuration at most
CONFIG_UNREADABLE = "config_unreadable"  # the code of a problem of the medium
# configparser takes minutes over many lines that are none


def environment(variable: str) -> str:
    """What a variable of the environment says; "" where it is not set."""
    return os.environ.get(variable) or _HELD.get(variable, "")


_HELD: Dict[str, str] = {}  # tokens of our environment, which worker processes do not inherit


def hold_tokens() -> None:
    """Take the tokens out of the environment that worker processes are to have."""
    for name in ("MAPILLARY_ACCESS_TOKEN", "MAPILLARY_CLIENT_TOKEN"):
        _HELD[name] = os.environ.pop(name, "")
        keep_secret(_HELD[name])


# ---- Workers ------------------------------------------------------------------------------------
# Here: the worker pool.
# Not here: what a worker does.


def worker_count(wanted: int) -> int:
    """How many workers: as wanted, and for 0 as many as there are CPUs, at most 8."""
    return wanted or min(8, os.cpu_count() or 1)


Item = TypeVar("Item")
Result = TypeVar("Result")
GROUP_IMAGES = 32  # that a worker gets at a time, at most
_GIVEN_AHEAD = 4  # groups a worker that are given before the first result is taken
_PARENT: List[int] = []  # in the worker processes of this module's own the id of their parent


def _several(job: Callable[[Item], Result], items: Sequence[Item]) -> List[Result]:
    return [job(item) for item in items]


def _way_to_start(total: int) -> str:
    """How worker processes are started for so many items: "" where threads do, "fork" where that is
    cheap and safe, else "spawn". A host of this module gets threads.
    """
    if __name__ != "__main__" or total <= FORK_IMAGES:
        return ""
    if sys.platform.startswith("linux") and threading.active_count() == 1:
        return "fork"
    return "spawn" if total > PROCESS_IMAGES else ""


class _Threads(Generic[Item, Result]):
    """Workers that are threads."""

    def __init__(
        self, job: Callable[[Sequence[Item]], List[Result]], items: Sequence[Item], count: int
    ) -> None:
        import concurrent.futures

        preload()
        self._job, self._items = job, items
        self._pool = concurrent.futures.ThreadPoolExecutor(count)
        self._waiting: Deque["concurrent.futures.Future[List[Result]]"] = collections.deque()

    def give(self, group: slice) -> None:
        """Have some of the items done."""
        self._waiting.append(self._pool.submit(self._job, self._items[group]))

    def take(self) -> List[Result]:
        """What became of the group that was given first."""
        return self._waiting.popleft().result()

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest."""
        for future in self._waiting:
            future.cancel()
        self._pool.shutdown(wait=True)


class _Worker(NamedTuple):
    """A worker process, and what goes to and comes from it."""

    process: "multiprocessing.process.BaseProcess"
    tasks: "multiprocessing.connection.Connection"
    results: "multiprocessing.connection.Connection"


class _Processes(Generic[Item, Result]):
    """Workers that are processes; groups go to one after the other. Those that begin as a copy of
    this one have the items, and are told which of them; others are sent them.
    """

    def __init__(
        self,
        job: Callable[[Sequence[Item]], List[Result]],
        items: Sequence[Item],
        count: int,
        way: str,
    ) -> None:
        self._given = self._taken = 0
        self._items, self._is_copy = items, way == "fork"
        self._workers: List[_Worker] = []
        self._speaking: Optional[_Worker] = None  # to or from whom a message is on its way
        if not self._is_copy:
            _start_tracker()
        try:
            with _uninterrupted():
                for _ in range(count):
                    self._workers.append(self._start(job))
        except BaseException:
            self.close()
            raise

    def _start(self, job: Callable[[Sequence[Item]], List[Result]]) -> _Worker:
        import multiprocessing

        fork, spawn = self._is_copy, multiprocessing.get_context("spawn")
        context = multiprocessing.get_context("fork") if fork else spawn
        items = self._items if fork else ()
        ours, theirs = [], []
        for reader, writer in (multiprocessing.Pipe(False), multiprocessing.Pipe(False)[::-1]):
            ours.append(writer)
            theirs.append(reader)
        others = [pipe for worker in self._workers for pipe in worker[1:]] + ours
        closed = others if fork else []  # else it has none of them
        process = context.Process(target=_serve, args=(job, items, *theirs, closed), daemon=True)
        process.start()
        for pipe in theirs:
            pipe.close()
        return _Worker(process, *ours)

    def give(self, group: slice) -> None:
        """Have some of the items done; raises ToolError where a worker is no more."""
        told = group if self._is_copy else self._items[group]
        self._speaking = worker = self._workers[self._given % len(self._workers)]
        with _workers_alive():
            _pass_on(told, worker.tasks)
        self._speaking = None
        self._given += 1

    def take(self) -> List[Result]:
        """What became of the group that was given first; raises ToolError as give() does."""
        self._speaking = worker = self._workers[self._taken % len(self._workers)]
        with _workers_alive():
            result: Union[List[Result], Exception] = worker.results.recv()
        self._speaking = None
        self._taken += 1
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        """Drop what has not begun, and wait for the rest; but for a worker with which half a
        message was exchanged, which ends at once.
        """
        for worker in self._workers:
            if worker is self._speaking:
                worker.tasks.close()
                worker.results.close()
            else:
                with contextlib.suppress(OSError):
                    _pass_on(None, worker.tasks)
        for worker in self._workers:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    worker.results.recv()
            worker.process.join()
            worker.tasks.close()
            worker.results.close()


def _pass_on(told: object, pipe: "multiprocessing.connection.Connection") -> None:
    """Send a value; interrupted in send() itself, Python 3.13 complains of a buffer still held."""
    import pickle

    pipe.send_bytes(pickle.dumps(told))


def _start_tracker() -> None:
    """Start what multiprocessing keeps beside spawned workers now: started with the first of them,
    it would let signals through that are held back meanwhile.
    """
    if os.name == "posix":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()


@contextlib.contextmanager
def _workers_alive() -> Iterator[None]:
    """Raise ToolError where the other end of a pipe is gone."""
    try:
        yield
    except (EOFError, OSError) as error:
        wrong, remedy = "a worker process was ended by the system", "run the same command again"
        raise ToolError("worker_lost", wrong, remedy=remedy) from error


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start workers that a Ctrl-C in their terminal does not reach: it is their parent's to end
    them. One that comes meanwhile is kept for the parent; on Windows it has to come again.
    """
    import signal

    mask = getattr(signal, "pthread_sigmask", None)
    if mask is None:
        ignore_ctrl_c(True)
        try:
            yield
        finally:
            ignore_ctrl_c(False)
        return
    before = mask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        mask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """In a worker process of this module's own: end at once where the run that started it has
    ended.
    """
    if not _PARENT:
        return
    if os.name == "posix":
        alive = os.getppid() == _PARENT[0]  # an orphan has another
    else:
        import multiprocessing

        parent = multiprocessing.parent_process()
        alive = parent is None or parent.is_alive()
    if not alive:
        os._exit(EXIT_INTERRUPTED)


def _leave_signals() -> None:
    """Leave a Ctrl-C of the terminal to the parent; what asks this process to end, ends it."""
    import signal

    for name in ("SIGINT", "SIGBREAK", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            asked = name in ("SIGTERM", "SIGHUP")
            signal.signal(number, signal.SIG_DFL if asked else signal.SIG_IGN)


def _tried(
    job: Callable[[Sequence[Item]], List[Result]], group: Sequence[Item]
) -> Union[List[Result], Exception]:
    """The results of a group; or what the job raised."""
    try:
        return job(group)
    except Exception as error:  # for the parent to raise
        return error


def _serve(
    job: Callable[[Sequence[Item]], List[Result]],
    items: Sequence[Item],
    tasks: "multiprocessing.connection.Connection",
    results: "multiprocessing.connection.Connection",
    others: Sequence["multiprocessing.connection.Connection"],
) -> None:
    """Be a worker process: do each group that comes, or whose place among the items does, until
    None comes; what has not begun then is dropped. It ends at once where the one that started it
    has ended.
    """
    import multiprocessing
    import queue

    _leave_signals()
    parent = multiprocessing.parent_process()
    _PARENT.append(0 if parent is None or parent.pid is None else parent.pid)
    for pipe in others:  # held here, nobody would see them end
        pipe.close()
    inbox: "queue.SimpleQueue[Union[Sequence[Item], slice, None]]" = queue.SimpleQueue()
    stopped = threading.Event()

    def listen() -> None:
        while True:
            try:
                group = tasks.recv()
            except (EOFError, OSError):
                os._exit(EXIT_INTERRUPTED)
            if group is None:
                stopped.set()
            inbox.put(group)

    threading.Thread(target=listen, daemon=True).start()
    for group in iter(inbox.get, None):
        if stopped.is_set():
            break
        known = items[group] if isinstance(group, slice) else group
        try:
            results.send(_tried(job, known))
        except OSError:  # nobody listens any more
            break
    results.close()


def _crew(
    job: Callable[[Sequence[Item]], List[Result]], items: Sequence[Item], count: int, way: str
) -> Union[_Threads[Item, Result], _Processes[Item, Result]]:
    """Workers; threads also where the system gives no more processes."""
    if way:
        with contextlib.suppress(OSError):
            return _Processes(job, items, count, way)
    return _Threads(job, items, count)


def each_group(
    job: Callable[[Sequence[Item]], List[Result]],
    items: Sequence[Item],
    workers: int,
    size: int = 0,
    on_threads: bool = False,
) -> Generator[Result, None, None]:
    """The results of job(some items), for groups of items in their order, only a few groups taken
    ahead: the one worker pool.

    job is a module's function of plain values (threads or processes), and gives a result for each
    of its items. What has not begun when the consumer stops is dropped. size is that of a group on
    threads; 0 = as a process gets.
    """
    total = len(items)
    count = min(worker_count(workers), total)
    way = "" if on_threads or count < 2 else _way_to_start(total)
    if way or not size:
        size = max(1, min(GROUP_IMAGES, total // (2 * count or 1)))
    if count <= 1:
        for first in range(0, total, size):
            yield from job(items[first : first + size])
        return
    given = 0
    with contextlib.closing(_crew(job, items, count, way)) as crew:
        for first in range(0, total, size):
            crew.give(slice(first, first + size))
            given += 1
            if given == _GIVEN_AHEAD * count:
                yield from crew.take()
                given -= 1
        for _ in range(given):
            yield from crew.take()


def each(
    job: Callable[[Item], Result], items: Sequence[Item], workers: int, on_threads: bool = False
) -> Generator[Result, None, None]:
    """job(item) for each of the items, in their order: see each_group."""
    yield from each_group(functools.partial(_several, job), items, workers, 1, on_threads)


# ---- Programs -----------------------------------------------------------------------------------
# Here: the only subprocess, and where programs are.
# Not here: what a program is asked.

# of what a program says on its error output, the last ones are kept
ERROR_LINES, ERROR_BYTES = (
    20,
    4096,
)


class Ran(NamedTuple):
    """How a program ended."""

    code: int  # its exit code, 0 = success
    output: str  # its output; "" when every line went to a function
    errors: List[str]  # the last lines that it wrote to its error output


def _lines_of(rows: Iterable[bytes]) -> List[str]:
    return [row.decode("utf-8", "replace").strip() for row in rows if row.strip()]


class Allowance(NamedTuple):
    """What a program may take; 0 = no limit."""

    silence: float = 0.0  # seconds without a line of output, after which it is ended
    memory: int = 0  # bytes, where the system can limit that


def _before_it_begins(limits: Allowance) -> Optional[Callable[[], None]]:
    """What a program does before it begins, so that it keeps to its limits and ends with this
    process; None where the system has no such thing.
    """
    ends = _ends_with_us()
    if os.name != "posix" or not limits.memory:
        return ends
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    memory = limits.memory if most == resource.RLIM_INFINITY else min(limits.memory, most)

    def begins() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        if ends is not None:
            ends()

    return begins


def _ends_with_us() -> Optional[Callable[[], None]]:
    """What a program does before it begins, so that the system ends it with this process; None
    where the system has no such thing.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

        ask: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    except (ImportError, OSError, AttributeError):
        return None

    def ends() -> None:
        ask(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL

    return ends


def _start(
    argv: Sequence[str], folder: Optional[str], stdin: int, limits: Allowance
) -> "subprocess.Popen[bytes]":
    """A program that runs: no shell, no window, no token from our environment; raises
    ProgramMissing.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAPILLARY_")}
    try:
        return subprocess.Popen(
            list(argv),
            cwd=folder,
            env=kept,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            preexec_fn=_before_it_begins(limits),
        )
    except OSError as error:
        cause = error.strerror or str(error)
        raise ProgramMissing(
            "cannot_start", "cannot be started", file=argv[0], value=cause, remedy="install it anew"
        ) from error


class _Watch:
    """Ends a program that has said nothing for too long."""

    def __init__(self, child: "subprocess.Popen[bytes]", silence: float) -> None:
        self.child, self.silence = child, silence
        self.last = time.monotonic()
        self.ended = threading.Event()

    def __enter__(self) -> "_Watch":
        if self.silence:
            threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()

    def heard(self) -> None:
        """The program has said something."""
        self.last = time.monotonic()

    def _wait(self) -> None:
        while not self.ended.wait(min(self.silence, 1.0) / 4):
            if time.monotonic() - self.last > self.silence:
                self.child.kill()
                return


def _feed(child: "subprocess.Popen[bytes]", text: str) -> None:
    """Give a program what it reads, by a thread; one that has ended reads no more."""
    stdin, child.stdin = child.stdin, None  # the thread closes it

    def write() -> None:
        if stdin is not None:
            with contextlib.suppress(OSError), stdin:
                stdin.write(text.encode("utf-8", "surrogateescape"))

    threading.Thread(target=write, daemon=True).start()


def run_program(
    argv: Sequence[str],
    folder: Optional[str] = None,
    line: Optional[Callable[[str], None]] = None,
    given: str = "",
    limits: Allowance = Allowance(),
) -> Ran:
    """Run a program to its end; line(text) gets each line of its output as it comes. given is what
    it may read; where it goes beyond its limits it is ended, with a code that is not 0.

    Killed when anything goes wrong here, Ctrl-C included. Raises ProgramMissing.
    """
    errors: Deque[bytes] = collections.deque(maxlen=ERROR_LINES)
    output: List[bytes] = []
    stdin = subprocess.PIPE if given else subprocess.DEVNULL
    with _start(argv, folder, stdin, limits) as child, _Watch(child, limits.silence) as watch:
        stdout, stderr = child.stdout, child.stderr
        assert stdout is not None and stderr is not None
        complaints = iter(lambda: stderr.readline(ERROR_BYTES), b"")
        try:
            reader = threading.Thread(target=errors.extend, args=(complaints,), daemon=True)
            reader.start()
            _feed(child, given)
            for row in stdout:
                watch.heard()
                if line is None:
                    output.append(row)
                else:
                    line(row.decode("utf-8", "replace").strip())
            child.wait()
            reader.join()
        except BaseException:
            child.kill()
            raise
    text = b"".join(output).decode("utf-8", "replace")
    return Ran(child.returncode, text, _lines_of(errors))


_USUAL_ON_WINDOWS = (  # variable that tells a folder, and where below it programs are put
    ("ProgramFiles", "ffmpeg\\bin"),
    ("SystemDrive", "\\ffmpeg\\bin"),
    ("ProgramData", "chocolatey\\bin"),
    ("LOCALAPPDATA", "Microsoft\\WinGet\\Links"),
    ("USERPROFILE", "scoop\\shims"),
)
_USUAL_ON_POSIX = (
    "/opt/homebrew/bin",
    "/usr/local/bin",
    "/opt/local/bin",
    "/usr/bin",
    "/snap/bin",
)


class _Program(NamedTuple):
    """How a program is found, and got."""

    variable: str  # of the environment that may give its path
    says: str  # what says where it is
    get: Mapping[str, str]  # how to get it, by system
    elsewhere: str


_FFMPEG = _Program(
    "MAPILLARY_TOOLS_FFMPEG_PATH",
    "--ffmpeg_path FILE",
    {
        "win32": "winget install ffmpeg, or put ffmpeg.exe and ffprobe.exe beside "
        "mapillary_tools.py",
        "darwin": "brew install ffmpeg",
    },
    "apt install ffmpeg, or your system's package of it",
)
_EXIFTOOL = _Program(
    "MAPILLARY_TOOLS_EXIFTOOL_PATH",
    "MAPILLARY_TOOLS_EXIFTOOL_PATH",
    {
        "win32": "put exiftool.exe and its folder exiftool_files beside mapillary_tools.py",
        "darwin": "brew install exiftool",
    },
    "apt install libimage-exiftool-perl, or your system's package of it",
)


def _folders_below_us() -> List[str]:
    """Folders below that of this script in which programs may be, as they are unpacked from an
    archive: ffmpeg-7.1-essentials/bin.
    """
    with contextlib.suppress(OSError):
        names = sorted(name for name in os.listdir(HERE) if re.match("(?i)ffmpeg|exiftool", name))
        below = [os.path.join(HERE, name) for name in names]
        return [place for one in below for place in (one, os.path.join(one, "bin"))]
    return []


def program_folders() -> List[str]:
    """Where programs may be: beside this script and below it, on PATH, and in the usual places of
    this system.
    """
    usual = list(_USUAL_ON_POSIX) if os.name == "posix" else []
    if sys.platform == "win32":
        roots = [(environment(variable), rest) for variable, rest in _USUAL_ON_WINDOWS]
        usual = [os.path.join(root, rest) for root, rest in roots if root]
    path = environment("PATH").split(os.pathsep)
    there = [folder for folder in path if os.path.isabs(folder)]
    return [HERE, *_folders_below_us(), *there, *usual]


def _places_of(name: str, given: Optional[str]) -> List[str]:
    """Where a program may be, in the order to look; of a file that was given ffprobe is looked for
    beside it.
    """
    usual = [os.path.join(folder, name) for folder in program_folders()]
    if not given:
        return usual
    if os.path.isdir(given):
        beside = os.path.join(given, name)
        return [beside] + usual if name == "ffprobe" else [beside]
    if name != "ffprobe":
        return [given]
    return [os.path.join(os.path.dirname(given), name)] + usual


def find_program(name: str, given: Optional[str] = None) -> str:
    """The absolute path of ffmpeg, ffprobe or exiftool: given (a file or a folder), else where
    programs are.

    MAPILLARY_TOOLS_FFMPEG_PATH and MAPILLARY_TOOLS_EXIFTOOL_PATH may give it too. Raises
    ProgramMissing that says how to get it on this system.
    """
    help_with = _EXIFTOOL if name == "exiftool" else _FFMPEG
    given = given or environment(help_with.variable)
    typed, given = given, os.path.abspath(os.path.expanduser(given)) if given else given
    for place in _places_of(name, given):
        for candidate in (place, place + ".exe") if os.name == "nt" else (place,):
            if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
                return candidate
    remedy = help_with.get.get(sys.platform, help_with.elsewhere)
    wrong = f"there is no {name} there" if given else f"{name} is not on this computer"
    raise ProgramMissing(
        "no_program",
        wrong,
        file=typed or "",
        remedy=f"{remedy}; {help_with.says} says where it is",
    )


# ---- Configuration ------------------------------------------------------------------------------
# Here: the configuration file.
# Not here: which service a token is for.


def config_path(given: Optional[str] = None) -> str:
    """Where credentials are kept: given, else MAPILLARY_CONFIG_PATH, else
    ~/.config/mapillary/config; "" where there is no home folder.
    """
    home = os.path.expanduser("~")  # stays as it is where nobody has one
    usual = "" if home == "~" else os.path.join(home, ".config", "mapillary", "config")
    return given or environment("MAPILLARY_CONFIG_PATH") or usual


_SECRET_NAME = re.compile("token|secret|hash", re.IGNORECASE)  # of an option of the configuration


_CONFIG_LINE = re.compile(r"\s|[#;]|\[[^\]]+\]|[^\s=:\[][^=:]*[=:]|\Z")


def _make_private(where: str, handle: int) -> None:
    """Take from others the right to read a configuration, and say so."""
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    if os.name == "posix" and mode & 0o077:
        with best_effort():
            os.chmod(handle, mode & 0o700)
            LOG.warning("%s could be read by others: now only by its owner", where)


def read_config(path: Optional[str] = None) -> Dict[str, Dict[str, str]]:
    """The configuration as section -> option -> text; empty where there is no file. Raises
    UsageError.
    """
    import configparser

    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    where, remedy = config_path(path), "mend it, or move it away and authenticate"
    if not where:
        return {}
    with contextlib.suppress(OSError):
        remove_part(part_of(behind_links(where)))  # of a killed run, with its token
    try:
        with open_file(where) as stream:
            _make_private(where, stream.fileno())
            content = stream.read(CONFIG_BYTES + 1)
        if len(content) > CONFIG_BYTES:
            raise OSError(errno.EFBIG, "it is too large for a configuration")
        text = content.decode("utf-8-sig")
        if not all(map(_CONFIG_LINE.match, text.splitlines())):
            raise configparser.ParsingError(where)
        parser.read_string(text)
    except FileNotFoundError:
        return {}
    except OSError as error:
        cause = error.strerror or str(error)
        raise UsageError(
            CONFIG_UNREADABLE, "cannot be read", file=where, value=cause, remedy=remedy
        ) from None
    except (UnicodeDecodeError, configparser.Error):
        cause = "it is no ini file in UTF-8"
        raise UsageError(
            "bad_config", "cannot be read", file=where, value=cause, remedy=remedy
        ) from None
    sections = {section: dict(parser.items(section)) for section in parser.sections()}
    for options in sections.values():
        keep_secret(*(text for name, text in options.items() if _SECRET_NAME.search(name)))
    return sections


def check_home(where: str) -> None:
    """Raise CannotWrite where there is no place for credentials."""
    if not where:
        remedy = "say where: set MAPILLARY_CONFIG_PATH=FILE, or give --config_file FILE"
        raise CannotWrite("no_home", "there is no home folder for the credentials", remedy=remedy)


def write_config(sections: Dict[str, Dict[str, str]], path: Optional[str] = None) -> None:
    """Replace the configuration, atomically and readable by its owner only; raises CannotWrite."""
    where = config_path(path)
    check_home(where)
    lines: List[str] = []
    for section, options in sections.items():
        told = [f"{option} = {value}" for option, value in options.items()]
        lines += [f"[{section}]", *told, ""]
    lines = [line.replace("\n", "\n\t") for line in lines]  # a value over several lines
    folder = os.path.dirname(behind_links(where))
    make_folder(folder, 0o700)
    write_atomically(where, ["\n".join(lines).encode("utf-8")], Manner(mode=0o600))


USER_TOKEN = "user_upload_token"  # the option of a user's section that holds the access token


class Configuration:
    """The configuration of a run, read once and only if somebody asks. Raises UsageError when it
    cannot be read.
    """

    def __init__(self, path: Optional[str] = None) -> None:
        self.path = config_path(path)
        self._sections: Optional[Dict[str, Dict[str, str]]] = None

    @property
    def sections(self) -> Dict[str, Dict[str, str]]:
        """Section -> option -> text."""
        if self._sections is None:
            self._sections = read_config(self.path)
        return self._sections

    def told(self, section: str, option: str) -> Optional[str]:
        """One option, None where it is not there."""
        return self.sections.get(section, {}).get(option)

    @property
    def accounts(self) -> Dict[str, str]:
        """User name -> access token, of those that have one stored."""
        found = {name: options.get(USER_TOKEN, "") for name, options in self.sections.items()}
        return {name: token for name, token in found.items() if token}

    def values(self, section: str) -> List[str]:
        """What the options of a section are, in their order."""
        return list(self.sections.get(section, {}).values())

    def secret(self) -> str:
        """The key that --master_upload signs with. Raises UsageError when there is none."""
        found = self.told("MAPAdmin", "MAPILLARY_SECRET_HASH")
        if not found:
            wrong = "has no MAPILLARY_SECRET_HASH under [MAPAdmin]"
            raise UsageError(
                "no_secret", wrong, file=self.path, remedy="add it, or leave --master_upload out"
            )
        return found

    def forget(self, section: str) -> None:
        """Take a section out, and write the rest; raises CannotWrite."""
        self.sections.pop(section, None)
        write_config(self.sections, self.path)

    def keep(self, section: str, options: Mapping[str, str]) -> None:
        """Put options into a section, and write the whole; raises CannotWrite."""
        self.sections.setdefault(section, {}).update(options)
        write_config(self.sections, self.path)


# ---- JPEG ---------------------------------------------------------------------------------------
# Here: the segments of a JPEG, whether its end is there (ITU-T T.81), what else a file may be.
# Not here: what is in a segment.

HEAD_BYTES = 65536  # bytes read at first from the head of a JPEG
TAIL_BYTES = 65536  # bytes at the end of a JPEG of which all may be zeros behind EOI
HEAD_LIMIT = 32 << 20  # bytes of segments before the scan that are still plausible
STRAY_LIMIT = 65536  # bytes of no segment that are passed over between all segments
SCAN_BYTES = 1 << 18  # bytes of a scan that are looked through at a time
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers that carry the picture's size
_NO_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])  # markers without a length
_NO_MARKERS = frozenset([0x00, *range(0x02, 0xC0)])  # what behind FF makes no marker
_SOI, _EOI, _SOS, _APP0, _APP1, _APP13, _FILL = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xED, 0xFF
_ODD = _NO_MARKERS | {_FILL}
# markers of what may stand between two scans, all with a length: tables, DNL, COM, APPn
_BETWEEN = frozenset([0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)])
XMP_BEGIN, _IPTC = b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"


class Head(NamedTuple):
    """The part of a JPEG before its scan."""

    data: bytes  # SOI to the end of the SOS header
    width: Optional[int]  # pixels
    height: Optional[int]  # pixels
    exif: bytes  # the TIFF block of the first Exif segment; b"" = none
    xmp: bytes  # the XML of the first XMP segment; b"" = none
    iptc: bytes  # the resources of all Photoshop segments; b"" = none
    xmp_at: Tuple[int, int] = (0, 0)  # where the first XMP segment begins and ends; 0, 0 = none
    after_exif: int = 2  # where a segment may be put in: behind the Exif one, JFIF or SOI
    other_xmp: bytes = b""  # the XML of a second XMP segment


class _Kind(NamedTuple):
    """Another kind of file than a JPEG: how it begins, what it is, and what to do about it."""

    begin: "re.Pattern[bytes]"
    name: str
    remedy: str


_SAVE = "save it as JPEG with the program that it comes from"
_PHONE = "export it as JPEG; on an iPhone: Settings, Camera, Formats, Most Compatible"
_WHOLE = "copy it from the card again, or leave it out"
_FETCH = "get the photo itself: git lfs pull"
_ANNEX = "get the photo itself: git annex get"
_WEB = "it is a web page, perhaps of an error or a login: download the photo itself"
_VIDEO = "give it the name of a video, and use video_process"


def _kind(begin: bytes, name: str, remedy: str = _SAVE) -> _Kind:
    return _Kind(re.compile(begin, re.DOTALL | re.IGNORECASE), name, remedy)


_KINDS = (  # of what is met under the name .jpg
    _kind(rb"RIFF....WEBP", "a WebP"),
    _kind(rb"RIFF....AVI|\x1aE\xdf\xa3|\0\0\x01[\xba\xb3]|FLV\x01|0&\xb2u", "a video", _VIDEO),
    _kind(rb"\x1f\x8b|Rar!|7z\xbc\xaf|BZh", "a packed archive", "unpack it first"),
    _kind(rb"II\xbc", "a JPEG XR"),
    _kind(rb"\0\0\x01\0", "an icon"),
    _kind(rb"\x89PNG", "a PNG"),
    _kind(rb"GIF8", "a GIF"),
    _kind(rb"BM........[\x1a-\xff]\0\0\0", "a BMP"),
    _kind(
        rb"II[*+]\0|MM\0[*+]|IIU\0|IIRO|MMOR|FUJIFILM|II\x1a\0\0\0HEAP|\0MRM|FOVb",
        "a TIFF or a raw file",
    ),
    _kind(rb"....ftyp(?:hei|hev|mif|mih|msf1|avi)", "a HEIC, HEIF or AVIF", _PHONE),
    _kind(rb"....ftypjxl", "a JPEG XL"),
    _kind(rb"....ftypcrx", "a raw file"),
    _kind(rb"....(?:ftyp|moov|mdat|wide|free)", "a video", _VIDEO),
    _kind(rb"8BPS", "a Photoshop document"),
    _kind(rb"\0\0\0\x0cj(?:P  |XL )|\xff\x0a|\xff\x4f\xff\x51", "a JPEG 2000 or JPEG XL"),
    _kind(rb"%PDF", "a PDF"),
    _kind(rb"PK\x03\x04", "a ZIP archive", "unpack it first"),
    _kind(rb"version https://(?:git-lfs|hawser)", "a Git LFS pointer, not the photo", _FETCH),
    _kind(rb"(?:\.\./)*(?:\.git)?/annex/objects", "a git-annex pointer, not the photo", _ANNEX),
    _kind(rb"\s*(?:\xef\xbb\xbf)?(?:<\?xml.*?\?>\s*)?(?:<!DOCTYPE svg.*?>\s*)?<svg", "an SVG"),
    _kind(
        rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?"
        rb"<(?:!doctype html|html|head|body|title|error>)",
        "HTML",
        _WEB,
    ),
    _kind(rb"\s*(?:404|not found|\{\s*\"(?:message|error))", "the answer of a web server", _WEB),
    _kind(rb"\xff\xfe\s?\0?<\0|\xfe\xff\0?\s?\0<", "a web page or XML", _WEB),
    _kind(rb"\s*(?:\xef\xbb\xbf)?\s*<", "XML", _WHOLE),
    _kind(
        rb"P[1-6]\s|\x0a[\0-\x05]\x01[\x01\x02\x04\x08]|\0\x01[\x01\x09]\0|\0\0[\x02\x0a]\0",
        "a picture of another format",
    ),
    _kind(rb"\xd0\xcf\x11\xe0", "a file of thumbnails or an office document", "leave it out"),
    _kind(rb"bplist", "a placeholder of a cloud, not the photo", "download the photo itself"),
    _kind(rb"\0\x05\x16[\0\x07]", "what macOS keeps beside a file", "leave it out"),
    _kind(
        rb"\xff\x01Exiv2", "the metadata of a photo alone, not the photo", "get the photo itself"
    ),
    _kind(
        rb"(?:\xef\xbf\xbd){2}|\xc3\xbf\xc3\x98",
        "a JPEG that was converted as if it were a text",
        _WHOLE,
    ),
    _kind(rb"\0{512}|\0+\Z", "full of zeros: the photo is lost here", _WHOLE),
    _kind(rb"\xff{16}|\xff+\Z", "full of bytes FF: the photo is lost here", _WHOLE),
    _kind(rb"[\t\r\n -~]{32}", "a text", _WHOLE),
)


_LOOKED_INTO = 4096  # bytes of a file that does not begin as a JPEG


def kind_by_content(begin: bytes) -> Optional[_Kind]:
    """Which other kind of file begins like this; None where that is not known."""
    return next((kind for kind in _KINDS if kind.begin.match(begin)), None)


def _no_jpeg(path: str, begin: bytes) -> BadExif:
    """The error for a file that does not begin as a JPEG does."""
    if not begin:
        return _not_jpeg(path, "is empty", "0 bytes")
    at = begin.find(b"\xff\xd8\xff")
    if 0 < at and not begin[:at].strip(b"\0\r\n\xef\xbb\xbf"):
        wrong = f"has {plural(at, 'byte')} before the JPEG in it, by which other programs refuse it"
        remedy = f"take them off (tail -c +{at + 1}), or copy it from the card again"
        return BadExif("bad_jpeg", wrong, file=path, remedy=remedy)
    kind = kind_by_content(begin)
    if kind is None:
        return _not_jpeg(path, "is not a JPEG", f"it begins with {begin[:4].hex()}")
    wrong = f"is not a JPEG but {kind.name}"
    return BadExif("bad_jpeg", wrong, file=path, remedy=kind.remedy)


def _not_jpeg(path: str, wrong: str, value: str = "") -> BadExif:
    return BadExif("bad_jpeg", wrong, file=path, value=value, remedy=_WHOLE)


class _Bytes:
    """The bytes of a file from its begin, read as far as they are needed."""

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self.stream, self.path = stream, path
        self.data = bytearray(stream.read(HEAD_BYTES))
        self.stray = 0  # bytes of no segment so far

    def need(self, end: int) -> None:
        """Have so many bytes; raises BadExif where the file ends before, or no picture begins."""
        data = self.data
        while len(data) < end:
            more = self.stream.read(HEAD_BYTES)
            if not more:
                cause = f"it ends at byte {len(data)}, before its picture begins"
                raise _not_jpeg(self.path, "is truncated", cause)
            data.extend(more)
            if len(data) > HEAD_LIMIT:
                cause = f"no picture in its first {HEAD_LIMIT} bytes"
                raise _not_jpeg(self.path, "is damaged", cause)

    def _marker(self, at: int) -> int:
        """The place of the next marker from here on: behind fill bytes, and bytes of no segment,
        which some makers leave there. Raises BadExif.
        """
        start, data = at, self.data
        while True:
            self.need(at + 2)
            if data[at] != 0xFF:
                found = data.find(b"\xff", at)
                at = len(data) if found < 0 else found
            elif data[at + 1] == _FILL:
                at += 1
            elif data[at + 1] in _NO_MARKERS:
                at += 2
            else:
                self.stray += at - start
                return at
            if self.stray + at - start > STRAY_LIMIT:
                raise _not_jpeg(self.path, "is damaged", f"no marker at byte {start}")

    def segments(self) -> Iterator[Tuple[int, int, int]]:
        """(marker, start, end) of each segment behind SOI; raises BadExif."""
        at, data = 2, self.data
        while True:
            if at + 4 > len(data):
                self.need(at + 2)
            if data[at] != 0xFF or data[at + 1] in _ODD:
                at = self._marker(at)
            marker = data[at + 1]
            if marker in _NO_LENGTH:
                at += 2
                continue
            if at + 4 > len(data):
                self.need(at + 4)
            end = at + 2 + (data[at + 2] << 8 | data[at + 3])
            if marker == _EOI or end < at + 4:
                raise _not_jpeg(self.path, "ends before its picture begins", f"at byte {at}")
            if end > len(data):
                self.need(end)
            yield marker, at, end
            at = end


def _piece(data: bytes, at: int, end: int, lead: bytes) -> bytes:
    """What a segment holds behind its identifier; b"" where it has another."""
    start = at + 4 + len(lead)
    return data[start:end] if data[at + 4 : start] == lead else b""


class _Apps(NamedTuple):
    """Where the segments of some kinds stand in a head: (start, end)."""

    jfif: List[Tuple[int, int]]  # APP0 in the first place
    app1: List[Tuple[int, int]]
    app13: List[Tuple[int, int]]


def _head_of(data: bytes, pixels: Tuple[Optional[int], Optional[int]], apps: _Apps) -> Head:
    """The Head of these bytes, in which the segments stand."""
    exif = next((span for span in apps.app1 if data[span[0] + 4 : span[0] + 8] == b"Exif"), None)
    packets = [span for span in apps.app1 if span != exif and _piece(data, *span, XMP_BEGIN)]
    (start, end), other = [*packets, (0, 0), (0, 0)][:2]
    return Head(
        data,
        *pixels,
        exif=b"" if exif is None else data[exif[0] + 10 : exif[1]],
        xmp=_piece(data, start, end, XMP_BEGIN),
        iptc=b"".join(_piece(data, *span, _IPTC) for span in apps.app13),
        xmp_at=(start, end),
        after_exif=(exif or [*apps.jfif, (0, 2)][0])[1],
        other_xmp=_piece(data, *other, XMP_BEGIN),
    )


def read_head(stream: BinaryIO, path: str) -> Head:
    """Read a JPEG up to and including its SOS header (ITU-T T.81, B.1.1); raises BadExif."""
    read = _Bytes(stream, path)
    data, apps = read.data, _Apps([], [], [])
    pixels: Tuple[Optional[int], Optional[int]] = (None, None)
    kinds = {_APP1: apps.app1, _APP13: apps.app13}
    if data[:2] != b"\xff\xd8":
        raise _no_jpeg(path, bytes(data[:_LOOKED_INTO]))
    for marker, at, end in read.segments():
        if marker in kinds:
            kinds[marker].append((at, end))
        elif marker == _APP0 and at == 2:
            apps.jfif.append((at, end))
        elif marker in _SOF and end >= at + 9:
            height, width = struct.unpack_from(">HH", data, at + 5)
            pixels = (width, height)
        elif marker == _SOS:
            return _head_of(bytes(data[:end]), pixels, apps)
    raise AssertionError("segments end with SOS, or raise")


_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a marker that ends or interrupts a scan
_MANY_ZEROS = bytes(4096)
_ZEROS = re.compile(rb"\0{%d,}" % len(_MANY_ZEROS))
_SECTOR = 512  # bytes; file systems lose and clear whole ones
_SCAN_MARKERS = 1000  # markers in the scans of one picture at most


def _before_zeros(chunk: bytes, at: int) -> bytes:
    """The part of a chunk of a scan before zeros that end with a sector of the file system: what
    follows them is of another file.
    """
    first = chunk.find(_MANY_ZEROS)  # hundreds of times as fast as the pattern
    for zeros in _ZEROS.finditer(chunk, first) if first >= 0 else ():
        end = zeros.end()
        if end < len(chunk) and (at + end) % _SECTOR == 0 and chunk[end] != _FILL:
            return chunk[: zeros.start()]
    return chunk


def end_of_scan(stream: BinaryIO, start: int) -> Optional[int]:
    """The offset behind the EOI that follows the scans from start on (ITU-T T.81, B.1.1.2, B.2.1).

    None where the file ends before, where another picture begins, or where the data run into
    zeros of a file system.
    """
    at = start
    for _ in range(_SCAN_MARKERS):
        match = None
        while match is None:
            stream.seek(at)
            chunk = _before_zeros(stream.read(SCAN_BYTES), at)
            match = _IN_SCAN.search(chunk)
            if match is None and len(chunk) < SCAN_BYTES:
                return None
            at += match.end() if match else SCAN_BYTES - 1
        marker = match.group()[1]
        if marker in (_EOI, _SOI):
            return at if marker == _EOI else None
        if marker in _BETWEEN:
            stream.seek(at)
            at += max(2, int.from_bytes(stream.read(2), "big"))
    return None


def check_end(stream: BinaryIO, size: int, start: int, path: str) -> None:
    """Raise BadExif unless EOI follows the scan that begins at start: as the last bytes of the
    file, zeros apart, or anywhere before what a phone or a camera put behind the picture.
    """
    for reach in (4096, TAIL_BYTES):
        stream.seek(max(start, size - reach))
        if stream.read(reach).rstrip(b"\0").endswith(b"\xff\xd9"):
            return
    if end_of_scan(stream, start) is None:
        raise _not_jpeg(path, "is truncated", f"no end of image in its {size} bytes")


def is_whole(stream: BinaryIO) -> bool:
    """Whether a file is a JPEG from its head to its end."""
    try:
        head = read_head(stream, "")
        check_end(stream, stream.seek(0, os.SEEK_END), len(head.data), "")
        return True
    except (OSError, BadExif):
        return False


# ---- EXIF values --------------------------------------------------------------------------------
# Here: numbers, texts and coordinates as tags have them, of whatever type a writer took.
# Not here: which tag means what.


def tag_text(value: object) -> Optional[str]:
    """An ASCII value as text without NULs and outer blanks; None for anything else or nothing."""
    if isinstance(value, str):
        return value.strip(" \0") or None
    if not isinstance(value, bytes):
        return None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return text.split("\0")[0].strip() or None


_NUMBER_TEXT = re.compile(r"([+-]?\d+(?:\.\d*)?)(?:/(\d+(?:\.\d*)?))?$")


def is_integer(value: object) -> bool:
    """Whether a value is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def tag_number(value: object) -> Optional[float]:
    """A rational, or a plain number or a text of one where a writer got the type wrong; None for a
    zero denominator or anything else.
    """
    if isinstance(value, tuple) and len(value) == 1:
        return tag_number(value[0])
    if isinstance(value, tuple) and len(value) == 2 and all(map(is_integer, value)):
        return value[0] / value[1] if value[1] else None
    if isinstance(value, (bytes, str)):
        match = _NUMBER_TEXT.match(tag_text(value) or "")
        over, under = match.groups("1") if match else ("0", "0")
        return float(over) / float(under) if float(under) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    return None


def tag_numbers(value: object) -> Optional[List[float]]:
    """Several rationals, or plain numbers, or one; None unless all of them are numbers."""
    if isinstance(value, (int, float)):
        value = (value,)
    if not isinstance(value, tuple) or not value:
        return None
    several = isinstance(value[0], tuple) or len(value) != 2 or isinstance(value[0], float)
    parts = [tag_number(part) for part in value] if several else [tag_number(value)]
    known = [part for part in parts if part is not None]
    return known if len(known) == len(parts) else None


_PLACE_TEXT = re.compile(  # 57,42.123N, N 57 42.123, 48,7,30S, 48.125, 48 deg 7' 30" S
    r"([NSEW]?)\s*([+-]?\d+(?:\.\d*)?)(?:[,;:\u00b0\u00ba ]|deg)*(\d+(?:\.\d*)?)?"
    r"[,;:'\u2019\u2032 ]*(\d+(?:\.\d*)?)?[\"'\u2019\u201d\u2033 ]*([NSEW]?)$",
    re.IGNORECASE,
)
_WITH_UNITS = re.compile(r"([+-]?\d+)d\s*(\d+(?:\.\d*)?)m\s*(?:(\d+(?:\.\d*)?)s)?\s*([NSEW]?)$")


def _divided(match: "re.Match[str]") -> str:
    under = float(match.group(2))
    return f"{float(match.group(1)) / under:.12f}" if under else "-"


def _degrees_by_text(text: str) -> Tuple[Optional[List[float]], str]:
    """(degrees, minutes, seconds, as far as they are there; the letter) of a coordinate that is
    written out; None for what is none.
    """
    text = re.sub(r"(\d+(?:\.\d+)?)/(\d+)", _divided, text.strip()[:_CHARACTERS])
    match = _WITH_UNITS.match(text)
    if match is not None:
        return [float(part) for part in match.groups()[:3] if part], match.group(4)
    match = _PLACE_TEXT.match(text)
    if match is None or match.group(1) and match.group(5):
        return None, ""
    letter = match.group(1) or match.group(5)
    return [float(part) for part in match.groups()[1:4] if part], letter


_CHARACTERS = 100  # of a coordinate at most
_TENS = frozenset(10**power for power in range(10))


def _is_doubtful(value: object, parts: Sequence[float]) -> bool:
    """Whether degrees contradict themselves: a fraction of a degree or a minute beside what is
    smaller, or two whole numbers that no writer means as a rational, being degrees and minutes.
    """
    if isinstance(value, tuple) and len(value) == 2 and all(map(is_integer, value)):
        return 0 <= value[1] < 60 and value[1] not in _TENS
    return any(abs(one % 1) > 1e-6 and any(parts[at:]) for at, one in enumerate(parts[:-1], 1))


def coordinate(value: object, ref: object, letters: str, limit: float) -> Optional[float]:
    """Degrees, minutes, seconds as degrees, signed by Ref (one of two letters, the second is
    negative), or as they are without it. None when a part is impossible, they contradict each
    other, or all are out of range.
    """
    parts, letter = tag_numbers(value), ""
    if isinstance(value, (bytes, str)):
        parts, letter = _degrees_by_text(tag_text(value) or "")
    if not parts or len(parts) > 3 or any(abs(part) > 60 for part in parts[1:]):
        return None
    if _is_doubtful(value, parts):
        return None
    sign = -1.0 if parts[0] < 0 else 1.0
    degrees = abs(parts[0])  # not sum(): since Python 3.12 that rounds in another way
    for place, part in enumerate(parts[1:], 1):
        degrees += abs(part) / 60**place
    letter = letter or _reference(ref)
    if letter:
        if letter not in letters:
            return None  # of the other axis, or in a language in which nobody knows what it means
        if isinstance(value, (bytes, str)) and sign < 0 and letter == letters[0]:
            return None  # minus, and north or east
        sign = -1.0 if letter == letters[1] else 1.0
    return sign * degrees + 0.0 if degrees <= limit else None


def _reference(ref: object) -> str:
    """The first letter of a Ref, of whatever type it is; "" where there is none."""
    if isinstance(ref, int):
        ref = (ref,)
    if isinstance(ref, (tuple, list)) and all(type(one) is int and 0 <= one < 256 for one in ref):
        ref = bytes(ref)
    return (tag_text(ref) or "").upper()[:1]


# ---- EXIF ---------------------------------------------------------------------------------------
# Here: EXIF dicts to plain values and back; the only place that knows what piexif's dicts hold.
# Not here: files, which values an image should get, and when it may be written.

_CLOCK_TAGS = {  # name -> where its text, its fraction of a second and its offset stand
    "DateTimeOriginal": (("Exif", 0x9003), ("Exif", 0x9291), ("Exif", 0x9011)),
    "DateTimeDigitized": (("Exif", 0x9004), ("Exif", 0x9292), ("Exif", 0x9012)),
    "DateTime": (("0th", 0x0132), ("Exif", 0x9290), ("Exif", 0x9010)),
}
_CAPTURED = 0x9003  # DateTimeOriginal; TIFF/EP has it in IFD0
_BODY_SERIAL, _LENS_SERIAL = 0xA431, 0xA435
_DESCRIPTION, _ORIENTATION, _HISTORY, _MAKE, _MODEL = 0x010E, 0x0112, 0x9213, 0x010F, 0x0110
_GPS_VERSION, _LAT_REF, _LAT, _LON_REF, _LON, _ALT_REF, _ALT, _GPS_TIME = 0, 1, 2, 3, 4, 5, 6, 7
_DIR_REF, _DIR, _TRACK_REF, _TRACK, _GPS_DATE, _GPS_ERROR = 16, 17, 14, 15, 29, 31
_WIDTH, _HEIGHT = 0x0100, 0x0101
COUNTED = (("GPS", _ALT_REF), ("0th", _ORIENTATION))  # what can be no rational
_POSITION = (_GPS_VERSION, _LAT_REF, _LAT, _LON_REF, _LON, _ALT_REF, _ALT)
# What we may write; everything else in an image is not ours.
OWNED = {
    "0th": (_DESCRIPTION, _ORIENTATION, _HISTORY, _MAKE, _MODEL),
    "Exif": (0x9003, 0x9011, 0x9291),
    "GPS": (*_POSITION, _GPS_TIME, _DIR_REF, _DIR, _GPS_DATE),
}

Exif = Dict[str, Any]  # as piexif loads it: IFD -> tag -> value
# IFD -> tag -> value as piexif has it; None = the tag is taken out
Edits = Dict[str, Dict[int, Any]]


_GPS_DAY = re.compile(r"(\d{4})(?:[:\-./](\d{1,2})[:\-./](\d{1,2})|(\d\d)(\d\d))(?!\d)")
_GPS_CLOCK = re.compile(r"(\d{1,2})[: ](\d{1,2})[: ](\d{1,2}(?:\.\d*)?)Z?$")


def _gps_seconds(gps: Dict[int, Any]) -> Tuple[Optional[float], Optional[float]]:
    """(GPSDateStamp and GPSTimeStamp as seconds UTC, else GPSTimeStamp alone as seconds since
    midnight UTC); None for what is not there, or comes from a receiver that had no fix yet.
    """
    date, clock = _GPS_DAY.match(tag_text(gps.get(_GPS_DATE)) or ""), gps.get(_GPS_TIME)
    written = _GPS_CLOCK.match(tag_text(clock) or "")
    parts = tag_numbers(clock) if isinstance(clock, tuple) and len(clock) == 3 else None
    if written is not None:
        parts = [float(part) for part in written.groups()]
    if parts is None:
        whole = parse_time(tag_text(gps.get(_GPS_DATE)))  # some write the time beside the day
        return (whole, None) if whole is not None and whole >= GPS_TIMES_FROM else (None, None)
    seconds = parts[0] * 3600 + parts[1] * 60 + parts[2]
    if not 0 <= seconds <= DAY_S + 3661:
        return None, None
    day = "-".join(filter(None, date.groups())) if date else ""
    midnight = parse_time(day + " 0:0")
    if midnight is None:
        return None, seconds or None  # 00:00:00 of no day: it never locked
    return (midnight + seconds, None) if midnight >= GPS_TIMES_FROM else (None, None)


def plain(value: Any) -> Any:
    """An EXIF value as JSON has it: bytes as latin-1 text, tuples as lists."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return [plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def unplain(value: Any) -> Any:
    """The reverse of plain."""
    if isinstance(value, list):
        return tuple([unplain(part) for part in value])
    return value.encode("latin-1") if isinstance(value, str) else value


def _position(gps: Dict[int, Any]) -> Tuple[Optional[float], Optional[float]]:
    """Latitude and longitude of a GPS IFD; both None where one is unknown or both are 0."""
    lat = coordinate(gps.get(_LAT), gps.get(_LAT_REF), "NS", 90.0)
    lon = coordinate(gps.get(_LON), gps.get(_LON_REF), "EW", 180.0)
    known = lat is not None and lon is not None and (lat, lon) != (0.0, 0.0)
    return (lat, lon) if known else (None, None)


def _wraps(number: Any) -> bool:
    """Whether a number was negative, and is written with 32 bits and no sign."""
    return isinstance(number, int) and number >= 1 << 31


def _altitude(gps: Dict[int, Any]) -> Optional[float]:
    """Metres; negative where the reference says below (1, or 3 of EXIF 3.0)."""
    value, alt = gps.get(_ALT), tag_number(gps.get(_ALT))
    if isinstance(value, tuple) and len(value) == 2 and _wraps(value[0]) and value[1]:
        alt = (value[0] - (1 << 32)) / value[1]
    if alt is not None and not abs(alt) < HIGHEST_M:
        return None
    below = gps.get(_ALT_REF) in (1, b"\x01", b"1", (1,), 3, b"\x03", (3,))
    return -alt if alt is not None and below else alt


def _direction(gps: Dict[int, Any]) -> Tuple[Optional[float], Optional[float]]:
    """Heading from true and from magnetic north, one of them None: GPSImgDirection,
    else GPSTrack.
    """
    tag, ref = (_DIR, _DIR_REF) if tag_number(gps.get(_DIR)) is not None else (_TRACK, _TRACK_REF)
    value, degrees = gps.get(tag), tag_number(gps.get(tag))
    if degrees is None:
        return None, None
    if degrees > 360 and isinstance(value, tuple) and len(value) == 2 and _wraps(value[0]):
        degrees = (value[0] - (1 << 32)) / value[1]
    degrees %= 360.0
    magnetic = (tag_text(gps.get(ref)) or "T").upper() == "M"
    return (None, degrees) if magnetic else (degrees, None)


def _clocks(exif: Exif) -> Tuple[Clock, ...]:
    """The clocks that have any text, in the order in which they count."""
    found, ifd0 = [], exif.get("0th", {})
    for name in EXIF_CLOCKS:
        texts = [tag_text(exif.get(ifd, {}).get(tag)) or "" for ifd, tag in _CLOCK_TAGS[name]]
        (ifd, tag), *_ = _CLOCK_TAGS[name]
        if ifd != "0th" and tag in ifd0 and parse_time(texts[0]) is None:
            other = [tag_text(ifd0.get(tag)) or "" for _, tag in _CLOCK_TAGS[name]]
            if not texts[0] or parse_time(other[0]) is not None:  # TIFF/EP has it in IFD0
                texts = [there or here for there, here in zip(other, texts)]
        if any(texts):
            found.append(Clock(name, *texts))
    return tuple(found)


@functools.lru_cache(maxsize=None)
def _tag_key(tag: int) -> str:
    """A tag as JSON has it: the same text for all images, of which there may be many."""
    return str(tag)


def _shared(text: Optional[str]) -> Optional[str]:
    """A text that many images have, in memory once."""
    return None if text is None else sys.intern(text)


def _owned_in(exif: Exif) -> Raw:
    """The tags that we may write, as they are, in plain values."""
    raw: Raw = {}
    for ifd, tags in OWNED.items():
        there = exif.get(ifd, {})
        tags = (*tags, _CAPTURED) if ifd == "0th" else tags  # written only where it was
        kept = {_tag_key(tag): plain(there[tag]) for tag in tags if tag in there}
        if kept:
            raw[ifd] = kept
    return raw


def found_in(exif: Exif) -> Found:
    """What the journal keeps of an EXIF dict as piexif loads it."""
    ifd0, gps = exif.get("0th", {}), exif.get("GPS", {})
    (lat, lon), (heading, magnetic) = _position(gps), _direction(gps)
    gps_time, gps_clock = _gps_seconds(gps)
    orientation = tag_number(ifd0.get(_ORIENTATION))
    return Found(
        clocks=_clocks(exif),
        gps_time=gps_time,
        gps_clock=gps_clock,
        lat=lat,
        lon=lon,
        alt=_altitude(gps),
        heading=heading,
        magnetic=magnetic,
        orientation=int(orientation) if orientation and orientation in range(1, 9) else None,
        make=_shared(tag_text(ifd0.get(_MAKE))),
        model=_shared(tag_text(ifd0.get(_MODEL))),
        body_serial=tag_text(exif.get("Exif", {}).get(_BODY_SERIAL)),
        lens_serial=tag_text(exif.get("Exif", {}).get(_LENS_SERIAL)),
        accuracy=tag_number(gps.get(_GPS_ERROR)),
        caption=tag_text(ifd0.get(_DESCRIPTION)),
        history=tag_text(ifd0.get(_HISTORY)) or tag_text(exif.get("Exif", {}).get(_HISTORY)),
        raw=_owned_in(exif) or None,
    )


def size_in(exif: Exif) -> Optional[Tuple[int, int]]:
    """Width and height by the tags of a TIFF; None where they do not tell."""
    width, height = (tag_number(exif.get("0th", {}).get(tag)) for tag in (_WIDTH, _HEIGHT))
    return None if width is None or height is None else (int(width), int(height))


def position_as_found(found: Optional[Found]) -> Tuple[str, bool]:
    """(the two position tags as they stand in a file, for a message; "" where there are none,
    whether they are there but empty: nothing but zeros and NULs).
    """
    gps = ((found.raw if found else None) or {}).get("GPS", {})
    values = [gps.get(str(tag)) for tag in (_LAT, _LON)]
    letters = [gps.get(str(tag)) for tag in (_LAT_REF, _LON_REF)]
    named = any(str(letter or "").strip("\0 ") for letter in letters)
    if values == [None, None]:
        empty = any(letter is not None for letter in letters) and not named
        return ("GPSLatitudeRef and GPSLongitudeRef alone" if empty else ""), empty
    lat, lon = map(json.dumps, values)
    undefined = lon.count("[0, 0]") > 0 or not named
    told = f"GPSLatitude {lat}, GPSLongitude {lon}"
    for letter, name in zip(letters, ("GPSLatitudeRef", "GPSLongitudeRef")):
        if str(letter or "").strip("\0 ").upper()[:1] not in ("", "N", "S", "E", "W"):
            told += f", {name} {json.dumps(letter)}"
    return told, all(map(_is_nothing, values)) and undefined


def _is_nothing(value: object) -> bool:
    """Whether a plain value is empty: zeros, over whatever denominator, NULs or blanks."""
    if isinstance(value, list):
        if len(value) == 2 and all(map(is_integer, value)):
            return not value[0]
        return all(map(_is_nothing, value))
    return not str(value or "").strip("\0 0.")


_EXIFREAD_GPS = {  # what exifread calls the tags of the GPS IFD, behind "GPS GPS"
    _LAT_REF: "LatitudeRef",
    _LAT: "Latitude",
    _LON_REF: "LongitudeRef",
    _LON: "Longitude",
    _ALT_REF: "AltitudeRef",
    _ALT: "Altitude",
    _GPS_TIME: "TimeStamp",
    _DIR_REF: "ImgDirectionRef",
    _DIR: "ImgDirection",
    _GPS_DATE: "Date",
}
_EXIFREAD_NAMES = {
    "0th": {
        0x0132: "Image DateTime",
        _DESCRIPTION: "Image ImageDescription",
        _ORIENTATION: "Image Orientation",
        _MAKE: "Image Make",
        _MODEL: "Image Model",
    },
    "Exif": {
        0x9003: "EXIF DateTimeOriginal",
        0x9004: "EXIF DateTimeDigitized",
        0x9291: "EXIF SubSecTimeOriginal",
        0x9292: "EXIF SubSecTimeDigitized",
        0x9290: "EXIF SubSecTime",
        0x9011: "EXIF OffsetTimeOriginal",
        0x9012: "EXIF OffsetTimeDigitized",
        0x9010: "EXIF OffsetTime",
    },
    "GPS": {tag: "GPS GPS" + name for tag, name in _EXIFREAD_GPS.items()},
}


def _exifread_value(tag: Any) -> Any:
    if isinstance(tag.values, str):
        return tag.values.encode("utf-8", "replace")
    values = tuple((v.num, v.den) if hasattr(v, "den") else v for v in tag.values)
    return values[0] if len(values) == 1 else values


def exif_of(tags: Dict[str, Any]) -> Exif:
    """An EXIF dict of the tags that the library exifread reads."""
    return {
        ifd: {tag: _exifread_value(tags[name]) for tag, name in names.items() if name in tags}
        for ifd, names in _EXIFREAD_NAMES.items()
    }


# -- values to tags --


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
    """Exif tags DateTimeOriginal, SubSecTimeOriginal and OffsetTimeOriginal of a time in seconds
    UTC.
    """
    local = when + offset
    return {
        0x9003: format_time(local, "exif").encode("ascii"),
        0x9011: format_offset(offset).encode("ascii"),
        0x9291: b"%03d" % (int(round(local * 1000)) % 1000),
    }


def frame_edits(camera: Camera, when: float, fix: Optional[Fix]) -> Edits:
    """The EXIF of a frame; the direction of travel is no camera direction, so it goes into
    GPSTrack.
    """
    names = {_MAKE: camera.make, _MODEL: camera.model}
    first: Dict[int, Any] = {tag: text.encode("utf-8") for tag, text in names.items() if text}
    first[_ORIENTATION] = camera.orientation
    gps: Dict[int, Any] = {}
    if fix is not None:
        gps = {**position_edits(fix.lat, fix.lon), **gps_time_edits(fix.time)}
        gps[_GPS_VERSION] = (2, 3, 0, 0)
        if fix.alt is not None:
            gps.update(altitude_edits(fix.alt))
        if fix.course is not None:
            gps.update({_TRACK: heading_edits(fix.course)[_DIR], _TRACK_REF: b"T"})
    return {"0th": first, "Exif": time_edits(when, 0.0), "GPS": gps}


def _changes(a: Optional[float], b: Optional[float], precision: float) -> bool:
    """Whether a value to write (a; None = none) differs from what is there (b) at the precision
    written.
    """
    return a is not None and (b is None or abs(a - b) > precision / 2)


def _gps_edits(image: Image, gps: Dict[int, Any]) -> None:
    """Put position, altitude, direction and time into GPS tags, each where it differs from what was
    found.
    """
    found, fix, before = image.found or NOTHING_FOUND, image.fix, dict(gps)
    if fix is not None:  # against EXIF alone: what XMP says is written there as well
        if _changes(fix.lat, found.lat, 1e-7) or _changes(fix.lon, found.lon, 1e-7):
            gps.update(position_edits(fix.lat, fix.lon))
        if fix.alt is not None and _changes(fix.alt, found.alt, 1e-3):
            gps.update(altitude_edits(fix.alt))
    heading, when = image.heading, image.time
    if heading is not None and _changes(heading, found.heading, 1e-3):
        gps.update(heading_edits(heading))
    later = (image.given or NOTHING_GIVEN).later or 0.0
    captured = None if image.capture is None else image.capture.time + later
    if when is not None and _changes(when, captured, 2e-3 - 1e-9):
        gps.update(gps_time_edits(when))
    if gps != before and gps[_GPS_VERSION] is None:
        gps[_GPS_VERSION] = (2, 3, 0, 0)


def _clock_edits(image: Image, offset: float) -> Dict[int, Any]:
    """The Exif tags of a capture time that was missing, given, or moved on."""
    found, given = image.found or NOTHING_FOUND, image.given or NOTHING_GIVEN
    missing = lacks_original(found)
    if image.time is not None and (missing or given.time is not None):
        return time_edits(image.time, offset)
    if not given.later or image.capture is None:
        return {}
    local = image.capture.time + image.capture.offset + given.later
    moved = time_edits(local, 0.0)  # the clock of the photo in its own zone, which may be unknown
    return {tag: moved[tag] for tag in (0x9003, 0x9291)}


def edits_as_found(found: Found) -> Edits:
    """Every tag that is ours as the file had it before us; None = it had none."""
    raw = found.raw or {}
    edits: Edits = {
        ifd: {tag: unplain(raw.get(ifd, {}).get(str(tag))) for tag in tags}
        for ifd, tags in OWNED.items()
    }
    if str(_CAPTURED) in raw.get("0th", {}):  # written only where it was
        edits["0th"][_CAPTURED] = unplain(raw["0th"][str(_CAPTURED)])
    if not found.sphere:
        edits[SPHERE] = {WIDTH: None, HEIGHT: None}
    return edits


def image_edits(
    image: Image, description: Optional[str], orientation: Optional[int] = None, offset: float = 0.0
) -> Edits:
    """Every tag that is ours, as it should stand in the file: a function of the image alone.

    A tag that needs no change is as found, so an earlier run's writing is taken back. description
    None leaves the caption as found; orientation None likewise (EXIF 1..8); offset is the zone for
    a DateTimeOriginal that was missing.
    """
    found, given = image.found or NOTHING_FOUND, image.given or NOTHING_GIVEN
    edits = edits_as_found(found)
    first, raw = edits["0th"], found.raw or {}
    if description is not None:
        first[_DESCRIPTION] = description.encode("ascii")
    if orientation is not None and orientation != found.orientation:
        first[_ORIENTATION] = orientation
    if given.tags:
        first[_HISTORY] = canonical([tag._asdict() for tag in given.tags]).encode("ascii")
    _gps_edits(image, edits["GPS"])
    clock = _clock_edits(image, offset)
    if _CAPTURED in first and str(_CAPTURED) not in raw.get("Exif", {}):
        first[_CAPTURED] = clock.pop(_CAPTURED, first[_CAPTURED])
    else:
        first.pop(_CAPTURED, None)
    edits["Exif"].update(clock)
    if image.device is not None and image.device.sphere and found.pixels is not None:
        edits[SPHERE] = {WIDTH: found.pixels[0], HEIGHT: found.pixels[1]}
    return edits


# beside the IFDs of EXIF: the mark of a panorama in XMP, of these pixels; None = taken out if it is
# ours
SPHERE = "sphere"
WIDTH, HEIGHT = 0, 1


def sphere_of(edits: Edits) -> Optional[Tuple[int, int]]:
    """The pixels of the panorama that an image is to be marked as; None = not as one of ours."""
    size = edits.get(SPHERE, {})
    width, height = size.get(WIDTH), size.get(HEIGHT)
    return None if width is None or height is None else (width, height)


def has_shape_of_sphere(width: Optional[int], height: Optional[int]) -> bool:
    """Whether a picture is twice as wide as high, as an equirectangular one of a whole sphere
    is; None = its pixels are not known.
    """
    return width is not None and height is not None and width == 2 * height > 0


def exif_edits(edits: Edits) -> Edits:
    """Those of the edits that are tags of EXIF."""
    return {ifd: tags for ifd, tags in edits.items() if ifd != SPHERE}


def carries(found: Found, edits: Edits) -> bool:
    """Whether a file has every tag of ours as the edits say."""
    raw = found.raw or {}
    if sphere_of(edits) is not None and not found.sphere:
        return False
    for ifd, tags in exif_edits(edits).items():
        there = raw.get(ifd, {})
        for tag, value in tags.items():
            if there.get(str(tag)) not in (plain(value), [plain(value), 1]):
                return False
    return True


def _facts(raw: Mapping[str, Mapping[str, object]]) -> Found:
    """What the tags say that we may write."""
    exif: Exif = {}
    for ifd, tags in raw.items():
        exif[ifd] = {int(tag): unplain(value) for tag, value in tags.items() if value is not None}
    return found_in(exif)


def _retaken(known: Found, found: Found, ifd: str, tags: Iterable[int]) -> Raw:
    """The tags as they were found first, some of them as they are found now."""
    raw = {name: dict(rest) for name, rest in (known.raw or {}).items()}
    there = (found.raw or {}).get(ifd, {})
    for key in map(_tag_key, tags):
        raw.setdefault(ifd, {}).pop(key, None)
        if key in there:
            raw[ifd][key] = there[key]
    return {name: rest for name, rest in raw.items() if rest}


_TOLD = (  # tags of ours, and the fields of Found that they tell
    ("GPS", _POSITION, ("lat", "lon", "alt")),
    ("GPS", (_DIR_REF, _DIR), ("heading", "magnetic")),
    ("GPS", (_GPS_TIME, _GPS_DATE), ("gps_time", "gps_clock")),
    ("Exif", OWNED["Exif"], ("clocks",)),
    ("0th", (_ORIENTATION,), ("orientation",)),
)


def _differ(a: object, b: object) -> bool:
    """Whether two values differ by more than other ways to write one do."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) > 2e-7
    return a != b


def retouched(known: Found, found: Found, edits: Edits) -> Found:
    """What an image carried before us, and in its place what another program has put since into
    tags that we had left as the edits say: a position, a direction, a time, an orientation.
    """
    left = {
        ifd: {_tag_key(tag): plain(value) for tag, value in tags.items()}
        for ifd, tags in exif_edits(edits).items()
    }
    now, ours = _facts(found.raw or {}), _facts(left)
    for ifd, tags, fields in _TOLD:
        if any(_differ(getattr(now, field), getattr(ours, field)) for field in fields):
            raw = _retaken(known, found, ifd, tags)
            told = {field: getattr(found, field) for field in fields}
            known = known._replace(raw=raw, **told)
    return known


def edits_hash(edits: Edits) -> str:
    """A short name of what is written into an image."""
    told = edits if sphere_of(edits) is not None else exif_edits(edits)
    return text_hash(repr([(ifd, sorted(tags.items())) for ifd, tags in sorted(told.items())]))


# ---- XMP ----------------------------------------------------------------------------------------
# Here: XMP packets and IPTC records to what EXIF lacks: time, position, heading, make.
# Not here: what counts before what; they are only read.

XMP_LIMIT = 65536  # bytes of XML that are read
_SPACES = {
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://cipa.jp/exif/1.0/": "exif",  # exifEX
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.google.com/photos/1.0/panorama/": "GPano",
    "http://www.dji.com/drone-dji/1.0/": "drone-dji",
    "http://pix4d.com/camera/1.0": "Camera",
    "http://pix4d.com/camera/1.0/": "Camera",
}
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_AHEAD_DEGREES = 10.0  # a camera whose axis is nearer to the plumb line looks straight down


class _Packet:
    """Collects the simple properties of an XMP packet (ISO 16684-1, 7): attributes of
    rdf:Description, and elements directly in it that hold text.
    """

    def __init__(self) -> None:
        from xml.parsers import expat

        self.values: Dict[str, str] = {}
        self.open: List[str] = []
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler, self.parser.EndElementHandler = self.start, self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.EntityDeclHandler = self.refuse
        self.errors = (expat.ExpatError, ValueError, LookupError)

    def refuse(self, *declaration: object) -> None:
        """Entities can make a small text fill the memory; no photo needs them."""
        raise ValueError("entities")

    def start(self, name: str, attributes: Dict[str, str]) -> None:
        """An element opens."""
        self.open.append(name)
        if name == _RDF + "Description" and _RDF + "Description" not in self.open[:-1]:
            for attribute, value in attributes.items():
                self.put(attribute, value)

    def text(self, value: str) -> None:
        """Text of an element."""
        if len(self.open) > 1 and self.open[-2] == _RDF + "Description":
            if self.open.count(_RDF + "Description") == 1:
                self.put(self.open[-1], value)

    def end(self, name: str) -> None:
        """An element closes."""
        self.open.pop()

    def put(self, name: str, value: str) -> None:
        """Keep a value, or a further part of it, under its usual prefix."""
        space, _, local = name.rpartition(" ")
        if space in _SPACES:
            key = f"{_SPACES[space]}:{local}"
            self.values[key] = self.values.get(key, "") + value


def xmp_values(packet: bytes) -> Dict[str, str]:
    """The properties of an XMP packet by their usual names, "exif:GPSLatitude"; those up to the
    first fault where it is not quite XML, none where it declares entities or is longer than 64 kB.
    """
    if len(packet) > XMP_LIMIT or b"<!DOCTYPE" in packet:
        return {}
    values, whole = _packet_values(packet.strip(b"\0 \r\n\t"))
    if not whole:  # bare &, or letters of another encoding
        mended = BARE_AMPERSAND.sub(b"&amp;", packet.decode("utf-8", "replace").encode("utf-8"))
        again = _packet_values(mended.strip(b"\0 \r\n\t"))[0]
        values = max(values, again, key=len)
    return {name: value.strip() for name, value in values.items() if value.strip()}


BARE_AMPERSAND = re.compile(rb"&(?!(?:#\d+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);)")


def _packet_values(packet: bytes) -> Tuple[Dict[str, str], bool]:
    """(the properties of a packet as far as its first fault, whether it has none)."""
    read = _Packet()
    try:
        read.parser.Parse(packet, True)
    except read.errors:
        return read.values, False
    return read.values, True


def _number(text: Optional[str]) -> Optional[float]:
    """A decimal number, or a rational written as 125/10."""
    match = re.match(r"([+-]?\d+(?:\.\d*)?)(?:/(\d+))?$", text or "")
    if match is None:
        return None
    below = float(match.group(2) or 1)
    return float(match.group(1)) / below if below else None


def _xmp_place(told: Dict[str, str]) -> Xmp:
    """Position and altitude of XMP; nothing unless both coordinates are known and not 0."""
    lat_ref, lon_ref = told.get("exif:GPSLatitudeRef"), told.get("exif:GPSLongitudeRef")
    lat = coordinate(told.get("exif:GPSLatitude"), lat_ref, "NS", 90.0)
    lon = coordinate(told.get("exif:GPSLongitude"), lon_ref, "EW", 180.0)
    if lat is None or lon is None:  # of drones; the second is their own way to spell it
        names = ("drone-dji:GpsLongitude", "drone-dji:GpsLongtitude")
        east = next((told[name] for name in names if name in told), None)
        lat = coordinate(told.get("drone-dji:GpsLatitude"), None, "NS", 90.0)
        lon = coordinate(east, None, "EW", 180.0)
    if lat is None or lon is None or (lat, lon) == (0.0, 0.0):
        return Xmp()
    alt = _number(told.get("exif:GPSAltitude"))
    alt = alt if alt is not None and abs(alt) < HIGHEST_M else None
    below = told.get("exif:GPSAltitudeRef") in ("1", "3")
    return Xmp(lat, lon, -abs(alt) if alt is not None and below else alt)


def _xmp_heading(told: Dict[str, str]) -> Optional[float]:
    """The direction of the camera's axis by XMP; None where it is not told, or looks down."""
    names = ("exif:GPSImgDirection", "GPano:PoseHeadingDegrees")
    values = [_number(told.get(name)) for name in names]
    if told.get("exif:GPSImgDirectionRef", "T").upper() == "M":
        values[0] = None
    gimbal = [
        _number(told.get(f"drone-dji:Gimbal{axis}Degree")) for axis in ("Yaw", "Pitch", "Roll")
    ]
    if any(gimbal):  # all 0 is a gimbal that does not know
        values.append(gimbal[0])
    pitch = _number(told.get("Camera:Pitch"))
    if pitch is None or abs(pitch) > _AHEAD_DEGREES:  # 0 is straight down
        values.append(_number(told.get("Camera:Yaw")))
    heading = next((value for value in values if value is not None), None)
    return None if heading is None else heading % 360.0


def _iptc_time(resources: bytes) -> str:
    """Date and time created as IPTC has them (IIM 4.2, 2:55 and 2:60); "" without either."""
    parts = {}
    for number, form in ((55, rb"\d{8}"), (60, rb"\d{6}(?:[+-]\d{4})?")):
        match = re.search(rb"\x1c\x02%c\0.(%b)" % (number, form), resources, re.DOTALL)
        parts[number] = match.group(1).decode("ascii") if match else ""
    day, clock = parts[55], parts[60]
    if not day or not clock:
        return ""
    date = f"{day[:4]}:{day[4:6]}:{day[6:]}"
    return f"{date} {clock[:2]}:{clock[2:4]}:{clock[4:6]}{clock[6:]}"


_SOMEWHERE = re.compile(
    rb"[12][0-9]{3}[:/-][01][0-9][:/-][0-3][0-9][ T][0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
)


def _other_time(found: Found, told: Dict[str, str], head: bytes) -> Optional[str]:
    """Where a time stands that is not taken for the capture time, or cannot be, in words."""
    for clock in found.clocks:
        if clock.name in EXIF_CLOCKS and re.search("[1-9]", clock.text):
            return f"its {clock.name} says {clock.text[:40]}"
    for name in ("xmp:CreateDate", "photoshop:DateCreated"):
        if name in told:
            return f"XMP {name.split(':')[1]} says {told[name][:40]}"
    match = _SOMEWHERE.search(head)
    if match is None:
        return None
    return f"its MakerNote or another segment says {match.group().decode('ascii')}"


_WANTED = re.compile(
    rb"GPano|GPS|Gps|DateCreated|DateTimeOriginal|CreateTime|Yaw|PoseHeading|Make|Model|CreateDate"
)


def _with_receiver(found: Found, told: Dict[str, str]) -> Found:
    """What EXIF gave, with the GPS time of XMP where it has none."""
    receiver = parse_time(told.get("exif:GPSTimeStamp"))
    if found.gps_time is not None or receiver is None or receiver < GPS_TIMES_FROM:
        return found
    return found._replace(gps_time=receiver, gps_clock=None)


_PARTED = "exif:DateTimeOriginal"  # the clock of XMP whose parts stand beside it
_PARTS_IN_XMP = ("SubSecTimeOriginal", "OffsetTimeOriginal")


def _other_clocks(told: Dict[str, str], iptc: bytes) -> List[Clock]:
    """The clocks of XMP and IPTC that tell a date and a time of day."""
    texts = [told.get(name, "") for name in OTHER_CLOCKS[:-1]] + [_iptc_time(iptc)]
    clocks = [Clock(*pair) for pair in zip(OTHER_CLOCKS, texts)]
    fraction, offset = (told.get(f"exif:{name}", "") for name in _PARTS_IN_XMP)
    clocks = [
        clock._replace(fraction=fraction, offset=offset) if clock.name == _PARTED else clock
        for clock in clocks
    ]
    return [clock for clock in clocks if parse_time(clock.text) is not None]


def with_more(found: Found, packets: Sequence[bytes], iptc: bytes, head: bytes) -> Found:
    """What EXIF gave, with what XMP (the first packet that tells a value) and IPTC say of what it
    lacks.
    """
    told: Dict[str, str] = {}
    for packet in reversed(packets):
        told.update(xmp_values(packet) if _WANTED.search(packet) else {})
    if not told and not iptc and has_set_clock(found):
        return found
    clocks = _other_clocks(told, iptc)
    place = _xmp_place(told) if found.lat is None else Xmp()
    directed = found.heading is not None or found.magnetic is not None
    more = place._replace(
        heading=None if directed else _xmp_heading(told),
        make=None if found.make else told.get("tiff:Make"),
        model=None if found.model else told.get("tiff:Model"),
    )
    needed = not has_set_clock(found)
    if not needed:
        clocks = [clock for clock in clocks if clock.offset or zoned_time(clock.text) is not None]
    return _with_receiver(found, told)._replace(
        sphere=told.get("GPano:ProjectionType") == "equirectangular" or None,
        clocks=(*found.clocks, *clocks),
        other_time=_other_time(found, told, head) if needed and not clocks else None,
        xmp=None if more == Xmp() else more,
    )


_NOT_MARKED = "cannot be marked as a panorama: its XMP has no room, or another form"
_XMP_ROOM = 65533  # bytes of a segment, but for its marker and length
_PACKET_BEGIN = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
)
_RDF_BEGIN = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
_PACKET_END = '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
_RDF_END = re.compile(rb"</(\w+):RDF\s*>")


def _gpano(rdf: str, width: str, height: str, packet: bytes = b"") -> str:
    """The description of a whole equirectangular panorama of these pixels, by the prefix of RDF
    (developers.google.com/streetview/spherical-metadata), without what a packet tells already.
    """
    told = {
        "ProjectionType": "equirectangular",
        "UsePanoramaViewer": "True",
        "CroppedAreaImageWidthPixels": width,
        "FullPanoWidthPixels": width,
        "CroppedAreaImageHeightPixels": height,
        "FullPanoHeightPixels": height,
        "CroppedAreaLeftPixels": "0",
        "CroppedAreaTopPixels": "0",
    }
    new = [(name, value) for name, value in told.items() if f"GPano:{name}".encode() not in packet]
    return (
        f'<{rdf}:Description {rdf}:about="" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"'
        + "".join(f' GPano:{name}="{value}"' for name, value in new)
        + "/>"
    )


def _xmp_segment(packet: bytes) -> bytes:
    """An APP1 segment with an XMP packet; raises ValueError where it is too long for one."""
    if len(XMP_BEGIN + packet) > _XMP_ROOM:
        raise ValueError(_NOT_MARKED)
    return b"\xff\xe1" + struct.pack(">H", len(XMP_BEGIN + packet) + 2) + XMP_BEGIN + packet


def _gpano_segment(width: int, height: int) -> bytes:
    """An APP1 segment that says that a picture of these pixels is a whole equirectangular
    panorama.
    """
    text = _PACKET_BEGIN + _RDF_BEGIN + _gpano("rdf", str(width), str(height)) + _PACKET_END
    return _xmp_segment(text.encode("utf-8"))


# our own description in a packet, whatever its pixels and the prefix of RDF
_OUR_MARK = re.compile(
    re.sub(
        r"(\\? GPano:\w+=\"[^\"]*\")",
        r"(?:\1)?",
        re.escape(_gpano("RDF", "0", "0")),
    )
    .replace('"0"', r'"\d+"')
    .replace("RDF", r"\w+")
    .replace('equirectangular")?', 'equirectangular")')  # that is never left out
    .encode("ascii")
)


class Stretch(NamedTuple):
    """A stretch of a head, and what takes its place."""

    start: int
    end: int
    new: bytes


def sphere_stretches(head: Head, size: Optional[Tuple[int, int]]) -> List[Stretch]:
    """What has to change in a head so that its XMP marks a panorama of these pixels, or, for None,
    so that our own mark is gone; nothing where it is so. Raises ValueError where there is no room.
    """
    start, end = head.xmp_at
    packet = head.data[start + 4 + len(XMP_BEGIN) : end]
    if size is not None and b"GPano:ProjectionType" in packet:
        return []
    if size is None:
        rest = _OUR_MARK.sub(b"", packet) if b"GPano" in packet else packet
        if rest == packet:
            return []
        alone = (_PACKET_BEGIN + _RDF_BEGIN + _PACKET_END).encode("utf-8")
        return [Stretch(start, end, b"" if rest == alone else _xmp_segment(rest))]
    if not packet:
        return [Stretch(head.after_exif, head.after_exif, _gpano_segment(*size))]
    close = _RDF_END.search(packet)
    if close is None:
        raise ValueError(_NOT_MARKED)
    rdf, (width, height) = close.group(1).decode("ascii"), map(str, size)
    mark = _gpano(rdf, width, height, packet).encode("ascii")
    return [
        Stretch(start, end, _xmp_segment(packet[: close.start()] + mark + packet[close.start() :]))
    ]


# ---- Photos -------------------------------------------------------------------------------------
# Here: image files to what they carry, and what is to be written into them; each opened once.
# Not here: what a tag means, which values an image should get.


@functools.lru_cache(maxsize=None)
def piexif() -> Any:
    """The EXIF library vendor/piexif; raises ProgramMissing when this file was copied
    without it.
    """
    try:
        return vendored("piexif")
    except ImportError as error:
        place, remedy = (
            os.path.join(HERE, "vendor"),
            "copy the folder vendor together with mapillary_tools.py",
        )
        raise ProgramMissing("vendor_missing", "is missing", file=place, remedy=remedy) from error


def _load(source: Union[str, bytes], path: str) -> Exif:
    try:
        exif: Exif = piexif().load(source)
        return exif
    except (ValueError, OSError) as error:
        install = "python -m pip install -r vendor/requirements.txt --target vendor"
        remedy = "the library exifread may: " + install
        cause = str(error).split("\n")[0]
        raise BadExif(
            "bad_exif", "its EXIF cannot be read", file=path, value=cause, remedy=remedy
        ) from error


def exif_digest(block: bytes) -> str:
    """A short name of an Exif block, to know one that we wrote again."""
    return hashlib.sha1(block).hexdigest()[:16]


def _unreadable(path: str, error: OSError) -> BadExif:
    wrong, remedy, cause = "cannot be read", "check the card and rights", error.strerror
    if is_held(error):
        wrong, remedy = "is open in another program, or may not be read", "close it there"
    return BadExif(UNREADABLE, wrong, file=path, value=cause or str(error), remedy=remedy)


def is_same_picture(path: str, other: str) -> bool:
    """Whether two JPEGs are the same from the first scan to the end; raises BadExif, OSError."""
    with open_file(path) as one, open_file(other) as two:
        for stream in (one, two):
            stream.seek(len(read_head(stream, path).data))
        while True:
            piece = one.read(COPY_BYTES)
            if piece != two.read(COPY_BYTES):
                return False
            if not piece:
                return True


def thumbnail_of(path: Path) -> str:
    """The small picture in a photo's EXIF, in base64; "" where there is none."""
    import base64

    with contextlib.suppress(ToolError, OSError, ValueError), open_file(path) as stream:
        picture = piexif().load(read_head(stream, str(path)).data).get("thumbnail")
        if picture and picture[:2] == b"\xff\xd8":
            return base64.b64encode(picture).decode("ascii")
    return ""


def _begins_as_jpeg(stream: BinaryIO) -> bool:
    """Whether a file, open at its begin, begins with SOI; it is there again then."""
    begin = stream.read(2)
    stream.seek(0)
    return begin == b"\xff\xd8"


TIGHT_BYTES = 57344  # of a head, from which on its Exif block may have no room for our tags


def read_found(path: Union[str, Path]) -> Found:
    """What an image file carries: see found_in; with pixels, size, time and digest.
    Raises BadExif.
    """
    name = str(path)
    try:
        with open_file(name) as stream:
            status = os.fstat(stream.fileno())
            stamp, links = stamp_by(status), status.st_nlink if status.st_nlink > 1 else None
            if is_jpeg_name(name) or _begins_as_jpeg(stream):
                head = read_head(stream, name)
                check_end(stream, stamp.size, len(head.data), name)
                found = _found_or_second(head.data, name) if head.exif else NOTHING_FOUND
                found = with_more(found, (head.xmp, head.other_xmp), head.iptc, head.data)._replace(
                    pixels=(head.width, head.height), digest=exif_digest(head.exif)
                )
            else:
                found = _found_or_second(name, name)
    except OSError as error:
        raise _unreadable(name, error) from error
    return found._replace(links=links, size=stamp.size, mtime=stamp.mtime)


def _found_or_second(source: Union[str, bytes], path: str) -> Found:
    """found_in by vendor/piexif; what that refuses is offered to exifread, and the
    record says so.
    """
    try:
        exif = _load(source, path)
    except BadExif:
        library = second_reader("exifread")
        if library is None:
            raise
        return _by_exifread(library, path)._replace(reader="exifread", raw=None)
    found = found_in(exif)
    if isinstance(source, str):
        return found._replace(pixels=size_in(exif))
    if len(source) > TIGHT_BYTES and exif.get("thumbnail"):
        import base64

        found = found._replace(thumbnail=base64.b64encode(exif["thumbnail"]).decode("ascii"))
    return found


def _by_exifread(library: Any, path: str) -> Found:
    """found_in from the tags that the library exifread reads; raises BadExif when it reads none."""
    try:
        with open(path, "rb") as stream:
            tags = library.process_file(stream, details=False)
    except Exception as error:  # a foreign library on damaged data: it cannot read
        wrong, remedy = "its EXIF cannot be read", "leave it out"
        raise BadExif("bad_exif", wrong, file=path, value=str(error), remedy=remedy) from error
    if not tags:
        raise BadExif("bad_exif", "has no EXIF that can be read", file=path, remedy="leave it out")
    return found_in(exif_of(tags))


def image_of(path: Union[str, Path], found: Found, given: Optional[Given] = None) -> Image:
    """An Image from what a file carried and what was given in its place, with the time its own
    clocks give.
    """
    known = path if isinstance(path, Path) else Path(path)  # of which another would be a copy
    return Image(known, found, given, capture_time(found, known.name))


def read_image(path: Union[str, Path]) -> Image:
    """The Image in a file: JPEG, TIFF or WebP, others where exifread is at hand. Raises BadExif."""
    return image_of(path, read_found(path))


class Edited(NamedTuple):
    """An image's bytes as they should be: a new head, and the rest of the file."""

    head: bytes  # SOI to the end of the SOS header
    start: int  # offset in the file from which the rest follows
    digest: str  # of the Exif block in the head
    changed: bool  # whether the head differs from the file's


def _as_stored(exif: Exif, edits: Edits) -> Edits:
    """The edits that are tags of EXIF; whole numbers as rationals where a rational stands."""
    typed: Edits = {}
    for ifd, tags in exif_edits(edits).items():
        before = exif.get(ifd, {})
        typed[ifd] = tags = dict(tags)
        for tag, value in tags.items():
            whole = isinstance(value, int) and isinstance(before.get(tag), tuple)
            if whole and (ifd, tag) not in COUNTED:
                tags[tag] = (value, 1)
    return typed


def _new_block(exif: Exif, edits: Edits, thumbnail: Optional[bytes]) -> Optional[bytes]:
    """The Exif block of a dict as loaded with the edits, and a thumbnail where it has none; None
    where it is so. Raises ValueError.
    """
    library, missing = piexif(), None if exif.get("thumbnail") else thumbnail
    block: Optional[bytes] = library.dump_edited(exif, _as_stored(exif, edits), LOG.debug, missing)
    if block is not None and library.has_repeats(exif):
        again = library.load(block)  # a tag of ours may have been right, and stand there again
        block = library.dump_edited(again, _as_stored(again, edits), LOG.debug) or block
    return block


def _stretches(
    stream: BinaryIO, head: Head, edits: Edits, exif: Exif, thumbnail: Optional[bytes]
) -> Optional[List[Stretch]]:
    """What has to change in a head so that it carries the edits; None where nothing has to. Raises
    ValueError.
    """
    marks = sphere_stretches(head, sphere_of(edits)) if SPHERE in edits else []
    block = _new_block(exif, edits, thumbnail)
    if block is None and not marks:
        return None
    block = b"Exif\0\0" + head.exif if block is None else block
    return [Stretch(*one) for one in piexif().insertion(block, head.data, stream, marks, exif)]


def edited(stream: BinaryIO, path: str, edits: Edits, thumbnail: Optional[bytes] = None) -> Edited:
    """What an image, open at its begin, becomes by the edits; a thumbnail is put in where it has
    none. Raises BadExif.
    """
    head = read_head(stream, path)
    nothing: Exif = {name: {} for name in ("0th", "Exif", "GPS", "Interop", "1st")}
    exif = _load(head.data, path) if head.exif else nothing
    try:
        stretches = _stretches(stream, head, edits, exif, thumbnail)
    except ValueError as error:
        cause, remedy = str(error).split("\n")[0], "use --skip_EXIF_insert, or leave it out"
        raise BadExif(
            "cannot_describe", "its EXIF cannot be rewritten", file=path, value=cause, remedy=remedy
        ) from error
    if stretches is None:
        return Edited(head.data, len(head.data), exif_digest(head.exif), False)
    data, written = bytearray(head.data), head.exif
    for start, end, new in reversed(stretches):
        data[start:end] = new
        written = new[10:] if new[4:8] == b"Exif" else written
    return Edited(bytes(data), len(head.data), exif_digest(written), True)


_CHANGED = "was changed by another program during this run"


def _changed(path: str) -> BadExif:
    return BadExif("changed", _CHANGED, file=path, remedy="run it again")


def _rest_of(stream: BinaryIO, start: int, size: int, path: str) -> Iterator[memoryview]:
    """The bytes of an open file from an offset on, a piece at a time, each valid until the next;
    then it is closed, so that it can be replaced. Raises BadExif unless they are as many as there
    were at the first look.
    """
    # one byte more than there ought to be, to see that there is none
    buffer = memoryview(bytearray(max(1, min(COPY_BYTES, size - start + 1))))
    with stream:
        stream.seek(start)
        for count in iter(lambda: stream.readinto(buffer), 0):  # type: ignore[attr-defined]
            start += count
            yield buffer[:count]
    if start != size:
        raise _changed(path)


class Task(NamedTuple):
    """What is to be written of an image."""

    path: str
    edits: Edits
    to: Optional[str] = None  # the path of the copy; None = the image itself
    known: Optional[Stamp] = None  # the size and time that the file must have; None = whichever
    copied: Optional[Written] = None  # what the copy that is there must be
    thumbnail: Optional[bytes] = None  # put in where the file has none
    beside: str = ""  # the folder of the temporary file, on the same disk; "" = that of the target


class Rewritten(NamedTuple):
    """An image with the edits, written under a temporary name."""

    file: Pending
    digest: str  # of its Exif block


def begin_edits(task: Task) -> Union[Rewritten, Written]:
    """Write what a file, or a copy of it, is to be by the edits under a temporary name, by one open
    of the file; finish_edits() has it take its place. Gives Written for a file that the edits do
    not change.

    The time of its last change stays that of the photo. It must be the same file until it is
    replaced. Raises BadExif, CannotWrite.
    """
    path, to, known = task.path, task.to, task.known
    try:
        with open_file(path) as stream:
            status = os.fstat(stream.fileno())
            if known is not None and stamp_by(status) != known:
                raise _changed(path)
            new = edited(stream, path, task.edits, task.thumbnail)
            if to is None and not new.changed:
                return _as_written_now(status, new.digest)
            rest = _rest_of(stream, new.start, status.st_size, path)
            parts: Iterable[Piece] = itertools.chain([new.head], rest)
            mode = status.st_mode & 0o7777 if to else None
            times = status.st_atime_ns, status.st_mtime_ns
            manner = Manner(mode, times=times, photo=True, beside=task.beside)
            same = functools.partial(_check_same, path, status)
            return Rewritten(begin_file(to or path, parts, manner, same), new.digest)
    except OSError as error:
        raise os_problem(path, error) from error


def _as_written_now(status: os.stat_result, digest: str) -> Written:
    """How a file is known again."""
    return Written(*stamp_by(status), digest=digest, ctime=changed_at(status))


def finish_edits(begun: Sequence[Rewritten]) -> List[Union[Written, ToolError]]:
    """Have images take their places; returns for each how it is known again, or why the old one
    is as it was.
    """
    results = finish_files([one.file for one in begun])
    return [
        result if isinstance(result, ToolError) else _as_written_now(result, one.digest)
        for one, result in zip(begun, results)
    ]


def write_edits(
    path: str, edits: Edits, to: Optional[str] = None, thumbnail: Optional[bytes] = None
) -> Written:
    """Carry out the edits in a file, or in a copy of it, whole and atomically: begin_edits() and
    finish_edits() for one. Raises BadExif, CannotWrite.
    """
    begun = begin_edits(Task(path, edits, to, thumbnail=thumbnail))
    if isinstance(begun, Written):
        return begun
    (result,) = finish_edits([begun])
    if isinstance(result, ToolError):
        raise result
    return result


def _check_same(path: str, before: os.stat_result) -> None:
    """Raise BadExif where a path no longer leads to the file that was read, as it was then; end
    where the run that asked for it has ended.
    """
    end_with_parent()
    now = os.stat(path)
    if (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
        raise _changed(path)
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise _changed(path)


def write_image(
    image: Image, description: Optional[str], to: Union[str, Path, None] = None
) -> Written:
    """Write description (JSON in ASCII, None = the caption stays), position, direction and time
    into an image.

    Or into a copy at `to`; atomically, permissions kept. Returns how it is known again. Raises
    BadExif, CannotWrite.
    """
    if image.found is None:
        read = read_image(image.path)
        image = image._replace(found=read.found, capture=read.capture)
    edits = image_edits(image, description, image.camera.orientation)
    return write_edits(str(image.path), edits, None if to is None else str(to))


def has_caption_of_ours(found: Optional[Found]) -> bool:
    """Whether a file carries a description in our form."""
    return found is not None and '"MAPPhotoUUID"' in (found.caption or "")


def check_copy(path: str, image: str, copied: Optional[Written]) -> None:
    """Raise CannotWrite where something else than the copy that we made of an image stands in its
    place. Where the journal does not tell how we left it, our description does, or the picture.
    """
    if not os.path.lexists(path):
        return
    try:
        found = read_found(path)
        if copied is not None and (found.size, found.digest) == (copied.size, copied.digest):
            return
        if copied is None and (has_caption_of_ours(found) or is_same_picture(path, image)):
            return
    except OSError as error:
        raise os_problem(path, error) from error
    except BadExif as error:
        if error.problem.code == UNREADABLE:
            raise CannotWrite(**error.problem._asdict()) from error
    wrong, remedy = "is not the copy that was made here", "move it away"
    raise CannotWrite("not_ours", wrong, file=path, remedy=remedy)


class OwnDescription(NamedTuple):
    """What a description says that a phone app or an earlier tool put into an image."""

    sequence: Optional[str]
    user: Optional[str]
    organization: Optional[str]
    time: Optional[float]  # capture, seconds UTC


def own_description(found: Found) -> Optional[OwnDescription]:
    """The description that an image carries; None when it has none."""
    row = parsed(found.caption)
    if not isinstance(row, dict) or not {"MAPLatitude", "MAPLongitude", "MAPCaptureTime"} <= set(
        row
    ):
        return None
    user, organization = row.get("MAPSettingsUsername"), row.get("MAPOrganizationKey")
    return OwnDescription(
        str(row["MAPSequenceUUID"]) if row.get("MAPSequenceUUID") else None,
        user if isinstance(user, str) else None,
        organization if isinstance(organization, str) else None,
        _map_time(str(row["MAPCaptureTime"])),
    )


_MAP_TIME = re.compile(r"(\d{4})_(\d\d)_(\d\d)_(\d\d)_(\d\d)_(\d\d)_(\d{1,3})\Z")


def _map_time(text: str) -> Optional[float]:
    """Seconds UTC of a time as descriptions have it; None for what is none."""
    match = _MAP_TIME.match(text)
    if match is None:
        return None
    date, clock = "-".join(match.groups()[:3]), ":".join(match.groups()[3:6])
    return parse_time(f"{date}T{clock}.{match.group(7)}")


OUR_SOURCE = "our own description"  # of a time, where no journal tells more


def described_time(image: Image) -> Optional[float]:
    """The time, seconds UTC, in a description of ours that a file carried when it was found: a copy
    of a processed photo without its journal. None for any other image.
    """
    found = image.found
    own = own_description(found) if found is not None and has_caption_of_ours(found) else None
    return None if own is None else own.time


# ---- Points -------------------------------------------------------------------------------------
# Here: what a reader of tracks gathers, why a point is left out, and the Track that is made of it.
# Not here: formats; which point an image gets.

EARLIEST, LATEST = -2208988800.0, 7258118400.0  # 1900 and 2200: a time outside is no time
MAX_DOP = 10.0  # worse is a guess: dead reckoning in tunnels and parking decks
TOUCH_SECONDS = 2.0  # two files whose times are this close are one recording
RECENT_S = 978307200.0  # 2001 UTC in seconds: from then on no time is that of a clock never set
# of receivers that were never set; on the first day of 2000 there may be tracks
_UNSET_DAYS = DEFAULT_DAYS - {utc_seconds((2000, 1, 1))}

NO_TIME, NO_PLACE = "without a time", "with a place that cannot be read"
ODD_TIME, OF_1970 = "with times that cannot be", "with times of 1970"
UNSET_CLOCK = "of a clock that was not set yet"
_ONE_TIME = "at one and the same time"
_OUTSIDE, _ZERO = "outside the range of latitude and longitude", "at exactly 0,0"
NO_FIX, POOR = "without a GPS fix", "with a DOP over 10"
BAD_RECEPTION = "with a DOP over 20, or fewer than three satellites"
NO_SATELLITES = "without a satellite"
BAD_CHECKSUM, NO_DATE = "in lines with a wrong checksum", "without a date"
PLACELESS, DATELESS = "without a place", "with a time of day but no date"
TWICE = "at the time of another point"
NO_POINTS, NO_GPS = "holds no track points", "has GoPro telemetry but no GPS data in it"
NO_TELEMETRY = "holds no GPS track that can be read"
UNDATED = "holds places without a time"
ONLY_MOTION = "holds the data of an accelerometer or gyroscope, but no GPS track"

_TIMELESS = "it was exported without times: export it again with them"
_REMEDIES = {
    NO_TIME: "export it again with times: a place without a time cannot be matched with an image",
    _OUTSIDE: "look at the file: these are not places on Earth",
    _ZERO: "the receiver did not know its place yet; give a track from another device",
    NO_PLACE: "write them as decimal degrees, -33.865143",
    PLACELESS: "the receiver had no fix there; give a track from another device",
    OF_1970: _TIMELESS,
    ODD_TIME: "export it again with times as GPX has them, 2024-05-06T07:08:09Z",
    _ONE_TIME: _TIMELESS,
    NO_FIX: "the GPS never locked here; give a track from another device as --geotag_source_path",
    BAD_RECEPTION: "reception was too poor; give a track from another device",
    POOR: "reception was too poor; give a track from another device as --geotag_source_path",
    DATELESS: "add a column that is named date",
    UNDATED: "put the video of its name beside it, which tells when it began",
    NO_DATE: "put one line with the day on top, such as $GPZDA,120000,31,05,2024,,",
    NO_TELEMETRY: "give the track of another device as --geotag_source_path",
    ONLY_MOTION: "switch GPS on in the camera or its remote, or give the track of another device "
    "as --geotag_source_path",
    NO_GPS: "switch GPS on in the camera, or give a GPX or NMEA log as --geotag_source_path",
}


def bad_track(path: Path, code: str, wrong: str, value: str, remedy: str) -> BadTrack:
    """The error for a track file."""
    return BadTrack(code, wrong, file=path, value=value, remedy=remedy)


def unreadable_track(path: Path, error: OSError) -> BadTrack:
    """The error for a file that the system does not let us read."""
    cause = error.strerror or str(error)
    return BadTrack(
        "track_unreadable",
        "cannot be read",
        file=path,
        value=cause,
        remedy="check that it may be read",
    )


def flaw_of(time: Optional[float], lat: Optional[float], lon: Optional[float]) -> str:
    """Why a point cannot be used, in plain words, or "" if it can."""
    if time is None or not EARLIEST <= time < LATEST:
        return NO_TIME
    if lat is None or lon is None or lat != lat or lon != lon:
        return NO_PLACE
    if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0):
        return _OUTSIDE
    return "" if lat or lon else _ZERO


def some_of(names: Sequence[object], most: int = 3) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def median(values: Sequence[float]) -> float:
    """The middle value (the statistics module costs 10 ms to import)."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def along(pairs: Sequence[Tuple[float, float]], value: float) -> float:
    """The second of what two clocks show when the first shows a value: linear by the two nearest
    of (first, second), which are in order, also before and behind them.
    """
    if len(pairs) == 1:
        return pairs[0][1] + value - pairs[0][0]
    place = min(max(bisect.bisect_left(pairs, (value,)), 1), len(pairs) - 1)
    (before, one), (after, other) = pairs[place - 1 : place + 1]
    return one + (value - before) * (other - one) / (after - before)


def at_video(track: Track, seconds: float) -> Optional[float]:
    """What the clock of a track shows at a time of its video, in seconds; None = not known."""
    if track.pace:
        return along(track.pace, seconds)
    return None if track.zero is None else track.zero + seconds


FEW_TIMES = 4  # with fewer pairs nothing is said of a pace


def pace_of(pairs: Sequence[Tuple[float, float]]) -> float:
    """How many times as fast as the pictures a clock runs, by the middle half of (seconds of video
    time, seconds UTC); 1 where that is not known.
    """
    if len(pairs) < FEW_TIMES:
        return 1.0
    (begin, first), (end, last) = pairs[len(pairs) // 4], pairs[3 * len(pairs) // 4]
    return (last - first) / (end - begin) if end > begin else 1.0


EVEN_S = 3.0  # seconds; a clock may be put right by the two of a leap second on its way
_UNEVEN = 3  # so many pairs make it uneven, and no single odd ones
_PACE = 0.1  # part by which two clocks of one pace may part between two pairs
_JUMP_S = 60.0  # seconds; with more it jumps, unless it does so all the time


def is_uneven(pairs: Sequence[Tuple[float, float]]) -> bool:
    """Whether a clock does not run as the pictures do, by (seconds of video time, seconds UTC): in
    a time-lapse, and where the speed changes.
    """
    apart = [utc - video for video, utc in pairs]
    middle, most = median(apart) if apart else 0.0, min(_UNEVEN, len(pairs) - 1)
    if len(pairs) < 3 or sum(abs(one - middle) > EVEN_S for one in apart) < most:
        return False
    steps = [  # (seconds by which the clocks part, seconds of video) between two pairs
        (abs(late - early), there - here)
        for early, late, (here, before), (there, after) in zip(apart, apart[1:], pairs, pairs[1:])
        if after != before  # while it stands still it has no pace
    ]
    odd = [parted for parted, video in steps if parted > _PACE * video]
    if all(parted > _JUMP_S for parted in odd):  # put right, or some of its times are wrong
        return len(odd) > 1 and 4 * len(odd) >= len(steps)
    return len(odd) >= min(_UNEVEN, len(steps))


def going_on(pairs: Sequence[Tuple[float, float]]) -> List[Tuple[float, float]]:
    """Those of the pairs that go on in both clocks."""
    kept: List[Tuple[float, float]] = []
    for video, utc in sorted(pairs):
        if not kept or video > kept[-1][0] and utc > kept[-1][1]:
            kept.append((video, utc))
    return kept


def decimal(text: Optional[str]) -> Optional[float]:
    """A decimal number: None where nothing is written, NaN where it is none."""
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        return math.nan


def fix_flaw(lock: float, dop: float = 0.0) -> str:
    """Why a sample with this GPS fix (0, 2, 3) and dilution of precision is not used,
    "" if it is.
    """
    if lock not in (2, 3):
        return NO_FIX
    return "" if dop <= MAX_DOP else POOR


def is_unset(time: float) -> bool:
    """Whether a time is that of a clock which was never set, or of an export without times."""
    return 0 <= time < YEAR_1970_S or time - time % DAY_S in _UNSET_DAYS


class VideoClock(NamedTuple):
    """What the telemetry of a video tells of its own time line, as Track has it."""

    zero: Optional[float] = None
    pace: Sequence[Tuple[float, float]] = ()


class Points:
    """What a reader has gathered from one file so far."""

    def __init__(self, path: Path, clock: str, empty: str = NO_POINTS) -> None:
        self.path, self.clock = path, clock
        self.empty = empty  # what is wrong with the file if nothing at all is found
        self.segments: List[List[Fix]] = [[]]
        self.dropped: Dict[str, int] = {}
        self.notes: List[str] = []
        self.bad_altitudes = 0
        self.video = VideoClock()

    @property
    def any(self) -> bool:
        """Whether there was any point, usable or not."""
        return bool(self.dropped) or any(self.segments)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count points that are left out."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def take(self, more: "Points") -> None:
        """Add what was gathered from another part of the file."""
        self.segments += more.segments
        self.notes += [note for note in more.notes if note not in self.notes]
        self.bad_altitudes += more.bad_altitudes
        for reason, count in more.dropped.items():
            self.drop(reason, count)

    def drop_odd(self, text: str) -> None:
        """Count a point whose time, as it is written, cannot be."""
        if ODD_TIME not in self.dropped:
            first = text.strip()[:40]
            self.notes.append(f"{self.path.name} has points {ODD_TIME}: the first is of {first}")
        self.drop(ODD_TIME)

    def note_place(self, text: str) -> None:
        """Note the first place that cannot be read, as it is written."""
        if not any(NO_PLACE in note for note in self.notes):
            self.notes.append(f"{self.path.name} has points {NO_PLACE}: the first is {text[:60]}")

    def add(
        self,
        time: Optional[float],
        lat: Optional[float],
        lon: Optional[float],
        alt: Optional[float] = None,
        course: Optional[float] = None,
    ) -> None:
        """Keep a point, or count why not. An altitude or course that is no real value becomes
        unknown.
        """
        flaw = flaw_of(time, lat, lon)
        if flaw or time is None or lat is None or lon is None:
            self.drop(flaw)
            return
        if alt is not None and not abs(alt) < HIGHEST_M:
            alt, self.bad_altitudes = None, self.bad_altitudes + 1
        if course is not None:
            course = course % 360.0 if 0.0 <= course <= 360.0 else None
        self.segments[-1].append(Fix(time, lat, lon, alt, course))

    def add_timed(
        self,
        time: float,
        text: str,
        place: Tuple[Optional[float], Optional[float], Optional[float]],
        course: Optional[float] = None,
    ) -> None:
        """Keep a point whose time was written as a text, NaN where it cannot be read; one of 1970
        is of an export without times.
        """
        if text.strip() and not EARLIEST <= time < LATEST:
            self.drop_odd(text)
        elif is_unset(time):
            self.drop(OF_1970)
        else:
            self.add(time, *place, course)

    def track(self) -> Track:
        """The Track of the file. Raises BadTrack if no point is left."""
        self._leave_out_unset()
        segments, name = [segment for segment in self.segments if segment], self.path.name
        if not segments:
            raise self._nothing()
        times = [[fix[0] for fix in segment] for segment in segments]
        if any(moments != sorted(moments) for moments in times):
            self.notes.append(f"points of {name} were out of order and have been sorted by time")
        if self.bad_altitudes:
            self.notes.append(
                f"{self.bad_altitudes} altitudes in {name} cannot be read and were left out"
            )
        points, starts = merged([(0, segment) for segment in segments], 0.0)
        self.drop(TWICE, sum(map(len, segments)) - len(points))
        if len(points) == 1 and self.dropped.get(TWICE, 0) > 1:  # of a planner, not of a receiver
            self.dropped = {_ONE_TIME: self.dropped[TWICE] + 1}
            raise self._nothing()
        return Track(points, starts, self.dropped, self.clock, self.notes, *self.video)

    def _leave_out_unset(self) -> None:
        """Leave out the points of a clock that was not set yet, where it was set later."""
        kept = [[fix for fix in one if not may_be_unset(fix.time)] for one in self.segments]
        left = sum(map(len, self.segments)) - sum(map(len, kept))
        if left and any(kept):
            self.segments = kept
            self.drop(UNSET_CLOCK, left)

    def _nothing(self) -> BadTrack:
        """Why there is no point left."""
        reasons = sorted(self.dropped.items(), key=lambda item: -item[1])
        if reasons:
            wrong = f"none of its {sum(self.dropped.values())} points can be used"
            causes = ", ".join(f"{count} {reason}" for reason, count in reasons)
            odd = [note for note in self.notes if ODD_TIME in note or NO_PLACE in note]
            causes = "; ".join([causes, *odd])
            remedy = _REMEDIES.get(reasons[0][0], "look at these values in the file")
            return bad_track(self.path, "track_unusable", wrong, causes, remedy)
        code = "track_damaged" if self.notes else "track_none"
        remedy = "give the GPX or NMEA log of the trip as --geotag_source_path"
        remedy = _REMEDIES.get(self.empty, remedy)
        return bad_track(self.path, code, self.empty, "; ".join(self.notes), remedy)


def merged(pieces: List[Tuple[int, List[Fix]]], max_gap: float) -> Tuple[List[Fix], List[int]]:
    """Points of all (file number, points) by time, one per time (the first stays), and where
    segments start.

    A segment starts after the end of all pieces so far, unless another file follows within max_gap
    seconds.
    """
    first_at: Dict[float, Fix] = {}
    spans = []
    for number, piece in pieces:
        moments = [fix[0] for fix in piece]
        for moment, fix in zip(moments, piece):
            first_at.setdefault(moment, fix)
        spans.append((min(moments), max(moments), number))
    times, starts = sorted(first_at), []
    end, end_number = -math.inf, -1
    for first, last, number in sorted(spans):
        if first > end and (number == end_number or first - end > max_gap):
            starts.append(bisect.bisect_left(times, first))
        if last >= end:
            end, end_number = last, number
    return [first_at[moment] for moment in times], starts


def moved_by(track: Track, seconds: float) -> Track:
    """A track so many seconds later."""
    points = [fix._replace(time=fix.time + seconds) for fix in track.points]
    zero = None if track.zero is None else track.zero + seconds
    pace = [(video, utc + seconds) for video, utc in track.pace]
    return track._replace(points=points, zero=zero, pace=pace)


def join_tracks(tracks: Sequence[Track], max_gap: float = TOUCH_SECONDS) -> Track:
    """One Track of several: by time, one point per time (that of the first track wins).

    Between two tracks a segment starts, unless they overlap or are at most max_gap seconds apart.
    """
    if len(tracks) == 1:
        return tracks[0]
    pieces = [(number, part) for number, track in enumerate(tracks) for part in track.segments()]
    points, starts = merged(pieces, max_gap)
    dropped: Dict[str, int] = {}
    twice = sum(len(piece) for _, piece in pieces) - len(points)
    if twice:
        dropped[TWICE] = twice
    for track in tracks:
        for reason, count in track.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    clocks = " and ".join(dict.fromkeys(track.clock for track in tracks))
    return Track(
        points, starts, dropped, clocks, [note for track in tracks for note in track.notes]
    )


# ---- Rows ---------------------------------------------------------------------------------------
# Here: tables of text to rows of cells (RFC 4180), whatever their encoding.
# Not here: what a cell means.

TABLE_BYTES = 64 << 20  # of a table that is read: 500,000 rows
DELIMITERS = {
    "tab": "\t",
    "\\t": "\t",
    "semicolon": ";",
    "comma": ",",
    "space": " ",
    "pipe": "|",
}


class TableRow(NamedTuple):
    """A row of a table as it stands."""

    line: int  # number of its first line, from 1
    cells: List[str]


def _one_row(mark: str) -> Callable[[str], List[str]]:
    return lambda line: line.rstrip("\r\n").split(mark)


def _table_rows(lines: List[str], mark: str) -> Iterator[TableRow]:
    """The rows of a table. Quoting that goes wrong costs one line."""
    import csv

    done = spent = 0  # lines
    while done < len(lines):
        base = done
        rest = map(lines.__getitem__, range(done, len(lines)))
        reader = csv.reader(rest, delimiter=mark, strict=True)
        try:
            for cells in reader:
                yield TableRow(done + 1, cells)
                done = base + reader.line_num
        except csv.Error:  # a quote that is never closed, or not at the end of a cell
            spent += base + reader.line_num - done
            if spent > 4 * len(lines) + 1000:  # quotes that open again and again
                mend = map(_one_row(mark), lines[done:])
                yield from map(TableRow, itertools.count(done + 1), mend)
                return
            yield TableRow(done + 1, lines[done].rstrip("\r\n").split(mark))
            done += 1


_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
    (b"", "utf-8"),
)


def table_text(path: Union[str, Path]) -> Tuple[bytes, str, str]:
    """(mark at its begin, text, encoding) of a table; cp1252, with surrogates, where it is no
    Unicode.
    """
    try:
        with open_file(path) as stream:
            content = stream.read(TABLE_BYTES + 1)
        if len(content) > TABLE_BYTES:
            wrong, most = "is too large", f"more than {TABLE_BYTES >> 20} MB"
            raise BadTrack("table_large", wrong, file=path, value=most, remedy="split it")
    except FileNotFoundError:
        wrong = "there is no such file"
        raise NotFound("table_missing", wrong, file=path, remedy="check its name") from None
    except OSError as error:
        raise unreadable_track(Path(path), error) from error
    mark, encoding = next(row for row in _MARKS if content.startswith(row[0]))
    try:
        return mark, content[len(mark) :].decode(encoding), encoding
    except UnicodeDecodeError:  # the code page of Western Windows
        return b"", content.decode("cp1252", "surrogateescape"), "cp1252"


def read_table(
    path: Union[str, Path], delimiter: str = ",", header: bool = False
) -> List[TableRow]:
    """The rows of a table, cells as they stand. Blank rows, and a header, are left out.

    `delimiter` is one character, or tab, \\t, semicolon, comma, space or pipe. A quote that is
    never closed costs its own line only. Raises NotFound, UsageError for a delimiter, BadTrack for
    a file that is no table (RFC 4180).
    """
    mark = DELIMITERS.get(delimiter, delimiter)
    if len(mark) != 1 or mark in '"\r\n':
        remedy = "one character, or one of " + ", ".join(DELIMITERS)
        raise UsageError(
            "table_delimiter", "is no delimiter", file=path, value=repr(delimiter), remedy=remedy
        )
    text = table_text(path)[1]
    begin = text[:LINE_CHARS]
    if len(_BINARY.findall(begin)) > max(8, len(begin) // 20):
        wrong, remedy = "is no table of text", "export it as CSV"
        raise BadTrack("table_binary", wrong, file=path, remedy=remedy)
    return rows_of(text, mark)[1 if header else 0 :]


def rows_of(text: str, mark: str) -> List[TableRow]:
    """The rows of a text whose cells are kept apart by a mark; blank ones are left out."""
    rows = _table_rows(list(io.StringIO(text.replace("\0", ""), newline="")), mark)
    return [row for row in rows if any(cell.strip() for cell in row.cells)]


LINE_CHARS = 4096  # characters; the longest real line of NMEA, a BlackVue one, has about 120
_SEPARATORS = ",;\t|"
REMARKS = 20  # rows; as many may stand before the headings
_BINARY = re.compile("[\x01-\x08\x0e-\x1a\x1c-\x1f]")  # no letters, but for NUL as of padding


def separator_of(line: str) -> str:
    """What stands between the cells of a table, by its first line; "" where it has but one."""
    return max(_SEPARATORS, key=line.count) if any(map(line.count, _SEPARATORS)) else ""


def looks_like_table(text: str) -> bool:
    """Whether a text begins with the headings of several columns, perhaps behind some remarks, and
    holds letters only.
    """
    lines = [
        line.strip() for line in re.split("[\r\n]+", text.lstrip(), maxsplit=REMARKS)[:REMARKS]
    ]
    first, *others = lines
    if not first.replace("\t", " ").isprintable():
        return False
    return any(line.count(separator_of(line) or "\n") > 1 for line in others) or bool(
        separator_of(first)
    )


# ---- Movies -------------------------------------------------------------------------------------
# Here: what a file is by its first bytes; the boxes of MP4 and MOV (ISO/IEC 14496-12, QuickTime).
# Not here: what is in the samples of a telemetry track.

_MAX_BOXES = 200_000  # a fragmented recording of a day has 172,800
MAX_SAMPLES = 1 << 18  # of a track: three days, one a second
_MAX_BLOCK = 1 << 26  # bytes read at once: no telemetry table or sample comes near 64 MB
_MOVIE_BOXES = {
    b"ftyp",
    b"moov",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
    b"uuid",
    b"pnot",
    b"styp",
    b"junk",
    b"PICT",
}
_QUICKTIME_EPOCH = 2082844800  # 1970-01-01 in seconds since 1904
# camera clock in ms, name, values, checksum
SENTENCE = re.compile(
    r"(?:\[([0-9]{9,14})\]\s*)?"
    r"\$((?!P)[A-Z]{2}(?:RMC|GGA|GLL|ZDA|GNS|GGK)|PMGNTRK|PUBX,0[04]|PTNL,GGK),([^$*\[\r\n\0]*)"
    r"(?:\*([0-9A-Fa-f]{0,2}))?"
)


def encoding_of(head: bytes) -> str:
    """UTF-16 where a text begins with that mark, else one byte a character."""
    return "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"


_ROOT = re.compile(r"<(?:[\w.-]+:)?(\w[\w.-]*)")  # the first element of XML
CUE = re.compile(r"(\d{1,3}):(\d\d):(\d\d)[,.](\d{1,3})\s*-->")  # of a subtitle


JSON_BEGIN = re.compile(r'\ufeff?\s*(?:\{|\[\s*[\[{"])')


def family_of(head: bytes) -> str:
    """What a file is by its first bytes: "movie", "fit", "zip", "kml", "tcx", "gpx" (any other
    XML), "nmea", "srt", "table", or "" for none of these.
    """
    if head[4:8] in _MOVIE_BOXES:
        return "movie"
    if head[8:12] == b".FIT":
        return "fit"
    if head[:4] == b"PK\3\4":
        return "zip"
    encoding = "utf-8" if encoding_of(head) == "latin-1" else "utf-16"
    text = head.decode(encoding, "replace").lstrip("\ufeff \t\r\n\0")
    if text.startswith("<"):
        root = _ROOT.search(text)
        return _XML_ROOTS.get(root.group(1) if root else "", "gpx")
    if SENTENCE.search(text):
        return "nmea"
    if CUE.search(text):
        return "srt"
    if JSON_BEGIN.match(text):
        return ""
    return "table" if looks_like_table(text) else ""


_XML_ROOTS = {"kml": "kml", "TrainingCenterDatabase": "tcx"}


class MovieBox(NamedTuple):
    """A box: its type and where its content lies in the file, in bytes."""

    kind: bytes
    start: int
    end: int
    whole: bool = True  # whether it ends inside its parent


class Payload(NamedTuple):
    """One sample of a telemetry track."""

    number: int  # from 1
    start: float  # seconds of video time
    duration: float  # seconds
    block: Optional[bytes]  # None where the index gives some bytes twice


def time_if_set(seconds: float) -> Optional[float]:
    """A time of a movie in seconds UTC, also where it was counted from 1970 and not from 1904; None
    for that of a clock that was never set.
    """
    if RECENT_S <= seconds + _QUICKTIME_EPOCH < LATEST and seconds < 0:
        seconds += _QUICKTIME_EPOCH
    return seconds if EARLIEST <= seconds < LATEST and not is_default_time(seconds) else None


class Header(NamedTuple):
    """What the header of a movie says; None = unknown."""

    creation_time: Optional[float]  # seconds UTC as the camera wrote it
    timescale: int  # units a second; 0 = unknown
    duration: Optional[float]  # seconds


class Source:
    """An open track file. Of a movie boxes are read, by seek, never pictures, and never more than
    the file holds.
    """

    def __init__(self, handle: BinaryIO, path: Path) -> None:
        self.handle, self.path = handle, path
        self.family = family_of(handle.read(1 << 16))
        self.size = handle.seek(0, os.SEEK_END)
        self.boxes_left, self.bytes_left = _MAX_BOXES, self.size
        self.top = list(self.boxes(MovieBox(b"", 0, self.size if self.family == "movie" else 0)))
        self.header = self._header()

    @property
    def moov(self) -> Optional[MovieBox]:
        """The index of a movie."""
        return next((box for box in self.top if box.kind == b"moov"), None)

    def _header(self) -> Header:
        created, timescale, units = self.times(self.child(self.moov, b"mvhd"))
        written = time_if_set(float(created - _QUICKTIME_EPOCH)) if created else None
        return Header(written, timescale, units / timescale if units and timescale else None)

    def boxes(self, parent: Optional[MovieBox]) -> Iterator[MovieBox]:
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
            last = start + size
            yield MovieBox(kind, min(start + header, end), min(last, end), last <= end)
            start += size

    @property
    def index_flaw(self) -> str:
        """What is wrong with the index, "" where all that tracks need is there."""
        if self.moov is None:
            return "is damaged or cut off: it has no index (moov)"
        last = [box.kind for box in self.boxes(self.moov)][-1:]
        if self.moov.whole or last and last[0] in (b"udta", b"meta", b"free", b"skip", b"uuid"):
            return ""
        return "is cut off: the end of its index (moov) is not there"

    def child(self, box: Optional[MovieBox], *kinds: bytes) -> Optional[MovieBox]:
        """The first box at the path `kinds` below `box`, None if there is none."""
        for kind in kinds:
            box = next((inner for inner in self.boxes(box) if inner.kind == kind), None)
        return box

    def read(self, box: Optional[MovieBox]) -> bytes:
        """The content of a box, of 64 MB at most; nothing for None."""
        if box is None:
            return b""
        self.handle.seek(box.start)
        return self.handle.read(min(box.end - box.start, _MAX_BLOCK))

    def table(
        self, box: Optional[MovieBox], header: int, columns: int = 1, code: str = "I"
    ) -> Sequence[int]:
        """Big-endian numbers of 4 (I) or 8 (Q) bytes after a header that ends with the count of
        their rows.
        """
        content, values = self.read(box), array(code)
        if len(content) >= header:
            (declared,) = struct.unpack_from(">I", content, header - 4)
            rows = min(declared, (len(content) - header) // (values.itemsize * columns))
            values.frombytes(content[header : header + rows * columns * values.itemsize])
        if sys.byteorder == "little":
            values.byteswap()
        return values

    def times(self, box: Optional[MovieBox]) -> Tuple[int, int, int]:
        """Creation (seconds since 1904), units a second and duration in units of mvhd or mdhd; 0 is
        unknown.
        """
        content = self.read(box).ljust(32, b"\0")
        layout, bits = (">4xQQIQ", 64) if content[0] == 1 else (">4xIIII", 32)
        created, _, timescale, duration = struct.unpack_from(layout, content)
        return created, timescale, 0 if duration == (1 << bits) - 1 else duration

    def tracks(self, form: bytes) -> List[MovieBox]:
        """The trak boxes whose first sample description is of this format; the handler type is only
        a hint.
        """
        return [
            trak
            for trak in self.boxes(self.moov)
            if trak.kind == b"trak"
            and self.read(self.child(trak, b"mdia", b"minf", b"stbl", b"stsd"))[12:16] == form
        ]

    def delay(self, trak: MovieBox, scale: float) -> float:
        """Seconds by which the edit list of a track delays it: its empty edits, less where its
        media begins.
        """
        content, delay = self.read(self.child(trak, b"edts", b"elst"))[:1000], 0.0
        layout = struct.Struct(">Qq4x" if content[:1] == b"\x01" else ">Ii4x")
        for place in range(8, len(content) - layout.size + 1, layout.size):
            length, media = layout.unpack_from(content, place)
            if media >= 0:
                delay -= media / scale
                break
            delay += length / (self.header.timescale or math.inf)
        return delay

    def chunks(self, table: Optional[MovieBox]) -> Iterator[Tuple[int, int]]:
        """Where each chunk of a track lies, by stco or co64, and how many samples it has by the
        runs of stsc.
        """
        chunks = self.table(self.child(table, b"stco"), 8)
        chunks = chunks or self.table(self.child(table, b"co64"), 8, 1, "Q")
        runs, run = self.table(self.child(table, b"stsc"), 8, 3), 0
        for chunk, offset in enumerate(chunks, 1):
            while run + 3 < len(runs) and runs[run + 3] <= chunk:
                run += 3
            yield offset, runs[run + 1] if runs else 1

    def places(self, table: Optional[MovieBox], sizes: Iterator[int]) -> Iterator[Tuple[int, int]]:
        """Where each sample lies, and its size."""
        for offset, count in self.chunks(table):
            for size in itertools.islice(sizes, count):
                yield offset, size
                offset += size

    def _samples(
        self, table: Optional[MovieBox]
    ) -> Tuple[int, Iterator[Tuple[Tuple[int, int], int]]]:
        """How many samples a track has; of those that its chunks hold ((offset, bytes), units of
        duration).
        """
        stsz, stts = self.child(table, b"stsz"), self.table(self.child(table, b"stts"), 8, 2)
        fixed, count = struct.unpack(">II", self.read(stsz)[4:12].ljust(8, b"\0"))
        sizes: Sequence[int] = range(0) if fixed else self.table(stsz, 12)
        count = min(self.size // fixed if fixed else len(sizes), count, MAX_SAMPLES)
        runs = map(itertools.repeat, stts[1::2], stts[::2])
        last = itertools.repeat(stts[-1] if stts else 0)  # a short table: the last duration goes on
        deltas = itertools.chain(itertools.chain.from_iterable(runs), last)
        places = self.places(table, itertools.repeat(fixed, count) if fixed else iter(sizes))
        return count, itertools.islice(zip(places, deltas), count)

    def payloads(self, trak: MovieBox, found: Points) -> Iterator[Payload]:
        """The samples of a track in order; those past the end of the file are left out
        with a note.
        """
        scale = self.times(self.child(trak, b"mdia", b"mdhd"))[1] or math.inf
        delay, whole = self.delay(trak, scale), self.header.duration
        count, samples = self._samples(self.child(trak, b"mdia", b"minf", b"stbl"))
        reached = start = 0
        for number, ((offset, size), delta) in enumerate(samples, 1):
            seconds, duration = start / scale, delta / scale
            start += delta
            if offset + size > self.size:
                continue
            reached, self.bytes_left = reached + 1, self.bytes_left - size
            if number == count and whole is not None and 0 < whole - seconds < duration:
                # cameras give the last payload the length of a whole one
                duration = whole - seconds
            self.handle.seek(offset)
            there = self.bytes_left >= 0 and size <= _MAX_BLOCK
            yield Payload(
                number, seconds + delay, duration, self.handle.read(size) if there else None
            )
        if reached < count:
            found.notes.append(
                f"{count - reached} of {count} telemetry payloads lie past the end of "
                f"{self.path.name}, which is cut off or damaged"
            )


class Sample(NamedTuple):
    """One place in a video."""

    video: float  # seconds of video time
    time: Optional[float]  # seconds UTC, None where the sample does not tell it
    lat: float
    lon: float
    alt: Optional[float]
    course: Optional[float] = None
    flaw: str = ""  # why it is not used, "" if it may be


class Choice(NamedTuple):
    """Samples that may be taken as the track of a video."""

    clock: str
    samples: List[Sample]
    start: Optional[float] = None  # UTC of video time 0, for samples that do not tell their time
    steady: bool = False  # whether their video times are those of the container, and sure

    def timed(self) -> List[Sample]:
        """The samples with their times."""
        if self.start is None:
            return self.samples
        return [sample._replace(time=self.start + sample.video) for sample in self.samples]


def _is_good(sample: Sample) -> bool:
    unset = sample.time is not None and is_unset(sample.time)
    return not (sample.flaw or unset or flaw_of(sample.time, sample.lat, sample.lon))


def _best(choices: Iterable[Choice]) -> Optional[Choice]:
    """The first choice with usable samples, unless another has many times as many; else the first
    with any. None = there are none.
    """
    there = [choice for choice in choices if choice.samples]
    good = [sum(map(_is_good, choice.timed())) for choice in there]
    enough = (one for one, count in zip(there, good) if count * _MANY_TIMES >= max(good))
    return next(enough, None)


_MANY_TIMES = 8


def _pairs_of(samples: Iterable[Sample]) -> List[Tuple[float, float]]:
    """(seconds of video time, seconds UTC) of the samples that can be used, in order."""
    good = filter(_is_good, samples)
    return sorted({one.video: one.time for one in good if one.time is not None}.items())


def _put_right(samples: List[Sample], found: Points) -> List[Sample]:
    """Samples of which the clock was put right once, each with the time that it would have had
    then, by its place in the video.
    """
    zeros = [time - video for video, time in _pairs_of(samples)]
    if not zeros or max(zeros) - min(zeros) <= EVEN_S:
        return samples
    zero = median(zeros[len(zeros) // 2 :])
    odd = [one.time is not None and abs(one.time - one.video - zero) > EVEN_S for one in samples]
    found.notes.append(
        f"{plural(sum(odd), 'point')} of {found.path.name}: the GPS clock was put right later, so "
        "their place in the video tells their time"
    )
    moved = [one._replace(time=zero + one.video) for one in samples]
    return [there if is_odd else one for one, there, is_odd in zip(samples, moved, odd)]


def clock_of_video(pairs: Sequence[Tuple[float, float]]) -> VideoClock:
    """What (seconds of video time, seconds UTC) tell of a video's own time line."""
    if is_uneven(pairs):
        pairs = going_on(pairs)
        return VideoClock(along(pairs, 0.0), pairs)
    zeros = [time - video for video, time in pairs]
    return VideoClock(median(zeros) if zeros else None)


def take_first(found: Points, choices: Iterable[Choice]) -> None:
    """Keep the samples of the best choice, and what they tell of the video's time line; count
    those that cannot be used.
    """
    choice = _best(choices)
    if choice is None:
        return
    found.clock, samples = choice.clock, choice.timed()
    if choice.steady and not is_uneven(_pairs_of(samples)):
        samples = _put_right(samples, found)
    pairs = _pairs_of(samples)
    for sample in samples:
        if sample.flaw:
            found.drop(sample.flaw)
        elif sample.time is not None and is_unset(sample.time):
            found.drop(OF_1970)
        else:
            found.add(sample.time, sample.lat, sample.lon, sample.alt, sample.course)
    found.video = clock_of_video(pairs)
    if pairs and found.clock == CAMERA_CLOCK:
        note = f"{found.path.name} has no GPS time; its {CAMERA_CLOCK} was taken as UTC"
        found.notes.append(f"{note} (--timezone says which zone it shows)")


def each_payload(
    movie: Source, form: bytes, found: Points, take: Callable[[bytes, Payload], None]
) -> None:
    """Give every payload of the tracks of a format to `take`. One on which it fails is damaged:
    left out and noted.
    """
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
        numbers = some_of(damaged, 5)
        name = found.path.name
        one, many = f"payload {numbers} of {name} is", f"payloads {numbers} of {name} are"
        found.notes.append((one if len(damaged) == 1 else many) + " damaged and left out")


# ---- XML ----------------------------------------------------------------------------------------
# Here: tracks in XML by expat, entities refused, and the repairs of what is not quite XML.
# Not here: what an element means. (expat: ElementTree takes twice the time, gpxpy four times.)

_XML_BLOCK = 1 << 20  # bytes


def iso_seconds(text: str) -> float:
    """Seconds UTC of an xsd:dateTime in any form seen in the field, NaN if it is none; a missing
    zone is UTC.
    """
    text = text.strip()
    # a zone may have no minutes
    seconds = parse_time(text + ":00" if text[-3:-2] in ("+", "-") else text)
    if seconds is None:
        return math.nan
    return seconds + DAY_S if text[10:13] == "T24" else seconds  # the end of the day


class XmlTimes:
    """Times of points; parts of them come again and again."""

    def __init__(self, found: Points) -> None:
        known = functools.lru_cache(5000)
        self.found, self.zoneless = found, False
        self._minutes = known(lambda text: iso_seconds(text + ":00Z"))  # 2024-05-31T12:00
        self._rests = known(self._rest)

    def _rest(self, text: str) -> float:
        """Seconds of the part of a time behind its minutes, :56.5+01:00; that there is no zone is
        noted once.
        """
        if not re.search(r"[Zz]|[+-]\d\d(:?\d\d)?\s*$", text) and not self.zoneless:
            self.zoneless = True
            self.found.notes.append(
                f"{self.found.path.name} has times without a zone: they are taken as UTC"
            )
        return iso_seconds("1970-01-01T00:00" + text)

    def seconds(self, text: str) -> float:
        """Seconds UTC, NaN where it is no time."""
        return self._minutes(text[:16]) + self._rests(text[16:])


class XmlFile:
    """Collects points as expat meets them; a format is a class that says what an element means."""

    clock: ClassVar[str] = ""  # as Points has it

    def __init__(self, path: Path, parser: "expat.XMLParserType") -> None:
        self.parser, self.root = parser, ""
        self.found = Points(path, self.clock)
        self.fault = ""  # what expat found wrong; "" = nothing
        parser.buffer_text = True
        parser.StartElementHandler = self.begin
        parser.EndElementHandler = self.end
        parser.EntityDeclHandler = parser.AttlistDeclHandler = self.refuse

    def refuse(self, *declaration: object) -> None:
        """Entities can make a small file fill the memory, or read other files; no track
        needs them.
        """
        raise bad_track(
            self.found.path,
            "track_entities",
            "declares XML entities, which are refused",
            str(declaration[0])[:40],
            "remove the <!DOCTYPE ...> part or export the track again",
        )

    def begin(self, name: str, attributes: Dict[str, str]) -> None:
        """The first element opens."""
        self.root = name.rpartition(":")[2]
        self.parser.StartElementHandler = self.start
        self.start(name, attributes)

    def start(self, name: str, attributes: Dict[str, str]) -> None:
        """An element opens."""

    def end(self, name: str) -> None:
        """An element closes."""

    def points(self) -> Points:
        """What has been found so far."""
        return self.found

    def take(self, more: "XmlFile") -> None:
        """Add what another document in the same file holds."""
        self.found.take(more.points())
        self.fault = self.fault or more.fault


DEEPEST = 1000  # elements within each other; expat keeps all that are open
XmlMaker = Callable[[Path, "expat.XMLParserType"], XmlFile]


_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # its marks
_MARK = b"\xef\xbb\xbf"  # of UTF-8
REPAIR_BYTES = 1 << 28  # a longer file is read up to its first fault
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_TEXTS = re.compile(rb"<(name|desc|cmt|src|keywords)>(?:.{0,2000}?</\1>|[^<]*)", re.DOTALL)
_CONTROL_NUMBER = re.compile(
    rb"&#(?:x0*(?:[0-8bcef]|1[0-9a-f])|0*(?:[0-8]|1[1-24-9]|2\d|3[01]));", re.IGNORECASE
)
_PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
_DECLARED = re.compile(rb"<\?xml[^>]*\?>")


def parse_xml(
    path: Path, source: Union[BinaryIO, bytes], make: XmlMaker, encoding: Optional[str] = None
) -> XmlFile:
    """What expat makes of a file, as far as its first fault; raises BadTrack for entities."""
    from xml.parsers import expat

    read = make(path, expat.ParserCreate(encoding))
    try:
        if isinstance(source, bytes):
            read.parser.Parse(source, True)
        else:
            # what is one tag is looked at anew with each block that comes
            for block in iter(lambda: source.read(_XML_BLOCK), b""):
                read.parser.Parse(block, False)
            read.parser.Parse(b"", True)
    # the last two: an encoding that Python cannot use
    except (expat.ExpatError, LookupError, ValueError) as error:
        read.fault = str(error)
    return read


class _Repair(NamedTuple):
    """What may be wrong with a file that is not quite XML, and what then makes it XML."""

    words: str
    mend: Callable[[bytes], bytes]


def _stripped(data: bytes) -> bytes:
    """A text without blanks and NULs around it; in UTF-16 half of every letter may be one."""
    if data[:2] in _UTF16:
        return data
    data = data.strip(b"\0 \t\r\n")
    while data[:3] == _MARK and data[3:6] == _MARK:
        data = data[3:]
    return data


def _as_utf8(data: bytes) -> bytes:
    """A text in UTF-8, whatever it was in; its declaration is taken out."""
    encoding = "utf-16" if data[:2] in _UTF16 else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("cp1252" if encoding == "utf-8" else encoding, "replace")
    return _DECLARED.sub(b"", text.encode("utf-8"))


_REPAIRS = (  # one after the other, until it can be read to its end
    _Repair("without what is before and behind it", _stripped),
    _Repair("as Latin-1", _as_utf8),
    _Repair("with & as a letter", lambda data: BARE_AMPERSAND.sub(b"&amp;", data)),
    _Repair(
        "without control characters",
        lambda data: _CONTROL_NUMBER.sub(b" ", _CONTROL.sub(b" ", data)),
    ),
    _Repair("without its names", lambda data: _TEXTS.sub(b"", data)),
)


def _parse_documents(path: Path, data: bytes, make: XmlMaker) -> XmlFile:
    """What expat makes of all documents in one file, one behind the other."""
    first, *others = re.split(rb"(?<=[/:]gpx>)\s*(?=<)|(?<=[^\xbf])(?=<\?xml)", data)
    read = parse_xml(path, first, make, None if _DECLARED.search(data[:200]) else "utf-8")
    for document in others:
        read.take(parse_xml(path, document, make))
    return read


def xml_repaired(path: Path, data: bytes, read: XmlFile, make: XmlMaker) -> XmlFile:
    """A file that expat does not read to its end: with the first repair by which it does, or as
    far as it can be read. Raises BadTrack for a web page.
    """
    cause, best = read.fault, read
    if _PAGE.match(data[:4096]):
        raise bad_track(
            path,
            "track_kind",
            "is a web page (HTML), not a track",
            "",
            "download the track itself: what came may be the page of a login or of an error",
        )
    for repair in _REPAIRS if len(data) <= REPAIR_BYTES else ():
        data = repair.mend(data)
        tried = _parse_documents(path, data, make)
        if not tried.fault:
            note = f"{path.name} is not quite XML ({cause}): read {repair.words}"
            tried.points().notes.append(note)
            tried.fault = cause
            return tried
        best = max(best, tried, key=lambda one: sum(map(len, one.points().segments)))
    best.points().notes.append(f"{path.name} is not quite XML ({cause}): read up to there")
    best.fault = cause
    return best


def read_xml(source: Source, make: XmlMaker) -> XmlFile:
    """What a file holds, repaired where that is needed."""
    source.handle.seek(0)
    read = parse_xml(source.path, source.handle, make)
    if not read.fault:
        return read
    source.handle.seek(0)
    return xml_repaired(source.path, source.handle.read(REPAIR_BYTES + 1), read, make)


# ---- GPX ----------------------------------------------------------------------------------------
# Here: GPX 1.0 and 1.1 to a Track (topografix.com/GPX/1/1), and a Track to GPX.
# Not here: which files are read.

# What a point says: its attributes, and its children with a slash before their name.
_LAT_ATTRIBUTE, _LON_ATTRIBUTE, _ELE_CHILD, _TIME_CHILD, _COURSE_CHILD = (
    "lat",
    "lon",
    "/ele",
    "/time",
    "/course",
)


_FIX_CHILD, _SAT_CHILD, _DOP_CHILDREN = "/fix", "/sat", ("/hdop", "/pdop")
_UNUSUAL = frozenset([_COURSE_CHILD, _FIX_CHILD, _SAT_CHILD, *_DOP_CHILDREN])
WORST_DOP, _FEWEST_SATS = 20.0, 3.0  # with less a receiver guesses


def _gpx_flaw(fields: Mapping[str, str]) -> str:
    """Why a point is not used by what its receiver says of it; "" if it is."""
    if fields.get(_FIX_CHILD, "").strip().lower() == "none":
        return NO_FIX
    satellites = decimal(fields.get(_SAT_CHILD))
    if satellites == 0:
        return NO_SATELLITES
    poor = satellites is not None and satellites < _FEWEST_SATS
    dops = [decimal(fields.get(name)) for name in _DOP_CHILDREN]
    poor = poor or any(dop is not None and dop > WORST_DOP for dop in dops)
    return BAD_RECEPTION if poor else ""


class _GpxPoint:
    """Reads one point after the other: its attributes and direct children only."""

    def __init__(
        self, parser: "expat.XMLParserType", names: Dict[str, str], times: XmlTimes
    ) -> None:
        self.parser, self.names, self.times = parser, names, times
        self.found = times.found  # where the point goes
        self.depth = 0  # elements open, counted from the point; 0 = outside of points
        self.fields: Dict[str, str] = {}
        self.child = ""  # the field that is being read, "" = none
        self.texts: List[str] = []

    def begin(self, found: Points, attributes: Dict[str, str]) -> None:
        """A point opens."""
        self.depth, self.found, self.fields = 1, found, attributes

    def start(self, name: str) -> None:
        """An element in the point opens."""
        self.depth += 1
        if self.depth == 2 and name in self.names:
            self.child = self.names[name]
            self.parser.CharacterDataHandler = self.texts.append

    def end(self) -> None:
        """The point, or an element in it, closes."""
        depth, self.depth = self.depth, self.depth - 1
        if depth == 1:
            self.take()
        elif depth == 2 and self.child:
            self.fields.setdefault(self.child, "".join(self.texts))
            self.texts.clear()
            self.child = ""
            self.parser.CharacterDataHandler = None

    def take(self) -> None:
        """The point is complete. The usual one goes the short way: this runs 100,000 times."""
        fields = self.fields
        text, height = fields.get(_TIME_CHILD, ""), fields.get(_ELE_CHILD)
        try:
            time = self.times.seconds(text)
            lat, lon = float(fields[_LAT_ATTRIBUTE]), float(fields[_LON_ATTRIBUTE])
            alt = None if height is None else float(height)
            plain_one = (alt is None or abs(alt) < HIGHEST_M) and _UNUSUAL.isdisjoint(fields)
            if plain_one and time >= RECENT_S and not flaw_of(time, lat, lon):
                # half of Fix()
                self.found.segments[-1].append(tuple.__new__(Fix, (time, lat, lon, alt, None)))
                return
        except (KeyError, ValueError):
            pass
        time = iso_seconds(text)
        flaw = _gpx_flaw(fields)
        if flaw and (time >= YEAR_1970_S or not text.strip()):
            self.found.drop(flaw)
            return
        lat_text, lon_text = fields.get(_LAT_ATTRIBUTE), fields.get(_LON_ATTRIBUTE)
        place = decimal(lat_text), decimal(lon_text), decimal(height)
        self.found.add_timed(time, text, place, decimal(fields.get(_COURSE_CHILD)))


_FIELDS = ("ele", "time", "course", "fix", "sat", "hdop", "pdop")


class _GpxFile(XmlFile):
    """GPX 1.0, 1.1 or none, any prefix."""

    clock = "GPX"

    def __init__(
        self, path: Path, parser: "expat.XMLParserType", fields: Sequence[str] = _FIELDS
    ) -> None:
        super().__init__(path, parser)
        self.fields = fields
        self.other = Points(path, self.clock)  # of routes and waypoints
        self.point = _GpxPoint(parser, {}, XmlTimes(self.found))
        self.kinds: Dict[str, Points] = {}
        self.parts: AbstractSet[str] = frozenset()
        self.around = 0  # elements open outside of points

    def points(self) -> Points:
        """The points of the tracks, else of routes and waypoints."""
        return self.found if self.found.any else self.other

    def take(self, more: XmlFile) -> None:
        """Add what another document in the same file holds."""
        if isinstance(more, _GpxFile):
            self.found.take(more.found)
            self.other.take(more.other)
            self.fault = self.fault or more.fault

    def begin(self, name: str, attributes: Dict[str, str]) -> None:
        """The first element opens: all names of GPX have its prefix."""
        self.root = name.rpartition(":")[2]
        mark = name[: len(name) - len(self.root)]
        self.kinds = {
            mark + "trkpt": self.found,
            mark + "rtept": self.other,
            mark + "wpt": self.other,
        }
        self.point.names.update({mark + field: "/" + field for field in self.fields})
        self.parts = {mark + part for part in ("trkseg", "trk", "rte", "wpt")}
        self.parser.StartElementHandler = self.start

    def start(self, name: str, attributes: Dict[str, str]) -> None:
        """An element opens."""
        if self.point.depth:
            self.point.start(name)
        elif name in self.kinds:
            self.point.begin(self.kinds[name], attributes)
        else:
            self.around += 1
        if self.around + self.point.depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} elements within each other")

    def end(self, name: str) -> None:
        """An element closes."""
        if self.point.depth:
            self.point.end()
        else:
            self.around -= 1
        if not self.point.depth and name in self.parts and self.point.found.segments[-1]:
            self.point.found.segments.append([])


def _gpx_again(path: Path, cause: str) -> Track:
    """A GPX of which nothing could be read, offered to gpxpy where that is at hand. Raises BadTrack
    with `cause` otherwise.
    """
    gpxpy, content = second_reader("gpxpy"), path.read_bytes()
    remedy = "repair the file at that place or export the track again"
    if gpxpy is None or b"<!ENTITY" in content:
        raise bad_track(path, "track_damaged", "is not XML that can be read", cause, remedy)
    try:
        gpx = gpxpy.parse(content)
    except (gpxpy.gpx.GPXException, ValueError, LookupError) as error:
        wrong = "is not XML that can be read, by gpxpy neither"
        raise bad_track(path, "track_damaged", wrong, cause, remedy) from error
    found = Points(path, "GPX")
    parts = [segment.points for track in gpx.tracks for segment in track.segments]
    for points in parts or [route.points for route in gpx.routes] + [gpx.waypoints]:
        found.segments.append([])
        for point in points:
            moment = iso_seconds(point.time.isoformat() if point.time else "")
            found.add(moment, point.latitude, point.longitude, point.elevation)
    found.notes.append(f"{path.name} was read with gpxpy ({cause})")
    return found.track()


def read_gpx(source: Source) -> Track:
    """GPX 1.0 and 1.1; routes and waypoints only where there is no track."""
    read = read_xml(source, _GpxFile)
    found = read.points()
    if found.dropped.get(NO_SATELLITES) and not any(found.segments):
        fields = [field for field in _FIELDS if field != "sat"]  # of a logger that writes 0
        read = read_xml(source, functools.partial(_GpxFile, fields=fields))
        found = read.points()
    if read.fault and not found.any:
        return _gpx_again(source.path, read.fault)
    if read.root not in ("gpx", "") and not found.any:
        kind = f"<{read.root[:40]}>"
        raise bad_track(
            source.path, "track_kind", "is XML but no track", kind, "convert it to GPX first"
        )
    lone = found is not read.found and max(map(len, found.segments)) == 1
    if lone and found.any:
        found.notes.append(
            f"{source.path.name} holds only waypoints: images are placed on them alone, and "
            "between two only where they are seconds apart, or with --max_gap"
        )
    return found.track()


def check_gpx_target(path: Union[str, Path]) -> None:
    """Raise CannotWrite when there is a file that write_gpx did not write: a photo, or the track
    itself.
    """
    begin = begin_of(path)
    if begin is not None and b'creator="mapillary_tools"' not in begin:
        wrong = "was not written by --write_gpx"
        raise CannotWrite("not_ours", wrong, file=path, remedy="choose another file name")


def trkpt(fix: Fix) -> str:
    """A point of a track as GPX has it."""
    height = "" if fix.alt is None else f"<ele>{fix.alt:.3f}</ele>"
    time = f"<time>{format_time(fix.time)}</time>"
    return f'<trkpt lat="{fix.lat:.9f}" lon="{fix.lon:.9f}">{height}{time}</trkpt>\n'


GPX_BEGIN = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="mapillary_tools"'
    ' xmlns="http://www.topografix.com/GPX/1/1">\n'
)


def write_gpx(track: Track, path: Union[str, Path]) -> None:
    """Write a track as GPX 1.1: segments, altitude in metres, times UTC to the millisecond. Raises
    CannotWrite.
    """

    def chunks() -> Iterator[bytes]:
        yield (GPX_BEGIN + "<trk>\n").encode("ascii")
        for part in track.segments():
            yield "".join(["<trkseg>\n", *map(trkpt, part), "</trkseg>\n"]).encode("ascii")
        yield b"</trk>\n</gpx>\n"

    check_gpx_target(path)
    write_atomically(path, chunks())


# ---- KML and TCX --------------------------------------------------------------------------------
# Here: KML 2.2 with gx:Track or timed Placemarks, KMZ, and Training Center XML to a Track.
# Not here: expat and its repairs (XML).

UNPACKED_BYTES = 1 << 26  # of a KML in a KMZ


class _Elements(XmlFile):
    """XML whose elements are looked at when they close, with their text where it is wanted."""

    wanted: ClassVar[FrozenSet[str]] = frozenset()  # names, without their prefix

    def __init__(self, path: Path, parser: "expat.XMLParserType") -> None:
        super().__init__(path, parser)
        self.times = XmlTimes(self.found)
        self.open: List[str] = []  # the names of the elements that are open
        self.texts: List[str] = []

    def start(self, name: str, attributes: Dict[str, str]) -> None:
        """An element opens."""
        local = name.rpartition(":")[2]
        if len(self.open) >= DEEPEST:
            raise ValueError(f"more than {DEEPEST} elements within each other")
        self.open.append(local)
        if local in self.wanted:
            self.texts.clear()
            self.parser.CharacterDataHandler = self.texts.append

    def end(self, name: str) -> None:
        """An element closes."""
        local = self.open.pop()
        self.parser.CharacterDataHandler = None
        self.close(local, "".join(self.texts).strip() if local in self.wanted else "")

    def close(self, name: str, text: str) -> None:
        """What an element means, by its name and text; `open` holds those around it."""

    def below(self, *names: str) -> bool:
        """Whether the elements around the one that closes end with these names."""
        return tuple(self.open[-len(names) :]) == names

    def add(self, when: str, place: Sequence[str], course: Optional[float] = None) -> None:
        """Keep a point of these texts: its time, and latitude, longitude, perhaps altitude."""
        lat, lon, alt = (decimal(text) for text in itertools.islice((*place, "", "", ""), 3))
        if lat is None and lon is None:
            self.found.drop(PLACELESS)
            return
        seconds = self.times.seconds(when) if when else math.nan
        if seconds != seconds and when:
            seconds = iso_seconds(when)
        self.found.add_timed(seconds, when, (lat, lon, alt), course)


_TRACK_PARTS = ("when", "coord", "angles")
_UNPAIRED = "in a track with other numbers of times than of places"


class _KmlFile(_Elements):
    """KML: gx:Track, else Placemarks with a time."""

    clock = "KML"
    wanted = frozenset(["when", "begin", "coord", "angles", "coordinates"])

    def __init__(self, path: Path, parser: "expat.XMLParserType") -> None:
        super().__init__(path, parser)
        self.parts: List[Tuple[str, str]] = []  # of a gx:Track: (one of _TRACK_PARTS, its text)
        self.when = ""  # of a Placemark
        self.spot, self.spots = "", 0  # its last point, and how many there are
        self.marks = Points(path, self.clock)  # of all Placemarks

    def points(self) -> Points:
        """The points of tracks, then those of Placemarks: many files tell the same ones twice."""
        self._end_track()
        self.found.take(self.marks)
        self.marks = Points(self.found.path, self.clock)
        return self.found

    def close(self, name: str, text: str) -> None:
        """What an element of KML means."""
        if self.below("Track") and name in _TRACK_PARTS:
            self.parts.append((name, text))
        elif name == "when" and self.below("Placemark", "TimeStamp"):
            self.when = text
        elif name == "begin" and self.below("Placemark", "TimeSpan"):
            self.when = text
        elif name == "coordinates" and self.open[-1:] in (["Point"], ["LineString"]):
            for match in re.finditer(r"\S+", text):
                self.spot, self.spots = match.group(), self.spots + 1
        elif name == "Track":
            self._end_track()
        elif name == "Placemark":
            self._end_placemark()

    def _end_track(self) -> None:
        """Keep the points of the gx:Track that ends."""
        whens, coords, angles = ([t for n, t in self.parts if n == p] for p in _TRACK_PARTS)
        order = [name for name, _ in self.parts if name != "angles"]
        if len(whens) != len(coords) and order != sorted(order, reverse=True):
            whens = self._latest_whens()  # they take turns: each place has the time before it
        if len(whens) != len(coords):
            self.found.drop(_UNPAIRED, len(coords))
            whens = coords = []
        if len(angles) != len(coords):
            angles = []
        self.parts = []
        for when, coord, angle in itertools.zip_longest(whens, coords, angles, fillvalue=""):
            lon, lat, alt = [*coord.split(), "", "", ""][:3]
            self.add(when, (lat, lon, alt), decimal(angle.partition(" ")[0]))
        if self.found.segments[-1]:
            self.found.segments.append([])

    def _latest_whens(self) -> List[str]:
        """The time that stands before each place of a gx:Track, "" where there is none since the
        place before.
        """
        whens, latest = [], ""
        for name, text in self.parts:
            if name == "when":
                latest = text
            elif name == "coord":
                whens.append(latest)
                latest = ""
        return whens

    def _end_placemark(self) -> None:
        """Keep the place of a Placemark that has a time; a line has one for all of it, which is
        none.
        """
        tracks, self.found = self.found, self.marks
        if self.spots == 1:
            lon, lat, alt = [*self.spot.split(","), "", "", ""][:3]
            self.add(self.when, (lat, lon, alt))
        else:
            self.marks.drop(NO_TIME, self.spots)
        self.found, self.when, self.spots = tracks, "", 0


_TRACKPOINT = ("Time", "LatitudeDegrees", "LongitudeDegrees", "AltitudeMeters")


class _TcxFile(_Elements):
    """Training Center XML: the Trackpoints of all activities and courses."""

    clock = "TCX"
    wanted = frozenset(_TRACKPOINT)

    def __init__(self, path: Path, parser: "expat.XMLParserType") -> None:
        super().__init__(path, parser)
        self.fields: Dict[str, str] = {}  # of a Trackpoint

    def close(self, name: str, text: str) -> None:
        """What an element of TCX means."""
        if name == "Trackpoint":
            when, *place = (self.fields.get(field, "") for field in _TRACKPOINT)
            self.add(when, place)
            self.fields = {}
        elif name == "Track" and self.found.segments[-1]:
            self.found.segments.append([])
        elif self.below("Trackpoint") or self.below("Trackpoint", "Position"):
            self.fields[name] = text


def read_tcx(source: Source) -> Track:
    """Training Center XML (Garmin TCX v2)."""
    return read_xml(source, _TcxFile).points().track()


_MEMBERS = 20  # KML files in an archive that are looked at


def _kml_files(source: Source) -> Iterator[bytes]:
    """The KML files in a ZIP archive, doc.kml first. Raises BadTrack."""
    import zipfile
    import zlib

    broken = (zipfile.BadZipFile, zlib.error, LookupError, ValueError, EOFError, OSError)
    try:
        with zipfile.ZipFile(source.handle) as archive:
            within = [one for one in archive.infolist() if kind_of(one.filename) == "kml"]
            within.sort(key=lambda one: one.filename.lower() != "doc.kml")
            for one in within[:_MEMBERS]:
                if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError("another way of packing")
                with archive.open(one) as stream:
                    yield stream.read(UNPACKED_BYTES + 1)
    except (*broken, RuntimeError) as error:  # the last: a password, or a version yet to come
        wrong, remedy = "is a ZIP archive that cannot be unpacked", "unpack it, or export it again"
        cause = "it asks for a password" if "password" in str(error) else ""
        raise bad_track(source.path, "track_damaged", wrong, cause, remedy) from error


def _read_kmz(source: Source) -> XmlFile:
    """The first KML of an archive that tells a point, and what those before it tell of theirs."""
    whole: Optional[XmlFile] = None
    for content in _kml_files(source):
        if len(content) > UNPACKED_BYTES:
            wrong, most = "is too large when unpacked", f"more than {UNPACKED_BYTES >> 20} MB"
            raise bad_track(source.path, "track_large", wrong, most, "split it")
        read = parse_xml(source.path, content, _KmlFile)
        read = xml_repaired(source.path, content, read, _KmlFile) if read.fault else read
        if whole is None:
            whole = read
        else:
            whole.take(read)
        if any(whole.points().segments):
            return whole
    if whole is None:
        wrong, remedy = "is a ZIP archive without a KML in it", "unpack it, and give what is in it"
        raise bad_track(source.path, "track_unknown", wrong, "", remedy)
    return whole


def read_kml(source: Source) -> Track:
    """KML 2.2: the points of gx:Track elements, and of Placemarks that have a time; of a ZIP
    archive those of the KML in it.
    """
    read = _read_kmz(source) if source.family == "zip" else read_xml(source, _KmlFile)
    return read.points().track()


# ---- NMEA ---------------------------------------------------------------------------------------
# Here: NMEA 0183 sentences to points: logs, BlackVue boxes and side files, some cameras' text.
# Not here: where such text is found.

_CLOCK = re.compile(r"([01][0-9]|2[0-4])([0-5][0-9])([0-5][0-9]|60)(\.[0-9]*)?(?![0-9])")
_DAY_MS = 86400000
_ABSENT = 15  # a column that is always empty


_NEAR_MS = 5000  # milliseconds; a sentence that is nearer to a better one gives no place
LAST_RANK = 2  # of sentences that count only where no better one gives a place


class _Columns(NamedTuple):
    """Where a sentence keeps its values (NMEA 0183), counted after its name."""

    rank: int  # of places at one time that of the lowest rank is taken
    clock: int
    place: int  # of latitude, its letter, longitude, its letter
    status: int
    good: str  # the letters of which the status has one where there is a fix
    alt: int = _ABSENT
    course: int = _ABSENT
    date: slice = slice(_ABSENT, _ABSENT + 1)  # ddmmyy, or dd, mm and yyyy
    mode: int = _ABSENT
    dop: int = _ABSENT
    american: bool = False  # the month stands before the day


_DATES = ("ZDA", "PUBX,04")  # sentences that tell a time alone
_COLUMNS = {
    "RMC": _Columns(0, 0, 2, 1, "AD", course=7, date=slice(8, 9), mode=11),
    "PMGNTRK": _Columns(0, 6, 0, 7, "A", alt=4, date=slice(9, 10)),
    "GGA": _Columns(1, 0, 1, 5, "123456789", alt=8, dop=7),
    "GNS": _Columns(1, 0, 1, 5, "ADPRFEMS", alt=8, dop=7),
    "GGK": _Columns(1, 0, 2, 6, "123456789", date=slice(1, 2), american=True),
    "PTNL,GGK": _Columns(1, 0, 2, 6, "123456789", date=slice(1, 2), american=True),
    "PUBX,00": _Columns(1, 0, 1, 6, "DRGT", alt=5, course=11),
    "GLL": _Columns(LAST_RANK, 4, 0, 5, "AD", mode=6),
    "ZDA": _Columns(3, 0, 0, _ABSENT, "", date=slice(1, 4)),
    "PUBX,04": _Columns(3, 0, _ABSENT - 3, _ABSENT, "", date=slice(1, 2)),
}


class _Sentence(NamedTuple):
    """What one sentence says."""

    kind: str
    rank: int
    moment: int  # milliseconds since the midnight UTC before the log begins
    shift: Optional[int]  # ms to add to it to have the time since 1970; None in one without a date
    good: bool  # has a fix
    poor: bool  # with a DOP by which it is a guess
    lat: Optional[float]
    lon: Optional[float]
    alt: Optional[float]
    course: Optional[float]
    stamp: Optional[int]  # milliseconds of the camera clock, in BlackVue logs


def nmea_lines(handle: BinaryIO) -> Iterator[str]:
    """Lines of a log as text. No line can fill the memory."""
    handle.seek(0)
    encoding = encoding_of(handle.read(2))
    handle.seek(0)
    reader = io.TextIOWrapper(handle, encoding=encoding, errors="replace")
    return iter(lambda: reader.readline(LINE_CHARS), "")


def _degrees(text: str, side: str, sides: str) -> Optional[float]:
    """`dddmm.mmmm` and its letter as degrees, None if it is none: minutes are the last two digits
    before the point.
    """
    value, side = decimal(text), side.strip().upper()
    if value is None or side not in tuple(sides):
        return None
    if not 0.0 <= value < 36000.0 or value % 100.0 >= 60.0:
        return None
    return (value // 100.0 + value % 100.0 / 60.0) * (1 if side == sides[0] else -1)


def clock_ms(text: str) -> Optional[int]:
    """`hhmmss.sss` as milliseconds since midnight, None if it is none."""
    match = _CLOCK.match(text)
    if match is None:
        return None
    hour, minute, second, fraction = match.groups("")
    return (int(hour) * 60 + int(minute)) * 60000 + round(float(second + fraction) * 1000)


def day_ms(text: str) -> Optional[int]:
    """`ddmmyy` or `ddmmyyyy` as milliseconds since 1970, None if it is none. Years 70 to 99 are of
    the last century.
    """
    if len(text) not in (6, 8):
        return None
    try:
        day, month, year = int(text[:2]), int(text[2:4]), int(text[4:])
        if len(text) == 6:
            year += 1900 if year >= 70 else 2000
        return round(utc_seconds((year, month, day))) * 1000
    except ValueError:
        return None


def _checksum(text: str) -> str:
    """The exclusive or of the characters between $ and *, as two hexadecimal digits."""
    return f"{functools.reduce(operator.xor, text.encode('latin-1', 'replace'), 0):02X}"


def _moment_after(before: int, clock: int) -> int:
    """The moment of a time of day nearest to the moment before it: logs run over midnight."""
    moment = clock + before // _DAY_MS * _DAY_MS
    if moment - before < -_DAY_MS // 2:
        return moment + _DAY_MS
    return moment - _DAY_MS if moment - before > _DAY_MS // 2 else moment


def _cells_of(body: str) -> List[str]:
    """The values of a sentence, and blanks for those that are not there."""
    cells = [cell.strip() for cell in body.split(",")[:_ABSENT]]
    return cells + [""] * (_ABSENT + 1 - len(cells))


def _day_of(text: str, american: bool) -> Optional[int]:
    """A date in milliseconds since 1970; where the month stands first unless it cannot be one."""
    turned = day_ms(text[2:4] + text[:2] + text[4:]) if american else None
    return day_ms(text) if turned is None else turned


def _sentence(kind: str, cells: List[str], moment: int, stamp: Optional[str]) -> _Sentence:
    """What a sentence says, once its moment is known."""
    at, clock = _COLUMNS[kind], clock_ms(cells[_COLUMNS[kind].clock]) or 0
    north, ns, east, ew = cells[at.place : at.place + 4]
    day = _day_of("".join(cells[at.date]), at.american)
    dop = decimal(cells[at.dop])
    return _Sentence(
        kind=kind,
        rank=at.rank,
        moment=moment,
        shift=None if day is None else day + clock - moment,
        good=bool(set(cells[at.status]) & set(at.good)) and cells[at.mode] != "N",
        poor=dop is not None and dop > WORST_DOP,
        lat=_degrees(north, ns, "NS"),
        lon=_degrees(east, ew, "EW"),
        alt=decimal(cells[at.alt]),
        course=decimal(cells[at.course]),
        stamp=int(stamp) if stamp else None,
    )


def _sentences(lines: Iterable[str], found: Points) -> List[_Sentence]:
    """All sentences with a time, in the order of the log. A wrong checksum (XOR from `$` to `*`)
    drops the line.
    """
    result: List[_Sentence] = []
    before = -1  # moment of the sentence before
    matches = itertools.chain.from_iterable(map(SENTENCE.finditer, lines))
    for stamp, name, body, checksum in (match.groups() for match in matches):
        kind, cells = name if name in _COLUMNS else name[2:], _cells_of(body)
        clock = clock_ms(cells[_COLUMNS[kind].clock])
        if checksum is not None and checksum.upper() != _checksum(f"{name},{body}"):
            found.drop(BAD_CHECKSUM)
        elif clock is None:
            found.drop(NO_FIX)  # receivers send no time until they know it
        else:
            before = _moment_after(before, clock)
            result.append(_sentence(kind, cells, before, stamp))
    return result


def _shifts(sentences: List[_Sentence], found: Points) -> List[Tuple[int, int]]:
    """(index, shift) of the sentences that tell their day: surer ones if there are any, else by the
    camera clock.
    """
    told = [(i, s.shift) for i, s in enumerate(sentences) if s.shift is not None]
    surer = [(i, shift) for i, shift in told if sentences[i].good or sentences[i].kind in _DATES]
    if told:
        found.clock = sentences[(surer or told)[0][0]].kind
        return surer or told
    stamps = [(i, s.stamp - s.moment) for i, s in enumerate(sentences) if s.stamp is not None]
    if stamps:
        found.clock = "time of day from GPS, day from the camera clock"
    return [(i, round(apart / _DAY_MS) * _DAY_MS) for i, apart in stamps]


def _sentence_times(sentences: List[_Sentence], found: Points) -> List[int]:
    """Milliseconds since 1970 of each sentence by the day of the nearest that tells it; empty where
    none does.
    """
    shifts, times, after = _shifts(sentences, found), [], 0
    for i, sentence in enumerate(sentences if shifts else []):
        after += after < len(shifts) and shifts[after][0] < i
        near = [
            (abs(sentences[k].moment - sentence.moment), -k, shift)
            for k, shift in shifts[max(after - 1, 0) : after + 1]
        ]
        times.append(sentence.moment + min(near)[2])
    return times


def _first_choice(good: List[Tuple[int, _Sentence]]) -> List[Tuple[int, _Sentence]]:
    """The sentences without those that may tell the second after, where better ones are near."""
    better = sorted(ms for ms, sentence in good if sentence.rank < LAST_RANK)

    def is_alone(moment: int) -> bool:
        place = bisect.bisect_left(better, moment)
        near = better[max(place - 1, 0) : place + 1]
        return all(abs(ms - moment) > _NEAR_MS for ms in near)

    return [item for item in good if item[1].rank < LAST_RANK or is_alone(item[0])]


def add_sentences(lines: Iterable[str], found: Points) -> Optional[float]:
    """Points from the sentences in `lines`: at one time the place of RMC before GGA before GLL, the
    altitude of GGA.

    Returns how many seconds the stamps of the camera clock are behind the UTC of RMC, None without
    either.
    """
    sentences = _sentences(lines, found)
    timed = list(zip(_sentence_times(sentences, found), sentences))
    if not timed:
        found.drop(NO_DATE, sum(sentence.good for sentence in sentences))
    poor = {ms for ms, sentence in timed if sentence.good and sentence.poor}
    good = _first_choice([item for item in timed if item[1].good and item[0] not in poor])
    places = sorted(good, key=lambda item: (item[0], item[1].rank))
    found.drop(BAD_RECEPTION, len(poor))
    void = {ms for ms, sentence in timed if not sentence.good and sentence.kind not in _DATES}
    found.drop(NO_FIX, len(void.difference(ms for ms, _ in places)))
    for ms, group in itertools.groupby(places, key=lambda item: item[0]):
        _add_place(ms / 1000.0, [sentence for _, sentence in group], found)
    timely = [(ms, s.stamp) for ms, s in places if s.kind == "RMC" and s.stamp is not None]
    delays = [(ms - stamp) / 1000.0 for ms, stamp in timely]
    return median(delays) if delays else None


def _add_place(when: float, same: List[_Sentence], found: Points) -> None:
    """The place of all sentences of one time, best first."""
    found.drop(TWICE, sum(sentence.kind == same[0].kind for sentence in same[1:]))
    alt = next((sentence.alt for sentence in same if sentence.alt is not None), None)
    found.add(when, same[0].lat, same[0].lon, alt, same[0].course)


def read_nmea(source: Source) -> Track:
    """A log of NMEA 0183 sentences: RMC, GGA, GLL, ZDA of any talker, $PMGNTRK."""
    found = Points(source.path, "NMEA")
    add_sentences(nmea_lines(source.handle), found)
    return found.track()


# ---- FIT ----------------------------------------------------------------------------------------
# Here: the records of Garmin's FIT (developer.garmin.com/fit): watches, bicycle computers, VIRB.
# Not here: other messages than those with a place or a time.

_FIT_EPOCH = 631065600.0  # 1989-12-31 UTC in seconds since 1970
_FIT_SYSTEM = 0x10000000  # a lower time counts from when the device was switched on
_SEMICIRCLE = 180.0 / (1 << 31)  # degrees
_FIT_NUMBERS = {  # the lower five bits of a base type -> as the struct module has it, none
    **{1: ("b", 0x7F), 2: ("B", 0xFF), 3: ("h", 0x7FFF), 4: ("H", 0xFFFF), 5: ("i", 0x7FFFFFFF)},
    **{6: ("I", 0xFFFFFFFF), 12: ("I", 0), 11: ("H", 0), 10: ("B", 0), 0: ("B", 0xFF)},
}
_FIT_TIME = 253  # the field of every message that tells a time
_RECORD, _EVENT, _GPS_DATA, _CORRELATION = 20, 21, 160, 162  # message numbers
_FIT_WANTED = {  # their fields
    _RECORD: (0, 1, 2, 78, _FIT_TIME),
    _EVENT: (0, 1, _FIT_TIME),
    _GPS_DATA: (0, 1, 2, 3, 5, 6, _FIT_TIME),
    _CORRELATION: (1, 4, 5, _FIT_TIME),
}
_STOPS = (1, 4, 8, 9)  # event types: stop, stop all, and both of them for good


class _FitField(NamedTuple):
    """A field of a message that is read."""

    number: int
    start: int  # bytes from the begin of the message
    layout: struct.Struct
    none: int  # the value that stands for none


class _FitForm(NamedTuple):
    """How the messages of a local type are laid out, until it is defined anew."""

    message: int  # its global number
    size: int  # bytes
    fields: List[_FitField]


_FitValues = Dict[int, int]  # by the number of a field; one that has none is not there


class _FitReader:
    """The messages of a file, one after the other; it may hold several files."""

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.place = self.end = 0  # of the next byte, and of the file that it belongs to
        self.last = 0  # the last time, as it is written
        self.forms: Dict[int, _FitForm] = {}

    def messages(self) -> Iterator[Tuple[int, _FitValues]]:
        """(global number, values) of each message that is wanted. ValueError where the file is cut
        or damaged.
        """
        while self.block[self.place + 8 : self.place + 12] == b".FIT":
            begin, size = self.place, self.block[self.place]
            (length,) = struct.unpack_from("<I", self.block, begin + 4)
            # 0: it was never finished
            self.end = begin + size + length if length else len(self.block)
            self.place, self.forms = begin + size, {}
            while self.place < self.end:
                found = self._message()
                if found is not None:
                    yield found
            self.place = self.end + 2  # behind its checksum

    def _bytes(self, size: int) -> bytes:
        """The next bytes of this file."""
        block = self.block[self.place : self.place + size]
        if len(block) < size or self.place + size > self.end:
            raise ValueError(f"cut off at byte {min(len(self.block), self.end)}")
        self.place += size
        return block

    def _message(self) -> Optional[Tuple[int, _FitValues]]:
        """The next message, None for a definition and for one that is not wanted."""
        begin = self.place
        head = self._bytes(1)[0]
        if head & 0xC0 == 0x40:
            self.forms[head & 15] = self._definition(bool(head & 0x20))
            return None
        form = self.forms.get(head >> 5 & 3 if head & 0x80 else head & 15)
        if form is None:
            raise ValueError(f"no definition of the message at byte {begin}")
        content = self._bytes(form.size)
        values = {}
        for field in form.fields:
            (value,) = field.layout.unpack_from(content, field.start)
            if value != field.none:
                values[field.number] = value
        if head & 0x80:  # the lower five bits of its time
            values[_FIT_TIME] = self.last + ((head & 31) - self.last & 31)
        self.last = values.get(_FIT_TIME, self.last)
        return (form.message, values) if form.message in _FIT_WANTED else None

    def _definition(self, developer: bool) -> _FitForm:
        """What a definition says of the messages to come."""
        _, big, number, count = struct.unpack("<BBHB", self._bytes(5))
        if big:
            number = number >> 8 | (number & 255) << 8
        fields, start = [], 0
        for field, size, base in struct.iter_unpack("BBB", self._bytes(3 * count)):
            kind, none = _FIT_NUMBERS.get(base & 31, ("", 0))
            wanted = field == _FIT_TIME or field in _FIT_WANTED.get(number, ())
            if wanted and kind and struct.calcsize("=" + kind) == size:
                layout = struct.Struct((">" if big else "<") + kind)
                fields.append(_FitField(field, start, layout, none))
            start += size
        if developer:
            start += sum(self._bytes(3 * self._bytes(1)[0])[1::3])
        return _FitForm(number, start, fields)


class _FitMessages:
    """The messages of a file that tell places and times."""

    def __init__(self, block: bytes, found: Points) -> None:
        self.found = found
        self.records: List[List[_FitValues]] = [[]]  # segments
        self.gps: List[_FitValues] = []
        self.shifts: List[float] = []  # seconds from the device's own time to UTC
        try:
            for message, values in _FitReader(block).messages():
                self._take(message, values)
        except (ValueError, struct.error) as error:
            found.notes.append(f"{found.path.name} is damaged: {error}; read up to there")

    def _take(self, message: int, values: _FitValues) -> None:
        """Put a message where it belongs."""
        if message == _RECORD and 0 in values and 1 in values:
            self.records[-1].append(values)
        elif message == _RECORD:
            self.found.drop(NO_FIX)
        elif message == _GPS_DATA and 1 in values and 2 in values:
            self.gps.append(values)
        elif message == _CORRELATION and _FIT_TIME in values and 1 in values:
            milli = values.get(4, 0) - values.get(5, 0)
            self.shifts.append(values[_FIT_TIME] - values[1] + milli / 1000.0)
        elif message == _EVENT and values.get(0) == 0 and values.get(1) in _STOPS:
            if self.records[-1]:
                self.records.append([])


def _own_seconds(values: _FitValues) -> float:
    """The time of a GPS message, by the device's own clock."""
    return values.get(_FIT_TIME, 0) + values.get(0, 0) / 1000.0


def _gps_shift(told: _FitMessages) -> Optional[float]:
    """Seconds from the device's own clock to UTC; None = not known.

    The UTC in a message is cut to whole seconds: the largest difference is the nearest to the
    truth, but for those that are more than a second off.
    """
    apart = [values[6] - _own_seconds(values) for values in told.gps if 6 in values]
    if apart:
        middle = median(apart)
        return max(shift for shift in apart if shift <= middle + 1.0)
    return told.shifts[0] if told.shifts else None


def _add_fit(
    found: Points, values: _FitValues, seconds: Optional[float], numbers: Sequence[int]
) -> None:
    """Keep the place in a message, whose time is in seconds of FIT; None = not known. numbers are
    those of the fields of latitude, longitude, and altitudes, of which the first counts.
    """
    lat, lon = (values[number] * _SEMICIRCLE for number in numbers[:2])
    height = next((values[number] for number in numbers[2:] if number in values), None)
    heading = values.get(5)
    found.add(
        None if seconds is None else seconds + _FIT_EPOCH,
        lat,
        lon,
        None if height is None else height / 5.0 - 500.0,
        None if heading is None else heading / 100.0,
    )


def read_fit(source: Source) -> Track:
    """A FIT file: the ten places a second of a VIRB, else the records."""
    block = source.read(MovieBox(b"", 0, source.size))
    found = Points(source.path, "FIT")
    told, shift = _FitMessages(block, found), 0.0
    if told.gps:
        gps, shift = Points(source.path, "FIT GPS"), _gps_shift(told) or math.nan
        for values in told.gps:
            own = _own_seconds(values)
            known = own if own >= _FIT_SYSTEM else own + shift
            _add_fit(gps, values, known if known == known else None, (1, 2, 3))
        if any(gps.segments):
            gps.notes = found.notes
            return gps.track()
    late = told.shifts[0] if told.shifts else None
    for segment in told.records:
        found.segments.append([])
        for values in segment:
            _add_fit(found, values, _record_seconds(values, late), (0, 1, 78, 2))
    return found.track()


def _record_seconds(values: _FitValues, shift: Optional[float]) -> Optional[float]:
    """The time of a record in seconds of FIT; shift = from the device's own time, None = not
    known.
    """
    time = values.get(_FIT_TIME)
    if time is None or time >= _FIT_SYSTEM:
        return time
    return None if shift is None else time + shift


# ---- Subtitles ----------------------------------------------------------------------------------
# Here: DJI's subtitles (.srt), and those of Autel, to a Track.
# Not here: boxes of movies; when a video began by its own header.

_DECIMAL = r"\s*[:=]\s*([-+]?\d+(?:[.,]\d+)?)"
_NAMED_LAT = re.compile(r"\blatitude" + _DECIMAL + r"\s*\u00b0?\s*([NS]?)\b", re.IGNORECASE)
_NAMED_LON = re.compile(r"\blongt?itude" + _DECIMAL + r"\s*\u00b0?\s*([EW]?)\b", re.IGNORECASE)
_NAMED_ALT = re.compile(r"\b(?:abs_alt|altitude)" + _DECIMAL, re.IGNORECASE)
_IN_BRACKETS = re.compile(
    r"\bGPS\s*\(\s*([-+]?\d+(?:\.\d+)?)\s*,\s*([-+]?\d+(?:\.\d+)?)"
    r"(?:\s*,\s*([-+]?\d+(?:\.\d+)?)\s*(M?))?",
    re.IGNORECASE,
)
_BY_LETTERS = re.compile(  # of Autel: GPS(E: 8.2, N: 47.1, 400.00m)
    r"\bGPS\s*\(\s*(?=[^)]*\b([NS]):\s*(\d+(?:\.\d+)?))(?=[^)]*\b([EW]):\s*(\d+(?:\.\d+)?))"
    r"(?:[^),]*,){2}\s*(-?\d+(?:\.\d+)?)?",
    re.IGNORECASE,
)
_OWN_HEIGHT = re.compile(r"\bBAROMETER\b|\bH\s+-?\d|\bH[bs]:", re.IGNORECASE)
_SRT_DATE = re.compile(
    r"(\d{4}[-./]\d{1,2}[-./]\d{1,2})[ T]+(\d{1,2}:\d\d:\d\d)(?:[.,](\d{3}))?(?:[.,](\d{3}))?"
)


class _Cue(NamedTuple):
    """What one subtitle tells. None = not known."""

    video: float  # seconds of video time
    local: Optional[float]  # seconds since 1970, by the camera's local clock
    place: Tuple[float, float, Optional[float]]  # latitude, longitude, altitude


def by_side(number: str, letter: str = "") -> float:
    """A number with a decimal point or comma, negative by the letter of its side."""
    value = float(number.replace(",", "."))
    return -abs(value) if letter.upper() in ("S", "W") else value


def _place_in(text: str) -> Optional[Tuple[float, float, Optional[float]]]:
    """Latitude, longitude and altitude that a subtitle tells; None = none.

    The older `GPS(longitude, latitude, n)` has the number of satellites as n where the line tells a
    height of its own; with metres, `GPS(latitude, longitude, 12.0M)`, it has latitude first.
    """
    lat, lon, alt = (one.search(text) for one in (_NAMED_LAT, _NAMED_LON, _NAMED_ALT))
    if lat and lon:
        return (
            by_side(*lat.groups()),
            by_side(*lon.groups()),
            by_side(alt.group(1)) if alt else None,
        )
    match = _BY_LETTERS.search(text)
    if match is not None:
        north, up, east, right, high = match.groups()
        return by_side(up, north), by_side(right, east), decimal(high)
    match = _IN_BRACKETS.search(text)
    if match is None:
        return None
    first, second = float(match.group(1)), float(match.group(2))
    third = decimal(match.group(3))
    if match.group(4):
        return first, second, third
    return second, first, None if _OWN_HEIGHT.search(text) else third


def _local_in(text: str) -> Optional[float]:
    """The local time in a subtitle, seconds as if UTC; None = none."""
    match = _SRT_DATE.search(text)
    if match is None:
        return None
    day, clock, milli, micro = match.groups()
    return parse_time(f"{day} {clock}.{milli or '0'}{micro or ''}")


def _cues(lines: Iterable[str]) -> Iterator[_Cue]:
    """The subtitles that tell a place."""
    video: Optional[float] = None
    texts: List[str] = []
    for line in itertools.chain(lines, ["\n"]):
        match = CUE.search(line)
        if match is not None:
            hours, minutes, seconds, part = match.groups()
            video = int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float("0." + part)
            texts.clear()
        elif line.strip():
            texts = [*texts[-9:], line]
        elif video is not None:
            text = " ".join(texts)
            place = _place_in(text)
            if place is not None:
                yield _Cue(video, _local_in(text), place)
            video = None


def created_beside(path: Path) -> Tuple[Optional[float], str]:
    """(seconds UTC at which a video of the same name was created, as it says; its name)."""
    for video in called_alike(path):
        if kind_of(video.name) in VIDEO_KINDS:
            with open_file(video) as handle:
                return Source(handle, video).header.creation_time, video.name
    return None, ""


def zone_between(local: float, created: Optional[float]) -> float:
    """Seconds ahead of UTC of a local clock that shows this when it is that in UTC; 0 where the two
    do not tell.
    """
    apart = 0.0 if created is None else local - created
    zone = min(OFFSETS_IN_USE, key=lambda offset: abs(offset - apart))
    return zone if abs(zone - apart) <= AGREE_S else 0.0


def _zero_between_seconds(pairs: Sequence[Tuple[float, float]]) -> Optional[float]:
    """The local time at which a video began, by subtitles of (video time, local time) that come
    several a second and are dated to the second: each is in its second. None for others.
    """
    zeros = [local - video for video, local in pairs]
    whole = all(local % 1 == 0 for _, local in pairs)
    if not whole or len(pairs) < 3 or is_uneven(pairs):
        return None
    early, late = max(zeros), min(zeros) + 1.0
    return (early + late) / 2 if -0.1 < late - early < 0.6 else None


def _dated(cues: Sequence[_Cue], created: Optional[float]) -> Tuple[float, List[Sample]]:
    """(seconds ahead of UTC of the local clock, the places) of subtitles that have dates."""
    pairs = [(cue.video, cue.local) for cue in cues if cue.local is not None]
    zeros = [local - video for video, local in pairs]
    zone = zone_between(zeros[0] if is_uneven(pairs) else median(zeros), created)
    zero, samples = _zero_between_seconds(pairs), []
    for cue in cues:
        local = cue.local if zero is None else zero + cue.video
        samples.append(Sample(cue.video, None if local is None else local - zone, *cue.place))
    return zone, samples


def read_srt(source: Source) -> Track:
    """The subtitles of a DJI drone. Their date is local: the video beside it tells the zone."""
    found = Points(source.path, "SRT")
    cues = list(_cues(nmea_lines(source.handle)))
    created, name = created_beside(source.path)
    if all(cue.local is None for cue in cues):
        samples = [Sample(cue.video, None, *cue.place) for cue in cues]
        found.empty = UNDATED if samples and created is None else NO_POINTS
        if created is not None:
            take_first(found, [Choice(CAMERA_CLOCK, samples, created)])
        return found.track()
    zone, samples = _dated(cues, created)
    clock = f"SRT, zone {format_offset(zone)} by {name}" if zone else CAMERA_CLOCK
    take_first(found, [Choice(clock, samples)])
    return found.track()


# ---- Tables of points ---------------------------------------------------------------------------
# Here: tables of points with headings (CSV) to a Track.
# Not here: rows and cells.

_HEADINGS = {  # what a column is called, without blanks, signs, units and what stands before it
    "date": (
        *("date", "day", "yyyymmdd", "utcd", "dateutc", "utcdate"),
        *("datum", "fecha", "data", "jour", "giorno"),
    ),
    "time": (
        *("time", "timestamp", "datetime", "dateandtime", "datetimes", "utctime", "isotime"),
        *("iso8601", "epoch", "epochtime", "unix", "unixtime", "unixtimestamp", "capturetime"),
        *("utc", "timeofday", "recordedat", "utcdatetime", "hhmmss", "utct"),
        *("heure", "uhrzeit", "zeit", "hora", "ora", "tijd", "tid", "czas", "zeitstempel"),
    ),
    "lat": ("lat", "latitude", "latitud", "latitudine", "breite", "breitengrad"),
    "lon": (
        *("lon", "lng", "long", "longitude", "longitud", "longitudine"),
        *("lngengrad", "laengengrad", "lnge", "laenge"),  # with and without its umlaut
    ),
    "alt": (
        *("alt", "altitude", "ele", "elevation", "elev", "height", "altitudemsl", "heightmsl"),
        *("altitudeabovesealevel", "hhe", "hoehe", "altitud", "altezza", "hauteur"),
    ),
    "course": ("course", "heading", "bearing", "track", "cog", "direction", "azimuth", "hdg"),
    "ns": ("ns", "northsouth", "nors", "latituderef", "latref", "nsindicator"),
    "ew": ("ew", "eastwest", "eorw", "longituderef", "lonref", "ewindicator"),
    "fix": ("valid", "fix", "fixtype", "fixstatus"),
    "zone": ("utcofst", "utcoffset", "timezone", "tz", "zone", "offset"),
}
_CELL = 200  # characters of a cell that are looked at: no number or time has more
_NO_FIX_WORDS = ("no fix", "nofix", "none", "invalid", "v", "no", "false")
_TOO_WIDE = "in rows with more cells than headings (a decimal comma between commas?)"
_OPTIONAL_ROLES = ("course", "ns", "ew", "zone", "fix")
_PLACE_ROLES = ("lat", "lon")
_LOOKED_AT = 200  # rows by which a column is known
_UNIT = re.compile(r"[(\[].*?[)\]]")
_BEFORE = re.compile(
    r"^(?:gps|gnss|location|loc|position|pos|osd|custom|point|fix|wgs84|lcl)+(?=[a-z])"
)
_BEHIND = re.compile(
    r"(?<=[a-z])(?:deg|degrees|degree|dd|wgs84|utc|gmt|meters|metres|ms|m|feet|ft|ns|ew|s|z)$"
)
_FEET = re.compile(r"(?<![a-z])(?:feet|ft)(?![a-z])", re.IGNORECASE)
_EPOCH_FROM = 1e8  # a smaller number beside a date is a time of day
_ELAPSED = ("time", "utc", "timeofday")  # headings that may be those of seconds since the begin
_UTC_WORD = re.compile(r"utc|gmt", re.IGNORECASE)
FOOT = 0.3048  # metres
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:[Ee][-+]?\d{1,2})?$")
_COMPACT = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)[T ]?(\d\d)(\d\d)(\d\d)((?:\.\d+)?Z?)$")
_TIME_OF_DAY = re.compile(r"(\d{1,2}):?(\d\d)(?::?(\d\d))?([.,]\d+)?\s*([AaPp][Mm])?(.*)$")
_DAY = (  # how days are written; the last one may have day or month first
    re.compile(r"(?P<y>\d{4})[-/.:](?P<m>\d{1,2})[-/.:](?P<d>\d{1,2})$"),
    re.compile(r"(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)$"),
    re.compile(r"(?P<y>\d\d)(?P<m>0\d|1[012])(?P<d>\d\d)$"),
    re.compile(r"(?P<d>\d\d)(?P<m>0\d|1[012])(?P<y>\d\d)$"),
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4}|\d\d)$"),
)
_SERIAL_DAYS = (36892.0, 73051.0)  # days of a spreadsheet from 2001 to 2099
_SERIAL_1970 = 25569.0  # 1970-01-01 among them
_CLOCK_DIGITS = re.compile(
    r"^\d{1,6}(?=(?:\.\d*)?Z?$)"
)  # 91502 is 09:15:02, as a spreadsheet has it
_ZONED = re.compile(r"\d\s*(?:Z|UTC|GMT|[-+]\d\d:?\d\d)$", re.IGNORECASE)  # a time with its zone
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d,])")  # 1,312.5, beside a decimal point
_MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"
_NAMED_DAY = re.compile(r"(\d{1,2})[- ]([A-Za-z]{3})[- ](\d{4})$")
_IN_WORDS = re.compile(  # Thu Mar 04 05:01:30 GMT+00:00 2021
    r"(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2}) (\d{1,2}) ([\d:.]+) "
    r"(?:GMT|UTC)?([-+]\d\d:?\d\d)? ?(\d{4})$"
)
_EITHER_DAY = re.compile(r"(\d{1,2})[-/](\d{1,2})[-/](\d{4})(?!\d)")
_ANY_DAY = re.compile(r"\d\d[-/]\d\d[-/]\d\d(?!\d)")
_QUANTITY = re.compile(r"([-+]?\d+(?:[.,]\d+)?)\s*((?:m|meters|metres|ft|feet)?)$")
_SIDED = re.compile(r"([NSEWnsew]?)\s*([-+]?\d+(?:[.,]\d*)?)\s*\u00b0?\s*([NSEWnsew]?)$")


def role_of(heading: str) -> str:
    """What a column of a table holds, by its heading: a key of _HEADINGS, "" for none of them."""
    word = re.sub(r"[^a-z0-9]", "", _UNIT.sub("", heading[:_CELL].lower()))
    for name in (word, _BEFORE.sub("", word), _BEHIND.sub("", _BEFORE.sub("", word))):
        for role, names in _HEADINGS.items():
            if name in names:
                return role
    return ""


class _Layout(NamedTuple):
    """Which column of a table holds what; None = none does."""

    lat: int
    lon: int
    time: Optional[int]
    date: Optional[int]
    alt: Optional[int]
    course: Optional[int]
    ns: Optional[int]
    ew: Optional[int]
    offset: Optional[int]  # the zone of each row
    fix: Optional[int]  # whether the receiver knew its place
    columns: int  # how many there are
    feet: bool  # the altitude is in feet
    zone: str  # "Z" where the headings say that times are UTC


def _rank_of_time(heading: str, dated: bool) -> Tuple[bool, bool, bool, bool]:
    """How good a heading of times is: not elapsed, in UTC, not local, of a whole time where there
    is no date.
    """
    text = heading.lower()
    whole = not dated and re.sub(r"[^a-z]", "", text) not in _ELAPSED
    return not _COUNTED.search(text), bool(_UTC_WORD.search(text)), "local" not in text, whole


_COUNTED = re.compile(r"[(\[](?:ms|s|sec|(?:milli)?seconds?)[)\]]|elapsed|uptime")


def _no_columns(path: Path, headings: Sequence[str], missing: Sequence[str]) -> BadTrack:
    """The error for a table without some of the columns that a track needs."""
    return bad_track(
        path,
        "track_columns" if len(missing) < 3 else "track_unknown",
        f"is a table without a column that is named {' or '.join(missing)}",
        ", ".join(heading.strip()[:40] for heading in headings[:30]),
        "name the columns in the first row: time, latitude, longitude, altitude, heading",
    )


def _roles(headings: Sequence[str]) -> Dict[str, int]:
    """The column of each key of _HEADINGS that a table has."""
    places: Dict[str, int] = {}
    dated = any(role_of(heading) == "date" for heading in headings)
    rank = functools.partial(_rank_of_time, dated=dated)
    for place, heading in enumerate(headings):
        role = role_of(heading)
        better = role == "time" and role in places and rank(heading) > rank(headings[places[role]])
        if role and (role not in places or better):
            places[role] = place
    return places


def _layout(path: Path, headings: Sequence[str]) -> _Layout:
    """The layout of a table; raises BadTrack where what is needed is not there."""
    places = _roles(headings)
    at = places.get
    lat, lon, time, date, alt = at("lat"), at("lon"), at("time"), at("date"), at("alt")
    if lat is None or lon is None or time is None and date is None:
        needed = {"latitude": lat, "longitude": lon, "time": date if time is None else time}
        raise _no_columns(path, headings, [name for name in needed if needed[name] is None])
    feet = alt is not None and bool(_FEET.search(headings[alt]))
    told = " ".join(headings[place] for place in (time, date) if place is not None)
    zone = "Z" if _UTC_WORD.search(told) else ""
    course, ns, ew, offset, fix = map(at, _OPTIONAL_ROLES)
    most = len(headings)
    return _Layout(lat, lon, time, date, alt, course, ns, ew, offset, fix, most, feet, zone)


def _day_first(path: Path, texts: Iterable[str]) -> bool:
    """Whether days of the form 03/04/2024 have the day first; raises BadTrack where no row of the
    column tells.
    """
    days = list(texts)
    sample = next((match.group() for match in map(_ANY_DAY.match, days) if match), "")
    for match in filter(None, map(_EITHER_DAY.match, days)):
        if int(match.group(1)) > 12:
            return True
        if int(match.group(2)) > 12:
            return False
        sample = sample or match.group()
    if not sample:
        return True
    wrong, remedy = "has dates that can be read in two ways", "write them as 2024-03-04"
    raise bad_track(path, "track_dates", wrong, sample, remedy)


def _iso_day(text: str, day_first: bool) -> str:
    """A day as 2024-05-31, "" where it is none."""
    for form in _DAY:
        match = form.match(text)
        if match is not None:
            year, month, day = match.group("y", "m", "d")
            return f"{int(year) + (2000 if len(year) == 2 else 0)}-{month}-{day}"
    named = _NAMED_DAY.match(text)
    if named is not None:
        of_month, month, year = named.groups()
        place = _MONTHS.find(month.lower())
        return f"{year}-{place // 3 + 1}-{of_month}" if place % 3 == 0 else ""
    match = _EITHER_DAY.match(text)
    if match is None:
        return ""
    one, other, year = match.groups()
    day, month = (one, other) if day_first else (other, one)
    return f"{year}-{month}-{day}"


def _by_size(value: float) -> float:
    """Seconds since 1970 of a count of seconds, milliseconds, microseconds or nanoseconds."""
    for limit, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
        if value >= limit:
            return value / unit
    return value


def _seconds_ahead(zone: str, local: float) -> float:
    """Seconds ahead of UTC by the cell of a zone, at a local time: hours, minutes or seconds, an
    offset or a name; NaN where it cannot be read, 0 for a zone of UTM.
    """
    number = decimal(zone.replace(",", "."))
    if number is not None:
        for unit, least in ((3600.0, 0.0), (60.0, 60.0), (1.0, 900.0)):
            if (
                least <= abs(number)
                and abs(number * unit) <= 14 * 3600
                and number * unit % 900 == 0
            ):
                return number * unit
    if re.match(r"\d{1,2}\s*[C-Xc-x]?$", zone):
        return 0.0
    if zone.lower() == "local":
        return math.nan
    try:
        return zone_offset(zone, local)
    except UsageError:
        return math.nan


class _TableTimes:
    """The times in the rows of a table."""

    def __init__(self, found: Points, day_first: bool, zone: str, digits: int) -> None:
        self.day_first = day_first
        self.zone = zone  # of times that name none, "" = not known
        self.digits = digits  # of a time of day without colons: 6 with seconds, 4 without
        self.times = XmlTimes(found)

    def seconds(self, day: str, text: str, zone: str = "") -> float:
        """Seconds UTC of the cells of date, time and zone, NaN where they cannot be read."""
        if not text:  # the whole time is in the column of the date
            day, text = "", day
        if _NUMBER.match(text) and not _COMPACT.match(text):
            value = float(text.replace(",", "."))
            if not day and value % 1 and _SERIAL_DAYS[0] <= value < _SERIAL_DAYS[1]:
                return round((value - _SERIAL_1970) * DAY_S, 3)
            if not day or value >= _EPOCH_FROM:
                return _by_size(value)
        if not zone or self.zone or _ZONED.search(text):
            return self._local(day, text)
        local = self._local(day, text + "Z")
        return local if math.isnan(local) else local - _seconds_ahead(zone, local)

    def _local(self, day: str, text: str) -> float:
        """Seconds of the cells of date and time, which is no count of seconds."""
        words = _IN_WORDS.match(text)
        if words is not None:
            name, of_month, clock, zone, year = words.groups("")
            return self._iso(_iso_day(f"{of_month} {name} {year}", True), clock + (zone or "Z"))
        compact = _COMPACT.match(text)
        if compact is not None:
            year, month, of_month, hour, minute, second, rest = compact.groups()
            return self._iso(f"{year}-{month}-{of_month}", f"{hour}:{minute}:{second}{rest}")
        if not day or re.match(r"\d+[-/.]\d+[-/.]", text):  # a whole time in one cell
            day, _, text = re.sub(r"(?<=\d)T(?=\d)", " ", text, count=1).partition(" ")
        text = _CLOCK_DIGITS.sub(lambda match: match.group().zfill(self.digits), text.strip())
        return self._iso(_iso_day(day.strip(" ,"), self.day_first), text)

    def _iso(self, day: str, text: str) -> float:
        """Seconds UTC of a day and a time of day with or without a zone."""
        match = _TIME_OF_DAY.match(text)
        if not day or match is None:
            return math.nan
        hour, minute, second, part, half, zone = match.groups("")
        if half:
            hour = str(int(hour) % 12 + (12 if half.lower() == "pm" else 0))
        year, month, of_month = day.split("-")
        date = f"{int(year):04d}-{int(month):02d}-{int(of_month):02d}"
        clock = f"{int(hour):02d}:{minute}:{second or '00'}{part.replace(',', '.')}"
        zone = zone.strip().replace("UTC", "Z").replace("GMT", "Z") or self.zone
        return self.times.seconds(f"{date}T{clock}{zone}")


def _cell(cells: Sequence[str], place: Optional[int]) -> str:
    """A cell of a row, "" where there is none; its begin, where it is longer than any value."""
    return cells[place][:_CELL].strip() if place is not None and place < len(cells) else ""


def _sided(text: str, side: str, letters: str, limit: float) -> Optional[float]:
    """Degrees with or without a letter, in their cell or beside it, or with minutes and seconds;
    None where nothing is written, NaN where it is no coordinate.
    """
    if not text:
        return None
    match = _SIDED.match(text)
    if match is None:
        written = coordinate(text, side, letters, limit)
        return math.nan if written is None else written
    letter = (match.group(1) or match.group(3) or side[:1]).upper()
    if letter not in ("", "N", "S", "E", "W"):
        return math.nan  # in a language in which nobody knows what it means
    return by_side(match.group(2), letter)


def _row_place(
    cells: Sequence[str], layout: _Layout
) -> Tuple[Optional[float], Optional[float], Optional[float]]:
    """Latitude, longitude and altitude of a row."""
    lat = _sided(_cell(cells, layout.lat), _cell(cells, layout.ns), "NS", 90.0)
    lon = _sided(_cell(cells, layout.lon), _cell(cells, layout.ew), "EW", 180.0)
    text = _cell(cells, layout.alt)
    if "." in _cell(cells, layout.lat):  # so a comma in a number is none of decimals
        text = _GROUPED.sub(lambda number: number.group().replace(",", ""), text)
    match = _QUANTITY.match(text)
    alt = decimal(match.group(1).replace(",", ".") if match else text)
    feet = layout.feet or match is not None and match.group(2).startswith("f")
    return lat, lon, alt * FOOT if feet and alt is not None else alt


def _begins_table(cells: Iterable[str]) -> bool:
    """Whether a row of cells has the headings of a track."""
    return set(map(role_of, cells)).issuperset(_PLACE_ROLES)


def _headings_at(table: Sequence[TableRow]) -> int:
    """The index of the row of headings, which may have remarks before it."""
    rows = enumerate(table[:REMARKS])
    return next((number for number, row in rows if _begins_table(row.cells)), 0)


def _mark_of(text: str) -> str:
    """What stands between the cells of a table, by its headings, else by its first line."""
    lines = (line for line in io.StringIO(text, newline=None) if line.strip())
    first = list(itertools.islice(lines, REMARKS))
    marks = [separator_of(line) for line in first]
    headings = (
        mark for line, mark in zip(first, marks) if mark and _begins_table(line.split(mark))
    )
    return next(headings, marks[0] if marks else "") or ","


def _add_row(cells: Sequence[str], layout: _Layout, times: _TableTimes, found: Points) -> None:
    """Keep the point in a row."""
    day, text = _cell(cells, layout.date), _cell(cells, layout.time)
    lat, lon, alt = _row_place(cells, layout)
    if any(cell.strip() for cell in cells[layout.columns :]):
        found.drop(_TOO_WIDE)
    elif lat is None and lon is None:
        found.drop(PLACELESS)
    elif _cell(cells, layout.fix).lower() in _NO_FIX_WORDS:
        found.drop(NO_FIX)
    elif layout.date is None and re.match(r"\d{1,2}:\d\d", text):
        found.drop(DATELESS)
    else:
        if math.isnan(lat or 0.0) or math.isnan(lon or 0.0):
            found.note_place(f"{_cell(cells, layout.lat)}, {_cell(cells, layout.lon)}")
        zone = _cell(cells, layout.offset)
        course = decimal(_cell(cells, layout.course).replace(",", "."))
        when = times.seconds(day, text, zone)
        found.add_timed(when, day + text + zone, (lat, lon, alt), course)


# what a column of N and S, or E and W, may be called, beside the names among the headings
_SIDE_WORDS = re.compile(
    r"\W*(?:(?:gps)?\W*(?:lat|lon|lng)\w*\W*)?(?:dir(?:ection)?|hem\w*|ref\w*|side|ind\w*)?\W*$",
    re.IGNORECASE,
)


def _lettered(
    table: Sequence[TableRow], layout: _Layout, place: int, letters: str
) -> Optional[int]:
    """The column of one of two letters beside that of a coordinate, however it is called."""
    headings, rows = table[0].cells, table[1:]
    taken = {layout.lat, layout.lon, layout.time, layout.date, layout.alt, layout.fix}
    for beside in (place + 1, place - 1):
        if beside not in taken and 0 <= beside < len(headings):
            cells = {_cell(row.cells, beside) for row in rows[:_LOOKED_AT]}
            good = cells and cells <= {*letters, *letters.lower()}
            if good and _SIDE_WORDS.match(headings[beside]):
                return beside
    return None


def _with_letters(layout: _Layout, table: Sequence[TableRow]) -> _Layout:
    """A layout with the columns of N and S, E and W that only their cells tell."""
    ns = _lettered(table, layout, layout.lat, "NS") if layout.ns is None else layout.ns
    ew = _lettered(table, layout, layout.lon, "EW") if layout.ew is None else layout.ew
    return layout._replace(ns=ns, ew=ew)


_PARTS_OF_TIMES = ("year", "month", "day", "hour", "minute", "second")


def _with_days(table: List[TableRow]) -> List[TableRow]:
    """A table; where it has a column for the year, the month and so on, with the whole times."""
    if not table:
        return table
    head = _headings_at(table)
    names = [heading.strip().lower().rstrip("s") for heading in table[head].cells]
    if not set(_PARTS_OF_TIMES[:5]).issubset(names):
        return table
    places = [names.index(part) for part in _PARTS_OF_TIMES if part in names]
    rows = [table[head]._replace(cells=["datetime", *_cells_but(table[head].cells, places)])]
    for row in table[head + 1 :]:
        parts = [_cell(row.cells, place) for place in places]
        when = "-".join(parts[:3]) + " " + ":".join(part.zfill(2) for part in parts[3:])
        rows.append(row._replace(cells=[when, *_cells_but(row.cells, places)]))
    return rows


def _cells_but(cells: Sequence[str], places: Sequence[int]) -> List[str]:
    """The cells but those at some places."""
    return [cell for place, cell in enumerate(cells) if place not in places]


def read_csv(source: Source) -> Track:
    """A table of points whose first row names its columns."""
    text = table_text(source.path)[1]
    table = _with_days(rows_of(text, _mark_of(text)))
    if not table:
        raise _no_columns(source.path, [], ["latitude", "longitude", "time"])
    head = _headings_at(table)
    rows, found = table[head + 1 :], Points(source.path, "CSV")
    layout = _with_letters(_layout(source.path, table[head].cells), table[head:])
    whole = layout.time if layout.date is None else layout.date
    days = (_cell(row.cells, whole) for row in rows)
    clocks = (_cell(row.cells, layout.time) for row in rows[:_LOOKED_AT])
    digits = 6 if any(re.match(r"\d{5,6}(?:\.\d*)?Z?$", clock) for clock in clocks) else 4
    times = _TableTimes(found, _day_first(source.path, days), layout.zone, digits)
    for row in rows:
        _add_row(row.cells, layout, times, found)
    return found.track()


# ---- GoPro --------------------------------------------------------------------------------------
# Here: GPMF (github.com/gopro/gpmf-parser) in the samples of a `gpmd` track.
# Not here: boxes of movies.

_GPMF_NUMBERS = dict(zip("bBsSlLjJfd", "bBhHiIqQfd"))  # type letters as the struct module has them
_GPS9_EPOCH = 946684800.0  # 2000-01-01


class _Klv(NamedTuple):
    """One GPMF entry."""

    key: bytes
    kind: str  # type letter
    width: int  # bytes of a row
    content: bytes  # the bytes of its rows


_Stream = Dict[bytes, _Klv]


def _klvs(block: bytes) -> Iterator[_Klv]:
    """The entries in a payload, or in an entry of entries. Raises ValueError where one runs past
    its parent.
    """
    start = 0
    while start + 8 <= len(block):
        key, kind, width, rows = struct.unpack_from(">4scBH", block, start)
        if key == b"\0\0\0\0":  # filler
            start += 4
            continue
        stop = start + 8 + width * rows
        if stop > len(block) or not key.isalnum() and not all(32 <= letter < 127 for letter in key):
            raise ValueError(f"no entry at byte {start}")
        yield _Klv(key, kind.decode("latin-1"), width, block[start + 8 : stop])
        start = stop + -(width * rows) % 4


def _gpmf_text(stream: _Stream, key: bytes) -> str:
    """The text of an entry of a stream, "" for none; it comes as one row of n or as n
    rows of one.
    """
    return stream[key].content.split(b"\0")[0].decode("latin-1").strip() if key in stream else ""


def _gpmf_rows(stream: _Stream, key: bytes, scaled: bool = True) -> List[Tuple[float, ...]]:
    """The rows of an entry of a stream, by its SCAL; none for none. ValueError, LookupError where
    something is odd.
    """
    klv = stream.get(key)
    if klv is None or not klv.content:
        return []
    if klv.kind == "?":
        kinds = _gpmf_text(stream, b"TYPE")[:255]
    else:
        kinds = klv.kind * (klv.width // struct.calcsize(">" + _GPMF_NUMBERS[klv.kind]))
    layout = struct.Struct(">" + "".join(_GPMF_NUMBERS[kind] for kind in kinds))
    if layout.size != klv.width:
        raise ValueError(f"a row of {kinds} is not {klv.width} bytes wide")
    rows = list(layout.iter_unpack(klv.content))
    scale = [by for row in _gpmf_rows(stream, b"SCAL", False) for by in row] if scaled else []
    if len(scale) < 2:
        scale = (scale or [1.0]) * len(rows[0])
    if len(scale) != len(rows[0]) or 0 in scale:
        raise ValueError(f"{len(scale)} scales for {len(rows[0])} values, or a scale of 0")
    return [tuple(value / by for value, by in zip(row, scale)) for row in rows]


def _gps9(video: float, row: Sequence[float], flaw: str) -> Sample:
    """lat, lon, alt, two speeds, days, seconds, DOP, fix."""
    time = _GPS9_EPOCH + row[5] * 86400.0 + row[6]
    return Sample(video, time, row[0], row[1], row[2], flaw=fix_flaw(row[8], row[7]))


def _gps5(video: float, row: Sequence[float], flaw: str) -> Sample:
    """lat, lon, alt, two speeds."""
    return Sample(video, None, row[0], row[1], row[2], flaw=flaw)


def _glpi(video: float, row: Sequence[float], flaw: str) -> Sample:
    """Of the Karma drone: seconds since it was switched on, lat, lon, alt."""
    return Sample(video, row[0], row[1], row[2], row[3])


_GOPRO_SAMPLES = {b"GPS9": _gps9, b"GPS5": _gps5, b"GLPI": _glpi}


class _GoProDevice(NamedTuple):
    """What the streams of one device tell."""

    samples: Dict[bytes, List[Sample]]  # by the key of their stream
    clocks: Dict[float, float]  # SYST: seconds of a drone's clock -> UTC
    told: List[Tuple[float, float]]  # GPSU: (video time, UTC) of payloads with a fix


def _stream_flaw(stream: _Stream) -> str:
    """Why the GPS5 samples of a stream are not used, "" if they are; a missing fix or
    DOP is good.
    """
    lock, dop = (_gpmf_rows(stream, key, False) for key in (b"GPSF", b"GPSP"))
    return fix_flaw(lock[0][0] if lock else 3, dop[0][0] / 100.0 if dop else 0.0)


def _take_stream(stream: _Stream, payload: Payload, device: _GoProDevice) -> None:
    """Put what a stream tells into its device. ValueError, LookupError where something is odd."""
    flaw = _stream_flaw(stream)
    for key, sample in _GOPRO_SAMPLES.items():
        rows = _gpmf_rows(stream, key)
        there = device.samples.setdefault(key, [])
        for i, row in enumerate(rows):
            there.append(sample(payload.start + payload.duration * i / len(rows), row, flaw))
    for row in _gpmf_rows(stream, b"SYST"):
        device.clocks[row[0]] = row[1]
    text = _gpmf_text(stream, b"GPSU")  # yymmddhhmmss.sss; a real HERO5 wrote 5509100082240400
    day, clock = day_ms(text[4:6] + text[2:4] + text[:2]), clock_ms(text[6:])
    if b"GPS5" in stream and not flaw and day is not None and clock is not None:
        device.told.append((payload.start, (day + clock) / 1000.0))


def _gopro_told(block: bytes, payload: Payload) -> Iterator[Tuple[bytes, _GoProDevice]]:
    """(name, what it tells) of each device in a payload."""
    for entry in _klvs(block):
        parts = list(_klvs(entry.content)) if entry.key == b"DEVC" else []
        name = b"|".join(klv.content for klv in parts if klv.key in (b"DVID", b"DVNM"))
        device = _GoProDevice({}, {}, [])
        streams = [list(_klvs(klv.content)) for klv in parts if klv.key == b"STRM"]
        for stream in streams:
            _take_stream({klv.key: klv for klv in stream}, payload, device)
        if streams:
            yield name, device


def _gopro_choices(device: _GoProDevice, created: Optional[float]) -> Iterator[Choice]:
    """GPS9, else GPS5 with fitted times, piece by piece in a time-lapse; the first GPSU is 1.3 s
    early on many cameras.
    """
    few = len(device.told) < FEW_TIMES and is_uneven(device.told)  # a short time-lapse
    told = device.told if few else device.told[1:] or device.told
    samples = device.samples.get(b"GPS5", [])
    yield Choice("GPS9", device.samples.get(b"GPS9", []), steady=True)
    if len(told) >= FEW_TIMES and len({utc for _, utc in told}) == 1:
        video, utc = device.told[0]
        yield Choice("GPSU that stands still, counted from its first", samples, utc - video)
    elif is_uneven(told):
        told = going_on(told)
        timed = [sample._replace(time=along(told, sample.video)) for sample in samples]
        yield Choice("GPSU piece by piece", timed)
    elif told:
        yield Choice("GPSU fitted", samples, median([utc - video for video, utc in told]))
    else:
        yield Choice(CAMERA_CLOCK, samples, created)


def _drone_choice(device: _GoProDevice) -> Choice:
    clocks = sorted(device.clocks.items())
    known = device.samples.get(b"GLPI", []) if clocks else []
    samples = [s._replace(time=None if s.time is None else along(clocks, s.time)) for s in known]
    return Choice("GLPI", samples)


def read_gopro(movie: Source) -> Track:
    """A GoPro video: of the first device with usable ones GPS9, else GPS5; else a drone's."""
    found = Points(movie.path, "GPSU fitted", NO_TELEMETRY)
    devices: Dict[bytes, _GoProDevice] = {}

    def take(block: bytes, payload: Payload) -> None:
        for name, told in list(_gopro_told(block, payload)):  # all of a payload or nothing
            known = devices.setdefault(name, _GoProDevice({}, {}, []))
            for key, samples in told.samples.items():
                known.samples.setdefault(key, []).extend(samples)
            known.clocks.update(told.clocks)
            known.told.extend(told.told)

    each_payload(movie, b"gpmd", found, take)
    found.empty = NO_GPS if devices else NO_TELEMETRY
    created = movie.header.creation_time
    choices = [choice for device in devices.values() for choice in _gopro_choices(device, created)]
    if not any(choice.samples for choice in choices):
        choices = [_drone_choice(device) for device in devices.values()]
    take_first(found, choices)
    return found.track()


def gpmf_name(block: bytes, key: bytes) -> str:
    """The first text with this key anywhere in GPMF data, "" if there is none."""
    match = re.search(re.escape(key) + rb"c(.)(..)", block, re.DOTALL)
    if match is None:
        return ""
    size = match.group(1)[0] * int.from_bytes(match.group(2), "big")
    text = block[match.end() : match.end() + size]
    return text.split(b"\0")[0].decode("latin-1").strip()


# ---- BlackVue -----------------------------------------------------------------------------------
# Here: NMEA text in the `free` boxes of an MP4, or in a side file of the same recording.
# Not here: what a sentence says.

_BLACKVUE_NAME = re.compile(r"([0-9]{8}_[0-9]{6}_[A-Z])([FRIO])(\.mp4)", re.IGNORECASE)


TEXT_BYTES = 1 << 26  # of all texts of a recording; a day of sentences has 20 MB


def blackvue_boxes(movie: Source, kind: bytes) -> List[bytes]:
    """The content of all boxes of a kind in all free boxes: there may be several of both."""
    rooms = [free for free in movie.top if free.kind in (b"free", b"skip")]
    boxes = [box for free in rooms for box in movie.boxes(free) if box.kind == kind]
    reach = itertools.accumulate(box.end - box.start for box in boxes)
    return [movie.read(box) for box, end in zip(boxes, reach) if end <= TEXT_BYTES]


def blackvue_relative(path: Path) -> Optional[Path]:
    """The side file or front video of the same recording as `path`: a rear video may hold no GPS of
    its own.
    """
    match = _BLACKVUE_NAME.fullmatch(path.name)
    names = [path.stem + ".gps"]
    if match:
        names += [match.group(1) + ".gps", match.group(1) + "F" + match.group(3)]
    near = (other for other in in_any_case(path, names) if other != path)
    return next((other for other in near if other.is_file()), None)


def _blackvue_text(movie: Source) -> bytes:
    return b"\n".join(blackvue_boxes(movie, b"gps "))


def holds_blackvue(movie: Source) -> bool:
    """Whether a movie has BlackVue's own text."""
    return b"$" in _blackvue_text(movie)


def _text_beside(relative: Path) -> bytes:
    """The sentences in a side file, or in the video of another camera."""
    with open_file(relative) as handle:
        near = Source(handle, relative)
        if near.family == "movie":
            return _blackvue_text(near)
        return near.read(MovieBox(b"", 0, near.size))


def read_blackvue(movie: Source) -> Track:
    """A BlackVue video, UTC from the sentences themselves."""
    found = Points(movie.path, "RMC", NO_TELEMETRY)
    text = _blackvue_text(movie)
    relative = None if b"$" in text else blackvue_relative(movie.path)
    if relative is not None:
        text = _text_beside(relative)
        found.notes.append(f"{movie.path.name} has no GPS; that of {relative.name} was taken")
    delay = add_sentences(nmea_lines(io.BytesIO(text)), found)
    stamp = re.search(rb"\[([0-9]{9,14})\]", text)
    if delay is not None and stamp is not None:
        first = int(stamp.group(1))  # ms of the first line
        boxes = blackvue_boxes(movie, b"sttm")
        starts = [int.from_bytes(box[:8], "big") for box in boxes if len(box) >= 8]
        shifts = [round(offset * 1000) for offset in OFFSETS_IN_USE]  # it may be in another zone
        late = [first - zero + shift for zero in starts for shift in shifts]
        begun = first - min((ms for ms in late if 0 <= ms < 60000), default=0)
        found.video = VideoClock(delay + begun / 1000.0)
    return found.track()


# ---- CAMM ---------------------------------------------------------------------------------------
# Here: little-endian records in the samples of a `camm` track (developers.google.com/streetview).
# Not here: boxes of movies.

# bytes of a record by its type
_CAMM_SIZES = {0: 16, 1: 12, 2: 16, 3: 16, 4: 16, 5: 28, 6: 60, 7: 16}
_CAMM_PLACE, _CAMM_GPS = struct.Struct("<4xddd"), struct.Struct("<4xdidd7f")
_CAMM_BEFORE = 1483228800.0  # 2017-01-01, when the format was new: an earlier time counts from 1980


def _camm_alt(alt: float) -> Optional[float]:
    """Metres; some writers put -1 where they know none."""
    return None if alt == -1.0 else alt


def _camm_samples(block: bytes, video: float) -> Iterator[Sample]:
    """The places in one sample, which may hold several records. Raises struct.error or LookupError
    at a cut one.
    """
    place = 0
    while place < len(block):
        (kind,) = struct.unpack_from("<2xH", block, place)
        if place + _CAMM_SIZES[kind] > len(block):
            raise ValueError(f"a cut record at byte {place}")
        if kind == 5:
            lat, lon, alt = _CAMM_PLACE.unpack_from(block, place)
            yield Sample(video, None, lat, lon, _camm_alt(alt))
        elif kind == 6:
            time, lock, lat, lon, alt, _, _, east, north = _CAMM_GPS.unpack_from(block, place)[:9]
            moving = 0.5 < math.hypot(east, north) < 1000.0  # m/s; slower, the direction is noise
            course = math.degrees(math.atan2(east, north)) % 360.0 if moving else None
            yield Sample(video, time, lat, lon, _camm_alt(alt), course, fix_flaw(lock))
        place += _CAMM_SIZES[kind]


def _camm_utc(samples: List[Sample], created: Optional[float]) -> List[Sample]:
    """Samples with UTC. The specification says GPS time, most cameras write Unix time: the nearer
    to the file's.
    """
    known = [sample.time for sample in samples if sample.time is not None]
    times = list(filter(math.isfinite, known))
    middle = median(times) if times else 0.0
    if created is None or created < _CAMM_BEFORE:
        created = _CAMM_BEFORE + GPS_EPOCH / 2  # so that a time before 2017 is nearer as GPS time
    if not times or abs(middle + GPS_EPOCH - created) >= abs(middle - created):
        return samples
    return [sample._replace(time=gps_to_utc(sample.time or 0.0)) for sample in samples]


def _add_texts(texts: Sequence[Tuple[float, str]], found: Points) -> None:
    """Points from the sentences in samples, each with its seconds of video time, which tell when
    the video began.
    """
    add_sentences([text for _, text in texts], found)
    pairs = []
    for video, text in texts:
        here = Points(found.path, "")
        add_sentences([text], here)
        pairs += [(video, fix.time) for fix in here.segments[0][:1]]
    found.video = clock_of_video(pairs)


def read_camm(movie: Source) -> Track:
    """A CAMM video: records of type 6 with their own time, else of type 5 by the camera's clock,
    else sentences.
    """
    found = Points(movie.path, "CAMM", NO_TELEMETRY)
    samples: List[Sample] = []
    texts: List[Tuple[float, str]] = []

    def take(block: bytes, payload: Payload) -> None:
        found.empty = ONLY_MOTION
        if b"$" in block[:LINE_CHARS] and SENTENCE.search(block.decode("latin-1")):
            # some cameras write text in place of records
            texts.append((payload.start, block.decode("latin-1")))
        else:
            samples.extend(_camm_samples(block, payload.start))

    each_payload(movie, b"camm", found, take)
    created = movie.header.creation_time
    timed = [sample for sample in samples if sample.time is not None]
    untimed = [sample for sample in samples if sample.time is None]
    by_camera = Choice(CAMERA_CLOCK, untimed, created)
    take_first(found, [Choice("CAMM", _camm_utc(timed, created), steady=True), by_camera])
    if not samples:
        _add_texts(texts, found)
    return found.track()


# ---- Dashcams and panoramas ---------------------------------------------------------------------
# Here: the trailer of Insta360, and Novatek's `gps ` box, which many dashcams write.
# Not here: boxes of movies. (Facts: ExifTool's documentation of both.)

_INSTA360_MARK = b"8db42d694ccc418790edff439fe026bf"
_INSTA360_END = 78  # bytes of the end of the trailer
_INSTA360_GPS, _INSTA360_NAMES, _INSTA360_MOTION = 0x700, 0x101, 0x300
_INSTA360_MOST = 1000  # records; a trailer has about a dozen
_INSTA360_ROW = struct.Struct("<IIHcdcdcddd")


def _insta360_records(movie: Source) -> Iterator[Tuple[int, MovieBox]]:
    """(id, where it lies) of each record of the trailer, from the last to the first."""
    end = movie.size - _INSTA360_END
    tail = movie.read(MovieBox(b"", max(end, 0), movie.size))
    if end < 0 or not tail.endswith(_INSTA360_MARK):
        return
    (length,) = struct.unpack_from("<I", tail, 38)
    begin, footer = max(movie.size - length, 0), tail[:6]
    for _ in range(_INSTA360_MOST):
        if len(footer) < 6:
            return
        number, size = struct.unpack("<HI", footer)
        if end - size < begin:
            return
        yield number, MovieBox(b"", end - size, end)
        end -= size + 6
        footer = movie.read(MovieBox(b"", end, end + 6)) if end >= begin else b""


def _insta360_record(movie: Source, wanted: int) -> bytes:
    """The first record of a kind, counted from the end of the file."""
    boxes = (box for number, box in _insta360_records(movie) if number == wanted)
    return movie.read(next(boxes, None))


def holds_insta360(movie: Source) -> bool:
    """Whether a movie has the trailer, with or without places in it."""
    return next(_insta360_records(movie), None) is not None


def _add_insta360(content: bytes, place: int, found: Points) -> None:
    """Keep the row of the GPS record at a place."""
    row = _INSTA360_ROW.unpack_from(content, place)
    seconds, _, milli, state, lat, north, lon, east, speed, course, alt = row
    if state != b"A":
        found.drop(NO_FIX)
        return
    lat = -abs(lat) if north == b"S" else lat
    lon = -abs(lon) if east in (b"W", b"O") else lon
    where = (lat, lon, alt)
    found.add_timed(seconds + milli / 1000.0, "", where, course if speed > 0.5 else None)


def read_insta360(movie: Source) -> Track:
    """An Insta360 video: its GPS record tells UTC."""
    found = Points(movie.path, "Insta360", NO_TELEMETRY)
    content, width = _insta360_record(movie, _INSTA360_GPS), _INSTA360_ROW.size
    found.empty = ONLY_MOTION if _insta360_record(movie, _INSTA360_MOTION) else NO_TELEMETRY
    for place in range(0, len(content) - width + 1, width):
        _add_insta360(content, place, found)
    if len(content) % width:
        found.notes.append(f"the last GPS row of {movie.path.name} is cut off")
    return found.track()


def insta360_model(movie: Source) -> str:
    """The model that the trailer names, "" for none: texts behind their tag and length."""
    content, place = _insta360_record(movie, _INSTA360_NAMES), 0
    while place + 2 <= len(content):
        tag, size = content[place : place + 2]
        text = content[place + 2 : place + 2 + size]
        if tag == 0x12:
            return text.decode("utf-8", "replace").strip("\0 ")
        place += 2 + size
    return ""


_NOVATEK_SAMPLE = struct.Struct("<6I3cx4f")  # from byte 16 of a block
_FIRST_BLOCKS = 9  # by which it is known when the first one was written
_NOVATEK_BYTES = 16 + _NOVATEK_SAMPLE.size


def _novatek_blocks(movie: Source) -> List[Tuple[int, int]]:
    """(place, size) of the blocks that the `gps ` box lists."""
    rows = movie.table(movie.child(movie.moov, b"gps "), 8, 2)
    return list(itertools.islice(zip(rows[::2], rows[1::2]), MAX_SAMPLES))


def holds_novatek(movie: Source) -> bool:
    """Whether a movie lists blocks of Novatek."""
    return bool(_novatek_blocks(movie))


def _novatek_degrees(value: float) -> float:
    """Degrees of DDMM.mmmm; NaN where it is none."""
    minutes = value % 100.0
    return value // 100.0 + minutes / 60.0 if 0 <= value and minutes <= 60.0 else math.nan


def _novatek_sample(block: bytes, video: float) -> Sample:
    """The place in a block; its time is the camera's local clock. Raises ValueError, struct.error
    where it is none.
    """
    if block[4:12] != b"freeGPS ":
        raise ValueError("no freeGPS block")
    hour, minute, second, year, month, day, *rest = _NOVATEK_SAMPLE.unpack_from(block, 16)
    state, north, east, lat, lon, knots, course = rest
    if state in (b"V", b"\0"):
        return Sample(video, None, 0.0, 0.0, None, flaw=NO_FIX)
    if state != b"A":
        raise ValueError("scrambled")
    return Sample(
        video,
        utc_seconds((2000 + year, month, day), (hour, minute, second)),
        _novatek_degrees(lat) * (-1 if north == b"S" else 1),
        _novatek_degrees(lon) * (-1 if east == b"W" else 1),
        None,
        course if knots > 1.0 and 0 <= course <= 360 else None,
    )


def read_novatek(movie: Source) -> Track:
    """A video of a dashcam with a Novatek chip: a place a second, by the camera's local clock."""
    found = Points(movie.path, CAMERA_CLOCK, NO_TELEMETRY)
    samples, odd = [], 0
    for second, (place, _) in enumerate(_novatek_blocks(movie)):
        block = movie.read(MovieBox(b"", place, place + _NOVATEK_BYTES))
        try:
            samples.append(_novatek_sample(block, float(second)))
        except (ValueError, struct.error):
            odd += bool(place)  # else the list is longer than what is there
    if odd:
        found.notes.append(
            f"{odd} GPS blocks of {movie.path.name} are scrambled or cut off, and left out"
        )
    take_first(found, [Choice(CAMERA_CLOCK, samples)])
    times = [(sample.video, sample.time) for sample in samples if sample.time is not None]
    zeros = [time - video for video, time in times[:_FIRST_BLOCKS]]
    if zeros and not found.video.pace:  # in a tunnel some cameras write no blocks
        found.video = VideoClock(median(zeros))
    return found.track()


# ---- Second reader ------------------------------------------------------------------------------
# Here: what exiftool reads of videos that no reader of ours places; one run for all of them.
# Not here: which videos those are.

_OLDEST_EXIFTOOL = 12.0
_ABOUT, _TOOLKIT = "rdf:about", "et:toolkit"  # attributes: the file, the version
_PLACE_TAGS = ("GPSLatitude", "GPSLongitude", "GPSAltitude", "GPSTrack")
_LATITUDE, _LONGITUDE, _ALTITUDE, _COURSE = _PLACE_TAGS
_DATE_TIME, _DAY_TAG, _CLOCK_TAG = "GPSDateTime", "GPSDateStamp", "GPSTimeStamp"
_BELOW = (f"{_LATITUDE}Ref", f"{_LONGITUDE}Ref", f"{_ALTITUDE}Ref")  # of negative values
_LOCK_TAGS = ("GPSStatus", "GPSMeasureMode")
_POINT_TAGS = (*_PLACE_TAGS, _DATE_TIME, _DAY_TAG, _CLOCK_TAG, *_BELOW, *_LOCK_TAGS)


class _Spot(NamedTuple):
    """A place as exiftool tells it, with what belongs to its sample."""

    tags: Dict[str, str]  # of _POINT_TAGS
    start: Optional[float]  # seconds of video time at which its sample begins; None = not told
    length: float  # seconds of its sample, 0 = not told


def _seconds(text: str) -> Optional[float]:
    """A time of a video; None where it is no number that can be one."""
    value = decimal(text)
    return value if value is not None and 0.0 <= value < DAY_S else None


class _Spots:
    """The places in one group of tags of a file, as they come."""

    def __init__(self) -> None:
        self.tags: Dict[str, str] = {}
        self.start: Optional[float] = None
        self.length = 0.0
        self.all: List[_Spot] = []

    def tell(self, name: str, text: str) -> None:
        """The next tag. One that the place has already is of the next place."""
        if name == "SampleTime":
            self.end()
            self.start, self.length = _seconds(text), 0.0
        elif name == "SampleDuration":
            self.length = _seconds(text) or 0.0
        elif name in _POINT_TAGS:
            if name in self.tags:
                self.end()
            self.tags[name] = text

    def end(self) -> None:
        """The place is complete."""
        if _LATITUDE in self.tags and _LONGITUDE in self.tags:
            self.all.append(_Spot(self.tags, self.start, self.length))
        self.tags = {}

    def samples(self, created: Optional[float]) -> Iterator[Sample]:
        """The places with their times; those of a sample that tells one time are spread evenly
        over it.
        """
        heads = [at for at, spot in enumerate(self.all) if self._is_head(at, spot)]
        for head, following in zip(heads, heads[1:] + [len(self.all)]):
            spot, count = self.all[head], following - head
            told = parse_time(_time_text(spot.tags))
            begin = spot.start or 0.0
            if told is None and created is not None and spot.start is not None:
                told = created + begin
            step = (spot.length or 1.0) / count
            for number, one in enumerate(self.all[head:following]):
                late = step * number
                time = None if told is None else told + late
                yield _as_sample(one.tags, begin + late, time)

    def _is_head(self, at: int, spot: _Spot) -> bool:
        """Whether a place begins those that share one time."""
        return at == 0 or bool(_time_text(spot.tags)) or spot.start != self.all[at - 1].start


def _as_sample(tags: Mapping[str, str], video: float, time: Optional[float]) -> Sample:
    """A place of exiftool as a Sample; what is no number is no place."""
    lat, lon, alt = map(_signed, [tags] * 3, _PLACE_TAGS, _BELOW)
    known = lat is not None and lon is not None
    place = (lat or 0.0, lon or 0.0) if known else (math.nan, math.nan)
    void = any(tags.get(name, "").strip() in ("V", "0") for name in _LOCK_TAGS)
    return Sample(video, time, *place, alt, decimal(tags.get(_COURSE)), NO_FIX if void else "")


def _signed(tags: Mapping[str, str], name: str, ref: str) -> Optional[float]:
    """A number, negative where its Ref says south, west or below."""
    value = decimal(tags.get(name))
    below = tags.get(ref, "").strip().upper()[:1] in ("S", "W", "1")
    return -abs(value) if below and value is not None else value


def _time_text(tags: Mapping[str, str]) -> str:
    """The UTC of a place, as one text or as its day and time of day; "" where it has none."""
    return tags.get(_DATE_TIME) or f"{tags.get(_DAY_TAG, '')} {tags.get(_CLOCK_TAG, '')}".strip()


class _Heard:
    """What exiftool told of all files so far."""

    def __init__(self) -> None:
        self.groups: Dict[str, Dict[str, _Spots]] = {}  # of a file, by their group of tags
        self.created: Dict[str, str] = {}  # CreateDate of a file
        self.path = ""
        self.version = 0.0  # 0 = it told nothing
        self.whole = False  # whether the last run came to its end
        self.texts: List[str] = []

    def start(self, name: str, attributes: Dict[str, str]) -> None:
        """An element opens: a file, or a tag of it."""
        self.path = attributes.get(_ABOUT, self.path)
        version = re.search(r"\d+\.\d+", attributes.get(_TOOLKIT, ""))
        self.version = float(version.group()) if version else self.version
        self.texts.clear()

    def end(self, name: str) -> None:
        """An element closes."""
        group, _, tag = name.partition(":")
        text = "".join(self.texts)
        self.whole = tag == "RDF"
        if tag == "CreateDate":
            self.created.setdefault(self.path, text)
        elif tag.startswith(("GPS", "Sample")) and group != "Composite":
            groups = self.groups.setdefault(self.path, {})
            groups.setdefault(group, _Spots()).tell(tag, text)

    def track(self, path: Path) -> Optional[Track]:
        """The Track of a file: of the group of tags that tells the most places; None = no place
        that can be used.
        """
        groups = self.groups.get(str(path), {})
        for spots in groups.values():
            spots.end()
        best = max(groups.values(), key=lambda spots: len(spots.all), default=None)
        if best is None or not best.all:
            return None
        found = Points(path, "exiftool", NO_TELEMETRY)
        timed = any(parse_time(_time_text(spot.tags)) is not None for spot in best.all)
        created = None if timed else parse_time(self.created.get(str(path)))
        clock = "exiftool" if timed else CAMERA_CLOCK
        take_first(found, [Choice(clock, list(best.samples(created)))])
        if best.all[0].start is None:
            found.video = VideoClock()  # its samples do not tell where in the video they are
        try:
            return found.track()
        except BadTrack as error:
            LOG.info("%s", error)
            return None


def _ask(program: str, names: List[str], told: _Heard) -> List[str]:
    """Have exiftool tell of some files; returns those that it did not come to, because it was
    ended at the one before them, which is told nothing of.
    """
    from xml.parsers import expat

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = told.start, told.end
    parser.CharacterDataHandler = told.texts.append

    def heard(line: str, is_last: bool = False) -> None:
        with contextlib.suppress(expat.ExpatError):
            parser.Parse(line + "\n", is_last)

    told.whole, told.path = False, ""
    given = "\n".join(names) + "\n"
    ran = run_program([program, *_NO_CONFIG, *_ASKED], line=heard, given=given, limits=_LIMITS)
    heard("", True)  # newer expat keeps the last elements back until then
    if told.whole:
        return []
    if not told.path and run_program([program, *_NO_CONFIG, "-ver"]).code:
        cause = (ran.errors or [f"exit code {ran.code}"])[0]
        remedy = "install it anew"
        raise ProgramMissing(
            "bad_program", "does not work", file=program, value=cause, remedy=remedy
        )
    done = names.index(told.path) + 1 if told.path in names else 0
    if done < len(names):
        LOG.warning("%s: exiftool gave up on it, which may be damaged", names[done])
    return names[done + 1 :]


_LIMITS = Allowance(silence=60.0, memory=1 << 31)
SECOND_READER = "exiftool"  # as --geotag_source names it


def second_tracks(paths: Sequence[Path]) -> Dict[Path, Track]:
    """Tracks of the videos that exiftool can read; the first has a note that says it. Raises
    ProgramMissing where there is no exiftool, or one that is too old.
    """
    program, told = find_program("exiftool"), _Heard()
    names = [os.path.abspath(path) for path in paths if "\n" not in str(path)]
    while names:
        names = _ask(program, names, told)
    if 0.0 < told.version < _OLDEST_EXIFTOOL:
        wrong, value = "this exiftool is too old", f"{told.version:.2f}"
        remedy = f"get {_OLDEST_EXIFTOOL:.2f} or newer"
        raise ProgramMissing("old_program", wrong, file=program, value=value, remedy=remedy)
    tracks = {path: told.track(Path(os.path.abspath(path))) for path in paths}
    placed = {path: track for path, track in tracks.items() if track is not None}
    for path, track in list(placed.items())[:1]:
        some = some_of([one.name for one in placed], 1)
        note = f"{some}: read by exiftool {told.version:.2f}"
        placed[path] = track._replace(notes=[note, *track.notes])
    return placed


_NO_CONFIG = ("-config", "")  # what a configuration of exiftool says is a program
_ASKED = (
    *("-fast", "-q", "-q", "-n", "-X", "-ee", "-api", "LargeFileSupport=1"),
    *("-charset", "filename=utf8", "-@", "-"),
)


# ---- Track files --------------------------------------------------------------------------------
# Here: the table of readers, which of them a file needs; files and folders to a Track; movies.
# Not here: formats.


class Reader(NamedTuple):
    """A kind of track: what a file of it looks like, and the function that makes a Track of it.

    A new format is a function from an open Source to a Track, on a floor of its own, and one line
    in READERS.
    """

    kind: str  # as --geotag_source names it
    holds: Callable[[Source], bool]
    read: Callable[[Source], Track]  # raises BadTrack
    of_movies: bool = False


_BLACKVUE = Reader("blackvue", holds_blackvue, read_blackvue, True)
READERS = (  # of those that a file holds the first is tried first
    Reader("gpx", lambda source: source.family == "gpx", read_gpx),
    Reader("gopro_video", lambda movie: bool(movie.tracks(b"gpmd")), read_gopro, True),
    Reader("nmea", lambda source: source.family == "nmea", read_nmea),
    _BLACKVUE,
    Reader("camm", lambda movie: bool(movie.tracks(b"camm")), read_camm, True),
    Reader("insta360", holds_insta360, read_insta360, True),
    Reader("novatek", holds_novatek, read_novatek, True),
    Reader("fit", lambda source: source.family == "fit", read_fit),
    Reader("kml", lambda source: source.family in ("kml", "zip"), read_kml),
    Reader("tcx", lambda source: source.family == "tcx", read_tcx),
    Reader("csv", lambda source: source.family == "table", read_csv),
    Reader("srt", lambda source: source.family == "srt", read_srt),
)
_MOVIE_KINDS = (*(reader.kind for reader in READERS if reader.of_movies), SECOND_READER)
ANY_VIDEO = "video"  # as --geotag_source names a video of any kind
VIDEO_SOURCES = (*_MOVIE_KINDS, ANY_VIDEO)  # they need no path where a video is sampled
TRACK_SOURCES = (*(reader.kind for reader in READERS), ANY_VIDEO, SECOND_READER)


def _what_else(begin: bytes) -> Tuple[str, str]:
    """(what a file is that is no track, what to do), by its begin."""
    if JSON_BEGIN.match(begin.decode("utf-8", "replace")):
        return "is JSON, in which programs keep points each in their own way", "export it as GPX"
    kind = kind_by_content(begin)
    if kind is not None and "archive" in kind.name:
        return f"is {kind.name}", kind.remedy
    remedy = "GPX, NMEA, FIT, KML, TCX, CSV, SRT and videos of cameras with GPS can be"
    return "is no track file that can be read", remedy


def _readers_of(source: Source, kinds: Sequence[str]) -> List[Reader]:
    """The readers to try on a file: the kinds asked for first; of a movie that holds nothing a side
    file may do.
    """
    if not source.family and kind_of(source.path.name) in VIDEO_KINDS:
        remedy = "give the track of another device as --geotag_source_path"
        raise bad_track(source.path, "track_none", NO_TELEMETRY, "", remedy)
    if not source.family and not source.size:
        remedy = "copy it from the device again"
        raise bad_track(source.path, "track_damaged", "is empty (0 bytes)", "", remedy)
    if not source.family:
        wrong, remedy = _what_else(source.read(MovieBox(b"", 0, 512)))
        raise bad_track(source.path, "track_unknown", wrong, "", remedy)
    readers = [reader for reader in READERS if reader.holds(source)]
    readers.sort(key=lambda reader: _rank(reader.kind, kinds))
    if not readers and source.index_flaw and blackvue_relative(source.path) is None:
        remedy = "copy it from the card again, or let the camera repair it"
        raise bad_track(source.path, "track_damaged", source.index_flaw, "", remedy)
    return readers or [_BLACKVUE]


def _rank(kind: str, kinds: Sequence[str]) -> int:
    """The place of a kind among some, which is behind them where it is none of them."""
    return kinds.index(kind) if kind in kinds else len(kinds)


def _slot(kind: str, kinds: Sequence[str]) -> int:
    """The place of the kind of a file among those that are asked for; what is of none of them
    belongs to the first.
    """
    if kind not in kinds and kind in _MOVIE_KINDS and ANY_VIDEO in kinds:
        return kinds.index(ANY_VIDEO)
    return _rank(kind, kinds) % len(kinds)


def _tracks_in(
    path: Path, kinds: Sequence[str] = ()
) -> Iterator[Tuple[str, Union[Track, BadTrack]]]:
    """What each reader that a file needs makes of it, with its kind: a Track, or why not. Raises
    BadTrack for no track file.
    """
    try:
        with open_file(path) as handle:
            source = Source(handle, path)
            for reader in _readers_of(source, kinds):
                try:
                    yield reader.kind, reader.read(source)
                except BadTrack as error:
                    yield reader.kind, error
    except OSError as error:
        raise unreadable_track(path, error) from error


def _read_file(path: Path, kinds: Sequence[str]) -> Tuple[str, Track]:
    """(kind, Track) of one file. Raises BadTrack."""
    problems = []
    for kind, result in _tracks_in(path, kinds):
        if isinstance(result, Track):
            return kind, result
        problems.append(result)
    raise min(problems, key=lambda problem: problem.problem.code == "track_none")


def movie_track(path: Union[str, Path]) -> Optional[Track]:
    """The Track of a movie's own telemetry; one whose GPS tells the time of the movie first. None =
    there is none.
    """
    tracks = []
    try:
        for _, result in _tracks_in(Path(path)):
            if isinstance(result, Track):
                tracks.append(result)
                if result.gps_zero is not None:
                    return result
    except BadTrack as error:
        LOG.debug("no telemetry in %s: %s", path, error)
    return tracks[0] if tracks else None


Tell = Callable[[str], None]  # how a line reaches whoever runs it


class OwnTrack(NamedTuple):
    """The track that a video brings along."""

    track: Track
    side: str = ""  # the path of the file beside it that it was read from
    kind: str = SECOND_READER  # of one of READERS, where that matters


def _own_track(path: Path, tell: Tell = LOG.info) -> Optional[OwnTrack]:
    """The track of a video's own telemetry, else of a side file of its name; None = none."""
    track = movie_track(path)
    return OwnTrack(track) if track is not None else _side_track(path, tell)


class OwnTracks:
    """The tracks that some videos bring along; each is read when it is asked for, and the last one
    kept.
    """

    def __init__(self, second: Mapping[Path, Track]) -> None:
        self.second = second  # of the videos that exiftool alone can read
        self.last: Tuple[Optional[str], Optional[OwnTrack]] = (None, None)

    def get(self, path: str) -> Optional[OwnTrack]:
        """The track of a video; None = it has none."""
        if self.last[0] != path:
            track = self.second.get(Path(path))
            self.last = path, OwnTrack(track) if track is not None else _own_track(Path(path))
        return self.last[1]


def video_tracks(paths: Sequence[Union[str, Path]], tell: Tell) -> OwnTracks:
    """The track that each video has, if any: of its own telemetry, else of a side file of its name,
    else as exiftool reads it. Tells where exiftool, which is not on this computer, might help.
    """
    unplaced = [path for path in map(Path, paths) if _is_bare(path, tell)]
    try:
        return OwnTracks(second_tracks(unplaced) if unplaced else {})
    except ProgramMissing as missing:
        names = [path.name for path in unplaced]
        tell(f"no GPS that this script can read in {some_of(names)}; {more_cameras(missing)}")
        return OwnTracks({})


def _is_bare(path: Path, tell: Tell) -> bool:
    """Whether a video has no track, so that exiftool is asked; not where that cannot be told."""
    try:
        return _own_track(path, tell) is None
    except BadTrack:
        return False


def why_unplaced(path: Path) -> str:
    """Why a video has no track of its own, nor by a file beside it, in words."""
    told, beside = [], []
    with contextlib.suppress(BadTrack):
        beside = side_files(path)
    for file in (path, *beside):
        try:
            _read_file(file, ())
        except BadTrack as error:
            problem, name = error.problem, "" if file == path else f"{file.name}: "
            told.append(name + problem.wrong + (f": {problem.value}" if problem.value else ""))
    return "; ".join(told)


def _track_files(folder: Path) -> List[Path]:
    """The files of a folder and those below, by name; hidden ones and images are not looked at."""
    files: List[Path] = []
    for place, folders, names in walked(str(folder)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = [name for name in sorted(names) if not name.startswith(".")]
        files += [Path(place, name) for name in here if kind_of(name) not in PICTURE_KINDS]
    return [path for path in files if path.is_file()]


_SIDE_KINDS = ("gpx", "nmea", "srt", "fit", "kml", "kmz", "tcx", "csv")  # endings of side files


def side_files(path: Union[str, Path]) -> List[Path]:
    """The track files of a video's name beside it, in any case of letters, by kind. Raises
    BadTrack where the folder cannot be listed.
    """
    try:
        near = called_alike(Path(path))
    except OSError as error:
        raise unreadable_track(Path(path).parent, error) from error
    sides = [(kind_of(side.name), side) for side in near]
    known = [(kind, side) for kind, side in sides if kind in _SIDE_KINDS]
    return [side for _, side in sorted(known, key=lambda pair: _SIDE_KINDS.index(pair[0]))]


def _side_track(path: Path, tell: Tell = LOG.warning) -> Optional[OwnTrack]:
    """The track of the first side file of a video that can be used, with a note that says so;
    None = none can. Tells what is wrong with the others.
    """
    for side in side_files(path):
        try:
            kind, track = _read_file(side, ())
        except BadTrack as error:
            tell(str(error))
            continue
        note = f"{path.name} has no GPS of its own; that of {side.name} was taken"
        return OwnTrack(track._replace(notes=[note, *track.notes]), str(side), kind)
    return None


def is_unplaced(error: BadTrack, path: Path) -> bool:
    """Whether a file is a video in which no reader of ours finds a place."""
    return error.problem.code == "track_none" and kind_of(str(path)) in VIDEO_KINDS


def _read_files(
    files: Sequence[Path], kinds: Sequence[str]
) -> Tuple[List[Tuple[str, Track]], List[BadTrack]]:
    """((kind, Track) of each file, why others have none): by our readers; of videos that those do
    not place by a file of their name that is not read anyway, then by exiftool, where it is on this
    computer.
    """
    found: Dict[Path, Tuple[str, Track]] = {}
    problems: Dict[Path, BadTrack] = {}
    for file in files:
        try:
            found[file] = _read_file(file, kinds)
        except BadTrack as error:
            problems[file] = error
    for file in [file for file, error in problems.items() if is_unplaced(error, file)]:
        try:
            beside = None if set(side_files(file)) & set(files) else _side_track(file)
        except BadTrack as error:
            problems[file] = error
            continue
        if beside is not None:
            found[file] = beside.kind, beside.track
            del problems[file]
    _ask_second(found, problems)
    return [found[file] for file in files if file in found], list(problems.values())


def _ask_second(found: Dict[Path, Tuple[str, Track]], problems: Dict[Path, BadTrack]) -> None:
    """Have exiftool read the videos that are not placed; where it is not on this computer, their
    problems say how to get it.
    """
    unplaced = [file for file, error in problems.items() if is_unplaced(error, file)]
    try:
        for file, track in second_tracks(unplaced).items() if unplaced else ():
            found[file] = SECOND_READER, track
            del problems[file]
    except ProgramMissing as missing:
        for file in unplaced:
            wrong, more = problems[file].problem, more_cameras(missing)
            problems[file] = BadTrack(**wrong._replace(remedy=f"{wrong.remedy}; {more}")._asdict())


def more_cameras(missing: ProgramMissing) -> str:
    """What would help where exiftool is not at hand."""
    return f"exiftool reads the GPS of more cameras: {missing.problem}"


def _read_folder(folder: Path, kinds: Sequence[str]) -> List[Tuple[str, Track]]:
    """(kind, Track) of each file of a folder; what cannot be used is a note of the first. Raises
    BadTrack.
    """
    tracks, all_problems = _read_files(_track_files(folder), kinds)
    problems = [one for one in all_problems if one.problem.code != "track_unknown"]
    if tracks:
        kind, first = tracks[0]
        tracks[0] = kind, first._replace(notes=[*first.notes, *map(str, problems)])
        return tracks
    if len(problems) == 1:
        raise problems[0]
    raise bad_track(
        folder,
        "track_none",
        f"none of its {len(problems)} track files can be used",
        "; ".join(map(str, problems[:3])),
        "put a GPX, an NMEA log or a video with GPS there",
    )


def _read_path(path: Path, kinds: Sequence[str]) -> List[Tuple[str, Track]]:
    """(kind, Track) of a file, or of each file of a folder. Raises NotFound, BadTrack."""
    if path.is_file():
        tracks, problems = _read_files([path], kinds)
        if problems:
            raise problems[0]
        return tracks
    if path.is_dir():  # a pipe is neither: it cannot be read twice
        return _read_folder(path, kinds)
    wrong = "there is no such track file or folder"
    raise NotFound("track_missing", wrong, file=path, remedy="check --geotag_source_path")


class NamedTrack(NamedTuple):
    """A track, and what to call it."""

    kind: str  # of one of READERS
    name: str  # of the files and folders that it was read from
    track: Track


def read_tracks(
    paths: Sequence[Union[str, Path]], kinds: Sequence[str], max_gap: float = TOUCH_SECONDS
) -> List[NamedTrack]:
    """The tracks in files and folders, told by content and not by name: one for each of the kinds,
    in their order, of all that are of it, joined by time; what is of none of them is of the first.

    `max_gap` as in join_tracks. Raises NotFound, BadTrack; one of a kind of which there is no file
    is not there.
    """
    found: List[List[Tuple[str, Track]]] = [[] for _ in kinds]
    for path in map(Path, paths):
        for kind, track in _read_path(path, kinds):
            found[_slot(kind, kinds)].append((path.resolve().name, track))
    tracks = []
    for kind, files in zip(kinds, found):
        names = list(dict.fromkeys(name for name, _ in files))
        if files:
            whole = join_tracks([track for _, track in files], max_gap)
            tracks.append(NamedTrack(kind, some_of(names, 2), whole))
    return tracks


def read_track(path: Union[str, Path], kind: str = "auto", max_gap: float = TOUCH_SECONDS) -> Track:
    """The track in a file, or in all files of a folder joined by time, told by content and not by
    name.

    `kind` (of one of READERS, or auto) is tried first where a movie holds several. `max_gap` as in
    join_tracks. Raises NotFound if there is nothing at `path`, BadTrack if no file of it can be
    used; single ones become notes.
    """
    if kind != "auto" and kind not in TRACK_SOURCES:
        remedy = "one of auto, " + ", ".join(TRACK_SOURCES)
        raise UsageError(
            "track_source", "no such kind of track", file=path, value=kind, remedy=remedy
        )
    return read_tracks([path], [kind], max_gap)[0].track


def track_stamps(paths: Sequence[str]) -> List[object]:
    """Name, size and time of each track file, or of every file that read_track reads of a folder;
    of the only one its own. The place does not matter.
    """
    stamps = [_path_stamps(path) for path in paths]
    return stamps[0] if len(stamps) == 1 else [*stamps]


def _path_stamps(path: str) -> List[object]:
    try:
        if not os.path.isdir(path):
            return [_plain_stamp(path)]
        files = _track_files(Path(path))
        return [[file.relative_to(path).as_posix(), _plain_stamp(str(file))] for file in files]
    except OSError as error:
        cause, remedy = error.strerror or "", "check --geotag_source_path"
        raise NotFound(
            "no_track", "cannot be read", file=path, value=cause, remedy=remedy
        ) from error


def _plain_stamp(path: str) -> List[Tuple[str, int]]:
    return sorted(stamp_by(os.stat(path))._asdict().items())


# ---- Movie facts --------------------------------------------------------------------------------
# Here: what a movie says of itself: camera, times, time code, spheres.
# Not here: tracks.

# 3GP: flags, language; QuickTime: length, too
_UDTA_TEXT = re.compile(rb"^(?:\0{4}..|\0...)?([^\0]*).*", re.DOTALL)
_BLACKVUE_MODEL = re.compile(rb'"model"\s*:\s*"([^"]+)"|pittasoft[^;]*;([^;\0]+)', re.IGNORECASE)
_NO_MODELS = ("", "Camera", "Video Global Settings")


class Movie(NamedTuple):
    """What an MP4 or MOV says of itself. None is unknown; a file of another kind has no known value
    at all.
    """

    # seconds UTC as the camera wrote it; many write local time
    creation_time: Optional[float] = None
    duration: Optional[float] = None  # seconds
    make: Optional[str] = None
    model: Optional[str] = None
    telemetry: Tuple[str, ...] = ()  # kinds of READERS that it holds
    key_gap: Optional[float] = None  # seconds between key frames, on average
    # real seconds since midnight at its begin, by its time code; cameras set that by their clock
    timecode: Optional[float] = None
    # what it says of equirectangular pictures: "whole", "part", "stereo"; "" = nothing
    sphere: str = ""
    zoned: Optional[float] = None  # seconds UTC by a time that names its zone


def _timecode(movie: Source) -> Optional[float]:
    """What the time code track of a movie (`tmcd`) counts at its begin, in real seconds."""
    for trak in movie.tracks(b"tmcd"):
        entry = movie.read(movie.child(trak, b"mdia", b"minf", b"stbl", b"stsd"))[8:]
        first = next(movie.payloads(trak, Points(movie.path, "")), None)
        if first is None or first.block is None or len(first.block) < 4 or len(entry) < 33:
            continue
        timescale, length = struct.unpack_from(">II", entry, 24)
        frames = int.from_bytes(first.block[:4], "big")
        return frames * length / timescale if timescale else None
    return None


_SPHERICAL = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")  # id of spherical metadata V1


_STEREO_MODE = re.compile(rb"<GSpherical:StereoMode>\s*(?!mono)\w", re.IGNORECASE)
_SPHERE_SIZE = re.compile(rb"<GSpherical:(FullPano|CroppedAreaImage)(Width|Height)Pixels>(\d+)")


def _sphere_v2(stsd: bytes) -> str:
    """What the boxes st3d and sv3d of a picture track say, as Movie.sphere has it."""
    place = stsd.find(b"equi")
    if b"sv3d" not in stsd or place < 0:
        return ""
    mode = stsd.find(b"st3d")
    if mode >= 0 and stsd[mode + 8 : mode + 9] not in (b"", b"\0"):
        return "stereo"
    return "part" if any(stsd[place + 8 : place + 24]) else "whole"


def _sphere_v1(text: bytes) -> str:
    """What the XML of the first version says, as Movie.sphere has it."""
    if text[:16] != _SPHERICAL or b"equirectangular" not in text:
        return ""
    if _STEREO_MODE.search(text):
        return "stereo"
    sizes: Dict[bytes, Set[bytes]] = {}
    for _, side, number in _SPHERE_SIZE.findall(text):
        sizes.setdefault(side, set()).add(number)
    return "part" if any(len(numbers) > 1 for numbers in sizes.values()) else "whole"


def _sphere(movie: Source) -> str:
    """What a movie says of equirectangular pictures, by a box of either version of the spherical
    metadata (github.com/google/spatial-media).
    """
    for trak in movie.boxes(movie.moov):
        stsd = movie.read(movie.child(trak, b"mdia", b"minf", b"stbl", b"stsd"))
        texts = [movie.read(box)[: 1 << 16] for box in movie.boxes(trak) if box.kind == b"uuid"]
        told = list(filter(None, [_sphere_v2(stsd), *map(_sphere_v1, texts)]))
        if told:
            return told[0]
    return ""


def _key_gap(movie: Source) -> Optional[float]:
    """Seconds between the key frames of an MP4 or MOV, on average; 0 where every frame is one; None
    for other files.
    """
    duration = movie.header.duration
    for box in movie.boxes(movie.moov) if movie.moov and duration else ():
        if movie.child(box, b"mdia", b"minf", b"vmhd"):
            keys = movie.child(box, b"mdia", b"minf", b"stbl", b"stss")
            return (duration or 0.0) / max(1, len(movie.table(keys, 8))) if keys else 0.0
    return None


# keys of a movie's metadata
MAKE_KEYS = ("com.apple.quicktime.make", "com.android.manufacturer")
MODEL_KEYS = ("com.apple.quicktime.model", "com.android.model")
DATE_KEYS = ("com.apple.quicktime.creationdate",)
# also as ffprobe names them
ZONED_KEYS = (*DATE_KEYS, "creation_date", "date", "date_recorded")


def _metadata(movie: Source) -> Dict[str, str]:
    """The texts of a movie's metadata by their keys (QuickTime File Format, metadata atoms)."""
    meta = movie.child(movie.moov, b"meta") or movie.child(movie.moov, b"udta", b"meta")
    if meta is None:
        return {}
    if movie.read(meta)[4:8] != b"hdlr":  # MP4 has a version here, QuickTime has not
        meta = meta._replace(start=meta.start + 4)
    content = movie.read(movie.child(meta, b"keys"))
    keys, place = [], 8
    while place + 8 <= len(content):
        size = max(8, int.from_bytes(content[place : place + 4], "big"))
        keys.append(content[place + 8 : place + size].decode("utf-8", "replace"))
        place += size
    found = {}
    for entry in movie.boxes(movie.child(meta, b"ilst")):
        number, data = int.from_bytes(entry.kind, "big"), movie.child(entry, b"data")
        name = keys[number - 1] if 0 < number <= len(keys) else _ITEMS.get(entry.kind)
        if name is not None and data is not None:
            value = movie.read(data)[8 : 1 << 16]
            found[name] = value.decode("utf-8", "replace").strip("\0 ")
    return found


_ITEMS = {b"\xa9day": "date"}  # without keys, as iTunes has them


def time_in_zone(tags: Mapping[str, str]) -> Optional[float]:
    """Seconds UTC by a tag that names its zone; None where there is none, or a day alone, which is
    midnight in UTC.
    """
    text = first_of(tags, ZONED_KEYS) or ""
    told = zoned_time(text)
    return None if told is not None and told % DAY_S == 0 and text.strip().endswith("Z") else told


def first_of(tags: Mapping[str, str], names: Sequence[str]) -> Optional[str]:
    """The first of some tags that is there; None = none is."""
    return next((tags[name] for name in names if tags.get(name)), None)


def _user_data(movie: Source) -> Dict[bytes, bytes]:
    """The boxes of the user data of a movie."""
    boxes = movie.boxes(movie.child(movie.moov, b"udta"))
    return {box.kind: movie.read(box)[: 1 << 16] for box in boxes}


def _user_text(udta: Mapping[bytes, bytes], *kinds: bytes) -> str:
    """The text in the first of some boxes of user data; "" where there is none."""
    first = next((udta[kind] for kind in kinds if kind in udta), b"")
    return _UDTA_TEXT.sub(rb"\1", first).decode("utf-8", "replace").strip()


def _first_payload(movie: Source) -> bytes:
    """The first payload of GoPro's telemetry; nothing where there is none."""
    nowhere = Points(movie.path, "")
    payloads = (one for trak in movie.tracks(b"gpmd") for one in movie.payloads(trak, nowhere))
    return next((payload.block or b"" for payload in payloads), b"")


def _camera_names(
    movie: Source, tags: Mapping[str, str], udta: Mapping[bytes, bytes]
) -> Tuple[Optional[str], Optional[str]]:
    """Make and model of the camera that wrote a movie: user data, then metadata, then GoPro's, then
    BlackVue's.
    """
    make = _user_text(udta, b"\xa9mak", b"manu", b"@mak")
    model, settings = _user_text(udta, b"\xa9mod", b"modl", b"@mod"), udta.get(b"GPMF", b"")
    make = make or first_of(tags, MAKE_KEYS) or ""
    model = model or first_of(tags, MODEL_KEYS) or ""
    first = _first_payload(movie)
    black = _BLACKVUE_MODEL.search(b"\n".join(blackvue_boxes(movie, b"cprt")))
    if settings or first[:4] == b"DEVC":
        places = ((settings, b"MINF"), (settings, b"DVNM"), (first, b"DVNM"))
        names = [gpmf_name(block, key) for block, key in places]
        make = make or "GoPro"
        model = model or next((name for name in names if name not in _NO_MODELS), "")
    elif holds_insta360(movie):
        make, model = make or "Insta360", model or insta360_model(movie)
    elif black is not None:
        make = make or "BlackVue"
        model = model or (black.group(1) or black.group(2)).decode("utf-8", "replace").strip()[:80]
    return make or None, model or None


def read_movie(path: Union[str, Path]) -> Movie:
    """What an MP4 or MOV says of itself, without ffprobe. Raises BadTrack if the file cannot be
    read at all.
    """
    try:
        with open_file(path) as handle:
            movie = Source(handle, Path(path))
            udta = _user_data(movie)
            tags = {"date": _user_text(udta, b"\xa9day"), **_metadata(movie)}
            make, model = _camera_names(movie, tags, udta)
            kinds = tuple(
                reader.kind for reader in READERS if movie.family == "movie" and reader.holds(movie)
            )
            created, duration = movie.header.creation_time, movie.header.duration
            more = _key_gap(movie), _timecode(movie), _sphere(movie), time_in_zone(tags)
            return Movie(created, duration, make, model, kinds, *more)
    except OSError as error:
        raise unreadable_track(Path(path), error) from error


# ---- Video stream -------------------------------------------------------------------------------
# Here: the MP4 that goes up of a video: its picture tracks as they are, and one CAMM track.
# Not here: which points that has; sending.

STREAM_FORM = 1  # raised whenever the same video and points would give other bytes
VIDEO_BYTES = 110 << 30  # bytes of a video that the service takes at most
_MOST_32 = (1 << 32) - 1
_CAMM_PACKED = struct.Struct("<HHdidd7f")  # type 6: with UTC
_CAMM_BARE = struct.Struct("<HHddd")  # type 5
_HIGHEST = 1e6  # metres; what is higher, or deeper, is no altitude
_NO_ALTITUDE = -1.0  # metres, by which the service's reader knows that there is none


class Clip(NamedTuple):
    """What is known of a video that goes up whole, or why it does not."""

    video: str  # file name
    digest: str  # of its size and both its ends
    size: int  # bytes
    mtime: int  # milliseconds since 1970
    settings: str = ""  # hash of all that its places depend on
    user: Optional[str] = None  # who uploads it
    organization: Optional[str] = None  # for which
    make: Optional[str] = None
    model: Optional[str] = None
    source: Optional[str] = None  # the clock of its places, as in Track
    track: str = ""  # hash of its places and of all else that is added to it
    parked: Optional[bool] = None  # it did not move
    metres: Optional[float] = None  # along its places
    local: Optional[bool] = None  # its times are of a clock that people set: they are not sent
    problem: Optional[Problem] = None  # why it cannot go up; its file is the video
    places: Tuple[Sample, ...] = ()  # in order of video time

    @property
    def id(self) -> str:
        """The id of the video: its name, and what it is known by."""
        text = f"{composed(self.video)}|{self.digest}"
        return uuid_of(text.encode("utf-8", "surrogateescape"))

    @property
    def stamp(self) -> Stamp:
        """Size and time of the file."""
        return Stamp(self.size, self.mtime)

    @property
    def sent(self) -> List[Sample]:
        """Its places as they are sent."""
        return [one._replace(time=None) if self.local else one for one in self.places]

    def outcome(self, path: str) -> Optional[Outcome]:
        """Why the video at a path goes no further; None = it does."""
        if self.problem is not None:
            return Outcome("failed", self.problem.code, self.problem._replace(file=path))
        return Outcome("skipped", SKIP_PARKED) if self.parked else None


class Hashed(NamedTuple):
    """The md5 of a video as it goes out."""

    video: str  # file name
    size: int  # bytes, of the file
    mtime: int  # milliseconds since 1970
    track: str  # as its Clip has it
    md5: str  # "" = not known
    ctime: Optional[int] = None  # milliseconds since 1970; None = this system does not tell


class Stream(NamedTuple):
    """A file as it goes out: a head of its own, and behind it stretches of the file."""

    head: bytes
    spans: Sequence[Tuple[int, int]]  # (start, end) in bytes

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.head) + sum(end - start for start, end in self.spans)


def _bad_video(path: Path, code: str, wrong: str, value: str, remedy: str) -> ToolError:
    """The error for a video that cannot go up whole."""
    return ToolError(code, wrong, file=path, value=value, remedy=remedy)


_COPY_AGAIN = "copy it from the card again, or let the camera repair it"


def _box(kind: bytes, *parts: bytes) -> bytes:
    """A box of an MP4."""
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full_box(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with a version and flags."""
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


class _Pictures(NamedTuple):
    """A track of pictures, and where its chunks lie in the file."""

    trak: MovieBox
    chunks: List[Tuple[int, int]]  # (start, end) in bytes


def _sizes(movie: Source, table: Optional[MovieBox]) -> Tuple[int, int, Sequence[int]]:
    """(bytes of every sample, 0 = they differ; how many samples; their sizes where they differ)."""
    small = movie.child(table, b"stz2")
    if small is not None:
        bits, content = movie.read(small)[7:8], movie.read(small)[12:]
        count = int.from_bytes(movie.read(small)[8:12], "big")
        if bits == b"\x04":
            sizes: Sequence[int] = [half for one in content for half in (one >> 4, one & 15)]
        else:
            sizes = movie.table(small, 12, 1, "B" if bits == b"\x08" else "H")
        return 0, count, sizes[:count]
    stsz = movie.child(table, b"stsz")
    fixed, count = struct.unpack(">II", movie.read(stsz)[4:12].ljust(8, b"\0"))
    return fixed, count, () if fixed else movie.table(stsz, 12)


def _chunks(movie: Source, trak: MovieBox) -> List[Tuple[int, int]]:
    """Where the chunks of a track lie, (start, end); those without a sample are empty. Raises
    ToolError where tables do not fit together.
    """
    table = movie.child(trak, b"mdia", b"minf", b"stbl")
    fixed, left, sizes = _sizes(movie, table)
    first = movie.table(movie.child(table, b"stsc"), 8, 3)[:1]
    times = movie.table(movie.child(table, b"stts"), 8, 2)
    known = fixed or len(sizes) == left
    if not known or any(n != 1 for n in first) or sum(times[::2]) > 2 * left + 2:
        raise _bad_index(movie, f"of {left} pictures")
    chunks, at = [], 0
    for offset, samples in movie.chunks(table):
        count = min(samples, left)
        size = count * fixed if fixed else sum(sizes[at : at + count])
        chunks.append((offset, offset + size))
        at, left = at + count, left - count
    if left:
        raise _bad_index(movie, f"{left} pictures are nowhere")
    return chunks


def _bad_index(movie: Source, value: str) -> ToolError:
    """The error for an index that contradicts itself."""
    return _bad_video(movie.path, "damaged", "has an index that cannot be", value, _COPY_AGAIN)


def _picture_tracks(movie: Source) -> List[_Pictures]:
    """The tracks of pictures of a movie; raises ToolError where they cannot all be had."""
    traks = [box for box in movie.boxes(movie.moov) if box.kind == b"trak"]
    pictures = []
    for trak in traks:
        if movie.read(movie.child(trak, b"mdia", b"hdlr"))[8:12] == b"vide":
            _check_reference(movie, trak)
            pictures.append(_Pictures(trak, _chunks(movie, trak)))
    if not pictures:
        wrong = "has no pictures"
        raise _bad_video(movie.path, "no_pictures", wrong, "", "leave it out")
    if not any(end > start for track in pictures for start, end in track.chunks):
        raise _bad_index(movie, "of no pictures")
    return pictures


def _check_reference(movie: Source, trak: MovieBox) -> None:
    """Raise ToolError for a track whose pictures are in another file."""
    dref = movie.read(movie.child(trak, b"mdia", b"minf", b"dinf", b"dref"))
    named = int.from_bytes(dref[8:12], "big") > 12
    if len(dref) > 20 and named and not dref[19] & 1:
        wrong, remedy = "has its pictures in another file", "export it as one file"
        raise _bad_video(movie.path, "bad_video", wrong, "", remedy)


def _no_movie(movie: Source) -> ToolError:
    """The error for a file that is no MP4: which other video it is, or what else."""
    movie.handle.seek(0)
    begin = movie.handle.read(512)
    kind = kind_by_content(begin)
    name = "" if kind is None or kind.name == "a video" else kind.name
    if begin.startswith(b"\xff\xd8\xff"):
        name = "a JPEG"
    if not begin:
        name = "empty (0 bytes)"
    if name:
        wrong = "is no MP4, and no video: it is " + name.replace("photo", "video")
        return _bad_video(movie.path, "not_video", wrong, "", _COPY_AGAIN)
    wrong = "is no MP4 or MOV, and only those go up whole"
    remedy = "--videos sample sends frames of it; ffmpeg can rewrap it: -c copy NAME.mp4"
    return _bad_video(movie.path, "not_mp4", wrong, "", remedy)


def _check_whole(movie: Source) -> None:
    """Raise ToolError for a file that is no movie with one index."""
    kinds = {box.kind for box in movie.top}
    if movie.family != "movie":
        raise _no_movie(movie)
    parts = movie.child(movie.moov, b"mvex") is not None
    if b"moof" in kinds or parts:
        wrong = "is fragmented: its index is spread over the file"
        remedy = f"ffmpeg -i {movie.path.name} -map 0 -copy_unknown -c copy WHOLE.mp4 makes it one"
        raise _bad_video(movie.path, "fragmented", wrong, "", remedy)
    if movie.index_flaw:
        raise _bad_video(movie.path, "damaged", movie.index_flaw, "", _COPY_AGAIN)


def _spans_of(movie: Source, tracks: Sequence[_Pictures]) -> List[Tuple[int, int]]:
    """The chunks of all tracks in the order of the file; raises ToolError where they are
    not there.
    """
    spans = sorted({chunk for track in tracks for chunk in track.chunks if chunk[1] > chunk[0]})
    lost = sum(max(0, end - max(start, movie.size)) for start, end in spans)
    total = sum(end - start for start, end in spans)
    if lost:
        wrong = "is cut off: a part of its pictures lies behind its end"
        value = f"{lost} of {total} bytes"
        raise _bad_video(movie.path, "cut_off", wrong, value, _COPY_AGAIN)
    if total > movie.size:
        raise _bad_index(movie, f"{total} bytes of pictures in {movie.size}")
    return spans


def _rebuilt(movie: Source, box: MovieBox, offsets: Sequence[int]) -> bytes:
    """A box of a picture track as it goes out: with other offsets of chunks, and without references
    to tracks that are left out.
    """
    if box.kind not in (b"trak", b"mdia", b"minf", b"stbl"):
        content = movie.read(box)
        if len(content) < box.end - box.start:
            raise _bad_index(movie, f"a box of {box.end - box.start} bytes")
        return _box(box.kind, content)
    left_out = (b"stco", b"co64", b"tref", b"free", b"skip")
    parts = [_rebuilt(movie, one, offsets) for one in movie.boxes(box) if one.kind not in left_out]
    if box.kind == b"stbl":
        places = array("Q", offsets)
        if sys.byteorder == "little":
            places.byteswap()
        parts.append(_full_box(b"co64", struct.pack(">I", len(offsets)), places.tobytes()))
    return _box(box.kind, *parts)


def _track_number(movie: Source, trak: MovieBox) -> int:
    """The id of a track."""
    header = movie.read(movie.child(trak, b"tkhd")).ljust(24, b"\0")
    return int.from_bytes(header[20:24] if header[0] == 1 else header[12:16], "big")


def camm_records(samples: Sequence[Sample]) -> List[bytes]:
    """Places as records of CAMM: of type 6 where UTC is known, else of type 5."""
    records = []
    for one in samples:
        there = one.alt is not None and abs(one.alt) < _HIGHEST
        alt = one.alt if one.alt is not None and there else _NO_ALTITUDE
        if one.time is None:
            records.append(_CAMM_BARE.pack(0, 5, one.lat, one.lon, alt))
        else:
            fix, unknown = (3 if there else 2), (0.0,) * 6
            values = (one.time, fix, one.lat, one.lon, alt, *unknown)
            records.append(_CAMM_PACKED.pack(0, 6, *values))
    return records


class _Camm(NamedTuple):
    """A CAMM track that is to be made."""

    number: int  # of the track
    samples: Sequence[Sample]  # in order of video time
    records: Sequence[bytes]
    mvhd: bytes  # of the movie
    timescale: int  # units a second of the movie

    def trak(self, offset: int) -> bytes:
        """The track, whose records lie at an offset of what goes out."""
        first, last = self.samples[0].video, self.samples[-1].video
        scale = max(1000, self.timescale)
        if (last - first) * scale > _MOST_32:  # which a duration may not have
            scale = 1000
        units = [round((one.video - first) * scale) for one in self.samples]
        gaps = [after - before for before, after in zip(units, units[1:])] + [0]
        runs = [(len(list(same)), gap) for gap, same in itertools.groupby(gaps)]
        created, changed = self._times()
        undetermined = 0x55C4  # language `und` (ISO 639-2/T, packed)
        media = struct.pack(">QQIQHH", created, changed, scale, units[-1], undetermined, 0)
        handler = struct.pack(">4x4s12x", b"camm") + b"CameraMetadataMotionHandler\0"
        mdia = _box(
            b"mdia",
            _full_box(b"mdhd", media, version=1),
            _full_box(b"hdlr", handler),
            _box(b"minf", _SELF, self._table(runs, offset)),
        )
        return _box(b"trak", self._header(), self._edits(first), mdia)

    def _times(self) -> Tuple[int, int]:
        """When the movie was created and changed, in seconds since 1904."""
        wide = self.mvhd[0] == 1
        created, changed = struct.unpack_from(">QQ" if wide else ">II", self.mvhd, 4)
        return created, changed

    def _header(self) -> bytes:
        """The header of the track, whose length is not told."""
        created, changed = self._times()
        numbers = (created & _MOST_32, changed & _MOST_32, self.number, 0, _MOST_32)
        matrix = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
        return _full_box(
            b"tkhd", struct.pack(">5I", *numbers), bytes(16), matrix, bytes(8), flags=7
        )

    def _edits(self, first: float) -> bytes:
        """An edit list where the first place is known later than the video begins."""
        late = round(first * self.timescale)
        if late <= 0:
            return b""
        form = ">IIiI" if late <= _MOST_32 else ">IQqI"
        edit = struct.pack(form, 1, late, -1, 1 << 16)
        return _box(b"edts", _full_box(b"elst", edit, version=int(late > _MOST_32)))

    def _table(self, runs: Sequence[Tuple[int, int]], offset: int) -> bytes:
        """The sample table: all records in one chunk."""
        sizes = [len(record) for record in self.records]
        if len(set(sizes)) == 1:
            table = struct.pack(">II", sizes[0], len(sizes))
        else:
            table = struct.pack(f">II{len(sizes)}I", 0, len(sizes), *sizes)
        entry = _box(b"camm", bytes(6), struct.pack(">H", 1))
        durations = b"".join(struct.pack(">II", *run) for run in runs)
        return _box(
            b"stbl",
            _full_box(b"stsd", struct.pack(">I", 1), entry),
            _full_box(b"stts", struct.pack(">I", len(runs)), durations),
            _full_box(b"stsc", struct.pack(">4I", 1, 1, len(sizes), 1)),
            _full_box(b"stsz", table),
            _full_box(b"co64", struct.pack(">IQ", 1, offset)),
        )


# a data reference to the file itself
_SELF = _box(b"dinf", _full_box(b"dref", struct.pack(">I", 1), _full_box(b"url ", flags=1)))


class _Outline(NamedTuple):
    """What goes up of a video, but for where its parts will lie."""

    movie: Source
    tracks: Sequence[_Pictures]
    spans: Sequence[Tuple[int, int]]
    camm: _Camm
    names: Sequence[Tuple[bytes, str]]  # user data of the camera

    def head(self, begin: int) -> bytes:
        """All before the pictures, whose first byte goes out at begin."""
        movie, records = self.movie, b"".join(self.camm.records)
        kinds = [_box(box.kind, movie.read(box)) for box in movie.top if box.kind == b"ftyp"]
        size = 8 + len(records) + sum(end - start for start, end in self.spans)
        media = struct.pack(">I4sQ", 1, b"mdat", size + 8)
        if size <= _MOST_32:
            media = struct.pack(">I4s", size, b"mdat")
        return b"".join([*kinds[:1], self._index(begin, len(records)), media, records])

    def _index(self, begin: int, before: int) -> bytes:
        """The index, where so many bytes of records lie before the pictures."""
        places, at = {}, begin
        for start, end in self.spans:
            places[start, end] = at
            at += end - start
        numbers = [self.camm.number, *(_track_number(self.movie, one.trak) for one in self.tracks)]
        number = struct.pack(">I", min(max(numbers) + 1, _MOST_32))
        parts = [_box(b"mvhd", self.camm.mvhd[:-4] + number)]
        for track in self.tracks:
            offsets = [places.get(chunk, begin) for chunk in track.chunks]
            parts.append(_rebuilt(self.movie, track.trak, offsets))
        parts.append(self.camm.trak(begin - before))
        texts = [_box(kind, text.encode("utf-8")) for kind, text in self.names if text]
        if texts:
            parts.append(_box(b"udta", *texts))
        return _box(b"moov", *parts)


def check_video(movie: Source) -> None:
    """Raise ToolError for a video that cannot go up whole."""
    _checked(movie)


def _checked(movie: Source) -> Tuple[List[_Pictures], List[Tuple[int, int]]]:
    """(tracks of pictures, where their chunks lie) of a video that can go up whole; raises
    ToolError for another.
    """
    _check_whole(movie)
    tracks = _picture_tracks(movie)
    spans = _spans_of(movie, tracks)
    if len(_movie_header(movie)) < _MVHD_BYTES:
        raise _bad_index(movie, "no whole mvhd")
    total = sum(end - start for start, end in spans)
    if total > VIDEO_BYTES:
        wrong, remedy = "is longer than the service takes", "cut it into parts"
        raise _bad_video(movie.path, "too_long", wrong, f"{total} bytes", remedy)
    return tracks, spans


_MVHD_BYTES = 100  # at least


def _movie_header(movie: Source) -> bytes:
    return movie.read(movie.child(movie.moov, b"mvhd"))


def video_stream(
    movie: Source, samples: Sequence[Sample], make: Optional[str], model: Optional[str]
) -> Stream:
    """What goes up of a video, with the places that it was at, in order of video time, of which
    there is one at least.

    Tables of the index are in memory, pictures never; the same video and places always give the
    same bytes. Raises ToolError for a video that cannot go up whole, OSError.
    """
    tracks, spans = _checked(movie)
    taken = {_track_number(movie, track.trak) for track in tracks}
    number = next(
        n
        for n in (max(taken) + 1, *range(1, len(taken) + 2))
        if 0 < n <= _MOST_32 and n not in taken
    )
    scale = movie.header.timescale or 1000
    camm = _Camm(number, samples, camm_records(samples), _movie_header(movie), scale)
    names = ((b"@mak", make or ""), (b"@mod", model or ""))
    outline = _Outline(movie, tracks, spans, camm, names)
    head = outline.head(len(outline.head(_MOST_32)))  # its length does not depend on offsets
    return Stream(head, _joined(spans))


def _joined(spans: Sequence[Tuple[int, int]]) -> List[Tuple[int, int]]:
    """Stretches, those that touch as one."""
    whole: List[Tuple[int, int]] = []
    for start, end in spans:
        if whole and whole[-1][1] == start:
            whole[-1] = whole[-1][0], end
        else:
            whole.append((start, end))
    return whole


# ---- Records ------------------------------------------------------------------------------------
# Here: what a journal keeps beside images, as types.
# Not here: its lines and its file.


class Sent(NamedTuple):
    """What is known of an image's upload to a service."""

    image: str  # file name
    service: str
    status: str  # "started", "sent", "elsewhere" (from another folder, in whose sequence), "failed"
    photo: Optional[str] = None  # id of the photo, so that another of this name is told from it
    key: Optional[str] = None  # under which the service has, or gets, its bytes
    handle: Optional[str] = None  # what the service gave for it
    problem: Optional[Problem] = None
    picture: Optional[str] = None  # by which the history of uploads knows it
    fix: Optional[str] = None  # fix_id() of the time and position that it was sent with
    size: Optional[int] = None  # bytes of the file of an image as found

    @property
    def arrived(self) -> bool:
        """Whether the service has it."""
        return self.status in ("sent", "elsewhere")


class Manifest(NamedTuple):
    """What is known of a sequence at a service."""

    id: str
    service: str
    images: Tuple[str, ...] = ()  # file names
    key: Optional[str] = None
    handle: Optional[str] = None
    cluster: Optional[str] = None  # what the service calls it; None = not finished


class Sampling(NamedTuple):
    """What sampling wrote into the folder: one line before the frames of a video are moved there,
    one behind.
    """

    path: str  # of the video
    digest: str  # of the video
    frames: Mapping[str, Stamp] = MappingProxyType({})  # name -> size and time
    done: Optional[str] = None  # hash of the settings, once all frames are there
    problem: Optional[Problem] = None  # for which frames of the video are missing


class Arrival(NamedTuple):
    """A photo that a service has: a line of the history of uploads."""

    picture: str  # picture_id()
    service: str
    folder: str  # that it was sent from
    image: str  # file name there
    at: str  # time, UTC


class Settled(NamedTuple):
    """A folder in which a run left nothing to do, and what that run told."""

    size: int  # of its journal
    checksum: int  # CRC-32 of that
    basis: str  # hash of what the results depend on, with the folders of the run
    names: str  # hash of the names of its images
    files: str  # hash of them as they are and of the names of their copies; "" = not known
    ids: Tuple[str, ...]  # of its sequences
    members: Mapping[str, int]  # name of an image -> which of ids its sequence has
    others: Mapping[str, Outcome]  # name -> why an image goes no further
    notes: Tuple[str, ...]  # said while it ran, whatever was to be done
    lines: Tuple[str, ...]  # of its summary
    facts: Mapping[str, object]


Line = Union[Image, Sent, Manifest, Sampling, Clip, Hashed]


# ---- Journal lines ------------------------------------------------------------------------------
# Here: a journal's lines packed and unpacked, here alone; values of odd types are refused.
# Not here: the file, what the steps mean, and when one is out of date.

JOURNAL_FORMAT = 1  # raised when an older version could no longer read the file
# of an image, or of a video that goes up whole
NAMED_LINE = re.compile(rb'\{"(image|video)":("(?:[^"\\]|\\.)*")')
Row = Dict[str, Any]  # plain values by name, as JSON has them

_PLAIN = {float: (float, int), int: (int,), str: (str,), bool: (bool,)}
_HUGE = 1 << 63  # whole numbers of a line are smaller


@functools.lru_cache(maxsize=None)
def _plain_fields(kind: type) -> Dict[str, Tuple[type, ...]]:
    """The fields of a layer that stand in JSON as they are, with the types that they may have."""
    found: Dict[str, Tuple[type, ...]] = {}
    for name, hint in typing.get_type_hints(kind).items():
        kinds = [part for part in getattr(hint, "__args__", (hint,)) if part is not type(None)]
        if len(kinds) == 1 and kinds[0] in _PLAIN:
            found[name] = _PLAIN[kinds[0]]
    return found


def _read_plain(kind: type, row: Row) -> Row:
    """The plain fields of a layer that a row has; raises TypeError for a value of another type."""
    values, fields = {}, _plain_fields(kind)
    for name, value in row.items():
        types = fields.get(name)
        if types is None or value is None:
            continue
        given = type(value)
        if given not in types:
            raise TypeError(f"{name} is {given.__name__}")
        if given is float and not math.isfinite(value):
            raise ValueError(f"{name} is not finite")
        if given is int and abs(value) >= _HUGE:
            raise ValueError(f"{name} is huge")
        values[name] = value
    return values


def _known_fields(layer: NamedTuple) -> Row:
    """The values of a layer that are not None, by name."""
    return {name: value for name, value in zip(layer._fields, layer) if value is not None}


def known_values(**values: Any) -> Row:
    """The values that are not None, by name."""
    return {key: value for key, value in values.items() if value is not None}


def _tags_row(tags: Optional[Tuple[MetaTag, ...]]) -> Optional[List[Row]]:
    return None if tags is None else [tag._asdict() for tag in tags]


def _read_tags(rows: Any) -> Optional[Tuple[MetaTag, ...]]:
    if rows is None:
        return None
    tags = [MetaTag(row["type"], str(row["key"]), row["value"]) for row in rows]
    if not all(tag.type in TAG_LISTS and isinstance(tag.value, (str, int, float)) for tag in tags):
        raise TypeError("no such tag")
    return tuple(tags)


def _pair_of(kinds: Tuple[type, ...], values: Any) -> Tuple[Any, Any]:
    """Two values of some types; raises TypeError or ValueError for anything else."""
    first, second = values
    if type(first) not in kinds or type(second) not in kinds:
        raise TypeError("no such pair")
    return first, second


def _read_raw(raw: Any) -> Raw:
    """The tags as a file had them; raises TypeError for what no photo gives."""
    for tags in raw.values():
        if not all(isinstance(value, (str, int, float, list)) for value in tags.values()):
            raise TypeError("no such tag")
        for value in tags.values():
            unplain(value)  # raises ValueError for letters that are no bytes
    return dict(raw)


def _problem_row(problem: Problem, whole: bool) -> Row:
    """A problem without its file; whole: with the values that are empty."""
    row = problem._asdict()
    ordered = {name: row[name] for name in ("code", "wrong", "value", "remedy")}
    return {name: text for name, text in ordered.items() if text or whole}


def _read_problem(row: Row) -> Problem:
    return Problem(**_read_plain(Problem, row))


@functools.lru_cache(maxsize=None)
def _clock_keys(name: str) -> Tuple[str, ...]:
    """The names of a clock's tags: text, and for those of EXIF fraction and offset."""
    if name not in EXIF_CLOCKS:
        return (name,)
    return name, name.replace("DateTime", "SubSecTime"), name.replace("DateTime", "OffsetTime")


def _times_row(clocks: Tuple[Clock, ...]) -> Optional[Row]:
    """The texts of the clocks by the names of their tags: all texts, fractions, offsets."""
    pairs = [list(zip(_clock_keys(clock.name), clock[1:])) for clock in clocks]
    columns = itertools.chain.from_iterable(itertools.zip_longest(*pairs))
    return {pair[0]: pair[1] for pair in columns if pair and pair[1]} or None


def _read_clocks(row: Row) -> Tuple[Clock, ...]:
    found = []
    for name in CLOCK_NAMES:
        keys = _clock_keys(name)
        if row.keys().isdisjoint(keys):
            continue
        texts = [str(row.get(key, "")) for key in keys]
        if any(texts):
            found.append(Clock(name, *texts))
    return tuple(found)


def pack_found(found: Found) -> Row:
    """What a file carried, as plain values by name."""
    row = known_values(times=_times_row(found.clocks))
    row.update(_known_fields(found))
    row.pop("clocks")
    if found.pixels is not None:
        row["pixels"] = list(found.pixels)
    if found.xmp is not None:
        row["xmp"] = _known_fields(found.xmp)
    if found.error is not None:
        row["error"] = _problem_row(found.error, True)
    return row


def unpack_found(row: Row) -> Found:
    """What a file carried, from plain values by name; raises one of DAMAGED."""
    values = _read_plain(Found, row)
    values["clocks"] = _read_clocks(row["times"]) if "times" in row else ()
    if "pixels" in row:
        values["pixels"] = _pair_of((int, type(None)), row["pixels"])
    if "xmp" in row:
        values["xmp"] = Xmp(**_read_plain(Xmp, row["xmp"]))
    if row.get("raw") is not None:
        values["raw"] = _read_raw(row["raw"])
    if "error" in row:
        values["error"] = _read_problem(row["error"])
    return Found(**values)


def pack_given(given: Given) -> Row:
    """What was given, as plain values by name."""
    row = _known_fields(given)
    if given.tags is not None:
        row["tags"] = _tags_row(given.tags)
    if given.filled is not None:
        row["filled"] = list(given.filled)
    return row


def _unpack_given(row: Row) -> Given:
    values = _read_plain(Given, row)
    values["tags"] = _read_tags(row.get("tags"))
    if "filled" in row:
        values["filled"] = _pair_of((int, float), row["filled"])
    return _real(Given(**values))


def _pack_layer(layer: Layer) -> Row:
    """What a step made of an image, as its entry's data."""
    row = _known_fields(layer)
    if isinstance(layer, Device) and layer.tags is not None:
        row["tags"] = _tags_row(layer.tags)
    if isinstance(layer, Geotag) and layer.around is not None:
        row["around"] = list(layer.around)
    if isinstance(layer, Membership):
        if layer.repeats is not None:
            return _known_fields(layer.repeats)
        row.update(known_values(limits=layer.limits, span=layer.span))
    return row


def _unpack_device(row: Row) -> Device:
    return Device(**_read_plain(Device, row), tags=_read_tags(row.get("tags")))


def _unpack_geotag(row: Row) -> Geotag:
    around = _pair_of((int, float), row["around"]) if "around" in row else None
    return _real(Geotag(**_read_plain(Geotag, row), around=around))


def _unpack_membership(row: Row) -> Membership:
    if "partner" in row:
        return Membership(repeats=Repeat(**_read_plain(Repeat, row)))
    limits = _pair_of((int, float), row["limits"]) if "limits" in row else None
    span = tuple(row["span"]) if "span" in row else None
    if not all(map(is_numbered, span or ())):
        raise ValueError("no such folders")
    return Membership(**_read_plain(Membership, row), limits=limits, span=span)


# seconds UTC of the years 1 and 10000, between which a time can be written as text
_FIRST_TIME, _LAST_TIME = -62135596800, 253402300800
V = TypeVar("V", Geotag, Given, Found)


def _real(layer: V) -> V:
    """A layer whose time and place exist; raises ValueError for one that no run makes."""
    when = layer.gps_time if isinstance(layer, Found) else layer.time
    if when is not None and not _FIRST_TIME <= when < _LAST_TIME:
        raise ValueError("no such time")
    for value, limit in ((layer.lat, 90.0), (layer.lon, 180.0), (layer.alt, 1e9)):
        if value is not None and not abs(value) <= limit:
            raise ValueError("no such place")
    return layer


_LAYERS: Dict[
    str, Tuple[str, Callable[[Row], Layer]]
] = {  # step -> field of an Image, reader of its data
    USER: ("uploader", lambda row: Uploader(**_read_plain(Uploader, row))),
    META: ("device", _unpack_device),
    GEOTAG: ("geotag", lambda row: _unpack_geotag(row)),
    SEQUENCE: ("membership", _unpack_membership),
    PARAMS: ("terms", lambda row: Terms(**_read_plain(Terms, row))),
    DESCRIPTION: ("described", lambda row: Described(**_read_plain(Described, row))),
}


def _pack_step(image: Image, step: str, layer: Optional[Layer]) -> Row:
    """The entry of a step that was taken, well or not."""
    settings = image.settings_by_step.get(step, "")
    if image.failure is not None and image.failure.step == step:
        error = _problem_row(image.failure.problem, False)
        return {"status": "failed", "settings": settings, "error": error}
    assert layer is not None
    repeats = isinstance(layer, Membership) and layer.repeats is not None
    word = "duplicate" if repeats else "success"
    return {"status": word, "settings": settings, "data": _pack_layer(layer)}


def pack_image(image: Image) -> Row:
    """The journal's row about an image, in its fixed order of keys."""
    row: Row = {"image": image.path.name, "at": format_time(time.time())}
    if image.found is not None:
        row["found"] = pack_found(image.found)
    if image.given is not None:
        row["given"] = pack_given(image.given)
    layers = zip(STEPS, image.layers)
    row["steps"] = {s: _pack_step(image, s, layer) for s, layer in layers if image.taken(s)}
    if image.written is not None:
        row["written"] = _known_fields(image.written)
    if image.copied is not None:
        row["copied"] = _known_fields(image.copied)
    return row


def unpack_image(path: Path, row: Row, timed: bool = True) -> Image:
    """The image of a row; raises one of DAMAGED. timed: with what its own clocks say also where it
    is geotagged.
    """
    found = unpack_found(row["found"])
    given = _unpack_given(row["given"]) if "given" in row else None
    values: Row = {"found": found, "given": given}
    for name in ("written", "copied"):
        if name in row:
            values[name] = Written(**_read_plain(Written, row[name]))
    settings: Dict[str, str] = {}
    for step, entry in (row.get("steps") or {}).items():
        if step in _LAYERS:
            settings[step] = _one_word(entry["settings"])
            if entry["status"] == "failed":
                values["failure"] = Failure(step, _read_problem(entry["error"]))
            else:
                name, read = _LAYERS[step]
                values[name] = read(entry["data"])
    if "described" in values and "geotag" not in values:
        raise ValueError("a description without a place")
    capture = capture_time(found, path.name) if timed or "geotag" not in values else None
    return Image(path, capture=capture, settings=settings_text(settings), **values)


def _one_word(value: Any) -> str:
    """A text without blanks; raises ValueError for anything else."""
    if not isinstance(value, str) or " " in value:
        raise ValueError("no hash")
    return value


def _pack_sent(sent: Sent) -> Row:
    if sent.problem is None:
        values = sent._asdict()
        names = ("image", "service", "photo", "status", "key", "handle", "picture", "fix", "size")
        return known_values(**{name: values[name] for name in names})
    row = {"image": sent.image, "service": sent.service, "status": sent.status}
    row.update(_problem_row(sent.problem, True))
    return dict(row, key=sent.key) if sent.key else row


def unpack_sent(row: Row) -> Sent:
    """What is known of an upload; raises one of DAMAGED."""
    problem = _read_problem(row) if row["status"] == "failed" else None
    return Sent(**_read_plain(Sent, row), problem=problem)


def unpack_manifest(row: Row) -> Manifest:
    """What is known of a sequence; raises one of DAMAGED."""
    images = tuple([str(name) for name in row.get("images") or ()])
    return Manifest(**_read_plain(Manifest, row), images=images)


def unpack_arrival(row: Row) -> Arrival:
    """What is known of a photo that a service has; raises one of DAMAGED."""
    return Arrival(**_read_plain(Arrival, row))


def _pack_sampling(sampling: Sampling) -> Row:
    row: Row = {"path": sampling.path, "digest": sampling.digest}
    if sampling.problem is not None:
        row["problem"] = _problem_row(sampling.problem, False)
    if sampling.done is not None:
        return dict(row, done=sampling.done)
    return dict(row, frames={name: stamp._asdict() for name, stamp in sampling.frames.items()})


def _bare(name: Any) -> str:
    """A file name of a record; raises ValueError for one that leads out of its folder."""
    if not isinstance(name, str) or not name or name in (".", "..") or set(name) & set("/\\\0"):
        raise ValueError("no file name")
    return name


def unpack_sampling(row: Row) -> Sampling:
    """What sampling wrote; raises one of DAMAGED."""
    stamps = (row.get("frames") or {}).items()
    frames = {_bare(name): Stamp(**_read_plain(Stamp, stamp)) for name, stamp in stamps}
    problem = _read_problem(row["problem"]) if "problem" in row else None
    return Sampling(**_read_plain(Sampling, row), frames=frames, problem=problem)


def _pack_clip(clip: Clip) -> Row:
    row = _known_fields(clip)
    row["places"] = [[one.video, one.lat, one.lon, one.alt, one.time] for one in clip.places]
    if clip.problem is not None:
        row["problem"] = _problem_row(clip.problem, False)
    return row


def _read_place(values: Any) -> Sample:
    """A place of a video; raises TypeError or ValueError for one that is none."""
    video, lat, lon, alt, when = values
    numbers = [one for one in values if one is not None]
    if None in (video, lat, lon) or not all(type(one) in (int, float) for one in numbers):
        raise TypeError("no such place")
    if not all(map(math.isfinite, numbers)) or abs(lat) > 90 or abs(lon) > 180 or video < 0:
        raise ValueError("no such place")
    return Sample(video, when, lat, lon, alt)


def unpack_clip(row: Row) -> Clip:
    """What is known of a video; raises one of DAMAGED."""
    places = tuple(map(_read_place, row["places"]))
    if any(after.video < before.video for before, after in zip(places, places[1:])):
        raise ValueError("places out of order")
    problem = _read_problem(row["problem"]) if "problem" in row else None
    clip = Clip(**_read_plain(Clip, row), problem=problem, places=places)
    for text in (clip.digest, clip.user, clip.organization, clip.make, clip.model):
        (text or "").encode("utf-8")  # raises ValueError for letters that are none
    if problem is None and not places:
        raise ValueError("no places")
    return clip


def unpack_hashed(row: Row) -> Hashed:
    """The md5 of a video; raises one of DAMAGED."""
    hashed = Hashed(**_read_plain(Hashed, row))
    if not re.match(r"([0-9a-f]{32})?\Z", hashed.md5):
        raise ValueError("no md5")
    return hashed


def pack_settled(folder: Settled) -> Row:
    """A folder in which nothing is left to do, as plain values by name."""
    others = {}
    for name, (status, reason, problem, _) in folder.others.items():
        others[name] = status, reason, _problem_row(problem or Problem("", ""), False)
    return dict(folder._asdict(), others=others)


def unpack_settled(row: Row) -> Settled:
    """The reverse; raises one of DAMAGED."""
    others = {}
    for name, (status, reason, told) in row["others"].items():
        problem = _read_problem(told) if status == "failed" else None
        others[name] = Outcome(str(status), str(reason), problem)
    plain_ones, facts = _read_plain(Settled, row), dict(row["facts"])
    texts: Row = {name: tuple(map(str, row[name])) for name in ("ids", "notes", "lines")}
    members = {name: range(len(texts["ids"]))[n] for name, n in row["members"].items()}
    return Settled(**plain_ones, **texts, members=members, others=others, facts=facts)


def pack_line(line: Line) -> Row:
    """The row of a line."""
    if isinstance(line, Image):
        return pack_image(line)
    if isinstance(line, Sent):
        return {"upload": _pack_sent(line)}
    if isinstance(line, Manifest):
        return {"sequence": known_values(**line._asdict())}
    if isinstance(line, Clip):
        return _pack_clip(line)
    if isinstance(line, Hashed):
        return {"hashed": known_values(**line._asdict())}
    return {"sampling": _pack_sampling(line)}


# what a row of odd values raises
DAMAGED = (
    ValueError,
    RecursionError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
)


def log_text(image: Image, outcome: Optional[Outcome]) -> str:
    """All that is known of an image, each step's data and decision, for a person to read."""
    row = pack_image(image)
    if outcome is not None:
        repeats, problem = outcome.repeats, outcome.problem
        told = known_values(status=outcome.status, reason=outcome.reason)
        told.update(known_values(**repeats._asdict()) if repeats else {})
        row["outcome"] = dict(told, problem=problem._asdict()) if problem else told
    return json.dumps(row, indent=1, sort_keys=True)


# ---- Locks --------------------------------------------------------------------------------------
# Here: a folder for one run at a time, by a lock of the operating system.
# Not here: what a run does there.

# below a state folder
_OUR_NAMES = ("", "lock", "journal.jsonl", "settled.json", "process_images", "logs")


def _refuse_links(state: str) -> None:
    """Raise BadJournal where something of ours is a link: nothing is written, or removed, through
    one, since it may lead to somebody's photos.
    """
    for name in _OUR_NAMES:
        path = os.path.join(state, name).rstrip(os.sep)
        if os.path.islink(path):
            wrong, remedy = "is a link, which is not followed", "remove the link"
            raise BadJournal("state_link", wrong, file=path, remedy=remedy)


def wait_for_lock(folder: str, state: str, seconds: float) -> io.FileIO:
    """Lock a folder for this process, once another run that has it ends in so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _take_lock(folder, state)
        except InUse:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.2)


def _take_lock(folder: str, state: str) -> io.FileIO:
    """Lock a folder for this process; the operating system frees it whatever happens. Raises
    BadJournal, CannotWrite.
    """
    _refuse_links(state)
    try:
        if not os.path.isdir(state):
            os.makedirs(state, exist_ok=True)
            flush_folder(folder)
        lock = patiently(lambda: io.FileIO(os.path.join(state, "lock"), "a+"))
    except OSError as error:
        raise os_problem(state if os.path.lexists(state) else folder, error) from error
    try:
        locked = _lock_file(lock)
    except OSError as error:
        lock.close()
        raise os_problem(os.path.join(state, "lock"), error) from error
    if not locked:
        owner = ""
        with lock, contextlib.suppress(OSError):
            lock.seek(0)
            owner = lock.read(200).decode("utf-8", "replace").strip()
        raise InUse(**in_use(folder, owner)._asdict())
    import socket  # of the ways to the computer's name the one that is quick on Windows, too

    with contextlib.suppress(OSError):  # who holds it is a courtesy: a disk may be full
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}".encode("utf-8", "replace"))
    return lock


def _lock_file(stream: io.FileIO) -> bool:
    """Whether the operating system gave this process the lock on an open file."""
    try:
        if os.name == "nt":
            import msvcrt

            stream.seek(1 << 30)  # far behind the text, which others may read
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # 0: of a C library that does not tell why
        busy = (errno.EACCES, errno.EDEADLK, 0) if os.name == "nt" else (errno.EAGAIN,)
        if error.errno in busy:  # somebody has it
            return False
        LOG.warning("this file system has no locks: do not start a second run on the same folder")
    return True


# ---- Journal file -------------------------------------------------------------------------------
# Here: the end of a journal's file, to which lines are added; what lies beside it.
# Not here: what the lines say.

APPENDED = 1024  # lines that are added to a journal at a time


class Tail:
    """The end of a journal's file, to which whole lines are added; opened when the
    first one comes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.end = self.lines = 0  # offset behind the last whole line, and how many there are
        self.stream: Optional[io.FileIO] = None
        self.guard, self.closed = threading.Lock(), False

    def add(self, lines: Sequence[bytes], flush: bool) -> None:
        """Add lines and, with flush, wait for the disk; raises CannotWrite."""
        try:
            stream = self._open()
            write_all(stream, b"".join(lines))
            if flush:
                flush_file(stream.fileno())
        except OSError as error:
            self._drop()  # opened again, it is cut behind the last whole line
            raise os_problem(self.path, error) from error

    def _open(self) -> io.FileIO:
        """The stream to append to, cut behind the last whole line."""
        if self.stream is not None:
            return self.stream
        make_folder(os.path.dirname(self.path))
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        handle = patiently(lambda: os.open(self.path, flags, 0o666))
        stream = self.stream = io.FileIO(handle, "r+b")
        if os.fstat(stream.fileno()).st_size != self.end:  # FUSE may not know how
            stream.truncate(self.end)
        stream.seek(self.end)
        if not self.end:
            header = journal_header()
            write_all(stream, header)
            self.end = len(header)
            flush_folder(os.path.dirname(self.path))
            flush_folder(os.path.dirname(os.path.dirname(self.path)))
        return stream

    def flush(self) -> None:
        """Wait until everything that was added is on disk."""
        with self.guard:
            if self.stream is not None:
                try:
                    flush_file(self.stream.fileno())
                except OSError as error:
                    raise os_problem(self.path, error) from error

    def _drop(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def close(self) -> None:
        """Take no more."""
        self.closed = True
        self._drop()


def journal_header() -> bytes:
    """The first line of a journal."""
    row = {"journal": JOURNAL_FORMAT, "tool": "mapillary_tools " + __version__}
    return (canonical(row) + "\n").encode("ascii")


def state_of(path: str) -> str:
    """Where what we keep of an image's folder is. Temporary files of images are there too: many
    file systems take long to create one among thousands, and nobody watches this folder.
    """
    return os.path.join(os.path.dirname(path), STATE_FOLDER)


def copy_path(path: str) -> str:
    """Where --keep_original keeps the described copy of an image."""
    return os.path.join(state_of(path), "process_images", os.path.basename(path))


# ---- Journal ------------------------------------------------------------------------------------
# Here: .mapillary/journal.jsonl, one a folder: what has been done to which image or video.
# Not here: what is in a line; its lock.

COMPACT_RATIO = 4  # lines per live line from which the file is rewritten
_row_text = json.JSONEncoder(separators=(",", ":")).encode  # keys in the order they come in


class _Index:
    """What the lines of a journal say; the last line about a thing holds."""

    def __init__(self) -> None:
        self.images: Dict[str, Tuple[int, int]] = {}  # key of name -> offset and length of its line
        self.sent: Dict[Tuple[str, str], Sent] = {}  # (service, key of name) -> its upload
        self.manifests: Dict[Tuple[str, str], Manifest] = {}  # (service, id) -> the sequence there
        self.samplings: List[Sampling] = []  # in order: each counts
        self.clips: Dict[str, Tuple[int, int]] = {}  # of videos, as images
        self.hashed: Dict[str, Hashed] = {}  # key of name -> its md5
        self.handles: Dict[Tuple[str, str], str] = {}  # as sent -> what the service gave last

    def __len__(self) -> int:
        long, short = len(self.images) + len(self.clips), len(self.sent) + len(self.hashed)
        return long + short + len(self.manifests) + len(self.samplings)

    def note(self, line: Line, offset: int, length: int) -> None:
        """Remember what a line says."""
        if isinstance(line, Image):
            self.images[name_key(line.path.name)] = (offset, length)
        elif isinstance(line, Clip):
            self.clips[name_key(line.video)] = (offset, length)
        elif isinstance(line, Hashed):
            self.hashed[name_key(line.video)] = line
        elif isinstance(line, Sent):
            self._note_sent(line, (line.service, name_key(line.image)))
        elif isinstance(line, Manifest):
            self.manifests[line.service, line.id] = line
        else:
            self.samplings.append(line)

    def _note_sent(self, line: Sent, key: Tuple[str, str]) -> None:
        """Remember an upload. What finished sequences have of that name is none of it any more:
        earlier versions did not tell so of all sequences.
        """
        self.sent[key] = line
        if not line.handle:
            return
        before = self.handles.setdefault(key, line.handle)
        self.handles[key] = line.handle
        for place, one in self.manifests.items() if before != line.handle else ():
            if one.service == line.service and one.cluster and line.image in one.images:
                images = tuple(name for name in one.images if name != line.image)
                self.manifests[place] = one._replace(images=images)

    def note_text(self, text: bytes, offset: int) -> None:
        """Remember what a line of a file says, of an image only where it stands; raises like
        unpack.
        """
        match = NAMED_LINE.match(text)
        if match and text.endswith(b"}\n"):
            kind, name = match.groups()
            plain_name = json.loads(name) if b"\\" in name else name[1:-1].decode("ascii")
            places = self.images if kind == b"image" else self.clips
            places[name_key(plain_name)] = (offset, len(text))
            return
        row = json.loads(text)
        if "image" in row:  # of an editor, with other blanks or line ends
            self.images[name_key(row["image"])] = (offset, len(text))
        elif "video" in row:
            self.clips[name_key(row["video"])] = (offset, len(text))
        elif "hashed" in row:
            self.note(unpack_hashed(row["hashed"]), offset, len(text))
        elif "upload" in row:
            self.note(unpack_sent(row["upload"]), offset, len(text))
        elif "sampling" in row:
            self.note(unpack_sampling(row["sampling"]), offset, len(text))
        else:
            self.note(unpack_manifest(row["sequence"]), offset, len(text))


def name_key(name: str) -> str:
    """A file name as this system compares it."""
    return composed(name) if sys.platform == "darwin" else os.path.normcase(name)


class Journal:
    """What has been done to the images of one folder; the last line about a thing holds.

    with Journal(folder) as journal: ... takes the folder's lock, so that a second run is refused
    (BadJournal), and clears what an interrupted run left; Journal(folder, write=False) only reads.
    Names are file names.
    """

    def __init__(self, folder: Union[str, Path], write: bool = True, wait: float = 0.0) -> None:
        self.folder = str(folder)
        self.wait = wait  # seconds for another run that has the lock
        self.state = os.path.join(self.folder, STATE_FOLDER)
        self._write = write
        self._lock: Optional[io.FileIO] = None
        self._tail = Tail(os.path.join(self.state, "journal.jsonl"))
        self._index = _Index()
        self._told = False  # whether damaged lines have been said

    @property
    def path(self) -> str:
        """The journal's file."""
        return self._tail.path

    def __enter__(self) -> "Journal":
        if self._write:
            self._lock = wait_for_lock(self.folder, self.state, self.wait)
        try:
            self._read()
            if self._write:
                self._clear_parts()
                lines, live = self._tail.lines, max(1, len(self._index))
                if lines >= COMPACT_RATIO * live and lines > COMPACT_RATIO:
                    self._compact()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._clear_parts()  # of a worker that ended after its run
        self.close()

    def close(self) -> None:
        """Let go of the file and the lock."""
        self._tail.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def image(self, name: str) -> Optional[Image]:
        """An image as its last line has it, or None."""
        return next(self.images([name]))

    def sent(self, service: str, name: str) -> Optional[Sent]:
        """What is known of an image's upload to a service; None = nothing."""
        return self._index.sent.get((service, name_key(name)))

    def all_sent(self) -> List[Sent]:
        """What is known of all uploads, to whatever service."""
        return list(self._index.sent.values())

    def manifest(self, service: str, identity: str) -> Optional[Manifest]:
        """What is known of a sequence at a service; None = nothing."""
        return self._index.manifests.get((service, identity))

    def manifests(self, service: str) -> List[Manifest]:
        """What is known of all sequences at a service."""
        return [one for one in self._index.manifests.values() if one.service == service]

    @property
    def is_local(self) -> bool:
        """Whether it tells of images only, and of no upload."""
        index = self._index
        return not (index.sent or index.manifests or index.clips or index.hashed)

    def samplings(self) -> List[Sampling]:
        """What sampling wrote into the folder, in order."""
        return list(self._index.samplings)

    def hashed(self, name: str) -> Optional[Hashed]:
        """The md5 of a video as it went out, or was about to; None = not known."""
        return self._index.hashed.get(name_key(name))

    def clip(self, name: str) -> Optional[Clip]:
        """A video as its last line has it; None where there is none, or it is damaged."""
        place = self._index.clips.get(name_key(name))
        if place is None:
            return None
        try:
            with open_file(self.path) as stream:
                stream.seek(place[0])
                row = parsed(stream.read(place[1]).decode("latin-1"))
        except OSError as error:
            raise unreadable_journal(self.path, error) from error
        with contextlib.suppress(*DAMAGED):
            if isinstance(row, dict):
                return unpack_clip(row)._replace(video=name)
        LOG.warning("%s: a damaged line about %s is ignored", self.path, name)
        return None

    def clips(self) -> List[str]:
        """The keys of all videos that have a line."""
        return list(self._index.clips)

    def append(self, lines: Sequence[Line], flush: bool = True) -> None:
        """Add lines and, with flush, wait for the disk; raises BadJournal, CannotWrite."""
        if not lines:
            return
        for first in range(0, len(lines), APPENDED):
            batch = lines[first : first + APPENDED]
            self._append(batch, flush and first + APPENDED >= len(lines))

    def _append(self, lines: Sequence[Line], flush: bool) -> None:
        """Add some lines, which are in memory as texts meanwhile."""
        texts = [(_row_text(pack_line(line)) + "\n").encode("ascii") for line in lines]
        tail = self._tail
        with tail.guard:
            if tail.closed or not self._write:
                raise BadJournal("journal_closed", "is not open for writing", file=self.path)
            tail.add(texts, flush)
            for line, text in zip(lines, texts):
                self._index.note(line, tail.end, len(text))
                tail.end += len(text)
                tail.lines += 1

    def flush(self) -> None:
        """Wait until everything that was appended is on disk."""
        self._tail.flush()

    def images(self, names: Sequence[str], timed: bool = True) -> Iterator[Optional[Image]]:
        """Several images as their last lines have them, one by one, None where there is none; timed
        as of unpack_image().
        """
        if not self._index.images:
            yield from (None for _ in names)
            return
        try:
            stream = open_file(self.path)
        except OSError as error:
            raise unreadable_journal(self.path, error) from error
        with stream:
            for name in names:
                try:
                    found = self._line(stream, name, timed)
                except OSError as error:
                    raise unreadable_journal(self.path, error) from error
                yield None if found is None else found[1]

    def _line(
        self, stream: BinaryIO, name: str, timed: bool = True
    ) -> Optional[Tuple[bytes, Image]]:
        """The last whole line of an image, None when there is none; the one before a line that is
        damaged.
        """
        place = self._index.images.get(name_key(name))
        if place is None:
            return None
        stream.seek(place[0])
        found = self._whole(stream.read(place[1]), name, timed)
        if found is not None:
            return found
        self._tell_damaged(stream)
        stream.seek(0)
        for text in stream:
            found = self._whole(text, name) or found
        return found

    def _tell_damaged(self, stream: BinaryIO) -> None:
        """Say once which images have a last line that is damaged."""
        if self._told:
            return
        self._told, names = True, []
        for key, (offset, length) in self._index.images.items():
            stream.seek(offset)
            if self._whole(stream.read(length), key) is None:
                names.append(key)
        more = f", and {len(names) - 1} about other images" if len(names) > 1 else ""
        about = names[0] if names else "an image"
        LOG.warning("%s: a damaged line about %s is ignored%s", self.path, about, more)

    def _whole(self, text: bytes, name: str, timed: bool = True) -> Optional[Tuple[bytes, Image]]:
        """A line about an image, None where it is about something else or damaged."""
        row = parsed(text.decode("latin-1"))
        if not isinstance(row, dict) or name_key(str(row.get("image"))) != name_key(name):
            return None
        try:
            return text, unpack_image(Path(self.folder, name), row, timed)
        except DAMAGED:
            return None

    def told_at(self, name: str) -> Optional[str]:
        """When the last line of an image was written; None where it has none."""
        if name_key(name) not in self._index.images:
            return None
        with open_file(self.path) as stream:
            found = self._line(stream, name)
        row = parsed(found[0]) if found else None
        return str(row.get("at")) if isinstance(row, dict) else None

    def names(self) -> List[str]:
        """The keys of all images that have a line."""
        return list(self._index.images)

    def _read(self) -> None:
        """Index the file: images by offset, the short lines whole. A torn last line is left out."""
        try:
            stream = open_file(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            cause = error.strerror or ""
            raise BadJournal(
                "journal_unreadable",
                "cannot be read",
                file=self.path,
                value=cause,
                remedy="check its rights",
            ) from error
        tail = self._tail
        try:
            with stream:
                for text in stream:
                    if not text.endswith(b"\n"):
                        break
                    if tail.end or NAMED_LINE.match(text):
                        self._take(text)
                    else:
                        self._check_header(text)
                    tail.end += len(text)
                    tail.lines += 1
        except OSError as error:
            self._index, self._tail = _Index(), Tail(self.path)
            raise unreadable_journal(self.path, error) from error

    def _take(self, text: bytes) -> None:
        """Remember what a line says; one that is damaged is left out."""
        try:
            self._index.note_text(text, self._tail.end)
        except DAMAGED:
            LOG.warning("%s: a damaged line at byte %d is ignored", self.path, self._tail.end)

    def _check_header(self, line: bytes) -> None:
        """Raise BadJournal when the file is no journal, or one of a newer version."""
        row = parsed(line)
        version = row.get("journal") if isinstance(row, dict) else None
        if version is None:
            begin = line[:40].decode("ascii", "replace")
            remedy = "move it away to start afresh"
            raise BadJournal(
                "journal_damaged", "is no journal", file=self.path, value=begin, remedy=remedy
            )
        if not isinstance(version, int) or version > JOURNAL_FORMAT:
            wrong, remedy = "was written by a newer version", "use the newer mapillary_tools.py"
            raise BadJournal(
                "journal_newer", wrong, file=self.path, value=f"format {version}", remedy=remedy
            )

    def _compact(self) -> None:
        """Rewrite the file with its live lines only, in their order, atomically."""

        def texts() -> Iterator[bytes]:
            yield journal_header()
            index = self._index
            with open_file(self.path) as stream:
                for key in sorted(index.images, key=lambda name: index.images[name]):
                    found = self._line(stream, key)
                    yield found[0] if found else b""
                for offset, length in sorted(index.clips.values()):
                    stream.seek(offset)
                    yield stream.read(length)
            short: List[Line] = [*index.manifests.values(), *index.sent.values()]
            short += index.hashed.values()
            for line in [*short, *index.samplings]:
                yield (_row_text(pack_line(line)) + "\n").encode("ascii")

        write_atomically(self.path, texts())
        flush_folder(self.state)
        self._index, self._tail = _Index(), Tail(self.path)
        self._read()

    def _clear_parts(self) -> None:
        """Remove the temporary files that an interrupted run left."""
        for place in (self.folder, self.state, os.path.join(self.state, "process_images")):
            with contextlib.suppress(OSError):
                for name in os.listdir(place):
                    if name.startswith(PART_PREFIX) and name.endswith(PART_SUFFIX):
                        remove_file(os.path.join(place, name))

    def copy_path(self, name: str) -> str:
        """Where --keep_original keeps the described copy of an image."""
        return copy_path(os.path.join(self.folder, name))

    def copies(self) -> FrozenSet[str]:
        """The keys of the images that have a described copy."""
        place = os.path.dirname(self.copy_path(""))
        try:
            with os.scandir(place) as entries:
                files = [one.name for one in entries if one.is_file(follow_symlinks=False)]
            return frozenset(map(name_key, files))
        except OSError:
            return frozenset()

    def log_path(self, name: str) -> str:
        """Where the log of an image goes."""
        return os.path.join(self.state, "logs", name, "steps.json")


def unreadable_journal(path: str, error: OSError) -> BadJournal:
    """The error for a file of the journal's that the system does not let us read."""
    cause, remedy = error.strerror or "", "check its rights"
    return BadJournal("journal_unreadable", "cannot be read", file=path, value=cause, remedy=remedy)


def old_uploads(folder: str, import_path: str) -> Callable[[str], bool]:
    """A test whether earlier tools left their upload_success for a file name of a folder."""
    marked = upload_marks(folder, import_path)
    if not marked:
        return lambda name: False
    return lambda name: bool({name_key(name), name_key(os.path.splitext(name)[0])} & marked)


def upload_marks(folder: str, import_path: str) -> Set[str]:
    """The keys of the names for which earlier tools left their upload_success."""
    relative = relative_to(folder or os.curdir, import_path)
    places = [os.path.join(folder, STATE_FOLDER, "logs")]
    if relative != os.curdir and not os.path.isabs(relative):
        places.append(os.path.join(import_path, STATE_FOLDER, "logs", relative))
    marked: Set[str] = set()
    for place in places:
        try:
            for name in os.listdir(place) if is_there(place) else ():
                if is_there(os.path.join(place, name, "upload_success")):
                    marked.add(name_key(name))
        except OSError as error:
            raise unreadable_journal(place, error) from error
    return marked


def old_samplings(state: str) -> List[Sampling]:
    """What an earlier version kept of sampling in a file of its own; a torn line is left out."""
    path, found = os.path.join(state, "sampled.jsonl"), []
    for text in Path(path).read_bytes().splitlines() if is_there(path) else ():
        with contextlib.suppress(*DAMAGED):
            found.append(unpack_sampling(json.loads(text)))
    return found


# ---- Clocks -------------------------------------------------------------------------------------
# Here: what an image's own clock says, and by how much it runs fast or slow; pure.
# Not here: zones; which of an image's times counts.


class Clockwork(NamedTuple):
    """How times are to be understood."""

    zone: Optional[str] = None  # "local", an offset, an IANA name; None = not given
    first: str = "exif"  # one of TIME_SOURCES
    ahead: float = 0.0  # seconds that the camera's clock is ahead of UTC, and its zone
    interval: float = 0.0  # seconds between two shots; 0 = any
    start: bool = False  # whether the first image is to meet the first point of the track
    synced: Tuple[Tuple[str, float], ...] = ()  # image names, and seconds UTC when they were taken


class Moment(NamedTuple):
    """An image and its time in UTC, the camera's error taken off."""

    image: Image
    time: float
    capture: Optional[Capture]  # None = the time was given

    def in_zone(self, offset: float, teller: str) -> "Moment":
        """The same in a zone that is so many seconds ahead of UTC."""
        assert self.capture is not None
        change = self.capture.offset - offset
        known = self.capture._replace(time=self.capture.time + change, offset=offset, zone=teller)
        return self._replace(time=self.time + change, capture=known)


def moment_of(image: Image, clockwork: Clockwork) -> Optional[Moment]:
    """When an image was taken; None where nothing tells."""
    given, capture = image.given or NOTHING_GIVEN, image.capture
    if given.time is not None:
        return Moment(image, given.time - clockwork.ahead, None)
    ours = described_time(image)
    if ours is not None:  # shifted once already
        return Moment(image, ours + (given.later or 0.0), Capture(ours, OUR_SOURCE, 0.0, "UTC"))
    if clockwork.zone is not None or clockwork.first != TIME_SOURCES[0]:
        found, name = image.found or NOTHING_FOUND, image.path.name
        capture = capture_time(found, name, clockwork.zone, clockwork.first)
    if capture is None:
        return None
    return Moment(image, capture.time + (given.later or 0.0) - clockwork.ahead, capture)


SYNC_ZONE = "--sync_point"
_STALE_S = 2.0  # seconds by which a GPS time may differ from the others: more is a stale fix
_DRIFT_S = 120.0  # seconds by which a clock drifts at most while a card is filled

Errors = List[Tuple[float, float]]  # time by a clock, seconds that it is ahead then; in order


def sync_point_of(text: str) -> Tuple[str, float]:
    """(image name, seconds UTC) of TIME@IMAGE; raises UsageError."""
    when, at, name = text.partition("@")
    seconds = parse_time(when) if at and name else None
    if seconds is None:
        wrong, example = "a sync point is TIME@IMAGE", "2024-05-06T07:08:09Z@IMG_0001.JPG"
        raise UsageError("bad_sync_point", wrong, value=text, remedy=f"for example {example}")
    return name, seconds


def corrected(moment: Moment, errors: Errors, teller: Optional[str] = None) -> Moment:
    """An image with its clock's error taken off: on the line between the known ones around it, and
    as at the nearest one beyond them. The zone is then known by the teller, None = as before.
    """
    index = bisect.bisect_right(errors, (moment.time, math.inf))
    before, after = errors[max(0, index - 1)], errors[min(index, len(errors) - 1)]
    error = before[1]
    if after[0] > before[0] <= moment.time:
        part = (moment.time - before[0]) / (after[0] - before[0])
        error += part * (after[1] - before[1])
    capture = moment.capture
    if capture is not None:
        capture = capture._replace(time=capture.time - error)
        if teller is not None:
            capture = capture._replace(offset=0.0, zone=teller)
    return moment._replace(time=moment.time - error, capture=capture)


def has_own_clock(moment: Moment) -> bool:
    """Whether the time of an image is that of its camera's clock."""
    capture = moment.capture
    return capture is not None and capture.source not in (GPS_SOURCE, OUR_SOURCE)


Synced = Mapping[Tuple[Optional[str], ...], Errors]  # by camera


def _meant(names: Iterable[str], images: Sequence[Image]) -> Dict[str, List[Image]]:
    """The images that each of some names, perhaps with folders before it, means."""
    found: Dict[str, List[Image]] = {name: [] for name in names}
    by_last: Dict[str, List[Tuple[Tuple[str, ...], str]]] = {}
    for name in found:
        words = tuple(map(folded, re.split(r"[/\\]", name)))
        by_last.setdefault(words[-1], []).append((words, name))
    for image in images:
        for words, name in by_last.get(folded(image.path.name), ()):
            if words == tuple(map(folded, image.path.parts[-len(words) :])):
                found[name].append(image)
    return found


def _checked_point(name: str, meant: Sequence[Image]) -> Image:
    """The one image that the name of a sync point means; raises UsageError."""
    wrong, remedy = "a sync point names an image that is not here", "check its name"
    if len(meant) == 1:
        image = meant[0]
        if not image.is_excluded:
            return image
        wrong, remedy = "a sync point names an image in an area that is left out", "take another"
    elif meant:
        wrong, remedy = "a sync point may mean several images", "name the folder, too: a/NAME"
    raise UsageError("no_image", wrong, value=name, remedy=remedy)


def sync_errors(images: Sequence[Image], clockwork: Clockwork) -> Synced:
    """How far each camera's clock is ahead at its sync points. Raises UsageError for a point whose
    image is not here, has no time, or is that of another point.
    """
    found: Dict[Tuple[Optional[str], ...], Errors] = {}
    seen: Set[Path] = set()
    meant = _meant([name for name, _ in clockwork.synced], images)
    for name, when in clockwork.synced:
        image = _checked_point(name, meant[name])
        moment = moment_of(image, clockwork)
        if moment is None or image.path in seen:
            wrong = "a sync point names an image that has no time"
            wrong = wrong if moment is None else "two sync points name one image"
            raise UsageError("no_image", wrong, value=name, remedy="take another image")
        seen.add(image.path)
        found.setdefault(camera_key(image), []).append((moment.time, moment.time - when))
    for errors in found.values():
        errors.sort()
    return found


def say_synced(synced: Synced, notes: Notes) -> None:
    """Say how far the clocks are ahead at the sync points."""
    for camera, errors in synced.items():
        say_errors(" ".join(filter(None, camera[:2])), errors, len(errors), notes)


def say_errors(camera: str, errors: Errors, count: int, notes: Notes) -> None:
    """Say how far a camera's clock is ahead, by so many known times."""
    first, last = f"{errors[0][1]:+.1f} s", f"{errors[-1][1]:+.1f} s"
    ahead = first if first == last else f"{first}, at last {last}"
    times = plural(count, "known time")
    notes.say(f"the clock of {camera or 'the camera'} is ahead by {ahead}, by {times}")


def line_through(errors: Errors) -> Errors:
    """The ends of the straight line that fits best to the errors of a clock, those that are far off
    apart; none of fewer than three.
    """
    mid = sorted(error for _, error in errors)[len(errors) // 2] if errors else 0.0
    near = [(when, error) for when, error in errors if abs(error - mid) <= _DRIFT_S]
    if len(near) < 3:
        return []
    base, slope, start = *_fitted(near), near[0][0]
    good = [(x, y) for x, y in near if abs(y - base - slope * (x - start)) <= _STALE_S]
    if len(good) < 3:
        return []
    base, slope = _fitted(good)
    return [(x, base + slope * (x - good[0][0])) for x in (good[0][0], good[-1][0])]


def _fitted(points: Errors) -> Tuple[float, float]:
    """(height at the first point, slope) of the line of least squares."""
    start, floor = points[0]
    xs, ys = [x - start for x, _ in points], [y - floor for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / spread if spread else 0.0
    return floor + mean_y - slope * mean_x, slope


# ---- Moments ------------------------------------------------------------------------------------
# Here: when the images of a folder were taken: zones, ties, starts, and what the track says of it.
# Not here: which times an image tells; positions; options.


def settled(
    folders: Sequence[List[Moment]],
    track: Optional[Track],
    clockwork: Clockwork,
    errors: Synced,
    notes: Notes,
) -> List[Moment]:
    """The images of all folders with clocks, zones, sub-seconds, ties and starts settled, camera by
    camera, each folder in order of time; errors are those of sync points. Raises UsageError where
    several zones would put a camera's images on the track.
    """
    timed: List[Moment] = []
    for moments in folders:
        parts: List[Moment] = []
        for group in of_each_camera(_by_time(moments), lambda moment: moment.image):
            known = errors.get(camera_key(group[0].image))
            told = _zoned(group, track, clockwork, notes) if known is None else group
            if known is not None:
                told = [corrected(m, known, SYNC_ZONE) if has_own_clock(m) else m for m in group]
            parts.extend(_settle_times(_by_time(told), clockwork, notes))
        timed.extend(_started(_by_time(parts), track, clockwork))
    return timed


def _by_time(moments: List[Moment]) -> List[Moment]:
    return by_time(moments, lambda moment: moment.time, lambda moment: moment.image.path.name)


def _zoned(
    group: List[Moment], track: Optional[Track], clockwork: Clockwork, notes: Notes
) -> List[Moment]:
    """The images of one camera in their zones, by natural name."""
    group = sorted(group, key=lambda moment: natural_key(moment.image.path.name))
    _say_disorder(group, notes)
    by_gps = clockwork.first == "gps"
    told = _clocks_by_gps(group, clockwork, notes) if by_gps else _zones_by_gps(group, notes)
    if track is not None and not clockwork.start:
        told = _zone_by_track(told, track, notes)
    return told


def _clocks_by_gps(group: List[Moment], clockwork: Clockwork, notes: Notes) -> List[Moment]:
    """The images of one camera that have a GPS time by that, and the others by their clock, which
    those that have both tell to be ahead: its zone, and how it drifts.
    """
    plain_ones = clockwork._replace(first=TIME_SOURCES[0])
    clocks = [moment_of(one.image, plain_ones) or one for one in group]
    clocks = _zones_by_gps(clocks, notes)
    both = [
        (c, one) for c, one in zip(clocks, group) if has_own_clock(c) and not has_own_clock(one)
    ]
    line = line_through(sorted((c.time, c.time - one.time) for c, one in both))
    if line:
        camera = " ".join(filter(None, group[0].image.camera[:2]))
        say_errors(camera, line, len(both), notes)
        clocks = [corrected(c, line) if has_own_clock(c) else c for c in clocks]
    return [c if has_own_clock(one) else one for c, one in zip(clocks, group)]


def _is_open(moment: Moment) -> bool:
    """Whether the zone of an image may be that of its neighbours."""
    capture = moment.capture
    if capture is None or capture.source == GPS_SOURCE:
        return False
    return capture.zone in (NO_ZONE, GPS_SOURCE)


def _implied_zones(moments: List[Moment]) -> List[Optional[float]]:
    """The zone that the GPS time of each image implies; None also for one that repeats the GPS
    time of another image while the camera's clock went on: the receiver had lost its fix.
    """
    first_at: Dict[float, float] = {}
    zones: List[Optional[float]] = []
    for moment in moments:
        found, capture = moment.image.found or NOTHING_FOUND, moment.capture
        receiver = found.gps_clock if found.gps_time is None else found.gps_time
        if capture is None or receiver is None or capture.zone != GPS_SOURCE:
            zones.append(None)
            continue
        local = capture.time + capture.offset
        stale = abs(local - first_at.setdefault(receiver, local)) > AGREE_S
        zones.append(None if stale else capture.offset)
    return zones


def _zones_by_gps(group: List[Moment], notes: Notes) -> List[Moment]:
    """The images of one camera, those without a zone of their own in the one that their GPS times
    agree on.
    """
    members = [index for index, moment in enumerate(group) if _is_open(moment)]
    asked = [group[index] for index in members]
    told = _implied_zones(asked)
    result, odd = list(group), 0
    for index, own, zone in zip(members, told, agreed_zones(told)):
        capture = group[index].capture
        if zone is None and capture is not None and capture.zone == GPS_SOURCE:
            result[index] = group[index].in_zone(0.0, NO_ZONE)
        elif zone is not None:
            odd += own is not None and own != zone
            result[index] = group[index].in_zone(zone, GPS_SOURCE)
    if odd:
        notes.say(
            f"{group[0].image.path.parent}: the GPS times of {odd} images imply another zone than "
            "those around them: taken for old fixes"
        )
    return result


def _zone_by_track(group: List[Moment], track: Track, notes: Notes) -> List[Moment]:
    """The images of one camera whose zone nothing tells, in the one zone that puts all of them on
    the track, where UTC does not; of several that of the others. Raises UsageError where several
    do.
    """
    times = [moment.time for moment in group if _is_assumed(moment)]
    others = {m.capture.offset for m in group if m.capture and m.capture.zone != NO_ZONE}
    if not times:
        return group
    low, high = track.points[0].time - EXTRAPOLATE_S, track.points[-1].time + EXTRAPOLATE_S
    first, last = min(times), max(times)
    fitting = [o for o in OFFSETS_IN_USE if low <= first - o and last - o <= high]
    fitting = [offset for offset in fitting if offset in others] or fitting
    words = ", ".join(map(format_offset, fitting))
    folder = group[0].image.path.parent
    if 0.0 in fitting:
        if len(fitting) > 1:
            notes.say(
                f"{folder}: the track fits in the zones {words}: UTC is taken; else give --timezone"
            )
        return group
    if len(fitting) > 1:
        raise UsageError(
            "which_zone",
            "several zones would put the images on the track",
            file=folder,
            value=words,
            remedy="say which with --timezone",
        )
    if not fitting:
        return group
    notes.say(f"{folder}: zone {words} by the track; if that is wrong, give --timezone")
    return [m.in_zone(fitting[0], "track") if _is_assumed(m) else m for m in group]


def _is_assumed(moment: Moment) -> bool:
    """Whether nothing tells the zone of an image."""
    return moment.capture is not None and moment.capture.zone == NO_ZONE


def _say_disorder(group: List[Moment], notes: Notes) -> None:
    """Say where the camera's times are out of order while names and GPS times agree."""
    dated = [m for m in group if m.capture and (m.image.found or NOTHING_FOUND).gps_time]
    receivers = [(m.image.found or NOTHING_FOUND).gps_time or 0.0 for m in dated]
    times = [moment.time for moment in dated]
    back = sum(later < earlier for earlier, later in zip(times, times[1:]))
    if back and len(set(receivers)) > 2 and receivers == sorted(receivers):
        notes.say(
            f"{group[0].image.path.parent}: the camera's times of {back} images are out of order, "
            "while names and GPS times agree: --time_source gps would take those"
        )


def _started(timed: List[Moment], track: Optional[Track], clockwork: Clockwork) -> List[Moment]:
    """The images of one folder, in order of time; with --use_gps_start_time from the track's first
    point on.
    """
    if not clockwork.start or track is None or not timed:
        return timed
    shift = track.points[0].time - timed[0].time
    return [moment._replace(time=moment.time + shift) for moment in timed]


def _settle_times(timed: List[Moment], clockwork: Clockwork, notes: Notes) -> List[Moment]:
    """The images of one camera in a folder, in order of time, with sub-seconds and ties settled."""
    times = [moment.time for moment in timed]
    if clockwork.interval:
        times, wrong = spread_subseconds(times, clockwork.interval)
        if wrong is not None:
            notes.say(
                f"{timed[wrong].image.path} contradicts --sub_second_interval "
                f"{clockwork.interval:g}: no start puts it inside its second; the times "
                "of its folder stay as they are"
            )
    times, ties = spread_ties(times)
    if ties:
        notes.say(
            f"{timed[0].image.path.parent}: {plural(ties, 'image')} with the capture time of the "
            "one before; spread evenly up to the next"
        )
    return [moment._replace(time=when) for moment, when in zip(timed, times)]


# -- what the run says of times --


def say_zones(timed: List[Moment], notes: Notes) -> None:
    """One line for each way in which times were understood: source field, zone, how many, first and
    last in UTC.
    """
    ways: Dict[Tuple[str, str, str], List[Tuple[float, float]]] = {}
    several = len({image.camera[:2] for image, _, _ in timed}) > 1
    for image, when, capture in timed:
        if capture is not None:
            named = " ".join(filter(None, image.camera[:2])) or "a camera without a name"
            way = (f" of {named}" if several else "", capture.source, capture.zone)
            ways.setdefault(way, []).append((when, capture.offset))
    for (camera, source, zone), moments in sorted(ways.items()):
        zones = "/".join(format_offset(offset) for offset in sorted({o for _, o in moments})[:3])
        guess = "; if the camera clock was not on UTC, give --timezone"
        notes.say(
            f"capture times of {plural(len(moments), 'image')}{camera} from {source}, "
            f"zone {zones} from {zone}, UTC "
            f"{format_time(min(moments)[0])} to {format_time(max(moments)[0])}"
            + (guess if zone == NO_ZONE else "")
        )


def say_unread_offsets(timed: List[Moment], notes: Notes) -> None:
    """Say which offsets of EXIF cannot be read, and so do not count."""
    odd: List[str] = []
    for image, _, capture in timed:
        for clock in image.found.clocks if image.found and capture else ():
            if clock.name == (capture and capture.source) and clock.offset.strip(BLANKS):
                if offset_as_written(clock.offset) is None:
                    odd.append(f"{image.path.name} {json.dumps(clock.offset.strip(BLANKS))}")
    if odd:
        notes.say(
            f"{plural(len(odd), 'image')} with an offset of the zone that is none, and does not "
            f"count: {some_of(odd)}; --timezone tells it"
        )


def say_changed_hours(timed: List[Moment], zone: Optional[str], notes: Notes) -> None:
    """Say which images were taken where the clocks of a zone are changed, by which its hours are
    there twice or not at all.
    """
    odd: List[Tuple[float, str, float]] = []  # time, name, offset
    for image, when, capture in timed if zone is not None else ():
        if zone is not None and capture is not None and capture.zone == zone_teller(zone):
            if zone_offset(zone, capture.time + capture.offset, fold=1) != capture.offset:
                odd.append((when, image.path.name, capture.offset))
    if odd:
        _, name, offset = min(odd)
        notes.say(
            f"{plural(len(odd), 'image')} from {name} on were taken in an hour that the clocks of "
            "this zone show twice, or not at all, when they are changed: the zone before the "
            f"change is taken, {format_offset(offset)}; if that is wrong, process them by "
            "themselves with --timezone and the offset"
        )


def say_offset(timed: List[Moment], ahead: float, notes: Notes) -> None:
    """Say in which direction an offset of the camera's clock counts."""
    if ahead and timed:
        first = min(moment.time for moment in timed)
        before, after = format_time(first + ahead), format_time(first)
        notes.say(f"{ahead:g} s subtracted: {before} becomes {after}")


ERA_S = 1024 * 7 * DAY_S  # seconds after which the week number of GPS begins anew


def in_this_era(track: Track, first: float, last: float, what: str, notes: Notes) -> Track:
    """A track; 1024 weeks later, or 2048, or earlier, where that alone makes it meet what was taken
    from a first time to a last one: receivers count weeks with ten bits, and some guess how often
    they began anew.
    """
    slack = OFFSETS_IN_USE[-1]  # the zone of those times may not be known yet
    moments = [fix.time for fix in track.points]
    if bisect.bisect_left(moments, first - slack) < bisect.bisect_right(moments, last + slack):
        return track  # it meets them as it is
    for eras in (1, 2, -1, -2):
        begin, end = (moments[index] + eras * ERA_S for index in (0, -1))
        if begin - slack <= first and last <= end + slack:
            apart, back = abs(eras) * 1024, eras < 0
            where, moved = ("after", "earlier") if back else ("before", "later")
            notes.say(
                f"the track is {apart} weeks {where} {what}: its receiver counts weeks with ten "
                f"bits; it is taken {apart} weeks {moved}"
            )
            return moved_by(track, eras * ERA_S)
    return track


def _in_another_year(seconds: float, years: int) -> float:
    """The same date and time of day so many years later; 29 February becomes 1 March."""
    moment, milli = calendar(seconds)
    late = (moment.month, moment.day) == (2, 29)
    month, day = (3, 1) if late else (moment.month, moment.day)
    year = max(1901, min(2199, moment.year + years))
    clock = (moment.hour, moment.minute, moment.second + milli / 1000.0)
    return utc_seconds((year, month, day), clock)


def _inside(times: Sequence[float], track: Track, shift: float) -> int:
    """How many times, in order, are those of a track when so many seconds are taken off."""
    first, last = track.points[0].time, track.points[-1].time
    low = bisect.bisect_left(times, first - EXTRAPOLATE_S + shift)
    return bisect.bisect_right(times, last + EXTRAPOLATE_S + shift) - low


def _say_zone(timed: Sequence[Moment], track: Track, meeting: int, notes: Notes) -> bool:
    """Say which zone makes the images meet the track of which none is known, where one makes more
    of all meet than an offset does.
    """
    assumed = sorted(moment.time for moment in timed if _is_assumed(moment))
    others = sorted(moment.time for moment in timed if not _is_assumed(moment))
    met = {zone: _inside(assumed, track, zone) for zone in OFFSETS_IN_USE}
    best = min(OFFSETS_IN_USE, key=lambda zone: (-met[zone], abs(zone)))
    count = met[best] + _inside(others, track, 0)
    if not best or count < meeting or met[best] <= met[0.0]:
        return False
    notes.say(
        f"with --timezone {format_offset(best)} they would meet: {count} of {len(timed)} images"
    )
    return True


def say_ranges(timed: Sequence[Moment], track: Track, notes: Notes) -> None:
    """Say image range against track range where fewer than half of the images meet the track, and
    what would help.
    """
    times = sorted(moment.time for moment in timed)
    meeting = _inside(times, track, 0.0)
    if not times or meeting * 2 >= len(times):
        return
    first, last = track.points[0].time, track.points[-1].time
    notes.say(
        f"only {meeting} of {len(times)} images were taken while the track was recorded: images "
        f"{format_time(times[0])} to {format_time(times[-1])}, track {format_time(first)} to "
        f"{format_time(last)} (UTC)"
    )
    if first < GPS_TIMES_FROM:
        notes.say("the date of the track cannot be: the clock of its logger was never set")
    else:
        _say_cure(timed, times, track, notes)


def _say_cure(timed: Sequence[Moment], times: Sequence[float], track: Track, notes: Notes) -> None:
    """Say by which zone or offset most images would meet the track; times are theirs, in order."""
    inside = functools.partial(_inside, times, track)
    shifts = [quarter * QUARTER_S for quarter in range(-56, 57)]
    years = [_in_another_year(times[0], years) - times[0] for years in range(-40, 41) if years]
    days = round((times[0] - track.points[0].time) / DAY_S)
    whole = [-shift for shift in years] + [day * DAY_S for day in range(days - 1, days + 2)]
    shifts += whole
    if not any(map(inside, shifts)):  # a wrong year or day, in a zone that is not known
        shifts += [day - zone for day in whole for zone in OFFSETS_IN_USE]
    best = min(shifts, key=lambda shift: (-inside(shift), abs(shift)))
    told = _say_zone(timed, track, inside(best), notes)
    if inside(best) > inside(0) and not told:
        met = f"{inside(best)} of {len(times)} images"
        notes.say(f"with --offset_time {best:.0f} they would meet: {met}")
    if inside(best) < len(times) and not told:
        notes.say(
            "if the first image was taken when the track begins, --use_gps_start_time makes them "
            "meet"
        )


_NEAR_M, _FAR_M = 60.0, 200.0  # metres within which a track is where an image was, and is not
_WITNESSES = 50  # images of which the own positions are compared with the track


def say_own_places(timed: List[Moment], track: Track, notes: Notes) -> None:
    """Say that the images' own positions lie on the track at other times: a converter, or the
    camera, took local time for UTC.
    """
    witnesses = []
    for image, when, _ in timed:
        lat, lon, _ = (image.found or NOTHING_FOUND).place
        if lat is not None and lon is not None:
            witnesses.append((when, lat, lon))
    if len(witnesses) < NEIGHBOURS:
        return
    witnesses = witnesses[:: max(1, len(witnesses) // _WITNESSES)]

    def apart(shift: float) -> float:
        """Metres between the track and the images' own places, in the middle."""
        metres = []
        for when, lat, lon in witnesses:
            with contextlib.suppress(OutsideTrack):
                fix = fix_at(track, when - shift, None)
                metres.append(distance(Fix(when, lat, lon), fix))
        return median(metres) if len(metres) * 2 > len(witnesses) else math.inf

    here = apart(0.0)
    if here < _FAR_M:
        return
    best = min((shift for shift in OFFSETS_IN_USE if shift), key=apart)
    if apart(best) < _NEAR_M:
        far = "outside of its times" if math.isinf(here) else f"{here:.0f} m away"
        notes.say(
            f"the images' own positions are {far} on the track, and {apart(best):.0f} m with "
            f"--offset_time {best:.0f}: one of them may have local time for UTC"
        )


# ---- Step options -------------------------------------------------------------------------------
# Here: the options of each step, and what a run is asked to do.
# Not here: what a step makes of images.

EXIF_ORIENTATION = {0: 1, 90: 8, 180: 3, 270: 6}


@dataclass(frozen=True)
class Account(Group):
    """whose account"""

    word: ClassVar[str] = "account"
    user_name: str = opt(REQUIRED, Rule("Mapillary user name", "NAME"))


@dataclass(frozen=True)
class User(Account):
    """who uploads"""

    word: ClassVar[str] = "user"
    organization_username: Optional[str] = opt(
        None, Rule("user name of the organization to upload for", "NAME")
    )
    organization_key: Optional[str] = opt(
        None, Rule("key of the organization to upload for", "KEY")
    )
    private: bool = opt(False, Rule("upload for the organization's eyes only"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.private and not (self.organization_key or self.organization_username):
            raise UsageError(
                "private_alone",
                "--private needs an organization",
                remedy="add --organization_key or --organization_username",
            )


@dataclass(frozen=True)
class Master(Group):
    """master upload"""

    word: ClassVar[str] = "master"
    master_upload: bool = opt(
        False, rare("sign the description with the secret of the config file")
    )


@dataclass(frozen=True)
class MetaData(Group):
    """camera and file"""

    word: ClassVar[str] = "meta"
    device_make: Optional[str] = opt(None, rare("camera make, wins over EXIF", "TEXT"))
    device_model: Optional[str] = opt(None, rare("camera model, wins over EXIF", "TEXT"))
    GPS_accuracy: Optional[float] = opt(None, rare("accuracy of the positions", "METRES", 0))
    add_file_name: bool = opt(
        False, rare("put the file name into the description (it always is; kept for old scripts)")
    )
    add_import_date: bool = opt(False, rare("put the date of this import into the description"))
    panorama: bool = opt(
        False,
        Rule(
            "mark photos twice as wide as high as equirectangular panoramas (GPano in XMP)",
            advanced=True,
            newer=True,
        ),
    )
    orientation: Optional[int] = opt(
        None,
        Rule(
            "how far the stored picture is turned clockwise",
            "DEGREES",
            advanced=True,
            choices=(0, 90, 180, 270),
        ),
    )


@dataclass(frozen=True)
class Angle(Group):
    """camera direction"""

    word: ClassVar[str] = "angle"
    offset_angle: float = opt(
        0.0,
        rare(
            "camera direction against the direction of travel: 90 right-facing, 180 rear-facing, "
            "-90 left-facing",
            "DEGREES",
        ),
    )


_NEEDS_TRACK = "add --geotag_source gpx --geotag_source_path FILE"


@dataclass(frozen=True)
class Geotagging(Group):
    """time and position"""

    word: ClassVar[str] = "geotagging"
    geotag_source: str = opt(
        "exif",
        Rule(
            "where positions come from; of a list with commas the first that knows a photo's; "
            "photos = between those of the run that have one; video = a video of any camera",
            advanced=True,
            choices=("exif", *TRACK_SOURCES, "photos"),
            listed=True,
        ),
    )
    geotag_source_path: Union[None, str, Tuple[str, ...]] = opt(
        None,
        Rule(
            "track file, video, or folder of them; may be given several times",
            "PATH",
            advanced=True,
            many=True,
        ),
    )
    local_time: bool = opt(False, rare("image times are in this computer's zone"))
    timezone: Optional[str] = opt(
        None, rare("zone of the image times: +02:00, -05:00 or an IANA name", "ZONE")
    )
    sub_second_interval: float = opt(
        0.0, rare("seconds between shots, to place them inside their whole second", "SECONDS", 0)
    )
    time_source: str = opt(
        "exif",
        Rule(
            "which time of an image counts first: its EXIF, the time of its GPS, or its file name",
            advanced=True,
            choices=TIME_SOURCES,
            newer=True,
        ),
    )
    max_speed: float = opt(
        400.0,
        Rule(
            "points of a track that nothing so fast could reach are left out; 0 = none",
            "KM/H",
            advanced=True,
            at_least=0,
            newer=True,
        ),
    )
    sync_point: Tuple[str, ...] = opt(
        (),
        Rule(
            "the true time of an image, as a GPS clock shows it; of several the clock's error is "
            "taken along the line between them",
            "TIME@IMAGE",
            advanced=True,
            many=True,
            newer=True,
        ),
    )
    keep_jumps: bool = opt(
        False,
        Rule(
            "keep photos whose position nobody could reach in the time",
            advanced=True,
            newer=True,
        ),
    )
    offset_time: float = opt(
        0.0,
        Rule(
            "how far the camera clock is AHEAD of the GPS clock; it is subtracted from image times",
            "SECONDS",
            advanced=True,
            at_least=-3e9,
            at_most=3e9,
        ),
    )
    use_gps_start_time: bool = opt(
        False, rare("the first image is taken to be at the track's first point")
    )
    max_gap: Optional[float] = opt(
        None,
        Rule(
            "no position across a longer hole in the track (default: no limit)",
            "SECONDS",
            advanced=True,
            above=0,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_source()
        if self.local_time and self.timezone:
            wrong = "--local_time and --timezone contradict each other"
            raise UsageError(
                "two_zones", wrong, value=str(self.timezone), remedy="give one of them"
            )
        if self.timezone:
            zone_offset(self.timezone, 0.0)
        list(map(sync_point_of, self.sync_point))

    def _check_source(self) -> None:
        """Raise UsageError where the sources and the options that need one do not fit together."""
        if len(set(self.sources)) < len(self.sources):
            wrong = "--geotag_source names a source twice"
            raise UsageError("bad_option", wrong, value=self.geotag_source)
        if self.track_kinds:
            if not self.paths and not set(self.track_kinds).issubset(VIDEO_SOURCES):
                raise self.no_path()
            return
        if self.paths:
            raise UsageError(
                "unused_track",
                f"--geotag_source_path is given, but positions come from {self.geotag_source}",
                value=", ".join(self.paths),
                remedy="add --geotag_source gpx, which reads any kind of track",
            )
        if self.use_gps_start_time or self.max_gap is not None and not self.by_photos:
            wrong = "--use_gps_start_time and --max_gap need a track"
            raise UsageError("no_track", wrong, remedy=_NEEDS_TRACK)

    def no_path(self) -> UsageError:
        """The error for a track whose file is not given."""
        wrong = f"--geotag_source {self.geotag_source} needs a track"
        return UsageError("no_track", wrong, remedy="add --geotag_source_path FILE")

    @property
    def of_frames(self) -> "Geotagging":
        """The same for the frames of videos that have been sampled: what a video's own telemetry
        told stands in their EXIF.
        """
        if self.paths or not self.track_kinds:
            return self
        sources = ["exif" if kind in VIDEO_SOURCES else kind for kind in self.sources]
        return dataclasses.replace(self, geotag_source=",".join(dict.fromkeys(sources)))

    @property
    def sources(self) -> Tuple[str, ...]:
        """Where positions come from, the first that knows one counts."""
        return comma_words(self.geotag_source)

    @property
    def track_kinds(self) -> Tuple[str, ...]:
        """Those of the sources that are track files."""
        return tuple(kind for kind in self.sources if kind not in ("exif", "photos"))

    @property
    def by_photos(self) -> bool:
        """Whether photos that have a position are a source for the others."""
        return "photos" in self.sources

    @property
    def paths(self) -> Tuple[str, ...]:
        """Where the track files are."""
        path = self.geotag_source_path
        if isinstance(path, tuple):
            return tuple(map(str, path))
        return () if path is None or path == "" else (str(path),)

    @property
    def clockwork(self) -> Clockwork:
        """How times are understood."""
        return Clockwork(
            "local" if self.local_time else self.timezone,
            self.time_source,
            self.offset_time,
            self.sub_second_interval,
            self.use_gps_start_time,
            tuple(map(sync_point_of, self.sync_point)),
        )


@dataclass(frozen=True)
class SequenceOptions(Group):
    """sequences"""

    word: ClassVar[str] = "sequences"
    cutoff_distance: float = opt(
        600.0, rare("start a new sequence after a longer gap", "METRES", 0)
    )
    cutoff_time: float = opt(60.0, rare("start a new sequence after a longer pause", "SECONDS", 0))
    interpolate_directions: bool = opt(
        False, rare("derive directions from positions even where an image has one")
    )
    flag_duplicates: bool = opt(
        False, rare("flag images that repeat the last one kept; they are not uploaded")
    )
    duplicate_distance: float = opt(0.1, rare("a duplicate is at most so far away", "METRES", 0))
    duplicate_angle: float = opt(
        5.0, rare("a duplicate is turned by at most so much", "DEGREES", 0)
    )
    merge_folders: bool = opt(
        False,
        Rule(
            "folders that a camera opened by number (100GOPRO, 101GOPRO) are one drive",
            advanced=True,
            newer=True,
        ),
    )


@dataclass(frozen=True)
class Insert(Group):
    """writing into images"""

    word: ClassVar[str] = "insert"
    skip_EXIF_insert: bool = opt(
        False, rare("write nothing into images; upload adds the description on the fly")
    )


@dataclass(frozen=True)
class Areas(Group):
    """areas left out"""

    word: ClassVar[str] = "areas"
    exclude_area: Tuple[str, ...] = opt(
        (),
        Rule(
            "leave out photos within so many metres of a place; several may be given; also in "
            "[exclude] of the configuration",
            "LAT,LON,METRES",
            advanced=True,
            many=True,
            newer=True,
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.exclude_area:
            area_of(text)


def areas_of(options: Options, config: Configuration) -> Tuple[Area, ...]:
    """The areas that are left out, by the options and the configuration; raises UsageError."""
    texts = [*options[Areas].exclude_area, *config.values("exclude")]
    return tuple(area_of(text) for text in texts)


LEFT_ALONE, WHOLE, AS_FRAMES = "skip", "upload", "sample"  # what becomes of videos


@dataclass(frozen=True)
class Videos(Group):
    """videos"""

    word: ClassVar[str] = "videos"
    videos: str = opt(
        LEFT_ALONE,
        Rule(
            "what to do with videos: upload = send them whole, with their track",
            choices=(LEFT_ALONE, WHOLE),
            newer=True,
        ),
    )

    @property
    def whole(self) -> bool:
        """Whether videos go up whole."""
        return self.videos == WHOLE

    @property
    def taken(self) -> bool:
        """Whether anything is done with videos."""
        return self.videos != LEFT_ALONE

    @property
    def words(self) -> Tuple[str, ...]:
        """The option as it is typed for the upload that follows."""
        return ("--videos", WHOLE) if self.whole else ()

    @property
    def reason(self) -> Optional[str]:
        """Why a video itself does not go up; None = it does."""
        return {WHOLE: None, AS_FRAMES: SKIP_IN_FRAMES}.get(self.videos, SKIP_VIDEO)


@dataclass(frozen=True)
class AllVideos(Videos):
    """videos"""

    videos: str = opt(
        LEFT_ALONE,
        Rule(
            "what to do with videos: upload = send them whole, with their track; sample = take "
            "frames of them, which are processed like photos",
            choices=(LEFT_ALONE, WHOLE, AS_FRAMES),
            newer=True,
        ),
    )


class Course(NamedTuple):
    """What a run is asked to do."""

    steps: Tuple[str, ...]
    options: Options
    service: str = ""  # for whom "already uploaded" counts; "" = it does not matter here
    areas: Tuple[Area, ...] = ()  # that are left out

    @property
    def areas_id(self) -> str:
        """Stands for the areas in what the journal knows of an image in one."""
        return text_hash(repr(self.areas))

    @property
    def rehearsal(self) -> bool:
        """Whether the images are meant for a stand-in service, which needs no account."""
        return self.service.startswith("stand-in")

    @property
    def master(self) -> bool:
        """Whether descriptions are to be signed."""
        return self.options[Master].master_upload


# ---- Steps --------------------------------------------------------------------------------------
# Here: what each step makes of images; pure.
# Not here: reading, writing; the description, which all layers make together.


OTHER_PHOTOS = "other photos"  # what their track is called


class Guide(NamedTuple):
    """A source of positions."""

    kind: str  # as --geotag_source names it
    name: str = ""  # of the track
    track: Optional[Track] = None  # None = of "exif"; of "photos" until their times are known


def whole_track(guides: Sequence[Guide]) -> Optional[Track]:
    """The tracks of all sources as one; None = there is none."""
    tracks = [guide.track for guide in guides if guide.track is not None]
    return join_tracks(tracks) if tracks else None


class Known(NamedTuple):
    """What was gathered beside the images."""

    uploader: Uploader = Uploader()
    guides: Sequence[Guide] = (Guide("exif"),)  # where positions come from, in their order
    synced: Synced = MappingProxyType({})  # how far clocks are ahead, by the sync points
    # images that stay as they are, beside those that are worked on
    beside: Sequence[Image] = ()
    stamps: Sequence[object] = ()  # size and time of the track's files
    secret: Optional[str] = None  # that descriptions are signed with
    no_secret: Optional[UsageError] = None  # why there is none, where one may be needed
    now: float = 0.0  # seconds since 1970 UTC


def failed(image: Image, step: str, problem: Problem) -> Image:
    """The image after a step that could not be done, by a problem about its own file."""
    return image.without({step})._replace(failure=Failure(step, problem), settings=image.settings)


# -- who uploads, and whose account --


def user_step(images: List[Image], known: Known, course: Course, notes: Notes) -> List[Image]:
    """Who uploads."""
    uploader = known.uploader._replace(master=course.master or None)
    return [image._replace(uploader=uploader) for image in images]


def params_step(images: List[Image], known: Known, course: Course, notes: Notes) -> List[Image]:
    """What the upload needs: whose account, for which organization; never a token."""
    name = course.options[Account].user_name
    terms = Terms(name, None, "mapillary", course.master or None)
    out = []
    for image in images:
        key = image.uploader.organization_key if image.uploader else None
        out.append(image._replace(terms=terms._replace(organization_key=key)))
    return out


# -- import meta data --


def _tags_of(image: Image) -> Optional[Tuple[MetaTag, ...]]:
    """The user's own values: given now, or stored in ImageHistory earlier; those are data, never
    run.
    """
    given, found = image.given or NOTHING_GIVEN, image.found or NOTHING_FOUND
    if given.tags:
        return given.tags
    rows = parsed(found.history)
    tags = []
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and set(row) == set(MetaTag._fields):
            tag = MetaTag(**row)
            if isinstance(tag.type, str) and tag.type in TAG_LISTS:
                tags.append(tag)
    return tuple(tags) or None


def meta_step(images: List[Image], known: Known, course: Course, notes: Notes) -> List[Image]:
    """Orientation, make, model, accuracy, file name, import date; options win over EXIF."""
    options, out, last = course.options[MetaData], [], Device()
    today = int(known.now * 1000) if options.add_import_date else None
    turned = None if options.orientation is None else EXIF_ORIENTATION[options.orientation]
    for image in images:
        found, accuracy = image.found or NOTHING_FOUND, options.GPS_accuracy
        device = Device(
            orientation=turned or found.orientation,
            turn=turned,
            make=options.device_make or found.make,
            model=options.device_model or found.model,
            accuracy=found.accuracy if accuracy is None else accuracy,
            import_date=today,
            tags=_tags_of(image),
            sphere=options.panorama and _is_unmarked(image) or None,
        )
        last = device if device != last else last  # one in memory for all that are alike
        out.append(image._replace(device=last))
    unmarked = [image for image in images if _is_unmarked(image)]
    if unmarked and not options.panorama:
        some = some_of([image.path.name for image in unmarked])
        notes.say(
            f"{plural(len(unmarked), 'image')} twice as wide as high without a mark of a panorama "
            f"(GPano): {some}; --panorama marks them"
        )
    return out


def _is_unmarked(image: Image) -> bool:
    found = image.found or NOTHING_FOUND
    return has_shape_of_sphere(*(found.pixels or (None, None))) and not found.sphere


# -- geotag --


def _no_clock(image: Image) -> Problem:
    value = (image.found or NOTHING_FOUND).other_time or ""
    remedy = (
        "give one with process_csv, or name the file YYYY_MM_DD_HH_MM_SS_mmm.jpg and add "
        "--time_source name"
    )
    return Problem("no_time", "has no capture time", value=value, remedy=remedy)


def _by_clocks(
    images: Sequence[Image], options: Geotagging
) -> Tuple[List[List[Moment]], List[Image]]:
    """(for each folder the images that have a time, those that have none, as failed)."""
    found: List[List[Moment]] = []
    done: List[Image] = []
    for folder in by_folder(images).values():
        pairs = [(image, moment_of(image, options.clockwork)) for image in folder]
        done.extend(failed(one, GEOTAG, _no_clock(one)) for one, moment in pairs if moment is None)
        found.append([moment for _, moment in pairs if moment is not None])
    return found, done


def _in_their_era(guides: Sequence[Guide], times: Sequence[float], notes: Notes) -> List[Guide]:
    """Guides whose tracks are in the era of the images, by the times of those."""
    if not times:
        return list(guides)
    first, last = min(times), max(times)
    return [
        one
        if one.track is None
        else one._replace(track=in_this_era(one.track, first, last, "the images", notes))
        for one in guides
    ]


def geotag(
    images: Sequence[Image],
    known: Known,
    options: Geotagging,
    angle: float = 0.0,
    notes: Optional[Notes] = None,
) -> List[Image]:
    """Time, position and direction of every image, from the first of the sources that knows it."""
    notes = Notes() if notes is None else notes
    found, done = _by_clocks(images, options)
    guides = _in_their_era(known.guides, [one.time for part in found for one in part], notes)
    track = whole_track(guides)
    timed = settled(found, track, options.clockwork, known.synced, notes)
    _say_times(timed, track, options, notes)
    if options.by_photos:
        by_photos = _guide_of_photos(timed, known.beside, options)
        guides = [by_photos if one.kind == by_photos.kind else one for one in guides]
    placed = [_placed(moment, guides, options, angle) for moment in timed]
    _say_places(placed, guides, notes)
    return replaced(images, [*done, *placed])


def _say_times(
    timed: List[Moment], track: Optional[Track], options: Geotagging, notes: Notes
) -> None:
    """Say which zones there are, what the clocks show, and whether the track fits to it."""
    say_zones(timed, notes)
    say_unread_offsets(timed, notes)
    say_changed_hours(timed, options.clockwork.zone, notes)
    say_offset(timed, options.offset_time, notes)
    if track is not None:
        say_ranges(timed, track, notes)
        say_own_places(timed, track, notes)


def _guide_of_photos(
    timed: Sequence[Moment], beside: Sequence[Image], options: Geotagging
) -> Guide:
    """The photos that have a position of their own, and those that stay as they are, as a track."""
    places = [one.geotag for one in beside]
    found = [place.fix for place in places if place is not None and place.track is None]
    found += [one.image.fix._replace(time=one.time) for one in timed if one.image.fix]
    fixes = {fix.time: fix for fix in found}
    points = [fixes[time] for time in sorted(fixes)]
    guide = Guide("photos", OTHER_PHOTOS)
    if not points:
        return guide
    track = without_wild(Track(points, [0], {}, "photos"), options.max_speed)
    return guide._replace(track=with_courses(track))


def _say_places(images: Sequence[Image], guides: Sequence[Guide], notes: Notes) -> None:
    """Say where positions come from where that is not EXIF alone, or one track."""
    places = [one.geotag for one in images if one.geotag]
    if len(guides) > 1 or guides[0].kind == "photos":
        told = collections.Counter(place.track or place.placed_by or "EXIF" for place in places)
        counts = ", ".join(f"{count} from {name}" for name, count in told.most_common())
        if counts:
            notes.say(f"positions: {counts}")
        return
    sources = [place.placed_by for place in places if place.placed_by]
    for source in dict.fromkeys(sources):
        notes.say(f"positions of {plural(sources.count(source), 'image')} from {source}")


def _without_jumps(images: List[Image], known: Known, course: Course) -> List[Image]:
    """The images, those as failed that are where nobody could get in the time, by each other and by
    those that stay as they are.
    """
    options, merge = course.options[Geotagging], course.options[SequenceOptions].merge_folders
    if options.keep_jumps or not options.max_speed:
        return images
    wrong: List[Image] = []
    mine = {image.path for image in images}
    everything = [image for image in [*images, *known.beside] if image.geotag is not None]
    for line in by_line(everything, merge):
        for group in of_each_camera(in_order(line), lambda image: image):
            fixes = [image.geotag.fix for image in group if image.geotag is not None]
            for jump in jumps_of(fixes, options.max_speed):
                if group[jump.photo].path in mine:
                    problem = _jump_problem(jump, group)
                    wrong.append(failed(group[jump.photo], GEOTAG, problem))
    return replaced(images, wrong)


def _jump_problem(jump: Jump, group: Sequence[Image]) -> Problem:
    other, image = group[jump.other], group[jump.photo]
    seconds = abs((image.time or 0.0) - (other.time or 0.0))
    name = name_from(str(image.path.parent), str(other.path.parent), other.path.name)
    value = f"{jump.metres:.0f} m from {name} in {seconds:.1f} s"
    value += f", {jump.speed * 3.6:.0f} km/h, limit {jump.limit * 3.6:.0f} km/h"
    remedy = "mend it with process_csv, or keep such positions with --keep_jumps"
    return Problem("position_jump", "is where nobody gets in the time", value=value, remedy=remedy)


def replaced(images: Sequence[Image], changed: Iterable[Image]) -> List[Image]:
    """The images in their order, those that were changed as they are now."""
    results = {image.path: image for image in changed}
    return [results.get(image.path, image) for image in images]


def has_own_place(image: Image) -> bool:
    """Whether EXIF, or what was given, has the position that counts."""
    given, found = image.given or NOTHING_GIVEN, image.found or NOTHING_FOUND
    return given.lat is not None or found.lat is not None


def _no_position(image: Image) -> Problem:
    remedy = "give a track with --geotag_source gpx --geotag_source_path FILE"
    value, emptied = position_as_found(image.found)
    if emptied:
        wrong = "has no position: its GPS tags are there but empty"
        remedy = "Android takes the place out when an app copies it: copy it by cable, or " + remedy
        return Problem("no_position", wrong, value=value, remedy=remedy)
    return Problem("no_position", "has no position", value=value, remedy=remedy)


def _placed(moment: Moment, guides: Sequence[Guide], options: Geotagging, angle: float) -> Image:
    """One image with its position and direction, or the reason why it has none."""
    image, problems = moment.image, []
    for guide in guides:
        own = guide.track is None or guide.kind == "photos" and image.fix is not None
        try:
            place = _own_place(moment, angle) if own else _on_track(moment, guide, options, angle)
        except OutsideTrack as error:
            problems.append(error.problem)
            continue
        if place is not None:
            return image._replace(geotag=_told_by(place, moment.capture))
        problems.append(_no_position(image))
    return failed(image, GEOTAG, problems[0])


def _own_headings(image: Image, angle: float) -> Tuple[Optional[float], Optional[float]]:
    """(true, magnetic) directions that an image carries, turned as far as they are still to be."""
    by = turned_by(image, 0.0 if described_time(image) is not None else angle)
    heading = None if image.heading is None else (image.heading + by) % 360.0
    return heading, None if image.magnetic is None else (image.magnetic + by) % 360.0


def _own_place(moment: Moment, angle: float) -> Optional[Geotag]:
    """Where an image was by what it carries; None = it does not say."""
    image, fix = moment.image, moment.image.fix
    if fix is None:
        return None
    headings = _own_headings(image, angle)
    place = Geotag(*fix._replace(time=moment.time), *headings, source="given")
    return place if has_own_place(image) else place._replace(placed_by="XMP")


def _on_track(moment: Moment, guide: Guide, options: Geotagging, angle: float) -> Optional[Geotag]:
    """Where an image was by a track. Raises OutsideTrack."""
    image, when, _ = moment
    assert guide.track is not None
    hole = options.max_gap
    if hole is None and guide.kind == "photos":
        hole = HOLE_S
    fix = fix_at(guide.track, when, hole)
    if fix.course is None:
        heading, magnetic = _own_headings(image, angle)
    else:
        heading, magnetic = (fix.course + turned_by(image, angle)) % 360.0, None
    place = Geotag(*fix._replace(time=when), heading, magnetic, source="given")
    return place._replace(track=guide.name, around=points_around(guide.track, when))


def _told_by(place: Geotag, capture: Optional[Capture]) -> Geotag:
    """A position with what told its time."""
    if capture is None:
        return place
    return place._replace(source=capture.source, zone=capture.zone, offset=capture.offset)


def geotag_step(images: List[Image], known: Known, course: Course, notes: Notes) -> List[Image]:
    """When, where and in which direction; nothing of those that are left out."""
    angle, options = course.options[Angle].offset_angle, course.options[Geotagging]
    if options.by_photos:  # what lies in an area leads no other photo
        images = without_areas(images, course)
    good = [image for image in images if not image.is_excluded]
    placed = without_areas(replaced(images, geotag(good, known, options, angle, notes)), course)
    return _without_jumps(placed, known, course)


def without_areas(images: List[Image], course: Course) -> List[Image]:
    """The images, of those in an area that is left out nothing but that."""
    areas = course.areas
    if not areas:
        return images
    name = course.areas_id
    return [one.excluded(name) if is_excluded(areas, one.fix) else one for one in images]


# -- sequences --

_NOT_GEOTAGGED = Problem(
    "not_geotagged", "has not been geotagged", remedy="run extract_geotag_data first"
)


def _parts(piece: List[Image], options: SequenceOptions, angle: float) -> Iterator[Image]:
    """The images between two cuts as sequences, or as duplicates."""
    piece = with_directions(piece, angle, options.interpolate_directions)
    if options.flag_duplicates:
        piece = mark_duplicates(piece, options.duplicate_distance, options.duplicate_angle)
    kept = [image for image in piece if image.outcome is None]
    yield from (image for image in piece if image.outcome is not None)
    for part in cut_to_size(kept):
        first = part[0]
        names = tuple(dict.fromkeys(image.path.parent.name for image in part))
        span = names if len(names) > 1 else None
        told = dict(dataclasses.replace(options, merge_folders=span is not None).plain())
        told.update(offset_angle=angle)
        identity = sequence_id(photo_id(first.path.name, first.found or NOTHING_FOUND), told)
        for image in part:  # the first one keeps what the cut before it was judged by
            limits = (options.cutoff_distance, options.cutoff_time) if image is first else None
            yield image._replace(membership=Membership(identity, image.heading, limits, span=span))


def _sequenced(images: List[Image], options: SequenceOptions, angle: float) -> Iterator[Image]:
    """The images of one line of capture with sequence and heading, or as duplicates, or failed for
    want of a place.
    """
    yield from (failed(image, SEQUENCE, _NOT_GEOTAGGED) for image in images if image.geotag is None)
    ready = in_order(image for image in images if image.geotag is not None)
    for group in of_each_camera(ready, lambda image: image):
        for piece in split(group, options.cutoff_distance, options.cutoff_time):
            yield from _parts(piece, options, angle)


def sequence_step(images: List[Image], known: Known, course: Course, notes: Notes) -> List[Image]:
    """Sequences, directions, duplicates."""
    options, angle = course.options[SequenceOptions], course.options[Angle].offset_angle
    lines = by_line(images, options.merge_folders)
    return replaced(images, (one for group in lines for one in _sequenced(group, options, angle)))


# ---- Description --------------------------------------------------------------------------------
# Here: what all layers of an image together say, for the service and for its own tags.
# Not here: which layers an image gets.


def _meta_tags(device: Device) -> Dict[str, List[Dict[str, object]]]:
    """MAPMetaTags: the user's own values, the date of the import, our version; by their types."""
    tags = list(device.tags or ())
    if device.import_date is not None:
        tags.append(MetaTag("date", "import_date", device.import_date))
    tags.append(MetaTag("string", "mapillary_tools_version", __version__))
    lists: Dict[str, List[Dict[str, object]]] = {}
    for tag in tags:
        lists.setdefault(TAG_LISTS[tag.type], []).append({"key": tag.key, "value": tag.value})
    return lists


def camera_uuid(found: Found) -> Optional[str]:
    """Letters and digits of the serial numbers of body and lens; None where there are none."""
    parts = [
        re.sub("[^A-Za-z0-9]", "", text or "") for text in (found.body_serial, found.lens_serial)
    ]
    return "_".join(filter(None, parts)) or None


def description_of(image: Image, secret: Optional[str] = None) -> str:
    """The description of an image that is geotagged, with the secret of --master_upload (None
    without).

    ASCII JSON, keys sorted.
    """
    user, device, place = image.uploader or Uploader(), image.device or Device(), image.geotag
    assert place is not None
    heading, magnetic = image.heading, image.magnetic  # the service asks for both or none
    headings = known_values(
        TrueHeading=magnetic if heading is None else heading,
        MagneticHeading=heading if magnetic is None else magnetic,
    )
    rounded = {key: round(float(str(value)), 3) % 360.0 for key, value in headings.items()}
    return canonical(
        known_values(
            MAPLatitude=round(place.lat, 7),
            MAPLongitude=round(place.lon, 7),
            MAPAltitude=None if place.alt is None else round(place.alt, 3),
            MAPCaptureTime=format_time(place.time, "map"),
            MAPCompassHeading=rounded or None,
            MAPSequenceUUID=image.sequence,
            MAPPhotoUUID=photo_id(image.path.name, image.found or NOTHING_FOUND),
            MAPSettingsUsername=user.user_name,
            MAPSettingsUserKey=user.user_key,
            MAPOrganizationKey=user.organization_key,
            MAPPrivate=user.private,
            MAPDeviceMake=device.make,
            MAPDeviceModel=device.model,
            MAPOrientation=device.orientation,
            MAPGPSAccuracyMeters=device.accuracy,
            MAPFilename=image.path.name,
            MAPCameraUUID=camera_uuid(image.found or NOTHING_FOUND),
            MAPMetaTags=_meta_tags(device),
            MAPVideoSecure=secret,
        )
    )


def caption_of(image: Image, secret: Optional[str]) -> Optional[str]:
    """The description as it goes into an image, None for one that has none; secret as the
    configuration has it.
    """
    if image.described is None:
        return None
    return description_of(image, secret if image.described.master else None)


def edits_of(image: Image, secret: Optional[str]) -> Edits:
    """Every tag of ours as it should stand in an image, with the description if it has one."""
    device, place = image.device or Device(), image.geotag
    offset = 0.0 if place is None else place.offset
    return image_edits(image, caption_of(image, secret), device.turn, offset)


_NEEDED = (  # for a description
    (USER, "extract_user_data"),
    (GEOTAG, "extract_geotag_data"),
    (SEQUENCE, "extract_sequence_data"),
)


def is_signed(image: Image) -> bool:
    """Whether an earlier run was asked to sign the description of an image."""
    layers = (image.uploader, image.terms, image.described)
    return any(layer is not None and layer.master for layer in layers)


def _described(image: Image, known: Known, course: Course) -> Image:
    """An image with its description planned, or the reason why it has none."""
    missing = [(step, tool) for step, tool in _NEEDED if image.layer(step) is None]
    if missing:
        step, tool = missing[0]
        return failed(
            image,
            DESCRIPTION,
            Problem(
                "step_missing",
                "cannot be described",
                value=f"{step} is missing",
                remedy=f"run {tool} first",
            ),
        )
    into = "copy" if course.options[Keep].keep_original else "image"
    if course.options[Insert].skip_EXIF_insert:
        into = "stream"
    master = course.master or is_signed(image) or None
    if master and known.no_secret is not None:
        raise known.no_secret
    image = image._replace(described=Described(into, master))
    if into == "stream" or image.written is None and image.copied is None:
        return image  # nothing is written, or whatever it says
    edits = edits_hash(edits_of(image, known.secret))
    return image._replace(described=Described(into, master, edits))


def description_step(
    images: List[Image], known: Known, course: Course, notes: Notes
) -> List[Image]:
    """Merge all steps into one description and plan where it goes; the writing itself comes after
    the journal.
    """
    return [_described(image, known, course) for image in images]


# ---- Plan ---------------------------------------------------------------------------------------
# Here: from all that was gathered to the work that is to be done; pure: no file, no clock, no log.
# Not here: reading, writing.

_FOLDERWIDE = (GEOTAG, SEQUENCE)  # steps in which the images of a folder depend on each other
_DEPENDS: Dict[str, Tuple[str, ...]] = {
    SEQUENCE: (GEOTAG,),
    PARAMS: (USER,),
    DESCRIPTION: STEPS[:-1],
}


class Gathered(NamedTuple):
    """All that a run has read."""

    images: List[Image]  # as the journal or the file has them
    read: AbstractSet[Path] = frozenset()  # those that are otherwise than the journal has them
    # folder -> keys of its described copies
    copies: Mapping[str, FrozenSet[str]] = MappingProxyType({})
    # images that the service has -> how they were sent
    sent: Mapping[Path, Sent] = MappingProxyType({})
    known: Known = Known()
    videos: Sequence[Path] = ()  # those that go up whole

    def has_copy(self, image: Image) -> bool:
        """Whether an image has a described copy."""
        folder = os.path.dirname(str(image.path))
        return name_key(image.path.name) in self.copies.get(folder, frozenset())


class Work(NamedTuple):
    """What a run does to images once all is computed."""

    images: List[Image]  # all, with what became of them
    told: List[Image]  # the journal gets their lines before any is touched
    stale: List[Image]  # their earlier copies under .mapillary are removed
    due: List[Image]  # to be written
    notes: List[str]  # what the run should say


def is_final(image: Image) -> bool:
    """Whether no step can change anything about an image: skipped, or unreadable."""
    set_aside = image.aside is not None and image.aside.status == "skipped"
    return set_aside or image.is_left_out or image.found is None or image.found.error is not None


def is_uploaded(journal: Journal, service: str, name: str, found: Optional[Found]) -> bool:
    """Whether the journal says that this very image, not another of its name, has arrived at a
    service.
    """
    sent = journal.sent(service, name)
    if sent is None or not sent.arrived:
        return False
    if found is None:
        return True
    same = not sent.photo or sent.photo == photo_id(name, found)
    return same and (sent.size is None or sent.size == found.size)


def is_outdated(image: Image, sent: Sent) -> bool:
    """Whether an image has another time or position than it was sent with; no where that is not
    known.
    """
    if sent.fix is None or image.geotag is None:
        return False
    return sent.fix != fix_id(image.geotag.fix)


def _is_halfway(image: Image, sent: Sent) -> bool:
    """Whether an image that the service has got another time or position by a step of its own, and
    the steps behind that are still to be taken.
    """
    return image.described is None and is_outdated(image, sent)


def say_outdated(count: int, notes: Notes) -> None:
    """Say that what is known of images now is not what they were sent with."""
    if count:
        notes.say(
            f"{count} were sent with another time or position than they have now: upload "
            "--reupload sends them again"
        )


def links_told(due: Sequence[Image], copies: bool) -> List[str]:
    """What is said of photos to be written that have other names."""
    linked = sum(bool(image.found and image.found.links) for image in due)
    if not linked or copies:
        return []
    return [
        f"{linked} photos have further names (hard links): each is written under the name found "
        "here; what the other names lead to stays as it is"
    ]


def _base(image: Image) -> str:
    """Stands for an image as found, with what was given in its place."""
    found = image.found
    stamp = (None, None) if found is None else (found.size, found.mtime)
    given = canonical(pack_given(image.given)) if image.given is not None else ""
    return text_hash(f"{stamp[0]}:{stamp[1]}:{given}")


def _digest_of(group: Sequence[Image]) -> str:
    """What stands for all JPEGs of some images as found, uploaded or not."""
    jpegs = [image for image in group if is_jpeg_name(image.path)]
    return short_hash([[image.path.name, _base(image)] for image in jpegs])


def option_hashes(gathered: Gathered, course: Course) -> Dict[str, str]:
    """For each step of the run, a hash of what its result depends on beside the images of the
    folder.
    """
    options, master, known = course.options, course.master, gathered.known
    by_photos = options[Geotagging].by_photos  # of all folders
    beside = {"photos": _digest_of(gathered.images)} if by_photos else {}
    angle = options[Angle].offset_angle
    uploader = known.uploader
    who = {name: getattr(uploader, name) for name in Uploader._fields if name != "master"}

    def told(step: str) -> object:
        if step == USER:
            return [who, master]
        if step == META:
            return options[MetaData].plain()
        if step == GEOTAG:
            row = dict(options[Geotagging].plain(), **options[Areas].plain())
            return dict(row, angle=angle, geotag_source_path=known.stamps, **beside)
        if step == SEQUENCE:
            return dict(options[SequenceOptions].plain(), angle=angle)
        if step == PARAMS:
            return [options[Account].user_name, master]
        skip, keep = options[Insert].skip_EXIF_insert, options[Keep].keep_original
        return [[skip, keep, master], __version__]

    return {step: short_hash(step, told(step)) for step in course.steps}


def _expected(image: Image, hashes: Mapping[str, str], digest: str) -> Dict[str, str]:
    """The settings hash that each step of the run, and each recorded one, has for an image when it
    is up to date.

    hashes are the option_hashes, digest stands for the images of the folder.
    """
    base, before = _base(image), image.settings_by_step
    expected: Dict[str, str] = {}
    for step in STEPS:
        if step in hashes:
            others = "".join(expected.get(other, "-") for other in _DEPENDS.get(step, ()))
            folder = digest if step in _FOLDERWIDE else ""
            expected[step] = text_hash(base + hashes[step] + others + folder)
        elif image.taken(step):
            expected[step] = before.get(step, "")
    return expected


def _write_due(image: Image, copied: bool) -> bool:
    """Whether the description of an image still has to be written where it belongs; copied is
    whether its copy is there.
    """
    described = image.described
    if described is None or described.into == "stream":
        return False
    written = image.written
    if described.into == "copy":
        written = image.copied if copied else None
    if written is None:
        return True
    return described.edits is not None and written.edits != described.edits


def _settled(image: Image, course: Course, expected: Mapping[str, str], copied: bool) -> bool:
    """Whether the journal has an up-to-date result of every step, as far as the image gets, and it
    stands there.
    """
    known = image.settings_by_step
    for step in course.steps:
        if known.get(step) != expected[step]:
            return False
        layer = image.layer(step)
        if layer is None or isinstance(layer, Membership) and layer.repeats is not None:
            return True
    return image.outcome is not None or not _write_due(image, copied)


STEP_FUNCTIONS: Dict[str, Callable[[List[Image], Known, Course, Notes], List[Image]]] = {
    USER: user_step,
    META: meta_step,
    GEOTAG: geotag_step,
    SEQUENCE: sequence_step,
    PARAMS: params_step,
    DESCRIPTION: description_step,
}


def run_step(
    step: str, images: List[Image], known: Known, course: Course, notes: Notes
) -> List[Image]:
    """One step for every good image; as many come back, in the same order."""
    good = [image for image in images if image.outcome is None]
    results = STEP_FUNCTIONS[step](good, known, course, notes)
    assert len({image.path for image in results}) == len(good), step
    return replaced(images, results)


def without_stale(image: Image, steps: Sequence[str]) -> Image:
    """The image before some steps: as found, with the recorded results of the others that do not
    depend on them.
    """
    stale = set(steps)
    return image.without(stale.union(step for step in STEPS if stale & set(_DEPENDS.get(step, ()))))


class _Planner:
    """What the plan of one run has in common: options by step, folders by what stands for their
    images.
    """

    def __init__(self, gathered: Gathered, course: Course) -> None:
        self.gathered, self.course = gathered, course
        self.hashes = option_hashes(gathered, course)
        self.digests: Dict[str, str] = {}
        for group in self._lines():
            self.digests.update(dict.fromkeys(by_folder(group), _digest_of(group)))

    def _lines(self) -> List[List[Image]]:
        """The images of which some depend on each other."""
        return by_line(self.gathered.images, self.course.options[SequenceOptions].merge_folders)

    def expected(self, image: Image) -> Dict[str, str]:
        """The settings hash of each step of an image when it is up to date."""
        return _expected(image, self.hashes, self.digests[os.path.dirname(str(image.path))])

    def leave_out_sent(self) -> int:
        """Leave out what the service has, but for images that would now get another time or
        position; returns how many of all of them were sent with another one.
        """
        gathered, sent, outdated = self.gathered, self.gathered.sent, 0
        images = []
        by_photos = self.course.options[Geotagging].by_photos  # then all folders are as one
        groups = [gathered.images] if by_photos else list(by_folder(gathered.images).values())
        for group in groups if sent else ():
            moved = self._moved([one for one in group if not is_final(one)])
            for image in group:
                how = sent.get(image.path)
                if how is not None and image.path not in moved and not _is_halfway(image, how):
                    outdated += is_outdated(image, how)
                    image = leave_out(image, SKIP_UPLOADED)
                outdated += image.path in moved
                images.append(image)
        if sent:
            self.gathered = gathered._replace(images=replaced(gathered.images, images))
        return outdated

    def _moved(self, group: Sequence[Image]) -> Set[Path]:
        """The images of a folder that the service has and that get another time or position by the
        options of this run.
        """
        doubtful = [one for one in group if self._by_others(one)]
        if not doubtful:
            return set()
        fresh = [without_stale(one, self.course.steps) for one in group]
        placed = run_step(GEOTAG, fresh, self.gathered.known, self.course, Notes())
        sent = self.gathered.sent
        return {one.path for one in placed if one.path in sent and is_outdated(one, sent[one.path])}

    def _by_others(self, image: Image) -> bool:
        """Whether an image that the service has was placed by other options, or other images."""
        if image.path not in self.gathered.sent or GEOTAG not in self.course.steps:
            return False
        return image.settings_by_step.get(GEOTAG) != self.expected(image)[GEOTAG]

    def sort_out(self) -> Tuple[List[Image], List[Image]]:
        """(images that are due, those of folders in which all is settled)."""
        due: List[Image] = []
        done: List[Image] = []
        for group in self._lines():
            open_ones = [image for image in group if not is_final(image)]
            again = self.course.options[Again].rerun or _is_renamed(group, open_ones)
            if again or not all(map(self._is_settled, open_ones)):
                due.extend(without_stale(image, self.course.steps) for image in open_ones)
            else:
                done.extend(map(as_processed, open_ones))
        return due, done

    def _is_settled(self, image: Image) -> bool:
        return _settled(image, self.course, self.expected(image), self.gathered.has_copy(image))

    def beside(self, due: Sequence[Image]) -> List[Image]:
        """The images with a position that are not worked on."""
        mine = {image.path for image in due}
        images = [one for one in self.gathered.images if one.path not in mine]
        return [one for one in images if one.geotag is not None]

    def with_settings(self, image: Image) -> Image:
        """An image after all steps, each with the hash of what its result depends on."""
        expected, steps = self.expected(image), self.course.steps
        taken = [step for step in STEPS if image.taken(step)]
        before = image.settings_by_step
        kept = {step: expected[step] if step in steps else before.get(step, "") for step in taken}
        return image._replace(settings=settings_text(kept))

    def work(self, images: List[Image], notes: List[str]) -> Work:
        """What is to be done so that the images stand as they are planned."""
        work = Work(images, [], [], [], notes)
        rerun = self.course.options[Again].rerun
        for image, old in zip(images, self.gathered.images):
            new = image is not old and not (image.aside and image.aside.status == "skipped")
            if (new or image.path in self.gathered.read) and image.found is not None:
                work.told.append(image)
            into = image.described.into if image.described and image.outcome is None else None
            due = (
                new
                and into in ("image", "copy")
                and (rerun or _write_due(image, self.gathered.has_copy(image)))
            )
            if due:
                work.due.append(image)
            if due or new and into != "copy":
                work.stale.append(image)
        return work


def _is_renamed(group: Sequence[Image], members: Sequence[Image]) -> bool:
    """Whether sequences go through a folder, by its name, that is none of those of a line."""
    names = {image.path.parent.name for image in group}
    spans = [one.membership.span or () for one in members if one.membership]
    return not names.issuperset(itertools.chain.from_iterable(spans))


def as_processed(image: Image) -> Image:
    """An image of which nothing is left to do, as left out of this run."""
    return leave_out(image, SKIP_PROCESSED) if image.outcome is None else image


def plan(gathered: Gathered, course: Course) -> Work:
    """The pure middle: all steps of the run, and what is to be written where; "already processed"
    where nothing is.
    """
    notes = Notes()
    synced: Synced = {}
    if GEOTAG in course.steps:
        synced = _synced(gathered.images, course)
        gathered = gathered._replace(known=gathered.known._replace(synced=synced))
    else:  # nobody else looks where they are
        gathered = gathered._replace(images=without_areas(gathered.images, course))
    planner = _Planner(gathered, course)
    outdated = planner.leave_out_sent()
    due, done = planner.sort_out()
    if due:
        say_synced(synced, notes)
    known = gathered.known._replace(beside=planner.beside(due))
    for step in course.steps:
        due = run_step(step, due, known, course, notes)
    done.extend(map(planner.with_settings, due))
    say_outdated(outdated, notes)
    return planner.work(replaced(planner.gathered.images, done), notes.lines)


def _synced(images: Sequence[Image], course: Course) -> Synced:
    """How far clocks are ahead by the sync points of a run, as its images were found."""
    clockwork = course.options[Geotagging].clockwork
    if not clockwork.synced:
        return {}
    bare = [without_stale(one, (GEOTAG,)) for one in images if one.found is not None]
    return sync_errors(without_areas(bare, course), clockwork)


# ---- Gather -------------------------------------------------------------------------------------
# Here: all that a run reads: images, places, the track, the configuration.
# Not here: what steps make of images; writing.

WRITE_BATCH = 256  # images written between two batches of the journal
GROUP_BYTES = 32 << 20  # of images that a worker has written, and not yet moved to their places


class Place:
    """One folder of a run."""

    def __init__(self, folder: str, journal: Journal) -> None:
        self.folder, self.journal = folder, journal
        self._ours: Optional[Dict[str, Image]] = None  # images by the digest of what we wrote
        self._finished: Dict[str, Dict[str, Set[str]]] = {}  # service -> as of finished_in
        self.line: List[Place] = [self]  # of the run, where sequences with its images may begin

    def finished_in(self, service: str) -> Dict[str, Set[str]]:
        """The images of the sequences that begin in the folder and are finished -> their ids."""
        if service not in self._finished:
            found = self._finished[service] = {}
            for manifest in self.journal.manifests(service):
                for name in manifest.images if manifest.cluster is not None else ():
                    found.setdefault(name, set()).add(manifest.id)
        return self._finished[service]

    def known_again(self, image: Optional[Image], found: Found) -> Optional[Image]:
        """What is known of an image, or of that of another name whose Exif block, written by us, it
        carries.
        """
        written = image.written if image else None
        if not has_caption_of_ours(found):
            return image
        if image is not None and written is not None and written.digest == found.digest:
            return image
        if self._ours is None:
            records = self.journal.images(self.journal.names())
            ours = [(one.written, one) for one in records if one is not None]
            self._ours = {
                written.digest: one for written, one in ours if written and written.digest
            }
        return self._ours.get(found.digest or "") or image


def read_job(path: str) -> Found:
    """What a worker reads of one image; of one that cannot be read size, time and the problem."""
    try:
        return read_found(path)
    except ToolError as error:
        stamp = stamp_of(path)
        return Found(size=stamp.size, mtime=stamp.mtime, error=error.problem._replace(file=""))


def _under_way(task: Task) -> Union[Rewritten, Written, ToolError]:
    """An image written under a temporary name, one that stays as it is, or what is wrong."""
    try:
        if task.to is not None:
            os.makedirs(os.path.dirname(task.to), exist_ok=True)
            check_copy(task.to, task.path, task.copied)
        return begin_edits(task)
    except OSError as error:
        return os_problem(task.to or task.path, error)
    except ToolError as error:
        return error


class _Group:
    """Images that are written one after the other, and take their places together."""

    def __init__(self) -> None:
        self.results: Dict[int, Union[Written, ToolError]] = {}
        self._begun: Dict[int, Rewritten] = {}
        self._bytes = 0  # of the disk, beside what they replace

    def add(self, number: int, task: Task) -> None:
        """Write an image; on a full disk the others take their places first, which gives back
        theirs.
        """
        one = _under_way(task)
        if isinstance(one, NoRoom) and self._begun:
            self.finish()
            one = _under_way(task)
        if not isinstance(one, Rewritten):
            self.results[number] = one
            return
        self._begun[number] = one
        self._bytes += task.known.size if task.known else 0
        if self._bytes >= GROUP_BYTES:
            self.finish()

    def finish(self) -> None:
        """Have those that are written take their places."""
        begun, self._begun, self._bytes = self._begun, {}, 0
        self.results.update(zip(begun, finish_edits(list(begun.values()))))

    def give_up(self) -> None:
        """Remove what has not taken its place."""
        for one in self._begun.values():
            one.file.give_up()


def write_group(tasks: Sequence[Task]) -> List[Union[Written, ToolError]]:
    """What a worker wrote of some images, or why it could not. Their temporary files take
    GROUP_BYTES and one image of the disk at most, on a full one a single image.
    """
    group = _Group()
    try:
        for number, task in enumerate(tasks):
            group.add(number, task)
        group.finish()
    finally:
        group.give_up()
    return [group.results[number] for number in range(len(tasks))]


def open_places(
    paths: Sequence[Path], write: bool, stack: contextlib.ExitStack, wait: float = 0.0
) -> Tuple[Dict[str, Place], Dict[str, Problem]]:
    """(folders of images, their journals open; problems of the others). Raises the ToolError when
    none can be open.
    """
    places: Dict[str, Place] = {}
    errors: Dict[str, ToolError] = {}
    deadline = time.monotonic() + wait
    for folder in sorted(by_folder(paths)):  # two runs of several folders never wait for each other
        try:
            journal = Journal(folder, write, deadline - time.monotonic())
            places[folder] = Place(folder, stack.enter_context(journal))
        except ToolError as error:
            errors[folder] = error
    if errors and not places:
        raise list(errors.values())[-1]
    lines: Dict[str, List[Place]] = {}
    for folder, place in places.items():
        place.line = lines.setdefault(line_of(folder), [])
        place.line.append(place)
    return places, {folder: error.problem for folder, error in errors.items()}


def _why_skipped(path: Path, was_uploaded: bool) -> str:
    """Why an image is not even read; "" if it is."""
    if not is_jpeg_name(path):
        return SKIP_KIND
    if was_uploaded:
        return SKIP_UPLOADED
    return SKIP_LINK if os.path.islink(path) and os.path.exists(path) else ""


def is_same_file(image: Image, status: os.stat_result) -> bool:
    """Whether a file has the size and times of what the journal last saw of it, so that it need not
    be read; of our own writing, which keeps the photo's time, that of the change counts as well.
    """
    seen, found = image.written or image.found, image.found
    if found is not None and found.error and found.error.code == UNREADABLE:
        return False  # of an earlier version, which remembered it
    if seen is None or seen.stamp != stamp_by(status):
        return False
    if image.written is None or found is None or found.mtime != seen.mtime:
        return True
    return image.written.ctime is not None and image.written.ctime == changed_at(status)


def is_as_it_was(image: Image, path: Union[str, Path]) -> bool:
    """Whether a file is there, and as the journal last saw it."""
    try:
        return is_same_file(image, os.stat(path))
    except OSError:
        return False


class _Reading:
    """The one read pass: which images the journal knows as they are, and what the others carry."""

    def __init__(self, course: Course, config: Configuration) -> None:
        self.course, self.config = course, config
        self.images: Dict[Path, Image] = {}
        self.unread: List[Tuple[Path, Optional[Image]]] = []  # with what the journal knows
        self.read: Set[Path] = set()

    def look(self, place: Place, paths: Sequence[Path], top: str) -> None:
        """Sort the images of a folder into known, skipped, and to be read."""
        was_uploaded = old_uploads(place.folder, top)
        records = place.journal.images([path.name for path in paths])
        for path, record in zip(paths, records):
            reason = _why_skipped(path, was_uploaded(path.name))
            if reason:
                self.images[path] = leave_out(Image(path), reason)
            elif record is not None and self._is_known(record, path):
                self.images[path] = record._replace(path=path)  # of which one is enough
            else:
                self.unread.append((path, record))

    def _is_known(self, record: Image, path: Path) -> bool:
        """Whether the journal knows a file as it is; of one that was left out by other areas it
        knows nothing.
        """
        if record.is_excluded and record.found != record.excluded(self.course.areas_id).found:
            return False
        return is_as_it_was(record, path)

    def read_all(self, places: Mapping[str, Place], ui: Ui) -> None:
        """Read the images that are to be read."""
        total, workers = len(self.unread), self.course.options[Workers].workers
        paths = [str(path) for path, _ in self.unread]
        with contextlib.closing(each(read_job, paths, workers)) as results:
            for count, ((path, record), found) in enumerate(zip(self.unread, results), 1):
                known = places[os.path.dirname(str(path))].known_again(record, found)
                image = self.images[path] = as_read(path, known, found, self.config)
                if image != record:  # else the journal knows it so
                    self.read.add(path)
                ui.progress("reading", count, total, 0)

    def uploaded(self, places: Mapping[str, Place]) -> Dict[Path, Sent]:
        """The images that the service of the run has, and how they were sent."""
        found = {}
        for path, image in self.images.items() if self.course.service else ():
            if image.aside is not None and image.aside.status == "failed":
                continue  # whatever was sent, it is not what is there now
            home = places.get(os.path.dirname(str(path)))
            if home and is_uploaded(home.journal, self.course.service, path.name, image.found):
                sent = home.journal.sent(self.course.service, path.name)
                if sent is not None:
                    found[path] = sent
        return found


def not_open(path: Path, problem: Problem) -> Image:
    """An image of a folder that could not be opened."""
    if problem.code == SKIP_IN_USE:
        return leave_out(Image(path), SKIP_IN_USE)
    return fail_now(Image(path), problem._replace(file=""))


def gather_images(
    paths: Sequence[Path],
    course: Course,
    config: Configuration,
    ui: Ui,
    stack: contextlib.ExitStack,
) -> Tuple[Gathered, Dict[str, Place]]:
    """(images found below a folder as the journal or the file has them, their open folders)."""
    tops, wait = course.options[Input].folders, course.options[Waiting].wait
    places, problems = open_places(paths, not course.options[Dry].dry_run, stack, wait)
    piexif()  # missing, that is said once and not for every image
    reading = _Reading(course, config)
    for folder, group in by_folder(paths).items():
        if folder in places:
            reading.look(places[folder], group, top_of(folder, tops))
        else:
            reading.images.update((path, not_open(path, problems[folder])) for path in group)
    reading.read_all(places, ui)
    copies = {folder: place.journal.copies() for folder, place in places.items()}
    images, sent = [reading.images[path] for path in paths], reading.uploaded(places)
    return Gathered(images, reading.read, copies, sent), places


def as_read(path: Path, known: Optional[Image], found: Found, config: Configuration) -> Image:
    """The image in a file that was read: known again if what it carries is our own writing, else as
    found now.
    """
    if found.error is not None:
        if found.error.code == UNREADABLE:
            return fail_now(Image(path), found.error)  # the medium, not the photo: tried again
        if known is not None and known.found is not None and known.found.error is None:
            return fail_now(Image(path), found.error)  # it may be whole again later
        return Image(path, found)
    if known is None or known.found is None:
        return image_of(path, found)
    known = known._replace(path=path, capture=capture_time(known.found, path.name))
    ours, before = _as_written(known, found, config), known.found or NOTHING_FOUND
    if ours is not None:
        known = _with_its_growth(known, ours)
        touched = _touched_since(known, found, config)
        if touched is not None:
            return touched
        return _written_before(known, ours)
    if before == found._replace(mtime=before.mtime):  # only its time is another
        return known._replace(written=Written(*found.stamp, digest=found.digest))
    same = before.error is None and photo_id(path.name, before) == photo_id(path.name, found)
    return image_of(path, found, known.given if same else None)


def _touched_since(known: Image, found: Found, config: Configuration) -> Optional[Image]:
    """An image whose description is as we wrote it, and whose position, direction or time is not:
    somebody has put that right, so it counts, and not what was given before. None for any other.
    """
    before, written, given = known.found, known.written, known.given
    if before is None or written is None or known.described is None:
        return None
    if found.digest == written.digest:
        return None
    secret = config.secret() if known.described.master else None
    now = retouched(before, found, edits_of(known, secret))
    if now == before:
        return None
    if given is not None and (now.lat, now.lon, now.alt) != (before.lat, before.lon, before.alt):
        given = given._replace(lat=None, lon=None, alt=None, filled=None)
    if given is not None and now.heading != before.heading:
        given = given._replace(heading=None, turn=None)
    if given is not None and (now.clocks, now.gps_time) != (before.clocks, before.gps_time):
        given = given._replace(time=None, later=None)
    now = now._replace(size=before.size + found.size - written.size)
    image = image_of(known.path, now, given)
    return image._replace(written=Written(*found.stamp, digest=found.digest))


def _with_its_growth(known: Image, ours: Written) -> Image:
    """An image whose Exif block is as we wrote it: where its file has another size than then,
    somebody has changed the picture, and it was found with another size.
    """
    before, found = known.written, known.found
    if before is None or before.digest != ours.digest or found is None or found.size is None:
        return known
    if before.size is None or ours.size is None or before.size == ours.size:
        return known
    return known._replace(found=found._replace(size=found.size + ours.size - before.size))


def _written_before(known: Image, ours: Written) -> Image:
    """An image whose file carries our own writing, of which a run before did not come to tell."""
    with contextlib.suppress(OSError):
        ours = ours._replace(ctime=changed_at(os.stat(known.path)))
    described = known.described
    if described is not None and described.edits is None and described.into == "image":
        described = described._replace(edits=ours.edits)
    return known._replace(written=ours, described=described)


def _as_written(known: Image, found: Found, config: Configuration) -> Optional[Written]:
    """How what a file carries is known as our own writing; None where it is not."""
    written = known.written
    if written is not None and written.digest is not None and written.digest == found.digest:
        return written._replace(size=found.size, mtime=found.mtime)
    if known.outcome is not None:
        return None
    secret, described = None, known.described
    if described is not None and described.master:
        secret = config.secret()
    if described is not None and found.caption != caption_of(known, secret):
        return None
    if described is None and known.given is None:
        return None
    edits = edits_of(known, secret)
    if described is None and not carries(found, edits):
        return None  # else a run before wrote it, and did not come to tell
    return Written(*found.stamp, digest=found.digest, edits=edits_hash(edits))


def _gather_uploader(user: User, course: Course, config: Configuration, notes: Notes) -> Uploader:
    """Who uploads, by the options and the configuration; an organization's name that comes with its
    key is stored.

    Raises UsageError for an organization that is not known, CannotWrite.
    """
    name, key = user.organization_username, user.organization_key
    if name:
        key = _organization_key(name, key, config, course.options[Dry].dry_run)
    user_key = None
    try:
        user_key = config.told(user.user_name, "MAPSettingsUserKey")
    except UsageError as error:  # processing needs no credentials
        if error.problem.code == CONFIG_UNREADABLE:
            raise
        notes.say(str(error))
    return Uploader(user.user_name, user_key, key, user.private or None)


def _organization_key(name: str, key: Optional[str], config: Configuration, dry: bool) -> str:
    """The key of an organization: given, and then stored, or stored before."""
    known = config.told("organizations", name)
    if key is None or key == "":
        if known:
            return known
        raise UsageError(
            "unknown_organization",
            "the organization is not in the config file",
            value=name,
            remedy="pass --organization_key once together with the name; the key is on the "
            "organization's dashboard",
        )
    if not re.match(r"[^\s=:#;\[][^=:\r\n]*\Z", name) or re.search(r"\s", key):
        wrong = "this cannot be the name and key of an organization"
        raise UsageError("bad_organization", wrong, value=f"{name}, {key}")
    if known != key and not dry:
        config.keep("organizations", {name: key})
    return key


def check_track_paths(options: Geotagging) -> None:
    """Raise NotFound for a track that is not there, UsageError for one that is not given, before
    anything is read or said.
    """
    if options.track_kinds and not options.paths:
        raise options.no_path()
    for path in options.paths:
        if not os.path.exists(path):
            wrong, remedy = "there is no such file or folder", "check --geotag_source_path"
            raise NotFound("no_track", wrong, file=path, remedy=remedy)


def in_zone(track: Track, zone: Optional[str]) -> Track:
    """A track by a camera's local clock in UTC, where it is known which zone that shows; any other
    as it is.
    """
    if track.clock != CAMERA_CLOCK or not zone:
        return track
    points = [fix._replace(time=fix.time - zone_offset(zone, fix.time)) for fix in track.points]
    notes = [note for note in track.notes if CAMERA_CLOCK not in note]
    zero = None if track.zero is None else track.zero - zone_offset(zone, track.zero)
    pace = [(video, local - zone_offset(zone, local)) for video, local in track.pace]
    return track._replace(points=points, zero=zero, pace=pace, notes=notes)


def gather_guides(options: Geotagging, notes: Notes) -> List[Guide]:
    """Where positions are to come from, in the order asked for; says what is odd about tracks.
    Raises BadTrack, NotFound.
    """
    found: Dict[str, Guide] = {}
    kinds = options.track_kinds
    for kind, name, track in read_tracks(options.paths, kinds) if options.paths else ():
        track = in_zone(track, options.clockwork.zone)
        track = with_courses(without_wild(track, options.max_speed))
        found[kind] = Guide(kind, name, track)
        _say_track(name, track, notes)
    for kind in kinds if options.paths else ():
        if kind not in found and kind not in VIDEO_SOURCES:
            notes.say(f"no track file of the kind {kind} is there")
    return [
        found.get(kind, Guide(kind))
        for kind in options.sources
        if kind in found or kind not in kinds or not options.paths  # one that needs no file
    ]


def _say_track(name: str, track: Track, notes: Notes) -> None:
    """Say what there is of a track, and what is odd about it."""
    points = track.points
    for line in track.notes:
        notes.say(line)
    first, last = format_time(points[0].time), format_time(points[-1].time)
    notes.say(f"track {name}: {len(points)} points, {first} to {last} UTC, clock {track.clock}")
    for reason, count in sorted(track.dropped.items()):
        notes.say(f"track {name}: {plural(count, 'point')} left out: {reason}")
    gaps = [b.time - a.time for part in track.segments() for a, b in zip(part, part[1:])]
    holes = [gap for gap in gaps if gap > HOLE_S]
    if holes:
        notes.say(
            f"track {name}: {len(holes)} holes of more than {HOLE_S:.0f} s, the longest of "
            f"{max(holes):.0f} s; --max_gap keeps images in them from getting a position"
        )


def say_apart(folders: Iterable[str], notes: Notes) -> None:
    """Say which folders of the same camera lie beside some, and are not among them."""
    here = set(folders)
    for parent in sorted({os.path.dirname(folder) for folder in here}):
        lines = {line_of(folder) for folder in here}
        with contextlib.suppress(OSError):
            names = [name for name in sorted(os.listdir(parent)) if is_numbered(name)]
            others = [os.path.join(parent, name) for name in names]
            apart = [one for one in others if one not in here and line_of(one) in lines]
            if apart:
                words = ", ".join(map(os.path.basename, apart))
                notes.say(
                    f"{words} beside it may be of the same drive and is not part of this run: give "
                    f"{parent} as --import_path to have the sequences go on"
                )


def gather_basis(course: Course, config: Configuration, notes: Notes) -> Known:
    """What the results of a run depend on beside its images: who uploads, which track files there
    are.
    """
    known, options = Known(now=time.time()), course.options
    if USER in course.steps:
        uploader = _gather_uploader(options[User], course, config, notes)
        known = known._replace(uploader=uploader)
    if GEOTAG in course.steps:
        known = known._replace(stamps=track_stamps(options[Geotagging].paths))
    return known


def gather_known(
    basis: Known, images: Sequence[Image], course: Course, config: Configuration, notes: Notes
) -> Known:
    """What a run needs to know beside its images: the basis, the track, the secret."""
    known, options = basis, course.options
    if GEOTAG in course.steps:
        known = known._replace(guides=gather_guides(options[Geotagging], notes))
    if DESCRIPTION in course.steps and (course.master or any(map(is_signed, images))):
        try:
            known = known._replace(secret=config.secret())
        except UsageError as error:
            if course.master:
                raise
            known = known._replace(no_secret=error)  # raised where an image needs it
    return known


# ---- Settled folders ----------------------------------------------------------------------------
# Here: what a run told of folders in which it left nothing to do; it holds while they are the same.
# Not here: deciding what is to be done. Without these files all is told alike, and takes longer.

SETTLED_FROM = 1000  # images of a run from which on its folders are remembered
_SETTLED_BYTES = 1 << 26  # of a file of ours at most: a million images take 20 MB
# reasons that hold as long as an image is the same
_LASTING = (SKIP_PROCESSED, SKIP_DUPLICATE, SKIP_EXCLUDED, SKIP_LEFT_OUT, SKIP_KIND)


class RecordedImages(Sequence[Image]):
    """Images of settled folders, read from their journals once somebody looks at one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._images: Optional[List[Image]] = None

    def __len__(self) -> int:
        return len(self._paths)

    @typing.overload
    def __getitem__(self, index: int) -> Image: ...

    @typing.overload
    def __getitem__(self, index: slice) -> List[Image]: ...

    def __getitem__(self, index: Union[int, slice]) -> Union[Image, List[Image]]:
        if self._images is None:
            found: Dict[Path, Image] = {}
            for folder, paths in by_folder(self._paths).items():
                with Journal(folder, write=False) as journal:
                    records = journal.images([path.name for path in paths])
                    found.update(zip(paths, map(_as_recorded, paths, records)))
            self._images = [found[path] for path in self._paths]
        return self._images[index]


def _as_recorded(path: Path, record: Optional[Image]) -> Image:
    return leave_out(Image(path), SKIP_KIND) if record is None else as_processed(record)


def settled_path(folder: str) -> str:
    """Where what a run told of a settled folder is."""
    return os.path.join(folder, STATE_FOLDER, "settled.json")


def may_settle(images: Sequence[Path], gathered: Gathered, course: Course) -> bool:
    """Whether a run is of the kind that is remembered: of many images, each folder by itself."""
    options = course.options
    apart = not options[SequenceOptions].merge_folders and not options[Geotagging].by_photos
    plain_one = course.steps == STEPS and not course.master and not gathered.videos
    again = options[Again].rerun or options[Input].verbose
    return len(images) >= SETTLED_FROM and apart and plain_one and not again


def _basis_of(folders: Iterable[str], gathered: Gathered, course: Course) -> str:
    hashes = option_hashes(gathered._replace(images=[]), course)
    places = sorted(os.fsencode(os.path.abspath(folder)).hex() for folder in folders)
    return short_hash(hashes, course.areas_id, places)


def _names_hash(names: Iterable[str]) -> str:
    return text_hash("/".join(sorted(os.fsencode(name).hex() for name in names)))


def _files_hash(paths: Iterable[Path], copies: Iterable[str]) -> str:
    """Stands for images as they are, each a regular file; raises OSError."""
    rows = [",".join(sorted(os.fsencode(name).hex() for name in copies))]
    for path in paths:
        status = os.lstat(str(path))
        times = status.st_mtime_ns, changed_at(status)
        rows.append(f"{os.fsencode(path.name).hex()} {status.st_mode} {status.st_size} {times}")
    return text_hash("/".join(rows))


def _size_and_sum(path: str) -> Tuple[int, int]:
    """(size, CRC-32) of a file; raises OSError."""
    size = total = 0
    with open_file(path) as stream:
        while True:
            piece = stream.read(COPY_BYTES)
            if not piece:
                return size, total
            size, total = size + len(piece), binascii.crc32(piece, total)


def settled_folder(folder: str, names: Iterable[str]) -> Optional[Settled]:
    """What is remembered of a folder with just these images, None where its journal has gone on, or
    an interrupted run left something.
    """
    state = os.path.join(folder, STATE_FOLDER)
    try:
        if os.path.islink(state) or any(one.endswith(PART_SUFFIX) for one in os.listdir(state)):
            return None
        with open_file(settled_path(folder)) as stream:
            found = unpack_settled(json.loads(stream.read(_SETTLED_BYTES)))
        if found.names != _names_hash(names):
            return None
        told = _size_and_sum(Journal(folder, write=False).path)
        return found if told == (found.size, found.checksum) else None
    except (OSError, *DAMAGED):
        return None


def settled_run(
    images: Sequence[Path], gathered: Gathered, course: Course
) -> Optional[Dict[str, Settled]]:
    """What is remembered of the folders of a run that would do nothing; None where it might do
    something.
    """
    if not may_settle(images, gathered, course):
        return None
    folders, tops = by_folder(images), course.options[Input].folders
    basis, result = _basis_of(folders, gathered, course), {}
    for folder, paths in folders.items():
        found = settled_folder(folder, [path.name for path in paths])
        if found is None or found.basis != basis or upload_marks(folder, top_of(folder, tops)):
            return None
        with contextlib.suppress(OSError):
            if found.files == _files_hash(paths, Journal(folder, write=False).copies()):
                result[folder] = found  # never where files is ""
    return result if len(result) == len(folders) else None


def tell_settled(
    images: Sequence[Path], found: Mapping[str, Settled], report: Report, notes: Notes
) -> None:
    """Account for the images of settled folders, as the run that left them so would today."""
    done = Outcome("skipped", SKIP_PROCESSED)
    for folder, paths in by_folder(images).items():
        for path in paths:
            outcome = found[folder].others.get(path.name, done)
            if outcome.problem is not None:
                whole = outcome.problem._replace(file=str(path))
                outcome = outcome._replace(problem=whole)
            report.count(path, outcome)
    one = next(iter(found.values()))  # of a run all tell the same
    for line in one.notes:
        notes.say(line)
    report.told.lines.extend(one.lines)
    report.told.facts.update(one.facts)
    report.told.images = RecordedImages(images)


def remember_settled(
    gathered: Gathered,
    places: Mapping[str, Place],
    course: Course,
    report: Report,
    notes: List[str],
) -> None:
    """Remember the folders of a run that left nothing to do; nothing where it did, or cannot."""
    images, folders = report.images, by_folder(report.images)
    if not may_settle([image.path for image in images], gathered, course):
        return
    told = report.told
    basis = _basis_of(folders, gathered, course)
    for folder, group in folders.items():
        journal = places[folder].journal if folder in places else None
        keys = {name_key(image.path.name) for image in group}
        if journal is None or not journal.is_local or not keys.issuperset(journal.names()):
            continue
        with contextlib.suppress(OSError, ToolError):  # it only saves time
            if all(map(_is_lasting, group)):
                one = _settled_as(journal, group, basis)
                one = one._replace(notes=tuple(notes), lines=tuple(told.lines), facts=told.facts)
                text = (canonical(pack_settled(one)) + "\n").encode("ascii")
                write_atomically(settled_path(folder), [text], Manner(flush=False))


def _is_lasting(image: Image) -> bool:
    """Whether what the journal has of an image holds, and why it goes no further."""
    outcome, problem = image.outcome, image.problem
    if outcome is not None and outcome.status == "failed":
        own = problem is not None and problem.file == str(image.path)
        return image.aside is None and own
    if outcome is not None and outcome.reason not in _LASTING:
        return False
    return image.membership is None or image.membership.span is None


def _is_unchanged(image: Image) -> bool:
    """Whether the file of an image is known to be as it was left; Windows never tells that of one
    that was written.
    """
    kind = image.aside is not None and image.aside.reason == SKIP_KIND
    return kind or is_as_it_was(image, image.path)


def _settled_as(journal: Journal, group: Sequence[Image], basis: str) -> Settled:
    """What is remembered of a folder, but for what the run told; raises OSError."""
    ids: Dict[str, int] = {}
    members, others = {}, {}
    for image in group:
        outcome, name = image.outcome, image.path.name
        if image.sequence is not None:
            members[name] = ids.setdefault(image.sequence, len(ids))
        if outcome is not None and outcome.reason != SKIP_PROCESSED:
            others[name] = outcome
    paths = [image.path for image in group]
    names, files = _names_hash(path.name for path in paths), ""
    if all(map(_is_unchanged, group)):
        files = _files_hash(paths, journal.copies())
    told = _size_and_sum(journal.path)
    return Settled(*told, basis, names, files, tuple(ids), members, others, (), (), {})


# ---- A run --------------------------------------------------------------------------------------
# Here: gather, then plan, then carry out: the one order in which photos and journal are written.
# Not here: what steps make of images.


def carry_out(
    work: Work, places: Mapping[str, Place], course: Course, secret: Optional[str], ui: Ui
) -> List[Image]:
    """The one write pass, and the one place that knows its order; returns all images with what
    became of them.

    Stale copies gone. Told: the journal has each image's line, with what was found. Written:
    images, or their copies. Folder flushed: a power cut does not undo a rename. Then the journal
    has what was written.
    """
    copies = course.options[Keep].keep_original
    results = _without_stale(work.stale, places)
    told, due = _others(work.told, results), _others(work.due, results)
    for folder, group in by_folder(one._replace(copied=None) for one in told).items():
        places[folder].journal.append(group)
    # whatever ends the run, no worker writes on when the locks of the folders are given back
    with contextlib.closing(_written(due, course, secret)) as outcomes:
        for batch in cut(due, WRITE_BATCH):
            for image, written in itertools.islice(outcomes, len(batch)):
                results.append(_after_writing(image, written, copies))
                ui.progress("writing", len(results), len(due), 0)
            for folder, group in by_folder(results[-len(batch) :]).items():
                journal = places[folder].journal
                flush_folder(folder)
                flush_folder(os.path.dirname(journal.copy_path("")))
                journal.append(group)
    return replaced(work.images, results)


def _written(
    due: Sequence[Image], course: Course, secret: Optional[str]
) -> Generator[Tuple[Image, Union[Written, ToolError]], None, None]:
    """Every image that is due with what was written of it; those for which the disk was full come
    last, one by one when nothing else needs room, until it is full for one again.
    """
    job = functools.partial(write_images, course.options[Keep].keep_original, secret)
    late: List[Tuple[Image, ToolError]] = []
    with contextlib.closing(each_group(job, due, course.options[Workers].workers)) as outcomes:
        for image, outcome in zip(due, outcomes):
            if isinstance(outcome, NoRoom):
                late.append((image, outcome))
            else:
                yield image, outcome
    full = False
    for image, error in late:
        again: Union[Written, ToolError] = error
        if not full:
            (again,) = job([image])
            full = isinstance(again, NoRoom)
        yield image, again


def write_images(
    copies: bool, secret: Optional[str], images: Sequence[Image]
) -> List[Union[Written, ToolError]]:
    """What a worker wrote of some images, or of their copies, with what was to be written; or why
    it could not.
    """
    tasks = []
    for image in images:
        path, edits = str(image.path), edits_of(image, secret)
        to = copy_path(path) if copies else None
        seen, beside = last_seen(image), state_of(path)
        tasks.append(Task(path, edits, to, seen, image.copied, beside=beside))
    results = write_group(tasks)
    return [
        one._replace(edits=edits_hash(task.edits)) if isinstance(one, Written) else one
        for task, one in zip(tasks, results)
    ]


def _without_stale(stale: Sequence[Image], places: Mapping[str, Place]) -> List[Image]:
    """Remove the copies that are no longer right, for good; returns the images, as failed, of which
    that cannot be done.
    """
    stuck: List[Image] = []
    for image in stale:
        try:
            _remove_copy(copy_path(str(image.path)), image)
        except CannotWrite as error:
            stuck.append(fail_now(image, error.problem))
    for folder in by_folder(stale):
        flush_folder(os.path.dirname(places[folder].journal.copy_path("")))
    return stuck


def _others(images: Sequence[Image], without: Sequence[Image]) -> List[Image]:
    """The images that are not among some."""
    gone = {image.path for image in without}
    return [image for image in images if image.path not in gone]


def _remove_copy(path: str, image: Image) -> None:
    """Remove a described copy that is no longer right, if it is there; raises CannotWrite, also
    where it is another file.
    """
    try:
        if os.path.isfile(path) and not os.path.islink(path):
            check_copy(path, str(image.path), image.copied)
            remove_file(path)
    except OSError as error:
        raise os_problem(path, error) from error


def last_seen(image: Image) -> Stamp:
    """The size and time that a photo had when the journal last heard of it."""
    seen = image.written or image.found
    return NO_STAMP if seen is None else seen.stamp


def _after_writing(image: Image, written: Union[Written, ToolError], copies: bool) -> Image:
    """The image with what was written of it, or as failed."""
    if isinstance(written, Written):
        described = image.described
        if described is not None:
            described = described._replace(edits=written.edits)
        if copies:
            return image._replace(described=described, copied=written._replace(ctime=None))
        return image._replace(described=described, written=written)
    if isinstance(written, CannotWrite) or image.described is None:  # not its fault: tried again
        return fail_now(image, written.problem)
    return failed(image, DESCRIPTION, written.problem)


def _write_logs(images: Sequence[Image], places: Mapping[str, Place], verbose: bool) -> None:
    """A file for every image that failed, and with --verbose for every image: each step's data and
    decisions.
    """
    for image in images:
        place, outcome = places.get(os.path.dirname(str(image.path))), image.outcome
        if place is None:
            continue
        path = place.journal.log_path(image.path.name)
        if image.is_excluded:
            with contextlib.suppress(OSError):
                remove_file(path)  # it may tell where the image is
        if not verbose and (outcome is None or outcome.status != "failed"):
            continue
        # a log is a courtesy: a full disk has been said
        with contextlib.suppress(OSError, ToolError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            text = log_text(image, outcome).encode("ascii")
            write_atomically(path, [text], Manner(flush=False, beside=place.journal.state))


def say(text: str) -> None:
    """Narration of a run."""
    LOG.info("%s", text)


def run_steps(tool: str, course: Course, ui: Ui) -> Tuple[Report, Gathered]:
    """Lead the images below a folder through steps: gather, plan, carry out; returns also what was
    gathered.

    Raises what stops the run before any image: NotFound, UsageError, BadTrack, BadJournal,
    CannotWrite.
    """
    options, notes, config = course.options, Notes(say), Configuration()
    word = "would be processed" if options[Dry].dry_run else "processed"
    report = Report(tool, told=Told(word, notes.lines))
    check_track_paths(options[Geotagging])
    course = course._replace(areas=areas_of_run(options, config))
    paths, videos = look_for(options, report, notes)
    gathered = Gathered([], known=gather_basis(course, config, notes), videos=videos)
    before = settled_run(paths, gathered, course)
    if before is not None:
        tell_settled(paths, before, report, notes)
    else:
        gathered = _worked(paths, gathered, course, config, _Saying(report, notes, ui))
    if not gathered.videos:
        say_account(course, config, report)
    return report, gathered


class _Saying(NamedTuple):
    """How a run says what it does."""

    report: Report
    notes: Notes
    ui: Ui


def _worked(
    paths: Sequence[Path], basis: Gathered, course: Course, config: Configuration, saying: _Saying
) -> Gathered:
    """The run itself: gather, plan, carry out, tell; returns what was gathered."""
    options, (report, notes, ui) = course.options, saying
    begun, dry = len(notes.lines), options[Dry].dry_run
    with contextlib.ExitStack() as stack:
        gathered, places = gather_images(paths, course, config, ui, stack)
        _say_strays(gathered.images, notes)
        if options[SequenceOptions].merge_folders:
            say_apart(places, notes)
        known = gather_known(basis.known, gathered.images, course, config, notes)
        gathered = gathered._replace(known=known, videos=basis.videos)
        lasting = notes.lines[begun:]
        work = plan(gathered, course)
        gathered = gathered._replace(images=[], read=frozenset())  # the plan has them all
        for line in [*work.notes, *links_told(work.due, options[Keep].keep_original)]:
            notes.say(line)
        results = work.images
        if not dry:
            results = carry_out(work, places, course, known.secret, ui)
            _write_logs(results, places, options[Input].verbose)
        _count_results(results, report)
        _say_figures(report)
        if not dry:
            remember_settled(gathered, places, course, report, lasting)
    return gathered


def look_for(options: Options, report: Report, notes: Notes) -> Tuple[List[Path], List[Path]]:
    """(the images, the videos that go up whole) below the folders of a run; what else lies there is
    counted.
    """
    folders, videos = options[Input].folders, options[Videos]
    found = look_below_all(folders, options[Selection].skip_subfolders, videos.taken)
    images = account_for(found, report, notes, videos.reason)
    whole: List[Path] = []
    for path in found.videos if videos.whole else ():
        if os.path.islink(path):
            report.skipped.setdefault(SKIP_LINK, []).append(str(path))
        else:
            whole.append(path)
    return images, whole


def areas_of_run(options: Options, config: Configuration) -> Tuple[Area, ...]:
    """The areas that a run leaves out; where the configuration cannot be read, which is said
    elsewhere, those of the options: nothing goes up without it.
    """
    try:
        return areas_of(options, config)
    except UsageError as error:
        if error.problem.code == "bad_area":
            raise
        return tuple(map(area_of, options[Areas].exclude_area))


def _count_results(results: Sequence[Image], report: Report) -> None:
    """Account for every image of a run."""
    for image in results:
        outcome = image.outcome
        report.count(image.path, outcome)
        LOG.debug("%s: %s", image.path, outcome.reason if outcome else report.told.word)
    report.told.images = results


def _say_figures(report: Report) -> None:
    """Say what there is of the images of a run: cameras, sequences, kilometres, times."""
    good = in_order(image for image in report.images if image.geotag and image.sequence)
    ways = _ways_of(good)
    metres = _length_of(ways)
    cameras, sequences = len(_cameras_of(good)), len(ways)
    report.told.facts.update(
        sequences=sequences, kilometres=round(metres / 1000, 3), cameras=cameras
    )
    if good:
        words = [
            plural(cameras, "camera"),
            plural(sequences, "sequence"),
            f"{metres / 1000:.1f} km",
            f"{format_time(good[0].time or 0.0)} to {format_time(good[-1].time or 0.0)}",
        ]
        report.told.lines.append(", ".join(words))


def _ways_of(images: Sequence[Image]) -> Dict[Optional[str], List[Fix]]:
    """Where the images of each sequence are, in order."""
    ways: Dict[Optional[str], List[Fix]] = {}
    for image in images:
        if image.geotag is not None:
            ways.setdefault(image.sequence, []).append(image.geotag.fix)
    return ways


def metres_of(images: Sequence[Image]) -> float:
    """Metres along the sequences of some images."""
    good = in_order(image for image in images if image.geotag and image.sequence)
    return _length_of(_ways_of(good))


def _length_of(ways: Mapping[Optional[str], Sequence[Fix]]) -> float:
    """Metres along some ways."""
    return sum(distance(a, b) for way in ways.values() for a, b in zip(way, way[1:]))


def _cameras_of(images: Sequence[Image]) -> Set[object]:
    """What stands for each camera of a run: its name, and which of those that only their pixel
    sizes tell apart.
    """
    found: Set[object] = set()
    for folder in by_folder(images).values():
        groups = of_each_camera(folder, lambda image: image)
        names = [camera_key(group[0]) for group in groups]
        found.update((name, names[:n].count(name)) for n, name in enumerate(names))
    return found


_NOT_PLACED = ("no_position", "no_time", "outside_track", "position_jump")


def main_cause(problems: Sequence[Problem], total: int) -> Optional[Problem]:
    """The first problem of the one cause for which more than half of all images could not be
    placed; None where there is none.
    """
    codes = collections.Counter(one.code for one in problems if one.code in _NOT_PLACED)
    code, count = next(iter(codes.most_common(1)), ("", 0))
    return next(one for one in problems if one.code == code) if 2 * count > total else None


def say_account(course: Course, config: Configuration, report: Report) -> None:
    """Say once, at the end, that upload will need an account; and what comes next."""
    options, ready = course.options, report.done + len(report.skipped.get(SKIP_PROCESSED, ()))
    where = options[Input].words
    lost = main_cause(report.failed, ready + len(report.failed)) is not None
    if not ready or lost or report.exit_code and not report.done:
        report.told.next = ("status", *where, "--list", "failed") if report.failed else ()
        return
    report.told.next = ("upload", *where, *options[Videos].words)
    if USER not in course.steps or course.rehearsal or environment("MAPILLARY_ACCESS_TOKEN"):
        return
    name = options[User].user_name
    stored: Iterable[str] = ()
    with contextlib.suppress(UsageError):
        stored = config.accounts
    if name in stored:
        return
    near = near_to(name, list(stored))
    if near:
        report.told.lines.append(
            f"no stored credentials for {name}, but for {near[0]}. Did you mean that? Then "
            f"process again with --user_name {near[0]}"
        )
        report.told.next = ()
        return
    report.told.lines.append(
        f"no stored credentials for {name}: upload to Mapillary will need authenticate"
    )
    report.told.next = ("authenticate", "--user_name", name)


def _say_strays(images: Sequence[Image], notes: Notes) -> None:
    """Say that images carry a description of which no journal tells where it came from."""
    plain_ones = [image for image in images if not any(map(image.taken, STEPS))]
    strays = sum(has_caption_of_ours(image.found) for image in plain_ones)
    if strays:
        notes.say(
            f"{strays} images carry a description of ours, but no journal tells what they carried "
            "before it: time, position and direction are taken as they are; no shift or angle is "
            "added again"
        )


# ---- Restore ------------------------------------------------------------------------------------
# Here: photos back as they were found: what carry_out did, undone.
# Not here: what a photo carried; the journal keeps that.


def _restorable(image: Optional[Image], path: Path) -> Union[Image, Outcome]:
    """The image, if it carries our writing and nobody has changed it since; else why not."""
    if image is None or image.written is None:
        return Outcome("skipped", SKIP_AS_FOUND)
    try:
        now = read_found(path)
    except ToolError as error:
        return Outcome("failed", error.problem.code, error.problem)
    # a run before put it back, and did not come to tell
    is_back = carries(now, edits_as_found(image.found or NOTHING_FOUND))
    ours = (now.digest, now.size) == (image.written.digest, image.written.size)
    if not ours and not is_back:
        wrong, remedy = "was changed by another program since", "restore it from your own copy"
        problem = Problem("changed", wrong, file=str(path), remedy=remedy)
        return Outcome("failed", problem.code, problem)
    return image._replace(written=image.written._replace(size=now.size, mtime=now.mtime))


def _restoring(image: Image) -> Task:
    """What puts a photo back as it was found."""
    import base64

    found = image.found or NOTHING_FOUND
    picture = base64.b64decode(found.thumbnail) if found.thumbnail else None
    edits, seen = edits_as_found(found), last_seen(image)
    path = str(image.path)
    return Task(path, edits, None, seen, thumbnail=picture, beside=state_of(path))


def _as_restored(image: Image, written: Union[Written, ToolError]) -> Union[Image, ToolError]:
    """An image that was put back, read again."""
    if isinstance(written, ToolError):
        return written
    try:
        return image_of(image.path, read_found(str(image.path)))
    except ToolError as error:
        return error


def restore_job(images: Sequence[Image]) -> List[Union[Image, ToolError]]:
    """Photos put back as they were found, and read again; or why that could not be done."""
    return list(map(_as_restored, images, write_group(list(map(_restoring, images)))))


def _has_state(folder: str) -> bool:
    """Whether a folder has a journal, or may have one, where the system cannot tell."""
    try:
        return is_there(os.path.join(folder, STATE_FOLDER))
    except OSError:
        return True


def restore_images(options: Options, ui: Ui) -> Report:
    """Put photos back as they were found; raises what stops a run before any image."""
    source, dry = options[Input], options[Dry].dry_run
    notes = Notes(say)
    report = Report("restore", told=Told("would be restored" if dry else "restored", notes.lines))
    found = look_below_all(source.folders, options[Selection].skip_subfolders)
    paths = account_for(found, report, notes)
    with contextlib.ExitStack() as stack:
        touched = {folder for folder in by_folder(paths) if _has_state(folder)}
        known = [path for path in paths if os.path.dirname(str(path)) in touched]
        places, problems = open_places(known, not dry, stack, options[Waiting].wait)
        for folder, group in by_folder(paths).items():
            if folder in places:
                _restore_folder(places[folder], group, report, dry, ui)
            elif folder in problems:
                for path in group:
                    report.count(path, not_open(path, problems[folder]).outcome)
            else:  # nothing was ever written there
                for path in group:
                    report.count(path, Outcome("skipped", SKIP_AS_FOUND))
        _say_sent(places, report, notes)
    return report


def _restore_folder(place: Place, paths: Sequence[Path], report: Report, dry: bool, ui: Ui) -> None:
    """Restore the photos of a folder: the journal forgets what was made of them, then each is
    put back, the folder flushed, and the journal told what it carries now.
    """
    ready: List[Image] = []
    for path, image in zip(paths, place.journal.images([path.name for path in paths])):
        one = _restorable(image, path)
        if isinstance(one, Image):
            ready.append(one)
        else:
            report.count(path, one)
    if dry:
        report.done += len(ready)
        return
    for batch in cut(ready, WRITE_BATCH):
        plain_ones = [one.without(set(STEPS))._replace(given=None) for one in batch]
        place.journal.append(plain_ones)
        restored = []
        for result in each_group(restore_job, plain_ones, 1):
            if isinstance(result, Image):
                restored.append(result)
                report.done += 1
            else:
                report.failed.append(result.problem)
            ui.progress("restoring", report.done, len(ready), 0)
        flush_folder(place.folder)
        place.journal.append(restored)


def _say_sent(places: Mapping[str, Place], report: Report, notes: Notes) -> None:
    """Say that restoring changes nothing at a service."""
    names = [one.image for p in places.values() for one in p.journal.all_sent() if one.arrived]
    if names and report.done:
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        notes.say(f"{len(names)} of the photos here were sent: {some}; that stays as it is")


# ---- Tables -------------------------------------------------------------------------------------
# Here: tables of rows, what a row gives an image (process_csv), and which image a row means.
# Not here: writing images.


@dataclass(frozen=True)
class Table(Group):
    """table"""

    word: ClassVar[str] = "table"
    delimiter: str = opt(",", Rule("what stands between columns; tab for a tabulator", "TEXT"))
    header: bool = opt(False, Rule("the first row is a header"))


def _column(help: str) -> Rule:
    return Rule("column number, from 1, of " + help, "N", at_least=1)


@dataclass(frozen=True)
class CsvColumns(Group):
    """columns"""

    word: ClassVar[str] = "columns"
    csv_path: str = opt(REQUIRED, Rule("table with a row an image", "FILE"))
    filename_column: Optional[int] = opt(
        None, _column("the file name; without it rows go with images in file-name order")
    )
    timestamp_column: Optional[int] = opt(
        None, _column("the capture time, UTC unless the format has a zone")
    )
    latitude_column: Optional[int] = opt(None, _column("the latitude in degrees"))
    longitude_column: Optional[int] = opt(None, _column("the longitude in degrees"))
    heading_column: Optional[int] = opt(None, _column("the direction in degrees from true north"))
    altitude_column: Optional[int] = opt(None, _column("the altitude in metres"))
    gps_week_column: Optional[int] = opt(None, _column("the GPS week"))
    time_format: str = opt(
        "%Y:%m:%d %H:%M:%S.%f", Rule("strptime format of the capture time", "FORMAT")
    )
    convert_gps_time: bool = opt(
        False, Rule("capture times are GPS seconds, of the week where there is a week column")
    )
    convert_utc_time: bool = opt(
        False, Rule("capture times are seconds or milliseconds since 1970")
    )
    meta_columns: Optional[str] = opt(None, Rule("column numbers of meta data", "LIST"))
    meta_names: Optional[str] = opt(None, Rule("names of meta data", "LIST"))
    meta_types: Optional[str] = opt(
        None, Rule("types of meta data: string, double, long, date, boolean", "LIST")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.latitude_column is None) != (self.longitude_column is None):
            wrong = "--latitude_column and --longitude_column go together"
            raise UsageError("half_position", wrong)
        if self.convert_gps_time and self.convert_utc_time:
            wrong = "--convert_gps_time and --convert_utc_time contradict each other"
            raise UsageError("two_clocks", wrong)
        if self.gps_week_column and not self.convert_gps_time:
            raise UsageError("week_alone", "--gps_week_column needs --convert_gps_time")
        self.meta()

    @property
    def names_any(self) -> bool:
        """Whether a column with anything to write is named."""
        places = (self.timestamp_column, self.latitude_column, self.heading_column)
        return bool(self.meta() or any(places) or self.altitude_column)

    def meta(self) -> List[Tuple[int, str, str]]:
        """(column from 1, name, type) of each piece of meta data; raises UsageError."""
        texts = (self.meta_columns, self.meta_names, self.meta_types)
        lists = [[one.strip() for one in (text or "").split(",") if one.strip()] for text in texts]
        numbers = all(part.isdigit() and int(part) for part in lists[0])
        if len(set(map(len, lists))) != 1 or not numbers:
            raise UsageError(
                "meta_lists",
                "--meta_columns, --meta_names and --meta_types must be lists of one length, the "
                "first of column numbers",
                value=" / ".join(map(str, texts)),
            )
        unknown = [kind for kind in lists[2] if kind not in TAG_LISTS]
        if unknown:
            wrong = f"--meta_types must be of {', '.join(TAG_LISTS)}"
            raise UsageError("meta_type", wrong, value=unknown[0])
        return [(int(column), name, kind) for column, name, kind in zip(*lists)]


def moment_by(text: str, style: str) -> datetime.datetime:
    """Date and time of a text by a strptime format, with or without a fraction; raises
    ValueError.
    """
    try:
        return datetime.datetime.strptime(text, style)
    except ValueError as error:
        other = style.replace(".%f", "") if "%f" in style else style.replace("%S", "%S.%f")
        try:
            return datetime.datetime.strptime(text, other)
        except ValueError:
            raise error from None


def parse_by_format(text: str, style: str) -> float:
    """Seconds since 1970 of a text by a strptime format; UTC unless it has a zone. Raises
    ValueError, OverflowError.
    """
    moment = moment_by(text, style)
    zone = moment.utcoffset() or datetime.timedelta()
    return (moment.replace(tzinfo=None) - zone - datetime.datetime(1970, 1, 1)).total_seconds()


def finite(text: str, limit: float = math.inf) -> float:
    """A finite number within a limit, also with a decimal comma; raises ValueError."""
    value = float(text.strip().replace(",", "."))
    if not math.isfinite(value):
        raise ValueError(f"not finite: {text}")
    if abs(value) > limit:
        raise ValueError(f"{value:g} is beyond {limit:g}")
    return value


def epoch(text: str) -> float:
    """Seconds since 1970 from seconds or milliseconds: a number beyond the year 5000 is
    milliseconds.
    """
    value = finite(text)
    return value / 1000.0 if abs(value) > 1e11 else value


def _row_time(text: str, cells: List[str], options: CsvColumns) -> float:
    """The capture time of a row in seconds UTC; raises ValueError, IndexError."""
    if options.convert_gps_time:
        column = options.gps_week_column
        week, seconds = 0 if column is None else int(finite(cells[column - 1])), finite(text)
        if column is not None and not 0 <= seconds < 7 * DAY_S:
            raise ValueError("more seconds than a week has")
        return gps_to_utc(week * 7 * DAY_S + seconds)
    if options.convert_utc_time:
        when = epoch(text)
    else:
        when = parse_by_format(text.strip(), options.time_format)
    if when < 0:
        raise ValueError("a time before 1970: it has no date, or the wrong one")
    return when


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _boolean(text: str) -> bool:
    if text.strip().lower() not in _BOOLEANS:
        raise ValueError(f"{text!r} is neither true nor false")
    return _BOOLEANS[text.strip().lower()]


def _date(text: str, style: str) -> int:
    """Milliseconds since 1970 of a date, or of seconds or milliseconds."""
    whole = re.match(r"\s*\d+\s*$", text)
    return int(round(1000 * (epoch(text) if whole else parse_by_format(text.strip(), style))))


_TAG_READERS: Dict[str, Callable[[str, str], Union[str, float, int, bool]]] = {
    "string": lambda text, style: text,
    "double": lambda text, style: finite(text),
    "long": lambda text, style: int(text),
    "boolean": lambda text, style: _boolean(text),
    "date": _date,
}


def row_values(cells: List[str], options: CsvColumns) -> Given:
    """What a row gives an image; an empty cell gives nothing. Raises ValueError, OverflowError."""
    columns = (
        options.timestamp_column,
        options.latitude_column,
        options.longitude_column,
        options.heading_column,
        options.altitude_column,
    )
    last = max([column or 0 for column in columns] + [column for column, _, _ in options.meta()])
    if last > len(cells):
        raise ValueError(f"column {last} is missing")
    when, lat, lon, heading, alt = (cells[column - 1] if column else "" for column in columns)
    if bool(lat.strip()) != bool(lon.strip()):
        raise ValueError("latitude and longitude are not a position")
    turned = _number_in(heading)
    given = Given(
        time=_row_time(when, cells, options) if when.strip() else None,
        lat=_number_in(lat, 90.0),
        lon=_number_in(lon, 180.0),
        heading=None if turned is None else turned % 360.0,
        alt=_number_in(alt, HIGHEST_M),
    )
    format_time(given.time or 0.0)  # raises OverflowError beyond the calendar
    if (given.lat, given.lon) == (0.0, 0.0):
        raise ValueError("latitude and longitude are not a position")
    return given._replace(tags=_row_tags(cells, options))


CORRECTIONS = ["filename", "leave_out", "turn_by"]  # the heading of what the report's page saves


def corrections_in(rows: List[TableRow], path: str) -> List[TableRow]:
    """The rows of a table of corrections; raises UsageError for another one, whose columns must be
    named.
    """
    if rows and [cell.strip().lower() for cell in rows[0].cells] == CORRECTIONS:
        return rows[1:]
    raise UsageError(
        "no_columns",
        "no column with anything to write is named",
        file=path,
        remedy="add --timestamp_column, --latitude_column and so on; the corrections that a report "
        "saves need none",
    )


def correction_of(cells: List[str], options: CsvColumns) -> Given:
    """What a row of corrections gives an image: whether it is left out, how far it is turned.
    Raises ValueError.
    """
    _, out, by = [*cells, "", ""][:3]
    word = out.strip().lower()
    if word not in ("", "yes", "no", "1", "0", "true", "false", "x"):
        raise ValueError(f"leave_out is {out}, not yes or no")
    return Given(left_out=word in ("yes", "1", "true", "x"), turn=_number_in(by, 360.0) or 0.0)


def _number_in(text: str, limit: float = math.inf) -> Optional[float]:
    """The number in a cell, None in an empty one; raises ValueError."""
    return finite(text, limit) if text.strip() else None


def _row_tags(cells: List[str], options: CsvColumns) -> Optional[Tuple[MetaTag, ...]]:
    """The meta data of a row, None where there is none."""
    tags = []
    for column, name, kind in options.meta():
        text = cells[column - 1]
        if text.strip():
            tags.append(MetaTag(kind, name, _TAG_READERS[kind](text, options.time_format)))
    return tuple(tags) or None


# -- which image a row means --

_Likeness = Tuple[int, bool, bool]  # folders in common, same name, same letter case


def _likeness(path: Path, wanted: List[str]) -> _Likeness:
    """How much the path of an image and that of a row are alike."""
    pairs = zip(path.parts[-2::-1], wanted[-2::-1])
    alike = itertools.takewhile(lambda pair: folded(pair[0]) == folded(pair[1]), pairs)
    same = folded(path.name) == folded(wanted[-1])
    return sum(1 for _ in alike), same, path.name == wanted[-1]


class _Finder:
    """Finds the images that a name in a table may mean: whole path, base name, no extension, or
    part of the name.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        self.images = images
        self.exact: Dict[str, List[Path]] = {}
        for image in images:
            for key in {folded(image.path.name), folded(image.path.stem)}:
                self.exact.setdefault(key, []).append(image.path)
        names = [folded(image.path.name) for image in images]
        self.starts = [0, *itertools.accumulate(len(name) + 1 for name in names)]
        self.text = "/".join(names)

    def _with_part(self, base: str) -> List[Path]:
        """The images whose name has a text in it."""
        found, at = [], self.text.find(base) if base else -1
        while at >= 0:
            index = bisect.bisect_right(self.starts, at) - 1
            found.append(self.images[index].path)
            at = self.text.find(base, self.starts[index + 1])
        return found

    def find(self, name: str) -> Tuple[_Likeness, List[Path]]:
        """(how much they are alike, the images that a name means)."""
        wanted = name.strip().replace("\\", "/").split("/")
        base = folded(wanted[-1])
        found = self.exact.get(base) or self._with_part(base)
        alike = [_likeness(path, wanted) for path in found] or [(0, False, False)]
        return max(alike), [path for path, score in zip(found, alike) if score == max(alike)]


def _unclear(found: List[Path], taken: Mapping[Path, TableRow]) -> Optional[str]:
    """What is wrong with the images that a row means; None when it is clear."""
    if not found:
        return "names no image"
    if len(found) > 1:
        return f"may mean {len(found)} images"
    return "repeats an image that another row has" if found[0] in taken else None


def _in_order_of_names(
    rows: List[TableRow], images: Sequence[Image], options: CsvColumns
) -> Dict[Path, TableRow]:
    """The row of each image where rows go with images in file-name order; raises UsageError."""
    if len(rows) == len(images):
        return {image.path: row for image, row in zip(images, rows)}
    raise UsageError(
        "row_count",
        "does not have a row for each image",
        file=options.csv_path,
        value=f"{len(rows)} rows, {len(images)} images",
        remedy="add --filename_column",
    )


_MARK_NAMES = {mark: word for word, mark in reversed(list(DELIMITERS.items()))}  # the first counts


def match_rows(
    rows: List[TableRow], images: Sequence[Image], options: CsvColumns
) -> Tuple[Dict[Path, TableRow], List[Problem]]:
    """(row of each image that has one, problems of the rows that have none or are not clear)."""
    outcomes = [(image, image.outcome) for image in images]
    good = [image for image, outcome in outcomes if outcome is None or outcome.status == "failed"]
    column = options.filename_column
    if column is None:
        return _in_order_of_names(rows, good, options), []
    finder = _Finder(images)
    out: Dict[Path, TableRow] = {}
    bad: Dict[int, Problem] = {}
    names = ["".join(row.cells[column - 1 : column]) for row in rows]
    found = sorted(
        zip(map(finder.find, names), names, rows), key=lambda one: one[0][0], reverse=True
    )
    for (_, paths), name, row in found:  # stable: of equals the first row counts
        wrong = _unclear(paths, out)
        if wrong is None:
            out[paths[0]] = row
        else:
            wrong = f"line {row.line} {wrong}"
            mark = separator_of(name)  # in a cell: perhaps not what is between cells
            remedy = f"is it --delimiter {_MARK_NAMES[mark]}?" if mark else "mend that line"
            bad[row.line] = Problem(
                "bad_row", wrong, file=options.csv_path, value=name, remedy=remedy
            )
    return out, [bad[line] for line in sorted(bad)]


# ---- Given --------------------------------------------------------------------------------------
# Here: the tools that put values in place of what was found: process_csv, interpolate.
# Not here: how a table is read, how an image is written.


def _with_row(
    image: Image,
    row: Optional[TableRow],
    options: CsvColumns,
    parse: Callable[[List[str], CsvColumns], Given],
) -> Image:
    """An image with what its row gives, skipped without a row, failed with a row that does not
    parse.
    """
    if image.outcome is not None and not image.is_left_out:
        return image
    if row is None:
        return image if image.is_left_out else leave_out(image, SKIP_NO_ROW)
    try:
        given = _laid_over(image.given, parse(row.cells, options))
        return image._replace(given=given._replace(left_out=given.left_out or None))
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        wrong = f"line {row.line} of {options.csv_path} does not parse"
        styled = "does not match format" in str(error)
        remedy = "give --time_format as its column has it" if styled else "mend that line"
        return fail_now(image, Problem("bad_row", wrong, value=str(error), remedy=remedy))


def _laid_over(before: Optional[Given], now: Given) -> Given:
    """What was given before, and over it what is given now."""
    told = {name: value for name, value in now._asdict().items() if value is not None}
    return (before or NOTHING_GIVEN)._replace(**told)


def _stands(image: Image, keep: Keep) -> bool:
    """Whether what is given to an image is in its file already; copies are made anew."""
    written = image.written
    if keep.keep_original or written is None:
        return False
    return written.edits == edits_hash(edits_of(image, None))


def _given_run(
    course: Course, ui: Ui, report: Report, change: Callable[[List[Image]], List[Image]]
) -> Report:
    """Load the images below a folder, change what is given to them in place of what was found,
    journal and write it.
    """
    options, config, notes = course.options, Configuration(), Notes(say, report.notes)
    course = course._replace(areas=areas_of_run(options, config))
    paths = account_for(look_below_all(options[Input].folders), report, notes)
    with contextlib.ExitStack() as stack:
        gathered, places = gather_images(paths, course, config, ui, stack)
        before = gathered.images
        fresh = [image if is_final(image) else without_stale(image, STEPS) for image in before]
        copied = map(gathered.has_copy, before)
        images = without_areas(list(map(_resumed, change(fresh), before, copied)), course)
        work = _given_work(images, gathered, options[Keep])
        for line in links_told(work.due, options[Keep].keep_original):
            notes.say(line)
        if not options[Dry].dry_run:
            images = carry_out(work, places, course, None, ui)
    for image in images:
        report.count(image.path, image.outcome)
    return report


def _given_work(images: List[Image], gathered: Gathered, keep: Keep) -> Work:
    """What is to be done so that images stand as they were given."""
    pairs = list(zip(images, gathered.images))
    hidden = [image for image, _ in pairs if image.is_excluded]
    pairs = [(image, old) for image, old in pairs if not image.is_excluded]
    new = [_as_given(image) for image, old in pairs if _is_new(image, old)]
    due = [image for image in new if not _stands(image, keep)]
    again = _not_yet_told([old for _, old in pairs], due, gathered)
    return Work(images, [*due, *_marked(images, gathered.images), *again, *hidden], due, due, [])


def _marked(images: Sequence[Image], before: Sequence[Image]) -> List[Image]:
    """The images that are left out from now on: the journal is told, their files stay."""
    pairs = zip(images, before)
    return [_as_given(new) for new, old in pairs if new.is_left_out and not old.is_left_out]


def _not_yet_told(before: Sequence[Image], due: Sequence[Image], gathered: Gathered) -> List[Image]:
    """The images that a run before wrote, and did not come to tell: known by reading them now."""
    again = {image.path for image in due}
    read = [image for image in before if image.path in gathered.read and image.written is not None]
    return [image for image in read if image.path not in again]


def _resumed(image: Image, old: Image, copied: bool) -> Image:
    """An image of which a run before told what it gives, but did not come to write it: it is
    carried out now. copied: it was written, into a described copy.
    """
    left_out = image.aside is not None and image.aside.status == "skipped"
    planned = old.outcome is None and old.given is not None and not old.taken(DESCRIPTION)
    if not left_out or not planned or copied or _stands(_as_given(old), Keep()):
        return image
    return old


def _is_new(image: Image, old: Image) -> bool:
    """Whether an image has been given what it did not have, or has not been written with."""
    if image.outcome is not None or image.given is None or image.given == NOTHING_GIVEN:
        return False
    return image.given != old.given or not old.taken(DESCRIPTION)


def _as_given(image: Image) -> Image:
    found = image.found or NOTHING_FOUND
    return image_of(image.path, found, image.given)._replace(written=image.written)


def process_table(options: Options, ui: Ui) -> Report:
    """Give images the time, position, direction, altitude and meta data of their rows
    in a table.
    """
    columns, table = options[CsvColumns], options[Table]
    notes = Notes(say)
    word = "would be written" if options[Dry].dry_run else "written"
    report = Report("process_csv", told=Told(word, notes.lines))
    path, mark, parse = columns.csv_path, table.delimiter, row_values
    if columns.names_any:
        rows = read_table(path, mark, table.header)
    else:
        rows, parse = corrections_in(read_table(path, mark, False), path), correction_of
        columns = dataclasses.replace(columns, filename_column=1)
    converted = columns.convert_gps_time or columns.convert_utc_time
    if columns.timestamp_column and "%z" not in columns.time_format and not converted:
        notes.say("capture times of the table are taken as UTC")

    def change(images: List[Image]) -> List[Image]:
        matched, unclear = match_rows(rows, images, columns)
        report.trouble.extend(unclear)
        return [_with_row(image, matched.get(image.path), columns, parse) for image in images]

    return _given_run(Course((), options), ui, report, change)


# -- what is missing between images: interpolate --


@dataclass(frozen=True)
class Interpolation(Verbose):
    """interpolation"""

    word: ClassVar[str] = "options"
    data: str = opt(
        REQUIRED,
        Rule("what to interpolate", choices=("missing_gps", "identical_timestamps")),
    )
    import_path: Optional[str] = opt(None, Rule("folder with the images", "FOLDER"))
    max_time_delta: float = opt(
        1.0, Rule("how far beyond the known positions it may extrapolate", "SECONDS", at_least=0)
    )
    file_in_path: Optional[str] = opt(
        None, Rule("table with the timestamps, instead of images", "FILE")
    )
    file_format: str = opt("csv", Rule("format of that file", choices=("csv",)))
    time_column: int = opt(0, Rule("column number, from 0, of the timestamps", "N", at_least=0))
    time_utc: bool = opt(False, Rule("the timestamps are seconds or milliseconds since 1970"))
    time_format: str = opt(
        "%Y-%m-%dT%H:%M:%SZ", Rule("strptime format of the timestamps", "FORMAT")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.import_path) == bool(self.file_in_path):
            wrong = "interpolate needs either --import_path or --file_in_path"
            raise UsageError("one_input", wrong)
        if self.file_in_path and self.data != "identical_timestamps":
            wrong = "--data missing_gps needs images"
            raise UsageError("no_images", wrong, remedy="give --import_path")


def _spread_given(images: List[Image]) -> List[Image]:
    """Images of one folder with their equal capture times spread.

    Those that change are given how much later they are, which holds in any zone, or another time
    where they were given one.
    """
    unread = [one for one in images if one.aside is not None and one.aside.reason == UNREADABLE]
    if unread:  # where it belongs among the others, the next run may know
        return [_waiting_for(image, unread[0]) for image in images]
    good = [image for image in in_order(images) if image.outcome is None and image.time is not None]
    times, _ = spread_ties([image.time or 0.0 for image in good])
    new = {image.path: when for image, when in zip(good, times) if when != image.time}
    out = []
    for image in images:
        given, when = image.given or NOTHING_GIVEN, new.get(image.path)
        if when is None:
            out.append(_unchanged(image, SKIP_ALONE))
        elif given.time is not None:
            out.append(image._replace(given=given._replace(time=when)))
        else:
            later = (given.later or 0.0) + when - (image.time or 0.0)
            out.append(image._replace(given=given._replace(later=later)))
    return out


def _waiting_for(image: Image, other: Image) -> Image:
    """An image that cannot be placed before another one has been read."""
    if image.outcome is not None:
        return image
    wrong, again = "waits for one beside it that cannot be read now", "run the same command again"
    return fail_now(image, Problem("waits", wrong, value=other.path.name, remedy=again))


def _unchanged(image: Image, reason: str) -> Image:
    if image.outcome is not None:
        return image
    if image.time is None:
        return fail_now(image, Problem("no_time", "has no capture time"))
    return leave_out(image, reason)


class _Between:
    """The positions of the images of one folder, to fill in those that are missing."""

    def __init__(self, images: List[Image], most: float) -> None:
        self.most = most  # seconds beyond the first and last one
        self.known: Dict[float, Fix] = {}
        for image in in_order(images):
            fix, when = image.fix, image.time
            if fix is not None and when is not None and image.outcome is None:
                if (image.given or NOTHING_GIVEN).filled != (fix.lat, fix.lon):
                    self.known[when] = fix
        self.times = sorted(self.known)
        self.holes: List[float] = []  # seconds between those around each that is far from both

    def say(self, folder: str, notes: Notes) -> None:
        """Say how many positions are guesses between places far apart in time."""
        if self.holes:
            notes.say(
                f"{folder}: {plural(len(self.holes), 'position')} between images that are more "
                f"than {HOLE_S:.0f} s apart, at most {max(self.holes):.0f} s: a straight line "
                "between them, which may be far from the way"
            )

    def filled(self, image: Image) -> Image:
        """An image with a position from those before and behind."""
        when, times = image.time, self.times
        if image.outcome is None and image.fix is not None:
            return leave_out(image, SKIP_PLACED)
        if image.outcome is not None or when is None:
            return _unchanged(image, "")
        beyond = max(times[0] - when, when - times[-1]) if len(times) > 1 else math.inf
        if beyond > self.most:
            wrong = "is too far from the images that have a position"
            value = f"{beyond:.1f} s" if beyond < math.inf else "fewer than two have one"
            remedy = "raise --max_time_delta, or geotag from a track"
            return fail_now(image, Problem("outside_track", wrong, value=value, remedy=remedy))
        index = min(max(bisect.bisect_right(times, when), 1), len(times) - 1)
        if times[index] - times[index - 1] > HOLE_S:
            self.holes.append(times[index] - times[index - 1])
        fix = between(self.known[times[index - 1]], self.known[times[index]], when)
        now = Given(lat=fix.lat, lon=fix.lon, alt=fix.alt, filled=(fix.lat, fix.lon))
        # the next run does not go on from it
        return image._replace(given=_laid_over(image.given, now))


def interpolate_images(options: Options, ui: Ui) -> Report:
    """Spread identical capture times, or fill missing positions, a folder at a time."""
    asked = options[Interpolation]
    word = "would be interpolated" if options[Dry].dry_run else "interpolated"
    report = Report("interpolate", told=Told(word))
    notes = Notes(say, report.notes)

    def change(images: List[Image]) -> List[Image]:
        changed: List[Image] = []
        for folder, group in by_folder(images).items():
            if asked.data == "identical_timestamps":
                changed.extend(_spread_given(group))
                continue
            known = _Between(group, asked.max_time_delta)
            changed.extend(map(known.filled, group))
            known.say(folder, notes)
        return replaced(images, changed)

    source = Input(asked.import_path or "", asked.verbose)
    course = Course((), Options([source, options[Keep], options[Dry]]))
    return _given_run(course, ui, report, change)


class _Stamped(NamedTuple):
    """A row of a table and its time."""

    row: TableRow
    time: float


def _stamped(rows: Sequence[TableRow], options: Interpolation, report: Report) -> List[_Stamped]:
    """The rows that have a timestamp, by time; the others fail."""
    timed, column, path = [], options.time_column, options.file_in_path or ""
    for row in rows:
        try:
            text = row.cells[column].strip()
            when = epoch(text) if options.time_utc else parse_by_format(text, options.time_format)
            timed.append(_Stamped(row, when))
        except (ValueError, IndexError, OverflowError):
            wrong, value = (
                f"line {row.line} has no timestamp",
                "".join(row.cells[column : column + 1]),
            )
            remedy = "check --time_column and --time_format"
            report.failed.append(Problem("bad_row", wrong, file=path, value=value, remedy=remedy))
    return sorted(timed, key=lambda stamped: stamped.time)


def interpolate_table(options: Options, ui: Ui) -> Report:
    """Spread identical timestamps in a table; with keep_original into NAME_interpolated
    beside it.
    """
    asked, table, dry = options[Interpolation], options[Table], options[Dry].dry_run
    path, report = asked.file_in_path or "", Report("interpolate")
    report.told.word = "would be interpolated" if dry else "interpolated"
    rows = read_table(path, table.delimiter, False)
    timed = _stamped(rows[1:] if table.header else rows, asked, report)
    changed = _spread_cells(timed, asked)
    report.done, left = len(changed), len(timed) - len(changed)
    if left:
        report.skipped.setdefault(SKIP_ALONE, []).extend([""] * left)
    if changed and not dry:
        stem, extension = os.path.splitext(path)
        to = stem + "_interpolated" + extension if options[Keep].keep_original else path
        mark, text, encoding = table_text(path)
        before = _before_cell(table.delimiter, asked.time_column)
        after = _with_cells(text, rows, changed, before)
        write_atomically(to, [mark, after.encode(encoding, "surrogateescape")])
    return report


def _spread_cells(timed: Sequence[_Stamped], options: Interpolation) -> Dict[int, Tuple[str, str]]:
    """Line -> its timestamp before and after, of the rows whose time changes."""
    times, _ = spread_ties([stamped.time for stamped in timed])
    changed = {}
    for stamped, when in zip(timed, times):
        if when != stamped.time:
            text = stamped.row.cells[options.time_column].strip()
            changed[stamped.row.line] = (text, _respelled(text, when, options))
    return changed


def _before_cell(delimiter: str, column: int) -> "re.Pattern[str]":
    """What stands in a row before a column, from 0."""
    mark = re.escape(DELIMITERS.get(delimiter, delimiter))
    quoted = f'"(?:[^"]|"")*"{mark}'
    cell = f"(?:{quoted}|(?!{quoted})[^{mark}]*{mark})"
    return re.compile(f"(?:{cell}){{{column}}}")


def _with_cells(
    text: str,
    rows: List[TableRow],
    changed: Mapping[int, Tuple[str, str]],
    before: "re.Pattern[str]",
) -> str:
    """A table with some cells changed; quotes, line ends and blank lines stay as they are."""
    lines = list(io.StringIO(text, newline=""))
    ends = [row.line for row in rows[1:]] + [len(lines) + 1]
    for row, end in zip(rows, ends):
        match = (
            before.match("".join(lines[row.line - 1 : end - 1])) if row.line in changed else None
        )
        if match is not None:
            whole = match.string
            rest = whole[match.end() :].replace(*changed[row.line], 1)
            blank = [""] * (end - row.line - 1)
            lines[row.line - 1 : end - 1] = [whole[: match.end()] + rest, *blank]
    return "".join(lines)


def _respelled(before: str, when: float, options: Interpolation) -> str:
    """A time in the form of the timestamp that it replaces, with a fraction."""
    if options.time_utc:
        text = str(round(when * 1000)) if abs(finite(before)) > 1e11 else f"{when:.3f}"
        return text.replace(".", ",") if "," in before else text
    style = options.time_format
    zone = moment_by(before, style).utcoffset() or datetime.timedelta()
    whole, milli = calendar(when)
    moment = whole.replace(tzinfo=datetime.timezone.utc) + datetime.timedelta(milliseconds=milli)
    moment = moment.astimezone(datetime.timezone(zone))
    return moment.strftime(style if "%f" in style else style.replace("%S", "%S.%f"))


# ---- Probe --------------------------------------------------------------------------------------
# Here: what ffmpeg and ffprobe are asked, and how a video's frames are chosen by them.
# Not here: which frames are wanted, when each was taken.

FRAME_UNITS = 10000  # a second in the frame times that ffmpeg writes; its 32 bits hold 59 hours
EARLY_S = 0.00043  # seconds a frame may be before its moment: Matroska rounds times to milliseconds
MOMENTS = 400  # moments in one run of ffmpeg: its arguments stay under the 32 kB of Windows
_RUN_S = 0.2  # seconds that a run of ffmpeg costs on one CPU before it decodes anything
_PIXELS_S = 5e8  # pixels that one CPU decodes in a second


class Look(NamedTuple):
    """What a player does to the stored pictures of a video, rotation apart."""

    interlaced: bool = False  # two half pictures in one
    square: bool = True  # pixels are as wide as they are high
    hdr: bool = False  # more light than a JPEG can show
    sphere: str = ""  # as Movie has it
    lenses: int = 1  # tracks of pictures
    track: int = 0  # which of them is taken, counted from 0
    smaller: bool = False  # whether the others have fewer pixels

    def filters(self, choice: str, tone_mapped: bool) -> str:
        """The filters of ffmpeg that take the chosen frames as a player shows them."""
        before = ["yadif=deint=interlaced"] if self.interlaced else []
        after = [_TONE_MAP] if tone_mapped else []
        after += [] if self.square else ["scale=round(iw*sar):ih", "setsar=1"]
        return ",".join([*before, f"select='{choice}'", *after, f"settb=1/{FRAME_UNITS}"])


_HDR = ("arib-std-b67", "smpte2084")  # transfer characteristics: HLG and PQ
_TONE_MAP = (
    "zscale=pin=bt2020:min=bt2020nc:t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
)


class Footage(NamedTuple):
    """A video as its container describes it."""

    path: str  # absolute
    duration: Optional[float]  # seconds; None = unknown
    rate: float  # frames a second, on average
    pixels: int  # in a frame
    reorder: int  # frames between decoding and showing one
    key_gap: Optional[float]  # seconds between key frames; None = seeking is not reliable
    camera: Camera
    created: Optional[float]  # seconds UTC as the camera wrote it
    zoned: Optional[float] = None  # seconds UTC by a time that names its zone
    look: "Look" = Look()

    @property
    def is_wide(self) -> bool:
        """Whether its pictures have the shape of a whole sphere."""
        return has_shape_of_sphere(self.camera.width, self.camera.height)

    @property
    def is_panorama(self) -> bool:
        """Whether its pictures are the whole sphere, once."""
        return self.look.sphere == "whole" and self.is_wide


class Cutting(NamedTuple):
    """Which frames of a video are to be taken."""

    choice: str  # an expression of ffmpeg's select filter
    # decode from the key frame before it, in seconds; None = from the begin
    seek: Optional[float] = None
    most: Optional[int] = None  # end after so many frames; None = at the end


class Ffmpeg:
    """ffmpeg and ffprobe of this computer. Tested with ffmpeg 4.1, 5.1.9 and 9.0.2."""

    def __init__(self, given: Optional[str] = None) -> None:
        self.ffmpeg, self.ffprobe = find_program("ffmpeg", given), find_program("ffprobe", given)
        modern = "-fps_mode" in run_program([self.ffmpeg, "-v", "error", "-h", "long"]).output
        self.filters: Optional[str] = None  # as it lists them; None = not asked yet
        # one is new, the other gone
        self.passthrough = ["-fps_mode" if modern else "-vsync", "passthrough"]

    def maps_tones(self) -> bool:
        """Whether this ffmpeg can make pictures of ordinary range of HDR; asked for once."""
        if self.filters is None:
            self.filters = run_program([self.ffmpeg, "-v", "error", "-filters"]).output
        return " zscale " in self.filters and " tonemap " in self.filters

    def probe(self, path: str) -> Footage:
        """What is in a video; raises ToolError when there are no pictures to be had."""
        asked = ["-select_streams", "V", "-show_format", "-show_streams", "-of", "json", path]
        ran = run_program([self.ffprobe, "-v", "error", *asked])
        if ran.code:
            remedy = "copy it from the card again; a recording that was cut off needs repair"
            raise ToolError(
                "bad_video",
                "cannot be read as a video",
                file=path,
                value=_cause(ran, path),
                remedy=remedy,
            )
        found = json.loads(ran.output)
        if not found.get("streams"):
            with open_file(path) as handle:
                movie = Source(handle, Path(path))
                flaw = movie.index_flaw if movie.family == "movie" else ""
            remedy = "copy it from the card again" if flaw else "leave it out"
            raise ToolError("no_pictures", flaw or "has no pictures", file=path, remedy=remedy)
        tracks = list({stream.get("index"): stream for stream in found["streams"]}.values())
        sizes = [stream.get("width", 0) * stream.get("height", 0) for stream in tracks]
        best = sizes.index(max(sizes))
        footage = _footage(path, tracks[best], found.get("format", {}), read_movie(path))
        smaller = sizes.count(max(sizes)) == 1 < len(sizes)
        look = footage.look._replace(lenses=len(tracks), track=best, smaller=smaller)
        return footage._replace(look=look)

    def take(
        self,
        footage: Footage,
        folder: str,
        cutting: Cutting,
        line: Optional[Callable[[str], None]] = None,
    ) -> str:
        """Write frames into a folder, named by their times; returns what ffmpeg complained of.

        Times are the video's own, in FRAME_UNITS; pictures are as a player shows them, but that
        they are not turned.
        """
        begin, few, end = [], [], []
        if cutting.seek is not None:
            begin = ["-noaccurate_seek", "-seek_timestamp", "1", "-ss", f"{cutting.seek:.6f}"]
        if cutting.most is not None:
            end = ["-frames:v", str(cutting.most)]
            few = ["-threads", "1"] if cutting.most <= 2 else []  # more would only decode ahead
        talk = ["-nostdin", "-v", "error", "-nostats", "-progress", "pipe:1"]
        argv = [self.ffmpeg, *talk, "-copyts", "-noautorotate", *few, *begin, "-i", footage.path]
        mapped = footage.look.hdr and self.maps_tones()
        argv += [
            "-map",
            f"0:V:{footage.look.track}",
            "-vf",
            footage.look.filters(cutting.choice, mapped),
        ]
        argv += [*self.passthrough, "-enc_time_base", f"1/{FRAME_UNITS}", *end]
        argv += ["-qscale:v", "2", "-f", "image2", "-frame_pts", "1", "%d.jpg"]
        ran = run_program(argv, folder, line)
        if ran.code:
            cause, remedy = _cause(ran, footage.path), "check the disk and the video"
            raise ToolError(
                "not_sampled", "ffmpeg gave up", file=footage.path, value=cause, remedy=remedy
            )
        return _cause(ran, footage.path) if ran.errors else ""


def _cause(ran: Ran, path: str) -> str:
    """The first thing that ffmpeg complained of, without where in ffmpeg."""
    first = (ran.errors or [f"exit code {ran.code}"])[0]
    return re.sub(r"^(\[[^]]*\] *)+", "", first).replace(path + ": ", "")


def _footage(path: str, stream: Dict[str, Any], form: Dict[str, Any], movie: Movie) -> Footage:
    """A video by what ffprobe says of its pictures and its container, and by our own reader."""
    tags = {
        name.lower(): text for part in (form, stream) for name, text in part.get("tags", {}).items()
    }
    width, height = round(stream["width"] * _pixel_width(stream)), stream["height"]
    make, model = movie.make or first_of(tags, MAKE_KEYS), movie.model or first_of(tags, MODEL_KEYS)
    over, under = (int(part) for part in stream.get("avg_frame_rate", "0/0").split("/"))
    created = movie.creation_time
    return Footage(
        path=path,
        duration=float(stream.get("duration") or form.get("duration") or 0) or None,
        rate=over / under if under else 0.0,
        pixels=width * height,
        reorder=stream.get("has_b_frames", 0),
        key_gap=movie.key_gap,
        camera=Camera(make, model, width, height, _orientation(stream)),
        created=_created_by(tags) if created is None else created,
        zoned=movie.zoned if movie.zoned is not None else time_in_zone(tags),
        look=_look(stream)._replace(sphere=movie.sphere or _shown_sphere(stream)),
    )


def _created_by(tags: Dict[str, str]) -> Optional[float]:
    """Seconds UTC at which a video of another container was begun; None = it does not tell."""
    seconds = parse_time(tags.get("creation_time"))
    return None if seconds is None else time_if_set(seconds)


def _look(stream: Dict[str, Any]) -> Look:
    """What a player does to the pictures of a stream, by what ffprobe says of it."""
    return Look(
        interlaced=stream.get("field_order") in ("tt", "bb", "tb", "bt"),
        square=_pixel_width(stream) == 1.0,
        hdr=stream.get("color_transfer") in _HDR,
    )


def _shown_sphere(stream: Dict[str, Any]) -> str:
    """What the side data of a stream say of equirectangular pictures, as Movie.sphere has it."""
    data = stream.get("side_data_list", [])
    shapes = {part.get("projection") for part in data}
    if any(part.get("type", "2D") != "2D" for part in data if "Stereo" in str(part)):
        return "stereo" if "equirectangular" in shapes else ""
    if "tiled equirectangular" in shapes:
        return "part"
    return "whole" if "equirectangular" in shapes else ""


def _pixel_width(stream: Dict[str, Any]) -> float:
    """How many times as wide as high the pixels of a stream are; 1 where it does not say."""
    wide, _, high = str(stream.get("sample_aspect_ratio", "1:1")).partition(":")
    ratio = (decimal(wide) or 0.0) / (decimal(high) or math.inf)
    return ratio if 0.1 < ratio < 10.0 else 1.0


def _orientation(stream: Dict[str, Any]) -> int:
    """EXIF orientation by the display matrix, or by the older rotate tag, of a stream; multiples
    of 90 degrees, mirrored or not.
    """
    data = stream.get("side_data_list", [])
    matrices = [_MATRIX.findall(part.get("displaymatrix", "")) for part in data]
    for rows in filter(None, matrices):
        corner = tuple([(int(one) > 0) - (int(one) < 0) for row in rows[:2] for one in row])
        if corner in _MIRRORED:
            return _MIRRORED[corner]
    turned = [-part["rotation"] for part in data if "rotation" in part]
    turned.append(float(stream.get("tags", {}).get("rotate", 0)))
    return {0: 1, 90: 6, 180: 3, 270: 8}.get(round(turned[0]) % 360, 1)


_MATRIX = re.compile(r"^[0-9a-f]+:\s+(-?\d+)\s+(-?\d+)\s", re.MULTILINE)
_MIRRORED = {  # signs of a, b, c and d of a matrix -> orientation
    (-1, 0, 0, 1): 2,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, -1, -1, 0): 7,
}


def every(interval: float) -> str:
    """An expression for the first frame, and for every k the first one at or after k intervals from
    it.
    """

    def past(moment: str) -> str:
        return f"floor(({moment}-start_t+{EARLY_S!r})/{interval!r})"

    return f"isnan(prev_selected_t)+gt({past('t')},{past('prev_selected_t')})"


def _at(moments: Sequence[float]) -> str:
    """An expression for the first frame at or after each moment (seconds of the video's
    own time).
    """
    half = len(moments) // 2
    if half:  # halves in brackets: ffmpeg does not take sums of a hundred terms
        return f"({_at(moments[:half])}+{_at(moments[half:])})"
    early = f"{moments[0] - EARLY_S:.5f}"
    return f"gte(t,{early})*not(gte(prev_t,{early}))"


def frame_times(folder: str) -> List[int]:
    """The times of the frames in a folder, in FRAME_UNITS and in order."""
    return sorted(int(name[:-4]) for name in os.listdir(folder) if name.endswith(".jpg"))


def clear_folder(folder: str) -> None:
    """Remove a temporary folder of ours."""
    for place, _, files in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            for name in files:
                remove_file(os.path.join(place, name))
            os.rmdir(place)


def seek_margin(footage: Footage) -> float:
    """Seconds before a moment to seek to, so that the key frame reached is shown before it whatever
    the reordering.
    """
    return 2 * (footage.reorder + 2) / (footage.rate or 10.0)


def seeking_pays(footage: Footage, gap: float) -> bool:
    """Whether one run of ffmpeg for a frame costs less than decoding all frames of a gap in
    seconds.
    """
    if footage.key_gap is None or footage.duration is None:
        return False
    second = footage.rate * footage.pixels / _PIXELS_S  # CPU seconds for a second of video
    return _RUN_S + (footage.key_gap / 2 + seek_margin(footage)) * second < gap * second


class Moments(NamedTuple):
    """Some moments of a video whose frames are to be taken into a folder."""

    ffmpeg: Ffmpeg
    footage: Footage
    folder: str
    times: Sequence[float]  # seconds of the video's own time


def take_at(task: Moments) -> str:
    """Take the frames of some moments; returns what ffmpeg complained of."""
    ffmpeg, footage, folder, moments = task
    part = os.path.join(folder, f"{moments[0]:.5f}")
    choice, first = "isnan(prev_t)+" + _at(moments), (moments[0] - EARLY_S) * FRAME_UNITS
    seeks: List[Optional[float]] = [None]
    if footage.key_gap is not None:
        seeks.insert(0, moments[0] - seek_margin(footage))
    wrong, times = "", []
    for seek in seeks:
        os.mkdir(part)
        wrong = ffmpeg.take(footage, part, Cutting(choice, seek, len(moments) + 1))
        times = frame_times(part)  # the first frame only shows where decoding began
        if seek is None or times and times[0] < first:
            break
        clear_folder(part)
    for when in times[1:]:
        move_file(os.path.join(part, f"{when}.jpg"), os.path.join(folder, f"{when}.jpg"))
    return wrong


# ---- Sampling -----------------------------------------------------------------------------------
# Here: which frames of a video to take, when and where each was taken.
# Not here: what telemetry says, what becomes of the frames.

_FAST = 1.5  # a GPS clock that runs so much faster than the pictures is that of a time-lapse
_OVERHANG_S = 15.0  # seconds that a record of places may be longer than the pictures
LATEST_MS = 7258118399999  # milliseconds; the end of 2199
_CLOCKS_AGREE_S = 2.0  # seconds; clocks of a video that are further apart are told


@dataclass(frozen=True)
class FrameOptions(Group):
    """video"""

    word: ClassVar[str] = "video"
    video_sample_interval: float = opt(
        2.0, Rule("time in the video between two frames", "SECONDS", above=0)
    )
    video_duration_ratio: float = opt(
        1.0, Rule("real time / video time, for time-lapse", "NUMBER", above=0, at_most=1e6)
    )
    video_start_time: Optional[int] = opt(
        None,
        Rule(
            "when the first frame was taken, since 1970 UTC (of several videos, the first; the "
            "others follow without a pause), or ISO 8601 with a zone: 2024-05-06T07:08:09+02:00",
            "MILLISECONDS",
            at_least=0,
            at_most=LATEST_MS,
            other_form=millis_of,
        ),
    )
    video_sample_distance: Optional[float] = opt(
        None,
        Rule(
            "distance along the track between two frames, in place of the interval",
            "METRES",
            advanced=True,
            above=0,
        ),
    )
    ffmpeg_path: Optional[str] = opt(None, rare("ffmpeg, or the folder it is in", "FILE"))


@dataclass(frozen=True)
class Video(FrameOptions):
    """video"""

    video_path: str = opt(REQUIRED, Rule("video, or folder of videos", "PATH"))


def distance_times(track: Track, start: float, end: float, metres: float) -> List[float]:
    """Track times from start to end at which one is metres away from the place before; each segment
    begins one.
    """
    times: List[float] = []
    for part in track.segments():
        times.extend(_walk(part, start, end, metres))
    return [when for when in times if start <= when <= end]


def _walk(part: Sequence[Fix], start: float, end: float, metres: float) -> Iterator[float]:
    """The times of one segment, from where it enters the span of time."""
    last: Optional[Fix] = None
    for before, point in zip([None, *part], part):
        if point.time < start or (before or point).time > end:
            continue
        if last is None or before is None:
            entered = before is not None and before.time < start < point.time
            last = between(before, point, start) if before is not None and entered else point
            yield last.time
            if not entered:
                continue
            before = last
        while distance(last, point) >= metres:
            near, far = distance(last, before), distance(last, point)
            share = (metres - near) / (far - near)
            before = last = between(before, point, before.time + share * (point.time - before.time))
            yield last.time


# -- when and where --


_CHAPTER = re.compile(r"(G[HXLS])(\d{2})(\d{4})(\.\w+)$|GP(\d{2})(\d{4})(\.\w+)$", re.IGNORECASE)
_END_S = 2.0  # seconds within which a time is that of a video's end


def check_pace(own: Track, footage: Footage, ratio: float) -> None:
    """Raise ToolError where the GPS clock of a video runs faster than its pictures, as in a
    time-lapse, and ratio (real time / video time) does not say so.
    """
    length, moments = footage.duration or 0.0, [point.time for point in own.points]
    gaps = sorted(after - before for before, after in zip(moments, moments[1:]))
    if len(gaps) < FEW_TIMES or length <= 0:
        return
    step = median(gaps)  # with much more a stray time, or a clock that was put right
    span = step + sum(gap for gap in gaps if gap <= max(length, 10 * step))
    fast = pace_of(own.pace) if own.pace else span / length
    if fast > _FAST and span > length + _OVERHANG_S and not 0.9 < fast / ratio < 1.1:
        raise ToolError(
            "time_lapse",
            "its GPS clock runs faster than its pictures: it is a time-lapse",
            file=footage.path,
            value=f"{fast:.3g} times as fast",
            remedy=f"add --video_duration_ratio {round(fast, 1):g}",
        )


def _chapters_before(path: str) -> List[Path]:
    """The files of a GoPro recording before a chapter of it, as they are named; none for others."""
    match = _CHAPTER.match(os.path.basename(path))
    if match is None:
        return []
    lead, number, recording, ending, old_number, old, old_ending = match.groups()
    if lead:
        names = [f"{lead}{k:02d}{recording}{ending}" for k in range(1, int(number))]
    else:
        later = [f"GP{k:02d}{old}{old_ending}" for k in range(1, int(old_number))]
        names = [f"GOPR{old}{old_ending}", *later]
    return in_any_case(Path(path), names)


def _length_before(path: str, created: float) -> Optional[float]:
    """Seconds that the chapters before a video last, which have its time; None where one is missing
    or has another.
    """
    total, chapters = 0.0, _chapters_before(path)
    if not all(map(os.path.isfile, chapters)):
        return _later_by_timecode(path, created)
    for chapter in chapters:
        movie = read_movie(chapter)
        if movie.duration is None or movie.creation_time is None:
            return None
        if abs(movie.creation_time - created) > _END_S:
            return 0.0  # each has a time of its own
        total += movie.duration
    return total


def _later_by_timecode(path: str, created: float) -> Optional[float]:
    """Seconds that the time code of a chapter is ahead of the time of day at which its recording
    was created, both by the camera's clock; None where it has no time code, or one of another
    clock.
    """
    code = read_movie(path).timecode
    late = None if code is None else (code - created) % DAY_S
    return late if late is not None and late < DAY_S / 2 else None


def _is_end(late: float, length: float) -> bool:
    """Whether a time that is so many seconds later than that of a file name, zones apart, is the
    end of a video of this length, and not its begin.
    """
    lates = [late + offset for offset in OFFSETS_IN_USE]
    begins = min(abs(seconds) for seconds in lates) <= _END_S
    ends = min(abs(seconds - length) for seconds in lates) <= _END_S
    return ends and not begins and length > 2 * _END_S


def _by_name(
    local: Optional[float], named: Optional[float], zone: Optional[str]
) -> Tuple[Optional[float], str]:
    """(seconds UTC of a video's begin, by what) by the local time in its name, with the zone that
    is named there, in seconds, or with that of the camera; None = not told.
    """
    if local is None:
        return None, ""
    if named is not None:
        return local - named, "the time in its name"
    ahead = zone_offset(zone, local) if zone else 0.0
    return (
        local - ahead,
        f"the time in its name, in zone {zone}" if zone else "the time in its name",
    )


def recorded_at(
    footage: Footage, zone: Optional[str], ratio: float = 1.0
) -> Tuple[Optional[float], str]:
    """(seconds UTC of a video's begin as its camera tells, by what): a time that names its zone;
    creation_time, which is the end where the file name says so, and that of the first chapter in
    all chapters of a recording. zone is that of the camera, where it was given; ratio is real time
    / video time.
    """
    if footage.zoned is not None:
        return footage.zoned, "its creation date, which names its zone"
    created, length = footage.created, (footage.duration or 0.0) * ratio
    local, named = file_name_time(os.path.basename(footage.path))
    if created is None:
        return _by_name(local, named, zone)
    before = _length_before(footage.path, created)
    ahead = zone_offset(zone, created) if zone else 0.0
    if local is not None and _is_utc(created - local, ahead, length):
        zone, ahead = None, 0.0  # the name is in that zone, the time is not
    told = "its creation_time" + (f", in zone {zone}" if zone else "")
    begin = created - ahead
    if before:
        told += f", {before * ratio:.1f} s after the first chapter"
        return begin + before * ratio, told
    if before is None:
        told += ", which may be that of the first chapter: not all before it are here"
    if local is not None and _is_end(created - local, length):
        return begin - length, f"{told}, which is its end by its name"
    return begin, told


def _is_utc(late: float, ahead: float, length: float) -> bool:
    """Whether a time is UTC by that of a file name, which is in a zone so many seconds ahead, of
    the begin or the end of a video of this length.
    """
    return bool(ahead) and any(abs(late + ahead - end) <= _END_S for end in (0.0, length))


class Timing(NamedTuple):
    """When and where the frames of one video were taken."""

    start: float  # seconds UTC of the first frame
    clock: str  # which clock that is from
    ratio: float  # real time / video time
    # tracks, the first that knows a frame's place counts, and what their clocks show at the first
    ways: Sequence[Tuple[Track, float]]
    max_gap: Optional[float]
    # (seconds of video after the first frame, real seconds after it) in a time-lapse whose GPS
    # tells them; () = by the ratio
    pace: Sequence[Tuple[float, float]] = ()
    by_gps: bool = False  # whether the video's own GPS tells the start

    def after(self, seconds: float) -> float:
        """Real seconds after the first frame, at so many seconds of video after it."""
        return along(self.pace, seconds) if self.pace else seconds * self.ratio

    def shown(self, afters: Iterable[float]) -> List[float]:
        """Seconds of video after the first frame, at each of so many real seconds after it."""
        if not self.pace:
            return [after / self.ratio for after in afters]
        turned = [(real, seconds) for seconds, real in self.pace]
        return [along(turned, after) for after in afters]

    def place(self, seconds: float) -> Optional[Fix]:
        """Where the frame at so many seconds of video after the first was taken; None =
        not known.
        """
        for track, track_start in self.ways:
            with contextlib.suppress(OutsideTrack):
                return fix_at(track, track_start + self.after(seconds), self.max_gap)
        return None


def settings_of(video: FrameOptions, geotagging: Geotagging, beside: Sequence[str]) -> List[object]:
    """All that decides when and where a video was, but for itself, wherever the files are."""
    asked = dict(geotagging.plain(), geotag_source_path="." if geotagging.paths else None)
    stamps = [track_stamps([side]) for side in beside]
    return [video.plain(), asked, track_stamps(geotagging.paths), *stamps]


def _meets(track: Track, start: float, length: float) -> bool:
    """Whether any of a video was taken while a track goes on."""
    return start <= track.points[-1].time and track.points[0].time <= start + length


def begin_by_track(
    track: Track, beside: bool, recorded: Tuple[Optional[float], str], length: float
) -> Tuple[Optional[float], str]:
    """(seconds UTC of a video's begin, by what), as recorded_at has it, where that meets its track,
    which tells UTC and not when the video began; else in the one zone in which it does, else as the
    track in the video itself begins.
    """
    created, told = recorded
    if created is not None and _meets(track, created, length):
        return recorded
    begin = track.points[0].time
    shifts = [] if created is None else [created - offset for offset in OFFSETS_IN_USE if offset]
    starts = [start for start in shifts if _meets(track, start, length)]
    if beside:  # it may be another drive's: it has to cover the video
        starts = [one for one in starts if begin <= one and one + length <= track.points[-1].time]
    if created is not None and starts and (len(starts) == 1 or not beside):
        start = min(starts, key=lambda one: abs(one - begin))
        zone = format_offset(created - start)
        return start, f"{told}, in zone {zone}, the one in which its track meets it (or --timezone)"
    return recorded if beside else (begin, "the first point of its track")


class Timer(NamedTuple):
    """What tells when and where the videos of a run were taken."""

    video: FrameOptions  # of a run of several videos, without paths
    geotagging: Geotagging
    guides: Sequence[Guide]  # where positions come from; without a track: each video's own
    tracks: OwnTracks  # each video's own
    notes: Notes

    def settings(self, path: str) -> List[object]:
        """All that decides which frames a video gives and what is written into them, but for the
        video itself.
        """
        own = self.tracks.get(path)
        beside = [own.side] if own is not None and own.side else []
        return settings_of(self.video, self.geotagging, beside)

    def clock(
        self, recorded: Tuple[Optional[float], str], zero: Optional[float], given: Optional[float]
    ) -> Tuple[float, str]:
        """(seconds UTC of the first frame, which clock that is from): given, by GPS, or as the
        camera wrote it.
        """
        created, told = recorded
        if given is not None:
            return given, "--video_start_time"
        if zero is not None:
            return zero, "its GPS time"
        if created is not None:
            return created, told
        return 0.0, "none: it has no clock, so time starts at 1970; give --video_start_time"

    def timing(self, footage: Footage, first: float, given: Optional[float]) -> Timing:
        """When and where frames were taken; first = the first frame's time on the time line that
        telemetry shares.
        """
        zone, ratio = self.geotagging.clockwork.zone, self.video.video_duration_ratio
        own, beside = self._own(footage, first)
        pace = self._pace(own, beside, footage, first)
        begin = None if own is None else at_video(own, first)  # by the clock of its own track
        gps = None if own is None or own.clock == CAMERA_CLOCK else begin
        recorded = recorded_at(footage, zone, ratio)
        created = recorded[0]
        if begin is not None and created is None:
            recorded = begin, f"its {CAMERA_CLOCK}"
        elif own is not None and begin is None and zone is None and own.clock != CAMERA_CLOCK:
            recorded = begin_by_track(own, beside, recorded, (footage.duration or 0.0) * ratio)
        start, clock = self.clock(recorded, gps, given)
        by_gps = gps is not None and given is None
        if own is not None and by_gps:
            clock = f"{clock} ({own.clock})"
        if gps is not None:
            other = (created, "creation_time") if by_gps else (given, "--video_start_time")
            self._compare(os.path.basename(footage.path), other, gps, clock)
        zero = start - self.geotagging.offset_time if begin is None else begin
        ways = self._ways(start, own, zero)
        return Timing(start, clock, ratio, ways, self.geotagging.max_gap, pace, by_gps)

    def _own(self, footage: Footage, first: float) -> Tuple[Optional[Track], bool]:
        """(the track that a video brings along, in UTC as far as that is known; whether it was read
        from a file beside it).
        """
        mine, zone = self.tracks.get(footage.path), self.geotagging.clockwork.zone
        if mine is None:
            return None, False
        track = without_wild(mine.track, self.geotagging.max_speed)
        local = at_video(track, first) if track.clock == CAMERA_CLOCK else None
        ahead = 0.0 if local is None else zone_between(local, footage.created)
        if ahead and (zone is None or zone_offset(zone, local or 0.0) == ahead):
            name, zone = os.path.basename(footage.path), format_offset(ahead)
            self.notes.say(
                f"{name}: its track is in zone {zone}, by its creation_time, which is UTC"
            )
        track, created = in_zone(track, zone), footage.created
        created = created if footage.zoned is None else footage.zoned
        if created is not None:
            end, name = created + (footage.duration or 0.0), os.path.basename(footage.path)
            track = in_this_era(track, created, end, name, self.notes)
        used = any(guide.track is None for guide in self.guides)
        for line in track.notes if used else ():
            self.notes.say(line)
        return track, bool(mine.side)

    def _pace(
        self, own: Optional[Track], beside: bool, footage: Footage, first: float
    ) -> Sequence[Tuple[float, float]]:
        """The pace of a time-lapse, from its first frame on, where its GPS tells it and the ratio
        is not given; () = none. Raises ToolError where it is needed and not known.
        """
        ratio = self.video.video_duration_ratio
        if own is None:
            return ()
        if not own.pace or ratio != 1.0:
            if not beside:  # the log of another device goes on when the video has ended
                check_pace(own, footage, ratio)
            return ()
        begin, name = along(own.pace, first), os.path.basename(footage.path)
        self.notes.say(
            f"{name}: its GPS clock does not run as its pictures do, as in a time-lapse (in the "
            f"middle {pace_of(own.pace):.3g} times as fast): the times of its frames follow it"
        )
        return [(video - first, utc - begin) for video, utc in own.pace]

    def _ways(self, start: float, own: Optional[Track], zero: float) -> List[Tuple[Track, float]]:
        """The tracks of a video that begins at a time, each with what its clock shows then; its
        own, by which it begins at zero, once.
        """
        ways: List[Tuple[Track, float]] = []
        for guide in self.guides:
            track, track_start = guide.track, start - self.geotagging.offset_time
            if track is not None:
                first = track.points[0].time
                ways.append((track, first if self.geotagging.use_gps_start_time else track_start))
            elif own is not None and (own, zero) not in ways:
                ways.append((own, zero))
        return ways

    def _compare(
        self, name: str, other: Tuple[Optional[float], str], zero: float, clock: str
    ) -> None:
        """Say where another clock of a video is far from its GPS time."""
        time, word = other
        ahead = 0.0 if time is None else time - zero
        if abs(ahead) > _CLOCKS_AGREE_S:
            side = "ahead of" if ahead > 0 else "behind"
            self.notes.say(
                f"{name}: {word} is {abs(ahead) / 3600:.2f} hours ({abs(ahead):.1f} s) {side} its "
                f"GPS time; it goes by {clock}"
            )


class Setup(NamedTuple):
    """What all videos of which frames are taken have in common."""

    timer: Timer
    ffmpeg: Ffmpeg
    ui: Ui

    def moments(self, footage: Footage, first: float, timing: Timing) -> List[float]:
        """The video's own times after the first frame at which frames are wanted, by interval or by
        distance.
        """
        video, length = self.timer.video, footage.duration or 0.0
        interval = video.video_sample_interval
        if video.video_sample_distance is None:
            count = int(length / interval + EARLY_S)
            return [first + number * interval for number in range(1, count + 1)]
        if not timing.ways:
            raise UsageError(
                "no_track",
                "--video_sample_distance needs a track, and there is none in this video",
                file=footage.path,
                remedy="sample by time, or give a track with --geotag_source",
            )
        for track, track_start in timing.ways:
            end, metres = track_start + timing.after(length), video.video_sample_distance
            later = [
                when
                for when in distance_times(track, track_start, end, metres)
                if when > track_start
            ]
            if later:
                afters = (when - track_start for when in later)
                return [first + seconds for seconds in timing.shown(afters)]
        track_start = timing.ways[0][1]
        span = (
            f"{format_time(track_start)} to {format_time(track_start + timing.after(length))} UTC"
        )
        wrong, remedy = "was taken outside of the track", "check the clocks, or sample by time"
        raise OutsideTrack("outside_track", wrong, file=footage.path, value=span, remedy=remedy)


# ---- Sample record ------------------------------------------------------------------------------
# Here: what sampling wrote into a folder: the frames of each video, so that none is lost or twice.
# Not here: taking frames.


def _is_as_left(image: Image, path: str) -> bool:
    """Whether a frame is as the journal last saw it; where the system tells no time of change, by
    its head.
    """
    if is_as_it_was(image, path):
        return True
    written = image.written
    if written is None or written.ctime is not None or written.stamp != stamp_of(path):
        return False
    with contextlib.suppress(ToolError):
        return read_found(path).digest == written.digest
    return False


class SampleRecord:
    """What sampling wrote into a folder whose journal is open, whose lock keeps a second run away.

    One line names the frames of a video before they are moved into the folder, a second one says
    that they are there.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        try:
            if not journal.samplings():
                journal.append(old_samplings(journal.state))
            for name in os.listdir(journal.state):
                if name.startswith("sampling-"):
                    clear_folder(os.path.join(journal.state, name))
        except OSError as error:
            raise os_problem(journal.state, error) from error

    def work(self) -> str:
        """A new folder for frames on their way."""
        import tempfile

        try:
            return tempfile.mkdtemp(prefix="sampling-", dir=self.journal.state)
        except OSError as error:
            raise os_problem(self.journal.state, error) from error

    def of(self, path: str, digest: str) -> List[Sampling]:
        """The lines about a video: the one at this place, or the same one at a place where it no
        longer is.
        """
        return [
            line
            for line in self.journal.samplings()
            if line.path == path or line.digest == digest and not is_there(line.path)
        ]

    def copy_of(self, path: str, digest: str, settings: str) -> Tuple[str, List[str]]:
        """(where a video is of which this one is a copy, its frames, which these settings gave); ""
        for none.
        """
        done = {
            line.path
            for line in self.journal.samplings()
            if line.digest == digest and line.path != path and line.done == settings
        }
        for other in sorted(done):
            lines = [line for line in self.journal.samplings() if line.path == other]
            there = self.there(lines, settings)
            if there:
                return other, there
        return "", []

    def place(self, name: str) -> str:
        """The path of a frame."""
        return os.path.join(self.journal.folder, name)

    def there(self, lines: Sequence[Sampling], settings: str) -> List[str]:
        """The frames of a video that was sampled with these settings, as far as they are still
        there.
        """
        if len(lines) < 2 or lines[-1].done != settings:
            return []
        frames = lines[-2].frames
        here = [name for name in frames if is_there(self.place(name))]
        short = [name for name in here if self._stamp(name).size < frames[name].size]
        return [] if short else here

    def old(self, lines: Sequence[Sampling]) -> Tuple[List[str], List[str]]:
        """(frames of earlier samplings of a video as we left them, frames changed by others or
        uploaded since).
        """
        stamps: Dict[str, List[Stamp]] = {}
        for name, stamp in (pair for line in lines for pair in line.frames.items()):
            if is_there(self.place(name)):
                stamps.setdefault(name, []).append(stamp)
        sent = [one for one in self.journal.all_sent() if one.status == "sent"]
        kept = {name_key(one.image) for one in sent}
        for name, known in stamps.items():
            if self._stamp(name) not in known:
                kept.add(name_key(name))
        ours = [name for name in stamps if name_key(name) not in kept]
        return ours, [name for name in stamps if name not in ours]

    def _stamp(self, name: str) -> Stamp:
        """Size and time of a frame as sampling left it: before process wrote it, or
        looked at it.
        """
        path, image = self.place(name), self.journal.image(name)
        if image is not None and image.found is not None and _is_as_left(image, path):
            return image.found.stamp
        return stamp_by(os.stat(path))

    def _free_number(self, base: str, ours: Sequence[str]) -> int:
        """The highest number of a frame of this name that is not ours."""
        form = re.compile(re.escape(base) + r"_(\d{6,})\.jpe?g$", re.IGNORECASE)
        others = set(os.listdir(self.journal.folder)) - set(ours)
        return max((int(match.group(1)) for match in map(form.match, others) if match), default=0)

    def bring(
        self, frames: Sequence[Tuple[str, Stamp]], line: Sampling, settings: str
    ) -> List[str]:
        """Move frames into the folder under free names, in place of the old ones of the video;
        returns those kept.
        """
        ours, kept = self.old(self.of(line.path, line.digest))
        base = os.path.splitext(os.path.basename(line.path))[0]
        number = self._free_number(base, ours)
        names = [f"{base}_{number + place:06d}.jpg" for place in range(1, len(frames) + 1)]
        stamps = {name: stamp for name, (_, stamp) in zip(names, frames)}
        try:
            self.journal.append([line._replace(frames=stamps)])
            for name in ours:
                remove_file(self.place(name))
            for name, (source, _) in zip(names, frames):
                move_file(source, self.place(name))
            flush_folder(self.journal.folder)
        except OSError as error:
            raise os_problem(self.journal.folder, error) from error
        self.journal.append([line._replace(done=settings)])
        return kept


# ---- Frames -------------------------------------------------------------------------------------
# Here: the way of a video's frames into the folder, and what is said of them.
# Not here: which frames, when and where each was taken; the record of them.

_MIXED_UP_MS = 10**11  # a start time below (March 1973) was probably given in seconds
_DIGEST_BYTES = 1 << 16  # at both ends of a video, by which it is known again


def _take(
    setup: Setup, footage: Footage, folder: str, given: Optional[float]
) -> Tuple[Timing, str]:
    """Take the frames of a video into a folder; returns their timing and what ffmpeg
    complained of.
    """
    video, word = setup.timer.video, "sampling " + os.path.basename(footage.path)
    interval, length = video.video_sample_interval, footage.duration or 0.0
    dense = video.video_sample_distance is None and not seeking_pays(footage, interval)
    total = int(length / interval) + 1

    def heard(text: str) -> None:
        if text.startswith("frame="):
            count = int(text[6:])
            setup.ui.progress(word, count, max(total, count), 0)

    cutting = Cutting(every(interval)) if dense else Cutting("1", None, 1)
    wrong = [setup.ffmpeg.take(footage, folder, cutting, heard if dense else None)]
    if not frame_times(folder):
        what = "has no picture that can be decoded"
        raise ToolError(
            "no_pictures", what, file=footage.path, value=wrong[0], remedy="leave it out"
        )
    first = frame_times(folder)[0] / FRAME_UNITS
    timing = setup.timer.timing(footage, first, given)
    if not dense:
        wrong += _take_moments(setup, footage, folder, setup.moments(footage, first, timing))
    return timing, next(filter(None, wrong), "")


def _take_moments(
    setup: Setup, footage: Footage, folder: str, moments: List[float]
) -> Iterator[str]:
    """Take the frames of some moments of a video; gives what ffmpeg complained of."""
    word, length = "sampling " + os.path.basename(footage.path), footage.duration or 0.0
    size = 1 if seeking_pays(footage, length / max(1, len(moments))) else MOMENTS
    tasks = [Moments(setup.ffmpeg, footage, folder, part) for part in cut(moments, size)]
    for done, line in enumerate(each(take_at, tasks, 0 if size == 1 else 1, True), 1):
        setup.ui.progress(word, min(done * size, len(moments)), len(moments), 0)
        yield line


def video_digest(path: str) -> str:
    """What a video is known by, whatever its name: its size and both its ends. Raises ToolError
    when unreadable.
    """
    try:
        with open_file(path) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            begin = stream.read(_DIGEST_BYTES)
            stream.seek(max(0, size - _DIGEST_BYTES))
            end = stream.read(_DIGEST_BYTES)
    except OSError as error:
        cause = error.strerror or ""
        raise ToolError(
            "unreadable", "cannot be read", file=path, value=cause, remedy="check its rights"
        ) from error
    if not size:
        raise ToolError(
            "empty", "is empty (0 bytes)", file=path, remedy="copy it from the card again"
        )
    return short_hash(size, hashlib.sha1(begin).hexdigest(), hashlib.sha1(end).hexdigest())


class _Sampled(NamedTuple):
    """The frames of one video, where they were made."""

    frames: List[Tuple[str, Stamp]]
    seconds: List[float]  # of the video, since its first frame
    nowhere: int  # how many have no position though there is a track
    timing: Timing
    wrong: str  # what ffmpeg complained of


def _make_frames(setup: Setup, footage: Footage, work: str, given: Optional[float]) -> _Sampled:
    """Take the frames of a video into a working folder and write into each when and where it was
    taken.
    """
    timing, wrong = _take(setup, footage, work, given)
    times = frame_times(work)
    seconds = [(when - times[0]) / FRAME_UNITS for when in times]
    frames, nowhere = [], 0
    for when, second in zip(times, seconds):
        frame, fix = os.path.join(work, f"{when}.jpg"), timing.place(second)
        nowhere += bool(timing.ways) and fix is None
        edits = frame_edits(footage.camera, timing.start + timing.after(second), fix)
        if footage.is_panorama:
            edits[SPHERE] = {WIDTH: footage.camera.width, HEIGHT: footage.camera.height}
        frames.append((frame, write_edits(frame, edits).stamp))
    return _Sampled(frames, seconds, nowhere, timing, wrong)


def _sampled_before(
    sampling: Sampling, record: SampleRecord, settings: str, notes: Notes
) -> Tuple[List[str], List[Problem]]:
    """(frames of a video that are there by these settings, or those of a copy of it; what is known
    to be wrong with it).
    """
    path, digest = sampling.path, sampling.digest
    lines = record.of(path, digest)
    there = record.there(lines, settings)
    if there:
        problems = [line.problem for line in lines[-1:] if line.problem is not None]
        return there, [problem._replace(file=path) for problem in problems]
    other, there = record.copy_of(path, digest, settings)
    if other:
        notes.say(f"{path} is the same video as {other}, of which frames are there")
    return there, []


def _say_whole(sampling: Sampling, record: SampleRecord, notes: Notes) -> None:
    """Say where a video goes up whole as well."""
    clip = record.journal.clip(os.path.basename(sampling.path))
    if clip is not None and clip.digest == sampling.digest and clip.problem is None:
        notes.say(f"{clip.video} goes up whole: with its frames it would be there twice")


def sample_one(
    path: str, record: SampleRecord, setup: Setup, given: Optional[float], report: Report
) -> None:
    """Sample one video and account for its frames in the report.

    A frame is taken where the video begins and then, for every k, the first one shown at or after k
    intervals. Its capture time is the start + its time since the first frame x
    --video_duration_ratio; given (seconds UTC) is the start when the user says so. Raises
    ToolError; then nothing in the folder has changed.
    """
    digest = video_digest(path)
    settings = short_hash(digest, setup.timer.settings(path), given)
    sampling = Sampling(path, digest)
    there, wrong = _sampled_before(sampling, record, settings, setup.timer.notes)
    if there:
        report.skipped.setdefault(SKIP_SAMPLED, []).extend(map(record.place, there))
        report.trouble.extend(wrong)
        return
    _say_whole(sampling, record, setup.timer.notes)
    footage, work = setup.ffmpeg.probe(path), record.work()
    try:
        made = _make_frames(setup, footage, work, given)
        problem = _missing_of(made, footage, setup) if made.wrong else None
        kept = record.bring(made.frames, sampling._replace(problem=problem), settings)
    except OSError as error:
        raise os_problem(record.journal.folder, error) from error
    finally:
        clear_folder(work)
    report.done += len(made.frames)
    _say_sampled(footage, made, kept, setup)
    if problem is not None:
        report.trouble.append(problem)
    elif made.wrong:
        setup.timer.notes.say(str(_damage(made, footage, setup)))


def span_words(begin: float, end: float) -> str:
    """Two times, from the one to the other."""
    return f"{format_time(begin)} to {format_time(end)}"


_NOT_WHOLE = {"part": "a part of a sphere alone", "stereo": "one for two eyes"}


def _say_look(footage: Footage, ffmpeg: Ffmpeg, notes: Notes) -> None:
    """Say what is odd about the pictures of a video."""
    name, look = os.path.basename(footage.path), footage.look
    unlike = _NOT_WHOLE.get(look.sphere, "not twice as wide as high")
    if footage.is_panorama:
        notes.say(f"{name}: its frames are marked as equirectangular panoramas (GPano)")
    elif look.sphere:
        notes.say(f"{name} says that it is a panorama, but is {unlike}: its frames are not marked")
    elif footage.is_wide:
        notes.say(
            f"{name} is twice as wide as high but does not say that it is a panorama: its frames "
            "are not marked as one"
        )
    if look.lenses > 1:
        notes.say(
            f"{name} has {look.lenses} tracks of pictures: its frames are those of the "
            + ("largest alone" if look.smaller else "first lens alone, not stitched")
        )
    if look.hdr and not ffmpeg.maps_tones():
        notes.say(f"{name} is HDR, which this ffmpeg cannot map (zscale): its frames look pale")


def _why_nowhere(timing: Timing) -> str:
    """What may be done for frames without a position."""
    if timing.by_gps:
        return "its GPS had no fix then: another device's track may have one (--geotag_source gpx)"
    return "--timezone or --video_start_time may mend it"


def _say_sampled(footage: Footage, made: _Sampled, kept: Sequence[str], setup: Setup) -> None:
    """Say what came of one video."""
    timing, name, notes = made.timing, os.path.basename(footage.path), setup.timer.notes
    notes.say(
        f"{name}: {len(made.frames)} frames, the first at {format_time(timing.start)} UTC, clock: "
        f"{timing.clock}"
    )
    if kept:
        some = ", ".join(kept[:5]) + " ..." * (len(kept) > 5)
        notes.say(
            f"{name} was sampled before; {len(kept)} of its frames were changed or uploaded since "
            f"and stay: {some}"
        )
    if not timing.ways and set(setup.timer.geotagging.sources).intersection(VIDEO_SOURCES):
        why = why_unplaced(Path(footage.path))
        notes.say(f"{name} has no GPS track: its frames have no position ({why})")
    if made.nowhere:
        span = span_words(timing.start, timing.start + timing.after(made.seconds[-1]))
        tracks = ", ".join(
            span_words(way.points[0].time, way.points[-1].time) for way, _ in timing.ways
        )
        notes.say(
            f"{name}: {made.nowhere} frames lie outside of its track and have no position: frames "
            f"{span}, track {tracks} (UTC); {_why_nowhere(timing)}"
        )
    _say_look(footage, setup.ffmpeg, notes)


def _reach(made: _Sampled, footage: Footage, setup: Setup) -> Tuple[float, float]:
    """(seconds of a video to which its frames reach, its length in seconds)."""
    end = made.seconds[-1] + setup.timer.video.video_sample_interval
    length = footage.duration
    end = min(end, made.seconds[-1] if length is None else length)
    return end, end if length is None else length


def _damage(made: _Sampled, footage: Footage, setup: Setup) -> Problem:
    """How far the frames of a damaged video reach, and where some are missing."""
    end, length = _reach(made, footage, setup)
    wrong = f"is damaged; its frames reach to {end:.1f} of {length:.1f} s"
    holes = _holes(made, setup)
    if holes:
        wrong += "; there are none from " + some_of([f"{a:.1f} to {b:.1f} s" for a, b in holes])
    remedy = "copy it from the card again"
    return Problem("damaged", wrong, file=footage.path, value=made.wrong, remedy=remedy)


def _holes(made: _Sampled, setup: Setup) -> List[Tuple[float, float]]:
    """(last frame before, first frame behind) where frames of a video are missing, in seconds."""
    interval, pairs = setup.timer.video.video_sample_interval, zip(made.seconds, made.seconds[1:])
    return [(before, after) for before, after in pairs if after - before > 1.9 * interval]


def _missing_of(made: _Sampled, footage: Footage, setup: Setup) -> Optional[Problem]:
    """What is wrong with a damaged video, where frames are missing for that; None = none are."""
    end, length = _reach(made, footage, setup)
    if setup.timer.video.video_sample_distance is not None:
        return None
    return _damage(made, footage, setup) if length > end or _holes(made, setup) else None


ONE_START = Problem(
    "one_start",
    "is one of several videos, which cannot all begin at the first point of the track",
    value="--use_gps_start_time",
    remedy="give --video_start_time, or one video at a time",
)
NO_START = Problem(
    "no_start",
    "follows a video whose length is not known",
    value="--video_start_time",
    remedy="move that video away, or process this one by itself",
)


def _seconds_of(path: str) -> float:
    """How long a video is; NaN where that is not known."""
    with contextlib.suppress(BadTrack):
        length = read_movie(path).duration
        return math.nan if length is None else length
    return math.nan


def with_starts(paths: Sequence[str], video: FrameOptions) -> Iterator[Tuple[str, Optional[float]]]:
    """Videos with when each begins, seconds UTC, as far as the user says so: those behind the first
    follow without a pause; NaN behind one whose length is not known.
    """
    start = None if video.video_start_time is None else video.video_start_time / 1000
    for path in paths:
        yield path, start
        if start is not None and len(paths) > 1:
            start += _seconds_of(path) * video.video_duration_ratio


def say_start(video: FrameOptions, notes: Notes) -> None:
    """Say where a start looks as if its unit was mixed up."""
    start = video.video_start_time
    if start is not None and start < _MIXED_UP_MS:
        given = f"--video_start_time {start} means {format_time(start / 1000)}"
        notes.say(given + ": it is in milliseconds")


def find_videos(path: str, trouble: List[Problem], below: bool = True) -> List[str]:
    """A video, or all videos in a folder and below, in natural order; folders that cannot be listed
    are added to trouble. below: whether to look into subfolders. Raises NotFound.
    """
    if os.path.isfile(path):
        if kind_of(path) in PICTURE_KINDS or kind_of(path) in ("gpx", "nmea", "csv"):
            remedy = "give the video, or the folder it is in, as --video_path"
            raise NotFound("no_videos", "is no video", file=path, remedy=remedy)
        return [os.path.abspath(path)]
    videos: List[str] = []
    top = os.path.abspath(str(check_folder(path, "--video_path")))
    for place, folders, files in walked(top, lambda error: trouble.append(unsearchable(error))):
        inner = sorted((name for name in folders if not is_closed(name)), key=natural_key)
        folders[:] = inner if below else []
        here = [name for name in files if is_video_name(name)]
        videos += [os.path.join(place, name) for name in sorted(here, key=natural_key)]
    if not videos and trouble:
        raise NotFound(**trouble[0]._asdict())
    if not videos:
        kinds = "videos are named ." + ", .".join(VIDEO_KINDS)
        raise NotFound("no_videos", "holds no videos", file=path, remedy=kinds)
    return videos


def sample_videos(options: Options, ui: Ui) -> Report:
    """Sample frames from a video or a folder of videos into a folder.

    In the Report a frame counts as done or, when it was there before, as skipped; a video that
    fails counts as one.
    """
    video, geotagging, notes = options[Video], options[Geotagging], Notes(say)
    report = Report("sample_video", told=Told("sampled", notes.lines))
    below = not options[Selection].skip_subfolders
    paths = find_videos(video.video_path, report.trouble, below)
    if options[Dry].dry_run:
        some = ", ".join(map(os.path.basename, paths[:5]))
        notes.lines.append(f"{len(paths)} videos would be sampled: {some}")
        return report
    guides = gather_guides(geotagging, notes)
    asked = any(kind in VIDEO_SOURCES for kind in geotagging.sources)
    ffmpeg, tracks = (
        Ffmpeg(video.ffmpeg_path),
        video_tracks(paths, notes.say if asked else LOG.info),
    )
    kept = dataclasses.replace(video, video_path=".", ffmpeg_path=None)
    setup = Setup(Timer(kept, geotagging, guides, tracks, notes), ffmpeg, ui)
    folder = os.path.abspath(options[Input].import_path)
    with Journal(folder, wait=options[Waiting].wait) as journal:
        _sample_each(paths, SampleRecord(journal), setup, report)
    return report


def sample_below(options: Options, ui: Ui) -> Optional[Report]:
    """Frames of all videos below the folders of a run, sampled into these; None = that was not
    asked for.
    """
    if options[Videos].videos != AS_FRAMES:
        return None
    whole, below = (
        Report("sample_video", told=Told("sampled")),
        not options[Selection].skip_subfolders,
    )
    asked = options[FrameOptions]
    start: Optional[float] = asked.video_start_time  # milliseconds
    for top in options[Input].folders:
        try:
            paths = find_videos(top, [], below)
        except NotFound as error:
            if error.problem.code != "no_videos":
                raise
            continue
        if start is not None and math.isnan(start):
            whole.failed.extend(NO_START._replace(file=path) for path in paths)
            continue
        given = dict(dataclasses.asdict(asked), video_start_time=start, video_path=top)
        video = Video(**given)
        try:
            whole.add(sample_videos(options.having(video).having(Input(top)), ui))
        except InUse:
            whole.skipped.setdefault(SKIP_IN_USE, []).extend(paths)
        start = _start_behind(paths, video)
    return whole


def _start_behind(paths: Sequence[str], video: FrameOptions) -> Optional[float]:
    """When a video begins that follows some, in whole milliseconds; NaN where that is not known,
    None where no start is given.
    """
    *_, (last, start) = with_starts(paths, video)
    if start is None:
        return None
    behind = start + _seconds_of(last) * video.video_duration_ratio
    return behind if math.isnan(behind) else round(behind * 1000)


def _sample_each(paths: Sequence[str], record: SampleRecord, setup: Setup, report: Report) -> None:
    """Sample one video after the other."""
    say_start(setup.timer.video, setup.timer.notes)
    for path, start in with_starts(paths, setup.timer.video):
        try:
            if start is not None and math.isnan(start):
                raise ToolError(**NO_START._replace(file=path)._asdict())
            if setup.timer.geotagging.use_gps_start_time and len(paths) > 1:
                raise ToolError(**ONE_START._replace(file=path)._asdict())
            sample_one(path, record, setup, start, report)
        except ToolError as error:
            report.failed.append(error.problem)


# ---- Whole videos -------------------------------------------------------------------------------
# Here: where a video that goes up whole was, on its own time line, or why it does not go.
# Not here: the bytes that go up; sending.

PARKED_M = 10.0  # metres; what never gets further from its first place shows one view
_MOSTLY = 0.8  # part of a video that its track covers, so that nothing is to be said


class Making(NamedTuple):
    """What all videos of a run that go up whole have in common."""

    video: FrameOptions
    geotagging: Geotagging
    guides: Sequence[Guide]  # where positions come from; without a track: each video's own
    whose: Uploader
    device: MetaData
    areas: Tuple[Area, ...]  # that are left out

    def settings(self, path: str, digest: str, given: Optional[float]) -> str:
        """A hash of all that decides what becomes of a video, without looking into its track."""
        video = dataclasses.replace(self.video, ffmpeg_path=None)
        tracks = settings_of(video, self.geotagging, list(map(str, side_files(path))))
        names = (self.device.device_make, self.device.device_model)
        whose = (self.whose.user_name, self.whose.organization_key)
        areas = text_hash(repr(self.areas))
        start = None if given is None or math.isnan(given) else given
        return short_hash(digest, tracks, start, names, whose, STREAM_FORM, areas)


class Wanted(NamedTuple):
    """A video whose places are wanted."""

    path: str
    before: Optional[Clip] = None  # what is known of it
    given: Optional[float] = None  # seconds UTC of its begin, where the user says so


def _footage_of(path: str) -> Footage:
    """A video as our own reader knows it."""
    movie = read_movie(path)
    return Footage(
        path=path,
        duration=movie.duration,
        rate=0.0,
        pixels=0,
        reorder=0,
        key_gap=None,
        camera=Camera(movie.make, movie.model),
        created=movie.creation_time,
        zoned=movie.zoned,
    )


def clips_of(wanted: Sequence[Wanted], making: Making, notes: Notes) -> Iterator[Clip]:
    """What becomes of each of some videos: its places, or why it cannot go up; what was known
    before, the very same, where nothing has changed.
    """
    say_start(making.video, notes)
    begun = [_begun(one, making) for one in wanted]
    if making.geotagging.use_gps_start_time and len(wanted) > 1:
        begun = [clip._replace(problem=ONE_START) for clip in begun]
    pairs = list(zip(wanted, begun))
    fresh = [one.path for one, clip in pairs if clip is not one.before and clip.problem is None]
    tracks = video_tracks(fresh, notes.say)
    timer = Timer(making.video, making.geotagging, making.guides, tracks, notes)
    for one, clip in pairs:
        if clip is one.before or clip.problem is not None:
            yield clip
            continue
        try:
            yield _with_way(one, clip, making, timer)
        except ToolError as error:
            yield clip._replace(problem=error.problem._replace(file=""))


_PRIVATE = Problem(
    "private_video",
    "would not be private: a video carries no such mark",
    value="--private",
    remedy="--videos sample takes frames of it, which do",
)


def _begun(one: Wanted, making: Making) -> Clip:
    """A video without its places; or all that was known before, where nothing has changed."""
    stamp, whose, before = stamp_of(one.path), making.whose, one.before
    clip = Clip(os.path.basename(one.path), "", *stamp)
    clip = clip._replace(user=whose.user_name, organization=whose.organization_key)
    try:
        if stamp == NO_STAMP:
            raise ToolError(UNREADABLE, "cannot be looked at", remedy="run the same command again")
        clip = clip._replace(digest=video_digest(one.path))
        settings = making.settings(one.path, clip.digest, one.given)
        if before is not None and (before.settings, before.stamp) == (settings, stamp):
            if before.problem is None:
                return before
        _check_video_at(one.path)
        lost = _PRIVATE if whose.private else None
        if one.given is not None and math.isnan(one.given):
            lost = NO_START
        return clip._replace(settings=settings, problem=lost)
    except ToolError as error:
        return clip._replace(problem=error.problem._replace(file=""))


def _check_video_at(path: str) -> None:
    """Raise ToolError for a video that cannot go up whole."""
    try:
        with open_file(path) as handle:
            check_video(Source(handle, Path(path)))
    except OSError as error:
        raise unreadable_track(Path(path), error) from error


def _with_way(one: Wanted, clip: Clip, making: Making, timer: Timer) -> Clip:
    """A video with its places; raises ToolError where it cannot go up."""
    footage = _footage_of(one.path)
    places, source = _way_of(footage, timer, one.given)
    if passes_through(making.areas, places):
        raise ToolError(**THROUGH_AREA._asdict())
    fixes = [Fix(place.video, place.lat, place.lon) for place in places]
    parked = all(distance(fixes[0], fix) <= PARKED_M for fix in fixes)
    _check_cover(footage, places, parked, timer.notes)
    _say_holes(footage, places, timer)
    zoned = making.geotagging.clockwork.zone is not None
    clip = clip._replace(
        make=making.device.device_make or footage.camera.make,
        model=making.device.device_model or footage.camera.model,
        source=source,
        local=True if source == CAMERA_CLOCK and not zoned else None,
        metres=round(sum(map(distance, fixes, fixes[1:])), 3),
        places=tuple(places),
        parked=parked or None,
    )
    return clip._replace(track=_track_hash(clip))


def _say_holes(footage: Footage, places: Sequence[Sample], timer: Timer) -> None:
    """Say where a track has holes that are longer than asked for: the service fills them."""
    limit = timer.geotagging.max_gap
    gaps = [after.video - before.video for before, after in zip(places, places[1:])]
    if limit is not None and gaps and max(gaps) > limit:
        name = os.path.basename(footage.path)
        timer.notes.say(
            f"{name}: its track has holes of up to {max(gaps):.1f} s (--max_gap {limit:g}): it "
            "goes up whole all the same, and the service fills them"
        )


def _track_hash(clip: Clip) -> str:
    """A hash of all that is added to a video."""
    records = hashlib.sha1(b"".join(camm_records(clip.sent))).hexdigest()
    times = [place.video for place in clip.places]
    return short_hash(STREAM_FORM, clip.make, clip.model, records, times)


def _check_cover(footage: Footage, places: Sequence[Sample], parked: bool, notes: Notes) -> None:
    """Say where a track covers a video in part alone; raise ToolError where for that reason nobody
    knows whether it moved.
    """
    length = footage.duration or 0.0
    known = places[-1].video - places[0].video
    if known >= _MOSTLY * length:
        return
    value = f"{known:.1f} of {length:.1f} s"
    if parked:
        wrong, remedy = "has a track that covers too little of it", "give one that covers it"
        raise ToolError("video_outside", wrong, file=footage.path, value=value, remedy=remedy)
    notes.say(f"{os.path.basename(footage.path)}: its track covers {value}")


THROUGH_AREA = Problem(
    "through_area",
    "passes through an area that is left out",
    remedy="--videos sample sends its frames outside of it; or cut the video there",
)


def _way_of(footage: Footage, timer: Timer, given: Optional[float]) -> Tuple[List[Sample], str]:
    """(places of a video in order, by which clock); raises ToolError where there are none."""
    timing = timer.timing(footage, 0.0, given)
    for track, begin in timing.ways:
        places = _within(track, begin, timing, footage.duration)
        if places:
            later = 0.0 if given is None else timing.start - begin  # as the user says
            return [_later(one, later) for one in places], track.clock
    if not timing.ways:
        why = why_unplaced(Path(footage.path))
        raise ToolError(
            "video_no_track", "has no GPS track", file=footage.path, value=why, remedy=_THREE_WAYS
        )
    zone = timer.geotagging.clockwork.zone
    if recorded_at(footage, zone)[0] is None and given is None:
        raise ToolError(
            "video_no_time",
            "does not tell when it was taken, and its track has none of its pictures",
            file=footage.path,
            remedy="give --video_start_time",
        )
    track, begin = timing.ways[0]
    span = span_words(begin, begin + timing.after(footage.duration or 0.0))
    raise ToolError(
        "video_outside",
        "was taken outside of its track",
        file=footage.path,
        value=f"{span}, its track {span_words(track.points[0].time, track.points[-1].time)} (UTC)",
        remedy="--video_start_time or --timezone tells when it was taken",
    )


def _later(place: Sample, seconds: float) -> Sample:
    """A place at a later time."""
    return place if place.time is None else place._replace(time=place.time + seconds)


_THREE_WAYS = (
    "switch on the camera's GPS; or put its track beside it, as NAME.gpx; or give --geotag_source "
    "gpx --geotag_source_path FILE"
)


def _within(track: Track, begin: float, timing: Timing, length: Optional[float]) -> List[Sample]:
    """The places of a track in a video that begins at begin, by the clock of the track: its points,
    and where it is cut at an end of the video also the place there.
    """
    end = math.inf if length is None else length
    seconds = timing.shown(point.time - begin for point in track.points)
    pairs = [(round(video, 6), point) for video, point in zip(seconds, track.points)]
    inside = [pair for pair in pairs if 0.0 <= pair[0] <= end]
    for border in (0.0, end):
        beyond = pairs[0][0] < 0.0 if border == 0.0 else pairs[-1][0] > end
        if beyond and border not in [video for video, _ in inside]:
            with contextlib.suppress(OutsideTrack):
                fix = fix_at(track, begin + timing.after(border), timing.max_gap)
                inside.append((border, fix))
    inside.sort(key=lambda pair: pair[0])
    return [Sample(video, fix.time, fix.lat, fix.lon, fix.alt) for video, fix in inside]


def passes_through(areas: Sequence[Area], places: Sequence[Sample]) -> bool:
    """Whether a way by some places goes through an area that is left out."""
    fixes = [Fix(float(n), one.lat, one.lon) for n, one in enumerate(places)]
    return any(
        _touches(area, a, b) for area in areas for a, b in zip(fixes, [*fixes[1:], *fixes[-1:]])
    )


_FLAT_M = 5000.0  # metres, over which the Earth may be taken as flat


def _touches(area: Area, a: Fix, b: Fix) -> bool:
    """Whether the way from one place to the next goes through an area."""
    if is_excluded([area], a) or is_excluded([area], b):
        return True
    center, length = Fix(0.0, area.lat, area.lon), distance(a, b)
    if min(distance(center, a), distance(center, b)) > length + area.metres:
        return False
    if length > _FLAT_M:
        half = between(a, b, (a.time + b.time) / 2)
        return _touches(area, a, half) or _touches(area, half, b)
    near, far = distance(center, a), distance(center, b)
    along_way = (near**2 - far**2 + length**2) / (2 * length) if length else 0.0
    beside = math.sqrt(max(0.0, near**2 - along_way**2))
    return 0.0 <= along_way <= length and beside <= area.metres


class _Ridden:
    """How many videos go up, and how far they went."""

    def __init__(self) -> None:
        self.videos, self.metres = 0, 0.0
        self.outdated = 0  # how many were sent with another track
        self.twice: List[str] = []  # those of which frames are there, too

    def add(self, clip: Clip, sent: Optional[Sent], samplings: Sequence[Sampling]) -> None:
        """One more video, if it goes up; how it did before, and what was sampled beside it."""
        there = sent is not None and sent.arrived and sent.photo == clip.id
        self.outdated += bool(there and sent and sent.fix != clip.track and clip.track)
        if any(line.digest == clip.digest for line in samplings):
            self.twice.append(clip.video)
        if not clip.parked and clip.problem is None:
            self.videos, self.metres = self.videos + 1, self.metres + (clip.metres or 0.0)

    def say(self, report: Report, notes: Notes) -> None:
        """The same in words."""
        if self.videos:
            told = f"{plural(self.videos, 'video')}, {self.metres / 1000:.1f} km"
            report.told.lines.append(told)
            metres = self.metres + metres_of(report.images)
            report.told.facts.update(videos=self.videos, kilometres=round(metres / 1000, 3))
        say_outdated(self.outdated, notes)
        if self.twice:
            notes.say(f"of {some_of(self.twice)} frames are here, too: both would show it twice")


def prepare_videos(
    paths: Sequence[Path], course: Course, known: Known, report: Report, ui: Ui
) -> None:
    """Find the places of videos that are to go up whole, and have them in the journals of their
    folders; counts them in the report, and says what comes next.
    """
    options, config = course.options, Configuration()
    notes, ridden = Notes(say, report.notes), _Ridden()
    making = _making_of(course._replace(areas=areas_of_run(options, config)), known)
    with contextlib.ExitStack() as stack:
        dry = options[Dry].dry_run
        places, problems = open_places(paths, not dry, stack, options[Waiting].wait)
        wanted = _wanted(_opened(paths, problems, report), places, course)
        for count, (one, clip) in enumerate(zip(wanted, clips_of(wanted, making, notes)), 1):
            journal = places[os.path.dirname(one.path)].journal
            sent = journal.sent(course.service, clip.video)
            report.count(one.path, _outcome_of(one, clip, sent))
            ridden.add(clip, sent, journal.samplings())
            journal.append([] if clip is one.before or dry else [clip])
            ui.progress("reading videos", count, len(wanted), 0)
    ridden.say(report, notes)
    say_account(course, config, report)


def _making_of(course: Course, known: Known) -> Making:
    """What the videos of a run have in common."""
    options, whose = course.options, known.uploader
    asked = (options[FrameOptions], options[Geotagging])
    return Making(*asked, known.guides, whose, options[MetaData], course.areas)


def _opened(paths: Sequence[Path], problems: Mapping[str, Problem], report: Report) -> List[Path]:
    """The files whose folders are open; the others are counted."""
    opened = []
    for path in paths:
        problem = problems.get(str(path.parent))
        if problem is None:
            opened.append(path)
        else:
            report.count(path, not_open(path, problem).outcome)
    return opened


def _wanted(paths: Sequence[Path], places: Mapping[str, Place], course: Course) -> List[Wanted]:
    """Some videos, with what is known of them unless all is to be done again."""
    video, again = course.options[FrameOptions], course.options[Again].rerun
    found = []
    for path, start in with_starts(list(map(str, paths)), video):
        journal = places[os.path.dirname(path)].journal
        before = None if again else journal.clip(os.path.basename(path))
        found.append(Wanted(path, before and before._replace(places=()), start))
    return found


def _outcome_of(one: Wanted, clip: Clip, sent: Optional[Sent]) -> Optional[Outcome]:
    """What came of a video; None = its places were found now."""
    outcome = clip.outcome(one.path)
    if outcome is not None or clip is not one.before:
        return outcome
    arrived = sent is not None and sent.arrived and sent.photo == clip.id
    return Outcome("skipped", SKIP_UPLOADED if arrived else SKIP_PROCESSED)


# ---- HTTP ---------------------------------------------------------------------------------------
# Here: requests and answers, what an answer means, when to try again.
# Not here: sockets, which requests a service knows, and what is sent.

GRAPH_ROOT = "https://graph.mapillary.com"
UPLOAD_ROOT = "https://rupload.facebook.com/mapillary_public_uploads"
CONNECT_S = 20.0  # seconds to wait for a connection
ANSWER_S = 30.0  # seconds to wait for an answer, beside the time that its bytes may take
SLOWEST = 50000.0  # bytes a second; a slower connection counts as stalled
BACKOFF_S, BACKOFF_MOST_S = 0.5, 16.0  # seconds before the second try, and at most
WAIT_MOST_S = 3600.0  # seconds that a service can make us wait
SEND_BYTES = 65536  # bytes sent at a time
ANSWER_BYTES = 1 << 20  # bytes of an answer that are read at most
FRAMING_BYTES = 1 << 18  # of the heads, chunks and trailers of an answer, beside its body
SEARCH_BYTES = 8 << 20  # of the answer to an image search


@dataclass(frozen=True)
class Patience(Group):
    """network"""

    word: ClassVar[str] = "patience"
    offline_limit: float = opt(
        30.0, rare("wait so long for a service that cannot be reached", "MINUTES", 0)
    )


class Limits(NamedTuple):
    """How long a service is waited for, and how much it may send."""

    offline_s: float = 1800.0  # seconds that it may be out of reach
    attempts: int = 10  # tries of a request without progress
    max_rate: Optional[float] = None  # kilobytes a second that are sent at most
    answer_bytes: Optional[int] = None  # of an answer; None = ANSWER_BYTES


class Request(NamedTuple):
    """What a service is asked."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Optional[Iterable[bytes]] = None
    length: int = 0  # bytes of the body
    most: int = 0  # bytes of the answer that are read at most; 0 = as the run has it


class Answer(NamedTuple):
    """What a service answered."""

    status: int
    headers: Dict[str, str]  # names in lower case
    body: bytes
    row: Dict[str, Any]  # the body as JSON; empty when it is no JSON object


class Unreachable(Exception):
    """No connection could be made."""


class Cut(Exception):
    """A connection broke, or nothing came in time, before the answer was there."""


class Stopped(Exception):
    """The run is ending; nothing more is sent."""


# -- what an answer means --


def _debug(row: Mapping[str, Any]) -> Dict[str, Any]:
    info = row.get("debug_info")
    return info if isinstance(info, dict) else {}


def _asked_wait(headers: Mapping[str, str], row: Mapping[str, Any]) -> Optional[float]:
    """Seconds that an answer asks to wait: Retry-After (RFC 9110, 10.2.3) or backoff in ms; None =
    it does not say.
    """
    text = headers.get("retry-after", "").strip()
    if re.match(r"\d+(\.\d+)?$", text):
        return min(WAIT_MOST_S, float(text))
    if text:
        import email.utils

        with contextlib.suppress(TypeError, ValueError, IndexError, OverflowError):
            until: float = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
            return min(WAIT_MOST_S, max(0.0, until))
    for wait in (row.get("backoff"), _debug(row).get("backoff")):
        if isinstance(wait, (int, float)) and not isinstance(wait, bool) and wait >= 0:
            return min(WAIT_MOST_S, float(min(wait, 1e12)) / 1000.0)
    return None


def retry_delay(
    attempt: int,
    status: Optional[int],
    headers: Optional[Dict[str, str]] = None,
    row: Optional[Dict[str, Any]] = None,
) -> Optional[float]:
    """Seconds before try attempt + 1, without jitter; None = it is of no use. status None = the
    connection broke.
    """
    backoff = min(BACKOFF_MOST_S, BACKOFF_S * 2.0 ** min(attempt - 1, 16))
    if status is None:
        return backoff
    debug = _debug(row or {})
    kind = debug.get("type")
    if status == 412 or kind == "OffsetInvalidError":
        return 0.0
    if status == 429 or status >= 500 or kind == "RequestRateLimitedError":
        lower = {key.lower(): value for key, value in (headers or {}).items()}
        wait = _asked_wait(lower, row or {})
        return backoff if wait is None else wait
    retriable = status >= 400 and status not in (401, 403) and debug.get("retriable") is True
    return backoff if retriable else None


def _refusal(answer: Answer) -> str:
    """What a service says is wrong, in one line; never what we sent."""
    for place in (_debug(answer.row), answer.row.get("error"), answer.row):
        for key in ("error_user_msg", "message"):  # the first is meant for people
            if isinstance(place, dict) and isinstance(place.get(key), str):
                return f"HTTP {answer.status}: {hushed(' '.join(place[key].split()))[:200]}"
    return f"HTTP {answer.status}"


def verdict(answer: Answer, attempt: int) -> Tuple[Optional[float], str]:
    """(seconds to the next try or None, what was wrong); raises NotAuthorized."""
    if answer.status in (401, 403) or _debug(answer.row).get("type") == "NotAuthorizedError":
        raise NotAuthorized(
            "not_authorized",
            "the service does not accept the access token",
            value=_refusal(answer),
            remedy="run authenticate with --force_overwrite, then the same command again",
        )
    if answer.status < 400:  # a hotel's network
        wrong = f"the answer is not that of the service: HTTP {answer.status}"
        return retry_delay(attempt, None), wrong
    return retry_delay(attempt, answer.status, answer.headers, answer.row), _refusal(answer)


# ---- Connections --------------------------------------------------------------------------------
# Here: the one place that opens sockets; proxies, pace, one try of one request, tries in a row.
# Not here: which requests a service knows, what an answer means.


def public(url: str) -> str:
    """An address without what may be secret in it: password and query."""
    return re.sub("//[^/?#]*@", "//", url.split("?")[0])


def is_address(text: str) -> bool:
    """Whether a text is an http or https address."""
    import urllib.parse

    try:
        parts = urllib.parse.urlsplit(text)
        port, _ = parts.port, (parts.hostname or "").encode("idna")  # these raise ValueError
    except ValueError:
        return False
    return bool(re.match(r"https?://[!-~]+\Z", text) and parts.hostname and port != 0)


def _proxy(parts: Any) -> Optional[Tuple[str, Dict[str, str]]]:
    """The system's proxy for a split url: (host and port, headers that log in, RFC 7617). Raises
    UploadError.
    """
    import base64
    import urllib.parse
    import urllib.request

    address = urllib.request.getproxies().get(parts.scheme)
    if not address or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    address = address if "//" in address else "http://" + address
    if not is_address(address):
        wrong, remedy = (
            f"the proxy for {parts.scheme} is no http address",
            f"set {parts.scheme.upper()}_PROXY",
        )
        raise UploadError("bad_proxy", wrong, value=address.rpartition("@")[2], remedy=remedy)
    proxy = urllib.parse.urlsplit(address)
    login = {}
    if proxy.username:
        pair = urllib.parse.unquote(f"{proxy.username}:{proxy.password or ''}").encode("utf-8")
        login = {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}
    return f"{proxy.hostname}:{proxy.port or 80}", login


class _InTime(io.RawIOBase):
    """A socket as http.client reads an answer from it, all within a time that grows with the bytes;
    raises OSError.
    """

    def __init__(self, sock: Any, seconds: float, most: int) -> None:
        super().__init__()
        self._sock, self._raw = sock, sock.makefile("rb", 0)
        self._due, self._left = time.monotonic() + seconds, most + FRAMING_BYTES

    def makefile(self, mode: str) -> Any:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        left = self._due - time.monotonic()
        if left <= 0:
            raise OSError("no whole answer in time")
        if self._left <= 0:
            raise OSError("the answer has no end")
        self._sock.settimeout(left)
        count: Optional[int] = self._raw.readinto(buffer)
        self._due += (count or 0) / SLOWEST
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Line:
    """A kept-alive connection of one thread to one host, perhaps through a proxy."""

    def __init__(self, parts: Any) -> None:
        import http.client

        self.origin = (parts.scheme, parts.netloc)
        host = parts.netloc.rpartition("@")[2]
        place, login = _proxy(parts) or (host, None)
        self.connection: Any = http.client.HTTPConnection(place, timeout=CONNECT_S)
        if parts.scheme == "https":
            import ssl

            context = ssl.create_default_context()
            self.connection = http.client.HTTPSConnection(place, timeout=CONNECT_S, context=context)
            if login is not None:
                self.connection.set_tunnel(host, headers=login)
        self.login = login if parts.scheme == "http" else None  # None = asked without a proxy

    def target(self, url: str) -> str:
        """What the line is asked for: a proxy wants the whole address."""
        place = self.origin[1]
        path = url[url.index(place) + len(place) :] or "/"
        return url if self.login is not None else path


class _Pace:
    """Lets bytes go at most so fast, and counts them."""

    def __init__(self, rate: Optional[float]) -> None:
        self.rate = rate  # bytes a second; None = no limit
        self.sent = 0  # bytes
        self._free_at = 0.0  # when the next byte may go
        self._guard = threading.Lock()

    def pause(self, count: int) -> float:
        """Seconds to wait before so many bytes may go."""
        if self.rate is None:
            return 0.0
        with self._guard:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + count / self.rate
            return start - now

    def add(self, count: int) -> None:
        """So many bytes went."""
        with self._guard:
            self.sent += count


def _response(connection: Any, seconds: float, most: int) -> Any:
    """The answer on a connection, which must be there in time."""
    import http.client

    def in_time(sock: Any, **more: Any) -> http.client.HTTPResponse:
        limited: Any = _InTime(sock, seconds, most)
        return http.client.HTTPResponse(limited, **more)

    connection.response_class = in_time
    return connection.getresponse()


def _import_all() -> None:
    """Have everything that the threads of a connection will need."""
    preload("base64", "email.utils", "http.client", "socket", "ssl", "urllib.request")
    import urllib.request

    urllib.request.getproxies()  # asks the registry of Windows
    "example.com".encode("idna")  # as a socket does with the name of a host


class Wire:
    """One try of one request at a time in each thread, until stop is set."""

    def __init__(self, limits: Limits) -> None:
        _import_all()
        self.stop = threading.Event()
        self.pace = _Pace(None if limits.max_rate is None else limits.max_rate * 1000.0)
        self._most = limits.answer_bytes
        self._local = threading.local()
        self._open: Dict[int, _Line] = {}  # by thread

    def _line(self, url: str) -> _Line:
        """This thread's line to the host of a url."""
        import urllib.parse

        parts = urllib.parse.urlsplit(url)
        line: Optional[_Line] = getattr(self._local, "line", None)
        if line is None or line.origin != (parts.scheme, parts.netloc):
            self.hang_up()
            line = self._local.line = self._open[threading.get_ident()] = _Line(parts)
        return line

    def hang_up(self) -> None:
        """Close this thread's line."""
        line: Optional[_Line] = getattr(self._local, "line", None)
        self._local.line = None
        self._open.pop(threading.get_ident(), None)
        if line is not None:
            line.connection.close()

    def abort(self) -> None:
        """End whatever the threads are waiting for."""
        import socket

        self.stop.set()
        for line in list(self._open.values()):
            if line.connection.sock is not None:
                with contextlib.suppress(OSError):
                    line.connection.sock.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> None:
        """Wait, unless the run ends: then raise Stopped."""
        if self.stop.wait(max(0.0, seconds)):
            raise Stopped()

    def request(self, request: Request) -> Answer:
        """One try of one request; raises Unreachable, or Cut when the connection was there and
        broke.
        """
        import http.client
        import ssl

        line = self._line(request.url)
        connection, broken = line.connection, Unreachable  # type: Any, Type[Exception]
        try:
            if connection.sock is None:
                connection.timeout = CONNECT_S
                connection.connect()
            broken = Cut
            connection.sock.settimeout(ANSWER_S)
            return self._exchange(line, request)
        except BaseException as error:
            self.hang_up()
            if broken is Unreachable and isinstance(error, ssl.SSLCertVerificationError):
                raise UploadError(
                    "bad_certificate",
                    "its certificate is not trusted",
                    file=public(request.url),
                    value=str(error.verify_message),
                    remedy="check the clock and the certificates of this computer",
                ) from error
            if isinstance(error, (OSError, http.client.HTTPException, ValueError, Cut)):
                # of an answer that is none nothing is told: there may be anything in it
                odd = isinstance(error, http.client.HTTPException)
                told = "" if odd else hushed(str(error))
                raise broken(told or type(error).__name__) from error
            raise

    def _exchange(self, line: _Line, request: Request) -> Answer:
        """Send a request and read its answer; an answer that comes before all is sent is taken as
        the answer.
        """
        connection = line.connection
        connection.putrequest(request.method, line.target(request.url), skip_accept_encoding=True)
        for name, value in dict(request.headers, **(line.login or {})).items():
            connection.putheader(name, value)
        if request.body is not None:
            connection.putheader("Content-Length", str(request.length))
        connection.endheaders()
        whole = self._send(connection, request.body or ())
        seconds = ANSWER_S + request.length / SLOWEST

        most = request.most or self._most or ANSWER_BYTES
        response = _response(connection, seconds, most)
        fields = {name.lower(): value for name, value in response.getheaders()}
        text = self._read(response, fields, most)
        if response.will_close or not whole or not response.isclosed():
            self.hang_up()
        row = parsed(text)
        return Answer(response.status, fields, text, row if isinstance(row, dict) else {})

    def _send(self, connection: Any, body: Iterable[bytes]) -> bool:
        """Send a body; returns whether all of it went: the service may have answered already and
        closed.
        """
        for piece in body:
            self.wait(self.pace.pause(len(piece)))
            try:
                connection.send(piece)
            except ConnectionError:
                return False
            self.pace.add(len(piece))
        return True

    def _read(self, response: Any, fields: Mapping[str, str], most: int) -> bytes:
        """The body of an answer, as far as it may be long; raises Cut when it breaks off."""
        size = response.length
        text: bytes = response.read(most if size is None else min(size, most))
        told = text or "content-length" in fields or response.chunked
        if len(text) < min(size or 0, most) or not told:
            raise Cut("the answer broke off")
        return text


class Server:
    """A Mapillary service, or one that speaks the same API v4: requests that are tried again."""

    def __init__(
        self,
        graph: str,
        upload: str,
        limits: Limits = Limits(),
        tell: Callable[[str], None] = LOG.warning,
    ) -> None:
        self.graph, self.upload = graph.rstrip("/"), upload.rstrip("/")
        self.limits, self.tell, self.wire = limits, tell, Wire(limits)
        self._lost_at: Optional[float] = None  # since when the service cannot be reached
        self._guard = threading.Lock()

    def request(self, request: Request) -> Answer:
        """One try of one request; raises Unreachable, or Cut when the connection was there and
        broke.
        """
        answer = self.wire.request(request)
        self._lost_at = None
        return answer

    def wait(self, seconds: float) -> None:
        """Wait, unless the run ends: then raise Stopped."""
        self.wire.wait(seconds)

    def _wait_for_service(self, reason: str, tries: int) -> None:
        """Wait while the service cannot be reached; raises UploadError after the offline limit."""
        now, limit = time.monotonic(), self.limits.offline_s
        with self._guard:
            first = self._lost_at is None
            since = self._lost_at = now if self._lost_at is None else self._lost_at
        if now - since >= limit:
            remedy = "check the network and run the same command again"
            raise UploadError(
                "unreachable",
                "cannot be reached",
                file=public(self.graph),
                value=reason,
                remedy=remedy,
            )
        if first:
            waiting = f"waiting for it, up to {limit / 60:g} minutes"
            self.tell(f"the service cannot be reached ({reason}); {waiting}")
        self.wait(min(retry_delay(tries, None) or 0.0, max(0.05, since + limit - now)))

    def repeated(
        self,
        url: str,
        send: Callable[[], Answer],
        good: Callable[[Dict[str, Any]], Any],
        got_further: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """The first answer whose JSON is good, after as many tries in a row without progress as
        there may be.
        """
        attempt = lost = 0
        while True:
            try:
                answer = send()
                if answer.status < 300 and good(answer.row):
                    return answer
                attempt += 1
                delay, reason = verdict(answer, attempt)
            except Unreachable as error:
                lost += 1
                self._wait_for_service(str(error), lost)
                continue
            except Cut as error:
                attempt += 1
                delay, reason = retry_delay(attempt, None), str(error)
            if delay is None or attempt >= self.limits.attempts:
                raise _given_up(url, reason, attempt, delay is not None)
            if delay > 60.0:
                self.tell(f"the service asks to wait {int(delay)} s ({reason})")
            LOG.debug("try %d failed (%s), next in %.1f s", attempt, reason, delay)
            self.wait(delay * (1 + random.random() / 4))
            attempt = 0 if got_further() else attempt

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        row: Optional[Dict[str, Any]] = None,
        good: Callable[[Dict[str, Any]], Any] = bool,
    ) -> Answer:
        """A small request, tried again until its JSON is good. Raises NotAuthorized, UploadError,
        Stopped.
        """
        request = Request(method, url, headers, most=ANSWER_BYTES)
        if row is not None:
            body, fields = json.dumps(row).encode("utf-8"), {"Content-Type": "application/json"}
            request = request._replace(headers={**fields, **headers}, body=[body], length=len(body))
        return self.repeated(url, lambda: self.request(request), good)


SEE_REASON = "see the reason"  # what to do where the service takes something never


def _given_up(url: str, reason: str, attempt: int, later: bool) -> UploadError:
    """The error for a request that was tried for the last time."""
    times = "" if attempt == 1 else f" ({attempt} tries)"
    remedy = "run the same command again later" if later else SEE_REASON
    wrong = "the service does not take it"
    return UploadError("refused", wrong, file=public(url), value=reason + times, remedy=remedy)


# ---- Service ------------------------------------------------------------------------------------
# Here: the requests of Mapillary's API v4, each as a function of plain values; which service it is.
# Not here: sockets, when to try again; what is sent, and when.


class Service(NamedTuple):
    """Where things are uploaded to."""

    name: str  # under which the journal keeps what it has
    graph: str
    upload: str
    rehearsal: bool  # a stand-in on this computer, which needs no account


def _root(variable: str, default: str) -> str:
    text = environment(variable) or default
    if not is_address(text):
        wrong = f"{variable} must be an http or https address"
        raise UsageError("bad_environment", wrong, value=text)
    return text


def graph_root() -> str:
    """Where the API is: MAPILLARY_GRAPH_API_ENDPOINT, else Mapillary's."""
    return _root("MAPILLARY_GRAPH_API_ENDPOINT", GRAPH_ROOT)


def service_name(graph: str) -> str:
    """The name under which the journal keeps what a service has: its host."""
    import urllib.parse

    return urllib.parse.urlsplit(graph).hostname or graph


def mapillary() -> Service:
    """The service that the environment names, else Mapillary's."""
    graph, upload = graph_root(), _root("MAPILLARY_UPLOAD_ENDPOINT", UPLOAD_ROOT)
    return Service(service_name(graph), graph, upload, False)


def number_of(variable: str, default: int) -> int:
    """A whole number of at least 1 that the environment may set; raises UsageError."""
    text = environment(variable) or str(default)
    if not re.match(r"[0-9]{1,6}\Z", text) or int(text) < 1:
        wrong = f"{variable} must be a whole number of at least 1"
        raise UsageError("bad_environment", wrong, value=text)
    return int(text)


def bearing_token(token: str) -> Dict[str, str]:
    """The headers of a request in somebody's name."""
    keep_secret(token)
    return {"Authorization": "OAuth " + token}


class Entity(NamedTuple):
    """Bytes that go up under a key."""

    key: str
    size: int
    parts: Callable[[int], Iterable[bytes]]  # those from an offset on


def _has_handle(row: Dict[str, Any]) -> bool:
    return isinstance(row.get("h"), str) and bool(row["h"].strip())


def put_entity(server: Server, entity: Entity, token: str, ask_first: bool) -> str:
    """Upload an entity; returns its handle.

    With ask_first, and after anything unclear, the service is asked where to go on, so no byte is
    accepted twice. Raises NotAuthorized, UploadError, Stopped, and what parts raises.
    """
    url, headers, size = f"{server.upload}/{entity.key}", bearing_token(token), entity.size
    most = offset = _offset(server, entity, headers) if ask_first else 0

    def send() -> Answer:
        fields = {"Offset": str(offset), "X-Entity-Name": entity.key}
        fields.update({"Content-Type": "application/octet-stream"}, **headers)
        return server.request(Request("POST", url, fields, entity.parts(offset), size - offset))

    def got_further() -> bool:
        nonlocal most, offset
        before, offset = most, _offset(server, entity, headers)
        most = max(before, offset)
        return offset > before

    answer = server.repeated(url, send, _has_handle, got_further)
    return str(answer.row["h"])


def _offset(server: Server, entity: Entity, headers: Mapping[str, str]) -> int:
    """How many bytes of an entity the service has; raises UploadError when those are more than
    there are.
    """

    def good(row: Dict[str, Any]) -> bool:
        return type(row.get("offset")) is int and row["offset"] >= 0

    answer = server.ask("GET", f"{server.upload}/{entity.key}", headers, good=good)
    offset = int(answer.row["offset"])
    if offset > entity.size:
        wrong, value = "the service has more bytes than the file", f"{offset} of {entity.size}"
        raise UploadError(
            "bad_offset",
            wrong,
            file=entity.key,
            value=value,
            remedy="run the same command again later",
        )
    return offset


MANIFEST_TYPE, VIDEO_TYPE = "mly_bundle_manifest", "mly_camm_video"  # what the service finishes


def finish_upload(
    server: Server, handle: str, kind: str, organization: Optional[str], token: str
) -> str:
    """Have the service finish a video, or what a manifest names; returns what it calls the result.
    Repeating it is harmless.
    """
    wish = {"file_handle": handle, "file_type": kind}
    if organization:
        wish["organization_id"] = organization
    url = server.graph + "/finish_upload"
    answer = server.ask("POST", url, bearing_token(token), wish, lambda row: row.get("cluster_id"))
    return str(answer.row["cluster_id"])


def check_organization(server: Server, key: str, token: str) -> None:
    """Raise UploadError when an organization does not exist, or we may not see it."""
    import urllib.parse

    name = urllib.parse.quote(key, safe="")
    url = f"{server.graph}/{name}?fields=slug,description,name"
    server.ask("GET", url, bearing_token(token), good=lambda row: _plain(row.get("slug")))


def _plain(value: object) -> str:
    """A name or a number from a service as one short line that can be stored; "" = it is none."""
    number = type(value) is int and value.bit_length() < 200
    text = str(value) if isinstance(value, str) or number else ""
    return "".join(one for one in text if one.isprintable())[:200].strip()


def who_am_i(server: Server, token: str) -> Tuple[Optional[str], Optional[str]]:
    """(user name, user key) of the owner of a token, None where the service does not say."""
    url = server.graph + "/me?fields=id,username"
    row = server.ask("GET", url, bearing_token(token), good=lambda row: _plain(row.get("id"))).row
    return _plain(row.get("username")) or None, _plain(row["id"])


def token_by_password(server: Server, client: str, email: str, password: str) -> str:
    """The access token of an account, "" where the answer has none."""
    keep_secret(email, password)
    wish = {"email": email, "password": password, "locale": "en_US"}
    row = server.ask("POST", server.graph + "/login", bearing_token(client), wish).row
    return str(row.get("access_token", ""))


class Shot(NamedTuple):
    """An image as the image search tells of it."""

    address: str  # of its picture in the size asked for; it expires
    lat: str  # "" where the answer does not say it as it should, as the next two
    lon: str
    time: str


class Search(NamedTuple):
    """One answer of the image search."""

    url: str  # the addresses in the answer expire, so it can be asked again
    shots: Dict[str, Shot]  # by id
    following: str  # address of the next page; "" = there is none


def _shot(row: Dict[str, Any], size: str) -> Shot:
    lat = lon = when = ""
    with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError):
        place = (row.get("computed_geometry") or row["geometry"])["coordinates"]
        if all(math.isfinite(part) for part in place[:2]):
            lon, lat = (f"{part:.7f}" for part in place[:2])
    with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError):
        when = format_time(row["captured_at"] / 1000.0)
    return Shot(str(row.get(size)), lat, lon, when)


def search_images(server: Server, url: str, token: str, size: str) -> Search:
    """The images that a search finds, with the address of the field that is named for
    their size.
    """
    request = Request("GET", url, bearing_token(token), most=SEARCH_BYTES)
    answer = server.repeated(
        url, lambda: server.request(request), lambda row: isinstance(row.get("data"), list)
    ).row
    rows, paging = answer.get("data") or [], answer.get("paging")
    good = [row for row in rows if isinstance(row, dict)]
    following = str(paging.get("next")) if isinstance(paging, dict) else ""
    return Search(url, {str(row.get("id")): _shot(row, size) for row in good}, following)


# ---- History ------------------------------------------------------------------------------------
# Here: what went from this computer to which service, by the picture, beside the configuration.
# Not here: sending; what the journal of a folder knows.


class History:
    """The arrivals at one service, of all folders and runs of this computer; only ever added to.

    Where it cannot be read or kept, that is said once, and there is none.
    """

    def __init__(self, service: str, tell: Callable[[str], None]) -> None:
        self.service, self._tell = service, tell
        self.path = os.path.join(os.path.dirname(config_path()), "history.jsonl")
        self._lost = not config_path()  # whether it cannot be read, which was said
        self._spots: Dict[bytes, int] = {}  # of earlier runs: picture -> where its line ends
        if self._lost:
            self._cannot(OSError(errno.ENOENT, "there is no home folder"))
            return
        try:
            with open_file(self.path) as stream:
                self._spots = _spots_in(stream, service)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._lost = True
            self._cannot(error)

    def _known(self, picture: str) -> Optional[Arrival]:
        """The line about a picture at this service; None where there is none."""
        with contextlib.suppress(OSError, *DAMAGED):
            spot = self._spots.get(picture.encode("ascii"))
            if spot is not None:
                with open_file(self.path) as stream:
                    one = _arrival_at(stream, spot)
                    return one if (one.picture, one.service) == (picture, self.service) else None
        return None

    def _cannot(self, error: OSError) -> None:
        cause = error.strerror or str(error)
        self._tell(
            f"the history of uploads, {self.path}, cannot be kept ({cause}): a card that is copied "
            "into two folders would go up twice"
        )

    def before(
        self,
        picture: str,
        path: str,
        picture_of: Callable[[str], Optional[str]],
    ) -> Optional[Arrival]:
        """How a photo that is found at a path arrived before this run; None where it did not, or
        where it is a twin, with the same picture and time, of one that is still beside it.
        picture_of tells what the file of a name in the same folder has now.
        """
        one = self._known(picture)
        if one is None or one.folder != real_folder(path):
            return one
        first = os.path.join(one.folder, one.image)
        with contextlib.suppress(OSError):
            if not os.path.samefile(first, path) and picture_of(one.image) == picture:
                return None
        return one

    def keep(self, photos: Iterable[Tuple[str, str]]) -> None:
        """Note photos (picture, path) that have arrived, in sequences that are finished; the
        journals of their folders are on disk by now.
        """
        at = format_time(time.time())
        rows = [
            Arrival(picture, self.service, real_folder(path), os.path.basename(path), at)
            for picture, path in photos
            if self._known(picture) is None
        ]
        if not rows or self._lost:
            return
        lines = b"".join(canonical(one._asdict()).encode("ascii") + b"\n" for one in rows)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            make_folder(os.path.dirname(self.path), 0o700)
            handle = patiently(lambda: os.open(self.path, flags, 0o600))
            with io.FileIO(handle, "a+b") as stream:
                if stream.seek(0, os.SEEK_END) and _torn(stream):
                    lines = b"\n" + lines
                write_all(stream, lines)
                flush_file(stream.fileno())
        except (OSError, ToolError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            self._cannot(cause if isinstance(cause, OSError) else OSError(str(error)))


_PICTURE_LETTERS = 16
_HISTORY_BLOCK = 1 << 22  # bytes read at a time
_LINE_BYTES = 1 << 16  # of a line at most


def _line_end(service: str) -> bytes:
    """How the lines of a history about a service end, behind the picture."""
    return b'","service":' + canonical(service).encode("ascii") + b"}"


def _spots_in(stream: BinaryIO, service: str) -> Dict[bytes, int]:
    """Where the lines of a history about one service end, by their pictures, without reading what
    else stands in them: a million in less than a second.
    """
    spots: Dict[bytes, int] = {}
    tail = _line_end(service)
    picture = slice(-len(tail) - _PICTURE_LETTERS, -len(tail))
    at, rest, more = 0, b"", True
    while more:
        block = stream.read(_HISTORY_BLOCK)
        more, block = bool(block), rest + block
        *lines, rest = block.split(b"\n")
        for line in lines if more else [*lines, rest]:
            at += len(line) + 1
            if line.endswith(tail):
                spots[line[picture]] = at - 1
    return spots


def _arrival_at(stream: BinaryIO, end: int) -> Arrival:
    """What the line that ends there says; raises one of DAMAGED."""
    start = max(0, end - _LINE_BYTES)
    stream.seek(start)
    return unpack_arrival(json.loads(stream.read(end - start).rpartition(b"\n")[2]))


def real_folder(path: str) -> str:
    """The folder of a file, behind links."""
    return behind_links(os.path.dirname(path))


def _torn(stream: io.FileIO) -> bool:
    """Whether the last line of a file was not written whole."""
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) != b"\n"


# ---- Parcels ------------------------------------------------------------------------------------
# Here: images and sequences on their way to a service: what there is to do, by the journal.
# Not here: sending, requests, sockets.


@dataclass(frozen=True)
class UploadOptions(Group):
    """upload"""

    word: ClassVar[str] = "options"
    manual_done: bool = opt(False, Rule("ask before sequences are finalized"))
    stand_in: Optional[str] = opt(
        None,
        Rule(
            "upload to a service on this computer that keeps what it receives there; needs no "
            "account",
            "FOLDER",
        ),
    )
    retry_failed: Optional[str] = opt(
        None,
        Rule(
            "send images again that failed before (default: ask on a terminal, else yes)",
            choices=("yes", "no", "ask"),
        ),
    )
    max_rate: Optional[float] = opt(
        None, Rule("upload at most so fast (default: no limit)", "KB/S", advanced=True, above=0)
    )
    reupload: bool = opt(
        False,
        rare(
            "send again what was sent with another time or position, or from another folder",
        ),
    )
    accept_failed: bool = opt(
        False, Rule("send and finish sequences without their images that failed")
    )


@dataclass(frozen=True)
class Whose(Group):
    """whose account"""

    word: ClassVar[str] = "whose"
    user_name: Optional[str] = opt(
        None, Rule("refuse images that were processed for another user name", "NAME")
    )


# How far a parcel is.
DUE, THERE, SENT, FAILED, LEFT = "due", "there before", "sent", "failed", "failed before"
OUTDATED, ELSEWHERE = "there with another time or position", "there from another folder"
GONE = "there, and no longer in its folder"
ARRIVED = (THERE, OUTDATED, SENT, GONE)  # in the sequence that it is in here


class Goods(NamedTuple):
    """An image, or a video, that is to be sent."""

    path: str
    found: Found
    place: Place  # its folder
    fix: Optional[Fix] = None  # its time, by which its sequence is ordered, and position
    clip: Optional[Clip] = None  # of a video, its places left out; None = an image
    size: Optional[int] = None  # bytes of an image's file as the journal has it


@dataclass
class Parcel:
    """One image, or video, on its way."""

    goods: Goods
    state: str = DUE  # of those above
    handle: str = ""  # what the service gave for it
    problem: Optional[Problem] = None  # why it failed; of one that is due: in an earlier run
    arrival: Optional[Arrival] = None  # how the service got it from another folder
    finished: bool = False  # whether it is part of another sequence that is finished

    @property
    def path(self) -> str:
        """Where it is."""
        return self.goods.path

    @property
    def found(self) -> Found:
        """What it carried."""
        return self.goods.found

    @property
    def place(self) -> Place:
        """Its folder."""
        return self.goods.place

    @property
    def fix(self) -> Optional[Fix]:
        """Its time and position, as far as they are known; a video has several."""
        return self.goods.fix

    @property
    def clip(self) -> Optional[Clip]:
        """What is known of a video; None = it is an image."""
        return self.goods.clip

    @property
    def name(self) -> str:
        """The file name."""
        return os.path.basename(self.path)

    @property
    def photo(self) -> str:
        """The id of the photo, or of the video."""
        return photo_id(self.name, self.found) if self.clip is None else self.clip.id

    @property
    def where(self) -> Optional[str]:
        """What stands for its time and position; None = not known."""
        if self.clip is not None:
            return self.clip.track
        return None if self.fix is None else fix_id(self.fix)

    @property
    def outcome(self) -> Optional[Outcome]:
        """What came of it; None = sent in this run."""
        if self.state == SENT:
            return None
        if self.state in (FAILED, LEFT) and self.problem is not None:
            return Outcome("failed", self.problem.code, self.problem)
        there = self.state in (THERE, OUTDATED, ELSEWHERE, GONE)
        return Outcome("skipped", SKIP_UPLOADED if there else SKIP_LEFT)


OPEN, HELD, FINISHED = "open", "held", "finished"  # held: complete, and waits for somebody's word


@dataclass
class Batch:
    """One sequence on its way; its counts are those of its parcels."""

    identity: str
    place: Place  # the folder of its first image
    user: Optional[str]
    organization: Optional[str]
    parcels: List[Parcel] = dataclasses.field(default_factory=list)
    stage: str = OPEN  # or HELD, FINISHED
    lenient: bool = False  # whether it is complete without those that failed
    problem: Optional[Problem] = None  # why it could not be finished

    @property
    def is_video(self) -> bool:
        """Whether it is one video, and no images."""
        return any(parcel.clip for parcel in self.parcels)

    @property
    def complete(self) -> bool:
        """Whether all of its images are at the service, those apart that may be missing."""
        good = (*ARRIVED, ELSEWHERE) + ((FAILED, LEFT) if self.lenient else ())
        return all(parcel.state in good for parcel in self.parcels)

    @property
    def waiting(self) -> bool:
        """Whether images of it are still to be sent in this run."""
        return any(parcel.state == DUE for parcel in self.parcels)

    def name_of(self, parcel: Parcel) -> str:
        """What an image of it is called in its manifest."""
        return name_from(self.place.folder, parcel.place.folder, parcel.name)

    def left(self, manifest: Optional[Manifest]) -> List[Parcel]:
        """The images at the service that a manifest does not name."""
        there = set(manifest.images if manifest else ())
        mine = [one for one in self.parcels if one.state in ARRIVED and not one.finished]
        return [parcel for parcel in mine if self.name_of(parcel) not in there]

    def open_by(self, manifest: Optional[Manifest]) -> bool:
        """Whether the service has not finished it yet, by what is known of it there."""
        if self.waiting or self.left(manifest):
            return True
        if manifest is not None:
            return manifest.cluster is None
        return any(one.state != ELSEWHERE and not one.finished for one in self.parcels)


class Shipment:
    """What an upload has to do: sequences with their images, and the outcome of every image that is
    in none.
    """

    def __init__(self, history: History, options: Options) -> None:
        self.history = history
        self.tops, self.asked = options[Input].folders, options[UploadOptions]
        self.config = Configuration()
        self.areas = areas_of(options, self.config)
        self.batches: Dict[Tuple[str, str], Batch] = {}
        self.outcomes: Dict[str, Outcome] = {}  # path -> why it is not sent
        self.places: Mapping[str, Place] = {}  # all folders of the run

    @property
    def service(self) -> str:
        """The service that the images are for."""
        return self.history.service

    @property
    def parcels(self) -> Iterator[Parcel]:
        """The images of all sequences."""
        return (parcel for batch in self.batches.values() for parcel in batch.parcels)

    def add_place(self, place: Place, names: Sequence[str]) -> None:
        """Sort the images of a folder into sequences, or note why they are not sent."""
        was_uploaded = old_uploads(place.folder, top_of(place.folder, self.tops))
        for name, image in zip(names, place.journal.images(names)):
            path = os.path.join(place.folder, name)
            if not is_jpeg_name(name):
                self.outcomes[path] = Outcome("skipped", SKIP_KIND)
            elif was_uploaded(name):
                self.outcomes[path] = Outcome("skipped", SKIP_UPLOADED)
            else:
                outcome = self._take(place, path, image)
                if outcome is not None:
                    self.outcomes[path] = outcome
        self._add_gone(place, names)
        for batch in self.batches.values():
            if batch.parcels[-1].place is place:  # in natural order, which sort keeps among equals
                batch.parcels.sort(key=lambda parcel: parcel.fix.time if parcel.fix else 0.0)

    def _add_gone(self, place: Place, names: Sequence[str]) -> None:
        """Add the images that are at the service and no longer in their folder, to those of their
        sequences that are finished with them.
        """
        here = set(map(name_key, names))
        sent = [one for one in place.journal.all_sent() if name_key(one.image) not in here]
        gone = [one for one in sent if (one.service, one.status) == (self.service, "sent")]
        for one, image in zip(gone, place.journal.images([one.image for one in gone])):
            if image is None or image.found is None or not image.sequence:
                continue
            if image.outcome is not None or self._left_out(image) is not None:
                continue
            home = self._home_of(image, place)
            batch = self.batches.get((home.folder, image.sequence)) if home else None
            if batch is not None and one.photo == photo_id(one.image, image.found):
                path = os.path.join(place.folder, one.image)
                goods = Goods(path, image.found, place, image.fix)
                parcel = Parcel(goods, GONE, one.handle or "")
                parcel.finished = self._is_finished(batch, parcel)
                batch.parcels.append(parcel)

    def _is_finished(self, batch: Batch, parcel: Parcel) -> bool:
        """Whether an image is in a finished sequence, and that is another one than its own."""
        for home in parcel.place.line:
            name = name_from(home.folder, parcel.place.folder, parcel.name)
            if home.finished_in(self.service).get(name, set()) - {batch.identity}:
                return True
        return False

    def add_video(self, path: str, clip: Clip) -> None:
        """Add a video of a folder that is open, or note why it is not sent."""
        outcome = clip.outcome(path)
        if outcome is None and passes_through(self.areas, clip.places):
            outcome = Outcome("failed", THROUGH_AREA.code, THROUGH_AREA._replace(file=path))
        if outcome is not None:
            self.outcomes[path] = outcome
            return
        place = self.places[os.path.dirname(path)]
        found = Found(digest=clip.digest, size=clip.size, mtime=clip.mtime)
        goods = Goods(path, found, place, clip=clip._replace(places=()))
        self._sort_in(Batch(clip.id, place, clip.user, clip.organization), Parcel(goods))

    def _left_out(self, image: Image) -> Optional[Outcome]:
        """Why an image is not to be sent however far it has come; None = nothing forbids it."""
        if image.is_left_out or image.is_excluded:
            return image.outcome
        return Outcome("skipped", SKIP_EXCLUDED) if is_excluded(self.areas, image.fix) else None

    def _take(self, place: Place, path: str, image: Optional[Image]) -> Optional[Outcome]:
        """Put an image into its sequence; gives the outcome of one that is not to be sent."""
        left_out = self._left_out(image) if image is not None else None
        if left_out is not None:
            return left_out
        if image is None or not any(map(image.taken, STEPS)):
            return self._take_described(place, path, image)
        if image.outcome is not None:
            return image.outcome
        if image.described is None or image.geotag is None or not image.sequence:
            return _not_processed(path)
        user = image.uploader or Uploader()
        name = (image.terms or Terms()).user_name or user.user_name
        home = self._home_of(image, place)
        if home is None:
            if is_uploaded(place.journal, self.service, image.path.name, image.found):
                return Outcome("skipped", SKIP_UPLOADED)
            span = image.span_from(place.folder)
            return _in_parts(path, [one for one in span if one not in self.places])
        batch = Batch(image.sequence, home, name, user.organization_key)
        found, known = self._found_now(path, image), image.found or NOTHING_FOUND
        goods = Goods(path, found, place, image.fix, size=known.size)
        self._sort_in(batch, Parcel(goods))
        return None

    def _home_of(self, image: Image, place: Place) -> Optional[Place]:
        """The folder where the sequence of an image begins; None where that, or another of its
        folders that is still there, is not part of the run.
        """
        span = image.span_from(place.folder)
        there = [one for one in span if one not in self.places and os.path.isdir(one)]
        return None if there else self.places.get(span[0])

    def _found_now(self, path: str, image: Image) -> Found:
        """What a photo carried, as the journal knows it, or as its file says if that has changed;
        what is wrong with it is said when it is sent.
        """
        found = image.found or NOTHING_FOUND
        with contextlib.suppress(OSError):
            status = os.stat(path)
            if is_same_file(image, status):
                return found
            try:
                return as_read(Path(path), image, read_found(path), self.config).found or found
            except ToolError:
                return found._replace(size=status.st_size)
        return found

    def _take_described(self, place: Place, path: str, image: Optional[Image]) -> Optional[Outcome]:
        """The same for an image that only its own description tells of, or that was restored."""
        if image is not None and image.problem is not None:
            return image.outcome
        before = image.found if image is not None else None
        if before and is_uploaded(place.journal, self.service, os.path.basename(path), before):
            return Outcome("skipped", SKIP_UPLOADED)
        try:
            found = read_found(path)
        except ToolError as error:
            return Outcome("failed", error.problem.code, error.problem)
        own = own_description(found)
        if own is None:
            return _not_processed(path)
        if is_excluded(self.areas, image_of(path, found).fix):
            return Outcome("skipped", SKIP_EXCLUDED)
        folder = os.path.basename(place.folder).encode("utf-8", "replace")
        batch = Batch(own.sequence or uuid_of(folder), place, own.user, own.organization)
        self._sort_in(batch, Parcel(Goods(path, found, place, size=found.size)))
        return None

    def _sort_in(self, batch: Batch, parcel: Parcel) -> None:
        """Add an image to its sequence, new or known, with its handle when it has
        arrived before.
        """
        batch.lenient = self.asked.accept_failed
        batch = self.batches.setdefault((batch.place.folder, batch.identity), batch)
        batch.parcels.append(parcel)
        sent = parcel.place.journal.sent(self.service, parcel.name)
        if sent is None or sent.photo not in (None, parcel.photo):
            return  # nothing yet, or another photo that had the same name
        if sent.arrived and (sent.fix != parcel.where or not _is_other_content(parcel)):
            self._there(parcel, sent)
            parcel.finished = parcel.state in ARRIVED and self._is_finished(batch, parcel)
        elif sent.problem is not None:
            parcel.problem = sent.problem._replace(file=parcel.path)

    def _there(self, parcel: Parcel, sent: Sent) -> None:
        """Note that an image has arrived before, unless it is to be sent again."""
        state = THERE
        if sent.status == "elsewhere":
            state = ELSEWHERE
        elif sent.fix and sent.fix != parcel.where:
            state = OUTDATED
        if state != THERE and self.asked.reupload:
            return
        parcel.state, parcel.handle = state, sent.handle or ""

    def keep_history(self) -> None:
        """Note the images of sequences that the service has finished, for other folders with the
        same photos; those of an unfinished one are not at home there yet.
        """
        photos = []
        unfinished = {id(batch) for batch in self.open_batches()}
        for batch in self.batches.values():
            for parcel in batch.parcels if id(batch) not in unfinished else ():
                sent = parcel.place.journal.sent(self.service, parcel.name)
                if parcel.state in ARRIVED and sent is not None and sent.picture:
                    photos.append((sent.picture, parcel.path))
        self.history.keep(photos)

    @property
    def noun(self) -> str:
        """What its parcels are."""
        kinds = {"image" if parcel.clip is None else "video" for parcel in self.parcels}
        return "file" if len(kinds) > 1 else next(iter(kinds), "image")

    def outdated(self) -> int:
        """How many images the service has with another time or position."""
        return sum(parcel.state == OUTDATED for parcel in self.parcels)

    def failed_before(self) -> List[Parcel]:
        """The images that could not be sent in an earlier run."""
        return [parcel for parcel in self.parcels if parcel.state == DUE and parcel.problem]

    def jobs(self) -> List[Tuple[Batch, Parcel]]:
        """The images to send, a sequence after the other."""
        pairs = [(batch, parcel) for batch in self.batches.values() for parcel in batch.parcels]
        return [(batch, parcel) for batch, parcel in pairs if parcel.state == DUE]

    def open_batches(self) -> List[Batch]:
        """The sequences that the service has not finished yet."""
        found = []
        for batch in self.batches.values():
            if batch.open_by(batch.place.journal.manifest(self.service, batch.identity)):
                found.append(batch)
        return found

    def outcome(self, path: str, known: Mapping[str, Parcel], dry: bool) -> Optional[Outcome]:
        """What came of an image; None = sent, or with dry: would be."""
        parcel = known.get(path)
        if parcel is None:
            return self.outcomes.get(path, Outcome("skipped", SKIP_LEFT))
        return None if dry and parcel.state == DUE else parcel.outcome


def hashed_of(name: str, status: os.stat_result, track: str) -> Hashed:
    """What the md5 of a video is known for, without it."""
    return Hashed(name, *stamp_by(status), track, "", changed_at(status))


def _is_other_content(parcel: Parcel) -> bool:
    """Whether a video may be another one than that whose md5 is known, though it looks the same."""
    if parcel.clip is None:
        return False
    known, status = parcel.place.journal.hashed(parcel.name), None
    with contextlib.suppress(OSError):
        status = os.stat(parcel.path)
    if known is None or status is None:
        return True
    return known._replace(md5="") != hashed_of(parcel.name, status, known.track)


def _in_parts(path: str, folders: Sequence[str]) -> Outcome:
    """The outcome of an image whose sequence runs through folders that are not part of the run."""
    problem = Problem(
        "apart",
        "is of a sequence that runs through folders that are not part of this run",
        file=path,
        value=", ".join(map(os.path.basename, folders)),
        remedy="give the folder above them as --import_path, or process again",
    )
    return Outcome("failed", problem.code, problem)


def _not_processed(path: str) -> Outcome:
    problem = Problem(
        "not_processed", "has not been processed", file=path, remedy="run process first"
    )
    return Outcome("failed", problem.code, problem)


# ---- Outgoing -----------------------------------------------------------------------------------
# Here: the bytes of an image or a video as they go out.
# Not here: requests; what is sent when.


class Ready(NamedTuple):
    """The bytes of one image or video as they go out."""

    path: str  # the file that the rest comes from
    head: bytes  # what goes out first
    spans: Sequence[Tuple[int, int]]  # (start, end) of the file, which follow it
    md5: str  # of all of them
    stamp: Tuple[int, int]  # size and time in ns of the file, to notice a change
    picture: str  # stands for the pictures, which no description changes; of a video, the md5
    ending: str = "jpg"  # of its key

    @property
    def size(self) -> int:
        """Bytes in all."""
        return Stream(self.head, self.spans).size

    @property
    def key(self) -> str:
        """Under which the service gets it."""
        return f"mly_tools_{self.md5}.{self.ending}"


def digest_of(stream: BinaryIO, path: str, head: bytes = b"", start: int = 0) -> Ready:
    """What goes out of an open file: head, then the file from start on, where its scan begins if
    it is a JPEG with a head of its own. Raises OSError.
    """
    status = os.fstat(stream.fileno())
    end = end_of_scan(stream, start) if start else None
    digest, picture, at = hashlib.md5(head), hashlib.sha256(), start
    stream.seek(start)
    for piece in iter(lambda: stream.read(COPY_BYTES), b""):
        digest.update(piece)
        if start:
            picture.update(piece if end is None else piece[: max(0, end - at)])
        at += len(piece)
    stamp = status.st_size, status.st_mtime_ns
    return Ready(path, head, [(start, at)], digest.hexdigest(), stamp, picture.hexdigest())


def ready_image(place: Place, name: str, config: Configuration) -> Ready:
    """The bytes of an image with its description, from the copy if there is one. Raises BadExif,
    UploadError.

    The description is that of the journal; a file that has another one is not touched, the bytes
    sent are.
    """
    path, image = os.path.join(place.folder, name), place.journal.image(name)
    try:
        if image is None or image.described is None:
            return _sent_as_is(path)
        if not is_same_file(image, os.stat(path)):
            if as_read(Path(path), image, read_found(path), config).described is None:
                raise _was_changed(path, "since it was processed")
        copy = place.journal.copy_path(name)
        source = copy if image.described.into == "copy" and os.path.isfile(copy) else path
        secret = config.secret() if image.described.master else None
        with open_file(source) as stream:
            new = edited(stream, source, edits_of(image, secret))
            return digest_of(stream, source, new.head, new.start)
    except OSError as error:
        raise _vanished(path, error) from error


def picture_at(place: Place, name: str, config: Configuration) -> Optional[str]:
    """What stands for the picture of an image as it is now; None where it cannot be read."""
    path = os.path.join(place.folder, name)
    with contextlib.suppress(OSError, ToolError):
        image, found = place.journal.image(name), read_found(path)
        if image is not None:
            found = as_read(Path(path), image, found, config).found or found
        return picture_id(_sent_as_is(path).picture, found)
    return None


def _sent_as_is(path: str) -> Ready:
    """The bytes of an image without a change; raises BadExif, OSError."""
    with open_file(path) as stream:
        head = read_head(stream, path).data
        return digest_of(stream, path, head, len(head))


def _vanished(path: str, error: OSError) -> UploadError:
    cause, remedy = error.strerror or str(error), "put it back and run the same command again"
    return UploadError("vanished", "cannot be read any more", file=path, value=cause, remedy=remedy)


def ready_video(place: Place, name: str, keep_on: Callable[[], None]) -> Ready:
    """The bytes of a video with its places, by the journal. Its md5 is found once, and then known
    by the journal; keep_on is called meanwhile, and may raise. Raises ToolError.
    """
    path, clip = os.path.join(place.folder, name), place.journal.clip(name)
    if clip is None:
        raise _was_changed(path, "since it was processed")
    try:
        with open_file(path) as handle:
            status = os.fstat(handle.fileno())
            movie = Source(handle, Path(path))
            stream = video_stream(movie, clip.sent, clip.make, clip.model)
    except OSError as error:
        raise _vanished(path, error) from error
    stamp = status.st_size, status.st_mtime_ns
    ready = Ready(path, stream.head, stream.spans, "", stamp, "", "mp4")
    now = hashed_of(name, status, clip.track)
    known = place.journal.hashed(name)
    if known is None or not known.md5 or known._replace(md5="") != now:
        digest = hashlib.md5()
        for piece in pieces_of(ready, 0, COPY_BYTES):
            digest.update(piece)
            keep_on()
        known = now._replace(md5=digest.hexdigest())
        place.journal.append([known])
    return ready._replace(md5=known.md5, picture=known.md5)


def _was_changed(path: str, when: str) -> UploadError:
    remedy = "run the same command again" if when == _MEANWHILE else "run process again"
    return UploadError("changed", f"was changed {when}", file=path, remedy=remedy)


_MEANWHILE = "while it was sent"


def pieces_of(ready: Ready, offset: int, most: int = SEND_BYTES) -> Iterator[bytes]:
    """The bytes to send from an offset on, so many at a time; raises UploadError when the file
    changes meanwhile.
    """
    head = ready.head[offset:]
    for start in range(0, len(head), most):
        yield head[start : start + most]
    try:
        with open_file(ready.path) as stream:
            skip = max(0, offset - len(ready.head))
            for piece in _cut_out(stream, ready.spans, skip, most):
                status = os.fstat(stream.fileno())
                if not piece or (status.st_size, status.st_mtime_ns) != ready.stamp:
                    raise _was_changed(ready.path, _MEANWHILE)
                yield piece
    except OSError as error:
        raise _vanished(ready.path, error) from error


def _cut_out(
    stream: BinaryIO, spans: Sequence[Tuple[int, int]], skip: int, most: int
) -> Iterator[bytes]:
    """The bytes of some stretches of a file, but for the first ones, so many at a time at most, and
    few only at the end; nothing where the file ends before they do.
    """
    parts: List[bytes] = []
    gathered = 0
    for start, end in spans:
        at, skip = start + skip, max(0, skip - (end - start))
        if at >= end:
            continue
        stream.seek(at)
        while at < end:
            piece = stream.read(min(most - gathered, end - at))
            if not piece:
                yield b""
                return
            parts.append(piece)
            at, gathered = at + len(piece), gathered + len(piece)
            if gathered >= min(most, SEND_BYTES):
                yield b"".join(parts)
                parts, gathered = [], 0
    if parts:
        yield b"".join(parts)


# ---- Crew ---------------------------------------------------------------------------------------
# Here: the threads of an upload, and the tokens by which they send.
# Not here: what they send.


class Crew:
    """Threads that end together: what ends the run sets stop, a bug is kept for the main thread."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.stopped: Optional[ToolError] = None  # why the run ended before its time
        self.guard = threading.Lock()
        self._crash: Optional[BaseException] = None

    def run(self, tasks: Iterator[Callable[[], None]], threads: int) -> None:
        """Do tasks in threads until there are none left or the run is to end."""
        workers = [
            threading.Thread(target=self._work, args=(tasks,), daemon=True) for _ in range(threads)
        ]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                while worker.is_alive():
                    worker.join(0.2)  # short, so that Ctrl-C comes through on every system
        except BaseException:
            self.wire.abort()
            raise
        finally:
            self.wire.stop.set()
            deadline = time.monotonic() + 2.0
            for worker in workers:
                if worker.ident is not None:  # it was started
                    worker.join(max(0.0, deadline - time.monotonic()))
        self.raise_crash()

    def raise_crash(self) -> None:
        """Raise the bug that a thread met."""
        if self._crash is not None:
            raise self._crash

    def _work(self, tasks: Iterator[Callable[[], None]]) -> None:
        try:
            while not self.wire.stop.is_set():
                with self.guard:
                    task = next(tasks, None)
                if task is None:
                    return
                self.guarded(task)
        finally:
            self.wire.hang_up()

    def guarded(self, task: Callable[[], None]) -> None:
        """Do one thing; an error that gets here ends the run."""
        try:
            task()
        except Stopped:
            pass
        except ToolError as error:
            self.end(error)
        except BaseException as error:  # a bug: it must reach the person
            self._crash = error
            self.wire.stop.set()

    def end(self, error: ToolError) -> None:
        """End the run for a reason."""
        with self.guard:
            self.stopped = self.stopped or error
        self.wire.stop.set()


def check_owner(owner: Optional[str], name: str) -> None:
    """Raise NotAuthorized for a token that is of another account than the one named."""
    if owner is not None and owner.casefold() != name.casefold():
        wrong = f"this token belongs to {owner}, not to {name}"
        remedy = f"authenticate --user_name {owner}, or give the token of {name}"
        raise NotAuthorized("other_account", wrong, remedy=remedy)


class Tokens:
    """The access tokens of a run; whose each is, the service is asked once, before it is used."""

    def __init__(self, server: Server) -> None:
        self.known: Dict[Optional[str], str] = {}  # user -> access token
        self._server, self._guard = server, threading.Lock()
        self._answers: Dict[str, Optional[NotAuthorized]] = {}  # user -> what is wrong

    def add(self, user: Optional[str], token: str, believed: bool) -> None:
        """Know the token of a user; believed: without asking whose it is."""
        self.known[user] = token
        if believed and user is not None:
            self._answers[user] = None

    def of(self, user: Optional[str]) -> str:
        """The token of a user; raises NotAuthorized for one of another account. A service that does
        not say whose it is, is believed.
        """
        token = self.known[user]
        if user is None:
            return token
        with self._guard:
            if user not in self._answers:
                self._answers[user] = self._asked(user, token)
            wrong = self._answers[user]
        if wrong is not None:
            raise wrong
        return token

    def _asked(self, user: str, token: str) -> Optional[NotAuthorized]:
        try:
            check_owner(who_am_i(self._server, token)[0], user)
        except NotAuthorized as error:
            return error
        except UploadError as error:
            LOG.debug("whose token it is, is not known: %s", error)
        return None


# ---- Upload -------------------------------------------------------------------------------------
# Here: images and videos are sent by a crew, and what is sent is journaled.
# Not here: which images are ready, requests, sockets.

FLUSH_S = 2.0  # seconds after which the journal of an upload is flushed
SHOW_S = 0.5  # seconds after which it is shown how far a file is
VIDEO_PIECE = 1 << 20  # bytes of a video sent at a time
ENDS_RUN = (  # errors that would be the same for every image
    "unreachable",
    "bad_certificate",
    "bad_proxy",
)


def _ends_run(error: ToolError) -> bool:
    ending = isinstance(error, (NotAuthorized, BadJournal, CannotWrite))
    return ending or error.problem.code in ENDS_RUN


class Sender:
    """Sends images in the order of their sequences; everything acknowledged is journaled."""

    def __init__(self, shipment: Shipment, server: Server, hold: bool, ui: Ui) -> None:
        self.shipment, self.server, self.ui = shipment, server, ui
        self.crew = Crew(server.wire)
        self.hold = hold  # whether complete sequences are left open
        self.tokens = Tokens(server)
        self._turns = _Turns()
        self._pulse = _Pulse()

    def run(self, jobs: Sequence[Tuple[Batch, Parcel]], threads: int) -> None:
        """Send images, and finish each sequence after its last, or hold it."""
        batches = self.shipment.open_batches()
        complete = [batch for batch in batches if batch.complete]
        self._pulse.total = len(jobs)
        copies = {id(parcel): (batch, parcel) for batch, parcel in self._copies()}
        first = [job for job in jobs if id(job[1]) not in copies]
        sending = (functools.partial(self.send, *job) for job in first)
        finishing = (functools.partial(self.try_finish, batch) for batch in reversed(complete))
        count = max(1, min(threads, len(jobs) + len(complete)))
        self._know_arrived()
        try:
            self.crew.run(itertools.chain(sending, finishing), count)
            self._send_copies([job for job in jobs if id(job[1]) in copies])
        finally:
            self.server.wire.stop.set()
            self._flush()

    def _flush(self) -> None:
        """Have all that has arrived on disk."""
        places = {id(parcel.place): parcel.place for parcel in self.shipment.parcels}
        for place in places.values():
            place.journal.flush()

    def finish_held(self) -> None:
        """Finish the sequences that a run with hold left open."""
        self.server.wire.stop.clear()
        self.hold = False
        for batch in self.held:
            batch.stage = OPEN
            self.crew.guarded(functools.partial(self.try_finish, batch))
        self.server.wire.hang_up()
        self.crew.raise_crash()

    @property
    def held(self) -> List[Batch]:
        """The sequences that could be finished now."""
        return [batch for batch in self.shipment.batches.values() if batch.stage == HELD]

    def send(self, batch: Batch, parcel: Parcel) -> None:
        """Send one image and journal it; one that cannot be sent is recorded, and its sequence
        stays open.
        """
        service, journal = self.shipment.service, parcel.place.journal
        key: Optional[str] = None
        try:
            ready = self._ready(parcel)
            key = ready.key
            before = journal.sent(service, parcel.name)
            begun = before is not None and not before.arrived and before.key == key
            line = self._line_of(parcel, ready)
            if self._needs_nothing(batch, parcel, line, begun):
                return
            with self._turns.take(key) as again:
                self.server.wait(0.0)
                journal.append([line], flush=False)
                entity = Entity(key, ready.size, functools.partial(self._pieces, ready))
                token = self.tokens.of(batch.user)
                handle = put_entity(self.server, entity, token, begun or again)
        except ToolError as error:
            if _ends_run(error):
                raise
            self._settle(batch, parcel, self._failed_line(parcel, key, error.problem))
        else:
            self._settle(batch, parcel, line._replace(status="sent", handle=handle))

    def _failed_line(self, parcel: Parcel, key: Optional[str], problem: Problem) -> Sent:
        """The line of an image that could not be sent. A part of it may have arrived: with the key
        the next run asks for the offset.
        """
        if parcel.clip is not None and problem.remedy == SEE_REASON:
            unknown = Hashed(parcel.name, -1, -1, "", "")  # its md5 is to be found again
            parcel.place.journal.append([unknown])
        failed_now = Sent(parcel.name, self.shipment.service, "failed", None, key)
        return failed_now._replace(problem=problem._replace(file=parcel.path))

    def _needs_nothing(self, batch: Batch, parcel: Parcel, line: Sent, begun: bool) -> bool:
        """Whether an image is not to be sent: it is there, or goes from elsewhere. One that was
        begun goes on, and others wait for it.
        """
        if begun:
            with self.crew.guard:
                self._turns.first_of(_Told(batch, parcel, line))
            return False
        return self._is_there(batch, parcel, line) or self._is_elsewhere(batch, parcel, line)

    def _ready(self, parcel: Parcel) -> Ready:
        """The bytes of an image or a video as they go out."""
        if parcel.clip is None:
            return ready_image(parcel.place, parcel.name, self.shipment.config)
        return ready_video(parcel.place, parcel.name, lambda: self.server.wait(0.0))

    def _pieces(self, ready: Ready, offset: int) -> Iterator[bytes]:
        """The bytes to send from an offset on; how far they are is shown."""
        small = ready.ending == "jpg" or self.shipment.asked.max_rate is not None
        for piece in pieces_of(ready, offset, SEND_BYTES if small else VIDEO_PIECE):
            yield piece
            if self._pulse.shows():
                sent = self.server.wire.pace.sent
                self.ui.progress("uploading", self._pulse.settled, self._pulse.total, sent)

    def _line_of(self, parcel: Parcel, ready: Ready) -> Sent:
        """The line of an image that is about to be sent."""
        picture = picture_id(ready.picture, parcel.found)
        service, photo = self.shipment.service, parcel.photo
        line = Sent(parcel.name, service, "started", photo, ready.key, size=parcel.goods.size)
        return line._replace(picture=picture, fix=parcel.where)

    def _is_there(self, batch: Batch, parcel: Parcel, line: Sent) -> bool:
        """Whether a video that had to be looked at again is the one that arrived before."""
        before = parcel.place.journal.sent(self.shipment.service, parcel.name)
        if before is None or parcel.clip is None:
            return False
        if (before.status, before.key) != ("sent", line.key):
            return False
        self._settle(batch, parcel, before)
        return True

    def _came_before(self, parcel: Parcel, picture: str) -> bool:
        """Whether a photo came to the service from elsewhere."""
        sent = parcel.place.journal.sent(self.shipment.service, parcel.name)
        if parcel.clip is not None and sent is not None and sent.status == "sent":
            return False  # its content is another now
        config, history = self.shipment.config, self.shipment.history
        parcel.arrival = history.before(
            picture, parcel.path, lambda name: picture_at(parcel.place, name, config)
        )
        return parcel.arrival is not None

    def _is_elsewhere(self, batch: Batch, parcel: Parcel, line: Sent) -> bool:
        """Whether the same photo went to the service before, which is noted, or goes from another
        folder of this run, which will be when its sequence is finished.
        """
        if self.shipment.asked.reupload:
            return False
        if not self._came_before(parcel, line.picture or ""):
            told = _Told(batch, parcel, line)
            with self.crew.guard:
                first = self._turns.first_of(told)
            if first is None:
                return False
            service, name = self.shipment.service, first.parcel.name
            manifest = first.batch.place.journal.manifest(service, first.batch.identity)
            waits = first.batch.open_by(manifest) and first.parcel.arrival is None
            if waits and first.parcel.state != GONE:  # that was renamed
                return True
            folder = real_folder(first.parcel.path)
            parcel.arrival = Arrival(line.picture or "", service, folder, name, "")
        self._settle(batch, parcel, line._replace(status="elsewhere", key=None))
        return True

    def _send_copies(self, jobs: Sequence[Tuple[Batch, Parcel]]) -> None:
        """Send what may be copies, now that the others are there: it mostly is not needed."""
        self.server.wire.stop.clear()
        for job in jobs:
            if self.crew.stopped is None:
                self.crew.guarded(functools.partial(self.send, *job))
        self.server.wire.hang_up()
        self.crew.raise_crash()

    def _know_arrived(self) -> None:
        """Know the photos of this run that arrived before, for their twins."""
        for batch in self.shipment.batches.values():
            for parcel in batch.parcels:
                sent = parcel.place.journal.sent(self.shipment.service, parcel.name)
                if parcel.state in ARRIVED and sent is not None and sent.picture:
                    self._turns.first_of(_Told(batch, parcel, sent))

    def _copies(self) -> List[Tuple[Batch, Parcel]]:
        """The images to send that may be copies of some in a folder before theirs, and the videos
        that may be of any.
        """
        owners: Dict[Tuple[Optional[str], int], Parcel] = {}
        found = []
        for batch in self.shipment.batches.values():
            for parcel in batch.parcels:
                known = parcel.found
                owner = owners.setdefault((known.digest, known.size), parcel)
                another = owner.place is not parcel.place or parcel.clip and owner is not parcel
                if (known.clocks or parcel.clip) and another and parcel.state == DUE:
                    found.append((batch, parcel))
        return found

    def _settle(self, batch: Batch, parcel: Parcel, line: Sent) -> None:
        """Journal what came of an image, and finish its sequence when it was the last and all have
        arrived.
        """
        with self.crew.guard:  # manifests are read, changed and told by one thread at a time
            for told in self._turns.told(batch, parcel, line):
                self._note(*told)
            sent = self.server.wire.pace.sent
            self.ui.progress("uploading", self._pulse.settled, self._pulse.total, sent)
            complete = batch.complete
        if complete:
            self.try_finish(batch)

    def _note(self, batch: Batch, parcel: Parcel, line: Sent) -> None:
        """Journal what came of an image."""
        problem = line.problem
        for home in parcel.place.line if problem is None else ():
            self._take_out(home, name_from(home.folder, parcel.place.folder, parcel.name))
        parcel.place.journal.append([line], flush=False)
        self._pulse.settled += parcel.state == DUE
        state = ELSEWHERE if line.status == "elsewhere" else SENT
        parcel.state = state if problem is None else FAILED
        parcel.handle, parcel.problem = line.handle or "", problem
        if parcel.state == SENT and self._pulse.due():
            self._flush()

    def _take_out(self, home: Place, name: str) -> None:
        """Note that what finished sequences have under a name is another picture, or was sent with
        another time or position.
        """
        for identity in home.finished_in(self.shipment.service).pop(name, ()):
            manifest = home.journal.manifest(self.shipment.service, identity)
            if manifest is not None:
                others = tuple(one for one in manifest.images if one != name)
                home.journal.append([manifest._replace(images=others)], flush=False)

    def look_again(self) -> None:
        """Look at the images that arrived before and whose files have changed since: one with
        another picture is to be sent, of others the new size is journaled.
        """
        for parcel in list(self.shipment.parcels):
            journal, size = parcel.place.journal, parcel.found.size
            sent = journal.sent(self.shipment.service, parcel.name)
            if sent is None or sent.size in (None, size) or parcel.clip:
                continue
            if parcel.state not in (THERE, OUTDATED, ELSEWHERE):
                continue
            if picture_at(parcel.place, parcel.name, self.shipment.config) != sent.picture:
                parcel.state, parcel.handle, parcel.finished = DUE, "", False
            elif parcel.goods.size != sent.size:
                journal.append([sent._replace(size=parcel.goods.size)], flush=False)

    def try_finish(self, batch: Batch) -> None:
        """Finish a sequence, unless it is to be held; one that cannot be finished is recorded."""
        if self.hold and not self.server.wire.stop.is_set():
            batch.stage = HELD
            return
        try:
            self._finish(batch)
        except ToolError as error:
            if _ends_run(error):
                raise
            wrong = "a sequence cannot be finished: " + error.problem.wrong
            batch.problem = error.problem._replace(wrong=wrong)

    def _finish(self, batch: Batch) -> None:
        """Upload a sequence's manifest and have it finished; a repeated finish uses the same
        handle.
        """
        journal, service = batch.place.journal, self.shipment.service
        line = journal.manifest(service, batch.identity)
        if line is not None and line.cluster is None:
            self._confirm(batch, line)  # with the same handle, whatever has changed since
        left = batch.left(line)
        if left:
            for place in {id(parcel.place): parcel.place for parcel in left}.values():
                place.journal.flush()
            key, handle = self._bundle(batch, left)
            done = line.images if line else ()
            names = (*done, *map(batch.name_of, left))
            line = Manifest(batch.identity, service, names, key, handle)
            journal.append([line])
            self._confirm(batch, line)
        batch.stage = FINISHED

    def _bundle(self, batch: Batch, left: Sequence[Parcel]) -> Tuple[Optional[str], str]:
        """(key, handle) of what is to be finished: a video itself, or a manifest of images, which
        is uploaded.
        """
        if batch.is_video:
            return None, left[0].handle
        handles = list(dict.fromkeys(parcel.handle for parcel in left))
        manifest = {"version": "1", "upload_type": "images", "image_handles": handles}
        text = json.dumps(manifest).encode("ascii")
        key = f"uuid_{hashlib.md5(text).hexdigest()}.json"
        entity = Entity(key, len(text), lambda at: [text[at:]])
        return key, put_entity(self.server, entity, self.tokens.of(batch.user), False)

    def _confirm(self, batch: Batch, line: Manifest) -> None:
        """Have the service finish a video, or a sequence by its manifest, and journal that."""
        token = self.tokens.of(batch.user)
        kind = VIDEO_TYPE if batch.is_video else MANIFEST_TYPE
        handle = line.handle or ""
        with self._turns.take(handle):  # two videos may be the very same bytes
            cluster = self._turns.finished.get(handle)
            if cluster is None:
                cluster = finish_upload(self.server, handle, kind, batch.organization, token)
                self._turns.finished[handle] = cluster
        batch.place.journal.append([line._replace(cluster=cluster)])


class _Told(NamedTuple):
    """What came of an image."""

    batch: Batch
    parcel: Parcel
    line: Sent

    @property
    def photo(self) -> Tuple[str, ...]:
        """What stands for the photo, whatever its name: picture, time and Exif block as found."""
        digest = self.parcel.found.digest
        if not self.line.picture or not digest:
            return (self.parcel.path,)
        return self.line.picture, digest


def _of_two(parcel: Parcel, line: Sent) -> Sent:
    """An image as failed, by a handle that the service gave for two."""
    problem = Problem(
        "bad_handle",
        "the service gives one handle for two images",
        file=parcel.path,
        value=(line.handle or "")[:80],
        remedy="run it again later",
    )
    return line._replace(status="failed", photo=None, handle=None, problem=problem)


class _Turns:
    """The very same bytes, in two files, are sent one after the other; other bytes have other
    handles.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: Dict[str, threading.Lock] = {}
        self._tried: Set[str] = set()
        self.finished: Dict[str, str] = {}  # handle -> what the service made of it in this run
        self._owners: Dict[str, _Told] = {}  # handle -> what it was first given for
        self._firsts: Dict[Tuple[str, ...], _Told] = {}  # photo -> which of the run was first

    def first_of(self, told: _Told) -> Optional[_Told]:
        """The first of this run that is the same photo, to the last byte, in another folder; the
        image itself becomes that, for others, where there is none or that has failed.
        """
        first = self._firsts.setdefault(told.photo, told)
        if first.parcel is told.parcel:
            return None
        beside = first.parcel.place is told.parcel.place and first.parcel.state != GONE
        if beside and told.parcel.clip is None:
            return None
        if first.parcel.state in (FAILED, LEFT):
            self._firsts[told.photo] = told
            return None
        return first

    @contextlib.contextmanager
    def take(self, key: str) -> Iterator[bool]:
        """Wait for the turn of a key; gives whether this run has tried to send its bytes."""
        with self._guard:
            alone = self._locks.setdefault(key, threading.Lock())
        with alone:
            again = key in self._tried
            self._tried.add(key)
            yield again

    def told(self, batch: Batch, parcel: Parcel, line: Sent) -> List[_Told]:
        """What is to be noted of an image: what came of it; or, where the service gave it the
        handle of other bytes, that both have failed, for nobody knows whose it is.
        """
        mine = _Told(batch, parcel, line)
        theirs = self._owners.setdefault(line.handle, mine) if line.handle else mine
        if theirs[2].key == line.key:
            return [mine]
        return [_Told(place, one, _of_two(one, sent)) for place, one, sent in (theirs, mine)]


class _Pulse:
    """How far a run is, and when its journal was last flushed."""

    def __init__(self) -> None:
        self.total = self.settled = 0  # images to be sent, and done with
        self._flushed_at = self._shown_at = time.monotonic()

    def shows(self) -> bool:
        """Whether it is to be shown now how far the files are."""
        now = time.monotonic()
        if now - self._shown_at <= SHOW_S:
            return False
        self._shown_at = now
        return True

    def due(self) -> bool:
        """Whether the journal is to be flushed now."""
        now = time.monotonic()
        if now - self._flushed_at <= FLUSH_S:
            return False
        self._flushed_at = now
        return True


# ---- Stand-in -----------------------------------------------------------------------------------
# Here: a service on this computer that speaks the upload part of the API v4 and keeps what it gets.
# Not here: anything that goes to Mapillary.


def stand_in_name(folder: str) -> str:
    """The name under which journals keep what a stand-in's folder has received; "" for a new
    folder.
    """
    try:
        with open(os.path.join(folder, STAND_IN_FILE), "rb") as stream:
            row = parsed(stream.read(1 << 16))
        return str(row.get("name") or "") if isinstance(row, dict) else ""
    except OSError:
        return ""


# names that a stand-in keeps
ENTITY = re.compile(r"(mly_tools_[0-9a-f]{32}\.(jpg|mp4)|uuid_[0-9a-f]{32}\.json)\Z")


def check_stand_in(folder: Optional[str], import_path: Optional[str]) -> None:
    """Raise UsageError when a stand-in would keep what it receives among the images, or over a
    file.
    """
    if not folder:
        return
    if import_path and behind_links(folder) == behind_links(import_path):
        wrong, remedy = "is the folder of the images", "give --stand_in another folder"
        raise UsageError("stand_in_here", wrong, file=folder, remedy=remedy)
    if os.path.exists(folder) and not os.path.isdir(folder):
        wrong, remedy = "is a file, not a folder", "give --stand_in a folder"
        raise UsageError("not_a_folder", wrong, file=folder, remedy=remedy)


class StandIn:
    """A service on loopback that speaks the upload part of the API v4 and keeps in a folder what it
    receives.

    It checks offsets, the md5 of keys, that every image has a description that parses, that a
    video has a CAMM track and, where ffprobe is at hand, pictures, and that a manifest names only
    images it has. with StandIn(folder) as service: service.root is its address,
    service.name its own name.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.root = self.name = ""
        self._server: Any = None

    def __enter__(self) -> "StandIn":
        import http.server

        make_folder(os.path.join(self.folder, "sequences"))
        self.name = stand_in_name(self.folder)
        if not self.name:
            self.name = f"stand-in-{random.SystemRandom().getrandbits(64):016x}"
            self._keep(STAND_IN_FILE, {"name": self.name})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _stand_in_handler(self))
        self._server.block_on_close = False
        self._server.handle_error = _client_left
        self.root = f"http://127.0.0.1:{self._server.server_address[1]}"
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

    def receive(
        self, key: str, offset: int, stream: Any, length: int
    ) -> Tuple[int, Dict[str, Any]]:
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
                remove_file(part)
                return 400, _fault("ProcessingFailedError", wrong, False)
            move_file(part, whole)
        return 200, {"h": "handle-" + key.rpartition(".")[0]}

    def _wrong_with(self, key: str, path: str) -> Optional[str]:
        """What is wrong with a received entity; None when it is good."""
        with open(path, "rb") as stream:
            if digest_of(stream, path).md5 not in key:
                return "the md5 of the bytes is not that of the key"
        if key.endswith(".jpg"):
            try:
                own = own_description(read_found(path))
                return "the image has no description" if own is None else None
            except ToolError as error:
                return str(error.problem._replace(file="", remedy=""))
        if key.endswith(".mp4"):
            return _wrong_with_video(path)
        names = self._images_of(path)
        if not names:
            return "it is no manifest"
        here = [os.path.isfile(os.path.join(self.folder, name)) for name in names]
        good = all(here) and all(map(ENTITY.match, names))
        return None if good else "the manifest names images that are not here"

    @staticmethod
    def _images_of(path: str) -> List[str]:
        with open(path, "rb") as stream:
            row = parsed(stream.read())
        handles = row.get("image_handles") if isinstance(row, dict) else None
        if not isinstance(handles, list):
            return []
        return [str(handle)[len("handle-") :] + ".jpg" for handle in handles]

    def finish(self, row: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
        """Finish a video, or a sequence by the handle of its manifest; gives status and answer."""
        name = str(row.get("file_handle") if isinstance(row, dict) else "")[len("handle-") :]
        if row.get("file_type") == VIDEO_TYPE:
            return self._finish_video(name, row)
        manifest = os.path.join(self.folder, name + ".json")
        if not re.match(r"uuid_[0-9a-f]{32}\Z", name) or not os.path.isfile(manifest):
            return 400, _fault("HandleNotFound", "there is no such manifest", False)
        cluster = str(int(name[5:20], 16))
        told = {"cluster_id": cluster, "organization_id": row.get("organization_id")}
        told["images"] = self._images_of(manifest)
        self._keep(os.path.join("sequences", cluster + ".json"), told)
        return 200, {"cluster_id": cluster}

    def _finish_video(self, name: str, row: Dict[str, Any]) -> Tuple[int, Dict[str, Any]]:
        """Finish a video by its handle."""
        video = name + ".mp4"
        if not ENTITY.match(video) or not os.path.isfile(os.path.join(self.folder, video)):
            return 400, _fault("HandleNotFound", "there is no such video", False)
        cluster = str(int(name[-32:-17], 16))
        told = {"cluster_id": cluster, "organization_id": row.get("organization_id")}
        self._keep(os.path.join("sequences", cluster + ".json"), dict(told, video=video))
        return 200, {"cluster_id": cluster}


def _wrong_with_video(path: str) -> Optional[str]:
    """What is wrong with a received video; None when it is good."""
    try:
        with open(path, "rb") as stream:
            movie = Source(stream, Path(path))
            check_video(movie)
            read_camm(movie)
        ffprobe = find_program("ffprobe", None)
    except ProgramMissing:
        return None
    except ToolError as error:
        return str(error.problem._replace(file="", remedy=""))
    asked = ["-select_streams", "V", "-count_frames", "-read_intervals", "%+1"]
    asked += ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", path]
    ran = run_program([ffprobe, "-v", "fatal", *asked])
    counts = ran.output.split()
    return None if counts and all(one.strip(",") > "0" for one in counts) else "no picture decodes"


def _fault(kind: str, message: str, retriable: bool) -> Dict[str, Any]:
    return {"debug_info": {"type": kind, "message": message, "retriable": retriable}}


def _answered(service: StandIn, key: str, asked: Any) -> Tuple[int, Dict[str, Any]]:
    """The bytes of an entity, or the end of a sequence; by GET an entity's offset, or who somebody
    is.
    """
    length = int(asked.headers.get("Content-Length") or 0)
    if not 0 <= length < 1 << 40 or key == "finish_upload" and length > ANSWER_BYTES:
        raise ValueError("no such length")
    if asked.command == "GET":
        if ENTITY.match(key):
            return 200, {"offset": service.offset(key)}
        return 200, dict.fromkeys(("id", "slug", "name", "username"), key)
    if key == "finish_upload":
        row = parsed(asked.rfile.read(length))
        return service.finish(row if isinstance(row, dict) else {})
    return service.receive(key, int(asked.headers.get("Offset") or -1), asked.rfile, length)


def _send_row(asked: Any, status: int, row: Dict[str, Any]) -> None:
    """Send an answer."""
    body = json.dumps(row).encode("ascii")
    asked.send_response(status)
    asked.send_header("Content-Type", "application/json")
    asked.send_header("Content-Length", str(len(body)))
    asked.end_headers()
    asked.wfile.write(body)


def _client_left(request: Any, address: Any) -> None:
    """What a server says of a client that goes away between two requests: nothing to a person."""
    LOG.debug("stand-in: a client went away: %s", sys.exc_info()[1])


def _stand_in_handler(service: StandIn) -> Any:
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            LOG.debug("stand-in: " + format, *args)

        def do_POST(self) -> None:
            """Answer one request."""
            key = self.path.split("?")[0].strip("/")
            try:
                status, row = _answered(service, key, self)
            except ValueError as error:
                status, row = 400, _fault("BadRequest", str(error), False)
            except ConnectionError:
                self.close_connection = True
                return
            except OSError as error:
                wrong = str(os_problem(service.folder, error))
                status, row = 400, _fault("StandInCannotWrite", wrong, False)
            except CannotWrite as error:
                status, row = 400, _fault("StandInCannotWrite", str(error), False)
            self.close_connection = self.close_connection or status != 200
            try:
                _send_row(self, status, row)
            except ConnectionError:
                self.close_connection = True

        do_GET = do_POST

    return Handler


# ---- Accounts -----------------------------------------------------------------------------------
# Here: whose token is used, and how one is got and stored.
# Not here: requests, the configuration file's form.


@dataclass(frozen=True)
class Login(Group):
    """account"""

    word: ClassVar[str] = "login"
    user_name: Optional[str] = opt(None, Rule("Mapillary user name", "NAME"))
    user_email: Optional[str] = opt(None, Rule("e-mail address of the account", "TEXT"))
    user_password: Optional[str] = opt(
        None,
        Rule(
            "password of the account; others on this computer can see it here, so better leave it "
            "out and be asked",
            "TEXT",
        ),
    )
    user_access_token: Optional[str] = opt(
        None, Rule("access token, instead of e-mail and password", "TEXT")
    )
    config_file: Optional[str] = opt(
        None, Rule("where to store it (default: ~/.config/mapillary/config)", "FILE")
    )
    force_overwrite: bool = opt(
        False, Rule("replace stored credentials of the same user name without asking")
    )
    list_accounts: bool = opt(False, Rule("list the accounts that are stored", flag="list"))
    delete: bool = opt(False, Rule("forget the account of --user_name"))


_CLIENT = "MAPILLARY_CLIENT_TOKEN"
_FORM = re.compile(r"[!-~]+\Z")  # what any token looks like


def token_of(user: Optional[str], config: Configuration) -> str:
    """The access token of a user: MAPILLARY_ACCESS_TOKEN, else from the configuration; raises
    NotAuthorized.
    """
    whose = user or "these images"
    stored = config.accounts
    single = [stored.get(user, "")] if user is not None else list(stored.values())
    told = single[0] if len(single) == 1 else ""  # of several nobody knows which
    token = (environment("MAPILLARY_ACCESS_TOKEN") or told).strip()
    if not token:
        raise _no_token(user, whose, config)
    if not _FORM.match(token):
        wrong = f"the access token for {whose} has characters that no token has"
        remedy = "paste it again: authenticate --force_overwrite"
        raise NotAuthorized("bad_token", wrong, remedy=remedy)
    return token


def _no_token(user: Optional[str], whose: str, config: Configuration) -> NotAuthorized:
    """The error for a user without credentials: a name that is stored may be meant."""
    wrong, name = f"there is no access token for {whose}", user or "NAME"
    stored = list(config.accounts)
    near = near_to(name, stored) if user else []
    remedy = f"run authenticate --user_name {name} first, or try it with --stand_in FOLDER"
    if near:
        remedy = f"stored: {', '.join(stored)}. Did you mean {near[0]}? process with --user_name "
        remedy += f"{near[0]}, then upload; or authenticate --user_name {name}"
    return NotAuthorized("no_token", wrong, remedy=remedy)


def search_token(config: Configuration) -> str:
    """The token for the image search; raises NotAuthorized."""
    token = environment("MAPILLARY_ACCESS_TOKEN") or environment("MAPILLARY_CLIENT_TOKEN")
    if not token:
        stored = set(config.accounts.values())
        token = stored.pop() if len(stored) == 1 else ""
    if not _FORM.match(token):
        wrong = "there is no usable access token for the image search"
        remedy = "set MAPILLARY_ACCESS_TOKEN or MAPILLARY_CLIENT_TOKEN, or run authenticate"
        raise NotAuthorized("no_token", wrong, remedy=remedy)
    return token


def agreed(ui: Ui, question: str) -> bool:
    """Whether somebody is there who says yes."""
    return ui.ask is not None and ui.ask(question, False).strip().lower().startswith("y")


def _answer(ui: Ui, value: Optional[str], question: str, option: str, secret: bool = False) -> str:
    """A value that was given, or asked for; raises UsageError that names the option when there is
    nobody to ask.
    """
    if not value and ui.ask is not None:
        value = ui.ask(question, secret)
        value = value if secret else value.strip()
    if not value:
        raise UsageError("missing_option", f"{option} is missing", remedy=f"give {option}")
    return value


def _clean(token: str, what: str) -> str:
    """A token without the blanks around it that came with pasting; raises NotAuthorized when it
    cannot be one.
    """
    if not _FORM.match(token.strip()):
        wrong = f"the {what} has characters that no token has"
        raise NotAuthorized("bad_token", wrong, remedy="paste it again")
    return token.strip()


def _section_for(login: Login, config: Configuration, ui: Ui) -> str:
    """The user name whose credentials are to be stored; raises UsageError."""
    name = _answer(ui, login.user_name, "Mapillary user name", "--user_name")
    if name in ("organizations", "MAPAdmin", "DEFAULT") or re.search(r"[\]\r\n]|^\s*$", name):
        raise UsageError("bad_user_name", "this cannot be a user name", value=name)
    question = f"Credentials for {name} are stored. Replace them? (y/n)"
    if name in config.accounts and not login.force_overwrite and not agreed(ui, question):
        wrong, remedy = (
            "credentials are stored already for",
            "add --force_overwrite to replace them",
        )
        raise UsageError("stored_already", wrong, value=name, remedy=remedy)
    return name


def log_in(options: Options, ui: Ui) -> Report:
    """Store the credentials of a user: by access token, else by e-mail and password. Raises
    NotAuthorized.
    """
    login = options[Login]
    config, notes = Configuration(login.config_file), Notes(say)
    if login.list_accounts or login.delete:
        return _list_accounts(config) if login.list_accounts else _forget(login, config, ui)
    check_home(config.path)
    name = _section_for(login, config, ui)
    server = Server(graph_root(), UPLOAD_ROOT, Limits(offline_s=0.0, attempts=3))
    kept: Dict[str, str] = {}
    token = login.user_access_token
    if not token and not login.user_email:
        token = environment("MAPILLARY_ACCESS_TOKEN")
    if not token:
        token, kept[_CLIENT] = _token_by_password(server, login, config, ui)
    token = _clean(token, "access token")
    user_name, key = who_am_i(server, token)
    server.wire.hang_up()
    check_owner(user_name, name)
    kept.update(MAPSettingsUsername=name if user_name is None else user_name)
    kept.update(MAPSettingsUserKey=key or "")
    kept[USER_TOKEN] = token
    config.keep(name, kept)
    leads = f", a link to {behind_links(config.path)}" if os.path.islink(config.path) else ""
    notes.say(f"stored credentials for {name} in {config.path}{leads}")
    facts: Dict[str, object] = {"user_name": name, "user_key": key}
    return Report("authenticate", 1, told=Told("account stored", notes.lines, facts=facts))


def _list_accounts(config: Configuration) -> Report:
    """Name the accounts that are stored, without their tokens."""
    names = list(config.accounts)
    report = Report("authenticate", len(names), told=Told("accounts stored", lines=names))
    report.told.facts.update(accounts=names)
    return report


def _forget(login: Login, config: Configuration, ui: Ui) -> Report:
    """Forget an account; raises UsageError where it is not stored."""
    name = _answer(ui, login.user_name, "Mapillary user name", "--user_name")
    if name not in config.accounts:
        stored = ", ".join(config.accounts) or "none"
        wrong = "there are no stored credentials of this user name"
        raise UsageError("not_stored", wrong, value=name, remedy=f"stored: {stored}")
    config.forget(name)
    return Report("authenticate", 1, told=Told("account forgotten"))


def _no_client_token() -> UsageError:
    """The error for a login without the token that tells the service which program asks."""
    line = f"{'set' if os.name == 'nt' else 'export'} {_CLIENT}='MLY|...'"
    return UsageError(
        "missing_option",
        "logging in by password needs a client token, which tells the service which program asks",
        remedy="register an application at https://www.mapillary.com/dashboard/developers, type "
        f"{line}, and again; or give --user_access_token TOKEN instead",
    )


def _token_by_password(
    server: Server, login: Login, config: Configuration, ui: Ui
) -> Tuple[str, str]:
    """(access token, client token) by e-mail and password; raises NotAuthorized with what the
    service says.
    """
    email = _answer(ui, login.user_email, "E-mail address", "--user_email or --user_access_token")
    password = _answer(ui, login.user_password, "Password", "--user_password", True)
    stored = (config.told(section, _CLIENT) for section in config.sections)
    known = environment(_CLIENT) or next(filter(None, stored), None)
    if not known and ui.ask is None:
        raise _no_client_token()
    question = "Client token (MLY|..., from the developer page of your Mapillary account)"
    client = _answer(ui, known, question, _CLIENT)
    client = _clean(client, "client token")
    try:
        return token_by_password(server, client, email, password), client
    except UploadError as error:
        value = error.problem.value.replace(password, "...")
        wrong = "the login failed"
        remedy = "check e-mail and password; or, without them, give --user_access_token TOKEN"
        if isinstance(error, NotAuthorized):
            wrong = "the service does not accept the login"
            remedy = "check e-mail, password and client token"
        file = error.problem.file
        raise NotAuthorized(
            error.problem.code, wrong, file=file, value=value, remedy=remedy
        ) from None


# ---- Sending ------------------------------------------------------------------------------------
# Here: one run of an upload, from the folders to what is said of it.
# Not here: how an image is sent.


def target_of(options: UploadOptions, import_path: str) -> str:
    """The name of the service that a run uploads to; raises UsageError for a stand-in in the folder
    of the images.
    """
    check_stand_in(options.stand_in, import_path)
    if options.stand_in:
        return stand_in_name(options.stand_in) or "stand-in"
    return service_name(graph_root())


def _open_service(options: Options, stack: contextlib.ExitStack) -> Service:
    """The service to upload to; a stand-in is started, but not to try only."""
    folder, real = options[UploadOptions].stand_in, mapillary()
    if not folder:
        return real
    if options[Dry].dry_run:
        return real._replace(name=stand_in_name(folder), rehearsal=True)
    stand_in = stack.enter_context(StandIn(folder))
    return Service(stand_in.name, stand_in.root, stand_in.root, True)


def send_images(tool: str, options: Options, ui: Ui) -> Report:
    """Send every processed image below a folder that the service does not have, and finish its
    sequences.

    Raises what stops the run before any image; what stops it later is in the Report.
    """
    asked, tops, dry = options[UploadOptions], options[Input].folders, options[Dry].dry_run
    notes = Notes(say)
    for top in tops:
        check_stand_in(asked.stand_in, top)
    report = Report(tool, told=Told("would be uploaded" if dry else "uploaded", notes.lines))
    images, videos = look_for(options, report, notes)
    with contextlib.ExitStack() as stack:
        service = _open_service(options, stack)
        shipment = Shipment(History(service.name, notes.say), options)
        _stow(shipment, (images, videos), options, stack, notes)
        offline_s = options[Patience].offline_limit * 60
        limits = Limits(offline_s, number_of("MAX_ATTEMPTS", 10), asked.max_rate)
        server = Server(service.graph, service.upload, limits, notes.say)
        sender = Sender(shipment, server, asked.manual_done, ui)
        _check_shipment(shipment, options[Whose].user_name)
        if not dry:
            _send(sender, service, asked)
            shipment.keep_history()
        elif asked.retry_failed == "no":
            _leave_failed(shipment)
        _count_sent(report, [*images, *videos], sender, dry)
        if not dry:
            _say_left(report, sender, asked, notes)
    return report


def _stow(
    shipment: Shipment,
    found: Tuple[List[Path], List[Path]],
    options: Options,
    stack: contextlib.ExitStack,
    notes: Notes,
) -> None:
    """Put all images and videos that were found into a shipment, their folders open."""
    write, wait = not options[Dry].dry_run, options[Waiting].wait
    places, problems = open_places([*found[0], *found[1]], write, stack, wait)
    _take_on_board(shipment, found[0], places, problems)
    _take_videos(shipment, found[1], problems, options, notes)


def _take_on_board(
    shipment: Shipment,
    paths: Sequence[Path],
    places: Mapping[str, Place],
    problems: Mapping[str, Problem],
) -> None:
    """Put all images into a shipment; those of folders that could not be opened have failed."""
    shipment.places = places
    for folder, group in by_folder(paths).items():
        if folder in places:
            shipment.add_place(places[folder], [path.name for path in group])
        else:
            images = [not_open(path, problems[folder]) for path in group]
            shipment.outcomes.update((str(one.path), one.aside) for one in images if one.aside)


def _take_videos(
    shipment: Shipment,
    paths: Sequence[Path],
    problems: Mapping[str, Problem],
    options: Options,
    notes: Notes,
) -> None:
    """Put all videos into a shipment; those of folders that could not be opened have failed."""
    wanted = []
    for path in paths:
        folder = os.path.dirname(str(path))
        if folder in problems:
            outcome = not_open(path, problems[folder]).outcome
            shipment.outcomes[str(path)] = outcome or Outcome("skipped", SKIP_LEFT)
            continue
        before = shipment.places[folder].journal.clip(path.name)
        if before is None or before.user is None or _may_be_mended(before):
            wanted.append(Wanted(str(path), before))
        else:
            shipment.add_video(str(path), _as_processed_before(str(path), before))
    _find_ways(shipment, wanted, options, notes)


def _find_ways(
    shipment: Shipment, wanted: Sequence[Wanted], options: Options, notes: Notes
) -> None:
    """Find the places of videos now, and put them into a shipment."""
    whose, guides = Uploader(options[Whose].user_name), (Guide("exif"),)
    making = Making(FrameOptions(), Geotagging(), guides, whose, MetaData(), shipment.areas)
    folders = by_folder(Path(one.path) for one in wanted)
    refused = {folder: _refused(shipment.places[folder].journal) for folder in folders}
    for one, clip in zip(wanted, clips_of(wanted, making, notes)):
        folder = os.path.dirname(one.path)
        if clip.problem is None and clip.digest in refused[folder]:
            clip = clip._replace(problem=THROUGH_AREA, places=())
        if clip is not one.before:
            before = one.before or clip
            clip = clip._replace(user=before.user, organization=before.organization)
        if clip != one.before and not options[Dry].dry_run:
            shipment.places[folder].journal.append([clip])
        shipment.add_video(one.path, clip)


def _refused(journal: Journal) -> Set[str]:
    """The videos of a folder, whatever their names, that pass through an area that is left out."""
    clips = filter(None, map(journal.clip, journal.clips()))
    problems = [(clip.digest, clip.problem) for clip in clips if clip.problem is not None]
    return {digest for digest, problem in problems if problem.code == THROUGH_AREA.code}


_MENDABLE = (
    *("unreadable", "track_unreadable", "empty", "damaged", "cut_off", "fragmented"),
    *("track_damaged", "video_no_track", "no_pictures"),
)


def _may_be_mended(clip: Clip) -> bool:
    """Whether a video failed for what somebody may have mended since, whatever the options were."""
    return clip.problem is not None and clip.problem.code in _MENDABLE


def _as_processed_before(path: str, clip: Clip) -> Clip:
    """A video as it was processed, or that it was changed since."""
    stamp = stamp_of(path)
    if stamp == clip.stamp or clip.problem is not None:
        return clip
    try:
        same = video_digest(path) == clip.digest
    except ToolError as error:
        return clip._replace(problem=error.problem)
    if same:
        return clip._replace(size=stamp.size, mtime=stamp.mtime)
    wrong, remedy = "was changed since it was processed", "run process again"
    return clip._replace(problem=Problem("changed", wrong, remedy=remedy))


def _check_shipment(shipment: Shipment, name: Optional[str]) -> None:
    """Raise UsageError for images that were processed for another user than the one named;
    UploadError where most of them could not be placed.
    """
    _check_placed(shipment, shipment.asked)
    for batch in shipment.batches.values():
        if name is not None and batch.user not in (None, name):
            wrong = f"these images were processed for {batch.user}"
            remedy = f"leave --user_name out, or process again with --user_name {name}"
            raise UsageError("other_user", wrong, value=name, remedy=remedy)


def _check_placed(shipment: Shipment, asked: UploadOptions) -> None:
    """Raise UploadError where more than half of the images could not be placed for one cause: what
    is left would be finished as a sequence, though the mistake is not theirs.
    """
    parcels = [parcel for parcel in shipment.parcels if parcel.state != GONE]
    due = len(shipment.jobs())
    lost = [one.problem for one in shipment.outcomes.values() if one.problem is not None]
    total = len(lost) + len(parcels)
    problem = main_cause(lost, total)
    if problem is None or asked.accept_failed or parcels and not due:
        return
    count = sum(one.code == problem.code for one in lost)
    wrong = f"nothing is sent, since {count} of {total} images could not be placed"
    remedy = f"{problem.remedy}; then process again" if problem.remedy else "process again"
    remedy += f", or add --accept_failed to send the other {due}" if due else ""
    raise UploadError("mostly_failed", wrong, value=problem.wrong, remedy=remedy)


def _leave_failed(shipment: Shipment) -> None:
    """Do not send again what failed before."""
    for parcel in shipment.failed_before():
        parcel.state = LEFT


def _send(sender: Sender, service: Service, asked: UploadOptions) -> None:
    """Ask what there is to ask, then send."""
    shipment, server, ui = sender.shipment, sender.server, sender.ui
    before = shipment.failed_before()
    question = (
        f"{plural(len(before), shipment.noun)} could not be sent before. Send them again? (y/n; "
        "--retry_failed answers this)"
    )
    wanted = asked.retry_failed == "yes" or asked.retry_failed != "no" and ui.ask is None
    if before and not wanted and (asked.retry_failed == "no" or not agreed(ui, question)):
        _leave_failed(shipment)
    sender.look_again()
    jobs, batches = shipment.jobs(), shipment.open_batches()
    if not jobs and not any(batch.complete for batch in batches):
        return
    for batch in batches:
        if batch.user not in sender.tokens.known:
            token = "stand-in" if service.rehearsal else token_of(batch.user, shipment.config)
            sender.tokens.add(batch.user, token, service.rehearsal)
    organizations = {batch.organization: batch for batch in batches if batch.organization}
    for organization, batch in organizations.items():
        check_organization(server, str(organization), sender.tokens.known[batch.user])
    server.wire.hang_up()
    sender.run(jobs, number_of("NUMBER_THREADS", 4))
    held = len(sender.held)
    question = f"{held} sequences are complete. Finalize them now? (y/n)"
    if held and sender.crew.stopped is None and agreed(ui, question):
        sender.finish_held()


def _count_sent(report: Report, paths: Sequence[Path], sender: Sender, dry: bool) -> None:
    """Account for every image of an upload."""
    shipment, batches, facts = sender.shipment, sender.shipment.batches.values(), report.told.facts
    report.trouble.extend(batch.problem for batch in batches if batch.problem)
    report.stopped = sender.crew.stopped
    known = {parcel.path: parcel for parcel in shipment.parcels}
    for path in paths:
        report.count(path, shipment.outcome(str(path), known, dry))
    finished = [batch for batch in batches if batch.stage == FINISHED]
    facts.update(sequences_finished=sum(not one.is_video for one in finished))
    if any(batch.is_video for batch in batches):
        facts.update(videos_finished=sum(one.is_video for one in finished))
    facts.update(sequences_waiting=len(sender.held), bytes_sent=sender.server.wire.pace.sent)
    facts.update(outdated=shipment.outdated())


def _say_there(shipment: Shipment, notes: Notes) -> None:
    """Say what the service has from other folders, or with another time or position."""
    arrivals = [parcel.arrival for parcel in shipment.parcels if parcel.arrival]
    places = collections.Counter((arrival.folder, arrival.at[:10]) for arrival in arrivals)
    for (folder, day), count in sorted(places.items()):
        again = "--reupload sends them again"
        when = f" on {day}" if day else ""
        notes.say(f"{count} were sent from {folder}{when} and are not sent again; {again}")
    say_outdated(shipment.outdated(), notes)


def _say_left(report: Report, sender: Sender, asked: UploadOptions, notes: Notes) -> None:
    """Say what is left to do, and whether the pictures may leave the card."""
    _say_there(sender.shipment, notes)
    held = len(sender.held)
    tried = [parcel for parcel in sender.shipment.parcels if parcel.state == FAILED]
    left = len(report.skipped.get(SKIP_LEFT, ())) + len(tried)
    unfinished = len(sender.shipment.open_batches()) - held
    report.told.next = AGAIN if left or unfinished else ()
    if held:
        notes.say(
            f"{held} sequences are complete but not finalized: run upload without --manual_done to "
            "finalize them"
        )
    noun = sender.shipment.noun
    _say_unfinished(left, unfinished, sender.shipment, notes)
    arrived = report.done + len(report.skipped.get(SKIP_UPLOADED, ()))
    done = report.exit_code == 0 and not (left or unfinished or held) and not asked.stand_in
    report.told.facts.update(safe_to_delete=done and arrived == report.found)
    if asked.stand_in:
        place = f"at the stand-in service in {asked.stand_in}"
        verb = "is" if arrived == 1 else "are"
        notes.say(f"{plural(arrived, noun)} {verb} {place}; nothing went to Mapillary")
    elif arrived and done:
        rest = "; skipped ones are only here" if arrived < report.found else ""
        notes.say(_acknowledged(arrived, noun) + rest)


def _say_unfinished(left: int, unfinished: int, shipment: Shipment, notes: Notes) -> None:
    """Say what the next run will do."""
    noun = shipment.noun
    waiting = sum(parcel.state == LEFT for parcel in shipment.parcels)
    if left:
        notes.say(f"run the same command again: {plural(left, noun)} left")
    elif waiting:
        notes.say(f"{plural(waiting, noun)} that failed before: --retry_failed yes sends them")
    elif unfinished:
        rest = "sequences" if noun == "image" else "sequences or videos"
        notes.say(
            f"run the same command again: all {noun}s are sent, {unfinished} {rest} are to be "
            "finished"
        )


def _acknowledged(arrived: int, noun: str) -> str:
    """That pictures may leave the card."""
    if arrived == 1:
        return (
            f"the one {noun} that can be uploaded is acknowledged by the service: it may leave the "
            "card"
        )
    return (
        f"all {arrived} {noun}s that can be uploaded are acknowledged by the service: they may "
        "leave the card"
    )


# ---- Status -------------------------------------------------------------------------------------
# Here: what the journals say of each image, as figures.
# Not here: opening images, changing anything.


NOT_SENT = "unsent"  # all that the service does not have


@dataclass(frozen=True)
class StatusOptions(Group):
    """status"""

    word: ClassVar[str] = "options"
    list_images: Optional[str] = opt(
        None,
        Rule(
            "name the images in this state, with the reason; alone: the bare paths of all that are "
            "not uploaded",
            flag="list",
            choices=("failed", SKIP_WAITING, SKIP_DUPLICATE, SKIP_OUTDATED, SKIP_GONE),
            alone=NOT_SENT,
        ),
    )
    image: Optional[str] = opt(
        None, Rule("explain every decision about this one photo (its name, or its path)", "FILE")
    )


def named_below(path: str, tops: Sequence[str]) -> str:
    """A path as it is named: relative to the one folder of a run, else as it is."""
    return unextended(path) if len(tops) > 1 else relative_to(path, tops[0])


class Standing(NamedTuple):
    """An image by how far it has come."""

    image: Image
    outcome: Optional[Outcome]  # None = uploaded

    @property
    def word(self) -> str:
        """ "uploaded", "failed" or why it is skipped."""
        if self.outcome is None:
            return "uploaded"
        return "failed" if self.outcome.status == "failed" else self.outcome.reason

    @property
    def reason(self) -> str:
        """More on that, where there is more."""
        if self.outcome is None:
            return ""
        repeats, problem = self.outcome.repeats, self.outcome.problem
        if repeats is None:
            return str(problem._replace(file="")) if problem else SKIP_WORDS.get(self.word, "")
        turned = "" if repeats.turn is None else f", turned by {repeats.turn:.1f} degrees"
        turned += "" if repeats.turn is None else _limit(repeats.turn_limit)
        away = f"{repeats.distance:.2f} m away{_limit(repeats.metres_limit)}"
        return f"repeats {repeats.partner}, {away}{turned}"


def _limit(value: Optional[float]) -> str:
    return "" if value is None else f" (limit {value:g})"


class Standings(NamedTuple):
    """A folder with images or a journal."""

    journal: Journal
    images: Iterator[Standing]
    problem: Optional[Problem]  # why its journal cannot be read


def standings(
    tops: Sequence[str], service: str, trouble: List[Problem], brief: bool = False
) -> Iterator[Standings]:
    """Each folder with images or a journal below some, once; raises NotFound, adds what cannot be
    listed to trouble. brief: how far each image has come and its sequence will do.
    """
    seen: Set[str] = set()
    areas = areas_of(Options([]), Configuration())
    for top in tops:
        try:
            for found in _standings_below(top, service, areas, trouble, brief):
                where = behind_links(found.journal.folder)
                if where not in seen:
                    seen.add(where)
                    yield found
        except NotFound as error:
            if len(tops) == 1:
                raise
            trouble.append(error.problem)


def _standings_below(
    top: str, service: str, areas: Tuple[Area, ...], trouble: List[Problem], brief: bool
) -> Iterator[Standings]:
    """The same for one folder; of what lies in areas that are left out no more than that."""
    check_folder(top, "--import_path")
    empty = True
    for folder, folders, files in walked(top, lambda error: trouble.append(unsearchable(error))):
        folders[:] = sorted((name for name in folders if not is_closed(name)), key=natural_key)
        found = _settled_standings(folder, files, top) if brief and not areas else None
        found = found or _standings_in(folder, files, top, service)
        if found is not None:
            empty = False
            outside = (_not_in(areas, one) for one in found.images) if areas else found.images
            yield found._replace(images=outside)
    if empty:
        wrong = "holds no images and no journal"
        if trouble:
            raise NotFound(**trouble[0]._asdict())
        raise NotFound("no_images", wrong, file=top, remedy="check --import_path")


def _not_in(areas: Sequence[Area], standing: Standing) -> Standing:
    """An image as it stands, or nothing of it but that it lies in an area that is left out."""
    if not is_excluded(areas, standing.image.fix):
        return standing
    image = standing.image.excluded("")
    return Standing(image, image.outcome)


def _settled_standings(folder: str, files: Sequence[str], top: str) -> Optional[Standings]:
    """A folder of which nothing has been sent since a run left nothing to do there, in brief; None
    for any other.
    """
    names = [name for name in files if is_image_name(name)]
    if len(names) < SETTLED_FROM or any(map(is_video_name, set(files).difference(names))):
        return None
    known = settled_folder(folder, names)
    if known is None or upload_marks(folder, top):
        return None
    return Standings(Journal(folder, write=False), _briefly(folder, names, known), None)


def _briefly(folder: str, names: List[str], known: Settled) -> Iterator[Standing]:
    """The images of a settled folder by how far they have come, and their sequences."""
    groups, waiting = [Membership(one) for one in known.ids], _waiting("processed, not sent yet")
    for name in sorted(names, key=natural_key):
        path, number = Path(folder, name), known.members.get(name)
        outcome = known.others.get(name, waiting)
        if outcome.problem is not None and outcome.status == "failed":
            outcome = outcome._replace(problem=outcome.problem._replace(file=str(path)))
        membership = None if number is None else groups[number]
        yield Standing(Image(path, membership=membership), outcome)


def _waiting(wrong: str) -> Outcome:
    return Outcome("skipped", SKIP_WAITING, Problem(SKIP_WAITING, wrong))


def _standings_in(folder: str, files: Sequence[str], top: str, service: str) -> Optional[Standings]:
    """What the journal of a folder says; None where there is neither a journal nor an image."""
    journal, problem = Journal(folder, write=False), None
    try:
        journal.__enter__()
    except BadJournal as error:
        problem = error.problem
    sent = [name_key(one.image) for one in journal.all_sent() if one.service == service]
    known = {key: key for key in [*journal.names(), *journal.clips(), *sent]}
    here = [name for name in files if is_image_name(name) or is_video_name(name)]
    known.update((name_key(name), name) for name in here)
    if not known:
        return None
    names, there = sorted(known.values(), key=natural_key), set(map(name_key, here))
    told = _each_standing(journal, names, service, problem, old_uploads(folder, top))
    images = (one if name_key(one.image.path.name) in there else _without_file(one) for one in told)
    return Standings(journal, images, problem)


def _each_standing(
    journal: Journal,
    names: Sequence[str],
    service: str,
    problem: Optional[Problem],
    earlier: Callable[[str], bool],
) -> Iterator[Standing]:
    """Some images, and videos, of a folder by how far they have come."""
    for name, image in zip(names, journal.images(names, timed=False)):
        clip = journal.clip(name) if is_video_name(name) else None
        if clip is None:
            image = image or Image(Path(journal.folder, name))
            yield standing_of(journal, service, image, problem, earlier(name))
        else:
            yield _standing_of_video(journal, service, Path(journal.folder, name), clip)


def _without_file(standing: Standing) -> Standing:
    """An image of the journal that is no longer in its folder."""
    if standing.word in ("uploaded", SKIP_OUTDATED):
        return standing._replace(outcome=None)
    return standing._replace(outcome=Outcome("skipped", SKIP_GONE))


def _failed_upload(image: Image, sent: Optional[Sent]) -> Optional[Problem]:
    """Why an image could not be sent, None where it was not tried or that was another photo of its
    name.
    """
    if sent is None or sent.problem is None:
        return None
    if image.found is None or sent.photo in (None, photo_id(image.path.name, image.found)):
        return sent.problem
    return None


def standing_of(
    journal: Journal, service: str, image: Image, problem: Optional[Problem], earlier: bool
) -> Standing:
    """An image by how far it has come; problem is its journal's, earlier: uploaded by
    an old tool.
    """
    name, before = image.path.name, image.outcome
    sent = journal.sent(service, name)
    if is_video_name(name):
        return Standing(image, Outcome("skipped", SKIP_VIDEO))
    if not is_jpeg_name(name):
        return Standing(image, Outcome("skipped", SKIP_KIND))
    if earlier or is_uploaded(journal, service, name, image.found):
        outdated = sent is not None and is_outdated(image, sent)
        return Standing(image, Outcome("skipped", SKIP_OUTDATED) if outdated else None)
    problem = _failed_upload(image, sent) if problem is None else problem
    if problem is not None and (before is None or before.status != "failed"):
        problem = problem._replace(file=str(image.path))
        return Standing(image, Outcome("failed", problem.code, problem))
    if before is None and image.described is not None:
        return Standing(image, _waiting("upload broken off" if sent else "processed, not sent yet"))
    return Standing(image, before or Outcome("skipped", SKIP_UNPROCESSED))


def _image_of_video(path: Path, clip: Clip) -> Image:
    """A video that goes up whole as an image where it begins, in a sequence of its own."""
    found = Found(make=clip.make, model=clip.model, size=clip.size, mtime=clip.mtime)
    if not clip.places:
        return Image(path, found)
    first, source = clip.places[0], f"its track ({clip.source})"
    place = Geotag(first.time or 0.0, first.lat, first.lon, first.alt)
    image = Image(path, found, geotag=place._replace(placed_by="its track", source=source))
    return image if clip.parked else image._replace(membership=Membership(clip.id))


def _standing_of_video(journal: Journal, service: str, path: Path, clip: Clip) -> Standing:
    """A video that goes up whole by how far it has come."""
    image = _image_of_video(path, clip)
    sent = journal.sent(service, path.name)
    if stamp_of(path) not in (clip.stamp, NO_STAMP):
        changed = Problem("changed", "was changed since it was processed", remedy="process again")
        return Standing(image, Outcome("skipped", SKIP_UNPROCESSED, changed))
    if sent is not None and sent.arrived and sent.photo == clip.id:
        outdated = Outcome("skipped", SKIP_OUTDATED)
        return Standing(image, outdated if sent.fix != clip.track else None)
    outcome = clip.outcome(str(path))
    if outcome is None and sent is not None and sent.problem is not None:
        problem = sent.problem._replace(file=str(path))
        outcome = Outcome("failed", problem.code, problem)
    places = plural(len(clip.places), "place")
    wrong = "upload broken off" if sent else f"processed, not sent yet; {places} by {clip.source}"
    return Standing(image, outcome or _waiting(wrong))


def fixes_of_video(journal: Journal, name: str) -> List[Fix]:
    """All places of a video; none of an image."""
    clip = journal.clip(name) if is_video_name(name) else None
    places = clip.places if clip is not None else ()
    return [Fix(one.time or one.video, one.lat, one.lon, one.alt) for one in places]


@dataclass
class SequenceCount:
    """A sequence in figures."""

    id: str
    images: int = 0
    uploaded: int = 0
    finished: bool = False  # the service has it, with all of these images


class SequenceCounts:
    """The sequences of a folder in figures, as their images come."""

    def __init__(self, journal: Journal, service: str) -> None:
        self.journal, self.service, self.folder = journal, service, str(journal.folder)
        self.rows: Dict[str, SequenceCount] = {}
        self.begun: Set[str] = set()  # those that begin in this folder, and not in one beside it
        self._there: Dict[str, Set[str]] = {}  # folder -> keys of the images that are finished

    def add(self, standing: Standing) -> None:
        """Count an image in its sequence."""
        identity, word = standing.image.sequence, standing.word
        if not identity or word == SKIP_GONE:
            return
        row = self.rows.setdefault(identity, SequenceCount(identity, finished=True))
        if standing.image.span_from(self.folder)[0] == self.folder:
            self.begun.add(identity)
        row.images += 1
        row.uploaded += word in ("uploaded", SKIP_OUTDATED)
        row.finished = row.finished and self._is_in(standing.image)

    def _is_in(self, image: Image) -> bool:
        """Whether an image is at the service, in its sequence that is finished, or in another."""
        sent = self.journal.sent(self.service, image.path.name)
        if sent is not None and sent.status == "elsewhere":
            return True
        home = image.span_from(self.folder)[0]
        for place in dict.fromkeys((home, self.folder)):
            if place not in self._there:
                known = self._told(place).manifests(self.service)
                finished = [one.images for one in known if one.cluster is not None]
                self._there[place] = set(map(name_key, itertools.chain.from_iterable(finished)))
            if name_key(name_from(place, self.folder, image.path.name)) in self._there[place]:
                return True
        return False

    def _told(self, home: str) -> Journal:
        """The journal of the folder where a sequence begins; this one where that cannot be read."""
        if home != self.folder and os.path.isdir(home):
            with contextlib.suppress(ToolError):
                return Journal(home, write=False).__enter__()
        return self.journal


class _Figures:
    """All that status counts."""

    def __init__(self) -> None:
        self.elsewhere: Counter[str] = collections.Counter()  # other service -> images that it has
        self.sequences, self.all_finished = 0, True
        self.unfinished = self.videos = False  # whether all of a sequence is sent; or there are any
        self.folders: List[Dict[str, object]] = []
        self.listed: List[Tuple[str, str]] = []  # file, reason
        self.told: List[Tuple[int, int, List[str]]] = []  # failed, waiting, lines of a folder

    def add(
        self,
        found: Standings,
        service: str,
        tops: Sequence[str],
        wanted: Optional[str],
        report: Report,
    ) -> None:
        """Count the images of a folder; those in a state that is wanted are listed."""
        counts: Counter[str] = collections.Counter()
        before, sequences = len(report.failed), SequenceCounts(found.journal, service)
        for standing in found.images:
            report.count(standing.image.path, standing.outcome)
            sequences.add(standing)
            counts[standing.word] += 1
            if standing.word == wanted or wanted == NOT_SENT and standing.word != "uploaded":
                self.listed.append((str(standing.image.path), standing.reason))
        sent = [one.service for one in found.journal.all_sent() if one.status == "sent"]
        self.elsewhere.update(place for place in sent if place != service)
        name, rows = named_below(found.journal.folder, tops), list(sequences.rows.values())
        self.sequences += len(sequences.begun)
        self._note_finished(found.journal, rows)
        told = [dataclasses.asdict(row) for row in rows]
        self.folders.append({"folder": name, "counts": counts, "sequences": told})
        lines = _folder_lines(found.journal, name, counts, rows)
        self.told.append((len(report.failed) - before, counts[SKIP_WAITING], lines))

    def _note_finished(self, journal: Journal, rows: Sequence[SequenceCount]) -> None:
        """Note whether the service has finished some sequences, and whether there are videos."""
        self.videos |= bool(journal.clips())
        self.all_finished &= all(row.finished for row in rows)
        self.unfinished |= any(row.uploaded == row.images and not row.finished for row in rows)

    def next(self, options: Options, waiting: bool) -> Tuple[str, ...]:
        """The command that comes next; none where nothing is left to do."""
        if not waiting and not self.unfinished:
            return ()
        more = Videos(WHOLE).words if self.videos else ()
        return ("upload", *options[Input].words, *more)

    @property
    def lines(self) -> List[str]:
        """A line a folder, those with the most trouble first, and a line a sequence."""
        folders = sorted(self.told, key=lambda one: (-one[0], -one[1]))
        return [line for *_, lines in folders for line in lines]


def _folder_lines(
    journal: Journal, name: str, counts: Mapping[str, int], rows: Sequence[SequenceCount]
) -> List[str]:
    """What is said of a folder and its sequences."""
    noun = "file" if journal.clips() else "image"
    parts = " + ".join(f"{count} {word}" for word, count in sorted(counts.items()) if count)
    lines = [f"{name}: {plural(sum(counts.values()), noun)} = {parts}"]
    for row in rows:
        ending = "finished" if row.finished else "not finished"
        text = f"{plural(row.images, 'image')}, {row.uploaded} uploaded, {ending}"
        lines.append(f"  sequence {row.id}: {text}")
    return lines


def journal_status(options: Options) -> Report:
    """What is uploaded to a service, waiting, duplicate, failed and not processed, by folder and
    sequence.
    """
    tops, service = options[Input].folders, service_name(graph_root())
    wanted = options[StatusOptions].list_images
    report, figures = Report("status", told=Told("uploaded")), _Figures()
    for found in standings(tops, service, report.trouble, brief=wanted is None):
        figures.add(found, service, tops, wanted, report)
    reasons = collections.Counter(f"{one.code}: {one.wrong}" for one in report.failed)
    sent = report.done + len(report.skipped.get(SKIP_OUTDATED, ()))
    report.told.next = figures.next(options, SKIP_WAITING in report.skipped)
    report.told.facts.update(
        safe_to_delete=sent == report.found and figures.all_finished,
        sequences=figures.sequences,
        service=service,
        reasons=reasons,
        elsewhere=figures.elsewhere,
        folders=figures.folders,
        listed=[{"file": file, "reason": reason} for file, reason in figures.listed],
    )
    lines = report.told.lines
    others = figures.elsewhere
    lines += [f"{others[one]} uploaded to {one}, which is not {service}" for one in sorted(others)]
    lines += figures.lines
    if wanted == NOT_SENT:
        report.told.output = "".join(file + "\n" for file, _ in figures.listed)
    if wanted != "failed":  # those the summary names
        lines += [f"{file}: {reason}" for file, reason in figures.listed]
    return report


# ---- The page -----------------------------------------------------------------------------------
# Here: the report's page but for its script: what stands on it, and how it looks.
# Not here: what the data are; what the page does.

PAGE_BEGIN = "<!DOCTYPE html>\n<!-- mapillary_tools report -->\n"
PAGE_HEAD = r"""<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width,initial-scale=1" />
    <meta
      http-equiv="Content-Security-Policy"
      content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';
 media-src 'self' file:; img-src 'self' file: data: @TILES@"
    />
    <title>@TITLE@</title>
    <style>
      :root {
        color-scheme: light dark;
        --line: #8886;
        --bad: light-dark(#b3261e, #ff8a80);
      }
      body {
        max-width: 1400px;
        margin: auto;
        padding: 16px;
        font:
          15px/1.45 system-ui,
          sans-serif;
      }
      h1 {
        font-size: 22px;
        margin: 4px 0;
      }
      h2 {
        font-size: 17px;
        margin: 24px 0 8px;
      }
      p,
      small,
      th,
      label {
        color: light-dark(#555, #bbb);
        font-size: 13px;
      }
      section,
      button,
      select,
      input {
        background: Canvas;
        color: CanvasText;
        border: 1px solid var(--line);
        border-radius: 8px;
        font: inherit;
      }
      button,
      select,
      input {
        min-height: 34px;
        padding: 3px 10px;
        max-width: 100%;
      }
      input[type="number"] {
        width: 5.5em;
      }
      :focus-visible {
        outline: 3px solid #0072b2;
        outline-offset: 2px;
      }
      #tools {
        display: flex;
        flex-wrap: wrap;
        gap: 8px 14px;
        margin: 10px 0;
        align-items: end;
      }
      #tools label {
        display: grid;
        gap: 2px;
      }
      #view {
        display: grid;
        grid-template-columns: minmax(0, 1fr) 330px;
        gap: 12px;
      }
      #map {
        position: relative;
        height: 64vh;
        min-height: 320px;
        overflow: hidden;
      }
      #map canvas {
        width: 100%;
        height: 100%;
        display: block;
        touch-action: none;
        cursor: grab;
        border-radius: 8px;
      }
      #zoom {
        position: absolute;
        top: 10px;
        right: 10px;
        display: grid;
        gap: 4px;
      }
      #photo {
        padding: 12px;
        overflow-wrap: anywhere;
      }
      #photo img,
      #photo video {
        width: 100%;
        max-height: 240px;
        object-fit: contain;
        border-radius: 6px;
        background: #8882;
      }
      #photo dl {
        display: grid;
        grid-template-columns: max-content 1fr;
        gap: 2px 10px;
        margin: 8px 0;
        font-size: 13px;
      }
      dt {
        color: light-dark(#555, #bbb);
      }
      dd {
        margin: 0;
      }
      .bad {
        color: var(--bad);
      }
      .row {
        display: flex;
        flex-wrap: wrap;
        gap: 6px 8px;
        align-items: center;
        margin: 6px 0;
      }
      ul {
        list-style: none;
        margin: 0;
        padding: 8px 14px;
        overflow-wrap: anywhere;
        max-height: 40vh;
        overflow-y: auto;
      }
      li {
        padding: 2px 0;
      }
      table {
        border-collapse: collapse;
        width: 100%;
      }
      tbody tr {
        cursor: pointer;
      }
      tbody tr:hover {
        background: #8882;
      }
      th,
      td {
        padding: 7px 10px;
        text-align: left;
        white-space: nowrap;
        border-bottom: 1px solid var(--line);
      }
      small {
        display: block;
      }
      td svg {
        display: block;
        width: 200px;
        height: 44px;
        fill: none;
      }
      text {
        fill: light-dark(#555, #bbb);
        font-size: 12px;
      }
      td:last-child {
        white-space: normal;
        min-width: 170px;
        font-size: 13px;
      }
      .wide {
        overflow-x: auto;
      }
      @media (max-width: 800px) {
        #view {
          grid-template-columns: minmax(0, 1fr);
        }
        #map {
          height: 52vh;
        }
      }
      @media (max-width: 600px) {
        body {
          padding: 10px;
        }
        thead {
          display: none;
        }
        tr {
          display: block;
          padding: 8px 4px;
          border-bottom: 1px solid var(--line);
        }
        td {
          display: grid;
          grid-template-columns: 112px 1fr;
          white-space: normal;
          border: 0;
          padding: 2px 8px;
        }
        td:empty {
          display: none;
        }
        td::before {
          content: attr(data-name);
          color: light-dark(#555, #bbb);
          font-size: 13px;
        }
      }
      @media print {
        #tools,
        #zoom,
        #photo,
        #marks {
          display: none;
        }
        #view {
          display: block;
        }
        ul {
          max-height: none;
        }
      }
    </style>
  </head>
  <body>
    <h1>@TITLE@</h1>
    <p id="words"></p>
    <div id="tools" role="group" aria-label="Filters">
      <label>Show <select id="state"></select></label>
      <label>Sequence <select id="sequence"></select></label>
      <label>Day <select id="day"></select></label>
      <label>Camera <select id="camera"></select></label>
      <span id="shown" role="status"></span>
    </div>
    <div id="view">
      <section id="map">
        <canvas tabindex="0" role="application" aria-label="Map: arrow keys walk through the photos,
 plus and minus zoom, 0 shows all, L leaves a photo out"></canvas>
        <div id="zoom">
          <button id="in" aria-label="Zoom in">+</button>
          <button id="out" aria-label="Zoom out">&minus;</button>
          <button id="all">All</button>
        </div>
      </section>
      <section id="photo" aria-live="polite"></section>
    </div>
    <p>
      &#9679;&ndash; photo and camera direction &ensp; &#9675; duplicate &ensp; &#10005; failed or
      left out &ensp; &#9633; in no sequence &ensp; &#9671; cut. Choose a dot, or walk with the
      arrow keys. North is up.
    </p>
    <section id="marks" hidden>
      <div class="row" style="padding: 8px 12px">
        <span id="marked"></span>
        <button id="save">Save corrections.csv</button>
        <small id="how"></small>
      </div>
    </section>
    <h2>Sequences</h2>
    <section class="wide">
      <table>
        <thead>
          <tr id="names"></tr>
        </thead>
        <tbody></tbody>
      </table>
    </section>
    <div id="lost"></div>
    <noscript>The map needs JavaScript; nothing is loaded from anywhere.</noscript>
    <script type="application/json" id="data">@DATA@</script>
    <script>
@SCRIPT@
    </script>
  </body>
</html>
"""


# ---- Page script --------------------------------------------------------------------------------
# Here: what the report's page does: map, filters, the chosen photo, marks, tables; no network.
# Not here: what the data are.

PAGE_SCRIPT = r"""
"use strict";
const one = (s) => document.querySelector(s);
const D = JSON.parse(one("#data").textContent);
const canvas = one("canvas");
const pen = canvas.getContext("2d");
const el = (tag, more, ...inside) => {
  const e = Object.assign(document.createElement(tag), more);
  e.append(...inside);
  return e;
};
// told apart by people who see few colours (Okabe and Ito)
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
const colour = (n) => COLOURS[n % COLOURS.length];
const length = (m) => (m / 1e3).toFixed(m < 1e4 ? 2 : 1) + " km";
const utc = (t) => {
  if (t === null) return "unknown";
  return new Date(Math.round(t * 1e3)).toISOString().slice(0, 23).replace("T", " ");
};
const local = (t, offset) => (t === null ? "unknown" : utc(t + offset).slice(0, 19));
const zone = (s) => {
  const m = Math.round(Math.abs(s) / 60);
  const two = (n) => String(n).padStart(2, "0");
  return (s < 0 ? "-" : "+") + two(Math.floor(m / 60)) + ":" + two(m % 60);
};
const plural = (n, word) => n + " " + word + (n === 1 ? "" : "s");
one("#words").textContent = D.words;

// ---- dots: p = [name, latitude, longitude, seconds, heading, ...], x metres east and y south
const spots = D.sequences.flatMap((s) => s.points).concat(D.others);
const range = (list, of) =>
  list.reduce(([a, b], o) => [Math.min(a, of(o)), Math.max(b, of(o))], [1 / 0, -1 / 0]);
const middle = (n) => range(spots, (p) => p[n]).reduce((a, b) => a + b) / 2 || 0;
const lat0 = middle(1);
const lon0 = middle(2);
const M = 111320;
const K = Math.max(0.01, Math.cos((lat0 * Math.PI) / 180));
// Web Mercator, as map tiles have it, in degrees; near the poles degrees as they are
const polar = range(spots, (p) => Math.abs(p[1]))[1] > 85;
const mercator = (lat) =>
  polar ? lat / K : (Math.log(Math.tan(Math.PI / 4 + (lat * Math.PI) / 360)) * 180) / Math.PI;
const y0 = mercator(lat0);
const put = (p, more) =>
  Object.assign(more, { p, x: (p[2] - lon0) * K * M, y: (y0 - mercator(p[1])) * K * M });
const dots = [];
const cuts = [];
D.sequences.forEach((s, n) => {
  const same = { s, n, o: s.offset, f: s.place, c: s.camera, state: "good", why: "" };
  s.dots = s.points.map((p) => put(p, { ...same, t: s.start + p[3] }));
  dots.push(...s.dots);
  if (s.before) for (const p of s.before) cuts.push(put(p, { why: "cut here: " + s.cut }));
});
for (const p of D.others)
  dots.push(put(p, { n: -1, t: p[3], o: p[9], f: p[7], c: p[8], state: p[5], why: p[6] }));
dots.forEach((d) => {
  d.day = d.t === null ? "unknown" : local(d.t, d.o).slice(0, 10);
  d.file = D.folders[d.f][0] + d.p[0];
});
dots.sort((a, b) => (a.t || 0) - (b.t || 0));

// ---- filters
const STATES = {
  "": "everything",
  good: "in a sequence",
  failed: "failed",
  duplicate: "duplicates",
};
for (const d of dots) STATES[d.state] = STATES[d.state] || d.state.replace(/_/g, " ");
STATES.marked = "marked by you";
const options = (id, pairs) => {
  for (const [value, text] of pairs) one(id).append(el("option", { value }, text));
  one(id).onchange = () => {
    sift();
    fit(seen);
  };
};
options("#state", Object.entries(STATES));
const titles = D.sequences.map((s, n) => [n, s.id.slice(0, 8) + " " + s.folder]);
options("#sequence", [["", "all"], ...titles]);
const days = [...new Set(dots.map((d) => d.day))].sort();
options("#day", [["", "all"], ...days.map((day) => [day, day])]);
options("#camera", [["", "all"], ...D.cameras.map((name, n) => [n, name])]);
let seen = dots;
const marks = new Map();
function sift() {
  const [state, sequence, day, camera] = ["#state", "#sequence", "#day", "#camera"].map(
    (id) => one(id).value,
  );
  seen = dots.filter(
    (d) =>
      (state === "" || d.state === state || (state === "marked" && marks.has(d.file))) &&
      (sequence === "" || d.n === +sequence) &&
      (day === "" || d.day === day) &&
      (camera === "" || d.c === +camera),
  );
  one("#shown").textContent = plural(seen.length, "photo");
  if (chosen && !seen.includes(chosen)) choose(null);
  soon();
}

// ---- the map
let view = { x: 0, y: 0, s: 1 };
let W = 0;
let H = 0;
let due = 0;
let chosen = null;
const X = (o) => (o.x - view.x) * view.s + W / 2;
const Y = (o) => (o.y - view.y) * view.s + H / 2;
const soon = () => {
  due = due || requestAnimationFrame(draw);
};
function fit(list) {
  if (!list.length) return;
  const [a, b] = range(list, (o) => o.x);
  const [c, d] = range(list, (o) => o.y);
  const s = Math.min((W - 110) / Math.max(b - a, 20), (H - 90) / Math.max(d - c, 20));
  view = { x: (a + b) / 2, y: (c + d) / 2, s: Math.max(s, 1e-5) };
  soon();
}
function zoom(f, x = W / 2, y = H / 2) {
  const s = Math.min(400, Math.max(1e-5, view.s * f));
  const g = 1 / view.s - 1 / s;
  view = { x: view.x + (x - W / 2) * g, y: view.y + (y - H / 2) * g, s };
  soon();
}
const tiles = new Map();
function drawTiles() {
  const world = 360 * K * M * view.s;
  const z = Math.max(0, Math.min(19, Math.round(Math.log2(world / 256))));
  const size = world / 2 ** z;
  const left = W / 2 - (view.x + (lon0 + 180) * K * M) * view.s;
  const top = H / 2 - (view.y + (180 - y0) * K * M) * view.s;
  for (let i = Math.floor(-left / size); i * size + left < W; i++)
    for (let j = Math.max(0, Math.floor(-top / size)); j * size + top < H && j < 2 ** z; j++) {
      const x = ((i % 2 ** z) + 2 ** z) % 2 ** z;
      const url = D.tiles.replace("{z}", z).replace("{x}", x).replace("{y}", j);
      let tile = tiles.get(url);
      if (!tile) {
        if (tiles.size > 300) tiles.clear();
        tile = el("img", { src: url, onload: soon });
        tiles.set(url, tile);
      }
      if (tile.complete && tile.naturalWidth)
        pen.drawImage(tile, i * size + left, j * size + top, size + 1, size + 1);
    }
}
const MARKS = {
  failed: (x, y) => cross(x, y),
  left_out: (x, y) => cross(x, y),
  duplicate: (x, y) => pen.arc(x, y, 5, 0, 7),
};
function cross(x, y) {
  pen.moveTo(x - 5, y - 5);
  pen.lineTo(x + 5, y + 5);
  pen.moveTo(x + 5, y - 5);
  pen.lineTo(x - 5, y + 5);
}
function drawDots(ink) {
  const taken = new Set();
  const narrow = seen.length > 20000;
  for (const d of seen) {
    const x = X(d);
    const y = Y(d);
    if (x < -9 || y < -9 || x > W + 9 || y > H + 9) continue;
    const marked = marks.get(d.file);
    const special = d.state !== "good" || marked;
    const cell = Math.round(x / 2) * 65536 + Math.round(y / 2);
    if (!special && taken.has(cell)) continue;
    taken.add(cell);
    const tint = d.n < 0 ? ink : colour(d.n);
    if (!special) {
      pen.fillStyle = tint;
      pen.fillRect(x - 3, y - 3, 6, 6);
      const wide = Math.round(x / 9) * 65536 + Math.round(y / 9) + 0.5;
      if (narrow || d.p[4] === null || taken.has(wide)) continue;
      taken.add(wide);
      const h = (d.p[4] * Math.PI) / 180;
      pen.strokeStyle = tint;
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(x + 13 * Math.sin(h), y - 13 * Math.cos(h));
      pen.stroke();
      continue;
    }
    pen.strokeStyle = marked || d.state === "failed" || d.state === "left_out" ? "#d55e00" : ink;
    pen.beginPath();
    if (marked && marked.out) cross(x, y);
    else if (MARKS[d.state]) MARKS[d.state](x, y);
    else if (d.state === "good") pen.arc(x, y, 6, 0, 7);
    else pen.rect(x - 5, y - 5, 10, 10);
    pen.stroke();
  }
}
function drawLines() {
  pen.globalAlpha = 0.5;
  D.sequences.forEach((s, n) => {
    if (one("#sequence").value !== "" && n !== +one("#sequence").value) return;
    pen.strokeStyle = colour(n);
    pen.beginPath();
    let u, v;
    for (const d of s.dots) {
      const x = X(d);
      const y = Y(d);
      if (u !== undefined && Math.abs(x - u) + Math.abs(y - v) < 1.5) continue;
      u === undefined ? pen.moveTo(x, y) : pen.lineTo(x, y);
      u = x;
      v = y;
    }
    pen.stroke();
  });
  pen.globalAlpha = 1;
}
function drawScale(ink) {
  let m = 10 ** Math.floor(Math.log10(140 / view.s));
  m *= [5, 2, 1].find((f) => m * f * view.s <= 140) || 1;
  pen.strokeStyle = pen.fillStyle = ink;
  pen.beginPath();
  pen.moveTo(16, H - 20);
  pen.lineTo(16, H - 14);
  pen.lineTo(16 + m * view.s, H - 14);
  pen.lineTo(16 + m * view.s, H - 20);
  pen.stroke();
  pen.fillText(m < 1 ? m * 100 + " cm" : m < 1e3 ? m + " m" : m / 1e3 + " km", 16, H - 26);
}
function draw() {
  due = 0;
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(W * ratio) || canvas.height !== Math.round(H * ratio)) {
    canvas.width = Math.round(W * ratio);
    canvas.height = Math.round(H * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, W, H);
  const ink = getComputedStyle(document.body).color;
  if (D.tiles && !polar) drawTiles();
  pen.lineWidth = 2;
  pen.lineCap = "round";
  drawLines();
  drawDots(ink);
  pen.strokeStyle = ink;
  pen.beginPath();
  for (const o of cuts) {
    const x = X(o);
    const y = Y(o);
    pen.moveTo(x, y - 7);
    pen.lineTo(x + 7, y);
    pen.lineTo(x, y + 7);
    pen.lineTo(x - 7, y);
    pen.closePath();
  }
  if (chosen) {
    pen.moveTo(X(chosen) + 9, Y(chosen));
    pen.arc(X(chosen), Y(chosen), 9, 0, 7);
  }
  pen.stroke();
  drawScale(ink);
}
function nearest(x, y, reach) {
  let found = null;
  for (const o of seen) {
    const far = Math.hypot(X(o) - x, Y(o) - y);
    if (far < reach) {
      reach = far;
      found = o;
    }
  }
  return found;
}
const at = (e) => {
  const r = canvas.getBoundingClientRect();
  return [e.clientX - r.left, e.clientY - r.top];
};
let drag = null;
let moved = 0;
canvas.addEventListener("wheel", (e) => {
  e.preventDefault();
  zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0018)), ...at(e));
}, { passive: false });
canvas.onpointerdown = (e) => {
  if (!e.isPrimary) return;
  drag = at(e);
  moved = 0;
  canvas.setPointerCapture(e.pointerId);
};
canvas.onpointermove = (e) => {
  if (!drag || !e.isPrimary) return;
  const p = at(e);
  moved += Math.hypot(p[0] - drag[0], p[1] - drag[1]);
  view.x -= (p[0] - drag[0]) / view.s;
  view.y -= (p[1] - drag[1]) / view.s;
  drag = p;
  soon();
};
canvas.onpointerup = canvas.onpointercancel = (e) => {
  drag = null;
  if (moved < 6) choose(nearest(...at(e), 26));
};
canvas.onkeydown = (e) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
  if (step) walk(step);
  else if (e.key === "+" || e.key === "=") zoom(1.6);
  else if (e.key === "-") zoom(1 / 1.6);
  else if (e.key === "0") fit(seen);
  else if (e.key === "Escape") choose(null);
  else if (e.key.toLowerCase() === "l") {
    if (chosen) mark(chosen, { out: !(marks.get(chosen.file) || {}).out });
  } else return;
  e.preventDefault();
};
one("#in").onclick = () => zoom(1.6);
one("#out").onclick = () => zoom(1 / 1.6);
one("#all").onclick = () => fit(seen);
function walk(step) {
  if (!seen.length) return;
  const now = seen.indexOf(chosen);
  const to = now < 0 ? (step > 0 ? 0 : seen.length - 1) : (now + step + seen.length) % seen.length;
  choose(seen[to]);
  const [x, y] = [X(chosen), Y(chosen)];
  if (x < 20 || y < 20 || x > W - 20 || y > H - 20)
    Object.assign(view, { x: chosen.x, y: chosen.y });
}
"""


# ---- Page tables --------------------------------------------------------------------------------
# Here: the rest of what the page does: the chosen photo, marks and their file, tables.
# Not here: map and filters.

PAGE_SCRIPT_BELOW = r"""
// ---- the chosen photo
const photo = one("#photo");
const fact = (list, name, value, bad) => {
  if (value === "" || value === null || value === undefined) return;
  list.append(el("dt", {}, name), el("dd", { className: bad ? "bad" : "" }, value));
};
const lon = (p) => (((((p[2] + 540) % 360) + 360) % 360) - 180).toFixed(6);
function choose(d) {
  chosen = d;
  photo.replaceChildren();
  soon();
  if (!d) {
    const text = seen.length ? "Choose a dot on the map to see its photo." : "Nothing to show.";
    photo.append(el("p", {}, text));
    return;
  }
  const film = /\.(mp4|mov|m4v|360|insv)$/i.test(d.p[0]);
  const alt = "Preview of " + d.p[0];
  const image = film ? el("video", { controls: true, preload: "metadata", title: alt })
    : el("img", { alt, loading: "lazy" });
  const lost = film ? "This browser cannot play the video." : "The photo is not beside this page.";
  image.onerror = () => image.replaceWith(el("p", {}, lost));
  image.src = D.thumbnails[d.file] || D.folders[d.f][1] + encodeURIComponent(d.p[0]);
  const place = d.p[1].toFixed(6) + "," + lon(d.p);
  const list = el("dl");
  fact(list, "Local time", local(d.t, d.o) + " (" + zone(d.o) + ")");
  fact(list, "UTC", utc(d.t));
  fact(list, "Position", place);
  fact(list, "Heading", d.p[4] === null ? "" : d.p[4] + "°");
  fact(list, "Speed", d.s && d.p[5] !== null ? d.p[5] + " km/h" : "");
  fact(list, "Camera", D.cameras[d.c]);
  fact(list, "Sequence", d.s ? d.s.id.slice(0, 8) + " in " + d.s.folder : "");
  fact(list, "State", d.state === "good" ? "" : STATES[d.state], d.state === "failed");
  fact(list, "Why", d.why, d.state === "failed");
  const now = marks.get(d.file) || {};
  const out = el("input", { type: "checkbox", checked: !!now.out, id: "out_" });
  out.style.minHeight = 0;
  out.onchange = () => mark(d, { out: out.checked });
  const turn = el("input", { type: "number", step: 1, min: -360, max: 360, value: now.turn || "" });
  turn.onchange = () => mark(d, { turn: +turn.value || 0 });
  const copy = el("button", {}, "Copy position");
  copy.onclick = () => {
    navigator.clipboard && navigator.clipboard.writeText(place).catch(() => {});
    copy.textContent = place;
  };
  const back = el("button", { ariaLabel: "Previous photo", onclick: () => walk(-1) }, "←");
  const on = el("button", { ariaLabel: "Next photo", onclick: () => walk(1) }, "→");
  const outside = el("label", { className: "row" }, out, "leave out");
  const turning = el("label", { className: "row" }, "turn by ", turn, "°");
  photo.append(
    image,
    el("strong", {}, d.p[0]),
    list,
    el("div", { className: "row" }, outside, turning),
    el("div", { className: "row" }, back, on, copy),
  );
}

// ---- marks, and the table that process_csv takes
function mark(d, change) {
  const now = Object.assign({ out: false, turn: 0 }, marks.get(d.file), change);
  now.out || now.turn ? marks.set(d.file, now) : marks.delete(d.file);
  one("#marks").hidden = !marks.size;
  one("#marked").textContent = plural(marks.size, "photo") + " marked";
  one("#how").textContent = "then: " + D.mend;
  if (d === chosen) {
    const box = photo.querySelector("input[type=checkbox]");
    if (box) box.checked = now.out;
  }
  soon();
}
const quoted = (text) => (/[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text);
function corrections() {
  const rows = [...marks].map(([file, m]) => [file, m.out ? "yes" : "", m.turn || ""]);
  const table = [["filename", "leave_out", "turn_by"], ...rows];
  return table.map((row) => row.map(String).map(quoted).join(",") + "\n").join("");
}
one("#save").onclick = () => {
  const href = URL.createObjectURL(new Blob([corrections()], { type: "text/csv" }));
  el("a", { href, download: "corrections.csv" }).click();
};

// ---- tables
const svgPath = (d, stroke, width, more) =>
  `<path d="${d}" stroke="${stroke}" stroke-width="${width}" ${more}/>`;
function chart(s, tint) {
  const p = s.points.filter((p) => p[5] !== null);
  const cell = el("td");
  if (!p.length) return cell;
  const top = range(p, (p) => p[5]).concat(5).reduce((a, b) => Math.max(a, b));
  const a = p[0][3];
  const long = Math.max(1e-3, s.seconds - a);
  const x = (p) => (((p[3] - a) / long) * 198 + 1).toFixed(1);
  const y = (p) => (42 - (p[5] / top) * 26).toFixed(1);
  const line = p.map((p) => x(p) + " " + y(p)).join("L");
  cell.innerHTML = `<svg viewBox="0 0 200 44">${
    svgPath(`M1 42L${line}V42z`, "none", 0, `fill="${tint}" opacity=".16"`) +
    svgPath("M" + line, tint, 1.5, "")
  }<text x="1" y="11">up to ${top.toFixed(0)} km/h</text></svg>`;
  return cell;
}
const NAMES = [
  "Sequence",
  "Photos",
  "Start (UTC)",
  "Length",
  "Duration",
  "Mean speed",
  "Speed along the way",
  "Uploaded",
  "Begins because",
];
one("#names").append(...NAMES.map((name) => el("th", { scope: "col" }, name)));
D.sequences.forEach((s, n) => {
  const mean = s.seconds > 0 ? ((s.metres / s.seconds) * 3.6).toFixed(1) + " km/h" : "–";
  const minutes = (s.seconds / 60).toFixed(1) + " min";
  const texts = [s.points.length, utc(s.start).slice(0, 19), length(s.metres), minutes, mean];
  const cells = [
    el("td", {}, el("span", {}, s.id.slice(0, 8), el("small", {}, s.folder))),
    ...texts.map((text) => el("td", {}, String(text))),
    chart(s, colour(n)),
    el("td", {}, s.sent),
    el("td", {}, s.cut),
  ];
  cells.forEach((cell, i) => (cell.dataset.name = NAMES[i]));
  cells[0].style.boxShadow = "inset 5px 0 " + colour(n);
  const row = el("tr", { tabIndex: 0 }, ...cells);
  row.onclick = () => {
    one("#sequence").value = n;
    sift();
    fit(s.dots);
    one("#map").scrollIntoView({ block: "nearest" });
  };
  row.onkeydown = (e) => e.key === "Enter" && row.onclick();
  one("tbody").append(row);
});
const causes = new Map();
for (const [file, why] of D.lost) causes.set(why, (causes.get(why) || []).concat(file));
if (causes.size) one("#lost").append(el("h2", {}, "Not on the map"));
for (const [why, files] of causes) {
  const list = el("ul", {}, ...files.slice(0, 500).map((file) => el("li", {}, file)));
  if (files.length > 500) list.append(el("li", {}, "and " + (files.length - 500) + " more"));
  const title = el("p", {}, plural(files.length, "photo") + ": " + (why || "without a position"));
  one("#lost").append(title, el("section", {}, list));
}
sift();
choose(null);
new ResizeObserver(() => {
  const first = !W;
  W = canvas.clientWidth;
  H = canvas.clientHeight;
  first ? fit(dots) : soon();
}).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").onchange = soon;
"""


# ---- Report data --------------------------------------------------------------------------------
# Here: what the page shows of the journals, as plain values, and the page with them in it.
# Not here: how it is drawn.


@dataclass(frozen=True)
class PageOptions(Group):
    """page"""

    word: ClassVar[str] = "page"
    output_path: str = opt("report.html", Rule("file to write", "FILE"))
    tiles: Optional[str] = opt(
        None,
        rare("draw map tiles from here: https://HOST/{z}/{x}/{y}.png (default: no network)", "URL"),
    )
    thumbnails: bool = opt(False, rare("put the small pictures of the photos' EXIF into the page"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tiles is not None and not _TILES.match(self.tiles):
            wrong, example = "--tiles is no address of tiles", "https://HOST/{z}/{x}/{y}.png"
            raise UsageError("bad_option", wrong, value=self.tiles, remedy=f"like {example}")


_TILES = re.compile(r"(https?://[A-Za-z0-9.:-]+)/(?=.*\{z\})(?=.*\{x\})(?=.*\{y\})[^\s\"'<>;,]*\Z")


class Origin(NamedTuple):
    """What the images of a sequence have in common."""

    folder: str  # as it is named
    place: int = 0  # number of the folder
    camera: int = 0  # number of the camera
    offset: float = 0.0  # seconds that local time is ahead of UTC


@dataclass
class Spot:
    """An image on the map."""

    name: str
    lat: float
    lon: float  # degrees; may be beyond 180, so that the antimeridian is no edge
    time: Optional[float]  # seconds since the start of its sequence, or since 1970
    heading: Optional[float]
    more: Tuple[object, ...] = ()  # km/h; or how far it has come, and why no further

    def plain(self) -> List[object]:
        """As the page has it: a row of values."""
        return [self.name, self.lat, self.lon, self.time, self.heading, *self.more]


@dataclass
class PageSequence:
    """A sequence on the map."""

    id: str
    start: float  # seconds UTC
    source: Origin
    cut: str = ""  # why it begins where it does
    before: Optional[Spot] = None  # the image before the cut
    metres: float = 0.0
    last: Optional[Fix] = None
    points: List[Spot] = dataclasses.field(default_factory=list)

    def add(self, image: Image, fix: Fix) -> None:
        """The next image of it."""
        last = self.last or fix
        metres, seconds = distance(last, fix), fix.time - last.time
        self.metres, self.last = round(self.metres + metres, 3), fix
        speed = round(metres / seconds * 3.6, 1) if seconds > 0 else None
        self.points.append(_spot(image, fix, (speed,), self.start))

    def plain(self, sent: SequenceCount) -> Dict[str, object]:
        """As the page has it."""
        seconds = (self.last.time if self.last else self.start) - self.start
        arrived = f"{sent.uploaded} of {sent.images}" + (", finished" if sent.finished else "")
        row: Dict[str, object] = {"id": self.id, "start": self.start, **self.source._asdict()}
        row.update(cut=self.cut, metres=self.metres, seconds=seconds, sent=arrived)
        row.update(points=[spot.plain() for spot in self.points])
        if self.before is not None:
            row.update(before=[self.before.plain()])
        return row


def _spot(image: Image, fix: Fix, more: Tuple[object, ...] = (), start: float = 0.0) -> Spot:
    """An image for the page; its time in seconds since start."""
    heading, when = image.heading, image.time
    return Spot(
        image.path.name,
        round(fix.lat, 7),
        fix.lon,
        None if when is None else round(when - start, 3),
        None if heading is None else round(heading, 1),
        more,
    )


def cut_reason(before: Image, image: Image, count: int) -> str:
    """Why a sequence begins at an image; count is how many images the sequence before it has."""
    here, there, membership = before.geotag, image.geotag, image.membership
    if here is None or there is None:
        return ""
    metres, seconds = distance(here.fix, there.fix), there.time - here.time
    usual = (SequenceOptions.cutoff_distance, SequenceOptions.cutoff_time)
    far, late = (membership.limits if membership else None) or usual
    if metres <= far and seconds <= late:
        if count >= SEQUENCE_IMAGES:
            return f"{count} images, the most in a sequence"
        most = f"{SEQUENCE_PIXELS} pixels or {SEQUENCE_BYTES} bytes"
        return f"{count} images, and one more would exceed {most}, the most in a sequence"
    too_far = f" (limit {far:g} m)" if metres > far else ""
    too_late = f" (limit {late:g} s)" if seconds > late else ""
    return f"{metres:.0f} m{too_far} and {seconds:.0f} s{too_late} after {before.path.name}"


def page_sequences(
    images: Sequence[Image], source_of: Callable[[Image], Origin]
) -> Dict[str, PageSequence]:
    """The sequences of a folder for the page, each cut with its reason; images are geotagged, and
    in order.
    """
    rows: Dict[str, PageSequence] = {}
    last: Dict[Tuple[Optional[str], ...], Image] = {}  # of each camera
    for image in images:
        film = is_video_name(image.path.name)
        before = None if film else last.get(camera_key(image))
        place, identity = image.geotag, image.sequence
        if identity and place is not None:
            if identity not in rows:
                row = rows[identity] = PageSequence(identity, place.time, source_of(image))
                if before is not None and before.fix is not None:
                    known = rows.get(before.sequence or "")
                    row.cut = cut_reason(before, image, len(known.points) if known else 0)
                    row.before = _spot(before, before.fix)
            rows[identity].add(image, place.fix)
        if not film:
            last[camera_key(image)] = image
    return rows


def join_longitudes(spots: Sequence[Spot]) -> None:
    """Shift longitudes by whole turns so that the widest gap between them is outside: the
    antimeridian is no edge.
    """
    east = sorted({spot.lon % 360.0 for spot in spots}) or [0.0]
    after = east[1:] + [east[0] + 360.0]
    _, first = max((behind - lon, behind % 360.0) for lon, behind in zip(east, after))
    turn_back = 360.0 if first > 180.0 else 0.0
    for spot in spots:
        spot.lon = round((spot.lon - first + 1e-9) % 360.0 - 1e-9 + first - turn_back, 7)


def _along_video(journal: Journal, image: Image) -> List[Image]:
    """A video at its places, a second apart at least; nothing for an image."""
    shown_, last = [], -math.inf
    for fix in fixes_of_video(journal, image.path.name):
        if fix.time - last >= 1.0:
            last = fix.time
            place = Geotag(fix.time, fix.lat, fix.lon, fix.alt)
            shown_.append(image._replace(geotag=place))
    return shown_


class _Page:
    """What the page shows, as it is gathered from the folders."""

    def __init__(self, tops: Sequence[str], options: PageOptions, report: Report) -> None:
        self.tops, self.options, self.report = tops, options, report
        self.sequences: List[Tuple[PageSequence, SequenceCount]] = []
        self.others: List[Spot] = []  # in no sequence, or failed
        self.lost: List[Tuple[str, str]] = []  # file and reason of those without a position
        self.index = PageIndex(tops, os.path.dirname(os.path.abspath(options.output_path)))

    @property
    def title(self) -> str:
        """What the page is about."""
        names = [os.path.basename(os.path.abspath(top)) or top for top in self.tops]
        return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")

    def add(self, found: Standings, service: str) -> None:
        """Take in the images of a folder."""
        placed: List[Image] = []
        counts = SequenceCounts(found.journal, service)
        for standing in found.images:
            counts.add(standing)
            self._take(standing)
            if standing.image.geotag is not None:
                placed.extend(_along_video(found.journal, standing.image) or [standing.image])
        for identity, row in page_sequences(in_order(placed), self.index.source).items():
            self.sequences.append((row, counts.rows.get(identity) or SequenceCount(identity)))

    def _take(self, standing: Standing) -> None:
        """Count an image, and show it by itself where it is in no sequence; its failure is none of
        the page.
        """
        image, fix = standing.image, standing.image.fix
        left_out = standing.outcome or Outcome("skipped", SKIP_UPLOADED)
        self.report.count(image.path, None if image.found else left_out)
        source = self.index.source(image)
        if self.options.thumbnails and image.found is not None:
            self.index.add_thumbnail(image)
        if image.found and fix is None:
            self.lost.append((named_below(str(image.path), self.tops), standing.reason))
        elif fix is not None and (not image.sequence or standing.word == "failed"):
            why = standing.reason or skip_words(standing.word)
            more = (standing.word, why, source.place, source.camera, source.offset)
            self.others.append(_spot(image, fix, more))

    def plain(self) -> Dict[str, object]:
        """As the page has it."""
        rows = [row for row, _ in self.sequences]
        spots = [spot for row in rows for spot in row.points]
        join_longitudes(self.others + spots + [row.before for row in rows if row.before])
        way = sum(row.metres for row in rows) / 1000
        counts = [(self.report.done, "photo"), (len(rows), "sequence")]
        words = ", ".join(plural(count, word) for count, word in counts)
        mend = f"process_csv --csv_path corrections.csv for {self.title}, and process again"
        return {
            "words": f"{words}, {way:.1f} km",
            "sequences": [row.plain(sent) for row, sent in self.sequences],
            "others": [spot.plain() for spot in self.others],
            "lost": self.lost,
            "folders": self.index.folders,
            "cameras": list(self.index.cameras),
            "thumbnails": self.index.thumbnails,
            "tiles": self.options.tiles,
            "mend": mend,
        }


class PageIndex:
    """The folders and cameras that dots of the page name by their numbers."""

    def __init__(self, tops: Sequence[str], base: str) -> None:
        self.tops, self.base = tops, base  # base: the folder of the page
        self.folders: List[Tuple[str, str]] = []  # as corrections name it, as the page reaches it
        self.cameras: Dict[str, int] = {}
        self.thumbnails: Dict[str, str] = {}  # file -> data URL
        self._places: Dict[str, Tuple[str, int]] = {}  # folder -> its name, its number

    def source(self, image: Image) -> Origin:
        """Where an image comes from."""
        folder = os.path.dirname(str(image.path))
        if folder not in self._places:
            title = os.path.basename(os.path.abspath(folder)) if self._is_top(folder) else ""
            name = title or named_below(folder, self.tops)
            self._places[folder] = name, len(self.folders)
            self.folders.append((self._prefix(folder), self._address(folder)))
        camera = " ".join(filter(None, image.camera[:2])) or "unknown"
        number = self.cameras.setdefault(camera, len(self.cameras))
        offset = image.geotag.offset if image.geotag else 0.0
        name, place = self._places[folder]
        return Origin(name, place, number, offset)

    def _is_top(self, folder: str) -> bool:
        return named_below(folder, self.tops) == os.curdir

    def _prefix(self, folder: str) -> str:
        """What stands before a file name in the corrections."""
        return (
            ""
            if self._is_top(folder)
            else named_below(folder, self.tops).replace(os.sep, "/") + "/"
        )

    def _address(self, folder: str) -> str:
        """How the page reaches a folder: beside it, else by its whole path."""
        import urllib.parse

        whole = unextended(os.path.abspath(folder))
        path = relative_to(whole, self.base)
        if os.path.isabs(path):  # another drive
            return Path(whole).as_uri() + "/"
        if path == os.curdir:
            return ""
        return "./" + urllib.parse.quote(os.fsencode(path.replace(os.sep, "/"))) + "/"

    def add_thumbnail(self, image: Image) -> None:
        """Keep the small picture of a photo's EXIF, if there is one."""
        text = thumbnail_of(image.path)
        if text:
            file = self._prefix(os.path.dirname(str(image.path))) + image.path.name
            self.thumbnails[file] = "data:image/jpeg;base64," + text


def _escaped(match: "re.Match[str]") -> str:
    """What could end the script, and undecodable bytes of a file name, which show as backslash
    escapes.
    """
    letter = match.group()
    return ("\\u" if letter in "<>&" else "\\\\u") + f"{ord(letter):04x}"


def _page_text(page: _Page) -> str:
    """The whole page."""
    import html

    text = json.dumps(page.plain(), separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    text = re.sub("[<>&\ud800-\udfff]", _escaped, text)
    tiles = _TILES.match(page.options.tiles or "")
    values = {
        "@TITLE@": html.escape(page.title),
        "@DATA@": text,
        "@TILES@": tiles.group(1) if tiles else "",
        "@SCRIPT@": PAGE_SCRIPT + PAGE_SCRIPT_BELOW,
    }
    return PAGE_BEGIN + re.sub("@[A-Z]+@", lambda match: values[match.group()], PAGE_HEAD)


def _check_place(path: str, remedy: str) -> None:
    """Raise CannotWrite where a page could not be written, or would replace another file."""
    begin = begin_of(path)
    if begin is not None and not begin.startswith(PAGE_BEGIN.encode("ascii")):
        raise CannotWrite("not_ours", "was not written by report", file=path, remedy=remedy)
    folder = os.path.dirname(path) or os.curdir
    if not os.path.isdir(folder):
        wrong = "cannot be written: there is no such folder"
        raise CannotWrite("cannot_write", wrong, file=path, remedy="make the folder first")


def write_page(page: _Page) -> None:
    """Write a page; raises CannotWrite where another file is in its place."""
    path = page.options.output_path
    _check_place(path, "choose another --output_path")
    write_atomically(path, [_page_text(page).encode("utf-8", "backslashreplace")])


def write_report(options: Options) -> Report:
    """Write one HTML page from the journals: map, photos, speeds and table of all sequences; raises
    NotFound, CannotWrite.
    """
    tops, asked = options[Input].folders, options[PageOptions]
    report, service = Report("report", told=Told("shown")), service_name(graph_root())
    page = _Page(tops, asked, report)
    for found in standings(tops, service, report.trouble):
        page.add(found, service)
    if not report.done:
        wrong = "has no processed images"
        raise NotFound("nothing_processed", wrong, file=tops[0], remedy="run process first")
    write_page(page)
    begun = {row.id for row, _ in page.sequences}
    report.told.facts.update(page=asked.output_path, sequences=len(begun))
    report.told.lines.append("the page is " + asked.output_path)
    return report


@dataclass(frozen=True)
class RunPage(Group):
    """page of this run"""

    word: ClassVar[str] = "run_page"
    report: Optional[str] = opt(
        None,
        Rule("write the report's page of this run; with --dry_run nothing else is written", "FILE"),
    )


def _as_it_stands(image: Image) -> Image:
    """An image without what only this run says of it: that it was done before."""
    done = image.aside is not None and image.aside.reason in (SKIP_PROCESSED, SKIP_UPLOADED)
    return image._replace(aside=None) if done else image


def check_run_page(options: Options) -> None:
    """Raise CannotWrite, before anything is done, where the page of a run could not be written."""
    path = options[RunPage].report
    if path is not None:
        _check_place(path, "choose another file for --report")


def write_run_page(told: Report, options: Options, service: str) -> None:
    """Write the page of a run that may have written nothing else."""
    path, tops = options[RunPage].report, options[Input].folders
    if path is None:
        return
    shown_ = Report("report", told=Told("shown"))
    page = _Page(tops, PageOptions(output_path=path), shown_)
    for folder, images in by_folder(told.images).items():
        journal = Journal(folder, write=False)
        with contextlib.suppress(BadJournal):
            journal.__enter__()
        stand = (standing_of(journal, service, _as_it_stands(one), None, False) for one in images)
        page.add(Standings(journal, stand, None), service)
    write_page(page)
    told.told.lines.append("the page is " + path)
    told.told.facts.update(page=path)


# ---- Story --------------------------------------------------------------------------------------
# Here: every decision about one photo in words and as plain values, from what the journal keeps.
# Not here: deciding anything.


class Teller:
    """Tells the story of one image; others are the images of its folder, in order."""

    def __init__(self, journal: Journal, standing: Standing, others: Sequence[Image]) -> None:
        self.journal, self.standing, self.image = journal, standing, standing.image
        self.others = others
        self.values: Dict[str, object] = {}  # for --json
        self.lines: List[str] = []

    def tell(self) -> None:
        """Fill in lines and values."""
        word = self.standing.word.replace("_", " ")
        told = self.standing.reason
        self._line("state", told if told.startswith(word) else f"{word}: {told}".rstrip(": "))
        self._note(image=str(self.image.path), state=self.standing.word)
        for topic, words in (
            ("time", self._time()),
            ("other times", self._other_times()),
            ("place", self._place()),
            ("direction", self._direction()),
            ("camera", " ".join(filter(None, self.image.camera[:2])) or "not known"),
            ("sequence", self._sequence()),
            ("written", self._written()),
            ("sent", self._sent()),
        ):
            self._line(topic, words)

    def _line(self, topic: str, words: str) -> None:
        if words:
            self.lines.append(f"{topic + ':':13}{words}")

    def _note(self, **values: object) -> None:
        self.values.update(values)

    def _time(self) -> str:
        """Its capture time, which field has it and which zone, and why."""
        image, place = self.image, self.image.geotag
        capture, given = image.capture, image.given or NOTHING_GIVEN
        when = image.time
        if when is None:
            self._note(time=None)
            return "none"
        source, zone, offset = "given", None, 0.0
        if place is not None and place.source is not None:
            source, zone, offset = place.source, place.zone, place.offset
        elif capture is not None and given.time is None:
            source, zone, offset = capture.source, capture.zone, capture.offset
        told = format_time(when)
        self._note(time=told, time_source=source, zone=format_offset(offset), zone_source=zone)
        words = f"{told}, from " + ("process_csv or interpolate" if source == "given" else source)
        words += _clock_words(image.found or NOTHING_FOUND, source)
        if zone:
            words += f"; zone {format_offset(offset)} from {zone}"
        moved = 0.0 if capture is None else round(when - capture.time, 3)
        return words + (f"; moved by {moved:+g} s" if moved and source != "given" else "")

    def _other_times(self) -> str:
        """What its other clocks say."""
        found, place = self.image.found or NOTHING_FOUND, self.image.geotag
        used = place.source if place is not None else None
        told = [f"{one.name} {one.text}" for one in found.clocks if one.name != used and one.text]
        if found.gps_time is not None and used != "GPS time":
            told.append(f"GPS time {format_time(found.gps_time)}")
        return ", ".join(told)

    def _place(self) -> str:
        """Its position, what told it, and between which points of a track."""
        image, fix = self.image, self.image.fix
        if fix is None:
            self._note(latitude=None, longitude=None)
            return "none"
        place, given = image.geotag, image.given or NOTHING_GIVEN
        source = "EXIF" if given.lat is None else "process_csv or interpolate"
        words = f"{fix.lat:.7f}, {fix.lon:.7f}"
        words += "" if fix.alt is None else f", {fix.alt:.1f} m high"
        if place is not None and place.track is not None and place.around is not None:
            source = place.track if place.track == OTHER_PHOTOS else f"the track {place.track}"
            first, last = (format_time(time) for time in place.around)
            where = f"between its points of {first} and {last}"
            words += f", from {source}, " + (where if first != last else f"at its point of {first}")
            self._note(between=[first, last])
        else:
            source = place.placed_by if place and place.placed_by else source
            words += f", from {source}"
        self._note(latitude=fix.lat, longitude=fix.lon, altitude=fix.alt, placed_by=source)
        return words

    def _direction(self) -> str:
        """Its direction, and what told it."""
        image, place, heading = self.image, self.image.geotag, self.image.heading
        self._note(heading=heading)
        if heading is None:
            return "none"
        given, found = image.given or NOTHING_GIVEN, image.found or NOTHING_FOUND
        source = "the way to its neighbours"
        if place is not None and place.heading == heading:
            source = "EXIF" if given.heading is None else "process_csv"
            if place.track is not None and found.heading != heading:
                source = f"the course of the track {place.track}"
        return f"{heading:.1f} degrees, from {source}"

    def _sequence(self) -> str:
        """Its sequence, its place in it and why it begins there; or what it repeats."""
        image, membership = self.image, self.image.membership
        identity = image.sequence
        repeats = membership.repeats if membership else None
        self._note(sequence=identity, duplicate_of=repeats.partner if repeats else None)
        if repeats is not None:
            return f"none: it {self.standing.reason}"
        if identity is None:
            return "none"
        mine = [one.path for one in self.others if one.sequence == identity]
        number, row = (
            mine.index(image.path) + 1,
            page_sequences(self.others, lambda _: Origin("")).get(identity),
        )
        cut_by = row.cut if row is not None else ""
        self._note(number=number, of=len(mine), begins_because=cut_by or None)
        begins = f"; it begins {cut_by}" if cut_by else ""
        return f"{identity}, number {number} of {len(mine)}{begins}"

    def _written(self) -> str:
        """Where its description is, and since when."""
        image, at = self.image, self.journal.told_at(self.image.path.name)
        into = image.described.into if image.described is not None else None
        words = "nothing"
        if image.written is not None:
            into, words = "image", "into the photo"
        elif into == "copy" and image.copied is not None:
            words = "into a copy under .mapillary/process_images"
        elif into == "stream":
            words = "nothing: the description is added while it is sent"
        self._note(written_into=into, known_since=at)
        return words + (f"; what is known of it is of {at}" if at else "")

    def _sent(self) -> str:
        """Which services have it, or why they do not."""
        name, told, rows = self.image.path.name, [], []
        for one in self.journal.all_sent():
            if name_key(one.image) == name_key(name):
                cause = f" ({one.problem})" if one.problem else ""
                told.append(f"{_SENT_WORDS.get(one.status, one.status)} {one.service}{cause}")
                rows.append(known_values(service=one.service, status=one.status, key=one.key))
        self._note(sent=rows)
        return "; ".join(told) or "not sent"


_SENT_WORDS = {
    "sent": "to",
    "elsewhere": "before, from another folder, to",
    "started": "in part, since the upload broke off, to",
    "failed": "in vain to",
}


def _clock_words(found: Found, source: str) -> str:
    """What a clock of the file says as it stands there."""
    for clock in found.clocks:
        if clock.name == source:
            fraction = f", fraction {clock.fraction}" if clock.fraction else ""
            return f" {clock.text}{fraction}"
    return ""


def image_story(options: Options) -> Report:
    """Explain every decision about the images of one name; raises NotFound where there is none."""
    tops, service = options[Input].folders, service_name(graph_root())
    wanted = options[StatusOptions].image or ""
    report, stories = Report("status", told=Told("explained")), []
    names: List[str] = []
    for found in standings(tops, service, report.trouble):
        images = list(found.images)
        names.extend(standing.image.path.name for standing in images)
        mine = [standing for standing in images if _is_meant(wanted, standing.image.path)]
        others = in_order(one.image for one in images if one.image.geotag is not None)
        for standing in mine:
            teller = Teller(found.journal, _as_it_is(standing), others)
            teller.tell()
            stories.append(teller.values)
            report.told.lines += [str(standing.image.path), *(f"  {row}" for row in teller.lines)]
            report.done += 1
    if not stories:
        raise _no_such_image(wanted, names)
    report.told.facts.update(service=service, images=stories)
    return report


def _no_such_image(wanted: str, names: Sequence[str]) -> NotFound:
    """The error for a name that no image has, with those that are near."""
    near = near_to(os.path.basename(wanted), names, 3)
    remedy = f"did you mean {', '.join(near)}?" if near else "check --image and --import_path"
    return NotFound("no_image", "there is no such image here", file=wanted, remedy=remedy)


def _is_meant(wanted: str, path: Path) -> bool:
    """Whether a name, or a path, means an image."""
    if folded(wanted) == folded(path.name):
        return True
    return behind_links(wanted) == behind_links(str(path))


def _as_it_is(standing: Standing) -> Standing:
    """An image of which the journal knows nothing, as its file has it."""
    if standing.image.found is not None:
        return standing
    path = standing.image.path
    try:
        return standing._replace(image=image_of(path, read_found(path)))
    except ToolError as error:
        return Standing(standing.image, Outcome("failed", error.problem.code, error.problem))


# ---- Export -------------------------------------------------------------------------------------
# Here: what the journals know of all images, as GeoJSON, GPX, CSV and image descriptions.
# Not here: the page.


@dataclass(frozen=True)
class ExportOptions(Group):
    """export"""

    word: ClassVar[str] = "out"
    output_path: str = opt(
        REQUIRED,
        Rule(
            "file to write: .geojson, .gpx, .csv, or .json for the descriptions that the official "
            "tool can upload; - prints these",
            "FILE",
        ),
    )


class Exported(NamedTuple):
    """An image that has a place, and how far it has come."""

    image: Image
    fix: Fix
    state: str

    def values(self, tops: Sequence[str]) -> Dict[str, object]:
        """Its properties, by name; None = unknown."""
        image, place = self.image, self.image.geotag
        camera, repeats = image.camera, image.membership and image.membership.repeats
        return {
            "filename": named_below(str(image.path), tops).replace(os.sep, "/"),
            "time": format_time(self.fix.time),
            "latitude": round(self.fix.lat, 7),
            "longitude": round(self.fix.lon, 7),
            "altitude": None if self.fix.alt is None else round(self.fix.alt, 3),
            "heading": None if image.heading is None else round(image.heading, 3),
            "sequence": image.sequence,
            "state": self.state,
            "duplicate_of": repeats.partner if repeats else None,
            "make": camera.make,
            "model": camera.model,
            "time_source": place.source if place else None,
            "placed_by": (place.track or place.placed_by or "EXIF") if place else None,
        }


def official_description(image: Image) -> Dict[str, object]:
    """An image as the official tool describes it: the keys of its schema (0.14), with the path."""
    row = parsed(description_of(image))
    assert isinstance(row, dict)
    kept = {key: value for key, value in row.items() if key in _OFFICIAL}
    return dict(
        kept,
        filename=os.path.abspath(str(image.path)),
        filesize=stamp_of(image.path).size,
        filetype="image",
    )


_OFFICIAL = (
    "MAPLatitude",
    "MAPLongitude",
    "MAPAltitude",
    "MAPCaptureTime",
    "MAPCompassHeading",
    "MAPSequenceUUID",
    "MAPMetaTags",
    "MAPDeviceMake",
    "MAPDeviceModel",
    "MAPGPSAccuracyMeters",
    "MAPCameraUUID",
    "MAPFilename",
    "MAPOrientation",
)


def _as_geojson(rows: Sequence[Exported], tops: Sequence[str]) -> str:
    """A point an image with every property, and a line a sequence (RFC 7946)."""
    features: List[Dict[str, object]] = []
    for one in rows:
        where = [round(one.fix.lon, 7), round(one.fix.lat, 7)]
        if one.fix.alt is not None:
            where.append(round(one.fix.alt, 3))
        features.append(_feature("Point", where, one.values(tops)))
    for identity, part in _by_sequence(rows).items():
        line = [[round(one.fix.lon, 7), round(one.fix.lat, 7)] for one in part]
        if len(line) > 1:
            features.append(_feature("LineString", line, {"sequence": identity}))
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1) + "\n"


def _feature(kind: str, where: object, properties: Dict[str, object]) -> Dict[str, object]:
    shape = {"type": kind, "coordinates": where}
    return {"type": "Feature", "geometry": shape, "properties": properties}


def _by_sequence(rows: Sequence[Exported]) -> Dict[str, List[Exported]]:
    """The images of each sequence, in order."""
    found: Dict[str, List[Exported]] = {}
    for one in sorted(rows, key=lambda one: (one.fix.time, natural_key(one.image.path.name))):
        if one.image.sequence:
            found.setdefault(one.image.sequence, []).append(one)
    return found


def _as_gpx(rows: Sequence[Exported], tops: Sequence[str]) -> str:
    """A track a sequence, and a video (GPX 1.1)."""
    import html

    lines = [GPX_BEGIN]
    for identity, part in _by_sequence(rows).items():
        points = "".join(trkpt(one.fix) for one in part)
        name = part[0].image.path.name
        if is_video_name(name):
            identity = html.escape("".join(one for one in name if one.isprintable()))
        lines.append(f"<trk>\n<name>{identity}</name>\n<trkseg>\n{points}</trkseg>\n</trk>\n")
    return "".join([*lines, "</gpx>\n"])


def _as_csv(rows: Sequence[Exported], tops: Sequence[str]) -> str:
    """A row an image, with a heading line; process_csv reads it."""
    import csv

    out = io.StringIO()
    table = [one.values(tops) for one in rows]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table[0])
    writer.writerows([safe_cell(value) for value in row.values()] for row in table)
    return out.getvalue()


def safe_cell(value: object) -> object:
    """A cell of a CSV file that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value


def _as_descriptions(rows: Sequence[Exported], tops: Sequence[str]) -> str:
    """The descriptions of the images that can go up."""
    good = [one.image for one in rows if one.image.outcome is None and one.image.sequence]
    return json.dumps([official_description(image) for image in good], indent=1) + "\n"


_WRITERS: Dict[str, Callable[[Sequence[Exported], Sequence[str]], str]] = {
    "geojson": _as_geojson,
    "gpx": _as_gpx,
    "csv": _as_csv,
    "json": _as_descriptions,
}


def _exported(tops: Sequence[str], report: Report, videos: bool) -> List[Exported]:
    """All images that have a place, and with videos all places of videos; the others are counted
    in the report. Raises BadJournal where an export would lack a whole folder.
    """
    rows: List[Exported] = []
    for found in standings(tops, service_name(graph_root()), report.trouble):
        if found.problem is not None:
            raise BadJournal(**found.problem._asdict())
        for standing in found.images:
            image, place = standing.image, standing.image.geotag
            if is_video_name(image.path.name) and not videos:
                report.skipped.setdefault(SKIP_VIDEO, []).append(str(image.path))
            elif place is not None and standing.word != SKIP_GONE:
                fixes = fixes_of_video(found.journal, image.path.name) or [place.fix]
                rows.extend(Exported(image, fix, standing.word) for fix in fixes)
                report.done += 1
            elif image.problem is not None:
                report.failed.append(image.problem)
            else:
                reason = standing.word if standing.outcome else SKIP_UNPROCESSED
                report.skipped.setdefault(reason, []).append(str(image.path))
    return rows


def _write_export(text: str, path: str) -> None:
    """Write an export; raises CannotWrite where another file is in its place."""
    begin = begin_of(path)
    if begin and not begin.startswith(text[:16].encode("utf-8")):
        wrong, remedy = "was not written by export", "choose another --output_path"
        raise CannotWrite("not_ours", wrong, file=path, remedy=remedy)
    write_atomically(path, [text.encode("utf-8", "backslashreplace")])


def export_images(options: Options) -> Report:
    """Write what the journals know of all images that have a place; raises UsageError, NotFound,
    CannotWrite.
    """
    tops, path = options[Input].folders, options[ExportOptions].output_path
    kind = "json" if path == "-" else kind_of(path)
    if kind not in _WRITERS:
        wrong = "an export is a file named " + ", ".join(f".{name}" for name in _WRITERS)
        raise UsageError("bad_option", wrong, value=path, remedy="or - to print descriptions")
    report = Report("export", told=Told("exported"))
    rows = _exported(tops, report, kind != "json")
    if report.trouble:
        raise NotFound(**report.trouble[0]._asdict())
    if not rows:
        wrong = "has no processed images"
        raise NotFound("nothing_processed", wrong, file=tops[0], remedy="run process first")
    text = _WRITERS[kind](rows, tops)
    if path == "-":
        report.told.output = text
    else:
        _write_export(text, path)
        report.told.lines.append("written to " + path)
    report.told.facts.update(output=path, sequences=len(_by_sequence(rows)))
    return report


# ---- Download -----------------------------------------------------------------------------------
# Here: images inside a box, fetched through the image search, with a list of their positions.
# Not here: requests, threads.

SEARCH_LIMIT = 2000  # images in one answer
TILES_MOST = 10000  # searches for one box
IMAGE_BYTES = 256 << 20  # bytes of an image that are read at most
_SIZES = {"320": "256", "640": "1024"}  # what the service has instead of the sizes of 2018
_LIST_HEADER = ["name", "latitude", "longitude", "capture_time"]


class Tile(NamedTuple):
    """A box on the map, in degrees."""

    west: float
    south: float
    width: float
    height: float

    def quarters(self) -> List["Tile"]:
        """Its four quarters, the south-western one last."""
        width, height = self.width / 2, self.height / 2
        places = ((width, height), (0.0, height), (width, 0.0), (0.0, 0.0))
        return [Tile(self.west + right, self.south + up, width, height) for right, up in places]


@dataclass(frozen=True)
class Box(Group):
    """bounding box"""

    word: ClassVar[str] = "box"
    min_lat: float = opt(REQUIRED, Rule("southern edge in degrees", positional=True))
    max_lat: float = opt(REQUIRED, Rule("northern edge", positional=True))
    min_lon: float = opt(REQUIRED, Rule("western edge", positional=True))
    max_lon: float = opt(REQUIRED, Rule("eastern edge", positional=True))
    max_results: int = opt(400, Rule("download at most so many images", "N", at_least=1))
    image_size: str = opt(
        "1024",
        Rule("width in pixels", choices=("320", "640", "1024", "2048", "256", "original")),
    )
    output_path: str = opt("downloaded", Rule("folder to download into", "FOLDER"))

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", str(self.image_size))
        super().__post_init__()
        edges = ((self.min_lat, self.max_lat, 90), (self.min_lon, self.max_lon, 180))
        for low, high, most in edges:
            if not -most <= low < high <= most:
                wrong = "an edge of the box is out of range or in the wrong place"
                order = "the order is min_lat max_lat min_lon max_lon"
                remedy = order + "; make two boxes at the antimeridian"
                raise UsageError("bad_box", wrong, value=f"{low} {high}", remedy=remedy)
        count = operator.mul(*self.grid())
        if count > TILES_MOST:
            wrong, remedy = (
                "the box needs too many searches",
                f"choose a smaller one: {TILES_MOST} are the most",
            )
            raise UsageError("box_too_large", wrong, value=str(count), remedy=remedy)

    def grid(self) -> Tuple[int, int]:
        """Columns and rows of tiles that the service takes: at most 0.01 square degrees, also where
        a box is thin.
        """
        width, height = self.max_lon - self.min_lon, self.max_lat - self.min_lat
        if width * height <= 0.01:
            return 1, 1
        across = min(width, max(0.0994, 0.0099 / height))
        return math.ceil(width / across), math.ceil(height * across / 0.0099)

    def tiles(self) -> List[Tile]:
        """The tiles, the south-western one last."""
        columns, rows = self.grid()
        width, height = (
            (self.max_lon - self.min_lon) / columns,
            (self.max_lat - self.min_lat) / rows,
        )
        return [
            Tile(self.min_lon + column * width, self.min_lat + row * height, width, height)
            for row in reversed(range(rows))
            for column in reversed(range(columns))
        ]


def _is_here(path: str) -> bool:
    """Whether a whole JPEG is at a path."""
    try:
        with open(path, "rb") as stream:
            return is_whole(stream)
    except OSError:
        return False


def merge_list(path: str, fresh: Mapping[str, Shot]) -> None:
    """Bring images (by file name) into downloaded.csv; raises CannotWrite when that is another
    table.
    """
    import csv

    header, rows = _LIST_HEADER, []  # type: List[str], List[List[str]]
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as stream:
            header, *rows = [row for row in csv.reader(stream) if row] or [_LIST_HEADER]
    except FileNotFoundError:
        pass
    except csv.Error as error:
        header = [str(error)]
    except OSError as error:
        raise CannotWrite(
            "cannot_write",
            "cannot be read",
            file=path,
            value=error.strerror or str(error),
            remedy="move it away",
        ) from error
    if header != _LIST_HEADER:
        wrong, value = "is not the list of a download", ",".join(header)[:80]
        raise CannotWrite("not_ours", wrong, file=path, value=value, remedy="move it away")
    rows += [[name, shot.lat, shot.lon, shot.time] for name, shot in fresh.items()]
    merged_rows, text = {row[0]: row for row in rows}, io.StringIO()
    in_names = [merged_rows[name] for name in sorted(merged_rows, key=natural_key)]
    csv.writer(text, lineterminator="\n").writerows([_LIST_HEADER, *in_names])
    write_atomically(path, [text.getvalue().encode("utf-8")])


class _Searching:
    """Every image in a box, each once; a tile is searched when its images are needed."""

    def __init__(self, box: Box, server: Server, token: str, ui: Ui) -> None:
        self.box, self.server, self.token, self.ui = box, server, token, ui
        self.size = f"thumb_{_SIZES.get(box.image_size, box.image_size)}_url"
        self._turn, self._renewing = threading.Lock(), threading.Lock()
        self._found = itertools.islice(self._everything(), box.max_results)

    def next(self) -> Optional[Tuple[str, Search]]:
        """(id, its search) of the next image, None behind the last; one thread at a
        time searches.
        """
        with self._turn:
            return next(self._found, None)

    def ask(self, url: str) -> Search:
        """One search; images are asked for without the token that it needs."""
        return search_images(self.server, url, self.token, self.size)

    def renew(self, search: Search, identity: str, address: str) -> str:
        """Another address of an image; waits for the network, too; once for all that expired
        together.
        """
        with self._renewing:
            if search.shots[identity].address == address:
                search.shots.update(self.ask(search.url).shots)
            return search.shots[identity].address

    def _url(self, tile: Tile, limit: int) -> str:
        west, south, width, height = tile
        fields = f"id,captured_at,computed_geometry,geometry,{self.size}"
        box = f"{west:.8f},{south:.8f},{west + width:.8f},{south + height:.8f}"
        return f"{self.server.graph}/images?fields={fields}&limit={limit}&bbox={box}"

    def _everything(self) -> Iterator[Tuple[str, Search]]:
        tiles, limit = self.box.tiles(), min(SEARCH_LIMIT, self.box.max_results)
        total = len(tiles)
        seen: Set[str] = set()  # ids
        while tiles:
            self.ui.progress("searching", total - len(tiles), total, 0)
            tile, count = tiles.pop(), 0
            for search in self._pages(tile, limit):
                count = len(search.shots)
                for identity in [one for one in search.shots if one not in seen]:
                    seen.add(identity)
                    yield identity, search
            if count >= limit and max(tile.width, tile.height) > 1e-5:  # full, and no next page
                tiles += tile.quarters()
                total += 4

    def _pages(self, tile: Tile, limit: int) -> Iterator[Search]:
        """The answers about a tile; no other host is asked for a next page, and no page twice."""
        url, asked = self._url(tile, limit), set()
        while url.startswith(self.server.graph + "/") and url not in asked:
            asked.add(url)
            search = self.ask(url)
            yield search
            if not search.shots:
                return  # a page without images is the last one
            url = search.following


class _Download:
    """One run of downloading: one image after another, in the threads of a crew."""

    def __init__(self, searching: _Searching, report: Report) -> None:
        self.searching, self.report = searching, report
        self.server, self.folder = searching.server, searching.box.output_path
        self.crew = Crew(searching.server.wire)
        self.bytes = 0
        self.list: Dict[str, Shot] = {}  # by file name

    def one(self) -> None:
        """Download the next image, unless it is there; what is wrong with it alone is noted."""
        try:
            found = self.searching.next()
            if found is None:
                return
            identity, search = found
            body, outcome, path = b"", None, os.path.join(self.folder, identity + ".jpg")
            if not re.match(r"[0-9]{1,40}\Z", identity):
                path = self.folder
                outcome = _not_downloaded(path, f"its id is no number: {identity[:80]!r}")
            elif _is_here(path):
                outcome = Outcome("skipped", SKIP_HERE)
            else:
                body, wrong = self._image(identity, search)
                outcome = _not_downloaded(path, wrong) if wrong else None
        except UploadError as error:  # of a search: without it there is no next image
            self.crew.end(error)
            return
        if body:
            outcome = self._keep(path, body)
        self._count(path, outcome, len(body), search.shots[identity])

    def _keep(self, path: str, body: bytes) -> Optional[Outcome]:
        """Write an image; raises CannotWrite where no other can be written either."""
        try:
            write_atomically(path, [body])
        except CannotWrite as error:
            if getattr(error.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            return Outcome("failed", error.problem.code, error.problem)
        return None

    def _count(self, path: str, outcome: Optional[Outcome], size: int, shot: Shot) -> None:
        with self.crew.guard:
            self.report.count(path, outcome)
            self.bytes += size
            if outcome is None or outcome.status == "skipped":
                self.list[os.path.basename(path)] = shot
            most = self.searching.box.max_results
            self.searching.ui.progress("downloading", self.report.found, most, self.bytes)

    def _image(self, identity: str, search: Search) -> Tuple[bytes, str]:
        """(an image, "") or (b"", what is wrong with this one alone); raises UploadError,
        NotAuthorized, Stopped.
        """
        address, renewals = search.shots[identity].address, 0
        wrong, attempts = "the service gives no address for this size", self.server.limits.attempts
        for attempt in range(1, attempts + 1):
            if not is_address(address):
                break
            tried = self._try(address)
            if tried.body:
                return tried.body, ""
            wrong = tried.wrong
            expired = tried.status in (403, 410) and not renewals
            if expired or tried.lost and renewals < 3:
                renewals += 1
                address = self.searching.renew(search, identity, address)
                continue
            delay = retry_delay(attempt, tried.status, dict(tried.headers))
            if tried.lost or delay is None or attempt == attempts:
                break
            self.server.wait(delay * (1 + random.random() / 4))
        return b"", wrong

    def _try(self, address: str) -> "_Tried":
        """One try to get an image."""
        try:
            status, headers, body, _ = self.server.request(Request("GET", address, {}))
        except Unreachable as error:
            return _Tried(b"", str(error), lost=True)
        except Cut as error:
            return _Tried(b"", str(error))
        if status == 200 and is_whole(io.BytesIO(body)):
            return _Tried(body, "")
        wrong = "the answer is no image" if status == 200 else f"HTTP {status}"
        return _Tried(b"", wrong, status, headers)


class _Tried(NamedTuple):
    """What came of one try to get an image."""

    body: bytes  # b"" = none
    wrong: str
    status: Optional[int] = None  # None = the connection broke
    headers: Mapping[str, str] = MappingProxyType({})
    lost: bool = False  # the service could not be reached


def _not_downloaded(path: str, wrong: str) -> Outcome:
    remedy = "run the same command again later"
    problem = Problem(
        "not_downloaded", "cannot be downloaded", file=path, value=wrong, remedy=remedy
    )
    return Outcome("failed", problem.code, problem)


def download(options: Options, ui: Ui) -> Report:
    """Download the images in a box that are not there yet, and list them; raises what ends it
    before any image.
    """
    box, notes = options[Box], Notes(say)
    table = os.path.join(box.output_path, "downloaded.csv")
    attempts, threads = number_of("MAX_ATTEMPTS", 10), number_of("NUMBER_THREADS", 4)
    limits = Limits(options[Patience].offline_limit * 60, attempts, None, IMAGE_BYTES)
    server = Server(graph_root(), graph_root(), limits, notes.say)
    token = search_token(Configuration())
    if box.image_size in _SIZES:
        size = box.image_size
        notes.say(f"the service has no images of size {size}: {_SIZES[size]} is taken")
    make_folder(box.output_path)
    merge_list(table, {})
    report = Report("download_images", told=Told("downloaded", notes.lines))
    run = _Download(_Searching(box, server, token, ui), report)
    try:
        tasks = itertools.repeat(run.one, box.max_results)
        run.crew.run(iter(tasks), max(1, min(threads, box.max_results)))
    finally:
        merge_list(table, dict(run.list))
    if run.crew.stopped is not None and not report.found:
        raise run.crew.stopped
    if report.failed or run.crew.stopped:
        notes.say("run the same command again: what is there is not fetched again")
    report.stopped = run.crew.stopped
    report.told.facts.update(list=table, bytes=run.bytes)
    return report


# ---- Tools --------------------------------------------------------------------------------------
# Here: the table of subcommands: one function and one line each; its docstring is the help.
# Not here: how anything is done.


@dataclass(frozen=True)
class TrackOut(Group):
    """track"""

    word: ClassVar[str] = "out"
    write_gpx: Optional[str] = opt(None, rare("write the track as it was understood", "FILE"))


PROCESSING: Tuple[Type[Group], ...] = (
    User,
    Selection,
    Again,
    MetaData,
    Geotagging,
    Angle,
    SequenceOptions,
    Master,
    Insert,
    Keep,
    Workers,
    Dry,
    Waiting,
    RunPage,
    Areas,
)
UPLOADING: Tuple[Type[Group], ...] = (UploadOptions, Patience)


def _steps(tool: str, steps: Tuple[str, ...], options: Options, ui: Ui) -> Report:
    """A run of steps, for the service that the environment names."""
    service = service_name(graph_root())
    if RunPage in TOOLS[tool].groups:
        check_run_page(options)
    told = _lead(tool, Course(steps, options, service), ui)[0]
    if RunPage in TOOLS[tool].groups:
        write_run_page(told, options, service)
    return told


def _lead(tool: str, course: Course, ui: Ui) -> Tuple[Report, Gathered]:
    """Steps for the images, and for the videos that go up whole."""
    told, gathered = run_steps(tool, course, ui)
    if gathered.videos:
        prepare_videos(gathered.videos, course, gathered.known, told, ui)
    return told, gathered


def _with_own_tracks(options: Options) -> Options:
    """Options by which images need no track file where videos bring their own."""
    if not options[Videos].taken:
        return options
    return options.having(options[Geotagging].of_frames)


def _process(options: Options, ui: Ui) -> Report:
    """Find time and position, group into sequences, and write the description into the images."""
    sampled = sample_below(options, ui)
    told = _steps("process", STEPS, _with_own_tracks(options), ui)
    told.parts += [sampled] if sampled is not None else []
    return told


def _upload(options: Options, ui: Ui) -> Report:
    """Send what has been processed; run again, it sends only what is missing."""
    return send_images("upload", options, ui)


def _target(options: Options) -> str:
    return [target_of(options[UploadOptions], top) for top in options[Input].folders][0]


def _process_and_upload(options: Options, ui: Ui) -> Report:
    """Process, then upload."""
    service = _target(options)
    check_run_page(options)
    sampled, options = sample_below(options, ui), _with_own_tracks(options)
    first, _ = _lead("process", Course(STEPS, options, service), ui)
    first.parts += [sampled] if sampled is not None else []
    write_run_page(first, options, service)
    return _then_upload("process_and_upload", first, options, ui)


def _then_upload(tool: str, first: Report, options: Options, ui: Ui) -> Report:
    """The upload behind a report of processing; what stops it at once leaves that report, which
    then says so.
    """
    if options[Dry].dry_run:
        count = first.done + len(first.skipped.get(SKIP_PROCESSED, ()))
        first.told.lines.append(f"{count} images would then be uploaded")
        return first
    try:
        report = send_images(tool, options, ui)
    except ToolError as error:
        first.stopped = error
        return first
    why = {problem.file: problem for problem in first.failed}
    report.failed = [
        why.get(one.file, one) if one.code == "not_processed" else one for one in report.failed
    ]
    report.parts.append(first)
    return report


def _sample_video(options: Options, ui: Ui) -> Report:
    """Sample frames from videos, each stamped with its capture time."""
    return sample_videos(options, ui)


def _video_process(options: Options, ui: Ui) -> Report:
    """Sample frames from videos, then process them."""
    return _sample_and_process(options, ui, service_name(graph_root()))


def _sample_and_process(options: Options, ui: Ui, service: str) -> Report:
    """Sampling, and processing of what the folder then holds; sampling alone where there is nothing
    to process.
    """
    check_run_page(options)
    sampled = sample_videos(options, ui)
    if options[Dry].dry_run or not sampled.done and not sampled.skipped:
        return sampled
    options = options.having(options[Geotagging].of_frames)
    report, _ = run_steps("video_process", Course(STEPS, options, service), ui)
    write_run_page(report, options, service)
    report.parts.append(sampled)
    return report


def _video_process_and_upload(options: Options, ui: Ui) -> Report:
    """Sample frames from videos, process them, then upload."""
    first = _sample_and_process(options, ui, _target(options))
    if not first.parts:
        return first
    return _then_upload("video_process_and_upload", first, options, ui)


def _extract_user_data(options: Options, ui: Ui) -> Report:
    """Record who uploads the images."""
    return _steps("extract_user_data", (USER,), options, ui)


def _extract_import_meta_data(options: Options, ui: Ui) -> Report:
    """Record camera, orientation, accuracy, file name and import date."""
    return _steps("extract_import_meta_data", (META,), options, ui)


def _extract_geotag_data(options: Options, ui: Ui) -> Report:
    """Find capture time, position and direction, in EXIF or in a track."""
    target = options[TrackOut].write_gpx
    if target and not options[Geotagging].track_kinds:
        wrong, remedy = "--write_gpx needs a track", "add --geotag_source and its path"
        raise UsageError("no_track", wrong, remedy=remedy)
    if target:
        check_gpx_target(target)
    course = Course((GEOTAG,), options, service_name(graph_root()))
    report, gathered = run_steps("extract_geotag_data", course, ui)
    track = whole_track(gathered.known.guides)
    if target and track is not None:
        write_gpx(outside_of(areas_of(options, Configuration()), track), target)
    return report


def _extract_sequence_data(options: Options, ui: Ui) -> Report:
    """Group images into sequences."""
    return _steps("extract_sequence_data", (SEQUENCE,), options, ui)


def _extract_upload_params(options: Options, ui: Ui) -> Report:
    """Record what the upload needs: whose account, for which organization."""
    return _steps("extract_upload_params", (PARAMS,), options, ui)


def _exif_insert(options: Options, ui: Ui) -> Report:
    """Merge what was extracted into one description and write it into the images."""
    return _steps("exif_insert", (DESCRIPTION,), options, ui)


def _process_csv(options: Options, ui: Ui) -> Report:
    """Give images the time, position, direction and meta data of a table."""
    return process_table(options, ui)


def _interpolate(options: Options, ui: Ui) -> Report:
    """Spread identical timestamps, or fill positions that are missing between images."""
    if options[Interpolation].file_in_path:
        return interpolate_table(options, ui)
    return interpolate_images(options, ui)


def _authenticate(options: Options, ui: Ui) -> Report:
    """Log in and store the credentials of a user."""
    return log_in(options, ui)


def _download_images(options: Options, ui: Ui) -> Report:
    """Download the images inside a bounding box, with a list of their positions."""
    return download(options, ui)


def _status(options: Options, ui: Ui) -> Report:
    """Say from the journal what is processed, uploaded, failed and waiting."""
    return image_story(options) if options[StatusOptions].image else journal_status(options)


def _restore(options: Options, ui: Ui) -> Report:
    """Put photos back as they were found: time, position, direction, caption, thumbnail."""
    return restore_images(options, ui)


def _export(options: Options, ui: Ui) -> Report:
    """Write what is known of all images as GeoJSON, GPX, CSV, or descriptions in JSON."""
    return export_images(options)


def _report(options: Options, ui: Ui) -> Report:
    """Write one HTML page with the sequences on a map."""
    return write_report(options)


# The table of tools; each is also a function for programs that embed this one:
# mt.process(mt.Input(...), mt.User(...)). Groups stand in the order of the help.
process = Tool("process", (Input, *PROCESSING, AllVideos, FrameOptions), _process, advanced=False)
upload = Tool(
    "upload",
    (Input, Selection, Whose, *UPLOADING, Videos, Areas, Dry, Waiting),
    _upload,
    advanced=False,
)
process_and_upload = Tool(
    "process_and_upload",
    (Input, *PROCESSING, *UPLOADING, AllVideos, FrameOptions),
    _process_and_upload,
    advanced=False,
)
sample_video = Tool("sample_video", (Input, Video, Waiting), _sample_video)
video_process = Tool("video_process", (Input, Video, *PROCESSING), _video_process)
video_process_and_upload = Tool(
    "video_process_and_upload",
    (Input, Video, *PROCESSING, *UPLOADING),
    _video_process_and_upload,
)
extract_user_data = Tool(
    "extract_user_data", (Input, User, Selection, Again, Master, Waiting), _extract_user_data
)
extract_import_meta_data = Tool(
    "extract_import_meta_data",
    (Input, Selection, Again, MetaData, Waiting),
    _extract_import_meta_data,
)
extract_geotag_data = Tool(
    "extract_geotag_data",
    (Input, Selection, Again, Geotagging, Angle, TrackOut, Waiting),
    _extract_geotag_data,
)
extract_sequence_data = Tool(
    "extract_sequence_data",
    (Input, Selection, Again, SequenceOptions, Angle, Waiting),
    _extract_sequence_data,
)
extract_upload_params = Tool(
    "extract_upload_params",
    (Input, Account, Selection, Again, Master, Waiting),
    _extract_upload_params,
)
exif_insert = Tool(
    "exif_insert", (Input, Selection, Again, Master, Insert, Keep, Workers, Waiting), _exif_insert
)
process_csv = Tool("process_csv", (Input, CsvColumns, Table, Keep, Dry, Waiting), _process_csv)
interpolate = Tool("interpolate", (Interpolation, Table, Keep, Dry, Waiting), _interpolate)
authenticate = Tool("authenticate", (Login,), _authenticate)
download_images = Tool("download_images", (Box, Patience, Verbose), _download_images)
status = Tool("status", (Input, StatusOptions), _status)
report = Tool("report", (Input, PageOptions), _report)
export = Tool("export", (Input, ExportOptions), _export)
restore = Tool("restore", (Input, Selection, Dry, Waiting), _restore)

TOOLS = {name: one for name, one in list(globals().items()) if isinstance(one, Tool)}


# ---- Advice -------------------------------------------------------------------------------------
# Here: what a command line means that is not quite right, as words to the person who typed it.
# Not here: parsing.

PROGRAM = "mapillary_tools.py"
_UNITS = {  # a word for a value -> what it is a number of, and an example
    "SECONDS": ("seconds", "90"),
    "METRES": ("metres", "100"),
    "DEGREES": ("degrees", "-90"),
    "KM/H": ("km/h", "100"),
    "KB/S": ("kB/s", "500"),
    "MINUTES": ("minutes", "30"),
}
_SIDES = {"left": "-90", "right": "90", "back": "180", "rear": "180", "front": "0"}
_OTHER_WORDS = {  # of the official tool and of older ones -> what it is here
    **dict.fromkeys(
        ("--filetypes", "--file_types"),
        "nothing takes its place: photos and videos are told by their content",
    ),
    **dict.fromkeys(
        (
            "--overwrite_all_EXIF_tags",
            "--overwrite_EXIF_gps_tag",
            "--overwrite_EXIF_time_tag",
            "--overwrite_EXIF_direction_tag",
        ),
        "leave it out: time, place and direction are always written",
    ),
    "--overwrite_EXIF_orientation_tag": "here it is --orientation, which is written where given",
    "--num_processes": "here it is --workers",
    "--num_upload_workers": "here it is NUMBER_THREADS in the environment",
    "--skip_process_errors": "leave it out: a photo that fails never stops the others",
    "--desc_path": "descriptions are written by: export --output_path FILE.json",
    "--interpolation_offset_time": "here it is --offset_time, which is subtracted",
    "--interpolation_use_gpx_start_time": "here it is --use_gps_start_time",
    "--rotate_images": "leave it out: pixels are never turned; --orientation says how to show them",
    "--noresume": "leave it out: what arrived is never sent again; --reupload sends it",
    "--skip_subfolder": "here it is --skip_subfolders",
    "--video_geotag_source": "here it is --geotag_source",
    "--video_import_path": "here it is --video_path",
    "--noresample": "leave it out: frames that are there are not sampled again",
    "--reprocess": "here it is --rerun",
    "--skip_upload": "use process instead of process_and_upload",
    "--user_token": "here it is: authenticate --user_access_token",
}
_OTHER_TOOLS = {
    **dict.fromkeys(("zip", "upload_zip"), "upload sends the photos as they are"),
    **dict.fromkeys(
        ("video_upload", "send_videos_for_processing"), "here it is video_process_and_upload"
    ),
    "process_video": "here it is video_process",
    "sample": "here it is sample_video",
    "remove_duplicates": "here it is process --flag_duplicates",
    "login": "here it is authenticate",
    "upload_blackvue": "here it is video_process_and_upload --geotag_source blackvue",
    "upload_camm": "here it is video_process_and_upload --geotag_source camm",
    "gui": "there is none; report makes a page to look at",
}
_OTHER_VALUES = {"gps": "gpx", "native": "exif", "gopro": "gopro_video", "camm_video": "camm"}


def unknown_tool(typed: str) -> UsageError:
    """The error for a tool that is none."""
    near = near_to(typed, list(TOOLS))
    remedy = _OTHER_TOOLS.get(typed, f"did you mean {near[0]}?" if near else "")
    remedy = f"{remedy}; " if remedy else ""
    see = f"{PROGRAM} --advanced -h lists all tools"
    return UsageError("usage", f"there is no tool '{typed}'", remedy=remedy + see)


def unknown_option(typed: str, tool: Tool) -> UsageError:
    """The error for an option that a tool does not have: what it may be, of this tool alone, or
    whose option it is.
    """
    own = flags_of(tool)
    see = f"see {PROGRAM} {tool.name} --advanced -h"
    others = [name for name, one in TOOLS.items() if typed in flags_of(one)]
    if others:
        whose = ", ".join(others[:4]) + (" ..." if len(others) > 4 else "")
        wrong = f"there is no such option of {tool.name}"
        return UsageError("usage", wrong, value=typed, remedy=f"it is one of {whose}; {see}")
    near = near_to(typed, own)
    guess = _OTHER_WORDS.get(typed, f"did you mean {near[0]}?" if near else "")
    guess = f"{guess}; " if guess else ""
    return UsageError("usage", "there is no such option", value=typed, remedy=guess + see)


def loose_word(word: str, tool: Tool) -> UsageError:
    """The error for a word that belongs to no option."""
    wrong = f"'{word}' belongs to no option"
    remedy = "put quotes around a path that has blanks in it"
    if os.path.isfile(word):
        remedy = f"process the folder that it is in: {os.path.dirname(word) or os.curdir}"
    elif not any(option.name == "import_path" for kind in tool.groups for option in kind.options()):
        remedy = f"see {PROGRAM} {tool.name} -h"
    return UsageError("usage", wrong, remedy=remedy)


_PATHS = ("FILE", "FOLDER", "PATH")  # the words for a value that is one


def is_swallowed(value: str, metavar: Optional[str]) -> bool:
    """Whether options stand behind a quote in a value, or it ends in one as no path of Windows."""
    at_end = os.name == "nt" and metavar in _PATHS and value.endswith('"')
    return at_end or '" --' in value


def swallowed(value: str) -> UsageError:
    """The error for a path whose closing quote the backslash before it took along."""
    wrong = "a path holds a quote"
    remedy = "leave out the backslash at its end, before the quote"
    return UsageError("usage", wrong, value=value, remedy=remedy)


def _number_meant(text: str, unit: str) -> str:
    """A number that a text may mean."""
    clock = re.match(r"(\d+):(\d\d)(?::(\d\d))?\Z", text)
    if clock and unit == "SECONDS":
        parts = [int(part) for part in clock.groups() if part]
        return str(sum(part * 60**power for power, part in enumerate(reversed(parts))))
    if text.lower() in _SIDES and unit == "DEGREES":
        return _SIDES[text.lower()]
    number = re.match(r"[-+]?\d+(?:[.,]\d+)?", text)
    if number is None:
        return _UNITS.get(unit, ("", "4"))[1]
    times = _MULTIPLES.get((text[number.end() :].strip().lower(), unit), 1.0)
    return f"{float(number.group().replace(',', '.')) * times:g}"


_MULTIPLES = {  # what stands behind a number, and what is wanted -> how many of it there are
    ("km", "METRES"): 1000.0,
    ("cm", "METRES"): 0.01,
    ("min", "SECONDS"): 60.0,
    ("m", "SECONDS"): 60.0,
    ("h", "SECONDS"): 3600.0,
    ("ms", "SECONDS"): 0.001,
    ("h", "MINUTES"): 60.0,
    ("mb", "KB/S"): 1000.0,
    ("mb/s", "KB/S"): 1000.0,
}


def no_number(option: Option, text: str) -> UsageError:
    """The error for a value that is no number."""
    unit = option.rule.metavar or ""
    of_what = f" of {_UNITS[unit][0]}" if unit in _UNITS else ""
    whole = "whole " if option.kind is int else ""
    wrong = f"{option.flag} must be a {whole}number{of_what}"
    meant = _number_meant(text, unit)
    if option.rule.other_form is not None and not text.strip().isdigit():
        wrong, meant = f"{wrong}, or ISO 8601 with its zone", "2024-05-06T07:08:09+02:00"
    elif option.kind is int:  # a choice, or a whole number
        meant = str((option.rule.choices or [int(float(meant))])[-1])
    return UsageError("bad_option", wrong, value=text, remedy=f"for example {option.flag} {meant}")


def no_choice(option: Option, text: str) -> UsageError:
    """The error for a value that is none of those that there are."""
    choices = [str(choice) for choice in option.rule.choices or ()]
    near = [_OTHER_VALUES[text]] if _OTHER_VALUES.get(text) in choices else near_to(text, choices)
    remedy = f"did you mean {near[0]}?" if near else f"for example {option.flag} {choices[0]}"
    wrong = f"{option.flag} must be one of {', '.join(choices)}"
    return UsageError("bad_option", wrong, value=text, remedy=remedy)


def missing_options(missing: Sequence[Option], tool: Tool) -> UsageError:
    """The error for options that must be given."""
    names = " and ".join(option.flag for option in missing)
    wrong = f"{names} {'is' if len(missing) == 1 else 'are'} missing"
    words = " ".join(f"{one.flag} {one.rule.metavar or one.name.upper()}" for one in missing)
    return UsageError("missing_option", wrong, remedy=f"add {words}; see {PROGRAM} {tool.name} -h")


def flags_of(tool: Tool) -> List[str]:
    """The options of a tool, as they are typed."""
    return [one.flag for one in options_of(tool) if not one.rule.positional]


def options_of(tool: Tool) -> List[Option]:
    """The options of a tool, those of its output first."""
    kinds: List[Type[Group]] = [Showing, *tool.groups]
    return [option for kind in kinds for option in kind.options()]


# ---- Lessons ------------------------------------------------------------------------------------
# Here: the short help of a tool: what it is for, the options that matter, two examples.
# Not here: the long help, which argparse makes.


class Lesson(NamedTuple):
    """What the short help of a tool shows."""

    options: str  # the few that matter, beside those that must be given
    examples: Tuple[str, ...]  # words behind the tool


_HERE_OR_SAFE = "--import_path PHOTOS --user_name NAME"
_ALONG = "--geotag_source gpx --geotag_source_path DRIVE.gpx"
_FILM = "--import_path FRAMES --video_path VIDEO.mp4"
_TABLE = "--filename_column 1 --latitude_column 2 --longitude_column 3"
LESSONS = {
    "process": Lesson(
        "dry_run geotag_source geotag_source_path timezone",
        (f"{_HERE_OR_SAFE} --dry_run", f"{_HERE_OR_SAFE} {_ALONG} --timezone +02:00"),
    ),
    "upload": Lesson(
        "stand_in dry_run manual_done retry_failed",
        ("--import_path PHOTOS", "--import_path PHOTOS --stand_in RECEIVED"),
    ),
    "process_and_upload": Lesson(
        "dry_run keep_original stand_in timezone",
        (_HERE_OR_SAFE, f"{_HERE_OR_SAFE} --keep_original --stand_in RECEIVED"),
    ),
    "sample_video": Lesson(
        "video_sample_interval video_sample_distance video_start_time",
        (f"{_FILM} --video_sample_interval 1", f"{_FILM} --video_sample_distance 3"),
    ),
    "video_process": Lesson(
        "geotag_source geotag_source_path video_sample_interval",
        (f"{_FILM} --user_name NAME {_ALONG}", f"{_FILM} --user_name NAME --dry_run"),
    ),
    "video_process_and_upload": Lesson(
        "geotag_source geotag_source_path stand_in",
        (f"{_FILM} --user_name NAME {_ALONG}", f"{_FILM} --user_name NAME --stand_in RECEIVED"),
    ),
    "extract_user_data": Lesson(
        "organization_key private",
        (_HERE_OR_SAFE, f"{_HERE_OR_SAFE} --organization_key KEY --private"),
    ),
    "extract_import_meta_data": Lesson(
        "device_make device_model orientation",
        ("--import_path PHOTOS", "--import_path PHOTOS --device_make Sony --orientation 180"),
    ),
    "extract_geotag_data": Lesson(
        "geotag_source geotag_source_path timezone write_gpx",
        (f"--import_path PHOTOS {_ALONG}", "--import_path PHOTOS --timezone +02:00"),
    ),
    "extract_sequence_data": Lesson(
        "cutoff_distance cutoff_time flag_duplicates",
        ("--import_path PHOTOS", "--import_path PHOTOS --cutoff_distance 300 --flag_duplicates"),
    ),
    "extract_upload_params": Lesson("rerun", (_HERE_OR_SAFE, f"{_HERE_OR_SAFE} --rerun")),
    "exif_insert": Lesson(
        "keep_original skip_EXIF_insert",
        ("--import_path PHOTOS", "--import_path PHOTOS --keep_original"),
    ),
    "process_csv": Lesson(
        "header filename_column latitude_column longitude_column",
        (
            f"--import_path PHOTOS --csv_path T.csv {_TABLE}",
            f"--import_path PHOTOS --csv_path T.csv --header {_TABLE} --dry_run",
        ),
    ),
    "interpolate": Lesson(
        "import_path file_in_path max_time_delta",
        (
            "--data missing_gps --import_path PHOTOS",
            "--data identical_timestamps --import_path PHOTOS",
        ),
    ),
    "authenticate": Lesson(
        "user_name user_access_token force_overwrite",
        ("--user_name NAME", "--user_name NAME --user_access_token TOKEN"),
    ),
    "download_images": Lesson(
        "max_results image_size output_path",
        ("57.70 57.71 11.96 11.98", "57.70 57.71 11.96 11.98 --max_results 100"),
    ),
    "status": Lesson(
        "list_images image",
        ("--import_path PHOTOS --list failed", "--import_path PHOTOS --image IMG_0001.jpg"),
    ),
    "report": Lesson(
        "output_path", ("--import_path PHOTOS", "--import_path PHOTOS --output_path map.html")
    ),
    "export": Lesson(
        "output_path",
        (
            "--import_path PHOTOS --output_path photos.geojson",
            "--import_path PHOTOS --output_path photos.csv",
        ),
    ),
    "restore": Lesson("dry_run", ("--import_path PHOTOS --dry_run", "--import_path PHOTOS")),
}
COLUMNS = 80  # of the screen that a lesson fits on


def option_help(option: Option) -> str:
    """What an option is for, with its default and choices."""
    text = option.rule.help
    if option.default not in (None, False, REQUIRED, ()):
        text += f" (default: {option.default})"
    if option.rule.choices and option.rule.metavar:
        text += "; one of " + ", ".join(map(str, option.rule.choices))
    return text


def _worded(option: Option) -> str:
    """An option as it is typed, with a word for its value."""
    if option.kind is bool:
        return option.flag
    choices = "{" + ",".join(map(str, option.rule.choices or ())) + "}"
    word = option.rule.metavar or (choices if option.rule.choices else option.name.upper())
    return option.name if option.rule.positional else f"{option.flag} {word}"


def lesson_of(tool: Tool) -> str:
    """The short help of a tool: it fits on one screen of 80 columns."""
    import textwrap

    lesson, own = LESSONS[tool.name], options_of(tool)
    needed = [option for option in own if option.default is REQUIRED]
    wanted = lesson.options.split()
    few = needed + [one for name in wanted for one in own if one.name == name]
    rest = [one.flag for one in own if one not in few and not one.rule.advanced]
    usage = " ".join([PROGRAM, tool.name, *map(_worded, needed), "[options]"])
    lines = textwrap.wrap("usage: " + usage, COLUMNS, subsequent_indent="    ")
    lines += ["", *textwrap.wrap(tool.help.split("\n\n")[0].replace("\n", " "), COLUMNS), ""]
    for option in dict.fromkeys(few):
        word = _worded(option)
        word = word if len(word) < 40 else option.flag
        text = f"  {word:22}  {option_help(option)}"
        lines += textwrap.wrap(text, COLUMNS, subsequent_indent=" " * 26)[:3]
    also = f"also: {', '.join(rest)}; -h --advanced explains every option"
    lines += textwrap.wrap(also, COLUMNS, subsequent_indent="    ")
    return "\n".join([*lines, "", *_examples(tool)]) + "\n"


def _examples(tool: Tool) -> List[str]:
    """The examples of a tool, each on as many lines as it takes."""
    import textwrap

    lines = ["examples:"]
    more = " ^" if os.name == "nt" else " \\"  # how a shell is told that a line goes on
    for words in LESSONS[tool.name].examples:
        parts = textwrap.wrap(
            f"  python {PROGRAM} {tool.name} {words}",
            COLUMNS - len(more),
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
        lines += [part + more for part in parts[:-1]] + parts[-1:]
    return lines


# ---- Summary ------------------------------------------------------------------------------------
# Here: what a run did, as lines for a person and as the one JSON object for a program.
# Not here: printing.

NAMES_SHOWN = 3  # of the files that fail for one cause
_CAUSES_ALONE = 3  # files that fail for one cause, up to which each has a line of its own


def _value_range(problems: Sequence[Problem]) -> str:
    """The values of several problems of one cause: from the smallest to the largest, or the one
    that all have.
    """
    values = [problem.value for problem in problems]
    if len(set(values)) == 1:
        return values[0]
    numbers = [re.match(r"(-?\d+(?:\.\d+)?)(\D.*)\Z", value) for value in values]
    rests = {match.group(2) for match in numbers if match}
    if not all(numbers) or len(rests) != 1:
        return values[0] + ", and so on" if values[0] else ""
    found = sorted((match.group(1) for match in numbers if match), key=float)
    return f"{found[0]} to {found[-1]}{rests.pop()}"


def _alike(problems: Sequence[Problem], more: Callable[[Problem], str]) -> List[List[Problem]]:
    """Problems by what is wrong, on whatever line of a table, what to do, and something more."""
    groups: Dict[Tuple[str, str, str], List[Problem]] = {}
    for problem in problems:
        wrong = re.sub(r"^line \d+ ", "", problem.wrong)
        groups.setdefault((wrong, problem.remedy, more(problem)), []).append(problem)
    return list(groups.values())


def cause_lines(problems: Sequence[Problem], verbose: bool) -> List[str]:
    """A line a cause, with how many files fail by it and the first of them; a line a file where
    they are few, or with verbose.
    """
    lines: List[str] = []
    for group in _alike(problems, lambda problem: problem.code):
        if verbose or len(group) <= _CAUSES_ALONE:
            lines.extend(f"  failed {problem}" for problem in group)
            continue
        whole = group[0]._replace(file="", value=_value_range(group))
        names = ", ".join(os.path.basename(one.file) for one in group[:NAMES_SHOWN])
        lines.append(f"  failed {len(group)}: {whole}")
        lines.append(f"    {names} ...; status --list failed, or --verbose, names all")
    return lines


def _trouble_lines(problems: Sequence[Problem], verbose: bool) -> List[str]:
    """A line for each thing that is wrong with no single image; of many lines of a table with one
    fault the first, and how many there are.
    """
    lines: List[str] = []
    for group in _alike(problems, lambda problem: problem.file):
        if verbose or len(group) <= _CAUSES_ALONE:
            lines.extend(f"  {problem}" for problem in group)
        else:
            lines.append(
                f"  {group[0]}, and {len(group) - 1} more lines alike; --verbose names all"
            )
    return lines


def summary_of(
    told: Report, verbose: bool, failed_count: Optional[int] = None, failing: bool = False
) -> List[str]:
    """The lines of a summary; found is always done plus skipped plus failed. verbose: with every
    file that is not done, failing: with every one that failed.
    """
    lines: List[str] = []
    listed = {problem.file for problem in told.failed}
    for part in told.parts:  # what fails there fails here too, and is named once
        rest = [problem for problem in part.failed if problem.file not in listed]
        lines.extend(summary_of(dataclasses.replace(part, failed=rest), verbose, len(part.failed)))
    count = len(told.failed) if failed_count is None else failed_count
    left_out = sum(map(len, told.skipped.values()))
    found, word = told.done + left_out + count, told.told.word
    ending = f"{told.done} {word} + {left_out} skipped + {count} failed"
    lines.append(f"{told.tool}: {found} found = {ending}")
    for reason, names in sorted(told.skipped.items()):
        lines.append(f"  skipped {len(names)}: {skip_words(reason)}")
        if verbose or reason == SKIP_KIND:
            lines.extend("    " + name for name in names)
    lines.extend(cause_lines(told.failed, verbose or failing))
    lines.extend(_trouble_lines(told.all_trouble, verbose))
    lines.extend(f"  {line}" for line in told.told.lines)
    return lines


def last_lines(told: Report, program: str) -> List[str]:
    """What a summary ends with: how long it took, and the next command, ready to paste."""
    import shlex

    lines = [] if told.told.seconds is None else [f"  took {told.told.seconds:.1f} s"]
    if told.told.next and program:
        words = list(map(str, told.told.next))
        quoted = subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
        lines.append(f"next: {program} {quoted}")
    return lines


_TYPES = {  # of --json: name -> type and meaning
    "tool": ("string", "which tool ran"),
    "version": ("string", "of mapillary_tools"),
    "exit_code": ("integer", "as of the process"),
    "found": ("integer", "done + skipped + failed"),
    "done": ("integer", "how many images, or other things, are done"),
    "skipped": ("object", "code -> how many"),
    "words": ("object", "code -> what it means"),
    "failed": ("array", "problems, one an image"),
    "trouble": ("array", "problems of no single image"),
    "notes": ("array", "what was said"),
    "stopped": ("object or null", "the problem that ended the run before its time"),
    "sequences": ("integer or null", "how many sequences"),
    "seconds": ("number or null", "how long it took"),
    "safe_to_delete": ("boolean or null", "true: every photo found is acknowledged"),
    "next": ("array or null", "words of the command that comes next"),
    "parts": ("array", "tools that ran before, in order, each with the same keys"),
}


def json_schema() -> Dict[str, object]:
    """The JSON Schema (draft 2020-12) of what --json prints, whichever tool runs."""
    problem = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in Problem._fields},
        "required": list(Problem._fields),
        "additionalProperties": False,
    }
    properties: Dict[str, object] = {}
    for name, (kinds, meaning) in _TYPES.items():
        types = kinds.split(" or ")
        properties[name] = {"type": types if len(types) > 1 else types[0], "description": meaning}
    properties.update(
        skipped={"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
        words={"type": "object", "additionalProperties": {"type": "string"}},
        failed={"type": "array", "items": {"$ref": "#/$defs/problem"}},
        trouble={"type": "array", "items": {"$ref": "#/$defs/problem"}},
        notes={"type": "array", "items": {"type": "string"}},
        stopped={"oneOf": [{"type": "null"}, {"$ref": "#/$defs/problem"}]},
        parts={"type": "array", "items": {"$ref": "#/$defs/report"}},
    )
    report_ = {"type": "object", "properties": properties, "required": list(_TYPES)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"what mapillary_tools {__version__} prints with --json",
        "$ref": "#/$defs/report",
        "$defs": {"report": report_, "problem": problem},
    }


# ---- Terminal -----------------------------------------------------------------------------------
# Here: lines for a person as the terminal can show them, progress, narration, questions.
# Not here: what is said.


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end."""

    number = 2  # of the signal


ASKED_TO_END: List[Interrupted] = []  # by a signal, to end the run


def printable(text: str, stream: Any) -> str:
    """The text as the stream's encoding can show it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def print_line(text: str, stream: Any) -> None:
    """Print a line; a reader that went away is no error."""
    try:
        print(printable(text, stream), file=stream, flush=True)
    except OSError as error:
        # or the interpreter would complain when it flushes at its end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise os_problem("standard output", error) from error


class ProgressLine:
    """One line on a terminal that is rewritten; in a pipe a plain line now and then."""

    def __init__(self, stream: Any, words: Sequence[str]) -> None:
        self._stream, self._terminal = stream, hasattr(stream, "isatty") and stream.isatty()
        self._start = self._last = time.monotonic()
        self.what, self._width = "", 0
        self.reached = (0, 0)  # how many, of how many
        self.quiet = "--quiet" in words

    def __call__(self, what: str, done: int, total: int, size: int) -> None:
        self.reached = (done, total)
        if ASKED_TO_END and threading.current_thread() is threading.main_thread():
            raise ASKED_TO_END[0]  # it came where Python only prints an error, and goes on
        with contextlib.suppress(OSError, ValueError, ToolError):  # a closed terminal ends no run
            self._show(what, size)

    def _show(self, what: str, size: int) -> None:
        now = time.monotonic()
        if what != self.what:
            self.clear()
            self.what, self._start, self._last = what, now, now
        if self.quiet or now - self._last < (0.1 if self._terminal else 10.0):
            return
        self._last, (done, total) = now, self.reached
        spent = max(0.001, now - self._start)
        rate = f"{size / spent / 1000000.0:.2f} MB/s" if size else f"{done / spent:.0f}/s"
        left = f"{int(spent / done * (total - done))} s left" if done else ""
        line = f"{what} {done}/{total}  {rate}  {left}"
        if self._terminal:
            self._stream.write("\r" + line.ljust(self._width))
            self._stream.flush()
            self._width = len(line)
        else:
            print_line(line, self._stream)

    def clear(self) -> None:
        """Wipe the line, so that other text can stand there."""
        if self._terminal and self._width:
            blank, self._width = " " * self._width, 0
            with contextlib.suppress(OSError, ValueError):
                self._stream.write("\r" + blank + "\r")
                self._stream.flush()


class Narrator(logging.Handler):
    """Narration to standard error, not on top of the progress line; kept back while it is quiet."""

    def __init__(self, progress: ProgressLine) -> None:
        super().__init__()
        self._progress = progress
        self._kept: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        text = shown(record.getMessage())
        if self._progress.quiet:
            self._kept.append(text)
            return
        with contextlib.suppress(OSError, ValueError, ToolError):  # a closed terminal ends no run
            self._progress.clear()
            print_line(text, sys.stderr)

    def speak(self) -> None:
        """Print what was kept back."""
        self._progress.quiet = False
        for text in self._kept:
            print_line(text, sys.stderr)


def ask_person(question: str, secret: bool) -> str:
    """Ask on the terminal; the answer to a secret question is not echoed."""
    if secret:
        import getpass

        return getpass.getpass(question + ": ")
    sys.stderr.write(printable(question + ": ", sys.stderr))
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\r\n")


# ---- Command line -------------------------------------------------------------------------------
# Here: the parser, signals, exceptions to exit codes.
# Not here: anything that a host program might want to call, but for main().


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors say where help is."""

    def error(self, message: str) -> Any:
        """One line and exit code 2."""
        raise UsageError("usage", message, remedy=f"see {self.prog} -h")


def _reader(option: Option) -> Callable[[str], Any]:
    """What makes a value of its text; raises UsageError with what is wanted, and an example."""

    def read(text: str) -> Any:
        if is_swallowed(text, option.rule.metavar):
            raise swallowed(text)
        try:
            meant = option.rule.other_form(text) if option.rule.other_form else None
            value = option.kind(text) if meant is None else meant
        except ValueError:
            raise no_number(option, text) from None
        for word in comma_words(text) if option.rule.listed else (value,):
            if option.rule.choices and word not in (*option.rule.choices, option.rule.alone):
                raise no_choice(option, str(word))
        return value

    return read


def _add_option(group: Any, option: Option, show_all: bool) -> None:
    """One field of an option group as an option of a parser."""
    rule, text = option.rule, option_help(option).replace("%", "%%")
    if rule.positional:
        group.add_argument(option.name, type=_reader(option), help=text, metavar=option.name)
        return
    arguments: Dict[str, Any] = {
        "dest": option.name,
        "default": argparse.SUPPRESS,
        "help": argparse.SUPPRESS if rule.advanced and not show_all else text,
    }
    if option.kind is bool:
        arguments["action"] = "store_true"
    else:
        choices = ",".join(map(str, rule.choices or ()))
        word = rule.metavar or (f"{{{choices}}}" if choices else None)
        arguments.update(type=_reader(option), metavar=word)
    if option.name == "import_path" or rule.many:
        arguments["action"] = "append"
    group.add_argument(option.flag, **arguments)


def _add_tool(subparsers: Any, tool: Tool, show_all: bool) -> None:
    """A subcommand."""
    known: Dict[str, Any] = (
        {"help": tool.help.split("\n")[0]} if show_all or not tool.advanced else {}
    )
    one = subparsers.add_parser(tool.name, description=tool.help, allow_abbrev=False, **known)
    for option in Showing.options():
        _add_option(one, option, show_all)
    for kind in tool.groups:
        section = one.add_argument_group(kind.title())
        for option in kind.options():
            _add_option(section, option, show_all)


def build_parser(show_all: bool) -> argparse.ArgumentParser:
    """The parser; show_all lists advanced tools and options too."""
    parser = _Parser(
        prog=PROGRAM,
        description=(__doc__ or "").split("\n\n")[0],
        allow_abbrev=False,
        epilog=f"{PROGRAM} TOOL -h explains a tool; {PROGRAM} --advanced -h lists every tool.",
    )
    version = "mapillary_tools " + __version__
    parser.add_argument("--version", action="version", version=version)
    more = "show advanced tools and options in the help"
    parser.add_argument("--advanced", action="store_true", help=more)
    schema = "print the JSON Schema of what --json prints"
    parser.add_argument("--json_schema", action="store_true", help=schema)
    subparsers = parser.add_subparsers(
        dest="tool", metavar="TOOL", parser_class=_Parser, title="tools"
    )
    for tool in TOOLS.values():
        _add_tool(subparsers, tool, show_all)
    return parser


def joined(argv: Sequence[str], options: Dict[str, bool]) -> List[str]:
    """The arguments with --some-option as --some_option, and `--option -05:00` as
    `--option=-05:00`.
    """
    out: List[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name not in options and name.replace("-", "_").replace("__", "--", 1) in options:
            word = name = name.replace("-", "_").replace("__", "--", 1)
            word += equals + value
        if (
            options.get(word)
            and rest
            and rest[0][:1] == "-"
            and rest[0].partition("=")[0] not in options
        ):
            word += "=" + rest.pop(0)
        out.append(word)
    return out


_FIRST = ("--verbose", "--json", "--quiet", "--advanced")  # may stand before the tool


def _value_of(word: str, rest: List[str], tool: Tool) -> List[str]:
    """The value of an option, taken from the words behind it; that which it has alone where none of
    them can be one.
    """
    alone = next(option.rule.alone for option in options_of(tool) if option.flag == word)
    if alone and (not rest or rest[0].startswith("-") or os.path.isdir(rest[0])):
        return [alone]
    return [rest.pop(0)] if rest else []


def arranged(words: Sequence[str]) -> List[str]:
    """The words with the tool first, and folders that no option names behind --import_path; raises
    UsageError for a tool, an option or a word that means nothing.
    """
    before = list(itertools.takewhile(lambda word: word in _FIRST, words))
    rest = list(words[len(before) :])
    if not rest or rest[0].startswith("-"):
        return [*before, *rest]
    if rest[0] not in TOOLS:
        raise unknown_tool(rest[0])
    tool = TOOLS[rest.pop(0)]
    takes = {o.flag: o.kind is not bool for o in options_of(tool)}
    places = sum(option.rule.positional for option in options_of(tool))
    out: List[str] = [tool.name, *before]
    rest = joined(rest, dict(all_options(), **takes))
    while rest:
        word = rest.pop(0)
        name = word.partition("=")[0]
        if not re.match(r"--?[A-Za-z]", word):
            out.extend([word] if places else _as_folder(word, tool, "--import_path" in out))
            continue
        if name not in takes:
            raise unknown_option(name, tool)
        out.append(word)
        if takes[name] and word == name:
            out.extend(_value_of(word, rest, tool))
    return out


def _as_folder(word: str, tool: Tool, given: bool) -> List[str]:
    """A word that no option names as a folder of images, of which one may be given before; raises
    UsageError, NotFound for another.
    """
    if Input not in tool.groups:
        raise loose_word(word, tool)
    if not os.path.exists(word) and not given:
        raise no_folder(word, "the folder")
    if not os.path.isdir(word):
        raise loose_word(word, tool)
    return ["--import_path", word]


@functools.lru_cache(maxsize=None)
def all_options() -> Mapping[str, bool]:
    """Every option of any tool, and whether it takes a value."""
    return {one.flag: one.kind is not bool for tool in TOOLS.values() for one in options_of(tool)}


def listed_folders(given: Sequence[str]) -> List[str]:
    """The folders that --import_path names: @LIST stands for those in a file, one a line. Raises
    NotFound.
    """
    found: List[str] = []
    for word in given:
        if not word.startswith("@") or os.path.isdir(word):
            found.append(word)
            continue
        try:
            text = Path(word[1:]).read_text("utf-8-sig", "surrogateescape")
        except OSError as error:
            cause, remedy = error.strerror or "", "a list has one folder a line"
            raise NotFound(
                "no_list", "cannot be read", file=word[1:], value=cause, remedy=remedy
            ) from error
        found.extend(line.strip() for line in text.splitlines() if line.strip())
    return found


def _run(arguments: argparse.Namespace, progress: ProgressLine) -> Report:
    """Call a tool with its option groups filled in."""
    tool, given = TOOLS[arguments.tool], vars(arguments)
    missing = [o for o in options_of(tool) if o.default is REQUIRED and o.name not in given]
    if missing:
        raise missing_options(missing, tool)
    folders = listed_folders(given.pop("import_path", ()))
    if len(folders) > 1 and not _takes_many(tool):
        wrong, remedy = f"{tool.name} takes one --import_path", "run it once for each"
        raise UsageError("one_folder", wrong, value=folders[1], remedy=remedy)
    if folders:
        given.update(import_path=folders[0])
    groups = []
    for kind in tool.groups:
        named = _given_to(kind, given)
        if kind is Input:
            named.update(also=tuple(folders[1:]))
        groups.append(kind(**named))
    asks = sys.stdin is not None and sys.stdin.isatty()
    return tool(*groups, ui=Ui(progress, ask_person if asks else None))


def _given_to(kind: Type[Group], given: Mapping[str, Any]) -> Dict[str, Any]:
    """The options of a group that were given; those that may come several times as tuples."""
    mine = [option for option in kind.options() if option.name in given]
    return {
        option.name: tuple(given[option.name]) if option.rule.many else given[option.name]
        for option in mine
    }


def _takes_many(tool: Tool) -> bool:
    return Input in tool.groups and Video not in tool.groups


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """The command line understood; raises UsageError, SystemExit after help."""
    parser = build_parser("--advanced" in words)
    arguments = parser.parse_args(arranged(words))
    if not arguments.tool:
        raise UsageError("usage", "a tool is missing", remedy=f"see {parser.prog} -h")
    return arguments


def _help(words: Sequence[str]) -> str:
    """The help that was asked for: of a tool, or of all; long with --advanced."""
    parser = build_parser("--advanced" in words)
    named = [word for word in words if word in TOOLS][:1]
    if named and "--advanced" not in words:
        return lesson_of(TOOLS[named[0]])
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        parser.parse_args([*named, "-h"])
    return out.getvalue()


def _program() -> str:
    """How this program is started, as it would be typed."""
    import shlex

    script = sys.argv[0] if os.path.basename(sys.argv[0]) == PROGRAM else PROGRAM
    if os.name == "nt":
        places = environment("PATH").split(os.pathsep)
        known = any(os.path.isfile(os.path.join(place, "python.exe")) for place in places if place)
        return subprocess.list2cmdline(["python" if known else sys.executable, script])
    return "python3 " + shlex.quote(script)


_SPEAKING = ("status",)  # tools whose summary is what was asked for


def _show(told: Report, arguments: argparse.Namespace, handler: Narrator) -> None:
    """Print what a tool did, as it was asked for."""
    as_json, quiet = getattr(arguments, "json", False), getattr(arguments, "quiet", False)
    if quiet and told.exit_code and not as_json:
        handler.speak()
    if told.told.output is not None and not as_json:
        print_line(told.told.output.rstrip("\n"), sys.stdout)
    elif as_json:
        print_line(json.dumps(told.as_json(), sort_keys=True), sys.stdout)
    elif not quiet or told.exit_code or told.tool in _SPEAKING:
        whole = getattr(arguments, "verbose", False)
        failing = getattr(arguments, "list_images", None) == "failed"
        lines = summary_of(told, whole, failing=failing)
        lines += last_lines(told, _program())
        print_line("\n".join(map(shown, lines)), sys.stdout)
    if told.stopped is not None and not (quiet and as_json):
        print_line(f"mapillary_tools: {told.stopped}", sys.stderr)


def _give_up(error: ToolError, words: Sequence[str], **more: object) -> int:
    """Say why a run could not begin, or end; returns its exit code."""
    if "--json" in words:
        tool = next((word for word in words if word in TOOLS), "")
        row = dict(Report(tool, stopped=error).as_json(), **more)
        print_line(json.dumps(row, sort_keys=True), sys.stdout)
    if not {"--quiet", "--json"} <= set(words):
        print_line(f"mapillary_tools: {error}", sys.stderr)
    return error.exit_code


def _interrupted(error: KeyboardInterrupt, progress: ProgressLine, words: Sequence[str]) -> int:
    """Say how far a run was when it was interrupted; returns its exit code."""
    number = error.number if isinstance(error, Interrupted) else Interrupted.number
    done, total = progress.reached
    far = f"while {progress.what} {done} of {total}" if progress.what else ""
    wrong = "interrupted " + far if far else "interrupted"
    left = max(0, total - done)
    value = f"{left} left" if far else ""
    stopped = ToolError("interrupted", wrong, value=value, remedy="run the same command again")
    stopped.exit_code = EXIT_SIGNAL + number
    at = (progress.what, done, left) if far else (None, None, None)
    ready = done if progress.what in _DOING else 0
    more = {"interrupted_while": at[0], "interrupted_at": at[1], "left": at[2]}
    return _give_up(stopped, words, done=ready, found=ready, **more)


_DOING = ("writing", "uploading")  # what is done with so many images as the progress tells


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit code and never calls sys.exit."""
    words = list(sys.argv[1:] if argv is None else argv)
    words = _SYNONYMS.get(words[0].lower(), [words[0]]) + words[1:] if words else words
    if set(_TELLING) & set(words):  # wherever it stands, even behind an option with a value
        return _tell(words)
    progress, level, start = ProgressLine(sys.stderr, words), LOG.level, time.monotonic()
    handler = Narrator(progress)
    LOG.addHandler(handler)
    try:
        arguments = _parsed(words)
        LOG.setLevel(logging.DEBUG if getattr(arguments, "verbose", False) else logging.INFO)
        told = _run(arguments, progress)
        told.told.seconds = round(time.monotonic() - start, 3)
        if told.told.next == AGAIN or getattr(arguments, "dry_run", False):
            told.told.next = tuple(word for word in words if word not in _DRY)
        progress.clear()
        _show(told, arguments, handler)
        return told.exit_code
    except SystemExit as leaving:  # argparse after --version
        return leaving.code if isinstance(leaving.code, int) else 0
    except (ToolError, KeyboardInterrupt) as error:
        ended: BaseException = error
    except MemoryError:
        ended = MemoryError()  # without the frames, which hold what did not fit
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
    progress.clear()
    return _ended_by(ended, progress, words)


def _tell(words: Sequence[str]) -> int:
    """Print the help, or the schema; returns the exit code."""
    text = json.dumps(json_schema(), indent=1) if "--json_schema" in words else _help(words)
    print_line(text.rstrip("\n"), sys.stdout)
    return 0


_TELLING = ("-h", "--help", "--json_schema")  # only something is told
_DRY = ("--dry_run", "--dry-run")
_SYNONYMS = {"help": ["-h"], "version": ["--version"]}


def _ended_by(error: BaseException, progress: ProgressLine, words: Sequence[str]) -> int:
    """Say what ended a run before its time; returns the exit code."""
    ASKED_TO_END.clear()
    if isinstance(error, ToolError):
        return _give_up(error, words)
    if isinstance(error, KeyboardInterrupt):
        return _interrupted(error, progress, words)
    wrong, remedy = "there is not enough memory", "give it less at a time"
    return _give_up(ToolError("memory", wrong, remedy=remedy), words)


def _on_signal(number: int, _: Any) -> None:
    """End the run in order; from the second signal on at once, which the atomic writes allow."""
    import signal

    signal.signal(number, lambda number, _: os._exit(EXIT_SIGNAL + number))
    error = Interrupted()
    ASKED_TO_END.append(error)
    if number != getattr(signal, "SIGBREAK", None):  # it is a Ctrl-C that nobody can ignore
        error.number = number
    raise error


def _prepare() -> None:
    """What suits this program, but not a host: fewer sweeps of memory, many open files, signals."""
    import gc
    import signal

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)
    hold_tokens()
    gc.set_threshold(200000, 20, 20)  # a run makes many small values and no cycles
    with contextlib.suppress(ImportError, OSError, ValueError):  # each folder keeps files open
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        wanted = 10240 if most < 0 else min(most, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _clicked(words: Sequence[str]) -> int:
    """A run that a click in Explorer began, in a window that closes with it: the help, or what a
    run over the folders that were dropped would do; returns the exit code.
    """
    folders = [word for word in words if os.path.isdir(word)]
    if not words:
        words = ["-h"]
    elif len(folders) == len(words):
        given = [word for folder in folders for word in ("--import_path", folder)]
        words = ["process", *given, "--user_name", "NAME", "--dry_run"]
        print_line("dropped here, so: " + subprocess.list2cmdline([PROGRAM, *words]), sys.stdout)
    code = main(words)
    print_line("Enter closes this window.", sys.stdout)
    with contextlib.suppress(OSError, ValueError, KeyboardInterrupt):
        sys.stdin.readline()
    return code


if __name__ == "__main__":
    _prepare()
    sys.exit(_clicked(sys.argv[1:]) if from_explorer() else main())
