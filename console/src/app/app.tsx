// The page: signs in, then shows the header, the navigation and the screen of the route.
import { useEffect } from 'preact/hooks';
import { startConnection } from '../fabric/connection.ts';
import { loadSession, type SessionView, session } from '../fabric/session.ts';
import { Empty, Problem } from '../parts/notices.tsx';
import { Page } from '../parts/page.tsx';
import { Header } from './header.tsx';
import { Navigation } from './navigation.tsx';
import { followHash, route } from './router.ts';
import { SCREENS, type Screen } from './screens.ts';
import { SignIn, useSignInLink } from './sign-in.tsx';

export function App() {
  const link = useSignInLink();
  useEffect(followHash, []);
  useEffect(startConnection, []);
  if (link.isRunning) return <Loading />;
  const state = session.value;
  if (state.status === 'loading') return <Loading />;
  if (state.status === 'failed') {
    return (
      <main class="alone">
        <Problem error={state.error} onRetry={() => void loadSession()} />
      </main>
    );
  }
  const { view } = state;
  if (link.error !== undefined || isKeyNeeded(view))
    return <SignIn error={link.error} onDone={link.forget} />;
  return <Shell view={view} />;
}

/** A page without a credential sees nothing that it may not: no watch, and no call if the sentinel needs credentials. */
const isKeyNeeded = ({ isSignedIn, isCredentialNeeded }: SessionView): boolean =>
  !isSignedIn && isCredentialNeeded;

const Loading = () => (
  <main class="alone" aria-busy="true">
    <p class="muted">Loading…</p>
  </main>
);

function Shell({ view }: { view: SessionView }) {
  const { screen: id, args } = route.value;
  const first = view.may.watch ? SCREENS[0] : SCREENS.find(({ needsWatch }) => !needsWatch)!;
  const screen = id === '' ? first : SCREENS.find((one) => one.id === id);
  return (
    <>
      <button type="button" class="skip" onClick={focusMain}>
        Skip to content
      </button>
      <div class="shell">
        <Header view={view} />
        <Navigation current={screen?.id} />
        <main id="main" tabIndex={-1}>
          {screen ? (
            <View screen={screen} args={args} mayWatch={view.may.watch} />
          ) : (
            <UnknownScreen id={id} />
          )}
        </main>
      </div>
    </>
  );
}

const focusMain = (): void => document.getElementById('main')?.focus();

function View({ screen, args, mayWatch }: { screen: Screen; args: readonly string[]; mayWatch: boolean }) {
  if (screen.needsWatch && !mayWatch) {
    return (
      <Page title={screen.title}>
        <Empty title="This screen needs the permission Watch">
          <p>
            Sign in with a key of the role admin, or open the link that <code>npx fame-fabric console</code>{' '}
            prints on the machine of the sentinel.
          </p>
          <a class="button button-main" href="#/sign-in">
            Sign in
          </a>
        </Empty>
      </Page>
    );
  }
  const { View: Content } = screen;
  return <Content key={screen.id} args={args} />;
}

function UnknownScreen({ id }: { id: string }) {
  if (id === 'sign-in') return <SignIn onDone={() => location.assign('#/')} />;
  return (
    <Page title="Unknown screen">
      <Empty title={`There is no screen ${id}`}>
        <p>Choose one in the navigation.</p>
      </Empty>
    </Page>
  );
}
