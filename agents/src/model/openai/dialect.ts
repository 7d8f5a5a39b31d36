// Servers of the Chat Completions API accept different requests. The dialect of a model on a server is learned from its refusals, and
// forgotten after some minutes: an operator may have changed the server, and one misread refusal must not remove the tools for good.
import type { ModelRequest, ToolChoice } from '../model.ts';
import type { ServerError } from './server-error.ts';

/** A part of requests that a server or its model refuses, or takes in another form. */
export type Trait =
  | 'noStreamOptions'
  | 'noTemperature'
  | 'noStop'
  /** Requires `max_completion_tokens` in place of `max_tokens`. */
  | 'maxCompletionTokens'
  /** The model cannot call tools. A request that demands a call still sends them, and is refused. */
  | 'noTools'
  | 'noToolChoice'
  /** The text of system messages goes into the first message of the user. */
  | 'noSystem';

/** Time after which a trait is tried again, in ms. */
export const TRAIT_MS = 600_000;
/** Models with a dialect, per server. The oldest is forgotten first. */
const MAX_MODELS = 64;

/** The refusals of Ollama, llama.cpp, vLLM, SGLang, OpenRouter, Gemini and others for a model that cannot call tools. */
const NO_TOOLS =
  /\bnot support\w* (?:\w+[ -])?(?:tools?|functions?|function.calling|tool.calling)\b|\b(?:tools?|functions?|(?:function|tool).(?:calling|calls|use))\b[^.]{0,40}\b(?:not supported|unsupported|not enabled|not available|not allowed)|enable-auto-tool-choice|no endpoints found that support tool|tools param requires|(?:unsupported|unrecognized|unknown|unexpected)[^.]{0,40}[ `'"]tools\b|tools: extra inputs/i;
const NO_SYSTEM =
  /(?:system|developer)[ _](?:role|message|prompt|instruction)s?\b[^.]{0,40}\bnot (?:supported|enabled|allowed|available)|not support\w* (?:the )?["'`]?(?:system|developer)\b|roles must alternate|only user and assistant roles|(?:invalid|unexpected|unsupported|unknown) role[^.]{0,20}system/i;
/** Wordings of a refused parameter. */
const IS_REFUSED =
  /unsupported|not support|unrecognized|unknown|unexpected|not permitted|not allowed|invalid|only .{0,20}(?:allowed|supported)|must be|deprecated|forbidden/i;

/** Traits of the models of one server. */
export class Dialects {
  readonly #now: () => number;
  readonly #byModel = new Map<string, Map<Trait, number>>();

  /** `now` is monotonic, in ms. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Returns the current traits of a model. */
  of(model: string): ReadonlySet<Trait> {
    const traits = this.#byModel.get(model);
    if (!traits) return NONE;
    const now = this.#now();
    for (const [trait, until] of traits) if (until <= now) traits.delete(trait);
    return new Set(traits.keys());
  }

  /** Learns from a refusal. Returns the new trait if the request is worth sending again without it. */
  learn(model: string, error: ServerError, request: ModelRequest): Trait | undefined {
    const trait = traitOf(error, request);
    if (!trait || this.of(model).has(trait)) return undefined;
    const traits = this.#byModel.get(model) ?? new Map<Trait, number>();
    traits.set(trait, this.#now() + TRAIT_MS);
    this.#byModel.delete(model);
    this.#byModel.set(model, traits);
    if (this.#byModel.size > MAX_MODELS) this.#byModel.delete(this.#byModel.keys().next().value!);
    return trait;
  }
}

/** True if the model may answer without a call. */
export const isOptional = (choice: ToolChoice | undefined): boolean =>
  choice === undefined || choice === 'auto' || choice === 'none';

const NONE: ReadonlySet<Trait> = new Set();

function traitOf({ status, param, reason }: ServerError, request: ModelRequest): Trait | undefined {
  const { tools, tool_choice, temperature, stop, messages } = request;
  const refusal = `${param} ${reason}`;
  const isOfRequest = status === 400 || status === 422;
  const isOptionalChoice = tools !== undefined && tools.length > 0 && isOptional(tool_choice);
  if (isOptionalChoice && tool_choice !== undefined && isOfRequest && /tool_choice/.test(refusal))
    return 'noToolChoice';
  if (isOptionalChoice && (NO_TOOLS.test(reason) || (param === 'tools' && IS_REFUSED.test(reason))))
    return 'noTools';
  const hasSystem = messages.some(({ role }) => role === 'system');
  if (hasSystem && NO_SYSTEM.test(refusal)) return 'noSystem';
  if (!isOfRequest) return undefined;
  if (/stream_options|include_usage/.test(refusal)) return 'noStreamOptions';
  if (
    /max_completion_tokens/.test(refusal) &&
    /max_tokens/.test(refusal) &&
    !/too (?:large|long)/.test(reason)
  )
    return 'maxCompletionTokens';
  if (temperature !== undefined && /temperature/i.test(refusal) && IS_REFUSED.test(reason))
    return 'noTemperature';
  if (stop !== undefined && /\bstop\b/.test(refusal) && IS_REFUSED.test(reason)) return 'noStop';
  return undefined;
}
