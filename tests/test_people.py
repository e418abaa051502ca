"""What people type, and what they are told: each test bears the number of its row in the list of what new users met."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, List

import making
import pytest
from conftest import ROOT, in_process, run, told
from service import CLIENT_TOKEN, Service

import mapillary_tools as mt

USER = ("--user_name", "demo")


def said(*argv: Any, code: int = 2) -> str:
    """The one line that a command ends with."""
    ran = run(*argv)
    lines = ran.stderr.splitlines()
    assert ran.code == code and "Traceback" not in ran.stderr, ran
    assert lines and lines[-1].startswith("mapillary_tools: "), ran
    return lines[-1][len("mapillary_tools: ") :]


@pytest.fixture
def card(tmp_path: Path) -> Path:
    making.drive(tmp_path / "card", 3)
    return tmp_path / "card"


# ---- tools and options that are not quite right --------------------------------------------------


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["proces"], "there is no tool 'proces' (did you mean process?"),
        (["Upload", "--import_path", "x"], "there is no tool 'Upload' (did you mean upload?"),
        (["zip"], "upload sends the photos as they are"),
        (["gui"], "report makes a page"),
        (["qwertz"], "--advanced -h lists all tools"),
    ],
)
def test_row_18_the_misspelt_tool_is_named_first(words: List[str], wanted: str):
    line = said(*words)
    assert wanted in line and len(line) < 200


@pytest.mark.parametrize("word", ["help", "version"])
def test_row_18_help_and_version_work(word: str):
    ran = run(word)
    assert ran.code == 0 and ("usage" in ran.stdout or mt.__version__ in ran.stdout)


def test_row_18_a_misspelt_option_goes_before_those_that_are_missing(card: Path):
    line = said("process", "--user", "x", "--import_path", card)
    assert "there is no such option: --user (did you mean --user_name?" in line
    line = said("process", "--importpath", card, *USER)
    assert "did you mean --import_path?" in line


def test_row_18_what_is_missing_is_named_with_how_to_give_it():
    line = said("process")
    assert "--import_path and --user_name are missing" in line
    assert "add --import_path FOLDER --user_name NAME" in line


def test_row_19_only_what_the_tool_takes_is_proposed():
    line = said("process", "--video_pat", "x")
    assert "--video_path?" not in line


@pytest.mark.parametrize("flags", [["--verbose"], ["--json"], ["--quiet", "--json"]])
def test_row_19_flags_may_stand_before_the_tool(card: Path, flags: List[str]):
    assert run(*flags, "process", "--import_path", card, *USER, "--dry_run").code == 0


def test_row_20_a_path_with_a_blank(card: Path):
    line = said("process", "--import_path", card, "Photos", *USER)
    assert "'Photos' belongs to no option (put quotes around a path that has blanks" in line


def test_row_20_a_file_instead_of_its_folder(card: Path):
    line = said("process", card / "0001.jpg", *USER)
    assert f"process the folder that it is in: {card}" in line
    line = said("process", "--import_path", card / "0001.jpg", *USER, code=3)
    assert f"give --import_path the folder it is in: {card}" in line


def test_row_21_a_backslash_before_the_quote():
    line = said("process", "--import_path", 'C:\\Photos" --user_name demo')
    assert "leave out the backslash at its end" in line


@pytest.mark.parametrize(
    "option, value, wanted",
    [
        ("--offset_time", "1:30", "a number of seconds: 1:30 (for example --offset_time 90)"),
        ("--offset_time", "1:00:10", "--offset_time 3610)"),
        (
            "--cutoff_distance",
            "100m",
            "a number of metres: 100m (for example --cutoff_distance 100)",
        ),
        ("--offset_angle", "left", "(for example --offset_angle -90)"),
        ("--offset_angle", "rear", "(for example --offset_angle 180)"),
        ("--max_gap", "2,5", "(for example --max_gap 2.5)"),
        ("--max_gap", "never", "(for example --max_gap 90)"),
        ("--workers", "two", "a whole number: two (for example --workers 4)"),
        ("--geotag_source", "gps", "(did you mean gpx?)"),
        ("--geotag_source", "native", "(did you mean exif?)"),
        ("--geotag_source", "GoPro_Vide", "(did you mean gopro_video?)"),
        ("--orientation", "45", "must be one of 0, 90, 180, 270: 45"),
    ],
)
def test_row_22_a_refused_value_says_unit_and_example(
    card: Path, option: str, value: str, wanted: str
):
    assert wanted in said("process", "--import_path", card, *USER, option, value)


@pytest.mark.parametrize("zone", ["2", "+2", "+0200", "UTC+2", "+02:00", "GMT+2", "utc+02:00"])
def test_row_23_zones_in_all_spellings(card: Path, zone: str):
    ran = run("process", "--import_path", card, *USER, "--timezone", zone, "--dry_run")
    assert ran.code == 0 and "zone +02:00 from --timezone" in ran.stderr, ran


def test_row_23_names_are_trimmed_and_addresses_refused(card: Path):
    run("process", "--import_path", card, "--user_name", " vol ")
    exif = mt.piexif().load((card / "0001.jpg").read_bytes())
    assert b'"MAPSettingsUsername":"vol"' in exif["0th"][0x010E]
    line = said("process", "--import_path", card, "--user_name", "anna@example.org")
    assert "is an e-mail address" in line and "Mapillary profile" in line


def test_row_24_a_video_instead_of_a_folder_names_its_tool(tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    line = said("process", "--import_path", tmp_path / "a.mp4", *USER, code=3)
    assert "video_process --video_path" in line
    line = said("process", "--import_path", "nope", *USER, code=3)
    assert line.startswith("nope: there is no such file or folder")


def test_row_25_a_track_that_is_missing_is_told_first(card: Path):
    words = ("--geotag_source", "gpx", "--geotag_source_path", "nope.gpx")
    ran = run("process", "--import_path", card, *USER, *words)
    assert ran.code == 3 and len(ran.stderr.splitlines()) == 1 and "nope.gpx" in ran.stderr
    assert not (card / ".mapillary").exists()


def test_row_40_folders_need_no_option(card: Path, tmp_path: Path):
    making.drive(tmp_path / "b", 2, lat=10.0)
    row = told("process", card, tmp_path / "b", *USER)
    assert (row["exit_code"], row["done"]) == (0, 5)


def test_row_40_upload_takes_the_user_and_refuses_another(card: Path, tmp_path: Path):
    run("process", card, *USER)
    words = ("--stand_in", tmp_path / "received")
    assert "processed for demo" in said("upload", card, "--user_name", "other", *words)
    assert run("upload", card, *USER, *words).code == 0


@pytest.mark.parametrize(
    "option, wanted",
    [
        ("--filetypes", "told by their content"),
        ("--num_processes", "--workers"),
        ("--num_upload_workers", "NUMBER_THREADS"),
        ("--skip_process_errors", "never stops the others"),
        ("--interpolation_offset_time", "--offset_time"),
    ],
)
def test_row_41_words_of_other_tools_have_ours_beside(card: Path, option: str, wanted: str):
    assert wanted in said("process", "--import_path", card, *USER, option, "1")


# ---- many folders --------------------------------------------------------------------------------


def test_row_34_folders_of_a_list_are_one_run(tmp_path: Path):
    names = [tmp_path / f"drive {n}" for n in range(3)]
    for n, folder in enumerate(names):
        making.drive(folder, 2, lat=10.0 + n, start=f"2024:05:0{n + 1} 07:08:09")
    (tmp_path / "list.txt").write_text("\n".join(map(str, names)) + "\n\n", encoding="utf-8")
    every = ("--import_path", f"@{tmp_path / 'list.txt'}")
    row = told("process", *every, *USER)
    assert (row["exit_code"], row["done"], row["sequences"]) == (0, 6, 3)
    assert told("upload", *every, "--stand_in", tmp_path / "received")["done"] == 6
    assert len(told("status", *every)["folders"]) == 3
    page = tmp_path / "page.html"
    assert run("report", *every, "--output_path", page).code == 0
    assert all(f"drive {n}" in page.read_text("utf-8") for n in range(3))


def test_row_34_one_that_is_missing_holds_no_other_back(card: Path):
    row = told("process", "--import_path", card, "--import_path", "nope", *USER)
    assert (row["exit_code"], row["done"]) == (1, 3)
    assert [one["file"] for one in row["trouble"]] == ["nope"]


def test_row_34_a_folder_named_twice_counts_once(card: Path):
    row = told("process", card, card, card.parent, *USER)
    assert (row["exit_code"], row["found"]) == (0, 3)


@pytest.mark.skipif(os.name != "posix", reason="links need a right on Windows")
def test_row_34_a_folder_below_a_link_counts_once(tmp_path: Path):
    """Symptom: each photo is found twice, and the folder "is being worked on by another run"."""
    making.drive(tmp_path / "real" / "card", 3)
    (tmp_path / "link").symlink_to("real")
    both = [tmp_path / place / "card" for place in ("real", "link")]
    for tool in (("process", *USER), ("status",)):
        assert told(tool[0], *both, *tool[1:])["found"] == 3, tool


def test_row_34_a_list_that_is_missing_is_said():
    assert "a list has one folder a line" in said(
        "process", "--import_path", "@nope", *USER, code=3
    )


def test_tools_that_take_one_folder_say_so(tmp_path: Path):
    words = ("--import_path", "a", "--import_path", "b", "--video_path", "v")
    assert "takes one --import_path" in said("sample_video", *words)


# ---- the summary ---------------------------------------------------------------------------------


def test_row_8_one_line_a_cause(tmp_path: Path):
    making.drive(tmp_path / "card", 2)
    for n in range(60):
        making.photo(tmp_path / "card" / f"x{n:02d}.jpg", time=f"2024:05:06 08:00:{n:02d}")
    ran = run("process", "--import_path", tmp_path / "card", *USER)
    lines = ran.stdout.splitlines()
    assert ran.code == 1 and len(lines) <= 12
    assert any(line.startswith("  failed 60: has no position") for line in lines), ran.stdout
    assert "x00.jpg, x01.jpg, x02.jpg ..." in ran.stdout and "status --list failed" in ran.stdout
    ran = run("process", "--import_path", tmp_path / "card", *USER, "--rerun", "--verbose")
    assert ran.stdout.count("has no position") == 60
    assert (
        len(told("process", "--import_path", tmp_path / "card", *USER, "--rerun")["failed"]) == 60
    )


def test_row_8_values_of_one_cause_are_a_range():
    problems = [
        mt.Problem("outside_track", "is outside", f"{n}.jpg", f"{n}.5 s away") for n in range(9)
    ]
    lines = mt.cause_lines(problems, False)
    assert lines[0] == "  failed 9: is outside: 0.5 to 8.5 s away"


def test_row_17_the_last_line_is_the_next_command(card: Path, tmp_path: Path):
    ran = run("process", "--import_path", card, *USER)
    assert ran.stdout.splitlines()[-1].endswith("mapillary_tools.py authenticate --user_name demo")
    assert "no stored credentials" not in ran.stderr
    assert ran.stdout.count("no stored credentials for demo") == 1
    assert "1 camera, 1 sequence, 0.0 km" in ran.stdout and "took " in ran.stdout


@pytest.mark.parametrize("name", ["a b", "plain"])
def test_row_17_it_can_be_pasted(tmp_path: Path, name: str):
    making.drive(tmp_path / name, 2)
    words = ["process", "--import_path", str(tmp_path / name), *USER, "--dry_run"]
    last = run(words).stdout.splitlines()[-1]
    assert last.startswith("next: ") and "--dry_run" not in last
    code = subprocess.call(
        last[len("next: ") :], shell=True, cwd=str(ROOT), stdout=subprocess.DEVNULL
    )
    assert code == 0


def test_row_16_plurals_are_right():
    assert (mt.plural(1, "camera"), mt.plural(2, "camera")) == ("1 camera", "2 cameras")


def test_row_51_an_offset_says_in_which_direction_it_counts(card: Path):
    ran = run("process", "--import_path", card, *USER, "--offset_time", "10")
    wanted = "10 s subtracted: 2024-05-06T07:08:09.000Z becomes 2024-05-06T07:07:59.000Z"
    assert wanted in ran.stderr


# ---- for programs --------------------------------------------------------------------------------


def checked(row: Any) -> None:
    """The row is as the schema says."""
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(row, mt.json_schema())


def test_row_26_one_schema_for_every_tool(card: Path, tmp_path: Path):
    assert json.loads(run("--json_schema").stdout) == json.loads(json.dumps(mt.json_schema()))
    base = ("--import_path", card)
    for words in (
        ("process", *base, *USER),
        ("upload", *base, "--stand_in", tmp_path / "received"),
        ("process_and_upload", *base, *USER, "--stand_in", tmp_path / "received"),
        ("status", *base),
        ("status", *base, "--image", "0001.jpg"),
        ("report", *base, "--output_path", tmp_path / "r.html"),
        ("export", *base, "--output_path", tmp_path / "e.csv"),
        ("restore", *base),
        ("interpolate", "--data", "missing_gps", *base),
        ("authenticate", "--list"),
        ("process", "--import_path", "nope", *USER),
        ("proces",),
        ("process", *base, *USER, "--timezone", "nowhere"),
    ):
        ran = run(*words, "--json")
        row = json.loads(ran.stdout)
        checked(row)
        assert row["exit_code"] == ran.code and row["version"] == mt.__version__, words


def test_row_27_codes_are_stable_and_have_words_beside(card: Path):
    (card / "a.heic").write_bytes(b"x")
    run("process", "--import_path", card, *USER)
    row = told("process", "--import_path", card, *USER)
    assert row["skipped"] == {"already_processed": 3, "heic": 1}
    assert row["words"]["heic"].startswith("HEIC")
    assert all(code == code.lower() and " " not in code for code in mt.SKIP_WORDS)


def test_row_28_whether_the_card_may_be_wiped(card: Path, service: Service):
    run("process", "--import_path", card, *USER)
    assert told("status", "--import_path", card)["safe_to_delete"] is False
    assert told("upload", "--import_path", card, "--dry_run")["safe_to_delete"] is None
    assert told("upload", "--import_path", card)["safe_to_delete"] is True
    assert told("status", "--import_path", card)["safe_to_delete"] is True
    (card / "b.heic").write_bytes(b"x")
    assert told("upload", "--import_path", card)["safe_to_delete"] is False
    assert told("process", "--import_path", card, *USER)["safe_to_delete"] is None


def test_row_28_a_stand_in_makes_nothing_safe(card: Path, tmp_path: Path):
    run("process", "--import_path", card, *USER)
    row = told("upload", "--import_path", card, "--stand_in", tmp_path / "received")
    assert row["done"] == 3 and row["safe_to_delete"] is False


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_row_29_a_signal_ends_a_run_with_its_numbers(tmp_path: Path, name: str, as_json: bool):
    making.drive(tmp_path / "card", 400)
    words = ["process", "--import_path", str(tmp_path / "card"), *USER, "--workers", "1"]
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "mapillary_tools.py"), *words, *(["--json"] * as_json)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    journal = tmp_path / "card" / ".mapillary" / "journal.jsonl"
    while not journal.exists() and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(getattr(signal, name))
    start = time.monotonic()
    out, err = child.communicate(timeout=30)
    assert time.monotonic() - start < 20
    assert child.returncode == 128 + getattr(signal, name), err
    assert b"Traceback" not in err and b"interrupted while " in err and b" of 400" in err
    if as_json:
        row = json.loads(out)
        checked(row)
        assert row["stopped"]["code"] == "interrupted" and row["exit_code"] == child.returncode
        assert row["interrupted_at"] + row["left"] == 400


def test_row_31_a_folder_in_use_has_its_own_code(card: Path):
    with mt.Journal(card):
        ran = run("process", "--import_path", card, *USER)
        assert ran.code == 75 and "--wait SECONDS" in ran.stderr
        row = told("process", "--import_path", card, *USER)
        assert (row["exit_code"], row["stopped"]["code"]) == (75, "in_use")
        start = time.monotonic()
        assert run("process", "--import_path", card, *USER, "--wait", "0.5").code == 75
        assert time.monotonic() - start >= 0.5


def test_row_31_a_run_waits_for_another(card: Path):
    import threading

    held = mt.Journal(card).__enter__()
    threading.Timer(0.5, lambda: held.__exit__()).start()
    assert run("process", "--import_path", card, *USER, "--wait", "20").code == 0


def test_row_32_quiet_says_nothing_where_all_went_well(card: Path, tmp_path: Path):
    ran = run("process", "--import_path", card, *USER, "--quiet")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")
    making.photo(card / "lost.jpg", time="2024:05:06 07:08:09")
    ran = run("process", "--import_path", card, *USER, "--quiet")
    assert ran.code == 1 and "has no position" in ran.stdout and "capture times" in ran.stderr
    ran = run("process", "--import_path", card, *USER, "--quiet", "--json")
    assert ran.stderr == "" and json.loads(ran.stdout)["exit_code"] == 1
    ran = run("process", "--import_path", "nope", *USER, "--quiet", "--json")
    assert ran.stderr == "" and json.loads(ran.stdout)["exit_code"] == 3
    ran = run("process", "--import_path", "nope", *USER, "--quiet")
    assert ran.code == 3 and "nope" in ran.stderr


def test_row_32_what_was_asked_for_is_never_silenced(card: Path):
    run("process", "--import_path", card, *USER)
    assert "3 found" in run("status", "--import_path", card, "--quiet").stdout
    ran = run("export", "--import_path", card, "--output_path", "-", "--quiet")
    assert len(json.loads(ran.stdout)) == 3


@in_process
def test_row_35_every_tool_and_group_is_public():
    for tool in mt.TOOLS.values():
        assert tool.name in mt.__all__
        for kind in tool.groups:
            assert kind.__name__ in mt.__all__, kind


@in_process
def test_row_56_every_photo_of_a_run(card: Path):
    making.photo(card / "lost.jpg", time="2024:05:06 07:08:09")
    report = mt.process(mt.Input(import_path=str(card)), mt.User(user_name="demo"))
    by_name = {image.path.name: image for image in report.images}
    assert len(by_name) == 4 and by_name["0002.jpg"].fix.lat == pytest.approx(57.7001)
    assert by_name["0002.jpg"].sequence and by_name["lost.jpg"].problem.code == "no_position"


# ---- accounts ------------------------------------------------------------------------------------


def stored(home: Path, *names: str) -> None:
    text = "".join(f"[{name}]\nuser_upload_token = MLY|{name}|secret\n\n" for name in names)
    (home / "config").write_text(text, "utf-8")
    (home / "config").chmod(0o600)


def test_row_44_accounts_are_listed_and_forgotten(own_home: Path):
    stored(own_home, "anna", "bert")
    row = told("authenticate", "--list")
    assert row["accounts"] == ["anna", "bert"] and "secret" not in json.dumps(row)
    ran = run("authenticate", "--list")
    assert "anna" in ran.stdout and "secret" not in ran.stdout
    assert run("authenticate", "--delete", "--user_name", "anna").code == 0
    assert told("authenticate", "--list")["accounts"] == ["bert"]
    assert "stored: bert" in said("authenticate", "--delete", "--user_name", "anna")


def test_row_52_a_token_of_another_account_is_refused(service: Service):
    from service import TOKEN

    words = ("--user_name", "other", "--user_access_token", TOKEN)
    line = said("authenticate", *words, code=9)
    assert "this token belongs to demo, not to other" in line and TOKEN not in line


def test_row_54_what_a_client_token_is_and_a_wrong_password(own_home: Path, monkeypatch: Any):
    words = ("authenticate", "--user_name", "demo", "--user_email", "a@example.org")
    words += ("--user_password", "wrong password")
    line = said(*words)
    assert "which program asks" in line and "/dashboard/developers" in line
    assert "MAPILLARY_CLIENT_TOKEN=" in line and "--user_access_token TOKEN" in line
    with Service() as service:
        for name, value in service.environment(own_home / "config").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MAPILLARY_CLIENT_TOKEN", CLIENT_TOKEN)
        line = said(*words, "--force_overwrite", code=9)
    assert "The password that you have entered is incorrect." in line
    assert "check e-mail and password" in line and "wrong password" not in line


def test_row_53_a_typo_in_the_name_is_answered_with_the_stored_one(card: Path, own_home: Path):
    stored(own_home, "anna")
    run("process", "--import_path", card, "--user_name", "ana")
    line = said("upload", "--import_path", card, code=9)
    assert "stored: anna. Did you mean anna? process with --user_name anna" in line


# ---- a folder in use within a tree ---------------------------------------------------------------


def test_row_55_a_folder_in_use_costs_only_itself(tmp_path: Path):
    making.drive(tmp_path / "card" / "a", 5)
    making.drive(tmp_path / "card" / "b", 5, lat=10.0)
    with mt.Journal(tmp_path / "card" / "b"):
        ran = run("process", "--import_path", tmp_path / "card", *USER)
        row = told("process", "--import_path", tmp_path / "card", *USER, "--rerun")
    assert ran.code == 75 and ran.stdout.count("is being worked on") == 1
    assert (row["done"], row["failed"], row["skipped"]) == (5, [], {"in_use": 5})
    (problem,) = row["trouble"]
    assert (problem["code"], problem["value"]) == ("in_use", "5 images")
    assert problem["file"] == str(tmp_path / "card" / "b")
    making.photo(tmp_path / "card" / "a" / "x.jpg", time="2024:05:06 07:08:09")  # fails by itself
    with mt.Journal(tmp_path / "card" / "b"):
        assert run("process", "--import_path", tmp_path / "card", *USER).code == 1


# ---- copies without their journal ----------------------------------------------------------------


def test_row_4_nothing_is_added_twice_to_copies_without_their_journal(card: Path, tmp_path: Path):
    import shutil

    making.drive(tmp_path / "c", 3, heading=lambda n: 30.0 * n)
    card = tmp_path / "c"
    words = (*USER, "--offset_angle", "90", "--offset_time", "10")
    headings, times = [], []
    for n in range(4):
        ran = run("process", "--import_path", card, *words)
        assert ran.code == 0 and ("no shift or angle is added again" in ran.stderr) == (n > 0)
        rows = [making.description(path.read_bytes()) for path in sorted(card.glob("*.jpg"))]
        headings.append([row["MAPCompassHeading"]["TrueHeading"] for row in rows])
        times.append([row["MAPCaptureTime"] for row in rows])
        shutil.copytree(str(card), str(tmp_path / f"c{n}"), ignore=shutil.ignore_patterns(".m*"))
        card = tmp_path / f"c{n}"
    assert headings == [[90.0, 120.0, 150.0]] * 4
    assert times == [times[0]] * 4 and times[0][0] == "2024_05_06_07_07_59_000"


# ---- a second walk ---------------------------------------------------------------------------------


def test_row_1_the_zone_of_some_is_no_reason_to_throw_the_others_out(tmp_path: Path):
    track = making.gpx(
        [(1714979289.0 + s, 57.7 + s * 5e-5, 11.97) for s in range(300)], tmp_path / "t.gpx"
    )
    folder = tmp_path / "card"
    folder.mkdir()
    for n in range(30):
        minutes, rest = divmod(9 + 3 * n, 60)
        time = f"2024:05:06 09:{8 + minutes:02d}:{rest:02d}"
        making.photo(folder / f"{n:02d}.jpg", time=time, offset="+02:00" if n < 4 else None)
    words = ("--geotag_source", "gpx", "--geotag_source_path", track)
    row = told("process", "--import_path", folder, *USER, *words)
    assert row["done"] == 30 and "zone +02:00 by the track" in str(row["notes"])
    making.photo(folder / "late.jpg", time="2024:05:06 23:08:09")  # no zone puts all on the track
    row = told("process", "--import_path", folder, *USER, *words)
    assert "--timezone +02:00 they would meet: 30 of 31" in str(row["notes"]), row["notes"]


def test_row_2_all_that_fail_for_one_cause_are_told_with_its_exit_code(tmp_path: Path):
    for n in range(5):
        making.photo(tmp_path / f"{n}.jpg", time=f"2024:05:06 07:08:0{n}")
    row = told("process_and_upload", "--import_path", tmp_path, *USER, "--stand_in", tmp_path / "r")
    assert row["exit_code"] == 8 and "5 of 5 images could not be placed" in row["stopped"]["wrong"]
    assert "accept_failed" not in row["stopped"]["remedy"]
    row = told("process", "--import_path", tmp_path, *USER)
    assert row["next"][0] == "status"


def test_row_8_and_39_lists_name_all(tmp_path: Path):
    making.drive(tmp_path / "a", 3)
    for n in range(20):
        making.photo(tmp_path / f"x{n:02d}.jpg", time="2024:05:06 07:08:09")
    run("process", "--import_path", tmp_path, *USER)
    said = run("status", "--import_path", tmp_path, "--list", "failed").stdout
    assert (
        said.count("has no position") == 20 and "status --list failed" not in said.split("next:")[0]
    )
    for words in (["--list"], ["--list", "--verbose"]):
        lines = run("status", "--import_path", tmp_path, *words).stdout.split("\n")
        assert len(lines) == 24 and all(not line or Path(line).is_file() for line in lines)
    lines = run("status", "--list", tmp_path).stdout.split("\n")
    assert len(lines) == 24
    folders = [line for line in run("status", tmp_path).stdout.split("\n") if " images = " in line]
    assert folders[0].startswith("  .: 20 images = 20 failed") and folders[1].startswith("  a: 3")


def test_row_9_kilometres_of_cameras_that_take_turns(tmp_path: Path):
    making.drive(tmp_path, 20, seconds=1.0, make=lambda n: "AB"[n % 2])
    row = told("process", "--import_path", tmp_path, *USER)
    assert row["sequences"] == 2 and row["kilometres"] == pytest.approx(2 * 18 * 0.01113, rel=0.02)


def test_row_18_a_folder_that_is_not_there_is_called_so(tmp_path: Path):
    for words in (
        ["process", "nope", *USER],
        ["upload", str(tmp_path / "x.zip")],
        ["status", "nope"],
    ):
        ran = run(*words)
        assert ran.code == 3 and "there is no such file or folder" in ran.stderr, ran


def test_row_10_the_page_of_a_run_claims_no_upload(tmp_path: Path):
    making.drive(tmp_path / "card", 4)
    for more in (("--dry_run",), ()):
        page = tmp_path / "page.html"
        run("process", "--import_path", tmp_path / "card", *USER, *more, "--report", page)
        first = run(
            "report", "--import_path", tmp_path / "card", "--output_path", tmp_path / "r.html"
        )
        assert first.code == (3 if more else 0)
        text = page.read_text(encoding="utf-8")
        assert '"sent":"0 of 4"' in text and '"sent":"4 of 4"' not in text


def test_row_10_the_page_of_a_run_shows_what_report_shows(card: Path, tmp_path: Path):
    """Also of photos whose upload failed, or was broken off."""
    words = ("--import_path", card)
    run("process", *words, *USER)
    service, problem = mt.service_name(mt.graph_root()), mt.Problem("refused", "was not taken")
    with mt.Journal(card) as journal:
        journal.append([mt.Sent("0001.jpg", service, "failed", problem=problem)])
        journal.append([mt.Sent("0002.jpg", service, "started")])
    run("process", *words, *USER, "--report", tmp_path / "run.html")
    run("report", *words, "--output_path", tmp_path / "report.html")
    pages = [(tmp_path / name).read_text("utf-8") for name in ("run.html", "report.html")]
    assert pages[0] == pages[1] and "was not taken" in pages[0]


def test_row_25_a_page_that_could_not_be_written_is_refused_first(card: Path, tmp_path: Path):
    before = (card / "0001.jpg").read_bytes()
    for tool in ("process", "process_and_upload"):
        ran = run(tool, "--import_path", card, *USER, "--report", tmp_path / "nodir" / "x.html")
        assert ran.code == 11 and "no such folder" in ran.stderr
    (tmp_path / "mine.html").write_text("<html>mine</html>", "utf-8")
    ran = run("process", "--import_path", card, *USER, "--report", tmp_path / "mine.html")
    assert ran.code == 11 and "was not written by report" in ran.stderr
    assert (card / "0001.jpg").read_bytes() == before


@pytest.mark.parametrize(
    "option, typed, example",
    [
        ("--cutoff_distance", "1km", "1000"),
        ("--cutoff_time", "1min", "60"),
        ("--cutoff_time", "1:30", "90"),
        ("--max_gap", "2 h", "7200"),
        ("--workers", "1.5", "1"),
        ("--offset_angle", "left", "-90"),
    ],
)
def test_row_22_examples_are_right_and_accepted(card: Path, option: str, typed: str, example: str):
    ran = run("process", "--import_path", card, *USER, option, typed)
    assert ran.code == 2 and f"for example {option} {example})" in ran.stderr, ran.stderr
    more = ("--geotag_source", "photos") if option == "--max_gap" else ()
    assert (
        run("process", "--import_path", card, *USER, option, example, *more, "--dry_run").code != 2
    )


def test_row_41_names_of_other_tools_are_answered(card: Path):
    for words in (["--rotate_images"], ["--overwrite_EXIF_time_tag"], ["--file_types", "image"]):
        ran = run("process", "--import_path", card, *USER, *words)
        assert ran.code == 2 and ("leave it out" in ran.stderr or "nothing takes" in ran.stderr)
    assert "video_process_and_upload" in run("upload_blackvue").stderr


def test_row_51_a_start_time_may_be_iso_8601():
    option = next(o for o in mt.Video.options() if o.name == "video_start_time")
    number = option.rule.other_form
    assert number is not None and number("1714972089000") is None
    assert number("2024-05-06T07:08:09+02:00") == 1714972089000
    assert number("2024-05-06T05:08:09.5Z") == 1714972089500
    words = ("sample_video", "--import_path", "x", "--video_path", "x", "--video_start_time")
    ran = run(*words, "2024-05-06")
    assert ran.code == 2 and "whole number" in ran.stderr
    ran = run(*words, "2024-05-06T07:08:09+02:00")
    assert ran.code == 3 and "whole number" not in ran.stderr


def test_row_53_a_typo_in_the_user_name_is_told_by_process(card: Path, own_home: Path):
    (own_home / "config").write_text("[anna]\nuser_upload_token = 12345678\n", "utf-8")
    row = told("process", "--import_path", card, "--user_name", "ana")
    assert row["stopped"] is None and row["next"] is None and row["exit_code"] == 0
    said = run("process", "--import_path", card, "--user_name", "ana", "--rerun").stdout
    assert "but for anna. Did you mean that?" in said and "authenticate" not in said


def test_row_11_restore_refuses_what_others_changed_and_leaves_no_trace(card: Path, tmp_path: Path):
    making.drive(tmp_path / "other", 2)
    row = told("restore", "--import_path", tmp_path / "other")
    assert row["skipped"] == {"as_found": 2} and not (tmp_path / "other" / ".mapillary").exists()
    run("process", "--import_path", card, *USER)
    with open(card / "0001.jpg", "ab") as stream:
        stream.write(b"yyyy")
    row = told("restore", "--import_path", card)
    assert [Path(one["file"]).name for one in row["failed"]] == ["0001.jpg"] and row["done"] == 2
    assert row["failed"][0]["code"] == "changed"
