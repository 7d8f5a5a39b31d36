// G1: the matrix of credentials and verbs, against a sentinel with TLS and two agents. No verb is allowed or denied by mistake, and the
// answer about a target of another principal equals the answer about one that does not exist.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CALLERS_OF, type Credential, type Kind } from '../kit/gate/gate-credentials.ts';
import { EXPECTED, type Who } from '../kit/gate/gate-expected.ts';
import { GateFabric, type Mode, type Software } from '../kit/gate/gate-fabric.ts';
import { GateTargets, type Target } from '../kit/gate/gate-targets.ts';
import { type Answer, VERBS } from '../kit/gate/gate-verbs.ts';
import { closeLinks } from '../kit/our-node.ts';
import type { RawNode } from '../kit/raw-node.ts';

const KINDS: readonly Kind[] = ['key', 'JWT', 'certificate'];
const PEER_IDS = Array.from({ length: 200 }, (_, n) => `peer-${n}`);
const counts = { cells: 0, wrongAllows: 0, wrongDenies: 0, revealing: 0 };

const isAllow = (outcome: string): boolean => ['allowed', 'silence'].includes(outcome);

/** Counts a cell; returns its fault, if there is one. */
function judge(name: string, outcome: string, expected: string): string[] {
  counts.cells++;
  if (outcome === expected) return [];
  if (isAllow(outcome) && !isAllow(expected)) counts.wrongAllows++;
  else counts.wrongDenies++;
  return [`${name}: ${outcome}, expected ${expected}`];
}

/** The answer without the names of its target. */
function unnamed(answer: Answer, target: Target): string {
  let text = JSON.stringify(answer);
  // Longest first: a path is a part of a mailbox.
  const names = Object.entries(target).sort(([, a], [, b]) => b.length - a.length);
  for (const [field, value] of names) text = text.replaceAll(value, field);
  return text;
}

test('G1: every verb has an expected outcome', () => {
  expect(Object.keys(EXPECTED).sort()).toEqual(Object.keys(VERBS).sort());
});

describe.each<Mode>(['policy', 'roles'])('G1: with %s', (mode) => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-test-gate-'));
  const peerIds = PEER_IDS.values();
  let fabric: GateFabric;
  beforeAll(async () => {
    fabric = await GateFabric.open(mode, directory, PEER_IDS);
  });
  afterAll(async () => {
    await closeLinks();
    await fabric.close();
    rmSync(directory, { recursive: true });
  });

  describe.each(KINDS)('a %s', (kind) => {
    test.each(
      CALLERS_OF[kind].flatMap((caller) =>
        (['ours', 'foreign'] as const).map((software) => [caller, software] as const),
      ),
    )('of %s, in a node of %s software', async (caller, software) => {
      const credential = fabric.credentials.of(kind, caller);
      const owner = fabric.credentials.of(kind, 'owner');
      const targets = await GateTargets.make(fabric, owner, peerIds);
      const before = await targets.state();
      const who: Who = { kind, caller, mode, software };
      const faults = await runVerbs(fabric, who, credential, targets);
      expect(faults).toEqual([]);
      const mayUseAll = EXPECTED.run_turn!(who)[0] === 'allowed';
      if (!mayUseAll) expect(await targets.state()).toEqual(before);
      await targets.check({
        mayCall: EXPECTED.call!(who)[0] === 'allowed',
        isSeatTaken: EXPECTED['take over a session']!(who)[0] === 'allowed',
      });
      await fabric.cutNodes();
    });
  });

  // Credentials are checked before any policy is read, so one mode is enough.
  const places = mode === 'policy' ? (['header', 'subprotocol'] as const) : [];
  test.for(places)('no verb with a faulty credential in the %s is allowed', async (place) => {
    for (const { kind, fault, code, credential } of fabric.credentials.faulty) {
      const { token } = credential;
      // A subprotocol is an HTTP token, which excludes other characters.
      if (place === 'subprotocol' && (token === undefined || token.includes('%'))) continue;
      const targets = await GateTargets.make(fabric, fabric.credentials.of('key', 'owner'), peerIds);
      const before = await targets.state();
      const faults = await Promise.all(
        Object.keys(VERBS).map((verb) => attempt(fabric, verb, credential, place, code, targets.existing)),
      );
      expect({ kind, fault, faults: faults.flat() }).toEqual({ kind, fault, faults: [] });
      expect(await targets.state()).toEqual(before);
      await targets.check({ mayCall: false, isSeatTaken: false });
      await fabric.cutNodes();
    }
  });
});

