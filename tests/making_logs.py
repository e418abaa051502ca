"""Makers of the logs of cameras and receivers for the tests: FIT, KML, KMZ, TCX, DJI .srt, CSV, Insta360, Novatek.

Each writes the bytes of one format straight from its specification, from points (time, lat, lon, alt, course): seconds
UTC since 1970, degrees, metres or None, degrees or None. Nothing is shared with the product.
"""

import datetime
import io
import re
import struct
import zipfile

from making_tracks import CLIP_SECONDS, UTC, box, movie, words

# Three seconds in each quarter of the globe: signs, halves of seconds and nothing that reads the same both ways.
RIDE = [
    (CLIP_SECONDS + i, 47.1 + i * 1e-4, 8.2 + i * 2e-4, 400.0 + i * 0.2, 90.0 + i) for i in range(5)
]


def moved(points, lat=1, lon=1):
    """The points in another quarter of the globe."""
    return [(time, lat * here, lon * there, *more) for time, here, there, *more in points]


def stamp(seconds, form="%Y-%m-%dT%H:%M:%S", digits=0, end=""):
    """Seconds UTC as text, with so many digits of the second."""
    whole, part = divmod(round(seconds * 10**digits), 10**digits)
    moment = datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(seconds=whole)
    return moment.strftime(form) + (f".{part:0{digits}d}" if digits else "") + end


# ---- FIT: Flexible and Interoperable Data Transfer, protocol 1.0 and 2.0 ----

FIT_EPOCH = 631065600  # 1989-12-31T00:00:00Z
FIT_CRC = (0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401)
FIT_CRC += (0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400)
ENUM, S8, U8, S16, U16, S32, U32 = 0x00, 0x01, 0x02, 0x83, 0x84, 0x85, 0x86
STRING, F32, F64, U8Z, U16Z, U32Z, BYTES, S64, U64 = (
    7,
    0x88,
    0x89,
    0x0A,
    0x8B,
    0x8C,
    0x0D,
    0x8E,
    0x8F,
)
FIT_LETTERS = {
    **{ENUM: "B", S8: "b", U8: "B", U8Z: "B", BYTES: "B", S16: "h", U16: "H", U16Z: "H"},
    **{S32: "i", U32: "I", U32Z: "I", F32: "f", F64: "d", S64: "q", U64: "Q"},
}
NO_PLACE = 0x7FFFFFFF  # the invalid value of a position
FILE_ID, RECORD, EVENT, GPS_METADATA, CORRELATION = 0, 20, 21, 160, 162
TIME = 253


def fit_crc(data):
    """The checksum of FIT: CRC-16, nibble by nibble."""
    crc = 0
    for byte in data:
        for nibble in (byte & 0xF, byte >> 4):
            crc = ((crc >> 4) & 0x0FFF) ^ FIT_CRC[crc & 0xF] ^ FIT_CRC[nibble]
    return crc


def semicircles(degrees):
    """Degrees as FIT writes them; None = no fix."""
    return NO_PLACE if degrees is None else min(round(degrees * 2**31 / 180), NO_PLACE - 1)


