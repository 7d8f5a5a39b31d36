// A ready-made agent: a model groups items that mean the same. The model groups numbers and not items, so the result has exactly the
// items of the input, each once.
import { z } from 'zod';
import type { Budget } from '../model/budget.ts';
import type { ChatModel } from '../model/model.ts';
import { askWithRepair } from '../strategy/ask-with-repair.ts';
import { ChatMessage } from '../strategy/chat-message.ts';
import { ChatPrompt } from '../strategy/chat-prompt.ts';
import { defineFunction } from '../tools/schema/completion-function.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';

const grouping = defineFunction({
  name: 'group_items',
  description:
    'Report which items mean the same. Every number belongs to exactly one group; an item without equals is a group of its own.',
  parameters: z.object({
    groups: z.array(
      z.object({
        best: z.int().min(0).describe('Number of the clearest and most complete item of the group'),
        members: z
          .array(z.int().min(0))
          .min(1)
          .describe('Numbers of all items of the group, the best one included'),
      }),
    ),
  }),
});

/**
 * Returns one item for each meaning, the best of its group, with the whole group as `originals`. Groups keep the order of their
 * first items.
 * @throws {ARGUMENTS_INVALID} when the groups do not hold every item exactly once, also after a repair
 */
export async function dedupe<T extends JsonObject>(
  items: readonly T[],
  o: {
    model: ChatModel;
    prompt?: string | undefined;
    budget?: Budget | undefined;
    signal?: AbortSignal | undefined;
  },
): Promise<(T & { originals: T[] })[]> {
  if (items.length < 2) return items.map((item) => ({ ...item, originals: [item] }));
  const task = o.prompt ?? 'Find the items that have the same meaning, even in different words.';
  const lines = items.map((item, i) => `${i}: ${JSON.stringify(item)}`).join('\n');
  const asked = await askWithRepair(
    new ChatPrompt({ messages: [ChatMessage.system(task), ChatMessage.user(lines)], functions: [grouping] }),
    {
      model: o.model,
      exactlyOne: true,
      refusal: 'ARGUMENTS_INVALID',
      accept: ([move]) => partitionFault((move!.args as Groups).groups, items.length),
      budget: o.budget,
      signal: o.signal,
    },
  );
  return asked.calls[0]!.args.groups.map(({ best, members }) => ({
    best,
    members: members.toSorted((a, b) => a - b),
  }))
    .toSorted((a, b) => a.members[0]! - b.members[0]!)
    .map(({ best, members }) => ({ ...items[best]!, originals: members.map((i) => items[i]!) }));
}

interface Groups {
  groups: { best: number; members: number[] }[];
}

function partitionFault(groups: Groups['groups'], count: number): string | undefined {
  const seen = new Set<number>();
  for (const { best, members } of groups) {
    if (!members.includes(best)) return `${best} is the best of a group that it does not belong to`;
    for (const member of members) {
      if (member >= count) return `there is no item ${member}; the last one is ${count - 1}`;
      if (seen.has(member)) return `${member} is in two groups`;
      seen.add(member);
    }
  }
  const missing = Array.from({ length: count }, (_, i) => i).filter((i) => !seen.has(i));
  return missing.length > 0 ? `no group holds ${missing.slice(0, 20).join(', ')}` : undefined;
}
