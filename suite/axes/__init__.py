"""Axes: each evaluates any kind through one interface and returns measures."""
