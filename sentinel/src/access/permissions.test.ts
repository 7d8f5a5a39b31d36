// The defaults by role, and which actions a policy file decides.
import type { Principal, Role } from '@fame-fabric/shared';
import { ANONYMOUS } from '@fame-fabric/shared/internal';
import { describe, expect, test } from 'vitest';
import { type Asker, Permissions, type PolicySource } from './permissions.ts';
import { ACTIONS, type Action } from './policy/actions.ts';
import { allowFault } from './policy/allow-list.ts';
import { parsePolicy } from './policy/parse-policy.ts';
import type { Policy } from './policy/policy.ts';

const withRole = (...roles: Role[]): Principal => ({ id: 'ada', roles });
const source = (text: string): PolicySource & { policy: Policy } => {
  const { policy } = parsePolicy('policy.yaml', text);
  return { policy: policy!, refresh: () => false };
};
const allowed = (permissions: Permissions, principal: Principal, address = 'nodes'): Action[] =>
  ACTIONS.filter((action) => permissions.decide(principal, action, address).isAllowed);

const MESSAGES = ['ForwardUpstream', 'ForwardDownstream', 'ForwardPeer', 'DeliverLocal', 'Call'] as const;

describe('without a policy', () => {
  const gated = new Permissions({ isCredentialNeeded: true });
  const open = new Permissions({ isCredentialNeeded: false });

  test.each<[roles: Role[], actions: Action[]]>([
    [['client'], ['Connect', ...MESSAGES]],
    [['agent'], ['Connect', ...MESSAGES, 'Bind', 'Advertise']],
    [['sentinel'], ['Connect', ...MESSAGES, 'Bind', 'Advertise']],
    [['door'], ['Connect', ...MESSAGES, 'Watch']],
    [['admin'], [...ACTIONS]],
    [[], []],
  ])('the roles %j of a sentinel that asks for credentials', (roles, actions) => {
    expect(allowed(gated, withRole(...roles))).toEqual(actions);
  });

  test('the role door may read the list of nodes, and no other page', () => {
    const may = (page: string) => gated.decide(withRole('door'), 'Watch', page).isAllowed;
    expect([may('nodes'), may('trace'), may('metrics')]).toEqual([true, false, false]);
  });

  test('an open sentinel restricts only the actions of operators', () => {
    const actions = ['Connect', ...MESSAGES, 'Bind', 'Advertise'];
    expect(allowed(open, ANONYMOUS)).toEqual(actions);
    expect(allowed(open, withRole('client'))).toEqual(actions);
    expect(allowed(open, withRole('admin'))).toEqual(ACTIONS);
  });

  test('the role sentinel attaches as a peer, and may have nodes below it', () => {
    const connects = (role: Role) => gated.decide(withRole(role), 'Connect', undefined, 'peer').isAllowed;
    expect([connects('sentinel'), connects('admin'), connects('agent')]).toEqual([true, true, false]);
    const forwards = (permissions: Permissions, role: Role) => permissions.mayForward(withRole(role));
    expect([forwards(gated, 'sentinel'), forwards(gated, 'agent'), forwards(open, 'agent')]).toEqual([
      true,
      false,
      true,
    ]);
  });

  test('a principal with the right to all conversations may read them', () => {
    const principal: Principal = { ...withRole('client'), rights: { conversations: 'any' } };
    expect(gated.decide(principal, 'Conversations').isAllowed).toBe(true);
  });

  test('the decision names the role', () => {
    expect(gated.decide(withRole('client', 'door'), 'Bind').rule).toBe('default of role client, door');
    expect(open.decide(ANONYMOUS, 'Bind').rule).toBe('default of open mode');
  });
});

