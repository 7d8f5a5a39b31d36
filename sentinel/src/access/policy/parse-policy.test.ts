// The policy language: what rules match, and the faults of a file with their places.
import type { Principal } from '@fame-fabric/shared';
import { describe, expect, test } from 'vitest';
import type { Action, Origin } from './actions.ts';
import { MAX_POLICY_CHARS, parsePolicy } from './parse-policy.ts';
import { formatPolicyFault } from './policy-file.ts';

const ada: Principal = { id: 'ada', roles: ['client'], scopes: ['node.connect', 'team.read'] };

function policyOf(text: string) {
  const { policy, faults } = parsePolicy('policy.yaml', text);
  if (policy === undefined) throw new Error(JSON.stringify(faults));
  return policy;
}
const effectOf = (
  text: string,
  {
    principal = ada,
    action = 'Call' as Action,
    address = undefined as string | undefined,
    origin = 'downstream' as Origin,
  },
): string => policyOf(text).evaluate({ principal, action, address, origin }).effect;
const faultsOf = (text: string): string[] =>
  parsePolicy('policy.yaml', text).faults.map((fault) => formatPolicyFault('policy.yaml', fault));

const rules = (text: string): string => `version: '1'\ntype: BasicAuthorizationPolicy\nrules:\n${text}`;

