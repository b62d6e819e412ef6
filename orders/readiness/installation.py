"""The shop itself, as the doctor finds it, in words for merchandisers; the rest is for whoever runs it."""

from __future__ import annotations

from collections.abc import Sequence

from flashdrop.config import Config
from orders.doctor.configuration import is_loopback
from orders.doctor.finding import Area, Finding, Level
from orders.readiness.line import Line, amber, green, red

TELL = "Tell whoever runs the shop, with the details below."
WORKER = "worker"
# Judged here, by a shop that is about to open to strangers.
OWN_WORDS = {"DEBUG", "TRUST_USER_ID_HEADER", "rate limiter"}
AREAS = (
    (Area.REDIS, "Gate (Redis)", "It answers, and takes and gives back a unit.", "It decides who gets a unit."),
    (Area.MONGODB, "Ledger (MongoDB)", "It answers, and keeps what it confirms.", "It keeps the orders."),
    (Area.INDEXES, "Protection against selling twice", "Every unique index is in place.", "It forbids double orders."),
    (Area.CLOCKS, "Clocks", "The gate, the ledger and this server agree.", "The sale opens by the gate's clock."),
    (Area.CONFIGURATION, "Settings of the installation", "Nothing in them is in the way.", ""),
)
# A shopper signs in, buys, and perhaps presses once more.
REQUESTS_PER_SHOPPER = 3
FEW_SHOPPERS = 20


def check_installation(findings: Sequence[Finding], config: Config) -> list[Line]:
    """The doctor's `findings` about `config` and the stores, one line for each area, and what a sale adds to them."""
    lines = [_area(findings, *area) for area in AREAS]
    return [*lines[:3], _worker(findings), *lines[3:], _debug(config), _identity(config), _limiter(config)]


def _area(findings: Sequence[Finding], area: Area, name: str, fine: str, why: str) -> Line:
    here = [one for one in findings if one.area is area and one.name not in OWN_WORDS]
    details = tuple(_told(one) for one in here if one.level is not Level.OK)
    at_risk = sum(one.level is Level.AT_RISK for one in here)
    if not here:
        return red(name, f"It could not be looked at. {why}".strip(), "See the other red lines first.")
    if at_risk:
        return red(name, f"{_things(at_risk)} not in order. {why}".strip(), TELL, details=details)
    if details:
        return amber(name, f"It works; {_could(len(details))} be better. {why}".strip(), TELL, details=details)
    return green(name, fine)


def _worker(findings: Sequence[Finding]) -> Line:
    name = "Worker"
    found = next((one for one in findings if one.area is Area.SALES and one.name == WORKER), None)
    if found is None:
        return red(name, "It could not be looked at.", "See the lines about the gate and the ledger first.")
    if found.level is Level.OK:
        return green(name, f"It is at work: {found.found}.")
    if "none" in found.found:
        return red(
            name,
            "None is running: what a lost process leaves behind stays taken, and changes may not come into force.",
            TELL,
            details=(_told(found),),
        )
    return amber(name, "It is at work, but slow.", TELL, details=(_told(found),))


def _debug(config: Config) -> Line:
    if config.debug:
        return red("Debug mode", "DEBUG is on: error pages show code and settings to strangers.", TELL, details=(
            "Unset DEBUG and start the shop again.",))  # fmt: skip
    return green("Debug mode", "Off.")


def _identity(config: Config) -> Line:
    name = "Who shoppers are"
    if config.trust_user_id_header:
        return red(
            name,
            "TRUST_USER_ID_HEADER is on: the shop believes who a request says it is. Without a proxy that checks this, "
            "anybody buys under any name, as often as they like.",
            "It is meant for load tests. " + TELL,
            details=("Unset TRUST_USER_ID_HEADER, unless a proxy sets X-User-Id on every request.",),
        )
    return green(name, "Shoppers are known by a signed cookie.")


def _limiter(config: Config) -> Line:
    name = "Rate limit"
    if not config.rate_limiter_enabled:
        return green(name, "Off: nobody is turned away for asking often.")
    most, seconds = config.rate_limit_max, config.rate_limit_window_seconds
    shoppers = most // REQUESTS_PER_SHOPPER
    found = (
        f"On: {most} requests in {seconds} s from one address. Signing in, buying and one more try are "
        f"{REQUESTS_PER_SHOPPER}; looking at pages doesn't count. So {shoppers} shoppers behind one address, such as "
        f"an office or a mobile network, can buy within {seconds} s; the rest are asked to wait."
    )
    details = (f"RATE_LIMIT_MAX={most}, RATE_LIMIT_WINDOW_SECONDS={seconds}, proxies {config.trusted_proxy_count}",)
    if shoppers < 1:
        return red(name, found, "Hardly anybody can buy. " + TELL, details=details)
    if not config.trusted_proxy_count and not is_loopback(config.host):
        return amber(
            name,
            f"{found} No proxy is declared: if there is one, all shoppers count as one address.",
            TELL,
            details=details,
        )
    if shoppers < FEW_SHOPPERS:
        return amber(name, found, "That is few. " + TELL, details=details)
    return green(name, found, details=details)


def _things(count: int) -> str:
    return "One thing is" if count == 1 else f"{count} things are"


def _could(count: int) -> str:
    return f"{count} thing{'s' if count != 1 else ''} could"


def _told(finding: Finding) -> str:
    return f"{finding.name}: {finding.found}. {finding.advice}".rstrip(". ") + "."
