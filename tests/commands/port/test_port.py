"""`port` writes, proves, says what it could not, and finds what an edit broke."""

import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("paddle")

from align.judge.comparison import Comparison
from align.judge.words import Cause
from align.report.report import Report
from commands.port import flow
from commands.port.flow import check_again, write_and_prove
from commands.port.prove import Climb
from common.errors import UserError

NET = """import torch
from torch import nn


class Block(nn.Module):
    # what the block is for
    def __init__(self, width, norm_layer=nn.BatchNorm2d):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = norm_layer(width, eps=1e-3)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))

    def never(self):
        return torch.eig(self.conv.weight)


def build(width=4):
    return Block(width)


if __name__ == "__main__":
    print(build())
"""


def asked(folder, spec, **more):
    return {
        "spec": spec,
        "arguments": {},
        "shapes": [[[2, 3, 6, 6]]],
        "inputs": [],
        "weights": None,
        "modes": ["eval", "train"],
        "seed": 0,
        "path": [str(folder)],
    } | more


@pytest.fixture
def users(tmp_path, monkeypatch):
    """A folder on the path; what it and ports in it hold is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def forget(name):
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        del sys.modules[module]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_net_that_asks_for_a_gpu_is_proven_without_one(users, monkeypatch):
    monkeypatch.setattr("commands.port.prove.NAMES", {"eval": "forward, eval mode"})
    text = NET.replace("self.conv(x)", "self.conv(x.cuda())").replace(
        "bias=False)", "bias=False).cuda()"
    )
    (users / "users_gpu.py").write_text(text)
    done = write_and_prove(
        asked(users, "users_gpu:build"), users / "ported_gpu", False, lambda _: None
    )
    assert (done["code"], done["rungs"]) == (0, {"eval": 0, "init": 0}), done["lines"]


def test_a_port_is_written_and_proven_and_an_edit_is_found(users):
    (users / "users_net.py").write_text(NET)
    folder, told = users / "ported_net", []
    done = write_and_prove(asked(users, "users_net:build"), folder, False, told.append)
    assert done["code"] == 0, done["lines"]
    assert done["rungs"] == dict.fromkeys(("eval", "train", "backward", "step", "init"), 0)
    text = (folder / "users_net.py").read_text()
    assert "# what the block is for" in text
    assert "nn.Conv2D(3, width, 3, padding=1, bias_attr=False)" in text
    assert "torch" not in text.replace("torch_calls", "")
    assert "never" not in text
    assert "forward, train mode" in (folder / "PORT.md").read_text()
    forget("ported_net")
    (folder / "users_net.py").write_text(text.replace("0.001", "0.01").replace("1e-3", "1e-2"))
    done = check_again(folder, told.append)
    assert done["code"] == 1
    assert "bn" in " ".join(done["lines"])
    with pytest.raises(UserError, match="--force"):
        write_and_prove(asked(users, "users_net:build"), folder, False, told.append)


def test_parameters_of_the_nets_own_are_told_and_all_weights_are_stepped(users):
    own = """
    def parameters(self, recurse=True):
        return [p for name, p in self.named_parameters() if name.startswith("bn.")]
