"""How many of a data set's modes are drawn, and how evenly."""

from __future__ import annotations

import torch
from torch import Tensor


def modes(predicted: Tensor, frequencies: Tensor) -> tuple[int, float]:
    """Count modes, and measure how far their frequencies are from those of the data.

    The protocol of VEEGAN (Srivastava et al. 2017, arXiv:1705.07761, section 4.2) and PacGAN (Lin et al. 2018,
    arXiv:1712.04086, section 4.1.2) takes 26,000 images of stacked digits, whose modes are the 1,000 numbers: a
    classifier of single digits reads each channel.

    Args:
        predicted: the mode that a judge sees in each generated image, int64 [N] in [0, modes), N at least 1.
        frequencies: q, of each mode among what the data are drawn from, float64 [modes], of sum 1.

    Returns:
        How many modes at least one generated image shows, and the Kullback-Leibler divergence of the generated
        frequencies p from q, sum of p log(p / q), in nats: 0 where they are alike, infinite where something is drawn
        that the data do not know.
    """
    drawn = torch.bincount(predicted, minlength=len(frequencies)).double()
    p = drawn / drawn.sum()
    return int((drawn > 0).sum()), float((torch.xlogy(p, p) - torch.xlogy(p, frequencies)).sum())
