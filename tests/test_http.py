"""When a request is tried again, through which proxy it goes, which certificates count, and where the token goes."""

import email.utils
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

import making
import mapillary_tools as tool
from service import TOKEN, Service, status

OPENSSL = shutil.which("openssl")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No long pauses, and nothing of this computer's own environment."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("MAPILLARY_", "SSL_CERT")):
            monkeypatch.delenv(name)


# ---- retry_delay


def debug(kind="X", retriable=False, **more):
    return dict(more, debug_info={"type": kind, "retriable": retriable, "message": "m"})


@pytest.mark.parametrize(
    "status_, headers, row, expected",
    [
        (None, {}, {}, 0.5),  # the connection broke
        (500, {}, {}, 0.5),
        (502, {}, {}, 0.5),
        (503, {}, {}, 0.5),
        (504, {}, {}, 0.5),
        (599, {}, {}, 0.5),
        (503, {"retry-after": "7"}, {}, 7.0),
        (429, {}, {}, 0.5),
        (429, {"retry-after": "3"}, {}, 3.0),
        (429, {"Retry-After": " 3 "}, {}, 3.0),
        (429, {"retry-after": "0"}, {}, 0.0),
        (429, {"retry-after": "soon"}, {}, 0.5),
        (429, {"retry-after": "-5"}, {}, 0.5),
        (429, {"retry-after": ""}, {}, 0.5),
        (429, {}, debug("RequestRateLimitedError", False, backoff=1500), 1.5),
        (429, {}, {"debug_info": {"retriable": False, "backoff": 2500}}, 2.5),
        (429, {}, {"backoff": "much"}, 0.5),
        (429, {}, {"backoff": -1}, 0.5),
        (429, {}, {"backoff": True}, 0.5),
        (429, {}, {"backoff": float("nan")}, 0.5),
        (429, {}, {"debug_info": "x"}, 0.5),
        (412, {}, {}, 0.0),
        (412, {}, debug("OffsetInvalidError", True), 0.0),
        (400, {}, debug("OffsetInvalidError"), 0.0),
        (400, {}, debug("X", True), 0.5),
        (404, {}, debug("X", True), 0.5),
        (400, {}, debug("X", "true"), None),
        (400, {}, {}, None),
        (400, {}, debug("X", False), None),
        (404, {}, {}, None),
        (413, {}, {}, None),
        (401, {}, {}, None),
        (403, {}, {}, None),
        (401, {}, debug("X", True), None),
        (403, {}, debug("X", True), None),
    ],
    ids=str,
)
def test_retry_delay(status_, headers, row, expected):
    assert tool.retry_delay(1, status_, headers, row) == expected


def test_retry_delay_doubles_up_to_16_seconds():
    assert [tool.retry_delay(attempt, None) for attempt in range(1, 9)] == [
        0.5,
        1,
        2,
        4,
        8,
        16,
        16,
        16,
    ]


@pytest.mark.parametrize("attempt", [1000, 10**6])
def test_retry_delay_stands_any_number_of_tries(attempt):
    assert tool.retry_delay(attempt, 500) == 16.0


def test_retry_after_as_a_date_is_the_time_until_then():
    date = email.utils.formatdate(time.time() + 90, usegmt=True)
    assert 85 < tool.retry_delay(1, 429, {"Retry-After": date}) <= 90


def test_retry_after_as_a_date_that_is_over_is_no_wait():
    assert tool.retry_delay(1, 503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


@pytest.mark.parametrize(
    "headers, row",
    [
        ({"retry-after": "9" * 30}, {}),
        ({}, {"backoff": float("inf")}),
        ({}, {"backoff": 10**30}),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, {}),
    ],
    ids=str,
)
def test_a_wait_asked_for_is_one_that_can_be_waited(headers, row):
    assert 16 <= tool.retry_delay(1, 429, headers, row) <= 86400


# ---- Servers and proxies


class Proxy:
    """A proxy that notes what it is asked: absolute addresses are fetched, CONNECT is joined through."""

    def __init__(self, refuse=False):
        self.asked, self.heads, self.refuse = [], [], refuse
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            block = client.recv(65536)
            if not block:
                return
            head += block
        line = head.split(b"\r\n")[0].decode()
        self.asked.append(line)
        self.heads.append(head.split(b"\r\n\r\n")[0].decode().lower())
        method, target, _ = line.split(" ")
        place = target if method == "CONNECT" else re.match(r"http://([^/]+)", target).group(1)
        host, port = place.rsplit(":", 1)
        there = socket.create_connection(("127.0.0.1", int(port)))
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            there.sendall(head.replace(("http://" + place).encode(), b"", 1))
        threading.Thread(target=self._pass, args=(there, client), daemon=True).start()
        self._pass(client, there)

    @staticmethod
    def _pass(source, target):
        try:
            for block in iter(lambda: source.recv(65536), b""):
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def me(root, **more):
    """GET /me of a service, as the tool asks it."""
    server = tool.Server(
        root + "/graph", root + "/upload", tool.Limits(offline_s=0.2, attempts=1), **more
    )
    try:
        return server.ask("GET", server.graph + "/me", {"Authorization": "OAuth " + TOKEN})
    finally:
        server.wire.hang_up()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_http_goes_through_the_proxy(monkeypatch, name):
    with Service() as service, Proxy() as proxy:
        monkeypatch.setenv(name, "http://127.0.0.1:%d" % proxy.port)
        assert me(service.root).status == 200
    assert proxy.asked == ["GET %s/graph/me HTTP/1.1" % service.root]


