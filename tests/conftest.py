"""What every test gets: the tool importable, a home of its own, and one way to run a command line.

The EXECUTABLE environment variable names another build of the tool (a frozen one, a zip archive): then `run` starts that.
"""

import ast
import contextlib
import importlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
for _folder in (str(ROOT), str(TESTS)):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)

import guard  # noqa: E402
from guard import pytest_pyfunc_call  # noqa: E402, F401

try:
    import hypothesis

    hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
    hypothesis.settings.load_profile(
        "same"
    )  # the same examples on every machine, and no red by a slow one
except ImportError:
    pass

with contextlib.suppress(ValueError):  # not in the main thread
    # children inherit an ignored SIGINT, which a job in the background may have
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What is left out of `-m fast`: whole files that start programs and services, and single long tests.
SLOW_FILES = {
    "test_accounts.py",
    "test_asked_before.py",
    "test_bundle.py",
    "test_cli.py",
    "test_download.py",
    "test_embedding.py",
    "test_faults.py",
    "test_frames.py",
    "test_golden.py",
    "test_groups.py",
    "test_half_done.py",
    "test_hostile.py",
    "test_http.py",
    "test_keep.py",
    "test_making.py",
    "test_new_user.py",
    "test_page.py",
    "test_people.py",
    "test_export.py",
    "test_history.py",
    "test_piexif_damage.py",
    "test_piexif_edit.py",
    "test_plausible.py",
    "test_real_files.py",
    "test_reported.py",
    "test_right_times.py",
    "test_sources.py",
    "test_piexif_exiftool.py",
    "test_piexif_parity.py",
    "test_readme.py",
    "test_secrets.py",
    "test_settled.py",
    "test_tables.py",
    "test_together.py",
    "test_told_right.py",
    "test_upload.py",
    "test_upload_kill.py",
    "test_video.py",
    "test_windows.py",
}


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", "fast: what one runs after each change, in under 20 s")
    config.addinivalue_line("markers", "slow: is not fast")


def pytest_collection_modifyitems(items: List[Any]) -> None:
    for item in items:
        if item.path.name not in SLOW_FILES and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.fast)


EXECUTABLE = shlex.split(os.environ.get("EXECUTABLE", ""))
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
_OURS = ("NUMBER_THREADS", "MAX_ATTEMPTS")


class Ran(NamedTuple):
    """What a command line did."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: Any, monkeypatch: Any) -> Iterator[Path]:
    """A home folder without credentials, and none of the variables that change what the tool does."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith("MAPILLARY_") or name in _OURS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(home / "config"))
    import mapillary_tools

    monkeypatch.setattr(mapillary_tools, "_SECRETS", set())  # what other tests used helps none
    yield home


@pytest.fixture
def service(own_home: Path, monkeypatch: Any) -> Iterator[Any]:
    """A service that the test's own home has an account for, and that all runs go to."""
    from service import Service

    with Service() as one:
        for name, value in one.environment(own_home / "config").items():
            monkeypatch.setenv(name, value)
        yield one


def _in_process(argv: List[str]) -> Ran:
    import mapillary_tools

    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO("")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = mapillary_tools.main(argv)
    finally:
        sys.stdin = before
    guard.called(argv)
    guard.printed("what a run printed", out.getvalue(), err.getvalue())
    return Ran(code, out.getvalue(), err.getvalue())


