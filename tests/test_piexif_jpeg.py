"""JPEG segments: exactly one Exif in its place, every other byte as it was (ITU T.81, annex B; EXIF 2.32, 4.5.4)."""

import io
import struct
import warnings

import pytest

import walker
from walker import COM, ICC, JFIF, XMP, Jpeg, exif, jpeg, segment, tool_edit

piexif = walker.vendored()
CAMERA = walker.camera("<")


def insert(payload, image):
    out = io.BytesIO()
    piexif.insert(payload, image, out)
    assert out.tell() == 0
    return out.getvalue()


def written(image, change=tool_edit):
    loaded = piexif.load(image)
    change(loaded)
    return insert(piexif.dump(loaded), image)


HEADS = {
    "Exif first": [exif(CAMERA)],
    "JFIF": [JFIF],
    "nothing": [],
    "JFIF, Exif": [JFIF, exif(CAMERA)],
    "XMP, Exif": [XMP, exif(CAMERA)],
    "JFIF, XMP, Exif": [JFIF, XMP, exif(CAMERA)],
    "JFIF, JFXX": [JFIF, segment(0xE0, b"JFXX\0\x10" + walker.THUMB)],
    "COM, Exif": [COM, exif(CAMERA)],
    "Exif, ICC, COM": [exif(CAMERA), ICC, COM],
    "two Exif": [exif(CAMERA), XMP, exif(walker.camera(">"))],
    "three Exif": [exif(CAMERA)] * 3,
    "XMP only": [XMP],
    "COM, then JFIF": [COM, JFIF],
    "Exif without TIFF": [exif(b""), ICC],
    "broken Exif, good Exif": [exif(b"II*\1nonsense"), ICC, exif(CAMERA)],
    "a marker without length": [b"\xff\x01", exif(CAMERA)],
    "extended XMP": [
        exif(CAMERA),
        XMP,
        segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + bytes(8) + b"x" * 99),
    ],
}


@pytest.mark.parametrize(
    "tail", [b"", b"TRAILER" * 9, b"\xff\xe1\0\x10Exif\0\0II*\0\x08\0\0\0" + b"AXS!" + bytes(8)]
)
@pytest.mark.parametrize("head", HEADS)
def test_exactly_one_exif_and_every_other_segment_as_it_was(head, tail):
    image = jpeg(*HEADS[head], tail=tail)
    result = written(image)
    before, after = Jpeg(image), Jpeg(result)
    assert after.others() == before.others() and after.rest == before.rest
    assert len(after.exifs()) == 1 and piexif.load(result)["Exif"][0x9003] == b"2024:05:06 07:08:09"
    assert written(result) == result


@pytest.mark.parametrize(
    "head, place",
    [
        ("XMP, Exif", 1),
        ("Exif, ICC, COM", 0),
        ("JFIF", 1),
        ("JFIF, JFXX", 2),
        ("XMP only", 0),
        ("COM, then JFIF", 0),
        ("nothing", 0),
        ("two Exif", 0),
        ("COM, Exif", 1),
    ],
)
def test_exif_stays_in_its_place_and_a_new_one_goes_behind_app0(head, place):
    after = Jpeg(written(jpeg(*HEADS[head])))
    assert after.segments[place][2][4:10] == b"Exif\0\0"


@pytest.mark.parametrize("head", HEADS)
def test_no_edit_gives_the_same_file(head):
    image = jpeg(*HEADS[head], tail=b"tail")
    assert written(image, lambda loaded: None) == image


@pytest.mark.parametrize("head", HEADS)
def test_remove_takes_exactly_the_exif_out(head):
    out = io.BytesIO()
    piexif.remove(jpeg(*HEADS[head], tail=b"tail"), out)
    assert out.getvalue() == jpeg(
        *[part for part in HEADS[head] if part[4:8] != b"Exif"], tail=b"tail"
    )


def test_transplant_is_exact():
    out = io.BytesIO()
    piexif.transplant(jpeg(JFIF, exif(CAMERA)), jpeg(JFIF, XMP, exif(walker.camera(">")), ICC), out)
    assert out.getvalue() == jpeg(JFIF, XMP, exif(CAMERA), ICC)
    with pytest.raises(ValueError, match="not found exif in input"):
        piexif.transplant(jpeg(JFIF), jpeg(JFIF), io.BytesIO())


