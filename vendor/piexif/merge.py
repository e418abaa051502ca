"""Several Exif blocks of one image as one: programs have put one of their own beside the camera's.

One block stays as it is, with its MakerNote, and gets what the others have beside it.
"""

from .edit import KEEP, edited
from .tiff import DERIVED, LONG, NAMES, STRIP_TAGS, SUB_IFDS, THUMBNAIL
from .tiff import byte_order, numbers, read_tables
from .values import ASCII, WIDTH, decode, encode

MAKER_NOTE, ORIENTATION = 0x927C, 0x0112
POSITION = (1, 2, 3, 4)  # of the GPS IFD: latitude and longitude with their letters
CAPTURED = (
    0x9003,
    0x9291,
    0x9011,
)  # of the Exif IFD: DateTimeOriginal, its fraction of a second and offset
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
    """The main one of some TIFF blocks, in the order of their file, with what the others have and it has not, or only
    empty; the orientation, the capture time, and a whole position with all beside it, count as the first block tells
    them.
    """
    main = main_block(blocks)
    if main is None:
        return blocks[0]
    block, order, tables = blocks[main], byte_order(blocks[main]), _tables(blocks[main])
    known = {name: _rows(block, table, order) for name, table in tables.items()}
    changes, picture = {}, None  # type: dict, bytes | None
    lacks_picture = "1st" not in tables or _picture(block, tables["1st"]) is None
    for index, other in enumerate(blocks):
        for name, table in _tables(other).items() if index != main else ():
            found = _rows(other, table, order)
            if name == "1st":
                picture = picture or (_picture(other, table) if lacks_picture else None)
                continue
            first = _first(name, found) if index < main else ()
            mine = known.setdefault(name, {})
            new = {
                tag: row
                for tag, row in found.items()
                if tag not in DERIVED[name]
                and not _is_empty(row)
                and (tag in first or tag not in mine or _is_empty(mine[tag]))
            }
            mine.update(new)
            if new:
                changes.setdefault(name, {}).update(new)
    return edited(block, order, tables, changes, (), picture or KEEP)


def _first(name, found):
    """The tags of an IFD that count where a block before the main one has them: programs put them there to be met."""
    if name == "0th":
        return (ORIENTATION,)
    if name == "Exif":
        return CAPTURED if CAPTURED[0] in found and not _is_empty(found[CAPTURED[0]]) else ()
    return tuple(found) if name == "GPS" and all(tag in found for tag in POSITION) else ()


def _is_empty(row):
    """Whether a value says nothing: blanks and zeros as text, rationals over 0."""
    kind, _, raw = row
    if kind == ASCII:
        return not raw.strip(b"\0 :0")
    return kind in (5, 10) and not any(raw[4:8])


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
    order = byte_order(block)
    places = {
        entry[0]: numbers(block, order, entry) for entry in table.entries if entry[0] in THUMBNAIL
    }
    starts, sizes = (places.get(tag) for tag in THUMBNAIL)
    if not starts or not sizes:
        return None
    return block[starts[0] : starts[0] + sizes[0]] or None
