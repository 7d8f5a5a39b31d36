// The addresses that other sentinels of the cluster serve. For an address that is not cached, the sentinel asks on the bus, and the messages
// to it wait for the answer in order. If no sentinel serves the address, NATS reports that at once.
//
// Invariants: R1 messages of one sender to one address are routed in the order in which they arrived. R2 a cached route ends with the
// session of its sentinel, with a change that any sentinel announces, and with a refusal because the node is gone. R3 the waiting
// messages and the cached routes are bounded.
import type { Clock } from '@fame-fabric/shared';
import { pick } from '../bindings.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import type { Session } from '../session/session.ts';
import type { Bus } from './bus.ts';
import type { Inbox } from './inbox.ts';
import { capabilitiesIn, type Subjects } from './subjects.ts';

/** Longest wait for an answer, in ms. */
const ANSWER_MS = 1_000;
/** Maximum number of addresses that messages wait for. Messages to further ones are refused. */
const MAX_QUESTIONS = 4_096;
/** Waiting bytes of one sender, with the overhead of each message. */
const MAX_WAITING_BYTES = 1_048_576;
const MESSAGE_COST = 256;
/** Maximum number of cached routes. Beyond it the oldest one ends. */
const MAX_ROUTES = 65_536;

/**
 * - `found`: a sentinel serves the address.
 * - `none`: no sentinel does.
 * - `away`: the sentinel that served it until now is gone, and its nodes may return elsewhere.
 * - `unknown`: no answer arrived in time, or the bus is not connected.
 */
export type Outcome = 'found' | 'none' | 'away' | 'unknown';

/** The answer of a sentinel that serves an address. */
export interface RouteAnswer {
  /** Id of the sentinel. */
  readonly id: string;
  /** Path of the node, for people; empty if none of its nodes has all of the capabilities. */
  readonly path: string;
  /** True if other sentinels may serve the address too. */
  readonly isPool: boolean;
}

/** Addresses whose nodes changed at one sentinel. */
export interface Changes {
  /** Id of the sentinel. */
  readonly id: string;
  /** Each address with its epoch, or with null if it is a pool. */
  readonly bound: readonly (readonly [address: string, epoch: number | null])[];
  readonly unbound: readonly string[];
  /** Pools with a node that has a key. */
  readonly closed: readonly string[];
}

export interface RemoteRoutesDeps {
  bus: Bus;
  clock: Clock;
  subjects: Subjects;
  inbox: Inbox;
  budget: QueueBudget;
  /** The session of another sentinel; `undefined` while there is none. Begins one if it can. */
  sessionOf: (id: string) => Session | undefined;
  /** Routes a message again after it waited for an answer. */
  routeAgain: (from: Session, bytes: Buffer, outcome: Outcome) => void;
}

interface Route {
  readonly sessions: Set<Session>;
  isPool: boolean;
}

interface WaitingMessage {
  readonly from: Session;
  readonly bytes: Buffer;
}

interface Question {
  readonly address: string;
  readonly waiting: WaitingMessage[];
  /** Ends the time limit, and later answers. */
  end: () => void;
  /** Sentinels that answered and have no session yet. */
  readonly expected: Map<string, RouteAnswer>;
  isAnswered: boolean;
  /** A sentinel has no node with all of the capabilities. */
  isDenied: boolean;
}

export class RemoteRoutes {
  readonly #deps: RemoteRoutesDeps;
  readonly #resumeWindowMs: number;
  readonly #routes = new Map<string, Route>();
  /** Keys of capabilities among the routes. */
  readonly #capabilityKeys = new Set<string>();
  readonly #questions = new Map<string, Question>();
  /** Questions that may still get an answer. */
  readonly #open = new Set<Question>();
  readonly #waitingBytes = new Map<Session, number>();
  /** Addresses of sentinels that are gone, until their nodes count as gone, too. Monotonic, in ms. */
  readonly #away = new Map<string, number>();

  constructor(deps: RemoteRoutesDeps, options: { resumeWindowMs: number }) {
    this.#deps = deps;
    this.#resumeWindowMs = options.resumeWindowMs;
  }

