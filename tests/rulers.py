"""Rulers for the house: what a rule of the layout counts, as lists of places, from the text of one module.

`python tests/rulers.py [FILE]` prints every figure, `python tests/rulers.py FILE RULE` the places behind one.
"""

import ast
import builtins
import functools
import io
import re
import symtable
import sys
import tokenize
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Set, Tuple

_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
_SILENT |= {tokenize.ENCODING, tokenize.ENDMARKER}
_BANNER = re.compile(r"# ---- (.*?) -+$")
Function = (ast.FunctionDef, ast.AsyncFunctionDef)

EDGE = {
    "Terminal",
    "Windows",
    "EXIF",
    "EXIF edits",
    "XMP",
    "Photos",
    "Own descriptions",
    "Journal lines",
    "Journal",
    "Probe",
    "HTTP",
    "Connections",
    "Service",
    "Stand-in",
    "Command line",
}
PURE = {
    "Data",
    "Images",
    "Geo",
    "Time",
    "Capture time",
    "Summer time",
    "Moments",
    "Sequences",
    "Steps",
    "Sequence step",
    "Description",
    "Plan",
}
TOKENS_A_LINE = 24
LINES, TOKENS, COMPLEXITY, PARAMETERS = 45, 300, 12, 5
FLOOR_LINES, ATTRIBUTES = 500, 8


class Floor(NamedTuple):
    """One banner and what stands below it."""

    name: str
    first: int
    last: int


def _tokens_of(source: str) -> Iterator[tokenize.TokenInfo]:
    """The tokens that count; an f-string is one, as it was before Python 3.12."""
    depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        depth += (name == "FSTRING_START") - (name == "FSTRING_END")
        if name != "FSTRING_START" and not depth and token.type not in _SILENT:
            yield token


class House:
    """A module as the rules see it."""

    def __init__(self, source: str) -> None:
        self.source, self.lines = source, source.splitlines()
        self.tree = ast.parse(source)
        starts = [(number, _BANNER.match(line)) for number, line in enumerate(self.lines, 1)]
        heads = [(number, match.group(1)) for number, match in starts if match]
        ends = [number - 1 for number, _ in heads[1:]] + [len(self.lines)]
        self.floors = [Floor("Front", 1, heads[0][0] - 1 if heads else len(self.lines))]
        self.floors += [Floor(name, first, last) for (first, name), last in zip(heads, ends)]
        self.tokens = list(_tokens_of(source))
        self.definitions = self._definitions()

    def floor(self, line: int) -> int:
        """The number of the floor that a line stands on."""
        return max(n for n, floor in enumerate(self.floors) if floor.first <= line)

    def floor_name(self, line: int) -> str:
        return self.floors[self.floor(line)].name

    def functions(self) -> Iterator[Any]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))

    def _definitions(self) -> Dict[str, ast.AST]:
        """Module-level name -> the first node that defines it."""
        found: Dict[str, ast.AST] = {}

        def visit(nodes: Any) -> None:
            for node in nodes:
                for name in _defined(node):
                    found.setdefault(name, node)
                if isinstance(node, (ast.If, ast.Try, ast.With)):
                    visit(node.body)
                    visit(getattr(node, "orelse", []))

        visit(self.tree.body)
        return found

    @functools.lru_cache(maxsize=None)  # noqa: B019
    def uses(self) -> List[Tuple[str, int]]:
        """(module-level name, line of its use): names that no scope around the use binds."""
        bound: List[Tuple[int, int, Set[str]]] = []
        nodes = {
            (node.name, node.lineno): node
            for node in ast.walk(self.tree)
            if isinstance(node, Function)
        }
        nodes.update(
            {
                (node.name, one.lineno): node
                for node in nodes.values()
                for one in node.decorator_list
            }
        )

        def walk(table: Any) -> None:
            for child in table.get_children():
                node = nodes.get((child.get_name(), child.get_lineno()))
                if node is not None and child.get_type() == "function":
                    names = {
                        s.get_name()
                        for s in child.get_symbols()
                        if s.is_local() or s.is_parameter() or s.is_imported()
                    }
                    bound.append((node.lineno, node.end_lineno or 0, names))
                walk(child)

        walk(symtable.symtable(self.source, "module", "exec"))
        found = []
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.Name)
                and isinstance(node.ctx, ast.Load)
                and node.id in self.definitions
            ):
                if not any(a <= node.lineno <= b and node.id in names for a, b, names in bound):
                    found.append((node.id, node.lineno))
        return found


