// The three implementations whose nodes the matrix combines, and the commands that start a sentinel, agents or a client of each.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DrivenClient } from '../../kit/driven-client.ts';
import { ensureInstalled } from '../../kit/naylence.ts';
import { fameArgs, freePort, healthy, Proc, ROOT, startNode } from '../../kit/processes.ts';
import { pythonWith } from '../../kit/python.ts';
import { admissionUrl, temporaryDirectory } from '../../kit/sentinel.ts';

export const KINDS = ['ts', 'py', 'fame'] as const;
/** naylence for TypeScript, naylence for Python, Fame Fabric. */
export type Kind = (typeof KINDS)[number];

/** One combination of kinds. */
export interface Cell {
  readonly sentinel: Kind;
  readonly agent: Kind;
  readonly client: Kind;
}

const HERE = join(ROOT, 'test/interop/matrix');
const REQUIREMENTS = join(ROOT, 'test/interop/python/requirements.txt');

/** Time limit for a start, in ms: many processes start at once. */
const START_MS = 60_000;

type Env = Record<string, string>;
type Role = 'sentinel' | 'agents' | 'client';

const OURS = ['--conditions=fame-source', '--disable-warning=ExperimentalWarning'];

function start(kind: Kind, role: Role, args: readonly string[], env: Env): Proc {
  const name = `${kind} ${role} ${args.join(' ')}`;
  if (kind === 'fame') {
    const script = role === 'sentinel' ? fameArgs('sentinel') : [...OURS, join(HERE, 'ours', `${role}.ts`)];
    return startNode([...script, ...args], { name, env });
  }
  if (kind === 'py') {
    const script = join(HERE, 'python', `${role}.py`);
    return new Proc(pythonWith('interop-python', REQUIREMENTS), [script, ...args], {
      name,
      env: { PYTHONUNBUFFERED: '1', ...env },
    });
  }
  ensureInstalled();
  const sqlite = pathToFileURL(join(HERE, 'typescript', 'sqlite.mjs')).href;
  const script = [
    `--import=${sqlite}`,
    '--disable-warning=ExperimentalWarning',
    join(HERE, 'typescript', `${role}.mjs`),
  ];
  return startNode([...script, ...args], { name, env });
}

export interface RunningSentinel {
  proc: Proc;
  url: string;
  /** Starts it again on the same port, with the same files. */
  restart(): Promise<void>;
}

export interface SentinelOptions {
  /** Node id. */
  id: string;
  /** Admission URL of the sentinel above. */
  parent?: string;
  /** Admission URL of a peer to connect to. */
  peer?: string;
  /** Ids of the sentinels that connect as peers. */
  peerIds?: readonly string[];
}

export async function startSentinel(kind: Kind, options: SentinelOptions): Promise<RunningSentinel> {
  const port = await freePort();
  const env = { FAME_LISTENER_PORT: String(port), FAME_NODE_ID: options.id, ...sentinelEnv(kind, options) };
  const page = kind === 'fame' ? '/readyz' : '/fame/v1/attach/health';
  const run = async (): Promise<Proc> => {
    const proc = start(kind, 'sentinel', [], env);
    await healthy(`http://127.0.0.1:${port}${page}`, proc, START_MS);
    return proc;
  };
  const running: RunningSentinel = {
    proc: await run(),
    url: admissionUrl(port),
    async restart() {
      running.proc = await run();
    },
  };
  return running;
}

function sentinelEnv(kind: Kind, { parent, peer, peerIds = [] }: SentinelOptions): Env {
  const peerUrl = peer?.replace('/downstream', '/peer');
  if (kind === 'fame') {
    return {
      FAME_DATA_DIR: temporaryDirectory(),
      FAME_LOG_LEVEL: 'warn',
      ...(parent && { FAME_PARENT_URL: parent }),
      ...(peerUrl && { FAME_PEER_URLS: peerUrl }),
      ...(peerIds.length > 0 && { FAME_PEER_IDS: peerIds.join(',') }),
    };
  }
  return {
    ...(parent && { FAME_DIRECT_ADMISSION_URL: parent, FAME_ADMISSION_PROFILE: 'open' }),
    ...(peerUrl && { MATRIX_PEER_URL: peerUrl }),
  };
}

export interface NodeOptions {
  /** Admission URL. */
  url: string;
  /** Node id. */
  id: string;
  isAtLeastOnce?: boolean;
  /** The agents keep their state and their undelivered messages in files. */
  isDurable?: boolean;
  /** The agents are members of pools. */
  isPool?: boolean;
}

function nodeEnv(kind: Kind, { url, id, isAtLeastOnce, isDurable, isPool }: NodeOptions): Env {
  const directory = temporaryDirectory();
  return {
    FAME_DIRECT_ADMISSION_URL: url,
    FAME_NODE_ID: id,
    ...(isAtLeastOnce && { FAME_DELIVERY_PROFILE: 'at-least-once' }),
    ...(kind === 'fame'
      ? { FAME_DATA_DIR: directory }
      : {
          // Clients of naylence do not read FAME_NODE_ID.
          FAME_NODE_ID_SALT: id,
          FAME_SESSION_MAX_INITIAL_ATTEMPTS: '5',
          ...(isDurable && {
            FAME_STORAGE_PROFILE: 'encrypted-sqlite',
            FAME_STORAGE_MASTER_KEY: '0123456789abcdef'.repeat(4),
            FAME_STORAGE_DB_DIRECTORY: directory,
          }),
          ...(isPool && { MATRIX_POOL: '1' }),
        }),
  };
}

export interface RunningAgents {
  proc: Proc;
  /** Starts them again with the same id and files. */
  restart(): Promise<void>;
}

/** @param agents addresses by kind of agent */
export async function startAgents(
  kind: Kind,
  agents: Readonly<Record<string, string>>,
  options: NodeOptions,
): Promise<RunningAgents> {
  const env = nodeEnv(kind, options);
  const addresses = Object.values(agents).map((address) =>
    kind === 'fame' && options.isPool ? address.replace('@', '@*.') : address,
  );
  const args = Object.keys(agents).map((name, i) => `${name}=${addresses[i]}`);
  const isServed =
    kind === 'fame'
      ? new RegExp(`${addresses.at(-1)!.replaceAll(/[.*]/g, '\\$&')} is served`)
      : /"event": ?"served"/;
  const run = async (): Promise<Proc> => {
    const proc = start(kind, 'agents', args, env);
    await proc.waitFor(isServed, START_MS);
    return proc;
  };
  const running: RunningAgents = {
    proc: await run(),
    async restart() {
      running.proc = await run();
    },
  };
  return running;
}

export const startClient = (kind: Kind, options: NodeOptions): Promise<DrivenClient> =>
  new DrivenClient(start(kind, 'client', [], nodeEnv(kind, options))).ready(START_MS);
