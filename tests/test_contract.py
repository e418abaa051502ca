"""The command line as the published contract has it."""

import argparse
import dataclasses
import functools
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import mapillary_tools as mt
import pytest
from conftest import in_process, real, run

pytestmark = in_process

# ---- the command line: a contract --------------------------------------------------------------------------------------

BASIC = ["process", "upload", "process_and_upload"]
EXTRACT = [
    "extract_user_data",
    "extract_import_meta_data",
    "extract_geotag_data",
    "extract_sequence_data",
    "extract_upload_params",
]
ADVANCED = [
    "sample_video",
    "video_process",
    "video_process_and_upload",
    *EXTRACT,
    "exif_insert",
    "process_csv",
    "interpolate",
    "authenticate",
    "download_images",
]
OWN = ["status", "report", "export", "restore"]
FAMILY = ["process", "process_and_upload", "video_process", "video_process_and_upload"]
UPLOADING = ["upload", "process_and_upload", "video_process_and_upload"]
PHOTOS = ["process", "process_and_upload"]
VIDEO = ["sample_video", "video_process", "video_process_and_upload"]
GEOTAG = FAMILY + ["extract_geotag_data"]
META = FAMILY + ["extract_import_meta_data"]
SEQUENCE = FAMILY + ["extract_sequence_data"]
EVERY = BASIC + ADVANCED + OWN


class Row(NamedTuple):
    """One line of the contract."""

    option: str
    tools: List[str]
    kind: str = "text"  # text, flag, number, whole
    default: Any = None
    choices: Optional[List[Any]] = None
    advanced: bool = False
    required: bool = False


