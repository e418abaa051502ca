"""Damaged and hostile input for every reader of the tool: mutations that know where lengths, counts and offsets stand.

    python tests/fuzz.py                                  # 20,000 inputs, spread over all kinds
    python tests/fuzz.py --inputs 1000000 --seed 7 --keep FOLDER
    python tests/fuzz.py --only movie --inputs 5000       # one kind
    python tests/fuzz.py --only movie --seed 7 --first 4711 --inputs 1    # one input again
    python tests/fuzz.py --atheris gpx -runs=100000       # guided by coverage, where the package atheris is installed

Of each input: only ToolError comes out (of vendor/piexif ValueError and OSError), within 2 s of computing and 200 MB, and what
fuzz_targets.py, fuzz_tables.py and fuzz_records.py demand of its kind. What breaks a demand is made as small as it goes and
told with its seed.
The exit code is 1 where anything was broken.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
import tracemalloc
import types
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple
from unittest import mock

for _folder in (Path(__file__).resolve().parent, Path(__file__).resolve().parent.parent):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

SECONDS = 2.0  # of computing, for one input
WALL = 30.0  # seconds until an input that only waits is given up; other work may be on the machine
BYTES = 200 << 20  # of memory, for one input
LONGEST = 1 << 20  # bytes of an input
NUMBERS = [b"0", b"-1", b"1e400", b"-1e308", b"1e-320", b"nan", b"inf", b"9" * 400, b"1_0", b"0x10"]
NUMBERS += [b"4294967296", b"9223372036854775808", b"253402300800", b"-62135596801", b"+.5", b"1,5"]
NUMBERS += ["\u0663\u00b2".encode(), b"180.0000001", b"-90", b"0.1", b"", b"2147483648", b" 7 "]
ODD: List[Any] = [
    None,
    True,
    5,
    -1,
    0.5,
    "x",
    "",
    [],
    {},
    [1],
    [[1, 0]],
    {"a": 1},
    10**400,
    1 << 63,
]
ODD += [float("nan"), float("inf"), 1e308, "../x.jpg", "\ud800", "a\nb\0", {"0th": 5}, [None, None]]
ODD += ["</script>", "=1+1", "9" * 400, -(1 << 63), {"GPS": {"2": [[1, 0], [1, 0], [1, 0]]}}]


class Slow(BaseException):
    """An input takes too long."""


class Failure(NamedTuple):
    """An input that broke a demand."""

    kind: str
    what: str  # the demand, or the exception and where it was raised
    content: bytes
    told: str  # the traceback


# ---- Mutations


def _put(content: bytes, at: int, piece: bytes, over: int) -> bytes:
    return content[:at] + piece + content[at + over :]


def _span(dice: random.Random, content: bytes) -> Tuple[int, int]:
    start = dice.randrange(len(content) + 1)
    most = dice.choice((1, 4, 16, 64, 1024))
    return start, min(len(content), start + 1 + dice.randrange(most))


def _flip(dice: random.Random, content: bytes, kind: Any, other: bytes) -> bytes:
    if not content:
        return other[:1]
    at, value = dice.randrange(len(content)), dice.choice((0, 1, 127, 128, 255, 256, 257))
    new = content[at] ^ 1 << dice.randrange(8) if value > 255 else value
    return _put(content, at, bytes([new]), 1)


def _cut(dice: random.Random, content: bytes, kind: Any, other: bytes) -> bytes:
    start, end = _span(dice, content)
    return content[:start] if dice.random() < 0.3 else content[:start] + content[end:]


def _double(dice: random.Random, content: bytes, kind: Any, other: bytes) -> bytes:
    start, end = _span(dice, content)
    times = dice.choice((1, 1, 1, 2, 30, 300))
    return _put(content, end, content[start:end] * times, 0)


def _splice(dice: random.Random, content: bytes, kind: Any, other: bytes) -> bytes:
    start, end = _span(dice, other)
    at = dice.randrange(len(content) + 1)
    return _put(content, at, other[start:end], dice.choice((0, end - start)))


def _word(dice: random.Random, content: bytes, kind: Any, other: bytes) -> bytes:
    word = dice.choice(kind.words or (b"\0\0\0\0",))
    at = dice.randrange(len(content) + 1)
    return _put(content, at, word * dice.choice((1, 1, 2, 50)), dice.choice((0, len(word))))


def _number(dice: random.Random, content: bytes, kind: Any, other: bytes) -> bytes:
    found = list(re.finditer(rb"[-+]?[0-9]+(?:\.[0-9]+)?", content[: 1 << 16]))
    if not found:
        return _flip(dice, content, kind, other)
    match = dice.choice(found)
    return _put(content, match.start(), dice.choice(NUMBERS), len(match.group()))


def _field(dice: random.Random, content: bytes, kind: Any, other: bytes) -> bytes:
    """A length, count or offset: to an extreme, beside what it was, to the end, to itself, or to what another one says."""
    fields = kind.fields(content)
    if not fields:
        return _number(dice, content, kind, other)
    at, width, order = dice.choice(fields)
    there, name = content[at : at + width], "little" if order == "<" else "big"
    value, most = int.from_bytes(there, name), (1 << 8 * width) - 1  # type: ignore
    elsewhere = dice.choice(fields)
    said = int.from_bytes(content[elsewhere[0] : elsewhere[0] + elsewhere[1]], name)  # type: ignore
    near = (value - 1, value + 1, value * 2, value // 2, value + 4, value - 4)
    far = (0, 1, most, most // 2, most // 2 + 1, 2, 8, len(content), len(content) - at, at)
    new = dice.choice((*near, *far, said, elsewhere[0], dice.randrange(most + 1)))
    return _put(content, at, (new & most).to_bytes(width, name), len(there))  # type: ignore


def _places(row: Any, at: Tuple[Any, ...] = ()) -> Iterator[Tuple[Any, ...]]:
    yield at
    inner = (
        row.items() if isinstance(row, dict) else enumerate(row) if isinstance(row, list) else ()
    )
    for key, value in inner:
        yield from _places(value, at + (key,))


def _value(dice: random.Random, text: bytes, other: bytes) -> bytes:
    """A JSON text with one value that is another, missing, doubled, or nested without end."""
    try:
        row = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return text
    place = dice.choice(list(_places(row)))
    if not place:
        return dice.choice(
            (b"[" * 20000, b'{"a":' * 20000, other, json.dumps(dice.choice(ODD)).encode())
        )
    inner = row
    for key in place[:-1]:
        inner = inner[key]
    if dice.random() < 0.15:
        del inner[place[-1]]
    elif dice.random() < 0.1 and isinstance(inner, dict):
        inner[str(dice.choice(ODD))] = inner.pop(place[-1])
    else:
        inner[place[-1]] = dice.choice(ODD)
    return json.dumps(row, separators=(",", ":")).encode()


def _row(dice: random.Random, content: bytes, kind: Any, other: bytes) -> bytes:
    """One JSON text of a record, as its kind lays them out."""
    if kind.rows == "lines":
        lines = content.split(b"\n")
        at = dice.randrange(len(lines))
        if dice.random() < 0.2:
            lines.insert(dice.randrange(len(lines)), lines[at])
        else:
            lines[at] = _value(dice, lines[at], dice.choice(other.split(b"\n")))
        return b"\n".join(lines)
    if kind.rows == "body":
        head, mark, body = content.partition(b"\r\n\r\n")
        body = _value(dice, body, other)
        head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head)
        return head + mark + body
    if kind.rows:
        text, mark, rest = content.partition(b"\n\n")
        return _value(dice, text, other) + mark + rest
    return _field(dice, content, kind, other)


MUTATIONS = (_flip, _cut, _double, _splice, _word, _number, _field, _field, _row, _row)


def mutated(dice: random.Random, content: bytes, kind: Any, other: bytes) -> bytes:
    """A seed, changed one to eight times."""
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 4, 8))):
        content = dice.choice(MUTATIONS)(dice, content, kind, other)[:LONGEST]
    return content


# ---- Watching


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Slow is raised after 2 s of computing, or where nothing moves; where there are no such clocks it is only measured."""

    def late(*_: Any) -> None:
        raise Slow("too slow")

    start, clocks = time.process_time(), hasattr(signal, "setitimer")
    if clocks:
        signal.signal(signal.SIGPROF, late)
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL)
    try:
        yield
    finally:
        if clocks:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
    if time.process_time() - start > SECONDS + 1:
        raise Slow("too slow")


