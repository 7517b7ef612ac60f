"""A connection to a server: TLS, a token, deadlines, and what is asked again."""

import pathlib
import time
import urllib.parse

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from stubs import adapter_pb2, adapter_pb2_grpc, generation_pb2_grpc

# A server that restarts is found again within seconds; gRPC's own longest pause is two minutes.
OPTIONS = [("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 2000)]
PAUSE_SECONDS = 0.5  # between calls of a server that is not there


class Server:
    """What answers at `http://HOST:PORT` or `https://HOST:PORT`. `ca`, `cert` and `key` name PEM files."""

    def __init__(self, endpoint, ca=None, cert=None, key=None, token=None):
        url = urllib.parse.urlsplit(endpoint)
        if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
            raise ValueError(f"expected http://HOST:PORT or https://HOST:PORT, found '{endpoint}'")
        is_local = url.hostname in ("localhost", "::1") or url.hostname.startswith("127.")
        if token and url.scheme == "http" and not is_local:
            raise ValueError(f"expected https:// for a token to be sent to {url.hostname}, found http://")
        if url.scheme == "http":
            if ca or cert or key:
                raise ValueError(f"expected https:// beside certificates, found '{endpoint}'")
            self.channel = grpc.insecure_channel(url.netloc, OPTIONS)
        else:
            read = lambda path: pathlib.Path(path).read_bytes() if path else None
            credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(cert))
            self.channel = grpc.secure_channel(url.netloc, credentials, OPTIONS)
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        self.generation = generation_pb2_grpc.GenerationServiceStub(self.channel)
        self.adapter_service = adapter_pb2_grpc.AdapterServiceStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def adapters(self, timeout=30):
        """The adapters that requests can name."""
        request = adapter_pb2.ListAdaptersRequest()
        return self.adapter_service.ListAdapters(request, timeout=timeout, metadata=self.metadata).adapters

    def generate(self, request, timeout, patience=0, refused=lambda error, pause: None):
        """The responses to a request, as they come; leaving the loop over them cancels the work in every stage.

        All is over, for client and server, after `timeout` seconds. As long as the request has not been accepted it is
        made again: when a full or draining server says that it should be, and, for `patience` seconds, when nobody
        answers at the address. `refused(error, pause)` is told before each pause.
        """
        start = time.monotonic()
        accepted = False
        while True:
            left = start + timeout - time.monotonic()
            call = self.generation.GenerateVideo(request, timeout=left, metadata=self.metadata)
            try:
                for response in call:
                    accepted = True
                    yield response
                return
            except grpc.RpcError as caught:
                error = caught
                waited = time.monotonic() - start
                pause = pause_before_retry(error, waited < patience)
                if accepted or pause is None or waited + pause >= timeout:
                    raise
            finally:
                call.cancel()  # of no effect where it is over
            refused(error, pause)
            time.sleep(pause)


def pause_before_retry(error, is_patient):
    """Seconds after which a refused call is to be made again; None where that would not help."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    if error.code() == grpc.StatusCode.UNAVAILABLE and is_patient:
        return PAUSE_SECONDS
    return None
