"""The folder that is handed over: the port's files, what builds the net, and what to know of it."""

import json
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import whole_file
from port.helpers import helpers, source_of
from port.port import DRAWN, Port
from port.write.gaps import Gap
from port.write.left_out import SILENT
from port.write.rewrite import STUB
from port.write.torch_like import TorchLike

BUILDER, CALLS, GUIDE, ASKED = "builder.py", "torch_calls.py", "PORT.md", "port.json"
FILES = "files"  # in port.json: what a port wrote, by its path in the folder
_ROOMS = {"align", "commands", "common", "convert", "export", "paddle_impl", "port", "torch_ref"}
_STUBS = {
    STUB: '''def not_ported(name: str, where: str):
    """Raise: what the reference calls here has no spelling in Paddle that is known to be right."""
    raise NotImplementedError(f"{where}: {name} was not ported to Paddle")
''',
    SILENT: '''def not_here(where: str):
    """Raise: what the library has here did not run when the net was ported, and was left out."""
    raise NotImplementedError(f"{where}: was left out of this port, which never reached it")
''',
}


def check_place(folder: Path, force: bool) -> None:
    """Raise UserError where a port cannot be written into `folder`."""
    if not folder.name.isidentifier():
        raise UserError(
            f"-o {folder}: a port is a Python package; give a name of letters, digits and _"
        )
    if folder.exists() and not force and any(folder.iterdir()):
        raise UserError(f"-o {folder}: exists already; --force writes over the files of the port")


def check_names(folder: Path, modules: Iterable[str]) -> None:
    """Raise UserError where the port would be called as one of `modules`, or as a room."""
    name = folder.resolve().name
    taken = {module.partition(".")[0] for module in modules} | _ROOMS
    if name in taken:
        raise UserError(f"-o {folder}: {name} is a module already; give the port another name")


def write_folder(folder: Path, port: Port, asked: Mapping[str, Any]) -> list[Path]:
    """Write the files of a port, `builder.py` and `torch_calls.py`; return their paths.

    What an earlier port wrote there, and this one has not, is removed: it would be imported.
    """
    written = []
    texts = {file.path: file.text for file in port.files}
    texts.setdefault("__init__.py", "")
    texts[BUILDER] = builder(port, asked)
    if port.helpers or port.classes:
        texts[CALLS] = calls(port.helpers, port.classes)
    files = sorted({*texts, *map(str, port.settings)})
    for path in _written_earlier(folder) - set(files):
        (folder / path).unlink(missing_ok=True)
    texts[ASKED] = json.dumps({**asked, FILES: files}, indent=2) + "\n"
    for path, text in texts.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place) as draft:
            draft.write_text(text, encoding="utf-8")
        written.append(place)
    return written + _settings(folder, port)


def _written_earlier(folder: Path) -> set[str]:
    """Return the files that an earlier port says it wrote into its folder."""
    try:
        told = json.loads((folder / ASKED).read_text("utf-8"))[FILES]
    except (OSError, ValueError, LookupError, TypeError):  # none, or an edited one
        return set()
    here = folder.resolve()
    places = [(here / path).resolve() for path in told if isinstance(path, str)]
    return {str(one.relative_to(here)) for one in places if one.is_relative_to(here)}


def _settings(folder: Path, port: Port) -> list[Path]:
    """Copy the files of settings that the port reads; return their paths."""
    for path, source in port.settings.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place) as draft:
            draft.write_bytes(source.read_bytes())
    return [folder / path for path in port.settings]


def builder(port: Port, asked: Mapping[str, Any]) -> str:
    """Return the text of `builder.py`."""
    module, name = port.root
    arguments = ", ".join(f"{key}={value!r}" for key, value in asked["arguments"].items())
    package, _, last = module.rpartition(".")
    known = f"{last} as reference" if last == "build" else last
    made, drawn, imported = f"{known.split()[-1]}.{name}", "", ""
    call = f"{made}({arguments})"
    if port.draws:
        imported = f"from .torch_calls import {DRAWN}\n"
        drawn = ", with first weights drawn as torch draws them"
        call = f"{DRAWN}({f'lambda: {call}' if arguments else made})"
    return (
        f'"""Builds the Paddle port of {asked["spec"]}."""\n\n'
        f"from .{package} import {known}\n{imported}\n\n"
        "def build():\n"
        f'    """Return the net, a paddle.nn.Layer{drawn}."""\n'
        f"    return {call}\n"
    )


