"""Build the wheel and the source archive, look inside, and use the wheel in a fresh environment."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "typed_rmq"
KEPT = {".py", ".lua", ".typed", ".html", ".css", ".js", ".svg", ".json"}

USE = """
import importlib.resources, typed_rmq
from typed_rmq import Queue
for name in typed_rmq.__all__:
    getattr(typed_rmq, name)
files = importlib.resources.files("typed_rmq")
assert files.joinpath("py.typed").is_file()
assert any(p.name.endswith(".lua") for p in files.joinpath("lua").iterdir())
print("imported", typed_rmq.__file__)
"""


def main() -> int:
    """Return 0 where the wheel holds all that it must, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "build", "--quiet", "--outdir", folder, str(ROOT)], check=True
        )
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        expected = {
            str(path.relative_to(ROOT))
            for path in PACKAGE.rglob("*")
            if path.suffix in KEPT and "__pycache__" not in path.parts
        }
        problems = [f"missing: {name}" for name in sorted(expected - inside)]
        problems += [f"not ours: {name}" for name in sorted(inside - expected)]
        if "typed_rmq/py.typed" not in inside:
            problems.append("missing: typed_rmq/py.typed")
        if not any(name.endswith(".lua") for name in inside):
            problems.append("missing: every Lua script")
        if problems:
            print(f"{wheel.name}:", *problems, sep="\n  ", file=sys.stderr)
            return 1
        print(f"{wheel.name}: {len(inside)} files, {wheel.stat().st_size / 1024:.0f} KiB")
        environment = Path(folder) / "venv"
        venv.create(environment, with_pip=True)
        python = str(environment / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, str(wheel)], check=True)
        subprocess.run([python, "-c", USE], check=True, cwd=folder)
        script = [str(environment / "bin" / "typed-rmq"), "stats"]
        told = subprocess.run(script, capture_output=True, text=True, check=False)
        if told.returncode != 2 or "pip install 'typed_rmq[cli]'" not in told.stderr:
            print("typed-rmq without its extra:", told, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
