"""The makers are right: judged by readers that share nothing with them; the committed drive is what its script makes; and the
service of the upload tests keeps its rules and breaks them as told.
"""

import hashlib
import http.client
import io
import json
import math
import shutil
import subprocess
import time

import make_drive
import making
import pytest
import service

DRIVE = make_drive.DATA / "drive"


def opened(content):
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    image = pillow.open(io.BytesIO(content))
    image.load()
    return image


def exiftool(path):
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    done = subprocess.run(
        ["exiftool", "-n", "-j", "-G1", "-a", str(path)], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout.decode("utf-8"))[0]


@pytest.mark.parametrize("size", [(64, 48), (8, 8), (1, 1), (63, 47), (320, 240)])
@pytest.mark.parametrize("filler", [0, 4, 300, 5000, 70001])
def test_jpeg_opens_at_its_size_and_is_longer_by_the_filler(size, filler):
    content = making.jpeg(size, filler=filler)
    image = opened(content)
    assert (image.size, image.mode) == (size, "RGB")
    assert len(content) == len(making.jpeg(size)) + filler


def test_jpeg_shows_the_colours_asked_for():
    image = opened(
        making.jpeg(
            (32, 16), pixels=lambda x, y: (200, 100, 50) if x < 2 else (10, 20 + 100 * y, 240)
        )
    )
    for place, wanted in (
        ((3, 3), (200, 100, 50)),
        ((20, 3), (10, 20, 240)),
        ((31, 15), (10, 120, 240)),
    ):
        assert max(abs(a - b) for a, b in zip(image.getpixel(place), wanted)) <= 3


def test_jpeg_is_the_same_for_the_same_arguments_and_another_for_another_seed():
    assert making.jpeg(pixels=1, filler=900) == making.jpeg(pixels=1, filler=900)
    assert making.jpeg(pixels=1, filler=900) != making.jpeg(pixels=2, filler=900)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_what_exiftool_reads(tmp_path, order):
    path = making.photo(
        tmp_path / "a.jpg",
        lat=-57.7123456,
        lon=11.0,
        alt=-3.5,
        heading=359.5,
        heading_ref="M",
        gps_date="2024:05:06",
        gps_time="07:08:09.5",
        orientation=6,
        description="caf\u00e9",
        subsec="25",
        offset="+02:00",
        order=order,
        thumbnail=making.jpeg((16, 8)),
        more={"Interop": {1: (making.ASCII, "R98")}, "0th": {0x0110: None}},
    )
    read = exiftool(path)
    wanted = {
        "ExifIFD:DateTimeOriginal": "2024:05:06 07:08:09",
        "ExifIFD:SubSecTimeOriginal": 25,
        "IFD0:Make": "Testmaker",
        "ExifIFD:OffsetTimeOriginal": "+02:00",
        "GPS:GPSLatitudeRef": "S",
        "GPS:GPSLongitude": 11,
        "GPS:GPSAltitudeRef": 1,
        "GPS:GPSAltitude": 3.5,
        "GPS:GPSImgDirection": 359.5,
        "GPS:GPSImgDirectionRef": "M",
        "IFD0:Orientation": 6,
        "GPS:GPSTimeStamp": "07:08:09.5",
        "GPS:GPSDateStamp": "2024:05:06",
        "IFD0:ImageDescription": "caf\u00e9",
        "InteropIFD:InteropIndex": "R98",
        "File:ExifByteOrder": "II" if order == "<" else "MM",
    }
    assert {name: read.get(name) for name in wanted} == wanted
    assert read["GPS:GPSLatitude"] == pytest.approx(57.7123456, abs=5e-9)
    assert read["IFD1:ThumbnailLength"] == len(making.jpeg((16, 8)))
    assert "IFD0:Model" not in read and not [name for name in read if "Warning" in name]


def test_reader_gives_back_what_was_made(tmp_path):
    path = making.photo(
        tmp_path / "a.jpg", lat=-0.5, lon=179.9999999, alt=0.0, heading=0.0, description='{"a":1}'
    )
    assert making.place(path) == pytest.approx((-0.5, 179.9999999, 0.0), abs=2e-8)
    assert making.direction(path) == 0.0
    assert making.description(path) == {"a": 1}
    assert making.read_exif(path)["DateTimeOriginal"] == "2024:05:06 07:08:09"
    bare = making.photo(tmp_path / "b.jpg", exif=None)
    assert (making.read_exif(bare), making.place(bare), making.description(bare)) == ({}, None, {})


