"""Kinds of task: each answers the same few questions, so that an axis never needs to know which kind it asks."""
