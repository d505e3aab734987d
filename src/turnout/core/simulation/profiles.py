"""Says how a simulated model behaves: how slow, how long-winded, how often it refuses.

A profile is found by the model's name (the first pattern that fits, `*` and `?` as in a shell). All times are world
seconds: the world divides them by its speed. The figures of the free tier are those that Friday measured (FACTS §3).
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType

import msgspec

from turnout.core.simulation.chance import Chance


class Profile(msgspec.Struct, frozen=True):
    """The behaviour of the models that a pattern fits. The default answers at once and never fails.

    first_token_s, per_token_s: medians. total_s: median of the whole answer by its kind (chat, email, analysis, plan,
    code); where it is given it rules, 40 % of it before the first token. spread: log-normal sigma.
    refusal_s: median time to a refusal. failure_rate: share of requests refused with 429 as by a busy host.
    is_free: counts against the account's free allowance. concurrency: at once per account, 0 for no limit.
    context_tokens, max_output_tokens: 0 for no limit. has_comments: `: OPENROUTER PROCESSING` before the first token.
    """

    first_token_s: float = 0.0
    per_token_s: float = 0.0
    total_s: Mapping[str, float] = {}
    spread: float = 0.0
    refusal_s: float = 0.0
    failure_rate: float = 0.0
    is_free: bool = False
    concurrency: int = 0
    context_tokens: int = 0
    max_output_tokens: int = 0
    has_comments: bool = False


class Timing(msgspec.Struct, frozen=True):
    """World seconds to the first token, and from each token to the next."""

    first_s: float
    per_token_s: float


INSTANT = Profile()

FREE = Profile(
    first_token_s=1.4,
    per_token_s=0.03,
    total_s={"chat": 3.2, "email": 4.6, "code": 7.0, "analysis": 7.0, "plan": 7.0},
    spread=0.35,
    refusal_s=0.25,
    failure_rate=0.08,
    is_free=True,
    has_comments=True,
)

PAID = Profile(first_token_s=0.6, per_token_s=0.012, spread=0.25, refusal_s=0.15)

EMBEDDING = Profile(first_token_s=0.15, spread=0.25, refusal_s=0.1)

DEFAULT: Mapping[str, Profile] = MappingProxyType({"*:free": FREE, "*embedding*": EMBEDDING, "*": PAID})

LISTED = (
    "z-ai/glm-4.5-air:free",
    "openai/gpt-oss-20b:free",
    "deepseek/deepseek-chat-v3.1:free",
    "minimax/minimax-m2:free",
    "moonshotai/kimi-k2:free",
    "qwen/qwen3-coder:free",
    "google/gemma-3-27b-it:free",
    "meta-llama/llama-3.1-70b-instruct",
    "gpt-4o",
    "gpt-4o-mini",
    "claude-3-haiku",
    "text-embedding-3-small",
    "text-embedding-3-large",
)
"""What `GET /v1/models` tells (FACTS §2); any other name that fits a pattern works too."""

FIRST_SHARE = 0.4
"""Of a total, the part before the first token: about what hosted models of 20 to 300 B show at these lengths."""


def profile_for(models: Mapping[str, Profile], name: str) -> Profile | None:
    """Return the profile of the first pattern that fits `name`, None if none does. O(patterns)."""
    return next((profile for pattern, profile in models.items() if fnmatchcase(name, pattern)), None)


def timing(profile: Profile, kind: str, tokens: int, chance: Chance) -> Timing:
    """Draw how long an answer of `tokens` tokens takes. Never raises; O(1)."""
    median = profile.total_s.get(kind)
    if median is None:
        scale = chance.around("latency", 1.0, profile.spread)
        return Timing(profile.first_token_s * scale, profile.per_token_s * scale)
    total = chance.around("latency", median, profile.spread)
    return Timing(total * FIRST_SHARE, total * (1 - FIRST_SHARE) / max(tokens, 1))
