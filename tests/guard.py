"""No secret appears anywhere: what a test prints and leaves is searched for the secrets that it used; it fails by its name.

conftest.py brings this in for every test. Searched are: what `run` and `real` give, all that the module prints or logs in this
process, what programs started by the test print through communicate(), their arguments, and every file below tmp_path and the
home of the test. A secret is what tests/service.py calls one, what was given by an option or the environment, and what a
configuration holds; it may be spelled as in callers.spelled. The one place where tokens belong is left out: the options
user_upload_token and MAPILLARY_CLIENT_TOKEN of a configuration file.

A test that leaves a secret on purpose says where: `guard.allow(path)`.
"""

import contextlib
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

import pytest

SHORTEST = 8  # a shorter text may stand anywhere by chance
SEARCHED = 1 << 20  # bytes at either end of a file
GIVEN = ("--user_access_token", "--user_password", "--user_email")
VARIABLES = ("MAPILLARY_ACCESS_TOKEN", "MAPILLARY_CLIENT_TOKEN")
BELONGS = re.compile(rb"(?m)^(user_upload_token|MAPILLARY_CLIENT_TOKEN)[ \t]*[=:].*$")


class Watch:
    """What one test used, printed and left."""

    def __init__(self) -> None:
        from service import CLIENT_TOKEN, EMAIL, PASSWORD, TOKEN

        self.secrets: Set[str] = {TOKEN, CLIENT_TOKEN, EMAIL, PASSWORD}
        self.texts: List[Tuple[str, str]] = []  # where, what
        self.configs: Set[str] = set()
        self.allowed: Set[str] = set()

    def add(self, secret: Any) -> None:
        if isinstance(secret, str) and len(secret.strip()) >= SHORTEST:
            self.secrets.add(secret.strip())

    def started(self, words: Sequence[Any], environment: Optional[Mapping[str, str]]) -> None:
        """The tool was called with these words."""
        listed = list(map(str, words))
        for word, following in zip(listed, [*listed[1:], ""]):
            option, equals, value = word.partition("=")
            option = option.replace("-", "_").replace("__", "--", 1)
            if option in GIVEN:
                self.add(value if equals else following)
            if option == "--config_file":
                configure(value if equals else following)
        known: Mapping[str, str] = os.environ if environment is None else environment
        for variable in VARIABLES:
            self.add(known.get(variable))
        home = known.get("HOME", "")
        for path in (known.get("MAPILLARY_CONFIG_PATH"), home + "/.config/mapillary/config"):
            if path:
                configure(path)

    def read_configs(self) -> None:
        for path in self.configs:
            with contextlib.suppress(OSError):
                if not os.path.isfile(path):  # a pipe, a device
                    continue
                content = Path(path).read_bytes()[:SEARCHED]
                for row in BELONGS.finditer(content):
                    value = re.split(rb"[=:]", row.group(), maxsplit=1)[1].strip()
                    self.add(value.decode("utf-8", "replace"))

    def found(self, folders: Sequence[Path]) -> List[str]:
        """Where which secret is to be seen, and how it is spelled there."""
        self.read_configs()
        forms = forms_of(self.secrets)
        places = []
        for where, text in self.texts:
            places += [f"{where}: {one}" for one in seen(text.encode("utf-8", "replace"), forms)]
        for path in (path for folder in folders for path in files_in(folder)):
            if os.path.abspath(str(path)) not in self.allowed:
                name = os.fsencode(path.name)
                content = name + b"\n" + content_of(path, self.configs)
                places += [f"{path}: {one}" for one in seen(content, forms)]
        return list(dict.fromkeys(places))


def forms_of(secrets: Set[str]) -> Dict[bytes, str]:
    """Every spelling of every secret, with the words for it."""
    from callers import spellings

    return {form.encode("utf-8"): one for one in secrets for form in spellings(one)}


