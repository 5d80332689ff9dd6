"""Diagnostics: how a model may hide from attacks, and what to do about it."""
