"""Adversarial robustness: one attack at every size, its checks and its measures."""
