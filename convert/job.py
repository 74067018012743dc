"""What is to be converted into what: finds the net, its rules and its place for a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from common.errors import ConversionError, UserError
from common.pairs import PAIRS, Pair, get_pair
from common.words.typed import command
from convert.conversion import RulesLike, rules_for
from convert.formats.checkpoint import Checkpoint
from convert.names.rules import Rules, load_rules, resolve
from convert.names.spec import PADDLE, TensorSpec
from convert.nets.generic import describe_without_net
from convert.nets.recognise import Recognised, recognise
from convert.nets.recognise_port import recognise_port
from convert.nets.rows import describe_row


@dataclass(frozen=True)
class Job:
    """What to convert into what. `net` is the file's row, None for a stranger's layer."""

    checkpoint: Checkpoint
    target: Sequence[TensorSpec]
    rules: Rules
    pair: Pair | None
    net: Recognised | None
    into: str | None = None
    row_rules: Rules | None = None  # of the row alone, where `rules` also lead into a place
    parts: tuple[str, ...] = ("",)  # what of the place the file fills

    @property
    def prefix(self) -> str:
        """Place of the file's net in the target, "" or ending in a dot."""
        place = self.into.partition(":")[2] if self.into else ""
        return f"{place}." if place else ""


def job_of(
    checkpoint: Checkpoint,
    model: Any,
    rules: RulesLike,
    num_classes: int | None,
    into: str | None,
    generic: bool = False,
) -> Job:
    """Return the job that `convert_checkpoint` was asked for; raises what it says it raises."""
    if generic:
        if model is not None or into or num_classes is not None:
            raise UserError("generic goes without a net: leave out model, into and num_classes")
        own = load_rules(rules)
        return Job(checkpoint, describe_without_net(checkpoint, own), own, None, None)
    if model is not None and not isinstance(model, str):
        return _job_of_layer(checkpoint, model, rules, num_classes, into)
    if checkpoint.framework == PADDLE:
        return _job_of_port(checkpoint, model, rules, num_classes, into)
    own_rules = None if rules is None else load_rules(rules)
    try:
        checkpoint, net = _recognise(checkpoint, model, num_classes, own_rules)
    except ConversionError as error:
        if checkpoint.path.suffix.lower() != ".onnx":
            raise
        raise ConversionError(f"{error}\n{_of_a_graph(checkpoint)}") from None
    chosen = rules_for(net.pair, rules)
    if into is None:
        return Job(checkpoint, describe_row(net.row, net.options), chosen, net.pair, net)
    check_place(net.row, into, str(net))
    target = describe_row(into.partition(":")[0], {})
    if into not in net.pair.subtree_rules:
        return Job(checkpoint, target, chosen, None, net, into)
    adapted = chosen + load_rules(net.pair.subtree_rules[into])
    parts = {name.partition(".")[0] + "." for name in resolve(checkpoint, adapted).sources}
    return Job(checkpoint, target, adapted, None, net, into, chosen, tuple(sorted(parts)))


def _of_a_graph(checkpoint: Checkpoint) -> str:
    """Say why a graph fits no row where its net does, and what can be made of it."""
    graph = command("convert_graph", checkpoint.path, "-o", "net_paddle")
    return (
        "A graph has no batch counters, and no layers that eval mode leaves out: convert the "
        f"checkpoint that it was exported from. `{graph}` makes a Paddle net of the graph itself"
    )


def row_of_layer(checkpoint: Checkpoint, layer: Any, rules: Rules) -> Recognised:
    """Return the row of a layer that `paddle_impl.build_model` built; UserError for another."""
    row = getattr(layer, "pair_name", None)
    if row is None:
        raise UserError(
            "only nets of the table can be verified here, which need a layer of "
            "paddle_impl.build_model; align two nets of your own with align.align_forward"
        )
    return recognise(checkpoint.shapes, row, rules=rules)


