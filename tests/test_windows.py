"""What is promised on Windows: most of it runs on the Windows build of Python only (under wine: tests/windows_python.py)."""

import contextlib
import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Optional

import making
import pytest
from conftest import ROOT, real, run, told

import mapillary_tools as mt

USER = ("--user_name", "demo")
SCRIPT = ROOT / "mapillary_tools.py"
windows = pytest.mark.skipif(os.name != "nt", reason="is about Windows")
FOREVER = 30.0


def process(card: Any, *more: Any) -> Dict[str, Any]:
    return told("process", "--import_path", card, *USER, *more)


def script(
    code: str, env: Optional[Dict[str, str]] = None, **more: Any
) -> "subprocess.CompletedProcess[bytes]":
    """A program of its own that has this folder's module."""
    head = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    return subprocess.run(
        [sys.executable, "-c", head + code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, **(env or {})),
        timeout=120,
        **more,
    )


@pytest.fixture
def card(tmp_path: Path) -> Path:
    making.drive(tmp_path / "card", 3)
    return tmp_path / "card"


@contextlib.contextmanager
def held(path: Path, share: int = 0) -> Iterator[None]:
    """A file as another program holds it that lets nobody else have it."""
    library: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    library.CreateFileW.restype = ctypes.c_void_p
    handle = library.CreateFileW(str(path), 0x80000000, share, None, 3, 0, None)
    assert handle not in (None, ctypes.c_void_p(-1).value), ctypes.get_last_error()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        library.CloseHandle(ctypes.c_void_p(handle))


def parts(folder: Path) -> List[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".part")]


# ---- anywhere: what Windows asks of the code -----------------------------------------------------

SPY = """
import threading
late = []
class Spy:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread():
            late.append(name)
sys.meta_path.insert(0, Spy())
import mapillary_tools as mt
code = mt.main(sys.argv[1:] or {argv!r})
print("late:", late, code)
"""


@pytest.mark.parametrize("more", [(), ("--max_rate", "1000")])
def test_no_module_is_imported_first_in_a_thread(card: Path, tmp_path: Path, more: Any):
    """W1: two threads that import from a library in a zip break each other's import."""
    argv = ["process_and_upload", "--import_path", str(card), *USER, *more]
    done = script(SPY.format(argv=[*argv, "--stand_in", str(tmp_path / "r")]))
    assert b"late: [] 0" in done.stdout, done


def test_nothing_asks_the_management_service():
    """W2: these take seconds on Windows since Python 3.12, or end the process."""
    source = SCRIPT.read_text(encoding="utf-8")
    for word in ("import platform", "platform.node", "platform.uname", "os.uname", "win32_ver"):
        assert word not in source


def test_a_client_that_goes_away_is_no_trouble_of_the_stand_in(tmp_path: Path, capfd: Any):
    """W3: the reset of a connection, as Windows tells it."""
    import socket

    with mt.StandIn(str(tmp_path / "r")) as service:
        host, port = service.root[7:].split(":")
        for head in (b"", b"POST /x HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc", b"GET"):
            one = socket.create_connection((host, int(port)))
            one.sendall(head)
            # reset, not closed
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()
        time.sleep(0.5)
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("code", [5, 32, 33])
def test_a_file_that_is_held_for_a_moment_costs_nothing(card: Path, monkeypatch: Any, code: int):
    plain, begin = os.replace, time.monotonic()

    def replace(source: Any, target: Any) -> None:
        if str(target).endswith(".jpg") and time.monotonic() < begin + 1.0:
            error = OSError(13, "held")
            error.winerror = code  # type: ignore[attr-defined]
            raise error
        plain(source, target)

    monkeypatch.setattr(mt.os, "replace", replace)
    assert process(card, "--workers", "1")["done"] == 3 and not parts(card)


