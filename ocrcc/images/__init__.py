"""Images: opened from any file, cut into lines, brought to what a recogniser takes."""
