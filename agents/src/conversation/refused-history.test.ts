import { FabricError } from '@fame-fabric/shared';
import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { ModelMessage } from '../model/model.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { callTools, lastUser, type ScriptedModel, type ScriptReply, scriptedModel } from '../testing.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { ChatTurns } from '../turn/chat-turns.ts';
import { LEFT_OUT_NOTICE } from '../turn/journaled-model.ts';
import type { TurnOutcome } from './conversation.ts';
import { ConversationHost } from './host.ts';

const hosts: ConversationHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

const look = tool({
  name: 'look',
  description: 'Looks.',
  parameters: z.object({ at: z.string() }),
  execute: ({ at }) => `saw ${at}`,
});

/** A model whose server refuses requests that contain one of the texts. */
function pickyModel(refused: string[], first: readonly ScriptReply[] = []): ScriptedModel {
  return scriptedModel([
    {
      when: ({ messages }) => refused.some((text) => JSON.stringify(messages).includes(text)),
      steps: [{ fail: new FabricError('MODEL_REFUSED', 'The model server refused the request.') }],
      times: Number.POSITIVE_INFINITY,
    },
    ...first,
    { steps: ['fine'], times: Number.POSITIVE_INFINITY },
  ]);
}

async function chat(model: ScriptedModel, store = new MemoryStore()) {
  const runner = new ChatTurns({ model, tools: new ToolSet([look]) });
  const host = new ConversationHost({ runner, store, agent: 'chat@fame.fabric' });
  hosts.push(host);
  const say = async (text: string): Promise<TurnOutcome> =>
    (await host.turn({ conversationId: 'c', turnId: text, userMessage: text })).outcome;
  return { host, store, say };
}
const begin = (host: ConversationHost) =>
  host.start({
    id: 'c',
    callId: 's',
    options: { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue' },
  });
const texts = (messages: readonly ModelMessage[]) => messages.map(({ content }) => content);
const lastRequest = (model: ScriptedModel) => texts(model.requests.at(-1)!.messages);

describe('a history that the model server refuses', () => {
  test('the second refused turn asks again without the last turn, and says so', async () => {
    const refused: string[] = [];
    const model = pickyModel(refused);
    const { host, store, say } = await chat(model);
    await begin(host);
    await say('one');
    await say('poison');
    refused.push('poison');
    expect(await say('three')).toMatchObject({ state: 'failed', error: { code: 'MODEL_REFUSED' } });
    expect(await say('four')).toMatchObject({ state: 'completed', text: `fine\n\n${LEFT_OUT_NOTICE}` });
    expect(lastRequest(model)).toEqual(['Be brief.', 'one', 'fine', 'four']);
    const count = model.count;
    expect(await say('five')).toMatchObject({ state: 'completed', text: 'fine' });
    expect(model.count).toBe(count + 1);
    expect(lastRequest(model)).toEqual(['Be brief.', 'one', 'fine', 'four', 'fine', 'five']);

    await host.close();
    const again = await chat(model, store);
    expect(await again.say('six')).toMatchObject({ state: 'completed', text: 'fine' });
    expect(lastRequest(model).slice(0, 4)).toEqual(['Be brief.', 'one', 'fine', 'four']);
  });

  test('turns with calls are left out if the last turn is not the reason', async () => {
    const refused: string[] = [];
    const model = pickyModel(refused, [callTools({ name: 'look', arguments: { at: 'poison' } })]);
    const { host, say } = await chat(model);
    await begin(host);
    for (const text of ['one', 'two', 'three']) await say(text);
    refused.push('poison');
    await say('four');
    expect(await say('five')).toMatchObject({ state: 'completed' });
    expect(lastRequest(model)).toEqual(['Be brief.', 'two', 'fine', 'three', 'fine', 'five']);
  });

  test('a message that is refused without any history leaves the history as it is', async () => {
    const model = pickyModel(['bad']);
    const { host, say } = await chat(model);
    await begin(host);
    await say('one');
    expect(await say('bad 1')).toMatchObject({ state: 'failed' });
    expect(await say('bad 2')).toMatchObject({ state: 'failed', error: { code: 'MODEL_REFUSED' } });
    expect(await say('two')).toMatchObject({ state: 'completed', text: 'fine' });
    expect(lastRequest(model)).toEqual(['Be brief.', 'one', 'fine', 'two']);
  });

  test('later requests of the same turn lack the turns too', async () => {
    const refused: string[] = [];
    const calls = callTools({ name: 'look', arguments: { at: 'it' } }, { when: lastUser('three') });
    const model = pickyModel(refused, [calls]);
    const { host, say } = await chat(model);
    await begin(host);
    await say('poison');
    refused.push('poison');
    await say('two');
    expect(await say('three')).toMatchObject({ state: 'completed' });
    expect(lastRequest(model)).toEqual(['Be brief.', 'three', null, 'saw it']);
  });

  test('a turn whose calls were all refused is not kept when it fails', async () => {
    const model = scriptedModel([
      callTools({ name: 'nothing', arguments: { at: 'it' } }),
      { steps: [{ fail: new FabricError('MODEL_REFUSED', 'refused') }] },
      { steps: ['fine'] },
    ]);
    const { host, say } = await chat(model);
    await begin(host);
    expect(await say('one')).toMatchObject({ state: 'failed' });
    expect(await say('two')).toMatchObject({ state: 'completed', text: 'fine' });
    expect(lastRequest(model)).toEqual(['Be brief.', 'two']);
  });
});
