"""What the code of one call computes, function by function, on either side.

The two are held against each other by values: the first function of the port that makes something
the reference never has, of what it has, is where they part. What only rearranges values (a reshape,
a transposition, a cast) is no step: a tensor is known by values that do not hang on their order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from math import prod
from typing import Any

import numpy as np

from align.judge.words import Cause, Words, joined, listed

# Of larger tensors the order of the values is not looked at.
MOST_VALUES = 1 << 22
# Two tensors of one side that differ by less are equal.
EQUAL = 1e-12

# One word for the functions that the frameworks, or operators, call differently.
WORDS = {
    **dict.fromkeys(("radd", "iadd"), "add"),
    **dict.fromkeys(("sub", "rsub", "isub"), "subtract"),
    **dict.fromkeys(("mul", "rmul", "imul"), "multiply"),
    **dict.fromkeys(("div", "truediv", "rtruediv", "itruediv", "rdiv"), "divide"),
    **dict.fromkeys(("bmm", "mm", "rmatmul"), "matmul"),
    **dict.fromkeys(("pow", "rpow"), "power"),
    **dict.fromkeys(("cat", "concatenate"), "concat"),
    **dict.fromkeys(("clamp",), "clip"),
    **dict.fromkeys(("lt",), "less_than"),
    **dict.fromkeys(("gt",), "greater_than"),
    **dict.fromkeys(("le",), "less_equal"),
    **dict.fromkeys(("ge",), "greater_equal"),
    **dict.fromkeys(("eq",), "equal"),
    **dict.fromkeys(("ne",), "not_equal"),
    "gather": "take_along_axis",
}
EITHER_WAY = frozenset(("add", "multiply", "equal", "maximum", "minimum"))


def word_of(function: str) -> str:
    """Return the word for a function of either framework, by its name."""
    name = function.strip("_")
    return WORDS.get(name, name)


@dataclass(eq=False)
class Value:
    """One tensor: what is known of its values, and whether gradients flow to it."""

    shape: tuple[int, ...]
    sums: np.ndarray
    scales: np.ndarray
    flows: bool
    array: np.ndarray | None
    origin: "Value | None" = None  # of which it is a rearrangement

    @property
    def root(self) -> "Value":
        """What it is a rearrangement of, itself if of nothing."""
        return self if self.origin is None else self.origin.root

    def is_same(self, other: "Value", rest: float) -> bool:
        """Tell whether the other holds the same values, in any order, but for `rest`."""
        one, other = self.root, other.root
        if one is other:
            return True
        with np.errstate(over="ignore", invalid="ignore"):  # the largest numbers that there are
            apart = abs(one.sums[2] - other.sums[2])  # of most pairs the norms tell
            far = apart > rest * max(one.scales[2], other.scales[2])
            near = np.abs(one.sums - other.sums) <= rest * np.maximum(one.scales, other.scales)
        if far or prod(one.shape) != prod(other.shape):
            return False
        return bool((near | (one.sums == other.sums)).all())


def value_of(
    array: np.ndarray, flows: bool, origin: Value | None = None, keep: bool = True
) -> Value:
    """Return what is known of `array`, and with `keep` a copy of it where it is not large."""
    wide = np.asarray(array, np.float64 if array.dtype.kind in "biuf" else np.complex128)
    size = np.abs(wide)
    finite = np.where(np.isfinite(size), size, 0.0)
    ends = (wide.real.max(), wide.real.min()) if wide.size else (0.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):  # masks hold the largest that there are
        norm, largest = float((finite * finite).sum()) ** 0.5, float(finite.max(initial=0.0))
        sums = np.array([wide.real.sum(), size.sum(), norm, *ends])
        scales = np.array([finite.sum(), finite.sum(), norm, largest, largest])
    kept = np.array(array) if keep and array.size <= MOST_VALUES else None
    return Value(tuple(array.shape), sums, scales, flows, kept, origin)


@dataclass
class CodeStep:
    """One function that was called: `said` are its other arguments as the code has them.

    `meant` are its settings by name, defaults too, where its signature is known.
    """

    function: str
    said: tuple[str, ...]
    operands: list[Value]
    results: list[Value]
    meant: Mapping[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The word for its function, the same on both sides."""
        return word_of(self.function)


