"""The dict of load() and the bytes of dump(): five IFDs of plain values, and behind them the block they came from."""

from .edit import EMPTY, KEEP, edited
from .merge import MAKER_NOTE
from .tags import ALLOWED, TAGS
from .tiff import (
    DERIVED,
    MAX_VALUE,
    NAMES,
    THUMBNAIL,
    byte_order,
    read_tables,
    read_values,
    thumbnail,
)
from .values import WIDTH, Stored, decode, encode_tag

HEADER = b"Exif\0\0"  # EXIF 2.32, 4.5.4
LIMIT = 65535 - 2 - len(HEADER)  # bytes of a TIFF block in one JPEG segment (ITU T.81, B.1.1.4)
EMPTY_TABLES = read_tables(EMPTY, ">")


class Origin:
    """What load() read and gave out; it is never changed.

    block is the TIFF block, None if there is none to keep (no Exif, or a TIFF image); tables its IFDs as stored, empty
    if it cannot be read; values what load() gave out; limit how long a block its container takes, None for any length.
    """

    __slots__ = ("block", "limit", "order", "tables", "values")

    def __init__(self, block, order, tables, limit):
        self.block, self.order, self.tables, self.limit = block, order, tables, limit
        self.values = {}

    def __deepcopy__(self, memo):
        return self


class Ifd(dict):
    """One IFD as {tag number: value}; a dict that remembers where it comes from."""

    __slots__ = ("origin",)


class ExifDict(dict):
    """What load() returns: {"0th", "Exif", "GPS", "Interop", "1st": {tag: value}, "thumbnail": bytes or None}.

    head is the jpeg.Head that it stood in, if it is set.
    """

    __slots__ = ("head", "origin")

    def copy(self):
        """A shallow copy that remembers the block, too."""
        return _remembering(ExifDict(self), origin_of(self))


def _remembering(mapping, origin):
    mapping.origin = origin
    return mapping


def from_block(block, keep=True, limit=LIMIT):
    """The ExifDict of a TIFF block; keep says whether dump() shall edit this block.  block None: an empty one."""
    order = None if block is None else byte_order(block[:8])
    tables = read_tables(block, order) if order else {}
    origin = Origin(block if keep else None, order or ">", tables, limit)
    result = _remembering(ExifDict(), origin)
    room = [min(4 * len(block), 4 * MAX_VALUE) if tables else 0]
    for name in NAMES:
        values = read_values(block, order, name, tables[name], room) if name in tables else {}
        origin.values[name] = values
        result[name] = _remembering(Ifd(values), origin)
    result["thumbnail"] = origin.values["thumbnail"] = (
        thumbnail(block, result["1st"]) if tables else None
    )
    return result


def with_names(exif):
    """The same with tag names instead of numbers, as a plain dict."""
    named = {
        name: {TAGS[name][tag]["name"]: value for tag, value in exif[name].items()}
        for name in NAMES
    }
    named["thumbnail"] = exif.get("thumbnail")
    return named


def origin_of(exif):
    """Where a dict comes from: what it remembers, or what all IFDs of a plain copy do; None for any other dict."""
    if isinstance(exif, ExifDict):
        return getattr(exif, "origin", None)
    origins = {
        id(exif[name].origin): exif[name].origin
        for name in NAMES
        if isinstance(exif.get(name), Ifd)
    }
    if (
        len(origins) == 1
        and isinstance(exif.get("0th"), Ifd)
        and all(name in exif for name in NAMES)
    ):
        return origins.popitem()[1]
    return None


_UNREADABLE = "the Exif block cannot be read: nothing of it would be kept"


def is_unreadable(exif_dict):
    """Whether the block of a dict from load() holds something, and its header leads to no IFD0, or to what is none."""
    origin = origin_of(exif_dict)
    if origin is None or not any((origin.block or b"")[8:]):
        return False
    entries = origin.tables["0th"].entries if "0th" in origin.tables else None
    return entries is None or bool(entries) and not any(kind in WIDTH for _, kind, _, _ in entries)


def has_repeats(exif_dict):
    """Whether the block of a dict from load() has a tag twice in an IFD: readers differ on which of them counts."""
    origin = origin_of(exif_dict)
    for table in origin.tables.values() if origin is not None else ():
        if len({row[0] for row in table.entries}) < len(table.entries):
            return True
    return False


def is_bound(exif_dict):
    """Whether a dict from load() has a MakerNote behind its block: what the edit adds has to fit in."""
    origin = origin_of(exif_dict)
    return bool(
        origin is not None and origin.block and _has_note_behind(origin.block, origin.tables)
    )


