"""What is left on disk: a run's folder, pictures, event files. Nothing here computes on a network."""
