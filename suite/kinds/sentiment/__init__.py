"""Sentiment: one label per text."""
