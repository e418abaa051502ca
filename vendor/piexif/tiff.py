"""Reading a TIFF block: header, IFDs and values, all bounds-checked (TIFF 6.0, section 2; EXIF 2.32, 4.5 and 4.6).

A block is bytes, or anything that gives bytes for a slice and has a length (a TIFF file, read piece by piece).  What is
damaged is left out; nothing here raises for the content of a block, and work and memory are bounded by its length.
"""

import struct

from .tags import TAGS
from .values import PAIR, TEXT, WIDTH, decode

NAMES = ("0th", "Exif", "GPS", "Interop", "1st")
CHILDREN = {
    "Exif": ("0th", 0x8769),
    "GPS": ("0th", 0x8825),
    "Interop": ("Exif", 0xA005),
}  # IFD: (parent, its pointer)
LINKS = {
    name: [(child, tag) for child, (parent, tag) in CHILDREN.items() if parent == name]
    for name in NAMES
}
LINK_TAGS = frozenset(tag for _, tag in CHILDREN.values())
POINTERS = {name: tuple(tag for _, tag in LINKS.get(name, ())) for name in NAMES + ("other",)}
DERIVED = dict(POINTERS, **{"1st": (0x0201, 0x0202)})  # fields that dump() works out by itself
THUMBNAIL = (0x0201, 0x0202)
STRIPS = (
    (0x0111, 0x0117),
    (0x0144, 0x0145),
    THUMBNAIL,
)  # offsets and byte counts (TIFF 6.0, sections 8, 15, 22)
STRIP_TAGS = {tag for pair in STRIPS for tag in pair}
SUB_IFDS = 0x014A  # TIFF technical note 1

LONG = {order: struct.Struct(order + "L") for order in "<>"}
SHORT = {order: struct.Struct(order + "H") for order in "<>"}
ENTRY = {order: struct.Struct(order + "HHLL") for order in "<>"}
SHORT_SHIFT = {"<": 0, ">": 16}  # a SHORT stands in the first two of a field's four bytes
MAX_OTHER_ENTRIES = (
    20000  # of IFDs beyond the five; a block of 64 KB holds 5,461 that do not overlap
)
MAX_VALUE = (
    1 << 24
)  # bytes; a single larger value exists only in TIFF files, which are read for time and position


class Table:
    """One IFD as stored: offset, readable entries (tag, type, count, last four bytes as LONG), next-IFD offset.

    miscounted says that it counts more entries than it has, and so reaches into what is added behind it.
    """

    __slots__ = ("entries", "miscounted", "next", "offset")

    def __init__(self, offset, entries, following, miscounted=False):
        self.offset = offset
        self.entries = entries
        self.next = following
        self.miscounted = miscounted


def byte_order(block):
    """ "<" or ">" of a TIFF header, or None if there is none (TIFF 6.0, section 2, "Image File Header")."""
    return {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])


