import copy
from pathlib import Path

import pytest
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture(scope="module")
def config_with(compose_config, request):
    """The config that the test file's SMALL composes, composed once, with other choices and settings."""
    composed = compose_config(*request.module.SMALL)

    def changed(*overrides):
        config = copy.deepcopy(composed)
        for key, value in (override.split("=") for override in overrides):
            if "." in key:
                OmegaConf.update(config, key, OmegaConf.from_dotlist([f"value={value}"]).value)
            else:
                shared = OmegaConf.load(CONF / "config.yaml").get(key, {})
                config[key] = OmegaConf.merge(shared, OmegaConf.load(CONF / key / f"{value}.yaml"))
        return config

    return changed
