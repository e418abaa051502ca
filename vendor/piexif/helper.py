"""The UserComment field: eight bytes that name the character code, then the text (EXIF 2.32, 4.6.5, UserComment)."""

PREFIX_SIZE = 8


class UserComment:
    """Convert the value of ExifIFD.UserComment to str and back."""

    ASCII = "ascii"
    JIS = "jis"
    UNICODE = "unicode"
    ENCODINGS = (ASCII, JIS, UNICODE)

    _CODES = (  # name, first eight bytes, codec
        (ASCII, b"ASCII\0\0\0", "ascii"),
        (JIS, b"JIS\0\0\0\0\0", "shift_jis"),
        (UNICODE, b"UNICODE\0", "utf_16_be"),
    )

    @classmethod
    def load(cls, data):
        """The text of a UserComment value; UNICODE in either byte order, with or without a byte order mark.

        Raises ValueError if the value is shorter than its prefix, or the prefix is undefined or unknown.
        """
        if len(data) < PREFIX_SIZE:
            raise ValueError("not enough data to decode UserComment")
        prefix, body = bytes(data[:PREFIX_SIZE]), bytes(data[PREFIX_SIZE:])
        if prefix == bytes(PREFIX_SIZE):
            raise ValueError("prefix is UNDEFINED, unable to decode UserComment")
        for name, code, codec in cls._CODES:
            if prefix == code:
                return (
                    _unicode(body) if name == cls.UNICODE else body.decode(codec, errors="replace")
                )
        raise ValueError("unable to determine appropriate encoding")

    @classmethod
    def dump(cls, data, encoding="ascii"):
        """The UserComment value of a text; what the encoding ("ascii", "jis", "unicode") lacks becomes a question mark.

        Raises ValueError for another encoding.
        """
        if encoding not in cls.ENCODINGS:
            raise ValueError(f"encoding {encoding!r} must be one of {cls.ENCODINGS!r}")
        _, code, codec = cls._CODES[cls.ENCODINGS.index(encoding)]
        body = data.encode(codec, errors="replace")
        if encoding == cls.UNICODE and _unicode(body) != body.decode(codec, errors="replace"):
            body = (
                b"\xfe\xff" + body
            )  # only a byte order mark says that this is not the other byte order
        return code + body


def _unicode(body):
    """UTF-16 text: by its byte order mark, else big-endian, unless it is printable ASCII when read little-endian.

    Cameras write the block's byte order, which this value alone does not tell.
    """
    if body[:2] == b"\xff\xfe":
        return body[2:].decode("utf_16_le", errors="replace")
    if body[:2] == b"\xfe\xff":
        return body[2:].decode("utf_16_be", errors="replace")
    little = len(body) > 4 and not any(body[1::2]) and all(32 <= byte < 127 for byte in body[::2])
    return body.decode("utf_16_le" if little else "utf_16_be", errors="replace")
