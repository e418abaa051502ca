"""download_images: searches, tiles, expired addresses, resume, and what a service may not do to a folder."""

import csv
import threading
import time

import making
import pytest
from conftest import soon
import service as stand

import mapillary_tools as mt

JPEG = making.jpeg((16, 16))
SIZES = {
    "256": making.jpeg((8, 8)),
    "1024": JPEG,
    "2048": making.jpeg((24, 24)),
    "original": making.jpeg((32, 32)),
}


def photos(count, lat=57.7, lon=11.9, step=0.0001):
    return [
        stand.Photo(str(1000 + n), lat + n * step, lon, 1714979289123 + n * 1000, SIZES)
        for n in range(count)
    ]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A function that starts a service with these photos and leads the tool there with a client token."""
    started = []
    monkeypatch.delenv("MAPILLARY_ACCESS_TOKEN", raising=False)
    monkeypatch.setenv("MAX_ATTEMPTS", "2")

    def start(found=(), **more):
        one = stand.Service(photos=found, **more)
        started.append(one)
        one.__enter__()
        for name, value in one.environment(tmp_path / "config").items():
            monkeypatch.setenv(name, value)
        return one

    yield start
    for one in started:
        one.__exit__()


@pytest.fixture
def fetch(tmp_path):
    """A function that downloads a box of 0.1 x 0.05 degrees into tmp_path/out."""

    def run(box=(57.69, 57.74, 11.85, 11.95), **more):
        more.setdefault("output_path", str(tmp_path / "out"))
        return mt.download(
            mt.Options([mt.Box(*box, **more), mt.Patience(offline_limit=0.02)]), mt.Ui()
        )

    return run


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "out").iterdir())


def table(tmp_path):
    with open(str(tmp_path / "out" / "downloaded.csv"), newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


# -- what is downloaded


def test_download_fetches_every_image_of_the_box(world, fetch, tmp_path):
    world(photos(3))
    assert (fetch().done, files(tmp_path)) == (
        3,
        ["1000.jpg", "1001.jpg", "1002.jpg", "downloaded.csv"],
    )


def test_download_leaves_out_images_beside_the_box(world, fetch):
    world(photos(2) + photos(2, lat=58.0))
    assert fetch().found == 2


def test_download_writes_the_bytes_that_were_sent(world, fetch, tmp_path):
    world(photos(1))
    fetch()
    assert (tmp_path / "out" / "1000.jpg").read_bytes() == JPEG


@pytest.mark.parametrize(
    "asked, taken",
    [
        ("320", "256"),
        ("640", "1024"),
        ("1024", "1024"),
        ("2048", "2048"),
        ("original", "original"),
        (2048, "2048"),
    ],
)
def test_download_takes_the_size_that_the_service_has(world, fetch, tmp_path, asked, taken):
    world(photos(1))
    fetch(image_size=asked)
    assert (tmp_path / "out" / "1000.jpg").read_bytes() == SIZES[taken]


def test_download_says_once_that_a_size_of_2018_became_another(world, fetch):
    world(photos(3))
    assert fetch(image_size="320").notes == ["the service has no images of size 320: 256 is taken"]


def test_download_stops_at_max_results(world, fetch):
    world(photos(9))
    assert fetch(max_results=4).found == 4


def test_download_of_an_empty_box_finds_nothing(world, fetch):
    world()
    assert (fetch().found, fetch().exit_code) == (0, 0)


def test_download_lists_name_place_and_time(world, fetch, tmp_path):
    world(photos(2))
    fetch()
    assert table(tmp_path) == [
        ["name", "latitude", "longitude", "capture_time"],
        ["1000.jpg", "57.7000000", "11.9000000", "2024-05-06T07:08:09.123Z"],
        ["1001.jpg", "57.7001000", "11.9000000", "2024-05-06T07:08:10.123Z"],
    ]


# -- searching


def test_download_cuts_a_large_box_into_tiles_that_the_service_takes(world, fetch):
    world(photos(3, step=0.15))
    assert fetch(box=(57.6, 58.1, 11.7, 12.1)).done == 3


@pytest.mark.parametrize(
    "box",
    [
        (0, 0.1, 0, 0.1),
        (0, 1, 0, 1),
        (-80, 80, 10, 10.001),
        (10, 10.001, -180, 180),
        (0, 0.05, 0, 9),
        (0, 9, 0, 0.05),
        (57.65, 57.75, 11.85, 11.95),
    ],
)
def test_tiles_of_a_box_are_never_larger_than_allowed(box):
    columns, rows = mt.Box(*box).grid()
    assert (box[3] - box[2]) / columns * (box[1] - box[0]) / rows <= 0.01 + 1e-12


def test_a_thin_box_takes_few_searches():
    assert mt.Box(-80, 80, 10, 10.001).grid() == (1, 17)


def test_download_follows_pages(world, fetch):
    world(photos(7), page_size=2)
    assert fetch().done == 7


def test_download_quarters_a_tile_whose_answer_is_full(world, fetch, monkeypatch):
    monkeypatch.setattr(mt, "SEARCH_LIMIT", 3)
    world(photos(20, step=0.0005))
    assert fetch().done == 20


def test_download_of_many_images_at_one_place_ends(world, fetch, monkeypatch):
    monkeypatch.setattr(mt, "SEARCH_LIMIT", 3)
    world(photos(5, step=0.0))
    assert fetch().found == 3


def test_download_asks_no_other_host_for_the_next_page(world, fetch, monkeypatch):
    one, search = world(photos(2)), stand.Service.search
    with stand.Service() as other:

        def leading_away(self, query):
            code, answer = search(self, query)
            return code, dict(answer, paging={"next": other.graph_url + "/images?after=1"})

        monkeypatch.setattr(stand.Service, "search", leading_away)
        assert (fetch().done, other.log, len(one.requests(path="/graph/images"))) == (2, [], 1)


def test_download_ends_when_a_page_leads_to_itself(world, fetch, monkeypatch):
    one, search = world(photos(2)), stand.Service.search

    def in_a_ring(self, query):
        code, answer = search(self, query)
        return code, dict(answer, paging={"next": one.root + one.log[0].target})

    monkeypatch.setattr(stand.Service, "search", in_a_ring)
    assert fetch().done == 2


# -- the token


def test_download_sends_the_token_to_searches(world, fetch):
    one = world(photos(1))
    fetch()
    assert [
        request.headers.get("authorization") for request in one.requests(path="/graph/images")
    ] == ["OAuth " + stand.CLIENT_TOKEN]


def test_download_never_sends_the_token_to_image_hosts(world, fetch):
    one = world(photos(3))
    fetch()
    assert [request.headers.get("authorization") for request in one.requests(path="/thumb/")] == [
        None
    ] * 3


def test_download_takes_the_only_stored_token(world, fetch, monkeypatch):
    world(photos(1))
    monkeypatch.delenv("MAPILLARY_CLIENT_TOKEN")
    assert fetch().done == 1


def test_download_without_a_token_says_what_to_do(world, fetch, monkeypatch, tmp_path):
    world(photos(1))
    monkeypatch.delenv("MAPILLARY_CLIENT_TOKEN")
    monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(tmp_path / "none"))
    with pytest.raises(mt.NotAuthorized, match="MAPILLARY_CLIENT_TOKEN"):
        fetch()


def test_download_with_a_revoked_token_stops(world, fetch):
    world(photos(1), faults=[stand.revoked(path="/graph/images")])
    with pytest.raises(mt.NotAuthorized):
        fetch()


# -- faults


def test_download_searches_again_for_an_expired_address(world, fetch):
    one = world(photos(3), faults=[stand.status(403, "expired", path="/thumb/")])
    assert (fetch().done, len(one.requests(path="/graph/images"))) == (3, 2)


def test_download_searches_once_for_all_addresses_that_expired_together(world, fetch, monkeypatch):
    monkeypatch.setenv("NUMBER_THREADS", "1")
    one = world(photos(3), thumb_seconds=-1)
    search = stand.Service.search
    monkeypatch.setattr(
        stand.Service,
        "search",
        lambda self, query: (
            setattr(one, "thumb_seconds", 3600 if one.requests(path="/thumb/") else -1),
            search(self, query),
        )[1],
    )
    assert (fetch().done, len(one.requests(path="/graph/images"))) == (3, 2)


def test_download_gives_up_an_address_that_is_always_expired(world, fetch):
    world(photos(1), thumb_seconds=-1)
    (problem,) = fetch().failed
    assert problem.value == "HTTP 403"


def test_download_tries_a_broken_answer_again(world, fetch):
    world(photos(3), faults=[stand.cut_answer(len(JPEG) // 2, path="/thumb/")])
    assert fetch().done == 3


def test_download_never_leaves_a_truncated_image(world, fetch, tmp_path):
    world(photos(1), faults=[stand.cut_answer(len(JPEG) // 2, path="/thumb/", times=None)])
    assert (len(fetch().failed), files(tmp_path)) == (1, ["downloaded.csv"])


def test_download_notes_a_page_instead_of_an_image_and_goes_on(world, fetch):
    world(photos(3), faults=[stand.html(path="/thumb/1001")])
    report = fetch()
    assert (report.done, [problem.value for problem in report.failed]) == (
        2,
        ["the answer is no image"],
    )


def test_download_notes_an_image_that_the_service_lost_and_goes_on(world, fetch):
    world(photos(3), faults=[stand.status(404, path="/thumb/1001")])
    report = fetch()
    assert (report.done, [problem.value for problem in report.failed], report.exit_code) == (
        2,
        ["HTTP 404"],
        1,
    )


def test_download_survives_an_overloaded_service(world, fetch):
    world(
        photos(2),
        faults=[
            stand.status(502, path="/thumb/"),
            stand.too_many(retry_after=0, path="/graph/images"),
        ],
    )
    assert fetch().done == 2


def test_download_notes_an_image_host_that_cannot_be_reached_and_goes_on(world, fetch, monkeypatch):
    world(photos(2))
    found = stand.Service._found
    monkeypatch.setattr(
        stand.Service,
        "_found",
        lambda self, photo, query: dict(
            found(self, photo, query),
            **({"thumb_1024_url": "http://127.0.0.1:1/x"} if photo.id == "1000" else {}),
        ),
    )
    report = fetch()
    assert (report.done, len(report.failed)) == (1, 1)


def test_download_stops_when_the_service_cannot_be_reached(world, fetch):
    world(photos(1)).go_offline()
    with pytest.raises(mt.UploadError, match="cannot be reached"):
        fetch()


def test_download_waits_while_the_service_is_away(world, fetch):
    one = world(photos(1))
    one.go_offline()
    threading.Timer(0.6, one.go_online).start()
    assert fetch().done == 1


# -- running again


def test_download_again_fetches_nothing_twice(world, fetch):
    one = world(photos(3))
    fetch()
    report = fetch()
    assert (
        report.done,
        len(report.skipped["already_downloaded"]),
        len(one.requests(path="/thumb/")),
    ) == (0, 3, 3)


def test_download_again_in_another_size_says_which_one_is_there(world, fetch, caplog):
    world(
        [
            stand.Photo(
                "1000",
                57.7,
                11.9,
                0,
                {"1024": making.jpeg((1024, 8)), "2048": making.jpeg((2048, 8))},
            )
        ]
    )
    caplog.set_level("INFO")
    fetch()
    fetch()
    assert "from before" not in caplog.text
    report = fetch(image_size="2048")
    assert len(report.skipped["already_downloaded"]) == 1
    assert "1024 pixels wide from before, and not of the size 2048" in caplog.text


def test_download_again_fetches_what_is_missing(world, fetch, tmp_path):
    world(photos(3))
    fetch()
    (tmp_path / "out" / "1001.jpg").unlink()
    assert fetch().done == 1


def test_download_again_replaces_a_partial_image(world, fetch, tmp_path):
    world(photos(1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1000.jpg").write_bytes(JPEG[:50])
    fetch()
    assert (tmp_path / "out" / "1000.jpg").read_bytes() == JPEG


def test_download_again_gives_the_same_list(world, fetch, tmp_path):
    world(photos(12))
    fetch()
    before = (tmp_path / "out" / "downloaded.csv").read_bytes()
    fetch()
    assert (tmp_path / "out" / "downloaded.csv").read_bytes() == before


def test_download_of_another_box_adds_to_the_list(world, fetch, tmp_path):
    world(photos(1) + [stand.Photo("99", 58.0, 11.9, 0, SIZES)])
    fetch()
    fetch(box=(57.99, 58.01, 11.85, 11.95))
    assert [row[0] for row in table(tmp_path)] == ["name", "99.jpg", "1000.jpg"]


def test_download_lists_what_came_before_it_was_stopped(world, fetch, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBER_THREADS", "1")
    world(photos(9), page_size=2, faults=[stand.revoked(path="/graph/images", after=1)])
    report = fetch()
    assert (type(report.stopped), len(table(tmp_path))) == (mt.NotAuthorized, 3)


def test_download_does_not_overwrite_a_list_of_somebody_else(world, fetch, tmp_path):
    world(photos(1))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "downloaded.csv").write_text("my,own\n1,2\n", "utf-8")
    with pytest.raises(mt.CannotWrite):
        fetch()
    assert (tmp_path / "out" / "downloaded.csv").read_text("utf-8") == "my,own\n1,2\n"


# -- what a service may not do


def answering(monkeypatch, **changes):
    """The service describes its images with these changes."""
    found = stand.Service._found
    monkeypatch.setattr(
        stand.Service,
        "_found",
        lambda self, photo, query: dict(found(self, photo, query), **changes),
    )


@pytest.mark.parametrize(
    "identity", ["../../evil", "/etc/evil", "1000.sh", "", "１２", "12\n", "CON"]
)
def test_download_takes_only_numbers_for_names(world, fetch, monkeypatch, tmp_path, identity):
    world(photos(1))
    answering(monkeypatch, id=identity)
    assert (len(fetch().failed), files(tmp_path)) == (1, ["downloaded.csv"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "out"]


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://",
        "http://a:b/",
        "//x/y",
        None,
        7,
        "http://x/\r\nHost: y",
        "http://[x/",
    ],
)
def test_download_asks_only_web_addresses(world, fetch, monkeypatch, address):
    world(photos(1))
    answering(monkeypatch, thumb_1024_url=address)
    (problem,) = fetch().failed
    assert problem.value == "the service gives no address for this size"


@pytest.mark.parametrize(
    "changes",
    [
        {"computed_geometry": {"coordinates": ["=1+1", None]}},
        {"computed_geometry": 7},
        {"captured_at": "yesterday"},
        {"captured_at": 1e300},
    ],
)
def test_download_leaves_unknown_what_the_service_says_wrongly(
    world, fetch, monkeypatch, tmp_path, changes
):
    world(photos(1))
    answering(monkeypatch, **changes)
    assert fetch().done == 1
    assert "" in table(tmp_path)[1] and "=1+1" not in table(tmp_path)[1]


def test_download_reads_images_larger_than_other_answers(world, fetch, monkeypatch, tmp_path):
    monkeypatch.setattr(mt, "ANSWER_BYTES", 2000)
    world([stand.Photo("1", 57.7, 11.9, 0, {"1024": JPEG[:-2] + b"\0" * 3000 + b"\xff\xd9"})])
    assert fetch().done == 1


def test_download_uses_at_most_one_connection_a_thread(world, fetch, monkeypatch):
    monkeypatch.setenv("NUMBER_THREADS", "3")
    one = world(photos(30))
    fetch()
    assert one.most_open <= 4


def test_download_keeps_its_connections(world, fetch, monkeypatch):
    monkeypatch.setenv("NUMBER_THREADS", "2")
    one = world(photos(30))
    fetch()
    assert one.connections <= 3


def test_download_ends_soon_after_ctrl_c(world, fetch, monkeypatch):
    world(photos(3), faults=[stand.stall(20, path="/thumb/", times=None)])
    join = threading.Thread.join

    def interrupted(self, timeout=None):
        join(self, timeout)
        raise KeyboardInterrupt

    start = time.perf_counter()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    assert soon(time.perf_counter() - start, 15)


def test_download_hands_a_bug_in_a_worker_to_the_caller(world, fetch, monkeypatch):
    world(photos(3))
    monkeypatch.setattr(mt, "write_atomically", lambda path, *more: 1 // ("downloaded.csv" in path))
    with pytest.raises(ZeroDivisionError):
        fetch()


# -- the box


@pytest.mark.parametrize(
    "box", [(58, 57, 11, 12), (57, 58, 12, 11), (57, 57, 11, 12), (-91, 0, 0, 1), (0, 1, 170, 181)]
)
def test_box_refuses_edges_that_make_no_box(box):
    with pytest.raises(mt.UsageError, match="min_lat max_lat min_lon max_lon"):
        mt.Box(*box)


def test_box_refuses_a_whole_continent():
    with pytest.raises(mt.UsageError, match="smaller"):
        mt.Box(35, 70, -10, 40)


def test_box_needs_all_four_edges():
    with pytest.raises(mt.UsageError, match="max_lon is missing"):
        mt.Box(1, 2, 3)


@pytest.mark.parametrize("more", [{"max_results": 0}, {"image_size": "500"}])
def test_box_refuses_wrong_options(more):
    with pytest.raises(mt.UsageError):
        mt.Box(1, 2, 3, 4, **more)


def test_a_search_that_has_no_more_ends_however_many_are_wished(world, fetch, monkeypatch):
    """999999999, for all there are, never ended."""
    turns = []
    one = mt._Download.one

    def counted(self):
        turns.append(1)
        if len(turns) > 200:
            self.crew.end(mt.UploadError("many", "it goes on and on"))
            return
        one(self)

    monkeypatch.setattr(mt._Download, "one", counted)
    world(photos(4))
    report = fetch(max_results=999999999)
    assert (report.done, report.stopped) == (4, None)


def test_an_image_that_is_to_wait_for_an_hour_fails_with_that(world, fetch):
    """Four threads slept without a word."""
    world(photos(2), faults=[stand.too_many(3600, path="/thumb", times=99)])
    start = time.monotonic()
    report = fetch()
    assert time.monotonic() - start < 20
    assert report.done == 0 and "asks to wait 3600 s" in str(report.failed[0])


def test_blanks_around_the_token_of_the_environment_do_not_count(world, fetch, monkeypatch):
    world(photos(1))
    monkeypatch.setenv("MAPILLARY_CLIENT_TOKEN", f" {stand.CLIENT_TOKEN} \n")
    assert fetch().done == 1
