"""The command line as people use it: arguments in; exit code, one clear line, and files out."""

import datetime
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

import making
from conftest import (
    PHOTOS,
    ROOT,
    Ran,
    as_nobody,
    images_in,
    in_process,
    needs_photos,
    real,
    run,
    tree,
)

NAMES = [f"{number:04d}.jpg" for number in range(1, 6)]
TOOLS = [
    "process",
    "upload",
    "process_and_upload",
    "extract_user_data",
    "extract_import_meta_data",
    "extract_geotag_data",
    "extract_sequence_data",
    "extract_upload_params",
    "exif_insert",
]


def process(folder: Any, *more: Any) -> Ran:
    return run("process", "--import_path", folder, "--user_name", "demo", *more)


def counts(ran: Ran) -> Tuple[int, int, int, int]:
    """found, done, skipped, failed as the last summary line of the output says."""
    lines = re.findall(
        r": (\d+) found = (\d+) [a-z ]+ \+ (\d+) skipped \+ (\d+) failed", ran.stdout
    )
    assert lines, ran
    return tuple(map(int, lines[-1]))  # type: ignore


def described(folder: Any) -> Dict[str, Dict[str, Any]]:
    return {path.name: making.description(path) for path in sorted(Path(str(folder)).glob("*.jpg"))}


def rows(folder: Any) -> List[Dict[str, Any]]:
    """The journal of a folder, line by line."""
    text = (Path(str(folder)) / ".mapillary" / "journal.jsonl").read_text("ascii")
    return [json.loads(line) for line in text.splitlines()]


def last_rows(folder: Any) -> Dict[str, Dict[str, Any]]:
    return {row["image"]: row for row in rows(folder) if "image" in row}


def exif_of(folder: Any) -> Dict[str, Dict[str, Any]]:
    """Every tag of every photo; where the IFDs stand in the block is not looked at."""
    return {
        path.name: {
            name: value
            for name, value in making.read_exif(path).items()
            if not name.endswith("Pointer")
        }
        for path in sorted(Path(str(folder)).glob("*.jpg"))
    }


def headings(folder: Any) -> Dict[str, float]:
    return {
        name: row["MAPCompassHeading"]["TrueHeading"] for name, row in described(folder).items()
    }


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Five good photos, two seconds apart, each with a heading of its own."""
    making.drive(tmp_path / "drive", heading=lambda number: 10.0 * number + 5)
    return tmp_path / "drive"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Five good photos and one of every kind of bad one."""
    folder = tmp_path / "mixed"
    making.drive(folder, heading=90.0)
    whole = (folder / "0001.jpg").read_bytes()
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("This is no picture.\n", "utf-8")
    (folder / "torn_head.jpg").write_bytes(whole[:200])
    (folder / "torn_tail.jpg").write_bytes(
        making.photo(tmp_path / "x.jpg", lat=1, lon=2, filler=200000).read_bytes()[:-90000]
    )
    making.photo(folder / "no_exif.jpg", exif=None)
    making.photo(folder / "no_position.jpg")
    making.photo(folder / "no_time.jpg", lat=1.0, lon=2.0, time=None)
    making.photo(
        folder / "no_place.jpg",
        lat=1,
        lon=2,
        more={
            "GPS": {
                2: (making.RATIONAL, [(0, 0), (0, 0), (0, 0)]),
                4: (making.RATIONAL, [(0, 0), (0, 0), (0, 0)]),
            }
        },
    )
    making.photo(folder / "null_island.jpg", lat=0.0, lon=0.0)
    (folder / "scan.tif").write_bytes(b"II*\0")
    return folder


# ---- a command line and its exit code ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv, code, line",
    [
        (["process", "--user_name", "demo"], 2, "--import_path is missing|required: --import_path"),
        (["process", "--import_path", "drive"], 2, "--user_name"),
        (["extract_user_data", "--import_path", "drive"], 2, "--user_name"),
        (["extract_upload_params", "--import_path", "drive"], 2, "--user_name"),
        (["process_and_upload", "--import_path", "drive"], 2, "--user_name"),
        (["process", "--import_path", "drive", "--user_name", ""], 2, "--user_name is missing"),
        (
            ["process", "--import_path", "nowhere", "--user_name", "demo"],
            3,
            "nowhere: there is no such file or folder",
        ),
        (
            ["process", "--import_path", "drive/0001.jpg", "--user_name", "demo"],
            3,
            "0001.jpg: is a file, not a folder",
        ),
        (["process", "--import_path", "bare", "--user_name", "demo"], 3, "bare: holds no images"),
        (
            ["upload", "--import_path", "nowhere", "--dry_run"],
            3,
            "nowhere: there is no such file or folder",
        ),
        (["exif_insert", "--import_path", "bare"], 3, "bare: holds no images"),
        ([], 2, "a tool is missing"),
        (["proces", "--import_path", "drive"], 2, "proces"),
        (["process", "--import_path", "drive", "--user_name", "demo", "--bogus"], 2, "--bogus"),
        (["process", "--import", "drive", "--user_name", "demo"], 2, "--import"),
        (
            ["process", "--import_path", "drive", "--user_name", "demo", "--cutoff_time", "soon"],
            2,
            "soon",
        ),
        (
            ["process", "--import_path", "drive", "--user_name", "demo", "--cutoff_time", "nan"],
            2,
            "finite",
        ),
        (
            ["process", "--import_path", "drive", "--user_name", "demo", "--cutoff_distance", "-1"],
            2,
            "at least 0",
        ),
        (
            ["process", "--import_path", "drive", "--user_name", "demo", "--workers", "1.5"],
            2,
            "1.5",
        ),
        (
            ["process", "--import_path", "drive", "--user_name", "demo", "--orientation", "45"],
            2,
            "45",
        ),
        (
            ["process", "--import_path", "drive", "--user_name", "demo", "--geotag_source", "gpx"],
            2,
            "--geotag_source_path",
        ),
        (
            [
                "process",
                "--import_path",
                "drive",
                "--user_name",
                "demo",
                "--geotag_source",
                "magic",
            ],
            2,
            "magic",
        ),
        (
            [
                "process",
                "--import_path",
                "drive",
                "--user_name",
                "demo",
                "--geotag_source",
                "gpx",
                "--geotag_source_path",
                "none.gpx",
            ],
            3,
            "none.gpx",
        ),
        (
            ["process", "--import_path", "drive", "--user_name", "demo", "--private"],
            2,
            "--private needs an organization",
        ),
        (
            [
                "process",
                "--import_path",
                "drive",
                "--user_name",
                "demo",
                "--organization_username",
                "club",
            ],
            2,
            "club",
        ),
        (
            [
                "process",
                "--import_path",
                "drive",
                "--user_name",
                "demo",
                "--timezone",
                "Nowhere/At_All",
            ],
            2,
            "Nowhere/At_All",
        ),
        (
            [
                "process",
                "--import_path",
                "drive",
                "--user_name",
                "demo",
                "--timezone",
                "+02:00",
                "--local_time",
            ],
            2,
            "contradict",
        ),
        (
            ["process", "--import_path", "drive", "--user_name", "demo", "--master_upload"],
            2,
            "MAPILLARY_SECRET_HASH",
        ),
        (
            ["process", "--import_path", "drive", "--user_name", "demo", "--offset_time", "1e15"],
            2,
            "--offset_time",
        ),
        (["process", "--import_path", "drive", "--user_name"], 2, "--user_name"),
        (["process", "--import_path", "drive", "--user_name", "demo"], 0, ""),
        (["process", "--import-path", "drive", "--user-name", "demo", "--cutoff-time=30"], 0, ""),
    ],
)
def test_command_line_ends_with_its_exit_code_and_one_clear_line(
    argv, code, line, tmp_path, monkeypatch
):
    making.drive(tmp_path / "drive", count=2)
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    ran = run(argv)
    assert ran.code == code, ran
    assert "Traceback" not in ran.stderr
    if code:
        (said,) = [
            words for words in ran.stderr.splitlines() if words.startswith("mapillary_tools: ")
        ]
        assert re.search(line, said) and ran.stdout == "", said
        assert images_in(tmp_path) == before


