"""The adapter round a detector: what it asks of a module, and that a broken one never looks like a blind one."""

import pytest
import torch
from torch import nn
from torchvision.ops import batched_nms

from suite.errors import ModelError
from suite.models.adapters.detections import LIMIT, THRESHOLD, propagate_nan, select_detections
from suite.models.adapters.detector import TorchDetector, sum_losses, train_mode


class Fixed(nn.Module):
    """Answers with given candidates, scaled by the images' mean so that there is a gradient."""

    classes, channels = 2, 3

    def __init__(self, candidates):
        super().__init__()
        self.register_buffer("candidates", torch.as_tensor(candidates, dtype=torch.float32))
        self.asked = []

    def raw(self, images):
        level = images.mean(dim=(1, 2, 3))[:, None, None] * 2
        return torch.cat([self.candidates[..., :4], self.candidates[..., 4:]], -1)[None] * level

    def losses(self, images, targets):
        self.asked.append(targets)
        sums = torch.stack([t["boxes"].sum() + 1000 * t["labels"].sum() for t in targets])
        return {"any": images.mean(dim=(1, 2, 3)), "name": sums}


CANDIDATES = [
    [0, 0, 10, 10, 0.9, 0.0],  # kept
    [0, 0, 10, 9, 0.8, 0.0],  # overlaps the first by .9: suppressed
    [0, 0, 10, 10, 0.0, 0.7],  # of another class: kept
    [20, 20, 30, 30, 0.3, 0.6],  # counts for both classes
    [40, 40, 50, 50, 0.04, 0.0],  # under the threshold
]
HALF = torch.full((1, 3, 8, 8), 0.5)


def test_detections_of_a_case_solved_by_hand():
    found = TorchDetector(Fixed(CANDIDATES))(HALF)
    assert found.shape == (1, LIMIT, 6)
    wanted = torch.tensor(
        [
            [0, 0, 10, 10, 0.9, 0],
            [0, 0, 10, 10, 0.7, 1],
            [20, 20, 30, 30, 0.6, 1],
            [20, 20, 30, 30, 0.3, 0],
        ]
    )
    assert torch.allclose(found[0, :4], wanted)
    assert (found[0, 4:] == torch.tensor([0, 0, 0, 0, 0, -1.0])).all()


def test_a_module_says_how_much_overlap_it_allows():
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
def test_selection_is_torchvisions_suppression_of_every_class(places):
    candidates = random_candidates(4, places, 3)
    for image, found in zip(candidates, select_detections(candidates, 0.5), strict=True):
        boxes = image[:, None, :4].expand(-1, 3, 4).reshape(-1, 4)
        scores, labels = image[:, 4:].reshape(-1), torch.arange(3).repeat(places)
        good = scores >= THRESHOLD
        kept = batched_nms(boxes[good], scores[good], labels[good], 0.5)[:LIMIT]
        wanted = torch.cat([boxes[good][kept], scores[good][kept, None], labels[good][kept, None].float()], dim=1)
        assert torch.equal(found[: len(wanted)], wanted)
        assert (found[len(wanted) :, 5] == -1).all() and (found[len(wanted) :, 4] == 0).all()
        assert (found[:, 4].diff() <= 0).all()


def test_an_images_detections_do_not_depend_on_its_company():
    candidates = random_candidates(9, 200, 3)
    whole = select_detections(candidates, 0.5)
    assert torch.equal(torch.stack([select_detections(c[None], 0.5)[0] for c in candidates]), whole)
    candidates[0] += 1e6  # far away company, and broken company
    candidates[1, 7, 2] = torch.nan
    assert torch.equal(select_detections(candidates, 0.5)[2:], whole[2:])


def test_boxes_and_scores_stay_differentiable():
    candidates = random_candidates(1, 5, 2).requires_grad_()
    found = select_detections(candidates, 1.0)
    found[..., 4].sum().backward(retain_graph=True)
    assert (candidates.grad[..., 4:] == (candidates[..., 4:] >= THRESHOLD)).all()
    assert (candidates.grad[..., :4] == 0).all()
    found[..., :4].sum().backward()
    assert candidates.grad[..., :4].abs().sum() > 0
    pixels = HALF.clone().requires_grad_()
    TorchDetector(Fixed(CANDIDATES)).candidates(pixels).sum().backward()
    assert pixels.grad.abs().sum() > 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("column", [2, 4])
