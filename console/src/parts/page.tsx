// The frame of a screen, and the boxes in it.
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';

export interface PageProps {
  title: string;
  /** Buttons and filters beside the title. */
  actions?: ComponentChildren;
  /** True if the content fills the height of the window and scrolls inside. @default false */
  isFull?: boolean;
  /** Element that gets the focus when the screen opens. @default the title */
  focus?: { readonly current: HTMLElement | null } | undefined;
  children: ComponentChildren;
}

/** A screen. Its title gets the focus when the screen opens, so that screen readers announce it. */
export function Page({ title, actions, isFull = false, focus, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Fame Fabric`;
    (focus?.current ?? heading.current)?.focus({ preventScroll: true });
  }, [title, focus]);
  return (
    <div class={isFull ? 'page page-full' : 'page'}>
      <div class="page-head">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {actions && <div class="page-actions">{actions}</div>}
      </div>
      {children}
    </div>
  );
}

export interface PanelProps {
  title?: string;
  actions?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
}

/** A box with an optional title. */
export function Panel({ title, actions, children, class: name = '' }: PanelProps) {
  const id = useId();
  return (
    <section class={`panel ${name}`} aria-labelledby={title ? id : undefined}>
      {(title || actions) && (
        <div class="panel-head">
          {title && <h2 id={id}>{title}</h2>}
          {actions && <div class="page-actions">{actions}</div>}
        </div>
      )}
      {children}
    </section>
  );
}

/** Pairs of a name and a value. Undefined values are left out. */
export function Facts({ facts }: { facts: Readonly<Record<string, ComponentChildren>> }) {
  return (
    <dl class="facts">
      {Object.entries(facts)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
