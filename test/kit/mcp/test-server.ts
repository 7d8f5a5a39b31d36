// An MCP server for tests, written with the server library. Its tools crash, wait, and return results of any size. A test may replace the
// list of its tools.
import { type CallToolResult, Server, type Tool } from '@modelcontextprotocol/server';

const schema = (properties: Tool['inputSchema']['properties'] = {}): Tool['inputSchema'] => ({
  type: 'object',
  properties,
});

export const TOOLS: readonly Tool[] = [
  {
    name: 'echo',
    description: 'Returns a text',
    inputSchema: schema({ text: { type: 'string' } }),
    annotations: { readOnlyHint: true },
  },
  { name: 'wait', description: 'Waits until the call is cancelled', inputSchema: schema() },
  { name: 'crash', description: 'Ends the process of the server', inputSchema: schema() },
  {
    name: 'huge',
    description: 'Returns a long text',
    inputSchema: schema({ chars: { type: 'integer' } }),
  },
  { name: 'environment', description: 'Returns the names of the variables', inputSchema: schema() },
  { name: 'fail', description: 'Fails', inputSchema: schema() },
  { name: 'count', description: 'Returns the number of calls so far', inputSchema: schema() },
];

export interface TestServerOptions {
  /** Returns the list of tools. @default TOOLS */
  readonly tools?: (() => readonly Tool[]) | undefined;
  /** Called when a call of `wait` starts, and when it is cancelled. */
  readonly onWait?: ((state: 'started' | 'cancelled') => void) | undefined;
  readonly onCrash?: (() => void) | undefined;
}

let calls = 0;

export function makeTestServer({ tools = () => TOOLS, onWait, onCrash }: TestServerOptions = {}): Server {
  const server = new Server({ name: 'test-server', version: '1.0.0' }, { capabilities: { tools: {} } });
  server.setRequestHandler('tools/list', () => ({ tools: [...tools()] }));
  server.setRequestHandler('tools/call', async ({ params }, context): Promise<CallToolResult> => {
    calls += 1;
    const args = (params.arguments ?? {}) as { text?: string; chars?: number };
    const say = (text: string): CallToolResult => ({ content: [{ type: 'text', text }] });
    switch (params.name) {
      case 'echo':
        return say(args.text ?? '');
      case 'wait': {
        const { signal } = context.mcpReq;
        onWait?.('started');
        await new Promise<void>((resolve) => {
          if (signal.aborted) resolve();
          else signal.addEventListener('abort', () => resolve(), { once: true });
        });
        onWait?.('cancelled');
        return say('cancelled');
      }
      case 'crash':
        onCrash?.();
        return say('The process goes on');
      case 'huge':
        return say('x'.repeat(args.chars ?? 0));
      case 'environment':
        return say(Object.keys(process.env).sort().join(' '));
      case 'count':
        return say(String(calls));
      default:
        return { isError: true, content: [{ type: 'text', text: `Failed: ${params.name}` }] };
    }
  });
  return server;
}
