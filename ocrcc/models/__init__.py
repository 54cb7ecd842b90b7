"""Recognisers: the registry, backbones cut from timm, encoders, and model files."""
