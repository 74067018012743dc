"""Every row of the table of meanings: a call in torch and its spelling in Paddle are one result."""

import os
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

from align.judge.kernels import paddle_version
from port.calls import NoSpelling
from port.spelling import spell, spell_otherwise
from port.spelling.bind import DoesNotFitError, bind
from port.spelling.since import too_new
from port.spelling.table import alternatives, rows
from tests.port.spelling import translate
from tests.port.spelling.rows import (
    Sample,
    call_text,
    flat,
    rows_by_first,
    samples,
    torch_values,
    written_forms,
)
from tests.port.spelling.translate import Translation

FLOAT32_KERNELS = {  # Paddle computes these partly in float32: docs/differences.yml
    "interpolate": 1e-5,
    "upsample": 1e-5,
    "Upsampl": 1e-5,
    "Hardsigmoid": 1e-6,
    "SELU": 1e-6,
    "selu": 1e-6,
}
if paddle_version() < (3, 2):  # its kernels on the CPU cut digits off, where all others round
    FLOAT32_KERNELS |= {".half()": 2**-10}
if paddle_version() < (3, 0):
    FLOAT32_KERNELS |= {".bfloat16()": 2**-7}
EXACT = 1e-7
BY_TEXT = {  # rows that give nothing to compare: their spelling is the test
    "torch.Tensor.cuda": ("x4.cuda()", "x4"),
    "torch.nn.functional.gumbel_softmax": (
        "F.gumbel_softmax(x4, tau=2, dim=1)",
        "F.gumbel_softmax(x4, temperature=2, axis=1)",
    ),
    "torch.get_default_dtype": ("torch.get_default_dtype()", "default_dtype()"),
    "torch.cuda.synchronize": ("torch.cuda.synchronize()", "paddle.device.synchronize()"),
    "torch.cuda.empty_cache": ("torch.cuda.empty_cache()", "paddle.device.cuda.empty_cache()"),
    "torch.cuda.device_count": ("torch.cuda.device_count()", "paddle.device.cuda.device_count()"),
    "torch.nn.modules.batchnorm._BatchNorm": (
        "torch.nn.modules.batchnorm._BatchNorm(4, eps=0.001, momentum=0.2)",
        "nn.layer.norm._BatchNormBase(4, epsilon=0.001, momentum=0.8)",
    ),
    "torch.nn.modules.pooling._AdaptiveAvgPoolNd": (
        "torch.nn.modules.pooling._AdaptiveAvgPoolNd((2, 1))",
        "nn.AdaptiveAvgPool2D((2, 1))",
    ),
    "torch.nn.modules.pooling._AdaptiveMaxPoolNd": (
        "torch.nn.modules.pooling._AdaptiveMaxPoolNd(2, True)",
        "nn.AdaptiveMaxPool2D(2, return_mask=True)",
    ),
    "torch.Generator": ("torch.Generator('cpu')", "Generator()"),
    "torch._C.Generator.manual_seed": (
        "torch.Generator('cpu').manual_seed(3)",
        "Generator().manual_seed(3)",
    ),
    "torch.nn.utils.parametrize.register_parametrization": (
        "torch.nn.utils.parametrize.register_parametrization(linear, 'weight', conv)",
        "register_parametrization(linear, 'weight', conv)",
    ),
    "torch.nn.BatchNorm2d._check_input_dim": (
        "torch.nn.BatchNorm2d(4)._check_input_dim(x4)",
        "nn.BatchNorm2D(4)._check_input_dim(x4)",
    ),
    "torch.nn.Linear.reset_parameters": ("linear.reset_parameters()", "reset_parameters(linear)"),
    "torch.nn.RNNBase.flatten_parameters": ("torch.nn.GRU(2, 3).flatten_parameters()", "None"),
    "torch.nn.BatchNorm2d.reset_running_stats": (
        "torch.nn.BatchNorm2d(4).reset_running_stats()",
        "reset_running_stats(nn.BatchNorm2D(4))",
    ),
    "torch.distributed.is_available": (
        "torch.distributed.is_available()",
        "paddle.distributed.is_available()",
    ),
    "torch.distributed.is_initialized": (
        "torch.distributed.is_initialized()",
        "paddle.distributed.is_initialized()",
    ),
    "torch.distributed.get_world_size": (
        "torch.distributed.get_world_size(None)",
        "paddle.distributed.get_world_size()",
    ),
    "torch.distributed.get_rank": (
        "torch.distributed.get_rank()",
        "paddle.distributed.get_rank()",
    ),
    "torch.distributed.barrier": (
        "torch.distributed.barrier()",
        "paddle.distributed.barrier()",
    ),
    "torch.distributed.all_reduce": (
        "torch.distributed.all_reduce(x4, op=torch.distributed.ReduceOp.PRODUCT, async_op=False)",
        "paddle.distributed.all_reduce(x4, op=paddle.distributed.ReduceOp.PROD)",
    ),
    "torch.distributed.broadcast": (
        "torch.distributed.broadcast(x4, 0)",
        "paddle.distributed.broadcast(x4, 0)",
    ),
    "torch.distributed.all_gather": (
        "torch.distributed.all_gather([x4, y4], x4)",
        "paddle.distributed.all_gather([x4, y4], x4)",
    ),
    "torch.set_printoptions": (
        "torch.set_printoptions(precision=4, profile='default')",
        "paddle.set_printoptions(precision=4)",
    ),
    "torch.no_grad": ("torch.no_grad()", "paddle.no_grad()"),
    "torch.enable_grad": ("torch.enable_grad()", "paddle.enable_grad()"),
    "torch.set_grad_enabled": ("torch.set_grad_enabled(flag)", "paddle.set_grad_enabled(flag)"),
    "torch.manual_seed": ("torch.manual_seed(3)", "paddle.seed(3)"),
    "torch.cuda.is_available": (
        "torch.cuda.is_available()",
        "paddle.device.is_compiled_with_cuda()",
    ),
    "torch.cuda.amp.autocast": (
        "torch.autocast('cpu', enabled=False)",
        "paddle.amp.auto_cast(enable=False)",
    ),
    "torch._C._log_api_usage_once": ("torch._C._log_api_usage_once('net')", "None"),
    "torch.is_autocast_enabled": ("torch.is_autocast_enabled('cpu')", "False"),
    "torch.backends.mps.is_available": ("torch.xpu.is_available()", "False"),
    "torch.is_inference_mode_enabled": ("torch.is_inference_mode_enabled()", "False"),
    "torch.backends.mkldnn.is_available": (
        "torch.backends.mkldnn.is_available()",
        "False",
    ),
    "torch.jit.is_scripting": ("torch.onnx.is_in_onnx_export()", "False"),
    "torch.device": ("torch.device('cpu')", "'cpu'"),
    "torch.jit.script": ("torch.jit.ignore(F.relu)", "F.relu"),
    "torch.utils.checkpoint.checkpoint": (
        "torch.utils.checkpoint.checkpoint(F.relu, x4, *order, use_reentrant=False)",
        "F.relu(x4, *order)",
    ),
    "torch.nn.ConvTranspose1d.__call__": (
        "torch.nn.ConvTranspose1d(4, 6, 2)(x3, x3.size())",
        "nn.Conv1DTranspose(4, 6, 2)(x3, output_size=x3.shape[2:])",
    ),
    "torch.nn.ConvTranspose2d.__call__": (
        "torch.nn.ConvTranspose2d(4, 6, 2)(x4, x4.size())",
        "nn.Conv2DTranspose(4, 6, 2)(x4, output_size=x4.shape[2:])",
    ),
    "torch.nn.ConvTranspose3d.__call__": (
        "torch.nn.ConvTranspose3d(4, 6, 2)(x5, x5.size())",
        "nn.Conv3DTranspose(4, 6, 2)(x5, output_size=x5.shape[2:])",
    ),
    **{
        f"torch.nn.MaxUnpool{n}d.__call__": (
            f"torch.nn.MaxUnpool{n}d(2)(x{n + 2}, order, x{n + 2}.size())",
            f"F.max_unpool{n}d(x{n + 2}, order, up.ksize, up.stride, up.padding, "
            f"output_size=x{n + 2}.shape)".replace("up.", f"nn.MaxUnPool{n}D(2)."),
        )
        for n in (2, 3)
    },
    "torch.distributions.normal.Normal": (
        "torch.distributions.normal.Normal(0, 0.5)",
        "paddle.distribution.Normal(0, 0.5)",
    ),
    "torch.hub.get_dir": ("torch.hub.get_dir()", "paddle.utils.download.WEIGHTS_HOME"),
    "torch.hub._get_torch_home": (
        "torch.hub._get_torch_home()",
        "paddle.utils.download.WEIGHTS_HOME",
    ),
    "torch.distributions.gumbel.Gumbel": (
        "torch.distributions.gumbel.Gumbel(0, 0.5)",
        "paddle.distribution.Gumbel(0, 0.5)",
    ),
    "torch.distributions.gumbel.Gumbel.sample": (
        "torch.distributions.gumbel.Gumbel(0, 0.5).sample(order)",
        "paddle.distribution.Gumbel(0, 0.5).sample(order)",
    ),
    "torch.distributions.gumbel.Gumbel.rsample": (
        "torch.distributions.gumbel.Gumbel(0, 0.5).rsample(order)",
        "paddle.distribution.Gumbel(0, 0.5).rsample(order)",
    ),
    "torch.distributions.normal.Normal.sample": (
        "torch.distributions.normal.Normal(0, 0.5).sample(order)",
        "paddle.distribution.Normal(0, 0.5).sample(order)",
    ),
    "torch.distributions.normal.Normal.rsample": (
        "torch.distributions.normal.Normal(0, 0.5).rsample(order)",
        "paddle.distribution.Normal(0, 0.5).rsample(order)",
    ),
    "torch.utils.hooks.RemovableHandle.remove": (
        "linear.register_forward_hook(id).remove()",
        "linear.register_forward_post_hook(id).remove()",
    ),
    "torch.load": ("torch.load('a.pth', map_location='cpu')", "no_download('a.pth')"),
    "torch.hub.load_state_dict_from_url": (
        "torch.hub.load_state_dict_from_url(flag, progress=flag)",
        "no_download(flag)",
    ),
}
DRAWN = re.compile(
    r"rand|exponential_|cauchy_|geometric_|log_normal_|multinomial|bernoulli|[.]normal|uniform|empty|(?:Tensor|[.]new)[(](2|size4)"
)


