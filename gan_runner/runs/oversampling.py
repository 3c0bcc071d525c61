"""Generated images for scarce classes as a sampler of imbalanced-learn, for pipelines and cross-validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gan_runner.errors import UserError
from gan_runner.export.loading import Exported
from gan_runner.record.loggers import require
from gan_runner.runs.loading import load
from gan_runner.runs.saved import SavedRun

require("imblearn", "imbalanced", "gan_runner.GanSampler")

from imblearn.over_sampling.base import BaseOverSampler  # noqa: E402
from sklearn.utils import check_random_state  # noqa: E402


class GanSampler(BaseOverSampler):  # type: ignore[misc]
    """An over-sampler with imbalanced-learn's interface that adds generated images to the classes with too few.

    Train the run on exactly the images that are resampled. A run that was trained on test images, or on those of
    another fold, makes scores look better than they are.

    Args:
        run: a run by class (game=conditional) or an exported one: its folder, or what `gan_runner.load` gives.
        sampling_strategy: as in every over-sampler of imbalanced-learn: "auto" makes all classes as large as the
            largest; {class: final count}; a ratio for two classes; a function of y.
        random_state: seed of the latents.
        scale: factor for pixels from 0 to 255, such as 1 / 255 for X in [0, 1].

    Attributes:
        sampling_strategy_: how many images of each class `fit_resample` has added.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseOverSampler._parameter_constraints,
        "run": "no_validation",
        "scale": "no_validation",
    }

    def __init__(
        self,
        run: str | Path | SavedRun | Exported,
        *,
        sampling_strategy: Any = "auto",
        random_state: Any = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.run = run
        self.random_state = random_state
        self.scale = scale

    def fit_resample(self, X: Any, y: Any, **params: Any) -> tuple[Any, Any]:  # noqa: N803
        """Append generated images to the real ones.

        Args:
            X: images, [N, H, W, C], or [N, H * W * C] as in scikit-learn.
            y: the class of each image, [N]: names, or numbers from 0 if any of them is not a name.
            **params: none are known.

        Returns:
            X and y with the generated images at the end, in the same shape and type.

        Raises:
            UserError: the generator draws images of another shape, or not by class, or there is no such class.
        """
        shape = np.shape(X)
        if len(shape) != 4:
            return super().fit_resample(X, y, **params)  # type: ignore[no-any-return]
        resampled, classes = super().fit_resample(np.reshape(X, (len(X), -1)), y, **params)
        return np.reshape(resampled, (-1, *shape[1:])), classes

    def _fit_resample(self, X: Any, y: Any, **params: Any) -> tuple[Any, Any]:  # noqa: N803
        """See `BaseOverSampler`; X is [N, features]."""
        run = load(self.run) if isinstance(self.run, str | Path) else self.run
        seed = int(check_random_state(self.random_state).randint(2**31))
        images, classes = [X], [y]
        names = _names(np.unique(y), run)
        for each, count in self.sampling_strategy_.items():
            if not count:
                continue
            drawn = np.asarray(run.sample(int(count), seed, classes=[names[each]]))
            if drawn[0].size != X.shape[1]:
                raise UserError(
                    f"X has {X.shape[1]} pixels an image, but the run draws {' x '.join(map(str, drawn.shape[1:]))}.",
                    "Give images of the size and channels that the run was trained on.",
                )
            images.append((drawn.reshape(len(drawn), -1) * self.scale).astype(X.dtype))
            classes.append(np.full(len(drawn), each, dtype=y.dtype))
        return np.concatenate(images), np.concatenate(classes)


def _names(classes: Any, run: SavedRun | Exported) -> dict[Any, str]:
    """The run's name of each class of y, which are all names, or all numbers from 0 if any of them is not a name.

    Deciding for each class alone would be wrong for a run with classes called 1 to 10: of the numbers 0 to 9, all but 0
    are also names.
    """
    known = run.sample(1).classes
    names = {each: str(each) for each in classes.tolist()}
    if not set(names.values()) <= set(known):
        numbers = {each: int(name) for each, name in names.items() if name.isdecimal() and int(name) < len(known)}
        names |= {each: known[number] for each, number in numbers.items()}
    return names
