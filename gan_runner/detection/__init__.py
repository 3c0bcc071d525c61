"""Detectors of generated images: what they are trained on, how they are scored, and what could mislead them.

Runs and their networks are not known here: a detector sees images, and gives each a score.
"""
