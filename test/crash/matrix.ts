// The crash matrix: every process of the fabric is killed (SIGKILL) at every point of a turn, and afterwards the turn must
// have had exactly one effect. A point is recognized from outside: by the journal on the disk, the requests to the model server,
// the events at the client, or the bytes that the proxy holds. A round whose kill came too late is repeated.
import type { ConversationMessage } from '@fame-fabric/client';
import { textOf } from '../kit/streamed-text.ts';
import { type Fabric, gate, type UserTurn, type Victim } from './fabric.ts';

export const VICTIMS: readonly Victim[] = ['agent', 'sentinel', 'client'];
export const POINTS = [
  'before accepted',
  'accepted',
  'model called',
  'text shown and not journaled',
  'mid-stream',
  'model replied',
  'approval waiting',
  'approval given',
  'tool started',
  'tool finished',
  'foreign tools handed out',
  'results brought',
  'before the answer is sent',
  'after',
] as const;
export type Point = (typeof POINTS)[number];

export interface Round {
  /** Time from the kill to the complete answer at the client. */
  recoveryMs: number;
  /** Rounds that were repeated because the kill came too late. */
  missed: number;
}

/** A turn that has reached its point. */
interface Scene {
  turn: UserTurn;
  /** Kind of the last event in the journal after a kill of the agent; `undefined` if there is none. */
  lastKind: string | undefined;
  /** Opens gates and releases held bytes; called after the kill. */
  release(): void;
  /** Sends what the turn waits for; called after the restart. */
  continue?(): void;
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
    // A client that had received the whole turn must receive it again from the start.
    if (victim === 'client' && turn.isDone) turn.events = [];
    fabric.journal.close();
    scene.release();
    await fabric.restart(victim);
    if (victim === 'client') for (const one of [turn, ...(scene.others ?? [])]) fabric.send(one, true);
    else if (point === 'after') fabric.send(turn, true);
    scene.continue?.();
    await fabric.answered(turn);
    const recoveryMs = performance.now() - killedAt;
    const kill = { victim, point, isHit };
    for (const other of scene.others ?? []) {
      await fabric.answered(other);
      check(fabric, other, { ...kill, point: 'model called' });
    }
    check(fabric, turn, kill);
    let last = turn;
    if (point === 'foreign tools handed out') {
      last = fabric.continuation(turn);
      fabric.send(last, true);
      await fabric.answered(last);
      check(fabric, last, { ...kill, point: 'after', isHit: true });
    }
    await checkNext(fabric, last);
    if (isHit) return { recoveryMs, missed };
  }
  throw new Error(`${MAX_MISSES} kills at "${point}" came too late`);
}

