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
    const client = new OpenAI(options);
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
};

await modes[process.argv[2]](Number(process.argv[3] ?? 1));
