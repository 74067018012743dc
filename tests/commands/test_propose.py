"""`--propose` from the command line: both nets are run, the rules are tried and finish the job."""

import pytest
import yaml

from tests import nursery

pytest.importorskip("torch")
pytest.importorskip("paddle")

THEIRS = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
    def forward(self, x):
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))

class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.proj = nn.Linear(width, width), nn.Linear(width, width)
    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        return x + self.proj((q @ k.transpose(1, 2)).softmax(-1) @ v)

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.stem = nn.Sequential()
        self.stem.conv, self.stem.bn = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(Block(width), Block(width))
        self.layer2 = nn.Sequential(Block(width), Block(width))
        self.layer3 = nn.Sequential(Block(width), Block(width))
        self.attentions = nn.ModuleList([Attention(width)])
        self.head, self.aux = nn.Conv2d(width, 5, 1), nn.Conv2d(width, 5, 1)
    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        aux = self.aux(x) if self.training else None
        n, c, h, w = x.shape
        y = x.flatten(2).transpose(1, 2)
        for attention in self.attentions:
            y = attention(y)
        out = self.head(y.transpose(1, 2).reshape(n, c, h, w))
        return (out, aux) if self.training else out
"""
OURS = """
import paddle
import paddle.nn.functional as F
from paddle import nn

class Unit(nn.Layer):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm0 = nn.BatchNorm2D(width), nn.BatchNorm2D(width)
        self.conv1 = nn.Conv2D(width, width, 3, padding=1, bias_attr=False)
        self.conv0 = nn.Conv2D(width, width, 3, padding=1, bias_attr=False)
    def forward(self, x):
        return F.relu(x + self.norm1(self.conv1(F.relu(self.norm0(self.conv0(x))))))

class SelfAttention(nn.Layer):
    def __init__(self, width):
        super().__init__()
        self.out, self.v = nn.Linear(width, width), nn.Linear(width, width)
        self.k, self.q = nn.Linear(width, width), nn.Linear(width, width)
    def forward(self, x):
        {calls}
        weights = F.softmax(paddle.matmul(q, k, transpose_y=True), axis=-1)
        return x + self.out(paddle.matmul(weights, v))

class Backbone(nn.Layer):
    def __init__(self, width):
        super().__init__()
        self.stages = nn.LayerList([
            nn.LayerDict({{"blocks": nn.Sequential(Unit(width), Unit(width))}}) for _ in range(3)
        ])
        self.stem_norm, self.stem_conv = nn.BatchNorm2D(width), nn.Conv2D(3, width, 3, padding=1)
    def forward(self, x):
        x = self.stem_norm(self.stem_conv(x))
        for stage in self.stages:
            x = stage["blocks"](x)
        return x

class Net(nn.Layer):
    def __init__(self, width=4):
        super().__init__()
        self.auxiliary, self.classifier = nn.Conv2D(width, 5, 1), nn.Conv2D(width, 5, 1)
        self.blocks = nn.LayerList([SelfAttention(width)])
        self.backbone = Backbone(width)
    def forward(self, x):
        x = self.backbone(x)
        aux = self.auxiliary(x) if self.training else None
        n, c, h, w = x.shape
        y = x.flatten(2).transpose([0, 2, 1])
        for block in self.blocks:
            y = block(y)
        out = self.classifier(y.transpose([0, 2, 1]).reshape([n, c, h, w]))
        return (out, aux) if self.training else out
