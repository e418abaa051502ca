"""Editing a TIFF block: what is not edited keeps its bytes and its place (TIFF 6.0, section 2; EXIF 2.32, 4.5 and 4.6).

A value that fits where it stood is written there.  IFD0 grows where it is if what lies behind it can move, because some
readers doubt a block whose IFD0 stands elsewhere.  Everything else goes to a room (rooms.py).  A MakerNote never moves:
it may hold offsets that count from the TIFF header.  What an edit replaces or deletes is cleared.
"""

import itertools
import operator
import struct

from .rooms import Rooms
from .survey import FIELD, TAG, Rows, Survey
from .tiff import CHILDREN, ENTRY, NAMES, THUMBNAIL, shared_offsets, table_span

EMPTY = b"MM\0*\0\0\0\x08" + bytes(6)  # header and an IFD0 without entries
KEEP = object()  # as a thumbnail: leave the one that is there


def edited(block, order, tables, changes, dropped=(), thumbnail=KEEP, tight=False):
    """The block with changes ({IFD: {tag: (type, count, bytes), or None to delete it}}), without the dropped IFDs.

    thumbnail is new bytes, None to take it out, or KEEP.  An IFD with changes that does not exist, or is dropped, is
    new.  tight: without growing, if it can be.
    """
    edit = _Edit(block, order, tables, changes, dropped, thumbnail)
    edit.settle()
    return edit.write(tight)


