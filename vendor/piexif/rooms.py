"""Room in a TIFF block for new bytes: found again, used again, given back.

A "room" is a stretch that only this package writes to.  It begins with twelve bytes that no IFD refers to: MAGIC, its
own offset, its length (big-endian).  Readers do not see it (TIFF 6.0, section 2: only what an IFD refers to counts);
the next edit knows that whatever in it is not referred to is free.  So repeated edits use the same room again.
"""

import struct

MAGIC = b"PxRm"
HEADER = struct.Struct(">4sLL")
SMALLEST = 64  # bytes; a shorter stretch that is freed outside of a room is cleared, and forgotten
PADDING = 1024  # bytes; so much of one byte that nothing refers to is room, less may be there to align something


def read_rooms(block, used):
    """The rooms that earlier edits marked, in order; only what nothing refers to can hold their headers."""
    rooms, last = [], 0
    for start, end in used + [(len(block), 0)]:
        at = block.find(MAGIC, last, start) if start - last >= HEADER.size else -1
        while at >= 0:
            _, offset, length = (
                HEADER.unpack_from(block, at) if at + HEADER.size <= start else (0, -1, 0)
            )
            if offset == at and HEADER.size <= length <= len(block) - at:
                rooms.append((at, at + length))
            at = block.find(MAGIC, at + 1, start)
        last = max(last, end)
    return rooms


def merged(spans):
    """The same stretches sorted, with those that touch or overlap joined."""
    result = []  # type: list
    last_start, last_end = 0, -1
    for start, end in sorted(spans):
        if start >= end:
            continue
        if start <= last_end:
            if end > last_end:
                last_end = end
                result[-1] = (last_start, end)
        else:
            last_start, last_end = start, end
            result.append((start, end))
    return result


def subtract(spans, holes):
    """What is left of stretches when others are taken out; both sorted and merged."""
    result, first = [], 0
    for start, end in spans:
        while first < len(holes) and holes[first][1] <= start:
            first += 1
        index = first
        while index < len(holes) and holes[index][0] < end:
            if holes[index][0] > start:
                result.append((start, holes[index][0]))
            start = holes[index][1]
            index += 1
        if start < end:
            result.append((start, end))
    return result


def even(offset):
    """The next even offset (TIFF 6.0, section 2: values begin on a word boundary)."""
    return offset + (offset & 1)


class Rooms:
    """Where new bytes go, given what is used and what an edit frees; end is the length of the block to write.

    tight says that the block must not grow: then zeros in the middle that nothing refers to are room as well.
    """

    def __init__(self, block, used, freed, end, tight):
        self.block, self.used, self.end = block, merged(used), end
        found = read_rooms(block, self.used)
        self.rooms = [[start, end if stop == len(block) else stop] for start, stop in found]
        heads = [(start, start + HEADER.size) for start, _ in found]
        taken = merged(self.used + heads) if heads else self.used
        self.free = subtract(merged(freed + found), taken)
        self._cut_tail()
        self.gaps = []
        for start, stop in self.free:
            self._open(start, stop)
        self.gaps += self._padding(merged(taken + list(map(tuple, self.rooms))), tight)
        self.rooms.sort()

    def _padding(self, taken, tight):
        """What cameras fill a block up with, and nothing refers to: one byte again and again, at the block's end."""
        size, gaps = min(self.end, len(self.block)), []
        ends_so = self.end == len(self.block) and not (self.rooms and self.rooms[-1][1] == size)
        for start, stop in subtract([(0, size)], taken):
            fill = self.block[start:stop]
            run = len(fill) - len(
                fill.rstrip(fill[-1:])
            )  # there may be a few bytes of something else before it
            if run >= PADDING and (stop == size and ends_so or tight and not fill[-1]):
                gaps.append([even(stop - run), stop])
        return gaps

    def _cut_tail(self):
        """Give back what is free at the block's end."""
        while True:
            if self.free and self.free[-1][1] >= self.end:
                self.end = self.free.pop()[0]
            elif self.rooms and self.rooms[-1][0] + HEADER.size == self.end:
                self.end = self.rooms.pop()[0]
            else:
                break
        for room in self.rooms:
            room[1] = min(room[1], self.end)

    def _open(self, start, stop):
        """Make a free stretch available: as part of the room it lies in, or as a new room if it is worth one."""
        for room in self.rooms:
            if room[0] <= start <= room[1]:
                room[1] = max(room[1], stop)
                self.gaps.append([even(start), stop])
                return
        start = even(start)
        if stop - start >= SMALLEST:
            self.rooms.append([start, stop])
            self.gaps.append([start + HEADER.size, stop])

    def take(self, size):
        """The offset of a free stretch of this many bytes: the first gap that holds it, else the end of the block."""
        for gap in self.gaps:
            if gap[1] - gap[0] >= size:
                offset = gap[0]
                gap[0] = even(offset + size)
                return offset
        if not self.rooms or self.rooms[-1][1] < self.end:
            start = self._clear_of_used(HEADER.size)
            self.rooms.append([start, start + HEADER.size])
            self.end = start + HEADER.size
        offset = self._clear_of_used(size)
        self.end = self.rooms[-1][1] = offset + size
        return offset

    def _clear_of_used(self, size):
        offset = even(self.end)
        if self.used[-1][1] > offset:
            for start, end in self.used:
                if start < offset + size and offset < end:
                    offset = even(end)
        return offset

    def new_block(self):
        """A copy of the block with its new length, free stretches cleared and rooms marked."""
        out = bytearray(self.block[: self.end])
        out += bytes(self.end - len(out))
        for start, stop in self.free:
            out[start:stop] = bytes(stop - start)
        for start, stop in self.rooms:
            HEADER.pack_into(out, start, MAGIC, start, stop - start)
        return out
