"""Turns comparisons that differ into divergences: source lines of both sides, and causes."""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from align.judge.comparison import DIFFERS, Comparison
from align.judge.words import AVERAGE, OPTIMIZER, Cause, Words, joined, listed
from align.nets.calls import code_of, source_of
from align.pairing.attributes import other_settings
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.pairing.static import hidden_layers
from align.report.report import Divergence, Layer, Report, part_of_recipe, subject
from align.report.sources import is_container, users_line

# So many layers with one cause are told in one line, too.
MANY = 3
# So many numbers that no value shows are told, and how many more there are.
MOST_NUMBERS = 8
# Causes that a wrong gradient has of its own, whatever a layer's settings are.
OF_GRADIENTS = ("no_gradient", "gradient_through_constant")


def blame(
    report: Report,
    sides: Sides[Reference],
    rename: Callable[[Comparison], Comparison] | None = None,
    recipe: Mapping[str, Layer] | None = None,
) -> Report:
    """Fill `report.divergences` from `report.calls`; return the report.

    A layer whose output differs and that has another static attribute or another weight than its
    partner gets that as the cause. What differs at several steps is one divergence, at the first.
    `rename` changes the layers' names in the end. `recipe` is {`OPTIMIZER`, `SCHEDULE`, `AVERAGE`:
    what is known of it}, of which steps judge what it did.
    """
    report.layers = describe_layers(sides)
    wrong = [call for call in report.calls if call.verdict == DIFFERS]
    causes = _causes(sides, {c.layer for c in wrong}) if wrong else {}
    layers, partners = sides.layers, sides.pairing.partners
    seen: set[tuple[str, str, str]] = set()
    for call in wrong:
        if call.kind == "layer" and call.layer in causes:
            call.cause = _together(causes[call.layer], call)
        hint = _other_settings(sides.reference, layers, partners, call.layer)
        own = call.kind == "glue" or (call.kind == "layer" and call.layer not in causes)
        if hint and own:
            call.cause = joined([call.cause, hint])
        if call.cause and call.cause.begins("raises") and not call.layer:
            call.cause = call.cause.also(joined(hidden_layers(sides.port)))
    sources = {
        path: _users_lines(sides, path) for path in {call.layer for call in wrong} & set(partners)
    }
    report.notes[:0] = _shared_causes(report.layers, wrong)
    report.notes += _other_numbers(sides, {call.layer for call in wrong}, rename)
    if rename is not None:
        report.layers = {_renamed(path, rename): it for path, it in report.layers.items()}
    for call in report.calls:
        torch_source, paddle_source = sources.get(call.layer, (None, None))
        if rename is not None:
            rename(call)
        if call.verdict == DIFFERS and (whose := _part_of(recipe or {}, call)):
            report.layers[whose] = part = (recipe or {})[whose]
            torch_source, paddle_source = part.torch_source, part.paddle_source
        key = (call.layer, call.where, call.call)
        if call.verdict != DIFFERS or key in seen:
            continue
        seen.add(key)
        report.divergences.append(
            Divergence(
                layer=call.layer,
                where=call.where,
                relative_error=call.relative_error,
                floor=call.floor,
                worst_index=call.worst_index,
                step=call.step,
                cause=call.cause,
                call=call.call,
                torch_source=torch_source,
                paddle_source=paddle_source,
            )
        )
    return report


def _part_of(recipe: Mapping[str, Layer], call: Comparison) -> str:
    """Return the part of the recipe whose fault a difference is, "" for a layer's."""
    if call.at.kind == "average":
        return AVERAGE
    if subject(call) != OPTIMIZER:
        return ""
    whose = part_of_recipe(call, recipe)
    return whose if whose in recipe else ""


def _users_lines(sides: Sides[Reference], path: str) -> tuple[str, str]:
    """Return file:line of the user's code at or around a layer, in the reference and the port."""
    net, partner = sides.reference, sides.pairing.partners[path]
    theirs = users_line(partner, lambda at: net.source(at) if at in net.paths else None)
    ours = users_line(path, lambda at: source_of(sides.layers[at]) if at in sides.layers else None)
    return (
        theirs[1] if theirs else net.source(partner),
        ours[1] if ours else source_of(sides.layers[path]),
    )