class _Edit(Rows):
    def __init__(self, block, order, tables, changes, dropped, thumbnail):
        self.block, self.survey = (
            block,
            Survey(block, order, tables, changes, dropped, thumbnail is not KEEP),
        )
        super().__init__(
            order, {name: table for name, table in tables.items() if name not in dropped}
        )
        self.links = {}  # IFD that moves: the row that leads to it
        self.more_links = {}  # IFD that moves: the rows of other IFDs that lead to it as well
        self.place = {}  # IFD: its new offset, None while it waits for one
        self.vacated = []  # where an IFD moves away; its bytes stay, because a MakerNote may have been misled to them
        self.following = {
            name: table.next for name, table in self.tables.items() if name in ("0th", "1st")
        }
        self.shared = self.survey.leads
        if dropped and self.shared:  # the survey counts those that IFDs lead to which are dropped
            self.shared = shared_offsets(block, order, self.tables)
        self.end = len(block)
        for name, table in self.tables.items():
            if table.miscounted:
                self.touch(name)
                self.resized.add(name)
        self.change(changes, dropped, thumbnail)

    def change(self, changes, dropped, thumbnail):
        """Apply the edit to rows."""
        for name, edits in changes.items():
            self.change_entries(name, edits)
        if thumbnail is None:
            self.change_entries("1st", dict.fromkeys(THUMBNAIL))
        elif thumbnail is not KEEP:
            self.put("1st", THUMBNAIL[1], len(thumbnail))
            self.waiting.append(("1st", self.put("1st", THUMBNAIL[0]), thumbnail))
        for name in dropped:
            if name == "1st" and name not in self.rows:
                self.following["0th"] = 0
                self.touch("0th")
                self.resized.add("0th")
            elif name == "Exif" and "Interop" in self.tables:
                self.put("Exif", CHILDREN["Interop"][1], self.tables["Interop"].offset)
            elif name in CHILDREN and name not in self.rows and CHILDREN[name][0] not in dropped:
                self.change_entries(CHILDREN[name][0], {CHILDREN[name][1]: None})

    def settle(self):
        """Decide of every IFD that is written whether it can stay; children first, as a parent may grow for them."""
        for name in ("Interop", "Exif", "GPS", "1st"):
            if name in self.rows and (
                name not in self.tables or name in self.resized and not self.stays(name)
            ):
                self.move(name)
            elif name in CHILDREN and (name in self.rows or name in self.patches):
                self.mend_pointer(name)
        if "0th" in self.resized and not self.stays("0th"):
            self.move("0th")

    def stays(self, name):
        """Whether a changed IFD can stay where it is; IFD0, and one that several lead to, have others make room."""
        if self.fits(name):
            return True
        table = self.tables[name]
        if name != "0th" and table.offset not in self.shared:
            return False
        start, stored = table.offset, len(table.entries)
        end = start + 6 + 12 * len(self.rows[name])
        return self.claim(start, start + 2 + 12 * stored, end)

    def fits(self, name):
        """Whether a changed IFD fits where it is."""
        table, survey = self.tables[name], self.survey
        start, end = table_span(self.block, table)
        survey.used.remove((start, end))
        stored_end, new_end = (
            start + 2 + 12 * len(table.entries),
            start + 6 + 12 * len(self.rows[name]),
        )
        if end < stored_end + 4 or survey.shared(end - 4, end):
            end = stored_end  # there is no next-IFD field, or a value stands in it
        if new_end > end or survey.shared(start, new_end):
            self.vacated.append((start, end))
            return False
        survey.used.append((start, new_end))
        survey.owned = [item for item in survey.owned if item[2:] != (name, None)] + [
            (start, new_end, name, None)
        ]
        survey.freed.append((new_end, end))
        return True

    def move(self, name):
        """Give an IFD a new place, and have what leads to it written."""
        self.place[name] = None
        self.touch(name)
        if name in CHILDREN:
            parent, tag = CHILDREN[name]
            self.links[name] = self.put(parent, tag)
            rows = self.shared.get(self.tables[name].offset, ()) if name in self.tables else ()
            rows = [row for row in rows if row[0] != parent and self.has_cell(*row)]
            self.more_links[name] = [self.cell(*row) for row in rows]
        elif name == "1st":
            self.touch("0th")
            self.resized.add("0th")

    def mend_pointer(self, name):
        """Have a pointer of the wrong type, which not every reader follows, written as LONG."""
        parent, tag = CHILDREN[name]
        entries = self.tables[parent].entries if parent in self.tables else ()
        if [
            1
            for number, kind, count, _ in entries
            if number == tag and (count != 1 or kind not in (4, 13))
        ]:
            self.put(parent, tag, self.tables[name].offset)

    def claim(self, table, start, end):
        """Let IFD0 grow over [start, end): move away what lies there, or return False and change nothing."""
        survey = self.survey
        inside = [
            item
            for item in survey.owned
            if item[0] < end and start < item[1] and not (item[2] in self.place and item[3] is None)
        ]
        if any(item[2] not in NAMES for item in inside):
            return False  # values of an IFD that is kept as it is
        met = [span for span in survey.used if span[0] < end and start < span[1]]
        if sorted(met) != sorted(item[:2] for item in inside) or survey.shared(table, start):
            return False
        left = bytearray(self.block[start:end])
        for begin, stop in [(start, start + 4)] + survey.freed + self.vacated + met:
            begin, stop = max(begin - start, 0), min(stop - start, len(left))
            if begin < stop:
                left[begin:stop] = bytes(stop - begin)
        if any(left):
            return False
        for begin, stop, name, index in inside:
            survey.used.remove((begin, stop))
            if index is None:
                self.move(name)
            else:
                self.waiting.append((name, self.cell(name, index), self.block[begin:stop]))
                survey.freed.append((begin, stop))
        survey.used.append((table, end))
        self.end = max(self.end, end)
        return True

    def write(self, tight):
        """Place what waits, and put everything together."""
        survey, placed, homeless = self.survey, [], []
        for name, row, raw in self.waiting:
            start, end = survey.slots.pop((name, row[TAG]), (1, 0))
            if end - start >= len(raw) and not start & 1 and not survey.shared(start, end):
                survey.used.append((start, start + len(raw)))
                placed.append((start, row, raw))
            else:
                homeless.append((NAMES.index(name), row[TAG], row, raw))
        rooms = Rooms(self.block, survey.used, survey.freed, self.end, tight)
        for name in NAMES:
            if name in self.place:
                self.place[name] = rooms.take(6 + 12 * len(self.rows[name]))
        homeless.sort(key=operator.itemgetter(0, 1))
        placed += [(rooms.take(len(raw)), row, raw) for _, _, row, raw in homeless]
        out = rooms.new_block()
        for start, row, raw in placed:
            out[start : start + len(raw)] = raw
            row[FIELD] = start
        self.write_tables(out)
        return bytes(out)

    def write_tables(self, out):
        """Write IFDs and entries, with the places of what has moved."""
        for name, row in self.links.items():
            for link in [row] + self.more_links.get(name, []):
                link[FIELD] = self.place[name]
        if "1st" in self.place:
            self.following["0th"] = self.place["1st"]
        if "0th" in self.place:
            out[4:8] = self.pack_long(self.place["0th"])
        for name, rows in self.rows.items():
            offset = self.place[name] if name in self.place else self.tables[name].offset
            flat = itertools.chain.from_iterable(rows)
            table = struct.pack(self.order + "H" + "HHLL" * len(rows), len(rows), *flat)
            if name in self.place or name in self.resized:
                table += self.pack_long(self.following.get(name, 0))
            out[offset : offset + len(table)] = table
        for name, patches in self.patches.items():
            for index, row in patches.items():
                ENTRY[self.order].pack_into(out, self.tables[name].offset + 2 + 12 * index, *row)