class Fit:
    """One FIT file as it grows: `define` a local message type, then its `data`."""

    def __init__(self, big=False):
        self.big, self.content = big, b""
        self.forms = {}  # local type -> (letters of each field, byte order)

    def define(self, local, message, fields, developer=(), big=None):
        """A definition message: fields are (number, base type) or (number, base type, how many)."""
        big = self.big if big is None else big
        order, rows, forms = ">" if big else "<", b"", []
        for number, base, *many in fields:
            count = many[0] if many else 1
            form = (
                f"{count}s"
                if base == STRING
                else f"{count if count > 1 else ''}{FIT_LETTERS[base]}"
            )
            forms.append(form)
            rows += bytes([number, struct.calcsize(order + form), base])
        extra = b"".join(bytes([number, size, which]) for number, size, which in developer)
        forms += [f"{size}s" for _, size, _ in developer]
        self.content += (
            bytes([0x40 | 0x20 * bool(developer) | local, 0, big])
            + struct.pack(order + "H", message)
            + bytes([len(fields)])
            + rows
            + (bytes([len(developer)]) + extra if developer else b"")
        )
        self.forms[local] = (forms, order)
        return self

    def data(self, local, *values, header=None):
        """A data message: one value for each field, a tuple for an array."""
        forms, order = self.forms[local]
        assert len(forms) == len(values)
        self.content += bytes([local if header is None else header])
        for form, value in zip(forms, values):
            self.content += struct.pack(
                order + form, *(value if isinstance(value, tuple) else (value,))
            )
        return self

    def compressed(self, local, offset, *values):
        """A data message with the low five bits of its time in the header."""
        return self.data(local, *values, header=0x80 | local << 5 | offset & 0x1F)

    def raw(self, content):
        """Bytes as they are."""
        self.content += content
        return self

    def identified(self):
        """The first message of every file: what it is and who wrote it."""
        fields = [(0, ENUM), (1, U16), (2, U16), (3, U32Z), (4, U32)]
        self.define(0, FILE_ID, fields)
        return self.data(0, 4, 1, 1561, 1234567, round(CLIP_SECONDS) - FIT_EPOCH)

    def file(self, header=14, size=None, crc=True):
        """The whole file; `size` is what the header says instead of the truth."""
        many = len(self.content) if size is None else size
        start = struct.pack("<BBHI4s", header, 0x20, 2132, many, b".FIT")
        start += struct.pack("<H", fit_crc(start)) if header == 14 else b""
        whole = start + self.content
        return whole + (struct.pack("<H", fit_crc(whole)) if crc else b"")


FIT_FIELDS = [(TIME, U32), (0, S32), (1, S32), (2, U16), (78, U32), (3, U8)]


def fit_values(point, low=True, high=True):
    """The values of FIT_FIELDS of a point; without `low` or `high` that altitude is invalid."""
    time, lat, lon, alt = point[:4]
    return (
        round(time) - FIT_EPOCH,
        semicircles(lat),
        semicircles(lon),
        0xFFFF if alt is None or not low else round((alt + 500) * 5),
        0xFFFFFFFF if alt is None or not high else round((alt + 500) * 5),
        142,
    )


def fit_started(points, big=False):
    """A Fit with the records of these points."""
    made = Fit(big).identified().define(1, RECORD, FIT_FIELDS)
    for point in points:
        made.data(1, *fit_values(point))
    return made


def fit(points, big=False, **options):
    """A FIT activity, one record a point."""
    return fit_started(points, big).file(**options)


VIRB_FIELDS = [(TIME, U32), (0, U16), (1, S32), (2, S32), (3, U32), (4, U32), (5, U16), (6, U32)]
VIRB_BOOT = 1000.25  # seconds of system time at CLIP_SECONDS


def fit_virb(points, utc=True, correlation=False, records=(), boot=VIRB_BOOT):
    """A FIT of an action camera: gps_metadata in system time. Without `utc` field 6 is invalid; `correlation` adds the
    message that tells the two clocks apart.
    """
    made = Fit().identified()
    if correlation:
        made.define(2, CORRELATION, [(TIME, U32), (1, U32), (4, U16), (5, U16)])
        whole, part = divmod(round(boot * 1000), 1000)
        made.data(2, round(CLIP_SECONDS) - FIT_EPOCH, whole, 0, part)
    made.define(1, RECORD, FIT_FIELDS)
    for point in records:
        made.data(1, *fit_values(point))
    made.define(3, GPS_METADATA, VIRB_FIELDS)
    for time, lat, lon, alt, course in points:
        whole, part = divmod(round((time - CLIP_SECONDS + boot) * 1000), 1000)
        made.data(
            3,
            whole,
            part,
            semicircles(lat),
            semicircles(lon),
            0xFFFFFFFF if alt is None else round((alt + 500) * 5),
            5000,
            0xFFFF if course is None else round(course * 100),
            int(time + 1e-6) - FIT_EPOCH if utc else 0xFFFFFFFF,
        )
    return made.file()


# ---- KML 2.2 with the extensions gx ----

GX = "http://www.google.com/kml/ext/2.2"
KML = "http://www.opengis.net/kml/2.2"


def kml(*bodies, names=f' xmlns="{KML}" xmlns:gx="{GX}"', head=""):
    """A KML document of these bodies."""
    inner = "".join(bodies)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}<kml{names}>'
        f"<Document><name>made</name>{inner}</Document></kml>\n"
    )


