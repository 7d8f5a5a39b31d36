import type { Approval, AssistantMessage, Message, MessagePart } from '@fame-fabric/react';
import { memo } from 'react';

type OnAnswer = (id: string, approve: boolean) => void;

export interface MessageItemProps {
  message: Message;
  approvals: readonly Approval[];
  onAnswer: OnAnswer;
  /** Set for the last message. */
  onRetry: (() => void) | undefined;
}

/** One message. A stream changes one message, and only that one is rendered again. */
export const MessageItem = memo(function MessageItem({
  message,
  approvals,
  onAnswer,
  onRetry,
}: MessageItemProps) {
  const isFailed = message.state === 'failed' || message.state === 'cancelled';
  return (
    <li className={message.role} data-state={message.state} aria-busy={message.state === 'running'}>
      <span className="speaker">{message.role === 'user' ? 'You' : 'Agent'}</span>
      {message.role === 'user' ? (
        <p className="text">{message.text}</p>
      ) : (
        <Answer message={message} approvals={approvals} onAnswer={onAnswer} />
      )}
      {message.state === 'sending' && <p className="note">Sending</p>}
      {isFailed && (
        <p className="note failed">
          {message.state === 'cancelled' ? 'Stopped' : message.error?.message}{' '}
          {onRetry && (
            <button type="button" className="quiet" onClick={onRetry}>
              Try again
            </button>
          )}
        </p>
      )}
    </li>
  );
});

interface AnswerProps {
  message: AssistantMessage;
  approvals: readonly Approval[];
  onAnswer: OnAnswer;
}

function Answer({ message: { parts, state }, approvals, onAnswer }: AnswerProps) {
  return (
    <>
      {parts.map((part, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: parts are only appended
        <Part key={index} part={part} approvals={approvals} onAnswer={onAnswer} />
      ))}
      {state === 'running' && parts.at(-1)?.type !== 'text' && (
        <p className="thinking">
          <span className="hidden">The agent is working</span>
        </p>
      )}
    </>
  );
}

const TOOL_STATES = {
  waiting: 'needs approval',
  running: 'running',
  done: 'done',
  failed: 'failed',
  refused: 'refused',
};

function Part({
  part,
  approvals,
  onAnswer,
}: {
  part: MessagePart;
  approvals: readonly Approval[];
  onAnswer: OnAnswer;
}) {
  // The text behind a tool call begins with a line break.
  if (part.type === 'text') return <p className="text">{part.text.replace(/^\n+/, '')}</p>;
  const approval = approvals.find(({ id }) => id === part.id);
  if (part.type === 'budget' && !approval) return null;
  const args =
    part.args && Object.keys(part.args).length > 0 ? JSON.stringify(part.args, null, 2) : undefined;
  return (
    <section className="tool" data-state={part.state} aria-label={`Tool ${part.name}`}>
      <details open={approval !== undefined}>
        <summary>
          <code>{part.name}</code>
          <span className="state">{part.type === 'tool' ? TOOL_STATES[part.state] : 'more budget?'}</span>
        </summary>
        <pre>{args ?? 'No arguments'}</pre>
      </details>
      {approval && (
        <div className="question">
          <button
            type="button"
            className="main"
            disabled={approval.isAnswering}
            onClick={() => onAnswer(part.id, true)}
          >
            Approve<span className="hidden"> {part.name}</span>
          </button>
          <button type="button" disabled={approval.isAnswering} onClick={() => onAnswer(part.id, false)}>
            Refuse<span className="hidden"> {part.name}</span>
          </button>
        </div>
      )}
    </section>
  );
}
