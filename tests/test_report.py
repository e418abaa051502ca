"""status and report: what the journals say, as figures and as a page; no image is opened."""

import json
import os
import re

import making
import pytest

import mapillary_tools as mt
from conftest import line

SERVICE = "graph.example"


@pytest.fixture(autouse=True)
def own_service(monkeypatch):
    monkeypatch.setenv("MAPILLARY_GRAPH_API_ENDPOINT", "https://" + SERVICE)


def record(
    name, lat=57.7, lon=11.97, time=1000.0, sequence="s1", heading=90.0, found=None, **steps
):
    """A journal row as `process` writes it; a step given as None is left out."""
    data = {"time": time, "lat": lat, "lon": lon, "heading": heading}
    rows = {
        mt.GEOTAG: {"status": "success", "settings": "", "data": data},
        mt.SEQUENCE: {
            "status": "success",
            "settings": "",
            "data": {"sequence": sequence, "heading": heading},
        },
        mt.DESCRIPTION: {"status": "success", "settings": "", "data": {"into": "image"}},
    }
    rows.update(steps)
    return {
        "image": name,
        "found": dict({"size": 1, "mtime": 1, "pixels": [64, 48]}, **(found or {})),
        "steps": {step: entry for step, entry in rows.items() if entry is not None},
    }


def failed(name, **more):
    error = {"code": "no_position", "wrong": "has no position", "remedy": "give a track"}
    steps = {
        mt.GEOTAG: {"status": "failed", "settings": "", "error": error},
        mt.SEQUENCE: None,
        mt.DESCRIPTION: None,
    }
    return dict(record(name, **more), steps={mt.GEOTAG: steps[mt.GEOTAG]})


def duplicate(name, partner, **more):
    data = {"partner": partner, "distance": 0.05, "turn": 2.0}
    row = record(name, **more)
    row["steps"][mt.SEQUENCE] = {"status": "duplicate", "settings": "", "data": data}
    del row["steps"][mt.DESCRIPTION]
    return row


def sent(name, service=SERVICE, status="sent", **more):
    return {
        "upload": dict({"image": name, "service": service, "status": status, "handle": "h"}, **more)
    }


def folder_with(folder, *rows):
    """A folder with a journal of these rows; the image files in it are no images, so that reading one would fail."""
    os.makedirs(str(folder), exist_ok=True)
    with mt.Journal(folder) as journal:
        journal.append([line(folder, row) for row in rows])
    for row in rows:
        if "image" in row:
            path = os.path.join(str(folder), row["image"])
            with open(path, "wb") as stream:
                stream.truncate(row["found"]["size"])
            os.utime(path, (row["found"]["mtime"] / 1000,) * 2)
    return folder


def status(top, wanted=None):
    groups = [mt.Input(str(top)), mt.StatusOptions(list_images=wanted)]
    return mt.journal_status(mt.Options(groups))


def write_report(top, path):
    return mt.write_report(mt.Options([mt.Input(str(top)), mt.PageOptions(str(path))]))


def page_of(top, path):
    write_report(top, path)
    text = path.read_text(encoding="utf-8")
    return text, json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))


@pytest.fixture
def mixed(tmp_path):
    """Two sent, one waiting, one duplicate, one failed, one without a record."""
    folder_with(
        tmp_path / "a",
        record("1.jpg"),
        record("2.jpg", time=1002.0),
        record("3.jpg", time=1004.0),
        duplicate("4.jpg", "3.jpg", time=1006.0),
        failed("5.jpg"),
        sent("1.jpg"),
        sent("2.jpg"),
    )
    (tmp_path / "a" / "6.jpg").write_bytes(b"")
    return tmp_path


# -- status


def test_status_accounts_for_every_image(mixed):
    report = status(mixed)
    assert (
        report.found
        == report.done + sum(map(len, report.skipped.values())) + len(report.failed)
        == 6
    )


def test_status_counts_what_the_service_acknowledged_as_uploaded(mixed):
    assert status(mixed).done == 2


def test_status_counts_described_images_that_were_not_sent_as_waiting(mixed):
    assert status(mixed).skipped["waiting"] == [str(mixed / "a" / "3.jpg")]


def test_status_counts_images_without_a_record_as_not_processed(mixed):
    assert status(mixed).skipped["not_processed"] == [str(mixed / "a" / "6.jpg")]


def test_status_gives_the_reason_of_a_failed_image(mixed):
    (problem,) = status(mixed).failed
    assert (problem.file, problem.wrong, problem.remedy) == (
        str(mixed / "a" / "5.jpg"),
        "has no position",
        "give a track",
    )


def test_status_exits_with_1_when_an_image_failed(mixed):
    assert status(mixed).exit_code == 1


