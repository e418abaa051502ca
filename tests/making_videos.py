#!/usr/bin/env python3
"""Makers of small videos, by ffmpeg and by rewriting boxes, and judges of what went up; nothing here is the product's.

    python tests/making_videos.py       # the table of judges: points by each, metres apart at most, pictures equal

Each video goes through process and upload to a stand-in; "-" is a judge that is not on this computer.
"""

import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import making_logs
from making_tracks import CLIP_SECONDS, box, camm5, camm6, device, gps5, gps9, gpx
from making_tracks import iso, klv, movie, nest, rmc, trkpt, words

FFMPEG, FFPROBE, EXIFTOOL = (shutil.which(name) for name in ("ffmpeg", "ffprobe", "exiftool"))
SECONDS, RATE = 4, 10
LAT, LON, ALT = 47.1, 8.2, 400.0  # where every ride begins
LAT_STEP, LON_STEP, ALT_STEP = 2e-4, 1e-4, 0.5  # and how far it gets in a second: 23 m


# ---- rides


def place_at(seconds):
    """(latitude, longitude, altitude) at so many seconds of a ride."""
    return LAT + LAT_STEP * seconds, LON + LON_STEP * seconds, ALT + ALT_STEP * seconds


def times(first=0, last=SECONDS, rate=1):
    """Seconds from first to last, so many times a second."""
    return [first + number / rate for number in range(round((last - first) * rate) + 1)]


def points_at(seconds, start=CLIP_SECONDS):
    """(time, lat, lon, alt, course) at these seconds of a ride."""
    return [(start + when, *place_at(when), None) for when in seconds]


def gpx_of(seconds=(), start=CLIP_SECONDS):
    """A GPX of a ride, by default of a little more than a video."""
    rows = points_at(seconds or times(-2, SECONDS + 4), start)
    return gpx(
        "".join(
            trkpt(f"{lat:.9f}", f"{lon:.9f}", making_logs.stamp(when, digits=3, end="Z"), alt)
            for when, lat, lon, alt, _ in rows
        )
    )


def nmea_of(seconds=(), start=CLIP_SECONDS):
    """Sentences of a ride."""
    rows = points_at(seconds or times(-2, SECONDS + 4), start)
    return "".join(rmc(when, lat, lon) + "\r\n" for when, lat, lon, _, _ in rows)


def srt_of(seconds=()):
    """Subtitles of a drone; the first cue is at the begin of the video."""
    rows = points_at(seconds or times(0, SECONDS))
    return making_logs.srt_brackets(rows, rows[0][0])


def fit_of(seconds=()):
    """A FIT activity of a ride."""
    return making_logs.fit(points_at(seconds or times(-2, SECONDS + 4)))


def gpmd5(seconds=SECONDS, rate=18):
    """Payloads of a GoPro with GPS5."""
    return [
        device(gps5([place_at(number + n / rate) for n in range(rate)], CLIP_SECONDS + number))
        for number in range(seconds)
    ]


def gpmd9(seconds=SECONDS, rate=10):
    """Payloads of a GoPro with GPS9."""
    found = []
    for number in range(seconds):
        whens = [number + n / rate for n in range(rate)]
        found.append(device(gps9([(CLIP_SECONDS + at, *place_at(at), 1.5, 3) for at in whens])))
    return found


def camms(seconds, kind=6):
    """Records of CAMM at these seconds."""
    if kind == 5:
        return [camm5(*place_at(when)) for when in seconds]
    return [camm6(CLIP_SECONDS + when, *place_at(when)) for when in seconds]


# ---- films by ffmpeg


def ffmpeg(*argv):
    """Run ffmpeg; gives what it writes."""
    command = [FFMPEG, "-nostdin", "-v", "error", "-y", *map(str, argv)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
    ).stdout


def pictures(seconds=SECONDS, size="96x64", kind="testsrc2"):
    """Arguments of ffmpeg for an input of pictures that change."""
    return ["-f", "lavfi", "-i", f"{kind}=size={size}:rate={RATE}:duration={seconds}"]


