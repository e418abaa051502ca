"""A real headless Chromium, driven by the W3C WebDriver protocol; nothing is installed for it but chromedriver."""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Iterator, List

DRIVER, CHROME = shutil.which("chromedriver"), shutil.which("chromium")
QUIET = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars"
    " --disable-background-networking --disable-component-update --disable-sync"
    " --force-device-scale-factor=1 --allow-file-access-from-files"
).split()


class Browser:
    """One window."""

    def __init__(self, address: str, width: int, height: int, dark: bool) -> None:
        words = [*QUIET, f"--window-size={width},{height}", *(["--force-dark-mode"] * dark)]
        words.append(f"--user-data-dir={tempfile.mkdtemp(prefix='browser-')}")
        options = {"binary": CHROME, "args": words}
        if width < 500:  # windows are not so narrow: a telephone is put on
            screen = {"width": width, "height": height, "pixelRatio": 1, "touch": True}
            options["mobileEmulation"] = {"deviceMetrics": screen}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        wanted["goog:loggingPrefs"] = {"browser": "ALL"}
        self.address = address
        row = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self.address += "/" + row["sessionId"]

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=60
        ) as answer:
            return json.loads(answer.read().decode())["value"]

    def open(self, path: Any) -> None:
        self._ask("POST", "/url", {"url": Path(str(path)).as_uri()})

    def do(self, script: str, *values: Any) -> Any:
        """What a function body in the page returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(values)})

    def later(self, script: str, *values: Any) -> Any:
        """What a function body gives to its last argument."""
        return self._ask("POST", "/execute/async", {"script": script, "args": list(values)})

    def keys(self, *names: str) -> None:
        """Press keys, one after the other."""
        actions = [
            step
            for name in names
            for step in ({"type": "keyDown", "value": name}, {"type": "keyUp", "value": name})
        ]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def click(self, x: int, y: int) -> None:
        """Click at a place of the window."""
        steps: List[Any] = [{"type": "pointerMove", "duration": 0, "x": x, "y": y}]
        steps += [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self._ask(
            "POST", "/actions", {"actions": [{"type": "pointer", "id": "m", "actions": steps}]}
        )

    def picture(self, path: Any) -> None:
        Path(str(path)).write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def complaints(self) -> List[str]:
        """What the console says of errors."""
        rows = self._ask("POST", "/se/log", {"type": "browser"})
        return [row["message"] for row in rows if row["level"] in ("SEVERE", "WARNING")]

    def close(self) -> None:
        self._ask("DELETE", "")


@contextlib.contextmanager
def browser(width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Browser]:
    """A window of this size; a driver that gives up at its start is started anew."""
    for last in (False, False, True):
        with contextlib.ExitStack() as stack:
            try:
                one = stack.enter_context(_browser(width, height, dark))
            except urllib.error.URLError:
                if last:
                    raise
                continue
            yield one
            return


@contextlib.contextmanager
def _browser(width: int, height: int, dark: bool) -> Iterator[Browser]:
    assert DRIVER
    driver = subprocess.Popen(
        [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        port, start = "", time.monotonic()
        assert driver.stdout is not None
        while not port and time.monotonic() - start < 60:
            line = driver.stdout.readline().decode()
            if "started successfully on port" in line:
                port = line.rsplit("port", 1)[1].strip(" .\n")
        one = Browser(f"http://127.0.0.1:{port}/session", width, height, dark)
        try:
            yield one
        finally:
            one.close()
    finally:
        driver.terminate()
        driver.wait()
