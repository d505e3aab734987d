"""Lays what was set at run time over what config and environment say: rollout percentages. Readies the result for use.

A percentage that was set holds for as long as config and environment still say what they said then, from the same
place: its base. Once they say something else (ENABLE_LITELLM=false is something else, even where the file says 0),
somebody has decided anew, later, and that holds: the last decision wins, wherever it was made. A gateway that sees this
writes it down (`superseded`), so that the earlier change does not come back when the file is changed back.

`turnout rollout set` knows what config and environment say in its own shell, which may lack the variables that the
gateway was started with. So a gateway that sees a change being made adds its own base to it (`news`): an emergency 0
holds, whatever shell it was typed in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from turnout.config.rollouts import with_percent
from turnout.core.catalog import Rollout, Snapshot
from turnout.core.contracts import Provider
from turnout.stores import RolloutChange, StateStore

_LINE = re.compile(r":[0-9]+$")


def base_of(rollout: Rollout) -> str:
    """What config and environment say, and which of them: "10 from turnout.yaml". A moved line is no new decision."""
    return f"{rollout.percent:g} from {_LINE.sub('', rollout.origin)}"


def overlaid(configured: Snapshot, changes: Mapping[str, RolloutChange]) -> Snapshot:
    """Return `configured` with the changes that still hold. O(rollouts)."""
    snapshot = configured
    for name, change in changes.items():
        rollout = configured.rollouts.get(name)
        if rollout is not None and change.by and base_of(rollout) in change.bases:
            when = datetime.fromtimestamp(change.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            snapshot = with_percent(snapshot, name, change.percent, f"{change.by}, {when}")
    return snapshot


def news(
    configured: Snapshot, known: Mapping[str, RolloutChange], changes: Mapping[str, RolloutChange]
) -> list[RolloutChange]:
    """Return the changes made since `known`, where they were made against another base: on `configured`'s. O(rollouts)."""
    fresh = []
    for name, change in changes.items():
        rollout = configured.rollouts.get(name)
        is_new = name not in known or not change.is_same_decision(known[name])
        if rollout is not None and is_new and base_of(rollout) not in change.bases:
            fresh.append(msgspec.structs.replace(change, bases=(base_of(rollout),)))
    return fresh


def superseded(configured: Snapshot, changes: Mapping[str, RolloutChange], at: float) -> list[RolloutChange]:
    """Return what to write about changes that hold no longer: the configuration's own decision, by nobody. O(rollouts)."""
    return [
        RolloutChange(name, rollout.percent, (base_of(rollout),), at, "")
        for name, change in changes.items()
        if (rollout := configured.rollouts.get(name)) is not None and base_of(rollout) not in change.bases
    ]


def prepared(snapshot: Snapshot, providers: Mapping[str, Provider]) -> Snapshot:
    """Return `snapshot` with what each candidate's provider can compute beforehand. O(candidates)."""
    ready = {
        pair: msgspec.structs.replace(one, prepared=providers[one.account.kind].prepare(one))
        for pair, one in snapshot.candidates.items()
    }
    return msgspec.structs.replace(snapshot, candidates=ready)


def set_rollout(store: StateStore, configured: Snapshot, name: str, percent: float, *, at: float, by: str) -> None:
    """Append a change. configured: the Snapshot of config and environment alone. at: Unix seconds. by: who, in words.

    Raises ValueError on an unknown rollout or a percentage that is none, StoreError.
    """
    rollout = checked(configured, name, percent)
    store.add_rollout_change(RolloutChange(name, percent, (base_of(rollout),), at, by))


def checked(snapshot: Snapshot, name: str, percent: float) -> Rollout:
    """Return the rollout of that name. Raises ValueError if there is none, or if the percentage is none."""
    rollout = snapshot.rollouts.get(name)
    if rollout is None:
        known = ", ".join(snapshot.rollouts) or "none is configured"
        raise ValueError(f"There is no rollout named {name!r} ({known}).")
    if not 0 <= percent <= 100:
        raise ValueError(f"A percentage is between 0 and 100, not {percent:g}.")
    return rollout