def sound(seconds=SECONDS):
    """Arguments of ffmpeg for an input of sound."""
    return ["-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=8000:duration={seconds}"]


H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "10", "-pix_fmt", "yuv420p"]
H265 = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error"]
CREATED = ["-metadata", f"creation_time={iso(CLIP_SECONDS)}"]


def clip(path, *more, seconds=SECONDS, inputs=(), codec=H264):
    """A film of some seconds, created when the recordings of the tests are."""
    whole = ["-threads", "1", *codec, *CREATED, "-t", seconds]
    ffmpeg(*pictures(seconds), *inputs, *whole, *more, path)
    return path


def has_encoder(name):
    """Whether ffmpeg has an encoder."""
    if FFMPEG is None:
        return False
    told = subprocess.run([FFMPEG, "-v", "error", "-encoders"], stdout=subprocess.PIPE).stdout
    return f" {name} ".encode("ascii") in told


# ---- boxes

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


def opened(content):
    """[[kind, content]] of some boxes; those that hold boxes as lists of the same."""
    found, at = [], 0
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        head = 16 if size == 1 else 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, at + 8)
        inner = content[at + head : at + (size or len(content))]
        found.append([kind, opened(inner) if kind in PARENTS else inner])
        at += size or len(content)
    return found


def closed(boxes):
    """The bytes of boxes."""
    return b"".join(box(kind, closed(one) if isinstance(one, list) else one) for kind, one in boxes)


def below(boxes, *path):
    """What the first box at a path holds."""
    for kind in path:
        boxes = next(inner for name, inner in boxes if name == kind)
    return boxes


def replace(boxes, path, content):
    """Give the first box at a path another content."""
    inner = below(boxes, *path[:-1])
    next(one for one in inner if one[0] == path[-1])[1] = content


def place_of_media(content):
    """Where the content of the first mdat lies."""
    at = 0
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        wide = size == 1
        if wide:
            (size,) = struct.unpack_from(">Q", content, at + 8)
        if kind == b"mdat":
            return at + (16 if wide else 8)
        at += size
    raise ValueError("no mdat")


class Film:
    """A movie taken apart: its index as lists, with chunk offsets from the begin of its one mdat."""

    def __init__(self, content):
        top, at = opened(content), place_of_media(content)
        self.ftyp = closed([one for one in top if one[0] == b"ftyp"])
        self.media, self.moov = below(top, b"mdat"), below(top, b"moov")
        for table in self.tables():
            self._rebase(table, -at)

    @property
    def traks(self):
        """The tracks."""
        return [inner for kind, inner in self.moov if kind == b"trak"]

    def tables(self):
        """The sample table of each track."""
        return [below(trak, b"mdia", b"minf", b"stbl") for trak in self.traks]

    @staticmethod
    def _rebase(table, by):
        for one in table:
            if one[0] in (b"stco", b"co64"):
                wide = one[0] == b"co64"
                (count,) = struct.unpack_from(">I", one[1], 4)
                places = struct.unpack_from(f">{count}{'Q' if wide else 'I'}", one[1], 8)
                moved = [place + by for place in places]
                one[:] = [b"co64", bytes(4) + struct.pack(f">I{count}Q", count, *moved)]

    def set_places(self, number, places):
        """Give the chunks of a track other places, from the begin of the media."""
        content = bytes(4) + struct.pack(f">I{len(places)}Q", len(places), *places)
        replace(self.tables()[number], [b"co64"], content)

    def add(self, payloads, form, **options):
        """Add a track of telemetry."""
        other = Film(movie(payloads, form=form, **options))
        self._rebase(other.tables()[0], len(self.media))
        header = bytearray(below(other.traks[0], b"tkhd"))
        header[12:16] = words(len(self.traks) + 1)
        replace(other.traks[0], [b"tkhd"], bytes(header))
        self.moov.append([b"trak", other.traks[0]])
        self.media += other.media
        return self

    def index(self, begin, wide=True):
        """The index of a file whose media begins at begin."""
        moov = opened(closed([[b"moov", self.moov]]))
        for kind, trak in moov[0][1]:
            if kind == b"trak":
                table = below(trak, b"mdia", b"minf", b"stbl")
                self._rebase(table, begin)
                if not wide:
                    _narrow(table)
        return closed(moov)

    def content(self, moov_first=False, wide=False, more=b"", tail=b""):
        """The file: wide with sizes and offsets of 64 bits; more lies before its media."""
        head = struct.pack(">I4sQ", 1, b"mdat", 16 + len(self.media))
        if not wide:
            head = struct.pack(">I4s", 8 + len(self.media), b"mdat")
        before = self.ftyp + more
        if moov_first:
            begin = len(before) + len(self.index(0, wide)) + len(head)
            return before + self.index(begin, wide) + head + self.media + tail
        return before + head + self.media + self.index(len(before) + len(head), wide) + tail

    def write_far(self, path, gap):
        """A file whose media lies behind so many bytes of nothing."""
        with open(str(path), "wb") as stream:
            stream.write(self.ftyp)
            stream.write(struct.pack(">I4sQ", 1, b"mdat", 16 + gap + len(self.media)))
            begin = stream.tell() + gap
            stream.seek(begin)
            stream.write(self.media)
            stream.write(self.index(begin))
        return path


