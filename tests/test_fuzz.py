"""Damaged and hostile input: some seconds of tests/fuzz.py for every kind, with a seed of their own; and what it once found."""

import io
import json
import os
import random
import signal
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any, List

import making
import making_logs
import making_tracks
import mapillary_tools as mt
import pytest
from conftest import in_process, run

import fuzz
import fuzz_records
import fuzz_tables
import fuzz_targets
import walker

pytestmark = [in_process, pytest.mark.slow]
SEED = 1
MANY = {"tiff": 5000, "webp": 5000, "jpeg": 3000, "page": 2000, "journal": 500}
MANY.update(kml=700, tcx=600, srt=700, csv=800)
KINDS = fuzz.all_kinds()
needs_clocks = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="no clock that could end a hang"
)


def within(action: Any, seconds: float = 2.0) -> Any:
    """What an action gives, or raises; it takes no longer than that of computing."""
    old = fuzz.SECONDS
    fuzz.SECONDS = seconds
    try:
        with fuzz.watched():
            return action()
    finally:
        fuzz.SECONDS = old


@pytest.mark.parametrize("name", sorted(KINDS))
def test_nothing_breaks(name):
    said: List[str] = []
    done, found = fuzz.fuzz([name], MANY.get(name, 600), SEED, tell=said.append)
    assert done >= 500 and not found, "\n".join(said) + "\n" + "".join(one.told for one in found)


# ---- The fuzzer itself can see


def _kind(check: Any) -> Any:
    return KINDS["list"]._replace(check=check)


def test_an_error_that_may_not_come_out_is_a_failure():
    def check(content: bytes) -> None:
        if b"bad" in content:
            raise KeyError("x")

    failure = fuzz.tried("list", _kind(check), b"12345678bad12345678" * 9)
    assert failure is not None and failure.what.startswith("KeyError in ")
    assert fuzz.smallest(_kind(check), failure).content == b"bad"


