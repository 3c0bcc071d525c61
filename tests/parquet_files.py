"""Parquet files of images, in the form in which Hugging Face has data sets."""

import io
import json

import pytest
from PIL import Image

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def encoded(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def write(path, images, labels=None, names=None, image="image", label="label", **columns):
    """Write images as the package datasets does: a struct of bytes and path, the names of classes in the metadata."""
    table = {image: [{"bytes": encoded(each), "path": None} for each in images], **columns}
    if labels is not None:
        table[label] = labels
    written = pyarrow.table(table)
    features = {image: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"} if names else {}}
    written = written.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(written, path, row_group_size=3)
    return path
