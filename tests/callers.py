"""Every command that talks to a service, the call that each makes, and what it may say however the service behaves."""

import base64
import html
import json
import re
import urllib.parse
from pathlib import Path
from typing import Any, Dict, List

import making
from conftest import Ran, run
from service import EMAIL, ORGANIZATION, PASSWORD, TOKEN, Photo, Service

BOX = ("57.69", "57.74", "11.85", "11.95")
SHOTS = [Photo(str(n), 57.7, 11.9, 1714979289123, {"1024": making.jpeg((16, 16))}) for n in (7, 8)]
WAYS = {  # call -> (path, method)
    "login": ("/graph/login", "POST"),
    "who": ("/graph/me", "GET"),
    "organization": ("/graph/2002", "GET"),
    "image": ("/upload/mly_tools_", "POST"),
    "manifest": ("/upload/uuid_", "POST"),
    "finish": ("/graph/finish_upload", "POST"),
    "search": ("/graph/images", "GET"),
    "picture": ("/thumb/", "GET"),
}


class World:
    """A folder of processed photos, and every command that talks to a service."""

    def __init__(self, base: Path, monkeypatch: Any) -> None:
        self.base, self.photos, self.monkeypatch = base, base / "photos", monkeypatch
        self.config = base / "config"

    def ready(self, count: int = 2) -> None:
        making.drive(self.photos, count)
        words = ("--user_name", "demo", "--organization_key", ORGANIZATION["id"])
        assert run("process", "--import_path", self.photos, *words).code == 0

    def use(self, service: Service) -> None:
        for name, value in service.environment(self.config).items():
            self.monkeypatch.setenv(name, value)

    def call(self, name: str, *more: str) -> Ran:
        """The command that makes this call."""
        if name in ("login", "who"):
            mail = ("--user_email", EMAIL, "--user_password", PASSWORD)
            token = ("--user_access_token", TOKEN)
            words = ("--user_name", "demo", "--force_overwrite", *more)
            return run("authenticate", *words, *(mail if name == "login" else token))
        if name in ("search", "picture"):
            words = ("--output_path", self.base / "got", "--offline_limit", "0.01")
            return run("download_images", *BOX, *words, *more)
        return run("upload", "--import_path", self.photos, "--offline_limit", "0.01", *more)


def civil(ran: Ran, *codes: int) -> str:
    """One clear line, no bug, the right code; what was said."""
    said = ran.stdout + ran.stderr
    assert "Traceback" not in said, said[-3000:]
    assert ran.code in codes, (ran.code, said[:2000])
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", said), repr(said[:2000])
    assert max(map(len, said.split("\n"))) < 1500, said[:3000]
    own = [row for row in ran.stderr.split("\n") if row.startswith("mapillary_tools: ")]
    assert len(own) == (ran.code > 1), ran.stderr[:2000]
    return said


def spelled(secret: str) -> Dict[str, str]:
    """A secret as a service, or a library, may spell it."""
    return {
        "plain": secret,
        "JSON": "".join(f"\\u{ord(one):04X}" for one in secret),
        "JSON, where needed": json.dumps(secret)[1:-1],
        "percent": "".join(f"%{ord(one):02X}" for one in secret),
        "percent, where needed": urllib.parse.quote(secret, safe=""),
        "form": urllib.parse.quote_plus(secret),
        "HTML": "".join(f"&#{ord(one)};" for one in secret),
        "HTML, hexadecimal": "".join(f"&#x{ord(one):x};" for one in secret),
        "HTML, where needed": html.escape(secret),
        "base64": base64.b64encode(secret.encode()).decode(),
    }


def spellings(secret: str) -> List[str]:
    """All of them, in capitals and not, each once; without the padding of base64, which may be joined to more."""
    forms = [form.rstrip("=") for form in spelled(secret).values()]
    return sorted(
        {
            one
            for form in forms
            for one in (form, re.sub("(%|u00|&#x)[0-9A-Fa-f]+", lambda m: m.group().lower(), form))
        }
    )
