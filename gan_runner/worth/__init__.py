"""How much generated images help a classifier: the arms of the comparison, their scores, and the answer.

This package has no config, no command and no GAN: `gan_runner.runs.augmenting` provides the images.
"""
