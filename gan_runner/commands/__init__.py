"""The commands: each composes a config, calls the code that does the work, and prints; none imports another."""
