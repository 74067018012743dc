"""What every command shares: the checkout on the path, one message for a user's error, exit codes.

Importing it puts the checkout first on `sys.path`, so that commands work from any folder.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# Paddle's import sets this for child processes anyway; torch with more threads than that stalls
# beside a busy process.
os.environ.setdefault("OMP_NUM_THREADS", "1")

warnings.filterwarnings("ignore", message="No ccache found")  # Paddle's import, on every start

try:
    from common.errors import UserError
except ModuleNotFoundError as error:  # pragma: no cover - only without an installation
    sys.exit(f"error: {error}; run `make setup` in {ROOT}, then use {ROOT}/.venv/bin/python")

CHECKED_GOOD, CHECKED_BAD, COULD_NOT_CHECK = 0, 1, 2


def run(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its code; a user's mistake is one message, no traceback."""
    try:
        code = main()
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in {"torch", "paddle"}:
            raise
        extra = {"torch": "torch", "paddle": "cpu"}[(error.name or "").split(".")[0]]
        print(
            f"error: {error.name} is not installed in {sys.executable}; run `make setup` in {ROOT} "
            f"and use its .venv/bin/python, or `pip install -e '{ROOT}[{extra}]'`",
            file=sys.stderr,
        )
        code = COULD_NOT_CHECK
    except BrokenPipeError:  # `... | head` closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        print(f"error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        code = COULD_NOT_CHECK
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def parser(description: str, example: str) -> argparse.ArgumentParser:
    """Return a parser whose --help ends with `example`; a usage error exits with 2."""
    return argparse.ArgumentParser(
        description=description,
        epilog=f"example:\n  {example}\n\nexit: 0 checked and good, 1 checked and not good, "
        "2 could not check or could not read",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def not_negative(text: str) -> int:
    """Read an option that counts from 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is negative")
    return number


def positive(text: str) -> int:
    """Read an option that counts from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def command_line() -> str:
    """Return the command that was typed, as one can paste it again."""
    script, *arguments = sys.argv
    path = Path(script).resolve()
    shown = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else script
    return shlex.join(["python", shown, *arguments])


def check_folder(folder: str | Path | None) -> None:
    """Make the folder of --report before the work begins; UserError where it cannot be."""
    if folder is None:
        return
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        reason = "is a file" if path.is_file() else error.strerror or str(error)
        raise UserError(f"--report {folder}: {reason}; give a folder to write to") from None


def print_json(value: Any) -> None:
    """Print `value` as one JSON document on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
