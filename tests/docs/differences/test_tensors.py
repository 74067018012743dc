"""Rows of docs/differences.yml: tensors, types and autograd."""

import math

import numpy as np
import pytest

from paddle_impl.layers import concat
from tests.docs.differences.frameworks import (
    PADDLE2,
    PF,
    TF,
    apart,
    filled,
    noise,
    paddle,
    pnn,
    popt,
    pt,
    torch,
    tt,
)


def test_split():
    assert len(paddle.split(pt([1.0] * 6), 2)) == 2
    assert len(torch.split(tt([1.0] * 6), 2)) == 3


def test_chunk():
    assert [len(part) for part in torch.chunk(tt([1.0] * 10), 4)] == [3, 3, 3, 1]
    with pytest.raises(ValueError, match="evenly divisible"):
        paddle.chunk(pt([1.0] * 10), 4)


def test_max_and_sort_return_values():
    value = noise(2, 3)
    for name in ("max", "min", "sort"):
        assert len(getattr(torch, name)(tt(value), 1)) == 2
        assert isinstance(getattr(paddle, name)(pt(value), axis=1), paddle.Tensor)


def test_max_gradient_at_ties():
    ones = np.ones(3, "float32")
    theirs, ours = tt(ones, grad=True), pt(ones, grad=True)
    theirs.max(0)[0].backward()
    ours.max(0).backward()
    assert theirs.grad.tolist() == [1, 0, 0]
    assert ours.grad.numpy() == pytest.approx([1, 1, 1] if PADDLE2 else [1 / 3] * 3)


def test_gradient_of_values_at_places():
    after, places = np.arange(1.0, 7.0), [0, 2, 5]
    for dtype, right in (("float32", True), ("float64", PADDLE2)):
        values = pt(np.ones(3, dtype), grad=True)
        whole = paddle.zeros([6], dtype)
        whole[places] = values
        (whole * pt(after.astype(dtype))).sum().backward()
        assert np.array_equal(values.grad.numpy(), after[places]) == right
    values = pt(np.ones(3), grad=True)
    index = (paddle.to_tensor(places),)
    (paddle.index_put(paddle.zeros([6], "float64"), index, values) * pt(after)).sum().backward()
    assert np.array_equal(values.grad.numpy(), after[places])


def test_maximum_of_equals():
    first, second = pt([0.0, 2.0], grad=True), pt([0.0, 1.0], grad=True)
    x, y = tt([0.0, 2.0], grad=True), tt([0.0, 1.0], grad=True)
    paddle.maximum(first, second).sum().backward()
    torch.maximum(x, y).sum().backward()
    assert x.grad.tolist() == [0.5, 1]
    assert first.grad.tolist() == ([0, 1] if PADDLE2 else [0.5, 1])
    assert second.grad.tolist() == ([1, 0] if PADDLE2 else [0.5, 0])


def test_amax_of_one():
    rows = [noise(count, 1) for count in (3, 50, 1000)]
    right = []
    for row in rows:
        x = pt(row, grad=True)
        x.amax(axis=1).sum().backward()
        right.append((x.grad.numpy() == 1).all())
    assert all(right) != PADDLE2


def test_empty_tensors():
    none = np.zeros([0, 4], "float32")
    assert tuple(torch.cat([tt(none), tt(none)]).shape) == (0, 4)
    for compute in (lambda x: paddle.concat([x, x]), lambda x: x + x[:, :1], lambda x: x.sum()):
        if PADDLE2:
            with pytest.raises((ValueError, RuntimeError), match=r"InvalidArg|PreconditionNot"):
                compute(pt(none))
        else:
            assert not compute(pt(none)).numpy().any()
    assert list(concat([pt(none), pt(none)]).shape) == [0, 4]


def test_argmax_of_nan():
    value = [1.0, math.nan, 2.0]
    assert torch.argmax(tt(value)).item() == 1
    assert paddle.argmax(pt(value)).item() == 2


def test_max_of_nan():
    value = [1.0, math.nan, 2.0]
    assert math.isnan(torch.max(tt(value)).item())
    assert math.isnan(torch.maximum(tt(value), tt([0.0] * 3))[1].item())
    assert math.isnan(paddle.max(pt(value)).item()) != PADDLE2
    assert math.isnan(paddle.maximum(pt(value), pt([0.0] * 3))[1].item()) != PADDLE2


