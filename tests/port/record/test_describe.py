"""What is noted of a value: in a traced graph too, where lengths are symbols."""

import pytest

torch = pytest.importorskip("torch")

from port.record.describe_torch import described


class Pieces(torch.nn.Module):
    def forward(self, x):
        return x.chunk(2, dim=1)


def test_tensors_whose_lengths_are_symbols():
    auto = torch.export.Dim.AUTO
    axes = (dict.fromkeys(range(3), auto),)
    image = torch.zeros(2, 4, 6)
    program = torch.export.export(Pieces(), (image,), dynamic_shapes=axes, strict=False)
    output = next(node for node in program.graph.nodes if node.op == "output")
    pieces = [node.meta["val"] for node in output.args[0]]
    facts = described(pieces)
    assert (facts.kind, facts.rank, facts.dtype) == ("list", 2, "tensor")


@pytest.mark.parametrize(("lengths", "uneven"), [((2, 2), False), ((2, 1), True)])
def test_pieces_of_one_length_and_of_several(lengths, uneven):
    assert described([torch.zeros(one, 3) for one in lengths]).uneven is uneven
