"""Services that mean harm: wrong types, answers without end, redirections, cuts; a storm that loses nothing."""

import csv
import gzip
import json
import math
import threading
import time
import tracemalloc

import pytest
from conftest import in_process, soon, tree

import mapillary_tools as tool
from callers import SHOTS, WAYS, civil
from hostile import HEAD, NAMES, ODD, Rude, Started, answer, bodies, endless, once, raw, storm, well
from service import CLIENT_TOKEN, END, PASSWORD, TOKEN, USER, Service, status

pytestmark = [in_process, pytest.mark.usefixtures("quick")]


# ---- Wrong types


WRONG = {  # field -> (call, body)
    "login answer": ("login", '"here"'),
    "login token": ("login", '{"access_token": "here", "user_id": "1"}'),
    "who answer": ("who", '"here"'),
    "organization answer": ("organization", '"here"'),
    "image answer": ("image", '"here"'),
    "image handle": ("image", '{"h": "here"}'),
    "manifest handle": ("manifest", '{"h": "here"}'),
    "finish answer": ("finish", '"here"'),
    "search answer": ("search", '"here"'),
    "search row": ("search", '{"data": ["here"]}'),
    "search data": ("search", '{"data": "here"}'),
}


@pytest.mark.parametrize("field", sorted(WRONG))
def test_a_value_of_a_wrong_type_is_no_answer_and_the_next_run_is_complete(field, world):
    call, text = WRONG[field]
    path, method = WAYS[call]
    world.ready()
    with Rude(photos=SHOTS) as service:
        world.use(service)
        for name, body in bodies(text, ODD):
            service.faults[:] = [status(200, body, path=path, method=method, at=END, times=None)]
            said = civil(world.call(call), *((0, 1, 8, 9) if call == "search" else (1, 8, 9)))
            assert TOKEN not in said and PASSWORD not in said, name
        service.faults.clear()
        civil(world.call("image"), 0)
        assert once(service, 2) == []


@pytest.mark.parametrize("field", ["id", "username"])
def test_whatever_a_user_is_called_the_configuration_stays_whole(field, world):
    """F22: a carriage return made a section of its own; half a pair of surrogates was a traceback."""
    with Service() as service:
        world.use(service)
        other = {"user_upload_token": "token-of-the-other", "MAPSettingsUserKey": "5"}
        tool.write_config({"other": other})
        text = json.dumps(dict(USER, **{field: "here"}))
        for name, body in bodies(text, dict(ODD, **NAMES)):
            service.faults[:] = [status(200, body, path="/graph/me", times=None)]
            civil(world.call("who"), 0, 9, 8)
            sections = tool.read_config(str(world.config))
            assert sections["other"] == other and set(sections) <= {"other", "demo"}, name
            assert sections.get("demo", {}).get("user_upload_token") in (None, TOKEN), name
            for value in sections.get("demo", {}).values():
                assert value.isprintable() and len(value) <= 1000, (name, value[:100])
    assert oct(world.config.stat().st_mode)[-3:] == "600"


SEARCHED = '{"data": [{"id": "7", "captured_at": 1714979289123, "geometry": {"coordinates": [11.9, 57.7]}, %s}]%s}'


@pytest.mark.parametrize(
    "text",
    [
        SEARCHED.replace('"7"', '"here"') % ('"thumb_1024_url": "U/thumb/7/1024"', ""),
        SEARCHED % ('"thumb_1024_url": "here"', ""),
        SEARCHED.replace("1714979289123", '"here"') % ('"thumb_1024_url": "U/thumb/7/1024"', ""),
        SEARCHED % ('"computed_geometry": "here", "thumb_1024_url": "U/thumb/7/1024"', ""),
        SEARCHED.replace("[11.9, 57.7]", '"here"') % ('"thumb_1024_url": "U/thumb/7/1024"', ""),
        SEARCHED.replace("11.9", '"here"') % ('"thumb_1024_url": "U/thumb/7/1024"', ""),
        SEARCHED % ('"thumb_1024_url": "U/thumb/7/1024"', ', "paging": "here"'),
        SEARCHED % ('"thumb_1024_url": "U/thumb/7/1024"', ', "paging": {"next": "here"}'),
    ],
    ids=["id", "address", "time", "computed", "coordinates", "longitude", "paging", "next"],
)
def test_a_search_of_wrong_types_downloads_what_is_right(text, world):
    with Service(photos=SHOTS) as service:
        world.use(service)
        for name, body in bodies(text.replace("U/", service.root + "/"), dict(ODD, **NAMES)):
            service.faults[:] = [status(200, body, path="/graph/images", times=None)]
            said = civil(world.call("search"), 0, 1, 8)
            assert len(service.log) < 20, name
            assert set(tree(world.base)) <= {"config", "got/", "got/7.jpg", "got/downloaded.csv"}
            assert CLIENT_TOKEN not in said, name
            table = list(csv.reader((world.base / "got" / "downloaded.csv").open(newline="")))
            for _, lat, lon, when in table[1:]:
                assert all(math.isfinite(float(one)) for one in (lat, lon) if one), name
                assert len(when) < 40, name
            for path in (world.base / "got").iterdir():
                path.unlink()
            del service.log[:]