def _job_of_layer(
    checkpoint: Checkpoint, layer: Any, rules: RulesLike, num_classes: int | None, into: str | None
) -> Job:
    if into or num_classes is not None:
        raise UserError("into and num_classes go with a row of the table, not with a layer")
    from convert.nets.describe_paddle import describe

    pair = PAIRS.get(getattr(layer, "pair_name", ""))
    target = describe(layer)
    chosen = rules_for(pair, rules)
    return Job(_as_the_net_has_it(checkpoint, target, chosen), target, chosen, pair, None)


def _as_the_net_has_it(
    checkpoint: Checkpoint, target: Sequence[TensorSpec], rules: Rules
) -> Checkpoint:
    """Put back a removed prefix (`backbone.`) where more names fit with it than without."""
    wanted = {spec.key if checkpoint.framework == PADDLE else spec.torch_key for spec in target}

    def fitting(candidate: Checkpoint) -> int:
        return len(wanted & set(resolve(candidate, rules).sources))

    candidates = [checkpoint, *_with_prefixes(checkpoint)]
    return max(candidates, key=fitting)


def _with_prefixes(checkpoint: Checkpoint) -> list[Checkpoint]:
    parts = checkpoint.prefix.split(".")[:-1]
    return [
        checkpoint.with_prefix(".".join(parts[i:]) + ".") for i in range(len(parts) - 1, -1, -1)
    ]


def _recognise(
    checkpoint: Checkpoint, row: str | None, num_classes: int | None, rules: Rules | None
) -> tuple[Checkpoint, Recognised]:
    """Return the row of a file of torch, and the file with the prefixes that the row has."""
    candidates = [checkpoint, *_with_prefixes(checkpoint)]
    for candidate in candidates[:-1]:
        try:
            return candidate, recognise(candidate.shapes, row, num_classes, rules)
        except ConversionError:
            continue
    try:
        return candidates[-1], recognise(candidates[-1].shapes, row, num_classes, rules)
    except ConversionError:
        if len(candidates) == 1:
            raise
    return checkpoint, recognise(checkpoint.shapes, row, num_classes, rules)  # raises its own


def _job_of_port(
    checkpoint: Checkpoint,
    row: str | None,
    rules: RulesLike,
    num_classes: int | None,
    into: str | None,
) -> Job:
    """Return the job for a file that has Paddle's names and layouts already."""
    if into:
        raise UserError(f"{checkpoint.path}: into goes with files of PyTorch, this is Paddle's")
    own_rules = None if rules is None else load_rules(rules)
    net, chosen = recognise_port(checkpoint.shapes, row, num_classes, own_rules)
    target = describe_row(net.row, net.options)
    return Job(checkpoint, target, chosen, net.pair, net)


def check_place(row: str, into: str, held: str | None = None) -> None:
    """Raise where the table does not say that `row` fills the place `into`.

    held: the row with the options that the file tells.
    """
    pair = get_pair(row)
    if into in pair.subtrees:
        return
    get_pair(into.partition(":")[0])
    places: dict[str, list[str]] = {}
    for name, other in PAIRS.items():
        for place in other.subtrees:
            places.setdefault(place, []).append(name)
    if into in places:
        raise ConversionError(
            f"the file holds {held or row}, but {into} is filled by {' or '.join(places[into])}; "
            f"{row} fits into: {', '.join(pair.subtrees) or 'no other net'}"
        )
    raise UserError(f"no place is called {into!r}; there are: {', '.join(places)}")


def described(job: Job, model: Any) -> Mapping[str, Any]:
    """Return what the account says about the net."""
    if job.net:
        return {"row": job.net.row, "options": dict(job.net.options), "into": job.into}
    return {"row": None, "layer": None if model is None else type(model).__name__}


def with_row(job: Job, model: Any) -> Job:
    """Return `job` with the row of its layer, which verification needs.

    Raises UserError for a file of Paddle.
    """
    if job.checkpoint.framework == PADDLE:
        raise UserError(
            f"{job.checkpoint.path}: a file of Paddle cannot be verified against PyTorch; "
            "convert it with verify=False (--no-verify)"
        )
    return job if job.net else replace(job, net=row_of_layer(job.checkpoint, model, job.rules))
