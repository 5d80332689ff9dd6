"""Architectures of timm, torchvision and transformers, with local weights."""
