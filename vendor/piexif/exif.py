"""The dict of load() and the bytes of dump(): five IFDs of plain values, and behind them the block they came from."""
from .edit import EMPTY, KEEP, edited
from .tags import TAGS
from .tiff import DERIVED, LONG, MAX_VALUE, NAMES, byte_order, read_tables, read_values, thumbnail
from .values import decode, encode_tag

HEADER = b"Exif\0\0"  # EXIF 2.32, 4.5.4
LIMIT = 65535 - 2 - len(HEADER)  # bytes of a TIFF block in one JPEG segment (ITU T.81, B.1.1.4)
EMPTY_TABLES = read_tables(EMPTY, ">")


class Origin:
    """What load() read: the block, its IFDs as stored, and the values that it gave out; it is never changed.

    block is None if there is none to edit (no Exif, or a TIFF image); limit is the room for a block in its container, or None.
    """

    __slots__ = ("block", "order", "tables", "values", "limit")

    def __init__(self, block, order, tables, limit):
        self.block, self.order, self.tables, self.limit = block, order, tables, limit
        self.values = {}

    def __deepcopy__(self, memo):
        return self


class Ifd(dict):
    """One IFD as {tag number: value}; a dict that remembers where it comes from."""

    __slots__ = ("origin",)


class ExifDict(dict):
    """What load() returns: {"0th", "Exif", "GPS", "Interop", "1st": {tag: value}, "thumbnail": bytes or None}."""

    __slots__ = ("origin",)

    def copy(self):
        """A shallow copy that remembers the block, too."""
        return _remember(ExifDict(self), self.origin)

    __copy__ = copy


def _remember(mapping, origin):
    mapping.origin = origin
    return mapping


def from_block(block, keep=True, limit=LIMIT):
    """The ExifDict of a TIFF block; keep says whether dump() shall edit this block.  block None: an empty one."""
    order = byte_order(block[:8]) if block is not None else None
    tables = read_tables(block, order) if order else {}
    origin = Origin(block if keep and "0th" in tables else None, order, tables, limit)
    result = ExifDict()
    result.origin = origin
    room = [min(4 * len(block), 4 * MAX_VALUE) if tables else 0]
    for name in NAMES:
        ifd = Ifd(read_values(block, order, name, tables[name], room)) if name in tables else Ifd()
        ifd.origin = origin
        result[name] = ifd
        origin.values[name] = dict(ifd)
    result["thumbnail"] = origin.values["thumbnail"] = thumbnail(block, result["1st"]) if tables else None
    return result


def with_names(exif):
    """The same with tag names instead of numbers, as a plain dict."""
    named = {name: {TAGS[name][tag]["name"]: value for tag, value in exif[name].items()} for name in NAMES}
    named["thumbnail"] = exif["thumbnail"]
    return named


def origin_of(exif):
    """Where a dict comes from: what it remembers, or what all IFDs of a shallow plain copy do; None for any other dict."""
    if isinstance(exif, ExifDict):
        return getattr(exif, "origin", None)
    origins = {id(exif[name].origin): exif[name].origin for name in NAMES if isinstance(exif.get(name), Ifd)}
    if len(origins) == 1 and isinstance(exif.get("0th"), Ifd) and all(name in exif for name in NAMES):
        return origins.popitem()[1]
    return None


def dump(exif_dict):
    """Exif bytes ("Exif", two NULs, a TIFF block) of a dict in load()'s form, which stays as it is (EXIF 2.32, 4.5.2, 4.6).

    A dict from load() gives its own block back, with only those values replaced that differ from what load() gave out; tags
    that load() does not show stay, unless their IFD is emptied.  Any other dict gives a new big-endian block.  Values: see
    values.py; str is written as UTF-8.  The thumbnail is None or bytes, which are not looked into.  If the block outgrows a
    JPEG segment (65,533 bytes), a thumbnail that fitted before is left out with a warning.  Raises ValueError for a value
    that its tag cannot hold, and for a thumbnail that is itself too large.
    """
    origin = origin_of(exif_dict)
    if origin is None or origin.block is None:
        return HEADER + _new_block(exif_dict)
    changes, dropped, picture = _difference(exif_dict, origin)
    if not changes and not dropped and picture is KEEP:
        return HEADER + origin.block
    block = edited(origin.block, origin.order, origin.tables, changes, dropped, picture)
    if origin.limit is not None and len(block) > origin.limit and exif_dict.get("thumbnail") is not None:
        _check_thumbnail(exif_dict["thumbnail"], picture is not KEEP)
        changes.pop("1st", None)
        smaller = edited(origin.block, origin.order, origin.tables, changes, set(dropped) | {"1st"})
        block = _without_thumbnail(block, smaller)
    return HEADER + block


