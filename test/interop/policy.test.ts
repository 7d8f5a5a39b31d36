// G2: policy files of naylence load here and decide the same. Generated files are loaded by naylence's own class and by our parser, and
// both decide generated requests. Answers are not compared: here they need a grant instead of a rule.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Action, parsePolicy } from '@fame-fabric/sentinel/policy';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { ensureInstalled } from '../kit/naylence.ts';
import { ROOT } from '../kit/processes.ts';

/** The part of naylence's classes that the test uses. */
interface PeerPolicy {
  evaluateRequest(
    node: object,
    envelope: { to: string | undefined },
    context: object,
    action: string,
  ): Promise<{ effect: 'allow' | 'deny'; matchedRule?: string }>;
}
interface PeerRuntime {
  LocalFileAuthorizationPolicySource: new (options: {
    path: string;
  }) => { loadPolicy(): Promise<PeerPolicy> };
}

const POLICIES = 40;
const REQUESTS = 5;
const folder = mkdtempSync(join(tmpdir(), 'fame-policy-'));
let peer: PeerRuntime;
beforeAll(async () => {
  ensureInstalled();
  // The entries of the package do not export the class. Its factories must be registered first.
  const esm = join(ROOT, 'test/interop/node_modules/@naylence/runtime/dist/esm');
  const auth = 'naylence/fame/security/auth/policy';
  const { registerRuntimeFactories } = await import(
    join(esm, 'naylence/fame/util/register-runtime-factories.js')
  );
  await registerRuntimeFactories();
  peer = (await import(join(esm, auth, 'local-file-authorization-policy-source.js'))) as PeerRuntime;
});
afterAll(() => rmSync(folder, { recursive: true }));

// A linear congruential generator: the same files and requests in each run.
function generator(seed: number) {
  let state = seed;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)]!;
  const some = <Item>(items: readonly Item[]): Item | Item[] =>
    below(2) === 0 ? pick(items) : Array.from({ length: 1 + below(3) }, () => pick(items));
  return { below, pick, some };
}

const ROUTES = ['Connect', 'ForwardUpstream', 'ForwardDownstream', 'ForwardPeer', 'DeliverLocal'] as const;
const WORDS = [...ROUTES, 'forward-upstream', 'FORWARD_DOWNSTREAM', 'forward peer', 'deliver_Local', '*'];
const GLOBS = [
  '**',
  '*@fame.fabric',
  'math@**',
  'm?th@fame.*',
  '*@*.fabric',
  '__*__@/**',
  'chat@fame.fabric',
  '*/S/*',
  '**@/S/**',
];
const ADDRESSES = [
  'math@fame.fabric',
  'chat@fame.fabric',
  'moth@fame.x',
  'chat@a.fame.fabric',
  'agent@/S/node',
  '__sys__@/S/node',
];
const SCOPES = ['node.connect', 'node.*', 'team.read', 'admin', '**', 'n?de.connect', ''];
const ORIGINS = ['downstream', 'upstream', 'peer', 'local'];
const ORIGIN_WORDS = [...ORIGINS, 'Down-Stream', 'UP_STREAM', 'PEER'];

function makeScope({ below, pick }: ReturnType<typeof generator>, depth: number): unknown {
  if (depth === 5 || below(2) === 0) return pick(SCOPES);
  const items = Array.from({ length: below(4) }, () => makeScope({ below, pick } as never, depth + 1));
  return { [pick(['any_of', 'all_of', 'none_of'])]: items };
}

function makePolicy(random: ReturnType<typeof generator>): object {
  const { below, pick, some } = random;
  const rules = Array.from({ length: 1 + below(8) }, (_, nth) => ({
    ...(below(2) === 0 ? { id: `rule-${nth}` } : {}),
    effect: pick(['allow', 'deny']),
    ...(below(4) > 0 ? { action: some(WORDS) } : {}),
    ...(below(2) === 0 ? { address: some(GLOBS) } : {}),
    ...(below(4) === 0 ? { origin_type: some(ORIGIN_WORDS) } : {}),
    ...(below(3) === 0 ? { scope: makeScope(random, 0) } : {}),
    ...(below(10) === 0 ? { when: pick(['claims.sub == "x"', '']) } : {}),
    ...(below(12) === 0 ? { frame_type: 'Data' } : {}),
    ...(below(12) === 0 ? { remarks: 'not a field of naylence' } : {}),
  }));
  return {
    version: '1',
    type: 'BasicAuthorizationPolicy',
    ...(below(3) > 0 ? { default_effect: pick(['allow', 'deny']) } : {}),
    rules,
  };
}

test('G2: 200 generated requests are decided as naylence decides them, by the same rule', async () => {
  const random = generator(20_261_129);
  const seen = { allow: 0, deny: 0, byRule: 0 };
  for (let nth = 0; nth < POLICIES; nth++) {
    const text = stringify(makePolicy(random));
    const path = join(folder, `policy-${nth}.yaml`);
    writeFileSync(path, text);
    const theirs = await new peer.LocalFileAuthorizationPolicySource({ path }).loadPolicy();
    const { policy, faults } = parsePolicy(path, text);
    expect(faults.filter(({ level }) => level === 'error')).toEqual([]);
    for (let request = 0; request < REQUESTS; request++) {
      const action: Action = random.pick(ROUTES);
      const address = action === 'Connect' ? undefined : random.pick(ADDRESSES);
      const origin = random.pick(ORIGINS) as 'downstream';
      const scopes = Array.from({ length: random.below(3) }, () => random.pick(SCOPES.slice(0, 4)));
      const context = { originType: origin, security: { authorization: { grantedScopes: scopes } } };
      const expected = await theirs.evaluateRequest({}, { to: address }, context, action);
      const principal = { id: 'jwt:issuer/node', roles: ['client', 'agent'] as const, scopes };
      const { effect, rule } = policy!.evaluate({ principal, action, address, origin });
      const asked = JSON.stringify({ action, address, origin, scopes });
      expect({ effect, rule: rule?.id }, `${text}\n${asked}`).toEqual({
        effect: expected.effect,
        rule: expected.matchedRule,
      });
      seen[effect]++;
      if (rule !== undefined) seen.byRule++;
    }
  }
  // The generator covers both outcomes and the default.
  expect(Math.min(seen.allow, seen.deny, seen.byRule, POLICIES * REQUESTS - seen.byRule)).toBeGreaterThan(20);
});
