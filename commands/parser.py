"""The parser of every command: its help and its errors in the language of what is printed.

What a tool says of its options stands in English in its code and with its Chinese in
`common/words/help.json`; what argparse says of itself, there and in `errors.json`.
"""

import argparse
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from common.streams import messages, results
from common.words import language
from common.words.controls import escaped
from common.words.language import phrase
from common.words.texts import error_said, help_said

# A word, or a letter of Chinese, with what may not end or begin a line.
_UNBROKEN = re.compile("[（“《]*(?:[!-~]+|.)[，。；：！？、）》”…]*\\s*")


class CommandEnd(SystemExit):
    """The end of a command by its own parser: --help, or a wrong option."""


class Parser(argparse.ArgumentParser):
    """A parser whose end is told from a `sys.exit` of a net's code."""

    def parse_known_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; argparse would take the usage without its first 7 letters, those of English."""
        own, head = self.usage, help_said("usage: ")
        self.usage = self.format_usage().removeprefix(head).strip().replace("%", "%%")
        try:
            return super().parse_known_intermixed_args(args, namespace)
        finally:
            self.usage = own

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the command."""
        if message:
            complain(message.rstrip())
        raise CommandEnd(status)

    def error(self, message: str) -> NoReturn:
        """End the command by a message about its options."""
        self.print_usage(messages())
        self.exit(2, f"{self.prog}: {error_line(message)}")

    def print_help(self, file: Any = None) -> None:
        """Print the help where results go."""
        super().print_help(file or results())


def error_line(message: object) -> str:
    """Return the line that says an error, in the language of what is printed."""
    return phrase("error: {message}", message=error_said(str(message)))


def complain(text: str) -> None:
    """Print a line on stderr; where that is closed the exit code has to do."""
    try:
        print(escaped(text), file=messages(), flush=True)
    except (OSError, ValueError):
        return


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Writes texts of the table in the language of what is printed."""

    def add_usage(
        self, usage: Any, actions: Iterable[Any], groups: Iterable[Any], prefix: str | None = None
    ) -> None:
        """Add how the command is called."""
        prefix = help_said("usage: ") if prefix is None else prefix
        super().add_usage(usage, actions, groups, prefix)

    def start_section(self, heading: str | None) -> None:
        """Begin a group of options."""
        super().start_section(heading and help_said(heading))

    def add_text(self, text: str | None) -> None:
        """Add what a command or a group is for."""
        super().add_text(text and help_said(text))

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help and help_said(action.help)

    def _split_lines(self, text: str, width: int) -> list[str]:
        if language.language() == language.ENGLISH:
            return super()._split_lines(text, width)
        return list(_filled(" ".join(text.split()), width))


def _filled(text: str, width: int) -> Iterator[str]:
    """Yield lines of at most `width` columns; a line may end behind any letter of Chinese."""
    line = ""
    for part in _UNBROKEN.findall(text):
        if line and _columns(line + part.rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += part
    yield line.rstrip()


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes; a letter of Chinese takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
