// The field in which a sent message is edited. The edited message goes to a fork, and the conversation stays as it is.
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Button } from '../../parts/form.tsx';

export interface EditMessageProps {
  text: string;
  onSend: (text: string) => void;
  onCancel: () => void;
}

export function EditMessage({ text, onSend, onCancel }: EditMessageProps) {
  const [value, setValue] = useState(text);
  const input = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => input.current?.focus(), []);
  const send = (): void => {
    if (value.trim() !== '') onSend(value);
  };
  return (
    <form
      class="edit-message"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={input}
        aria-label="Edited message"
        rows={Math.min(10, value.split('\n').length + 1)}
        value={value}
        dir="auto"
        onInput={({ currentTarget }) => setValue(currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            send();
          } else if (event.key === 'Escape') onCancel();
        }}
      />
      <div class="page-actions">
        <Button kind="main" type="submit">
          Send in a fork
        </Button>
        <Button onClick={onCancel}>Cancel</Button>
        <span class="muted">This conversation stays as it is.</span>
      </div>
    </form>
  );
}