def _has_note_behind(block, tables):
    """Whether a MakerNote stands behind all of the block (Leica): it stays right only if nothing grows or shrinks."""
    entries = tables["Exif"].entries if "Exif" in tables else ()
    return any(
        tag == MAKER_NOTE and kind == 7 and count > 4 and start >= len(block)
        for tag, kind, count, start in entries
    )


def stored_types(exif_dict, tags):
    """{IFD: {tag: type}} of those of some tags, {IFD: (tag, ...)}, of a dict from load() that are stored in another
    type (TIFF 6.0, section 2) than dump() gives a new value; Stored(type, value) is written as that.
    """
    origin, found = origin_of(exif_dict), {}
    for name in tags if origin is not None else ():
        entries = origin.tables[name].entries if name in origin.tables else ()
        usual = ALLOWED[name]
        odd = {
            tag: kind
            for tag, kind, _, _ in entries
            if tag in tags[name] and kind in WIDTH and kind != usual.get(tag, (kind,))[0]
        }
        if odd:
            found[name] = odd
    return found


def dump(exif_dict, say=None):
    """Exif bytes ("Exif", two NULs, a TIFF block) of a dict in load()'s form, which stays as it is (EXIF 2.32, 4.5).

    A dict from load() gives its own block back, with only those values replaced that differ from what load() gave out;
    tags that load() does not show stay, unless their IFD is emptied.  Any other dict gives a new big-endian block.
    Values: see values.py; str is written as UTF-8.  The thumbnail is None or bytes, which are not looked into.  If the
    block outgrows a JPEG segment (65,533 bytes), a thumbnail that fitted before is left out with a warning.  Raises
    ValueError for a value that its tag cannot hold, for a thumbnail that is itself too large, and for a block that
    cannot be read, since the edit would leave nothing of it (is_unreadable).  say is told what else had to be done,
    such as leaving the thumbnail out; None = it becomes a Python warning.
    """
    say = _warn if say is None else say
    origin = origin_of(exif_dict)
    if origin is None or origin.block is None:
        return HEADER + _new_block(exif_dict, say)
    changes, dropped, picture = _difference(exif_dict, origin)
    if not changes and not dropped and picture is KEEP:
        return HEADER + origin.block
    if is_unreadable(exif_dict):
        raise ValueError(_UNREADABLE)
    if not origin.tables:
        return HEADER + _new_block(exif_dict, say)
    return HEADER + _fitting(
        origin.block, origin.order, origin.tables, changes, dropped, picture, origin.limit, say
    )


def dump_edited(exif_dict, edits, say=None, picture=None):
    """dump() of a dict as load() gave it, with some values replaced; None if that changes nothing.

    edits is {IFD: {tag: value, or None to take it out}}; picture is bytes that become the thumbnail, None = it stays.
    exif_dict stays as it is.  Raises ValueError as dump() does.
    """
    origin = origin_of(exif_dict)
    changes = None
    if picture is None and origin is not None and origin.block is not None and origin.tables:
        changes = _changes(edits, origin)
    if changes is None:
        return _dump_changed(exif_dict, edits, say, picture)
    if not changes:
        return None
    if is_unreadable(exif_dict):
        raise ValueError(_UNREADABLE)
    block, order, tables, limit = origin.block, origin.order, origin.tables, origin.limit
    say = _warn if say is None else say
    return HEADER + _fitting(block, order, tables, changes, [], KEEP, limit, say)


def _changes(edits, origin):
    """What edited() is to change; None if an IFD would be emptied, which takes more."""
    changes = {}
    for name, tags in edits.items():
        old = origin.values[name]
        gone = [tag for tag, value in tags.items() if value is None and tag in old]
        new = {
            tag: value
            for tag, value in tags.items()
            if value is not None and not (tag in old and old[tag] == value)
        }
        if gone and len(gone) == len(old) and not new:
            return None
        found = _encoded(name, new, old, origin) if new else {}
        found.update(dict.fromkeys(gone))
        if found:
            changes[name] = found
    return changes


def _dump_changed(exif_dict, edits, say, picture):
    """dump_edited() by way of a dict that has the edits."""
    new = exif_dict.copy()
    for name, tags in edits.items():
        ifd = {**(exif_dict.get(name) or {}), **tags}
        new[name] = {tag: value for tag, value in ifd.items() if value is not None}
    if picture is not None:
        new["thumbnail"] = picture
    elif all(new[name] == (exif_dict.get(name) or {}) for name in edits):
        return None
    return dump(new, say)


def _warn(text):
    import warnings

    warnings.warn(text, stacklevel=4)


