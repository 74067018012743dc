"""What a row of the table of nets holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

IMAGE_SIZE = "image_size"  # option of nets that take square images of one size


@dataclass(frozen=True)
class Told:
    """An option of a factory that a tensor's shape tells: (length of `axis` + plus) * times.

    A length that makes no multiple of `step`, or more than `most`, tells nothing. share_of: the
    option is a share of so many, 0.5 where 64 are halved.
    """

    key: str
    axis: int = 0
    plus: int = 0
    times: int = 1
    step: int = 1
    most: int = 4096
    share_of: int | None = None

    def of(self, shapes: Mapping[str, Sequence[int]]) -> float | None:
        """Return the option that a file with tensors of `shapes` was made with, None if unknown."""
        shape = shapes.get(self.key, ())
        if len(shape) <= self.axis:
            return None
        value = (shape[self.axis] + self.plus) * self.times
        if not 0 < value <= self.most or value % self.step:
            return None
        return value if self.share_of is None else value / self.share_of


@dataclass(frozen=True)
class Pair:
    """A net that exists on both sides under the same names.

    Attributes:
        module: file under `models/` of both packages, without `.py`.
        factory: function or class in that file; called with `settings` and a caller's overrides.
        settings: keyword arguments that make this row out of the factory.
        default_input: shape of the input that commands use when none is given: [N, C, H, W], or
            [N, C, D, H, W] of a net of volumes.
        rules: files of `convert/rules/` (without `.yml`) that say what its checkpoints call things.
        classes_key: tensor of the reference whose first dimension is the number of classes.
        classes_option: keyword argument of the factory that sets it.
        more_classes: of the net than of the data set it is trained on: "no object", say.
        variants: overrides that change which tensors exist; recognition tries them in this order.
        told: option of the factory -> the tensor of the reference whose shape tells it.
        subtrees: places ("row:path", or "row" for its root) of other rows whose names and shapes
            this row's checkpoint fills.
        subtree_rules: place -> file of `convert/rules/` that says what is called otherwise there,
            or absent.
        paper: title, venue and year.
        source: where the authors' code and weights are.
        weights_licence: licence under which the authors publish the weights.
        task: what it is for: a row of `common.evaluation.evaluator.EVALUATORS`, or what no config
            trains: "classification", a backbone, and `WITHOUT_DATA`.
        minimum_batch: images that training needs at least: 2 where a BatchNorm sees 1x1 maps.
    """

    module: str
    factory: str
    default_input: tuple[int, ...]
    rules: tuple[str, ...]
    classes_key: str
    paper: str
    source: str
    weights_licence: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    classes_option: str = "num_classes"
    more_classes: int = 0
    variants: tuple[Mapping[str, Any], ...] = ({},)
    told: Mapping[str, Told] = field(default_factory=dict)
    subtrees: tuple[str, ...] = ()
    subtree_rules: Mapping[str, str] = field(default_factory=dict)
    task: str = "semantic"
    minimum_batch: int = 1

    def told_by(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """Return the options, but for the classes, that tensors of `shapes` tell, by `told`."""
        found = {option: told.of(shapes) for option, told in self.told.items()}
        return {option: value for option, value in found.items() if value is not None}

    def input_of(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """Return `default_input`, of `image_size` where the net made with `options` has one."""
        size = options.get(IMAGE_SIZE)
        return self.default_input if size is None else (*self.default_input[:2], size, size)
