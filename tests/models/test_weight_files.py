"""Weights as trainers write them, and files that hold none."""

import argparse
import copy
import json
import os
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from suite.errors import WeightsError
from suite.models.base import TorchClassifier
from suite.models.state_digests import state_digest
from suite.models.weight_files import read_state
from suite.models.weights import file_digest, load_weights, to_bytes

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*quantiz"),
    pytest.mark.filterwarnings("ignore:.*torch.jit"),
]


def net(classes=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, classes))


def state(seed=1):
    return net(seed=seed).state_dict()


def under(prefix, values=None):
    return {f"{prefix}{name}": value for name, value in (values or state()).items()}


def extras():
    module = net()
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.rand(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    return {
        "epoch": np.int64(3),
        "accuracy": np.float64(0.9),
        "curve": np.arange(3.0),
        "args": argparse.Namespace(rate=0.1),
        "folder": Path("runs"),
        "optimizer": optimizer.state_dict(),
        "names": ["a", None],
    }


TRAINERS = {
    "plain": state,
    "data parallel": lambda: under("module."),
    "compiled": lambda: under("_orig_mod."),
    "compiled part": lambda: {name.replace("1.", "1._orig_mod."): value for name, value in state().items()},
    "nested prefixes": lambda: under("module._orig_mod.model."),
    "lightning": lambda: {"state_dict": {**under("model."), "criterion.weight": torch.ones(4)}, **extras()},
    "averaged": lambda: {"n_averaged": torch.tensor(3), **under("module.")},
    "only averaged": lambda: {"params_ema": state(), **extras()},
    "values beside the weights": lambda: {**state(), **extras()},
    "same twice": lambda: {"model": state(), "net": state()},
    "with a critic": lambda: {"generator": state(), "discriminator": {"0.weight": torch.ones(2)}},
    "deep": lambda: {"checkpoint": {"networks": [{"net": state()}]}},
    "tuple": lambda: (state(), 3),
}


@pytest.mark.parametrize("build", TRAINERS.values(), ids=TRAINERS)
def test_weights_of_trainers_are_loaded_exactly(tmp_path, build):
    torch.save(build(), tmp_path / "w.pt")
    module = net()
    load_weights(module, tmp_path / "w.pt")
    assert state_digest(module) == state_digest(net(seed=1)) != state_digest(net())


def test_half_precision_and_missing_counters_are_loaded(tmp_path):
    half = {name: value.half() for name, value in state().items() if value.is_floating_point()}
    torch.save(half, tmp_path / "w.pt")
    module = net()
    load_weights(module, tmp_path / "w.pt")
    assert all(torch.equal(module.state_dict()[name], value.float()) for name, value in half.items())


def test_modules_that_are_wrapped_in_memory_take_plain_weights(tmp_path):
    torch.save(state(), tmp_path / "w.pt")
    for wrapped in (nn.DataParallel(net()), torch.compile(net(), backend="eager")):
        load_weights(wrapped, tmp_path / "w.pt")
        inner = wrapped.module if isinstance(wrapped, nn.DataParallel) else wrapped._orig_mod
        assert state_digest(inner) == state_digest(net(seed=1))


def test_one_of_several_states_is_named_by_its_key(tmp_path):
    file = tmp_path / "w.pt"
    torch.save({"state_dict": under("model."), "ema": state(seed=2)}, file)
    with pytest.raises(WeightsError, match=r"several states .*w\.pt#state_dict\.model', '.*w\.pt#ema'"):
        load_weights(net(), file)
    for key, seed in (("state_dict.model", 1), ("ema", 2)):
        module = net()
        assert TorchClassifier(module, weights=f"{file}#{key}").weights == f"{file}#{key}"
        assert state_digest(module) == state_digest(net(seed=seed))
    with pytest.raises(WeightsError, match=r"under 'best'\. It has: state_dict \(9 tensors\), ema \(9 tensors\)"):
        load_weights(net(), f"{file}#best")
    assert len({file_digest(f"{file}{key}") for key in ("", "#ema", "#state_dict.model")}) == 3


def test_files_with_a_number_sign_in_their_name_are_loaded(tmp_path):
    torch.save(state(), tmp_path / "run#1.pt")
    load_weights(net(), tmp_path / "run#1.pt")


def test_a_net_stored_with_a_wrapper_and_without_is_not_confused(tmp_path):
    torch.save({**state(), **under("_orig_mod.", state(seed=2))}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"w\.pt#_orig_mod'"):
        load_weights(net(), tmp_path / "w.pt")


def test_student_and_teacher_in_one_state_are_not_confused(tmp_path):
    torch.save({**under("student."), **under("teacher.", state(seed=2))}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"#student', '.*#teacher'"):
        load_weights(net(), tmp_path / "w.pt")


MISFITS = {
    "other head": (
        lambda s: {name.replace("3.", "head."): value for name, value in s.items()},
        r"Names missing in the file: 2 of 9 \(3\.weight \(4, 8\), 3\.bias \(4,\)\)\. Names unexpected in the file: "
        r"2 \(head\.weight \(4, 8\), head\.bias \(4,\)\)\. Nearest: head\.weight \(4, 8\) in the file for 3\.weight, "
        r"head\.bias \(4,\) in the file for 3\.bias\.",
    ),
    "no head": (lambda s: {name: s[name] for name in s if name[0] != "3"}, "missing in the file: 2 of 9"),
    "more": (lambda s: {**s, "9.weight": torch.ones(3)}, r"unexpected in the file: 1 \(9\.weight \(3,\)\)"),
    "classes": (
        lambda s: net(7).state_dict(),
        r"3\.weight is \(7, 8\) in the file and \(4, 8\) in the module, .* \(2 differ\).*number of classes",
    ),
    "unrelated": (lambda s: {"a.b": torch.ones(2)}, r"missing in the file: 8 of 9 .*unexpected in the file: 1 \(a\.b"),
    "integers": (lambda s: {n: v.int() for n, v in s.items()}, r"0\.weight is \(2, 1, 3, 3\) of int32 in the file"),
    "complex": (lambda s: {**s, "3.bias": s["3.bias"] * 1j}, r"3\.bias is \(4,\) of complex64 in the file"),
    "float8": (lambda s: {**s, "3.bias": s["3.bias"].to(torch.float8_e5m2)}, r"3\.bias is \(4,\) of float8_e5m2"),
    "nan": (lambda s: {**s, "3.bias": s["3.bias"] * torch.nan}, r"holds NaN in 3\.bias \(1 of 9 names\)"),
    "resized": (
        lambda s: {**s, "3.weight": s["3.weight"].T.contiguous()},
        r"3\.weight is \(8, 4\) in the file .* were saved from\. The file has: the top level \(9 tensors\)",
    ),
    "list": (lambda s: list(s.values())[-1:], r"no mapping of names to tensors; it holds list of \(4,\)"),
    "tensor": (lambda s: s["3.bias"], r"no mapping of names to tensors; it holds \(4,\)"),
    "arrays": (lambda s: {name: value.numpy() for name, value in s.items()}, "no mapping of names to tensors"),
    "nothing": (lambda s: {}, "no mapping of names to tensors; it holds an empty dict"),
    "numbers": (lambda s: {0: s["3.bias"]}, "it holds dict with the keys 0. .*lists and NumPy arrays are not read"),
}


@pytest.mark.parametrize(("change", "reason"), MISFITS.values(), ids=MISFITS)
def test_misfits_are_refused_with_both_sides_and_change_nothing(tmp_path, change, reason):
    torch.save(change(state()), tmp_path / "w.pt")
    module = net()
    with pytest.raises(WeightsError, match=reason):
        load_weights(module, tmp_path / "w.pt")
    assert state_digest(module) == state_digest(net())


def test_names_of_the_old_weight_norm_are_converted(tmp_path):
    module = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    old = {"0.weight_g": torch.rand(2, 1), "0.weight_v": torch.rand(2, 3), "0.bias": torch.rand(2)}
    torch.save(under("module.", old), tmp_path / "w.pt")
    load_weights(module, tmp_path / "w.pt")
    parts = module[0].parametrizations.weight
    assert torch.equal(parts.original0, old["0.weight_g"]) and torch.equal(parts.original1, old["0.weight_v"])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


def test_tied_weights_may_be_stored_once_and_are_written(tmp_path):
    save_file({"embedding.weight": torch.ones(5, 3)}, tmp_path / "w.safetensors")
    module = Tied()
    load_weights(module, tmp_path / "w.safetensors")
    assert torch.equal(module.head.weight, torch.ones(5, 3))
    (tmp_path / "own.safetensors").write_bytes(to_bytes(module))
    load_weights(Tied(), tmp_path / "own.safetensors")


def test_buffers_that_are_no_longer_stored_may_be_in_the_file_with_equal_values(tmp_path):
    module = nn.Linear(3, 2)
    module.register_buffer("places", torch.arange(3), persistent=False)
    for places, fits in ((torch.arange(3), True), (torch.arange(3) + 1, False)):
        torch.save({**nn.Linear(3, 2).state_dict(), "places": places}, tmp_path / "w.pt")
        if fits:
            load_weights(module, tmp_path / "w.pt")
        else:
            with pytest.raises(WeightsError, match=r"unexpected in the file: 1 \(places \(3,\) of int64\)"):
                load_weights(module, tmp_path / "w.pt")


def quantised(seed):
    return torch.ao.quantization.quantize_dynamic(net(seed=seed).eval(), {nn.Linear}, dtype=torch.qint8)


def test_quantised_weights_are_loaded_into_a_quantised_module_only(tmp_path):
    torch.save(under("module.", quantised(1).state_dict()), tmp_path / "w.pt")
    module = quantised(0)
    load_weights(module, tmp_path / "w.pt")
    assert state_digest(module) == state_digest(quantised(1)) != state_digest(quantised(0))
    with pytest.raises(WeightsError, match=r"3\.weight \(4, 8\)"):
        load_weights(net(), tmp_path / "w.pt")


def page(file):
    file.write_text("<!DOCTYPE html><html>404</html>")


def pointer(file):
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


def index(file):
    file.write_text(json.dumps({"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}))


def sklearn(file):
    joblib = pytest.importorskip("joblib")
    linear = pytest.importorskip("sklearn.linear_model")
    joblib.dump(linear.LogisticRegression(), file)


def npz(file):
    with file.open("wb") as opened:
        np.savez(opened, a=np.ones(2))


def scripted(file):
    torch.jit.save(torch.jit.script(net()), file)


def exported(file):
    torch.export.save(torch.export.export(net().eval(), (torch.rand(2, 1, 4, 4),)), file)


def cut(file):
    torch.save(state(), file)
    file.write_bytes(file.read_bytes()[:900])


def cut_safetensors(file):
    save_file(state(), file)
    file.write_bytes(file.read_bytes()[:-8])


def flipped(file):
    torch.save(state(), file)
    content = bytearray(file.read_bytes())
    place = bytes(content).index(state()["3.weight"].numpy().tobytes())
    content[place + 3] ^= 1
    file.write_bytes(content)


def before_archives(file):
    torch.save(net(), file, _use_new_zipfile_serialization=False)


OTHER_FILES = {
    "flipped bit": (flipped, r"is damaged: the bytes of w/data/\d+ do not match their checksum"),
    "module of old": (before_archives, r"could run code \(torch\.nn\.modules\.container\.Sequential\)\."),
    "compressed": (lambda file: file.write_bytes(zlib.compress(b"cnumpy")), "compressed by zlib, as joblib writes it"),
    "page": (page, "an HTML page"),
    "pointer": (pointer, "a Git LFS pointer: run git lfs pull"),
    "empty": (lambda file: file.write_bytes(b""), "an empty file"),
    "json": (lambda file: file.write_text('{"a": 1}'), "a JSON text"),
    "index": (index, r"the index of 2 files \(x-1\.safetensors, x-2\.safetensors\) .*load_file"),
    "keras": (lambda file: file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), "an HDF5 file, as Keras writes it"),
    "onnx": (lambda file: file.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x032.1"), "a model of ONNX"),
    "npy": (lambda file: file.write_bytes(b"\x93NUMPY\x01\x00"), "a NumPy array"),
    "npz": (npz, "an NPZ archive of NumPy with 'a.npy'"),
    "tar": (lambda file: file.write_bytes(b"a".ljust(257, b"\0") + b"ustar"), "a tar archive"),
    "pickle": (lambda file: file.write_bytes(pickle.dumps({"a": 1})), "a Python pickle that torch.save did not write"),
    "sklearn": (sklearn, "perhaps of scikit-learn.* could run code.* pass a torch.nn.Module that calls it"),
    "exported": (exported, r"a program of torch\.export, .* torch\.export\.load and pass the module to suite\.audit"),
    "scripted": (scripted, r"a TorchScript archive, .* torch\.jit\.load"),
    "module": (lambda file: torch.save(net(), file), r"could run code \(torch\.nn.*BatchNorm2d"),
    "cut": (cut, "damaged or cut short"),
    "cut safetensors": (cut_safetensors, "damaged or cut short"),
    "noise": (lambda file: file.write_bytes(bytes(range(1, 99))), "of an unknown kind .first bytes 01 02 03"),
    "folder": (lambda file: file.mkdir(), "is a folder; expected a file of weights. It has no"),
    "pipe": (os.mkfifo, "a pipe, socket or device and was not opened"),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(("write", "reason"), OTHER_FILES.values(), ids=OTHER_FILES)
def test_other_files_are_refused_by_what_they_are(tmp_path, write, reason, suffix):
    if suffix == ".safetensors" and write is exported:
        pytest.skip("torch.export.save warns about the name")
    file = tmp_path / f"w{suffix}"
    write(file)
    with pytest.raises(WeightsError, match=reason):
        TorchClassifier(net(), weights=file)


def test_the_content_decides_how_a_file_is_read(tmp_path):
    save_file(state(), tmp_path / "A.PT")
    torch.save(state(), tmp_path / "b.safetensors")
    torch.save(state(), tmp_path / "code.pt")
    torch.save(state(), tmp_path / "old", _use_new_zipfile_serialization=False)
    for name in ("A.PT", "b.safetensors", "code.pt", "old"):
        module = net()
        load_weights(module, tmp_path / name)
        assert state_digest(module) == state_digest(net(seed=1))


def test_archives_without_checksums_are_loaded(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state(), tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    module = net()
    load_weights(module, tmp_path / "w.pt")
    assert torch.equal(module.state_dict()["3.weight"], state()["3.weight"])


def test_a_device_is_not_opened_and_what_is_no_path_is_refused():
    for call in (read_state, file_digest):
        with pytest.raises(WeightsError, match="not opened"):
            call("/dev/zero")
    with pytest.raises(WeightsError, match=r"weights= got an object of type OrderedDict.*load_state_dict"):
        TorchClassifier(net(), weights=state())


class Settings:
    """A class of a training script."""


def test_code_beside_fitting_weights_is_refused_by_name(tmp_path):
    torch.save({"state_dict": state(), "settings": Settings()}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"could run code \(.*Settings\)"):
        load_weights(net(), tmp_path / "w.pt")


def test_state_that_is_no_tensor_is_not_written():
    with pytest.raises(WeightsError, match=r"holds 3\._packed_params\.dtype \(dtype\)"):
        to_bytes(quantised(0))
    assert to_bytes(net()) == to_bytes(copy.deepcopy(net()))
