"""No secret appears anywhere: in what a service repeats, on the disk, in other processes; the guard that sees to it."""

import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT, in_process, real, run, starting_by, tree

import guard
import making
import mapillary_tools as tool
from callers import SHOTS, WAYS, civil, spelled, spellings
from hostile import HEAD, Rude, raw
from service import CLIENT_TOKEN, EMAIL, PASSWORD, TOKEN, Service, status, write_config

pytestmark = [in_process, pytest.mark.usefixtures("quick")]
posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and pipes of POSIX")
SECRETS = (TOKEN, CLIENT_TOKEN, EMAIL, PASSWORD)
BY_TOKEN = ("authenticate", "--user_name", "demo", "--user_access_token", TOKEN)


@pytest.fixture
def server(world):
    with Service(photos=SHOTS) as service:
        world.use(service)
        yield service


# ---- The guard


class Item:
    """A test, as the guard sees it."""

    def __init__(self, folder):
        self.funcargs = {"tmp_path": folder}


def guarded(folder, act):
    """What the guard says of a test that does this; "" = nothing."""
    watching = guard.pytest_pyfunc_call(Item(folder))
    next(watching)
    act()
    try:
        watching.send(None)
    except AssertionError as error:
        return str(error)
    except StopIteration:
        return ""


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("where", ["printed", "logged", "program", "file", "name", "configuration"])
def test_the_guard_sees_a_secret_however_it_is_spelled(where, secret, tmp_path, capsys):
    code = "import sys; mapillary_tools = sys.stderr.write(sys.argv[1])"

    def act():
        if where == "printed":
            tool.print_line("x" + form + "y", sys.stdout)
        elif where == "logged":
            tool.LOG.warning("x %s y", form)
        elif where == "program":
            program = subprocess.Popen([sys.executable, "-c", code, form], stderr=subprocess.PIPE)
            program.communicate()
        elif where == "name":
            (tmp_path / form.replace("/", "_")).write_text("", "utf-8")
        else:
            path = tmp_path / ("config" if where == "configuration" else "x")
            guard.configure(tmp_path / "config")
            path.write_text("[demo]\nuser_upload_token = token\nother = x%sy\n" % form, "utf-8")

    forms = [secret] if where == "program" else spellings(secret)
    for number, form in enumerate(forms):
        if where != "name" or "/" not in form:
            assert repr(secret) in guarded(tmp_path, act), form
        for path in tmp_path.iterdir():
            path.unlink()
    del guard._now.texts[:]


def test_the_guard_knows_options_variables_and_configurations(tmp_path, monkeypatch):
    for secret in ("given-by-option", "given-by-equals", "given-by-variable", "given-by-a-file"):

        def act():
            guard.called(["x", "--user_access_token", "given-by-option"])
            guard.called(["x", "--user-password=given-by-equals"], {})
            monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", "given-by-variable")
            config = tmp_path / "config"
            config.write_text("[a]\nuser_upload_token = given-by-a-file\n", "utf-8")
            guard.called(["x"], {"MAPILLARY_CONFIG_PATH": str(config)})
            guard.printed("somewhere", "it is %s." % secret)

        assert secret in guarded(tmp_path, act)


def test_the_guard_leaves_the_place_where_tokens_belong(tmp_path, monkeypatch):
    monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(tmp_path / "config"))
    assert guarded(tmp_path, lambda: write_config(tmp_path / "config")) == ""
    assert TOKEN in guarded(tmp_path, lambda: shutil.copy(tmp_path / "config", tmp_path / "copy"))
    (tmp_path / "copy").unlink()


# ---- Secrets that a service repeats


PAIRS = [("login", 400), ("login", 429), ("login", 503), ("who", 401), ("who", 503)]
PAIRS += [("organization", 400), ("image", 400), ("image", 401), ("image", 429), ("manifest", 503)]
PAIRS += [("finish", 400), ("search", 429), ("search", 403), ("picture", 404)]


