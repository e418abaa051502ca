"""A run: gather, plan, carry out. What is read how often, in which order it is written, and that the plan is pure."""

import builtins
import io
import os
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import making
import mapillary_tools as mt
import pytest
from conftest import ROOT, in_process

pytestmark = in_process


def options(folder: Any, *groups: mt.Group) -> mt.Options:
    return mt.Options([mt.Input(str(folder)), mt.User("demo"), *groups])


def by_track(folder: Path) -> mt.Geotagging:
    points = [(1714979285.0 + second, 57.7 + second / 1e4, 11.97, 3.0) for second in range(30)]
    track = making.gpx(points, folder.parent / "track.gpx")
    return mt.Geotagging(geotag_source="gpx", geotag_source_path=str(track))


def gathered_of(folder: Path, *groups: mt.Group) -> Tuple[mt.Gathered, mt.RunSpec]:
    spec = mt.RunSpec(mt.STEPS, options(folder, *groups))
    config, notes = mt.Configuration(), mt.Notes()
    import contextlib

    with contextlib.ExitStack() as stack:
        paths = mt.find_images(folder)
        gathered, _ = mt.gather_images(paths, spec, config, mt.Ui(), stack)
        basis = mt.gather_basis(spec, config, notes)
        context = mt.gather_context(basis, gathered, spec, config, notes)
    return gathered._replace(context=context), spec


