// One conversation: its messages, its settings and the composer.
import { newId } from '@fame-fabric/shared';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { href, navigate } from '../../app/router.ts';
import type { ChatAgent } from '../../fabric/conversation/chat-agents.ts';
import { ConversationFeed, type FeedView } from '../../fabric/conversation/feed.ts';
import { isOver, type Turn } from '../../fabric/conversation/turns.ts';
import { Button } from '../../parts/form.tsx';
import { visibleText } from '../../parts/markdown.tsx';
import { Problem } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';
import { Composer } from './composer.tsx';
import { continueElsewhere, takeFirstMessage } from './first-message.ts';
import { Messages } from './messages.tsx';
import { SystemPrompt } from './system-prompt.tsx';

/** On a touch screen the focus of a field would open the keyboard. */
const hasTouch = matchMedia('(pointer: coarse)').matches;

export interface ChatProps {
  address: string;
  id: string;
  agents: readonly ChatAgent[];
}

export function Chat({ address, id, agents }: ChatProps) {
  const feed = useMemo(() => new ConversationFeed(address, id), [address, id]);
  const [error, setError] = useState<unknown>();
  const input = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    const first = takeFirstMessage(id);
    if (first) {
      feed.systemPrompt = first.systemPrompt ?? '';
      feed.send(first.text);
    }
    return () => feed.stop();
  }, [feed, id]);
  const view = feed.view.value;
  const running = view.turns.find((turn) => !isOver(turn));
  const isNew = view.turns.length === 0 && view.pending.length === 0 && view.start === undefined;

  /** Sends `text` in place of the message of `turn`, in a conversation that has the turns before it. */
  const replace = async (turn: Turn, text: string): Promise<void> => {
    try {
      setError(undefined);
      navigate(['talk', address, await continueElsewhere(feed, view, turn, text)]);
    } catch (failure) {
      setError(failure);
    }
  };
  const agent = agents.find((one) => one.address === address);
  return (
    <Page
      title="Talk"
      isFull
      focus={hasTouch ? undefined : input}
      actions={<Actions address={address} id={id} agents={agents} isNew={isNew} />}
    >
      <div class="talk">
        <Messages feed={feed} view={view} onReplace={replace}>
          <SystemPrompt feed={feed} view={view} isNew={isNew} agent={agent} />
          {isNew && agent?.model === 'offline' && <OfflineNotice />}
        </Messages>
        <Notices view={view} error={error} onRetry={() => feed.retry()} />
        <Composer
          ref={input}
          key={id}
          conversationId={id}
          agent={address}
          isEnded={view.status === 'ended'}
          isRunning={running !== undefined || view.pending.some((message) => message.error === undefined)}
          onSend={(text) => feed.send(text)}
          onStop={() => {
            const target = running?.id ?? view.pending[0]?.turnId;
            if (target !== undefined) feed.cancel(target);
          }}
        />
      </div>
    </Page>
  );
}

interface ActionsProps extends ChatProps {
  isNew: boolean;
}

function Actions({ address, id, agents, isNew }: ActionsProps) {
  const known = agents.some((agent) => agent.address === address);
  return (
    <>
      <label class="talk-agent">
        <span class="hidden-text">Agent</span>
        <select
          value={address}
          onChange={({ currentTarget }) => navigate(['talk', currentTarget.value, newId()])}
        >
          {!known && <option value={address}>{visibleText(address)}</option>}
          {agents.map((agent) => (
            <option key={agent.address} value={agent.address}>
              {visibleText(agent.address)}
              {agent.model ? ` (${visibleText(agent.model)})` : ''}
            </option>
          ))}
        </select>
      </label>
      {!isNew && (
        <a class="button" href={href('conversations', address, id)}>
          Timeline
        </a>
      )}
      <Button disabled={isNew} onClick={() => navigate(['talk', address, newId()])}>
        New
      </Button>
    </>
  );
}

const OfflineNotice = () => (
  <p class="talk-hint">
    The built-in offline model answers. For a real one, set <code>OPENAI_API_KEY</code> and restart the agent
    with <code>make start</code>.
  </p>
);

function Notices({ view, error, onRetry }: { view: FeedView; error: unknown; onRetry: () => void }) {
  const { status, actionError, isOnlyHere } = view;
  return (
    <div class="talk-notices">
      {status === 'away' && (
        <p class="talk-away" role="status">
          The agent does not answer. The page waits for it, and the conversation continues where it was.
        </p>
      )}
      {status === 'failed' && <Problem error={view.error} onRetry={onRetry} />}
      {status === 'ended' && (
        <p class="talk-hint">This conversation has ended. Start a new one, or edit a message.</p>
      )}
      {isOnlyHere && (
        <p class="talk-hint">
          This agent keeps no events. Only this page shows the conversation, and a reload forgets it.
        </p>
      )}
      {actionError !== undefined && <Problem error={actionError} />}
      {error !== undefined && <Problem error={error} />}
    </div>
  );
}