@pytest.mark.parametrize(
    "value",
    ["-1", "2000000", "9223372036854775808", "1" + "0" * 400, "1e400", "NaN", '"5"', "1.0", "true"]
    + ["null", "[1]", '{"offset": 0}'],
)
def test_an_offset_that_lies_fails_the_image_and_the_next_run_sends_it_once(value, world):
    world.ready(1)
    body = '{"offset": %s}' % value
    with Service([status(200, body, method="GET", path="/upload/", times=None)]) as service:
        world.use(service)
        service.faults.append(status(500, method="POST", path="/upload/", at=END))
        said = civil(world.call("image"), 1)
        assert "0001.jpg" in said
        service.faults.clear()
        civil(world.call("image"), 0)
        assert once(service, 1) == [] and service.wasted() == 0


class Same(Service):
    """A service that gives every image the handle of the first, as long as it is `same`."""

    same = True

    def complete(self, upload):
        own = super().complete(upload)
        image = self.same and upload.key.endswith(".jpg")
        return next(iter(self.handles)) if image else own


def test_one_handle_for_all_images_is_no_acknowledgement(world):
    """F23: each image counted as uploaded, and the sequence had one of them."""
    world.ready(3)
    with Same() as service:
        world.use(service)
        said = civil(world.call("image"), 1)
        assert "0 uploaded" in said and "3 failed" in said and "may leave the card" not in said
        service.same = False
        civil(world.call("image"), 0)
        assert once(service, 3) == []


# ---- Without end


