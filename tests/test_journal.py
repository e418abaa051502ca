"""Floor 8: what has been done to which image, whatever happens to the computer in between."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict

import pytest

import making
import mapillary_tools as mt
from conftest import soon, ROOT, in_process, line, run

pytestmark = in_process


def row(name: str, number: int = 0) -> Dict[str, Any]:
    return {
        "image": name,
        "at": "2024-05-06T07:08:09.000Z",
        "found": {"size": number, "mtime": 5},
        "steps": {},
    }


def packed(image: Any) -> Any:
    """The row of an image, with the time at which it was written as in row()."""
    return image and dict(mt.pack_image(image), at="2024-05-06T07:08:09.000Z")


def filled(folder: Path, *rows: Dict[str, Any]) -> Path:
    with mt.Journal(folder) as journal:
        journal.append([line(folder, row) for row in rows])
    return folder / ".mapillary" / "journal.jsonl"


def record(folder: Path, name: str) -> Any:
    with mt.Journal(folder, write=False) as journal:
        return packed(journal.image(name))


def test_first_line_is_a_header_with_the_format_version(tmp_path):
    path = filled(tmp_path, row("a.jpg"))
    assert json.loads(path.read_text("utf-8").splitlines()[0])["journal"] == mt.JOURNAL_FORMAT


def test_every_line_is_ascii_whatever_the_name(tmp_path):
    names = ["größe 東京\ud800.jpg", 'quote".jpg']
    names += ["back\\slash.jpg"] if os.name == "posix" else []
    path = filled(tmp_path, *map(row, names))
    assert path.read_bytes().isascii()
    for name in names:
        assert record(tmp_path, name)["image"] == name


def test_last_line_about_an_image_holds(tmp_path):
    filled(tmp_path, row("a.jpg", 1), row("b.jpg", 2), row("a.jpg", 3))
    assert record(tmp_path, "a.jpg") == row("a.jpg", 3)


def test_lines_of_two_runs_add_up(tmp_path):
    filled(tmp_path, row("a.jpg", 1))
    filled(tmp_path, row("b.jpg", 2))
    assert record(tmp_path, "a.jpg") and record(tmp_path, "b.jpg")


def test_unknown_image_has_no_record(tmp_path):
    filled(tmp_path, row("a.jpg"))
    assert record(tmp_path, "b.jpg") is None


def test_records_come_in_the_order_asked_for(tmp_path):
    filled(tmp_path, row("a.jpg", 1), row("b.jpg", 2))
    with mt.Journal(tmp_path, write=False) as journal:
        assert [
            found and found.path.name for found in journal.images(["b.jpg", "c.jpg", "a.jpg"])
        ] == ["b.jpg", None, "a.jpg"]


def test_reading_only_creates_nothing(tmp_path):
    with mt.Journal(tmp_path, write=False) as journal:
        assert journal.image("a.jpg") is None
    assert list(tmp_path.iterdir()) == []


def test_reading_only_refuses_to_append(tmp_path):
    with mt.Journal(tmp_path, write=False) as journal:
        with pytest.raises(mt.BadJournal):
            journal.append([line(tmp_path, row("a.jpg"))])


def test_closed_journal_refuses_to_append(tmp_path):
    with mt.Journal(tmp_path) as journal:
        pass
    with pytest.raises(mt.BadJournal):
        journal.append([line(tmp_path, row("a.jpg"))])


@pytest.mark.parametrize(
    "torn", [b'{"image":"b.jpg","fou', b"\0" * 100, b"{", b'{"image":"b.jpg"}']
)
def test_torn_last_line_is_ignored(torn, tmp_path):
    path = filled(tmp_path, row("a.jpg", 1))
    path.write_bytes(path.read_bytes() + torn)
    assert record(tmp_path, "a.jpg") == row("a.jpg", 1)
    assert record(tmp_path, "b.jpg") is None


def test_torn_last_line_is_overwritten(tmp_path):
    path = filled(tmp_path, row("a.jpg", 1))
    path.write_bytes(path.read_bytes() + b'{"image":"b.jpg","fou')
    filled(tmp_path, row("c.jpg", 2))
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line.get("image") for line in lines] == [None, "a.jpg", "c.jpg"]


def test_torn_last_line_longer_than_what_follows_leaves_nothing_behind(tmp_path):
    path = filled(tmp_path, row("a.jpg", 1))
    path.write_bytes(path.read_bytes() + b'{"image":"b.jpg","found":"' + b"x" * 5000)
    filled(tmp_path, row("c.jpg", 2))
    assert [json.loads(line).get("image") for line in path.read_bytes().splitlines()] == [
        None,
        "a.jpg",
        "c.jpg",
    ]


def test_torn_header_alone_starts_afresh(tmp_path):
    (tmp_path / ".mapillary").mkdir()
    (tmp_path / ".mapillary" / "journal.jsonl").write_bytes(b'{"journal":1')
    path = filled(tmp_path, row("a.jpg"))
    (_, text) = path.read_bytes().splitlines()
    assert dict(json.loads(text), at=row("a.jpg")["at"]) == row("a.jpg")


def test_empty_journal_starts_afresh(tmp_path):
    (tmp_path / ".mapillary").mkdir()
    (tmp_path / ".mapillary" / "journal.jsonl").write_bytes(b"")
    assert filled(tmp_path, row("a.jpg")).read_bytes().startswith(b'{"journal":')


def test_newer_version_is_refused_with_what_to_do(tmp_path):
    path = filled(tmp_path, row("a.jpg"))
    path.write_bytes(path.read_bytes().replace(b'{"journal":1', b'{"journal":2'))
    for write in (True, False):
        with pytest.raises(mt.BadJournal, match="newer version.*use the newer"):
            mt.Journal(tmp_path, write).__enter__()


def test_newer_version_is_not_touched(tmp_path):
    path = filled(tmp_path, row("a.jpg"))
    content = path.read_bytes().replace(b'{"journal":1', b'{"journal":2') + b"torn"
    path.write_bytes(content)
    with pytest.raises(mt.BadJournal):
        mt.Journal(tmp_path).__enter__()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [b"plain text\n", b"[]\n", b'{"journal":"one"}\n', b"\0\0\0\n", b'{"journal":null}\n'],
)
def test_file_that_is_no_journal_is_refused(content, tmp_path):
    (tmp_path / ".mapillary").mkdir()
    (tmp_path / ".mapillary" / "journal.jsonl").write_bytes(content)
    with pytest.raises(mt.BadJournal):
        mt.Journal(tmp_path).__enter__()


def test_refused_journal_frees_its_lock(tmp_path):
    path = filled(tmp_path, row("a.jpg"))
    good = path.read_bytes()
    path.write_bytes(b"plain text\n")
    with pytest.raises(mt.BadJournal):
        mt.Journal(tmp_path).__enter__()
    path.write_bytes(good)
    assert record(tmp_path, "a.jpg")
    filled(tmp_path, row("b.jpg"))


@pytest.mark.parametrize("where", ["start", "middle"])
def test_damaged_line_leaves_the_line_before_it_about_the_image(where, tmp_path):
    """A bad block of the disk: what the image carried at first stands in an earlier line and is not lost."""
    path = filled(tmp_path, row("a.jpg", 1), row("a.jpg", 2), row("b.jpg", 3))
    lines = path.read_bytes().splitlines(True)
    at = 0 if where == "start" else 30
    lines[2] = lines[2][:at] + b"\0" * 10 + lines[2][at + 10 :]
    path.write_bytes(b"".join(lines))
    assert record(tmp_path, "a.jpg") == row("a.jpg", 1) and record(tmp_path, "b.jpg") == row(
        "b.jpg", 3
    )


@pytest.mark.parametrize(
    "more",
    [
        {"found": {"size": 2, "mtime": 5, "raw": {"GPS": 5}}},
        {"found": {"size": 2, "mtime": 5, "raw": {"GPS": {"1": {}}}}},
        {"found": {"size": 2, "mtime": 5, "pixels": ["x", 1]}},
        {"found": {"size": 2, "mtime": 5, "pixels": [1]}},
        {"found": {"size": 10**400, "mtime": 5}},
        {"found": {"size": 2, "mtime": 5, "lat": float("nan"), "lon": 1.0}},
        {"found": {"size": 2, "mtime": 5, "times": 5}},
        {"given": {"filled": [None, 1.0]}},
        {"given": {"tags": [{"type": "colour", "key": "a", "value": "b"}]}},
        {"given": {"tags": [{"type": "string", "key": "a", "value": {}}]}},
        {
            "steps": {
                mt.SEQUENCE: {"status": "success", "settings": "", "data": {"limits": [{}, 1]}}
            }
        },
    ],
    ids=lambda more: str(more)[:60],
)
def test_line_of_odd_values_is_damaged(more, tmp_path):
    path = filled(tmp_path, row("a.jpg", 1))
    odd = json.dumps({**row("a.jpg", 2), **more}, separators=(",", ":"))
    path.write_text(path.read_text("utf-8") + odd + "\n", "utf-8")
    assert record(tmp_path, "a.jpg") == row("a.jpg", 1)


def test_damaged_upload_line_is_left_out(tmp_path, caplog):
    path = filled(tmp_path, row("a.jpg", 1))
    path.write_bytes(path.read_bytes() + b'{"upload":{"service":"x"}}\n{"upload":5}\n###\n')
    assert record(tmp_path, "a.jpg") and "damaged line" in caplog.text


def test_second_run_in_the_same_process_is_refused(tmp_path):
    with mt.Journal(tmp_path):
        with pytest.raises(
            mt.BadJournal, match="being worked on by another run.*process %d" % os.getpid()
        ):
            mt.Journal(tmp_path).__enter__()


HOLD = """
import sys, time
sys.path.insert(0, %r)
import mapillary_tools
with mapillary_tools.Journal(sys.argv[1]) as journal:
    held = mapillary_tools.Path(sys.argv[1], "held.jpg")
    journal.append([mapillary_tools.Image(held, mapillary_tools.Found())])
    print("locked", flush=True)
    time.sleep(60)
