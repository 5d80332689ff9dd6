"""The adapter of detectors: its contract with the module, and non-finite outputs."""

import pytest
import torch
from torch import nn
from torchvision.ops import batched_nms

from suite.errors import ModelError
from suite.models.adapters.detections import LIMIT, THRESHOLD, propagate_nan, select_detections
from suite.models.adapters.detector import TorchDetector, sum_losses, train_mode


class Fixed(nn.Module):
    """Returns given candidates, scaled by the images' mean so that there is a gradient."""

    classes, channels = 2, 3

    def __init__(self, candidates):
        super().__init__()
        self.register_buffer("candidates", torch.as_tensor(candidates, dtype=torch.float32))
        self.queries = []

    def raw(self, images):
        level = images.mean(dim=(1, 2, 3))[:, None, None] * 2
        return torch.cat([self.candidates[..., :4], self.candidates[..., 4:]], -1)[None] * level

    def losses(self, images, targets):
        self.queries.append(targets)
        sums = torch.stack([t["boxes"].sum() + 1000 * t["labels"].sum() for t in targets])
        return {"any": images.mean(dim=(1, 2, 3)), "name": sums}


CANDIDATES = [
    [0, 0, 10, 10, 0.9, 0.0],  # kept
    [0, 0, 10, 9, 0.8, 0.0],  # overlaps the first by .9: suppressed
    [0, 0, 10, 10, 0.0, 0.7],  # of another class: kept
    [20, 20, 30, 30, 0.3, 0.6],  # a detection of both classes
    [40, 40, 50, 50, 0.04, 0.0],  # under the threshold
]
HALF = torch.full((1, 3, 8, 8), 0.5)


def test_detections_by_hand():
    output = TorchDetector(Fixed(CANDIDATES))(HALF)
    assert output.shape == (1, LIMIT, 6)
    target = torch.tensor(
        [
            [0, 0, 10, 10, 0.9, 0],
            [0, 0, 10, 10, 0.7, 1],
            [20, 20, 30, 30, 0.6, 1],
            [20, 20, 30, 30, 0.3, 0],
        ]
    )
    assert torch.allclose(output[0, :4], target)
    assert (output[0, 4:] == torch.tensor([0, 0, 0, 0, 0, -1.0])).all()


def test_nms_threshold_is_that_of_the_module():
    module = Fixed(CANDIDATES).eval()
    module.nms = 0.95
    assert (TorchDetector(module)(HALF)[0, :, 5] >= 0).sum() == 5
    module.nms = 1.0
    assert (TorchDetector(module)(HALF)[0, :, 5] >= 0).sum() == 5


def random_candidates(images, places, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(images, places, 2, generator=generator) * 80
    size = torch.rand(images, places, 2, generator=generator) * 30 + 1
    scores = torch.rand(images, places, classes, generator=generator) ** 3
    return torch.cat([corner, corner + size, scores], dim=-1)


@pytest.mark.parametrize("places", [3, 60, 900])
def test_suppression_matches_torchvision_per_class(places):
    candidates = random_candidates(4, places, 3)
    for image, output in zip(candidates, select_detections(candidates, 0.5), strict=True):
        boxes = image[:, None, :4].expand(-1, 3, 4).reshape(-1, 4)
        scores, labels = image[:, 4:].reshape(-1), torch.arange(3).repeat(places)
        good = scores >= THRESHOLD
        kept = batched_nms(boxes[good], scores[good], labels[good], 0.5)[:LIMIT]
        target = torch.cat([boxes[good][kept], scores[good][kept, None], labels[good][kept, None].float()], dim=1)
        assert torch.equal(output[: len(target)], target)
        assert (output[len(target) :, 5] == -1).all() and (output[len(target) :, 4] == 0).all()
        assert (output[:, 4].diff() <= 0).all()


def test_detections_do_not_depend_on_the_batch():
    candidates = random_candidates(9, 200, 3)
    whole = select_detections(candidates, 0.5)
    assert torch.equal(torch.stack([select_detections(c[None], 0.5)[0] for c in candidates]), whole)
    candidates[0] += 1e6  # another image far away, and a non-finite one
    candidates[1, 7, 2] = torch.nan
    assert torch.equal(select_detections(candidates, 0.5)[2:], whole[2:])


def test_boxes_and_scores_stay_differentiable():
    candidates = random_candidates(1, 5, 2).requires_grad_()
    output = select_detections(candidates, 1.0)
    output[..., 4].sum().backward(retain_graph=True)
    assert (candidates.grad[..., 4:] == (candidates[..., 4:] >= THRESHOLD)).all()
    assert (candidates.grad[..., :4] == 0).all()
    output[..., :4].sum().backward()
    assert candidates.grad[..., :4].abs().sum() > 0
    pixels = HALF.clone().requires_grad_()
    TorchDetector(Fixed(CANDIDATES)).candidates(pixels).sum().backward()
    assert pixels.grad.abs().sum() > 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("column", [2, 4])
def test_non_finite_candidate_makes_its_image_nan(value, column):
    pixels = torch.cat([HALF, HALF * 1.1])
    module = Fixed(CANDIDATES).eval()
    module.candidates[4, column] = value
    detector = TorchDetector(module)
    assert detector.raw(pixels).isnan().all()
    with pytest.raises(ModelError, match=r"NaN or infinite boxes or scores for 2 of 2 images, first at row 0"):
        detector(pixels)


def test_predict_is_used_only_for_finite_candidates():
    class Predicts(Fixed):
        def predict(self, images):
            one = {"boxes": torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]), "scores": torch.tensor([0.2, 0.9])}
            return [{**one, "labels": torch.tensor([1, 0])} for _ in images]

        def raw(self, images):
            candidates = super().raw(images)
            return torch.where((images.mean(dim=(1, 2, 3)) > 0.6)[:, None, None], torch.nan, candidates)

    output = TorchDetector(Predicts(CANDIDATES)).raw(torch.cat([HALF, HALF * 1.5]))
    assert torch.allclose(
        output[0, :3], torch.tensor([[5, 6, 7, 8, 0.9, 0], [1, 2, 3, 4, 0.2, 1], [0, 0, 0, 0, 0, -1]])
    )
    assert output[1].isnan().all()


