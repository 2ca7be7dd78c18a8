"""Calls a model over another protocol than HTTP/1.1 and JSON: protocols.py MODE [N].

Prints a line of JSON for each reply, as the library gave it: id, text, and tokens.
"""

import asyncio
import json
import os
import sys

PROMPT = "Grüße an 漢字 🦀"
KEY = os.environ["CANARY"]
BASE = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
ADDRESS = os.environ["PLAIN_ADDRESS"]
AUTHORITY = os.environ["SSL_CERT_FILE"]
FIELDS = json.loads(os.environ.get("FIELDS", "{}"))


def say(id, text, input=None, output=None):
    print(json.dumps({"id": id, "text": text, "input": input, "output": output}), flush=True)


def xai_client():
    import grpc
    from xai_sdk import Client

    address, plain = ADDRESS, True
    if os.environ.get("GRPC_TLS"):
        os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = AUTHORITY
        address, plain = BASE.removeprefix("https://"), False
    options = []
    if os.environ.get("COMPRESS"):
        options.append(("grpc.default_compression_algorithm", grpc.Compression.Gzip.value))
    return Client(
        api_key=KEY, api_host=address, use_insecure_channel=plain,
        metadata=tuple(FIELDS.items()), channel_options=options, timeout=20,
    )


def xai_chat(client=None):
    from xai_sdk.chat import system, user

    # gRPC compresses nothing that is short.
    prompt = PROMPT * 100 if os.environ.get("COMPRESS") else PROMPT
    return (client or xai_client()).chat.create(
        model="grok-4", messages=[system("Be brief."), user(prompt)], temperature=0.5, max_tokens=64)


def xai(n):
    for _ in range(n):
        reply = xai_chat().sample()
        say(reply.id, reply.content, reply.usage.prompt_tokens, reply.usage.completion_tokens)


def xai_stream(n):
    for _ in range(n):
        for reply, _ in xai_chat().stream():
            pass
        say(reply.id, reply.content, reply.usage.prompt_tokens, reply.usage.completion_tokens)


def xai_at_once(n):
    """By N threads, on one channel; every second one streamed."""
    from concurrent.futures import ThreadPoolExecutor

    client = xai_client()

    def one(i):
        chat = xai_chat(client)
        if i % 2:
            return [reply for reply, _ in chat.stream()][-1]
        return chat.sample()

    with ThreadPoolExecutor(n) as threads:
        for reply in threads.map(one, range(n)):
            say(reply.id, reply.content, reply.usage.prompt_tokens, reply.usage.completion_tokens)


def xai_error(n):
    import grpc

    for _ in range(n):
        try:
            xai_chat().sample()
        except grpc.RpcError as error:
            say(error.details(), error.code().name)


def bedrock():
    import boto3
    from botocore.config import Config

    return boto3.client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=BASE, verify=AUTHORITY,
        aws_access_key_id="AKIACANARY", aws_secret_access_key=KEY,
        config=Config(retries={"max_attempts": 1}),
    )


CONVERSATION = {
    "modelId": "eu.anthropic.claude-sonnet-5-v1:0",
    "system": [{"text": "Be brief."}],
    "messages": [{"role": "user", "content": [{"text": PROMPT}]}],
    "inferenceConfig": {"maxTokens": 64, "temperature": 0.5},
}


def converse(n):
    client = bedrock()
    for _ in range(n):
        reply = client.converse(**CONVERSATION)
        text = reply["output"]["message"]["content"][0]["text"]
        say("", text, reply["usage"]["inputTokens"], reply["usage"]["outputTokens"])


def converse_stream(n):
    client = bedrock()
    for _ in range(n):
        text, usage = "", {}
        for event in client.converse_stream(**CONVERSATION)["stream"]:
            text += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
            usage = event.get("metadata", {}).get("usage", usage)
        say("", text, usage["inputTokens"], usage["outputTokens"])


