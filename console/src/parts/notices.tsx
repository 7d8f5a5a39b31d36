// Empty states, errors and states in colour.
import { ERRORS, isErrorCode } from '@fame-fabric/shared';
import type { ComponentChildren } from 'preact';

/** An empty state: its title, an explanation, and the step that fills the screen. */
export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="empty">
    <h2>{title}</h2>
    {children}
  </div>
);

export interface ProblemProps {
  /** An error with or without a code. */
  error: unknown;
  /** The next step for the person. @default that of the error table */
  fix?: ComponentChildren;
  /** Shows a button that tries again. */
  onRetry?: () => void;
}

/** An error with its code, its message and a fix. */
export function Problem({ error, fix, onRetry }: ProblemProps) {
  const { code, message } = describeError(error);
  const step = fix ?? (code && isErrorCode(code) ? ERRORS[code].fix : undefined);
  return (
    <div class="problem" role="alert">
      <p>
        {code && <code class="problem-code">{code}</code>} {message}
      </p>
      {step && <p class="muted">{step}</p>}
      {onRetry && (
        <button type="button" class="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** The code and the message of an error. */
export function describeError(error: unknown): { code?: string; message: string } {
  if (!(error instanceof Error)) return { message: String(error) };
  const { code } = error as { code?: unknown };
  return { ...(typeof code === 'string' && { code }), message: error.message };
}

export type Tone = 'ok' | 'warning' | 'failure' | 'accent' | 'quiet';

/** A dot in a colour. `label` names the state for screen readers; without it the dot is decoration. */
export const Dot = ({ tone, label }: { tone: Tone; label?: string }) =>
  label ? (
    <span class={`dot dot-${tone}`} role="img" aria-label={label} title={label} />
  ) : (
    <span class={`dot dot-${tone}`} aria-hidden="true" />
  );

/** A short text in a coloured box, such as a state or a code. */
export const Tag = ({ tone = 'quiet', children }: { tone?: Tone; children: ComponentChildren }) => (
  <span class={`tag tag-${tone}`}>{children}</span>
);
