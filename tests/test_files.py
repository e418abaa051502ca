"""Floor 5: finding images, writing whole or not at all, workers, the configuration."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator, List

import making_tracks as tracks
import pytest

import mapillary_tools as mt
from conftest import ROOT, as_nobody, in_process

pytestmark = in_process
posix = pytest.mark.skipif(os.name != "posix", reason="rights and links of another kind")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(folder: Path, **more: Any) -> Any:
    return [path.relative_to(folder).as_posix() for path in mt.find_images(folder, **more)]


# ---- finding -----------------------------------------------------------------------------------------------------------


def test_images_come_in_natural_order(tmp_path):
    touch(
        *(
            tmp_path / name
            for name in ("IMG_10.jpg", "IMG_9.jpg", "img_1.jpg", "a.jpg", "IMG_9a.jpg", "b2.jpg")
        )
    )
    assert names(tmp_path) == [
        "a.jpg",
        "b2.jpg",
        "img_1.jpg",
        "IMG_9.jpg",
        "IMG_9a.jpg",
        "IMG_10.jpg",
    ]


def test_folders_come_in_natural_order_after_their_parent(tmp_path):
    touch(
        tmp_path / "z.jpg",
        tmp_path / "d10" / "a.jpg",
        tmp_path / "d9" / "a.jpg",
        tmp_path / "d9" / "e" / "a.jpg",
    )
    assert names(tmp_path) == ["z.jpg", "d9/a.jpg", "d9/e/a.jpg", "d10/a.jpg"]


def test_order_is_the_same_whatever_the_file_system_says(tmp_path, monkeypatch):
    touch(*(tmp_path / ("%s.jpg" % number) for number in range(30)))
    first = names(tmp_path)
    plain = os.walk
    monkeypatch.setattr(
        os,
        "walk",
        lambda *a, **k: ((place, folders, files[::-1]) for place, folders, files in plain(*a, **k)),
    )
    assert names(tmp_path) == first


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.JPG", "a.Jpeg", "a.tif", "a.TIFF", "a.pgm", "a.pnm", "a.gif"]
)
def test_image_by_its_kind(name, tmp_path):
    touch(tmp_path / name)
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "a.txt",
        "jpg",
        ".jpg",
        "a.jpg.part",
        "a.mp4",
        "a.jpg~",
        "._a.jpg",
        ".mapillary-00.jpg",
        ".mapillary-00.part",
        ".mapillary/process_images/a.jpg",
        "sub/.mapillary/a.jpg",
    ],
)
def test_file_that_is_no_image(name, tmp_path):
    touch(tmp_path / name)
    with pytest.raises(mt.NotFound, match="holds no images"):
        mt.find_images(tmp_path)


def test_folder_named_like_an_image_is_no_image(tmp_path):
    touch(tmp_path / "folder.jpg" / "a.jpg")
    assert names(tmp_path) == ["folder.jpg/a.jpg"]


def test_subfolders_can_be_skipped(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "sub" / "b.jpg")
    assert names(tmp_path, skip_subfolders=True) == ["a.jpg"]


@posix
def test_link_to_a_folder_above_does_not_go_round(tmp_path):
    touch(tmp_path / "sub" / "a.jpg")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert names(tmp_path) == ["sub/a.jpg"]


def test_import_path_that_is_missing_or_a_file(tmp_path):
    touch(tmp_path / "a.jpg")
    with pytest.raises(mt.NotFound, match="no such file or folder"):
        mt.find_images(tmp_path / "none")
    with pytest.raises(mt.NotFound, match="is a file"):
        mt.find_images(tmp_path / "a.jpg")


def test_no_tool_takes_what_a_stand_in_received(tmp_path):
    """Only photos were safe from it: its videos were sampled, and read as tracks."""
    touch(tmp_path / "a.mp4", tmp_path / "received" / "b.mp4", tmp_path / "received" / "b.jpg")
    (tmp_path / "received" / mt.STAND_IN_FILE).write_text("{}", "utf-8")
    found = mt.look_below(tmp_path, videos=True)
    assert (found.images, found.videos) == ([], [tmp_path / "a.mp4"])
    assert mt.find_videos(str(tmp_path), []) == [str(tmp_path / "a.mp4")]
    with pytest.raises(mt.BadTrack) as raised:
        mt.read_track(tmp_path)
    assert raised.value.problem.file == str(tmp_path / "a.mp4")


@posix
def test_folder_of_tracks_that_cannot_be_listed_is_told():
    """It was passed over in silence, and photos got no position."""
    with as_nobody() as folder:
        touch(folder / "closed" / "a.gpx")
        (folder / "b.gpx").write_text(
            tracks.gpx(tracks.trkpt(57.7, 11.9, "2024-05-06T07:08:09Z")), "utf-8"
        )
        (folder / "closed").chmod(0)
        notes = mt.read_track(folder).notes
        (folder / "b.gpx").unlink()
        with pytest.raises(mt.BadTrack, match="cannot be searched"):
            mt.read_track(folder)
    assert [note for note in notes if "closed: cannot be searched" in note]


# ---- writing -----------------------------------------------------------------------------------------------------------


def leftovers(folder: Path) -> Any:
    return [path.name for path in folder.iterdir() if path.name.startswith(".mapillary-")]


def test_file_is_written_whole(tmp_path):
    status = mt.write_atomically(tmp_path / "a", [b"one", b"", b"two"])
    assert (
        (tmp_path / "a").read_bytes() == b"onetwo"
        and status.st_size == 6
        and leftovers(tmp_path) == []
    )


def test_status_is_that_of_the_new_file(tmp_path):
    status = mt.write_atomically(tmp_path / "a", [b"one"])
    now = (tmp_path / "a").stat()
    assert (status.st_size, status.st_mtime_ns) == (now.st_size, now.st_mtime_ns)


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, MemoryError, SystemExit])
def test_exception_in_the_middle_leaves_the_old_file(raised, tmp_path):
    (tmp_path / "a").write_bytes(b"old")

    def chunks() -> Iterator[bytes]:
        yield b"new"
        raise raised

    with pytest.raises(raised):
        mt.write_atomically(tmp_path / "a", chunks())
    assert (tmp_path / "a").read_bytes() == b"old" and leftovers(tmp_path) == []


@pytest.mark.parametrize("place", ["write", "fsync", "replace"])
@pytest.mark.parametrize(
    "number, words",
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "rights" if os.name == "posix" else "close it there"),
        (errno.EIO, "check the disk"),
    ],
)
def test_disk_that_refuses_leaves_the_old_file_and_says_why(
    place, number, words, tmp_path, monkeypatch
):
    (tmp_path / "a").write_bytes(b"old")

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if place == "write":
            patch.setattr(mt, "write_all", refuse)
        else:
            patch.setattr(os, place, refuse)
        with pytest.raises(mt.CannotWrite, match=words) as caught:
            mt.write_atomically(tmp_path / "a", [b"new"])
    assert caught.value.problem.file == str(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old" and leftovers(tmp_path) == []


def test_short_write_of_the_system_is_completed(tmp_path):
    class Slow:
        def __init__(self) -> None:
            self.data = b""

        def write(self, view: Any) -> int:
            self.data += bytes(view[:3])
            return min(3, len(view))

    slow = Slow()
    mt.write_all(slow, b"0123456789")
    assert slow.data == b"0123456789"


KILL = """
import os, signal, sys
sys.path.insert(0, %r)
import mapillary_tools
def chunks():
    yield b"new" * 1000
    os.kill(os.getpid(), signal.SIGKILL)