def rows() -> Iterator[Row]:
    """The tables of the contract, published options first."""
    paths = [tool for tool in EVERY if tool not in ("authenticate", "download_images")]
    yield Row("import_path", [tool for tool in paths if tool != "interpolate"], required=True)
    yield Row("import_path", ["interpolate"])
    yield Row("verbose", [tool for tool in EVERY if tool != "authenticate"], "flag")
    yield Row("rerun", FAMILY + EXTRACT + ["exif_insert"], "flag")
    below = FAMILY + ["upload"] + EXTRACT + ["exif_insert", "restore"]
    yield Row("skip_subfolders", below, "flag")
    yield Row("user_name", FAMILY + ["extract_user_data", "extract_upload_params"], required=True)
    yield Row("user_name", ["authenticate", "upload"])
    yield Row("list", ["authenticate"], "flag")
    yield Row("delete", ["authenticate"], "flag")
    for option in ("organization_username", "organization_key"):
        yield Row(option, FAMILY + ["extract_user_data"])
    yield Row("private", FAMILY + ["extract_user_data"], "flag")
    yield Row("manual_done", UPLOADING, "flag")
    yield Row(
        "master_upload",
        FAMILY + ["extract_user_data", "extract_upload_params", "exif_insert"],
        "flag",
        False,
        None,
        True,
    )
    for option in ("device_make", "device_model"):
        yield Row(option, META, advanced=True)
    yield Row("GPS_accuracy", META, "number", advanced=True)
    for option in ("add_file_name", "add_import_date", "panorama"):
        yield Row(option, META, "flag", advanced=True)
    yield Row("orientation", META, "whole", None, [0, 90, 180, 270], True)
    yield Row(
        "geotag_source",
        GEOTAG,
        "text",
        "exif",
        ["exif", "gpx", "gopro_video", "nmea", "blackvue"],
        True,
    )
    yield Row("geotag_source_path", GEOTAG, advanced=True)
    for option in ("local_time", "use_gps_start_time"):
        yield Row(option, GEOTAG, "flag", advanced=True)
    for option in ("sub_second_interval", "offset_time"):
        yield Row(option, GEOTAG, "number", 0.0, advanced=True)
    yield Row("offset_angle", GEOTAG + ["extract_sequence_data"], "number", 0.0, advanced=True)
    yield Row("cutoff_distance", SEQUENCE, "number", 600.0, advanced=True)
    yield Row("cutoff_time", SEQUENCE, "number", 60.0, advanced=True)
    for option in ("interpolate_directions", "flag_duplicates"):
        yield Row(option, SEQUENCE, "flag", advanced=True)
    yield Row("duplicate_distance", SEQUENCE, "number", 0.1, advanced=True)
    yield Row("duplicate_angle", SEQUENCE, "number", 5.0, advanced=True)
    yield Row("skip_EXIF_insert", FAMILY + ["exif_insert"], "flag", advanced=True)
    yield Row(
        "keep_original",
        FAMILY + ["exif_insert", "process_csv", "interpolate"],
        "flag",
        advanced=True,
    )
    yield Row("video_path", VIDEO, required=True)
    yield Row("video_sample_interval", VIDEO + PHOTOS, "number", 2.0)
    yield Row("video_duration_ratio", VIDEO + PHOTOS, "number", 1.0)
    yield Row("video_start_time", VIDEO + PHOTOS, "whole")
    yield Row("csv_path", ["process_csv"], required=True)
    yield Row("delimiter", ["process_csv", "interpolate"], "text", ",")
    yield Row("header", ["process_csv", "interpolate"], "flag")
    for name in (
        "filename",
        "timestamp",
        "latitude",
        "longitude",
        "heading",
        "altitude",
        "gps_week",
    ):
        yield Row(name + "_column", ["process_csv"], "whole")
    yield Row("time_format", ["process_csv"], "text", "%Y:%m:%d %H:%M:%S.%f")
    yield Row("time_format", ["interpolate"], "text", "%Y-%m-%dT%H:%M:%SZ")
    for option in ("convert_gps_time", "convert_utc_time"):
        yield Row(option, ["process_csv"], "flag")
    for option in ("meta_columns", "meta_names", "meta_types"):
        yield Row(option, ["process_csv"])
    yield Row(
        "data",
        ["interpolate"],
        "text",
        None,
        ["missing_gps", "identical_timestamps"],
        required=True,
    )
    yield Row("max_time_delta", ["interpolate"], "number", 1.0)
    yield Row("file_in_path", ["interpolate"])
    yield Row("file_format", ["interpolate"], "text", "csv")
    yield Row("time_column", ["interpolate"], "whole", 0)
    yield Row("time_utc", ["interpolate"], "flag")
    for option in ("config_file", "user_email", "user_password"):
        yield Row(option, ["authenticate"])
    yield Row("force_overwrite", ["authenticate"], "flag")
    yield Row("max_results", ["download_images"], "whole", 400)
    yield from newer_rows()


