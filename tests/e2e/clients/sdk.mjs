// Calls a model with a real client library: sdk.mjs MODE [N].
//
// Prints a line of JSON for each reply, as the library gave it: id, text and tokens.

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const messages = [{ role: "user", content: "Grüße an 漢字 🦀" }];
const options = {
  apiKey: process.env.CANARY,
  maxRetries: 0,
  defaultHeaders: JSON.parse(process.env.FIELDS ?? "{}"),
};

const say = (id, text, input, output) => console.log(JSON.stringify({ id, text, input, output }));

async function stream_all(client, n) {
  const one = async () => {
    const stream = await client.chat.completions.create({
      model: "gpt-4o-mini",
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let id, usage;
    let text = "";
    for await (const chunk of stream) {
      ({ id, usage } = chunk);
      text += chunk.choices[0]?.delta?.content ?? "";
    }
    say(id, text, usage.prompt_tokens, usage.completion_tokens);
  };
  await Promise.all(Array.from({ length: n }, one));
}

const modes = {
  async openai(n) {
    const client = new OpenAI(options);
    for (let i = 0; i < n; i++) {
      const reply = await client.chat.completions.create({ model: "gpt-4o-mini", messages });
      const { prompt_tokens, completion_tokens } = reply.usage;
      say(reply.id, reply.choices[0].message.content, prompt_tokens, completion_tokens);
    }
  },

  async openai_stream(n) {
    await stream_all(new OpenAI(options), n);
  },

  async anthropic_stream(n) {
    const client = new Anthropic(options);
    for (let i = 0; i < n; i++) {
      const stream = client.messages.stream({ model: "claude-sonnet-5", max_tokens: 64, messages });
      const { id, content, usage } = await stream.finalMessage();
      const cached = (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
      say(id, content[0].text, usage.input_tokens + cached, usage.output_tokens);
    }
  },

  // N streams at once, over HTTP/2 where the server has it.
  async openai_http2(n) {
    const { Agent, fetch } = await import("undici");
    const dispatcher = new Agent({ allowH2: true, connections: 1 });
    const client = new OpenAI({ ...options, fetch: (url, init) => fetch(url, { ...init, dispatcher }) });
    await stream_all(client, n);
    await dispatcher.close();
  },

  // Node's own HTTP/2, one request after the other.
  async http2(n) {
    const { connect } = await import("node:http2");
    const { buffer } = await import("node:stream/consumers");
    const url = new URL(process.env.OPENAI_BASE_URL);
    const session = connect(url.origin);
    for (let i = 0; i < n; i++) {
      const request = session.request({
        ":method": "POST",
        ":path": url.pathname + "/chat/completions",
        authorization: "Bearer " + process.env.CANARY,
        "content-type": "application/json",
      });
      request.end(JSON.stringify({ model: "gpt-4o-mini", messages }));
      const reply = JSON.parse(await buffer(request));
      const { prompt_tokens, completion_tokens } = reply.usage;
      say(reply.id, reply.choices[0].message.content, prompt_tokens, completion_tokens);
    }
    session.close();
  },

  async converse_stream(n) {
    process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
    const { BedrockRuntimeClient, ConverseStreamCommand } = await import("@aws-sdk/client-bedrock-runtime");
    const client = new BedrockRuntimeClient({
      region: "us-east-1",
      endpoint: new URL(process.env.OPENAI_BASE_URL).origin,
      credentials: { accessKeyId: "AKIACANARY", secretAccessKey: process.env.CANARY },
      maxAttempts: 1,
    });
    for (let i = 0; i < n; i++) {
      const reply = await client.send(
        new ConverseStreamCommand({
          modelId: "eu.anthropic.claude-sonnet-5-v1:0",
          messages: [{ role: "user", content: [{ text: messages[0].content }] }],
          inferenceConfig: { maxTokens: 64 },
        }),
      );
      let text = "";
      let usage;
      for await (const event of reply.stream) {
        text += event.contentBlockDelta?.delta?.text ?? "";
        usage = event.metadata?.usage ?? usage;
      }
      say("", text, usage.inputTokens, usage.outputTokens);
    }
    client.destroy();
  },
};

await modes[process.argv[2]](Number(process.argv[3] ?? 1));
