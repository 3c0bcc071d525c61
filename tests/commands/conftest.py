import pytest

from gan_runner.metrics import features


@pytest.fixture(scope="module")
def judge_that_learns_little(tmp_path_factory):
    """An extractor that is the same one for all tests of a file, where none of what it says is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(features, "_FEWEST_SHOWN", 512)
        patch.setattr(features, "_MOST_SHOWN", 512)
        yield
