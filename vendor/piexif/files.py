"""Images in and out: paths, bytes and BytesIO; only heads are read, the rest is streamed, and files are replaced whole or not at all."""
import io
import os

from . import exif, jpeg, webp
from .errors import InvalidImageDataError
from .tiff import byte_order

CHUNK = 1 << 20  # bytes copied at a time


class _TiffFile:
    """A TIFF file that gives bytes for a slice, so that only its IFDs and their values are read."""

    def __init__(self, file, size):
        self.file, self.size = file, size

    def __len__(self):
        return self.size

    def __getitem__(self, stretch):
        start, stop, _ = stretch.indices(self.size)
        self.file.seek(start)
        return self.file.read(max(stop - start, 0))


def _open(image):
    """A readable, seekable file for image bytes or a path; bytes are never a path."""
    if isinstance(image, (bytes, bytearray, memoryview)):
        return io.BytesIO(image)
    if isinstance(image, (str, os.PathLike)):
        return open(image, "rb")
    raise InvalidImageDataError("Given file is neither JPEG nor TIFF.")


def _kind(file):
    """"jpeg", "webp", "tiff", "exif" or None, by the first bytes, and the size in bytes."""
    lead = file.read(12)
    size = file.seek(0, 2)
    if lead[:2] == b"\xff\xd8":
        return "jpeg", size
    if lead[:4] == b"RIFF" and lead[8:12] == b"WEBP":
        return "webp", size
    if byte_order(lead[:4]):
        return "tiff", size
    return ("exif" if lead[:5] == b"Exif\0" else None), size


def load(input_data, key_is_name=False):
    """The Exif of a JPEG, TIFF or WebP (path or bytes), or of Exif bytes, as an exif.ExifDict.

    Keys are "0th", "Exif", "GPS", "Interop", "1st" (each {tag number: value}, or {tag name: value} if key_is_name) and
    "thumbnail" (bytes, or None).  Values: see values.py.  Only the head of a JPEG and the IFDs of a TIFF are read.  Damaged
    parts are left out.  Raises InvalidImageDataError (a ValueError) for anything else than an image, OSError for a file that
    cannot be read, ValueError for a WebP in the simple format.  (EXIF 2.32, 4.5; TIFF 6.0, section 2.)
    """
    with _open(input_data) as file:
        kind, size = _kind(file)
        if kind == "jpeg":
            found = jpeg.read_head(file, size).block()
            loaded = exif.from_block(found and found[1][6:])
        elif kind == "webp":
            loaded = exif.from_block(webp.read_exif(file, size), limit=None)
        elif kind == "tiff":
            loaded = _load_tiff(file, size)
        elif kind == "exif" and isinstance(file, io.BytesIO):
            loaded = exif.from_block(file.getvalue()[6:])
        else:
            raise InvalidImageDataError("Given file is neither JPEG nor TIFF.")
    return exif.with_names(loaded) if key_is_name else loaded


def _load_tiff(file, size):
    """A TIFF image is only read; a bare Exif block given as bytes can be edited."""
    loaded = exif.from_block(_TiffFile(file, size), keep=False)
    is_image = 0x0111 in loaded["0th"] or 0x0144 in loaded["0th"]
    if isinstance(file, io.BytesIO) and size <= exif.LIMIT and not is_image:
        return exif.from_block(file.getvalue())
    return loaded


def insert(exif_bytes, image, new_file=None):
    """Put Exif bytes, as dump() gives them, into a JPEG or WebP; its own Exif is replaced where it stands, never merged.

    image is a path or bytes; new_file a path or BytesIO, None for the image's own path.  Files are written to a temporary
    file beside the target, flushed to disk and renamed; the target keeps its permissions and, where allowed, its owner, and
    gets a new modification time.  A file that already is as asked is not touched.  Raises ValueError for bytes that are no
    Exif, are too large for a JPEG segment (65,533 bytes), or are no image; OSError.  (EXIF 2.32, 4.5.4; ITU T.81, B.1.1.)
    """
    if bytes(exif_bytes[:6]) != exif.HEADER:
        raise ValueError("Given data is not exif data")
    _rewrite(image, new_file, bytes(exif_bytes), "Give a 3rd argument to 'insert' to output file")


def remove(src, new_file=None):
    """Take the Exif out of a JPEG or WebP; arguments, files and errors as with insert().  (EXIF 2.32, 4.5.4.)"""
    _rewrite(src, new_file, None, "Give a second argument to 'remove' to output file")


def transplant(exif_src, image, new_file=None):
    """Put the Exif of one JPEG, byte for byte, into another; arguments, files and errors as with insert().

    Raises ValueError if the source has no Exif.  (EXIF 2.32, 4.5.4.)
    """
    with _open(exif_src) as file:
        kind, size = _kind(file)
        if kind != "jpeg":
            raise InvalidImageDataError("Given data isn't JPEG.")
        found = jpeg.read_head(file, size).block()
    if found is None:
        raise ValueError("not found exif in input")
    _rewrite(image, new_file, found[1], "Give a 3rd argument to 'transplant' to output file", ("jpeg",))


def _rewrite(image, new_file, payload, no_target, kinds=("jpeg", "webp")):
    with _open(image) as file:
        is_path = not isinstance(file, io.BytesIO)
        kind, size = _kind(file)
        if kind not in kinds:
            raise InvalidImageDataError("Given data isn't JPEG.")
        if kind == "jpeg":
            plan = jpeg.plan(file, size, payload)
        else:
            plan = webp.plan(file, size, payload and payload[6:])
        if isinstance(new_file, io.BytesIO):
            _copy(file, plan, new_file)
            new_file.seek(0)
            return
        target = new_file or (image if is_path else None)
        if not target:
            raise ValueError(no_target)
        target = os.path.realpath(target)
        if not plan and is_path and os.path.exists(target) and os.path.samefile(image, target):
            return
        part = _write_part(file, plan, target)
    _replace(part, target)


def _copy(file, plan, out):
    """Write the file with the plan's edits."""
    at = 0
    for start, end, new in plan + [(None, None, b"")]:
        file.seek(at)
        if isinstance(file, io.BytesIO):
            with file.getbuffer() as view:
                out.write(view[at:start])
        else:
            left = -1 if start is None else start - at
            while left:
                chunk = file.read(CHUNK if left < 0 else min(left, CHUNK))
                if not chunk:
                    break
                left -= len(chunk) if left > 0 else 0
                out.write(chunk)
        out.write(new)
        at = end


def _write_part(file, plan, target):
    """A complete copy under a temporary name in the target's folder, flushed to disk."""
    part = os.path.join(os.path.dirname(target), ".mapillary-{}.part".format(os.urandom(8).hex()))
    try:
        with open(part, "xb") as out:
            _copy(file, plan, out)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        _unlink(part)
        raise
    return part


def _replace(part, target):
    """Rename the part to the target, which keeps its owner and permissions if it exists."""
    try:
        if os.path.exists(target):
            before, now = os.stat(target), os.stat(part)
            if hasattr(os, "chown") and (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
                try:
                    os.chown(part, before.st_uid, before.st_gid)
                except OSError:
                    pass  # only the owner, or root, may give files away
            os.chmod(part, before.st_mode & 0o7777)
        os.replace(part, target)
    except BaseException:
        _unlink(part)
        raise


def _unlink(path):
    try:
        os.unlink(path)
    except OSError:
        pass
