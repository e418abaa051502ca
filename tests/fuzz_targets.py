"""What fuzz.py feeds to the readers: for each kind of input its seeds, the fields worth changing, and what must hold of it.

`KINDS[name].check(content)` returns where all is well, and raises where a demand is broken: only ToolError comes out of the
tool, only ValueError and OSError out of vendor/piexif; an edit keeps every byte that is not ours; what was written reads back.
"""

import contextlib
import functools
import io
import json
import math
import os
import re
import struct
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple
from unittest import mock

import making
import making_logs
import making_tracks
import mapillary_tools as mt
import walker

Field = Tuple[int, int, str]  # offset, bytes, byte order

TEXT = json.dumps({"MAPLatitude": 57.7, "note": "\u00fc" * 40})
EDITS = {
    "0th": {0x010E: TEXT.encode(), 0x0112: 1},
    "Exif": mt.time_edits(1714979289.25, 7200.0),
    "GPS": {
        **mt.position_edits(57.7, -11.97),
        **mt.altitude_edits(-3.5),
        **mt.heading_edits(271.5),
    },
}
PIEXIF = walker.vendored()


class Broken(Exception):
    """A demand that does not hold."""


class Kind(NamedTuple):
    """A kind of input."""

    seeds: Callable[[], List[bytes]]
    check: Callable[[bytes], None]
    fields: Callable[[bytes], List[Field]] = lambda content: []
    words: Sequence[bytes] = ()  # what is worth putting in
    rows: str = ""  # "lines": JSON, a row a line; "body": JSON behind an empty line; "whole"


def demand(holds: Any, wrong: str) -> None:
    """Raise Broken unless something holds."""
    if not holds:
        raise Broken(wrong)


@functools.lru_cache(maxsize=None)
def _room() -> Any:
    return tempfile.TemporaryDirectory(prefix="fuzz-")


def room(name: str) -> Path:
    """A folder of this process that is removed at its end."""
    folder = Path(_room().name, name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def allowed(action: Callable[[], Any], errors: Any = mt.ToolError) -> Any:
    """What comes of an action, None where it is refused as it may be, in one line."""
    try:
        return action()
    except errors as error:
        demand(not isinstance(error, mt.ToolError) or "\n" not in str(error), "more than a line")
        return None


# ---- Fields: where lengths, counts and offsets stand


def tiff_fields(content: bytes, base: int = 0) -> List[Field]:
    """The fields of a TIFF block that begins at `base`."""
    order, found = {b"II": "<", b"MM": ">"}.get(content[base : base + 2], ""), []
    todo, seen = [base + 4], {0}
    while order and todo and len(found) < 500:
        found.append((todo[-1], 4, order))
        at = int.from_bytes(content[todo[-1] : todo.pop() + 4], "little" if order == "<" else "big")
        if at in seen or base + at + 2 > len(content):
            continue
        seen.add(at)
        at += base
        (count,) = struct.unpack_from(order + "H", content, at)
        found.append((at, 2, order))
        for place in range(at + 2, min(at + 2 + 12 * count, len(content) - 12), 12):
            found += [(place, 2, order), (place + 2, 2, order), (place + 4, 4, order)]
            found.append((place + 8, 4, order))
            if struct.unpack_from(order + "H", content, place)[0] in walker.PLACES | {0x014A}:
                todo.append(place + 8)
        if at + 6 + 12 * count <= len(content):
            todo.append(at + 2 + 12 * count)
    return found


def jpeg_fields(content: bytes) -> List[Field]:
    """The lengths of segments, and the fields of the Exif block."""
    found, at = [], 2
    while at + 4 <= len(content) and len(found) < 200 and content[at] == 0xFF:
        found.append((at + 2, 2, ">"))
        if content[at + 4 : at + 8] == b"Exif":
            found += tiff_fields(content, at + 10)
        if content[at + 4 : at + 8] == b"MPF\0":
            found += tiff_fields(content, at + 8)
        if content[at + 1] == 0xDA:
            break
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return found


_GPMF_KEY = re.compile(rb"DEVC|STRM|GPS5|GPS9|GPS[UFP]|SCAL|TYPE|SYST|GLPI|DV(?:ID|NM)")
_TABLES = (b"stsz", b"stts", b"stsc", b"stco", b"co64", b"elst", b"mdhd", b"mvhd", b"stsd", b"stss")


_BOX = re.compile(b"|".join([*_TABLES, b"mdat", *map(str.encode, sorted(making_tracks.PARENTS))]))


def movie_fields(content: bytes) -> List[Field]:
    """Sizes of boxes, the words of their tables, and types, widths and counts of GPMF entries."""
    found: List[Field] = []
    for match in _BOX.finditer(content, 4):
        at = match.start()
        found.append((at - 4, 4, ">"))
        if match.group() in _TABLES:
            found += [(place, 4, ">") for place in range(at + 4, at + 40, 4)]
    for match in _GPMF_KEY.finditer(content):
        at = match.end()
        found += [(at, 1, ">"), (at + 1, 1, ">"), (at + 2, 2, ">")]
    return [field for field in found[:3000] if field[0] + field[1] <= len(content)]


def webp_fields(content: bytes) -> List[Field]:
    """The lengths of chunks."""
    found, at = [(4, 4, "<")], 12
    while at + 8 <= len(content):
        found.append((at + 4, 4, "<"))
        at += 8 + int.from_bytes(content[at + 4 : at + 8], "little")
    exif = content.find(b"EXIF")
    return found + (tiff_fields(content, exif + 8) if exif >= 0 else [])


# ---- Pictures


def picture_seeds() -> List[bytes]:
    """JPEG as cameras and phones write them."""
    mpf = b"MPF\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHLL", 0xB002, 7, 32, 26) + bytes(4)
    mpf += struct.pack("<4L", 0, 900, 0, 0) + struct.pack("<4L", 0, 900, 950, 0)
    small = {"lat": 57.7, "lon": 11.97, "alt": 5.0, "heading": 12.0, "subsec": "250"}
    return [
        making.jpeg((16, 16), making.exif_tiff(**small)),
        making.jpeg((16, 16), making.exif_tiff(order=">", thumbnail=walker.THUMB, **small)),
        making.jpeg((16, 16), None),
        walker.jpeg(walker.JFIF, walker.exif(walker.camera("<")), walker.XMP, walker.ICC),
        walker.jpeg(walker.exif(walker.camera(">", gap=bytes(4))), walker.segment(0xE2, mpf)),
        walker.jpeg(walker.exif(walker.camera("<")), walker.COM, tail=walker.THUMB + bytes(9)),
    ]