def test_a_proxy_without_a_scheme_is_understood(monkeypatch):
    with Service() as service, Proxy() as proxy:
        monkeypatch.setenv("http_proxy", "127.0.0.1:%d" % proxy.port)
        assert me(service.root).status == 200
    assert len(proxy.asked) == 1


def test_a_proxy_with_a_user_name_gets_it(monkeypatch):
    with Service() as service, Proxy() as proxy:
        monkeypatch.setenv("http_proxy", "http://me:p%%40ss@127.0.0.1:%d" % proxy.port)
        me(service.root)
    assert "proxy-authorization: basic bwu6cebzcw==" in proxy.heads[0]


def test_the_service_never_sees_the_password_of_the_proxy_for_https(monkeypatch, certificate):
    with secure(certificate) as service, Proxy() as proxy:
        monkeypatch.setenv("https_proxy", "http://me:secret@127.0.0.1:%d" % proxy.port)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        me(service.root)
    assert "proxy-authorization" in proxy.heads[0]
    assert not any("proxy-authorization" in request.headers for request in service.log)


@pytest.mark.parametrize("rule", ["127.0.0.1", "example.org, 127.0.0.1", "*", "127.0.0.1:PORT"])
def test_no_proxy_is_obeyed(monkeypatch, rule):
    with Service() as service, Proxy() as proxy:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:%d" % proxy.port)
        monkeypatch.setenv("no_proxy", rule.replace("PORT", str(service._port)))
        assert me(service.root).status == 200
    assert proxy.asked == []


