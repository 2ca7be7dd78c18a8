"""Calls a model with nothing but the standard library, as a container has it.

The argument says how often; it waits for a line on standard input before each call but the
first. All go over one connection.
"""

import http.client
import json
import os
import ssl
import sys
from urllib.parse import urlsplit

base = urlsplit(os.environ["OPENAI_BASE_URL"])
connection = http.client.HTTPSConnection(base.netloc, context=ssl.create_default_context())
headers = {
    "Authorization": "Bearer " + os.environ["CANARY"],
    "Content-Type": "application/json",
}
body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "from within"}]}
for number in range(int(sys.argv[1])):
    if number:
        sys.stdin.readline()
    connection.request("POST", base.path + "/chat/completions", json.dumps(body), headers)
    print(json.dumps(json.load(connection.getresponse())), flush=True)
