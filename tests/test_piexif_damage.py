"""Damaged Exif: what can be read is read, and nothing but ValueError or OSError escapes, in bounded time and memory."""

import io
import random
import struct
import time
import tracemalloc

import pytest
from conftest import soon
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import walker
from walker import exif, jpeg, tool_edit

piexif = walker.vendored()
REPEATABLE = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck)}


def everything(image):
    """load, edit, dump, insert, remove and load again; what is refused is refused with the right exceptions."""
    try:
        loaded = piexif.load(image)
        tool_edit(loaded)
        out = io.BytesIO()
        piexif.insert(piexif.dump(loaded), image, out)
        again = piexif.load(out.getvalue())
        assert again["0th"][0x010E] == walker.LONG_TEXT.encode() and again["GPS"][6] == (1234, 100)
        piexif.remove(image, io.BytesIO())
        return loaded
    except (ValueError, OSError):
        return None


def entry(order, tag, kind, count, field):
    return struct.pack(order + "HHLL", tag, kind, count, field)


def small(order, *fields, following=0, count=None):
    """A block with an IFD0 of raw entries behind a Make at offset 200."""
    fields = sorted(
        (entry(order, 0x010F, 2, 6, 200),) + fields,
        key=lambda field: struct.unpack(order + "H", field[:2]),
    )
    ifd = (
        struct.pack(order + "H", len(fields) if count is None else count)
        + b"".join(fields)
        + struct.pack(order + "L", following)
    )
    return (walker.block(order, {})[:8] + ifd).ljust(200, b"\0") + b"Maker\0"


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "name, fields, options",
    [
        ("value outside", [(0x011A, 5, 1, 999999)], {}),
        ("value partly outside", [(0x0131, 2, 50, 190)], {}),
        ("count of 2^31", [(0x0131, 3, 2**31, 38)], {}),
        ("count of 2^32 - 1", [(0x0131, 12, 2**32 - 1, 38)], {}),
        ("unknown type", [(0x0131, 14, 4, 38)], {}),
        ("type 0", [(0x0131, 0, 4, 38)], {}),
        ("type IFD", [(0x014A, 13, 1, 8)], {}),
        ("Exif is IFD0", [(0x8769, 4, 1, 8)], {}),
        ("Exif outside", [(0x8769, 4, 1, 70000)], {}),
        ("Exif a little outside", [(0x8769, 4, 1, 400)], {}),
        ("GPS odd", [(0x8825, 4, 1, 201)], {}),
        ("Exif and GPS the same", [(0x8769, 4, 1, 150), (0x8825, 4, 1, 150)], {}),
        ("pointer as text", [(0x8769, 2, 4, 8)], {}),
        ("next-IFD is IFD0", [], {"following": 8}),
        ("next-IFD outside", [], {"following": 65535}),
        ("more entries than bytes", [], {"count": 60000}),
        ("no count", [(0x0112, 3, 0, 0)], {}),
        ("SubIFDs outside", [(0x014A, 4, 60000, 8)], {}),
        ("the same tag twice", [(0x0131, 2, 4, 0x414141), (0x0131, 2, 4, 0x424242)], {}),
        ("thumbnail outside", [(0x0201, 4, 1, 90000), (0x0202, 4, 1, 5)], {}),
        ("MakerNote in IFD0", [(0x927C, 7, 30, 180)], {}),
        ("strips of 2^31", [(0x0111, 4, 2**31, 8), (0x0117, 4, 2**31, 8)], {}),
    ],
)
def test_damage_leaves_the_rest_readable_and_editable(order, name, fields, options):
    block = small(order, *(entry(order, *field) for field in fields), **options)
    start = time.perf_counter()
    loaded = everything(jpeg(exif(block)))
    assert loaded is not None and loaded["0th"][0x010F] == b"Maker"
    assert soon(time.perf_counter() - start, 2)
    if name not in ("more entries than bytes", "the same tag twice"):
        result = piexif.dump(tool_edit(piexif.load(b"Exif\0\0" + block)))[6:]
        kept = dict(walker.Tiff(result).ifds["0th"])
        for tag, kind, count, _ in fields:
            if tag not in (0x8769, 0x8825):
                assert (kept[tag].kind, kept[tag].count) == (kind, count)


