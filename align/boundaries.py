"""Layers that end or begin elsewhere in the port, while what they are made of does the same.

The reference's `Sequential(conv, norm, relu)` may be `relu(Sequential(conv, norm))` in a port: no
layer inside is wrong and no value that another layer gets, only the line between a container and
the code around it has moved. Such a container is judged as a part of that code.
"""

import math
from collections.abc import Callable, Mapping

from align.found import Forced
from align.judge import DIFFERS, Comparison

# So many containers are tried one by one, when all at once is no explanation.
ONE_BY_ONE = 4


def across_moved_boundaries(
    found: Forced,
    align: Callable[[set[int]], Forced],
    is_seen: Callable[[Forced, str], bool | None],
) -> Forced:
    """Return `found`, or what is found with containers taken apart whose boundary alone moved.

    `align` runs again with groups of the pairing as glue. A container that lost a part of its code
    stays as it was found: what uses its result differs then, or nothing does, which `is_seen`
    tells of a module of the reference.
    """
    suspects = _suspects(found)
    attempts = [suspects] if suspects else []
    taken: set[int] = set()
    best = found
    while attempts:
        groups = attempts.pop()
        trial = align(taken | groups)
        if not _explains(trial, found, taken | groups):
            if 1 < len(groups) <= ONE_BY_ONE:
                attempts += [{group} for group in groups]
            continue
        seen = {group for group in groups if _all_seen(trial, group, is_seen)}
        if seen == groups:
            taken |= groups
            best = trial
        elif seen:
            attempts.append(seen)
    best.notes += [
        f"{port} begins or ends at another place of the code than in the reference: it is judged "
        "as a part of the layer around it"
        for port, group in found.pairing.port_group.items()
        if group in taken
    ]
    return best


def _suspects(found: Forced) -> set[int]:
    """Return the groups of containers whose own code does not return the reference's values."""
    judged = found.judged.port_group
    glue = {call.layer for call in _wrong(found) if call.kind == "glue"}
    return {judged[path] for path in glue & judged.keys() if path and _holds(path, judged)}


def _all_seen(trial: Forced, group: int, is_seen: Callable[[Forced, str], bool | None]) -> bool:
    modules = trial.pairing.reference_group.items()
    return all(is_seen(trial, path) for path, of in modules if of == group)


def _holds(path: str, paths: Mapping[str, int]) -> bool:
    return any(other.startswith(f"{path}.") for other in paths)


def _wrong(found: Forced) -> list[Comparison]:
    """Return the values that differ; gradients follow them, whoever is blamed."""
    return [call for call in found.values if call.verdict == DIFFERS]


def _explains(trial: Forced, found: Forced, groups: set[int]) -> bool:
    """Tell whether only findings of `groups` are gone, and none is new or has another size."""
    pairing = found.pairing
    apart = {
        path
        for side in (pairing.port_group, pairing.reference_group)
        for path, group in side.items()
        if group in groups
    }
    before = {_key(call): call.relative_error for call in _wrong(found)}
    after = {_key(call): call.relative_error for call in _wrong(trial)}
    gone = before.keys() - after.keys()
    same = all(
        key in before and math.isclose(error, before[key], rel_tol=1e-6)
        for key, error in after.items()
    )
    return same and bool(gone) and all(apart & {key[0], key[1].rpartition("#")[0]} for key in gone)


def _key(call: Comparison) -> tuple[str, str, str]:
    return call.layer, call.call, call.where
