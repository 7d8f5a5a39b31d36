// Options of `mcpTools`: how to reach an MCP server, and which of its tools to offer.
import { type Clock, FabricError, type Logger } from '@fame-fabric/shared';

/** A server that runs as a child process and speaks MCP over its standard streams. */
export interface McpProcess {
  readonly command: string;
  readonly args?: readonly string[] | undefined;
  /** Variables of the child, beside HOME, LOGNAME, PATH, SHELL, TERM and USER of this process. It gets no others. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** @default the directory of this process */
  readonly cwd?: string | undefined;
}

/** A server that speaks MCP over streamable HTTP. */
export interface McpUrl {
  readonly url: string;
  /** Headers of every request, such as `Authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

interface McpSettings {
  /** Name of the server in logs and errors, and the kit of its tools. @default 'mcp' */
  readonly name?: string | undefined;
  /** Names of the tools to offer, at the server. @default all */
  readonly tools?: readonly string[] | undefined;
  /** Prefix of the name of each tool. @default none */
  readonly prefix?: string | undefined;
  /** Tools whose calls need the approval of a person, by their names at the server; true for all. @default none */
  readonly approve?: true | readonly string[] | undefined;
  /** Time limit of a call, in ms. @default 60_000 */
  readonly timeoutMs?: number | undefined;
  /** Time limit of a start: the start of the process, the handshake and the list of tools, in ms. @default 30_000 */
  readonly startTimeoutMs?: number | undefined;
  /** Longest result of a call in characters; the rest is cut off and marked. @default 65_536 */
  readonly maxResultChars?: number | undefined;
  /**
   * File with the definitions of the first start. A tool with another definition is refused until the file is deleted or the new definition
   * is confirmed. @default none: the definitions of the first start of this process
   */
  readonly pinFile?: string | undefined;
  readonly logger?: Logger | undefined;
  readonly clock?: Clock | undefined;
}

/** The server, and which of its tools to offer. */
export type McpToolsOptions = (McpProcess | McpUrl) & McpSettings;

export const DEFAULT_CALL_TIMEOUT_MS = 60_000;
export const DEFAULT_START_TIMEOUT_MS = 30_000;
/** Largest message of a server, in bytes. A larger one ends the connection. */
export const MAX_MESSAGE_BYTES = 4_194_304;

const PREFIX = /^[A-Za-z0-9_-]{0,32}$/;

/** @throws {CONFIG_INVALID} naming the option */
export function checkMcpOptions(options: McpToolsOptions): void {
  const { name = 'mcp', prefix = '' } = options;
  const fault = (text: string): FabricError =>
    new FabricError('CONFIG_INVALID', `The MCP server "${name}" ${text}`);
  const hasCommand = 'command' in options && options.command !== undefined;
  const hasUrl = 'url' in options && options.url !== undefined;
  if (hasCommand === hasUrl) throw fault('needs either a command or a url.');
  if (!PREFIX.test(prefix))
    throw fault('has an invalid prefix. Use at most 32 letters, digits, "_" and "-".');
  if (!('url' in options)) return;
  const url = URL.parse(options.url);
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:')
    throw fault('needs a URL that begins with https:// or http://.');
  if (url.username !== '' || url.password !== '')
    throw fault('has a password in its URL. Put it into `headers`.');
}

/** Values of `env` and `headers` that logs and errors must not contain. */
export function secretsOf(options: McpProcess | McpUrl): string[] {
  const values = Object.values(('url' in options ? options.headers : options.env) ?? {});
  const parts = values.flatMap((value) => [value, ...value.split(/\s+/)]);
  // Shorter values, such as "1", also occur in other text.
  return [...new Set(parts)].filter((value) => value.length >= 6).sort((a, b) => b.length - a.length);
}