def coord(point, comma=" "):
    """A place as KML writes it: longitude first."""
    lat, lon, alt = point[1:4]
    return comma.join(f"{value:.7f}" for value in (lon, lat, *([] if alt is None else [alt])))


def gx_track(points, interleaved=False, angles=True, gx="gx:", end="Z", digits=1):
    """A gx:Track, with its arrays one behind the other or point by point."""
    whens = [f"<when>{stamp(point[0], digits=digits, end=end)}</when>" for point in points]
    coords = [f"<{gx}coord>{coord(point)}</{gx}coord>" for point in points]
    turns = [f"<{gx}angles>{point[4]:.2f} 0 0</{gx}angles>" for point in points if angles]
    if interleaved:
        turns = turns or [""] * len(points)
        inner = "".join("".join(row) for row in zip(whens, coords, turns))
    else:
        inner = "".join(whens + coords + turns)
    return f"<{gx}Track><altitudeMode>absolute</altitudeMode>{inner}</{gx}Track>"


def multi_track(*tracks, gx="gx:"):
    """A gx:MultiTrack of gx:Tracks."""
    return f"<{gx}MultiTrack><{gx}interpolate>0</{gx}interpolate>{''.join(tracks)}</{gx}MultiTrack>"


def placemark(inner, before=""):
    """A Placemark around a geometry."""
    return f"<Placemark><name>made</name>{before}{inner}</Placemark>"


def point_mark(point, end="Z", more=""):
    """A Placemark with the time of its Point."""
    when = f"<TimeStamp><when>{stamp(point[0], digits=1, end=end)}</when></TimeStamp>"
    inner = f"<Point><coordinates>{coord(point, ',')}</coordinates></Point>"
    return placemark(inner, before=more + when)


def line_string(points):
    """A LineString, which has no times."""
    inner = "\n".join(coord(point, ",") for point in points)
    return f"<LineString><coordinates>\n{inner}\n</coordinates></LineString>"


