"""Rendered lines: fonts, texts, rendering, and the defects of real documents."""