@pytest.mark.parametrize("spelling", sorted(spelled("")))
def test_no_spelling_of_a_secret_gets_into_what_is_said_or_kept(spelling, world, monkeypatch):
    """F6, F21: only the plain token was masked, and only in the body; password and e-mail were not."""
    monkeypatch.setattr(tool.Wire, "wait", lambda self, seconds: None)
    world.ready(1)
    said = ""
    for number, (call, code) in enumerate(PAIRS):
        words = [spelled(secret)[spelling] for secret in SECRETS]
        words = " ".join(words[number % 4 :] + words[: number % 4])  # what is said is cut
        body = '{"error": {"message": "%s"}, "debug_info": {"type": "%s"}}' % (words, words)
        path, method = WAYS[call]
        fault = status(code, body, path=path, method=method, times=None)
        fault.headers = {"Retry-After": "900"}
        with Service([fault], photos=SHOTS) as service:
            world.use(service)
            said += civil(world.call(call), 1, 8, 9)
    kept = b"".join(tree(world.base, without="config").values()).decode("utf-8", "replace")
    forms = {text for secret in SECRETS for text in spellings(secret)}
    assert not [text for text in forms if text in said + kept], said[:3000]


@pytest.mark.parametrize("call", sorted(WAYS))
def test_no_secret_of_a_status_line_or_of_a_header_is_said(call, world):
    world.ready(1)
    path, method = WAYS[call]
    odd = " ".join(SECRETS).encode()
    shapes = [
        b"HTTP/1.1 400 %s\r\nContent-Length: 2\r\n\r\n{}" % odd,
        b"HTTP/1.1 %s\r\n\r\n" % odd,
        odd + b"\r\n\r\n",
        HEAD + b"Content-Length: %s\r\n\r\n{}" % odd,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n%s\r\n" % odd,
        b"HTTP/1.1 302 Found\r\nLocation: https://x/%s\r\nContent-Length: 0\r\n\r\n" % odd,
        b"HTTP/1.1 429 X\r\nRetry-After: %s\r\nContent-Length: 2\r\n\r\n{}" % odd,
    ]
    with Rude(photos=SHOTS) as service:
        world.use(service)
        for shape in shapes:
            service.faults[:] = [raw(shape, path=path, method=method)]
            said = civil(world.call(call), 1, 8, 9)
            assert not [one for one in SECRETS if one in said], said


# ---- Secrets of the command line and of addresses


@pytest.mark.parametrize(
    "words",
    [
        ("process", "--import_path", ".", "--user_name", "x", "--user_access_token=secret-of-mine"),
        ("authenticate", "--user_acces_token=secret-of-mine"),
        ("authenticate", "--user-passwort=secret-of-mine"),
        ("authenticate", "--user_name", "demo", "--user_passwords", "secret-of-mine"),
        ("upload", "--import_path", ".", "--user_password=secret-of-mine", "--json"),
    ],
    ids=str,
)
def test_an_option_that_is_not_there_is_named_without_its_value(words):
    ran = run(*words)
    assert (
        "there is no such option" in civil(ran, 2)
        and "secret-of-mine" not in ran.stdout + ran.stderr
    )


@pytest.mark.parametrize("call", ["who", "image", "search"])
def test_a_password_in_the_address_of_a_service_is_not_said(call, world, monkeypatch, server):
    world.ready(1)
    with Service() as other:
        closed = other.root
    for name in ("GRAPH_API", "UPLOAD"):
        address = closed.replace("//", "//me:password-of-address@")
        monkeypatch.setenv(f"MAPILLARY_{name}_ENDPOINT", address)
    ran = world.call(call)
    assert "password-of-address" not in civil(ran, 1, 8, 9)
    assert b"password-of-address" not in b"".join(tree(world.base).values())


@pytest.mark.parametrize(
    "address", ["http://me:password-of-proxy@127.0.0.1:9", "ftp://me:password-of-proxy@x"]
)
def test_a_password_of_a_proxy_is_not_said(address, world, monkeypatch, server):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", address)
    assert "password-of-proxy" not in civil(world.call("who"), 8, 9)


# ---- Other processes

DUMP = '#!/bin/sh\n{ printf "%s\\n" "$@"; env; } >> "$0.dump"\nexit 1\n'


