"""Losses that find no order in their outputs, as DETR's: judged on the reference's assignment.

The criteria are a stranger's: queries with classes and boxes, matched with objects by cost.
"""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align import align_backward, align_loss, align_training, force_trace, record_trace
from align.pairing.fill import load_state
from common.errors import UserError
from convert import convert_state

QUERIES, OBJECTS, CLASSES = 5, 3, 4


def query_of_object(cost, backwards=False):
    """Return the query of every object [N, objects]; `backwards`: ties go to the later query."""
    found = np.zeros(cost.shape[::2], np.int64)
    for image, one in enumerate(cost):
        rows, columns = linear_sum_assignment(one[::-1] if backwards else one)
        found[image, columns] = len(one) - 1 - rows if backwards else rows
    return found


class TorchDetr(torch.nn.Module):
    """Costs, assignment and loss; `tells_cost`: the costs are compared, too."""

    def __init__(self, tells_cost=False):
        super().__init__()
        self.tells_cost = tells_cost

    def costs(self, outputs, label):
        logits, boxes = outputs
        index = label["classes"][:, None].expand(-1, logits.shape[1], -1)
        chosen = torch.gather(logits.softmax(-1), 2, index)
        return (boxes[:, :, None] - label["boxes"][:, None]).abs().sum(-1) - chosen

    def assignment(self, outputs, label):
        cost = self.costs(outputs, label).numpy()
        found = {"query": query_of_object(cost)}
        return {**found, "cost": cost} if self.tells_cost else found

    def forward(self, outputs, label, assignment=None):
        logits, boxes = outputs
        if assignment is None:
            with torch.no_grad():
                assignment = self.assignment(outputs, label)
        query = torch.as_tensor(assignment["query"])
        image = torch.arange(len(query))[:, None]
        logs = logits.log_softmax(-1)[image, query]
        classes = torch.gather(logs, 2, label["classes"][..., None])
        return (boxes[image, query] - label["boxes"]).abs().sum() - classes.sum()


class PaddleDetr(paddle.nn.Layer):
    """The port; `power` and `weight` are faults of its cost and of its loss."""

    def __init__(self, tells_cost=False, power=1.0, weight=1.0, backwards=False):
        super().__init__()
        self.tells_cost = tells_cost
        self.power, self.weight, self.backwards = power, weight, backwards

    def costs(self, outputs, label):
        logits, boxes = outputs
        index = label["classes"].unsqueeze(1).expand([-1, logits.shape[1], -1])
        chosen = paddle.take_along_axis(paddle.nn.functional.softmax(logits, -1), index, 2)
        apart = (boxes.unsqueeze(2) - label["boxes"].unsqueeze(1)).abs().sum(-1)
        return apart**self.power - chosen

    def assignment(self, outputs, label):
        cost = self.costs(outputs, label).numpy()
        found = {"query": query_of_object(cost, self.backwards)}
        return {**found, "cost": cost} if self.tells_cost else found

    def forward(self, outputs, label, assignment=None):
        logits, boxes = outputs
        if assignment is None:
            found = self.assignment(outputs, label)
            assignment = {"query": paddle.to_tensor(found["query"])}
        query = assignment["query"].unsqueeze(-1)
        logs = paddle.nn.functional.log_softmax(logits, -1)
        logs = paddle.take_along_axis(logs, query.expand([-1, -1, CLASSES]), 1)
        classes = paddle.take_along_axis(logs, label["classes"].unsqueeze(-1), 2)
        boxes = paddle.take_along_axis(boxes, query.expand([-1, -1, 4]), 1)
        return (boxes - label["boxes"]).abs().sum() * self.weight - classes.sum()


def label_of(seed=0):
    rng = np.random.default_rng(seed)
    boxes = rng.random((2, OBJECTS, 4))
    return {"classes": rng.integers(0, CLASSES, (2, OBJECTS)), "boxes": boxes}