def test_a_long_folder_is_extended_and_shown_as_people_know_it(monkeypatch: Any):
    path = SimpleNamespace(abspath=lambda path: path)
    monkeypatch.setattr(mt, "os", SimpleNamespace(name="nt", path=path))
    long = "C:\\" + "x" * 200
    assert mt.extended(long) == "\\\\?\\" + long and mt.extended("C:\\x") == "C:\\x"
    assert mt.extended(mt.extended(long)) == mt.extended(long)
    share = "\\\\server\\share\\" + "x" * 200
    assert mt.extended(share) == "\\\\?\\UNC\\server\\share\\" + "x" * 200
    for path in (long, share):
        assert mt.unextended(f"{mt.extended(path)}: wrong") == f"{path}: wrong"


# ---- paths ---------------------------------------------------------------------------------------


@windows
def test_paths_in_every_spelling(card: Path):
    whole = str(card)
    drive = whole[:2]
    spellings = [
        whole,
        whole.replace("\\", "/"),
        whole + "\\",
        whole + "/",
        drive + "/" + whole[3:],
    ]
    spellings += ["\\\\?\\" + whole, whole.upper() if drive == "C:" else whole]
    for path in spellings:
        row = process(path, "--rerun")
        assert (row["exit_code"], row["done"]) == (0, 3), (path, row)
        assert "\\\\?\\" not in row["said"] + json.dumps(row["failed"])
    status = told("status", "--import_path", whole + "\\")
    assert status["exit_code"] == 0 and status["found"] == 3


@windows
def test_a_quote_that_a_backslash_ate_is_understood_or_said(card: Path):
    """W10: "C:\\photos\\" --user_name x arrives as one word."""
    row = real(["process", "--import_path", f'{card}" --user_name x'])
    assert row.code == 2 and "backslash" in row.stderr
    row = real(["process", *USER, "--import_path", f'{card}"'])
    assert row.code == 2 and "backslash" in row.stderr
    row = real(["process", *USER, "--import_path", card, "--device_make", 'a 5" one"'])
    assert row.code == 0, row


def long_folder(top: Path) -> str:
    """A folder with a whole path of more than 300 letters."""
    folder = "\\\\?\\" + str(top)
    while len(folder) < 320:
        folder += "\\" + "a long name" * 4
    os.makedirs(folder)
    return folder


@windows
def test_paths_longer_than_260_letters(tmp_path: Path):
    folder = long_folder(tmp_path / "card")
    making.drive(tmp_path / "short", 3)
    for name in os.listdir(tmp_path / "short"):
        shutil.copy(str(tmp_path / "short" / name), folder + "\\" + name)
    top, into = tmp_path / "card", tmp_path / "received"
    row = process(top)
    assert (row["exit_code"], row["done"]) == (0, 3), row
    assert making.description(folder + "\\0001.jpg")["MAPFilename"] == "0001.jpg"
    tools = [("upload", "--stand_in", into), ("status",), ("status", "--image", "0001.jpg")]
    tools += [("report", "--output_path", tmp_path / "r.html")]
    tools += [("export", "--output_path", tmp_path / "e.csv")]
    tools += [("restore",), ("process", *USER, "--keep_original")]
    for tool, *more in tools:
        row = told(tool, "--import_path", top, *more)
        assert row["exit_code"] == 0 and "\\\\?\\" not in row["said"], (
            tool,
            row["stopped"],
            row["failed"],
        )
    written = [(tmp_path / name).read_text(encoding="utf-8") for name in ("e.csv", "r.html")]
    assert "\\\\?\\" not in "".join(written)
    with open(folder + "\\0002.jpg", "wb") as stream:
        stream.write(b"no JPEG")
    row = process(top)
    assert [one["code"] for one in row["failed"]] == ["bad_jpeg"]
    assert row["failed"][0]["file"] == folder[4:] + "\\0002.jpg"


