"""Calls a model with .NET's HttpClient: dotnet.py HTTP N, all calls at once, every second streamed.

HTTP is 1.1 or 2.0. Python hosts the runtime, and does nothing else: the bytes are .NET's. Its
libssl is in LD_LIBRARY_PATH. Prints a line of JSON for each reply: id, text and tokens. With
STEPPED set, it says so and waits for a line on standard input before the calls.
"""

import importlib.util
import json
import os
import pathlib
import sys
import tempfile

from clr_loader import get_coreclr
from pythonnet import set_runtime

PROMPT = "Grüße an 漢字 🦀"
RUNTIME = pathlib.Path(importlib.util.find_spec("dotnetcore2").origin).parent / "bin"


def start():
    """Starts .NET."""
    settings = {"runtimeOptions": {
        "tfm": "netcoreapp3.1", "framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"},
        "configProperties": {"System.Globalization.Invariant": True},
    }}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(settings, file)
        file.flush()
        set_runtime(get_coreclr(dotnet_root=str(RUNTIME), runtime_config=file.name))
        import clr

    for name in ["System.Net.Http", "System.Net.Primitives", "System.Net.Security",
                 "System.Security.Cryptography.X509Certificates"]:
        clr.AddReference(name)


def map_libssl():
    """Whatever is cryptography comes from there."""
    from System import Array, Byte
    from System.Security.Cryptography import SHA256

    SHA256.Create().ComputeHash(Array[Byte]([1]))


def request(version, is_streamed):
    from System import Uri, Version
    from System.Net.Http import HttpMethod, HttpRequestMessage, StringContent
    from System.Text import Encoding

    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}]}
    if is_streamed:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    asked = HttpRequestMessage(HttpMethod.Post, Uri(os.environ["OPENAI_BASE_URL"] + "/chat/completions"))
    asked.Version = Version(version)
    asked.Headers.Add("Authorization", "Bearer " + os.environ["CANARY"])
    asked.Content = StringContent(json.dumps(body), Encoding.UTF8, "application/json")
    return asked


def tell(body):
    if body.startswith("{"):
        reply = json.loads(body)
        return say(reply["id"], reply["choices"][0]["message"]["content"], reply["usage"])
    id, text, usage = None, "", None
    for line in body.splitlines():
        if line.startswith("data: {"):
            chunk = json.loads(line.removeprefix("data: "))
            id, usage = chunk["id"], chunk.get("usage")
            text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    say(id, text, usage)


def say(id, text, usage):
    print(json.dumps({
        "id": id, "text": text, "input": usage["prompt_tokens"], "output": usage["completion_tokens"],
    }), flush=True)


def main(version, n):
    start()
    from System.Net.Http import HttpClient

    client = HttpClient()
    map_libssl()
    if os.environ.get("STEPPED"):
        print("waits", flush=True)
        sys.stdin.readline()
    asked = [client.SendAsync(request(version, i % 2 == 1)) for i in range(n)]
    for one in asked:
        tell(one.Result.EnsureSuccessStatusCode().Content.ReadAsStringAsync().Result)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
