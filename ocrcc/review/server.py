"""The page on which people mend what was read: served to this machine alone, to who knows its address."""

from __future__ import annotations

import io
import json
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ocrcc.errors import ConfigError, DataError
from ocrcc.review.session import Question, Session, StaleError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = "127.0.0.1"
_PAGE = {
    "": ("page.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}
_MOST_BYTES = 1 << 17
"""Of what the page sends."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
INSTALL_REVIEW = "pip install 'ocrcc[review]'"


class _Guard:
    """Lets in only requests of this page: to loopback by its own name, from no other origin, with the token."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = {f"{name}:{port}" for name in (_HOST, "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        from starlette.responses import PlainTextResponse

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        known = host in self._hosts and headers.get("origin", f"http://{host}") == f"http://{host}"
        first = scope["path"].split("/")[1:2]
        if not known or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            await PlainTextResponse("not from here", 403, _HEADERS)(scope, receive, send)
        elif not first or not secrets.compare_digest(first[0].encode("utf-8", "replace"), self._token):
            await PlainTextResponse("no such page", 404, _HEADERS)(scope, receive, send)
        elif scope["method"] == "POST" and not headers.get("content-type", "").startswith("application/json"):
            await PlainTextResponse("only JSON is taken", 415, _HEADERS)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def make_app(session: Session, *, token: str, port: int, finish: Callable[[], None] = lambda: None) -> ASGIApp:
    """Make the application.

    Args:
        session: What is asked and decided.
        token: The first part of every path.
        port: Where it is served.
        finish: Ends the serving; called when the person has finished.
    """
    return _Guard(_routes(session, token, finish), token, port)


def _routes(session: Session, token: str, finish: Callable[[], None]) -> Starlette:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    def reply(content: dict[str, Any], status: int = 200) -> Response:
        return JSONResponse(content, status, _HEADERS)

    def state(pair: str) -> dict[str, Any]:
        question = session.question(pair)
        return {"question": question and _shown(question), "progress": session.progress(pair)}

    # The handlers are all async and do not wait within a change: one runs at a time, so that nothing needs a lock.
    async def page(request: Request) -> Response:
        from starlette.responses import Response

        name, kind = _PAGE[request.url.path.rpartition("/")[2]]
        content = files("ocrcc.review").joinpath("page", name).read_bytes()
        return Response(content, 200, _HEADERS, media_type=kind)

    async def question(request: Request) -> Response:
        return reply(state(request.query_params.get("pair", "")))

    async def line(request: Request) -> Response:
        from starlette.responses import Response

        found = session.lines.get(request.path_params["key"])
        if found is None:
            return reply({"error": "no such line"}, 404)
        try:
            picture = io.BytesIO()
            found.view().image.save(picture, "PNG", compress_level=1)
        except DataError as error:
            return reply({"error": error.message}, 404)
        return Response(picture.getvalue(), 200, _HEADERS, media_type="image/png")

    async def answer(request: Request) -> Response:
        try:
            values = await _json(request)
            _apply(session, values)
        except StaleError:
            return reply({"error": "this was answered already"} | state(""), 409)
        except (ValueError, TypeError, KeyError):
            return reply({"error": "the page sent something else than an answer"}, 400)
        except DataError as error:
            return reply({"error": error.message + (f": {error.hint}" if error.hint else "")}, 507)
        return reply(state(str(values.get("pair", ""))))

    async def end(_request: Request) -> Response:
        finish()
        return reply({"progress": session.progress()})

    root = f"/{token}"
    return Starlette(
        routes=[
            *(Route(f"{root}/{name}", page, name=name) for name in _PAGE),
            Route(f"{root}/api/question", question),
            Route(f"{root}/line/{{key}}.png", line),
            Route(f"{root}/api/answer", answer, methods=["POST"]),
            Route(f"{root}/api/finish", end, methods=["POST"]),
        ]
    )


async def _json(request: Request) -> dict[str, Any]:
    raw = b""
    async for piece in request.stream():
        raw += piece
        if len(raw) > _MOST_BYTES:
            raise ValueError
    values = json.loads(raw)
    if not isinstance(values, dict):
        raise TypeError
    return values


def _apply(session: Session, values: dict[str, Any]) -> None:
    how = values["how"]
    if how == "undo":
        if not session.undo():
            raise DataError("there is nothing to take back")
        return
    place = str(values["line"]), int(values["position"]), int(values["step"])
    if how == "later":
        session.put_off(*place)
    elif how == "left out":
        session.leave_out(*place)
    elif how == "line":
        session.rewrite(*place, str(values["text"]))
    elif how in ("accepted", "chosen", "typed", "same"):
        session.replace(*place, str(values["text"]), how)
    else:
        raise ValueError


def _shown(question: Question) -> dict[str, Any]:
    width, height = question.view.image.size
    return {
        "line": question.line.key,
        "name": question.line.name,
        "position": question.doubt.position,
        "sure": question.doubt.sure,
        "cells": question.cells,
        "open": sorted(question.open),
        "choices": question.doubt.choices,
        "place": question.view.places.get(question.doubt.position),
        "size": (width, height),
        "same": question.same,
    }


def bound(port: int) -> socket.socket:
    """Take a port, before anything takes long; nobody is let in yet.

    Args:
        port: On loopback; 0 for any that is free.

    Raises:
        ConfigError: It is taken.
    """
    taken = socket.socket()
    try:
        taken.bind((_HOST, port))
    except OSError as error:
        taken.close()
        raise ConfigError(f"port {port}: {error.strerror or error}", "leave --port out for any free one") from None
    return taken


def serve(session: Session, *, listening: socket.socket, on_ready: Callable[[str], None]) -> None:
    """Serve the page until the person finishes or Ctrl-C.

    Args:
        session: What is asked and decided.
        listening: What `bound` gave; it is closed.
        on_ready: Told the page's address.

    Raises:
        ConfigError: The extra ``review`` is not installed.
    """
    uvicorn = check_installed()
    with listening:
        token, port = secrets.token_urlsafe(16), listening.getsockname()[1]

        def finish() -> None:
            server.should_exit = True

        app = make_app(session, token=token, port=port, finish=finish)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        )
        listening.listen()  # from now on the page can be asked for, however long the server takes to start
        on_ready(f"http://{_HOST}:{port}/{token}/")
        with suppress(KeyboardInterrupt):  # the usual way to end: everything is on the disk already
            server.run(sockets=[listening])


def check_installed() -> Any:
    """Return uvicorn.

    Raises:
        ConfigError: The extra ``review`` is not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError:
        raise ConfigError("the review page needs the packages starlette and uvicorn", INSTALL_REVIEW) from None
    return uvicorn
