"""What labelling tools write of a page, and the entry that every label comes down to."""
