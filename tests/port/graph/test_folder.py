"""A folder of a graph that was converted: when another may take its place."""

import pytest

from common.errors import UserError
from port.graph.folder import REPORT, check_graph_folder


def test_a_file_that_no_conversion_wrote_is_never_replaced(tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / REPORT).write_text("{}")
    with pytest.raises(UserError, match="exists already; --force"):
        check_graph_folder(folder, force=False)
    check_graph_folder(folder, force=True)
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds model\.onnx, which convert_graph did not write"):
        check_graph_folder(folder, force=True)
    with pytest.raises(UserError, match="no net that convert_graph wrote"):
        check_graph_folder(tmp_path, force=True)
