"""docs/reliability.md has a whole row for every fault, and every test that it names exists."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text()
ROWS = {
    int(found[1]): [cell.strip() for cell in found[2].split("|")]
    for found in re.finditer(r"^\| F(\d+) \|(.*)\|$", PAGE, re.MULTILINE)
}
UNUSED = {27, 46}


def existing() -> set[str]:
    return {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE)
    }


def test_every_fault_has_a_row_that_is_not_empty() -> None:
    assert ROWS.keys() == set(range(1, 48)) - UNUSED
    for number, cells in ROWS.items():
        assert len(cells) == 3, number
        assert all(cells), number
        assert re.search(r"`test_\w+`", cells[2]), number


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 80
    assert named <= existing()


def test_a_fault_is_shown_by_a_test_of_its_own() -> None:
    """F5 is the one that shares its test: busy and loading are waited for alike."""
    for number, cells in ROWS.items():
        if number != 5:
            assert re.search(rf"`test_(?:f\d+_)*f{number}_", cells[2]), number
