"""Calls a model over TLS that the kernel encrypts: kernel_tls.py N."""

import json
import os
import ssl
import sys
import urllib.request

context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
context.options |= ssl.OP_ENABLE_KTLS
body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Grüße an 漢字 🦀"}]}
for _ in range(int(sys.argv[1])):
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions", json.dumps(body).encode(),
        {"Authorization": "Bearer " + os.environ["CANARY"], "Content-Type": "application/json"},
    )
    reply = json.load(urllib.request.urlopen(request, context=context))
    usage = reply["usage"]
    print(json.dumps({
        "id": reply["id"], "text": reply["choices"][0]["message"]["content"],
        "input": usage["prompt_tokens"], "output": usage["completion_tokens"],
    }), flush=True)