@posix
def test_the_programs_that_are_started_get_no_secret(tmp_path, monkeypatch):
    for name, secret in zip(guard.VARIABLES, (TOKEN, CLIENT_TOKEN)):
        monkeypatch.setenv(name, secret)
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text(DUMP, "utf-8")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "video.mp4").write_bytes(b"\0\0\0\x14ftypisom\0\0\0\0isom" + b"\0" * 100)
    words = ("--video_path", tmp_path / "video.mp4", "--ffmpeg_path", tmp_path / "ffmpeg")
    run("sample_video", "--import_path", tmp_path / "frames", *words)
    dumps = "".join(path.read_text("utf-8") for path in tmp_path.glob("*.dump"))
    assert "video.mp4" in dumps and "PATH=" in dumps
    assert TOKEN not in dumps and CLIENT_TOKEN not in dumps


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_the_workers_get_no_secret(tmp_path):
    """A worker reads and writes photos; what others of this user can list of it holds no token. One that is forked is no
    other program than its parent.
    """
    program = starting_by("spawn", tmp_path, 20)
    making.drive(tmp_path / "photos", 60)
    seen, ended = {}, threading.Event()

    def look():
        own = str(tmp_path).encode()
        while not ended.is_set():
            for name in filter(str.isdigit, os.listdir("/proc")):
                try:
                    words = Path("/proc", name, "cmdline").read_bytes()
                    where = os.readlink(f"/proc/{name}/cwd").encode()
                    if where == own and b"multiprocessing" in words:
                        seen[name] = words + Path("/proc", name, "environ").read_bytes()
                except OSError:
                    continue
            time.sleep(0.005)

    thread = threading.Thread(target=look)
    thread.start()
    words = ["process", "--import_path", "photos", "--user_name", "demo", "--workers", "2"]
    secrets = dict(zip(guard.VARIABLES, (TOKEN, CLIENT_TOKEN)))
    try:
        ran = real(words, env=secrets, cwd=str(tmp_path), program=program)
    finally:
        ended.set()
        thread.join()
    assert ran.code == 0 and len([one for one in seen.values() if b"spawn_main" in one]) >= 2
    assert not [
        one for one in seen.values() if TOKEN.encode() in one or CLIENT_TOKEN.encode() in one
    ]


# ---- The configuration


@posix
def test_every_file_beside_the_configuration_is_private_from_its_birth(world, server, monkeypatch):
    born, plain = [], os.open

    def opening(path, flags, mode=0o777, **more):
        handle = plain(path, flags, mode, **more)
        if flags & os.O_CREAT and str(path).startswith(str(world.base / "new")):
            born.append(oct(stat.S_IMODE(os.fstat(handle).st_mode)))
        return handle

    monkeypatch.setattr(os, "open", opening)
    before = os.umask(0)
    try:
        for _ in range(2):
            run(*BY_TOKEN, "--config_file", world.base / "new" / "config", "--force_overwrite")
    finally:
        os.umask(before)
    assert born == ["0o600"] * 2 and stat.S_IMODE((world.base / "new").stat().st_mode) == 0o700


@posix
def test_what_a_killed_authenticate_left_is_removed_by_the_next(world, server):
    """F21: a temporary file with the token stayed for ever."""
    die = "import os, runpy, sys; os.replace = lambda *a: os._exit(9); sys.argv = sys.argv[1:]; "
    die += "runpy.run_path(sys.argv[0], run_name='__main__')"
    words = [sys.executable, "-I", "-c", die, str(ROOT / "mapillary_tools.py"), *BY_TOKEN]
    write_config(world.config, "token-of-before", "other")
    other = world.base / ".mapillary-my-notes.part"
    other.write_text("mine", "utf-8")
    assert subprocess.run(words, env=dict(os.environ), timeout=60).returncode == 9
    (left,) = [path for path in world.base.glob(".mapillary-*.part") if path != other]
    assert TOKEN in left.read_text("utf-8") and stat.S_IMODE(left.stat().st_mode) == 0o600
    assert run(*BY_TOKEN).code == 0
    assert not left.exists() and other.exists()


