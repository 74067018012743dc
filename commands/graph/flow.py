"""A graph into a Paddle net: converted apart, mended, judged, handed over."""

import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from commands.entry import CHECKED_BAD, CHECKED_GOOD, COULD_NOT_CHECK, ROOT
from commands.graph import child
from commands.graph.judge import Judged, exit_code
from commands.graph.prepare import instead
from commands.graph.trials import Tell, TorchTrials, trials_of_onnx
from common.errors import UserError
from common.files import require_there, whole_folder
from common.words.controls import in_one_line
from common.words.language import phrase
from port.graph.account import GraphAccount, account_of
from port.graph.contain import KERNEL, Ended, run_contained
from port.graph.folder import WEIGHTS, check_graph_folder, write_reports, write_sources
from port.graph.mend import Mended, Norm, Resizing, mend

_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
    "from commands.graph.child import main; main(Path(sys.argv[2]))"
)
_LACKING = re.compile(r"^=+ ([A-Za-z_][\w:]*) =+\s*$", re.MULTILINE)
_FAILED = re.compile(r"op_type is (\w+)")
_NEEDED = dict.fromkeys(("x2paddle", "six", "requests"), "graph")  # it declares the first alone
_NEEDED_FOR_ONNX = dict.fromkeys(("onnx", "onnxruntime"), "graph")


@dataclass
class GraphSource:
    """What is converted.

    Attributes:
        name: as the user called it.
        state: name -> values of its tensors.
        norms: running mean -> what its BatchNorm is set to.
        trained: names of what it trains; None: not known, all.
        reasons: why a tensor is left out.
        resizes: tensor of the written code -> what its Resize is set to.
        notes: what was changed before X2Paddle got it.
        net: the live torch net, None of an ONNX file.
    """

    name: str
    state: dict[str, np.ndarray]
    norms: dict[str, Norm]
    trained: set[str] | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    resizes: dict[str, Resizing] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    net: Any = None


@dataclass
class GraphWritten:
    """What X2Paddle made of it, mended."""

    mended: Mended
    state: dict[str, np.ndarray]
    account: GraphAccount
    version: str
    notes: list[str]


def convert_graph(
    asked: Mapping[str, Any], folder: Path, force: bool, tell: Tell
) -> dict[str, Any]:
    """Return what came of it: code, verdict, lines, rows; `folder` is written where it could be.

    Raises UserError, UnreadableError where nothing could be converted or judged.
    """
    if asked["kind"] == "onnx":
        require_there(Path(asked["spec"]))
    _require_installed(asked["kind"])
    check_graph_folder(folder, force)
    with tempfile.TemporaryDirectory(prefix="graph-") as place:
        work = Path(place)
        source, batches = _source(asked, work)
        tell(phrase("converting {path}", path=source.name))
        written = _converted(asked, source, work)
    from commands.graph.port_paddle import WrittenNet

    net = WrittenNet(written.mended.code, written.mended.name, written.state)
    if constants := net.complete():
        written.notes.append(
            f"constants of the code, kept with the weights: {', '.join(constants)}"
        )
    written.state = net.state
    rows = _judged(asked, source, written, net, batches, tell)
    return _handed_over(source, written, rows, folder, asked)


def _require_installed(kind: str) -> None:
    needed = _NEEDED | (_NEEDED_FOR_ONNX if kind == "onnx" else {})
    for name, extra in needed.items():
        if importlib.util.find_spec(name) is None:
            raise UserError(f"{name} is not installed: pip install 'torch2paddle-seg[{extra}]'")


def _source(asked: Mapping[str, Any], work: Path) -> tuple[GraphSource, list[list[np.ndarray]]]:
    """Return what is converted and the inputs; write what X2Paddle's process needs."""
    if asked["kind"] == "onnx":
        return _source_of_onnx(asked, work)
    from commands.graph import reference_torch as torch_side

    net = torch_side.reference(asked)
    batches = _batches(asked, [])
    reasons = torch_side.require_tensors(net, batches[0], asked["spec"])
    state = torch_side.state_of(net)
    np.savez(work / torch_side.STATE, **dict[str, Any](state))
    np.savez(work / torch_side.INPUTS, *batches[0])
    (work / child.REQUEST).write_text(json.dumps(dict(asked)), encoding="utf-8")
    norms, trained = torch_side.norms_of(net), torch_side.trained(net)
    return GraphSource(asked["spec"], state, norms, trained, reasons, net=net), batches


