from django.apps import AppConfig


class FlashdropConfig(AppConfig):
    """The wiring; an app for the sake of its commands."""

    name = "flashdrop"
    verbose_name = "Flashdrop"
