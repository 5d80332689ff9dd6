"""A package that brings a kind of task of its own: regression, scored on all four axes.

It changes no file of the suite. Heavy imports are inside the functions, so that listing the entries stays fast.
"""

from acme_regression import calibration, metrics
from suite import Recipe, Sample, kind, model, stratified, task

__all__ = ["calibration", "diabetes", "gaussian_linear", "gaussian_net", "metrics", "regression"]


@kind()
def regression():
    """One number per sample, predicted as a normal distribution."""
    from acme_regression.kind import Regression

    return Regression().kind()


@task(kind="regression", source="scikit-learn, load_diabetes (Efron et al. 2004)")
def diabetes(split, seed):
    """Progression of diabetes after one year, from ten standardized features of 442 people."""
    import numpy as np
    from sklearn.datasets import load_diabetes

    features, progression = load_diabetes(return_X_y=True, scaled=False)
    everyone = [0] * len(progression)
    train = stratified(everyone, "train", seed=seed)
    features = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    for person in stratified(everyone, split, seed=seed):
        yield Sample(f"person-{person:03d}", features[person].astype(np.float32), float(progression[person]))


@model(kind="regression")
def gaussian_linear(task):
    """A linear mean and one variance for all samples."""
    from acme_regression.models import Gaussian, TorchRegressor

    return TorchRegressor(Gaussian(task.input_shape[0]), recipe=Recipe(epochs=200, batch_size=32, learning_rate=0.05))


@model(kind="regression")
def gaussian_net(task):
    """A small network with dropout that predicts mean and variance."""
    from acme_regression.models import Gaussian, TorchRegressor

    module = Gaussian(task.input_shape[0], hidden=32, dropout=0.1)
    return TorchRegressor(module, recipe=Recipe(epochs=100, batch_size=32, learning_rate=0.02))
