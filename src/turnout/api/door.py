"""Turns away whom there is no room for, in the turn of the loop in which the request came.

A task of its own would begin a turn later, and turns are long where there is no room (docs/adr/0012-overload.md). Whoever is
let in is asked again at their place in api/data.py.
"""

from __future__ import annotations

from turnout.api.auth import address_of, authenticate
from turnout.api.data import DIALECT_OF, caller_of
from turnout.api.exchange import Exchange
from turnout.api.shedding import shed
from turnout.errors import GatewayError
from turnout.gateway.service import Service


class Door:
    """Looked at before a request for a model begins."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def is_shut(self) -> bool:
        """Whether it matters who asks."""
        return self._service.admission.is_full

    def turns_away(self, exchange: Exchange) -> bool:
        """Refuse a request there is no room for. False: it is to be served, or refused for another reason."""
        service, headers = self._service, exchange.headers
        if exchange.scope["path"] not in DIALECT_OF or exchange.scope["method"] != "POST":
            return False
        try:
            caller = caller_of(authenticate(headers, service.ring, address_of(exchange.scope)), headers)
        except GatewayError:
            return False
        reason = service.admission.enter(caller)
        if reason is None:
            service.admission.leave(caller)
            return False
        shed(exchange, headers, reason, service.clock.request_id(), service.telemetry)
        return True
