"""--panorama: photos twice as wide as high are marked as spheres, and everything else in them stays."""

import json
import re
import shutil
import subprocess

import making
import mapillary_tools as mt
import pytest
from conftest import run

EXIFTOOL = shutil.which("exiftool")
PLACE = {"lat": 57.7, "lon": 11.97}
OTHER_XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF '
    b'xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description r:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/jpeg"/></r:RDF></x:xmpmeta>'
    + b" " * 200
    + b'<?xpacket end="w"?>'
)
MARK = b"GPano:ProjectionType"


def photo(path, size=(128, 64), xmp=None, **fields):
    """A photo with a place; an XMP packet is put behind its Exif segment."""
    made = making.photo(path, size=size, **{**PLACE, **fields})
    if xmp is not None:
        content = made.read_bytes()
        at = 2
        while content[at + 1] in (0xE0, 0xE1):
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        body = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
        made.write_bytes(content[:at] + segment + content[at:])
    return made


def process(folder, *more):
    """Run process over a folder; the first line of a report is not looked at."""
    ran = run("process", "--import_path", str(folder), "--user_name", "anna", *more)
    assert ran.code == 0, ran.stderr
    return ran.stdout + ran.stderr


def without_ours(content):
    """The segments of a JPEG but for the Exif one, and those of XMP without a mark of ours."""
    told = []
    for marker, payload in making.segments(content):
        if payload.startswith(b"Exif"):
            continue
        plain = re.sub(rb"<\w+:Description [^>]*GPano:ProjectionType[^>]*/>", b"", payload)
        told.append((marker, plain))
    return told


@pytest.mark.parametrize("xmp", [None, OTHER_XMP])
def test_a_wide_photo_is_marked_and_all_else_stays(tmp_path, xmp):
    path = photo(tmp_path / "1.jpg", xmp=xmp)
    before = path.read_bytes()
    process(tmp_path, "--panorama")
    after = path.read_bytes()
    assert after.count(MARK) == 1
    kept = [one for one in without_ours(after) if b"xap/1.0" not in one[1] or xmp is not None]
    assert kept == without_ours(before)
    assert mt.read_found(path).sphere is True and mt.read_found(path).pixels == (128, 64)
    if EXIFTOOL:
        asked = [EXIFTOOL, "-j", "-G1", "-XMP:all", "-Warning", "-Error", str(path)]
        row = json.loads(subprocess.run(asked, stdout=subprocess.PIPE).stdout.decode("utf-8"))[0]
        assert row["XMP-GPano:FullPanoWidthPixels"] == 128
        assert row["XMP-GPano:CroppedAreaImageHeightPixels"] == 64
        assert row["XMP-GPano:ProjectionType"] == "equirectangular"
        assert row.get("XMP-dc:Format") == (None if xmp is None else "image/jpeg")
        assert not {"ExifTool:Warning", "ExifTool:Error"} & set(row)


def test_a_second_run_writes_nothing(tmp_path):
    path = photo(tmp_path / "1.jpg")
    process(tmp_path, "--panorama")
    before = path.read_bytes()
    assert "already" in process(tmp_path, "--panorama") and path.read_bytes() == before


@pytest.mark.parametrize(
    "size, xmp",
    [((128, 66), None), ((64, 64), None), ((128, 64), "marked")],
)
def test_others_are_not_marked(tmp_path, size, xmp):
    """Of other sizes, and those that have a mark of their own."""
    own = OTHER_XMP.replace(
        b"dc:format=",
        b'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" GPano:ProjectionType="equirectangular" dc:format=',
    )
    path = photo(tmp_path / "1.jpg", size=size, xmp=own if xmp else None)
    before = without_ours(path.read_bytes())
    said = process(tmp_path, "--panorama")
    assert without_ours(path.read_bytes()) == before and "twice as wide" not in said
    assert path.read_bytes().count(MARK) == bool(xmp)


