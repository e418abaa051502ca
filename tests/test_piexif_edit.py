"""An edit touches what it edits and nothing else: judged by tests/walker.py on blocks of every shape."""

import copy
import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import walker
from walker import LONG_TEXT, Tiff, tool_edit

piexif = walker.vendored()
IMAGE, EXIF, GPS = piexif.ImageIFD, piexif.ExifIFD, piexif.GPSIFD
HEADER = b"Exif\0\0"
REPEATABLE = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck)}


EDITED = (
    {("0th", IMAGE.ImageDescription)}
    | {("Exif", tag) for tag in (0x9003, 0x9291, 0x9011)}
    | {("GPS", tag) for tag in (1, 2, 3, 4, 5, 6, 7, 16, 17, 29)}
)


def edit(block, change=tool_edit):
    """The block after load, change, dump."""
    exif = piexif.load(HEADER + block)
    change(exif)
    return piexif.dump(exif)[6:]


def assert_only(before, after, edited=EDITED, faults=()):
    """Nothing but the edited tags differs, and the block has no fault that it did not have."""
    one, two = Tiff(before), Tiff(after)

    def untouched(tiff):
        return {key: value for key, value in tiff.fields().items() if key not in edited}

    assert untouched(two) == untouched(one)
    assert two.order == one.order
    assert two.maker_note() == one.maker_note()
    assert two.thumbnail == one.thumbnail
    assert set(two.faults) <= set(one.faults) | set(faults)


REVERSED = [walker.NATURAL[0]] + walker.NATURAL[:0:-1]
TABLES_FIRST = sorted(walker.NATURAL)
THUMB_FIRST = walker.NATURAL[:2] + walker.NATURAL[-3:] + walker.NATURAL[2:-3]
SHAPES = {
    "natural": {},
    "thumbnail right behind IFD0": {"sequence": REVERSED},
    "all tables first": {"sequence": TABLES_FIRST},
    "IFD1 and thumbnail before Exif": {"sequence": THUMB_FIRST},
    "private bytes between": {"gap": b"\x81private\x82"},
    "many private bytes between": {"gap": b"\x81" + b"private" * 9},
    "zeros between": {"gap": bytes(48)},
    "private bytes behind": {"tail": b"\x83TRAILING PRIVATE BYTES"},
    "odd length": {"tail": b"\0"},
    "no next-IFD fields": {"without_next": ("Exif", "GPS", "Interop")},
    "no thumbnail": {"thumb": None},
    "thumbnail is no JPEG": {"thumb": b"placeholder"},
    "empty thumbnail": {"thumb": b""},
    "no GPS, no IFD1": {"ifds": {"GPS": None, "1st": None, "Interop": None}, "thumb": None},
    "no Exif": {"ifds": {"Exif": None, "Interop": None}},
    "empty IFDs": {"ifds": {"Exif": [], "GPS": [], "Interop": [], "1st": []}, "thumb": None},
    "no entries at all": {
        "ifds": {"0th": [], "Exif": None, "GPS": None, "Interop": None, "1st": None},
        "thumb": None,
    },
    "IFD1 points outside": {"following": 60000, "ifds": {"1st": None}, "thumb": None},
    "IFD1 points a little outside": {"following": 1400, "ifds": {"1st": None}, "thumb": None},
    "IFD1 is IFD0": {"following": 8, "ifds": {"1st": None}, "thumb": None},
    "Microsoft padding": {
        "ifds": {"0th": [(0x010F, 2, 6, b"Maker\0"), (0xEA1C, 7, 2060, b"\x1c\xea" + bytes(2058))]}
    },
    "MakerNote right behind IFD0": {
        "sequence": [("table", "0th"), ("values", "Exif"), ("table", "Exif")]
        + [item for item in walker.NATURAL if item[1] not in ("0th", "Exif")]
        + [("values", "0th")],
        "ifds": {"0th": [], "Exif": [(0x927C, 7, 30, bytes(range(30)))]},
    },
}


