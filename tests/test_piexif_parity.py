"""The interface is the published piexif 1.1.3's; every intended difference stands in this file."""

import importlib
import io
import re
import struct
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import walker
from walker import exif, jpeg, tool_edit

piexif = walker.vendored()
helper = importlib.import_module(piexif.__name__ + ".helper")
PUBLIC = (
    "load",
    "dump",
    "insert",
    "remove",
    "transplant",
    "ImageIFD",
    "ExifIFD",
    "GPSIFD",
    "InteropIFD",
    "TAGS",
    "TYPES",
    "InvalidImageDataError",
    "VERSION",
)
HEADER = b"Exif\0\0"


def published():
    """The published package, or a skip that says so."""
    try:
        import piexif as module
    except ImportError:
        pytest.skip("the published piexif is not installed")
    if getattr(module, "VERSION", None) != "1.1.3" or module.__file__ == piexif.__file__:
        pytest.skip("the installed piexif is not the published 1.1.3")
    return module


def constants(cls):
    return {name: number for name, number in vars(cls).items() if not name.startswith("_")}


# ---- the table


def test_everything_derives_from_one_table():
    tags = importlib.import_module(piexif.__name__ + ".tags")
    classes = {
        "Image": piexif.ImageIFD,
        "Exif": piexif.ExifIFD,
        "GPS": piexif.GPSIFD,
        "Interop": piexif.InteropIFD,
    }
    assert (
        len({row[:2] for row in tags.ROWS})
        == len({(row[0], row[2]) for row in tags.ROWS})
        == len(tags.ROWS)
    )
    for ifd, cls in classes.items():
        rows = [row for row in tags.ROWS if row[0] == ifd]
        assert constants(cls) == {row[2]: row[1] for row in rows}
        assert piexif.TAGS[ifd] == {row[1]: {"name": row[2], "type": row[3]} for row in rows}
    assert piexif.TAGS["0th"] is piexif.TAGS["1st"] is piexif.TAGS["Image"]


def test_no_published_name_is_missing_and_every_addition_is_meant():
    module = published()
    assert [name for name in PUBLIC if not hasattr(piexif, name)] == []
    assert constants(piexif.TYPES) == constants(module.TYPES)
    added = {}
    for name in ("ImageIFD", "ExifIFD", "GPSIFD", "InteropIFD"):
        ours, theirs = constants(getattr(piexif, name)), constants(getattr(module, name))
        assert {key: ours.get(key) for key in theirs} == theirs
        added.update({(name, key): number for key, number in ours.items() if key not in theirs})
    for ifd in module.TAGS:
        assert {tag: piexif.TAGS[ifd].get(tag) for tag in module.TAGS[ifd]} == module.TAGS[ifd]
    assert added == {
        ("ExifIFD", "ImageHistory"): 0x9213,  # exiftool writes it there
        ("ImageIFD", "DateTimeOriginal"): 0x9003,  # TIFF/EP has it there, and these beside it
        ("ImageIFD", "DateTimeDigitized"): 0x9004,
        ("ImageIFD", "OffsetTimeOriginal"): 0x9011,
        ("ImageIFD", "OffsetTimeDigitized"): 0x9012,
        ("ImageIFD", "SubSecTimeOriginal"): 0x9291,
        ("ImageIFD", "SubSecTimeDigitized"): 0x9292,
    }
    times = {0x9003, 0x9004, 0x9011, 0x9012, 0x9291, 0x9292}
    # NoiseProfile: a constant without a table row there
    assert set(piexif.TAGS["Image"]) - set(module.TAGS["Image"]) == {0xC761, *times}


def test_image_history_is_read_in_both_ifds_and_written_to_ifd0():
    block = walker.block(
        ">", {"0th": [(0x9213, 2, 4, b"one\0")], "Exif": [(0x9213, 2, 6, b"other\0")]}
    )
    loaded = piexif.load(HEADER + block)
    assert (
        loaded["0th"][piexif.ImageIFD.ImageHistory] == b"one" and loaded["Exif"][0x9213] == b"other"
    )
    assert (
        piexif.load(piexif.dump({"0th": {piexif.ImageIFD.ImageHistory: "text"}}))["0th"][0x9213]
        == b"text"
    )


# ---- load, dump