def test_reader_agrees_with_exiftool_on_the_drive():
    for path in sorted(DRIVE.glob("*.jpg"))[::5]:
        read, (lat, lon, alt) = exiftool(path), making.place(path)
        assert (lat, lon, alt) == pytest.approx(
            (read["GPS:GPSLatitude"], read["GPS:GPSLongitude"], read["GPS:GPSAltitude"]), abs=1e-9
        )


def test_nothing_but_the_exif_differs_with_other_exif():
    first, second = (
        making.jpeg(exif=making.exif_tiff()),
        making.jpeg(exif=making.exif_tiff(lat=1, lon=2)),
    )
    assert first != second
    assert (
        making.without_exif(first)
        == making.without_exif(second)
        == making.without_exif(making.jpeg())
    )


def test_gpx_is_what_gpxpy_reads(tmp_path):
    gpxpy = pytest.importorskip("gpxpy")
    first, second = [(1714979289.25, 57.7, 11.97, 12.5)], [("2024-05-06T07:08:10Z", -57.8, -11.98)]
    path = making.gpx([first, second], tmp_path / "track.gpx")
    segments = gpxpy.parse(path.read_text(encoding="utf-8")).tracks[0].segments
    points = [segment.points[0] for segment in segments]
    assert [(p.latitude, p.longitude, p.elevation) for p in points] == [
        (57.7, 11.97, 12.5),
        (-57.8, -11.98, None),
    ]
    assert [p.time.timestamp() for p in points] == [1714979289.25, 1714979290.0]


def test_drive_of_photos_takes_functions_of_the_number(tmp_path):
    paths = making.drive(tmp_path, 3, seconds=0.5, alt=lambda number: 10.0 + number)
    assert [path.name for path in paths] == ["0001.jpg", "0002.jpg", "0003.jpg"]
    assert [making.place(path)[2] for path in paths] == [10.0, 11.0, 12.0]
    assert [making.read_exif(path).get("SubSecTimeOriginal") for path in paths] == [
        None,
        "500000",
        None,
    ]


# ---- the committed drive


@pytest.mark.slow
def test_committed_drive_is_what_its_script_makes(tmp_path):
    made = make_drive.make(tmp_path)
    committed = sorted(DRIVE.glob("*.jpg")) + [make_drive.DATA / "drive.gpx"]
    assert sorted(path.name for path in made) == sorted(path.name for path in committed)
    for path in made:
        kept = make_drive.DATA / path.relative_to(tmp_path)
        assert kept.read_bytes() == path.read_bytes(), path.name


def test_committed_drive_is_small_and_opens_in_a_viewer():
    paths = sorted(DRIVE.glob("*.jpg"))
    assert 12 <= len(paths) <= 20
    assert sum(path.stat().st_size for path in [*paths, make_drive.DATA / "drive.gpx"]) < 500000
    for path in paths:
        assert opened(path.read_bytes()).size == make_drive.SIZE


def metres(one, other):
    """Between two places less than a kilometre apart, good to a percent."""
    north = (other[0] - one[0]) * 111359
    return math.hypot(north, (other[1] - one[1]) * 111320 * math.cos(math.radians(one[0])))


def test_committed_drive_has_its_duplicate_its_tie_and_its_gap():
    tags = [making.read_exif(path) for path in sorted(DRIVE.glob("*.jpg"))]
    places = [making.place(path) for path in sorted(DRIVE.glob("*.jpg"))]
    steps = [metres(one, other) for one, other in zip(places, places[1:])]
    assert [number for number, step in enumerate(steps, 1) if step <= 0.1] == [5]
    times = [(tag["DateTimeOriginal"], tag.get("SubSecTimeOriginal")) for tag in tags]
    assert times == sorted(times, key=lambda time: time[0])
    assert [number for number, (a, b) in enumerate(zip(times, times[1:]), 1) if a == b] == [9]
    seconds = [int(time[14:16]) * 60 + int(time[17:19]) for time, _ in times]
    assert [number for number, (a, b) in enumerate(zip(seconds, seconds[1:]), 1) if b - a > 60] == [
        11
    ]
    assert {tag["OffsetTimeOriginal"] for tag in tags} == {"+02:00"}
    assert {(tag["Make"], tag["Model"]) for tag in tags} == {("Wayside", "WS-16")}
    assert all(step < 600 for step in steps) and all(place[2] is not None for place in places)


