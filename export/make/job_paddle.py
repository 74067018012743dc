"""One export: fold, trace, write, run in fresh processes, compare, and only then put in place."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from common.documents import json_in
from common.environment import environment
from common.errors import UserError
from common.files import sha256_of, whole_folder
from common.nets import members
from export.deployment import NAME, OUTPUTS, OWN, Deployment
from export.fresh import run_fresh
from export.make.compare import (
    NOTHING_LEFT,
    UNDECIDED,
    Difference,
    allowed_share,
    compare,
    undecided_share,
)
from export.make.fold_paddle import fold, watching
from export.make.graph_paddle import Exported, save
from export.make.inputs import images_for
from export.make.resizes_paddle import exact_resizes

Images = dict[str, np.ndarray]
Build = Callable[[str], nn.Layer]  # dtype -> the net with its weights, in eval mode
ACCOUNT = "account.json"
FORMATS = ("paddle", "onnx")
FOLD_ALLOWED = 1e-9  # of the largest magnitude, in float64


class ExportDiffers(UserError):
    """The exported net was run and computes something else; `account` says what was measured."""

    exit_code = 1

    def __init__(self, message: str, account: dict[str, Any]) -> None:
        super().__init__(message)
        self.account = account


def export_net(
    build: Build,
    deployment: Deployment,
    folder: Path,
    formats: Sequence[str] = FORMATS,
    force: bool = False,
    progress: Callable[[str], None] = lambda words: None,
) -> dict[str, Any]:
    """Export into `folder`: model, weights, `deploy.yaml`, account; return the account.

    build: makes the training net in "float32" or "float64". progress: called with what begins.

    Raises:
        ExportDiffers: an engine's output is not the training net's; nothing is left in `folder`.
        UserError: the folder is somebody else's, an engine is missing or refuses the graph, or
            nothing could be told from what the training net gives.
    """
    check_folder(folder, force)
    if deployment.output not in OUTPUTS:
        raise UserError(f"output {deployment.output!r}: choose one of {', '.join(OUTPUTS)}")
    images = images_for(deployment)
    progress("running the training net")
    truth = Truth(build, deployment, images)
    _require_telling(truth, deployment.output)
    with whole_folder(folder) as draft:
        progress("writing the model")
        deployment = _write(truth, deployment, draft, formats)
        progress("running the exported model")
        differences = _verify(truth, deployment, draft, images)
        account = _account(truth, deployment, draft, differences)
        text = json.dumps(account, indent=2, ensure_ascii=False)
        (draft / ACCOUNT).write_text(text, encoding="utf-8")
        if not account["equal"]:
            raise ExportDiffers(_told(differences), account)
    return account


def check_folder(folder: Path, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Raise UserError where `folder` is not free, nor an export that `force` replaces.

    One that holds what is read, or a file that no export wrote, is never replaced.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    deploy = folder / NAME
    ours = deploy.is_file() and OWN in deploy.read_text(encoding="utf-8", errors="replace")
    if not ours:
        raise UserError(f"{folder}: is there and no export; give a new folder with -o")
    if not force:
        raise UserError(f"{folder}: an export is there already; --force replaces it")
    whole = folder.resolve()
    if held := next((path for path in inputs if whole in path.resolve().parents), None):
        raise UserError(f"{folder}: would be replaced with {held}, which is read; choose another")
    known = {ACCOUNT, *_written(folder / ACCOUNT)}
    if others := sorted(path.name for path in folder.iterdir() if path.name not in known):
        raise UserError(
            f"{folder}: holds {others[0]}, which the export there did not write; move it away, or "
            "give a new folder with -o"
        )


def _written(account: Path) -> list[str]:
    """Return the files that an account of an export names; none where it is none."""
    try:
        return list(json_in(account)["files"])
    except (OSError, ValueError, LookupError, TypeError, UserError):
        return []


class Truth:
    """The training net run on every image: in float32 as it is, in float64 with exact resizes.

    Attributes:
        training, exact: logits by input, at the size at which the export returns them.
        pairs: (convolution, BatchNorm) that are folded.
        norms: BatchNorms in all.
        fold_error: what folding changed in float64, of the largest magnitude.
        traced: `deployment` as it is traced: a net whose logits are of the image's size is not
            resized.
        borders: share of pixels whose class an early argmax changes; None without one.
    """

    def __init__(self, build: Build, deployment: Deployment, images: Images) -> None:
        self._build, self.notes = build, list[str]()
        net = build("float32")
        as_net = replace(deployment, output="logits", early_argmax=False, net_size=True)
        with watching(net) as followers:
            whole = {name: _run(net, as_net, image) for name, image in images.items()}
        self.pairs = followers.pairs()
        self.norms = sum(hasattr(layer, "_variance") for layer in members.modules(net))
        same = all(whole[name].shape[2:] == images[name].shape[2:] for name in images)
        self.traced = replace(deployment, net_size=True) if same else deployment
        as_logits = replace(self.traced, output="logits")
        self.training = whole
        if not self.traced.net_size or deployment.early_argmax:
            self.training = {name: _run(net, as_logits, image) for name, image in images.items()}
        exact = build("float64")
        with exact_resizes():
            self.exact = {name: _run(exact, as_logits, image) for name, image in images.items()}
        self.borders = self._borders(exact, images) if deployment.early_argmax else None
        self.fold_error = self._fold(exact, as_logits, images)

    def _borders(self, exact: nn.Layer, images: Images) -> float:
        name, image = list(images.items())[-1]
        late = replace(self.traced, output="logits", early_argmax=False)
        with exact_resizes():
            logits = _run(exact, late, image)
        return float((logits.argmax(1) != self.exact[name].argmax(1)).mean())

    def _fold(self, exact: nn.Layer, as_logits: Deployment, images: Images) -> float:
        """Fold in float64 and return what changed; where that is too much nothing is folded."""
        fold(exact, self.pairs)
        name, image = next(iter(images.items()))
        with exact_resizes():
            folded = _run(exact, as_logits, image)
        largest = float(np.abs(self.exact[name]).max()) or 1.0
        error = float(np.abs(folded - self.exact[name]).max()) / largest
        if not error <= FOLD_ALLOWED:
            self.notes.append("BatchNorm is not folded: another layer reads a convolution too")
            self.pairs = []
        return error

    def folded(self) -> nn.Layer:
        """Return the net in float32 with its BatchNorms folded."""
        net = self._build("float32")
        fold(net, self.pairs)
        return net


def _require_telling(truth: Truth, output: str) -> None:
    """Raise UserError where any export would seem to be right: its outputs say nothing."""
    for name, exact in truth.exact.items():
        finite = np.isfinite(exact).all() and np.isfinite(truth.training[name]).all()
        if not (finite and exact.any()):
            what = "all zeros" if finite else "not finite"
            raise UserError(
                f"could not check: on the {name} input the training net's logits are {what}; give "
                "weights of which something can be told"
            )
        if exact.shape[1] == 1 and output != "logits":
            raise UserError(
                f"output {output}: is one number for every image where there is one class; export "
                "logits"
            )
        _require_room(name, exact, truth.training[name], output)


def _require_room(name: str, exact: np.ndarray, training: np.ndarray, output: str) -> None:
    """Raise UserError where rounding alone explains any output [N, C, H, W]."""
    share = undecided_share(exact, training) if output == "argmax" else 0.0
    if share > UNDECIDED:
        raise UserError(
            f"could not check: on the {name} input rounding alone chooses the class of {share:.0%} "
            "of the pixels; give weights of which something can be told, or export logits"
        )
    if (off := allowed_share(exact, training, output)) > NOTHING_LEFT:
        raise UserError(
            f"could not check: on the {name} input rounding explains {off:.0e} of the largest of "
            "what the training net gives, and nothing is left to compare; give weights of which "
            "something can be told"
        )


def _run(net: nn.Layer, deployment: Deployment, image: np.ndarray) -> np.ndarray:
    dtype = members.parameters(net)[0].dtype
    with paddle.no_grad():
        output = Exported(net, deployment)(paddle.to_tensor(image).astype(dtype))
    array: np.ndarray = output.numpy()
    return array


def _write(truth: Truth, deployment: Deployment, draft: Path, formats: Sequence[str]) -> Deployment:
    model = save(truth.folded(), truth.traced, draft)
    onnx = None
    if "onnx" in formats:
        from export.make.onnx_paddle import write_onnx

        onnx = write_onnx(model, draft / "model.onnx").name
    deployment = replace(deployment, model=model.name, params="model.pdiparams", onnx=onnx)
    deployment.write(draft / NAME)
    return deployment


def _verify(truth: Truth, deployment: Deployment, draft: Path, images: Images) -> list[Difference]:
    files = {"paddle": deployment.model, "onnxruntime": deployment.onnx}
    found = []
    for engine, file in files.items():
        if file is None:
            continue
        outputs = run_fresh(engine, draft / file, images)
        for name, output in outputs.items():
            logits, training = truth.exact[name], truth.training[name]
            found.append(compare(engine, name, output, logits, training, deployment.output))
    return found


def _account(
    truth: Truth, deployment: Deployment, draft: Path, differences: list[Difference]
) -> dict[str, Any]:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(draft.iterdir())
    }
    return {
        "net": deployment.net,
        "weights_sha256": deployment.weights_sha256,
        "input_shape": deployment.input_shape,
        "output": deployment.output,
        "equal": all(difference.equal for difference in differences),
        "batch_norms": {
            "in_all": truth.norms,
            "folded": len(truth.pairs),
            "fold_error": truth.fold_error,
        },
        "differences": [difference.to_dict() for difference in differences],
        "borders_changed": truth.borders,
        "notes": truth.notes,
        "files": files,
        "environment": environment(),
    }


def _told(differences: list[Difference]) -> str:
    worst = max(differences, key=lambda row: (not row.equal, row.error / (row.allowed or 1)))
    return (
        f"the exported net differs: {worst.engine} on the {worst.input} input is "
        f"{worst.error:.1e} off the training net, {worst.allowed:.1e} is what rounding explains; "
        f"{worst.unexplained} of {worst.pixels} pixels have another class. Nothing was written"
    )
