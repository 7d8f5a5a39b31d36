import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { HolderWatch } from './holder-watch.ts';

/** A watch of the holder `a`. `current` is the holder in the store; an error means that the store does not answer. */
function watching(isReader = false) {
  const clock = new ManualClock();
  const lost: (string | undefined)[] = [];
  const state: { current: string | Error | undefined; checks: number } = { current: 'a', checks: 0 };
  const placement = {
    own: 'me',
    async holderOf() {
      state.checks += 1;
      if (state.current instanceof Error) throw state.current;
      return state.current;
    },
  };
  const watch = new HolderWatch(
    { placement: placement as never, clock, onLost: (current) => void lost.push(current) },
    { conversation: 'c', holder: 'a', isReader },
  );
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    for (let n = 0; n < 4; n++) await Promise.resolve();
  };
  return { watch, state, lost, pass };
}

test('a silent call checks its holder each second, and a call with items does not', async () => {
  const { watch, state, lost, pass } = watching();
  await pass(1_000);
  expect(state.checks).toBe(1);
  watch.received();
  await pass(1_000);
  expect(state.checks).toBe(1);
  await pass(1_000);
  expect(state.checks).toBe(2);
  state.current = new Error('The store does not answer.');
  for (let n = 0; n < 5; n++) await pass(1_000);
  expect(lost).toEqual([]);
  watch.stop();
  await pass(10_000);
  expect(state.checks).toBe(7);
});

test('another holder is reported at once, this process as none', async () => {
  for (const [current, reported] of [
    ['b', 'b'],
    ['me', undefined],
  ] as const) {
    const { state, lost, pass } = watching();
    state.current = current;
    await pass(1_000);
    expect(lost).toEqual([reported]);
  }
});

test('a missing lease is checked again, because the answer may be on its way', async () => {
  const { watch, state, lost, pass } = watching();
  state.current = undefined;
  await pass(1_000);
  expect(lost).toEqual([]);
  watch.received();
  await pass(300);
  await pass(1_000);
  expect(lost).toEqual([]);
  await pass(300);
  expect(lost).toEqual([undefined]);
});

test('a reader stays at a process without a lease', async () => {
  const { state, lost, pass } = watching(true);
  state.current = undefined;
  for (let n = 0; n < 5; n++) await pass(1_000);
  expect(lost).toEqual([]);
  state.current = 'b';
  await pass(1_000);
  expect(lost).toEqual(['b']);
});