"""
    (users / "users_own.py").write_text(NET.replace("\n    def never", f"{own}\n    def never"))
    folder = users / "ported_own"
    done = write_and_prove(asked(users, "users_own:build"), folder, False, lambda _: None)
    assert done["code"] == 0, done["lines"]
    assert done["rungs"] == dict.fromkeys(("eval", "train", "backward", "step", "init"), 0)
    assert "its own `parameters` did not run and is left out" in (folder / "PORT.md").read_text()


def test_a_reference_that_computes_no_numbers_is_told(users, monkeypatch):
    monkeypatch.setattr("commands.port.prove.NAMES", {"eval": "forward, eval mode"})
    monkeypatch.setattr(
        "commands.port.flow.repaired", lambda port, outcomes, *_: (port, outcomes, "")
    )
    text = NET.replace("torch.relu(self.bn(self.conv(x)))", "torch.relu(self.none(self.conv(x)))")
    none = "\n    def none(self, x):\n        return self.bn(x) * ((x - x) / (x - x))\n"
    (users / "users_none.py").write_text(text.replace("\n    def never", f"{none}\n    def never"))
    done = write_and_prove(asked(users, "users_none:build"), users / "ported_none", False, print)
    assert done["code"] != 0
    assert any("the reference itself computes NaN or infinity" in one for one in done["lines"])


def test_first_weights_are_torchs_and_paddles_own_are_found(users, monkeypatch):
    monkeypatch.setattr("commands.port.prove.NAMES", {"eval": "forward, eval mode"})
    (users / "users_drawn.py").write_text(NET)
    folder = users / "ported_drawn"
    done = write_and_prove(asked(users, "users_drawn:build"), folder, False, print)
    assert (done["code"], done["rungs"]) == (0, {"eval": 0, "init": 0}), done["lines"]
    assert "| first weights | aligned" in (folder / "PORT.md").read_text()
    builder = folder / "builder.py"
    text = builder.read_text()
    assert "return with_torch_first_weights(users_drawn.build)" in text
    forget("ported_drawn")
    builder.write_text(
        text.replace("with_torch_first_weights(users_drawn.build)", "users_drawn.build()")
    )
    done = check_again(folder, print)
    assert (done["code"], done["rungs"]) == (1, {"eval": 0, "init": 1})
    assert "conv weight:weight" in " ".join(done["lines"])


def test_weights_that_the_reference_reads_are_not_compared_with_drawn_ones(users, monkeypatch):
    monkeypatch.setattr("commands.port.prove.NAMES", {"eval": "forward, eval mode"})
    state = users / "own.pth"
    torch.save(torch.nn.Conv2d(3, 4, 3, bias=False).state_dict(), state)
    text = (
        NET
        + f"""

def ready():
    net = build()
    net.conv.load_state_dict(torch.load({str(state)!r}))
    return net
"""
    )
    (users / "users_read.py").write_text(text)
    done = write_and_prove(asked(users, "users_read:ready"), users / "ported_read", False, print)
    assert (done["code"], done["rungs"]) == (0, {"eval": 0}), done["lines"]
    assert f"first weights: not compared, the reference reads {state}" in done["lines"]


def test_the_names_of_the_proofs_are_chinese_where_that_is_asked_for(users, monkeypatch):
    monkeypatch.setattr("commands.port.prove.NAMES", {"eval": "forward, eval mode"})
    monkeypatch.setattr("common.words.language._chosen", [1])
    (users / "users_zh.py").write_text(NET)
    told = []
    done = write_and_prove(asked(users, "users_zh:build"), users / "ported_zh", False, told.append)
    assert [line.partition("：")[0].partition(":")[0] for line in done["lines"]] == [
        "前向，eval 模式", "初始权重"
    ]  # fmt: skip
    assert not [line for line in told if "forward" in line or "weights" in line]


def test_an_error_of_the_comparison_is_no_pass(users, monkeypatch):
    def broken(*_):
        raise UserError("nothing fits")

    monkeypatch.setattr("commands.port.prove.NAMES", {"eval": "forward, eval mode"})
    monkeypatch.setattr("align.align_init", broken)
    (users / "users_broken.py").write_text(NET)
    done = write_and_prove(
        asked(users, "users_broken:build"), users / "ported_broken", False, print
    )
    assert (done["code"], done["rungs"]) == (2, {"eval": 0, "init": 2})


def test_a_net_that_is_built_once_only_is_proven_without_first_weights(users, monkeypatch):
    monkeypatch.setattr("commands.port.prove.NAMES", {"eval": "forward, eval mode"})
    once = """
BUILT = []


def once():
    assert not BUILT
    BUILT.append(1)
    return build()
"""
    (users / "users_once.py").write_text(NET + once)
    done = write_and_prove(asked(users, "users_once:once"), users / "ported_once", False, print)
    assert (done["code"], done["rungs"]) == (0, {"eval": 0}), done["lines"]
    assert any("first weights: not compared, built again it raises" in x for x in done["lines"])


def test_what_has_no_spelling_is_named_with_its_line(users, monkeypatch):
    monkeypatch.setattr(flow, "traced_gaps", lambda *_: [])  # tests/port/trace has its graphs
    text = NET.replace("torch.relu(self.bn(self.conv(x)))", "torch.erfcx_unknown(x)")
    text = text.replace("torch.erfcx_unknown(x)", "torch.special.erfcx(self.conv(x))")
    (users / "users_gap.py").write_text(text)
    folder = users / "ported_gap"
    done = write_and_prove(asked(users, "users_gap:build"), folder, False, lambda words: None)
    assert done["code"] == 2
    assert any("users_gap.py:13" in line and "erfcx" in line for line in done["lines"])
    assert "not_ported" in (folder / "users_gap.py").read_text()


POOLED = """import torch
from torch import nn
from torch.nn import functional as F