describe('with a policy', () => {
  test('a policy of naylence decides Connect and messages, and roles decide the rest', () => {
    const permissions = new Permissions({ source: source('rules: []'), isCredentialNeeded: true });
    expect(allowed(permissions, withRole('agent'))).toEqual(['Bind', 'Advertise']);
    expect(allowed(permissions, withRole('admin'))).toEqual([
      'Bind',
      'Advertise',
      'Watch',
      'Admin',
      'Conversations',
    ]);
  });

  test('a policy with one of our keywords decides everything, for every role', () => {
    const text = 'rules:\n  - { effect: allow, action: Bind, role: agent }';
    const permissions = new Permissions({ source: source(text), isCredentialNeeded: true });
    expect(allowed(permissions, withRole('agent'))).toEqual(['Bind']);
    expect(allowed(permissions, withRole('admin'))).toEqual([]);
  });

  test('Call is allowed if some route is', () => {
    const text = 'rules:\n  - { id: up, effect: allow, action: ForwardUpstream }';
    const permissions = new Permissions({ source: source(text), isCredentialNeeded: true });
    expect(permissions.decide(withRole('client'), 'Call', 'a@b')).toEqual({
      isAllowed: true,
      rule: 'policy.yaml:2 (rule up)',
    });
  });
});

test('a call is not allowed by DeliverLocal alone, because the sentinel serves no address', () => {
  const text = 'rules:\n  - { effect: allow, action: DeliverLocal }';
  const permissions = new Permissions({ source: source(text), isCredentialNeeded: true });
  expect(permissions.decide(withRole('client'), 'Call', 'a@b').isAllowed).toBe(false);
});

describe('the patterns of a key', () => {
  const permissions = new Permissions({ isCredentialNeeded: true });
  const may = (allow: string[], action: Action, address?: string) =>
    permissions.decide({ ...withRole('agent'), allow }, action, address);

  test('restrict calls, binds and advertisements, or the one that they name', () => {
    expect(may(['chat@**'], 'Call', 'chat@fame.fabric').isAllowed).toBe(true);
    expect(may(['chat@**'], 'Bind', 'chat@fame.fabric').isAllowed).toBe(true);
    expect(may(['bind:chat@**'], 'ForwardPeer', 'chat@fame.fabric').isAllowed).toBe(false);
    expect(may(['Call:chat@**'], 'ForwardPeer', 'chat@fame.fabric').isAllowed).toBe(true);
    expect(may(['chat@**'], 'Call', 'math@fame.fabric')).toEqual({
      isAllowed: false,
      rule: 'patterns of the key ada',
    });
    expect(may(['chat@**'], 'Connect').isAllowed).toBe(true);
  });

  test('grant nothing that the role does not', () => {
    expect(permissions.decide({ ...withRole('client'), allow: ['**'] }, 'Bind', 'a@b').isAllowed).toBe(false);
  });

  test.each(['', 'Watch:x', '^x', 'a'.repeat(300), 'Call:'])(
    '%j is no pattern, and matches nothing',
    (text) => {
      expect(allowFault(text)).toBeDefined();
      expect(may([text], 'Call', text).isAllowed).toBe(false);
    },
  );
});

test('the decisions about calls that are kept are bounded, also for many principals', () => {
  const { policy, refresh } = source('rules: [{ effect: allow }]');
  let evaluated = 0;
  const counting = {
    evaluate: (...args: Parameters<typeof policy.evaluate>) => {
      evaluated++;
      return policy.evaluate(...args);
    },
  };
  const permissions = new Permissions({
    source: { policy: Object.setPrototypeOf(counting, policy), refresh },
    isCredentialNeeded: true,
  });
  const asker = (id: string): Asker =>
    ({ kind: 'node', terms: { principal: { id, roles: ['client'] } } }) as unknown as Asker;
  const first = asker('first');
  permissions.routes(first, 'a@fame.fabric');
  permissions.routes(first, 'a@fame.fabric');
  expect(evaluated).toBe(3);
  for (let n = 0; n < 17; n++) {
    const other = asker(`n${n}`);
    for (let i = 0; i < 4_000; i++) permissions.routes(other, `a${i}@fame.fabric`);
  }
  evaluated = 0;
  permissions.routes(first, 'a@fame.fabric');
  expect(evaluated).toBe(3);
});
