"""Rules files the other way: from the net's names to those of the source.

A rename is turned round where its `match` is made of plain text, anchors and groups that all stand
in `to`; anything else is a ConfigError that says so. Whatever comes out is sent forwards again, and
must be what it came from.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from common.errors import ConfigError
from common.words.patterns import matches, replaced
from convert.names.rules import Rename, Rules, Split

_SPECIAL = set(".*+?[]{}|")


@dataclass
class Back:
    """Names of the source for names of the net.

    Attributes:
        names: name in the net -> name in the source, of whole tensors.
        joined: name in the source -> names in the net of its pieces, in order.
        axes: name in the source -> axis along which its pieces are joined.
        complex: names in the source whose pieces are a real and an imaginary part.
    """

    names: dict[str, str] = field(default_factory=dict)
    joined: dict[str, list[str]] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
    complex: set[str] = field(default_factory=set)


def names_back(names: Iterable[str], rules: Rules) -> Back:
    """Give every name of a net its name in the source.

    Raises ConfigError where a rule cannot be turned round, or two names become one.
    """
    back = Back()
    renames = [turned_round(rename) for rename in reversed(rules.renames)]
    left = list(dict.fromkeys(names))
    for split in rules.splits:
        left = _join(left, split, renames, back)
    for name in left:
        back.names[name] = _renamed(name, renames)
    for name, theirs in back.names.items():
        forth = theirs
        for rename in rules.renames:
            forth = rename.apply(forth)
        if forth != name:
            raise ConfigError(
                f"{name} would be {theirs} in the source, but the rules make {forth} of that; "
                "anchor the renames with ^ and $"
            )
    if len(set(back.names.values()) | set(back.joined)) != len(back.names) + len(back.joined):
        raise ConfigError("the rules give two tensors of the net one name in the source")
    return back


def _renamed(name: str, renames: list[tuple[str, str]]) -> str:
    for pattern, to in renames:
        name = replaced(pattern, to, name)
    return name


def _join(names: list[str], split: Split, renames: list[tuple[str, str]], back: Back) -> list[str]:
    """Take the pieces that `split` makes out of `names`; return the rest."""
    turned = [turned_round(Rename(match=split.match, to=to)) for to in split.into]
    found: dict[str, dict[int, str]] = {}
    for name in names:
        for index, (pattern, to) in enumerate(turned):
            if matches(pattern, name):
                found.setdefault(replaced(pattern, to, name), {})[index] = name
    for whole, pieces in found.items():
        if len(pieces) != len(split.into):
            continue
        theirs = _renamed(whole, renames)
        back.joined[theirs] = [pieces[index] for index in range(len(split.into))]
        back.axes[theirs] = split.axis
        back.complex |= {theirs} if split.complex else set()
    taken = {name for whole in back.joined.values() for name in whole}
    return [name for name in names if name not in taken]


def turned_round(rename: Rename) -> tuple[str, str]:
    """Return (match, to) of the inverse of a rename."""
    parts = _parts_of_match(rename)
    groups = [part for part in parts if part.startswith("(")]
    order = [int(number) for number in re.findall(r"\\(\d)", rename.to)]
    if sorted(order) != list(range(1, len(groups) + 1)):
        raise _cannot(rename, "every group must stand in `to` exactly once")
    pattern = "^" if parts[:1] == ["^"] else ""
    for piece in re.split(r"(\\\d)", rename.to):
        is_group = re.fullmatch(r"\\\d", piece)
        pattern += groups[int(piece[1]) - 1] if is_group else re.escape(piece.replace("\\", ""))
    if pattern in ("", "^") and parts[:1] != ["^"]:
        raise _cannot(rename, "it removes text anywhere in a name; anchor it with ^")
    pattern += "$" if parts[-1:] == ["$"] else ""
    to, number = "", 0
    for part in parts:
        if part.startswith("("):
            number += 1
            to += f"\\g<{order.index(number) + 1}>"  # a digit may follow
        elif part not in ("^", "$"):
            to += part.replace("\\", "\\\\")
    return pattern, to


def _parts_of_match(rename: Rename) -> list[str]:
    """Return the match as anchors, plain characters and whole groups."""
    text, parts, at = rename.match, [], 0
    while at < len(text):
        char = text[at]
        if char == "(":
            end = _end_of_group(rename, at)
            parts.append(text[at:end])
            at = end
            continue
        if char == "\\":
            at += 1
            if text[at].isalnum():
                raise _cannot(rename, f"\\{text[at]} outside of a group")
            parts.append(text[at])
        elif char in _SPECIAL:
            raise _cannot(rename, f"{char!r} outside of a group")
        else:
            parts.append(char)
        at += 1
    return parts


def _end_of_group(rename: Rename, start: int) -> int:
    text, depth, at = rename.match, 0, start
    if text[start + 1 : start + 2] == "?":
        raise _cannot(rename, "a group that begins with (?")
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "(":
            depth += 1
            if depth > 1 and text[at + 1 : at + 2] != "?":
                raise _cannot(rename, "a group inside of a group")
        elif text[at] == ")":
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    raise _cannot(rename, "a group without its end")


def _cannot(rename: Rename, why: str) -> ConfigError:
    return ConfigError(f"the rule {rename.match!r} cannot be used backwards: {why}")
