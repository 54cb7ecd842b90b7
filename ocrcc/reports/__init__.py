"""What an evaluation found, to look at: a page with pictures, and the images that were read wrongly."""
