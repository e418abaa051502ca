"""Makers of track files for the tests, and readers of GPMF and CAMM that share no code with the product."""

import datetime
import struct

UTC = datetime.timezone.utc
CLIP = datetime.datetime(2024, 5, 31, 12, 0, 0, tzinfo=UTC)  # when the made recordings begin
CLIP_SECONDS = CLIP.timestamp()
TO_1904 = 2082844800


def iso(seconds):
    """Seconds UTC as GPX writes them."""
    return datetime.datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# GPX and NMEA


def trkpt(lat, lon, time=None, ele=None, more="", kind="trkpt"):
    """One GPX point; `time` is text."""
    inner = ("" if ele is None else f"<ele>{ele}</ele>") + (
        "" if time is None else f"<time>{time}</time>"
    )
    return f'<{kind} lat="{lat}" lon="{lon}">{inner}{more}</{kind}>'


def gpx(*segments, head="", tail="", namespace=' xmlns="http://www.topografix.com/GPX/1/1"'):
    """A GPX document with one track of these segments, each a text of points."""
    body = "".join(f"<trkseg>{segment}</trkseg>" for segment in segments)
    track = f"<trk><name>made</name>{body}</trk>" if segments else ""
    return f'<?xml version="1.0"?>\n<gpx version="1.1" creator="tests"{namespace}>{head}{track}{tail}</gpx>\n'


def sentence(body):
    """An NMEA sentence with its checksum."""
    total = 0
    for letter in body.encode():
        total ^= letter
    return f"${body}*{total:02X}"


def dddmm(value, sides):
    """Degrees as NMEA writes them, with the letter."""
    side = sides[0] if value >= 0 else sides[1]
    whole = int(abs(value))
    width = 2 if sides == "NS" else 3
    return f"{whole:0{width}d}{(abs(value) - whole) * 60:09.6f},{side}"


def clock(seconds):
    """`hhmmss.ss` of seconds UTC."""
    moment = datetime.datetime.fromtimestamp(round(seconds * 100) / 100, UTC)
    return moment.strftime("%H%M%S.") + f"{moment.microsecond // 10000:02d}"


def rmc(seconds, lat, lon, status="A", talker="GP", date=True, course="84.4"):
    """An RMC sentence."""
    day = datetime.datetime.fromtimestamp(seconds, UTC).strftime("%d%m%y") if date else ""
    return sentence(
        f"{talker}RMC,{clock(seconds)},{status},{dddmm(lat, 'NS')},{dddmm(lon, 'EW')},22.4,{course},{day},,,A"
    )


def gga(seconds, lat, lon, alt=100.0, quality=1, talker="GP"):
    """A GGA sentence, which has no date."""
    return sentence(
        f"{talker}GGA,{clock(seconds)},{dddmm(lat, 'NS')},{dddmm(lon, 'EW')},{quality},08,0.9,{alt},M,46.9,M,,"
    )


def gll(seconds, lat, lon, status="A", talker="GP"):
    """A GLL sentence, which has no date."""
    return sentence(
        f"{talker}GLL,{dddmm(lat, 'NS')},{dddmm(lon, 'EW')},{clock(seconds)},{status},A"
    )


def zda(seconds, talker="GP"):
    """A ZDA sentence: time and date, no place."""
    moment = datetime.datetime.fromtimestamp(seconds, UTC)
    return sentence(f"{talker}ZDA,{clock(seconds)},{moment:%d,%m,%Y},00,00")


# MP4


def box(kind, *contents):
    """One box."""
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full(kind, *contents, version=0):
    """A box with version and flags."""
    return box(kind, bytes([version, 0, 0, 0]), *contents)


def words(*values):
    """Big-endian 32-bit numbers."""
    return struct.pack(f">{len(values)}I", *(value & 0xFFFFFFFF for value in values))


def mdhd_or_mvhd(kind, created, timescale, duration, version):
    """A media or movie header, far enough for any reader."""
    form = ">QQIQ" if version else ">IIII"
    rest = (
        words(0x00010000, 0x01000000, 0, 0) + bytes(36) + bytes(24) + words(9)
        if kind == b"mvhd"
        else bytes(4)
    )
    return full(
        kind, struct.pack(form, created, created, timescale, duration), rest, version=version
    )


