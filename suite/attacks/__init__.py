"""Attacks: values that raise a loss inside a constraint, and the gate that checks what they return."""
