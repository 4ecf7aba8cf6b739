"""The OpenAPI 3.1 page of an application, generated from its routes' models, and an offline Swagger page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib.resources import as_file, files
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from libs.common.http.routes import ACCOUNT_HEADER, JSON, REQUEST_ID_HEADER, Route

Documented = tuple[str, str, Route]
_REF = "#/components/schemas/{model}"
YAML = "application/x-yaml"

ERROR_SCHEMA = {
    "type": "object",
    "required": ["error_code", "desc", "detail"],
    "properties": {
        "error_code": {"type": "integer"},
        "desc": {"type": "string"},
        "detail": {"type": "string"},
        "link": {"type": "string", "format": "uri"},
    },
}

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="{base}/docs/static/swagger-ui.css"></head><body><div id="page"></div>
<script src="{base}/docs/static/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "{base}/docs/spec", dom_id: "#page"}})</script></body></html>"""


def add_docs(app: web.Application, title: str, routes: Iterable[Documented], prefixes: list[str]) -> None:
    """Serve ``/docs/spec`` and ``/docs`` under every prefix."""
    spec = orjson.dumps(build_spec(title, routes))
    with as_file(files("swagger_ui") / "static") as folder:
        for prefix in prefixes:
            page = PAGE.format(title=title, base=prefix)
            app.router.add_get(f"{prefix}/docs", _page(page))
            app.router.add_get(f"{prefix}/docs/spec", _spec(spec, page))
            app.router.add_static(f"{prefix}/docs/static", folder)


def _page(page: str) -> Any:
    async def show(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    return show


def _spec(spec: bytes, page: str) -> Any:
    """The specification as JSON, or as YAML, which JSON is too; the viewer for a browser that asks for HTML."""

    async def show(request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        if "text/html" in accept:
            return web.Response(text=page, content_type="text/html")
        return web.Response(body=spec, content_type=YAML if YAML in accept else JSON)

    return show


def build_spec(title: str, routes: Iterable[Documented]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the given routes."""
    schemas: dict[str, Any] = {"Error": ERROR_SCHEMA}
    paths: dict[str, dict[str, Any]] = {}
    for prefix, tag, route in routes:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", prefix + route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(path, tag, route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "6.0.1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(path: str, tag: str, route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    text = inspect.getdoc(route.run) or route.run.__name__.replace("_", " ")
    operation: dict[str, Any] = {
        "tags": [tag],
        "operationId": f"{tag}_{route.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', path.lower()).strip('_')}",
        "summary": text.splitlines()[0],
        "description": text,
        "parameters": _parameters(path, route, schemas),
        "responses": {
            str(route.status): _answer(route, schemas),
            "default": {"description": "Error", "content": _json({"$ref": _REF.format(model="Error")})},
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(_schema(route.body, schemas))}
    elif route.consumes != (JSON,):
        operation["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": {}} for kind in route.consumes}
            | (_json(_schema(route.form, schemas)) if route.form else {}),
        }
    return operation


def _parameters(path: str, route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    found += [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
        for name in (ACCOUNT_HEADER, REQUEST_ID_HEADER)
    ]
    if route.query is not None:
        schema = TypeAdapter(route.query).json_schema(ref_template=_REF)
        schemas.update(schema.pop("$defs", {}))
        required = schema.get("required", [])
        for name, detail in schema.get("properties", {}).items():
            found.append(
                {
                    "name": name,
                    "in": "query",
                    "required": name in required,
                    "schema": detail,
                    "style": "form",
                    "explode": False,
                }
            )
    return found


def _answer(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    if route.answer is None:
        return {"description": "Done"}
    return {"description": "Done", "content": _json(_schema(route.answer, schemas, mode="serialization"))}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {JSON: {"schema": schema}}


def _schema(model: Any, schemas: dict[str, Any], mode: Any = "validation") -> dict[str, Any]:
    """The JSON schema of a model, its parts moved to ``schemas``."""
    schema = TypeAdapter(model).json_schema(ref_template=_REF, mode=mode)
    schemas.update(schema.pop("$defs", {}))
    if inspect.isclass(model) and issubclass(model, BaseModel) and schema.get("type") == "object":
        schemas[model.__name__] = schema
        return {"$ref": _REF.format(model=model.__name__)}
    return schema
