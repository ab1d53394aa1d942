"""Every kind of call of gRPC against the server beside it, through what listens at the address; with a certificate over TLS."""

import queue
import sys

import grpc

if len(sys.argv) > 2:
    trusted = grpc.ssl_channel_credentials(open(sys.argv[2], "rb").read())
    options = (("grpc.ssl_target_name_override", "a.example"),)
    channel = grpc.secure_channel(sys.argv[1], trusted, options)
else:
    channel = grpc.insecure_channel(sys.argv[1])
unary = channel.unary_unary("/test.Echo/Unary")
many = channel.unary_stream("/test.Echo/Many")
both = channel.stream_stream("/test.Echo/Both")
PATIENCE = 60


def failure(call, request, timeout=PATIENCE):
    try:
        call(request, timeout=timeout)
    except grpc.RpcError as error:
        return error
    raise SystemExit("no failure of %r" % request)


answer, call = unary.with_call(b"hello", metadata=(("x-asked", "so"),), timeout=PATIENCE)
assert answer == b"unary hello", answer
assert dict(call.trailing_metadata())["x-served"] == "so", call.trailing_metadata()

parts = list(many(b"500", timeout=PATIENCE))
assert len(parts) == 500 and parts[499].startswith(b"499 x"), len(parts)

# Each answer comes before the next request is there.
words = queue.Queue()
answers = both(iter(words.get, None), timeout=PATIENCE)
for n in range(50):
    words.put(b"%d" % n)
    assert next(answers) == b"you said %d" % n
words.put(None)
assert list(answers) == []
assert answers.code() == grpc.StatusCode.OK

large = b"y" * 3_000_000
assert unary(large, timeout=PATIENCE) == b"unary " + large

error = failure(unary, b"fail")
assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
assert error.details() == "not today: 100%", error.details()
assert dict(error.trailing_metadata())["x-reason"] == "asked for", error.trailing_metadata()

error = failure(channel.unary_unary("/test.Echo/Nothing"), b"")
assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error

error = failure(unary, b"sleep", timeout=0.5)
assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error

calls = [unary.future(b"%d" % n, timeout=PATIENCE) for n in range(500)]
for n, call in enumerate(calls):
    assert call.result() == b"unary %d" % n
print("all served")
