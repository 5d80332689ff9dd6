"""GANs: losses and penalties by hand, choice of the checkpoint, invalid recipes and modules."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from suite.data import Split
from suite.errors import ModelError, SpecError, TrainingError
from suite.models.adapters.generator import TorchGenerator
from suite.models.networks.gan import Critic, Pair
from suite.models.training.gan import GanRecipe, GanTrainer
from suite.models.training.gan_losses import OBJECTIVES, PENALTIES, around, between, gradient_penalty
from suite.models.training.trainer import TrainingData, seeded, train

CPU = torch.device("cpu")


def blobs(count, name="blob", side=8):
    images = np.random.default_rng(len(name)).integers(0, 256, (count, 1, side, side), dtype=np.uint8)
    return Split(tuple(f"{name}-{place}" for place in range(count)), images, np.zeros(count, np.int64))


def built(*, recipe=None, seed=0, shape=(1, 16, 16), **options):
    with seeded(seed, CPU):
        return TorchGenerator(Pair(shape, latent=6, width=16, **options), recipe=recipe)


class Stub:
    """A kind with given scores of the checkpoints."""

    def __init__(self, *values):
        self.values, self.seen = iter(values), []

    def scorer(self, train, validation):
        def score(images):
            self.seen.append(images.clone())
            return next(self.values)

        return score


def training_data(kind, *, seed=0, count=32, side=16):
    return TrainingData(
        blobs(count, "t", side), blobs(16, "validation", side), kind, seed, lambda items, label, total: iter(items)
    )


# losses


def test_losses_by_hand():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])

    def log(x):
        return torch.log1p(torch.exp(torch.tensor(x))).item()

    bce, hinge, wasserstein = (OBJECTIVES[name] for name in ("bce", "hinge", "wasserstein"))
    assert bce.critic(real, fake).tolist() == pytest.approx([log(-2.0) + log(0.5), log(1.0) + log(-3.0)])
    assert bce.generator(fake).tolist() == pytest.approx([log(-0.5), log(3.0)])
    assert hinge.critic(real, fake).tolist() == [1.5, 2.0]
    assert hinge.generator(fake).tolist() == [-0.5, 3.0]
    assert wasserstein.critic(real, fake).tolist() == [-1.5, -2.0]
    assert wasserstein.generator(fake).tolist() == [-0.5, 3.0]


def test_cross_entropy_matches_torch():
    scores, one = torch.randn(9), torch.ones(9)
    plain = nn.functional.binary_cross_entropy_with_logits
    expected = plain(scores, one, reduction="none") + plain(-scores, 0 * one, reduction="none")
    assert torch.allclose(OBJECTIVES["bce"].critic(scores, -scores), expected)


def test_gradient_penalty_of_a_linear_critic():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    penalty = gradient_penalty(lambda images: images.flatten(1) @ weight, torch.randn(5, 1, 1, 2))
    assert penalty.tolist() == pytest.approx([16.0] * 5)  # (5 - 1)^2
    penalty.mean().backward()
    assert weight.grad.tolist() == pytest.approx([2 * 4 * 3 / 5, 2 * 4 * 4 / 5])


def test_gradient_penalty_of_a_quadratic_critic_depends_on_the_point():
    points = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.5]]]])
    result = gradient_penalty(lambda images: images.flatten(1).square().sum(dim=1), points)
    assert result.tolist() == pytest.approx([(20**0.5 - 1) ** 2, 0.0], abs=1e-6)


def test_gradient_penalty_of_a_constant_critic_has_a_finite_gradient():
    weight = torch.zeros(3, requires_grad=True)
    gradient_penalty(lambda images: images.flatten(1) @ weight, torch.randn(2, 1, 1, 3)).sum().backward()
    assert torch.isfinite(weight.grad).all()


@pytest.mark.parametrize("penalty", [between, around])
def test_gradient_penalties_match_finite_differences(penalty):
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double()
    real, fake = torch.rand(3, 1, 2, 2).double(), torch.rand(3, 1, 2, 2).double()
    numbers = torch.Generator().manual_seed(4)
    if penalty is between:
        share = torch.rand(3, 1, 1, 1, generator=numbers).double()
        points = share * real + (1 - share) * fake
    else:
        points = real + 0.5 * real.std() * torch.randn(real.shape, generator=numbers).double()
    step, slopes = 1e-6, torch.zeros(3, 4).double()
    for pixel in range(4):
        perturbed = torch.zeros(4).double()
        perturbed[pixel] = step
        perturbed = perturbed.view(1, 1, 2, 2)
        slopes[:, pixel] = ((critic(points + perturbed) - critic(points - perturbed)) / (2 * step)).detach()
    expected = (slopes.norm(dim=1) - 1) ** 2
    result = penalty(critic, real, fake, torch.Generator().manual_seed(4)).detach()
    assert torch.allclose(result, expected, atol=1e-6)


def test_spectral_norm_of_every_critic_layer_is_one():
    torch.manual_seed(0)
    critic = Critic((1, 16, 16), 8, 1, True).train()
    for _ in range(60):  # power iteration
        critic(torch.rand(2, 1, 16, 16))
    critic.eval()
    layers = [layer for layer in critic.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    largest = [float(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]) for layer in layers]
    assert largest == pytest.approx([1.0] * len(layers), abs=2e-2)
    assert len(layers) >= 3


# training


@pytest.mark.parametrize(
    ("objective", "penalty", "spectral"),
    [("bce", "none", False), ("bce", "around", False), ("wasserstein", "between", False), ("hinge", "none", True)],
)
def test_weights_depend_on_the_seed_only(objective, penalty, spectral):
    recipe = GanRecipe(objective=objective, penalty=penalty, steps=4, checkpoints=2, batch_size=8, critic_steps=2)

    def weights(seed):
        model = built(recipe=recipe, spectral=spectral)
        history = train(model, recipe, training_data(Stub(2.0, 1.0), seed=seed), device=CPU)
        return history, torch.cat([value.flatten().float() for value in model.module.state_dict().values()])

    (history, first), (_, again), (_, other) = weights(1), weights(1), weights(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert [epoch["validation_loss"] for epoch in history["epochs"]] == [2.0, 1.0]
    assert history["chosen_epoch"] == 2
    assert all(np.isfinite(epoch["train_loss"]) for epoch in history["epochs"])


def test_best_checkpoint_is_kept():
    recipe = GanRecipe(steps=12, checkpoints=4, batch_size=8)
    model, kind = built(recipe=recipe), Stub(3.0, 1.0, 2.0, 5.0)
    history = train(model, recipe, training_data(kind), device=CPU)
    assert history["chosen_epoch"] == 2
    assert [epoch["step"] for epoch in history["epochs"]] == [3, 6, 9, 12]
    with torch.no_grad(), model.frozen():
        kept = model.sample(16, 0)
    assert torch.equal(kept, kind.seen[1])
    assert not torch.equal(kept, kind.seen[3])


def test_non_finite_score_or_loss_raises_an_error():
    recipe = GanRecipe(steps=2, checkpoints=2, batch_size=8)
    with pytest.raises(TrainingError, match="score of samples is nan after 2"):
        train(built(recipe=recipe), recipe, training_data(Stub(1.0, float("nan"))), device=CPU)
    wild = GanRecipe(steps=30, checkpoints=1, batch_size=8, learning_rate=1e38, critic_rate=1e38)
    with pytest.raises(TrainingError, match="lower learning rates"):
        train(built(recipe=wild), wild, training_data(Stub(1.0)), device=CPU)


def test_critic_separates_constant_images_from_noise():
    recipe = GanRecipe(objective="bce", steps=40, checkpoints=1, batch_size=16, learning_rate=1e-9, inertia=0.0)
    model, flat = built(recipe=recipe), blobs(32, "t", 16)
    flat.inputs[:] = 255
    part = TrainingData(flat, flat, Stub(0.0), 0, lambda items, label, total: iter(items))
    train(model, recipe, part, device=CPU)
    with torch.no_grad(), model.frozen():
        real, fake = model.critic_scores(torch.ones(16, 1, 16, 16)), model.critic_scores(model.sample(16, 3))
    assert float(real.min()) > float(fake.max())


def test_generator_is_an_exponential_moving_average():
    recipe = GanRecipe(steps=3, checkpoints=1, batch_size=8, inertia=0.5)
    trainer = GanTrainer(built(recipe=recipe).module, recipe, training_data(Stub()), CPU)
    name = "generator.last.weight"
    mean = trainer.module.state_dict()[name].clone()
    for step in range(1, 4):
        trainer.train_until(step)
        share = min(0.5, step / (step + 10))
        mean = share * mean + (1 - share) * trainer.module.state_dict()[name]
        assert torch.allclose(trainer.averaged_state()[name], mean, atol=1e-6)


def test_number_of_checkpoints_is_capped_at_the_steps():
    recipe = GanRecipe(steps=2, checkpoints=9, batch_size=8)
    assert len(train(built(recipe=recipe), recipe, training_data(Stub(1.0, 2.0)), device=CPU)["epochs"]) == 2


@pytest.mark.parametrize(
    "wrong", [{"objective": "mse"}, {"penalty": "everywhere"}, {"steps": 0}, {"batch_size": 1}, {"checkpoints": 0}]
)
def test_invalid_recipes_are_refused(wrong):
    with pytest.raises(SpecError):
        GanRecipe(**wrong)


def test_recipe_settings_are_part_of_its_identity():
    plain, other = GanRecipe().canonical(), GanRecipe(critic_steps=2).canonical()
    assert plain != other
    assert "gradient penalty around" in str(GanRecipe(penalty="around"))
    assert set(PENALTIES) == {"none", "between", "around"}


def test_generator_requires_a_gan_recipe():
    from suite.models.recipe import Recipe

    model = built()
    model.recipe = Recipe()
    with pytest.raises(ModelError, match="GanRecipe"):
        train(model, model.recipe, training_data(Stub()), device=CPU)


# the adapter


def test_latents_depend_on_sample_ids_only():
    model, split = built(), blobs(6, "a")
    whole, turned = model.inputs(split), model.inputs(split.take([5, 2]))
    assert whole.dtype == np.float32
    assert whole.shape == (6, 6)
    assert (turned == whole[[5, 2]]).all()
    many = model.inputs(blobs(4000, "many"))
    assert abs(float(many.mean())) < 0.03
    assert float(many.std()) == pytest.approx(1.0, abs=0.03)
    assert model.inputs(split.take([])).shape == (0, 6)


def test_images_do_not_depend_on_the_batch():
    model = built()
    latents = model.latents(21, 0)
    with torch.no_grad(), model.frozen():
        whole = model.raw(latents)
        alone = torch.cat([model.raw(latents[place : place + 1]) for place in range(21)])
        parts = torch.cat([model.raw(latents[:5]), model.raw(latents[5:])])
    assert torch.equal(whole, alone)
    assert torch.equal(whole, parts)
    assert 0 <= float(whole.min()) <= float(whole.max()) <= 1


def test_larger_sample_starts_with_the_smaller_one():
    model = built()
    with model.frozen():
        assert torch.equal(model.sample(5, 3), model.sample(40, 3)[:5])
        assert not torch.equal(model.sample(5, 3), model.sample(5, 4))


def test_interpolation_includes_both_ends():
    model = built()
    first, second = model.latents(3, 0), model.latents(3, 1)
    with model.frozen():
        lines = model.interpolate(first, second, 5)
        assert lines.shape == (3, 5, 1, 16, 16)
        assert torch.equal(lines[:, 0], model.generate(first))
        assert torch.equal(lines[:, -1], model.generate(second))
        assert torch.allclose(lines[:, 2], model.generate((first + second) / 2), atol=1e-5)


def test_invalid_modules_and_outputs_are_refused():
    with pytest.raises(ModelError, match="without critic and generator"):
        TorchGenerator(nn.Linear(1, 1))
    with pytest.raises(ModelError, match=r"torch\.nn\.Module"):
        TorchGenerator("pair")
    bad = Pair((1, 16, 16), latent=2, width=16)
    bad.generator = nn.Flatten()
    with pytest.raises(ModelError, match="expected \\(images, channels"):
        TorchGenerator(bad).raw(torch.zeros(3, 2))
    broken = Pair((1, 16, 16), latent=2, width=16)
    with torch.no_grad():
        next(broken.critic.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        TorchGenerator(broken).critic_scores(torch.zeros(3, 1, 16, 16))


@pytest.mark.parametrize("shape", [(1, 8, 16), (1, 9, 9), (3, 3, 3), (1, 7, 7)])
def test_unsupported_image_sizes_are_refused(shape):
    with pytest.raises(ModelError, match="size=32"):
        Pair(shape)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_generated_images_have_the_shape_of_the_task(shape):
    model = TorchGenerator(Pair(shape, width=16))
    with torch.no_grad(), model.frozen():
        images = model.sample(2, 0)
        assert tuple(images.shape) == (2, *shape)
        assert model.critic_scores(images).shape == (2,)


def test_state_can_be_copied():
    pair = Pair((1, 16, 16), latent=6, width=16, spectral=True)
    twin = copy.deepcopy(pair)
    twin.load_state_dict(pair.state_dict())
    assert set(twin.state_dict()) == set(pair.state_dict())
