"""Paths: atomic, permissions kept, only heads read, memory independent of the file's size."""

import io
import os
import pathlib
import stat
import struct
import subprocess
import sys
import zipfile

import pytest

import walker
from walker import JFIF, XMP, exif, jpeg, tool_edit

piexif = walker.vendored()
IMAGE = jpeg(JFIF, exif(walker.camera("<")), XMP, tail=b"TRAILER")
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions and links")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(IMAGE)
    return path


def edited_bytes(image=IMAGE):
    out = io.BytesIO()
    piexif.insert(piexif.dump(tool_edit(piexif.load(image))), image, out)
    return out.getvalue()


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_paths_in_and_out(photo, kind):
    payload = piexif.dump(tool_edit(piexif.load(kind(photo))))
    piexif.insert(payload, kind(photo), kind(photo.parent / "out.jpg"))
    assert photo.read_bytes() == IMAGE and (photo.parent / "out.jpg").read_bytes() == edited_bytes()
    out = io.BytesIO()
    piexif.insert(payload, kind(photo), out)
    assert out.getvalue() == edited_bytes()
    piexif.insert(payload, IMAGE, kind(photo.parent / "out2.jpg"))
    assert (photo.parent / "out2.jpg").read_bytes() == edited_bytes()
    piexif.insert(payload, kind(photo))
    assert photo.read_bytes() == edited_bytes()
    piexif.remove(kind(photo))
    assert photo.read_bytes() == jpeg(JFIF, XMP, tail=b"TRAILER")
    piexif.transplant(kind(photo.parent / "out.jpg"), kind(photo))
    assert piexif.load(kind(photo)) == piexif.load(edited_bytes())
    assert sorted(os.listdir(str(photo.parent))) == ["out.jpg", "out2.jpg", "photo.jpg"]


def test_a_file_name_given_as_bytes_is_never_opened(photo):
    with pytest.raises(piexif.InvalidImageDataError):
        piexif.load(os.fsencode(str(photo)))
    with pytest.raises(piexif.InvalidImageDataError):
        piexif.insert(b"Exif\0\0" + walker.camera(), os.fsencode(str(photo)), io.BytesIO())


def test_what_is_no_path_and_no_bytes_is_refused():
    for image in (None, 5, io.BytesIO(IMAGE), ["a"]):
        with pytest.raises(piexif.InvalidImageDataError):
            piexif.load(image)


def test_a_missing_file_raises_os_error(tmp_path):
    with pytest.raises(OSError):
        piexif.load(tmp_path / "missing.jpg")
    with pytest.raises(OSError):
        piexif.insert(b"Exif\0\0" + walker.camera(), IMAGE, tmp_path / "no folder" / "out.jpg")


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_other(photo, monkeypatch, step):
    files = sys.modules[piexif.__name__ + ".files"]

    def fail(*args, **options):
        raise OSError(28, "No space left on device")

    if step == "write":
        monkeypatch.setattr(files, "_copy", fail)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError):
        piexif.insert(piexif.dump(tool_edit(piexif.load(photo))), photo)
    monkeypatch.undo()
    assert photo.read_bytes() == IMAGE and os.listdir(str(photo.parent)) == ["photo.jpg"]


def test_a_refused_edit_leaves_the_old_file_and_no_other(photo):
    for target in (None, photo.parent / "new.jpg"):
        with pytest.raises(ValueError):
            piexif.insert(b"Exif\0\0" + bytes(70000), photo, target)
    assert photo.read_bytes() == IMAGE and os.listdir(str(photo.parent)) == ["photo.jpg"]


