"""What a fault of a port is, and how a stage of alignment is run on a broken subject."""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import align


@dataclass
class Subject:
    """Two nets with the same weights, and all else of a recipe that a stage needs."""

    torch_net: Any = None
    paddle_net: Any = None
    inputs: Any = None
    label: Any = None
    torch_loss: Any = None
    paddle_loss: Any = None
    outputs: Any = None  # what the losses get in the loss stage
    torch_optimizer: Any = None
    paddle_optimizer: Any = None
    torch_schedule: Any = None
    paddle_schedule: Any = None
    torch_average: Any = None
    paddle_average: Any = None
    torch_factory: Any = None
    paddle_factory: Any = None
    torch_batches: Any = None
    paddle_batches: Any = None
    torch_metric: Any = None
    paddle_metric: Any = None
    predictions: Any = None
    stages: tuple[str, ...] = ()  # which a healthy pair is put through
    steps: int = 3

    def layer(self, path: str) -> Any:
        """Return the port's layer at `path`."""
        return dict(self.paddle_net.named_sublayers(include_self=True))[path]


@dataclass(frozen=True)
class Fault:
    """One fault: `apply` breaks a fresh subject; `blame` maps each stage to its layers.

    `cause` is a pattern that some finding's cause must match in every stage of `blame` where a
    layer is named; "" where no cause is defined.
    """

    name: str
    subject: str
    apply: Callable[[Subject], None]
    blame: Mapping[str, frozenset[str]]
    cause: str = ""
    joins: bool = True  # False: it puts another port in place, which loses what broke the first

    def layers(self, stage: str, s: Subject) -> frozenset[str]:
        """Return the layers to blame in `stage`; names of groups stand for their layers."""
        found: set[str] = set()
        for name in self.blame[stage]:
            found |= GROUPS[name](s) if name in GROUPS else {name}
        return frozenset(found)

    def right_cause(self, report: Any) -> bool:
        """Tell whether the report names the cause."""
        causes = [d.cause or "" for d in report.divergences]
        return any(re.search(self.cause, cause) for cause in causes)


# Layers of STDC-Seg that no loss reaches.
UNREACHED = r"conv_out_sp(2|4|16)\.|cp\.backbone\.(conv_last|fc|linear|bn)\."


def _roles(roles: str, unreached: bool) -> Callable[[Subject], set[str]]:
    """Return a function of a subject: the layers of STDC-Seg whose parameters have such roles."""

    def layers(s: Subject) -> set[str]:
        from common.param_groups import stdc_param_plan
        from paddle_impl.optim import trainable_parameters

        names = trainable_parameters(s.paddle_net, s.paddle_loss)
        plan = stdc_param_plan(names, train_backbone_norm=True)
        found = {n for g in plan.groups if re.fullmatch(roles, g.role) for n in g.names}
        reached = {n for n in found if unreached or not re.match(UNREACHED, n)}
        return {n.replace("criterion.", "(loss).").rpartition(".")[0] for n in reached}

    return layers


GROUPS: dict[str, Callable[[Subject], set[str]]] = {
    "HEADS": _roles("head (weights|norms)", unreached=True),
    "DECAYED": _roles("(path|head) weights|fuse kernel", unreached=False),
    "BACKBONE NORMS": _roles("backbone norms", unreached=False),
}

STAGES = (
    *("weights", "init", "forward", "train", "loss", "backward", "step", "training"),
    *("data", "metric"),
)

# Stages that find most faults of a net, and those of them that run it.
NET = "weights forward train backward"
RUN = "forward train backward"

# Mutations that provably change nothing: listed, never counted.
EQUIVALENT: dict[str, str] = {
    "stride by slicing": "stride 2 is stride 1 at every other place",
    "bias of a convolution in front of BatchNorm, train mode": "the batch mean takes it away",
    "ceil_mode where the windows fit": "k2 s2 on even sizes cuts no window",
    "exclusive without padding": "there is no padding to leave out",
    "dropout rate in eval mode": "dropout is the identity there",
    "align_corners for nearest": "the nearest pixel is looked up alike",
    "epsilon 1e-5 against float32(1e-5)": "Paddle holds float32 in any case",
    "order of addends of a sum": "commutes, but for the last bit",
    "softmax before argmax": "monotonous: the classes are the same",
    "momentum of BatchNorm in eval mode": "nothing is updated",
    "nesterov with momentum 0": "both are plain SGD",
    "ReLU twice": "idempotent",
    "weight decay on a frozen parameter": "no optimizer moves it",
}


def fault(
    name: str,
    subject: str,
    apply: Callable[[Subject], None],
    stages: str,
    layers: Iterable[str] | str,
    cause: str = "",
    joins: bool = True,
    **others: Iterable[str] | str,
) -> Fault:
    """Return a Fault; `stages` are blank-separated and share `layers`, `others` have their own."""

    def as_set(names: Iterable[str] | str) -> frozenset[str]:
        return frozenset([names] if isinstance(names, str) else names)

    blame = dict.fromkeys(stages.split(), as_set(layers))
    blame.update({stage: as_set(names) for stage, names in others.items()})
    assert set(blame) <= set(STAGES), blame
    return Fault(name, subject, apply, blame, cause, joins)


