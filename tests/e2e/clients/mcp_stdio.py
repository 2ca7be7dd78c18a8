"""MCP over standard input and output.

`serve`: a server. `call N PROGRAM ...`: a client that starts a server and calls its tool N
times, then one that fails; with `stepped` in the place of `call` a line on standard input
goes before each. Prints a line of JSON for each result.
"""

import asyncio
import json
import sys


def serve():
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    server = MCPServer("tools")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b

    @server.tool()
    def fail(why: str) -> str:
        """Fails."""
        raise ToolError(why)

    server.run("stdio")


async def call(count, command, is_stepped):
    from mcp.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    async def result_of(tool, arguments):
        if is_stepped:
            await asyncio.to_thread(sys.stdin.readline)
        result = await client.call_tool(tool, arguments)
        print(json.dumps({"text": result.content[0].text}), flush=True)

    parameters = StdioServerParameters(command=command[0], args=command[1:])
    async with Client(stdio_client(parameters)) as client:
        await client.list_tools()
        for i in range(count):
            await result_of("add", {"a": i, "b": 2})
        await result_of("fail", {"why": "no such thing"})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve()
        case [mode, count, *command]:
            asyncio.run(call(int(count), command, mode == "stepped"))
