"""--keep_original: no tool that has it touches an original in any way, whatever happens; and when a copy goes."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import making
import pytest
from conftest import ROOT, Ran, in_process, run, tree

import mapillary_tools as tool

FFMPEG = os.environ.get("TEST_FFMPEG") or shutil.which("ffmpeg")
KEEP = "--keep_original"
ON_FOLDER = ("exif_insert", "interpolate", "process", "process_and_upload", "process_csv")


class Card:
    """Photos as people have them: some of one second, some without a place; of many rights, dates and attributes."""

    def __init__(self, base):
        self.base, self.folder, self.table = base, base / "photos", base / "table.csv"
        rows = []
        for number in range(8):
            lat = None if number in (3, 4) else 57.7 + number / 1e4
            time = f"2024:05:06 07:08:{number // 2 * 2:02d}"
            path = self.folder / f"{number}.jpg"
            more = {} if number % 3 else {"description": "my caption", "orientation": 6}
            making.photo(path, lat=lat, lon=None if lat is None else 11.97, time=time, **more)
            rows.append(f"{number}.jpg,2024:05:06 09:00:0{number}.5,1.00{number},2.0")
            if hasattr(os, "setxattr"):
                try:
                    os.setxattr(str(path), "user.note", b"mine %d" % number)
                except OSError:  # a file system without them
                    pass
            path.chmod([0o644, 0o600, 0o444, 0o660][number % 4])
            os.utime(str(path), ns=(10**18, 10**18 + number * 1234567891))
        self.table.write_text("\n".join(rows), encoding="ascii")
        (self.folder / "notes.txt").write_text("mine", "utf-8")
        self.before = self.state()

    def state(self):
        """Everything that can be known of the originals; the time of the last change of a node tells of any touch."""
        found = {}
        for path in sorted(self.folder.iterdir()):
            if path.is_file():
                one = path.stat()
                marks = {}
                if hasattr(os, "listxattr"):
                    names = os.listxattr(str(path))
                    marks = {name: os.getxattr(str(path), name) for name in names}
                node = (one.st_ino, one.st_mode, one.st_uid, one.st_gid, one.st_nlink, one.st_size)
                found[path.name] = (
                    path.read_bytes(),
                    node,
                    one.st_mtime_ns,
                    one.st_ctime_ns,
                    marks,
                )
        return found

    def untouched(self):
        now = self.state()
        assert sorted(now) == sorted(self.before)
        for name, state in now.items():
            assert state == self.before[name], (name, state[1:], self.before[name][1:])

    @property
    def copies(self):
        """Name -> (bytes, node) of the copies."""
        place = self.folder / ".mapillary" / "process_images"
        paths = sorted(place.iterdir()) if place.is_dir() else []
        return {path.name: (path.read_bytes(), path.stat().st_ino) for path in paths}

    def words(self, name, *more):
        """The command line of a tool with --keep_original, upon what it needs."""
        own = {
            "exif_insert": (),
            "process": ("--user_name", "demo"),
            "process_and_upload": ("--user_name", "demo", "--stand_in", self.base / "received"),
            "process_csv": ("--csv_path", self.table, "--filename_column", "1")
            + ("--timestamp_column", "2", "--latitude_column", "3", "--longitude_column", "4"),
            "interpolate": ("--data", "identical_timestamps"),
            "filling": ("--data", "missing_gps"),
        }[name]
        name = "interpolate" if name == "filling" else name
        return [name, "--import_path", self.folder, *own, KEEP, *more]

    def prepare(self, name):
        """What comes before a tool: the five steps, which have no option to write."""
        if name == "exif_insert":
            steps = "user_data import_meta_data geotag_data sequence_data upload_params".split()
            for step in steps:
                user = ("--user_name", "demo") if step in ("user_data", "upload_params") else ()
                ran = run(f"extract_{step}", "--import_path", self.folder, *user)
                assert ran.code in (0, 1), ran
            self.untouched()

    def run(self, name, *more) -> Ran:
        ran = run(self.words(name, *more))
        assert ran.code in (0, 1) and "Traceback" not in ran.stderr, ran
        self.untouched()
        return ran


@pytest.fixture
def card(tmp_path):
    return Card(tmp_path)


def has(name, option):
    return option in run(name, "--advanced", "-h").stdout


@in_process
def test_every_tool_that_has_the_option_is_tried_here():
    having = {name for name in tool.TOOLS if has(name, KEEP)}
    assert having == {*ON_FOLDER, "video_process", "video_process_and_upload"}


@pytest.mark.parametrize("name", [*ON_FOLDER, "filling"])
def test_no_original_is_touched_by_runs_reruns_and_other_options(name, card):
    card.prepare(name)
    card.run(name)
    first = card.copies
    assert first and all(content != card.before[one][0] for one, (content, _) in first.items())
    card.run(name)
    again = card.copies
    if name == "process_csv":  # gives its values again
        again = {one: (copy[0], first[one][1]) for one, copy in again.items()}
    assert again == first  # not even written anew
    tool_name = "interpolate" if name == "filling" else name
    if has(tool_name, "--rerun"):
        card.run(name, "--rerun")
        assert {one: copy[0] for one, copy in card.copies.items()} == {
            one: copy[0] for one, copy in first.items()
        }
    if has(tool_name, "--device_make"):
        card.run(name, "--device_make", "Other", "--offset_time", "3", "--orientation", "180")
        card.run(name, "--skip_EXIF_insert", "--rerun")
        card.run(name, "--skip_subfolders", "--verbose")
        card.run(name, "--flag_duplicates", "--cutoff_time", "1")
    if has(tool_name, "--dry_run"):
        before = tree(card.folder)
        card.run(name, "--dry_run", *(("--rerun",) if has(tool_name, "--rerun") else ()))
        assert tree(card.folder, without="lock") == {
            one: content for one, content in before.items() if "lock" not in one
        }


def test_tools_that_only_look_or_send_touch_neither_originals_nor_copies(card):
    card.run("process")
    before = card.copies
    for words in (
        ("status",),
        ("status", "--list", "failed"),
        ("report", "--output_path", card.base / "page.html"),
        ("upload", "--stand_in", card.base / "received"),
        ("upload", "--stand_in", card.base / "received", "--retry_failed", "yes"),
    ):
        ran = run(words[0], "--import_path", card.folder, *words[1:])
        assert ran.code in (0, 1), ran
        card.untouched()
        assert card.copies == before


def test_a_table_is_kept_as_it_is(card):
    table = card.base / "times.csv"
    table.write_bytes(b"2024-05-06T07:08:09Z,a\r\n2024-05-06T07:08:09Z,b\r\n")
    table.chmod(0o640)
    before, node = table.read_bytes(), table.stat()
    words = ("--data", "identical_timestamps", "--file_in_path", table, KEEP)
    for _ in range(2):
        assert run("interpolate", *words).code == 0
        now = table.stat()
        assert (table.read_bytes(), now.st_ctime_ns, now.st_ino) == (
            before,
            node.st_ctime_ns,
            node.st_ino,
        )


@pytest.mark.slow
@pytest.mark.skipif(not FFMPEG, reason="ffmpeg is not on this computer")
@pytest.mark.parametrize("name", ["video_process", "video_process_and_upload"])
def test_no_frame_of_a_video_is_touched(name, tmp_path):
    video = tmp_path / "v.mp4"
    source = ["-f", "lavfi", "-i", "testsrc=size=128x64:rate=10:duration=4"]
    when = ["-metadata", "creation_time=2024-05-06T07:08:09Z", "-pix_fmt", "yuv420p"]
    subprocess.run([FFMPEG, "-v", "error", *source, *when, str(video)], check=True, timeout=120)
    track = making.gpx([(1714979285 + n, 57.7 + n / 1e5, 11.97) for n in range(20)], tmp_path / "t")
    card = Card(tmp_path / "other")
    card.folder = tmp_path / "frames"
    words = ["--import_path", card.folder, "--video_path", video, "--video_sample_interval", "1"]
    words += ["--user_name", "demo", KEEP, "--geotag_source", "gpx", "--geotag_source_path", track]
    if name.endswith("upload"):
        words += ["--stand_in", tmp_path / "received"]
    for more in ((), (), ("--rerun",), ("--offset_angle", "90"), ()):
        ran = run(name, *words, *more)
        assert ran.code == 0, ran
        if len(card.before) == 9:
            card.before = card.state()  # as they were sampled
            assert not any(making.description(path) for path in card.folder.glob("*.jpg"))
        card.untouched()
        assert sorted(card.copies) == sorted(one for one in card.before if one.endswith("jpg"))


# ---- Kills


DYING = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("mapillary_tools", sys.argv[1])
tool = sys.modules["mapillary_tools"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
left = [int(sys.argv[2])]

def dying(plain):
    def call(*args, **more):
        left[0] -= 1
        if left[0] <= 0:
            if os.name == "nt":
                os.kill(os.getpid(), 99)  # TerminateProcess: waits for nothing, as os._exit does there
            os._exit(99)
        return plain(*args, **more)
    return call

for name in ("replace", "unlink", "fsync", "makedirs"):
    setattr(os, name, dying(getattr(os, name)))
tool.write_all = dying(tool.write_all)
sys.exit(tool.main(sys.argv[3:]))
"""


