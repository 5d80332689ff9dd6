"""Adapters: what turns a module into a model whose outputs a kind understands."""
