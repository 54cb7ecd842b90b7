"""People mend what was read: the doubtful characters, worst first, on a local page; decisions become labels."""
