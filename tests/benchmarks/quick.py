"""A benchmark at its smallest size, as who types its command sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def quick_run(module: str, figures: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run it to its end; its figures go to that file."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--quick", "--json", str(figures)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "goals reached" in done.stdout
    return done
