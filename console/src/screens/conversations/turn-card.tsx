// One turn of the timeline: its message, its bars, and its details on demand.
import { memo } from 'preact/compat';
import { useEffect, useRef, useState } from 'preact/hooks';
import { timelineOf } from '../../fabric/conversation/bars.ts';
import { isOver, type Turn } from '../../fabric/conversation/turns.ts';
import { Button } from '../../parts/form.tsx';
import { visibleText } from '../../parts/markdown.tsx';
import { Count, Duration, Money } from '../../parts/values.tsx';
import { Bars } from './bars-view.tsx';
import { stateTag } from './states.tsx';
import { TurnDetails } from './turn-details.tsx';

export interface TurnCardProps {
  turn: Turn;
  /** Position in the conversation, from 1. */
  number: number;
  /** The time for a turn that runs, in ms since the epoch; 0 for one that is over. */
  now: number;
  address: string;
  conversationId: string;
  isOpen: boolean;
  onFork: (turn: Turn) => void;
}

const MAX_TITLE_CHARS = 160;

export const TurnCard = memo(
  ({ turn, number, now, address, conversationId, isOpen, onFork }: TurnCardProps) => {
    const [isShown, setShown] = useState(isOpen);
    const card = useRef<HTMLElement>(null);
    useEffect(() => {
      if (isOpen) card.current?.scrollIntoView({ block: 'start' });
    }, [isOpen]);
    const timeline = timelineOf(turn, now);
    const { usage, cost, error } = turn;
    const title = visibleText(turn.userMessage.slice(0, MAX_TITLE_CHARS)).replaceAll(/\s+/g, ' ');
    return (
      <article ref={card} class="panel turn-card" aria-label={`Turn ${number}`}>
        <header class="turn-head">
          <h2>
            <span class="muted">{number}</span> <span dir="auto">{title || 'Results of tools'}</span>
            {turn.userMessage.length > MAX_TITLE_CHARS && '…'}
          </h2>
          <p class="turn-figures muted">
            {stateTag(turn.state)}
            <span>
              <Duration ms={turn.durationMs ?? timeline.totalMs} />
            </span>
            {turn.firstTokenMs != null && (
              <span>
                first token <Duration ms={turn.firstTokenMs} />
              </span>
            )}
            {usage?.total_tokens !== undefined && (
              <span>
                <Count value={usage.total_tokens} /> tokens
              </span>
            )}
            {typeof cost === 'object' && (
              <span>
                <Money {...cost} />
              </span>
            )}
            <time dateTime={new Date(turn.acceptedAt).toISOString()}>
              {new Date(turn.acceptedAt).toLocaleString()}
            </time>
          </p>
        </header>
        <Bars timeline={timeline} />
        {turn.state === 'cancelled' && <p class="turn-mark">Cancelled at the end of the bars.</p>}
        {turn.state === 'failed' && error && (
          <p class="turn-mark turn-failed">
            <code>{visibleText(error.code)}</code> {visibleText(error.message)}
          </p>
        )}
        <div class="page-actions">
          <Button aria-expanded={isShown} onClick={() => setShown(!isShown)}>
            {isShown ? 'Hide details' : 'Details'}
          </Button>
          {isOver(turn) && <Button onClick={() => onFork(turn)}>Fork from here</Button>}
        </div>
        {isShown && <TurnDetails turn={turn} address={address} conversationId={conversationId} />}
      </article>
    );
  },
);
