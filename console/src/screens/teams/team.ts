// The answer of a team to `describe_team`. Another node sent it, so lists that are missing or odd are empty.
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

interface TeamAgent {
  readonly name: string;
  readonly model: string;
  readonly functions: readonly string[];
  /** The function whose argument selects the route. */
  readonly routes_by?: string;
  readonly must_route: boolean;
  readonly reachable: boolean;
}

export interface TeamRoute {
  readonly from: string;
  readonly to: { readonly kind: 'agent' | 'remote' | 'function' | 'ignore'; readonly name: string };
  readonly argument: string;
  /** `null` for `otherwise`. */
  readonly value: string | null;
  readonly is_loop: boolean;
}

type Cost = { readonly amount: number; readonly currency: string } | 'unknown';

export interface TeamDescription {
  readonly start: string;
  readonly agents: readonly TeamAgent[];
  readonly routes: readonly TeamRoute[];
  readonly cycles: readonly (readonly string[])[];
  readonly longest_route: readonly string[] | null;
  readonly limits: {
    readonly max_handoffs: number;
    readonly max_visits: number;
    readonly max_model_calls: number;
    readonly max_usd: number | null;
    readonly on_limit: 'error' | 'ignore' | { readonly agent: string };
  };
  readonly findings: readonly {
    readonly code: string;
    readonly level: string;
    readonly agent?: string;
    readonly message: string;
  }[];
  readonly worst_case: {
    readonly handoffs: number;
    readonly model_calls: number;
    readonly prompt_tokens: number;
    readonly completion_tokens: number | null;
    readonly cost: Cost;
    readonly unbounded: readonly string[];
    readonly assumed_prompt_tokens: number;
  };
  /** For Mermaid. */
  readonly diagram: string | null;
  readonly truncated?: true;
}

const LISTS = ['agents', 'routes', 'cycles', 'findings'] as const;

/** Reads the answer. @throws {Error} if it does not describe a team */
export function readTeam(answer: unknown): TeamDescription {
  if (
    !isObject(answer) ||
    typeof answer.start !== 'string' ||
    !isObject(answer.worst_case) ||
    !isObject(answer.limits)
  )
    throw new Error('The agent did not describe a team.');
  const lists = Object.fromEntries(
    LISTS.map((name) => [name, Array.isArray(answer[name]) ? answer[name] : []]),
  );
  return { ...answer, ...lists } as unknown as TeamDescription;
}
