// One operation: its form or its parameters as JSON, the call with its result, and the same call as code.
import type { OperationDescription } from '@fame-fabric/shared';
import { useMemo, useState } from 'preact/hooks';
import { client } from '../../fabric/connection.ts';
import { sessionView } from '../../fabric/session.ts';
import { Code } from '../../parts/code.tsx';
import { Button, Field } from '../../parts/form.tsx';
import { Tag } from '../../parts/notices.tsx';
import { Panel } from '../../parts/page.tsx';
import { type CallCode, codeOf } from './call-code.ts';
import { CallResult } from './call-result.tsx';
import { useCall } from './call-run.ts';
import { type Draft, draftsOf, emptyDrafts, formOf, readForm, readJson } from './form-model.ts';
import { FormFields } from './operation-form.tsx';

const FORMS: readonly (readonly [keyof CallCode, string])[] = [
  ['curl', 'curl'],
  ['fame', 'fame call'],
  ['typescript', 'TypeScript'],
  ['python', 'Python'],
];

export function OperationPanel({ address, operation }: { address: string; operation: OperationDescription }) {
  const form = useMemo(() => formOf(operation.params), [operation]);
  const isBare = form.fields.length === 0;
  const [drafts, setDrafts] = useState<readonly Draft[]>(() => emptyDrafts(form));
  const [json, setJson] = useState('');
  const [isJson, setIsJson] = useState(isBare && form.isOpen);
  const [notice, setNotice] = useState('');
  /** Faults appear after the first attempt to call, and follow the fields from then on. */
  const [hasTried, setHasTried] = useState(false);
  const call = useCall(address, operation.name);
  const reading = isJson ? readJson(form, json) : readForm(form, drafts);
  const faults = hasTried && 'faults' in reading ? reading.faults : [];
  const isRunning = call.run.state === 'running';

  const switchMode = (): void => {
    setNotice('');
    if (!isJson) {
      if ('params' in reading) setJson(JSON.stringify(reading.params, undefined, 2));
      setIsJson(true);
      return;
    }
    const shown = 'params' in reading ? draftsOf(form, reading.params) : undefined;
    if (shown) setDrafts(shown);
    else setNotice('The form cannot show these parameters. It has its earlier values.');
    setIsJson(false);
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    setHasTried(true);
    if (!isRunning && 'params' in reading) call.start(reading.params, operation.streams);
    else if ('faults' in reading) focusFault(event.currentTarget as HTMLElement);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    (event.currentTarget as HTMLFormElement).requestSubmit();
  };

  return (
    <Panel
      title={operation.name}
      actions={
        <>
          {operation.streams && <Tag tone="accent">stream</Tag>}
          {operation.durable && <Tag>durable</Tag>}
          <Button aria-pressed={isJson} onClick={switchMode}>
            JSON
          </Button>
        </>
      }
    >
      {operation.description && <p class="muted">{operation.description}</p>}
      {operation.truncated && (
        <p class="muted">The schema of the parameters is too large to show. Write them as JSON.</p>
      )}
      <form class="agents-form" noValidate onSubmit={submit} onKeyDown={onKeyDown}>
        {isJson ? (
          <JsonField
            value={json}
            onInput={setJson}
            isPositional={form.isPositional}
            fault={faults.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ')}
          />
        ) : (
          <>
            {isBare && <p class="muted">It takes no parameters.</p>}
            <FormFields form={form} drafts={drafts} faults={faults} onChange={setDrafts} />
            <OtherFaults faults={faults.filter(({ path }) => path === '')} />
          </>
        )}
        {notice && <p role="status">{notice}</p>}
        <div class="agents-actions">
          <Button kind="main" type="submit" disabled={isRunning || client.value === undefined}>
            {operation.streams ? 'Stream' : 'Call'}
          </Button>
          {isRunning && <Button onClick={call.cancel}>Cancel</Button>}
          {faults.length > 0 && (
            <span class="field-fault" role="status">
              {faults.length === 1 ? '1 parameter does not fit.' : `${faults.length} parameters do not fit.`}
            </span>
          )}
        </div>
      </form>
      <CallResult run={call.run} />
      <CallCodeView
        address={address}
        operation={operation}
        params={'params' in reading ? reading.params : undefined}
      />
    </Panel>
  );
}

/** Moves the focus to the first field with a fault, once it is marked. */
function focusFault(form: HTMLElement): void {
  requestAnimationFrame(() => form.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
}

const JsonField = ({
  value,
  onInput,
  isPositional,
  fault,
}: {
  value: string;
  onInput: (text: string) => void;
  isPositional: boolean;
  fault: string;
}) => (
  <Field
    label="Parameters as JSON"
    hint={isPositional ? 'An array, in the order of the parameters' : 'An object; empty for no parameters'}
    fault={fault || undefined}
  >
    {(control) => (
      <textarea
        {...control}
        class="agents-json"
        rows={8}
        spellcheck={false}
        value={value}
        placeholder={isPositional ? '[]' : '{}'}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    )}
  </Field>
);

const OtherFaults = ({ faults }: { faults: readonly { message: string }[] }) => (
  <>
    {faults.map(({ message }) => (
      <p class="field-fault" role="alert" key={message}>
        The parameters: {message}
      </p>
    ))}
  </>
);

/** The same call as code. Until the parameters fit, it shows the call without them. */
function CallCodeView({
  address,
  operation,
  params,
}: {
  address: string;
  operation: OperationDescription;
  params: unknown;
}) {
  const [shown, setShown] = useState<keyof CallCode>('curl');
  const code = codeOf({
    address,
    operation: operation.name,
    params: params ?? {},
    isStreaming: operation.streams,
    origin: location.origin,
    needsKey: sessionView.value?.isCredentialNeeded ?? false,
  });
  return (
    <section class="agents-code" aria-label="The same call as code">
      <div class="agents-tabs">
        <h3>The same call as code</h3>
        <div class="page-actions">
          {FORMS.map(([id, title]) => (
            <Button key={id} aria-pressed={shown === id} onClick={() => setShown(id)}>
              {title}
            </Button>
          ))}
        </div>
      </div>
      {params === undefined && <p class="muted field-hint">Parameters that do not fit are left out.</p>}
      <Code text={code[shown]} label={`Call in ${FORMS.find(([id]) => id === shown)![1]}`} />
    </section>
  );
}