NEVER = {
    "a body without a length": endless(b" " * 1000, HEAD + b"Connection: close\r\n\r\n"),
    "a body of an untrue length": endless(
        b"[" * 1000, HEAD + b"Content-Length: 99999999999\r\n\r\n"
    ),
    "a body of a length of 400 digits": endless(
        b"x", HEAD + b"Content-Length: 1%s\r\n\r\n" % (b"0" * 400)
    ),
    "chunks": endless(b"5\r\nabcde\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    "a chunk": endless(b"x", HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n"),
    "a length of a chunk": endless(b"0", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    "trailers": endless(b"X: y\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"),
    "one trailer": endless(b"X", HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"),
    "a status line": endless(b"HTTP/1.1 200 OK "),
    "a header": endless(b"x", HEAD + b"X-Long: "),
    "headers": endless(b"X: y\r\n", HEAD),
    "100 Continue": endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "100 Continue with headers": endless(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"),
    "103 Early Hints": endless(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    "empty lines": endless(b"\r\n"),
    "a drip of a body": endless(b" ", HEAD + b"Content-Length: 99999\r\n\r\n", 0.02),
    "a drip of 100 Continue": endless(b"HTTP/1.1 100 Continue\r\n\r\n", b"", 0.02),
    "a drip of headers": endless(b"X", HEAD, 0.02),
    "a drip of chunks": endless(b"1\r\n \r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n", 0.02),
    "nothing": endless(b"", b"", 0.05),
}


def asked(service, seconds, call):
    """What came of a call in a thread, within so many seconds; the peak of memory in MB."""
    found = []

    def work():
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    tracemalloc.start()
    try:
        thread.start()
        thread.join(seconds)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
        service.closing.set()
        service.go_offline()
        thread.join(10)
    return (found if not thread.is_alive() else ["no end"])[0], peak


def told(service, **limits):
    server = tool.Server(service.graph_url, service.upload_url, tool.Limits(attempts=1, **limits))
    return server.ask("GET", server.graph + "/me", tool.bearing_token(TOKEN)).row


@pytest.mark.parametrize("what", sorted(NEVER))
def test_an_answer_without_end_is_given_up_in_bounded_time_and_memory(what, monkeypatch):
    """F7: the time grew with each byte, so that a fast enough service was listened to for ever."""
    monkeypatch.setattr(tool, "ANSWER_S", 0.3)
    with Rude([raw(NEVER[what])]) as service:
        start = time.monotonic()
        found, peak = asked(service, 12, lambda: told(service))
        spent = time.monotonic() - start
    assert isinstance(found, tool.UploadError), (found, spent)
    assert soon(spent, 1.1) and peak < 60


@pytest.mark.parametrize("item", ["{}", "[]", '"",', '{"":{}}', "1"])
def test_an_answer_of_countless_small_values_costs_bounded_memory(item, monkeypatch):
    """At most 1 MB of an answer is read: 8 MB of empty lists become 200 MB of them, in each thread."""
    body = answer(('{"x": [' + (item.rstrip(",") + ",") * (9000000 // len(item)) + "0]}").encode())
    with Rude([raw(body)]) as service:
        found, peak = asked(service, 60, lambda: told(service))
    assert isinstance(found, tool.UploadError) and peak < 60, (found, peak)


def test_of_a_search_no_more_is_read_than_of_other_answers(world):
    """Pictures may be large; a list of them becomes a hundred times its size: 256 MB were read, into 7 GB."""

    def pieces():
        yield HEAD + b"\r\n" + b'{"data": ['
        for _ in range(600):
            yield b" " * 100000

    with Rude([raw(pieces, path="images")]) as service:
        world.use(service)
        found, _ = asked(service, 30, lambda: world.call("search"))
    civil(found, 8)
    assert service.raw_bytes < 2 * 20e6, service.raw_bytes  # two tries, and what waits in sockets


def test_pages_end_with_what_was_asked_for(world):
    """Symptom: a next page that always is another one, without one new image, was followed for ever."""
    asking = []

    class Paged(Service):
        def search(self, query):
            asking.append(query)
            following = f"{self.graph_url}/images?bbox={query['bbox']}&page={len(asking)}"
            return 200, {"data": [], "paging": {"next": following}, "x": 1}

    with Paged(photos=SHOTS) as service:
        world.use(service)
        found, _ = asked(service, 8, lambda: world.call("search"))
    assert found != "no end" and len(asking) < 2000, len(asking)
    civil(found, 0, 8)


# ---- Heads and encodings


HEADS = {
    "odd bytes": b"HTTP/1.1 200 \xff\xfe\x00\r\nContent-Length: 2\r\n\r\n{}",
    "odd version": b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no number": b"HTTP/1.1 2OO OK\r\n\r\n",
    "a long number": b"HTTP/1.1 2000000000000 OK\r\n\r\n",
    "a negative number": b"HTTP/1.1 -200 OK\r\n\r\n",
    "zero": b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "999": b"HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no line": b"\r\n\r\n",
    "radio": b"ICY 200 OK\r\n\r\n",
    "HTTP 0.9": b"{}",
    "mail": b"220 mail.example.com ESMTP\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x28",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "a length of words": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
    "a length too long": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}",
    "odd names of fields": b"HTTP/1.1 200 OK\r\n\xff\xfe: x\r\n: y\r\n\x00\r\n folded\r\n\r\n",
    "chunks of words": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
    "an unknown encoding": HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "gzip": answer(gzip.compress(b'{"id": "1"}'), HEAD + b"Content-Encoding: gzip\r\n"),
    "a bomb": answer(gzip.compress(b" " * 50000000), HEAD + b"Content-Encoding: gzip\r\n"),
    "UTF-16": answer('{"error": {"message": "m"}}'.encode("utf-16")),
    "UTF-7": answer(b"+AHsAfQ-", HEAD + b"Content-Type: application/json; charset=utf-7\r\n"),
    "no UTF-8": answer(b'{"id": "\xff\xfe"}'),
    "two values": answer(b'{"id": "1"} {"id": "2"}'),
    "key twice": answer(b'{"debug_info": 1, "debug_info": [], "error": {"message": [1]}}'),
}


@pytest.mark.parametrize("call", ["who", "image", "finish", "search", "picture"])
def test_a_head_or_an_encoding_that_is_none_is_one_line_and_harmless(call, world):
    world.ready(1)
    path, method = WAYS[call]
    with Rude(photos=SHOTS) as service:
        world.use(service)
        for name in sorted(HEADS):
            service.faults[:] = [raw(HEADS[name], path=path, method=method, at=END)]
            civil(world.call(call), *((0, 1, 8, 9) if call == "search" else (1, 8, 9)))
        service.faults.clear()
        civil(world.call("image"), 0)
        assert once(service, 1) == []


@pytest.mark.parametrize("code", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize("call", sorted(WAYS))
def test_a_redirection_is_said_and_not_followed(call, code, world):
    """Neither to another host nor, without its TLS, to the same one."""
    world.ready(1)
    path, method = WAYS[call]
    with Service() as other, Service(photos=SHOTS) as service:
        world.use(service)
        target = other.root + path if code % 2 else service.root.replace("127", "127.0") + path
        fault = status(code, {}, path=path, method=method, times=None)
        fault.headers = {"Location": target}
        service.faults.append(fault)
        ran = world.call(call)
        assert f"HTTP {code}" in civil(ran, 1, 8, 9)
        assert other.log == [] and len(service.requests(method, path)) <= 6


@pytest.mark.parametrize("call", sorted(WAYS))
def test_a_connection_cut_anywhere_is_no_answer(call, world):
    world.ready(1)
    path, method = WAYS[call]
    whole = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 999\r\n\r\n"
    whole += (
        b'{"h": "a", "id": "b", "access_token": "c", "cluster_id": "d", "slug": "e", "data": []}'
    )
    with Rude(photos=SHOTS) as service:
        world.use(service)
        for at in [0, 1, 8, 12, 15, 17, 22, 40, 44, 45, 46, 60, len(whole)]:
            service.faults[:] = [raw(whole[:at], path=path, method=method, at=END)]
            said = civil(world.call(call), 1, 8, 9)
            assert TOKEN not in said
        service.faults.clear()
        civil(world.call("image"), 0)
        assert once(service, 1) == []


# ---- Storms


WAITS = ["-1", "1" + "0" * 400, "1e400", "NaN", "inf", "0x10", "", "\t", "٣", "1" * 60000]
DATES = [
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Wed, 99 Oct 9999 99:99:99 GMT",
    "Fri, 31 Dec 9999 23:59:59 -9999",
]


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_whatever_wait_is_asked_for_it_is_a_number_of_seconds_and_the_end_is_success(
    code, world, monkeypatch
):
    waits = []
    monkeypatch.setattr(tool.Wire, "wait", lambda self, seconds: waits.append(seconds))
    monkeypatch.setenv("MAX_ATTEMPTS", "100")
    world.ready(1)
    faults = [status(code, {}, headers={"Retry-After": text}) for text in WAITS + DATES]
    for value in ODD.values():
        faults.append(
            status(code, '{"backoff": %s, "debug_info": {"backoff": %s}}' % (value, value))
        )
    with Rude() as service:
        for fault in faults:
            head = "".join(f"{name}: {text}\r\n" for name, text in fault.headers.items())
            body = fault.body.encode() if isinstance(fault.body, str) else b"{}"
            start = b"HTTP/1.1 %d X\r\n" % code + head.encode("utf-8")
            service.faults.append(raw(answer(body, start), times=1, path="/upload/"))
        world.use(service)
        civil(world.call("image"), 0)
        assert once(service, 1) == [] and not service.faults[-1].takes("POST", "/upload/x")
    assert all(0 <= one <= 1.25 * tool.WAIT_MOST_S for one in waits), max(waits)


@pytest.mark.parametrize("seed", [1, 2])
def test_through_a_storm_every_image_arrives_once(seed, tmp_path):
    """Of the requests 20 % are refused and 10 % cut; `python tests/hostile.py --images 10000` is the long run."""
    facts = storm(tmp_path, 250, seed)
    assert well(facts), facts


def test_a_storm_is_one(tmp_path):
    """The judge of the storm sees an image that is missing, and one that came twice."""
    with Service() as service:
        service.upload("mly_tools_x.jpg").accepted = [(0, 5), (3, 9)]
        assert len(once(service, 2)) == 3
    assert Started(["--version"], {}).end(60) == 0
