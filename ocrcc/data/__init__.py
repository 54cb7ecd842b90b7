"""Labelled line images: label files, LMDB datasets, preprocessing, batches."""
