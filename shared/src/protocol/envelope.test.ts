import { describe, expect, it } from 'vitest';
import { makeEnvelope } from './envelope.ts';
import { firstData, firstText, isFinalState, textMessage } from './tasks.ts';

describe('makeEnvelope', () => {
  it('sets a fresh id and the time, and puts the frame after the header', () => {
    const [a, b] = [
      makeEnvelope({ type: 'NodeHeartbeat' }, { corrId: 'c' }),
      makeEnvelope({ type: 'NodeHeartbeat' }),
    ];
    expect(a.id).toMatch(/^[0-9a-zA-Z]{16}$/);
    expect(a.id).not.toBe(b.id);
    expect(a.version).toBe('1.0');
    expect(Math.abs(Date.parse(a.ts!) - Date.now())).toBeLessThan(10_000);
    expect(a.ts).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(Object.keys(a)).toEqual(['version', 'id', 'corrId', 'frame', 'ts']);
  });

  it('keeps a given id', () => {
    expect(makeEnvelope({ type: 'NodeHeartbeat' }, { id: 'mine' }).id).toBe('mine');
  });
});

describe('messages and states of tasks', () => {
  it('return their first text and their first data', () => {
    const message = {
      role: 'user' as const,
      parts: [
        { type: 'data' as const, data: { a: 1 } },
        { type: 'text' as const, text: 'x' },
      ],
    };
    expect(firstText(message)).toBe('x');
    expect(firstData(message)).toEqual({ a: 1 });
    for (const empty of [null, undefined, { role: 'agent' as const, parts: [] }]) {
      expect(firstText(empty)).toBeUndefined();
      expect(firstData(empty)).toBeUndefined();
    }
    expect(textMessage('agent', 'hi')).toEqual({ role: 'agent', parts: [{ type: 'text', text: 'hi' }] });
  });

  it('know which states are final', () => {
    const states = [
      'submitted',
      'working',
      'input-required',
      'completed',
      'canceled',
      'failed',
      'unknown',
    ] as const;
    expect(states.filter(isFinalState)).toEqual(['completed', 'canceled', 'failed']);
  });
});
