// Our sentinel as a process, on a free port and with a data directory of its own that is removed when the tests end.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { admissionUrl } from './naylence.ts';
import { fameArgs, freePort, healthy, type Proc, startNode } from './processes.ts';

export interface OurSentinel {
  proc: Proc;
  port: number;
  /** Admission URL without its last segment. */
  url: string;
  /** `http://127.0.0.1:port` */
  http: string;
  dataDir: string;
}

export interface OurSentinelOptions {
  /** @default a free one */
  port?: number;
  /** Give the one of an earlier process to restart it with its id. @default a fresh directory */
  dataDir?: string;
  env?: Record<string, string>;
}

const made: string[] = [];

/** Called when a test file or a script of this folder is through, and everything it started has ended. */
export function removeTemporaryDirectories(): void {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}
// Scripts end by themselves; the processes of the test runner are ended.
process.once('exit', removeTemporaryDirectories);

/** A directory that goes when its test file or script has ended. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'fame-test-'));
  made.push(directory);
  return directory;
}

export async function startOurSentinel(options: OurSentinelOptions = {}): Promise<OurSentinel> {
  const port = options.port ?? (await freePort());
  const dataDir = options.dataDir ?? temporaryDirectory();
  const proc = startNode(fameArgs('sentinel'), {
    name: 'sentinel',
    env: { FAME_LISTENER_PORT: String(port), FAME_DATA_DIR: dataDir, FAME_LOG_LEVEL: 'warn', ...options.env },
  });
  const http = `http://127.0.0.1:${port}`;
  await healthy(`${http}/readyz`, proc);
  return { proc, port, url: admissionUrl(port), http, dataDir };
}

export interface ListedNode {
  id: string;
  path: string;
  state: 'attached' | 'detached' | 'gone';
  addresses: string[];
  queuedMessages: number;
  queuedBytes: number;
  openCalls: number;
  serving: number;
}

/** The nodes of a sentinel as it lists them itself. */
export async function listNodes({ port }: { port: number }): Promise<ListedNode[]> {
  const answer = await fetch(`http://127.0.0.1:${port}/fame/v1/nodes`);
  return ((await answer.json()) as { nodes: ListedNode[] }).nodes;
}

/** One of them by its path; nothing when it is gone. */
export const findNode = async (
  sentinel: { port: number },
  { path }: { path: string },
): Promise<ListedNode | undefined> => (await listNodes(sentinel)).find((node) => node.path === path);
