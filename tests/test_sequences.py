"""Floor 9: order, cuts, directions and duplicates among images of one folder."""

import uuid
from pathlib import Path
from typing import Any, List, Optional

import pytest
from hypothesis import given, strategies as st

import mapillary_tools as mt
from conftest import in_process

pytestmark = in_process
METRE = 1 / 110574.3886  # degrees of latitude at the equator


def image(
    time: Optional[float],
    metres: Optional[float] = 0.0,
    name: Optional[str] = None,
    heading: Any = None,
    course: Any = None,
) -> mt.Image:
    """An image so many metres north of (0, 10)."""
    path = Path(name or "%07.2f.jpg" % (time or 0))
    if time is not None and metres is not None:
        return at(path, time, metres * METRE, 10.0, course, heading)
    place = {} if metres is None else {"lat": metres * METRE, "lon": 10.0}
    capture = None if time is None else mt.Capture(time, "", 0.0, "")
    return mt.Image(path, mt.Found(heading=heading, **place), capture=capture)


def at(
    path: Any, time: float, lat: float, lon: float, course: Any = None, heading: Any = None
) -> mt.Image:
    geotag = mt.Geotag(time, lat, lon, course=course, heading=heading)
    return mt.Image(Path(str(path)), geotag=geotag)


def shape(pieces: List[List[mt.Image]]) -> List[List[float]]:
    return [[one.time for one in piece] for piece in pieces]


def test_split_keeps_a_steady_drive_together():
    assert shape(mt.split([image(second, 10 * second) for second in range(20)], 600, 60)) == [
        list(range(20))
    ]


def test_split_starts_new_sequence_after_long_gap():
    assert shape(mt.split([image(0), image(60), image(120.5), image(130)], 600, 60)) == [
        [0, 60],
        [120.5, 130],
    ]


def test_split_starts_new_sequence_after_long_way():
    assert shape(
        mt.split([image(0, 0), image(1, 599), image(2, 1200), image(3, 1201)], 600, 60)
    ) == [[0, 1], [2, 3]]


def test_split_keeps_what_is_exactly_at_the_limit():
    assert shape(mt.split([image(0), image(60)], 600, 60)) == [[0, 60]]


def test_split_by_limits_of_zero_cuts_everything_that_moves():
    assert len(mt.split([image(0, 0), image(0, 0, "b.jpg"), image(1, 0)], 0, 0)) == 2


def test_split_sorts_by_time_then_natural_name():
    pieces = mt.split(
        [image(5, 0, "b.jpg"), image(1, 0, "IMG_10.jpg"), image(1, 0, "IMG_9.jpg")], 600, 60
    )
    assert [one.path.name for one in pieces[0]] == ["IMG_9.jpg", "IMG_10.jpg", "b.jpg"]


def test_split_of_nothing():
    assert mt.split([], 600, 60) == []


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 5000)), max_size=30),
    st.floats(0, 1000),
    st.floats(0, 100),
)
def test_split_loses_nothing_and_cuts_only_where_it_must(points, metres, seconds):
    images = [image(time, way, "%d.jpg" % number) for number, (time, way) in enumerate(points)]
    pieces = mt.split(images, metres, seconds)
    flat = [one for piece in pieces for one in piece]
    assert sorted(one.path.name for one in flat) == sorted(one.path.name for one in images) and all(
        pieces
    )
    assert [one.time for one in flat] == sorted(one.time for one in images)
    for piece in pieces:
        for a, b in zip(piece, piece[1:]):
            assert b.time - a.time <= seconds and mt.distance(a.fix, b.fix) <= metres
    for piece, later in zip(pieces, pieces[1:]):
        a, b = piece[-1], later[0]
        assert b.time - a.time > seconds or mt.distance(a.fix, b.fix) > metres


@pytest.mark.parametrize(
    "count, sizes", [(0, []), (1, [1]), (500, [500]), (501, [500, 1]), (1200, [500, 500, 200])]
)
def test_sequences_are_cut_into_pieces_of_at_most_500(count, sizes):
    images = [image(number) for number in range(count)]
    pieces = mt.cut(images)
    assert [len(piece) for piece in pieces] == sizes and [
        one for piece in pieces for one in piece
    ] == images


# ---- directions --------------------------------------------------------------------------------------------------------


def headings(images: List[mt.Image], offset: float = 0.0, everywhere: bool = False) -> List[Any]:
    return [
        one.heading if one.heading is None else round(one.heading, 1) % 360
        for one in mt.with_directions(images, offset, everywhere)
    ]


def test_missing_direction_is_that_to_the_next_image():
    images = [image(0, 0), image(1, 10), at("c", 2.0, 10 * METRE, 10.001)]
    assert headings(images) == [0.0, 90.0, 90.0]


def test_last_image_has_the_direction_of_the_one_before_it():
    assert headings([image(0, 10), image(1, 0)]) == [180.0, 180.0]


def test_direction_of_the_camera_is_kept():
    assert headings([image(0, 0, heading=77.0), image(1, 10)]) == [77.0, 0.0]


def test_direction_0_of_the_camera_is_a_direction():
    assert headings([image(0, 10, heading=0.0), image(1, 0)]) == [0.0, 180.0]


def test_directions_are_all_derived_when_asked():
    assert headings([image(0, 0, heading=77.0), image(1, 10)], everywhere=True) == [0.0, 0.0]