# shapes in which something that cannot move stands right behind IFD0
UNMOVABLE = {
    "MakerNote right behind IFD0",
    "private bytes between",
    "many private bytes between",
    "thumbnail right behind IFD0",
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("shape", SHAPES)
def test_edit_changes_its_own_tags_only(shape, order):
    before = walker.camera(order, **copy.deepcopy(SHAPES[shape]))
    after = edit(before)
    assert_only(before, after)
    assert piexif.load(HEADER + after)["0th"][IMAGE.ImageDescription] == LONG_TEXT.encode()
    assert {key for key in Tiff(after).fields() if key in EDITED} == EDITED


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("shape", SHAPES)
def test_no_edit_and_the_same_edit_again_change_no_byte(shape, order):
    before = walker.camera(order, **copy.deepcopy(SHAPES[shape]))
    assert edit(before, lambda exif: None) == before
    once = edit(before)
    assert edit(before) == once
    assert edit(once) == once


@pytest.mark.parametrize(
    "shape",
    sorted(set(SHAPES) - UNMOVABLE),
)
def test_ifd0_grows_where_it_stands(shape):
    before = walker.camera("<", **copy.deepcopy(SHAPES[shape]))
    assert Tiff(edit(before)).offsets["0th"] == 8


@pytest.mark.parametrize(
    "shape",
    [
        "MakerNote right behind IFD0",
        "private bytes between",
        "many private bytes between",
        "private bytes behind",
    ],
)
def test_what_no_ifd_refers_to_and_maker_notes_stay_where_they_are(shape):
    options = copy.deepcopy(SHAPES[shape])
    before = walker.camera(">", **options)
    after = edit(before)
    assert_only(before, after)
    for private in (options.get("gap"), options.get("tail")):
        if private:
            places = [at for at in range(len(before)) if before.startswith(private, at)]
            assert places and all(after.startswith(private, at) for at in places)


def test_dump_leaves_its_dict_alone_and_it_can_be_dumped_again():
    exif = tool_edit(piexif.load(HEADER + walker.camera()))
    snapshot = copy.deepcopy(exif)
    assert piexif.dump(exif) == piexif.dump(exif) == piexif.dump(snapshot)
    assert exif == snapshot


@pytest.mark.parametrize("copied", [dict, copy.copy, copy.deepcopy, lambda exif: exif.copy()])
def test_a_copy_of_the_dict_keeps_the_block(copied):
    before = walker.camera("<")
    assert piexif.dump(copied(piexif.load(HEADER + before))) == HEADER + before
    assert_only(before, piexif.dump(tool_edit(copied(piexif.load(HEADER + before))))[6:])


def test_a_rebuilt_dict_gives_a_new_valid_block_with_the_same_values():
    ifds = {"Exif": [(0x829A, 5, 1, bytes(8)), (0x9003, 2, 20, b"2020:01:02 03:04:05\0")]}
    exif = piexif.load(HEADER + walker.camera("<", ifds=ifds))
    plain = {
        name: dict(value) if isinstance(value, dict) else value for name, value in exif.items()
    }
    block = piexif.dump(plain)[6:]
    assert Tiff(block).faults == [] and block[:2] == b"MM"
    again = piexif.load(HEADER + block)
    assert values(again) == values(exif) and again["thumbnail"] == exif["thumbnail"]


def values(exif):
    """The dict without fields that hold places."""
    return {
        name: {tag: value for tag, value in exif[name].items() if tag not in walker.PLACES}
        for name in ("0th", "Exif", "GPS", "Interop", "1st")
    }


def test_a_dict_of_parts_of_two_images_is_built_anew_with_their_stored_types():
    one = piexif.load(HEADER + walker.camera("<"))
    two = piexif.load(HEADER + walker.camera(">"))
    block = piexif.dump(
        {"0th": one["0th"], "Exif": two["Exif"], "GPS": {}, "Interop": {}, "1st": {}}
    )[6:]
    assert Tiff(block).fields()["Exif", 0xA301] == [
        (1, 1, b"\1")
    ]  # SceneType as BYTE, which the table calls UNDEFINED
    assert ("0th", 0xC999) not in Tiff(block).fields()


def test_deleted_tags_and_ifds_are_gone_and_their_bytes_cleared():
    def change(exif):
        exif["GPS"] = {}
        del exif["0th"][IMAGE.Model]

    before = walker.camera("<")
    after = edit(before, change)
    gone = {key for key in Tiff(before).fields() if key[0] == "GPS"} | {("0th", IMAGE.Model)}
    assert_only(before, after, gone)
    assert not gone & set(Tiff(after).fields()) and "GPS" not in Tiff(after).ifds
    assert b"Model 1" not in after and b"2020:01:02\0" not in after.replace(b"2020:01:02 ", b"")


def test_deleting_the_thumbnail_deletes_ifd1():
    for change in (
        lambda exif: exif.update(thumbnail=None),
        lambda exif: (exif.pop("thumbnail"), exif.pop("1st")),
        lambda exif: exif.update({"1st": {}, "thumbnail": None}),
    ):
        after = edit(walker.camera(), change)
        assert "1st" not in Tiff(after).ifds and walker.THUMB not in after
        assert_only(walker.camera(thumb=None, ifds={"1st": None}), after)


def test_a_new_thumbnail_replaces_the_old_one():
    for picture in (b"short", walker.THUMB * 3, b""):
        after = piexif.dump(dict(piexif.load(HEADER + walker.camera()), thumbnail=picture))[6:]
        assert Tiff(after).thumbnail == picture and Tiff(after).faults == []
        assert piexif.load(HEADER + after)["thumbnail"] == picture


def test_emptied_ifd1_with_a_thumbnail_keeps_the_thumbnail():
    after = edit(walker.camera(), lambda exif: exif["1st"].clear())
    assert Tiff(after).thumbnail == walker.THUMB and [
        tag for tag, _ in Tiff(after).ifds["1st"]
    ] == [0x0201, 0x0202]


def test_emptied_exif_ifd_keeps_interop():
    after = edit(walker.camera(), lambda exif: exif["Exif"].clear())
    assert [tag for tag, _ in Tiff(after).ifds["Exif"]] == [0xA005] and Tiff(after).faults == []
    assert Tiff(after).fields()["Interop", 1] == [(2, 4, b"R98\0")]
    gone = edit(walker.camera(), lambda exif: (exif["Exif"].clear(), exif["Interop"].clear()))
    assert set(Tiff(gone).ifds) == {"0th", "GPS", "1st"}


def test_emptied_ifd0_still_leads_to_the_other_ifds():
    before = walker.camera()
    after = edit(before, lambda exif: exif["0th"].clear())
    assert_only(before, after, {key for key in Tiff(before).fields() if key[0] == "0th"})
    assert [tag for tag, _ in Tiff(after).ifds["0th"]] == [0x8769, 0x8825] and "1st" in Tiff(
        after
    ).ifds


def test_stored_type_is_kept_while_it_holds_the_value():
    def change(exif):
        exif["Exif"][EXIF.PixelXDimension] = 1024

    assert Tiff(edit(walker.camera(), change)).fields()["Exif", EXIF.PixelXDimension] == [
        (3, 1, struct.pack("<H", 1024))
    ]
    block = edit(walker.camera(), lambda exif: exif["Exif"].update({EXIF.PixelXDimension: 70000}))
    assert Tiff(block).fields()["Exif", EXIF.PixelXDimension] == [(4, 1, struct.pack("<L", 70000))]


def test_equal_values_in_other_python_types_are_no_edit():
    def change(exif):
        exif["0th"][IMAGE.Make] = "Maker"
        exif["GPS"][GPS.GPSLatitude] = [[1, 1], [2, 1], [3, 1]]

    before = walker.camera(">")
    assert edit(before, change) == before


def test_values_that_share_bytes_do_not_change_together():
    block = bytearray(
        walker.block(
            "<",
            {
                "0th": [
                    (0x011A, 5, 1, struct.pack("<2L", 72, 1)),
                    (0x011B, 5, 1, struct.pack("<2L", 72, 1)),
                ]
            },
        )
    )
    block[30:34] = block[18:22]  # YResolution's offset: XResolution's
    after = edit(bytes(block), lambda exif: exif["0th"].update({IMAGE.XResolution: (300, 1)}))
    assert piexif.load(HEADER + after)["0th"][IMAGE.YResolution] == (72, 1)
    assert piexif.load(HEADER + after)["0th"][IMAGE.XResolution] == (300, 1)


def test_strips_of_an_uncompressed_thumbnail_stay():
    strip = bytes(range(200))
    first = [
        (0x0103, 3, 1, b"\1\0"),
        (0x0111, 4, 1, struct.pack("<L", 0)),
        (0x0117, 4, 1, struct.pack("<L", 200)),
        (0xEA1C, 7, 200, strip),
    ]
    before = bytearray(walker.camera(ifds={"1st": first}, thumb=None))
    place = before.index(strip)
    entry = before.index(struct.pack("<HHL", 0x0111, 4, 1))
    before[entry + 8 : entry + 12] = struct.pack("<L", place)
    after = edit(bytes(before))
    assert_only(bytes(before), after)
    assert after[place : place + 200] == strip


def test_sub_ifds_stay_readable_where_they_are():
    sub = walker.block(
        "<", {"0th": [(0x0100, 4, 1, struct.pack("<L", 99)), (0x010F, 2, 9, b"sub make\0")]}
    )[8:]
    block = bytearray(
        walker.camera(
            ifds={"0th": [(0x010F, 2, 6, b"Maker\0"), (0x014A, 4, 1, struct.pack("<L", 0))]}
        )
    )
    entry, place = block.index(struct.pack("<HHL", 0x014A, 4, 1)), len(block) + len(block) % 2
    block[entry + 8 : entry + 12] = struct.pack("<L", place)
    block += bytes(place - len(block)) + sub
    after = edit(bytes(block))
    assert_only(bytes(block), after)
    assert after[place : place + len(sub)] == sub


LIKE_A_ROOM = (
    b"PxRm" + bytes(8) + b"PxRmPxRm\0\0\0\0\xff\xff\xff\xff"
)  # but none: offset and length do not fit


@pytest.mark.parametrize("tail", [b"", LIKE_A_ROOM])
def test_repeated_edits_do_not_grow_the_block(tail):
    block, generator, longest = walker.camera("<", tail=tail), random.Random(1), 0
    for step in range(300):
        exif = tool_edit(piexif.load(HEADER + block), "x" * generator.choice((0, 3, 90, 700, 900)))
        if step % 3 == 0:
            exif["GPS"] = {}
        if step % 5 == 0:
            exif["Exif"].pop(EXIF.OffsetTimeOriginal)
        if step % 7 == 0:
            exif["0th"][IMAGE.Artist] = "y" * generator.randrange(200)
        block = piexif.dump(exif)[6:]
        longest = max(longest, len(block))
    assert (
        Tiff(block).faults == []
        and Tiff(block).maker_note() == Tiff(walker.camera("<", tail=tail)).maker_note()
    )
    one_edit = len(
        edit(
            walker.camera("<", tail=tail),
            lambda exif: (
                tool_edit(exif, "x" * 900),
                exif["0th"].update({IMAGE.Artist: "y" * 200}),
            ),
        )
    )
    assert longest < one_edit + 1200  # some room is lost to fragments, but it is used again


def test_what_makes_room_for_ifd0_leaves_no_copy_behind():
    before = walker.block("<", {"0th": [(0x010F, 2, 60, b"letters".rjust(59, b".") + b"\0")]})
    after = edit(before)
    assert_only(before, after)
    assert after.count(b"letters") == 1 and Tiff(after).offsets["0th"] == 8


def test_editing_back_and_forth_settles():
    block, seen = walker.camera(">"), set()
    for step in range(12):
        exif = piexif.load(HEADER + block)
        exif["0th"][IMAGE.ImageDescription] = ("a" * 40, "b" * 800)[step % 2]
        block = piexif.dump(exif)[6:]
        seen.add(len(block))
    assert len(seen) <= 4


# ---- properties

NUMBERS = {1: "B", 3: "H", 4: "L", 5: "2L", 6: "b", 8: "h", 9: "l", 10: "2l", 11: "f", 12: "d"}
KNOWN = {
    "0th": [0x010E, 0x010F, 0x0110, 0x0112, 0x011A, 0x0131, 0x0132, 0x013B, 0x8298, 0x9C9B, 0xC628],
    "1st": [0x0103, 0x011A, 0x0131],
    "Exif": [0x829A, 0x8827, 0x9000, 0x9003, 0x9204, 0x9286, 0x9291, 0xA002, 0xA301, 0xA420],
    "GPS": list(range(0, 31, 3)),
    "Interop": [1],
}
UNKNOWN = [0x0003, 0x1234, 0xC999, 0xEA1C, 0xFDEA]


@st.composite
def fields(draw, name, order):
    result = []
    tags = draw(st.lists(st.sampled_from(KNOWN[name] + UNKNOWN), unique=True, max_size=8))
    for tag in tags:
        kind = draw(st.sampled_from([2, 7] + list(NUMBERS)))
        count = draw(st.sampled_from([0, 1, 1, 2, 3, 5, 40]))
        raw = draw(
            st.binary(min_size=walker.SIZE[kind] * count, max_size=walker.SIZE[kind] * count)
        )
        result.append((tag, kind, count, raw))
    if name == "Exif" and draw(st.booleans()):
        note = draw(st.binary(min_size=5, max_size=60))
        result.append((0x927C, 7, len(note), note))
    return result


@st.composite
def blocks(draw):
    order = draw(st.sampled_from("<>"))
    names = ["0th"] + draw(
        st.lists(st.sampled_from(["Exif", "GPS", "Interop", "1st"]), unique=True)
    )
    ifds = {name: draw(fields(name, order)) for name in names}
    return walker.block(
        order,
        ifds,
        sequence=draw(st.permutations(walker.NATURAL)),
        thumb=draw(st.sampled_from([None, None, b"", b"no picture", walker.THUMB])),
        gap=draw(st.sampled_from([b"", b"", bytes(2), bytes(30), b"PRIVATE!"])),
        tail=draw(st.sampled_from([b"", b"", b"\0", b"tail"])),
    )


texts = st.one_of(
    st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=40),
    st.binary(max_size=40),
    st.just("z" * 500),
)
pairs = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
EDITS = {
    ("0th", IMAGE.ImageDescription): texts,
    ("0th", IMAGE.Make): texts,
    ("0th", IMAGE.Orientation): st.integers(0, 65535),
    ("0th", IMAGE.ImageHistory): texts,
    ("Exif", EXIF.DateTimeOriginal): texts,
    ("Exif", EXIF.SubSecTimeOriginal): texts,
    ("Exif", EXIF.UserComment): st.binary(max_size=90),
    ("GPS", GPS.GPSLatitude): st.tuples(pairs, pairs, pairs),
    ("GPS", GPS.GPSAltitude): pairs,
    ("GPS", GPS.GPSAltitudeRef): st.integers(0, 255),
    ("Interop", piexif.InteropIFD.InteroperabilityIndex): texts,
    ("1st", IMAGE.Software): texts,
}
edits = st.dictionaries(st.sampled_from(sorted(EDITS)), st.none(), min_size=1, max_size=6).flatmap(
    lambda chosen: st.fixed_dictionaries({key: st.one_of(EDITS[key], st.none()) for key in chosen})
)


