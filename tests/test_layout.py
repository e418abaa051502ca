"""The laws of the house, by reading the file. rulers.py counts; each rule has the figure that holds today.

A figure only falls. Where it has to rise, the commit that raises it says why.
"""

import ast
import json
import re
import subprocess
import sys
from typing import Any, Dict, List

import mapillary_tools as mt
import pytest
import rulers
from conftest import ROOT, in_process, run

pytestmark = in_process
PATH = ROOT / "mapillary_tools.py"
SOURCE = PATH.read_text("utf-8")
LINES = SOURCE.splitlines()
HOUSE = rulers.House(SOURCE)
TREE = HOUSE.tree
TOKENS = 202424  # of the whole file
DENSE = 0.05  # the share of code lines that may hold over 24 tokens
MOST = {name: 0 for name in rulers.RULES if name != "dense_lines"}  # of each but the dense lines


# ---- the ten rules -----------------------------------------------------------------------------


def test_tokens_do_not_grow_unnoticed():
    """The constant is the figure of this commit: it is raised, or lowered, on purpose and in the same commit."""
    assert len(HOUSE.tokens) == TOKENS


def test_few_lines_are_dense():
    assert len(rulers.dense_lines(HOUSE)) <= DENSE * rulers.code_lines(HOUSE)


@pytest.mark.parametrize("name", list(MOST))
def test_rule_holds(name: str):
    found = rulers.RULES[name](HOUSE)
    assert len(found) == MOST[name], "\n".join(found)


def test_every_ruler_sees_what_it_forbids():
    """Each rule finds the faults of a small bad house, so that none of them passes for want of looking."""
    house = rulers.House((ROOT / "tests" / "data" / "bad_house.py.txt").read_text("utf-8"))
    assert {name: len(rule(house)) for name, rule in rulers.RULES.items() if not rule(house)} == {}


def test_every_banner_reaches_the_same_column_and_has_two_lines_below():
    for floor in HOUSE.floors[1:]:
        first, second = LINES[floor.first : floor.first + 2]
        assert len(LINES[floor.first - 1]) == 99, floor.name
        assert first.startswith("# Here: ") and second.startswith("# Not here: "), floor.name


def test_docstring_lists_every_floor():
    text = ast.get_docstring(TREE) or ""
    assert [floor.name for floor in HOUSE.floors[1:] if floor.name not in text] == []


def test_the_scan_for_uses_sees_the_file():
    """Guards the rules about floors: the scan must find what is certainly there."""
    found = HOUSE.uses()
    assert len(found) > 2000
    assert any(name == "Fix" and HOUSE.floor_name(line) == "Geo" for name, line in found)


# ---- the functions -----------------------------------------------------------------------------------------------------


def test_every_public_definition_has_a_docstring():
    bare = []
    for node in TREE.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            inner = node.body if isinstance(node, ast.ClassDef) else []
            for part in [
                node,
                *(
                    part
                    for part in inner
                    if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")
                ),
            ]:
                if not ast.get_docstring(part):
                    bare.append("%s at line %d" % (part.name, part.lineno))
    assert bare == []


