"""The few ways in which what is ambiguous may be paired, each whole."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice, permutations, product
from math import factorial, prod

from convert.names.proposal import Proposal

MOST = 6  # ways that are tried: each is a pass of both nets


def choices(found: Proposal) -> list[dict[str, str]]:
    """Return the ways to pair what is ambiguous, [] where there are none or more than `MOST`.

    Where calls and names contradict each other all go by the calls, or all by the names.
    """
    doubted = {path: found.ambiguous[path] for path in found.doubts}
    by_evidence = [{path: pair[side] for path, pair in doubted.items()} for side in (0, 1)]
    classes: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path, targets in found.ambiguous.items():
        if path not in doubted:
            classes[targets].append(path)
    count = prod(factorial(len(targets)) for targets in classes) * (2 if doubted else 1)
    if not found.ambiguous or count > MOST:
        return []
    made = [
        {path: target for part in parts for path, target in part.items()}
        for parts in product(by_evidence if doubted else [{}], *map(list, _ways(classes)))
    ]
    whole = [one for one in made if len(set(one.values())) == len(one)]
    return [one for one in whole if found.settled(one, 0.0, "").is_whole]


def _ways(classes: Mapping[tuple[str, ...], list[str]]) -> Iterator[Iterator[dict[str, str]]]:
    """Yield, for each class, the ways to pair its layers."""
    for targets, paths in classes.items():
        orders = islice(permutations(targets, len(paths)), MOST + 1)
        yield (dict(zip(paths, order, strict=True)) for order in orders)