def tiff_seeds() -> List[bytes]:
    """Exif blocks."""
    more = {"Exif": {0x9286: (making.UNDEFINED, b"ASCII\0\0\0hello"), 0x927C: (7, bytes(90))}}
    return [
        walker.camera("<"),
        walker.camera(">", gap=bytes(6), tail=bytes(40)),
        making.exif_tiff(lat=1.5, lon=-2.5, alt=-3.0, description="a caption", more=more),
        making.exif_tiff(order=">", lat=1.5, lon=2.5, gps_date="2024:05:06", gps_time=(7, 8, 9.5)),
        walker.block(">", {"0th": [(0x014A, 4, 3, struct.pack(">3L", 8, 40, 80))]}, tail=bytes(90)),
    ]


def webp_seeds() -> List[bytes]:
    """WebP in both formats."""
    lossless, block = b"VP8L\x06\0\0\0\x2f\0\0\0\0\0", making.exif_tiff(lat=1.0, lon=2.0)
    block += bytes(len(block) % 2)
    exif = b"EXIF" + struct.pack("<L", len(block)) + block
    head = b"VP8X\x0a\0\0\0" + b"\x08" + bytes(9)
    lossy = b"VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x10\0\x10\0"
    bodies = [lossless, lossy, head + lossless + exif, head + lossless + b"XMP \2\0\0\0xx"]
    return [b"RIFF" + struct.pack("<L", 4 + len(body)) + b"WEBP" + body for body in bodies]


def not_exif(content: bytes) -> bytes:
    """The bytes of a JPEG that are not ours to change: all but Exif segments and the offsets of MPF."""
    kept, at = [content[:2]], 2
    while at + 4 <= len(content):
        marker = content[at + 1]
        if content[at] != 0xFF or marker == 0xFF or marker < 0xC0 or 0xD0 <= marker <= 0xD8:
            step = 2 if content[at] == 0xFF and marker != 0xFF else 1
            kept.append(content[at : at + step])
            at += step
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker in (0xD9, 0xDA) or end < at + 4 or end > len(content):
            break
        if marker == 0xE2 and content[at + 4 : at + 8] == b"MPF\0":
            kept.append(content[at : at + 4] + bytes(end - at - 4))
        elif not (marker == 0xE1 and content[at + 4 : at + 9] == b"Exif\0"):
            kept.append(content[at:end])
        at = end
    return b"".join(kept) + content[at:]


def check_jpeg(content: bytes) -> None:
    """Head and scan walk, reading, describing."""
    path = room("jpeg") / "a.jpg"
    path.write_bytes(content)
    mt.whole_head(io.BytesIO(content))
    found = allowed(lambda: mt.read_found(path))
    new = allowed(lambda: mt.edited(io.BytesIO(content), "a.jpg", EDITS))
    if new is None:
        return
    out = new.head + content[new.start :]
    demand(not_exif(out) == not_exif(content), "other bytes than ours have changed")
    again = mt.edited(io.BytesIO(out), "a.jpg", EDITS)
    demand(not again.changed and again.digest == new.digest, "written twice it differs")
    path.write_bytes(out)
    told = allowed(lambda: mt.read_found(path))
    demand(told is not None or found is None, "what was written cannot be read")
    if told is not None:
        demand(told.caption == TEXT and told.digest == new.digest, "another caption reads back")
        near = abs((told.lat or 0) - 57.7) < 1e-7 and abs((told.lon or 0) + 11.97) < 1e-7
        demand(near and told.heading == 271.5 and told.alt == -3.5, "another place reads back")
    if len(content) % 16 == 0:  # by the whole way now and then
        path.write_bytes(content)
        mt.write_edits(str(path), EDITS)
        demand(path.read_bytes() == out, "the file is not what was to be written")


OURS = (ValueError, OSError)
_DERIVED = {"0th": (0x8769, 0x8825), "Exif": (0xA005,), "1st": (0x0201, 0x0202, 0x8769, 0x8825)}
NAMES = ("0th", "Exif", "GPS", "Interop", "1st")


def apart(content: bytes) -> Set[Tuple[str, int]]:
    """(IFD, tag) of the values that an edit must keep: there once, whole, and over nothing else."""
    try:
        read = walker.Tiff(content)
    except (LookupError, struct.error):
        return set()
    spans = sorted(span[:2] for span in read.spans if span[0] < span[1])
    crossed = {one for a, b in zip(spans, spans[1:]) if b[0] < a[1] for one in (a, b)}
    widest = 0
    for start, end in spans:  # a long one may cross more than its neighbour
        if start < widest:
            crossed.add((start, end))
        widest = max(widest, end)
    found = set()
    for name, fields in read.ifds.items():
        start = read.offsets[name]
        tags = [tag for tag, _ in fields]
        if start % 2 or (start, start + 6 + 12 * len(fields)) in crossed or len(content) < widest:
            continue
        for tag, field in fields:
            size = len(field.value or b"")
            span = (field.offset, field.offset + size)
            if tags.count(tag) == 1 and size and (size <= 4 or span not in crossed):
                found.add((name, tag))
    return found