@dataclass
class Steps:
    """The code of one call; `names` are the tensors that it did not make itself.

    `whole` is false where it calls more functions than are taken down.
    """

    steps: list[CodeStep] = field(default_factory=list)
    names: list[tuple[Words, Value]] = field(default_factory=list)
    whole: bool = True
    _index: tuple[int, np.ndarray, np.ndarray, np.ndarray] | None = None

    def holds(self, value: Value, rest: float) -> bool:
        """Tell whether this code ever has the values."""
        one = value.root
        _, sizes, sums, scales = self._indexed()
        with np.errstate(invalid="ignore"):
            near = np.abs(sums - one.sums) <= rest * np.maximum(scales, one.scales)
        near |= sums == one.sums
        return bool((near.all(axis=1) & (sizes == prod(one.shape))).any())

    def _indexed(self) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """Return (their number, sizes, sums, scales) of all values: code may have thousands."""
        number = len(self.steps) + len(self.names)
        if self._index is None or self._index[0] != number:
            found = list({id(value.root): value.root for value in self.values()}.values())
            rows = [np.array([getattr(v, n) for v in found]).reshape(-1, 5) for n in _KNOWN]
            self._index = (number, np.array([prod(v.shape) for v in found]), rows[0], rows[1])
        return self._index

    def values(self) -> Iterator[Value]:
        """Yield every tensor there is."""
        yield from (value for _, value in self.names)
        for step in self.steps:
            yield from step.operands
            yield from step.results

    def code(self, step: CodeStep, rest: float, depth: int = 2) -> Words:
        """Return what a step computes as code would say it, `depth` functions deep."""
        if not depth:
            return Words("code", function=step.word, arguments="...")
        parts = [self.say(operand, rest, depth - 1) or _CONSTANT for operand in step.operands]
        parts += map(Words.told, step.said)
        arguments = listed(parts, "code_and") if parts else ""
        return Words("code", function=step.word, arguments=arguments)

    def say(
        self, value: Value, rest: float, depth: int = 2, but: Words | None = None
    ) -> Words | None:
        """Return in words what a tensor is, None if this code does not have it.

        `but` names a tensor of a layer whose output is not what is asked about.
        """
        path = None if but is None else but.values.get("path")
        for name, other in self.names:
            asked = path is not None and name.values.get("path") == path
            if not asked and value.is_same(other, rest):
                return name
        for step in self.steps:
            if any(value.is_same(result, rest) for result in step.results):
                return self.code(step, rest, depth)
        return None


_CONSTANT = Words("constant")
_KNOWN = ("sums", "scales")


def named(kind: str, index: int | None = None, **values: Any) -> Words:
    """Return the name of a tensor of a call: of several of one kind with its index."""
    return Words(kind, **values) if index is None else Words(f"{kind}_at", index=index, **values)


def parting(reference: Steps, port: Steps, rest: float) -> tuple[CodeStep, CodeStep | None] | None:
    """Return the first step of the port that parts from the reference's, and that one's own.

    Another way to the same values does not part.
    """
    known = {id(s): all(reference.holds(r, rest) for r in s.results) for s in port.steps}
    leads: set[int] = set()  # tensors from which the reference's values come again
    for step in reversed(port.steps):
        if known[id(step)] or any(id(result.root) in leads for result in step.results):
            leads.update(id(operand.root) for operand in step.operands)
    for step in port.steps:
        lost = not known[id(step)] and not any(id(r.root) in leads for r in step.results)
        if lost and step.operands and all(reference.holds(v, rest) for v in step.operands):
            return step, _counterpart(step, reference, port, rest)
    return None


