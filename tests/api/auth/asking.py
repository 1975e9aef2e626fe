"""The API's application asked in this process: real routing, checks and answers, without a socket."""

from __future__ import annotations

from typing import Any

import httpx

from zjp.api.app import make_app
from zjp.api.desk import Desk


class Asking:
    ADDRESS = "192.0.2.7"

    def __init__(self, desk: Desk, host: str = "zjp.example:8080") -> None:
        self._app, self._host = make_app(desk), host

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        address: str = ADDRESS,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        given = {
            "host": self._host,
            **({} if token is None else {"authorization": f"Bearer {token}"}),
            **(headers or {}),
        }
        transport = httpx.ASGITransport(app=self._app, client=(address, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{self._host}") as client:
            return await client.request(method, path, headers=given, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, **more: Any) -> httpx.Response:
        return await self.ask("POST", path, **more)

    async def patch(self, path: str, **more: Any) -> httpx.Response:
        return await self.ask("PATCH", path, **more)

    async def delete(self, path: str, **more: Any) -> httpx.Response:
        return await self.ask("DELETE", path, **more)