@windows
def test_tracks_in_a_folder_of_a_long_name(tmp_path: Path):
    """A traceback: a path with the mark of long ones did not begin as the folder does."""
    making.drive(tmp_path / "p", 3)
    folder = tmp_path / "tr" / ("x" * 140)
    os.makedirs("\\\\?\\" + str(folder))
    points = [(1714979280.0 + n, 57.7 + n * 1e-4, 11.97) for n in range(60)]
    making.gpx(points, "\\\\?\\" + str(folder / "t.gpx"))
    for _ in range(2):
        words = ("--geotag_source", "gpx", "--geotag_source_path", tmp_path / "tr")
        row = process(tmp_path / "p", *words)
        assert row["exit_code"] == 0 and row["found"] == 3, row["said"]


@windows
def test_a_bare_folder_whose_quote_was_eaten_is_told_so(tmp_path: Path):
    making.drive(tmp_path / "p", 1)
    ran = real(["process", str(tmp_path / "p") + '"'])
    assert ran.code == 2 and "a path holds a quote" in ran.stderr


# ---- names ---------------------------------------------------------------------------------------


@windows
@pytest.mark.parametrize(
    "name", ["Gött.jpg", "\U0001f6b2.jpg", "道路.jpg", "a b.jpg", "100%.jpg", "a&b.jpg", "it's.jpg"]
)
def test_names_of_all_kinds(tmp_path: Path, name: str):
    making.photo(tmp_path / name, lat=57.7, lon=11.97, time="2024:05:06 07:08:09")
    row = process(tmp_path)
    assert row["done"] == 1 and making.description(tmp_path / name)["MAPFilename"] == name
    said = real(["status", "--import_path", tmp_path, "--image", name])
    assert said.code == 0 and "Traceback" not in said.stderr


@windows
@pytest.mark.parametrize("name", ["CON.jpg", "NUL.jpg", "end.jpg.", "blank.jpg "])
def test_names_that_windows_reserves_fail_alone(card: Path, tmp_path: Path, name: str):
    """W7: they are made by other systems; tools that look at them go on."""
    with open(f"\\\\?\\{card}\\{name}", "wb") as stream:
        stream.write((card / "0001.jpg").read_bytes())
    into = tmp_path / "received"
    row = process(card)
    assert row["done"] >= 3 and row["found"] == row["done"] + len(row["failed"]) + sum(
        row["skipped"].values()
    )
    for tool in (("status",), ("report", "--output_path", tmp_path / "r.html"), ("restore",)):
        ran = run(*tool, "--import_path", card)
        assert "Traceback" not in ran.stderr, ran
    process(card)
    row = told("upload", "--import_path", card, "--stand_in", into)
    assert row["done"] >= 3


@windows
def test_a_table_finds_photos_whatever_their_case(card: Path, tmp_path: Path):
    (tmp_path / "t.csv").write_text("0001.JPG,2024:05:06 07:09:00,57.7,11.97\n", "utf-8")
    words = (
        "--filename_column",
        1,
        "--timestamp_column",
        2,
        "--latitude_column",
        3,
        "--longitude_column",
        4,
    )
    row = told("process_csv", "--import_path", card, "--csv_path", tmp_path / "t.csv", *words)
    assert row["done"] == 1, row


# ---- consoles ------------------------------------------------------------------------------------


@windows
@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "cp437"},
        {"PYTHONIOENCODING": "cp850"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "utf-8"},
        {"PYTHONUTF8": "1"},
        {"PYTHONUTF8": "0"},
        {"PYTHONLEGACYWINDOWSSTDIO": "1"},
    ],
    ids=lambda env: "=".join(*env.items()),
)
def test_no_message_is_an_error_of_encoding(tmp_path: Path, env: Dict[str, str]):
    (tmp_path / "\U0001f6b2 道路 ä.jpg").write_bytes(b"no JPEG")
    for more in ((), ("--json",)):
        ran = real(["process", "--import_path", tmp_path, *USER, *more], env=env)
        assert ran.code == 1 and "Traceback" not in ran.stderr and "UnicodeEncode" not in ran.stderr
        assert "is not a JPEG" in ran.stdout