def test_committed_track_passes_every_photo():
    gpxpy = pytest.importorskip("gpxpy")
    points = (
        gpxpy.parse((make_drive.DATA / "drive.gpx").read_text(encoding="utf-8"))
        .tracks[0]
        .segments[0]
        .points
    )
    track = [(p.latitude, p.longitude, p.elevation) for p in points]
    start = points[0].time.timestamp()
    for path, (_, _, taken) in zip(sorted(DRIVE.glob("*.jpg")), make_drive.SHOTS):
        after = (
            make_drive.START.replace(tzinfo=points[0].time.tzinfo).timestamp() + taken - start
        ) * 2  # two a second
        one, other = track[math.floor(after)], track[math.ceil(after)]
        there = [a + (b - a) * (after - math.floor(after)) for a, b in zip(one, other)]
        assert metres(there, making.place(path)) < 0.75, path.name


# ---- the service

GOOD = making.jpeg(
    exif=making.exif_tiff(description='{"MAPCaptureTime":"x","MAPLatitude":1,"MAPLongitude":2}'),
    filler=5000,
)
KEY = "mly_tools_" + hashlib.md5(GOOD).hexdigest() + ".jpg"


class Client:
    """One kept-alive connection to a service, made again after it broke."""

    def __init__(self, where):
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", int(where.root.rsplit(":", 1)[1]), timeout=5
        )

    def ask(self, method, path, body=None, token=service.TOKEN, **headers):
        fields = {"Authorization": "OAuth " + token}
        fields.update({name.replace("_", "-"): value for name, value in headers.items()})
        try:
            self.connection.request(method, path, body, fields)
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        return answer.status, json.loads(content.decode()) if content[:1] == b"{" else content

    def offset(self, key):
        return self.ask("GET", "/upload/" + key)[1]["offset"]

    def send(self, key, content, offset=0):
        return self.ask(
            "POST", "/upload/" + key, content[offset:], Offset=str(offset), X_Entity_Name=key
        )

    def finish(self, handle):
        body = {"file_handle": handle, "file_type": "mly_bundle_manifest"}
        return self.ask("POST", "/graph/finish_upload", json.dumps(body))


BROKEN = (OSError, http.client.HTTPException)


def test_service_takes_an_image_a_manifest_and_a_finish_which_can_be_repeated():
    with service.Service() as there:
        client = Client(there)
        assert client.offset(KEY) == 0
        code, answer = client.send(KEY, GOOD)
        assert code == 200 and client.offset(KEY) == len(GOOD)
        assert client.send(KEY, GOOD, len(GOOD)) == (
            200,
            answer,
        )  # nothing more to send: the same handle
        manifest = {"version": "1", "upload_type": "images", "image_handles": [answer["h"]]}
        code, answer = client.send("uuid_" + "0" * 32 + ".json", json.dumps(manifest).encode())
        first = client.finish(answer["h"])
        assert first[0] == 200 and client.finish(answer["h"]) == first
        assert there.problems == [] and there.received[KEY].content == GOOD
        assert there.received[KEY].accepted == [(0, len(GOOD))]
        assert [(f["images"], f["asked"]) for f in there.finished] == [([KEY], 2)]
        assert (there.connections, there.most_open, there.wasted()) == (1, 1, 0)


def test_service_takes_a_body_in_chunks():
    with service.Service() as there:
        assert (
            Client(there).ask(
                "POST", "/upload/" + KEY, iter([GOOD[:7], GOOD[7:]]), Offset="0", X_Entity_Name=KEY
            )[0]
            == 200
        )
        assert there.problems == [] and there.received[KEY].content == GOOD


def test_service_names_what_a_correct_client_never_does():
    with service.Service() as there:
        client = Client(there)
        client.send(KEY, GOOD[:-1])
        client.send(
            "uuid_" + "1" * 32 + ".json",
            b'{"version":"1","upload_type":"images","image_handles":["none"]}',
        )
        assert client.finish(there.upload("uuid_" + "1" * 32 + ".json").handle)[0] == 400
        assert client.finish("nothing")[0] == 400
        bare = making.jpeg()
        client.send("mly_tools_" + hashlib.md5(bare).hexdigest() + ".jpg", bare)
        for number, words in enumerate(
            ["md5", "handles that do not exist", "no such manifest", "description without"]
        ):
            assert words in there.problems[number]
        assert client.ask("GET", "/graph/me", token="another")[0] == 401


@pytest.mark.parametrize("at", [0, 1, 700, len(GOOD) - 1])
def test_service_cuts_at_the_byte_and_keeps_what_came_before(at):
    with service.Service(faults=[service.cut(at, method="POST")]) as there:
        client = Client(there)
        with pytest.raises(BROKEN):
            client.send(KEY, GOOD)
        assert client.offset(KEY) == at
        assert client.send(KEY, GOOD)[0] == (412 if at else 200)
        if at:
            assert there.received[KEY].wasted == len(GOOD)
            assert client.send(KEY, GOOD, at)[0] == 200
        assert there.received[KEY].content == GOOD and there.problems == []