def test_the_new_file_is_flushed_then_renamed_within_its_folder(photo, monkeypatch):
    steps, opened, closed = [], [], []
    fsync, replace = os.fsync, os.replace
    files = sys.modules[piexif.__name__ + ".files"]
    monkeypatch.setattr(
        files, "open", lambda *args: opened.append(open(*args)) or opened[-1], raising=False
    )
    monkeypatch.setattr(os, "fsync", lambda number: (steps.append("fsync"), fsync(number)))
    monkeypatch.setattr(
        os,
        "replace",
        lambda one, two: (
            steps.append((one, two)),
            replace(one, two),
            closed.append(all(file.closed for file in opened)),
        ),
    )
    piexif.remove(photo)
    (part, target) = steps[1]
    assert len(opened) == 2 and closed == [True]  # Windows renames no open file
    assert steps[0] == "fsync" and os.path.dirname(part) == os.path.dirname(
        target
    ) == os.path.realpath(str(photo.parent))
    assert os.path.basename(part).startswith(".mapillary-") and part.endswith(".part")


@posix
def test_permissions_are_kept_and_a_new_file_gets_the_usual_ones(photo):
    os.chmod(str(photo), 0o640)
    piexif.remove(photo)
    assert stat.S_IMODE(os.stat(str(photo)).st_mode) == 0o640
    old = os.umask(0o027)
    try:
        piexif.insert(b"Exif\0\0" + walker.camera(), photo, photo.parent / "new.jpg")
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(str(photo.parent / "new.jpg")).st_mode) == 0o640


def test_an_edit_sets_the_modification_time_and_no_edit_does_not_touch_the_file(photo):
    os.utime(str(photo), (10**9, 10**9))
    before = os.stat(str(photo))
    piexif.insert(piexif.dump(piexif.load(photo)), photo)
    piexif.insert(piexif.dump(piexif.load(photo)), photo, str(photo))
    after = os.stat(str(photo))
    assert (after.st_mtime, after.st_ino) == (
        before.st_mtime,
        before.st_ino,
    ) and photo.read_bytes() == IMAGE
    piexif.remove(photo)
    assert os.stat(str(photo)).st_mtime > 10**9


@posix
def test_a_symbolic_link_stays_one(photo):
    link = photo.parent / "link.jpg"
    link.symlink_to(photo)
    piexif.remove(link)
    assert link.is_symlink() and photo.read_bytes() == jpeg(JFIF, XMP, tail=b"TRAILER")


def test_no_edit_to_another_path_copies_the_file(photo):
    piexif.insert(piexif.dump(piexif.load(photo)), photo, photo.parent / "copy.jpg")
    assert (photo.parent / "copy.jpg").read_bytes() == IMAGE


def test_bytes_io_is_written_from_where_it_stands_and_rewound():
    out = io.BytesIO()
    piexif.insert(piexif.dump(piexif.load(IMAGE)), bytearray(IMAGE), out)
    assert out.tell() == 0 and out.read() == IMAGE


def test_load_reads_the_head_only(tmp_path, monkeypatch):
    path = tmp_path / "big.jpg"
    path.write_bytes(IMAGE[:-9] + bytes(5000000) + IMAGE[-9:])
    files, read = sys.modules[piexif.__name__ + ".files"], []

    class Counting(io.FileIO):
        def readinto(self, buffer):
            count = super().readinto(buffer)
            read.append(count)
            return count

    monkeypatch.setattr(
        files, "open", lambda name, mode: io.BufferedReader(Counting(str(name), "r")), raising=False
    )
    assert piexif.load(path) == piexif.load(IMAGE)
    assert sum(read) < 200000


MEASURE = """
import importlib.util, sys
find = importlib.util.spec_from_file_location
spec = find("own", sys.argv[1] + "/__init__.py", submodule_search_locations=[sys.argv[1]])
own = importlib.util.module_from_spec(spec); sys.modules["own"] = own; spec.loader.exec_module(own)
exif = own.load(sys.argv[2]); exif["0th"][270] = "x" * 700
own.insert(own.dump(exif), sys.argv[2], sys.argv[3])
try:  # ru_maxrss counts the parent, too, until exec
    print([int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
except OSError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
"""


