"""What guards a release: pinned workflows, an honest audit, a fuzz corpus."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fuzz.target import one_input
from typed_rmq import wire

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CORPUS = sorted((ROOT / "tests" / "fuzz" / "corpus").iterdir())


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(name: str, *found: str, skipped: bool = False) -> dict[str, Any]:
    if skipped:
        return {"name": name, "skip_reason": "not found on PyPI"}
    return {"name": name, "version": "1.0", "vulns": [{"id": one} for one in found]}


def test_a_found_vulnerability_fails(audit: ModuleType) -> None:
    report = {"dependencies": [package("good"), package("bad", "CVE-1")]}
    code, lines = audit.verdict([{"dependencies": [package("bad", skipped=True)]}, report])
    assert code == 1
    assert "!! VULNERABLE: bad 1.0: CVE-1" in lines


def test_what_was_not_checked_is_told_and_does_not_fail(audit: ModuleType) -> None:
    for reports in ([], [{"dependencies": [package("good", skipped=True)]}]):
        code, lines = audit.verdict(reports)
        assert code == 0
        assert lines[0].startswith("!! NOT CHECKED: no vulnerability service answered")
    half = [{"dependencies": [package("good"), package("unknown", skipped=True)]}]
    assert audit.verdict(half)[1][0] == "!! NOT CHECKED for vulnerabilities: unknown"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_rights_are_named(workflow: Path) -> None:
    text = workflow.read_text()
    uses = re.findall(r"uses: (\S+)(.*)", text)
    assert uses
    for action, comment in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v[\d.]+", comment), f"{action} does not say its version"
    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
    assert "secrets." not in text


def test_there_are_workflows_and_a_corpus() -> None:
    assert {"codeql.yml", "release.yml"} <= {path.name for path in WORKFLOWS}
    assert len(CORPUS) >= 20


@pytest.mark.parametrize("seed", CORPUS, ids=lambda path: path.name)
def test_the_fuzz_target_holds_for_the_corpus(seed: Path) -> None:
    one_input(seed.read_bytes())


def test_headers_of_a_negative_length_are_refused() -> None:
    """The fuzz target found it: the payload began within the digests."""
    data = (ROOT / "tests" / "fuzz" / "corpus" / "negative-length").read_bytes()
    with pytest.raises(wire.BadEnvelope, match="length"):
        wire.parse(data)
