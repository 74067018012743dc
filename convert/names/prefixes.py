"""Names that would fit with a prefix less or more, as where only a part of a net was wrapped."""

import re
from collections import Counter
from collections.abc import Iterable


def prefix_of(longer: Iterable[str], shorter: Iterable[str]) -> tuple[str, list[str]]:
    """Return the prefix without which most of `longer` are among `shorter`, and which those are.

    ("", []) where none is.
    """
    wanted, found = set(shorter), Counter[str]()
    names = list(longer)
    for name in names:
        for dot in re.finditer(r"\.", name):
            if name[dot.end() :] in wanted:
                found[name[: dot.end()]] += 1
                break
    if not found:
        return "", []
    prefix = found.most_common(1)[0][0]
    return prefix, [n for n in names if n.startswith(prefix) and n.removeprefix(prefix) in wanted]


def rules_hint(unknown: Iterable[str], missing: Iterable[str]) -> str:
    """Return the rule that takes a prefix off `unknown` names of the file, or puts it on."""
    unknown, missing = list(unknown), list(missing)
    prefix, fitting = prefix_of(unknown, missing)
    if prefix:
        return (
            f"{len(fitting)} names would fit without {prefix!r}; in a rules file (--map):\n"
            f"  renames: [{{match: '^{re.escape(prefix)}', to: ''}}]"
        )
    prefix, fitting = prefix_of(missing, unknown)
    if not prefix:
        return ""
    first = dict.fromkeys(n.removeprefix(prefix).partition(".")[0] for n in fitting)
    match = f"^({'|'.join(map(re.escape, first))})\\."
    return (
        f"{len(fitting)} names would fit with {prefix!r} before them; in a rules file (--map):\n"
        f"  renames: [{{match: '{match}', to: '{prefix}\\1.'}}]"
    )


def code_hint(unknown: Iterable[str], missing: Iterable[str]) -> str:
    """Return the lines that take a prefix off some names of a file, in PyTorch, else ""."""
    prefix, fitting = prefix_of(unknown, missing)
    if not prefix:
        return ""
    return (
        f".\n{len(fitting)} names would fit without {prefix!r}. In PyTorch, with the state dict:\n"
        f"    state = {{name.removeprefix({prefix!r}): value for name, value in state.items()}}\n"
        "    torch.save(state, 'weights.pth')"
    )