def test_fill_bytes_and_stray_bytes_between_segments_are_kept():
    for junk in (b"\xff", b"\xff\xff\xff", b"stray"):
        image = b"\xff\xd8" + JFIF + junk + exif(CAMERA) + junk + jpeg(ICC)[2:]
        result = written(image)
        assert result.startswith(b"\xff\xd8" + JFIF + junk + b"\xff\xe1") and result.endswith(
            junk + jpeg(ICC)[2:]
        )
        assert piexif.load(result)["0th"][0x010F] == b"Maker"


@pytest.mark.parametrize("cut", ["at SOS", "behind SOS"])
def test_a_head_without_its_scan_works_like_the_whole_file(cut):
    image = jpeg(JFIF, exif(CAMERA), ICC, tail=b"tail")
    end = image.rindex(walker.SOS) + (len(walker.SOS) if cut == "behind SOS" else 2)
    assert piexif.load(image[:end]) == piexif.load(image)
    assert written(image[:end]) + image[end:] == written(image)


def test_an_identifier_that_ends_in_ff_is_read_and_left_alone_without_edit():
    image = jpeg(segment(0xE1, b"Exif\0\xff" + CAMERA))
    assert piexif.load(image)["0th"][0x010F] == b"Maker"
    assert written(image, lambda loaded: None) == image
    assert Jpeg(written(image)).exifs()[0][:6] == b"Exif\0\0"


def test_exif_spread_over_two_segments_is_read_and_left_alone_without_edit():
    block = walker.camera("<", tail=bytes(70000))
    image = jpeg(exif(block[:65000]), segment(0xE1, b"Exif\0\0" + block[65000:]), ICC)
    assert piexif.load(image) == piexif.load(b"Exif\0\0" + block)
    assert written(image, lambda loaded: None) == image
    out = io.BytesIO()
    piexif.transplant(jpeg(exif(CAMERA)), image, out)
    assert out.getvalue() == jpeg(exif(CAMERA), ICC)


# ---- MPF (CIPA DC-007)


def mpf(offset, size=100):
    """An MPF segment of two images; the second stands offset bytes behind the segment's TIFF header."""
    entries = [
        (0xB000, 7, 4, b"0100"),
        (0xB001, 4, 1, struct.pack(">L", 2)),
        (
            0xB002,
            7,
            32,
            struct.pack(">3L2H", 0x20030000, 1000, 0, 0, 0)
            + struct.pack(">3L2H", 0, size, offset, 0, 0),
        ),
    ]
    return segment(0xE2, b"MPF\0" + walker.block(">", {"0th": entries}))


def second_image(data):
    """The bytes that the MPF segment's second entry leads to."""
    at = data.index(b"MPF\0") + 4
    entry = data.index(struct.pack(">3L", 0x20030000, 1000, 0), at) + 16
    size, offset = struct.unpack_from(">2L", data, entry + 4)
    return data[at + offset : at + offset + size]


SECOND = walker.THUMB + b"2nd"


def with_mpf(build):
    image = build(mpf(0, len(SECOND)))
    offset = image.index(SECOND) - image.index(b"MPF\0") - 4
    image = build(mpf(offset, len(SECOND)))
    assert second_image(image) == SECOND
    return image


def test_mpf_behind_exif_keeps_its_bytes_and_its_images():
    image = with_mpf(lambda part: jpeg(exif(CAMERA), part, tail=SECOND))
    result = written(image)
    assert second_image(result) == SECOND and Jpeg(result).others() == Jpeg(image).others()


@pytest.mark.parametrize(
    "build",
    [
        lambda part: jpeg(JFIF, part, exif(CAMERA), ICC, tail=SECOND),
        lambda part: jpeg(exif(CAMERA), part, exif(CAMERA), tail=SECOND),
    ],
)
def test_mpf_before_exif_still_leads_to_its_images(build):
    image = with_mpf(build)
    for result in (
        written(image),
        written(written(image), lambda loaded: loaded.update(thumbnail=None)),
    ):
        assert second_image(result) == SECOND
    out = io.BytesIO()
    piexif.remove(image, out)
    assert second_image(out.getvalue()) == SECOND


# ---- 64 KB


