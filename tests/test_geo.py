"""Floor 3: geometry on the WGS-84 ellipsoid, judged by geographiclib where it is installed."""

import itertools
import math
import random

import pytest

import mapillary_tools as mt
from conftest import in_process

pytestmark = in_process


def at(lat: float, lon: float, time: float = 0.0, alt=None) -> mt.Fix:
    return mt.Fix(time, lat, lon, alt)


def track(*points, starts=(0,)) -> mt.Track:
    return mt.Track([mt.Fix(*point) for point in points], list(starts), {}, "GPX")


def _pairs(seed: int, count: int):
    dice = random.Random(seed)
    for _ in range(count):
        lat, lon = math.degrees(math.asin(dice.uniform(-1, 1))), dice.uniform(-180, 180)
        reach = 10 ** dice.uniform(-6, 1.8)
        yield (
            lat,
            lon,
            max(-90, min(90, lat + dice.uniform(-reach, reach))),
            lon + dice.uniform(-reach, reach),
        )


CORNERS = [
    (0, 0, 0, 1e-5),
    (0, 179.99999, 0, -179.99999),
    (89.9999, 0, 89.9999, 180),
    (-90, 0, -89.9, 77),
    (90, 10, 80, 20),
    (60, 5, 60, 5.049),
    (60, 5, 60, 5.051),
    (79.99, 1, 80.01, 1),
    (0, 0, 0, 170),
    (45, 0, -44, 170),
    (10, 180, 10, -180),
    (57.7, 11.97, 57.7, 11.9700017),
    (-33.8, 151.2, -33.8000009, 151.2),
    (85, 10, 85, 10.01),
    (0, -180, 0.01, 179.99),
]


@pytest.mark.parametrize("pairs", [CORNERS, list(_pairs(1, 1500))], ids=["corners", "random"])
def test_distance_and_bearing_agree_with_geographiclib(pairs):
    geodesic = pytest.importorskip("geographiclib.geodesic").Geodesic.WGS84
    for lat1, lon1, lat2, lon2 in pairs:
        judge = geodesic.Inverse(lat1, lon1, lat2, lon2)
        a, b = at(lat1, lon1), at(lat2, lon2)
        assert mt.distance(a, b) == pytest.approx(judge["s12"], rel=1e-6, abs=1e-6), (a, b)
        if judge["s12"] > 0.01:
            assert mt.turn(mt.bearing(a, b), judge["azi1"] % 360) < 0.2, (a, b)


@pytest.mark.parametrize(
    "lat1, lon1, lat2, lon2, metres, degrees",
    [
        (0, 0, 0, 1, 111319.491, 90),
        (0, 0, 1, 0, 110574.389, 0),
        (60, 10, 60, 10.001, 55.8, 90),
        (0, 179.9995, 0, -179.9995, 111.319, 90),
        (0, -179.9995, 0, 179.9995, 111.319, 270),
        (51, 0, 50.999, 0, 111.25, 180),
        (90, 0, 89, 0, 111693.865, 180),
    ],
)
def test_distance_and_bearing_by_hand(lat1, lon1, lat2, lon2, metres, degrees):
    a, b = at(lat1, lon1), at(lat2, lon2)
    assert (
        mt.distance(a, b) == pytest.approx(metres, rel=2e-3)
        and mt.turn(mt.bearing(a, b), degrees) < 0.2
    )


def test_distance_is_the_same_in_both_directions():
    for lat1, lon1, lat2, lon2 in _pairs(2, 300):
        assert mt.distance(at(lat1, lon1), at(lat2, lon2)) == pytest.approx(
            mt.distance(at(lat2, lon2), at(lat1, lon1)), rel=1e-9
        )


def test_one_place_is_no_distance_and_bearing_0():
    for lat, lon in ((0, 0), (57.7, 11.97), (90, 0), (-90, 180)):
        assert (
            mt.distance(at(lat, lon), at(lat, lon)),
            mt.bearing(at(lat, lon), at(lat, lon)),
        ) == (0.0, 0.0)


def test_antipodes_give_a_finite_distance():
    for lat, lon in ((0, 0), (10, 20), (0.3, 0), (90, 0)):
        metres = mt.distance(at(lat, lon), at(-lat, lon + 180))
        assert metres == pytest.approx(2.0e7, rel=0.01)


