"""Finds out which net of the table a file of Paddle holds, by names and shapes alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from common.errors import ConversionError, UserError
from common.pairs import PAIRS, Pair, get_pair
from convert.names.rules import Rules, resolve, shipped_for_paddle
from convert.nets.recognise import Misfit, Recognised, Shapes, fits_none
from convert.nets.rows import describe_row

_VARIANT_NOTE = (
    "Paddle's files hold nothing that tells {} apart; the first was taken. To choose another, "
    "give the net itself as model"
)


def recognise_port(
    shapes: Shapes,
    row: str | None = None,
    num_classes: int | None = None,
    rules: Rules | None = None,
) -> tuple[Recognised, Rules]:
    """Return the row that a file of Paddle's names and layouts fits, and the rules that lead there.

    Args:
        shapes: name in the file -> shape.
        row: the only row to try.
        num_classes: what the user says it is; the file decides.
        rules: instead of those that are shipped for files of Paddle.

    Raises:
        ConversionError: none fits; names the nearest one and what differs.
        UserError: rows that differ in more than options fit, or the row is unknown.
    """
    asked = list(PAIRS.items()) if row is None else [(row, get_pair(row))]
    found: list[tuple[Misfit, Rules]] = []
    for name, pair in asked:
        for chosen in (rules,) if rules is not None else (Rules(), *shipped_for_paddle(name)):
            found += [(m, chosen) for m in _misfits(name, pair, shapes, chosen)]
    if not found:
        wanted = row or "any net of the table"
        raise ConversionError(f"the file has no head that {wanted} has; give its rules with --map")
    fitting = [(m.candidate, chosen) for m, chosen in found if not m.count]
    if not fitting:
        nearest = min((m for m, _ in found), key=lambda misfit: misfit.count)
        raise ConversionError(fits_none(nearest, len(shapes)))
    if len({net.row for net, _ in fitting}) > 1:
        listed = "; ".join(str(net) for net, _ in fitting)
        raise UserError(f"the file fits several nets: {listed}. Choose one with --model")
    net, chosen = fitting[0]
    _check_classes(net, num_classes)
    if len(fitting) > 1:
        listed = " and ".join(str(net) for net, _ in fitting)
        chosen = chosen + Rules(notes=(_VARIANT_NOTE.format(listed),))
    return net, chosen


def _check_classes(net: Recognised, num_classes: int | None) -> None:
    held = net.options.get(net.pair.classes_option)
    if num_classes is not None and num_classes != held:
        raise ConversionError(
            f"{net.pair.classes_key}: the file has {held} classes, asked for were {num_classes}; "
            f"leave out --num-classes or set it to {held}"
        )


def _misfits(row: str, pair: Pair, shapes: Shapes, rules: Rules) -> Iterator[Misfit]:
    file = {name: tuple(shapes[key]) for name, key in resolve(shapes, rules).sources.items()}
    head = file.get(pair.classes_key)
    if not head:
        return
    classes = head[-1] if len(head) == 2 else head[0]  # Paddle's Linear is [in, out]
    variants: tuple[Mapping[str, Any], ...] = (rules.options,) if rules.options else pair.variants
    for variant in variants:
        told = {pair.classes_option: classes, **pair.told_by(file)}
        candidate = Recognised(row, {**told, **variant})
        net = {spec.key: spec.shape for spec in describe_row(row, candidate.options)}
        yield Misfit(
            candidate,
            counters=0,
            absent=tuple(k for k in net if k not in file and not rules.absence(k)),
            unknown=tuple(name for name in file if name not in net),
            reshaped=tuple(
                f"{k} (file {file[k]}, net {net[k]})"
                for k in net
                if k in file and file[k] != net[k]
            ),
        )