def words_at(step: CodeStep, other: CodeStep | None, port: Steps, rest: float) -> set[str] | None:
    """Return the words for the functions that may be to blame where `step` stands for `other`.

    None where any may be: what `step` takes lies in another order. Where the reference computes
    something else there, it may be missing in what `step` takes.
    """
    if other is not None and other.word == step.word:
        pairs = zip(step.operands, other.operands, strict=False)
        moved = any(
            a.is_same(b, rest) and _moved(a.array, b.array, rest) is not None for a, b in pairs
        )
        return None if moved else {step.word}
    makers = (
        maker
        for maker in port.steps
        if any(r.is_same(operand, EQUAL) for r in maker.results for operand in step.operands)
    )
    return {step.word, *(maker.word for maker in makers)}


def _counterpart(step: CodeStep, reference: Steps, port: Steps, rest: float) -> CodeStep | None:
    """Return the reference's step in its place: of the same operands as far as there is one."""
    best, most = None, 0.0
    for other in reference.steps:
        if all(port.holds(result, rest) for result in other.results):
            continue
        shared = sum(
            any(one.is_same(value, rest) for value in other.operands) for one in step.operands
        )
        points = shared + 0.5 * (step.word == other.word) * bool(shared)
        if points > most:
            best, most = other, points
    alike = (s for s in reference.steps if s.word == step.word)
    missing = (s for s in alike if not all(port.holds(result, rest) for result in s.results))
    return best or next(missing, None)


Handed = tuple[Words, Value, Value]  # a place, the reference's tensor and the port's


@dataclass(frozen=True)
class Instead:
    """What a step of the port is given of the reference: an operand, or with None its result."""

    step: CodeStep
    operand: int | None
    array: np.ndarray


Difference = tuple[Cause, list[Instead]]  # what is said, if these close the gap


def differences(
    reference: Steps, port: Steps, rest: float, orders: bool = True
) -> Iterator[Difference]:
    """Yield how the port's code may differ from the reference's where the two part.

    Each is to be tried. With `orders` another order of values is told, too.
    """
    found = parting(reference, port, rest)
    if found is None or found[1] is None:
        return
    step, other = found[0], found[1]
    if step.word != other.word or len(step.operands) != len(other.operands):
        ours, theirs = reference.code(step, rest), reference.code(other, rest)
        cause = Cause("computes_other", port=ours, reference=theirs)
        yield from _without(cause, step)
        yield from _with_missing(cause, step, other, port, rest)
        yield from _with_result(cause, step, other, rest)
        return
    yield from _other_operands(step, other, reference, port, rest)
    for index, (a, b) in enumerate(zip(step.operands, other.operands, strict=True)):
        moved = _moved(a.array, b.array, rest) if a.is_same(b, rest) else None
        if moved is None or b.array is None or not (orders or moved):
            continue
        operand = {"what": reference.say(a, rest) or _CONSTANT, "number": index + 1}
        kind = {"axes": moved} if moved else {}
        how = "takes_turned" if moved else "takes_reordered"
        cause = Cause(how, function=step.word, **operand, **kind)
        yield cause, [Instead(step, index, b.array)]
    if step.meant and other.meant:  # settings that differ were tried one by one
        return
    apart = _apart(step.said, other.said)
    if not all(apart):  # what one side does not say may be its default
        return
    here, there = (", ".join(each) for each in apart)
    cause = Cause("called_with", function=step.word, port=here, reference=there)
    yield from _with_result(cause, step, other, rest)


def _without(cause: Cause, step: CodeStep) -> Iterator[Difference]:
    """Yield a cause with what a step takes in the place of what it gives: it is one too many."""
    for operand in step.operands if len(step.results) == 1 else ():
        if operand.array is not None and operand.shape == step.results[0].shape:
            yield cause, [Instead(step, None, operand.array)]


