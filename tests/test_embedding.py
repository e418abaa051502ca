"""The module as an ops script uses it: imported by path, tools called with option groups, errors as exceptions."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import making
import mapillary_tools as mt
from conftest import ROOT, images_in, in_process, tree

pytestmark = in_process


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: Any) -> Any:
    """The module, loaded by path under a name of the script's own, from another folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    spec = importlib.util.spec_from_file_location("street_tools", str(ROOT / "mapillary_tools.py"))
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "street_tools", module)
    spec.loader.exec_module(module)
    return module


def test_process_returns_a_report(tools, tmp_path):
    making.drive(tmp_path / "p", count=3)
    report = tools.process(
        tools.Input(import_path=str(tmp_path / "p")), tools.User(user_name="demo")
    )
    assert (report.found, report.done, report.exit_code, report.failed) == (3, 3, 0, [])
    assert making.description(tmp_path / "p" / "0001.jpg")["MAPSettingsUsername"] == "demo"


def test_nothing_is_printed_or_logged_unasked(tools, tmp_path, capfd):
    making.drive(tmp_path / "p", count=3, seconds=0)
    making.photo(tmp_path / "p" / "bad.jpg", exif=None)
    tools.process(tools.Input(str(tmp_path / "p")), tools.User("demo"))
    assert capfd.readouterr() == ("", "")


def test_narration_goes_to_the_logger_of_the_host(tools, tmp_path, caplog):
    making.drive(tmp_path / "p", count=1)
    with caplog.at_level(logging.INFO, "mapillary_tools"):
        tools.process(tools.Input(str(tmp_path / "p")), tools.User("demo"))
    assert "capture times of 1 image from" in caplog.text


def test_main_leaves_logging_as_it_was(tools, tmp_path, capsys):
    logger = logging.getLogger("mapillary_tools")
    logger.setLevel(logging.ERROR)
    try:
        before = (logger.level, list(logger.handlers), list(logging.root.handlers))
        making.drive(tmp_path / "p", count=1)
        assert (
            tools.main(["process", "--import_path", str(tmp_path / "p"), "--user_name", "demo"])
            == 0
        )
        assert (logger.level, list(logger.handlers), list(logging.root.handlers)) == before
    finally:
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    "argv, code",
    [([], 2), (["-h"], 0), (["--version"], 0), (["process", "--bogus"], 2), (["nothing"], 2)],
)
def test_main_returns_and_never_exits(argv, code, tools, capsys):
    assert tools.main(argv) == code


def test_errors_are_exceptions_with_a_problem(tools, tmp_path):
    with pytest.raises(tools.NotFound) as caught:
        tools.process(tools.Input(str(tmp_path / "none")), tools.User("demo"))
    problem = caught.value.problem
    assert (problem.code, problem.file) == (
        "no_folder",
        str(tmp_path / "none"),
    ) and caught.value.exit_code == 3


def test_wrong_options_are_exceptions_before_anything_happens(tools):
    with pytest.raises(tools.UsageError):
        tools.Geotagging(geotag_source="gpx")


def test_failed_images_are_in_the_report_not_raised(tools, tmp_path):
    making.photo(tmp_path / "p" / "a.jpg", exif=None)
    report = tools.process(tools.Input(str(tmp_path / "p")), tools.User("demo"))
    assert (
        report.exit_code == 1
        and report.failed[0].code == "no_time"
        and json.dumps(report.as_json())
    )


def test_import_path_may_be_a_path_object(tools, tmp_path):
    making.drive(tmp_path / "p", count=1)
    assert tools.process(tools.Input(tmp_path / "p"), tools.User("demo")).done == 1


def test_progress_is_told_to_the_host(tools, tmp_path):
    making.drive(tmp_path / "p", count=5)
    seen = []
    tools.process(
        tools.Input(str(tmp_path / "p")),
        tools.User("demo"),
        ui=tools.Ui(progress=lambda what, done, total, size: seen.append((what, done, total))),
    )
    assert ("reading", 5, 5) in seen and ("writing", 5, 5) in seen


