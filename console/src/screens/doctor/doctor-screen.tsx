// The checks of the sentinel, the worst first, each with the step that removes its fault.
import { type Check, checks, doctorError, doctorSource, isChecking, runChecks } from '../../fabric/doctor.ts';
import { useSource } from '../../fabric/shared-source.ts';
import { Button } from '../../parts/form.tsx';
import { Dot, Problem, type Tone } from '../../parts/notices.tsx';
import { Page, Panel } from '../../parts/page.tsx';
import './doctor.css';

const ORDER = ['failure', 'warning', 'ok'] as const;
const LABELS: Readonly<Record<Check['status'], string>> = {
  failure: 'Failure',
  warning: 'Warning',
  ok: 'Passed',
};
const TONES: Readonly<Record<Check['status'], Tone>> = { failure: 'failure', warning: 'warning', ok: 'ok' };

export function DoctorScreen() {
  useSource(doctorSource);
  const found = checks.value;
  const error = doctorError.value;
  return (
    <Page
      title="Doctor"
      actions={
        <Button disabled={isChecking.value} onClick={() => void runChecks()}>
          Check again
        </Button>
      }
    >
      {error !== undefined && <Problem error={error} onRetry={() => void runChecks()} />}
      {found === undefined && error === undefined && <p class="muted">Checking…</p>}
      {found !== undefined && (
        <>
          <p role="status">{summary(found)}</p>
          <Panel>
            <ul class="checks">
              {ORDER.flatMap((status) => found.filter((check) => check.status === status)).map((check) => (
                <li key={`${check.name} ${check.message}`} class="check-line">
                  <Dot tone={TONES[check.status]} label={LABELS[check.status]} />
                  <div>
                    <h2>{check.name}</h2>
                    <p>{check.message}</p>
                    {check.fix && (
                      <p class="check-fix">
                        <strong>Fix:</strong> {check.fix}
                      </p>
                    )}
                  </div>
                </li>
              ))}
            </ul>
          </Panel>
        </>
      )}
    </Page>
  );
}

function summary(found: readonly Check[]): string {
  const failures = found.filter(({ status }) => status === 'failure').length;
  const warnings = found.filter(({ status }) => status === 'warning').length;
  if (failures + warnings === 0) return `All ${found.length} checks passed.`;
  const parts = [counted(failures, 'failure'), counted(warnings, 'warning')].filter((text) => text !== '');
  return `${parts.join(' and ')} in ${found.length} checks.`;
}

const counted = (count: number, name: string): string =>
  count === 0 ? '' : `${count} ${name}${count === 1 ? '' : 's'}`;