@pytest.mark.parametrize(
    "path",
    walker.photos()
    or [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/data/photos"))],
    ids=lambda path: path and path.name,
)
def test_load_gives_the_published_values(path):
    module = published()
    try:
        theirs = module.load(str(path))
    except Exception as error:  # what it raises on damaged files is among the differences below
        pytest.skip("the published package raises {}".format(type(error).__name__))
    assert piexif.load(str(path)) == piexif.load(path.read_bytes()) == theirs
    assert piexif.load(str(path), key_is_name=True) == module.load(str(path), key_is_name=True)


def in_ifd0(*fields, order=">"):
    return HEADER + walker.block(order, {"0th": list(fields)})


def in_exif(*fields):
    return HEADER + walker.block(">", {"Exif": list(fields)})


RAISES = object()  # the published package raises
DIFFERENCES = {  # name: (function of a package, what the published package gives, what this one gives)
    "text without a closing NUL keeps its last letter": (
        lambda px: px.load(in_ifd0((0x010F, 2, 6, b"Makers")))["0th"][0x010F],
        b"Maker",
        b"Makers",
    ),
    "text of count 0 is empty": (
        lambda px: px.load(in_ifd0((0x010F, 2, 0, b"abcd")))["0th"][0x010F],
        b"abc",
        b"",
    ),
    "a rational of count 0 is empty": (
        lambda px: px.load(in_ifd0((0x011A, 5, 0, struct.pack(">L", 8))))["0th"][0x011A],
        (0x0001011A, 0x00050000),
        (),
    ),  # it reads two numbers of the IFD itself
    "type IFD is read as LONG": (
        lambda px: px.load(in_ifd0((0x014A, 13, 1, struct.pack(">L", 9))))["0th"][0x014A],
        RAISES,
        9,
    ),
    "an unknown type is left out": (
        lambda px: px.load(in_ifd0((0x0131, 14, 1, b"abcd")))["0th"],
        RAISES,
        {},
    ),
    "a value outside of the block is left out": (
        lambda px: px.load(in_ifd0((0x0100, 4, 2, struct.pack(">L", 999))))["0th"],
        RAISES,
        {},
    ),
    "a pointer outside of the block leads nowhere": (
        lambda px: px.load(in_ifd0((0x8825, 4, 1, struct.pack(">L", 999))))["GPS"],
        RAISES,
        {},
    ),
    "a pointer of type ASCII is followed": (
        lambda px: px.load(in_ifd0((0x8769, 2, 4, struct.pack(">L", 9999))))["Exif"],
        RAISES,
        {},
    ),
    "load of bytes that are no image": (lambda px: px.load(b"GIF89a"), RAISES, RAISES),
    "load of a JPEG head without its scan": (
        lambda px: px.load(b"\xff\xd8" + exif(walker.camera())).get("0th", {}).get(0x0112),
        RAISES,
        6,
    ),
    "load takes a bytearray": (lambda px: px.load(bytearray(jpeg()))["thumbnail"], None, None),
    "a wrongly typed value can be written back": (
        lambda px: px.load(px.dump(px.load(in_exif((0xA301, 1, 1, b"\1")))))["Exif"][0xA301],
        RAISES,
        1,
    ),
    "AsShotNeutral may be RATIONAL": (
        lambda px: px.load(px.dump({"0th": {0xC628: ((1, 2), (3, 4))}}))["0th"][0xC628],
        RAISES,
        ((1, 2), (3, 4)),
    ),
    "str is written as UTF-8": (
        lambda px: px.load(px.dump({"0th": {270: "\u6771 \xe9"}}))["0th"][270],
        RAISES,
        "\u6771 \xe9".encode("utf-8"),
    ),
    "Latin-1 str is UTF-8, too": (
        lambda px: px.load(px.dump({"0th": {270: "\xe9"}}))["0th"][270],
        b"\xe9",
        b"\xc3\xa9",
    ),
    "IFD1 without a thumbnail is kept": (
        lambda px: px.load(px.dump({"0th": {}, "1st": {0x0103: 1}, "thumbnail": None}))["1st"],
        {},
        {0x0103: 1},
    ),
    "a thumbnail need not be a JPEG": (
        lambda px: px.load(px.dump({"0th": {}, "1st": {}, "thumbnail": b"x"}))["thumbnail"],
        RAISES,
        b"x",
    ),
    "a thumbnail of 64,001 bytes fits": (
        lambda px: len(
            px.load(
                px.dump(
                    {"0th": {}, "1st": {}, "thumbnail": b"\xff\xd8" + bytes(63997) + b"\xff\xd9"}
                )
            )["thumbnail"]
        ),
        RAISES,
        64001,
    ),
    "an empty value is written": (
        lambda px: px.load(px.dump({"0th": {0x011A: ()}}))["0th"][0x011A],
        RAISES,
        (),
    ),
    "Interop needs no Exif key": (
        lambda px: px.load(px.dump({"Interop": {1: b"R98"}}))["Interop"][1],
        RAISES,
        b"R98",
    ),
    "an unknown tag is refused with ValueError": (
        lambda px: pytest.raises(ValueError, px.dump, {"0th": {0xFDEA: 1}}) and "ValueError",
        RAISES,
        "ValueError",
    ),
    "no Exif in a JPEG is a plain empty dict": (
        lambda px: (
            px.load(jpeg())
            == {"0th": {}, "Exif": {}, "GPS": {}, "Interop": {}, "1st": {}, "thumbnail": None}
        ),
        True,
        True,
    ),
    "byte order is kept": (
        lambda px: px.dump(px.load(in_ifd0((0x0112, 3, 1, b"\1\0"), order="<")))[6:8],
        b"MM",
        b"II",
    ),
    "an unknown tag survives": (
        lambda px: b"hello" in px.dump(px.load(in_exif((0xFDEA, 2, 6, b"hello\0")))),
        False,
        True,
    ),
    "JFIF survives": (lambda px: b"JFIF" in written(px, jpeg(walker.JFIF)), False, True),
    "XMP before Exif gives no second Exif": (
        lambda px: written(
            px, jpeg(walker.XMP, exif(walker.camera(thumb=None, ifds={"1st": None})))
        ).count(b"Exif\0\0"),
        RAISES,
        1,
    ),
    "an identical file is not rewritten larger": (
        lambda px: (
            written(px, jpeg(exif(in_exif((0x9000, 7, 4, b"0230"))[6:])), False)
            == jpeg(exif(in_exif((0x9000, 7, 4, b"0230"))[6:]))
        ),
        False,
        True,
    ),
    "remove takes out the second Exif, too": (
        lambda px: removed(
            px, jpeg(exif(walker.camera()), walker.XMP, exif(walker.camera(">")))
        ).count(b"Exif\0\0"),
        1,
        0,
    ),
    "UserComment in little-endian UTF-16": (
        lambda px: comment(px).load(
            b"UNICODE\0" + "caf\xe9 bar".replace("\xe9", "e").encode("utf_16_le")
        ),
        "\u6300\u6100\u6600\u6500\u2000\u6200\u6100\u7200",
        "cafe bar",
    ),
    "UserComment with a byte order mark": (
        lambda px: comment(px).load(b"UNICODE\0\xff\xfe" + "\u6771".encode("utf_16_le")),
        "\ufffe\u7167",
        "\u6771",
    ),
}


def comment(px):
    return importlib.import_module(px.__name__ + ".helper").UserComment


def written(px, image, edit=True):
    loaded, out = px.load(image), io.BytesIO()
    px.insert(px.dump(tool_edit(loaded) if edit else loaded), image, out)
    return out.getvalue()


def removed(px, image):
    out = io.BytesIO()
    px.remove(image, out)
    return out.getvalue()


def outcome(function, px):
    try:
        return function(px)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return RAISES


@pytest.mark.parametrize("name", DIFFERENCES)
def test_intended_difference(name):
    function, _, own = DIFFERENCES[name]
    assert outcome(function, piexif) == own


@pytest.mark.parametrize("name", DIFFERENCES)
def test_intended_difference_is_one_to_the_published_package(name):
    function, theirs, _ = DIFFERENCES[name]
    assert outcome(function, published()) == theirs


# ---- values in and out of a new block

PAIR, SIGNED = st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1)
VALUES = {
    1: st.integers(0, 255),
    3: st.integers(0, 65535),
    4: PAIR,
    5: st.tuples(PAIR, PAIR),
    6: st.integers(-128, 127),
    8: st.integers(-(2**15), 2**15 - 1),
    9: SIGNED,
    10: st.tuples(SIGNED, SIGNED),
    11: st.floats(width=32, allow_nan=False),
    12: st.floats(allow_nan=False),
    2: st.binary(max_size=9),
    7: st.binary(max_size=9),
}
DERIVED = {("0th", 0x8769), ("0th", 0x8825), ("Exif", 0xA005), ("1st", 0x0201), ("1st", 0x0202)}


