"""Layers that end or begin elsewhere in the port, while what they are made of does the same.

The reference's `Sequential(conv, norm, relu)` may be `relu(Sequential(conv, norm))` in a port: no
layer inside is wrong and no value that another layer gets, only the line between a container and
the code around it has moved. Such a container is judged as a part of that code.
"""

import math
import re
from collections.abc import Callable, Generator, Mapping

from align.judge.comparison import DIFFERS, Comparison
from align.judge.where import Where
from align.judge.words import Words
from align.pairing.tensors import ancestors
from align.trial.findings import Findings

FindingKey = tuple[str, str, str]  # layer, call and where of a finding


def across_moved_boundaries(
    is_seen: Callable[[Findings, str], bool | None], most: int
) -> Generator[frozenset[int], Findings, Findings]:
    """Yield the groups of the pairing to run as glue, none at first; gets what each run found.

    Returns the first of these, or what was found with containers taken apart whose boundary alone
    moved. A container that lost a part of its code stays as it was found: what uses its result
    differs then, or nothing does, which `is_seen` tells of a module of the reference.

    After the first run `most` more are asked for: with all containers at once, then without those
    that this showed not to be it, or where it showed none with those of one place of the code each
    (`blocks.0` and `blocks.1` are of one), then one by one.
    """
    found = yield frozenset()
    suspects = _suspects(found)
    attempts = [suspects] if suspects else []
    taken: set[int] = set()
    best = found
    whole: tuple[set[int], Findings] | None = None
    for _ in range(most):
        if not attempts:
            break
        groups = attempts.pop(0)
        trial = yield frozenset(taken | groups)
        places = _places(groups, found)
        if not _explains(trial, found, taken, groups):
            wrong = _shown_wrong(trial, found, taken | groups) & groups
            apart = places if len(places) > 1 else _one_by_one(groups)
            attempts += [groups] if wrong else apart
            attempts = [left for each in attempts if (left := each - wrong)]
            continue
        seen = {group for group in groups if _all_seen(trial, group, is_seen)}
        if seen != groups:
            attempts += [seen] if seen else []
        elif len(places) > 1 and not _keys(trial) <= _keys(found):
            whole = groups, trial
            attempts += places  # of faults inside, those that are apart have no name of their own
        else:
            taken |= groups
            best = trial
    if whole is not None and len(_wrong(whole[1])) < len(_wrong(best)):
        taken, best = whole
    if taken:
        _name_containers(best, found, taken)
    best.notes += [
        Words("boundary_moved", path=port)
        for port, group in found.pairing.port_group.items()
        if group in taken
    ]
    return best


def _suspects(found: Findings) -> set[int]:
    """Return the groups of containers whose own code does not return the reference's values.

    And of those that are paired by what they hold alone which get others: what their code takes, or
    in which order, is as much a guess.
    """
    judged = found.judged.port_group
    wrong = _wrong(found)
    glue = {call.layer for call in wrong if call.kind == "glue"}
    own = {judged[path] for path in glue & judged.keys() if path and _holds(path, judged)}
    called = {_called(_key(call)) for call in wrong}
    theirs = found.judged.reference_group.items()
    return own | {group for path, group in theirs if path in called} & found.judged.by_content


def _all_seen(trial: Findings, group: int, is_seen: Callable[[Findings, str], bool | None]) -> bool:
    modules = trial.pairing.reference_group.items()
    return all(is_seen(trial, path) for path, of in modules if of == group)


def _holds(path: str, paths: Mapping[str, int]) -> bool:
    return any(other.startswith(f"{path}.") for other in paths)


def _wrong(found: Findings) -> list[Comparison]:
    """Return the values that differ; gradients follow them, whoever is blamed."""
    return [call for call in found.values if call.verdict == DIFFERS]


def _places(groups: set[int], found: Findings) -> list[set[int]]:
    """Return the groups of each place of the code."""
    places: dict[str, set[int]] = {}
    for path, group in found.judged.port_group.items():
        if group in groups:
            places.setdefault(re.sub(r"\d+", "*", path), set()).add(group)
    return list(places.values())


def _one_by_one(groups: set[int]) -> list[set[int]]:
    return [{group} for group in sorted(groups)] if len(groups) > 1 else []