def test_without_the_option_it_is_said_and_nothing_marked(tmp_path):
    for number in (1, 2, 3, 4, 5):
        photo(tmp_path / f"{number}.jpg", lat=57.7 + number / 1000)
    said = process(tmp_path)
    assert said.count("--panorama marks them") == 1 and "5 images twice as wide as high" in said
    assert all(MARK not in path.read_bytes() for path in tmp_path.glob("*.jpg"))


@pytest.mark.parametrize("xmp", [None, OTHER_XMP])
def test_a_run_without_it_takes_the_mark_back(tmp_path, xmp):
    plain, marked = (
        photo(tmp_path / "a" / "1.jpg", xmp=xmp),
        photo(tmp_path / "b" / "1.jpg", xmp=xmp),
    )
    process(plain.parent)
    process(marked.parent, "--panorama")
    process(marked.parent)
    assert marked.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("xmp", [None, OTHER_XMP])
def test_restore_takes_the_mark_out(tmp_path, xmp):
    path = photo(tmp_path / "1.jpg", xmp=xmp)
    before = path.read_bytes()
    process(tmp_path, "--panorama")
    assert run("restore", "--import_path", str(tmp_path)).code == 0
    assert making.without_exif(path.read_bytes()) == making.without_exif(before)
    assert making.place(path) == (57.7, 11.97, None) and "GPSImgDirection" not in making.read_exif(
        path
    )


def test_a_copy_and_what_is_sent_are_marked_and_the_original_is_not(tmp_path, monkeypatch):
    path = photo(tmp_path / "in" / "1.jpg")
    before = path.read_bytes()
    process(tmp_path / "in", "--panorama", "--keep_original")
    copy = next((tmp_path / "in" / ".mapillary").rglob("1.jpg"))
    assert path.read_bytes() == before and copy.read_bytes().count(MARK) == 1
    other = photo(tmp_path / "other" / "2.jpg")
    ran = run(
        *("process_and_upload", "--import_path", str(other.parent), "--user_name", "anna"),
        *("--panorama", "--skip_EXIF_insert", "--stand_in", str(tmp_path / "received")),
    )
    assert ran.code == 0, ran.stderr
    sent = list((tmp_path / "received").rglob("*.jpg"))
    assert [one.read_bytes().count(MARK) for one in sent] == [1]
    assert MARK not in other.read_bytes()


def test_xmp_without_room_costs_that_photo_alone(tmp_path):
    full = OTHER_XMP.replace(b" " * 200, b"<!--" + b"x" * 64900 + b"-->")
    photo(tmp_path / "1.jpg", xmp=full)
    photo(tmp_path / "2.jpg", lat=57.701)
    before = (tmp_path / "1.jpg").read_bytes()
    ran = run("process", "--import_path", str(tmp_path), "--user_name", "anna", "--panorama")
    assert ran.code == 1 and "1.jpg" in ran.stdout + ran.stderr
    assert "cannot be marked as a panorama" in ran.stdout + ran.stderr
    assert (tmp_path / "1.jpg").read_bytes() == before
    assert (tmp_path / "2.jpg").read_bytes().count(MARK) == 1


def test_a_picture_behind_the_photo_is_still_found(tmp_path):
    """The preview that an entry of IFD0's SubIFD leads to moves with the head, by mark and Exif together."""
    preview = making.jpeg((16, 8), None, 0, 0)
    more = {"0th": {0x0111: (making.LONG, 0), 0x0117: (making.LONG, len(preview))}}
    for _ in range(2):
        block = making.exif_tiff(more=more, **PLACE)
        content = making.jpeg((128, 64), block, 0, 0)
        at = len(content) - (content.index(b"Exif\0\0") + 6)
        more["0th"][0x0111] = (making.LONG, at)
    path = tmp_path / "1.jpg"
    path.write_bytes(content + preview)
    process(tmp_path, "--panorama")
    after = path.read_bytes()
    base = after.index(b"Exif\0\0") + 6
    tags = making.read_tiff(making.exif_block(after))["0th"]
    where = tags[0x0111]
    assert after[base + where :] == preview and after.count(MARK) == 1
