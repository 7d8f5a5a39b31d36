import type { ConversationEvent } from '@fame-fabric/client';
import { describe, expect, test } from 'vitest';
import { timelineOf } from './bars.ts';
import { Turns, textOf, toolsOf } from './turns.ts';

const START = Date.parse('2026-01-01T00:00:00.000Z');
/** Events of the turn `t`, each with its time in ms after the start. */
function turnsOf(...events: readonly (readonly [ms: number, event: Record<string, unknown>])[]): Turns {
  const turns = new Turns();
  events.forEach(([ms, event], index) => {
    const at = new Date(START + ms).toISOString();
    turns.apply({ turn_id: 't', seq: index + 1, at, ...event } as unknown as ConversationEvent);
  });
  return turns;
}
const ACCEPTED = [0, { type: 'turn', user_message: 'Hi' }] as const;
const CALL = { type: 'model_call', step: 1, model: 'small', messages: 2 };
const REPLY = { type: 'model_reply', step: 1, model: 'small', finish: 'stop', usage: null, cost: 'unknown' };
const DONE = { type: 'done', text: 'All is well.', model: 'small', usage: { total_tokens: 7 } };

/** A turn of 1 s: 40 ms in the inbox, a model call, a tool and a second model call. */
const whole = () =>
  turnsOf(
    ACCEPTED,
    [40, { ...CALL, waited_ms: 40 }],
    [150, { type: 'text', text: 'Let me see. ' }],
    [300, { ...REPLY, finish: 'tool_calls', first_token_ms: 100, journal_ms: 10 }],
    [310, { type: 'tool_call', id: 'c1', name: 'look', args: { at: 'x' } }],
    [500, { type: 'tool_result', id: 'c1', name: 'look', ok: true, content: 'seen', left_out: 3 }],
    [510, { ...CALL, step: 2 }],
    [900, { type: 'text', text: 'All is well.' }],
    [990, { ...REPLY, step: 2, first_token_ms: 380, journal_ms: 5 }],
    [1_000, { ...DONE, duration_ms: 1_000, first_token_ms: 150, journal_ms: 22 }],
  );

