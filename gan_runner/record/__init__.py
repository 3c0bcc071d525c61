"""A run's record on disk: its folder, images and event files. Nothing here runs a network."""
