// A chat agent with the tools of an MCP server.
import { fileURLToPath } from 'node:url';
import { ChatAgent, isMain, mcpTools, modelFromEnv, runAgents } from '@fame-fabric/agents';

if (isMain(import.meta)) {
  await using tools = await mcpTools({
    command: 'node',
    args: [fileURLToPath(new URL('orders-mcp-server.ts', import.meta.url))],
  });
  const agent = new ChatAgent({ address: 'orders@fame.fabric', model: modelFromEnv(), tools });
  process.exitCode = await runAgents([agent]);
}