def confused(content: bytes) -> bool:
    """Whether an IFD of a block has a tag twice: nobody knows which one counts, and reading them all may be given up."""
    try:
        ifds = walker.Tiff(content).ifds
    except (LookupError, struct.error):
        return True
    tags = [[tag for tag, _ in fields] for fields in ifds.values()]
    return any(len(set(some)) < len(some) for some in tags)


def check_block(content: bytes) -> None:
    """load, dump, insert, remove and transplant of vendor/piexif on an Exif block."""
    header = b"Exif\0\0" + content
    loaded = allowed(lambda: PIEXIF.load(header), OURS)
    allowed(lambda: PIEXIF.load(content), OURS)
    allowed(lambda: PIEXIF.load(content, key_is_name=True), OURS)
    if loaded is None:
        return
    before = {name: dict(loaded[name]) for name in NAMES}
    demand(PIEXIF.dump(loaded) == header, "an untouched block has changed")
    allowed(lambda: PIEXIF.dump({name: before[name] for name in NAMES}), OURS)
    ours = walker.tool_edit({name: {} for name in NAMES})
    with quiet():
        block = allowed(lambda: PIEXIF.dump(walker.tool_edit(loaded)), OURS)
    if block is None or len(block) > 65533:  # no segment would take it
        return
    after, kept = PIEXIF.load(block), apart(content)
    for name in NAMES:
        for tag, value in before[name].items():
            ours_now = tag in ours[name] or tag in _DERIVED.get(name, ())
            if (name, tag) in kept and not ours_now and (name != "1st" or after["1st"]):
                same = repr(after[name].get(tag)) == repr(value)  # NaN is not itself
                demand(same, f"{name} {tag:#x} has changed")
        for tag, value in ours[name].items():
            text = value.encode() if isinstance(value, str) else value
            if after[name].get(tag) != text:
                demand(confused(content), f"{name} {tag:#x} was not written")
    if len(content) < 65000:
        _check_in_jpeg(walker.jpeg(walker.JFIF, walker.exif(content), walker.COM), block)


def _check_in_jpeg(photo: bytes, block: bytes) -> None:
    plain = walker.jpeg(walker.JFIF, walker.COM)
    for action in (
        lambda out: PIEXIF.insert(block, photo, out),
        lambda out: PIEXIF.remove(photo, out),
        lambda out: PIEXIF.transplant(photo, plain, out),
    ):
        out = io.BytesIO()
        allowed(lambda do=action, to=out: do(to), OURS)  # type: ignore
        if out.getvalue():
            demand(not_exif(out.getvalue()) == not_exif(plain), "other bytes have changed")


def check_webp(content: bytes) -> None:
    """load, insert and remove on a WebP."""
    allowed(lambda: PIEXIF.load(content), OURS)
    block = PIEXIF.dump(walker.tool_edit({name: {} for name in NAMES}))
    for action in (PIEXIF.remove, functools.partial(PIEXIF.insert, block)):
        out = io.BytesIO()
        allowed(lambda do=action, to=out: do(content, to), OURS)  # type: ignore
        if out.getvalue() and content[:4] == b"RIFF" and action is not PIEXIF.remove:
            told = PIEXIF.load(out.getvalue())
            demand(told["0th"][0x010E] == walker.LONG_TEXT.encode(), "another caption reads back")


# ---- Tracks


def gpx_seeds() -> List[bytes]:
    """GPX as devices and programs write it."""
    at = [making_tracks.iso(making_tracks.CLIP_SECONDS + number) for number in range(4)]
    points = "".join(making_tracks.trkpt(45 + i / 1e4, 7, t, i * 1.5) for i, t in enumerate(at))
    prefix = points.replace("<", "<g:").replace("<g:/", "</g:")
    way = making_tracks.trkpt(45, 7, at[0], kind="wpt")
    g = "<g:gpx xmlns:g='x'><g:trk><g:trkseg>" + prefix + "</g:trkseg></g:trk></g:gpx>"
    course = making_tracks.trkpt(-45, -7, at[1], more="<course>12.5</course><speed>3</speed>")
    texts = [making_tracks.gpx(points, course), g, making_tracks.gpx(head=way)]
    entity = '<!DOCTYPE gpx [<!ENTITY a "b">]>' + making_tracks.gpx(points)
    plain = [text.encode() for text in [*texts, entity]]
    coded = texts[0].replace('"1.0"', '"1.0" encoding="iso-8859-1"', 1).encode()
    return [*plain, coded, texts[0].encode("utf-16")]


def nmea_seeds() -> List[bytes]:
    """Logs of receivers and of dashcams."""
    start, m = making_tracks.CLIP_SECONDS + 43195, making_tracks
    rows = [f(start + i, 45 + i / 1e4, 7) for i in range(8) for f in (m.rmc, m.gga, m.gll)]
    stamped = [f"[{int((start + i) * 1000)}]{row}" for i, row in enumerate(rows)]
    bare = [m.gga(start, 45, 7), m.gll(start + 1, 45, 7), m.zda(start)]
    own = m.sentence("PMGNTRK,4537.27,N,00902.50,E,00100,M,120000,A,,310524")
    texts = ["\r\n".join(rows), "\n".join(stamped), "\n".join([*bare, own, ""])]
    return [text.encode() for text in texts]


