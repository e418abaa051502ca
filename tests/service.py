"""A stand-in for the Mapillary API v4 that misbehaves on demand and keeps account of every byte.

    with Service(faults=[cut(100, path="mly_tools_"), status(500, times=2)]) as service:
        environment = service.environment(config)          # endpoints, and a config file with the user "demo" logged in
        ... run an upload ...
        assert service.problems == []                      # md5 of keys, offsets, descriptions, manifests, double sequences
        assert all(upload.complete for upload in service.received.values())
        assert service.most_open <= 5

Requests are matched with the faults in their order; the first one that fits and is not used up acts. `at` counts bytes of the
request's body: 0 before any is taken, END after the whole request has been carried out but before the answer.

As a process of its own (for measurements): `python tests/service.py --latency 100` prints one line of JSON with the addresses,
serves until its standard input closes, and then prints one line of JSON with what came in.
"""

import argparse
import configparser
import hashlib
import http.server
import json
import re
import socket
import socketserver
import struct
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

import making

END = sys.maxsize
TOKEN = "token-of-demo"
CLIENT_TOKEN = "MLY|1234|client-token"
USER = {"id": "1001", "username": "demo"}
EMAIL, PASSWORD = "demo@example.com", "correct horse"
ORGANIZATION = {"id": "2002", "slug": "city", "name": "The City", "description": "Streets"}
BLOCK = 65536


# ---- Faults


