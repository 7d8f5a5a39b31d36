// A whole cluster whose parts can be killed, paused and cut off from each other: three sentinels over NATS, and a client at each of them. Over
// PostgreSQL, three replicas serve one agent, and one process serves another one. Each connection between two of these has a proxy of its own.
// A supervisor starts the sentinels and the agents again.
import { fileURLToPath } from 'node:url';
import type { WireRequest } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { type NatsServer, startNats } from '../kit/nats.ts';
import { PostgresServer } from '../kit/postgres.ts';
import { type Exit, fameArgs, freePort, healthy, type Proc, startNode } from '../kit/processes.ts';
import { admissionUrl, temporaryDirectory } from '../kit/sentinel.ts';
import { API_KEY, startModel } from '../kit/stack.ts';
import { TcpProxy } from '../kit/tcp-proxy.ts';
import type { StormTurns } from './storm-turns.ts';

/** Number of sentinels, of replicas and of clients. */
export const MEMBERS = 3;
/** The address of the agent that is one process. It has one owner in the cluster. */
export const SINGLE = 'single@fame.fabric';
/** The product's lease of a conversation at a replica, in ms. */
const LEASE_MS = '5000';
const RESUME_WINDOW_MS = '1000';
const FLAGS = ['--disable-warning=ExperimentalWarning'];
const AGENT = fileURLToPath(new URL('./agent-program.ts', import.meta.url));
const NUMBERS = Array.from({ length: MEMBERS }, (_, n) => n);

/** A process that is started again after its end. */
class Member {
  readonly name: string;
  readonly #start: () => Proc;
  readonly #isReady: (proc: Proc) => Promise<unknown>;
  #proc: Proc;
  #isClosed = false;
  /** Exits of agents that started while PostgreSQL was not available. */
  startsWithoutStore = 0;
  /** Other exits that no test caused, with the last output. */
  readonly ownExits: string[] = [];
  /** Errors in the logs, with their counts. */
  readonly errors = new Map<string, number>();
  readonly #expected = new WeakSet<Proc>();

  constructor(name: string, start: () => Proc, isReady: (proc: Proc) => Promise<unknown>) {
    this.name = name;
    this.#start = start;
    this.#isReady = isReady;
    this.#proc = this.#supervise();
  }

  #supervise(): Proc {
    const proc = this.#start();
    void proc.exited.then((exit) => {
      if (this.#isClosed) return;
      this.#report(proc, exit);
      this.#proc = this.#supervise();
    });
    return proc;
  }

  #report(proc: Proc, { code, signal }: Exit): void {
    const lines = proc.output.trim().split('\n');
    if (!this.#expected.has(proc)) {
      const lastLine = lines.at(-1)!;
      if (lastLine.includes('cannot be opened') && lastLine.includes('(STORE_UNAVAILABLE)'))
        this.startsWithoutStore++;
      else this.ownExits.push(`${this.name} exited with ${signal ?? code}: ${lines.slice(-5).join(' | ')}`);
    }
    for (const line of lines) {
      const text = /"level":"(?:error|fatal)".*"msg":"([^"]*)/.exec(line)?.[1];
      if (text !== undefined) this.errors.set(text, (this.errors.get(text) ?? 0) + 1);
    }
  }

  /** Sends SIGKILL; resolves when the next process has been started. */
  async kill(): Promise<void> {
    this.#expected.add(this.#proc);
    await this.#proc.kill();
  }

  /** Stops the process in order; resolves when the next one is ready. Returns the exit code, or the signal after 60 s. */
  async restart(): Promise<number | string | null> {
    const proc = this.#proc;
    this.#expected.add(proc);
    const { code, signal } = await proc.stop('SIGTERM', 60_000);
    await this.ready();
    return signal ?? code;
  }

  ready(): Promise<unknown> {
    return this.#isReady(this.#proc);
  }

  /** Pauses the present process; returns a function that resumes it. */
  pause(): () => void {
    const { child } = this.#proc;
    child.kill('SIGSTOP');
    return () => void child.kill('SIGCONT');
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#proc.kill();
  }
}

