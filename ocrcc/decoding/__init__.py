"""From logits to text, and from labels to frames."""