def peak() -> int:
    """The most memory that this process ever had, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def _where(error: BaseException) -> str:
    """The exception, and the line of ours that it came from: by that two failures are one."""
    import fuzz_targets

    if isinstance(error, fuzz_targets.Broken):
        return f"Broken: {error}"[:90]
    frames = traceback.extract_tb(error.__traceback__)
    frames = [one for one in frames if "fuzz" not in one.filename] or frames
    own = [one for one in frames if "mapillary" in one.filename or "piexif" in one.filename]
    last = (own or frames)[-1]
    place = last.name if isinstance(error, Slow) else f"{last.name}:{last.lineno}"
    return f"{type(error).__name__} in {place}"


def tried(name: str, kind: Any, content: bytes, measure: bool = False) -> Optional[Failure]:
    """What an input breaks; None where all is well."""
    before = peak()
    try:
        if measure:
            tracemalloc.start()
        with watched():
            kind.check(content)
        most = tracemalloc.get_traced_memory()[1] if measure else peak() - before
        if most > BYTES:
            if measure or tried(name, kind, content, True):
                return Failure(name, "more than 200 MB", content, f"{most >> 20} MB")
        return None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Failure(name, _where(error), content, traceback.format_exc())
    finally:
        if measure:
            tracemalloc.stop()


def smallest(kind: Any, failure: Failure, most: int = 400) -> Failure:
    """The same failure from as few bytes as can be found by so many tries."""
    content, tries = failure.content, 0
    slow = failure.what.startswith(("Slow", "more"))  # each try costs seconds
    most = 12 if slow else most
    size = max(1, len(content) // 2)
    while size and tries < most:
        at = 0
        while at < len(content) and tries < most:
            shorter, tries = content[:at] + content[at + size :], tries + 1
            again = tried(failure.kind, kind, shorter)
            if again is not None and again.what == failure.what:
                content, failure = shorter, again
            else:
                at += size
        size //= 2
    return failure


# ---- Running


def all_kinds() -> Dict[str, Any]:
    """The kinds of input; those of the tool's own records, too."""
    import fuzz_records
    import fuzz_tables

    return {**fuzz_records.KINDS, **fuzz_tables.KINDS}


