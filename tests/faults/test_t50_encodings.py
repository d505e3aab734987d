"""T50: a body that is not UTF-8 is a 400 wherever the fault hides, and what is UTF-8 reaches the vendor byte for byte."""

import json

import pytest

from tests.faults.hostile import MESSAGES, ROOMY, chat
from tests.rig import Rig

PATH = "/v1/chat/completions"
BAD = {
    "a byte of Latin-1": b"bl\xe5b\xe6r",
    "a lone continuation": b"\x80",
    "a start without its end": b"\xe2\x82",
    "overlong solidus": b"..\xc0\xaf",
    "overlong NUL": b"\xc0\x80",
    "overlong in three": b"\xe0\x80\xaf",
    "overlong in four": b"\xf0\x80\x80\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates (CESU-8)": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "0xFE and 0xFF": b"\xfe\xff",
}
PLACES = {
    "model": b'{"model":"%b",' + MESSAGES + b"}",
    "user": b'{"model":"first","user":"%b",' + MESSAGES + b"}",
    "message": b'{"model":"first","messages":[{"role":"user","content":"%b"}]}',
    "task": b'{"metadata":{"task":"%b"},' + MESSAGES + b"}",
    "unread member": b'{"model":"first","x":{"y":["%b"]},' + MESSAGES + b"}",
    "unread name": b'{"model":"first","%b":1,' + MESSAGES + b"}",
    "translated": b'{"model":"third","stop":"%b",' + MESSAGES + b"}",
    "long": b'{"model":"first","x":"' + b"x" * 300_000 + b'%b",' + MESSAGES + b"}",
    "outside": b'{"model":"first"%b,' + MESSAGES + b"}",
}
OTHERS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7", "utf-8-sig", "cp500")
CHARSETS = ("utf-16", "iso-8859-1", "latin1", "windows-1252", "utf-7", "cp500", "utf-32le", "x", '"utf-16"')


async def test_t50_what_is_not_utf8_is_refused_wherever_it_hides(tmp_path, proof):
    """Every fault in every place, in other encodings, and under another name: 400, and nothing is sent upstream."""
    bodies = {f"{fault} in {place}": frame % bad for fault, bad in BAD.items() for place, frame in PLACES.items()}
    text = chat(b'"user":"\xc3\xa6"').decode()
    bodies |= {encoding: text.encode(encoding) for encoding in OTHERS if encoding not in {"utf-7", "cp500"}}
    bodies |= {encoding: json.dumps({"æ": 1}, ensure_ascii=False).encode(encoding) for encoding in ("utf-7", "cp500")}
    async with Rig(tmp_path, config=ROOMY) as rig, rig.http() as client:
        told = {name: await client.post(PATH, content=body) for name, body in bodies.items()}
        for charset in CHARSETS:
            headers = {"content-type": f"application/json; charset={charset}"}
            told[f"charset {charset}"] = await client.post(PATH, content=text.encode(), headers=headers)
    assert {} == {name: answer.text for name, answer in told.items() if answer.status_code != 400}
    assert 0 == rig.world.witness.count
    proof(f"{len(told)} bodies that are not UTF-8, or say so: all 400, 0 reached the vendor")


@pytest.mark.parametrize("space", [b"", b" "])
async def test_t50_what_is_utf8_is_not_written_anew(tmp_path, space):
    """Escapes, order, number forms and unusual characters are the vendor's to read, as the client wrote them."""
    strange = (
        b'"\xef\xbb\xbf\xe2\x80\xa8\xef\xbf\xbf\xf4\x8f\xbf\xbf\\u00e6\\uD83D\\uDE00\\/\\b\\u0000 \xe2\x80\xae\xcd\x8f"'
    )
    messages = b'[{"content":%b,"role":"user","name":%b,"x":[1.0,1e2,-0]}]' % (strange, strange)
    body = b'{"messages":%b,"model":"first","seed":1.50,"user":%b}' % (messages, strange)
    body = body.replace(b'":', b'":' + space)
    async with Rig(tmp_path) as rig, rig.http() as client:
        answer = await client.post(PATH, content=body)
    assert answer.status_code == 200
    sent = rig.world.witness.dispatches[0].body
    for value in (messages.replace(b'":', b'":' + space), strange, b"1.50"):
        assert value in sent
    assert json.loads(body) | {"model": "vendor/first"} == json.loads(sent)
