"""Pieces of text, and how dropped statements leave a file without a trace."""

import ast
import re

from port.spelling.texts import is_bracketed

DROP = "\x00"  # a statement that is gone
DROP_DEFINITION = "\x01"  # a function or class that is gone, with the comment above it
DECORATOR = "\x03"  # what stood behind an @ and is gone
OWN = "\u01c3"  # behind a name of the user's that the port has, too; a letter, so that it parses
_ATOMS = (ast.Call, ast.Attribute, ast.Name, ast.Subscript, ast.Constant, ast.List, ast.Dict)
_MARKED = re.compile(r"^([ \t]*)[\x00\x01][\x00\x01; \t]*(#.*)?$")


def in_brackets(text: str) -> str:
    """Return an expression so that anything may stand beside it."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        return f"({text})"
    if isinstance(tree, _ATOMS) or is_bracketed(text):
        return text
    return f"({text})"


def without_marks(text: str) -> str:
    """Return the text of a file without its dropped statements; an empty block gets `pass`."""
    text = text.replace(OWN, "")
    lines: list[str] = []
    for line in text.split("\n"):
        if line.strip().startswith(f"@{DECORATOR}"):
            continue
        found = _MARKED.match(line)
        if found is None:
            lines.append(line)
            continue
        if "\x01" in line:
            _drop_comment(lines, found.group(1))
        lines.append(f"{found.group(1)}{DROP}")
    return _spaced(_filled(lines))


def _drop_comment(lines: list[str], indent: str) -> None:
    """Take the comment that stands right above a definition."""
    while lines and lines[-1].startswith(f"{indent}#"):
        lines.pop()


def _filled(lines: list[str]) -> list[str]:
    """Leave a `pass` where all statements of a block are gone."""
    found: list[str] = []
    for number, line in enumerate(lines):
        if not line.endswith(DROP):
            found.append(line)
            continue
        indent = len(line) - 1
        if indent and _is_only(lines, number, indent):
            found.append(f"{' ' * indent}pass")
        else:
            found.append(DROP)
    return found


def _is_only(lines: list[str], number: int, indent: int) -> bool:
    """Tell whether a mark is the first in its block, and nothing else is in it."""
    above = next((one for one in reversed(lines[:number]) if _tells(one)), "")
    if _indent(above) >= indent or not above:
        return False
    for line in lines[number + 1 :]:
        if line.endswith(DROP) and len(line) - 1 == indent:
            continue
        if _tells(line):
            return _indent(line) < indent
    return True


def _tells(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _spaced(lines: list[str]) -> str:
    """Join lines; where something was dropped, as few empty lines stay as around it."""
    found: list[str] = []
    near = False
    for line in lines:
        if line == DROP:
            near = True
        elif near and not line.strip():
            found.append("")
        else:
            if near:
                _thin(found, 1 if line.startswith((" ", "\t")) else 2)
            near = False
            found.append(line)
    _thin(found, 0)
    return "\n".join(found) + "\n" if found else ""


def _thin(lines: list[str], most: int) -> None:
    """Leave at most so many empty lines at the end."""
    while len(lines) > most and not any(line.strip() for line in lines[-most - 1 :]):
        lines.pop()
