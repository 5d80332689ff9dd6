"""The zoo's samples and entries, the pass counter, and a small run of AutoAttack."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.benchmarks import reference, zoo


def tiny(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10)).eval().requires_grad_(False)


@pytest.mark.parametrize("data", ["digits", "mnist"])
def test_parts_are_disjoint_and_cover_the_data(data):
    everything, truth = zoo._images(data)
    orders = zoo._order(truth)
    parts = {part: zoo.points(data, part) for part in ("train", "dev", "test")}
    assert sorted(orders) == list(range(len(everything))), "every sample once, so consecutive parts cannot overlap"
    assert torch.cat([pixels for pixels, _ in parts.values()]).equal(torch.from_numpy(everything[orders]))
    assert {part: len(labels) for part, (_, labels) in parts.items()} == zoo.SIZES[data]
    for pixels, labels in parts.values():
        assert pixels.dtype == torch.float32 and pixels.min() >= 0 and pixels.max() <= 1 and pixels.shape[1] == 1
        shares = torch.bincount(labels, minlength=10) / len(labels)
        assert (shares - torch.bincount(torch.from_numpy(truth)) / len(truth)).abs().max() < 0.01


def test_points_are_fixed_and_independent_of_the_global_generator():
    first = zoo.points("digits", "test")
    torch.manual_seed(99)
    again = zoo.points("digits", "test")
    assert first[0].equal(again[0]) and first[1].equal(again[1])
    assert first[1][:10].tolist() == [1, 0, 9, 5, 3, 7, 2, 8, 7, 4]


def test_names_are_unique_and_the_two_sets_share_no_seeds():
    names = [entry.name for entry in zoo.ENTRIES]
    assert len(set(names)) == len(names)
    seeds = {part: {entry.seed for entry in zoo.ENTRIES if entry.set == part} for part in ("dev", "test")}
    assert seeds["dev"] and seeds["test"] and not seeds["dev"] & seeds["test"]
    for entry in zoo.ENTRIES:
        assert entry.threats and entry.count <= zoo.SIZES[entry.data][entry.set]
        assert zoo.entry(entry.name) is entry


def test_the_file_name_depends_on_everything_that_determines_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_BENCHMARK_CACHE", str(tmp_path))
    entry = zoo.ENTRIES[0]
    assert zoo.weights(entry) == zoo.weights(replace(entry, threats=(("linf", 0.5),)))
    changed = [replace(entry, seed=999), replace(entry, width=17), replace(entry, adversary=None)]
    assert len({zoo.weights(item) for item in [entry, *changed]}) == 4


def test_an_entry_is_trained_once_reproducibly_and_loaded_frozen(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_BENCHMARK_CACHE", str(tmp_path))
    monkeypatch.setattr(zoo, "EPOCHS", {"digits": 2, "mnist": 1})
    entry = replace(zoo.entry("dev-digits-mlp"), adversary=("l2", 0.2), width=16)
    model = zoo.load(entry)
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())
    torch.manual_seed(5)
    expected, after = zoo.train(entry).state_dict(), torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1).equal(after), "training does not change the global generator"
    monkeypatch.setattr(zoo, "train", lambda item: pytest.fail("trained again"))
    for name, value in zoo.load(entry).state_dict().items():
        assert value.equal(expected[name])
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


@pytest.mark.parametrize("threat", [("linf", 0.1), ("l2", 0.5)])
def test_the_training_attack_stays_within_its_budget_and_increases_the_loss(threat):
    pixels, labels = zoo.points("digits", "dev")
    model = tiny()
    moved = zoo.pgd(model, pixels, labels, threat)
    change = (moved - pixels).flatten(1)
    assert (change.abs().amax(1) if threat[0] == "linf" else change.norm(dim=1)).max() <= threat[1] * (1 + 1e-5)
    assert moved.min() >= 0 and moved.max() <= 1
    before, after = (nn.functional.cross_entropy(model(part), labels) for part in (pixels, moved))
    assert after > before + 0.05


def test_the_counter_counts_forwards_and_backwards_exactly():
    counted = reference.Counted(tiny())
    pixels = torch.rand(7, 1, 8, 8)
    with torch.no_grad():
        counted(pixels)
    assert (counted.forwards, counted.backwards) == (7, 0)
    counted(pixels)  # no tensor requires a gradient
    assert (counted.forwards, counted.backwards) == (14, 0)
    moved = pixels[:3].clone().requires_grad_()
    output = counted(moved)
    assert (counted.forwards, counted.backwards) == (17, 0)
    torch.autograd.grad(output.sum(), moved, retain_graph=True)
    torch.autograd.grad(output[:, 1].sum(), moved)
    assert (counted.forwards, counted.backwards, counted.passes) == (17, 6, 23)


def test_autoattack_runs_its_four_stages_and_its_result_is_rechecked(monkeypatch):
    package = pytest.importorskip("pyautoattack")
    standard = package.AutoAttack._set_version

    def short(attack, version):
        standard(attack, version)
        attack.square.n_queries, attack.fab.n_iter = 10, 3
        attack.fab.n_target_classes = attack.apgd_targeted.n_target_classes = 2

    monkeypatch.setattr(package.AutoAttack, "_set_version", short)
    model, (pixels, _) = tiny(), zoo.points("digits", "dev")
    pixels = pixels[:12]
    labels = model(pixels).argmax(1)
    labels[0] = (labels[0] + 1) % 10
    for norm, eps in (("linf", 0.02), ("l2", 0.1)):
        torch.manual_seed(3)
        first = reference.autoattack(model, pixels, labels, norm, eps)
        drawn = torch.rand(1)
        torch.manual_seed(3)
        assert torch.rand(1).equal(drawn), "the global generator is unchanged"
        assert first.clean == pytest.approx(11 / 12) and not first.robust[0]
        assert 0 < first.accuracy < first.clean
        assert list(first.by_stage) == ["apgd-ce", "apgd-t", "fab-t", "square"]
        assert first.by_stage["square"] == pytest.approx(first.accuracy, abs=1e-4)
        assert first.passes_by_stage["square"] <= first.passes == first.forwards + first.backwards
        assert (model(first.adversarial).argmax(1) == labels).equal(first.robust) and first.excess <= 1 + 1e-5
        second = reference.autoattack(model, pixels, labels, norm, eps, batch_size=500)
        assert second.robust.equal(first.robust) and second.passes == first.passes


def test_misclassified_inputs_outside_the_budget_do_not_count():
    model, (pixels, _) = tiny(), zoo.points("digits", "dev")
    labels = model(pixels).argmax(1)
    far = pixels.flip(0)
    broken = model(far).argmax(1) != labels
    assert broken.any()
    assert reference._robust_and_excess(model, pixels, labels, far, "linf", 0.01)[0].all()
    assert reference._robust_and_excess(model, pixels, labels, far, "linf", 1.0)[0].equal(~broken)
    assert reference._robust_and_excess(model, pixels, labels, far * torch.nan, "linf", 1.0)[0].all()


def test_a_reference_is_stored_and_read_back(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_BENCHMARK_CACHE", str(tmp_path))
    made = reference.Reference(
        torch.tensor([True, False]),
        torch.rand(2, 1, 8, 8),
        1.0,
        20,
        5,
        0.5,
        0.9,
        {"square": 0.5},
        {"square": 25},
        ("odd",),
    )
    monkeypatch.setattr(reference, "autoattack", lambda *arguments: made)
    monkeypatch.setattr(reference, "load", lambda entry: None)
    entry = zoo.entry("dev-digits-mlp")
    reference.cached(entry, "linf", 0.1, 2)
    monkeypatch.setattr(reference, "autoattack", lambda *arguments: pytest.fail("run again"))
    read = reference.cached(entry, "linf", 0.1, 2)
    assert read.robust.equal(made.robust) and read.adversarial.equal(made.adversarial)
    assert replace(read, robust=made.robust, adversarial=made.adversarial) == made
    assert "robust 50.0" in reference.line(entry, "linf", 0.1, read) and "FLAG: odd" in reference.line(
        entry, "linf", 0.1, read
    )
    assert reference.stored(entry, "linf", 0.1, 2) != reference.stored(entry, "l2", 0.1, 2)
