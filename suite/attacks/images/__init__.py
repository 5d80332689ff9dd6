"""Attacks on images, codes and embeddings: by gradients, scores, labels, and with patches."""
