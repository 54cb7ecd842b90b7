"""Building, taking apart, inspecting and rendering datasets."""
