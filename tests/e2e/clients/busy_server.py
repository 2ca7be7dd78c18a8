"""A TLS server that is busy with something else: busy_server.py CHAIN KEY; prints its port.

Each line of a client gets one in return. Orders on its input: `connect` opens a TCP connection
to the model, `call` makes a call over it, `fork` lets a child do both, which prints its number
and waits for SIGUSR1.
"""

import json
import os
import signal
import socket
import ssl
import sys
import threading
import urllib.parse

MODEL = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "well?"}]})


def serve(listener, context):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, context), daemon=True).start()


def answer(connection, context):
    with context.wrap_socket(connection, server_side=True) as connection:
        while connection.recv(64):
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def connect():
    return socket.create_connection((MODEL.hostname, MODEL.port))


def call(connection):
    context = ssl.create_default_context()
    with context.wrap_socket(connection, server_hostname=MODEL.hostname) as connection:
        head = (
            f"POST {MODEL.path}/chat/completions HTTP/1.1\r\nHost: {MODEL.netloc}\r\n"
            f"Authorization: Bearer {os.environ['CANARY']}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        connection.sendall((head + BODY).encode())
        reply = b"".join(iter(lambda: connection.recv(4096), b""))
    print(json.dumps(json.loads(reply.partition(b"\r\n\r\n")[2])), flush=True)


def obey():
    connection = None
    for order in map(str.strip, sys.stdin):
        if order == "connect":
            connection = connect()
            print("connected", flush=True)
        elif order == "call":
            call(connection)
        elif order == "fork" and os.fork() == 0:
            print(os.getpid(), flush=True)
            if signal.sigtimedwait([signal.SIGUSR1], 60):
                call(connect())
            os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:3])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=serve, args=(listener, context), daemon=True).start()
    obey()
