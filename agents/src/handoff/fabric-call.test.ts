import { FabricError } from '@fame-fabric/shared';
import { settle } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import type { Outbound } from '../agent/operation.ts';
import { TurnReleased } from '../conversation/live-turn.ts';
import { fabricCall } from './fabric-call.ts';
import type { RemoteEvent } from './handoff.ts';

/** A link to an agent whose turn ends when `finish` is called. Records the calls and the cancelled stream. */
function remoteAgent() {
  const seen: string[] = [];
  const answer = Promise.withResolvers<void>();
  const link: Outbound = {
    call: async (_target, method) => void seen.push(method),
    async *stream(_target, method, _params, { signal } = {}) {
      seen.push(method);
      const aborted = new Promise<never>((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason));
      });
      let isEnded = false;
      try {
        yield { type: 'text', text: 'Half' };
        await Promise.race([answer.promise, aborted]);
        yield { type: 'text', text: ' whole' };
        isEnded = true;
        yield { type: 'done', text: 'Half whole', usage: undefined, model: 'm' };
      } finally {
        if (!isEnded) seen.push('cancelled');
      }
    },
    send: async () => {},
  };
  return { link, seen, finish: () => answer.resolve() };
}

function begin() {
  const remote = remoteAgent();
  const controller = new AbortController();
  const call = fabricCall(remote.link)({
    id: 'c/t/1',
    target: 'orders@support.fabric',
    userMessage: 'hi',
    history: [],
    extras: {},
    meta: { handoffs: 1, visited: [], modelCalls: 1 },
    signal: controller.signal,
  });
  return { ...remote, controller, events: call[Symbol.asyncIterator]() as AsyncGenerator<RemoteEvent> };
}

describe('fabricCall', () => {
  test('ends the remote conversation after the answer', async () => {
    const { events, seen, finish } = begin();
    finish();
    const texts: string[] = [];
    for await (const { text } of events) texts.push(text);
    await settle();
    expect(texts).toEqual(['Half', ' whole', 'Half whole']);
    expect(seen).toEqual(['start_task', 'run_turn_stream', 'end_conversation']);
  });

  test('cancels and ends the remote turn when its own turn is cancelled', async () => {
    const { events, seen, controller } = begin();
    await events.next();
    controller.abort(new FabricError('TURN_CANCELLED', 'stop'));
    await expect(events.next()).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
    await settle();
    expect(seen).toEqual(['start_task', 'run_turn_stream', 'cancelled', 'end_conversation']);
  });

  test('leaves the remote turn running when its own turn is released: the next process needs the answer', async () => {
    const { events, seen, finish, controller } = begin();
    await events.next();
    controller.abort(new TurnReleased('NODE_GONE', 'The agent stopped.'));
    // The writer of the turn refuses the text, so the runner leaves the loop.
    await events.return(undefined);
    await settle();
    expect(seen).toEqual(['start_task', 'run_turn_stream']);
    finish();
    await settle();
    expect(seen).toEqual(['start_task', 'run_turn_stream', 'end_conversation']);
  });

  test('leaves the remote turn running when the text could not be stored', async () => {
    const { events, seen, finish } = begin();
    const failing = (async () => {
      for await (const _ of events) throw new FabricError('STORE_UNAVAILABLE', 'The disk is gone.');
    })();
    await expect(failing).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await settle();
    expect(seen).toEqual(['start_task', 'run_turn_stream']);
    finish();
    await settle();
    expect(seen.at(-1)).toBe('end_conversation');
  });
});