@needs_clocks
def test_a_hang_is_a_failure(monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    monkeypatch.setattr(fuzz, "WALL", 0.5)

    def turning(content: bytes) -> None:
        while True:
            pass

    for check in (turning, lambda content: time.sleep(60)):
        failure = fuzz.tried("list", _kind(check), b"")
        assert failure is not None and failure.what.startswith("Slow")


@pytest.mark.skipif(not fuzz.peak(), reason="the system does not tell how much memory there was")
def test_much_memory_is_a_failure(monkeypatch):
    monkeypatch.setattr(fuzz, "BYTES", 50 << 20)
    size = fuzz.peak() + (60 << 20)
    failure = fuzz.tried("list", _kind(lambda content: b"x" * size and None), b"")
    assert failure is not None and failure.what.startswith("more than")


def test_every_kind_has_seeds_that_are_good_and_mutations_that_are_not():
    for name, kind in KINDS.items():
        contents = [content for _, content in fuzz.inputs(name, kind, SEED, 0, 60)]
        seeds = kind.seeds()
        assert contents[: len(seeds)] == seeds and len(set(contents)) > 40, name
        for content in contents[: len(seeds)]:
            assert fuzz.tried(name, kind, content) is None, (name, content[:200])


def test_an_input_is_made_again_by_its_number():
    for name in ("movie", "journal", "jpeg"):
        kind = KINDS[name]
        kind = kind._replace(seeds=lambda made=kind.seeds(): made)
        many = dict(fuzz.inputs(name, kind, 5, 0, 40))
        assert dict(fuzz.inputs(name, kind, 5, 37, 1)) == {37: many[37]}


def test_fields_are_where_lengths_counts_and_offsets_stand():
    photo = KINDS["jpeg"].seeds()[0]
    places = {field[0] for field in KINDS["jpeg"].fields(photo)}
    assert photo.index(b"Exif\0\0") - 2 in places and photo.index(b"\xff\xda") + 2 in places
    movie = KINDS["movie"].seeds()[0]
    places = {field[0] for field in KINDS["movie"].fields(movie)}
    for mark, behind in ((b"stsz", 12), (b"co64", 4), (b"GPS5", 6), (b"moov", -4)):
        assert movie.index(mark) + behind in places, mark
    for name, mark, behind in (
        *(("fit", b".FIT", -4), ("fit", b"\x14\0\x06", 3), ("kmz", b"PK\1\2", 10)),
        *(("insta360", making_logs.INSTA360, -8), ("insta360", making_logs.INSTA360, -44)),
        *(("novatek", b"gps ", 8), ("novatek", b"freeGPS ", 28), ("novatek", b"mvhd", 16)),
    ):
        content = KINDS[name].seeds()[0]
        assert content.index(mark) + behind in {field[0] for field in KINDS[name].fields(content)}


# ---- What it found


def test_a_table_of_quotes_that_open_again_and_again_is_read_in_time(tmp_path):
    """Symptom: each line was read to the end of the table before it was given up: minutes for 500 KB."""
    (tmp_path / "t.csv").write_bytes(b'a","\n' * 20000)
    assert len(within(lambda: mt.read_table(tmp_path / "t.csv"))) > 0


def test_quotes_before_a_timestamp_are_no_riddle(tmp_path):
    """Symptom: the pattern for what stands before a cell tried 2 to the power of its number of ways."""
    row = b'"a,b",' + b'"x",' * 40 + b'"y" z,2024-05-06T00:00:00Z\n'
    (tmp_path / "t.csv").write_bytes(row * 2)
    asked = mt.Interpolation(
        data="identical_timestamps", file_in_path=str(tmp_path / "t.csv"), time_column=43
    )
    options = mt.Options([asked, mt.Table(), mt.Keep(), mt.Dry()])
    assert within(lambda: mt.interpolate_table(options, mt.Ui())).done == 1


POINT = making_tracks.trkpt(1, 2, "2024-05-06T00:00:00Z")


def test_an_attribute_of_megabytes_is_read_in_time(tmp_path):
    """Symptom (F23): expat looked at it anew with every 2 kB that came."""
    point = POINT.replace("<trkpt", '<trkpt x="' + "a" * 8000000 + '"', 1)
    (tmp_path / "a.gpx").write_text(making_tracks.gpx(point), encoding="ascii")
    assert len(within(lambda: mt.read_track(tmp_path / "a.gpx")).points) == 1


def test_default_attributes_do_not_multiply_a_file(tmp_path):
    """Symptom: an attribute of 1 MB that a DTD declares was made anew for each of 300,000 elements: half a minute."""
    text = making_tracks.gpx(POINT, tail="<x/>" * 300000)
    declared = '<!DOCTYPE gpx [<!ATTLIST x y CDATA "' + "a" * 1000000 + '">]>'
    (tmp_path / "a.gpx").write_text(text.replace("<gpx", declared + "<gpx", 1), encoding="ascii")
    with pytest.raises(mt.BadTrack):
        within(lambda: mt.read_track(tmp_path / "a.gpx"))


def test_a_movie_that_claims_2_to_the_32_samples_is_given_up_in_time(tmp_path):
    """Symptom: of samples of one byte each there were as many as bytes in the file: 20 minutes for 300 MB."""
    movie = bytearray(making_tracks.movie([b"x"] * 3, form=b"camm", moov_first=True))
    sizes, runs = movie.index(b"stsz"), movie.index(b"stsc")
    movie[sizes + 8 : sizes + 16] = struct.pack(">II", 1, 0xFFFFFFFF)
    movie[runs + 16 : runs + 20] = struct.pack(">I", 0x7FFFFFFF)
    with open(str(tmp_path / "a.mp4"), "wb") as stream:
        stream.write(movie)
        stream.truncate(30 << 20)
    with pytest.raises(mt.BadTrack):
        within(lambda: mt.read_track(tmp_path / "a.mp4"), 4.0)


def test_an_altitude_below_sea_level_is_written_over_a_reference_of_two_bytes(tmp_path):
    """Symptom: -3.5 m was read back as +3.5 m, because the reference became (1, 1)."""
    more = {"GPS": {5: (making.BYTE, [0, 0]), 6: (making.RATIONAL, (5, 1))}}
    path = making.photo(tmp_path / "a.jpg", lat=1.0, lon=2.0, more=more)
    mt.write_edits(str(path), {"GPS": mt.altitude_edits(-3.5)})
    assert mt.read_found(path).alt == -3.5


@pytest.mark.parametrize("state", [b"[" * 100000, b'{"name":' * 100000, b'{"name":1e999}', b"7"])
def test_a_stand_in_with_a_damaged_state_is_a_new_one(state, tmp_path):
    (tmp_path / mt.STAND_IN_FILE).write_bytes(state)
    assert isinstance(within(lambda: mt.stand_in_name(str(tmp_path))), str)


@pytest.mark.parametrize("length", [str(1 << 70), "-1", "9" * 5000])
def test_a_stand_in_refuses_a_length_that_cannot_be(length, tmp_path):
    """Symptom: OverflowError ended the thread without an answer; -1 waited for the end of the connection."""

    class Asked:
        command, headers = "POST", {"Content-Length": length, "Offset": "0"}

        class rfile:
            @staticmethod
            def read(count: int) -> bytes:
                assert count >= 0, "reads until the connection ends"
                return b"x" * min(count, 10)

    with pytest.raises(ValueError):
        mt._answered(mt.StandIn(str(tmp_path)), "finish_upload", Asked)


@pytest.mark.parametrize("title", ["@DATA@", "@TITLE@", "</title><script>", "a&amp;b"])
def test_the_name_of_a_folder_is_the_title_of_its_page(title, tmp_path):
    """Symptom: the data of the page stood in the title where the folder was named @DATA@."""
    folder = tmp_path / title.replace("/", "_")
    making.drive(folder, count=2)
    assert run("process", "--import_path", folder, "--user_name", "demo").code == 0
    page = tmp_path / "page.html"
    assert run("report", "--import_path", folder, "--output_path", page).code == 0
    parser = fuzz_tables.seen(page.read_text(encoding="utf-8"))
    assert parser.texts["title"] == folder.name and json.loads(parser.texts["scriptdata"])


def _changed_journal(folder: Path, change: Any) -> None:
    """A processed folder whose journal says something else of each photo, and whose photos have changed a little since."""
    making.drive(folder, count=2)
    assert mt.process(mt.Input(str(folder)), mt.User("demo")).done == 2
    journal = folder / mt.STATE_FOLDER / "journal.jsonl"
    head, *lines = [json.loads(text) for text in journal.read_text("ascii").splitlines()]
    for row in lines:
        row.get("written", {})["digest"] = "another"
        change(row)
    texts = [json.dumps(row, separators=(",", ":")) for row in [head, *lines]]
    journal.write_text("\n".join(texts) + "\n", encoding="ascii")
    for path in folder.glob("*.jpg"):
        os.utime(str(path), (1714979289, 1714979289))


def _geotag(**values: Any) -> Any:
    return lambda row: row["steps"].get(mt.GEOTAG, {"data": {}})["data"].update(values)


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row["steps"].pop(mt.GEOTAG, None),
        _geotag(time=1e300),
        _geotag(time=1e12),
        _geotag(lat=1e308),
        _geotag(alt=1e308),
        lambda row: row.update(given={"time": 1e300, "lat": 1.0, "lon": 2.0}),
        lambda row: row.update(given={"lat": 1e308, "lon": 2.0}),
        lambda row: row["found"]["raw"]["0th"].update({"271": "\u2028"}),
    ],
    ids=["no place", "late", "beyond", "far", "high", "given late", "given far", "letters"],
)
def test_a_journal_whose_values_no_run_makes_is_damaged_and_no_traceback(change, tmp_path):
    folder = tmp_path / "p"
    _changed_journal(folder, change)
    for tool in (
        ["process", "--user_name", "demo"],
        ["interpolate", "--data", "missing_gps"],
        ["report", "--output_path", tmp_path / "page.html"],
        ["upload", "--stand_in", tmp_path / "received"],
    ):
        ran = run(tool[0], "--import_path", folder, *tool[1:])
        assert ran.code in (0, 1, 3, 8, 10) and "Traceback" not in ran.stderr, ran


