"""A virtual environment for each peer, from ``requirements/NAME.txt``, where all is pinned."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["ROOT", "python_of"]

ROOT = Path(__file__).resolve().parents[2]
_PINS = Path(__file__).parent / "requirements"
_HOME = ROOT / ".venvs" / "peers"


def python_of(environment: str) -> Path | None:
    """The Python of an environment, which is made where it is missing or out of date.

    ``None`` where it cannot be made, for instance without a package index: that system is left
    out, and the report says so. The empty name is the environment of this process.
    """
    if not environment:
        return Path(sys.executable)
    pins = _PINS / f"{environment}.txt"
    folder = _HOME / environment
    python = folder / "bin" / "python"
    stamp = folder / ".pins"
    wanted = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making the environment of {environment}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([*install, "--requirement", str(pins)], check=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"no environment for {environment}: {type(error).__name__}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    stamp.write_text(wanted)
    return python
