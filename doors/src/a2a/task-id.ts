// Ids of the tasks of chat agents. A task is a turn, so its id names the conversation and the turn.
import { decodeId, encodeId } from '../shared/opaque-id.ts';

const PREFIX = 'task_';

export interface TurnRef {
  readonly conversation: string;
  readonly turn: string;
}

/** Returns the id of the task of a turn. */
export const taskIdOf = (agent: string, { conversation, turn }: TurnRef): string =>
  encodeId(PREFIX, { agent, conversation, turn });

/** Reads the id of a task. Returns undefined for other texts, and for a task of another agent. */
export function turnRefOf(agent: string, taskId: string): TurnRef | undefined {
  const id = decodeId(PREFIX, taskId);
  if (id?.agent !== agent || id.turn === undefined) return undefined;
  return { conversation: id.conversation, turn: id.turn };
}