@pytest.mark.parametrize(
    "argv",
    [
        ["--version"],
        ["-h"],
        ["--help"],
        ["--advanced", "-h"],
        ["-h", "process"],
        ["process", "--import_path", "x", "--bogus", "-h"],
        ["process", "--cutoff_time", "soon", "-h"],
        ["process", "--user_name", "-h"],
        ["process", "--workers", "-h"],
    ],
)
def test_help_and_version_end_with_0_wherever_they_stand(argv):
    ran = run(argv)
    assert (ran.code, ran.stderr) == (0, ""), ran
    assert ran.stdout.startswith("usage: " if "--version" not in argv else "mapillary_tools 1."), (
        ran
    )


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("advanced", [[], ["--advanced"]])
def test_every_tool_has_help(tool, advanced):
    ran = run(tool, advanced, "-h")
    assert ran.code == 0 and "--import_path" in ran.stdout, ran


def test_advanced_before_the_tool_shows_advanced_options():
    assert "--offset_angle" in run("--advanced", "process", "-h").stdout


def test_advanced_after_the_tool_shows_advanced_options():
    assert "--offset_angle" in run("process", "--advanced", "-h").stdout


def test_help_without_advanced_is_short():
    text = run("process", "-h").stdout
    assert "--import_path" in text and "--offset_angle" not in text


@pytest.mark.parametrize(
    "words", [["--advanced", "process"], ["process", "--advanced"], ["process"]]
)
def test_advanced_option_is_accepted_with_and_without_advanced(words, drive):
    ran = run(words, "--import_path", drive, "--user_name", "demo", "--cutoff_distance", "1")
    assert ran.code == 0 and len({row["MAPSequenceUUID"] for row in described(drive).values()}) == 5


# ---- values ------------------------------------------------------------------------------------------------------------


def test_negative_angle_as_separate_word(drive):
    assert process(drive, "--offset_angle", "-90").code == 0
    assert headings(drive) == {
        name: (10.0 * number + 5 - 90) % 360 for number, name in enumerate(NAMES)
    }


def test_negative_zone_as_separate_word(drive):
    assert process(drive, "--timezone", "-05:00").code == 0
    assert described(drive)["0001.jpg"]["MAPCaptureTime"] == "2024_05_06_12_08_09_000"


@pytest.mark.parametrize("name", ["-x", "-name", "-5", "-x y", "-h2o"])
def test_text_that_starts_with_a_minus_sign_as_separate_word(name, drive):
    ran = run("process", "--import_path", drive, "--user_name", name)
    assert ran.code == 0, ran
    assert described(drive)["0001.jpg"]["MAPSettingsUsername"] == name


def test_option_without_its_value_is_an_error_not_the_next_option(drive):
    ran = run("process", "--import_path", drive, "--user_name", "--rerun")
    assert ran.code == 2 and "--user_name" in ran.stderr


def test_offset_time_is_taken_off_image_times(drive):
    assert process(drive, "--offset_time", "3600").code == 0
    assert described(drive)["0001.jpg"]["MAPCaptureTime"] == "2024_05_06_06_08_09_000"


def test_user_name_outside_of_ascii_is_escaped_in_the_description(drive):
    assert run("process", "--import_path", drive, "--user_name", "Jörg").code == 0
    assert making.read_exif(drive / "0001.jpg")["ImageDescription"].isascii()
    assert described(drive)["0001.jpg"]["MAPSettingsUsername"] == "Jörg"


# ---- bad images --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, words",
    [
        ("empty.jpg", "is empty"),
        ("text.jpg", "is not a JPEG"),
        ("torn_head.jpg", "is truncated"),
        ("torn_tail.jpg", "is truncated"),
        ("no_exif.jpg", "has no capture time"),
        ("no_position.jpg", "has no position"),
        ("no_time.jpg", "has no capture time"),
        ("no_place.jpg", "has no position"),
        ("null_island.jpg", "has no position"),
    ],
)
def test_bad_image_is_named_with_its_cause(name, words, mixed):
    lines = [line for line in process(mixed).stdout.splitlines() if name in line]
    assert len(lines) == 1 and lines[0].strip().startswith("failed") and words in lines[0], lines


def test_bad_images_end_in_1_and_the_good_ones_are_done(mixed):
    ran = process(mixed)
    assert ran.code == 1
    assert counts(ran) == (15, 5, 1, 9)
    assert all(described(mixed)[name] for name in NAMES)


def test_bad_images_are_never_written(mixed):
    before = images_in(mixed)
    process(mixed)
    process(mixed, "--rerun", "--offset_angle", "10")
    after = images_in(mixed)
    assert {name: data for name, data in after.items() if name not in NAMES} == {
        name: data for name, data in before.items() if name not in NAMES
    }


