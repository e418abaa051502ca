"""Every command of the README is run as it stands there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import making
import mapillary_tools as mt
import pytest
import service

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAIN_JOB = (
    "python3 mapillary_tools.py process_and_upload --import_path tests/data/drive --user_name demo "
    "--keep_original --stand_in received"
)
TESTS = "python3 -m venv .venv && .venv/bin/python -m pip install tox && .venv/bin/python -m tox"
TOOL_ROWS = re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)` \|$", README, re.MULTILINE)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A copy of what a user has, in a folder with a blank and an umlaut in its name; PHOTOS is the sample drive."""
    top = tmp_path / "my c\u00e4rd"
    top.mkdir()
    shutil.copy(str(ROOT / "mapillary_tools.py"), str(top))
    shutil.copytree(str(ROOT / "vendor" / "piexif"), str(top / "vendor" / "piexif"))
    drive = ROOT / "tests" / "data" / "drive"
    for place in ("PHOTOS", "tests/data/drive"):
        (top / place).mkdir(parents=True)
        for image in drive.glob("*.jpg"):
            shutil.copy(str(image), str(top / place))
    shutil.copy(str(ROOT / "tests" / "data" / "drive.gpx"), str(top / "tests" / "data"))
    names = sorted(path.name for path in drive.glob("*.jpg"))
    rows = ["name,lat,lon"] + [
        "%s,%.6f,11.97" % (name, 57.7 + number / 1e4) for number, name in enumerate(names)
    ]
    (top / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    monkeypatch.chdir(top)
    return top


def run(command, **environment):
    words = shlex.split(command)
    if words[:2] == ["python3", "mapillary_tools.py"]:
        words = words[2:]
    return subprocess.run(
        [sys.executable, "-I", "-S", "mapillary_tools.py"] + words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, PYTHONIOENCODING="utf-8", **environment),
    )


def test_the_readme_begins_with_the_two_commands_word_for_word():
    commands = re.findall(r"^    (.+)$", README, re.MULTILINE)
    assert commands[:2] == [MAIN_JOB, TESTS]


def test_the_main_job_takes_the_sample_drive_to_the_stand_in(checkout):
    done = run(MAIN_JOB)
    assert done.returncode == 0, done.stderr
    assert len(list((checkout / "received").glob("*.jpg"))) == len(
        list((checkout / "PHOTOS").glob("*.jpg"))
    )


def test_the_main_job_leaves_the_sample_drive_as_it_was(checkout):
    run(MAIN_JOB)
    for image in (checkout / "PHOTOS").glob("*.jpg"):
        assert (checkout / "tests/data/drive" / image.name).read_bytes() == image.read_bytes()


@pytest.mark.parametrize(
    "name, command",
    [
        row
        for row in TOOL_ROWS
        if row[0]
        not in (
            "authenticate",
            "download_images",
            "exif_insert",
            "extract_sequence_data",
            "upload",
            "status",
            "report",
            "export",
        )
        and "VIDEO" not in row[1]
    ],
)
def test_the_example_of_a_tool_ends_well(checkout, name, command):
    done = run(command)
    assert (done.returncode, command.split()[0]) == (0, name), done.stderr


def test_the_examples_of_the_unit_tools_one_after_another_make_images_that_upload_sends(checkout):
    examples = dict(TOOL_ROWS)
    for name in (
        "extract_user_data",
        "extract_import_meta_data",
        "extract_geotag_data",
        "extract_sequence_data",
        "extract_upload_params",
        "exif_insert",
        "upload",
    ):
        done = run(examples[name])
        assert done.returncode == 0, done.stderr
    assert list((checkout / "received").glob("*.jpg"))


def test_the_example_of_authenticate_stores_the_token(checkout, monkeypatch):
    monkeypatch.setitem(service.USER, "username", "NAME")
    config = checkout / "config"
    with service.Service() as server:
        command = dict(TOOL_ROWS)["authenticate"].replace("TOKEN", service.TOKEN)
        done = run(
            command,
            MAPILLARY_CONFIG_PATH=str(config),
            MAPILLARY_GRAPH_API_ENDPOINT=server.graph_url,
        )
    assert done.returncode == 0, done.stderr
    assert service.TOKEN in config.read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name, command", [row for row in TOOL_ROWS if "VIDEO" in row[1]])
def test_the_example_of_a_video_tool_ends_well(checkout, name, command):
    start = 1714979289
    subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=64x48:rate=10:duration=5",
            "-metadata",
            "creation_time=2024-05-06T07:08:09Z",
            "VIDEO.mp4",
        ],
        check=True,
    )
    making.gpx(
        [(start + second, 57.7 + second / 1e4, 11.97) for second in range(-5, 15)],
        checkout / "track.gpx",
    )
    done = run(command.replace("VIDEO", "VIDEO.mp4").replace("TRACK", "track.gpx"))
    assert (done.returncode, command.split()[0]) == (0, name), done.stderr
    assert len(list((checkout / "FRAMES").glob("*.jpg"))) == 3


@pytest.mark.parametrize("name", ["status", "report", "export"])
def test_the_example_that_looks_at_a_processed_folder_ends_well(checkout, name):
    run("process --import_path PHOTOS --user_name NAME")
    done = run(dict(TOOL_ROWS)[name])
    assert done.returncode == 0, done.stderr


def test_the_example_of_download_images_gets_the_images(checkout):
    photos = [service.Photo("1234", 57.705, 11.97, 1714979289000, {"1024": making.jpeg()})]
    with service.Service(photos=photos) as server:
        done = run(
            dict(TOOL_ROWS)["download_images"],
            MAPILLARY_GRAPH_API_ENDPOINT=server.graph_url,
            MAPILLARY_ACCESS_TOKEN=service.TOKEN,
        )
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (checkout / "downloaded").glob("*.jpg")] == ["1234.jpg"]


def test_every_tool_has_an_example():
    assert sorted(name for name, _ in TOOL_ROWS) == sorted(mt.TOOLS)


def test_the_exit_codes_of_the_readme_are_those_of_the_program():
    listed = {
        int(code)
        for code in re.findall(
            r"(?:^|; |\n|, )(\d+)(?=[ ,])", README.split("## Exit codes")[1].split("##")[0]
        )
    }
    kinds = [mt.ToolError] + [
        kind
        for kind in vars(mt).values()
        if isinstance(kind, type) and issubclass(kind, mt.ToolError)
    ]
    assert {kind.exit_code for kind in kinds} | {0, 1, 129, 130, 143} == listed


def test_the_embedding_example_runs(checkout, monkeypatch):
    code = "\n".join(
        line[4:]
        for line in re.split(r"^## ", README.split("## Embedding")[1], 1, re.M)[0].splitlines()
        if line.startswith("    ")
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert done.stdout == "16 16 []\n" and done.stderr == ""


def test_no_line_of_the_readme_names_an_option_that_does_not_exist():
    _, options = mt.build_parser(True)
    known = set(options) | {"--advanced", "--version", "--target"}
    assert set(re.findall(r"(--\w+)", README)) <= known


def test_every_environment_of_tox_that_the_readme_names_is_there():
    import configparser

    tox = configparser.RawConfigParser()
    tox.read(str(ROOT / "tox.ini"), encoding="utf-8")
    named = set(re.findall(r"tox -e ([a-z]+)", README))
    assert named >= {"fast", "lint", "format"}
    assert [name for name in named if not tox.has_section("testenv:" + name)] == []
