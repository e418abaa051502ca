"""The head of a JPEG: where Exif stands, and which bytes to put there (ITU T.81, B.1.1; EXIF 2.32, 4.5.4 to 4.5.6).

A plan is a sorted list of (start, end, bytes): what to put in the place of which stretch.  Everything else of the file
is copied as it is, fill bytes and data behind the image included.
"""

import struct

from .edit import EMPTY
from .errors import InvalidImageDataError
from .merge import main_block
from .tiff import ENTRY, LONG, byte_order, read_table, read_tables
from .values import WIDTH

SOI, EOI, SOS, APP0, APP1, APP2 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2
ALONE = {0x01} | set(
    range(0xD0, 0xD8)
)  # markers without a length (ITU T.81, table B.1), but for SOI and EOI
RESERVED = {0x00} | set(
    range(0x02, 0xC0)
)  # of no segment: bytes that some makers leave between two
SCANNED = 1 << 18  # bytes of a scan that are looked through at a time
MAX_PAYLOAD = 65533  # bytes of a segment behind its length field
# Type LONG, or IFD, and a count of at most 16, wherever they stand: found fast by their first bytes.
LONG_FIELDS = {
    "<": (rb"\x04\0([\x01-\x10])\0\0\0", rb"\x0d\0([\x01-\x10])\0\0\0"),
    ">": (rb"\0\x04\0\0\0([\x01-\x10])", rb"\0\x0d\0\0\0([\x01-\x10])"),
}
# Type BYTE or UNDEFINED, and a count of 16 to 16,777,215.
DATA_FIELDS = {
    "<": rb"(?s)[\x01\x07]\0(?![\0-\x0f]\0\0\0)(?=...\0)",
    ">": rb"(?s)\0[\x01\x07](?!\0\0\0[\0-\x0f])(?=\0...)",
}
PREVIEW_HEADER = 32  # bytes of Sony's before a preview
MAKER_NOTE = {"<": b"\x7c\x92\x07\0", ">": b"\x92\x7c\0\x07"}  # tag and type
DECISION_DATA = (  # Canon's, tag and type and count, which leads to data that begin so
    b"\x83\0\4\0\1\0\0\0",
    b"\0\x83\0\4\0\0\0\1",
)
DECISION_BEGIN = b"\xff\xff\xff\xff"
# Samsung's, without fields: the place of a preview and its length in the third and fourth word
BINARY_NOTE = rb"STMN\d\d\d\0"
MP_ENTRY = 0xB002  # CIPA DC-007, 5.2.3.3: 16 bytes for each image, its offset in the third word


class Head:
    """What the head of one JPEG holds: Exif payloads, places of MPF segments, and where a new Exif segment goes."""

    __slots__ = ("exif", "mpf", "place", "scan", "whole")

    def __init__(self):
        self.exif = []  # (start, end, payload with its six bytes of identifier) of each Exif segment
        self.mpf = []  # (start of the TIFF header, end)
        self.place = 2  # behind the leading APP0 segments (EXIF 2.32, 4.5.4)
        self.scan = None  # where the first scan begins
        self.whole = False  # whether the scan, or the end of the image, was reached

    def blocks(self):
        """[(segments, payload)]: each Exif of the image, joined from the segments that it is spread over.

        A segment that follows an Exif segment directly and begins with no TIFF header continues it, as exiftool writes
        it.
        """
        joined = []  # type: list
        for segment in self.exif:
            if (
                joined
                and joined[-1][0][-1][1] == segment[0]
                and byte_order(segment[2][6:10]) is None
            ):
                joined[-1] = (joined[-1][0] + [segment], joined[-1][1] + segment[2][6:])
            else:
                joined.append(([segment], segment[2]))
        return joined

    def readable(self):
        """Those of blocks() that are Exif."""
        return [item for item in self.blocks() if byte_order(item[1][6:10])]

    def block(self):
        """The main one of readable() (merge.py), else the first of blocks(), else None."""
        good = self.readable()
        if len(good) > 1:
            return good[main_block([payload[6:] for _, payload in good]) or 0]
        return (good or self.blocks() or [None])[0]


def read_head(image):
    """The Head of a JPEG, given as something to slice; never looks into the scan, nor behind a damaged segment."""
    head, at, leading, size = Head(), 2, True, len(image)
    while at is not None:
        lead = image[at : at + 9]
        if len(lead) < 2:
            break
        marker = lead[1]
        if lead[0] != 0xFF or marker == 0xFF:
            at = _next_marker(image, at + (lead[0] == 0xFF))
        elif marker in RESERVED:
            at = _next_marker(image, at + 2)
        elif marker in ALONE:
            at += 2
        elif marker == SOI:
            break  # other programs refuse a second begin, so it is none
        elif marker == SOS or marker == EOI:
            head.whole, head.scan = True, at
            break
        else:
            end = at + 2 + (lead[2] << 8 | lead[3]) if len(lead) > 3 else at
            if marker == APP1 and lead[4:] == b"Exif\0":
                head.exif.append((at, end, image[at + 4 : end]))
            elif marker == APP2 and lead[4:8] == b"MPF\0":
                head.mpf.append((at + 8, end))
            if end > size or end < at + 4:
                break
            leading = leading and marker == APP0
            if leading:
                head.place = end
            at = end
    return head