def _shared_causes(layers: Mapping[str, Layer], wrong: Sequence[Comparison]) -> list[Words]:
    """Say each cause once that many layers of one class share."""
    sharing: dict[tuple[str, Cause], set[str]] = {}
    for call in wrong:
        if call.cause and call.layer in layers and call.kind not in ("glue", "update"):
            kind = layers[call.layer].torch_class
            sharing.setdefault((kind, call.cause), set()).add(call.layer)
    notes = []
    for (kind, cause), own in sharing.items():
        count = sum(layer.torch_class == kind for layer in layers.values())
        if len(own) >= MANY:
            said = {"layers": kind, "count": len(own), "cause": cause}
            if len(own) == count:
                notes.append(Words("all_of_a_class", **said))
            else:
                notes.append(Words("some_of_a_class", total=count, **said))
    return notes


def _renamed(path: str, rename: Callable[[Comparison], Comparison]) -> str:
    return rename(Comparison(path, "", "", "layer")).layer


def _causes(sides: Sides[Reference], layers: set[str]) -> dict[str, Cause]:
    """Return {layer: what the weights rung says of it}, attributes first."""
    found: dict[str, Cause] = {}
    for call in reversed(sides.at_rest.compare_weights()):
        if call.verdict == DIFFERS and call.layer in layers and call.cause:
            found[call.layer] = call.cause if call.at.kind == "attribute" else _weight(call)
    return found


def _other_settings(
    reference: Reference, layers: Mapping[str, Any], partners: Mapping[str, str], path: str
) -> Cause | None:
    """Say which plain attributes of one name two matched modules hold with other values."""
    if path not in partners:
        return None
    settings = reference.settings(partners[path])
    said = [
        Cause("other_setting", name=name, port=ours, reference=theirs)
        for name, theirs, ours in other_settings(settings, vars(layers[path]))
    ]
    return listed(said) if said else None


def _other_numbers(
    sides: Sides[Reference],
    wrong: set[str],
    rename: Callable[[Comparison], Comparison] | None,
) -> list[Words]:
    """Say which numbers of one name differ in layers that are not `wrong`: inputs may hide them."""
    said = []
    for layer, name, theirs, ours in sides.at_rest.other_numbers():
        if layer not in wrong:
            at = _renamed(layer, rename) if rename else layer
            at = f"{at}.{name}".lstrip(".")
            said.append(Words("attribute", name=at, port=ours, reference=theirs))
    if not said:
        return []
    shown, more = listed(said[:MOST_NUMBERS]), len(said) - MOST_NUMBERS
    shown = Words("and_more", names=shown, count=more) if more > 0 else shown
    return [Words("other_numbers", settings=shown)]


def _together(static: Cause, call: Comparison) -> Cause:
    """Return the cause that the settings or weights are; what its effect looks like gives way."""
    keeps = call.cause is not None and (
        call.relative_error == float("inf") or call.cause.has(*OF_GRADIENTS)
    )
    return static.also(call.cause) if keeps else static


def _weight(call: Comparison) -> Cause:
    return Cause("weight", name=call.at.name, error=call.relative_error, cause=call.cause)


def blame_alone(report: Report) -> Report:
    """Fill `report.divergences` of a stage without nets; return the report."""
    report.divergences = [
        Divergence(
            call.layer,
            call.where,
            call.relative_error,
            call.floor,
            worst_index=call.worst_index,
            cause=call.cause,
        )
        for call in report.calls
        if call.verdict == DIFFERS
    ]
    return report


def describe_layers(sides: Sides[Reference]) -> dict[str, Layer]:
    """Return {path in the port: what is known of the layer}, in the port's order."""
    found, net = {}, sides.reference
    for path, reference in sides.pairing.partners.items():
        layer = sides.layers[path]
        theirs, ours = sides.at_rest.attributes(path)
        found[path] = Layer(
            reference,
            net.class_name(reference),
            type(layer).__name__,
            _code(reference, net.paths, net.code),
            _code(path, sides.layers, lambda at: code_of(sides.layers[at])),
            {name: (theirs[name], ours[name]) for name in theirs if name in ours},
            sum(int(p.size) for p in layer._parameters.values() if p is not None),
        )
    return found


def _code(path: str, paths: Container[str], code: Callable[[str], str]) -> str:
    """Return file:line of what a layer runs; a framework's container runs the code around it."""
    own = code(path)
    if not is_container(own):
        return own
    around = users_line(path, lambda at: code(at) if at in paths else None)
    return around[1] if around else own
