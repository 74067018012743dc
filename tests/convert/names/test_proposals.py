"""Proposals of rules: by calls as well as by shapes and names, in few renames that are sure."""

import itertools
import random
import re

import pytest
import yaml

from common.words import language
from convert.names.call_order import names_against
from convert.names.pair_search import SURE
from convert.names.propose import propose
from convert.names.rules import Rules, resolve
from convert.names.rules_backwards import names_back
from convert.names.spec import TensorSpec

SHAPES = {
    "Conv": {"weight": (0, 1, 3, 3)},
    "Linear": {"weight": (0, 1), "bias": (0,)},
    "LayerNorm": {"weight": (0,), "bias": (0,)},
    "BatchNorm": dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (0,)),
}
RENAMES = {
    "a prefix": lambda n: re.sub("^(layer|stem)", r"backbone.\1", n),
    "a shift": lambda n: re.sub(r"\bconv(\d)\b", lambda m: f"conv{int(m[1]) - 1}", n),
    "a shift up": lambda n: re.sub(r"\bblocks\.(\d)", lambda m: f"blocks.{int(m[1]) + 1}", n),
    "stages": lambda n: re.sub(
        r"\blayer(\d)\.(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.blocks.{m[2]}.", n
    ),
    "norms": lambda n: re.sub(r"\bbn(\d*)\b", r"norm\1", n),
    "flat": lambda n: n.replace("stem.", "stem_").replace("encoder.", ""),
    "attention": lambda n: n.replace("query", "q").replace("key", "k").replace("value", "v"),
    "heads": lambda n: n.replace("decode_head.conv_seg", "head").replace(
        "aux_head.conv_seg", "aux"
    ),
    "a container": lambda n: n.replace("downsample.0", "short.conv").replace(
        "downsample.1", "short.bn"
    ),
}


def layers_of_a_net(width=16):
    """Return (path, kind, sizes) in the order of the calls: a ResNet, then two attentions."""
    made = [("stem.conv", "Conv", (width, 3)), ("stem.bn", "BatchNorm", (width, 0))]
    for stage in range(1, 4):
        for block in range(2):
            path = f"layer{stage}.{block}"
            for number in (1, 2):
                made.append((f"{path}.conv{number}", "Conv", (width, width)))
                made.append((f"{path}.bn{number}", "BatchNorm", (width, 0)))
            if not block:
                made.append((f"{path}.downsample.0", "Conv", (width, width)))
                made.append((f"{path}.downsample.1", "BatchNorm", (width, 0)))
    for block in range(2):
        made.append((f"encoder.blocks.{block}.norm1", "LayerNorm", (width, 0)))
        for name in ("query", "key", "value", "proj"):
            made.append((f"encoder.blocks.{block}.attn.{name}", "Linear", (width, width)))
    made.append(("decode_head.conv_seg", "Conv", (5, width)))
    return [*made, ("aux_head.conv_seg", "Conv", (5, width))]


def specs(layers, names, port=False, rng=None):
    """Return the tensors of layers under other names, as a file or a port has them."""
    groups = []
    for path, kind, sizes in layers:
        group = []
        for role, form in SHAPES[kind].items():
            shape = tuple(sizes[n] if n < 2 else n for n in form)
            leaf = role
            if port:
                leaf = {"running_mean": "_mean", "running_var": "_variance"}.get(role, role)
                shape = shape[::-1] if (kind, role) == ("Linear", "weight") else shape
            group.append(TensorSpec(f"{names[path]}.{leaf}", shape, "float32", kind, role))
        if kind == "BatchNorm" and not port:
            counter = "num_batches_tracked"
            group.append(TensorSpec(f"{names[path]}.{counter}", (), "int64", kind, counter))
        groups.append(group)
    if rng:
        rng.shuffle(groups)
    return [spec for group in groups for spec in group]


def two_sides(layers, truth, rng=None):
    same = {path: path for path, _, _ in layers}
    return specs(layers, same, rng=rng), specs(layers, truth, port=True, rng=rng)


def of_all(truth, found):
    return {(p.source, p.target) for p in (*found.pairs, *found.same)} == set(truth.items())