def newer_rows() -> Iterator[Row]:
    """Options that the 2018 command line did not have."""
    yield Row("timezone", GEOTAG, advanced=True)
    yield Row("max_gap", GEOTAG, "number", advanced=True)
    yield Row("max_speed", GEOTAG, "number", 400.0, advanced=True)
    yield Row("exclude_area", FAMILY + ["upload"], "text", (), advanced=True)
    yield Row("sync_point", GEOTAG, "text", (), advanced=True)
    yield Row("merge_folders", SEQUENCE, "flag", advanced=True)
    yield Row("keep_jumps", GEOTAG, "flag", advanced=True)
    yield Row("time_source", GEOTAG, "text", "exif", advanced=True, choices=("exif", "gps", "name"))
    yield Row("write_gpx", ["extract_geotag_data"], advanced=True)
    yield Row("workers", FAMILY + ["exif_insert"], "whole", 0, advanced=True)
    yield Row("dry_run", FAMILY + ["upload", "process_csv", "interpolate", "restore"], "flag")
    yield Row("stand_in", UPLOADING)
    yield Row("retry_failed", UPLOADING, "text", None, ["yes", "no", "ask"])
    yield Row("max_rate", UPLOADING, "number", advanced=True)
    yield Row("offline_limit", UPLOADING + ["download_images"], "number", 30.0, advanced=True)
    yield Row("video_sample_distance", VIDEO + PHOTOS, "number", advanced=True)
    yield Row("ffmpeg_path", VIDEO + PHOTOS, advanced=True)
    yield Row("videos", PHOTOS, "text", "skip", ["skip", "upload", "sample"])
    yield Row("videos", ["upload"], "text", "skip", ["skip", "upload"])
    yield Row("user_access_token", ["authenticate"])
    yield Row("output_path", ["download_images"], "text", "downloaded")
    yield Row("output_path", ["report"], "text", "report.html")
    states = ["failed", "waiting", "duplicate", "outdated", "gone"]
    yield Row("list", ["status"], "text", None, states)
    locking = set(EVERY) - {"authenticate", "download_images", "status", "report", "export"}
    yield Row("wait", sorted(locking), "number", 0.0)
    yield Row("quiet", EVERY, "flag")
    yield Row("image", ["status"])
    yield Row("report", FAMILY)
    yield Row("tiles", ["report"], advanced=True)
    yield Row("thumbnails", ["report"], "flag", advanced=True)
    yield Row("output_path", ["export"], required=True)
    yield Row("reupload", UPLOADING, "flag", advanced=True)
    yield Row("accept_failed", UPLOADING, "flag")
    yield Row("json", EVERY, "flag")


CONTRACT = [(row, tool) for row in rows() for tool in row.tools]


@functools.lru_cache(maxsize=None)
def _subparsers() -> Dict[str, Any]:
    parser = mt.build_parser(True)
    return next(
        action
        for action in parser._actions
        if hasattr(action, "choices") and isinstance(action.choices, dict)
    ).choices


def _there(tool: str) -> None:
    if tool not in mt.TOOLS:
        pytest.skip("%s is missing: test_tool_exists says so" % tool)


def _option(row: Row, tool: str) -> Any:
    _there(tool)
    found = [
        action
        for action in _subparsers()[tool]._actions
        if "--" + row.option in action.option_strings
    ]
    assert found, "--%s is missing" % row.option
    return found[0]


def _declared(row: Row, tool: str) -> Any:
    """The Option that a group of the tool declares; None for those that every tool has."""
    options = [option for kind in mt.TOOLS[tool].groups for option in kind.options()]
    return next((one for one in options if (one.rule.flag or one.name) == row.option), None)


def _default(row: Row, tool: str) -> Any:
    option = _declared(row, tool)
    if option is None:
        return False
    return None if option.default is mt.REQUIRED else option.default


def _ids(pairs: List[Tuple[Row, str]]) -> List[str]:
    return ["%s-%s" % (tool, row.option) for row, tool in pairs]


@pytest.mark.parametrize("tool", EVERY)
def test_tool_exists(tool):
    assert tool in mt.TOOLS


def test_no_tool_beside_the_contract():
    assert set(mt.TOOLS) - set(EVERY) == set()


@pytest.mark.parametrize("tool", EVERY)
def test_tool_has_no_option_beside_the_contract(tool):
    _there(tool)
    wanted = {"--" + row.option for row, name in CONTRACT if name == tool} | {
        "--advanced",
        "-h",
        "--help",
        "--image_size",
    }
    flags = {flag for action in _subparsers()[tool]._actions for flag in action.option_strings}
    assert {
        flag
        for flag in flags
        if flag not in wanted and flag.replace("-", "_").replace("__", "--", 1) not in wanted
    } == set()


