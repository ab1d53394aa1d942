"""A server of HTTP/1.1 with a page, and a WebSocket that says everything again. Its port is the first line that it says, then the head
of each WebSocket."""

import base64
import hashlib
import socket
import struct
import threading


def serve(client):
    stream = client.makefile("rb")
    while True:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return
            head += line
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        fields = {name.lower(): value for name, value in fields.items()}
        if fields.get(b"upgrade") == b"websocket":
            break
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\npage")
    print(head, flush=True)
    digest = hashlib.sha1(fields[b"sec-websocket-key"] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    client.sendall(answer + base64.b64encode(digest) + b"\r\n\r\n")
    while True:
        first, length = stream.read(2)
        length &= 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", stream.read(2))
        mask = stream.read(4)
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(stream.read(length)))
        size = bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length)
        client.sendall(bytes([first]) + size + payload)
        if first & 0x0F == 8:
            return


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
