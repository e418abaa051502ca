#!/usr/bin/env python3
"""The programs of the README that embed the tool: `python tests/programs.py FOLDER` writes each into a file."""

import re
import sys
from pathlib import Path
from typing import List

README = Path(__file__).resolve().parents[1] / "README.md"


def programs() -> List[str]:
    """The indented blocks that import the module, in order."""
    blocks = re.findall(r"(?:^(?:    .*)?\n)+", README.read_text("utf-8"), re.MULTILINE)
    texts = ["".join(line[4:] or "\n" for line in block.splitlines(True)) for block in blocks]
    return [text.strip("\n") + "\n" for text in texts if "import mapillary_tools" in text]


if __name__ == "__main__":
    for number, text in enumerate(programs(), 1):
        path = Path(sys.argv[1], f"program_{number}.py")
        path.write_text(text, encoding="utf-8")
        print(path)
