// A policy of a running sentinel, at the wire: calls of our nodes and of naylence's, a change of the file, SIGHUP, and faulty files.
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { PeerClient } from '../kit/naylence.ts';
import { closeLinks, connectLink, mathService } from '../kit/our-node.ts';
import { fameArgs, startNode } from '../kit/processes.ts';
import { fetchWithKey, localKey, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

const RULES = `
rules:
  - { id: operator, effect: allow, role: admin }
  - { id: connect, effect: allow, action: Connect }
  - { id: guests, effect: allow, action: Call, principal: anonymous, address: math@fame.fabric }
`;

afterEach(closeLinks);
const folder = temporaryDirectory();
const policy = join(folder, 'policy.yaml');
const audit = join(folder, 'audit.jsonl');
const linesOf = (path: string): { action: string; outcome: string }[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as never);

let client: PeerClient | undefined;
afterAll(() => client?.stop());

test('G3: a policy decides about calls and pages, and a change of it ends what it no longer allows within 5 s', async () => {
  writeFileSync(policy, RULES);
  const sentinel = await startOurSentinel({
    env: { FAME_AUTH_POLICY_PATH: policy, FAME_AUDIT_LOG: audit, FAME_LOG_LEVEL: 'info' },
  });
  const agent = await connectLink(sentinel.url, { token: localKey(sentinel.dataDir) });
  for (const address of ['math@fame.fabric', 'vault@fame.fabric']) await agent.bind(address, mathService());

  const guest = await connectLink(sentinel.url);
  expect(await guest.call('math@fame.fabric', 'add', [1, 2])).toBe(3);
  const refusals = await Promise.all(
    ['vault@fame.fabric', 'ghost@fame.fabric'].map((to) =>
      guest.call(to, 'add', [1, 2]).catch((error: Error) => error),
    ),
  );
  expect(refusals).toMatchObject([{ code: 'AUTH_FORBIDDEN' }, { code: 'AUTH_FORBIDDEN' }]);
  client = await PeerClient.start(sentinel);
  expect(await client.call('math@fame.fabric', 'add', 20, 22)).toBe(42);
  const answers = [];
  for (const address of ['vault@fame.fabric', 'ghost@fame.fabric'])
    answers.push((await client.ask('call', { address, method: 'add', args: [1, 2] })).error);
  expect(answers).toEqual([
    expect.stringMatching(/NO_ROUTE.*vault/),
    expect.stringMatching(/NO_ROUTE.*ghost/),
  ]);

  await expect(guest.bind('mine@fame.fabric', mathService())).rejects.toMatchObject({
    code: 'AUTH_FORBIDDEN',
  });
  expect((await fetchWithKey(sentinel, '/fame/v1/nodes')).status).toBe(200);

  // Refused lines name the rule, and a moved file is opened again.
  await expect.poll(() => linesOf(audit).filter(({ outcome }) => outcome === 'refused').length).toBe(5);
  expect(statSync(audit).mode & 0o777).toBe(0o600);
  renameSync(audit, `${audit}.1`);
  sentinel.proc.child.kill('SIGHUP');
  await sentinel.proc.waitFor(/loaded the changed policy/);

  const from = performance.now();
  writeFileSync(policy, RULES.replace('action: Call, principal: anonymous', 'action: Call, principal: ada'));
  await expect
    .poll(() => guest.call('math@fame.fabric', 'add', [1, 2]).catch((error: { code: string }) => error.code))
    .toBe('AUTH_FORBIDDEN');
  expect(performance.now() - from).toBeLessThan(5_000);
  await expect
    .poll(() => linesOf(audit))
    .toContainEqual(expect.objectContaining({ outcome: 'changed', action: 'Policy' }));

  writeFileSync(policy, 'rules: {');
  await sentinel.proc.waitFor(/the last good policy stays in force/);
  expect(sentinel.proc.alive).toBe(true);
  await sentinel.proc.stop();
});

test('a sentinel with a faulty policy does not start, and names each fault', async () => {
  writeFileSync(policy, 'rules:\n  - { effect: alow }\n  - { effect: allow, actoin: Call }');
  const env = { FAME_LISTENER_PORT: '0', FAME_DATA_DIR: folder, FAME_AUTH_POLICY_PATH: policy };
  const proc = startNode(fameArgs('sentinel'), { name: 'sentinel', cwd: folder, env });
  expect(await proc.exited).toMatchObject({ code: 2 });
  expect(proc.output).toMatch(/policy\.yaml:2:7 error: effect must be allow or deny, not "alow"/);
  expect(proc.output).toMatch(/policy\.yaml:3:22 error: unknown key "actoin"; did you mean "action"\?/);
});