def test_a_number_of_thousands_of_digits_is_a_name_like_any_other(tmp_path):
    """Symptom: ValueError, since Python makes no number of so many digits."""
    (tmp_path / "d.csv").write_text(
        ",".join(mt._LIST_HEADER) + "\n" + "9" * 5000 + "m,1,2,3\n", "utf-8"
    )
    mt.merge_list(str(tmp_path / "d.csv"), {})
    names = ["b" + "0" * 5000 + "2", "b" + "9" * 5000, "b10", "b3"]
    random.Random(1).shuffle(names)
    order = ["b" + "0" * 5000 + "2", "b3", "b10", "b" + "9" * 5000]
    assert sorted(names, key=mt.natural_key) == order


def test_a_count_beyond_the_block_does_not_take_in_what_is_added_behind_it():
    """Symptom: what was added was read as entries of IFD0, which lay over the Exif IFD, and the position was lost."""
    rows = [(0x010E, 2, 10, 74), (0x010F, 2, 10, 84), (0x0110, 2, 4, 0x414141)]
    rows += [(0x8769, 4, 1, 54), (0x8825, 8, 0, 0x70000000)]
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 33)
    block += b"".join(struct.pack("<HHLL", *row) for row in rows) + bytes(200)
    edit = walker.tool_edit(fuzz_targets.PIEXIF.load(b"Exif\0\0" + block))
    told = fuzz_targets.PIEXIF.load(fuzz_targets.PIEXIF.dump(edit))
    assert told["GPS"].get(1) == b"N" and told["GPS"].get(6) == (1234, 100)


