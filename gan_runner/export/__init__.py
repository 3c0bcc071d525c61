"""Trained networks for other programs: a folder that rebuilds them, ONNX, PyTorch's own program, an offline page.

Neither Hydra nor OmegaConf nor TensorBoard is needed to load what is written here, and no run's folder.
"""

from gan_runner.export.loading import Exported, load_exported

__all__ = ["Exported", "load_exported"]
