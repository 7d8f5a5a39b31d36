// The thread that runs the queries of `PostgresJournal`, which waits for each of them.
import { type MessagePort, workerData } from 'node:worker_threads';
import pg from 'pg';

const { url, port, signal } = workerData as { url: string; port: MessagePort; signal: Int32Array };
pg.types.setTypeParser(pg.types.builtins.INT8, Number);
let client: pg.Client | undefined;

async function run(text: string, values: unknown[]): Promise<unknown> {
  if (!client) {
    const parsed = new URL(url.replace('@/', '@localhost/'));
    const { searchParams } = parsed;
    const host = searchParams.get('host') ?? parsed.hostname;
    const opened = new pg.Client({
      host,
      port: Number(searchParams.get('port')),
      user: 'fame',
      database: 'fame',
    });
    opened.on('error', () => {
      if (client === opened) client = undefined;
    });
    await opened.connect();
    client = opened;
  }
  return (await client.query(text, values)).rows;
}

port.on('message', async ({ text, values }: { text: string; values: unknown[] }) => {
  try {
    port.postMessage({ rows: await run(text, values) });
  } catch (error) {
    client = undefined;
    port.postMessage({ fault: String(error) });
  }
  Atomics.store(signal, 0, 1);
  Atomics.notify(signal, 0);
});
