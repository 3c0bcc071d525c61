"""What generated images are worth to a classifier: what each arm of the comparison learns, and what follows from that.

No config, no command and no GAN: `gan_runner.runs.augmenting` brings the images.
"""
