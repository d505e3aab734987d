"""Whether a local Ollama is there."""

import http.server
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from turnout.gateway.ollama import PATIENCE_S, is_answering


@contextmanager
def answering(status, body):
    """A server that says `body` to everything; gives its address and what it was asked."""
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[:2], asked
        finally:
            server.shutdown()
            thread.join()


def test_an_ollama_tells_its_version():
    """One question, on one path."""
    with answering(200, b'{"version":"0.12.3"}') as (address, asked):
        assert is_answering(address)
    assert asked == ["/api/version"]


@pytest.mark.parametrize(("status", "body"), [(404, b"404 page not found"), (200, b"<html>")])
def test_another_server_on_that_port_is_none(status, body):
    """Whatever else listens there."""
    with answering(status, body) as (address, _):
        assert not is_answering(address)


def test_nobody_is_none():
    """A closed port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()[:2]
    assert not is_answering(address)


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9\r\n"])
def test_a_server_that_says_nothing_or_no_http_does_not_hold_the_start(said):
    """At most its patience."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            connection, _ = server.accept()
            with connection:
                connection.sendall(said)
                connection.recv(1024)
                connection.recv(1024)

        thread = threading.Thread(target=greet)
        thread.start()
        began = time.perf_counter()
        assert not is_answering(server.getsockname()[:2])
        assert time.perf_counter() - began < PATIENCE_S + 1
        thread.join()
