// Runs once before the tests of a project: starts the PostgreSQL server that their files share, each with schemas of its own.
import type { TestProject } from 'vitest/node';
import { ensurePooler } from './pooler.ts';
import { noPostgres, PostgresServer } from './postgres.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** URL of the server; undefined with the reason why there is none. */
    postgres: { readonly url?: string; readonly reason?: string };
  }
}

export default async function setup({ provide }: TestProject): Promise<(() => Promise<void>) | undefined> {
  const reason = noPostgres();
  if (reason !== undefined) {
    console.warn(`The tests of the PostgreSQL store are skipped. ${reason}`);
    provide('postgres', { reason });
    return undefined;
  }
  ensurePooler();
  const server = await PostgresServer.start();
  provide('postgres', { url: server.url });
  return () => server.close();
}
