"""Batches bit for bit, counts exactly, and the distributions of first weights."""

import re
import tracemalloc

import numpy as np
import pytest

from align import align_data, align_metric
from common.metrics import ConfusionMatrix


def loader(count=3, change=None):
    rng = np.random.default_rng(0)
    for index in range(count):
        image = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
        label = rng.integers(0, 19, (2, 4, 5))
        if change is not None and index == 1:
            image, label = change(image, label)
        yield {"image": image, "label": label}


def test_equal_batches_are_aligned_and_only_the_first_are_read():
    report = align_data(loader(9), loader(2 + 3), count=5)
    assert report.exit_code == 0
    assert len(report.calls) == 10


def test_first_differing_pixel_is_named():
    def change(image, label):
        label[1, 2, 3] += 1
        label[1, 3, 3] += 9
        return image, label

    report = align_data(loader(), loader(change=change))
    assert [(d.layer, d.where, d.worst_index) for d in report.divergences] == [
        ("batch 1", "label", (1, 2, 3))
    ]


def test_a_plain_tuple_is_told_by_its_order_or_the_names_given():
    def tuples(change=None):
        return (tuple(batch.values()) for batch in loader(change=change))

    def other(image, label):
        return image, label + 1

    report = align_data(tuples(), tuples(other))
    assert [d.where for d in report.divergences] == ["output:1"]
    report = align_data(tuples(), tuples(other), names=("image", "label"))
    assert [d.where for d in report.divergences] == ["label"]


def test_samples_that_are_flipped_are_named():
    def one(image, label):
        label[1] = label[1, :, ::-1].copy()
        return image, label

    def some(image, label):
        image = np.concatenate([image, image + 1, image - 1, image * 2])
        image[[0, 3]] = image[[0, 3], :, :, ::-1].copy()
        return image, label

    def as_some(image, label):
        return np.concatenate([image, image + 1, image - 1, image * 2]), label

    (found,) = align_data(loader(), loader(change=one)).divergences
    assert "sample 1 of the batch (1 differ): the values lie in reverse order along axis 2" in (
        found.cause
    )
    (found,) = align_data(loader(change=as_some), loader(change=some)).divergences
    assert "samples 0, 3 of the batch (2 differ)" in found.cause
    assert "reverse order along axis 3" in found.cause


def test_samples_of_which_nothing_is_known_are_only_counted():
    def noise(image, label):
        return image + np.random.default_rng(9).standard_normal(image.shape).astype("f4"), label

    (found,) = align_data(loader(), loader(change=noise)).divergences
    assert "samples" not in found.cause


def test_last_bit_dtype_and_shape_count():
    def last_bit(image, label):
        image[0, 0, 0, 0] = np.nextafter(image[0, 0, 0, 0], np.float32(9))
        return image, label

    assert align_data(loader(), loader(change=last_bit)).exit_code == 1
    assert align_data(loader(), loader(change=lambda i, y: (i, y.astype(np.int32)))).exit_code == 1
    assert align_data(loader(), loader(change=lambda i, y: (i[:1], y))).exit_code == 1


def test_loader_that_ends_early_differs_and_none_could_not_be_checked():
    report = align_data(loader(3), loader(2))
    assert report.exit_code == 1
    assert "ends before this batch" in report.divergences[0].cause
    assert align_data([], []).exit_code == 2


def predictions(count=3):
    rng = np.random.default_rng(1)
    return [(rng.integers(0, 4, (2, 8, 8)), rng.integers(0, 4, (2, 8, 8))) for _ in range(count)]


def test_equal_counts_are_aligned():
    report = align_metric(ConfusionMatrix(4), ConfusionMatrix(4), predictions())
    assert report.exit_code == 0
    assert sum(call.layer.startswith("batch") for call in report.calls) == 3


def test_one_count_that_differs_is_named():
    class Wrong(ConfusionMatrix):
        def update(self, prediction, label):
            prediction = prediction.copy()
            prediction[0, 0, 0] = (prediction[0, 0, 0] + 1) % 4
            super().update(prediction, label)

    report = align_metric(ConfusionMatrix(4), Wrong(4), predictions())
    assert report.exit_code == 1
    assert report.divergences[0].layer == "batch 0"
    assert len(report.divergences[0].worst_index) == 2


def test_callables_and_means_are_compared_and_nothing_is_no_pass():
    def mean(prediction, label):
        return float((prediction == label).mean())

    assert align_metric(mean, mean, predictions()).exit_code == 0
    assert align_metric(mean, lambda p, y: mean(p, y) * (1 + 1e-9), predictions()).exit_code == 1
    assert align_metric(mean, mean, []).exit_code == 2
    assert align_metric(lambda p, y: None, lambda p, y: None, predictions()).exit_code == 2


def test_initialisation_is_compared_by_distribution():
    torch = pytest.importorskip("torch")
    paddle = pytest.importorskip("paddle")
    from align import align_init

    def reference():
        return torch.nn.Conv2d(8, 16, 3)

    def port(std):
        normal = paddle.nn.initializer.Normal(0.0, std)
        return paddle.nn.Conv2D(8, 16, 3, weight_attr=normal)

    report = align_init(reference, lambda: port(0.05), seeds=3)
    assert {d.where for d in report.divergences} == {"weight:weight", "weight:bias"}
    assert "deviation 0.0" in report.divergences[0].cause


