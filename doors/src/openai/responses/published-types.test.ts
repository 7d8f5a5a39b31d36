// The objects of this door have the types of the official `openai` library, which the compiler compares. OpenAI's document has no
// conversations; its library has.
import type OpenAI from 'openai';
import { expectTypeOf, test } from 'vitest';
import type { CompactionResource } from './compact.ts';
import type { ConversationResource } from './conversations.ts';
import type { AgentStepItem, Item, ResponseResource } from './resource.ts';

/** Leaves out the items of Fame Fabric's own types. */
type PlainItem = Exclude<Item, AgentStepItem>;

test('items and conversations have the types of the library', () => {
  expectTypeOf<ConversationResource>().toExtend<OpenAI.Conversations.Conversation>();
  expectTypeOf<PlainItem>().toExtend<OpenAI.Conversations.ConversationItem>();
});

test('a response has the status, the error and the usage of the library', () => {
  expectTypeOf<ResponseResource['status']>().toExtend<OpenAI.Responses.ResponseStatus>();
  expectTypeOf<NonNullable<ResponseResource['usage']>>().toExtend<{
    [K in keyof OpenAI.Responses.ResponseUsage]?: unknown;
  }>();
  expectTypeOf<ResponseResource['conversation']>().toExtend<OpenAI.Responses.Response.Conversation | null>();
  expectTypeOf<CompactionResource['output'][number]>().toExtend<OpenAI.Responses.ResponseCompactionItem>();
});
