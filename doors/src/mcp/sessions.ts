// Sessions of clients before 2026-07-28, which open a session with `initialize`. A session belongs to its principal and has no state of
// turns. After it has expired, its client opens another one.
import { type Clock, FabricError, newId, type Timer } from '@fame-fabric/shared';
import { type TaskServer, WebStandardStreamableHTTPServerTransport } from './sdk.ts';

/** Time without a request or an open stream after which a session expires, in ms. */
const IDLE_MS = 1_800_000;
const SWEEP_MS = 60_000;
/** Maximum number of sessions. */
const MAX_SESSIONS = 4_096;
/** Maximum number of sessions of one principal. A further session closes the least recently used one. */
const MAX_OF_PRINCIPAL = 256;

export class Session {
  readonly principal: string;
  readonly server: TaskServer;
  readonly transport: WebStandardStreamableHTTPServerTransport;
  id: string | undefined;
  usedAt: number;
  /** Number of requests without a complete response, and of open streams. */
  uses = 0;

  constructor(
    principal: string,
    server: TaskServer,
    transport: WebStandardStreamableHTTPServerTransport,
    now: number,
  ) {
    this.principal = principal;
    this.server = server;
    this.transport = transport;
    this.usedAt = now;
  }
}

export class Sessions {
  readonly #clock: Clock;
  /** By id; the least recently used one first. */
  readonly #byId = new Map<string, Session>();
  readonly #sweep: Timer;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sweep = clock.every(SWEEP_MS, () => this.#closeExpired());
  }

  /** Number of sessions, for tests. */
  get size(): number {
    return this.#byId.size;
  }

  /**
   * Opens a session. Its id is valid once `initialize` was answered.
   * @throws {ADMIT_FULL} if there are too many
   */
  async open(principal: string, server: TaskServer): Promise<Session> {
    if (this.#byId.size >= MAX_SESSIONS && !this.#closeOldest(principal))
      throw new FabricError('ADMIT_FULL', `The door has ${MAX_SESSIONS} sessions of MCP already`);
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: newId,
      onsessioninitialized: (id) => this.#add(id, session),
      onsessionclosed: (id) => void this.#byId.delete(id),
    });
    const session = new Session(principal, server, transport, this.#clock.monotonic());
    await server.connect(transport);
    return session;
  }

  /** Finds a session of the principal. Sessions of other principals are treated as unknown. */
  find(id: string, principal: string): Session | undefined {
    const session = this.#byId.get(id);
    return session?.principal === principal ? session : undefined;
  }

  /** Counts a use of the session. Returns a function that ends the use. */
  use(session: Session): () => void {
    session.uses++;
    this.#touch(session);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      session.uses--;
      this.#touch(session);
    };
  }

  async close(): Promise<void> {
    this.#sweep.stop();
    const servers = [...this.#byId.values()].map(({ server }) => server.close());
    this.#byId.clear();
    await Promise.all(servers);
  }

  #add(id: string, session: Session): void {
    session.id = id;
    const own = [...this.#byId.values()].filter(({ principal }) => principal === session.principal);
    if (own.length >= MAX_OF_PRINCIPAL) this.#closeOldest(session.principal);
    this.#byId.set(id, session);
  }

  #touch(session: Session): void {
    session.usedAt = this.#clock.monotonic();
    if (session.id === undefined || !this.#byId.delete(session.id)) return;
    this.#byId.set(session.id, session);
  }

  #closeExpired(): void {
    const before = this.#clock.monotonic() - IDLE_MS;
    for (const session of this.#byId.values())
      if (session.uses === 0 && session.usedAt <= before) this.#close(session);
  }

  /** Closes the least recently used session of the principal. Returns false if it has no session. */
  #closeOldest(principal: string): boolean {
    for (const session of this.#byId.values()) {
      if (session.principal !== principal) continue;
      this.#close(session);
      return true;
    }
    return false;
  }

  #close(session: Session): void {
    if (session.id !== undefined) this.#byId.delete(session.id);
    void session.server.close();
  }
}
