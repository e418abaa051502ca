#!/usr/bin/env python3
"""Makes dist/mapillary_tools.pyz, which runs as it is, and dist/mapillary_tools.zip: script, vendor, licences.

    python tests/bundle.py dist                  # the same bytes on every machine and Python
    python tests/bundle.py dist --with FOLDER    # with the packages gpxpy and exifread from a folder, too

The archives hold sorted names, one date, and no compression, which differs between versions of zlib.
"""

import argparse
import sys
import zipfile
from pathlib import Path
from typing import Dict, Optional

ROOT = Path(__file__).resolve().parents[1]
DATE = (2020, 1, 1, 0, 0, 0)
START = b"""import os
import signal
import sys

if __name__ == "__main__":  # while the script is compiled, which takes a moment
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

from mapillary_tools import _prepare, main

if __name__ == "__main__":
    _prepare()
    sys.exit(main())
"""


def contents(more: Optional[Path] = None) -> Dict[str, bytes]:
    """Name -> bytes of what is copied to a computer."""
    found = {
        name: (ROOT / name).read_bytes() for name in ("mapillary_tools.py", "LICENSE", "README.md")
    }
    folders = [(ROOT / "vendor", "vendor")] + ([(more, "vendor")] if more else [])
    for folder, name in folders:
        for path in sorted(folder.rglob("*")):
            if (
                path.is_file()
                and "__pycache__" not in path.parts
                and path.suffix in (".py", ".txt", "")
            ):
                found[f"{name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return found


def write(path: Path, files: Dict[str, bytes], lead: bytes = b"") -> None:
    """A zip archive behind a first line."""
    with open(str(path), "wb") as stream:
        stream.write(lead)
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, DATE)
                entry.external_attr = 0o644 << 16
                entry.create_system = 3
                archive.writestr(entry, files[name])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", help="where they go")
    parser.add_argument("--with", dest="more", type=Path, help="a folder with gpxpy and exifread")
    asked = parser.parse_args()
    Path(asked.folder).mkdir(parents=True, exist_ok=True)
    files, base = contents(asked.more), Path(asked.folder)
    write(
        base / "mapillary_tools.zip",
        {f"mapillary_tools/{name}": data for name, data in files.items()},
    )
    write(
        base / "mapillary_tools.pyz",
        dict(files, **{"__main__.py": START}),
        b"#!/usr/bin/env python3\n",
    )
    for name in ("mapillary_tools.pyz", "mapillary_tools.zip"):
        print(f"{base / name}: {(base / name).stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