@pytest.fixture(autouse=True, scope="module")
def _float64() -> Iterator[None]:
    before, paddles = torch.get_default_dtype(), paddle.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    paddle.set_default_dtype("float64")
    yield
    torch.set_default_dtype(before)
    paddle.set_default_dtype(paddles)


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> set[Any]:
    """Return the signatures of the forms that spelled something."""
    used: set[Any] = set()

    def noting(call: Any) -> Any:
        for form in rows().get(call.api, ()):
            try:
                bind(form, call)
            except DoesNotFitError:
                continue
            used.add(form.parameters)
            break
        return spell(call)

    monkeypatch.setattr(translate, "spell", noting)
    return used


@pytest.mark.parametrize("first", [row for row in rows_by_first() if row not in BY_TEXT])
def test_row(first: str, forms: set[Any]) -> None:
    apis = rows_by_first()[first]
    problems = []
    for api in apis:
        tried = [*samples().get(first, []), *(samples().get(api, []) if api != first else [])]
        own = {*samples().get(api, ())}
        results = [checked(call_text(api, sample), sample in own) for sample in tried]
        problems += [r for r in results if r]
        assert any(r is not None for r in results), f"{api} has no sample that torch takes"
    assert not problems, "\n".join(problems)
    wanted = {form.parameters for api in apis for form in rows()[api][: written_forms()[first]]}
    missed = wanted - forms
    assert not missed, (
        f"no sample of {first} reaches {len(missed)} of {len(wanted)} forms: {missed}"
    )


