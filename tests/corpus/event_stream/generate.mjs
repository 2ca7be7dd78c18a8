// Writes messages.json with the codec of AWS's SDK for JavaScript.
//
// usage: node generate.mjs        (needs: npm install @smithy/core)

import { writeFileSync } from "node:fs";
import { EventStreamCodec, Int64 } from "@smithy/core/event-streams";

const codec = new EventStreamCodec(
  (bytes) => new TextDecoder().decode(bytes),
  (text) => new TextEncoder().encode(text),
);
const string = (value) => ({ type: "string", value });
const event = (name, extra = {}) => ({
  ":message-type": string("event"),
  ":event-type": string(name),
  ":content-type": string("application/json"),
  ...extra,
});
const everyType = {
  t: { type: "boolean", value: true },
  f: { type: "boolean", value: false },
  byte: { type: "byte", value: -7 },
  short: { type: "short", value: -300 },
  integer: { type: "integer", value: 70_000 },
  long: { type: "long", value: Int64.fromNumber(2 ** 40) },
  binary: { type: "binary", value: new Uint8Array([0, 1, 255]) },
  timestamp: { type: "timestamp", value: new Date(1_760_000_000_000) },
  uuid: { type: "uuid", value: "01234567-89ab-cdef-0123-456789abcdef" },
};
const sent = [
  [event("messageStart"), '{"role":"assistant"}'],
  // What tells the name comes after headers of every type.
  [{ ...everyType, ...event("contentBlockDelta") }, '{"delta":{"text":"Grüße 漢字 🦀"}}'],
  [event("empty"), ""],
  [event("long"), "x".repeat(9_000)],
  [{ ":message-type": string("exception"), ":exception-type": string("throttlingException") }, '{"message":"slow"}'],
  [
    { ":message-type": string("error"), ":error-code": string("InternalError"), ":error-message": string("no") },
    "",
  ],
];

const frames = sent.map(([headers, body]) => codec.encode({ headers, body: new TextEncoder().encode(body) }));
const messages = sent.map(([headers, data]) => ({
  kind: headers[":message-type"].value,
  name: (headers[":event-type"] ?? headers[":exception-type"] ?? headers[":error-code"]).value,
  // An error has no payload; its message stands for it.
  data: data || (headers[":error-message"]?.value ?? ""),
}));
const text = { messages, bytes: Buffer.concat(frames).toString("base64") };
writeFileSync(new URL("messages.json", import.meta.url), JSON.stringify(text, null, 1) + "\n");
