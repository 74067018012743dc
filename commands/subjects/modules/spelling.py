"""Which module a user means: written as a module, as the path of its file, or misspelt."""

import difflib
import pkgutil
import sys
from pathlib import Path

from common.errors import UserError
from common.places import is_users

HOME = Path(__file__).resolve().parents[3]


def module_named(module: str, what: str) -> str:
    """Return the dotted name of a module, which may be written as the path of its file.

    The folder that it is looked for in is put onto the path where it is not. `what` is what the
    user wrote, for the message. Raises UserError for a path at which there is no file.
    """
    if not (module.endswith(".py") or "/" in module):
        return module
    written = Path(module if module.endswith(".py") else f"{module}.py")
    bases = [Path.cwd(), *(Path(place or ".").resolve() for place in _users_places())]
    for base in dict.fromkeys(bases):
        file = base / written
        if file.is_file():
            return _dotted(file.resolve(), base)
    dotted = ".".join(part for part in written.with_suffix("").parts if part not in ("..", "/"))
    looked = ", ".join(str(base / written) for base in dict.fromkeys(bases))
    raise UserError(f"{what}: no such file; looked for {looked}. As a module: {dotted}")


def _users_places() -> list[str]:
    """Return the folders of the path that are neither a library's nor this program's."""
    found = {str(Path(place or ".").resolve()): place for place in sys.path}
    return [
        place
        for whole, place in found.items()
        if Path(whole).is_dir() and Path(whole) != HOME and is_users(f"{whole}/module.py")
    ]


def _dotted(file: Path, base: Path) -> str:
    """Return the name by which `file` is imported, from `base` or from its own folder."""
    inside = file.is_relative_to(base)
    parts = (file.relative_to(base) if inside else Path(file.name)).with_suffix("").parts
    if not all(part.isidentifier() for part in parts):
        inside, parts = False, (file.stem,)
    place = str(base if inside else file.parent)
    if place not in sys.path:
        sys.path.insert(1, place)  # after the checkout
    return ".".join(parts)


def not_found(missing: str | None, module: str) -> str:
    """Say where `module` was looked for and what is called alike; "" where it was found.

    missing: the module that Python did not find, which may be one that `module` imports.
    """
    if not missing or not f"{module}.".startswith(f"{missing}."):
        return ""
    parent, _, name = missing.rpartition(".")
    places = list(getattr(sys.modules.get(parent), "__path__", ())) if parent else _users_places()
    known = [each.name for each in pkgutil.iter_modules([place or "." for place in places])]
    looked = ", ".join(str(Path(place or ".").resolve()) for place in places)
    close = difflib.get_close_matches(name, known, 1)
    meant = f"; did you mean {f'{parent}.' if parent else ''}{close[0]}?" if close else ""
    return f"; looked in {looked}{meant}"
