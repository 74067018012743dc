"""`.pdparams` files: plain pickles that any NumPy reads."""

import hashlib
import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.errors import UserError
from convert.formats.pdparams import write_pdparams
from convert.outputs import default_output, writing_alone

DTYPES = st.sampled_from(["?", *("u1", "i1", "i8", "u2", "f2", "f4", "f8", "c8", "c16", ">f4")])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=300), ARRAYS, max_size=4), st.booleans())
def test_pickle_reads_back_every_array(tmp_path_factory, state, transpose):
    path = tmp_path_factory.getbasetemp() / "any.pdparams"
    state = {key: array.T if transpose else array for key, array in state.items()}
    digest, size = write_pdparams(state, path)
    data = path.read_bytes()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (digest, size)
    back = pickle.loads(data)
    assert list(back) == list(state)
    for key, array in state.items():
        assert type(back[key]) is np.ndarray
        assert back[key].dtype == array.dtype.newbyteorder("<")
        assert back[key].shape == array.shape
        assert back[key].tobytes() == array.astype(back[key].dtype).tobytes()
        assert back[key].flags.c_contiguous
        assert back[key].flags.writeable


def test_names_are_those_that_every_numpy_has(tmp_path):
    write_pdparams({"a": np.zeros((2, 3), "f4")}, tmp_path / "a")
    names = {
        arg
        for op, arg, _ in pickletools.genops((tmp_path / "a").read_bytes())
        if op.name == "GLOBAL"
    }
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("model.pth", "model.pdparams"),
        ("STDCNet813M_73.91.tar", "STDCNet813M_73.91.pdparams"),
        ("x.pth.tar", "x.pdparams"),
        ("weights", "weights.pdparams"),
    ],
)
def test_default_output(tmp_path, source, output):
    assert default_output(tmp_path / source) == tmp_path / output


def test_what_must_not_be_overwritten(tmp_path):
    source, other = tmp_path / "model.pth", tmp_path / "out.pdparams"
    source.write_bytes(b"weights")
    other.write_bytes(b"old")
    (tmp_path / "link").symlink_to(source)

    def check(output, force):
        with writing_alone([output], [source], force):
            pass

    for output in (source, tmp_path / "link"):
        with pytest.raises(UserError, match="which is read"):
            check(output, force=True)
    with pytest.raises(UserError, match="--force"):
        check(other, force=False)
    check(other, force=True)
    with pytest.raises(UserError, match="does not exist"):
        check(tmp_path / "no" / "out", force=False)
    with pytest.raises(UserError, match="a folder"):
        check(tmp_path, force=True)


def test_paddle_reads_it(tmp_path):
    paddle = pytest.importorskip("paddle")
    weight = np.arange(12, dtype="f4").reshape(4, 3).T
    write_pdparams({"weight": weight, "bias": np.ones(4, "f4")}, tmp_path / "fc.pdparams")
    layer = paddle.nn.Linear(3, 4)
    assert layer.set_state_dict(paddle.load(str(tmp_path / "fc.pdparams"))) == ([], [])
    assert np.array_equal(layer.weight.numpy(), weight)