# ---- locks ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def held_for_a_second(path: Path, share: int = 0) -> Iterator[None]:
    """Another program has a file from the begin of the block on."""

    def hold() -> None:
        with held(path, share):
            ready.set()
            time.sleep(1.0)

    ready = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    yield
    thread.join()


@windows
@pytest.mark.parametrize("share", [0, 1], ids=["shut", "read"])
def test_a_photo_that_another_program_holds_for_a_moment(card: Path, share: int):
    """W8: a scanner looks at it."""
    with held_for_a_second(card / "0002.jpg", share):
        row = process(card, "--workers", "1")
    assert (row["exit_code"], row["done"]) == (0, 3), row
    assert not parts(card)


@windows
def test_a_photo_that_another_program_keeps_fails_alone(card: Path):
    with held(card / "0002.jpg"):
        start = time.monotonic()
        row = process(card, "--workers", "1")
        assert 2.5 < time.monotonic() - start < FOREVER
    assert row["done"] == 2 and [Path(one["file"]).name for one in row["failed"]] == ["0002.jpg"]
    assert not parts(card)
    assert process(card)["exit_code"] == 0


@windows
def test_a_journal_that_another_program_holds_for_a_moment(card: Path):
    process(card)
    with held_for_a_second(card / ".mapillary" / "journal.jsonl"):
        row = process(card, "--rerun")
    assert (row["exit_code"], row["done"]) == (0, 3), row


@windows
def test_a_folder_whose_lock_another_program_keeps_is_not_in_use_by_a_run(card: Path):
    making.drive(card / "b", 2)
    process(card)
    with held(card / ".mapillary" / "lock"):
        row = process(card, "--rerun")
    assert {one["code"] for one in row["failed"]} == {"held"}, row
    assert (row["exit_code"], row["done"], row["skipped"]) == (1, 2, {})


@windows
def test_a_second_run_is_refused_at_once(card: Path):
    process(card)
    with mt.Journal(card):
        start = time.monotonic()
        ran = real(["process", "--import_path", card, *USER])
        assert ran.code == 75 and time.monotonic() - start < 2.5


# ---- attributes ----------------------------------------------------------------------------------


def attributes(path: Path) -> int:
    return int(os.stat(path).st_file_attributes)  # type: ignore[attr-defined]


def set_attributes(path: Path, value: int) -> None:
    library: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]
    assert library.SetFileAttributesW(str(path), value)


@windows
def test_a_read_only_photo_is_written_and_read_only_again(card: Path):
    os.chmod(card / "0002.jpg", 0o444)
    before = os.stat(card / "0002.jpg").st_mtime_ns
    row = process(card)
    assert row["exit_code"] == 0 and making.description(card / "0002.jpg")
    assert attributes(card / "0002.jpg") & 1 and os.stat(card / "0002.jpg").st_mtime_ns == before
    assert told("restore", "--import_path", card)["exit_code"] == 0
    assert attributes(card / "0002.jpg") & 1


@windows
def test_copies_of_read_only_photos_are_written_again_and_removed(card: Path):
    """W6: the copy inherited the mark, and Windows removes no file that has it."""
    for name in ("0001.jpg", "0002.jpg"):
        os.chmod(card / name, 0o444)
    for more in ((), ("--offset_angle", "90"), ("--device_make", "M"), ("--rerun",)):
        row = process(card, "--keep_original", *more)
        assert (row["exit_code"], row["failed"]) == (0, []), row
    copies = card / ".mapillary" / "process_images"
    os.chmod(copies / "0001.jpg", 0o444)
    assert process(card, "--keep_original", "--device_make", "N")["exit_code"] == 0
    assert process(card)["exit_code"] == 0 and not parts(card)
    assert told("restore", "--import_path", card)["exit_code"] == 0


