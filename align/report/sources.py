"""Lines of source in a report: whose they are, how they are shown, and where a user reads on."""

import re
from collections.abc import Callable

# What a framework installed: code that nobody mends. A net that is installed is somebody's net.
_INSTALLED = re.compile(r"(site|dist)-packages[/\\](torch|paddle)[/\\]")
_CONTAINERS = re.compile(r"[/\\.](containers?|module|layers)(\.py:|\.[A-Z])")
_NAMED = ("torch.", "paddle.")  # a class of theirs whose file is not known


def is_library(source: str) -> bool:
    """Tell whether a file:line is a framework's own: a layer's, or a container's."""
    return bool(_INSTALLED.search(source)) or source.startswith(_NAMED)


def is_container(source: str) -> bool:
    """Tell whether a file:line is a framework's container's, which only calls what it holds."""
    return is_library(source) and bool(_CONTAINERS.search(source))


def users_line(path: str, source: Callable[[str], str | None]) -> tuple[str, str] | None:
    """Return (path, file:line) of the closest code around `path`, its own first, that is a user's.

    `source(path)` is file:line of the code that a layer runs, None where it is not known. None
    where all of it is a framework's.
    """
    while True:
        found = source(path)
        if found and not is_library(found):
            return path, found
        if not path:
            return None
        path = path.rpartition(".")[0]


def short_source(source: str | None) -> str:
    """Return a file:line without the folders that say nothing to another reader."""
    if not source:
        return ""
    for marker in ("site-packages/", "dist-packages/"):
        if marker in source:
            return source.rpartition(marker)[2]
    return source if not source.startswith("/") else "/".join(source.split("/")[-3:])
