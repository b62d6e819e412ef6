from __future__ import annotations

import logging

from django.apps import AppConfig
from django.http import HttpRequest

from flashdrop.config import config

log = logging.getLogger(__name__)


class OrdersConfig(AppConfig):
    """What a shopper did: identity, orders, receipts."""

    name = "orders"
    verbose_name = "Orders"

    def ready(self) -> None:
        """Let the rate limiter count by session, prepare new ledgers, say loudly when identities are taken on trust."""
        from flashdrop.ratelimit import identify_by
        from orders import indexes
        from orders.identity import shopper_of
        from sales.publishing import prepare_ledger_by

        def session_id(request: HttpRequest) -> str | None:
            shopper = shopper_of(request)
            # Whom a proxy vouches for is one person in whatever browser.
            if shopper is None:
                return None
            return shopper.id if shopper.is_vouched_for else shopper.session_id

        identify_by(session_id)
        prepare_ledger_by(indexes.prepare)
        if config.trust_user_id_header:
            log.warning(
                "TRUST_USER_ID_HEADER is on: whoever connects from TRUSTED_PROXIES can be anybody. "
                "Only a proxy that sets or removes X-User-Id on every request may stand in front."
            )
