"""Exif in JPEG, WebP and TIFF: load, dump, insert, remove, transplant.

A fork of the interface of piexif 1.1.3 by hMatoba, with an implementation of its own: names, arguments and the error
texts that programs look for are the published package's, which can stand in for this one.  Licence: BSD-3-Clause, see
LICENSE.

What differs: an edit touches what it edits and nothing else.  The dict of load() remembers the block it came from, so
that dump() keeps byte order, unknown tags, odd types, MakerNotes with their offsets, thumbnails and whatever else it
does not edit.

Standard library only; nothing happens at import but the filling of tables.
"""

from .errors import InvalidImageDataError
from .exif import dump, dump_edited, has_repeats, is_bound, is_unreadable, stored_types, with_names
from .files import insert, insertion, load, remove, transplant
from .tags import GPSIFD, TAGS, TYPES, ExifIFD, ImageIFD, InteropIFD
from .values import Stored

VERSION = "1.1.3"

__all__ = [
    "GPSIFD",
    "TAGS",
    "TYPES",
    "VERSION",
    "ExifIFD",
    "ImageIFD",
    "InteropIFD",
    "InvalidImageDataError",
    "Stored",
    "dump",
    "dump_edited",
    "has_repeats",
    "insert",
    "insertion",
    "is_bound",
    "is_unreadable",
    "load",
    "remove",
    "stored_types",
    "transplant",
    "with_names",
]
