// The crash matrix: every process of the fabric is killed (SIGKILL) at every point of a turn, and afterwards the turn must
// have had exactly one effect. A point is reached by what can be seen from outside: the journal on the disk, what the model
// server was asked, what the client has heard, what the proxy holds. A round that was killed too late is done again.
import type { ConversationMessage } from '@fame-fabric/client';
import { answerOf, type Fabric, gate, textOf, type UserTurn, type Victim } from './fabric.ts';

export const VICTIMS: readonly Victim[] = ['agent', 'sentinel', 'client'];
export const POINTS = [
  'before accepted',
  'accepted',
  'model called',
  'mid-stream',
  'model replied',
  'tool started',
  'tool finished',
  'before the answer is sent',
  'after',
] as const;
export type Point = (typeof POINTS)[number];

export interface Round {
  /** From the kill to the whole answer at the client. */
  recoveryMs: number;
  /** Rounds that were thrown away because the kill came too late. */
  missed: number;
}

/** The turn of a round and how it gets to its point. */
interface Scene {
  turn: UserTurn;
  /** State of the turn that the journal must show after the kill of the agent; `undefined`: none. */
  lastKind: string | undefined;
  /** Opens whatever was held; called after the kill. */
  letGo(): void;
  others?: UserTurn[];
}

const MAX_MISSES = 8;

export async function crashRound(fabric: Fabric, victim: Victim, point: Point): Promise<Round> {
  for (let missed = 0; missed <= MAX_MISSES; missed++) {
    fabric.forget();
    const scene = await stage(fabric, point);
    const { turn } = scene;
    const killedAt = performance.now();
    await fabric.kill(victim);
    const isHit =
      victim === 'agent'
        ? fabric.journal.lastKind(turn.turnId) === scene.lastKind
        : point === 'after' || !turn.isDone;
    // A client that had seen all of it is not asked for what comes behind.
    if (victim === 'client' && turn.isDone) turn.events = [];
    fabric.journal.close();
    scene.letGo();
    await fabric.restart(victim);
    if (victim === 'client') for (const one of [turn, ...(scene.others ?? [])]) fabric.ask(one, true);
    else if (point === 'after') fabric.ask(turn, true);
    await fabric.answered(turn);
    const recoveryMs = performance.now() - killedAt;
    const kill = { victim, point, isHit };
    for (const other of scene.others ?? []) {
      await fabric.answered(other);
      check(fabric, other, { ...kill, point: 'model called' });
    }
    check(fabric, turn, kill);
    await checkNext(fabric, turn);
    if (isHit) return { recoveryMs, missed };
  }
  throw new Error(`${MAX_MISSES} kills at "${point}" came too late`);
}

