// The description of environment variables, from which docs/configuration.md is generated.

/** An environment variable. */
export interface Variable {
  readonly name: string;
  readonly type: 'integer' | 'boolean' | 'text' | 'choice' | 'list' | 'url' | 'address' | 'path';
  readonly unit?: string | undefined;
  /** Default value, or a description of one that is not fixed. Empty if there is none. */
  readonly default: string;
  readonly description: string;
  /** True if the value is never printed. @default false */
  readonly secret?: boolean | undefined;
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;