def test_median():
    assert torch.median(tt([1.0, 2.0, 3.0, 4.0])).item() == 2
    assert paddle.median(pt([1.0, 2.0, 3.0, 4.0])).item() == 2.5
    if not PADDLE2:
        assert paddle.median(pt([1.0, 2.0, 3.0, 4.0]), mode="min").item() == 2


def test_std_of_one_value():
    assert math.isnan(torch.std(tt([1.0])).item())
    if PADDLE2:
        assert paddle.std(pt([1.0])).item() == 0
    else:
        assert math.isnan(paddle.std(pt([1.0])).item())


def test_equal_is_close():
    one, other = np.array([1.0]), np.array([1.0 + 9e-9])
    assert not (tt(one) == tt(other)).item()
    assert (pt(one) == pt(other)).item() is PADDLE2


def test_round_half():
    value = [0.5, 1.5, 2.5, -0.5]
    assert torch.round(tt(value)).tolist() == [0, 2, 2, 0]
    assert paddle.round(pt(value)).tolist() == ([1, 2, 3, -1] if PADDLE2 else [0, 2, 2, 0])


def test_one_hot_dtype():
    assert PF.one_hot(pt([1]), 3).dtype == paddle.float32
    assert TF.one_hot(tt([1]), 3).dtype == torch.int64


def test_histogram_dtype():
    assert paddle.histogram(pt([1.0])).dtype == paddle.int64
    assert torch.histc(tt([1.0])).dtype == torch.float32


def test_full_dtype():
    assert paddle.full([2], 1).dtype == paddle.float32
    assert torch.full((2,), 1).dtype == torch.int64


def test_int_times_float():
    assert (tt([3]) * tt([0.5])).tolist() == [1.5]
    if PADDLE2:
        assert (pt([3]) * pt([0.5])).tolist() == [0]
    else:
        with pytest.raises(TypeError, match="promotion"):
            pt([3]) * pt([0.5])


def test_int32_plus_int64():
    small, large = np.array([3], "int32"), np.array([2**40], "int64")
    assert (tt(small) + tt(large)).tolist() == [2**40 + 3]
    if PADDLE2:
        assert (pt(small) + pt(large)).dtype == paddle.int32
    else:
        with pytest.raises(TypeError, match="promotion"):
            pt(small) + pt(large)


def test_concat_of_types():
    assert torch.cat([tt([1.0]), tt([1])]).dtype == torch.float32
    with pytest.raises(ValueError, match="consistent"):
        paddle.concat([pt([1.0]), pt([1])])


def test_mean_of_integers():
    with pytest.raises(RuntimeError, match="floating point"):
        torch.mean(tt([1, 2]))
    assert paddle.mean(pt([1, 2])).item() == 1


def test_pow_of_integers():
    assert torch.pow(tt([9]), 0.5).item() == 3
    assert paddle.pow(pt([9]), 0.5).item() == 1
    assert (pt([9]) ** 0.5).item() == 3


def test_uint8_arithmetic():
    value = np.array([200], "uint8")
    assert (tt(value) + tt(value)).item() == 144
    if PADDLE2:
        with pytest.raises(RuntimeError, match="uint8"):
            pt(value) + pt(value)
    else:
        assert (pt(value) + pt(value)).item() == 144


def test_float64_constants():
    """A Python number that meets a float64 tensor is rounded to float32 on 2.6.2."""
    value = np.array([3.0])
    assert (tt(value) + 0.1).item() == 3.1
    assert ((pt(value) + 0.1).item() == 3.1) != PADDLE2
    assert abs((pt(value) + 0.1).item() - 3.1) < 2e-9
    assert (pt(value) * 0.1).item() == (tt(value) * 0.1).item()


def test_gather():
    value, index = noise(3, 3), np.array([2, 0])
    picked = paddle.gather(pt(value), pt(index), axis=1)
    assert apart(picked, value[:, index]) == 0
    index2 = np.array([[2], [0], [1]])
    same = paddle.take_along_axis(pt(value), pt(index2), 1)
    assert apart(same, torch.gather(tt(value), 1, tt(index2))) == 0


