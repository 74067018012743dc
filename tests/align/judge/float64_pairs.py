"""Functions of torch and Paddle that mean the same, called in float64 with constants of any kind.

Every name that both frameworks have stands here, with a call of it on either side or with the
reason why there is none. Constants are ones that float32 does not hold.
"""

import paddle
import paddle.nn.functional as PF
import torch
import torch.nn.functional as TF

A, B, C = 0.3017, 0.7013, 1.1039  # none of them a float32

PD = paddle
TL, PL = torch.linalg, paddle.linalg


def positive(x):
    return x.abs() + 0.125


def inside(x):
    """Return values in (-1, 1)."""
    return x / (1 + x.abs())


def share(x):
    """Return values in (0, 1)."""
    return inside(x) / 2 + 0.5


def mate(x):
    """Return other values of the same shape."""
    return x.flip([1]) + 0.25


def square(x):
    """Return [2, 4, 6, 6] with a good condition."""
    return x[..., :6] / 8 + 2 * torch.eye(6) if isinstance(x, torch.Tensor) else _paddle_square(x)


def _paddle_square(x):
    return x[..., :6] / 8 + 2 * paddle.eye(6)


def spd(x):
    y = square(x)
    z = y.mT if isinstance(y, torch.Tensor) else y.transpose([0, 1, 3, 2])
    return y @ z


def found(homes, name):
    """Return the function `name`; in a Paddle without it one that says so when it is called."""

    def absent(*args, **kwargs):
        raise AttributeError(name)

    return next((getattr(home, name) for home in homes if hasattr(home, name)), absent)


def same(name, *args, **kwargs):
    """Return the function `name` of both, called alike on x."""
    homes = (torch, TF, TL, torch.Tensor, torch.special), (paddle, PF, PL, paddle.Tensor)
    theirs, ours = (found(each, name) for each in homes)
    return lambda x: theirs(x, *args, **kwargs), lambda x: ours(x, *args, **kwargs)


def over(change, pair):
    """Return `pair` with its input changed: to the domain of a function."""
    return tuple(lambda x, f=f: f(change(x)) for f in pair)


def two(name, change=None):
    """Return the function `name` of both, called with two tensors."""
    theirs = found((torch, TF, TL, torch.Tensor), name)
    ours = found((paddle, PF, PL, paddle.Tensor), name)
    change = change or (lambda x: x)
    return tuple(lambda x, f=f: f(change(x), change(mate(x))) for f in (theirs, ours))