@posix
@pytest.mark.slow
def test_a_200_mb_jpeg_is_edited_in_less_than_40_mb(tmp_path):
    path, out = tmp_path / "big.jpg", tmp_path / "out.jpg"
    with open(str(path), "wb") as file:
        file.write(IMAGE[: -len(b"TRAILER") - 2])
        file.truncate(200 * 2**20)
        file.seek(0, 2)
        file.write(b"\xff\xd9")
    used = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            MEASURE,
            str(walker.ROOT / "vendor" / "piexif"),
            str(path),
            str(out),
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert int(used.stdout) < 40 * 2**20
    assert piexif.load(out)["0th"][270] == b"x" * 700
    assert os.path.getsize(str(out)) - os.path.getsize(str(path)) < 1000
    with open(str(out), "rb") as file:
        file.seek(-2, 2)
        assert file.read() == b"\xff\xd9"


def test_a_jpeg_that_never_ends_is_read_in_bounded_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "endless.jpg"
    with open(str(path), "wb") as file:
        file.write(b"\xff\xd8" + exif(walker.camera()))
        file.truncate(20 * 2**20)
    tracemalloc.start()
    try:
        assert piexif.load(path)["0th"][0x010F] == b"Maker"
        with pytest.raises(piexif.InvalidImageDataError):
            piexif.remove(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# ---- TIFF files


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_file_is_read_without_its_pixels(tmp_path, order):
    head = b"II*\0" if order == "<" else b"MM\0*"
    place = 3000000
    exif_ifd, gps, text = place + 2 + 4 * 12 + 4, place + 200, place + 400
    entries = [
        (0x010F, 2, 6, text),
        (0x0111, 4, 1, 8),
        (0x8769, 4, 1, exif_ifd),
        (0x8825, 4, 1, gps),
    ]

    def ifd(fields):
        return (
            struct.pack(order + "H", len(fields))
            + b"".join(struct.pack(order + "HHLL", *field) for field in fields)
            + bytes(4)
        )

    path = tmp_path / "image.tif"
    with open(str(path), "wb") as file:
        file.write(head + struct.pack(order + "L", place))
        for at, piece in (
            (place, ifd(entries)),
            (exif_ifd, ifd([(0x9003, 2, 20, text + 6)])),
            (gps, ifd([(2, 5, 3, text + 26)])),
            (
                text,
                b"Maker\0" + b"2020:01:02 03:04:05\0" + struct.pack(order + "6L", 1, 1, 2, 1, 3, 1),
            ),
        ):
            file.seek(at)
            file.write(piece)
        file.truncate(300 * 2**20)
    import tracemalloc

    tracemalloc.start()
    try:
        loaded = piexif.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert loaded["0th"][0x010F] == b"Maker" and loaded["Exif"][0x9003] == b"2020:01:02 03:04:05"
    assert loaded["GPS"][2] == ((1, 1), (2, 1), (3, 1))
    again = piexif.load(piexif.dump(loaded))  # a new block of the values: a TIFF image is only read
    assert again["Exif"] == loaded["Exif"] and again["GPS"] == loaded["GPS"]
    with pytest.raises(piexif.InvalidImageDataError):
        piexif.insert(piexif.dump(loaded), path)


# ---- WebP


def webp(*chunks):
    body = b"".join(
        name + struct.pack("<L", len(content)) + content + bytes(len(content) % 2)
        for name, content in chunks
    )
    return b"RIFF" + struct.pack("<L", 4 + len(body)) + b"WEBP" + body


LOSSY = (b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480) + bytes(7))
LOSSLESS = (b"VP8L", b"\x2f" + struct.pack("<L", 639 | 479 << 14 | 1 << 28) + bytes(6))


