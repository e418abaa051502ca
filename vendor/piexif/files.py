"""Images in and out: only heads are read, the rest is streamed, and a file is replaced whole or not at all."""

import io
import os

from . import exif, jpeg, webp
from .errors import InvalidImageDataError
from .merge import merged
from .tiff import byte_order

CHUNK = 1 << 20  # bytes copied at a time


class _File:
    """An open file that gives bytes for a slice, as bytes do, so that only what is asked for is read."""

    def __init__(self, file):
        self.file = file
        self.size = self.file.seek(0, 2)

    def __len__(self):
        return self.size

    def __getitem__(self, stretch):
        start, stop, _ = stretch.indices(self.size)
        self.file.seek(start)
        piece = self.file.read(max(stop - start, 0))
        if len(piece) < stop - start:
            raise OSError("the file became shorter while it was read")
        return piece


class _Begun(_File):
    """An open file whose begin is at hand."""

    def __init__(self, head, file):
        super().__init__(file)
        self.head = head

    def __getitem__(self, stretch):
        if stretch.stop is not None and stretch.stop <= len(self.head):
            return self.head[stretch]
        return super().__getitem__(stretch)


def _source(image):
    """Image bytes as they are, or the opened file of a path; bytes are never a path."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, (str, os.PathLike)):
        return _File(open(image, "rb"))
    raise InvalidImageDataError("Given file is neither JPEG nor TIFF.")


def _close(source):
    if isinstance(source, _File):
        source.file.close()


def _kind(source):
    """ "jpeg", "webp", "tiff", "exif" (only as bytes) or None, by the first bytes."""
    lead = source[:12]
    if lead[:2] == b"\xff\xd8":
        return "jpeg"
    if lead[:4] == b"RIFF" and lead[8:] == b"WEBP":
        return "webp"
    if byte_order(lead[:4]):
        return "tiff"
    return "exif" if lead[:5] == b"Exif\0" and isinstance(source, bytes) else None


def load(input_data, key_is_name=False):
    """The Exif of a JPEG, TIFF or WebP (path or bytes), or of Exif bytes, as an exif.ExifDict.

    Keys are "0th", "Exif", "GPS", "Interop", "1st" (each {tag number: value}, or {tag name: value} if key_is_name) and
    "thumbnail" (bytes, or None).  Values: see values.py.  Only the head of a JPEG and the IFDs of a TIFF are read.
    Damaged parts are left out.  Raises InvalidImageDataError (a ValueError) for anything else than an image, OSError
    for a file that cannot be read, ValueError for a WebP in the simple format.  (EXIF 2.32, 4.5; TIFF 6.0, section 2.)
    """
    source = _source(input_data)
    try:
        kind = _kind(source)
        if kind not in LOADERS:
            raise InvalidImageDataError("Given file is neither JPEG nor TIFF.")
        loaded = LOADERS[kind](source)
    finally:
        _close(source)
    return exif.with_names(loaded) if key_is_name else loaded


def _load_jpeg(image):
    """The Exif of a JPEG; of several what they hold together, as insert() leaves but one."""
    head = jpeg.read_head(image)
    several = head.readable()
    found = several or head.blocks()
    block = found[0][1][6:] if found else None
    if len(several) > 1:
        block = merged([payload[6:] for _, payload in several])
    loaded = exif.from_block(block)
    loaded.head = head
    return loaded


def _load_tiff(image):
    """A TIFF image is only read; a bare Exif block given as bytes can be edited."""
    loaded = exif.from_block(image, keep=False)
    is_image = 0x0111 in loaded["0th"] or 0x0144 in loaded["0th"]
    return (
        exif.from_block(image)
        if isinstance(image, bytes) and len(image) <= exif.LIMIT and not is_image
        else loaded
    )


LOADERS = {
    "jpeg": _load_jpeg,
    "tiff": _load_tiff,
    "webp": lambda image: exif.from_block(webp.read_exif(image), limit=None),
    "exif": lambda block: exif.from_block(block[6:]),
}


def insert(exif_bytes, image, new_file=None):
    """Put Exif bytes, as dump() gives them, into a JPEG or WebP, in the place of its own Exif; nothing is merged.

    image is a path or bytes; new_file a path or BytesIO, None for the image's own path.  Files are written to a
    temporary file beside the target, flushed to disk and renamed; the target keeps its permissions and, where allowed,
    its owner, and gets a new modification time.  A file that already is as asked is not touched.  Raises ValueError for
    bytes that are no Exif, are too large for a JPEG segment (65,533 bytes), or are no image; OSError.  (EXIF 2.32,
    4.5.4; ITU T.81, B.1.1.)
    """
    if bytes(exif_bytes[:6]) != exif.HEADER:
        raise ValueError("Given data is not exif data")
    _rewrite(image, new_file, bytes(exif_bytes), "Give a 3rd argument to 'insert' to output file")


def insertion(exif_bytes, head, file, more=(), loaded=None):
    """What insert() would change in a JPEG, open as a binary file: [(start, end, bytes)], all before the scan; with
    exif_bytes None what remove() would.

    Each is a stretch of the file and what takes its place.  head is the begin of the file, at least up to the
    scan; more are other such changes, which become part of the plan.  loaded is what load() gave for this head, None if
    that is not at hand.  Raises ValueError as insert() does, OSError.
    """
    if exif_bytes is not None and bytes(exif_bytes[:6]) != exif.HEADER:
        raise ValueError("Given data is not exif data")
    payload = exif_bytes and bytes(exif_bytes)
    known = getattr(loaded, "head", None)
    return jpeg.plan(_Begun(head, file), payload, add_empty=False, more=more, head=known)


def remove(src, new_file=None):
    """Take the Exif out of a JPEG or WebP; arguments, files and errors as with insert().  (EXIF 2.32, 4.5.4.)"""
    _rewrite(src, new_file, None, "Give a second argument to 'remove' to output file")


def transplant(exif_src, image, new_file=None):
    """Put the Exif of one JPEG, byte for byte, into another; arguments, files and errors as with insert().

    Raises ValueError if the source has no Exif.  (EXIF 2.32, 4.5.4.)
    """
    source = _source(exif_src)
    try:
        if _kind(source) != "jpeg":
            raise InvalidImageDataError("Given data isn't JPEG.")
        found = jpeg.read_head(source).block()
    finally:
        _close(source)
    if found is None:
        raise ValueError("not found exif in input")
    _rewrite(
        image, new_file, found[1], "Give a 3rd argument to 'transplant' to output file", exact=True
    )


def _rewrite(image, new_file, payload, no_target, exact=False):
    source = _source(image)
    try:
        kind = _kind(source)
        if kind == "jpeg":
            plan = jpeg.plan(source, payload, add_empty=exact)
        elif kind == "webp" and not exact:
            plan = webp.plan(source, payload and payload[6:])
        else:
            raise InvalidImageDataError("Given data isn't JPEG.")
        if isinstance(new_file, io.BytesIO):
            _copy(source, plan, new_file)
            new_file.seek(0)
            return
        target = new_file or (image if isinstance(source, _File) else None)
        if not target or not isinstance(target, (str, os.PathLike)):
            raise ValueError(no_target)
        target = os.path.realpath(target)
        if (
            not plan
            and isinstance(source, _File)
            and os.path.exists(target)
            and os.path.samefile(image, target)
        ):
            return
        _write_file(source, plan, target)
    finally:
        _close(source)


def _copy(source, plan, out):
    """Write the image with the plan's edits."""
    at, source = 0, memoryview(source) if isinstance(source, bytes) else source
    for start, end, new in plan + [(len(source), 0, b"")]:
        for place in range(at, start, CHUNK):
            out.write(source[place : min(place + CHUNK, start)])
        out.write(new)
        at = end


def _write_file(source, plan, target):
    """A complete copy under a temporary name in the target's folder, flushed to disk, then renamed to the target."""
    part = os.path.join(os.path.dirname(target), f".mapillary-{os.urandom(8).hex()}.part")
    try:
        with open(part, "xb") as out:
            _copy(source, plan, out)
            out.flush()
            os.fsync(out.fileno())
        _close(source)  # Windows replaces no file that is open
        if os.path.exists(target):
            _keep_owner_and_permissions(target, part)
        os.replace(part, target)
    except BaseException:
        _unlink(part)
        raise


def _keep_owner_and_permissions(target, part):
    before, now = os.stat(target), os.stat(part)
    if hasattr(os, "chown") and (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        try:
            os.chown(part, before.st_uid, before.st_gid)
        except OSError:
            pass  # only the owner, or root, may give files away
    # elsewhere there is only a mark, read-only, with which nothing is replaced
    if os.name == "posix":
        os.chmod(part, before.st_mode & 0o7777)


def _unlink(path):
    try:
        os.unlink(path)
    except OSError:
        pass