@pytest.mark.parametrize(
    "chunk",
    [
        b"VP8L\1\0\0\0/\0",
        b"VP8 \7\0\0\0abc\x9d\x01\x2a\0\0",
        b"VP8 \x0a\0\0\0abc\x9d\x01\x2a\0\0\7\0",
        b"VP8 \x0a\0\0\0abc\x9d\x01\x2a\7\0\0\xc0",
    ],
    ids=["lossless", "lossy", "no width", "no height"],
)
def test_a_webp_without_a_whole_picture_is_no_image(chunk):
    """Symptom: struct.error, which is no ValueError."""
    content = b"RIFF" + struct.pack("<L", 4 + len(chunk)) + b"WEBP" + chunk
    with pytest.raises((ValueError, OSError)):
        fuzz_targets.PIEXIF.insert(b"Exif\0\0" + walker.camera(), content, io.BytesIO())


@pytest.mark.parametrize("place", [[10**400, 1], [1], 7, ["x", "y"], [None, None], {"0": 1}])
def test_a_place_that_is_none_costs_the_image_its_place_only(place):
    """Symptom: OverflowError ended download_images for a coordinate of 400 digits."""
    row = {"id": "1", "geometry": {"coordinates": place}, "captured_at": 10**400, "a": "http://x"}
    assert mt._shot(row, "a") == mt.Shot("http://x", "", "", "")


@pytest.mark.parametrize(
    "cell",
    ["\0", "x" * 200000, '"' + "x" * 200000 + '"', '"a"b"', '"a'],
    ids=["NUL", "long", "long quoted", "quotes", "open"],
)
def test_a_list_of_downloads_that_is_no_table_is_one_line(cell, tmp_path):
    """Symptom: csv.Error, for a NUL (before Python 3.11) and for a cell of more than 128 kB."""
    path = tmp_path / "downloaded.csv"
    path.write_text(",".join(mt._LIST_HEADER) + "\n" + cell + ",1,2,3\n", encoding="ascii")
    try:
        mt.merge_list(str(path), {})
    except mt.CannotWrite as error:
        assert "is not the list of a download" in str(error)


@pytest.mark.parametrize(
    "spelled",
    [
        "MLY|77|fuzzed-secret",
        "MLY\\u007c77\\u007cfuzzed-secret",
        "\\u004dLY|77|fuzzed-secret",
        "MLY%7C77%7Cfuzzed-secret",
    ],
)
def test_a_secret_is_masked_however_the_service_spells_it(spelled):
    """Symptom (F6): only the bytes as we sent them were masked; a JSON escape was told as the token itself."""
    body = '{"error":{"error_user_msg":"bad ' + spelled + '","message":"' + spelled + '"}}'
    head = f"HTTP/1.1 400 Bad\r\nContent-Length: {len(body)}\r\n\r\n"
    fuzz_records.check_answer((head + body).encode("ascii"))


def test_a_secret_in_the_status_line_is_not_told():
    """Symptom (F6): http.client puts the line that it cannot understand into its error, and that was told."""
    fuzz_records.check_answer(b"HTTP/1.1 4xx bad token MLY|77|fuzzed-secret\r\n\r\n")


# ---- What it found in the logs of cameras and receivers

RIDE = making_logs.RIDE


def _read(folder: Path, content: bytes, seconds: float = 2.0) -> mt.Track:
    path = folder / "a.log"
    path.write_bytes(content)
    with fuzz_targets.alone():
        return within(lambda: mt.read_track(path), seconds)


@pytest.mark.parametrize("place", [4, 9], ids=["its properties", "its content"])
def test_a_kmz_with_damaged_lzma_is_a_damaged_archive(place, tmp_path):
    """Symptom: LZMAError, which is an Exception and nothing else."""
    content = fuzz_targets.zipped(zipfile.ZIP_LZMA, ("doc.kml", making_logs.kml().encode()))
    if content[8] != zipfile.ZIP_LZMA:
        pytest.skip("this Python has no lzma")
    at = content.index(b"doc.kml") + 7 + place
    with pytest.raises(mt.BadTrack, match="cannot be unpacked"):
        _read(tmp_path, content[:at] + b"\xff" + content[at + 1 :])