def test_status_line_of_a_folder_adds_up(mixed):
    line = next(line for line in status(mixed).lines if line.startswith("a: "))
    numbers = [int(number) for number in re.findall(r"\d+", line)]
    assert numbers[0] == sum(numbers[1:]) == 6


def test_status_says_how_many_failed_for_each_reason(mixed):
    assert status(mixed).facts["reasons"] == {"no_position: has no position": 1}


def test_status_lists_duplicates_with_partner_and_distance(mixed):
    (listed,) = status(mixed, "duplicate").facts["listed"]
    assert listed == {
        "file": str(mixed / "a" / "4.jpg"),
        "reason": "repeats 3.jpg, 0.05 m away, turned by 2.0 degrees",
    }


@pytest.mark.parametrize("word, count", [("failed", 1), ("waiting", 1), ("duplicate", 1)])
def test_status_lists_the_images_of_one_state(mixed, word, count):
    assert len(status(mixed, word).facts["listed"]) == count


def test_status_refuses_to_list_an_unknown_state():
    with pytest.raises(mt.UsageError, match="--list must be one of"):
        mt.StatusOptions(list_images="lost")


def test_status_facts_do_not_hide_what_every_summary_has(mixed):
    row = status(mixed).as_json()
    assert (row["found"], row["done"], len(row["failed"])) == (6, 2, 1)


def test_status_facts_are_plain_values(mixed):
    assert json.loads(json.dumps(status(mixed, "failed").as_json()))["tool"] == "status"


def test_status_shows_a_sequence_without_its_last_image_as_unfinished(mixed):
    (sequence,) = status(mixed).facts["folders"][0]["sequences"]
    assert (sequence["images"], sequence["uploaded"], sequence["finished"]) == (3, 2, False)


def test_status_shows_a_sequence_with_a_cluster_as_finished(tmp_path):
    folder_with(
        tmp_path,
        record("1.jpg"),
        sent("1.jpg"),
        {
            "sequence": {
                "id": "s1",
                "service": SERVICE,
                "images": ["1.jpg"],
                "handle": "h",
                "cluster": "9",
            }
        },
    )
    assert status(tmp_path).facts["folders"][0]["sequences"][0]["finished"]


def test_status_shows_a_finished_sequence_that_an_image_joined_as_unfinished(tmp_path):
    folder_with(
        tmp_path,
        record("1.jpg"),
        record("2.jpg"),
        sent("1.jpg"),
        {
            "sequence": {
                "id": "s1",
                "service": SERVICE,
                "images": ["1.jpg"],
                "handle": "h",
                "cluster": "9",
            }
        },
    )
    assert not status(tmp_path).facts["folders"][0]["sequences"][0]["finished"]


def test_status_keeps_services_apart(tmp_path):
    folder_with(
        tmp_path, record("1.jpg"), record("2.jpg"), sent("1.jpg", service="stand-in"), sent("2.jpg")
    )
    report = status(tmp_path)
    assert (report.done, report.facts["elsewhere"]) == (1, {"stand-in": 1})


def test_status_counts_an_image_whose_upload_failed_as_failed(tmp_path):
    folder_with(
        tmp_path,
        record("1.jpg"),
        sent("1.jpg", status="failed", code="refused", wrong="is refused"),
    )
    assert [problem.code for problem in status(tmp_path).failed] == ["refused"]


def test_status_does_not_believe_an_upload_of_another_photo_of_that_name(tmp_path):
    folder_with(tmp_path, record("1.jpg"), sent("1.jpg", photo="another"))
    assert status(tmp_path).done == 0


def test_status_counts_an_image_that_was_deleted_after_its_upload(tmp_path):
    folder_with(tmp_path, record("1.jpg"), sent("1.jpg"))
    (tmp_path / "1.jpg").unlink()
    assert status(tmp_path).done == 1


def test_status_honours_what_earlier_tools_left(tmp_path):
    (tmp_path / ".mapillary" / "logs" / "1").mkdir(parents=True)
    (tmp_path / ".mapillary" / "logs" / "1" / "upload_success").write_bytes(b"")
    (tmp_path / "1.jpg").write_bytes(b"")
    assert status(tmp_path).done == 1


def test_status_skips_kinds_that_cannot_be_uploaded(tmp_path):
    folder_with(tmp_path, record("1.jpg"))
    (tmp_path / "2.tif").write_bytes(b"")
    assert status(tmp_path).skipped[mt.SKIP_KIND] == [str(tmp_path / "2.tif")]


def test_status_names_a_journal_of_a_newer_version_and_goes_on(tmp_path):
    folder_with(tmp_path / "new", record("1.jpg"))
    (tmp_path / "new" / ".mapillary" / "journal.jsonl").write_text('{"journal":99}\n', "utf-8")
    folder_with(tmp_path / "old", record("1.jpg"), sent("1.jpg"))
    report = status(tmp_path)
    assert (report.done, [problem.code for problem in report.failed]) == (1, ["journal_newer"])


