// Signing in: by the one-time link in the hash of the URL, or by a key in a form.
import { useEffect, useState } from 'preact/hooks';
import { hasSessionEnded, loadSession, signInWithCode, signInWithKey } from '../fabric/session.ts';
import { Code } from '../parts/code.tsx';
import { Button, Field } from '../parts/form.tsx';
import { describeError, Problem } from '../parts/notices.tsx';
import { Page } from '../parts/page.tsx';

const CODE = /^#code=([\w-]+)$/;

export interface SignInLink {
  /** True while the first load of the session, or the exchange of the code, runs. */
  isRunning: boolean;
  /** The error of a link that did not work. */
  error: unknown;
  forget: () => void;
}

/** Exchanges the code of the URL, if there is one, and loads the session. The code leaves the URL and the history at once. */
export function useSignInLink(): SignInLink {
  const [state, setState] = useState<{ isRunning: boolean; error: unknown }>({
    isRunning: true,
    error: undefined,
  });
  useEffect(() => {
    const start = async (): Promise<void> => {
      const code = CODE.exec(location.hash)?.[1];
      let error: unknown;
      if (code !== undefined) {
        history.replaceState(null, '', `${location.pathname}${location.search}#/`);
        dispatchEvent(new HashChangeEvent('hashchange'));
        error = await signInWithCode(code).then(
          () => undefined,
          (cause: unknown) => cause,
        );
      }
      if (code === undefined || error !== undefined) await loadSession();
      setState({ isRunning: false, error });
    };
    void start();
    // A link that is opened in this tab changes the hash only.
    const onHash = (): void => {
      if (CODE.test(location.hash)) void start();
    };
    addEventListener('hashchange', onHash);
    return () => removeEventListener('hashchange', onHash);
  }, []);
  return { ...state, forget: () => setState({ isRunning: false, error: undefined }) };
}

/** The form. `error` is that of a link that did not work. */
export function SignIn({ error, onDone }: { error?: unknown; onDone?: () => void }) {
  const [key, setKey] = useState('');
  const [remember, setRemember] = useState(false);
  const [fault, setFault] = useState<string>();
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (isBusy) return;
    if (key.trim() === '') {
      setFault('Enter a key.');
      return;
    }
    setBusy(true);
    setFault(undefined);
    try {
      await signInWithKey(key.trim(), remember);
      onDone?.();
    } catch (cause) {
      const { code, message } = describeError(cause);
      setFault(code ? `${code}: ${message}` : message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <div class="alone">
      <div class="sign-in">
        <Page title="Sign in">
          {error !== undefined && (
            <Problem
              error={error}
              fix="Run npx fame-fabric console again for a new link. Each link works once, for one hour."
            />
          )}
          {hasSessionEnded.value && <p role="status">Your session has ended. Sign in again.</p>}
          <p>On the machine of the sentinel, this command prints a link that signs you in:</p>
          <Code text="npx fame-fabric console" label="Command" />
          <p>Elsewhere, use a key of the sentinel:</p>
          <form class="sign-in-form" onSubmit={submit} aria-busy={isBusy}>
            <Field label="Key" fault={fault}>
              {(control) => (
                <input
                  {...control}
                  type="password"
                  autocomplete="off"
                  spellcheck={false}
                  value={key}
                  onInput={(event) => setKey(event.currentTarget.value)}
                />
              )}
            </Field>
            <label class="check">
              <input
                type="checkbox"
                checked={remember}
                onChange={(event) => setRemember(event.currentTarget.checked)}
              />
              <span>
                Remember me on this browser
                <span class="muted check-hint">Without it, a reload signs you out.</span>
              </span>
            </label>
            <Button kind="main" type="submit" disabled={isBusy}>
              Sign in
            </Button>
          </form>
        </Page>
      </div>
    </div>
  );
}