def apply_edits(exif, changes):
    """Set values; None deletes.  An IFD that this empties is given a tag, for emptying one deletes its unknown tags."""
    for (name, tag), value in changes.items():
        if value is None:
            exif[name].pop(tag, None)
        else:
            exif[name][tag] = value


@settings(max_examples=250, **REPEATABLE)
@given(blocks(), edits)
def test_property_random_edit_changes_only_its_own_tags(before, changes):
    exif = piexif.load(HEADER + before)
    had = {name: bool(exif[name]) for name in KNOWN}
    apply_edits(exif, changes)
    emptied = {name for name in KNOWN if had[name] and not exif[name]}
    after = piexif.dump(exif)[6:]
    edited = set(changes) | {key for key in Tiff(before).fields() if key[0] in emptied}
    one, two = Tiff(before), Tiff(after)
    assert {key: value for key, value in two.fields().items() if key not in edited} == {
        key: value for key, value in one.fields().items() if key not in edited
    }
    assert two.order == one.order and set(two.faults) <= set(one.faults)
    if "Exif" not in emptied:
        assert two.maker_note() == one.maker_note()
    if "1st" not in emptied:
        assert two.thumbnail == one.thumbnail
    again = piexif.load(HEADER + after)
    for (name, tag), value in changes.items():
        assert again[name].get(tag) == (value.encode() if isinstance(value, str) else value)
    assert piexif.dump(again)[6:] == after
    apply_edits(again, changes)
    assert piexif.dump(again)[6:] == after


