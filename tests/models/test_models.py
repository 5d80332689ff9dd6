"""Models: loading of weights, the adapter of classifiers, and the trainer."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from suite.data import Split, TaskInfo
from suite.errors import ModelError, TrainingError, UnknownNameError, WeightsError
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier
from suite.models.networks.image_classifiers import TinyViT, small_cnn
from suite.models.recipe import Recipe
from suite.models.training.trainer import TrainingData, train
from suite.models.weights import load_weights, read_state, state_digest, to_bytes
from suite.registry import resolve
from suite.runner.preparation import prepare_task
from suite.runner.settings import silent

CPU = torch.device("cpu")


def net(width=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, width))


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("form", ["torch", "plain pickle", "inside a state dict"])
def test_pickle_with_code_is_refused_and_not_run(tmp_path, form):
    trace, file = tmp_path / "trace", tmp_path / "weights.pt"
    if form == "plain pickle":
        file.write_bytes(pickle.dumps(Trap(trace)))
    else:
        torch.save(Trap(trace) if form == "torch" else {"state_dict": {"w": torch.ones(1), "x": Trap(trace)}}, file)
    with pytest.raises(WeightsError, match="save"):
        TorchClassifier(net(), weights=file)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Trap(trace)))  # the trap works
    assert trace.exists()


def test_pickled_module_is_refused_with_advice(tmp_path):
    torch.save(net(), tmp_path / "module.pt")
    with pytest.raises(WeightsError, match=r"could run code.*save module\.state_dict\(\)"):
        read_state(tmp_path / "module.pt")


@pytest.mark.parametrize("form", ["safetensors", "pt", "wrapped"])
def test_plain_weights_are_loaded_exactly(tmp_path, form):
    source, target = net(), net()
    nn.init.zeros_(target[1].weight)
    if form == "safetensors":
        file = tmp_path / "w.safetensors"
        save_file(source.state_dict(), file)
    else:
        file = tmp_path / "w.pt"
        torch.save(source.state_dict() if form == "pt" else {"epoch": 3, "state_dict": source.state_dict()}, file)
    load_weights(target, file)
    assert state_digest(source) == state_digest(target)


MISFITS = {
    "missing file": (None, "There are no weights at"),
    "shape": ({"1.weight": torch.ones(5, 12), "1.bias": torch.ones(5)}, "number of classes"),
    "names": ({"fc.weight": torch.ones(4, 12), "fc.bias": torch.ones(4)}, "missing"),
    "extra": ({"1.weight": torch.ones(4, 12), "1.bias": torch.ones(4), "z": torch.ones(1)}, "unexpected"),
}


@pytest.mark.parametrize(("state", "reason"), MISFITS.values(), ids=MISFITS)
def test_misfitting_weights_raise_a_specific_error(tmp_path, state, reason):
    if state is not None:
        save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=reason):
        TorchClassifier(net(), weights=tmp_path / "w.safetensors")


def test_damaged_weights_raise_an_error(tmp_path):
    for name in ("w.safetensors", "w.pt"):
        (tmp_path / name).write_bytes(b"rubbish" * 10)
        with pytest.raises(WeightsError):
            read_state(tmp_path / name)


def test_to_bytes_writes_loadable_safetensors(tmp_path):
    source = small_cnn(3, (1, 8, 8))
    (tmp_path / "w.safetensors").write_bytes(to_bytes(source))
    target = small_cnn(3, (1, 8, 8))
    load_weights(target, tmp_path / "w.safetensors")
    assert state_digest(source) == state_digest(target)


def test_adapter_applies_bounds_normalization_and_resizing():
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2))
    adapter = TorchClassifier(module, bounds=(0, 255), mean=(10, 20, 30), std=(2, 4, 5), input_size=(4, 4))
    pixels = torch.rand(3, 3, 4, 4)
    by_hand = (pixels * 255 - torch.tensor([10, 20, 30]).view(3, 1, 1)) / torch.tensor([2, 4, 5]).view(3, 1, 1)
    assert torch.allclose(adapter(pixels), module(by_hand), atol=1e-4)
    assert adapter(torch.rand(2, 3, 9, 7)).shape == (2, 2)
    point = torch.rand(2, 3, 9, 7, requires_grad=True)
    adapter(point).sum().backward()
    assert point.grad.abs().sum() > 0


@pytest.mark.parametrize("build", [small_cnn, TinyViT], ids=["cnn", "vit"])
def test_logits_do_not_depend_on_the_batch(build):
    torch.manual_seed(0)
    adapter = TorchClassifier(build(10, (1, 8, 8)))
    pixels = torch.rand(50, 1, 8, 8)
    with adapter.frozen(), torch.no_grad():
        whole = adapter(pixels)
        for size in (1, 3, 8, 17):
            parts = torch.cat([adapter(part) for part in pixels.split(size)])
            assert torch.equal(parts, whole), size


def test_frozen_restores_the_model_after_an_error():
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 2))
    module[0].eval()
    adapter = TorchClassifier(module)
    modes, before = [m.training for m in module.modules()], state_digest(module)
    with pytest.raises(RuntimeError), adapter.frozen(dropout=True):
        assert module[1].training and not module[3].training
        assert not any(p.requires_grad for p in module.parameters())
        adapter(torch.rand(2, 1, 4, 4))
        raise RuntimeError("in between")
    assert [m.training for m in module.modules()] == modes
    assert all(p.requires_grad for p in module.parameters())
    assert state_digest(module) == before


WRONG = {
    "nan": (lambda z: z * float("nan"), "NaN or infinite logits for 3 of 3"),
    "one dimension": (lambda z: z[:, 0], r"expected \(images, classes\)"),
    "tuple": (lambda z: (z, z), "returned tuple"),
    "fewer rows": (lambda z: z[:1], r"expected \(images, classes\)"),
}


@pytest.mark.parametrize(("spoil", "reason"), WRONG.values(), ids=WRONG)
def test_invalid_outputs_raise_an_error(spoil, reason):
    class Broken(nn.Module):
        def forward(self, pixels):
            return spoil(pixels.flatten(1)[:, :4])

    with pytest.raises(ModelError, match=reason):
        TorchClassifier(Broken())(torch.rand(3, 1, 4, 4))


def test_invalid_module_or_bounds_are_refused():
    with pytest.raises(ModelError, match=r"expected a torch\.nn\.Module"):
        TorchClassifier("resnet")
    with pytest.raises(ModelError, match="not a range"):
        TorchClassifier(net(), bounds=(1, 1))


class SqueezeExcitation(nn.Module):
    """A block whose last convolutions operate on a pooled feature map."""

    def __init__(self):
        super().__init__()
        self.map, self.down, self.up = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1), nn.Conv2d(2, 3, 1)

    def forward(self, pixels):
        pooled = self.map(pixels).mean((2, 3), keepdim=True)
        return self.up(self.down(pooled)).flatten(1)


def timm_se():
    timm = pytest.importorskip("timm")
    return timm.create_model("seresnet18", num_classes=3, in_chans=1)


GRADCAM_LAYERS = {
    "cnn": (lambda: small_cnn(3, (1, 64, 64)), lambda m: [c for c in m.modules() if isinstance(c, nn.Conv2d)][-1]),
    "squeeze and excitation": (SqueezeExcitation, lambda m: m.map),
    "timm": (timm_se, lambda m: m.layer4[1].conv2),
    "transformer": (lambda: TinyViT(3, (1, 64, 64)), lambda m: None),
    "no convolution": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 3)), lambda m: None),
}


@pytest.mark.parametrize(("build", "layer"), GRADCAM_LAYERS.values(), ids=GRADCAM_LAYERS)
def test_gradcam_layer_is_the_last_convolution_with_a_map(build, layer):
    adapter = TorchClassifier(build())
    assert adapter.gradcam_layer(torch.rand(2, 1, 64, 64)) is layer(adapter.module)
    assert not any(child._forward_hooks for child in adapter.module.modules())
    assert adapter.module.training


def test_gradcam_layer_can_be_given_and_hooks_are_removed_after_an_error():
    module = SqueezeExcitation()
    assert TorchClassifier(module, layer=module.up).gradcam_layer(torch.rand(1, 1, 8, 8)) is module.up
    with pytest.raises(ModelError, match="NaN"):
        TorchClassifier(module).gradcam_layer(torch.full((1, 1, 8, 8), float("nan")))
    assert not any(child._forward_hooks for child in module.modules())


def training_data(seed=0, count=300, **changes):
    data = prepare_task("digits", 0).data
    parts = {"train": data.train.take(range(count)), "validation": data.validation, **changes}
    return TrainingData(
        parts["train"], parts["validation"], Classification(), seed, silent, damage=Classification().damage
    )


def trained(seed=0, recipe=None, **changes):
    torch.manual_seed(7)
    model = TorchClassifier(small_cnn(10, (1, 8, 8), width=4))
    return model, train(
        model, recipe or Recipe(epochs=20, patience=20, batch_size=32), training_data(seed, **changes), device=CPU
    )


def test_training_is_reproducible_and_improves_accuracy():
    (first, history), (second, again), (other, _) = trained(), trained(), trained(seed=1)
    assert state_digest(first.module) == state_digest(second.module) != state_digest(other.module)
    assert {**history, "seconds": 0} == {**again, "seconds": 0}
    assert history["epochs"][-1]["validation_accuracy"] > 0.6 > 0.3 > history["epochs"][0]["validation_accuracy"]


def test_early_stopping_keeps_the_epoch_of_the_lowest_validation_loss():
    recipe = Recipe(epochs=60, patience=3, learning_rate=0.02)
    model, history = trained(recipe=recipe, count=60)
    losses = [epoch["validation_loss"] for epoch in history["epochs"]]
    best = int(np.argmin(losses))
    assert history["chosen_epoch"] == best + 1
    assert history["stopped"] == "early" and len(losses) == best + 1 + recipe.patience
    data = training_data().validation
    with model.frozen(), torch.no_grad():
        output = model(torch.from_numpy(data.pixels()))
        loss = nn.functional.cross_entropy(output, torch.from_numpy(data.targets))
    assert float(loss) == pytest.approx(losses[best], rel=1e-5)


def test_training_does_not_change_global_random_state():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    model = TorchClassifier(net(10))
    before = torch.get_rng_state()
    images = np.random.default_rng(0).random((40, 1, 3, 4), dtype=np.float32)
    split = Split(tuple(map(str, range(40))), images, np.arange(40) % 10)
    train(model, Recipe(epochs=2), TrainingData(split, split, Classification(), 0, silent), device=CPU)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(4), expected)


def test_training_without_validation_samples_raises_an_error():
    empty = training_data().validation.take([])
    with pytest.raises(TrainingError, match="0 for validation"):
        trained(validation=empty)


def test_adversarial_training_raises_robust_accuracy(tmp_path):
    from suite.runner.harness import Harness, plan
    from suite.store import Store

    axis = "robustness(attack=pgd(eps=[0.1], steps=5), audit=8)"
    models = ["cnn(width=8)", "cnn_adversarial(eps=0.1, width=8, steps=3)"]
    Harness(Store(tmp_path)).run(plan(["digits"], models, [axis], n=200))
    rows = Store(tmp_path).rows()
    robust = rows[rows["metric"] == "robust_accuracy"].set_index("model")
    plain, hardened = robust.loc["cnn(width=8)"], robust.loc["cnn_adversarial(eps=0.1, steps=3, width=8)"]
    assert hardened["lo"] > plain["hi"]


INFO = TaskInfo("t", "classification", "1", ("a", "b", "c"), (3, 40, 40))


def test_timm_model_has_its_own_normalization_and_input_size():
    entry, spec = resolve("model", "timm:test_resnet.r160_in1k")
    adapter = entry.build(spec, task=INFO)
    assert adapter.input_size == (160, 160)
    assert len(adapter.mean) == 3 and len(adapter.std) == 3 and adapter.mean != (0, 0, 0)
    with adapter.frozen(), torch.no_grad():
        assert adapter(torch.rand(2, 3, 40, 40)).shape == (2, 3)
    assert adapter.recipe is not None and adapter.gradcam_layer(torch.rand(2, 3, 40, 40)) is not None


def test_timm_weights_are_loaded_from_a_local_file(tmp_path):
    entry, spec = resolve("model", "timm:test_vit")
    source = entry.build(spec, task=INFO)
    file = tmp_path / "w.safetensors"
    file.write_bytes(to_bytes(source.module))
    loaded = entry.build(resolve("model", f"timm:test_vit(weights='{file}')")[1], task=INFO)
    assert state_digest(loaded.module) == state_digest(source.module)
    assert loaded.recipe is None


def test_timm_supports_gray_images_and_suggests_names():
    entry, spec = resolve("model", "timm:test_resnet")
    gray = entry.build(spec, task=TaskInfo("t", "classification", "1", ("a", "b"), (1, 32, 32)))
    assert len(gray.mean) == 1
    with pytest.raises(UnknownNameError, match="Did you mean"):
        entry.build(resolve("model", "timm:resnet1888")[1], task=INFO)


def test_pretrained_timm_weights_without_network_raise_an_error_with_advice(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    entry, spec = resolve("model", "timm:test_resnet.r160_in1k(pretrained=True)")
    with pytest.raises(ModelError, match="weights=FILE"):
        entry.build(spec, task=INFO)


def test_pretrained_timm_weights_are_fine_tuned(monkeypatch):
    import timm

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: create(name, **options))
    entry, spec = resolve("model", "timm:test_resnet(pretrained=True)")
    assert entry.build(spec, task=INFO).recipe is not None