class AttentionPool(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.register_buffer("centre", torch.zeros(width))

    def forward(self, x):
        n, c, h, w = x.shape
        tokens = x.flatten(2).permute(2, 0, 1)
        with torch.no_grad():
            centre = tokens.mean((0, 1))
            if self.training:
                self.centre.mul_(0.9).add_(0.1 * centre)
        tokens = torch.cat([tokens.mean(0, keepdim=True), tokens - self.centre])
        bias = torch.cat([self.query.bias, self.key.bias, self.value.bias])
        mixed, _ = F.multi_head_attention_forward(
            tokens, tokens, tokens, c, self.heads, None, bias, None, None, False, 0.0,
            self.out.weight, self.out.bias, self.training, need_weights=False,
            use_separate_proj_weight=True, q_proj_weight=self.query.weight,
            k_proj_weight=self.key.weight, v_proj_weight=self.value.weight,
        )
        return mixed[1:].permute(1, 2, 0).reshape(n, c, h, w)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.pool, self.head = AttentionPool(8, 2), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.head(self.pool(self.stem(x)))
"""


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_a_class_without_a_spelling_is_proven_from_its_graph(users):
    """It writes into a buffer, and has a region without gradients, in train mode alone."""
    (users / "users_pooled.py").write_text(POOLED)
    folder = users / "ported_pooled"
    done = write_and_prove(asked(users, "users_pooled:Net"), folder, False, print)
    assert done["code"] == 0, done["lines"]
    text = (folder / "users_pooled.py").read_text()
    assert text.count("# Written from the traced graph") == 1
    assert "self.centre = " in text
    assert "return self.head(self.pool(self.stem(x)))" in text
    assert "`AttentionPool.forward`: eval and train mode" in (folder / "PORT.md").read_text()


@pytest.mark.prove
def test_another_spelling_is_tried_where_the_first_differs(users):
    text = NET.replace("torch.relu(self.bn", "nn.functional.log_softmax(300 * self.bn")
    (users / "users_far.py").write_text(text.replace("self.conv(x)))", "self.conv(x)), dim=1)"))
    done = write_and_prove(asked(users, "users_far:build"), users / "ported_far", False, print)
    assert done["code"] == 0, done["lines"]
    assert "logsumexp" in (users / "ported_far" / "users_far.py").read_text()


def test_a_name_that_is_taken_is_refused(users):
    (users / "users_taken.py").write_text(NET)
    with pytest.raises(UserError, match="is a module already"):
        write_and_prove(asked(users, "users_taken:build"), users / "users_taken", False, print)
    with pytest.raises(UserError, match="letters"):
        write_and_prove(asked(users, "users_taken:build"), users / "a-port", False, print)


def report(code):
    """Return a report that comes to a code, in which a layer `a` is open where that is 2."""
    verdict = {0: "equal", 1: "differs", 2: "unchecked"}[code]
    cause = Cause("zero_on_both_sides") if code == 2 else None
    call = Comparison("a", "a#0", "output:0", "layer", verdict=verdict, cause=cause)
    return Report("forward", calls=[Comparison("b", "b#0", "output:0", "layer"), call])


@pytest.mark.parametrize(
    ("found", "wanted", "tried"),
    [
        ([{"eval": 0, "step": 2}, {"step": 0}], [0, 0], [7, 8]),
        ([{"eval": 0, "step": 2}, {"step": 1}], [0, 1], [7, 8]),
        ([{"eval": 2, "step": 1}], [2, 1], [7]),
        ([{"eval": 2, "step": 0}, *[{"eval": 2}] * 3], [2, 0], [7, 8, 9, 10]),
        ([{"eval": 2, "step": 2}, {"eval": 0, "step": 2}, {"step": 0}], [0, 0], [7, 8, 9]),
    ],
)
def test_other_weights_are_drawn_where_a_layer_had_nothing_to_compare(
    monkeypatch, tmp_path, found, wanted, tried
):
    seeds = []

    def proven(asked, folder, tell, names=None):
        seeds.append(asked["seed"])
        codes = found[len(seeds) - 1]
        assert names is None or names == list(codes)  # what was shown is not shown again
        return [Climb(name, code, report=report(code)) for name, code in codes.items()]

    monkeypatch.setattr(flow, "proven", proven)
    outcomes, why = flow._proven(asked(tmp_path, "here", seed=7), tmp_path, print)
    assert [one.code for one in outcomes] == wanted
    assert (seeds, why) == (tried, "")