""" % str(ROOT)


def _holder(folder: Path) -> Any:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline().strip() == b"locked"
    return child


def test_run_is_refused_while_another_process_works_and_free_after_kill_9(tmp_path):
    making.drive(tmp_path, count=1)
    child = _holder(tmp_path)
    try:
        ran = run("process", "--import_path", tmp_path, "--user_name", "demo")
        assert (
            ran.code == 75 and "process %d" % child.pid in ran.stderr and "--wait" in ran.stderr
        ), ran
        assert making.description(tmp_path / "0001.jpg") == {}
    finally:
        child.kill()
        child.wait()
    assert run("process", "--import_path", tmp_path, "--user_name", "demo").code == 0
    assert record(tmp_path, "held.jpg")


def test_reading_goes_on_while_another_process_works(tmp_path):
    child = _holder(tmp_path)
    try:
        assert record(tmp_path, "held.jpg")
    finally:
        child.kill()
        child.wait()


def test_lock_is_freed_at_the_end(tmp_path):
    for number in range(3):
        filled(tmp_path, row("a.jpg", number))


def test_journal_with_four_lines_to_a_live_one_is_compacted(tmp_path):
    for number in range(12):
        filled(tmp_path, row("a.jpg", number), row("b.jpg", number))
    path = tmp_path / ".mapillary" / "journal.jsonl"
    assert len(path.read_bytes().splitlines()) <= 1 + 2 * 5
    assert record(tmp_path, "a.jpg") == row("a.jpg", 11) and record(tmp_path, "b.jpg") == row(
        "b.jpg", 11
    )


def test_compaction_keeps_uploads_and_sequences(tmp_path):
    upload = {"image": "a.jpg", "service": "x", "status": "sent", "handle": "h"}
    sequence = {"service": "x", "id": "s", "images": ["a.jpg"], "cluster": "c"}
    filled(tmp_path, {"upload": upload}, {"sequence": sequence})
    for number in range(20):
        filled(tmp_path, row("a.jpg", number))
    with mt.Journal(tmp_path) as journal:
        assert journal.sent("x", "a.jpg") == mt.unpack_sent(upload)
        assert journal.manifest("x", "s") == mt.unpack_manifest(sequence)
    assert len((tmp_path / ".mapillary" / "journal.jsonl").read_bytes().splitlines()) < 20


def test_compaction_that_fails_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    path = filled(tmp_path, *[row("a.jpg", number) for number in range(20)])
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mt, "write_all", full)
        try:
            with mt.Journal(tmp_path):
                pass
        except mt.CannotWrite:
            pass
    assert path.read_bytes() == before and record(tmp_path, "a.jpg") == row("a.jpg", 19)


def test_line_that_did_not_fit_on_the_disk_does_not_damage_the_next(tmp_path, monkeypatch):
    """ENOSPC in the middle of a line, then space again within the same run."""
    plain = mt.write_all
    with mt.Journal(tmp_path) as journal:
        journal.append([line(tmp_path, row("a.jpg", 1))])

        def half(stream: Any, chunk: bytes) -> None:
            plain(stream, chunk[: len(chunk) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(mt, "write_all", half)
            with pytest.raises(mt.CannotWrite, match="No space left"):
                journal.append([line(tmp_path, row("b.jpg", 2))])
        journal.append([line(tmp_path, row("c.jpg", 3))])
        assert packed(journal.image("c.jpg")) == row("c.jpg", 3) and journal.image("b.jpg") is None
    assert record(tmp_path, "c.jpg") == row("c.jpg", 3) and record(tmp_path, "b.jpg") is None


def test_append_is_on_disk_when_it_returns(tmp_path, monkeypatch):
    synced = []
    plain = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size) or plain(handle)
    )
    with mt.Journal(tmp_path) as journal:
        journal.append([line(tmp_path, row("a.jpg"))])
        assert synced and synced[-1] == os.stat(journal.path).st_size


def test_flush_makes_the_disk_catch_up(tmp_path, monkeypatch):
    synced = []
    plain = os.fsync
    with mt.Journal(tmp_path) as journal:
        journal.append([line(tmp_path, row("a.jpg"))], flush=False)
        monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or plain(handle))
        journal.append([line(tmp_path, row("b.jpg"))], flush=False)
        assert not synced
        journal.flush()
        assert len(synced) == 1


def test_several_threads_append_whole_lines(tmp_path):
    with mt.Journal(tmp_path) as journal:

        def work(letter: str) -> None:
            for number in range(50):
                one = line(tmp_path, row("%s%d.jpg" % (letter, number), number))
                journal.append([one], flush=False)

        threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert packed(journal.image("c17.jpg")) == row("c17.jpg", 17)
    assert record(tmp_path, "d49.jpg") == row("d49.jpg", 49)


def test_keys_of_a_line_stand_in_a_fixed_order(tmp_path):
    making.drive(tmp_path / "p", count=2)
    run("process", "--import_path", tmp_path / "p", "--user_name", "demo")
    lines = [
        json.loads(line)
        for line in (tmp_path / "p" / ".mapillary" / "journal.jsonl")
        .read_text("utf-8")
        .splitlines()[1:]
    ]
    assert {tuple(line) for line in lines} == {
        ("image", "at", "found", "steps"),
        ("image", "at", "found", "steps", "written"),
    }
    assert {tuple(line["steps"]) for line in lines} == {mt.STEPS}


def test_temporary_files_of_an_interrupted_run_are_cleared(tmp_path):
    places = [tmp_path, tmp_path / ".mapillary", tmp_path / ".mapillary" / "process_images"]
    places[-1].mkdir(parents=True)
    for place in places:
        (place / ".mapillary-00.part").write_text("half", "utf-8")
    with mt.Journal(tmp_path):
        pass
    assert not list(tmp_path.rglob("*.part"))


def test_journal_killed_at_any_byte_opens_again(tmp_path):
    path = filled(tmp_path, row("a.jpg", 1), row("b.jpg", 2))
    content = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(content) if byte == 10]
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with mt.Journal(tmp_path, write=False) as journal:
            assert len(journal.names()) == max(0, sum(end <= size for end in ends) - 1)


def test_old_upload_markers_are_seen_beside_the_images_and_at_the_top(tmp_path):
    folder = tmp_path / "top" / "sub"
    for place in (
        folder / ".mapillary" / "logs" / "a.jpg",
        tmp_path / "top" / ".mapillary" / "logs" / "sub" / "b",
    ):
        place.mkdir(parents=True)
        (place / "upload_success").write_text("", "utf-8")
    marked = mt.upload_marks(str(folder), str(tmp_path / "top"))
    found = [mt.is_marked(name, marked) for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert found == [True, True, False]


@pytest.mark.skipif(not os.environ.get("SLOW"), reason="by hand, with SLOW=1")
def test_100_000_images_load_in_a_second(tmp_path, capsys):
    (tmp_path / ".mapillary").mkdir()
    line = json.dumps(row("%06d.jpg", 5), separators=(",", ":")).replace(
        '"steps":{}', '"steps":{"x":"%s"}' % ("y" * 1500)
    )
    with open(str(tmp_path / ".mapillary" / "journal.jsonl"), "w", encoding="utf-8") as stream:
        stream.write('{"journal":1}\n')
        for number in range(100000):
            stream.write(line % number + "\n")
    start = time.perf_counter()
    with mt.Journal(tmp_path, write=False) as journal:
        spent = time.perf_counter() - start
        assert len(journal.names()) == 100000
    with capsys.disabled():
        print("\n100,000 journal lines of 1.6 kB: %.2f s" % spent)
    assert soon(spent, 1.0)


def test_log_of_an_image_names_its_problem_by_words(tmp_path):
    """Symptom: the problem of a failed image was a bare list of its values."""
    making.photo(tmp_path / "a.jpg")
    making.drive(tmp_path, count=2, step=0.0)
    words = ["--advanced", "--flag_duplicates", "--verbose"]
    run("process", "--import_path", tmp_path, "--user_name", "demo", *words)
    logs = tmp_path / ".mapillary" / "logs"
    rows = {
        path.parent.name: json.loads(path.read_text("utf-8")) for path in logs.glob("*/steps.json")
    }
    assert rows["a.jpg"]["outcome"]["problem"]["code"] == "no_position"
    assert rows["0002.jpg"]["outcome"]["partner"] == "0001.jpg"
