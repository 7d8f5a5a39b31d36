// The door for clients of the Model Context Protocol, over streamable HTTP at /mcp.
import type { FabricError } from '@fame-fabric/shared';
import type { Door, DoorDeps, Refusal } from '../door.ts';
import { messageWithFix } from '../shared/message-with-fix.ts';
import { McpEndpoint } from './mcp-endpoint.ts';

/** Version of this software, as clients see it. `npm run set-version` changes it. */
const VERSION = '0.2.0';
const PARSE_ERROR = -32_700;
const INTERNAL_ERROR = -32_603;
const SERVER_ERROR = -32_000;

export const mcpDoor: Door = {
  name: 'mcp',
  plugin: (deps: DoorDeps) => async (app) => {
    const endpoint = new McpEndpoint(deps, VERSION);
    app.addHook('onClose', () => endpoint.close());
    app.route({
      method: ['GET', 'POST', 'DELETE'],
      url: '/mcp',
      exposeHeadRoute: false,
      handler: (request, reply) => endpoint.handle(request, reply),
    });
  },
  // The message that caused the error was not read, so the error names no id.
  refusal: (error: FabricError, status: number): Refusal => {
    const { code, retryable } = error;
    const message = messageWithFix(error);
    return {
      body: { jsonrpc: '2.0', error: { code: numberOf(code, status), message, data: { code, retryable } } },
    };
  },
};

function numberOf(code: string, status: number): number {
  if (code === 'PROTO_MALFORMED' && status === 400) return PARSE_ERROR;
  return status >= 500 ? INTERNAL_ERROR : SERVER_ERROR;
}
