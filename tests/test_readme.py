"""Every command of the README is run as it stands there."""

import ast
import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import making
import mapillary_tools as mt
import programs
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


def make_video(folder):
    """A video of five seconds and its track, of another name."""
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
            str(folder / "VIDEO.mp4"),
        ],
        check=True,
    )
    points = [(start + second, 57.7 + second / 1e4, 11.97) for second in range(-5, 15)]
    return making.gpx(points, folder / "track.gpx")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_the_example_of_whole_videos_sends_one(checkout):
    make_video(checkout / "PHOTOS").rename(checkout / "PHOTOS" / "VIDEO.gpx")
    (command,) = re.findall(
        r"^    python3 mapillary_tools.py (.*--videos .*)$", README, re.MULTILINE
    )
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert len(list((checkout / "received").glob("*.mp4"))) == 1


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name, command", [row for row in TOOL_ROWS if "VIDEO" in row[1]])
def test_the_example_of_a_video_tool_ends_well(checkout, name, command):
    make_video(checkout)
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


def program(number, *folders):
    """A program of the README, run beside the tool."""
    return subprocess.run(
        [sys.executable, "-c", programs.programs()[number]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=300,
    )


def test_there_are_three_programs_in_the_readme():
    assert len(programs.programs()) == 3


def test_the_embedding_example_runs(checkout):
    done = program(1)
    assert done.stdout == "16 16 []\n" and done.stderr == ""


def test_the_example_with_progress_tells_of_every_image(checkout):
    done = program(2)
    lines = done.stdout.splitlines()
    assert "writing 16 of 16, 0 bytes" in lines and lines[-1] == "0" and done.stderr == ""
    assert sum(line.startswith("IMG_") for line in lines) == 16


CELLS = [
    row.split(" | ")[-1].strip("| `")
    for row in README.split("## Coming from another tool")[1].split("\n\n")[1].splitlines()[2:]
]


@pytest.mark.parametrize("command", CELLS)
def test_what_other_tools_users_are_told_to_type_runs(checkout, command):
    if not command.startswith("process"):
        run("process --import_path PHOTOS --user_name NAME")
    done = run(command)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def folders(checkout, monkeypatch):
    """Forty folders of photos, and the list of them."""
    names = []
    for number in range(40):
        folder = checkout / f"drive {number:02d}"
        making.drive(folder, 2, lat=10.0 + number, start=f"2024:05:06 07:{number:02d}:09")
        names.append(str(folder))
    (checkout / "folders.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (checkout / "bin").mkdir()
    (checkout / "bin" / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(checkout / "bin") + os.pathsep + os.environ["PATH"])
    return names


def sums(texts):
    rows = [json.loads(text) for text in texts if text.startswith("{")]
    return len(rows), sum(row["found"] for row in rows), sum(row["done"] for row in rows)


def block(start):
    """The indented line of the README that begins like this."""
    return next(line[4:] for line in README.splitlines() if line.startswith("    " + start))


def test_a_list_of_folders_is_one_run(folders):
    done = run(block("python3 mapillary_tools.py process --import_path @folders.txt"))
    assert sums([done.stdout]) == (1, 80, 80)


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_gnu_parallel_over_forty_folders(folders, checkout):
    command = block("parallel ")
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, timeout=300)
    assert done.returncode == 0
    assert sums(done.stdout.decode().splitlines()) == (40, 80, 80)
    total = json.loads(run("status --import_path . --json").stdout)
    assert total["skipped"]["waiting"] == 80 and len(total["folders"]) >= 40


def test_a_slurm_array_over_forty_folders(folders, checkout):
    lines = (
        README.split("job.sh`, `job.sh` is:")[-1] if "job.sh`, `job.sh` is:" in README else README
    )
    script = re.search(r"    #!/bin/sh\n(?:    .*\n)+", lines).group()
    (checkout / "job.sh").write_text(re.sub("(?m)^    ", "", script), encoding="utf-8")
    found = []
    for number in (1, 20, 40, 40):
        done = subprocess.run(
            ["sh", "job.sh"],
            env=dict(os.environ, SLURM_ARRAY_TASK_ID=str(number)),
            stdout=subprocess.PIPE,
        )
        found.append(json.loads(done.stdout.decode())["done"])
    assert found == [2, 2, 2, 0]


def test_dask_over_forty_folders(folders):
    pytest.importorskip("distributed")
    (Path.cwd() / "dask_job.py").write_text(programs.programs()[0], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "dask_job.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=300,
    )
    assert done.stdout.decode().splitlines()[-1] == "[80, 80, 0]", done.stderr[-2000:]


def test_two_workers_that_get_one_folder_do_it_once(folders):
    words = [sys.executable, "-I", "-S", "mapillary_tools.py", "process"]
    words += ["--import_path", folders[0], "--user_name", "NAME", "--json", "--wait", "60"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(2)]
    rows = [json.loads(one.communicate()[0].decode()) for one in both]
    assert sorted(row["done"] for row in rows) == [0, 2] and {one.returncode for one in both} == {0}


def test_no_line_of_the_readme_names_an_option_that_does_not_exist():
    theirs = {"--interpolation_offset_time", "--desc_path", "--retries", "--requeue", "--array"}
    known = (
        set(mt.all_options()) | theirs | {"--advanced", "--version", "--target", "--json_schema"}
    )
    assert set(re.findall(r"(--\w+)", README)) <= known


def test_every_environment_of_tox_that_the_readme_names_is_there():
    import configparser

    tox = configparser.RawConfigParser()
    tox.read(str(ROOT / "tox.ini"), encoding="utf-8")
    named = set(re.findall(r"tox -e ([a-z]+)", README))
    assert named >= {"fast", "lint", "format"}
    assert [name for name in named if not tox.has_section("testenv:" + name)] == []


def test_the_readme_lists_every_reason_for_which_something_is_skipped():
    told = README.split("## For programs")[1].split("\n## ")[0]
    codes = {
        value
        for name, value in vars(mt).items()
        if name.startswith("SKIP_") and isinstance(value, str)
    }
    assert sorted(code for code in codes if f"`{code}`" not in told) == []


def texts_of(source: str) -> str:
    """All that a program may say: its strings, one a line, those with values in them in one."""
    found = [os.strerror(errno.ENOSPC)]
    for node in ast.walk(ast.parse(source)):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        found.append("".join(str(getattr(part, "value", "...")) for part in parts))
    return "\n".join(found)


def test_every_symptom_of_the_readme_is_what_the_program_says():
    table = README.split("## When something is odd")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    quoted = [
        piece
        for row in rows
        for text in re.findall('"([^"]+)"', row)
        for piece in text.split(" ... ")
    ]
    said = texts_of((ROOT / "mapillary_tools.py").read_text(encoding="utf-8"))
    assert len(quoted) > 25
    assert [piece for piece in quoted if piece not in said] == []
