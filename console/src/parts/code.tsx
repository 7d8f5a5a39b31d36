// Text in a fixed-width font with a button that copies it.
import { useState } from 'preact/hooks';
import { Button } from './form.tsx';

export interface CodeProps {
  text: string;
  /** The name of the text for screen readers, such as `Command`. */
  label?: string;
}

export const Code = ({ text, label = 'Code' }: CodeProps) => (
  <div class="code">
    {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines scroll, also by the keyboard */}
    <section class="code-text" tabIndex={0} aria-label={label}>
      <pre>
        <code>{text}</code>
      </pre>
    </section>
    <CopyButton text={text} label={`Copy ${label.toLowerCase()}`} />
  </div>
);

/** Copies `text`. Without the permission of the browser, or on a page without TLS, it falls back to a selection. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const [state, setState] = useState<'idle' | 'copied' | 'failed'>('idle');
  const copy = async (): Promise<void> => {
    setState((await copyText(text)) ? 'copied' : 'failed');
  };
  const shown = { idle: 'Copy', copied: 'Copied', failed: 'Cannot copy' }[state];
  return (
    <Button
      kind="quiet"
      onClick={copy}
      onBlur={() => setState('idle')}
      aria-label={state === 'idle' ? label : shown}
    >
      <span aria-live="polite">{shown}</span>
    </Button>
  );
}

/** Resolves to false if the browser refuses. `navigator.clipboard` exists on loopback and with TLS only. */
async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand('copy');
    area.remove();
    return isCopied;
  }
}