@pytest.mark.parametrize("seed", range(12))
def test_five_systematic_renames_are_few_rules(seed):
    rng = random.Random(seed)
    layers, chosen = layers_of_a_net(), rng.sample(list(RENAMES), 5)
    truth = {}
    for path, _, _ in layers:
        truth[path] = path
        for name in RENAMES:
            truth[path] = RENAMES[name](truth[path]) if name in chosen else truth[path]
    ours, theirs = two_sides(layers, truth, rng)
    calls = [path for path, _, _ in layers], [truth[path] for path, _, _ in layers]
    found = propose(ours, theirs, None, calls)
    assert found.is_whole
    assert of_all(truth, found)
    text = found.to_yaml()
    rules = Rules.model_validate(yaml.safe_load(text))
    assert rules == found.to_rules()
    assert 0 < len(rules.renames) <= 15, text
    names = resolve([spec.key for spec in ours], rules)
    assert not names.clashes
    assert {n.rpartition(".")[0]: k.rpartition(".")[0] for n, k in names.sources.items()} == {
        new: old for old, new in truth.items()
    }
    back = names_back(names.sources, rules)
    assert back.names == names.sources
    alone = propose(ours, theirs)
    assert alone.ambiguous
    assert all(truth[p.source] == p.target for p in alone.pairs)


def fast_scnn():
    """Return (path in the file, path in the port, kind) of the 92 layers of Fast-SCNN."""

    def unit(old, new, first=0):
        kinds = (("c", "Conv"), ("n", "BatchNorm"))
        return [(f"{old}.{i}", f"{new}{t}", kind) for i, (t, kind) in enumerate(kinds, first)]

    def separable(old, new):
        return unit(f"{old}.conv", f"{new}.dw.") + unit(f"{old}.conv", f"{new}.pw.", 3)

    down, body = "learning_to_downsample", "global_feature_extractor"
    made = unit(f"{down}.conv.conv", "down.stem.")
    for n in (1, 2):
        made += separable(f"{down}.dsconv{n}", f"down.sep{n}")
    for stage, block in itertools.product(range(3), range(3)):
        old, new = f"{body}.bottleneck{stage + 1}.{block}.block", f"extract.stages.{stage}.{block}"
        made += unit(f"{old}.0.conv", f"{new}.expand.") + unit(f"{old}.1.conv", f"{new}.depth.")
        made += [(f"{old}.2", f"{new}.project", "Conv")]
        made += [(f"{old}.3", f"{new}.project_n", "BatchNorm")]
    for n in range(4):
        made += unit(f"{body}.ppm.conv{n + 1}.conv", f"extract.pyramid.branches.{n}.")
    made += unit(f"{body}.ppm.out.conv", "extract.pyramid.last.")
    made += unit("feature_fusion.dwconv.conv", "fusion.dw.")
    made += unit("feature_fusion.conv_lower_res", "fusion.low_")
    made += unit("feature_fusion.conv_higher_res", "fusion.high_")
    for n in (1, 2):
        made += separable(f"classifier.dsconv{n}", f"head.sep{n}")
    made += [("classifier.conv.1", "head.cls", "Conv")]
    return [*made, *unit("auxlayer", "aux_"), ("auxlayer.4", "aux_cls", "Conv")]


def test_no_rule_leads_through_a_name_of_neither_side():
    """Each part of a path is renamed once: what a rule writes, no later one writes again."""
    made = fast_scnn()
    truth = {old: new for old, new, _ in made}
    ours, theirs = two_sides([(old, kind, (4, 4)) for old, _, kind in made], truth)
    found = propose(ours, theirs, None, (list(truth), list(truth.values())))
    found = found.settled({s: truth[s] for s in found.ambiguous}, 1.0, "tried")
    assert of_all(truth, found)
    rules = [(one.match, one.to) for one in found.renames]
    assert len(rules) <= 36, found.to_yaml()
    known = {s for path in (*truth, *truth.values()) for s in path.split(".")}
    for name in truth:
        steps = [f"{name}."]
        for match, to in rules:
            steps.append(re.sub(match, to, steps[-1]))
        assert steps[-1] == f"{truth[name]}."
        assert all(set(step.split(".")) <= known | {""} for step in steps), steps
        assert len(set(steps)) <= 1 + 3, steps
    assert (r"^global_feature_extractor\.bottleneck2\.", "extract.stages.1.") in rules
    assert (r"(^|\.)block\.2\.", r"\1project.") in rules
    back = names_back((f"{new}.weight" for new in truth.values()), found.to_rules())
    assert back.names == {f"{new}.weight": f"{old}.weight" for old, new in truth.items()}


