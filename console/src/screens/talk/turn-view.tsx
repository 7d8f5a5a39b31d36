// One turn: the message of the user, the answer with its tools and questions, and its figures.
import { memo } from 'preact/compat';
import { useState } from 'preact/hooks';
import { href } from '../../app/router.ts';
import type { ConversationFeed } from '../../fabric/conversation/feed.ts';
import { isOver, type Part, type Restart, type Turn, textOf } from '../../fabric/conversation/turns.ts';
import { CopyButton } from '../../parts/code.tsx';
import { Button } from '../../parts/form.tsx';
import { Markdown, PlainText, visibleText } from '../../parts/markdown.tsx';
import { Problem } from '../../parts/notices.tsx';
import { Count, Duration, Money } from '../../parts/values.tsx';
import { EditMessage } from './edit-message.tsx';
import { BudgetView, ToolView } from './tool-view.tsx';

export interface TurnViewProps {
  turn: Turn;
  feed: ConversationFeed;
  isLast: boolean;
  /** True if its message can be replaced: the turn before it has ended. */
  canReplace: boolean;
  onReplace: (turn: Turn, text: string) => void;
}

export const TurnView = memo(({ turn, feed, isLast, canReplace, onReplace }: TurnViewProps) => {
  const [isEditing, setEditing] = useState(false);
  const { userMessage, state, error } = turn;
  return (
    <article class="turn" data-state={state} aria-label={`Turn, ${state}`}>
      {isEditing ? (
        <EditMessage
          text={userMessage}
          onSend={(text) => onReplace(turn, text)}
          onCancel={() => setEditing(false)}
        />
      ) : (
        userMessage !== '' && (
          <div class="message-user">
            <PlainText text={userMessage} />
            {canReplace && !feed.view.peek().isOnlyHere && (
              <Button kind="quiet" aria-label="Edit the message in a fork" onClick={() => setEditing(true)}>
                Edit
              </Button>
            )}
          </div>
        )
      )}
      <div class="message-answer" aria-busy={!isOver(turn)}>
        {turn.parts.map((part, index) => (
          <PartView key={index} part={part} feed={feed} />
        ))}
        {state === 'running' && <Working turn={turn} />}
        {turn.ignored !== undefined && <p class="muted">Ignored: {visibleText(turn.ignored)}</p>}
        {state === 'cancelled' && <p class="turn-cancelled">Stopped.</p>}
        {state === 'failed' && error && <Problem error={shownError(error)} />}
      </div>
      {isOver(turn) && (
        <TurnFooter
          turn={turn}
          feed={feed}
          onRetry={isLast ? () => retry(turn, feed, canReplace, onReplace) : undefined}
        />
      )}
    </article>
  );
});

/** A turn that failed or was stopped is not part of the history, so its message is sent again. Another answer needs a fork. */
function retry(
  turn: Turn,
  feed: ConversationFeed,
  canReplace: boolean,
  onReplace: TurnViewProps['onReplace'],
): void {
  const { status, isOnlyHere } = feed.view.peek();
  if (status !== 'ended' && (turn.state !== 'completed' || isOnlyHere || !canReplace))
    feed.send(turn.userMessage);
  else onReplace(turn, turn.userMessage);
}

function PartView({ part, feed }: { part: Part; feed: ConversationFeed }) {
  switch (part.type) {
    case 'text':
      return <Markdown text={part.text} />;
    case 'tool':
      return <ToolView run={part.run} onAnswer={(approve) => feed.answer(part.run.id, approve)} />;
    case 'budget':
      return (
        <BudgetView question={part.question} onAnswer={(approve) => feed.answer(part.question.id, approve)} />
      );
    case 'restart':
      return <RestartView restart={part.restart} />;
  }
}

const RestartView = ({ restart: { attempt, withdrawnChars } }: { restart: Restart }) => (
  <p class="talk-divider">
    {attempt === 0 ? 'The agent wrote this part again' : 'The agent was restarted and continued here'}
    {withdrawnChars > 0 && `; ${withdrawnChars} characters were withdrawn`}
  </p>
);

function Working({ turn }: { turn: Turn }) {
  const isQueued = turn.calls.length === 0 && turn.parts.length === 0;
  return (
    <p class="working muted" role="status">
      <span class="working-dots" aria-hidden="true" />
      {isQueued ? 'Waiting for the agent' : 'Working'}
    </p>
  );
}

function TurnFooter({
  turn,
  feed,
  onRetry,
}: {
  turn: Turn;
  feed: ConversationFeed;
  onRetry: (() => void) | undefined;
}) {
  const { usage, cost, model, firstTokenMs, durationMs } = turn;
  const tokens = usage?.total_tokens;
  return (
    <footer class="turn-facts muted">
      {model && <span>{visibleText(model)}</span>}
      {durationMs != null && (
        <span>
          <Duration ms={durationMs} />
        </span>
      )}
      {firstTokenMs != null && (
        <span>
          first token <Duration ms={firstTokenMs} />
        </span>
      )}
      {tokens !== undefined && tokens > 0 && (
        <span>
          <Count value={tokens} /> tokens
        </span>
      )}
      {typeof cost === 'object' && (
        <span>
          <Money {...cost} />
        </span>
      )}
      <a href={`${href('conversations', feed.address, feed.id)}/${encodeURIComponent(turn.id)}`}>Details</a>
      <CopyButton text={textOf(turn)} label="Copy the answer" />
      {onRetry && (
        <Button kind="quiet" onClick={onRetry}>
          {turn.state === 'completed' ? 'Another answer' : 'Retry'}
        </Button>
      )}
    </footer>
  );
}

/** The error of a turn in the form of `Problem`. */
const shownError = ({ code, message }: { code: string; message: string }): Error =>
  Object.assign(new Error(visibleText(message)), { code: visibleText(code) });
