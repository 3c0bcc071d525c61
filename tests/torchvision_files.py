"""Small files in the forms of sets that torchvision reads, with the checksums that it is to find."""

import hashlib
import pickle

import numpy as np
import torchvision

CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_cifar10(root, patch, batches, test):
    """Write CIFAR-10's files to `root`, pickled as the real ones are, and have torchvision take them for those.

    Args:
        root: the folder that `data.root` names.
        patch: pytest's `MonkeyPatch`.
        batches: five pairs of pixels uint8 [n, 3, 32, 32] and n labels.
        test: one pair.
    """
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)

    def write(name, content):
        data = pickle.dumps(content, protocol=2)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data, usedforsecurity=False).hexdigest()]

    def of(name, pixels, labels):
        return write(name, {"data": np.asarray(pixels).reshape(len(pixels), -1), "labels": list(map(int, labels))})

    known = torchvision.datasets.CIFAR10
    train_list = [of(f"data_batch_{number}", *batch) for number, batch in enumerate(batches, 1)]
    patch.setattr(known, "train_list", train_list)
    patch.setattr(known, "test_list", [of("test_batch", *test)])
    name, checksum = write("batches.meta", {"label_names": list(CIFAR_10)})
    patch.setattr(known, "meta", {"filename": name, "key": "label_names", "md5": checksum})
