"""Odd file systems for the tests: mounted from a file of some megabytes where that is allowed, else skipped with a word."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, List, Optional

import pytest

_SBIN = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def program(name: str) -> str:
    """The path of a program; skips the test where it is missing."""
    found = shutil.which(name, path=_SBIN)
    if found is None:
        pytest.skip(f"{name} is not on this computer")
    return str(found)


def _called(*argv: Any) -> Optional[str]:
    """None where a program did its work, else what it said."""
    done = subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    said = done.stdout.decode("utf-8", "replace").strip()
    return None if done.returncode == 0 else f"{argv[0]}: {said.splitlines()[-1] if said else ''}"


def only_where_allowed() -> None:
    """Skip where nobody could mount anything."""
    if not sys.platform.startswith("linux"):
        pytest.skip("mounts as Linux does")
    if os.geteuid() != 0:
        pytest.skip("only root may mount")


class Mounted:
    """A file system of its own, that can be taken out and put in again, as a card is."""

    def __init__(self, kind: str, folder: Path, megabytes: int) -> None:
        self.kind, self.place, self.image = kind, folder / "mounted", folder / "card"
        self.size, self.loop = megabytes, ""
        self.place.mkdir()
        if kind != "tmpfs":
            with open(str(self.image), "wb") as stream:
                stream.truncate(megabytes << 20)
            makers = {
                "vfat": ["mkfs.vfat"],
                "exfat": ["mkfs.exfat"],
                "ntfs": ["mkfs.ntfs", "-F", "-q", "-f"],
            }
            name, *options = makers[kind]
            wrong = _called(program(name), *options, self.image)
            if wrong:
                pytest.skip(wrong)

    def _ways(self) -> List[List[str]]:
        """Commands that may mount it: the kernel's way, then that of a program."""
        place, source = str(self.place), str(self.loop or self.image)
        if self.kind == "tmpfs":
            return [["mount", "-t", "tmpfs", "-o", f"size={self.size}m", "none", place]]
        own = {
            "vfat": ["fusefat", "-o", "rw+", source, place],
            "exfat": ["mount.exfat-fuse", source, place],
            "ntfs": ["ntfs-3g", source, place],
        }[self.kind]
        return [["mount", "-t", self.kind, source, place], own]

    def put_in(self) -> None:
        """Mount it; skips the test where that cannot be."""
        if self.kind == "exfat" and not self.loop:
            done = subprocess.run(
                [program("losetup"), "-f", "--show", str(self.image)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self.loop = done.stdout.decode().strip()
            if not self.loop:
                pytest.skip("there is no loop device")
        said = []
        for argv in self._ways():
            found = shutil.which(argv[0], path=_SBIN)
            wrong = _called(found, *argv[1:]) if found else f"{argv[0]} is not on this computer"
            if wrong is None and os.path.ismount(str(self.place)):
                return
            said.append(wrong or "it is not there after mounting")
        pytest.skip("; ".join(said))

    def take_out(self) -> None:
        """Unmount it."""
        if os.path.ismount(str(self.place)):
            wrong = _called("umount", self.place)
            if wrong:
                _called("umount", "-l", self.place)
        if self.loop:
            _called(program("losetup"), "-d", self.loop)
            self.loop = ""

    def again(self) -> None:
        """Take it out and put it in: what only memory knew is gone, such as finer times."""
        if self.kind != "tmpfs":
            self.take_out()
            self.put_in()

    def read_only(self) -> None:
        """Have nothing written any more."""
        wrong = _called("mount", "-o", "remount,ro", self.place)
        if wrong:
            pytest.skip(wrong)


@contextlib.contextmanager
def mounted(kind: str, folder: Path, megabytes: int = 12) -> Iterator[Mounted]:
    """A file system of a kind below a folder, while the block runs."""
    only_where_allowed()
    card = Mounted(kind, folder, megabytes)
    try:
        card.put_in()
        yield card
    finally:
        card.take_out()