def test_print_stands_only_on_the_top_floor():
    calls = [
        node.lineno
        for node in ast.walk(TREE)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert calls and [line for line in calls if HOUSE.floor_name(line) != "Terminal"] == []


def test_standard_streams_are_used_only_on_the_top_floor():
    used = [
        node.lineno
        for node in ast.walk(TREE)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
        and node.attr in ("stdout", "stderr", "stdin", "argv", "exit")
    ]
    assert (
        used
        and [
            line
            for line in used
            if HOUSE.floor_name(line) not in ("Front", "Terminal", "Command line")
        ]
        == []
    )


def _catches_all(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(
        kind is None or isinstance(kind, ast.Name) and kind.id == "Exception" for kind in kinds
    )


def test_except_exception_stands_twice_with_its_reason():
    found = {
        (function.name, LINES[node.lineno - 1].partition("  # ")[2])
        for function in HOUSE.functions()
        for node in ast.walk(function)
        if isinstance(node, ast.ExceptHandler) and _catches_all(node)
    }
    assert found == {
        ("_by_exifread", "a foreign library on damaged data: it cannot read"),
        ("_tried", "for the parent to raise"),
    }
    handlers = [node for node in ast.walk(TREE) if isinstance(node, ast.ExceptHandler)]
    assert sum(map(_catches_all, handlers)) == 2


def test_base_exception_is_raised_on_or_has_its_reason():
    for node in ast.walk(TREE):
        if (
            isinstance(node, ast.ExceptHandler)
            and isinstance(node.type, ast.Name)
            and node.type.id == "BaseException"
        ):
            raised = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            assert raised or "#" in LINES[node.lineno - 1], LINES[node.lineno - 1]


def test_sys_exit_is_called_only_on_the_top_floor():
    exits = [number for number, line in enumerate(LINES, 1) if "sys.exit(" in line]
    assert (
        LINES[exits[-1] - 1]
        == "    sys.exit(_clicked(sys.argv[1:]) if from_explorer() else main())"
        and [
            line
            for line in exits
            if HOUSE.floor_name(line) not in ("Front", "Terminal", "Command line")
        ]
        == []
    )
    assert "SystemExit(" not in SOURCE


def test_processes_are_started_in_one_function():
    starters = {
        node.name
        for node in HOUSE.functions()
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id == "subprocess"
        and part.attr in ("run", "Popen", "call", "check_output")
    }
    assert len(starters) <= 1


def test_only_the_standard_library_is_imported():
    allowed = (
        {"mapillary_tools", "fcntl", "msvcrt", "zoneinfo"}
        | set(sys.builtin_module_names)
        | set(getattr(sys, "stdlib_module_names", ()))
    )
    if not hasattr(sys, "stdlib_module_names"):
        pytest.skip("this Python does not list its own modules")
    names = {
        alias.name.split(".")[0]
        for node in ast.walk(TREE)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {
        (node.module or "").split(".")[0]
        for node in ast.walk(TREE)
        if isinstance(node, ast.ImportFrom)
    }
    assert names - allowed == set()


def test_no_eval_and_no_shell():
    calls = {
        node.func.id
        for node in ast.walk(TREE)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"eval", "compile", "__import__"}
    assert not [
        node for node in ast.walk(TREE) if isinstance(node, ast.keyword) and node.arg == "shell"
    ]


# ---- names -------------------------------------------------------------------------------------------------------------


def test_everything_in_all_exists():
    assert [name for name in mt.__all__ if not hasattr(mt, name)] == []


def test_all_is_sorted_and_has_no_name_twice():
    assert len(set(mt.__all__)) == len(mt.__all__)


@pytest.mark.parametrize(
    "name",
    [
        "Fix",
        "Camera",
        "Image",
        "Report",
        "Input",
        "distance",
        "bearing",
        "turn",
        "fix_at",
        "parse_time",
        "format_time",
        "spread_subseconds",
        "find_images",
        "read_image",
        "write_image",
        "read_track",
        "write_gpx",
        "Journal",
        "split",
        "mark_duplicates",
        "retry_delay",
        "main",
        "ToolError",
        "UsageError",
        "NotFound",
        "BadExif",
        "BadTrack",
        "OutsideTrack",
        "ProgramMissing",
        "UploadError",
    ],
)
def test_promised_name_is_in_all(name):
    assert name in mt.__all__


def _errors() -> List[Any]:
    return [
        kind
        for kind in vars(mt).values()
        if isinstance(kind, type) and issubclass(kind, mt.ToolError)
    ]


def test_exit_codes_are_distinct_and_none_is_that_of_another_ending():
    same = [kind for kind in _errors() if kind.exit_code == getattr(kind.__base__, "exit_code", 0)]
    assert same == [mt.NoRoom, mt.NotThere] and issubclass(mt.NoRoom, mt.CannotWrite)
    codes = [kind.exit_code for kind in _errors() if kind not in same]
    assert len(set(codes)) == len(codes) >= 11
    assert not set(codes) & {0, mt.EXIT_SOME_FAILED, mt.EXIT_INTERRUPTED}


def test_usage_is_2_and_not_found_is_3():
    assert (
        mt.UsageError.exit_code,
        mt.NotFound.exit_code,
        mt.EXIT_SOME_FAILED,
        mt.EXIT_INTERRUPTED,
    ) == (2, 3, 1, 130)


def test_readme_lists_every_exit_code():
    if not (ROOT / "README.md").exists():
        pytest.skip("there is no README.md yet")
    text = re.split(r"(?m)^#", (ROOT / "README.md").read_text("utf-8").split("Exit codes", 1)[1])[0]
    codes = {0, 1, 130} | {kind.exit_code for kind in _errors() if kind is not mt.ToolError}
    assert [code for code in sorted(codes) if not re.search(r"\b%d\b" % code, text)] == []


def test_docstring_names_every_exit_code():
    text = (ast.get_docstring(TREE) or "").split("Exit codes:")[1]
    codes = {0, 1, 130} | {kind.exit_code for kind in _errors() if kind is not mt.ToolError}
    assert [code for code in sorted(codes) if not re.search(r"\b%d\b" % code, text)] == []


# ---- importing ---------------------------------------------------------------------------------------------------------

LOOK = """
import json, logging, os, sys, threading
sys.path.append(%r)
import argparse, concurrent.futures, configparser, email.utils, http.client, importlib.util, uuid, zipfile
try:
    import zoneinfo
except ImportError:
    pass
def state():
    return {"path": list(sys.path), "hooks": len(sys.meta_path), "root": [type(h).__name__ for h in logging.root.handlers],
            "level": logging.root.level, "environ": dict(os.environ), "cwd": os.getcwd(), "threads": threading.active_count(),
            "argv": sys.argv, "hook": repr(sys.excepthook)}
before, modules = state(), set(sys.modules)
import mapillary_tools
after = state()
new = [name for name in set(sys.modules) - modules if name != "mapillary_tools"]
stdlib = getattr(sys, "stdlib_module_names", None)
print(json.dumps({"same": before == after, "new": sorted(n for n in new if stdlib and n.split(".")[0] not in stdlib),
                  "handlers": [type(h).__name__ for h in logging.getLogger("mapillary_tools").handlers]}))
""" % str(ROOT)


@pytest.fixture(scope="module")
def imported() -> Dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOOK], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert done.stderr == b""
    return json.loads(done.stdout)


def test_importing_changes_no_path_hook_handler_environment_or_thread(imported):
    assert imported["same"]


def test_importing_brings_in_the_standard_library_only(imported):
    assert imported["new"] == []


def test_importing_leaves_a_null_handler_and_nothing_else(imported):
    assert imported["handlers"] == ["NullHandler"]


def test_importing_does_not_load_what_costs_time():
    code = "import sys; sys.path.append(%r); import mapillary_tools; print(*sys.modules)" % str(
        ROOT
    )
    names = (
        subprocess.run([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE)
        .stdout.decode()
        .split()
    )
    assert not set(names) & {
        "urllib.request",
        "http.client",
        "http.server",
        "ssl",
        "socket",
        "email",
        "xml",
        "multiprocessing",
        "concurrent.futures",
        "zipimport",
        "_mapillary_tools_piexif",
    } - {"zipimport"}


@pytest.mark.parametrize(
    "argv", [["-h"], ["--advanced", "-h"], ["--advanced", "process_and_upload", "-h"]]
)
def test_help_is_ascii_so_that_every_console_shows_it(argv):
    assert run(argv).stdout.isascii()


def test_module_has_no_tab():
    assert "\t" not in SOURCE


# ---- the tests themselves ----------------------------------------------------------------------


def without_encoding(tree: ast.AST) -> List[int]:
    """Lines that read or write a text file in the encoding of the computer, whatever that is."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(
            word.arg in ("encoding", None) for word in node.keywords
        ):
            continue
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [word.value for word in node.keywords if word.arg == "mode"] + node.args[1:2]
        binary = modes and "b" in str(getattr(modes[0], "value", "b"))
        plain_open = (
            isinstance(node.func, ast.Name)
            and name == "open"
            and len(node.args) in (1, 2)
            and not binary
        )
        if (
            plain_open
            or (name == "write_text" and len(node.args) == 1)
            or (name == "read_text" and not node.args)
        ):
            lines.append(node.lineno)
    return lines


def test_tests_say_the_encoding_of_every_text_file():
    """A folder named Gö is no UTF-8 in the encoding that Windows takes unasked: a program written so does not start."""
    assert (
        len(without_encoding(ast.parse("open(a)\nopen(a, 'w')\np.write_text(t)\np.read_text()")))
        == 4
    )
    assert (
        without_encoding(ast.parse("open(a, 'rb')\np.write_text(t, 'ascii')\nopen(a, encoding=e)"))
        == []
    )
    found = {}
    for path in sorted((ROOT / "tests").glob("*.py")):
        found[path.name] = without_encoding(ast.parse(path.read_text("utf-8")))
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_the_way_of_a_photo_names_what_the_module_uses():
    paragraph = (mt.__doc__ or "").partition("A photo on its way:")[2].partition("\n\n")[0]
    names = set(re.findall(r"\b[a-z]+_[a-z_]+\b|\b[A-Z][a-z]+\b", paragraph)) - {"The"}
    assert {"look_below_all", "write_images", "Manifest"} <= names
    used = [token.string for token in HOUSE.tokens]
    assert [name for name in sorted(names) if not hasattr(mt, name) or used.count(name) < 2] == []
