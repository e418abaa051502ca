"""A power cut at any moment leaves each photo old or new and the journal true; and the simulator sees what does not.

Here every few moments are tried; `python tests/powercut.py` tries all, and prints a table.
"""

import os

import mapillary_tools as mt
import powercut
import pytest
from conftest import in_process
from door import Kept
from scenes import SCENES

pytestmark = [
    in_process,
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="folders are flushed on POSIX alone"),
]
STRIDE = {"upload": 5, "process, threads": 3}  # moments; 2 for the others
STRIDE.update({"upload, videos": 9, "process_and_upload, videos": 24})


@pytest.mark.parametrize("name", [name for name in powercut.TOOLS if name in SCENES])
def test_a_power_cut_tears_nothing_and_the_next_run_heals_it(name, tmp_path):
    tallies, wrong = powercut.cut_everywhere(name, tmp_path, STRIDE.get(name, 2))
    assert sum(tally.disks for tally in tallies.values()) > 10
    assert wrong == [], f"{len(wrong)} in all; python tests/powercut.py '{name}' repeats them"


# ---- the simulator sees -------------------------------------------------------------------------


def wrong_in(name, folder, seed=1):
    """What the simulator says of a scene, with slashes."""
    folder.mkdir(exist_ok=True)
    return "\n".join(powercut.cut_everywhere(name, folder, seed=seed)[1]).replace(os.sep, "/")


def test_it_sees_a_photo_that_is_not_flushed_before_its_rename(tmp_path, monkeypatch):
    plain = mt.begin_file
    monkeypatch.setattr(
        mt,
        "begin_file",
        lambda path, chunks, how, *ready: plain(path, chunks, how._replace(flush=False), *ready),
    )
    assert "p/0001.jpg is neither old nor new" in wrong_in("process", tmp_path)


def test_it_sees_a_journal_that_is_not_flushed_before_the_photos(tmp_path, monkeypatch):
    plain = mt.Journal.append
    monkeypatch.setattr(
        mt.Journal, "append", lambda journal, lines, flush=True: plain(journal, lines, False)
    )
    assert "is changed, and what it carried is not told" in wrong_in("process", tmp_path)


@pytest.mark.parametrize("name", ["process", "process_csv"])
def test_it_sees_a_folder_that_is_not_flushed_before_the_journal_says_written(
    name, tmp_path, monkeypatch
):
    plain = mt.flush_folder
    monkeypatch.setattr(
        mt,
        "flush_folder",
        lambda folder: plain(folder) if str(folder).endswith(".mapillary") else None,
    )
    lots = (wrong_in(name, tmp_path / str(seed), seed=seed) for seed in range(1, 13))
    assert any("is told as written, and is not" in wrong for wrong in lots)  # threads take turns


def test_it_sees_a_state_folder_whose_own_name_is_not_flushed(tmp_path, monkeypatch):
    plain = mt.flush_folder

    def once(folder):
        if str(folder).endswith(".mapillary"):
            plain(folder)

    monkeypatch.setattr(mt, "flush_folder", once)
    assert "is changed, and what it carried is not told" in wrong_in("process", tmp_path)


def test_it_sees_a_file_that_is_written_in_place(tmp_path, monkeypatch):
    def in_place(source, target):
        with open(source, "rb") as stream:
            data = stream.read()
        with open(target, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.unlink(source)

    monkeypatch.setattr(mt, "move_file", in_place)
    assert "p/0001.jpg is neither old nor new" in wrong_in("process", tmp_path)


@pytest.mark.skipif("sample_video" not in SCENES, reason="ffmpeg is not on this computer")
def test_it_sees_frames_that_are_told_before_their_names_are_flushed(tmp_path, monkeypatch):
    monkeypatch.setattr(mt, "flush_folder", lambda folder: None)
    assert "is told as sampled, and is not whole" in wrong_in("sample_video", tmp_path)


def test_it_sees_a_compaction_that_is_not_flushed(tmp_path, monkeypatch):
    plain = mt.write_atomically
    monkeypatch.setattr(
        mt,
        "write_atomically",
        lambda path, chunks, how=mt.Manner(), *more, **named: plain(
            path, chunks, how._replace(flush=not str(path).endswith(".jsonl")), *more, **named
        ),
    )
    assert "not healed: " in wrong_in("process, compacted", tmp_path)


def test_it_sees_an_image_that_is_told_as_sent_too_early(tmp_path, monkeypatch):
    plain = mt.Journal.append

    def early(journal, lines, flush=True):
        lines = [
            line._replace(status="sent") if isinstance(line, mt.Sent) else line for line in lines
        ]
        plain(journal, lines, flush)

    monkeypatch.setattr(mt.Journal, "append", early)
    assert "is told as sent, and is not" in wrong_in("upload", tmp_path)


# ---- the disk is as it says ----------------------------------------------------------------------


def disk_after(before, *changes):
    """A disk of two files and these changes."""
    start = {name: Kept(content, 0) for name, content in before.items()}
    disk = powercut.Disk(start, powercut.Recorder(powercut.Path("/"), start))
    for change in changes:
        disk.change(change)
    return lambda kind, seed=0: {name: kept.content for name, kept in disk.held(kind, seed).items()}


NEW, CHANGE = 9, powercut.Change


def test_what_is_not_flushed_is_lost_and_what_is_flushed_stays():
    new = [CHANGE((("n", NEW),)), CHANGE((), NEW, 0, b"new")]
    renamed = CHANGE((("n", None), ("a", NEW)))
    held = disk_after({"a": b"old"}, *new, renamed)
    assert (held("flushed"), held("empty")) == ({"a": b"old"}, {"a": b""})
    assert (held("zeros"), held("all")) == ({"a": b"\0\0\0"}, {"a": b"new"})
    held = disk_after({"a": b"old"}, *new, CHANGE((), NEW, flush="file"), renamed)
    assert (held("flushed"), held("empty"), held("zeros")) == ({"a": b"old"}, *[{"a": b"new"}] * 2)
    held = disk_after(
        {"a": b"old"}, *new, CHANGE((), NEW, flush="file"), renamed, CHANGE(flush=".")
    )
    assert held("flushed") == {"a": b"new"}


def test_a_lot_takes_every_way_and_keeps_the_order_of_one_file():
    before = {"a": b"1"}
    held = disk_after(before, CHANGE((), 0, 1, b"2"), CHANGE((), 0, 2, b"3"), CHANGE((("b", 5),)))
    found = {(kept["a"], "b" in kept) for kept in (held("some", seed) for seed in range(200))}
    assert found == {(text, there) for text in (b"1", b"12", b"123") for there in (False, True)}
