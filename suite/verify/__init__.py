"""Verification of stored adversarial examples, without the code of the attacks."""
