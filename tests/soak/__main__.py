"""``python -m tests.soak --hours 0.5``: all proofs in turn with fresh seeds, and a report.

Each proof is a process of its own, so that a fault in one ends neither the others nor the soak. A
part that fails is written down with its seed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = 400
"""Of one run of the model, each of up to ``MODEL_STEPS`` steps."""
MODEL_STEPS = 60

BELOW = f"""Steps of the model are its bound: {EXAMPLES} examples a run of up to {MODEL_STEPS} steps
each. Those of the protocol are transitions of its search. What each proof does is on the page
[How it is proved](proofs.md)."""


@dataclass
class Part:
    """What came of one proof so far."""

    runs: int = 0
    steps: int = 0
    messages: int = 0
    deliveries: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    seeds: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Soak:
    """Runs the proofs and keeps count."""

    def __init__(self, hours: float, first: int, report: Path) -> None:
        self.rng = random.Random(first)
        self.first = first
        self.hours = hours
        self.report = report
        self.started = time.monotonic()
        self.began = datetime.now(UTC)
        self.parts: dict[str, Part] = {}

    @property
    def left(self) -> float:
        return self.hours * 3600 - (time.monotonic() - self.started)

    def run(self) -> int:
        turn = 0
        while self.left > 0:
            for name in ("simulation", "model", "chaos", "protocol"):
                if self.left > 0:
                    self._turn(name, turn)
                    self._write()
            turn += 1
        return 1 if any(part.failures for part in self.parts.values()) else 0

    def _turn(self, name: str, turn: int) -> None:
        seed = self.rng.randrange(10**9)
        seconds = max(10, min(120, self.left))
        command = {
            "simulation": (
                *("tests.simulation", "--first", str(seed), "--jobs", "1", "--json"),
                *("--seconds", str(round(seconds))),
            ),
            "chaos": ("tests.chaos", "--seed", str(seed), "--seconds", str(round(seconds / 2))),
            "model": (
                *("pytest", "tests/model/test_model.py", "-q", "-k", "for_longer"),
                *("--servers", "valkey", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}"),
            ),
            # Its search is the same each time: once, and again only where hours are to be filled.
            "protocol": ("tests.model.protocol", "--large", "--seconds", "20"),
        }[name]
        module = command[0]
        folder = ROOT / module.replace(".", "/")
        if module != "pytest" and not (folder / "__main__.py").exists():
            return
        if name == "protocol" and turn % 10:
            return
        part = self.parts.setdefault(name, Part())
        since = time.monotonic()
        print(f"{name}: seed {seed}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        part.runs += 1
        part.seconds += time.monotonic() - since
        part.seeds.append(seed)
        if done.returncode:
            text = (done.stdout + done.stderr)[-3000:]
            print(text, flush=True)
            part.failures.append(f"seed {seed}:\n{text}")
            return
        self._count(name, part, done.stdout)

    def _count(self, name: str, part: Part, text: str) -> None:
        if name == "model":
            part.steps += EXAMPLES * MODEL_STEPS
            return
        if name == "protocol":
            found = re.search(r"([\d,]+) states, ([\d,]+) steps", text)
            part.steps += int(found[2].replace(",", "")) if found else 0
            return
        result = json.loads(text.splitlines()[-1])
        part.steps += result["steps"]
        part.messages += result["messages"]
        part.deliveries += result["deliveries"]
        part.faults.update(result["faults"])

    # --- the report

    def _write(self) -> None:
        minutes = (time.monotonic() - self.started) / 60
        failures = [text for part in self.parts.values() for text in part.failures]
        lines = [
            "# Soak report",
            "",
            f"`make soak HOURS={self.hours:g}` of {self.began:%Y-%m-%d %H:%M} UTC, "
            f"{minutes:.0f} minutes, soak seed {self.first}: "
            + (f"**{len(failures)} failed**." if failures else "nothing failed."),
            "",
            "| proof | runs | steps | messages | deliveries | faults injected | minutes |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for name, part in self.parts.items():
            lines.append(
                f"| {name} | {part.runs} | {part.steps:,} | {part.messages:,} | "
                f"{part.deliveries:,} | {part.faults.total():,} | {part.seconds / 60:.1f} |"
            )
        lines += [
            "",
            BELOW,
            "",
            "## Faults injected",
            "",
        ]
        for name, part in self.parts.items():
            if part.faults:
                kinds = ", ".join(f"{what} {n:,}" for what, n in sorted(part.faults.items()))
                lines.append(f"- {name}: {kinds}")
        lines += ["", "## Seeds", ""]
        for name, part in self.parts.items():
            lines.append(f"- {name}: {', '.join(map(str, part.seeds))}")
        for text in failures:
            lines += ["", "## Failed", "", "```text", text, "```"]
        self.report.write_text("\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--hours", type=float, default=0.5)
    parser.add_argument("--seed", type=int, help="of the soak: all other seeds follow from it")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "soak-report.md")
    options = parser.parse_args()
    first = options.seed
    if first is None:
        first = random.SystemRandom().randrange(10**9)
    return Soak(options.hours, first, options.report).run()


if __name__ == "__main__":
    sys.exit(main())