mapillary_tools.write_atomically(sys.argv[1], chunks())
""" % str(ROOT)


@posix
def test_kill_9_in_the_middle_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    assert subprocess.call([sys.executable, "-c", KILL, str(tmp_path / "a")]) == -signal.SIGKILL
    assert (tmp_path / "a").read_bytes() == b"old"
    assert all(name.endswith(".part") for name in leftovers(tmp_path))


def test_file_is_flushed_before_it_takes_the_old_ones_place(tmp_path, monkeypatch):
    seen = []
    plain_sync, plain_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append("fsync") or plain_sync(handle))
    monkeypatch.setattr(os, "replace", lambda a, b: seen.append("replace") or plain_replace(a, b))
    mt.write_atomically(tmp_path / "a", [b"x"])
    assert seen == ["fsync", "replace"]


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_rights_of_the_old_file_are_kept(mode, tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(mode)
    mt.write_atomically(tmp_path / "a", [b"new"])
    assert (tmp_path / "a").stat().st_mode & 0o7777 == mode


@posix
def test_new_file_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        mt.write_atomically(tmp_path / "a", [b"new"])
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@posix
def test_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    mt.write_atomically(tmp_path / "link", [b"new"])
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "a").read_bytes() == b"new"


@posix
def test_folder_without_rights_is_an_error_that_names_the_file():
    with as_nobody() as folder:
        folder.chmod(0o555)
        with pytest.raises(mt.CannotWrite, match="rights"):
            mt.write_atomically(folder / "a", [b"new"])


# ---- workers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_results_come_in_the_order_of_the_items(workers):
    def job(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(mt.each(job, range(40), workers)) == [number * number for number in range(40)]


@pytest.mark.parametrize("workers", [1, 3])
def test_items_are_taken_only_as_they_are_needed(workers):
    taken = []

    class Items(List[int]):
        def __getitem__(self, which: Any) -> Any:
            taken.append(which)
            return super().__getitem__(which)

    results = mt.each(abs, Items(range(1000)), workers)
    assert taken == []
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert 5 <= len(taken) <= 5 + 4 * workers
    results.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_groups_are_begun_only_as_their_results_are_needed(workers):
    begun = []

    def job(group: Any) -> Any:
        begun.append(list(group))
        return [number + 1 for number in group]

    results = mt.each_group(job, range(1000), workers, 10)
    assert begun == []
    assert [next(results) for _ in range(25)] == list(range(1, 26))
    time.sleep(0.2)  # what was given ahead is begun
    assert sorted(begun) == [list(range(n, n + 10)) for n in range(0, 10 * len(begun), 10)]
    assert 3 <= len(begun) <= 3 + 4 * workers
    results.close()


@pytest.mark.parametrize("count", [1, 2, 5, 64, 100])
@pytest.mark.parametrize("workers", [1, 3])
def test_each_item_is_in_one_group_and_each_worker_gets_some(workers, count):
    sizes = []

    def job(group: Any) -> Any:
        sizes.append(len(group))
        return list(group)

    assert list(mt.each_group(job, range(count), workers)) == list(range(count))
    assert max(sizes) <= mt.GROUP_IMAGES and len(sizes) >= min(workers, count)


@pytest.mark.parametrize("workers", [1, 3])
def test_exception_of_a_job_comes_through(workers):
    def job(number: int) -> int:
        if number == 7:
            raise mt.BadExif("c", "w", file="seven")
        return number

    got = []
    with pytest.raises(mt.BadExif, match="seven"):
        for value in mt.each(job, range(100), workers):
            got.append(value)
    assert got == list(range(7))


def test_exception_of_the_consumer_ends_the_workers():
    before = threading.active_count()
    with pytest.raises(KeyError):
        for _ in mt.each(abs, range(100), 4):
            raise KeyError
    assert threading.active_count() == before


def test_no_items_give_no_results():
    assert list(mt.each(abs, [], 4)) == []


def test_workers_do_work_at_the_same_time():
    meet = threading.Barrier(3, timeout=10)
    assert sorted(mt.each(lambda number: meet.wait(), range(3), 3)) == [0, 1, 2]


def test_worker_count_is_as_wanted_or_the_cpus_at_most_8(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert (mt.worker_count(0), mt.worker_count(3), mt.worker_count(20)) == (8, 3, 20)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert mt.worker_count(0) == 1


# ---- configuration -----------------------------------------------------------------------------------------------------


def test_configuration_that_is_not_there_is_empty():
    assert mt.read_config() == {}


def test_configuration_written_reads_back():
    sections = {
        "me": {"user_upload_token": "MLY|1|a=b:c%d", "MAPSettingsUsername": "mé"},
        "organizations": {"Club": "123"},
    }
    mt.write_config(sections)
    assert mt.read_config() == sections


@posix
def test_configuration_is_readable_by_its_owner_only_from_its_first_byte(monkeypatch):
    modes = []
    plain = mt.write_all
    monkeypatch.setattr(
        mt,
        "write_all",
        lambda stream, chunk: (
            modes.append(os.fstat(stream.fileno()).st_mode & 0o777) or plain(stream, chunk)
        ),
    )
    mt.write_config({"me": {"user_upload_token": "t"}})
    assert modes and set(modes) == {0o600} and os.stat(mt.config_path()).st_mode & 0o777 == 0o600


def test_configuration_that_is_damaged_is_an_error_without_its_content():
    Path(mt.config_path()).write_text(
        "[me]\nuser_upload_token = SECRET\nno equals sign SECRET\n", "utf-8"
    )
    with pytest.raises(mt.UsageError) as caught:
        mt.read_config()
    assert "SECRET" not in str(caught.value) and mt.config_path() in str(caught.value)


def test_configuration_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(tmp_path / "c"))
    assert mt.config_path() == str(tmp_path / "c") and mt.config_path("given") == "given"
    monkeypatch.delenv("MAPILLARY_CONFIG_PATH")
    monkeypatch.setenv("HOME", str(tmp_path))
    if os.name == "posix":
        assert mt.config_path() == str(tmp_path / ".config" / "mapillary" / "config")
