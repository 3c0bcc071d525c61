"""An image does not depend on the others of its batch, whatever they are and however many."""

import torch

CLOSE = 1e-5  # for a batch of another size the processor's kernels add up in another order


def hold_apart(run, batch):
    """Check that what is computed of a batch's first row is of that row alone.

    Args:
        run: a network or an export of one, [B, ...] to [B, ...].
        batch: what it takes.
    """
    with torch.no_grad():
        first = run(batch)[0]
        others = batch.clone()
        others[1:] = 50 * others[1:] + 7
        torch.testing.assert_close(run(others)[0], first, atol=0, rtol=0, msg="other images beside it")
        torch.testing.assert_close(run(batch.flip(0))[-1], first, atol=CLOSE, rtol=CLOSE, msg="another place")
        torch.testing.assert_close(run(batch[:1])[0], first, atol=CLOSE, rtol=CLOSE, msg="alone")
