"""One client and one server in one process, for tests of the probes.

Says `done` once it is ready, then obeys lines on standard input and answers each with
`done`. What the client sends is
appended to the file that the first argument names, and nothing else, so that a test can
tell byte for byte what crossed. The server answers each request with `ok`.
"""

import asyncio
import os
import random
import socket
import ssl
import struct
import sys
import threading

sent = open(sys.argv[1], "ab", buffering=0)
certificate, key = sys.argv[2], sys.argv[3]
numbers = random.Random(7)
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request(length):
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n"
    return head % length + numbers.randbytes(length)


def get(padding):
    head = b"GET / HTTP/1.1\r\nHost: test\r\nPadding: %s\r\nContent-Length: 0\r\n\r\n"
    return head % (b"x" * padding)


def serve(connection):
    rest = b""
    while True:
        while b"\r\n\r\n" not in rest:
            more = connection.recv(65536)
            if not more:
                return connection.close()
            rest += more
        head, rest = rest.split(b"\r\n\r\n", 1)
        length = int(head.rsplit(b" ", 1)[1])
        while length > len(rest):
            length -= len(rest)
            rest = connection.recv(65536)
        rest = rest[length:]
        connection.sendall(REPLY)


def listen(wrap):
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=lambda: serve(wrap(connection)), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()


server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(certificate, key)
client = ssl.create_default_context(cafile=certificate)
client.check_hostname = False
plain_at = listen(lambda connection: connection)
tls_at = listen(lambda connection: server.wrap_socket(connection, server_side=True))


def reuse(length):
    """A descriptor is free while the call that closes it still waits for its last bytes to go.

    The next connection gets its number, and asks before that call returns and is answered after.
    """
    global connection
    full, stuck, _listener = slow_pair()
    number = full.fileno()
    closing = threading.Thread(target=full.close)
    closing.start()
    while os.path.exists("/proc/self/fd/%d" % number):
        pass
    connection = socket.create_connection(plain_at)
    assert connection.fileno() == number
    print("at", *connection.getsockname(), flush=True)
    data = request(length)
    sent.write(data)
    connection.sendall(data[:-1])
    assert closing.is_alive()
    stuck.close()
    closing.join()
    connection.sendall(data[-1:])
    answered()


def slow_pair():
    """Two ends of a connection: one that has more to send than the other takes, and waits
    when it is closed. The listener is kept, so that no lower descriptor gets free."""
    listener = socket.create_server(("127.0.0.1", 0))
    one = socket.create_connection(listener.getsockname())
    other, _ = listener.accept()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    one.sendall(get(0))
    one.setblocking(False)
    try:
        while True:
            one.send(b"x" * 65536)
    except BlockingIOError:
        pass
    one.setblocking(True)
    return one, other, listener


def answered():
    got = b""
    while len(got) < len(REPLY):
        got += connection.recv(4096)


async def served_asynchronously(count, length):
    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.rsplit(b" ", 1)[1]))
        writer.write(REPLY)
        writer.close()

    async def one(at):
        reader, writer = await asyncio.open_connection(*at, ssl=client)
        writer.write(request(length))
        await reader.readexactly(len(REPLY))
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
    at = listener.sockets[0].getsockname()
    await asyncio.gather(*[one(at) for _ in range(count)])


async def asynchronous(count, length):
    async def one():
        reader, writer = await asyncio.open_connection(*tls_at, ssl=client)
        print("at", *writer.get_extra_info("sockname"), flush=True)
        body = request(length)
        writer.write(body)
        await reader.readexactly(len(REPLY))
        writer.close()

    await asyncio.gather(*[one() for _ in range(count)])


connection = None
print("done", flush=True)
for line in sys.stdin:
    order, *numbers_given = line.split()
    values = [int(n) for n in numbers_given]
    if order == "plain":
        connection = socket.create_connection(plain_at)
    elif order == "tls":
        connection = client.wrap_socket(socket.create_connection(tls_at))
    elif order == "send":
        data = request(values[0])
        sent.write(data)
        connection.sendall(data)
        answered()
    elif order == "last":
        data = request(values[0])
        sent.write(data)
        connection.sendall(data)
        os._exit(0)
    elif order == "get":
        data = get(values[0])
        sent.write(data)
        connection.sendall(data)
        answered()
    elif order == "parted":
        data = request(values[1])
        sent.write(data)
        connection.sendall(data[: values[0]])
        connection.sendall(data[values[0] :])
        answered()
    elif order == "vector":
        data = request(values[0])
        sent.write(data)
        cuts = [0, 40, 41, 41, len(data) // 2, len(data)]
        parts = [data[a:b] for a, b in zip(cuts, cuts[1:])]
        while parts:
            count = connection.sendmsg(parts) if len(parts) % 2 else os.writev(connection.fileno(), parts)
            while parts and count >= len(parts[0]):
                count -= len(parts.pop(0))
            if count:
                parts[0] = parts[0][count:]
        answered()
    elif order == "async":
        asyncio.run(asynchronous(*values))
    elif order == "served":
        asyncio.run(served_asynchronously(*values))
    elif order == "reuse":
        reuse(values[0])
    elif order == "close":
        connection.close()
    if connection is not None and order in ("plain", "tls"):
        print("at", *connection.getsockname(), flush=True)
    print("done", flush=True)
