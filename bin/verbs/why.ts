// `fame why --as NAME --call ADDRESS`: prints what a sentinel with the settings of this directory decides about a request, the rule
// that decides, and what would change it. Reads the policy, the keys file and the store; no running sentinel is needed.
import { readFileSync } from 'node:fs';
import { keysOf, readKeysFile, readSentinelConfig } from '@fame-fabric/sentinel/internal';
import {
  type Action,
  type Decision,
  formatPolicyFault,
  Permissions,
  type Policy,
  parsePolicy,
  ROUTE_ACTIONS,
  shownPath,
} from '@fame-fabric/sentinel/policy';
import type { Principal } from '@fame-fabric/shared';
import { configInvalid, EXIT, errorMessage, escapeLine, reasonOf } from '@fame-fabric/shared/internal';
import { textFlag, textFlags } from '../flags.ts';
import { openFoundStore } from '../open-found-store.ts';
import { writeJson, writeOut } from '../output.ts';
import { readRole } from '../role-flag.ts';
import { UsageError, type VerbInput } from '../verb.ts';

/** Flags that state the request, each with its action. Connect has no address. */
const REQUESTS: Readonly<Record<string, Action>> = {
  call: 'Call',
  bind: 'Bind',
  advertise: 'Advertise',
  watch: 'Watch',
  connect: 'Connect',
  'read-conversation': 'Conversations',
};
const PAGES = ['nodes', 'trace', 'history', 'doctor', 'metrics'] as const;
const VERB_OF: Partial<Record<Action, string>> = {
  Call: 'call',
  Bind: 'bind',
  Advertise: 'advertise capabilities of',
  Watch: 'read the page',
  Connect: 'connect',
};
/** Conversations with one id that are looked at. */
const MAX_FOUND = 20;
const PAGE_SIZE = 1_000;

interface Answer extends Decision {
  readonly who: string;
  /** Such as `call chat@fame.fabric`. */
  readonly what: string;
  /** The change that would reverse the decision. */
  readonly fix: string;
  /** Decisions by route, if they differ. */
  readonly routes?: readonly { readonly route: string; readonly isAllowed: boolean; readonly rule: string }[];
}

interface Rules {
  readonly permissions: Permissions;
  readonly policy: Policy | undefined;
}

/** Resolves to 0 if the request is allowed, else 1. @throws {UsageError} @throws {CONFIG_INVALID} for a faulty policy or keys file */
export async function run(input: VerbInput): Promise<number> {
  const [flag, ...more] = Object.keys(REQUESTS).filter((name) => input.flags[name] !== undefined);
  if (flag === undefined || more.length > 0) {
    throw new UsageError(
      `why takes one of ${Object.keys(REQUESTS)
        .map((name) => `--${name}`)
        .join(', ')}`,
    );
  }
  const action = REQUESTS[flag]!;
  const value = textFlag(input, flag);
  if (action === 'Watch' && !PAGES.some((page) => page === value)) {
    throw new UsageError(`--watch takes ${PAGES.join(', ')}, not "${value}"`);
  }
  if (['Call', 'Bind', 'Advertise'].includes(action) && !value?.includes('@')) {
    throw new UsageError(`--${flag} takes an address such as chat@fame.fabric, not "${value}"`);
  }
  const config = readSentinelConfig(input.env);
  const principal = principalOf(input, config.keysFile);
  const policy = readPolicy(textFlag(input, 'policy') ?? config.authPolicyPath);
  const permissions = new Permissions({
    source: policy && { policy, refresh: () => false },
    isCredentialNeeded: config.isCredentialNeeded,
  });
  const rules: Rules = { permissions, policy };
  const answer =
    principal.id === 'anonymous' && config.isCredentialNeeded
      ? noCredential(action, value)
      : action === 'Conversations'
        ? await aboutConversation(rules, principal, value!, input)
        : decided(rules, principal, action, value);
  print(answer, input.flags.json === true);
  return answer.isAllowed ? EXIT.ok : EXIT.failure;
}

function principalOf(input: VerbInput, keysFile: string): Principal {
  const id = textFlag(input, 'as');
  if (id === undefined)
    throw new UsageError('why takes --as with the name of a key, or the id of another principal');
  const scopes = textFlags(input, 'scope');
  const given = textFlags(input, 'role').map(readRole);
  if (id === 'local') return { id, roles: ['admin'], rights: { conversations: 'any' }, scopes };
  if (id === 'anonymous') return { id, roles: [] };
  const key = keysOf(readKeys(keysFile)).find(({ name }) => name === id);
  if (given.length === 0 && key === undefined && !id.includes(':')) {
    throw new UsageError(
      `${keysFile} has no key "${id}". For another principal, state its role: --role client`,
    );
  }
  const roles = given.length > 0 ? given : key === undefined ? [] : [key.role];
  const rights = roles.includes('admin') ? ({ conversations: 'any' } as const) : undefined;
  return { id, roles, scopes, allow: key?.allow, rights };
}

function readKeys(file: string): ReturnType<typeof readKeysFile> {
  try {
    return readKeysFile(file);
  } catch (error) {
    throw typeof (error as NodeJS.ErrnoException).syscall === 'string'
      ? configInvalid([`The keys file ${file} cannot be read: ${errorMessage(error)}`])
      : error;
  }
}

