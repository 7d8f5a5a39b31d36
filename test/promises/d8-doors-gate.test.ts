// D8: the matrix of credentials and verbs through each door. No verb is allowed or denied by mistake, each refusal has the form of its
// protocol, and the answer about a target of another principal equals the answer about one that does not exist.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answerOf, type DoorAnswer } from '../kit/gate/door-answers.ts';
import { expectedOf, isListed } from '../kit/gate/door-expected.ts';
import {
  ADMITTED,
  type Admitted,
  DoorGateFabric,
  type DoorTarget,
  FAULTY,
  type Faulty,
  missingTarget,
} from '../kit/gate/door-fabric.ts';
import { DOOR_VERBS, type DoorName, type DoorVerb, type Verbs } from '../kit/gate/door-verbs.ts';
import { closeLinks } from '../kit/our-node.ts';

const DOORS = Object.keys(DOOR_VERBS) as DoorName[];
const FAULTS = Object.keys(FAULTY) as Faulty[];
const counts = { cells: 0, wrongAllows: 0, wrongDenies: 0, revealing: 0 };

let fabric: DoorGateFabric;
beforeAll(async () => {
  fabric = await DoorGateFabric.open();
});
afterAll(async () => {
  await closeLinks();
  await fabric.close();
});

/** Counts a cell; returns its faults. */
function judge(name: string, { outcome, text, faults }: DoorAnswer, expected: string): string[] {
  counts.cells++;
  const found = faults.map((fault) => `${name}: ${fault}`);
  if (outcome === expected) return found;
  if (outcome === 'allowed') counts.wrongAllows++;
  else counts.wrongDenies++;
  return [...found, `${name}: ${outcome}, expected ${expected}: ${text.slice(0, 300)}`];
}

async function send(
  caller: Admitted | Faulty,
  door: DoorName,
  { request }: DoorVerb,
  target: DoorTarget,
): Promise<DoorAnswer> {
  const { path, body, method = body === undefined ? 'GET' : 'POST', headers } = request(target);
  const json = body === undefined ? {} : { 'content-type': 'application/json' };
  const init = {
    method,
    headers: { ...json, ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  };
  return answerOf(door, await fabric.fetch(caller, path, init));
}

/** The ids that a door may show of a target: as they are, and in opaque ids. */
function unnamed(text: string, target: DoorTarget): string {
  let result = text.replace(/\b(?:resp|conv|task|job)_[\w-]+/g, (id) => id.replace(/_.*/, '_ID'));
  for (const [field, value] of Object.entries(target)) result = result.replaceAll(value, field);
  return result;
}

/** The faults of a list that has too much or too little. */
function listFaults(caller: Admitted, { lists }: DoorVerb, text: string, target: DoorTarget): string[] {
  if (lists === undefined) return [];
  const expected = isListed(caller, lists);
  if (expected === undefined) return [];
  const ids = [...text.matchAll(/\btask_([\w-]+)/g)].map(([, id]) =>
    Buffer.from(id!, 'base64url').toString(),
  );
  // The description of `ask_agent` has the address of FAME_CHAT_ADDRESS, whether the caller may call it or not.
  const wanted = {
    agents: /(?<!default":")\bchat(?:@|_run_turn)/,
    conversation: target.conversation,
    task: target.task,
  }[lists];
  const has = [text, ...ids].some((one) =>
    typeof wanted === 'string' ? one.includes(wanted) : wanted.test(one),
  );
  return has === expected ? [] : [`the list ${has ? 'shows' : 'lacks'} the ${lists}: ${text.slice(0, 300)}`];
}

describe.each(DOORS)('D8: through %s', (door) => {
  const verbs = Object.entries(DOOR_VERBS[door] as Verbs);

  test.each(ADMITTED)('with the credential of %s', async (caller) => {
    const [existing, missing] = [await fabric.target(caller === 'friend'), missingTarget()];
    const before = await fabric.state(existing);
    const received = fabric.received;
    const faults: string[] = [];
    for (const [name, verb] of verbs) {
      const expected = expectedOf(door, name, verb, caller);
      const answers = [
        await send(caller, door, verb, existing),
        await send(caller, door, verb, missing),
      ] as const;
      faults.push(...judge(name, answers[0], expected[0]));
      faults.push(...judge(`${name}, not there`, answers[1], expected[1]));
      faults.push(...listFaults(caller, verb, answers[0].text, existing).map((fault) => `${name}: ${fault}`));
      if (expected[0] === 'allowed' || expected[0] !== expected[1]) continue;
      const [shown, hidden] = [unnamed(answers[0].text, existing), unnamed(answers[1].text, missing)];
      if (shown === hidden) continue;
      counts.revealing++;
      faults.push(`${name} reveals its target: ${shown} and ${hidden}`);
    }
    expect(faults).toEqual([]);
    const isUser = ['owner', 'friend', 'local'].includes(caller);
    if (!isUser) expect(await fabric.state(existing)).toEqual(before);
    if (caller === 'narrow' || caller === 'denied') expect(fabric.received).toBe(received);
    await fabric.release(existing);
  });

  test('with faulty credentials', async () => {
    const existing = await fabric.target(false);
    const before = await fabric.state(existing);
    const received = fabric.received;
    const rows = FAULTS.map(async (caller) => {
      const faults: string[] = [];
      for (const [name, verb] of verbs) {
        const [expected] = expectedOf(door, name, verb, caller);
        faults.push(...judge(`${caller}: ${name}`, await send(caller, door, verb, existing), expected));
      }
      return faults;
    });
    expect((await Promise.all(rows)).flat()).toEqual([]);
    expect(await fabric.state(existing)).toEqual(before);
    expect(fabric.received).toBe(received);
    await fabric.release(existing);
  });
});

test('D8: no wrong allow, no wrong deny, and no answer that reveals a target', () => {
  const { cells, wrongAllows, wrongDenies, revealing } = counts;
  console.info(
    `D8: ${cells} cells, ${wrongAllows} wrong allows, ${wrongDenies} wrong denies, ${revealing} answers that reveal a target`,
  );
  expect({ wrongAllows, wrongDenies, revealing }).toEqual({ wrongAllows: 0, wrongDenies: 0, revealing: 0 });
  expect(cells).toBeGreaterThan(2_000);
});