def nearly_full(spare):
    """A block that leaves this much of a segment free, most of it thumbnail."""
    size = 65527 - spare - len(walker.camera("<", thumb=b""))
    return walker.camera("<", thumb=b"\xff\xd8" + bytes(size - 2))


def test_thumbnail_is_dropped_with_a_warning_when_the_block_outgrows_its_segment():
    image = jpeg(exif(nearly_full(100)))
    with pytest.warns(UserWarning, match="thumbnail dropped"):
        result = written(image)
    assert len(Jpeg(result).exifs()) == 1 and piexif.load(result)["thumbnail"] is None
    before, after = walker.Tiff(nearly_full(100)), walker.Tiff(Jpeg(result).exifs()[0][6:])
    assert (
        after.maker_note() == before.maker_note() and after.faults == [] and "1st" not in after.ifds
    )


def test_a_block_fills_its_segment_to_the_last_byte():
    plain = {"0th": {piexif.ImageIFD.ImageDescription: ""}}
    room = (
        65533 - len(piexif.dump({"0th": {piexif.ImageIFD.ImageDescription: "x" * 60000}})) + 60000
    )
    plain["0th"][piexif.ImageIFD.ImageDescription] = "x" * room
    assert len(Jpeg(insert(piexif.dump(plain), jpeg())).exifs()[0]) == 65533
    plain["0th"][piexif.ImageIFD.ImageDescription] = "x" * (room + 1)
    with pytest.raises(ValueError, match="65533"):
        insert(piexif.dump(plain), jpeg())


def test_too_large_raises_value_error_and_writes_nothing():
    out = io.BytesIO()
    with pytest.raises(ValueError):
        piexif.insert(piexif.dump({"0th": {270: "x" * 70000}}), jpeg(), out)
    assert out.getvalue() == b""


def test_a_thumbnail_is_not_dropped_where_that_does_not_help():
    loaded = piexif.load(jpeg(exif(CAMERA)))
    loaded["0th"][270] = "x" * 70000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = piexif.dump(loaded)
    assert piexif.load(made)["thumbnail"] == walker.THUMB
    with pytest.raises(ValueError, match="too large"):
        insert(made, jpeg(exif(CAMERA)))


def test_a_given_thumbnail_that_no_segment_holds_is_refused_in_the_published_words():
    for exif_dict in (
        {"0th": {}, "1st": {}, "thumbnail": bytes(66000)},
        dict(piexif.load(jpeg(exif(CAMERA))), thumbnail=bytes(66000)),
    ):
        with pytest.raises(ValueError, match="^Given thumbnail is too large. max 64kB$"):
            piexif.dump(exif_dict)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert piexif.load(piexif.dump({"0th": {}, "1st": {}, "thumbnail": bytes(65000)}))[
            "thumbnail"
        ] == bytes(65000)


# ---- what is refused


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe1\xff\xff",
        jpeg(JFIF)[:-40],
        b"GIF89a",
        b"\xff\xd8" + exif(CAMERA)[:-9],
        b"photo.jpg",
    ],
)
def test_insert_refuses_what_is_no_whole_jpeg_head(image):
    out = io.BytesIO()
    with pytest.raises(piexif.InvalidImageDataError):
        piexif.insert(b"Exif\0\0" + CAMERA, image, out)
    assert out.getvalue() == b""


def test_error_texts_are_the_published_ones():
    image = jpeg(JFIF)
    for text, call in (
        ("Given data is not exif data", lambda: piexif.insert(b"dummy", image, io.BytesIO())),
        (
            "Give a 3rd argument to 'insert' to output file",
            lambda: piexif.insert(b"Exif\0\0" + CAMERA, image),
        ),
        (
            "Give a 3rd argument to 'insert' to output file",
            lambda: piexif.insert(b"Exif\0\0" + CAMERA, image, False),
        ),
        ("Give a second argument to 'remove' to output file", lambda: piexif.remove(image)),
        (
            "Give a 3rd argument to 'transplant' to output file",
            lambda: piexif.transplant(jpeg(exif(CAMERA)), image, False),
        ),
        ("Given file is neither JPEG nor TIFF.", lambda: piexif.load(b"not an image")),
        (
            "Wrong JPEG data.",
            lambda: piexif.insert(b"Exif\0\0" + CAMERA, b"\xff\xd8" + JFIF, io.BytesIO()),
        ),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value) == text
