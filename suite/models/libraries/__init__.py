"""Models of timm, torchvision, transformers and vaderSentiment."""
