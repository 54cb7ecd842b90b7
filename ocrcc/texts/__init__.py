"""What rendered lines say."""
