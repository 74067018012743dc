"""Commands as they can be pasted: by the paths by which this one was called.

A user's repository is another folder than this checkout, and may have `tools/` of its own.
"""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
_DOCUMENTED = re.compile(r"python tools/(\w+)\.py")


def command(tool: str, *words: object) -> str:
    """Return the command that runs `tools/<tool>.py` with `words`, from the current folder."""
    return shlex.join([_interpreter(), os.path.join(_folder(), f"{tool}.py"), *map(str, words)])


def command_line() -> str:
    """Return the command that was typed, as one can paste it again."""
    script, *arguments = sys.argv
    if Path(script).resolve().parent == TOOLS:
        return command(Path(script).stem, *arguments)
    return shlex.join([_interpreter(), script, *arguments])


def as_typed(text: str) -> str:
    """Return a text of this program with every `python tools/<tool>.py` as it can be pasted."""
    return _DOCUMENTED.sub(lambda found: command(found[1]), text)


def _folder() -> str:
    """Return the folder of the tools as it was typed; else relative where that goes inwards."""
    called = Path(sys.argv[0])
    if called.name and called.resolve().parent == TOOLS:
        return os.path.dirname(sys.argv[0])
    return shown(TOOLS)


def _interpreter() -> str:
    """Return `python` where the shell finds this one by that name, else its path."""
    found = shutil.which("python")
    if found and Path(found).absolute().parent == Path(sys.executable).absolute().parent:
        return "python"
    return shown(Path(sys.executable))


def shown(path: Path) -> str:
    """Return an absolute path as it can be pasted: relative where it goes inwards."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
