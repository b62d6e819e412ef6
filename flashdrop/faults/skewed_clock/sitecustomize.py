"""Makes the clock of the Python process that finds this on its path wrong by `FAULTS_CLOCK_SKEW_SECONDS`.

Wall clock only: a wrong clock on a host does not touch the monotonic one.
"""

import datetime as datetime_module
import os
import time as time_module
from datetime import datetime as _RealDatetime  # noqa: N812
from typing import Any

_SKEW = float(os.environ.get("FAULTS_CLOCK_SKEW_SECONDS", "0"))
_real_time, _real_time_ns = time_module.time, time_module.time_ns


class _Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RealDatetime)


class _SkewedDatetime(_RealDatetime, metaclass=_Meta):
    @classmethod
    def now(cls, tz: datetime_module.tzinfo | None = None) -> Any:
        return _RealDatetime.now(tz) + datetime_module.timedelta(seconds=_SKEW)

    @classmethod
    def utcnow(cls) -> Any:
        return _RealDatetime.now(datetime_module.UTC).replace(tzinfo=None) + datetime_module.timedelta(seconds=_SKEW)


if _SKEW:
    time_module.time = lambda: _real_time() + _SKEW
    time_module.time_ns = lambda: _real_time_ns() + int(_SKEW * 1e9)
    datetime_module.datetime = _SkewedDatetime  # type: ignore[misc]
