import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import type { Connection } from './connection.ts';
import { Session } from './session.ts';

/** A session whose connections a test can end. */
async function open() {
  const clock = new ManualClock();
  const opened: { lose(): void }[] = [];
  const connect = async (): Promise<Connection> => {
    const connection = {
      isLost: false,
      knowsLiving: false,
      onLost: undefined as (() => void) | undefined,
      run: async () => 1,
      get: async () => ({ number: 1 }),
      close: async () => {},
      destroy: () => connection.lose(),
      lose() {
        connection.isLost = true;
        connection.onLost?.();
      },
    };
    opened.push(connection);
    return connection as unknown as Connection;
  };
  const session = new Session({ holder: 'me', schema: 'fame', clock, connect });
  await session.open();
  return { clock, opened, session };
}

test('a session that lost its connection returns at once, and again after a beat', async () => {
  const { clock, opened, session } = await open();
  opened[0]!.lose();
  await settle();
  expect(opened).toHaveLength(2);
  opened[1]!.lose();
  await settle();
  expect(opened).toHaveLength(2);
  clock.advance(1_000);
  await settle();
  expect(opened).toHaveLength(3);
  opened[2]!.lose();
  await settle();
  expect(opened).toHaveLength(4);
  await session.close();
  opened[3]!.lose();
  await settle();
  expect(opened).toHaveLength(4);
});
