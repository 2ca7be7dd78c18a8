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

const at_once = (n, one) => Promise.all(Array.from({ length: n }, one));

const say_whole = ({ id, choices, usage }) =>
  say(id, choices[0].message.content, usage.prompt_tokens, usage.completion_tokens);

async function stream_all(client, n) {
  await at_once(n, async () => {
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
  });
}

function say_message({ id, content, usage }) {
  const cached = (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
  say(id, content[0].text, usage.input_tokens + cached, usage.output_tokens);
}

const claude = { model: "claude-sonnet-5", max_tokens: 64, messages };

async function gemini() {
  const { GoogleGenAI } = await import("@google/genai");
  const httpOptions = { baseUrl: new URL(process.env.OPENAI_BASE_URL).origin };
  return new GoogleGenAI({ apiKey: process.env.CANARY, httpOptions });
}

const wanted = { model: "gemini-9-flash", contents: messages[0].content };

const say_piece = ({ responseId, usageMetadata }, text) =>
  say(responseId, text, usageMetadata.promptTokenCount, usageMetadata.candidatesTokenCount);

async function bedrock() {
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = "true";
  const { BedrockRuntimeClient } = await import("@aws-sdk/client-bedrock-runtime");
  return new BedrockRuntimeClient({
    region: "us-east-1",
    endpoint: new URL(process.env.OPENAI_BASE_URL).origin,
    credentials: { accessKeyId: "AKIACANARY", secretAccessKey: process.env.CANARY },
    maxAttempts: 1,
  });
}

const conversation = {
  modelId: "eu.anthropic.claude-sonnet-5-v1:0",
  messages: [{ role: "user", content: [{ text: messages[0].content }] }],
  inferenceConfig: { maxTokens: 64 },
};

const modes = {
  async openai(n) {
    const client = new OpenAI(options);
    for (let i = 0; i < n; i++) {
      say_whole(await client.chat.completions.create({ model: "gpt-4o-mini", messages }));
    }
  },

  async openai_stream(n) {
    await stream_all(new OpenAI(options), n);
  },

  async anthropic(n) {
    const client = new Anthropic(options);
    await at_once(n, async () => say_message(await client.messages.create(claude)));
  },

  async anthropic_stream(n) {
    const client = new Anthropic(options);
    await at_once(n, async () => say_message(await client.messages.stream(claude).finalMessage()));
  },

  async gemini(n) {
    const { models } = await gemini();
    await at_once(n, async () => {
      const reply = await models.generateContent(wanted);
      say_piece(reply, reply.text);
    });
  },

  async gemini_stream(n) {
    const { models } = await gemini();
    await at_once(n, async () => {
      let last;
      let text = "";
      for await (const piece of await models.generateContentStream(wanted)) {
        text += piece.text ?? "";
        last = piece;
      }
      say_piece(last, text);
    });
  },

  // Node's own HTTP/1.1, N requests at once.
  async https(n) {
    const { request } = await import("node:https");
    const { json } = await import("node:stream/consumers");
    const method = "POST";
    const headers = { authorization: "Bearer " + process.env.CANARY, "content-type": "application/json" };
    await at_once(n, async () => {
      const reply = await new Promise((answered, failed) => {
        const asked = request(process.env.OPENAI_BASE_URL + "/chat/completions", { method, headers });
        asked.on("response", answered).on("error", failed);
        asked.end(JSON.stringify({ model: "gpt-4o-mini", messages }));
      });
      say_whole(await json(reply));
    });
  },

  // N streams at once, over HTTP/2 where the server has it.
  async openai_http2(n) {
    const { Agent, fetch } = await import("undici");
    const dispatcher = new Agent({ allowH2: true, connections: 1 });
    const client = new OpenAI({ ...options, fetch: (url, init) => fetch(url, { ...init, dispatcher }) });
    await stream_all(client, n);
    await dispatcher.close();
  },

  // Node's own HTTP/2, N requests at once on one connection.
  async http2(n) {
    const { connect } = await import("node:http2");
    const { json } = await import("node:stream/consumers");
    const url = new URL(process.env.OPENAI_BASE_URL);
    const session = connect(url.origin);
    await at_once(n, async () => {
      const request = session.request({
        ":method": "POST",
        ":path": url.pathname + "/chat/completions",
        authorization: "Bearer " + process.env.CANARY,
        "content-type": "application/json",
      });
      request.end(JSON.stringify({ model: "gpt-4o-mini", messages }));
      say_whole(await json(request));
    });
    session.close();
  },

  async converse(n) {
    const { ConverseCommand } = await import("@aws-sdk/client-bedrock-runtime");
    const client = await bedrock();
    await at_once(n, async () => {
      const { output, usage } = await client.send(new ConverseCommand(conversation));
      say("", output.message.content[0].text, usage.inputTokens, usage.outputTokens);
    });
    client.destroy();
  },

  async converse_stream(n) {
    const { ConverseStreamCommand } = await import("@aws-sdk/client-bedrock-runtime");
    const client = await bedrock();
    await at_once(n, async () => {
      const reply = await client.send(new ConverseStreamCommand(conversation));
      let text = "";
      let usage;
      for await (const event of reply.stream) {
        text += event.contentBlockDelta?.delta?.text ?? "";
        usage = event.metadata?.usage ?? usage;
      }
      say("", text, usage.inputTokens, usage.outputTokens);
    });
    client.destroy();
  },
};

await modes[process.argv[2]](Number(process.argv[3] ?? 1));
