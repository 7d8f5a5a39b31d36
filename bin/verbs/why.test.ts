import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqliteStore, storePath } from '@fame-fabric/agents/internal';
import { KeysChange } from '@fame-fabric/sentinel/internal';
import { systemClock } from '@fame-fabric/shared';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { run } from './why.ts';

const folder = mkdtempSync(join(tmpdir(), 'fame-why-'));
afterAll(() => rmSync(folder, { recursive: true }));
const policy = join(folder, 'policy.yaml');
const env = { FAME_DATA_DIR: folder };

beforeAll(async () => {
  const keys = new KeysChange(join(folder, 'keys'), systemClock);
  await keys.add({ name: 'ada', role: 'client' });
  await keys.add({ name: 'bot', role: 'agent', allow: ['chat@**'] });
  writeFileSync(
    policy,
    `rules:
  - { id: chat, effect: allow, action: Call, principal: ada, address: chat@fame.fabric }
  - { id: up, effect: allow, action: ForwardUpstream, scope: far }
  - { id: no-bind, effect: deny, action: Bind }
`,
  );
  const store = await SqliteStore.open({ path: storePath(folder) });
  const started = { kind: 'conversation_started', at: 1, body: {} } as const;
  await store.create({
    id: 'of-ada',
    agent: 'chat@fame.fabric',
    principal: 'ada',
    sharedWith: ['bot'],
    startCallId: 'c',
    historyTurns: 1,
    totals: {},
    started,
  });
  await store.close();
});

async function why(flags: Record<string, string | boolean | readonly string[]>, more: object = {}) {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const code = await run({ positionals: [], flags, env: { ...env, ...more } });
  const lines = write.mock.calls
    .map(([text]) => String(text).replaceAll(`${folder}/`, ''))
    .join('')
    .trimEnd()
    .split('\n');
  write.mockRestore();
  return { code, lines };
}

describe('without a policy', () => {
  test('the role of the key decides, and the output names it', async () => {
    expect(await why({ as: 'ada', call: 'chat@fame.fabric' })).toMatchObject({
      code: 0,
      lines: [
        'Allowed: ada (role client) may call chat@fame.fabric',
        '  Decided by: default of role client',
        expect.stringMatching(
          /^ {2}To change it: a policy .* \{ effect: deny, action: Call, principal: 'ada'/,
        ),
      ],
    });
    expect(await why({ as: 'ada', bind: 'chat@fame.fabric' })).toMatchObject({ code: 1 });
  });

  test('the patterns of the key decide', async () => {
    expect(await why({ as: 'bot', bind: 'math@fame.fabric' })).toMatchObject({
      code: 1,
      lines: [
        expect.any(String),
        '  Decided by: patterns of the key bot',
        "  To change it: replace the key by one with --allow 'math@fame.fabric'",
      ],
    });
  });

  test('a principal without a credential is refused where credentials are needed', async () => {
    expect((await why({ as: 'anonymous', connect: true })).code).toBe(1);
    expect((await why({ as: 'anonymous', connect: true }, { FAME_SECURITY_PROFILE: 'open' })).code).toBe(0);
  });
});

describe('with a policy', () => {
  test('the output names the rule with file and line, and the place of a rule that changes it', async () => {
    expect(await why({ as: 'ada', call: 'chat@fame.fabric', policy })).toMatchObject({
      code: 0,
      lines: [
        expect.any(String),
        '  Decided by: policy.yaml:2 (rule chat)',
        expect.stringMatching(/add this rule before line 2/),
      ],
    });
    expect(
      await why({ as: 'bot', bind: 'chat@fame.fabric' }, { FAME_AUTH_POLICY_PATH: policy }),
    ).toMatchObject({
      code: 1,
      lines: [
        expect.any(String),
        '  Decided by: policy.yaml:4 (rule no-bind)',
        expect.stringMatching(/effect: allow, action: Bind/),
      ],
    });
  });

  test('a role and scopes may be stated, and routes are listed if they differ', async () => {
    const { code, lines } = await why({
      as: 'jwt:x/7',
      role: ['client'],
      scope: ['far'],
      call: 'a@b',
      policy,
    });
    expect(code).toBe(0);
    expect(lines).toContain('  ForwardUpstream: allowed by policy.yaml:3 (rule up)');
    expect(lines).toContain('  ForwardDownstream: denied by policy.yaml (no rule matches)');
  });

  test('a faulty policy is an error', async () => {
    const faulty = join(folder, 'faulty.yaml');
    writeFileSync(faulty, 'rules: [{}]');
    await expect(why({ as: 'ada', connect: true, policy: faulty })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});

test('a conversation is read by its owner, by those it is shared with, and with the right to all', async () => {
  const read = async (as: string) => {
    const { code, lines } = await why({ as, 'read-conversation': 'of-ada' });
    return [code, lines[1]];
  };
  expect(await read('ada')).toEqual([0, '  Decided by: ada started it']);
  expect(await read('bot')).toEqual([0, '  Decided by: ada shares it']);
  expect(await read('local')).toEqual([0, '  Decided by: ada started it, and default of role admin']);
  const { code } = await why({ as: 'eve', role: ['client'], 'read-conversation': 'of-ada' });
  expect(code).toBe(1);
});

test.each([
  [{ call: 'a@b' }, /takes --as/],
  [{ as: 'ada' }, /takes one of --call/],
  [{ as: 'ada', call: 'a@b', bind: 'a@b' }, /takes one of --call/],
  [{ as: 'ada', call: 'math' }, /--call takes an address such as/],
  [{ as: 'ada', watch: 'node' }, /--watch takes nodes, trace, history, doctor, metrics/],
  [{ as: 'unknown', connect: true }, /has no key "unknown"/],
  [{ as: 'jwt:x', role: ['clent'], connect: true }, /did you mean client/],
])('%j is wrong usage', async (flags, message) => {
  await expect(why(flags as never)).rejects.toThrow(message);
});
