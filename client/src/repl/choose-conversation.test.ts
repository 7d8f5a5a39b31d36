import { expect, test } from 'vitest';
import { type ChooseOptions, chooseConversation } from './choose-conversation.ts';

const MINUTE = 60_000;
const all = [
  {
    id: 'b',
    address: 'chat@fame.fabric',
    title: 'About the weather',
    changedAt: 0,
    open: { turnId: 't', text: 'x' },
  },
  { id: 'a', address: 'other@fame.fabric', title: 'My name is \u001b[31mAda', changedAt: -180 * MINUTE },
];
const choose = (more: Partial<ChooseOptions>) => {
  let notes = '';
  const writeNote = (text: string): void => {
    notes += text;
  };
  const chosen = chooseConversation({
    saved: all,
    id: undefined,
    address: undefined,
    defaultAddress: 'chat@fame.fabric',
    now: 5 * MINUTE,
    writeNote,
    ...more,
  });
  return { chosen, notes: () => notes };
};

test('prints the list; the user picks by number or id, and Enter picks the latest', async () => {
  const listed = choose({ prompt: async () => '2' });
  expect(await listed.chosen).toMatchObject({ id: 'a', address: 'other@fame.fabric' });
  expect(listed.notes()).toMatch(/1 {2}About the weather \(5 min ago, answer pending\) b/);
  expect(listed.notes()).toContain('(3 h ago) a');
  expect(listed.notes()).not.toContain('\u001b');
  expect(await choose({ prompt: async () => '' }).chosen).toMatchObject({ id: 'b' });
  expect(await choose({ prompt: async () => 'a' }).chosen).toMatchObject({ id: 'a' });
  const replies = ['7', '0', ' 1 '];
  const wrong = choose({ prompt: async () => replies.shift()! });
  expect(await wrong.chosen).toMatchObject({ id: 'b' });
  expect(wrong.notes()).toContain('"7" is not in the list: 1 to 2, or an id.\n"0" is not in the list');
});

test('without a terminal it picks the latest, of the address if one was given', async () => {
  expect(await choose({}).chosen).toMatchObject({ id: 'b' });
  expect(await choose({ address: 'other@fame.fabric' }).chosen).toMatchObject({ id: 'a' });
});

test('takes a given id, whether or not this machine saved it', async () => {
  expect(await choose({ id: 'a' }).chosen).toMatchObject({ id: 'a', address: 'other@fame.fabric' });
  expect(await choose({ id: 'z' }).chosen).toEqual({ id: 'z', address: 'chat@fame.fabric' });
});

test('fails if no conversation was saved', async () => {
  await expect(choose({ saved: [] }).chosen).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
});
