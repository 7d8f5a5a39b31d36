import { type FormEvent, type KeyboardEvent, useState } from 'react';

export interface ComposerProps {
  isAnswering: boolean;
  isDisabled: boolean;
  onSend: (text: string) => void;
  onCancel: () => void;
}

/** The input. Enter sends, Shift+Enter begins a new line, and Escape stops the answer. */
export function Composer({ isAnswering, isDisabled, onSend, onCancel }: ComposerProps) {
  const [text, setText] = useState('');
  const send = (event: FormEvent | KeyboardEvent): void => {
    event.preventDefault();
    if (text.trim() === '' || isDisabled) return;
    onSend(text.trim());
    setText('');
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) send(event);
    if (event.key === 'Escape' && isAnswering) onCancel();
  };
  return (
    <form className="composer" onSubmit={send}>
      <label className="hidden" htmlFor="message">
        Message
      </label>
      <textarea
        id="message"
        rows={1}
        value={text}
        placeholder={isDisabled ? 'The conversation has ended' : 'Write a message'}
        disabled={isDisabled}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={onKeyDown}
      />
      {isAnswering && text === '' ? (
        <button type="button" onClick={onCancel}>
          Stop
        </button>
      ) : (
        <button type="submit" className="main" disabled={text.trim() === '' || isDisabled}>
          Send
        </button>
      )}
    </form>
  );
}
