// K4 and K2, short forms: turns of several conversations continue while the sentinels of a cluster restart one after the other, are killed,
// and lose NATS with all data of JetStream. No turn is lost, and none is answered twice.
import { afterAll, describe, expect, test } from 'vitest';
import { clusterEnv, NATS_SERVER, startNats } from '../kit/nats.ts';
import { localKey, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { converse, openClient, startAgent, startModel, stopStack } from '../kit/stack.ts';

afterAll(stopStack);

describe.skipIf(!NATS_SERVER.isUsable)('a cluster', () => {
  test('loses no turn while its sentinels restart, are killed, and lose NATS', async () => {
    const nats = await startNats({ hasJetStream: true });
    // The sentinels share their key, as those of one fabric do.
    const dataDir = temporaryDirectory();
    const start = (id: string, port?: number): Promise<OurSentinel> =>
      startOurSentinel({
        dataDir,
        env: { ...clusterEnv(nats, id), FAME_RESUME_WINDOW_MS: '5000' },
        ...(port === undefined ? {} : { port }),
      });
    const sentinels = new Map<string, OurSentinel>();
    for (const id of ['one', 'two']) sentinels.set(id, await start(id));
    const [one, two] = [...sentinels.values()] as [OurSentinel, OurSentinel];
    const model = await startModel();
    await startAgent(`${one.url},${two.url}`, {
      model,
      env: { FAME_ADMISSION_TOKEN_FILE: `${dataDir}/token` },
    });
    const token = localKey(dataDir);
    const clients = await Promise.all([
      openClient(one.url, { otherUrls: [two.url], token }),
      openClient(two.url, { otherUrls: [one.url], token }),
    ]);
    const conversations = await Promise.all(
      clients.flatMap((client) => [converse(client), converse(client)]),
    );
    let isOver = false;
    const counts = conversations.map(() => 0);
    const talk = async (at: number): Promise<void> => {
      while (!isOver) {
        const text = `turn ${counts[at]} of ${at}`;
        expect(await conversations[at]!.ask(text)).toBe(`re: ${text}`);
        counts[at]!++;
      }
    };
    const talks = Promise.all(conversations.map((_, at) => talk(at)));
    /** Waits until each conversation has completed two more turns. */
    const progress = async (): Promise<void> => {
      const before = [...counts];
      const hasMoved = expect.poll(() => counts.every((count, at) => count >= before[at]! + 2));
      await Promise.race([hasMoved.toBe(true), talks]);
    };
    const restart = async (id: string, end: (sentinel: OurSentinel) => Promise<unknown>): Promise<void> => {
      const sentinel = sentinels.get(id)!;
      await end(sentinel);
      await progress();
      sentinels.set(id, await start(id, sentinel.port));
      await progress();
    };
    await progress();
    for (const id of ['one', 'two']) await restart(id, ({ proc }) => proc.stop());
    for (const id of ['one', 'two']) await restart(id, ({ proc }) => proc.kill());
    await nats.kill();
    nats.wipe();
    await nats.start();
    await progress();
    isOver = true;
    await talks;
    for (const [at, conversation] of conversations.entries()) {
      const texts = (await conversation.history())
        .filter(({ role }) => role === 'user')
        .map(({ text }) => text);
      // The history has the last turns of a long conversation.
      const turns = Array.from({ length: counts[at]! }, (_, turn) => `turn ${turn} of ${at}`);
      expect(texts).toEqual(turns.slice(-texts.length));
      expect(texts.length).toBeGreaterThan(1);
    }
  }, 180_000);
});
