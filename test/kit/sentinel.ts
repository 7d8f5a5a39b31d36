// Our sentinel as a process, on a free port and with its own data directory, which is removed when the tests end.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localKeyFile, readTokenFile } from '@fame-fabric/shared/node';
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
  /** That of an earlier process restarts it with the same id. @default a new directory */
  dataDir?: string;
  env?: Record<string, string>;
}

/** Admission URL of a sentinel on this machine. */
export const admissionUrl = (port: number): string => `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream`;

const made: string[] = [];

/** Call it at the end of a test file or script, after its processes have ended. */
export function removeTemporaryDirectories(): void {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}
// For scripts. The processes of the test runner are killed, so test files call it in a hook (`clean-up.ts`).
process.once('exit', removeTemporaryDirectories);

/** Makes a directory that is removed at the end of the test file or script. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'fame-test-'));
  made.push(directory);
  return directory;
}

export const startOurSentinel = (options: OurSentinelOptions = {}): Promise<OurSentinel> =>
  startSentinelOf({ name: 'sentinel', args: fameArgs('sentinel') }, options);

/** Starts the sentinel of any version with the arguments of Node, in its data directory, and waits until it is ready. */
export async function startSentinelOf(
  { name, args }: { name: string; args: readonly string[] },
  options: OurSentinelOptions,
): Promise<OurSentinel> {
  const port = options.port ?? (await freePort());
  const dataDir = options.dataDir ?? temporaryDirectory();
  const proc = startNode(args, {
    name,
    cwd: dataDir,
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
  isDraining: boolean;
}

/** Fetches a page of a sentinel with its local key. */
export const fetchWithKey = (
  { http, dataDir }: Pick<OurSentinel, 'http' | 'dataDir'>,
  path: string,
  options: RequestInit = {},
): Promise<Response> =>
  fetch(`${http}${path}`, { ...options, headers: { ...options.headers, ...keyHeader(dataDir) } });

/** The local key of a data directory. */
export const localKey = (dataDir: string): string => readTokenFile(localKeyFile(dataDir));

/** The header with the local key of a data directory. Sentinels of older versions have none. */
export const keyHeader = (dataDir: string): Record<string, string> =>
  existsSync(localKeyFile(dataDir)) ? { authorization: `Bearer ${localKey(dataDir)}` } : {};

/**
 * The sum of all lines of a metric. A counter with labels has no line before its first count; `absent` is its value until then.
 * @throws if there is no line and no `absent`
 */
export async function metric(
  sentinel: Pick<OurSentinel, 'http' | 'dataDir'>,
  name: string,
  absent?: number,
): Promise<number> {
  const text = await (await fetchWithKey(sentinel, '/metrics')).text();
  const lines = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, 'gm'))];
  if (lines.length > 0) return lines.reduce((sum, [, value]) => sum + Number(value), 0);
  if (absent === undefined) throw new Error(`The sentinel has no metric ${name}`);
  return absent;
}

/** The nodes that a sentinel lists. */
export async function listNodes(sentinel: Pick<OurSentinel, 'http' | 'dataDir'>): Promise<ListedNode[]> {
  const answer = await fetchWithKey(sentinel, '/fame/v1/nodes');
  return ((await answer.json()) as { nodes: ListedNode[] }).nodes;
}

/** A node of a sentinel by its path; `undefined` once it is gone. */
export const findNode = async (
  sentinel: Pick<OurSentinel, 'http' | 'dataDir'>,
  { path }: { path: string },
): Promise<ListedNode | undefined> => (await listNodes(sentinel)).find((node) => node.path === path);
