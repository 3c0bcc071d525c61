"""The recipes in Keras 3 as published, where Keras is installed with a backend."""

from __future__ import annotations

import numpy as np
import torch

from gan_runner.data import ImageSet
from gan_runner.objectives.distributions import truncated_normal


class KerasScript:
    """`train_on_batch` for D, then for G through a frozen D; a call of `step` is one iteration."""

    def __init__(self, recipe: str, images: ImageSet) -> None:
        import keras
        from keras import layers

        self._noisy = recipe == "keras_dcgan"
        self._random = np.random.default_rng(0)
        pixels = images.pixels(torch.arange(len(images))).permute(0, 2, 3, 1).numpy()
        self._images = pixels.astype(np.float32) / 127.5 - 1.0

        def adam() -> keras.optimizers.Optimizer:
            return keras.optimizers.Adam(2e-4, beta_1=0.5)

        def leaky(units: list[int], dropout: float) -> list[layers.Layer]:
            stack: list[layers.Layer] = []
            for number, unit in enumerate(units):
                initial = "glorot_uniform" if number else keras.initializers.RandomNormal(stddev=0.02)
                stack += [layers.Dense(unit, kernel_initializer=initial), layers.LeakyReLU(0.2)]
                stack += [layers.Dropout(dropout)] if dropout else []
            return stack

        def up(channels: int, stride: int) -> list[layers.Layer]:
            return [
                layers.Conv2DTranspose(channels, 3, stride, padding="same"),
                layers.BatchNormalization(momentum=0.9),
                layers.ReLU(),
            ]

        def down(channels: int, stride: int) -> list[layers.Layer]:
            return [
                layers.Conv2D(channels, 3, stride, padding="same"),
                layers.LeakyReLU(0.2),
                layers.Dropout(0.4),
            ]

        if self._noisy:
            dense = [layers.Dense(12544), layers.BatchNormalization(momentum=0.9), layers.ReLU()]
            draw = [*dense, layers.Reshape((7, 7, 256)), *up(128, 2), *up(64, 2), *up(32, 1)]
            draw += [layers.Conv2DTranspose(1, 3, padding="same", activation="tanh")]
            judge = [*down(64, 2), *down(128, 2), *down(256, 2), *down(512, 1), layers.Flatten()]
        else:
            draw = [*leaky([256, 512, 1024], 0.0), layers.Dense(784, activation="tanh")]
            draw += [layers.Reshape((28, 28, 1))]
            judge = [layers.Flatten(), *leaky([1024, 512, 256], 0.3)]
        self._generator = keras.Sequential([keras.Input((100,)), *draw])
        self._discriminator = keras.Sequential(
            [keras.Input((28, 28, 1)), *judge, layers.Dense(1, activation="sigmoid")]
        )
        self._discriminator.compile(loss="binary_crossentropy", optimizer=adam())
        self._discriminator.trainable = False
        latents = keras.Input((100,))
        self._both = keras.Model(latents, self._discriminator(self._generator(latents)))
        self._both.compile(loss="binary_crossentropy", optimizer=adam())

    def step(self) -> None:
        """Train D on one joined batch, then G."""
        count = 128
        real = self._images[self._random.integers(0, len(self._images), count)]
        fake = self._generator.predict_on_batch(self._latents(count))
        targets = np.concatenate([self._targets(count, 0.7, 1.2, 0.9), self._targets(count, 0.0, 0.3, 0.0)])
        self._discriminator.trainable = True
        self._discriminator.train_on_batch(np.concatenate([real, fake]), targets)
        self._discriminator.trainable = False
        g_count = 2 * count if self._noisy else count
        self._both.train_on_batch(self._latents(g_count), self._targets(g_count, 0.7, 1.2, 1.0))

    def _latents(self, count: int) -> np.ndarray:
        if self._noisy:
            return self._truncated((count, 100), -1.0, 1.0)
        return self._random.standard_normal((count, 100), dtype=np.float32)

    def _targets(self, count: int, low: float, high: float, smooth: float) -> np.ndarray:
        if self._noisy:
            return self._truncated((count, 1), low, high)
        return np.full((count, 1), smooth, np.float32)

    def _truncated(self, shape: tuple[int, int], low: float, high: float) -> np.ndarray:
        draws = truncated_normal(shape, mean=0.0, std=1.0, low=low, high=high, device=torch.device("cpu"))
        values: np.ndarray = draws.numpy()
        return values