@pytest.mark.parametrize("place", [32, 36], ids=["month", "day"])
def test_a_dashcam_with_a_date_beyond_all_numbers_has_an_odd_block(place, tmp_path):
    """Symptom: OverflowError, which is no ValueError, from datetime.date."""
    blocks = [bytearray(making_logs.free_gps(point, size=0x80)) for point in RIDE]
    struct.pack_into("<I", blocks[1], place, 0xFFFFFFFF)
    track = _read(tmp_path, making_logs.novatek([bytes(block) for block in blocks]))
    assert len(track.points) == len(RIDE) - 1 and "1 GPS blocks" in track.notes[0]


@pytest.mark.parametrize("start", ["nan", "x", "1e400", "-inf"])
def test_a_sample_time_of_exiftool_that_is_no_number_is_not_told(start):
    """Symptom: the begin of the video was NaN, or its pace went to infinity."""
    for seed in fuzz_targets.heard_seeds():
        for number in (b"0", b"1", b"0.0", b"0.1"):
            old = b"SampleTime>" + number + b"<"
            fuzz_targets.check_heard(seed.replace(old, b"SampleTime>" + start.encode() + b"<"))


def test_videos_that_exiftool_tells_are_read_beside_one_whose_clock_stood_still():
    """Symptom: BadTrack for the one ended the run for all of them."""
    fuzz_targets.check_heard(fuzz_targets.heard_seeds()[-1])


@pytest.mark.parametrize("toolkit", [b"", b" ", b"Image::ExifTool x"])
def test_an_exiftool_without_a_version_raises_nothing_odd(toolkit):
    """Symptom: IndexError where the attribute is blank."""
    seed = fuzz_targets.heard_seeds()[0]
    fuzz_targets.check_heard(seed.replace(b"Image::ExifTool 12.76", toolkit))


@pytest.mark.parametrize(
    "table",
    [
        b"lat,lon,time," + b"(" * 30000 + b"\n1,2,2024-05-31T12:00:00Z,\n",
        b"lat,lon,time\n1" + b" " * 30000 + b"x,2,2024-05-31T12:00:00Z\n",
        b'date,time,lat,lon\n2024-05-31,"12:00' + b" " * 30000 + b'x\ny",1,2\n',
        b'date,time,lat,lon\n2024-05-31,"12:00.' + b"1" * 30000 + b'x\ny",1,2\n',
    ],
    ids=["brackets", "blanks in a place", "blanks in a time", "digits in a time"],
)
def test_a_cell_of_30_kB_is_read_in_time(table, tmp_path):
    """Symptom: the time went with the square of the length: 10 s for 30 kB, hours for 1 MB."""
    try:
        _read(tmp_path, table)
    except mt.BadTrack as error:
        assert "\n" not in str(error)


def test_a_table_behind_a_mark_and_an_empty_line_has_its_delimiter(tmp_path):
    """Symptom: UsageError `is no delimiter`: the line of the mark was taken for that of the headings."""
    text = "\n" + making_logs.csv_log(RIDE, delimiter=";")
    assert len(_read(tmp_path, text.encode("utf-8-sig")).points) == len(RIDE)


def test_files_of_fit_within_each_other_are_read_in_time(tmp_path):
    """Symptom: a header every 12 bytes, each with a definition of 255 fields that lie in the next ones: 3 s a MB."""
    with pytest.raises(mt.BadTrack):
        _read(tmp_path, (bytes([9, 0, 255, 0, 1, 0, 0, 0]) + b".FIT") * 87000)


def test_messages_of_fit_without_fields_do_not_multiply_a_file(tmp_path):
    """Symptom: a record of one byte, its head, became a dictionary of 260."""
    fit = making_logs.fit_started(RIDE).define(3, making_logs.RECORD, [])
    content = fit.raw(bytes(0x80 | 3 << 5 | second & 31 for second in range(200000))).file(
        crc=False
    )
    tracemalloc.start()
    try:
        assert len(_read(tmp_path, content, 30.0).points) == len(RIDE)
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()


def test_a_trailer_of_empty_records_is_given_up_in_time(tmp_path):
    """Symptom: each six zeros are a record, which was read by itself, to the begin of the file: 1 s a MB."""
    trailer = making_logs.insta360_trailer([], length=0xFFFFFFFF)
    with pytest.raises(mt.BadTrack):
        _read(tmp_path, making_tracks.movie() + bytes(6 << 20) + trailer)
