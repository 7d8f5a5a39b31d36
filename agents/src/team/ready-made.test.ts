import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { z } from 'zod';
import { callTools } from '../testing/script.ts';
import { scriptedModel } from '../testing/scripted-model.ts';
import { choose } from './choose.ts';
import { dedupe } from './dedupe.ts';
import { list } from './list.ts';

describe('choose', () => {
  const options = { refund: 'wants money back', praise: 'is happy' };
  const picks = (option: string) => callTools({ name: 'choose_option', arguments: { option } });

  it('TM-33 returns one of the options, typed', async () => {
    const picked = await choose({ model: scriptedModel([picks('refund')]), input: 'Money back!', options });
    expectTypeOf(picked).toEqualTypeOf<'refund' | 'praise'>();
    expect(picked).toBe('refund');
  });

  it('TM-33 repairs a reply outside the options once, then fails', async () => {
    const model = scriptedModel([picks('complaint'), picks('praise')]);
    expect(await choose({ model, input: 'x', options })).toBe('praise');
    const stubborn = scriptedModel([picks('complaint'), picks('toString')]);
    await expect(choose({ model: stubborn, input: 'x', options })).rejects.toMatchObject({
      code: 'ARGUMENTS_INVALID',
    });
    await expect(choose({ model: stubborn, input: 'x', options: {} })).rejects.toThrow(/nothing to choose/);
  });

  it('TM-33 sends the same request each time', async () => {
    const model = scriptedModel([picks('refund'), picks('refund')]);
    const o = { model, input: 'x', options };
    await choose(o);
    await choose(o);
    expect(model.requests[1]).toEqual(model.requests[0]);
  });
});

describe('list', () => {
  const item = z.object({ name: z.string(), price: z.number() });
  const shop = (name: string) =>
    `[{"name":"${name}","price":1},{"name":"pear","price":2},{"name":"fig","price":3}]`;

  it('TM-34 returns validated items, also out of a fence or a sentence', async () => {
    for (const text of [
      shop('apple'),
      `\`\`\`json\n${shop('apple')}\n\`\`\``,
      `Here you are: ${shop('apple')} Enjoy!`,
    ]) {
      const items = await list({ model: scriptedModel([text]), input: 'x', item });
      expectTypeOf(items).toEqualTypeOf<{ name: string; price: number }[]>();
      expect(items.map((one) => one.name)).toEqual(['apple', 'pear', 'fig']);
    }
  });

  it('TM-34 has invalid items repaired once, by their path', async () => {
    const model = scriptedModel(['[{"name":"apple","price":"one"}]', '[{"name":"apple","price":1}]']);
    expect(await list({ model, input: 'x', item })).toEqual([{ name: 'apple', price: 1 }]);
    expect(model.requests[1]!.messages.at(-1)!.content).toContain('0.price: Invalid input: expected number');
    const stubborn = scriptedModel(['No list.', 'Still no list.']);
    await expect(list({ model: stubborn, input: 'x', item })).rejects.toMatchObject({
      code: 'ARGUMENTS_INVALID',
    });
    stubborn.done();
  });

  it('TM-34 combines several lists by the given rule', async () => {
    const two = () => scriptedModel([shop('apple'), shop('an apple')]);
    await expect(list({ model: two(), input: 'x', item, n: 2 })).rejects.toThrow(/need `combine`/);
    expect(await list({ model: two(), input: 'x', item, n: 2, combine: 'concat' })).toHaveLength(6);
    const separate = await list({ model: two(), input: 'x', item, n: 2, combine: 'separate' });
    expect(separate.map((one) => one.length)).toEqual([3, 3]);
    const groups = [
      { best: 0, members: [0, 3] },
      { best: 4, members: [4, 1] },
      { best: 2, members: [2, 5] },
    ];
    const model = scriptedModel([
      shop('apple'),
      shop('an apple'),
      callTools({ name: 'group_items', arguments: { groups } }),
    ]);
    const merged = await list({ model, input: 'x', item, n: 2, combine: 'dedupe' });
    expect(merged).toEqual([
      { name: 'apple', price: 1 },
      { name: 'pear', price: 2 },
      { name: 'fig', price: 3 },
    ]);
  });
});

describe('dedupe', () => {
  const groupsOf = (groups: unknown) => callTools({ name: 'group_items', arguments: { groups } as never });

  it('TM-35 returns every item exactly once, for any groups of the model', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(4), { minLength: 2, maxLength: 12 }), async (colours) => {
        const items = colours.map((colour, i) => ({ i, colour }));
        const members = [...new Set(colours)].map((colour) =>
          items.filter((one) => one.colour === colour).map((one) => one.i),
        );
        const model = scriptedModel([groupsOf(members.map((all) => ({ best: all.at(-1), members: all })))]);
        const groups = await dedupe(items, { model });
        const originals = groups.flatMap((group) => group.originals);
        expect(originals.map((one) => one.i).toSorted((a, b) => a - b)).toEqual(items.map((one) => one.i));
        for (const { originals: same, ...best } of groups) {
          expect(same).toContainEqual(best);
          expect(new Set(same.map((one) => one.colour)).size).toBe(1);
        }
      }),
      { numRuns: 30 },
    );
  });

  it.each([
    [
      'an item in two groups',
      [
        { best: 0, members: [0, 1] },
        { best: 1, members: [1, 2] },
      ],
      '1 is in two groups',
    ],
    ['a missing item', [{ best: 0, members: [0, 1] }], 'no group holds 2'],
    ['an item that does not exist', [{ best: 0, members: [0, 1, 2, 3] }], 'there is no item 3'],
    ['a stranger as the best', [{ best: 2, members: [0, 1] }], '2 is the best of a group'],
  ])('TM-35 refuses %s, and gives up the second time', async (_, groups, message) => {
    const items = [{ a: 1 }, { a: 2 }, { a: 3 }];
    const model = scriptedModel([groupsOf(groups), groupsOf(groups)]);
    await expect(dedupe(items, { model })).rejects.toMatchObject({ code: 'ARGUMENTS_INVALID' });
    expect(model.requests[1]!.messages.at(-1)!.content).toContain(message);
  });

  it('makes no model call for a single item', async () => {
    expect(await dedupe([{ a: 1 }], { model: scriptedModel([]) })).toEqual([{ a: 1, originals: [{ a: 1 }] }]);
  });
});
