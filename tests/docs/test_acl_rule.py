"""The access rule in docs/operations.md names the commands that are used, no more and no fewer."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT

# Sent by the drivers themselves; redis-py adds PING and SELECT when it connects.
DRIVERS = {"eval", "evalsha", "blpop", "ping", "select"}
# Which not every server has: in the rule they would be an error there.
WHERE_KNOWN = {"msetex"}


def test_rule_names_the_commands_of_the_scripts() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    rule = re.search(r"^RULE = \((.*?)^\)", page, re.DOTALL | re.MULTILINE)
    assert rule is not None
    named = set(re.findall(r"\+([a-z]+)", rule[1]))
    called = {
        command.lower()
        for script in (ROOT / "typed_rmq" / "lua").rglob("*.lua")
        for command in re.findall(r"\bp?call\('([A-Z]+)'", script.read_text())
    }
    assert named == called - WHERE_KNOWN | DRIVERS
    assert called >= WHERE_KNOWN
    assert all(f"`+{command}`" in page for command in WHERE_KNOWN)