def invoke_stream(n):
    client = bedrock()
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64,
            "messages": [{"role": "user", "content": PROMPT}]}
    for _ in range(n):
        reply = client.invoke_model_with_response_stream(modelId=CONVERSATION["modelId"], body=json.dumps(body))
        text = ""
        for event in reply["body"]:
            message = json.loads(event["chunk"]["bytes"])
            text += message.get("delta", {}).get("text", "")
            id = message.get("message", {}).get("id") or id
        metrics = message["amazon-bedrock-invocationMetrics"]
        say(id, text, metrics["inputTokenCount"], metrics["outputTokenCount"])


def realtime(n):
    """N questions over one WebSocket; the port of its server is in REALTIME_PORT."""
    import ssl

    import openai

    async def run():
        trust = ssl.create_default_context(cafile=AUTHORITY)
        client = openai.AsyncOpenAI(
            api_key=KEY, websocket_base_url=f"wss://127.0.0.1:{os.environ['REALTIME_PORT']}/v1")
        async with client.realtime.connect(
            model="gpt-realtime", websocket_connection_options={"ssl": trust},
        ) as connection:
            await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
            # Whoever asks earlier asks a model that the server has not named yet.
            async for event in connection:
                if event.type == "session.updated":
                    break
            for i in range(n):
                await connection.conversation.item.create(item={
                    "type": "message", "role": "user", "content": [{"type": "input_text", "text": f"{PROMPT} {i}"}]})
                await connection.response.create()
                text = ""
                async for event in connection:
                    if event.type == "response.output_text.delta":
                        text += event.delta
                    elif event.type == "response.done":
                        usage = event.response.usage
                        say(event.response.id, text, usage.input_tokens, usage.output_tokens)
                        break

    asyncio.run(run())


def openai_http2(n):
    """N streams at once on one connection."""
    import httpx2
    import openai

    async def one(client):
        stream = await client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": PROMPT}], stream=True,
            stream_options={"include_usage": True},
        )
        text = ""
        async for chunk in stream:
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            usage = chunk.usage
        say(chunk.id, text, usage.prompt_tokens, usage.completion_tokens)

    async def run():
        http = openai.DefaultAsyncHttpxClient(http2=True, limits=httpx2.Limits(max_connections=1))
        async with openai.AsyncOpenAI(api_key=KEY, max_retries=0, default_headers=FIELDS, http_client=http) as client:
            await one(client)
            await asyncio.gather(*(one(client) for _ in range(n - 1)))

    asyncio.run(run())


def gemini():
    from google import genai

    return genai.Client(api_key=KEY, http_options={"base_url": BASE, "headers": FIELDS})


def gemini_stream(n):
    client = gemini()
    for _ in range(n):
        text = ""
        for piece in client.models.generate_content_stream(model="gemini-9-flash", contents=PROMPT):
            text += piece.text or ""
        usage = piece.usage_metadata
        say(piece.response_id, text, usage.prompt_token_count, usage.candidates_token_count)


def ollama(n):
    from ollama import Client

    client = Client(host="http://" + ADDRESS)
    for _ in range(n):
        text = ""
        for piece in client.chat(model="llama3.2", messages=[{"role": "user", "content": PROMPT}], stream=True):
            text += piece.message.content
        say("", text, piece.prompt_eval_count, piece.eval_count)


def mistral(n):
    from mistralai.client import Mistral

    with Mistral(api_key=KEY, server_url=BASE) as client:
        for _ in range(n):
            reply = client.chat.complete(model="mistral-small", messages=[{"role": "user", "content": PROMPT}])
            usage = reply.usage
            say(reply.id, reply.choices[0].message.content, usage.prompt_tokens, usage.completion_tokens)


def mcp(n):
    """N calls of a tool; the port of its server is in MCP_PORT."""
    from mcp.client import Client

    async def run():
        async with Client(f"http://127.0.0.1:{os.environ['MCP_PORT']}/mcp") as client:
            for i in range(n):
                result = await client.call_tool("add", {"a": i, "b": 2})
                say("", result.content[0].text)

    asyncio.run(run())


if __name__ == "__main__":
    mode, n = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    globals()[mode](n)