@windows
@pytest.mark.parametrize("mark", [0x2, 0x4], ids=["hidden", "system"])
def test_files_that_windows_hides_are_no_photos(card: Path, mark: int):
    set_attributes(card / "0002.jpg", mark)
    if not attributes(card / "0002.jpg") & mark:
        pytest.skip("this disk does not keep the mark")
    row = process(card)
    assert row["done"] == 2 and row["skipped"] == {"hidden": 1}


@windows
def test_times_and_marks_of_a_photo_stay(card: Path):
    """W9: it is replaced by a new file, which would have been made today."""
    path = card / "0001.jpg"
    script_of = f"""
import ctypes, msvcrt, os
fd = os.open({str(path)!r}, os.O_RDWR)
ticks = 116444736000000000 + 1000000000 * 10**7 + 1234567
words = (ctypes.c_uint32 * 2)(ticks & 0xffffffff, ticks >> 32)
assert ctypes.WinDLL("kernel32").SetFileTime(ctypes.c_void_p(msvcrt.get_osfhandle(fd)), words, None, None)
"""
    assert script(script_of).returncode == 0
    os.utime(path, ns=(1100000000123456700, 1200000000765432100))
    set_attributes(path, 0x20 | 0x2000)
    before, marks = os.stat(path), attributes(path)
    assert process(card)["done"] == 3
    after = os.stat(path)
    assert after.st_size != before.st_size
    assert after.st_mtime_ns == before.st_mtime_ns
    assert attributes(path) == marks
    if before.st_ctime_ns // 10**9 == 1000000000:  # wine may not keep the time of creation
        assert after.st_ctime_ns == before.st_ctime_ns


# ---- signals, workers ----------------------------------------------------------------------------


