"""Things of the user's own in a config: `module:callable` of each side, or one for both.

A section that has `torch`, `paddle` or `both` is of the kind `own`; its callables are loaded by
`commands/subjects`, here they are names.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from common.errors import ConfigError
from common.settings.section import AtLeast0, Positive, Section

OWN = "own"
FRAMEWORKS = ("torch", "paddle")
_SAYS_OWN = (*FRAMEWORKS, "both")
# Sections that can be own, and the key whose value says of which kind a section is.
KIND_OF = {
    "model": "kind",
    "data": "dataset",
    "loss": "name",
    "optimizer": "name",
    "schedule": "name",
    "metric": "name",
    "augmentation": "name",  # in data
}


def _callable(spec: str) -> str:
    module, _, name = spec.partition(":")
    if not module or not name or ":" in name:
        raise ValueError("expected MODULE:CALLABLE, as in my_pkg.nets:build")
    return spec


Spec = Annotated[str, AfterValidator(_callable)]
Arguments = Annotated[dict[str, Any], Field(default_factory=dict)]


class Given(NamedTuple):
    """A callable that a config names for one side.

    key: of the config, below its section: torch, paddle or both. spec: "module:callable".
    arguments: keyword arguments that go with it.
    """

    key: str
    spec: str
    arguments: dict[str, Any]


class OwnOfEach(Section):
    """A callable a side; `args` go to both, the other arguments to their side."""

    torch: Spec | None = None
    paddle: Spec | None = None
    args: Arguments
    torch_args: Arguments
    paddle_args: Arguments

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.torch or self.paddle or getattr(self, "both", None)):
            raise ValueError("names no callable: give torch and paddle as MODULE:CALLABLE")
        return self

    def of(self, framework: str, section: str) -> Given:
        """Return what `section` names for "torch" or "paddle".

        Raises ConfigError where that is not set.
        """
        arguments = {**self.args, **getattr(self, f"{framework}_args")}
        for key in (framework, "both"):
            if spec := getattr(self, key, None):
                return Given(key, spec, arguments)
        other = next(name for name in FRAMEWORKS if name != framework)
        raise ConfigError(
            f"{section}.{framework} is not set, and {section}.{other} is: give MODULE:CALLABLE"
        )

    @property
    def options(self) -> dict[str, Any]:
        """The callables and what they are called with, as far as they are set."""
        names = (*_SAYS_OWN, "args", "torch_args", "paddle_args")
        return {name: value for name in names if (value := getattr(self, name, None))}


class OwnOfBoth(OwnOfEach):
    """A callable a side, or `both`: one that knows no framework."""

    both: Spec | None = None

    @model_validator(mode="after")
    def _one_or_two(self) -> Self:
        if self.both and (self.torch or self.paddle):
            raise ValueError(
                "both stands for torch and paddle: give one or the other (null takes one away)"
            )
        return self


class OwnModel(OwnOfEach):
    """Callables that return the reference (a torch Module) and the port (a paddle Layer)."""

    kind: Literal["own"] = "own"
    num_classes: Positive  # of the label, for data and metric; the callables get `args` alone
    rules: str | None = None  # a rules file: how names differ
    task: Literal["semantic", "panoptic", "instances"] = "semantic"
    minimum_batch: Positive = 1

    @property
    def net_classes(self) -> int:
        """Classes of the net: those of the label."""
        return self.num_classes

    @property
    def name(self) -> str:
        """What reports call it."""
        return str(self.paddle or self.torch)


class OwnLoss(OwnOfEach):
    """Criteria of (outputs, label): functions, or classes of modules."""

    name: Literal["own"]


class OwnOptimizer(OwnOfEach):
    """Functions of the list of parameters that return an optimizer."""

    name: Literal["own"]


class OwnSchedule(OwnOfBoth):
    """`both`: a function of the step, from 0, that returns the rate.

    `torch` is called with the optimizer, `paddle` with nothing: they return a scheduler, which is
    stepped after every update.
    """

    name: Literal["own"]
    base_lr: AtLeast0 | None = None  # of an optimizer of our own; none: the first rate


class InOptimizer(Section):
    """The schedulers that own optimizers hold are stepped after every update."""

    name: Literal["in_optimizer"]
    base_lr: None = None

    @property
    def options(self) -> dict[str, Any]:
        """It has none."""
        return {}


class OwnAugmentation(OwnOfBoth):
    """Functions of (image, label) and, where they take it, `rng`: arrays in, arrays out."""

    name: Literal["own"]


class OwnMetric(OwnOfBoth):
    """Functions of (prediction, label), or classes with `update` and `compute`.

    `void`: labels may hold `data.ignore_index`; false: none does, and how it counts is not asked.
    """

    name: Literal["own"]
    void: bool = True


def named_own(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tree of a config with the kind of every section that says `torch` or so filled in.

    A `model` that names neither is a row of the table.
    """
    found = dict(tree)
    for section, kind in KIND_OF.items():
        value = found.get(section)
        if not isinstance(value, Mapping):
            continue
        if kind not in value and any(key in value for key in _SAYS_OWN):
            value = {kind: OWN, **value}
        elif section == "model" and kind not in value and "name" in value:
            value = {kind: "row", **value}
        found[section] = named_own(value) if section == "data" else value
    return found