def test_bearing_is_below_360():
    for step in range(-100, 100):
        assert 0.0 <= mt.bearing(at(50, 0), at(50.001, step * 1e-17)) < 360.0


@pytest.mark.parametrize(
    "a, b, degrees",
    [
        (0, 0, 0),
        (350, 10, 20),
        (10, 350, 20),
        (0, 180, 180),
        (180, 0, 180),
        (90, 271, 179),
        (0, 360, 0),
        (-90, 270, 0),
        (720, 1, 1),
    ],
)
def test_turn_goes_the_short_way(a, b, degrees):
    assert mt.turn(a, b) == pytest.approx(degrees)


@pytest.mark.parametrize(
    "degrees, parts",
    [
        (57.7, (57, 42, 0)),
        (0.0, (0, 0, 0)),
        (9 + 59 / 60 + 59.9999999 / 3600, (10, 0, 0)),
        (179.99999999999, (180, 0, 0)),
        (-12.5, (12, 30, 0)),
        (1 / 3600, (0, 0, 1000000)),
        (59.9999999 / 60, (0, 59, 59999994)),
        (1 - 1e-13, (1, 0, 0)),
        (0.016666666666, (0, 1, 0)),
    ],
)
def test_degrees_minutes_seconds_carry(degrees, parts):
    assert mt.degrees_minutes_seconds(degrees) == parts


def test_degrees_minutes_seconds_are_never_60():
    dice = random.Random(3)
    for _ in range(2000):
        value = round(dice.uniform(0, 180) * 3600) / 3600 - 10 ** dice.uniform(-14, -8)
        whole, minutes, micro = mt.degrees_minutes_seconds(value)
        assert minutes < 60 and micro < 60000000
        assert whole + minutes / 60 + micro / 3.6e9 == pytest.approx(abs(value), abs=2e-10)


# ---- a place on a track ------------------------------------------------------------------------------------------------

LINE = track((0, 10.0, 20.0, 5.0), (10, 10.001, 20.0, 15.0), (20, 10.001, 20.002, None))


def test_fix_between_two_points_is_linear_in_time():
    fix = mt.fix_at(LINE, 2.5)
    assert fix[:4] == pytest.approx((2.5, 10.00025, 20.0, 7.5)) and fix.course == pytest.approx(0.0)


def test_fix_at_a_point_is_the_point():
    assert mt.fix_at(LINE, 10)[:4] == (10, 10.001, 20.0, 15.0)


def test_altitude_between_a_known_and_an_unknown_one_is_unknown():
    assert mt.fix_at(LINE, 15).alt is None


@pytest.mark.parametrize(
    "when, lat, lon", [(-1, 9.9999, 20.0), (-0.5, 9.99995, 20.0), (21, 10.001, 20.0022)]
)
def test_fix_at_most_a_second_outside_is_extrapolated(when, lat, lon):
    assert mt.fix_at(LINE, when)[:3] == pytest.approx((when, lat, lon), abs=1e-9)


@pytest.mark.parametrize(
    "when, seconds",
    [(-1.1, "1.1 s"), (21.5, "1.5 s"), (3620, "3600.0 s"), (-1e9, "1000000000.0 s")],
)
def test_fix_further_outside_is_refused_with_the_seconds(when, seconds):
    with pytest.raises(mt.OutsideTrack, match=seconds):
        mt.fix_at(LINE, when)


def test_fix_between_two_segments_is_refused():
    broken = track(
        (0, 10.0, 20.0), (10, 10.001, 20.0), (21, 10.002, 20.0), (31, 10.003, 20.0), starts=(0, 2)
    )
    with pytest.raises(mt.OutsideTrack, match="gap.*5.0 s"):
        mt.fix_at(broken, 15)
    assert mt.fix_at(broken, 26).lat == pytest.approx(10.0025)
    assert mt.fix_at(broken, 10.5).lat == pytest.approx(10.00105)


