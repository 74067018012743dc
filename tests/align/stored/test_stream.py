"""A trace is a stream: recording writes arrays as they come, forcing reads them when asked."""

import os
import signal
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.nursery import run_script

torch = pytest.importorskip("torch")

from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from align import record_trace
from align.nets.prepare_torch import prepared
from align.record.recording_torch import ReferenceRun, record, recorded
from align.stored import arrays as trace_arrays
from align.stored.arrays import ArrayWriter, StoredArrays
from align.stored.filing_torch import Filing
from align.stored.floors_torch import floors
from align.stored.format import Floor
from align.stored.reference import StoredReference
from common.errors import UnreadableError
from convert.formats.safetensors import write_safetensors

SHAPE = (2, 4, 64, 64)
ACTIVATION = 8 * 2 * 4 * 64 * 64  # bytes in float64
FEW = 6  # activations that one layer's code and one boundary may hold
SHALLOW, DEEP = 4, 20


class Storages:
    """Counts how many of the storages that it was shown live at a time."""

    def __init__(self):
        self.seen, self.most = [], 0

    def show(self, tensor):
        self.seen = [storage for storage in self.seen if not storage.expired()]
        self.seen.append(StorageWeakRef(tensor.untyped_storage()))
        self.most = max(self.most, len(self.seen))


class Layer(nn.Module):
    def __init__(self, outputs, gradients):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.outputs, self.gradients = outputs, gradients

    def forward(self, x):
        y = self.conv(x)
        self.outputs.show(y)
        if y.requires_grad:
            y.register_hook(lambda gradient: self.gradients.show(gradient))
        return y.tanh()


def stack(depth):
    outputs, gradients = Storages(), Storages()
    net = nn.Sequential(*(Layer(outputs, gradients) for _ in range(depth)))
    return net, outputs, gradients


def peak_of_arrays(work, *arguments, **settings):
    """Return the most bytes that NumPy (and Python) held at a time while `work` ran."""
    tracemalloc.start()
    try:
        work(*arguments, **settings)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_storage_that_was_let_go_is_not_counted():
    storages = Storages()
    held = [torch.zeros(3) for _ in range(2)]
    for tensor in (*held, torch.ones(3)):
        storages.show(tensor)
    del tensor
    storages.show(torch.ones(3))
    assert storages.most == 3


def test_recording_holds_no_more_of_a_deep_net_than_of_a_shallow_one(tmp_path):
    image = np.random.default_rng(0).standard_normal(SHAPE)
    limit = 2 * ACTIVATION
    peaks, alive = {}, {}
    for depth in (1, SHALLOW, DEEP):  # the first imports what it needs
        net, outputs, _ = stack(depth)
        folder = tmp_path / str(depth)
        peaks[depth] = peak_of_arrays(record_trace, net, [image], folder, shard_bytes=limit)
        alive[depth] = outputs.most
    assert alive[DEEP] == alive[SHALLOW] <= FEW
    assert peaks[DEEP] < peaks[SHALLOW] + FEW * ACTIVATION
    assert (DEEP - SHALLOW) > 2 * FEW  # or the line before says nothing
    assert len(list((tmp_path / str(DEEP)).glob("*.safetensors"))) > DEEP // 2


def test_recording_lets_go_of_gradients_as_they_come(tmp_path):
    image = torch.from_numpy(np.random.default_rng(0).standard_normal(SHAPE))
    alive = {}
    for depth in (SHALLOW, DEEP):
        net, _, gradients = stack(depth)
        folder = tmp_path / str(depth)
        folder.mkdir()
        writer = ArrayWriter(folder, limit=2 * ACTIVATION)
        with prepared(net, dtype=torch.float64, train=True, float32_constants=set()):
            trace = record(
                net,
                ReferenceRun((image,), {}, True),
                lambda net, _, writer=writer: Filing(net, writer),
            )
        assert all(call.grad_outputs[0] is not None for call in trace.calls)
        alive[depth] = gradients.most
    assert alive[DEEP] == alive[SHALLOW] <= FEW


def test_graph_of_a_result_that_nobody_uses_is_let_go(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.aux = nn.Conv2d(4, 4, 1), nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh())
            self.unused = None

        def forward(self, x):
            y = self.body(x)
            self.unused = StorageWeakRef(self.aux(y).untyped_storage())
            return y

    net, writer = Net(), ArrayWriter(tmp_path)
    run = ReferenceRun((torch.zeros(SHAPE, dtype=torch.float64),), {}, True)
    with prepared(net, dtype=torch.float64, train=True, float32_constants=set()):
        with recorded(net, run, keeper=lambda net, _: Filing(net, writer)) as recording:
            assert net.unused.expired()
            recording.backward()
        calls = {call.path: call for call in recording.trace.calls}
    assert calls["aux"].grad_outputs == [None]
    assert calls["body"].grad_outputs[0] is not None


