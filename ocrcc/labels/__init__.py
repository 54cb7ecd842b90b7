"""Labels of every kind: which image shows which text."""