def _narrow(table):
    for one in table:
        if one[0] == b"co64":
            (count,) = struct.unpack_from(">I", one[1], 4)
            places = struct.unpack_from(f">{count}Q", one[1], 8)
            one[:] = [b"stco", bytes(4) + struct.pack(f">I{count}I", count, *places)]


def film(path, *more, **options):
    """A film by ffmpeg, taken apart."""
    return Film(clip(path, *more, **options).read_bytes())


def striped(path, width):
    """A film whose pictures are so wide."""
    return film(path, "-vf", f"scale={width}:64")


def own_reference(made):
    """Have the first track say that its pictures are in this file."""
    here = box(b"url ", bytes([0, 0, 0, 1]))
    dinf = box(b"dref", bytes(4), words(1), here)
    replace(made.traks[0], [b"mdia", b"minf", b"dinf"], dinf)
    return made


def settings(model):
    """The user data in which a GoPro tells its name."""
    return box(b"udta", box(b"GPMF", nest(b"DEVC", klv(b"MINF", "c", [model], len(model)))))


def bare(sizes, telemetry=(), gap=0, pause=100, **options):
    """A movie with a track of pictures of these sizes, which no decoder takes, made without ffmpeg,
    with so many other bytes before each; and a track of records.
    """
    payloads = [bytes([1 + number % 250]) * size for number, size in enumerate(sizes)]
    form = {"form": b"avc1", "handler": b"vide", "delta": pause}
    made = own_reference(Film(movie(payloads, **{**form, **options})))
    places, made.media = [], b""
    for payload in payloads:
        made.media += bytes([255]) * gap
        places.append(len(made.media))
        made.media += payload
    made.set_places(0, places)
    return made.add(list(telemetry), b"camm") if telemetry else made


def driven(sizes=(1000,) * 40, seconds=(), **options):
    """The bytes of a movie of four seconds with the places of a ride."""
    return bare(sizes, camms(seconds or times()), **options).content()


