// The agents of one principal: who is listed, and how often agents are asked.
import { FabricError } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { Catalogue } from './catalogue.ts';

const DESCRIBED = { operations: [{ name: 'add', streams: false, params: { type: 'object' } }] };
const refuse = (code: 'NO_ROUTE' | 'NODE_GONE' | 'CALL_TIMEOUT' | 'METHOD_NOT_FOUND') => () => {
  throw new FabricError(code, code);
};

function catalogueOf(answers: Record<string, () => unknown>) {
  const clock = new ManualClock();
  const served = new Map(Object.keys(answers).map((address) => [address, '1']));
  const asked: string[] = [];
  const catalogue = new Catalogue({
    clock,
    addresses: () => [...served].map(([address, attach]) => ({ address, attach })),
    async describe(address) {
      asked.push(address);
      return (answers[address] ?? refuse('NO_ROUTE'))();
    },
  });
  const list = async () => (await catalogue.list()).map(({ address }) => address);
  return { catalogue, clock, served, asked, list };
}

test('agents are listed in order, and each is asked once per attach', async () => {
  const { list, served, asked } = catalogueOf({ 'b@x': () => DESCRIBED, 'a@x': () => DESCRIBED });
  expect(await list()).toEqual(['a@x', 'b@x']);
  await list();
  expect(asked).toEqual(['a@x', 'b@x']);
  served.set('b@x', '2');
  served.delete('a@x');
  expect(await list()).toEqual(['b@x']);
  expect(asked).toEqual(['a@x', 'b@x', 'b@x']);
});

test('an agent that refuses the caller is hidden, and one that cannot answer is listed by its address', async () => {
  const { list, catalogue, clock, asked } = catalogueOf({
    'hidden@x': refuse('NO_ROUTE'),
    'other@x': refuse('METHOD_NOT_FOUND'),
    'slow@x': refuse('CALL_TIMEOUT'),
    'odd@x': () => 'text',
  });
  expect(await list()).toEqual(['odd@x', 'other@x', 'slow@x']);
  expect(await catalogue.find('hidden@x')).toBeUndefined();
  expect(await catalogue.find('other@x')).toMatchObject({ isDescribed: false, operations: [] });
  expect(asked).toHaveLength(4);
  clock.advance(10_000);
  await list();
  expect(asked.slice(4).sort()).toEqual(['hidden@x', 'slow@x']);
});

test('a list of many agents that do not answer takes bounded time', async () => {
  const clock = new ManualClock();
  let asked = 0;
  const catalogue = new Catalogue({
    clock,
    addresses: () => Array.from({ length: 500 }, (_, i) => ({ address: `a${i}@x`, attach: '1' })),
    async describe() {
      asked++;
      if (asked % 64 === 0) clock.advance(2_000);
      throw new FabricError('CALL_TIMEOUT', 'no answer');
    },
  });
  const listed = await catalogue.list();
  expect(clock.monotonic()).toBeLessThanOrEqual(8_000);
  expect(listed.length).toBe(asked);
  expect(asked).toBeLessThan(500);
});

test('an agent is found by its name if only one has it', async () => {
  const { catalogue } = catalogueOf({
    'one@x': () => DESCRIBED,
    'two@x': () => DESCRIBED,
    'two@y': () => DESCRIBED,
    'three@x': () => DESCRIBED,
    'three@y': refuse('NO_ROUTE'),
  });
  expect((await catalogue.find('one'))?.address).toBe('one@x');
  expect(await catalogue.find('two')).toBeUndefined();
  expect((await catalogue.find('three'))?.address).toBe('three@x');
  expect(await catalogue.find('none')).toBeUndefined();
});

test('an address that is not in the table is asked for', async () => {
  const answers: Record<string, () => unknown> = {};
  const { catalogue } = catalogueOf(answers);
  answers['far@x'] = () => DESCRIBED;
  expect((await catalogue.find('far@x'))?.address).toBe('far@x');
  expect(await catalogue.find('farther@x')).toBeUndefined();
});

test.each(['NODE_GONE', 'CALL_TIMEOUT'] as const)(
  'D4: an unavailable agent (%s) is neither unknown nor without operations, and is found when it returns',
  async (code) => {
    const answers: Record<string, () => unknown> = { 'chat@x': refuse(code) };
    const { catalogue, list } = catalogueOf(answers);
    for (const name of ['chat', 'chat@x']) await expect(catalogue.find(name)).rejects.toMatchObject({ code });
    expect(await list()).toEqual(code === 'NODE_GONE' ? [] : ['chat@x']);
    answers['chat@x'] = () => DESCRIBED;
    for (const name of ['chat', 'chat@x'])
      expect(await catalogue.find(name)).toMatchObject({ address: 'chat@x', isDescribed: true });
    expect(await list()).toEqual(['chat@x']);
  },
);
