"""RELIABILITY T74 for the loader: broken configurations, each with every problem at its exact place.

A row is a text and what must be found: `line:column key: ` exactly, then how the message begins. The word "canary" in a
text stands for a secret, which no message may repeat.
"""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder

BROKEN: tuple[tuple[str | bytes, list[str]], ...] = (
    ("sever: {port: 1}\n", ["1:1 sever: unknown key, did you mean 'server'?"]),
    ("zzz: 1\n", ["1:1 zzz: unknown key"]),
    ("server:\n  prot: 4000\n", ["2:3 server.prot: unknown key, did you mean 'port'?"]),
    (
        "providers:\n  openai: {api_key:sk-canary}\n",
        ["2:12 providers.openai.api_key: a space is missing after the colon"],
    ),
    ("providers:\n  openai:\n    api_key:sk-canary\n", ["3:5 providers.openai: a single value stands here"]),
    ('server: {"po rt sk-canary": 1}\n', ["1:10 server.po…: unknown key"]),
    ("server:\n  port: 1\n  port: 2\n", ["3:3 server.port: duplicate key"]),
    ("server: {port: 1}\nserver: {port: 2}\n", ["2:1 server: duplicate key"]),
    (
        "models:\n  a: {provider: openai}\n  b: {provider: openai}\n  a: {provider: openai}\n",
        ["4:3 models.a: duplicate key"],
    ),
    ("server:\n\tport: 4000\n", ["2:1 server: a tab stands in the indentation"]),
    ("server: @x\n", ["1:9 server: a value cannot begin with @"]),
    ("server: host: x\n", ["1:13: a second `: ` on one line"]),
    ("server: {port: 1\n", ["2:1 server: did not find expected ',' or '}'"]),
    ('server: {host: "x\n', ["1:16 server.host: a quote that begins here is never closed"]),
    ("server:\n  port: 1\n host: x\n", ["3:2: did not find expected key"]),
    ("server: \x07\n", ["1:9: the control character 0x07 is not allowed"]),
    ("# é\nserver: {host: \x01}\n", ["2:16: the control character 0x01 is not allowed"]),
    (b"server:\n  host: \xff\n", ["2:9: the byte 0xff is no UTF-8"]),
    ("server: {}\n---\nserver: {}\n", ["2:1: a second document begins here"]),
    ("- a\n", ["1:1: the file must be a table of `key: value` lines"]),
    ("hello\n", ["1:1: the file must be a table of `key: value` lines"]),
    ("server: !!python/object:os.system {port: 1}\n", ["1:9 server: tags (`!…`) have no meaning here"]),
    ("server: {port: !int 5}\n", ["1:16 server.port: tags (`!…`) have no meaning here"]),
    ("server: {host: *h}\n", ["1:16 server.host: no anchor 'h' stands before this"]),
    ("x-a: &a [*a]\n", ["1:10 x-a[0]: the anchor 'a' holds itself"]),
    (
        "x-a: &a [1,1,1,1,1,1,1,1,1,1]\nx-b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nx-c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nx-d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\nx-e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nx-f: [*e,*e]\n",
        ["5:31 x-e[7]: more than 100,000 values"],
    ),
    ("server: {<<: 1}\n", ["1:14 server: `<<` takes a table or a list of tables"]),
    ("server: {? : 1}\n", ["1:12 server: an empty key"]),
    ("server: {[a]: 1}\n", ["1:10 server: a key must be a name"]),
    ("server: {port: http}\n", ["1:16 server.port: 'http' is no whole number"]),
    ("server: {port: 65536}\n", ["1:16 server.port: 65,536 is out of range"]),
    ("server: {port: -1}\n", ["1:16 server.port: -1 is out of range"]),
    ("server: {port: 40.5}\n", ["1:16 server.port: '40.5' is no whole number"]),
    ("server: {port: {a: 1}}\n", ["1:16 server.port: a table of `key: value` stands here"]),
    ("server: [1]\n", ["1:9 server: a list stands here"]),
    ('server: {host: "http://x"}\n', ["1:16 server.host: 'http://x' is no host"]),
    ("server: {grace: 12:30}\n", ["1:17 server.grace: '12:30' is no time"]),
    ("server: {grace: 2000m}\n", ["1:17 server.grace: '2000m' is out of range"]),
    ("server: {max_body: 10MX}\n", ["1:20 server.max_body: '10MX' is no size"]),
    ("server: {max_body: 10}\n", ["1:20 server.max_body: '10' is out of range"]),
    ("server: {max_depth: 1000}\n", ["1:21 server.max_depth: 1,000 is out of range"]),
    (
        "server: {master_key: sk-1234}\n",
        ["1:22 server.master_key: the key is a sample key or made of the words of one"],
    ),
    ('server: {master_key: "${NOPE}"}\n', ["1:22 server.master_key: the environment variable NOPE is not set"]),
    (
        "providers: {opnrouter: {}}\n",
        [
            "1:13 providers.opnrouter: unknown vendor 'opnrouter', did you mean 'openrouter'? (anything that speaks the OpenAI API: `kind: compatible`, base_url)"
        ],
    ),
    ('providers: {zzz: {base_url: "http://x"}}\n', ["1:13 providers.zzz: unknown vendor 'zzz'"]),
    (
        'providers: {a: {kind: compatibel, base_url: "http://x"}}\n',
        ["1:23 providers.a.kind: unknown kind 'compatibel', did you mean 'compatible'?"],
    ),
    ('providers: {"a/b": {kind: compatible, base_url: "http://x"}}\n', ["1:13 providers.a/b: 'a/b' is no name here"]),
    (
        "providers:\n  openrouter: {}\n",
        ["2:3 providers.openrouter: the environment variable OPENROUTER_API_KEY is not set"],
    ),
    (
        "providers:\n  openrouter:\n",
        ["2:3 providers.openrouter: the environment variable OPENROUTER_API_KEY is not set"],
    ),
    (
        'providers: {openai: {api_key: "${OPENAI_KEY_X}"}}\n',
        ["1:31 providers.openai.api_key: the environment variable OPENAI_KEY_X is not set"],
    ),
    (
        'providers: {openai: {api_key: "a${"}}\n',
        ["1:31 providers.openai.api_key: after `${` a variable's name and `}` must follow"],
    ),
    (
        'providers: {openai: {api_key: "file:nope.txt"}}\n',
        ["1:31 providers.openai.api_key: the file 'nope.txt' cannot be read: No such file or directory"],
    ),
    ('providers: {openai: {api_key: " "}}\n', ["1:31 providers.openai.api_key: is empty"]),
    ('providers: {openai: {api_key: "sk canary"}}\n', ["1:31 providers.openai.api_key: holds a space"]),
    ("providers: {openai: {api_key: [sk-canary]}}\n", ["1:31 providers.openai.api_key: a list stands here"]),
    ('providers: {a: {kind: compatible, base_url: "ftp://sk-canary"}}\n', ["1:45 providers.a.base_url: is no address"]),
    (
        'providers: {a: {kind: compatible, base_url: "http://u:sk-canary@x"}}\n',
        ["1:45 providers.a.base_url: holds a user or a password"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x?key=sk-canary"}}\n',
        ["1:45 providers.a.base_url: holds a query or a fragment"],
    ),
    ('providers: {a: {kind: compatible, base_url: "http://["}}\n', ["1:45 providers.a.base_url: is no address"]),
    ('providers: {a: {kind: compatible, base_url: "http://x:99999"}}\n', ["1:45 providers.a.base_url: is no address"]),
    (
        'providers: {a: {kind: compatible, base_url: "http://x y"}}\n',
        ["1:45 providers.a.base_url: holds a character that an address cannot have"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "${X_URL}"}}\n',
        ["1:45 providers.a.base_url: the environment variable X_URL is not set"],
    ),
    (
        'providers: {openai: {base_url: "http://127.0.0.1:9"}}\n',
        ["1:32 providers.openai.base_url: this is not openai's own address"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", names: "{provider}"}}\n',
        ["1:64 providers.a.names: '{provider}' is no template"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", names: "{id.__class__}{id}"}}\n',
        ["1:64 providers.a.names: '{id.__class__}{id}' is no template"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", headers: {authorization: sk-canary}}}\n',
        ["1:67 providers.a.headers.authorization: looks like a credential"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", headers: {"a b": x, Host: y, x-a: "é", x-b: , x-c: 1}}}\n',
        [
            "1:67 providers.a.headers.a b: is no header name",
            "1:77 providers.a.headers.Host: is written by Turnout itself",
            "1:91 providers.a.headers.x-a: holds a character that a header cannot carry",
            "1:96 providers.a.headers.x-b: has no value",
        ],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", proxy: "https://p:1"}}\n',
        ["1:64 providers.a.proxy: is no proxy address"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", ca_file: nope.pem}}\n',
        ["1:66 providers.a.ca_file: the file cannot be read: No such file or directory"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", timeouts: {connect: 0}}}\n',
        ["1:77 providers.a.timeouts.connect: '0' is out of range"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", region: "${R}"}}\n',
        ["1:65 providers.a.region: ${…} is read only in api_key"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", quota: {requests_per_minute: 0, margin: 25, day_starts: noon}}}\n',
        [
            "1:86 providers.a.quota.requests_per_minute: 0 is out of range",
            "1:97 providers.a.quota.margin: 25 is out of range, expected 0 to 1 (or a percentage, such as 25 %)",
            "1:113 providers.a.quota.day_starts: 'noon' is no time of day",
        ],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", quota: {requests_per_minute: 3, margin: 80 %, rpm: 3}}}\n',
        ["1:97 providers.a.quota.margin: leaves nothing of 3, lower it", "1:103 providers.a.quota.rpm: unknown key"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", quota: lots}}\n',
        ["1:64 providers.a.quota: 'lots' is not known here"],
    ),
    (
        'providers: {a: {kind: compatible, base_url: "http://x", quota: [1]}}\n',
        ["1:64 providers.a.quota: a list stands here, expected `none` or `learn` or a table"],
    ),
    (
        "models: {a: {provider: openai, quota: {models: '*', at_once: x}}}\n",
        ["1:40 models.a.quota.models: unknown key", "1:62 models.a.quota.at_once: 'x' is no whole number"],
    ),
    (
        "cache: {ttl: forever, size: 1KiB, safe_tools: getPricing}\n",
        [
            "1:14 cache.ttl: 'forever' is no time",
            "1:29 cache.size: one answer of 1,048,576 bytes does not fit into 1,024 bytes, lower max_answer",
            "1:47 cache.safe_tools: a single value stands here, expected a list",
        ],
    ),
    (
        "cache: {max_answer: 1GiB}\n",
        ["1:21 cache.max_answer: one answer of 1,073,741,824 bytes does not fit into 67,108,864 bytes"],
    ),
    ("valkey:\n  url: canary:6379\n", ["2:8 valkey.url: is no address"]),
    ("valkey: {url: '${NOPE}'}\n", ["1:15 valkey.url: the environment variable NOPE is not set"]),
    ("valkey: {}\n", ["1:1 valkey: the key 'url' is missing"]),
    (
        "tasks: {t: {models: [gpt-4o], priority: urgent, cache: long}}\n",
        ["1:41 tasks.t.priority: 'urgent' is not known here", "1:56 tasks.t.cache: 'long' is no time"],
    ),
    ("models:\n  a: {id: x}\n", ["2:3 models.a: the key 'provider' is missing"]),
    ("models:\n  a:\n", ["2:3 models.a: the key 'provider' is missing"]),
    ("models: {a: {provider: opnai}}\n", ["1:24 models.a.provider: unknown provider 'opnai', did you mean 'openai'?"]),
    (
        "models: {a: {provider: openai, price: {input: 0.0001, output: 1}}}\n",
        ["1:47 models.a.price.input: 0.0001 USD per million tokens is no whole number of nano-dollars per token"],
    ),
    (
        "models: {a: {provider: openai, price: {input: -1, output: 1}}}\n",
        ["1:47 models.a.price.input: '-1' is no price"],
    ),
    ("models: {a: {provider: openai, price: cheap}}\n", ["1:39 models.a.price: 'cheap' is not known here"]),
    ("models: {a: {provider: openai, price: {input: 1}}}\n", ["1:32 models.a.price: the key 'output' is missing"]),
    ("models: {a: {provider: openai, price: {output: 1}}}\n", ["1:32 models.a.price: the key 'input' is missing"]),
    ("models: {a: {provider: openai, price: [1]}}\n", ["1:39 models.a.price: a list stands here"]),
    ("models: {a: {provider: openai, can: [tools, jsn, ]}}\n", ["1:45 models.a.can[1]: 'jsn' is not known here"]),
    ("models: {a: {provider: openai, mode: audio}}\n", ["1:38 models.a.mode: 'audio' is not known here"]),
    ("models: {a: {provider: openai, stream: maybe}}\n", ["1:40 models.a.stream: 'maybe' is neither true nor false"]),
    ("models: {a: {provider: openai, context: 128k}}\n", ["1:41 models.a.context: '128k' is no whole number"]),
    (
        "models: {a: {provider: openai, fallbacks: [gpt-4p]}}\n",
        ["1:44 models.a.fallbacks[0]: unknown model 'gpt-4p', did you mean 'gpt-4o'?"],
    ),
    ("models: {a: {provider: openai, fallbacks: [gpt-4o, a]}}\n", ["1:52 models.a.fallbacks[1]: contains itself"]),
    (
        "models: {a: {provider: openai, fallbacks: [gpt-4o, gpt-4o]}}\n",
        ["1:52 models.a.fallbacks[1]: 'gpt-4o' stands here twice"],
    ),
    (
        "models: {a: {provider: openai, fallbacks: [production-chat]}}\n",
        ["1:44 models.a.fallbacks[0]: 'production-chat' is a route"],
    ),
    (
        "models: {a: {provider: openai, fallbacks: [text-embedding-3-small]}}\n",
        ["1:44 models.a.fallbacks[0]: 'text-embedding-3-small' is for embedding"],
    ),
    ("models: {a: {provider: openai, fallbacks: []}}\n", ["1:43 models.a.fallbacks: is empty"]),
    (
        "models: {a: {provider: openai, context_fallbacks: [b]}}\n",
        ["1:52 models.a.context_fallbacks[0]: unknown model 'b'"],
    ),
    ('models: {"a b": {provider: openai}}\n', ["1:10 models.a b: 'a b' is no name"]),
    (
        'models: {"task:x": {provider: openai}, auto: {provider: openai}}\n',
        [
            "1:10 models.task:x: 'task:x' has a meaning of its own in a request",
            "1:40 models.auto: 'auto' has a meaning of its own in a request",
        ],
    ),
    (
        "fallbacks: [text-embedding-3-small, nope]\n",
        ["1:13 fallbacks[0]: 'text-embedding-3-small' makes embeddings", "1:37 fallbacks[1]: unknown model 'nope'"],
    ),
    ("routes: {r: {policy: weighted}}\n", ["1:10 routes.r: the key 'models' is missing"]),
    ("routes: {r: {models: []}}\n", ["1:22 routes.r.models: is empty"]),
    ("routes: {r: {models: {}}}\n", ["1:22 routes.r.models: is empty"]),
    ("routes: {r: {models: {gpt-4o: 0}}}\n", ["1:22 routes.r.models: all weights are 0"]),
    ("routes: {r: {models: {gpt-4o: -1}}}\n", ["1:31 routes.r.models.gpt-4o: -1 is out of range"]),
    ("routes: {r: {models: {gpt-4o: lots}}}\n", ["1:31 routes.r.models.gpt-4o: 'lots' is no number"]),
    ("routes: {r: {models: {gpt-4o: }}}\n", ["1:23 routes.r.models.gpt-4o: has no value"]),
    (
        "routes: {r: {policy: wieghted, models: [gpt-4o]}}\n",
        ["1:22 routes.r.policy: unknown policy 'wieghted', did you mean 'weighted'?"],
    ),
    (
        "routes: {r: {policy: priority, models: {gpt-4o: 1}}}\n",
        ["1:22 routes.r.policy: 'priority' does not use weights"],
    ),
    ("routes: {r: {models: [r]}}\n", ["1:23 routes.r.models[0]: contains itself"]),
    (
        "routes: {r: {models: [gpt-4o, text-embedding-3-small]}}\n",
        ["1:22 routes.r.models: chat and embedding models stand together"],
    ),
    (
        "routes: {r: {models: [gpt-4o], price_ceiling: {input: 1}}}\n",
        ["1:32 routes.r.price_ceiling: the key 'output' is missing"],
    ),
    ("routes: {r: {models: [gpt-4o], max_retries: 11}}\n", ["1:45 routes.r.max_retries: 11 is out of range"]),
    ("tasks: {t: {models: [glm]}}\n", ["1:22 tasks.t.models[0]: unknown model 'glm'"]),
    ("tasks: {t: {models: gpt-4o}}\n", ["1:21 tasks.t.models: a single value stands here"]),
    ("tasks:\n  t:\n    models:\n      - gpt-4o\n      -\n", ["5:8 tasks.t.models[1]: is empty"]),
    (
        "models: {m: {provider: openai}}\nroutes: {m: {models: [gpt-4o]}}\n",
        ["2:10 routes.m: the name is already a model (line 1)"],
    ),
    ("routes: {gpt-4o: {models: [gpt-4o-mini]}}\n", ["1:10 routes.gpt-4o: the name is already a shipped model"]),
    ("aliases: {a: gtp-4o}\n", ["1:14 aliases.a: unknown name 'gtp-4o', did you mean 'gpt-4o' or 'gpt-4'?"]),
    (
        "aliases: {a: b, b: c, c: a}\n",
        [
            "1:14 aliases.a: leads back to itself (a → b → c → a)",
            "1:20 aliases.b: leads back to itself (b → c → a → b)",
            "1:26 aliases.c: leads back to itself (c → a → b → c)",
        ],
    ),
    ("aliases: {a: a}\n", ["1:14 aliases.a: leads back to itself (a → a)"]),
    ("rollouts: {r: {percent: 5}}\n", ["1:12 rollouts.r: the key 'candidate' is missing"]),
    (
        "rollouts: {r: {candidate: {provider: x, models: [gpt-4o]}}}\n",
        [
            "1:16 rollouts.r.candidate: names a provider and models",
            "1:38 rollouts.r.candidate.provider: unknown provider 'x'",
        ],
    ),
    ("rollouts: {r: {candidate: {}}}\n", ["1:16 rollouts.r.candidate: names nothing"]),
    (
        "rollouts: {r: {candidate: {provider: openai}}}\n",
        ["1:38 rollouts.r.candidate.provider: the provider 'openai' is not configured"],
    ),
    (
        "rollouts: {r: {candidate: {provider: opnai}}}\n",
        ["1:38 rollouts.r.candidate.provider: unknown provider 'opnai', did you mean 'openai'?"],
    ),
    (
        "rollouts: {r: {candidate: {models: [gpt]}}}\n",
        ["1:37 rollouts.r.candidate.models[0]: unknown model 'gpt', did you mean 'gpt-4o'?"],
    ),
    ("rollouts: {r: {candidate: {models: []}}}\n", ["1:36 rollouts.r.candidate.models: is empty"]),
    (
        "rollouts: {r: {percent: 101, candidate: {models: [gpt-4o]}}}\n",
        ["1:25 rollouts.r.percent: 101 is out of range"],
    ),
    (
        "rollouts: {r: {tasks: [emial-draft], candidate: {models: [gpt-4o]}}}\n",
        ["1:24 rollouts.r.tasks[0]: unknown task 'emial-draft', did you mean 'email-draft'?"],
    ),
    (
        "rollouts: {r: {tasks: some, candidate: {models: [gpt-4o]}}}\n",
        ["1:23 rollouts.r.tasks: 'some' is not known here"],
    ),
    ("rollouts: {r: {tasks: [], candidate: {models: [gpt-4o]}}}\n", ["1:23 rollouts.r.tasks: is empty"]),
    ("retry: {backoff: 10s}\n", ["1:18 retry.backoff: backoff (10 s) is longer than max_backoff (8 s)"]),
    ("retry: {max_backoff: 100ms}\n", ["1:22 retry.max_backoff: backoff (0.5 s) is longer than max_backoff (0.1 s)"]),
    ("retry: {budget: 1.5}\n", ["1:17 retry.budget: 1.5 is out of range"]),
    (
        "breaker: {failures: 0, rest: 400}\n",
        ["1:21 breaker.failures: 0 is out of range", "1:30 breaker.rest: rest (400 s) is longer than max_rest (300 s)"],
    ),
    ("traces: {rows: -1}\n", ["1:16 traces.rows: -1 is out of range"]),
    ("timeouts: {total: soon}\n", ["1:19 timeouts.total: 'soon' is no time"]),
    ("defaults: perhaps\n", ["1:11 defaults: 'perhaps' is neither true nor false"]),
    ("defaults: false\ntasks: {t: {models: [gpt-4o]}}\n", ["2:22 tasks.t.models[0]: unknown model 'gpt-4o'"]),
    (
        "server: {port: x}\nzzz: 1\ntasks: {t: {models: [nope], max_retries: -1}}\n",
        [
            "1:16 server.port: 'x' is no whole number",
            "2:1 zzz: unknown key",
            "3:22 tasks.t.models[0]: unknown model 'nope'",
            "3:42 tasks.t.max_retries: -1 is out of range",
        ],
    ),
    ("tasks: {t: {models: [gpt-4o], needs: [jsno]}}\n", ["1:39 tasks.t.needs[0]: 'jsno' is not known here"]),
    ('server: {master_key: "${K}"}\n', ["1:22 server.master_key: the key has 12 characters"]),
    (
        'server: {master_key: "kJ8s2mNq0vXz4Lw7 Tg5Rb1Yc"}\n',
        ["1:22 server.master_key: the key holds a space or a character that a header cannot carry"],
    ),
)


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_every_problem_is_named_at_its_place(text: str | bytes, expected: list[str], folder: Folder) -> None:
    """All problems at once, in the order of the file, each as `file:line:column key: what is wrong, what was meant`."""
    found = folder.problems(text, {"K": "kJ8s2mNq0vXz"})
    assert len(expected) == len(found), found
    for start, problem in zip(expected, found, strict=True):
        assert problem.startswith(f"turnout.yaml:{start}"), problem
        assert "\n" not in problem
        assert "canary" not in problem


def test_there_are_enough_of_them() -> None:
    """The table is what the issue asks for: far more than sixty ways to be wrong."""
    assert len(BROKEN) >= 120
