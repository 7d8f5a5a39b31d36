// A configured MCP server: its connection, which is opened again after a loss, and its list of definitions. A tool is called only with its
// confirmed definition.
//
// Invariants: I1 at most one connection is open or being opened. I2 a tool is called only if the last list has its confirmed definition.
import { type Clock, FabricError, isFabricError, type Logger } from '@fame-fabric/shared';
import { Backoff, pause, timeText, untilAborted } from '@fame-fabric/shared/internal';
import { digestOf, type ListedDefinitions, type McpDefinition, readDefinitions } from './mcp-definitions.ts';
import type { McpToolsOptions } from './mcp-options.ts';
import type { McpResult } from './mcp-result.ts';
import { hasLostSession, type McpSession, type OpenMcpSession } from './mcp-session.ts';

/** Time after which a connection counts as stable: the delays between its starts begin anew. */
const STABLE_MS = 60_000;
/** Longest wait of a call for the next start. A later start fails the call. */
const MAX_WAIT_MS = 5_000;
/** Age of a list after which the next call requests it again. */
const LIST_TTL_MS = 300_000;
const BACKOFF = { minMs: 1_000, maxMs: 60_000 };

export interface McpServerDeps {
  readonly open: OpenMcpSession;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Connection {
  readonly session: McpSession;
  readonly openedAt: number;
  listedAt: number;
  isStale: boolean;
  /** Number of calls in flight. */
  calls: number;
}

export class McpServer {
  readonly name: string;
  readonly #options: McpToolsOptions & { readonly name: string; readonly startTimeoutMs: number };
  readonly #deps: McpServerDeps;
  readonly #backoff = new Backoff(BACKOFF);
  #connection: Connection | undefined;
  #opening: Promise<Connection> | undefined;
  /** Monotonic time of the earliest next start. */
  #notBefore = 0;
  #listed: ListedDefinitions = { definitions: [], refused: [] };
  #digests = new Map<string, string>();
  #isClosed = false;

  constructor(
    options: McpToolsOptions & { readonly name: string; readonly startTimeoutMs: number },
    deps: McpServerDeps,
  ) {
    this.name = options.name;
    this.#options = options;
    this.#deps = deps;
  }

  /** Connects if there is no connection, and returns the list of tools. @throws {MCP_UNAVAILABLE | CONFIG_INVALID} */
  async list(): Promise<ListedDefinitions> {
    await this.#connect(undefined);
    return this.#listed;
  }

  /**
   * Calls a tool. Aborting `signal` cancels the call at the server.
   * @throws {MCP_TOOL_CHANGED} if the server has changed the definition; {MCP_UNAVAILABLE} if it cannot be reached or has ended; {ToolError}
   * if it refused the call
   */
  async call(
    confirmed: McpDefinition,
    args: Record<string, unknown>,
    signal: AbortSignal,
  ): Promise<McpResult> {
    const attempt = async (): Promise<McpResult> => {
      const connection = await this.#connect(signal);
      await this.#refresh(connection, signal);
      this.#checkConfirmed(confirmed);
      connection.calls += 1;
      try {
        return await connection.session.callTool(confirmed.name, args, signal);
      } catch (error) {
        if (isFabricError(error, 'MCP_UNAVAILABLE')) this.#drop(connection);
        throw error;
      } finally {
        connection.calls -= 1;
        this.#closeUnused(connection);
      }
    };
    try {
      return await attempt();
    } catch (error) {
      if (!hasLostSession(error)) throw error;
      return attempt();
    }
  }

  /** Ends the connection and the process. Resolves when it has ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const connection = this.#connection ?? (await this.#opening?.catch(() => undefined));
    this.#connection = undefined;
    await connection?.session.close();
  }

  async #connect(signal: AbortSignal | undefined): Promise<Connection> {
    if (this.#connection) return this.#connection;
    const waitMs = this.#notBefore - this.#deps.clock.monotonic();
    if (!this.#opening && waitMs > MAX_WAIT_MS)
      throw this.#unavailable(`starts again in ${timeText(waitMs)}, because it failed before`);
    if (!this.#opening && waitMs > 0) {
      await pause(this.#deps.clock, waitMs, signal);
      return this.#connect(signal);
    }
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return untilAborted(this.#opening, signal);
  }

  async #open(): Promise<Connection> {
    const { clock, logger, open } = this.#deps;
    if (this.#isClosed) throw this.#unavailable('has been closed');
    const openedAt = clock.monotonic();
    let connection: Connection | undefined;
    try {
      const session = await open(
        { ...this.#options, logger, clock },
        {
          onClose: (output) => {
            if (connection === undefined || this.#connection !== connection) return;
            logger.warn('MCP server ended; the next call starts it again', { server: this.name, output });
            this.#connection = undefined;
            this.#delay(connection.openedAt);
          },
          onToolsChanged: () => {
            if (connection) connection.isStale = true;
          },
        },
      );
      connection = { session, openedAt, listedAt: openedAt, isStale: true, calls: 0 };
      this.#connection = connection;
      await this.#refresh(connection, undefined);
    } catch (error) {
      if (connection) this.#drop(connection);
      else this.#delay(clock.monotonic());
      throw error;
    }
    if (this.#connection !== connection) throw this.#unavailable('ended while it started');
    if (this.#isClosed) {
      await connection.session.close();
      throw this.#unavailable('has been closed');
    }
    return connection;
  }

  /** Requests the list if it is old or the server has announced another one. */
  async #refresh(connection: Connection, signal: AbortSignal | undefined): Promise<void> {
    const now = this.#deps.clock.monotonic();
    if (!connection.isStale && now - connection.listedAt < LIST_TTL_MS) return;
    connection.isStale = false;
    try {
      const listed = readDefinitions(await untilAborted(connection.session.listTools(), signal));
      connection.listedAt = now;
      this.#listed = listed;
      this.#digests = new Map(listed.definitions.map((one) => [one.name, digestOf(one)]));
    } catch (error) {
      connection.isStale = true;
      if (isFabricError(error, 'MCP_UNAVAILABLE')) this.#drop(connection);
      throw error;
    }
  }

  /** Keeps I2. */
  #checkConfirmed(confirmed: McpDefinition): void {
    const digest = this.#digests.get(confirmed.name);
    if (digest === digestOf(confirmed)) return;
    const how = digest === undefined ? 'no longer has the tool' : 'has changed the definition of the tool';
    throw new FabricError(
      'MCP_TOOL_CHANGED',
      `The MCP server "${this.name}" ${how} "${confirmed.name}" since it was confirmed, so the tool is not called.`,
    );
  }

  /** Gives a connection up. The next call opens another one. Other calls over it may still end well. */
  #drop(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#delay(connection.openedAt);
    this.#closeUnused(connection);
  }

  /** Closes an abandoned connection after its last call has ended. */
  #closeUnused(connection: Connection): void {
    if (this.#connection === connection || connection.calls > 0) return;
    connection.session.close().catch((error: unknown) => {
      this.#deps.logger.debug('the connection of an MCP server did not close', { server: this.name, error });
    });
  }

  /** Sets the time of the next start. A server that was stable before starts again at once. */
  #delay(openedAt: number): void {
    const now = this.#deps.clock.monotonic();
    if (now - openedAt >= STABLE_MS) {
      this.#backoff.reset();
      this.#notBefore = now;
    } else this.#notBefore = now + this.#backoff.nextDelayMs();
  }

  #unavailable(what: string): FabricError {
    return new FabricError('MCP_UNAVAILABLE', `The MCP server "${this.name}" ${what}.`);
  }
}