def _fitting(block, order, tables, changes, dropped, picture, limit, say):
    """The edited block; without its thumbnail, and a warning, if only so it is short enough."""
    bound = _has_note_behind(block, tables)
    full = edited(block, order, tables, changes, dropped, picture, tight=bound)
    if bound:
        full = full.ljust(len(block), b"\0")
    if limit is None or len(full) <= limit:
        return full
    full = edited(block, order, tables, changes, dropped, picture, tight=True)
    if len(full) <= limit or picture is KEEP and ("1st" not in tables or "1st" in dropped):
        return full
    if picture is not KEEP and len(picture) > limit:
        raise ValueError("Given thumbnail is too large. max 64kB")
    changes = {name: edits for name, edits in changes.items() if name != "1st"}
    smaller = edited(block, order, tables, changes, set(dropped) | {"1st"}, tight=True)
    if len(smaller) > limit:
        return full
    size, most = len(full) + len(HEADER), limit + len(HEADER)
    say(f"thumbnail dropped: Exif of {size} bytes is too large for a JPEG, max {most}")
    return smaller


def _new_block(exif_dict, say):
    changes = {}
    for name in NAMES:
        ifd = exif_dict.get(name) or {}
        kinds = _stored_kinds(name, ifd)
        edits = {
            tag: encode_tag(">", name, tag, value, *kinds.get(tag, ()))
            for tag, value in ifd.items()
            if tag not in DERIVED[name]
        }
        if edits:
            changes[name] = edits
    picture = _picture(exif_dict)
    if picture is None and THUMBNAIL[0] in (
        exif_dict.get("1st") or ()
    ):  # it had a thumbnail that was taken out
        changes.pop("1st", None)
    return _fitting(
        EMPTY, ">", EMPTY_TABLES, changes, (), KEEP if picture is None else picture, LIMIT, say
    )


def _stored_kinds(name, ifd):
    """{tag: (type it was stored as, True)} of values that are as load() gave them out."""
    origin = getattr(ifd, "origin", None)
    if origin is None or name not in origin.tables:
        return {}
    given = origin.values[name]
    entries = origin.tables[name].entries
    return {
        tag: (kind, True)
        for tag, kind, _, _ in entries
        if tag in ifd and ifd[tag] is given.get(tag)
    }


def _difference(exif_dict, origin):
    """(changes, dropped, thumbnail) as edited() wants them."""
    changes, dropped = {}, []
    for name in NAMES:
        new, old = exif_dict.get(name) or {}, origin.values[name]
        if new == old:
            continue
        if new or name == "1st" and name in exif_dict and exif_dict.get("thumbnail") is not None:
            changes[name] = _edits(name, new, old, origin)
        elif name == "0th":  # emptied, but it leads to the other IFDs
            changes[name] = dict.fromkeys(
                {entry[0] for entry in origin.tables[name].entries}.difference(DERIVED[name])
            )
        else:
            dropped.append(name)
    if "Exif" in dropped and not exif_dict.get("Interop"):
        dropped.append("Interop")
    changes = {name: edits for name, edits in changes.items() if edits}
    return changes, dropped, _new_thumbnail(exif_dict, origin, dropped, changes)


def _edits(name, new, old, origin):
    derived = DERIVED[name]
    edits = {
        tag: value
        for tag, value in new.items()
        if not (tag in old and (old[tag] is value or old[tag] == value) or tag in derived)
    }
    found = _encoded(name, edits, old, origin)
    found.update(dict.fromkeys((old.keys() - new.keys()).difference(derived)))
    return found


def _encoded(name, edits, old, origin):
    """{tag: (type, count, bytes)} of values, but for those that are stored as they would be."""
    order = origin.order
    entries = origin.tables[name].entries if name in origin.tables else ()
    kinds = {entry[0]: entry[1] for entry in entries}
    found = {}
    for tag, value in edits.items():
        row = encode_tag(order, name, tag, value, kinds.get(tag))
        # str for bytes, list for tuple
        same = tag in old and type(value) is not type(old[tag]) and decode(order, *row) == old[tag]
        same = same and not (isinstance(value, Stored) and kinds.get(tag) != row[0])
        if not same:
            found[tag] = row
    return found


def _picture(exif_dict):
    """The thumbnail to write as bytes, or None."""
    picture = exif_dict.get("thumbnail") if "1st" in exif_dict else None
    if picture is not None and not isinstance(picture, (bytes, bytearray)):
        raise ValueError(f"Given thumbnail is {type(picture)}, not bytes or None")
    return None if picture is None else bytes(picture)


def _new_thumbnail(exif_dict, origin, dropped, changes):
    old, new = origin.values["thumbnail"], _picture(exif_dict)
    if new == old:
        return KEEP
    if new is not None:
        return new
    changes.pop("1st", None)
    dropped.append("1st")
    return KEEP
