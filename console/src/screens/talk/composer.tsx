// The field for the next message. Enter sends, Shift and Enter make a new line, Escape stops the answer.
import { forwardRef } from 'preact/compat';
import { useState } from 'preact/hooks';
import { Button } from '../../parts/form.tsx';

export interface ComposerProps {
  conversationId: string;
  agent: string;
  isEnded: boolean;
  isRunning: boolean;
  onSend: (text: string) => void;
  onStop: () => void;
}

/** Longest message that agents accept by default, in characters. */
const MAX_MESSAGE_CHARS = 65_536;

/** The draft of a conversation survives a reload of the tab. */
const draftKey = (id: string): string => `fame-draft:${id}`;

export const Composer = forwardRef<HTMLTextAreaElement, ComposerProps>((props, ref) => {
  const { conversationId, agent, isEnded, isRunning, onSend, onStop } = props;
  const [text, setText] = useState(() => sessionStorage.getItem(draftKey(conversationId)) ?? '');
  const change = (value: string): void => {
    setText(value);
    if (value === '') sessionStorage.removeItem(draftKey(conversationId));
    else sessionStorage.setItem(draftKey(conversationId), value);
  };
  const send = (): void => {
    if (text.trim() === '' || isEnded) return;
    change('');
    onSend(text);
  };
  const rows = Math.min(10, text.split('\n').length + 1);
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={ref}
        aria-label="Message"
        aria-describedby="composer-keys"
        placeholder={isEnded ? 'The conversation has ended' : `Message to ${agent}`}
        rows={rows}
        maxLength={MAX_MESSAGE_CHARS}
        disabled={isEnded}
        value={text}
        dir="auto"
        onInput={({ currentTarget }) => change(currentTarget.value)}
        onKeyDown={(event) => {
          // During the composition of a character, Enter belongs to the input method.
          if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            send();
          } else if (event.key === 'Escape' && isRunning) onStop();
        }}
      />
      <div class="composer-actions">
        <span id="composer-keys" class="muted">
          <kbd>Enter</kbd> sends, <kbd>Shift</kbd>+<kbd>Enter</kbd> makes a new line, <kbd>Esc</kbd> stops
        </span>
        {isRunning && (
          <Button kind="danger" onClick={onStop}>
            Stop
          </Button>
        )}
        <Button kind="main" type="submit" disabled={text.trim() === '' || isEnded}>
          Send
        </Button>
      </div>
    </form>
  );
});
