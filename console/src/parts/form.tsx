// Buttons and fields.
import type { ButtonHTMLAttributes, ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

export interface ButtonProps extends Omit<ButtonHTMLAttributes, 'type' | 'icon'> {
  kind?: 'plain' | 'main' | 'danger' | 'quiet';
  type?: 'button' | 'submit';
  children: ComponentChildren;
}

export const Button = ({ kind = 'plain', type = 'button', children, ...rest }: ButtonProps) => (
  <button {...rest} type={type} class={`button button-${kind}`}>
    {children}
  </button>
);

export interface FieldProps {
  label: string;
  /** A line below the field. */
  hint?: ComponentChildren;
  /** A line below the field, read out when it appears. */
  fault?: string | undefined;
  /** Renders the control with the attributes that tie it to its label and its lines. */
  children: (control: {
    id: string;
    'aria-describedby'?: string;
    'aria-invalid'?: 'true';
  }) => ComponentChildren;
}

/** A label with its control: `<Field label="Address">{(control) => <input {...control} />}</Field>`. */
export function Field({ label, hint, fault, children }: FieldProps) {
  const id = useId();
  const about = [hint && `${id}-hint`, fault && `${id}-fault`].filter(Boolean).join(' ');
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({
        id,
        ...(about && { 'aria-describedby': about }),
        ...(fault && { 'aria-invalid': 'true' as const }),
      })}
      {hint && (
        <p id={`${id}-hint`} class="muted field-hint">
          {hint}
        </p>
      )}
      {fault && (
        <p id={`${id}-fault`} class="field-fault" role="alert">
          {fault}
        </p>
      )}
    </div>
  );
}
