"""Keeps a server of busy_server.py busy: busy_client.py PORT; a number for each line it gets.

The numbers are those of the answers until then.
"""

import socket
import ssl
import sys
import threading
import time

context = ssl.create_default_context()
answers = 0


def ask():
    global answers
    address = ("127.0.0.1", int(sys.argv[1]))
    connection = context.wrap_socket(socket.create_connection(address), server_hostname=address[0])
    while True:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(64)
        answers += 1
        time.sleep(0.001)


threading.Thread(target=ask, daemon=True).start()
for _ in sys.stdin:
    print(answers, flush=True)