def test_status_names_a_folder_that_cannot_be_searched(mixed, monkeypatch):
    (mixed / "locked").mkdir()
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(str(path)) == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert [problem.file for problem in status(mixed).trouble] == [str(mixed / "locked")]


def test_status_changes_nothing(mixed):
    before = {path: path.stat().st_mtime_ns for path in mixed.rglob("*")}
    status(mixed)
    assert {path: path.stat().st_mtime_ns for path in mixed.rglob("*")} == before


def test_status_of_an_empty_folder_is_not_found(tmp_path):
    with pytest.raises(mt.NotFound):
        status(tmp_path)


# -- report


@pytest.fixture
def drive(tmp_path):
    """Six images 11 m and 2 s apart, the last two after a pause of 200 s; one repeats its neighbour, one failed."""
    rows = [record("%d.jpg" % n, lat=57.7 + n * 1e-4, time=1000.0 + 2 * n) for n in range(4)]
    rows += [
        record("%d.jpg" % n, lat=57.7 + n * 1e-4, time=1200.0 + 2 * n, sequence="s2")
        for n in (4, 5)
    ]
    rows += [
        duplicate("dup.jpg", "5.jpg", lat=57.7005, time=1212.0),
        failed("lost.jpg"),
        failed("bad.jpg", found={"lat": 57.71, "lon": 11.98}),
    ]
    folder_with(tmp_path / "drive", *rows)
    return tmp_path / "drive"