def movie_seeds() -> List[bytes]:
    """Videos of GoPro, CAMM and BlackVue cameras."""
    m, utc = making_tracks, making_tracks.CLIP_SECONDS
    ride = m.ride(2, rate=4)
    nine = [m.device(m.gps9([(utc + i, *ride[0][i], 2.0, 3) for i in range(4)]))]
    drone = m.nest(
        b"STRM",
        m.klv(b"SYST", "d", [struct.pack(">2d", 5.0, utc), struct.pack(">2d", 9.0, utc + 4)], 16),
        m.klv(b"GLPI", "d", [struct.pack(">4d", 6.0, 45.0, 7.0, 100.0)], 32),
    )
    camm = [m.camm_gyro() + m.camm5(45.0, 7.0, 3.0), m.camm6(utc, 45.0, 7.0, 3.0)]
    text = nmea_seeds()[1]
    free = m.box(b"free", m.box(b"gps ", text), m.box(b"cprt", b'{"model":"DR900"}'))
    udta = m.box(b"udta", m.box(b"\xa9mak", b"\0\x04\x15\xc7Make"), m.box(b"manu", b"x\0"))
    return [
        m.movie([m.device(m.gps5(part, utc + i)) for i, part in enumerate(ride)], co64=True),
        m.movie(nine, moov_first=True, version=1, edits=[(500, -1), (900, 0)]),
        m.movie([m.device(drone, name="Karma")], udta=udta),
        m.movie(camm, form=b"camm", chunk=2),
        m.movie([text[:200], text[200:]], form=b"camm"),
        m.movie(before=free, udta=udta),
    ]


def whole_seeds() -> List[bytes]:
    """Videos with pictures: chunks of several sizes, two tracks, indexes in front and behind."""
    m, pieces = making_tracks, [bytes([n]) * (n + 3) for n in range(9)]
    how: Dict[str, Any] = {"handler": b"vide", "form": b"avc1"}
    two = m.movie(pieces[:4], edits=[(500, -1), (900, 0)], **how)
    trak = two[two.index(b"trak") - 4 :]
    size = two.index(b"moov") - 4
    length = int.from_bytes(two[size : size + 4], "big") + len(trak)
    both = two[:size] + struct.pack(">I", length) + two[size + 4 :] + trak
    return [
        m.movie(pieces, chunk=[2, 3, 1], **how),
        m.movie(pieces, co64=True, moov_first=True, version=1, **how),
        m.movie([b"1234"] * 5, chunk=5, udta=m.box(b"udta", m.box(b"@mak", b"Make")), **how),
        both,
    ]


def check_whole(content: bytes) -> None:
    """What goes up of a video holds its pictures, and the places it was given; nothing else breaks."""
    source, target = room("whole") / "a.mp4", room("whole") / "b.mp4"
    source.write_bytes(content)
    places = [mt.Sample(0.5 + n, 1714979289.0 + n, 57.0 + n / 1e3, 12.0, None) for n in range(3)]

    def through() -> Any:
        with source.open("rb") as stream:
            movie = mt.Source(stream, source)
            made = mt.video_stream(movie, places, "Make", None)
            return made, [mt._chunks(movie, one.trak) for one in mt._picture_tracks(movie)]

    found = allowed(through)
    if found is None:
        return
    made, chunks = found
    demand(all(0 <= a < b <= len(content) for a, b in made.spans), "pictures from elsewhere")
    target.write_bytes(made.head + b"".join(content[a:b] for a, b in made.spans))
    demand(target.stat().st_size == made.size, "another size")
    with target.open("rb") as stream:
        movie = mt.Source(stream, target)
        mt.check_video(movie)
        again = [mt._chunks(movie, one.trak) for one in mt._picture_tracks(movie)]
        demand(len(mt.read_camm(movie).points) == 3, "places that do not read back")
    new = target.read_bytes()
    pictures = [[content[a:b] for a, b in track] for track in chunks]
    demand(pictures == [[new[a:b] for a, b in track] for track in again], "other pictures")


def no_program(name: str, given: Any = None) -> str:
    raise mt.ProgramMissing("no_program", "is not on this computer")


def alone() -> Any:
    """Without exiftool, which may be on this computer: what it makes of damage is not ours, nor its time."""
    return mock.patch.object(mt, "find_program", no_program)


def check_points(track: mt.Track) -> None:
    """A track is in order, and says nothing that cannot be."""
    for point in track.points:
        good = math.isfinite(point.time) and abs(point.lat) <= 90 and abs(point.lon) <= 180
        good = good and mt.EARLIEST <= point.time < mt.LATEST
        demand(good and (point.alt is None or math.isfinite(point.alt)), f"a place: {point}")
        demand(point.course is None or 0 <= point.course < 360, f"a course: {point}")
    times = [point.time for point in track.points]
    demand(times and times == sorted(set(times)), "times are not in order, or twice")
    demand(track.starts == sorted(set(track.starts)), "segments are not in order")
    demand(
        not track.starts or 0 <= track.starts[0] <= track.starts[-1] < len(times), "no such segment"
    )
    pairs = list(track.pace)
    demand(track.zero is None or math.isfinite(track.zero), "the begin of the video is no time")
    demand(all(map(math.isfinite, sum(pairs, ()))) and pairs == sorted(pairs), "no pace")


def check_track(content: bytes, name: str = "a.gpx", folder: str = "track") -> None:
    """Every reader of tracks, and the writer."""
    path, written = room(folder) / name, room(folder) / "out.gpx"
    path.write_bytes(content)
    with alone():
        _check_readers(path, written)


def _check_readers(path: Path, written: Path) -> None:
    allowed(lambda: mt.read_movie(path))
    own = mt.movie_track(path)
    if own is not None:
        check_points(own)
    read = []
    for kind in ("auto", "camm", "auto"):
        track = allowed(lambda kind=kind: mt.read_track(path, kind), mt.BadTrack)  # type: ignore
        read.append(repr(track))
        if track is None or len(read) == 3:
            continue
        check_points(track)
        _check_written(track, written)
    demand(read[0] == read[2], "read twice it differs")


