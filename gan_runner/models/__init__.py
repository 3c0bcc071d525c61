"""Generators and discriminators: one architecture family a file.

A Generator is built as `Generator(image_shape=(C, H, W), **settings)` and maps latents [B, latent_dim] to
images [B, C, H, W] in [-1, 1]. A Discriminator is built likewise and maps images to logits [B]. An image shape
that a model cannot draw is refused in its constructor with a `UserError` that says which sizes would do.
"""