@pytest.mark.parametrize("row, tool", CONTRACT, ids=_ids(CONTRACT))
def test_option_is_as_published(row, tool):
    action = _option(row, tool)
    flag = action.nargs == 0
    assert flag == (row.kind == "flag"), "a flag takes no value"
    if row.kind in ("number", "whole"):
        good = "90" if row.option == "orientation" else "2"
        assert action.type is not None and action.type(good) == int(good)
        with pytest.raises(mt.UsageError):
            action.type("two")
    if row.kind == "number":
        assert action.type("2.5") == 2.5
    option = _declared(row, tool)
    assert (option is not None and option.default is mt.REQUIRED) == row.required
    if row.kind != "flag":
        assert _default(row, tool) == row.default
    if row.choices:
        choices = set(option.rule.choices)
        assert set(row.choices) <= choices and (
            row.option == "geotag_source" or choices == set(row.choices)
        )
    assert option is None or option.rule.advanced == row.advanced, "advanced"


@pytest.mark.parametrize("tool", EVERY)
def test_groups_of_a_tool_fit_together(tool):
    """argparse raises its conflict error where two groups of one tool share an option."""
    _there(tool)
    names = [option.flag for kind in mt.TOOLS[tool].groups for option in kind.options()]
    assert len(set(names)) == len(names)
    mt.build_parser(True)


def test_words_of_the_groups_of_a_tool_differ():
    """An embedding call names a group by its word."""
    for tool in mt.TOOLS.values():
        words = [kind.word for kind in tool.groups]
        assert all(words) and len(set(words)) == len(words), tool.name


def test_groups_that_clash_are_refused():
    @dataclasses.dataclass(frozen=True)
    class Clash(mt.Group):
        """clash"""

        import_path: Optional[str] = mt.opt(None, mt.Rule("twice"))

    mt.TOOLS["clashing"] = mt.Tool("clashing", (mt.Input, Clash), mt.TOOLS["status"].act)
    try:
        with pytest.raises(argparse.ArgumentError):
            mt.build_parser(True)
    finally:
        del mt.TOOLS["clashing"]


def test_download_images_takes_its_box_as_four_words():
    _there("download_images")
    places = [
        action.dest
        for action in _subparsers()["download_images"]._actions
        if not action.option_strings
    ]
    assert places == ["min_lat", "max_lat", "min_lon", "max_lon"]


def test_download_images_takes_the_published_sizes():
    _there("download_images")
    option = _declared(Row("image_size", []), "download_images")
    assert set(map(str, option.rule.choices)) == {"256", "320", "640", "1024", "2048", "original"}
    assert str(_default(Row("image_size", []), "download_images")) == "1024"


def _listed(text: str) -> Set[str]:
    return set(re.findall(r"(?m)^    ([a-z_]+)(?:\s|$)", text))


def test_help_lists_the_basic_tools_only():
    assert _listed(run("-h").stdout) & set(EVERY) == set(BASIC)


def test_advanced_help_lists_every_tool():
    assert set(EVERY) - _listed(run("--advanced", "-h").stdout) == set()


@pytest.mark.parametrize("tool", EVERY)
def test_help_of_a_tool_shows_basic_options_and_advanced_ones_only_when_asked(tool):
    _there(tool)
    short, long = run(tool, "-h").stdout, run("--advanced", tool, "-h").stdout
    known = short + "--" + " --".join(mt.LESSONS[tool].options.split())
    for row, name in CONTRACT:
        if name == tool:
            shown = re.compile(r"--%s(?![a-zA-Z_])" % row.option)
            assert shown.search(long), row.option
            assert shown.search(short) or row.advanced, row.option
            assert not row.advanced or not shown.search(short) or shown.search(known), row.option


@pytest.mark.parametrize("tool", EVERY)
def test_the_short_help_fits_on_one_screen_and_its_examples_parse(tool):
    lines = run(tool, "-h").stdout.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) <= 36
    for words in mt.LESSONS[tool].examples:
        arguments = mt.build_parser(True).parse_args(mt.arranged([tool, *words.split()]))
        assert arguments.tool == tool
    assert set(mt.LESSONS[tool].options.split()) <= {
        one.name for one in mt.options_of(mt.TOOLS[tool])
    }


def test_real_process_prints_its_version():
    assert real(["--version"]).stdout.split() == ["mapillary_tools", mt.__version__]
