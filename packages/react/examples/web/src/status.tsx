import type { ConversationStatus, MessageError } from '@fame-fabric/react';

const TEXTS: Record<ConversationStatus, string> = {
  connecting: 'Connecting',
  ready: 'Connected',
  away: 'Reconnecting',
  ended: 'Ended',
  failed: 'Failed',
};

/** The state of the connection. */
export function Status({ status }: { status: ConversationStatus }) {
  return (
    <p className="status" role="status" data-status={status}>
      {TEXTS[status]}
    </p>
  );
}

export interface NoticeProps {
  error: MessageError;
  onRetry: (() => void) | undefined;
}

/** Why there is no connection, or why an action failed. */
export function Notice({ error, onRetry }: NoticeProps) {
  return (
    <div className="notice" role="alert">
      <p>
        {error.message} <code>{error.code}</code>
      </p>
      {onRetry && (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}
