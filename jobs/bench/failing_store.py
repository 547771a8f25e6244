"""An S3 server on this machine (moto's) that fails as real ones do: now and then it says 503, or 500 after all was done."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
LOST = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass
class Failing:
    """An application that answers every n-th request with an error: 503 before anything is done and 500 after, in turns."""

    inner: Application
    every: int = 0
    """0: no request fails."""
    seen: list[str] = field(default_factory=list)
    """METHOD /bucket/key of every request."""
    failed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        with self._lock:
            self.seen.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            fails = bool(self.every) and len(self.seen) % self.every == 0
            self.failed += fails
            lost = fails and self.failed % 2 == 0
        if not fails:
            return self.inner(environ, start_response)
        if lost:
            list(self.inner(environ, lambda *_: None))
        body = LOST if lost else BUSY
        start_response("500 Internal Server Error" if lost else "503 Slow Down", [("Content-Type", "application/xml")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


@contextmanager
def running(bucket: str, every: int = 0) -> Iterator[tuple[Failing, Mapping[str, str]]]:
    """The server while the block runs, with an empty bucket, and what the environment must say to reach it."""
    import boto3
    import s3fs
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        def log(self, *_: Any) -> None:
            pass

    application = Failing(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        s3fs.S3FileSystem.clear_instance_cache()  # those of a server before this one
        with mock.patch.dict(os.environ, environment):
            boto3.client("s3").create_bucket(Bucket=bucket)
        application.every = every
        yield application, environment
    finally:
        server.shutdown()