@in_process
@pytest.mark.parametrize("name", ["process", "process_csv", "interpolate"])
def test_killed_at_any_call_no_original_is_touched_and_the_next_run_makes_the_same_copies(
    name, tmp_path
):
    good = Card(tmp_path / "good")
    good.run(name)
    wanted = {one: copy[0] for one, copy in good.copies.items()}
    card, count, code = Card(tmp_path / "killed"), 1, 99
    while code == 99:
        words = [sys.executable, "-I", "-c", DYING, ROOT / "mapillary_tools.py", count]
        words += card.words(name, *(("--workers", "1") if name == "process" else ()))
        done = subprocess.run(list(map(str, words)), stderr=subprocess.PIPE, timeout=120)
        code = done.returncode
        assert b"Traceback" not in done.stderr, done.stderr
        card.untouched()
        assert set(card.copies) <= {*wanted} | {
            one for one in card.copies if one.startswith(".map")
        }
        count += 6
    card.run(name)
    assert {one: copy[0] for one, copy in card.copies.items()} == wanted and count > 10


@pytest.mark.parametrize("place", ["", ".mapillary", ".mapillary/process_images"])
def test_what_a_killed_run_left_is_removed_by_the_next(place, card):
    card.run("process")
    (card.folder / place).mkdir(parents=True, exist_ok=True)
    part = card.folder / place / ".mapillary-0123456789abcdef.part"
    part.write_bytes(b"half")
    run(card.words("process", "--rerun"))
    card.untouched()
    assert not part.exists()