def _check_written(track: mt.Track, path: Path) -> None:
    """What is written as GPX reads back."""
    times = [point.time for point in track.points]
    own = {int(round(time * 1000)) for time in times}
    if len(own) < 2 <= len(times):
        return  # all in one millisecond: a reader takes them for those of a planner
    if any(-1 < time < mt.YEAR_1970_S for time in times):
        return  # a clock that was never set; in GPX they are of an export without times
    if any(max(abs(point.lat), abs(point.lon)) < 1e-9 for point in track.points):
        return  # GPX has nine digits, and exactly 0,0 is no place
    mt.write_gpx(mt.with_courses(track), path)
    demand(len(mt.read_track(path).points) == len(own), "points were lost")


# ---- Logs of cameras and receivers

FEW = making_logs.RIDE[:3]
OTHER = making_logs.moved(FEW, -1, -1)


def fit_seeds() -> List[bytes]:
    """FIT of watches, bicycle computers and action cameras."""
    m, begin = making_logs, round(FEW[0][0]) - making_logs.FIT_EPOCH
    developer = m.Fit().identified().define(1, m.RECORD, m.FIT_FIELDS, [(0, 4, 0), (1, 3, 1)])
    for point in FEW:
        developer.data(1, *m.fit_values(point), b"abcd", b"xyz")
    short = (
        m.Fit(True)
        .identified()
        .define(1, m.RECORD, m.FIT_FIELDS)
        .define(2, m.RECORD, m.FIT_FIELDS[1:3])
    )
    short.define(3, m.RECORD, []).define(4, m.EVENT, [(m.TIME, m.U32), (0, m.ENUM), (1, m.ENUM)])
    short.data(1, *m.fit_values(FEW[0]))
    for second, point in enumerate(OTHER, 1):
        place = m.semicircles(point[1]), m.semicircles(point[2])
        short.compressed(2, begin + second * 20, *place).compressed(3, begin + second * 20)
    short.data(4, begin + 60, 0, 4)
    odd = m.Fit().define(
        5, m.RECORD, [(m.TIME, m.U32), (9, m.F64), (8, m.STRING, 9), (7, m.U16, 4)]
    )
    odd.data(5, begin, 1.5, b"text", (1, 2, 3, 4)).define(5, m.RECORD, m.FIT_FIELDS, big=True)
    odd.data(5, *m.fit_values(FEW[1], high=False)).data(5, *m.fit_values((*FEW[2][:3], None)))
    return [
        m.fit(FEW),
        m.fit(OTHER, big=True, header=12, crc=False) + m.fit(FEW),
        developer.file(),
        short.file(),
        odd.file(size=0),
        m.fit_virb(FEW),
        m.fit_virb(OTHER, utc=False, correlation=True, records=FEW),
    ]


def fit_fields(content: bytes) -> List[Field]:
    """Sizes of files, heads, numbers, counts and sizes of definitions, values of messages."""
    found: List[Field] = []
    at = 0
    while content[at + 8 : at + 12] == b".FIT" and len(found) < 3000:
        found += [(at, 1, "<"), (at + 1, 1, "<"), (at + 4, 4, "<")]
        length = int.from_bytes(content[at + 4 : at + 8], "little") or len(content)
        place, end = at + content[at], min(at + content[at] + length, len(content))
        forms: Dict[int, Tuple[bytes, str]] = {}
        while place + 6 <= end and len(found) < 3000:
            head, start = content[place], place
            found.append((place, 1, "<"))
            if head & 0xC0 == 0x40:
                order = ">" if content[place + 2] else "<"
                found += [(place + 2, 1, "<"), (place + 3, 2, order)]
                place, sizes = place + 5, b""
                for _ in range(2 if head & 0x20 else 1):
                    stop = place + 1 + 3 * int.from_bytes(content[place : place + 1], "big")
                    found += [(spot, 1, "<") for spot in range(place, min(stop, end))]
                    sizes, place = sizes + content[place + 1 : stop][1::3], stop
                forms[head & 15] = sizes, order
                continue
            sizes, order = forms.get(head >> 5 & 3 if head & 0x80 else head & 15, (b"", "<"))
            place += 1
            for size in sizes:
                if size in (1, 2, 4) and place + size <= end:
                    found.append((place, size, order))
                place += size
            if not sizes and start + 1 == place and head & 0x80 == 0:
                break
        at += content[at] + length + 2
    return found


def kml_seeds() -> List[bytes]:
    """KML of phones, loggers and programs."""
    m = making_logs
    one = m.placemark(m.gx_track(FEW, interleaved=True))
    many = m.multi_track(m.gx_track(FEW, angles=False), m.gx_track(OTHER, end="+02:00", digits=3))
    marks = [m.point_mark(point, more=f"<description>{point}</description>") for point in FEW]
    span = marks[0].replace("TimeStamp>", "TimeSpan>").replace("when>", "begin>")
    line = m.placemark(m.line_string(FEW))
    latin = m.kml(line, *marks).replace("UTF-8", "iso-8859-1").replace("made", "\u00fc")
    return [
        m.kml(one).encode(),
        m.kml(m.placemark(many), *marks).encode(),
        m.kml("<Folder>", *marks, span, line, "</Folder>")
        .replace("UTF-8", "UTF-16")
        .encode("utf-16"),
        m.kml(m.placemark(m.gx_track(FEW, gx="")), names="").encode(),
        latin.encode("latin-1"),
        m.kml(head='<!DOCTYPE kml [<!ENTITY a "b">]>').encode(),
        m.kml(one.replace("made", "a & b")).encode() * 2,
    ]


def zipped(method: int, *files: Tuple[str, bytes], locked: bool = False) -> bytes:
    """A zip that is the same at any time; by a method that this Python lacks it is not packed."""
    try:
        zipfile._check_compression(method)  # type: ignore
    except RuntimeError:
        method = zipfile.ZIP_STORED
    rows = []
    for name, content in files:
        info = zipfile.ZipInfo(name, (2024, 5, 31, 12, 0, 0))
        info.compress_type = method
        rows.append((info, content))
    return making_logs.kmz(*rows, locked=locked)


