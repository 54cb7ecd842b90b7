"""What the operations of foreign graphs do."""
