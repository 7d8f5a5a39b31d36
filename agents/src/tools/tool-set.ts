// The tools of one agent: their definitions for the model, and the run of its calls.
import { type Clock, FabricError, type Logger, silentLog, systemClock } from '@fame-fabric/shared';
import { closestMatch, untilAborted } from '@fame-fabric/shared/internal';
import type { ToolSpec } from '../model/model.ts';
import type { ParsedToolCall } from '../model/stream/parse-arguments.ts';
import { signatureOf } from './schema/json-schema.ts';
import { type AnyTool, checkToUser, specOf } from './tool.ts';
import type { ToolOutcome } from './tool-outcome.ts';
import { type ExecuteOptions, ToolRun } from './tool-run.ts';

export type { ExecuteOptions } from './tool-run.ts';

export interface ToolSetOptions {
  /** Maximum number of calls that run at once. @default 8 */
  maxParallel?: number | undefined;
  /** Time limit of a call, in ms, unless its tool sets one. @default 30_000 */
  defaultTimeoutMs?: number | undefined;
  /** Longest result in characters, unless its tool sets a limit. @default 65_536 */
  maxResultChars?: number | undefined;
  /** The parameter that holds the text for the user, of tools that declare `toUser`. @default 'to_user' */
  toUserKey?: string | undefined;
  logger?: Logger | undefined;
  clock?: Clock | undefined;
}

export class ToolSet {
  readonly #tools: ReadonlyMap<string, AnyTool>;
  readonly #options: ToolSetOptions;
  /** The parameter that holds the text for the user. */
  readonly toUserKey: string;
  /** Names of the tools that have it. */
  readonly toUserTools: ReadonlySet<string>;

  /** @throws {TypeError} when two tools have one name, or a tool with `toUser` declares the parameter itself */
  constructor(tools: readonly AnyTool[] = [], options: ToolSetOptions = {}) {
    const { toUserKey = 'to_user' } = options;
    const byName = new Map<string, AnyTool>();
    for (const def of tools) {
      checkToUser(def, toUserKey);
      if (byName.has(def.name)) throw new TypeError(`Two tools are named "${def.name}". Rename one of them.`);
      byName.set(def.name, def);
    }
    this.#tools = byName;
    this.#options = options;
    this.toUserKey = toUserKey;
    this.toUserTools = new Set(tools.filter((def) => def.toUser).map((def) => def.name));
  }

  get names(): readonly string[] {
    return [...this.#tools.keys()];
  }

  get size(): number {
    return this.#tools.size;
  }

  get(name: string): AnyTool | undefined {
    return this.#tools.get(name);
  }

  /** Builds the definitions for a request. */
  specs(): ToolSpec[] {
    return [...this.#tools.values()].map((def) => specOf(def, this.toUserKey));
  }

  /** Returns the tools of one kit. @throws {TOOL_UNKNOWN} when no tool belongs to it */
  kit(name: string): ToolSet {
    const all = [...this.#tools.values()];
    const tools = all.filter((def) => def.kit === name);
    if (tools.length === 0) {
      const kits = new Set(all.flatMap((def) => def.kit ?? []));
      const near = closestMatch(name, kits);
      const hint = near === undefined ? '.' : `; did you mean "${near}"?`;
      throw new FabricError(
        'TOOL_UNKNOWN',
        `There is no kit "${name}"${hint} Kits: ${[...kits].join(', ') || 'none'}`,
      );
    }
    return new ToolSet(tools, this.#options);
  }

  /** Returns a set with further tools; this one does not change. */
  with(...tools: AnyTool[]): ToolSet {
    return new ToolSet([...this.#tools.values(), ...tools], this.#options);
  }

  /** Starts the run of one reply's calls. Add each call as it arrives. */
  start(options: ExecuteOptions): ToolRun {
    const { maxParallel = 8, defaultTimeoutMs = 30_000, maxResultChars = 65_536 } = this.#options;
    const { clock = systemClock, logger = silentLog } = this.#options;
    const limits = { maxParallel, defaultTimeoutMs, maxResultChars, toUserKey: this.toUserKey };
    return new ToolRun({ tools: this.#tools, clock, logger }, limits, options);
  }

  /**
   * Runs the calls of a reply and resolves with one outcome for each, in the order of the calls. Tools start when the reply is
   * complete, those marked `eager` as soon as their own arguments are.
   * @throws what the calls' source throws, unless the signal aborted; then no tool runs any more
   */
  async executeAll(
    calls: AsyncIterable<ParsedToolCall> | readonly ParsedToolCall[],
    options: ExecuteOptions,
  ): Promise<ToolOutcome[]> {
    const run = this.start(options);
    try {
      for await (const call of untilStopped(calls, run.signal)) run.add(call);
    } catch (error) {
      // After an abort each call gets an outcome. After a failed reply none does.
      if (!options.signal.aborted) throw await run.fail(error);
    }
    return run.finish();
  }

  /** Describes the tools for models without native tool calls: one line and the parameters for each. */
  describe(): string {
    return describeTools(this.specs());
  }
}

/** Iterates until the items end or the signal aborts, even if the source never settles. */
async function* untilStopped<T>(
  items: AsyncIterable<T> | readonly T[],
  signal: AbortSignal,
): AsyncGenerator<T> {
  if (Symbol.iterator in items) {
    yield* items;
    return;
  }
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await untilAborted(iterator.next(), signal);
      if (step.done) return;
      yield step.value;
    }
  } finally {
    // Not awaited, because a source that never settles would block the run.
    iterator.return?.().then(undefined, () => {});
  }
}

/** Describes tools in plain text. */
export function describeTools(specs: readonly ToolSpec[]): string {
  return specs
    .map(({ function: { name, description = '', parameters } }) => {
      const properties = (parameters.properties ?? {}) as Record<string, Record<string, unknown>>;
      const signature = signatureOf(name, { ...parameters, type: 'object', properties });
      const about = Object.entries(properties)
        .filter(([, schema]) => typeof schema.description === 'string')
        .map(([key, schema]) => `  ${key}: ${schema.description}`);
      return [`${signature} - ${description}`, ...about].join('\n');
    })
    .join('\n');
}
