"""Which parameter of a recipe gets which weight decay and learning rate, by explicit names.

Names, not classes, decide: the authors' own rule (`isinstance(m, InPlaceABNSync)`) silently makes
another recipe as soon as a layer's class changes. Parameters have the same names on both sides.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import ConfigError, UserError
from common.words.patterns import matches

# MichaelFan01/STDC-Seg, train.py and optimizer_loss.py.
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
HEAD_LR_MULTIPLIER = 10.0
# wkentaro/pytorch-fcn, examples/voc/train_fcn32s.py; its weight decay is the same.
FCN_MOMENTUM = 0.99
FCN_BIAS_LR_MULTIPLIER = 2.0
# hszhao/semseg, config/cityscapes/cityscapes_pspnet50.yaml; torchvision's is the same.
PSPNET_WEIGHT_DECAY = 1e-4
# torch.optim.AdamW, whose default is Paddle's, too.
ADAMW_WEIGHT_DECAY = 1e-2
# kazuto1011/deeplab-pytorch, main.py, get_params.
ASPP_BIAS_FACTOR = 2.0

# Prefix under which the parameters of the criterion join those of the net.
CRITERION = "criterion."

_BACKBONE = r"cp\.backbone\."
_FEATURE = _BACKBONE + r"features\.\d+\."
_PATH = r"cp\.(arm16|arm32)\."
_HEAD = r"conv_out(|16|32|_sp2|_sp4|_sp8|_sp16)\."
_AFFINE = r"\.(weight|bias)"

# Role -> patterns; a pattern matches whole names, and a name has exactly one role.
_STDC_ROLES: dict[str, tuple[str, ...]] = {
    "path weights": (
        _FEATURE + r"(conv|conv_list\.\d+\.conv|avd_layer\.0)\.weight",
        _BACKBONE + r"(conv_last\.conv|fc|linear)\.weight",
        _PATH + r"(conv\.conv|conv_atten)\.weight",
        r"cp\.(conv_head32|conv_head16|conv_avg)\.conv\.weight",
    ),
    "path norms": (
        _PATH + r"(conv\.bn|bn_atten)" + _AFFINE,
        r"cp\.(conv_head32|conv_head16|conv_avg)\.bn" + _AFFINE,
    ),
    "head weights": (
        r"ffm\.(convblk\.conv|conv1|conv2)\.weight",
        _HEAD + r"(conv\.conv|conv_out)\.weight",
    ),
    "head norms": (
        r"ffm\.convblk\.bn" + _AFFINE,
        _HEAD + r"conv\.bn" + _AFFINE,
    ),
    "fuse kernel": (re.escape(CRITERION) + r"(detail\.)?fuse_kernel",),
    "backbone norms": (
        _FEATURE + r"(bn|conv_list\.\d+\.bn|avd_layer\.1)" + _AFFINE,
        _BACKBONE + r"(conv_last\.bn|bn)" + _AFFINE,
    ),
}

_FCN_CONV = r"(conv\d_\d|fc6|fc7|score_fr|score_pool3|score_pool4)"
_VGG_LAYER = r"backbone\.(features|classifier)\.\d+"  # fcn8s_vgg16bn: its BatchNorms, too

_FCN_ROLES: dict[str, tuple[str, ...]] = {
    "weights": (_FCN_CONV + r"\.weight", _VGG_LAYER + r"\.weight"),
    "biases": (_FCN_CONV + r"\.bias", _VGG_LAYER + r"\.bias"),
    "upsampling": (r"upscore(2|8|16|_pool4)?\.weight",),
}

_PSPNET_ROLES: dict[str, tuple[str, ...]] = {
    "body": (r"layer[0-4]\..+",),
    "heads": (r"(ppm|cls|aux)\..+",),
}
_TORCHVISION_ROLES: dict[str, tuple[str, ...]] = {
    "body": (r"(backbone|classifier)\..+",),
    "heads": (r"aux_classifier\..+",),
}
_GLORE_ROLES: dict[str, tuple[str, ...]] = {
    "body": (r"backbone\..+",),
    "heads": (r"(conv|glore|classifier|aux)\..+",),
}
_DEEPLABV2_ROLES: dict[str, tuple[str, ...]] = {
    "weights": (r"base\.layer[1-5]\.(.+\.)?conv\.weight",),
    "aspp weights": (r"base\.aspp\.c\d\.weight",),
    "aspp biases": (r"base\.aspp\.c\d\.bias",),
    "norms": (r"base\.layer[1-5]\.(.+\.)?bn" + _AFFINE,),
}


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share their settings. `lr_multiplier` multiplies the schedule's rate."""

    role: str
    names: tuple[str, ...]
    weight_decay: float
    lr_multiplier: float


