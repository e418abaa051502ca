#!/usr/bin/env python3
"""What the official package says of drives: a line of [[time, lat, lon], ...] in, the numbers of the photos that fail out.

Run by tests/drives.py --official with a Python that has that package.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any, List, Set

# our own module of the same name is not wanted here
sys.path[:] = [one for one in sys.path if not (Path(one or ".") / "mapillary_tools.py").exists()]

from mapillary_tools import types  # noqa: E402
from mapillary_tools.process_sequence_properties import (  # noqa: E402
    process_sequence_properties,
)


def failing(rows: List[List[float]]) -> Set[int]:
    images: List[Any] = [
        types.ImageMetadata(
            time,
            lat,
            lon,
            None,
            None,
            filename=Path(f"{number:06d}.jpg"),
            width=1,
            height=1,
            filesize=1,
        )
        for number, (time, lat, lon) in enumerate(rows)
    ]
    out = set()
    for one in process_sequence_properties(images):
        if isinstance(one, types.ErrorMetadata):
            if "Duplication" not in type(one.error).__name__:  # those may repeat each other
                out.add(int(Path(one.filename).stem))
    return out


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        print(json.dumps(sorted(failing(json.loads(line)))), flush=True)
