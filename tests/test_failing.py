"""No call to the file system that fails costs a photo, a traceback or a word too many; and the harness sees what does.

Here every call fails once, of long scenes some on each Python, with one error number of seven; `python tests/failing.py --all`
tries all of them.
"""

import os
import sys

import failing
import mapillary_tools as mt
import pytest
from conftest import in_process
from scenes import SCENES, Scene, Stage

pytestmark = [in_process, pytest.mark.slow]


# Every so many calls of the long scenes, other ones on each Python, and all of the others; the command line tries all.
STRIDE = {
    "process_and_upload, videos": 36,
    "upload, videos": 15,
    "process_and_upload": 6,
    "upload": 5,
    "process, mixed": 3,
    **dict.fromkeys(("process, changed", "process", "process, videos", "restore"), 2),
    **dict.fromkeys(("process_csv", "process_csv, processed", "process, copies"), 2),
    **dict.fromkeys(("download_images", "authenticate", "process, organization"), 2),
}


def some(stride):
    """Every so many calls fail, the error numbers in turn."""
    first = sys.version_info[1] % stride
    return lambda calls: [one for one in failing.rotating(calls) if one.number % stride == first]


# threads take the calls of "process" in another order each time: that scene is for the command line
@pytest.mark.parametrize("name", [name for name in SCENES if "threads" not in name])
def test_each_call_that_fails_costs_no_photo_and_one_clear_line(name, tmp_path):
    count, wrong = failing.violations(name, tmp_path, some(STRIDE.get(name, 1)))
    assert count > 10
    assert wrong == [], f"{len(wrong)} of {count}; python tests/failing.py '{name}' repeats them"


# ---- the harness sees ---------------------------------------------------------------------------


def wrong_in(name, folder, trials=failing.rotating):
    """What the harness says of a scene, without where."""
    return "\n".join(failing.violations(name, folder, trials)[1])


def thinned(calls):
    """Every third call fails once."""
    return (failing.Trial(number, failing.errno.EIO, False) for number in range(0, calls, 3))


def last_ones(calls):
    """Each of the last calls fails once."""
    return (failing.Trial(number, failing.errno.EIO, False) for number in range(calls - 9, calls))


def filling(calls):
    """From every second call on the disk is full."""
    return (failing.Trial(number, failing.errno.ENOSPC, True) for number in range(0, calls, 2))


def test_it_sees_a_file_that_is_written_in_place(tmp_path, monkeypatch):
    def in_place(source, target):
        with open(source, "rb") as stream:
            data = stream.read()
        with open(target, "wb") as stream:
            stream.write(data)
        os.unlink(source)

    monkeypatch.setattr(mt, "move_file", in_place)
    assert ".jpg is neither old nor new" in wrong_in("process", tmp_path, thinned)


def test_it_sees_that_one_read_error_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(mt, "_unreadable", lambda path, error: error)
    assert "p/0001.jpg failed, and others in p are not done" in wrong_in(
        "process", tmp_path, thinned
    )


def test_it_sees_success_that_is_none(tmp_path, monkeypatch):
    plain = mt.write_group

    def silent(tasks):
        results = plain(tasks)
        return [one if isinstance(one, mt.Written) else mt.Written(1, 1) for one in results]

    monkeypatch.setattr(mt, "write_group", silent)
    found = wrong_in("process", tmp_path, thinned)
    assert ".part: exit code 0, but not done" in found


def test_it_sees_failure_that_is_none(tmp_path, monkeypatch):
    plain = mt.carry_out

    def late(work, places, *rest):
        images = plain(work, places, *rest)
        for folder in places:
            try:
                os.stat(folder)  # nobody needs to know
            except OSError as error:
                raise mt.write_failure(folder, error)
        return images

    monkeypatch.setattr(mt, "carry_out", late)
    assert "exit code 11 though all was done" in wrong_in("process", tmp_path, last_ones)


def test_it_sees_a_line_that_is_printed_twice(tmp_path, monkeypatch):
    plain = mt.print_line
    monkeypatch.setattr(mt, "print_line", lambda text, to: [plain(text, to) for _ in range(2)])
    assert "printed 2 times: mapillary_tools: " in wrong_in("process", tmp_path, thinned)


def test_it_sees_a_line_without_file_or_cause(tmp_path, monkeypatch):
    def vague(path, error):
        return mt.CannotWrite("cannot_write", "something cannot be written")

    monkeypatch.setattr(mt, "write_failure", vague)
    found = wrong_in("process", tmp_path, thinned)
    assert "is not named" in found and "the cause of write is not told" in found


def test_it_sees_temporary_files_that_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(mt.Journal, "_clear_parts", lambda journal: None)
    assert "left for ever: " in wrong_in("process", tmp_path, filling)


def test_it_sees_a_photo_that_is_given_up_for_ever(tmp_path, monkeypatch):
    plain = mt.as_read

    def remembering(path, known, found, config):
        return mt.Image(path, found) if found.error else plain(path, known, found, config)

    def same(image, status):
        return (image.written or image.found).stamp == mt.stamp_by(status)

    monkeypatch.setattr(mt, "as_read", remembering)
    monkeypatch.setattr(mt, "is_same_file", same)
    assert "the next run ends in 1: " in wrong_in("process", tmp_path, thinned)


def test_it_sees_a_run_without_end(tmp_path, monkeypatch):
    import scenes

    monkeypatch.setattr(scenes, "LIMIT_S", 1)
    with Stage(Scene("status --import_path @/p", SCENES["status"].make), tmp_path) as stage:
        monkeypatch.setattr(mt, "standings", lambda *_: iter(lambda: mt.time.sleep(0.1), 1))
        monkeypatch.setattr(mt, "journal_status", lambda options: list(mt.standings()))
        with pytest.raises(scenes.Hung):
            stage.act()