def run_stage(stage: str, s: Subject) -> Any:
    """Return the report of one stage ("train" is forward in train mode)."""
    nets, losses = (s.torch_net, s.paddle_net), (s.torch_loss, s.paddle_loss)
    optimizers = (s.torch_optimizer, s.paddle_optimizer)
    averages = {"torch_average": s.torch_average, "paddle_average": s.paddle_average}
    if stage == "weights":
        return align.align_weights(*nets)
    if stage == "init":
        return align.align_init(s.torch_factory, s.paddle_factory, seeds=8)
    if stage in ("forward", "train"):
        return align.align_forward(*nets, s.inputs, train=stage == "train")
    if stage == "loss":
        return align.align_loss(*losses, [s.outputs, s.label])
    if stage == "backward":
        return align.align_backward(*nets, s.inputs)
    if stage == "step":
        return align.align_step(*nets, _batch(s, 0), *losses, *optimizers, **averages)
    if stage == "training":
        batches = [_batch(s, step) for step in range(s.steps)]
        schedules = (s.torch_schedule, s.paddle_schedule)
        made = (*losses, *optimizers, *schedules)
        return align.align_training(*nets, batches, *made, **averages)
    if stage == "data":
        return align.align_data(s.torch_batches(), s.paddle_batches())
    return align.align_metric(s.torch_metric(), s.paddle_metric(), s.predictions)


def _batch(s: Subject, step: int) -> Any:
    """Return another batch at each step: the first one, shifted along."""
    import numpy as np

    label = np.roll(s.label, step, axis=-1)
    if isinstance(s.inputs, Mapping):
        return {**{k: np.roll(v, step, axis=-1) for k, v in s.inputs.items()}, "label": label}
    return [*(np.roll(array, step, axis=-1) for array in s.inputs), label]


def found_layers(report: Any) -> set[str]:
    """Return the layers that a report blames; for data the batch and tensor, the first alone."""
    if report.stage == "data":
        return {d.where for d in report.divergences}
    if report.stage == "metric":
        return {"metric" for d in report.divergences}
    return {d.layer for d in report.divergences}


def triples(faults: Sequence[Fault], count: int, seed: int) -> list[tuple[str, tuple[Fault, ...]]]:
    """Return (stage, three faults) of one subject that do not hide one another."""
    draw = random.Random(seed)
    found: list[tuple[str, tuple[Fault, ...]]] = []
    pool = {(f.subject, stage) for f in faults for stage in f.blame}
    places = sorted(p for p in pool if p[1] in ("weights", "forward", "train", "backward"))
    for _ in range(200 * count):
        if len(found) == count:
            break
        subject, stage = draw.choice(places)
        able = [f for f in faults if f.subject == subject and stage in f.blame and f.joins]
        if len(able) < 3:
            continue
        chosen = tuple(draw.sample(able, 3))
        if _independent([f.blame[stage] for f in chosen]):
            found.append((stage, chosen))
    return found


def _independent(blames: Sequence[frozenset[str]]) -> bool:
    """Tell whether no layer of one is inside a layer of another: glue that is rewritten hides."""
    for i, one in enumerate(blames):
        for other in blames[i + 1 :]:
            if any(_related(a, b) for a in one for b in other):
                return False
    return True


def _related(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


# Ways to break a port.


def attribute(path: str, **values: Any) -> Callable[[Subject], None]:
    """Set attributes of one layer."""

    def apply(s: Subject) -> None:
        for name, value in values.items():
            assert hasattr(s.layer(path), name), (path, name)
            setattr(s.layer(path), name, value)

    return apply


def weight(path: str, change: Callable[[Any], Any], name: str = "weight") -> Callable[..., None]:
    """Change the values of one tensor."""

    def apply(s: Subject) -> None:
        import numpy as np

        tensor = getattr(s.layer(path), name)
        tensor.set_value(np.ascontiguousarray(change(tensor.numpy().copy())))

    return apply


def forward(path: str, replacement: Callable[..., Any]) -> Callable[[Subject], None]:
    """Replace the forward of one layer by `replacement(layer, *inputs)`."""

    def apply(s: Subject) -> None:
        layer = s.layer(path)

        def run(*args: Any, **kwargs: Any) -> Any:
            return replacement(layer, *args, **kwargs)

        layer.forward = run

    return apply


def around(path: str, change: Callable[[Any], Any]) -> Callable[[Subject], None]:
    """Apply `change` to what one layer returns."""

    def apply(s: Subject) -> None:
        layer = s.layer(path)
        inner = layer.forward
        layer.forward = lambda *args, **kwargs: change(inner(*args, **kwargs))

    return apply


def replaced(path: str, make: Callable[[Any], Any]) -> Callable[[Subject], None]:
    """Put another layer in place of one."""

    def apply(s: Subject) -> None:
        above, _, name = path.rpartition(".")
        s.layer(above)._sub_layers[name] = make(s.layer(path))

    return apply


def setting(name: str, value: Any) -> Callable[[Subject], None]:
    """Replace a part of the recipe."""

    def apply(s: Subject) -> None:
        assert hasattr(s, name)
        setattr(s, name, value)

    return apply
