"""What fuzz.py feeds to the readers: for each kind of input its seeds, the fields worth changing, and what must hold of it.

`KINDS[name].check(content)` returns where all is well, and raises where a demand is broken: only ToolError comes out of the
tool, only ValueError and OSError out of vendor/piexif; an edit keeps every byte that is not ours; what was written reads back.
"""

import contextlib
import functools
import io
import json
import math
import re
import struct
import tempfile
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

import making
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


def movie_fields(content: bytes) -> List[Field]:
    """Sizes of boxes, the words of their tables, and types, widths and counts of GPMF entries."""
    found: List[Field] = []
    for match in re.finditer(rb"[a-z0-9 ]{4}", content[:4] + content[4:]):
        kind, at = match.group(), match.start()
        if at >= 4 and (kind in _TABLES or kind.decode() in making_tracks.PARENTS | {"mdat"}):
            found.append((at - 4, 4, ">"))
            if kind in _TABLES:
                found += [(place, 4, ">") for place in range(at + 4, at + 40, 4)]
    for match in _GPMF_KEY.finditer(content):
        at = match.end()
        found += [(at, 1, ">"), (at + 1, 1, ">"), (at + 2, 2, ">")]
    return found[:3000]


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
    mt.is_whole(io.BytesIO(content))
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


def check_track(content: bytes, name: str = "a.gpx") -> None:
    """Every reader of tracks, and the writer."""
    path, written = room("track") / name, room("track") / "out.gpx"
    path.write_bytes(content)
    allowed(lambda: mt.read_movie(path))
    mt.movie_track(path)
    for kind in ("auto", "camm"):
        track = allowed(lambda kind=kind: mt.read_track(path, kind))  # type: ignore
        if track is None:
            continue
        for point in track.points:
            good = math.isfinite(point.time) and abs(point.lat) <= 90 and abs(point.lon) <= 180
            demand(good and (point.alt is None or math.isfinite(point.alt)), f"a place: {point}")
        times = [point.time for point in track.points]
        demand(times == sorted(set(times)), "times are not in order, or twice")
        demand(track.starts == sorted(set(track.starts)), "segments are not in order")
        if len({int(round(time * 1000)) for time in times}) < 2 <= len(times):
            continue  # all in one millisecond: a reader takes them for those of a planner
        mt.write_gpx(mt.with_courses(track), written)
        again = mt.read_track(written).points
        own = {int(round(time * 1000)) for time in times}
        demand(len(again) == len(own), "points were lost")


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
}
