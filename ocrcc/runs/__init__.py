"""What a run leaves on disk: its folder, its figures, and what it was trained on."""
