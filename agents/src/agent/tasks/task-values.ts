// Converts the values that a task's code passes or returns into messages and artifacts.
import { type Artifact, type Message, textMessage } from '@fame-fabric/shared';
import type { TaskHandle } from './task-types.ts';

export const messageOf = (message: string | Message): Message =>
  typeof message === 'string' ? textMessage('agent', message) : message;

const isMessage = (value: object): value is Message =>
  'role' in value && 'parts' in value && Array.isArray(value.parts);

/** Returns the final message of a task with this result. */
export function resultMessage(result: unknown): Message | undefined {
  if (result === undefined || result === null) return undefined;
  if (typeof result === 'string') return textMessage('agent', result);
  if (typeof result === 'object' && isMessage(result)) return result;
  const data =
    typeof result === 'object' && !Array.isArray(result) ? (result as Record<string, unknown>) : { result };
  return { role: 'agent', parts: [{ type: 'data', data }] };
}

/** Converts a progress value to an artifact. `index` applies if the value has none. */
export function artifactOf(value: Parameters<TaskHandle['progress']>[0], index: number): Artifact {
  if (typeof value === 'string') return { parts: [{ type: 'text', text: value }], index };
  if ('parts' in value && Array.isArray(value.parts)) return { index, ...value } as Artifact;
  return { parts: [{ type: 'data', data: value as Record<string, unknown> }], index };
}