@windows
def test_ctrl_break_ends_a_run_in_order(tmp_path: Path):
    import signal

    making.drive(tmp_path / "card", 300)
    child = subprocess.Popen(
        [
            sys.executable,
            str(SCRIPT),
            "process",
            "--import_path",
            str(tmp_path / "card"),
            *USER,
            "--workers",
            "1",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,  # type: ignore[attr-defined]
    )
    time.sleep(1.0)
    try:
        child.send_signal(signal.CTRL_BREAK_EVENT)  # type: ignore[attr-defined]
    except (OSError, SystemError) as error:  # Python 3.8 raises the second
        child.kill()
        child.communicate()
        pytest.skip(f"there is no console to send it: {error}")
    start = time.monotonic()
    _, said = child.communicate(timeout=FOREVER)
    if child.returncode == 0:
        pytest.skip("it was faster, or the console did not send it")
    assert time.monotonic() - start < 5 and b"Traceback" not in said
    assert child.returncode in (130, 0xC000013A)
    row = process(tmp_path / "card")
    assert row["exit_code"] == 0 and not parts(tmp_path)


@windows
@pytest.mark.slow
def test_workers_over_two_thousand_images(tmp_path: Path):
    folder = tmp_path / "a folder with ä"
    folder.mkdir()
    first = making.drive(tmp_path / "one", 1)[0].read_bytes()
    for number in range(2000):
        (folder / f"{number:04d}.jpg").write_bytes(first)
    ran = real(
        ["process", "--import_path", folder, *USER, "--workers", "2", "--json"],
        flags=(),
        timeout=300,
    )
    row = json.loads(ran.stdout)
    assert row["found"] == 2000 and row["exit_code"] == 0, (row, ran.stderr)


HOST = """
import mapillary_tools as mt
report = mt.process(mt.Input({card!r}), mt.User(user_name="x"), mt.Workers(workers=4))
print("done", report.done)
"""


@windows
def test_an_embedding_program_without_its_guard_gets_no_storm_of_processes(tmp_path: Path):
    making.drive(tmp_path / "card", 600)
    (tmp_path / "host.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        + HOST.format(card=str(tmp_path / "card")),
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "host.py")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    assert done.stdout.split() == [b"done", b"600"], done


# ---- time ----------------------------------------------------------------------------------------


@windows
@pytest.mark.parametrize("zone", [(), ("--local_time",), ("--timezone", "+02:00")])
@pytest.mark.parametrize("year", ["1912", "1969", "1975", "2039", "2099"])
def test_times_before_1970_and_after_2038(tmp_path: Path, zone: Any, year: str):
    making.photo(tmp_path / "a.jpg", lat=57.7, lon=11.97, time=f"{year}:05:06 07:08:09")
    row = process(tmp_path, *zone)
    assert row["exit_code"] == 0, row
    assert making.description(tmp_path / "a.jpg")["MAPCaptureTime"][:4] == year


@windows
def test_a_zone_by_name_without_tzdata_has_a_way_out(card: Path):
    ran = real(["process", "--import_path", card, *USER, "--timezone", "Europe/Stockholm"])
    assert ran.code == 2 and "+02:00" in ran.stderr and "Traceback" not in ran.stderr


# ---- environment, programs, start ----------------------------------------------------------------


@windows
def test_without_temp_home_profile_and_data(card: Path, tmp_path: Path):
    names = (
        "TEMP",
        "TMP",
        "HOME",
        "USERPROFILE",
        "APPDATA",
        "LOCALAPPDATA",
        "HOMEPATH",
        "HOMEDRIVE",
    )
    env = {name: value for name, value in os.environ.items() if name.upper() not in names}
    env = {name: value for name, value in env.items() if not name.startswith("MAPILLARY")}
    for tool in (("process",), ("upload",), ("process_and_upload",)):
        more = [] if tool == ("upload",) else [*USER, "--rerun"]
        more += [] if tool == ("process",) else ["--stand_in", str(tmp_path / "r")]
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(SCRIPT), *tool, "--import_path", str(card), *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=tmp_path,
            timeout=60,
        )
        assert done.returncode == 0 and b"Traceback" not in done.stderr, done
    assert not (tmp_path / "~").exists()
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            str(SCRIPT),
            "authenticate",
            *USER,
            "--user_access_token",
            "x" * 20,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0 or b"MAPILLARY_CONFIG_PATH" in done.stderr, done
    assert b"Traceback" not in done.stderr and not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    "place",
    [
        ".",
        "ffmpeg",
        os.path.join("ffmpeg-7.1-essentials_build", "bin"),
        pytest.param("FFMPEG.EXE", marks=windows),
        "path",
        "given",
    ],
)
def test_programs_are_found_where_people_put_them(tmp_path: Path, monkeypatch: Any, place: str):
    folder = tmp_path / "with ä and blank"
    monkeypatch.setattr(mt, "HERE", str(folder))
    there = folder if place in (".", "FFMPEG.EXE") else folder / place
    name = place if place == "FFMPEG.EXE" else "ffmpeg" + ".exe" * (os.name == "nt")
    there.mkdir(parents=True, exist_ok=True)
    shutil.copy(sys.executable, there / name)
    monkeypatch.setenv("PATH", str(there) if place == "path" else "")
    given = str(there) if place == "given" else None
    assert os.path.samefile(mt.find_program("ffmpeg", given), there / name)


@windows
def test_the_version_is_told_quickly():
    def seconds(*words: str) -> float:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *words],
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - start

    plain = min(seconds("-c", "pass") for _ in range(6))  # what asks WMI takes seconds
    assert min(seconds(str(SCRIPT), "--version") for _ in range(6)) < 6 * plain + 0.2


