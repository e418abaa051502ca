"""Exif in WebP files (WebP container specification, "Extended File Format"; RIFF chunks are padded to even length)."""

import struct

from .errors import InvalidImageDataError

CHUNK = struct.Struct("<4sL")
HAS_EXIF = 0x08  # in the first byte of VP8X: two reserved, ICC 0x20, alpha, Exif, XMP, animation 0x02, one reserved
HAS_ALPHA = 0x10


def read_chunks(image):
    """[(name, start of its header, length of its content)] of a WebP, whole chunks only; ValueError if it is none."""
    lead = image[:12]
    if lead[:4] != b"RIFF" or lead[8:] != b"WEBP":
        raise ValueError("Not WebP")
    end = min(len(image), 8 + struct.unpack("<L", lead[4:8])[0])
    chunks, at = [], 12
    while at + CHUNK.size <= end:
        name, length = CHUNK.unpack(image[at : at + CHUNK.size])
        if at + CHUNK.size + length > end:
            break
        chunks.append((name, at, length))
        at += CHUNK.size + length + length % 2
    return chunks


def read_exif(image):
    """The TIFF block of the EXIF chunk, or None; ValueError for a WebP in the simple format, which can have none."""
    chunks = read_chunks(image)
    if not chunks or chunks[0][0] != b"VP8X":
        raise ValueError("doesnot have exif")
    for name, start, length in chunks:
        if name == b"EXIF":
            block = image[start + CHUNK.size : start + CHUNK.size + length]
            return block[6:] if block[:5] == b"Exif\0" else block
    return None


def plan(image, block):
    """The plan (see jpeg.py) that leaves exactly one EXIF chunk with this block, or none if block is None.

    It replaces the one that is there, or stands behind the image data, before XMP.  Raises InvalidImageDataError if the
    size of the image cannot be found in a file that has no VP8X chunk yet.
    """
    chunks, size = read_chunks(image), len(image)
    old = [chunk for chunk in chunks if chunk[0] == b"EXIF"]
    if block is None and not old:
        return []
    edits = [
        (start, min(start + CHUNK.size + length + length % 2, size), b"")
        for _, start, length in old
    ]
    if block is not None:
        chunk = CHUNK.pack(b"EXIF", len(block)) + block + bytes(len(block) % 2)
        if old:
            edits[0] = edits[0][:2] + (chunk,)
        else:
            place = min(
                [start for name, start, _ in chunks if name == b"XMP "] or [_end(chunks, size)]
            )
            edits.append((place, place, chunk))
    edits.append(_extended_header(image, chunks, block is not None))
    last = _end(chunks, size)
    total = last + sum(len(new) - (end - start) for start, end, new in edits)
    if total % 2:  # the pad byte of the last chunk is missing
        edits.append((last, last, b"\0"))
        total += 1
    return sorted(edits + [(4, 8, struct.pack("<L", total - 8))])


def _end(chunks, size):
    return (
        min(chunks[-1][1] + CHUNK.size + chunks[-1][2] + chunks[-1][2] % 2, size) if chunks else 12
    )


def _extended_header(image, chunks, has_exif):
    """The edit that makes or changes the VP8X chunk."""
    if chunks and chunks[0][0] == b"VP8X" and chunks[0][2] >= 10:
        at = chunks[0][1] + CHUNK.size
        flags = image[at : at + 1][0]
        return at, at + 1, bytes([flags | HAS_EXIF if has_exif else flags & ~HAS_EXIF])
    flags, width, height = _picture(image, chunks)
    payload = (
        struct.pack("<L", flags | HAS_EXIF)
        + struct.pack("<L", width - 1)[:3]
        + struct.pack("<L", height - 1)[:3]
    )
    return 12, 12, CHUNK.pack(b"VP8X", len(payload)) + payload


def _picture(image, chunks):
    """(flags, width, height) of a simple WebP (RFC 6386, 9.1; WebP lossless bitstream specification, 3)."""
    for name, start, _ in chunks:
        lead = image[start + CHUNK.size : start + CHUNK.size + 10]
        if name == b"VP8 " and len(lead) == 10 and lead[3:6] == b"\x9d\x01\x2a":
            width, height = struct.unpack("<HH", lead[6:10])
            if not (width & 0x3FFF and height & 0x3FFF):
                break
            return 0, width & 0x3FFF, height & 0x3FFF
        if name == b"VP8L" and len(lead) >= 5 and lead[:1] == b"\x2f":
            bits = struct.unpack("<L", lead[1:5])[0]
            return (
                HAS_ALPHA if bits >> 28 & 1 else 0,
                (bits & 0x3FFF) + 1,
                (bits >> 14 & 0x3FFF) + 1,
            )
    raise InvalidImageDataError("Wrong WebP data.")