SOUND = small(">", entry(">", 0x8298, 2, 5, 210)).ljust(210, b"\0") + b"Anna\0"
HEADS = {  # what stands in place of a sound header
    "offset with one bit turned": SOUND[:7] + b"\x09" + SOUND[8:],
    "offset 0": SOUND[:4] + bytes(4) + SOUND[8:],
    "offset behind the end": SOUND[:4] + b"\0\xff\0\0" + SOUND[8:],
    "another byte order": b"II*\0" + SOUND[4:],
    "no magic": SOUND[:2] + b"+\0" + SOUND[4:],
    "no mark": b"IJ*\0" + SOUND[4:],
    "zeros": bytes(16) + SOUND[16:],
}


@pytest.mark.parametrize("block", HEADS.values(), ids=HEADS)
def test_a_block_that_nothing_leads_into_is_not_replaced_by_another(block):
    """A bit turned in its first eight bytes cost the whole of it, at the first edit."""
    loaded = piexif.load(jpeg(exif(block)))
    if loaded["0th"].get(0x010F) == b"Maker":
        pytest.skip("it is read in spite of that")
    assert piexif.is_unreadable(loaded)
    loaded["0th"][0x010E] = b"ours"
    with pytest.raises(ValueError, match="cannot be read"):
        piexif.dump(loaded)
    with pytest.raises(ValueError, match="cannot be read"):
        piexif.dump_edited(piexif.load(jpeg(exif(block))), {"0th": {0x010E: b"ours"}})


@pytest.mark.parametrize("block", [b"", b"MM\0*", bytes(30), b"II*\0\x08\0\0\0" + bytes(90)])
def test_a_block_with_nothing_in_it_is(block):
    loaded = piexif.load(jpeg(exif(block)))
    assert not piexif.is_unreadable(loaded)
    loaded["0th"][0x010E] = b"ours"
    assert piexif.load(piexif.dump(loaded))["0th"][0x010E] == b"ours"


def test_a_wrongly_typed_exif_pointer_is_followed_and_mended_by_an_edit():
    block = bytearray(walker.camera("<"))
    at = block.index(struct.pack("<HHL", 0x8769, 4, 1))
    block[at : at + 8] = struct.pack("<HHL", 0x8769, 2, 154)
    assert piexif.load(b"Exif\0\0" + bytes(block))["Exif"][0x9003] == b"2020:01:02 03:04:05"
    for edit in (
        {0x9003: "2024:05:06 07:08:09"},
        {0x9003: "2024:05:06 07:08:09", 0x9291: "12345"},
    ):  # in place, moved
        loaded = piexif.load(b"Exif\0\0" + bytes(block))
        loaded["Exif"].update(edit)
        result = piexif.dump(loaded)[6:]
        assert dict(walker.Tiff(result).ifds["0th"])[0x8769].kind == 4
        assert dict(walker.Tiff(result).ifds["Exif"])[0x9003].value == b"2024:05:06 07:08:09\0"


def test_text_cut_off_by_the_end_of_the_block_is_read_as_far_as_it_goes():
    block = walker.block("<", {"0th": [(0x0131, 2, 20, b"2020:01:02 03:04:05\0")]})
    assert piexif.load(b"Exif\0\0" + block[:-6])["0th"][0x0131] == b"2020:01:02 03:"


def test_what_dangled_before_an_edit_does_not_point_at_new_bytes_after_it():
    """A value and an IFD a little behind the end read as zeros, not as the description, once the block has grown."""
    block = small("<", entry("<", 0x011A, 5, 1, 300), following=600)
    result = walker.Tiff(piexif.dump(tool_edit(piexif.load(b"Exif\0\0" + block)))[6:])
    assert dict(result.ifds["0th"])[0x011A].value == bytes(8) and result.ifds["1st"] == []
    assert result.faults == []


def test_an_ifd_is_read_once_however_many_pointers_lead_to_it():
    block = bytearray(walker.camera("<"))
    exif_at = walker.Tiff(bytes(block)).offsets["Exif"]
    at = block.index(struct.pack("<HHL", 0x8825, 4, 1)) + 8
    block[at : at + 4] = struct.pack("<L", exif_at)  # GPS: the Exif IFD again
    loaded = piexif.load(b"Exif\0\0" + bytes(block))
    assert loaded["GPS"] == {} and loaded["Exif"][0x9003] == b"2020:01:02 03:04:05"
    after = walker.Tiff(piexif.dump(tool_edit(loaded))[6:])
    assert after.faults == [] and after.offsets["GPS"] != after.offsets["Exif"]
    assert (
        piexif.load(b"Exif\0\0" + walker.camera(following=8, ifds={"1st": None}, thumb=None))["1st"]
        == {}
    )