/** Attaches, and runs every verb on the target of the owner and on one that does not exist. Returns the faults. */
async function runVerbs(
  fabric: GateFabric,
  who: Who,
  credential: Credential,
  targets: GateTargets,
): Promise<string[]> {
  const node = await fabric.attached(credential, { software: who.software });
  const faults = judge('attach', node.ack.frame.ok ? 'allowed' : node.ack.frame.code, 'allowed');
  const actor = { node, credential, fabric, software: who.software };
  for (const [verb, act] of Object.entries(VERBS)) {
    const [existing, missing] = EXPECTED[verb]!(who);
    const reached = targets.reached;
    const answers = [await act(actor, targets.existing), await act(actor, targets.missing)] as const;
    faults.push(...judge(verb, answers[0].outcome, existing));
    faults.push(...judge(`${verb}, not there`, answers[1].outcome, missing));
    if (!isAllow(existing) && existing === missing) {
      const [shown, hidden] = [unnamed(answers[0], targets.existing), unnamed(answers[1], targets.missing)];
      if (shown !== hidden) {
        counts.revealing++;
        faults.push(`${verb} reveals its target: ${shown} and ${hidden}`);
      }
      if (targets.reached !== reached) faults.push(`${verb} reached the node of the address`);
    }
  }
  return faults;
}

/** Attaches with a faulty credential and sends the frames of the verb behind it, without waiting for the ack. Returns the faults. */
async function attempt(
  fabric: GateFabric,
  verb: string,
  credential: Credential,
  place: 'header' | 'subprotocol',
  code: string,
  target: Target,
): Promise<string[]> {
  const software: Software = 'ours';
  const node = await fabric.open(credential, { place, software });
  // It names its answers below the path of the owner's node.
  node.path = target.path;
  const [attach, acted] = await Promise.allSettled([
    node.attach(),
    VERBS[verb]!({ node, credential, fabric, software }, target),
  ]);
  const ack = attach.status === 'fulfilled' ? 'allowed' : (node.ack?.frame.code as string);
  // A node that was admitted by mistake stays open.
  const { code: closed } = await (attach.status === 'fulfilled' ? node.cut() : node.closed);
  return [
    ...judge(`${verb}: attach`, ack, code),
    ...judge(verb, outcomeOf(acted, node), refusalOf(verb, code)),
    ...(closed === 1008 ? [] : [`${verb}: closed with ${closed}`]),
    ...(node.inbox.length === 0 ? [] : [`${verb}: received ${node.describeInbox()}`]),
  ];
}

/** The expected outcome of a verb with a faulty credential, or with none (`AUTH_MISSING`). */
function refusalOf(verb: string, code: string): string {
  if (verb === 'attach over HTTP') return 'OPERATION_UNSUPPORTED';
  // A page without a credential learns here that it may sign in.
  return verb === 'session' && code === 'AUTH_MISSING' ? 'allowed' : code;
}

/** The refused attach is the answer to all verbs of the same connection. */
function outcomeOf(acted: PromiseSettledResult<Answer>, node: RawNode): string {
  if (acted.status === 'fulfilled') return acted.value.outcome;
  const { message } = acted.reason as Error;
  return /^the socket (closed|is closed)/.test(message) ? node.ack.frame.code : message;
}

test('G1: no wrong allow, no wrong deny, and no answer that reveals a target', () => {
  const { cells, wrongAllows, wrongDenies, revealing } = counts;
  console.info(
    `G1: ${cells} cells, ${wrongAllows} wrong allows, ${wrongDenies} wrong denies, ${revealing} answers that reveal a target`,
  );
  expect({ wrongAllows, wrongDenies, revealing }).toEqual({ wrongAllows: 0, wrongDenies: 0, revealing: 0 });
  expect(cells).toBeGreaterThan(5_000);
});
