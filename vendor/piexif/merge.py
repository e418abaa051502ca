"""Several Exif blocks of one image as one: programs have put one of their own beside the camera's.

One block stays as it is, with its MakerNote, and gets what the others have beside it.
"""

from .edit import KEEP, edited
from .tiff import DERIVED, LONG, NAMES, STRIP_TAGS, SUB_IFDS, THUMBNAIL
from .tiff import byte_order, numbers, read_tables
from .values import WIDTH, decode, encode

MAKER_NOTE = 0x927C
BOUND = STRIP_TAGS | {SUB_IFDS, MAKER_NOTE}  # tags whose values hold for their own block alone


def main_block(blocks):
    """The index of the block that stays: with a MakerNote, else the longest; None where none has an IFD0."""
    ranks = []
    for index, block in enumerate(blocks):
        tables = _tables(block)
        if "0th" in tables:
            entries = tables["Exif"].entries if "Exif" in tables else ()
            has_note = any(entry[0] == MAKER_NOTE for entry in entries)
            ranks.append((has_note, len(block), -index))
    return -max(ranks)[2] if ranks else None


def merged(blocks):
    """The main one of some TIFF blocks, in the order of their file, with the tags of the others that it has not; where
    several have a tag, and its value is not bound to its block, that of the first counts.
    """
    main = main_block(blocks)
    if main is None:
        return blocks[0]
    block, order, tables = blocks[main], byte_order(blocks[main]), _tables(blocks[main])
    changes, seen = {}, {}  # type: dict, dict
    picture = None
    for index, other in enumerate(blocks):
        for name, table in _tables(other).items():
            found = {} if index == main else _rows(other, table, order)
            if name == "1st":
                picture = picture or _picture(other, table) if "1st" not in tables else None
                found = found if picture and "1st" not in changes else {}
            known = seen.setdefault(name, set())
            new = {
                tag: row
                for tag, row in found.items()
                if tag not in known and tag not in DERIVED[name]
            }
            known.update(entry[0] for entry in table.entries)
            if new:
                changes.setdefault(name, {}).update(new)
    return edited(block, order, tables, changes, (), picture or KEEP)


def _tables(block):
    return {
        name: table
        for name, table in read_tables(block, byte_order(block)).items()
        if name in NAMES
    }


def _rows(block, table, order):
    """{tag: (type, count, bytes in another byte order)} of the values of an IFD that can be read."""
    mine, rows = byte_order(block), {}
    for tag, kind, count, field in table.entries:
        size = WIDTH.get(kind, 0) * count
        raw = LONG[mine].pack(field)[:size] if size <= 4 else block[field : field + size]
        if tag in BOUND or not size or len(raw) < size:
            continue
        rows[tag] = (kind, *encode(order, kind, decode(mine, kind, count, raw)))
    return rows


def _picture(block, table):
    """The thumbnail that an IFD1 leads to; None where there is none."""
    places = [
        numbers(block, byte_order(block), entry) for entry in table.entries if entry[0] in THUMBNAIL
    ]
    if len(places) != 2 or not all(places):
        return None
    (start, *_), (size, *_) = places
    return block[start : start + size] or None
