// The crash matrix of the doors: the agent, the sentinel and the process of the doors are killed (SIGKILL) at points of a turn that a client
// sent through each door. Afterwards the journal has the turn once, and the client has the whole answer.
import { fameArgs, freePort, type Proc, startNode } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import { CLIENTS, type MatrixDoor } from './doors-clients.ts';
import { Fabric, gate, type UserTurn } from './fabric.ts';

export const DOOR_VICTIMS = ['agent', 'sentinel', 'door'] as const;
export type DoorVictim = (typeof DOOR_VICTIMS)[number];

export const DOOR_POINTS = [
  'request on its way',
  'model called',
  'tool started',
  'mid-stream',
  'before the answer is sent',
  'after',
] as const;
export type DoorPoint = (typeof DOOR_POINTS)[number];

/** A fabric with the doors in a process of their own. */
export class DoorsFabric {
  readonly fabric: Fabric;
  readonly #port: number;
  #doors!: Proc;

  private constructor(fabric: Fabric, port: number) {
    this.fabric = fabric;
    this.#port = port;
  }

  static async start(): Promise<DoorsFabric> {
    const fabric = await Fabric.start({ hasClient: false, resumeWindowMs: 3_000 });
    const doors = new DoorsFabric(fabric, await freePort());
    await doors.restart('door');
    return doors;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async kill(victim: DoorVictim): Promise<void> {
    if (victim === 'door') await this.#doors.kill();
    else await this.fabric.kill(victim);
  }

  async restart(victim: DoorVictim): Promise<void> {
    if (victim !== 'door') {
      await this.fabric.restart(victim);
      return;
    }
    const args = fameArgs('doors', '--url', this.fabric.url, '--port', String(this.#port));
    const env = { FAME_DATA_DIR: temporaryDirectory(), FAME_DOORS_ADDRESSES: 'chat@fame.fabric' };
    this.#doors = startNode(args, { name: 'doors', env });
    await this.#doors.waitFor(/listen on http:/, 20_000);
  }

  async stop(): Promise<void> {
    await this.#doors.kill();
    await this.fabric.stop();
  }
}

/** Runs one cell, and resolves to the time from the kill to the whole answer, in ms. @throws {Error} with the fault */
export async function doorRound(
  doors: DoorsFabric,
  door: MatrixDoor,
  victim: DoorVictim,
  point: DoorPoint,
): Promise<number> {
  const { fabric } = doors;
  fabric.forget();
  const gates = { first: gate(), half: gate() };
  const turn = fabric.turn({ gates });
  const opened = {
    first: point !== 'model called',
    half: point !== 'mid-stream' && point !== 'before the answer is sent',
  };
  if (opened.first) gates.first.open();
  if (opened.half) gates.half.open();
  const send = (): Promise<string> => CLIENTS[door](doors.url, turn);
  const { answered } = await stage(doors, point, turn, gates, send);
  const killedAt = performance.now();
  await doors.kill(victim);
  fabric.journal.close();
  gates.first.open();
  gates.half.open();
  fabric.proxy.release('down');
  fabric.proxy.release('up');
  fabric.releaseTools();
  await doors.restart(victim);
  const text = await (point === 'after' ? send() : answered);
  const recoveryMs = performance.now() - killedAt;
  try {
    check(fabric, turn, { victim, point, text });
  } catch (error) {
    throw new Error(`${door}: ${victim} killed at "${point}": ${(error as Error).message}`);
  }
  return recoveryMs;
}

/** Sends the turn, and resolves when it has reached the point. The answer may be pending. */
async function stage(
  { fabric }: DoorsFabric,
  point: DoorPoint,
  turn: UserTurn,
  gates: { first: ReturnType<typeof gate>; half: ReturnType<typeof gate> },
  send: () => Promise<string>,
): Promise<{ answered: Promise<string> }> {
  const { proxy, journal } = fabric;
  let fault: unknown;
  const watched = (): Promise<string> => {
    const answered = send();
    answered.catch((error: unknown) => {
      fault = error;
    });
    return answered;
  };
  const until = (what: string, holds: () => boolean): Promise<void> =>
    fabric.until(what, () => {
      if (fault) throw fault;
      return holds();
    });
  const lastKind = (): string | undefined => {
    const [place] = journal.turnsOfMessage(turn.text);
    return place && journal.lastKind(place.turnId);
  };
  switch (point) {
    case 'request on its way': {
      proxy.hold('down');
      const answered = watched();
      await until('bytes of the request are held', () => proxy.held('down').length > 0);
      return { answered };
    }
    case 'model called': {
      const answered = watched();
      await Promise.race([gates.first.reached, answered]);
      return { answered };
    }
    case 'tool started': {
      fabric.holdTools();
      const answered = watched();
      await until('the tool runs', () => fabric.notes(turn.nonce).length > 0);
      return { answered };
    }
    case 'mid-stream': {
      const answered = watched();
      await Promise.race([gates.half.reached, answered]);
      await until('the text is recorded', () => lastKind() === 'text');
      return { answered };
    }
    case 'before the answer is sent': {
      const answered = watched();
      await Promise.race([gates.half.reached, answered]);
      proxy.hold('up');
      gates.half.open();
      await until('the turn is over in the journal', () => lastKind() === 'turn_completed');
      return { answered };
    }
    case 'after': {
      const answered = watched();
      const text = await answered;
      if (text !== turn.answer) throw new Error(`the answer is ${JSON.stringify(text)}`);
      return { answered };
    }
  }
}

/** Points at which a kill of the agent loses a model call. */
const IN_FLIGHT: Partial<Record<DoorPoint, 1 | 2>> = { 'model called': 1, 'mid-stream': 2 };

function check(
  fabric: Fabric,
  { text: message, answer, nonce, steps }: UserTurn,
  { victim, point, text }: { victim: DoorVictim; point: DoorPoint; text: string },
): void {
  if (text !== answer) throw new Error(`the answer is ${JSON.stringify(text)}, not ${answer}`);
  const turns = fabric.journal.turnsOfMessage(message);
  if (turns.length !== 1) throw new Error(`the journal has ${turns.length} turns: ${JSON.stringify(turns)}`);
  const [{ conversationId, turnId }] = turns as [{ conversationId: string; turnId: string }];
  const events = fabric.journal.events(conversationId).filter((event) => event.turnId === turnId);
  const ends = events.filter(({ kind }) => /^turn_(completed|failed|cancelled)$/.test(kind));
  if (ends.length !== 1 || ends[0]!.kind !== 'turn_completed' || ends[0]!.body.text !== answer)
    throw new Error(`the turn ended as ${JSON.stringify(ends)}`);
  fabric.journal.close();
  const notes = fabric.notes(nonce);
  const runs = (word: string): number => notes.filter((line) => line.includes(` ${word} `)).length;
  const mostStarts = victim === 'agent' && point === 'tool started' ? 2 : 1;
  if (runs('started') > mostStarts || runs('finished') !== 1)
    throw new Error(`the tool was started ${runs('started')} times and finished ${runs('finished')} times`);
  for (const step of steps) {
    const calls = fabric.requests(nonce, step);
    const most = victim === 'agent' && IN_FLIGHT[point] === step ? 2 : 1;
    if (calls < 1 || calls > most) throw new Error(`the model was called ${calls} times in step ${step}`);
  }
}
