"""What a hard new user tripped over: each symptom has its test."""

import os
import subprocess
import sys

import making
import mapillary_tools as mt
import pytest
from conftest import ROOT, run

TRACK = [(1714979289 + second, 57.7 + second / 1e5, 11.97) for second in range(60)]


def process(folder, *more):
    return run("process", "--import_path", str(folder), "--user_name", "demo", *map(str, more))


def test_write_gpx_overwrites_no_photo(tmp_path):
    making.drive(tmp_path / "p", count=2)
    track = making.gpx(TRACK, tmp_path / "t.gpx")
    photo = tmp_path / "p" / "0001.jpg"
    before = photo.read_bytes()
    ran = run(
        "extract_geotag_data",
        "--import_path",
        str(tmp_path / "p"),
        "--geotag_source",
        "gpx",
        "--geotag_source_path",
        str(track),
        "--write_gpx",
        str(photo),
    )
    assert (ran.code, photo.read_bytes()) == (mt.CannotWrite.exit_code, before)


def test_write_gpx_overwrites_no_log_of_somebody_else(tmp_path):
    making.drive(tmp_path / "p", count=2)
    track = making.gpx(TRACK, tmp_path / "t.gpx")
    before = track.read_bytes()
    ran = run(
        "extract_geotag_data",
        "--import_path",
        str(tmp_path / "p"),
        "--geotag_source",
        "gpx",
        "--geotag_source_path",
        str(track),
        "--write_gpx",
        str(track),
    )
    assert (ran.code, track.read_bytes()) == (mt.CannotWrite.exit_code, before)


def test_write_gpx_replaces_what_it_wrote_itself(tmp_path):
    track = mt.read_track(making.gpx(TRACK, tmp_path / "t.gpx"))
    for _ in range(2):
        mt.write_gpx(track, tmp_path / "o.gpx")
    assert len(mt.read_track(tmp_path / "o.gpx").points) == len(TRACK)


def test_track_without_a_source_is_refused_and_not_ignored(tmp_path):
    making.drive(tmp_path / "p", count=2)
    ran = process(tmp_path / "p", "--geotag_source_path", making.gpx(TRACK, tmp_path / "t.gpx"))
    assert ran.code == 2 and "--geotag_source gpx" in ran.stderr


@pytest.mark.skipif(os.name != "posix", reason="links of another kind")
def test_link_to_a_photo_is_skipped_so_that_nothing_is_shifted_twice(tmp_path):
    photos = making.drive(tmp_path / "real", count=2, heading=45.0)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / photos[0].name).symlink_to(photos[0])
    process(tmp_path / "real", "--offset_angle", 90)
    once = photos[0].read_bytes()
    ran = process(tmp_path / "links", "--offset_angle", 90)
    assert ran.code == 0 and "1 skipped" in ran.stdout and photos[0].read_bytes() == once


def test_what_a_stand_in_received_is_no_input(tmp_path):
    making.drive(tmp_path / "p", count=3)
    both = [
        "process_and_upload",
        "--import_path",
        str(tmp_path / "p"),
        "--user_name",
        "demo",
        "--stand_in",
        str(tmp_path / "p" / "received"),
    ]
    assert run(*both).code == 0
    assert "3 found = 0 uploaded + 3 skipped + 0 failed" in run(*both).stdout


def test_stand_in_in_the_import_folder_itself_is_refused(tmp_path):
    making.drive(tmp_path / "p", count=1)
    ran = run(
        "process_and_upload",
        "--import_path",
        str(tmp_path / "p"),
        "--user_name",
        "demo",
        "--stand_in",
        str(tmp_path / "p"),
    )
    assert ran.code == 2 and len(list((tmp_path / "p").glob("*.jpg"))) == 1


@pytest.mark.skipif(os.name != "posix", reason="names of another kind")
def test_control_characters_of_a_name_do_not_reach_the_terminal(tmp_path):
    making.photo(tmp_path / "new\nline\x1b[31m.jpg")
    ran = process(tmp_path)
    assert "\x1b" not in ran.stdout + ran.stderr and "new\\x0aline\\x1b[31m.jpg" in ran.stdout


def test_misspelt_option_is_named_with_the_one_that_was_meant(tmp_path):
    ran = process(tmp_path, "--offset_tme", "4")
    assert (
        ran.code == 2
        and "did you mean --offset_time?" in ran.stderr
        and "process --advanced -h" in ran.stderr
    )


def test_failure_in_both_parts_of_a_run_is_listed_once(tmp_path):
    making.drive(tmp_path / "p", count=2)
    (tmp_path / "p" / "bad.jpg").write_bytes(b"")
    ran = run(
        "process_and_upload",
        "--import_path",
        str(tmp_path / "p"),
        "--user_name",
        "demo",
        "--stand_in",
        str(tmp_path / "received"),
    )
    assert ran.code == 1 and ran.stdout.count("bad.jpg") == 1 and ran.stdout.count("1 failed") == 2


def test_gpx_times_without_a_zone_are_taken_as_utc_and_that_is_said(tmp_path):
    path = making.gpx(TRACK, tmp_path / "t.gpx")
    path.write_bytes(path.read_bytes().replace(b"Z</time>", b"</time>"))
    track = mt.read_track(path)
    assert track.points[0].time == TRACK[0][0] and "without a zone" in "".join(track.notes)


def test_rehearsal_says_nothing_of_credentials(tmp_path):
    making.drive(tmp_path / "p", count=1)
    ran = run(
        "process_and_upload",
        "--import_path",
        str(tmp_path / "p"),
        "--user_name",
        "demo",
        "--stand_in",
        str(tmp_path / "received"),
    )
    assert "credentials" not in ran.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_output_that_cannot_be_written_is_one_line_and_no_traceback(tmp_path):
    making.drive(tmp_path / "p", count=1)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                str(ROOT / "mapillary_tools.py"),
                "process",
                "--import_path",
                str(tmp_path / "p"),
                "--user_name",
                "x",
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
    assert done.returncode == mt.CannotWrite.exit_code and b"Traceback" not in done.stderr