def _with_missing(
    cause: Cause, step: CodeStep, other: CodeStep, port: Steps, rest: float
) -> Iterator[Difference]:
    """Yield a cause with the reference's step put before the port's: it is missing there."""
    array = other.results[0].array if len(other.results) == 1 else None
    for operand in step.operands if array is not None else ():
        given = next((b for b in other.operands if operand.is_same(b, rest)), None)
        if given is None or array is None:
            continue
        axes = _moved(operand.array, given.array, rest)
        turned = array.transpose(axes) if axes and len(axes) == array.ndim else array
        if turned.shape != operand.shape:
            continue
        later = port.steps[next(i for i, own in enumerate(port.steps) if own is step) :]
        takes = [
            Instead(own, index, turned)
            for own in later
            for index, value in enumerate(own.operands)
            if value.is_same(operand, EQUAL)
        ]
        yield cause, takes
        yield cause, [each for each in takes if each.step is step]


def _with_result(
    cause: Cause, step: CodeStep, other: CodeStep, rest: float
) -> Iterator[Difference]:
    """Yield a cause with the result of the reference's step in the place of the port's."""
    array = other.results[0].array if len(other.results) == len(step.results) == 1 else None
    if array is None:
        return
    turns = (_moved(a.array, b.array, rest) for a in step.operands for b in other.operands)
    for axes in (None, *dict.fromkeys(tuple(turn) for turn in turns if turn)):
        if axes is not None and len(axes) != array.ndim:
            continue
        turned = array if axes is None else array.transpose(axes)
        if turned.shape == step.results[0].shape:
            yield cause, [Instead(step, None, turned)]


def _other_operands(
    step: CodeStep, other: CodeStep, reference: Steps, port: Steps, rest: float
) -> Iterator[Difference]:
    """Yield that a step takes other tensors than the reference's, or these in another order."""
    pairs = list(enumerate(zip(step.operands, other.operands, strict=True)))
    wrong = [(i, a, b) for i, (a, b) in pairs if not a.is_same(b, rest)]
    if wrong and step.word in EITHER_WAY and len(wrong) == len(pairs) == 2:
        (first, _, theirs), (second, _, also) = wrong
        left = [
            (i, a, b)
            for i, a, b in (
                (first, step.operands[first], also),
                (second, step.operands[second], theirs),
            )
            if not a.is_same(b, rest)
        ]
        wrong = left if len(left) < 2 else wrong
    given = [Instead(step, i, b.array) for i, _, b in wrong if b.array is not None]
    if not wrong or len(given) < len(wrong):
        return
    if len(wrong) > 1 and _is_order([(a, b) for _, a, b in wrong], rest):
        yield Cause("operands_reordered", function=step.word), given
        return
    causes = []
    for _, a, b in wrong:
        ours, theirs_said = (reference.say(value, rest) or _CONSTANT for value in (a, b))
        causes.append(Cause("takes_other", function=step.word, port=ours, reference=theirs_said))
    said = joined(causes)
    assert said is not None
    yield said, given
    for both in _exchanged(reference, port, (wrong[0][1], wrong[0][2]), rest):
        yield said.also(Cause("exchanged")), [*given, both]


def handed_in_words(
    reference: Steps, pairs: Iterable[Handed], rest: float, orders: bool = True
) -> Cause | None:
    """Say what the port hands to a layer, or returns, and the reference something else.

    `pairs` are what the two hand on; both are known by their values.
    """
    for name, theirs, ours in pairs:
        if not ours.is_same(theirs, rest):
            made = [reference.say(value, rest, but=name) for value in (ours, theirs)]
            if all(made) and made[0] != made[1]:
                return Cause("is_other", place=name, port=made[0], reference=made[1])
        elif orders and (moved := _moved(ours.array, theirs.array, rest)) is not None:
            if moved:
                return Cause("comes_turned", place=name, axes=moved)
            return Cause("comes_reordered", place=name)
    return None


