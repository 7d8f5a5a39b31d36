/** An environment variable, as docs/configuration.md lists it. */
export interface Variable {
  readonly name: string;
  readonly type: 'integer' | 'boolean' | 'text' | 'choice' | 'list' | 'url' | 'address' | 'path';
  readonly unit?: string | undefined;
  /** Default value, or words for one that is not fixed. Empty: there is none. */
  readonly default: string;
  readonly description: string;
  /** Its value is never printed. @default false */
  readonly secret?: boolean | undefined;
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;