def calls(names: Set[str], classes: Mapping[str, TorchLike]) -> str:
    """Return the text of `torch_calls.py`: helpers, and the classes that take torch's arguments."""
    known = names - _STUBS.keys()
    known |= {name for one in classes.values() for name in one.helpers}
    head = '"""What stands for calls of torch that Paddle has no exact spelling for."""\n'
    text = source_of(known) if known else head
    text = _with_lines(text, {line for one in classes.values() for line in one.imports})
    parts = [classes[name].source for name in sorted(classes)]
    parts += [source for name, source in _STUBS.items() if name in names]
    return "\n\n".join([text, *parts])


def _with_lines(text: str, lines: Set[str]) -> str:
    """Return a file's text with lines of import that it lacks, behind its docstring."""
    missing = sorted(lines - set(text.splitlines()), key=lambda one: (one.startswith("from"), one))
    if not missing:
        return text
    head, _, rest = text.partition("\n")
    return "\n".join([head, "", *missing, rest])


def guide(port: Port, asked: Mapping[str, Any], outcomes: Mapping[str, str]) -> str:
    """Return the text of `PORT.md`: what was written, what was shown of it, what to look at."""
    lines = [f"# Port of {asked['spec']} to Paddle", ""]
    lines += ["| shown | result |", "|---|---|"]
    lines += [f"| {name} | {result} |" for name, result in outcomes.items()]
    lines += ["", "## Files", ""]
    lines += _files(port)
    lines += _helpers(port)
    lines += _gaps("Could not be written", [gap for gap in port.gaps if gap.ran])
    lines += _gaps("Did not run, and raises when it is reached", _silent(port))
    lines += _traced(port)
    lines += _lines(port)
    lines += _notes(port)
    return "\n".join(lines) + "\n"


def _files(port: Port) -> list[str]:
    """Return a line for each of the user's files, and for each library that came along."""
    told, libraries = [], dict[str, list[int]]()
    for file in (one for one in port.files if one.text):
        if file.source is None or not file.source.library:
            origin = f", from `{file.source.module}`" if file.source else ""
            told.append(f"- `{file.path}`{origin}")
            continue
        package = file.source.module.partition(".")[0]
        libraries.setdefault(package, []).append(len(file.text.splitlines()))
    told += [
        f"- `ported_{package}/`: what the net needs of `{package}`, {len(lengths)} files, "
        f"{sum(lengths)} lines; licence: that of its package"
        for package, lengths in libraries.items()
    ]
    told += [f"- `{path}`: settings that it reads, as they are" for path in port.settings]
    return [*told, "", "Calls of torch are respelled, what the net does not use is left out."]


def _helpers(port: Port) -> list[str]:
    known = [helpers()[name] for name in sorted(port.helpers - _STUBS.keys())]
    if not known:
        return []
    head = ["", "## Helpers in torch_calls.py", ""]
    return [*head, *(f"- `{one.name}`: {' '.join(one.reason.split())}" for one in known)]


def _traced(port: Port) -> list[str]:
    found = [one for file in port.files for one in file.needs.traced]
    if not found:
        return []
    head = ["", "## Written from the traced graph", ""]
    head += ["Their source calls what has no spelling. They hold for calls like those traced:", ""]
    told = [f"- {where.file.name}:{where.line}: {what}" for where, what in found]
    return [*head, *dict.fromkeys(told)]


def _silent(port: Port) -> list[Gap]:
    return [gap for gap in port.gaps if not gap.ran]


def _gaps(title: str, gaps: list[Gap]) -> list[str]:
    if not gaps:
        return []
    told = [f"- {gap.where.file.name}:{gap.where.line}: `{gap.api}`: {gap.reason}" for gap in gaps]
    return ["", f"## {title}", "", *dict.fromkeys(told)]


def _lines(port: Port) -> list[str]:
    found = [file for file in port.files if file.silent and file.source]
    if not found:
        return []
    head = "Lines of the reference that did not run: ported by their names, and shown by nothing."
    told = [f"- `{file.path}`: {_ranges(file.silent)}" for file in found]
    return ["", "## Did not run", "", head, "", *told]


def _ranges(lines: list[tuple[int, int]]) -> str:
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in lines)


def _notes(port: Port) -> list[str]:
    told: dict[str, list[str]] = {}
    for file in port.files:
        for where, note in file.needs.notes:
            told.setdefault(note, []).append(f"{where.file.name}:{where.line}")
    if not told:
        return []
    head = ["", "## To know", ""]
    return [*head, *(f"- {note} ({_places(places)})" for note, places in told.items())]


def _places(places: list[str]) -> str:
    more = len(places) - 3
    return ", ".join(places[:3]) + (f" and {more} more" if more > 0 else "")