def far_pictures(path, sizes):
    """A sparse file with a track of pictures of nothing, of these sizes, and one of places."""
    made = bare([1] * len(sizes), pause=SECONDS * 1000 // len(sizes))
    made.media = b""
    made.add(camms(times()), b"camm")
    begin, places = len(made.media), []
    for size in sizes:
        places.append(begin)
        begin += size
    replace(made.tables()[0], [b"stsz"], bytes(4) + words(0, len(sizes), *sizes))
    made.set_places(0, places)
    with open(str(path), "wb") as stream:
        stream.write(made.ftyp)
        stream.write(struct.pack(">I4sQ", 1, b"mdat", 16 + begin))
        head = stream.tell()
        stream.write(made.media)
        stream.seek(head + begin)
        stream.write(made.index(head))
    return path


# ---- judges


def probed(path, *asked):
    """What ffprobe tells as JSON, and what it complains of."""
    command = [FFPROBE, "-v", "error", "-of", "json", *asked, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    return json.loads(done.stdout.decode("utf-8")), done.stderr.decode("utf-8")


def streams(path):
    """(kind, name of the format) of each track, by ffprobe."""
    found, _ = probed(path, "-show_entries", "stream=codec_type,codec_tag_string")
    return [(one["codec_type"], one["codec_tag_string"]) for one in found["streams"]]


def packets(path):
    """For each track of pictures (time, time to decode, key or not, md5) of its packets, by ffprobe."""
    names = "packet=stream_index,pts_time,dts_time,flags,data_hash"
    asked = ["-select_streams", "v", "-show_data_hash", "md5", "-show_entries", names]
    tracks = {}
    for one in probed(path, *asked)[0]["packets"]:
        row = (one["pts_time"], one["dts_time"], one["flags"], one["data_hash"])
        tracks.setdefault(one["stream_index"], []).append(row)
    return [tracks[number] for number in sorted(tracks)]


def decoded(path):
    """For each track of pictures the md5 of every picture that ffmpeg decodes."""
    told = ffmpeg("-i", path, "-map", "0:v", "-vsync", "passthrough", "-f", "framemd5", "-")
    tracks = {}
    for line in told.decode("ascii").splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if line[:1] != "#" and len(cells) == 6:
            tracks.setdefault(cells[0], []).append((cells[4], cells[5]))
    return [tracks[number] for number in sorted(tracks)]


def headers(path):
    """(size and matrix) of the track header of each track of pictures."""
    found = []
    top = opened_index(path)
    for kind, trak in below(top, b"moov"):
        if kind == b"trak" and below(trak, b"mdia", b"hdlr")[8:12] == b"vide":
            found.append(below(trak, b"tkhd")[-44:])
    return found


def opened_index(path):
    """The boxes of a file, media left out: it may be far."""
    found, at, size = [], 0, path.stat().st_size
    with open(str(path), "rb") as stream:
        while at + 8 <= size:
            stream.seek(at)
            head = stream.read(16)
            length, kind = struct.unpack_from(">I4s", head)
            wide = length == 1
            length = struct.unpack_from(">Q", head, 8)[0] if wide else length or size - at
            if kind != b"mdat":
                stream.seek(at)
                found += opened(stream.read(length))
            at += length
    return found


def by_exiftool(path):
    """(seconds, lat, lon) of every place that exiftool finds."""
    form = "$SampleTime $GPSLatitude $GPSLongitude"
    command = [EXIFTOOL, "-n", "-m", "-ee", "-api", "LargeFileSupport=1", "-p", form, str(path)]
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout
    rows = [line.split() for line in told.decode("utf-8").splitlines()]
    return [tuple(map(float, row)) for row in rows if len(row) == 3]


OFFICIAL = """
import json, sys
from mapillary_tools.camm.camm_parser import extract_camm_info
with open(sys.argv[1], "rb") as stream:
    info = extract_camm_info(stream)
places = []
for one in [*info.mini_gps, *info.gps]:
    more = [getattr(one, name, None) for name in ("time_gps_epoch", "gps_fix_type")]
    places.append([one.time, one.lat, one.lon, one.alt, *more])
print(json.dumps({"places": places, "make": info.make, "model": info.model}))
"""


def has_official(folder):
    """Whether the official package can be imported here."""
    test = "import mapillary_tools.camm.camm_parser"
    ran = subprocess.run(
        [sys.executable, "-I", "-c", test], cwd=str(folder), stderr=subprocess.PIPE
    )
    return ran.returncode == 0


def by_official(path):
    """What the reader of the official package finds: its own process, for it has our name."""
    command = [sys.executable, "-I", "-c", OFFICIAL, str(path)]
    ran = subprocess.run(command, cwd=str(path.parent), stdout=subprocess.PIPE, check=True)
    return json.loads(ran.stdout.decode("utf-8"))


# ---- the videos of the table


class Shot:
    """A video of the table: how it is made, and what is known of it."""

    def __init__(self, name, make, seconds, utc=True, camera=("", ""), codec="libx264"):
        self.name, self.make, self.seconds = name, make, seconds
        self.utc, self.camera, self.codec = utc, camera, codec

    @property
    def stem(self):
        """The name without its ending."""
        return self.name.rpartition(".")[0]

    def places(self, folder):
        """(seconds, lat, lon, alt) of the places that go up, in order."""
        length = movie_seconds(folder / self.name)
        whens = [when for when in self.seconds if 0 <= when <= length]
        if self.seconds[-1] > length not in whens:
            whens.append(length)
        return [(when, *place_at(when)) for when in whens]


def movie_seconds(path):
    """How long a movie is, by its header."""
    mvhd = below(opened_index(path), b"moov", b"mvhd")
    scale, length = struct.unpack_from(">II", mvhd, 12)
    return length / scale


def bframes(path):
    """H.264 with B-frames and sound, and a GPX beside it."""
    clip(path, "-c:a", "aac", inputs=sound())
    path.with_suffix(".gpx").write_text(gpx_of(), encoding="utf-8")


def h265(path):
    """H.265, its index first, and sentences beside it."""
    clip(path, "-movflags", "+faststart", "-tag:v", "hvc1", codec=H265)
    path.with_suffix(".nmea").write_text(nmea_of(), encoding="ascii")


def gopro(path):
    """A GoPro with GPS5."""
    path.write_bytes(film(path).add(gpmd5(), b"gpmd").content())


def blackvue(path):
    """A BlackVue."""
    rows = [(round((CLIP_SECONDS + at) * 1000), CLIP_SECONDS + at) for at in times()]
    lines = [f"[{stamp}]{rmc(at, *place_at(at - CLIP_SECONDS)[:2])}" for stamp, at in rows]
    name = b'{"model":"DR900S-2CH"}'
    free = box(
        b"free", box(b"cprt", name), box(b"gps ", ("\r\n".join(lines) + "\r\n").encode("ascii"))
    )
    path.write_bytes(film(path).content(tail=free))


def lenses(path):
    """A raw .360: two tracks of pictures, sound, and GPS9."""
    two = [*pictures(kind="testsrc"), *sound()]
    maps = ["-map", "0:v", "-map", "1:v", "-map", "2:a", "-c:a", "aac", "-f", "mp4"]
    made = film(path, *maps, inputs=two).add(gpmd9(), b"gpmd")
    replace(made.moov, [b"udta"], settings(b"GoPro Max")[8:])
    path.write_bytes(made.content())


def turned(made, late=500):
    """Turn the pictures of a film by a quarter, and begin them with nothing."""
    trak = made.traks[0]
    header = bytearray(below(trak, b"tkhd"))
    header[40:76] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 64 << 16, 0, 1 << 30)
    header[20:24] = words(SECONDS * 1000 + late)
    replace(trak, [b"tkhd"], bytes(header))
    edits = below(trak, b"edts", b"elst")
    count = struct.unpack_from(">I", edits, 4)[0] + 1
    begun = bytes(4) + words(count, late, -1, 1 << 16) + edits[8:]
    replace(trak, [b"edts", b"elst"], begun)
    replace(made.moov, [b"mvhd"], _longer(below(made.moov, b"mvhd"), SECONDS * 1000 + late))
    return made


def _longer(mvhd, length):
    return mvhd[:16] + words(length) + mvhd[20:]


def rescaled(made, scale):
    """Have the movie time of a film, of which ffmpeg counts 1000 a second, counted in other units."""

    def by(content, at):
        (value,) = struct.unpack_from(">I", content, at)
        return content[:at] + words(value * scale // 1000) + content[at + 4 :]

    mvhd = below(made.moov, b"mvhd")
    replace(made.moov, [b"mvhd"], by(by(mvhd, 12), 16))
    for trak in made.traks:
        replace(trak, [b"tkhd"], by(below(trak, b"tkhd"), 20))
        if trak[1][0] == b"edts":
            edits = below(trak, b"edts", b"elst")
            for at in range(8, len(edits), 12):
                edits = by(edits, at)
            replace(trak, [b"edts", b"elst"], edits)
    return made


def apple(path, *more):
    """A film with the keys of an iPhone, which ffmpeg puts into the user data."""
    keys = {"make": "Apple", "model": "iPhone 15", "creationdate": "2024-05-31T14:00:00+0200"}
    told = [f"com.apple.quicktime.{name}={value}" for name, value in keys.items()]
    words_of_it = [word for text in told for word in ("-metadata", text)]
    return film(path, "-movflags", "use_metadata_tags", "-f", "mov", *words_of_it, *more)


def sphere(path):
    """An .insv: two lenses, and the trailer of an Insta360."""
    maps = ["-map", "0:v", "-map", "1:v", "-f", "mp4"]
    made = film(path, *maps, inputs=pictures(kind="testsrc"))
    ride = making_logs.insta360(points_at(times(0, 3.9, 10)))
    path.write_bytes(made.content() + ride[len(movie(duration=0)) :])


def phone(path):
    """A phone's: turned, begun late, with Apple's keys, and a GPX beside it."""
    made = rescaled(turned(apple(path)), 600)
    meta = below(opened(below(made.moov, b"udta")), b"meta")
    made.moov[:] = [one for one in made.moov if one[0] != b"udta"]
    made.moov.append([b"meta", meta[4:]])  # as QuickTime has it: no version
    path.write_bytes(made.content())
    path.with_suffix(".gpx").write_text(gpx_of(), encoding="utf-8")


def untimed(path):
    """CAMM without times, the first place late."""
    edits = ((500, -1), (3000, 0))
    made = film(path).add(camms(times(0.5, 3.5), 5), b"camm", edits=edits)
    path.write_bytes(made.content())


def far(path):
    """Pictures and places behind 5 GB of nothing."""
    striped(path, 80).add(camms(times()), b"camm").write_far(path, 5 << 30)


def wide(path):
    """Sizes and offsets of 64 bits in a small file."""
    made = striped(path, 112).add(camms(times()), b"camm")
    path.write_bytes(made.content(wide=True, moov_first=True))


def quicktime(path):
    """QuickTime as of old: no ftyp, sound as it is, a time code."""
    more = ["-c:a", "pcm_s16le", "-timecode", "12:00:00:00", "-f", "mov"]
    made = film(path, *more, inputs=sound())
    made.ftyp = b""
    path.write_bytes(made.content())
    path.with_suffix(".gpx").write_text(gpx_of(), encoding="utf-8")


UNEVEN = [0.25, 0.263, 1.1, 1.9, 3.517, 3.9]


def uneven(path):
    """Pictures and places at uneven times."""
    vfr = ["-vf", "setpts=N*N/40/TB/10+N/TB/20", "-vsync", "vfr", "-enc_time_base", "1/1000"]
    gaps = [round((b - a) * 1000) for a, b in zip(UNEVEN, [*UNEVEN[1:], UNEVEN[-1]])]
    edits = ((250, -1), (3650, 0))
    made = film(path, *vfr)
    made.add(camms(UNEVEN), b"camm", edits=edits, stts=[(1, gap) for gap in gaps])
    rescaled(made, 90000)
    path.write_bytes(made.content())


def uncompressed(path):
    """Pictures as they are, all of one size, by a FIT beside them."""
    clip(path, codec=["-c:v", "rawvideo", "-pix_fmt", "uyvy422"])
    path.with_suffix(".fit").write_bytes(fit_of())


def spaced(path):
    """Other boxes before the pictures."""
    made = film(path).add(camms(times()), b"camm")
    path.write_bytes(made.content(more=box(b"wide") + box(b"free", bytes(100))))


WITHIN, BEYOND = times(), times(-2, SECONDS + 4)
PAYLOADS = times(0, SECONDS - 1 / 18, 18), times(0, SECONDS - 1 / 10, 10)
SHOTS = [
    Shot("bframes.mp4", bframes, BEYOND),
    Shot("h265.mp4", h265, BEYOND, codec="libx265"),
    Shot("gopro.MP4", gopro, PAYLOADS[0], camera=("GoPro", "Hero9 Black")),
    Shot("blackvue.mp4", blackvue, WITHIN, camera=("BlackVue", "DR900S-2CH")),
    Shot("lenses.360", lenses, PAYLOADS[1], camera=("GoPro", "GoPro Max")),
    Shot("sphere.insv", sphere, times(0, 3.9, 10), camera=("Insta360", "Insta360 X3")),
    Shot("phone.MOV", phone, BEYOND, camera=("Apple", "iPhone 15")),
    Shot("untimed.mp4", untimed, times(0.5, 3.5), utc=False),
    Shot("far.mp4", far, WITHIN),
    Shot("wide.mp4", wide, WITHIN),
    Shot("quicktime.mov", quicktime, BEYOND),
    Shot("uneven.mp4", uneven, UNEVEN),
    Shot("uncompressed.mov", uncompressed, BEYOND, codec="rawvideo"),
    Shot("spaced.mp4", spaced, WITHIN),
]


class Studio:
    """All videos of the table that this ffmpeg can make, and what a stand-in received of them."""

    def __init__(self, base):
        self.card, self.out, self.home = base / "card", base / "out", base / "home"
        self.card.mkdir()
        self.home.mkdir()
        self.shots = [shot for shot in SHOTS if has_encoder(shot.codec)]
        for shot in self.shots:
            shot.make(self.card / shot.name)
        words = ["--import_path", self.card, "--videos", "upload", "--json"]
        self.processed = self._run("process", *words, "--user_name", "demo")
        self.uploaded = self._run("upload", *words, "--stand_in", self.out)
        rows = (self.card / ".mapillary" / "journal.jsonl").read_text("utf-8").splitlines()[1:]
        sent = [json.loads(row)["upload"] for row in rows if row.startswith('{"upload"')]
        self.keys = {row["image"]: row["key"] for row in sent if row["status"] == "sent"}

    def _run(self, *argv):
        script = Path(__file__).resolve().parents[1] / "mapillary_tools.py"
        words = [sys.executable, "-I", "-S", str(script), *map(str, argv)]
        config = str(self.home / "config")
        env = dict(os.environ, HOME=str(self.home), MAPILLARY_CONFIG_PATH=config)
        ran = subprocess.run(
            words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
        return json.loads(ran.stdout.decode("utf-8"))

    def original(self, shot):
        """The file on the card."""
        return self.card / shot.name

    def received(self, shot):
        """The file at the stand-in."""
        return self.out / self.keys[shot.name]


def apart(found, wanted):
    """Metres between places, at most; one more or less is infinitely far."""
    if len(found) != len(wanted):
        return math.inf
    farthest = 0.0
    for one, other in zip(found, wanted):
        north = (one[1] - other[1]) * 111195
        east = (one[2] - other[2]) * 111195 * math.cos(math.radians(other[1]))
        farthest = max(farthest, math.hypot(north, east))
    return farthest


def by_ours(path):
    """(seconds, lat, lon) of every place that our own reader finds."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import mapillary_tools

    points = mapillary_tools.read_track(path, "camm").points
    return [(point.time - CLIP_SECONDS, point.lat, point.lon) for point in points]


def row_of(studio, shot, official):
    """A row of the table: what each judge finds, metres, whether all pictures are equal."""
    original, received = studio.original(shot), studio.received(shot)
    judges = [by_ours(received), by_exiftool(received) if EXIFTOOL else None]
    judges.append(by_official(received)["places"] if official else None)
    wanted = shot.places(studio.card)
    farthest = max(apart(found, wanted) for found in judges if found is not None)
    same = decoded(original) == decoded(received) and packets(original) == packets(received)
    counts = ["-" if found is None else str(len(found)) for found in judges]
    pictures_of = sum(map(len, decoded(received)))
    return [shot.name, str(len(wanted)), *counts, f"{farthest:.3f}", str(pictures_of), str(same)]


def main():
    heads = ["video", "put in", "ours", "exiftool", "official", "metres", "pictures", "equal"]
    form = "{:18}{:>7}{:>6}{:>10}{:>10}{:>8}{:>10}{:>7}"
    print(form.format(*heads))
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder))
        official = has_official(studio.home)
        for shot in studio.shots:
            print(form.format(*row_of(studio, shot, official)))


if __name__ == "__main__":
    main()
