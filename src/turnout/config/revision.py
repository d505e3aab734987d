"""Names a configuration by its content: two equal ones have equal revisions, whatever file or order they came from.

Where values came from does not count, nor where a machine keeps its state; what the values are does. A secret counts by 16 bits of its hash: enough to notice that
a key was changed, too little to confirm a guess at one.
"""

from __future__ import annotations

import hashlib

import msgspec

from turnout.core.catalog import Snapshot
from turnout.core.secret import Secret


def revision_of(snapshot: Snapshot) -> str:
    """Twelve hexadecimal digits. About 1 ms for the shipped config."""
    rollouts = {name: msgspec.structs.replace(one, origin="") for name, one in snapshot.rollouts.items()}
    # Candidates follow from models, accounts and rollouts.
    server = msgspec.structs.replace(snapshot.server, home="")
    content = msgspec.structs.replace(
        snapshot, revision="", server=server, origins={}, candidates={}, rollouts=rollouts, list_prices={}
    )
    data = msgspec.json.encode(content, enc_hook=_plain, order="deterministic")
    return hashlib.blake2b(data, digest_size=6, person=b"turnout-revision").hexdigest()


def _plain(value: object) -> object:
    """What the encoder does not know by itself."""
    if isinstance(value, Secret):
        return hashlib.blake2b(value.reveal().encode("utf-8", "surrogatepass"), digest_size=2).hexdigest()
    raise NotImplementedError(type(value).__name__)
