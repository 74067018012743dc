"""What every command shares: the checkout on the path, one message for a user's error, exit codes.

Importing it puts the checkout first on `sys.path`, so that commands work from any folder.
"""

import argparse
import functools
import glob
import json
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# Paddle's import sets this for child processes anyway; torch with more threads than that stalls
# beside a busy process.
os.environ.setdefault("OMP_NUM_THREADS", "1")

warnings.filterwarnings("ignore", message="No ccache found")  # Paddle's import, on every start
warnings.filterwarnings("ignore", message="When training, we now always track global mean")  # same
# Pillow, of photos of half the pixels at which it refuses to read them.
warnings.filterwarnings("ignore", message="Image size .* exceeds limit of")

try:
    from commands import endings
    from commands.parser import CommandEnd, HelpFormatter, Parser, complain, error_line
    from common.errors import UserError
    from common.files import FULL, check_outputs, forbid_maps
    from common.streams import UNKNOWN, keep_apart, results, say
    from common.words import language
    from common.words.controls import in_one_line
    from common.words.language import phrase
    from common.words.texts import help_said
    from common.words.typed import as_typed, command_line
except ModuleNotFoundError as error:  # pragma: no cover - only without an installation
    sys.exit(f"error: {error}; run `make setup` in {ROOT}, then use {ROOT}/.venv/bin/python")

CHECKED_GOOD, CHECKED_BAD, COULD_NOT_CHECK = 0, 1, 2
EXIT_CODES = "exit: 0 checked and good, 1 checked and not good, 2 could not check or could not read"


