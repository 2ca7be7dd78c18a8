// Calls a model with Deno's own `fetch`: deno.js HTTP N [stream], all calls at once.
//
// Prints a line of JSON for each reply: id, text and tokens.

const [http, count, stream] = Deno.args;
const client = Deno.createHttpClient({
  caCerts: [Deno.readTextFileSync(Deno.env.get("SSL_CERT_FILE"))],
  http1: http === "1",
  http2: http === "2",
});

// Longer than one record.
const messages = [{ role: "user", content: "Grüße ".repeat(4000) }];

async function call() {
  const request = { model: "gpt-4o-mini", messages };
  if (stream) Object.assign(request, { stream: true, stream_options: { include_usage: true } });
  const reply = await fetch(`${Deno.env.get("OPENAI_BASE_URL")}/chat/completions`, {
    client,
    method: "POST",
    headers: {
      authorization: `Bearer ${Deno.env.get("CANARY")}`,
      "content-type": "application/json",
      "x-test-words": "5000",
    },
    body: JSON.stringify(request),
  });
  const body = await reply.text();
  const { id, text, usage } = stream ? told(body) : whole(JSON.parse(body));
  const [input, output] = [usage.prompt_tokens, usage.completion_tokens];
  console.log(JSON.stringify({ id, text, input, output }));
}

const whole = ({ id, choices, usage }) => ({ id, text: choices[0].message.content, usage });

function told(body) {
  let id, usage;
  let text = "";
  for (const line of body.split("\n")) {
    if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
    const event = JSON.parse(line.slice(6));
    ({ id, usage } = event);
    text += event.choices[0]?.delta?.content ?? "";
  }
  return { id, text, usage };
}

await Promise.all(Array.from({ length: Number(count) }, call));
