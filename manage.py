#!/usr/bin/env python
"""Django's command line for Flashdrop."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashdrop.settings")
    if sys.argv[1:2] == ["serve"]:
        from flashdrop.serve import share_metrics

        share_metrics()
    from flashdrop import ConfigError

    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except ConfigError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
