"""What a converter of others may do: run for a while, in a folder, without a network.

`run_contained` starts it; the process that it starts calls `close_network` before all else.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

KERNEL, PYTHON = "kernel", "python"  # what keeps a process from the network
_NEW_USER, _NEW_NETWORK = 0x1000_0000, 0x4000_0000  # linux/sched.h, CLONE_NEW...
_DIE_WITH_PARENT = 1  # linux/prctl.h, PR_SET_PDEATHSIG
_REFUSED = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
_NOWHERE = "http://127.0.0.1:9"  # port 9, discard: nobody listens
_TAIL = 20_000  # letters of what it printed


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    code: its exit code, negative for a signal, None where it ran out of time. said: the end of
    what it printed. seconds: how long it ran.
    """

    code: int | None
    said: str
    seconds: float


def run_contained(
    command: Sequence[str], folder: Path, seconds: float, environment: Mapping[str, str]
) -> Ended:
    """Run `command` in `folder`, with all that it starts, for at most `seconds` (0: any time)."""
    start, output = time.monotonic(), folder / "said.txt"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _NOWHERE)
    settings = {**os.environ, **proxies, "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1"}
    with output.open("wb") as out:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env={**settings, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(seconds or None)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end_group(process)
    said = output.read_bytes()[-_TAIL:].decode("utf-8", "replace")
    return Ended(code, said, time.monotonic() - start)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it left running."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def close_network() -> str:
    """Take the network from this process for good; return by what, KERNEL or PYTHON.

    Where the kernel does not let it leave the network, Python refuses every connection.
    """
    parted = _unshared()
    sys.addaudithook(_refuse)
    return KERNEL if parted else PYTHON


def end_with_parent() -> None:
    """Let this process die with the one that started it, where the kernel can (Linux)."""
    library = _library()
    if library is not None:
        library.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)


def forbid_module(name: str) -> None:
    """Put an empty module in the place of one whose every use is refused."""

    def refuse(what: str) -> NoReturn:
        raise AttributeError(f"{name}.{what} is not there: this process has no network")

    stub: Any = ModuleType(name)
    stub.__getattr__ = refuse
    sys.modules[name] = stub


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _REFUSED:
        return
    family = getattr(arguments[0], "family", None) if arguments else None
    if family is not None and family.name == "AF_UNIX":
        return
    raise ConnectionRefusedError(f"{event}: this process has no network")


def _unshared() -> bool:
    """Tell whether this process could leave the network: as root, else as its own root."""
    library = _library()
    if library is None:
        return False
    return any(library.unshare(flags) == 0 for flags in (_NEW_NETWORK, _NEW_USER | _NEW_NETWORK))


def _library() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    return library if hasattr(library, "unshare") else None