class Killed(BaseException):
    pass


@in_process
@pytest.mark.parametrize("seed", range(4))
def test_no_original_is_touched_on_a_random_way_through_the_tools(seed, card, monkeypatch):
    """Every tool in any order and with any options, now and then ended in the middle, or the disk being full."""
    dice, way = random.Random(seed), []
    for _ in range(14):
        name = dice.choice([*ON_FOLDER, "process", "process", "filling"])
        tool_name = "interpolate" if name == "filling" else name
        choices = [("--rerun",), ("--device_make", "M"), ("--offset_time", "2"), ("--dry_run",)]
        choices += [("--flag_duplicates",), ("--cutoff_distance", "5"), ("--skip_EXIF_insert",)]
        more = [word for one in dice.sample(choices, 2) if has(tool_name, one[0]) for word in one]
        trouble = dice.choice(["", "", "killed", "full"])
        way.append((name, more, trouble))
        with monkeypatch.context() as patch:
            if trouble:
                plain, left = tool.write_all, [dice.randrange(1, 12)]

                def failing(stream, chunk):
                    left[0] -= 1
                    if left[0] <= 0:
                        raise (
                            Killed
                            if trouble == "killed"
                            else OSError(28, "No space left on device")
                        )
                    plain(stream, chunk)

                patch.setattr(tool, "write_all", failing)
            try:
                ran = run(card.words(name, *more))
                assert ran.code in (0, 1, 11) and "Traceback" not in ran.stderr, (seed, way, ran)
            except Killed:
                pass
        try:
            card.untouched()
        except AssertionError as error:
            raise AssertionError((seed, way)) from error
    card.run("process", "--rerun")
    assert sorted(card.copies), (seed, way)