def seen(content: bytes, forms: Dict[bytes, str]) -> List[str]:
    """Which secrets a text holds, with how they are spelled; what is left in a mended text is shown in part only."""
    return [f"{secret!r} as {form.decode()!r}" for form, secret in forms.items() if form in content]


def files_in(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(str(folder)):
        for name in names:
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                yield path


def content_of(path: Path, configs: Set[str]) -> bytes:
    """What is searched of a file: the places where tokens belong are taken out of a configuration."""
    try:
        with path.open("rb") as stream:
            content = stream.read(SEARCHED)
            if path.stat().st_size > SEARCHED:
                stream.seek(max(SEARCHED, path.stat().st_size - SEARCHED))
                content += stream.read(SEARCHED)
    except OSError:
        return b""
    return BELONGS.sub(b"", content) if os.path.abspath(str(path)) in configs else content


# ---- What is watched

_now: Optional[Watch] = None


def printed(where: str, *texts: Any) -> None:
    """Something was printed."""
    for text in texts:
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        if _now is not None and text:
            _now.texts.append((where, str(text)))


def called(words: Sequence[Any], environment: Optional[Mapping[str, str]] = None) -> None:
    """The tool was called."""
    if _now is not None:
        _now.started(list(words), environment)


def configure(path: Any) -> None:
    """A configuration is, or may be, in this file: tokens belong there."""
    if _now is not None:
        _now.configs.add(os.path.abspath(str(path)))


def allow(path: Any) -> None:
    """The test leaves a secret in this file on purpose."""
    if _now is not None:
        _now.allowed.add(os.path.abspath(str(path)))


class _Heard(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        printed("the log", record.getMessage())


def _ours(words: Any) -> bool:
    listed = words if isinstance(words, (list, tuple)) else [words]
    return any(
        "mapillary_tools" in os.fsdecode(word) for word in listed if not isinstance(word, int)
    )


def _listen_to_programs() -> None:
    begin, talk = subprocess.Popen.__init__, subprocess.Popen.communicate

    def started(self: Any, args: Any, *more: Any, **named: Any) -> None:
        if _ours(args):
            called(args if isinstance(args, (list, tuple)) else [args], named.get("env"))
        begin(self, args, *more, **named)

    def heard(self: Any, *more: Any, **named: Any) -> Any:
        pair = talk(self, *more, **named)
        if _ours(self.args):
            printed("what a program printed", *pair)
        return pair

    subprocess.Popen.__init__ = started  # type: ignore
    subprocess.Popen.communicate = heard  # type: ignore


def _listen_to_module() -> None:
    """From the first test on that has the module: what it prints, and what it is called with."""
    module = sys.modules.get("mapillary_tools")
    if module is None or hasattr(module, "_unheard"):
        return
    plain, start = module.print_line, module.main
    module._unheard = plain  # type: ignore

    def _print(text: str, stream: Any) -> None:
        printed("what was printed", text)
        plain(text, stream)

    def main(argv: Any = None) -> int:
        called(sys.argv[1:] if argv is None else argv)
        return int(start(argv))

    def write_config(path: Path, *more: Any, **named: Any) -> Path:
        configure(path)
        return write(path, *more, **named)

    import service

    write, service.write_config = service.write_config, write_config
    module.print_line, module.main = _print, main  # type: ignore
    logging.getLogger("mapillary_tools").addHandler(_Heard())


_listen_to_programs()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> Iterator[Any]:
    """Watch a test, and let it fail when a secret of it is to be seen."""
    global _now
    _listen_to_module()
    before, watch = _now, Watch()
    _now = watch
    try:
        result = yield
        watch.started([], None)  # embedding calls read the environment, too
        given = pyfuncitem.funcargs
        folders = [given[name] for name in ("tmp_path", "own_home") if name in given]
        places = watch.found([Path(str(folder)) for folder in folders])
        assert not places, "secrets are to be seen:\n" + "\n".join(places[:20])
        return result
    finally:
        _now = before