def _next_marker(image, at):
    """The next 0xFF behind fill bytes (ITU T.81, B.1.1.2) or bytes of no segment; None if there is none."""
    while True:
        chunk = image[at : at + 65536]
        index = chunk.find(b"\xff")
        if index >= 0 or not chunk:
            return at + index if chunk else None
        at += len(chunk)


def plan(image, payload, add_empty=True, more=(), head=None):
    """The plan that leaves exactly one Exif segment, with this payload (identifier and block), or none if it is None.

    more are other changes of the head, (start, end, bytes), that are carried out with it; head is that of read_head().

    The main Exif is replaced where it stands, others are taken out: load() gives out what all of them hold.  An image
    that has this Exif already stays as it is, and so does one without Exif if add_empty is false and the block holds
    nothing.  Raises InvalidImageDataError for bytes that are no JPEG, ValueError for a payload that no segment holds,
    and where a MakerNote behind the picture would have to move.
    """
    head = read_head(image) if head is None else head
    if not head.whole:
        raise InvalidImageDataError("Wrong JPEG data.")
    kept = head.block()
    if payload is not None and (
        payload[6:] == kept[1][6:] if kept else payload[6:] == EMPTY and not add_empty
    ):
        if not more:
            return []
        payload = kept[1] if kept else None
    segment, edits = b"", list(more)
    if payload is not None and kept:
        payload = _with_moved_pictures(image, payload, head, kept, more)
    if payload is not None:
        if len(payload) > MAX_PAYLOAD:
            size = len(payload)
            raise ValueError(f"Exif of {size} bytes is too large for a JPEG, max {MAX_PAYLOAD}")
        segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
        if kept is None:
            edits.append((head.place, head.place, segment))
    for start, end, _ in head.exif:
        edits.append((start, end, segment if start == kept[0][0][0] else b""))
    edits += [edit for mpf in head.mpf for edit in _moved_images(image, mpf, edits)]
    return sorted(edits)


def _with_moved_pictures(image, payload, head, kept, more):
    """The payload, with those numbers changed that lead to pictures and other data behind the main one, which are to
    move with it; more as in plan().

    Makers count them from the TIFF header, from the begin of the MakerNote or of its own header, or of the file.
    A MakerNote that stands there has numbers of its own: raises ValueError where it would move.
    """
    base, end = kept[0][0][0] + 10, kept[0][-1][1]
    late, early = (
        sum(len(new) - (stop - start) for start, stop, new in more if (start >= end) == behind)
        for behind in (True, False)
    )
    grown = len(payload) + 4 + late - sum(stop - start for start, stop, _ in head.exif)
    by_header = grown + sum(stop - start for start, stop, _ in head.exif if stop < base)
    by_file, order = grown + early, byte_order(payload[6:14])
    if not by_header and not by_file or order is None:
        return payload
    note = kept[1].find(MAKER_NOTE[order])
    note = LONG[order].unpack_from(kept[1], note + 8)[0] if 0 <= note < len(kept[1]) - 11 else 0
    bases = dict.fromkeys((base, base + note, base + note + 10, base + note + 12, 0))
    farthest, unpack, behind = (
        max(bases),
        LONG[order].unpack_from,
        _Behind(image, head, kept, bases),
    )
    found = {}
    for entry, size, places in _fields(kept[1], order, end - farthest):
        for index, place in enumerate(places):
            number = unpack(kept[1], place)[0]
            start = behind.base_of(entry, number, size) if number + farthest > end else None
            if start is not None and entry[:4] == MAKER_NOTE[order]:
                raise ValueError("its MakerNote stands behind the picture, and cannot be moved")
            if start is not None:
                found[entry, index] = by_header if start else by_file
    out = bytearray(payload)
    for entry, _, places in _fields(payload, order) if found else ():
        for index, place in enumerate(places):
            if (entry, index) in found:
                number = unpack(payload, place)[0]
                LONG[order].pack_into(out, place, number + found[entry, index])
    return bytes(out)


