"""Fonts, their glyphs, and which characters look alike in them."""