def test_stdc_initialises_as_its_reference():
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    import paddle_impl
    import torch_ref
    from align import align_init

    report = align_init(
        lambda: torch_ref.build_model("stdc1_seg"),
        lambda: paddle_impl.build_model("stdc1_seg"),
        seeds=2,
    )
    assert report.exit_code == 0, report.verdict
    assert len(report.calls) == 240


def init_report(reference, port, seeds=6):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from align import align_init

    return align_init(reference, port, seeds=seeds)


def torch_net():
    from torch import nn

    depthwise = nn.Conv2d(16, 16, 3, groups=16, bias=False)
    return nn.Sequential(nn.Conv2d(3, 16, 3), depthwise, nn.Conv2d(16, 32, 1, bias=False))


def paddle_net(attr=None, bias=None):
    from paddle import nn

    depthwise = nn.Conv2D(16, 16, 3, groups=16, bias_attr=False, weight_attr=attr)
    first = nn.Conv2D(3, 16, 3, weight_attr=attr, bias_attr=bias)
    return nn.Sequential(first, depthwise, nn.Conv2D(16, 32, 1, bias_attr=False, weight_attr=attr))


def test_default_first_weights_are_one_finding_that_says_what_to_write():
    report = init_report(torch_net, paddle_net)
    weights = [call.cause for call in report.calls if call.where == "weight:weight"]
    assert len(weights) == 3
    assert {str(cause.values["port"].kind) for cause in weights} == {"law_paddle"}
    assert {str(cause.values["reference"].kind) for cause in weights} == {"law_torch"}
    (group,) = in_groups_of(report)
    assert [mend.layer for mend in group.mends] == ["0", "1", "2"]
    assert "bias_attr=" in str(group.first.cause)


def in_groups_of(report):
    from align.report.groups import grouped
    from align.report.mends import mends

    found = grouped(mends([report], ["init"]))
    said = [str(group.words) for group in found]
    assert all("one cause" in words for words in said)
    return found


def test_what_the_advice_says_is_the_references_law():
    pytest.importorskip("paddle")
    import math

    from paddle.nn import initializer

    report = init_report(torch_net, paddle_net)
    (code,) = {c.cause.values["code"] for c in report.calls if c.where == "weight:weight"}
    law = eval(f"initializer.{code}", {"initializer": initializer, "math": math})
    bound = 1 / math.sqrt(27)
    again = init_report(torch_net, lambda: paddle_net(law, initializer.Uniform(-bound, bound)))
    assert again.exit_code == 0, again.verdict


@pytest.mark.parametrize(
    ("draw", "law"),
    [
        ("kaiming_normal_", "law_kaiming_normal"),
        ("kaiming_uniform_", "law_kaiming_uniform"),
        ("xavier_uniform_", "law_xavier_uniform"),
        ("xavier_normal_", "law_xavier_normal"),
        ("zeros_", "law_constant"),
        ("normal", "law_normal"),
        ("strange", None),
    ],
)
def test_a_law_is_named_where_the_values_are_of_it(draw, law):
    torch = pytest.importorskip("torch")
    own = {
        "normal": lambda w: torch.nn.init.normal_(w, std=0.01),
        "strange": lambda w: w.copy_(torch.rand_like(w) ** 3),
    }

    def reference():
        conv = torch.nn.Conv2d(8, 24, 3, bias=False)
        with torch.no_grad():
            own.get(draw, getattr(torch.nn.init, draw, None))(conv.weight)
        return conv

    def port():
        from paddle import nn

        return nn.Conv2D(8, 24, 3, bias_attr=False, weight_attr=nn.initializer.Uniform(-0.7, 0.3))

    (call,) = init_report(reference, port).calls
    if law is None:
        assert call.cause.kind == "distribution"
    else:
        assert call.cause.values["reference"].kind == law
        assert call.cause.values["port"].kind == "law_other"


def test_few_values_are_not_said_to_be_of_a_law_that_they_are_hardly_of():
    """Of ten values the test of distributions alone refuses no law, not even one of a hundredth."""
    torch = pytest.importorskip("torch")

    def reference():
        convs = [torch.nn.Conv2d(3, 5, 3), *(torch.nn.Conv2d(5, 5, 1) for _ in range(3))]
        for conv in convs:
            torch.nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        return torch.nn.Sequential(*convs)

    def port():
        from paddle import nn

        return nn.Sequential(nn.Conv2D(3, 5, 3), *(nn.Conv2D(5, 5, 1) for _ in range(3)))

    for seeds in (2, None):
        found = [call for call in init_report(reference, port, seeds).calls if call.cause]
        laws = {(call.where, str(call.cause.values["reference"].kind)) for call in found}
        assert ("weight:bias", "law_torch_bias") in laws
        assert laws <= {
            ("weight:bias", "law_torch_bias"),
            ("weight:weight", "law_kaiming_normal_out"),
        }