def test_non_finite_output_makes_only_its_image_nan():
    candidates, logits = torch.ones(3, 4, 6), torch.zeros(3, 4, 2)
    logits[1, 2, 0] = torch.inf
    assert propagate_nan(candidates, logits).isnan().flatten(1).all(1).tolist() == [False, True, False]
    big = torch.full((1, 10), 3e38)
    assert torch.equal(propagate_nan(candidates[:1], big), candidates[:1])  # sums may overflow


TARGETS = torch.tensor([[[1.0, 2, 3, 4, 1, 0], [9, 9, 12, 12, 0, 1], [0, 0, 0, 0, -1, 0]], [[0, 0, 0, 0, -1, 0]] * 3])


def test_losses_are_summed_without_padding_and_ignored_boxes():
    module = Fixed(CANDIDATES).eval()
    losses, output = TorchDetector(module).losses(torch.cat([HALF, HALF]), TARGETS)
    assert torch.allclose(losses, torch.tensor([1010.5, 0.5]))
    assert len(module.queries[0]) == 8  # padded to a multiple of 8
    assert module.queries[0][0]["boxes"].tolist() == [[1, 2, 3, 4]] and module.queries[0][0]["labels"].tolist() == [1]
    assert module.queries[0][1]["boxes"].shape == (0, 4) and module.queries[0][1]["labels"].dtype == torch.int64
    assert torch.equal(output, TorchDetector(module)(torch.cat([HALF, HALF]))) and not output.requires_grad


@pytest.mark.parametrize("named", [True, False])
def test_module_with_batch_losses_is_called_per_image(named):
    class Batch(Fixed):
        def losses(self, images, targets):
            self.queries.append(len(images))
            loss = images.mean() + sum(len(t["boxes"]) for t in targets)
            return {"loss": loss} if named else loss

    detector = TorchDetector(Batch(CANDIDATES).eval())
    pixels = torch.cat([HALF, HALF * 0.5]).requires_grad_()
    losses, _ = detector.losses(pixels, TARGETS)
    assert torch.allclose(losses, torch.tensor([1.5, 0.25]))
    losses[0].backward()
    assert pixels.grad[0].abs().sum() > 0 and pixels.grad[1].abs().sum() == 0
    detector.losses(pixels, TARGETS)
    assert detector.module.queries == [8, *[1] * 8, 1, 1]  # detected once; then without padding


def test_both_takes_one_forward_pass():
    class Both(Fixed):
        passes = 0

        def both(self, images, targets):
            self.passes += 1
            return super().losses(images, targets), super().raw(images)

        def raw(self, images):
            raise AssertionError("a second forward pass")

    module = Both(CANDIDATES).eval()
    losses, output = TorchDetector(module).losses(HALF, TARGETS[:1])
    assert module.passes == 1 and losses.shape == (1,) and output.shape == (1, LIMIT, 6)
    losses, output = TorchDetector(module.train()).losses(HALF, TARGETS[:1])
    assert losses.shape == (1,) and not len(output)  # no detections in training


