"""A right that the user of Redis lacks, by name.

Redis before Valkey 8 says of a command inside of a script only the line that it stands in. The
line is looked up.
"""

from __future__ import annotations

import re
from typing import Final

from redis import exceptions

from .. import scripts

__all__ = ["missing_right"]

_WORDS: Final = re.compile(
    r"NOPERM|NOAUTH|WRONGPASS|no permissions?\b|executing the script can't|ACL failure",
    re.IGNORECASE,
)
_PLACE: Final = re.compile(r"(?:f_|script: )([0-9a-f]{40})\b.*?@user_script: ?(\d+)")
_CALL: Final = re.compile(r"\bp?call\('([A-Z]+)'")

_SCRIPTS: Final = {
    one.sha.decode(): one for one in vars(scripts).values() if isinstance(one, scripts.Script)
}


def missing_right(error: exceptions.ResponseError) -> str | None:
    """What Redis says, with the name of the command where it can be known; None: it is not that."""
    text = str(error)
    if not isinstance(error, exceptions.NoPermissionError) and not _WORDS.search(text):
        return None
    place = _PLACE.search(text)
    script = None if place is None else _SCRIPTS.get(place[1])
    if place is None or script is None:
        return text
    line = script.source.decode().split("\n")[int(place[2]) - 1]
    commands = " or ".join(dict.fromkeys(_CALL.findall(line)))
    return f"the script {script.name} may not run {commands}" if commands else text
