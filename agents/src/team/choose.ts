// A ready-made agent: has a model pick one of several options, and nothing else.
import { z } from 'zod';
import type { Budget } from '../model/budget.ts';
import type { ChatModel } from '../model/model.ts';
import { askWithRepair } from '../strategy/ask-with-repair.ts';
import { ChatMessage } from '../strategy/chat-message.ts';
import { ChatPrompt } from '../strategy/chat-prompt.ts';
import { defineFunction } from '../tools/schema/completion-function.ts';

export interface ChooseOptions<K extends string> {
  model: ChatModel;
  /** What the choice is about. */
  input: string;
  /** A description for each option. */
  options: Readonly<Record<K, string>>;
  /** What to choose by. @default by what fits best */
  prompt?: string;
  budget?: Budget;
  signal?: AbortSignal;
}

/**
 * The option that fits `input` best, and no other word.
 * @throws {TypeError} without options
 * @throws {ARGUMENTS_INVALID} when the model answers beside the options, also after it was told
 */
export async function choose<K extends string>(o: ChooseOptions<K>): Promise<K> {
  const keys = Object.keys(o.options) as K[];
  if (keys.length === 0) throw new TypeError('There is nothing to choose from');
  const choice = defineFunction({
    name: 'choose_option',
    description: 'Report the option that fits best.',
    parameters: z.object({ option: z.enum(keys as [K, ...K[]]) }),
  });
  const list = keys.map((key) => `- ${key}: ${o.options[key]}`).join('\n');
  const task = o.prompt ?? 'Choose the option that fits the message best.';
  const asked = await askWithRepair(
    new ChatPrompt({
      messages: [ChatMessage.system(`${task}\n\nOptions:\n${list}`), ChatMessage.user(o.input)],
      functions: [choice],
    }),
    {
      model: o.model,
      exactlyOne: true,
      budget: o.budget,
      signal: o.signal,
    },
  );
  return asked.calls[0]!.args.option;
}