def _source_of_onnx(
    asked: Mapping[str, Any], work: Path
) -> tuple[GraphSource, list[list[np.ndarray]]]:
    from commands.graph.prepare import prepared
    from commands.graph.reference_onnx import OnnxReference

    path = Path(asked["spec"])
    made, reference = prepared(path), OnnxReference(path)
    batches = _batches(asked, reference.shapes)
    _require_fitting(path, reference, batches)
    model = work / "model.onnx"
    model.write_bytes(made.model.SerializeToString())
    request = {"kind": "onnx", "model": str(model)}
    (work / child.REQUEST).write_text(json.dumps(request), encoding="utf-8")
    reasons, resizes = made.reasons, made.resizes
    return GraphSource(
        path.name, made.state, made.norms, None, reasons, resizes, made.notes
    ), batches


def _batches(
    asked: Mapping[str, Any], shapes: Sequence[Sequence[int | None]]
) -> list[list[np.ndarray]]:
    """Return the inputs of every run, float32 where they have fractional parts.

    shapes: of the file itself, which are taken where no others are given; None for a free size.
    """
    from commands.subjects.inputs import read_inputs, seeded_inputs

    wanted = list(asked["shapes"])
    if not wanted and not asked["inputs"]:
        free = not shapes or any(size is None for shape in shapes for size in shape)
        if free and not asked["also"]:
            raise UserError(
                f"{asked['spec']}: the sizes of its inputs are free; give --input-shape, once for "
                "each input, or --inputs FILE"
            )
        wanted = [] if free else [[[size or 1 for size in shape] for shape in shapes]]
    sets: list[Any] = [seeded_inputs(each, asked["seed"]) for each in wanted]
    sets += [read_inputs(path) for path in asked["inputs"]]
    sets += [seeded_inputs(each, asked["seed"]) for each in asked["also"]]
    if any(isinstance(one, dict) for one in sets):
        raise UserError("--inputs: a graph takes its inputs by position: name them arr_0, arr_1")
    return [[a.astype(np.float32) if a.dtype.kind == "f" else a for a in one] for one in sets]


def _require_fitting(path: Path, reference: Any, batches: list[list[np.ndarray]]) -> None:
    for inputs in batches:
        if len(inputs) != len(reference.shapes):
            raise UserError(
                f"{path}: takes {len(reference.shapes)} inputs, {len(inputs)} were given"
            )
        for number, (array, dtype) in enumerate(zip(inputs, reference.dtypes, strict=True)):
            if (array.dtype.kind == "f") != dtype.startswith("float"):
                raise UserError(f"{path}: input {number} is {dtype}; give it by --inputs FILE")
            sizes, given = reference.shapes[number], list(array.shape)
            if len(sizes) != len(given) or any(
                size not in (None, found) for size, found in zip(sizes, given, strict=True)
            ):
                told = ["any" if size is None else size for size in sizes]
                raise UserError(
                    f"{path}: input {number} has the sizes [{', '.join(map(str, told))}] in the "
                    f"file, got {given}; export it with dynamic axes to run others"
                )


def _converted(asked: Mapping[str, Any], source: GraphSource, work: Path) -> GraphWritten:
    """Run X2Paddle and return what it wrote, mended. Raises UserError where that is no net."""
    from commands.graph.port_paddle import WrittenNet
    from convert import read_checkpoint

    ended = run_contained(
        [sys.executable, "-c", _START, str(ROOT), str(work)], work, asked["timeout"], {}
    )
    result = _result(work)
    code, weights = work / child.WRITTEN / child.CODE, work / child.WRITTEN / child.WEIGHTS
    if not (code.is_file() and weights.is_file()):
        raise _no_net(source.name, ended, result)
    text = code.read_text("utf-8")
    first = _mended(source.name, text)
    names = set(WrittenNet(first.code, first.name, {}).names())
    saved = read_checkpoint(weights)
    state = {name: np.array(saved[name]) for name in saved if name in names}
    account = account_of(source.state, state, source.reasons)
    norms = _norms(source, account, state)
    mended = _mended(source.name, text, norms, _trained(source, account, state), source.resizes)
    return GraphWritten(
        mended, state, account, result.get("version", ""), _notes(source, ended, result)
    )


def _mended(name: str, text: str, *facts: Any) -> Mended:
    """Return the code with its faults mended. Raises UserError where it is no code of a net."""
    try:
        return mend(text, *(facts or ({}, set())))
    except (SyntaxError, ValueError) as error:
        raise UserError(
            f"could not check: what X2Paddle wrote of {name} is no net: {error}"
        ) from None


def _trained(
    source: GraphSource, account: GraphAccount, state: Mapping[str, np.ndarray]
) -> set[str]:
    """Return the names in the written net of what the source trains; ONNX does not say what."""
    floats = {name for name, array in state.items() if array.dtype.kind == "f"}
    if source.trained is None:
        return floats - set(account.added)
    return floats & {account.target_of.get(name, "") for name in source.trained}


