"""Makers for what the tests need: JPEG files, EXIF blocks, GPX files; and a small reader to judge what the tool wrote.

Nothing here uses the program under test, vendor/piexif or any package: a fault shared by maker and tool would hide itself.

    photo(folder / "a.jpg", lat=57.7, lon=11.97, time="2024:05:06 07:08:09", subsec="250")
    photo(folder / "b.jpg", exif=None)                      # no EXIF at all
    photo(folder / "c.jpg", lat=1, lon=2, more={"GPS": {0x0002: (RATIONAL, [(1, 0), (0, 1), (0, 1)])}})
    gpx([(1714979289.0, 57.7, 11.97, 12.0), ("2024-05-06T07:08:10Z", 57.8, 11.98)], folder / "track.gpx")
    read_exif(folder / "a.jpg")["GPSLatitude"]              # [(57, 1), (42, 1), (0, 1000000)]
    place(folder / "a.jpg")                                 # (57.7, 11.97, None)
"""

import datetime
import functools
import json
import random
import struct
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

# ---- JPEG: a baseline encoder of flat 8 x 8 blocks ---------------------------------------------------------------------
# Each block is one colour (only its DC coefficient), so no cosine transform is needed and a frame of 64 x 48 takes under a
# millisecond. `filler` adds noise (AC coefficients) to the brightness, which is how a bigger real photo differs.

Pixels = Union[int, Callable[[int, int], Tuple[int, int, int]]]

_ZIGZAG_QUANT = bytes([8] + [1] * 63)  # DC step 8 = one grey level; AC step 1
_DC_TABLE = (
    bytes([1, 0, 0, 0, 9] + [0] * 11),
    bytes(range(10)),
)  # "0": the same level; 5 bits: a difference of 1 to 9 bits
_AC_TABLE = (
    bytes([1, 0, 0, 0, 10] + [0] * 11),
    bytes([0] + list(range(1, 11))),
)  # "0" ends a block; 5 bits: size 1 to 10
_NOISE_BITS = 8  # size of every noise coefficient: 5 bits of code + 8 bits of value
_NOISE_MOST = 63


