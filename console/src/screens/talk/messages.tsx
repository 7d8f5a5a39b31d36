// The messages of a conversation, oldest first. The list follows the end while it is in view.
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { href } from '../../app/router.ts';
import type { ConversationFeed, FeedView, PendingMessage } from '../../fabric/conversation/feed.ts';
import { isOver, type Start, type Turn } from '../../fabric/conversation/turns.ts';
import { Button } from '../../parts/form.tsx';
import { Markdown, PlainText, visibleText } from '../../parts/markdown.tsx';
import { Problem } from '../../parts/notices.tsx';
import { TurnView } from './turn-view.tsx';

export interface MessagesProps {
  feed: ConversationFeed;
  view: FeedView;
  /** Sends a text in place of the message of a turn. */
  onReplace: (turn: Turn, text: string) => void;
  /** Shown before the first message. */
  children: ComponentChildren;
}

/** Turns that are shown at first. */
const SHOWN_TURNS = 50;
/** Distance from the end at which the list still follows, in pixels. */
const NEAR_END = 80;

export function Messages({ feed, view, onReplace, children }: MessagesProps) {
  const { turns, pending, start, status, leftOut } = view;
  const [count, setCount] = useState(SHOWN_TURNS);
  const list = useRef<HTMLDivElement>(null);
  const isFollowing = useRef(true);
  const sent = useRef(0);
  if (pending.length > sent.current) isFollowing.current = true;
  sent.current = pending.length;
  useLayoutEffect(() => {
    const box = list.current;
    if (box && isFollowing.current) box.scrollTop = box.scrollHeight;
  });
  const shown = turns.slice(-count);
  const hidden = turns.length - shown.length;
  return (
    <section
      ref={list}
      class="messages"
      aria-label="Messages"
      aria-busy={status === 'connecting'}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: the list scrolls, also by the keyboard
      tabIndex={0}
      onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
        isFollowing.current = scrollHeight - scrollTop - clientHeight < NEAR_END;
      }}
    >
      {children}
      {start && <Beginning address={feed.address} start={start} />}
      {leftOut > 0 && <p class="talk-hint">{leftOut} older turns are not shown.</p>}
      {hidden > 0 && <Button onClick={() => setCount(count + 200)}>Show earlier turns ({hidden})</Button>}
      {shown.map((turn, index) => {
        const before = shown[index - 1];
        return (
          <TurnView
            key={turn.id}
            turn={turn}
            feed={feed}
            isLast={index === shown.length - 1 && pending.length === 0}
            canReplace={before === undefined ? hidden === 0 : isOver(before)}
            onReplace={onReplace}
          />
        );
      })}
      {pending.map((message) => (
        <Pending key={message.turnId} feed={feed} message={message} />
      ))}
    </section>
  );
}

/** The origin of a fork and the messages that the conversation began with. */
function Beginning({ address, start: { messages, forkedFrom } }: { address: string; start: Start }) {
  const texts = messages.flatMap(({ role, content }) =>
    (role === 'user' || role === 'assistant') && content ? [{ role, content }] : [],
  );
  return (
    <>
      {texts.map(({ role, content }, index) => (
        <div key={index} class={role === 'user' ? 'message-user' : 'message-answer'}>
          {role === 'user' ? <PlainText text={content} /> : <Markdown text={content} />}
        </div>
      ))}
      {forkedFrom && (
        <p class="talk-divider">
          Forked from{' '}
          <a href={href('talk', address, forkedFrom.conversation_id)}>
            {visibleText(forkedFrom.conversation_id)}
          </a>
        </p>
      )}
    </>
  );
}

function Pending({
  feed,
  message: { turnId, text, error },
}: {
  feed: ConversationFeed;
  message: PendingMessage;
}) {
  return (
    <article class="turn" aria-label="Message on its way">
      <div class="message-user message-pending">
        <PlainText text={text} />
      </div>
      {error === undefined ? (
        <p class="muted turn-facts">Sending…</p>
      ) : (
        <>
          <Problem
            error={error}
            onRetry={() => {
              feed.discard(turnId);
              feed.send(text);
            }}
          />
          <Button kind="quiet" onClick={() => feed.discard(turnId)}>
            Discard
          </Button>
        </>
      )}
    </article>
  );
}