def test_rules_stand_as_in_the_net_and_one_leaves_out_what_is_around_all():
    truth = {f"module.net.{path}": RENAMES["stages"](path) for path, _, _ in layers_of_a_net()}
    layers = [(f"module.net.{path}", kind, sizes) for path, kind, sizes in layers_of_a_net()]
    found = propose(*two_sides(layers, truth), None, (list(truth), list(truth.values())))
    assert [(one.match, one.to, len(one.pairs)) for one in found.renames] == [
        (r"^module\.net\.", "", 44),
        (r"^layer1\.", "stages.0.blocks.", 10),
        (r"^layer2\.", "stages.1.blocks.", 10),
        (r"^layer3\.", "stages.2.blocks.", 10),
    ]


def named(paths, size=4, kind="Linear"):
    return [(path, kind, (size, size)) for path in paths]


def test_a_rule_says_how_many_it_serves_and_how_sure_it_is():
    truth = {f"body.{n}.bn": f"body.{n}.norm" for n in range(3)} | {"last": "head"}
    layers = [(path, "BatchNorm", (4, 0)) for path in list(truth)[:3]] + named(["last"])
    found = propose(*two_sides(layers, truth), None, (list(truth), list(truth.values())))
    text = found.to_yaml("tried: the forward pass aligns")
    assert text.splitlines()[1:3] == [
        "# tried: the forward pass aligns",
        "# 4 layers of other names are paired by 2 rules (1 sure, 1 likely), 0 have the same "
        "name, 0 are ambiguous, 0 of the file and 0 of the net without a partner.",
    ]
    assert "# likely (3 layers, 0.90): body.0.bn: called at the same place (1 of 4)" in text
    assert "# sure (0.95): the only one of its shapes" in text


def test_the_order_of_declarations_is_no_evidence():
    truth = {"left": "first", "right": "second"}
    found = propose(*two_sides(named(truth), truth))
    assert not found.pairs
    called = propose(
        *two_sides(named(truth), truth), None, (["left", "right"], ["second", "first"])
    )
    assert {p.source: p.target for p in called.pairs} == {"left": "second", "right": "first"}


def test_calls_and_names_that_contradict_each_other_are_told_both():
    truth = {f"blocks.{n}.{old}": f"layers.{n}.{new}" for n in range(2) for old, new in
             (("query", "q"), ("key", "k"), ("value", "v"))}  # fmt: skip
    called = [f"layers.{n}.{new}" for n in range(2) for new in "kvq"]
    found = propose(*two_sides(named(truth), truth), None, (list(truth), called))
    assert not found.pairs
    assert found.ambiguous["blocks.0.query"] == ("layers.0.k", "layers.0.q")
    assert "called at the same place (1 of 6): layers.0.k; by its name: layers.0.q" in (
        found.to_yaml()
    )
    settled = found.settled(truth, 1.0, "tried")
    assert settled.is_whole
    assert of_all(truth, settled)


def test_numbers_that_shift_are_no_contradiction():
    assert not names_against([(f"conv{n}", f"conv{n - 1}") for n in range(1, 6)])
    assert not names_against([(f"conv{n}", f"conv{n + 1}") for n in range(1, 6)])
    assert names_against([("conv1", "conv2"), ("conv2", "conv1")])
    truth = {f"conv{n}": f"conv{n - 1}" for n in range(1, 6)}
    layers = named(truth, kind="Conv")
    found = propose(*two_sides(layers, truth), None, (list(truth), list(truth.values())))
    assert of_all(truth, found)
    assert not propose(*two_sides(layers, truth)).same  # conv1 is not taken for conv1


