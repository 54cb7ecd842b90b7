"""One small file a command: it parses, calls one entry function and shows the result."""