@pytest.mark.parametrize("ifd", ["0th", "Exif", "GPS", "Interop", "1st"])
@settings(max_examples=25, derandomize=True, deadline=None)
@given(choice=st.randoms(use_true_random=False), source=st.data())
def test_property_every_tag_gives_back_what_was_put_in(ifd, choice, source):
    tags = [tag for tag in piexif.TAGS[ifd] if (ifd, tag) not in DERIVED]
    put = {}
    for tag in choice.sample(sorted(tags), min(4, len(tags))):
        one = VALUES[piexif.TAGS[ifd][tag]["type"]]
        put[tag] = source.draw(
            one
            if piexif.TAGS[ifd][tag]["type"] in (2, 7)
            else st.one_of(one, st.lists(one, min_size=2, max_size=5).map(tuple))
        )
    block = piexif.dump({ifd: put})
    assert {
        tag: value for tag, value in piexif.load(block)[ifd].items() if (ifd, tag) not in DERIVED
    } == put
    assert walker.Tiff(block[6:]).faults == []


WRONG = [
    ("0th", 0x010F, 5),
    ("0th", 0x0112, "6"),
    ("0th", 0x0112, 65536),
    ("0th", 0x0112, -1),
    ("0th", 0x011A, 1),
    ("0th", 0x011A, (-1, 2)),
    ("0th", 0x011A, (1, 2**32)),
    ("0th", 0x011A, (1, 2, 3)),
    ("Exif", 0x9003, 123),
    ("Exif", 0x9204, (2**31, 1)),
    ("Exif", 0x8828, 1),
    ("Exif", 0x8828, (1, 2)),
    ("Exif", 0x9000, "0230"),
    ("GPS", 2, ((57.5, 1), (0, 1))),
    ("GPS", 5, 256),
    ("GPS", 29, None),
    ("Interop", 1, 1.5),
    ("0th", 0x0112, b"6"),
    ("0th", 0x010E, "\ud800"),
]