def _check_thumbnail(picture, given):
    if given and len(picture) > LIMIT:
        raise ValueError("Given thumbnail is too large. max 64kB")


def _without_thumbnail(block, smaller):
    if len(smaller) > LIMIT:
        return block
    import warnings
    warnings.warn("thumbnail dropped: Exif of {} bytes is too large for a JPEG, max {}".format(len(block), LIMIT), stacklevel=3)
    return smaller


def _new_block(exif_dict):
    changes = {}
    for name in NAMES:
        ifd = exif_dict.get(name) or {}
        kinds = _stored_kinds(name, ifd)
        changes[name] = {tag: encode_tag(">", name, tag, value, *kinds.get(tag, ()))
                         for tag, value in ifd.items() if tag not in DERIVED[name]}
    changes = {name: tags for name, tags in changes.items() if tags}
    picture = exif_dict.get("thumbnail") if "1st" in exif_dict else None
    if picture is None:
        if 0x0201 in (exif_dict.get("1st") or {}):  # it had a thumbnail that was taken out
            changes.pop("1st", None)
        return edited(EMPTY, ">", EMPTY_TABLES, changes)
    block = edited(EMPTY, ">", EMPTY_TABLES, changes, (), bytes(picture))
    if len(block) > LIMIT:
        _check_thumbnail(picture, True)
        changes.pop("1st", None)
        return _without_thumbnail(block, edited(EMPTY, ">", EMPTY_TABLES, changes))
    return block


def _stored_kinds(name, ifd):
    """{tag: (type it was stored as, True)} of values that are as load() gave them out."""
    origin = getattr(ifd, "origin", None)
    if origin is None or name not in origin.tables:
        return {}
    given = origin.values[name]
    return {tag: (kind, True) for tag, kind, _, _ in origin.tables[name].entries if tag in ifd and ifd[tag] is given.get(tag)}


def _difference(exif_dict, origin):
    """(changes, dropped, thumbnail) as edited() wants them."""
    changes, dropped = {}, []
    for name in NAMES:
        new, old = exif_dict.get(name) or {}, origin.values[name]
        if new == old:
            continue
        if not new and not (name == "1st" and exif_dict.get("thumbnail") is not None and name in exif_dict):
            dropped.append(name)
            continue
        edits = _edits(name, new, old, origin)
        if edits:
            changes[name] = edits
    if "Exif" in dropped and not exif_dict.get("Interop"):
        dropped.append("Interop")
    return changes, dropped, _new_thumbnail(exif_dict, origin, dropped, changes)


def _edits(name, new, old, origin):
    derived, order = DERIVED[name], origin.order
    kinds = {entry[0]: entry[1] for entry in origin.tables[name].entries} if name in origin.tables else {}
    edits = {}
    for tag, value in new.items():
        if tag in old and old[tag] is value or tag in derived:
            continue
        edit = encode_tag(order, name, tag, value, kinds.get(tag))
        if tag not in old or decode(order, *edit) != old[tag]:
            edits[tag] = edit
    edits.update((tag, None) for tag in old if tag not in new and tag not in derived)
    return edits


def _new_thumbnail(exif_dict, origin, dropped, changes):
    old = origin.values["thumbnail"]
    picture = exif_dict.get("thumbnail") if "1st" in exif_dict else None
    if picture is None and old is not None:
        changes.pop("1st", None)
        if "1st" not in dropped:
            dropped.append("1st")
        return KEEP
    if picture is not None and picture != old:
        return bytes(picture)
    return KEEP
