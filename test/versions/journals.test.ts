// X8: an update in place, with one data directory for the sentinel and the agents. A journal that a packed release wrote opens with
// this version and continues, its open turns included. On the way back, the release either continues too, or refuses the file with
// STORE_SCHEMA and leaves it as it was.
import { randomUUID } from 'node:crypto';
import { gate } from '@fame-fabric/agents/testing';
import { afterAll, describe, expect, test } from 'vitest';
import { localKey, temporaryDirectory } from '../kit/sentinel.ts';
import { lastUserText, startModel, stopStack } from '../kit/stack.ts';
import { LibraryClient, runFame, spawnAgent, startAgent, startSentinel } from './fabric.ts';
import { type Installed, RELEASES, thisVersion, unpack } from './releases.ts';

const latest = thisVersion();

afterAll(stopStack);

describe.each(RELEASES)('X8: a journal of %s', (version) => {
  const release = unpack(version);

  test('opens with this version and continues; the way back', async () => {
    const half = gate();
    const model = await startModel({
      respond: (request) => {
        const text = lastUserText(request);
        const messages = request.messages.filter(({ role }) => role !== 'system').length;
        return text === 'wait' ? ['Half', half] : `re: ${text} (${messages})`;
      },
    });
    const dataDir = temporaryDirectory();
    const env = { FAME_RESUME_WINDOW_MS: '500' };
    let sentinel = await startSentinel(release, { dataDir, env });
    const restartSentinel = async (of: Installed): Promise<void> => {
      await sentinel.proc.stop();
      sentinel = await startSentinel(of, { dataDir, port: sentinel.port, env });
    };
    const settings = { dataDir, modelUrl: model.url };
    const conversation = randomUUID();
    const turn = { do: 'turn', conversation } as const;

    // The release writes two finished turns and one that its death leaves open.
    let agent = await startAgent(release, sentinel.url, settings);
    const client = await LibraryClient.start(latest, sentinel.url);
    expect(await client.ask({ ...turn, text: 'one', isNew: true })).toBe('re: one (1)');
    expect(await client.ask({ ...turn, text: 'two' })).toBe('re: two (3)');
    const waiting = client.send({ ...turn, text: 'wait' });
    await half.reached;
    await agent.kill();
    half.open();
    await restartSentinel(latest);

    // This version finishes the open turn and continues.
    agent = await startAgent(latest, sentinel.url, settings);
    expect(await waiting.outcome).toMatchObject({ value: 'Half' });
    expect(await client.ask({ ...turn, text: 'three' })).toBe('re: three (7)');
    await agent.stop();
    const list = await runFame(latest, { url: sentinel.url, dataDir }, 'conversations', 'ls', '--json');
    expect(list).toMatchObject({ code: 0, output: expect.stringContaining(conversation) });

    // The way back.
    await restartSentinel(release);
    const back = spawnAgent(release, sentinel.url, settings);
    const outcome = await Promise.race([back.exited, back.waitFor(/chat@\S+ is served through /)]);
    if ('code' in outcome) {
      expect(outcome.code).toBeGreaterThan(0);
      expect(back.output).toContain('STORE_SCHEMA');
    } else {
      expect(await client.ask({ ...turn, text: 'four' })).toBe('re: four (9)');
      await back.stop();
    }
    console.info(
      `X8: ${version} and the journal of ${latest.version}: ${'code' in outcome ? 'refused' : 'continued'}`,
    );
    // And forward again: nothing was lost.
    await restartSentinel(latest);
    await startAgent(latest, sentinel.url, settings);
    const messages = 'code' in outcome ? 9 : 11;
    expect(await client.ask({ ...turn, text: 'five' })).toBe(`re: five (${messages})`);
  });

  test('an agent of it returns to an address that this version bound with the key: at once with the key', async () => {
    const dataDir = temporaryDirectory();
    const sentinel = await startSentinel(latest, { dataDir });
    await (await startAgent(latest, sentinel.url, { dataDir })).stop();
    const refused = spawnAgent(release, sentinel.url, { dataDir });
    expect((await refused.exited).code).toBe(1);
    expect(refused.output).toContain('ADDRESS_IN_USE');
    const env = { FAME_ADMISSION_TOKEN: localKey(dataDir) };
    const agent = await startAgent(release, sentinel.url, { dataDir, env });
    await agent.kill();
    await startAgent(release, sentinel.url, { dataDir, env });
  });
});
