"""``python -m ocrcc``, and ``accelerate launch -m ocrcc`` for training on many devices."""

from ocrcc.cli import main

main()
