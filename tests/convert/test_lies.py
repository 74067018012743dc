"""Rules and configs that swell, accounts that lie, what is no file: one message, at once."""

import copy
import json
import os
import socket
import time

import numpy as np
import pytest

from common.errors import ConfigError, UserError
from common.settings.load import load_settings
from convert import convert_checkpoint, read_checkpoint
from convert.formats.safetensors import write_safetensors
from convert.names.rules import load_rules, resolve
from convert.reverse import reverse_checkpoint
from tests.hostile.damage import drawing


def _lines(count, line):
    return "".join(line.format(i, i - 1) for i in range(1, count))


SWELLING = {
    "laughs": "a0: &a0 [x]\n" + _lines(40, "a{0}: &a{0} [" + ", ".join(["*a{1}"] * 9) + "]\n"),
    "merged": "a0: &a0 {x: 1}\n"
    + _lines(40, "a{0}: &a{0} {{<<: [" + ", ".join(["*a{1}"] * 9) + "]}}\n"),
    "holds itself": "a: &a [*a]\n",
    "merges itself": "a: &a {<<: *a}\n",
    "deep": "a: " + "[" * 600,
    "digits": "a: " + "9" * 5000,
    "sexagesimal": "a: " + ":".join(["59"] * 3000),
    "no date": "a: 2020-13-45\n",
    "no number": 'a: !!int ""\n',
    "no time": "a: !!timestamp x\n",
    "code": "a: !!python/object/apply:os.system [x]\n",
    "half a letter": 'a: "\\ud800"\n',
    "list": "- 1\n",
    "number": "5\n",
    "control": "a: \x01\n",
}


@pytest.mark.parametrize("name", SWELLING)
def test_yaml_that_is_larger_than_it_is(name, tmp_path):
    path = tmp_path / "x.yml"
    path.write_text(SWELLING[name])
    for read in (load_settings, load_rules):
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert len(str(caught.value)) < 3000


def test_many_keys_are_read_in_time(tmp_path):
    (tmp_path / "x.yml").write_text(_lines(5000, "k{0}: {1}\n"))
    with pytest.raises(ConfigError, match="more") as caught:
        load_settings(tmp_path / "x.yml")
    assert str(caught.value).count("\n") < 60


def test_aliases_that_people_write_are_read():
    from common.documents import load_yaml

    text = "base: &base {lr: 1, sizes: [1, 2]}\na: {<<: *base, lr: 2}\nb: *base\n"
    assert load_yaml(text)["a"] == {"lr": 2, "sizes": [1, 2]}


def test_rules_that_let_names_grow():
    rules = load_rules({"renames": [{"match": "(.+)", "to": r"\1\1"}] * 60})
    with pytest.raises(ConfigError, match="makes a name of"):
        resolve(["a.weight"], rules)
    with pytest.raises(ConfigError):
        load_rules({"renames": [{"match": "(" * 2000 + ")" * 2000, "to": "b"}]})


@pytest.fixture
def converted(tmp_path):
    state = {"fc.weight": np.ones((3, 2), "f4"), "fc.bias": np.ones(3, "f4")}
    state |= {"bn.running_mean": np.ones(3, "f4"), "bn.running_var": np.ones(3, "f4")}
    state |= {"bn.num_batches_tracked": np.array(7)}
    write_safetensors(state, tmp_path / "a.safetensors", metadata={"format": "pt"})
    convert_checkpoint(tmp_path / "a.safetensors", tmp_path / "b.pdparams", generic=True)
    return tmp_path / "b.pdparams"


@pytest.mark.parametrize("how", ["replaced", "changed"])
def test_a_source_that_changes_while_it_is_read(converted, how):
    source, output = converted.with_name("a.safetensors"), converted.with_name("c.pdparams")
    data = source.read_bytes()

    def change(done, total):
        if how == "replaced":
            source.unlink()
        source.write_bytes(data[:-1] + b"x")

    with pytest.raises(UserError, match="changed while it was read"):
        convert_checkpoint(source, output, generic=True, progress=change)
    assert not list(converted.parent.glob("*c.pdparams*"))


@pytest.mark.parametrize("few", [400, pytest.param(25_000, marks=pytest.mark.prove)])
def test_many_tensors_take_time_by_their_number(few, tmp_path):
    seconds = []
    for count in (few, 4 * few):
        state = {f"l{i // 100}.b{i}.weight": np.ones((2, 2, 1, 1), "f4") for i in range(count)}
        write_safetensors(state, tmp_path / "a.safetensors", metadata={"format": "pt"})
        seconds.append(min(_seconds_of_conversion(tmp_path, count) for _ in range(3)))
    assert seconds[1] < 8 * seconds[0]


def _seconds_of_conversion(folder, count):
    began = time.process_time()
    port = folder / f"{count}.pdparams"
    convert_checkpoint(folder / "a.safetensors", port, generic=True, force=True)
    return time.process_time() - began


ODD = (None, True, -1, 2**70, 0.5, "x", "\ud800", [], [[]], {}, {"a": 1})


def damaged(node, rng):
    """Return a document in which one value, anywhere, is another."""
    made = copy.deepcopy(node)
    at = made
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = keys[rng.integers(len(keys))]
        if not isinstance(at[key], (dict, list)) or not at[key] or rng.random() < 0.1:
            break
        at = at[key]
    if isinstance(at, dict) and rng.random() < 0.3:
        del at[key]
    else:
        at[key] = ODD[rng.integers(len(ODD))]
    return made


@pytest.mark.parametrize("count", [60, pytest.param(1500, marks=pytest.mark.prove)])
def test_an_account_that_lies(converted, count):
    account = converted.with_name("b.pdparams.account.json")
    document = json.loads(account.read_text())
    assert set(reverse_checkpoint(converted).state) >= {"fc.weight", "bn.num_batches_tracked"}
    rng, refused = drawing(count), []
    for _ in range(count):
        account.write_text(json.dumps(damaged(document, rng)))
        try:
            reverse_checkpoint(converted)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > count // 10
    assert max(map(len, refused)) < 3000


@pytest.mark.parametrize("text", ["", "[]", "5", "[" * 100_000, '{"source_tensors": 3}', "\0"])
def test_what_is_no_account(converted, text):
    converted.with_name("b.pdparams.account.json").write_text(text)
    with pytest.raises(UserError):
        reverse_checkpoint(converted)


@pytest.fixture
def special(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(tmp_path / "socket"))
    yield tmp_path
    made.close()


@pytest.mark.parametrize("name", ["pipe", "device", "folder", "link", "socket"])
def test_what_is_no_file_is_not_waited_for(special, name):
    from align.report.read import read_run
    from common.data.read_image import load_image
    from export.deployment import read_deployment

    readers = [read_checkpoint, load_settings, load_rules, read_run]
    readers += [lambda path: load_image(path, ("PNG",))]
    readers += [read_deployment] if name != "folder" else []
    for read in readers:
        with pytest.raises(UserError):
            read(special / name)
