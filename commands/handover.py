"""The way on which a watched child hands its verdict over: a pipe of its own.

Neither its exit code nor what stands on stdout is a verdict: a net's code can make both.
"""

import json
import os
import secrets
from typing import Any

PIPE, KEY = "T2P_VERDICT_PIPE", "T2P_VERDICT_KEY"


class Sender:
    """The child's end. Its number and key leave the environment before a net's code runs."""

    def __init__(self) -> None:
        self._pipe, self._key = int(os.environ.pop(PIPE)), os.environ.pop(KEY)
        self._identity, self._process = _identity(self._pipe), os.getpid()

    def is_copy(self) -> bool:
        """Tell whether this process is a copy of the one that is watched."""
        return os.getpid() != self._process

    def tell(self, what: str, value: Any) -> bool:
        """Tell the parent; return whether it can hear: not from a copy, nor by a closed pipe."""
        line = json.dumps([self._key, what, value]) + "\n"
        try:
            heard = not self.is_copy() and _identity(self._pipe) == self._identity
            return heard and os.write(self._pipe, line.encode()) > 0
        except OSError:
            return False


class Receiver:
    """The parent's end, and what it heard.

    verdict: the exit code that the command came to, None before. ended: what the child said last
    about code that ends it. reports: (folder, stem) of reports that it began to write. outputs:
    files that it began to convert to.
    """

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._key, self._rest = secrets.token_hex(8), b""
        self.verdict: int | None = None
        self.ended = ""
        self.reports: list[tuple[str, str]] = []
        self.outputs: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """What the child's environment needs."""
        return {PIPE: str(self.writing), KEY: self._key}

    def listen(self) -> None:
        """Take what was told since the last time."""
        while block := self._block():
            *lines, self._rest = (self._rest + block).split(b"\n")
            for line in lines:
                self._hear(line)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._reading)
        os.close(self.writing)

    def _block(self) -> bytes:
        try:
            return os.read(self._reading, 1 << 16)
        except BlockingIOError:
            return b""

    def _hear(self, line: bytes) -> None:
        try:
            key, what, value = json.loads(line)
        except (ValueError, TypeError):  # not ours
            return
        if key != self._key:
            return
        if what == "verdict":
            self.verdict = int(value)
        elif what == "ended":
            self.ended = str(value)
        elif what == "report":
            self.reports.append((value[0], value[1]))
        elif what == "output":
            self.outputs.append(str(value))


def _identity(number: int) -> tuple[int, int]:
    found = os.fstat(number)
    return found.st_dev, found.st_ino