# ---- When a copy goes


def processed(folder, *more):
    return tool.process(tool.Input(str(folder)), tool.User("demo"), keep=tool.Keep(True), *more)


@in_process
def test_only_the_copies_of_images_that_are_processed_again_are_made_anew(card):
    """What is said to be processed already keeps its copy, down to its node."""
    making.drive(card.folder / "below", 3)
    report = processed(card.folder)
    before = card.copies
    making.drive(card.folder / "below", 4, lat=10.0)
    report = processed(card.folder)
    kept = {Path(path).name for path in report.skipped.get(tool.SKIP_PROCESSED, ())}
    assert kept and {one: before[one] for one in kept if one in before} == {
        one: copy for one, copy in card.copies.items() if one in kept
    }
    card.untouched()


@in_process
def test_the_copy_of_a_photo_that_is_gone_stays(card):
    card.run("process")
    before = card.copies
    (card.folder / "1.jpg").rename(card.base / "1.jpg")
    run(card.words("process"))
    assert card.copies["1.jpg"] == before["1.jpg"]


@in_process
@pytest.mark.parametrize("trouble", ["no such track", "no such option", "locked", "bad secret"])
def test_a_run_that_ends_before_any_image_removes_no_copy(trouble, card):
    card.run("process")
    before = card.copies
    more = {
        "no such track": ("--geotag_source", "gpx", "--geotag_source_path", card.base / "none.gpx"),
        "no such option": ("--no_such_option",),
        "locked": ("--rerun",),
        "bad secret": ("--master_upload", "--rerun"),
    }[trouble]
    if trouble == "locked":
        with tool.Journal(card.folder, write=True):
            assert run(card.words("process", *more)).code != 0
    else:
        assert run(card.words("process", *more)).code > 1
    card.untouched()
    assert card.copies == before


@in_process
def test_without_the_option_the_copies_go_and_the_photos_are_written(card):
    card.run("process")
    words = [word for word in card.words("process") if word != KEEP]
    assert run(words).code in (0, 1)
    changed = [name for name, state in card.state().items() if state[0] != card.before[name][0]]
    assert len(changed) == 6 and not set(changed) & set(card.copies)


@in_process
@pytest.mark.parametrize("more", [(), ("--rerun",)])
def test_a_file_of_somebody_in_the_folder_of_copies_is_never_removed(more, card):
    """F13: only what the journal says is our copy, with the size and digest that we wrote, is removed."""
    place = card.folder / ".mapillary" / "process_images"
    place.mkdir(parents=True)
    mine = making.jpeg((16, 16), pixels=3)
    for name in ("0.jpg", "of-mine.jpg", "7.JPG"):
        (place / name).write_bytes(mine)
    words = [word for word in card.words("process", *more) if word != KEEP]
    assert run(words).code in (0, 1)
    assert {name: copy[0] for name, copy in card.copies.items()} == dict.fromkeys(
        ("0.jpg", "of-mine.jpg", "7.JPG"), mine
    )


@in_process
def test_a_copy_that_somebody_changed_is_not_lost_in_silence(card):
    """A new copy may take its place only with a word, or under another name."""
    card.run("process")
    place = card.folder / ".mapillary" / "process_images"
    mine = making.jpeg((16, 16), pixels=3)
    (place / "0.jpg").write_bytes(mine)
    ran = card.run("process", "--device_make", "Other")
    there = [path for path in place.iterdir() if path.read_bytes() == mine]
    assert there or "0.jpg" in ran.stdout + ran.stderr