describe('rules', () => {
  test('the first rule that matches decides', () => {
    const text = rules(`
  - { id: a, effect: deny, action: Call, address: secret@** }
  - { id: b, effect: allow, action: Call, address: '**' }
  - { id: c, effect: deny, action: Call, address: chat@** }`);
    expect(effectOf(text, { address: 'chat@fame.fabric' })).toBe('allow');
    expect(effectOf(text, { address: 'secret@fame.fabric' })).toBe('deny');
  });

  test('without a matching rule the default effect decides, which is deny', () => {
    expect(effectOf('rules: []', { action: 'Connect' })).toBe('deny');
    expect(effectOf('', { action: 'Connect' })).toBe('deny');
    expect(effectOf('default_effect: allow', { action: 'Connect' })).toBe('allow');
  });

  test('default_effect: allow does not open Watch, Admin and Conversations', () => {
    const text = 'default_effect: allow\nlimits: []';
    const allowed = (
      ['Connect', 'Call', 'Bind', 'Advertise', 'Watch', 'Admin', 'Conversations'] as const
    ).filter((action) => effectOf(text, { action }) === 'allow');
    expect(allowed).toEqual(['Connect', 'Call', 'Bind', 'Advertise']);
  });

  test.each(['ForwardUpstream', 'forward-upstream', 'FORWARD_UPSTREAM', 'forward upstream'])(
    'the action may be written %s',
    (word) => {
      const text = rules(`  - { effect: allow, action: '${word}' }`);
      expect(effectOf(text, { action: 'ForwardUpstream' })).toBe('allow');
      expect(effectOf(text, { action: 'ForwardDownstream' })).toBe('deny');
    },
  );

  test('a rule without an action, and one with *, covers every action', () => {
    for (const action of ['', ", action: '*'", ", action: [Connect, '*']"]) {
      const text = rules(`  - { effect: allow, role: client${action} }`);
      expect(effectOf(text, { action: 'Watch', address: 'nodes' })).toBe('allow');
    }
  });

  test('Call means every route', () => {
    const text = rules('  - { effect: allow, action: [call] }');
    for (const action of ['ForwardUpstream', 'ForwardDownstream', 'ForwardPeer', 'DeliverLocal'] as const)
      expect(effectOf(text, { action })).toBe('allow');
    expect(effectOf(text, { action: 'Bind' })).toBe('deny');
  });

  test('a rule with an address never matches a request without one', () => {
    const text = rules("  - { effect: allow, address: '**' }");
    expect(effectOf(text, { action: 'Connect' })).toBe('deny');
    expect(effectOf(text, { action: 'ForwardUpstream', address: '' })).toBe('deny');
  });

  test('an origin, a principal and a role each narrow a rule', () => {
    const by = (condition: string, principal: Principal = ada, origin: Origin = 'downstream') =>
      effectOf(rules(`  - { effect: allow, ${condition} }`), { principal, origin });
    expect(by('origin_type: Down_Stream')).toBe('allow');
    expect(by('origin_type: [peer, upstream]')).toBe('deny');
    expect(by('origin_type: peer', ada, 'peer')).toBe('allow');
    expect(by('principal: ada')).toBe('allow');
    expect(by("principal: ['b*', 'a*']")).toBe('allow');
    expect(by('principal: bob')).toBe('deny');
    expect(by('role: [agent, client]')).toBe('allow');
    expect(by('role: agent')).toBe('deny');
    expect(by("role: '*'", { id: 'x', roles: [] })).toBe('deny');
    expect(by("principal: 'jwt:login.example.com/*'", { id: 'jwt:login.example.com/7', roles: [] })).toBe(
      'allow',
    );
  });

  test.each<[scope: string, effect: string]>([
    ['node.connect', 'allow'],
    ['node.*', 'allow'],
    ['node', 'deny'],
    ['{ any_of: [x, team.read] }', 'allow'],
    ['{ all_of: [node.connect, team.read] }', 'allow'],
    ['{ all_of: [node.connect, x] }', 'deny'],
    ['{ none_of: [x, y] }', 'allow'],
    ['{ none_of: [node.*] }', 'deny'],
    ['{ any_of: [] }', 'deny'],
    ['{ all_of: [] }', 'allow'],
    ['{ all_of: [{ none_of: [x] }, { any_of: [{ all_of: [team.*] }] }] }', 'allow'],
  ])('scope %s: %s', (scope, effect) => {
    expect(effectOf(rules(`  - { effect: allow, scope: ${scope} }`), {})).toBe(effect);
  });

  test.each(['when: "claims.x == 1"', 'frame_type: Data'])(
    'a rule with %s is skipped with a warning',
    (field) => {
      const text = rules(`  - { id: a, effect: allow, ${field} }`);
      expect(effectOf(text, { action: 'Connect' })).toBe('deny');
      expect(faultsOf(text)).toEqual([
        expect.stringMatching(/^policy\.yaml:4:\d+ warning: the rule is skipped/),
      ]);
    },
  );

  test('the decision names the rule, its line, or the default', () => {
    const text = rules('  - { id: open, effect: allow, action: Connect }');
    const policy = policyOf(text);
    const placeOf = (action: Action) => policy.placeOf(policy.evaluate({ principal: ada, action }));
    expect(placeOf('Connect')).toBe('policy.yaml:4 (rule open)');
    expect(placeOf('Bind')).toBe('policy.yaml (no rule matches)');
    const other = policyOf(`default_effect: deny\n${text}`);
    expect(other.placeOf(other.evaluate({ principal: ada, action: 'Bind' }))).toMatch(
      /^policy\.yaml:1 \(default_effect/,
    );
  });

  test('a file has the format of naylence until it uses one of our keywords', () => {
    const foreign = rules(
      '  - { effect: allow, action: [Connect, ForwardPeer], scope: a, origin_type: peer }',
    );
    expect(policyOf(foreign).isForeign).toBe(true);
    for (const word of ['action: Bind', 'action: Call', 'principal: ada', 'role: client'])
      expect(policyOf(rules(`  - { effect: allow, ${word} }`)).isForeign, word).toBe(false);
    expect(policyOf(`${foreign}\nlimits: []`).isForeign).toBe(false);
  });
});

describe('limits', () => {
  const text = `
limits:
  - { principal: ada, sessions: 5, money_per_day: 2.5 }
  - { role: client, sessions: 10, open_calls: 0, messages_per_second: 200 }`;

  test('for each field the first entry that matches and states it counts', () => {
    expect(policyOf(text).limitsOf(ada)).toEqual({
      sessions: 5,
      moneyPerDay: 2.5,
      openCalls: 0,
      messagesPerSecond: 200,
    });
    expect(policyOf(text).limitsOf({ id: 'bob', roles: ['agent'] })).toEqual({});
  });

  test.each([
    ['sessions: -1', 'sessions must be a whole number from 0, not "-1"'],
    ['sessions: 1.5', 'sessions must be a whole number from 0, not "1.5"'],
    ["money_per_day: '5'", 'money_per_day must be a number from 0, not "5"'],
    ['sesions: 1', 'unknown key "sesions"; did you mean "sessions"?'],
    ['speed: 1', /^policy\.yaml:2:\d+ error: unknown key "speed"; known keys: id, /],
  ])('%s is a fault', (field, message) => {
    expect(faultsOf(`limits:\n  - { ${field}, streams: 1 }`)).toEqual([
      typeof message === 'string' ? `policy.yaml:2:7 error: ${message}` : expect.stringMatching(message),
    ]);
  });
});

describe('faults', () => {
  test.each<[text: string, fault: string | RegExp]>([
    ['rules: {', /^policy\.yaml:1:\d+ error: /],
    ['- a', 'policy.yaml:1:1 error: the file must be a mapping with default_effect and rules'],
    [
      'type: Advanced',
      'policy.yaml:1:1 error: unknown type "Advanced"; the only type is BasicAuthorizationPolicy',
    ],
    ['default_effect: Allow', 'policy.yaml:1:1 error: default_effect must be allow or deny, not "Allow"'],
    ['ruels: []', 'policy.yaml:1:1 error: unknown key "ruels"; did you mean "rules"?'],
    ['rules: 5', 'policy.yaml:1:1 error: rules must be a list'],
    ['rules: [5]', 'policy.yaml:1:9 error: must be a mapping'],
    ['rules: [{}]', 'policy.yaml:1:9 error: effect is missing: allow or deny'],
    [
      'rules:\n  - effect: allow\n    adress: x',
      'policy.yaml:3:5 error: unknown key "adress"; did you mean "address"?',
    ],
    [
      'rules:\n  - effect: allow\n    action: Cal',
      'policy.yaml:3:5 error: unknown action "Cal"; did you mean Call?',
    ],
    ['rules:\n  - effect: allow\n    action: []', 'policy.yaml:3:5 error: action must have 1 to 200 items'],
    ['rules:\n  - effect: allow\n    action: [*]', /^policy\.yaml:3:\d+ error: /],
    [
      "rules:\n  - effect: allow\n    address: ''",
      'policy.yaml:3:5 error: address must be text or a list of texts, none of them empty',
    ],
    [
      'rules:\n  - effect: allow\n    address: ^chat',
      /^policy\.yaml:3:5 error: "\^chat": regular expressions/,
    ],
    [
      'rules:\n  - effect: allow\n    role: clinet',
      'policy.yaml:3:5 error: unknown role "clinet"; did you mean client?',
    ],
    [
      'rules:\n  - effect: allow\n    origin_type: above',
      /unknown origin_type "above"; use one of downstream/,
    ],
    [
      'rules:\n  - effect: allow\n    scope: {any_off: [a]}',
      'policy.yaml:3:13 error: unknown operator "any_off"; did you mean any_of?',
    ],
    [
      'rules:\n  - effect: allow\n    scope: {any_of: [a], all_of: [b]}',
      /a scope is a text, or a mapping with one of/,
    ],
    ['rules:\n  - effect: allow\n    scope: {any_of: a}', /any_of must be a list/],
    ['default_effect: deny\ndefault_effect: allow', /Map keys must be unique/],
  ])('%j', (text, fault) => {
    expect(faultsOf(text)).toContainEqual(typeof fault === 'string' ? fault : expect.stringMatching(fault));
    expect(parsePolicy('policy.yaml', text).policy).toBeUndefined();
  });

  test('all faults are reported, in the order of the file', () => {
    const text = 'rules:\n  - { effect: alow }\n  - { effect: deny, action: Bnd }\ntype: x';
    expect(faultsOf(text).map((line) => line.split(' ')[0])).toEqual([
      'policy.yaml:2:7',
      'policy.yaml:3:21',
      'policy.yaml:4:1',
    ]);
  });

  test('scopes may be nested five levels deep, as in naylence', () => {
    const nested = (levels: number): string => (levels === 0 ? 'x' : `{ any_of: [${nested(levels - 1)}] }`);
    expect(faultsOf(rules(`  - { effect: allow, scope: ${nested(5)} }`))).toEqual([]);
    expect(faultsOf(rules(`  - { effect: allow, scope: ${nested(6)} }`))).toEqual([
      expect.stringMatching(/nested deeper than 5 levels/),
    ]);
  });

  test('a key that naylence ignores is a warning', () => {
    const text = rules('  - { effect: allow, owner: platform }');
    expect(faultsOf(text)).toEqual([
      expect.stringMatching(/^policy\.yaml:4:\d+ warning: unknown key "owner" is ignored/),
    ]);
    expect(parsePolicy('policy.yaml', text).policy).toBeDefined();
  });

  test('a file, its lists and its aliases are bounded', () => {
    expect(faultsOf(`# ${'x'.repeat(MAX_POLICY_CHARS)}`)).toEqual([
      expect.stringMatching(/longer than 1048576/),
    ]);
    expect(faultsOf(rules('  - { effect: allow }\n'.repeat(1_001)))).toEqual([
      expect.stringMatching(/has 1001 items/),
    ]);
    const list = `[${Array.from({ length: 201 }, (_, i) => `a${i}`).join(', ')}]`;
    expect(faultsOf(rules(`  - { effect: allow, address: ${list} }`))).toEqual([
      expect.stringMatching(/1 to 200/),
    ]);
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 9; i++) {
      const [name, last] = [String.fromCharCode(97 + i), String.fromCharCode(96 + i)];
      bomb.push(`${name}: &${name} [${Array(9).fill(`*${last}`).join(', ')}]`);
    }
    expect(faultsOf(bomb.join('\n'))).toEqual([expect.stringMatching(/alias/i)]);
  });
});
