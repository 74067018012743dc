"""Which parameter of a recipe gets which weight decay and learning rate, by explicit names.

Names, not classes, decide: the authors' own rule (`isinstance(m, InPlaceABNSync)`) silently makes
another recipe as soon as a layer's class changes. Parameters have the same names on both sides.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from common.errors import ConfigError, UserError

# MichaelFan01/STDC-Seg, train.py and optimizer_loss.py.
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
HEAD_LR_MULTIPLIER = 10.0

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
    by_role = _sort_by_role(names)
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


def _sort_by_role(names: Iterable[str]) -> dict[str, list[str]]:
    by_role: dict[str, list[str]] = {role: [] for role in _STDC_ROLES}
    unknown = []
    for name in names:
        roles = [
            role
            for role, patterns in _STDC_ROLES.items()
            if any(re.fullmatch(pattern, name) for pattern in patterns)
        ]
        if len(roles) == 1:
            by_role[roles[0]].append(name)
        else:
            unknown.append(name)
    if unknown:
        raise UserError(
            f"{', '.join(unknown)}: STDC's recipe gives no optimizer group to a parameter of this "
            "name, so it would be left untrained; name it in common/param_groups.py, or freeze it"
        )
    return by_role
