"""The commands a user types: each composes a config, calls what does the work, and prints; none imports another."""