def outputs_of(seed=0, tied=False):
    """Logits and boxes of the queries; tied: two queries are the same, and the best of all."""
    rng = np.random.default_rng(seed)
    logits, boxes = rng.standard_normal((2, QUERIES, CLASSES)), rng.random((2, QUERIES, 4))
    if tied:
        logits[:, 1], boxes[:, 1] = logits[:, 3], boxes[:, 3] = (
            0.1,
            label_of()["boxes"][:, 0] + 0.01,
        )
    return logits, boxes


def judged(criteria, **how):
    return align_loss(*criteria, [outputs_of(**how), label_of()])


def of_assignment(report):
    return {c.where: c.verdict for c in report.calls if c.layer == "assignment"}


def test_the_right_port_is_aligned_and_its_assignment_was_compared():
    report = judged((TorchDetr(), PaddleDetr()))
    assert report.exit_code == 0, report.verdict
    assert of_assignment(report)["output:0"] == "equal"


@pytest.mark.parametrize("seed", range(4))
def test_a_tie_that_goes_to_another_query_is_no_fault(seed):
    """Which of two equal queries an object gets hangs on the last bit: it is said, not blamed."""
    report = judged((TorchDetr(), PaddleDetr(backwards=True)), tied=True, seed=seed)
    assert report.exit_code == 0, report.verdict
    assert of_assignment(report)["output:0"] == "noise"
    assert any("own assignments" in str(note) for note in report.notes)


def test_a_tie_does_not_excuse_another_choice():
    """What the reference may choose within rounding is known by query, not counted."""
    report = judged((TorchDetr(), PaddleDetr(power=-1.0, backwards=True)), tied=True)
    assert {(d.layer, d.where) for d in report.divergences} == {("assignment", "output:0")}


def test_without_the_offer_the_same_tie_is_found():
    """What the offer is for."""
    theirs, ours = TorchDetr(), PaddleDetr(backwards=True)
    report = align_loss(
        lambda outputs, label: theirs(outputs, label),
        lambda outputs, label: ours(outputs, label),
        [outputs_of(tied=True), label_of()],
    )
    assert report.exit_code == 1


def test_a_wrong_cost_is_found_by_what_it_chooses():
    report = judged((TorchDetr(), PaddleDetr(power=-1.0)))
    assert report.exit_code == 1
    assert {(d.layer, d.where) for d in report.divergences} == {("assignment", "output:0")}


def test_a_wrong_cost_that_chooses_alike_is_found_where_costs_are_told():
    assert judged((TorchDetr(), PaddleDetr(power=1.01))).exit_code == 0
    report = judged((TorchDetr(True), PaddleDetr(True, power=1.01)))
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == {"assignment"}
    assert judged((TorchDetr(True), PaddleDetr(True))).exit_code == 0


def test_a_wrong_loss_is_found_in_the_loss_and_not_in_the_assignment():
    report = judged((TorchDetr(), PaddleDetr(weight=0.5)))
    assert report.exit_code == 1
    assert {d.layer for d in report.divergences} == {""}
    assert of_assignment(report)["output:0"] == "equal"


class TorchQueries(torch.nn.Module):
    """A net of queries: logits and boxes of a vector."""

    def __init__(self):
        super().__init__()
        self.logits = torch.nn.Linear(6, QUERIES * CLASSES)
        self.boxes = torch.nn.Linear(6, QUERIES * 4)

    def forward(self, x):
        logits, boxes = self.logits(x), self.boxes(x)
        return logits.reshape(-1, QUERIES, CLASSES), boxes.reshape(-1, QUERIES, 4)


