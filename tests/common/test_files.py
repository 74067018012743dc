"""Files and folders are whole or absent, and nothing in the project is written otherwise."""

import ast
import hashlib
import os
import stat
from pathlib import Path

import pytest

from common.documents import write_json, write_text
from common.errors import UserError
from common.files import (
    sha256_of,
    sweep,
    sweep_drafts,
    whole_file,
    whole_folder,
    write_picture,
)
from tests.paths import ROOT

ROOMS = ("common", "torch_ref", "paddle_impl", "convert", "align", "commands", "tools", "docs")
ROOMS += ("benchmarks", "export", "port")


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    output = tmp_path / "model.pdparams"
    output.write_bytes(b"old")

    def fail(failure):
        with whole_file(output) as draft:
            draft.write_bytes(b"half")
            raise failure

    for failure in (KeyboardInterrupt, ValueError):
        with pytest.raises(failure):
            fail(failure)
        assert output.read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["model.pdparams"]
    with whole_file(output) as draft:
        draft.write_bytes(b"new")
    assert output.read_bytes() == b"new"
    assert sha256_of(output) == hashlib.sha256(b"new").hexdigest()


def test_a_full_or_forbidden_disk_is_a_users_error(tmp_path):
    with pytest.raises(UserError, match="cannot be written"), whole_file(tmp_path / "a") as draft:
        raise OSError(28, "No space left on device")
    assert not draft.exists()
    (tmp_path / "file").write_text("")
    for write in (write_text, write_json):
        with pytest.raises(UserError, match="cannot be written"):
            write(tmp_path / "file" / "a.json", {} if write is write_json else "")


def test_a_file_has_the_permissions_of_any_new_one(tmp_path):
    (tmp_path / "usual").write_text("")
    with whole_file(tmp_path / "file") as draft:
        draft.write_text("")
    with whole_folder(tmp_path / "folder") as draft:
        (draft / "file").write_text("")
    write_text(tmp_path / "text", "")
    usual = stat.S_IMODE((tmp_path / "usual").stat().st_mode)
    for path in (tmp_path / "file", tmp_path / "folder" / "file", tmp_path / "text"):
        assert stat.S_IMODE(path.stat().st_mode) == usual
    os.mkdir(tmp_path / "plain")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "folder")}
    assert len(modes) == 1


def test_a_picture_is_whole_or_absent(tmp_path):
    class Figure:
        def savefig(self, path, **options):
            path.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_picture(Figure(), tmp_path / "new" / "loss.png")
    assert list((tmp_path / "new").iterdir()) == []


