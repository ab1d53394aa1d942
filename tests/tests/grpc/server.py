"""A server of gRPC without a line of generated code. Its port is the first line that it says; with a certificate and a key it
speaks TLS."""

import sys
import time
from concurrent import futures

import grpc


def unary(request, context):
    if request == b"fail":
        context.set_trailing_metadata((("x-reason", "asked for"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: 100%")
    if request == b"sleep":
        context.add_callback(lambda: print("given up", flush=True))
        time.sleep(3)
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-served", metadata.get("x-asked", "")),))
    return b"unary " + request


def many(request, context):
    for n in range(int(request)):
        yield b"%d " % n + b"x" * 1000


def both(requests, context):
    for request in requests:
        yield b"you said " + request


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/test.Echo/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/test.Echo/Many": grpc.unary_stream_rpc_method_handler(many),
            "/test.Echo/Both": grpc.stream_stream_rpc_method_handler(both),
        }.get(details.method)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
server.add_generic_rpc_handlers((Handler(),))
if len(sys.argv) > 1:
    certificate, key = (open(path, "rb").read() for path in sys.argv[1:])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
