"""Runs the gateway: puts stores, transports, engine and watchers together, starts them, reloads them, stops them.

What changes while it runs, changes here: a new config file (on SIGHUP or when the file changes; all valid or nothing
changes) and rollout percentages (set through the admin API, or by `turnout rollout set` in another process, through the
state file). Both build a new Snapshot and swap one reference; requests under way keep theirs. Reading a config takes
25 ms and more, and a state file may be locked by somebody: so this happens in threads, one at a time, not on the loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from turnout import policies, providers
from turnout.config.environment import Environment
from turnout.config.files import stamps_of
from turnout.config.load import Loaded, load
from turnout.config.rollouts import with_base_url
from turnout.core.admission import Admission
from turnout.core.catalog import Bounds, Snapshot
from turnout.core.health import Health
from turnout.core.plan import Index
from turnout.core.quota_view import QuotaView
from turnout.core.redact import Secrets, secrets_of
from turnout.core.secret import Secret
from turnout.dialects import DIALECTS
from turnout.errors import ConfigError, StoreError
from turnout.gateway.audit import Trail
from turnout.gateway.books import Books
from turnout.gateway.clearing import Clearing
from turnout.gateway.clock import Clock
from turnout.gateway.database import database_of
from turnout.gateway.engine import Engine
from turnout.gateway.exchange import Exchange
from turnout.gateway.following import Following
from turnout.gateway.keys import open_ring
from turnout.gateway.lag import LagTimer
from turnout.gateway.local_model import LocalModel
from turnout.gateway.once import Once
from turnout.gateway.overlay import news, overlaid, prepared, set_rollout, superseded
from turnout.gateway.people import People
from turnout.gateway.prompts import Prompts
from turnout.gateway.quota_saver import QuotaSaver
from turnout.gateway.recorder import Recorder
from turnout.gateway.recording import count, to_trace
from turnout.gateway.sealed_answers import SealedAnswers
from turnout.gateway.sharing import Sharing
from turnout.gateway.simulated_transport import SimulatedTransport
from turnout.gateway.tasks import Tasks
from turnout.gateway.telemetry import Telemetry
from turnout.gateway.transport import HttpTransport, Transport
from turnout.gateway.vault import Vault, check_root, root_key, root_origin
from turnout.stores import RolloutChange
from turnout.stores.sqlite import SqliteAnswerStore, SqliteStateStore, SqliteTraceStore

WATCH_S = 0.25
"""How often the config file's stamp and the state file's version are looked at. A file is read once it has stood still
from one look to the next, since many editors empty it before they write: a change holds within a second."""

LOCKED_S = 1.0
"""How long a file of ours that another process has locked is waited for, by a thread; a stop waits for that thread."""

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
        snapshot = loaded.snapshot
        home = Path(snapshot.server.home)
        self.state = SqliteStateStore(home / "state.sqlite3", locked_s=LOCKED_S)
        self.traces = SqliteTraceStore(home / "traces.sqlite3", bound=snapshot.server.trace_rows, locked_s=LOCKED_S)
        root = root_key(home, environment, clock)
        self.database = database_of(snapshot)
        self.vault = Vault(self.database, root, clock, providers.installed())
        self.ring, self.new_master_key = open_ring(self.state, clock, snapshot.server.master_key, root, renew=renew_key)
        self.telemetry = Telemetry(clock.wall())
        self.admission = Admission(snapshot.server.concurrency)
        self._lag = LagTimer(clock.now, self._on_lag)
        self.is_ready = False
        self._recorder = Recorder(self.traces, self.telemetry)
        answers = SqliteAnswerStore(home / "answers.sqlite3", locked_s=LOCKED_S)
        self.once = Once(SealedAnswers(answers, root, clock), clock)
        self._locals: dict[str, LocalModel] = {}
        self._local_urls: dict[str, str] = {}
        self._local_key = Secret(clock.token())
        self.secrets = Secrets(self.new_master_key, self._local_key.reveal())
        self._tasks = Tasks()
        self._started_with = snapshot
        self._changing = threading.RLock()
        self._is_closed = False
        self._told_to_reload = asyncio.Event()
        self._providers = providers.installed()
        self._transports: dict[str, Transport] = {}
        self._stamps = stamps_of(loaded.watched_files)
        self._state_version = self.state.version()
        self._changes = self._settled(snapshot)
        self._http = HttpTransport()
        self.books = Books(self.database, snapshot, clock, self._http)
        self.engine = self._engine(snapshot)
        self.clearing = Clearing(self.state, self.engine.cache, clock.token, self._changing)
        valkey_url = snapshot.server.valkey_url
        self.sharing = None if valkey_url is None else Sharing(valkey_url, self.engine, clock)
        self._quota_saver = QuotaSaver(self.state, self.engine.scheduler, clock, self._changing)
        self.trail = Trail(self.database, clock, self.secrets.redact)
        self.prompts = Prompts(self.database, self.trail, clock, root, lambda: self.snapshot, self.secrets.redact)
        check = partial(check_root, self.database, root, root_origin(home, environment))
        self.following = Following(self.database, self.ring, clock, self.books.give, self._read_stored_keys, check)
        self.people = People(self.database, self.trail, clock, self.ring.pepper, lambda: self.snapshot, self.following)

    @property
    def snapshot(self) -> Snapshot:
        """What new requests are served by."""
        return self.engine.index.snapshot

    @property
    def bounds(self) -> Bounds:
        """What a client may send."""
        return self.engine.index.snapshot.server.bounds

    def _engine(self, snapshot: Snapshot) -> Engine:
        return Engine(
            Index.of(self._overlaid(snapshot)),
            health=Health(snapshot.breaker),
            clock=self.clock,
            transports=self._transports,
            dialects=DIALECTS,
            providers=self._providers,
            policies=policies.installed(),
            on_begin=self._on_begin,
            on_end=self._on_end,
            accounting=self.books,
        )

    # ── life ──

    async def start(self) -> None:
        """Open the transports, start local models and watchers. Raises ConfigError if the books' keys were made with another
        root key; it or UpstreamUnreachable if a local model cannot be started.
        """
        self._transports.update(http=self._http, https=self._http, simulated=SimulatedTransport(self.clock))
        await self.database.open()
        await self.books.start()
        self.telemetry.more = (self.books.families,)
        await self.following.start()
        self.trail.config("", self.snapshot.revision)
        await self.trail.start()
        await self.prompts.start()
        await self._start_local_models()
        self._tasks.start(self._watch(), "watch config and rollouts")
        self._tasks.start(self._reload_when_told(), "reload when told")
        self._tasks.start(self._quota_saver.run(), "save what was used of quotas")
        self._lag.start()
        self.clearing.start()
        if self.sharing is not None:
            await self.sharing.start()
        self.is_ready = True

    async def stop(self) -> None:
        """Stop the watchers, write what waits, close everything. Safe to call twice."""
        self.is_ready = False
        self._lag.stop()
        await self._tasks.stop()
        await self.clearing.stop()
        await self.engine.cache.stop()
        if self.sharing is not None:
            await self.sharing.stop()
        if self._transports:  # else it was stopped before
            await self._quota_saver.save()
        await self._recorder.flush()
        await self.once.stop()
        for local in self._locals.values():
            await local.stop()
        await self.following.stop()
        await self.books.stop()
        for transport in set(self._transports.values()):
            await transport.close()
        self._transports.clear()
        await self.prompts.stop()
        await self.trail.stop()
        await self.database.close()
        await asyncio.to_thread(self._close_stores)

    def _close_stores(self) -> None:
        with self._changing:  # a thread may be in the middle of a change: its task was cancelled, it was not
            self._is_closed = True
            self.traces.close()
            self.state.close()
            self.once.store.close()

    async def _start_local_models(self) -> None:
        for name in self._local_accounts(self.snapshot):
            local = self._locals[name] = LocalModel(api_key=self._local_key)
            self._local_urls[name] = await local.start()
        if self._local_urls:
            self._install(self._loaded.snapshot)

    def _local_accounts(self, snapshot: Snapshot) -> list[str]:
        return [
            name
            for name, account in snapshot.accounts.items()
            if (account.base_url or self._providers[account.kind].base_url).startswith("local:")
        ]

    # ── what changes ──

    def _overlaid(self, snapshot: Snapshot) -> Snapshot:
        """Lay what was set at run time over what the files say: stored keys, rollout percentages, where local models listen."""
        snapshot = self.vault.overlaid(snapshot)
        self.secrets.learn(secrets_of(snapshot))
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
        self.books.install(snapshot)

    async def _read_stored_keys(self) -> None:
        """Take what was stored or forgotten since. Raises StoreError."""
        if await self.vault.load():
            await asyncio.to_thread(self._install_anew)

    def _install_anew(self) -> None:
        with self._changing:
            if not self._is_closed:
                self._install(self._loaded.snapshot)

    def reload_soon(self) -> None:
        """Read the config again, without waiting for it: for a signal. Told often meanwhile, once more is enough."""
        self._told_to_reload.set()

    async def _reload_when_told(self) -> None:
        while True:
            await self._told_to_reload.wait()
            self._told_to_reload.clear()
            await asyncio.to_thread(self.reload)

    def reload(self) -> tuple[str, ...]:
        """Read the config again. Return the problems; with any, nothing has changed. From any thread; blocks it."""
        with self._changing:
            return () if self._is_closed else self._reload()

    def _reload(self) -> tuple[str, ...]:
        self._look_for_changes()  # first: what was set just now was set under the config that is in force
        before = stamps_of(
            self._loaded.watched_files
        )  # before it is read: what is written meanwhile is a change to come
        try:
            loaded = load(self._config, self._environment, ollama=self._loaded.ollama)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("config not taken, the old one serves on: %s", problem)
            return error.problems
        was, is_now = self._loaded.snapshot.revision, loaded.snapshot.revision
        self._loaded = loaded
        self._stamps = {path: before.get(path, stamp) for path, stamp in stamps_of(loaded.watched_files).items()}
        try:
            self._changes = self._settled(loaded.snapshot)
        except StoreError as error:
            _log.error("the state file cannot be read: %s", error.message)
        self._install(loaded.snapshot)
        self.traces.bound = loaded.snapshot.server.trace_rows
        if was != is_now:
            self.trail.config(was, is_now)
            _log.warning("config revision %s in force", is_now)
            if late := self._needs_restart(loaded.snapshot):
                _log.warning("needs a restart (or `turnout serve --take-over`) to take effect: %s", ", ".join(late))
        return ()

    def _needs_restart(self, wanted: Snapshot) -> list[str]:
        """What `wanted` says otherwise than the config we started with, and only a start can do."""
        before, after = self._started_with.server, wanted.server
        names = ("host", "port", "master_key", "home")
        late = [f"server.{name}" for name in names if getattr(before, name) != getattr(after, name)]
        if before.valkey_url != after.valkey_url:
            late.append("valkey.url")
        if self._started_with.ledger.url != wanted.ledger.url:
            late.append("ledger.url")
        models = [name for name in self._local_accounts(wanted) if name not in self._local_urls]
        return late + [f"providers.{name} (a local model)" for name in models]

    def set_rollout(self, name: str, percent: float, by: str) -> None:
        """Set a rollout's percentage, now and after a restart. Raises StoreError, ValueError on an unknown name.

        From any thread; blocks it.
        """
        with self._changing:
            set_rollout(self.state, self._loaded.snapshot, name, percent, at=self.clock.wall(), by=by)
            self._changes = self.state.rollout_changes()
            self._install(self._loaded.snapshot)

    async def _watch(self) -> None:
        seen = self._stamps
        while True:
            await asyncio.sleep(WATCH_S)
            stamps = stamps_of(self._loaded.watched_files)
            if self._loaded.stale_at is not None and self.clock.wall() >= self._loaded.stale_at:
                # Once, whether or not it can be read.
                self._loaded = msgspec.structs.replace(self._loaded, stale_at=None)
                await asyncio.to_thread(self.reload)
            elif stamps == self._stamps:
                await asyncio.to_thread(self._look_for_changes)
            elif stamps == seen:
                self._stamps = stamps
                await asyncio.to_thread(self.reload)
            seen = stamps

    def _look_for_changes(self) -> None:
        """Take what another process has set since the last look."""
        with self._changing:
            try:
                version = self._state_version if self._is_closed else self.state.version()
                if version == self._state_version:
                    return
                known = self._changes
                for change in news(self._loaded.snapshot, known, self.state.rollout_changes()):
                    self.state.add_rollout_change(change)
                self._changes = self.state.rollout_changes()
                self.clearing.look()
                self._state_version = version
            except StoreError as error:
                _log.error("the state file cannot be read: %s", error.message)
            else:
                if self._changes != known:  # other facts are kept there too
                    self._install(self._loaded.snapshot)

    # ── what is told ──

    def _on_begin(self) -> None:
        self.telemetry.in_flight += 1

    def _on_end(self, exchange: Exchange) -> None:
        self.telemetry.in_flight -= 1
        count(self.telemetry, exchange)
        self._recorder.record(to_trace(exchange))
        self.prompts.record(exchange)

    def _on_lag(self, lag_s: float, elapsed_s: float) -> None:
        telemetry = self.telemetry
        telemetry.lag_s = lag_s
        telemetry.longest_lag_s = max(telemetry.longest_lag_s, lag_s)
        self.admission.resize(self.snapshot.server.concurrency)  # here, since a config is read in a thread
        self.admission.observe(lag_s, elapsed_s)

    async def flush_traces(self) -> None:
        """Write the traces that wait."""
        await self._recorder.flush()

    def quotas(self) -> list[QuotaView]:
        """Return where every quota stands."""
        return self.engine.scheduler.quotas.views(self.clock.now(), self.clock.wall())

    def metrics(self) -> bytes:
        """Return the Prometheus text."""
        telemetry = self.telemetry
        scheduler = self.engine.scheduler
        telemetry.quotas = self.quotas()
        telemetry.waiting = len(scheduler)
        telemetry.turns = {
            **{(priority, "granted"): count for priority, count in scheduler.granted.items()},
            **{(priority, "waited"): count for priority, count in scheduler.waited.items()},
            **{(priority, "refused"): count for priority, count in scheduler.exhausted.items()},
        }
        telemetry.cache = self.engine.cache.stats()
        if self.sharing is not None:
            telemetry.is_shared, telemetry.contact_losses = self.sharing.is_settled, self.sharing.link.losses
        telemetry.resting = dict(self.engine.health.resting(self.clock.now()))
        telemetry.room = self.admission.room
        telemetry.tasks = len(asyncio.all_tasks())
        text = telemetry.render(self.clock.wall())
        telemetry.longest_lag_s = telemetry.lag_s
        return text