def test_file_that_is_no_jpeg_kind_is_skipped_by_name(mixed):
    text = process(mixed).stdout
    assert "skipped 1: not a JPEG" in text and "scan.tif" in text


def test_a_folder_of_failures_only_ends_in_1(tmp_path):
    making.photo(tmp_path / "p" / "a.jpg")
    ran = process(tmp_path / "p")
    assert ran.code == 1 and counts(ran) == (1, 0, 0, 1)


def test_failed_images_are_listed_again_by_the_next_run(mixed):
    process(mixed)
    ran = process(mixed)
    assert ran.code == 1 and counts(ran) == (15, 0, 6, 9)


def test_failed_image_is_tried_again_when_its_file_changed(mixed):
    process(mixed)
    making.photo(mixed / "empty.jpg", lat=57.7, lon=11.97, time="2024:05:06 07:08:30")
    assert making.description(mixed / "empty.jpg") == {}
    process(mixed)
    assert making.description(mixed / "empty.jpg")["MAPLatitude"] == 57.7


def test_truncated_photo_is_seen_though_its_thumbnail_has_an_end_of_image(tmp_path):
    whole = making.photo(
        tmp_path / "a.jpg", lat=1, lon=2, filler=9000, thumbnail=making.jpeg((16, 16))
    ).read_bytes()
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").write_bytes(whole[:-5000])
    ran = process(tmp_path / "p")
    assert ran.code == 1 and "is truncated" in ran.stdout, ran


@pytest.mark.parametrize(
    "when",
    ["9999:12:31 24:10:11", "0001:01:01 00:00:00", "9999:12:31 23:59:60", "0001:01:01 00:00:01"],
)
@pytest.mark.parametrize("zone", ["-05:00", "+14:00"])
def test_photo_at_the_end_of_the_calendar_does_not_stop_the_run(when, zone, drive):
    making.photo(drive / "odd.jpg", lat=57.7, lon=11.97, time=when)
    ran = process(drive, "--timezone", zone)
    assert (
        ran.code in (0, 1) and counts(ran)[0] == 6 and all(described(drive)[name] for name in NAMES)
    ), ran


@pytest.mark.parametrize(
    "history",
    [
        '[{"type":[],"key":"a","value":1}]',
        "[" * 100000,
        '{"a":1}',
        "[[1]]",
        "[1e999]",
        "__import__('os')",
    ],
    ids=range(6),
)
def test_odd_image_history_does_not_stop_the_run(history, drive):
    making.photo(
        drive / "odd.jpg",
        lat=57.7,
        lon=11.97,
        more={"0th": {0x9213: (making.ASCII, history[:60000])}},
    )
    ran = process(drive)
    assert (
        ran.code in (0, 1) and counts(ran)[0] == 6 and all(described(drive)[name] for name in NAMES)
    ), ran


@pytest.mark.skipif(os.name == "nt", reason="links of another kind")
def test_link_that_leads_nowhere_is_a_failed_image(drive):
    (drive / "gone.jpg").symlink_to(drive / "not-there.jpg")
    ran = process(drive)
    assert ran.code == 1 and counts(ran) == (6, 5, 0, 1) and "gone.jpg" in ran.stdout


# ---- folders and disks that cannot be written --------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="rights of another kind")
@pytest.mark.parametrize("more", [[], ["--keep_original"], ["--skip_EXIF_insert"]])
def test_read_only_folder_ends_in_11_and_says_so(more):
    if sys.platform != "linux" and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    with as_nobody() as folder:
        making.drive(folder / "p", count=2)
        before = tree(folder)
        (folder / "p").chmod(0o555)
        ran = process(folder / "p", more)
        assert ran.code == 11 and tree(folder) == before
        (said,) = ran.stderr.splitlines()[-1:]
        assert "cannot be written" in said and str(folder / "p") in said, ran


@pytest.mark.skipif(os.name != "posix", reason="rights of another kind")
def test_read_only_folder_beside_a_good_one_fails_only_its_images():
    with as_nobody() as folder:
        making.drive(folder / "p" / "closed", count=2)
        making.drive(folder / "p" / "open", count=3)
        (folder / "p" / "closed").chmod(0o555)
        ran = process(folder / "p")
        assert ran.code == 1 and counts(ran) == (5, 3, 0, 2)


@pytest.mark.skipif(os.name != "posix", reason="rights of another kind")
def test_folder_that_cannot_be_listed_does_not_stop_the_rest():
    with as_nobody() as folder:
        making.drive(folder / "p", count=3)
        (folder / "p" / "lost+found").mkdir()
        (folder / "p" / "lost+found").chmod(0)
        ran = process(folder / "p")
        assert counts(ran)[1] == 3 and "lost+found" in ran.stdout + ran.stderr, ran


@pytest.mark.skipif(os.name != "posix", reason="rights of another kind")
@pytest.mark.parametrize("more", [[], ["--keep_original"]])
def test_dry_run_works_on_a_read_only_folder(more):
    with as_nobody() as folder:
        making.drive(folder / "p", count=2)
        (folder / "p").chmod(0o555)
        ran = process(folder / "p", "--dry_run", more)
        assert ran.code == 0 and counts(ran) == (2, 2, 0, 0), ran


def _full_after(monkeypatch: Any, budget: int) -> List[int]:
    """Lets the one write function put `budget` bytes on the disk, then the disk is full; gives [bytes left]."""
    import mapillary_tools

    left = [budget]

    class Thin:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def write(self, data: Any) -> int:
            if left[0] <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            some = bytes(data[: left[0]])
            left[0] -= len(some)
            return self.stream.write(some)

    plain = mapillary_tools.write_all
    monkeypatch.setattr(
        mapillary_tools, "write_all", lambda stream, chunk: plain(Thin(stream), chunk)
    )
    return left


def _journal_bytes(folder: Path) -> int:
    return (folder / ".mapillary" / "journal.jsonl").stat().st_size


