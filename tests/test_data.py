"""Floors 1 and 2: errors, the values that flow, option groups."""

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Optional

import pytest

import mapillary_tools as mt
from conftest import in_process

pytestmark = in_process
ERRORS = [
    kind for kind in vars(mt).values() if isinstance(kind, type) and issubclass(kind, mt.ToolError)
]


@pytest.mark.parametrize("kind", ERRORS)
def test_error_pickles_with_its_problem(kind):
    error = pickle.loads(
        pickle.dumps(kind("code", "wrong", file="file", value="value", remedy="remedy"))
    )
    assert type(error) is kind and error.problem == mt.Problem(
        "code", "wrong", "file", "value", "remedy"
    )


@pytest.mark.parametrize(
    "parts, text",
    [
        (("c", "is damaged", "a.jpg", "5", "copy it"), "a.jpg: is damaged: 5 (copy it)"),
        (("c", "is missing"), "is missing"),
        (("c", "is empty", "a.jpg"), "a.jpg: is empty"),
        (("c", "is missing", "", "", "add it"), "is missing (add it)"),
    ],
)
def test_error_text_is_path_wrong_value_and_remedy(parts, text):
    assert str(mt.ToolError(*parts)) == text == str(mt.Problem(*parts))


@pytest.mark.parametrize("odd", ["a\nb", "a\r\nb", "a\rb", "a\x0bb", "a\u2028b"])
def test_error_text_is_one_line(odd):
    assert len(str(mt.Problem("c", odd, odd, odd, odd)).splitlines()) == 1


def test_image_changes_by_copies():
    image = mt.Image(Path("a.jpg"))
    other = image._replace(geotag=mt.Geotag(5.0, 1.0, 2.0))
    assert (image.time, other.time, other.path) == (None, 5.0, image.path)
    with pytest.raises(AttributeError):
        image.geotag = other.geotag  # type: ignore


def test_fix_without_altitude_and_course_knows_that():
    assert mt.Fix(0.0, 1.0, 2.0) == (0.0, 1.0, 2.0, None, None)


# ---- the report --------------------------------------------------------------------------------------------------------


def _images():
    outcomes = [
        None,
        mt.Outcome("skipped", "already_uploaded"),
        mt.Outcome("duplicate", "duplicate"),
        mt.Outcome("failed", "no_time", mt.Problem("no_time", "has no capture time", "d.jpg")),
        None,
    ]
    return [
        mt.Image(Path("%s.jpg" % name), aside=outcome) for name, outcome in zip("abcde", outcomes)
    ]


def _counted() -> mt.Report:
    report = mt.Report("process")
    for image in _images():
        report.count(image.path, image.outcome)
    return report


def test_report_adds_up():
    report = _counted()
    assert (
        report.found
        == 5
        == report.done + sum(map(len, report.skipped.values())) + len(report.failed)
    )


def test_report_names_what_was_skipped_by_reason():
    assert _counted().skipped == {"already_uploaded": ["b.jpg"], "duplicate": ["c.jpg"]}


def test_report_is_plain_json():
    row = _counted().as_json()
    assert (
        json.loads(json.dumps(row)) == row
        and row["exit_code"] == 1
        and row["failed"][0]["code"] == "no_time"
    )


@pytest.mark.parametrize(
    "report, code",
    [
        (mt.Report("t"), 0),
        (mt.Report("t", failed=[mt.Problem("c", "w", "f")]), 1),
        (mt.Report("t", trouble=[mt.Problem("c", "w", "f")]), 1),
        (mt.Report("t", stopped=mt.NotAuthorized("c", "w", "f")), 9),
        (mt.Report("t", parts=[mt.Report("p")]), 0),
        (mt.Report("t", parts=[mt.Report("p", failed=[mt.Problem("c", "w", "f")])]), 1),
    ],
)
def test_report_gives_its_exit_code(report, code):
    assert report.exit_code == code


# ---- option groups -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Sample(mt.Group):
    """sample"""

    must: str = mt.opt(mt.REQUIRED, mt.Rule("needed", "TEXT"))
    pick: Optional[int] = mt.opt(None, mt.Rule("one of", choices=(1, 2)))
    low: float = mt.opt(1.0, mt.Rule("not below", at_least=0.5))
    high: Optional[float] = mt.opt(None, mt.Rule("more than", above=0))
    new: int = mt.opt(0, mt.Rule("came later", newer=True))


@pytest.mark.parametrize(
    "values, wrong",
    [
        ({}, "--must is missing"),
        ({"must": ""}, "--must is missing"),
        ({"must": "x", "pick": 3}, "--pick must be one of 1, 2: 3"),
        ({"must": "x", "low": 0.4}, "--low must be at least 0.5: 0.4"),
        ({"must": "x", "high": 0.0}, "--high must be (more than|above) 0: 0.0"),
        ({"must": "x", "low": float("nan")}, "--low must be a finite number"),
        ({"must": "x", "high": float("inf")}, "finite"),
        ({"must": "x", "low": float("-inf")}, "finite"),
    ],
)
def test_option_group_checks_itself(values, wrong):
    with pytest.raises(mt.UsageError, match=wrong):
        Sample(**values)


def test_newer_option_enters_a_hash_only_where_it_is_used():
    before = {"must": "x", "pick": None, "low": 1.0, "high": None}
    assert Sample("x").plain() == before and Sample("x", new=1).plain() == dict(before, new=1)


def test_option_group_takes_what_is_allowed():
    assert Sample("x", 2, 0.5, 0.1) == Sample(must="x", pick=2, low=0.5, high=0.1)


@pytest.mark.parametrize(
    "make, wrong",
    [
        (lambda: mt.Geotagging(geotag_source="gpx"), "needs a track"),
        (lambda: mt.Geotagging(geotag_source="magic"), "must be one of"),
        (lambda: mt.Geotagging(geotag_source="", geotag_source_path="x"), "must be one of"),
        (lambda: mt.Geotagging(timezone="+99:00"), "--timezone"),
        (lambda: mt.Geotagging(local_time=True, timezone="+01:00"), "contradict"),
        (lambda: mt.Geotagging(max_gap=0.0), "--max_gap must be"),
        (lambda: mt.Geotagging(sub_second_interval=-1.0), "at least 0"),
        (lambda: mt.User(None), "--user_name is missing"),
        (lambda: mt.User("me", private=True), "organization"),
        (lambda: mt.SequenceOptions(cutoff_time=-1.0), "at least 0"),
        (lambda: mt.MetaData(orientation=45), "must be one of"),
        (lambda: mt.MetaData(GPS_accuracy=-1.0), "at least 0"),
        (lambda: mt.Workers(-1), "at least 0"),
        (lambda: mt.Input(), "--import_path is missing"),
    ],
)
def test_options_that_cannot_be_are_refused_when_embedding_too(make, wrong):
    with pytest.raises(mt.UsageError, match=wrong):
        make()


def test_zero_is_a_value():
    assert (
        mt.MetaData(orientation=0).orientation == 0
        and mt.SequenceOptions(cutoff_distance=0.0).cutoff_distance == 0.0
    )
    assert mt.MetaData(GPS_accuracy=0.0).GPS_accuracy == 0.0
