"""How good the images are: one class a metric, and when they are all measured.

A metric sees images and nothing of a run. What the real images give is computed once and kept.
"""

from gan_runner.metrics.evaluation import Evaluation, Metric, NoEvaluation, RealImages

__all__ = ["Evaluation", "Metric", "NoEvaluation", "RealImages"]
