"""Training: recipes, the trainer, and the loops of models that are trained in a way of their own."""
