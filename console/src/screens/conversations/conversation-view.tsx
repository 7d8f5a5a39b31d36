// One conversation as a timeline of its turns. It follows the conversation, so a turn that runs grows on the screen.
import { useEffect, useMemo, useState } from 'preact/hooks';
import { href, navigate } from '../../app/router.ts';
import { client } from '../../fabric/connection.ts';
import { ConversationFeed, type FeedView } from '../../fabric/conversation/feed.ts';
import { isOver, type Turn } from '../../fabric/conversation/turns.ts';
import { mayWatch } from '../../fabric/session.ts';
import { Button } from '../../parts/form.tsx';
import { PlainText, visibleText } from '../../parts/markdown.tsx';
import { Empty, Problem } from '../../parts/notices.tsx';
import { Facts, Page, Panel } from '../../parts/page.tsx';
import { Count, Money } from '../../parts/values.tsx';
import { CompareForm } from './compare-form.tsx';
import { type ExportFormat, exportConversation } from './export.ts';
import { totalsOf } from './totals.ts';
import { TurnCard } from './turn-card.tsx';

/** Turns that are shown at first, latest last. */
const SHOWN_TURNS = 30;
/** Time between two steps of a bar that is open, in ms. */
const TICK_MS = 200;

/** Follows a conversation while the component is mounted. */
export function useFeed(address: string, id: string): ConversationFeed {
  const feed = useMemo(() => new ConversationFeed(address, id), [address, id]);
  useEffect(() => () => feed.stop(), [feed]);
  return feed;
}

/** The time; it moves while `isRunning`. */
function useNow(isRunning: boolean): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    setNow(Date.now());
    if (!isRunning) return undefined;
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, [isRunning]);
  return now;
}

export interface ConversationViewProps {
  address: string;
  id: string;
  /** Id of the turn whose details are open at first. */
  openTurn: string | undefined;
}

export function ConversationView({ address, id, openTurn }: ConversationViewProps) {
  const feed = useFeed(address, id);
  const view = feed.view.value;
  const { turns, start } = view;
  const openIndex = turns.findIndex((turn) => turn.id === openTurn);
  const [count, setCount] = useState(SHOWN_TURNS);
  const shownCount = openIndex < 0 ? count : Math.max(count, turns.length - openIndex);
  const shown = turns.slice(-shownCount);
  const hidden = turns.length - shown.length;
  const now = useNow(turns.some((turn) => !isOver(turn)));
  const [error, setError] = useState<unknown>();
  const run = (action: () => Promise<void>): void => {
    setError(undefined);
    action().catch(setError);
  };
  const fork = (turn: Turn): void => run(async () => navigate(['talk', address, await feed.fork(turn.id)]));
  const save = (format: ExportFormat): void =>
    run(async () => {
      if (client.value) await exportConversation(client.value, address, id, format);
    });
  return (
    <Page
      title="Conversation"
      actions={
        <>
          <a class="button" href={href('conversations')}>
            All conversations
          </a>
          {mayWatch.value && (
            <a class="button" href={href('trace', 'conversation', address, id)}>
              Messages
            </a>
          )}
          <Button onClick={() => save('json')}>Export JSON</Button>
          <Button onClick={() => save('markdown')}>Export Markdown</Button>
          {view.status !== 'ended' && (
            <a class="button button-main" href={href('talk', address, id)}>
              Continue in Talk
            </a>
          )}
        </>
      }
    >
      <Overview address={address} id={id} view={view} />
      {error !== undefined && <Problem error={error} />}
      {view.status === 'away' && <p class="away">The agent does not answer. The page waits for it.</p>}
      {view.status === 'failed' && <Problem error={view.error} onRetry={() => feed.retry()} />}
      {view.status === 'connecting' && <p class="muted">Loading…</p>}
      {view.status === 'new' && <Empty title="The agent does not have this conversation" />}
      {start && turns.length === 0 && view.status === 'ready' && <Empty title="No turn yet" />}
      {view.leftOut > 0 && <p class="muted">{view.leftOut} older turns are not shown.</p>}
      {hidden > 0 && (
        <Button onClick={() => setCount(shownCount + 200)}>Show earlier turns ({hidden})</Button>
      )}
      {shown.map((turn, index) => (
        <TurnCard
          key={turn.id}
          turn={turn}
          number={view.leftOut + hidden + index + 1}
          now={isOver(turn) ? 0 : now}
          address={address}
          conversationId={id}
          isOpen={turn.id === openTurn}
          onFork={fork}
        />
      ))}
      {turns.length > 0 && (
        <CompareForm address={address} id={id} origin={start?.forkedFrom?.conversation_id} />
      )}
    </Page>
  );
}

function Overview({
  address,
  id,
  view: { turns, start, status },
}: {
  address: string;
  id: string;
  view: FeedView;
}) {
  const { tokens, cost } = totalsOf(turns);
  const origin = start?.forkedFrom;
  return (
    <Panel class="overview">
      <Facts
        facts={{
          Agent: <a href={href('agents', address)}>{visibleText(address)}</a>,
          Conversation: <code>{visibleText(id)}</code>,
          State: status === 'ready' ? 'open' : status,
          Started: start && new Date(start.at).toLocaleString(),
          Turns: <Count value={turns.length} />,
          Tokens: tokens > 0 ? <Count value={tokens} /> : undefined,
          Cost: cost ? <Money {...cost} /> : 'unknown: the agent has no FAME_PRICES_FILE',
          'Forked from': origin && (
            <>
              <a
                href={`${href('conversations', address, origin.conversation_id)}/${encodeURIComponent(origin.turn_id)}`}
              >
                {visibleText(origin.conversation_id)}
              </a>
              {', '}
              <a href={href('conversations', address, id, 'compare', origin.conversation_id)}>compare</a>
            </>
          ),
        }}
      />
      {start?.systemPrompt && (
        <details>
          <summary>System prompt</summary>
          <PlainText text={start.systemPrompt} />
        </details>
      )}
    </Panel>
  );
}