def test_offset_angle_is_added_to_derived_directions_only():
    assert headings([image(0, 0, heading=77.0), image(1, 10), image(2, 20)], -90) == [
        77.0,
        270.0,
        270.0,
    ]


def test_course_of_the_track_wins_over_the_way_to_the_next_image():
    assert headings([image(0, 0, course=45.0), image(1, 10)], 90) == [135.0, 90.0]


def test_direction_while_standing_is_that_of_the_next_movement_then_of_the_last():
    images = [image(0, 0), image(1, 0), image(2, 10), image(3, 10)]
    assert headings(images) == [0.0, 0.0, 0.0, 0.0]


def test_image_alone_has_no_direction():
    assert headings([image(0)]) == [None]


def test_directions_across_the_antimeridian():
    images = [at(number, float(number), 0.0, lon) for number, lon in enumerate((179.999, -179.999))]
    assert headings(images) == [90.0, 90.0]


# ---- duplicates --------------------------------------------------------------------------------------------------------


def marked(images: List[mt.Image], metres: float = 0.1, degrees: float = 5) -> List[Any]:
    return [
        one.outcome and one.outcome.repeats.partner
        for one in mt.mark_duplicates(images, metres, degrees)
    ]


def test_duplicate_is_near_and_not_turned():
    assert marked([image(0, 0, "a", 10.0), image(1, 0.05, "b", 12.0)]) == [None, "a"]


def test_equal_or_less_is_a_duplicate():
    a, b = image(0, 0, "a", 10.0), image(1, 0.1, "b", 15.0)
    assert marked([a, b], mt.distance(a.fix, b.fix), 5) == [None, "a"]


def test_turned_further_is_no_duplicate():
    assert marked([image(0, 0, "a", 10.0), image(1, 0, "b", 15.1)]) == [None, None]


def test_further_away_is_no_duplicate():
    assert marked([image(0, 0, "a", 10.0), image(1, 0.2, "b", 10.0)]) == [None, None]


def test_turn_across_north_is_small():
    assert marked([image(0, 0, "a", 358.0), image(1, 0, "b", 2.0)]) == [None, "a"]


def test_unknown_direction_counts_as_no_turn():
    assert marked([image(0, 0, "a"), image(1, 0, "b", 90.0)]) == [None, "a"]


def test_unknown_position_is_never_a_duplicate():
    assert marked([image(0, 0, "a"), image(1, None, "b")]) == [None, None]


def test_duplicates_are_measured_from_the_last_image_kept():
    """Creeping along at 6 cm a shot: every second one is kept, not none of them."""
    assert marked([image(number, 0.06 * number, str(number)) for number in range(5)]) == [
        None,
        "0",
        None,
        "2",
        None,
    ]


def test_duplicate_says_distance_and_turn():
    outcome = mt.mark_duplicates([image(0, 0, "a", 10.0), image(1, 0.05, "b", 12.0)], 0.1, 5)[
        1
    ].outcome
    repeats = outcome.repeats
    assert (outcome.status, repeats.distance, repeats.turn) == ("duplicate", 0.05, 2.0)


def test_marking_keeps_number_and_order():
    images = [image(number, number % 2, str(number)) for number in range(9)]
    assert [one.path for one in mt.mark_duplicates(images, 0.1, 5)] == [one.path for one in images]


# ---- ids ---------------------------------------------------------------------------------------------------------------

FOUND = {"times": {"DateTimeOriginal": "2024:05:06 07:08:09"}, "pixels": [64, 48]}


def photo_id(name: str, row: Any) -> str:
    return mt.photo_id(name, mt.unpack_found(row))


def test_ids_are_version_5_uuids():
    for text in (photo_id("a.jpg", FOUND), mt.sequence_id("x", {})):
        assert uuid.UUID(text).version == 5 and str(uuid.UUID(text)) == text


def test_photo_id_is_the_same_on_every_machine():
    assert photo_id("a.jpg", FOUND) == photo_id("a.jpg", dict(FOUND, size=5, mtime=7, make="x"))
    assert photo_id("a.jpg", FOUND) == str(
        uuid.uuid5(uuid.UUID(mt.ID_NAMESPACE), "a.jpg|64x48|1714979289000")
    )


@pytest.mark.parametrize(
    "name, found",
    [
        ("b.jpg", FOUND),
        ("a.jpg", dict(FOUND, pixels=[64, 49])),
        ("a.jpg", dict(FOUND, times={"DateTimeOriginal": "2024:05:06 07:08:10"})),
        ("a.jpg", dict(FOUND, times=dict(FOUND["times"], SubSecTimeOriginal="5"))),
    ],
)
def test_photo_id_differs_by_name_size_and_time(name, found):
    assert photo_id(name, found) != photo_id("a.jpg", FOUND)


def test_photo_id_does_not_depend_on_how_letters_are_composed():
    assert photo_id("u\u0308.jpg", FOUND) == photo_id("\u00fc.jpg", FOUND)


def test_photo_id_of_a_name_that_is_no_text():
    assert photo_id("\udcff.jpg", FOUND) != photo_id("\udcfe.jpg", FOUND)


def test_sequence_id_depends_on_first_photo_and_options():
    ids = {
        mt.sequence_id(*parts) for parts in (("a", {}), ("b", {}), ("a", {"x": 1}), ("a", {"x": 2}))
    }
    assert len(ids) == 4 and mt.sequence_id("a", {"x": 1, "y": 2}) == mt.sequence_id(
        "a", {"y": 2, "x": 1}
    )