describe('turns', () => {
  test('have their text, tools, model calls and figures', () => {
    const [turn] = whole().all;
    expect(turn).toMatchObject({
      state: 'completed',
      userMessage: 'Hi',
      waitedMs: 40,
      journalMs: 22,
      durationMs: 1_000,
      firstTokenMs: 150,
      usage: { total_tokens: 7 },
      calls: [
        { step: 1, isLost: false, firstTokenMs: 100 },
        { step: 2, isLost: false },
      ],
    });
    expect(textOf(turn!)).toBe('Let me see. All is well.');
    expect(toolsOf(turn!)).toMatchObject([{ state: 'done', content: 'seen', leftOut: 3, args: { at: 'x' } }]);
    expect(turn!.events).toHaveLength(10);
  });

  test('a restart withdraws text, and the call that it interrupted is lost', () => {
    const [turn] = turnsOf(
      ACCEPTED,
      [10, CALL],
      [20, { type: 'text', text: 'Lost text' }],
      [500, { type: 'restart', keep: 0, attempt: 1 }],
      [510, CALL],
      [600, { type: 'text', text: 'Kept' }],
      [700, REPLY],
      [710, { ...DONE, text: 'Kept' }],
    ).all;
    expect(turn!.parts).toEqual([
      { type: 'restart', restart: { at: START + 500, attempt: 1, withdrawnChars: 9 } },
      { type: 'text', text: 'Kept' },
    ]);
    expect(turn!.calls).toMatchObject([
      { isLost: true, endedAt: START + 500 },
      { isLost: false, endedAt: START + 700 },
    ]);
  });

  test('a cancelled turn ends its tools and calls, and a failed one has its error', () => {
    const cancelled = turnsOf(
      ACCEPTED,
      [10, { type: 'tool_call', id: 'c1', name: 'look' }],
      [20, { type: 'error', code: 'TURN_CANCELLED', message: 'Cancelled' }],
    ).all[0]!;
    expect(cancelled.state).toBe('cancelled');
    expect(toolsOf(cancelled)).toMatchObject([{ state: 'failed', endedAt: START + 20 }]);
    const failed = turnsOf(ACCEPTED, [5, CALL], [9, { type: 'error', code: 'MODEL_AUTH', message: 'No' }])
      .all[0]!;
    expect(failed).toMatchObject({
      state: 'failed',
      error: { code: 'MODEL_AUTH' },
      calls: [{ isLost: true }],
    });
  });

  test('a call that needs approval waits, and is refused or runs', () => {
    const question = { type: 'approval', id: 'c1', kind: 'tool', name: 'pay', args: { sum: 1 } };
    const waiting = turnsOf(ACCEPTED, [1, question]).all[0]!;
    expect(waiting.state).toBe('waiting');
    const refused = turnsOf(
      ACCEPTED,
      [1, question],
      [2, { type: 'approval_answer', id: 'c1', approve: false }],
      [3, { type: 'tool_result', id: 'c1', name: 'pay', ok: false }],
    ).all[0]!;
    expect(refused.state).toBe('running');
    expect(toolsOf(refused)).toMatchObject([{ state: 'refused', args: { sum: 1 } }]);
  });

  test('events of earlier agents, which lack times and model calls, make a turn too', () => {
    const [turn] = turnsOf(
      ACCEPTED,
      [10, { type: 'tool_call', id: 'c1', name: 'look' }],
      [20, { type: 'tool_result', id: 'c1', name: 'look', ok: true }],
      [30, { type: 'done', text: 'Seen.' }],
    ).all;
    expect(textOf(turn!)).toBe('Seen.');
    expect(timelineOf(turn!, START)).toMatchObject({ totalMs: 30, bars: [{ kind: 'tool', ms: 10 }] });
  });

  test('an unknown event, and an event of an unknown turn, change nothing', () => {
    const turns = turnsOf(
      ACCEPTED,
      [1, { type: 'novelty' }],
      [2, { type: 'text', text: 'x', turn_id: 'other' }],
    );
    expect(turns.all).toMatchObject([{ state: 'running', parts: [] }]);
    expect(turns.cursor).toBe(3);
  });

  test('the page keeps 1,000 turns, and counts the older ones', () => {
    const turns = turnsOf(
      ...Array.from(
        { length: 1_003 },
        (_, n) => [n, { type: 'turn', turn_id: `${n}`, user_message: '' }] as const,
      ),
    );
    expect(turns.all).toHaveLength(1_000);
    expect(turns.leftOut).toBe(3);
  });
});

describe('the timeline of a turn', () => {
  test('has a bar for the inbox, each model call, each tool and the journal, in order', () => {
    const { bars, totalMs, restarts } = timelineOf(whole().all[0]!, START + 9_999);
    expect(totalMs).toBe(1_000);
    expect(restarts).toEqual([]);
    expect(bars.map(({ kind, ms }) => [kind, ms])).toEqual([
      ['inbox', 40],
      ['model', 250],
      ['tool', 190],
      ['model', 475],
      ['journal', 22],
    ]);
    expect(bars[1]!.segments).toEqual([
      { from: 50, to: 150, kind: 'wait' },
      { from: 150, to: 300, kind: 'model' },
    ]);
    expect(bars[4]!.segments).toEqual([
      { from: 40, to: 50, kind: 'journal' },
      { from: 510, to: 515, kind: 'journal' },
    ]);
  });

  test('a bar that is open grows with the clock', () => {
    const [turn] = turnsOf(ACCEPTED, [40, { ...CALL, waited_ms: 40 }]).all;
    const { bars, totalMs } = timelineOf(turn!, START + 300);
    expect(totalMs).toBe(300);
    expect(bars.at(-1)).toMatchObject({ kind: 'model', ms: 260, isOpen: true });
    const queued = timelineOf(turnsOf(ACCEPTED).all[0]!, START + 70);
    expect(queued.bars).toMatchObject([{ kind: 'inbox', ms: 70, isOpen: true }]);
  });

  test('bars stay inside the timeline if the clocks of two processes differ', () => {
    const [turn] = turnsOf(
      ACCEPTED,
      [-500, CALL],
      [2_000, REPLY],
      [1_000, { ...DONE, duration_ms: 1_000 }],
    ).all;
    for (const { segments } of timelineOf(turn!, START).bars)
      for (const { from, to } of segments) {
        expect(from).toBeGreaterThanOrEqual(0);
        expect(to).toBeLessThanOrEqual(1_000);
        expect(to).toBeGreaterThanOrEqual(from);
      }
  });
});
