"""Finds out which net of the table a checkpoint holds, by names and shapes alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import ConversionError, UserError
from common.pairs import PAIRS, Pair, get_pair
from convert.names.prefixes import code_hint
from convert.names.rules import Rules, resolve, shipped_rules
from convert.names.spec import COUNTER
from convert.nets.rows import shapes_of
from convert.plan.problems import FOLDED, NO_COUNTERS

Shapes = Mapping[str, tuple[int, ...]]
_NAMED = 3


@dataclass(frozen=True)
class Recognised:
    """A row of the table and the options that make the checkpoint's net out of it."""

    row: str
    options: Mapping[str, Any]

    @property
    def pair(self) -> Pair:
        """The row itself."""
        return PAIRS[self.row]

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.row} ({options})" if options else self.row


@dataclass(frozen=True)
class Misfit:
    """How a file differs from one candidate; all empty where it fits.

    `counters` is how many batch counters the file has.
    """

    candidate: Recognised
    counters: int
    absent: tuple[str, ...]
    unknown: tuple[str, ...]
    reshaped: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of differing tensors."""
        return len(self.absent) + len(self.unknown) + len(self.reshaped)

    @property
    def only_counters_absent(self) -> bool:
        """Whether it would fit, had the file any batch counter."""
        counters = [name for name in self.absent if name.endswith(COUNTER)]
        return len(counters) == self.count and self.counters == 0

    @property
    def is_folded(self) -> bool:
        """Whether the file has biases of convolutions where it lacks BatchNorms."""
        norms = any(name.endswith(".running_mean") for name in self.absent)
        biases = [name for name in self.unknown if name.endswith(".bias")]
        return norms and len(biases) == len(self.unknown) > 0

    def __str__(self) -> str:
        parts = [
            _group(self.absent, "absent from the file"),
            _group(self.unknown, "in the file and not in the net"),
            _group(self.reshaped, "of another shape"),
        ]
        return f"{self.candidate}: " + "; ".join(part for part in parts if part)


def recognise(
    shapes: Shapes,
    row: str | None = None,
    num_classes: int | None = None,
    rules: Rules | None = None,
) -> Recognised:
    """Return the row of the table and its options that fit a file exactly.

    Args:
        shapes: name in the file -> shape.
        row: the only row to try, if the user says so.
        num_classes: what the user says it is; the file decides.
        rules: instead of each row's own.

    Raises:
        ConversionError: none fits; names the nearest one and what differs.
        UserError: several fit, or the row is unknown.
    """
    asked = list(PAIRS.items()) if row is None else [(row, get_pair(row))]
    # A net without its head fits no row, so the others need not be built.
    likely = [(name, pair) for name, pair in asked if _head_of(pair, shapes, rules)]
    misfits = [m for name, pair in likely for m in _misfits(name, pair, shapes, rules)]
    fitting = [misfit.candidate for misfit in misfits if not misfit.count]
    if not fitting:
        raise ConversionError(_why_not(row, shapes, rules))
    if len(fitting) > 1:
        listed = "; ".join(map(str, fitting))
        raise UserError(f"the file fits several nets: {listed}. Choose one with --model")
    found = fitting[0]
    held = found.options[found.pair.classes_option]
    if num_classes is not None and num_classes != held:
        raise ConversionError(
            f"{found.pair.classes_key}: the file has {held} classes, asked for were "
            f"{num_classes}; leave out --num-classes or set it to {held}"
        )
    return found


def counters_decide(pair: Pair) -> bool:
    """Whether only batch counters tell which BatchNorms a checkpoint of `pair` was trained with."""
    return any({"head_norm", "norm"} & variant.keys() for variant in pair.variants)


def _why_not(row: str | None, shapes: Shapes, rules: Rules | None) -> str:
    """Say why none of the rows that were asked for fits, and which other row does."""
    misfits = [m for name, pair in PAIRS.items() for m in _misfits(name, pair, shapes, rules)]
    asked = [misfit for misfit in misfits if row in (None, misfit.candidate.row)]
    nearest = min(asked, key=lambda misfit: misfit.count)
    if nearest.only_counters_absent:
        return f"{nearest.candidate.row}: {NO_COUNTERS}"
    if nearest.is_folded:
        return f"the file does not fit {nearest}\n{FOLDED}"
    if row is None:
        return fits_none(nearest, len(shapes)) + code_hint(nearest.unknown, nearest.absent)
    if held := [str(misfit.candidate) for misfit in misfits if not misfit.count]:
        return f"the file does not fit {row}: it holds {' or '.join(held)}"
    hint = code_hint(nearest.unknown, nearest.absent)
    return f"the file does not fit {row}. Nearest is {nearest}{hint}"


def fits_none(nearest: Misfit, count: int) -> str:
    """Say that a file of `count` tensors is of no net of the table, and what to do with it."""
    own = (
        "For a net of your own give its port, a callable that returns a paddle.nn.Layer: "
        "--model PACKAGE.MODULE:CALLABLE; without a port yet: --generic"
    )
    if len(nearest.unknown) == count:
        return f"the file fits no net of the table, none has a tensor of these names. {own}"
    return f"the file fits no net of the table. Nearest is {nearest}. {own}"


def _head_of(pair: Pair, shapes: Shapes, rules: Rules | None) -> tuple[int, ...] | None:
    """Return the shape of the tensor that tells the number of classes, None if it is absent."""
    names = resolve(shapes, shipped_rules(pair.rules) if rules is None else rules)
    key = names.sources.get(pair.classes_key)
    return None if key is None else tuple(shapes[key])


def _misfits(row: str, pair: Pair, shapes: Shapes, rules: Rules | None) -> Iterator[Misfit]:
    rules = shipped_rules(pair.rules) if rules is None else rules
    names = resolve(shapes, rules)
    file = {name: tuple(shapes[key]) for name, key in names.sources.items()}
    head = file.get(pair.classes_key)
    classes = {pair.classes_option: head[0]} if head else {}
    for variant in pair.variants:
        candidate = Recognised(row, {**classes, **pair.told_by(file), **variant})
        net = shapes_of(row, candidate.options)
        net = {name: net[key] for name, key in resolve(net, rules).sources.items()}
        # torch before 0.4.1 wrote no counters. Where they tell variants apart they must be there.
        if not counters_decide(pair) and not any(name.endswith(COUNTER) for name in file):
            net = {name: shape for name, shape in net.items() if not name.endswith(COUNTER)}
        yield _compare(candidate, file, net)


def _compare(candidate: Recognised, file: Shapes, net: Shapes) -> Misfit:
    return Misfit(
        candidate,
        counters=sum(name.endswith(COUNTER) for name in file),
        absent=tuple(name for name in net if name not in file),
        unknown=tuple(name for name in file if name not in net),
        reshaped=tuple(
            f"{name} (file {file[name]}, net {net[name]})"
            for name in net
            if name in file and file[name] != net[name]
        ),
    )


def _group(names: tuple[str, ...], words: str) -> str:
    if not names:
        return ""
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {words} ({', '.join(names[:_NAMED])}{more})"
