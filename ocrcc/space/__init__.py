"""The feature space: characters at their features, and what is to be seen there."""
