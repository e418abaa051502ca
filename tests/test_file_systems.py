"""Cards, sticks, network drives: file systems without links, rights, locks or flushing, with coarse times and small letters."""

import errno
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import making
import mapillary_tools as mt
import pytest
from conftest import Ran, images_in, in_process, run
from mounting import Mounted, mounted

pytestmark = [
    in_process,
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="file systems of POSIX"),
]
COUNT = 5
USER = ["--user_name", "demo"]


def good(*argv: Any, code: int = 0) -> Ran:
    """A run that ends as it should, in words and not in a traceback."""
    ran = run(*argv)
    assert "Traceback" not in ran.stderr and ran.code == code, (argv, ran)
    return ran


def outing(folder: Path) -> Dict[str, bytes]:
    """Photos without a place, and what they are; track and table stand beside their folder."""
    for number in range(1, COUNT + 1):
        time = f"2024:05:06 07:08:{7 + 2 * number:02d}"
        making.photo(folder / f"{number:04d}.jpg", time=time, pixels=number, filler=9000)
    if (folder.parent / "table.csv").exists():
        return images_in(folder)
    start = 1714979289
    points = [(start - 5 + n, 57.7 + n * 5e-5, 11.97, 10.0 + n) for n in range(30)]
    making.gpx(points, folder.parent / "track.gpx")
    rows = [f"{n:04d}.JPG,{58 + n / 1e4},{12 - n / 1e4}" for n in range(1, COUNT + 1)]
    (folder.parent / "table.csv").write_text("\n".join(rows), encoding="ascii")
    return images_in(folder)


def whole(folder: Path, before: Dict[str, bytes], described: bool = True) -> None:
    """Every photo is there, its picture untouched, with a description and a place, or as it was."""
    now = images_in(folder)
    assert sorted(now) == sorted(before)
    for name, content in before.items():
        if described:
            assert making.without_exif(now[name]) == making.without_exif(content)
            assert making.description(now[name])["MAPCaptureTime"].startswith("2024_05_06")
            assert making.place(now[name]) is not None
        else:
            assert now[name] == content


def process(folder: Path, *more: Any, code: int = 0) -> Ran:
    track = ["--advanced", "--geotag_source", "gpx"]
    track += ["--geotag_source_path", folder.parent / "track.gpx"]
    return good("process", "--import_path", folder, USER, track, *more, code=code)


def told(ran: Ran, done: int, left: int, failed: int = 0) -> None:
    """The summary counts so."""
    first = ran.stdout.splitlines()[0]
    words = f"{done + left + failed} found = {done} "
    assert words in first and f" + {left} skipped + {failed} failed" in first, ran.stdout


def by_csv(folder: Path, *more: Any) -> Ran:
    table = ["--csv_path", folder.parent / "table.csv", "--filename_column", 1]
    table += ["--latitude_column", 2, "--longitude_column", 3]
    return good("process_csv", "--import_path", folder, table, *more)


def whole_runs(top: Path, again: Callable[[], None] = lambda: None) -> None:
    """Everything that the tool does, on one file system; `again` is what may happen to it between two runs."""
    photos, kept, table = top / "photos", top / "kept", top / "table"
    before = outing(photos)
    told(process(photos), COUNT, 0)
    whole(photos, before)
    first = images_in(photos)
    again()
    ran = process(photos)
    told(ran, 0, COUNT)
    assert "already processed" in ran.stdout and images_in(photos) == first
    assert outing(kept) == before
    told(process(kept, "--keep_original"), COUNT, 0)
    again()
    told(process(kept, "--keep_original"), 0, COUNT)
    whole(kept, before, described=False)
    whole(kept / mt.STATE_FOLDER / "process_images", before)
    outing(table)
    by_csv(table)
    given = images_in(table)
    again()
    by_csv(table)
    assert images_in(table) == given
    places = [making.place(table / f"{n:04d}.jpg") for n in range(1, COUNT + 1)]
    wanted = [(58 + n / 1e4, 12 - n / 1e4) for n in range(1, COUNT + 1)]
    assert [place and place[:2] for place in places] == [pytest.approx(two) for two in wanted]
    send = ["upload", "--import_path", photos, "--stand_in", top / "received"]
    told(good(*send), COUNT, 0)
    again()
    told(good(*send), 0, COUNT)
    received = sorted((top / "received").glob("*.jpg"))
    assert sorted(path.read_bytes() for path in received) == sorted(first.values())
    page = ["report", "--import_path", photos, "--output_path", top / "page.html"]
    good(*page)
    good(*page)
    assert f"{COUNT} photos" in (top / "page.html").read_text(encoding="utf-8")
    row = json.loads(good("status", "--import_path", photos, "--json").stdout)
    assert row["exit_code"] == 0
    assert not list(top.rglob("*" + mt.PART_SUFFIX)), "temporary files were left"