def test_two_threads_on_two_folders(tools, tmp_path):
    reports = {}
    for name in "abcd":
        making.drive(tmp_path / name, count=5)

    def work(name: str) -> None:
        reports[name] = tools.process(tools.Input(str(tmp_path / name)), tools.User("demo"))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: report.done for name, report in reports.items()} == dict.fromkeys("abcd", 5)


def test_two_threads_on_one_folder_one_is_refused_or_waits_its_turn(tools, tmp_path):
    making.drive(tmp_path / "p", count=20)
    endings = []

    def work() -> None:
        try:
            endings.append(
                tools.process(tools.Input(str(tmp_path / "p")), tools.User("demo")).exit_code
            )
        except tools.BadJournal as error:
            endings.append(error.problem.code)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 in endings and set(endings) <= {0, "in_use"}
    assert all(making.description(path) for path in (tmp_path / "p").glob("*.jpg"))


def test_tool_runs_in_a_thread_that_is_not_the_main_one(tools, tmp_path, capsys):
    making.drive(tmp_path / "p", count=2)
    codes = []
    thread = threading.Thread(
        target=lambda: codes.append(
            tools.main(["process", "--import_path", str(tmp_path / "p"), "--user_name", "demo"])
        )
    )
    thread.start()
    thread.join()
    assert codes == [0]


def test_hosts_own_piexif_is_neither_used_nor_shadowed(tools, tmp_path, monkeypatch):
    class Trap:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError("the host's piexif was touched")

    trap = Trap()
    monkeypatch.setitem(sys.modules, "piexif", trap)
    making.drive(tmp_path / "p", count=1)
    assert tools.process(tools.Input(str(tmp_path / "p")), tools.User("demo")).done == 1
    assert sys.modules["piexif"] is trap


def test_working_folder_and_environment_stay(tools, tmp_path):
    making.drive(tmp_path / "p", count=1)
    before = (os.getcwd(), dict(os.environ), list(sys.path), tree(tmp_path / "work"))
    tools.process(tools.Input(str(tmp_path / "p")), tools.User("demo"))
    assert (os.getcwd(), dict(os.environ), list(sys.path), tree(tmp_path / "work")) == before


def test_steps_one_by_one_on_plain_values(tools):
    images = [
        tools.Image.at("%d.jpg" % number, tools.Fix(number, 57.7 + number * 1e-4, 11.97))
        for number in range(5)
    ]
    (piece,) = tools.split(images, 600, 60)
    assert tools.mark_duplicates(piece, 0.1, 5) == images
    assert tools.distance(images[0].fix, images[1].fix) == pytest.approx(11.1, abs=0.1)