def _targets(target: Any) -> List[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    return [name for part in getattr(target, "elts", []) for name in _targets(part)]


def _defined(node: ast.AST) -> List[str]:
    if isinstance(node, (*Function, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [name for target in node.targets for name in _targets(target)]
    if isinstance(node, ast.AnnAssign):
        return _targets(node.target)
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).split(".")[0] for alias in node.names]
    return []


# ---- the rules ----


def dense_lines(house: House) -> List[str]:
    """Rule 2: code lines with more than 24 tokens."""
    counts = Counter(token.start[0] for token in house.tokens)
    return [f"line {line}: {count}" for line, count in counts.items() if count > TOKENS_A_LINE]


def code_lines(house: House) -> int:
    return len({token.start[0] for token in house.tokens})


def casts(house: House) -> List[str]:
    """Rule 3: typing.cast."""
    found = [node for node in ast.walk(house.tree) if isinstance(node, (ast.Attribute, ast.Name))]
    return [
        f"line {node.lineno}"
        for node in found
        if getattr(node, "attr", getattr(node, "id", "")) == "cast"
    ]


def any_off_edge(house: House) -> List[str]:
    """Rule 3: Any on a floor that is not at the edge."""
    names = [
        node for node in ast.walk(house.tree) if isinstance(node, ast.Name) and node.id == "Any"
    ]
    return [f"line {n.lineno}" for n in names if house.floor_name(n.lineno) not in EDGE]


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def magic_keys(house: House) -> List[str]:
    """Rule 4: a subscript by a string constant, or .get("x"), off the edge."""
    found = []
    for node in ast.walk(house.tree):
        if isinstance(node, ast.Subscript):
            index = (
                node.slice.value
                if isinstance(node.slice, getattr(ast, "Index", ()))
                else node.slice
            )  # 3.8
            if _is_text(index) and not _is_typing(node):
                found.append(node.lineno)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get"
        ):
            if node.args and _is_text(node.args[0]):
                found.append(node.lineno)
    return [f"line {line}" for line in found if house.floor_name(line) not in EDGE]


def _is_typing(node: ast.Subscript) -> bool:
    names = (
        "Optional",
        "Type",
        "Deque",
        "List",
        "Iterator",
        "Callable",
        "Tuple",
        "Dict",
        "Union",
        "Sequence",
    )
    return isinstance(node.value, ast.Name) and node.value.id in names


def shadows(house: House) -> List[str]:
    """Rule 5: a local or a parameter with the name of a function or class of the module."""
    kinds = (*Function, ast.ClassDef)
    known = {name for name, node in house.definitions.items() if isinstance(node, kinds)}
    found = []

    def walk(table: Any) -> None:
        for child in table.get_children():
            if child.get_type() == "function":
                for symbol in child.get_symbols():
                    local = symbol.is_parameter() or symbol.is_local() and symbol.is_assigned()
                    if local and symbol.get_name() in known:
                        found.append(
                            f"{symbol.get_name()} in {child.get_name()} at line {child.get_lineno()}"
                        )
            walk(child)

    walk(symtable.symtable(house.source, "module", "exec"))
    return found


def crossing_underscores(house: House) -> List[str]:
    """Rule 6: a name with an underscore used on another floor, or of another object than self and cls."""
    found = []
    for name, line in house.uses():
        home = house.floor(house.definitions[name].lineno)  # type: ignore[attr-defined]
        if name.startswith("_") and not name.startswith("__") and house.floor(line) != home:
            found.append(f"{name} at line {line}")
    for node in ast.walk(house.tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
        ):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                if node.attr not in (
                    "_replace",
                    "_asdict",
                    "_fields",
                    "_make",
                    "_exit",
                ):  # the interface of named tuples
                    found.append(f".{node.attr} at line {node.lineno}")
    return found