def test_service_loses_the_answer_but_not_the_image():
    with service.Service(
        faults=[service.cut(service.END, method="POST"), service.cut_answer(80, method="POST")]
    ) as there:
        client = Client(there)
        with pytest.raises(BROKEN):
            client.send(KEY, GOOD)
        assert client.offset(KEY) == len(GOOD) and there.received[KEY].complete
        with pytest.raises(BROKEN):
            client.send(KEY, GOOD, len(GOOD))
        assert client.send(KEY, GOOD, len(GOOD))[0] == 200


@pytest.mark.parametrize("early", [False, True])
def test_service_answers_with_faults_in_their_order(early):
    faults = [
        service.status(502, times=2, early=early),
        service.too_many(3, backoff=50),
        service.offset_invalid(),
        service.html(),
        service.revoked(403, after=1),
    ]
    with service.Service(faults=faults) as there:
        client = Client(there)
        answers = [client.send(KEY, GOOD) for _ in range(7)]
        assert [code for code, _ in answers] == [502, 502, 429, 412, 200, 200, 403]
        assert (
            answers[2][1]["backoff"] == 50
            and answers[3][1]["debug_info"]["type"] == "OffsetInvalidError"
        )
        assert answers[4][1].startswith(b"<html>") and there.received[KEY].content == GOOD
        assert there.received[KEY].wasted == 6 * len(GOOD)
        assert [request.status for request in there.log] == [502, 502, 429, 412, 200, 200, 403]


def test_service_stalls_tells_wrong_offsets_and_goes_offline():
    with service.Service(
        faults=[service.stall(0.3, at=100, method="POST"), service.wrong_offset(7)]
    ) as there:
        client = Client(there)
        start = time.monotonic()
        assert client.send(KEY, GOOD)[0] == 200 and time.monotonic() - start >= 0.3
        assert client.offset(KEY) == len(GOOD) + 7 and client.offset(KEY) == len(GOOD)
        there.go_offline()
        for _ in range(2):
            with pytest.raises(BROKEN):
                client.offset(KEY)
        there.go_online()
        assert client.offset(KEY) == len(GOOD)


def test_service_drops_bytes_of_a_request_that_another_has_overtaken():
    with service.Service(faults=[service.stall(0.4, at=100, method="POST")]) as there:
        slow, quick = Client(there), Client(there)
        slow.connection.timeout = 0.1
        with pytest.raises(BROKEN):
            slow.send(KEY, GOOD)
        assert quick.offset(KEY) == 100 and quick.send(KEY, GOOD, 100)[0] == 200
        time.sleep(0.5)
        assert there.received[KEY].content == GOOD


def test_service_logs_in_knows_organizations_and_finds_photos():
    photos = [
        service.Photo(str(n), 57.7 + n / 1000, 11.9, 1714979289000 + n, {"1024": GOOD})
        for n in range(5)
    ]
    with service.Service(photos=photos, page_size=2) as there:
        client = Client(there)
        login = {"email": service.EMAIL, "password": service.PASSWORD, "locale": "en_US"}
        assert (
            client.ask("POST", "/graph/login", json.dumps(login), token=service.CLIENT_TOKEN)[1][
                "access_token"
            ]
            == service.TOKEN
        )
        assert (
            client.ask(
                "POST",
                "/graph/login",
                json.dumps({**login, "password": "x"}),
                token=service.CLIENT_TOKEN,
            )[0]
            == 400
        )
        assert client.ask("GET", "/graph/me?fields=id,username")[1] == service.USER
        assert client.ask("GET", "/graph/2002?fields=slug,description,name")[1]["slug"] == "city"
        assert client.ask("GET", "/graph/2003?fields=slug,description,name")[0] == 400
        found, path = (
            [],
            "/graph/images?fields=id,thumb_1024_url&bbox=11.85,57.699,11.95,57.7032&limit=100",
        )
        while path:
            page = client.ask("GET", path)[1]
            found += page["data"]
            path = page.get("paging", {}).get("next", "").replace(there.root, "")
        assert [one["id"] for one in found] == ["0", "1", "2", "3"]
        assert client.ask("GET", found[3]["thumb_1024_url"].replace(there.root, ""))[1] == GOOD
        assert client.ask("GET", "/graph/images?bbox=11,57,12,58")[0] == 400
        there.thumb_seconds = -1
        expired = client.ask(
            "GET", "/graph/images?fields=thumb_1024_url&bbox=11.85,57.699,11.95,57.7032"
        )[1]["data"][0]
        assert client.ask("GET", expired["thumb_1024_url"].replace(there.root, ""))[0] == 403