def run(main: Callable[[], int], apart: bool = False) -> NoReturn:
    """Run a command and exit with its code.

    `apart`: it runs nets, whose own prints go to stderr, and which do not end it.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors=UNKNOWN)
    forbid_maps()  # nobody watches this process
    if apart:
        keep_apart()
        endings.note(functools.partial(_refused, os._exit), signals_too=False)
    code = exit_code(main)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process ends
    sys.exit(code)


def _refused(end: Callable[[int], NoReturn], by: str) -> None:
    what = f"could not check: the process was to end by {by}. {next_step(SystemExit())}"
    complain(error_line(what))
    end(COULD_NOT_CHECK)


def exit_code(main: Callable[[], int]) -> int:
    """Run a command and return its code; a user's mistake is one message, no traceback.

    What ends it otherwise, a `sys.exit` in a net say, is "could not check", whatever code it has.
    """
    listen_to_interrupts()
    try:
        code = main()
        results().flush()
        return code
    except CommandEnd as end:
        return int(end.code or 0)
    except UserError as error:
        complain(error_line(error))
        return error.exit_code
    except BrokenPipeError:  # `... | head` closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), results().fileno())
        return 141
    except BaseException as error:
        if was_interrupted() and _comes_of_interrupt(error):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process ends
            complain(phrase("interrupted"))
            return 130
        return ended_by(error)


def _comes_of_interrupt(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C raised an error, or what a library made of it while it was imported."""
    while error is not None:
        if isinstance(error, (KeyboardInterrupt, ImportError, SystemError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def ended_by(error: BaseException) -> int:
    """Say what else ended a command: never with the code of "checked and not good"."""
    from common.places import told, user_frame

    missing = error.name if isinstance(error, ModuleNotFoundError) else ""
    if missing in ("torch", "paddle"):
        extra = {"torch": "torch", "paddle": "cpu"}[missing]
        what = (
            f"{missing} is not installed in {sys.executable}; run `make setup` in {ROOT} "
            f"and use its .venv/bin/python, or `pip install -e '{ROOT}[{extra}]'`"
        )
        complain(error_line(what))
    elif user_frame(error) is not None or not isinstance(error, Exception):
        what = f"could not check: {told(error)}. {next_step(error)}"
        complain(error_line(what))
    elif isinstance(error, OSError):
        why = error.strerror or error
        if error.filename:
            complain(error_line(f"{in_one_line(str(error.filename))}: {why}"))
        elif error.errno in FULL:  # whatever is written to a file says which (common.files)
            complain(error_line(f"what was found cannot be written to standard output: {why}"))
        else:
            complain(error_line(why))
    else:  # of this program
        complain(error_line(f"could not check: {own_fault(error)}"))
    return COULD_NOT_CHECK


def own_fault(error: BaseException) -> str:
    """Keep the trace of a fault of this program in a file; return one line that names both."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    what = in_one_line(f"{type(error).__name__}: {error}"[:300])
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="t2p-", suffix=".log", delete=False, encoding="utf-8", errors=UNKNOWN
        ) as file:
            file.write(f"{command_line()}\n{sys.version}\n")
            file.writelines(traceback.format_exception(error))
        kept = file.name
    except OSError as unwritten:
        kept = f"(no file: {unwritten.strerror})"
    return f"a fault of this program: {what} at {place}. Report it with {kept}"


def next_step(error: BaseException) -> str:
    """Return what to do about code of a net that raised `error`."""
    if isinstance(error, Exception):
        return "Nothing was judged: mend it there"
    return (
        "Nothing was judged: code of a net may not end the program; take that line out, or put it "
        'under `if __name__ == "__main__":` (parse_args too)'
    )


_interrupts: list[int] = []


def was_interrupted() -> bool:
    """Tell whether Ctrl-C was pressed: a net's code can raise KeyboardInterrupt without it."""
    return bool(_interrupts)


def listen_to_interrupts() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt and is noted; where it is ignored, it stays."""

    def interrupt(number: int, frame: Any) -> None:
        _interrupts.append(number)
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler or _is_of_checkout(before):
        signal.signal(signal.SIGINT, interrupt)


def _is_of_checkout(handler: Any) -> bool:
    """Tell whether `handler` is that of tools/_checkout.py, which is for the time before."""
    return getattr(handler, "__module__", "") == "_checkout"


class _ChooseLanguage(argparse.Action):
    """Prints in the language of --lang from the moment at which it is read."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        language.choose(values)
        setattr(namespace, self.dest, values)


def parser(description: str, example: str) -> Parser:
    """Return a parser with --lang whose --help ends with `example`; a usage error exits with 2."""
    if not _can_print_chinese():
        language.choose("en")
    language.choose_by(sys.argv[1:])
    made = Parser(
        description=description,
        epilog=f"{help_said('example:')}\n  {as_typed(example)}\n\n{help_said(EXIT_CODES)}",
        formatter_class=HelpFormatter,
    )
    made.add_argument(
        "--lang",
        choices=language.LANGUAGES,
        action=_ChooseLanguage,
        help="language of what is printed (default: the locale's); JSON is the same in both",
    )
    return made


def add_config(command: argparse.ArgumentParser, what: str = "a file of configs/") -> None:
    """Add `config`, of which --help says `what` it is, and `overrides` of its settings."""
    command.add_argument("config", type=Path, help=what)
    command.add_argument(
        "overrides", nargs="*", metavar="key.sub=value", help="settings that replace the file's"
    )


def _can_print_chinese() -> bool:
    """Tell whether what results go to takes Chinese at all."""
    try:
        "中".encode(getattr(results(), "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


REPORT_FILES = (".html", ".json", ".csv", ".png", ".xml")


def check_folder(folder: str | Path | None, stems: Sequence[str] = ()) -> None:
    """Make the folder of --report before the work begins; UserError where it cannot be.

    Reports of earlier runs under the names `stems` go: they say nothing about this run.
    """
    from common.files import sweep_drafts
    from common.locks import tell_swept

    if folder is None:
        return
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
        check_outputs(report_files(path, stems), named_files(), force=True)
        for stem in stems:
            remove_report(path, stem)
        tell_swept([one for file in report_files(path, stems) for one in sweep_drafts(file)])
    except OSError as error:
        reason = "is a file" if path.is_file() else error.strerror or str(error)
        raise UserError(f"--report {folder}: {reason}; give a folder to write to") from None


def report_files(folder: Path, stems: Sequence[str]) -> list[Path]:
    """Return what may be written into the folder of --report."""
    return [folder / f"{stem}{suffix}" for stem in stems for suffix in REPORT_FILES]


def named_files() -> list[Path]:
    """Return what the command line names: what is read, and outputs of other options."""
    words = [part for word in sys.argv[1:] for part in (word, word.partition("=")[2]) if part]
    return [Path(word) for word in words]


def remove_report(folder: Path, stem: str, process: int | None = None) -> None:
    """Remove the files of a report, and drafts of them that `process` left."""
    drafts = folder.glob(f".{glob.escape(stem)}.*.{process}.part") if process else ()
    for path in (*report_files(folder, [stem]), *drafts):
        path.unlink(missing_ok=True)


@contextmanager
def verdict_stands(folder: str | Path, stem: str) -> Iterator[None]:
    """Write the report `stem` in the block: where that fails, the verdict stands without it.

    A second line says why, and what is half of a report goes.
    """
    try:
        yield
    except UserError as error:
        with suppress(OSError):
            remove_report(Path(folder), stem)
        complain(error_line(f"no report was written: {error}"))


def print_json(value: Any) -> None:
    """Print `value` as one JSON document on stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(getattr(results(), "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        text = json.dumps(value, indent=2, allow_nan=False)
    say(text)
