"""A library whose machinery has a few lines of ours in its place is followed by names alone."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from tests.port.trial import both_outputs, recorded, written

HEAD = "import torch\nfrom torch import nn\n\n"
PACKAGE = {
    "asks_small": """from transformers import SmallConfig, SmallModel


def build():
    return SmallModel(SmallConfig(hidden_act="plain", num_labels=4))
""",
    # A package that makes up its names, and of which a part makes it anew.
    "site-packages.transformers.__init__": """import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

HOMES = {"SmallConfig": "configuration_small", "SmallModel": "modeling_small"}


class Lazy(ModuleType):
    def __getattr__(self, name):
        if name not in HOMES:
            raise AttributeError(name)
        found = getattr(importlib.import_module(f"transformers.{HOMES[name]}"), name)
        sys.modules["transformers"] = again()
        return found


def again():
    made = Lazy("transformers")
    made.__path__, made.__file__, made.__spec__ = __path__, __file__, __spec__
    return made


if TYPE_CHECKING:
    from .configuration_small import SmallConfig
    from .modeling_small import SmallModel
else:
    sys.modules[__name__] = again()
""",
    "site-packages.transformers.configuration_utils": """import json


class PretrainedConfig:
    attribute_map = {}
    _attn_implementation = None
    use_return_dict = True

    def __init__(self, num_labels=2, **kwargs):
        self.num_labels = num_labels
        self.text = json.dumps(kwargs)

    def save_pretrained(self, path):
        path.write_text(self.text)
""",
    "site-packages.transformers.configuration_small": """import sys

from .configuration_utils import PretrainedConfig


class SmallConfig(PretrainedConfig):
    model_type = "small"
    def __init__(self, hidden_size=6, hidden_act="plain", std=0.5, **kwargs):
        super().__init__(**kwargs)
        self.hidden_size, self.hidden_act, self.std = hidden_size, hidden_act, std
""",
    "site-packages.transformers.words": """import logging

KEPT = []


def get_logger(name):
    machinery(name)
    return logging.getLogger(name)


def machinery(name):
    return name


def documented(text=""):
    def decorated(thing):
        machinery(text)
        thing.__doc__ = f"{text}{thing.__doc__ or ''}"
        return thing

    return decorated


def kept(thing):
    KEPT.append(thing)
    return thing
""",
    "site-packages.transformers.modeling_utils": f"""{HEAD}
from .words import get_logger, machinery

logger = get_logger(__name__)


# The base of all nets.
class PreTrainedModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        machinery("begun")
        self.config = config

    def post_init(self):
        self.apply(self._init_weights)
""",
    "site-packages.transformers.activations": f"""{HEAD}
class Plain(nn.Module):
    def forward(self, x):
        return x.clamp(min=0)


class Fused(nn.Module):
    def forward(self, x):
        return torch.ops.fused.act(x)


# All activations by name.
TABLE = {{"fused": Fused, "plain": Plain, "tuple": (Fused, {{"a": 1}}), "relu": nn.ReLU}}
""",
    "site-packages.transformers.modeling_small": f"""{HEAD}
from .activations import TABLE
from .configuration_small import SmallConfig
from .modeling_utils import PreTrainedModel
from .words import documented, get_logger, kept

logger = get_logger(__name__)


@documented()
class SmallPreTrainedModel(PreTrainedModel):
    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data.normal_(mean=0.0, std=self.config.std)


@kept
@documented("A net. ")
class SmallModel(SmallPreTrainedModel):
    def __init__(self, config: SmallConfig):
        super().__init__(config)
        self.conv = nn.Conv2d(3, config.hidden_size, 1)
        self.act = TABLE[config.hidden_act]()
        self.head = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @documented("Run it. ")
    def forward(self, x, told=False):
        if told:
            logger.warning("told")
        grids = grid([torch.arange(2), torch.arange(3)])
        x = self.act(self.conv(x)).mean(dim=(2, 3))
        return self.head(x) + grids[1].sum()


def grid(*tensors):
    return torch.meshgrid(*tensors, indexing="ij")
""",
}


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("followed")
    sys.path.insert(0, str(folder / "site-packages"))
    try:
        record, net = recorded(folder, PACKAGE, "build")
    finally:
        sys.path.remove(str(folder / "site-packages"))
    return folder, record, net, *written(record)


def test_the_port_computes_what_the_reference_does(port):
    folder, record, net, _, made = port
    theirs, ours = both_outputs(folder, record, net)
    assert np.allclose(theirs, ours, rtol=0, atol=1e-12)
    assert not [gap for gap in made.gaps if gap.ran]


def test_ours_stands_where_the_machinery_stood_cut_to_what_is_selected(port):
    _, _, _, texts, made = port
    base = texts["ported_transformers/modeling_utils.py"]
    assert "class PreTrainedModel(nn.Layer)" in base
    assert "post_init" in base
    for gone in ("machinery", "get_head_mask", "logger", "type: ignore"):
        assert gone not in base
    settings = texts["ported_transformers/configuration_utils.py"]
    assert "save_pretrained" not in settings
    assert "to_dict" not in settings
    notes = [note for file in made.files for _, note in file.needs.notes]
    assert any(note.startswith("`PreTrainedModel` is not the library's own") for note in notes)


def test_names_that_a_package_makes_up_come_from_where_they_are_made(port):
    texts = port[3]
    assert (
        "from .ported_transformers.configuration_small import SmallConfig" in texts["asks_small.py"]
    )
    assert texts["ported_transformers/__init__.py"] == ""


def test_decorators_that_only_document_are_left_out_and_registries_stay(port):
    net = port[3]["ported_transformers/modeling_small.py"]
    assert "@documented" not in net
    assert "@kept\nclass SmallModel" in net


def test_a_table_of_layers_keeps_those_of_the_net(port):
    texts = port[3]
    assert (
        'TABLE = {"plain": Plain, "relu": nn.ReLU}' in texts["ported_transformers/activations.py"]
    )
    assert "Fused" not in texts["ported_transformers/activations.py"]


def test_first_weights_of_layers_of_several_classes_are_written_themselves(port):
    net = port[3]["ported_transformers/modeling_small.py"]
    assert "            module.weight.detach().normal_(mean=0.0, std=self.config.std)" in net


def test_a_folder_of_the_users_by_the_name_of_a_library_is_their_own(tmp_path):
    net = f"{HEAD}class PreTrainedModel(nn.Linear):\n    pass\n"
    asks = "from transformers.nets import PreTrainedModel\n\n\n"
    asks += "def build():\n    return PreTrainedModel(8, 2)\n"
    texts = {"asks_own": asks, "transformers.__init__": "", "transformers.nets": net}
    record, _ = recorded(tmp_path, texts, "build")
    ported = written(record)[0]["transformers/nets.py"]
    assert "class PreTrainedModel(nn.Linear)" in ported
    assert "post_init" not in ported
