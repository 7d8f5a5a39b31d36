// The fields of a form, from its model. Each change gives the whole new drafts to its owner.
import { Button, Field } from '../../parts/form.tsx';
import { type Draft, emptyDraft, type Form, type FormField } from './form-model.ts';
import type { Fault } from './schema.ts';

interface FieldsProps {
  fields: readonly FormField[];
  /** Path of the first key of each field, or of its position. */
  pathOf: (field: FormField, index: number) => string;
  drafts: readonly Draft[];
  faults: readonly Fault[];
  onChange: (drafts: readonly Draft[]) => void;
}

export function FormFields({
  form,
  ...rest
}: { form: Form } & Pick<FieldsProps, 'drafts' | 'faults' | 'onChange'>) {
  return (
    <Fields
      {...rest}
      fields={form.fields}
      pathOf={(field, i) => (form.isPositional ? String(i) : field.name)}
    />
  );
}

const Fields = ({ fields, pathOf, drafts, faults, onChange }: FieldsProps) => (
  <div class="agents-fields">
    {fields.map((field, i) => (
      <FieldView
        key={field.name}
        field={field}
        label={/^\d+$/.test(field.name) ? `Parameter ${field.name}` : field.name}
        path={pathOf(field, i)}
        draft={drafts[i] ?? ''}
        faults={faults}
        onChange={(draft) => onChange(drafts.map((one, at) => (at === i ? draft : one)))}
      />
    ))}
  </div>
);

interface FieldViewProps {
  field: FormField;
  label: string;
  path: string;
  draft: Draft;
  faults: readonly Fault[];
  onChange: (draft: Draft) => void;
}

function FieldView(props: FieldViewProps) {
  if (props.field.kind === 'list') return <ListField {...props} field={props.field} />;
  if (props.field.kind === 'group') return <GroupField {...props} field={props.field} />;
  return <PlainField {...props} />;
}

const textOf = (draft: Draft): string => (typeof draft === 'string' ? draft : '');

/** The fault of a field. A field without fields of its own also shows the faults inside its value. */
const faultAt = (faults: readonly Fault[], path: string, isWhole: boolean): string | undefined => {
  const fault = faults.find((one) => one.path === path || (isWhole && one.path.startsWith(`${path}.`)));
  if (!fault) return undefined;
  const inside = fault.path.slice(path.length + 1);
  return inside === '' ? fault.message : `${inside}: ${fault.message}`;
};

function PlainField({ field, label, path, draft, faults, onChange }: FieldViewProps) {
  const value = textOf(draft);
  const onInput = (event: { currentTarget: { value: string } }): void => onChange(event.currentTarget.value);
  return (
    <Field
      label={label + (field.isRequired ? ' *' : '')}
      hint={<Hint field={field} />}
      fault={faultAt(faults, path, field.kind === 'json')}
    >
      {(control) => {
        if (field.kind === 'choice') {
          return (
            <select {...control} value={value} required={field.isRequired} onChange={onInput}>
              {(!field.isRequired || field.fallback !== undefined) && <option value="">(left out)</option>}
              {field.choices.map((choice, i) => (
                <option key={String(i)} value={String(i)}>
                  {typeof choice === 'string' ? choice : JSON.stringify(choice)}
                </option>
              ))}
            </select>
          );
        }
        if (field.kind === 'json' || (field.kind === 'text' && field.isLong)) {
          return (
            <textarea
              {...control}
              class={field.kind === 'json' ? 'agents-json' : undefined}
              rows={field.kind === 'json' ? 3 : 2}
              value={value}
              spellcheck={field.kind === 'text'}
              aria-required={field.isRequired}
              onInput={onInput}
            />
          );
        }
        return (
          <input
            {...control}
            type="text"
            inputMode={field.kind === 'number' ? 'decimal' : 'text'}
            autocomplete="off"
            value={value}
            aria-required={field.isRequired}
            onInput={onInput}
          />
        );
      }}
    </Field>
  );
}

function Hint({ field }: { field: FormField }) {
  const parts = [
    field.description ?? '',
    field.kind === 'json' ? 'JSON' : '',
    field.kind === 'number' && !field.limits?.includes('number') ? 'number' : '',
    field.limits ?? '',
    field.fallback === undefined ? '' : `default ${JSON.stringify(field.fallback)}`,
  ];
  return <>{parts.filter(Boolean).join(' · ')}</>;
}

function ListField({
  field,
  label,
  path,
  draft,
  faults,
  onChange,
}: FieldViewProps & { field: FormField & { kind: 'list' } }) {
  const items = Array.isArray(draft) ? (draft as readonly Draft[]) : [];
  return (
    <fieldset class="agents-group">
      <legend>{label + (field.isRequired ? ' *' : '')}</legend>
      <p class="muted field-hint">
        <Hint field={field} />
      </p>
      {items.map((item, i) => (
        <div class="agents-item" key={i}>
          <FieldView
            field={field.item}
            label={`${label} ${i + 1}`}
            path={`${path}.${i}`}
            draft={item}
            faults={faults}
            onChange={(changed) => onChange(items.map((one, at) => (at === i ? changed : one)))}
          />
          <Button
            kind="quiet"
            aria-label={`Remove ${label} ${i + 1}`}
            onClick={() => onChange(items.filter((_, at) => at !== i))}
          >
            Remove
          </Button>
        </div>
      ))}
      <FaultLine fault={faults.find((one) => one.path === path)?.message} />
      <div>
        <Button onClick={() => onChange([...items, emptyDraft(field.item)])}>Add {label}</Button>
      </div>
    </fieldset>
  );
}

function GroupField({
  field,
  label,
  path,
  draft,
  faults,
  onChange,
}: FieldViewProps & { field: FormField & { kind: 'group' } }) {
  const inside = (typeof draft === 'object' ? draft : {}) as Readonly<Record<string, Draft>>;
  return (
    <fieldset class="agents-group">
      <legend>{label + (field.isRequired ? ' *' : '')}</legend>
      {field.description && <p class="muted field-hint">{field.description}</p>}
      <FaultLine fault={faults.find((one) => one.path === path)?.message} />
      <Fields
        fields={field.fields}
        pathOf={(one) => `${path}.${one.name}`}
        drafts={field.fields.map((one) => inside[one.name] ?? '')}
        faults={faults}
        onChange={(drafts) =>
          onChange(Object.fromEntries(field.fields.map((one, i) => [one.name, drafts[i] ?? ''])))
        }
      />
    </fieldset>
  );
}

const FaultLine = ({ fault }: { fault: string | undefined }) =>
  fault === undefined ? null : (
    <p class="field-fault" role="alert">
      {fault}
    </p>
  );