class _Behind:
    """The pictures, and other data, behind the main one of an image; bases are what numbers may count from, the TIFF
    header first.
    """

    def __init__(self, image, head, kept, bases):
        self.image, self.head, self.bases = image, head, bases
        self.block, self.end = kept[1][6:], kept[0][-1][1]
        self.size, self.last = len(image), None  # where the main picture ends
        self.own = None  # the entries of IFDs whose values are bytes
        self.leads = {}  # place -> whether a picture begins there, and behind a header of Sony's

    def base_of(self, entry, number, size):
        """That of the bases from which the number of an entry leads to a picture, or to its so many bytes; size None:
        how many is not told.  None where it leads to nothing.
        """
        if size is not None and number + size > self.size:
            return None
        for start in self.bases:
            place = start + number
            if self.end < place and place + (size or 1) <= self.size:
                if self._leads(entry, place, size) and self._is_behind(place):
                    return start
            if size is not None and self._is_own(entry):
                break
        return None

    def _leads(self, entry, place, size):
        """Whether a picture begins here; the first byte of it may be another (Minolta), and data of a told size may
        have a header of their own (Sony), or be anything, if their entry surely is one.
        """
        if self.last is not None and place < self.last:
            return False
        if place not in self.leads:  # many chance entries lead to one place
            lead = self.image[place : place + PREVIEW_HEADER + 3]
            self.leads[place] = lead[1:3] == b"\xd8\xff", lead[PREVIEW_HEADER + 1 :] == b"\xd8\xff"
        at_once, behind_header = self.leads[place]
        if entry[:8] in DECISION_DATA:
            at_once = at_once or self.image[place : place + 4] == DECISION_BEGIN
        return at_once or size is not None and (behind_header or self._is_own(entry))

    def _is_own(self, entry):
        """Whether an entry is one of the block's IFDs: its number counts from the TIFF header."""
        if self.own is None:
            order = byte_order(self.block)
            tables = read_tables(self.block, order).values()
            self.own = {ENTRY[order].pack(*row) for table in tables for row in table.entries}
        return entry in self.own

    def _is_behind(self, place):
        if self.last is None:
            self.last = _end_of_scan(self.image, self.head.scan)
        return place >= self.last


def _end_of_scan(image, start):
    """The offset of the first EOI behind the begin of a scan, in which there can be none; else the image's length."""
    at = start
    while at < len(image):
        found = image[at : at + SCANNED + 1].find(b"\xff\xd9")
        if found >= 0:
            return at + found
        at += SCANNED
    return len(image)


def _fields(payload, order, over=-1):
    """(the twelve bytes of an entry, how many bytes its number leads to, the places of its numbers) of whatever reads
    as a field that may lead behind the picture, but for single numbers that are not over some number: of type LONG,
    None = that is not told, or of bytes that stand elsewhere (Sony's preview, Leica's MakerNote); also the preview of
    a MakerNote without fields (Samsung's).
    """
    import re  # costs more than all the rest, and is needed only here

    unpack, size = LONG[order].unpack_from, len(payload)
    for pattern in LONG_FIELDS[order]:
        for match in re.finditer(pattern, payload):
            count, place = payload[match.start(1)], match.end()
            within = place + 4 <= size
            if count == 1 and within and unpack(payload, place)[0] <= over:
                continue
            entry = payload[match.start() - 2 : place + 4]
            if count > 1 and within:
                place = 6 + unpack(payload, place)[0]
            yield entry, None, range(place, min(place + 4 * count, size - 3), 4)
    for match in re.finditer(DATA_FIELDS[order], payload):
        place = match.end() + 4
        if place + 4 > size or unpack(payload, place)[0] <= over:
            continue
        entry = payload[match.start() - 2 : place + 4]
        yield entry, unpack(payload, place - 4)[0], (place,)
    for match in re.finditer(BINARY_NOTE, payload):
        place = match.start() + 8
        if place + 8 <= size:
            yield match.group(), unpack(payload, place + 4)[0], (place,)


def _moved_images(image, mpf, edits):
    """Edits to image offsets, counted from its header, of an MPF segment before an edit (CIPA DC-007, 5.2.3.3.3)."""
    base, end = mpf
    if not edits or base > max(edits)[0]:
        return []
    block = image[base:end]
    order = byte_order(block[:8])
    table = (
        read_table(block, order, LONG[order].unpack(block[4:8])[0])
        if order and len(block) >= 8
        else None
    )
    changed = []
    for tag, kind, count, start in table.entries if table else ():
        length = WIDTH.get(kind, 0) * count  # UNDEFINED by the book; readers take any type
        if tag != MP_ENTRY or length <= 4 or start + length > len(block):
            continue
        for place in range(start + 8, start + length - 7, 16):
            offset = LONG[order].unpack(block[place : place + 4])[0]
            moved = _new_place(base + offset, edits) - _new_place(base, edits)
            if offset and moved != offset:
                changed.append((base + place, base + place + 4, LONG[order].pack(moved)))
    return changed


def _new_place(at, edits):
    return at + sum(len(new) - (end - start) for start, end, new in edits if end <= at)