@posix
@pytest.mark.parametrize("tool_name", ["authenticate", "upload", "process"])
def test_a_configuration_that_others_can_read_becomes_private_and_that_is_said(
    tool_name, world, server
):
    world.ready(1)
    write_config(world.config, TOKEN, "other" if tool_name == "authenticate" else "demo")
    world.config.chmod(0o644)
    if tool_name == "process":
        ran = run("process", "--import_path", world.photos, "--user_name", "demo", "--rerun")
    else:
        ran = world.call("who" if tool_name == "authenticate" else "image")
    assert ran.code == 0 and stat.S_IMODE(world.config.stat().st_mode) == 0o600
    assert str(world.config) in ran.stderr and "read" in ran.stderr, ran.stderr


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_configuration_that_is_a_link_is_followed_or_refused_and_that_is_said(
    there, world, server
):
    """Followed: the link stays, its target is replaced and private. Refused: nothing is changed."""
    target = world.base / "elsewhere" / "mine"
    target.parent.mkdir()
    world.config.unlink()
    if there:
        write_config(target, "token-of-before", "other")
        guard.configure(target)
    before = target.read_bytes() if there else None
    world.config.symlink_to(target)
    guard.configure(target)
    ran = run(*BY_TOKEN)
    said = civil(ran, 0, 2, 11)
    assert world.config.is_symlink() and str(world.config) in said
    if ran.code:
        assert (target.read_bytes() if target.exists() else None) == before
    else:
        assert (
            TOKEN in target.read_text("utf-8")
            and ("token-of-before" in target.read_text("utf-8")) == there
        )
        assert stat.S_IMODE(target.stat().st_mode) == 0o600 and str(target) in said


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="only root gives files away")
def test_a_configuration_of_another_owner_stays_theirs(world, server):
    os.chown(str(world.config), 65534, 65534)
    assert run(*BY_TOKEN, "--force_overwrite").code == 0
    found = world.config.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 65534, 0o600)


BAD = {
    "zeros": b"\0" * 1000,
    "UTF-16": "[demo]\nuser_upload_token = x\n".encode("utf-16"),
    "a photo": making.jpeg(),
    "one line of 10 MB": b"[demo]\nx = " + b"y" * 10000000,
    "10 MB of lines": b"[demo]\n" + b"x = y\n" * 1700000,
    "10 MB of continued lines": b"[demo]\nx = y\n" + b"  z\n" * 2500000,
    "10 MB of sections": b"".join(b"[%d]\nx = y\n" % number for number in range(700000)),
    "10 MB of brackets": b"[" * 10000000,
    "carriage returns": b"[demo]\ruser_upload_token = x\r",
    "escapes": b"[demo]\n\x1b[31m = \x1b]0;x\x07\n",
    "no name": b"[]\n= x\n",
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_an_odd_configuration_costs_one_line_and_stays_as_it_is_or_is_kept(name, world, server):
    world.config.write_bytes(BAD[name])
    started = time.monotonic()
    ran = run(*BY_TOKEN)
    civil(ran, 0, 2, 11)
    assert time.monotonic() - started < 30
    assert ran.code == 0 or world.config.read_bytes() == BAD[name]
    assert ran.code or tool.read_config(str(world.config))["demo"]["user_upload_token"] == TOKEN


@posix
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "ring"])
def test_a_configuration_that_is_no_file_is_one_line(kind, world, server):
    """A pipe was waited for; an endless device was read until the memory was used up."""
    import resource

    world.config.unlink()
    if kind == "pipe":
        os.mkfifo(str(world.config))
    elif kind == "device":
        world.config.symlink_to("/dev/zero")
    elif kind == "folder":
        world.config.mkdir()
    else:
        world.config.symlink_to(world.config)
    most = 2 << 30

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    try:
        ran = real(BY_TOKEN, preexec_fn=limit)
    except subprocess.TimeoutExpired:
        pytest.fail("it hangs")
    assert str(world.config) in civil(ran, 2, 11)
