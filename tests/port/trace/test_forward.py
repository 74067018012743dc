"""Bodies from graphs made by hand: what differs between instances and modes, what is refused."""

import pytest

from port.calls import NoSpelling
from port.record.facts import Facts
from port.trace.forward import forward_of
from port.trace.graph import Ref, TracedCall, TracedClass, TracedGraph, TracedNode, TraceError

TENSOR = Facts("tensor", rank=4, dtype="float32")


def call(*nodes, path="net", training=False, axes=(None, 3, None, None), **attributes):
    """Return a call of one tensor, whose last node is returned."""
    graph = TracedGraph(
        inputs={"x": "x"},
        facts={"x": TENSOR},
        shapes={"x": axes},
        nodes=list(nodes),
        output=Ref(nodes[-1].name),
    )
    return TracedCall(path, training, attributes, graph)


def split(size):
    return TracedNode(
        "split", "aten.split.Tensor", (("self", Ref("x")), ("split_size", size)), TENSOR
    )


def scaled(number, of="x"):
    return TracedNode("mul", "aten.mul.Tensor", (("self", Ref(of)), ("other", number)), TENSOR)


def dropped(training):
    given = (("input", Ref("x")), ("p", 0.5), ("train", training))
    return TracedNode("dropout", "aten.dropout.default", given, TENSOR)


def lines(*calls):
    traced = TracedClass("users", "Block", "(self, x)", list(calls))
    return list(forward_of(traced, lambda spelled: spelled.text).lines)


def test_lengths_that_were_baked_in_and_the_mode_are_asked_for():
    assert lines(call(scaled(2))) == [
        'require_traced("self.training", self.training, [False])',
        'require_traced("x", x, [(None, 3, None, None)])',
        "mul = x * 2",
        "return mul",
    ]


def test_numbers_that_differ_are_read_from_the_instances():
    one, other = call(scaled(7), width=7), call(scaled(9), path="b", width=9)
    assert lines(one, other)[2:] == ["mul = x * self.width", "return mul"]


def test_graphs_that_differ_are_told_apart_by_an_attribute():
    shifted = TracedNode(
        "roll", "aten.roll.default", (("self", Ref("x")), ("shifts", (2,))), TENSOR
    )
    found = lines(call(scaled(7), shift=0), call(shifted, path="b", shift=2))
    assert found[2] == 'require_traced("shift", self.shift, [0, 2])'
    assert found[3:5] == ["if self.shift == 0:", "    mul = x * 7"]
    assert "else:" in found


def test_instances_that_nothing_tells_apart_are_refused():
    with pytest.raises(TraceError, match="no attribute tells"):
        lines(call(scaled(7)), call(scaled(9), path="b"))


def test_what_follows_the_mode_asks_for_it():
    both = lines(call(dropped(False)), call(dropped(True), training=True))
    assert both[1:] == ["dropout = F.dropout(x, 0.5, training=self.training)", "return dropout"]
    apart = lines(call(scaled(7)), call(scaled(9), training=True))
    assert apart[1:] == [
        "if self.training:",
        "    mul = x * 9",
        "    return mul",
        "mul = x * 7",
        "return mul",
    ]


def test_what_has_no_row_and_what_has_no_graph_is_refused():
    odd = TracedNode("odd", "aten.special_erfcx.default", (("self", Ref("x")),), TENSOR)
    with pytest.raises(NoSpelling, match="special_erfcx"):
        lines(call(odd))
    with pytest.raises(TraceError, match="data-dependent"):
        lines(TracedCall("net", False, {}, None, "data-dependent"))


def test_lengths_are_asked_of_the_tensor_and_modules_are_called():
    size = TracedNode("s", "size", (("of", Ref("x")), ("axis", 2)), Facts("int"))
    half = TracedNode("h", "size.floordiv", (("x0", Ref("s")), ("x1", 2)), Facts("int"))
    inner = (("path", ("layers", "0")), ("args", (Ref("x"),)), ("kwargs", {"size": Ref("h")}))
    inside = TracedNode("c", "call", (*inner, ("output", {"out": 0, "more": [1]})))
    second = TracedNode("g", "get", (("of", Ref("c")), ("index", 1)), TENSOR)
    found = lines(call(size, half, inside, second, scaled(2, "g")))[2:]
    assert found == [
        "layers_0_out = self.layers[0](x, size=(x.shape[2] // 2))",
        "mul = layers_0_out['more'][0] * 2",
        "return mul",
    ]


def test_an_error_without_words_is_why_a_call_has_no_graph(monkeypatch):
    torch = pytest.importorskip("torch")
    from port.trace import export_torch
    from port.trace.calls_torch import SeenRun

    def unfinished(*given):
        raise NotImplementedError

    monkeypatch.setattr(export_torch, "_graph", unfinished)
    run = SeenRun("net", torch.nn.Identity(), False, (), {})
    failed = export_torch.traced_call(run, bool)
    assert failed.graph is None
    assert failed.failed.startswith("torch.export: NotImplementedError")


def test_more_calls_than_are_traced_are_refused(monkeypatch):
    torch = pytest.importorskip("torch")
    from port.trace import trace_torch

    class Block(torch.nn.Module):
        def forward(self, x):
            return x

    monkeypatch.setattr(trace_torch, "_MOST", 1)
    net = torch.nn.Sequential(Block(), Block())
    place = (__file__, Block.forward.__code__.co_firstlineno + 1)
    found = trace_torch.traced_classes(net, lambda: net(torch.zeros(1)), [place], bool)
    with pytest.raises(TraceError, match="2 of its calls may differ, and at most 1"):
        forward_of(found[0], lambda spelled: spelled.text)
