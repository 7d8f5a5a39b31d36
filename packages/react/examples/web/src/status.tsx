import type { ConversationStatus, MessageError } from '@fame-fabric/react';

const TEXTS: Record<ConversationStatus, string> = {
  connecting: 'Connecting',
  ready: 'Connected',
  away: 'Reconnecting',
  ended: 'Ended',
  failed: 'Failed',
};

export interface StatusProps {
  status: ConversationStatus;
  error: MessageError | undefined;
  onRetry: () => void;
}

/** The state of the connection, and the reason if there is none. */
export function Status({ status, error, onRetry }: StatusProps) {
  return (
    <>
      <p className="status" role="status" data-status={status}>
        {TEXTS[status]}
      </p>
      {error && (
        <div className="notice" role="alert">
          <p>
            {error.message} <code>{error.code}</code>
          </p>
          {status === 'failed' && (
            <button type="button" onClick={onRetry}>
              Try again
            </button>
          )}
        </div>
      )}
    </>
  );
}