def kmz_seeds() -> List[bytes]:
    """KMZ packed in all ways."""
    one, two = kml_seeds()[:2]
    images = [("files/a.png", bytes(99)), ("files/\u00fc.kml", two)]
    return [
        zipped(zipfile.ZIP_DEFLATED, ("doc.kml", one)),
        zipped(zipfile.ZIP_STORED, *images, ("Doc.KML", two)),
        zipped(zipfile.ZIP_BZIP2, *images),
        zipped(zipfile.ZIP_LZMA, ("x.kml", one), ("y.kml", two)),
        zipped(zipfile.ZIP_DEFLATED, ("doc.kml", two), ("DOC.KML", one), locked=True),
        zipped(zipfile.ZIP_DEFLATED, ("a.txt", b"nothing")),
    ]


_ZIP_FIELDS = {  # (offset, bytes) behind each signature
    b"PK\3\4": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\1\2": (
        *((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4)),
        *((28, 2), (30, 2), (32, 2), (34, 2), (42, 4)),
    ),
    b"PK\5\6": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}


def zip_fields(content: bytes) -> List[Field]:
    """Flags, methods, sums, sizes, counts and offsets of a zip; and the begin of what is packed."""
    found: List[Field] = []
    for match in re.finditer(b"PK(?:\3\4|\1\2|\5\6)", content):
        at = match.start()
        found += [(at + behind, size, "<") for behind, size in _ZIP_FIELDS[match.group()]]
        if match.group() == b"PK\3\4":
            packed = at + 30 + sum(content[at + 26 : at + 30 : 2])
            found += [(packed + i, 1, "<") for i in range(10)]
    return [field for field in found[:3000] if field[0] + field[1] <= len(content)]


def tcx_seeds() -> List[bytes]:
    """TCX of watches and programs."""
    m = making_logs
    rows = "".join(m.trackpoint(point, digits=3) for point in FEW)
    other = "".join(map(m.trackpoint, OTHER))
    bare = m.trackpoint((FEW[0][0] + 9, None, None, 5.0))
    prefixed = re.sub("<(/?)(?=[A-Z])", r"<\1t:", m.tcx(rows)).replace("xmlns", "xmlns:t")
    return [
        m.tcx(rows, bare + other).encode(),
        m.tcx(other + rows).replace("UTF-8", "utf-16").encode("utf-16"),
        prefixed.encode(),
        m.tcx(rows + "\0").encode(),
    ]


BESIDE = b"\0--beside--\0"  # behind it the video of the same name


def srt_seeds() -> List[bytes]:
    """Subtitles of three generations of drones, with and without their video."""
    m, zero = making_logs, FEW[0][0]
    video = making_tracks.movie(created=zero, duration=9000)
    texts = [
        m.srt_brackets(FEW, zero, shift=7200.0),
        m.srt_brackets(OTHER, zero, date="micro", blanks=True, longitude="longtitude", old=True),
        m.srt_gps(FEW, zero, shift=-12600.0),
        m.srt_gps(OTHER, zero, blank=" ", home=False, satellites="12.5M"),
        m.srt_undated(FEW, zero),
        m.srt_latitude_first([(time + 59, *more) for time, *more in OTHER], zero),
    ]
    coded = [text.encode() for text in texts]
    both = [text + BESIDE + video for text in coded]
    return [*coded[:4], *both, texts[0].replace("\n", "\r\n").encode("utf-16")]


def srt_fields(content: bytes) -> List[Field]:
    """The fields of the video beside it."""
    return movie_fields(content) if BESIDE in content else []


def check_srt(content: bytes) -> None:
    """The subtitles of a drone, and its video."""
    text, mark, video = content.partition(BESIDE)
    if mark:
        (room("srt-video") / "a.MP4").write_bytes(video)
    check_track(text, "a.srt", "srt-video" if mark else "srt")


def csv_seeds() -> List[bytes]:
    """Tables of loggers, programs and spreadsheets."""
    m, stamp = making_logs, making_logs.stamp
    names = ("GPS Time (UTC)", "Latitude [deg]", "Longitude", "Altitude (ft)", "Heading")
    comma = m.csv_log(FEW, names, time=lambda time: str(int(time * 1000)), delimiter=";")
    comma = re.sub(r"(\d)\.(\d)", r"\1,\2", comma)
    day = ("date", "time", "lat", "ns", "lon", "ew", "alt", "fix", "utc offset")
    rows = [
        [stamp(point[0], "%m/%d/%Y"), stamp(point[0], "%I:%M:%S %p"), f"{abs(point[1]):.6f}", "S"]
        + [f"{abs(point[2]):.6f}\u00b0", "W", f"{point[3]:.1f} ft", "3D", "+0200"]
        for point in OTHER
    ]
    apart = m.table(day, rows, delimiter="\t", line="\n", quote='"')
    plain = m.csv_log(FEW, ("timestamp", "lng", "lat"), time=lambda t: stamp(t, "%Y%m%d%H%M%S"))
    german = m.csv_log(
        FEW, time=lambda t: stamp(t, "%d.%m.%y %H:%M:%S", end=",5 +01:00"), delimiter="|"
    )
    return [
        m.csv_log(OTHER).encode(),
        m.columbus(OTHER).encode(),
        m.columbus(FEW, padded=True).encode(),
        comma.encode("utf-8-sig"),
        ("remark\tof the logger\n\n" + apart).encode("cp1252"),
        plain.encode("utf-16"),
        german.encode(),
    ]