async function stage(fabric: Fabric, point: Point): Promise<Scene> {
  const { proxy, journal } = fabric;
  const nothing = (): void => {};
  const at = (kind: string, turn: UserTurn) => (): boolean => journal.lastKind(turn.turnId) === kind;
  // A moment that lasts for the time between two commits: the turn may get past it unseen, which shows after the kill.
  const atOrPast = (kind: string, turn: UserTurn) => (): boolean =>
    journal.lastKind(turn.turnId) === kind || turn.isDone;
  switch (point) {
    case 'before accepted': {
      const turn = fabric.turn();
      await greet(fabric, turn);
      proxy.hold('down');
      fabric.ask(turn, true);
      await fabric.until('the request is held', () => proxy.held('down').includes(turn.turnId));
      return { turn, lastKind: undefined, letGo: () => proxy.release('down') };
    }
    case 'accepted': {
      // The turn before it in the same conversation runs, so it waits.
      const earlier = fabric.turn({ gates: { first: gate() } });
      fabric.ask(earlier);
      await fabric.until('the earlier turn runs', at('model_called', earlier));
      const turn = fabric.turn({ conversationId: earlier.conversationId });
      fabric.ask(turn, true);
      await fabric.until('the turn is accepted', at('turn_accepted', turn));
      return { turn, lastKind: 'turn_accepted', others: [earlier], letGo: () => earlier.gates.first?.open() };
    }
    case 'model called': {
      const turn = fabric.turn({ gates: { first: gate() } });
      fabric.ask(turn);
      await turn.gates.first?.reached;
      return { turn, lastKind: 'model_called', letGo: () => turn.gates.first?.open() };
    }
    case 'mid-stream': {
      const turn = await halfway(fabric);
      return { turn, lastKind: 'text', letGo: () => turn.gates.half?.open() };
    }
    case 'model replied': {
      const turn = fabric.turn();
      fabric.ask(turn);
      await fabric.until('the reply is recorded', atOrPast('model_replied', turn));
      return { turn, lastKind: 'model_replied', letGo: nothing };
    }
    case 'tool started': {
      const turn = fabric.turn();
      fabric.holdTools();
      fabric.ask(turn);
      await fabric.until('the tool runs', () => fabric.notes(turn.nonce).length > 0);
      return { turn, lastKind: 'tool_started', letGo: () => fabric.releaseTools() };
    }
    case 'tool finished': {
      const turn = fabric.turn();
      fabric.holdTools();
      fabric.ask(turn);
      await fabric.until('the tool runs', at('tool_started', turn));
      fabric.releaseTools();
      await fabric.until('the result is recorded', atOrPast('tool_finished', turn));
      return { turn, lastKind: 'tool_finished', letGo: nothing };
    }
    case 'before the answer is sent': {
      const turn = await halfway(fabric);
      proxy.hold('up');
      turn.gates.half?.open();
      await fabric.until('the turn is over in the journal', at('turn_completed', turn));
      if (turn.isDone) throw new Error('The answer got past the proxy');
      return { turn, lastKind: 'turn_completed', letGo: () => proxy.release('up') };
    }
    case 'after': {
      const turn = fabric.turn();
      fabric.ask(turn);
      await fabric.answered(turn);
      turn.events = [];
      return { turn, lastKind: 'turn_completed', letGo: nothing };
    }
  }
}

/** Begins the conversation with a turn that is of no interest. */
async function greet(fabric: Fabric, { conversationId }: UserTurn): Promise<void> {
  const greeting = fabric.turn({ conversationId, tool: 'none' });
  fabric.ask(greeting);
  await fabric.answered(greeting);
}

/** A turn whose last answer stands still in the middle, after the client has heard what came so far. */
async function halfway(fabric: Fabric): Promise<UserTurn> {
  const half = gate();
  const turn = fabric.turn({ gates: { half } });
  fabric.ask(turn);
  await half.reached;
  const soFar = answerOf(turn.nonce).indexOf('So this is the answer');
  await fabric.until('the client heard half', () => textOf(turn.events).length > soFar);
  // The last text in the journal and the last text at the client are the same piece.
  await fabric.until('the text is recorded', () => fabric.journal.lastKind(turn.turnId) === 'text');
  return turn;
}

interface Kill {
  victim: Victim;
  point: Point;
  /** It came when it should. */
  isHit: boolean;
}

/** Where the death of the agent takes a model call with it, and in which step. */
const CALL_IN_FLIGHT: Partial<Record<Point, 1 | 2>> = { 'model called': 1, 'mid-stream': 2 };

