// A whole fabric whose processes can be killed one by one: sentinel, agent and client as processes, the agent's connection
// through a proxy that can hold back bytes, and in this process the fake model server, which counts its requests.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type ControlledGate,
  callTools,
  gate,
  pieces,
  type Scripted,
  type ScriptStep,
  type ServerReply,
  type WireRequest,
} from '@fame-fabric/agents/testing';
import type { ModelOptions, ToolResult, TurnEvent } from '@fame-fabric/client';
import { newId } from '@fame-fabric/shared';
import type { PostgresServer } from '../kit/postgres.ts';
import { type Proc, startNode } from '../kit/processes.ts';
import { admissionUrl, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { API_KEY, lastUserText, pause, startModel } from '../kit/stack.ts';
import { TcpProxy } from '../kit/tcp-proxy.ts';
import type { ApprovalLine, TurnRequest } from './client-program.ts';
import { type Journal, JournalView } from './journal-view.ts';
import { PostgresJournal } from './postgres/postgres-journal.ts';

/** `store` is the PostgreSQL server of the agent. */
export type Victim = 'agent' | 'sentinel' | 'client' | 'store';

/** Arguments and variables of a replica: a short lease, and the address of a pool. */
const REPLICA = { leaseMs: '3000', env: { FAME_CHAT_ADDRESS: 'chat@*.fame.fabric' } } as const;

/** Gates at which the model's answers to one turn wait. */
export interface Gates {
  /** Before the first byte of each answer. */
  first?: ControlledGate;
  /** In the middle of the last answer. */
  half?: ControlledGate;
}

export interface FabricOptions {
  /** Replaces the script of the crash matrix. */
  respond?: (request: WireRequest) => Scripted<ServerReply>;
  /** @default true */
  hasClient?: boolean;
  /** Number of agent processes that serve the agent together. @default 1, which is no replica */
  replicas?: number;
  /** Time that the sentinel waits for a lost node, in ms. @default 1_000 */
  resumeWindowMs?: number;
  /** PostgreSQL server of the agent. The caller closes it. @default none, the agent has a SQLite file */
  server?: PostgresServer;
}

/** A tool of the agent. */
type AgentTool = 'look' | 'pay' | 'send';
/** The tool that a turn uses: `foreign` is one of the caller, beside `look`. */
type TurnTool = AgentTool | 'none' | 'foreign';

/** One turn as its user sees it: the message and the outcome, over all processes of the client. */
export interface UserTurn {
  readonly conversationId: string;
  readonly turnId: string;
  readonly nonce: string;
  readonly text: string;
  /** The text of the whole answer, if the tool is not interrupted. */
  readonly answer: string;
  /** The steps in which the model is called, for this turn and the turns that it continues. */
  readonly steps: readonly (1 | 2)[];
  readonly options?: ModelOptions | undefined;
  readonly toolResults?: readonly ToolResult[] | undefined;
  readonly gates: Gates;
  /** Every event that a client received, in order of arrival. */
  events: TurnEvent[];
  error: string | undefined;
  isDone: boolean;
}

const programPath = (name: string): string => fileURLToPath(new URL(`./${name}-program.ts`, import.meta.url));
const FLAGS = ['--disable-warning=ExperimentalWarning'];

/** The complete answer to a turn, with the result of its tool. */
export const answerOf = (nonce: string, tool: AgentTool = 'look', result = `${tool} of ${nonce}`): string =>
  `${firstText(nonce, tool)}\n${secondText(nonce, result)}`;
const firstText = (nonce: string, tool = 'look'): string => `Let me ${tool} first, ${nonce}.`;
const plainText = (nonce: string): string => `A plain answer to ${nonce}.`;
const secondText = (nonce: string, result: string): string =>
  `The tool said "${result}". So this is the answer to ${nonce}: ${'word after word, '.repeat(8)}done.`;

export class Fabric {
  readonly dataDir = temporaryDirectory();
  readonly toolDir = temporaryDirectory();
  readonly #gates = new Map<string, Gates>();
  readonly #turns = new Map<string, UserTurn>();
  #model!: Awaited<ReturnType<typeof startModel>>;
  #sentinel!: OurSentinel;
  #proxy!: TcpProxy;
  #agent!: Proc;
  /** The replicas; empty if the agent is one process. */
  readonly replicas: Proc[] = [];
  #client: Proc | undefined;
  #sentinelEnv: Record<string, string> = {};
  readonly #server: PostgresServer | undefined;
  readonly journal: Journal;

  static async start(options: FabricOptions = {}): Promise<Fabric> {
    const fabric = new Fabric(options.server);
    const { respond = (request) => fabric.#answer(request), hasClient = true } = options;
    const { resumeWindowMs = 1_000, replicas = 1 } = options;
    fabric.#sentinelEnv = { FAME_RESUME_WINDOW_MS: String(resumeWindowMs) };
    fabric.#model = await startModel({ respond, apiKey: API_KEY });
    fabric.#sentinel = await startOurSentinel({ env: fabric.#sentinelEnv });
    fabric.#proxy = await TcpProxy.to(fabric.#sentinel.port);
    if (replicas > 1) {
      for (let n = 0; n < replicas; n++) fabric.spawnReplica(n);
      await Promise.all(fabric.replicas.map((proc) => proc.waitFor(/ is served through /, 20_000)));
    } else await fabric.restart('agent');
    if (hasClient) await fabric.restart('client');
    return fabric;
  }

  private constructor(server: PostgresServer | undefined) {
    this.#server = server;
    this.journal = server ? new PostgresJournal(server.url) : new JournalView(this.dataDir);
  }

  /** The admission URL of the sentinel. */
  get url(): string {
    return this.#sentinel.url;
  }

  get agent(): Proc {
    return this.#agent;
  }

  get model() {
    return this.#model;
  }

  get proxy(): TcpProxy {
    return this.#proxy;
  }

  /** Sends SIGKILL; resolves when the process has ended. */
  kill(victim: Victim): Promise<unknown> {
    if (victim === 'agent') return this.#agent.kill();
    if (victim === 'store') return this.#server!.stopNow();
    return victim === 'sentinel' ? this.#sentinel.proc.kill() : (this.#client?.kill() ?? Promise.resolve());
  }

  async restart(victim: Victim): Promise<void> {
    if (victim === 'store') await this.#server!.resume();
    else if (victim === 'sentinel') {
      const { port, dataDir } = this.#sentinel;
      this.#sentinel = await startOurSentinel({ port, dataDir, env: this.#sentinelEnv });
    } else if (victim === 'agent') {
      this.spawnAgent();
      await this.#agent.waitFor(/ is served through /, 20_000);
    } else {
      const client = startNode([...FLAGS, programPath('client'), this.#sentinel.url], { name: 'client' });
      this.#client = client;
      client.onLine((line) => this.#receive(line));
      await client.waitFor(/"ready"/, 20_000);
    }
  }

  /** Starts the agent without waiting for it. */
  spawnAgent(): void {
    this.#agent = this.#spawn('agent');
  }

  /** Starts a replica in place of the one with this index, without waiting for it. */
  spawnReplica(index: number): void {
    this.replicas[index] = this.#spawn(`replica ${index}`, [REPLICA.leaseMs], REPLICA.env);
    this.#agent = this.replicas[index]!;
  }

  #spawn(name: string, args: readonly string[] = [], env: Record<string, string> = {}): Proc {
    return startNode([...FLAGS, programPath('agent'), this.toolDir, ...args], {
      name,
      env: {
        ...env,
        FAME_DIRECT_ADMISSION_URL: admissionUrl(this.#proxy.port),
        FAME_DATA_DIR: this.dataDir,
        ...(this.#server ? { FAME_STORE_URL: this.#server.url } : {}),
        OPENAI_API_KEY: API_KEY,
        OPENAI_BASE_URL: this.#model.url,
      },
    });
  }

  /** A turn that has not been sent yet. */
  turn(options: { conversationId?: string; gates?: Gates; tool?: TurnTool } = {}): UserTurn {
    const { conversationId = newId(), gates = {}, tool = 'look' } = options;
    const nonce = newNonce();
    const turn: UserTurn = {
      conversationId,
      turnId: newId(),
      nonce,
      text: `nonce ${nonce} with ${tool}`,
      ...expectationOf(nonce, tool),
      gates,
      events: [],
      error: undefined,
      isDone: false,
    };
    this.#gates.set(nonce, gates);
    this.#turns.set(turn.turnId, turn);
    return turn;
  }

  /** The turn that brings the results of the calls that `before` handed to its caller. It has not been sent yet. */
  continuation(before: UserTurn, gates: Gates = {}): UserTurn {
    const done = before.events.at(-1);
    const calls = (done?.type === 'done' && done.tool_calls) || [];
    if (calls.length === 0) throw new Error(`Turn ${before.turnId} called no tool of its caller`);
    const turn: UserTurn = {
      ...before,
      turnId: newId(),
      text: '',
      answer: secondText(before.nonce, FOREIGN_RESULT),
      steps: [1, 2],
      toolResults: calls.map(({ id }) => ({ tool_call_id: id, content: FOREIGN_RESULT })),
      gates,
      events: [],
      isDone: false,
    };
    this.#gates.set(turn.nonce, gates);
    this.#turns.set(turn.turnId, turn);
    return turn;
  }

  /** Sends the turn, or sends it again for the events that did not arrive. */
  send(turn: UserTurn, isResumed = false): void {
    const { conversationId, turnId, text, options, toolResults } = turn;
    const after = turn.events.at(-1)?.seq ?? 0;
    turn.isDone = false;
    turn.error = undefined;
    const line: TurnRequest = { conversationId, turnId, text, options, toolResults, after, isResumed };
    this.#client?.write(JSON.stringify(line));
  }

  /** Approves the call that the turn waits for. */
  approve({ conversationId, events }: UserTurn): void {
    const asked = events.findLast(({ type }) => type === 'approval');
    if (asked?.type !== 'approval') throw new Error('The client was not asked for an approval');
    const line: ApprovalLine = { conversationId, approve: asked.id };
    this.#client?.write(JSON.stringify(line));
  }

  #receive(line: string): void {
    const output = JSON.parse(line) as {
      turnId?: string;
      event?: TurnEvent;
      error?: string;
      message?: string;
    };
    const turn = output.turnId === undefined ? undefined : this.#turns.get(output.turnId);
    if (!turn) return;
    if (output.error !== undefined) turn.error = `${output.error}: ${output.message}`;
    if (output.event) turn.events.push(output.event);
    if (output.event?.type === 'done') turn.isDone = true;
  }

  /** Forgets all earlier turns. */
  forget(): void {
    this.#turns.clear();
    this.#gates.clear();
  }

  /**
   * Polls until `holds` is true, without sleeping: some points at which a process is killed last less than a millisecond. Yields
   * to the event loop every 2 ms.
   */
  async until(what: string, holds: () => boolean, timeoutMs = 30_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!this.#pollBriefly(holds)) {
      const fault = [...this.#turns.values()].find(({ error }) => error !== undefined);
      if (fault) throw new Error(`${what}: the client received ${fault.error}`);
      if (performance.now() > deadline) {
        throw new Error(
          `${what}: not within ${timeoutMs} ms\n${this.#agent.output.slice(-1500)}\n${this.#client?.output.slice(-500)}`,
        );
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #pollBriefly(holds: () => boolean): boolean {
    const until = performance.now() + 2;
    do {
      if (holds()) return true;
    } while (performance.now() < until);
    return false;
  }

  async answered(turn: UserTurn): Promise<void> {
    await this.until(
      `turn ${turn.turnId} is answered`,
      () => turn.isDone || turn.error !== undefined,
      60_000,
    );
    if (turn.error !== undefined) throw new Error(`Turn ${turn.turnId} failed at the client: ${turn.error}`);
  }

  /** The lines that the tools noted about a turn. */
  notes(nonce: string): string[] {
    let notes = '';
    try {
      notes = readFileSync(join(this.toolDir, 'notes'), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    return notes.split('\n').filter((line) => line.endsWith(` ${nonce}`));
  }

  holdTools(): void {
    writeFileSync(join(this.toolDir, 'hold'), '');
  }

  releaseTools(): void {
    rmSync(join(this.toolDir, 'hold'), { force: true });
  }

  /** Count of requests of a turn to the model server, by step: 1 before the tool, 2 after it. */
  requests(nonce: string, step: 1 | 2): number {
    return this.#model.requests.filter(({ body }) => nonceOf(body) === nonce && stepOf(body) === step).length;
  }

  #answer(request: WireRequest) {
    const nonce = nonceOf(request);
    const { first, half } = this.#gates.get(nonce) ?? {};
    const tool = /with (look|pay|send|foreign)/.exec(lastUserText(request))?.[1];
    const start = first ? [first] : [];
    if (tool && stepOf(request) === 1) {
      const args = { about: nonce };
      const isForeign = tool === 'foreign';
      const calls = isForeign
        ? [FOREIGN_TOOL.function, { name: 'look' }].map(({ name }) => ({ name, arguments: args }))
        : { name: tool, arguments: args, id: `call_${nonce}` };
      const reply = callTools(calls, { text: firstText(nonce, isForeign ? 'look' : tool) });
      return { ...reply, steps: [...start, ...reply.steps] };
    }
    const parts = pieces(tool ? secondText(nonce, resultOf(request)) : plainText(nonce), 12);
    const middle = Math.floor(parts.length / 2);
    return [...start, ...parts.slice(0, middle), ...(half ? [half] : []), ...parts.slice(middle)];
  }

  async stop(): Promise<void> {
    this.journal.close();
    await Promise.all((['client', 'agent', 'sentinel'] as const).map((one) => this.kill(one)));
    await Promise.all(this.replicas.map((proc) => proc.kill()));
    await this.#proxy.close();
    await this.#model.close();
  }
}

/** A tool of the caller, and the result of its calls. */
const FOREIGN_TOOL = {
  type: 'function',
  function: { name: 'open', parameters: { type: 'object', properties: { about: { type: 'string' } } } },
} as const;
const FOREIGN_RESULT = 'the caller opened it';

/** The result of the first call. The tool of the caller is called before that of the agent. */
const resultOf = ({ messages }: WireRequest): string =>
  messages[messages.findLastIndex(({ role }) => role === 'assistant') + 1]?.content ?? '';

function expectationOf(nonce: string, tool: TurnTool): Pick<UserTurn, 'answer' | 'steps' | 'options'> {
  switch (tool) {
    case 'none':
      return { answer: plainText(nonce), steps: [1] };
    case 'foreign':
      return { answer: firstText(nonce), steps: [1], options: { tools: [FOREIGN_TOOL] } };
    default:
      return { answer: answerOf(nonce, tool), steps: [1, 2] };
  }
}

export const nonceOf = (request: WireRequest): string => /nonce (\w+)/.exec(lastUserText(request))?.[1] ?? '';
export const stepOf = ({ messages }: WireRequest): 1 | 2 => (messages.at(-1)?.role === 'tool' ? 2 : 1);

/** An id without the characters that end a word. */
export const newNonce = (): string => newId().replace(/[^0-9A-Za-z]/g, 'x');

/** A text in pieces with pauses between them, so that processes are killed in the middle of it. */
export const slowly = (text: string, random: () => number): ScriptStep[] =>
  pieces(text, 24).flatMap((piece) => [pause(10 + random() * 60), piece]);

/** The slow answers to a turn with `look`. */
export function lookSlowly(request: WireRequest, random: () => number): ScriptStep[] {
  const nonce = nonceOf(request);
  if (stepOf(request) === 2) return slowly(secondText(nonce, resultOf(request)), random);
  const call = callTools({ name: 'look', arguments: { about: nonce }, id: `call_${nonce}` });
  return [...slowly(firstText(nonce), random), ...call.steps];
}

export { gate };
