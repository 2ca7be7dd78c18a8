"""Calls a model through one of Python's ways to speak HTTP and TLS: stacks.py WAY [N].

N calls at once, every second one streamed. Prints a line of JSON for each reply: id, text
and tokens. With STEPPED set, it says so and waits for a line on standard input before
the calls, and for another one, or its end, after them.
"""

import asyncio
import importlib
import io
import json
import os
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
AUTHORITY = os.environ["SSL_CERT_FILE"]
ASKED = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Grüße an 漢字 🦀"}]}
STREAMED = ASKED | {"stream": True, "stream_options": {"include_usage": True}}
HEAD = {
    **json.loads(os.environ.get("FIELDS", "{}")),
    "Authorization": "Bearer " + os.environ["CANARY"],
    "Content-Type": "application/json",
}


def wishes(n):
    return [(ASKED, STREAMED)[i % 2] for i in range(n)]


def tell(body):
    body = body.decode()
    if body.startswith("{"):
        reply = json.loads(body)
        say(reply["id"], reply["choices"][0]["message"]["content"], reply["usage"])
        return
    id, text, usage = None, "", None
    for line in body.splitlines():
        if line.startswith("data: {"):
            chunk = json.loads(line.removeprefix("data: "))
            id, usage = chunk["id"], chunk.get("usage")
            text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    say(id, text, usage)


def say(id, text, usage):
    reply = {"id": id, "text": text, "input": usage["prompt_tokens"], "output": usage["completion_tokens"]}
    print(json.dumps(reply), flush=True)


def at_once(ask, n):
    """By a thread for each; the lines are printed by this one."""
    with ThreadPoolExecutor(n) as threads:
        for body in threads.map(ask, wishes(n)):
            tell(body)


def by_requests(n):
    import requests

    with requests.Session() as session:
        at_once(lambda wish: session.post(URL, json=wish, headers=HEAD, verify=AUTHORITY).content, n)


def by_urllib3(n):
    """By way of pyOpenSSL: TLS of an extension module that has OpenSSL inside."""
    import urllib3
    from urllib3.contrib import pyopenssl

    pyopenssl.inject_into_urllib3()
    with urllib3.PoolManager(n, ca_certs=AUTHORITY) as pool:
        at_once(lambda wish: pool.request("POST", URL, body=json.dumps(wish), headers=HEAD).data, n)


async def asyncio_httpx(n, http2):
    import httpx

    trust = ssl.create_default_context(cafile=AUTHORITY)
    async with httpx.AsyncClient(verify=trust, http2=http2, headers=HEAD) as client:

        async def one(wish):
            tell((await client.post(URL, json=wish)).content)

        await asyncio.gather(*map(one, wishes(n)))


def by_httpx(n):
    asyncio.run(asyncio_httpx(n, http2=False))


def by_h2(n):
    """What httpx takes for HTTP/2."""
    asyncio.run(asyncio_httpx(n, http2=True))


async def asyncio_aiohttp(n):
    import aiohttp

    trust = ssl.create_default_context(cafile=AUTHORITY)
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, headers=HEAD) as session:

        async def one(wish):
            async with session.post(URL, json=wish) as reply:
                tell(await reply.read())

        await asyncio.gather(*map(one, wishes(n)))


def by_aiohttp(n):
    asyncio.run(asyncio_aiohttp(n))


def by_uvloop(n):
    import uvloop

    uvloop.run(asyncio_aiohttp(n))


def by_pycurl(n):
    """Its wheel has a libssl of its own."""
    import pycurl

    def handle(wish):
        handle = pycurl.Curl()
        handle.body = io.BytesIO()
        handle.setopt(pycurl.URL, URL)
        handle.setopt(pycurl.CAINFO, AUTHORITY)
        handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in HEAD.items()])
        handle.setopt(pycurl.POSTFIELDS, json.dumps(wish))
        handle.setopt(pycurl.WRITEFUNCTION, handle.body.write)
        return handle

    many, handles = pycurl.CurlMulti(), [handle(wish) for wish in wishes(n)]
    for one in handles:
        many.add_handle(one)
    while many.perform()[1]:
        many.select(1.0)
    for one in handles:
        assert one.getinfo(pycurl.RESPONSE_CODE) == 200, one.errstr()
        tell(one.body.getvalue())


def by_curl_cffi(n):
    """Its wheel has BoringSSL inside an extension module."""
    from curl_cffi import AsyncSession

    async def run():
        async with AsyncSession(impersonate="chrome", verify=AUTHORITY) as session:

            async def one(wish):
                tell((await session.post(URL, headers=HEAD, data=json.dumps(wish))).content)

            await asyncio.gather(*map(one, wishes(n)))

    asyncio.run(run())


if __name__ == "__main__":
    way = sys.argv[1]
    # Each way has a module of its name, which maps what it needs.
    importlib.import_module(way)
    if way == "urllib3":
        importlib.import_module("OpenSSL.SSL")
    if os.environ.get("STEPPED"):
        print("waits", flush=True)
        sys.stdin.readline()
    globals()["by_" + way](int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    if os.environ.get("STEPPED"):
        sys.stdin.readline()
