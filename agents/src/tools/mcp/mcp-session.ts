// One connection to an MCP server, over the client library. The only file that imports the library, which loads when the first server is
// configured.
import { readFileSync } from 'node:fs';
import { type Clock, FabricError, type Logger } from '@fame-fabric/shared';
import {
  cutText,
  errorMessage,
  LONGEST_TIMER_MS,
  redactUrl,
  TRACEPARENT,
  tracing,
} from '@fame-fabric/shared/internal';
import type {
  jsonSchemaValidator,
  Client as McpClient,
  SdkError as McpSdkError,
} from '@modelcontextprotocol/client';
import { ToolError } from '../tool.ts';
import { BoundedFetch } from './bounded-fetch.ts';
import { MAX_MESSAGE_BYTES, type McpProcess, type McpToolsOptions, secretsOf } from './mcp-options.ts';
import type { McpResult } from './mcp-result.ts';

/** A connection that has completed its handshake. */
export interface McpSession {
  /** Requests all pages of the list of tools. @throws {MCP_UNAVAILABLE} */
  listTools(): Promise<readonly unknown[]>;
  /**
   * Calls a tool. Aborting `signal` cancels the call at the server.
   * @throws {ToolError} if the server refused the call; {MCP_UNAVAILABLE} if the connection failed; the reason of `signal`
   */
  callTool(name: string, args: Record<string, unknown>, signal: AbortSignal): Promise<McpResult>;
  close(): Promise<void>;
}

export interface McpSessionEvents {
  /** Called once when the connection ended without `close`. `output` is the last text on the error stream of a process. */
  onClose(output: string): void;
  /** Called when the server announces another list of tools. */
  onToolsChanged(): void;
}

/** Opens a connection. `startTimeoutMs` limits each of its requests. */
export type OpenMcpSession = (
  options: McpToolsOptions & {
    readonly name: string;
    readonly startTimeoutMs: number;
    readonly logger: Logger;
    readonly clock: Clock;
  },
  events: McpSessionEvents,
) => Promise<McpSession>;

/** True if a call failed because the server has forgotten the session of its client: nothing ran. */
export const hasLostSession = (error: unknown): boolean =>
  error instanceof FabricError && error.details?.status === 404;

const MAX_OUTPUT_CHARS = 2_048;
const MAX_PAGES = 16;
/** Time limit of the first request of the newer protocol, which servers of the older protocol may ignore. */
const PROBE_TIMEOUT_MS = 10_000;
// A server describes its results by a schema. They become text for a model, and checking them would run patterns of the server here.
const UNCHECKED: jsonSchemaValidator = {
  getValidator:
    <T>() =>
    (input: unknown) => ({ valid: true, data: input as T & {}, errorMessage: undefined }),
};

/** Connects to a server of the protocol of 2026-07-28 or of an earlier one. @throws {MCP_UNAVAILABLE | CONFIG_INVALID} */
export const openMcpSession: OpenMcpSession = async (options, events) => {
  const { name, startTimeoutMs, logger } = options;
  const library = await loadLibrary();
  const { Client, ProtocolError, SdkError, SdkErrorCode, SdkHttpError } = library;
  const redact = redactor(options);
  const output = new OutputTail(redact);
  const client: McpClient = new Client(
    { name: 'fame-fabric', version: packageVersion() },
    {
      versionNegotiation: {
        mode: 'auto',
        probe: { timeoutMs: Math.min(PROBE_TIMEOUT_MS, startTimeoutMs) },
      },
      jsonSchemaValidator: UNCHECKED,
      inputRequired: { autoFulfill: false },
      listMaxPages: MAX_PAGES,
    },
  );
  const isRefusal = (error: unknown): boolean =>
    error instanceof ProtocolError ||
    (error instanceof SdkError &&
      [SdkErrorCode.InvalidResult, SdkErrorCode.UnsupportedResultType].includes((error as McpSdkError).code));
  let tooLarge: Error | undefined;
  const unavailable = (error: unknown): FabricError => {
    const status = error instanceof SdkHttpError ? error.status : undefined;
    const reason = status === undefined ? redact(rootMessage(tooLarge ?? error)) : `HTTP ${status}`;
    const last = output.text === '' ? '' : `; its last output: ${output.text}`;
    return new FabricError('MCP_UNAVAILABLE', `The MCP server "${name}" failed: ${reason}${last}`, {
      details: status === undefined ? undefined : { status },
    });
  };

  let isOpen = false;
  client.onclose = () => {
    if (!isOpen) return;
    isOpen = false;
    events.onClose(output.text);
  };
  client.onerror = (error) => logger.debug('MCP server sent a faulty message', { error: error.name });
  client.setNotificationHandler('notifications/tools/list_changed', () => events.onToolsChanged());
  const onTooLarge = (error: Error): void => {
    tooLarge = error;
    void client.close();
  };
  const bounded = new BoundedFetch(options.clock, onTooLarge);
  const transport = await transportOf(options, library, { output, bounded });
  try {
    await client.connect(transport, { timeout: startTimeoutMs });
  } catch (error) {
    await client.close().catch(() => {}); // the first error says why
    await transport.close().catch(() => {});
    throw unavailable(error);
  }
  isOpen = true;
  return {
    async listTools() {
      try {
        return (await client.listTools(undefined, { cacheMode: 'refresh', timeout: startTimeoutMs })).tools;
      } catch (error) {
        throw unavailable(error);
      }
    },
    async callTool(tool, args, signal) {
      try {
        // The tool run has a time limit of its own, which aborts `signal`.
        return await bounded.watch(() =>
          client.callTool(
            { name: tool, arguments: args, ...traceMeta() },
            { signal, timeout: LONGEST_TIMER_MS },
          ),
        );
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (isRefusal(error)) throw new ToolError(redact(errorMessage(error)), { cause: error });
        throw unavailable(error);
      }
    },
    async close() {
      isOpen = false;
      await client.close();
    },
  };
};

