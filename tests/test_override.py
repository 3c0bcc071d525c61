import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from gan_runner.config.groups import GROUPS
from gan_runner.incidental import is_incidental
from gan_runner.override import Override, key_of, values_by_key


@pytest.mark.parametrize("sign", ["", "+", "++"])
@pytest.mark.parametrize("key", ["seed", "trainer.epochs", "hydra/launcher", "penalty@penalty.parts.r1"])
@pytest.mark.parametrize("value", ["1", "", "'a=b'", "[1,2]", "a,b"])
def test_an_override_is_split_where_hydra_splits_it_and_joins_again(sign, key, value):
    word = f"{sign}{key}={value}"
    override, hydras = Override.of(word), OverridesParser.create().parse_override(word)
    assert str(override) == word
    assert (override.sign, override.key, override.value) == (sign, key, value)
    assert hydras.get_key_element() == f"{sign}{key}"
    assert key_of(hydras.get_key_element()) == key


def test_a_removed_key_is_not_set():
    assert Override.of("~penalty").takes_away
    assert values_by_key(["a=1", "~b=2", "+c=3", "a=4", "d"]) == {"a": "4", "c": "3", "d": ""}


def test_a_checkpoint_depends_on_all_settings_of_data_but_their_place_and_loading():
    trained = [key for group in GROUPS for key in group.keys(group.trained)]
    assert not [key for key in trained if is_incidental(key)]
    assert is_incidental("logger@logger.parts.x")
    assert is_incidental("trainer.keep")
    assert not is_incidental("trainer.keeper")
    assert not is_incidental("data.limit")
