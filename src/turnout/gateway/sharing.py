"""Joins a gateway to the others that share its Valkey: what they may use together, and what they know already.

Made when `valkey.url` is set. Without it everything of this is one `None`, and costs nothing.
"""

from __future__ import annotations

from turnout.core.secret import Secret
from turnout.gateway.clock import Clock
from turnout.gateway.engine import Engine
from turnout.gateway.shared_cache import ValkeyLevel
from turnout.gateway.shared_quotas import SharedQuotas
from turnout.gateway.valkey_link import ValkeyLink
from turnout.stores.valkey import Valkey


class Sharing:
    """One gateway's part in what is shared. Raises ConfigError if the client library is missing or `url` cannot be read.

    link: contact with the store, for the metrics. A gateway shares from its start to its stop; requests need no contact.
    """

    def __init__(self, url: Secret, engine: Engine, clock: Clock) -> None:
        self.link = ValkeyLink(Valkey(url.reveal()), clock)
        self._quotas = SharedQuotas(engine.index.snapshot.quotas, self.link, clock)
        engine.scheduler.share(self._quotas)
        engine.cache.level = ValkeyLevel(self.link)

    @property
    def is_settled(self) -> bool:
        """Whether there is contact, and everything that is shared is used."""
        return self._quotas.is_settled

    async def start(self) -> None:
        """Seek contact; half a second at most, and it need not be found."""
        await self.link.start()

    async def stop(self) -> None:
        """Leave to the others what we held, and end the contact. Safe to call twice."""
        await self._quotas.leave()
        await self.link.stop()