def test_one_broken_candidate_is_a_broken_image_and_not_one_detection_less(value, column):
    pixels = torch.cat([HALF, HALF * 1.1])
    module = Fixed(CANDIDATES).eval()
    module.candidates[4, column] = value
    detector = TorchDetector(module)
    assert detector.raw(pixels).isnan().all()
    with pytest.raises(ModelError, match=r"NaN or infinite boxes or scores for 2 of 2 images, first at row 0"):
        detector(pixels)


def test_a_module_with_its_own_prediction_is_believed_only_where_its_candidates_are_sound():
    class Predicts(Fixed):
        def predict(self, images):
            one = {"boxes": torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]), "scores": torch.tensor([0.2, 0.9])}
            return [{**one, "labels": torch.tensor([1, 0])} for _ in images]

        def raw(self, images):
            candidates = super().raw(images)
            return torch.where((images.mean(dim=(1, 2, 3)) > 0.6)[:, None, None], torch.nan, candidates)

    found = TorchDetector(Predicts(CANDIDATES)).raw(torch.cat([HALF, HALF * 1.5]))
    assert torch.allclose(found[0, :3], torch.tensor([[5, 6, 7, 8, 0.9, 0], [1, 2, 3, 4, 0.2, 1], [0, 0, 0, 0, 0, -1]]))
    assert found[1].isnan().all()


def test_an_infinite_output_behind_a_sound_score_spoils_its_image_alone():
    candidates, logits = torch.ones(3, 4, 6), torch.zeros(3, 4, 2)
    logits[1, 2, 0] = torch.inf
    assert propagate_nan(candidates, logits).isnan().flatten(1).all(1).tolist() == [False, True, False]
    big = torch.full((1, 10), 3e38)
    assert torch.equal(propagate_nan(candidates[:1], big), candidates[:1])  # sums may overflow


TARGETS = torch.tensor([[[1.0, 2, 3, 4, 1, 0], [9, 9, 12, 12, 0, 1], [0, 0, 0, 0, -1, 0]], [[0, 0, 0, 0, -1, 0]] * 3])


def test_losses_of_all_names_are_added_and_padding_and_ignored_boxes_left_out():
    module = Fixed(CANDIDATES).eval()
    losses, found = TorchDetector(module).losses(torch.cat([HALF, HALF]), TARGETS)
    assert torch.allclose(losses, torch.tensor([1010.5, 0.5]))
    assert len(module.asked[0]) == 8  # filled up, so that no image's result depends on its company
    assert module.asked[0][0]["boxes"].tolist() == [[1, 2, 3, 4]] and module.asked[0][0]["labels"].tolist() == [1]
    assert module.asked[0][1]["boxes"].shape == (0, 4) and module.asked[0][1]["labels"].dtype == torch.int64
    assert torch.equal(found, TorchDetector(module)(torch.cat([HALF, HALF]))) and not found.requires_grad


@pytest.mark.parametrize("named", [True, False])
def test_a_module_with_one_number_for_a_batch_is_asked_image_by_image(named):
    class Batch(Fixed):
        def losses(self, images, targets):
            self.asked.append(len(images))
            loss = images.mean() + sum(len(t["boxes"]) for t in targets)
            return {"loss": loss} if named else loss

    detector = TorchDetector(Batch(CANDIDATES))
    pixels = torch.cat([HALF, HALF * 0.5]).requires_grad_()
    losses, _ = detector.losses(pixels, TARGETS)
    assert torch.allclose(losses, torch.tensor([1.5, 0.25]))
    losses[0].backward()
    assert pixels.grad[0].abs().sum() > 0 and pixels.grad[1].abs().sum() == 0
    detector.losses(pixels, TARGETS)
    assert detector.module.asked == [8, *[1] * 8, *[1] * 8]  # found out once