def test_a_proxy_that_is_not_there_counts_as_no_network(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:%d" % port)
    with Service() as service, pytest.raises(tool.UploadError) as caught:
        me(service.root)
    assert caught.value.problem.code == "unreachable" and not service.log


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:abc",
        "http://[::1",
        "graph.example.org",
        "ftp://example.org",
        "http://a..b",
        "http://",
        "http://127.0.0.1:99999",
        "http://exa mple.org",
    ],
)
def test_an_address_that_is_none_is_a_usage_error(monkeypatch, tmp_path, capsys, address):
    """Symptom: a traceback, or half an hour of waiting for a host without a name."""
    making.drive(tmp_path / "photos", 1)
    tool.main(["process", "--import_path", str(tmp_path / "photos"), "--user_name", "demo"])
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", TOKEN)
    for name in ("GRAPH_API", "UPLOAD"):
        monkeypatch.setenv("MAPILLARY_%s_ENDPOINT" % name, address)
    capsys.readouterr()
    argv = ["upload", "--import_path", str(tmp_path / "photos"), "--offline_limit", "0.005"]
    assert tool.main(argv) == 2
    assert "MAPILLARY_" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:abc", "http://[::1", "socks5://127.0.0.1:1080"]
)
def test_a_proxy_address_that_is_none_is_an_error_with_its_name(monkeypatch, address):
    monkeypatch.setenv("http_proxy", address)
    with Service() as service, pytest.raises(tool.ToolError) as caught:
        me(service.root)
    assert "proxy" in str(caught.value) and not service.log


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key) of 127.0.0.1, signed by itself; made here, now."""
    if not OPENSSL:
        pytest.skip("openssl, the program, is needed to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    (folder / "conf").write_text(
        "[req]\ndistinguished_name=d\nx509_extensions=e\nprompt=no\n[d]\nCN=127.0.0.1\n"
        "[e]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:TRUE\n",
        "utf-8",
    )
    subprocess.run(
        [
            OPENSSL,
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-config",
            str(folder / "conf"),
            "-out",
            str(paths[0]),
            "-keyout",
            str(paths[1]),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return paths


def secure(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(certificate[0]), str(certificate[1]))
    return Service(tls=context)


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate):
    with secure(certificate) as service, pytest.raises(tool.UploadError) as caught:
        me(service.root)
    assert caught.value.problem.code == "bad_certificate" and service.log == []


def test_a_certificate_is_accepted_when_its_authority_is_in_ssl_cert_file(monkeypatch, certificate):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with secure(certificate) as service:
        assert me(service.root).status == 200


def test_a_certificate_of_another_name_is_refused(monkeypatch, certificate):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with secure(certificate) as service, pytest.raises(tool.UploadError) as caught:
        me(service.root.replace("127.0.0.1", "localhost"))
    assert caught.value.problem.code == "bad_certificate" and service.log == []


def test_a_bad_certificate_stops_an_upload_and_says_so(monkeypatch, certificate, ready):
    with secure(certificate) as service:
        code, said = ready.upload(service)
    assert code == 8 and "certificate is not trusted" in said and service.log == []


def test_https_goes_through_a_proxy_by_connect_and_is_verified(monkeypatch, certificate):
    with secure(certificate) as service, Proxy() as proxy:
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:%d" % proxy.port)
        with pytest.raises(tool.UploadError):
            me(service.root)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert me(service.root).status == 200
    assert [line.split()[:2] for line in proxy.asked] == [
        ["CONNECT", "127.0.0.1:%d" % service._port]
    ] * 2
    assert not any(TOKEN.lower() in head for head in proxy.heads)


def test_images_go_over_tls(monkeypatch, certificate, ready):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with secure(certificate) as service:
        code, _ = ready.upload(service)
    assert code == 0 and len(service.finished) == 1 and service.problems == []


# ---- Where the token goes


class Ready:
    """A folder of two processed photos."""

    def __init__(self, folder, monkeypatch, capfd):
        self.folder, self.monkeypatch, self.capfd = folder, monkeypatch, capfd
        making.drive(folder / "photos", 2)
        tool.main(["process", "--import_path", str(folder / "photos"), "--user_name", "demo"])
        monkeypatch.setattr(tool, "BACKOFF_S", 0.005)
        monkeypatch.setenv("MAX_ATTEMPTS", "2")

    def upload(self, service, *options):
        for name, value in service.environment(self.folder / "config").items():
            self.monkeypatch.setenv(name, value)
        self.monkeypatch.delenv("no_proxy")
        self.capfd.readouterr()
        code = tool.main(["upload", "--import_path", str(self.folder / "photos"), *options])
        return code, "".join(self.capfd.readouterr())


@pytest.fixture
def ready(tmp_path, monkeypatch, capfd):
    return Ready(tmp_path, monkeypatch, capfd)


def left_behind(folder):
    return b"".join(
        path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "config"
    )


def test_the_token_is_in_no_message_and_no_journal(ready):
    with Service() as service:
        code, said = ready.upload(service, "--verbose")
    assert code == 0 and TOKEN not in said and TOKEN.encode() not in left_behind(ready.folder)


@pytest.mark.parametrize("code", [400, 401, 500])
@pytest.mark.parametrize("path", ["mly_tools_", "finish_upload"])
def test_a_service_that_repeats_the_token_does_not_bring_it_into_messages(ready, code, path):
    """Symptom: "Malformed access token ..." as Graph really says it went into summary, journal and --json."""
    answer = {"error": {"message": "Malformed access token " + TOKEN, "code": 190}}
    for options in (["--verbose"], ["--json"]):
        with Service([status(code, answer, path=path, times=None)]) as service:
            exit_code, said = ready.upload(service, *options)
        assert exit_code and TOKEN not in said
    assert TOKEN.encode() not in left_behind(ready.folder)


def test_the_token_is_not_on_the_command_line_of_any_process(ready, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **more: started.append(args))
    with Service() as service:
        ready.upload(service)
    assert started == [] and not any(TOKEN in word for word in sys.argv)


def test_the_token_does_not_follow_a_redirection(ready):
    with Service() as other:
        answer = status(302, {}, path="mly_tools_", times=None)
        answer.headers = {"Location": other.root + "/upload/x"}
        with Service([answer]) as service:
            ready.upload(service)
    assert other.log == []


def test_a_token_with_a_line_break_is_refused_before_it_is_sent(ready, monkeypatch):
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", "good\r\nX-Evil: 1")
    with Service() as service:
        code, said = ready.upload(service)
    assert code == 9 and service.log == [] and "X-Evil" not in said


def test_curly_quotes_around_a_token_are_explained(ready, monkeypatch):
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", "\u201cabc\u201d")
    with Service() as service:
        code, said = ready.upload(service)
    assert code == 9 and "paste it again" in said and service.log == []


def test_the_token_of_the_environment_goes_before_the_stored_one(ready, monkeypatch):
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", "other-token")
    with Service(tokens=["other-token"]) as service:
        code, _ = ready.upload(service)
    assert code == 0 and {request.headers["authorization"] for request in service.log} == {
        "OAuth other-token"
    }
