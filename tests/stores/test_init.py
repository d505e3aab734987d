"""What stores keep."""

import msgspec

from turnout.stores import RolloutChange


def test_one_decision_seen_from_two_places_is_one_decision():
    """Whoever looked at it took another percentage for its base; everything else tells decisions apart."""
    change = RolloutChange("litellm", 25, (10,), 1.0, "anna")
    assert change.is_same_decision(msgspec.structs.replace(change, bases=(40,)))
    for other in ({"name": "x"}, {"percent": 26}, {"at": 2.0}, {"by": "carl"}):
        assert not change.is_same_decision(msgspec.structs.replace(change, **other))
