"""What people type, on the command line and into files, and what they are told: areas, empty
values, tools, lists, tables, words of other tools, next commands."""

import collections
import contextlib
import io
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict

import making
import making_videos
import pytest
from conftest import ROOT, images_in, in_process, real, run, told, tree
from service import Service

import mapillary_tools as mt

pytestmark = [in_process, pytest.mark.slow]
cases = pytest.mark.parametrize
needs = pytest.mark.skipif

USER = ("--user_name", "demo")
HOME = "57.7,11.97,5000"
NO_FFMPEG = not making_videos.FFMPEG or not making_videos.FFPROBE
needs_bash = needs(os.name != "posix" or not shutil.which("bash"), reason="needs bash on POSIX")
needs_fifo = needs(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
needs_full = needs(not os.path.exists("/dev/full"), reason="there is no full device")
needs_ffmpeg = needs(NO_FFMPEG, reason="ffmpeg and ffprobe are not on this computer")


def said(*argv: Any, code: int = 2) -> str:
    """The one line that a command ends with."""
    ran = run(*argv)
    assert ran.code == code and "Traceback" not in ran.stderr, ran
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("mapillary_tools: "), ran
    return last[len("mapillary_tools: ") :]


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Three photos that nothing has been done to."""
    making.drive(tmp_path / "card", 3)
    return tmp_path / "card"


@pytest.fixture
def config(own_home: Path) -> Path:
    return own_home / "config"


# ---- areas of the configuration ------------------------------------------------------------------


@cases("section", ["Exclude", "EXCLUDE", " exclude ", "excluded", "exclude_areas", "Exclude areas"])
def test_areas_count_however_their_section_is_spelled(card: Path, config: Path, section: str):
    config.write_text(f"[{section}]\nhome = {HOME}\n", encoding="utf-8")
    row = told("process", "--import_path", card, *USER)
    assert (row["done"], row["skipped"]) == (0, {"excluded_area": 3})


@cases("tool", ["process", "upload"])
def test_two_areas_of_one_name_stop_a_run(card: Path, config: Path, tool: str):
    more = USER if tool == "process" else ("--stand_in", card.parent / "received")
    if tool == "upload":
        assert run("process", "--import_path", card, *USER).code == 0
    text = f"[exclude]\nhome = {HOME}\nwork = 58,12,5\nhome = 58.1,12,5\n"
    config.write_text(text, encoding="utf-8")
    before = images_in(card)
    line = said(tool, "--import_path", card, *more)
    assert (
        line.startswith(f"{config}: ")
        and "does not count: 57.7,11.97,5000" in line
        and images_in(card) == before
    )
    assert list(card.parent.glob("received/*.jpg")) == []


UNREADABLE = {  # text with a section to fill in, encoding
    "Latin-1": ("[{}]\nmüller = 57.7,11.97,5\n", "latin-1"),
    "UTF-16": ("[{}]\nhome = 57.7,11.97,5\n", "utf-16"),
    "no equals sign": ("[{}]\nhome 57.7,11.97,5\n", "utf-8"),
}


@cases("section", ["exclude", "anna"])
@cases("how", UNREADABLE)
def test_an_unreadable_configuration_stops_process_where_it_names_areas(
    card: Path, config: Path, how: str, section: str
):
    """Those of [anna], which name none, are a guard: green before, too."""
    config.write_bytes(UNREADABLE[how][0].format(section).encode(UNREADABLE[how][1]))
    before = tree(card)
    if section == "exclude":
        line = said("process", "--import_path", card, *USER)
        assert line.startswith(f"{config}: ") and "areas" in line and tree(card) == before
    else:
        assert told("process", "--import_path", card, *USER)["done"] == 3


def test_an_area_that_is_none_is_named_with_its_file(card: Path, config: Path):
    config.write_text("[exclude]\nhome = 57.69,11\n", encoding="utf-8")
    line = said("process", "--import_path", card, *USER)
    assert line.startswith(f"{config}: ") and ": home = 57.69,11 (" in line


def test_the_defaults_of_a_configuration_are_no_areas(card: Path, config: Path):
    text = f"[DEFAULT]\ncolour = blue\n\n[exclude]\nhome = {HOME}\n"
    config.write_text(text, encoding="utf-8")
    assert told("process", "--import_path", card, *USER)["skipped"] == {"excluded_area": 3}


# ---- empty values, and values of other kinds -----------------------------------------------------

EMPTY = [
    "upload --stand_in",
    "process_and_upload --user_name demo --stand_in",
    "process_and_upload --user_name demo --timezone",
    "process_and_upload --user_name demo --organization_key",
    "process_and_upload --user_name demo --report",
    "extract_geotag_data --write_gpx",
    "status --image",
]


@cases("words", EMPTY)
def test_an_empty_value_is_refused_and_nothing_is_sent(card: Path, service: Service, words: str):
    assert run("process", "--import_path", card, *USER).code == 0
    before = tree(card)
    tool, *more = words.split()
    assert f"{more[-1]} is empty" in said(tool, "--import_path", card, *more, "")
    assert service.log == [] and tree(card) == before


@cases(
    "group, fields",
    [(mt.Geotagging, {"geotag_source": ["gpx"]}), (mt.AllVideos, {"videos": []})],
    ids=["geotag_source", "videos"],
)
def test_a_list_where_one_text_belongs_is_a_usage_error(group: Any, fields: Dict[str, Any]):
    with pytest.raises(mt.UsageError):
        group(**fields)


@cases(
    "given, taken",
    [(None, ()), ([HOME, "1,2,3"], (HOME, "1,2,3")), (HOME, (HOME,))],
    ids=["None", "a list", "one text"],
)
def test_areas_are_taken_as_programs_give_them(given: Any, taken: Any):
    assert mt.Areas(exclude_area=given).exclude_area == taken


def test_main_takes_paths(card: Path):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert mt.main(["status", "--import_path", card]) == 0  # type: ignore[list-item]
    assert "3 found" in out.getvalue()


# ---- tools ---------------------------------------------------------------------------------------


@cases(
    "before, name, clock",
    [
        ("--user_name x", "x", "07_08_09"),
        ("--user-name upload", "upload", "07_08_09"),
        ("--json --offset_time -5 --user_name x", "x", "07_08_14"),
    ],
)
def test_a_tool_is_found_behind_options_with_values(card: Path, before: str, name: str, clock: str):
    ran = run(*before.split(), "process", "--import_path", card)
    assert ran.code == 0, ran
    row = making.description(card / "0001.jpg")
    assert row["MAPSettingsUsername"] == name and clock in row["MAPCaptureTime"]


@needs_full
@cases("word", ["version", "-h"])
def test_a_full_output_is_said_in_one_line(word: str):
    start = [sys.executable, "-I", "-S", str(ROOT / "mapillary_tools.py"), word]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(start, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 11 and len(done.stderr.splitlines()) == 1, done.stderr


def test_accounts_are_not_listed_and_forgotten_at_once(config: Path):
    config.write_text("[anna]\nuser_upload_token = 12345678\n", encoding="utf-8")
    line = said("authenticate", "--list", "--delete", "--user_name", "anna")
    assert "--list and --delete" in line
    assert config.read_text("utf-8") == "[anna]\nuser_upload_token = 12345678\n"


# ---- lists of folders ----------------------------------------------------------------------------


@cases("encoding", ["utf-16-le", "utf-16-be", "utf-8"])
def test_a_list_of_folders_may_begin_with_a_mark(card: Path, encoding: str):
    """That of UTF-8 is a guard: green before, too."""
    other = making.drive(card.parent / "Ä b", 2, lat=30.0)[0].parent
    (card.parent / "l.txt").write_bytes(f"\ufeff{card}\r\n{other}\r\n".encode(encoding))
    row = told("process", "--import_path", f"@{card.parent / 'l.txt'}", *USER)
    assert (row["exit_code"], row["done"], row["trouble"]) == (0, 5, [])


@cases("content", [b"", b"\xff\xfe", b" \r\n\n"], ids=["empty", "mark alone", "blank lines"])
def test_a_list_without_a_folder_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "l.txt").write_bytes(content)
    line = said("process", "--import_path", f"@{tmp_path / 'l.txt'}", *USER, code=3)
    assert line.startswith(f"{tmp_path / 'l.txt'}: is a list without a folder")


def test_a_list_that_is_a_folder_is_named(card: Path):
    """A guard beside the one above: green before, too."""
    line = said("process", "--import_path", f"@{card}", *USER, code=3)
    assert line.startswith(f"{card}: cannot be read: ") and "one folder a line" in line


# ---- what is proposed ----------------------------------------------------------------------------


ANSWERS = [  # what is typed, and a part of the one line
    ("help proces", "there is no tool 'proces' (did you mean process?"),
    ("proces --help", "there is no tool 'proces' (did you mean process?"),
    ("help nope", "there is no tool 'nope' ("),
    ("--verison", "--verison (did you mean --version?"),
    ("--user_name x", "a tool is missing (for example mapillary_tools.py process"),
    ("process v.mp4 --user_name demo", "video_process --video_path v.mp4"),
    ("process card drive.gpx --user_name demo", "--geotag_source_path drive.gpx"),
    ("process_csv card t.csv", "--csv_path t.csv"),
    ("sample_video card v.mp4", "--video_path v.mp4"),
    ("process card/*.JPG --user_name demo", "process the folder that they are in: card)"),
    ("process --import_path @ --user_name demo", "@: cannot be read: "),
    ("download_images 57,71 57.72 11 12 --output_path o", " min_lat must be a number: 57,71 "),
    ("download_images 57,71 57.72 11 12 --output_path o", "(for example 57.71)"),
]


@cases("typed, wanted", ANSWERS)
def test_what_is_typed_is_answered(card: Path, monkeypatch: Any, typed: str, wanted: str):
    monkeypatch.chdir(card.parent)
    for name in ("v.mp4", "drive.gpx", "t.csv"):
        Path(name).write_bytes(b"x")
    found = "*" not in typed and "@" not in typed
    assert wanted in "mapillary_tools: " + said(*typed.split(), code=2 if found else 3)


def test_interpolate_takes_a_bare_folder(card: Path):
    row = told("interpolate", card, "--data", "missing_gps")
    assert (row["exit_code"], row["found"]) == (0, 3)


@needs_ffmpeg
def test_sampling_by_distance_without_a_track_names_the_tool_that_has_one(tmp_path: Path):
    video = making_videos.clip(tmp_path / "v.mp4", seconds=1)
    words = ("--import_path", tmp_path / "frames", "--video_path", video)
    ran = run("sample_video", *words, "--video_sample_distance", "5")
    assert ran.code == 1 and "video_process with --geotag_source" in ran.stdout


def test_after_a_dry_run_that_would_do_nothing_the_same_command_is_not_next(card: Path):
    words = ["process", "--import_path", str(card), *USER]
    assert told(*words, "--dry_run")["next"] == [*words, "--json"]
    assert run(*words).code == 0
    row = told(*words, "--dry_run")
    assert row["done"] == 0 and (row["next"] or ["nothing"])[0] != "process"


OTHERS = {  # what is said: of which words of other tools
    "here it is: authenticate --user_access_token;": "--token --access_token",
    "here it is --offset_time;": "--time_offset --offset",
    "here it is --dry_run;": "--simulate --dryrun --test",
    "here it is --timezone;": "--tz --time_zone",
    "here it is --geotag_source gpx --geotag_source_path;": "--gpx --gpx_path --track",
    "here it is --organization_username or --organization_key;": "--org --organization",
    "here it is: authenticate --user_password;": "--password",
    "here it is --rerun;": "--force",
    "leave it out: subfolders are searched;": "--recursive",
    "here it is MAX_ATTEMPTS in the environment;": "--max_attempts",
    "here it is NUMBER_THREADS in the environment;": "--number_threads",
    "here it is --manual_done;": "--nofinish",
    "status tells it, or report;": "--list_file_status --summarize --push_images",
    "leave it out: cameras are told by make, model and serial numbers;": "--camera_uuid",
    "process_csv gives meta data: --meta_columns, --meta_names,": "--custom_meta_data",
}


@cases("typed, wanted", [(typed, one) for one in OTHERS for typed in OTHERS[one].split()])
def test_a_word_of_another_tool_has_its_sentence(card: Path, typed: str, wanted: str):
    line = said("process_and_upload", "--import_path", card, *USER, typed, "1")
    assert f"there is no such option: {typed} ({wanted}" in line and "did you mean" not in line


# ---- the next command ----------------------------------------------------------------------------


@cases("word", ["a&b", "a^b", "100%", "(1)", "it's", "C:\\a&b", "a|b", "a,b"])
def test_a_word_isquoted_for_cmd(word: str):
    quote = getattr(mt, "quoted_for_cmd", lambda one: subprocess.list2cmdline([one]))
    assert quote(word) == f'"{word}"' and quote(word + "\\") == f'"{word}\\\\"'
    assert quote("C:\\card\\a-b_c.jpg") == "C:\\card\\a-b_c.jpg"  # a guard


@needs_bash
@cases(
    "name",
    [b"a\tb", b"it's\na $HOME", b"caf\xe9 b", b"\x1b[31m"],
    ids=["tab", "newline", "no UTF-8", "escape"],
)
def test_a_name_comes_back_from_bash_as_it_was(tmp_path: Path, name: bytes):
    folder = os.path.join(str(tmp_path), os.fsdecode(name))
    try:
        making.drive(folder, 2)
    except OSError:
        pytest.skip("this file system has no such names")
    last = run("process", "--import_path", folder, *USER, "--dry_run").stdout.splitlines()[-1]
    assert last.startswith("next: ")
    words = ["bash", "-c", "printf '%s\\0' " + last[len("next: ") :]]
    read = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    wanted = ["process", "--import_path", folder, *USER, ""]
    assert read.split(b"\0")[2:] == list(map(os.fsencode, wanted))


# ---- several runs in one process -----------------------------------------------------------------


def test_runs_in_two_threads_print_each_line_once(tmp_path: Path, monkeypatch: Any):
    """The second begins while the first is at work, and neither ends before both are done."""
    plain, first, meet, codes = mt._run, threading.Event(), threading.Barrier(2, timeout=30), []

    def together(*argv: Any) -> Any:
        first.set()
        meet.wait()
        report = plain(*argv)
        meet.wait()
        return report

    def work(count: int) -> None:
        folder = str(making.drive(tmp_path / f"card {count}", count)[0].parent)
        codes.append(mt.main(["process", "--import_path", folder, *USER]))

    monkeypatch.setattr(mt, "_run", together)
    threads = [threading.Thread(target=work, args=(count,)) for count in (3, 4)]
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        threads[0].start()
        assert first.wait(30)
        threads[1].start()
        for thread in threads:
            thread.join(60)
    times = collections.Counter(line.split(" from ")[0] for line in err.getvalue().splitlines())
    assert codes == [0, 0]
    assert times == {"capture times of 3 images": 1, "capture times of 4 images": 1}


# ---- tables --------------------------------------------------------------------------------------

PLACE = ("--latitude_column", "2", "--longitude_column", "3")
TIME = ("--timestamp_column", "2", "--time_format")
Reading = Callable[..., str]


@pytest.fixture
def read(tmp_path: Path) -> Reading:
    """A function that says what comes of a table for 1.jpg, which has no place."""
    making.photo(tmp_path / "card" / "1.jpg")

    def reading(text: str, *columns: str, code: int = 1) -> str:
        (tmp_path / "table.csv").write_text(text + "\n", encoding="utf-8")
        words = ("--import_path", tmp_path / "card", "--csv_path", tmp_path / "table.csv")
        ran = run("process_csv", *words, "--filename_column", "1", *columns)
        assert ran.code == code and "Traceback" not in ran.stderr, ran
        return ran.stdout + ran.stderr

    return reading


@cases(
    "cells, place",
    [
        ("51 28.700,0 12.500W", (51.4783333, -0.2083333)),
        ("51 28.700,-0 12.5", (51.4783333, -0.2083333)),
        ("33 51 30.6 S,151 12 55.8 E", (-33.8585, 151.2155)),
    ],
)
def test_a_table_may_have_degrees_and_minutes(
    tmp_path: Path, read: Reading, cells: str, place: Any
):
    read(f"1.jpg,{cells}", *PLACE, code=0)
    run("process", "--import_path", tmp_path / "card", *USER)
    row = making.description(tmp_path / "card" / "1.jpg")
    assert (row["MAPLatitude"], row["MAPLongitude"]) == pytest.approx(place, abs=1e-7)


WRONG = {  # of a table: its lines, the options for it, and what is said of it
    "a word": ("1.jpg,somewhere,12", PLACE, "does not parse: 'somewhere' is no coordinate"),
    "two points": ("1.jpg,57.7.1,12", PLACE, "does not parse: '57.7.1' is no coordinate"),
    "no position": ("1.jpg,0,0.0", PLACE, "longitude are not a position: 0, 0.0"),
    "headings": ("name,lat,lon\n1.jpg,5,6", PLACE, "line of headings? Then add --header"),
    "seconds": ("1.jpg,2024-05-06 07:08:09", (*TIME, "%Y-%m-%d %H:%M"), "give --time_format"),
}


@cases("text, columns, wanted", list(WRONG.values()), ids=list(WRONG))
def test_what_is_wrong_with_a_table_is_shown_in_our_words(
    read: Reading, text: str, columns: Any, wanted: str
):
    lines = read(text, *columns)
    assert wanted in lines and "could not convert" not in lines


@cases(
    "wrong, wanted",
    [((*TIME, "%Q"), "--time_format is none: %Q"), (("--delimiter", ",,"), "--delimiter is none")],
    ids=["time format", "delimiter"],
)
def test_an_option_for_a_table_is_refused_before_anything(
    tmp_path: Path, read: Reading, wrong: Any, wanted: str
):
    line = read("1.jpg,2024,12", *PLACE, *wrong, code=2)
    assert wanted in line and "table.csv" not in line
    assert not (tmp_path / "card" / ".mapillary").exists()


# ---- pipes, and another vendor folder ------------------------------------------------------------


@needs_fifo
def test_a_pipe_in_place_of_a_folder_of_the_state_is_not_waited_for(card: Path):
    (card / ".mapillary").mkdir()
    os.mkfifo(str(card / ".mapillary" / "process_images"))
    ran = real(["process", "--import_path", card, *USER], timeout=20)
    assert ran.code == 0 and "3 processed" in ran.stdout, ran


@needs_fifo
@needs_ffmpeg
def test_a_pipe_in_place_of_a_file_of_the_state_is_not_waited_for(tmp_path: Path):
    (tmp_path / "frames" / ".mapillary").mkdir(parents=True)
    os.mkfifo(str(tmp_path / "frames" / ".mapillary" / "sampled.jsonl"))
    video = making_videos.clip(tmp_path / "v.mp4", seconds=1)
    words = ["sample_video", "--import_path", tmp_path / "frames", "--video_path", video]
    ran = real(words, timeout=20)
    assert "Traceback" not in ran.stderr and "no regular file" in ran.stdout + ran.stderr, ran


def test_a_vendor_folder_of_another_version_is_said(card: Path, tmp_path: Path):
    program, vendor = tmp_path / "copy" / "mapillary_tools.py", tmp_path / "copy" / "vendor"
    shutil.copytree(str(ROOT / "vendor"), str(vendor))
    shutil.copy(str(ROOT / "mapillary_tools.py"), str(program))
    begin = vendor / "piexif" / "__init__.py"
    text = begin.read_text(encoding="utf-8").replace(", is_bound", "")
    begin.write_text(text.replace('    "is_bound",\n', ""), encoding="utf-8")
    before = images_in(card)
    ran = real(["process", "--import_path", card, *USER], program=program)
    (line,) = ran.stderr.splitlines()
    assert ran.code == 7 and f"{vendor}: is of another version" in line, ran
    assert images_in(card) == before