@dataclass(frozen=True)
class ParamPlan:
    """Every parameter in exactly one place: a group (never an empty one), or `not_optimized`."""

    groups: tuple[ParamGroup, ...]
    not_optimized: tuple[str, ...]


def stdc_param_plan(
    names: Iterable[str],
    *,
    weight_decay: float = WEIGHT_DECAY,
    head_lr_multiplier: float = HEAD_LR_MULTIPLIER,
    train_backbone_norm: bool = False,
) -> ParamPlan:
    """Plan STDC-Seg's optimizer for the parameters called `names` (the criterion's prefixed).

    Weight decay acts on convolution and linear weights only, plus the fuse kernel of the detail
    loss, which gets a zero gradient and so does nothing but decay. Feature fusion and all output
    heads learn `head_lr_multiplier` times as fast.

    train_backbone_norm: the authors collect the affine parameters of `InPlaceABNSync` only, so
    those of the backbone's plain BatchNorms are in no group and stay at their ImageNet values
    (their running statistics still move). False keeps that, for it is what the published numbers
    were trained with; True trains them, without decay.

    Raises UserError naming the parameters that have no role, ConfigError for a negative number.
    Source: MichaelFan01/STDC-Seg, optimizer_loss.py and get_params in models/model_stages.py.
    """
    if not weight_decay >= 0 or not head_lr_multiplier >= 0:
        raise ConfigError(
            f"weight_decay is {weight_decay}, head_lr_multiplier {head_lr_multiplier}; "
            "neither may be below 0"
        )
    by_role = _sort_by_role(names, _STDC_ROLES, "STDC")
    not_optimized: list[str] = [] if train_backbone_norm else by_role.pop("backbone norms")
    settings = {
        "path weights": (weight_decay, 1.0),
        "path norms": (0.0, 1.0),
        "head weights": (weight_decay, head_lr_multiplier),
        "head norms": (0.0, head_lr_multiplier),
        "fuse kernel": (weight_decay, 1.0),
        "backbone norms": (0.0, 1.0),
    }
    groups = (
        ParamGroup(role, tuple(members), *settings[role])
        for role, members in by_role.items()
        if members
    )
    return ParamPlan(tuple(groups), tuple(not_optimized))


def fcn_param_plan(
    names: Iterable[str],
    *,
    weight_decay: float = WEIGHT_DECAY,
    bias_lr_multiplier: float = FCN_BIAS_LR_MULTIPLIER,
) -> ParamPlan:
    """Plan FCN's optimizer for the parameters called `names`.

    Biases learn `bias_lr_multiplier` times as fast and without decay. The transposed convolutions
    are in no group: they stay bilinear. BatchNorms, which only `fcn8s_vgg16bn` has, are grouped
    like the rest.

    Raises UserError naming the parameters that have no role, ConfigError for a negative number.
    Source: wkentaro/pytorch-fcn, examples/voc/train_fcn32s.py, get_parameters.
    """
    if not weight_decay >= 0 or not bias_lr_multiplier >= 0:
        raise ConfigError(
            f"weight_decay is {weight_decay}, bias_lr_multiplier {bias_lr_multiplier}; "
            "neither may be below 0"
        )
    by_role = _sort_by_role(names, _FCN_ROLES, "FCN")
    groups = (
        ParamGroup("weights", tuple(by_role["weights"]), weight_decay, 1.0),
        ParamGroup("biases", tuple(by_role["biases"]), 0.0, bias_lr_multiplier),
    )
    return ParamPlan(tuple(group for group in groups if group.names), tuple(by_role["upsampling"]))


