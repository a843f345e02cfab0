"""Look for known vulnerabilities in what is installed, by pip-audit: ``python scripts/audit.py``.

pip-audit exits with 0 also where its service knew nothing of a package, so its report is read:
a found vulnerability fails; what could not be checked is said loudly, and does not fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SERVICES = ("pypi", "osv")


def verdict(reports: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """The exit code and what to print; each report is one service's, as pip-audit's JSON has it."""
    found: dict[str, set[str]] = {}
    checked: set[str] = set()
    everything: set[str] = set()
    for report in reports:
        for package in report["dependencies"]:
            everything.add(package["name"])
            if "skip_reason" in package:
                continue
            checked.add(package["name"])
            if package["vulns"]:
                named = f"{package['name']} {package['version']}"
                found.setdefault(named, set()).update(one["id"] for one in package["vulns"])
    lines = [f"!! VULNERABLE: {name}: {', '.join(sorted(ids))}" for name, ids in found.items()]
    unchecked = sorted(everything - checked)
    if not checked:
        lines.append("!! NOT CHECKED: no vulnerability service answered; no package was audited")
    elif unchecked:
        lines.append(f"!! NOT CHECKED for vulnerabilities: {', '.join(unchecked)}")
    lines.append(f"Audited {len(checked)} packages, {len(found)} of them vulnerable")
    return (1 if found else 0), lines


def audit(service: str) -> dict[str, Any] | None:
    """One service's report, or None where it gave none."""
    command = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format=json"]
    command += ["--progress-spinner=off", "--timeout=15", f"--vulnerability-service={service}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        return None
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return None
    return report if isinstance(report, dict) and "dependencies" in report else None


def main() -> int:
    """Ask every service, and print what they said together."""
    reports = []
    for service in SERVICES:
        report = audit(service)
        if report is not None:
            reports.append(report)
    code, lines = verdict(reports)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
