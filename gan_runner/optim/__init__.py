"""How weights move: optimizers, learning rates over a run, averages of weights."""