ELEMENTWISE = {
    name: same(name)
    for name in (
        *("abs", "angle", "asinh", "atan", "conj", "cos", "cosh", "deg2rad", "erf", "exp", "expm1"),
        *("frac", "i0", "neg", "negative", "positive", "rad2deg", "ravel"),
        *(
            "sign",
            "sin",
            "sinh",
            "square",
            "tan",
            "tanh",
            "trunc",
            "ceil",
            "floor",
            "round",
        ),
        *("gelu", "hardswish", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softsign"),
        *("tanhshrink", "logsigmoid", "hardsigmoid", "nan_to_num", "leaky_relu", "elu", "celu"),
        *("hardshrink", "softshrink", "hardtanh", "softplus", "rrelu"),
    )
    if hasattr(PF, name) or hasattr(paddle, name)
}
ELEMENTWISE["sinc"] = same("sinc")  # since Paddle 3.0
ELEMENTWISE["rrelu"] = lambda x: TF.rrelu(x, A, B), lambda x: PF.rrelu(x, A, B, training=False)

DOMAINS = {
    name: over(change, same(name))
    for change, names in (
        (positive, ("sqrt", "rsqrt", "log", "log10", "log1p", "log2", "reciprocal", "digamma")),
        (positive, ("lgamma",)),
        (inside, ("acos", "asin", "atanh", "erfinv")),
        (share, ("logit",)),
        (lambda x: 1 + positive(x), ("acosh",)),
    )
    for name in names
}

NUMBERS = {
    "pow": over(positive, same("pow", C)),
    "pow of a number": (lambda x: C**x, lambda x: C**x),
    "float_power": (lambda x: torch.float_power(positive(x), C), lambda x: positive(x) ** C),
    "square root by pow": (lambda x: positive(x) ** 0.5, lambda x: positive(x) ** 0.5),
    "inverse root by pow": (lambda x: positive(x) ** -0.5, lambda x: positive(x) ** -0.5),
    "cube": (lambda x: x**3, lambda x: x**3),
    "add": (lambda x: x + A, lambda x: x + A),
    "add tensor": (lambda x: torch.add(x, mate(x), alpha=A), lambda x: x + A * mate(x)),
    "sub": (lambda x: x - A, lambda x: x - A),
    "rsub": (lambda x: A - x, lambda x: A - x),
    "mul": (lambda x: x * A, lambda x: x * A),
    "div": (lambda x: x / A, lambda x: x / A),
    "rdiv": (lambda x: A / positive(x), lambda x: A / positive(x)),
    "divide": (
        lambda x: torch.divide(x, torch.tensor(A)),
        lambda x: paddle.divide(x, PD.to_tensor(A)),
    ),
    "scale": (lambda x: x * A + B, lambda x: paddle.scale(x, A, B)),
    "remainder": (lambda x: torch.remainder(x, A), lambda x: paddle.remainder(x, PD.to_tensor(A))),
    "remainder by %": (lambda x: x % A, lambda x: x % A),
    "clip": (lambda x: torch.clip(x, -A, B), lambda x: paddle.clip(x, -A, B)),
    "clamp": (lambda x: torch.clamp(x, min=A), lambda x: paddle.clip(x, min=A)),
    "clamp_max": (lambda x: x.clamp_max(A), lambda x: paddle.clip(x, max=A)),
    "maximum": (lambda x: x.maximum(torch.tensor(A)), lambda x: x.maximum(PD.to_tensor(A))),
    "lerp": (lambda x: torch.lerp(x, mate(x), A), lambda x: paddle.lerp(x, mate(x), A)),
    "addmm": (
        lambda x: torch.addmm(x[0, 0, :, :6], x[0, 1], x[0, 2].T, beta=A, alpha=B),
        lambda x: paddle.addmm(x[0, 0, :, :6], x[0, 1], x[0, 2].t(), beta=A, alpha=B),
    ),
    "baddbmm": (
        lambda x: torch.baddbmm(x[0, :, :, :6], x[1], x[1].mT, beta=A, alpha=B),
        lambda x: paddle.baddbmm(x[0, :, :, :6], x[1], x[1].transpose([0, 2, 1]), beta=A, alpha=B),
    ),
    "masked_fill": (lambda x: x.masked_fill(x > 0, A), lambda x: x.masked_fill(x > 0, A)),
    "where": (lambda x: torch.where(x > 0, x, A), lambda x: paddle.where(x > 0, x, A)),
    "full_like": (lambda x: x + torch.full_like(x, A), lambda x: x + paddle.full_like(x, A)),
    "full": (lambda x: x + torch.full([8], A), lambda x: x + paddle.full([8], A)),
    "arange": (
        lambda x: x + torch.arange(8) * A,
        lambda x: x + paddle.arange(8).astype(x.dtype) * A,
    ),
    "arange of floats": (
        lambda x: x * torch.arange(0, 7.5 * A, A),
        lambda x: x * paddle.arange(0, 7.5 * A, A, dtype="float64"),
    ),
    "linspace": (lambda x: x + torch.linspace(A, B, 8), lambda x: x + paddle.linspace(A, B, 8)),
    "logspace": (lambda x: x + torch.logspace(A, B, 8), lambda x: x + paddle.logspace(A, B, 8)),
    "to_tensor": (lambda x: x + torch.tensor([A]), lambda x: x + paddle.to_tensor([A])),
    "index_fill": (
        lambda x: torch.index_fill(x, 1, torch.tensor([0, 2]), A),
        lambda x: paddle.index_fill(x, paddle.to_tensor([0, 2]), 1, A),
    ),
    "setitem": (lambda x: _set(x * 1), lambda x: _set(x * 1)),
    "nan_to_num": (lambda x: torch.nan_to_num(x, A, B), lambda x: paddle.nan_to_num(x, A, B)),
    "renorm": (lambda x: torch.renorm(x, 2, 1, A), lambda x: paddle.renorm(x, 2.0, 1, A)),
    "ldexp": (
        lambda x: torch.ldexp(x, torch.tensor(2)),
        lambda x: paddle.ldexp(x, paddle.to_tensor(2)),
    ),
    "stanh": (lambda x: B * torch.tanh(A * x), lambda x: paddle.stanh(x, A, B)),
    "leaky_relu with a slope": same("leaky_relu", A),
    "prelu": (lambda x: TF.prelu(x, torch.tensor([A])), lambda x: PF.prelu(x, PD.to_tensor([A]))),
    "elu with alpha": same("elu", A),
    "celu with alpha": same("celu", A),
    "selu of Paddle's own": (lambda x: TF.selu(x), lambda x: PF.selu(x)),
    "hardtanh with ends": same("hardtanh", -A, B),
    "hardshrink with a number": same("hardshrink", A),
    "softshrink with a number": same("softshrink", A),
    "softplus with numbers": same("softplus", B, 3.3),
    "threshold": (lambda x: TF.threshold(x, A, B), lambda x: PF.thresholded_relu(x, A, B)),
    "gelu by tanh": (
        lambda x: TF.gelu(x, approximate="tanh"),
        lambda x: PF.gelu(x, approximate=True),
    ),
    "swish": (lambda x: TF.silu(x), lambda x: PF.swish(x)),
    "log_sigmoid": (lambda x: TF.logsigmoid(x), lambda x: PF.log_sigmoid(x)),
    "hardsigmoid with a slope": (
        lambda x: torch.clamp(x * A + B, 0, 1),
        lambda x: PF.hardsigmoid(x, slope=A, offset=B),
    ),
    "logit with eps": (lambda x: torch.logit(share(x), A), lambda x: paddle.logit(share(x), A)),
    "pad": (lambda x: TF.pad(x, [1, 1, 1, 1], value=A), lambda x: PF.pad(x, [1, 1, 1, 1], value=A)),
    "polygamma": (
        lambda x: torch.polygamma(1, positive(x)),
        lambda x: paddle.polygamma(positive(x), 1),
    ),
    "multigammaln": (
        lambda x: torch.special.multigammaln(positive(x) + 2, 2),
        lambda x: paddle.multigammaln(positive(x) + 2, 2),
    ),
    "gammaln": (lambda x: torch.lgamma(positive(x)), lambda x: paddle.gammaln(positive(x))),
    "label smoothing of an array": (
        lambda x: x * (1 - A) + A / 8,
        lambda x: PF.label_smooth(x, epsilon=A),
    ),
}


def _set(x):
    x[:, 0] = A
    return x


TWO = {
    "atan2": two("atan2"),
    "copysign": two("copysign"),
    "hypot": two("hypot"),
    "logaddexp": two("logaddexp"),
    "fmax": two("fmax"),
    "fmin": two("fmin"),
    "minimum": two("minimum"),
    "multiply": two("multiply"),
    "subtract": two("subtract"),
    "true_divide": (
        lambda x: torch.true_divide(x, positive(mate(x))),
        lambda x: paddle.divide(x, positive(mate(x))),
    ),
    "tensor to a tensor's power": two("pow", positive),
    "dist": (lambda x: torch.dist(x, mate(x), 2), lambda x: paddle.dist(x, mate(x), 2)),
    "dist of 3": (lambda x: torch.dist(x, mate(x), 3), lambda x: paddle.dist(x, mate(x), 3)),
    "dist of 1": (lambda x: torch.dist(x, mate(x), 1), lambda x: paddle.dist(x, mate(x), 1)),
    "dist of a fraction": (
        lambda x: torch.dist(x, mate(x), 1.7),
        lambda x: paddle.dist(x, mate(x), 1.7),
    ),
    "cdist": two("cdist"),
    "cdist of 3": (
        lambda x: torch.cdist(x, mate(x), 3.0),
        lambda x: paddle.cdist(x, mate(x), 3.0),
    ),
    "cdist of 1": (
        lambda x: torch.cdist(x, mate(x), 1.0),
        lambda x: paddle.cdist(x, mate(x), 1.0),
    ),
    "pdist": (lambda x: torch.pdist(x[0, 0]), lambda x: paddle.pdist(x[0, 0])),
    "pdist of 3": (lambda x: torch.pdist(x[0, 0], 3.0), lambda x: paddle.pdist(x[0, 0], 3.0)),
    "cross": (
        lambda x: torch.cross(x[:, :3], mate(x)[:, :3], 1),
        lambda x: paddle.cross(x[:, :3], mate(x)[:, :3], 1),
    ),
    "dot": (
        lambda x: torch.dot(x[0, 0, 0], x[1, 0, 0]),
        lambda x: paddle.dot(x[0, 0, 0], x[1, 0, 0]),
    ),
    "inner": two("inner"),
    "outer": (
        lambda x: torch.outer(x[0, 0, 0], x[1, 0, 0]),
        lambda x: paddle.outer(x[0, 0, 0], x[1, 0, 0]),
    ),
    "kron": (lambda x: torch.kron(x[0, 0], x[1, 0]), lambda x: paddle.kron(x[0, 0], x[1, 0])),
    "matmul": (lambda x: x @ x.mT, lambda x: x @ x.transpose([0, 1, 3, 2])),
    "bmm": (
        lambda x: torch.bmm(x[0], x[1].mT),
        lambda x: paddle.bmm(x[0], x[1].transpose([0, 2, 1])),
    ),
    "mm": (lambda x: torch.mm(x[0, 0], x[1, 0].T), lambda x: paddle.mm(x[0, 0], x[1, 0].t())),
    "mv": (lambda x: torch.mv(x[0, 0], x[1, 0, 0]), lambda x: paddle.mv(x[0, 0], x[1, 0, 0])),
    "einsum": (
        lambda x: torch.einsum("abij,abkj->abik", x, x),
        lambda x: paddle.einsum("abij,abkj->abik", x, x),
    ),
    "tensordot": (
        lambda x: torch.tensordot(x, x, 2),
        lambda x: paddle.tensordot(x.transpose([0, 1, 3, 2]), x.transpose([0, 1, 3, 2]), 2),
    )
    if False
    else (
        lambda x: torch.tensordot(x[0, 0], x[1, 0].T, 1),
        lambda x: paddle.tensordot(x[0, 0], x[1, 0].t(), 1),
    ),
    "cosine_similarity": (
        lambda x: TF.cosine_similarity(x, mate(x), 1),
        lambda x: PF.cosine_similarity(x, mate(x), 1),
    ),
    "pairwise_distance": (
        lambda x: TF.pairwise_distance(x[0, 0], x[1, 0]),
        lambda x: PF.pairwise_distance(x[0, 0], x[1, 0]),
    ),
    "pairwise_distance of 3": (
        lambda x: TF.pairwise_distance(x[0, 0], x[1, 0], 3.0),
        lambda x: PF.pairwise_distance(x[0, 0], x[1, 0], 3.0),
    ),
    "bilinear": (
        lambda x: TF.bilinear(
            x[0, 0], x[1, 0], x[:, 0, :, :].reshape(1, 96)[:, :64].reshape(1, 8, 8)
        ),
        lambda x: PF.bilinear(
            x[0, 0], x[1, 0], x[:, 0, :, :].reshape([1, 96])[:, :64].reshape([1, 8, 8])
        ),
    ),
}

REDUCED = {
    "amax": same("amax", 1),
    "amin": same("amin", 1),
    "cumsum": same("cumsum", 1),
    "cumprod": same("cumprod", 1),
    "logcumsumexp": same("logcumsumexp", 1),
    "logsumexp": same("logsumexp", 1),
    "mean": same("mean", 1),
    "nanmean": same("nanmean", 1),
    "nansum": same("nansum", 1),
    "prod": same("prod", 1),
    "std": same("std", 1),
    "sum": same("sum", 1),
    "var": same("var", 1),
    "var biased": (lambda x: x.var(1, correction=0), lambda x: x.var(1, unbiased=False)),
    "quantile": same("quantile", A, 1),
    "nanquantile": same("nanquantile", A, 1),
    "median": (
        lambda x: x[:, :3].median(1).values,
        lambda x: paddle.median(x[:, :3], 1),
    ),
    "trace": same("trace", 0) if False else (lambda x: x[0, 0].trace(), lambda x: x[0, 0].trace()),
    "trapezoid": same("trapezoid"),
    "cumulative_trapezoid": same("cumulative_trapezoid"),
    "diff": same("diff"),
    "softmax": same("softmax", -1),
    "log_softmax": same("log_softmax", -1),
    "norm": (lambda x: x.norm(dim=1), lambda x: x.norm(axis=1)),
    "norm of 3": (lambda x: x.norm(p=3, dim=1), lambda x: x.norm(p=3, axis=1)),
    "norm of 1": (lambda x: x.norm(p=1, dim=1), lambda x: x.norm(p=1, axis=1)),
    "norm of a fraction": (
        lambda x: x.norm(p=1.7, dim=1),
        lambda x: x.norm(p=1.7, axis=1),
    ),
    "norm without an end": (
        lambda x: x.norm(p=float("inf"), dim=1),
        lambda x: x.norm(p=float("inf"), axis=1),
    ),
    "norm of all": (lambda x: x.norm(), lambda x: x.norm()),
    "linalg.norm": (lambda x: TL.norm(x, dim=1), lambda x: PL.norm(x, axis=1)),
    "linalg.norm of 3": (lambda x: TL.norm(x, 3, 1), lambda x: PL.norm(x, 3, 1)),
    "linalg.norm of all": (lambda x: TL.norm(x), lambda x: PL.norm(x)),
    "vector_norm": (lambda x: TL.vector_norm(x, dim=1), lambda x: PL.vector_norm(x, axis=1)),
    "vector_norm of 3": (
        lambda x: TL.vector_norm(x, 3, 1),
        lambda x: PL.vector_norm(x, 3, 1),
    ),
    "matrix_norm": (lambda x: TL.matrix_norm(x), lambda x: PL.matrix_norm(x)),
    "matrix_norm nuclear": (
        lambda x: TL.matrix_norm(x, "nuc"),
        lambda x: PL.matrix_norm(x, "nuc"),
    ),
    "normalize": (lambda x: TF.normalize(x, dim=1), lambda x: PF.normalize(x, axis=1)),
    "normalize of 3": (
        lambda x: TF.normalize(x, 3, dim=1),
        lambda x: PF.normalize(x, 3, axis=1),
    ),
    "normalize with eps": (
        lambda x: TF.normalize(x, dim=1, eps=C),
        lambda x: PF.normalize(x, axis=1, epsilon=C),
    ),
    "root of a sum of squares": (
        lambda x: x.pow(2).sum(1).sqrt(),
        lambda x: x.pow(2).sum(1).sqrt(),
    ),
}

ALGEBRA = {
    "cholesky": over(spd, same("cholesky")),
    "det": over(square, same("det")),
    "inv": over(square, same("inv")),
    "matrix_exp": over(square, same("matrix_exp")) if hasattr(PL, "matrix_exp") else None,
    "matrix_power": over(square, same("matrix_power", 3)),
    "pinv": over(lambda x: x[..., :6], same("pinv")),
    "slogdet": (lambda x: TL.slogdet(square(x))[1], lambda x: PL.slogdet(square(x))[1]),
    "solve": (
        lambda x: TL.solve(square(x), x[..., :1]),
        lambda x: PL.solve(square(x), x[..., :1]),
    ),
    "multi_dot": (
        lambda x: TL.multi_dot([x[0, 0], x[0, 1].T, x[1, 1]]),
        lambda x: PL.multi_dot([x[0, 0], x[0, 1].t(), x[1, 1]]),
    ),
    "vecdot": (lambda x: TL.vecdot(x, mate(x)), lambda x: PL.vecdot(x, mate(x))),
}

LAYERS = {
    "batch_norm": (
        lambda x: TF.batch_norm(x, torch.zeros(4), torch.ones(4) * A),
        lambda x: PF.batch_norm(x, paddle.zeros([4]), paddle.ones([4]) * A),
    ),
    "batch_norm in train mode": (
        lambda x: TF.batch_norm(x, torch.zeros(4), torch.ones(4), training=True),
        lambda x: PF.batch_norm(x, paddle.zeros([4]), paddle.ones([4]), training=True),
    ),
    "frozen batch norm by hand": (
        lambda x: x * (torch.ones(4, 1, 1) * 0.01 + 1e-5).rsqrt(),
        lambda x: x * (paddle.ones([4, 1, 1]) * 0.01 + 1e-5).rsqrt(),
    ),
    "layer_norm": (lambda x: TF.layer_norm(x, (8,)), lambda x: PF.layer_norm(x, [8])),
    "group_norm": (
        lambda x: TF.group_norm(x, 2, torch.ones(4) * A, torch.ones(4) * B),
        lambda x: PF.group_norm(x, 2, weight=paddle.ones([4]) * A, bias=paddle.ones([4]) * B),
    ),
    "instance_norm": (TF.instance_norm, PF.instance_norm),
    "local_response_norm": same("local_response_norm", 3, B, B, C),
    "dropout in eval mode": (
        lambda x: TF.dropout(x, A, False),
        lambda x: PF.dropout(x, A, training=False),
    ),
    "affine_grid": (
        lambda x: TF.affine_grid(x[0, :, :2, :3], [4, 1, 5, 7], align_corners=False),
        lambda x: PF.affine_grid(x[0, :, :2, :3], [4, 1, 5, 7], align_corners=False),
    ),
    "grid_sample": (
        lambda x: TF.grid_sample(x, inside(x)[..., :2].reshape(2, 4, 6, 2), align_corners=False),
        lambda x: PF.grid_sample(x, inside(x)[..., :2].reshape([2, 4, 6, 2]), align_corners=False),
    ),
    "interpolate": (
        lambda x: TF.interpolate(x, (9, 11), mode="bilinear"),
        lambda x: PF.interpolate(x, [9, 11], mode="bilinear"),
    ),
    "upsample": (
        lambda x: TF.interpolate(x, (9, 11), mode="bilinear", align_corners=True),
        lambda x: PF.upsample(x, [9, 11], mode="bilinear", align_corners=True),
    ),
    "avg_pool2d": (lambda x: TF.avg_pool2d(x, 3), lambda x: PF.avg_pool2d(x, 3)),
    "avg_pool1d": (lambda x: TF.avg_pool1d(x[0], 3), lambda x: PF.avg_pool1d(x[0], 3)),
    "avg_pool3d": (lambda x: TF.avg_pool3d(x[None], 3), lambda x: PF.avg_pool3d(x.unsqueeze(0), 3)),
    "adaptive_avg_pool1d": (
        lambda x: TF.adaptive_avg_pool1d(x[0], 3),
        lambda x: PF.adaptive_avg_pool1d(x[0], 3),
    ),
    "adaptive_avg_pool2d": same("adaptive_avg_pool2d", (4, 3)),
    "adaptive_avg_pool3d": (
        lambda x: TF.adaptive_avg_pool3d(x[None], 3),
        lambda x: PF.adaptive_avg_pool3d(x.unsqueeze(0), 3),
    ),
    "max_pool2d": same("max_pool2d", 2),
    "lp_pool2d": over(positive, same("lp_pool2d", 3.0, 2)),
    "lp_pool1d": (
        lambda x: TF.lp_pool1d(positive(x)[0], 3.0, 2),
        lambda x: PF.lp_pool1d(positive(x)[0], 3.0, 2),
    ),
    "conv2d": (
        lambda x: TF.conv2d(x, x[:, :, :3, :3]),
        lambda x: PF.conv2d(x, x[:, :, :3, :3]),
    ),
    "glu": same("glu"),
    "unfold": (lambda x: TF.unfold(x, 2), lambda x: PF.unfold(x, 2)),
    "pixel_shuffle": same("pixel_shuffle", 2),
    "gumbel_softmax": None,
    "scaled_dot_product_attention": (
        lambda x: TF.scaled_dot_product_attention(x, x, x),
        lambda x: PF.scaled_dot_product_attention(*[x.transpose([0, 2, 1, 3])] * 3).transpose(
            [0, 2, 1, 3]
        ),
    ),
}

_LABEL = [[(3 * i + 2 * j) % 4 for j in range(8)] for i in range(6)]
_LABELS = [_LABEL, _LABEL[::-1]]


def _torch_label():
    return torch.tensor(_LABELS)


def _paddle_label():
    return paddle.to_tensor(_LABELS)


def _signs(x):
    return x.detach().flip([1]).sign()


LOSSES = {
    "cross_entropy": (
        lambda x: TF.cross_entropy(x, _torch_label()),
        lambda x: PF.cross_entropy(x, _paddle_label(), axis=1),
    ),
    "cross_entropy smoothed": (
        lambda x: TF.cross_entropy(
            x.movedim(1, -1).reshape(-1, 4), _torch_label().ravel(), label_smoothing=A
        ),
        lambda x: PF.cross_entropy(
            x.moveaxis(1, -1).reshape([-1, 4]), _paddle_label().ravel(), label_smoothing=A
        ),
    ),
    "cross_entropy of shares": (
        lambda x: TF.cross_entropy(x, TF.softmax(mate(x.detach()), 1)),
        lambda x: PF.cross_entropy(x, PF.softmax(mate(x.detach()), 1), axis=1, soft_label=True),
    ),
    "cross_entropy of shares smoothed": (
        lambda x: TF.cross_entropy(
            x.mT[0, 0], TF.softmax(x.detach().mT[0, 1], 1), label_smoothing=A
        ),
        lambda x: PF.cross_entropy(
            x.transpose([0, 1, 3, 2])[0, 0],
            PF.softmax(x.detach().transpose([0, 1, 3, 2])[0, 1], 1),
            soft_label=True,
            label_smoothing=A,
        ),
    ),
    "nll_loss": (
        lambda x: TF.nll_loss(TF.log_softmax(x, 1), _torch_label()),
        lambda x: PF.nll_loss(PF.log_softmax(x, 1), _paddle_label()),
    ),
    "binary_cross_entropy": (
        lambda x: TF.binary_cross_entropy(share(x), share(mate(x.detach()))),
        lambda x: PF.binary_cross_entropy(share(x), share(mate(x.detach()))),
    ),
    "binary_cross_entropy_with_logits": (
        lambda x: TF.binary_cross_entropy_with_logits(x, share(mate(x.detach()))),
        lambda x: PF.binary_cross_entropy_with_logits(x, share(mate(x.detach()))),
    ),
    "l1_loss": (lambda x: TF.l1_loss(x, mate(x)), lambda x: PF.l1_loss(x, mate(x))),
    "mse_loss": (lambda x: TF.mse_loss(x, mate(x)), lambda x: PF.mse_loss(x, mate(x))),
    "smooth_l1_loss": (
        lambda x: TF.smooth_l1_loss(x, mate(x).detach(), beta=A),
        lambda x: PF.smooth_l1_loss(x, mate(x).detach(), delta=A, is_huber=False),
    ),
    "smooth_l1_loss divided": (
        lambda x: TF.smooth_l1_loss(x, mate(x).detach(), beta=A),
        lambda x: PF.smooth_l1_loss(x, mate(x).detach(), delta=A) / A,
    ),
    "huber_loss": (
        lambda x: TF.huber_loss(x, mate(x).detach(), delta=A),
        lambda x: PF.smooth_l1_loss(x, mate(x).detach(), delta=A),
    ),
    "kl_div": (
        lambda x: TF.kl_div(x, share(mate(x.detach())), reduction="batchmean"),
        lambda x: PF.kl_div(x, share(mate(x.detach())), reduction="batchmean"),
    ),
    "cosine_embedding_loss": (
        lambda x: TF.cosine_embedding_loss(x[0, 0], x[1, 0], _signs(x)[0, 0, :, 0], A),
        lambda x: PF.cosine_embedding_loss(x[0, 0], x[1, 0], _signs(x)[0, 0, :, 0], A),
    ),
    "hinge_embedding_loss": (
        lambda x: TF.hinge_embedding_loss(x, _signs(x), A),
        lambda x: PF.hinge_embedding_loss(x, _signs(x), A),
    ),
    "margin_ranking_loss": (
        lambda x: TF.margin_ranking_loss(x, mate(x), _signs(x), A),
        lambda x: PF.margin_ranking_loss(x, mate(x), _signs(x), A),
    ),
    "multi_margin_loss": (
        lambda x: TF.multi_margin_loss(x[0, 0], torch.tensor([0, 1, 2, 3, 4, 5]), margin=A),
        lambda x: PF.multi_margin_loss(x[0, 0], paddle.to_tensor([0, 1, 2, 3, 4, 5]), margin=A),
    ),
    "soft_margin_loss": (
        lambda x: TF.soft_margin_loss(x, _signs(x)),
        lambda x: PF.soft_margin_loss(x, _signs(x)),
    ),
    "triplet_margin_loss": (
        lambda x: TF.triplet_margin_loss(x[0, 0], x[1, 0], x[0, 1], A),
        lambda x: PF.triplet_margin_loss(x[0, 0], x[1, 0], x[0, 1], A),
    ),
    "triplet_margin_with_distance_loss": (
        lambda x: TF.triplet_margin_with_distance_loss(x[0, 0], x[1, 0], x[0, 1], margin=A),
        lambda x: PF.triplet_margin_with_distance_loss(x[0, 0], x[1, 0], x[0, 1], margin=A),
    ),
    "gaussian_nll_loss": (
        lambda x: TF.gaussian_nll_loss(x, mate(x), positive(x), eps=1e-6),
        lambda x: PF.gaussian_nll_loss(x, mate(x), positive(x), epsilon=1e-6),
    ),
    "poisson_nll_loss": (
        lambda x: (
            TF.poisson_nll_loss(x, positive(mate(x.detach())), False, eps=A)
            if False
            else TF.poisson_nll_loss(x, positive(mate(x.detach())))
        ),
        lambda x: PF.poisson_nll_loss(x, positive(mate(x.detach()))),
    ),
    "ctc_loss": (
        lambda x: TF.ctc_loss(
            TF.log_softmax(x[0].permute(1, 0, 2), -1),
            torch.tensor([[1, 2], [2, 3], [3, 1], [1, 3]]),
            torch.full((4,), 6),
            torch.full((4,), 2),
            reduction="none",
        ),
        lambda x: PF.ctc_loss(
            x[0].transpose([1, 0, 2]),
            paddle.to_tensor([[1, 2], [2, 3], [3, 1], [1, 3]], "int32"),
            paddle.full([4], 6, "int64"),
            paddle.full([4], 2, "int64"),
            reduction="none",
        ),
    ),
    "multi_label_soft_margin_loss": (
        lambda x: TF.multilabel_soft_margin_loss(x[0, 0], (_signs(x)[0, 0] + 1) / 2),
        lambda x: PF.multi_label_soft_margin_loss(x[0, 0], (_signs(x)[0, 0] + 1) / 2),
    ),
    "square_error_cost": (
        lambda x: (x - mate(x)) ** 2,
        lambda x: PF.square_error_cost(x, mate(x)),
    ),
    "log_loss": (
        lambda x: -(share(x).detach() * torch.log(share(mate(x)) + A)),
        lambda x: -(share(x).detach() * paddle.log(share(mate(x)) + A)),
    ),
}

COMPLEX = {
    "fft": (lambda x: torch.fft.rfft(x).abs(), lambda x: paddle.fft.rfft(x).abs()),
    "fft2": (lambda x: torch.fft.fft2(x).real, lambda x: paddle.fft.fft2(x).real()),
    "complex exp": (
        lambda x: torch.exp(torch.complex(x, mate(x))).real,
        lambda x: paddle.exp(paddle.complex(x, mate(x))).real(),
    ),
    "complex product": (
        lambda x: (torch.complex(x, mate(x)) * A).imag,
        lambda x: (paddle.complex(x, mate(x)) * A).imag(),
    ),
    "complex quotient": (
        lambda x: (torch.complex(x, mate(x)) / torch.complex(positive(x), x)).imag,
        lambda x: (paddle.complex(x, mate(x)) / paddle.complex(positive(x), x)).imag(),
    ),
    "polar": (
        lambda x: torch.polar(positive(x), x).real,
        lambda x: paddle.polar(positive(x), x).real(),
    ),
    "complex angle": (
        lambda x: torch.angle(torch.complex(x, mate(x))),
        lambda x: paddle.angle(paddle.complex(x, mate(x))),
    ),
    "complex sqrt": None,
}

GROUPS = (*(ELEMENTWISE, DOMAINS, NUMBERS, TWO, REDUCED, ALGEBRA, LAYERS, LOSSES, COMPLEX),)
PAIRS = {name: pair for group in GROUPS for name, pair in group.items() if pair is not None}

# Differences that are none of rounding; docs/differences.yml has those that a port meets.
KNOWN: dict[str, str] = {
    "gaussian_nll_loss": "Paddle stops the gradient of the variance",
    "normalize with eps": "Paddle's gradient where some norms are below epsilon and some above",
}
if paddle.__version__ < "3":
    KNOWN |= {
        "trapezoid": "Paddle's gradient",
        "cumulative_trapezoid": "Paddle's gradient",
        "remainder": "Paddle has no gradient",
        "remainder by %": "Paddle has no gradient",
        "threshold": "Paddle's takes no value",
    }

_REASONS = {
    "moves or picks values, and computes none": """
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d as_strided atleast_1d
        atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to cartesian_prod cat
        channel_shuffle chunk clone column_stack combinations concat concatenate cummax cummin diag
        diag_embed diagflat diagonal diagonal_scatter dsplit dstack embedding flatten flip
        fractional_max_pool2d fractional_max_pool3d gather hsplit hstack imag index_put
        index_select kthvalue masked_scatter masked_select max max_pool1d max_pool3d max_unpool1d
        max_unpool2d max_unpool3d meshgrid min moveaxis msort nanmedian narrow permute
        pixel_unshuffle real repeat_interleave reshape roll rot90 row_stack scatter scatter_reduce
        select_scatter sgn slice_scatter sort split squeeze stack swapaxes swapdims t take
        take_along_dim tensor_split tile topk transpose tril triu unbind unflatten unsqueeze
        view_as_complex view_as_real vsplit vstack""",
    "gives whole numbers, booleans or ends of the number line": """
        allclose any argmax argmin argsort argwhere bincount bitwise_and bitwise_left_shift
        bitwise_not bitwise_or bitwise_right_shift bitwise_xor bucketize count_nonzero eq equal
        floor_divide frexp gcd ge greater greater_equal gt heaviside histogram histogramdd isclose
        isfinite isin isinf isnan isneginf isposinf isreal lcm le less less_equal logical_and
        logical_not logical_or logical_xor lt ne nextafter nonzero not_equal one_hot searchsorted
        signbit unique unique_consecutive""",
    "draws random numbers, which are given": """
        alpha_dropout bernoulli binomial dropout1d dropout2d dropout3d feature_alpha_dropout
        multinomial normal poisson rand rand_like randint randint_like randn randn_like randperm
        manual_seed seed get_rng_state set_rng_state""",
    "makes or asks, and computes nothing": """
        as_tensor asarray autocast broadcast_shapes empty empty_like eye finfo from_dlpack
        from_numpy get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype
        get_default_dtype iinfo is_autocast_enabled is_complex is_floating_point is_grad_enabled
        is_tensor load numel ones ones_like range save set_default_dtype set_printoptions
        to_dlpack tril_indices triu_indices zeros zeros_like""",
    "adds or multiplies as others do that have a pair": """
        conv1d conv3d fold ger index_add linear scatter_add vander""",
    "has no kernel on the CPU": "rms_norm",
}
NO_PAIR = {name: reason for reason, names in _REASONS.items() for name in names.split()}