export class ClusterFabric {
  readonly #toolDir = temporaryDirectory();
  model!: Awaited<ReturnType<typeof startModel>>;
  nats!: NatsServer;
  database!: PostgresServer;
  readonly sentinels: Member[] = [];
  /** The replicas, then the agent at `SINGLE`. */
  readonly agents: Member[] = [];
  readonly clients: Client[] = [];
  /** The proxies by the names of their two ends. */
  readonly proxies = new Map<string, TcpProxy>();

  static async start(turns: StormTurns): Promise<ClusterFabric> {
    const fabric = new ClusterFabric();
    await fabric.#start((request) => turns.respond(request));
    return fabric;
  }

  async #start(respond: (request: WireRequest) => ReturnType<StormTurns['respond']>): Promise<void> {
    this.model = await startModel({ respond, apiKey: API_KEY });
    [this.nats, this.database] = await Promise.all([
      startNats({ hasJetStream: true }),
      PostgresServer.start(),
    ]);
    const ports = await Promise.all(NUMBERS.map(() => freePort()));
    for (const n of NUMBERS) {
      const nats = await this.#proxy(`sentinel ${n} and NATS`, this.nats.port);
      this.sentinels.push(this.#sentinel(n, ports[n]!, nats.port));
    }
    await Promise.all(this.sentinels.map((one) => one.ready()));
    const addresses = [...NUMBERS.map(() => 'chat@*.fame.fabric'), SINGLE];
    for (const [n, address] of addresses.entries()) {
      const urls = await this.#urls(`agent ${n}`, n % MEMBERS, ports);
      const database = await this.#proxy(`agent ${n} and PostgreSQL`, this.database.port);
      this.agents.push(this.#agent(`agent ${n}`, address, urls, this.database.tcpUrl(database.port)));
    }
    await Promise.all(this.agents.map((one) => one.ready()));
    for (const n of NUMBERS) {
      const [url, ...otherUrls] = await this.#urls(`client ${n}`, n, ports);
      this.clients.push(await connect({ url: url!, otherUrls, backoffMaxMs: 500 }));
    }
  }

  #sentinel(n: number, port: number, natsPort: number): Member {
    const dataDir = temporaryDirectory();
    const env = {
      FAME_NODE_ID: `s${n}`,
      FAME_LISTENER_PORT: String(port),
      FAME_DATA_DIR: dataDir,
      FAME_LOG_LEVEL: 'warn',
      FAME_CLUSTER: 'storm',
      FAME_CLUSTER_NATS: `nats://127.0.0.1:${natsPort}`,
      FAME_RESUME_WINDOW_MS: RESUME_WINDOW_MS,
    };
    return new Member(
      `sentinel ${n}`,
      () => startNode(fameArgs('sentinel'), { name: `sentinel ${n}`, cwd: dataDir, env }),
      (proc) => healthy(`http://127.0.0.1:${port}/readyz`, proc),
    );
  }

  #agent(name: string, address: string, urls: readonly string[], storeUrl: string): Member {
    const env = {
      FAME_DIRECT_ADMISSION_URL: urls.join(),
      FAME_DATA_DIR: temporaryDirectory(),
      FAME_CHAT_ADDRESS: address,
      FAME_STORE_URL: storeUrl,
      OPENAI_API_KEY: API_KEY,
      OPENAI_BASE_URL: this.model.url,
    };
    return new Member(
      name,
      () => startNode([...FLAGS, AGENT, this.#toolDir, LEASE_MS], { name, env }),
      (proc) => proc.waitFor(/ is served through /),
    );
  }

  /** The sentinel with the same number first, and the others after it. */
  async #urls(of: string, n: number, ports: readonly number[]): Promise<string[]> {
    const urls: string[] = [];
    for (const m of [...NUMBERS.slice(n), ...NUMBERS.slice(0, n)]) {
      urls.push(admissionUrl((await this.#proxy(`${of} and sentinel ${m}`, ports[m]!)).port));
    }
    return urls;
  }

  async #proxy(name: string, port: number): Promise<TcpProxy> {
    const proxy = await TcpProxy.to(port);
    this.proxies.set(name, proxy);
    return proxy;
  }

  get members(): Member[] {
    return [...this.sentinels, ...this.agents];
  }

  async stop(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.close()));
    await Promise.all(this.members.map((one) => one.close()));
    await this.nats.kill();
    await this.database.close();
    await Promise.all([...this.proxies.values()].map((proxy) => proxy.close()));
    await this.model.close();
  }
}