@settings(max_examples=150, **REPEATABLE)
@given(blocks())
def test_property_load_dump_load_is_load(block):
    exif = piexif.load(HEADER + block)
    assert piexif.dump(exif) == HEADER + block
    rebuilt = {
        name: dict(value) if isinstance(value, dict) else value for name, value in exif.items()
    }
    try:
        made = piexif.dump(rebuilt)
    except ValueError:
        return  # a value of a type that its tag does not have, and nothing left that says so
    again, was = values(piexif.load(made)), values(exif)
    for name, ifd in was.items():
        assert set(again[name]) == set(ifd)
        for tag, value in ifd.items():
            found = again[name][tag]
            if isinstance(value, bytes) and not isinstance(
                found, bytes
            ):  # a BYTE tag that was stored as text
                found = bytes([found] if isinstance(found, int) else found)
            assert repr(found) == repr(value)  # for NaN
    assert Tiff(made[6:]).faults == []


@settings(max_examples=150, **REPEATABLE)
@given(blocks(), edits)
def test_property_what_is_put_in_comes_out_of_a_new_block(block, changes):
    plain = {name: {} for name in KNOWN}
    apply_edits(plain, changes)
    plain["thumbnail"] = None
    made = piexif.dump(plain)
    assert Tiff(made[6:]).faults == []
    again = values(piexif.load(made))
    for (name, tag), value in changes.items():
        assert again[name].get(tag) == (value.encode() if isinstance(value, str) else value)