class _Bits:
    """Bits to bytes, with the zero byte that JPEG puts after each 0xFF."""

    def __init__(self) -> None:
        self.value, self.count = 1, 0

    def put(self, value: int, count: int) -> None:
        self.value = self.value << count | value
        self.count += count

    def done(self) -> bytes:
        pad = -self.count % 8
        whole = (self.value << pad | (1 << pad) - 1).to_bytes((self.count + pad) // 8 + 1, "big")
        return whole[1:].replace(b"\xff", b"\xff\x00")


def _row(colours: Sequence[Tuple[int, int, int]], noise: int, seed: int) -> bytes:
    """The bytes of one restart interval: a row of blocks, 3 components each, with `noise` coefficients a block."""
    bits, before, dice = _Bits(), [0, 0, 0], random.Random(seed)
    parts: List[bytes] = []
    for colour in colours:
        for component, level in enumerate(colour):
            difference = level - before[component]
            before[component] = level
            length = abs(difference).bit_length()
            if length:
                bits.put(0x0F + length, 5)  # code 10000 is length 1, and on
                bits.put(difference if difference > 0 else difference + (1 << length) - 1, length)
            else:
                bits.put(0, 1)
            if component == 0:
                for _ in range(noise):
                    bits.put(0x0F + _NOISE_BITS, 5)
                    bits.put(dice.getrandbits(_NOISE_BITS), _NOISE_BITS)
            if component or noise < _NOISE_MOST:
                bits.put(0, 1)
        if bits.count > 4096 and bits.count % 8 == 0:  # keeps the big number short
            parts.append(bits.done())
            bits = _Bits()
    return b"".join(parts) + bits.done()


def _ycc(rgb: Tuple[int, int, int]) -> Tuple[int, int, int]:
    """JFIF colour, each component -128 to 127."""
    r, g, b = (min(255, max(0, int(part))) for part in rgb)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return tuple(min(127, max(-128, round(v))) for v in (y - 128, 0.564 * (b - y), 0.713 * (r - y)))  # type: ignore


def _gradient(seed: int, across: int, down: int) -> Callable[[int, int], Tuple[int, int, int]]:
    dice = random.Random(seed)
    a, b, c = (dice.randrange(40, 216) for _ in range(3))
    return lambda x, y: (a + 40 * x // across, b - 40 * y // down, c + 20 * ((x + y + seed) % 2))


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


@functools.lru_cache(maxsize=64)
def _frame(size: Tuple[int, int], pixels: Pixels, filler: int) -> Tuple[bytes, bytes]:
    """The tables and headers up to the scan, and the scan with its end: without EXIF or comments."""
    width, height = size
    across, down = (width + 7) // 8, (height + 7) // 8
    colour = _gradient(pixels, across, down) if isinstance(pixels, int) else pixels
    seed = pixels if isinstance(pixels, int) else 0
    rows = [[_ycc(colour(x, y)) for x in range(across)] for y in range(down)]
    head = b"".join(
        [
            _segment(0xDB, b"\x00" + _ZIGZAG_QUANT),
            _segment(
                0xC0,
                struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00",
            ),
            _segment(0xC4, b"\x00" + b"".join(_DC_TABLE)),
            _segment(0xC4, b"\x10" + b"".join(_AC_TABLE)),
            _segment(0xDD, struct.pack(">H", across)),
            _segment(0xDA, b"\x03\x01\x00\x02\x00\x03\x00\x00\x3f\x00"),
        ]
    )
    made: Dict[Tuple, bytes] = {}

    def coded(row: List[Tuple[int, int, int]], noise: int, own: int) -> bytes:
        key = (tuple(row), noise, own)
        if key not in made:
            made[key] = _row(row, noise, own)
        return made[key]

    lines = [coded(row, 0, 0) for row in rows]
    noise = min(_NOISE_MOST, filler * 8 // (13 * across * down) + 1)
    room = filler
    for number, row in enumerate(rows):
        dense = coded(row, noise, 4 * seed + number % 4) if room else lines[number]
        left = room - (len(dense) - len(lines[number]))
        if left < 4 and left != 0:
            break
        lines[number], room = dense, left
    scan = (
        b"".join(row + bytes([0xFF, 0xD0 + number % 8]) for number, row in enumerate(lines[:-1]))
        + lines[-1]
    )
    return head, scan + b"\xff\xd9"


def jpeg(
    size: Tuple[int, int] = (64, 48),
    exif: Optional[bytes] = None,
    pixels: Pixels = 0,
    filler: int = 0,
) -> bytes:
    """A baseline JPEG (JFIF, colour) that any viewer opens; the same arguments give the same bytes.

    `size` is (width, height). `exif` is a TIFF block (see exif_tiff) or None. `pixels` is a seed, or a function of the
    block's (column, row) in blocks of 8 x 8 pixels that gives (red, green, blue), 0 to 255. `filler` makes the file exactly
    so many bytes longer (0, or 4 and more): noise in the scan as far as the picture has room (about 100 bytes a block),
    the rest in comment segments before it.
    """
    if 0 < filler < 4 or filler < 0:
        raise ValueError(f"filler: {filler} bytes; 0, or at least 4")
    if exif is not None and len(exif) > 65527:
        raise ValueError(f"exif: {len(exif)} bytes do not fit into one segment")
    head, scan = _frame(tuple(size), pixels, filler)  # type: ignore
    missing = 0
    if filler:
        plain_head, plain_scan = _frame(tuple(size), pixels, 0)  # type: ignore
        missing = filler - (len(head) + len(scan) - len(plain_head) - len(plain_scan))
    parts = [b"\xff\xd8", _segment(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")]
    if exif is not None:
        parts.append(_segment(0xE1, b"Exif\x00\x00" + exif))
    dice = random.Random(filler)
    while missing:
        piece = missing if missing <= 65537 else min(65537, missing - 4)
        parts.append(
            _segment(
                0xFE, b"%0*x" % (piece - 4, dice.getrandbits(4 * (piece - 4))) if piece > 4 else b""
            )
        )
        missing -= piece
    return b"".join(parts) + head + scan


# ---- EXIF: a TIFF block from a table -----------------------------------------------------------------------------------

BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, UNDEFINED, SSHORT, SLONG, SRATIONAL = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
)
_CODE = {
    BYTE: "B",
    SHORT: "H",
    LONG: "I",
    RATIONAL: "II",
    SBYTE: "b",
    SSHORT: "h",
    SLONG: "i",
    SRATIONAL: "ii",
    11: "f",
    12: "d",
    13: "I",
}

_NAMES: Dict[str, Dict[int, str]] = {
    "0th": {
        0x010E: "ImageDescription",
        0x010F: "Make",
        0x0110: "Model",
        0x0112: "Orientation",
        0x0131: "Software",
        0x0132: "DateTime",
        0x8769: "ExifPointer",
        0x8825: "GPSPointer",
        0x9213: "ImageHistory",
    },
    "Exif": {
        0x9000: "ExifVersion",
        0x9003: "DateTimeOriginal",
        0x9004: "DateTimeDigitized",
        0x9010: "OffsetTime",
        0x9011: "OffsetTimeOriginal",
        0x9012: "OffsetTimeDigitized",
        0x9290: "SubSecTime",
        0x9291: "SubSecTimeOriginal",
        0x9292: "SubSecTimeDigitized",
        0x927C: "MakerNote",
        0x9286: "UserComment",
        0xA002: "PixelXDimension",
        0xA003: "PixelYDimension",
        0xA005: "InteropPointer",
    },
    "GPS": {
        0x00: "GPSVersionID",
        0x01: "GPSLatitudeRef",
        0x02: "GPSLatitude",
        0x03: "GPSLongitudeRef",
        0x04: "GPSLongitude",
        0x05: "GPSAltitudeRef",
        0x06: "GPSAltitude",
        0x07: "GPSTimeStamp",
        0x0C: "GPSSpeedRef",
        0x0D: "GPSSpeed",
        0x0E: "GPSTrackRef",
        0x0F: "GPSTrack",
        0x10: "GPSImgDirectionRef",
        0x11: "GPSImgDirection",
        0x12: "GPSMapDatum",
        0x1B: "GPSProcessingMethod",
        0x1D: "GPSDateStamp",
    },
    "Interop": {0x01: "InteroperabilityIndex"},
    "1st": {},
}
_POINTERS = {"Exif": ("0th", 0x8769), "GPS": ("0th", 0x8825), "Interop": ("Exif", 0xA005)}

Entry = Tuple[
    int, Any
]  # (TIFF type, value): text or bytes for ASCII and UNDEFINED, else a number, pair or list of them
Tags = Dict[str, Dict[int, Optional[Entry]]]


class Raw(NamedTuple):
    """A value for `more` whose count and bytes are taken as they are: for damaged blocks."""

    amount: int
    content: bytes


def _coded(order: str, kind: int, value: Any) -> Tuple[int, bytes]:
    """-> (count, bytes) of one value."""
    if isinstance(value, Raw):
        return value.amount, value.content
    if isinstance(value, str):
        value = value.encode("utf-8") + (b"\0" if kind == ASCII else b"")
    if isinstance(value, bytes):
        return len(value), value
    code = _CODE[kind]
    items = value if isinstance(value, list) else [value]
    flat = [part for item in items for part in (item if isinstance(item, tuple) else (item,))]
    content = struct.pack(order + code * len(items), *flat)
    return len(items), content


def _ifd(order: str, at: int, entries: Dict[int, Entry], following: int = 0) -> bytes:
    """One IFD that starts `at` bytes into the block, with its values behind it."""
    table, values = [], b""
    behind = at + 2 + 12 * len(entries) + 4
    for tag in sorted(entries):
        kind, value = entries[tag]
        count, content = _coded(order, kind, value)
        if len(content) <= 4:
            field = content.ljust(4, b"\0")
        else:
            field = struct.pack(order + "I", behind + len(values))
            values += content + b"\0" * (len(content) % 2)
        table.append(struct.pack(order + "HHI", tag, kind, count) + field)
    return (
        struct.pack(order + "H", len(entries))
        + b"".join(table)
        + struct.pack(order + "I", following)
        + values
    )


def tiff(tags: Tags, order: str = "<", thumbnail: Optional[bytes] = None) -> bytes:
    """A TIFF block from {"0th" | "Exif" | "GPS" | "Interop" | "1st": {tag: (type, value) or None}}; order "<" or ">"."""
    ifds: Dict[str, Dict[int, Entry]] = {}
    for name in ("0th", "Exif", "GPS", "Interop", "1st"):
        ifds[name] = {tag: entry for tag, entry in tags.get(name, {}).items() if entry is not None}
    if thumbnail is not None:
        ifds["1st"].update({0x0103: (SHORT, 6), 0x0201: (LONG, 0), 0x0202: (LONG, len(thumbnail))})
    for name, (parent, tag) in reversed(list(_POINTERS.items())):
        if ifds[name] and tag not in ifds[parent]:
            ifds[parent][tag] = (LONG, 0)
    starts: Dict[str, int] = {}
    at = 8
    for name, entries in ifds.items():
        if entries or name == "0th":
            starts[name] = at
            at += len(_ifd(order, at, entries))
    for name, (parent, tag) in _POINTERS.items():
        if name in starts and ifds[parent][tag] == (LONG, 0):
            ifds[parent][tag] = (LONG, starts[name])
    if thumbnail is not None:
        ifds["1st"][0x0201] = (LONG, at)
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    for name, start in starts.items():
        block += _ifd(order, start, ifds[name], starts.get("1st", 0) if name == "0th" else 0)
    return block + (thumbnail or b"")


def degrees(value: float) -> List[Tuple[int, int]]:
    """Degrees, minutes, seconds as rationals, to a millionth of a second; the sign is left to the Ref tag."""
    units = round(abs(value) * 3600000000)
    return [(units // 3600000000, 1), (units // 60000000 % 60, 1), (units % 60000000, 1000000)]


def _clock(value: Any) -> List[Tuple[int, int]]:
    """GPSTimeStamp from "07:08:09.5" or (7, 8, 9.5)."""
    hours, minutes, seconds = value.split(":") if isinstance(value, str) else value
    return [(int(hours), 1), (int(minutes), 1), (round(float(seconds) * 1000), 1000)]


def _gps(
    lat: Optional[float],
    lon: Optional[float],
    alt: Optional[float],
    heading: Optional[float],
    heading_ref: Optional[str],
    gps_date: Optional[str],
    gps_time: Any,
) -> Dict[int, Optional[Entry]]:
    tags: Dict[int, Optional[Entry]] = {}
    if lat is not None:
        tags.update({0x01: (ASCII, "S" if lat < 0 else "N"), 0x02: (RATIONAL, degrees(lat))})
    if lon is not None:
        tags.update({0x03: (ASCII, "W" if lon < 0 else "E"), 0x04: (RATIONAL, degrees(lon))})
    if alt is not None:
        tags.update(
            {0x05: (BYTE, 1 if alt < 0 else 0), 0x06: (RATIONAL, (round(abs(alt) * 1000), 1000))}
        )
    if heading is not None:
        tags.update(
            {0x10: (ASCII, heading_ref or "T"), 0x11: (RATIONAL, (round(heading * 100), 100))}
        )
    if gps_date is not None:
        tags[0x1D] = (ASCII, gps_date)
    if gps_time is not None:
        tags[0x07] = (RATIONAL, _clock(gps_time))
    if tags:
        tags[0x00] = (BYTE, [2, 3, 0, 0])
    return tags


def exif_tiff(
    make: Optional[str] = "Testmaker",
    model: Optional[str] = "T-1",
    time: Optional[str] = "2024:05:06 07:08:09",
    subsec: Optional[str] = None,
    offset: Optional[str] = None,
    lat: Optional[float] = None,
    lon: Optional[float] = None,
    alt: Optional[float] = None,
    heading: Optional[float] = None,
    heading_ref: Optional[str] = None,
    gps_date: Optional[str] = None,
    gps_time: Any = None,
    orientation: Optional[int] = None,
    description: Optional[str] = None,
    order: str = "<",
    size: Optional[Tuple[int, int]] = None,
    thumbnail: Optional[bytes] = None,
    more: Optional[Tags] = None,
) -> bytes:
    """The TIFF block of a camera's EXIF; what is None is not there.

    `time` goes to DateTimeOriginal, `subsec` and `offset` to the tags beside it. Degrees WGS-84, metres (negative: Ref 1),
    heading in degrees (Ref "T" unless given). `gps_date` "2024:05:06", `gps_time` "07:08:09.5" or (7, 8, 9.5). `order`
    "<" is II, ">" is MM. `more` adds, replaces or (with None) takes out tags: {"Exif": {0x9004: (ASCII, "...")}}.
    """
    tags: Dict[str, Dict[int, Any]] = {
        "0th": {0x010E: description, 0x010F: make, 0x0110: model},
        "Exif": {0x9003: time, 0x9011: offset, 0x9291: subsec},
        "GPS": _gps(lat, lon, alt, heading, heading_ref, gps_date, gps_time),
    }
    for name in ("0th", "Exif"):
        tags[name] = {tag: (ASCII, text) for tag, text in tags[name].items() if text is not None}
    if orientation is not None:
        tags["0th"][0x0112] = (SHORT, orientation)
    if size is not None:
        tags["Exif"].update({0xA002: (LONG, size[0]), 0xA003: (LONG, size[1])})
    if tags["Exif"]:
        tags["Exif"][0x9000] = (UNDEFINED, b"0231")
    for name, changes in (more or {}).items():
        tags.setdefault(name, {}).update(changes)
    return tiff(tags, order, thumbnail)


MADE = object()  # photo(exif=MADE): a block made from the other arguments


def photo(
    path: Any,
    size: Tuple[int, int] = (64, 48),
    pixels: Pixels = 0,
    filler: int = 0,
    exif: Any = MADE,
    **fields: Any,
) -> Path:
    """Writes one JPEG (folders are made) and gives its Path; `fields` are those of exif_tiff, exif=None leaves EXIF out."""
    path = Path(str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    block = exif_tiff(**fields) if exif is MADE else exif
    path.write_bytes(jpeg(size, block, pixels, filler))
    return path


def drive(
    folder: Any,
    count: int = 5,
    lat: float = 57.7,
    lon: float = 11.97,
    step: float = 0.0001,
    seconds: float = 2.0,
    start: str = "2024:05:06 07:08:09",
    **fields: Any,
) -> List[Path]:
    """`count` photos going north, `step` degrees and `seconds` apart, 0001.jpg and on.

    A field may be a function of the number.
    """
    first = datetime.datetime.strptime(start, "%Y:%m:%d %H:%M:%S")
    made = []
    for number in range(count):
        moment = first + datetime.timedelta(seconds=number * seconds)
        own: Dict[str, Any] = {"lat": lat + number * step, "lon": lon, "pixels": number}
        own["time"] = moment.strftime("%Y:%m:%d %H:%M:%S")
        if moment.microsecond:
            own["subsec"] = f"{moment.microsecond:06d}"
        for name, value in fields.items():
            own[name] = value(number) if callable(value) and name != "pixels" else value
        made.append(photo(Path(str(folder)) / f"{number + 1:04d}.jpg", **own))
    return made


# ---- GPX ---------------------------------------------------------------------------------------------------------------


def iso(time: Any) -> str:
    """Seconds UTC as GPX writes them; text stays as it is."""
    if isinstance(time, str):
        return time
    millis = round(time * 1000)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=millis)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") if moment.year >= 1000 else moment.isoformat()
    return text + (f".{millis % 1000:03d}" if millis % 1000 else "") + "Z"


def gpx(points: Iterable[Any], path: Any) -> Path:
    """Writes a GPX 1.1 track of (time, lat, lon[, alt]) with time in seconds UTC or as text, or of lists of them: segments."""
    points = list(points)
    segments = points if points and isinstance(points[0], list) else [points]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<gpx version="1.1" creator="making.py" xmlns="http://www.topografix.com/GPX/1/1">',
        "<trk>",
    ]
    for segment in segments:
        lines.append("<trkseg>")
        for time, lat, lon, *rest in segment:
            alt = f"<ele>{rest[0]}</ele>" if rest and rest[0] is not None else ""
            when = f"<time>{iso(time)}</time>" if time is not None else ""
            lines.append(f'<trkpt lat="{lat:.8f}" lon="{lon:.8f}">{alt}{when}</trkpt>')
        lines.append("</trkseg>")
    path = Path(str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines + ["</trk>", "</gpx>", ""]), encoding="utf-8")
    return path


# ---- The judge: reads what is in a file, knows nothing of the tool -----------------------------------------------------


def segments(content: bytes) -> List[Tuple[int, bytes]]:
    """[(marker, payload)] up to the scan; the last one is (0xDA, everything from its marker on)."""
    if content[:2] != b"\xff\xd8":
        raise ValueError(f"not a JPEG: starts with {content[:2]!r}")
    found: List[Tuple[int, bytes]] = []
    at = 2
    while True:
        if content[at : at + 1] != b"\xff":
            raise ValueError(f"no marker at byte {at}")
        while content[at + 1] == 0xFF:
            at += 1
        marker = content[at + 1]
        if marker == 0xDA:
            return found + [(marker, content[at:])]
        (length,) = struct.unpack(">H", content[at + 2 : at + 4])
        if at + 2 + length > len(content):
            raise ValueError(f"segment at byte {at} ends after the file")
        found.append((marker, content[at + 4 : at + 2 + length]))
        at += 2 + length


def _is_exif(segment: Tuple[int, bytes]) -> bool:
    return segment[0] == 0xE1 and segment[1][:6] == b"Exif\0\0"


def without_exif(content: bytes) -> List[Tuple[int, bytes]]:
    """All segments and the scan but the EXIF: equal before and after, if a writer touched nothing else."""
    return [segment for segment in segments(content) if not _is_exif(segment)]


def exif_block(content: bytes) -> Optional[bytes]:
    """The TIFF block, or None; more than one is an error."""
    blocks = [payload[6:] for payload in (s[1] for s in segments(content) if _is_exif(s))]
    if len(blocks) > 1:
        raise ValueError(f"{len(blocks)} EXIF segments")
    return blocks[0] if blocks else None


def _value(order: str, kind: int, content: bytes) -> Any:
    if kind == ASCII:
        return content.rstrip(b"\0").decode("utf-8", "replace")
    if kind == UNDEFINED or kind not in _CODE:
        return content
    code = _CODE[kind]
    items = list(struct.iter_unpack(order + code, content))
    plain = [item if len(item) > 1 else item[0] for item in items]
    return plain[0] if len(plain) == 1 else plain


def read_tiff(block: bytes) -> Dict[str, Dict[int, Any]]:
    """{"0th" | "Exif" | "GPS" | "Interop" | "1st": {tag: value}}; rationals are pairs, one value stands for itself."""
    order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
    size = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
    found: Dict[str, Dict[int, Any]] = {name: {} for name in _NAMES}

    def walk(name: str, at: int) -> None:
        (count,) = struct.unpack_from(order + "H", block, at)
        for number in range(count):
            entry = at + 2 + 12 * number
            tag, kind, amount = struct.unpack_from(order + "HHI", block, entry)
            length = size.get(kind, 1) * amount
            start = (
                entry + 8 if length <= 4 else struct.unpack_from(order + "I", block, entry + 8)[0]
            )
            if start + length > len(block):
                raise ValueError(f"{name} 0x{tag:04x} ends after the block")
            if tag in found[name]:
                raise ValueError(f"{name} 0x{tag:04x} is there twice")
            found[name][tag] = _value(order, kind, block[start : start + length])
        if name == "0th":
            (following,) = struct.unpack_from(order + "I", block, at + 2 + 12 * count)
            if following:
                walk("1st", following)
        for child, (parent, tag) in _POINTERS.items():
            if parent == name and tag in found[name]:
                walk(child, found[name][tag])

    walk("0th", struct.unpack_from(order + "I", block, 4)[0])
    return found


def read_exif(source: Any) -> Dict[str, Any]:
    """{tag name: value} of a path or bytes; tags without a name here are "Exif:0x829a"; IFD1 is left out; {} without EXIF."""
    content = source if isinstance(source, bytes) else Path(str(source)).read_bytes()
    block = exif_block(content)
    named = {}
    for name, tags in (read_tiff(block) if block is not None else {}).items():
        if name != "1st":
            named.update(
                {_NAMES[name].get(tag, f"{name}:0x{tag:04x}"): value for tag, value in tags.items()}
            )
    return named


def _decimal(value: Any) -> float:
    return value[0] / value[1]


def place(source: Any) -> Optional[Tuple[float, float, Optional[float]]]:
    """(latitude, longitude, altitude or None) from the GPS tags, None without a position."""
    tags = read_exif(source)
    if "GPSLatitude" not in tags or "GPSLongitude" not in tags:
        return None
    both = []
    for name, negative in (("GPSLatitude", "S"), ("GPSLongitude", "W")):
        whole = sum(_decimal(part) / 60**power for power, part in enumerate(tags[name]))
        both.append(-whole if tags[name + "Ref"] == negative else whole)
    alt = tags.get("GPSAltitude")
    sign = -1 if tags.get("GPSAltitudeRef") in (1, b"\1") else 1
    return both[0], both[1], None if alt is None else sign * _decimal(alt)


def direction(source: Any) -> Optional[float]:
    """GPSImgDirection in degrees, None without."""
    value = read_exif(source).get("GPSImgDirection")
    return None if value is None else _decimal(value)


def description(source: Any) -> Dict[str, Any]:
    """The image description (JSON in ImageDescription); {} without one or when it is a caption."""
    try:
        parsed = json.loads(read_exif(source).get("ImageDescription", ""))
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