def test_many_entries_with_the_same_large_value_cost_little():
    tags = sorted(piexif.TAGS["Image"]) * 20
    body = (
        struct.pack(">H", len(tags))
        + b"".join(entry(">", tag, 1, 60000, 8) for tag in tags)
        + bytes(4)
    )
    block = (walker.block(">", {})[:8] + body).ljust(65000, b"\0")
    start = time.perf_counter()
    tracemalloc.start()
    try:
        piexif.load(b"Exif\0\0" + block)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    everything(jpeg(exif(block)))
    assert soon(time.perf_counter() - start, 3)


def test_sub_ifds_that_overlap_endlessly_are_bounded():
    offsets = struct.pack(">64L", *range(10, 138, 2))
    block = walker.block(
        ">", {"0th": [(0x014A, 4, 64, offsets)]}, tail=b"\x01\x4a\0\4\0\0\0\x40\0\0\0\x10" * 5000
    )
    start = time.perf_counter()
    everything(jpeg(exif(block)))
    assert soon(time.perf_counter() - start, 3)


GOOD = [
    jpeg(walker.JFIF, exif(walker.camera("<"))),
    jpeg(exif(walker.camera(">", gap=bytes(4))), walker.XMP),
    b"Exif\0\0" + walker.camera(">"),
    walker.camera("<"),
    b"RIFF\x2a\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10) + b"EXIF\x08\0\0\0MM\0*\0\0\0\x08",
]


@settings(max_examples=400, **REPEATABLE)
@given(
    st.sampled_from(range(len(GOOD))),
    st.lists(
        st.tuples(
            st.integers(0, 700),
            st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 8, 127, 128, 255])),
        ),
        max_size=12,
    ),
    st.one_of(st.none(), st.integers(0, 700)),
)
@pytest.mark.slow
def test_property_random_damage_raises_nothing_else(which, damage, cut):
    image = bytearray(GOOD[which])
    for place, value in damage:
        image[place % len(image)] = value
    everything(bytes(image[:cut]))


@settings(max_examples=150, **REPEATABLE)
@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b"",
            b"\xff\xd8",
            b"Exif\0\0",
            b"II*\0\x08\0\0\0",
            b"MM\0*\0\0\0\x08",
            b"\xff\xd8" + b"\xff\xe1\0\xf0Exif\0\0MM\0*\0\0\0\x08",
            b"RIFF",
        ]
    ),
)
def test_property_random_bytes_raise_nothing_else(junk, lead):
    everything(lead + junk)


@settings(max_examples=200, **REPEATABLE)
@given(
    st.dictionaries(
        st.sampled_from(["0th", "Exif", "GPS", "Interop", "1st"]),
        st.dictionaries(
            st.sampled_from([2, 4, 0x010E, 0x0112, 0x011A, 0x9003, 0x9286, 0xA301, 0x9999, 70000]),
            st.one_of(
                st.none(),
                st.integers(),
                st.floats(),
                st.text(),
                st.binary(),
                st.tuples(),
                st.tuples(st.integers(), st.integers()),
                st.lists(st.tuples(st.integers(), st.integers())),
                st.just(object()),
                st.dictionaries(st.integers(), st.integers()),
            ),
            max_size=4,
        ),
    ),
    st.booleans(),
)
@pytest.mark.slow
def test_property_values_of_any_kind_raise_nothing_else(ifds, on_a_photo):
    target = piexif.load(GOOD[0]) if on_a_photo else {}
    for name, ifd in ifds.items():
        target.setdefault(name, {}).update(ifd)
    try:
        block = piexif.dump(target)[6:]
    except ValueError as error:
        assert str(error).startswith('"dump" got wrong type of exif value.\n')
    else:
        assert walker.Tiff(block).faults == []


@pytest.mark.parametrize(
    "path",
    walker.photos()
    or [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/data/photos"))],
    ids=lambda path: path and path.name,
)
def test_damaged_photos_raise_nothing_else(path):
    head = path.read_bytes()[:40000]
    generator = random.Random(path.name)
    for _ in range(12):
        image = bytearray(head)
        for _ in range(generator.randrange(1, 30)):
            image[generator.randrange(min(len(image), 3000))] = generator.choice(
                (0, 1, 8, 255, generator.randrange(256))
            )
        everything(bytes(image))