class Writes(torch.autograd.Function):
    """Its backward writes into the gradient that was recorded."""

    @staticmethod
    def forward(ctx, x):
        return x * 2.0

    @staticmethod
    def backward(ctx, gradient):
        return gradient.mul_(2.0)


class Rude(nn.Module):
    """Writes into tensors after they passed a boundary, with and without autograd's knowledge."""

    def __init__(self):
        super().__init__()
        self.first, self.shared = nn.Linear(6, 6), nn.Linear(6, 6)
        self.act, self.drop = nn.ReLU(inplace=True), nn.Dropout(0.5)
        self.pass_on = nn.Identity()
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x):
        y = self.first(x)
        y[:, 0] = 0.5
        z = self.pass_on(self.act(self.shared(y)))
        z.data.clamp_(max=1.0)
        w = Writes.apply(self.pass_on(self.shared(z)))
        self.seen += w.detach().mean(0)
        w = self.drop(w)
        return {"all": [w, self.pass_on(w.t())], "none": None, "best": w.argmax(1)}


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_what_is_streamed_is_what_a_run_in_memory_has(tmp_path, train, backward):
    torch.manual_seed(0)
    net, image = Rude(), np.random.default_rng(0).standard_normal((5, 6))
    folder = record_trace(
        net, [image], tmp_path / "trace", train=train, backward=backward, shard_bytes=500
    )
    stored = StoredReference(folder)
    run = ReferenceRun((torch.from_numpy(image),), {}, backward)
    with prepared(net, dtype=torch.float64, train=train, float32_constants=set()):
        trace = record(net, run)
        trace.choices.clear()  # what is stored cannot give them: they move as they will
        measured = floors(net, trace, run)
    assert len(stored.trace.calls) == len(trace.calls) == 9
    for ours, theirs in zip(stored.trace.calls, trace.calls, strict=True):
        assert ours.key == theirs.key
        for name in ("inputs", "outputs", "grad_inputs", "grad_outputs"):
            assert_same(getattr(ours, name), getattr(theirs, name))
    assert len(stored.trace.draws) == len(trace.draws) == int(train)
    assert_same([d.values for d in stored.trace.draws], [d.values for d in trace.draws])
    for name in ("buffers", "buffers_before", "gradients"):
        ours, theirs = getattr(stored.trace, name), getattr(trace, name)
        assert list(ours) == list(theirs)
        assert_same(list(ours.values()), list(theirs.values()))
    assert [as_read(floor) for floor in measured] == stored.manifest.floors


def assert_same(ours, theirs):
    """Two lists of arrays, or None, are the same to the bit."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        if other is None:
            assert one is None
        else:
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert one.tobytes() == other.tobytes()


def as_read(floor):
    return Floor(
        floor.path, floor.call, floor.where, floor.all, floor.layers, floor.root, floor.constants
    )


KILLED = """
import os, signal, sys
import numpy as np, torch
from torch import nn
from align import record_trace

class Dies(nn.Module):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)