def _norms(
    source: GraphSource, account: GraphAccount, state: Mapping[str, np.ndarray]
) -> dict[str, Norm]:
    """Return {layer of the code: what it has to be}; all the same where the source has one kind.

    Else a layer is known by the values of its running mean.
    """
    settings = {(norm.momentum, norm.epsilon) for norm in source.norms.values()}
    if len(settings) == 1:
        norm = next(iter(source.norms.values()))
        means = [name for name in state if name.endswith("._mean")]
        return {name.rpartition(".")[0]: norm for name in means}
    return {
        account.target_of[mean].rpartition(".")[0]: norm
        for mean, norm in source.norms.items()
        if mean in account.target_of
    }


def _result(work: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((work / child.RESULT).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _no_net(name: str, ended: Ended, result: Mapping[str, Any]) -> UserError:
    """Return the error of a conversion that left no net, with the operations that it lacks."""
    error = str(result.get("error", ""))
    lacking = _LACKING.findall(ended.said) + _FAILED.findall(error or ended.said)
    lacking += [result["op"]] if result.get("op") else []
    if ended.code is None:
        return UserError(
            f"could not check: X2Paddle did not end within {ended.seconds:.0f} s; --timeout gives "
            f"it more. {instead()}"
        )
    if lacking:
        listed = ", ".join(dict.fromkeys(lacking))
        return UserError(
            f"could not check: X2Paddle cannot convert {listed} of {name}. {instead()}"
        )
    lines = [line.strip() for line in ended.said.splitlines() if line.strip()]
    why = error if error and not error.startswith("SystemExit") else (lines or [""])[-1]
    return UserError(
        f"could not check: X2Paddle wrote no net of {name} (exit code {ended.code}): "
        f"{in_one_line(why[:300])}. {instead()}"
    )


def _notes(source: GraphSource, ended: Ended, result: Mapping[str, Any]) -> list[str]:
    notes = list(source.notes)
    by = "of the kernel" if result.get("network") == KERNEL else "of Python alone"
    notes.append(f"X2Paddle ran {ended.seconds:.0f} s without a network, by means {by}")
    if result.get("error"):
        notes.append(f"X2Paddle stopped after writing it: {in_one_line(result['error'][:200])}")
    return notes


def _judged(
    asked: Mapping[str, Any],
    source: GraphSource,
    written: GraphWritten,
    net: Any,
    batches: list[list[np.ndarray]],
    tell: Tell,
) -> list[Judged]:
    def comparing(what: str) -> None:
        tell(phrase("comparing {what}", what=what))

    if source.net is None:
        return trials_of_onnx(Path(asked["spec"]), net, batches, comparing)
    code = written.mended.code
    trials = TorchTrials(source.net, net, written.account, source.norms, code)
    rows = trials.rows(batches, not asked["eval_only"], comparing)
    written.notes += trials.notes
    return rows


def _handed_over(
    source: GraphSource,
    written: GraphWritten,
    rows: list[Judged],
    folder: Path,
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    from convert.formats.pdparams import write_pdparams

    code = exit_code(rows)
    if written.mended.open and not asked["eval_only"] and code == CHECKED_GOOD:
        code = COULD_NOT_CHECK if source.net is not None else code
    done = _answer(code, source, written, rows, folder)
    with whole_folder(folder) as draft:
        write_sources(draft, written.mended, source.name, written.version)
        write_pdparams(written.state, draft / WEIGHTS)
        write_reports(draft, done, written.account)
    return done


def _answer(
    code: int, source: GraphSource, written: GraphWritten, rows: list[Judged], folder: Path
) -> dict[str, Any]:
    words = {
        CHECKED_GOOD: phrase("converted, and shown equal: {folder}", folder=folder),
        CHECKED_BAD: phrase("converted, and not equal: {folder}", folder=folder),
        COULD_NOT_CHECK: phrase("converted, and could not be checked: {folder}", folder=folder),
    }
    notes = [*written.notes]
    if written.mended.needs_x2paddle:
        notes.append("net.py calls layers of X2Paddle, which has to be installed where it runs")
    told = [row.to_dict() | {"words": worded(row)} for row in rows]
    account = written.account
    return {
        "code": code,
        "verdict": words[code],
        "source": source.name,
        "folder": str(folder),
        "converter": f"X2Paddle {written.version}",
        "rows": told,
        "mended": written.mended.changes,
        "open": written.mended.open,
        "notes": notes,
        "counts": account.counts(),
        "tensors": [way.to_dict() for way in account.ways],
        "added": list(account.added),
    }


def worded(row: Judged) -> str:
    """Return what a row came to."""
    where = f" ({row.where})" if row.where else ""
    words = {CHECKED_GOOD: "equal", CHECKED_BAD: "differs", COULD_NOT_CHECK: "not checked"}
    if row.error is None or row.allowed is None:
        return f"{words[row.code]}{where}"
    return f"{words[row.code]}: {row.error:.1e}, allowed {row.allowed:.0e}{where}"
