// Calls a model with the runtime's own fetch, or its HTTP/2: fetch.mjs MODE [N].
//
// N calls at once. Prints a line of JSON for each reply: id, text and tokens. With STEPPED
// set, it says so and waits for a line on standard input first.

import { readFileSync } from "node:fs";

const fields = JSON.parse(process.env.FIELDS ?? "{}");

async function ask(request) {
  const reply = await fetch(process.env.OPENAI_BASE_URL + "/chat/completions", {
    method: "POST",
    headers: {
      ...fields,
      authorization: "Bearer " + process.env.CANARY,
      "content-type": "application/json",
    },
    body: JSON.stringify({ model: "gpt-4o-mini", ...request }),
  });
  if (!reply.ok) throw new Error(`${reply.status}`);
  return reply;
}

const say = (id, text, usage) =>
  console.log(JSON.stringify({ id, text, input: usage.prompt_tokens, output: usage.completion_tokens }));

const user = (content) => [{ role: "user", content }];

async function unary(content) {
  const reply = await (await ask({ messages: user(content) })).json();
  say(reply.id, reply.choices[0].message.content, reply.usage);
}

async function stream(content) {
  const reply = await ask({
    messages: user(content),
    stream: true,
    stream_options: { include_usage: true },
  });
  let id, usage;
  let text = "";
  for (const line of (await reply.text()).split("\n")) {
    if (!line.startsWith("data: {")) continue;
    const chunk = JSON.parse(line.slice(6));
    ({ id, usage } = chunk);
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  say(id, text, usage);
}

// All on one connection.
async function http2(content) {
  const { connect } = await import("node:http2");
  const { json } = await import("node:stream/consumers");
  const url = new URL(process.env.OPENAI_BASE_URL);
  session ??= connect(url.origin, { ca: readFileSync(process.env.SSL_CERT_FILE) });
  const request = session.request({
    ":method": "POST",
    ":path": url.pathname + "/chat/completions",
    authorization: "Bearer " + process.env.CANARY,
    "content-type": "application/json",
  });
  request.end(JSON.stringify({ model: "gpt-4o-mini", messages: user(content) }));
  const reply = await json(request);
  say(reply.id, reply.choices[0].message.content, reply.usage);
}
let session;

const words = (count) =>
  Array.from({ length: count }, (_, i) => i.toString(16).padStart(7, "0")).join(" ");

const modes = {
  unary: () => unary("Grüße an 漢字 🦀"),
  stream: () => stream("Grüße an 漢字 🦀"),
  http2: () => http2("Grüße an 漢字 🦀"),
  // A request of 1.6 million bytes.
  big: () => stream(words(200_000)),
};

const [mode, n] = process.argv.slice(2);
if (process.env.STEPPED) {
  console.log("waits");
  await new Promise((nudged) => process.stdin.once("data", nudged));
  process.stdin.pause();
}
await Promise.all(Array.from({ length: Number(n ?? 1) }, modes[mode]));
session?.close();
// Calls to a server on this host are over in less time than it takes to look at who makes them.
await new Promise((over) => setTimeout(over, 100));