def read_table(block, order, offset):
    """The IFD at this offset, as far as the block reaches, or None if not even its count is there."""
    if offset < 8 or offset + 2 > len(block):
        return None
    count = SHORT[order].unpack(block[offset : offset + 2])[0]
    end = offset + 2 + 12 * count
    raw = block[offset + 2 : end + 4]
    if len(raw) == 12 * count + 4:
        entries = list(ENTRY[order].iter_unpack(raw[:-4]))
        table = Table(offset, entries, LONG[order].unpack(raw[-4:])[0])
        return _recounted(block, order, table)
    entries = list(ENTRY[order].iter_unpack(raw[: min(len(raw) // 12, count) * 12]))
    return Table(offset, entries, 0, len(entries) < count)


def _recounted(block, order, table):
    """The same IFD; with fewer entries where its next-IFD field stands in the place of one of the last (Photoshop CS2).

    That is so where what would be the entry is out of order, has a type that is none, and its first four bytes are 0 or
    lead to an IFD, unless it is one of the empty entries that some cameras write.
    No reader followed that field, so nor does this one.
    """
    last = table.entries[-3:]
    if all(entry[1] in WIDTH for entry in last):
        return table
    for surplus in range(1, len(last) + 1):
        tag, kind, count, field = last[-surplus]
        if kind in WIDTH:
            continue
        following = tag << 16 | kind if order == ">" else kind << 16 | tag
        before = table.entries[-surplus - 1][0] if surplus < len(table.entries) else 0xFFFF
        if tag > before or not _is_table(block, order, following):
            continue
        if (count, field) == (0, 0) and _is_table(block, order, table.next):
            continue
        return Table(table.offset, table.entries[:-surplus], 0, True)
    return _overcounted(block, order, table)


def _overcounted(block, order, table):
    """The same IFD; where its count is too great by many with those before the first that has a type that is none.

    That is so where what would be that entry is out of order and its first four bytes are 0 or lead to an IFD, and
    those behind it, which are other bytes of the block, mostly have no type either, or do not go on in order.
    """
    entries = table.entries
    good = next(
        (number for number, entry in enumerate(entries) if entry[1] not in WIDTH), len(entries)
    )
    rest = entries[good:]
    if not 0 < good < len(entries):
        return table
    going_on = [entries[good - 1][0], *(entry[0] for entry in rest if entry[1] in WIDTH)]
    if 2 * len(going_on) > len(rest) + 1 and going_on == sorted(going_on):
        return table
    tag, kind = rest[0][:2]
    following = tag << 16 | kind if order == ">" else kind << 16 | tag
    if tag > entries[good - 1][0] or not _is_table(block, order, following):
        return table
    return Table(table.offset, entries[:good], 0, True)


def _swallows(table, order):
    """Whether an IFD is said to go on beyond the begin of one that it leads to."""
    end = table.offset + 2 + 12 * len(table.entries)
    for number, kind, _, field in table.entries:
        if number in LINK_TAGS:
            offset = field >> SHORT_SHIFT[order] & 0xFFFF if kind in (3, 8) else field
            if table.offset < offset < end:
                return True
    return False


def _is_table(block, order, offset):
    """Whether this offset is 0, or that of something that reads as an IFD."""
    lead = block[offset : offset + 6] if offset >= 8 else b""
    if len(lead) < 6:
        return offset == 0
    count, kind = SHORT[order].unpack(lead[:2])[0], SHORT[order].unpack(lead[4:])[0]
    return 0 < count < 512 and kind in WIDTH and offset + 2 + 12 * count <= len(block)


def table_span(block, table):
    """The stretch of a stored IFD, next-IFD field included."""
    return table.offset, min(table.offset + 6 + 12 * len(table.entries), len(block))


def pointer(table, order, tag):
    """The offset that a pointer field holds, of whatever type it is, or 0 (of two fields the last counts)."""
    for number, kind, _, field in reversed(table.entries):
        if number == tag:
            return field >> SHORT_SHIFT[order] & 0xFFFF if kind in (3, 8) else field
    return 0


def read_tables(block, order):
    """{name: Table} of the five IFDs that can be read; one reached twice belongs to the first that leads to it."""
    tables, seen = {}, set()

    def follow(name, offset):
        table = None if offset in seen else read_table(block, order, offset)
        if table is not None:
            seen.add(offset)
            tables[name] = _overcounted(block, order, table) if _swallows(table, order) else table

    if order and len(block) >= 8:
        follow("0th", LONG[order].unpack(block[4:8])[0])
    for name, (parent, tag) in CHILDREN.items():
        if parent in tables:
            offset = pointer(tables[parent], order, tag)
            if offset:
                follow(name, offset)
    if "0th" in tables and tables["0th"].next:
        follow("1st", tables["0th"].next)
    return tables


def read_values(block, order, name, table, room):
    """{tag: value} of an IFD's known tags, spending at most room[0] bytes on values that stand outside it."""
    known, length, width_of = TAGS[name], len(block), WIDTH.get
    shift, pack_long, unpack_pair = SHORT_SHIFT[order], LONG[order].pack, PAIR[order][5].unpack
    values, left = {}, room[0]
    for tag, kind, count, field in table.entries:
        if tag not in known:
            continue
        if count == 1 and (kind == 3 or kind == 4):
            values[tag] = field >> shift & 0xFFFF if kind == 3 else field
            continue
        size = width_of(kind, 0) * count
        if size <= 4:
            if kind in WIDTH:
                values[tag] = decode(order, kind, count, pack_long(field)[:size])
            continue
        end = field + size
        if size > MAX_VALUE or end > length and (field >= length or kind not in TEXT):
            continue
        left -= size if end <= length else length - field
        if left < 0:
            continue
        raw = block[field:end]
        if kind == 5 and count == 1:
            values[tag] = unpack_pair(raw)
        elif kind == 7:
            values[tag] = raw
        else:
            values[tag] = decode(order, kind, count, raw)
    room[0] = left
    for tag in POINTERS[name]:
        if not isinstance(values.get(tag, 0), int):  # of a type that is none for a pointer
            values[tag] = pointer(table, order, tag)
    return values


def thumbnail(block, first):
    """The bytes that IFD1's JPEGInterchangeFormat fields name, as far as there are any, or None (EXIF 2.32, 4.5.5)."""
    start, size = map(first.get, THUMBNAIL)
    if isinstance(start, int) and isinstance(size, int):
        return block[start : start + size] if 0 <= start and 0 <= size else b""
    return None


def numbers(block, order, entry):
    """The whole numbers of an entry as a tuple; empty if it holds none or they are not in the block."""
    _, kind, count, field = entry
    if kind not in (1, 3, 4, 13) or WIDTH[kind] * count > len(block):
        return ()
    size = WIDTH[kind] * count
    value = decode(
        order,
        kind,
        count,
        LONG[order].pack(field)[:size] if size <= 4 else block[field : field + size],
    )
    return () if value is None else (value,) if count == 1 else value


def shared_offsets(block, order, tables):
    """{offset: [(IFD, index of entry)]} of Exif, GPS and Interop IFDs that more than one entry leads to."""
    leads = {}  # type: dict
    for name, table in tables.items():
        found = [index for index, entry in enumerate(table.entries) if entry[0] in LINK_TAGS]
        for index in found:
            offset = pointer(table, order, table.entries[index][0])
            leads.setdefault(offset, []).append((name, index))
    if len(leads) == sum(map(len, leads.values())):
        return {}
    known = {table.offset for table in tables.values()}
    return {offset: rows for offset, rows in leads.items() if len(rows) > 1 and offset in known}


def other_tables(block, order, tables):
    """IFDs beyond the five: what IFD1's next-IFD field and SubIFDs lead to, each once."""
    seen = {table.offset for table in tables.values()}
    todo = []
    for name in ("0th", "1st"):
        if name in tables:
            todo += _leads(block, order, tables[name], name == "1st")
    found, budget = [], MAX_OTHER_ENTRIES
    while todo and budget > 0:
        offset = todo.pop()
        table = None if offset in seen else read_table(block, order, offset)
        seen.add(offset)
        if table is not None:
            budget -= len(table.entries) + 1
            found.append(table)
            todo += _leads(block, order, table, True)
    return found


def _leads(block, order, table, chained):
    leads = [table.next] if chained and table.next else []
    for entry in table.entries:
        if entry[0] == SUB_IFDS:
            leads += numbers(block, order, entry)[:64]
    return leads
