// The client under test of the conformance suite of MCP: `node mcp-client.ts URL`. Uses the tools of the server through `mcpTools`, as an agent
// does. The suite names the scenario and its calls in the environment.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { mcpTools } from '@fame-fabric/agents';
import { temporaryDirectory } from '../../kit/sentinel.ts';

interface Call {
  readonly name: string;
  readonly arguments?: Record<string, unknown>;
}

const { MCP_CONFORMANCE_SCENARIO: scenario, MCP_CONFORMANCE_CONTEXT: context = '{}' } = process.env;
const pinFile = join(temporaryDirectory(), 'tools.json');
await using tools = await mcpTools({
  url: process.argv.at(-1)!,
  startTimeoutMs: 10_000,
  timeoutMs: 20_000,
  pinFile,
});

/** The kept definition of a tool. */
function keptSchema(name: string): unknown {
  const { tools } = JSON.parse(readFileSync(pinFile, 'utf8')) as {
    tools: { definition: { name: string; inputSchema: unknown } }[];
  };
  return tools.find(({ definition }) => definition.name === name)?.definition.inputSchema;
}

/** A value that a schema of the suite accepts. */
const sample = ({ type }: { type?: unknown }): unknown =>
  type === 'number' || type === 'integer' ? 1 : type === 'boolean' ? true : 'x';

function callsOf(): readonly Call[] {
  const { toolCalls } = JSON.parse(context) as { toolCalls?: readonly Call[] };
  if (toolCalls) return toolCalls;
  if (scenario === 'json-schema-2020-12-preservation')
    return [{ name: 'json_schema_echo', arguments: { schema: keptSchema('json_schema_2020_12_tool') } }];
  return tools.tools.map(({ name, schema }) => ({
    name,
    arguments: Object.fromEntries(
      Object.entries(schema.properties as object).map(([key, one]) => [key, sample(one)]),
    ),
  }));
}

for (const [index, call] of callsOf().entries()) {
  const args = call.arguments ?? {};
  const parsed = {
    ok: true,
    id: `call-${index}`,
    index,
    name: call.name,
    args,
    rawArguments: JSON.stringify(args),
  } as const;
  const outcomes = await tools.executeAll([parsed], { signal: AbortSignal.timeout(25_000) });
  process.stderr.write(`${JSON.stringify(outcomes)}\n`);
}
