"""Calls a model through one of Python's ways to speak TLS: stacks.py MODE [N].

N calls at once where the way allows it. Prints a line of JSON for each reply: id, text and
tokens. With STEPPED set, it waits for a line on standard input first.
"""

import asyncio
import importlib
import io
import json
import os
import ssl
import sys

URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
AUTHORITY = os.environ["SSL_CERT_FILE"]
ASKED = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Grüße an 漢字 🦀"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
HEAD = {
    **json.loads(os.environ.get("FIELDS", "{}")),
    "Authorization": "Bearer " + os.environ["CANARY"],
    "Content-Type": "application/json",
}


def gather(events):
    id, text, usage = None, "", None
    for line in events.decode().splitlines():
        if line.startswith("data: {"):
            chunk = json.loads(line.removeprefix("data: "))
            id, usage = chunk["id"], chunk.get("usage")
            text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    reply = {"id": id, "text": text, "input": usage["prompt_tokens"], "output": usage["completion_tokens"]}
    print(json.dumps(reply), flush=True)


async def asyncio_aiohttp(n):
    import aiohttp

    trust = ssl.create_default_context(cafile=AUTHORITY)
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, headers=HEAD) as session:

        async def one():
            async with session.post(URL, json=ASKED) as reply:
                gather(await reply.read())

        await asyncio.gather(*(one() for _ in range(n)))


def by_aiohttp(n):
    asyncio.run(asyncio_aiohttp(n))


def by_uvloop(n):
    import uvloop

    uvloop.run(asyncio_aiohttp(n))


def by_pycurl(n):
    """Its wheel has a libssl of its own."""
    import pycurl

    handle = pycurl.Curl()
    for _ in range(n):
        body = io.BytesIO()
        handle.setopt(pycurl.URL, URL)
        handle.setopt(pycurl.CAINFO, AUTHORITY)
        handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in HEAD.items()])
        handle.setopt(pycurl.POSTFIELDS, json.dumps(ASKED))
        handle.setopt(pycurl.WRITEFUNCTION, body.write)
        handle.perform()
        gather(body.getvalue())
    handle.close()


def by_curl_cffi(n):
    """Its wheel has BoringSSL inside an extension module."""
    from curl_cffi import requests

    with requests.Session(impersonate="chrome", verify=AUTHORITY) as session:
        for _ in range(n):
            gather(session.post(URL, headers=HEAD, data=json.dumps(ASKED)).content)


if __name__ == "__main__":
    mode = sys.argv[1]
    # Each way has a module of its name, which maps what it needs.
    importlib.import_module(mode)
    if os.environ.get("STEPPED"):
        sys.stdin.readline()
    globals()["by_" + mode](int(sys.argv[2]) if len(sys.argv) > 2 else 1)