def test_both_answers_come_from_one_pass_where_the_module_can():
    class Both(Fixed):
        passes = 0

        def both(self, images, targets):
            self.passes += 1
            return super().losses(images, targets), super().raw(images)

        def raw(self, images):
            raise AssertionError("a second pass")

    module = Both(CANDIDATES).eval()
    losses, found = TorchDetector(module).losses(HALF, TARGETS[:1])
    assert module.passes == 1 and losses.shape == (1,) and found.shape == (1, LIMIT, 6)
    losses, found = TorchDetector(module.train()).losses(HALF, TARGETS[:1])
    assert losses.shape == (1,) and not len(found)  # nobody asks for detections while it learns


BAD = {
    "0 to 255": (HALF * 400, None, r"pixels up to 200; expected \[0, 1\]. Divide"),
    "grayscale": (HALF[:, :1], None, r"\(8, 1, 8, 8\).*with 3 channels.*convert\('RGB'\)"),
    "one image": (HALF[0], None, "expected \\(n, channels, height, width\\)"),
    "label beyond": (HALF, torch.tensor([[[0, 0, 4, 4, 2.0, 0]]]), "class 2; expected whole numbers from 0 to 1"),
    "label below": (HALF, torch.tensor([[[0, 0, 4, 4, -2.0, 0]]]), "class -2"),
    "half a label": (HALF, torch.tensor([[[0, 0, 4, 4, 0.5, 0]]]), r"class 0\.5"),
    "targets of others": (HALF, torch.zeros(2, 1, 6), "for 1 images"),
    "targets of five": (HALF, torch.zeros(1, 1, 5), r"expected \(1, M, 6\)"),
}


@pytest.mark.parametrize(("pixels", "targets", "reason"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_what_was_expected(pixels, targets, reason):
    detector = TorchDetector(Fixed(CANDIDATES))
    with pytest.raises(ModelError, match=reason):
        detector(pixels) if targets is None else detector.losses(pixels, targets)


def test_an_ignored_box_may_have_any_class_row_but_a_counted_one_may_not():
    detector = TorchDetector(Fixed(CANDIDATES))
    losses, _ = detector.losses(HALF, torch.tensor([[[0, 0, 4, 4, 1.0, 1]]]))
    assert losses.tolist() == [0.5]
    with pytest.raises(ModelError, match="class nan"):
        detector.losses(HALF, torch.tensor([[[0, 0, 4, 4, torch.nan, 0]]]))


def test_an_image_without_anything_to_find_is_accepted():
    losses, _ = TorchDetector(Fixed(CANDIDATES)).losses(HALF, torch.zeros(1, 0, 6))
    assert losses.tolist() == [0.5]


def test_modules_that_cannot_be_detectors_are_refused():
    with pytest.raises(ModelError, match="Linear without raw and losses"):
        TorchDetector(nn.Linear(1, 1))
    with pytest.raises(ModelError, match="input_size"):
        TorchDetector(Fixed(CANDIDATES), input_size=(8, 8))
    with pytest.raises(ModelError, match=r"raw returned \(8, 5, 5\); expected \(images, candidates, 4 \+ 2\)"):
        TorchDetector(Fixed([c[:5] for c in CANDIDATES]))(HALF)
    with pytest.raises(ModelError, match="expected a tensor"):
        sum_losses({"a": 0})


def test_normalisation_is_inside():
    class Probe(Fixed):
        def raw(self, images):
            self.seen = images
            return super().raw(images)

    module = Probe(CANDIDATES)
    TorchDetector(module, bounds=(0, 255), mean=(100, 110, 120), std=(2, 4, 5)).raw(HALF)
    assert torch.allclose(module.seen[0, :, 0, 0], (127.5 - torch.tensor([100, 110, 120])) / torch.tensor([2, 4, 5]))


class Trains(Fixed):
    """Gives losses in training mode alone, as many detectors do."""

    losses_in_training = True

    def __init__(self):
        super().__init__(CANDIDATES)
        self.norms = nn.ModuleList([nn.BatchNorm2d(3), nn.SyncBatchNorm(3), nn.InstanceNorm2d(3)])
        self.drop = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5))

    def losses(self, images, targets):
        assert self.training and self.drop.training
        return self.drop(self.norms[0](images)).mean(dim=(1, 2, 3))


def test_losses_of_training_mode_are_had_without_learning():
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
    assert module.norms[0].num_batches_tracked == 1  # while it is trained, its statistics move


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