@settings(max_examples=60, **REPEATABLE)
@given(blocks(), st.lists(edits, min_size=2, max_size=8))
def test_property_a_chain_of_edits_equals_its_last_values(before, chain):
    block, last = before, {}
    for changes in chain:
        exif = piexif.load(HEADER + block)
        if any(
            exif[name]
            and not set(exif[name])
            - {tag for (ifd, tag), value in changes.items() if ifd == name and value is None}
            for name in KNOWN
        ):
            continue  # would empty an IFD
        apply_edits(exif, changes)
        last.update(changes)
        block = piexif.dump(exif)[6:]
    one, two = Tiff(before), Tiff(block)
    assert {key: value for key, value in two.fields().items() if key not in last} == {
        key: value for key, value in one.fields().items() if key not in last
    }
    assert (
        set(two.faults) <= set(one.faults)
        and two.maker_note() == one.maker_note()
        and two.thumbnail == one.thumbnail
    )


WAYS = {
    "text and place": {
        "0th": {IMAGE.ImageDescription: LONG_TEXT},
        "GPS": {1: b"S", 29: b"2024:05:06"},
    },
    "one out": {"GPS": {29: None, 6: (5, 1)}},
    "emptied": {"GPS": dict.fromkeys(range(32))},
    "none there": {"GPS": {30: None}},
    "as it was": {"GPS": piexif.load(HEADER + walker.camera("<"))["GPS"]},
    "text for bytes": {"0th": {IMAGE.Make: "Maker"}},
}


@pytest.mark.parametrize("picture", [None, b"\xff\xd8another\xff\xd9"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("whole", [True, False])
def test_dump_edited_gives_what_dump_gives_of_the_changed_dict(whole, way, picture):
    """None where that is the block as it was; a photo without EXIF has none."""
    loaded = piexif.load(HEADER + walker.camera("<"))
    if not whole:
        loaded = {name: {} for name in loaded if name != "thumbnail"}
    before, changed = copy.deepcopy(loaded), copy.deepcopy(loaded)
    for name, tags in WAYS[way].items():
        changed[name].update(tags)
        for tag in [tag for tag, value in changed[name].items() if value is None]:
            del changed[name][tag]
    if picture is not None:
        changed["thumbnail"] = picture
    wanted, as_it_was = piexif.dump(changed), piexif.dump(loaded)
    block = piexif.dump_edited(loaded, WAYS[way], picture=picture)
    assert block == (None if wanted == as_it_was else wanted)
    assert loaded == before