# ---- Mounted


@pytest.fixture(params=["vfat", "exfat", "ntfs", "tmpfs"])
def card(request: Any, tmp_path: Path) -> Iterator[Mounted]:
    with mounted(request.param, tmp_path) as one:
        yield one


def test_everything_runs_on_a_mounted_file_system(card):
    whole_runs(card.place, card.again)


@pytest.mark.parametrize("kind", ["vfat", "exfat"])
def test_a_name_that_changes_its_letters_is_the_same_photo(kind, tmp_path):
    """photo.JPG and photo.jpg are one name there: nothing is processed twice, no copy is lost."""
    with mounted(kind, tmp_path) as card:
        photos = card.place / "photos"
        before = outing(photos)
        process(photos, "--keep_original")
        (photos / "0001.jpg").rename(photos / "moving.x")
        (photos / "moving.x").rename(photos / "0001.JPG")
        process(photos, "--keep_original")
        copies = {name.lower() for name in images_in(photos / mt.STATE_FOLDER / "process_images")}
        assert copies == set(before)
        assert sorted(images_in(photos).values()) == sorted(before.values())


def fill(path: Path) -> None:
    """Write a file until there is no room."""
    with open(str(path), "wb", buffering=0) as stream:
        for size in (65536, 4096, 1):
            with pytest.raises(OSError, match="No space left"):
                while stream.write(b"x" * size) == size:
                    pass
                raise OSError(errno.ENOSPC, "No space left")


def test_a_full_disk_leaves_whole_photos_and_the_next_run_ends_the_work(tmp_path):
    outing(tmp_path / "plain")
    process(tmp_path / "plain")
    with mounted("tmpfs", tmp_path, 4) as card:
        photos = card.place / "photos"
        before = outing(photos)
        fill(card.place / "ballast")
        ran = run("process", "--import_path", photos, USER)
        assert ran.code in (1, 11) and "No space left on device" in ran.stdout + ran.stderr
        assert "free some space" in ran.stdout + ran.stderr and "Traceback" not in ran.stderr
        assert images_in(photos) == before
        assert not list(photos.rglob("*" + mt.PART_SUFFIX))
        (card.place / "ballast").unlink()
        process(photos)
        assert images_in(photos) == images_in(tmp_path / "plain")


def test_a_disk_that_fills_in_the_middle_leaves_whole_photos(tmp_path):
    """Room for the journal and for some photos only: those are new, the others old, and all are named."""
    with mounted("tmpfs", tmp_path, 1) as card:
        photos = card.place / "photos"
        making.drive(photos, count=6, filler=120000)
        before = images_in(photos)
        taken = shutil.disk_usage(str(card.place)).free - 160000
        (card.place / "ballast").write_bytes(bytes(max(0, taken)))
        ran = run("process", "--import_path", photos, USER, "--advanced", "--keep_original")
        assert ran.code in (1, 11) and "Traceback" not in ran.stderr
        assert images_in(photos) == before
        assert not list(photos.rglob("*" + mt.PART_SUFFIX))
        (card.place / "ballast").unlink()
        told(good("process", "--import_path", photos, USER), 6, 0)
        whole(photos, before)