  /** Number of cached routes. */
  get size(): number {
    return this.#routes.size;
  }

  /** The session of the sentinel that serves an address, if it is cached. */
  find(address: string, except: Session, messageId: string): Session | undefined {
    const route = this.#routes.get(address);
    return route && pick(route.sessions, except, messageId);
  }

  /**
   * Asks for the sentinel of an address, and keeps a message until the answer arrives. Returns the outcome if it is known at once: `none`
   * for an address that nodes cannot bind, `unknown` without room or without a connection.
   */
  ask(from: Session, address: string, bytes: Buffer): Outcome | undefined {
    const { budget, bus, subjects } = this.#deps;
    const subject = subjects.question(address);
    if (subject === undefined) return 'none';
    const size = bytes.length + MESSAGE_COST;
    const waiting = (this.#waitingBytes.get(from) ?? 0) + size;
    if (waiting > MAX_WAITING_BYTES || size > budget.queueBound) return 'unknown';
    let question = this.#questions.get(address);
    if (question === undefined) {
      if (this.#questions.size >= MAX_QUESTIONS || !bus.isConnected) return 'unknown';
      question = this.#begin(address, subject);
    }
    this.#waitingBytes.set(from, waiting);
    budget.countQueued(size);
    // The bytes are a view of a buffer that the next read overwrites.
    question.waiting.push({ from, bytes: Buffer.from(bytes) });
    return undefined;
  }

  #begin(address: string, subject: string): Question {
    const { clock, inbox } = this.#deps;
    const question: Question = {
      address,
      waiting: [],
      end: () => {},
      expected: new Map(),
      isAnswered: false,
      isDenied: false,
    };
    this.#questions.set(address, question);
    this.#open.add(question);
    const timer = clock.after(ANSWER_MS, () => this.#expire(question));
    const end = inbox.ask(subject, Buffer.from(address), (answer) => {
      if (answer === undefined) this.#settle(question, 'none');
      else this.#answered(question, readAnswer(answer));
    });
    question.end = () => {
      timer.stop();
      end();
    };
    return question;
  }

  #answered(question: Question, answer: RouteAnswer | undefined): void {
    if (answer === undefined) return;
    if (answer.path === '') {
      question.isDenied = true;
      return;
    }
    question.expected.set(answer.id, answer);
    this.#join(question, answer);
  }

  // Uses an answer once the sentinel has a session.
  #join(question: Question, answer: RouteAnswer): void {
    const session = this.#deps.sessionOf(answer.id);
    if (session === undefined || session.state !== 'attached') return;
    question.expected.delete(answer.id);
    const { address } = question;
    this.#away.delete(address);
    const known = this.#routes.get(address);
    const route = known ?? { sessions: new Set(), isPool: answer.isPool };
    route.isPool = answer.isPool;
    // Only a pool has more than one.
    if (!answer.isPool) route.sessions.clear();
    route.sessions.add(session);
    if (known === undefined) {
      if (this.#routes.size >= MAX_ROUTES) this.#remove(this.#routes.keys().next().value!);
      this.#routes.set(address, route);
      if (address.startsWith(' ')) this.#capabilityKeys.add(address);
    }
    this.#settle(question, 'found');
  }

  /** Uses the answers of a sentinel that has a session now. */
  up(id: string): void {
    for (const question of [...this.#open]) {
      const answer = question.expected.get(id);
      if (answer !== undefined) this.#join(question, answer);
    }
  }

  /** Removes the routes to a session that has ended. Its nodes may return at other sentinels for the resume window. */
  down(session: Session): void {
    const { clock } = this.#deps;
    const until = clock.monotonic() + this.#resumeWindowMs;
    for (const [address, route] of this.#routes) {
      if (!route.sessions.delete(session) || route.sessions.size > 0) continue;
      this.#remove(address);
      this.#away.set(address, until);
    }
  }

  /** Removes the routes to addresses that nodes of a sentinel bound or unbound, unless the routes are the same. */
  changed({ id, bound, unbound }: Changes): void {
    const session = this.#deps.sessionOf(id);
    for (const [address] of bound) this.#away.delete(address);
    const added = bound.map(([address]) => address);
    this.#end(added, ({ sessions }) => session === undefined || !sessions.has(session));
    this.#end(unbound, ({ sessions }) => session === undefined || sessions.has(session));
  }

  // Ends the routes of these addresses, pools and capabilities for which `isOver` is true. Pools and capabilities have routes of many
  // addresses, so all of them are compared in one pass: an announcement may have a thousand.
  #end(names: readonly string[], isOver: (route: Route) => boolean): void {
    const wide = new Set<string>();
    for (const name of names) {
      const route = this.#routes.get(name);
      if (route !== undefined && isOver(route)) this.#remove(name);
      if (name.startsWith(' ') || name.includes('@*.')) wide.add(name);
    }
    if (wide.size === 0) return;
    for (const [served, route] of this.#routes) {
      if (isOver(route) && wideNamesOf(served).some((name) => wide.has(name))) this.#remove(served);
    }
  }

  /**
   * Removes the route to an address after its sentinel refused a call, because the node is gone. An empty address stands for capabilities: a
   * node may withdraw one of several that another node of its sentinel has, too, and this is not announced.
   */
  refused(address: string, session: Session): void {
    for (const name of address === '' ? this.#capabilityKeys : [address]) {
      const route = this.#routes.get(name);
      if (route?.sessions.delete(session) && route.sessions.size === 0) this.#remove(name);
    }
  }

  #remove(name: string): void {
    this.#routes.delete(name);
    this.#capabilityKeys.delete(name);
  }