def _explains(trial: Findings, found: Findings, taken: set[int], groups: set[int]) -> bool:
    """Tell whether findings of `groups` are gone, and none is new or has another size.

    Of all others only those of `taken` are gone, which were taken apart before.

    A fault inside of a container is one of the code around it in `trial`; and what that code hands
    to the container in another form differs where a layer inside gets it.
    """
    apart = _paths(found, taken | groups)
    before = {_key(call): call.relative_error for call in _wrong(found)}
    left: set[FindingKey] = set()
    inside = False
    for call in _wrong(trial):
        key = _key(call)
        if key not in before:
            old = _as_before(call, before, apart)
            if old is None:
                return False
            inside = inside or old[1:] != key[1:]
            key = old
        elif not _is_close(call.relative_error, before[key]):
            return False
        left.add(key)
    ends = [{key[0], _called(key)} for key in before.keys() - left]
    own = _paths(found, groups)
    if inside:  # what comes out of other containers may be what differs there
        apart = {_called(key) for key, error in before.items() if _is_form(key, error)} & apart
    return any(own & end for end in ends) and all(apart & end for end in ends)


def _shown_wrong(trial: Findings, found: Findings, dissolved: set[int]) -> set[int]:
    """Return the groups of `dissolved` of which no boundary alone has moved.

    Every call runs on the reference's tensors, so what differs anew in the code around a container
    differs as well where that container alone is taken apart, unless another one lies there too.
    """
    apart = _paths(found, dissolved)
    before = {_key(call): call.relative_error for call in _wrong(found)}
    anew = {
        call.layer
        for call in _wrong(trial)
        if not _is_close(call.relative_error, before.get(_key(call), math.nan))
        and (_key(call) in before or _as_before(call, before, apart) is None)
    }
    judged = trial.judged.port_group
    lying: dict[str, set[int]] = {}
    for path, group in found.pairing.port_group.items():
        if group in dissolved:
            around = [p for p in ancestors(path)[:-1] if judged.get(p, group) not in dissolved]
            lying.setdefault(around[-1] if around else "", set()).add(group)
    return {group for path in anew for group in lying.get(path, ()) if len(lying[path]) == 1}


def _as_before(
    call: Comparison, before: Mapping[FindingKey, float], apart: set[str]
) -> FindingKey | None:
    """Return the finding that one blamed on the code around a container of `apart` stands for."""
    for key, error in before.items():
        same = key[1:] == _key(call)[1:] and math.isfinite(error)
        if same and key[0] in apart and _is_close(call.relative_error, error):
            return key
    for key, error in before.items():
        handed = _is_form(key, error) and _called(key) in apart
        if handed and _called(_key(call)).startswith(f"{_called(key)}."):
            return key
    return None


def _name_containers(best: Findings, found: Findings, taken: set[int]) -> None:
    """Blame what differs inside of a container that was taken apart as `found` has it."""
    apart = _paths(found, taken)
    before = {_key(call): call.relative_error for call in _wrong(found)}
    renamed: dict[str, str] = {}
    kept: set[str] = set()
    for call in _wrong(best):
        old = None if _key(call) in before else _as_before(call, before, apart)
        if old is None:
            kept.add(call.layer)
        else:
            renamed[call.layer] = call.layer = old[0]
    for call in best.gradients:
        if call.verdict == DIFFERS and call.kind == "glue" and call.layer not in kept:
            call.layer = renamed.get(call.layer, call.layer)


def _paths(found: Findings, groups: set[int]) -> set[str]:
    """Return the paths of groups, of both sides."""
    pairing = found.pairing
    sides = (pairing.port_group, pairing.reference_group)
    return {path for side in sides for path, group in side.items() if group in groups}


def _is_form(key: FindingKey, error: float) -> bool:
    """Tell whether something arrives at a layer in another form: another shape or number."""
    return Where.of(key[2]).kind == "input" and math.isinf(error)


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6)


def _called(key: FindingKey) -> str:
    """Return the path of the call at whose boundary something was found."""
    return key[1].rpartition("#")[0]


def _keys(found: Findings) -> set[FindingKey]:
    return {_key(call) for call in _wrong(found)}


def _key(call: Comparison) -> FindingKey:
    return call.layer, call.call, call.where
