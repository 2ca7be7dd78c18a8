"""Calls a model through one build of libcurl: libcurl.py LIBRARY MODE [N].

Prints the body of each reply, or of a stream a line of JSON with what was put together.
With STEPPED set, it says so and waits for a line on standard input first.
"""

import ctypes
import json
import os
import sys

CERTIFICATES, HEADERS, BODY, URL, WRITE = 10065, 10023, 10015, 10002, 20011

library = ctypes.CDLL(sys.argv[1])
library.curl_easy_init.restype = ctypes.c_void_p
library.curl_easy_strerror.restype = ctypes.c_char_p
library.curl_slist_append.restype = ctypes.c_void_p
library.curl_slist_append.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
received = bytearray()


@ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)
def receive(data, size, count, _):
    received.extend(ctypes.string_at(data, size * count))
    return size * count


def set(handle, option, value):
    assert library.curl_easy_setopt(ctypes.c_void_p(handle), option, value) == 0


def body(stream):
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Grüße an 漢字 🦀"}]}
    if stream:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(request, ensure_ascii=False).encode()


def gather(events):
    id, text, usage = None, "", None
    for line in events.decode().splitlines():
        if line.startswith("data: {"):
            chunk = json.loads(line.removeprefix("data: "))
            id, usage = chunk["id"], chunk.get("usage")
            text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return {"id": id, "text": text, "input": usage["prompt_tokens"], "output": usage["completion_tokens"]}


def main(mode, n):
    if os.environ.get("STEPPED"):
        print("waits", flush=True)
        sys.stdin.readline()
    library.curl_global_init(3)
    handle = library.curl_easy_init()
    asked = body(mode == "stream")
    headers = None
    fields = json.loads(os.environ.get("FIELDS", "{}"))
    fields |= {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["CANARY"]}
    for name, value in fields.items():
        headers = library.curl_slist_append(headers, f"{name}: {value}".encode())
    set(handle, URL, (os.environ["OPENAI_BASE_URL"] + "/chat/completions").encode())
    set(handle, CERTIFICATES, os.environ["SSL_CERT_FILE"].encode())
    set(handle, HEADERS, ctypes.c_void_p(headers))
    set(handle, BODY, asked)
    set(handle, WRITE, receive)
    for _ in range(n):
        received.clear()
        error = library.curl_easy_perform(ctypes.c_void_p(handle))
        if error:
            sys.exit(library.curl_easy_strerror(error).decode())
        print(json.dumps(gather(received)) if mode == "stream" else received.decode(), flush=True)
    library.curl_easy_cleanup(ctypes.c_void_p(handle))


if __name__ == "__main__":
    main(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