def insta360_seeds() -> List[bytes]:
    """Insta360 with several records."""
    m = making_logs
    rows = [m.insta360_row(point, west=b"O") for point in OTHER]
    void = [m.insta360_row(FEW[0], state=b"V"), *rows]
    empty = [(0x200, b""), (0x900, bytes(7)), (0, b""), (0, b"")]
    gopro = making_tracks.movie([making_tracks.device(making_tracks.accelerations(2))])
    return [
        m.insta360(FEW),
        m.insta360(FEW, rows=void, more=empty),
        m.insta360(FEW, rows=[], length=0xFFFFFFFF),
        gopro + m.insta360_trailer([(0x700, b"".join(rows) + b"cut"), (0x101, b"\x12\3abc")]),
        making_tracks.movie() + m.insta360_trailer([(0x700, rows[0]), (0x700, rows[1]), *empty]),
    ]


def insta360_fields(content: bytes) -> List[Field]:
    """The trailer's length, ids and sizes of its records, tags and lengths of names, values of places."""
    found: List[Field] = [(len(content) - 40, 4, "<"), (len(content) - 36, 4, "<")]
    end = len(content) - 78
    while end >= 0 and len(found) < 2000:
        number = int.from_bytes(content[end : end + 2], "little")
        start = end - int.from_bytes(content[end + 2 : end + 6], "little")
        found += [(end, 2, "<"), (end + 2, 4, "<")]
        if number == 0x700 and start >= 0:
            for row in range(start, min(end, start + 530), 53):
                found += [(row, 4, "<"), (row + 8, 2, "<"), (row + 10, 1, "<"), (row + 11, 8, "<")]
                found += [(row + 19, 1, "<"), (row + 20, 8, "<"), (row + 28, 1, "<")]
                found += [(row + behind, 8, "<") for behind in (29, 37, 45)]
        while number == 0x101 and 0 <= start < end and len(found) < 2000:
            found += [(start, 1, "<"), (start + 1, 1, "<")]
            start += 2 + content[start + 1]
        end -= int.from_bytes(content[end + 2 : end + 6], "little") + 6
    return [*(field for field in found if field[0] >= 0), *movie_fields(content[:4096])]


def novatek_seeds() -> List[bytes]:
    """Dashcams with a Novatek chip."""
    m = making_logs
    blocks = [m.free_gps(point, size=0x60, shift=7200.0) for point in OTHER]
    odd = [m.free_gps(FEW[0], state=b"V", size=0x70), m.free_gps(FEW[1], mark=b"scramble"), *blocks]
    return [
        m.novatek([m.free_gps(point, size=0x80) for point in FEW]),
        m.novatek(odd, created=making_tracks.CLIP_SECONDS, version=1),
        m.novatek(blocks, entries=lambda places: [*places, (0, 0), (1 << 31, 9), places[0]]),
        m.novatek([]),
    ]


def novatek_fields(content: bytes) -> List[Field]:
    """The list of blocks, and the numbers in them."""
    found: List[Field] = []
    for match in re.finditer(b"gps ", content):
        at = match.start()
        found += [(at - 4, 4, ">"), (at + 8, 4, ">")]
        found += [(at + behind, 4, ">") for behind in range(12, 76, 4)]
    for match in re.finditer(b"freeGPS ", content):
        at = match.start()
        found += [(at - 4, 4, ">"), (at + 8, 4, "<")]
        found += [(at + behind, 4, "<") for behind in (*range(12, 36, 4), *range(40, 56, 4))]
        found += [(at + behind, 1, "<") for behind in range(36, 40)]
    inside = [field for field in found[:2000] if 0 <= field[0] <= len(content) - field[1]]
    return inside + movie_fields(content)


# ---- What exiftool writes

VIDEOS = [Path(os.path.abspath(os.path.join(os.sep, "v", name))) for name in ("a.mp4", "b.mp4")]


def _told(path: Path, rows: List[Tuple[str, Any]]) -> str:
    """One file, as `exiftool -X` tells it."""
    tags = "".join(f" <{name}>{text}</{name}>\n" for name, text in rows)
    spaces = "\n  et:toolkit='Image::ExifTool 12.76'"
    spaces += "\n  xmlns:QuickTime='http://ns.exiftool.org/QuickTime/QuickTime/1.0/'"
    return f"<rdf:Description rdf:about='{path}'{spaces}>\n{tags}</rdf:Description>\n\n"


def _spot(group: str, point: Any, dated: bool = True) -> List[Tuple[str, Any]]:
    """The tags of a place."""
    when = making_logs.stamp(point[0], "%Y:%m:%d %H:%M:%S", end="Z")
    values = [("GPSDateTime", when)] * dated + [
        ("GPSLatitude", point[1]),
        ("GPSLongitude", point[2]),
    ]
    values += [("GPSAltitude", point[3]), ("GPSSpeed", 14.4), ("GPSTrack", point[4])]
    return [(f"{group}:{name}", value) for name, value in values]


def heard_seeds() -> List[bytes]:
    """RDF/XML of exiftool: one time a place, samples with a time and several places, none at all."""
    head = "<?xml version='1.0' encoding='UTF-8'?>\n<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/"
    head += "22-rdf-syntax-ns#'>\n\n"
    created = ("QuickTime:CreateDate", "2024:05:31 12:00:00")
    brands = ("QuickTime:CompatibleBrands", "\n<rdf:Bag>\n<rdf:li>isom</rdf:li></rdf:Bag>\n")
    one = [created, brands, *(row for point in FEW for row in _spot("QuickTime", point))]
    other = [created, *(row for point in OTHER for row in _spot("Insta360", point))]
    other += [("Composite:GPSPosition", "47.1 8.2"), ("Insta360:Accelerometer", "0 0 0")]
    samples, untimed = [created], [created]
    for number, dated in enumerate((True, False, True, True)):
        begin = [("Track3:SampleTime", number), ("Track3:SampleDuration", 1.001)]
        places = [row for point in FEW for row in _spot("Track3", point, False)[:4]]
        samples += begin + _spot("Track3", OTHER[0], dated)[:1] * dated + places
        untimed += [*begin, *places, ("Track4:GPSLatitude", 5), ("Track4:GPSLongitude", 7)]
    fast = [created]
    for number in range(6):
        fast += [("Track1:SampleTime", number / 30), ("Track1:SampleDuration", 0.033)]
        fast += _spot("Track1", (FEW[0][0] + number, *FEW[0][1:]))
    frozen = [row for point in FEW for row in _spot("QuickTime", (FEW[0][0], *point[1:]))]
    files = [[one, other], [samples, untimed], [untimed, []], [fast, one], [frozen, one]]
    whole = ["".join(map(_told, VIDEOS, rows)) for rows in files]
    return [(head + text + "</rdf:RDF>\n").encode() for text in whole]