// The server continues the trace of the tool call.
function traceMeta(): { _meta?: Record<string, unknown> } {
  const context = tracing?.active();
  return context === undefined ? {} : { _meta: { [TRACEPARENT]: context } };
}

async function transportOf(
  options: McpToolsOptions,
  { StreamableHTTPClientTransport }: Library,
  { output, bounded }: { output: OutputTail; bounded: BoundedFetch },
) {
  if ('url' in options) {
    const requestInit = { headers: { ...options.headers } };
    return new StreamableHTTPClientTransport(new URL(options.url), { requestInit, fetch: bounded.fetch });
  }
  const { command, args = [], env = {}, cwd } = options as McpProcess;
  const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio');
  const transport = new StdioClientTransport({
    command,
    args: [...args],
    env: { ...env },
    stderr: 'pipe',
    maxBufferSize: MAX_MESSAGE_BYTES,
    ...(cwd === undefined ? {} : { cwd }),
  });
  transport.stderr?.on('data', (chunk: Buffer) => output.add(chunk.toString('utf8')));
  return transport;
}

type Library = typeof import('@modelcontextprotocol/client');

/** @throws {CONFIG_INVALID} if the library is not installed */
async function loadLibrary(): Promise<Library> {
  try {
    return await import('@modelcontextprotocol/client');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    const text =
      'Tools of MCP servers need the package @modelcontextprotocol/client, which is not installed. Install it: npm install @modelcontextprotocol/client@2';
    throw new FabricError('CONFIG_INVALID', text, { cause });
  }
}

/** The end of the error stream of a process, in one line. */
class OutputTail {
  readonly #redact: (text: string) => string;
  #text = '';

  constructor(redact: (text: string) => string) {
    this.#redact = redact;
  }

  add(text: string): void {
    this.#text = (this.#text + text).slice(-MAX_OUTPUT_CHARS);
  }

  get text(): string {
    const lines = this.#text.split('\n').filter((line) => line.trim() !== '');
    return cutText(this.#redact(lines.slice(-3).join(' ')).replace(/\s+/g, ' '), 256);
  }
}

/** Returns a function that removes the values of `env` and `headers`, and the query of the URL, from a text. */
function redactor(options: McpToolsOptions): (text: string) => string {
  const secrets = secretsOf(options);
  const url = 'url' in options ? options.url : undefined;
  return (text) => {
    const plain = url === undefined ? text : text.replaceAll(url, redactUrl(url));
    return secrets.reduce((rest, secret) => rest.replaceAll(secret, '[secret]'), plain);
  };
}

/** The innermost message, such as `connect ECONNREFUSED 127.0.0.1:8000`: the outer ones repeat that the request failed. */
const rootMessage = (error: unknown): string =>
  error instanceof Error && error.cause instanceof Error && error.cause.message !== ''
    ? rootMessage(error.cause)
    : errorMessage(error);

const packageVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string })
    .version;
