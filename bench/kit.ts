// Servers of the test kit. Its files belong to another project of TypeScript, so they are imported when they are used.

export interface NatsServer {
  readonly url: string;
  readonly pid: number;
  kill(): Promise<void>;
}
export interface PostgresServer {
  /** URL over a local socket. */
  readonly url: string;
  readonly pid: number;
  close(): Promise<void>;
}
interface NatsKit {
  startNats(options: { hasJetStream?: boolean }): Promise<NatsServer>;
}
interface PostgresKit {
  noPostgres(): string | undefined;
  readonly PostgresServer: { start(): Promise<PostgresServer> };
}

const kit = (name: string): Promise<unknown> =>
  import(new URL(`../test/kit/${name}.ts`, import.meta.url).href);

/** @throws {Error} if nats-server is not installed */
export const startNats = async (options: { hasJetStream?: boolean } = {}): Promise<NatsServer> =>
  ((await kit('nats')) as NatsKit).startNats(options);

/** Starts a server with `fsync` on. Returns `undefined` if PostgreSQL is not installed. */
export async function startPostgres(): Promise<PostgresServer | undefined> {
  const { noPostgres, PostgresServer } = (await kit('postgres')) as PostgresKit;
  return noPostgres() === undefined ? PostgresServer.start() : undefined;
}
