"""Guarded fine-tuning: own lines, general lines, the guard, and how they come together."""