def forbidden(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError(f"the plan calls {name}")

    return refuse


def test_plan_runs_with_the_file_system_and_the_clock_taken_away(tmp_path, monkeypatch):
    """All that a plan needs was gathered: photos by track, ties, a caption, a failure, a table's values."""
    folder = tmp_path / "p"
    making.drive(folder, count=4)
    making.photo(folder / "ä.jpg", lat=1.0, lon=2.0, time="2024:05:06 07:08:09")
    making.photo(folder / "never.jpg", time=None)
    groups = (
        by_track(folder),
        mt.MetaData(add_import_date=True),
        mt.SequenceOptions(flag_duplicates=True),
    )
    gathered, spec = gathered_of(folder, *groups)
    wanted = mt.plan(gathered, spec)
    places = [(builtins, "open"), (os, "open"), (os, "stat"), (os, "lstat"), (os, "listdir")]
    places += [(os, "scandir"), (os, "walk"), (os, "unlink"), (os, "replace"), (os, "mkdir")]
    places += [(os.path, "isfile"), (os.path, "exists"), (os.path, "isdir"), (os.path, "islink")]
    places += [(time, "time"), (time, "monotonic"), (mt.LOG, "info"), (mt.LOG, "warning")]
    with monkeypatch.context() as patch:
        for place, name in places:
            patch.setattr(place, name, forbidden(name))
        work = mt.plan(gathered, spec)
    assert work == wanted and len(work.due) == 5 and len(work.images) == 6
    assert any("with the capture time of the one before" in line for line in work.notes)


class Opens:
    """Counts the opens of each file, by its name, while a run goes on."""

    def __init__(self, monkeypatch: Any) -> None:
        self.counts: Counter = Counter()
        for place, name in ((builtins, "open"), (io, "open"), (io, "FileIO"), (os, "open")):
            monkeypatch.setattr(place, name, self._counted(getattr(place, name)))

    def _counted(self, plain: Any) -> Any:
        def counting(path: Any, *args: Any, **more: Any) -> Any:
            if "opener" not in more:  # that opens the file, and is counted itself
                self.counts[os.path.basename(str(path))] += 1
            return plain(path, *args, **more)

        return counting


def of_photos(counts: Dict[str, int]) -> List[int]:
    return sorted(count for name, count in counts.items() if name.endswith(".jpg"))


@pytest.mark.parametrize("keep", [False, True])
def test_a_photo_is_opened_once_to_read_and_once_to_copy(keep, tmp_path, monkeypatch):
    """One open for head and tail, one for the copy; the new file is a temporary one, renamed."""
    making.drive(tmp_path / "p", count=3)
    with monkeypatch.context() as patch:
        opens = Opens(patch)
        report = mt.process(mt.Input(str(tmp_path / "p")), mt.User("demo"), keep=mt.Keep(keep))
    assert report.done == 3 and of_photos(opens.counts) == [2, 2, 2]


@pytest.mark.skipif(os.name == "nt", reason="Windows tells no time of change: heads are read")
def test_a_second_run_with_nothing_to_do_opens_no_photo(tmp_path, monkeypatch):
    making.drive(tmp_path / "p", count=3)
    mt.process(mt.Input(str(tmp_path / "p")), mt.User("demo"))
    with monkeypatch.context() as patch:
        opens = Opens(patch)
        report = mt.process(mt.Input(str(tmp_path / "p")), mt.User("demo"))
    assert report.skipped == {
        mt.SKIP_PROCESSED: [str(path) for path in sorted((tmp_path / "p").glob("*.jpg"))]
    }
    assert of_photos(opens.counts) == []


def test_track_and_configuration_are_read_once(tmp_path, monkeypatch):
    folder = tmp_path / "p"
    making.drive(folder, count=3)
    mt.write_config(
        {"demo": {"user_upload_token": "T"}, "MAPAdmin": {"MAPILLARY_SECRET_HASH": "S"}}
    )
    groups = {"geotagging": by_track(folder), "master": mt.Master(True)}
    with monkeypatch.context() as patch:
        opens = Opens(patch)
        report = mt.process(mt.Input(str(folder)), mt.User("demo"), **groups)
    assert report.done == 3
    assert (opens.counts["track.gpx"], opens.counts[os.path.basename(mt.config_path())]) == (1, 1)


def test_track_that_is_written_again_is_read_once(tmp_path, monkeypatch):
    folder = tmp_path / "p"
    making.drive(folder, count=3)
    out = mt.TrackOut(str(tmp_path / "out.gpx"))
    geotagging = by_track(folder)
    with monkeypatch.context() as patch:
        opens = Opens(patch)
        mt.extract_geotag_data(mt.Input(str(folder)), geotagging=geotagging, out=out)
    assert opens.counts["track.gpx"] == 1
    assert len(mt.read_track(tmp_path / "out.gpx").points) == 30


def traced(monkeypatch: Any) -> List[Tuple[str, ...]]:
    """What carry_out does, in order: journal lines, removed copies, renames, flushed folders."""
    seen: List[Tuple[str, ...]] = []
    append, unlink, replace, flush = mt.Journal.append, os.unlink, os.replace, mt.flush_folder

    def told(self: mt.Journal, lines: Any, flush: bool = True) -> None:
        for line in lines:
            seen.append(("journal", line.path.name, "written" if line.written else "told"))
        append(self, lines, flush)

    def gone(path: Any, *rest: Any, **more: Any) -> None:
        seen.append(("gone", os.path.basename(str(path))))
        unlink(path, *rest, **more)

    def renamed(source: Any, target: Any, *rest: Any) -> None:
        seen.append(("renamed", os.path.basename(str(target))))
        replace(source, target, *rest)

    def flushed(folder: Any) -> None:
        seen.append(("flushed", os.path.basename(str(folder))))
        flush(folder)

    monkeypatch.setattr(mt.Journal, "append", told)
    monkeypatch.setattr(os, "unlink", gone)
    monkeypatch.setattr(os, "replace", renamed)
    monkeypatch.setattr(mt, "flush_folder", flushed)
    return seen


def test_order_is_stale_told_written_flushed_journal(tmp_path, monkeypatch):
    """A power cut at any step leaves each photo old or new, and the journal never ahead of the disk."""
    folder = tmp_path / "p"
    making.drive(folder, count=2)
    mt.process(mt.Input(str(folder)), mt.User("demo"), keep=mt.Keep(True))
    for path in folder.glob("*.jpg"):
        making.photo(path, lat=1.0, lon=2.0, pixels=7)
    with monkeypatch.context() as patch:
        seen = traced(patch)
        mt.process(mt.Input(str(folder)), mt.User("demo"), workers=mt.Workers(1))
    names = ["0001.jpg", "0002.jpg"]
    assert seen == [
        *(("gone", name) for name in names),
        ("flushed", "process_images"),
        *(("journal", name, "told") for name in names),
        *(("renamed", name) for name in names),
        ("flushed", "p"),
        ("flushed", "process_images"),
        *(("journal", name, "written") for name in names),
    ]


def test_order_lives_in_one_function():
    """Nothing else on the floor of a run appends image lines, unlinks copies or flushes folders of photos."""
    source = (ROOT / "mapillary_tools.py").read_text("utf-8")
    run = source.split("# ---- A run ")[1].split("# ---- Restore ")[0]
    body = run.split("def carry_out(")[1].split("\ndef ")[0]
    stale = run.split("def _without_old_copies(")[1].split("\ndef ")[0]
    telling = run.split("class _Telling:")[1].split("\ndef ")[0]
    assert run.count("journal.append(") == telling.count("journal.append(") == 1
    assert run.count(".tell(") == body.count(".tell(") == 2
    assert run.count("_without_old_copies(") == 2 and body.count("_without_old_copies(") == 1
    assert run.count("flush_folder(") == (body + stale).count("flush_folder(") == 3
    assert run.count("_remove_copy(") == 2 and stale.count("_remove_copy(") == 1


def test_a_photo_that_another_program_changes_before_it_is_written_fails_and_stays(
    tmp_path, monkeypatch
):
    folder = tmp_path / "p"
    making.drive(folder, count=2)
    plain, theirs = mt.carry_out, making.jpeg(pixels=9)

    def meanwhile(*args: Any) -> Any:
        (folder / "0001.jpg").write_bytes(theirs)
        return plain(*args)

    with monkeypatch.context() as patch:
        patch.setattr(mt, "carry_out", meanwhile)
        report = mt.process(mt.Input(str(folder)), mt.User("demo"))
    assert [problem.code for problem in report.failed] == ["changed"]
    assert (folder / "0001.jpg").read_bytes() == theirs
    shutil.rmtree(str(folder))
