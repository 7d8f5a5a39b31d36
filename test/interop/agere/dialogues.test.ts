// Our program of the Agere tutorial in the dialogues that `npm run interop-agere` also holds with Agere itself.
import { describe, expect, test } from 'vitest';
import { DIALOGUES } from './dialogues.ts';
import { hold, ours } from './hold.ts';

describe.concurrent('the tutorial of Agere', () => {
  test.each(DIALOGUES)('$name', async (dialogue) => {
    expect(await hold(dialogue, ours)).toEqual(dialogue.transcript);
  });
});
