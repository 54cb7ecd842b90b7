"""Teaching a model how far to trust itself, and keeping that in its file."""