def check_heard(content: bytes) -> None:
    """What exiftool tells of two videos, which is no reason to raise anything."""

    def ran(argv: Any, line: Any = None, **more: Any) -> mt.Ran:
        for row in content.split(b"\n") if line is not None else ():
            line(row.decode("utf-8", "replace").strip())
        return mt.Ran(0, "12.76\n", [])

    with mock.patch.multiple(mt, find_program=lambda name: name, run_program=ran):
        tracks = allowed(lambda: mt.second_tracks(VIDEOS), mt.ProgramMissing)  # it is too old
        again = allowed(lambda: mt.second_tracks(VIDEOS), mt.ProgramMissing)
        demand(repr(tracks) == repr(again), "read twice it differs")
    for track in (tracks or {}).values():
        check_points(track)
        _check_written(track, room("heard") / "out.gpx")


KINDS: Dict[str, Kind] = {
    "jpeg": Kind(picture_seeds, check_jpeg, jpeg_fields, (b"\xff\xd9", b"\xff\xda", b"Exif\0\0")),
    "tiff": Kind(tiff_seeds, check_block, tiff_fields),
    "webp": Kind(webp_seeds, check_webp, webp_fields, (b"VP8L", b"VP8 ", b"EXIF", b"VP8X")),
    "gpx": Kind(
        gpx_seeds,
        check_track,
        words=(b"<!DOCTYPE x [", b"<trkpt>", b"&#0;", b"<![CDATA[", b' encoding="utf-7"', b'"x"'),
    ),
    "nmea": Kind(nmea_seeds, check_track, words=(b"$GPRMC,", b"[171497928900000]", b"*", b"\0")),
    "movie": Kind(
        movie_seeds,
        functools.partial(check_track, name="a.mp4"),
        movie_fields,
        (b"moov", b"\0\0\0\1"),
    ),
    "whole": Kind(whole_seeds, check_whole, movie_fields, (b"moov", b"trak", b"\0\0\0\1")),
    "fit": Kind(
        fit_seeds,
        functools.partial(check_track, name="a.fit"),
        fit_fields,
        (b".FIT", b"\x40\0\0\x14\0\0", b"\xff\xff\xff\x7f", b"\xe0", b"\xfd\4\x86", b"\0"),
    ),
    "kml": Kind(
        kml_seeds,
        functools.partial(check_track, name="a.kml"),
        words=(
            *(b"<when>", b"</when>", b"<gx:coord>1 2 3</gx:coord>", b"<Placemark>", b"<Track>"),
            *(b"<!DOCTYPE x [", b"&#0;", b"<![CDATA[", b"+02", b" ", b"T24:00:00Z", b"&"),
        ),
    ),
    "kmz": Kind(
        kmz_seeds,
        functools.partial(check_track, name="a.kmz"),
        zip_fields,
        (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"\1\0\x20\0", b"\x0e\0", b"PK\6\6", b"PK\6\7"),
    ),
    "tcx": Kind(
        tcx_seeds,
        functools.partial(check_track, name="a.tcx"),
        words=(b"<Trackpoint>", b"</Time>", b"<Position>", b"&#0;", b"<![CDATA[", b"+02", b"\0"),
    ),
    "srt": Kind(
        srt_seeds,
        check_srt,
        srt_fields,
        (
            *(
                b"\n\n",
                b"00:00:01,000 --> ",
                b"GPS(",
                b"[latitude: ",
                b" ",
                b"longitude",
                b"BAROMETER",
            ),
            *(b"24:00:60", b"2024.02.30", "\u0663".encode(), b"."),
        ),
    ),
    "csv": Kind(
        csv_seeds,
        functools.partial(check_track, name="a.csv"),
        words=(
            *(b'"', b";", b",", b"(", b" ", b"\n", b'"\n"', b"PM", b"+02:00", b"lat", b"utc"),
            *(b"31/12/2024", b"05/06/2024", b"12:00", "\u0663".encode(), b"\xb0", b"NaN", b"N"),
        ),
    ),
    "insta360": Kind(
        insta360_seeds,
        functools.partial(check_track, name="a.insv"),
        insta360_fields,
        (making_logs.INSTA360, b"\0\7", b"\0\0\0\0\0\0", struct.pack("<d", math.nan), b"\x12"),
    ),
    "novatek": Kind(
        novatek_seeds,
        functools.partial(check_track, name="a.ts.mp4"),
        novatek_fields,
        (b"freeGPS ", b"gps ", struct.pack("<f", math.nan), b"moov", b"\0\0\0\x18"),
    ),
    "heard": Kind(
        heard_seeds,
        check_heard,
        words=(
            *(
                b"<Track3:SampleTime>",
                b"nan",
                b"inf",
                b"\n <Track3:GPSLatitude>1</Track3:GPSLatitude>",
            ),
            *(b"<Track3:SampleTime>1</Track3:SampleTime>", b"&#0;", b"\xff", b":", b"1e308", b"Z"),
            *(
                b"<rdf:Description rdf:about='x'>",
                b"</rdf:Description>",
                b"<!--",
                b"2024:05:31",
                b"  ",
            ),
        ),
    ),
}
