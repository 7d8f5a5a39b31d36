// Calls that a turn hands to its caller. They stay open until the next turn brings their results.
import { FabricError } from '@fame-fabric/shared';
import type { ModelMessage } from '../model/model.ts';
import type { ToolResult } from './turn-options.ts';

/** Number of ids in the text of an error. */
const SHOWN_IDS = 8;

/** Ids of the calls that `messages` leave without a result. */
export function openCallsOf(messages: readonly ModelMessage[]): string[] {
  const from = messages.findLastIndex(({ role }) => role === 'assistant');
  const last = messages[from];
  if (last?.role !== 'assistant') return [];
  const answered = new Set(
    messages.slice(from + 1).flatMap((message) => (message.role === 'tool' ? [message.tool_call_id] : [])),
  );
  return (last.tool_calls ?? []).map(({ id }) => id).filter((id) => !answered.has(id));
}

/**
 * The fault of results that do not answer each open call once: PARAMS_INVALID with the ids of the open calls in `details.calls`.
 * `undefined` if there is none.
 */
export function resultsFault(
  open: readonly string[],
  results: readonly ToolResult[],
): FabricError | undefined {
  const left = new Set(open);
  for (const [i, { tool_call_id: id }] of results.entries()) {
    if (left.delete(id)) continue;
    const fault = open.includes(id) ? 'is answered twice' : 'is not an open call';
    return invalid(`tool_results.${i}.tool_call_id: "${id}" ${fault}.`, open);
  }
  if (left.size === 0) return undefined;
  const ids = [...left];
  const shown = ids.slice(0, SHOWN_IDS).join(', ');
  const more = ids.length > SHOWN_IDS ? ` and ${ids.length - SHOWN_IDS} more` : '';
  return invalid(`tool_results: The previous turn called tools of the caller. Answer ${shown}${more}.`, open);
}

const invalid = (fault: string, calls: readonly string[]): FabricError =>
  new FabricError('PARAMS_INVALID', fault, { details: { calls } });