@pytest.mark.parametrize("ifd, tag, value", WRONG, ids=str)
@pytest.mark.parametrize("target", ["new", "loaded"])
def test_a_value_that_its_tag_cannot_hold_is_refused_in_the_published_words(
    ifd, tag, value, target
):
    exif_dict = {} if target == "new" else piexif.load(HEADER + walker.camera())
    exif_dict.setdefault(ifd, {})[tag] = value
    with pytest.raises(ValueError) as caught:
        piexif.dump(exif_dict)
    assert str(
        caught.value
    ) == '"dump" got wrong type of exif value.\n{} in {} IFD. Got as {}.'.format(
        tag, ifd, type(value)
    )
    assert re.search(r"\n(\d+) in (\S+) IFD", str(caught.value)).groups() == (
        str(tag),
        ifd,
    )  # how mapillary_tools reads it


def test_no_published_bug_is_left_in_a_load_dump_cycle_of_odd_values():
    fields = [
        (0x0131, 3, 1, b"\0\7"),
        (0xA301, 3, 1, b"\0\1"),
        (0x829A, 5, 1, bytes(8)),
        (0x9202, 10, 1, struct.pack(">2l", -7, 3)),
        (0x9286, 2, 9, b"ASCII\0\0\0x"),
    ]
    block = in_exif(*fields)
    for kind in (lambda loaded: loaded, dict):
        assert piexif.dump(kind(piexif.load(block))) == block


# ---- UserComment


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.text(
        alphabet=st.one_of(
            st.characters(blacklist_categories=("Cs",)),
            st.sampled_from("\u4e00\u2000\u6100\ufeff\0A"),
        )
    )
)
def test_property_user_comment_gives_back_its_text(text):
    assert helper.UserComment.load(helper.UserComment.dump(text, "unicode")) == text


@pytest.mark.parametrize(
    "text",
    [
        "\u4e00",
        "\u4e00\u2000\u6100",
        "\u4100\u4200\u4300\u4400",
        "\ufeffx",
        "\ufeff\ufeff",
        "abc",
        "",
    ],
)
def test_user_comment_that_reads_like_the_other_byte_order_gives_back_its_text(text):
    assert helper.UserComment.load(helper.UserComment.dump(text, "unicode")) == text


def test_user_comment_in_all_codes_and_its_errors():
    for code, text in (("ascii", "abc"), ("unicode", "\u6771"), ("jis", "\u6771")):
        assert helper.UserComment.load(helper.UserComment.dump(text, code)) == text
    assert helper.UserComment.dump("\u6771") == b"ASCII\0\0\0?"
    for bad, text in (
        (b"ASCII", "not enough data"),
        (bytes(9), "UNDEFINED"),
        (b"KOI8\0\0\0\0x", "appropriate encoding"),
    ):
        with pytest.raises(ValueError, match=text):
            helper.UserComment.load(bad)
    with pytest.raises(ValueError, match="must be one of"):
        helper.UserComment.dump("x", "latin1")


def test_nothing_is_printed_and_nothing_warned(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written(piexif, jpeg(exif(walker.camera())))
    assert capsys.readouterr() == ("", "")
