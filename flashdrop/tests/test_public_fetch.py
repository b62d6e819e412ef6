"""Fetching somebody else's address: what is there, and nothing of our own network."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flashdrop.public_fetch import MAX_BYTES, Fetched, NotFetched, NotPublic, TooLarge, fetch, is_public


def anybody(address: str) -> bool:
    """Lets the tests' own server be asked."""
    return True


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for `localhost`, signed by itself; beside it, with `.crt`, the certificate alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file = tmp_path_factory.mktemp("tls") / "one.pem"
    public = made.public_bytes(serialization.Encoding.PEM)
    file.write_bytes(pem + public)
    Path(f"{file}.crt").write_bytes(public)
    return file


class Pictures(BaseHTTPRequestHandler):
    asked: list[str] = []

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        if self.path == "/slow":
            time.sleep(4)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = {"/huge": MAX_BYTES + 1, "/heavy": 900_000}.get(self.path, 1234)
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8" if self.path == "/page" else "image/png")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        try:
            if self.path == "/drip":
                for _ in range(40):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.1)
            else:
                self.wfile.write(b"x" * size)
        except OSError:
            pass


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[tuple[str, ssl.SSLContext]]:
    """A server of pictures by https, and a context that trusts it."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    listener.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True).start()
    trusting = ssl.create_default_context(cafile=f"{certificate}.crt")
    yield f"https://localhost:{listener.server_port}", trusting
    listener.shutdown()
    listener.server_close()


Fetch = Callable[[str], Fetched]


@pytest.fixture
def get(server: tuple[str, ssl.SSLContext]) -> Fetch:
    url, trusting = server
    Pictures.asked.clear()
    return lambda path: fetch(url + path, anybody, trusting)


def test_what_is_there_is_told(get: Fetch) -> None:
    assert get("/a.png") == Fetched("image/png", 1234)
    assert get("/page") == Fetched("text/html", 1234)
    assert get("/to//a.png") == Fetched("image/png", 1234)


def test_what_is_not_there_is_told(get: Fetch) -> None:
    with pytest.raises(NotFetched, match="answers 404"):
        get("/gone")


def test_no_more_than_the_limit_is_read(get: Fetch) -> None:
    with pytest.raises(TooLarge, match="2 MB"):
        get("/huge")


@pytest.mark.parametrize("path", ["/slow", "/drip"])
def test_a_server_that_takes_its_time_is_not_waited_for(get: Fetch, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(NotFetched, match="within 2 s"):
        get(path)
    assert time.monotonic() - began < 3


def test_our_own_network_is_never_asked(server: tuple[str, ssl.SSLContext]) -> None:
    url, trusting = server
    Pictures.asked.clear()
    for address in (url, url.replace("localhost", "127.0.0.1"), url.replace("localhost", "[::1]")):
        with pytest.raises(NotPublic, match="inside a network"):
            fetch(f"{address}/a.png", context=trusting)
    assert Pictures.asked == []


def test_a_redirect_into_our_own_network_is_not_followed(server: tuple[str, ssl.SSLContext]) -> None:
    url, trusting = server
    Pictures.asked.clear()
    inside = url.replace("localhost", "127.0.0.2")
    with pytest.raises(NotPublic):
        fetch(f"{url}/to/{inside}/a.png", lambda address: address != "127.0.0.2", trusting)
    assert Pictures.asked == [f"/to/{inside}/a.png"]


def test_a_redirect_away_from_https_is_not_followed(get: Fetch) -> None:
    for target in ("http://localhost/a.png", "file:///etc/passwd", "gopher://localhost/1"):
        with pytest.raises(NotFetched, match="not https"):
            get(f"/to/{target}")


def test_a_redirect_in_circles_ends(get: Fetch) -> None:
    with pytest.raises(NotFetched, match="more than 3 times"):
        get("/to//to//to//to//to//a.png")


def test_a_certificate_that_is_not_in_order_is_refused(server: tuple[str, ssl.SSLContext]) -> None:
    with pytest.raises(NotFetched, match="certificate"):
        fetch(f"{server[0]}/a.png", anybody)


def test_a_name_that_nobody_knows_is_told() -> None:
    with pytest.raises(NotFetched, match=r"nobody knows the name|did not answer|can't be reached"):
        fetch("https://nothing.invalid/a.png")


def test_a_port_at_which_nobody_listens_is_told() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(NotFetched, match="can't be reached"):
            fetch(f"https://127.0.0.1:{bound.getsockname()[1]}/a.png", anybody)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:db8::1",
        "fec0::1", "feff::1", "64:ff9b:1::1", "::10.0.0.1", "::ffff:0:10.0.0.1", "4000::1", "5f00::1", "3fff::1",
        "2001:1::1", "2001:db8::1", "192.88.99.1", "192.0.0.9", "2002:c058:6301::1",
    ],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1"]
)
def test_what_is_public(address: str) -> None:
    assert is_public(address)