def test_an_old_folder_goes_only_when_the_new_one_stands(tmp_path, monkeypatch):
    target = tmp_path / "set"
    target.mkdir()
    (target / "old").write_text("")
    rename, failures = type(target).rename, [OSError(28, "No space left"), KeyboardInterrupt()]

    def broken(self, other):
        if self.name.startswith(".set.") and ".old" not in self.name:
            raise failures.pop(0)
        return rename(self, other)

    monkeypatch.setattr(type(target), "rename", broken)
    for said in (UserError, KeyboardInterrupt):
        with pytest.raises(said), whole_folder(target) as draft:
            (draft / "new").write_text("")
        assert [path.name for path in target.iterdir()] == ["old"]
        assert [path.name for path in tmp_path.iterdir()] == ["set"]
    monkeypatch.undo()
    with whole_folder(target) as draft:
        (draft / "below").mkdir()
        (draft / "below" / "new").write_text("")
    assert [path.name for path in target.iterdir()] == ["below"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_a_killed_process_left_is_swept(tmp_path):
    with whole_file(tmp_path / "a") as draft:
        left = draft.name
        draft.write_text("")
    (tmp_path / left).write_text("half")
    assert sweep(tmp_path) == [tmp_path / left]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_was_being_replaced_gets_its_name_back(tmp_path):
    """Killed between the two renames; one that was being removed does not come back."""
    for name in (".set.old.part", ".set.4000000.part", ".gone.gone.part"):
        (tmp_path / name).mkdir()
    (tmp_path / ".set.old.part" / "file").write_text("all there is")
    assert sweep_drafts(tmp_path / "set") == [tmp_path / ".set.4000000.part"]
    assert sweep(tmp_path) == [tmp_path / ".gone.gone.part"]
    assert (tmp_path / "set" / "file").read_text() == "all there is"
    (tmp_path / ".set.old.part").mkdir()
    assert sweep_drafts(tmp_path / "set") == [tmp_path / ".set.old.part"]


# Functions that write into a draft that their caller made, or something that nobody reads later.
INTO_A_DRAFT = {
    "commands/predict/painting.py": {"save"},
    "common/data/toy/coco.py": {"write_frame"},
    "common/data/toy/shapes.py": {"write_shapes"},
    "common/data/toy/write.py": {"_write_frame", "_save"},
    "common/files.py": {"whole_file", "_swap", "remove_folder", "whole_folder"},
    "common/panoptic/ids.py": {"save_ids"},
    "common/panoptic/sets/write.py": {"write_annotations"},
    "common/volumes/numpy_files.py": {"write_npz", "write_npy"},
    "convert/formats/pdparams.py": {"write_pdparams"},
    "convert/formats/safetensors.py": {"write_safetensors"},
    "convert/formats/torch_save/write_zip.py": {"write_torch"},
    "export/deployment.py": {"write"},
    "export/make/graph_paddle.py": {"save"},
    "export/make/job_paddle.py": {"_write"},
    "export/make/onnx_paddle.py": {"write_onnx"},
    "port/graph/folder.py": {"write_sources", "write_reports"},
    "torch_ref/train.py": {"save_weights"},
    "paddle_impl/train.py": {"save_weights"},
}
NOT_KEPT = {
    # Into a temporary folder of their caller's.
    "benchmarks/convert.py": {"_make", "_plain", "_against_x2paddle", "run"},
    "benchmarks/data.py": {"frames"},
    "benchmarks/predict.py": {"_weights", "_photos"},
    "benchmarks/peers.py": {"_child", "environment_of", "add"},
    "benchmarks/peers_check.py": {"_reprod_log_forward"},
    "benchmarks/peers_convert.py": {"convert", "load_paconvert"},
    "commands/graph/child.py": {"main"},
    "commands/graph/flow.py": {"_source", "_source_of_onnx"},
    "commands/port/record.py": {"_answer"},
    "commands/port/recording_torch.py": {"main"},
    "docs/proof/prove.py": {"run_readme"},
    "export/fresh.py": {"run_fresh", "main"},
    "port/graph/contain.py": {"run_contained"},
    "align/nets/progress.py": {"create_note"},  # how far a child is, in a temporary folder
    "common/training/logs.py": {"_append"},  # a log grows; a line that a kill cut is left out
}
WRITES = {"write_text", "write_bytes", "savefig", "imwrite", "savez", "symlink_to"}


def _writes(call: ast.Call) -> bool:
    """Tell whether a call makes a file, by the name of what is called."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    of = getattr(getattr(call.func, "value", None), "id", "")
    if name in ("open", "ZipFile"):
        modes = [*call.args, *(entry.value for entry in call.keywords)]
        words = [str(mode.value) for mode in modes if isinstance(mode, ast.Constant)]
        return any(set(word) <= set("wxab+t") and set(word) & set("wxa") for word in words)
    if name == "write_text" and isinstance(call.func, ast.Name):
        return False  # that of common.documents
    if name == "save":
        return True
    return name in WRITES or (of == "os" and name in {"rename", "replace"})


def _whole(function: ast.AST) -> bool:
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    return bool(names & {"whole_file", "whole_files", "whole_folder", "TemporaryDirectory"})


def test_every_file_is_written_by_the_one_writer():
    """Functions that are nobody's draft writers make files inside `whole_file` alone."""
    loose, known = [], {**INTO_A_DRAFT, **NOT_KEPT}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            for function in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(function, ast.FunctionDef):
                    continue
                if _whole(function) or function.name in known.get(name, ()):
                    continue
                calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
                loose += [f"{name}:{call.lineno}" for call in calls if _writes(call)]
    assert loose == []


@pytest.mark.parametrize("name", [".", "/"])
def test_a_place_without_a_name_cannot_be_held(name):
    from common.locks import only_writer_of

    with pytest.raises(UserError, match="no name of its own"), only_writer_of(Path(name)):
        pass
