// MCP over standard input and output, as Node's SDK speaks it.
//
// `serve`: a server. `call N PROGRAM ...`: a client that starts a server and calls its tool N
// times, then one that fails and one that asks the client in its turn. Prints a line of JSON
// for each result.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { ListRootsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { z } from "zod";

const text = (text) => ({ content: [{ type: "text", text }] });

async function serve() {
  const server = new McpServer({ name: "tools", version: "2.1" });
  const numbers = { a: z.number(), b: z.number() };
  server.registerTool("add", { inputSchema: numbers }, ({ a, b }) => text(String(a + b)));
  server.registerTool("fail", { inputSchema: { why: z.string() } }, ({ why }) => {
    throw new Error(why);
  });
  server.registerTool("where", { inputSchema: {} }, async () => {
    const { roots } = await server.server.listRoots();
    return text(roots[0].name);
  });
  await server.connect(new StdioServerTransport());
}

async function call(count, command, args) {
  const client = new Client({ name: "caller", version: "1.2" }, { capabilities: { roots: {} } });
  const roots = [{ uri: "file:///srv/data", name: "data" }];
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots }));
  await client.connect(new StdioClientTransport({ command, args }));
  await client.listTools();
  const say = async (name, args) => {
    const result = await client.callTool({ name, arguments: args });
    console.log(JSON.stringify({ text: result.content[0].text }));
  };
  for (let i = 0; i < count; i++) await say("add", { a: i, b: 2 });
  await say("fail", { why: "no such thing" });
  await say("where", {});
  await client.close();
}

const [mode, count, command, ...args] = process.argv.slice(2);
await (mode === "serve" ? serve() : call(Number(count), command, args));