async function stage(fabric: Fabric, point: Point): Promise<Scene> {
  const { proxy, journal } = fabric;
  const nothing = (): void => {};
  const at = (kind: string, turn: UserTurn) => (): boolean => journal.lastKind(turn.turnId) === kind;
  // This point lasts from one commit to the next. The turn may pass it unseen, which the check after the kill detects.
  const atOrPast = (kind: string, turn: UserTurn) => (): boolean =>
    journal.lastKind(turn.turnId) === kind || turn.isDone;
  switch (point) {
    case 'before accepted': {
      const turn = fabric.turn();
      await startConversation(fabric, turn);
      proxy.hold('down');
      fabric.send(turn, true);
      await fabric.until('the request is held', () => proxy.held('down').includes(turn.turnId));
      return { turn, lastKind: undefined, release: () => proxy.release('down') };
    }
    case 'accepted': {
      // It waits because an earlier turn of the conversation runs.
      const earlier = fabric.turn({ gates: { first: gate() } });
      fabric.send(earlier);
      await fabric.until('the earlier turn runs', at('model_called', earlier));
      const turn = fabric.turn({ conversationId: earlier.conversationId });
      fabric.send(turn, true);
      await fabric.until('the turn is accepted', at('turn_accepted', turn));
      return {
        turn,
        lastKind: 'turn_accepted',
        others: [earlier],
        release: () => earlier.gates.first?.open(),
      };
    }
    case 'model called': {
      const turn = fabric.turn({ gates: { first: gate() } });
      fabric.send(turn);
      await turn.gates.first?.reached;
      return { turn, lastKind: 'model_called', release: () => turn.gates.first?.open() };
    }
    case 'text shown and not journaled': {
      const turn = await halfway(fabric);
      return { turn, lastKind: 'model_called', release: () => turn.gates.half?.open() };
    }
    case 'mid-stream': {
      const turn = await halfway(fabric);
      await fabric.until('the text is recorded', at('text', turn));
      return { turn, lastKind: 'text', release: () => turn.gates.half?.open() };
    }
    case 'model replied': {
      const turn = fabric.turn();
      fabric.send(turn);
      await fabric.until('the reply is recorded', atOrPast('model_replied', turn));
      return { turn, lastKind: 'model_replied', release: nothing };
    }
    case 'approval waiting': {
      const turn = await waiting(fabric);
      return { turn, lastKind: 'approval_requested', release: nothing, continue: () => fabric.approve(turn) };
    }
    case 'approval given': {
      const turn = await waiting(fabric);
      fabric.holdTools();
      fabric.approve(turn);
      await fabric.until(
        'the answer is recorded',
        () => journal.lastKind(turn.turnId) !== 'approval_requested',
      );
      return { turn, lastKind: 'approval_answered', release: () => fabric.releaseTools() };
    }
    case 'tool started': {
      const turn = fabric.turn();
      fabric.holdTools();
      fabric.send(turn);
      await fabric.until('the tool runs', () => fabric.notes(turn.nonce).length > 0);
      return { turn, lastKind: 'tool_started', release: () => fabric.releaseTools() };
    }
    case 'tool finished': {
      const turn = fabric.turn();
      fabric.holdTools();
      fabric.send(turn);
      await fabric.until('the tool runs', at('tool_started', turn));
      fabric.releaseTools();
      await fabric.until('the result is recorded', atOrPast('tool_finished', turn));
      return { turn, lastKind: 'tool_finished', release: nothing };
    }
    case 'foreign tools handed out': {
      const first = gate();
      const turn = fabric.turn({ tool: 'foreign', gates: { first } });
      fabric.send(turn);
      await first.reached;
      proxy.hold('up');
      first.open();
      await fabric.until('the turn is over in the journal', at('turn_completed', turn));
      if (turn.isDone) throw new Error('The calls got past the proxy although it holds back its bytes');
      return { turn, lastKind: 'turn_completed', release: () => proxy.release('up') };
    }
    case 'results brought': {
      const before = fabric.turn({ tool: 'foreign' });
      fabric.send(before);
      await fabric.answered(before);
      const first = gate();
      const turn = fabric.continuation(before, { first });
      fabric.send(turn, true);
      await first.reached;
      return { turn, lastKind: 'model_called', release: () => first.open() };
    }
    case 'before the answer is sent': {
      const turn = await halfway(fabric);
      proxy.hold('up');
      turn.gates.half?.open();
      await fabric.until('the turn is over in the journal', at('turn_completed', turn));
      if (turn.isDone) throw new Error('The answer got past the proxy although it holds back its bytes');
      return { turn, lastKind: 'turn_completed', release: () => proxy.release('up') };
    }
    case 'after': {
      const turn = fabric.turn();
      fabric.send(turn);
      await fabric.answered(turn);
      turn.events = [];
      return { turn, lastKind: 'turn_completed', release: nothing };
    }
  }
}

/** Starts the conversation with a turn that is not checked. */
async function startConversation(fabric: Fabric, { conversationId }: UserTurn): Promise<void> {
  const greeting = fabric.turn({ conversationId, tool: 'none' });
  fabric.send(greeting);
  await fabric.answered(greeting);
}

/** A turn that waits for an approval, after the client was asked for it. */
async function waiting(fabric: Fabric): Promise<UserTurn> {
  const turn = fabric.turn({ tool: 'send' });
  fabric.send(turn);
  await fabric.until('the client is asked', () => turn.events.at(-1)?.type === 'approval');
  return turn;
}

/** A turn whose last answer waits in the middle, after the client has received the first half. */
async function halfway(fabric: Fabric): Promise<UserTurn> {
  const half = gate();
  const turn = fabric.turn({ gates: { half } });
  fabric.send(turn);
  await half.reached;
  const soFar = turn.answer.indexOf('So this is the answer');
  await fabric.until('the client has half of the answer', () => textOf(turn.events).length > soFar);
  return turn;
}

