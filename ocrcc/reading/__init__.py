"""A recogniser on line images: engines, looks, results."""
