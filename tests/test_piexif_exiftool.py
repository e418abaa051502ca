"""exiftool as judge: on the sample photos and on made images, an edit loses, changes and warns of nothing."""

import collections
import json
import re
import shutil
import subprocess

import pytest

import walker
from walker import exif, jpeg, tool_edit

piexif = walker.vendored()
pytestmark = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool is not installed"
)
EDITED = re.compile(
    r":(ImageDescription|DateTimeOriginal|SubSecTimeOriginal|OffsetTimeOriginal|"
    r"GPS(Latitude|Longitude|Altitude|ImgDirection)(Ref)?|GPSDateStamp|GPSTimeStamp)$"
)
PLACES = re.compile(
    r":(ThumbnailOffset|PreviewImageStart|OtherImageStart|JpgFromRawStart|StripOffsets|MPImageStart|ExifByteOrder)$"
)


def read(folder):
    """{file name: ({group and tag: values}, warnings without numbers)} of all files in a folder, in one run."""
    shown = subprocess.run(
        ["exiftool", "-j", "-b", "-G:0:1:4", "-a", "-s", "-n", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout
    result = {}
    for item in json.loads(shown.decode("utf-8", "replace")):
        tags, warnings = collections.defaultdict(list), collections.Counter()
        for key, value in item.items():
            groups = key.split(":")
            if groups[0] == "ExifTool":
                warnings[re.sub(r"\b(0x[0-9a-f]+|\d+)\b", "N", str(value))] += groups[-1] in (
                    "Warning",
                    "Error",
                )
            elif (
                len(groups) == 4
                and groups[1] != "System"
                and groups[0] != "Composite"
                and not PLACES.search(key)
            ):
                tags[":".join((groups[0], groups[1], groups[3]))].append(value)
        result[item["SourceFile"].rsplit("/", 1)[-1]] = (
            {key: sorted(map(str, values)) for key, values in tags.items()},
            warnings,
        )
    return result


def made():
    """Images as cameras and programs write them, both byte orders."""
    images = {}
    for order, name in (("<", "II"), (">", "MM")):
        for shape, options in (
            ("plain", {}),
            ("gap", {"gap": b"\x81private\x82"}),
            ("no_next", {"without_next": ("Exif", "GPS", "Interop")}),
            ("no_thumb", {"thumb": None}),
            ("reversed", {"sequence": walker.NATURAL[::-1]}),
        ):
            images["{}_{}.jpg".format(name, shape)] = jpeg(
                walker.JFIF, exif(walker.camera(order, **options)), walker.ICC
            )
    images["none.jpg"] = jpeg(walker.JFIF)
    images["xmp_first.jpg"] = jpeg(walker.XMP, exif(walker.camera("<")))
    return images


def compare(tmp_path, images):
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    for name, image in images.items():
        (before / name).write_bytes(image)
        piexif.insert(piexif.dump(tool_edit(piexif.load(image), "text")), image, after / name)
    one, two = read(before), read(after)
    assert set(one) == set(two) == set(images)
    for name in images:
        (tags, warned), (new_tags, new_warned) = one[name], two[name]
        for key in set(tags) - {key for key in tags if EDITED.search(key)}:
            assert new_tags.get(key) == tags[key], (name, key)
        assert {
            key
            for key in new_tags
            if key not in tags and not EDITED.search(key) and not key.startswith("File:")
        } == set(), name
        assert not new_warned - warned, name
        assert new_tags["EXIF:IFD0:ImageDescription"] == ["text"]
        assert float(new_tags["EXIF:GPS:GPSLatitude"][0]) == pytest.approx(57.70887, abs=1e-9)
        assert new_tags["EXIF:ExifIFD:DateTimeOriginal"] == ["2024:05:06 07:08:09"]


def test_made_images_lose_and_change_nothing(tmp_path):
    compare(tmp_path, made())


@pytest.mark.skipif(not walker.photos(), reason="no ../shared/data/photos")
@pytest.mark.slow
def test_sample_photos_lose_and_change_nothing(tmp_path):
    compare(
        tmp_path,
        {
            path.name: path.read_bytes()
            for path in walker.photos()
            if path.name != "30-type_error.jpg"
        },
    )  # its Exif IFD shows up only after the edit


def test_exiftool_finds_no_fault_in_a_new_block(tmp_path):
    (tmp_path / "new.jpg").write_bytes(jpeg())
    piexif.insert(piexif.dump(tool_edit({"0th": {}, "Exif": {}, "GPS": {}})), tmp_path / "new.jpg")
    shown = subprocess.run(
        ["exiftool", "-validate", "-warning", "-a", "-s3", str(tmp_path / "new.jpg")],
        stdout=subprocess.PIPE,
    ).stdout.decode()
    assert not [
        line
        for line in shown.splitlines()[1:]
        if "Missing required" not in line and "requires ExifVersion" not in line
    ], shown


@pytest.mark.slow
def test_what_exiftool_writes_is_read_and_kept(tmp_path):
    """exiftool's own layout, its ImageHistory in the Exif IFD included."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(exif(walker.camera("<"))))
    subprocess.run(
        [
            "exiftool",
            "-q",
            "-overwrite_original",
            "-ImageHistory=by exiftool",
            "-UserComment=remark",
            "-Artist=somebody",
            str(path),
        ],
        check=True,
    )
    loaded = piexif.load(path)
    assert loaded["Exif"][0x9213] == b"by exiftool" and loaded["0th"][0x013B] == b"somebody"
    compare(tmp_path, {"photo.jpg": path.read_bytes()})
