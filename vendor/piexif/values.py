"""Values: a field's bytes to Python and back, by one table of types (TIFF 6.0, section 2, "Types").

A field of one number is an int or a float, of several a tuple; a rational is a pair (numerator, denominator); text is
bytes without its closing NUL; undefined is bytes.  Numbers outside a type's range are refused, never cut.
"""

import struct

from .tags import ALLOWED

ASCII, UNDEFINED, UTF8 = TEXT = 2, 7, 129

# type: bytes of one, struct code of one number, numbers in one.
# 13 is the IFD of TIFF technical note 1, 129 the UTF-8 of EXIF 3.0.
KINDS = {
    1: (1, "B", 1),
    2: (1, "", 1),
    3: (2, "H", 1),
    4: (4, "L", 1),
    5: (8, "L", 2),
    6: (1, "b", 1),
    7: (1, "", 1),
    8: (2, "h", 1),
    9: (4, "l", 1),
    10: (8, "l", 2),
    11: (4, "f", 1),
    12: (8, "d", 1),
    13: (4, "L", 1),
    129: (1, "", 1),
}
WIDTH = {kind: row[0] for kind, row in KINDS.items()}
FAMILY = {5: "rational", 10: "rational", 11: "float", 12: "float"}
FAMILY.update({kind: "whole" for kind, row in KINDS.items() if row[1] and kind not in FAMILY})
PAIR = {
    order: {
        kind: struct.Struct(order + 2 * code) for kind, (_, code, per) in KINDS.items() if per == 2
    }
    for order in "<>"
}


class Stored:
    """A value with the type that it is to be written as, whatever its tag usually has."""

    __slots__ = ("kind", "value")

    def __init__(self, kind, value):
        self.kind, self.value = kind, value


def decode(order, kind, count, raw):
    """The Python value of a field's bytes, or None if there are fewer bytes than its count needs.

    order is "<" or ">" (TIFF 6.0, section 2); text and undefined bytes that are cut short come back as far as they go.
    """
    if kind in TEXT:
        return raw[:-1] if kind != UNDEFINED and raw[-1:] == b"\0" and len(raw) == count else raw
    width, code, per = KINDS[kind]
    if len(raw) != width * count:
        return None
    if per == 2:
        pair = PAIR[order][kind]
        return pair.unpack(raw) if count == 1 else tuple(pair.iter_unpack(raw))
    numbers = struct.unpack(f"{order}{count}{code}", raw)
    return numbers[0] if count == 1 else numbers


def encode(order, kind, value):
    """(count, bytes) of a value written as this type; TypeError, ValueError, OverflowError, struct.error if it is none.

    str becomes UTF-8 (ASCII text is the same in both; EXIF 2.32, 4.6.2, type 2), and text gets its closing NUL.
    """
    _, code, per = KINDS[kind]
    if not code:
        if isinstance(value, str) and kind != UNDEFINED:
            value = value.encode("utf-8")
        if not isinstance(value, (bytes, bytearray)):
            raise TypeError("bytes wanted")
        raw = bytes(value) if kind == UNDEFINED else bytes(value) + b"\0"
        return len(raw), raw
    if isinstance(value, str) or isinstance(value, (bytes, bytearray)) and kind != 1:
        raise TypeError("numbers wanted")
    if per == 2:
        if (
            isinstance(value, (tuple, list))
            and len(value) == 2
            and not hasattr(value[0], "__iter__")
        ):
            return 1, PAIR[order][kind].pack(*value)
        numbers = tuple(
            part for numerator, denominator in value for part in (numerator, denominator)
        )
    else:
        numbers = tuple(value) if hasattr(value, "__iter__") else (value,)
    raw = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
    return len(numbers) // per, raw


def encode_tag(order, ifd, tag, value, stored=None, untouched=False):
    """(type, count, bytes) of a tag's value: the stored type if that is of its family and holds it, else the table's.

    An untouched value, as load() gave it out, is written as its stored type, whatever that is, and a Stored one as the
    type that it names.  Raises ValueError, worded as in the published package, if nothing fits.
    """
    allowed = ALLOWED[ifd].get(tag, ())
    if isinstance(value, Stored):
        allowed, stored, untouched, value = (value.kind,), None, False, value.value
    if isinstance(value, (bytes, str)) and ASCII in allowed:
        if isinstance(value, bytes) and not untouched:
            return ASCII, len(value) + 1, value + b"\0"
        allowed = (ASCII,)
    if untouched or allowed and FAMILY.get(stored) and FAMILY[stored] == FAMILY.get(allowed[0]):
        allowed = (stored,) + allowed
    for kind in allowed:
        try:
            return (kind,) + encode(order, kind, value)
        except (KeyError, TypeError, ValueError, OverflowError, struct.error):
            continue
    raise ValueError(
        f'"dump" got wrong type of exif value.\n{tag} in {ifd} IFD. Got as {type(value)}.'
    )
