// HD12: strangers cannot block admission, neither with silent connections nor with sessions.
import { expect, test } from 'vitest';
import { embeddedSentinels } from '../kit/embedded-sentinel.ts';
import type { RawNode, RawOptions } from '../kit/raw-node.ts';
import { keyHeader, temporaryDirectory } from '../kit/sentinel.ts';

const { start, nodes } = embeddedSentinels();
let keyed: RawOptions = {};

async function startKeyed(maxSessions = 2_000): Promise<void> {
  const dataDir = temporaryDirectory();
  await start({ dataDir, maxSessions });
  keyed = { ws: { headers: keyHeader(dataDir) } };
}

/** Opens connections that do not attach. */
async function silent(count: number): Promise<RawNode[]> {
  const opened: RawNode[] = [];
  for (let n = 0; n < count; n += 64) {
    opened.push(...(await Promise.all(Array.from({ length: Math.min(64, count - n) }, () => nodes.open()))));
  }
  return opened;
}

test('HD12: a node attaches beside 1,024 silent connections: the oldest makes room for each new one', async () => {
  await startKeyed();
  const waiting = await nodes.open(keyed);
  const strangers = await silent(1_024);
  await expect.poll(() => strangers.filter(({ isClosed }) => !isClosed).length).toBeLessThanOrEqual(768);
  for (let n = 0; n < 20; n++) {
    await silent(10);
    expect((await nodes.attached()).path).not.toBe('');
  }
  // A connection with the key is not among those that make room for strangers.
  expect((await waiting.attach()).frame.ok).toBe(true);
});

test('HD12: a quarter of the sessions is reserved for nodes with the key', async () => {
  await startKeyed(8);
  for (let n = 0; n < 6; n++) await nodes.attached();
  const extra = await nodes.open();
  await expect(extra.attach()).rejects.toThrow(
    /ADMIT_FULL Session limit reached \(6; 2 more are reserved for nodes with a key\)\. Raise FAME_MAX_SESSIONS/,
  );
  expect((await extra.closed).code).toBe(1013);
  for (let n = 0; n < 2; n++) await nodes.attached(keyed);
  const over = await nodes.open(keyed);
  await expect(over.attach()).rejects.toThrow(/ADMIT_FULL Session limit reached \(8\)/);
});

test('HD12: a session without a connection makes room for a new node; those with the key and with addresses go last', async () => {
  await startKeyed(8);
  const ours = await nodes.attached(keyed);
  await ours.serve('ours@fame.fabric');
  const agent = await nodes.attached();
  await agent.serve('agent@fame.fabric');
  const others = [
    await nodes.attached(),
    await nodes.attached(),
    await nodes.attached(),
    await nodes.attached(),
  ];
  await Promise.all([ours.cut(), agent.cut(), ...others.map((node) => node.cut())]);
  const returns = async ({ systemId, instanceId, path }: RawNode, options = {}): Promise<boolean> => {
    const back = await nodes.attached({ systemId, instanceId, ...options });
    return back.path === path && back.ack.frame.resumed;
  };
  await expect
    .poll(async () => {
      const fresh = await nodes.attached().catch(() => undefined);
      return fresh !== undefined;
    })
    .toBe(true);
  for (let n = 0; n < 3; n++) await nodes.attached();
  expect(await returns(ours, keyed)).toBe(true);
  expect(await returns(agent)).toBe(true);
});
