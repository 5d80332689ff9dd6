"""Attacks on texts: edits of words and characters."""
