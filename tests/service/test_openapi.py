"""The OpenAPI document has an example for all that goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def routes(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            yield f"{method} {path}", route


def named(schema: dict[str, Any]) -> str:
    """The schema that an answer refers to, itself or as the items of a list."""
    inner = schema.get("items", schema)
    return inner.get("$ref", "").rpartition("/")[2]


def test_every_route_has_examples(open_service: Callable) -> None:
    client, _ = open_service()
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for name, route in routes(document):
        assert route.get("description"), name
        asked = route.get("requestBody", {}).get("content", {}).get("application/json")
        if asked is not None:
            assert schemas[named(asked["schema"])]["examples"], name
        for status, answer in route["responses"].items():
            schema = answer.get("content", {}).get("application/json", {}).get("schema")
            if status.startswith("2") and schema:
                assert schemas[named(schema)].get("examples"), name
