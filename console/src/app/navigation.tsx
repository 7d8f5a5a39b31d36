// The navigation: a column beside the screen, or a row below the header in a narrow window.
import { useEffect, useRef } from 'preact/hooks';
import { Icon } from './header.tsx';
import { href } from './router.ts';
import { SCREENS } from './screens.ts';

export function Navigation({ current }: { current: string | undefined }) {
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    // In a narrow window the row scrolls.
    nav.current
      ?.querySelector(`a[href="${href(current ?? '')}"]`)
      ?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [current]);
  return (
    <nav ref={nav} class="navigation" aria-label="Screens">
      <ul>
        {SCREENS.map(({ id, title, icon }) => (
          <li key={id}>
            <a href={href(id)} aria-current={id === current ? 'page' : undefined}>
              <Icon path={icon} />
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}
