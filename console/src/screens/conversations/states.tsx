// Tags of the states of conversations and turns.
import { Tag, type Tone } from '../../parts/notices.tsx';

const TONES: Readonly<Record<string, Tone>> = {
  working: 'quiet',
  running: 'accent',
  waiting: 'warning',
  'input-required': 'warning',
  completed: 'ok',
  canceled: 'quiet',
  cancelled: 'warning',
  failed: 'failure',
};

const TEXTS: Readonly<Record<string, string>> = {
  working: 'open',
  'input-required': 'waits for a person',
  waiting: 'waits for a person',
  canceled: 'cancelled',
};

/** The state of a conversation, and the outcome of its last turn if that did not complete. */
export const stateTag = (state: string, lastOutcome?: string | null) => (
  <>
    <Tag tone={TONES[state] ?? 'quiet'}>{TEXTS[state] ?? state}</Tag>{' '}
    {(lastOutcome === 'failed' || lastOutcome === 'cancelled') && (
      <Tag tone={TONES[lastOutcome]!}>last turn {lastOutcome}</Tag>
    )}
  </>
);
