"""What stands for the machinery of transformers 5: settings of parts, outputs of layers."""

from typing import Any

import pytest

paddle = pytest.importorskip("paddle")

from paddle import nn

from port.helpers.libraries.transformers_outputs_paddle import (
    OutputRecorder,
    capture_outputs,
    filter_output_hidden_states,
    merge_with_config_defaults,
)
from port.helpers.libraries.transformers_settings_paddle import PreTrainedConfig, SubConfigSpec


class Small(PreTrainedConfig):
    model_type = "small"
    attribute_map = {"depth": "num_hidden_layers"}  # noqa: RUF012  # as the package has them
    num_hidden_layers: int = 2
    sizes: Any = (1, 2)


class Whole(PreTrainedConfig):
    sub_configs_defaults = {  # noqa: RUF012  # likewise
        "part": Small,
        "backbone_config": SubConfigSpec(Small, init_kwargs={"depth": 5}),
        "spare": SubConfigSpec(Small, optional=True),
    }
    part: Any = None
    backbone_config: Any = None
    spare: Any = None
    rope_parameters: Any = None
    default_theta = 100.0


def test_settings_are_fields_and_parts_are_made_where_none_are_given():
    small = Small(depth=3, num_labels=5, own="own")
    assert (small.num_hidden_layers, small.depth, small.num_labels) == (3, 3, 5)
    assert (small.own, small.sizes, small.return_dict) == ("own", (1, 2), True)
    assert Small().num_labels == 2
    assert Small(id2label={"0": "road"}).id2label == {0: "road"}
    whole = Whole(part={"depth": 7}, attn_implementation="sdpa")
    assert (whole.part.depth, whole.backbone_config.depth, whole.spare) == (7, 5, None)
    assert whole.part._attn_implementation == "sdpa"
    assert whole.rope_parameters == {"rope_type": "default", "rope_theta": 100.0}
    assert Whole(part=small).part is small
    part, _ = SubConfigSpec(object, model_type="not_there").create_subconfig("part")
    assert (part.model_type, hasattr(part, "sizes")) == ("not_there", False)
    with pytest.raises(NotImplementedError, match="resnet18"):
        Whole(backbone="resnet18")


class Block(nn.Layer):
    def __init__(self, add):
        super().__init__()
        self.add = add

    def forward(self, x):
        return x + self.add, x * 2


class Returned(dict):
    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        return self[name]

    def to_tuple(self):
        return tuple(self.values())


class Inner(nn.Layer):
    _can_record_outputs = {"hidden_states": Block}  # noqa: RUF012  # as the package has them

    def __init__(self):
        super().__init__()
        self.config = Small()
        self.blocks = nn.LayerList([Block(1.0), Block(2.0)])

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, x, **kwargs):
        for block in self.blocks:
            x = block(x)[0]
        return Returned(last_hidden_state=x * 10)


class Outer(nn.Layer):
    _can_record_outputs = {  # noqa: RUF012  # likewise
        "hidden_states": Block,
        "attentions": OutputRecorder(Block, 1, layer_name="own"),
    }

    def __init__(self):
        super().__init__()
        self.config = Small()
        self.own, self.inner = Block(5.0), Inner()

    @capture_outputs
    def forward(self, x, **kwargs):
        return Returned(last_hidden_state=self.inner(self.own(x)[0], **kwargs).last_hidden_state)

    @filter_output_hidden_states
    def mapped(self, x, **kwargs):
        return self(x, **kwargs)


def numbers(found):
    return [None if one is None else one.item() for one in found]


def test_outputs_of_layers_are_gathered_where_they_are_asked_for():
    one, net = paddle.ones([1]), Inner()
    assert "hidden_states" not in net(one)
    assert numbers(net(one, output_hidden_states=True).hidden_states) == [1, 2, 4]
    assert numbers(net(one, output_hidden_states=[-1, 0]).hidden_states) == [1, None, 4]
    assert numbers(net(one, return_dict=False)) == [40]
    assert not any(layer._forward_post_hooks for layer in net.sublayers())


def test_a_net_inside_gathers_its_own():
    one, net = paddle.ones([1]), Outer()
    found = net(one, output_hidden_states=True, output_attentions=True)
    assert numbers(found.hidden_states) == [1, 90]  # the last is what the net returns
    assert numbers(found.attentions) == [2]
    assert numbers(net.mapped(one).values()) == [90]