class PaddleQueries(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.logits = paddle.nn.Linear(6, QUERIES * CLASSES)
        self.boxes = paddle.nn.Linear(6, QUERIES * 4)

    def forward(self, x):
        logits, boxes = self.logits(x), self.boxes(x)
        return logits.reshape([-1, QUERIES, CLASSES]), boxes.reshape([-1, QUERIES, 4])


@pytest.fixture
def nets():
    torch.manual_seed(0)
    reference, port = TorchQueries(), PaddleQueries()
    arrays = {key: tensor.detach().numpy() for key, tensor in reference.state_dict().items()}
    load_state(port, convert_state(arrays, port).state)
    return reference, port


def batches(count=1):
    rng = np.random.default_rng(3)
    return [[rng.standard_normal((2, 6)), label_of(step)] for step in range(count)]


CASES = {
    "right": (lambda: PaddleDetr(True), set()),
    "wrong cost": (lambda: PaddleDetr(True, power=2.0), {"(loss).assignment"}),
    "wrong loss": (lambda: PaddleDetr(True, weight=0.5), {"(loss)"}),
}


@pytest.mark.parametrize("case", CASES)
def test_with_a_net_it_is_found_at_its_place(nets, case):
    ours, blamed = CASES[case]
    report = align_backward(*nets, batches()[0], TorchDetr(True), ours())
    assert report.exit_code == bool(blamed), report.verdict
    assert {d.layer for d in report.divergences} == blamed


@pytest.mark.parametrize("case", CASES)
def test_in_training_too(nets, case):
    ours, blamed = CASES[case]

    def theirs(parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def mine(parameters):
        return paddle.optimizer.SGD(0.1, parameters=parameters)

    report = align_training(*nets, batches(2), TorchDetr(True), ours(), theirs, mine)
    assert report.exit_code == bool(blamed), report.verdict
    assert {d.layer for d in report.divergences} == blamed


def test_a_stored_trace_holds_the_assignment(nets, tmp_path):
    reference, port = nets
    folder = tmp_path / "trace"
    record_trace(
        reference, batches()[0], folder, train=True, backward=True, torch_loss=TorchDetr(True)
    )
    assert force_trace(port, folder, loss=PaddleDetr(True)).exit_code == 0
    report = force_trace(port, folder, loss=PaddleDetr(True, power=2.0))
    assert {d.layer for d in report.divergences} == {"(loss).assignment"}
    with pytest.raises(UserError, match="the reference's loss offers assignment"):
        force_trace(port, folder, loss=lambda outputs, label: PaddleDetr()(outputs, label))


class TorchAsItIs(torch.nn.Module):
    """A net whose outputs are its inputs, so that a batch says what ties."""

    def forward(self, logits, boxes):
        return logits * 1, boxes * 1


class PaddleAsItIs(paddle.nn.Layer):
    def forward(self, logits, boxes):
        return logits * 1, boxes * 1


@pytest.mark.parametrize("seed", range(3))
def test_a_tie_against_a_stored_trace_could_not_be_checked(tmp_path, seed):
    """A trace holds how many numbers other choices change, not which."""
    folder, batch = tmp_path / "trace", [*outputs_of(seed, tied=True), label_of()]
    record_trace(TorchAsItIs(), batch, folder, train=True, backward=True, torch_loss=TorchDetr())
    report = force_trace(PaddleAsItIs(), folder, loss=PaddleDetr(backwards=True))
    assert report.exit_code == 2, report.verdict
    assert {c.verdict for c in report.calls if c.at.kind == "output" and "assign" in c.layer} == {
        "unchecked"
    }


def test_an_offer_of_one_side_alone_could_not_be_checked():
    def alone(outputs, label):
        return PaddleDetr()(outputs, label)

    with pytest.raises(UserError, match="the port's does not; write both there too") as raised:
        align_loss(TorchDetr(), alone, [outputs_of(), label_of()])
    assert raised.value.exit_code == 2


def test_a_criterion_with_another_thing_of_that_name_is_called_as_before():
    class Theirs(torch.nn.Module):
        assignment = "hungarian"

        def forward(self, outputs, label):
            return (outputs - label).abs().sum()

    def ours(outputs, label):
        return (outputs - label).abs().sum()

    rng = np.random.default_rng(0)
    report = align_loss(Theirs(), ours, [rng.random((2, 3)), rng.random((2, 3))])
    assert report.exit_code == 0
    assert not of_assignment(report)
