"""Synthesis: images generated from latents."""