def inputs(name: str, kind: Any, seed: int, first: int, count: int) -> Iterator[Tuple[int, bytes]]:
    """(number, content) of the inputs of a kind: the seeds as they are, then mutations; each by its own number alone."""
    seeds = kind.seeds()
    for number in range(first, first + count):
        dice = random.Random(f"{seed} {name} {number}")
        if number < len(seeds):
            yield number, seeds[number]
        else:
            yield number, mutated(dice, dice.choice(seeds), kind, dice.choice(seeds))


# of a kind that is quick more are tried
SHARES = {"tiff": 30, "webp": 30, "jpeg": 10, "list": 6, "journal": 1, "table": 2}
SHARES.update(fit=8, kmz=8, insta360=6, novatek=8, heard=8)


def shared(names: List[str], count: int) -> Dict[str, int]:
    """How many inputs of each kind, of so many in all."""
    whole = sum(SHARES.get(name, 3) for name in names)
    return {name: max(1, count * SHARES.get(name, 3) // whole) for name in names}


def fuzz(
    names: List[str], count: int, seed: int, first: int = 0, tell: Callable[[str], None] = print
) -> Tuple[int, List[Failure]]:
    """(inputs tried, one failure of each sort, as small as it goes), of `count` in all; `tell` gets a line for each."""
    import mapillary_tools

    kinds, done = all_kinds(), 0
    found: Dict[Tuple[str, str], Failure] = {}
    often: Dict[Tuple[str, str], int] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        for flush in ("flush_file", "flush_folder"):  # no power is cut here
            stack.enter_context(mock.patch.object(mapillary_tools, flush, lambda handle: None))
        for name, many in shared(names, count).items():
            start, of = time.monotonic(), 0
            for number, content in inputs(name, kinds[name], seed, first, many):
                failure = tried(name, kinds[name], content)
                done, of = done + 1, of + 1
                if failure is None:
                    continue
                sort = (name, failure.what)
                often[sort] = often.get(sort, 0) + 1
                if sort not in found:
                    again = f"--only {name} --seed {seed} --first {number} --inputs 1"
                    found[sort] = smallest(kinds[name], failure)
                    tell(f"BROKEN {name}: {failure.what} ({again})")
                    tell(f"  {found[sort].content[:300]!r} ({len(found[sort].content)} bytes)")
            tell(f"{name}: {of} inputs in {time.monotonic() - start:.1f} s")
    for sort, times in often.items():
        tell(f"{times} times {sort[0]}: {sort[1]}")
    return done, list(found.values())


def _guided(name: str, arguments: List[str]) -> None:
    """One kind by the coverage-guided fuzzer atheris, which never returns; our mutations are half of its own."""
    try:
        import atheris
    except ImportError:
        sys.exit("the package atheris is not installed in this Python: run without --atheris")
    with atheris.instrument_imports(include=["mapillary_tools"]):
        import mapillary_tools  # noqa: F401
    kind = all_kinds()[name]
    seeds = kind.seeds()
    for module in [one for key, one in sys.modules.items() if key.startswith("_mapillary_tools_")]:
        for value in list(vars(module).values()):  # what vendored() loads passes no import hook
            if isinstance(value, types.FunctionType):
                atheris.instrument_func(value)

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if dice.random() < 0.5:
            return bytes(atheris.Mutate(content, most))
        return mutated(dice, content, kind, dice.choice(seeds))[:most]

    def one(content: bytes) -> None:
        failure = tried(name, kind, content)
        if failure is not None:
            raise RuntimeError(failure.what + "\n" + failure.told)

    corpus = Path(tempfile.gettempdir(), "corpus-" + name)  # what it finds helps the next time
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    logging.disable(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=20000, help="in all, spread over the kinds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input of a kind")
    parser.add_argument("--only", metavar="KIND", help="one kind of input")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="write what breaks anything here"
    )
    parser.add_argument("--atheris", metavar="KIND", help="guided by coverage; more words go to it")
    args, more = parser.parse_known_args()
    os.environ["MAPILLARY_CONFIG_PATH"] = str(Path(tempfile.gettempdir(), "no-such-config"))
    if args.atheris:
        _guided(args.atheris, more)
    if more:
        parser.error(f"there is no {more[0]}")
    out, names = sys.stdout, [args.only] if args.only else sorted(all_kinds())
    logging.disable(logging.CRITICAL)
    start = time.monotonic()
    done, found = fuzz(
        names,
        args.inputs,
        args.seed,
        args.first,
        lambda text: print(text, file=out, flush=True),
    )
    for number, failure in enumerate(found):
        print(f"\n{failure.kind}: {failure.what}\n{failure.told}", file=out)
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            (args.keep / f"{failure.kind}-{number}").write_bytes(failure.content)
    taken = time.monotonic() - start
    print(f"{done} inputs in {taken:.0f} s, seed {args.seed}: {len(found)} sorts broken", file=out)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