@pytest.mark.slow
def test_zip_archive_with_vendor_can_be_imported(tmp_path):
    import zipfile

    with zipfile.ZipFile(str(tmp_path / "tools.zip"), "w") as archive:
        archive.write(str(ROOT / "mapillary_tools.py"), "mapillary_tools.py")
        for path in sorted((ROOT / "vendor" / "piexif").glob("*.py")):
            archive.write(str(path), "vendor/piexif/" + path.name)
    making.drive(tmp_path / "p", count=1)
    code = (
        "import sys; sys.path.insert(0, %r); import mapillary_tools as mt; "
        "print(mt.process(mt.Input(%r), mt.User('demo')).done)"
        % (str(tmp_path / "tools.zip"), str(tmp_path / "p"))
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert (done.stdout.strip(), done.stderr) == (b"1", b"")


def test_ops_script_in_another_folder(tmp_path):
    script = tmp_path / "ops" / "nightly.py"
    script.parent.mkdir()
    making.drive(tmp_path / "cards" / "one", count=2)
    making.photo(tmp_path / "cards" / "two" / "bad.jpg", exif=None)
    (tmp_path / "cards" / "three").mkdir()
    script.write_text(
        """
import importlib.util, json, pathlib, sys
spec = importlib.util.spec_from_file_location("mapillary_tools", sys.argv[1])
mt = importlib.util.module_from_spec(spec)
sys.modules["mapillary_tools"] = mt
spec.loader.exec_module(mt)
for card in sorted(pathlib.Path(sys.argv[2]).iterdir()):
    try:
        report = mt.process(mt.Input(str(card)), mt.User("demo"), dry=mt.Dry(True))
        print(card.name, report.done, report.exit_code)
    except mt.ToolError as error:
        print(card.name, error.problem.code, error.exit_code)
""",
        "utf-8",
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            str(script),
            str(ROOT / "mapillary_tools.py"),
            str(tmp_path / "cards"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=str(tmp_path),
    )
    assert done.stderr == b"" and done.stdout.decode().splitlines()[:3] == [
        "one 2 0",
        "three no_images 3",
        "two 0 1",
    ]


class Enough(Exception):
    """What a host raises to end a run."""


def test_a_callback_that_raises_ends_the_run_in_order(tools, tmp_path):
    making.drive(tmp_path / "p", 300)
    before = images_in(tmp_path / "p")

    def progress(what, done, total, size):
        if what == "writing" and done > 100:
            raise Enough

    asked = (tools.Input(import_path=str(tmp_path / "p")), tools.User(user_name="demo"))
    with pytest.raises(Enough):
        tools.process(*asked, tools.Workers(workers=1), ui=tools.Ui(progress))
    after = images_in(tmp_path / "p")
    assert set(after) == set(before) and all(one.endswith(b"\xff\xd9") for one in after.values())
    report = tools.process(*asked)
    assert report.done + len(report.skipped.get("already_processed", ())) == 300
    assert all(making.description(path) for path in (tmp_path / "p").glob("*.jpg"))


@pytest.mark.parametrize("also", ["b", Path("b"), ("b",), ["b"]])
def test_a_further_folder_may_be_given_alone(also):
    """Of a text each letter was a folder: "/" was one of them."""
    assert mt.Input(import_path="a", also=also).folders == ["a", "b"]


@pytest.mark.parametrize("also", [None, 1, ("b", 2), {"b": 1}, ("",)])
def test_further_folders_of_another_type_are_refused(also):
    with pytest.raises(mt.UsageError, match="also must be"):
        mt.Input(import_path="a", also=also)


@pytest.mark.parametrize(
    "group, name",
    [
        (mt.Geotagging, "offset_time"),
        (mt.Geotagging, "geotag_source"),
        (mt.Angle, "offset_angle"),
        (mt.SequenceOptions, "cutoff_distance"),
        (mt.Waiting, "wait"),
        (mt.Table, "delimiter"),
        (mt.CsvColumns, "time_format"),
        (mt.Workers, "workers"),
    ],
)
def test_none_is_refused_where_an_option_has_a_value(group, name):
    """It was a TypeError from deep inside."""
    needed = {"csv_path": "t.csv"} if group is mt.CsvColumns else {}
    with pytest.raises(mt.UsageError, match=f"--{name} must be"):
        group(**needed, **{name: None})


@pytest.mark.parametrize("tool", ["process", "restore"])
def test_an_error_of_the_hosts_progress_is_its_own(tool, tmp_path):
    """That of a socket was said to be one of the disk."""
    making.drive(tmp_path, 3)
    mt.process(mt.Input(import_path=str(tmp_path)), mt.User(user_name="demo"))

    def progress(what, done, total, size):
        raise BrokenPipeError("the window is gone")

    groups = [mt.Input(import_path=str(tmp_path))]
    if tool == "process":
        groups += [mt.User(user_name="demo"), mt.Angle(offset_angle=90.0)]
    with pytest.raises(BrokenPipeError, match="the window is gone"):
        getattr(mt, tool)(*groups, ui=mt.Ui(progress))
