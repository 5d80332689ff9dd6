"""Checks for the ways in which a model hides from attacks, and workarounds."""