def _dotted(node: Any) -> str:
    """A name with its dots, "" for anything else that is called."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def impure_calls(house: House) -> List[str]:
    """Rule 7: a pure floor calls open, os., time.time, read_*, write_* or LOG."""
    found = []
    for node in ast.walk(house.tree):
        if not isinstance(node, ast.Call) or house.floor_name(node.lineno) not in PURE:
            continue
        name = _dotted(node.func)
        if re.match(
            r"(open|print)$|os\.(?!path\.(basename|dirname|join|splitext|normcase)$)|time\.(?!strptime|mktime)|LOG\.",
            name,
        ):
            found.append(f"{name} at line {node.lineno}")
        elif re.match(r"(read_|write_)", name):
            found.append(f"{name} at line {node.lineno}")
    return found


def later_floors(house: House) -> List[str]:
    """Gravity: a name of a later floor."""
    found = set()
    for name, line in house.uses():
        home = house.floor(house.definitions[name].lineno)  # type: ignore[attr-defined]
        if home > house.floor(line):
            found.add(
                f"{house.floor_name(line)} uses {name} of {house.floors[home].name} at line {line}"
            )
    return sorted(found)


def _size(node: Any) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _complexity(node: Any) -> int:
    forks = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension)
    return 1 + sum(isinstance(part, forks) for part in ast.walk(node))


def large_functions(house: House) -> List[str]:
    """Rule 8: a function over 45 lines, 300 tokens, complexity 12 or 5 parameters."""
    counts = Counter(token.start[0] for token in house.tokens)
    found = []
    for node in house.functions():
        size = sum(counts[line] for line in range(node.lineno, (node.end_lineno or 0) + 1))
        names = [
            one.arg
            for one in [
                *getattr(node.args, "posonlyargs", []),
                *node.args.args,
                *node.args.kwonlyargs,
            ]
        ]
        count = len([name for name in names if name not in ("self", "cls")])
        wrong = [
            f"{value} {word}"
            for value, most, word in (
                (_size(node), LINES, "lines"),
                (size, TOKENS, "tokens"),
                (_complexity(node), COMPLEXITY, "forks"),
                (count, PARAMETERS, "parameters"),
            )
            if value > most
        ]
        if wrong:
            found.append(f"{node.name} at line {node.lineno}: {', '.join(wrong)}")
    return found


def large_floors(house: House) -> List[str]:
    """Rule 9: a floor over 500 lines."""
    sizes = [(floor.name, floor.last - floor.first + 1) for floor in house.floors]
    return [f"{name}: {size} lines" for name, size in sizes if size > FLOOR_LINES]


def is_frozen(node: ast.ClassDef) -> bool:
    """Whether the instances of a class cannot be changed: named tuples and frozen dataclasses."""
    bases = {ast.dump(base) for base in node.bases}
    frozen = any(
        "frozen" in ast.dump(one) and "True" in ast.dump(one) for one in node.decorator_list
    )
    return frozen or any("NamedTuple" in base or "Enum" in base for base in bases)


def large_classes(house: House) -> List[str]:
    """Rule 9: a class whose instances change, with over 8 attributes."""
    found = []
    for node in house.classes():
        names = {
            part.target.id
            for part in node.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        }
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
                if isinstance(part.value, ast.Name) and part.value.id == "self":
                    names.add(part.attr)
        if len(names) > ATTRIBUTES and not is_frozen(node):
            found.append(f"{node.name}: {len(names)} attributes")
    return found


def percent_texts(house: House) -> List[str]:
    """Rule 10: a text made with % outside of LOG and bytes."""
    found = []
    for node in ast.walk(house.tree):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Mod)
            and _might_be_text(node.left)
        ):
            found.append(f"line {node.lineno}")
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "format"
        ):
            found.append(f"line {node.lineno}")
    return found


def _might_be_text(node: Any) -> bool:
    return _is_text(node) or isinstance(node, ast.JoinedStr)


def odd_docstrings(house: House) -> List[str]:
    """Rule 10: a docstring of several lines whose quotes do not stand on a line of their own."""
    found = []
    for node in ast.walk(house.tree):
        if isinstance(node, (*Function, ast.ClassDef, ast.Module)) and ast.get_docstring(
            node, False
        ):
            text = node.body[0]
            last = house.lines[text.end_lineno - 1].strip()
            if text.end_lineno != text.lineno and last != '"""':
                found.append(f"line {text.lineno}")
    return found


def nested_conditionals(house: House) -> List[str]:
    """Rule 10: a conditional expression inside a conditional expression."""
    found = []
    for node in ast.walk(house.tree):
        if isinstance(node, ast.IfExp):
            inner = [part for child in (node.body, node.orelse) for part in ast.walk(child)]
            if any(isinstance(part, ast.IfExp) for part in inner):
                found.append(f"line {node.lineno}")
    return found


def tuple_errors(house: House) -> List[str]:
    """Rule 10: an error, or a problem, made of a tuple or of its values by position."""
    kinds = {
        node.name
        for node in house.classes()
        if re.search("Error|^Bad|^Not|Missing|Write$|Outside", node.name)
    }
    found = []
    for node in ast.walk(house.tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in kinds | {"Problem"}
        ):
            if any(isinstance(one, ast.Tuple) for one in node.args) or len(node.args) > 2:
                found.append(f"line {node.lineno}")
    return found


def defined_twice(house: House) -> List[str]:
    """Rule 5: a name of the module that two floors, or two lines, define: the last one wins everywhere."""
    counts: Dict[str, int] = {}
    for node in house.tree.body:
        names = [node.name] if isinstance(node, (*Function, ast.ClassDef)) else []
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        for target in targets:
            names += [part.id for part in ast.walk(target) if isinstance(part, ast.Name)]
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    return [name for name, count in counts.items() if count > 1]


def shadowed_builtins(house: House) -> List[str]:
    return sorted(
        set(house.definitions) & {name for name in dir(builtins) if not name.startswith("_")}
    )


RULES = {
    rule.__name__: rule
    for rule in (
        dense_lines,
        casts,
        any_off_edge,
        magic_keys,
        shadows,
        crossing_underscores,
        impure_calls,
        later_floors,
        large_functions,
        large_floors,
        large_classes,
        percent_texts,
        odd_docstrings,
        nested_conditionals,
        tuple_errors,
        shadowed_builtins,
        defined_twice,
    )
}


def main() -> None:
    path = (
        sys.argv[1]
        if len(sys.argv) > 1
        else str(Path(__file__).resolve().parents[1] / "mapillary_tools.py")
    )
    house = House(Path(path).read_text("utf-8"))
    if len(sys.argv) > 2:
        print("\n".join(RULES[sys.argv[2]](house)))
        return
    print(f"tokens {len(house.tokens)}, code lines {code_lines(house)}, floors {len(house.floors)}")
    for name, rule in RULES.items():
        print(f"{name} {len(rule(house))}")


if __name__ == "__main__":
    main()