BAD = {
    "0 to 255": (HALF * 400, None, r"pixels up to 200; expected \[0, 1\]. Divide"),
    "grayscale": (HALF[:, :1], None, r"\(1, 1, 8, 8\).*with 3 channels.*convert\('RGB'\)"),
    "one image": (HALF[0], None, "expected \\(n, channels, height, width\\)"),
    "label beyond": (HALF, torch.tensor([[[0, 0, 4, 4, 2.0, 0]]]), "class 2; expected whole numbers from 0 to 1"),
    "label below": (HALF, torch.tensor([[[0, 0, 4, 4, -2.0, 0]]]), "class -2"),
    "half a label": (HALF, torch.tensor([[[0, 0, 4, 4, 0.5, 0]]]), r"class 0\.5"),
    "targets of others": (HALF, torch.zeros(2, 1, 6), "for 1 images"),
    "targets of five": (HALF, torch.zeros(1, 1, 5), r"expected \(1, M, 6\)"),
}


@pytest.mark.parametrize(("pixels", "targets", "reason"), BAD.values(), ids=BAD)
def test_invalid_input_is_refused(pixels, targets, reason):
    detector = TorchDetector(Fixed(CANDIDATES))
    with pytest.raises(ModelError, match=reason):
        detector(pixels) if targets is None else detector.losses(pixels, targets)


def test_only_ignored_boxes_may_have_invalid_classes():
    detector = TorchDetector(Fixed(CANDIDATES))
    losses, _ = detector.losses(HALF, torch.tensor([[[0, 0, 4, 4, 1.0, 1]]]))
    assert losses.tolist() == [0.5]
    with pytest.raises(ModelError, match="class nan"):
        detector.losses(HALF, torch.tensor([[[0, 0, 4, 4, torch.nan, 0]]]))


def test_image_without_objects_is_valid():
    losses, _ = TorchDetector(Fixed(CANDIDATES)).losses(HALF, torch.zeros(1, 0, 6))
    assert losses.tolist() == [0.5]


def test_invalid_modules_are_refused():
    with pytest.raises(ModelError, match="Linear without raw and losses"):
        TorchDetector(nn.Linear(1, 1))
    with pytest.raises(ModelError, match="input_size"):
        TorchDetector(Fixed(CANDIDATES), input_size=(8, 8))
    with pytest.raises(
        ModelError, match=r"raw returned \(1, 5, 5\) for 1 images; expected \(images, candidates, 4 \+ 2\)"
    ):
        TorchDetector(Fixed([c[:5] for c in CANDIDATES]))(HALF)
    with pytest.raises(ModelError, match="expected a tensor"):
        sum_losses({"a": 0})


def test_adapter_normalizes_images():
    class Probe(Fixed):
        def raw(self, images):
            self.seen = images
            return super().raw(images)

    module = Probe(CANDIDATES)
    TorchDetector(module, bounds=(0, 255), mean=(100, 110, 120), std=(2, 4, 5)).raw(HALF)
    assert torch.allclose(module.seen[0, :, 0, 0], (127.5 - torch.tensor([100, 110, 120])) / torch.tensor([2, 4, 5]))


class Trains(Fixed):
    """Returns losses in training mode only, like many detectors."""

    losses_in_training = True

    def __init__(self):
        super().__init__(CANDIDATES)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.SyncBatchNorm(3), nn.InstanceNorm2d(3)])
        self.drop = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5))

    def losses(self, images, targets):
        assert self.training and self.drop.training
        return self.drop(self.norms[0](images)).mean(dim=(1, 2, 3))


def test_losses_in_training_mode_do_not_update_statistics():
    module = Trains().eval()
    module.norms[2].train()
    detector = TorchDetector(module)
    modes, state = [m.training for m in module.modules()], {k: v.clone() for k, v in module.state_dict().items()}
    first, _ = detector.losses(HALF, TARGETS[:1])
    second, _ = detector.losses(HALF, TARGETS[:1])
    assert torch.equal(first, second)
    assert [m.training for m in module.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    module.train()
    detector.losses(HALF, TARGETS[:1])
    assert module.norms[0].num_batches_tracked == 1  # training updates the statistics


def test_modes_are_restored_after_an_error():
    module = Trains().eval()
    module.norms[0].train()
    modes = [m.training for m in module.modules()]
    with pytest.raises(RuntimeError), train_mode(module):
        assert module.training and module.norms.training
        held = [*module.norms[:2], *module.drop]
        assert not any(m.training for m in held)
        raise RuntimeError("in between")
    assert [m.training for m in module.modules()] == modes
