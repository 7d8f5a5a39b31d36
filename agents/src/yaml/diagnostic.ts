// Diagnostics of the files of a team, each with its position. One pass reports all of them.
import { FabricError } from '@fame-fabric/shared';

/** Faults of single files first, then faults of the team as a whole. */
export type DiagnosticCode =
  | 'TEAM_FILE'
  | 'TEAM_SYNTAX'
  | 'TEAM_KEY'
  | 'TEAM_VALUE'
  | 'TEAM_TRAP'
  | 'TEAM_CYCLE'
  | 'TEAM_UNKNOWN_AGENT'
  | 'TEAM_UNKNOWN_FUNCTION'
  | 'TEAM_UNKNOWN_ARGUMENT'
  | 'TEAM_UNMAPPED_VALUE'
  | 'TEAM_EXTRA_ROUTE'
  | 'TEAM_UNREACHABLE'
  | 'TEAM_REQUIRED_UNDECLARED'
  | 'TEAM_FORCED_UNKNOWN'
  | 'TEAM_TOKEN_UNKNOWN';

/** Path into a configuration: keys and list positions from the top. */
export type ConfigPath = readonly (string | number)[];

export interface Place {
  file: string;
  /** From 1. */
  line: number;
  column: number;
}

export interface Diagnostic {
  readonly code: DiagnosticCode;
  readonly level: 'error' | 'warning';
  readonly message: string;
  /** The agent concerned; undefined for the team itself. */
  readonly agent?: string | undefined;
  readonly path: ConfigPath;
  /** The part of the value at `path` that is concerned. */
  readonly part?: string | undefined;
  readonly place?: Place | undefined;
}

/** Formats a diagnostic as one line, such as `agents/orders.yaml:3:5 error TEAM_TRAP: …`. */
export function formatDiagnostic({ code, level, message, agent, path, place }: Diagnostic): string {
  const where = place
    ? `${place.file}:${place.line}:${place.column}`
    : [agent ?? 'team', ...path.map(String)].join('.');
  return `${where} ${level} ${code}: ${message}`;
}

/** Error of a team whose files have faults. */
export class TeamConfigError extends FabricError {
  readonly #diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    const errors = diagnostics.filter((one) => one.level === 'error');
    const count = errors.length === 1 ? 'one fault' : `${errors.length} faults`;
    super('TEAM_CONFIG', `The team has ${count}:\n${errors.map(formatDiagnostic).join('\n')}`, {
      details: { faults: errors.map(({ code, message }) => ({ code, message })) },
    });
    this.#diagnostics = diagnostics;
  }

  /** Errors and warnings. */
  get diagnostics(): readonly Diagnostic[] {
    return this.#diagnostics;
  }
}
