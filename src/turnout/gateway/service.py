"""Runs the gateway: puts stores, transports, engine and watchers together, starts them, reloads them, stops them.

What changes while it runs, changes here: a new config file (on SIGHUP or when the file changes; all valid or nothing
changes) and rollout percentages (set through the admin API, or by `turnout rollout set` in another process, through the
state file). Both build a new Snapshot and swap one reference; requests under way keep theirs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from turnout import policies, providers
from turnout.config.environment import Environment
from turnout.config.load import Loaded, load
from turnout.config.rollouts import with_base_url
from turnout.core.catalog import Bounds, Secret, Snapshot
from turnout.core.health import Health
from turnout.core.plan import Index
from turnout.dialects import DIALECTS
from turnout.errors import ConfigError, StoreError
from turnout.gateway.clock import Clock
from turnout.gateway.engine import Engine
from turnout.gateway.exchange import Exchange
from turnout.gateway.keys import open_ring
from turnout.gateway.local_model import LocalModel
from turnout.gateway.overlay import news, overlaid, prepared, set_rollout, superseded
from turnout.gateway.recorder import Recorder
from turnout.gateway.recording import count, to_trace
from turnout.gateway.simulated_transport import SimulatedTransport
from turnout.gateway.tasks import Tasks
from turnout.gateway.telemetry import Telemetry
from turnout.gateway.transport import HttpTransport, Transport
from turnout.stores import RolloutChange
from turnout.stores.sqlite import SqliteStateStore, SqliteTraceStore

WATCH_S = 0.25
"""How often the config file's stamp and the state file's version are looked at. A file is read once it has stood still
from one look to the next, since many editors empty it before they write: a change holds within a second."""

_log = logging.getLogger("turnout.service")


class Service:
    """One running gateway. `start` before the first request, `stop` after the last."""

    def __init__(
        self, loaded: Loaded, environment: Environment, clock: Clock, *, config: Path | None, renew_key: bool = False
    ) -> None:
        """Open the stores and make the engine. Raises StoreError."""
        self.clock = clock
        self._environment = environment
        self._config = config
        self._loaded = loaded
        home = Path(loaded.snapshot.server.home)
        self.state = SqliteStateStore(home / "state.sqlite3")
        self.traces = SqliteTraceStore(home / "traces.sqlite3", bound=loaded.snapshot.server.trace_rows)
        self.ring, self.new_master_key = open_ring(
            self.state, clock, loaded.snapshot.server.master_key, renew=renew_key
        )
        self.telemetry = Telemetry(clock.wall())
        self.is_ready = False
        self._recorder = Recorder(self.traces, self.telemetry)
        self._locals: dict[str, LocalModel] = {}
        self._local_key = Secret(clock.token())
        self._local_urls: dict[str, str] = {}
        self._tasks = Tasks()
        self._providers = providers.installed()
        self._transports: dict[str, Transport] = {}
        self._stamps = _stamps(loaded.watched_files)
        self._state_version = self.state.version()
        self._changes = self._settled(loaded.snapshot)
        self.engine = Engine(
            Index.of(self._overlaid(loaded.snapshot)),
            health=Health(loaded.snapshot.breaker),
            clock=clock,
            transports=self._transports,
            dialects=DIALECTS,
            providers=self._providers,
            policies=policies.installed(),
            on_begin=self._on_begin,
            on_end=self._on_end,
        )

    @property
    def snapshot(self) -> Snapshot:
        """What new requests are served by."""
        return self.engine.index.snapshot

    @property
    def bounds(self) -> Bounds:
        """What a client may send."""
        return self.engine.index.snapshot.server.bounds

    # ── life ──

    async def start(self) -> None:
        """Open the transports, start local models and watchers. Raises ConfigError or UpstreamUnreachable if a local
        model cannot be started.
        """
        http = HttpTransport()
        self._transports.update(http=http, https=http, simulated=SimulatedTransport(self.clock))
        await self._start_local_models()
        self._tasks.start(self._watch(), "watch config and rollouts")
        self.is_ready = True

    async def stop(self) -> None:
        """Stop the watchers, write what waits, close everything. Safe to call twice."""
        self.is_ready = False
        await self._tasks.stop()
        await self._recorder.flush()
        for local in self._locals.values():
            await local.stop()
        for transport in set(self._transports.values()):
            await transport.close()
        self._transports.clear()
        self.traces.close()
        self.state.close()

    async def _start_local_models(self) -> None:
        for name, account in self.snapshot.accounts.items():
            if (account.base_url or self._providers[account.kind].base_url).startswith("local:"):
                local = self._locals[name] = LocalModel(api_key=self._local_key)
                self._local_urls[name] = await local.start()
        if self._local_urls:
            self._install(self._loaded.snapshot)

    # ── what changes ──

    def _overlaid(self, snapshot: Snapshot) -> Snapshot:
        """Lay what was set at run time over what the files say: rollout percentages, and where local models listen."""
        snapshot = overlaid(snapshot, self._changes)
        for name, url in self._local_urls.items():
            if name in snapshot.accounts:
                snapshot = with_base_url(snapshot, name, url, self._local_key)
        return prepared(snapshot, self._providers)

    def _settled(self, configured: Snapshot) -> Mapping[str, RolloutChange]:
        """Return the newest change of each rollout, after noting which the configuration has overruled since."""
        for change in superseded(configured, self.state.rollout_changes(), self.clock.wall()):
            self.state.add_rollout_change(change)
        return self.state.rollout_changes()

    def _install(self, snapshot: Snapshot) -> None:
        self.engine.install(Index.of(self._overlaid(snapshot)))

    def reload(self) -> tuple[str, ...]:
        """Read the config again. Return the problems; with any, nothing has changed."""
        self._look_for_changes()  # first: what was set just now was set under the config that is in force
        before = _stamps(self._loaded.watched_files)  # before it is read: what is written meanwhile is a change to come
        try:
            loaded = load(self._config, self._environment, ollama=self._loaded.ollama)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("config not taken, the old one serves on: %s", problem)
            return error.problems
        changed = loaded.snapshot.revision != self._loaded.snapshot.revision
        self._loaded = loaded
        self._stamps = {path: before.get(path, stamp) for path, stamp in _stamps(loaded.watched_files).items()}
        try:
            self._changes = self._settled(loaded.snapshot)
        except StoreError as error:
            _log.error("the state file cannot be read: %s", error.message)
        self._install(loaded.snapshot)
        if changed:
            _log.warning("config revision %s in force", loaded.snapshot.revision)
        return ()

    def set_rollout(self, name: str, percent: float, by: str) -> None:
        """Set a rollout's percentage, now and after a restart. Raises StoreError, ValueError on an unknown name."""
        set_rollout(self.state, self._loaded.snapshot, name, percent, at=self.clock.wall(), by=by)
        self._changes = self.state.rollout_changes()
        self._install(self._loaded.snapshot)

    async def _watch(self) -> None:
        seen = self._stamps
        while True:
            await asyncio.sleep(WATCH_S)
            stamps = _stamps(self._loaded.watched_files)
            if stamps == self._stamps:
                self._look_for_changes()
            elif stamps == seen:
                self._stamps = stamps
                self.reload()
            seen = stamps

    def _look_for_changes(self) -> None:
        """Take what another process has set since the last look."""
        try:
            version = self.state.version()
            if version == self._state_version:
                return
            for change in news(self._loaded.snapshot, self._changes, self.state.rollout_changes()):
                self.state.add_rollout_change(change)
            self._changes = self.state.rollout_changes()
            self._state_version = version
        except StoreError as error:
            _log.error("the state file cannot be read: %s", error.message)
        else:
            self._install(self._loaded.snapshot)

    # ── what is told ──

    def _on_begin(self) -> None:
        self.telemetry.in_flight += 1

    def _on_end(self, exchange: Exchange) -> None:
        self.telemetry.in_flight -= 1
        count(self.telemetry, exchange)
        self._recorder.record(to_trace(exchange))

    async def flush_traces(self) -> None:
        """Write the traces that wait."""
        await self._recorder.flush()

    def metrics(self) -> bytes:
        """Return the Prometheus text."""
        self.telemetry.resting = dict(self.engine.health.resting(self.clock.now()))
        return self.telemetry.render(self.clock.wall())


def _stamps(paths: Iterable[Path]) -> Mapping[Path, tuple[int, int, int]]:
    """Return what tells one state of these files from another: inode, size, time of change."""
    stamps = {}
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            stamps[path] = (0, 0, 0)
        else:
            stamps[path] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return stamps
