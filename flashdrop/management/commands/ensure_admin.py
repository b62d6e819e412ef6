from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashdrop.config import given


class Command(BaseCommand):
    help = "Make sure that this account is there, may do everything, and has the password in ADMIN_PASSWORD."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        password = given("ADMIN_PASSWORD")
        if not password:
            raise CommandError(
                "Name the password in ADMIN_PASSWORD, or its file in ADMIN_PASSWORD_FILE; an argument would be seen by "
                "every user here."
            )
        user, _ = get_user_model().objects.get_or_create(username=username)
        user.is_staff = user.is_superuser = user.is_active = True
        if not user.check_password(password):  # the same one, hashed anew, would sign everybody out at each deployment
            user.set_password(password)
        user.save()
