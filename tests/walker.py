"""Judges and builders for the tests of vendor/piexif: JPEG and TIFF read and made without using it.

JPEG: ITU T.81, annex B.  TIFF: TIFF 6.0, section 2.
"""

import importlib.util
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
CHILD = {("0th", 0x8769): "Exif", ("0th", 0x8825): "GPS", ("Exif", 0xA005): "Interop"}
PLACES = {
    0x8769,
    0x8825,
    0xA005,
    0x0201,
    0x0202,
}  # fields whose value is a place, or the size of the thumbnail
MAKER_NOTE = 0x927C


def vendored():
    """vendor/piexif under the private name that mapillary_tools.py gives it."""
    name = "_mapillary_tools_piexif"
    if name not in sys.modules:
        folder = ROOT / "vendor" / "piexif"
        spec = importlib.util.spec_from_file_location(
            name, str(folder / "__init__.py"), submodule_search_locations=[str(folder)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def photos():
    """The sample photos, none where the folder does not exist."""
    return sorted(path for path in PHOTOS.iterdir()) if PHOTOS.is_dir() else []


# ---- JPEG


class Jpeg:
    """A JPEG taken apart: segments [(marker, offset of its 0xFF, bytes)] without fill bytes, and the rest from SOS."""

    def __init__(self, data):
        assert data[:2] == b"\xff\xd8"
        self.data, self.segments, at = data, [], 2
        while True:
            assert data[at] == 0xFF, "no marker at {}".format(at)
            while data[at + 1] == 0xFF:
                at += 1
            marker = data[at + 1]
            if marker in (0xDA, 0xD9):
                self.rest = data[at:]
                return
            end = (
                at + 2
                if marker == 1 or 0xD0 <= marker <= 0xD7
                else at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
            )
            assert end <= len(data)
            self.segments.append((marker, at, data[at:end]))
            at = end

    def exifs(self):
        """Payloads of the Exif segments, identifier included."""
        return [
            segment[4:]
            for marker, _, segment in self.segments
            if marker == 0xE1 and segment[4:9] == b"Exif\0"
        ]

    def others(self):
        """All other segments."""
        return [
            segment
            for marker, _, segment in self.segments
            if not (marker == 0xE1 and segment[4:9] == b"Exif\0")
        ]


# ---- TIFF


class Field:
    """One entry: type, count, bytes of its value (None if out of the block), offset of its value."""

    def __init__(self, kind, count, value, offset):
        self.kind, self.count, self.value, self.offset = kind, count, value, offset

    def key(self):
        return self.kind, self.count, self.value


class Tiff:
    """A TIFF block taken apart: {IFD: [(tag, Field)]}, faults, thumbnail."""

    def __init__(self, block):
        self.block, self.faults, self.ifds, self.thumbnail = block, [], {}, None
        self.order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
        self.spans, self.offsets = [(0, 8, "header")], {}
        following = self.walk(self.unpack("L", 4), "0th")
        if following:
            self.walk(following, "1st")
        self.spans.sort(key=lambda span: span[:2])
        for (_, end, one), (start, _, two) in zip(self.spans, self.spans[1:]):
            if start < end:
                self.faults.append("{} overlaps {}".format(one, two))

    def unpack(self, code, offset):
        return struct.unpack_from(self.order + code, self.block, offset)[0]

    def walk(self, offset, name):
        if not 8 <= offset <= len(self.block) - 2 or offset in self.offsets.values():
            self.faults.append("{}: bad pointer".format(name))
            return 0
        self.offsets[name] = offset
        count = self.unpack("H", offset)
        if offset % 2 or offset + 2 + 12 * count > len(self.block):
            self.faults.append("{}: odd or cut".format(name))
        fields = self.ifds[name] = []
        for at in range(offset + 2, min(offset + 2 + 12 * count, len(self.block) - 11), 12):
            fields.append(self.field(at, name))
        if [tag for tag, _ in fields] != sorted(tag for tag, _ in fields):
            self.faults.append("{}: not sorted".format(name))
        end = offset + 2 + 12 * count
        following = self.unpack("L", end) if end + 4 <= len(self.block) else None
        if following is None or following and name not in ("0th", "1st"):
            self.faults.append("{}: next-IFD field".format(name))
        self.spans.append((offset, end + 4, name))
        found = dict(fields)
        for tag, field in found.items():
            if (name, tag) in CHILD:
                self.walk(
                    self.unpack("H" if field.kind == 3 else "L", field.offset), CHILD[name, tag]
                )
        if 0x0201 in found and 0x0202 in found and name == "1st":
            start, size = (
                self.unpack("H" if found[tag].kind == 3 else "L", found[tag].offset)
                for tag in (0x0201, 0x0202)
            )
            self.thumbnail = self.block[start : start + size]
            self.spans.append((start, start + size, "thumbnail"))
        return following

    def field(self, at, name):
        tag, kind, count = struct.unpack_from(self.order + "HHL", self.block, at)
        size = SIZE.get(kind, 0) * count
        offset = at + 8 if size <= 4 else self.unpack("L", at + 8)
        if offset + size > len(self.block) or kind not in SIZE:
            self.faults.append("{} {:#x}: outside or of unknown type".format(name, tag))
            return tag, Field(kind, count, None, offset)
        if size > 4:
            self.spans.append((offset, offset + size, "{} {:#x}".format(name, tag)))
            if offset % 2:
                self.faults.append("odd offset of {} {:#x}".format(name, tag))
        return tag, Field(kind, count, self.block[offset : offset + size], offset)

    def fields(self):
        """{(IFD, tag): [(type, count, value bytes)]} of everything but places."""
        result = {}
        for name, fields in self.ifds.items():
            for tag, field in fields:
                if tag not in PLACES:
                    result.setdefault((name, tag), []).append(field.key())
        return result

    def maker_note(self):
        """(offset, bytes) of the MakerNote, or None."""
        return next(
            (
                (field.offset, field.value)
                for tag, field in self.ifds.get("Exif", ())
                if tag == MAKER_NOTE
            ),
            None,
        )


# ---- builders

NATURAL = [
    (what, name)
    for name in ("0th", "Exif", "GPS", "Interop", "1st")
    for what in ("table", "values")
] + [("thumb", "")]


def block(
    order, ifds, sequence=NATURAL, thumb=None, gap=b"", tail=b"", without_next=(), following=None
):
    """A TIFF block of {IFD: [(tag, type, count, raw)]}; pointers are added.

    sequence says in which order tables, values and the thumbnail stand, gap what stands between them, tail what behind;
    without_next names the IFDs that lack the next-IFD field.  following overrides IFD0's next-IFD offset.
    """
    ifds = {name: list(fields) for name, fields in ifds.items() if fields is not None}
    for (parent, tag), child in reversed(list(CHILD.items())):
        if child in ifds:
            ifds.setdefault(parent, []).append((tag, 4, 1, None))
    ifds.setdefault("0th", [])
    if thumb is not None:
        ifds.setdefault("1st", [])
        ifds["1st"] += [(0x0201, 4, 1, None), (0x0202, 4, 1, struct.pack(order + "L", len(thumb)))]
    places, at = {}, 8
    for what, name in sequence:
        if what == "thumb" and thumb is not None:
            places[what, name] = at
            at += len(thumb)
        elif name in ifds:
            places[what, name] = at
            if what == "table":
                at += 2 + 12 * len(ifds[name]) + (0 if name in without_next else 4)
            else:
                at += sum(
                    len(raw) + len(raw) % 2
                    for _, _, _, raw in ifds[name]
                    if raw is not None and len(raw) > 4
                )
        else:
            continue
        at += at % 2 + len(gap)
    out = bytearray(at)
    out[:8] = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(
        order + "L", places["table", "0th"]
    )
    filled = [(0, 8)]
    for name, fields in ifds.items():
        table, value = places["table", name], places["values", name]
        filled.append((table, table + 2 + 12 * len(fields) + (0 if name in without_next else 4)))
        struct.pack_into(order + "H", out, table, len(fields))
        for index, (tag, kind, count, raw) in enumerate(sorted(fields, key=lambda field: field[0])):
            if raw is None:
                raw = struct.pack(
                    order + "L",
                    places["table", CHILD[name, tag]]
                    if (name, tag) in CHILD
                    else places["thumb", ""],
                )
            if len(raw) > 4:
                out[value : value + len(raw)] = raw
                filled.append((value, value + len(raw) + len(raw) % 2))
                raw, value = struct.pack(order + "L", value), value + len(raw) + len(raw) % 2
            struct.pack_into(
                order + "HHL4s", out, table + 2 + 12 * index, tag, kind, count, raw.ljust(4, b"\0")
            )
        if name == "0th":
            struct.pack_into(
                order + "L",
                out,
                table + 2 + 12 * len(fields),
                following if following is not None else places.get(("table", "1st"), 0),
            )
    if thumb is not None:
        start = places["thumb", ""]
        out[start : start + len(thumb)] = thumb
        filled.append((start, start + len(thumb)))
    for (_, end), (start, _) in zip(sorted(filled), sorted(filled)[1:] + [(at, at)]):
        if start - end >= len(gap) > 0:
            out[start - len(gap) : start] = gap
    return bytes(out) + tail


def segment(marker, payload):
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def exif(tiff):
    return segment(0xE1, b"Exif\0\0" + tiff)


JFIF = segment(0xE0, b"JFIF\0\1\1\0\0H\0H\0\0")
XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
ICC = segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(40))
COM = segment(0xFE, b"a comment")
# a 1 x 1 grey image: quantisation table, frame, two Huffman tables of one code each, scan of one block
DQT = segment(0xDB, b"\0" + b"\1" * 64)
SOF = segment(0xC0, b"\x08\0\1\0\1\1\1\x11\0")
DHT = segment(0xC4, b"\0\1" + bytes(15) + b"\0") + segment(0xC4, b"\x10\1" + bytes(15) + b"\0")
SOS = segment(0xDA, b"\1\1\0\0?\0")
SCAN = b"\x3f" + b"\xff\xd9"


def jpeg(*parts, tail=b""):
    """A JPEG with these segments before its tables."""
    return b"\xff\xd8" + b"".join(parts) + DQT + SOF + DHT + SOS + SCAN + tail


THUMB = b"\xff\xd8" + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") + DQT + SOF + DHT + SOS + SCAN


def camera(order="<", **options):
    """A block as cameras write it: all five IFDs, a MakerNote, unknown tags, a thumbnail."""
    pack = lambda code, *numbers: struct.pack(order + code, *numbers)  # noqa: E731
    ifds = {
        "0th": [
            (0x010F, 2, 6, b"Maker\0"),
            (0x0110, 2, 8, b"Model 1\0"),
            (0x0112, 3, 1, pack("H", 6)),
            (0x011A, 5, 1, pack("2L", 72, 1)),
            (0x0132, 2, 20, b"2020:01:02 03:04:05\0"),
            (0xC999, 7, 6, b"foobar"),
        ],
        "Exif": [
            (0x829A, 5, 1, pack("2L", 0, 0)),
            (0x9003, 2, 20, b"2020:01:02 03:04:05\0"),
            (0x9000, 7, 4, b"0230"),
            (0x9204, 10, 1, pack("2l", -1, 3)),
            (MAKER_NOTE, 7, 60, b"MAKER\0" + bytes(range(54))),
            (0xA002, 3, 1, pack("H", 640)),
            (0xA301, 1, 1, b"\1"),
            (0xFDEA, 2, 6, b"hello\0"),
        ],
        "GPS": [
            (0, 1, 4, b"\2\2\0\0"),
            (1, 2, 2, b"S\0"),
            (2, 5, 3, pack("6L", 1, 1, 2, 1, 3, 1)),
            (3, 2, 2, b"W\0"),
            (4, 5, 3, pack("6L", 4, 1, 5, 1, 6, 1)),
            (0x1D, 2, 11, b"2020:01:02\0"),
        ],
        "Interop": [(1, 2, 4, b"R98\0"), (2, 7, 4, b"0100")],
        "1st": [(0x0103, 3, 1, pack("H", 6)), (0x011A, 5, 1, pack("2L", 72, 1))],
    }
    options.setdefault("thumb", THUMB)
    ifds.update(options.pop("ifds", {}))
    return block(order, ifds, **options)


# ---- the edit that the tool makes, by tag number

LONG_TEXT = "description " * 60


def tool_edit(loaded, text=LONG_TEXT):
    """Description, time and position set in a dict of load()."""
    loaded["0th"][0x010E] = text
    loaded["Exif"].update({0x9003: "2024:05:06 07:08:09", 0x9291: "123", 0x9011: "+02:00"})
    loaded["GPS"].update(
        {
            1: "N",
            2: ((57, 1), (42, 1), (31932, 1000)),
            3: "E",
            4: ((11, 1), (58, 1), (28416, 1000)),
            5: 0,
            6: (1234, 100),
            16: "T",
            17: (12345, 100),
            29: "2024:05:06",
            7: ((5, 1), (8, 1), (9, 1)),
        }
    )
    return loaded
