import { describe, expect, it } from 'vitest';
import { collect, collectUntilError } from '../../testing/chunks.ts';
import { withReceivingStages } from './receiving-stages.ts';

async function* numbers(count: number, failure?: Error) {
  for (let n = 0; n < count; n += 1) yield n;
  if (failure) throw failure;
}

function recorder() {
  const log: string[] = [];
  return {
    log,
    stages: {
      onStart: () => void log.push('start'),
      onEnd: async (all: readonly number[], complete: boolean) =>
        void log.push(`end ${all.join()} ${complete}`),
      onError: (error: unknown) => void log.push(`error ${(error as Error).message}`),
    },
  };
}

describe('withReceivingStages', () => {
  it('AG-40 starts before the first item and ends after the last', async () => {
    const { log, stages } = recorder();
    for await (const n of withReceivingStages(numbers(3), stages)) log.push(`item ${n}`);
    expect(log).toEqual(['start', 'item 0', 'item 1', 'item 2', 'end 0,1,2 true']);
  });

  it('AG-40 starts and ends for an empty source', async () => {
    const { log, stages } = recorder();
    expect(await collect(withReceivingStages(numbers(0), stages))).toEqual([]);
    expect(log).toEqual(['start', 'end  true']);
  });

  it('AG-40 reports only the error when the source fails', async () => {
    for (const count of [0, 2]) {
      const { log, stages } = recorder();
      const { error } = await collectUntilError(withReceivingStages(numbers(count, new Error('x')), stages));
      expect(error).toMatchObject({ message: 'x' });
      expect(log).toEqual(count === 0 ? ['error x'] : ['start', 'error x']);
    }
  });

  it('AG-40 ends as incomplete and closes the source when the reader leaves early', async () => {
    const { log, stages } = recorder();
    let closed = false;
    async function* source() {
      try {
        yield* numbers(3);
      } finally {
        closed = true;
      }
    }
    for await (const n of withReceivingStages(source(), stages)) if (n === 1) break;
    expect(log).toEqual(['start', 'end 0,1 false']);
    expect(closed).toBe(true);
  });

  it('AG-40 observes a synchronous source, and closes it when the reader leaves early', async () => {
    const { log, stages } = recorder();
    expect(await collect(withReceivingStages([4, 5], stages))).toEqual([4, 5]);
    expect(log.splice(0)).toEqual(['start', 'end 4,5 true']);
    let closed = false;
    function* source() {
      try {
        for (let n = 0; ; n += 1) yield n;
      } finally {
        closed = true;
      }
    }
    for await (const n of withReceivingStages(source(), stages)) if (n === 1) break;
    expect(log).toEqual(['start', 'end 0,1 false']);
    expect(closed).toBe(true);
  });

  it('AG-40 throws the error of a hook to the reader', async () => {
    const failing = withReceivingStages(numbers(1), {
      onEnd: () => {
        throw new Error('hook');
      },
    });
    const { items, error } = await collectUntilError(failing);
    expect(items).toEqual([0]);
    expect(error).toMatchObject({ message: 'hook' });
  });
});
