#!/usr/bin/env python3
"""Kills the tool at every step and at random moments, runs it again, and accounts for every byte.

    python tests/kill.py                                  # every step of every scenario, and random moments
    python tests/kill.py --kills 2000 --seed 7            # so many kills
    python tests/kill.py --only upload                    # one scenario (kill_fields.py has them)
    python tests/kill.py --only process --replay main/replace/2/before/self
    python tests/kill.py --steps --only process           # what there is to be killed at

For each scenario an undisturbed run says what is right. Each case is one to three killed runs, and then one that is not.
After each kill every photo is its old or its new self, with its time; no worker outlives its parent; at last photos, pages,
exit code, journal and what the service received are those of an undisturbed run. The last line is
"N kills, 0 photos lost, 0 sent twice"; the exit code is 0 only if every promise held.
"""

import argparse
import concurrent.futures
import contextlib
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from kill_bench import Bench, Wrong
from kill_child import Kill, Tool
from kill_fields import SCENARIOS, Scenario


@contextlib.contextmanager
def ready(scenario: Scenario) -> Iterator[Bench]:
    """A scenario in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kill-") as base:
        with contextlib.closing(Tool(Path(base, "tool"))) as tool:
            yield Bench(scenario, Path(base, "fields"), tool)


def cases(bench: Bench, wanted: Optional[int], dice: random.Random) -> Iterator[List[Kill]]:
    """What to do to a scenario: each step once, and as often a moment; or as many kills as wanted."""
    steps = bench.steps()
    dice.shuffle(steps)
    total = 2 * len(steps) if wanted is None else wanted
    while bench.kills < total:
        kills = [steps.pop() if steps else bench.moment(dice)]
        for _ in range(dice.choice((0, 0, 0, 1, 2))):  # the next run is killed, too
            kills.append(dice.choice([bench.moment(dice), *dice.sample(bench.steps(), 1)]))
        yield kills


def trial(
    scenario: Scenario, wanted: Optional[int], seed: int, jobs: int, say: Any = print
) -> Tuple[int, List[Wrong]]:
    """(kills, promises broken) of one scenario; prints its line, and each broken promise with its kills."""
    found: List[Wrong] = []
    dice = random.Random("%d %s" % (seed, scenario.name))
    with ready(scenario) as bench:
        found.extend(bench.case([])[1])  # undisturbed runs are all the same
        for one in found:
            say("%s, undisturbed: %s" % (scenario.name, one))
        if bench.redated:
            text = "an undisturbed run changes the time of %d photos" % len(bench.redated)
            found.append(Wrong("time", text))
            say("%s: %s" % (scenario.name, text))
        begun = time.monotonic()
        guard = threading.Lock()
        todo = cases(bench, wanted, dice)

        def work() -> None:
            while True:
                with guard:
                    kills, at_once = next(todo, None), dice.random() < 0.5
                if kills is None:
                    return
                _, wrong = bench.case(kills, at_once)
                with guard:
                    found.extend(wrong)
                    for one in wrong:
                        told = ", ".join(map(str, kills))
                        say("%s, seed %d [%s]: %s" % (scenario.name, seed, told, one))

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for future in [pool.submit(work) for _ in range(jobs)]:
                future.result()
        seconds = time.monotonic() - begun
        say(
            "%-20s %5d kills, %d steps, %d promises broken, workers outlived by %.2f s at most, %.0f s"
            % (scenario.name, bench.kills, len(bench.steps()), len(found), bench.longest, seconds)
        )
    return bench.kills, found


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], usage=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("--kills", type=int, help="so many in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), default=[])
    parser.add_argument("--jobs", type=int, default=1, help="cases at one time")
    parser.add_argument("--replay", action="append", help="kills of one case")
    parser.add_argument("--steps", action="store_true", help="list what there is to be killed at")
    args = parser.parse_args(argv)
    names = [name for name in args.only or SCENARIOS]
    names = [n for n in names if not SCENARIOS[n].needs or shutil.which(SCENARIOS[n].needs)]
    wanted = None if args.kills is None else -(-args.kills // len(names))
    kills, found = 0, []  # type: int, List[Wrong]
    for name in names:
        if args.replay or args.steps:
            with ready(SCENARIOS[name]) as bench:
                if args.steps:
                    print(*bench.steps(), sep="\n")
                    continue
                count, wrong = bench.case([_kill(text) for text in args.replay])
            print(*wrong, sep="\n")
        else:
            count, wrong = trial(SCENARIOS[name], wanted, args.seed, args.jobs)
        kills, found = kills + count, found + wrong
    lost, double = (sum(one.kind == kind for one in found) for kind in ("lost", "twice"))
    print("%d kills, %d photos lost, %d sent twice" % (kills, lost, double))
    return 1 if found else 0


def _kill(text: str) -> Kill:
    seconds, unit, victim = text.partition(" s/")
    return Kill("", float(seconds), victim) if unit else Kill(text)


if __name__ == "__main__":
    sys.exit(main())
