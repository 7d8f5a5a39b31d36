// A chat with one agent. The id of the conversation is in localStorage, so a reload and a second tab show the same conversation.
import { useConversation } from '@fame-fabric/react';
import { useState } from 'react';
import { Composer } from './composer.tsx';
import { MessageItem } from './message-item.tsx';
import { address, suggestions, url } from './settings.ts';
import { Notice, Status } from './status.tsx';

const KEY = 'fame-conversation';
function newConversationId(): string {
  const id = crypto.randomUUID();
  localStorage.setItem(KEY, id);
  return id;
}

export function App() {
  const [conversationId, setConversationId] = useState(
    () => localStorage.getItem(KEY) ?? newConversationId(),
  );
  const chat = useConversation({ url, address, conversationId });
  const last = chat.messages.at(-1);
  return (
    <main className="page">
      <header className="bar">
        <h1>{address}</h1>
        <Status status={chat.status} />
        <button type="button" className="quiet" onClick={() => setConversationId(newConversationId())}>
          New chat
        </button>
        {chat.error && (
          <Notice error={chat.error} onRetry={chat.status === 'failed' ? chat.retry : undefined} />
        )}
      </header>
      <div className="scroller">
        <ol className="log" role="log" aria-label="Messages">
          {chat.messages.map((message) => (
            <MessageItem
              key={message.id}
              message={message}
              approvals={chat.approvals}
              onAnswer={chat.answerApproval}
              onRetry={message === last ? chat.retry : undefined}
            />
          ))}
        </ol>
        {chat.messages.length === 0 && <Welcome onChoose={chat.send} />}
      </div>
      <Composer
        isAnswering={chat.isAnswering}
        isDisabled={chat.status === 'ended'}
        onSend={chat.send}
        onCancel={chat.cancel}
      />
    </main>
  );
}

function Welcome({ onChoose }: { onChoose: (text: string) => void }) {
  return (
    <section className="welcome" aria-label="Suggestions">
      <h2>What would you like to know?</h2>
      {suggestions.map((text) => (
        <button type="button" key={text} onClick={() => onChoose(text)}>
          {text}
        </button>
      ))}
    </section>
  );
}