def test_a_read_only_card_is_said_once_and_can_be_looked_at(tmp_path):
    with mounted("tmpfs", tmp_path) as card:
        photos = card.place / "photos"
        outing(photos)
        process(photos)
        fresh = card.place / "fresh"
        making.drive(fresh, count=2)
        before = {**images_in(photos), **images_in(fresh)}
        card.read_only()
        for tool in (
            ["process", "--import_path", fresh, USER],
            ["process", "--import_path", photos, USER, "--rerun"],
            ["process_csv", "--import_path", fresh, "--csv_path", card.place / "table.csv"]
            + ["--filename_column", 1, "--latitude_column", 2, "--longitude_column", 3],
            ["interpolate", "--data", "missing_gps", "--import_path", fresh],
            ["upload", "--import_path", photos, "--stand_in", tmp_path / "received"],
            ["report", "--import_path", photos, "--output_path", card.place / "page.html"],
        ):
            ran = run(*tool)
            assert ran.code == 11 and ran.stderr.count("cannot be written") == 1, (tool, ran)
            assert "Read-only file system" in ran.stderr and "Traceback" not in ran.stderr
            assert "copy the images to another one" in ran.stderr
        assert {**images_in(photos), **images_in(fresh)} == before
        good("process", "--import_path", fresh, USER, "--dry_run")
        good("status", "--import_path", photos)
        good("report", "--import_path", photos, "--output_path", tmp_path / "page.html")


# ---- Injected: everywhere, also where nothing may be mounted

_CANNOT = [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, 45]


def refusing(error: int) -> Callable[..., Any]:
    """A call that the file system does not know."""

    def call(*_: Any, **__: Any) -> Any:
        raise OSError(error, os.strerror(error))

    return call


def without(monkeypatch: Any, error: int, *names: str) -> None:
    for name in names:
        if hasattr(os, name):
            monkeypatch.setattr(os, name, refusing(error))


@pytest.mark.parametrize("error", _CANNOT)
def test_without_links_rights_owners_and_attributes(error, tmp_path, monkeypatch):
    calls = ("link", "symlink", "chmod", "fchmod", "chown", "fchown", "setxattr", "listxattr")
    without(monkeypatch, error, *calls)
    whole_runs(tmp_path)


