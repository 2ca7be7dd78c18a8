"""A model behind OpenSSL: tls_server.py CHAIN KEY; prints its port, then serves."""

import http.server
import json
import ssl
import sys


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Model.served += 1
        reply = json.dumps({
            "id": f"chatcmpl-both-ends-{self.server.server_port}-{Model.served}",
            "object": "chat.completion",
            "created": 1760000000,
            "model": json.loads(body)["model"],
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": f"{len(body)} bytes came."},
                "finish_reason": "stop",
            }],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:3])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()
