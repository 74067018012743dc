"""Pairs the modules and tensors of two nets, with the rules file of their conversion."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from align.nets.whole import NET, unwrapped
from align.pairing.boundaries import Boundaries
from align.pairing.by_path import Pairing, pair_by_path
from align.pairing.by_rules import renamed_paths
from align.pairing.layouts.settle import settled
from align.pairing.reference import Reference
from align.pairing.sides import Sides
from align.pairing.tensors import join

if TYPE_CHECKING:
    from convert.names.rules import Rules
    from convert.names.spec import TensorSpec
    from convert.plan.move import Move

Given = TypeVar("Given", bound=Reference)


def pair_nets(reference: Given, paddle_net: Any, rules: Any = None) -> Sides[Given]:
    """Pair two nets, or two `NetWithLoss`s, by path; return both as the sides of a report.

    `rules` rename the reference's paths first, of the net alone where it has its loss around it.
    They are what `convert.names.rules.load_rules` takes: the file that the conversion uses. Raises
    ConfigError for a wrong file.
    """
    from align.nets.layers_paddle import layer_paths
    from convert.names.rules import Rules, load_rules
    from convert.nets.describe_paddle import describe as describe_port

    read = settled(reference, paddle_net, load_rules(rules)).rules or Rules()
    theirs, ours = reference.specs(), describe_port(paddle_net)
    modules, prefix = reference.paths, NET if reference.is_whole else ""
    paths, guessed = layer_paths(paddle_net), set[str]()
    if rules is not None:
        keys = [spec.key for spec in theirs]
        modules, guessed = _renamed(modules, keys, read, prefix, paths)
    pairing = pair_by_path(modules, paths)
    led = {first for first, every in reference.paths.items() if guessed.intersection(every)}
    content = {group for path, group in pairing.reference_group.items() if path in led}
    pairing = replace(pairing, by_content=frozenset(content))
    pairing = _with_tensors(pairing, theirs, ours, read, prefix)
    boundaries = Boundaries(read.boundaries, reference.is_whole)
    return Sides(reference, paddle_net, pairing, ours, boundaries)


def _renamed(
    modules: Mapping[str, Sequence[str]],
    keys: Sequence[str],
    rules: "Rules",
    prefix: str,
    port: Mapping[str, Sequence[str]],
) -> tuple[dict[str, list[str]], set[str]]:
    """Rename what lies under `prefix`; the rest keeps its paths. See `renamed_paths`."""
    there = [path for paths in port.values() for path in paths]
    if not prefix:
        return renamed_paths(modules, keys, rules, there)

    def cut(names: Sequence[str]) -> list[str]:
        dotted = [f"{name}." for name in names if f"{name}.".startswith(prefix)]
        return [name.removeprefix(prefix).removesuffix(".") for name in dotted]

    inner = {first: cut(paths) for first, paths in modules.items()}
    found, guessed = renamed_paths(inner, cut(keys), rules, cut(there))
    led = {
        first: [
            *(f"{prefix}{path}".removesuffix(".") for path in found[first]),
            *(path for path in paths if not f"{path}.".startswith(prefix)),
        ]
        for first, paths in modules.items()
    }
    return led, {f"{prefix}{path}" for path in guessed}


def _with_tensors(
    pairing: Pairing,
    reference: "Sequence[TensorSpec]",
    port: "Sequence[TensorSpec]",
    rules: "Rules",
    prefix: str,
) -> Pairing:
    """Add what the layers' partners do not say of the tensors: pieces, other places, exceptions."""
    from convert.plan.plan import as_the_rules_say, pair_tensors

    known = {spec.key for spec in reference}
    theirs = [unwrapped(spec, prefix) for spec in reference if spec.key.startswith(prefix)]
    ours = [unwrapped(spec, prefix) for spec in port if spec.key.startswith(prefix)]
    moves, dropped = pair_tensors(theirs, ours, rules)
    elsewhere: dict[str, Move] = {}
    absent, partners = {}, pairing.partners
    layouts = {}
    for spec in port:
        said = as_the_rules_say(unwrapped(spec, prefix), rules).said
        if said is not None and len(spec.shape) == 2:
            layouts[spec.key] = said
        partner = partners.get(spec.layer)
        name = spec.key.removeprefix(prefix)
        same_shape = rules.shape(name) is None
        if partner is not None and join(partner, spec.role) in known and same_shape:
            continue
        move = moves.get(name)
        if move is not None:
            elsewhere[spec.key] = replace(move, source=prefix + move.source)
        elif reason := rules.absence(name):
            absent[spec.key] = reason
    why = {prefix + key: reason for key, reason in dropped.items()}
    return replace(pairing, moves=elsewhere, dropped=why, absent=absent, layouts=layouts)