def kmz(*files, locked=False):
    """A zip of (name, text or bytes); `locked` says that a password is needed."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    content = bytearray(held.getvalue())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)) if locked else ():
        at = content.find(mark)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(mark, at + 4)
    return bytes(content)


# ---- TCX: Training Center Database v2 ----


def trackpoint(point, extra="", digits=0):
    """A Trackpoint; one without lat has no Position."""
    time, lat, lon, alt = point[:4]
    place = (
        ""
        if lat is None
        else f"<Position><LatitudeDegrees>{lat:.7f}</LatitudeDegrees>"
        f"<LongitudeDegrees>{lon:.7f}</LongitudeDegrees></Position>"
    )
    height = "" if alt is None else f"<AltitudeMeters>{alt:.1f}</AltitudeMeters>"
    return (
        f"<Trackpoint><Time>{stamp(time, digits=digits, end='Z')}</Time>{place}{height}"
        f"<HeartRateBpm><Value>120</Value></HeartRateBpm>{extra}</Trackpoint>"
    )


def tcx(*segments, head="", prefix=""):
    """A TCX activity of one lap with these Tracks, each a text of Trackpoints."""
    name = "http://www.garmin.com/xmlschemas/TrainingCenterDatabase/v2"
    since = stamp(CLIP_SECONDS, end="Z")
    tracks = "".join(f"<Track>{segment}</Track>" for segment in segments)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}<TrainingCenterDatabase xmlns="{name}">'
        f'<Activities><Activity Sport="Biking"><Id>{since}</Id><Lap StartTime="{since}">'
        "<TotalTimeSeconds>9</TotalTimeSeconds><DistanceMeters>9</DistanceMeters><Calories>1</Calories>"
        f"<Intensity>Active</Intensity><TriggerMethod>Manual</TriggerMethod>{tracks}</Lap></Activity>"
        "</Activities></TrainingCenterDatabase>\n"
    )


# ---- DJI subtitles ----


def cue_time(seconds):
    """`00:00:01,033` of seconds."""
    whole, ms = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d},{ms:03d}"


def subtitles(cues, length=1.0, line="\n"):
    """An .srt of (second of the video, text)."""
    blocks = (
        f"{number}\n{cue_time(start)} --> {cue_time(start + length)}\n{said}\n\n"
        for number, (start, said) in enumerate(cues, 1)
    )
    return "".join(blocks).replace("\n", line)


def srt_brackets(
    points, zero, shift=0.0, date="ms", blanks=False, longitude="longitude", old=False
):
    """The newest lines; `zero` is the time of second 0 of the video, `shift` what the date lines differ from UTC."""
    cues = []
    for time, lat, lon, alt, _ in points:
        local = time + shift
        day = (
            stamp(local, "%Y-%m-%d %H:%M:%S", 3)
            if date == "ms"
            else stamp(local, "%Y-%m-%d %H:%M:%S", 3).replace(".", ",") + ",697"
        )
        colon = " : " if blanks else ": "
        height = (
            f"[altitude{colon}{alt:.6f}]"
            if old
            else f"[rel_alt{colon}1.200 abs_alt{colon}{alt:.3f}]"
        )
        said = (
            f'<font size="28">SrtCnt : 1, DiffTime : 33ms\n{day}\n[iso : 100] [shutter : 1/640.0] [fnum : 280] [ev : 0] '
            f"[ct : 5064] [color_md : default] [focal_len : 240] [latitude{colon}{lat:.6f}] "
            f"[{longitude}{colon}{lon:.6f}] {height} </font>"
        )
        cues.append((time - zero, said))
    return subtitles(cues, 0.033)


def srt_gps(points, zero, shift=0.0, blank="", home=True, satellites=16):
    """The oldest lines: HOME and GPS with longitude first, then how many satellites; the height is BAROMETER."""
    cues = []
    for time, lat, lon, *_ in points:
        day = stamp(time + shift, "%Y.%m.%d %H:%M:%S")
        start = f"HOME({lon + 1:.4f},{lat + 1:.4f}) " if home else ""
        place = f"GPS{blank}({lon:.4f},{blank}{lat:.4f},{blank}{satellites})"
        said = f"{start}{day}\n{place} BAROMETER:1.9\nISO:100 Shutter:60 EV: Fnum:2.2 "
        cues.append((time - zero, said))
    return subtitles(cues)


def srt_undated(points, zero, satellites=18):
    """The lines in between, without any date."""
    cues = []
    for time, lat, lon, *_ in points:
        said = (
            f"F/2.8, SS 206.14, ISO 150, EV 0, GPS ({lon:.4f}, {lat:.4f}, {satellites}), D 24.26m, H 6.00m, "
            "H.S 2.10m/s, V.S 0.00m/s "
        )
        cues.append((time - zero, said))
    return subtitles(cues)


def srt_latitude_first(points, zero):
    """The lines of a Matrice 300: latitude first, all lengths with their unit, and a minute that ends with second 60."""
    cues = []
    for time, lat, lon, *_ in points:
        day = stamp(time, "%Y.%m.%d %H:%M:%S")
        cues.append((time - zero, f"{day}\nGPS({lat:.4f},{lon:.4f},0.0M) BAROMETER:79.8M"))
    return re.sub(r"--> (\d\d):01:00,", r"--> \1:00:60,", subtitles(cues))


# ---- CSV ----


def table(headings, rows, delimiter=",", line="\r\n", quote=""):
    """Rows with headings."""
    lines = [headings, *rows]
    return "".join(
        delimiter.join(f"{quote}{cell}{quote}" for cell in cells) + line for cells in lines
    )


def csv_log(points, headings=("time", "lat", "lon", "ele", "course"), time=None, **options):
    """A table of points; `time` makes the text of a time."""
    write = time or (lambda seconds: stamp(seconds, digits=3, end="Z"))
    rows = (
        [
            write(point[0]),
            f"{point[1]:.7f}",
            f"{point[2]:.7f}",
            *("" if value is None else f"{value:.2f}" for value in point[3:]),
        ][: len(headings)]
        for point in points
    )
    return table(headings, rows, **options)


def columbus(points, padded=False):
    """What a Columbus logger writes; `padded` is the old one, with NUL up to fixed widths and a column more."""
    headings = "INDEX,TAG,DATE,TIME,LATITUDE N/S,LONGITUDE E/W,HEIGHT,SPEED,HEADING".split(",")
    rows = []
    for number, (time, lat, lon, alt, course) in enumerate(points, 1):
        cells = [
            str(number),
            "T",
            stamp(time, "%y%m%d"),
            stamp(time, "%H%M%S"),
            f"{abs(lat):09.6f}{'N' if lat >= 0 else 'S'}",
            f"{abs(lon):010.6f}{'E' if lon >= 0 else 'W'}",
            f"{alt:.0f}",
            "12",
            f"{course:.0f}",
        ]
        if padded:
            widths = (6, 1, 6, 6, 10, 11, 5, 4, 3)
            cells = [cell.ljust(width, "\0") for cell, width in zip(cells, widths)] + ["\0" * 9]
        rows.append(cells)
    return table(headings + ["VOX"] * padded, rows)


# ---- Insta360: a trailer behind an MP4 ----

INSTA360 = b"8db42d694ccc418790edff439fe026bf"


def insta360_row(point, state=b"A", west=b"W"):
    """53 bytes of one GPS sample."""
    time, lat, lon, alt, course = point
    whole, ms = divmod(round(time * 1000), 1000)
    return (
        struct.pack("<IIH", whole, 0, ms)
        + state
        + struct.pack("<d", abs(lat))
        + (b"N" if lat >= 0 else b"S")
        + struct.pack("<d", abs(lon))
        + (b"E" if lon >= 0 else west)
        + struct.pack("<3d", 4.0, course or 0.0, alt or 0.0)
    )


def insta360_names(model="Insta360 X3", serial="IXSE9999", firmware="v1.0.05_build3"):
    """The record of make and model: tag, length, text."""
    texts = ((0x0A, serial), (0x12, model), (0x1A, firmware), (0x2A, "2_1500.1_1_2"))
    return b"".join(bytes([tag, len(text)]) + text.encode("ascii") for tag, text in texts)


def insta360_trailer(records, length=None):
    """A trailer of (id, content); `length` is what it says of its own."""
    inner = b"".join(
        content + struct.pack("<HI", number, len(content)) for number, content in records
    )
    end = bytes(32)
    whole = len(inner) + len(end) + 8 + len(INSTA360)
    return inner + end + struct.pack("<II", whole if length is None else length, 3) + INSTA360


def insta360(points, model="Insta360 X3", rows=None, more=(), **options):
    """An .insv: the movie, then a trailer of an accelerometer, GPS and the names."""
    rows = [insta360_row(point) for point in points] if rows is None else rows
    records = [
        (0x300, bytes(56) * 3),
        (0x700, b"".join(rows)),
        *more,
        (0x101, insta360_names(model)),
    ]
    return movie(duration=len(points) * 1000) + insta360_trailer(records, **options)


# ---- Novatek: freeGPS blocks that `gps ` in moov points to ----


def ddmm(degrees):
    """Degrees as DDMM.mmmm, without the sign."""
    whole = int(abs(degrees))
    return whole * 100 + (abs(degrees) - whole) * 60


def free_gps(point, state=b"A", shift=0.0, size=0x400, mark=b"freeGPS "):
    """One block: a `free` box with the sample of one second."""
    time, lat, lon, _, course = point
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=round(time + shift))
    inner = (
        struct.pack(">I", size)
        + mark
        + struct.pack("<I", 0x4C)
        + struct.pack("<3I", moment.hour, moment.minute, moment.second)
        + struct.pack("<3I", moment.year - 2000, moment.month, moment.day)
        + state
        + (b"N" if lat >= 0 else b"S")
        + (b"E" if lon >= 0 else b"W")
        + b"\0"
        + struct.pack("<4f", ddmm(lat), ddmm(lon), 8.0, course or 0.0)
    )
    return inner + bytes(size - len(inner))


def novatek(blocks, entries=None, **options):
    """An MP4 whose `gps ` lists these blocks; `entries` changes the list of (place, size)."""
    places, at = [], 24  # behind ftyp
    for block in blocks:
        places.append((at, len(block)))
        at += len(block)
    places = places if entries is None else entries(places)
    listed = box(b"gps ", words(0x101, len(places)), *(words(*entry) for entry in places))
    made = movie(
        udta=listed,
        before=b"".join(blocks),
        duration=len(blocks) * 1000,
        **{"created": 0, **options},
    )
    assert not blocks or made[24:32] == blocks[0][:8]
    return made
