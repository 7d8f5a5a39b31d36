// A conversation as text for people. Texts of models and users are escaped before they are printed.
import type { ShownConversation, ShownTurn } from '@fame-fabric/agents/internal';
import { escapeControls, escapeLine } from '@fame-fabric/shared/internal';
import { countText } from '../count-text.ts';

/** A turn as its transcript shows it. */
export interface TranscriptTurn extends Pick<ShownTurn, 'user' | 'text' | 'tools' | 'resumes'> {
  state: ShownTurn['state'] | 'input-required';
  error: { code: string; message: string } | undefined;
}

/** A conversation as its transcript shows it. Only a store knows `modelCalls` and `tokens`. */
export interface Transcript
  extends Pick<ShownConversation, 'id' | 'agent' | 'turns' | 'messages' | 'forkedFrom' | 'trashedAt'>,
    Partial<Pick<ShownConversation, 'modelCalls' | 'tokens'>> {
  state: string;
  options: Pick<ShownConversation['options'], 'systemPrompt'>;
  transcript: TranscriptTurn[];
}

// The state is that of the conversation's A2A task, which is `working` until the conversation ends.
export const stateText = (state: string): string => (state === 'working' ? 'open' : state);

/** Formats a conversation. */
export function transcriptOf(shown: Transcript): string {
  const { id, agent, state, turns, modelCalls, tokens, options, transcript, trashedAt, forkedFrom } = shown;
  const counts = [
    countText(turns, 'turn'),
    ...(modelCalls === undefined ? [] : [countText(modelCalls, 'model call')]),
    ...(tokens === undefined ? [] : [countText(tokens, 'token')]),
  ];
  const trash = trashedAt === undefined ? [] : [`in the trash since ${trashedAt}`];
  const fork = forkedFrom ? [`forked from ${forkedFrom.conversationId} at turn ${forkedFrom.turnId}`] : [];
  const facts = [stateText(state), ...counts, ...fork, ...trash];
  const head = escapeLine(`${id} at ${agent}: ${facts.join(', ')}`);
  const system = options.systemPrompt === '' ? [] : [indent('S> ', options.systemPrompt)];
  const start = startText(shown.messages);
  return [head, ...system, ...start, ...transcript.map(turnText)].join('\n\n');
}

/** The messages that the conversation started with, as one paragraph. Results of tools are left out, as in turns. */
function startText(messages: ShownConversation['messages']): string[] {
  if (messages.length === 0) return [];
  const lines = [`   [started with ${countText(messages.length, 'message')}]`];
  for (const message of messages) {
    if (message.role === 'tool') continue;
    if (message.content) lines.push(indent(message.role === 'user' ? 'Q> ' : 'A> ', message.content));
    if (message.role !== 'assistant') continue;
    for (const { function: tool } of message.tool_calls ?? []) {
      lines.push(`   [tool ${escapeLine(tool.name)}]`);
    }
  }
  return [lines.join('\n')];
}

function turnText({ user, text, tools, state, error, resumes }: TranscriptTurn): string {
  const lines = [indent('Q> ', user)];
  for (const { name, ok } of tools) {
    const outcome = ok === undefined ? 'not finished' : ok ? 'ok' : 'failed';
    lines.push(`   [tool ${escapeLine(name)}: ${outcome}]`);
  }
  if (text !== '') lines.push(indent('A> ', text));
  if (state !== 'completed') {
    lines.push(`   [${escapeLine(`${state}${error ? `: ${error.message} (${error.code})` : ''}`)}]`);
  }
  if (resumes > 0) lines.push(`   [resumed ${countText(resumes, 'time')}]`);
  return lines.join('\n');
}

// Indents all lines but the first, so that no text can look like the next turn.
const indent = (mark: string, text: string): string =>
  mark + escapeControls(text).replaceAll(/[\n\u2028\u2029]/g, '\n   ');