  // Ends the question, or lets further answers of a pool arrive until its time is over.
  #settle(question: Question, outcome: Outcome): void {
    const { address, waiting } = question;
    if (!question.isAnswered) {
      question.isAnswered = true;
      this.#questions.delete(address);
      const isAway = outcome === 'none' && (this.#away.get(address) ?? 0) > this.#deps.clock.monotonic();
      this.#release(waiting, isAway ? 'away' : outcome);
    }
    if (outcome !== 'found' || this.#routes.get(address)?.isPool !== true) this.#forget(question);
  }

  #expire(question: Question): void {
    this.#settle(question, question.isDenied ? 'none' : 'unknown');
    this.#forget(question);
  }

  #forget(question: Question): void {
    question.end();
    this.#open.delete(question);
  }

  #release(waiting: readonly WaitingMessage[], outcome: Outcome): void {
    const { budget, routeAgain } = this.#deps;
    for (const { from, bytes } of waiting) {
      const size = bytes.length + MESSAGE_COST;
      budget.countQueued(-size);
      const left = (this.#waitingBytes.get(from) ?? 0) - size;
      if (left > 0) this.#waitingBytes.set(from, left);
      else this.#waitingBytes.delete(from);
    }
    for (const { from, bytes } of waiting) routeAgain(from, bytes, outcome);
  }

  /** Removes expired entries. */
  sweep(): void {
    const now = this.#deps.clock.monotonic();
    for (const [address, until] of this.#away) if (until <= now) this.#away.delete(address);
  }

  /** Refuses all waiting messages. */
  close(): void {
    for (const question of [...this.#open]) this.#expire(question);
  }
}

/** The pools that have an address, or the capabilities in a key. */
function wideNamesOf(served: string): string[] {
  const names = capabilitiesIn(served);
  if (names.length > 0) return names.map((name) => ` ${name}`);
  const at = served.lastIndexOf('@') + 1;
  const start = `${served.slice(0, at)}*.`;
  const labels = served.slice(at).split('.');
  return labels.map((_, from) => start + labels.slice(from).join('.'));
}

function readAnswer(payload: Uint8Array): RouteAnswer | undefined {
  try {
    const answer = JSON.parse(Buffer.from(payload).toString('utf8')) as Partial<RouteAnswer> | null;
    const { id, path, isPool } = answer ?? {};
    if (typeof id !== 'string' || typeof path !== 'string' || typeof isPool !== 'boolean') return undefined;
    return { id, path, isPool };
  } catch {
    // Not an answer of this protocol: the question expires.
    return undefined;
  }
}