interface Kill {
  victim: Victim;
  point: Point;
  /** True if the kill came at its point. */
  isHit: boolean;
}

/** Points at which a kill of the agent loses a model call, each with the step of that call. */
const CALL_IN_FLIGHT: Partial<Record<Point, 1 | 2>> = {
  'model called': 1,
  'text shown and not journaled': 2,
  'mid-stream': 2,
  'results brought': 2,
};

function check(fabric: Fabric, turn: UserTurn, { victim, point, isHit }: Kill): void {
  const expected = turn.answer;
  const fail = (what: string): never => {
    throw new Error(`${victim} killed at "${point}": ${what}`);
  };
  const done = turn.events.at(-1);
  if (done?.type !== 'done' || done.text !== expected)
    fail(`the answer is ${JSON.stringify(done)}, not ${expected}`);
  const streamed = textOf(turn.events);
  if (streamed !== expected) fail(`the streamed text is ${JSON.stringify(streamed)}, not ${expected}`);
  // The text of the interrupted reply was shown, recorded or not, and the reply was made again.
  const isTakenBack =
    isHit && victim === 'agent' && (point === 'mid-stream' || point === 'text shown and not journaled');
  if (isTakenBack && !turn.events.some(({ type }) => type === 'restart'))
    fail('no restart took back the text that was shown');
  isAscending(turn.events.map(({ seq = 0 }) => seq)) ||
    fail('the client received events twice or out of order');

  const journal = fabric.journal.events(turn.conversationId);
  journal.every(({ seq }, index) => seq === index + 1) || fail('the journal has gaps');
  const own = journal.filter(({ turnId }) => turnId === turn.turnId);
  const count = (kind: RegExp): number => own.filter((event) => kind.test(event.kind)).length;
  count(/^turn_accepted$/) === 1 || fail(`the turn was accepted ${count(/^turn_accepted$/)} times`);
  count(/^turn_(completed|failed|cancelled)$/) === 1 || fail('the turn does not have exactly one outcome');
  own.at(-1)?.body.text === expected || fail('the journal holds another answer');
  fabric.journal.close();

  const notes = fabric.notes(turn.nonce);
  const runs = (word: string): number => notes.filter((line) => line.includes(` ${word} `)).length;
  const mostStarts = victim === 'agent' && (point === 'tool started' || !isHit) ? 2 : 1;
  runs('started') <= mostStarts || fail(`the tool was started ${runs('started')} times`);
  runs('finished') === 1 || fail(`the tool finished ${runs('finished')} times`);
  for (const step of turn.steps) {
    const calls = fabric.requests(turn.nonce, step);
    const most = victim === 'agent' && (CALL_IN_FLIGHT[point] === step || !isHit) ? 2 : 1;
    (calls >= 1 && calls <= most) || fail(`the model was called ${calls} times in step ${step}`);
  }
  if (fabric.model.violations.length > 0)
    fail(`the model server refused: ${fabric.model.violations[0]?.message}`);
}

const isAscending = (seqs: readonly number[]): boolean =>
  seqs.every((seq, index) => seq > (seqs[index - 1] ?? 0));

/** Checks that the next turn works, and that its model call contains the previous turn once. */
async function checkNext(fabric: Fabric, turn: UserTurn): Promise<void> {
  const next = fabric.turn({ conversationId: turn.conversationId, tool: 'none' });
  fabric.send(next, true);
  await fabric.answered(next);
  const request = fabric.model.requests.findLast(({ body }) =>
    body.messages.some((message) => message.role === 'user' && message.content === next.text),
  );
  const messages: ConversationMessage[] = [];
  for (const { role, content } of request?.body.messages ?? []) {
    if ((role === 'user' || role === 'assistant') && typeof content === 'string')
      messages.push({ role, text: content });
  }
  // A turn that brings results continues the question of the previous turn.
  const question = turn.text || `nonce ${turn.nonce} with foreign`;
  const countOf = (text: string): number => messages.filter((one) => one.text === text).length;
  if (countOf(question) !== 1 || countOf(next.text) !== 1) {
    throw new Error(`After "${question}" the model received ${JSON.stringify(messages)}`);
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
  /** Longest recovery of its rounds. */
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
