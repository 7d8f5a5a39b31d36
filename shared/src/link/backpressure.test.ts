// Answers to a caller that does not read them: bounded, never lost without an error, and without an effect on other callers.
import { describe, expect, it } from 'vitest';
import { FabricError } from '../errors/error.ts';
import { type DataFrame, type Envelope, type EnvelopeHeader, makeEnvelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { attach, serve } from '../testing/attach.ts';
import { settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import type { IncomingCall, LinkOptions, Service } from './link-types.ts';

const LARGE = 'x'.repeat(150_000);

/** An agent at a sentinel that grants credit only through `read`. */
async function served(service: Service, options: Partial<LinkOptions> = {}) {
  const sentinel = new ScriptedSentinel();
  sentinel.keepsEnvelopes = false;
  const answers: Envelope<DataFrame>[] = [];
  sentinel.intercept = (envelope) => {
    if (envelope.frame.type !== 'Data') return true;
    answers.push(envelope as Envelope<DataFrame>);
    return false;
  };
  const agent = await attach(sentinel, { systemId: 'a', ...options });
  await agent.bind('a@fame.fabric', service);
  sentinel.grantsCredit = false;
  const request = (caller: string, corrId: string, header: Partial<EnvelopeHeader> = {}, params?: unknown) =>
    sentinel.send(
      sentinel.node,
      makeEnvelope(
        { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, method: 'm', params } },
        { to: 'a@fame.fabric', replyTo: `__rpc__x@/S/${caller}`, corrId, rtype: 2, ...header },
      ),
    );
  /** Grants credit for the answers of one caller until no more arrive. */
  const read = async (caller: string): Promise<void> => {
    for (let before = -1; before !== answers.length; ) {
      before = answers.length;
      const flows = new Set(
        answers.filter(({ to }) => to?.endsWith(`/${caller}`)).map(({ flowId }) => flowId!),
      );
      for (const flow of flows) sentinel.grantCredit(sentinel.node, flow);
      await settle();
    }
  };
  const codes = (caller: string) =>
    answers
      .filter(({ to }) => to?.endsWith(`/${caller}`))
      .map(
        ({ frame }) => (frame.payload as { error?: { data: { code: string } } }).error?.data.code ?? 'result',
      );
  return { sentinel, agent, answers, request, read, codes };
}

const countOf = (codes: string[], code: string): number => codes.filter((each) => each === code).length;

describe('HD2: answers to a caller that does not read', () => {
  it('are errors READER_TOO_SLOW beyond the bound, and none is lost or INTERNAL', async () => {
    const calls: IncomingCall[] = [];
    const { request, read, codes, agent } = await served(serve((call) => calls.push(call)));
    for (let n = 0; n < 400; n++) request('slow', `c${n}`);
    await settle();
    expect(calls).toHaveLength(400);
    for (const call of calls) void call.reply(LARGE);
    expect(agent.counts.serving).toBe(0);
    await read('slow');
    expect(codes('slow')).toHaveLength(400);
    // 32 with credit, and 32 MiB.
    expect(countOf(codes('slow'), 'result')).toBe(32 + Math.floor(33_554_432 / 150_900));
    expect(countOf(codes('slow'), 'READER_TOO_SLOW')).toBe(400 - countOf(codes('slow'), 'result'));
    expect(agent.counts.waiting).toBe(0);
  });

  it('leave room for the answers to others, however many callers do not read', async () => {
    const calls: IncomingCall[] = [];
    const { request, codes, agent } = await served(serve((call) => calls.push(call)));
    const slow = Array.from({ length: 12 }, (_, n) => `slow${n}`);
    // The first 32 answers to a caller have credit.
    for (const caller of slow) {
      for (let n = 0; n < 232; n++) request(caller, `${caller}-${n}`, {}, n < 32 ? 'small' : LARGE.length);
    }
    request('other', 'other');
    await settle();
    const other = calls.pop()!;
    for (const call of calls) void call.reply(call.params === 'small' ? 1 : LARGE);
    void other.reply(LARGE);
    await settle();
    expect(codes('other')).toEqual(['result']);
    expect(agent.counts.waitingBytes).toBeLessThan(117_440_512);
  });

  it('make the next answer wait above the bound, until half of the room is left', async () => {
    const calls: IncomingCall[] = [];
    const { request, read } = await served(
      serve((call) => calls.push(call)),
      { queueBytes: 1_048_576 },
    );
    for (let n = 0; n < 45; n++) request('slow', `c${n}`);
    await settle();
    const sent: number[] = [];
    for (const [at, call] of calls.entries()) void call.reply(LARGE).then(() => sent.push(at));
    await settle();
    // 32 with credit, 6 below the bound. Those above it wait.
    expect(sent).toEqual(Array.from({ length: 38 }, (_, at) => at));
    await read('slow');
    expect(sent).toHaveLength(45);
  });

  it('replace an answer of a message handler', async () => {
    const { sentinel, answers, request, read, codes } = await served(
      { onCall: (call) => void call.reply(LARGE), onMessage: () => LARGE },
      { queueBytes: 1_048_576 },
    );
    for (let n = 0; n < 40; n++) request('slow', `c${n}`);
    const header = { to: 'a@fame.fabric', replyTo: '__rpc__x@/S/slow', rtype: 2 };
    for (let n = 0; n < 40; n++) {
      sentinel.send(
        sentinel.node,
        makeEnvelope({ type: 'Data', payload: n }, { ...header, corrId: `m${n}` }),
      );
    }
    await settle();
    await read('slow');
    expect(answers).toHaveLength(80);
    expect(countOf(codes('slow'), 'READER_TOO_SLOW')).toBeGreaterThan(0);
    expect(countOf(codes('slow'), 'INTERNAL')).toBe(0);
  });

  it('count the items of its streams', async () => {
    const failures: unknown[] = [];
    const calls: IncomingCall[] = [];
    const { request, agent } = await served(serve((call) => calls.push(call)));
    for (let n = 0; n < 40; n++) request('slow', `s${n}`, { rtype: 4 });
    await settle();
    for (const call of calls) {
      for (let n = 0; n < 40; n++) call.push(n < 32 ? n : LARGE).catch((error) => failures.push(error));
    }
    await settle();
    expect(failures.length).toBeGreaterThan(0);
    expect(failures[0]).toMatchObject({ code: 'READER_TOO_SLOW' });
    expect(agent.counts.waitingBytes).toBeLessThanOrEqual(33_554_432);
  });
});

describe('HD10: requests of a caller that does not read', () => {
  /** A server that answers at once. */
  const echo = async (options: Partial<LinkOptions> = {}) => {
    const started: string[] = [];
    const parts = await served(
      serve((call) => {
        started.push(call.id);
        void call.reply(LARGE);
      }),
      options,
    );
    return { ...parts, started };
  };
  /** With credit, and above 1 MiB. */
  const FIRST = 32 + 7;

  it('are held above 1 MiB of unsent answers, and started in order as it reads', async () => {
    const { request, read, codes, started, agent } = await echo();
    for (let n = 0; n < 400; n++) request('slow', `c${n}`);
    request('other', 'other');
    await settle();
    expect(started).toHaveLength(FIRST + 1);
    expect(started.at(-1)).toBe('other');
    expect(codes('other')).toEqual(['result']);
    await read('slow');
    expect(started.filter((id) => id !== 'other')).toEqual(Array.from({ length: 400 }, (_, n) => `c${n}`));
    expect(codes('slow')).toEqual(Array(400).fill('result'));
    expect(agent.counts).toMatchObject({ serving: 0, waiting: 0, held: 0 });
  });

  it('are refused with NODE_BUSY beyond the bound, and not executed', async () => {
    const { request, read, answers, started } = await echo({ queueBytes: 1_048_576 });
    for (let n = 0; n < 60; n++) request('slow', `c${n}`, {}, 'p'.repeat(100_000));
    await settle();
    expect(started).toHaveLength(FIRST);
    await read('slow');
    const errors = answers
      .map(({ frame }) => (frame.payload as { error?: { data: unknown } }).error?.data)
      .filter((data) => data !== undefined);
    const held = Math.floor(1_048_576 / 100_800);
    expect(started).toHaveLength(FIRST + held);
    expect(errors).toHaveLength(60 - FIRST - held);
    for (const data of errors) expect(data).toMatchObject({ code: 'NODE_BUSY', executed: false });
  });

  it('are dropped when they are cancelled, and when the path changes', async () => {
    const { request, read, started, sentinel, agent } = await echo();
    for (let n = 0; n < FIRST + 3; n++) request('slow', `c${n}`);
    await settle();
    for (const corrId of [`c${FIRST}`, `c${FIRST + 2}`]) {
      sentinel.send(
        sentinel.node,
        makeEnvelope({ type: 'CallCancel', corrId, reason: 'aborted' }, { replyTo: '__rpc__x@/S/slow' }),
      );
    }
    await settle();
    await read('slow');
    expect(started.slice(FIRST)).toEqual([`c${FIRST + 1}`]);
    expect(agent.counts).toMatchObject({ serving: 0, held: 0 });
  });

  it('do not count towards others: the window of a caller that reads is never held', async () => {
    const { request, read, codes } = await echo();
    for (let n = 0; n < 100; n++) request('slow', `c${n}`);
    for (let round = 0; round < 10; round++) {
      for (let n = 0; n < LIMITS.creditReturnAfter; n++) request('reader', `r${round}-${n}`);
      await settle();
      await read('reader');
    }
    expect(codes('reader')).toEqual(Array(240).fill('result'));
  });

  it('are refused before they run: a refusal has room like any error', async () => {
    const refused = new FabricError('NODE_BUSY', 'full');
    const { request, read, codes } = await served(serve((call) => call.refuse(refused)));
    for (let n = 0; n < 500; n++) request('slow', `c${n}`);
    await settle();
    await read('slow');
    expect(codes('slow')).toEqual(Array(500).fill('NODE_BUSY'));
  });
});
