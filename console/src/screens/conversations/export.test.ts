import type { ConversationEvent } from '@fame-fabric/client';
import { expect, test } from 'vitest';
import { jsonOf, markdownOf } from './export.ts';

const at = '2026-01-01T00:00:00.000Z';
const EVENTS = [
  { type: 'started', seq: 1, at, system_prompt: 'Be brief.' },
  { type: 'turn', seq: 2, at, turn_id: 't', user_message: 'Hi\n# No heading' },
  { type: 'tool_call', seq: 3, at, turn_id: 't', id: 'c', name: 'look' },
  { type: 'tool_result', seq: 4, at, turn_id: 't', id: 'c', name: 'look', ok: true },
  { type: 'text', seq: 5, at, turn_id: 't', text: 'Hello.' },
  { type: 'done', seq: 6, at, turn_id: 't', text: 'Hello.' },
] as ConversationEvent[];

test('the JSON file has every event', () => {
  expect(JSON.parse(jsonOf('chat@fame.fabric', 'c1', EVENTS))).toEqual({
    agent: 'chat@fame.fabric',
    conversation_id: 'c1',
    events: EVENTS,
  });
});

test('the Markdown file has the messages as blocks, which keep its structure', () => {
  expect(markdownOf('chat@fame.fabric', 'c1', EVENTS)).toBe(
    [
      '# Conversation c1',
      'Agent: chat@fame.fabric',
      '## System prompt',
      '    Be brief.',
      `## User, ${at}`,
      '    Hi\n    # No heading',
      'Tool `look`: done',
      '## Agent, completed',
      '    Hello.\n',
    ].join('\n\n'),
  );
});
