"""Who may read a page's moving figures: asked once a second by many, so the answer is remembered for a few seconds.

Django's own way to the user, through all of its middleware, costs more than the figures. Here the session's cookie is
looked up as Django does it, in its thread, and what was found holds for `REMEMBERED_SECONDS`: so long may somebody who
is signed out, or whose role is taken away, still see figures move.
"""

from __future__ import annotations

import time
from importlib import import_module

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import close_old_connections
from django.http import HttpRequest

from flashdrop.loops import PerLoop
from flashdrop.readable import NUL

REMEMBERED_SECONDS = 10.0
MOST_REMEMBERED = 1000


class SignedOut(Exception):
    """Nobody of the staff is signed in there."""


class Doorkeeper:
    """Remembers, for this process, what each session may do."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[float, bool | None]] = {}

    async def admits(self, request: HttpRequest, permission: str) -> bool:
        """Whether whoever asks has `permission`, one of `sales.permissions`.

        Raises:
            SignedOut: nobody of the staff is signed in there.
        """
        session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "").replace(NUL, "")
        known_at, found = self._known.get((session_key, permission), (float("-inf"), None))
        if time.monotonic() - known_at >= REMEMBERED_SECONDS:
            found = await sync_to_async(_may)(session_key, permission) if session_key else None
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[session_key, permission] = (time.monotonic(), found)
        if found is None:
            raise SignedOut
        return found


doorkeeper: PerLoop[Doorkeeper] = PerLoop(Doorkeeper)


def _may(session_key: str, permission: str) -> bool | None:
    """None: nobody of the staff."""
    # No request begins here, so nobody else looks whether the connection has survived the database.
    close_old_connections()
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    if not (user.is_active and user.is_staff):
        return None
    return user.has_perm(f"sales.{permission}")