def pspnet_param_plan(
    names: Iterable[str],
    *,
    weight_decay: float = PSPNET_WEIGHT_DECAY,
    head_lr_multiplier: float = HEAD_LR_MULTIPLIER,
) -> ParamPlan:
    """Plan PSPNet's optimizer: pyramid and heads learn `head_lr_multiplier` times as fast.

    Weight decay acts on everything. Raises UserError naming the parameters that have no role,
    ConfigError for a negative number. Source: hszhao/semseg, tool/train.py.
    """
    return _two_rates(names, _PSPNET_ROLES, "PSPNet", weight_decay, head_lr_multiplier)


def torchvision_param_plan(
    names: Iterable[str],
    *,
    weight_decay: float = PSPNET_WEIGHT_DECAY,
    aux_lr_multiplier: float = HEAD_LR_MULTIPLIER,
) -> ParamPlan:
    """Plan the optimizer of torchvision's nets: only the auxiliary head learns faster.

    Weight decay acts on everything. Raises UserError naming the parameters that have no role,
    ConfigError for a negative number. Source: torchvision, references/segmentation/train.py.
    """
    return _two_rates(names, _TORCHVISION_ROLES, "torchvision", weight_decay, aux_lr_multiplier)


def glore_param_plan(
    names: Iterable[str],
    *,
    weight_decay: float = PSPNET_WEIGHT_DECAY,
    head_lr_multiplier: float = HEAD_LR_MULTIPLIER,
) -> ParamPlan:
    """Plan GloRe's optimizer as PSPNet's: all but the backbone learns faster.

    Our own choice: the authors published no code for segmentation. Raises UserError naming the
    parameters that have no role, ConfigError for a negative number.
    """
    return _two_rates(names, _GLORE_ROLES, "GloRe", weight_decay, head_lr_multiplier)


def deeplabv2_param_plan(
    names: Iterable[str],
    *,
    weight_decay: float = WEIGHT_DECAY,
    aspp_lr_multiplier: float = HEAD_LR_MULTIPLIER,
) -> ParamPlan:
    """Plan DeepLabV2's optimizer: the pyramid's weights learn `aspp_lr_multiplier` times as fast.

    Its biases learn twice as fast as those, without decay. BatchNorms are in no group. Raises
    UserError naming the parameters that have no role, ConfigError for a negative number.
    Source: kazuto1011/deeplab-pytorch, main.py, get_params.
    """
    _check_not_negative(weight_decay=weight_decay, aspp_lr_multiplier=aspp_lr_multiplier)
    by_role = _sort_by_role(names, _DEEPLABV2_ROLES, "DeepLabV2")
    fast = aspp_lr_multiplier
    groups = (
        ParamGroup("weights", tuple(by_role["weights"]), weight_decay, 1.0),
        ParamGroup("aspp weights", tuple(by_role["aspp weights"]), weight_decay, fast),
        ParamGroup("aspp biases", tuple(by_role["aspp biases"]), 0.0, fast * ASPP_BIAS_FACTOR),
    )
    return ParamPlan(tuple(group for group in groups if group.names), tuple(by_role["norms"]))