def test_a_border_over_ten_seconds_or_max_gap_is_none():
    pauses = track((0, 10.0, 20.0), (10, 10.001, 20.0), (40, 10.004, 20.0), starts=(0, 1, 2))
    assert mt.fix_at(pauses, 5).lat == pytest.approx(10.0005)
    assert mt.fix_at(pauses, 25, max_gap=30).lat == pytest.approx(10.0025)
    for when, gap in ((25, None), (5, 9), (25, 29)):
        with pytest.raises(mt.OutsideTrack):
            mt.fix_at(pauses, when, gap)


def test_fix_across_a_hole_longer_than_max_gap_is_refused():
    with pytest.raises(mt.OutsideTrack):
        mt.fix_at(LINE, 5, max_gap=9.9)
    assert mt.fix_at(LINE, 5, max_gap=10).lat == pytest.approx(10.0005)


def test_fix_across_a_hole_is_given_without_max_gap():
    assert mt.fix_at(track((0, 10.0, 20.0), (5000, 10.001, 20.0)), 2500).lat == pytest.approx(
        10.0005
    )


def test_fix_on_a_track_of_one_point():
    one = track((0, 10.0, 20.0, 5.0))
    assert mt.fix_at(one, 0)[:4] == (0, 10.0, 20.0, 5.0) and mt.fix_at(one, 0.5)[:3] == (
        0.5,
        10.0,
        20.0,
    )
    with pytest.raises(mt.OutsideTrack):
        mt.fix_at(one, 2)


def test_fix_across_the_antimeridian_takes_the_short_way():
    crossing = track((0, 0.0, 179.999), (10, 0.0, -179.999))
    assert abs(mt.fix_at(crossing, 5).lon) == pytest.approx(180.0)
    assert mt.fix_at(crossing, 2.5).lon == pytest.approx(179.9995) and mt.fix_at(
        crossing, 7.5
    ).lon == pytest.approx(-179.9995)
    assert mt.fix_at(crossing, 5).course == pytest.approx(90.0, abs=0.2)


def test_fix_beyond_the_pole_stays_on_earth():
    assert mt.fix_at(track((0, 89.9995, 0.0), (1, 89.9999, 0.0)), 2).lat <= 90.0


def test_course_while_standing_is_the_last_one_while_moving():
    stop = mt.with_courses(
        track((0, 10.0, 20.0), (10, 10.0, 20.001), (20, 10.0, 20.001), (30, 10.0, 20.001))
    )
    assert mt.fix_at(stop, 25).course == pytest.approx(90.0, abs=0.2)


def test_course_before_the_first_movement_is_the_next_one():
    start = mt.with_courses(track((0, 10.0, 20.0), (10, 10.0, 20.0), (20, 10.001, 20.0)))
    assert mt.fix_at(start, 2).course == pytest.approx(0.0, abs=0.2)


def test_course_in_a_curve_is_that_of_the_track_around_the_time():
    curve = track(
        *(
            (second, 10 + 0.0001 * math.sin(second / 10), 20 + 0.0001 * (1 - math.cos(second / 10)))
            for second in range(60)
        )
    )
    for when in (10.25, 20.5, 30.75):
        assert mt.turn(mt.fix_at(curve, when).course, math.degrees(when / 10) % 360) < 3


def test_course_does_not_look_across_segments():
    broken = track(
        (0, 10.0, 20.0), (1, 10.0, 20.001), (1.5, 10.5, 25.0), (2.5, 10.501, 25.0), starts=(0, 2)
    )
    assert (
        mt.turn(mt.fix_at(broken, 1).course, 90) < 0.5
        and mt.turn(mt.fix_at(broken, 1.5).course, 0) < 0.5
    )


def test_every_time_inside_gives_a_place_between_its_neighbours():
    dice = random.Random(5)
    times = sorted(dice.sample(range(1000), 50))
    zigzag = track(*((time, 10 + dice.random(), 20 + dice.random()) for time in times))
    for when in range(times[0], times[-1]):
        fix = mt.fix_at(zigzag, when)
        low = max(point for point in zigzag.points if point.time <= when)
        high = min(point for point in zigzag.points if point.time >= when)
        assert min(low.lat, high.lat) - 1e-9 <= fix.lat <= max(low.lat, high.lat) + 1e-9
        assert 0 <= fix.course < 360


def test_geometry_is_pure():
    points = list(itertools.chain(LINE.points))
    mt.fix_at(LINE, 5)
    mt.with_courses(LINE)
    assert LINE.points == points