def checked(text: str, own: bool) -> str | None:
    """Return what is wrong with a sample, "" if nothing is, None where torch refuses it.

    What came with a later Paddle than the installed one is a gap, and nothing else.
    """
    try:
        sample = Sample(text)
    except NoSpelling as gap:
        return "" if gap.reason in too_young() else f"{text}: {gap}"
    except (TypeError, AttributeError, RuntimeError) as error:
        if own or not is_torchs(error):
            return f"{text}: {type(error).__name__}: {str(error)[:300]}"
        return None
    except Exception as error:
        return f"{text}: {type(error).__name__}: {str(error)[:300]}"
    wrong = compared(sample, text)
    return f"{text}\n  {sample.text}\n  {wrong}" if wrong else ""


@cache
def too_young() -> set[str]:
    """Return the reasons of all gaps that the installed Paddle has, and a later one fills."""
    return {too_new(form) for forms in rows().values() for form in forms} - {""}


def is_torchs(error: Exception) -> bool:
    """Return whether an error is torch's refusal of a sample made for another function."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    name = trace.tb_frame.f_code.co_filename
    return name == "sample" or f"{os.sep}torch{os.sep}" in name


def compared(sample: Sample, text: str) -> str:
    """Return how the two results differ, forward or backward."""
    reference, port = (flat(result) for result in sample.results)
    if len(reference) != len(port):
        return f"{len(reference)} results, {len(port)} in Paddle"
    drawn = DRAWN.search(text) is not None
    for index, (a, b) in enumerate(zip(reference, port, strict=True)):
        wrong = leaf(a, b, drawn, tolerance(text))
        if wrong:
            return f"result {index}: {wrong}"
    return "" if drawn else gradients(sample, reference, port, tolerance(text))


def tolerance(text: str) -> float:
    """Return how far results may differ, relative to the largest."""
    return next((t for name, t in FLOAT32_KERNELS.items() if name in text), EXACT)


def leaf(a: Any, b: Any, drawn: bool, allowed: float) -> str:
    """Return how two leaves of a result differ."""
    if isinstance(a, torch.nn.Module):
        same = type(a).__name__[:6].lower() == type(b).__name__[:6].lower()
        return "" if same else f"{type(a)}, in Paddle {type(b)}"
    if not isinstance(a, torch.Tensor) or not isinstance(b, paddle.Tensor):
        if isinstance(a, torch.Tensor) or isinstance(b, paddle.Tensor):
            return f"{type(a)}, in Paddle {type(b)}"
        same = np.allclose(a, b) if isinstance(a, float | np.ndarray) else a == b
        return "" if same else f"{a}, in Paddle {b}"
    if list(a.shape) != list(b.shape):
        return f"shape {list(a.shape)}, in Paddle {list(b.shape)}"
    kinds = [str(x.dtype).rpartition(".")[2] for x in (a, b)]
    if kinds[0] != kinds[1] and {kinds[0], kinds[1]} != {"int64", "int32"}:
        return f"{kinds[0]}, in Paddle {kinds[1]}"
    return "" if drawn else far(array(a), array(b), allowed)


def array(tensor: Any) -> np.ndarray:
    """Return a tensor's values, those of halves in float32."""
    if str(tensor.dtype).endswith("bfloat16"):
        tensor = tensor.float() if isinstance(tensor, torch.Tensor) else tensor.astype("float32")
    return np.asarray(tensor.detach().cpu().numpy())


