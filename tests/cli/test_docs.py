"""docs/command-line.md says what --help says, and shows what the commands print."""

from __future__ import annotations

import re
import runpy
from xml.etree import ElementTree as ET

from tests.cli.conftest import ROOT
from tests.cli.tree import commands, options
from typed_rmq.cli.common import ExitCode

PAGE = (ROOT / "docs" / "command-line.md").read_text()


def test_the_tables_of_options_are_those_of_the_help() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "command_line_docs.py"))
    assert script["written"](PAGE) == PAGE, "run: python scripts/command_line_docs.py"


def test_every_command_has_its_section_and_every_option_a_meaning() -> None:
    for path, command in commands():
        words = " ".join(path)
        assert re.search(rf"^##+ `{words}`$", PAGE, re.MULTILINE), words
        section = re.search(rf"<!-- options: {words} -->(.*?)<!-- end", PAGE, re.DOTALL)
        assert section is not None, words
        for name, meaning in options(command).items():
            assert meaning, (words, name)
            assert f"`{name}" in section[1], (words, name)


def test_the_exit_codes_are_all_there() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert told == {value for name, value in vars(ExitCode).items() if name.isupper()}


def test_the_pictures_are_whole_and_ours() -> None:
    shown = re.findall(r"\]\((media/[a-z-]+\.svg)\)", PAGE)
    assert len(shown) == 3
    for name in shown:
        text = (ROOT / "docs" / name).read_text()
        assert ET.fromstring(text).tag.endswith("svg")
        assert "@font-face" not in text, "nothing is fetched from elsewhere"
        words = re.sub(r"<[^>]+>", "", text).replace("&#160;", " ")
        assert "Traceback" not in words or "/srv/shop" in words
        assert not re.search(r"/(work|home|root|tmp|Users)/", words)
        for command in re.findall(r"typed-rmq ((?:dead )?[a-z]+)", words):
            assert tuple(command.split()) in {path for path, _ in commands()} | {("at",)}, command
