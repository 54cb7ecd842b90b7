"""Fine-tuning that cannot hurt: own lines, general lines, the guard, and how they come together."""
