"""Writes proposed pairs of layers as a rules file."""

import re
from collections.abc import Mapping, Sequence

ProposedRow = tuple[
    str, str, Mapping[str, str], float, str
]  # source, target, leaves, confidence, why
_MARK = ">"  # stands before a new name that is still another layer's old one


def rules_text(
    pairs: Sequence[ProposedRow],
    ambiguous: Mapping[str, tuple[str, ...]],
    unmatched: Sequence[str],
    unfilled: Sequence[str],
) -> str:
    """Return the text of a rules file; each rename says how sure it is and why."""
    lines = [
        "# A proposal: read it, correct it, then give it as --map. Confidence is of 0 to 1.",
        f"# {len(pairs)} layers are paired, {len(ambiguous)} ambiguous, {len(unmatched)} of the "
        f"file and {len(unfilled)} of the net without a partner.",
    ]
    lines.append("renames:" if pairs else "renames: []")
    marked: list[str] = []
    for source, target, leaves, confidence, why in _ordered(pairs):
        new = target.removeprefix(_MARK)
        lines.append(f"  # {confidence:.2f}: {why}")
        lines += _renames(source, target, leaves)
        if target != new:
            marked += _renames(target, new, {role: role for role in leaves})
    lines += marked
    for source, candidates in ambiguous.items():
        listed = ", ".join(candidates[:6]) + (" ..." if len(candidates) > 6 else "")
        lines.append(f"  # ambiguous: {source} may be {listed}")
    lines += [f"  # no partner in the net: {path}" for path in unmatched]
    lines += [f"  # no partner in the file: {path}" for path in unfilled]
    return "\n".join(lines) + "\n"


def _renames(source: str, target: str, leaves: Mapping[str, str]) -> list[str]:
    """Return the lines that rename one layer; its counter goes with it."""
    same = [role for role, leaf in leaves.items() if role == leaf]
    if "running_mean" in leaves:
        same.append("num_batches_tracked")
    lines = []
    if same:
        end = "|".join(map(re.escape, same))
        lines += _line(f"^{_escaped(source)}({end})$", f"{_dotted(target)}\\1")
    for role, leaf in leaves.items():
        if role != leaf:
            lines += _line(f"^{_escaped(source)}{re.escape(leaf)}$", f"{_dotted(target)}{role}")
    return lines


def _line(match: str, to: str) -> list[str]:
    quoted = [text.replace("'", "''") for text in (match, to)]
    return [f"  - match: '{quoted[0]}'", f"    to: '{quoted[1]}'"]


def _dotted(path: str) -> str:
    return f"{path}." if path.removeprefix(_MARK) else path


def _escaped(path: str) -> str:
    return re.sub(r"([^\w>-])", r"\\\1", _dotted(path))


def _ordered(pairs: Sequence[ProposedRow]) -> list[ProposedRow]:
    """Order renames so that none meets the result of another; a circle gets a marked name."""
    left = {row[0]: row for row in pairs}
    ordered: list[ProposedRow] = []
    while left:
        free = [row for row in left.values() if row[1] not in left or row[1] == row[0]]
        if free:
            ordered += free
            left = {source: row for source, row in left.items() if row not in free}
        else:
            source, target, leaves, confidence, why = next(iter(left.values()))
            left[source] = (source, _MARK + target, leaves, confidence, why)
    return ordered