def test_index_of_a_view():
    value = noise(4, 4, 4)
    theirs, ours = tt(value).transpose(1, 2), pt(value).transpose([0, 2, 1])
    assert apart(ours[[2, 0]], theirs[[2, 0]]) == 0
    wrong = apart(ours[:, [2, 0]], theirs[:, [2, 0]])
    assert wrong == 0 if PADDLE2 else wrong > 0.1
    assert apart(ours.clone()[:, [2, 0]], theirs[:, [2, 0]]) == 0


def test_negative_index():
    """torch.gather and index_select refuse it."""
    value = [1.0, 2.0, 3.0]
    with pytest.raises((IndexError, RuntimeError)):
        torch.gather(tt(value), 0, tt([-1]))
    assert paddle.take_along_axis(pt(value), pt([-1]), 0).shape[0] == 1
    if PADDLE2:
        with pytest.raises((IndexError, ValueError)):
            paddle.gather(pt(value), pt([-1]))
    else:
        assert paddle.gather(pt(value), pt([-1])).tolist() == [3]


def test_scatter_add():
    added = tt([5.0, 5.0]).scatter_add(0, tt([0, 0]), tt([1.0, 2.0]))
    assert added.tolist() == [8, 5]
    scattered = paddle.scatter(pt([5.0, 5.0]), pt([0, 0]), pt([1.0, 2.0]), overwrite=False)
    assert scattered.tolist() == [3, 5]
    put = paddle.put_along_axis(pt([5.0, 5.0]), pt([0, 0]), pt([1.0, 2.0]), 0, reduce="add")
    assert put.tolist() == [8, 5]


def test_unfold_gradient():
    theirs, ours = tt([[1.0] * 5]).requires_grad_(), pt([[1.0] * 5])
    ours.stop_gradient = False
    theirs.unfold(1, 3, 1).sum().backward()
    ours.unfold(1, 3, 1).sum().backward()
    assert theirs.grad.tolist() == [[1, 2, 3, 2, 1]]
    if not PADDLE2:
        assert ours.grad.tolist() == [[1, 1, 1, 1, 1]]


def test_diag_embed_gradient():
    theirs, ours = tt([1.0, 2.0]).requires_grad_(), pt([1.0, 2.0])
    ours.stop_gradient = False
    assert torch.diag_embed(theirs).requires_grad
    if not PADDLE2:
        assert paddle.diag_embed(ours).stop_gradient


def test_reshape_zero():
    assert list(paddle.zeros([2, 3]).reshape([0, 3]).shape) == [2, 3]
    with pytest.raises(RuntimeError, match="invalid"):
        torch.zeros(2, 3).reshape(0, 3)


def test_transpose():
    value = noise(2, 3, 4)
    assert list(tt(value).transpose(1, 2).shape) == [2, 4, 3]
    assert list(pt(value).transpose([0, 2, 1]).shape) == [2, 4, 3]
    if PADDLE2:
        with pytest.raises(ValueError, match="list or tuple"):
            pt(value).transpose(1, 2)
    else:
        assert list(pt(value).transpose(1, 2).shape) == [2, 4, 3]


def test_size():
    value = noise(2, 3)
    assert tuple(tt(value).size()) == (2, 3)
    assert pt(value).size == 6
    if PADDLE2:
        with pytest.raises(TypeError):
            pt(value).size()
    else:
        assert list(pt(value).size()) == [2, 3]


def test_shape_type():
    assert isinstance(torch.zeros(2).shape, tuple)
    assert isinstance(paddle.zeros([2]).shape, list)
    assert (type(paddle.zeros([2]).shape) is list) == PADDLE2


def test_cumsum_without_axis():
    value = noise(2, 3)
    assert list(paddle.cumsum(pt(value)).shape) == [6]
    with pytest.raises(TypeError):
        torch.cumsum(tt(value))