def far(a: np.ndarray, b: np.ndarray, allowed: float) -> str:
    """Return how far two arrays are apart where it is too far."""
    if not np.issubdtype(a.dtype, np.inexact):
        return "" if np.array_equal(a, b) else f"{a.ravel()[:6]}, in Paddle {b.ravel()[:6]}"
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.where(same, 0, a - b)
    if not np.isfinite(finite).all():
        return "infinite in one of them"
    scale = np.abs(a[np.isfinite(a)]).max(initial=0)
    worst = np.abs(finite).max(initial=0)
    return "" if worst <= allowed * max(scale, 1e-3) else f"{worst:.1e} off, largest {scale:.1e}"


def gradients(sample: Sample, reference: list[Any], port: list[Any], allowed: float) -> str:
    """Return how the gradients of all inputs differ under one cotangent."""
    pairs = [
        (a, b)
        for a, b in zip(reference, port, strict=True)
        if isinstance(a, torch.Tensor) and a.requires_grad and a.dtype == torch.float64
    ]
    if not pairs:
        return ""
    rng = np.random.default_rng(2)
    cotangents = [rng.normal(size=tuple(a.shape)) for a, _ in pairs]
    if not all(np.isfinite(array(a)).all() for a, _ in pairs):
        return ""
    sum(
        (a * torch.from_numpy(c)).sum() for (a, _), c in zip(pairs, cotangents, strict=True)
    ).backward()
    total = sum(
        (b * paddle.to_tensor(c)).sum() for (_, b), c in zip(pairs, cotangents, strict=True)
    )
    if total.stop_gradient:
        return "no gradient in Paddle"
    total.backward()
    for name, value in sample.torch.items():
        if isinstance(value, torch.Tensor) and value.grad is not None:
            other = sample.paddle[name].grad
            if other is None and float(value.grad.abs().max()) > 0:
                return f"no gradient of {name} in Paddle"
            wrong = other is not None and far(array(value.grad), array(other), max(allowed, 1e-6))
            if wrong:
                return f"gradient of {name}: {wrong}"
    return ""


@pytest.mark.parametrize("row", BY_TEXT)
def test_row_by_its_text(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, spelled = BY_TEXT[row]
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: None)
    monkeypatch.setattr(torch, "load", lambda *_, **__: None)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda x: x)
    assert Translation(torch_values(text)).translated(text) == spelled