def test_layers_that_swap_their_names_within_containers():
    """The decoders count from the other end: names say one thing, calls the other."""
    parts = [f"conv{n}" for n in range(5)]
    truth = {f"dec.{n}.{part}": f"dec.{2 - n}.{part}" for n in range(3) for part in parts}
    found = propose(*two_sides(named(truth), truth), None, (list(truth), list(truth.values())))
    assert not [p for p in found.pairs if truth[p.source] != p.target]
    settled = found.settled({s: truth[s] for s in found.ambiguous}, 1.0, "tried")
    names = resolve([f"{path}.weight" for path in truth], settled.to_rules())
    assert names.sources == {f"{new}.weight": f"{old}.weight" for old, new in truth.items()}
    assert len(settled.to_rules().renames) <= 6


def test_a_port_that_calls_its_heads_in_another_order():
    truth = {"a.conv": "x.conv", "a.skip": "x.skip", "aux.one": "side.p", "aux.two": "side.q",
             "head.one": "top.p", "head.two": "top.q"}  # fmt: skip
    sizes = {"aux.two": 5, "head.two": 6}
    layers = [(path, "Conv", (sizes.get(path, 4), 4)) for path in truth]
    called = ["x.conv", "x.skip", "top.p", "top.q", "side.p", "side.q"]
    found = propose(*two_sides(layers, truth), None, (list(truth), called))
    assert all(truth[p.source] == p.target for p in found.pairs)
    assert not [p for p in found.pairs if p.confidence >= SURE and truth[p.source] != p.target]


@pytest.mark.parametrize("seed", range(20))
def test_a_wrong_pair_is_never_sure(seed):
    """Names that say nothing, calls in an order of the port's own."""
    rng = random.Random(seed)
    layers = [
        (f"a{n}", rng.choice(list(SHAPES)), (rng.choice([4, 8]), rng.choice([4, 8])))
        for n in range(12)
    ]
    truth = {path: f"b{n}" for n, (path, _, _) in enumerate(layers)}
    called = list(truth.values())
    at = rng.randrange(10)
    called[at : at + 3] = reversed(called[at : at + 3])
    found = propose(*two_sides(layers, truth, rng), None, (list(truth), called))
    assert not [p for p in found.pairs if p.confidence >= SURE and truth[p.source] != p.target]


def test_a_shared_layer_that_the_port_has_once_is_an_alias():
    ours = [
        TensorSpec("embed.weight", (9, 4), "float32", "Embedding", "weight"),
        TensorSpec("mid.weight", (4, 4), "float32", "Embedding", "weight"),
        TensorSpec("head.weight", (9, 4), "float32", "Embedding", "weight", tied_to="embed.weight"),
    ]
    theirs = [
        TensorSpec("table.weight", (9, 4), "float32", "Embedding", "weight"),
        TensorSpec("inner.weight", (4, 4), "float32", "Embedding", "weight"),
    ]
    found = propose(ours, theirs)
    assert found.aliases == (("head", "table"),)
    names = resolve(
        [spec.key for spec in ours], Rules.model_validate(yaml.safe_load(found.to_yaml()))
    )
    assert names.aliases == {"head.weight": "embed.weight"}
    assert names.sources == {"table.weight": "embed.weight", "inner.weight": "mid.weight"}


def test_rules_that_were_given_stand_first():
    given = Rules.model_validate(
        {
            "renames": [{"match": r"^module\.", "to": ""}],
            "drops": [{"match": r"^aux\.", "reason": "training only"}],
        }
    )
    truth = {f"module.a{n}": f"b.{n}" for n in range(4)}
    layers = [(path, "Conv", (size, 4)) for size, path in enumerate(truth, 4)]
    ours, theirs = two_sides(layers, truth)
    ours.append(TensorSpec("module.aux.weight", (3,), "float32", "Parameter", "weight"))
    found = propose(ours, theirs, given)
    rules = Rules.model_validate(yaml.safe_load(found.to_yaml()))
    names = resolve([spec.key for spec in ours], rules)
    assert names.sources == {f"b.{n}.weight": f"module.a{n}.weight" for n in range(4)}
    assert names.dropped == {"module.aux.weight": "training only"}
    assert len(rules.renames) == 2


