"""The client's side as the engine sees it: what serves it on a socket has all of it, with the same signatures."""

import inspect

from turnout.api.exchange import Exchange
from turnout.gateway.downstream import Downstream


def test_the_exchange_on_a_socket_is_a_downstream():
    """Every name of the protocol, property for property, argument for argument."""
    names = [name for name in vars(Downstream) if not name.startswith("_")]
    assert {"answer", "start", "write", "drain", "finish", "cut", "is_started", "is_paused"} == set(names)
    for name in names:
        wanted, got = inspect.getattr_static(Downstream, name), inspect.getattr_static(Exchange, name)
        assert isinstance(got, type(wanted)), name
        if not isinstance(wanted, property):
            assert list(inspect.signature(wanted).parameters) == list(inspect.signature(got).parameters), name
            assert inspect.iscoroutinefunction(wanted) == inspect.iscoroutinefunction(got), name
