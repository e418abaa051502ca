"""What an edit meets in a TIFF block: the stretches (start, end) that IFDs refer to, and the entries that change."""

import operator

from .tags import TAGS
from .tiff import LINKS, LONG, POINTERS, STRIP_TAGS, STRIPS, SUB_IFDS, THUMBNAIL
from .tiff import numbers, other_tables, pointer, shared_offsets, table_span
from .values import WIDTH

REACH = 65527  # bytes; a reference beyond the block that ends behind what a segment holds is out of any edit's reach
ROOMY = 57344  # bytes; behind a picture that ends before this, a JPEG segment has room
NEVER_MOVED = {
    0x927C,
    0xC634,
    SUB_IFDS,
}  # MakerNote and DNGPrivateData: their offsets count from the TIFF header
PADDING = 0xEA1C  # Microsoft's: it is there to be moved
TAG, KIND, COUNT, FIELD = range(4)  # of a row, an entry to write
BY_TAG = operator.itemgetter(TAG)


class Survey:
    """Every stretch that an IFD refers to, given an edit: changes, dropped IFDs, whether the thumbnail is new."""

    def __init__(self, block, order, tables, changes, dropped, new_thumbnail):
        self.block, self.order = block, order
        self.used = [(0, 8)]  # stretches that stay as they are
        self.owned = []  # of these, what can move if IFD0 grows: (start, end, IFD, index of entry or None for all)
        self.freed = []  # type: list  # stretches whose content goes
        self.slots = {}  # (IFD, tag): where an edited value stood
        self.leads = shared_offsets(block, order, tables)
        growing = {tables["0th"].offset, *self.leads}
        self.near = [  # what an IFD that stays may grow over
            (table.offset, table_span(block, table)[1] + 12 * (len(changes.get(name, ())) + 2))
            for name, table in tables.items()
            if table.offset in growing
        ]
        for name, table in tables.items():
            gone = name in dropped
            span = table_span(block, table)
            (self.freed if gone else self.used).append(span)
            if name != "0th" and not gone:
                self.owned.append(span + (name, None))
            self._add_values(name, table, changes.get(name, ()), gone)
            self._add_dangling(table, [tag for child, tag in LINKS[name] if child not in tables])
            if name in ("0th", "1st"):
                renewed = gone or name == "1st" and new_thumbnail
                self._add_strips(
                    table, self.freed if gone else self.used, self.freed if renewed else self.used
                )
        for table in other_tables(block, order, tables):
            self.used.append(table_span(block, table))
            self._add_values("other", table, (), False)
            self._add_dangling(table, ())
            self._add_strips(table, self.used, self.used)

    def _add_values(self, name, table, changed, gone):
        links, width, known = POINTERS[name], WIDTH.get, TAGS.get(name, ())
        limit, used, near = len(self.block), self.used, self.near
        for index, (tag, kind, count, start) in enumerate(table.entries):
            size = width(kind, 0) * count
            if size <= 4 or tag in links:
                continue
            end = start + size
            if end > limit:
                used.append((start, end if end < REACH else max(limit, start)))
            elif gone or tag in changed:
                self.freed.append((start, end))
                self.slots[name, tag] = (start, end)
            else:
                used.append((start, end))
                if tag in NEVER_MOVED or kind in (1, 7) and tag not in known and tag != PADDING:
                    continue
                for low, high in near:
                    if low < start < high:
                        self.owned.append((start, end, name, index))
                        break

    def _add_dangling(self, table, links):
        """What the block grows to where an IFD is looked for, but none is, has to read as an empty IFD."""
        limit = len(self.block)
        if table.next >= limit:
            self.used.append((table.next, table.next + 6))
        for tag in links:
            offset = pointer(table, self.order, tag)
            if offset >= limit:
                self.used.append((offset, offset + 6))

    def _add_strips(self, table, strips, thumbnail):
        entries = {entry[0]: entry for entry in table.entries if entry[0] in STRIP_TAGS}
        for offsets, sizes in STRIPS if entries else ():
            if offsets in entries and sizes in entries:
                into = thumbnail if offsets == THUMBNAIL[0] else strips
                found = (numbers(self.block, self.order, entries[tag]) for tag in (offsets, sizes))
                into += [self._strip(start, start + size, into) for start, size in zip(*found)]

    def _strip(self, start, end, into):
        """The stretch of a picture; one that runs over the block's end, as a whole: it is to get no bytes of ours."""
        whole = into is self.used and end < ROOMY
        return (start, end if whole else min(end, len(self.block)))

    def shared(self, start, end):
        """Whether something that stays lies in this stretch."""
        for begin, stop in self.used:
            if begin < end and start < stop:
                return True
        return False


class Rows:
    """The entries to write: whole IFDs, or single entries where the others stay as they are."""

    def __init__(self, order, tables):
        self.order, self.tables = order, tables
        self.pack_long, self.unpack_long = LONG[order].pack, LONG[order].unpack
        self.cells = {}  # IFD: a row for each stored entry
        self.rows = {}  # IFD: the rows to write, all of them
        self.patches = {}  # IFD: {index of the entry: row} where no more than this is to be written
        self.resized = set()  # IFDs whose set of entries, or next-IFD field, changes
        self.waiting = []  # (IFD, row, bytes): values that need a place

    def touch(self, name):
        """The rows of an IFD that is to be written."""
        if name not in self.rows:
            self.cells[name] = (
                list(map(list, self.tables[name].entries)) if name in self.tables else []
            )
            for index, row in self.patches.pop(name, {}).items():
                self.cells[name][index] = row
            self.rows[name] = list(self.cells[name])
        return self.rows[name]

    def has_cell(self, name, index):
        """Whether a stored entry is still there to be written."""
        if name in self.rows:
            return index < len(self.cells[name])
        return name in self.tables

    def cell(self, name, index):
        """The row of one stored entry that is to be written."""
        if name in self.rows:
            return self.cells[name][index]
        return self.patches.setdefault(name, {}).setdefault(
            index, list(self.tables[name].entries[index])
        )

    def change_entries(self, name, edits):
        """Replace, add and delete entries of one IFD, and return the new rows by tag."""
        new = {}  # type: dict
        for tag, value in edits.items():
            if value is not None:
                kind, count, raw = value
                if len(raw) > 4:
                    new[tag] = [tag, kind, count, 0]
                    self.waiting.append((name, new[tag], raw))
                else:
                    new[tag] = [tag, kind, count, self.unpack_long(raw.ljust(4, b"\0"))[0]]
        if name in self.tables and name not in self.rows:
            entries = enumerate(self.tables[name].entries)
            found = {index: new[entry[TAG]] for index, entry in entries if entry[TAG] in new}
            if len(found) == len(new) == len(edits) == len({row[TAG] for row in found.values()}):
                self.patches.setdefault(name, {}).update(found)
                return new
        rows = self.touch(name)
        kept = [row for row in rows if row[TAG] not in edits]
        if (
            len(kept) + len(new) != len(rows)
            or {row[TAG] for row in rows}.intersection(edits) != new.keys()
        ):
            self.resized.add(name)
        rows[:] = sorted(kept + list(new.values()), key=BY_TAG)
        return new

    def put(self, name, tag, number=0):
        """Set an entry of type LONG, count 1, and return its row."""
        return self.change_entries(name, {tag: (4, 1, self.pack_long(number))})[tag]