function readPolicy(path: string | undefined): Policy | undefined {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw configInvalid([`The policy ${path} cannot be read: ${reasonOf(error)}`]);
  }
  const { policy, faults } = parsePolicy(shownPath(path), text);
  if (policy !== undefined) return policy;
  const errors = faults.filter(({ level }) => level === 'error');
  throw configInvalid(errors.map((fault) => formatPolicyFault(shownPath(path), fault)));
}

const whoIs = ({ id, roles }: Principal): string =>
  `${id} (${roles.length === 0 ? 'no role' : `role ${roles.join(', ')}`})`;

function noCredential(action: Action, address: string | undefined): Answer {
  return {
    isAllowed: false,
    rule: 'this sentinel asks for credentials',
    who: 'anonymous',
    what: `${VERB_OF[action] ?? 'use'} ${address ?? ''}`.trim(),
    fix: 'send a key: npx fame-fabric key add NAME',
  };
}

function decided(rules: Rules, principal: Principal, action: Action, address: string | undefined): Answer {
  const { permissions } = rules;
  const decision = permissions.decide(principal, action, address);
  const routes = ROUTE_ACTIONS.map((route) => ({ route, ...permissions.decide(principal, route, address) }));
  const isByRoute = action === 'Call' && routes.some(({ isAllowed }) => isAllowed !== decision.isAllowed);
  return {
    ...decision,
    who: whoIs(principal),
    what: `${VERB_OF[action]} ${address ?? ''}`.trim(),
    fix: fixOf(rules, principal, action, address, decision),
    ...(isByRoute ? { routes } : {}),
  };
}

function fixOf(
  { policy }: Rules,
  { id }: Principal,
  action: Action,
  address: string | undefined,
  { isAllowed, rule }: Decision,
): string {
  const effect = isAllowed ? 'deny' : 'allow';
  if (rule.startsWith('patterns of')) return `replace the key by one with --allow '${address}'`;
  const condition = address === undefined ? '' : `, address: '${address}'`;
  const text = `- { effect: ${effect}, action: ${action}, principal: '${id}'${condition} }`;
  if (policy !== undefined && !rule.startsWith('default of')) {
    const line = /:(\d+) \(rule /.exec(rule)?.[1];
    return `add this rule ${line === undefined ? 'to the rules' : `before line ${line}`}: ${text}`;
  }
  const place = policy === undefined ? 'a policy (FAME_AUTH_POLICY_PATH) with the rule' : `the rule`;
  return isAllowed ? `${place} ${text}` : `another role, or ${place} ${text}`;
}

// A conversation is found by the id that its callers use, in the store of this machine.
async function aboutConversation(
  rules: Rules,
  principal: Principal,
  id: string,
  { env }: VerbInput,
): Promise<Answer> {
  const about = { who: whoIs(principal), what: `read the conversation ${id}` };
  const found = await conversationsOf(env, id);
  const own = found.find(({ principal: owner }) => owner === principal.id);
  const shared = found.find(
    ({ sharedWith }) => sharedWith.includes('*') || sharedWith.includes(principal.id),
  );
  if (own !== undefined) {
    return {
      ...about,
      isAllowed: true,
      rule: `${principal.id} started it`,
      fix: 'not possible: the owner always may',
    };
  }
  if (shared !== undefined) {
    return {
      ...about,
      isAllowed: true,
      rule: `${shared.principal} shares it`,
      fix: 'it was shared when it started',
    };
  }
  const [other] = found;
  const decision = rules.permissions.decide(principal, 'Conversations', other?.agent);
  const fix = fixOf(rules, principal, 'Conversations', other?.agent, decision);
  if (other === undefined) {
    const note = 'no conversation of the store has this id';
    return { ...about, ...decision, rule: `${note}; the right to all conversations: ${decision.rule}`, fix };
  }
  return { ...about, ...decision, rule: `${other.principal} started it, and ${decision.rule}`, fix };
}

interface Found {
  readonly principal: string;
  readonly agent: string;
  readonly sharedWith: readonly string[];
}

async function conversationsOf(env: VerbInput['env'], id: string): Promise<Found[]> {
  const store = await openFoundStore(env);
  if (store === undefined) return [];
  try {
    const found: Found[] = [];
    let page = await store.list({ limit: PAGE_SIZE });
    while (page.length > 0 && found.length < MAX_FOUND) {
      found.push(...page.filter((one) => one.publicId === id || one.id === id));
      page = await store.list({ limit: PAGE_SIZE, before: page.at(-1) });
    }
    return found;
  } finally {
    await store.close();
  }
}

function print(answer: Answer, asJson: boolean): void {
  if (asJson) {
    writeJson(answer);
    return;
  }
  const { isAllowed, who, what, rule, fix, routes = [] } = answer;
  const head = `${isAllowed ? 'Allowed' : 'Denied'}: ${who} ${isAllowed ? 'may' : 'may not'} ${what}`;
  const details = [
    `Decided by: ${rule}`,
    ...routes.map((route) => `${route.route}: ${route.isAllowed ? 'allowed' : 'denied'} by ${route.rule}`),
    `To change it: ${fix}`,
  ];
  writeOut(`${escapeLine(head)}\n${details.map((line) => `  ${escapeLine(line)}\n`).join('')}`);
}