@in_process
@pytest.mark.parametrize("more", [[], ["--keep_original"]])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.2, 1.5])
def test_full_disk_leaves_every_image_whole_and_the_next_run_finishes(
    share, more, drive, tmp_path, monkeypatch
):
    shutil.copytree(str(drive), str(tmp_path / "good"))
    process(tmp_path / "good", "--workers", 1, more)
    size = _journal_bytes(tmp_path / "good")
    before = images_in(drive)
    left = _full_after(
        monkeypatch, int(size * share) if share < 1 else int(size // 2 + 3000 * share)
    )
    ran = process(drive, "--workers", 1, more)
    assert (
        ran.code in (1, 11)
        and "No space left" in ran.stdout + ran.stderr
        and "free some space" in (ran.stdout + ran.stderr)
    ), ran
    wanted = images_in(tmp_path / "good")
    assert all(data in (before[name], wanted[name]) for name, data in images_in(drive).items())
    left[0] = 1 << 40
    assert process(drive, "--workers", 1, more).code == 0
    assert images_in(drive) == wanted
    assert tree(drive / ".mapillary" / "process_images") == tree(
        tmp_path / "good" / ".mapillary" / "process_images"
    )


@in_process
def test_full_disk_while_images_are_written_ends_in_1_and_names_them(drive, monkeypatch):
    import mapillary_tools

    def full(path: Any, *_: Any, **__: Any) -> None:
        raise mapillary_tools.write_failure(path, OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(mapillary_tools, "begin_file", full)
    ran = process(drive, "--verbose")
    assert ran.code == 1 and counts(ran) == (5, 0, 0, 5)
    assert all(
        re.search(
            r"failed .*%s: cannot be written: No space left on device \(free" % name, ran.stdout
        )
        for name in NAMES
    )


# ---- the journal -------------------------------------------------------------------------------------------------------


def test_torn_last_line_of_the_journal_is_passed_over(drive):
    process(drive)
    journal = drive / ".mapillary" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    before = images_in(drive)
    ran = process(drive)
    assert ran.code == 0 and images_in(drive) == before, ran
    assert all(json.loads(line) for line in journal.read_text("utf-8").splitlines())


def test_journal_of_a_newer_version_ends_in_10_and_says_what_to_do(drive):
    (drive / ".mapillary").mkdir()
    journal = drive / ".mapillary" / "journal.jsonl"
    journal.write_text('{"journal":99,"tool":"mapillary_tools 9.0.0"}\n', "utf-8")
    before = images_in(drive)
    ran = process(drive)
    assert ran.code == 10 and "newer version" in ran.stderr and "use the newer" in ran.stderr
    assert images_in(drive) == before and journal.read_text("utf-8").count("\n") == 1


def test_journal_of_a_newer_version_is_refused_by_dry_run_too(drive):
    (drive / ".mapillary").mkdir()
    (drive / ".mapillary" / "journal.jsonl").write_text('{"journal":99}\n', "utf-8")
    assert process(drive, "--dry_run").code == 10


@pytest.mark.parametrize("damage", [b"\0", b"#"])
def test_damaged_line_within_the_journal_is_no_traceback_and_shifts_nothing(damage, drive):
    process(drive, "--offset_angle", "90", "--offset_time", "3600")
    first = described(drive)
    journal = drive / ".mapillary" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(True)
    spot = max(number for number, line in enumerate(lines) if b'"0003.jpg"' in line)
    lines[spot] = lines[spot][:300] + damage * 20 + lines[spot][320:]
    journal.write_bytes(b"".join(lines))
    ran = process(drive, "--offset_angle", "90", "--offset_time", "3600", "--rerun")
    assert "Traceback" not in ran.stderr and (ran.code == 10 or described(drive) == first), ran


# ---- running again -----------------------------------------------------------------------------------------------------


def test_second_run_finds_nothing_to_do(drive):
    process(drive)
    before = tree(drive)
    ran = process(drive)
    assert ran.code == 0 and counts(ran) == (5, 0, 5, 0) and tree(drive) == before


def test_second_run_with_keep_original_finds_nothing_to_do(drive):
    process(drive, "--keep_original")
    before = tree(drive)
    ran = process(drive, "--keep_original")
    assert ran.code == 0 and counts(ran) == (5, 0, 5, 0) and tree(drive) == before


SHIFT = ["--offset_angle", "90", "--offset_time", "3600"]


@pytest.mark.parametrize("more", [[], ["--keep_original"]])
def test_rerun_with_the_same_options_gives_the_same_bytes(more, drive):
    process(drive, SHIFT, "--rerun", more)
    before = tree(drive, without="journal")
    ran = process(drive, SHIFT, "--rerun", more)
    assert (
        ran.code == 0 and counts(ran) == (5, 5, 0, 0) and tree(drive, without="journal") == before
    )


def test_changed_options_start_from_what_was_found(drive):
    process(drive, SHIFT)
    process(drive, "--offset_angle", "30", "--offset_time", "10")
    assert headings(drive) == {name: 10.0 * number + 35 for number, name in enumerate(NAMES)}
    assert described(drive)["0001.jpg"]["MAPCaptureTime"] == "2024_05_06_07_07_59_000"


def test_back_to_the_first_options_gives_the_first_values(drive):
    process(drive)
    before = exif_of(drive)
    process(drive, SHIFT)
    process(drive)
    assert exif_of(drive) == before


def test_changing_options_again_and_again_does_not_make_the_files_grow(drive):
    sizes = []
    for _ in range(4):
        process(drive, SHIFT)
        process(drive)
        sizes.append(sum(len(data) for data in images_in(drive).values()))
    assert sizes[-1] == sizes[1], sizes


def test_what_an_earlier_run_wrote_is_taken_back(drive):
    """GPS time stands in the image only while our time differs from its own."""
    process(drive, "--offset_time", "3600")
    assert "GPSDateStamp" in making.read_exif(drive / "0001.jpg")
    process(drive)
    assert "GPSDateStamp" not in making.read_exif(drive / "0001.jpg")


def test_the_caption_of_the_photographer_stays_in_found_and_out_of_the_description(drive):
    making.photo(
        drive / "0003.jpg",
        lat=57.7002,
        lon=11.97,
        time="2024:05:06 07:08:13",
        description="Our holiday",
    )
    process(drive)
    assert "holiday" not in making.read_exif(drive / "0003.jpg")["ImageDescription"]
    assert last_rows(drive)["0003.jpg"]["found"]["caption"] == "Our holiday"


@in_process
@pytest.mark.parametrize("killed_at", ["before the replace", "after the replace"])
@pytest.mark.parametrize("first", [None, ["--offset_angle", "10"]])
def test_killed_while_writing_then_run_again_shifts_nothing_twice(
    first, killed_at, drive, tmp_path, monkeypatch
):
    """kill -9 around the replace of the third image: its result line, and those after it, never reach the journal."""
    import mapillary_tools

    class Killed(BaseException):
        pass

    shutil.copytree(str(drive), str(tmp_path / "good"))
    process(tmp_path / "good", SHIFT)
    if first is not None:
        process(drive, first)
    plain, seen = mapillary_tools.move_file, []

    def dying(source: str, target: str) -> None:
        seen.append(target)
        if len(seen) == 3 and killed_at == "before the replace":
            raise Killed
        plain(source, target)
        if len(seen) == 3:
            raise Killed

    append = mapillary_tools.Journal.append

    def no_results(self: Any, batch: Any, flush: bool = True) -> None:
        if not seen:
            append(self, batch, flush)

    with monkeypatch.context() as patch:
        patch.setattr(mapillary_tools, "move_file", dying)
        patch.setattr(mapillary_tools.Journal, "append", no_results)
        with pytest.raises(Killed):
            process(drive, SHIFT, "--workers", "1")
    assert [os.path.basename(path) for path in seen] == NAMES[:3]
    for more in (SHIFT, [*SHIFT, "--rerun"]):
        ran = process(drive, more)
        assert ran.code == 0, ran
        assert described(drive) == described(tmp_path / "good")
        assert exif_of(drive) == exif_of(tmp_path / "good")


@in_process
def test_found_is_on_disk_before_the_first_image_is_replaced(drive, monkeypatch):
    import mapillary_tools

    plain, seen, synced = mapillary_tools.move_file, [], []
    fsync = os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda handle: (
            synced.append(os.readlink("/proc/self/fd/%d" % handle))
            if sys.platform == "linux"
            else None,
            fsync(handle),
        )[1],
    )

    def looking(source: str, target: str) -> None:
        if target.endswith(".jpg"):
            row = last_rows(drive).get(os.path.basename(target), {})
            seen.append(row.get("found", {}).get("times", {}).get("DateTimeOriginal"))
            if sys.platform == "linux":
                assert any(name.endswith("journal.jsonl") for name in synced)
        plain(source, target)

    monkeypatch.setattr(mapillary_tools, "move_file", looking)
    process(drive)
    assert len(seen) == 5 and all(seen)


def test_touched_files_are_not_shifted_twice(drive):
    process(drive, SHIFT)
    before = images_in(drive)
    for path in drive.glob("*.jpg"):
        os.utime(str(path), (1700000000, 1700000000))
    assert process(drive, SHIFT).code == 0
    assert images_in(drive) == before
    assert process(drive, SHIFT, "--rerun").code == 0
    assert images_in(drive) == before


def test_folder_copied_without_its_times_is_not_shifted_twice(drive, tmp_path):
    process(drive, SHIFT)
    shutil.copytree(str(drive), str(tmp_path / "elsewhere"), copy_function=shutil.copyfile)
    ran = process(tmp_path / "elsewhere", SHIFT, "--rerun")
    assert ran.code == 0 and images_in(tmp_path / "elsewhere") == images_in(drive)


def test_renamed_photos_are_not_shifted_twice(drive):
    process(drive, SHIFT)
    before = headings(drive)
    for number, name in enumerate(NAMES):
        (drive / name).rename(drive / ("street_%d.jpg" % number))
    assert process(drive, SHIFT).code == 0
    assert list(headings(drive).values()) == list(before.values())


def test_copy_of_a_processed_photo_beside_it_is_not_shifted_twice(drive):
    process(drive, SHIFT)
    shutil.copy(str(drive / "0003.jpg"), str(drive / "0003 (1).jpg"))
    assert process(drive, SHIFT).code == 0
    assert headings(drive)["0003 (1).jpg"] == headings(drive)["0003.jpg"]


@pytest.mark.parametrize("more", [["--keep_original"], ["--skip_EXIF_insert"]])
def test_touched_originals_give_the_same_description_again(more, drive):
    process(drive, SHIFT, more)
    first = {name: row["steps"]["geotag_process"]["data"] for name, row in last_rows(drive).items()}
    for path in drive.glob("*.jpg"):
        os.utime(str(path), (1700000000, 1700000000))
    assert process(drive, SHIFT, more).code == 0
    assert {
        name: row["steps"]["geotag_process"]["data"] for name, row in last_rows(drive).items()
    } == first


def test_photo_half_copied_while_a_run_looks_is_not_shifted_twice(drive):
    """A processed folder is being copied to this disk: one run meets a torn photo, the next one the whole one."""
    process(drive, SHIFT)
    before = images_in(drive)
    whole = (drive / "0003.jpg").read_bytes()
    (drive / "0003.jpg").write_bytes(whole[:300])
    assert process(drive, SHIFT).code == 1
    (drive / "0003.jpg").write_bytes(whole)
    assert process(drive, SHIFT).code == 0
    assert images_in(drive) == before


def test_photo_replaced_by_another_of_the_same_name_is_read_anew(drive):
    process(drive, SHIFT)
    making.photo(
        drive / "0003.jpg",
        lat=57.7005,
        lon=11.9703,
        heading=200.0,
        time="2024:05:06 07:08:14",
        pixels=9,
    )
    assert process(drive, SHIFT).code == 0
    row = making.description(drive / "0003.jpg")
    assert (row["MAPLatitude"], row["MAPCompassHeading"]["TrueHeading"]) == (57.7005, 290.0)
    assert row["MAPCaptureTime"] == "2024_05_06_06_08_14_000"


def test_original_put_back_from_the_card_is_described_again(drive, tmp_path):
    shutil.copytree(str(drive), str(tmp_path / "card"))
    process(drive, SHIFT)
    before = images_in(drive)
    shutil.copy2(str(tmp_path / "card" / "0003.jpg"), str(drive / "0003.jpg"))
    assert process(drive, SHIFT).code == 0
    assert images_in(drive) == before


def test_tag_that_another_program_added_later_survives_and_shifts_nothing(drive):
    process(drive, SHIFT)
    first = described(drive)
    content = (drive / "0003.jpg").read_bytes()
    comment = b"\xff\xfe\x00\x07stars"
    (drive / "0003.jpg").write_bytes(content[:2] + comment + content[2:])
    process(drive, SHIFT, "--rerun")
    assert described(drive) == first and comment in (drive / "0003.jpg").read_bytes()


def test_images_that_join_a_processed_folder_belong_to_its_sequence(drive, tmp_path):
    making.drive(tmp_path / "more", count=8, heading=5.0)
    process(drive)
    for name in ("0006.jpg", "0007.jpg"):
        shutil.copy2(str(tmp_path / "more" / name), str(drive / name))
    ran = process(drive)
    assert ran.code == 0 and len({row["MAPSequenceUUID"] for row in described(drive).values()}) == 1
    assert set(described(drive)) == {*NAMES, "0006.jpg", "0007.jpg"}


def test_images_that_join_give_what_one_run_over_all_of_them_gives(drive, tmp_path):
    """Same input, same ids, same bytes, however many runs it took."""
    making.drive(tmp_path / "all", count=7, heading=lambda number: 10.0 * number + 5)
    making.drive(drive, count=7, heading=lambda number: 10.0 * number + 5)
    (drive / "0006.jpg").rename(tmp_path / "0006.jpg")
    process(drive)
    (tmp_path / "0006.jpg").rename(drive / "0006.jpg")
    process(drive)
    process(tmp_path / "all")
    assert images_in(drive) == images_in(tmp_path / "all")


# ---- where things are written ------------------------------------------------------------------------------------------


def test_keep_original_leaves_originals_byte_identical(drive):
    before = images_in(drive)
    assert process(drive, "--keep_original", SHIFT).code == 0
    assert images_in(drive) == before
    copies = drive / ".mapillary" / "process_images"
    assert sorted(path.name for path in copies.iterdir()) == NAMES
    assert making.description(copies / "0001.jpg")["MAPCompassHeading"]["TrueHeading"] == 95.0


def test_skip_exif_insert_writes_nothing_into_images(drive):
    before = images_in(drive)
    assert process(drive, "--skip_EXIF_insert", SHIFT).code == 0
    assert images_in(drive) == before and not (drive / ".mapillary" / "process_images").exists()


@pytest.mark.parametrize("tool", ["process", "process_and_upload"])
def test_dry_run_writes_nothing_at_all(tool, drive):
    before = tree(drive)
    stats = {path: path.stat().st_mtime_ns for path in [drive, *drive.rglob("*")]}
    ran = run(tool, "--import_path", drive, "--user_name", "demo", "--dry_run")
    assert ran.code == 0 and "5 would be processed" in ran.stdout
    assert tree(drive) == before and {path: path.stat().st_mtime_ns for path in stats} == stats


def test_dry_run_on_a_processed_folder_writes_nothing_at_all(drive):
    process(drive)
    before = tree(drive)
    assert process(drive, "--dry_run", SHIFT).code == 0
    assert tree(drive) == before


def test_verbose_keeps_a_log_of_every_image(drive):
    process(drive, "--verbose")
    assert all((drive / ".mapillary" / "logs" / name / "steps.json").is_file() for name in NAMES)


def test_failed_image_gets_a_log(mixed):
    process(mixed)
    row = json.loads(
        (mixed / ".mapillary" / "logs" / "no_position.jpg" / "steps.json").read_text("utf-8")
    )
    assert row["outcome"]["reason"] == "no_position"
    assert not (mixed / ".mapillary" / "logs" / "0001.jpg").exists()


def test_pixels_and_other_segments_are_never_touched(drive):
    before = {name: making.without_exif(data) for name, data in images_in(drive).items()}
    process(drive, SHIFT)
    assert {name: making.without_exif(data) for name, data in images_in(drive).items()} == before


def test_temporary_file_of_an_interrupted_run_is_removed_and_never_an_image(drive):
    part = drive / ".mapillary-0123456789abcdef.part"
    part.write_bytes(b"half")
    odd = drive / ".mapillary-0123.jpg"
    odd.write_bytes(b"half")
    ran = process(drive)
    assert counts(ran)[0] == 5 and not part.exists()


def test_subfolders_are_searched_unless_skipped(drive):
    making.drive(drive / "two", count=3)
    assert counts(process(drive, "--dry_run"))[0] == 8
    assert counts(process(drive, "--dry_run", "--skip_subfolders"))[0] == 5


def test_sequences_do_not_cross_folders(tmp_path):
    making.drive(tmp_path / "p" / "a", count=2)
    making.drive(tmp_path / "p" / "b", count=2, start="2024:05:06 07:08:13", lat=57.7002)
    process(tmp_path / "p")
    assert not {row["MAPSequenceUUID"] for row in described(tmp_path / "p" / "a").values()} & {
        row["MAPSequenceUUID"] for row in described(tmp_path / "p" / "b").values()
    }


def test_what_an_earlier_tool_uploaded_is_honoured(drive):
    (drive / ".mapillary" / "logs" / "0002").mkdir(parents=True)
    (drive / ".mapillary" / "logs" / "0002" / "upload_success").write_text("", "utf-8")
    before = (drive / "0002.jpg").read_bytes()
    ran = process(drive)
    assert counts(ran) == (5, 4, 1, 0) and "already uploaded" in ran.stdout
    assert (drive / "0002.jpg").read_bytes() == before


# ---- the unit tools ----------------------------------------------------------------------------------------------------


def _one_after_another(folder: Any, more: List[str]) -> List[Ran]:
    demo = ["--user_name", "demo"]
    return [
        run(tool, "--import_path", folder, words)
        for tool, words in [
            ("extract_user_data", demo),
            ("extract_import_meta_data", ["--device_make", "Own"]),
            ("extract_geotag_data", SHIFT),
            ("extract_sequence_data", ["--offset_angle", "90", "--cutoff_time", "3"]),
            ("extract_upload_params", demo),
            ("exif_insert", more),
        ]
    ]


def test_unit_tools_one_after_another_give_the_same_bytes_as_process(drive, tmp_path):
    shutil.copytree(str(drive), str(tmp_path / "units"))
    process(drive, SHIFT, "--device_make", "Own", "--cutoff_time", "3")
    assert [ran.code for ran in _one_after_another(tmp_path / "units", [])] == [0] * 6
    assert images_in(tmp_path / "units") == images_in(drive)


def test_unit_tools_before_exif_insert_leave_the_images_alone(drive):
    before = images_in(drive)
    _one_after_another(drive, ["--skip_EXIF_insert"])
    assert images_in(drive) == before


def test_exif_insert_without_the_other_steps_says_which_tool_is_missing(drive):
    ran = run("exif_insert", "--import_path", drive)
    assert ran.code == 1 and counts(ran) == (5, 0, 0, 5) and "extract_user_data" in ran.stdout


def test_extract_sequence_data_before_positions_says_which_tool_is_missing(drive):
    ran = run("extract_sequence_data", "--import_path", drive)
    assert ran.code == 1 and "extract_geotag_data" in ran.stdout


def test_step_repeated_with_other_options_is_taken_over_by_the_next_exif_insert(drive):
    process(drive)
    assert run("extract_geotag_data", "--import_path", drive, "--offset_angle", "90").code == 0
    assert run("extract_sequence_data", "--import_path", drive, "--offset_angle", "90").code == 0
    assert run("exif_insert", "--import_path", drive).code == 0
    assert headings(drive) == {name: 10.0 * number + 95 for number, name in enumerate(NAMES)}


def test_write_gpx_without_a_track_is_refused_before_anything_is_done(drive):
    before = tree(drive)
    ran = run(
        "extract_geotag_data", "--import_path", drive, "--write_gpx", drive.parent / "out.gpx"
    )
    assert ran.code == 2 and tree(drive) == before


# ---- what is printed ---------------------------------------------------------------------------------------------------


def test_summary_adds_up(mixed):
    found, done, skipped, failed = counts(process(mixed))
    assert found == done + skipped + failed == 15


def test_json_prints_one_object_on_standard_output(mixed):
    ran = process(mixed, "--json")
    row = json.loads(ran.stdout)
    assert ran.stdout.count("\n") == 1 and row["exit_code"] == ran.code == 1
    assert row["found"] == row["done"] + sum(row["skipped"].values()) + len(row["failed"]) == 15
    assert all(
        set(problem) == {"code", "file", "wrong", "value", "remedy"} for problem in row["failed"]
    )


def test_json_of_an_error_is_one_object_too(tmp_path):
    ran = process(tmp_path / "nowhere", "--json")
    assert json.loads(ran.stdout)["exit_code"] == ran.code == 3
    assert json.loads(ran.stdout)["stopped"]["code"] == "no_folder"


def test_narration_goes_to_standard_error(drive):
    ran = process(drive)
    assert "capture times of 5 images" in ran.stderr and "capture times" not in ran.stdout


def test_times_assumed_to_be_utc_are_said_once(drive):
    assert process(drive).stderr.count("--timezone") == 1


def test_error_is_one_line_even_for_a_name_with_a_line_break(tmp_path):
    (ran) = process(tmp_path / "no\nwhere")
    assert ran.code == 3 and len(ran.stderr.splitlines()) == 1


# ---- real processes ----------------------------------------------------------------------------------------------------


def test_bare_python_in_a_folder_with_blank_and_umlaut_and_no_home(tmp_path):
    folder = tmp_path / "Fotos für Ömer"
    making.drive(folder, count=2)
    (folder / "0002.jpg").rename(folder / "höhe 2.jpg")
    ran = real(
        ["process", "--import_path", folder, "--user_name", "demo"],
        cwd=str(tmp_path),
        env={"HOME": str(tmp_path / "not" / "there"), "MAPILLARY_CONFIG_PATH": ""},
    )
    assert ran.code == 0 and counts(ran) == (2, 2, 0, 0), ran
    assert making.description(folder / "höhe 2.jpg")["MAPSettingsUsername"] == "demo"


def test_home_that_points_nowhere_stays_away(tmp_path):
    making.drive(tmp_path / "p", count=1)
    real(
        ["process", "--import_path", tmp_path / "p", "--user_name", "demo"],
        env={"HOME": str(tmp_path / "not" / "there"), "MAPILLARY_CONFIG_PATH": ""},
    )
    assert not (tmp_path / "not").exists()


def test_console_of_code_page_1252_with_names_it_cannot_show(tmp_path):
    folder = tmp_path / "p"
    making.drive(folder, count=1)
    making.photo(folder / "東京.jpg")
    making.photo(folder / "größe.jpg")
    ran = real(
        ["process", "--import_path", folder, "--user_name", "demo", "--verbose"],
        env={"PYTHONIOENCODING": "cp1252"},
        flags=("-S",),
    )
    assert ran.code == 1 and counts(ran) == (3, 1, 0, 2) and "\\u6771\\u4eac.jpg" in ran.stdout, ran


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_file_name_that_is_no_text_is_processed(tmp_path):
    making.drive(tmp_path / "p", count=1)
    os.rename(str(tmp_path / "p" / "0001.jpg"), os.fsencode(str(tmp_path / "p")) + b"/\xff\xfe.jpg")
    ran = real(["process", "--import_path", tmp_path / "p", "--user_name", "demo", "--verbose"])
    assert ran.code == 0 and counts(ran) == (1, 1, 0, 0), ran


def test_relative_path_from_another_folder(drive):
    ran = real(
        ["process", "--import_path", "./drive/", "--user_name", "demo"], cwd=str(drive.parent)
    )
    assert ran.code == 0 and counts(ran) == (5, 5, 0, 0)


@pytest.mark.skipif(os.name == "nt", reason="links of another kind")
@in_process
def test_script_started_through_a_link_finds_vendor(drive, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mt").symlink_to(ROOT / "mapillary_tools.py")
    ran = real(
        ["process", "--import_path", drive, "--user_name", "demo"], program=tmp_path / "bin" / "mt"
    )
    assert ran.code == 0 and counts(ran) == (5, 5, 0, 0), ran


@in_process
def test_script_without_vendor_says_what_to_copy(drive, tmp_path):
    shutil.copy(str(ROOT / "mapillary_tools.py"), str(tmp_path / "alone.py"))
    ran = real(
        ["process", "--import_path", drive, "--user_name", "demo"], program=tmp_path / "alone.py"
    )
    assert (
        ran.code not in (0, 1)
        and "vendor" in ran.stderr.splitlines()[-1]
        and "Traceback" not in ran.stderr
    ), ran


@pytest.mark.skipif(os.name != "posix", reason="pipes of another kind")
def test_reader_that_went_away_is_no_error(mixed):
    argv = [
        sys.executable,
        "-I",
        "-S",
        str(ROOT / "mapillary_tools.py"),
        "process",
        "--import_path",
        str(mixed),
        "--user_name",
        "demo",
        "--verbose",
    ]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    os.close(writing)
    assert done.returncode == 1 and b"BrokenPipe" not in done.stderr, done


@pytest.mark.skipif(os.name != "posix", reason="signals of another kind")
def test_ctrl_c_ends_in_130_and_the_next_run_goes_on(tmp_path):
    making.drive(tmp_path / "p", count=120, seconds=1.0)
    argv = [
        sys.executable,
        "-I",
        "-S",
        str(ROOT / "mapillary_tools.py"),
        "process",
        "--import_path",
        str(tmp_path / "p"),
        "--user_name",
        "demo",
        "--workers",
        "1",
    ]
    child = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    journal = tmp_path / "p" / ".mapillary" / "journal.jsonl"
    limit = time.time() + 20
    while time.time() < limit and not (journal.exists() and journal.stat().st_size > 60000):
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate()
    if child.returncode == 0:
        pytest.skip("the run was faster than the signal")
    assert (
        child.returncode == 130
        and b"run the same command again" in said
        and b"Traceback" not in said
    ), said
    ran = process(tmp_path / "p")
    assert ran.code == 0 and all(described(tmp_path / "p").values())


@in_process
def test_first_command_of_the_readme_on_a_bare_python(tmp_path):
    shutil.copytree(
        str(ROOT / "tests" / "data" / "drive"),
        str(tmp_path / "tests" / "data" / "drive"),
        ignore=shutil.ignore_patterns(".mapillary"),
    )
    before = tree(tmp_path)
    ran = real(
        [
            "process_and_upload",
            "--import_path",
            "tests/data/drive",
            "--user_name",
            "demo",
            "--keep_original",
            "--stand_in",
            "received",
        ],
        cwd=str(tmp_path),
    )
    assert ran.code == 0, ran
    assert counts(ran) == (16, 16, 0, 0)
    assert before.items() <= tree(tmp_path).items()


# ---- real photos -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processed(tmp_path_factory: Any) -> Tuple[Path, Ran, List[Dict[str, Any]]]:
    """A copy of the real photos after process, what process said, and what exiftool said before."""
    if not shutil.which("exiftool"):
        pytest.skip("exiftool is not on this computer")
    folder = tmp_path_factory.mktemp("real") / "photos"
    shutil.copytree(str(PHOTOS), str(folder), copy_function=shutil.copyfile)
    folder.chmod(0o755)
    judged = subprocess.run(
        ["exiftool", "-n", "-j", "-G0:1", "-EXIF:all", "-GPS:all", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout
    return folder, process(folder, "--json"), json.loads(judged)


@needs_photos
class TestRealPhotos:
    """../shared/data/photos: 23 files of many cameras, some damaged, judged by exiftool."""

    def test_every_file_is_accounted_for(self, processed):
        folder, ran, _ = processed
        row = json.loads(ran.stdout)
        assert (
            ran.code == 1
            and row["found"] == len([path for path in folder.iterdir() if path.is_file()]) == 23
        )
        assert row["found"] == row["done"] + sum(row["skipped"].values()) + len(row["failed"])

    def test_positions_are_those_of_exiftool(self, processed):
        folder, _, judged = processed
        seen = 0
        for row in judged:
            lat = row.get("EXIF:GPS:GPSLatitude")
            made = making_description(Path(row["SourceFile"]))
            if made:
                refs = (
                    row.get("EXIF:GPS:GPSLatitudeRef", "N"),
                    row.get("EXIF:GPS:GPSLongitudeRef", "E"),
                )
                lat = abs(lat) * (-1 if refs[0] == "S" else 1)
                lon = abs(row["EXIF:GPS:GPSLongitude"]) * (-1 if refs[1] == "W" else 1)
                assert (
                    abs(made["MAPLatitude"] - lat) < 1e-6 and abs(made["MAPLongitude"] - lon) < 1e-6
                ), row
                seen += 1
        assert seen >= 7

    def test_every_usable_position_is_used(self, processed):
        folder, ran, judged = processed
        failed = {
            os.path.basename(row["file"]): row["code"] for row in json.loads(ran.stdout)["failed"]
        }
        for row in judged:
            lat, lon = row.get("EXIF:GPS:GPSLatitude"), row.get("EXIF:GPS:GPSLongitude")
            name = os.path.basename(row["SourceFile"])
            if (
                isinstance(lat, (int, float))
                and isinstance(lon, (int, float))
                and (lat, lon) != (0, 0)
            ):
                assert failed.get(name) in (None, "no_time", "bad_jpeg"), (name, failed.get(name))

    def test_capture_times_are_those_of_exiftool_under_the_zone_rules(self, processed):
        folder, _, judged = processed
        rows = last_rows(folder)
        checked = 0
        for row in judged:
            name = os.path.basename(row["SourceFile"])
            data = rows.get(name, {}).get("steps", {}).get("geotag_process", {}).get("data")
            text = row.get("EXIF:ExifIFD:DateTimeOriginal")
            if data is None or text is None:
                continue
            zone = (
                row.get("EXIF:ExifIFD:OffsetTimeOriginal")
                or row.get("EXIF:ExifIFD:OffsetTimeDigitized")
                or row.get("EXIF:ExifIFD:OffsetTime")
            )
            local = (
                datetime.datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
                .replace(tzinfo=datetime.timezone.utc)
                .timestamp()
            )
            digits = str(row.get("EXIF:ExifIFD:SubSecTimeOriginal", "") or "").strip()
            local += float("0." + digits) if digits else 0.0
            if zone:
                offset = (1 if zone[0] == "+" else -1) * (
                    int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
                )
            else:
                offset = data["offset"]
                assert offset % 900 == 0
                assert data["zone"] in ("GPS time", "UTC assumed") and (
                    offset == 0 or data["zone"] == "GPS time"
                )
            assert abs(data["time"] - (local - offset)) < 0.0011, name
            checked += 1
        assert checked >= 7

    def test_written_images_open_in_pillow(self, processed):
        Image = pytest.importorskip("PIL.Image")
        folder, _, _ = processed
        for name, row in last_rows(folder).items():
            if row.get("written"):
                with Image.open(str(folder / name)) as picture:
                    picture.load()

    def test_written_images_have_no_new_exiftool_warning(self, processed):
        folder, _, _ = processed

        def warnings(place: Any) -> Dict[str, Any]:
            found = json.loads(
                subprocess.run(
                    ["exiftool", "-j", "-Warning", "-Error", str(place)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                ).stdout
            )
            return {
                os.path.basename(row["SourceFile"]): (row.get("Warning"), row.get("Error"))
                for row in found
            }

        before, after = warnings(PHOTOS), warnings(folder)
        assert {
            name: after[name] for name in after if after[name] != (None, None)
        }.items() <= before.items()


def making_description(path: Path) -> Dict[str, Any]:
    """The description in a real photo, which may be too damaged for the judge."""
    try:
        return making.description(path)
    except (ValueError, KeyError, IndexError, TypeError):
        return {}