def real(
    argv: List[Any],
    env: Optional[Dict[str, str]] = None,
    cwd: Any = None,
    flags: Any = ("-I", "-S"),
    program: Any = None,
    **more: Any,
) -> Ran:
    """The tool as a process of its own; output is decoded as UTF-8 with replacement characters."""
    start = EXECUTABLE or [sys.executable, *flags, str(program or ROOT / "mapillary_tools.py")]
    done = subprocess.run(
        [*start, *map(str, argv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=dict(os.environ, **(env or {})),
        **{"timeout": 60, **more},
    )
    return Ran(
        done.returncode,
        done.stdout.decode("utf-8", "replace"),
        done.stderr.decode("utf-8", "replace"),
    )


def run(*argv: Any) -> Ran:
    """The tool with these arguments: in this process, or as EXECUTABLE says."""
    words = [
        str(word) for part in argv for word in (part if isinstance(part, (list, tuple)) else [part])
    ]
    return real(words) if EXECUTABLE else _in_process(words)


def told(*argv: Any) -> Dict[str, Any]:
    """The --json summary of a command line, and in "said" all that it said."""
    ran = run(*argv, "--json")
    assert "Traceback" not in ran.stderr
    return dict(json.loads(ran.stdout), said=ran.stdout + ran.stderr)


def process(folder: Path, *more: Any) -> Dict[str, Any]:
    """What processing a folder told."""
    return told("process", "--import_path", folder, "--user_name", "demo", "--advanced", *more)


def restore(folder: Path) -> Dict[str, Any]:
    """What putting the photos of a folder back told."""
    return told("restore", "--import_path", folder)


def line(folder: Any, row: Dict[str, Any]) -> Any:
    """A line of a journal from its row, as the journal itself would read it."""
    import mapillary_tools as mt

    if "upload" in row:
        return mt.unpack_sent(row["upload"])
    if "sequence" in row:
        return mt.unpack_manifest(row["sequence"])
    return mt.unpack_image(Path(str(folder), row["image"]), row)


def starting_by(way: str, folder: Path, few: int = 0) -> Path:
    """The program with its worker processes started in a way, "fork", "spawn" or "" for threads alone; for more than `few`
    items, 0 = as many as ever. A copy in a folder, where it takes another way here.
    """
    text = (ROOT / "mapillary_tools.py").read_text("utf-8")
    begin = '\nif __name__ == "__main__":\n    _prepare()\n'
    least = f"total > {few or 'PROCESS_IMAGES'}"
    change = f"\ndef _way_to_start(total: int) -> str:\n    return {way!r} if {least} else ''\n\n"
    if text.count(begin) != 1 or text.count("\ndef _way_to_start(total: int) -> str:\n") != 1:
        raise ValueError("the program begins, or starts its workers, in another way")
    folder = folder / f"by {way or 'threads'}"
    shutil.copytree(str(ROOT / "vendor"), str(folder / "vendor"))
    path = folder / "mapillary_tools.py"
    path.write_text(text.replace(begin, change + begin), "utf-8")
    return path


SLACK = 10.0  # how much longer than on an idle machine something may take; bench.py measures


def soon(spent: float, seconds: float) -> bool:
    """Whether something ended, in about so many seconds on an idle machine: against hanging, on any."""
    return spent < SLACK * seconds


in_process = pytest.mark.skipif(
    bool(EXECUTABLE), reason="reaches into the module; EXECUTABLE runs another build"
)
needs_photos = pytest.mark.skipif(
    not PHOTOS.is_dir(), reason="../shared/data/photos is not on this computer"
)


def tree(folder: Any, without: str = "") -> Dict[str, bytes]:
    """Relative path -> bytes of every file below a folder; folders end in a slash; names that hold `without` left out."""
    found = {}
    for path in sorted(Path(str(folder)).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not (without and without in name):
            found[name + "/" * path.is_dir()] = b"" if path.is_dir() else path.read_bytes()
    return found


def images_in(folder: Any) -> Dict[str, bytes]:
    """Relative path -> bytes of every file that is not the tool's own state."""
    return tree(folder, without=".mapillary")


def import_what_comes_late() -> None:
    """The modules that the tool and Python import while they run: a Python in root's home is out of nobody's reach."""
    late = ["concurrent.futures.thread", "encodings.idna"]
    tree = ast.parse((ROOT / "mapillary_tools.py").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            late += [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
        elif isinstance(node, ast.Import):
            late += [one.name for one in node.names]
    for name in late:
        with contextlib.suppress(ImportError):  # of another system, or another Python
            importlib.import_module(name)


@contextlib.contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder outside of root's reach, while this process has no more rights than anybody."""
    folder = Path(tempfile.mkdtemp(prefix="nobody-"))
    root, config = hasattr(os, "geteuid") and os.geteuid() == 0, os.environ["MAPILLARY_CONFIG_PATH"]
    os.environ["MAPILLARY_CONFIG_PATH"] = str(folder / "config")
    if root:
        import_what_comes_late()
    try:
        if root:
            os.chown(str(folder), 65534, 65534)
            os.seteuid(65534)
        yield folder
    finally:
        if root:
            os.seteuid(0)
        os.environ["MAPILLARY_CONFIG_PATH"] = config
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(str(folder))


@pytest.fixture
def quick(monkeypatch: Any) -> None:
    """Two tries of a request, no pauses."""
    import mapillary_tools

    monkeypatch.setattr(mapillary_tools, "BACKOFF_S", 0.001)
    monkeypatch.setattr(mapillary_tools, "BACKOFF_MOST_S", 0.002)
    monkeypatch.setenv("MAX_ATTEMPTS", "2")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: Any) -> Any:
    """A folder of processed photos, and every command that talks to a service."""
    from callers import World

    return World(tmp_path, monkeypatch)
