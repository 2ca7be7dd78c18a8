"""Calls a model with a real client library: sdk.py MODE [N].

Prints a line of JSON for each reply, as the library gave it: id, text, and the tokens
where the reply told them.
"""

import asyncio
import ctypes
import json
import os
import sys

import anthropic
import httpx2
import openai
import requests

PROMPT = [{"role": "user", "content": "Grüße an 漢字 🦀"}]
KEY = os.environ["CANARY"]
MODEL = "gpt-4o-mini"
CLAUDE = "claude-sonnet-5"


def say(id, text, input=None, output=None):
    print(json.dumps({"id": id, "text": text, "input": input, "output": output}), flush=True)


def chat_reply(reply):
    say(reply.id, reply.choices[0].message.content, reply.usage.prompt_tokens, reply.usage.completion_tokens)


def fields():
    """Fields that tell the test server how to answer."""
    return json.loads(os.environ.get("FIELDS", "{}"))


def client(kind=openai.OpenAI):
    return kind(api_key=KEY, max_retries=0, default_headers=fields())


def openai_sync(n):
    with client() as c:
        for _ in range(n):
            chat_reply(c.chat.completions.create(model=MODEL, messages=PROMPT))


def openai_stream(n):
    with client() as c:
        for _ in range(n):
            stream = c.chat.completions.create(
                model=MODEL, messages=PROMPT, stream=True, stream_options={"include_usage": True}
            )
            say(*gather(stream))


def gather(chunks):
    id, text, usage = None, "", None
    for chunk in chunks:
        id, usage = chunk.id, chunk.usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return id, text, usage.prompt_tokens, usage.completion_tokens


async def one_async(c):
    stream = await c.chat.completions.create(
        model=MODEL, messages=PROMPT, stream=True, stream_options={"include_usage": True}
    )
    say(*gather([chunk async for chunk in stream]))


def openai_async(n):
    """N streams at once."""

    async def run():
        # As many connections as streams.
        limits = httpx2.Limits(max_connections=None)
        async with openai.AsyncOpenAI(
            api_key=KEY,
            max_retries=0,
            timeout=300,
            default_headers=fields(),
            http_client=openai.DefaultAsyncHttpxClient(limits=limits),
        ) as c:
            await asyncio.gather(*(one_async(c) for _ in range(n)))

    asyncio.run(run())


def openai_responses(n):
    with client() as c:
        for _ in range(n):
            with c.responses.stream(model=MODEL, input=PROMPT[0]["content"]) as stream:
                reply = stream.get_final_response()
            say(reply.id, reply.output_text, reply.usage.input_tokens, reply.usage.output_tokens)


def openai_embeddings(n):
    with client() as c:
        for _ in range(n):
            reply = c.embeddings.create(model="text-embedding-3-small", input="Grüße")
            say("", "", reply.usage.prompt_tokens)


def openai_error(n):
    with client() as c:
        for _ in range(n):
            try:
                c.chat.completions.create(model=MODEL, messages=PROMPT)
            except openai.APIStatusError as error:
                say("", str(error.status_code))


def anthropic_stream(n):
    with client(anthropic.Anthropic) as c:
        for _ in range(n):
            with c.messages.stream(model=CLAUDE, max_tokens=64, messages=PROMPT) as stream:
                reply = stream.get_final_message()
            u = reply.usage
            cached = (u.cache_read_input_tokens or 0) + (u.cache_creation_input_tokens or 0)
            say(reply.id, reply.content[0].text, u.input_tokens + cached, u.output_tokens)


def requests_chat(n):
    """Waits for a line on standard input before each call but the first."""
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    with requests.Session() as session:
        session.headers.update(fields())
        session.headers["Authorization"] = "Bearer " + KEY
        for i in range(n):
            if i and os.environ.get("STEPPED"):
                sys.stdin.readline()
            reply = session.post(url, json={"model": MODEL, "messages": PROMPT}).json()
            usage = reply["usage"]
            text = reply["choices"][0]["message"]["content"]
            say(reply["id"], text, usage["prompt_tokens"], usage["completion_tokens"])


def stepping(n):
    """Calls, then the number of bytes that the kernel has laid out for single-stepping.

    Its page begins with the landing of return probes; instructions to step come after.
    """
    requests_chat(n)
    with open("/proc/self/maps") as maps:
        pages = [line.split("-")[0] for line in maps if line.endswith("[uprobes]\n")]
    laid_out = b"".join(ctypes.string_at(int(page, 16) + 128, 4096 - 128) for page in pages)
    say("stepping", str(len(laid_out) - laid_out.count(0)))


def long_after_gets(n):
    """Twenty requests with GET, and then a call with a prompt of N kilobytes, on one connection."""
    base = os.environ["OPENAI_BASE_URL"]
    prompt = [{"role": "user", "content": "word " * (n * 200)}]
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer " + KEY
        for _ in range(20):
            got = session.get(base.removesuffix("/v1") + "/bytes/30000").content
            assert len(got) == 30000
        reply = session.post(base + "/chat/completions", json={"model": MODEL, "messages": prompt}).json()
        usage = reply["usage"]
        text = reply["choices"][0]["message"]["content"]
        say(reply["id"], text, usage["prompt_tokens"], usage["completion_tokens"])


def gateway(n):
    """Much traffic that is no call, and then a call, on one connection."""
    base = os.environ["OPENAI_BASE_URL"]
    origin = base.removesuffix("/v1")
    with requests.Session() as session:
        session.headers["Authorization"] = "Bearer " + KEY
        for _ in range(n):
            got = session.get(origin + "/bytes/300000").content
            assert len(got) == 300000
            body = session.post(origin + "/echo", data=b"x" * 100000).content
            assert len(body) == 100000
        reply = session.post(base + "/chat/completions", json={"model": MODEL, "messages": PROMPT}).json()
        usage = reply["usage"]
        text = reply["choices"][0]["message"]["content"]
        say(reply["id"], text, usage["prompt_tokens"], usage["completion_tokens"])


def big_prompt(n):
    """N megabytes in one prompt."""
    with client() as c:
        words = " ".join(f"{i:07x}" for i in range(n * 131072))
        chat_reply(c.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": words}]))


if __name__ == "__main__":
    mode, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    globals()[mode](n)
