"""The command line itself: help, errors, exit codes, completion, and life without its extra."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Shell
from tests.cli.tree import commands
from tests.servers import free_port
from typed_rmq import Queue

SECRET = "hunter2-4711"


def test_the_installed_script_is_there_and_tells_its_version() -> None:
    script = Path(sys.executable).with_name("typed-rmq")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"typed-rmq {version('typed_rmq')}\n"


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'typer' else find(name, *rest)\n"
        "from typed_rmq.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == "typed-rmq: not installed in full: pip install 'typed_rmq[cli]'\n"


@pytest.mark.parametrize("path", [" ".join(path) for path, _ in commands()])
def test_every_command_has_help(shell: Shell, path: str) -> None:
    done = shell(*path.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert "Usage" in done.out
    assert "\x1b" not in done.out


@pytest.mark.parametrize(
    "arguments",
    [("no-such-command",), ("stats", "--no-such-option"), ("peek",), ("peek", "a b"),
     ("stats", "--redis", f"http://u:{SECRET}@host"), ("tail", "q", "--interval", "x")],
)  # fmt: skip
def test_wrong_usage_is_said_in_one_line(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell(*arguments)
    assert done.code == 2
    assert re.fullmatch(r"typed-rmq: .+\n", done.err)
    assert SECRET not in done.err


@pytest.mark.slow
def test_a_server_that_is_away_is_one_line_and_no_credential_is_shown(shell: Shell) -> None:
    url = f"redis://me:{SECRET}@127.0.0.1:{free_port()}/0?password={SECRET}"
    done = shell("stats", "orders", "--redis", url)
    assert done.code == 4
    assert re.fullmatch(r"typed-rmq: .+\n", done.err)
    assert SECRET not in done.err + done.out


def test_no_credential_is_ever_printed(shell: Shell) -> None:
    url = shell.url.replace("redis://", f"redis://default:{SECRET}@")
    shared = shell.url.replace("127.0.0.1", "127.0.0.1")
    for arguments in (("stats",), ("stats", "nothing"), ("peek", "nothing"), ("--help",)):
        done = shell(*arguments, env={"REDIS_URL": url})
        assert SECRET not in done.out + done.err, arguments
    assert shared in shell("stats").err, "the address itself is told"


def test_a_wrong_password_is_told_at_once_and_not_shown(shell: Shell) -> None:
    url = shell.url.replace("redis://", f"redis://nobody:{SECRET}@")
    done = shell("stats", "orders", "--redis", url)
    assert done.code == 4
    assert SECRET not in done.err
    assert "password" in done.err


def test_an_unexpected_error_is_one_line_as_well(shell: Shell) -> None:
    (shell.folder / "raising.py").write_text(
        "from pydantic import BaseModel, model_validator\n"
        "class Order(BaseModel):\n"
        "    @classmethod\n"
        "    def __get_pydantic_core_schema__(cls, source, handler):\n"
        "        raise RuntimeError('out of order')\n"
    )
    done = shell("peek", "orders", "--model", "raising:Order")
    assert done.code in (1, 2)
    assert re.fullmatch(r"typed-rmq: .*out of order.*\n", done.err)


@pytest.mark.slow
def test_the_shell_completes_commands_and_names_of_queues(shell: Shell) -> None:
    with Queue[int]("orders-eu", shell.url) as one, Queue[int]("orders-us", shell.url) as two:
        one.publish(1)
        two.publish(1)

    def completed(line: str) -> str:
        env = {
            "_TYPED_RMQ_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        return shell.process(env=env).out

    assert "publish" in completed("typed-rmq pub")
    assert completed("typed-rmq peek ord").split() == ["orders-eu", "orders-us"]
    assert "--show-payloads" in completed("typed-rmq peek --sh")


def test_asyncapi_prints_the_queues_of_an_application(shell: Shell) -> None:
    done = shell("asyncapi", "tests.cli.app", "--title", "Shop")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["info"]["title"] == "Shop"
    assert {"orders", "keyed"} <= set(document["channels"])
    assert shell("asyncapi", "no_such_module").code == 2


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
@pytest.mark.slow
def test_completion_can_be_installed(shell: Shell, name: str) -> None:
    done = shell.process(env={"_TYPED_RMQ_COMPLETE": f"source_{name}"})
    assert done.code == 0
    assert f"complete_{name}" in done.out