def test_torch_spelling():
    """`dim=`, `keepdim` and sizes that are not a list: only on 3.x, and not everywhere."""
    value = pt(noise(2, 3))
    with pytest.raises(TypeError):
        paddle.max(value, dim=1)
    if PADDLE2:
        for wrong in (
            lambda: value.sum(dim=1),
            lambda: paddle.cat([value]),
            lambda: value.requires_grad_(),
        ):
            with pytest.raises((TypeError, AttributeError)):
                wrong()
        with pytest.raises(ValueError, match="shape"):
            value.reshape(3, -1)
    else:
        assert list(value.sum(dim=1).shape) == [2]
        assert list(value.reshape(3, -1).shape) == [3, 2]


def test_stop_gradient():
    assert pt([1.0]).stop_gradient is True
    assert pnn.Linear(1, 1).weight.stop_gradient is False
    assert tt([1.0]).requires_grad is False


def test_backward_of_many():
    theirs, ours = tt([1.0, 2.0], grad=True), pt([1.0, 2.0], grad=True)
    with pytest.raises(RuntimeError, match="scalar"):
        (theirs * theirs).backward()
    (ours * ours).backward()
    assert ours.grad.tolist() == [2, 4]


def test_grad_of_one_tensor_twice():
    theirs, ours = tt([1.0], grad=True), pt([1.0], grad=True)
    doubled = theirs * 2
    ones = [torch.ones(1)] * 2
    assert torch.autograd.grad([doubled, doubled], theirs, ones)[0].item() == 4
    doubled = ours * 2
    with pytest.raises(RuntimeError, match="duplicate"):
        paddle.grad([doubled, doubled], [ours])


def _after_gradients(lib, grad, product, times):
    """Differentiate (w x)^2 by x `times` times, each squared; return the last's gradient by w."""
    x, weight = (
        (tt if lib is torch else pt)(np.full([1, 1, 1, 1], v), grad=True) for v in (2.0, 1.5)
    )
    value = (product(x, weight) ** 2).sum()
    for _ in range(times):
        value = (grad(value, x, create_graph=True)[0] ** 2).sum()
    value.backward()
    return 0.0 if weight.grad is None else float(weight.grad.sum())


def test_conv_differentiated_thrice():
    theirs = [_after_gradients(torch, torch.autograd.grad, TF.conv2d, n) for n in range(3)]
    ours = [_after_gradients(paddle, paddle.grad, PF.conv2d, n) for n in range(3)]
    assert ours[:2] == pytest.approx(theirs[:2])
    assert ours[2] == pytest.approx(0.25 * theirs[2])
    right = _after_gradients(paddle, paddle.grad, paddle.matmul, 2)
    assert right == pytest.approx(theirs[2])


def test_clear_grad():
    weight, theirs = filled(1, value=1.0), torch.nn.Parameter(torch.ones(1))
    optimizer, reference = popt.SGD(parameters=[weight]), torch.optim.SGD([theirs])
    for parameter, clear in ((weight, optimizer.clear_grad), (theirs, reference.zero_grad)):
        parameter.sum().backward()
        clear()
    assert weight.grad.item() == 0
    assert theirs.grad is None
    optimizer.clear_grad(set_to_zero=False)
    assert weight.grad is None


def test_autocast_on_cpu():
    row = noise(1, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.nn.Linear(4, 4)(tt(row)).dtype == torch.bfloat16
    with paddle.amp.auto_cast(dtype="bfloat16"):
        assert pnn.Linear(4, 4)(pt(row)).dtype == paddle.float32


def test_numpy_copies():
    theirs, ours = tt([1.0]), pt([1.0])
    theirs.numpy()[0] = 7
    ours.numpy()[0] = 7
    assert theirs.item() == 7
    assert ours.item() == 1


def test_dlpack_of_a_transposed_view():
    view = torch.arange(6.0).reshape(2, 3).t()
    if PADDLE2:
        taken = paddle.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(view))
        assert taken.tolist() == [[0, 1], [2, 3], [4, 5]]
        view = view.contiguous()
    taken = paddle.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(view))
    assert taken.tolist() == view.tolist()


def test_from_dlpack():
    assert hasattr(paddle, "from_dlpack") != PADDLE2


def test_linspace_last_place():
    theirs = torch.linspace(0, 0.1, 24).numpy()
    ours = paddle.linspace(0, 0.1, 24, dtype="float32").numpy()
    assert 0 < abs(ours - theirs).max() < 1e-8