def test_a_small_net_is_built_until_it_says_enough():
    """Two builds of a few weights pass whatever they were drawn from."""
    torch = pytest.importorskip("torch")
    paddle = pytest.importorskip("paddle")

    def port():
        return paddle.nn.Conv2D(5, 5, 1, bias_attr=False)  # half again as far spread

    def reference():
        conv = torch.nn.Conv2d(5, 5, 1, bias=False)
        torch.nn.init.normal_(conv.weight, std=0.3)
        return conv

    assert init_report(reference, port, 2).exit_code == 0
    report = init_report(reference, port, None)
    assert (report.exit_code, report.settings["seeds"]) == (1, 20)


def test_a_net_that_seeds_itself_counts_once():
    torch = pytest.importorskip("torch")
    paddle = pytest.importorskip("paddle")

    def reference():
        torch.manual_seed(3)
        return torch.nn.Conv2d(8, 16, 3)

    def port():
        paddle.seed(3)
        bound = 1 / 72**0.5
        uniform = paddle.nn.initializer.Uniform(-bound, bound)
        return paddle.nn.Conv2D(8, 16, 3, weight_attr=uniform, bias_attr=uniform)

    report = init_report(reference, port, seeds=20)
    assert report.exit_code == 0, report.verdict
    assert [call.shape for call in report.calls] == [(1152,), (16,)]
    default = init_report(reference, lambda: (paddle.seed(3), paddle.nn.Conv2D(8, 16, 3))[1])
    laws = {call.cause.values["reference"].kind for call in default.calls}
    assert laws == {"law_torch", "law_torch_bias"}


def test_too_few_values_show_nothing_and_say_so():
    torch, nn = pytest.importorskip("torch"), pytest.importorskip("paddle").nn
    few = init_report(lambda: torch.nn.Linear(1, 1), lambda: nn.Linear(1, 1), 2)
    assert (few.exit_code, {call.verdict for call in few.calls}) == (1, {"differs", "noise"})
    bound = nn.initializer.Uniform(-0.125, 0.125)
    report = init_report(lambda: torch.nn.Linear(64, 1), lambda: nn.Linear(64, 1, bound, bound), 2)
    assert report.exit_code == 0
    assert str(report.verdict).endswith("1 more have too few values to tell")


def test_tables_that_rounding_alone_moves_are_the_same():
    """Half the values stand on one point: distributions that are moved by 1e-8 are half apart."""
    torch, paddle = pytest.importorskip("torch"), pytest.importorskip("paddle")
    table = np.repeat([0.1, 0.7], 32).astype("float32")

    def reference():
        net = torch.nn.Module()
        net.register_buffer("table", torch.tensor(table))
        net.register_buffer("bias", torch.full((3,), -4.5951199))
        return net

    def port(by=1e-7):
        net = paddle.nn.Layer()
        net.register_buffer("table", paddle.to_tensor(table[::-1] * (1 + np.float32(by))))
        net.register_buffer("bias", paddle.full([3], -4.5951202))
        return net

    assert init_report(reference, port, 2).exit_code == 0
    wrong = init_report(reference, lambda: port(1e-4), 2)
    assert [one.where.partition(":")[2] for one in wrong.divergences] == ["table"]


def test_arrays_of_a_target_are_named():
    def batch(offset):
        semantic = np.zeros((2, 3), np.int64)
        return np.zeros((2, 3)), {"semantic": semantic, "offset": np.full((2, 3), offset)}

    report = align_data([batch(1.0)], [batch(2.0)], names=("image", "target"))
    assert [call.where for call in report.calls] == ["image", "target.offset", "target.semantic"]
    assert [d.where for d in report.divergences] == ["target.offset"]


def test_what_rounding_alone_makes_of_images_is_said_with_all_digits():
    image = np.random.default_rng(0).uniform(0, 255, (2, 3, 8, 8)).astype(np.float32)
    mean = np.array([105.65775, 103.329834, 99.625404]).reshape(3, 1, 1)
    theirs, ours = (image - mean).astype(np.float32), image - mean.astype(np.float32)
    report = align_data([theirs], [ours])
    assert report.exit_code == 1
    cause = str(report.divergences[0].cause)
    one, other = re.findall(r"[-0-9]+\.[0-9]+", cause)
    assert np.float32(one) != np.float32(other)
    assert cause.endswith(
        "rounding of float32 alone: one formula, computed in another precision or order"
    )
    assert "rounding" not in str(align_data([theirs], [ours + 1e-3]).divergences[0].cause)


def test_first_weights_keep_no_whole_net_for_their_samples():
    torch, paddle = pytest.importorskip("torch"), pytest.importorskip("paddle")
    from align import align_init

    width = 2048

    def peak(build):
        tracemalloc.start()
        try:
            build()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def climb():
        return align_init(
            lambda: torch.nn.Linear(width, width, bias=False),
            lambda: paddle.nn.Linear(width, width, bias_attr=False),
            seeds=4,
        )

    assert peak(climb) < width * width * 8  # numpy's alone
