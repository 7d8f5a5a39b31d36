// The system prompt of a conversation: editable before the first message, shown afterwards.
import { useState } from 'preact/hooks';
import type { ChatAgent } from '../../fabric/conversation/chat-agents.ts';
import type { ConversationFeed, FeedView } from '../../fabric/conversation/feed.ts';
import { Field } from '../../parts/form.tsx';
import { PlainText } from '../../parts/markdown.tsx';

export interface SystemPromptProps {
  feed: ConversationFeed;
  view: FeedView;
  isNew: boolean;
  agent: ChatAgent | undefined;
}

export function SystemPrompt({ feed, view, isNew, agent }: SystemPromptProps) {
  const [text, setText] = useState('');
  if (isNew) {
    return (
      <details class="talk-prompt">
        <summary>System prompt</summary>
        <Field label="System prompt of this conversation" hint="Empty: the prompt of the agent.">
          {(control) => (
            <textarea
              {...control}
              rows={4}
              value={text}
              placeholder={agent?.systemPrompt}
              onInput={({ currentTarget }) => {
                feed.systemPrompt = currentTarget.value;
                setText(currentTarget.value);
              }}
            />
          )}
        </Field>
      </details>
    );
  }
  const prompt = view.start?.systemPrompt;
  if (!prompt) return null;
  return (
    <details class="talk-prompt">
      <summary>System prompt</summary>
      <PlainText text={prompt} />
    </details>
  );
}