def plain_param_plan(
    names: Iterable[str],
    *,
    weight_decay: float = PSPNET_WEIGHT_DECAY,
    groups: Sequence[Mapping[str, Any]] = (),
) -> ParamPlan:
    """Plan one group of everything, but for what `groups` names by patterns.

    groups: of `match`, a regular expression that is looked for in the names, `lr_multiplier` and
    `weight_decay` (None: the common one). The first that finds a name has it.

    Raises ConfigError for a negative number, and for a pattern that finds nothing.
    """
    _check_not_negative(weight_decay=weight_decay)
    rest, planned = list(names), []
    known = tuple(rest)
    for number, group in enumerate(groups):
        decay = weight_decay if group["weight_decay"] is None else group["weight_decay"]
        _check_not_negative(weight_decay=decay, lr_multiplier=group["lr_multiplier"])
        pattern, key = group["match"], f"optimizer.groups[{number}].match"
        found = [name for name in found_by(pattern, known, key) if name in rest]
        if not found:
            raise ConfigError(
                f"{key} is {pattern!r}: every parameter that it finds is in a group above it; "
                "put the narrower pattern first"
            )
        rest = [name for name in rest if name not in found]
        planned.append(ParamGroup(pattern, tuple(found), decay, group["lr_multiplier"]))
    everything = ParamGroup("all", tuple(rest), weight_decay, 1.0)
    return ParamPlan((*planned, *([everything] if rest else [])), ())


def found_by(pattern: str, names: Sequence[str], key: str, what: str = "parameter") -> list[str]:
    """Return the `names` in which the regular expression `pattern` is found anywhere.

    key: of the config, which a ConfigError names where there is none, with what was meant.
    """
    found = [name for name in names if matches(pattern, name)]
    if found:
        return found
    plain = re.sub(r"[\\^$*+?()\[\]|]", "", pattern).strip(".")
    parts = [name.split(".") for name in names]
    beginnings = {".".join(own[:length]) for own in parts for length in range(1, len(own) + 1)}
    known = sorted(beginnings | {part for own in parts for part in own if not part.isdigit()})
    near = difflib.get_close_matches(plain, known, n=3, cutoff=0.5)
    meant = f"did you mean {', '.join(near)}? " if near else ""
    listed = ", ".join(names[:3])
    raise ConfigError(
        f"{key} is {pattern!r}, which is found in no {what}; {meant}"
        f"There are {len(names)}: {listed}, ..."
    )


def _two_rates(
    names: Iterable[str],
    roles: Mapping[str, tuple[str, ...]],
    recipe: str,
    weight_decay: float,
    head_lr_multiplier: float,
) -> ParamPlan:
    """Plan a group "body" and a group "heads" that learns faster, with one decay for both."""
    _check_not_negative(weight_decay=weight_decay, lr_multiplier=head_lr_multiplier)
    by_role = _sort_by_role(names, roles, recipe)
    groups = (
        ParamGroup("body", tuple(by_role["body"]), weight_decay, 1.0),
        ParamGroup("heads", tuple(by_role["heads"]), weight_decay, head_lr_multiplier),
    )
    return ParamPlan(tuple(group for group in groups if group.names), ())


def _check_not_negative(**settings: float) -> None:
    for name, value in settings.items():
        if not value >= 0:
            raise ConfigError(f"{name} is {value}; set 0 or more")


def _sort_by_role(
    names: Iterable[str], roles_of_recipe: Mapping[str, tuple[str, ...]], recipe: str
) -> dict[str, list[str]]:
    by_role: dict[str, list[str]] = {role: [] for role in roles_of_recipe}
    unknown = []
    for name in names:
        roles = [
            role
            for role, patterns in roles_of_recipe.items()
            if any(re.fullmatch(pattern, name) for pattern in patterns)
        ]
        if len(roles) == 1:
            by_role[roles[0]].append(name)
        else:
            unknown.append(name)
    if unknown:
        raise UserError(
            f"{', '.join(unknown)}: {recipe}'s recipe gives no optimizer group to a parameter of "
            "this name, so it would be left untrained; name it in common/param_groups.py, or "
            "freeze it"
        )
    return by_role