OTHERWISE = {
    "torch.nn.functional.log_softmax": ["(x4 * 100, 1)", "(x4, dim=-1)"],
    "torch.log_softmax": ["(x4, 1)"],
    "torch.Tensor.log_softmax": ["(x4, 1)"],
    "torch.argsort": ["(i2, 1)", "(i2, dim=0, descending=True)", "(label)"],
    "torch.Tensor.argsort": ["(i2, 1)"],
    "torch.nn.functional.leaky_relu": ["(x4.masked_fill(mask4, 0.0), 0.2)"],
    "torch.nn.GroupNorm": ["(2, 4)(x4[:, :, :1, :1] * 1e-2 + 50)", "(2, 4, eps=0.1)(x4)"],
    "torch.nn.Dropout2d": ["(0.0)(x4[:, :, 0])", "()(x4.unsqueeze(0)).mul(0)"],
    "torch.nn.Dropout3d": ["(0.0)(x4)", "()(x4).mul(0)"],
    "torch.nn.LeakyReLU": ["(0.2)(x4.masked_fill(mask4, 0.0))", "()(x4.clamp(min=0.0))"],
    "torch.nn.functional.interpolate": [
        "(x4, (9, 11), mode='bilinear')",
        "(x4, (1, 3), mode='bilinear')",
        "(x4, 1, mode='bilinear', align_corners=True)",
        "(x4, scale_factor=1.7, mode='bilinear')",
        "(x4, scale_factor=2, mode='bilinear', align_corners=True)",
        "(x4, scale_factor=(0.5, 3), mode='bilinear', align_corners=False)",
        "(x3, size=1, mode='linear')",
        "(x3, scale_factor=0.4, mode='linear')",
        "(x5, size=(1, 4, 1), mode='trilinear', align_corners=False)",
        "(x4, (9, 1), mode='bicubic')",
        "(x4, (1, 7), mode='bicubic', align_corners=True)",
        "(x4, scale_factor=(0.3, 1.5), mode='bicubic')",
    ],
    "torch.nn.functional.upsample": ["(x4, (9, 11), mode='bilinear')", "(x4, 1, mode='bicubic')"],
    "torch.nn.Upsample": [
        "((1, 3), mode='bilinear')(x4)",
        "(scale_factor=(0.2, 2), mode='bilinear', align_corners=False)(x4)",
        "(scale_factor=2, mode='bilinear', align_corners=True)(x4)",
        "(1, mode='linear')(x3)",
        "((1, 4, 1), mode='trilinear')(x5)",
        "(scale_factor=0.3, mode='bicubic')(x4)",
        "((4, 1), mode='bicubic', align_corners=True)(x4)",
    ],
    "torch.nn.functional.max_pool2d": [
        "(x4[:, :, :5, :5], 2, 2, 1, ceil_mode=True)",
        "(x4, 3, 2, 1, ceil_mode=True)",
        "(x4, (3, 2), ceil_mode=True)",
        "(x4, 2, 3, 1, 1, True)",
    ],
    "torch.max_pool2d": ["(x4[:, :, :5, :5], 2, 2, 1, ceil_mode=True)"],
    "torch.nn.functional.cross_entropy": [
        "(x4 * 100, label)",
        "(x4, label - 1, ignore_index=-1)",
        "(x4, label * 0 - 100)",
        "(x4, label, reduction='none')",
        "(x4, label, reduction='sum', ignore_index=2)",
    ],
    "torch.nn.functional.normalize": ["(x4, eps=3.0)", "(x4, dim=-1)", "(x4, p=2, dim=2)"],
    "torch.nn.Embedding": ["(4, 5, padding_idx=3)(i2)"],
}


def test_every_alternative_has_samples() -> None:
    assert OTHERWISE.keys() == alternatives().keys()


@pytest.mark.parametrize("api", OTHERWISE)
def test_other_spelling(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right where the first spelling is not: far logits, ties, zeros, sizes of 1."""
    count = len(alternatives()[api])
    for index in range(count):

        def otherwise(call: Any, index: int = index) -> Any:
            others = spell_otherwise(call) if call.api == api else ()
            return others[min(index, len(others) - 1)] if others else spell(call)

        monkeypatch.setattr(translate, "spell", otherwise)
        for arguments in OTHERWISE[api]:
            sample = Sample(call_text(api, arguments))
            assert compared(sample, "") == "", sample.text
