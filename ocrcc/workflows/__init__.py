"""One module a command: plain functions that take a config, return a result and print nothing."""
