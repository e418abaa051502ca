#!/usr/bin/env python3
"""The README's main job and the tests on the Windows build of Python, under wine: `python tests/windows_job.py`.

    windows_job.py                  Python 3.8 and the newest, what CI runs
    windows_job.py 3.11             another one
    windows_job.py --all 3.8        every test file that can be collected there

Without wine, or the right to install it, it says so and ends well. Prints the seconds of each part, and how many tests ran
and were skipped; fails where a test fails, or more are skipped than MOST_SKIPPED.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[1]
RUNNER = [sys.executable, str(ROOT / "tests" / "windows_python.py")]
OLDEST, NEWEST = "3.8", "3.13"
MOST_SKIPPED = 175
# On one of the two Pythons all that runs there; on the other what depends on the system.
EVERYWHERE = (
    "accounts cli embedding files history journal keep new_user run sources steps upload windows"
).split()
NOT_THERE = {
    "asked_before": "is about uploads, the same everywhere: by hand, with --all",
    "bundle": "builds with the tools of a checkout",
    "failing": "makes calls of POSIX fail",
    "file_systems": "mounts disks",
    "files_again": "is about the bytes of EXIF, the same everywhere: by hand, with --all",
    "frames": "is about ffmpeg, exiftool and programs of POSIX: by hand, with --all",
    "fuzz": "has no part that depends on the system, and takes minutes",
    "goes_on": "is about EXIF, times and places, the same everywhere: by hand, with --all",
    "golden": "compares bytes of a POSIX computer: rights, names of folders",
    "hostile": "is about sockets of the services, not of ours",
    "kill": "needs SIGKILL",
    "layout": "reads the source, which is the same",
    "making": "is about the makers of files",
    "kept_apart": "is about uploads, the same everywhere: by hand, with --all",
    "loggers": "reads tracks, the same everywhere: by hand, with --all",
    "memory": "measures with resource",
    "mended": "is mostly about times, places and uploads, the same everywhere: by hand, with --all",
    "odd_tracks": "reads tracks, the same everywhere; its videos need ffmpeg: by hand, with --all",
    "on_cards": "is about links and names that Windows does not have: by hand, with --all",
    "page": "needs Chromium",
    "powercut": "records the calls of POSIX",
    "readme": "runs the commands of a POSIX shell",
    "recordings": "is about ffmpeg, as frames is: by hand, with --all",
    "secrets": "runs all other tests again",
    "reported": "is about times and places, the same everywhere: by hand, with --all",
    "right_times": "is about times, the same everywhere: by hand, with --all",
    "segments": "is about the bytes of EXIF, the same everywhere: by hand, with --all",
    "settled": "is about times, places and words, the same everywhere: by hand, with --all",
    "tables": "reads tables, the same everywhere: by hand, with --all",
    "told_right": "is about tables and words, the same everywhere: by hand, with --all",
    "together": "is about times and places, the same everywhere: by hand, with --all",
    "tracks_again": "is about times and places, the same everywhere: by hand, with --all",
    "tracks": "reads tracks, the same everywhere: by hand, with --all",
    "typed": "is about types and fields, the same everywhere: by hand, with --all",
    "upload_kill": "needs SIGKILL",
    "video": "takes a minute and a half: by hand, with --all",
    "videos_again": "is about ffmpeg and what programs tell: by hand, with --all",
    "whole_videos": "takes minutes, and most of it is about judges: by hand, with --all",
}


DAMAGE = "test_log_that_is_damaged_anywhere_raises_nothing_but_a_bad_track"
BY_HAND = {  # single tests, which --all runs
    f"tests/test_loggers.py::{DAMAGE}": "reads bytes in memory, the same everywhere, for a minute",
}


def chosen(version: str, everything: bool) -> List[str]:
    names = sorted(path.stem[5:] for path in (ROOT / "tests").glob("test_*.py"))
    if everything:
        return names
    if version == OLDEST:
        return [n for n in names if n not in NOT_THERE and not n.startswith("piexif_")]
    return [n for n in names if n in EVERYWHERE]


def main_job(version: str, folder: Path) -> None:
    """The first command of the README, typed as on Windows."""
    card, into = folder / "a card from Gö", folder / "received"
    shutil.copytree(str(ROOT / "tests" / "data" / "drive"), str(card))
    words = ["process_and_upload", "--import_path", str(card), "--user_name", "demo"]
    words += ["--stand_in", str(into)]
    started = time.monotonic()
    subprocess.run([*RUNNER, version, str(ROOT / "mapillary_tools.py"), *words], check=True)
    count, wanted = (
        len(list(place.rglob("*.jpg"))) for place in (into, ROOT / "tests" / "data" / "drive")
    )
    assert count == wanted, f"{count} of {wanted} arrived"
    print(f"windows {version}: the main job in {time.monotonic() - started:.1f} s", flush=True)


def tests(version: str, names: List[str], everything: bool) -> bool:
    """Run test files; returns whether all is well."""
    started = time.monotonic()
    words = [version, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--timeout", "200"]
    files = [f"tests/test_{name}.py" for name in names]
    words += [f"--deselect={test}" for test in BY_HAND if not everything]
    env = dict(os.environ, WINDOWS_PYTHON_FFMPEG="1")
    done = subprocess.run(
        [*RUNNER, *words, "--tb=short", "-rfEs", *files],
        cwd=str(ROOT),
        env=env,
        stdout=subprocess.PIPE,
    )
    said = done.stdout.decode("utf-8", "replace")
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped)", said)
    }
    print(f"windows {version}: {counts} in {time.monotonic() - started:.0f} s", flush=True)
    for line in sorted(set(re.findall(r"^SKIPPED .*$", said, re.MULTILINE))):
        print("  " + re.sub(r" tests[\\/]\S+", "", line), flush=True)
    if counts.get("skipped", 0) > MOST_SKIPPED:
        print(f"windows {version}: more than {MOST_SKIPPED} tests were skipped")
        return False
    if done.returncode:
        print(said, flush=True)
        failed = re.findall(r"^(?:FAILED|ERROR) (tests/.+?)(?: - .*)?\r?$", said, re.MULTILINE)
        return _once_more(version, failed)
    return True


def _once_more(version: str, failed: List[str]) -> bool:
    """Whether all that failed is well by itself: wine is not Windows, and a machine may be busy."""
    if not failed or len(failed) > 5:
        return False
    words = [version, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "200", *failed]
    good = subprocess.run([*RUNNER, *words], cwd=str(ROOT)).returncode == 0
    print(f"windows {version}: once more {len(failed)}: {'well' if good else 'failed'}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("versions", nargs="*", default=[OLDEST, NEWEST])
    parser.add_argument("--all", action="store_true", help="every test file")
    asked = parser.parse_args()
    if shutil.which("wine") is None and (shutil.which("apt-get") is None or os.geteuid() != 0):
        print("windows: skipped: there is no wine, and no right to install it")
        return 0
    started = time.monotonic()
    if subprocess.run([*RUNNER, "--prepare", *asked.versions, "ffmpeg"]).returncode:
        print("windows: skipped: the Windows Python cannot be had here")
        return 0
    print(f"windows: prepared in {time.monotonic() - started:.0f} s", flush=True)
    good = True
    for version in reversed(asked.versions):
        with tempfile.TemporaryDirectory() as folder:
            main_job(version, Path(folder))
        good = tests(version, chosen(version, asked.all), asked.all) and good
    for name, why in sorted(NOT_THERE.items()):
        print(f"  not run there: test_{name}.py {why}")
    for name, why in BY_HAND.items():
        print(f"  not run there: {name} {why}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
