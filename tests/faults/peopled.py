"""A gateway with somebody of every kind: who the tests of keys and roles send requests as."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx2

from tests.rig import Rig

BAD: Final = "sk-turnout-admin-0123456789abcdefghijklmnopqrstuvwxyzABCDE"


async def people(rig: Rig) -> Mapping[str, str]:
    """Make them, by the admin API; return kind → key. Those that are to expire have done so when this returns."""
    async with rig.http() as client:

        async def made(path: str, **body: Any) -> str:
            answer = await client.post(path, json=body)
            assert answer.status_code == 201, answer.text
            return str(answer.json()["key"])

        for name in ("blue", "red"):
            assert (await client.put(f"/admin/workspaces/{name}", json={})).status_code == 200
        soon = datetime.now(UTC) + timedelta(seconds=1.2)
        found = {
            "none": "",
            "bad": BAD,
            "master": rig.key,
            "tenant": await made("/admin/keys", workspace="blue"),
            "other tenant": await made("/admin/keys", workspace="red"),
            "expired": await made("/admin/keys", expires_at=soon.isoformat()),
            "revoked": await made("/admin/keys", name="to-revoke"),
            "viewer": await made("/admin/admins", name="vi", role="viewer"),
            "admin": await made("/admin/admins", name="ad", role="admin"),
            "owner": await made("/admin/admins", name="ow", role="owner"),
            "narrowed admin": await made("/admin/admins", name="na", role="admin", models=["first"]),
            "expired owner": await made("/admin/admins", name="ex", role="owner", expires_at=soon.isoformat()),
            "revoked owner": await made("/admin/admins", name="re", role="owner"),
            "elsewhere": await made("/admin/keys", addresses=["192.0.2.0/24"]),
        }
        assert (await client.delete("/admin/keys/to-revoke")).status_code == 200
        assert (await client.delete("/admin/admins/re")).status_code == 200
        while datetime.now(UTC) <= soon:
            await asyncio.sleep(0.05)
    return found


def bearer(key: str) -> dict[str, str]:
    """The header that a key goes in."""
    return {"authorization": f"Bearer {key}"} if key else {}


def client_of(rig: Rig) -> httpx2.AsyncClient:
    """A client without a key of its own."""
    return httpx2.AsyncClient(base_url=rig.url)
