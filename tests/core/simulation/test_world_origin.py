"""Where the simulated world's minutes and days begin."""

import msgspec
import pytest

from turnout.core.simulation.profiles import Profile
from turnout.core.simulation.script import Head
from turnout.core.simulation.world import World

BODY = msgspec.json.encode({"model": "m:free", "messages": [{"role": "user", "content": "Hej"}]})


@pytest.mark.parametrize(("origin", "statuses"), [(0.0, [200, 429, 200]), (None, [200, 429, 429])])
def test_minutes_count_from_where_they_are_told_to(origin: float | None, statuses: list[int]) -> None:
    """Else from the first request: then a minute that begins with it is not over ten seconds later."""
    world = World(1, {"*": Profile(is_free=True)}, free_per_minute=1, free_per_day=0)
    world.origin = origin
    scripts = [
        world.receive("POST", "/v1/chat/completions", [], BODY, now=now, wall=1.8e9) for now in (50.0, 59.9, 60.0)
    ]
    heads = [step.action for script in scripts for step in script.steps if isinstance(step.action, Head)]
    assert statuses == [head.status for head in heads]
