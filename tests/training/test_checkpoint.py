import copy
import functools
import operator

import pytest
import torch

from gan_runner.record.checkpoint_files import FORMAT
from gan_runner.training.checkpoint import RandomNumbers, State
from gan_runner.training.loop import train
from gan_runner.trees import leaves

CPU = torch.device("cpu")


class Weight:
    """A part of a run: one tensor, which training changes in place."""

    def __init__(self, value):
        self.value = torch.tensor([value])

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value.copy_(state["value"])


def test_a_state_has_each_component_by_its_name_and_says_what_it_is_of():
    state = State(lambda: {"classes": ["a"]}, {"d": Weight(1.0), "g": Weight(2.0)}).state_dict()
    assert state.keys() == {"format", "about", "d", "g"}
    assert (state["format"], state["about"]) == (FORMAT, {"classes": ["a"]})
    assert (state["d"]["value"].item(), state["g"]["value"].item()) == (1.0, 2.0)


def test_a_state_is_a_copy_that_training_does_not_change():
    about, weight = {"image_shape": [1, 8, 8]}, Weight(1.0)
    whole = State(lambda: about, {"d": weight})
    state = whole.state_dict()
    weight.value += 5
    about["image_shape"].append(9)
    assert state["d"]["value"].item() == 1.0
    assert state["about"] == {"image_shape": [1, 8, 8]}
    state["about"]["image_shape"].append(3)
    state["d"]["value"] += 1
    assert weight.value.item() == 6.0


def test_loading_gives_each_component_its_state_and_skips_others():
    one, other = Weight(1.0), Weight(2.0)
    state = State(dict, {"d": one, "g": other}).state_dict() | {"more": 3}
    fresh = {"g": Weight(0.0), "d": Weight(0.0)}
    State(dict, fresh).load_state_dict(copy.deepcopy(state))
    assert (fresh["d"].value.item(), fresh["g"].value.item()) == (1.0, 2.0)


def test_a_component_that_a_checkpoint_lacks_is_an_error():
    state = State(dict, {"d": Weight(1.0)}).state_dict()
    with pytest.raises(KeyError, match="g"):
        State(dict, {"d": Weight(0.0), "g": Weight(0.0)}).load_state_dict(state)


def test_random_numbers_continue_where_the_checkpoint_was_made():
    numbers = RandomNumbers(CPU)
    torch.manual_seed(3)
    torch.randn(5)
    state = copy.deepcopy(numbers.state_dict())
    expected = torch.randn(4)
    torch.manual_seed(99)
    RandomNumbers(CPU).load_state_dict(state)
    assert torch.equal(torch.randn(4), expected)
    assert state["device"] is None


def test_the_whole_state_of_a_run_consists_of_plain_values_and_tensors_and_shares_no_memory_with_it(start, tmp_path):
    run = start("trainer.ema=0.9", "trainer.iterations=3", "evaluation=off")
    for _ in range(3):
        run.play_turn()
    state = run.state_dict()
    torch.save(state, tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True).keys() == state.keys()
    before = copy.deepcopy(state["players"]["generator"]["net"])
    run.play_turn()
    assert all(torch.equal(value, before[name]) for name, value in state["players"]["generator"]["net"].items())


@pytest.mark.slow
def test_a_mapping_instead_of_a_number_is_refused_even_where_a_new_run_has_no_number_yet(start):
    """What measures nothing before the first log point has nothing to compare a checkpoint's values with."""
    run = start("trainer.iterations=6", "trainer.log_every=2", folder="saved")
    train(run, lambda: False)
    saved = run.state_dict()
    new = dict(leaves(start("trainer.iterations=6", folder="new").state_dict()))
    paths = [path for path, value in leaves(saved) if isinstance(value, int | float) and path[0] != "about"]
    paths = list({path[:-1]: path for path in paths if path not in new or path[0] == "rates"}.values())
    parts = {path[:2] for path in paths}
    assert {("log_point", "d"), ("log_point", "g"), ("watch", "last"), ("rates", "d"), ("best", "metrics")} <= parts
    for number, path in enumerate(paths):
        damaged = copy.deepcopy(saved)
        *where, last = path
        functools.reduce(operator.getitem, where, damaged)[last] = {"odd": 1}
        fresh = start("trainer.iterations=9", folder=f"fresh-{number}")
        with pytest.raises((ValueError, TypeError)):
            fresh.load_state_dict(damaged)