class Fault:
    """One way to misbehave: which requests (method, a regular expression for the path), how often, and what happens."""

    def __init__(
        self,
        action: str,
        method: Optional[str] = None,
        path: str = "",
        times: Optional[int] = 1,
        after: int = 0,
        at: int = 0,
        code: int = 500,
        headers: Optional[Dict[str, str]] = None,
        body: Any = None,
        seconds: float = 0.0,
        early: bool = False,
        by: Any = 0,
    ) -> None:
        self.action, self.method, self.path = action, method, path
        self.times, self.after, self.at = (
            times,
            after,
            at,
        )  # times None: for ever; after: so many matching requests pass first
        self.code, self.headers, self.body = code, headers or {}, body
        self.seconds, self.early, self.by = seconds, early, by
        self.used = 0

    def takes(self, method: str, path: str) -> bool:
        """Whether it acts on this request; counts it."""
        if (self.method and self.method != method) or not re.search(self.path, path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None and self.used >= self.times:
            return False
        self.used += 1
        return True


def cut(at: int = 0, reset: bool = True, **which: Any) -> Fault:
    """The connection breaks after so many bytes of the body (they are kept); END: all is done, the answer is lost."""
    return Fault("reset" if reset else "close", at=at, **which)


def cut_answer(sent: int, **which: Any) -> Fault:
    """The request is carried out, and so many bytes of the answer arrive.

    Its head has about 70; cut there, a client sees 200.
    """
    return Fault("cut_answer", at=END, by=sent, **which)


def status(code: int, body: Any = None, **which: Any) -> Fault:
    """An answer with this status; `early`: before the body is read, and the connection closes."""
    return Fault("answer", code=code, body=body, **which)


def too_many(
    retry_after: Optional[float] = None, backoff: Optional[int] = None, **which: Any
) -> Fault:
    """429, with Retry-After (seconds) or `backoff` (milliseconds) in the body, which says that it is not retriable."""
    info = {
        "retriable": False,
        "type": "RequestRateLimitedError",
        "message": "Request rate limit has been exceeded",
    }
    body: Dict[str, Any] = {"debug_info": info}
    if backoff is not None:
        body["backoff"] = backoff
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Fault("answer", code=429, headers=headers, body=body, **which)


def offset_invalid(**which: Any) -> Fault:
    """412 although the offset is right."""
    return Fault(
        "answer",
        code=412,
        body=_debug("OffsetInvalidError", "Request starting offset is invalid", True),
        **which,
    )


def wrong_offset(by: Any, **which: Any) -> Fault:
    """The answer to "how far are you" is off by so many bytes; text or None is given as it is."""
    return Fault("wrong_offset", method="GET", at=END, by=by, **which)


def stall(seconds: float, at: int = 0, **which: Any) -> Fault:
    """Nothing moves for so long, then it goes on."""
    return Fault("stall", seconds=seconds, at=at, **which)


def html(code: int = 200, **which: Any) -> Fault:
    """A page as a hotel's network gives it."""
    return Fault(
        "answer",
        code=code,
        headers={"Content-Type": "text/html"},
        body="<html><body>Log in</body></html>",
        **which,
    )


def revoked(code: int = 401, **which: Any) -> Fault:
    """The token does not count any more, from the first request that fits (use `after`)."""
    body = {
        "error": {"message": "Error validating access token", "type": "OAuthException", "code": 190}
    }
    body.update(_debug("NotAuthorizedError", "Error validating access token"))
    return Fault("answer", code=code, body=body, times=None, **which)


def _debug(kind: str, message: str, retriable: bool = False) -> Dict[str, Any]:
    return {"debug_info": {"retriable": retriable, "type": kind, "message": message}}


# ---- What came in


class Request:
    """One request as it arrived, and how it was answered."""

    def __init__(
        self, number: int, connection: int, method: str, target: str, headers: Dict[str, str]
    ) -> None:
        self.number, self.connection, self.method, self.target = number, connection, method, target
        self.path = urllib.parse.urlsplit(target).path
        self.headers = headers  # names in lower case
        self.at, self.clock = time.monotonic(), time.time()
        self.bytes = 0  # of the body, taken or not
        self.json: Any = None  # body of graph calls
        self.status: Optional[int] = None  # None: no answer went out
        self.seconds = 0.0
        self.fault: Optional[str] = None

    def __repr__(self) -> str:
        return f"<{self.number} {self.method} {self.path} {self.bytes} bytes -> {self.status} {self.fault or ''}>"


class Upload:
    """The bytes of one session key."""

    def __init__(self, key: str, keep: bool) -> None:
        self.key, self.size, self.complete = key, 0, False
        self.content: Optional[bytearray] = bytearray() if keep else None
        self.md5 = hashlib.md5()
        self.accepted: List[
            Tuple[int, int]
        ] = []  # (from, to) of each POST that brought bytes: they join without overlap
        self.wasted = 0  # bytes of the body that were received and thrown away
        self.asked = self.posts = 0  # how often the offset was asked for, and bytes were sent
        self.handle: Optional[str] = None

    def take(self, block: bytes, position: int) -> bool:
        """Appends; False when another request has got ahead of this one."""
        if position != self.size or self.complete:
            return False
        if self.content is not None:
            self.content += block
        self.md5.update(block)
        self.size += len(block)
        return True


class Photo(NamedTuple):
    """An image that the search finds."""

    id: str
    lat: float
    lon: float
    captured_at: int  # milliseconds
    thumbs: Dict[str, bytes]  # by size: "256", "1024", "2048", "original"


class _Gone(Exception):
    """The connection is over."""


class _Answered(Exception):
    """The answer has gone out."""


# ---- The service


class Service:
    """The service; a context manager. `service.graph_url`, `service.upload_url`, `service.received`, `service.log`."""

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        latency: float = 0.0,
        rate: Optional[float] = None,
        keep: bool = True,
        check: bool = True,
        photos: Iterable[Photo] = (),
        page_size: int = 2000,
        thumb_seconds: float = 3600.0,
        tokens: Iterable[str] = (TOKEN,),
        port: int = 0,
        tls: Any = None,
    ) -> None:
        self.faults = list(faults)
        self.latency, self.rate = latency, rate  # seconds a request; bytes a second and connection
        self.keep, self.check, self.tls = keep, check, tls  # tls: a server side ssl.SSLContext
        self.photos, self.page_size, self.thumb_seconds = list(photos), page_size, thumb_seconds
        self.tokens = set(tokens)
        self.organizations = {ORGANIZATION["id"]: ORGANIZATION}
        self.log: List[Request] = []
        self.received: Dict[str, Upload] = {}
        self.handles: Dict[str, str] = {}  # handle: session key
        self.finished: List[
            Dict[str, Any]
        ] = []  # handle, cluster_id, organization_id, keys of the images, how often asked
        self.problems: List[str] = []  # what a correct client never causes
        self.open_now = self.most_open = self.connections = self.at_once = self.most_at_once = 0
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self._port = port
        self._server: Any = None
        self._sockets: Set[socket.socket] = set()

    def __enter__(self) -> Any:
        self.go_online()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.go_offline()

    def go_online(self) -> None:
        """Listens, on the same port as before."""
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.service = self
        self._port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def go_offline(self) -> None:
        """Refuses connections and breaks those that are open."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        with self.lock:
            for open_socket in self._sockets:
                _break(open_socket)

    @property
    def root(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    @property
    def graph_url(self) -> str:
        return self.root + "/graph"

    @property
    def upload_url(self) -> str:
        return self.root + "/upload"

    def environment(self, config: Optional[Path] = None, token: str = TOKEN) -> Dict[str, str]:
        """Environment variables that lead a client here; with `config`, a file of credentials for "demo" is written there."""
        found = {
            "MAPILLARY_GRAPH_API_ENDPOINT": self.graph_url,
            "MAPILLARY_UPLOAD_ENDPOINT": self.upload_url,
            "MAPILLARY_CLIENT_TOKEN": CLIENT_TOKEN,
            "no_proxy": "127.0.0.1",
        }
        if config is not None:
            write_config(config, token)
            found["MAPILLARY_CONFIG_PATH"] = str(config)
        return found

    # -- questions that tests ask

    def requests(self, method: Optional[str] = None, path: str = "") -> List[Request]:
        """The log, or a part of it."""
        with self.lock:
            return [
                r
                for r in self.log
                if (method is None or r.method == method) and re.search(path, r.path)
            ]

    def images(self) -> Dict[str, Upload]:
        """What came in under the name of an image, whole or not."""
        return {key: upload for key, upload in self.received.items() if not key.endswith(".json")}

    def manifests(self) -> Dict[str, Upload]:
        return {key: upload for key, upload in self.received.items() if key.endswith(".json")}

    def wasted(self) -> int:
        """Bytes that were sent for nothing."""
        return sum(upload.wasted for upload in self.received.values())

    def summary(self) -> Dict[str, Any]:
        """Figures only, for another process."""
        kinds: Dict[str, int] = {}
        for request in self.log:
            name = f"{request.method} {'/upload' if request.path.startswith('/upload/') else request.path}"
            kinds[name] = kinds.get(name, 0) + 1
        return {
            "requests": kinds,
            "images": sum(u.complete for u in self.images().values()),
            "wasted": self.wasted(),
            "bytes": sum(u.size for u in self.received.values()),
            "finished": len(self.finished),
            "connections": self.connections,
            "most_open": self.most_open,
            "problems": self.problems[:20],
            "first": self.log[0].clock if self.log else None,
        }

    # -- what the handler does here

    def fault_for(self, method: str, path: str) -> Optional[Fault]:
        with self.lock:
            return next((fault for fault in self.faults if fault.takes(method, path)), None)

    def upload(self, key: str) -> Upload:
        with self.lock:
            return self.received.setdefault(key, Upload(key, self.keep or key.endswith(".json")))

    def complete(self, upload: Upload) -> str:
        """All bytes are there: judges them and gives the handle, always the same for a key."""
        with self.lock:
            if not upload.complete:
                upload.complete = True
                upload.handle = "handle-" + hashlib.sha256(upload.key.encode()).hexdigest()[:24]
                self.handles[upload.handle] = upload.key
                self._judge(upload)
            return str(upload.handle)

    def _judge(self, upload: Upload) -> None:
        named = re.fullmatch(r"mly_tools_([0-9a-f]{32})\.(?:jpg|mp4)", upload.key)
        if named and named.group(1) != upload.md5.hexdigest():
            self.problems.append(f"{upload.key}: md5 of the bytes is {upload.md5.hexdigest()}")
        image = upload.key.endswith(".jpg")
        if not named and not re.fullmatch(r"uuid_[0-9a-f]{32}\.json", upload.key):
            self.problems.append(f"{upload.key}: not a name for a session")
        if image and self.check and upload.content is not None:
            try:
                found = making.description(bytes(upload.content))
            except (ValueError, IndexError, struct.error) as error:
                found = {}
                self.problems.append(f"{upload.key}: not a good JPEG: {error}")
            missing = [
                name
                for name in ("MAPLatitude", "MAPLongitude", "MAPCaptureTime")
                if name not in found
            ]
            if missing:
                self.problems.append(f"{upload.key}: description without {', '.join(missing)}")

    def finish(self, body: Any) -> Tuple[int, Any]:
        """finish_upload: checks the manifest; the same handle gets the same cluster."""
        with self.lock:
            handle = body.get("file_handle") if isinstance(body, dict) else None
            for record in self.finished:
                if record["handle"] == handle:
                    record["asked"] += 1
                    return 200, {"cluster_id": record["cluster_id"]}
            try:
                keys = self._manifest(handle, body)
            except ValueError as error:
                self.problems.append(f"finish_upload: {error}")
                return 400, {
                    "error": {"message": str(error), "type": "OAuthException", "code": 100}
                }
            cluster = str(9000 + len(self.finished))
            self.finished.append(
                {
                    "handle": handle,
                    "cluster_id": cluster,
                    "images": keys,
                    "asked": 1,
                    "organization_id": body.get("organization_id"),
                }
            )
            return 200, {"cluster_id": cluster}

    def _manifest(self, handle: Any, body: Any) -> List[str]:
        key = self.handles.get(handle, "")
        if key.endswith(".mp4") and body.get("file_type") == "mly_camm_video":
            return [key]
        if handle not in self.handles or body.get("file_type") != "mly_bundle_manifest":
            raise ValueError(f"no such manifest: {body!r}")
        manifest = json.loads(
            bytes(self.received[self.handles[handle]].content or b"").decode("utf-8")
        )
        if manifest.get("version") != "1" or manifest.get("upload_type") != "images":
            raise ValueError(f"not a manifest: {manifest!r}")
        unknown = [one for one in manifest["image_handles"] if one not in self.handles]
        if unknown or not manifest["image_handles"]:
            raise ValueError(f"handles that do not exist: {unknown}")
        keys = [self.handles[one] for one in manifest["image_handles"]]
        before = {key for record in self.finished for key in record["images"]}
        twice = (
            [key for key in keys if key in before or keys.count(key) > 1]
            if len(keys) < 2000
            else []
        )
        if twice:
            self.problems.append(f"finish_upload: images in two sequences: {twice}")
        return keys

    def search(self, query: Dict[str, str]) -> Tuple[int, Any]:
        """GET /images: those inside the box, a page at a time."""
        try:
            west, south, east, north = (float(part) for part in query["bbox"].split(","))
            limit = int(query.get("limit", "2000"))
        except (KeyError, ValueError):
            return 400, {"error": {"message": "bbox and limit are needed", "code": 100}}
        if (east - west) * (north - south) > 0.01 + 1e-12 or east < west or north < south:
            return 400, {"error": {"message": "The bounding box is too large", "code": 100}}
        inside = [p for p in self.photos if west <= p.lon <= east and south <= p.lat <= north]
        first = int(query.get("after", "0"))
        size = min(limit, self.page_size)
        answer: Dict[str, Any] = {
            "data": [self._found(photo, query) for photo in inside[first : first + size]]
        }
        if first + size < len(inside) and size < limit:
            onward = urllib.parse.urlencode({**query, "after": first + size})
            answer["paging"] = {
                "cursors": {"after": str(first + size)},
                "next": f"{self.graph_url}/images?{onward}",
            }
        return 200, answer

    def _found(self, photo: Photo, query: Dict[str, str]) -> Dict[str, Any]:
        point = {"type": "Point", "coordinates": [photo.lon, photo.lat]}
        known = {
            "id": photo.id,
            "captured_at": photo.captured_at,
            "geometry": point,
            "computed_geometry": point,
        }
        expires = int((time.time() + self.thumb_seconds) * 1000)
        for size in photo.thumbs:
            known[f"thumb_{size}_url"] = f"{self.root}/thumb/{photo.id}/{size}?expires={expires}"
        return {name: known[name] for name in query.get("fields", "id").split(",") if name in known}


def write_config(path: Path, token: str = TOKEN, user_name: str = "demo") -> Path:
    """Credentials as the tool keeps them: one section a user name."""
    config = configparser.ConfigParser()
    config.optionxform = str  # type: ignore
    config[user_name] = {
        "user_upload_token": token,
        "MAPSettingsUserKey": USER["id"],
        "MAPSettingsUsername": user_name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        config.write(stream)
    path.chmod(0o600)
    return path


def _break(connection: socket.socket) -> None:
    """Ends a connection for both sides, also while its thread waits on it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128
    service: Service

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without the look-up of a host name
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, (OSError, _Gone)):
            self.service.problems.append(f"the service itself failed: {error!r}")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        service = self.server.service
        if service.tls:
            self.request = service.tls.wrap_socket(self.request, server_side=True)
        with service.lock:
            service.connections += 1
            service.open_now += 1
            service.most_open = max(service.most_open, service.open_now)
            service._sockets.add(self.request)
            self.connection_id = service.connections
        super().setup()

    def finish(self) -> None:
        service = self.server.service
        with service.lock:
            service.open_now -= 1
            service._sockets.discard(self.request)
        super().finish()
        if service.tls:
            self.request.close()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve(self.command)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def _serve(self, method: str) -> None:
        service = self.server.service
        self.service = service
        with service.lock:
            self.record = Request(
                len(service.log) + 1,
                self.connection_id,
                method,
                self.path,
                {name.lower(): value for name, value in self.headers.items()},
            )
            service.log.append(self.record)
            service.at_once += 1
            service.most_at_once = max(service.most_at_once, service.at_once)
        self.fault = service.fault_for(method, self.record.path)
        if self.fault is not None:
            self.record.fault = self.fault.action
        self.left = self._pieces()
        try:
            self._route(method, self.record.path)
        except _Answered:
            pass
        except (_Gone, OSError):
            self.close_connection = True
        finally:
            self.record.seconds = time.monotonic() - self.record.at
            with service.lock:
                service.at_once -= 1

    # -- the body

    def _pieces(self) -> Iterator[bytes]:
        """The body in blocks as they arrive; raises _Gone when it breaks off."""
        if "chunked" in self.record.headers.get("transfer-encoding", "").lower():
            while True:
                length = int(self._line().split(b";")[0], 16)
                if not length:
                    while self._line():
                        pass
                    return
                yield from self._exactly(length)
                self._line()
        else:
            yield from self._exactly(int(self.record.headers.get("content-length", "0")))

    def _line(self) -> bytes:
        line = self.rfile.readline(1000)
        if not line.endswith(b"\n"):
            raise _Gone
        return line.strip()

    def _exactly(self, length: int) -> Iterator[bytes]:
        while length:
            fault = self.fault
            room = (
                BLOCK if fault is None or fault.at == END else max(1, fault.at - self.record.bytes)
            )
            block = self.rfile.read1(min(length, BLOCK, room))  # type: ignore
            if not block:
                raise _Gone
            if self.service.rate:
                self.service.closing.wait(len(block) / self.service.rate)
            length -= len(block)
            self.record.bytes += len(block)
            yield block

    def _body(self, take: Callable[[bytes], None]) -> None:
        """Hands the body to `take`, and lets the fault act at its byte."""
        self._act_if(self.record.bytes)
        for block in self.left:
            take(block)
            self._act_if(self.record.bytes)

    def _act_if(self, position: int) -> None:
        if self.fault is not None and self.fault.at != END and position >= self.fault.at:
            self._act()

    def _act(self) -> None:
        """The fault: comes back only when the request goes on."""
        fault, self.fault = self.fault, None
        assert fault is not None
        if fault.action == "stall":
            self.service.closing.wait(fault.seconds)
        elif fault.action == "reset":
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise _Gone
        elif fault.action == "close":
            raise _Gone
        elif fault.action == "answer":
            if fault.early:
                self.close_connection = True
            else:
                self._waste()
            self._send(fault.code, fault.body if fault.body is not None else {}, fault.headers)
            if fault.early:
                self.connection.shutdown(socket.SHUT_WR)
                self._waste()
            raise _Answered

    def _waste(self) -> None:
        """Reads the rest of the body and throws it away."""
        before = self.record.bytes
        try:
            for _ in self.left:
                pass
        finally:
            if self.record.path.startswith("/upload/"):
                with self.service.lock:
                    upload = self.service.received.get(self.record.path[8:])
                    if upload is not None:
                        upload.wasted += self.record.bytes - before

    # -- answers

    def _send(
        self,
        code: int,
        body: Any,
        headers: Optional[Dict[str, str]] = None,
        at_most: Optional[int] = None,
    ) -> None:
        content = (
            body
            if isinstance(body, bytes)
            else (body if isinstance(body, str) else json.dumps(body)).encode("utf-8")
        )
        fields = {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **(headers or {}),
        }
        if self.close_connection:
            fields["Connection"] = "close"
        if self.service.latency:
            self.service.closing.wait(self.service.latency)
        reason = http.server.BaseHTTPRequestHandler.responses.get(code, ("",))[0]
        head = (
            f"HTTP/1.1 {code} {reason}\r\n"
            + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            + "\r\n"
        )
        whole = head.encode("latin-1") + (b"" if self.command == "HEAD" else content)
        self.record.status = code
        self.wfile.write(whole if at_most is None else whole[:at_most])

    def _answer(self, code: int, body: Any, headers: Optional[Dict[str, str]] = None) -> None:
        """The true answer, unless a fault comes in between; what is left of the body is thrown away first."""
        self._waste()
        if self.fault is not None:
            fault = self.fault
            if fault.action == "cut_answer":
                self._send(code, body, headers, fault.by)
                raise _Gone
            if fault.action == "wrong_offset" and isinstance(body, dict) and "offset" in body:
                body = {
                    "offset": body["offset"] + fault.by if isinstance(fault.by, int) else fault.by
                }
            else:
                self._act()
        self._send(code, body, headers)

    # -- what is asked for

    def _route(self, method: str, path: str) -> None:
        if self.record.target.startswith("/_summary"):
            return self._send(200, self.service.summary())
        if path.startswith("/thumb/"):
            return self._thumb(path)
        if path == "/graph/login" and method == "POST":
            return self._login()
        if path.startswith("/upload/"):
            self.service.upload(path[8:])
        token = self.record.headers.get("authorization", "")
        if not token.startswith("OAuth ") or token[6:] not in self._tokens_for(path):
            body = {
                "error": {
                    "message": "Invalid OAuth access token",
                    "type": "OAuthException",
                    "code": 190,
                }
            }
            return self._answer(
                401, {**body, **_debug("NotAuthorizedError", "Invalid OAuth access token")}
            )
        if path.startswith("/upload/"):
            return self._offset(path[8:]) if method == "GET" else self._take(path[8:])
        return self._graph(method, path)

    def _tokens_for(self, path: str) -> Set[str]:
        return self.service.tokens | (
            {CLIENT_TOKEN} if path in ("/graph/images", "/graph/logging") else set()
        )

    def _graph(self, method: str, path: str) -> None:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.record.target).query))
        if method == "POST":
            self._json()
        else:
            self._body(lambda block: None)
        if (method, path) == ("GET", "/graph/me"):
            return self._answer(200, USER)
        if (method, path) == ("GET", "/graph/images"):
            return self._answer(*self.service.search(query))
        if (method, path) == ("POST", "/graph/finish_upload"):
            return self._answer(*self.service.finish(self.record.json))
        if (method, path) == ("POST", "/graph/logging"):
            return self._answer(200, {})
        organization = self.service.organizations.get(path[len("/graph/") :])
        if method == "GET" and organization:
            return self._answer(200, organization)
        message = (
            f"Unsupported {method.lower()} request. Object with ID '{path[7:]}' does not exist"
        )
        return self._answer(
            400, {"error": {"message": message, "type": "GraphMethodException", "code": 100}}
        )

    def _json(self) -> None:
        content = bytearray()
        self._body(content.extend)
        try:
            self.record.json = json.loads(content.decode("utf-8"))
        except ValueError:
            self.service.problems.append(
                f"{self.record.path}: body is not JSON: {bytes(content)!r}"
            )
            self.record.json = {}

    def _login(self) -> None:
        self._json()
        body = self.record.json
        if self.record.headers.get("authorization") != "OAuth " + CLIENT_TOKEN:
            return self._answer(
                401,
                {
                    "error": {
                        "message": "Invalid client token",
                        "type": "OAuthException",
                        "code": 190,
                    }
                },
            )
        if (body.get("email"), body.get("password")) != (EMAIL, PASSWORD):
            return self._answer(
                400,
                {
                    "error": {
                        "message": "Invalid username or password",
                        "type": "OAuthException",
                        "code": 100,
                        "error_subcode": 1348028,
                        "error_user_title": "Wrong password",
                        "error_user_msg": "The password that you have entered is incorrect.",
                    }
                },
            )
        return self._answer(200, {"access_token": TOKEN, "user_id": USER["id"]})

    def _offset(self, key: str) -> None:
        self._body(lambda block: None)
        upload = self.service.upload(key)
        with self.service.lock:
            upload.asked += 1
            size = upload.size
        self._answer(200, {"offset": size})

    def _take(self, key: str) -> None:
        upload = self.service.upload(key)
        offset, name = (
            self.record.headers.get("offset", ""),
            self.record.headers.get("x-entity-name"),
        )
        with self.service.lock:
            upload.posts += 1
            if name != key:
                self.service.problems.append(f"{key}: X-Entity-Name is {name!r}")
            right = offset == str(upload.size)
        if not right:
            return self._answer(
                412, _debug("OffsetInvalidError", "Request starting offset is invalid", True)
            )
        start = at = int(offset)

        def take(block: bytes) -> None:
            nonlocal at
            with self.service.lock:
                if not upload.take(block, at):
                    upload.wasted += len(block)
                    if upload.complete:
                        self.service.problems.append(f"{key}: {len(block)} bytes after the end")
                    raise _Gone
                at += len(block)

        try:
            self._body(take)
        finally:
            if at > start:
                with self.service.lock:
                    upload.accepted.append((start, at))
        self._answer(200, {"h": self.service.complete(upload)})

    def _thumb(self, path: str) -> None:
        _, _, photo_id, size = path.split("/")
        expires = int(re.findall(r"expires=(\d+)", self.record.target + "expires=0")[0])
        if time.time() * 1000 > expires:
            return self._answer(403, "URL signature expired", {"Content-Type": "text/plain"})
        for photo in self.service.photos:
            if photo.id == photo_id and size in photo.thumbs:
                return self._answer(200, photo.thumbs[size], {"Content-Type": "image/jpeg"})
        return self._answer(404, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--latency", type=float, default=0.0, help="milliseconds added to each answer"
    )
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--config", type=Path, help="write credentials for the user demo here")
    args = parser.parse_args()
    with Service(latency=args.latency / 1000, port=args.port, keep=False, check=False) as service:
        print(json.dumps(service.environment(args.config)), flush=True)
        sys.stdin.read()
        print(json.dumps(service.summary()), flush=True)


if __name__ == "__main__":
    main()