layers = [nn.Conv2d(4, 4, 1) for _ in range(6)]
net = nn.Sequential(*layers, *([Dies()] if sys.argv[2] == "dies" else []))
record_trace(net, [np.ones((2, 4, 32, 32))], sys.argv[1], shard_bytes=100_000)
"""


def test_killed_recording_leaves_no_trace_and_the_one_before_whole(tmp_path, tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "killed.py"
    script.write_text(KILLED)

    def recorded_by(how):
        done = run_script(script, tmp_path / "trace", how)
        return done.returncode, done.stderr

    code, said = recorded_by("lives")
    assert code == 0, said
    assert recorded_by("dies")[0] == -signal.SIGKILL
    assert len(StoredReference(tmp_path / "trace").trace.calls) == 7
    (draft,) = (path for path in tmp_path.iterdir() if path.name != "trace")
    assert list(draft.glob("*.safetensors"))  # what came before was written by then
    with pytest.raises(UnreadableError, match="--record"):
        StoredReference(draft)

    running = tmp_path / f".trace.{os.getppid()}.part"
    running.mkdir()
    record_trace(nn.Conv2d(4, 4, 1), [np.ones((1, 4, 2, 2))], tmp_path / "trace")
    assert sorted(tmp_path.iterdir()) == [running, tmp_path / "trace"]


def test_forcing_holds_no_more_of_a_deep_net_than_of_a_shallow_one(tmp_path):
    paddle = pytest.importorskip("paddle")
    from align import force_trace
    from align.arrays.arrays_paddle import shared, to_array

    own = np.zeros(64)
    if to_array(shared(own)).__array_interface__["data"][0] != own.__array_interface__["data"][0]:
        pytest.skip("this Paddle copies what is lent to it, as 2.6.2 does")
    held = paddle.base.core.host_memory_stat_current_value

    class Port(paddle.nn.Conv2D):
        def forward(self, x):
            most.append(held("Allocated", 0))
            return super().forward(x)

    image = np.random.default_rng(0).standard_normal(SHAPE)
    peaks = {}
    for depth in (SHALLOW, DEEP):
        net = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(depth)))
        folder = record_trace(net, [image], tmp_path / str(depth), backward=True)
        port = paddle.nn.Sequential(*(Port(4, 4, 1) for _ in range(depth)))
        most, before = [], held("Allocated", 0)
        report = force_trace(port, folder)
        assert report.exit_code == 0, report.verdict
        assert len(most) == 2 * depth  # as it is, and forced
        peaks[depth] = max(most) - before
    assert peaks[DEEP] < peaks[SHALLOW] + FEW * ACTIVATION


def resident(folder):
    """Return how many bytes of mapped files of `folder` stand in memory; Linux only."""
    total, mapped = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            mapped = words[-1].startswith(str(folder))
        elif mapped and words[0] == "Rss:":
            total += int(words[1]) * 1024
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="asks Linux")
def test_pages_that_were_read_are_given_back(tmp_path, monkeypatch):
    size, count = 1 << 18, 40
    monkeypatch.setattr(trace_arrays, "RESIDENT", 4 * size)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(size // 8) for _ in range(count)]
    writer = ArrayWriter(tmp_path, limit=3 * size)
    names = [writer.add(array) for array in arrays]
    stored = StoredArrays(tmp_path, writer.finish(), []).named(names)
    held = []
    for array, expected in zip(stored, arrays, strict=True):
        assert np.array_equal(array, expected)
        held.append(array)
        assert resident(tmp_path) <= 8 * size
    assert np.array_equal(held[0], arrays[0])  # a view stays good


def test_what_is_written_into_an_array_never_reaches_the_file(tmp_path):
    writer = ArrayWriter(tmp_path)
    name = writer.add(np.arange(64.0))
    shards = writer.finish()
    StoredArrays(tmp_path, shards, [])[name][:] = -1.0
    assert np.array_equal(StoredArrays(tmp_path, shards, [])[name], np.arange(64.0))


def test_array_that_lies_askew_is_given_aligned(tmp_path):
    """Traces of earlier versions are not aligned, nor is what follows an odd size."""
    arrays = {"odd": np.arange(3.0), "next": np.arange(64.0), "bits": np.array([True, False])}
    arrays["last"] = np.arange(40) % 3 == 0
    path = tmp_path / "arrays-00001.safetensors"
    digest, size = write_safetensors(arrays, path)
    stored = StoredArrays(tmp_path, [trace_arrays.Shard(path.name, size, digest)], [])
    for name, array in arrays.items():
        found = stored.aligned(name)
        assert found.__array_interface__["data"][0] % trace_arrays.ALIGNED == 0
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


def test_arrays_of_whole_lines_lie_aligned_in_the_file(tmp_path):
    writer = ArrayWriter(tmp_path)
    names = [writer.add(np.arange(count, dtype=np.float64)) for count in (3, 64, 5, 128)]
    stored = StoredArrays(tmp_path, writer.finish(), [])
    assert stored[names[1]].__array_interface__["data"][0] % trace_arrays.ALIGNED == 0
    assert stored[names[3]].__array_interface__["data"][0] % trace_arrays.ALIGNED == 0


def test_more_files_than_a_process_may_open_is_one_message(tmp_path):
    resource = pytest.importorskip("resource")
    writer = ArrayWriter(tmp_path, limit=8)
    for number in range(40):
        writer.add(np.array(float(number)))
    shards = writer.finish()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, before[1]))
    try:
        with pytest.raises(UnreadableError, match="ulimit -n"):
            StoredArrays(tmp_path, shards, [])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_what_code_wrote_into_is_known_without_a_second_run(tmp_path):
    net, writer = Rude(), ArrayWriter(tmp_path)
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 6)))

    class Polite(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            y = self.first(x)
            y[:, 0] = 0.5
            return self.last(y)

    for net, expected in (
        (Polite(), {"first": {"output:0"}, "": set(), "last": set()}),
        (Rude(), None),
    ):
        with prepared(net, dtype=torch.float64, train=False, float32_constants=set()):
            filing = Filing(net, writer)
            trace = record(net, ReferenceRun((image,), {}, True), lambda *_, filing=filing: filing)
        for call in trace.calls:
            filing.note_written(call)
            every = {f"input:{i}" for i in range(len(call.inputs))}
            every |= {f"output:{i}" for i in range(len(call.outputs))}
            assert call.written == (every if expected is None else expected[call.path])
