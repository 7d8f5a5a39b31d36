// The checks of the sentinel, for the dot in the header and for the Doctor screen.
import { computed, signal } from '@preact/signals';
import { requestJson } from './api.ts';
import { sharedSource } from './shared-source.ts';

export interface Check {
  name: string;
  status: 'ok' | 'warning' | 'failure';
  message: string;
  /** The step that removes the fault. */
  fix?: string;
}

const REPEAT_MS = 60_000;

/** The last checks; undefined until they have run. */
export const checks = signal<readonly Check[] | undefined>(undefined);
export const doctorError = signal<unknown>(undefined);
export const isChecking = signal(false);

/** The worst status of all checks. */
export const worstStatus = computed((): Check['status'] | undefined =>
  (['failure', 'warning', 'ok'] as const).find((status) =>
    checks.value?.some((check) => check.status === status),
  ),
);

/** Runs the checks now. Needs the permission Watch. An error is in `doctorError`. */
export async function runChecks(): Promise<void> {
  if (isChecking.value) return;
  isChecking.value = true;
  try {
    checks.value = (await requestJson<{ checks: Check[] }>('/fame/v1/doctor')).checks;
    doctorError.value = undefined;
  } catch (error) {
    doctorError.value = error;
  } finally {
    isChecking.value = false;
  }
}

/** Runs the checks at once and then every minute. Use it with `useSource(doctorSource)`. */
export const doctorSource = sharedSource(() => {
  void runChecks();
  const timer = setInterval(() => void runChecks(), REPEAT_MS);
  return () => {
    clearInterval(timer);
    checks.value = undefined;
  };
});
