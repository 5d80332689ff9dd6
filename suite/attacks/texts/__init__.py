"""Attacks on texts by edits of words and characters."""
