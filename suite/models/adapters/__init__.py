"""Adapters: wrap a module into a model with the outputs that a kind expects."""
