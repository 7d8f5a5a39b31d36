// The rules of a cluster on a real nats-server: a key that is removed and a policy that is changed at one sentinel take effect at another one
// within 5 s, and a sentinel that starts with old files takes the present rules.
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KeysChange } from '@fame-fabric/sentinel/internal';
import { systemClock } from '@fame-fabric/shared/router';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { clusterEnv, NATS_SERVER, type NatsServer, startNats } from '../kit/nats.ts';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { stopStack } from '../kit/stack.ts';

const LIMIT_MS = 5_000;
const allow = (...principals: string[]): string =>
  `rules:\n  - { effect: allow, principal: [${principals.join(', ')}] }\n`;

describe.skipIf(!NATS_SERVER.isUsable)('the rules of a cluster', () => {
  let nats: NatsServer;
  let far: OurSentinel;
  const tokens: Record<string, string> = {};
  const files = temporaryDirectory();
  const keysOf = (id: string) => join(files, `${id}.keys`);
  const policyOf = (id: string) => join(files, `${id}.yaml`);
  const start = (id: string, more: Record<string, string> = {}): Promise<OurSentinel> =>
    startOurSentinel({ env: { ...clusterEnv(nats, id), FAME_KEYS_FILE: keysOf(id), ...more } });
  const attach = ({ url }: OurSentinel, name: string) => connectLink(url, { token: tokens[name]! });

  beforeAll(async () => {
    nats = await startNats({ hasJetStream: true });
    const keys = new KeysChange(keysOf('near'), systemClock);
    for (const name of ['ada', 'bob', 'carol']) {
      tokens[name] = (await keys.add({ name, role: 'agent' })).token;
    }
    for (const id of ['far', 'late']) copyFileSync(keysOf('near'), keysOf(id));
    for (const id of ['near', 'late']) writeFileSync(policyOf(id), allow('ada', 'bob', 'carol'));
    [, far] = await Promise.all([start('near', { FAME_AUTH_POLICY_PATH: policyOf('near') }), start('far')]);
  });
  afterAll(async () => {
    await closeLinks();
    await stopStack();
  });

  test('a removed key is refused at the other sentinel within 5 s, and its node is closed', async () => {
    const link = await attach(far, 'ada');
    const other = await attach(far, 'bob');
    const removedAt = performance.now();
    await new KeysChange(keysOf('near'), systemClock).remove('ada');
    await eventually(() => expect(link.state).not.toBe('attached'));
    expect(performance.now() - removedAt).toBeLessThan(LIMIT_MS);
    await expect(attach(far, 'ada')).rejects.toMatchObject({ code: 'AUTH_INVALID' });
    expect(other.state).toBe('attached');
  });

  test('a changed policy takes effect within 5 s at the other sentinel, which has no policy file', async () => {
    const link = await attach(far, 'bob');
    const changedAt = performance.now();
    writeFileSync(policyOf('near'), allow('ada', 'carol'));
    await eventually(() => expect(link.state).not.toBe('attached'));
    expect(performance.now() - changedAt).toBeLessThan(LIMIT_MS);
    await expect(attach(far, 'bob')).rejects.toMatchObject({ code: 'AUTH_FORBIDDEN' });
    expect((await attach(far, 'carol')).state).toBe('attached');
  });

  test('a sentinel that starts with old files takes the present rules', async () => {
    const late = await start('late', { FAME_AUTH_POLICY_PATH: policyOf('late') });
    await expect(attach(late, 'ada')).rejects.toMatchObject({ code: 'AUTH_INVALID' });
    await expect(attach(late, 'bob')).rejects.toMatchObject({ code: 'AUTH_FORBIDDEN' });
    expect((await attach(late, 'carol')).state).toBe('attached');
  });
});
