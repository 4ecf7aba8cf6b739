"""A real server that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import BodyPartReader, web

ACCOUNT = "0b6a3d6a-3a1b-4a6e-8a77-6c7a1f9f2d10"


@dataclass
class Part:
    name: str | None
    filename: str | None
    content_type: str
    data: bytes


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    parts: list[Part] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Answer:
    content: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Echo:
    """``answers`` are given in turn, the last one again and again."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def answer(self, content: Any = None, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(Answer(content, status, named))

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    async def serve(self, request: web.Request) -> web.Response:
        asked = Asked(request.method, request.path, dict(request.query), dict(request.headers))
        if request.content_type == "multipart/form-data":
            async for part in await request.multipart():
                assert isinstance(part, BodyPartReader)
                kind = part.headers.get("Content-Type", "")
                asked.parts.append(Part(part.name, part.filename, kind, bytes(await part.read())))
        else:
            asked.body = await request.read()
        self.asked.append(asked)
        now = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        body = now.content if isinstance(now.content, bytes) else orjson.dumps(now.content)
        return web.Response(body=body, status=now.status, headers=now.headers)