def test_report_has_a_row_for_each_sequence(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert [(row["id"], len(row["points"])) for row in data["sequences"]] == [("s1", 4), ("s2", 2)]


def test_report_measures_length_in_metres(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert data["sequences"][0]["metres"] == pytest.approx(33.4, abs=0.1)


def test_report_measures_duration_in_seconds(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert data["sequences"][0]["seconds"] == 6.0


def test_report_gives_the_speed_along_the_way(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert [point[5] for point in data["sequences"][0]["points"]] == [None, 20.0, 20.0, 20.0]


def test_report_gives_name_place_time_and_heading_of_a_dot(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert data["sequences"][0]["points"][1][:5] == ["1.jpg", 57.7001, 11.97, 2.0, 90.0]


def test_report_says_why_a_sequence_was_cut_by_time(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert data["sequences"][1]["cut"] == "11 m and 202 s (limit 60 s) after 3.jpg"


def test_report_says_why_a_sequence_was_cut_by_distance(tmp_path):
    folder_with(
        tmp_path / "d", record("1.jpg"), record("2.jpg", lat=57.71, time=1002.0, sequence="s2")
    )
    _, data = page_of(tmp_path / "d", tmp_path / "r.html")
    assert data["sequences"][1]["cut"] == "1114 m (limit 600 m) and 2 s after 1.jpg"


def test_report_uses_the_limits_that_were_recorded(tmp_path):
    second = record("2.jpg", lat=57.7001, time=1020.0, sequence="s2")
    second["steps"][mt.SEQUENCE]["data"]["limits"] = [5.0, 15.0]
    folder_with(tmp_path / "d", record("1.jpg"), second)
    _, data = page_of(tmp_path / "d", tmp_path / "r.html")
    assert data["sequences"][1]["cut"] == "11 m (limit 5 m) and 20 s (limit 15 s) after 1.jpg"


def test_report_says_that_a_sequence_was_full(tmp_path):
    rows = [
        record("%03d.jpg" % n, time=1000.0 + n, sequence="s%d" % (n // 500)) for n in range(501)
    ]
    folder_with(tmp_path / "d", *rows)
    _, data = page_of(tmp_path / "d", tmp_path / "r.html")
    assert data["sequences"][1]["cut"] == "500 images, the most in a sequence"


def test_report_marks_no_cut_at_the_first_sequence_of_a_folder(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert (data["sequences"][0]["cut"], "before" in data["sequences"][0]) == ("", False)


def test_report_marks_duplicates_with_their_reason(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert [row[6] for row in data["others"] if row[5] == "duplicate"] == [
        "repeats 5.jpg, 0.05 m away, turned by 2.0 degrees"
    ]


def test_report_marks_a_failed_image_at_the_place_in_its_exif(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert [row[:3] for row in data["others"] if row[5] == "failed"] == [["bad.jpg", 57.71, 11.98]]


def test_report_marks_an_image_of_a_sequence_whose_upload_failed(tmp_path, monkeypatch):
    monkeypatch.setenv("MAPILLARY_GRAPH_API_ENDPOINT", "https://%s/v4" % SERVICE)
    folder_with(
        tmp_path / "d",
        record("1.jpg"),
        sent("1.jpg", status="failed", code="refused", wrong="is refused"),
    )
    _, data = page_of(tmp_path / "d", tmp_path / "r.html")
    assert [row[5:7] for row in data["others"]] == [["failed", "is refused"]]


def test_report_lists_images_without_a_position(drive, tmp_path):
    _, data = page_of(drive, tmp_path / "r.html")
    assert data["lost"] == [["lost.jpg", "has no position (give a track)"]]


def test_report_says_how_many_images_of_a_sequence_have_arrived(tmp_path, monkeypatch):
    monkeypatch.setenv("MAPILLARY_GRAPH_API_ENDPOINT", "https://%s/v4" % SERVICE)
    folder_with(tmp_path / "d", record("1.jpg"), record("2.jpg", time=1002.0), sent("1.jpg"))
    _, data = page_of(tmp_path / "d", tmp_path / "r.html")
    assert data["sequences"][0]["sent"] == "1 of 2"


def test_report_joins_a_line_over_the_antimeridian(tmp_path):
    folder_with(
        tmp_path / "d", record("1.jpg", lon=179.9999), record("2.jpg", lon=-179.9999, time=1002.0)
    )
    _, data = page_of(tmp_path / "d", tmp_path / "r.html")
    first, second = (point[2] for point in data["sequences"][0]["points"])
    assert second - first == pytest.approx(0.0002)


@pytest.mark.parametrize("lon", [0.0, -0.1, 11.97, -179.9, 180.0])
def test_report_keeps_longitudes_where_they_are(tmp_path, lon):
    folder_with(tmp_path / "d", record("1.jpg", lon=lon))
    _, data = page_of(tmp_path / "d", tmp_path / "r.html")
    assert data["sequences"][0]["points"][0][2] == pytest.approx(lon)


def test_report_puts_nothing_from_a_file_name_into_the_page_as_markup(tmp_path):
    name = "</script><img src=x onerror=alert(1)>&\"'.jpg"
    if os.name == "nt":
        pytest.skip("Windows has no such names")
    row = record("1.jpg")
    row["image"] = name.replace("/", "∕")
    folder_with(tmp_path / "<b>&d", row)
    text, data = page_of(tmp_path / "<b>&d", tmp_path / "r.html")
    assert (
        "<img" not in text
        and "<b>&d" not in text
        and data["sequences"][0]["points"][0][0] == row["image"]
    )


@pytest.mark.skipif(os.name == "nt", reason="there are no such names")
def test_report_shows_a_name_that_is_not_utf8(tmp_path):
    folder_with(tmp_path / "d", record("caf\udce9.jpg"))
    _, data = page_of(tmp_path / "d", tmp_path / "r.html")
    assert data["sequences"][0]["points"][0][0] == "caf\\udce9.jpg"


def test_report_refers_to_nothing_outside_the_page(drive, tmp_path):
    text, _ = page_of(drive, tmp_path / "r.html")
    assert re.findall(r"https?://[^\"']+", text) == []


def test_report_has_the_same_bytes_when_written_again(drive, tmp_path):
    assert page_of(drive, tmp_path / "r.html") == page_of(drive, tmp_path / "r.html")


def test_report_does_not_overwrite_a_file_of_somebody_else(drive, tmp_path):
    other = tmp_path / "photo.jpg"
    other.write_bytes(b"precious")
    with pytest.raises(mt.CannotWrite):
        write_report(drive, other)
    assert other.read_bytes() == b"precious"


def test_report_of_unprocessed_images_is_not_found(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"")
    with pytest.raises(mt.NotFound, match="no processed images"):
        write_report(tmp_path, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_report_counts_unprocessed_images_as_skipped(drive, tmp_path):
    (drive / "new.jpg").write_bytes(b"")
    report = write_report(drive, tmp_path / "r.html")
    assert (report.found, report.done, report.skipped) == (
        10,
        9,
        {"not_processed": [str(drive / "new.jpg")]},
    )


@pytest.mark.slow
def test_report_of_ten_thousand_images_stays_below_a_megabyte_and_a_half(tmp_path):
    rows = [
        record("IMG_%05d.jpg" % n, lat=57 + n * 1e-5, time=1000.0 + n, sequence="s%d" % (n // 500))
        for n in range(10000)
    ]
    folder_with(tmp_path / "d")
    with mt.Journal(tmp_path / "d") as journal:
        journal.append([line(tmp_path / "d", row) for row in rows])
    write_report(tmp_path / "d", tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < 1500000


def test_report_of_a_real_run_shows_every_image(tmp_path):
    making.drive(tmp_path / "drive", count=3)
    assert (
        mt.main(["process", "--import_path", str(tmp_path / "drive"), "--user_name", "demo"]) == 0
    )
    _, data = page_of(tmp_path / "drive", tmp_path / "r.html")
    assert [len(row["points"]) for row in data["sequences"]] == [3]
