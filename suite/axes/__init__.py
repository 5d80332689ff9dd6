"""Axes: each asks every kind the same questions, and turns the answers into measures."""
