from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from flashdrop.config import config
from sales.backoffice import LedgerAway, SkuTaken, save_and_publish
from sales.models import Sale


class Command(BaseCommand):
    help = "Create and publish the demo sale. One that exists is left alone, unless --again gives it a new window."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sku", default=config.demo_sku)
        parser.add_argument("--stock", type=int, default=config.demo_stock)
        parser.add_argument("--opens-in", type=int, default=config.demo_opens_in_seconds, metavar="SECONDS")
        parser.add_argument("--lasts", type=int, default=config.demo_lasts_seconds, metavar="SECONDS")
        parser.add_argument("--again", action="store_true", help="open an existing demo sale once more")

    def handle(self, *args: Any, sku: str, stock: int, opens_in: int, lasts: int, again: bool, **options: Any) -> None:
        opens_at = timezone.now() + timedelta(seconds=opens_in)
        window = {"opens_at": opens_at, "closes_at": opens_at + timedelta(seconds=lasts)}
        product = {
            "name": "Bolt paperweight, edition 01",
            "description": (
                "Discs of turned steel under one of brass, stacked by hand.\nEvery piece carries its number."
            ),
            "image_url": f"{settings.STATIC_URL}img/demo.svg",
            "price_minor": 12900,
            "stock": stock,
        }
        sale = Sale.objects.filter(sku=sku).first()
        if sale is not None and not again and sale.version:
            self.stdout.write(f"{sku}: already there, left alone.")
            return
        if sale is None:
            sale = Sale(sku=sku, published=True, **product, **window)
        else:
            sale.published, sale.opens_at, sale.closes_at = True, window["opens_at"], window["closes_at"]
        sale.full_clean()
        try:
            save_and_publish(sale)
        except (LedgerAway, SkuTaken) as error:
            raise CommandError(f"The demo sale can't be published: {error or type(error).__name__}") from error
        self.stdout.write(f"{sku}: {sale.stock} units, opens at {sale.opens_at:%H:%M:%S} UTC.")
