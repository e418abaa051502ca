"""The head of a JPEG: which stretches hold Exif, and which bytes to put in their place (ITU T.81, annex B.1.1; EXIF 2.32, 4.5.4 to 4.5.6).

A plan is a sorted list of (start, end, bytes): what to put in the place of which stretch.  Everything else of the file is copied
as it is, fill bytes and data behind the image included.
"""
import struct

from .errors import InvalidImageDataError
from .tiff import LONG, byte_order, read_table

SOI, EOI, SOS, APP0, APP1, APP2 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2
ALONE = {0x01} | set(range(0xD0, 0xD9))  # markers without a length (ITU T.81, table B.1)
MAX_PAYLOAD = 65533  # bytes of a segment behind its length field
MP_ENTRY = 0xB002  # CIPA DC-007, 5.2.3.3: 16 bytes for each image, its offset in the third word


class Head:
    """What the head of one JPEG holds: Exif payloads, places of MPF segments, and where a new Exif segment goes."""

    __slots__ = ("exif", "mpf", "place", "whole")

    def __init__(self):
        self.exif = []  # (start, end, payload with its six bytes of identifier) of each Exif segment
        self.mpf = []  # (start of the TIFF header, end)
        self.place = 2  # behind the leading APP0 segments (EXIF 2.32, 4.5.4)
        self.whole = False  # whether the scan, or the end of the image, was reached

    def blocks(self):
        """[(segments, payload)]: each Exif of the image, joined from the segments that it is spread over.

        A segment that follows an Exif segment directly and begins with no TIFF header continues it, as exiftool writes it.
        """
        joined = []
        for segment in self.exif:
            if joined and joined[-1][0][-1][1] == segment[0] and byte_order(segment[2][6:10]) is None:
                joined[-1] = (joined[-1][0] + [segment], joined[-1][1] + segment[2][6:])
            else:
                joined.append(([segment], segment[2]))
        return joined

    def block(self):
        """The first Exif that is one, else the first, else None; as in blocks()."""
        blocks = self.blocks()
        return next((item for item in blocks if byte_order(item[1][6:10])), blocks[0] if blocks else None)


def read_head(file, size):
    """The Head of a JPEG in a seekable file of this many bytes; never reads into the scan.

    What follows a damaged segment is not looked at.
    """
    head, at, leading = Head(), 2, True
    file.seek(2)
    while True:
        lead = file.read(10)
        if len(lead) < 2:
            return head
        if lead[0] != 0xFF or lead[1] == 0xFF:
            at = _next_marker(file, at, 1 if lead[0] == 0xFF else 0)
            if at is None:
                return head
            continue
        marker = lead[1]
        if marker == SOS or marker == EOI:
            head.whole = True
            return head
        if marker in ALONE:
            at += 2
            file.seek(at)
            continue
        if len(lead) < 4:
            return head
        end = at + 2 + (lead[2] << 8 | lead[3])
        if marker == APP1 and lead[4:9] == b"Exif\0":
            file.seek(at + 4)
            head.exif.append((at, end, file.read(end - at - 4)))
        elif marker == APP2 and lead[4:8] == b"MPF\0":
            head.mpf.append((at + 8, end))
        if end > size or end < at + 4:
            return head
        leading = leading and marker == APP0
        if leading:
            head.place = end
        at = end
        file.seek(at)


def _next_marker(file, at, skip):
    """The offset of the next marker, skipping fill bytes (ITU T.81, B.1.1.2) and bytes that belong to no segment."""
    file.seek(at + skip)
    while True:
        chunk = file.read(65536)
        index = chunk.find(b"\xff")
        if not chunk:
            return None
        if index >= 0:
            at += skip + index
            file.seek(at)
            return at
        at += len(chunk)


def plan(file, size, payload):
    """The plan that leaves exactly one Exif segment with this payload (identifier and block), or none if payload is None.

    The first Exif is replaced where it stands, others are taken out; the same Exif is left untouched.  Raises
    InvalidImageDataError for bytes that are no JPEG, ValueError for a payload that no segment holds.
    """
    head = read_head(file, size)
    if not head.whole:
        raise InvalidImageDataError("Wrong JPEG data.")
    kept, edits = head.block(), []
    same = kept is not None and payload is not None and kept[1][6:] == payload[6:]
    segment = b""
    if payload is not None and not same:
        if len(payload) > MAX_PAYLOAD:
            raise ValueError("Exif of {} bytes is too large for a JPEG, max {} (shorten a text)".format(len(payload), MAX_PAYLOAD))
        segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
        if kept is None:
            edits.append((head.place, head.place, segment))
    for start, end, _ in head.exif:
        first = kept is not None and start == kept[0][0][0]
        if not (same and any(start == part[0] for part in kept[0])):
            edits.append((start, end, segment if first else b""))
    edits += [edit for mpf in head.mpf for edit in _moved_images(file, mpf, edits)]
    return sorted(edits)


def _moved_images(file, mpf, edits):
    """Edits to the image offsets of an MPF segment that stands before an edit (CIPA DC-007, 5.2.3.3.3: counted from its header)."""
    base, end = mpf
    if not edits or base > max(edits)[0]:
        return []
    file.seek(base)
    block = file.read(end - base)
    order = byte_order(block[:8])
    table = read_table(block, order, LONG[order].unpack(block[4:8])[0]) if order and len(block) >= 8 else None
    changed = []
    for tag, kind, count, field in table.entries if table else ():
        start = LONG[order].unpack(field)[0]
        if tag != MP_ENTRY or kind != 7 or count <= 4 or start + count > len(block):
            continue
        for place in range(start + 8, start + count - 7, 16):
            offset = LONG[order].unpack(block[place:place + 4])[0]
            moved = _new_place(base + offset, edits) - _new_place(base, edits)
            if offset and moved != offset:
                changed.append((base + place, base + place + 4, LONG[order].pack(moved)))
    return changed


def _new_place(at, edits):
    return at + sum(len(new) - (end - start) for start, end, new in edits if end <= at)
