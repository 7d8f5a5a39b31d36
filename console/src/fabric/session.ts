// The person at this page: signed in or not, and permitted to do what.
import { computed, signal } from '@preact/signals';
import {
  isUnauthorized,
  keepKey,
  keyInMemory,
  requestJson,
  requestPath,
  SESSION_PATH,
  sendJson,
  whenUnauthorized,
} from './api.ts';

/** The answer of `GET /fame/v1/session`. */
export interface SessionView {
  principal: { id: string; roles: readonly string[] } | null;
  isSignedIn: boolean;
  /** True if the sentinel admits no node and no page without a credential. */
  isCredentialNeeded: boolean;
  may: { watch: boolean; admin: boolean };
  /** `id` and `path` are absent for a page that the sentinel does not know. */
  sentinel: { id?: string; path?: string; version: string };
  /** Address of the chat agent that `fame chat` talks to. Absent for a page that the sentinel does not know. */
  chatAddress?: string;
  /** Names of the doors of the port. */
  doors: readonly string[];
}

export type SessionState =
  | { status: 'loading' }
  | { status: 'ready'; view: SessionView }
  | { status: 'failed'; error: unknown };

export const session = signal<SessionState>({ status: 'loading' });

/** The view of the session; undefined until it is loaded. */
export const sessionView = computed(() =>
  session.value.status === 'ready' ? session.value.view : undefined,
);
export const mayWatch = computed(() => sessionView.value?.may.watch ?? false);
export const mayAdmin = computed(() => sessionView.value?.may.admin ?? false);

/** Loads the session. An error becomes the state `failed`. */
export async function loadSession(): Promise<void> {
  try {
    session.value = { status: 'ready', view: await requestJson<SessionView>(SESSION_PATH) };
  } catch (error) {
    session.value = { status: 'failed', error };
  }
}

/** True after the sentinel has ended the session of a person who was signed in, until the next sign-in. */
export const hasSessionEnded = signal(false);

let checking: Promise<void> | undefined;

/**
 * Loads the session again after the sentinel refused the credential of the page, because the cookie or its key has ended. The page then
 * shows the form to sign in. If the session cannot be loaded it stays as it is, because the next refusal loads it again.
 */
export function checkSession(): Promise<void> {
  checking ??= readSession()
    .then(
      (view) => {
        const known = sessionView.peek();
        if (known?.isSignedIn && !view.isSignedIn) hasSessionEnded.value = true;
        // The parts of the page that depend on the session start anew with each change.
        if (JSON.stringify(known) !== JSON.stringify(view)) session.value = { status: 'ready', view };
      },
      () => {},
    )
    .finally(() => {
      checking = undefined;
    });
  return checking;
}

/** Reads the session, without the key in memory if that is not valid any more. */
async function readSession(): Promise<SessionView> {
  try {
    return await requestJson<SessionView>(SESSION_PATH);
  } catch (error) {
    if (!isUnauthorized(error) || keyInMemory() === undefined) throw error;
    keepKey(undefined);
    return await requestJson<SessionView>(SESSION_PATH);
  }
}

whenUnauthorized(() => void checkSession());

/** Signs in with the code of a sign-in link, and sets the cookie. @throws {ApiError} if the code is unknown, used or expired */
export async function signInWithCode(code: string): Promise<void> {
  const answer = await sendJson(SESSION_PATH, { code });
  signedIn((await answer.json()) as SessionView);
}

/**
 * Signs in with a key. With `remember` the sentinel sets a cookie; otherwise only this page keeps the key, in memory.
 * @throws {ApiError} if the key is not valid
 */
export async function signInWithKey(key: string, remember: boolean): Promise<void> {
  if (remember) {
    const answer = await sendJson(SESSION_PATH, { key, remember: true });
    signedIn((await answer.json()) as SessionView);
    return;
  }
  const view = await requestJson<SessionView>(SESSION_PATH, { headers: { authorization: `Bearer ${key}` } });
  keepKey(key);
  signedIn(view);
}

function signedIn(view: SessionView): void {
  hasSessionEnded.value = false;
  session.value = { status: 'ready', view };
}

/** Clears the cookie and loads the page anew, so that nothing of this person stays in memory. An error becomes the state `failed`. */
export async function signOut(): Promise<void> {
  try {
    await requestPath(SESSION_PATH, { method: 'DELETE' });
    location.reload();
  } catch (error) {
    session.value = { status: 'failed', error };
  }
}
