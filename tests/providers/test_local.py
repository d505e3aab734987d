"""The provider `local`: the OpenAI wire at an address only we know, unless the account has a real one."""

from turnout.core.catalog import Account, Candidate, Model
from turnout.core.contracts import Call
from turnout.core.openai_fields import split
from turnout.providers.local import PROVIDER


def test_its_address():
    """Without an address nothing can leave this process; with one it goes there."""
    call = Call("chat", "openai_chat", split(b'{"messages":[]}'), "m")
    for base_url, wanted in (("", "local://model/v1"), ("http://127.0.0.1:9100/v1", "http://127.0.0.1:9100/v1")):
        account = Account("a", "local", base_url=base_url)
        assert PROVIDER.check(account) == ""
        going = PROVIDER.encode(call, None, Candidate("m@a", Model("m", "a", "m"), account, "m", None))
        assert going.url == f"{wanted}/chat/completions"