"""
IN_ORDER = "q, k, v = self.q(x), self.k(x), self.v(x)"
OTHERWISE = "k, q, v = self.k(x), self.q(x), self.v(x)"
PAIR = ("--torch", "theirs:Net", "--paddle", "ours:Net", "--input-shape", 2, 3, 8, 8)


def nets(folder, calls=IN_ORDER, more=()):
    text = OURS.format(calls=calls)
    for old, new in more:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "theirs.py").write_text(THEIRS)
    (folder / "ours.py").write_text(text)


def test_the_proposal_converts_with_no_edit_and_aligns(tmp_path):
    nets(tmp_path)
    done = nursery.run("align_forward", *PAIR, "--propose", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "0 are ambiguous" in said
    assert "tried: the forward pass aligns with these rules (eval and train mode" in said
    (following,) = (line for line in said.splitlines() if line.startswith("Next: "))
    assert following.endswith("--rules rules.yml")
    assert "--propose" not in following
    text = (tmp_path / "rules.yml").read_text()
    assert text.count("- match") <= 16, text
    assert "# tried: the forward pass aligns" in text
    assert "likely" not in text, text
    done = nursery.run("align_forward", *PAIR, "--rules", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_calls_in_another_order_are_settled_by_a_trial(tmp_path):
    nets(tmp_path, OTHERWISE)
    done = nursery.run("align_forward", *PAIR, "--propose", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 ways to pair the layers" in done.stdout + done.stderr
    rules = yaml.safe_load((tmp_path / "rules.yml").read_text())["renames"]
    assert any("query" in rule["match"] and rule["to"].endswith("q.") for rule in rules), rules


def test_calls_in_another_order_whose_names_say_nothing_are_not_sure(tmp_path):
    nets(tmp_path, "two, one, three = self.two(x), self.one(x), self.three(x)")
    text = (tmp_path / "ours.py").read_text()
    for old, new in (("self.v", "self.three"), ("self.k", "self.two"), ("self.q", "self.one")):
        text = text.replace(f"{old} ", f"{new} ").replace(f"{old},", f"{new},")
    text = text.replace("matmul(q, k,", "matmul(one, two,").replace(
        "weights, v)", "weights, three)"
    )
    (tmp_path / "ours.py").write_text(text)
    done = nursery.run("align_forward", *PAIR, "--propose", "rules.yml", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not align yet" in done.stdout + done.stderr
    written = (tmp_path / "rules.yml").read_text().split("  # ")
    (query,) = (rule for rule in written if "query" in rule.splitlines()[1])
    assert query.startswith("likely")


def test_a_port_with_a_fault_is_told_and_no_rule_of_it_is_called_tried(tmp_path):
    nets(tmp_path, more=[("F.relu(x + self", "F.gelu(x + self")])
    done = nursery.run("align_forward", *PAIR, "--propose", "rules.yml", cwd=tmp_path)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "with these rules the forward pass does not align yet" in said
    assert "first: backbone.stages.0.blocks.0" in said
    assert "; tried" not in (tmp_path / "rules.yml").read_text()


def test_without_inputs_nothing_is_run_and_it_is_said(tmp_path):
    nets(tmp_path)
    done = nursery.run("align_forward", *PAIR[:4], "--propose", "rules.yml", cwd=tmp_path)
    assert done.returncode == 1
    assert "not tried: give --inputs or --input-shape" in done.stdout + done.stderr


def test_a_port_that_cannot_run_is_paired_as_far_as_it_goes(tmp_path):
    nets(tmp_path, more=[("self.backbone(x)\n", "self.backbone(x, 1)\n")])
    done = nursery.run("align_forward", *PAIR, "--propose", "rules.yml", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "not tried, and paired without the order of calls" in done.stdout + done.stderr
    assert (tmp_path / "rules.yml").exists()


def test_packed_attention_a_shared_layer_and_a_bare_parameter(tmp_path):
    (tmp_path / "theirs.py").write_text(
        """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.shared = self.again = nn.Linear(16, 16)
        self.pos = nn.Parameter(torch.zeros(1, 4, 16))
    def forward(self, x):
        return self.again(torch.relu(self.shared(self.enc(x + self.pos))))
"""
    )
    (tmp_path / "ours.py").write_text(
        """
import paddle
from paddle import nn
class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(16, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, 0.1), 2)
        self.pos_embed = self.create_parameter([1, 4, 16])
    def forward(self, x):
        return self.mix(nn.functional.relu(self.mix(self.encoder(x + self.pos_embed))))
"""
    )
    pair = (*PAIR[:4], "--input-shape", 2, 4, 16)
    done = nursery.run("align_forward", *pair, "--propose", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = yaml.safe_load((tmp_path / "rules.yml").read_text())
    assert {rule["to"] for rule in rules["renames"]} == {"encoder.", "mix.", "pos_embed"}
    assert [rule["to"] for rule in rules["aliases"]] == ["mix."]
    done = nursery.run("align_forward", *pair, "--rules", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
