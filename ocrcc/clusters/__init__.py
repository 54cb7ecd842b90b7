"""The same work on many machines, by engines that exist: Ray."""
