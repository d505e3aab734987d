"""Decides what each request to a simulated vendor gets: `World.receive` turns a request into a script.

Any model name works unless `models` says otherwise. Time, when it matters, is an argument; chance is a function of the
seed and the request (see `chance.py`). `speed` makes the world run faster: latencies, minutes and days alike; delays in
scripts and hints on the wire are in the client's real time, already divided. Arguments of faults are real time too.
An answer is always marked as simulated (header `x-simulated: 1` and, but for tool calls, in its text).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b, sha256
from typing import Any
from urllib.parse import parse_qs

import msgspec

from turnout.core.simulation import anthropic_wire, openai_wire, refusals
from turnout.core.simulation.answers import answer
from turnout.core.simulation.asks import Ask, Kind, Unreadable, read
from turnout.core.simulation.chance import Chance
from turnout.core.simulation.draft import EVENT_STREAM, JSON, Draft, Piece
from turnout.core.simulation.faults import HUGE_EVENT, RESET_ACCEPT, TOKENS, USAGE, Fault, arg_of, number_of, work_in
from turnout.core.simulation.faults import read as read_faults
from turnout.core.simulation.profiles import DEFAULT, INSTANT, LISTED, Profile, Timing, profile_for, timing
from turnout.core.simulation.quota import FreeQuota
from turnout.core.simulation.script import Script
from turnout.core.simulation.usage_forms import forms_of
from turnout.core.simulation.witness import Dispatch, Outcome, Witness

FaultSource = Sequence[str] | Mapping[str, str] | Callable[[str], str]
"""Scripts one after another ("" for a sound answer), or one per pattern of model names, or what a function says of a model."""

_DATA_PATHS: tuple[tuple[str, Kind], ...] = (
    ("/chat/completions", "chat"),
    ("/embeddings", "embedding"),
    ("/messages", "messages"),
)
_SEEN_LIMIT = 100_000
_WILD = frozenset("*?[")


class World:
    """Every vendor behind one door. Not for threads.

    seed: the same seed and the same requests give the same answers. models: pattern of names → Profile, first fit
    counts. free_per_minute, free_per_day: attempts an account may make at free models, 0 for no limit.
    failure_rate: replaces that of every free profile. observe: see Witness.
    queue, by_model: the faults to come; tests may change them at any time. origin: the monotonic instant from which its
    minutes and days count: that of its first request, if nobody sets it before.
    """

    def __init__(
        self,
        seed: int = 1,
        models: Mapping[str, Profile] = DEFAULT,
        *,
        speed: float = 1.0,
        free_per_minute: int = 16,
        free_per_day: int = 50,
        failure_rate: float | None = None,
        faults: FaultSource = (),
        observe: Callable[[dict[str, object]], None] | None = None,
    ) -> None:
        if speed <= 0:
            raise ValueError("speed must be above 0")
        self.witness = Witness(observe)
        self.speed = speed
        self.queue: deque[str] = deque()
        self.by_model: dict[str, str] = {}
        self._choose: Callable[[str], str] = lambda _: ""
        self._seed = seed
        self._models = {
            pattern: profile
            if failure_rate is None or not profile.is_free
            else msgspec.structs.replace(profile, failure_rate=failure_rate)
            for pattern, profile in models.items()
        }
        named = tuple(pattern for pattern in models if not _WILD.intersection(pattern))
        self._listed = named or LISTED
        self._quota = FreeQuota(free_per_minute, free_per_day)
        self.origin: float | None = None
        self._seen: dict[bytes, int] = {}
        self._in_flight: dict[tuple[str, str], int] = {}
        if callable(faults):
            self._choose = faults
        elif isinstance(faults, Mapping):
            self.set_faults((), faults)
        else:
            self.set_faults(faults, {})

    @classmethod
    def instant(cls, seed: int = 1, *, faults: FaultSource = (), **more: Any) -> World:
        """A world without latency, quota or failures: for tests."""
        return cls(seed, {"*": INSTANT}, free_per_minute=0, free_per_day=0, faults=faults, **more)

    def set_faults(self, queue: Sequence[str], by_model: Mapping[str, str]) -> None:
        """Replace the faults to come. Raises ValueError if one cannot be read; then nothing has changed."""
        for text in (*queue, *by_model.values()):
            read_faults(text)
        self.queue, self.by_model = deque(queue), dict(by_model)

    def accepts(self) -> bool:
        """Count a new connection; return False if it must be reset at once (a queued reset-accept)."""
        self.witness.connections += 1
        if self.queue and self.queue[0].strip() == RESET_ACCEPT:
            self.queue.popleft()
            self.witness.refused_connections += 1
            return False
        return True

    def receive(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        now: float,
        wall: float,
        connection: int = 0,
    ) -> Script:
        """Return what this request gets, and write it down.

        path: as sent, with its query; any prefix before /chat/completions and so on is accepted. headers: names in lower
        case. now: monotonic seconds; wall: Unix seconds. connection: the executor's number for it. Never raises. O(body).
        """
        where, _, query = path.partition("?")
        where = where.rstrip("/")
        kind = next((kind for end, kind in _DATA_PATHS if where.endswith(end)), None)
        if kind is None or method != "POST":
            return self._aside(method, where, query, body, wall)
        dispatch = Dispatch(
            number=self.witness.count + 1,
            received_at=now,
            received_wall=wall,
            connection=connection,
            method=method,
            path=path,
            headers=tuple(headers),
            body=body,
            body_bytes=len(body),
            body_sha256=sha256(body).hexdigest(),
            request_id="",
        )
        dispatch.request_id = dispatch.header("x-request-id")
        secret = dispatch.header("authorization") or dispatch.header("x-api-key")
        dispatch.account = blake2b(secret.encode(), digest_size=6).hexdigest() if secret else ""
        draft = self._dispatch(kind, dispatch)
        dispatch.status = draft.status if draft.has_head else 0
        self.witness.received(dispatch)
        key = (dispatch.account, dispatch.model)
        self._in_flight[key] = self._in_flight.get(key, 0) + 1
        return Script(draft.steps(), dispatch)

    def ended(self, dispatch: Dispatch, outcome: Outcome, now: float) -> None:
        """The executor says how a dispatch ended; only the first time counts."""
        if self.witness.ended(dispatch, outcome, now):
            key = (dispatch.account, dispatch.model)
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]

    # ── a model call ──

    def _dispatch(self, kind: Kind, dispatch: Dispatch) -> Draft:
        chance = self._chance(kind, dispatch.body)
        draft = Draft(
            "messages" if kind == "messages" else "chat",
            is_stream=False,
            status=200,
            headers=[("content-type", JSON), ("x-simulated", "1"), ("x-request-id", f"sim-{chance.name}")],
            pieces=[],
            wall=dispatch.received_wall,
        )
        ask = read(kind, dispatch.body)
        if isinstance(ask, Unreadable):
            _refuse(draft, 400, refusals.body(draft.dialect, 400, ask.message, param=ask.param))
            return draft
        dispatch.model, dispatch.stream, dispatch.input_tokens = ask.model, ask.stream, ask.input_tokens
        try:
            script = self._fault_for(dispatch)
        except ValueError as error:
            _refuse(draft, 400, refusals.body(draft.dialect, 400, f"x-fault: {error}", param="x-fault"))
            return draft
        profile = profile_for(self._models, ask.model)
        if profile is None:
            _refuse(
                draft, 404, refusals.body(draft.dialect, 404, f"The model '{ask.model}' does not exist (simulated).")
            )
            return draft
        if not self._refused(draft, ask, dispatch, profile, chance, is_scripted=bool(script)):
            self._answer(draft, ask, dispatch, profile, chance, script)
        usual_s = draft.head_delay_s
        work_in(draft, script)
        if draft.status >= 300:
            refusal_s = chance.around("refusal", profile.refusal_s, profile.spread) / self.speed
            draft.head_delay_s += refusal_s - usual_s
        return draft

    def _fault_for(self, dispatch: Dispatch) -> tuple[Fault, ...]:
        """Return the script for this request: its own header's, else its model's, else the function's, else the next."""
        own = dispatch.header("x-fault")
        of_model = next((text for name, text in self.by_model.items() if fnmatchcase(dispatch.model, name)), "")
        text = own or of_model or self._choose(dispatch.model) or (self.queue.popleft() if self.queue else "")
        script = read_faults(text)
        dispatch.fault = text
        return script

    def _refused(
        self, draft: Draft, ask: Ask, dispatch: Dispatch, profile: Profile, chance: Chance, *, is_scripted: bool
    ) -> bool:
        """Refuse for reasons of the vendor's own. A scripted fault takes their place, but its attempt counts."""
        at_s = self._world_s(dispatch.received_at)
        over = self._quota.charge(dispatch.account, at_s) if profile.is_free else None
        if is_scripted:
            return False
        if over is not None:
            reset_at = dispatch.received_wall + over.reset_in_s / self.speed
            headers, body = refusals.over_quota(over.window, over.limit, reset_at)
            _refuse(draft, 429, body, headers)
        elif profile.concurrency and self._in_flight.get((dispatch.account, ask.model), 0) >= profile.concurrency:
            _refuse(draft, 429, refusals.busy(ask.model))
        elif profile.context_tokens and ask.input_tokens > profile.context_tokens:
            _refuse(draft, 400, refusals.overflow(draft.dialect, ask.input_tokens, profile.context_tokens))
        elif chance.draw("failure") < profile.failure_rate:
            _refuse(draft, 429, refusals.busy(ask.model))
        return draft.status != 200

    def _answer(
        self, draft: Draft, ask: Ask, dispatch: Dispatch, profile: Profile, chance: Chance, script: Sequence[Fault]
    ) -> None:
        """Write the answer into the draft, with the times at which its pieces come."""
        form = arg_of(script, USAGE)
        if ask.kind == "embedding":
            counts = {"prompt_tokens": ask.input_tokens, "total_tokens": ask.input_tokens}
            body = openai_wire.embeddings(ask, forms_of(form, counts))
            draft.pieces = [Piece(body, "whole", is_usage=form != "absent")]
            draft.head_delay_s = timing(profile, "", 0, chance).first_s / self.speed
            return
        said = answer(
            ask,
            chance,
            most_tokens=profile.max_output_tokens,
            exactly_tokens=number_of(script, TOKENS),
            huge_bytes=number_of(script, HUGE_EVENT),
        )
        dispatch.output_tokens = said.tokens
        given, made = ask.input_tokens, said.tokens
        created = int(dispatch.received_wall)
        pace = timing(profile, said.kind, made, chance)
        if ask.kind == "messages":
            usages = forms_of(form, {"input_tokens": given, "output_tokens": made})
            if ask.stream:
                draft.pieces = anthropic_wire.stream(ask, said, chance.name, usages)
            else:
                body = anthropic_wire.whole(ask, said, chance.name, usages)
        else:
            counts = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
            usages = forms_of(form, counts)
            if ask.stream:
                comments = profile.has_comments
                draft.pieces = openai_wire.stream(ask, said, chance.name, created, usages, has_comments=comments)
            else:
                body = openai_wire.whole(ask, said, chance.name, created, usages)
        if ask.stream:
            draft.is_stream = True
            draft.header("content-type", EVENT_STREAM)
            draft.header("cache-control", "no-cache")
            _pace(draft, pace, self.speed)
        else:
            draft.pieces = [Piece(body, "whole", tokens=made, is_usage=bool(usages))]
            draft.head_delay_s = (pace.first_s + pace.per_token_s * max(made - 1, 0)) / self.speed

    def _chance(self, kind: Kind, body: bytes) -> Chance:
        digest = blake2b(kind.encode() + b"\0" + body, digest_size=16).digest()
        if len(self._seen) >= _SEEN_LIMIT:
            self._seen.clear()
        self._seen[digest] = occurrence = self._seen.get(digest, 0) + 1
        return Chance(self._seed, digest, occurrence)

    def _world_s(self, now: float) -> float:
        """World seconds since its minutes and days began to count."""
        if self.origin is None:
            self.origin = now
        return (now - self.origin) * self.speed

    # ── what is not a model call ──

    def _aside(self, method: str, where: str, query: str, body: bytes, wall: float) -> Script:
        draft = Draft("chat", False, 200, [("content-type", JSON), ("x-simulated", "1")], [], wall)
        _, models, name = where.partition("/models/")
        if method == "GET" and where.endswith("/health"):
            _refuse(draft, 200, msgspec.json.encode({"status": "ok", "simulated": True}))
        elif method == "GET" and where.endswith("/models"):
            _refuse(draft, 200, openai_wire.models(self._listed, int(wall)))
        elif method == "GET" and models and profile_for(self._models, name):
            _refuse(draft, 200, openai_wire.model(name, int(wall)))
        elif method == "GET" and where == "/witness":
            _refuse(draft, 200, self._book(query))
        elif method == "PUT" and where == "/faults":
            self._set_faults(draft, body)
        else:
            _refuse(draft, 404, refusals.body("chat", 404, f"Unknown request (simulated): {method} {where or '/'}"))
        return Script(draft.steps())

    def _book(self, query: str) -> bytes:
        """Return the witness's book as JSON; with `?find=TEXT` the numbers of the dispatches that held it."""
        canary = parse_qs(query).get("find")
        return msgspec.json.encode(
            {"found": self.witness.find(canary[0].encode())} if canary else self.witness.summary()
        )

    def _set_faults(self, draft: Draft, body: bytes) -> None:
        """Replace the faults to come by `{"queue": [...], "by_model": {...}}`; all valid or nothing changes."""
        try:
            wanted = msgspec.json.decode(body, type=_Faults)
            self.set_faults(wanted.queue, wanted.by_model)
        except (msgspec.MsgspecError, ValueError) as error:
            _refuse(draft, 400, refusals.body("chat", 400, str(error)))
            return
        _refuse(draft, 200, msgspec.json.encode({"queue": list(self.queue), "by_model": self.by_model}))


class _Faults(msgspec.Struct):
    queue: list[str] = []
    by_model: dict[str, str] = {}


def _refuse(draft: Draft, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
    """Answer with this status and body in place of anything else (200 for the world's own pages)."""
    draft.status, draft.pieces = status, [Piece(body, "whole")]
    draft.headers.extend(headers)


def _pace(draft: Draft, pace: Timing, speed: float) -> None:
    """Give each piece its time: the head after a quarter of the wait for the first token, tokens evenly after it."""
    first_s, each_s = pace.first_s / speed, pace.per_token_s / speed
    draft.head_delay_s = first_s / 4
    opened = next(place for place, piece in enumerate(draft.pieces) if piece.role == "open")
    timed: list[Piece] = []
    contents = 0
    for place, piece in enumerate(draft.pieces):
        delay_s = first_s * 3 / 4 if place == opened else each_s if piece.role == "content" and contents else 0.0
        contents += piece.role == "content"
        timed.append(msgspec.structs.replace(piece, delay_s=delay_s) if delay_s else piece)
    draft.pieces = timed