@pytest.mark.parametrize("error", [*_CANNOT, errno.EACCES, errno.EIO])
def test_without_flushing_of_folders(error, tmp_path, monkeypatch):
    plain = os.fsync

    def flush(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(error, os.strerror(error))
        plain(handle)

    monkeypatch.setattr(os, "fsync", flush)
    whole_runs(tmp_path)


@pytest.mark.parametrize("error", [*_CANNOT, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_without_locks_it_is_said_and_goes_on(error, tmp_path, monkeypatch):
    """Symptom: an error that is no "somebody has it" was told as "is being worked on by another run"."""
    import fcntl

    monkeypatch.setattr(fcntl, "flock", refusing(error))
    making.drive(tmp_path / "p", count=2)
    ran = good("process", "--import_path", tmp_path / "p", USER)
    told(ran, 2, 0)
    assert ran.stderr.count("this file system has no locks") == 1


@pytest.mark.parametrize("error", [errno.EAGAIN])
def test_a_lock_that_somebody_has_is_no_missing_lock(error, tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr(fcntl, "flock", refusing(error))
    making.drive(tmp_path / "p", count=2)
    ran = good("process", "--import_path", tmp_path / "p", USER, code=75)
    assert "another run" in ran.stderr


def _times(top: Path, change: Callable[[int], int]) -> None:
    """What taking a card out and putting it in does to the times of photos."""
    for path in top.rglob("*"):
        if path.is_file() and path.suffix not in (".gpx", ".csv"):
            status = path.stat()
            os.utime(str(path), ns=(status.st_atime_ns, change(status.st_mtime_ns)))


TWO_SECONDS = 2 * 10**9


@pytest.mark.parametrize(
    "change",
    [
        lambda at: at // TWO_SECONDS * TWO_SECONDS,  # FAT
        lambda at: at // 10**7 * 10**7,  # exFAT
        lambda at: at + 3600 * 10**9,  # local time, on a computer in another zone
        lambda at: 315532800 * 10**9,  # no time at all
    ],
    ids=["2 s", "10 ms", "another zone", "1980"],
)
def test_our_own_writing_is_known_when_the_times_of_files_change(change, tmp_path):
    whole_runs(tmp_path, lambda: _times(tmp_path, change))


def test_nothing_is_written_again_when_the_time_of_the_track_changes(tmp_path):
    outing(tmp_path / "p")
    process(tmp_path / "p")
    files = sorted((tmp_path / "p").glob("*.jpg"))
    before = [(path.read_bytes(), path.stat().st_ino) for path in files]
    os.utime(str(tmp_path / "track.gpx"), (1714979290, 1714979290))
    process(tmp_path / "p")
    assert [(path.read_bytes(), path.stat().st_ino) for path in files] == before


def test_times_that_change_at_the_rename_are_no_change_by_another_program(tmp_path, monkeypatch):
    """The file that was flushed has a finer time than the one that is there after the rename."""
    plain = os.replace

    def replace(old: Any, new: Any) -> None:
        plain(old, new)
        at = os.stat(new).st_mtime_ns // TWO_SECONDS * TWO_SECONDS
        os.utime(new, ns=(at, at))

    monkeypatch.setattr(os, "replace", replace)
    whole_runs(tmp_path)


def test_a_photo_whose_name_changes_its_letters_is_sent_once(tmp_path):
    """A card that goes through another computer comes back with other letters."""
    before = outing(tmp_path / "p")
    send = ["upload", "--import_path", tmp_path / "p", "--stand_in", tmp_path / "received"]
    process(tmp_path / "p")
    told(good(*send), COUNT, 0)
    for path in sorted((tmp_path / "p").glob("*.jpg")):
        path.rename(path.with_suffix(".JPG"))
    process(tmp_path / "p")
    whole(tmp_path / "p", {name[:-4] + ".JPG": content for name, content in before.items()})
    good(*send)
    assert len(list((tmp_path / "received").glob("*.jpg"))) == COUNT, "sent twice"


def forbidding(monkeypatch: Any, letters: str, error: int) -> None:
    """No name with one of these letters can be made, as on FAT and NTFS."""
    opened, replaced = os.open, os.replace

    def check(path: Any) -> None:
        if set(os.path.basename(os.fsdecode(path))) & set(letters):
            raise OSError(error, os.strerror(error), path)

    def opening(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            check(path)
        return opened(path, flags, *more, **named)

    def replacing(old: Any, new: Any) -> None:
        check(new)
        replaced(old, new)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "replace", replacing)


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ])
def test_names_that_cannot_be_written_cost_one_line(error, tmp_path, monkeypatch):
    photos = tmp_path / "p"
    before = outing(photos)
    process(photos, "--keep_original")
    forbidding(monkeypatch, "?*<>|", error)
    for argv in (
        ["report", "--import_path", photos, "--output_path", tmp_path / "pa?ge.html"],
        ["extract_geotag_data", "--import_path", photos, "--write_gpx", tmp_path / "a?.gpx"]
        + ["--advanced", "--geotag_source", "gpx", "--geotag_source_path", tmp_path / "track.gpx"],
    ):
        ran = run(*argv)
        assert ran.code == 11 and ran.stderr.count("cannot be written") == 1, ran
        assert "Traceback" not in ran.stderr and os.strerror(error) in ran.stderr
    assert images_in(photos) == before and not list(tmp_path.rglob("*" + mt.PART_SUFFIX))


def test_a_photo_whose_copy_cannot_have_its_name_fails_by_itself(tmp_path, monkeypatch):
    """Photos on a server, under a name that this system cannot make."""
    photos = tmp_path / "p"
    before = outing(photos)
    (photos / "0003.jpg").rename(photos / "00?3.jpg")
    forbidding(monkeypatch, "?", errno.EINVAL)
    ran = process(photos, "--keep_original", code=1)
    told(ran, COUNT - 1, 0, failed=1)
    assert "00?3.jpg: cannot be written: Invalid argument" in ran.stdout
    assert sorted(images_in(photos).values()) == sorted(before.values())
