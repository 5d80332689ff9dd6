"""Verification of stored adversarial inputs, without attack code."""
