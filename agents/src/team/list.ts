// A ready-made agent: a model writes a list, which is returned as validated items. The list is requested as text, so that any model
// can write it; a fence or a sentence around it is tolerated.
import { z } from 'zod';
import type { Budget } from '../model/budget.ts';
import type { ChatModel, ModelMessage } from '../model/model.ts';
import { askWithRepair } from '../strategy/ask-with-repair.ts';
import { ChatMessage } from '../strategy/chat-message.ts';
import { ChatPrompt } from '../strategy/chat-prompt.ts';
import { StrategyError } from '../strategy/strategy-error.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import { parseLenientJson } from '../tools/schema/lenient-json.ts';
import { dedupe } from './dedupe.ts';

interface Common<S extends z.ZodType> {
  model: ChatModel;
  /** The source text. */
  input: string;
  /** Schema of an item. */
  item: S;
  /** Instruction for the list. @default everything in the message that fits the form of an item */
  prompt?: string | undefined;
  budget?: Budget | undefined;
  signal?: AbortSignal | undefined;
}
export interface ListOptions<S extends z.ZodType> extends Common<S> {
  /** Number of independent lists. @default 1 */
  n?: number | undefined;
  /** How to combine several lists; required if `n` is above 1. `dedupe` asks the model once more. */
  combine?: 'concat' | 'dedupe' | 'separate' | undefined;
}

/**
 * Returns the items that the model lists.
 * @throws {TypeError} when `n` is above 1 and `combine` is missing
 * @throws {ARGUMENTS_INVALID} when a reply is no list of such items, also after a repair
 */
export function list<S extends z.ZodType>(
  o: ListOptions<S> & { combine: 'separate' },
): Promise<z.output<S>[][]>;
export function list<S extends z.ZodType>(o: ListOptions<S>): Promise<z.output<S>[]>;
export async function list<S extends z.ZodType>(o: ListOptions<S>): Promise<z.output<S>[] | z.output<S>[][]> {
  const { n = 1, combine } = o;
  if (n > 1 && !combine) throw new TypeError('Several lists need `combine`: concat, dedupe or separate');
  const lists = await Promise.all(Array.from({ length: n }, () => once(o)));
  if (combine === 'separate') return lists;
  const all = lists.flat();
  if (combine !== 'dedupe') return all;
  const groups = await dedupe(all as JsonObject[], { model: o.model, budget: o.budget, signal: o.signal });
  return groups.map(({ originals: _, ...item }) => item) as z.output<S>[];
}

const MAX_REPAIRS = 1;

/** Some models wrap the list in an object, such as `{"items": [...]}`. Returns the only list in the object. */
function listIn(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const lists = Object.values(value).filter(Array.isArray);
  return lists.length === 1 ? lists[0] : value;
}

async function once<S extends z.ZodType>(o: Common<S>): Promise<z.output<S>[]> {
  const items = z.array(o.item);
  const { $schema: _, ...schema } = z.toJSONSchema(items, { io: 'input' });
  const task = o.prompt ?? 'List everything in the message that fits the form of an item.';
  const form = `Answer with a JSON array and nothing else. Its JSON Schema:\n${JSON.stringify(schema)}`;
  const messages: ModelMessage[] = [ChatMessage.system(`${task}\n\n${form}`), ChatMessage.user(o.input)];
  for (let repairs = 0; ; repairs++) {
    const asked = await askWithRepair(new ChatPrompt({ messages }), {
      model: o.model,
      budget: o.budget,
      signal: o.signal,
    });
    const json = parseLenientJson(asked.text ?? '', 'array');
    const checked = json.ok ? items.safeParse(listIn(json.value)) : undefined;
    if (checked?.success) return checked.data;
    const issues = checked
      ? checked.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }))
      : [{ path: '', message: json.ok ? 'not an array' : json.message }];
    const faults = issues.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
    if (repairs >= MAX_REPAIRS) {
      throw new StrategyError('ARGUMENTS_INVALID', `The list of the model does not fit: ${faults}`, {
        attempts: asked.attempts,
        details: { issues },
      });
    }
    messages.push(
      ChatMessage.assistant(asked.text ?? ''),
      ChatMessage.user(`That list does not fit: ${faults}. Write the whole list again.`),
    );
  }
}
