// The service of `service.py`, in Node: service.mjs; prints its port.
import http from "node:http";

const url = process.env.OPENAI_BASE_URL + "/chat/completions";

async function ask(question, traceparent) {
  const headers = {
    authorization: `Bearer ${process.env.CANARY}`,
    "content-type": "application/json",
    "x-test-pause-ms": "40",
    "x-test-words": "12",
  };
  if (question.startsWith("pass on") && traceparent) headers.traceparent = traceparent;
  const messages = [{ role: "user", content: question }];
  const body = JSON.stringify({ model: "gpt-4o-mini", stream: true, messages });
  const reply = await fetch(url, { method: "POST", headers, body });
  return await reply.text();
}

const server = http.createServer(async (request, response) => {
  let question = "";
  for await (const piece of request) question += piece;
  if (request.method === "POST") response.end(await ask(question, request.headers.traceparent));
  else response.end("well");
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
