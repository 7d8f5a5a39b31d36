// Processes of any installed version: sentinels, agents, the `fame` command, and clients driven line by line.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Exit, type Proc, startNode } from '../kit/processes.ts';
import { type OurSentinel, type OurSentinelOptions, startSentinelOf } from '../kit/sentinel.ts';
import { API_KEY } from '../kit/stack.ts';
import type { Action } from './client-program.ts';
import type { Installed } from './releases.ts';

const fame = ({ root }: Installed, ...args: readonly string[]): string[] => [
  '--disable-warning=ExperimentalWarning',
  join(root, 'dist/fame.js'),
  ...args,
];

/** Starts a sentinel and waits until it is ready. */
export const startSentinel = (of: Installed, options: OurSentinelOptions = {}): Promise<OurSentinel> =>
  startSentinelOf({ name: `sentinel ${of.version}`, args: fame(of, 'sentinel') }, options);

export interface AgentOptions {
  dataDir: string;
  /** URL of the model server. @default the built-in model */
  modelUrl?: string | undefined;
  env?: Record<string, string>;
}

/** Starts the chat, math and echo agents without waiting for them. */
export const spawnAgent = (of: Installed, url: string, { dataDir, modelUrl, env }: AgentOptions): Proc =>
  startNode(fame(of, 'agent', 'chat', 'math', 'echo'), {
    name: `agent ${of.version}`,
    cwd: dataDir,
    env: {
      FAME_DIRECT_ADMISSION_URL: url,
      FAME_DATA_DIR: dataDir,
      ...(modelUrl ? { OPENAI_API_KEY: API_KEY, OPENAI_BASE_URL: modelUrl } : {}),
      ...env,
    },
  });

/** Starts the chat, math and echo agents and waits until all are served. */
export async function startAgent(of: Installed, url: string, options: AgentOptions): Promise<Proc> {
  const proc = spawnAgent(of, url, options);
  for (const name of ['chat', 'math', 'echo'])
    await proc.waitFor(new RegExp(`${name}@\\S+ is served through `));
  return proc;
}

export interface Finished extends Exit {
  stdout: string;
  /** Standard output and standard error. */
  output: string;
}

/** Runs a command to its end. `input` is written to its standard input. */
export async function runFame(
  of: Installed,
  { url, dataDir, input = '' }: { url: string; dataDir: string; input?: string },
  ...args: string[]
): Promise<Finished> {
  const env = { FAME_DIRECT_ADMISSION_URL: url, FAME_DATA_DIR: dataDir };
  const proc = startNode(fame(of, ...args), { name: `fame ${args[0]} ${of.version}`, cwd: dataDir, env });
  let stdout = '';
  proc.child.stdout?.on('data', (text: string) => {
    stdout += text;
  });
  proc.child.stdin?.end(input);
  return { ...(await proc.exited), stdout, output: proc.output };
}

interface Outcome {
  value?: unknown;
  /** Code or name of the error. */
  error?: string;
  message?: string;
}

export interface Pending {
  /** Resolves with the next event of the turn. */
  nextEvent(): Promise<string>;
  readonly outcome: Promise<Outcome>;
  /** Cancels the request at the client. */
  abort(): void;
}

/** A process that runs the client library of one version. */
export class LibraryClient {
  readonly proc: Proc;
  #nextId = 1;

  constructor(proc: Proc) {
    this.proc = proc;
  }

  static async start(of: Installed, url: string, profile = 'at-most-once'): Promise<LibraryClient> {
    const library = pathToFileURL(join(of.root, 'client/dist/node.js')).href;
    const program = join(import.meta.dirname, 'client-program.ts');
    const args = ['--disable-warning=ExperimentalWarning', program, library, url, profile];
    const proc = startNode(args, { name: `client ${of.version}`, cwd: of.root });
    await proc.waitFor(/"ready"/);
    return new LibraryClient(proc);
  }

  send(action: Action): Pending {
    const id = this.#nextId++;
    const events: string[] = [];
    let wake = Promise.withResolvers<void>();
    const outcome = Promise.withResolvers<Outcome>();
    const stop = this.proc.onLine((line) => {
      const answer = JSON.parse(line) as Outcome & { id?: number; event?: string };
      if (answer.id !== id) return;
      if (answer.event) {
        events.push(answer.event);
        wake.resolve();
        return;
      }
      stop();
      outcome.resolve(answer);
    });
    void this.proc.exited.then(() => outcome.resolve({ error: 'CLIENT_EXITED', message: this.proc.output }));
    this.proc.write(JSON.stringify({ id, ...action }));
    return {
      async nextEvent() {
        if (events.length === 0) await wake.promise;
        wake = Promise.withResolvers();
        return events.shift()!;
      },
      outcome: outcome.promise,
      abort: () => this.proc.write(JSON.stringify({ id: this.#nextId++, do: 'abort', target: id })),
    };
  }

  /** The value. @throws the error of the client */
  async ask(action: Action): Promise<unknown> {
    const { value, error, message } = await this.send(action).outcome;
    if (error) throw new Error(`${action.do}: ${error}: ${message}`);
    return value;
  }
}