CLICK = """
import subprocess, sys
done = subprocess.run(sys.argv[1:], input=b"\\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
sys.stdout.buffer.write(done.stdout)
sys.exit(done.returncode)
"""
CLICKED = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import mapillary_tools as mt
mt.EXPLORER = "clicker.exe"  # under wine nothing of that name starts
sys.exit(mt._clicked(sys.argv[1:]) if mt.from_explorer() else 99)
"""


def clicked(tmp_path: Path, *words: Any) -> "subprocess.CompletedProcess[bytes]":
    """The script as Explorer starts it: a program of its name is what starts the Python."""
    clicker = Path(sys.executable).parent / "clicker.exe"  # beside its libraries
    if not clicker.exists():
        shutil.copy(sys.executable, clicker)
    (tmp_path / "click.py").write_text(CLICK, "utf-8")
    (tmp_path / "clicked.py").write_text(CLICKED, "utf-8")
    command = [clicker, tmp_path / "click.py", sys.executable, tmp_path / "clicked.py", *words]
    return subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=60,
    )


@windows
def test_a_double_click_shows_the_help_until_a_key_is_pressed(tmp_path: Path):
    done = clicked(tmp_path)
    assert done.returncode == 0 and b"process_and_upload" in done.stdout, done
    assert done.stdout.rstrip().endswith(b"Enter closes this window.")


@windows
def test_a_folder_that_is_dropped_on_the_script_is_tried(card: Path, tmp_path: Path):
    before = (card / "0001.jpg").read_bytes()
    done = clicked(tmp_path, card)
    assert done.returncode == 0 and b"3 would be processed" in done.stdout, done
    assert b"dropped here, so: mapillary_tools.py process --import_path" in done.stdout
    assert (card / "0001.jpg").read_bytes() == before and not (card / ".mapillary").exists()


@windows
def test_a_run_from_a_console_does_not_wait(card: Path):
    ran = real([])
    assert "Enter closes" not in ran.stdout + ran.stderr and ran.code == 2


# ---- macOS, of which nothing runs here: its rules by injection -----------------------------------


def test_shadow_files_of_macos_are_no_photos(card: Path):
    (card / "._0001.jpg").write_bytes(b"\0\5\x16\7")
    (card / ".DS_Store").write_bytes(b"\0")
    row = process(card)
    assert row["done"] == 3 and row["skipped"] == {"shadow": 1}


def test_names_that_macos_decomposes_are_the_same_names(tmp_path: Path):
    import unicodedata

    name = unicodedata.normalize("NFD", "Gött.jpg")
    try:
        making.photo(tmp_path / name, lat=57.7, lon=11.97, time="2024:05:06 07:08:09")
    except OSError as error:
        pytest.skip(f"this disk has no such names: {error}")
    (tmp_path / "t.csv").write_text("Gött.jpg,57.8,11.98\n", encoding="utf-8")
    words = ("--filename_column", 1, "--latitude_column", 2, "--longitude_column", 3)
    row = told("process_csv", "--import_path", tmp_path, "--csv_path", tmp_path / "t.csv", *words)
    assert row["done"] == 1, row


@pytest.mark.skipif(os.name != "posix", reason="needs fcntl")
def test_a_file_is_flushed_to_the_disk_itself_on_macos(card: Path, monkeypatch: Any):
    import fcntl

    asked: List[Any] = []
    plain = fcntl.fcntl

    def full(handle: int, command: int, *more: Any) -> Any:
        if command == 51:
            asked.append(handle)
            return 0
        return plain(handle, command, *more)

    monkeypatch.setattr(mt.sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", full)
    assert process(card, "--workers", "1")["done"] == 3
    assert len(asked) >= 4  # three photos and the journal


@pytest.mark.skipif(os.name != "posix", reason="needs fcntl")
def test_a_disk_of_macos_that_cannot_flush_itself_is_flushed_as_elsewhere(
    tmp_path: Path, monkeypatch: Any
):
    import fcntl

    def refused(handle: int, command: int, *more: Any) -> Any:
        raise OSError(45, "Operation not supported")

    flushed: List[int] = []
    monkeypatch.setattr(mt.sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", refused)
    monkeypatch.setattr(mt.os, "fsync", flushed.append)
    with open(tmp_path / "a", "wb") as stream:
        mt.flush_file(stream.fileno())
    assert len(flushed) == 1
