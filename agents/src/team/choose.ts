// A ready-made agent: a model picks one of several options.
import { z } from 'zod';
import type { Budget } from '../model/budget.ts';
import type { ChatModel } from '../model/model.ts';
import { askWithRepair } from '../strategy/ask-with-repair.ts';
import { ChatMessage } from '../strategy/chat-message.ts';
import { ChatPrompt } from '../strategy/chat-prompt.ts';
import { defineFunction } from '../tools/schema/completion-function.ts';

export interface ChooseOptions<K extends string> {
  model: ChatModel;
  /** The text to choose for. */
  input: string;
  /** A description for each option. */
  options: Readonly<Record<K, string>>;
  /** Instruction for the choice. @default choose the option that fits best */
  prompt?: string | undefined;
  budget?: Budget | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Returns the option that fits `input` best.
 * @throws {TypeError} without options
 * @throws {ARGUMENTS_INVALID} when the model chooses none of the options, also after a repair
 */
export async function choose<K extends string>(o: ChooseOptions<K>): Promise<K> {
  const keys = Object.keys(o.options) as K[];
  if (keys.length === 0) throw new TypeError('`options` is empty: there is nothing to choose from.');
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
