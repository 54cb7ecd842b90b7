"""Pages, screenshots and PDF: found lines, read and put in order."""
