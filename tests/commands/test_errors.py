import pickle

from gan_runner.errors import UserError, mark_as_told, was_told


def test_a_mistake_reported_in_one_process_is_not_reported_again_in_another():
    error = UserError("seed is -1.", "Try seed=0.")
    assert not was_told(pickle.loads(pickle.dumps(error)))
    mark_as_told(error)
    handed_on = pickle.loads(pickle.dumps(error))
    assert was_told(handed_on)
    assert (str(handed_on), handed_on.problem, handed_on.remedy) == (str(error), "seed is -1.", "Try seed=0.")