function check(fabric: Fabric, turn: UserTurn, { victim, point, isHit }: Kill): void {
  const expected = answerOf(turn.nonce);
  const fail = (what: string): never => {
    throw new Error(`${victim} killed at "${point}": ${what}`);
  };
  const done = turn.events.at(-1);
  if (done?.type !== 'done' || done.text !== expected)
    fail(`the answer is ${JSON.stringify(done)}, not ${expected}`);
  const streamed = textOf(turn.events);
  if (streamed !== expected) fail(`the stream said ${JSON.stringify(streamed)}, not ${expected}`);
  checkOrder(turn.events.map(({ seq = 0 }) => seq)) || fail('the client saw events twice or out of order');

  const journal = fabric.journal.events(turn.conversationId);
  journal.every(({ seq }, index) => seq === index + 1) || fail('the journal has gaps');
  const own = journal.filter(({ turnId }) => turnId === turn.turnId);
  const count = (kind: RegExp): number => own.filter((event) => kind.test(event.kind)).length;
  count(/^turn_accepted$/) === 1 || fail(`the turn was accepted ${count(/^turn_accepted$/)} times`);
  count(/^turn_(completed|failed|cancelled)$/) === 1 || fail('the turn has more or less than one outcome');
  own.at(-1)?.body.text === expected || fail('the journal holds another answer');
  fabric.journal.close();

  const notes = fabric.notes(turn.nonce);
  const runs = (word: string): number => notes.filter((line) => line.includes(` ${word} `)).length;
  const mostStarts = victim === 'agent' && (point === 'tool started' || !isHit) ? 2 : 1;
  runs('started') <= mostStarts || fail(`the tool was started ${runs('started')} times`);
  runs('finished') === 1 || fail(`the tool finished ${runs('finished')} times`);
  for (const step of [1, 2] as const) {
    const calls = fabric.requests(turn.nonce, step);
    const most = victim === 'agent' && (CALL_IN_FLIGHT[point] === step || !isHit) ? 2 : 1;
    (calls >= 1 && calls <= most) || fail(`the model was asked ${calls} times in step ${step}`);
  }
  if (fabric.model.violations.length > 0)
    fail(`the model server refused: ${fabric.model.violations[0]?.message}`);
}

const checkOrder = (seqs: readonly number[]): boolean =>
  seqs.every((seq, index) => seq > (seqs[index - 1] ?? 0));

/** The next turn works, and the model is shown the turn before it, once. */
async function checkNext(fabric: Fabric, turn: UserTurn): Promise<void> {
  const next = fabric.turn({ conversationId: turn.conversationId, tool: 'none' });
  fabric.ask(next, true);
  await fabric.answered(next);
  const request = fabric.model.requests.findLast(({ body }) =>
    body.messages.some((message) => message.role === 'user' && message.content === next.text),
  );
  const said: ConversationMessage[] = [];
  for (const { role, content } of request?.body.messages ?? []) {
    if ((role === 'user' || role === 'assistant') && typeof content === 'string')
      said.push({ role, text: content });
  }
  const of = (text: string): number => said.filter((one) => one.text === text).length;
  if (of(turn.text) !== 1 || of(next.text) !== 1) {
    throw new Error(`The model was shown ${JSON.stringify(said)} after ${turn.text}`);
  }
}

export interface MatrixOptions {
  rounds: number;
  victims?: readonly Victim[];
  points?: readonly Point[];
  onRound?: (victim: Victim, point: Point, round: Round | Error) => void;
}

export interface Cell {
  victim: Victim;
  point: Point;
  passed: number;
  failed: string[];
  /** The longest of its rounds. */
  recoveryMs: number;
}

/** Runs all cells on one fabric. */
export async function runMatrix(fabric: Fabric, options: MatrixOptions): Promise<Cell[]> {
  const { rounds, victims = VICTIMS, points = POINTS, onRound } = options;
  const cells: Cell[] = [];
  for (const point of points) {
    for (const victim of victims) {
      const cell: Cell = { victim, point, passed: 0, failed: [], recoveryMs: 0 };
      cells.push(cell);
      for (let n = 0; n < rounds; n++) {
        try {
          const round = await crashRound(fabric, victim, point);
          cell.passed++;
          cell.recoveryMs = Math.max(cell.recoveryMs, round.recoveryMs);
          onRound?.(victim, point, round);
        } catch (error) {
          cell.failed.push((error as Error).message);
          onRound?.(victim, point, error as Error);
        }
      }
    }
  }
  return cells;
}
