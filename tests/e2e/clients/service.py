"""A service that asks a model for each request it serves: service.py MODE; prints its port.

A request `POST /ask` names its question in the body. The answer is what the model said.
`GET /health` asks nobody. Where the question begins with `pass on`, the trace context of
the request goes on to the model.
"""

import asyncio
import http.server
import os
import sys

import httpx2
import requests

URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
KEY = {"Authorization": "Bearer " + os.environ["CANARY"]}
# Long enough for questions that come together to be open together.
SLOWLY = {"x-test-pause-ms": "40", "x-test-words": "12"}


def asked(question):
    return {
        "model": "gpt-4o-mini",
        "stream": True,
        "messages": [{"role": "user", "content": question}],
    }


def fields(question, traceparent):
    passed = question.startswith("pass on") and traceparent
    return KEY | SLOWLY | ({"traceparent": traceparent} if passed else {})


class Threads(http.server.BaseHTTPRequestHandler):
    """A thread a connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"well")

    def do_POST(self):
        question = self.rfile.read(int(self.headers["Content-Length"])).decode()
        sent = fields(question, self.headers["traceparent"])
        reply = requests.post(URL, json=asked(question), headers=sent)
        self.answer(reply.content)

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def threads():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Threads)
    print(server.server_port, flush=True)
    server.serve_forever()


def loop():
    """One thread for all."""

    async def run():
        async with httpx2.AsyncClient(timeout=60) as model:

            async def answer(reader, writer):
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                got = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines[1:])}
                question = (await reader.readexactly(int(got["content-length"]))).decode()
                body = b"well"
                if lines[0].startswith("POST"):
                    sent = fields(question, got.get("traceparent"))
                    reply = await model.post(URL, json=asked(question), headers=sent)
                    body = reply.content
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(answer, "127.0.0.1", 0)
            print(server.sockets[0].getsockname()[1], flush=True)
            await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    {"threads": threads, "loop": loop}[sys.argv[1]]()
