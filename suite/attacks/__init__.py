"""Adversarial attacks, the engine and the constraints they are built on, and checks for hidden gradients."""
