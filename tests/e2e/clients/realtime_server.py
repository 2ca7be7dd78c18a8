"""OpenAI's realtime API behind OpenSSL: realtime_server.py CHAIN KEY; prints its port,
then serves. Frames and their compression are the work of `websockets`."""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.server import serve


async def talk(socket):
    asked = ""
    said = 0
    session = {"id": "sess_1", "type": "realtime", "model": "gpt-realtime-9"}

    async def send(kind, **fields):
        await socket.send(json.dumps({"type": kind, "event_id": "event_1", **fields}))

    await send("session.created", session=session)
    async for message in socket:
        event = json.loads(message)
        if event["type"] == "session.update":
            await send("session.updated", session={**session, **event["session"]})
        elif event["type"] == "conversation.item.create":
            asked = event["item"]["content"][0]["text"]
        elif event["type"] == "response.create":
            said += 1
            id = f"resp_{socket.remote_address[1]}_{said}"
            at = {"response_id": id, "item_id": "item_1", "output_index": 0, "content_index": 0}
            words = f"You asked: {asked}. " * 20
            response = {"id": id, "object": "realtime.response", "status": "in_progress", "output": []}
            await send("response.created", response=response)
            for word in words.split(" "):
                await send("response.output_text.delta", delta=word + " ", **at)
            usage = {"total_tokens": 50 + said, "input_tokens": 40 + said, "output_tokens": 10}
            await send("response.done", response={**response, "status": "completed", "usage": usage})


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:3])
    async with serve(talk, "127.0.0.1", 0, ssl=context) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
