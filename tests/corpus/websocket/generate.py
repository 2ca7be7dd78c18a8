#!/usr/bin/env python3
"""Writes the sessions of this folder with the `websockets` package.

usage: generate.py        (needs: pip install websockets)
"""
import json
import os
import random

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

FOLDER = os.path.dirname(os.path.abspath(__file__))


def messages(rng):
    """What the peers say: whether the client speaks, and the text or bytes."""
    yield True, json.dumps({"type": "session.update", "session": {"instructions": "Be brief. " * 40}})
    for turn in range(3):
        yield True, json.dumps({"type": "conversation.item.create", "item": {"text": f"Question {turn}? ünïcödé"}})
        yield True, json.dumps({"type": "response.create"})
        for n in range(8):
            yield False, json.dumps({"type": "response.output_text.delta", "event_id": f"event_{turn}_{n}",
                                     "delta": rng.choice(["Hello", " world", "!", " ✓"])})
        yield False, rng.randbytes(700)
        yield False, json.dumps({"type": "response.done", "response": {"id": f"resp_{turn}"}})
    yield True, json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 2_000})


def session(name, client_extensions, server_extensions, pieces):
    rng = random.Random(name)
    client = ClientProtocol(parse_uri("ws://localhost/v1/realtime"), extensions=client_extensions)
    server = ServerProtocol(extensions=server_extensions)
    request = client.connect()
    client.send_request(request)
    server.receive_data(b"".join(client.data_to_send()))
    (asked,) = (e for e in server.events_received() if isinstance(e, Request))
    response = server.accept(asked)
    server.send_response(response)
    client.receive_data(b"".join(server.data_to_send()))
    assert client.state is OPEN and server.state is OPEN
    chunks, said = [], []

    def flush(sender, receiver, direction):
        data = b"".join(sender.data_to_send())
        chunks.append([direction, data.hex()])
        receiver.receive_data(data)

    for from_client, content in messages(rng):
        sender, receiver = (client, server) if from_client else (server, client)
        direction = "write" if from_client else "read"
        data = content.encode() if isinstance(content, str) else content
        said.append([direction, not isinstance(content, str), data.hex()])
        parts = [data]
        if pieces > 1 and len(data) > pieces:
            cuts = sorted(rng.sample(range(1, len(data)), pieces - 1))
            parts = [data[a:b] for a, b in zip([0] + cuts, cuts + [len(data)])]
        for n, part in enumerate(parts):
            last = n + 1 == len(parts)
            if n > 0:
                sender.send_continuation(part, last)
            elif isinstance(content, str):
                sender.send_text(part, last)
            else:
                sender.send_binary(part, last)
            if rng.random() < 0.2:
                sender.send_ping(b"still there")
            flush(sender, receiver, direction)
    client.send_close(1000, "bye")
    flush(client, server, "write")
    flush(server, client, "read")
    session = {"extensions": response.headers.get("Sec-WebSocket-Extensions"), "chunks": chunks, "messages": said}
    with open(os.path.join(FOLDER, f"{name}.json"), "w") as f:
        json.dump(session, f, separators=(",", ":"))
        f.write("\n")


def main():
    session("plain", [], [], 1)
    session("plain-fragments", [], [], 4)
    client, server = ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
    session("deflate", [client()], [server()], 1)
    session("deflate-fragments", [client()], [server()], 3)
    session("deflate-small-window", [client(server_max_window_bits=9, client_max_window_bits=10)],
            [server(server_max_window_bits=9, client_max_window_bits=10)], 1)
    session("deflate-no-takeover", [client(server_no_context_takeover=True, client_no_context_takeover=True)],
            [server(server_no_context_takeover=True, client_no_context_takeover=True)], 2)


main()