def movie(
    payloads=(),
    form=b"gpmd",
    delta=1000,
    timescale=1000,
    created=CLIP_SECONDS,
    duration=None,
    version=0,
    moov_first=False,
    co64=False,
    chunk=1,
    edits=(),
    udta=b"",
    before=b"",
    after=b"",
    gap=0,
    stts=None,
    handler=b"meta",
):
    """An MP4 with one track of `payloads`. `gap` bytes of picture data are left for the caller to make sparse."""
    count, sizes = len(payloads), [len(payload) for payload in payloads]
    length = duration if duration is not None else count * delta

    def index(at):
        filled = list(chunk) if isinstance(chunk, (list, tuple)) else [chunk] * (count // chunk)
        filled += [count - sum(filled)] if count > sum(filled) else []
        places, first = [], 0
        for many in filled:
            places.append(at + sum(sizes[:first]))
            first += many
        entry = words(16) + form + bytes(6) + b"\0\1"
        runs = [
            (i + 1, many, 1) for i, many in enumerate(filled) if i == 0 or many != filled[i - 1]
        ]
        stbl = box(
            b"stbl",
            full(b"stsd", words(1), entry),
            full(
                b"stts",
                words(1, count, delta) if stts is None else words(len(stts), *sum(stts, ())),
            ),
            full(b"stsc", words(len(runs)), *(words(*run) for run in runs)),
            full(b"stsz", words(0, count, *sizes)),
            full(b"co64", words(count and len(places)), struct.pack(f">{len(places)}Q", *places))
            if co64
            else full(b"stco", words(len(places), *places)),
        )
        since = int(created + TO_1904) if created else 0
        track = box(
            b"trak",
            full(b"tkhd", words(since, since, 1, 0, length), bytes(60)),
            box(
                b"edts",
                full(b"elst", words(len(edits)), *(words(*edit, 0x10000) for edit in edits)),
            )
            if edits
            else b"",
            box(
                b"mdia",
                mdhd_or_mvhd(b"mdhd", since, timescale, count * delta, version),
                full(b"hdlr", words(0), handler, bytes(12), b"made\0"),
                box(
                    b"minf",
                    full(b"nmhd"),
                    box(b"dinf", full(b"dref", words(1), full(b"url "))),
                    stbl,
                ),
            ),
        )
        return box(
            b"moov",
            mdhd_or_mvhd(b"mvhd", since, 1000, length, version),
            track if count else b"",
            udta,
        )

    ftyp = box(b"ftyp", b"isom", words(512), b"isommp41")
    content = b"".join(payloads)
    wide = struct.pack(">I4sQ", 1, b"mdat", 16 + gap + len(content))
    head = ftyp + before
    if moov_first:
        moov = index(len(head) + len(index(0)) + 16 + gap)
        return head + moov + wide + bytes(gap) + content + after
    if gap > 1 << 24:  # the caller seeks over the gap
        return head + wide, content + index(len(head) + 16 + gap) + after
    return head + wide + bytes(gap) + content + index(len(head) + 16 + gap) + after


def film(pictures, chunk=2, delta=500, size=(64, 48), created=CLIP_SECONDS, gap=0):
    """An MP4 of pictures, which are whole JPEGs and decode as such: so many a chunk, 1000/delta a second.

    Behind each chunk lie `gap` bytes that are of no track, and do not go up.
    """
    since, count = int(created + TO_1904), len(pictures)
    starts = range(0, count, chunk)

    def index(at):
        places = []
        for start in starts:
            places.append(at)
            at += sum(map(len, pictures[start : start + chunk])) + gap
        entry = bytes(6) + b"\0\1" + bytes(16) + struct.pack(">2H", *size)
        entry += words(72 << 16, 72 << 16, 0) + b"\0\1" + bytes(32) + b"\0\x18\xff\xff"
        runs = [words(1, chunk, 1)]
        if count % chunk:
            last = words(len(starts), count % chunk, 1)
            runs = [last] if len(starts) == 1 else [*runs, last]
        table = box(
            b"stbl",
            full(b"stsd", words(1), box(b"jpeg", entry)),
            full(b"stts", words(1, count, delta)),
            full(b"stsc", words(len(runs)), *runs),
            full(b"stsz", words(0, count), words(*map(len, pictures))),
            full(b"stco", words(len(places)), words(*places)),
        )
        itself = full(b"url ")[:-1] + b"\1"  # the pictures are in this file
        links = box(b"dinf", full(b"dref", words(1), itself))
        media = box(
            b"mdia",
            mdhd_or_mvhd(b"mdhd", since, 1000, count * delta, 0),
            full(b"hdlr", words(0), b"vide", bytes(12), b"made\0"),
            box(b"minf", box(b"vmhd", words(1, 0, 0)), links, table),
        )
        shown = words(since, since, 1, 0, count * delta, 0, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 16)
        shown += words(0, 0, 0, 1 << 30, size[0] << 16, size[1] << 16)
        header = mdhd_or_mvhd(b"mvhd", since, 1000, count * delta, 0)
        return box(b"moov", header, box(b"trak", full(b"tkhd", shown), media))

    head = box(b"ftyp", b"qt  ", words(512), b"qt  ")
    chunks = [b"".join(pictures[start : start + chunk]) + bytes(gap) for start in starts]
    return head + index(len(head) + len(index(0)) + 8) + box(b"mdat", *chunks)


# GPMF


def klv(key, kind, rows, width=None):
    """One GPMF entry; `rows` are packed rows, or for type 0 whole entries."""
    content = b"".join(rows)
    width = (1 if kind == "\0" else len(rows[0]) if rows else 1) if width is None else width
    repeat = len(content) // width if width else 0
    return (
        struct.pack(">4scBH", key, kind.encode("latin-1"), width, repeat)
        + content
        + bytes(-len(content) % 4)
    )


def nest(key, *entries):
    """A list of entries."""
    return klv(key, "\0", [b"".join(entries)], 1)


def text(key, value, kind="c", wide=False):
    """A text entry, as n rows of one or one row of n."""
    raw = value.encode("latin-1")
    return klv(key, kind, [raw], len(raw) if wide else 1)


def gpsu(seconds):
    """`yymmddhhmmss.sss`."""
    moment = datetime.datetime.fromtimestamp(round(seconds, 3), UTC)
    return moment.strftime("%y%m%d%H%M%S.") + f"{moment.microsecond // 1000:03d}"


def gps5(
    places, utc, fix=3, dop=250, kind="U", scale=(10000000, 10000000, 1000, 1000, 100), extra=b""
):
    """A STRM with GPS5: places are (lat, lon, alt); fix, dop or utc None leaves the entry out, utc may be text."""
    stamp = utc if utc is None or isinstance(utc, str) else gpsu(utc)
    rows = [
        struct.pack(">5i", *(round(value * by) for value, by in zip((*place, 1.0, 1.0), scale)))
        for place in places
    ]
    return nest(
        b"STRM",
        text(b"STNM", "GPS (Lat., Long., Alt., 2D speed, 3D speed)"),
        klv(b"GPSF", "L", [struct.pack(">I", fix)]) if fix is not None else b"",
        text(b"GPSU", stamp, kind, wide=kind == "U") if stamp is not None else b"",
        klv(b"GPSP", "S", [struct.pack(">H", dop)]) if dop is not None else b"",
        text(b"UNIT", "degdegm"),
        extra,
        klv(b"SCAL", "l", [struct.pack(">i", value) for value in scale]),
        klv(b"GPS5", "l", rows, 20),
    )


def gps9(samples):
    """A STRM with GPS9: samples are (utc, lat, lon, alt, dop, fix)."""
    rows = []
    for utc, lat, lon, alt, dop, fix in samples:
        since = utc - 946684800
        days, seconds = divmod(since, 86400)
        rows.append(
            struct.pack(
                ">7i2H",
                round(lat * 1e7),
                round(lon * 1e7),
                round(alt * 1000),
                1000,
                100,
                int(days),
                round(seconds * 1000),
                round(dop * 100),
                fix,
            )
        )
    scale = (10000000, 10000000, 1000, 1000, 100, 1, 1000, 100, 1)
    return nest(
        b"STRM",
        text(b"TYPE", "lllllllSS"),
        klv(b"SCAL", "l", [struct.pack(">i", value) for value in scale]),
        klv(b"GPS9", "?", rows, 32),
    )


def device(*streams, name="Hero9 Black", number=1):
    """A DEVC entry."""
    return nest(
        b"DEVC", klv(b"DVID", "L", [struct.pack(">I", number)]), text(b"DVNM", name), *streams
    )


def accelerations(rows=200):
    """A STRM of another sensor, to be stepped over."""
    return nest(
        b"STRM",
        klv(b"SCAL", "s", [struct.pack(">h", 418)]),
        klv(b"ACCL", "s", [struct.pack(">3h", 1, 2, 3)] * rows),
    )


def ride(count, rate=18, lat=45.0, lon=7.0):
    """Places of a ride, `rate` a second, in lists of one second each."""
    places = [(lat + i * 1e-6, lon + i * 2e-6, -20.0 + i * 0.001) for i in range(count * rate)]
    return [places[i * rate : (i + 1) * rate] for i in range(count)]


def hero5_style(seconds=10, offset=CLIP_SECONDS, early=1.4, **options):
    """Payloads with GPS5, the first GPSU early as on real cameras."""
    return [
        device(accelerations(), gps5(places, offset + i - (early if i == 0 else 0), **options))
        for i, places in enumerate(ride(seconds))
    ]


# CAMM


def camm5(lat, lon, alt):
    """A record of type 5."""
    return struct.pack("<2H3d", 0, 5, lat, lon, alt)


def camm6(time, lat, lon, alt, fix=3, east=3.0, north=4.0):
    """A record of type 6."""
    return struct.pack("<2Hdi2d7f", 0, 6, time, fix, lat, lon, alt, 1, 1, east, north, 0, 0.5)


def camm_gyro():
    """A record of type 2."""
    return struct.pack("<2H3f", 0, 2, 0.1, 0.2, 0.3)


# Judges: the whole file in memory, everything by recursion, nothing shared with the product.

PARENTS = {"moov", "trak", "mdia", "minf", "stbl", "edts"}


def tree(content, base=0):
    """[(kind, content, place of the content)] of a run of boxes, parents as lists."""
    found, place = [], 0
    while place + 8 <= len(content):
        size, head = int.from_bytes(content[place : place + 4], "big"), 8
        kind = content[place + 4 : place + 8].decode("latin-1")
        if size == 1:
            size, head = int.from_bytes(content[place + 8 : place + 16], "big"), 16
        inner = content[place + head : place + size]
        found.append((kind, tree(inner, base + place + head) if kind in PARENTS else inner))
        place += size
    return found


def pick(boxes, *path):
    """The first box at a path."""
    for kind in path:
        boxes = next(inner for name, inner in boxes if name == kind)
    return boxes


def numbers(content, start, width=4):
    """All numbers from a place on."""
    return [
        int.from_bytes(content[i : i + width], "big")
        for i in range(start, len(content) - width + 1, width)
    ]


def judge_samples(content, form):
    """[(video time, duration, bytes)] of the first track of a format."""
    for name, trak in pick(tree(content), "moov"):
        if name != "trak" or pick(trak, "mdia", "minf", "stbl", "stsd")[12:16] != form:
            continue
        table = dict(pick(trak, "mdia", "minf", "stbl"))
        header = pick(trak, "mdia", "mdhd")
        scale = numbers(header, 20 if header[0] else 12)[0]
        sizes = numbers(table["stsz"], 12)
        chunks = numbers(table["stco"], 8) if "stco" in table else numbers(table["co64"], 8, 8)
        runs = numbers(table["stsc"], 8)
        per = {}
        for i in range(0, len(runs), 3):
            for number in range(runs[i], len(chunks) + 1):
                per[number] = runs[i + 1]
        deltas = []
        times = numbers(table["stts"], 8)
        for i in range(0, len(times), 2):
            deltas += [times[i + 1]] * times[i]
        result, time, which = [], 0, 0
        for number, place in enumerate(chunks, 1):
            for _ in range(per[number]):
                if which < len(sizes):
                    result.append(
                        (time / scale, deltas[which] / scale, content[place : place + sizes[which]])
                    )
                    place, time, which = place + sizes[which], time + deltas[which], which + 1
        return result
    return []


def judge_gpmf(content):
    """A GPMF block as nested lists [(key, kind, rows of bytes or list)]."""
    result = []
    while len(content) >= 8:
        key, kind, width, repeat = (
            content[:4].decode("latin-1"),
            chr(content[4]),
            content[5],
            content[6] * 256 + content[7],
        )
        inner = content[8 : 8 + width * repeat]
        rows = (
            judge_gpmf(inner)
            if kind == "\0"
            else [inner[i : i + width] for i in range(0, len(inner), width or 1)]
        )
        result.append((key, kind, rows))
        content = content[8 + (width * repeat + 3) // 4 * 4 :]
    return result


def judge_gopro(content):
    """(kind, [(video time, utc or None, lat, lon, alt, fix, dop)]) of the GPS of a GoPro MP4, no rule applied."""
    five, nine = [], []
    for start, length, payload in judge_samples(content, b"gpmd"):
        for _, _, entries in judge_gpmf(payload):
            for stream in (rows for key, _, rows in entries if key == "STRM"):
                here = {key: rows for key, _, rows in stream}
                scale = [int.from_bytes(row, "big") for row in here.get("SCAL", [])]
                if "GPS5" in here:
                    fix = int.from_bytes(here["GPSF"][0], "big") if "GPSF" in here else None
                    dop = int.from_bytes(here["GPSP"][0], "big") / 100 if "GPSP" in here else None
                    for i, row in enumerate(here["GPS5"]):
                        lat, lon, alt = (
                            int.from_bytes(row[n * 4 : n * 4 + 4], "big", signed=True) / scale[n]
                            for n in range(3)
                        )
                        five.append(
                            (start + length * i / len(here["GPS5"]), None, lat, lon, alt, fix, dop)
                        )
                if "GPS9" in here:
                    for i, row in enumerate(here["GPS9"]):
                        part = [
                            int.from_bytes(row[n * 4 : n * 4 + 4], "big", signed=True) / scale[n]
                            for n in range(7)
                        ]
                        utc = datetime.datetime(2000, 1, 1, tzinfo=UTC) + datetime.timedelta(
                            days=part[5], seconds=part[6]
                        )
                        nine.append(
                            (
                                start + length * i / len(here["GPS9"]),
                                utc.timestamp(),
                                *part[:3],
                                row[30] * 256 + row[31],
                                (row[28] * 256 + row[29]) / 100,
                            )
                        )
    return ("GPS9", nine) if nine else ("GPS5", five)


def judge_camm(content):
    """[(video time, type, values)] of the places in a CAMM MP4."""
    result = []
    lengths = {0: 12, 1: 8, 2: 12, 3: 12, 4: 12, 5: 24, 6: 56, 7: 12}
    for start, _, sample in judge_samples(content, b"camm"):
        while sample:
            kind = sample[2] + 256 * sample[3]
            inner, sample = sample[4 : 4 + lengths[kind]], sample[4 + lengths[kind] :]
            if kind == 5:
                result.append((start, 5, struct.unpack("<ddd", inner)))
            elif kind == 6:
                result.append(
                    (
                        start,
                        6,
                        struct.unpack("<d", inner[:8])
                        + struct.unpack("<i", inner[8:12])
                        + struct.unpack("<dd", inner[12:28])
                        + struct.unpack("<f", inner[28:32]),
                    )
                )
    return result
