// The header: the sentinel, the state of the connection, the dot of the doctor, the theme and the person.
import { connectionError, connectionState } from '../fabric/connection.ts';
import { checks, doctorSource, worstStatus } from '../fabric/doctor.ts';
import { type SessionView, signOut } from '../fabric/session.ts';
import { useSource } from '../fabric/shared-source.ts';
import { Button } from '../parts/form.tsx';
import { Dot, describeError, type Tone } from '../parts/notices.tsx';
import { href } from './router.ts';
import { nextTheme, theme } from './theme.ts';

export const Header = ({ view }: { view: SessionView }) => (
  <header class="header">
    <a class="brand" href="#/">
      <Mark />
      <span>Fame Fabric</span>
    </a>
    {view.sentinel.id && (
      <span class="header-sentinel" title={`${view.sentinel.version} at ${view.sentinel.path}`}>
        {view.sentinel.id}
      </span>
    )}
    <ConnectionNotice />
    <span class="header-space" />
    {view.may.watch && <DoctorDot />}
    <ThemeButton />
    <Person view={view} />
  </header>
);

const Mark = () => (
  <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" class="mark">
    <path d="M12 12 4.5 5.500M12 12l8-5M12 12l-6.5 7M12 12l7 6.5" />
    <circle cx="12" cy="12" r="3.4" />
    <circle cx="4.5" cy="5.5" r="1.6" />
    <circle cx="20" cy="7" r="1.6" />
    <circle cx="5.5" cy="19" r="1.6" />
    <circle cx="19" cy="18.5" r="1.6" />
  </svg>
);

const STATES: Readonly<Record<string, { text: string; tone: Tone }>> = {
  idle: { text: 'Not connected', tone: 'quiet' },
  connecting: { text: 'Connecting', tone: 'warning' },
  attached: { text: 'Connected', tone: 'ok' },
  reconnecting: { text: 'Reconnecting', tone: 'warning' },
  closed: { text: 'Disconnected', tone: 'failure' },
};

function ConnectionNotice() {
  const { text, tone } = STATES[connectionState.value]!;
  const error = connectionError.value;
  const { code, message } = error === undefined ? {} : describeError(error);
  return (
    <span class="header-state" role="status" title={message && `${code ?? 'Error'}: ${message}`}>
      <Dot tone={tone} /> <span class="header-state-text">{text}</span>
    </span>
  );
}

function DoctorDot() {
  useSource(doctorSource);
  const status = worstStatus.value;
  if (status === undefined || status === 'ok') return null;
  const count = checks.value!.filter((check) => check.status !== 'ok').length;
  return (
    <a class="button button-quiet" href={href('doctor')}>
      <Dot tone={status} />
      <span>
        {count} {count === 1 ? 'problem' : 'problems'}
      </span>
    </a>
  );
}

const THEME_ICONS = {
  system: 'M4 5h16v11H4zM9 20h6M12 16v4',
  light:
    'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2',
  dark: 'M20 14a8 8 0 1 1-10-10 7 7 0 0 0 10 10z',
};

const ThemeButton = () => (
  <Button kind="quiet" onClick={nextTheme} aria-label={`Colours: ${theme.value}. Change`} title="Colours">
    <Icon path={THEME_ICONS[theme.value]} />
  </Button>
);

function Person({ view }: { view: SessionView }) {
  if (!view.isSignedIn) {
    return (
      <a class="button button-quiet" href="#/sign-in">
        Sign in
      </a>
    );
  }
  return (
    <>
      <span class="header-person muted" title={view.principal?.roles.join(', ')}>
        {view.principal?.id}
      </span>
      <Button kind="quiet" onClick={() => void signOut()}>
        Sign out
      </Button>
    </>
  );
}

/** A line icon, 24 by 24. */
export const Icon = ({ path }: { path: string }) => (
  <svg viewBox="0 0 24 24" width="19" height="19" aria-hidden="true" class="icon">
    <path d={path} />
  </svg>
);
