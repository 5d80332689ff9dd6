"""Training: the common trainer, truncated backpropagation for language models, and GANs."""
