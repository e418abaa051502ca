"""A few dozen kills of those of kill.py, which has thousands: of each scenario some, and those that found something.

A red test names its kills; `python tests/kill.py --only SCENARIO --replay KILL` does them again.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import kill
import kill_child
import kill_fields
import pytest
from conftest import EXECUTABLE, SLACK, TESTS
from kill_bench import Bench
from kill_child import ORPHAN_S, Kill, Tool
from kill_fields import SCENARIOS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(EXECUTABLE), reason="reaches into the module; EXECUTABLE is another"),
    pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc here"),
]
SEED = 20240506
WORKERS = ["process_workers", "process_workers_spawned"]


@pytest.fixture(scope="module")
def tool(tmp_path_factory: Any) -> Iterator[Tool]:
    with contextlib.closing(Tool(tmp_path_factory.mktemp("rigged") / "tool")) as made:
        yield made


@pytest.fixture
def bench(tool: Tool, tmp_path: Path) -> Iterator[Any]:
    """A function that makes a scenario ready, with the tool broken by changes (old, new) if there are any."""
    with contextlib.ExitStack() as stack:

        def make(name: str, changes: Any = (), orphan_s: float = SLACK * ORPHAN_S) -> Bench:
            needed, own = SCENARIOS[name].needs, tool
            if needed and not shutil.which(needed):
                pytest.skip(needed + " is not on this computer")
            if changes:
                own = stack.enter_context(contextlib.closing(Tool(tmp_path / "broken", changes)))
            return Bench(SCENARIOS[name], tmp_path / "fields", own, orphan_s)

        yield make


def told(wrong: List[Any], *kills: Any) -> str:
    """What a red test shows."""
    return "\n".join(
        ["seed %d, killed at %s" % (SEED, ", ".join(map(str, kills))), *map(str, wrong)]
    )


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_killed_and_killed_again_the_next_run_ends_as_an_undisturbed_one(name, bench):
    """At two steps that the seed chooses, one after the other."""
    ready, dice = bench(name), random.Random("%d %s" % (SEED, name))
    steps = [step for step in ready.steps() if "flush" not in step.step and "dir/" not in step.step]
    kills = dice.sample(steps, 2)
    count, wrong = ready.case(kills)
    assert not wrong, told(wrong, *kills)
    assert count or SCENARIOS[name].few, told(wrong, *kills)


def test_an_undisturbed_run_is_the_same_each_time(bench):
    assert bench("process").case([]) == (0, [])


# ---- what fell: each was found by kill.py


def test_photos_keep_their_times(bench):
    """Symptom: a photo that was described has the time of the run."""
    assert bench("process_gpx").redated == []


@pytest.mark.parametrize(
    "name, step",
    [
        ("process", "main/create part/7/after/self"),  # a log
        ("interpolate_table", "main/create part/1/after/self"),
        ("report", "main/write part/1/middle/self"),
        ("write_gpx", "main/write part/2/after/self"),
        ("download_images", "main/create part/2/after/self"),
        ("authenticate", "main/flush part/1/after/self"),  # it has the token
        ("upload_stand_in", "main/create part/2/after/self"),
        ("upload_videos_stand_in", "main/create part/2/after/self"),
    ],
)
def test_no_temporary_file_is_left_behind_the_next_run(name, step, bench):
    _, wrong = bench(name).case([Kill(step)])
    assert [one for one in wrong if one.kind == "left"] == []


def test_stale_copies_do_not_stay_when_the_run_that_was_to_make_them_anew_is_killed(bench):
    """Symptom: "already processed", and five of six copies with the description of the run before."""
    kill_at = Kill("main/unlink/2/before/self")
    count, wrong = bench("process_keep_again").case([kill_at])
    assert (count, wrong) == (1, []), told(wrong, kill_at)


@pytest.mark.parametrize("name", ["process_csv", "interpolate_times", "interpolate_places"])
def test_what_was_written_is_told_by_the_next_run_where_the_killed_one_did_not_come_to_it(
    name, bench
):
    """Symptom: the journal never says `written`, so that the photos are read anew on every run."""
    kill_at = Kill("main/replace/2/after/self")
    count, wrong = bench(name).case([kill_at])
    assert (count, wrong) == (1, []), told(wrong, kill_at)


@pytest.mark.parametrize(
    "name, kills",
    [
        ("upload_videos", ["main/hash/4/before/self", "main/hash/9/after/self"]),
        ("upload_videos", ["main/send/7/before/self", "main/send/6/middle/self"]),
        ("process_and_upload_videos", ["main/hash/12/after/self", "main/send/5/middle/self"]),
    ],
)
def test_a_video_that_is_killed_while_it_is_hashed_or_sent_arrives_whole(name, kills, bench):
    steps = [Kill(step) for step in kills]
    assert bench(name).case(steps) == (2, []), told([], *steps)


@pytest.mark.parametrize("name", ["upload_copies", "upload_videos_copies"])
@pytest.mark.parametrize(
    "step",
    [
        "main/send/4/middle/self",  # some are begun, which the next run goes on with
        "main/create journal/2/before/self",  # the others are finished, and no copy is settled
    ],
)
def test_copies_in_another_folder_are_in_no_second_sequence_after_a_kill(name, step, bench):
    """Symptom: "images in two sequences"; or "1 video left", though all are there and finished."""
    kill_at = Kill(step)
    count, wrong = bench(name).case([kill_at])
    assert (count, wrong) == (1, []), told(wrong, kill_at)


def test_a_video_is_hashed_once_however_often_its_upload_is_killed(bench, tmp_path):
    ready = bench("upload_videos")
    trace, state = tmp_path / "trace", "photos/.mapillary/journal.jsonl"
    with ready.field() as field, ready.serving(field) as (_, environment):
        words = kill_child.words_of(ready.scenario.command, field)
        killed = kill_child.Child(ready.tool, words, environment, Kill("main/send/8/middle/self"))
        assert killed.run().killed
        rows = map(json.loads, (field / state).read_text("ascii").splitlines())
        lines = [row["hashed"] for row in rows if "hashed" in row]
        known = {line["video"] for line in lines if not line["md5"].startswith(kill_fields.STALE)}
        kill_child.Child(ready.tool, words, dict(environment, KILL_TRACE=str(trace)), None).run()
    steps = [line.split("\t")[2:] for line in trace.read_text("utf-8").splitlines()]
    again = {os.path.basename(path) for step, path in steps if step == "hash"}
    assert known and not known & again
    assert known | again == {"v0.mp4", "v1.mp4", "v2.mp4"}


@pytest.mark.parametrize("name", WORKERS)
@pytest.mark.parametrize("step", ["read", "write"])
def test_a_worker_that_the_system_ended_costs_one_clear_line(step, name, bench):
    """Symptom: a traceback that ends in BrokenProcessPool, as when memory runs out."""
    ready = bench(name)
    kill_at = Kill("worker/replace/1/before/self")
    if step == "read":
        kill_at = Kill("worker/begin/1/before/self")
    count, wrong = ready.case([kill_at])
    assert (count, wrong) == (1, []), told(wrong, kill_at)


def test_a_program_that_was_started_ends_with_the_run_that_started_it(tool, tmp_path):
    """Symptom: ffmpeg decodes on for as long as the video is, into a folder that the next run clears."""
    for name in ("ffmpeg", "ffprobe"):
        if not shutil.which(name):
            pytest.skip(name + " is not on this computer")
    kill_fields.video(tmp_path / "field", None)
    slow = tmp_path / "ffmpeg"
    slow.write_text("#!/bin/sh\nexec sleep 60\n", "utf-8")
    slow.chmod(0o755)
    words = kill_child.words_of(kill_fields.SAMPLE, tmp_path / "field")
    words += ["--ffmpeg_path", str(slow)]
    started = kill_child.Child(tool, words, kill_child.clean(), Kill("main/program/1/after/self"))
    assert started.run().killed
    seconds = kill_child.outlived(started.mark, started.ended, SLACK * ORPHAN_S)
    assert seconds < SLACK * ORPHAN_S


# ---- the order of a run, which only a power cut would show


def order(trace: str, photos: str) -> List[str]:
    """What is out of order in the steps of a run: told, written, flushed, renamed, folder flushed, told."""
    state: Dict[str, str] = {}  # path of a temporary file -> the last that happened to it
    wrong, told_first, folder, journal = [], False, "", ""
    for line in trace.splitlines():
        _, _, step, path = line.split("\t")
        if step.endswith(" part"):
            state[path] = step
        elif step == "replace" and not path.endswith("journal.jsonl"):
            source, _, target = path.partition(" -> ")
            if state.get(source) != "flush part":
                wrong.append("%s is renamed, and not flushed" % target)
            if not told_first:
                wrong.append("%s is replaced before the journal knows it" % target)
            folder = "open"
        elif step == "flush journal":
            told_first, journal = True, "flushed"
        elif step == "write journal":
            if folder == "open":
                wrong.append("the journal is told before the folder is flushed")
            journal = "open"
        elif step == "flush folder" and path == photos:
            folder = "flushed"
    if journal == "open":
        wrong.append("the last lines of the journal are not flushed")
    return wrong


ORDERED = ["process_gpx", "process_again", "process_csv", "interpolate_times", *WORKERS]


@pytest.mark.parametrize("name", ORDERED)
def test_told_written_flushed_renamed_folder_flushed_told(name, bench):
    ready = bench(name)
    text = ready.trace.read_text("utf-8")
    assert order(text, photos_of(text)) == []


def photos_of(trace: str) -> str:
    """The folder of the photos in a trace."""
    paths = [line.split(" -> ")[1] for line in trace.splitlines() if ".jpg" in line]
    return os.path.dirname(paths[0])


# ---- the harness sees what is wrong

TOLD = "    telling.tell(recorded)\n"
UNWATCHED = ("    end_with_parent()\n    now = os.stat", "    now = os.stat")
DEAF = "                time.sleep(3600)\n            if group"
BROKEN: Dict[
    str, Any
] = {  # changes, scenario, kills of which one must be seen, kind of what is wrong then
    "written in place": (
        [
            (
                "            move_file(self.part, self.target)\n        except",
                '            with open(self.target, "wb", buffering=0) as whole:\n'
                "                write_all(whole, Path(self.part).read_bytes())\n"
                "            os.unlink(self.part)\n        except",
            )
        ],
        "process_gpx",
        ["main/write file/2/middle/self"],
        "lost",
    ),
    "not told before": (
        [(TOLD, "")],
        "process_csv",
        ["main/replace/2/after/self"],
        "journal",
    ),
    "temporary files stay": (
        [
            ("                self._clear_parts()\n", ""),
            (
                "            self._clear_parts()  # of a worker that ended after its run\n",
                "            pass\n",
            ),
        ],
        "process_gpx",
        ["main/write part/2/middle/self"],
        "left",
    ),
    "workers go on": (
        [
            (
                "    for pipe in others:  # held here, nobody would see them end\n        pipe.close()\n",
                "",
            ),
            UNWATCHED,
        ],
        "process_workers",
        ["worker/replace/1/before/parent"],
        "orphan",
    ),
    "spawned workers go on": (
        [
            ("                os._exit(EXIT_INTERRUPTED)\n            if group", DEAF),
            ("nobody listens any more\n            break\n", "so what\n            pass\n"),
            UNWATCHED,
        ],
        "process_workers_spawned",
        ["worker/replace/1/before/parent"],
        "orphan",
    ),
    "a start is not told": (
        [("                journal.append([line], flush=False)\n", "")],
        "upload",
        ["main/send/%d/middle/self" % number for number in range(4, 13)],
        "twice",
    ),
    "an md5 of another track is taken": (
        [('known._replace(md5="") != now', "known.size != now.size")],
        "upload_videos",
        ["main/send/7/middle/self"],
        "twice",
    ),
    "where to go on is not asked": (
        [("_offset(server, entity, headers) if ask_first else 0", "0")],
        "upload_videos",
        ["main/send/%d/middle/self" % number for number in range(6, 13)],
        "twice",
    ),
    "a video is touched": (
        [
            (
                "    now = hashed_of(name, status, clip.track)\n",
                "    now = hashed_of(name, status, clip.track)\n"
                "    open(path, 'r+b').write(b'\\0\\0\\0\\x15')\n",
            )
        ],
        "upload_videos",
        ["main/hash/3/after/self"],
        "lost",
    ),
    "frames are not told": (
        [("            self.journal.append([line._replace(frames=stamps)])\n", "")],
        "sample_video",
        ["main/replace/3/after/self"],
        "lost",
    ),
    "a torn line is kept": (
        [
            (
                "        stream.truncate(self.end)\n        stream.seek(self.end)\n",
                "        stream.seek(0, 2)\n",
            )
        ],
        "process_gpx",
        ["main/write journal/2/middle/self"],
        "journal",
    ),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_tool_that_is_broken_on_purpose_is_seen(what, bench):
    changes, name, steps, kind = BROKEN[what]
    ready = bench(name, changes, 3.0)
    for step in steps:
        _, wrong = ready.case([Kill(step)])
        if kind in {one.kind for one in wrong}:
            return
    pytest.fail("nothing was seen")


@pytest.mark.parametrize(
    "old, new, seen",
    [
        (
            "            if self.flush:\n                flush_file(self.stream.fileno())\n",
            "",
            "not flushed",
        ),
        (
            "                flush_folder(folder)\n                flush_folder(os.path",
            "                flush_folder(os.path",
            "before the folder",
        ),
        (TOLD, "", "before the"),
        (
            "            if flush:\n                flush_file(stream.fileno())\n",
            "",
            "last lines",
        ),
    ],
)
def test_an_order_that_is_broken_on_purpose_is_seen(old, new, seen, bench):
    ready = bench("process_gpx", [(old, new)])
    text = ready.trace.read_text("utf-8")
    assert [one for one in order(text, photos_of(text)) if seen in one]


def test_the_program_says_how_many_kills_and_what_was_lost():
    argv = [sys.executable, str(TESTS / "kill.py"), "--only", "process_keep", "--kills", "1"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    last = done.stdout.decode().splitlines()[-1]
    count = int(last.split()[0])
    assert last == "%d kills, 0 photos lost, 0 sent twice" % count and count >= 1


def test_kills_can_be_replayed(capsys):
    assert kill.main(["--only", "process_keep", "--replay", "main/replace/1/after/self"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 kills, 0 photos lost, 0 sent twice"