def test_what_is_open_gets_no_name_of_the_nets():
    """A rename that served many would also decide what is ambiguous: it is written otherwise."""
    truth = {f"old.{n}": f"new.{n}" for n in range(6)}
    layers = [(path, "Conv", (4 + max(0, n - 1), 4)) for n, path in enumerate(truth)]
    ours, theirs = two_sides(layers, truth)
    found = propose(ours, theirs)
    assert set(found.ambiguous) == {"old.0", "old.1"} or found.is_whole
    names = resolve([spec.key for spec in ours], found.to_rules())
    for path in found.ambiguous:
        assert not {f"new.{n}.weight" for n in range(6)} & {
            name for name, key in names.sources.items() if key == f"{path}.weight"
        }


def test_parameters_of_the_nets_own_under_other_names():
    ours = [
        TensorSpec("pos", (1, 4, 8), "float32", "Parameter", "pos"),
        TensorSpec("token", (1, 1, 8), "float32", "Parameter", "token"),
        TensorSpec("a.scale", (8,), "float32", "Parameter", "scale"),
    ]
    theirs = [
        TensorSpec("cls_token", (1, 1, 8), "float32", "Parameter", "cls_token"),
        TensorSpec("pos_embed", (1, 4, 8), "float32", "Parameter", "pos_embed"),
        TensorSpec("b.gain", (8,), "float32", "Parameter", "gain"),
    ]
    found = propose(ours, theirs)
    names = resolve([spec.key for spec in ours], found.to_rules())
    assert names.sources == {"pos_embed": "pos", "cls_token": "token", "b.gain": "a.scale"}
    twins = [TensorSpec(name, (8,), "float32", "Parameter", name) for name in ("one", "two")]
    others = [TensorSpec(name, (8,), "float32", "Parameter", name) for name in ("left", "right")]
    assert not propose(twins, others).pairs


def test_a_trial_makes_sure_only_what_it_called():
    truth = {"a": "x", "b": "y", "c": "z"}
    layers = named(truth, kind="Conv")
    called = (["a", "b"], ["x", "y"])
    found = propose(*two_sides(layers, truth), None, called).tried("tried")
    sure = {p.source for p in found.pairs if p.confidence >= SURE}
    assert sure == {"a", "b"}
    assert all("not called" in p.why for p in found.pairs if p.source == "c")


def test_a_rules_file_is_commented_in_the_language_of_what_is_printed(monkeypatch):
    layers = layers_of_a_net()
    truth = {path: RENAMES["stages"](path) for path, _, _ in layers}
    found = propose(*two_sides(layers, truth))
    monkeypatch.setattr(language, "_chosen", [language.CHINESE])
    comments = [line for line in found.to_yaml().splitlines() if line.lstrip().startswith("#")]
    told = [line for line in comments if not re.match(r"  #  ?(- match| to):", line)]
    assert len(told) >= 3
    for line in told:
        assert re.search("[\u4e00-\u9fff]", line)
        assert not re.search("may be|sure|only|partner|same|called|read it", line)
    assert Rules.model_validate(yaml.safe_load(found.to_yaml())) == found.to_rules()


def test_a_layer_that_fits_but_for_its_bias_is_named_beside_what_is_open():
    def conv(path, shape):
        return TensorSpec(f"{path}.weight", shape, "float32", "Conv", "weight")

    file = [conv("stem.conv", (4, 3, 3, 3)), conv("cls.0.conv", (5, 4, 1, 1))]
    biased = TensorSpec("head.bias", (5,), "float32", "Conv", "bias")
    net = [conv("stem.conv", (4, 3, 3, 3)), conv("head", (5, 4, 1, 1)), biased]
    found = propose(file, net)
    assert (found.unmatched, found.unfilled) == (("cls.0.conv",), ("head",))
    assert found.but_for_bias == {"cls.0.conv": "head"}
    lines = [line.strip() for line in found.to_yaml().splitlines()]
    at = lines.index("#   but for a bias it is head")
    assert lines[at + 1 : at + 3] == [r"# - match: '^cls\.0\.conv\.'", "#   to: 'head.'"]
    other = conv("aux", (5, 4, 1, 1))
    assert propose([*file, other], net).but_for_bias == {}  # which of two is not known