@pytest.mark.parametrize("picture, flags", [(LOSSY, 0x08), (LOSSLESS, 0x18)])
def test_exif_goes_into_a_simple_webp_and_comes_out_again(tmp_path, picture, flags):
    path = tmp_path / "image.webp"
    path.write_bytes(webp(picture))
    payload = piexif.dump({"0th": {271: b"Maker"}})
    piexif.insert(payload, path)
    extended = (b"VP8X", bytes([flags, 0, 0, 0]) + b"\x7f\x02\0" + b"\xdf\x01\0")
    assert path.read_bytes() == webp(extended, picture, (b"EXIF", payload[6:]))
    assert piexif.load(path)["0th"] == {271: b"Maker"}
    piexif.remove(path)
    assert path.read_bytes() == webp((b"VP8X", bytes([flags & ~8]) + extended[1][1:]), picture)


def test_exif_is_replaced_in_a_webp_and_other_chunks_stay():
    extended = (b"VP8X", b"\x2c\0\0\0" + b"\x7f\x02\0" + b"\xdf\x01\0")
    image = webp(
        extended,
        (b"ICCP", b"odd"),
        LOSSY,
        (b"EXIF", b"Exif\0\0" + walker.camera()),
        (b"XMP ", b"<x/>"),
    )
    assert piexif.load(image) == piexif.load(b"Exif\0\0" + walker.camera())
    out = io.BytesIO()
    piexif.insert(b"Exif\0\0" + walker.camera(">"), image, out)
    assert out.getvalue() == webp(
        extended, (b"ICCP", b"odd"), LOSSY, (b"EXIF", walker.camera(">")), (b"XMP ", b"<x/>")
    )
    unmarked = (b"VP8X", bytes([extended[1][0] & ~8]) + extended[1][1:])
    without = webp(unmarked, LOSSY, (b"XMP ", b"<x/>"))
    for block in (walker.camera(">"), walker.camera(">") + b"odd"):
        out = io.BytesIO()
        piexif.insert(b"Exif\0\0" + block, without, out)
        assert out.getvalue() == webp(extended, LOSSY, (b"EXIF", block), (b"XMP ", b"<x/>"))


def test_a_missing_pad_byte_at_the_end_of_a_webp_is_added():
    extended = (b"VP8X", b"\x08\0\0\0" + b"\x7f\x02\0" + b"\xdf\x01\0")
    for last in ((b"EXIF", walker.camera() + b"odd"), (b"XMP ", b"odd")):
        image = webp(extended, LOSSY, last)[:-1]
        out = io.BytesIO()
        piexif.insert(b"Exif\0\0" + walker.camera(">"), image, out)
        rest = [last] if last[0] != b"EXIF" else []
        assert out.getvalue() == webp(extended, LOSSY, (b"EXIF", walker.camera(">")), *rest)


def test_webp_without_room_for_exif_is_reported_as_the_published_package_does():
    with pytest.raises(ValueError, match="doesnot have exif"):
        piexif.load(webp(LOSSY))
    assert piexif.load(webp((b"VP8X", bytes(10)), LOSSY)) == piexif.load(jpeg())


# ---- where the package lives


def test_it_is_imported_by_path_from_a_folder_and_from_a_zip_archive(tmp_path):
    archive = tmp_path / "tool.zip"
    with zipfile.ZipFile(str(archive), "w") as file:
        for path in sorted((walker.ROOT / "vendor" / "piexif").glob("*.py")):
            file.write(str(path), "vendor/piexif/" + path.name)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import piexif;"
        "print(piexif.load(piexif.dump({'0th': {271: 'x'}}))['0th'], piexif.__file__)"
    )
    for place in (str(walker.ROOT / "vendor"), str(archive / "vendor")):
        shown = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", code, place],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout.decode()
        assert shown.startswith("{271: b'x'} " + place)


def test_import_loads_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); import piexif;"
        "print(*sorted(set(sys.modules) - before))"
    )
    shown = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code, str(walker.ROOT / "vendor")],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    own = {name for name in shown.split() if name.split(".")[0] != "piexif"}
    assert own <= {
        "struct",
        "_struct",
        "operator",
        "_operator",
        "itertools",
        "os",
        "os.path",
        "posixpath",
        "ntpath",
        "genericpath",
        "stat",
        "_stat",
        "_collections_abc",
        "nt",
    }
