"""Serves the plain test server at a Unix-domain socket: unix_socket.py PATH."""

import os
import socket
import sys
import threading

host, port = os.environ["PLAIN_ADDRESS"].rsplit(":", 1)


def pass_on(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[1])
listener.listen()
print("listens", flush=True)
while True:
    client, _ = listener.accept()
    server = socket.create_connection((host, int(port)))
    for ends in ((client, server), (server, client)):
        threading.Thread(target=pass_on, args=ends, daemon=True).start()
