import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import type { Connection } from './connection.ts';
import { checkSessions, Session } from './session.ts';

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

/** Checks the sessions of a slow server. It answers `LISTEN` after 4 s, and sends the notification before its next answer if `isNotified`. */
function checkSlowly({ isNotified }: { isNotified: boolean }) {
  const clock = new ManualClock();
  let opened: { onNotification?: () => void }[] = [];
  const connect = async (): Promise<Connection> => {
    const connection: (typeof opened)[number] & Record<string, unknown> = {
      run: (text: string) =>
        new Promise<void>((resolve) => {
          if (text.startsWith('LISTEN')) clock.after(4_000, resolve);
          else if (text === 'SELECT 1') {
            if (isNotified) opened[0]!.onNotification!();
            resolve();
          } else resolve();
        }),
      close: async () => {},
    };
    opened = [...opened, connection];
    return connection as unknown as Connection;
  };
  const checked = checkSessions(clock, connect);
  return {
    checked,
    async pass(ms: number): Promise<void> {
      await settle();
      clock.advance(ms);
      await settle();
    },
  };
}

test('a server that answers late keeps sessions', async () => {
  const { checked, pass } = checkSlowly({ isNotified: true });
  await pass(4_000);
  await pass(3_000);
  await checked;
});

test('a server that answers without the notification does not keep sessions', async () => {
  const { checked, pass } = checkSlowly({ isNotified: false });
  const refused = expect(checked).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await pass(4_000);
  await pass(3_000);
  await refused;
});
