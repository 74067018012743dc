"""Files of volumes: what is read is what was written, and a hostile file is one clear error."""

import zipfile

import numpy as np
import pytest

from common.errors import DamagedFileError, DataError, UserError
from common.volumes import stored
from common.volumes.files import kind_of, read_label, read_volume, stem_of, write_volume

SHAPE = (4, 5, 6)


@pytest.fixture
def voxels():
    return np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".h5", ".nii.gz", ".nii", ".npz", ".npy"])
def test_what_was_written_is_read(tmp_path, voxels, suffix):
    pytest.importorskip({".h5": "h5py"}.get(suffix, "nibabel" if "nii" in suffix else "numpy"))
    path = tmp_path / f"a.b{suffix}"
    for array in (voxels, np.stack([voxels, voxels // 2]).astype(np.float32)):
        write_volume(path, array, {})
        found = read_volume(path, "predictions").array
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array if array.ndim == 4 else array[None])
    assert stem_of(path) == "a.b"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_nifti_keeps_its_place_in_the_world(tmp_path, voxels):
    nibabel = pytest.importorskip("nibabel")
    affine = np.array([[0, -0.5, 0, 3], [0.75, 0, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(np.asfortranarray(voxels.T), affine)
    image.header.set_xyzt_units("mm")
    image.to_filename(tmp_path / "a.nii.gz")
    found = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.array[0], voxels)  # x is the last axis here
    write_volume(tmp_path / "b.nii.gz", found.array[0] // 100, found.geometry)
    again = nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(again.affine, affine)
    assert again.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(np.asarray(again.dataobj), voxels.T // 100)


def test_scaled_voxels_of_nifti_have_their_scale(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    image.to_filename(tmp_path / "a.nii")
    raw = nibabel.load(tmp_path / "a.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").array[0].T, raw.get_fdata())


def test_attributes_of_hdf5_are_its_geometry(tmp_path, voxels):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/raw"] = voxels
        file["deep/raw"].attrs["element_size_um"] = (2.0, 0.5, 0.5)
        file["deep/raw"].attrs["note"] = "text"
    found = read_volume(tmp_path / "a.h5", "deep/raw")
    assert set(found.geometry) == {"element_size_um"}
    write_volume(tmp_path / "b.h5", voxels, found.geometry)
    again = read_volume(tmp_path / "b.h5", "predictions")
    assert again.geometry["element_size_um"].tolist() == [2.0, 0.5, 0.5]


def test_labels_are_whole_numbers(tmp_path):
    np.save(tmp_path / "a.npy", np.full(SHAPE, 2.0))
    assert read_label(tmp_path / "a.npy").dtype == np.int64
    np.save(tmp_path / "b.npy", np.full(SHAPE, 2.5))
    with pytest.raises(DataError, match=r"b\.npy: its label holds 2.5, expected whole numbers"):
        read_label(tmp_path / "b.npy")


def hostile_hdf5(folder):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "other.h5", "w") as file:
        file["raw"] = np.zeros(SHAPE)
    with h5py.File(folder / "external.h5", "w") as file:
        file["raw"] = h5py.ExternalLink(str(folder / "other.h5"), "raw")
    with h5py.File(folder / "soft.h5", "w") as file:
        file["hidden"] = h5py.ExternalLink(str(folder / "other.h5"), "/")
        file["raw"] = h5py.SoftLink("/hidden/raw")
    with h5py.File(folder / "storage.h5", "w") as file:
        (folder / "secret").write_bytes(b"x" * 1000)
        file.create_dataset("raw", SHAPE, "u1", external=[(str(folder / "secret"), 0, 1000)])
    with h5py.File(folder / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(SHAPE, "f8")
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "raw", SHAPE)
        file.create_virtual_dataset("raw", layout)
    with h5py.File(folder / "huge.h5", "w") as file:
        file.create_dataset("raw", (10**6, 10**6, 10**6), "f8", chunks=(1, 1, 100))
    with h5py.File(folder / "text.h5", "w") as file:
        file["raw"] = ["a", "b"]
    with h5py.File(folder / "flat.h5", "w") as file:
        file["raw"] = np.zeros((4, 4))
    with h5py.File(folder / "group.h5", "w") as file:
        file["raw/inner"] = np.zeros(SHAPE)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("external", "is a link to another file"),
        ("soft", "leads to another file"),
        ("storage", "lie in other files, which are not read"),
        ("virtual", "lie in other files, which are not read"),
        ("huge", "its header promises"),
        ("text", "its voxels are of the type object"),
        ("flat", r"has the shape \[4, 4\]"),
        ("group", "raw is no data set; it has raw/inner"),
        ("damaged", "cannot be read as HDF5"),
        ("absent", "no such file"),
    ],
)
def test_a_hostile_hdf5_is_one_error(tmp_path, name, why):
    hostile_hdf5(tmp_path)
    whole = (tmp_path / "other.h5").read_bytes()
    (tmp_path / "damaged.h5").write_bytes(whole[:900])
    with pytest.raises(DamagedFileError, match=rf"{name}\.h5: .*{why}"):
        read_volume(tmp_path / f"{name}.h5")


def test_a_data_set_that_is_not_there_names_those_that_are(tmp_path):
    hostile_hdf5(tmp_path)
    with pytest.raises(DamagedFileError, match="holds no data set volume; it has raw"):
        read_volume(tmp_path / "other.h5", "volume")


def test_hostile_numpy_files(tmp_path):
    np.save(tmp_path / "code.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "other.npz", label=np.zeros(SHAPE))
    head = np.lib.format.header_data_from_array_1_0(np.zeros(SHAPE))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as file, file.open("raw.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {**head, "shape": (10**6, 10**6, 10**6)})
    for name, why in (
        ("code.npy", "cannot be read as npy"),
        ("other.npz", "holds no array raw; it has label"),
        ("bomb.npz", "its header promises"),
    ):
        with pytest.raises(DamagedFileError, match=rf"{name}: .*{why}"):
            read_volume(tmp_path / name)


def test_hostile_nifti(tmp_path, voxels):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    image.to_filename(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    (tmp_path / "cut.nii").write_bytes(content[:400])
    content[42:48] = np.array([30000] * 3, "<i2").tobytes()  # dim[1..3] of the header
    (tmp_path / "huge.nii").write_bytes(content)
    (tmp_path / "zip.nii.gz").write_bytes(b"\x1f\x8b" + b"x" * 50)
    for name in ("cut.nii", "huge.nii", "zip.nii.gz"):
        with pytest.raises(DamagedFileError, match=name):
            read_volume(tmp_path / name)


def test_a_library_that_is_not_there_is_named(tmp_path, monkeypatch):
    import importlib

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    for suffix, name in ((".h5", "h5py"), (".nii.gz", "nibabel")):
        with pytest.raises(DataError, match=rf"needs {name}.*torch2paddle-seg\[volumes\]"):
            read_volume(tmp_path / f"a{suffix}")


def test_what_is_no_file_of_volumes(tmp_path):
    with pytest.raises(DataError, match=r"expected one of \.h5"):
        kind_of(tmp_path / "a.tif")


def test_a_volume_that_no_memory_holds(tmp_path, voxels, monkeypatch):
    np.save(tmp_path / "a.npy", voxels)
    monkeypatch.setattr(stored, "memory_bytes", lambda: 100)
    with pytest.raises(DamagedFileError, match="cut the volume into parts"):
        read_volume(tmp_path / "a.npy")


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(UserError):
        write_volume(tmp_path / "no" / "a.npy", np.zeros(SHAPE), {})
    assert not list(tmp_path.iterdir())
