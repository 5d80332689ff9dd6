"""Metrics computed from outputs and targets: numpy and scipy, no torch."""