def _apart(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments, as "name=value" or "value", that the other call has not.

    Where both name an argument and give it other values, these only: what one side does not say
    is a default of the other. So is what is False.
    """
    left = [
        [word for word in one if not any(_is_same(word, each) for each in other)]
        for one, other in ((ours, theirs), (theirs, ours))
    ]
    names = [{word.partition("=")[0] for word in each if "=" in word} for each in left]
    both = names[0] & names[1]
    kept = [
        [w for w in each if w.partition("=")[0] in both or not (both or w.endswith("=False"))]
        for each in left
    ]
    return kept[0], kept[1]


def _is_same(one: str, other: str) -> bool:
    """Tell whether both are one argument, which one of the two calls may not name."""
    named = ("=" in one) == ("=" in other)
    return one == other if named else one.rpartition("=")[2] == other.rpartition("=")[2]


def _is_order(pairs: Sequence[tuple[Value, Value]], rest: float) -> bool:
    theirs = [b for _, b in pairs]
    for a, _ in pairs:
        found = next((b for b in theirs if a.is_same(b, rest)), None)
        if found is None:
            return False
        theirs.remove(found)
    return True


def _exchanged(
    reference: Steps, port: Steps, pair: tuple[Value, Value], rest: float
) -> Iterator[Instead]:
    """Yield where the port takes the one for the reference's other one, too."""
    ours, theirs = pair
    for word in dict.fromkeys(step.word for step in reference.steps):
        lines = [[s for s in steps.steps if s.word == word] for steps in (port, reference)]
        for mine, yours in zip(*lines, strict=False):
            for index, (a, b) in enumerate(zip(mine.operands, yours.operands, strict=False)):
                swapped = a.is_same(theirs, rest) and b.is_same(ours, rest)
                if swapped and not ours.is_same(a, rest) and b.array is not None:
                    yield Instead(mine, index, b.array)
                    return


def _moved(ours: np.ndarray | None, theirs: np.ndarray | None, rest: float) -> list[int] | None:
    """Return the axes in whose order the same values lie: none where the order is unknown.

    None where they lie as the reference's.
    """
    if ours is None or theirs is None or ours.ndim != theirs.ndim or not ours.size:
        return None
    allowed = rest * float(np.abs(np.nan_to_num(theirs)).max() or 1.0)
    if ours.shape == theirs.shape and np.allclose(ours, theirs, 0, allowed, equal_nan=True):
        return None
    for axes in permutations(range(ours.ndim)) if ours.ndim <= 5 else ():
        turned = theirs.transpose(axes)
        if turned.shape == ours.shape and np.allclose(ours, turned, 0, allowed, equal_nan=True):
            return list(axes)
    return []


def stopped(reference: Steps, port: Steps, rest: float) -> Cause | None:
    """Say where gradients flow on one side and not on the other, None where nowhere."""
    for step in port.steps:
        for index, operand in enumerate(step.operands):
            theirs = _flow_in(reference, step, index, rest)
            if theirs is not None and theirs != operand.flows:
                kind = "operand_detached" if theirs else "operand_not_detached"
                what = reference.say(operand, rest) or _CONSTANT
                return Cause(kind, what=what, function=step.word)
    return None


def stopped_at(pairs: Iterable[Handed]) -> Cause | None:
    """Say the same of what the two hand to layers and return."""
    for name, theirs, ours in pairs:
        if theirs.flows != ours.flows:
            return Cause("detached" if theirs.flows else "not_detached", what=name)
    return None


def _flow_in(reference: Steps, step: CodeStep, index: int, rest: float) -> bool | None:
    """Return whether gradients flow to the operand of the reference's same step."""
    for other in reference.steps:
        same = other.word == step.word and len(other.operands) == len(step.operands)
        if same and all(
            a.is_same(b, rest) for a, b in zip(step.operands, other.operands, strict=True)
        ):
            return other.operands[index].flows
    return None
