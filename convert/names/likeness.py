"""How alike two paths of layers are: their words, their numbers, their segments."""

import re
from functools import lru_cache

# What layers are called in different codebases; each stands for the first of its row.
_SYNONYMS = {
    word: row[0]
    for row in (
        ("conv", "convs", "convolution"),
        ("bn", "batchnorm", "norm", "batch"),
        ("downsample", "shortcut", "skip", "proj"),
        ("fc", "linear", "dense", "classifier"),
        ("layer", "layers", "stage", "stages", "block", "blocks"),
        ("q", "query", "queries"),
        ("k", "key", "keys"),
        ("v", "value", "values"),
    )
    for word in row
}
MARK = ">"  # stands before a new name that is still another layer's old one


@lru_cache(maxsize=1 << 17)
def likeness(one: str, other: str) -> float:
    """Return how alike two paths are, 0 to 1: the longest common subsequence of their words."""
    a, b = words(one), words(other)
    row = [0] * (len(b) + 1)
    for x in a:
        before = row[:]
        for j, y in enumerate(b):
            row[j + 1] = before[j] + 1 if x == y else max(row[j], before[j + 1])
    return 2 * row[-1] / (len(a) + len(b)) if a or b else 1.0


@lru_cache(maxsize=1 << 14)
def words(path: str) -> tuple[str, ...]:
    """Split a path into words and numbers; synonyms become one word."""
    found = re.findall(r"[a-z]+|\d+", path.lower())
    return tuple(_SYNONYMS.get(word, word) for word in found)


@lru_cache(maxsize=1 << 14)
def numbers(path: str) -> tuple[str, ...]:
    """Return the numbers in a path, in order."""
    return tuple(re.findall(r"\d+", path))


@lru_cache(maxsize=1 << 14)
def skeleton(path: str) -> str:
    """Return a path with "#" for every number."""
    return re.sub(r"\d+", "#", path)


# One step from a path to another: segments a[i] and b[j]; None: there is none on that side.
Step = tuple[int | None, int | None]


@lru_cache(maxsize=1 << 14)
def aligned(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[float, tuple[Step, ...]]:
    """Return (cost, steps) of the cheapest way from the segments of one path to another's."""
    costs = [[float(i + j) for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            costs[i + 1][j + 1] = min(
                costs[i][j] + _exchange(a, b), costs[i][j + 1] + 1, costs[i + 1][j] + 1
            )
    steps: list[Step] = []
    i, j = len(one), len(other)
    while i or j:
        here = costs[i][j]
        if i and j and here == costs[i - 1][j - 1] + _exchange(one[i - 1], other[j - 1]):
            i, j = i - 1, j - 1
            steps.append((i, j))
        elif i and here == costs[i - 1][j] + 1:
            i -= 1
            steps.append((i, None))
        else:
            j -= 1
            steps.append((None, j))
    return costs[-1][-1], tuple(reversed(steps))


@lru_cache(maxsize=1 << 14)
def _exchange(one: str, other: str) -> float:
    """Return what it costs to call a segment otherwise: 0 for none, up to 1."""
    one, other = one.removeprefix(MARK), other.removeprefix(MARK)
    if one == other:
        return 0.0
    if skeleton(one) == skeleton(other):
        return 0.5
    if words(one) == words(other):
        return 0.7
    return 0.9 if numbers(one) == numbers(other) != () else 1.0
